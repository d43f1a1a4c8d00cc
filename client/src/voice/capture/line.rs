//! From a device's samples to Opus frames: everything the capture thread does but wait. Its times come with the
//! samples, so that it can be driven in virtual time.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use rtrb::Consumer;
use voip_protocol::voice::FrameDuration;

use super::{
    CaptureControls, PacketSink,
    sender::{Plan, Sender, Spoken},
};
use crate::{
    VoiceSettings,
    audio::Stamp,
    dsp::{CaptureClock, Processor, RATE, Resampler, dbfs, fade_in, peak},
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
    sender: Sender,
    controls: Arc<CaptureControls>,
    device: Option<Device>,
    processor: Processor,
    /// Samples at 48 kHz that are not a frame yet.
    pub(super) pending: Vec<f32>,
    burst: Burst,
}

struct Device {
    resampler: Resampler,
    clock: CaptureClock,
    /// Samples that the resampler has given so far.
    given: u64,
}

/// Times of the frames of the burst under way.
struct Burst {
    start: Instant,
    samples: u64,
}

impl CaptureLine {
    /// Without a microphone. Packets go to `sink`.
    ///
    /// # Panics
    /// When the system has no memory for an encoder.
    pub fn new(sink: Box<dyn PacketSink>, controls: Arc<CaptureControls>) -> Self {
        let plan = Plan::of(&controls.settings(), &controls);
        Self {
            talk: Talk::default(),
            presses: 0,
            sender: Sender::new(sink, plan),
            controls,
            device: None,
            processor: Processor::default(),
            pending: Vec::with_capacity(16_384),
            burst: Burst { start: Instant::now(), samples: 0 },
        }
    }

    /// A device of this rate, in Hz, is there; what comes next is from it.
    pub fn opened(&mut self, sample_rate: u32) {
        let clock = CaptureClock::new(sample_rate);
        self.device = Some(Device { resampler: Resampler::new(sample_rate, RATE), clock, given: 0 });
        self.pending.clear();
        self.processor.reset();
        // A key that was tapped while there was no microphone is not meant any more.
        self.presses = self.controls.key().0;
    }

    /// The device is gone: the burst under way ends with a frame of silence.
    pub fn closed(&mut self) {
        self.device = None;
        if self.talk.cut() {
            let silence = [0.0; FrameDuration::Ms60.samples()];
            let duration = self.sender.plan().duration;
            let captured_at = self.burst.next(duration);
            let samples = &silence[..duration.samples()];
            self.sender.frame(&Spoken { samples, captured_at, first: false, last: true });
        }
        self.controls.note_transmitting(false);
    }

    /// Takes what the speaker is about to play, so that it does not go back to those who said it.
    pub fn hear(&mut self, far: &mut Consumer<f32>) {
        self.processor.hear(far);
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
        self.follow_processing();
        let Some(device) = &mut self.device else { return };
        let (processor, pending) = (&mut self.processor, &mut self.pending);
        device.resampler.process(samples, |resampled| {
            device.given += resampled.len() as u64;
            processor.process(resampled, |processed| {
                pending.extend(processed.iter().map(|sample| if sample.is_finite() { *sample } else { 0.0 }));
            });
        });
        loop {
            self.sender.passed(self.pending.len() + self.processor.waiting());
            let plan = self.plan();
            let samples = plan.duration.samples();
            if self.pending.len() < samples {
                break;
            }
            self.frame(plan);
            self.pending.drain(..samples);
        }
    }

    /// Switches take effect at once. What comes out is later or earlier from then on, and the burst's times with it.
    fn follow_processing(&mut self) {
        let before = self.behind();
        self.processor.follow(&self.controls.settings().processing, &mut self.pending);
        self.burst.shift(before, self.behind());
    }

    /// Samples by which the first pending one is behind what the resampler gives next.
    pub(super) fn behind(&self) -> usize {
        self.pending.len() + self.processor.behind()
    }

    /// How the next frame is sent, if it is: settings change between bursts, protection against loss within them too.
    fn plan(&mut self) -> Plan {
        let (plan, now) = (Plan::of(&self.controls.settings(), &self.controls), self.sender.plan());
        if !self.talk.sending() {
            return plan;
        }
        if plan.is_like(&now) || !self.sender.may_change() {
            return now;
        }
        let before = self.sender.look_ahead();
        self.sender.change(plan);
        self.burst.shift(before as usize, self.sender.look_ahead() as usize);
        plan
    }

    /// Decides on the first frame of what is pending.
    fn frame(&mut self, plan: Plan) {
        let loudest = peak(&self.pending[..plan.duration.samples()]);
        self.controls.note_peak(loudest);
        let settings = self.controls.settings();
        self.follow_controls(&settings);
        let decision = self.talk.frame(dbfs(loudest), plan.duration, &settings);
        self.controls.note_transmitting(self.talk.sending());
        if let Decision::Send { first, last, silent } = decision {
            self.send(plan, first, last, silent);
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

    fn send(&mut self, plan: Plan, first: bool, last: bool, silent: bool) {
        if first {
            self.sender.begin(plan);
        }
        let captured_at = self.captured_at(first, plan.duration);
        let samples = &mut self.pending[..plan.duration.samples()];
        if silent {
            samples.fill(0.0);
        }
        if first {
            fade_in(&mut samples[..FADE]);
        }
        self.sender.frame(&Spoken { samples, captured_at, first, last });
    }

    /// When the first sample was in the air that a decoder makes of the pending ones.
    fn captured_at(&mut self, first: bool, duration: FrameDuration) -> Instant {
        if let Some(device) = &self.device {
            let position = device.given as f64 - self.behind() as f64 - device.resampler.delay();
            let position = position - f64::from(self.sender.look_ahead());
            if let Some(measured) = device.clock.time_of(position / device.resampler.ratio()) {
                let counted = self.burst.time();
                let stray = measured.max(counted) - measured.min(counted);
                if first || stray > STRAY {
                    self.burst = Burst { start: measured, samples: 0 };
                }
            }
        }
        self.burst.next(duration)
    }
}

impl Burst {
    /// When the first sample was in the air that a decoder makes of the next frame.
    fn time(&self) -> Instant {
        self.start + Duration::from_nanos(self.samples * 1_000_000_000 / u64::from(RATE))
    }

    /// What is encoded next is behind what is captured by another number of samples from now on.
    fn shift(&mut self, before: usize, now: usize) {
        let time = |samples: usize| Duration::from_nanos(samples as u64 * 1_000_000_000 / u64::from(RATE));
        self.start = (self.start + time(before)).checked_sub(time(now)).unwrap_or(self.start);
    }

    fn next(&mut self, duration: FrameDuration) -> Instant {
        let time = self.time();
        self.samples += duration.samples() as u64;
        time
    }
}
