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
    preroll::PreRoll,
    sender::{Plan, Sender, Spoken},
};
use crate::{
    TalkMode, VoiceSettings,
    audio::Stamp,
    dsp::{CaptureClock, PROCESSED, Processor, RATE, Resampler, dbfs, fade_in, peak},
    talk::{Decision, Sound, Talk},
};

/// Samples over which a burst rises from silence (2.5 ms): it may begin in the middle of a wave.
const FADE: usize = 120;
/// A burst's count of samples may stray this far from the device's stamps before it is set right.
const STRAY: Duration = Duration::from_millis(10);

/// One microphone after another, and the bursts that come from them.
pub struct CaptureLine {
    talk: Talk,
    presses: u32,
    unlocks: u32,
    sender: Sender,
    controls: Arc<CaptureControls>,
    device: Option<Device>,
    processor: Processor,
    /// Samples at 48 kHz that have not been processed yet.
    captured: Vec<f32>,
    /// Samples that are not a frame yet.
    pub(super) pending: Vec<f32>,
    pre_roll: PreRoll,
    /// How sure it is that there is a voice in the newest of them; none: nobody looks.
    voice: Option<f32>,
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
            unlocks: 0,
            sender: Sender::new(sink, plan),
            controls,
            device: None,
            processor: Processor::default(),
            captured: Vec::new(),
            pending: Vec::with_capacity(16_384),
            pre_roll: PreRoll::default(),
            voice: None,
            burst: Burst { start: Instant::now(), samples: 0 },
        }
    }

    /// A device of this rate, in Hz, is there; what comes next is from it.
    pub fn opened(&mut self, sample_rate: u32) {
        let clock = CaptureClock::new(sample_rate);
        self.device = Some(Device { resampler: Resampler::new(sample_rate, RATE), clock, given: 0 });
        self.pending.clear();
        self.pre_roll = PreRoll::default();
        self.voice = None;
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
        let captured = &mut self.captured;
        device.resampler.process(samples, |resampled| captured.extend_from_slice(resampled));
        // No more than a block at a time, so that each frame is decided by what is known of it.
        let captured = std::mem::take(&mut self.captured);
        for piece in captured.chunks(PROCESSED) {
            if let Some(device) = &mut self.device {
                device.given += piece.len() as u64;
            }
            let (processor, pending) = (&mut self.processor, &mut self.pending);
            processor.process(piece, |processed| {
                pending.extend(processed.iter().map(|sample| if sample.is_finite() { *sample } else { 0.0 }));
            });
            self.frames();
        }
        self.captured = captured;
        self.captured.clear();
    }

    fn frames(&mut self) {
        loop {
            let new = self.pending.len() - self.pre_roll.behind();
            self.sender.passed(new + self.processor.waiting());
            let plan = self.plan();
            let samples = plan.duration.samples();
            if new < samples {
                break;
            }
            self.frame(plan);
            self.pending.drain(..samples);
            if !self.talk.sending() {
                self.pre_roll.end(&mut self.pending);
            }
            // Nor is what is said while muted.
            if self.controls.muted() {
                self.pre_roll.forget();
            }
        }
    }

    /// Switches take effect at once. What comes out is later or earlier from then on, and the burst's times with it.
    fn follow_processing(&mut self) {
        let settings = self.controls.settings();
        if self.processor.follows(&settings.processing, listens(&settings)) {
            return;
        }
        // What has not been caught up is left out: it would come between what is processed and what is not.
        if self.talk.sending() {
            self.pre_roll.end(&mut self.pending);
            self.pre_roll.forget();
        }
        let before = self.behind();
        self.processor.follow(&settings.processing, listens(&settings), &mut self.pending);
        self.burst.shift(before, self.behind());
    }

    /// Samples by which the first pending one is behind what the resampler gives next. A pre-roll is not counted: the
    /// times of a burst are those that its frames would have without, so that none seems to be late.
    pub(super) fn behind(&self) -> usize {
        self.pending.len() - self.pre_roll.behind() + self.processor.behind()
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

    /// Decides by the newest frame of what is pending whether the first one is sent.
    fn frame(&mut self, plan: Plan) {
        let samples = plan.duration.samples();
        let newest = self.pre_roll.behind()..self.pre_roll.behind() + samples;
        let loudest = peak(&self.pending[newest.clone()]);
        self.controls.note_peak(loudest);
        let settings = self.controls.settings();
        self.follow_controls(&settings);
        // A frame that is shorter than a block is as the block before it.
        self.voice = if listens(&settings) { self.processor.take_voice().or(self.voice) } else { None };
        let sound = Sound { level: dbfs(loudest), voice: self.voice };
        let decision = self.talk.frame(sound, plan.duration, &settings);
        self.controls.note_transmitting(self.talk.sending());
        match decision {
            Decision::Send { first, last, silent } => {
                if first && settings.mode != TalkMode::VoiceActivation {
                    self.pre_roll.forget();
                }
                if first {
                    self.pre_roll.begin(&mut self.pending);
                }
                self.pre_roll.catch_up(&mut self.pending, samples);
                self.controls.note_pre_roll(self.pre_roll.behind());
                self.send(plan, first, last, silent);
            }
            // What was said before a key was pressed is nobody's business.
            Decision::Drop if settings.mode == TalkMode::VoiceActivation => {
                self.pre_roll.keep(&self.pending[newest]);
            }
            Decision::Drop => self.pre_roll.forget(),
        }
    }

    fn follow_controls(&mut self, settings: &VoiceSettings) {
        let unlocks = self.controls.unlocks();
        if std::mem::replace(&mut self.unlocks, unlocks) != unlocks {
            self.talk.unlock();
        }
        let (presses, down) = self.controls.key();
        // Of taps between two frames the last two say it all.
        for _ in 0..presses.wrapping_sub(self.presses).min(2) {
            self.talk.release(settings);
            self.talk.press(settings);
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

/// Whether voices are to be told from everything else.
fn listens(settings: &VoiceSettings) -> bool {
    settings.mode == TalkMode::VoiceActivation && settings.voices_only
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
