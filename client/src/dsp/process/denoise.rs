//! A neural network that knows voices from noise: `RNNoise` (Valin, 2018), by its port to Rust (nnnoiseless).

use nnnoiseless::DenoiseState;

use super::{PROCESSED, Process, sane};

/// It works on numbers of 16 bits.
const SCALE: f32 = 32_768.0;

/// The share of the sound as it was that stays with the light suppression: noise gets quieter by 12 dB at most.
const KEPT: f32 = 0.25;

pub(super) struct Denoise {
    state: Box<DenoiseState<'static>>,
    /// As much of the sound stays as it was.
    kept: f32,
    /// The block that is about to come out.
    last: [f32; PROCESSED],
    voice: f32,
}

impl Denoise {
    /// `light`: not more than is pleasant to listen to.
    pub(super) fn new(light: bool) -> Self {
        let kept = if light { KEPT } else { 0.0 };
        Self { state: DenoiseState::new(), kept, last: [0.0; PROCESSED], voice: 0.0 }
    }
}

impl Process for Denoise {
    fn process(&mut self, block: &mut [f32; PROCESSED]) {
        let last = std::mem::replace(&mut self.last, *block);
        // Of what is no number or endless its Fourier transform would make undefined behaviour.
        let from = block.map(|sample| sane(sample) * SCALE);
        self.voice = self.state.process_frame(block, &from);
        for (sample, last) in block.iter_mut().zip(last) {
            *sample = *sample / SCALE * (1.0 - self.kept) + last * self.kept;
        }
    }

    /// A block: what comes out is made of the last one and this one.
    fn delay(&self) -> usize {
        PROCESSED
    }

    fn voice(&self) -> Option<f32> {
        Some(self.voice)
    }
}

/// The same network, of which only the judgement is wanted: sound passes as it is, at once.
pub(super) struct Listen {
    state: Box<DenoiseState<'static>>,
    voice: f32,
}

impl Default for Listen {
    fn default() -> Self {
        Self { state: DenoiseState::new(), voice: 0.0 }
    }
}

impl Process for Listen {
    fn process(&mut self, block: &mut [f32; PROCESSED]) {
        let from = block.map(|sample| sane(sample) * SCALE);
        self.voice = self.state.process_frame(&mut [0.0; PROCESSED], &from);
    }

    fn delay(&self) -> usize {
        0
    }

    fn voice(&self) -> Option<f32> {
        Some(self.voice)
    }
}
