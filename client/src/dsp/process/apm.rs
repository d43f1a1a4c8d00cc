//! `WebRTC`'s audio processing, by its port to Rust (sonora): echo cancellation (AEC3), automatic gain (AGC2), high-pass
//! filter.

use sonora::{
    AudioProcessing, Config, StreamConfig,
    config::{AdaptiveDigital, EchoCanceller, GainController2, HighPassFilter, MaxProcessingRate, Pipeline},
};

use super::{PROCESSED, Process};
use crate::dsp::RATE;

/// What the first talk after a start is amplified by, in dB, before anything is known of it: nothing.
const FIRST_GAIN: f32 = 0.0;
/// The most, in dB: a whisper into a laptop.
const MOST_GAIN: f32 = 30.0;

/// What is switched on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Parts {
    pub(super) echo: bool,
    pub(super) high_pass: bool,
    pub(super) gain: bool,
}

pub(super) struct Apm {
    apm: AudioProcessing,
    delay: usize,
}

impl Apm {
    pub(super) fn new(parts: Parts) -> Self {
        let pipeline = Pipeline {
            maximum_internal_processing_rate: MaxProcessingRate::Rate48kHz,
            ..Pipeline::default()
        };
        let gain = AdaptiveDigital {
            initial_gain_db: FIRST_GAIN,
            max_gain_db: MOST_GAIN,
            ..AdaptiveDigital::default()
        };
        let config = Config {
            pipeline,
            high_pass_filter: parts.high_pass.then(HighPassFilter::default),
            echo_canceller: parts.echo.then(EchoCanceller::default),
            gain_controller2: parts
                .gain
                .then(|| GainController2 { adaptive_digital: Some(gain), ..GainController2::default() }),
            ..Config::default()
        };
        let stream = StreamConfig::new(RATE, 1);
        let apm =
            AudioProcessing::builder().config(config).capture_config(stream).render_config(stream).build();
        Self { apm, delay: delay(parts) }
    }
}

/// Measured (`every_part_is_as_late_as_it_says`): splitting sound into bands and putting them together takes 4 ms, echo
/// cancellation 4 ms more. The gain is done without any of it.
fn delay(parts: Parts) -> usize {
    match parts {
        Parts { echo: true, .. } => 406,
        Parts { high_pass: true, .. } => 214,
        _ => 0,
    }
}

impl Process for Apm {
    fn process(&mut self, block: &mut [f32; PROCESSED]) {
        let from = *block;
        // Blocks of 10 ms in the announced format are all that it asks for.
        if self.apm.process_capture_f32(&[&from], &mut [block]).is_err() {
            *block = from;
        }
    }

    fn hear(&mut self, far: &[f32; PROCESSED]) {
        let mut unused = [0.0; PROCESSED];
        let _ = self.apm.process_render_f32(&[far], &mut [&mut unused]);
    }

    fn delay(&self) -> usize {
        self.delay
    }
}
