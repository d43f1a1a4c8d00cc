//! From the socket to the jitter buffers: open, check for replays, hand on. And the pings.
//!
//! A thread of its own, one for each connection. It allocates when it first hears a talker under an epoch.

use std::{
    collections::HashMap,
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
    voice::{
        HEADER_LEN, Kind, Loss, LossReport, OpeningKey, Ping, Pong, ReplayWindow, TagKey, VoicePacket,
        kind_of,
    },
};

use super::{
    capture::CaptureControls,
    clock::{ClockFilter, ServerClock, ticks},
    keys::EpochSecret,
    playback::{HeardFrame, PlaybackControls},
    repair::Repair,
    socket::{Renewal, VoiceSocket},
    uplink::UplinkShared,
    way::{Quality, Way, Ways},
};

/// However many packets come, the timers are not looked at more often than this.
const TEND_EVERY: Duration = Duration::from_millis(5);
/// One talks as long as one's last packet is no older.
const TALKING: Duration = Duration::from_secs(1);

/// What the engine reads.
#[derive(Debug, Default)]
pub struct DownlinkFigures {
    /// Voice packets that opened.
    pub received: AtomicU64,
    /// Packets that did not, were replayed, or are none.
    pub rejected: AtomicU64,
    /// Frames that the playback thread was too slow to take.
    pub overflowed: AtomicU64,
    /// Of [`Quality`], in its order: times in microseconds, 0 where they are not known; shares in millionths.
    quality: [AtomicU32; 6],
}

impl DownlinkFigures {
    /// What the pings say of the way in use.
    pub fn quality(&self) -> Quality {
        let [rtt, rtt_min, jitter, loss, loss_up, loss_down] =
            self.quality.each_ref().map(|figure| figure.load(Ordering::Relaxed));
        let time = |us: u32| Duration::from_micros(u64::from(us));
        let known = |us| (us != 0).then(|| time(us));
        let share = |ppm: u32| ppm as f32 / 1e6;
        Quality {
            rtt: known(rtt),
            rtt_min: known(rtt_min),
            jitter: time(jitter),
            loss: share(loss),
            loss_up: share(loss_up),
            loss_down: share(loss_down),
        }
    }

    fn tell(&self, quality: &Quality) {
        let us = |time: Duration| time.as_micros().min(u128::from(u32::MAX)) as u32;
        let known = |time: Option<Duration>| time.map_or(0, |time| us(time).max(1));
        let ppm = |share: f32| (share * 1e6) as u32;
        let Quality { rtt, rtt_min, jitter, loss, loss_up, loss_down } = *quality;
        let figures = [known(rtt), known(rtt_min), us(jitter), ppm(loss), ppm(loss_up), ppm(loss_down)];
        for (figure, value) in self.quality.iter().zip(figures) {
            figure.store(value, Ordering::Relaxed);
        }
    }
}

/// What the thread works with.
pub struct Reception {
    /// To the server, whichever way.
    pub socket: Arc<VoiceSocket>,
    /// Begins with this way.
    pub way: Way,
    /// Whether voice is sent, and how much.
    pub sent: Arc<UplinkShared>,
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
    /// Told how to protect one's own voice.
    pub capture: Arc<CaptureControls>,
    /// Knows what is lost of the others'.
    pub playback: Arc<PlaybackControls>,
}

/// The running thread.
pub struct Downlink {
    stop: Arc<AtomicBool>,
    thread: thread::JoinHandle<Producer<HeardFrame>>,
}

impl Downlink {
    /// Starts to receive; opened frames go into `frames`.
    pub fn spawn(reception: Reception, frames: Producer<HeardFrame>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let receiver = Receiver {
            epochs: Vec::new(),
            source: reception.epochs.load_full(),
            keys: HashMap::new(),
            windows: HashMap::new(),
            repair: Repair::default(),
            clipped: reception.capture.clipped(),
            spoke_at: None,
            reports: 0,
            ways: Ways::new(reception.way, reception.socket.has_tunnel()),
            socket: reception.socket.current(),
            renewal: Renewal::new(),
            tend_at: Instant::now(),
            frames_sent: 0,
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
        Self { stop, thread }
    }

    /// Stops, and gives the ring back for the next connection; none if the thread died.
    pub fn stop(self) -> Option<Producer<HeardFrame>> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().ok()
    }
}

struct Receiver {
    reception: Reception,
    /// The one that `reception.socket` has now.
    socket: Arc<UdpSocket>,
    renewal: Renewal,
    ways: Ways,
    tend_at: Instant,
    /// Frames that had been sent at the last look.
    frames_sent: u64,
    /// The list that `epochs` was made of.
    source: Arc<Vec<EpochSecret>>,
    epochs: Vec<EpochSecret>,
    keys: HashMap<(ContextId, Epoch, SessionId), OpeningKey>,
    windows: HashMap<SessionId, ReplayWindow>,
    repair: Repair,
    /// How often the server has clipped one's voice, as far as that has been looked at.
    clipped: u32,
    /// When one's own voice was last sent.
    spoke_at: Option<Instant>,
    /// Losses reported.
    reports: usize,
    filter: ClockFilter,
    started: Instant,
    frames: Producer<HeardFrame>,
}

impl Receiver {
    fn run(mut self, stop: &AtomicBool) -> Producer<HeardFrame> {
        self.epochs.clone_from(&self.source);
        let mut buffer = [0; MAX_VOICE_PACKET + 1];
        while !stop.load(Ordering::Relaxed) {
            let now = Instant::now();
            if now >= self.tend_at {
                self.tend_at = now + TEND_EVERY;
                self.tend(now);
            }
            // Errors are time-outs, or a server's port that is closed: it is asked again by the next ping.
            let Ok((length, from)) = self.socket.recv_from(&mut buffer) else { continue };
            let (now, datagram) = (Instant::now(), &mut buffer[..length]);
            let right = match (self.reception.socket.way_of(from), kind_of(datagram)) {
                (Some(_), Ok(Kind::Voice)) => self.voice(datagram, now),
                (Some(way), Ok(Kind::Pong)) => self.pong(datagram, way, now),
                _ => None,
            };
            if right.is_none() {
                self.reception.figures.rejected.fetch_add(1, Ordering::Relaxed);
            }
        }
        self.frames
    }

    /// Looks after the way, the socket and the pings.
    fn tend(&mut self, now: Instant) {
        let socket = &self.reception.socket;
        self.ways.set_tunnel(socket.has_tunnel());
        let sent = self.reception.sent.frames_sent.load(Ordering::Relaxed);
        if sent != self.frames_sent {
            self.frames_sent = sent;
            self.spoke_at = Some(now);
            self.ways.spoke(now);
        }
        while let Some(order) = self.ways.due(now) {
            let Reception { socket, session, uplink, .. } = &self.reception;
            let changed = socket.way() != self.ways.way();
            if changed {
                tracing::info!(way = ?self.ways.way(), "voice goes another way");
                socket.set_way(self.ways.way());
            }
            let client_time = ticks(now.saturating_duration_since(self.started));
            let ping = Ping {
                session: *session,
                sequence: order.sequence,
                client_time,
                follow: order.follow,
                // Of a probe nobody knows whether it arrives.
                report: order
                    .follow
                    .then(|| next_report(&self.reception.playback, &mut self.reports))
                    .flatten(),
            };
            // A ping that cannot be sent is a ping that is lost.
            let _ = socket.send_by(order.way, &ping.to_bytes(uplink));
            self.tell_quality(now);
            // A router may have lost track of the old port.
            self.renew(changed && order.way == Way::Tunnel, now);
        }
        self.renew(false, now);
    }

    fn renew(&mut self, wished: bool, now: Instant) {
        if self.renewal.renew(&self.reception.socket, wished, now) {
            self.socket = self.reception.socket.current();
            self.ways.ping_at_once();
        }
    }

    fn pong(&mut self, datagram: &[u8], way: Way, now: Instant) -> Option<()> {
        let pong = Pong::parse(self.reception.downlink.check(datagram)?).ok()?;
        let rtt = self.ways.pong(pong.sequence, pong.pings_received, now)?;
        self.filter.sample(&self.reception.clock, now, rtt, pong.server_time);
        let clipped = self.reception.capture.clipped();
        if std::mem::replace(&mut self.clipped, clipped) != clipped {
            self.repair.clipped(now);
        }
        let talking = self.spoke_at.is_some_and(|at| now.saturating_duration_since(at) < TALKING);
        self.reception.capture.set_code(self.repair.told(pong.loss.share(), talking, now));
        if way == Way::Udp {
            self.renewal.works();
        }
        self.tell_quality(now);
        Some(())
    }

    /// A few times a second.
    fn tell_quality(&self, now: Instant) {
        self.reception.figures.tell(&self.ways.quality(now));
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
        let payload = match self.keys.get(&name) {
            Some(key) => key.open(&header, sealed).ok()?,
            None => {
                let key = OpeningKey::derive(&epoch.secret, header.epoch, talker);
                let payload = key.open(&header, sealed).ok()?;
                // Kept only now: a forger's talkers cost no memory.
                self.keys.insert(name, key);
                payload
            }
        };
        self.windows.entry(talker).or_default().accept(header.sequence);
        let mut bytes = [0; MAX_OPUS_FRAME];
        bytes.get_mut(..payload.len())?.copy_from_slice(payload);
        self.reception.figures.received.fetch_add(1, Ordering::Relaxed);
        let lasts = Duration::from_micros(header.duration.samples() as u64 * 1_000 / 48);
        self.ways.heard(lasts, header.last_of_burst, now);
        let heard = HeardFrame {
            session: talker,
            sequence: header.sequence,
            capture_time: header.capture_time,
            arrival: now,
            duration: header.duration,
            last_of_burst: header.last_of_burst,
            share: header.share,
            len: payload.len() as u16,
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

/// What is to be reported next: of each talker who loses packets in turn.
fn next_report(playback: &PlaybackControls, reports: &mut usize) -> Option<LossReport> {
    let heard = playback.statistics();
    let losing = heard.talkers.iter().filter_map(|talker| {
        let loss = Loss::from_share(talker.felt_loss);
        (loss != Loss(0)).then_some(LossReport { talker: talker.session, loss })
    });
    let turn = reports.checked_rem(losing.clone().count())?;
    *reports = reports.wrapping_add(1);
    losing.clone().nth(turn)
}
