//! Whatever is wrong gets one clear error, and the server goes on.

#![allow(clippy::unwrap_used)]

use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;
use voip_client::{ClientErrorCode, net::probe};
use voip_protocol::{Address, ErrorCode, Fingerprint};
use voip_server::{Listeners, Store, StoreError, config::DatabaseConfig};
use voip_tests::{
    client::{LIMIT, TestClient, login},
    process::Server,
    raw::{RawClient, open},
    server::{PASSWORD, TestServer, alone, config, http},
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
async fn migrations_go_down_and_up_again_and_a_newer_database_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let database = config(folder.path()).database;
    let store = Store::open(&database).await.unwrap();
    let applied =
        |states: Vec<voip_server::store::MigrationState>| states.iter().filter(|state| state.applied).count();
    let all = store.migrations().await.unwrap().len();
    assert_eq!(applied(store.migrations().await.unwrap()), all);
    store.migrate_down(2).await.unwrap();
    assert_eq!(applied(store.migrations().await.unwrap()), 2);
    store.migrate_down(0).await.unwrap();
    assert_eq!(applied(store.migrations().await.unwrap()), 0);
    store.migrate_up(None).await.unwrap();
    store.migrate_up(None).await.unwrap();
    assert_eq!(applied(store.migrations().await.unwrap()), all);
    store.close().await;
    let mark = "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
                VALUES (9999, 'from the future', TRUE, x'00', 0)";
    let raw = sqlx::SqlitePool::connect(&database.url).await.unwrap();
    sqlx::query(mark).execute(&raw).await.unwrap();
    raw.close().await;
    assert!(matches!(Store::open(&database).await.err().unwrap(), StoreError::Newer(9999)));
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
#[test]
fn starts_that_cannot_work() {
    let folder = tempfile::tempdir().unwrap();
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
