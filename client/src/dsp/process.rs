//! What is done to captured sound before anybody hears it: echo cancelled, noise suppressed, gain adjusted.
//!
//! All of it on blocks of 10 ms, and each part can be switched. With everything off sound passes as it is, without delay.
//! The system's own levels are never touched. The parts allocate, so they belong on the capture thread.

mod apm;
mod denoise;

use rtrb::Consumer;

use crate::settings::{NoiseSuppression, Processing};

/// Samples of a block: 10 ms.
pub const PROCESSED: usize = 480;

/// Samples beyond this are cut off before anything is done: twice full scale.
const MOST: f32 = 2.0;

/// Something that is done to captured sound.
trait Process: Send {
    /// Changes the next block.
    fn process(&mut self, block: &mut [f32; PROCESSED]);

    /// Learns what the speaker is about to play: the next block of it.
    fn hear(&mut self, _far: &[f32; PROCESSED]) {}

    /// Samples by which what comes out is behind what went in.
    fn delay(&self) -> usize;

    /// How sure it is that somebody speaks in the last block that came in (0 to 1); none: it does not look.
    fn voice(&self) -> Option<f32> {
        None
    }
}

/// One thing that is done. As long as it stays the same, what it has learnt stays too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Apm(apm::Parts),
    Denoise { light: bool },
    Listen,
}

impl Part {
    /// What is switched on, in its order: the gain comes last, so that it does not raise what is taken away.
    fn wanted(settings: &Processing, listens: bool) -> impl Iterator<Item = Self> {
        let Processing { echo_cancellation: echo, noise_suppression, automatic_gain: gain, high_pass } =
            *settings;
        let apm = |parts| (parts != apm::Parts::default()).then_some(Self::Apm(parts));
        let denoise = match noise_suppression {
            NoiseSuppression::Off => listens.then_some(Self::Listen),
            NoiseSuppression::Light => Some(Self::Denoise { light: true }),
            NoiseSuppression::Strong => Some(Self::Denoise { light: false }),
        };
        // Echo cancellation has the filter with it.
        let clean = apm::Parts { echo, high_pass: high_pass || echo, gain: false };
        let gain = apm::Parts { gain, ..apm::Parts::default() };
        [apm(clean), denoise, apm(gain)].into_iter().flatten()
    }

    fn make(self) -> Box<dyn Process> {
        match self {
            Self::Apm(parts) => Box::new(apm::Apm::new(parts)),
            Self::Denoise { light } => Box::new(denoise::Denoise::new(light)),
            Self::Listen => Box::new(denoise::Listen::default()),
        }
    }
}

/// All that is switched on, in its order.
pub struct Processor {
    settings: Processing,
    listens: bool,
    parts: Vec<(Part, Box<dyn Process>)>,
    /// Captured sound, and what the speaker plays, that are no whole block yet.
    near: Vec<f32>,
    far: Vec<f32>,
    /// How sure it is that there was a voice, the most since that was last taken.
    voice: Option<f32>,
}

impl Default for Processor {
    /// Does nothing.
    fn default() -> Self {
        Self {
            settings: Processing::OFF,
            listens: false,
            parts: Vec::new(),
            near: Vec::new(),
            far: Vec::new(),
            voice: None,
        }
    }
}

impl Processor {
    /// Whether that is what it does.
    pub fn follows(&self, settings: &Processing, listens: bool) -> bool {
        self.settings == *settings && self.listens == listens
    }

    /// Does from now on what `settings` say, and `listens` for voices if that is wanted; what is on before and after
    /// goes on as it was, and only what is within a part that is switched off is lost. `done` is sound that has come
    /// out and that nobody has taken yet: where nothing was done so far it comes in again, so that it does not hold up
    /// what comes after it.
    pub fn follow(&mut self, settings: &Processing, listens: bool, done: &mut Vec<f32>) {
        if self.follows(settings, listens) {
            return;
        }
        (self.settings, self.listens, self.voice) = (settings.clone(), listens, None);
        let passed = self.parts.is_empty();
        let mut before = std::mem::take(&mut self.parts);
        for part in Part::wanted(settings, listens) {
            let same = before.iter().position(|(known, _)| *known == part);
            let made = same.map_or_else(|| (part, part.make()), |at| before.swap_remove(at));
            self.parts.push(made);
        }
        match (passed, self.parts.is_empty()) {
            (true, false) => self.near.append(done),
            (false, true) => done.append(&mut self.near),
            _ => {}
        }
    }

    /// Another microphone: what has been learnt of the last one, and what is left of it, is thrown away.
    pub fn reset(&mut self) {
        *self = Self::default();
    }

    /// Takes what the speaker plays, so that it can be told from what is said here.
    pub fn hear(&mut self, far: &mut Consumer<f32>) {
        let Ok(chunk) = far.read_chunk(far.slots()) else { return };
        let (first, second) = chunk.as_slices();
        if self.settings.echo_cancellation {
            // The limiter lets nothing else through.
            self.far.extend_from_slice(first);
            self.far.extend_from_slice(second);
        }
        chunk.commit_all();
        let (blocks, _) = self.far.as_chunks::<PROCESSED>();
        for block in blocks {
            for (_, part) in &mut self.parts {
                part.hear(block);
            }
        }
        self.far.drain(..blocks.len() * PROCESSED);
    }

    /// Takes captured sound at 48 kHz, and hands on what is done.
    pub fn process(&mut self, samples: &[f32], mut take: impl FnMut(&[f32])) {
        if self.parts.is_empty() {
            return take(samples);
        }
        // A number that is none would stay in the filters for ever, and spectra must not overflow.
        self.near.extend(samples.iter().map(|sample| sane(*sample)));
        let (blocks, _) = self.near.as_chunks_mut::<PROCESSED>();
        let count = blocks.len();
        for block in blocks {
            for (_, part) in &mut self.parts {
                part.process(block);
                self.voice = self.voice.into_iter().chain(part.voice()).reduce(f32::max);
            }
            take(block);
        }
        self.near.drain(..count * PROCESSED);
    }

    /// How sure it is that somebody spoke in what has come in since the last call (0 to 1); none: nobody listens, or
    /// there was no whole block. What has come out is as old as the parts are behind.
    pub fn take_voice(&mut self) -> Option<f32> {
        self.voice.take()
    }

    /// Samples that have come in and are no whole block yet.
    pub fn waiting(&self) -> usize {
        self.near.len()
    }

    /// Samples by which what has come out is behind what went in.
    pub fn behind(&self) -> usize {
        self.near.len() + self.parts.iter().map(|(_, part)| part.delay()).sum::<usize>()
    }
}

fn sane(sample: f32) -> f32 {
    if sample.is_finite() { sample.clamp(-MOST, MOST) } else { 0.0 }
}

#[cfg(test)]
mod tests;
