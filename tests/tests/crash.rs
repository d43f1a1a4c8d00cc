//! What a crash of the server or a loss of its database may cost: nothing that was acknowledged.

#![allow(clippy::unwrap_used)]

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use reqwest::Method;
use serde_json::{Value, json};
use voip_tests::{
    client::{LIMIT, TestClient},
    database::Database,
    postgres::{Durability, Postgres},
    process::Server,
    rest::{Reply, Rest},
    server::{ADMIN, PASSWORD, TestServer, alone},
    wait,
};

/// How often the server is killed; `make bench` and whoever wants to be sure set 20.
fn rounds() -> usize {
    std::env::var("CRASH_ROUNDS").ok().map_or(3, |rounds| rounds.parse().expect("CRASH_ROUNDS is a number"))
}

/// People who register at the same time.
const WRITERS: usize = 6;
/// What may be done with the database away: a request waits for a connection at most so long.
const ACQUIRE_SECONDS: u64 = 1;

#[tokio::test(flavor = "multi_thread")]
async fn kill_9_on_sqlite() {
    let _alone = alone().await;
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), 0, 0);
    let database = Database::at(&format!("sqlite:{}", folder.path().join("voip.db").display()));
    kill_again_and_again(server, &database).await;
    assert_eq!(database.rows("PRAGMA integrity_check").await, [[Some("ok".to_owned())]]);
    assert!(database.rows("PRAGMA foreign_key_check").await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_9_on_postgres() {
    let _alone = alone().await;
    let folder = tempfile::tempdir().unwrap();
    let postgres = tokio::task::block_in_place(|| Postgres::start(Durability::Full));
    let database = Database::at(&postgres.empty_database().await);
    let server = tokio::task::block_in_place(|| Server::start_on_database(folder.path(), &database.url));
    kill_again_and_again(server, &database).await;
}

/// Kills the server while people register, and looks after each start whether all is there that was promised.
async fn kill_again_and_again(mut server: Server, database: &Database) {
    let base = format!("https://{}", server.invite.address);
    let mut acknowledged = 0;
    for round in 0..rounds() {
        // Another moment of the work each time.
        let enough = 5 + round * 7 % 23;
        let made = register_until(&mut server, &base, round, enough).await;
        acknowledged += made.len();
        tokio::task::block_in_place(|| server.restart());
        check(&base, &made).await;
        check_rows(database, &made).await;
    }
    println!("{} on {}: {acknowledged} registrations acknowledged, none lost", rounds(), database.kind);
}

/// By name: the answer to each registration that was acknowledged before the server was killed.
async fn register_until(
    server: &mut Server,
    base: &str,
    round: usize,
    enough: usize,
) -> BTreeMap<String, Value> {
    let made = Arc::new(Mutex::new(BTreeMap::new()));
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..WRITERS {
        let (made, rest) = (Arc::clone(&made), Rest::at(base.to_owned()));
        writers.spawn(async move {
            for number in 0.. {
                let name = format!("r{round}w{writer}n{number}");
                let body = json!({ "username": name, "password": PASSWORD }).to_string();
                // Killed: no answer is no promise.
                let Ok(reply) = rest.try_send(Method::POST, "/auth/register", body).await else { return };
                assert_eq!(reply.status, 201, "{reply:?}");
                made.lock().unwrap().insert(name, reply.body);
            }
        });
    }
    wait::until_true("people register", LIMIT, || made.lock().unwrap().len() >= enough).await;
    server.kill();
    writers.join_all().await;
    Arc::into_inner(made).unwrap().into_inner().unwrap()
}

async fn check(base: &str, made: &BTreeMap<String, Value>) {
    for (name, reply) in made {
        let mut rest = Rest::at(base.to_owned());
        rest.take(reply);
        let me = rest.get("/auth/me").await;
        assert_eq!(me.status, 200, "the login of {name} is lost: {me:?}");
        assert_eq!(me.body["account"]["username"], name.as_str());
        assert_eq!(me.body["roles"][0]["name"], "Member");
        let reply = rest.try_log_in(name, PASSWORD).await;
        assert_eq!(reply.status, 200, "{name} is lost: {reply:?}");
    }
}

async fn check_rows(database: &Database, made: &BTreeMap<String, Value>) {
    let audit = "SELECT resource FROM audit_log WHERE action = ";
    for action in ["register", "login"] {
        let rows = database.rows(&format!("{audit}'{action}'")).await;
        let there: Vec<_> = rows.iter().map(|row| row[0].as_deref().unwrap()).collect();
        for name in made.keys() {
            assert!(there.contains(&&*format!("user:{name}")), "no {action} row of {name}");
        }
    }
    // Also of those who got no answer: all of it is there, or nothing.
    let half = "SELECT COUNT(*) FROM users WHERE created_via = 'register' AND (
        NOT EXISTS (SELECT 1 FROM user_roles WHERE user_id = users.id)
        OR NOT EXISTS (SELECT 1 FROM sessions WHERE user_id = users.id)
        OR NOT EXISTS (SELECT 1 FROM audit_log WHERE actor_id = users.id AND action = 'register')
        OR NOT EXISTS (SELECT 1 FROM audit_log WHERE actor_id = users.id AND action = 'login'))";
    assert_eq!(database.count(half).await, 0, "half users");
    let orphans = "SELECT COUNT(*) FROM audit_log WHERE action = 'register' AND actor_id IS NULL";
    assert_eq!(database.count(orphans).await, 0, "events of nobody");
}

/// What came of the requests while the database was away.
#[derive(Default)]
struct Tally {
    served: AtomicUsize,
    unavailable: AtomicUsize,
    slowest_ms: AtomicUsize,
    stop: AtomicBool,
}

impl Tally {
    fn note(&self, reply: &Reply, took: Duration) {
        match reply.status {
            200 | 201 => self.served.fetch_add(1, Ordering::Relaxed),
            _ => {
                assert_eq!(reply.error(), (503, "database_unavailable"), "{reply:?}");
                self.unavailable.fetch_add(1, Ordering::Relaxed)
            }
        };
        self.slowest_ms.fetch_max(took.as_millis() as usize, Ordering::Relaxed);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn postgresql_is_away_for_ten_seconds() {
    let postgres = tokio::task::block_in_place(|| Postgres::start(Durability::None));
    let database = Database::of_postgres(&postgres).await;
    let server = TestServer::start_with(|config| {
        config.database.url.clone_from(&database.url);
        config.database.acquire_timeout_seconds = ACQUIRE_SECONDS;
    })
    .await;
    let alice = TestClient::join(&server, "alice", "General").await;
    let bob = TestClient::listen(&server, "bob", "General").await;
    let heard = async || bob.statistics().await.frames_received;
    wait::until("a talk", LIMIT, || async { heard().await > 50 }).await;

    let tally = Arc::new(Tally::default());
    let mut load = tokio::task::JoinSet::new();
    for worker in 0..4 {
        let rest = Rest::log_in(&server, ADMIN).await;
        let tally = Arc::clone(&tally);
        load.spawn(async move {
            for number in 0.. {
                if tally.stop.load(Ordering::Relaxed) {
                    return;
                }
                let name = format!("w{worker}n{number}");
                let started = Instant::now();
                let reply = match worker {
                    0 => rest.get("/auth/me").await,
                    1 => rest.try_log_in(ADMIN, PASSWORD).await,
                    2 => rest.get("/admin/audit?limit=5").await,
                    _ => rest.post("/auth/register", json!({ "username": name, "password": PASSWORD })).await,
                };
                tally.note(&reply, started.elapsed());
            }
        });
    }
    wait::until_true("the load is served", LIMIT, || tally.served.load(Ordering::Relaxed) > 20).await;
    let (status, health) = server.get("/healthz").await;
    assert_eq!(
        (status, &health["status"], &health["database"]["reachable"]),
        (200, &json!("ok"), &json!(true))
    );
    assert_eq!(health["database"]["kind"], "postgres");

    tokio::task::block_in_place(|| postgres.stop());
    let away = Instant::now();
    wait::until("/healthz says so", LIMIT, || async { server.get("/healthz").await.0 == 503 }).await;
    let (_, health) = server.get("/healthz").await;
    assert_eq!(
        (&health["status"], &health["database"]["reachable"]),
        (&json!("database_unavailable"), &json!(false))
    );
    let (served, before) = (tally.served.load(Ordering::Relaxed), heard().await);
    // A frame is 10 ms: so much talk lasts ten seconds.
    wait::until("voice goes on for ten seconds", 2 * LIMIT, || async {
        heard().await > before + 950 && away.elapsed() > Duration::from_secs(10)
    })
    .await;
    let refused = tally.unavailable.load(Ordering::Relaxed);
    assert!(refused > 20, "{refused} requests were refused");
    assert!(tally.served.load(Ordering::Relaxed) <= served + 4, "there is no database to serve from");
    let slowest = tally.slowest_ms.load(Ordering::Relaxed);
    assert!(slowest < 5_000, "a request waited for {slowest} ms");

    tokio::task::block_in_place(|| postgres.resume());
    let back = wait::until("the load is served again", LIMIT, || async {
        tally.served.load(Ordering::Relaxed) > served + 50 && server.get("/healthz").await.0 == 200
    })
    .await;
    let refused = tally.unavailable.load(Ordering::Relaxed);
    wait::until_true("and is served on", LIMIT, || tally.served.load(Ordering::Relaxed) > served + 200).await;
    assert_eq!(tally.unavailable.load(Ordering::Relaxed), refused, "some requests are still refused");
    tally.stop.store(true, Ordering::Relaxed);
    load.join_all().await;
    println!("{refused} refused, the slowest after {slowest} ms; served again after {} ms", back.as_millis());

    // The same connections, and new ones; a login ended after all this is out.
    let statistics = bob.statistics().await;
    assert!(alice.is_connected().await && bob.is_connected().await);
    assert_eq!(statistics.frames_lost, 0, "{statistics:?}");
    TestClient::join(&server, "carol", "General").await.stop().await;
    for client in [alice, bob] {
        client.stop().await;
    }
    server.stop().await;
}
