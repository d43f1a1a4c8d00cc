//! Playing a little faster or slower than it was spoken.
//!
//! Up to 0.3 % (5 hundredths of a semitone): 3 ms in a second, ten times what the crystals of two sound cards differ by.
//! A sample is left out or put in now and then, within a short fade (rubato's `Slip`); at an even pace the sound passes
//! as it is, and there is no delay. With 0.7 % windows of 100 ms were no longer alike to the test on real devices.

use rubato::{Adjustable, FixedAsync, Resampler as _, Slip, audioadapter_buffers::direct::SequentialSlice};

use super::delay::MS;

/// The most that the pace differs from 1.
const MOST: f64 = 0.003;
/// Sound that is ahead of or behind its time by less is left alone, in ticks; once it is not, until it is this near.
const TOLERATED: f32 = 1.5 * MS as f32;
const ENOUGH: f32 = 0.5 * MS as f32;
/// What is ahead of or behind its time gets there to 1/e in this time, in ticks.
const TIME: f64 = 1_500.0 * MS as f64;

/// Turns sound that comes at one pace into blocks of one length at another. Allocates nothing after it is made.
pub struct Pace {
    slip: Slip<f32>,
    ratio: f64,
}

impl Pace {
    /// Makes blocks of so many samples, at least 100, at an even pace.
    ///
    /// # Panics
    /// When blocks are shorter than 100 samples.
    pub fn new(block: usize) -> Self {
        assert!(block >= 100, "a sample in or out takes a fade of 49");
        let slip = Slip::new(block, 1, FixedAsync::Output).expect("a block has room for a fade");
        Self { slip, ratio: 1.0 }
    }

    /// Samples that the next block is made of, unless the pace is changed before it.
    pub fn needs(&self) -> usize {
        self.slip.input_frames_next()
    }

    /// What comes is `behind` its time, in ticks (negative: ahead of it): the pace changes so that it catches up. Between
    /// blocks, not between a block's [`Pace::needs`] and its making.
    pub fn catch_up(&mut self, behind: f32) {
        let even = if self.ratio == 1.0 { TOLERATED } else { ENOUGH };
        let share = if behind.abs() < even { 0.0 } else { (f64::from(behind) / TIME).clamp(-MOST, MOST) };
        // Faster is fewer samples out than in. A NaN's clamp is a NaN, and changes nothing.
        let ratio = 1.0 - share;
        if (ratio - self.ratio).abs() > f64::EPSILON && self.slip.set_resample_ratio(ratio, false).is_ok() {
            self.ratio = ratio;
        }
    }

    /// Makes a block of [`Pace::needs`] samples; of others it is silence.
    pub fn process(&mut self, sound: &[f32], block: &mut [f32]) {
        let (count, length) = (sound.len(), block.len());
        let made =
            match (SequentialSlice::new(sound, 1, count), SequentialSlice::new_mut(&mut *block, 1, length)) {
                (Ok(from), Ok(mut to)) => self.slip.process_into_buffer(&from, &mut to, None).is_ok(),
                _ => false,
            };
        if !made {
            block.fill(0.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::dsp::tests::voice_like;

    const BLOCK: usize = 120;

    /// Plays `sound` that is `behind`; says what was heard, and how much was used up.
    fn played(sound: &[f32], behind: f32, blocks: usize) -> (Vec<f32>, usize) {
        let (mut pace, mut heard, mut at) = (Pace::new(BLOCK), Vec::new(), 0);
        pace.catch_up(behind);
        let mut block = [0.0; BLOCK];
        for _ in 0..blocks {
            let needs = pace.needs();
            pace.process(&sound[at..at + needs], &mut block);
            heard.extend_from_slice(&block);
            at += needs;
        }
        (heard, at)
    }

    #[test]
    fn at_an_even_pace_nothing_changes() {
        let voice = voice_like(48_000);
        for behind in [0.0, 20.0, -20.0, f32::NAN] {
            let (heard, used) = played(&voice, behind, 400);
            assert_eq!((heard.as_slice(), used), (&voice[..], 48_000), "{behind}");
        }
    }

    #[test]
    fn catches_up_as_fast_as_it_may_and_no_faster() {
        let voice = voice_like(52_000);
        for (behind, samples) in [(3.0, 96), (100.0, 144), (-3.0, -96), (-400.0, -144)] {
            let (_, used) = played(&voice, behind * MS as f32, 400);
            let gained = used as i32 - 48_000;
            assert!(gained.abs_diff(samples) <= 3, "{behind} ms: {gained} samples in a second");
        }
    }

    #[test]
    fn a_tone_stays_a_tone() {
        let tone: Vec<f32> =
            (0..52_000).map(|n| (n as f32 * 440.0 * std::f32::consts::TAU / 48_000.0).sin()).collect();
        let steepest =
            |samples: &[f32]| samples.windows(2).map(|pair| (pair[1] - pair[0]).abs()).fold(0.0, f32::max);
        let (heard, _) = played(&tone, 100.0 * MS as f32, 400);
        assert!(steepest(&heard) < steepest(&tone) * 1.1, "{} {}", steepest(&heard), steepest(&tone));
    }

    proptest! {
        #[test]
        fn any_sound_and_any_lateness_make_blocks(
            sound in proptest::collection::vec(-1.0f32..1.0, 4_000),
            behind in proptest::collection::vec(any::<f32>(), 30),
        ) {
            let (mut pace, mut at, mut block) = (Pace::new(BLOCK), 0, [0.0; BLOCK]);
            for behind in behind {
                pace.catch_up(behind);
                let needs = pace.needs();
                prop_assert!(needs.abs_diff(BLOCK) <= 1);
                pace.process(&sound[at..at + needs], &mut block);
                prop_assert!(block.iter().all(|sample| sample.abs() <= 1.0));
                at += needs;
            }
            pace.process(&sound[..7], &mut block);
            prop_assert_eq!(block, [0.0; BLOCK]);
        }

        #[test]
        fn no_block_is_lost_however_the_pace_wavers(behind in proptest::collection::vec(-40_000.0f32..40_000.0, 400)) {
            let sound = voice_like(52_000);
            let (mut pace, mut at, mut block) = (Pace::new(BLOCK), 0, [0.0; BLOCK]);
            for behind in behind {
                let needs = pace.needs();
                pace.process(&sound[at..at + needs], &mut block);
                prop_assert!(block != [0.0; BLOCK], "at {}", at);
                at += needs;
                pace.catch_up(behind);
            }
        }
    }
}
