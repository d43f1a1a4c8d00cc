//! What others set and read while the capture thread runs. All of it without locks.

use std::sync::{
    Arc,
    atomic::{
        AtomicBool, AtomicU8, AtomicU32, AtomicU64,
        Ordering::{AcqRel, Acquire, Relaxed, Release},
    },
};

use arc_swap::ArcSwap;
use voip_protocol::voice::{Code, FrameDuration};

use crate::{VoiceSettings, dsp::dbfs};

/// Shared with the capture thread.
#[derive(Debug)]
pub struct CaptureControls {
    key: AtomicBool,
    presses: AtomicU32,
    unlocks: AtomicU32,
    muted: AtomicBool,
    settings: ArcSwap<VoiceSettings>,
    duration: AtomicU8,
    /// Its place in [`Code::ALL`], from 1; 0: none.
    code: AtomicU8,
    clipped: AtomicU32,
    /// Bits of the largest magnitude since it was last taken. Ordered like the numbers, as none is negative.
    peak: AtomicU32,
    transmitting: AtomicBool,
    pre_roll: AtomicU32,
    lost: AtomicU64,
}

impl CaptureControls {
    /// Not muted, no key pressed, frames of 10 ms.
    pub fn new(settings: VoiceSettings) -> Self {
        Self {
            key: AtomicBool::new(false),
            presses: AtomicU32::new(0),
            unlocks: AtomicU32::new(0),
            muted: AtomicBool::new(false),
            settings: ArcSwap::from_pointee(settings.clamped()),
            duration: AtomicU8::new(FrameDuration::Ms10 as u8),
            code: AtomicU8::new(0),
            clipped: AtomicU32::new(0),
            peak: AtomicU32::new(0),
            transmitting: AtomicBool::new(false),
            pre_roll: AtomicU32::new(0),
            lost: AtomicU64::new(0),
        }
    }

    /// The push-to-talk key went down (again and again, by auto-repeat) or up.
    pub fn set_key(&self, pressed: bool) {
        if !self.key.swap(pressed, AcqRel) && pressed {
            self.presses.fetch_add(1, Release);
        }
    }

    /// A talk that goes on without the key ends: whoever would hear it from now on is somebody else.
    pub fn unlock(&self) {
        self.unlocks.fetch_add(1, Release);
    }

    /// Switches the microphone off or on.
    pub fn set_muted(&self, muted: bool) {
        self.muted.store(muted, Relaxed);
    }

    /// Mode, threshold, times and bit rate, from the next frame on.
    pub fn set_settings(&self, settings: VoiceSettings) {
        self.settings.store(Arc::new(settings.clamped()));
    }

    /// Duration of the frames, from the next burst on.
    pub fn set_frame_duration(&self, duration: FrameDuration) {
        self.duration.store(duration as u8, Relaxed);
    }

    /// How frames are protected against loss, from the next frame on.
    pub fn set_code(&self, code: Option<Code>) {
        let place = Code::ALL.iter().position(|known| Some(*known) == code);
        self.code.store(place.map_or(0, |place| place as u8 + 1), Relaxed);
    }

    /// How frames are protected against loss.
    pub fn code(&self) -> Option<Code> {
        Code::ALL.get(usize::from(self.code.load(Relaxed)).checked_sub(1)?).copied()
    }

    /// The server has dropped some of what was sent.
    pub fn note_clipped(&self) {
        self.clipped.fetch_add(1, Relaxed);
    }

    /// How often that was.
    pub fn clipped(&self) -> u32 {
        self.clipped.load(Relaxed)
    }

    /// Level of the loudest sample since the last call, in dBFS (−96 to 0).
    pub fn take_level(&self) -> f32 {
        dbfs(f32::from_bits(self.peak.swap(0, Relaxed)))
    }

    /// Whether a burst is under way.
    pub fn transmitting(&self) -> bool {
        self.transmitting.load(Relaxed)
    }

    /// Samples at 48 kHz that a burst is behind because it began with what was captured before it.
    pub fn pre_roll(&self) -> u32 {
        self.pre_roll.load(Relaxed)
    }

    /// Samples that were captured and lost because they were not taken in time, by all devices so far.
    pub fn lost_samples(&self) -> u64 {
        self.lost.load(Relaxed)
    }

    /// How often the key has been pressed, and whether it is down now.
    pub(super) fn key(&self) -> (u32, bool) {
        (self.presses.load(Acquire), self.key.load(Acquire))
    }

    /// How often that was.
    pub(super) fn unlocks(&self) -> u32 {
        self.unlocks.load(Acquire)
    }

    pub(super) fn muted(&self) -> bool {
        self.muted.load(Relaxed)
    }

    pub(super) fn settings(&self) -> arc_swap::Guard<Arc<VoiceSettings>> {
        self.settings.load()
    }

    pub(super) fn duration(&self) -> FrameDuration {
        FrameDuration::ALL[usize::from(self.duration.load(Relaxed))]
    }

    pub(super) fn note_peak(&self, peak: f32) {
        self.peak.fetch_max(peak.to_bits(), Relaxed);
    }

    pub(super) fn note_transmitting(&self, transmitting: bool) {
        self.transmitting.store(transmitting, Relaxed);
    }

    pub(super) fn note_pre_roll(&self, samples: usize) {
        self.pre_roll.store(samples as u32, Relaxed);
    }

    pub(super) fn note_lost(&self, samples: u64) {
        self.lost.fetch_add(samples, Relaxed);
    }
}
