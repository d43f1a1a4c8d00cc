//! From any device's rate to 48 kHz and back.
//!
//! Windowed-sinc interpolation (rubato), short for the sake of delay: 1.3 ms at 48 kHz. Takes as many samples as
//! there happen to be, so that nothing waits for a block to fill. Equal rates pass through untouched.

use rubato::{
    Async, FixedAsync, Resampler as _, Resizable, SincInterpolationParameters, SincInterpolationType,
    WindowFunction, audioadapter_buffers::direct::SequentialSlice,
};

use crate::audio::{MAX_RATE, MIN_RATE};

/// Samples that go in at once; more are taken in several goes.
const CHUNK: usize = 512;
/// Points of the filter, over the slower of the two rates.
const TAPS: usize = 64;

/// Resamples one mono stream. Allocates nothing after it is made.
pub struct Resampler {
    /// `None`: the rates are the same.
    inner: Option<(Async<f32>, Vec<f32>)>,
    ratio: f64,
}

impl Resampler {
    /// From one rate to another, in Hz; rates out of 8 to 192 kHz are taken as the nearest one in it.
    pub fn new(from: u32, to: u32) -> Self {
        let (from, to) = (from.clamp(MIN_RATE, MAX_RATE), to.clamp(MIN_RATE, MAX_RATE));
        let ratio = f64::from(to) / f64::from(from);
        let inner = (from != to).then(|| {
            // Going down, the filter has to be as long in the slower rate's time.
            let taps = (TAPS as f64 * (1.0 / ratio).max(1.0)).ceil() as usize;
            let parameters =
                SincInterpolationParameters::new(taps.next_multiple_of(8), WindowFunction::BlackmanHarris2)
                    .oversampling_factor(128)
                    .interpolation(SincInterpolationType::Linear);
            let inner = Async::new_sinc(ratio, 1.0, &parameters, CHUNK, 1, FixedAsync::Input)
                .expect("ratio, chunk and channels are in range");
            let room = vec![0.0; inner.output_frames_max()];
            (inner, room)
        });
        Self { inner, ratio }
    }

    /// Samples out for each sample in.
    pub fn ratio(&self) -> f64 {
        self.ratio
    }

    /// How much later a sample comes out than it went in, in samples of the output's rate.
    pub fn delay(&self) -> f64 {
        self.inner.as_ref().map_or(0.0, |(inner, _)| inner.output_delay() as f64)
    }

    /// Takes in `input` and hands what comes out to `output`, in one or more pieces.
    pub fn process(&mut self, input: &[f32], mut output: impl FnMut(&[f32])) {
        let Some((inner, room)) = &mut self.inner else {
            output(input);
            return;
        };
        for chunk in input.chunks(CHUNK) {
            inner.set_chunk_size(chunk.len()).expect("a chunk has 1 to CHUNK samples");
            let frames = room.len();
            let from = SequentialSlice::new(chunk, 1, chunk.len()).expect("one channel of its own length");
            let mut to = SequentialSlice::new_mut(room.as_mut_slice(), 1, frames)
                .expect("one channel of its own length");
            let (_, written) =
                inner.process_into_buffer(&from, &mut to, None).expect("the buffers have room");
            output(&room[..written]);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn run(from: u32, to: u32, input: &[f32], mut next_len: impl FnMut() -> usize) -> Vec<f32> {
        let (mut resampler, mut out, mut rest) = (Resampler::new(from, to), Vec::new(), input);
        while !rest.is_empty() {
            let (now, later) = rest.split_at(next_len().clamp(1, rest.len()));
            resampler.process(now, |samples| out.extend_from_slice(samples));
            rest = later;
        }
        out
    }

    fn tone(rate: u32, hertz: f32, count: usize) -> Vec<f32> {
        (0..count)
            .map(|n| {
                0.5 * (n as f64 * f64::from(hertz) * std::f64::consts::TAU / f64::from(rate)).sin() as f32
            })
            .collect()
    }

    #[test]
    fn a_tone_stays_the_tone_delayed_as_told_at_every_rate() {
        for rate in [8_000, 11_025, 16_000, 22_050, 32_000, 44_100, 44_101, 48_000, 88_200, 96_000, 192_000] {
            for (from, to) in [(rate, 48_000), (48_000, rate)] {
                let heard = run(from, to, &tone(from, 1_000.0, from as usize / 5), || 441);
                let delay = Resampler::new(from, to).delay();
                assert!(delay / f64::from(to) < 0.0045, "{from} → {to}: delay {delay}");
                let error = (to as usize / 20..heard.len())
                    .map(|n| {
                        let at = (n as f64 - delay) / f64::from(to);
                        (f64::from(heard[n]) - 0.5 * (at * 1_000.0 * std::f64::consts::TAU).sin()).abs()
                    })
                    .fold(0.0, f64::max);
                // Half a sample of rounding in the told delay is 0.065 of a 1 kHz tone's swing a sample at 8 kHz.
                let bound = 0.5 * (1_000.0 * std::f64::consts::TAU / f64::from(to)) + 0.005;
                assert!(error < bound, "{from} → {to}: off by {error}, bound {bound}");
            }
        }
    }

    #[test]
    fn what_is_above_the_lower_rate_is_filtered_out() {
        let heard = run(48_000, 16_000, &tone(48_000, 12_000.0, 9_600), || 480);
        let peak = crate::dsp::peak(&heard[800..]);
        assert!(peak < 0.001, "{peak}");
    }

    #[test]
    fn equal_rates_pass_untouched() {
        let input = tone(48_000, 440.0, 5_000);
        assert_eq!(run(48_000, 48_000, &input, || 333), input);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn the_result_does_not_depend_on_how_the_input_is_cut(
            lengths in proptest::collection::vec(1usize..1_200, 1..40),
            pair in proptest::sample::select(vec![(44_100, 48_000), (48_000, 44_100), (8_000, 48_000), (48_000, 8_000), (96_000, 48_000)]),
        ) {
            let input = tone(pair.0, 700.0, 12_000);
            let whole = run(pair.0, pair.1, &input, || 512);
            let mut at = 0;
            let cut = run(pair.0, pair.1, &input, || { at += 1; lengths[at % lengths.len()] });
            prop_assert!(whole.len().abs_diff(cut.len()) <= 1, "{} and {}", whole.len(), cut.len());
            let worst = whole.iter().zip(&cut).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            prop_assert!(worst < 1e-4, "{}", worst);
            let expected = input.len() as f64 * f64::from(pair.1) / f64::from(pair.0);
            prop_assert!((whole.len() as f64 - expected).abs() <= 2.0 + 130.0 * f64::from(pair.1) / f64::from(pair.0).min(f64::from(pair.1)) );
        }
    }
}
