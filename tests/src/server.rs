//! A server of the test's own: in process, on free ports of loopback, in a temporary folder.

use std::path::Path;

use secrecy::SecretString;
use serde_json::Value;
use tempfile::TempDir;
use tokio::{
    sync::{Mutex, MutexGuard},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;
use voip_protocol::{Address, Fingerprint, OrganizationId};
use voip_server::{
    Config, Identity, Listeners, ServerError, Store, setup, store::ChannelFields, voice::VoiceFigures,
};

use crate::database::Database;

/// The administrator of every test server.
pub const ADMIN: &str = "admin";
/// Everybody's password.
pub const PASSWORD: &str = "velvet-anchor-7";
/// Signs every test server's access tokens.
pub const JWT_SECRET: &str = "known to every test and to nobody else";

/// A running server.
pub struct TestServer {
    /// Control plane.
    pub address: Address,
    /// Its certificate.
    pub fingerprint: Fingerprint,
    /// UDP port that it listens on.
    pub voice_port: u16,
    /// Its database.
    pub store: Store,
    scheme: &'static str,
    shutdown: CancellationToken,
    task: JoinHandle<Result<(), ServerError>>,
    _folder: TempDir,
    _alone: MutexGuard<'static, ()>,
}

static ALONE: Mutex<()> = Mutex::const_new(());

/// Sound has deadlines, and a machine may have two cores: who holds this runs while no other test does.
pub async fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock().await
}

impl TestServer {
    /// With the channels General, Other and Quiet, where nobody but administrators may speak.
    pub async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    /// The same, on a database of either kind.
    pub async fn start_on(database: &Database) -> Self {
        Self::start_with(|config| config.database.url.clone_from(&database.url)).await
    }

    /// The same, with changes to its configuration.
    pub async fn start_with(change: impl FnOnce(&mut Config)) -> Self {
        let alone = alone().await;
        let folder = tempfile::tempdir().unwrap();
        let mut config = config(folder.path());
        change(&mut config);
        install_provider();
        let listeners = Listeners::bind(&config).unwrap();
        let store = Store::open(&config.database).await.unwrap();
        // It may be the second server on this database.
        if !setup::administrator_exists(&store).await.unwrap() {
            setup::create_administrator(&store, "Test", ADMIN, password()).await.unwrap();
        }
        let organization = store.organizations().await.unwrap()[0].id();
        if store.channels().await.unwrap().len() == 1 {
            more_channels(&store, organization).await;
        }
        let shutdown = CancellationToken::new();
        let server = Self {
            address: Address { host: config.server.bind_address.to_string(), port: listeners.control_port() },
            fingerprint: Identity::load_or_create(&config.data_dir).unwrap().fingerprint(),
            voice_port: listeners.voice_port(),
            store: store.clone(),
            scheme: if config.server.tls { "https" } else { "http" },
            shutdown: shutdown.clone(),
            task: tokio::spawn(voip_server::run(config, listeners, store, shutdown)),
            _folder: folder,
            _alone: alone,
        };
        server.get("/healthz").await;
        server
    }

    /// Drains and ends.
    pub async fn stop(self) {
        self.shutdown.cancel();
        self.task.await.unwrap().unwrap();
    }

    /// `GET` of a route that answers JSON: status and body.
    pub async fn get(&self, route: &str) -> (u16, Value) {
        let response = http().get(self.url(route)).send().await.unwrap();
        (response.status().as_u16(), response.json().await.unwrap())
    }

    /// `POST` of a text, however wrong: status and body.
    pub async fn post(&self, route: &str, body: impl Into<reqwest::Body>) -> (u16, Value) {
        let request = http().post(self.url(route)).header("content-type", "application/json").body(body);
        let response = request.send().await.unwrap();
        (response.status().as_u16(), response.json().await.unwrap())
    }

    /// The counters of the voice plane.
    pub async fn voice(&self) -> VoiceFigures {
        serde_json::from_value(self.get("/healthz").await.1["voice"].clone()).unwrap()
    }

    /// Where a route is.
    pub fn url(&self, route: &str) -> String {
        format!("{}://{}{route}", self.scheme, self.address)
    }
}

/// Loopback, free ports, all in one folder, and no limit to how often one may try: every client has one address.
pub fn config(folder: &Path) -> Config {
    let mut config = Config::embedded(folder, 0, 0);
    config.server.bind_address = [127, 0, 0, 1].into();
    config.security.jwt_secret = Some(JWT_SECRET.to_owned().into());
    config.security.logins_per_minute_by_address = 0;
    config.security.logins_per_minute_by_account = 0;
    config.security.registrations_per_hour_by_address = 0;
    config.limits.connections_by_address = 0;
    config.limits.new_connections_per_second_by_address = 0;
    config
}

/// Everybody's password.
pub fn password() -> SecretString {
    PASSWORD.to_owned().into()
}

/// A client for HTTP that takes any certificate: the suites of TLS use the product's own.
pub fn http() -> reqwest::Client {
    install_provider();
    reqwest::Client::builder().danger_accept_invalid_certs(true).no_proxy().build().unwrap()
}

/// Makes aws-lc-rs the process's provider of cryptography.
pub fn install_provider() {
    // Another test of the process was first with the same one.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
}

/// A place to talk besides General, and one where nobody but administrators may speak.
async fn more_channels(store: &Store, organization: OrganizationId) {
    let member = store.role_by_name(organization, "Member").await.unwrap().unwrap();
    let channel = |name, position| ChannelFields { name, position, ..ChannelFields::default() };
    let mut transaction = store.begin().await.unwrap();
    transaction.create_channel(organization, channel("Other", 1)).await.unwrap();
    let quiet = transaction.create_channel(organization, channel("Quiet", 2)).await.unwrap();
    let (none, speak) = (voip_protocol::Permissions::empty(), voip_protocol::Permissions::SPEAK);
    transaction.set_acl(quiet, member.id(), none, speak).await.unwrap();
    transaction.commit().await.unwrap();
}
