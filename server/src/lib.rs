//! The voice server as a library: [`run`]. The binary and the desktop app are thin callers of it.

pub mod admin;
pub mod auth;
pub mod config;
pub mod control;
pub mod door;
pub mod hub;
mod identity;
mod listeners;
pub mod metrics;
pub mod setup;
pub mod store;
pub mod transfer;
mod upkeep;
pub mod voice;

use std::{sync::Arc, time::Duration};

use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use tokio::sync::Notify;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub use config::{Config, ConfigError};
pub use identity::{Identity, IdentityError};
pub use listeners::{BindError, Listeners};
pub use store::{Store, StoreError};

use crate::{
    auth::{Accounts, Limits, Passwords, Policy, Tokens},
    control::{Control, Tunnels},
    door::Door,
    hub::{Hub, HubHandle, Tenant},
    metrics::Metrics,
    upkeep::{Clipping, Sweep, Watch},
    voice::{VoicePlane, VoiceThread},
};

/// How long connections may take to end when the server stops.
const DRAIN: Duration = Duration::from_secs(3);

/// Why a server cannot run.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Certificate or secret.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// Sockets.
    #[error("a socket of the server failed: {0}")]
    Io(#[from] std::io::Error),
}

/// Serves until `shutdown`, then drains: clients are told, sockets close, the database closes.
///
/// The process must have installed a default provider of rustls.
pub async fn run(
    config: Config,
    listeners: Listeners,
    store: Store,
    shutdown: CancellationToken,
) -> Result<(), ServerError> {
    // What may fail comes before what runs by itself; whatever ends this function, ends that as well.
    let _end_with_this = shutdown.clone().drop_guard();
    let random = SystemRandom::new();
    let secret = match config.security.jwt_secret.clone() {
        Some(secret) => secret,
        None => identity::jwt_secret(&config.data_dir, &random)?,
    };
    let tls = if config.server.tls { Some(Identity::load_or_create(&config.data_dir)?.tls()?) } else { None };
    let tokens = Tokens::new(&secret, config.security.access_token_minutes);
    let limits = Arc::new(Limits::new(&config.security));
    let passwords = Arc::new(Passwords::new(config.security.hashing_threads)?);
    let revoked = Arc::new(Notify::new());
    let policy = Policy::from(&config.security);
    let accounts =
        Accounts::new(store.clone(), Arc::clone(&passwords), Arc::new(tokens), policy, Arc::clone(&revoked));

    let voice_port = match config.server.public_voice_port {
        0 => listeners.voice_port(),
        mapped => mapped,
    };
    let tunnels = Arc::new(Tunnels::new(listeners.voice.local_addr()?));
    let voice = VoicePlane::default();
    let voice_thread = VoiceThread::spawn(listeners.voice, voice.clone(), config.voice.rates())?;
    let entropy = move |bytes: &mut [u8]| {
        random.fill(bytes).expect("the system's generator does not fail once it is seeded");
    };
    let hub = Hub::new(Tenant::load_all(&store).await?, voice_port, Box::new(entropy));
    // It tells its clients of the end while their sockets still stand: those end after it.
    let hub = HubHandle::spawn(hub, Arc::clone(&voice.routing), shutdown.clone());

    let watch = Watch { store: store.clone(), hub: hub.clone(), revoked, refresh: policy.refresh };
    let retention_days = config.audit.retention_days;
    let sweep = Sweep {
        store: store.clone(),
        limits: Arc::clone(&limits),
        passwords,
        refresh: policy.refresh,
        retention: (retention_days > 0).then(|| time::Duration::days(retention_days.into())),
    };
    let upkeep = TaskTracker::new();
    upkeep.spawn(watch.run(shutdown.clone()));
    upkeep.spawn(Clipping { voice: voice.clone(), hub: hub.clone() }.run(shutdown.clone()));
    upkeep.spawn(sweep.run(shutdown.clone()));
    let sockets = TaskTracker::new();
    let door = Door::new(&config.limits);
    let control = Control {
        accounts,
        limits,
        hub,
        sockets: sockets.clone(),
        voice,
        tunnels,
        door: Arc::clone(&door),
        bounds: config.limits,
        metrics: Arc::new(Metrics::default()),
        metrics_public: config.metrics.public,
    };
    let app = control::router(control);
    let served =
        door::serve(listeners.control, tls, app, door, config.limits, (shutdown.clone(), DRAIN)).await;
    // Serving may have failed by itself: then nobody will ask to stop.
    shutdown.cancel();
    upkeep.close();
    sockets.close();
    let _ = tokio::join!(upkeep.wait(), tokio::time::timeout(DRAIN, sockets.wait()));
    tokio::task::spawn_blocking(move || drop(voice_thread)).await.map_err(std::io::Error::other)?;
    store.close().await;
    Ok(served?)
}
