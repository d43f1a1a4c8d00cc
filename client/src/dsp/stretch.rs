//! Making speech a little shorter or longer without changing its pitch.
//!
//! Waveform-similarity overlap-add, the way that `WebRTC`'s `NetEQ` catches up and falls back: find the distance at which
//! the sound is most like itself, which is a pitch period or several, and fade from the sound into itself that much
//! later, or earlier. What lies between is left out, or comes twice.

/// Samples that are needed at least: 20 ms.
pub const STRETCH_MIN: usize = 960;
/// Samples that sound may be longer by.
pub const STRETCH_ROOM: usize = LONGEST;
/// Samples over which the sound fades into itself (5 ms).
const OVERLAP: usize = 240;
/// The least and the most that is left out: 2.5 to 10 ms, pitches of 100 to 400 Hz and their halves.
const SHORTEST: usize = 120;
const LONGEST: usize = 480;
/// Distances that are tried first are this far apart; then those near the best one.
const STEP: usize = 4;

/// Leaves out up to 10 ms of `samples` in place; says how many are left. At least `likeness` (up to 1) is asked
/// for between what fades out and what fades in; less than that, or less than 20 ms, stays as it is.
pub fn shorten(samples: &mut [f32], likeness: f32) -> usize {
    if samples.len() < STRETCH_MIN { samples.len() } else { shorten_by(samples, likeness, LONGEST) }
}

/// Leaves out at most `most` samples, and no more than 10 ms. Needs 5 ms more than it leaves out; otherwise as
/// [`shorten`].
pub fn shorten_by(samples: &mut [f32], likeness: f32, most: usize) -> usize {
    let most = most.min(LONGEST).min(samples.len().saturating_sub(OVERLAP + 1));
    let Some((from, distance)) = period(samples, likeness, most) else { return samples.len() };
    for n in 0..OVERLAP {
        let share = n as f32 / OVERLAP as f32;
        samples[from + n] = samples[from + n] * (1.0 - share) + samples[from + distance + n] * share;
    }
    samples.copy_within(from + distance + OVERLAP.., from + OVERLAP);
    samples.len() - distance
}

/// Says up to 10 ms of the first `len` of `samples` twice, in place; says how many there are then. What stands behind
/// them is room, [`STRETCH_ROOM`] at least. Otherwise as [`shorten`].
pub fn lengthen(samples: &mut [f32], len: usize, likeness: f32) -> usize {
    if samples.len() < len + STRETCH_ROOM {
        return len;
    }
    let long = if len < STRETCH_MIN { None } else { period(&samples[..len], likeness, LONGEST) };
    let Some((from, distance)) = long else { return len };
    let mut faded = [0.0; OVERLAP];
    for (n, sample) in faded.iter_mut().enumerate() {
        let share = n as f32 / OVERLAP as f32;
        *sample = samples[from + distance + n] * (1.0 - share) + samples[from + n] * share;
    }
    samples.copy_within(from + OVERLAP..len, from + distance + OVERLAP);
    samples[from + distance..from + distance + OVERLAP].copy_from_slice(&faded);
    len + distance
}

/// Where the sound is like itself, and at what distance, which is `most` at most. As late as can be, so that the last
/// sample stays.
fn period(samples: &[f32], likeness: f32, most: usize) -> Option<(usize, usize)> {
    let from = samples.len().checked_sub(most + OVERLAP + 1).filter(|_| most >= SHORTEST)?;
    let alike = |distance: usize| alike(&samples[from..from + OVERLAP], &samples[from + distance..]);
    let best = |distances: &mut dyn Iterator<Item = usize>| {
        distances.map(|distance| (alike(distance), distance)).max_by(|a, b| a.0.total_cmp(&b.0))
    };
    let about = best(&mut (SHORTEST..=most).step_by(STEP)).map_or(SHORTEST, |(_, distance)| distance);
    let near = about.saturating_sub(STEP).max(SHORTEST)..=(about + STEP).min(most);
    let (found, distance) = best(&mut near.into_iter())?;
    (found >= likeness).then_some((from, distance))
}

/// Correlation of `one` with the beginning of `other`; silence is like anything.
fn alike(one: &[f32], other: &[f32]) -> f32 {
    let (mut product, mut first, mut second) = (0.0, 0.0, 0.0);
    for (a, b) in one.iter().zip(other) {
        product += a * b;
        first += a * a;
        second += b * b;
    }
    let energy = (first * second).sqrt();
    if energy > 1e-6 { product / energy } else { 1.0 }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::dsp::tests::voice_like;

    #[test]
    fn a_tone_loses_whole_periods_and_stays_the_tone() {
        let tone = |n: usize| (n as f32 * 200.0 * std::f32::consts::TAU / 48_000.0).sin();
        let mut samples: Vec<f32> = (0..960).map(tone).collect();
        let left = shorten(&mut samples, 0.9);
        let distance = 960 - left;
        assert!(distance == 240 || distance == 480, "{distance}");
        for (n, sample) in samples[..left].iter().enumerate() {
            assert!((sample - tone(n)).abs() < 0.02, "{n}");
        }
    }

    #[test]
    fn a_tone_gains_whole_periods_and_stays_the_tone() {
        let tone = |n: usize| (n as f32 * 200.0 * std::f32::consts::TAU / 48_000.0).sin();
        let mut samples: Vec<f32> = (0..960 + STRETCH_ROOM).map(tone).collect();
        let len = lengthen(&mut samples, 960, 0.9);
        assert!(len == 960 + 240 || len == 960 + 480, "{len}");
        for (n, sample) in samples[..len].iter().enumerate() {
            assert!((sample - tone(n)).abs() < 0.02, "{n}");
        }
    }

    #[test]
    fn a_voice_is_shortened_without_a_click() {
        let voice = voice_like(48_000);
        let steepest =
            |samples: &[f32]| samples.windows(2).map(|pair| (pair[1] - pair[0]).abs()).fold(0.0, f32::max);
        let (mut shortened, mut lengthened) = (0, 0);
        for block in voice.chunks_exact(960) {
            let mut samples = block.to_vec();
            samples.resize(960 + STRETCH_ROOM, 0.0);
            let len = lengthen(&mut samples, 960, 0.7);
            lengthened += usize::from(len > 960);
            assert_eq!((samples[0], samples[len - 1]), (block[0], block[959]));
            assert!(steepest(&samples[..len]) <= steepest(block) * 1.5 + 0.01);
            samples = block.to_vec();
            let left = shorten(&mut samples, 0.7);
            shortened += usize::from(left < 960);
            assert!(left >= 960 - LONGEST);
            assert_eq!((samples[0], samples[left - 1]), (block[0], block[959]));
            assert!(steepest(&samples[..left]) <= steepest(block) * 1.5 + 0.01);
        }
        assert!(shortened >= 40 && lengthened == shortened, "{shortened} and {lengthened} of 50");
    }

    #[test]
    fn what_is_not_like_itself_or_too_short_stays() {
        let mut noise = 1u32;
        let mut samples: Vec<f32> = (0..960)
            .map(|_| {
                noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (noise >> 8) as f32 / 8_388_608.0 - 1.0
            })
            .collect();
        let before = samples.clone();
        assert_eq!(shorten(&mut samples, 0.7), 960);
        assert_eq!(shorten(&mut samples[..959], -1.0), 959);
        assert_eq!(samples, before);
        assert!(shorten(&mut samples, -1.0) < 960);
    }

    proptest! {
        #[test]
        fn any_sound_is_taken(
            samples in proptest::collection::vec(-2.0f32..2.0, 0..3_000),
            likeness in -1.0f32..1.0,
            most in 0usize..1_000,
        ) {
            let mut sound = samples.clone();
            let left = shorten(&mut sound, likeness);
            prop_assert!(left <= samples.len() && samples.len() - left <= LONGEST);
            prop_assert!(sound[..left].iter().all(|sample| sample.abs() <= 2.0));
            let mut sound = samples.clone();
            let left = shorten_by(&mut sound, likeness, most);
            prop_assert!(left <= samples.len() && samples.len() - left <= most.min(LONGEST));
            prop_assert!(sound[..left].iter().all(|sample| sample.abs() <= 2.0));
            let mut sound = samples.clone();
            prop_assert_eq!(lengthen(&mut sound, samples.len(), likeness), samples.len());
            sound.resize(samples.len() + STRETCH_ROOM, 9.0);
            let len = lengthen(&mut sound, samples.len(), likeness);
            prop_assert!(len >= samples.len() && len - samples.len() <= LONGEST);
            prop_assert!(sound[..len].iter().all(|sample| sample.abs() <= 2.0));
        }
    }
}
