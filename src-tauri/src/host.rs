//! The server in this process: start, stop, drain.

use std::{
    net::{TcpListener, UdpSocket},
    ops::Range,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use voip_client::ClientError;
use voip_protocol::{Address, Fingerprint, Invite};
use voip_server::{BindError, Config, Identity, Listeners, Store, setup};

use crate::{
    api::{
        AppError, AppErrorCode, HostRequest, HostSetup, HostedServer, Hosting, HostingStep, Plane, PortOffer,
    },
    reach::{local_address, public_address, reach_of},
};

/// Hosts at most one server, with everything in one folder.
pub struct Host {
    data_dir: PathBuf,
    shown: Shown,
    running: tokio::sync::Mutex<Option<Running>>,
}

/// Where a started server is, for the one who started it.
#[derive(Clone, Debug)]
pub struct Started {
    /// On this computer.
    pub address: Address,
    /// Its certificate.
    pub fingerprint: Fingerprint,
}

struct Running {
    started: Started,
    voice_port: u16,
    shutdown: CancellationToken,
    serving: JoinHandle<()>,
}

/// What everybody may know of the server, and whom to tell of changes.
#[derive(Clone)]
struct Shown {
    state: Arc<Mutex<Hosting>>,
    tell: Arc<dyn Fn(Hosting) + Send + Sync>,
}

/// Ports to offer in place of a taken one begin this much above it.
const OFFERS: Range<u16> = 10..110;

impl Host {
    /// A host that keeps its server's files in `data_dir` and tells every change.
    pub fn new(data_dir: PathBuf, tell: impl Fn(Hosting) + Send + Sync + 'static) -> Self {
        let shown = Shown { state: Arc::new(Mutex::new(Hosting::Stopped)), tell: Arc::new(tell) };
        Self { data_dir, shown, running: tokio::sync::Mutex::default() }
    }

    /// The server now.
    pub fn state(&self) -> Hosting {
        self.shown.get()
    }

    /// Whether there is a server from an earlier time.
    pub async fn setup(&self) -> Result<HostSetup, AppError> {
        let config = Config::embedded(&self.data_dir, 0, 0);
        if self.running.lock().await.is_some() {
            return Ok(HostSetup { has_administrator: true });
        }
        if !self.data_dir.exists() {
            return Ok(HostSetup { has_administrator: false });
        }
        let store = open_store(&config).await?;
        let has_administrator = setup::administrator_exists(&store).await.map_err(failed);
        store.close().await;
        Ok(HostSetup { has_administrator: has_administrator? })
    }

    /// Starts the server and makes its administrator at the first time. It serves already, but is not shown as
    /// running before [`Host::show`].
    pub async fn start(&self, request: &HostRequest) -> Result<Started, AppError> {
        let mut running = self.running.lock().await;
        // One that failed by itself is still there, but no longer serving.
        if running.as_ref().is_some_and(|server| !server.serving.is_finished()) {
            return Err(AppError::new(AppErrorCode::HostBusy, "a server is already hosted: stop it first"));
        }
        let result = self.open(request).await;
        match result {
            Ok(server) => Ok(running.insert(server).started.clone()),
            Err(error) => {
                self.shown.set(Hosting::Stopped);
                Err(error)
            }
        }
    }

    /// Shows the server as running, with an invite for the given public name or the local network's address.
    pub async fn show(&self, public_host: Option<&str>) {
        let running = self.running.lock().await;
        let Some(Running { started, voice_port, .. }) = running.as_ref() else { return };
        let port = started.address.port;
        let address = public_host
            // A name that is none was refused when it was set; an old file may still have one.
            .and_then(|name| public_address(name, port).ok())
            .unwrap_or_else(|| Address { host: local_address().to_string(), port });
        self.shown.set(Hosting::Running(HostedServer {
            address: address.to_string(),
            reach: reach_of(&address.host),
            invite: Invite { address, fingerprint: Some(started.fingerprint) }.to_string(),
            fingerprint: started.fingerprint,
            control_port: port,
            voice_port: *voice_port,
        }));
    }

    /// Says how far the start is.
    pub fn step(&self, step: HostingStep) {
        self.shown.set(Hosting::Starting(step));
    }

    /// Whether this is the server hosted here, and no other.
    pub async fn is_own(&self, address: &Address, fingerprint: Fingerprint) -> bool {
        let running = self.running.lock().await;
        running.as_ref().is_some_and(|Running { started, .. }| {
            started.address == *address && started.fingerprint == fingerprint
        })
    }

    /// Stops the server; returns when everybody was told and all is closed.
    pub async fn stop(&self) {
        let mut running = self.running.lock().await;
        let Some(server) = running.take() else { return };
        self.shown.set(Hosting::Stopping);
        server.shutdown.cancel();
        if let Err(error) = server.serving.await {
            tracing::error!(%error, "the hosted server ended badly");
        }
        self.shown.set(Hosting::Stopped);
    }

    async fn open(&self, request: &HostRequest) -> Result<Running, AppError> {
        let config = Config::embedded(&self.data_dir, request.control_port, request.voice_port);
        self.step(HostingStep::Database);
        std::fs::create_dir_all(&self.data_dir).map_err(|error| {
            failed(format!("the folder {} cannot be made ({error})", self.data_dir.display()))
        })?;
        let store = open_store(&config).await?;
        let prepared = self.prepare(request, &config, &store).await;
        let (listeners, fingerprint) = match prepared {
            Ok(prepared) => prepared,
            Err(error) => {
                store.close().await;
                return Err(error);
            }
        };

        let address = Address { host: "127.0.0.1".into(), port: listeners.control_port() };
        let voice_port = listeners.voice_port();
        let shutdown = CancellationToken::new();
        let (shown, asked) = (self.shown.clone(), shutdown.clone());
        let serving = tokio::spawn(async move {
            // A child: the server cancels its own when it ends by itself.
            let result = voip_server::run(config, listeners, store, asked.child_token()).await;
            match result {
                Err(error) => {
                    tracing::error!(%error, "the hosted server failed");
                    shown.set(Hosting::Failed(failed(error)));
                }
                Ok(()) if !asked.is_cancelled() => {
                    shown.set(Hosting::Failed(failed("the server ended by itself: start it again")));
                }
                Ok(()) => {}
            }
        });
        Ok(Running { started: Started { address, fingerprint }, voice_port, shutdown, serving })
    }

    async fn prepare(
        &self,
        request: &HostRequest,
        config: &Config,
        store: &Store,
    ) -> Result<(Listeners, Fingerprint), AppError> {
        self.step(HostingStep::Network);
        let listeners = Listeners::bind(config).map_err(|error| not_bound(&error, request))?;
        let fingerprint = Identity::load_or_create(&config.data_dir).map_err(failed)?.fingerprint();
        self.step(HostingStep::Account);
        if !setup::administrator_exists(store).await.map_err(failed)? {
            let name =
                request.server_name.clone().unwrap_or_else(|| format!("{}'s server", request.username));
            setup::create_administrator(store, &name, &request.username, request.password.clone())
                .await
                .map_err(ClientError::from)?;
        }
        Ok((listeners, fingerprint))
    }
}

impl Shown {
    fn get(&self) -> Hosting {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, hosting: Hosting) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).clone_from(&hosting);
        (self.tell)(hosting);
    }
}

async fn open_store(config: &Config) -> Result<Store, AppError> {
    let opened = Store::open(&config.database).await;
    opened.map_err(|error| failed(format!("{error} ({})", config.database.masked_url())))
}

#[allow(clippy::needless_pass_by_value)] // As `map_err` hands it over.
fn failed(error: impl ToString) -> AppError {
    AppError::new(AppErrorCode::HostFailed, error.to_string())
}

fn not_bound(error: &BindError, request: &HostRequest) -> AppError {
    let BindError::InUse { port: taken, protocol, .. } = *error else { return failed(error) };
    let plane = if protocol == "TCP" { Plane::Control } else { Plane::Voice };
    let message =
        format!("{protocol} port {taken} is in use by another program: stop it, or use another port");
    let other = if plane == Plane::Control { request.voice_port } else { request.control_port };
    AppError {
        port: free_port(plane, taken, other).map(|free| PortOffer { plane, taken, free }),
        ..AppError::new(AppErrorCode::PortInUse, message)
    }
}

/// A port near the taken one that is free now and not the server's other one.
fn free_port(plane: Plane, taken: u16, other: u16) -> Option<u16> {
    OFFERS.filter_map(|above| taken.checked_add(above)).filter(|port| *port != other).find(|port| match plane
    {
        Plane::Control => TcpListener::bind(("0.0.0.0", *port)).is_ok(),
        Plane::Voice => UdpSocket::bind(("0.0.0.0", *port)).is_ok(),
    })
}
