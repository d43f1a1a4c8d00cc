//! The engine: an actor that owns the session and the voice threads.

mod handle;
mod link;

use std::{collections::HashMap, net::IpAddr, sync::Arc, time::Duration};

use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use tokio::{
    sync::{broadcast, mpsc, oneshot},
    time::{Instant, MissedTickBehavior, interval, timeout},
};
use voip_protocol::{
    ChannelId, ErrorCode,
    control::{Call, MembersChange, Request, ServerEvent, ServerMessage},
    limits::SESSION_GRACE_MS,
};

pub use handle::EngineHandle;
use link::{Link, Opened, Step};

use crate::{
    Account, AudioState, ClientError, ClientErrorCode, Connection, EngineState, Event, Login, Room,
    VoiceSettings, audio::Backend, session::Backoff, voice::Voice,
};

/// What an engine starts with.
pub struct EngineConfig {
    /// Sound devices.
    pub backend: Box<dyn Backend>,
    /// Devices, codec, the way a talk starts.
    pub settings: VoiceSettings,
}

/// Answer to a command.
type Reply = oneshot::Sender<Result<(), ClientError>>;

enum Command {
    Connect(Box<Login>, Reply),
    Disconnect(Reply),
    Join(ChannelId, Reply),
    Leave(Reply),
    SetSelf { muted: bool, deafened: bool, reply: Reply },
    Apply(Box<VoiceSettings>, Reply),
    Account(oneshot::Sender<Option<Arc<Account>>>),
    State(oneshot::Sender<EngineState>),
    ShutDown(oneshot::Sender<()>),
}

/// Commands that may wait.
const COMMANDS: usize = 64;
/// Events that a slow subscriber may have waiting; it re-reads the state when it has missed some.
const EVENTS: usize = 256;
/// Level meters move this often.
const LEVELS_EVERY: Duration = Duration::from_millis(50);
/// Counters are told this often; devices that failed are tried again this often.
const STATISTICS_EVERY: Duration = Duration::from_secs(1);
/// So long the server keeps a session whose control socket was lost.
const SESSION_GRACE: Duration = Duration::from_millis(SESSION_GRACE_MS);
/// A server that does not answer keeps nobody from leaving.
const LOG_OUT: Duration = Duration::from_secs(1);

/// The actor. [`Engine::run`] it on a tokio runtime.
pub struct Engine {
    commands: mpsc::Receiver<Command>,
    events: broadcast::Sender<Event>,
    voice: Voice,
    link: Link,
    account: Option<Arc<Account>>,
    room: Option<Room>,
    /// The channel that the person wants to be in, also across outages.
    channel: Option<ChannelId>,
    muted: bool,
    deafened: bool,
    /// What the server was last told.
    told_talking: bool,
    backoff: Backoff,
    next_request: u64,
    pending: HashMap<u64, Pending>,
    connection: Connection,
    audio: AudioState,
    /// What the server said before it went.
    goodbye: Option<ClientError>,
    /// When the control socket was lost that voice goes on without.
    lost_at: Option<Instant>,
    /// What the network looked like when it was last looked at.
    network: Option<(u32, Option<IpAddr>)>,
}

/// What an answer of the server is for.
enum Pending {
    /// Somebody waits for it.
    Reply(Reply),
    /// A join; the channel becomes the wanted one.
    Join(ChannelId, Option<Reply>),
}

impl Engine {
    /// An engine and the handle to steer it by.
    pub fn new(config: EngineConfig) -> (Self, EngineHandle) {
        let (sender, commands) = mpsc::channel(COMMANDS);
        let (events, _) = broadcast::channel(EVENTS);
        let backend: Arc<dyn Backend> = Arc::from(config.backend);
        let voice = Voice::new(Arc::clone(&backend), config.settings.clamped());
        let handle = EngineHandle::new(sender, events.clone(), voice.capture_controls(), backend);
        let engine = Self {
            commands,
            events,
            voice,
            link: Link::Offline,
            account: None,
            room: None,
            channel: None,
            muted: false,
            deafened: false,
            told_talking: false,
            backoff: Backoff::default(),
            next_request: 1,
            pending: HashMap::new(),
            connection: Connection::Disconnected { reason: None },
            audio: AudioState::default(),
            goodbye: None,
            lost_at: None,
            network: None,
        };
        (engine, handle)
    }

    /// Runs until it is shut down or every handle is gone.
    pub async fn run(mut self) {
        let mut levels = interval(LEVELS_EVERY);
        let mut statistics = interval(STATISTICS_EVERY);
        for timer in [&mut levels, &mut statistics] {
            timer.set_missed_tick_behavior(MissedTickBehavior::Skip);
        }
        loop {
            tokio::select! {
                command = self.commands.recv() => match command {
                    Some(Command::ShutDown(reply)) => {
                        self.disconnect(None).await;
                        let _ = reply.send(());
                        return;
                    }
                    Some(command) => self.command(command).await,
                    None => return self.disconnect(None).await,
                },
                step = self.link.next() => self.step(step).await,
                _ = levels.tick() => self.tick_levels().await,
                _ = statistics.tick() => self.tick_statistics().await,
            }
        }
    }

    async fn command(&mut self, command: Command) {
        match command {
            Command::Connect(login, reply) => self.connect(*login, reply).await,
            Command::Disconnect(reply) => {
                self.disconnect(None).await;
                let _ = reply.send(Ok(()));
            }
            Command::Join(channel, reply) => {
                self.request(Call::Join { channel }, Pending::Join(channel, Some(reply))).await;
            }
            Command::Leave(reply) => {
                // Silence first: the answer may take its time.
                self.voice.leave();
                self.channel = None;
                self.request(Call::Leave {}, Pending::Reply(reply)).await;
            }
            Command::SetSelf { muted, deafened, reply } => self.set_self(muted, deafened, reply).await,
            Command::Apply(settings, reply) => {
                self.voice.apply(settings.clamped());
                self.tell_audio();
                let _ = reply.send(Ok(()));
            }
            Command::Account(reply) => {
                let _ = reply.send(self.account.clone());
            }
            Command::State(reply) => {
                let _ = reply.send(self.state());
            }
            Command::ShutDown(_) => unreachable!("run() takes it"),
        }
    }

    async fn connect(&mut self, login: Login, reply: Reply) {
        self.disconnect(None).await;
        let account = match Account::new(login) {
            Ok(account) => account,
            Err(error) => {
                let _ = reply.send(Err(error));
                return;
            }
        };
        self.voice.open();
        self.tell_connection(Connection::Connecting { server: account.address().to_string() });
        self.backoff = Backoff::default();
        self.link = Link::trying(&account, None, Some(reply));
        self.account = Some(account);
    }

    /// Leaves the server and logs out. A reason is told where nobody asked for it.
    async fn disconnect(&mut self, reason: Option<ClientError>) {
        let before = std::mem::replace(&mut self.link, Link::Offline);
        if let Link::Trying { reply: Some(reply), .. } = before {
            let _ = reply.send(Err(not_connected()));
        }
        self.forget_connection().await;
        self.goodbye = None;
        self.channel = None;
        self.voice.close().await;
        if self.account.is_some() {
            self.tell_connection(Connection::Disconnected { reason });
        }
        if let Some(account) = self.account.take()
            && timeout(LOG_OUT, account.log_out()).await.is_err()
        {
            tracing::info!("the server does not answer: the login ends when it expires");
        }
    }

    /// What belonged to the connection that is gone.
    async fn forget_connection(&mut self) {
        self.voice.disconnect().await;
        self.lost_at = None;
        self.forget_room();
    }

    fn forget_room(&mut self) {
        self.told_talking = false;
        if self.room.take().is_some() {
            self.tell(Event::Room(None));
        }
        for (_, pending) in self.pending.drain() {
            if let Pending::Reply(reply) | Pending::Join(_, Some(reply)) = pending {
                let message = "the connection was lost before the server answered: it comes back by itself, try again then";
                let _ = reply.send(Err(ClientError::new(ClientErrorCode::ConnectionLost, message)));
            }
        }
    }

    async fn step(&mut self, step: Step) {
        match step {
            Step::Opened(opened, reply) => self.opened(*opened, reply).await,
            Step::Failed(error, reply) => self.failed(error, reply).await,
            Step::Message(message) => self.message(message),
            Step::Lost(error) => {
                let goodbye = self.goodbye.take();
                self.forget_room();
                if goodbye.is_some() {
                    self.voice.disconnect().await;
                } else {
                    // The server keeps the session for a while, and voice does not need the control socket.
                    self.lost_at = Some(Instant::now());
                }
                self.failed(goodbye.unwrap_or(error), None).await;
            }
            Step::Retry => {
                if let Some(account) = &self.account {
                    self.link = Link::trying(account, self.voice.session(), None);
                }
            }
        }
    }

    async fn opened(&mut self, opened: Opened, reply: Option<Reply>) {
        let Opened { socket, snapshot } = opened;
        let resumed = self.voice.resume(&snapshot, socket.tunnel.clone());
        if !resumed {
            let address = std::net::SocketAddr::new(socket.server, snapshot.voice.port);
            let connected =
                self.voice.connect(address, socket.tunnel.clone(), snapshot.session, &snapshot.voice).await;
            if let Err(error) = connected {
                let message =
                    format!("no UDP socket to {address} can be opened ({error}): check the network");
                return self.failed(ClientError::new(ClientErrorCode::Unreachable, message), reply).await;
            }
        }
        self.backoff = Backoff::default();
        self.goodbye = None;
        self.lost_at = None;
        self.network = self.voice.network();
        let room = Room::from(snapshot);
        self.link = Link::online(socket);
        self.room = Some(room.clone());
        if let Some(account) = &self.account {
            let server = account.address().to_string();
            self.tell_connection(Connection::Connected { server });
        }
        // What the server knows of us: of a new session nothing, of one that goes on what it was told last.
        let (muted, deafened, channel) = room.me().map_or((false, false, None), |me| {
            self.told_talking = me.talking;
            (me.muted, me.deafened, me.channel)
        });
        self.tell(Event::Room(Some(room)));
        if (muted, deafened) != (self.muted, self.deafened) {
            let (muted, deafened) = (self.muted, self.deafened);
            self.send(Call::SetSelf { muted, deafened }).await;
        }
        match self.channel {
            wanted if wanted == channel => {}
            Some(channel) => self.request(Call::Join { channel }, Pending::Join(channel, None)).await,
            None => drop(self.send(Call::Leave {}).await),
        }
        if let Some(reply) = reply {
            let _ = reply.send(Ok(()));
        }
    }

    /// An attempt failed, or the connection: the first attempt is over, anything later is followed by the next one.
    async fn failed(&mut self, error: ClientError, reply: Option<Reply>) {
        if let Some(reply) = reply {
            self.disconnect(None).await;
            let _ = reply.send(Err(error));
        } else if is_final(&error) {
            self.disconnect(Some(error)).await;
        } else {
            self.retry(error);
        }
    }

    fn retry(&mut self, reason: ClientError) {
        let Some(account) = &self.account else { return };
        let server = account.address().to_string();
        let wait = self.backoff.next(random());
        let retry_in_ms = wait.as_millis() as u64;
        self.link = Link::Waiting { until: Instant::now() + wait };
        self.tell_connection(Connection::Reconnecting {
            server,
            attempt: self.backoff.tries(),
            retry_in_ms,
            reason,
        });
    }

    fn message(&mut self, message: ServerMessage) {
        match message {
            ServerMessage::Success { id, .. } => self.answered(id, Ok(())),
            ServerMessage::Failure { id: Some(id), error } => self.answered(id, Err(error.into())),
            // The connection closes next, by itself.
            ServerMessage::Failure { id: None, error } if error.code == ErrorCode::LoginRevoked => {
                self.goodbye = Some(error.into());
            }
            // A server of before the tunnel. Nobody asked for anything.
            ServerMessage::Failure { id: None, error } if error.code == ErrorCode::BinaryNotAllowed => {
                self.voice.refuse_tunnel();
            }
            ServerMessage::Failure { id: None, error } => self.tell(Event::Problem(error.into())),
            ServerMessage::Event(ServerEvent::ChannelKey(key)) => self.voice.install(key),
            ServerMessage::Event(ServerEvent::Members(change)) => self.members_changed(change),
            ServerMessage::Event(ServerEvent::VoiceClipped { packets }) => {
                self.voice.clipped();
                let message = format!(
                    "the server dropped {packets} voice packets of this device: they were more than it lets one \
                     session send; take a lower bit rate, or ask whoever runs the server"
                );
                self.tell(Event::Problem(ClientError::new(ClientErrorCode::VoiceClipped, message)));
            }
            // The connection closes next, by itself.
            ServerMessage::Event(ServerEvent::ServerStopping { message }) => {
                let code = ClientErrorCode::Server(ErrorCode::ServerStopping);
                self.goodbye = Some(ClientError::new(code, message));
            }
            // A second one has no meaning.
            ServerMessage::Event(ServerEvent::Snapshot(_)) => {}
        }
    }

    fn members_changed(&mut self, change: MembersChange) {
        let Some(room) = &mut self.room else { return };
        let before = room.me().and_then(|me| me.channel);
        room.apply(&change);
        if let Some(me) = change.changed.iter().find(|member| member.session == room.session) {
            // Whatever was said meanwhile: what the server has otherwise, it is told again.
            self.told_talking = me.talking;
            if me.channel != before {
                self.channel = me.channel;
                if me.channel.is_none() {
                    self.voice.leave();
                }
            }
        }
        self.tell(Event::Members(change));
    }

    fn answered(&mut self, id: u64, result: Result<(), ClientError>) {
        match self.pending.remove(&id) {
            Some(Pending::Reply(reply)) => {
                let _ = reply.send(result);
            }
            Some(Pending::Join(channel, reply)) => {
                match &result {
                    Ok(()) => {
                        if self.channel != Some(channel) {
                            self.voice.unlock();
                        }
                        self.channel = Some(channel);
                    }
                    // Nobody asked: the channel to return to is not open to us any more.
                    Err(error) if reply.is_none() => {
                        self.channel = None;
                        self.tell(Event::Problem(error.clone()));
                    }
                    Err(_) => {}
                }
                if let Some(reply) = reply {
                    let _ = reply.send(result);
                }
            }
            None => {}
        }
    }

    async fn set_self(&mut self, muted: bool, deafened: bool, reply: Reply) {
        (self.muted, self.deafened) = (muted || deafened, deafened);
        self.voice.set_self(self.muted, self.deafened);
        if matches!(self.link, Link::Online { .. }) {
            self.request(Call::SetSelf { muted: self.muted, deafened }, Pending::Reply(reply)).await;
        } else {
            // The server is told when it is back.
            let _ = reply.send(Ok(()));
        }
    }

    async fn tick_levels(&mut self) {
        if !self.voice.is_open() {
            return;
        }
        self.tell_audio();
        let levels = self.voice.levels();
        let talking = levels.transmitting && self.channel.is_some();
        if talking != self.told_talking && matches!(self.link, Link::Online { .. }) && self.channel.is_some()
        {
            self.told_talking = talking;
            self.send(Call::SetTalking { talking }).await;
        }
        self.tell(Event::Levels(levels));
    }

    async fn tick_statistics(&mut self) {
        if self.lost_at.is_some_and(|at| at.elapsed() >= SESSION_GRACE) {
            // The server has ended the session by now.
            self.lost_at = None;
            self.voice.disconnect().await;
        }
        self.look_at_network();
        self.voice.expire_keys();
        if self.voice.is_open() {
            let statistics = self.voice.statistics();
            self.tell(Event::Statistics(statistics));
        }
    }

    /// A control socket of the network before is as good as dead, and nobody says so.
    fn look_at_network(&mut self) {
        if let Link::Online { check, .. } = &self.link {
            let network = self.voice.network();
            if std::mem::replace(&mut self.network, network) != network {
                check.notify_one();
            }
        }
    }

    /// Asks the server something that somebody waits for.
    async fn request(&mut self, call: Call, pending: Pending) {
        if let Some(id) = self.send(call).await {
            self.pending.insert(id, pending);
        } else if let Pending::Reply(reply) | Pending::Join(_, Some(reply)) = pending {
            let _ = reply.send(Err(not_connected()));
        }
    }

    async fn send(&mut self, call: Call) -> Option<u64> {
        let Link::Online { requests, .. } = &self.link else { return None };
        let id = self.next_request;
        self.next_request += 1;
        requests.send(Request { id, call }).await.ok().map(|()| id)
    }

    fn state(&self) -> EngineState {
        EngineState {
            connection: self.connection.clone(),
            room: self.room.clone(),
            channel: self.channel,
            muted: self.muted,
            deafened: self.deafened,
            audio: self.audio.clone(),
            statistics: self.voice.statistics(),
        }
    }

    fn tell_audio(&mut self) {
        let audio = self.voice.audio_state();
        if audio != self.audio {
            self.audio = audio.clone();
            self.tell(Event::Audio(audio));
        }
    }

    fn tell_connection(&mut self, connection: Connection) {
        self.connection = connection.clone();
        self.tell(Event::Connection(connection));
    }

    fn tell(&self, event: Event) {
        // Nobody may be listening.
        let _ = self.events.send(event);
    }
}

/// Trying again would change nothing.
fn is_final(error: &ClientError) -> bool {
    matches!(
        error.code,
        ClientErrorCode::CertificateChanged
            | ClientErrorCode::Server(
                ErrorCode::LoginRevoked
                    | ErrorCode::InvalidCredentials
                    | ErrorCode::UnknownOrganization
                    | ErrorCode::OrganizationRequired
                    | ErrorCode::RegistrationClosed
                    | ErrorCode::UsernameTaken
                    | ErrorCode::WeakPassword
                    | ErrorCode::QuotaExceeded
                    | ErrorCode::InvalidField
            )
    )
}

fn not_connected() -> ClientError {
    ClientError::new(ClientErrorCode::NotConnected, "there is no connection to a server: connect first")
}

/// A number from 0 to 1.
fn random() -> f64 {
    let mut bytes = [0; 4];
    // Without randomness the wait is not spread, and that is all.
    let _ = SystemRandom::new().fill(&mut bytes);
    f64::from(u32::from_be_bytes(bytes)) / f64::from(u32::MAX)
}
