#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use rtrb::RingBuffer;

use super::*;
use crate::dsp::tests::voice_like;

const SECOND: usize = 48_000;

fn every_setting() -> impl Iterator<Item = Processing> {
    let suppressions = [NoiseSuppression::Off, NoiseSuppression::Light, NoiseSuppression::Strong];
    (0..8).flat_map(move |bits| {
        suppressions.map(|noise_suppression| Processing {
            echo_cancellation: bits & 1 != 0,
            noise_suppression,
            automatic_gain: bits & 2 != 0,
            high_pass: bits & 4 != 0,
        })
    })
}

/// What comes out, with nothing from the speaker.
fn processed(settings: &Processing, sound: &[f32]) -> Vec<f32> {
    let (mut processor, mut out) = (Processor::default(), Vec::new());
    processor.follow(settings, false, &mut Vec::new());
    for piece in sound.chunks(100) {
        processor.process(piece, |samples| out.extend_from_slice(samples));
    }
    out
}

/// In dB.
fn level(sound: &[f32]) -> f32 {
    10.0 * (sound.iter().map(|sample| sample * sample).sum::<f32>() / sound.len() as f32 + 1e-12).log10()
}

/// The best likeness of `said` in `heard`, and how much later it is there.
fn find(said: &[f32], heard: &[f32], latest: usize) -> (f32, usize) {
    let alike = |later: usize| {
        let (mut product, mut first, mut second) = (0.0, 0.0, 1e-9);
        for (a, b) in said.iter().zip(&heard[later..]) {
            product += a * b;
            first += a * a;
            second += b * b;
        }
        product / (first * second).sqrt()
    };
    (0..latest).map(|later| (alike(later), later)).max_by(|a, b| a.0.total_cmp(&b.0)).unwrap()
}

fn noise(count: usize, loud: f32) -> Vec<f32> {
    let mut noise = 1u32;
    (0..count)
        .map(|_| {
            noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            ((noise >> 8) as f32 / 8_388_608.0 - 1.0) * loud
        })
        .collect()
}

#[test]
fn with_everything_off_sound_passes_as_it_is_and_at_once() {
    let sound = voice_like(SECOND);
    assert_eq!(processed(&Processing::OFF, &sound), sound);
    assert_eq!(Processor::default().behind(), 0);
}

#[test]
fn every_part_is_as_late_as_it_says() {
    let sound: Vec<f32> = voice_like(4 * SECOND).iter().map(|sample| sample * 0.5).collect();
    for settings in every_setting() {
        let mut processor = Processor::default();
        processor.follow(&settings, false, &mut Vec::new());
        let told = processor.behind();
        let out = processed(&settings, &sound);
        let (said, heard) = (&sound[3 * SECOND..3 * SECOND + 9_600], &out[3 * SECOND..]);
        let (likeness, later) = find(said, heard, 2_000);
        assert!(likeness > 0.7, "{settings:?}: {likeness}");
        assert!(later.abs_diff(told) <= 24, "{settings:?}: {later} samples, told {told}");
    }
}

#[test]
fn what_the_speaker_plays_does_not_go_back_and_what_is_said_does() {
    let settings = Processing { echo_cancellation: true, ..Processing::OFF };
    let mut processor = Processor::default();
    processor.follow(&settings, false, &mut Vec::new());
    let (mut far, mut heard) = RingBuffer::new(SECOND);
    // Noise in syllables: of a voice that repeats itself no filter can be learnt.
    let played: Vec<f32> = noise(12 * SECOND, 0.4)
        .iter()
        .enumerate()
        .map(|(n, sample)| sample * (0.5 + 0.5 * (n as f32 * 20.0 / SECOND as f32).sin()))
        .collect();
    // The room: two ways, the shorter 40 ms after it was handed to the speaker.
    let echo: Vec<f32> = (0..played.len())
        .map(|n| {
            let at = |back: usize| n.checked_sub(back).map_or(0.0, |at| played[at]);
            0.3 * at(1_920) + 0.1 * at(2_500)
        })
        .collect();
    // From the tenth second on somebody speaks here too, in another voice.
    let near = |n: usize| if n < 10 * SECOND { 0.0 } else { 0.5 * voice_at(n) };
    let mut out = Vec::new();
    for (n, block) in played.chunks_exact(480).enumerate() {
        for sample in block {
            far.push(*sample).unwrap();
        }
        processor.hear(&mut heard);
        let captured: Vec<f32> = (n * 480..(n + 1) * 480).map(|n| echo[n] + near(n)).collect();
        processor.process(&captured, |samples| out.extend_from_slice(samples));
    }
    let between = 6 * SECOND..9 * SECOND;
    let erle = level(&echo[between.clone()]) - level(&out[between]);
    assert!(erle >= 25.0, "{erle} dB");
    let said: Vec<f32> = (11 * SECOND..11 * SECOND + 9_600).map(near).collect();
    let quieter = level(&said) - level(&out[11 * SECOND..11 * SECOND + 9_600]);
    assert!(quieter.abs() < 6.0, "{quieter} dB");
}

/// Another voice than `voice_like`'s.
fn voice_at(n: usize) -> f32 {
    let at = n as f32 / SECOND as f32;
    let pitch = 210.0 * at + 4.0 * (at * 3.3).sin();
    let syllable = 0.5 + 0.5 * (at * 17.0).sin();
    0.4 * syllable * (1..9).map(|k| (pitch * std::f32::consts::TAU * k as f32).sin() / k as f32).sum::<f32>()
}

#[test]
fn noise_is_suppressed_and_the_voice_is_not() {
    let voice = voice_like(8 * SECOND);
    let hiss = noise(8 * SECOND, 0.02);
    // Speech in the even seconds.
    let speaks = |n: usize| (n / SECOND).is_multiple_of(2);
    let sound: Vec<f32> =
        (0..voice.len()).map(|n| hiss[n] + if speaks(n) { 0.3 * voice[n] } else { 0.0 }).collect();
    for noise_suppression in [NoiseSuppression::Light, NoiseSuppression::Strong] {
        let out = processed(&Processing { noise_suppression, ..Processing::OFF }, &sound);
        let (pause, talk) = (5 * SECOND + 9_600..6 * SECOND, 6 * SECOND + 9_600..7 * SECOND);
        let quieter = level(&sound[pause.clone()]) - level(&out[pause]);
        let voice_quieter = level(&sound[talk.clone()]) - level(&out[talk]);
        assert!(quieter - voice_quieter >= 8.0, "{noise_suppression:?}: {quieter} and {voice_quieter} dB");
        assert!(voice_quieter < 3.0, "{noise_suppression:?}: {voice_quieter} dB");
    }
}

#[test]
fn a_soft_voice_gets_louder_and_a_loud_one_does_not_clip() {
    let settings = Processing { automatic_gain: true, ..Processing::OFF };
    let voice = voice_like(12 * SECOND);
    let soft: Vec<f32> = voice.iter().map(|sample| sample * 0.02).collect();
    let last = 10 * SECOND..11 * SECOND;
    let louder = level(&processed(&settings, &soft)[last.clone()]) - level(&soft[last]);
    assert!(louder > 10.0, "{louder} dB");
    let loud: Vec<f32> = voice.iter().map(|sample| sample * 3.0).collect();
    assert!(processed(&settings, &loud).iter().all(|sample| sample.abs() <= 1.0));
}

#[test]
fn switches_take_effect_in_mid_talk_and_lose_nothing_that_came_in() {
    let mut processor = Processor::default();
    let sound = voice_like(SECOND);
    let (mut given, mut taken, mut done) = (0, 0, Vec::new());
    for (n, settings) in every_setting().chain([Processing::OFF]).enumerate() {
        processor.follow(&settings, false, &mut done);
        // What has come out is taken in pieces that are no blocks.
        let count = 1_000 + n * 7;
        processor.process(&sound[..count], |samples| done.extend_from_slice(samples));
        given += count;
        taken += done.drain(..done.len() / 441 * 441).len();
        assert!(processor.behind() < 3 * PROCESSED, "{settings:?}");
        assert_eq!(taken + done.len() + processor.waiting(), given, "{settings:?}");
    }
    assert_eq!(processor.behind(), 0);
}

#[test]
fn a_switch_leaves_what_the_other_parts_have_learnt() {
    let echo = Processing { echo_cancellation: true, ..Processing::OFF };
    let strong = NoiseSuppression::Strong;
    let others = [
        Processing { high_pass: true, ..echo.clone() },
        Processing { automatic_gain: true, ..echo.clone() },
        Processing { noise_suppression: strong, ..echo.clone() },
        Processing { automatic_gain: true, noise_suppression: strong, ..echo.clone() },
    ];
    let played = noise(10 * SECOND, 0.4);
    let (mut processor, mut out) = (Processor::default(), Vec::new());
    let (mut far, mut heard) = RingBuffer::new(SECOND);
    for (n, block) in played.chunks_exact(PROCESSED).enumerate() {
        // Six seconds to learn, and then a switch every tenth of a second.
        let other = others.get((n / 10) % (2 * others.len())).filter(|_| n >= 600);
        processor.follow(other.unwrap_or(&echo), false, &mut out);
        for sample in block {
            far.push(*sample).unwrap();
        }
        processor.hear(&mut heard);
        let back = |at: usize| at.checked_sub(1_920).map_or(0.0, |at| 0.3 * played[at]);
        let captured: Vec<f32> = (n * PROCESSED..(n + 1) * PROCESSED).map(back).collect();
        processor.process(&captured, |samples| out.extend_from_slice(samples));
    }
    let last = out.len() - 3 * SECOND..out.len();
    let erle = level(&played[last.clone()]) - 10.5 - level(&out[last]);
    assert!(erle >= 25.0, "{erle} dB");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn any_sound_stays_a_sound(
        setting in 0usize..24,
        sound in proptest::collection::vec(proptest::num::f32::ANY, 0..2_000),
        far in proptest::collection::vec(-4.0f32..4.0, 0..2_000),
    ) {
        let mut processor = Processor::default();
        processor.follow(&every_setting().nth(setting).unwrap(), false, &mut Vec::new());
        let (mut ring, mut heard) = RingBuffer::new(SECOND);
        for sample in far {
            let _ = ring.push(sample);
        }
        processor.hear(&mut heard);
        let loud: Vec<f32> = sound.iter().map(|sample| sample.clamp(-4.0, 4.0)).collect();
        let worst = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MAX].repeat(200);
        for sound in [&sound, &loud, &worst] {
            processor.process(sound, |samples| drop(samples.to_vec()));
        }
        // Whatever was before, silence becomes a sound that can be heard.
        let mut last = Vec::new();
        for _ in 0..200 {
            processor.process(&[0.0; PROCESSED], |samples| last = samples.to_vec());
        }
        let finite = last.iter().filter(|sample| sample.is_finite()).count();
        prop_assert_eq!(finite, last.len());
    }
}
