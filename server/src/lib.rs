//! The voice server as a library: [`run`]. The binary and the desktop app are thin callers of it.

pub mod auth;
pub mod config;
pub mod control;
pub mod hub;
mod identity;
mod listeners;
pub mod setup;
pub mod store;
pub mod voice;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use axum_server::{Handle, tls_rustls::RustlsConfig};
use tokio_util::sync::CancellationToken;

pub use config::{Config, ConfigError};
pub use identity::{Identity, IdentityError};
pub use listeners::{BindError, Listeners};
pub use store::{Store, StoreError};

use crate::{
    auth::{Accounts, Passwords, Tokens},
    control::Control,
    hub::{Hub, HubHandle, Tenant},
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
    let random = SystemRandom::new();
    let secret = match config.security.jwt_secret.clone() {
        Some(secret) => secret,
        None => identity::jwt_secret(&config.data_dir, &random)?,
    };
    let tokens = Tokens::new(&secret, config.security.access_token_minutes);
    // Half of the cores hash, the others go on with voice.
    let hashing = std::thread::available_parallelism().map_or(1, |cores| cores.get() / 2);
    let accounts = Accounts::new(
        store.clone(),
        Arc::new(Passwords::new(hashing)),
        Arc::new(tokens),
        config.security.registration,
    );

    let voice_port = match config.server.public_voice_port {
        0 => listeners.voice_port(),
        mapped => mapped,
    };
    let voice = VoicePlane::default();
    let voice_thread = VoiceThread::spawn(listeners.voice, voice.clone())?;
    let entropy = move |bytes: &mut [u8]| {
        random.fill(bytes).expect("the system's generator does not fail once it is seeded");
    };
    let hub = Hub::new(Tenant::load_all(&store).await?, voice_port, Box::new(entropy));
    let stop_hub = CancellationToken::new();
    let hub = HubHandle::spawn(hub, Arc::clone(&voice.routing), stop_hub.clone());

    let app = control::router(Control { accounts, store: store.clone(), hub, voice })
        .into_make_service_with_connect_info::<SocketAddr>();
    listeners.control.set_nonblocking(true)?;
    let handle = Handle::new();
    let stopping = {
        let handle = handle.clone();
        let shutdown = shutdown.clone();
        tokio::spawn(async move {
            shutdown.cancelled().await;
            // The hub first: it tells its clients while their sockets still stand.
            stop_hub.cancel();
            handle.graceful_shutdown(Some(DRAIN));
        })
    };
    let served = if config.server.tls {
        let tls = RustlsConfig::from_config(Identity::load_or_create(&config.data_dir)?.tls()?);
        axum_server::from_tcp_rustls(listeners.control, tls)?.handle(handle).serve(app).await
    } else {
        axum_server::from_tcp(listeners.control)?.handle(handle).serve(app).await
    };
    // Serving may have failed by itself: then nobody will ask to stop.
    shutdown.cancel();
    let _ = stopping.await;
    tokio::task::spawn_blocking(move || drop(voice_thread)).await.map_err(std::io::Error::other)?;
    store.close().await;
    Ok(served?)
}
