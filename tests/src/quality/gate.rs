//! Which parts of what a microphone captures voice activation sends.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use voip_client::{
    TalkMode, VoiceSettings,
    audio::Stamp,
    dsp::RATE,
    voice::{CaptureControls, CaptureLine, EncodedPacket, PacketSink},
};

use super::Activity;

/// Samples that the microphone hands over at once: 10 ms.
const CAPTURED: usize = 480;
/// Samples of a millisecond.
const MS: usize = 48;
/// What adapts has as long; samples.
const ADAPTED: usize = 5 * RATE as usize;
/// Time before the first sample: what is sent first may be older than it.
const BEFORE: Duration = Duration::from_secs(1);

/// When a burst begins, and when its last frame does.
#[derive(Clone, Copy)]
struct Mark {
    at: Instant,
    first: bool,
}

#[derive(Clone, Default)]
struct Marks(Arc<Mutex<Vec<Mark>>>);

impl Marks {
    fn all(&self) -> MutexGuard<'_, Vec<Mark>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl PacketSink for Marks {
    fn packet(&mut self, packet: EncodedPacket<'_>) {
        if packet.first_of_burst || packet.last_of_burst {
            self.all().push(Mark { at: packet.captured_at, first: packet.first_of_burst });
        }
    }
}

/// A burst.
struct Burst {
    /// The frame that opened the gate begins here, in samples.
    opened: usize,
    /// What is sent is so much older at first; and how long it takes until it no longer is.
    pre_roll: usize,
    caught_up: usize,
    end: usize,
}

/// What the gate did.
#[derive(Clone, Debug, PartialEq)]
pub struct Gated {
    /// Share of the speech that was not sent.
    pub cut: f64,
    /// Share of what is long after speech, and before it, that was sent.
    pub let_through: f64,
    /// Time from the beginning of speech after a pause to the frame that opened the gate, in ms, of nineteen in twenty
    /// (negative: before).
    pub opened_after: f64,
    /// How much older than it would be without what is sent first is, in ms, on average.
    pub pre_roll: f64,
    /// Time in which nineteen in twenty bursts have caught that up but for 5 ms, in ms.
    pub caught_up: f64,
}

/// What voice activation sends of `captured`, where `activity` says when somebody speaks.
pub fn gated(settings: &VoiceSettings, captured: &[f32], activity: &Activity) -> Gated {
    let settings = VoiceSettings { mode: TalkMode::VoiceActivation, ..settings.clone() };
    let bursts = bursts(&settings, captured);
    let mut open = vec![false; captured.len()];
    for burst in &bursts {
        open[burst.opened.saturating_sub(burst.pre_roll)..burst.end.min(captured.len())].fill(true);
    }
    let pause = (settings.activation_hold + 200) as usize * MS;
    let (mut speech, mut cut, mut silence, mut let_through) = (0_u32, 0_u32, 0_u32, 0_u32);
    for (n, (speaks, open)) in activity.samples().zip(&open).enumerate().skip(ADAPTED) {
        if speaks {
            (speech, cut) = (speech + 1, cut + u32::from(!open));
        } else if !activity.near(n, pause) {
            (silence, let_through) = (silence + 1, let_through + u32::from(*open));
        }
    }
    let opened_after = activity.beginnings(pause).filter(|begins| *begins > ADAPTED).map(|begins| {
        let burst = bursts.iter().find(|burst| burst.end > begins);
        burst.map_or(f64::INFINITY, |burst| in_ms(burst.opened) - in_ms(begins))
    });
    Gated {
        cut: f64::from(cut) / f64::from(speech.max(1)),
        let_through: f64::from(let_through) / f64::from(silence.max(1)),
        opened_after: most(opened_after),
        pre_roll: bursts.iter().map(|burst| in_ms(burst.pre_roll)).sum::<f64>() / bursts.len().max(1) as f64,
        caught_up: most(bursts.iter().map(|burst| in_ms(burst.caught_up))),
    }
}

fn bursts(settings: &VoiceSettings, captured: &[f32]) -> Vec<Burst> {
    let (marks, controls) = (Marks::default(), Arc::new(CaptureControls::new(settings.clone())));
    let mut line = CaptureLine::new(Box::new(marks.clone()), Arc::clone(&controls));
    line.opened(RATE);
    let start = Instant::now() + BEFORE;
    let time_of = |sample: usize| start + Duration::from_secs_f64(sample as f64 / f64::from(RATE));
    let sample_of =
        |at: Instant| (at.saturating_duration_since(start).as_secs_f64() * f64::from(RATE)) as usize;
    let mut bursts: Vec<Burst> = Vec::new();
    for (n, part) in captured.chunks_exact(CAPTURED).enumerate() {
        line.stamp(Stamp { position: (n * CAPTURED) as u64, captured_at: time_of(n * CAPTURED) });
        line.samples(part);
        let behind = controls.pre_roll() as usize;
        for mark in marks.all().drain(..) {
            let at = sample_of(mark.at);
            match bursts.last_mut() {
                Some(burst) if !mark.first => burst.end = at + CAPTURED,
                _ => bursts.push(Burst { opened: at, pre_roll: behind, caught_up: 0, end: usize::MAX }),
            }
        }
        if let Some(burst) = bursts.last_mut().filter(|burst| burst.end == usize::MAX && behind > 5 * MS) {
            burst.caught_up = (n * CAPTURED).saturating_sub(burst.opened);
        }
    }
    bursts
}

fn in_ms(samples: usize) -> f64 {
    samples as f64 / MS as f64
}

/// What nineteen in twenty do not exceed.
fn most(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() * 19 / 20).copied().unwrap_or(f64::NAN)
}
