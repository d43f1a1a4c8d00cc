//! Frames that wait, and how they follow each other.

use voip_protocol::{limits::MAX_OPUS_FRAME, voice::FrameDuration};

use crate::dsp::delay::MS;

/// Capture times that are off by more than this from where the last frame ended begin a new burst.
const CONTIGUOUS: u32 = 20 * MS;

/// The next frame of a burst.
#[derive(Clone, Copy, Debug)]
pub(super) struct Expected {
    pub(super) sequence: u32,
    /// If it takes as many packets as the one before it.
    pub(super) packets: u32,
    pub(super) capture_time: u32,
    pub(super) duration: FrameDuration,
}

/// A frame that waits for its turn.
#[derive(Clone, Copy)]
pub(super) struct Slot {
    pub(super) filled: bool,
    pub(super) last_of_burst: bool,
    pub(super) duration: FrameDuration,
    pub(super) len: u16,
    pub(super) sequence: u32,
    pub(super) packets: u32,
    pub(super) capture_time: u32,
    pub(super) lag: u32,
    pub(super) arrival: u64,
    pub(super) opus: [u8; MAX_OPUS_FRAME],
}

/// A slot with nothing in it.
pub(super) const EMPTY: Slot = Slot {
    filled: false,
    last_of_burst: false,
    duration: FrameDuration::Ms10,
    len: 0,
    sequence: 0,
    packets: 1,
    capture_time: 0,
    lag: 0,
    arrival: 0,
    opus: [0; MAX_OPUS_FRAME],
};

impl Expected {
    /// The frame that follows one that is like this.
    pub(super) fn after(self) -> Self {
        Self {
            sequence: self.sequence.wrapping_add(self.packets),
            capture_time: self.capture_time.wrapping_add(self.duration.samples() as u32),
            ..self
        }
    }

    /// The frame that follows one like this, which has not come: `later`, where that leaves no room for another.
    pub(super) fn before(self, later: &Slot) -> Self {
        let after = self.after();
        let room = later.capture_time.wrapping_sub(after.capture_time).cast_signed();
        if room > (self.duration.samples() / 2) as i32
            && later.sequence.wrapping_sub(after.sequence).cast_signed() > 0
        {
            return after;
        }
        let Slot { sequence, packets, capture_time, duration, .. } = *later;
        Self { sequence, packets, capture_time, duration }
    }
}

/// Whether `slot` belongs to the burst that goes on with `next`: it was captured when its number says, if all frames
/// between take as many packets as the one or as the other.
pub(super) fn continues(next: Expected, slot: &Slot) -> bool {
    let packets = slot.sequence.wrapping_sub(next.sequence);
    let captured_after = |taken: u32, duration: FrameDuration| {
        let frames = packets / taken;
        let expected = next.capture_time.wrapping_add(frames.wrapping_mul(duration.samples() as u32));
        slot.capture_time.wrapping_sub(expected).wrapping_add(CONTIGUOUS) <= 2 * CONTIGUOUS
    };
    captured_after(next.packets, next.duration) || captured_after(slot.packets, slot.duration)
}
