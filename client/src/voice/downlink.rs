//! From the socket to the jitter buffers: open, check for replays, hand on. And the pings.
//!
//! A thread of its own, one for each connection. It allocates when it first hears a talker under an epoch.

use std::{
    collections::HashMap,
    io,
    net::UdpSocket,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use rtrb::Producer;
use voip_protocol::{
    ContextId, Epoch, SessionId,
    limits::{MAX_OPUS_FRAME, MAX_VOICE_PACKET},
    voice::{HEADER_LEN, Kind, OpeningKey, Ping, Pong, ReplayWindow, TagKey, VoicePacket, kind_of},
};

use super::{
    clock::{ClockFilter, ServerClock, ticks},
    keys::EpochSecret,
    pinger::Pinger,
    playback::HeardFrame,
};

/// The thread looks at its timers at least this often.
const TICK: Duration = Duration::from_millis(20);

/// What the engine reads.
#[derive(Debug, Default)]
pub struct DownlinkFigures {
    /// Voice packets that opened.
    pub received: AtomicU64,
    /// Packets that did not, were replayed, or are none.
    pub rejected: AtomicU64,
    /// Frames that the playback thread was too slow to take.
    pub overflowed: AtomicU64,
    /// Smoothed round trip, in microseconds; 0: not known.
    rtt_us: AtomicU32,
    /// Pings lost, in millionths.
    loss_ppm: AtomicU32,
}

impl DownlinkFigures {
    /// Smoothed round trip.
    pub fn rtt(&self) -> Option<Duration> {
        match self.rtt_us.load(Ordering::Relaxed) {
            0 => None,
            us => Some(Duration::from_micros(u64::from(us))),
        }
    }

    /// Share of pings lost, 0 to 1.
    pub fn ping_loss(&self) -> f32 {
        self.loss_ppm.load(Ordering::Relaxed) as f32 / 1e6
    }
}

/// What the thread works with.
pub struct Reception {
    /// Connected to the server's voice port.
    pub socket: Arc<UdpSocket>,
    /// One's own session.
    pub session: SessionId,
    /// Tags the pings.
    pub uplink: Arc<TagKey>,
    /// Checks the pongs.
    pub downlink: TagKey,
    /// What opens voice.
    pub epochs: Arc<ArcSwap<Vec<EpochSecret>>>,
    /// Set by the pongs.
    pub clock: Arc<ServerClock>,
    /// Counted into.
    pub figures: Arc<DownlinkFigures>,
}

/// The running thread.
pub struct Downlink {
    stop: Arc<AtomicBool>,
    thread: thread::JoinHandle<Producer<HeardFrame>>,
}

impl Downlink {
    /// Starts to receive; opened frames go into `frames`.
    pub fn spawn(
        reception: Reception,
        frames: Producer<HeardFrame>,
    ) -> Result<Self, (io::Error, Producer<HeardFrame>)> {
        if let Err(error) = reception.socket.set_read_timeout(Some(TICK)) {
            return Err((error, frames));
        }
        let stop = Arc::new(AtomicBool::new(false));
        let receiver = Receiver {
            epochs: Vec::new(),
            source: reception.epochs.load_full(),
            keys: HashMap::new(),
            windows: HashMap::new(),
            pinger: Pinger::new(Instant::now()),
            filter: ClockFilter::default(),
            started: Instant::now(),
            frames,
            reception,
        };
        let stopped = Arc::clone(&stop);
        let thread = thread::Builder::new()
            .name("voice-receive".into())
            .spawn(move || receiver.run(&stopped))
            .expect("the system lets a process have one more thread");
        Ok(Self { stop, thread })
    }

    /// Stops, and gives the ring back for the next connection; none if the thread died.
    pub fn stop(self) -> Option<Producer<HeardFrame>> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().ok()
    }
}

struct Receiver {
    reception: Reception,
    /// The list that `epochs` was made of.
    source: Arc<Vec<EpochSecret>>,
    epochs: Vec<EpochSecret>,
    keys: HashMap<(ContextId, Epoch, SessionId), OpeningKey>,
    windows: HashMap<SessionId, ReplayWindow>,
    pinger: Pinger,
    filter: ClockFilter,
    started: Instant,
    frames: Producer<HeardFrame>,
}

impl Receiver {
    fn run(mut self, stop: &AtomicBool) -> Producer<HeardFrame> {
        self.epochs.clone_from(&self.source);
        let mut buffer = [0; MAX_VOICE_PACKET + 1];
        while !stop.load(Ordering::Relaxed) {
            self.ping();
            // Errors are time-outs, or a server's port that is closed: it is asked again by the next ping.
            if let Ok(length) = self.reception.socket.recv(&mut buffer) {
                let now = Instant::now();
                let right = match kind_of(&buffer[..length]) {
                    Ok(Kind::Voice) => self.voice(&mut buffer[..length], now),
                    Ok(Kind::Pong) => self.pong(&buffer[..length], now),
                    _ => None,
                };
                if right.is_none() {
                    self.reception.figures.rejected.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
        self.frames
    }

    fn ping(&mut self) {
        let now = Instant::now();
        if let Some(sequence) = self.pinger.due(now) {
            let client_time = ticks(now.saturating_duration_since(self.started));
            let ping = Ping { session: self.reception.session, sequence, client_time };
            // A ping that cannot be sent is a ping that is lost.
            let _ = self.reception.socket.send(&ping.to_bytes(&self.reception.uplink));
            let loss = (self.pinger.loss(now) * 1e6) as u32;
            self.reception.figures.loss_ppm.store(loss, Ordering::Relaxed);
        }
    }

    fn pong(&mut self, datagram: &[u8], now: Instant) -> Option<()> {
        let pong = Pong::parse(self.reception.downlink.check(datagram)?).ok()?;
        let rtt = self.pinger.pong(pong.sequence, now)?;
        self.filter.sample(&self.reception.clock, now, rtt, pong.server_time);
        let smooth = self.pinger.rtt().unwrap_or(rtt).as_micros().clamp(1, u128::from(u32::MAX));
        self.reception.figures.rtt_us.store(smooth as u32, Ordering::Relaxed);
        Some(())
    }

    fn voice(&mut self, datagram: &mut [u8], now: Instant) -> Option<()> {
        let header = VoicePacket::parse(datagram).ok()?.header;
        let talker = header.session;
        if talker == self.reception.session
            || self.windows.get(&talker).is_some_and(|seen| !seen.is_fresh(header.sequence))
        {
            return None;
        }
        self.refresh_keys();
        let sealed = &mut datagram[HEADER_LEN..];
        let name = (header.context, header.epoch, talker);
        let epoch = self.epochs.iter().find(|epoch| (epoch.context, epoch.epoch) == (name.0, name.1))?;
        if epoch.opens_until.is_some_and(|until| until <= now) {
            return None;
        }
        let opus = match self.keys.get(&name) {
            Some(key) => key.open(&header, sealed).ok()?,
            None => {
                let key = OpeningKey::derive(&epoch.secret, header.epoch, talker);
                let opus = key.open(&header, sealed).ok()?;
                // Kept only now: a forger's talkers cost no memory.
                self.keys.insert(name, key);
                opus
            }
        };
        self.windows.entry(talker).or_default().accept(header.sequence);
        let mut bytes = [0; MAX_OPUS_FRAME];
        bytes.get_mut(..opus.len())?.copy_from_slice(opus);
        self.reception.figures.received.fetch_add(1, Ordering::Relaxed);
        let heard = HeardFrame {
            session: talker,
            sequence: header.sequence,
            capture_time: header.capture_time,
            arrival: now,
            duration: header.duration,
            last_of_burst: header.last_of_burst,
            len: opus.len() as u16,
            bytes,
        };
        if self.frames.push(heard).is_err() {
            self.reception.figures.overflowed.fetch_add(1, Ordering::Relaxed);
        }
        Some(())
    }

    fn refresh_keys(&mut self) {
        let newest = self.reception.epochs.load();
        if !Arc::ptr_eq(&newest, &self.source) {
            self.source = Arc::clone(&newest);
            self.epochs.clone_from(&self.source);
            let epochs = &self.epochs;
            self.keys.retain(|(context, epoch, _), _| {
                epochs.iter().any(|known| (known.context, known.epoch) == (*context, *epoch))
            });
        }
    }
}
