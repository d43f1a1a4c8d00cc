//! From the encoder to the socket: seal, tag, send. Runs on the capture thread; locks and allocates nothing.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    time::Instant,
};

use arc_swap::ArcSwapOption;
use voip_protocol::{
    ContextId, Epoch, SessionId,
    limits::MAX_VOICE_PACKET,
    voice::{Header, SealingKey, TAG_LEN, TagKey},
};

use super::{
    capture::{EncodedPacket, PacketSink},
    clock::{ServerClock, ticks},
    keys::EpochSecret,
    socket::VoiceSocket,
};

/// Takes encoded frames to the server, while there is a [`Line`] to it.
pub struct Uplink {
    shared: Arc<UplinkShared>,
    /// Where the burst's clock was pinned: within a burst the capture time follows the samples alone.
    anchor: Option<(Instant, u32)>,
}

/// What the engine sets and reads.
pub struct UplinkShared {
    /// The way to the server; none: frames go nowhere.
    pub line: ArcSwapOption<Line>,
    /// Frames sent.
    pub frames_sent: AtomicU64,
    clock: Arc<ServerClock>,
}

/// The way to the server for one session and one state of its keys.
pub struct Line {
    socket: Arc<VoiceSocket>,
    tag: Arc<TagKey>,
    /// Goes on over all lines of a session: a number used twice under one key would give the frames away.
    sequence: Arc<AtomicU32>,
    context: ContextId,
    /// Oldest first, each from its instant on.
    keys: Vec<(Instant, SealingKey)>,
}

impl Line {
    /// For the epochs of one context, oldest first.
    pub fn new(
        socket: Arc<VoiceSocket>,
        tag: Arc<TagKey>,
        sequence: Arc<AtomicU32>,
        session: SessionId,
        epochs: &[EpochSecret],
    ) -> Option<Self> {
        let context = epochs.last()?.context;
        let keys = epochs
            .iter()
            .map(|epoch| (epoch.seals_from, SealingKey::derive(&epoch.secret, epoch.epoch, session)))
            .collect();
        Some(Self { socket, tag, sequence, context, keys })
    }
}

impl UplinkShared {
    /// Without a line.
    pub fn new(clock: Arc<ServerClock>) -> Arc<Self> {
        Arc::new(Self { line: ArcSwapOption::empty(), frames_sent: AtomicU64::new(0), clock })
    }
}

impl Uplink {
    /// The capture thread's end.
    pub fn new(shared: Arc<UplinkShared>) -> Self {
        Self { shared, anchor: None }
    }

    fn capture_time(&mut self, packet: &EncodedPacket<'_>) -> u32 {
        let clock = &self.shared.clock;
        match self.anchor {
            Some((anchored_at, time)) if !packet.first_of_burst => {
                time.wrapping_add(ticks(packet.captured_at.saturating_duration_since(anchored_at)))
            }
            _ => {
                let time = clock.at_best(packet.captured_at);
                self.anchor = Some((packet.captured_at, time));
                time
            }
        }
    }
}

impl PacketSink for Uplink {
    fn packet(&mut self, packet: EncodedPacket<'_>) {
        let capture_time = self.capture_time(&packet);
        let line = self.shared.line.load();
        let Some(line) = line.as_ref() else { return };
        let now = Instant::now();
        let Some((_, key)) = line.keys.iter().rev().find(|(from, _)| *from <= now) else { return };
        let sequence = line.sequence.fetch_add(1, Ordering::Relaxed);
        if sequence == u32::MAX {
            // 497 days of talk in one connection: the number must not come round.
            line.sequence.store(u32::MAX, Ordering::Relaxed);
            return;
        }
        let header = Header {
            // The key fills in whom and when it is for.
            session: SessionId(0),
            epoch: Epoch(0),
            context: line.context,
            sequence,
            capture_time,
            duration: packet.duration,
            last_of_burst: packet.last_of_burst,
            share: packet.share,
        };
        let mut datagram = [0; MAX_VOICE_PACKET];
        let length = key.seal(header, packet.payload, &mut datagram);
        let tag = line.tag.tag(&datagram[..length]);
        datagram[length..length + TAG_LEN].copy_from_slice(&tag);
        // What the system does not take now is lost, as on the way.
        if line.socket.send(&datagram[..length + TAG_LEN]).is_ok() {
            self.shared.frames_sent.fetch_add(1, Ordering::Relaxed);
        }
    }
}
