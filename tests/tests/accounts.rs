//! Accounts, logins and administration over the real server, on either database.

#![allow(clippy::unwrap_used)]

use std::{collections::BTreeSet, time::Duration};

use reqwest::Method;
use serde_json::{Value, json};
use time::OffsetDateTime;
use voip_protocol::ErrorCode;
use voip_tests::{
    client::LIMIT,
    database::Database,
    on_both,
    raw::RawClient,
    rest::{Reply, Rest},
    server::{PASSWORD, TestServer},
    wait,
};

/// A password that nobody has yet.
const OTHER: &str = "marble-lantern-42";
/// In which a revoked login must be out.
const AT_ONCE: Duration = Duration::from_secs(1);

/// The actions of the newest audit rows, the newest first.
async fn actions(admin: &Rest, query: &str) -> Vec<String> {
    let page = admin.get(&format!("/admin/audit?limit=200{query}")).await.ok();
    let entries = page["entries"].as_array().unwrap();
    entries.iter().map(|entry| entry["action"].as_str().unwrap().to_owned()).collect()
}

fn array(value: &Value) -> &Vec<Value> {
    value.as_array().unwrap()
}

on_both!(from_registration_to_logout, async |database| {
    let server = TestServer::start_on(&database).await;
    let body = json!({
        "username": "Alice", "password": PASSWORD, "display_name": "Alice ✓", "organization": " test ",
        "device": { "name": "Laptop" },
    });
    let mut alice = Rest::new(&server);
    let reply = alice.post("/auth/register", body.clone()).await;
    assert_eq!(reply.status, 201, "{reply:?}");
    let reply = reply.ok();
    alice.take(&reply);
    assert_eq!(reply["account"]["username"], "Alice");
    assert_eq!(reply["expires_in"], 3_600);
    assert_eq!(reply["refresh_expires_in"], 30 * 24 * 3_600);
    assert_eq!(alice.post("/auth/register", body).await.refused(), (409, "username_taken"));
    let same = json!({ "username": "ALICE", "password": PASSWORD });
    assert_eq!(alice.post("/auth/register", same).await.refused(), (409, "username_taken"));

    let me = alice.get("/auth/me").await.ok();
    assert_eq!(me["account"], reply["account"]);
    assert_eq!(me["account"]["display_name"], "Alice ✓");
    assert_eq!((&me["organization"]["tag"], &me["roles"][0]["name"]), (&json!("TEST"), &json!("Member")));
    assert!(me["permissions"].as_u64().unwrap() > 0);

    let second = Rest::log_in(&server, "alice").await;
    let sessions = alice.get("/auth/sessions").await.ok();
    let sessions = array(&sessions["sessions"]);
    assert_eq!(sessions.len(), 2);
    assert_eq!(sessions[0]["id"], second.login.as_str(), "the latest used first");
    assert_eq!((&sessions[0]["current"], &sessions[1]["current"]), (&json!(false), &json!(true)));
    assert_eq!((&sessions[0]["device"], &sessions[1]["device"]), (&Value::Null, &json!("Laptop")));
    assert_eq!(sessions[1]["address"], "127.0.0.1");
    assert_eq!(sessions[1]["connected"], false);
    for time in ["created_at", "last_activity", "expires_at"] {
        let text = sessions[1][time].as_str().unwrap();
        OffsetDateTime::parse(text, &time::format_description::well_known::Rfc3339).unwrap();
    }

    assert_eq!(alice.post("/auth/logout", Value::Null).await.status, 204);
    assert_eq!(alice.get("/auth/me").await.refused().0, 401);
    assert_eq!(alice.post("/auth/logout", Value::Null).await.refused().0, 401);
    let refresh = json!({ "refresh_token": alice.refresh_token });
    assert_eq!(alice.post("/auth/refresh", refresh).await.refused().0, 401);
    assert_eq!(array(&second.get("/auth/sessions").await.ok()["sessions"]).len(), 1, "the other stays");

    let admin = Rest::log_in(&server, "admin").await;
    let rows = admin.get(&format!("/admin/audit?actor={}", second.user)).await.ok();
    let rows: Vec<_> = array(&rows["entries"])
        .iter()
        .map(|row| (row["action"].as_str().unwrap(), row["resource"].as_str().unwrap().to_owned()))
        .collect();
    let login = format!("login:{}", alice.login);
    assert_eq!(
        rows,
        [
            ("logout", login),
            ("login", "user:Alice".into()),
            ("login", "user:Alice".into()),
            ("register", "user:Alice".into())
        ]
    );
    server.stop().await;
});

on_both!(refreshing, async |database| {
    let server = TestServer::start_on(&database).await;
    let mut alice = Rest::register(&server, "alice").await;
    let first = alice.clone();
    let refresh =
        async |rest: &Rest| rest.post("/auth/refresh", json!({ "refresh_token": rest.refresh_token })).await;
    let reply = refresh(&first.with_token(None)).await.ok();
    alice.take(&reply);
    assert_eq!(alice.login, first.login, "the login is the same");
    assert_ne!(alice.refresh_token, first.refresh_token);
    assert_eq!(alice.get("/auth/me").await.ok()["account"]["username"], "alice");
    assert_eq!(first.get("/auth/me").await.refused().0, 401, "the old access token is dead");
    let reply = refresh(&alice).await.ok();
    alice.take(&reply);

    // The spent one comes again: somebody has a copy, and nobody knows who.
    assert_eq!(refresh(&first).await.refused(), (401, "login_revoked"));
    assert_eq!(alice.get("/auth/me").await.refused().0, 401, "the whole login has ended");
    assert_eq!(refresh(&alice).await.refused().0, 401);
    assert_eq!(refresh(&first).await.refused(), (401, "login_revoked"));

    for token in ["", "nonsense", "\u{0}", &"x".repeat(60_000)] {
        let reply = alice.post("/auth/refresh", json!({ "refresh_token": token })).await;
        assert_eq!(reply.refused().0, 401, "{reply:?}");
    }
    let admin = Rest::log_in(&server, "admin").await;
    let rows = admin.get("/admin/audit?action=login_revoked").await.ok();
    assert_eq!(array(&rows["entries"]).len(), 1, "{rows}");
    assert_eq!(rows["entries"][0]["details"]["reason"], "token_reused");
    assert_eq!(rows["entries"][0]["address"], "127.0.0.1");
    server.stop().await;
});

on_both!(of_two_refreshes_at_once_one_wins, async |database| {
    let server = TestServer::start_on(&database).await;
    for round in 0..5 {
        let alice = Rest::register(&server, &format!("alice{round}")).await;
        let mut tries = tokio::task::JoinSet::new();
        for _ in 0..4 {
            let alice = alice.clone();
            tries.spawn(async move {
                alice.post("/auth/refresh", json!({ "refresh_token": alice.refresh_token })).await
            });
        }
        let (won, lost): (Vec<_>, Vec<_>) =
            tries.join_all().await.into_iter().partition(|reply: &Reply| reply.status == 200);
        assert_eq!(won.len(), 1, "{won:?}");
        for reply in lost {
            assert_eq!(reply.refused(), (401, "login_revoked"));
        }
        // Whoever was second may be a thief: the winner's tokens are of no more use either.
        let mut winner = alice.clone();
        winner.take(&won.into_iter().next().unwrap().ok());
        assert_eq!(winner.get("/auth/me").await.refused().0, 401);
    }
    server.stop().await;
});

on_both!(another_password, async |database| {
    let server = TestServer::start_on(&database).await;
    let alice = Rest::register(&server, "alice").await;
    let elsewhere = Rest::log_in(&server, "alice").await;
    let bystander = Rest::register(&server, "bob").await;
    let change = async |current: &str, new: &str| {
        alice.post("/auth/password", json!({ "current": current, "new": new })).await
    };
    assert_eq!(change("wrong-wrong-7", OTHER).await.refused(), (401, "invalid_credentials"));
    assert_eq!(change(PASSWORD, "password").await.refused(), (400, "weak_password"));
    assert_eq!(change(PASSWORD, "short").await.refused(), (400, "invalid_field"));
    assert_eq!(change(PASSWORD, &"x".repeat(129)).await.refused(), (400, "invalid_field"));
    assert_eq!(elsewhere.get("/auth/me").await.status, 200, "nothing has changed");
    let reply = change(PASSWORD, OTHER).await;
    assert_eq!((reply.status, &reply.body), (204, &Value::Null));
    assert_eq!(alice.get("/auth/me").await.status, 200, "this login stays");
    assert_eq!(elsewhere.get("/auth/me").await.refused().0, 401, "the others end");
    assert_eq!(bystander.get("/auth/me").await.status, 200);
    assert_eq!(alice.try_log_in("alice", PASSWORD).await.refused(), (401, "invalid_credentials"));
    alice.try_log_in("alice", OTHER).await.ok();
    let admin = Rest::log_in(&server, "admin").await;
    let rows = admin.get("/admin/audit?action=password_changed").await.ok();
    assert_eq!(rows["entries"][0]["resource"], "user:alice");
    assert_eq!(rows["entries"][0]["details"]["logins_ended"], 1);
    assert_eq!(actions(&admin, "&action=password_change_failed").await.len(), 1);
    server.stop().await;
});

/// A connected login: control socket, voice in General.
async fn connected(server: &TestServer, rest: &Rest) -> RawClient {
    let mut raw = RawClient::connect(server, rest.token.as_deref().unwrap()).await;
    raw.enter("General").await;
    raw
}

/// Its control socket is told why and closed, and its voice goes nowhere, within a second of `since`.
async fn is_out(server: &TestServer, mut raw: RawClient, since: std::time::Instant) {
    let told = tokio::time::timeout(LIMIT, raw.next_error()).await.unwrap();
    let (id, error) = told.expect("the reason comes before the end");
    assert_eq!((id, error.code), (None, ErrorCode::LoginRevoked), "{error}");
    assert!(since.elapsed() < AT_ONCE, "the control socket was open for {:?}", since.elapsed());
    let before = server.voice().await;
    assert!(raw.next().await.is_none(), "the socket stays open");
    raw.voice.send(&raw.packet(1_000, b"too late")).unwrap();
    wait::until("the packet is dropped", LIMIT, || async {
        server.voice().await.unknown_session > before.unknown_session
    })
    .await;
    assert!(since.elapsed() < AT_ONCE + Duration::from_secs(1), "{:?}", since.elapsed());
    assert_eq!(server.voice().await.forwarded, before.forwarded);
}

on_both!(a_revoked_login_is_out_within_a_second, async |database| {
    let server = TestServer::start_on(&database).await;
    let listener = Rest::register(&server, "bob").await;
    let mut listening = connected(&server, &listener).await;
    let alice = Rest::register(&server, "alice").await;
    let refresh =
        async |rest: &Rest| rest.post("/auth/refresh", json!({ "refresh_token": rest.refresh_token })).await;

    // By hand, from another device.
    let stolen = Rest::log_in(&server, "alice").await;
    let raw = connected(&server, &stolen).await;
    raw.voice.send(&raw.packet(0, b"heard")).unwrap();
    wait::until("voice arrives", LIMIT, || async { server.voice().await.forwarded > 0 }).await;
    let sessions = alice.get("/auth/sessions").await.ok();
    let shown =
        array(&sessions["sessions"]).iter().find(|session| session["id"] == stolen.login.as_str()).unwrap();
    assert_eq!((&shown["connected"], &shown["current"]), (&json!(true), &json!(false)));
    let since = std::time::Instant::now();
    assert_eq!(alice.delete(&format!("/auth/sessions/{}", stolen.login)).await.status, 204);
    is_out(&server, raw, since).await;
    assert_eq!(stolen.get("/auth/me").await.refused().0, 401);
    assert_eq!(refresh(&stolen).await.refused().0, 401);
    assert_eq!(
        alice.delete(&format!("/auth/sessions/{}", stolen.login)).await.refused(),
        (404, "unknown_login")
    );
    let others = format!("/auth/sessions/{}", listener.login);
    assert_eq!(alice.delete(&others).await.refused(), (404, "unknown_login"), "somebody else's");
    assert_eq!(alice.delete("/auth/sessions/77").await.refused(), (400, "invalid_field"));

    // By a refresh token that was used twice.
    let mut stolen = Rest::log_in(&server, "alice").await;
    let copy = stolen.clone();
    let reply = refresh(&stolen).await.ok();
    stolen.take(&reply);
    let raw = connected(&server, &stolen).await;
    let since = std::time::Instant::now();
    assert_eq!(refresh(&copy).await.refused(), (401, "login_revoked"));
    is_out(&server, raw, since).await;

    // By a change of the password, by logging out, by a row that another program wrote.
    let other = Rest::log_in(&server, "alice").await;
    let raw = connected(&server, &other).await;
    let since = std::time::Instant::now();
    let change = json!({ "current": PASSWORD, "new": OTHER });
    assert_eq!(alice.post("/auth/password", change).await.status, 204);
    is_out(&server, raw, since).await;
    let raw = connected(&server, &alice).await;
    let since = std::time::Instant::now();
    assert_eq!(alice.post("/auth/logout", Value::Null).await.status, 204);
    is_out(&server, raw, since).await;
    let carol = Rest::register(&server, "carol").await;
    let raw = connected(&server, &carol).await;
    let mut shell = server.store.begin().await.unwrap();
    let carol_id = voip_protocol::UserId(carol.user);
    shell.revoke_logins(carol_id, None, "by the shell", OffsetDateTime::now_utc()).await.unwrap();
    shell.commit().await.unwrap();
    is_out(&server, raw, std::time::Instant::now()).await;

    // Nobody else was touched.
    assert!(
        listening.ask("set_self", json!({ "muted": true, "deafened": false })).await.get("result").is_some()
    );
    server.stop().await;
});

on_both!(a_later_login_of_the_same_device_takes_the_place_of_the_earlier, async |database| {
    let server = TestServer::start_on(&database).await;
    let first = Rest::register(&server, "alice").await;
    let log_in = async |name: &str, id: Option<&str>| {
        let mut rest = Rest::new(&server);
        let device = json!({ "name": "Laptop", "id": id });
        let body = json!({ "username": name, "password": PASSWORD, "device": device });
        let reply = rest.post("/auth/login", body).await.ok();
        rest.take(&reply);
        rest
    };
    let earlier = log_in("alice", Some("4711")).await;
    let raw = connected(&server, &earlier).await;
    let since = std::time::Instant::now();
    let later = log_in("alice", Some("4711")).await;
    is_out(&server, raw, since).await;
    let without = log_in("alice", None).await;
    log_in("alice", None).await;
    for (rest, status) in [(&first, 200), (&earlier, 401), (&later, 200), (&without, 200)] {
        assert_eq!(rest.get("/auth/me").await.status, status);
    }
    for device in
        [json!({ "name": "" }), json!({ "name": "x".repeat(65) }), json!({ "name": "a\u{0}b" }), json!("x")]
    {
        let body = json!({ "username": "alice", "password": PASSWORD, "device": device });
        assert_eq!(first.post("/auth/login", body).await.refused(), (400, "invalid_field"), "{device}");
    }
    server.stop().await;
});

on_both!(five_wrong_passwords_lock_and_nobody_can_tell, async |database| {
    let server = TestServer::start_on(&database).await;
    let admin = Rest::log_in(&server, "admin").await;
    let alice = Rest::register(&server, "alice").await;
    let disabled = Rest::register(&server, "disabled").await;
    admin.patch(&format!("/admin/users/{}", disabled.user), json!({ "active": false })).await.ok();
    let words = async |name: &str, password: &str| {
        let reply = Rest::new(&server).try_log_in(name, password).await;
        assert_eq!(reply.refused(), (401, "invalid_credentials"));
        reply.body.to_string()
    };
    let unknown = words("nobody", OTHER).await;
    for (name, password) in
        [("disabled", PASSWORD), ("disabled", OTHER), ("no such name!", OTHER), ("", OTHER)]
    {
        assert_eq!(words(name, password).await, unknown);
    }
    for _ in 0..4 {
        assert_eq!(words("alice", OTHER).await, unknown);
    }
    Rest::log_in(&server, "Alice").await;
    for _ in 0..5 {
        assert_eq!(words("ALICE", OTHER).await, unknown);
    }
    assert_eq!(words("alice", PASSWORD).await, unknown, "the right one is refused, too");
    assert_eq!(alice.get("/auth/me").await.status, 200, "whoever is in stays in");
    let change = alice.post("/auth/password", json!({ "current": PASSWORD, "new": OTHER })).await;
    assert_eq!(change.refused(), (401, "invalid_credentials"), "and cannot be used to guess on");
    let users = admin.get("/admin/users?search=alice").await.ok();
    let until = users["users"][0]["locked_until"].as_str().unwrap();
    let until = OffsetDateTime::parse(until, &time::format_description::well_known::Rfc3339).unwrap();
    let minutes = (until - OffsetDateTime::now_utc()).whole_minutes();
    assert!((13..=15).contains(&minutes), "{minutes}");
    assert_eq!(actions(&admin, "&action=account_locked").await.len(), 1);
    let of_alice = "&action=login_failed&resource=user:alice";
    assert_eq!(actions(&admin, of_alice).await.len(), 10, "however the name was written");
    let by_alice = format!("&action=login_failed&actor={}", alice.user);
    assert!(actions(&admin, &by_alice).await.is_empty(), "nobody knows who it was");

    // A quarter of an hour later.
    let past = if database.is_sqlite() { "'2020-01-01T00:00:00.000000Z'" } else { "'2020-01-01'" };
    database.execute(&format!("UPDATE users SET locked_until = {past} WHERE username_key = 'alice'")).await;
    Rest::log_in(&server, "alice").await;
    for _ in 0..4 {
        words("alice", OTHER).await;
    }
    Rest::log_in(&server, "alice").await;

    // An administrator lifts it by a new password.
    for _ in 0..5 {
        words("alice", OTHER).await;
    }
    let reset =
        admin.post(&format!("/admin/users/{}/password", alice.user), json!({ "password": OTHER })).await;
    assert_eq!(reset.ok()["password"], Value::Null);
    alice.try_log_in("alice", OTHER).await.ok();
    server.stop().await;
});

on_both!(guesses_that_come_all_at_once_lock_as_well, async |database| {
    let server = TestServer::start_on(&database).await;
    Rest::register(&server, "alice").await;
    let mut guesses = tokio::task::JoinSet::new();
    for number in 0..10 {
        let rest = Rest::new(&server);
        guesses.spawn(async move { rest.try_log_in("alice", &format!("wrong-guess-{number}")).await.status });
    }
    assert!(guesses.join_all().await.into_iter().all(|status| status == 401));
    let refused = Rest::new(&server).try_log_in("alice", PASSWORD).await;
    assert_eq!(refused.refused(), (401, "invalid_credentials"));
    server.stop().await;
});

#[tokio::test(flavor = "multi_thread")]
async fn limits_by_account_and_by_address() {
    let limited = |reply: &Reply| {
        assert_eq!(reply.refused(), (429, "too_many_requests"));
        assert!(reply.retry_after.is_some_and(|seconds| (1..=60 * 60).contains(&seconds)), "{reply:?}");
    };
    let server = TestServer::start_with(|config| config.security.logins_per_minute_by_account = 3).await;
    let rest = Rest::new(&server);
    for name in ["admin", "nobody"] {
        for spelling in [name.to_owned(), name.to_uppercase(), format!(" {name} ")] {
            assert_ne!(rest.try_log_in(&spelling, OTHER).await.status, 429);
        }
        limited(&rest.try_log_in(name, PASSWORD).await);
    }
    assert_eq!(rest.try_log_in("somebody else", PASSWORD).await.status, 401);
    server.stop().await;

    let server = TestServer::start_with(|config| config.security.logins_per_minute_by_address = 4).await;
    let admin = Rest::log_in(&server, "admin").await;
    admin.try_log_in("a", OTHER).await.refused();
    admin.post("/auth/refresh", json!({ "refresh_token": "x" })).await.refused();
    admin.post("/auth/password", json!({ "current": OTHER, "new": OTHER })).await.refused();
    limited(&admin.try_log_in("b", OTHER).await);
    limited(&admin.post("/auth/refresh", json!({ "refresh_token": "x" })).await);
    limited(&admin.post("/auth/password", json!({ "current": PASSWORD, "new": OTHER })).await);
    assert_eq!(admin.get("/auth/me").await.status, 200, "who is in, goes on");
    server.stop().await;

    let server = TestServer::start_with(|config| config.security.registrations_per_hour_by_address = 2).await;
    Rest::register(&server, "alice").await;
    Rest::register(&server, "bob").await;
    let third = json!({ "username": "carol", "password": PASSWORD });
    limited(&Rest::new(&server).post("/auth/register", third).await);
    Rest::log_in(&server, "alice").await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_takes_nobody() {
    let server = TestServer::start_with(|config| config.security.registration = false).await;
    let body = json!({ "username": "alice", "password": PASSWORD });
    assert_eq!(Rest::new(&server).post("/auth/register", body).await.refused(), (403, "registration_closed"));
    server.stop().await;
}

on_both!(who_is_disabled_is_out_at_once, async |database| {
    let server = TestServer::start_on(&database).await;
    let admin = Rest::log_in(&server, "admin").await;
    let alice = Rest::register(&server, "alice").await;
    let raw = connected(&server, &alice).await;
    let route = format!("/admin/users/{}", alice.user);
    let since = std::time::Instant::now();
    assert_eq!(admin.patch(&route, json!({ "active": false })).await.ok()["active"], false);
    is_out(&server, raw, since).await;
    assert_eq!(alice.get("/auth/me").await.refused().0, 401);
    let refresh = json!({ "refresh_token": alice.refresh_token });
    assert_eq!(alice.post("/auth/refresh", refresh).await.refused().0, 401);
    assert_eq!(alice.try_log_in("alice", PASSWORD).await.refused(), (401, "invalid_credentials"));
    assert!(voip_tests::raw::open(&server, alice.token.as_deref().unwrap()).await.is_err());
    admin.patch(&route, json!({ "active": false })).await.ok();
    assert_eq!(admin.patch(&route, json!({ "active": true })).await.ok()["active"], true);
    assert_eq!(alice.get("/auth/me").await.refused().0, 401, "old logins stay ended");
    Rest::log_in(&server, "alice").await;
    assert_eq!(actions(&admin, "&action=user_disabled").await.len(), 1, "what changes nothing is no event");
    assert_eq!(actions(&admin, "&action=user_enabled").await.len(), 1);
    server.stop().await;
});

on_both!(members_are_managed, async |database| {
    let server = TestServer::start_on(&database).await;
    let admin = Rest::log_in(&server, "admin").await;
    let roles = admin.get("/admin/roles").await.ok();
    let roles = array(&roles["roles"]);
    let names: Vec<_> = roles.iter().map(|role| role["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["Admin", "Officer", "Member", "Guest"]);
    let role = |name: &str| roles.iter().find(|role| role["name"] == name).unwrap()["id"].clone();

    // With a password that the server makes.
    let reply = admin.post("/admin/users", json!({ "username": "Bob" })).await;
    assert_eq!(reply.status, 201, "{reply:?}");
    let created = reply.ok();
    let made = created["password"].as_str().unwrap();
    assert!(made.len() >= 12, "{made}");
    admin.try_log_in("bob", made).await.ok();
    assert_eq!(
        (&created["user"]["created_via"], &created["user"]["active"]),
        (&json!("admin"), &json!(true))
    );
    assert_eq!(created["user"]["roles"][0]["name"], "Member");
    // With everything.
    let whole = json!({
        "username": "carol", "display_name": "Carol ✓", "email": "carol@example.org", "password": PASSWORD,
        "roles": [role("Guest"), role("Officer")],
    });
    let carol = admin.post("/admin/users", whole).await.ok();
    assert_eq!(carol["password"], Value::Null);
    let carol = &carol["user"];
    assert_eq!((&carol["email"], &carol["display_name"]), (&json!("carol@example.org"), &json!("Carol ✓")));
    assert_eq!(
        (&carol["roles"][0]["name"], &carol["roles"][1]["name"]),
        (&json!("Officer"), &json!("Guest"))
    );
    let officer = Rest::log_in(&server, "carol").await;

    let route = format!("/admin/users/{}", carol["id"]);
    let changed = admin.patch(&route, json!({ "display_name": "C", "email": "" })).await.ok();
    assert_eq!((&changed["display_name"], &changed["email"]), (&json!("C"), &Value::Null));
    assert_eq!(admin.patch(&route, json!({})).await.ok(), changed, "nothing asked, nothing changed");
    for (body, code) in [
        (json!({ "username": "BOB" }), (409, "username_taken")),
        (json!({ "username": "dave", "roles": [999_999] }), (400, "invalid_field")),
        (json!({ "username": "dave", "roles": [role("Admin")] }), (403, "permission_denied")),
        (json!({ "username": "dave", "password": "12345678" }), (400, "weak_password")),
        (json!({ "username": "dave", "email": "no address" }), (400, "invalid_field")),
        (json!({ "username": "a b" }), (400, "invalid_field")),
        (json!({}), (400, "invalid_field")),
        (json!({ "username": "dave", "more": 1 }), (400, "invalid_field")),
    ] {
        let reply = admin.post("/admin/users", body.clone()).await;
        // Whether an administrator may make another is the organization's owner's to say.
        if !(body["roles"] == json!([role("Admin")]) && reply.status == 201) {
            assert_eq!(reply.refused(), code, "{body}");
        }
    }

    // Another password: made by the server, or given; every login of the account ends.
    let reset = format!("{route}/password");
    let made = admin.post(&reset, json!({})).await.ok()["password"].as_str().unwrap().to_owned();
    assert_eq!(officer.get("/auth/me").await.refused().0, 401);
    officer.try_log_in("carol", &made).await.ok();
    assert_eq!(admin.post(&reset, json!({ "password": "password" })).await.refused(), (400, "weak_password"));
    admin.post(&reset, json!({ "password": PASSWORD })).await.ok();
    Rest::log_in(&server, "carol").await;
    assert_eq!(actions(&admin, "&action=password_reset").await.len(), 2);

    // One's own account is not one of them, and there is always somebody left to administer.
    let own = format!("/admin/users/{}", admin.user);
    assert_eq!(admin.patch(&own, json!({ "active": false })).await.refused(), (403, "permission_denied"));
    assert_eq!(admin.post(&format!("{own}/password"), json!({})).await.refused(), (403, "permission_denied"));
    server.stop().await;
});

on_both!(pages_of_members, async |database| {
    let server = TestServer::start_on(&database).await;
    let admin = Rest::log_in(&server, "admin").await;
    let file: Vec<_> = (0..12)
        .map(|number| json!({ "username": format!("Person{number}"), "password": PASSWORD }))
        .collect();
    let report = admin.post("/admin/users/import", Value::from(file)).await.ok();
    assert_eq!(report["created"], 12, "{report}");
    let (mut seen, mut after) = (BTreeSet::new(), String::new());
    for expected in [5, 5, 3] {
        let page = admin.get(&format!("/admin/users?limit=5{after}")).await.ok();
        assert_eq!((array(&page["users"]).len(), &page["total"]), (expected, &json!(13)));
        seen.extend(array(&page["users"]).iter().map(|user| user["id"].as_i64().unwrap()));
        after = format!("&after={}", page["next"]);
    }
    assert!(seen.len() == 13 && after == "&after=null");
    let total = async |query: &str| admin.get(&format!("/admin/users?{query}")).await.ok()["total"].clone();
    assert_eq!(total("search=person1").await, 3);
    assert_eq!(total("search=PERSON%20").await, 12);
    assert_eq!(total("search=%25").await, 0);
    assert_eq!(total("active=false").await, 0);
    assert_eq!(total("search=' OR '1'='1").await, 0);
    for past in ["after=9223372036854775807", "after=1000000", "search=person&after=1000000"] {
        let page = admin.get(&format!("/admin/users?{past}")).await.ok();
        assert_eq!((array(&page["users"]).len(), &page["next"]), (0, &Value::Null), "{past}");
    }
    for (bound, entries) in [("limit=1", 1), ("limit=200", 13), ("after=-1", 13)] {
        let page = admin.get(&format!("/admin/users?{bound}")).await.ok();
        assert_eq!(array(&page["users"]).len(), entries, "{bound}");
    }
    for wrong in [
        "limit=-1",
        "limit=0",
        "limit=201",
        "limit=4294967295",
        "limit=x",
        "limit=99999999999999999999",
        "after=x",
        "after=9223372036854775808",
        "active=perhaps",
        "unknown=1",
        "search=%00",
        "search=%ff",
    ] {
        let reply = admin.get(&format!("/admin/users?{wrong}")).await;
        assert_eq!(reply.refused(), (400, "invalid_field"), "{wrong}");
    }
    server.stop().await;
});

on_both!(nobody_does_what_is_not_theirs, async |database| {
    let server = TestServer::start_on(&database).await;
    let admin = Rest::log_in(&server, "admin").await;
    let (nobody, member) = (Rest::new(&server), Rest::register(&server, "member").await);
    let someone = Rest::register(&server, "someone").await.user;
    let own = format!("/admin/users/{someone}");
    let routes = [
        (Method::GET, "/admin/users".to_owned(), json!(null)),
        (Method::POST, "/admin/users".into(), json!({ "username": "x" })),
        (Method::PATCH, own.clone(), json!({ "active": false })),
        (Method::POST, format!("{own}/password"), json!({})),
        (Method::GET, "/admin/users/export".into(), json!(null)),
        (Method::POST, "/admin/users/import".into(), json!([])),
        (Method::GET, "/admin/roles".into(), json!(null)),
        (Method::GET, "/admin/audit".into(), json!(null)),
    ];
    for (method, route, body) in &routes {
        let reply = nobody.send(method.clone(), route, body.to_string()).await;
        assert_eq!(reply.refused(), (401, "unauthorized"), "{route}");
        let reply = member.send(method.clone(), route, body.to_string()).await;
        assert_eq!(reply.refused(), (403, "permission_denied"), "{route}");
    }
    for (method, route) in [
        (Method::GET, "/auth/me"),
        (Method::GET, "/auth/sessions"),
        (Method::POST, "/auth/logout"),
        (Method::POST, "/auth/password"),
        (Method::DELETE, "/auth/sessions/6f3e9f0e-0000-4000-8000-000000000000"),
    ] {
        assert_eq!(nobody.send(method, route, "{}").await.refused(), (401, "unauthorized"), "{route}");
    }

    // Who may manage users reaches those below, and gives what is below.
    let roles = admin.get("/admin/roles").await.ok();
    let id =
        |name: &str| array(&roles["roles"]).iter().find(|role| role["name"] == name).unwrap()["id"].clone();
    let manage = voip_protocol::Permissions::MANAGE_USERS.bits();
    database
        .execute(&format!("UPDATE roles SET permissions = permissions | {manage} WHERE name = 'Officer'"))
        .await;
    for name in ["officer", "equal"] {
        let body = json!({ "username": name, "password": PASSWORD, "roles": [id("Officer")] });
        admin.post("/admin/users", body).await.ok();
    }
    let officer = Rest::log_in(&server, "officer").await;
    let seen = officer.get("/admin/users").await.ok();
    let manageable = |name: &str| {
        let user = array(&seen["users"]).iter().find(|user| user["username"] == name).unwrap();
        (user["manageable"].as_bool().unwrap(), format!("/admin/users/{}", user["id"]))
    };
    for (name, may) in [("admin", false), ("officer", false), ("equal", false), ("member", true)] {
        let (shown, route) = manageable(name);
        assert_eq!(shown, may, "{name}");
        let status = officer.patch(&route, json!({ "display_name": "Changed" })).await.status;
        assert_eq!(status, if may { 200 } else { 403 }, "{name}");
        let status = officer.post(&format!("{route}/password"), json!({})).await.status;
        assert_eq!(status, if may { 200 } else { 403 }, "{name}");
    }
    let seen = officer.get("/admin/roles").await.ok();
    for role in array(&seen["roles"]) {
        let grantable = ["Member", "Guest"].contains(&role["name"].as_str().unwrap());
        assert_eq!(role["grantable"], grantable, "{role}");
        let name = format!("with-{}", role["name"].as_str().unwrap());
        let body = json!({ "username": name, "roles": [role["id"]] });
        assert_eq!(
            officer.post("/admin/users", body).await.status,
            if grantable { 201 } else { 403 },
            "{role}"
        );
        let entry =
            json!([{ "username": format!("file-{name}"), "password": PASSWORD, "roles": [role["name"]] }]);
        let report = officer.post("/admin/users/import", entry).await.ok();
        assert_eq!(report["created"], i32::from(grantable), "{report}");
    }

    // No row of one organization is visible from another.
    let now = if database.is_sqlite() { "'2026-01-01T00:00:00.000000Z'" } else { "now()" };
    database
        .execute(&format!(
            "INSERT INTO organizations (name, tag, tag_key, max_users, max_channels, created_at, updated_at)
            VALUES ('Other', 'OTHER', 'other', 10, 10, {now}, {now});
            INSERT INTO users (org_id, username, username_key, display_name, password_hash, created_via,
                password_changed_at, created_at, updated_at)
            SELECT id, 'foreign', 'foreign', 'Foreign', 'x', 'seed', {now}, {now}, {now}
            FROM organizations WHERE tag = 'OTHER'"
        ))
        .await;
    let foreign = database.count("SELECT id FROM users WHERE username = 'foreign'").await;
    assert_eq!(admin.get("/admin/users?search=foreign").await.ok()["total"], 0);
    for id in [foreign, -1, 0, i64::MAX, i64::MIN] {
        let route = format!("/admin/users/{id}");
        assert_eq!(
            admin.patch(&route, json!({ "active": false })).await.refused(),
            (404, "unknown_user"),
            "{id}"
        );
        let reply = admin.post(&format!("{route}/password"), json!({})).await;
        assert_eq!(reply.refused(), (404, "unknown_user"), "{id}");
    }
    let log_in = async |organization: Value| {
        let body = json!({ "username": "admin", "password": PASSWORD, "organization": organization });
        Rest::new(&server).post("/auth/login", body).await
    };
    assert_eq!(log_in(Value::Null).await.refused(), (400, "organization_required"));
    assert_eq!(log_in(json!("nowhere")).await.refused(), (404, "unknown_organization"));
    assert_eq!(log_in(json!("OTHER")).await.refused(), (401, "invalid_credentials"));
    log_in(json!("tEsT")).await.ok();
    let register = json!({ "username": "x", "password": PASSWORD });
    assert_eq!(nobody.post("/auth/register", register).await.refused(), (400, "organization_required"));
    server.stop().await;
});

on_both!(the_audit_log_is_read_by_page_and_filter, async |database| {
    let server = TestServer::start_on(&database).await;
    let admin = Rest::log_in(&server, "admin").await;
    let began = OffsetDateTime::now_utc();
    let alice = Rest::register(&server, "alice").await;
    for _ in 0..3 {
        alice.try_log_in("alice", OTHER).await.refused();
    }
    alice.try_log_in("nobody", OTHER).await.refused();
    alice.post("/auth/logout", Value::Null).await.ok();
    let all = actions(&admin, "").await;
    assert_eq!(
        all[..7],
        ["logout", "login_failed", "login_failed", "login_failed", "login_failed", "login", "register"]
    );
    let (mut paged, mut before) = (Vec::new(), String::new());
    loop {
        let page = admin.get(&format!("/admin/audit?limit=2{before}")).await.ok();
        paged.extend(array(&page["entries"]).iter().map(|row| row["action"].as_str().unwrap().to_owned()));
        if page["next"].is_null() {
            break;
        }
        before = format!("&before={}", page["next"]);
    }
    assert_eq!(paged, all);
    let alice_did = actions(&admin, &format!("&actor={}", alice.user)).await;
    assert_eq!(alice_did, ["logout", "login", "register"]);
    assert_eq!(actions(&admin, "&resource=user:alice").await.len(), 5);
    assert_eq!(actions(&admin, "&resource=user:nobody").await, ["login_failed"]);
    assert_eq!(actions(&admin, "&action=logout").await, ["logout"]);
    let format = time::format_description::well_known::Rfc3339;
    let at = |time: OffsetDateTime| time.format(&format).unwrap().replace('+', "%2B");
    assert_eq!(actions(&admin, &format!("&since={}", at(began))).await.len(), 7);
    assert_eq!(actions(&admin, &format!("&until={}", at(began))).await.len(), all.len() - 7);
    let elsewhere = began.to_offset(time::UtcOffset::from_hms(5, 30, 0).unwrap());
    assert_eq!(actions(&admin, &format!("&since={}", at(elsewhere))).await.len(), 7, "times have zones");
    for none in
        ["before=0", "before=-5", "before=-9223372036854775808", "actor=-1", "actor=9223372036854775807"]
    {
        assert!(
            array(&admin.get(&format!("/admin/audit?{none}")).await.ok()["entries"]).is_empty(),
            "{none}"
        );
    }
    for wrong in [
        "since=yesterday",
        "until=2026-13-01T00:00:00Z",
        "actor=x",
        "before=x",
        "limit=-1",
        "action=%00",
        "resource=a%00",
        // Is in no calendar, in UTC.
        "since=9999-12-31T23:59:59-01:00",
    ] {
        assert_eq!(
            admin.get(&format!("/admin/audit?{wrong}")).await.refused(),
            (400, "invalid_field"),
            "{wrong}"
        );
    }
    for distant in ["since=0001-01-01T00:00:00Z", "since=9999-12-31T23:59:59Z", "until=0000-01-01T00:00:00Z"]
    {
        admin.get(&format!("/admin/audit?{distant}")).await.ok();
    }
    // Nothing secret is in it.
    let everything = database.rows("SELECT details, resource FROM audit_log").await;
    let text = format!("{everything:?}");
    assert!(!text.contains(PASSWORD) && !text.contains(OTHER) && !text.contains("argon2"), "{text}");
    server.stop().await;
});

on_both!(a_login_in_use_lives_on, async |database| {
    let server = TestServer::start_on(&database).await;
    let alice = Rest::register(&server, "alice").await;
    let idle = Rest::log_in(&server, "alice").await;
    let raw = connected(&server, &alice).await;
    let past = if database.is_sqlite() {
        "strftime('%Y-%m-%dT%H:%M:%S.000000Z', 'now', '-2 seconds')"
    } else {
        "now() - interval '2 seconds'"
    };
    let alive = if database.is_sqlite() {
        "SELECT COUNT(*) FROM sessions WHERE expires_at > strftime('%Y-%m-%dT%H:%M:%S.000000Z', 'now')"
    } else {
        "SELECT COUNT(*) FROM sessions WHERE expires_at > now()"
    };
    database.execute(&format!("UPDATE sessions SET expires_at = {past}")).await;
    wait::until("the one that is connected is extended", LIMIT, || async {
        database.count(alive).await == 1
    })
    .await;
    alice.get("/auth/me").await.ok();
    assert_eq!(idle.get("/auth/me").await.refused(), (401, "token_expired"));
    // And it can be ended, connection and all.
    let since = std::time::Instant::now();
    alice.post("/auth/logout", json!({})).await.ok();
    is_out(&server, raw, since).await;
    server.stop().await;
});

on_both!(what_is_past_is_forgotten, async |database| {
    let server = TestServer::start_on(&database).await;
    let alice = Rest::register(&server, "alice").await;
    for _ in 0..3 {
        Rest::log_in(&server, "alice").await;
    }
    server.stop().await;
    let old = if database.is_sqlite() { "'2020-01-01T00:00:00.000000Z'" } else { "'2020-01-01'" };
    let own = if database.is_sqlite() {
        format!("x'{}'", alice.login.replace('-', ""))
    } else {
        format!("'{}'", alice.login)
    };
    database.execute(&format!("UPDATE sessions SET expires_at = {old} WHERE id <> {own}")).await;
    database.execute(&format!("UPDATE audit_log SET created_at = {old} WHERE action = 'register'")).await;
    let rows = database.count("SELECT COUNT(*) FROM audit_log").await;

    let keep = TestServer::start_with(|config| {
        config.database.url.clone_from(&database.url);
        config.audit.retention_days = 0;
    });
    let server = keep.await;
    wait::until("dead logins are forgotten", LIMIT, || async {
        database.count("SELECT COUNT(*) FROM sessions").await == 1
    })
    .await;
    assert_eq!(database.count("SELECT COUNT(*) FROM audit_log").await, rows, "kept for ever");
    server.stop().await;
    let server = TestServer::start_with(|config| {
        config.database.url.clone_from(&database.url);
        config.audit.retention_days = 30;
    })
    .await;
    wait::until("old audit rows are forgotten", LIMIT, || async {
        database.count("SELECT COUNT(*) FROM audit_log").await == rows - 1
    })
    .await;
    assert_eq!(alice.with_token(alice.token.as_deref()).login, alice.login);
    server.stop().await;
});

on_both!(import_and_export, async |database| {
    let server = TestServer::start_on(&database).await;
    let admin = Rest::log_in(&server, "admin").await;
    let legacy = format!(
        "[\n{},\n{},\n{},\n{},\n{}\n]",
        json!({ "username": "old1", "password": PASSWORD, "email": "old1@example.org" }),
        json!({ "username": "OLD1", "password": PASSWORD }),
        json!({ "username": "admin", "password": PASSWORD }),
        json!({ "username": "a b", "password": PASSWORD }),
        json!({ "username": "old2", "password": "12345678" }),
    );
    let import = async |query: &str, file: &str| {
        admin.send(Method::POST, &format!("/admin/users/import{query}"), file.to_owned()).await
    };
    let report = import("?atomic=true", &legacy).await.ok();
    assert_eq!((&report["created"], &report["refused"]), (&json!(0), &json!(3)), "{report}");
    assert_eq!(admin.get("/admin/users").await.ok()["total"], 1, "all or nothing");
    let report = import("?atomic=false", &legacy).await.ok();
    assert_eq!(
        (&report["created"], &report["skipped"], &report["refused"]),
        (&json!(1), &json!(1), &json!(3))
    );
    let outcomes: Vec<_> = array(&report["lines"])
        .iter()
        .map(|line| (line["line"].as_u64().unwrap(), line["outcome"].as_str().unwrap()))
        .collect();
    assert_eq!(
        outcomes,
        [(2, "created"), (3, "refused"), (4, "skipped"), (5, "refused"), (6, "refused")],
        "{report}"
    );
    Rest::log_in(&server, "old1").await;

    let exported = admin.get("/admin/users/export").await.ok();
    assert_eq!(exported["format"], "voip-users");
    assert!(!exported.to_string().contains("argon2"), "no hashes leave by this way");
    let hashes = voip_server::transfer::Hashes::With;
    let file = voip_server::transfer::export(&server.store, None, hashes).await.unwrap();
    for wrong in
        ["", "nonsense", "{}", "[1, 2]x", "{\"format\":\"other\",\"version\":1,\"organizations\":[]}"]
    {
        let reply = import("", wrong).await;
        assert_eq!(reply.refused().0, 400, "{wrong}: {reply:?}");
    }
    assert_eq!(import("?atomic=perhaps", "[]").await.refused(), (400, "invalid_field"));
    let large = format!("[{}]", "\"x\",".repeat(3 << 20));
    assert_eq!(import("", &large).await.refused(), (413, "message_too_large"));
    let invalid = admin.send(Method::POST, "/admin/users/import", vec![b'[', 0xff, b']']).await;
    assert_eq!(invalid.refused(), (400, "malformed_message"));
    assert!(actions(&admin, "").await.contains(&"users_exported".to_owned()));
    server.stop().await;

    // What went out with hashes comes in elsewhere, and its people log in.
    let elsewhere = database.empty_like().await;
    let server = TestServer::start_on(&elsewhere).await;
    let admin = Rest::log_in(&server, "admin").await;
    let report = admin.send(Method::POST, "/admin/users/import?atomic=true", file).await.ok();
    assert_eq!((&report["created"], &report["skipped"]), (&json!(1), &json!(1)), "{report}");
    Rest::log_in(&server, "old1").await;
    let users = admin.get("/admin/users?search=old1").await.ok();
    assert_eq!(users["users"][0]["email"], "old1@example.org");
    assert_eq!(users["users"][0]["created_via"], "import");
    server.stop().await;
});

on_both!(quotas_hold_over_rest, async |database| {
    let server = TestServer::start_on(&database).await;
    database.execute("UPDATE organizations SET max_users = 4").await;
    let mut people = tokio::task::JoinSet::new();
    for number in 0..8 {
        let rest = Rest::new(&server);
        people.spawn(async move {
            let body = json!({ "username": format!("user{number}"), "password": PASSWORD });
            rest.post("/auth/register", body).await
        });
    }
    let (made, refused): (Vec<_>, Vec<_>) =
        people.join_all().await.into_iter().partition(|reply: &Reply| reply.status == 201);
    assert_eq!(made.len(), 3);
    for reply in &refused {
        assert_eq!(reply.refused(), (403, "quota_exceeded"));
    }
    let admin = Rest::log_in(&server, "admin").await;
    let reply = admin.post("/admin/users", json!({ "username": "one-more" })).await;
    assert_eq!(reply.refused(), (403, "quota_exceeded"));
    let file = json!([{ "username": "two-more", "password": PASSWORD }]);
    assert_eq!(admin.post("/admin/users/import", file).await.ok()["refused"], 1);
    assert_eq!(database.count("SELECT COUNT(*) FROM users").await, 4);
    server.stop().await;
});

/// A password hashed with the parameters of another day is hashed anew when it is used.
mod old_hashes_are_made_anew {
    use super::*;

    /// Of [`PASSWORD`], with 8 MiB and one pass.
    const OLD: &str = "$argon2id$v=19$m=8192,t=1,p=1$";

    async fn test(database: Database) {
        let server = TestServer::start_on(&database).await;
        Rest::register(&server, "alice").await;
        let hash = hash_of_old();
        assert!(hash.starts_with(OLD), "{hash}");
        database
            .execute(&format!("UPDATE users SET password_hash = '{hash}' WHERE username_key = 'alice'"))
            .await;
        let kept = async || {
            let rows = database.rows("SELECT password_hash FROM users WHERE username_key = 'alice'").await;
            rows[0][0].clone().unwrap()
        };
        Rest::new(&server).try_log_in("alice", OTHER).await.refused();
        assert_eq!(kept().await, hash, "a wrong password changes nothing");
        Rest::log_in(&server, "alice").await;
        assert!(kept().await.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"));
        Rest::log_in(&server, "alice").await;
        server.stop().await;
    }

    fn hash_of_old() -> String {
        use argon2::{Algorithm, Argon2, Params, PasswordHasher, Version};
        let params = Params::new(8_192, 1, 1, None).unwrap();
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        argon2.hash_password(PASSWORD.as_bytes()).unwrap().to_string()
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn sqlite() {
        test(Database::sqlite()).await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn postgres() {
        test(Database::postgres().await).await;
    }
}
