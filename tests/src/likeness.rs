//! How like two recordings are: whether what was heard is what was said.
//!
//! The delay is where their cross-correlation (by FFT) is highest. The likeness is computed from windows of
//! 100 ms of what was said, silent ones left out: the highest correlation coefficient of each with what was
//! heard within ± 40 ms of the delay (a jitter buffer may move between two talks), and the mean of these,
//! weighted by the energy of each window. 1 is the same sound, 0 is any other sound. Opus at 40 kbit/s keeps
//! the form of the wave and scores above 0.9; another sentence of the same voice stays below 0.3.

use rustfft::{FftPlanner, num_complex::Complex32};

/// Both recordings are at this rate, in Hz.
pub const RATE: usize = 48_000;
const WINDOW: usize = RATE / 10;
const WANDER: i64 = RATE as i64 * 40 / 1_000;
/// A window that is quieter than the loudest by more than this factor in energy is silence (40 dB).
const SILENCE: f32 = 1e-4;

/// Where there is less of a piece's energy than this, the FFT's rounding is all that is left of it (80 dB).
const ROUNDING: f64 = 1e-8;

/// What the comparison found.
#[derive(Clone, Copy, Debug)]
pub struct Likeness {
    /// How much later a sound stands in what was heard, in samples; negative: earlier.
    pub delay: i64,
    /// From 0 to 1.
    pub likeness: f32,
}

/// Compares what was said with what was heard.
pub fn compare(said: &[f32], heard: &[f32]) -> Likeness {
    let delay = delay(said, heard);
    let mut planner = FftPlanner::new();
    let energy = |window: &[f32]| window.iter().map(|sample| sample * sample).sum::<f32>();
    let loudest = said.chunks_exact(WINDOW).map(energy).fold(0.0, f32::max);
    let (mut sum, mut weight) = (0.0, 0.0);
    for (number, window) in said.chunks_exact(WINDOW).enumerate() {
        let own = energy(window);
        if own <= loudest * SILENCE {
            continue;
        }
        let first = (number * WINDOW) as i64 + delay - WANDER;
        let around: Vec<f32> = (first..first + 2 * WANDER + WINDOW as i64)
            .map(|at| usize::try_from(at).ok().and_then(|at| heard.get(at)).copied().unwrap_or(0.0))
            .collect();
        sum += best_coefficient(window, own, &around, &mut planner) * own;
        weight += own;
    }
    Likeness { delay, likeness: if weight > 0.0 { sum / weight } else { 0.0 } }
}

/// The highest correlation coefficient of a window with a piece, wherever it is laid on it.
fn best_coefficient(window: &[f32], own: f32, around: &[f32], planner: &mut FftPlanner<f32>) -> f32 {
    let products = correlation(window, around, planner);
    // Of the first so many samples.
    let energies: Vec<f64> = std::iter::once(0.0)
        .chain(around.iter().scan(0.0, |sum, sample| {
            *sum += f64::from(sample * sample);
            Some(*sum)
        }))
        .collect();
    (0..=around.len() - window.len())
        .map(|shift| {
            let other = energies[shift + window.len()] - energies[shift];
            if other <= energies[around.len()] * ROUNDING {
                return 0.0;
            }
            products[shift].re / (own * other as f32).sqrt()
        })
        .fold(0.0, f32::max)
}

/// Where `said` is found in `heard`, in samples.
pub fn delay(said: &[f32], heard: &[f32]) -> i64 {
    let product = correlation(said, heard, &mut FftPlanner::new());
    let size = product.len();
    let best =
        product.iter().enumerate().max_by(|(_, a), (_, b)| a.re.total_cmp(&b.re)).map_or(0, |(at, _)| at);
    // The second half of the circle are negative delays.
    if best > size / 2 { best as i64 - size as i64 } else { best as i64 }
}

/// Their circular cross-correlation, of a size that has room for both.
fn correlation(said: &[f32], heard: &[f32], planner: &mut FftPlanner<f32>) -> Vec<Complex32> {
    let size = (said.len() + heard.len()).next_power_of_two();
    let spectrum = |samples: &[f32], planner: &mut FftPlanner<f32>| {
        let mut buffer: Vec<_> = samples.iter().map(|sample| Complex32::new(*sample, 0.0)).collect();
        buffer.resize(size, Complex32::default());
        planner.plan_fft_forward(size).process(&mut buffer);
        buffer
    };
    let said = spectrum(said, planner);
    // The library does not divide by the size.
    let scale = 1.0 / size as f32;
    let mut product: Vec<_> =
        spectrum(heard, planner).iter().zip(&said).map(|(heard, said)| heard * said.conj() * scale).collect();
    planner.plan_fft_inverse(size).process(&mut product);
    product
}

/// Loudness of a recording: root mean square.
pub fn rms(samples: &[f32]) -> f32 {
    (samples.iter().map(|sample| sample * sample).sum::<f32>() / samples.len().max(1) as f32).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::speech;

    fn noise(length: usize) -> Vec<f32> {
        let mut state = 1u32;
        (0..length)
            .map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (state >> 8) as f32 / (1 << 24) as f32 - 0.5
            })
            .collect()
    }

    #[test]
    fn the_same_later_and_softer_is_the_same() {
        let said = speech::speech();
        let mut heard = vec![0.0; 12_345];
        heard.extend(said.iter().map(|sample| sample * 0.3));
        let found = compare(&said, &heard);
        assert_eq!(found.delay, 12_345);
        assert!(found.likeness > 0.999, "{found:?}");
        assert_eq!(compare(&heard, &said).delay, -12_345);
    }

    #[test]
    fn another_sentence_noise_and_silence_are_not() {
        let said = speech::speech();
        let reversed: Vec<_> = said.iter().rev().copied().collect();
        for other in [reversed, noise(said.len()), vec![0.0; said.len()]] {
            let found = compare(&said, &other);
            assert!(found.likeness < 0.4, "{found:?}");
        }
    }
}
