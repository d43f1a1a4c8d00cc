//! Making every talker about as loud as the others.
//!
//! Loudness is the mean power of speech over some seconds, with gates that leave pauses out: an absolute one, and one
//! relative to what has been measured (the idea of ITU-T P.56 and EBU R 128). The gain follows slowly, so that what is
//! said softly stays softer than what is shouted.

use super::RATE;

/// Mean power of speech that is wanted: -22 dBFS.
const TARGET: f32 = 0.006_3;
/// Sound below this is none: -50 dBFS; and what is so much (15 dB) below the measured speech is a pause in it.
const SILENCE: f32 = 1e-5;
const PAUSE: f32 = 0.032;
/// Samples of speech that are remembered (3 s), and after which they are enough to amplify by (0.4 s).
const MEMORY: f32 = 3.0 * RATE as f32;
const ENOUGH: f32 = 0.4 * RATE as f32;
/// The most that is amplified or attenuated: 12 dB.
const MOST: f32 = 4.0;
/// How the gain rises (6 dB a second) and falls (30 dB a second), for each sample.
const RISE: f32 = 1.000_014_4;
const FALL: f32 = 0.999_928;

/// How what was too loud is forgotten while nothing is as loud: 2 dB a second, for each sample.
const FORGETS: f32 = 0.999_990_4;

/// One talker's.
#[derive(Clone, Debug)]
pub struct Leveler {
    power: f32,
    measured: f32,
    gain: f32,
}

impl Default for Leveler {
    /// Knows nothing, and changes nothing.
    fn default() -> Self {
        Self { power: 0.0, measured: 0.0, gain: 1.0 }
    }
}

impl Leveler {
    /// Learns from a frame that has been decoded.
    pub fn learn(&mut self, sound: &[f32]) {
        let power = sound.iter().map(|sample| sample * sample).sum::<f32>() / sound.len().max(1) as f32;
        // Also false for what is not a number.
        if !(power > SILENCE && power.is_finite()) {
            return;
        }
        if power <= self.power * PAUSE {
            // Or it was a thump that has been measured, and all the talk since is softer.
            if self.power > TARGET {
                self.power *= FORGETS.powf(sound.len() as f32);
            }
            return;
        }
        if power * PAUSE > self.power {
            self.measured = self.measured.min(ENOUGH);
        }
        self.measured = (self.measured + sound.len() as f32).min(MEMORY);
        self.power += (power - self.power) * sound.len() as f32 / self.measured;
    }

    /// Changes what is about to be heard; `on`: towards the same level as everybody's, else towards what it was.
    pub fn process(&mut self, sound: &mut [f32], on: bool) {
        let wanted = if on { self.wanted() } else { 1.0 };
        for sample in sound {
            if self.gain < wanted {
                self.gain = (self.gain * RISE).min(wanted);
            } else if self.gain > wanted {
                self.gain = (self.gain * FALL).max(wanted);
            }
            *sample *= self.gain;
        }
    }

    fn wanted(&self) -> f32 {
        let wanted = (TARGET / self.power.max(SILENCE)).sqrt().clamp(1.0 / MOST, MOST);
        // The first syllable may be a soft one.
        if self.measured < ENOUGH { wanted.min(self.gain) } else { wanted }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::dsp::tests::voice_like;

    /// The level of what comes out of ten seconds of a voice, over its last two, in dBFS.
    fn level_of(loud: f32, on: bool) -> f32 {
        let mut sound: Vec<f32> = voice_like(10 * RATE as usize).iter().map(|sample| sample * loud).collect();
        let mut leveler = Leveler::default();
        for frame in sound.chunks_mut(480) {
            leveler.learn(frame);
            leveler.process(frame, on);
        }
        let last = &sound[8 * RATE as usize..];
        10.0 * (last.iter().map(|sample| sample * sample).sum::<f32>() / last.len() as f32).log10()
    }

    #[test]
    fn soft_and_loud_talkers_become_alike() {
        for loud in [0.15, 0.3, 1.0, 1.5] {
            assert!((level_of(loud, true) + 22.0).abs() < 1.0, "{loud}: {}", level_of(loud, true));
        }
        // No more than 12 dB.
        assert!((level_of(0.04, true) - level_of(0.04, false) - 12.0).abs() < 0.1);
        assert!((level_of(0.3, false) - level_of(1.0, false) + 10.46).abs() < 0.1);
    }

    #[test]
    fn a_pause_is_no_soft_talk_and_noise_between_words_is_not_raised() {
        let voice: Vec<f32> = voice_like(10 * RATE as usize).iter().map(|sample| sample * 0.3).collect();
        let mut leveler = Leveler::default();
        voice.chunks(480).for_each(|frame| leveler.learn(frame));
        let before = leveler.power;
        for _ in 0..1_000 {
            leveler.learn(&[0.0; 480]);
            leveler.learn(&[0.01; 480]);
        }
        assert_eq!(leveler.power, before);
    }

    #[test]
    fn a_thump_is_forgotten() {
        let voice: Vec<f32> = voice_like(20 * RATE as usize).iter().map(|sample| sample * 0.07).collect();
        let mut leveler = Leveler::default();
        leveler.learn(&[0.9; 480]);
        let mut last = Vec::new();
        for frame in voice.chunks(480) {
            leveler.learn(frame);
            last = frame.to_vec();
            leveler.process(&mut last, true);
        }
        assert!(leveler.gain > 1.5 && !last.is_empty(), "{}", leveler.gain);
    }

    proptest! {
        #[test]
        fn the_gain_never_leaves_its_bounds_nor_jumps(
            frames in proptest::collection::vec((proptest::num::f32::ANY, any::<bool>()), 0..200),
        ) {
            let mut leveler = Leveler::default();
            for (loud, on) in frames {
                leveler.learn(&[loud; 480]);
                let before = leveler.gain;
                let mut sound = [1.0; 480];
                leveler.process(&mut sound, on);
                prop_assert!(leveler.gain <= MOST && leveler.gain >= 1.0 / MOST, "{}", leveler.gain);
                prop_assert!((sound[0] / before - 1.0).abs() < 1e-3);
                prop_assert!(sound.windows(2).all(|pair| (pair[1] / pair[0] - 1.0).abs() < 1e-3));
            }
        }
    }
}
