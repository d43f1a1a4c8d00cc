//! From a device's samples to Opus frames: everything the capture thread does but wait. Its times come with the
//! samples, so that it can be driven in virtual time.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use voip_protocol::{limits::MAX_OPUS_FRAME, voice::FrameDuration};

use super::{CaptureControls, EncodedFrame, FrameSink};
use crate::{
    VoiceSettings,
    audio::Stamp,
    dsp::{CaptureClock, Encoder, RATE, Resampler, dbfs, fade_in, peak},
    talk::{Decision, Talk},
};

/// Samples over which a burst rises from silence (2.5 ms): it may begin in the middle of a wave.
const FADE: usize = 120;
/// A burst's count of samples may stray this far from the device's stamps before it is set right.
const STRAY: Duration = Duration::from_millis(10);

/// One microphone after another, and the bursts that come from them.
pub struct CaptureLine {
    talk: Talk,
    presses: u32,
    encoder: Encoder,
    opus: [u8; MAX_OPUS_FRAME],
    sink: Box<dyn FrameSink>,
    controls: Arc<CaptureControls>,
    device: Option<Device>,
    /// Samples at 48 kHz that are not a frame yet.
    pending: Vec<f32>,
    burst: Burst,
}

struct Device {
    resampler: Resampler,
    clock: CaptureClock,
    /// Samples that the resampler has given so far.
    given: u64,
}

/// Times and duration of the frames of the burst under way.
struct Burst {
    start: Instant,
    samples: u64,
    duration: FrameDuration,
}

impl CaptureLine {
    /// Without a microphone. Frames go to `sink`.
    ///
    /// # Panics
    /// When the system has no memory for an encoder.
    pub fn new(sink: Box<dyn FrameSink>, controls: Arc<CaptureControls>) -> Self {
        let bitrate = controls.settings().bitrate;
        let duration = controls.duration();
        Self {
            talk: Talk::default(),
            presses: 0,
            encoder: Encoder::new(bitrate).expect("Opus takes every clamped bit rate"),
            opus: [0; MAX_OPUS_FRAME],
            sink,
            controls,
            device: None,
            pending: Vec::with_capacity(16_384),
            burst: Burst { start: Instant::now(), samples: 0, duration },
        }
    }

    /// A device of this rate, in Hz, is there; what comes next is from it.
    pub fn opened(&mut self, sample_rate: u32) {
        let clock = CaptureClock::new(sample_rate);
        self.device = Some(Device { resampler: Resampler::new(sample_rate, RATE), clock, given: 0 });
        self.pending.clear();
        // A key that was tapped while there was no microphone is not meant any more.
        self.presses = self.controls.key().0;
    }

    /// The device is gone: the burst under way ends with a frame of silence.
    pub fn closed(&mut self) {
        self.device = None;
        if self.talk.cut() {
            let silence = [0.0; FrameDuration::Ms60.samples()];
            let samples = &silence[..self.burst.duration.samples()];
            let captured_at = self.burst.next();
            emit(&mut self.encoder, &mut self.opus, samples, |opus| {
                self.sink.frame(EncodedFrame {
                    opus,
                    captured_at,
                    duration: self.burst.duration,
                    first_of_burst: false,
                    last_of_burst: true,
                });
            });
        }
        self.controls.note_transmitting(false);
    }

    /// The device says when one of its samples was in the air; before the samples themselves.
    pub fn stamp(&mut self, stamp: Stamp) {
        if let Some(device) = &mut self.device {
            device.clock.observe(stamp);
        }
    }

    /// So many samples were captured and not taken in time.
    pub fn lost(&mut self, samples: u64) {
        if samples > 0 {
            self.controls.note_lost(samples);
        }
    }

    /// Takes what the device has captured; whatever completes a frame is decided on, and sent if so decided.
    pub fn samples(&mut self, samples: &[f32]) {
        let Some(device) = &mut self.device else { return };
        let pending = &mut self.pending;
        device.resampler.process(samples, |resampled| {
            device.given += resampled.len() as u64;
            pending.extend(resampled.iter().map(|sample| if sample.is_finite() { *sample } else { 0.0 }));
        });
        loop {
            let duration = if self.talk.sending() { self.burst.duration } else { self.controls.duration() };
            if self.pending.len() < duration.samples() {
                break;
            }
            self.frame(duration);
            self.pending.drain(..duration.samples());
        }
    }

    /// Decides on the first frame of what is pending.
    fn frame(&mut self, duration: FrameDuration) {
        let loudest = peak(&self.pending[..duration.samples()]);
        self.controls.note_peak(loudest);
        let settings = self.controls.settings();
        self.follow_controls(&settings);
        let decision = self.talk.frame(dbfs(loudest), duration, &settings);
        self.controls.note_transmitting(self.talk.sending());
        if let Decision::Send { first, last, silent } = decision {
            self.send(duration, first, last, silent, settings.bitrate);
        }
    }

    fn follow_controls(&mut self, settings: &VoiceSettings) {
        let (presses, down) = self.controls.key();
        if down || presses != self.presses {
            self.talk.press();
        }
        self.presses = presses;
        if !down {
            self.talk.release(settings);
        }
        self.talk.mute(self.controls.muted());
    }

    fn send(&mut self, duration: FrameDuration, first: bool, last: bool, silent: bool, bitrate: u32) {
        if first {
            // Settings and a fresh state that Opus has taken before it takes again.
            let _ = self.encoder.begin(bitrate);
        }
        let captured_at = self.captured_at(first, duration);
        let samples = &mut self.pending[..duration.samples()];
        if silent {
            samples.fill(0.0);
        }
        if first {
            fade_in(&mut samples[..FADE]);
        }
        emit(&mut self.encoder, &mut self.opus, samples, |opus| {
            self.sink.frame(EncodedFrame {
                opus,
                captured_at,
                duration,
                first_of_burst: first,
                last_of_burst: last,
            });
        });
    }

    /// When the first sample was in the air that a decoder makes of the pending ones.
    fn captured_at(&mut self, first: bool, duration: FrameDuration) -> Instant {
        if let Some(device) = &self.device {
            let position = device.given as f64 - self.pending.len() as f64 - device.resampler.delay();
            let position = position - f64::from(self.encoder.look_ahead());
            if let Some(measured) = device.clock.time_of(position / device.resampler.ratio()) {
                let counted = self.burst.time();
                let stray = measured.max(counted) - measured.min(counted);
                if first || stray > STRAY {
                    self.burst = Burst { start: measured, samples: 0, duration };
                }
            }
        }
        self.burst.next()
    }
}

impl Burst {
    /// When the first sample was in the air that a decoder makes of the next frame.
    fn time(&self) -> Instant {
        self.start + Duration::from_nanos(self.samples * 1_000_000_000 / u64::from(RATE))
    }

    fn next(&mut self) -> Instant {
        let time = self.time();
        self.samples += self.duration.samples() as u64;
        time
    }
}

/// Encodes a frame and hands it on.
fn emit(encoder: &mut Encoder, opus: &mut [u8; MAX_OPUS_FRAME], samples: &[f32], take: impl FnOnce(&[u8])) {
    // Opus refuses only what has a wrong length; a frame less would be the least of it.
    if let Ok(count) = encoder.encode(samples, opus) {
        take(&opus[..count]);
    }
}
