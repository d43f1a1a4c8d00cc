//! Putting voices together, and keeping the sum within what a speaker can play.

/// The loudest that leaves the limiter: a touch below full scale, for the resampler and the converter behind it.
const CEILING: f32 = 0.97;
/// Samples over which the limiter turns down before a peak (0.67 ms).
const ATTACK: usize = 32;
/// Share of the way back to full gain that the limiter goes with each sample: about 60 ms.
const RELEASE: f32 = 1.0 / 2_880.0;

/// Adds `voice` onto `mix`; what is not a number counts as silence.
pub fn add(mix: &mut [f32], voice: &[f32]) {
    for (sum, sample) in mix.iter_mut().zip(voice) {
        if sample.is_finite() {
            *sum += sample;
        }
    }
}

/// Rises from silence over the whole of `samples`.
pub fn fade_in(samples: &mut [f32]) {
    let step = 1.0 / samples.len().max(1) as f32;
    for (n, sample) in samples.iter_mut().enumerate() {
        *sample *= n as f32 * step;
    }
}

/// Falls to silence over the whole of `samples`.
pub fn fade_out(samples: &mut [f32]) {
    let step = 1.0 / samples.len().max(1) as f32;
    for (n, sample) in samples.iter_mut().rev().enumerate() {
        *sample *= n as f32 * step;
    }
}

/// Turns down what is too loud and lets it come back slowly. Below the ceiling it changes nothing.
#[derive(Clone, Debug)]
pub struct Limiter {
    gain: f32,
}

impl Default for Limiter {
    fn default() -> Self {
        Self { gain: 1.0 }
    }
}

impl Limiter {
    /// Limits `block` in place; afterwards no sample is above full scale, and each is a number.
    pub fn process(&mut self, block: &mut [f32]) {
        let Some(first) = block.iter().position(|sample| needed(*sample) < self.gain) else {
            for sample in block {
                *sample = self.released(*sample);
            }
            return;
        };
        let target = block.iter().copied().map(needed).fold(1.0, f32::min);
        let start = first.saturating_sub(ATTACK);
        let step = (self.gain - target) / (first - start + 1) as f32;
        for (n, sample) in block.iter_mut().enumerate() {
            if n >= start && self.gain > target {
                self.gain = (self.gain - step).max(target);
            }
            *sample = self.limited(*sample);
        }
    }

    fn released(&mut self, sample: f32) -> f32 {
        self.gain += (1.0 - self.gain) * RELEASE;
        if self.gain > 0.9999 {
            self.gain = 1.0;
        }
        self.limited(sample)
    }

    fn limited(&mut self, sample: f32) -> f32 {
        // The ramp gets there in time but for rounding, and for a block's first samples.
        self.gain = self.gain.min(needed(sample));
        if sample.is_finite() { (sample * self.gain).clamp(-CEILING, CEILING) } else { 0.0 }
    }
}

/// The gain that brings `sample` to the ceiling.
fn needed(sample: f32) -> f32 {
    if sample.is_finite() && sample.abs() > CEILING { CEILING / sample.abs() } else { 1.0 }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::dsp::peak;

    fn tone(amplitude: f32, count: usize) -> Vec<f32> {
        (0..count).map(|n| amplitude * (n as f32 * 0.05).sin()).collect()
    }

    #[test]
    fn what_fits_passes_unchanged() {
        let voice = tone(0.96, 4_800);
        let mut out = voice.clone();
        let mut limiter = Limiter::default();
        out.chunks_mut(120).for_each(|block| limiter.process(block));
        assert_eq!(out, voice);
    }

    #[test]
    fn what_is_too_loud_is_turned_down_without_clipping_and_comes_back() {
        let mut limiter = Limiter::default();
        let mut loud = tone(3.0, 9_600);
        loud.chunks_mut(120).for_each(|block| limiter.process(block));
        assert!(peak(&loud) <= CEILING);
        // Once turned down it is still the same tone, not a square: its shape is the input's by a factor.
        let (settled, original) = (&loud[4_800..], &tone(3.0, 9_600)[4_800..]);
        let factor = peak(settled) / 3.0;
        assert!(settled.iter().zip(original).all(|(out, original)| (out - original * factor).abs() < 0.05));
        let mut quiet = tone(0.5, 48_000);
        quiet.chunks_mut(120).for_each(|block| limiter.process(block));
        assert!((peak(&quiet[43_200..]) - 0.5).abs() < 1e-3);
    }

    #[test]
    fn fades_reach_silence_at_their_end() {
        let mut samples = [1.0; 120];
        fade_out(&mut samples);
        assert!(samples[0] > 0.98 && samples[119] == 0.0 && samples.windows(2).all(|pair| pair[1] < pair[0]));
        let mut samples = [1.0; 120];
        fade_in(&mut samples);
        assert!(samples[0] == 0.0 && samples[119] > 0.98 && samples.windows(2).all(|pair| pair[1] > pair[0]));
    }

    proptest! {
        #[test]
        fn never_above_full_scale_and_always_a_number(
            blocks in proptest::collection::vec(proptest::collection::vec(any::<f32>(), 1..130), 1..20),
        ) {
            let mut limiter = Limiter::default();
            for block in blocks {
                let mut mix = vec![0.0; block.len()];
                add(&mut mix, &block);
                add(&mut mix, &block);
                limiter.process(&mut mix);
                prop_assert!(mix.iter().all(|sample| sample.abs() <= CEILING), "{:?}", mix);
            }
        }
    }
}
