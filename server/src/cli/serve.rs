//! `serve`.

use std::io::IsTerminal;

use clap::Args;
use tokio_util::sync::CancellationToken;
use voip_protocol::{Address, Invite};
use voip_server::{Config, ConfigError, Identity, Listeners, Store, door, run, setup};

use super::Outcome;

#[derive(Args)]
pub(super) struct Serve {
    /// TCP port of the control plane.
    #[arg(long)]
    control_port: Option<u16>,
    /// UDP port of the voice plane.
    #[arg(long)]
    voice_port: Option<u16>,
}

impl Serve {
    pub(super) async fn run(self, mut config: Config) -> Outcome {
        config.server.control_port = self.control_port.unwrap_or(config.server.control_port);
        config.server.voice_port = self.voice_port.unwrap_or(config.server.voice_port);
        serve(config).await
    }
}

async fn serve(config: Config) -> Outcome {
    start_log(&config)?;
    door::raise_limit();
    let listeners = Listeners::bind(&config)?;
    let store = Store::open(&config.database).await?;
    let fingerprint = if config.server.tls {
        Some(Identity::load_or_create(&config.data_dir)?.fingerprint())
    } else {
        None
    };
    if let Some(first) = setup::first_start(&store).await? {
        println!("First start: log in as {} with the password {}", first.username, first.password.expose());
        println!("It is shown this once: change it after logging in.");
    }
    let address = Address { host: host_name(&config), port: listeners.control_port() };
    println!(
        "Control: {} (TCP{})",
        listeners.control.local_addr()?,
        if config.server.tls { ", TLS" } else { "" }
    );
    println!("Voice:   {} (UDP)", listeners.voice.local_addr()?);
    println!("Database: {} ({})", config.database.masked_url(), store.kind());
    if let Some(fingerprint) = fingerprint {
        println!("Certificate (SHA-256): {fingerprint}");
        println!("Invite: {}", Invite { address, fingerprint: Some(fingerprint) });
    }
    println!("Stop with Ctrl+C.");
    let shutdown = CancellationToken::new();
    tokio::spawn(stop_on_signal(shutdown.clone()));
    run(config, listeners, store, shutdown).await?;
    println!("Stopped.");
    Ok(())
}

/// Text for people, one JSON object a line for programs.
fn start_log(config: &Config) -> Outcome {
    let filter = tracing_subscriber::EnvFilter::try_new(&config.log.level)
        .map_err(|error| ConfigError::Value(format!("log.level: {error}")))?
        // Its trace prints whole messages, and with them the keys of the voice.
        .add_directive("tungstenite=info".parse().expect("a constant directive"))
        // Its warnings tell what strangers say in a handshake: as many lines as they please.
        .add_directive("rustls=error".parse().expect("a constant directive"));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    if std::io::stderr().is_terminal() {
        builder.init();
    } else {
        builder.json().init();
    }
    Ok(())
}

async fn stop_on_signal(shutdown: CancellationToken) {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        if let Ok(mut terminate) = signal(SignalKind::terminate()) {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = tokio::signal::ctrl_c() => {}
            }
            return shutdown.cancel();
        }
    }
    let _ = tokio::signal::ctrl_c().await;
    shutdown.cancel();
}

/// What others reach the server by: the address it listens on, or, where that is every address, a stand-in.
fn host_name(config: &Config) -> String {
    let address = config.server.bind_address;
    if address.is_unspecified() { "localhost".into() } else { address.to_string() }
}
