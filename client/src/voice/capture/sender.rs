//! From frames that are to be sent to packets: each with a frame as it is, or with shares of two where packets get lost.

use std::time::{Duration, Instant};

use voip_protocol::{
    limits::MAX_OPUS_FRAME,
    voice::{Code, FrameDuration, MAX_SHARED, SHARED, Share},
};

use super::{CaptureControls, EncodedPacket, PacketSink};
use crate::{
    VoiceSettings,
    dsp::{Encoder, RATE, Split, share_len},
};

/// Frames of fewer bytes (10 kbit/s) are not worth repairing: Opus leaves the wide band below.
const MIN_SHARED: usize = 25;
/// Duration of a frame in shares.
const SHARED_TIME: Duration = Duration::from_millis(SHARED.samples() as u64 * 1_000 / RATE as u64);
/// Bits a second of a frame in shares, for each of its bytes.
const SHARED_BITRATE: u32 = 8 * RATE / SHARED.samples() as u32;

/// How a burst is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Plan {
    /// Of its frames.
    pub(super) duration: FrameDuration,
    /// Of its frames, in bits a second.
    bitrate: u32,
    /// How frames become shares, and how long these are; none: a packet for each frame.
    shares: Option<(Code, usize)>,
}

impl Plan {
    /// What is set, and what the listeners' losses ask for. All packets together have the bit rate that is set; a code
    /// that would leave too little of it for the frames gives way to one that leaves more.
    pub(super) fn of(settings: &VoiceSettings, controls: &CaptureControls) -> Self {
        let wanted = controls.code();
        let weaker = Code::ALL.into_iter().rev().skip_while(|code| Some(*code) != wanted);
        let mut fitting = weaker.map(|code| (code, share_len(code, settings.bitrate)));
        match fitting.find(|(code, len)| len * code.needed() >= MIN_SHARED) {
            Some((code, len)) => {
                let bitrate = (len * code.needed()) as u32 * SHARED_BITRATE;
                Self { duration: SHARED, bitrate, shares: Some((code, len)) }
            }
            None => Self { duration: controls.duration(), bitrate: settings.bitrate, shares: None },
        }
    }

    /// Whether frames become shares alike.
    pub(super) fn is_like(&self, other: &Self) -> bool {
        self.shares.map(|(code, _)| code) == other.shares.map(|(code, _)| code)
    }
}

/// A frame of a burst.
pub(super) struct Spoken<'a> {
    pub(super) samples: &'a [f32],
    /// When the first sample was in the air that a decoder makes of it.
    pub(super) captured_at: Instant,
    pub(super) first: bool,
    pub(super) last: bool,
}

/// Encodes, and hands packets on when it is their time.
pub(super) struct Sender {
    plan: Plan,
    encoder: Encoder,
    opus: [u8; MAX_OPUS_FRAME],
    spread: Option<Spread>,
    sink: Box<dyn PacketSink>,
}

/// Frames in shares, and what has been sent of them.
struct Spread {
    split: Split,
    /// The next packet since the youngest frame's first; as many as a frame has: it waits for the next frame.
    next: u8,
    captured_at: Instant,
    first: bool,
}

impl Sender {
    /// # Panics
    /// When the system has no memory for an encoder.
    pub(super) fn new(sink: Box<dyn PacketSink>, plan: Plan) -> Self {
        let encoder = Encoder::new(plan.bitrate).expect("Opus takes every clamped bit rate");
        Self { plan, encoder, opus: [0; MAX_OPUS_FRAME], spread: None, sink }
    }

    pub(super) fn plan(&self) -> Plan {
        self.plan
    }

    /// Samples by which decoded sound is behind what went in.
    pub(super) fn look_ahead(&self) -> u32 {
        self.encoder.look_ahead()
    }

    /// A burst begins.
    pub(super) fn begin(&mut self, plan: Plan) {
        // Settings and a fresh state that Opus has taken before it takes again.
        let _ = self.encoder.begin(plan.bitrate);
        self.follow(plan);
    }

    /// Whether the youngest frame's packets have been sent, so that the burst may go on in another way.
    pub(super) fn may_change(&self) -> bool {
        self.spread.as_ref().is_none_or(|spread| usize::from(spread.next) >= spread.split.code().packets())
    }

    /// The burst goes on in another way. Shares that would come with later frames do not come.
    pub(super) fn change(&mut self, plan: Plan) {
        let _ = self.encoder.change(plan.bitrate);
        self.follow(plan);
    }

    fn follow(&mut self, plan: Plan) {
        self.plan = plan;
        self.spread = plan.shares.map(|(code, len)| Spread {
            split: Split::new(code, len),
            next: code.packets() as u8,
            captured_at: Instant::now(),
            first: false,
        });
    }

    /// Sends a frame of the plan's duration. What is in shares goes out bit by bit, as [`Sender::passed`] says.
    pub(super) fn frame(&mut self, spoken: &Spoken<'_>) {
        // Opus refuses only what has a wrong length; a frame less would be the least of it.
        let Ok(len) = self.encoder.encode(spoken.samples, &mut self.opus) else { return };
        let (opus, sink) = (&self.opus[..len], self.sink.as_mut());
        let Some(spread) = &mut self.spread else {
            return sink.packet(EncodedPacket {
                payload: opus,
                share: None,
                captured_at: spoken.captured_at,
                duration: self.plan.duration,
                first_of_burst: spoken.first,
                last_of_burst: spoken.last,
            });
        };
        let code = spread.split.code();
        spread.send(code.packets(), false, sink);
        spread.begin(Some(opus), spoken.captured_at, spoken.first);
        if !spoken.last {
            return spread.send_due(0, sink);
        }
        // Nothing comes that the rest could wait for.
        spread.send(code.packets(), true, sink);
        spread.begin(None, spoken.captured_at + SHARED_TIME, false);
        spread.send(code.shares() - code.packets(), true, sink);
        spread.next = code.packets() as u8;
    }

    /// So many samples have been captured since the last frame: sends the shares whose time it is.
    pub(super) fn passed(&mut self, samples: usize) {
        if let Some(spread) = &mut self.spread {
            spread.send_due(samples, self.sink.as_mut());
        }
    }
}

impl Spread {
    /// The next frame, or none.
    fn begin(&mut self, frame: Option<&[u8]>, captured_at: Instant, first: bool) {
        self.split.push(frame);
        (self.next, self.captured_at, self.first) = (0, captured_at, first);
    }

    /// Sends the packets whose time it is so many samples after the youngest frame.
    fn send_due(&mut self, samples: usize, sink: &mut dyn PacketSink) {
        let code = self.split.code();
        let due = (0..code.packets()).take_while(|share| code.sent_after(*share) <= samples).count();
        self.send(due, false, sink);
    }

    /// Sends the packets up to `end` that have not been sent.
    fn send(&mut self, end: usize, last: bool, sink: &mut dyn PacketSink) {
        let code = self.split.code();
        while usize::from(self.next) < end {
            let mut payload = [0; 2 * MAX_SHARED];
            let len = self.split.packet(self.next, &mut payload);
            sink.packet(EncodedPacket {
                payload: &payload[..len],
                share: Some(Share { code, at: self.next }),
                captured_at: self.captured_at,
                duration: SHARED,
                first_of_burst: self.first && self.next == 0,
                last_of_burst: last,
            });
            self.next += 1;
        }
    }
}
