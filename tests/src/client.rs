//! A real engine on scripted devices.

use std::time::Duration;

use tokio::{sync::broadcast, task::JoinHandle};
use voip_client::{
    ClientError, Connection, Engine, EngineConfig, EngineHandle, Event, Login, Processing, Register,
    Statistics, TalkMode, VoiceSettings, audio::Scripted, voice::Way,
};
use voip_protocol::{Address, ChannelId, Fingerprint};

use crate::{
    server::{TestServer, install_provider, password},
    wait,
};

/// An engine, its microphone and its speaker.
pub struct TestClient {
    /// Steers the engine.
    pub handle: EngineHandle,
    /// Its devices.
    pub devices: Scripted,
    task: JoinHandle<()>,
}

/// What a client may take for anything.
pub const LIMIT: Duration = Duration::from_secs(10);

impl TestClient {
    /// Registers at a server and connects; sends whatever its microphone hears.
    pub async fn register(server: &TestServer, name: &str) -> Self {
        let client = Self::new();
        client.handle.connect(login(&server.address, server.fingerprint, name, true)).await.unwrap();
        client
    }

    /// The same, and enters a channel.
    pub async fn join(server: &TestServer, name: &str, channel: &str) -> Self {
        let client = Self::register(server, name).await;
        client.enter(channel).await;
        client
    }

    /// Enters a channel with its microphone off.
    pub async fn listen(server: &TestServer, name: &str, channel: &str) -> Self {
        let client = Self::join(server, name, channel).await;
        client.handle.set_self(true, false).await.unwrap();
        client
    }

    /// An engine that is not connected.
    pub fn new() -> Self {
        Self::with_settings(VoiceSettings {
            mode: TalkMode::Continuous,
            processing: Processing::OFF,
            ..VoiceSettings::default()
        })
    }

    /// An engine that is not connected.
    pub fn with_settings(settings: VoiceSettings) -> Self {
        install_provider();
        let devices = Scripted::new(48_000);
        let (engine, handle) = Engine::new(EngineConfig { backend: Box::new(devices.clone()), settings });
        Self { handle, devices, task: tokio::spawn(engine.run()) }
    }

    /// Enters a channel by name, and waits until its voice is heard of on UDP.
    pub async fn enter(&self, channel: &str) {
        self.handle.join(self.channel(channel).await).await.unwrap();
        wait::until("an answer on UDP", LIMIT, || async { self.statistics().await.rtt_ms.is_some() }).await;
    }

    /// A channel by name.
    pub async fn channel(&self, name: &str) -> ChannelId {
        let room = self.handle.state().await.unwrap().room.unwrap();
        room.channels.iter().find(|channel| channel.name == name).unwrap().id
    }

    /// Counters, now.
    pub async fn statistics(&self) -> Statistics {
        self.handle.state().await.unwrap().statistics
    }

    /// Frames that it heard.
    pub async fn frames_received(&self) -> u64 {
        self.statistics().await.frames_received
    }

    /// The way that its voice takes.
    pub async fn way(&self) -> Way {
        self.statistics().await.way
    }

    /// Waits for an event.
    pub async fn next(
        &self,
        events: &mut broadcast::Receiver<Event>,
        what: &str,
        wanted: impl Fn(&Event) -> bool,
    ) -> Event {
        let search = async {
            loop {
                let event = events.recv().await.unwrap();
                if wanted(&event) {
                    return event;
                }
            }
        };
        tokio::time::timeout(LIMIT, search).await.unwrap_or_else(|_| panic!("not within {LIMIT:?}: {what}"))
    }

    /// Whether it is connected.
    pub async fn is_connected(&self) -> bool {
        matches!(self.handle.state().await.unwrap().connection, Connection::Connected { .. })
    }

    /// Tries to log in, as a person would.
    pub async fn log_in(&self, server: &TestServer, name: &str) -> Result<(), ClientError> {
        self.handle.connect(login(&server.address, server.fingerprint, name, false)).await
    }

    /// Ends the engine.
    pub async fn stop(self) {
        self.handle.shut_down().await;
        self.task.await.unwrap();
    }
}

impl Default for TestClient {
    fn default() -> Self {
        Self::new()
    }
}

/// A login with everybody's password.
pub fn login(address: &Address, fingerprint: Fingerprint, name: &str, register: bool) -> Login {
    Login {
        address: address.clone(),
        fingerprint,
        organization: None,
        username: name.into(),
        password: password(),
        register: register.then(Register::default),
        device: None,
    }
}
