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
}

/// All that is switched on, in its order.
pub struct Processor {
    settings: Processing,
    parts: Vec<Box<dyn Process>>,
    /// Captured sound, and what the speaker plays, that are no whole block yet.
    near: Vec<f32>,
    far: Vec<f32>,
}

impl Default for Processor {
    /// Does nothing.
    fn default() -> Self {
        Self { settings: Processing::OFF, parts: Vec::new(), near: Vec::new(), far: Vec::new() }
    }
}

impl Processor {
    /// Does from now on what `settings` say.
    pub fn follow(&mut self, settings: &Processing) {
        if self.settings == *settings {
            return;
        }
        self.settings = settings.clone();
        self.parts.clear();
        let Processing { echo_cancellation, noise_suppression, automatic_gain, high_pass } = *settings;
        // The gain comes last; where noise is suppressed before it, from another instance.
        let suppresses = noise_suppression != NoiseSuppression::Off;
        self.add_apm(apm::Parts { echo: echo_cancellation, high_pass, gain: automatic_gain && !suppresses });
        if suppresses {
            self.parts.push(Box::new(denoise::Denoise::new(noise_suppression == NoiseSuppression::Light)));
            self.add_apm(apm::Parts { gain: automatic_gain, ..apm::Parts::default() });
        }
        if self.parts.is_empty() {
            self.near.clear();
        }
    }

    fn add_apm(&mut self, parts: apm::Parts) {
        if parts != apm::Parts::default() {
            self.parts.push(Box::new(apm::Apm::new(parts)));
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
            for part in &mut self.parts {
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
            for part in &mut self.parts {
                part.process(block);
            }
            take(block);
        }
        self.near.drain(..count * PROCESSED);
    }

    /// Samples that have come in and are no whole block yet.
    pub fn waiting(&self) -> usize {
        self.near.len()
    }

    /// Samples by which what has come out is behind what went in.
    pub fn behind(&self) -> usize {
        self.near.len() + self.parts.iter().map(|part| part.delay()).sum::<usize>()
    }
}

fn sane(sample: f32) -> f32 {
    if sample.is_finite() { sample.clamp(-MOST, MOST) } else { 0.0 }
}

#[cfg(test)]
mod tests;
