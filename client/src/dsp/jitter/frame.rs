//! What goes into the jitter buffer, and what comes out.

use voip_protocol::voice::FrameDuration;

/// One frame, as it comes from the network.
#[derive(Clone, Copy, Debug)]
pub struct Arrival<'a> {
    /// Number of the talker's packet, of several the first.
    pub sequence: u32,
    /// Packets that it takes: as far the next frame's number lies behind its own.
    pub packets: u32,
    /// When the first sample that a decoder makes of it was captured, in the talker's wrapping ticks.
    pub capture_time: u32,
    /// How much sound it has.
    pub duration: FrameDuration,
    /// The talker falls silent after it.
    pub last_of_burst: bool,
    /// When it came, in the listener's ticks.
    pub at: u64,
    /// In how many ticks its packets are sent, after the end of such a frame as needs but one; 0: it is one. The spread of
    /// its packets is told by [`Jitter::packet`](super::Jitter::packet).
    pub spread: u32,
    /// The Opus frame.
    pub opus: &'a [u8],
}

/// What became of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inserted {
    /// It will be handed out.
    Accepted,
    /// Its turn is over.
    Late,
    /// It was there before.
    Duplicate,
    /// There is no room, or it is too far ahead, or larger than any frame.
    Full,
}

/// What to play next.
#[derive(Clone, Copy, Debug)]
pub enum Pull<'a> {
    /// A frame to decode.
    Frame(Frame<'a>),
    /// Make up this many samples.
    Conceal {
        /// 2.5 to 60 ms.
        samples: usize,
        /// Silence follows: fade out.
        last: bool,
    },
    /// Nothing to play now.
    Silence,
}

/// A frame whose turn it is.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'a> {
    /// Number of the talker's packet.
    pub sequence: u32,
    /// When the first sample that a decoder makes of it was captured, in the talker's ticks.
    pub capture_time: u32,
    /// How much sound it has.
    pub duration: FrameDuration,
    /// What came before it is no part of its burst, or has been skipped: forget it.
    pub first: bool,
    /// Silence follows.
    pub last: bool,
    /// How much longer than needed it has waited, in ticks; negative: less than would be safe.
    pub surplus: i32,
    /// The Opus frame.
    pub opus: &'a [u8],
}

/// What a buffer has seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Frames that came, duplicates aside.
    pub received: u64,
    /// Frames that never came.
    pub lost: u64,
    /// Frames that came after their turn, or waited so long that they were dropped.
    pub late: u64,
    /// Frames that came again.
    pub duplicates: u64,
    /// Frames that found no room.
    pub refused: u64,
    /// Times that sound was made up.
    pub concealed: u64,
}
