//! `voip-server`: the server on its own.

use std::{io::IsTerminal, path::PathBuf, process::ExitCode};

use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use clap::{Parser, Subcommand};
use tokio_util::sync::CancellationToken;
use voip_protocol::{Address, Invite};
use voip_server::{Config, Identity, Listeners, Store, run, setup};

#[derive(Parser)]
#[command(version, about = "Voice server for teams: control on TCP 9000, voice on UDP 9001")]
struct Arguments {
    /// Configuration file; server.yaml where there is one.
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve until Ctrl+C.
    Serve {
        /// TCP port of the control plane.
        #[arg(long)]
        control_port: Option<u16>,
        /// UDP port of the voice plane.
        #[arg(long)]
        voice_port: Option<u16>,
        /// Folder of certificate, secret and, by default, database.
        #[arg(long, value_name = "DIR")]
        data_dir: Option<PathBuf>,
    },
    /// Fill the database with the Demo Organization (its passwords are public).
    SeedDemo,
    /// Apply, undo and list the steps of the database schema.
    Migrate {
        #[command(subcommand)]
        command: Migrate,
    },
}

#[derive(Subcommand)]
enum Migrate {
    /// Apply what is missing.
    Up {
        /// Up to this number.
        #[arg(long)]
        to: Option<i64>,
    },
    /// Undo.
    Down {
        /// Down to this number; 0 undoes all, and all data with it.
        #[arg(long)]
        to: i64,
    },
    /// What there is and what is applied.
    Status,
}

/// Exit code of a start that cannot work: configuration, ports, database.
const CANNOT_START: u8 = 2;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    // The only provider in the tree; whoever installed one before us installed the same.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => return refuse(&error),
    };
    match runtime.block_on(execute(arguments)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => refuse(&*error),
    }
}

fn refuse(error: &dyn std::error::Error) -> ExitCode {
    eprintln!("voip-server: {error}");
    ExitCode::from(CANNOT_START)
}

async fn execute(arguments: Arguments) -> Result<(), Box<dyn std::error::Error>> {
    let mut config = Config::load(arguments.config.as_deref())?;
    match arguments.command {
        Command::Serve { control_port, voice_port, data_dir } => {
            let own_url = config.database.url.clone();
            let default_url =
                |config: &Config| format!("sqlite:{}", config.data_dir.join("voip.db").display());
            if let Some(data_dir) = data_dir {
                let was_default = own_url == default_url(&config);
                config.data_dir = data_dir;
                if was_default {
                    config.database.url = default_url(&config);
                }
            }
            config.server.control_port = control_port.unwrap_or(config.server.control_port);
            config.server.voice_port = voice_port.unwrap_or(config.server.voice_port);
            serve(config).await
        }
        Command::SeedDemo => {
            let store = Store::open(&config.database).await?;
            setup::seed_demo(&store).await?;
            store.close().await;
            println!(
                "The Demo Organization (tag DEMO) is there: demo, alice, bob, charlie, each with the password NAME123."
            );
            Ok(())
        }
        Command::Migrate { command } => {
            let store = Store::connect(&config.database).await?;
            match command {
                Migrate::Up { to } => store.migrate_up(to).await?,
                Migrate::Down { to } => store.migrate_down(to).await?,
                Migrate::Status => {}
            }
            for state in store.migrations().await? {
                println!(
                    "{:04}  {:8}  {}",
                    state.version,
                    if state.applied { "applied" } else { "missing" },
                    state.name
                );
            }
            store.close().await;
            Ok(())
        }
    }
}

async fn serve(config: Config) -> Result<(), Box<dyn std::error::Error>> {
    start_log(&config)?;
    let listeners = Listeners::bind(&config)?;
    let store = Store::open(&config.database).await?;
    let fingerprint = if config.server.tls {
        Some(Identity::load_or_create(&config.data_dir)?.fingerprint())
    } else {
        None
    };
    if !setup::administrator_exists(&store).await? {
        let password = one_time_password()?;
        setup::create_administrator(&store, "Home", "admin", password.clone().into()).await?;
        println!("First start: log in as admin with the password {password}");
        println!("It is shown this once: change it after logging in.");
    }
    let address = Address { host: host_name(&config), port: listeners.control_port() };
    println!(
        "Control: {} (TCP{})",
        listeners.control.local_addr()?,
        if config.server.tls { ", TLS" } else { "" }
    );
    println!("Voice:   {} (UDP)", listeners.voice.local_addr()?);
    println!("Database: {} ({:?})", config.database.masked_url(), store.kind());
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

fn start_log(config: &Config) -> Result<(), Box<dyn std::error::Error>> {
    let filter = tracing_subscriber::EnvFilter::try_new(&config.log.level)
        .map_err(|error| voip_server::ConfigError::Value(format!("log.level: {error}")))?;
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

fn one_time_password() -> Result<String, Box<dyn std::error::Error>> {
    let mut bytes = [0; 12];
    SystemRandom::new().fill(&mut bytes).map_err(|_| "the system has no randomness")?;
    Ok(base64::Engine::encode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, bytes))
}
