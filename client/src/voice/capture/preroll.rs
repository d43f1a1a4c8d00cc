//! What was captured just before a burst that a voice has begun: it has spoken for a moment before anything can know.
//!
//! The burst begins with it, and so is some time behind what is captured. It catches up by saying what sounds like
//! itself once instead of twice, now and then, so that nobody hears it; in a pause at once.

use crate::dsp::{STRETCH_MIN, dbfs, peak, shorten_by};

/// What a burst begins with at most: 160 ms, in samples. `RNNoise` is sure of nineteen in
/// twenty voices after 115 ms.
const PRE_ROLL: usize = 7_680;
/// And at least, where a voice does not stand out at once: 80 ms.
const LEAST: usize = 3_840;
/// What is kept, to know how quiet it is while nobody speaks: 400 ms.
const KEPT: usize = 19_200;
/// Sound is looked at in pieces of 5 ms.
const PIECE: usize = 240;
/// A voice is this much more powerful (4 dB) than the quietest quarter of what is kept; less than -80 dBFS is nothing.
const LOUDER: f32 = 2.5;
const NOTHING: f32 = 1e-8;
/// It has begun a little before it is: 10 ms.
const BEFORE: usize = 480;
/// What is sent as it is between two pieces that are shortened: 20 ms, in samples.
const BETWEEN: usize = 960;
/// Likeness that is enough to shorten a voice.
const ALIKE: f32 = 0.6;
/// What is quieter than this, in dBFS, is a pause.
const PAUSE: f32 = -50.0;

/// The last sound that was not sent, and how much of it a burst has still to catch up.
#[derive(Default)]
pub(super) struct PreRoll {
    kept: Vec<f32>,
    behind: usize,
    /// Samples that were sent since something was shortened.
    since: usize,
}

impl PreRoll {
    /// Samples that what is sent is behind what would be sent without.
    pub(super) fn behind(&self) -> usize {
        self.behind
    }

    /// Keeps sound that is not sent.
    pub(super) fn keep(&mut self, samples: &[f32]) {
        self.kept.extend_from_slice(samples);
        self.kept.drain(..self.kept.len().saturating_sub(KEPT));
    }

    /// Forgets what was kept.
    pub(super) fn forget(&mut self) {
        self.kept.clear();
    }

    /// A burst begins: with the part of what was kept that may be the voice, before what is `pending`.
    pub(super) fn begin(&mut self, pending: &mut Vec<f32>) {
        let from = self.onset();
        (self.behind, self.since) = (self.kept.len() - from, 0);
        pending.splice(..0, self.kept.drain(..).skip(from));
    }

    /// Where the voice begins in what is kept.
    fn onset(&self) -> usize {
        let count = self.kept.len();
        // The newest piece ends where the kept sound does.
        let first = count % PIECE;
        let power = |piece: &[f32]| piece.iter().map(|sample| sample * sample).sum::<f32>() / PIECE as f32;
        let powers: Vec<f32> = self.kept[first..].chunks_exact(PIECE).map(power).collect();
        let mut sorted = powers.clone();
        sorted.sort_by(f32::total_cmp);
        let quiet = sorted.get(sorted.len() / 4).map_or(NOTHING, |quiet| quiet.max(NOTHING));
        let (earliest, latest) = (count.saturating_sub(PRE_ROLL), count.saturating_sub(LEAST));
        let skipped = earliest.saturating_sub(first) / PIECE;
        let loud = powers.iter().skip(skipped).position(|power| *power > quiet * LOUDER);
        let begins = loud.map_or(latest, |at| first + (skipped + at) * PIECE);
        begins.saturating_sub(BEFORE).clamp(earliest, latest)
    }

    /// The first `samples` of what is `pending` are about to be sent: shortens them if that is due.
    pub(super) fn catch_up(&mut self, pending: &mut Vec<f32>, samples: usize) {
        let window = pending.len().min(STRETCH_MIN.max(samples));
        let pause = dbfs(peak(&pending[..window])) < PAUSE;
        self.since += samples;
        if self.behind == 0 || !pause && self.since <= BETWEEN {
            return;
        }
        let likeness = if pause { -1.0 } else { ALIKE };
        let left = shorten_by(&mut pending[..window], likeness, self.behind);
        if left < window {
            pending.drain(left..window);
            self.behind -= window - left;
            self.since = 0;
        }
    }

    /// Nothing is sent any more; what a burst has not caught up begins the next one, if that comes at once.
    pub(super) fn end(&mut self, pending: &mut Vec<f32>) {
        self.kept.extend(pending.drain(..std::mem::take(&mut self.behind)));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_burst_always_has_its_frames_and_catches_up_in_silence(
            bursts in proptest::collection::vec((0usize..20, 0usize..6, -1.0f32..1.0), 1..20),
        ) {
            let (mut pre_roll, mut pending) = (PreRoll::default(), Vec::new());
            for (frames, duration, loud) in bursts {
                let samples = [120, 240, 480, 960, 1_920, 2_880][duration];
                for _ in 0..frames {
                    let frame: Vec<f32> = (0..samples).map(|n| loud * (n as f32 * 0.01).sin()).collect();
                    pre_roll.keep(&frame);
                    prop_assert!(pre_roll.kept.len() <= KEPT);
                }
                pending.extend(std::iter::repeat_n(loud, samples));
                pre_roll.begin(&mut pending);
                for _ in 0..frames {
                    pre_roll.catch_up(&mut pending, samples);
                    prop_assert_eq!(pending.len() - pre_roll.behind(), samples);
                    prop_assert!(pending.iter().all(|sample| sample.abs() <= loud.abs() + 1e-6));
                    pending.drain(..samples);
                    pending.extend(std::iter::repeat_n(loud, samples));
                }
                for _ in 0..1_000 {
                    pending.drain(..samples);
                    pending.extend(std::iter::repeat_n(0.0, samples));
                    pre_roll.catch_up(&mut pending, samples);
                }
                // What is left is too little to be left out.
                let little = if samples < 240 { 240 } else { 120 };
                prop_assert!(pre_roll.behind() <= little, "{}", pre_roll.behind());
                pending.drain(..samples);
                pre_roll.end(&mut pending);
                prop_assert!(pending.is_empty() && pre_roll.behind() == 0);
            }
        }
    }
}
