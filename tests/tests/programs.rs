//! The programs as people start them.

#![allow(clippy::unwrap_used)]

use std::process::{Command, Output};

use serde_json::{Value, json};
use voip_client::{Engine, EngineConfig, Processing, TalkMode, VoiceSettings, audio::File};
use voip_server::{Store, config::DatabaseConfig};
use voip_tests::{
    client::{LIMIT, TestClient, login},
    process::program,
    server::{TestServer, alone},
    wait,
};

fn run(name: &str, arguments: &[&str]) -> (Output, String) {
    let output = Command::new(program(name)).args(arguments).output().unwrap();
    let error = String::from_utf8(output.stderr.clone()).unwrap();
    assert!(!error.contains("panicked"), "{error}");
    (output, error)
}

/// The whole way: two processes, a recording, a likeness.
#[tokio::test]
async fn the_demo_holds() {
    let _alone = alone().await;
    let output = Command::new(env!("CARGO_BIN_EXE_demo")).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let result: Value = serde_json::from_str(text.trim()).unwrap();
    println!("{result}");
    assert!(output.status.success(), "{result}");
    assert_eq!(result["held"], true);
    assert_eq!(result["frames_lost"], 0);
    assert_eq!(result["frames_sent"], result["frames_received"]);
    let delay = result["delay_ms"].as_f64().unwrap();
    assert!(delay > 10.0 && delay < 200.0, "{result}");
}

/// The demo's accounts log in, and its roles differ.
#[tokio::test(flavor = "multi_thread")]
async fn the_demo_data() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}", folder.path().join("demo.db").display());
    let seed = || {
        Command::new(program("voip-server"))
            .arg("seed-demo")
            .env("VOIP_DATABASE__URL", &url)
            .output()
            .unwrap()
    };
    assert!(seed().status.success());
    let again = seed();
    assert_eq!(again.status.code(), Some(2));
    assert!(String::from_utf8(again.stderr).unwrap().contains("already"));
    let store = Store::open(&DatabaseConfig { url: url.clone(), ..DatabaseConfig::default() }).await.unwrap();
    assert_eq!(store.channels().await.unwrap().len(), 5);
    store.close().await;

    let server = TestServer::start_with(|config| config.database.url = url).await;
    let who = async |username: &str| {
        let body =
            json!({ "username": username, "password": format!("{username}123"), "organization": "demo" });
        let (status, reply) = server.post("/auth/login", body.to_string()).await;
        assert_eq!(status, 200, "{reply}");
        voip_tests::raw::RawClient::connect(&server, reply["access_token"].as_str().unwrap()).await.snapshot
    };
    let channels = |snapshot: &voip_protocol::control::Snapshot| -> Vec<String> {
        snapshot.channels.iter().map(|channel| channel.name.clone()).collect()
    };
    assert_eq!(
        channels(&who("demo").await),
        ["General", "Operations", "Social", "Alpha Squad", "Bravo Squad"]
    );
    assert_eq!(channels(&who("charlie").await), ["General", "Social"]);
    let bob = who("bob").await;
    let may_speak = |name: &str| {
        let channel = bob.channels.iter().find(|channel| channel.name == name).unwrap();
        channel.permissions.contains(voip_protocol::Permissions::SPEAK)
    };
    assert!(may_speak("Alpha Squad") && !may_speak("Bravo Squad"));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn voip_cli_says_what_is_wrong() {
    let server = TestServer::start().await;
    let address = server.address.to_string();
    let fingerprint = server.fingerprint.to_string();
    let talk = |more: &[&str]| {
        let mut arguments =
            vec!["talk", "--user", "admin", "--listen", "--seconds", "1", "--output", "/dev/null"];
        arguments.extend(more);
        let (output, error) = run("voip-cli", &arguments);
        assert!(!output.status.success());
        error
    };
    let good =
        ["--server", &address, "--fingerprint", &fingerprint, "--password", voip_tests::server::PASSWORD];
    let with = |at: usize, value| {
        let mut arguments = good;
        arguments[at] = value;
        arguments
    };
    let general = ["--channel", "General"];
    let wrong_password = talk(&[&with(5, "wrong horse")[..], &general].concat());
    assert!(wrong_password.contains("invalid_credentials"), "{wrong_password}");
    let no_channel = talk(&[&good[..], &["--channel", "Nowhere"]].concat());
    assert!(no_channel.contains("unknown_channel") && no_channel.contains("General"), "{no_channel}");
    let other = "ab".repeat(32);
    let changed = talk(&[&with(3, &other)[..], &general].concat());
    assert!(changed.contains("certificate_changed"), "{changed}");
    let first_visit = talk(&[&good[..2], &good[4..], &general].concat());
    assert!(first_visit.contains(&fingerprint), "{first_visit}");
    let nobody = talk(&[&with(1, "127.0.0.1:1")[..], &general].concat());
    assert!(nobody.contains("unreachable"), "{nobody}");
    server.stop().await;
}

/// Without a microphone one still listens, and is told.
#[tokio::test(flavor = "multi_thread")]
async fn no_microphone() {
    let server = TestServer::start().await;
    let alice = TestClient::join(&server, "alice", "General").await;
    let folder = tempfile::tempdir().unwrap();
    let backend = Box::new(File::new(None, Some(folder.path().join("heard.wav"))));
    let settings =
        VoiceSettings { mode: TalkMode::Continuous, processing: Processing::OFF, ..VoiceSettings::default() };
    let (engine, handle) = Engine::new(EngineConfig { backend, settings });
    tokio::spawn(engine.run());
    handle.connect(login(&server.address, server.fingerprint, "bob", true)).await.unwrap();
    let state = handle.state().await.unwrap();
    handle.join(state.room.unwrap().channels[0].id).await.unwrap();
    alice.devices.say(&[0.1; 48_000]);
    wait::until("frames", LIMIT, || async { handle.state().await.unwrap().statistics.frames_received > 50 })
        .await;
    let audio = handle.state().await.unwrap().audio;
    assert_eq!(audio.input_problem.unwrap().code.as_str(), "no_microphone");
    assert!(audio.output.is_some() && audio.input.is_none());
    handle.shut_down().await;
    server.stop().await;
}
