//! What accounts cost, on SQLite and on PostgreSQL: measured, compared with what was promised, and told as a table.
//! Ends with 1 when a bound is missed. Arguments leave parts out: `no-sqlite`, `no-postgresql`, `no-inside`,
//! `no-network`.

#![allow(clippy::unwrap_used, missing_docs)]

mod load;
mod raw;

use std::{
    hint::black_box,
    sync::Arc,
    time::{Duration, Instant},
};

use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use axum::{Router, body::Body, http::Request};
use serde_json::json;
use time::OffsetDateTime;
use tokio::sync::Notify;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower::ServiceExt;
use voip_protocol::{OrganizationId, UserId, control::Credentials};
use voip_server::{
    Store,
    auth::{Accounts, Limits, Origin, Passwords, Policy, Tokens},
    config::{LimitsConfig, SecurityConfig},
    control::{self, Control, Tunnels},
    door::Door,
    hub::{Hub, HubHandle, Tenant},
    metrics::Metrics,
    store::{AuditEntry, ChannelFields, DatabaseKind, NewUser, OrganizationFields},
    voice::VoicePlane,
};
use voip_tests::{
    database::Database,
    postgres::{Durability, Postgres},
    rest::Rest,
    server::{ADMIN, JWT_SECRET, PASSWORD, TestServer},
};

use load::{Connection, Load, get_me, post_login};
use raw::{raw_rate, raw_time};

/// Accounts in the database: a look-up in an empty one proves nothing.
const PEOPLE: usize = 10_000;
/// Of the organization that is listed.
const CHANNELS: usize = 1_000;
/// Logins of each kind that are compared.
const TRIES: usize = 2_000;
/// Two means that are the same differ by more than this once in a thousand times.
const WELCH_LIMIT: f64 = 3.29;
/// What a load is measured for.
const LOAD: Duration = Duration::from_secs(2);
/// How often logins and raw hashes take turns.
const ROUNDS: usize = 9;

fn main() {
    // Cargo asks a program of benches for its tests, too: it has none.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let missed = runtime.block_on(measure());
    if missed > 0 {
        eprintln!("{missed} of the bounds are missed");
        std::process::exit(1);
    }
}

async fn measure() -> usize {
    let cores = std::thread::available_parallelism().unwrap().get();
    println!("{cores} cores\n");
    let mut table = Table::default();
    let postgres = tokio::task::block_in_place(|| Postgres::start(Durability::Full));
    for database in [Database::sqlite(), Database::of_postgres(&postgres).await] {
        table.kind = database.kind.to_string();
        if !wanted(&table.kind.to_lowercase()) {
            continue;
        }
        let inside = Inside::over(&database).await;
        if wanted("inside") {
            in_process(&inside, &database, &mut table).await;
        }
        inside.end().await;
        if !wanted("network") {
            continue;
        }
        // What a database of its own takes of the cores, the server cannot have.
        let own = (database.kind == DatabaseKind::Postgres).then_some(&postgres);
        over_the_network(&database, own, &mut table, cores).await;
    }
    table.missed
}

/// Whether a part of the measurement was asked for: all are where no argument leaves one out, as `no-inside` does.
fn wanted(part: &str) -> bool {
    !std::env::args().any(|argument| argument.strip_prefix("no-") == Some(part))
}

/// Figures beside their bounds, as they come.
#[derive(Default)]
struct Table {
    kind: String,
    missed: usize,
}

impl Table {
    fn row(&mut self, figure: &str, value: &str, bound: &str, kept: bool) {
        if !kept {
            self.missed += 1;
        }
        let verdict = if kept { "" } else { "  MISSED" };
        println!("{:<10}  {figure:<68} {value:>12}   {bound}{verdict}", self.kind);
    }

    fn time(&mut self, figure: &str, value: Duration, most: Duration) {
        self.row(figure, &shown(value), &format!("at most {}", shown(most)), value <= most);
    }

    fn rate(&mut self, figure: &str, value: f64, least: f64) {
        self.row(figure, &format!("{value:.1}/s"), &format!("at least {least:.1}/s"), value >= least);
    }
}

fn shown(time: Duration) -> String {
    let microseconds = time.as_secs_f64() * 1e6;
    if microseconds < 1_000.0 {
        format!("{microseconds:.1} µs")
    } else {
        format!("{:.2} ms", microseconds / 1e3)
    }
}

fn percentile(times: &mut [Duration], percent: usize) -> Duration {
    times.sort_unstable();
    times[(times.len() - 1) * percent / 100]
}

fn median(times: &mut [Duration]) -> Duration {
    percentile(times, 50)
}

/// The server without sockets.
struct Inside {
    store: Store,
    accounts: Accounts,
    tokens: Arc<Tokens>,
    router: Router,
    organization: OrganizationId,
    stop: CancellationToken,
}

impl Inside {
    async fn over(database: &Database) -> Self {
        let store = database.store().await;
        let passwords = Arc::new(Passwords::new(0).unwrap());
        let organization = fill(&store, &passwords).await;
        let tokens = Arc::new(Tokens::new(&JWT_SECRET.to_owned().into(), 60));
        let config = SecurityConfig {
            // The account that wrong passwords are tried on must not be locked: that is another path.
            lockout_attempts: u32::MAX,
            logins_per_minute_by_address: 0,
            logins_per_minute_by_account: 0,
            registrations_per_hour_by_address: 0,
            ..SecurityConfig::default()
        };
        let accounts = Accounts::new(
            store.clone(),
            passwords,
            Arc::clone(&tokens),
            Policy::from(&config),
            Arc::new(Notify::new()),
        );
        let stop = CancellationToken::new();
        let voice = VoicePlane::default();
        let entropy = |bytes: &mut [u8]| SystemRandom::new().fill(bytes).unwrap();
        let hub = Hub::new(Tenant::load_all(&store).await.unwrap(), 0, Box::new(entropy));
        let bounds = LimitsConfig::default();
        let control = Control {
            accounts: accounts.clone(),
            limits: Arc::new(Limits::new(&config)),
            hub: HubHandle::spawn(hub, Arc::clone(&voice.routing), stop.clone()),
            sockets: TaskTracker::new(),
            voice,
            tunnels: Arc::new(Tunnels::new(([127, 0, 0, 1], 0).into())),
            metrics: Arc::new(Metrics::default()),
            metrics_public: false,
            door: Door::new(&bounds),
            bounds,
        };
        Self { store, accounts, tokens, router: control::router(control), organization, stop }
    }

    async fn end(self) {
        self.stop.cancel();
        self.store.close().await;
    }

    async fn login(&self, username: &str, password: &str) -> Option<String> {
        let credentials = json!({ "username": username, "password": password });
        let credentials: Credentials = serde_json::from_value(credentials).unwrap();
        let (origin, now) = (Origin::default(), OffsetDateTime::now_utc());
        let reply = self.accounts.login(self.organization, credentials, &origin, now).await;
        reply.ok().map(|reply| reply.access_token.expose().to_owned())
    }
}

/// An organization of many people and channels.
async fn fill(store: &Store, passwords: &Passwords) -> OrganizationId {
    let now = OffsetDateTime::now_utc();
    let hash = passwords.hash(PASSWORD.to_owned().into()).await.unwrap();
    let mut transaction = store.begin().await.unwrap();
    let fields = OrganizationFields { max_users: i64::MAX, ..OrganizationFields::new("Bench", "BENCH") };
    let organization = transaction.create_organization(fields, now).await.unwrap();
    let permissions = voip_protocol::Permissions::MEMBER;
    let member = transaction.create_role(organization, "Member", permissions, 10).await.unwrap();
    for number in 0..CHANNELS {
        let name = format!("Channel {number}");
        let channel = ChannelFields {
            name: &name,
            description: "where people of the one or the other kind meet",
            position: number as i64,
            ..ChannelFields::default()
        };
        transaction.create_channel(organization, channel).await.unwrap();
    }
    for number in 0..PEOPLE {
        let name = format!("user{number}");
        let user = NewUser {
            organization,
            username: &name,
            display_name: &name,
            email: None,
            password_hash: &hash,
            active: true,
            created_via: "seed",
            roles: &[member],
        };
        let audit = AuditEntry {
            organization: Some(organization),
            actor: None,
            action: "user_created",
            resource: &name,
            details: json!({}),
            ip_address: None,
        };
        transaction.create_user(user, &audit, now).await.unwrap();
    }
    transaction.commit().await.unwrap();
    organization
}

async fn in_process(inside: &Inside, database: &Database, table: &mut Table) {
    // As an administrator's autovacuum does in its time.
    database.execute("ANALYZE").await;
    let sqlite = database.kind == DatabaseKind::Sqlite;
    let micros = Duration::from_micros;
    let token = inside.login("user5000", PASSWORD).await.unwrap();

    let (mut times, mut raw) = (Vec::new(), Vec::new());
    for _ in 0..6 {
        raw.push(raw_time(11));
        for _ in 0..11 {
            let started = Instant::now();
            assert!(inside.login("user5000", PASSWORD).await.is_some());
            times.push(started.elapsed());
        }
    }
    let most = median(&mut raw) + Duration::from_millis(10);
    table.time("login, one at a time (median; raw Argon2 + 10 ms)", median(&mut times), most);

    let now = OffsetDateTime::now_utc();
    let mut times = Vec::new();
    for _ in 0..20_000 {
        let started = Instant::now();
        black_box(inside.tokens.verify(&token, now).unwrap());
        times.push(started.elapsed());
    }
    table.time("token check alone (median)", median(&mut times), micros(5));

    let mut times = Vec::new();
    for _ in 0..5_000 {
        let request = Request::get("/auth/me").header("authorization", format!("Bearer {token}"));
        let request = request.body(Body::empty()).unwrap();
        let started = Instant::now();
        let response = inside.router.clone().oneshot(request).await.unwrap();
        let status = response.status();
        black_box(axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap());
        times.push(started.elapsed());
        assert_eq!(status.as_u16(), 200);
    }
    let most = micros(if sqlite { 50 } else { 250 });
    table.time("/auth/me with a valid token, in process (median)", median(&mut times), most);

    let mut times = Vec::new();
    for number in 0..5_000 {
        let id = UserId(1 + number * 7_919 % PEOPLE as i64);
        let started = Instant::now();
        let user = inside.store.user(id).await.unwrap();
        times.push(started.elapsed());
        assert!(user.is_some());
    }
    table.time("a user by id, of 10,000 (median)", median(&mut times), micros(if sqlite { 50 } else { 200 }));

    let mut times = Vec::new();
    for _ in 0..200 {
        let started = Instant::now();
        let channels = inside.store.channels_in(inside.organization).await.unwrap();
        times.push(started.elapsed());
        assert_eq!(channels.len(), CHANNELS);
    }
    table.time(
        "the 1,000 channels of an organization (median)",
        median(&mut times),
        Duration::from_millis(3),
    );

    let (t, known, unknown) = compare_logins(inside).await;
    let figure =
        format!("Welch's t: wrong password ({}) against no such user ({})", shown(known), shown(unknown));
    let bound = format!("at most {WELCH_LIMIT}, of {TRIES} tries each");
    table.row(&figure, &format!("{t:.2}"), &bound, t.abs() <= WELCH_LIMIT);
}

/// Welch's t of the times of two kinds of failed logins, and their means. The two take turns, in an order that changes.
async fn compare_logins(inside: &Inside) -> (f64, Duration, Duration) {
    let (mut known, mut unknown) = (Vec::new(), Vec::new());
    let mut coin = [0];
    for _ in 0..TRIES {
        SystemRandom::new().fill(&mut coin).unwrap();
        for turn in 0..2 {
            let is_known = (coin[0] & 1) ^ turn == 0;
            let (name, times) = if is_known { ("user77", &mut known) } else { ("stranger77", &mut unknown) };
            let started = Instant::now();
            assert!(inside.login(name, "wrong-wrong-7").await.is_none());
            times.push(started.elapsed().as_secs_f64());
        }
    }
    let mean = |times: &[f64]| times.iter().sum::<f64>() / times.len() as f64;
    // Of the mean.
    let variance = |times: &[f64], mean: f64| {
        let squares: f64 = times.iter().map(|time| (time - mean).powi(2)).sum();
        squares / (times.len() - 1) as f64 / times.len() as f64
    };
    let (of_known, of_unknown) = (mean(&known), mean(&unknown));
    let t = (of_known - of_unknown) / (variance(&known, of_known) + variance(&unknown, of_unknown)).sqrt();
    (t, Duration::from_secs_f64(of_known), Duration::from_secs_f64(of_unknown))
}

/// Without TLS: that of the clients, on the same cores, would be half of what is measured.
async fn over_the_network(database: &Database, postgres: Option<&Postgres>, table: &mut Table, cores: usize) {
    // The organization that is there has nobody called admin: the server makes one.
    let server = TestServer::start_with(|config| {
        config.database.url.clone_from(&database.url);
        config.server.tls = false;
    })
    .await;
    let admin = Rest::log_in(&server, ADMIN).await;
    let me = get_me(&server, &admin.token.unwrap());

    // Turn by turn, as a machine that others share is quicker now and slower then.
    let (mut rounds, mut times) = (Vec::new(), Vec::new());
    let mut raw_before = raw_rate(cores);
    for _ in 0..ROUNDS {
        let (before, started) = (postgres.map(Postgres::cpu_time), Instant::now());
        let rate = logins_under_load(&server, &me, &mut times).await;
        let elapsed = started.elapsed().as_secs_f64();
        let taken = postgres.map_or(0.0, |postgres| {
            postgres.cpu_time().saturating_sub(before.unwrap_or_default()).as_secs_f64() / elapsed
        });
        let raw_after = raw_rate(cores);
        let raw = f64::midpoint(raw_before, raw_after);
        rounds.push((rate / raw * cores as f64 / (cores as f64 - taken), rate, taken));
        raw_before = raw_after;
    }
    rounds.sort_unstable_by(|one, other| one.0.total_cmp(&other.0));
    let (share, rate, taken) = rounds[ROUNDS / 2];
    let figure = format!("logins of raw Argon2's, all cores ({rate:.1}/s, {taken:.2} cores the database's)");
    table.row(&figure, &format!("{share:.3}"), "at least 0.900", share >= 0.9);
    table.time("/auth/me meanwhile (99th percentile)", percentile(&mut times, 99), Duration::from_millis(20));

    let rate = requests(&server, &me).await;
    table.rate("requests a second on /auth/me, 64 connections", rate, 10_000.0);
    server.stop().await;
}

/// Logins a second of more people than there are cores, and how long somebody else waits meanwhile.
async fn logins_under_load(server: &TestServer, me: &[u8], times: &mut Vec<Duration>) -> f64 {
    let mut other = Connection::to(server).await;
    let people = (0..8).map(|number| post_login(server, &format!("user{number}")));
    let load = Load::start(server, people.collect()).await;
    let (before, started) = (load.done(), Instant::now());
    while started.elapsed() < LOAD {
        let asked = Instant::now();
        other.ask(me).await;
        times.push(asked.elapsed());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let rate = (load.done() - before) as f64 / started.elapsed().as_secs_f64();
    load.end().await;
    rate
}

/// Requests a second on 64 connections that are kept.
async fn requests(server: &TestServer, me: &Arc<[u8]>) -> f64 {
    let load = Load::start(server, vec![Arc::clone(me); 64]).await;
    let (before, started) = (load.done(), Instant::now());
    tokio::time::sleep(LOAD).await;
    let rate = (load.done() - before) as f64 / started.elapsed().as_secs_f64();
    load.end().await;
    rate
}
