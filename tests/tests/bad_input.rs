//! Whatever is wrong gets one clear error, and the server goes on.

#![allow(clippy::unwrap_used)]

use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;
use voip_client::{ClientErrorCode, net::probe};
use voip_protocol::{Address, ErrorCode, Fingerprint};
use voip_server::{Listeners, Store, StoreError, config::DatabaseConfig};
use voip_tests::{
    client::{LIMIT, TestClient, login},
    database::Database,
    on_both,
    postgres::Postgres,
    process::Server,
    raw::{RawClient, open},
    rest::{Reply, Rest},
    server::{JWT_SECRET, PASSWORD, TestServer, alone, config, http},
    wait,
};

fn code(reply: &Value) -> &str {
    assert!(reply["error"]["message"].as_str().is_some_and(|message| message.len() > 15), "{reply}");
    reply["error"]["code"].as_str().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn rest_requests() {
    let server = TestServer::start().await;
    let account =
        |username: &str, password: &str| json!({ "username": username, "password": password }).to_string();
    let cases = [
        ("/auth/login", account("admin", "wrong horse"), 401, "invalid_credentials"),
        ("/auth/login", account("nobody", PASSWORD), 401, "invalid_credentials"),
        (
            "/auth/login",
            json!({ "username": "admin", "password": PASSWORD, "organization": "NONE" }).to_string(),
            404,
            "unknown_organization",
        ),
        ("/auth/login", "nonsense".into(), 400, "malformed_message"),
        ("/auth/login", String::new(), 400, "malformed_message"),
        ("/auth/login", json!({ "username": 5, "password": PASSWORD }).to_string(), 400, "invalid_field"),
        ("/auth/login", json!({ "username": "admin" }).to_string(), 400, "invalid_field"),
        (
            "/auth/login",
            json!({ "username": "admin", "password": PASSWORD, "more": 1 }).to_string(),
            400,
            "invalid_field",
        ),
        ("/auth/login", "[".repeat(10_000_000), 413, "message_too_large"),
        ("/auth/register", account("ADMIN", PASSWORD), 409, "username_taken"),
        ("/auth/register", account("a b", PASSWORD), 400, "invalid_field"),
        ("/auth/register", account("x'); DROP TABLE users; --", PASSWORD), 400, "invalid_field"),
        ("/auth/register", account("null\0byte", PASSWORD), 400, "invalid_field"),
        ("/auth/register", account("short", "1234567"), 400, "invalid_field"),
        ("/auth/register", account("long", &"x".repeat(129)), 400, "invalid_field"),
        ("/nowhere", String::new(), 404, "not_found"),
        ("/auth/me", String::new(), 405, "method_not_allowed"),
    ];
    for (route, body, status, expected) in cases {
        let shown: String = body.chars().take(60).collect();
        let (got, reply) = server.post(route, body).await;
        assert_eq!((got, code(&reply)), (status, expected), "{route} {shown}");
    }
    let invalid_utf8 = server.post("/auth/login", vec![b'"', 0xff, 0xfe, b'"']).await;
    assert_eq!((invalid_utf8.0, code(&invalid_utf8.1)), (400, "malformed_message"));
    let (status, reply) = server.get("/auth/me").await;
    assert_eq!((status, code(&reply)), (401, "unauthorized"));
    let forged =
        http().get(server.url("/auth/me")).bearer_auth("eyJhbGciOiJub25lIn0.e30.").send().await.unwrap();
    assert_eq!(forged.status().as_u16(), 401);
    // What failed left nothing behind, and what is right still works.
    let (status, reply) = server.post("/auth/register", account("alice", PASSWORD)).await;
    assert_eq!(status, 201, "{reply}");
    let token = reply["access_token"].as_str().unwrap();
    let me: Value =
        http().get(server.url("/auth/me")).bearer_auth(token).send().await.unwrap().json().await.unwrap();
    assert_eq!(me["account"]["username"], "alice");
    assert_eq!(me["roles"][0]["name"], "Member");
    let (status, _) = server.post("/auth/login", account("Alice", PASSWORD)).await;
    assert_eq!(status, 200, "names do not depend on case");
    server.stop().await;
}

/// Texts that are trouble somewhere.
fn hostile() -> Vec<String> {
    let mut texts: Vec<String> = [
        "",
        " ",
        "\0",
        "a\0b",
        "'; DROP TABLE users; --",
        "' OR '1'='1",
        "admin'--",
        "\" OR \"\" = \"",
        "$1",
        "?",
        "%",
        "_",
        "\\",
        "${jndi:ldap://192.0.2.1/x}",
        "../../etc/passwd",
        "<script>alert(1)</script>",
        "line\nbreak",
        "\r\nSet-Cookie: a=b",
        "\u{202e}evil",
        "\u{feff}",
        "\u{0301}",
        "\u{fffd}",
        "\u{10ffff}",
        "İ",
        "ẞ",
        "null",
        "-1",
        "9223372036854775808",
        "1e999",
    ]
    .map(str::to_owned)
    .into();
    texts.extend([33, 65, 129, 255, 60_000].map(|length| "x".repeat(length)));
    texts.push("x".repeat(1 << 20));
    texts.push("\u{1F98A}".repeat(40));
    texts
}

/// How many rows there are of what a request may make.
async fn rows(database: &Database) -> i64 {
    let count = |table| format!("(SELECT COUNT(*) FROM {table})");
    let tables = ["organizations", "users", "user_roles", "user_organizations", "roles", "channels"];
    database.count(&format!("SELECT {}", tables.map(count).join(" + "))).await
}

// Each hostile text in each field of each route: taken as it is, or refused with a code, and nothing half-written.
on_both!(every_text_field, async |database| {
    // Wrong passwords are what this is about: nobody is to be locked out by them.
    let server = TestServer::start_with(|config| {
        config.database.url.clone_from(&database.url);
        config.security.lockout_attempts = 1_000_000;
    })
    .await;
    let admin = Rest::log_in(&server, "admin").await;
    let victim = Rest::register(&server, "victim").await;
    let user = format!("/admin/users/{}", victim.user);
    let post = reqwest::Method::POST;
    let fields: Vec<(reqwest::Method, String, Value, &str)> = vec![
        (
            post.clone(),
            "/auth/register".into(),
            json!({ "username": "new", "password": PASSWORD }),
            "username",
        ),
        (
            post.clone(),
            "/auth/register".into(),
            json!({ "username": "new1", "password": PASSWORD }),
            "display_name",
        ),
        (
            post.clone(),
            "/auth/register".into(),
            json!({ "username": "new2", "password": PASSWORD }),
            "organization",
        ),
        (post.clone(), "/auth/register".into(), json!({ "username": "new3" }), "password"),
        (post.clone(), "/auth/login".into(), json!({ "password": "wrong-one-7" }), "username"),
        (post.clone(), "/auth/login".into(), json!({ "username": "victim" }), "password"),
        (
            post.clone(),
            "/auth/login".into(),
            json!({ "username": "victim", "password": PASSWORD }),
            "organization",
        ),
        (post.clone(), "/auth/login".into(), json!({ "username": "victim", "password": PASSWORD }), "device"),
        (post.clone(), "/auth/refresh".into(), json!({}), "refresh_token"),
        (post.clone(), "/auth/password".into(), json!({ "new": "another-lantern-9" }), "current"),
        (post.clone(), "/auth/password".into(), json!({ "current": "wrong-one-7" }), "new"),
        (post.clone(), "/admin/users".into(), json!({}), "username"),
        (post.clone(), "/admin/users".into(), json!({ "username": "made1" }), "display_name"),
        (post.clone(), "/admin/users".into(), json!({ "username": "made2" }), "email"),
        (post.clone(), "/admin/users".into(), json!({ "username": "made3" }), "password"),
        (reqwest::Method::PATCH, user.clone(), json!({}), "display_name"),
        (reqwest::Method::PATCH, user.clone(), json!({}), "email"),
        (post.clone(), format!("{user}/password"), json!({}), "password"),
    ];
    for (method, route, rest, field) in fields {
        let mut before = rows(&database).await;
        for text in hostile() {
            let shown: String = text.chars().take(30).collect();
            let mut body = rest.clone();
            body[field] = if field == "device" { json!({ "name": text, "id": text }) } else { json!(text) };
            let reply = admin.send(method.clone(), &route, body.to_string()).await;
            if reply.status < 300 {
                assert!(!text.contains('\0') && text.len() < 1 << 20, "{route} took {field} {shown:?}");
                before = rows(&database).await;
                continue;
            }
            let (_, code) = reply.refused();
            assert!(code != "internal", "{route} {field} {shown:?}: {reply:?}");
            assert_eq!(rows(&database).await, before, "{route} {field} {shown:?}: half-written");
        }
    }
    // In an address, too.
    for text in hostile() {
        let Ok(mut url) = reqwest::Url::parse(&server.url("/admin/users")) else { unreachable!("it is one") };
        for (route, parameter) in [
            ("/admin/users", "search"),
            ("/admin/audit", "action"),
            ("/admin/audit", "resource"),
            ("/admin/audit", "since"),
        ] {
            url.set_path(route);
            url.query_pairs_mut().clear().append_pair(parameter, &text);
            let request = http().get(url.clone()).bearer_auth(admin.token.as_ref().unwrap());
            // One that is too long for an address is refused before anybody looks at it.
            let Ok(response) = request.send().await else { continue };
            let status = response.status().as_u16();
            let shown: String = text.chars().take(30).collect();
            assert!(status == 200 || (400..500).contains(&status), "{route}?{parameter}={shown:?}: {status}");
        }
        url.path_segments_mut().unwrap().clear().extend(["auth", "sessions", &text]);
        url.set_query(None);
        let request = http().delete(url).bearer_auth(admin.token.as_ref().unwrap());
        if let Ok(response) = request.send().await {
            assert!((400..500).contains(&response.status().as_u16()), "{response:?}");
        }
    }
    // And where a browser says what it is.
    for agent in [&b"\xff\xfe\xc3"[..], b"tab\tand more", b"'; DROP TABLE sessions; --", &[b'x'; 8_000]] {
        let body = json!({ "username": "admin", "password": PASSWORD }).to_string();
        let request = http().post(server.url("/auth/login")).header("user-agent", agent).body(body);
        assert_eq!(request.send().await.unwrap().status().as_u16(), 200, "{agent:?}");
    }
    let sessions = admin.get("/auth/sessions").await.ok();
    assert_eq!(sessions["sessions"].as_array().unwrap().len(), 5);
    server.stop().await;
});

// Bodies that are no JSON, or other JSON, on each route that takes one.
on_both!(every_body, async |database| {
    let server = TestServer::start_on(&database).await;
    let admin = Rest::log_in(&server, "admin").await;
    let deep = "[".repeat(50_000);
    let bodies: [&[u8]; 14] = [
        b"",
        b"nonsense",
        b"{",
        b"null",
        b"[]",
        b"7",
        b"\"text\"",
        b"{\"username\": 7, \"password\": []}",
        b"{\"username\": \"\xff\xfe\", \"password\": \"velvet-anchor-7\"}",
        b"{\"username\": \"\\ud800\", \"password\": \"velvet-anchor-7\"}",
        b"{\"username\": \"a\", \"username\": \"b\", \"password\": \"velvet-anchor-7\"}",
        b"{\"unknown\": 1}",
        b"\0\0\0\0",
        deep.as_bytes(),
    ];
    let before = rows(&database).await;
    for route in [
        "/auth/register",
        "/auth/login",
        "/auth/refresh",
        "/auth/password",
        "/admin/users",
        "/admin/users/1/password",
    ] {
        for body in bodies {
            let reply = admin.send(reqwest::Method::POST, route, body.to_vec()).await;
            assert_eq!(reply.refused().0, 400, "{route}: {reply:?}");
        }
        let reply = admin.send(reqwest::Method::POST, route, vec![b'x'; 10 << 20]).await;
        assert_eq!(reply.refused(), (413, "message_too_large"), "{route}");
        for method in [reqwest::Method::PUT, reqwest::Method::OPTIONS, reqwest::Method::TRACE] {
            assert_eq!(admin.send(method, route, "").await.refused(), (405, "method_not_allowed"), "{route}");
        }
    }
    assert_eq!(rows(&database).await, before);
    server.stop().await;
});

// Tokens that are not this server's, or not any more.
on_both!(every_token, async |database| {
    use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
    use voip_server::auth::{Claims, Tokens};

    let server = TestServer::start_on(&database).await;
    let alice = Rest::register(&server, "alice").await;
    let good = alice.token.clone().unwrap();
    let parts: Vec<&str> = good.split('.').collect();
    let payload = URL_SAFE_NO_PAD.decode(parts[1]).unwrap();
    let claims: Claims = serde_json::from_slice(&payload).unwrap();
    let own = Tokens::new(&JWT_SECRET.to_owned().into(), 60);
    let sign = |tokens: &Tokens, claims: &Claims| {
        serde_json::to_value(tokens.sign(claims).unwrap()).unwrap().as_str().unwrap().to_owned()
    };
    assert_eq!(
        alice.with_token(Some(&sign(&own, &claims))).get("/auth/me").await.status,
        200,
        "the key is known"
    );
    let other = Tokens::new(&"of another server, and as long as it has to be".to_owned().into(), 60);
    let header = |text: &str| URL_SAFE_NO_PAD.encode(text);
    let expired = Claims { exp: claims.iat - 1, ..claims.clone() };
    let admin_id = database.count("SELECT id FROM users WHERE username_key = 'admin'").await;
    let mut somebody: Value = serde_json::from_slice(&payload).unwrap();
    somebody["sub"] = json!(admin_id.to_string());
    let somebody = URL_SAFE_NO_PAD.encode(somebody.to_string());
    let none = header(r#"{"typ":"JWT","alg":"none"}"#);
    for (what, token, code) in [
        ("expired", sign(&own, &expired), "token_expired"),
        ("of another key", sign(&other, &claims), "unauthorized"),
        ("never given", sign(&own, &Claims { jti: uuid::Uuid::new_v4(), ..claims.clone() }), "token_expired"),
        ("alg none", format!("{none}.{}.", parts[1]), "unauthorized"),
        ("alg none, signed", format!("{none}.{}.{}", parts[1], parts[2]), "unauthorized"),
        ("alg None", format!("{}.{}.", header(r#"{"alg":"None"}"#), parts[1]), "unauthorized"),
        ("no alg", format!("{}.{}.{}", header("{}"), parts[1], parts[2]), "unauthorized"),
        ("HS512", format!("{}.{}.{}", header(r#"{"alg":"HS512"}"#), parts[1], parts[2]), "unauthorized"),
        ("RS256", format!("{}.{}.{}", header(r#"{"alg":"RS256"}"#), parts[1], parts[2]), "unauthorized"),
        ("forged subject", format!("{}.{somebody}.{}", parts[0], parts[2]), "unauthorized"),
        ("no signature", format!("{}.{}.", parts[0], parts[1]), "unauthorized"),
        ("two parts", format!("{}.{}", parts[0], parts[1]), "unauthorized"),
        ("four parts", format!("{good}.x"), "unauthorized"),
        ("a refresh token", alice.refresh_token.clone(), "unauthorized"),
        ("nonsense", "nonsense".into(), "unauthorized"),
        ("dots", "..".into(), "unauthorized"),
        ("long", "x".repeat(8_000), "unauthorized"),
    ] {
        let reply = alice.with_token(Some(&token)).get("/auth/me").await;
        assert_eq!(reply.refused(), (401, code), "{what}");
        assert!(open(&server, &token).await.is_err(), "{what}");
    }
    for scheme in ["Basic YTpi", "Bearer", "Bearer ", "bearer", ""] {
        let request = http().get(server.url("/auth/me")).header("authorization", scheme);
        assert_eq!(request.send().await.unwrap().status().as_u16(), 401, "{scheme:?}");
    }
    // A token that says more than it may is not asked: the database is.
    let roles =
        Claims { roles: vec![voip_protocol::RoleId(1)], org: voip_protocol::OrganizationId(1), ..claims };
    let reply = alice.with_token(Some(&sign(&own, &roles))).get("/admin/users").await;
    assert_eq!(reply.refused(), (403, "permission_denied"));
    server.stop().await;
});

// Ids and routes that nobody has.
on_both!(every_id, async |database| {
    let server = TestServer::start_on(&database).await;
    let admin = Rest::log_in(&server, "admin").await;
    let ask = async |method: &reqwest::Method, route: &str| -> Reply {
        admin.send(method.clone(), route, "{}").await
    };
    let (patch, post, delete) = (reqwest::Method::PATCH, reqwest::Method::POST, reqwest::Method::DELETE);
    for id in ["0", "-1", "-9223372036854775808", "9223372036854775807", "00000"] {
        for (method, route) in
            [(&patch, format!("/admin/users/{id}")), (&post, format!("/admin/users/{id}/password"))]
        {
            assert_eq!(ask(method, &route).await.refused(), (404, "unknown_user"), "{route}");
        }
    }
    for id in ["9223372036854775808", "1e3", "x", "1.0", "%00", "1%20", "0x1", "١"] {
        for (method, route) in
            [(&patch, format!("/admin/users/{id}")), (&post, format!("/admin/users/{id}/password"))]
        {
            assert_eq!(ask(method, &route).await.refused(), (400, "invalid_field"), "{route}");
        }
    }
    let nobody = "/auth/sessions/00000000-0000-0000-0000-000000000000";
    assert_eq!(ask(&delete, nobody).await.refused(), (404, "unknown_login"));
    for id in ["1", "x", "00000000-0000-0000-0000-00000000000", "%00"] {
        assert_eq!(
            ask(&delete, &format!("/auth/sessions/{id}")).await.refused(),
            (400, "invalid_field"),
            "{id}"
        );
    }
    for route in ["/auth", "/admin", "/auth/login/", "/AUTH/LOGIN", "/auth//login"] {
        assert_eq!(ask(&post, route).await.refused().0, 404, "{route}");
    }
    server.stop().await;
});

#[tokio::test(flavor = "multi_thread")]
async fn control_messages() {
    let server = TestServer::start().await;
    assert!(open(&server, "no token").await.is_err());
    let mut client = RawClient::register(&server, "alice").await;
    let cases = [
        ("nonsense", None, ErrorCode::MalformedMessage),
        ("[]", None, ErrorCode::MalformedMessage),
        (r#"{"id":"x","method":"leave"}"#, None, ErrorCode::MalformedMessage),
        (r#"{"id":1,"method":"fly"}"#, Some(1), ErrorCode::UnknownMethod),
        (r#"{"id":2,"method":"join","params":{"channel":"General"}}"#, Some(2), ErrorCode::InvalidParams),
        (r#"{"id":3,"method":"join","params":{"channel":999}}"#, Some(3), ErrorCode::UnknownChannel),
        (r#"{"id":4,"method":"join","params":{"channel":-1}}"#, Some(4), ErrorCode::UnknownChannel),
        (r#"{"id":5,"method":"set_talking","params":{"talking":true}}"#, Some(5), ErrorCode::NotInChannel),
        (r#"{"id":6,"method":"join"}"#, Some(6), ErrorCode::InvalidParams),
    ];
    for (text, id, expected) in cases {
        client.send_text(text).await;
        let (answered, error) = client.next_error().await.unwrap();
        assert_eq!((answered, error.code), (id, expected), "{text}: {error}");
        assert!(error.message.len() > 15, "{error}");
    }
    assert!(client.send(Message::binary(vec![0; 100])).await);
    assert_eq!(client.next_error().await.unwrap().1.code, ErrorCode::BinaryNotAllowed);
    // Not over for it: the same connection still works.
    client.enter("General").await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_megabytes_of_brackets_end_one_connection_with_a_reason() {
    let server = TestServer::start().await;
    let client = RawClient::register(&server, "alice").await;
    let mut other = RawClient::register(&server, "bob").await;
    let told = client.send_while_reading(Message::text("[".repeat(10_000_000))).await;
    assert!(told.contains("message_too_large"), "{told:?}");
    other.enter("General").await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn logging_in() {
    let server = TestServer::start().await;
    let client = TestClient::new();
    let mut wrong = login(&server.address, server.fingerprint, "admin", false);
    wrong.password = "wrong horse".to_owned().into();
    let error = client.handle.connect(wrong).await.unwrap_err();
    assert_eq!(error.code, ClientErrorCode::Server(ErrorCode::InvalidCredentials));

    let other = login(&server.address, Fingerprint([7; 32]), "admin", false);
    let error = client.handle.connect(other).await.unwrap_err();
    assert_eq!(error.code, ClientErrorCode::CertificateChanged);
    assert!(error.message.contains(&server.fingerprint.to_string()), "{error}");

    let nobody = Address { host: "127.0.0.1".into(), port: 1 };
    let error = client.handle.connect(login(&nobody, server.fingerprint, "admin", false)).await.unwrap_err();
    assert_eq!(error.code, ClientErrorCode::Unreachable);
    assert_eq!(probe(&nobody).await.unwrap_err().code, ClientErrorCode::Unreachable);
    let nonsense = Address { host: "no host".into(), port: 9000 };
    assert!(probe(&nonsense).await.is_err());

    // Something else answers there.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = tokio::io::AsyncWriteExt::write_all(&mut stream, b"220 mail.example.org ESMTP\r\n").await;
        }
    });
    let mail = Address { host: "127.0.0.1".into(), port };
    assert_eq!(probe(&mail).await.unwrap_err().code, ClientErrorCode::NotAVoiceServer);

    let error = client.handle.join(voip_protocol::ChannelId(1)).await.unwrap_err();
    assert_eq!(error.code, ClientErrorCode::NotConnected);
    client.log_in(&server, "admin").await.unwrap();
    let error = client.handle.join(voip_protocol::ChannelId(999)).await.unwrap_err();
    assert_eq!(error.code, ClientErrorCode::Server(ErrorCode::UnknownChannel));
    client.enter("General").await;
    assert_eq!(probe(&server.address).await.unwrap(), server.fingerprint);
    server.stop().await;
}

#[tokio::test]
async fn a_database_file_that_is_none() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("voip.db");
    let letter = "Dear Sir or Madam, this is a letter and no database. ".repeat(200);
    std::fs::write(&file, &letter).unwrap();
    let error = Store::open(&config(folder.path()).database).await.err().unwrap();
    assert!(matches!(error, StoreError::NotADatabase), "{error:?}");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), letter, "it is left as it was");
    let url = |url: &str| DatabaseConfig { url: url.into(), ..DatabaseConfig::default() };
    assert!(matches!(Store::open(&url("mysql://host/db")).await.err().unwrap(), StoreError::Url(_)));
}

#[tokio::test]
async fn a_port_in_use() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = config(folder.path());
    let first = Listeners::bind(&config).unwrap();
    config.server.control_port = first.control_port();
    let error = Listeners::bind(&config).unwrap_err().to_string();
    assert!(error.contains(&first.control_port().to_string()) && error.contains("another port"), "{error}");
}

/// The program at a shell: exit code 2, one line that names what is wrong, no panic.
#[tokio::test(flavor = "multi_thread")]
async fn starts_that_cannot_work() {
    let folder = tempfile::tempdir().unwrap();
    let postgres = tokio::task::block_in_place(Postgres::shared);
    let exists = postgres.empty_database().await;
    postgres
        .administer(
            "DO $$ BEGIN CREATE ROLE locked LOGIN PASSWORD 'right'; \
        EXCEPTION WHEN duplicate_object THEN END $$",
        )
        .await;
    let wrong_password = exists.replace("voip@", "locked:hidden@");
    let read_only = folder.path().join("read-only.db");
    let database =
        DatabaseConfig { url: format!("sqlite:{}", read_only.display()), ..DatabaseConfig::default() };
    Store::open(&database).await.unwrap().close().await;
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let letter = file("letter.db", &"no database ".repeat(500));
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let good = format!(
        "data_dir: {}\nserver: {{bind_address: 127.0.0.1, control_port: 0, voice_port: 0}}\n",
        folder.path().display()
    );
    let cases = [
        ("/nowhere/server.yaml".to_owned(), "/nowhere/server.yaml"),
        (file("unknown.yaml", "server: {kontrol_port: 1}"), "kontrol_port"),
        (file("broken.yaml", "server: ["), "broken.yaml"),
        (file("value.yaml", "server: {control_port: many}"), "control_port"),
        (
            file("letter.yaml", &format!("{good}database: {{url: 'sqlite:{letter}'}}\n")),
            "not an SQLite database",
        ),
        (file("url.yaml", &format!("{good}database: {{url: 'mysql://u:hidden@host/db'}}\n")), "database.url"),
        (
            file("nowhere.yaml", &format!("{good}database: {{url: 'postgres://u:hidden@127.0.0.1:1/db'}}\n")),
            "database",
        ),
        (
            file("none.yaml", &format!("{good}database: {{url: '{}'}}\n", postgres.url("voip", "nothing"))),
            "nothing",
        ),
        (
            file(
                "nobody.yaml",
                &format!("{good}database: {{url: '{}'}}\n", postgres.url("nobody", "postgres")),
            ),
            "nobody",
        ),
        (file("password.yaml", &format!("{good}database: {{url: '{wrong_password}'}}\n")), "password"),
        (
            file("port-of-url.yaml", &format!("{good}database: {{url: 'postgres://h:port/db'}}\n")),
            "database.url",
        ),
        (
            file("folder.yaml", &format!("{good}database: {{url: 'sqlite:{}'}}\n", folder.path().display())),
            "database",
        ),
        (
            file("read-only.yaml", &format!("{good}database: {{url: '{}?mode=ro'}}\n", database.url)),
            "written",
        ),
        (file("port.yaml", &good.replace("control_port: 0", &format!("control_port: {port}"))), "in use"),
    ];
    for (config, expected) in cases {
        let output = std::process::Command::new(voip_tests::process::program("voip-server"))
            .args(["--config", &config, "serve"])
            .output()
            .unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{config}: {error}");
        assert!(error.contains(expected), "{config}: {error}");
        assert!(!error.contains("panicked") && !error.contains("hidden"), "{config}: {error}");
    }
}

/// Writing fails with its own code, reading and talking go on, nothing is lost, and room heals it.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk() {
    let _alone = alone().await;
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start_on_small_disk(folder.path(), 8 << 20);
    let (alice, bob) = (server.client("admin").await, server.client("bob").await);
    alice.enter("General").await;
    bob.enter("General").await;
    let post = async |route: &str, number: usize| {
        let body = json!({ "username": format!("user{number}"), "password": PASSWORD });
        let url = format!("https://{}{route}", server.invite.address);
        let response = http().post(url).json(&body).send().await.unwrap();
        (response.status().as_u16(), response.json::<Value>().await.unwrap())
    };
    assert_eq!(post("/auth/register", 1).await.0, 201);

    let filler = server.inner_folder().join("filler");
    let mut file = std::fs::File::create(&filler).unwrap();
    while std::io::Write::write_all(&mut file, &[1; 512]).is_ok() {}
    let mut made = vec![1];
    // What the database has room for in its own pages may still go in.
    let refused = loop {
        let number = made.len() + 1;
        assert!(number < 500, "the disk never became full");
        match post("/auth/register", number).await {
            (201, _) => made.push(number),
            refused => break refused,
        }
    };
    assert_eq!((refused.0, code(&refused.1)), (507, "storage_full"));
    let received = bob.statistics().await.frames_received;
    wait::until("the talk goes on", LIMIT, || async {
        bob.statistics().await.frames_received > received + 50
    })
    .await;
    let health = http().get(format!("https://{}/healthz", server.invite.address)).send().await.unwrap();
    assert_eq!(health.status().as_u16(), 200);

    drop(file);
    std::fs::remove_file(filler).unwrap();
    assert_eq!(post("/auth/register", 5_000).await.0, 201);
    for number in made {
        assert_eq!(post("/auth/login", number).await.0, 200, "user{number} is lost");
    }
}
