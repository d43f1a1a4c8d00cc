//! Accounts by way of the app: a real server in this process, a real engine, what the window may ask for.
#![allow(missing_docs, clippy::unwrap_used)]

use std::{sync::Arc, time::Duration};

use tempfile::TempDir;
use time::OffsetDateTime;
use tokio::{sync::broadcast, task::JoinHandle};
use voip_app::{
    App,
    api::{
        AccountQuery, AccountRequest, AppError, AppErrorCode, HostRequest, Hosting, LoginRequest,
        PasswordChange, Settings,
    },
    host::{Host, Started},
};
use voip_client::{
    ClientErrorCode, Connection, Engine, EngineConfig, EngineHandle, Event, VoiceSettings, audio::Scripted,
};
use voip_protocol::{ErrorCode, control::ImportOutcome};
use voip_server::{Config, Store};

const GOOD: &str = "velvet-anchor-7";
const BETTER: &str = "velvet-anchor-8";
const LIMIT: Duration = Duration::from_secs(10);

/// An app without a window.
struct Bench {
    folder: TempDir,
    app: App,
    engine: EngineHandle,
    running: JoinHandle<()>,
}

impl Bench {
    fn new() -> Self {
        // Another test of the process was first with the same one.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let folder = tempfile::tempdir().unwrap();
        let backend = Box::new(Scripted::new(48_000));
        let (engine, handle) = Engine::new(EngineConfig { backend, settings: VoiceSettings::default() });
        let running = tokio::spawn(engine.run());
        let (config, data) = (folder.path().join("config"), folder.path().join("data"));
        let settings = (Settings::default(), Vec::new());
        let app =
            App::new(handle.clone(), settings, &config, &data, |_| Err("no keys".into()), Arc::new(|_| {}));
        Self { folder, app, engine: handle, running }
    }

    /// Hosts a server, with `maya` as its administrator; another app joins it.
    async fn hosting() -> (Self, Self, LoginRequest) {
        let host = Self::new();
        host.app.start_hosting(request(0)).await.unwrap();
        let Hosting::Running(server) = host.app.state(String::new()).await.unwrap().hosting else {
            panic!("the server runs")
        };
        let guest = Self::new();
        let address = format!("127.0.0.1:{}", server.control_port);
        guest.app.visit(&address).await.unwrap();
        guest.app.trust(&address, server.fingerprint, None).unwrap();
        let login = LoginRequest {
            address,
            fingerprint: server.fingerprint,
            organization: None,
            username: "maya".into(),
            password: GOOD.into(),
            register: None,
        };
        (host, guest, login)
    }

    async fn log_in(&self, login: &LoginRequest, username: &str, password: &str) -> Result<(), AppError> {
        let request = LoginRequest {
            address: login.address.clone(),
            fingerprint: login.fingerprint,
            organization: None,
            username: username.into(),
            password: password.into(),
            register: None,
        };
        self.app.log_in(request).await
    }

    async fn close(self) {
        self.app.drain().await;
        self.running.await.unwrap();
    }
}

/// Waits until one is put out; why.
async fn put_out(events: &mut broadcast::Receiver<Event>) -> ErrorCode {
    let search = async {
        loop {
            match events.recv().await.unwrap() {
                Event::Connection(Connection::Disconnected { reason }) => return reason.unwrap().code,
                Event::Connection(Connection::Connecting { .. } | Connection::Reconnecting { .. }) => {
                    panic!("a login that was ended is not made again")
                }
                _ => {}
            }
        }
    };
    match tokio::time::timeout(LIMIT, search).await.expect("one is put out") {
        ClientErrorCode::Server(code) => code,
        other => panic!("{other}"),
    }
}

fn code<T: std::fmt::Debug>(result: Result<T, AppError>) -> ErrorCode {
    match result.unwrap_err().code {
        AppErrorCode::Client(ClientErrorCode::Server(code)) => code,
        other => panic!("{other}"),
    }
}

fn account(username: &str, password: Option<&str>) -> AccountRequest {
    AccountRequest {
        username: username.into(),
        display_name: None,
        email: None,
        password: password.map(Into::into),
        role: None,
    }
}

fn everybody() -> AccountQuery {
    AccountQuery { search: None, active: None, after: None }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_change_puts_the_other_devices_out_and_keeps_this_one() {
    let (host, guest, login) = Bench::hosting().await;
    guest.log_in(&login, "maya", GOOD).await.unwrap();
    let devices = host.app.logins().await.unwrap();
    assert_eq!(devices.len(), 2);
    assert!(devices.iter().all(|one| one.connected && one.device.as_ref().unwrap().starts_with("VoIP")));
    assert_eq!(devices.iter().filter(|one| one.current).count(), 1);

    let change = |current: &str, new: &str| PasswordChange { current: current.into(), new: new.into() };
    assert_eq!(code(host.app.change_password(change(BETTER, GOOD)).await), ErrorCode::InvalidCredentials);
    assert_eq!(code(host.app.change_password(change(GOOD, "password1")).await), ErrorCode::WeakPassword);

    let mut events = guest.engine.subscribe();
    host.app.change_password(change(GOOD, BETTER)).await.unwrap();
    assert_eq!(put_out(&mut events).await, ErrorCode::LoginRevoked);
    let refused = guest.app.logins().await.unwrap_err();
    assert_eq!(refused.code, AppErrorCode::Client(ClientErrorCode::NotConnected));
    assert_eq!(host.app.logins().await.unwrap().len(), 1);

    assert_eq!(code(guest.log_in(&login, "maya", GOOD).await), ErrorCode::InvalidCredentials);
    guest.log_in(&login, "maya", BETTER).await.unwrap();
    guest.close().await;
    host.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_is_logged_out_by_another_one_and_by_leaving() {
    let (host, guest, login) = Bench::hosting().await;
    guest.log_in(&login, "maya", GOOD).await.unwrap();
    let other = host.app.logins().await.unwrap().into_iter().find(|one| !one.current).unwrap();
    let mut events = guest.engine.subscribe();
    host.app.revoke_login(other.id).await.unwrap();
    assert_eq!(put_out(&mut events).await, ErrorCode::LoginRevoked);
    assert_eq!(code(host.app.revoke_login(other.id).await), ErrorCode::UnknownLogin);

    // Whoever leaves leaves no login behind.
    guest.log_in(&login, "maya", GOOD).await.unwrap();
    assert_eq!(host.app.logins().await.unwrap().len(), 2);
    guest.app.disconnect().await.unwrap();
    assert_eq!(host.app.logins().await.unwrap().len(), 1);

    guest.log_in(&login, "maya", GOOD).await.unwrap();
    let mut events = guest.engine.subscribe();
    host.app.revoke_other_logins().await.unwrap();
    assert_eq!(put_out(&mut events).await, ErrorCode::LoginRevoked);
    guest.close().await;
    host.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn members_are_made_found_disabled_and_get_new_passwords() {
    let (host, guest, login) = Bench::hosting().await;
    let bob = host.app.create_user(account("bob", None)).await.unwrap();
    let made = bob.password.unwrap();
    guest.log_in(&login, "bob", made.expose()).await.unwrap();
    assert_eq!(code(guest.app.users(everybody()).await), ErrorCode::PermissionDenied);
    assert_eq!(code(host.app.create_user(account("BOB", None)).await), ErrorCode::UsernameTaken);
    assert_eq!(code(host.app.create_user(account("weak", Some("password1"))).await), ErrorCode::WeakPassword);

    let guest_role = host.app.roles().await.unwrap().into_iter().find(|role| role.name == "Guest").unwrap();
    assert!(guest_role.grantable);
    let carol = AccountRequest { role: Some(guest_role.id), ..account("carol", Some(BETTER)) };
    let carol = host.app.create_user(carol).await.unwrap();
    assert!(carol.password.is_none());
    assert_eq!(carol.user.roles.iter().map(|role| role.id).collect::<Vec<_>>(), [guest_role.id]);

    let query = AccountQuery { search: Some("ARO".into()), ..everybody() };
    let found = host.app.users(query).await.unwrap();
    assert_eq!((found.total, found.users[0].username.as_str()), (1, "carol"));

    let mut events = guest.engine.subscribe();
    let disabled = host.app.set_user_active(bob.user.id, false).await.unwrap();
    assert!(!disabled.active);
    assert_eq!(put_out(&mut events).await, ErrorCode::LoginRevoked);
    assert_eq!(code(guest.log_in(&login, "bob", made.expose()).await), ErrorCode::InvalidCredentials);
    let query = AccountQuery { active: Some(false), ..everybody() };
    assert_eq!(host.app.users(query).await.unwrap().total, 1);
    host.app.set_user_active(bob.user.id, true).await.unwrap();

    let new = host.app.reset_password(bob.user.id, None).await.unwrap().unwrap();
    assert_eq!(code(guest.log_in(&login, "bob", made.expose()).await), ErrorCode::InvalidCredentials);
    guest.log_in(&login, "bob", new.expose()).await.unwrap();
    assert_eq!(host.app.reset_password(carol.user.id, Some(GOOD.into())).await.unwrap(), None);
    guest.log_in(&login, "carol", GOOD).await.unwrap();
    guest.close().await;
    host.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn members_are_imported_and_exported() {
    let (host, guest, login) = Bench::hosting().await;
    let file = format!(
        "[\n{{\"username\": \"dana\", \"password\": \"{GOOD}\"}},\n{{\"username\": \"eve\", \"password\": \"x\"}}\n]"
    );
    let report = host.app.import_users(file.clone(), true).await.unwrap();
    assert_eq!((report.created, report.refused), (0, 1));
    assert_eq!((report.lines[1].line, report.lines[1].outcome), (3, ImportOutcome::Refused));
    let report = host.app.import_users(file, false).await.unwrap();
    assert_eq!((report.created, report.refused), (1, 1));
    guest.log_in(&login, "dana", GOOD).await.unwrap();
    assert_eq!(code(host.app.import_users("nonsense".into(), false).await), ErrorCode::MalformedMessage);

    let path = host.app.export_users(&host.folder.path().join("Downloads")).await.unwrap();
    let export = std::fs::read_to_string(path).unwrap();
    assert!(export.contains("\"dana\"") && !export.contains("argon2"), "{export}");
    guest.close().await;
    host.close().await;
}

/// A server that comes and goes, without an app around it.
struct Server {
    folder: TempDir,
    host: Host,
    started: Started,
}

impl Server {
    async fn start() -> Self {
        // Another test of the process was first with the same one.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let folder = tempfile::tempdir().unwrap();
        let host = Host::new(folder.path().to_owned(), |_| {});
        let started = host.start(&request(0)).await.unwrap();
        Self { folder, host, started }
    }

    async fn start_again(&self) {
        self.host.start(&request(self.started.address.port)).await.unwrap();
    }

    /// Ends, and signs with another key next time: it refuses every access token that is out.
    async fn stop_and_forget_key(&self) {
        self.host.stop().await;
        std::fs::remove_file(self.folder.path().join("jwt.secret")).unwrap();
    }

    /// Somebody who trusts it, logged in.
    async fn guest(&self) -> (Bench, LoginRequest) {
        let guest = Bench::new();
        let address = self.started.address.to_string();
        guest.app.visit(&address).await.unwrap();
        guest.app.trust(&address, self.started.fingerprint, None).unwrap();
        let login = LoginRequest {
            address,
            fingerprint: self.started.fingerprint,
            organization: None,
            username: "maya".into(),
            password: GOOD.into(),
            register: None,
        };
        guest.log_in(&login, "maya", GOOD).await.unwrap();
        (guest, login)
    }
}

/// Ports of 0 take free ones.
fn request(control_port: u16) -> HostRequest {
    HostRequest {
        server_name: Some("Friday Crew".into()),
        username: "maya".into(),
        password: GOOD.into(),
        control_port,
        voice_port: 0,
    }
}

/// A server that signs with another key than before refuses every access token; the login goes on all the same.
#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_is_not_good_any_more_is_refreshed_and_the_login_stays_the_same() {
    let server = Server::start().await;
    let (guest, _) = server.guest().await;
    let before = guest.app.logins().await.unwrap();

    let mut events = guest.engine.subscribe();
    server.stop_and_forget_key().await;
    server.start_again().await;
    let back = async {
        while !matches!(events.recv().await.unwrap(), Event::Connection(Connection::Connected { .. })) {}
    };
    tokio::time::timeout(LIMIT, back).await.expect("connected again");
    let after = guest.app.logins().await.unwrap();
    assert_eq!(after.len(), 1);
    assert_eq!((after[0].id, after[0].created_at), (before[0].id, before[0].created_at));

    // Many at once ask with a token that is refused: one refresh is enough, and none is spent twice.
    server.stop_and_forget_key().await;
    server.start_again().await;
    let (app, all) = (&guest.app, everybody());
    let answers = tokio::join!(app.logins(), app.roles(), app.users(all), app.logins());
    assert_eq!((answers.0.unwrap()[0].id, answers.3.unwrap().len()), (before[0].id, 1));
    assert!(answers.1.is_ok() && answers.2.is_ok());
    guest.close().await;
    server.host.stop().await;
}

/// Although it still has the password.
#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_is_revoked_while_it_is_away_does_not_come_back_by_itself() {
    let server = Server::start().await;
    let (guest, login) = server.guest().await;
    let revoked = guest.app.logins().await.unwrap()[0].id;
    let user = guest.engine.state().await.unwrap().room.unwrap().me().unwrap().user;
    let mut events = guest.engine.subscribe();
    server.host.stop().await;

    let store = Store::open(&Config::embedded(server.folder.path(), 0, 0).database).await.unwrap();
    let mut transaction = store.begin().await.unwrap();
    assert!(transaction.revoke_login(user, revoked, "revoked", OffsetDateTime::now_utc()).await.unwrap());
    transaction.commit().await.unwrap();
    store.close().await;

    server.start_again().await;
    let ended = async {
        loop {
            match events.recv().await.unwrap() {
                Event::Connection(Connection::Disconnected { reason }) => return reason.unwrap().code,
                Event::Connection(Connection::Connected { .. }) => panic!("it came back"),
                _ => {}
            }
        }
    };
    let code = tokio::time::timeout(LIMIT, ended).await.expect("it is put out");
    assert_eq!(code, ClientErrorCode::Server(ErrorCode::LoginRevoked));
    guest.log_in(&login, "maya", GOOD).await.unwrap();
    guest.close().await;
    server.host.stop().await;
}
