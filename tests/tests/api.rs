//! The API is what it says of itself: schemathesis reads `/openapi.json` and asks what comes to its mind.

#![allow(clippy::unwrap_used)]

use std::{
    fs::File,
    path::PathBuf,
    process::{Command, Stdio},
    time::Duration,
};

use voip_tests::{
    on_both,
    rest::Rest,
    server::{ADMIN, TestServer},
    wait,
};

/// What a run of it may take.
const LIMIT: Duration = Duration::from_secs(80);
/// Requests to each route of each kind.
const EXAMPLES: &str = "30";
/// Ends a login.
const LOG_OUT: &str = "/auth/logout";
/// Ends a login.
const REVOKE: &str = "/auth/sessions/{id}";

on_both!(the_api_is_as_described, async |database| {
    let server = TestServer::start_on(&database).await;
    let admin = Rest::log_in(&server, ADMIN).await;
    for name in ["alice", "bob"] {
        Rest::register(&server, name).await;
    }
    // Two routes end logins, and it finds out their ids: it comes to them last, each with a login of its own.
    let (one, other) = (Rest::log_in(&server, "alice").await, Rest::log_in(&server, "bob").await);
    check(&server, &admin, &["--exclude-path", LOG_OUT, "--exclude-path", REVOKE]).await;
    check(&server, &one, &["--include-path", LOG_OUT]).await;
    check(&server, &other, &["--include-path", REVOKE]).await;
    assert_eq!(admin.get("/auth/me").await.status, 200, "the login that asked has ended meanwhile");
    server.stop().await;
});

async fn check(server: &TestServer, caller: &Rest, routes: &[&str]) {
    let token = caller.token.as_deref().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let told = folder.path().join("told");
    let mut run = Command::new(schemathesis())
        .args(["--config-file", concat!(env!("CARGO_MANIFEST_DIR"), "/api/schemathesis.toml")])
        .args(["run", &server.url("/openapi.json"), "--url", &server.url("")])
        .args(["--tls-verify", "false", "--header", &format!("Authorization: Bearer {token}")])
        .args(["--phases", "examples,coverage,fuzzing", "--max-examples", EXAMPLES])
        .args(["--no-color", "--request-timeout", "10"])
        .args(routes)
        // It may leave files where it runs.
        .current_dir(folder.path())
        .stdin(Stdio::null())
        .stdout(File::create(&told).unwrap())
        .stderr(File::create(folder.path().join("errors")).unwrap())
        .spawn()
        .unwrap();
    let mut status = None;
    wait::until_true("schemathesis ends", LIMIT, || {
        status = run.try_wait().unwrap();
        status.is_some()
    })
    .await;
    let errors = std::fs::read_to_string(folder.path().join("errors")).unwrap();
    assert!(status.unwrap().success(), "{}\n{errors}", std::fs::read_to_string(told).unwrap());
}

/// Where `make setup` puts it.
fn schemathesis() -> PathBuf {
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let cache = cache.unwrap_or_else(|| PathBuf::from(std::env::var_os("HOME").unwrap()).join(".cache"));
    let program = cache.join("voip/schemathesis/bin/schemathesis");
    assert!(program.exists(), "schemathesis is missing: run `make setup`");
    program
}
