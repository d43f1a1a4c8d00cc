//! The sending thread: voice when it is due, and each client's pings.

use std::{
    collections::HashMap,
    io,
    net::{SocketAddrV4, UdpSocket},
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
        mpsc::{Receiver, TryRecvError},
    },
};

use voip_protocol::{
    limits::MAX_VOICE_PACKET,
    voice::{FrameDuration, Header, Ping, SealingKey},
};

use super::{
    clock,
    layout::address_of,
    packet::{Mark, noise},
    roster::Roster,
    schedule::Schedule,
    udp,
};

/// How long a new stage may wait until the thread sees it, in ns.
const LOOK_EVERY_NS: u64 = 20_000_000;
/// What the system may add to the thread's sleep, in ns.
const TIMER_SLACK_NS: u64 = 1;

/// One stretch of talking.
pub struct Stage {
    /// The talkers, in the order of their turns.
    pub talkers: Vec<usize>,
    /// Their turns, on the monotonic clock.
    pub schedule: Schedule,
    /// When it ends, on that clock.
    pub stop_ns: u64,
    /// The send times that are measured, on the system's clock.
    pub window: Range<u64>,
    /// Bytes of a frame before it is sealed.
    pub payload: usize,
    /// What a frame says that it lasts.
    pub duration: FrameDuration,
    /// Packets sent in the window.
    pub sent: AtomicU64,
    /// Packets that listeners should get of these.
    pub expected: AtomicU64,
    /// How late the latest packet of all left, in ns.
    pub worst_lag_ns: AtomicU64,
}

/// Sends for all clients.
pub struct Talker {
    /// The clients.
    pub roster: Arc<Roster>,
    /// Their socket.
    pub socket: Arc<UdpSocket>,
    /// The server's voice port.
    pub server: SocketAddrV4,
    /// A client's time from ping to ping, in ns; none: no pings.
    pub ping_every_ns: Option<u64>,
}

impl Talker {
    /// Talks through each stage that comes, until no more can come.
    pub fn run(&self, stages: &Receiver<Arc<Stage>>) -> io::Result<()> {
        nix::sys::prctl::set_timerslack(TIMER_SLACK_NS)?;
        let clients = self.roster.layout.clients;
        let ping_step = self.ping_every_ns.map(|every| (every / clients.max(1) as u64).max(1));
        let mut ping_at = ping_step.map(|_| clock::monotonic_ns());
        let mut ping_client = 0;
        let mut voice = Voice::default();
        loop {
            match stages.try_recv() {
                Ok(stage) => voice.begin(stage),
                Err(TryRecvError::Empty) => {}
                Err(TryRecvError::Disconnected) => return Ok(()),
            }
            let now = clock::monotonic_ns();
            let mut wake = now + LOOK_EVERY_NS;
            if let Some(next) = voice.send_due(self, now)? {
                wake = wake.min(next);
            }
            if let (Some(at), Some(step)) = (&mut ping_at, ping_step) {
                while *at <= now {
                    self.ping(ping_client)?;
                    ping_client = (ping_client + 1) % clients;
                    *at += step;
                }
                wake = wake.min(*at);
            }
            clock::sleep_until(wake);
        }
    }

    /// Sends a client's next ping.
    pub fn ping(&self, client: usize) -> io::Result<()> {
        let Some(peer) = self.roster.peer(client) else { return Ok(()) };
        let sequence = peer.next_ping.fetch_add(1, Relaxed);
        let ping = Ping { session: peer.session, sequence, client_time: 0, follow: true, report: None };
        udp::send(&self.socket, address_of(client), self.server, &ping.to_bytes(&peer.uplink))
    }
}

/// Where the thread is in a stage.
#[derive(Default)]
struct Voice {
    stage: Option<Arc<Stage>>,
    /// Of the next packet, over all talkers.
    number: u64,
    /// Of each talker, in the epoch that it used last.
    keys: HashMap<usize, SealingKey>,
    frame: Vec<u8>,
}

impl Voice {
    fn begin(&mut self, stage: Arc<Stage>) {
        self.frame = noise(stage.payload);
        self.number = 0;
        self.stage = Some(stage);
    }

    /// Sends what is due; when the next packet is, in ns.
    fn send_due(&mut self, talker: &Talker, now: u64) -> io::Result<Option<u64>> {
        let Some(stage) =
            self.stage.clone().filter(|stage| now < stage.stop_ns && stage.schedule.talkers > 0)
        else {
            self.stage = None;
            return Ok(None);
        };
        loop {
            let (turn, at) = stage.schedule.turn(self.number);
            // Read anew for each packet: a stamp must be as old as its packet.
            let now = clock::monotonic_ns();
            if at > now || now >= stage.stop_ns {
                return Ok(Some(at));
            }
            stage.worst_lag_ns.fetch_max(now - at, Relaxed);
            self.send(talker, &stage, stage.talkers[turn])?;
            self.number += 1;
        }
    }

    fn send(&mut self, talker: &Talker, stage: &Stage, client: usize) -> io::Result<()> {
        let layout = talker.roster.layout;
        let generation = talker.roster.in_use(layout.channel_of(client));
        let (Some(peer), Some(generation)) = (talker.roster.peer(client), generation) else { return Ok(()) };
        let derive = || SealingKey::derive(&generation.secret, generation.epoch, peer.session);
        let key = self.keys.entry(client).or_insert_with(derive);
        if key.epoch() != generation.epoch {
            *key = derive();
        }
        let sequence = peer.next_voice.fetch_add(1, Relaxed);
        let header = Header {
            session: peer.session,
            context: generation.context,
            epoch: generation.epoch,
            sequence,
            capture_time: sequence.wrapping_mul(stage.duration.samples() as u32),
            duration: stage.duration,
            last_of_burst: false,
            share: None,
        };
        let sent_ns = clock::realtime_ns();
        Mark { sent_ns, talker: client as u32, sequence }.write(&mut self.frame);
        let mut datagram = [0; MAX_VOICE_PACKET];
        let length = key.seal(header, &self.frame, &mut datagram);
        let tag = peer.uplink.tag(&datagram[..length]);
        datagram[length..length + tag.len()].copy_from_slice(&tag);
        let datagram = &datagram[..length + tag.len()];
        udp::send(&talker.socket, address_of(client), talker.server, datagram)?;
        if stage.window.contains(&sent_ns) {
            stage.sent.fetch_add(1, Relaxed);
            stage.expected.fetch_add(layout.listeners_of(client) as u64, Relaxed);
        }
        Ok(())
    }
}
