//! Voice between the sound card and the voice socket: the threads, and what steers them.

mod capture;
mod clock;
mod downlink;
mod keys;
mod playback;
mod repair;
mod socket;
mod uplink;
mod way;

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    time::Instant,
};

use arc_swap::ArcSwap;
use rtrb::{Producer, RingBuffer};
use tokio::task::spawn_blocking;
use voip_protocol::{
    SessionId,
    control::{ChannelKey, Snapshot, VoiceSession},
    secret::TagSecret,
    voice::TagKey,
};

pub use capture::{Capture, CaptureControls, CaptureLine, EncodedPacket, OnDevice, OpenInput, PacketSink};
pub use clock::{ServerClock, ticks};
use downlink::{Downlink, DownlinkFigures, Reception};
pub use keys::{EpochSecret, KeyRing};
pub use playback::{
    BLOCK, HeardFrame, Mixdown, OpenOutput, Playback, PlaybackControls, PlaybackStatistics, ServerTicks,
};
pub use repair::Repair;
use socket::VoiceSocket;
use uplink::{Line, Uplink, UplinkShared};
pub use way::{Order, Quality, Way, Ways};

use crate::{
    AudioState, ClientError, Levels, Statistics, TalkMode, VoiceSettings,
    audio::{AudioError, Backend},
    net::TunnelEnd,
};

/// Opened packets that may wait for the playback thread: a second of ten talkers, or of four who protect their voice.
const HEARD_FRAMES: usize = 1_000;
/// What the speaker plays may wait so long for the capture thread, in samples at 48 kHz: half a second.
const FAR: usize = 24_000;
/// Samples of a frame of statistics: overruns are told in these, 10 ms at 48 kHz.
const FRAME: u64 = 480;

/// The voice threads of an engine, and its way to the server's voice port.
pub struct Voice {
    backend: Arc<dyn Backend>,
    settings: VoiceSettings,
    controls: Arc<CaptureControls>,
    playback: Arc<PlaybackControls>,
    clock: Arc<ServerClock>,
    uplink: Arc<UplinkShared>,
    audio: Arc<Mutex<AudioState>>,
    threads: Option<Threads>,
    line: Option<Connection>,
    /// The way that the last connection ended with.
    way: Way,
}

/// While devices are wanted.
struct Threads {
    capture: Capture,
    playback: Playback,
    /// The end that a connection writes into, while there is none.
    frames: Option<Producer<HeardFrame>>,
}

/// While there is a session.
struct Connection {
    session: SessionId,
    secret: TagSecret,
    socket: Arc<VoiceSocket>,
    tag: Arc<TagKey>,
    sequence: Arc<AtomicU32>,
    keys: KeyRing,
    epochs: Arc<ArcSwap<Vec<EpochSecret>>>,
    figures: Arc<DownlinkFigures>,
    downlink: Option<Downlink>,
}

impl Voice {
    /// Without devices and without a connection.
    pub fn new(backend: Arc<dyn Backend>, settings: VoiceSettings) -> Self {
        let clock = Arc::new(ServerClock::new(Instant::now()));
        let ticks = Arc::clone(&clock);
        let playback = Arc::new(PlaybackControls::new(Arc::new(move |instant| ticks.at(instant))));
        playback.level_talkers(settings.level_talkers);
        Self {
            backend,
            controls: Arc::new(CaptureControls::new(settings.clone())),
            settings,
            playback,
            uplink: UplinkShared::new(Arc::clone(&clock)),
            clock,
            audio: Arc::default(),
            threads: None,
            line: None,
            way: Way::default(),
        }
    }

    /// What the push-to-talk key is told to.
    pub fn capture_controls(&self) -> Arc<CaptureControls> {
        Arc::clone(&self.controls)
    }

    /// Starts the threads; each opens its device, and goes on trying where it cannot.
    pub fn open(&mut self) {
        if self.threads.is_some() {
            return;
        }
        let (frames, heard) = RingBuffer::new(HEARD_FRAMES);
        let (far, far_heard) = RingBuffer::new(FAR);
        let sink = Box::new(Uplink::new(Arc::clone(&self.uplink)));
        let told = Arc::clone(&self.audio);
        let on_input = note(told, |audio, device| (audio.input, audio.input_problem) = device);
        let told = Arc::clone(&self.audio);
        let on_output = note(told, |audio, device| (audio.output, audio.output_problem) = device);
        self.threads = Some(Threads {
            capture: Capture::spawn(
                self.open_input(),
                sink,
                Some(far_heard),
                Arc::clone(&self.controls),
                on_input,
            ),
            playback: Playback::spawn(
                self.open_output(),
                heard,
                Some(far),
                Arc::clone(&self.playback),
                on_output,
            ),
            frames: Some(frames),
        });
    }

    /// Ends the threads and lets the devices go.
    pub async fn close(&mut self) {
        self.disconnect().await;
        if let Some(threads) = self.threads.take() {
            // A device may take its time; a panic over there has been reported over there.
            let _ = spawn_blocking(move || drop(threads)).await;
        }
        *lock(&self.audio) = AudioState::default();
    }

    /// Whether devices are wanted.
    pub fn is_open(&self) -> bool {
        self.threads.is_some()
    }

    /// Takes up a session on the voice plane.
    pub async fn connect(
        &mut self,
        server: SocketAddr,
        tunnel: Option<TunnelEnd>,
        session: SessionId,
        keys: &VoiceSession,
    ) -> io::Result<()> {
        self.disconnect().await;
        let socket = Arc::new(VoiceSocket::open(server, tunnel)?);
        let tag = Arc::new(TagKey::new(&keys.uplink));
        let epochs: Arc<ArcSwap<Vec<EpochSecret>>> = Arc::default();
        let figures: Arc<DownlinkFigures> = Arc::default();
        self.clock.forget();
        self.playback.clear();
        self.controls.set_code(None);
        self.uplink.frames_sent.store(0, Ordering::Relaxed);
        let downlink = self.threads.as_mut().and_then(|threads| threads.frames.take()).map(|frames| {
            let reception = Reception {
                socket: Arc::clone(&socket),
                way: self.way,
                sent: Arc::clone(&self.uplink),
                session,
                uplink: Arc::clone(&tag),
                downlink: TagKey::new(&keys.downlink),
                epochs: Arc::clone(&epochs),
                clock: Arc::clone(&self.clock),
                figures: Arc::clone(&figures),
                capture: Arc::clone(&self.controls),
                playback: Arc::clone(&self.playback),
            };
            Downlink::spawn(reception, frames)
        });
        let sequence = Arc::default();
        self.line = Some(Connection {
            session,
            secret: keys.uplink.clone(),
            socket,
            tag,
            sequence,
            keys: KeyRing::default(),
            epochs,
            figures,
            downlink,
        });
        Ok(())
    }

    /// The session that voice goes on in, also while there is no control socket.
    pub fn session(&self) -> Option<SessionId> {
        self.line.as_ref().map(|line| line.session)
    }

    /// There is a control socket again. True if it is for the session that voice goes on in: all stays as it is, but
    /// for the tunnel.
    pub fn resume(&self, snapshot: &Snapshot, tunnel: Option<TunnelEnd>) -> bool {
        let Some(line) = &self.line else { return false };
        let same = line.session == snapshot.session && line.secret == snapshot.voice.uplink;
        if same {
            line.socket.set_tunnel(tunnel);
        }
        same
    }

    /// Changes when the network seems to be another.
    pub fn network(&self) -> Option<(u32, Option<IpAddr>)> {
        self.line.as_ref().map(|line| line.socket.network())
    }

    /// Leaves the voice plane.
    pub async fn disconnect(&mut self) {
        self.uplink.line.store(None);
        self.controls.unlock();
        let Some(line) = self.line.take() else { return };
        self.way = line.socket.way();
        if let Some(downlink) = line.downlink {
            let frames = spawn_blocking(move || downlink.stop()).await.ok().flatten();
            if let Some(threads) = &mut self.threads {
                threads.frames = frames;
            }
        }
    }

    /// The server takes no voice on the control socket: it is of an older version.
    pub fn refuse_tunnel(&self) {
        if let Some(line) = &self.line {
            line.socket.set_tunnel(None);
        }
    }

    /// The server gave a key.
    pub fn install(&mut self, key: ChannelKey) {
        if let Some(line) = &mut self.line {
            line.keys.install(key, Instant::now());
        }
        self.publish_keys();
    }

    /// A talk that goes on without the key ends: those who hear it are others now.
    pub fn unlock(&self) {
        self.controls.unlock();
    }

    /// Out of the channel: nothing is sealed or opened any more.
    pub fn leave(&mut self) {
        self.unlock();
        if let Some(line) = &mut self.line {
            line.keys.clear();
        }
        self.publish_keys();
    }

    /// Forgets keys whose time is over.
    pub fn expire_keys(&mut self) {
        let Some(line) = &mut self.line else { return };
        let before = line.keys.epochs().len();
        line.keys.expire(Instant::now());
        if line.keys.epochs().len() != before {
            self.publish_keys();
        }
    }

    /// Microphone and speaker off or on.
    pub fn set_self(&self, muted: bool, deafened: bool) {
        self.controls.set_muted(muted);
        self.playback.set_deafened(deafened);
    }

    /// Applies settings, and changes devices where others are wanted.
    pub fn apply(&mut self, settings: VoiceSettings) {
        let before = std::mem::replace(&mut self.settings, settings);
        if before.mode == TalkMode::PushToTalk && self.settings.mode != TalkMode::PushToTalk {
            // The key has no meaning any more, so nobody will see it being let go.
            self.controls.set_key(false);
        }
        self.controls.set_settings(self.settings.clone());
        self.playback.level_talkers(self.settings.level_talkers);
        let Some(threads) = &self.threads else { return };
        if before.input != self.settings.input {
            threads.capture.replace(self.open_input());
        }
        if before.output != self.settings.output {
            threads.playback.replace(self.open_output());
        }
    }

    /// The server has dropped some of what was sent, because it was too much.
    pub fn clipped(&self) {
        self.controls.note_clipped();
    }

    /// Microphone level since the last call, and whether voice is sent.
    pub fn levels(&self) -> Levels {
        Levels { input: self.controls.take_level(), transmitting: self.controls.transmitting() }
    }

    /// The devices in use.
    pub fn audio_state(&self) -> AudioState {
        lock(&self.audio).clone()
    }

    /// Counters since the connection was made.
    pub fn statistics(&self) -> Statistics {
        let playback = self.playback.statistics();
        let sum = |part: fn(&crate::TalkerStatistics) -> u64| playback.talkers.iter().map(part).sum();
        let mut statistics = Statistics {
            frames_sent: self.uplink.frames_sent.load(Ordering::Relaxed),
            frames_lost: sum(|talker| talker.lost),
            frames_late: sum(|talker| talker.late),
            frames_concealed: sum(|talker| talker.concealed),
            device_overruns: self.controls.lost_samples() / FRAME,
            device_underruns: playback.underruns,
            talkers: playback.talkers.clone(),
            ..Statistics::default()
        };
        if let Some(line) = &self.line {
            let figures = &line.figures;
            statistics.frames_received = figures.received.load(Ordering::Relaxed);
            statistics.packets_rejected = figures.rejected.load(Ordering::Relaxed);
            let quality = figures.quality();
            let ms = |time: std::time::Duration| time.as_secs_f32() * 1_000.0;
            statistics.way = line.socket.way();
            statistics.rtt_ms = quality.rtt.map(ms);
            statistics.rtt_min_ms = quality.rtt_min.map(ms);
            statistics.jitter_ms = ms(quality.jitter);
            statistics.ping_loss = quality.loss;
            statistics.loss_up = quality.loss_up;
            statistics.loss_down = quality.loss_down;
        }
        statistics
    }

    fn publish_keys(&self) {
        let Some(line) = &self.line else { return };
        let epochs = line.keys.epochs();
        let way = Line::new(
            Arc::clone(&line.socket),
            Arc::clone(&line.tag),
            Arc::clone(&line.sequence),
            line.session,
            epochs,
        );
        self.uplink.line.store(way.map(Arc::new));
        line.epochs.store(Arc::new(epochs.to_vec()));
    }

    fn open_input(&self) -> OpenInput {
        let (backend, id) = (Arc::clone(&self.backend), self.settings.input.clone());
        Box::new(move || backend.open_input(id.as_deref()))
    }

    fn open_output(&self) -> OpenOutput {
        let (backend, id) = (Arc::clone(&self.backend), self.settings.output.clone());
        Box::new(move || backend.open_output(id.as_deref()))
    }
}

/// Name of a device, or what is wrong with it.
type Device = (Option<String>, Option<ClientError>);

/// Writes down what a thread says of its device. The lock is taken when devices come and go, not for sound.
fn note(told: Arc<Mutex<AudioState>>, set: fn(&mut AudioState, Device)) -> OnDevice {
    Box::new(move |device: Result<String, AudioError>| {
        let device = match device {
            Ok(name) => (Some(name), None),
            Err(problem) => (None, Some(problem.into())),
        };
        set(&mut lock(&told), device);
    })
}

fn lock(audio: &Mutex<AudioState>) -> std::sync::MutexGuard<'_, AudioState> {
    audio.lock().unwrap_or_else(PoisonError::into_inner)
}
