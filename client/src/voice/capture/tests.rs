#![allow(clippy::unwrap_used)]

use std::sync::{Mutex, PoisonError};

use voip_protocol::voice::Code;

use super::*;
use crate::{
    Processing, TalkMode, VoiceSettings,
    audio::{Backend, Scripted, Stamp},
    dsp::{Decoder, Gather, RATE, SharePacket, peak, tests::voice_like},
};

/// A frame that was sent.
#[derive(Clone, Debug)]
struct Sent {
    payload: Vec<u8>,
    share: Option<Share>,
    captured_at: Instant,
    duration: FrameDuration,
    first: bool,
    last: bool,
}

#[derive(Clone, Default)]
struct Recorder(Arc<Mutex<Vec<Sent>>>);

impl PacketSink for Recorder {
    fn packet(&mut self, packet: EncodedPacket<'_>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(Sent {
            payload: packet.payload.to_vec(),
            share: packet.share,
            captured_at: packet.captured_at,
            duration: packet.duration,
            first: packet.first_of_burst,
            last: packet.last_of_burst,
        });
    }
}

impl Recorder {
    fn take(&self) -> Vec<Sent> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn count(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}

struct Bench {
    line: CaptureLine,
    recorder: Recorder,
    controls: Arc<CaptureControls>,
    rate: u32,
    start: Instant,
    position: u64,
}

impl Bench {
    fn new(rate: u32, mode: TalkMode) -> Self {
        let settings =
            VoiceSettings { mode, release_delay: 0, processing: Processing::OFF, ..VoiceSettings::default() };
        let (controls, recorder) = (Arc::new(CaptureControls::new(settings)), Recorder::default());
        let mut line = CaptureLine::new(Box::new(recorder.clone()), controls.clone());
        line.opened(rate);
        Self { line, recorder, controls, rate, start: Instant::now(), position: 0 }
    }

    /// When a sample was in the air.
    fn time_of(&self, position: u64) -> Instant {
        self.start + Duration::from_nanos(position * 1_000_000_000 / u64::from(self.rate))
    }

    fn hear(&mut self, samples: &[f32]) {
        for block in samples.chunks(self.rate as usize / 100) {
            self.line.stamp(Stamp { position: self.position, captured_at: self.time_of(self.position) });
            self.line.samples(block);
            self.position += block.len() as u64;
        }
    }
}

fn apart(a: Instant, b: Instant) -> Duration {
    a.max(b) - a.min(b)
}

#[test]
fn a_burst_has_one_first_and_one_last_frame_and_exact_times() {
    for rate in [48_000, 44_100, 16_000] {
        let mut bench = Bench::new(rate, TalkMode::PushToTalk);
        bench.hear(&vec![0.1; rate as usize / 2]);
        assert_eq!(bench.recorder.count(), 0);
        for _ in 0..3 {
            bench.controls.set_key(true);
            let pressed_at = bench.time_of(bench.position);
            bench.hear(&vec![0.1; rate as usize / 2]);
            assert!(bench.controls.transmitting());
            bench.controls.set_key(false);
            bench.hear(&vec![0.1; rate as usize / 4]);
            assert!(!bench.controls.transmitting());
            let sent = bench.recorder.take();
            assert!((49..=52).contains(&sent.len()), "{}", sent.len());
            assert!(sent[0].first && sent.iter().skip(1).all(|frame| !frame.first));
            assert!(sent.last().unwrap().last && sent.iter().rev().skip(1).all(|frame| !frame.last));
            // The frame that was being filled when the key went down is part of the burst; and what the encoder looks
            // ahead by comes first.
            assert!(apart(sent[0].captured_at, pressed_at) <= Duration::from_micros(19_500), "{rate}");
            for pair in sent.windows(2) {
                let step = pair[1].captured_at - pair[0].captured_at;
                assert!(
                    apart(pair[0].captured_at + step, pair[0].captured_at + Duration::from_millis(10))
                        .as_nanos()
                        <= 1
                );
            }
        }
    }
}

#[test]
fn captured_at_is_the_time_of_the_sample_at_every_rate() {
    for rate in [48_000, 44_100, 16_000, 96_000] {
        let mut bench = Bench::new(rate, TalkMode::Continuous);
        // A click half a second in: where it is in what was sent tells when that sample was captured.
        let mut sound = vec![0.0; rate as usize];
        let at = sound.len() / 2;
        sound[at..at + rate as usize / 2_000].fill(0.9);
        bench.hear(&sound);
        let mut decoder = Decoder::new().unwrap();
        let (mut heard, sent) = (Vec::new(), bench.recorder.take());
        for frame in &sent {
            let mut samples = vec![0.0; frame.duration.samples()];
            decoder.decode(&frame.payload, frame.duration, &mut samples).unwrap();
            heard.extend(samples);
        }
        let top = peak(&heard);
        let loudest = heard.iter().position(|sample| sample.abs() >= top).unwrap();
        let told = sent[loudest / 480].captured_at
            + Duration::from_nanos((loudest % 480) as u64 * 1_000_000_000 / 48_000);
        assert!(apart(told, bench.time_of(at as u64)) < Duration::from_millis(1), "{rate}");
    }
}

#[test]
fn a_gap_in_the_device_moves_the_times_within_a_burst() {
    let mut bench = Bench::new(48_000, TalkMode::Continuous);
    bench.hear(&[0.1; 24_000]);
    bench.start += Duration::from_millis(100);
    bench.hear(&[0.1; 24_000]);
    let sent = bench.recorder.take();
    let gaps =
        sent.windows(2).filter(|pair| pair[1].captured_at - pair[0].captured_at > Duration::from_millis(11));
    assert_eq!((gaps.count(), sent.iter().filter(|frame| frame.first).count()), (1, 1));
    let (first, last) = (&sent[0], sent.last().unwrap());
    let expected = Duration::from_millis(100 + 10 * (sent.len() as u64 - 1));
    assert!(apart(last.captured_at, first.captured_at + expected) < Duration::from_millis(1));
}

#[test]
fn a_lost_device_ends_its_burst_with_silence() {
    let mut bench = Bench::new(48_000, TalkMode::Continuous);
    bench.hear(&voice_like(9_600));
    bench.line.closed();
    bench.line.closed();
    let sent = bench.recorder.take();
    assert_eq!((sent.len(), sent.iter().filter(|frame| frame.last).count()), (21, 1));
    assert!(sent.last().unwrap().last && !bench.controls.transmitting());
    assert_eq!(sent[20].captured_at - sent[19].captured_at, Duration::from_millis(10));
    // What comes from the next device is a new burst.
    bench.line.opened(48_000);
    bench.hear(&voice_like(960));
    assert!(bench.recorder.take()[0].first);
}

#[test]
fn a_mute_lets_out_no_sound() {
    let mut bench = Bench::new(48_000, TalkMode::Continuous);
    bench.hear(&[0.0; 4_800]);
    bench.controls.set_muted(true);
    bench.hear(&voice_like(4_800));
    let sent = bench.recorder.take();
    assert_eq!(sent.len(), 11);
    let mut decoder = Decoder::new().unwrap();
    let mut samples = [0.0; 480];
    for frame in sent {
        decoder.decode(&frame.payload, frame.duration, &mut samples).unwrap();
        assert!(peak(&samples) < 1e-3);
    }
    // The meter goes on.
    assert!(bench.controls.take_level() > -20.0);
    assert_eq!(bench.controls.take_level(), crate::dsp::FLOOR);
}

#[test]
fn taps_are_heard_but_not_those_from_before_the_device() {
    let mut bench = Bench::new(48_000, TalkMode::PushToTalk);
    bench.controls.set_settings(VoiceSettings {
        release_delay: 50,
        processing: Processing::OFF,
        ..VoiceSettings::default()
    });
    bench.controls.set_key(true);
    bench.controls.set_key(false);
    bench.hear(&[0.1; 9_600]);
    assert_eq!(bench.recorder.take().len(), 6);
    bench.line.closed();
    bench.controls.set_key(true);
    bench.controls.set_key(false);
    bench.line.opened(48_000);
    bench.hear(&[0.1; 9_600]);
    assert_eq!(bench.recorder.count(), 0);
}

#[test]
fn the_duration_changes_between_bursts_and_the_bit_rate_with_them() {
    let mut bench = Bench::new(48_000, TalkMode::PushToTalk);
    for duration in FrameDuration::ALL {
        bench.controls.set_frame_duration(duration);
        bench.controls.set_key(true);
        bench.hear(&voice_like(9_600));
        bench.controls.set_frame_duration(FrameDuration::Ms10);
        bench.hear(&voice_like(9_600));
        bench.controls.set_key(false);
        bench.hear(&voice_like(9_600));
        let sent = bench.recorder.take();
        assert!(sent.iter().all(|frame| frame.duration == duration), "{duration:?}");
        let expected = 19_200 / duration.samples();
        assert!(sent.len().abs_diff(expected) <= 2, "{duration:?}: {}", sent.len());
        let bytes = 40_000 * duration.samples() / 48_000 / 8;
        assert!(
            sent.iter().all(|frame| frame.payload.len().abs_diff(bytes) <= 2),
            "{duration:?}: {}",
            sent[0].payload.len()
        );
    }
}

/// What the packets with shares give back: when each frame was captured, and the frame.
fn gathered(sent: &[Sent]) -> Vec<(u32, Vec<u8>)> {
    let (mut gather, mut frames) = (Gather::default(), Vec::new());
    let start = sent[0].captured_at;
    for (sequence, packet) in sent.iter().enumerate() {
        let packet = SharePacket {
            share: packet.share.unwrap(),
            sequence: sequence as u32,
            capture_time: crate::voice::ticks(packet.captured_at - start),
            last_of_burst: packet.last,
            payload: &packet.payload,
        };
        assert!(gather.insert(&packet, |frame| frames.push((frame.capture_time, frame.opus.to_vec()))));
    }
    frames
}

#[test]
fn protected_frames_go_out_in_shares_at_their_times() {
    for code in Code::ALL {
        let mut bench = Bench::new(48_000, TalkMode::PushToTalk);
        bench.controls.set_code(Some(code));
        assert_eq!(bench.controls.code(), Some(code));
        bench.controls.set_key(true);
        // Bit by bit: how many packets there are after each millisecond.
        let (sound, mut counts) = (voice_like(19_200), Vec::new());
        for piece in sound.chunks(48) {
            bench.hear(piece);
            counts.push(bench.recorder.count());
        }
        let due = |ms: usize| {
            let after = (ms * 48).checked_sub(960);
            after.map_or(0, |after| {
                let due = (0..code.packets()).filter(|share| code.sent_after(*share) <= after % 960).count();
                after / 960 * code.packets() + due
            })
        };
        assert_eq!(counts, (1..=400).map(due).collect::<Vec<_>>());
        bench.controls.set_key(false);
        bench.hear(&voice_like(9_600));
        let sent = bench.recorder.take();
        // The release takes a frame more, whose shares come all at once.
        assert_eq!(sent.len(), 20 * code.packets() + code.shares());
        assert!(sent.iter().all(|packet| packet.share.is_some_and(|share| share.code == code)));
        let marks = |mark: fn(&Sent) -> bool| sent.iter().filter(|packet| mark(packet)).count();
        assert_eq!((marks(|packet| packet.first), marks(|packet| packet.last)), (1, code.shares()));
        assert!(sent[0].first && sent.last().unwrap().last);
        let bytes: usize = sent[..20 * code.packets()].iter().map(|packet| packet.payload.len()).sum();
        assert!((38_000..=40_000).contains(&(bytes * 8 * 1_000 / 400)), "{bytes}");
        let frames = gathered(&sent);
        assert_eq!(frames.len(), 21);
        let mut decoder = Decoder::new().unwrap();
        for (n, (captured, opus)) in frames.iter().enumerate() {
            assert_eq!(*captured, n as u32 * 960);
            decoder.decode(opus, FrameDuration::Ms20, &mut [0.0; 960]).unwrap();
        }
    }
}

#[test]
fn protection_changes_within_a_burst_and_every_sample_is_sent_once() {
    let mut bench = Bench::new(48_000, TalkMode::Continuous);
    let changes = [None, Some(Code::TwoOfFour), Some(Code::ThreeOfEight), None, Some(Code::ThreeOfEight)];
    for code in changes {
        bench.controls.set_code(code);
        bench.hear(&voice_like(20_640));
    }
    bench.line.closed();
    let sent = bench.recorder.take();
    let marks = |mark: fn(&Sent) -> bool| sent.iter().filter(|packet| mark(packet)).count();
    assert_eq!((marks(|packet| packet.first), marks(|packet| packet.last)), (1, Code::ThreeOfEight.shares()));
    // Each frame begins where the one before it ended, whatever way it went.
    let mut frames: Vec<(Instant, FrameDuration)> =
        sent.iter().map(|packet| (packet.captured_at, packet.duration)).collect();
    frames.dedup();
    // Behind the last frame there is one that is none.
    frames.pop();
    for pair in frames.windows(2) {
        assert_eq!(pair[1].0 - pair[0].0, Duration::from_micros(pair[0].1.samples() as u64 * 1_000 / 48));
    }
    let sound: usize = frames.iter().map(|(_, duration)| duration.samples()).sum();
    // The frame of silence at the end is made of what was no whole frame.
    assert!(sound.abs_diff(5 * 20_640) <= 960, "{sound}");
}

/// Every kind of part, alone and together.
fn processings() -> [Processing; 4] {
    let (echo, gain) = (
        Processing { echo_cancellation: true, ..Processing::OFF },
        Processing { automatic_gain: true, ..Processing::OFF },
    );
    let strong = Processing { noise_suppression: crate::NoiseSuppression::Strong, ..Processing::OFF };
    [echo, gain, strong, Processing::default()]
}

impl Bench {
    fn switch(&self, processing: &Processing) {
        let settings = VoiceSettings::clone(&self.controls.settings());
        self.controls.set_settings(VoiceSettings { processing: processing.clone(), ..settings });
    }
}

/// What a listener hears of one burst of frames, and of each sample when it was in the air.
fn decoded(sent: &[Sent]) -> Vec<(Instant, f32)> {
    let mut decoder = Decoder::new().unwrap();
    let mut heard = Vec::new();
    for frame in sent {
        let mut samples = vec![0.0; frame.duration.samples()];
        decoder.decode(&frame.payload, frame.duration, &mut samples).unwrap();
        let time = |n: usize| frame.captured_at + Duration::from_nanos(n as u64 * 1_000_000_000 / 48_000);
        heard.extend(samples.into_iter().enumerate().map(|(n, sample)| (time(n), sample)));
    }
    heard
}

fn loudest(heard: &[(Instant, f32)]) -> f32 {
    heard.iter().map(|(_, sample)| sample.abs()).fold(0.0, f32::max)
}

/// Somebody who sings another note every 50 ms: no two moments are alike.
fn melody(count: usize) -> Vec<f32> {
    let (mut phase, mut dice, mut pitch) = (0.0f32, 1u32, 0.0f32);
    (0..count)
        .map(|n| {
            if n % 2_400 == 0 {
                dice = dice.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                pitch = 150.0 + (dice >> 8) as f32 / 16_777_216.0 * 200.0;
            }
            phase = (phase + pitch / 48_000.0).fract();
            (1..12).map(|k| (phase * std::f32::consts::TAU * k as f32).sin() / k as f32).sum::<f32>() * 0.2
        })
        .collect()
}

/// By how much the times of what is heard are wrong: where it is most like `said`, of which the first sample was in the
/// air at `start`.
fn wrong_by(heard: &[(Instant, f32)], said: &[f32], start: Instant) -> Duration {
    let alike = |at: usize| -> f32 {
        let energy: f32 = said[at..at + heard.len()].iter().map(|sample| sample * sample).sum();
        heard.iter().zip(&said[at..]).map(|((_, heard), said)| heard * said).sum::<f32>() / energy.sqrt()
    };
    let told = (heard[0].0 - start).as_secs_f64() * 48_000.0;
    let around = told as usize - 1_440..told as usize + 1_440;
    let found = around.max_by(|a, b| alike(*a).total_cmp(&alike(*b))).unwrap();
    Duration::from_secs_f64((found as f64 - told).abs() / 48_000.0)
}

#[test]
fn processed_sound_is_sent_with_its_times_and_in_any_pieces() {
    for (processing, piece) in processings().into_iter().zip([480, 441, 7, 1_024]) {
        let mut bench = Bench::new(48_000, TalkMode::Continuous);
        bench.switch(&processing);
        let said = melody(96_000);
        for piece in said.chunks(piece) {
            bench.hear(piece);
        }
        let sent = bench.recorder.take();
        let behind = bench.line.behind();
        assert!(sent.len() * 480 + 480 + behind >= said.len(), "{processing:?}: {}", sent.len());
        let wrong = wrong_by(&decoded(&sent)[48_000..57_600], &said, bench.start);
        // The high-pass filter moves the low tones a little.
        assert!(wrong < Duration::from_millis(2), "{processing:?}: {wrong:?}");
    }
}

#[test]
fn a_switch_in_mid_burst_moves_the_times_with_the_sound() {
    let said = melody(480_000);
    let mut bench = Bench::new(48_000, TalkMode::Continuous);
    let on = processings();
    // Half a second of each, and of nothing at all between them; a switch never comes with a whole frame.
    let turns = on.iter().flat_map(|processing| [&Processing::OFF, processing]).chain([&Processing::OFF]);
    let (mut at, mut given) = (Vec::new(), 0);
    for processing in turns {
        bench.switch(processing);
        for piece in said[given..given + 24_100].chunks(100) {
            bench.hear(piece);
        }
        given += 24_100;
        at.push(bench.recorder.count());
        // Nothing waits for longer than it must: less than a frame, and what the parts are behind.
        assert!(bench.line.pending.len() < 480, "{processing:?}: {}", bench.line.pending.len());
    }
    let sent = bench.recorder.take();
    assert_eq!(sent.iter().filter(|frame| frame.first).count(), 1);
    let heard = decoded(&sent);
    for end in at {
        let wrong = wrong_by(&heard[(end - 20) * 480..end * 480], &said, bench.start);
        // The high-pass filter moves the low tones a little.
        assert!(wrong < Duration::from_millis(2), "frame {end}: {wrong:?}");
    }
}

/// `quiet` samples, and then the melody, by voice activation that looks at the level alone.
fn after_a_pause(quiet: usize, said: &[f32]) -> Bench {
    let mut bench = Bench::new(48_000, TalkMode::VoiceActivation);
    let settings = VoiceSettings::clone(&bench.controls.settings());
    bench.controls.set_settings(VoiceSettings {
        voices_only: false,
        activation_threshold: -20.0,
        ..settings
    });
    // Nothing, and for the last 150 ms a melody that is too soft to open the gate.
    let soft: Vec<f32> = said[..quiet]
        .iter()
        .enumerate()
        .map(|(n, sample)| if n + 7_200 < quiet { 0.0 } else { sample * 0.1 })
        .collect();
    bench.hear(&soft);
    assert_eq!(bench.recorder.count(), 0);
    bench
}

#[test]
fn voice_activation_sends_what_was_just_before_it_and_catches_up() {
    let said = melody(240_000);
    let mut bench = after_a_pause(48_000, &said);
    // Frames go out when they would without.
    for (n, piece) in said[48_000..192_000].chunks(480).enumerate() {
        bench.hear(piece);
        assert_eq!(bench.recorder.count(), n + 1);
    }
    let sent = bench.recorder.take();
    for pair in sent.windows(2) {
        assert_eq!(pair[1].captured_at - pair[0].captured_at, Duration::from_millis(10));
    }
    let heard = decoded(&sent);
    let (first, last) = (&heard[..1_440], &heard[heard.len() - 9_600..]);
    let early = |n: usize| Duration::from_secs_f64(n as f64 / 48_000.0);
    // The first sound is as old as the voice that was too soft, and much softer than what opened the gate.
    let begun = 48_000 - 40_800 + 480;
    assert!(loudest(&heard[960..4_800]) < 0.2 && loudest(&heard[9_600..]) > 0.5);
    let shifted: Vec<_> =
        first.iter().map(|(time, sample)| (time.checked_sub(early(begun)).unwrap(), *sample)).collect();
    assert!(wrong_by(&shifted, &said, bench.start) < Duration::from_millis(2));
    // After three seconds nothing is left of the delay.
    assert!(bench.controls.pre_roll() <= 120, "{}", bench.controls.pre_roll());
    assert!(wrong_by(last, &said, bench.start) < Duration::from_millis(3));
}

#[test]
fn a_switch_before_a_burst_has_caught_up_leaves_the_rest_out() {
    let said = melody(240_000);
    for processing in processings() {
        let mut bench = after_a_pause(48_000, &said);
        bench.hear(&said[48_000..50_000]);
        assert!(bench.controls.pre_roll() > 1_000);
        bench.switch(&processing);
        bench.hear(&said[50_000..70_000]);
        bench.switch(&Processing::OFF);
        bench.hear(&said[70_000..96_000]);
        let sent = bench.recorder.take();
        assert_eq!((bench.controls.pre_roll(), sent.iter().filter(|frame| frame.first).count()), (0, 1));
        // One frame for each 10 ms, whatever was switched.
        assert!(sent.len().abs_diff(100) <= 3, "{processing:?}: {}", sent.len());
        let last = &decoded(&sent)[(sent.len() - 20) * 480..];
        assert!(wrong_by(last, &said, bench.start) < Duration::from_millis(2), "{processing:?}");
    }
}

#[test]
fn a_pre_roll_never_holds_what_was_not_meant_for_others() {
    let said = melody(96_000);
    // What was said while muted.
    let mut bench = after_a_pause(0, &said);
    bench.controls.set_muted(true);
    bench.hear(&said[..48_000]);
    bench.controls.set_muted(false);
    bench.hear(&vec![0.0; 480]);
    assert_eq!(bench.recorder.count(), 0);
    bench.hear(&said[48_000..72_000]);
    let heard = decoded(&bench.recorder.take());
    assert!(heard[0].0 + Duration::from_millis(20) >= bench.start + Duration::from_millis(1_010));
    // One frame of silence is all there was to begin with.
    assert!(loudest(&heard[1_500..2_000]) > 0.3);
    // What was said before the key.
    let mut bench = Bench::new(48_000, TalkMode::PushToTalk);
    bench.hear(&vec![0.5; 48_000]);
    bench.controls.set_key(true);
    bench.hear(&vec![0.0; 24_000]);
    let heard = decoded(&bench.recorder.take());
    assert!(heard.len() > 23_000 && heard.iter().all(|(_, sample)| sample.abs() < 0.01));
}

#[test]
fn a_key_that_is_tapped_twice_between_two_frames_locks() {
    let mut bench = Bench::new(48_000, TalkMode::PushToTalk);
    let settings = VoiceSettings::clone(&bench.controls.settings());
    bench.controls.set_settings(VoiceSettings { key: crate::KeyAction::HoldOrDoubleTap, ..settings });
    for pressed in [true, false, true, false] {
        bench.controls.set_key(pressed);
    }
    bench.hear(&voice_like(48_000));
    assert!(bench.controls.transmitting() && bench.recorder.count() == 100);
}

#[test]
fn a_lock_ends_with_the_channel_and_with_the_microphone() {
    let mut bench = Bench::new(48_000, TalkMode::PushToTalk);
    let settings = VoiceSettings::clone(&bench.controls.settings());
    bench.controls.set_settings(VoiceSettings { key: crate::KeyAction::Tap, ..settings });
    let tap = |bench: &Bench| [true, false].map(|pressed| bench.controls.set_key(pressed));
    tap(&bench);
    bench.hear(&voice_like(9_600));
    assert!(bench.controls.transmitting());
    bench.controls.unlock();
    bench.hear(&voice_like(9_600));
    assert!(!bench.controls.transmitting());
    // A tap that is meant to end it, while there is no microphone, does not begin it again.
    tap(&bench);
    bench.hear(&voice_like(9_600));
    bench.line.closed();
    tap(&bench);
    bench.line.opened(48_000);
    bench.hear(&voice_like(9_600));
    assert!(!bench.controls.transmitting());
}

#[test]
fn what_voice_activation_kept_is_not_sent_by_another_mode() {
    let said = melody(96_000);
    let mut bench = after_a_pause(48_000, &said);
    let settings = VoiceSettings::clone(&bench.controls.settings());
    bench.controls.set_settings(VoiceSettings { mode: TalkMode::Continuous, ..settings });
    bench.hear(&vec![0.0; 24_000]);
    let heard = decoded(&bench.recorder.take());
    assert!(heard.len() >= 23_000 && loudest(&heard) < 0.01, "{}", loudest(&heard));
}

#[test]
fn another_microphone_begins_without_what_was_left_of_the_last() {
    let said = melody(96_000);
    for processing in processings() {
        let mut bench = Bench::new(48_000, TalkMode::Continuous);
        bench.switch(&processing);
        bench.hear(&vec![0.5; 24_000 + 300]);
        bench.line.closed();
        let before = bench.recorder.take();
        assert!(before.last().unwrap().last);
        // It has another rate, and is opened a second later.
        (bench.start, bench.position, bench.rate) = (bench.start + Duration::from_secs(2), 0, 44_100);
        bench.line.opened(44_100);
        bench.hear(&vec![0.0; 4_410]);
        let heard = decoded(&bench.recorder.take());
        assert!(heard.iter().all(|(_, sample)| sample.abs() < 0.01), "{processing:?}");
        let times = heard.iter().map(|(time, _)| *time);
        assert!(times.min().unwrap() + Duration::from_millis(60) > bench.start, "{processing:?}");
        bench.hear(&said);
        assert!(bench.recorder.count() > 180, "{processing:?}");
    }
}

#[test]
fn what_leaves_too_little_for_the_frames_protects_less_or_not_at_all() {
    for (bitrate, wanted, found) in [
        (40_000, Code::ThreeOfEight, Some(Code::ThreeOfEight)),
        (30_000, Code::ThreeOfEight, Some(Code::ThreeOfEight)),
        (24_000, Code::ThreeOfEight, Some(Code::TwoOfFour)),
        (16_000, Code::TwoOfFour, None),
        (128_000, Code::TwoOfFour, Some(Code::TwoOfFour)),
    ] {
        let mut bench = Bench::new(48_000, TalkMode::Continuous);
        bench.controls.set_settings(VoiceSettings {
            mode: TalkMode::Continuous,
            bitrate,
            processing: Processing::OFF,
            ..VoiceSettings::default()
        });
        bench.controls.set_code(Some(wanted));
        bench.hear(&voice_like(9_600));
        let sent = bench.recorder.take();
        assert!(!sent.is_empty());
        assert!(sent.iter().all(|packet| packet.share.map(|share| share.code) == found), "{bitrate}");
        if found.is_some() {
            assert!(gathered(&sent).len() >= 8);
        }
    }
}

#[test]
fn what_is_not_a_number_does_no_harm() {
    let mut bench = Bench::new(44_100, TalkMode::Continuous);
    bench.hear(&[f32::NAN; 4_410]);
    bench.hear(&[f32::INFINITY; 4_410]);
    bench.hear(&voice_like(8_820));
    let mut decoder = Decoder::new().unwrap();
    let mut samples = [0.0; 480];
    for frame in bench.recorder.take() {
        decoder.decode(&frame.payload, frame.duration, &mut samples).unwrap();
        assert!(samples.iter().all(|sample| sample.is_finite()));
    }
}

#[test]
fn the_thread_captures_reports_a_failure_once_and_comes_back() {
    let devices = Scripted::new(RATE);
    let settings =
        VoiceSettings { mode: TalkMode::Continuous, processing: Processing::OFF, ..VoiceSettings::default() };
    let (controls, recorder) = (Arc::new(CaptureControls::new(settings)), Recorder::default());
    let (tell, told) = sync_channel(64);
    let open: Box<dyn Fn() -> OpenInput> = Box::new({
        let devices = devices.clone();
        move || {
            let devices = devices.clone();
            Box::new(move || devices.open_input(None))
        }
    });
    let capture = Capture::spawn(
        open(),
        Box::new(recorder.clone()),
        None,
        controls,
        Box::new(move |state| tell.send(state).unwrap()),
    );
    let wait = Duration::from_secs(10);
    let until = |done: &dyn Fn() -> bool| {
        let deadline = Instant::now() + wait;
        while !done() {
            assert!(Instant::now() < deadline, "did not happen within 10 s");
            std::thread::yield_now();
        }
    };
    assert!(told.recv_timeout(wait).unwrap().is_ok());
    until(&|| recorder.count() >= 10);
    devices.unplug_input(true);
    assert!(matches!(told.recv_timeout(wait).unwrap(), Err(AudioError::Failed { .. })));
    assert_eq!(told.recv_timeout(wait).unwrap(), Err(AudioError::NoMicrophone));
    assert!(recorder.take().last().unwrap().last);
    devices.unplug_input(false);
    assert!(told.recv_timeout(wait).unwrap().is_ok());
    until(&|| recorder.count() >= 10);
    // Another device in its place: one burst ends, another begins.
    capture.replace(open());
    assert!(told.recv_timeout(wait).unwrap().is_ok());
    until(&|| recorder.0.lock().unwrap().iter().filter(|frame| frame.first).count() == 2);
    drop(capture);
    let sent = recorder.take();
    assert_eq!(sent.iter().filter(|frame| frame.last).count(), 2);
    assert!(sent.last().unwrap().last);
    assert!(told.try_recv().is_err());
}
