//! The handle by which everybody else steers the engine.

use std::sync::Arc;

use tokio::sync::{broadcast, mpsc, oneshot};
use voip_protocol::ChannelId;

use super::{Command, Reply, not_connected};
use crate::{
    Account, ClientError, ClientErrorCode, EngineState, Event, Login, VoiceSettings,
    audio::{Backend, Devices},
    voice::CaptureControls,
};

/// Steers an engine; cheap to clone.
#[derive(Clone)]
pub struct EngineHandle {
    commands: mpsc::Sender<Command>,
    events: broadcast::Sender<Event>,
    capture: Arc<CaptureControls>,
    backend: Arc<dyn Backend>,
}

impl EngineHandle {
    pub(super) fn new(
        commands: mpsc::Sender<Command>,
        events: broadcast::Sender<Event>,
        capture: Arc<CaptureControls>,
        backend: Arc<dyn Backend>,
    ) -> Self {
        Self { commands, events, capture, backend }
    }

    /// Events from now on. Whoever is too slow and misses some re-reads [`EngineHandle::state`].
    pub fn subscribe(&self) -> broadcast::Receiver<Event> {
        self.events.subscribe()
    }

    /// Logs in and connects; done when the room is there. After that, outages heal by themselves.
    pub async fn connect(&self, login: Login) -> Result<(), ClientError> {
        self.ask(|reply| Command::Connect(Box::new(login), reply)).await
    }

    /// Ends the connection and lets the devices go.
    pub async fn disconnect(&self) -> Result<(), ClientError> {
        self.ask(Command::Disconnect).await
    }

    /// Enters a channel, leaving the one before.
    pub async fn join(&self, channel: ChannelId) -> Result<(), ClientError> {
        self.ask(|reply| Command::Join(channel, reply)).await
    }

    /// Leaves the channel.
    pub async fn leave(&self) -> Result<(), ClientError> {
        self.ask(Command::Leave).await
    }

    /// Switches one's own microphone and speaker; holds at once, the server is told besides.
    pub async fn set_self(&self, muted: bool, deafened: bool) -> Result<(), ClientError> {
        self.ask(|reply| Command::SetSelf { muted, deafened, reply }).await
    }

    /// The push-to-talk key is pressed or let go. Takes effect with the next captured frame; never waits.
    pub fn set_key(&self, pressed: bool) {
        self.capture.set_key(pressed);
    }

    /// Applies settings; devices are reopened where they changed.
    pub async fn apply(&self, settings: VoiceSettings) -> Result<(), ClientError> {
        self.ask(|reply| Command::Apply(Box::new(settings), reply)).await
    }

    /// The devices that there are now.
    pub async fn devices(&self) -> Result<Devices, ClientError> {
        let backend = Arc::clone(&self.backend);
        let devices =
            tokio::task::spawn_blocking(move || backend.devices()).await.map_err(|_| shut_down())?;
        devices.map_err(ClientError::from)
    }

    /// The account that is logged in, for all that is asked besides voice.
    pub async fn account(&self) -> Result<Arc<Account>, ClientError> {
        let (reply, answer) = oneshot::channel();
        self.commands.send(Command::Account(reply)).await.map_err(|_| shut_down())?;
        answer.await.map_err(|_| shut_down())?.ok_or_else(not_connected)
    }

    /// Everything, now.
    pub async fn state(&self) -> Result<EngineState, ClientError> {
        let (reply, answer) = oneshot::channel();
        self.commands.send(Command::State(reply)).await.map_err(|_| shut_down())?;
        answer.await.map_err(|_| shut_down())
    }

    /// Disconnects and ends the engine.
    pub async fn shut_down(&self) {
        let (reply, answer) = oneshot::channel();
        if self.commands.send(Command::ShutDown(reply)).await.is_ok() {
            // An engine that is gone has shut down.
            let _ = answer.await;
        }
    }

    async fn ask(&self, command: impl FnOnce(Reply) -> Command) -> Result<(), ClientError> {
        let (reply, answer) = oneshot::channel();
        self.commands.send(command(reply)).await.map_err(|_| shut_down())?;
        answer.await.map_err(|_| shut_down())?
    }
}

fn shut_down() -> ClientError {
    ClientError::new(ClientErrorCode::ShutDown, "the voice engine has ended: restart the program")
}
