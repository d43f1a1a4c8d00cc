#![allow(clippy::unwrap_used)]

use std::sync::{Mutex, PoisonError};

use rtrb::RingBuffer;
use voip_protocol::voice::Code;

use super::*;
use crate::{
    Processing, TalkMode, TalkerStatistics, VoiceSettings,
    audio::{Backend, Scripted, Stamp},
    dsp::{Encoder, peak, tests::voice_like},
    voice::capture::{Capture, CaptureControls, CaptureLine, EncodedPacket, PacketSink},
};

const NO_CLOCK: fn() -> ServerTicks = || Arc::new(|_| None);

/// Talkers and a listener in virtual time.
struct Bench {
    mixdown: Mixdown,
    start: Instant,
    now: Duration,
    heard: Vec<f32>,
}

impl Bench {
    fn new(clock: ServerTicks, start: Instant) -> Self {
        Self { mixdown: Mixdown::new(clock, start), start, now: Duration::ZERO, heard: Vec::new() }
    }

    /// Hears everything up to `until`, with each frame coming in at its time.
    fn listen(&mut self, frames: &[HeardFrame], until: Duration) {
        let mut frames = frames.iter().peekable();
        let mut block = [0.0; BLOCK];
        while self.now < until {
            let now = self.start + self.now;
            while let Some(frame) = frames.next_if(|frame| frame.arrival <= now) {
                self.mixdown.receive(frame);
            }
            self.mixdown.render(&mut block, now, Some(Duration::from_millis(20)));
            self.heard.extend_from_slice(&block);
            self.now += Duration::from_micros(2_500);
        }
    }

    fn talker(&self, session: u32) -> Option<TalkerStatistics> {
        self.mixdown.statistics().into_iter().find(|talker| talker.session == SessionId(session))
    }
}

/// A talk from the start on, one burst, each frame on the way for `transit` after its last sample.
fn talk(session: u32, sound: &[f32], start: Instant, transit: Duration) -> Vec<HeardFrame> {
    let (mut encoder, mut bytes) = (Encoder::new(64_000).unwrap(), [0; MAX_OPUS_FRAME]);
    let count = sound.len() / 480;
    let encode = |(n, samples): (usize, &[f32])| {
        let len = encoder.encode(samples, &mut bytes).unwrap() as u16;
        HeardFrame {
            session: SessionId(session),
            sequence: n as u32,
            capture_time: 1_000 + n as u32 * 480 - encoder.look_ahead(),
            arrival: start + Duration::from_millis(10) * (n as u32 + 1) + transit,
            duration: FrameDuration::Ms10,
            last_of_burst: n + 1 == count,
            share: None,
            len,
            bytes,
        }
    };
    sound.chunks_exact(480).enumerate().map(encode).collect()
}

/// The best likeness of `said` in `heard` and where it begins; 1 is the same.
fn find(said: &[f32], heard: &[f32]) -> (f32, usize) {
    let likeness = |at: usize, every: usize| {
        let (mut product, mut first, mut second) = (0.0, 0.0, 1e-9);
        for (a, b) in said.iter().zip(&heard[at..]).step_by(every) {
            product += a * b;
            first += a * a;
            second += b * b;
        }
        product / (first * second).sqrt()
    };
    let last = heard.len() - said.len();
    let best = |range: std::ops::RangeInclusive<usize>, every: usize| {
        range.map(|at| (likeness(at, every), at)).max_by(|a, b| a.0.total_cmp(&b.0)).unwrap()
    };
    // First with a few of the samples, then with all of them around the best place.
    let (_, about) = best(0..=last, 24);
    best(about.saturating_sub(24)..=(about + 24).min(last), 1)
}

#[test]
fn what_is_said_is_heard_and_the_delay_is_told() {
    let start = Instant::now();
    // The server's clock read 1000 when the talker began.
    let clock: ServerTicks =
        Arc::new(move |at| Some(1_000 + ((at - start).as_nanos() * 48 / 1_000_000) as u32));
    let mut bench = Bench::new(clock, start);
    let said = voice_like(96_000);
    bench.listen(&talk(7, &said, start, Duration::from_millis(2)), Duration::from_millis(2_200));
    let (likeness, at) = find(&said[48_000..52_800], &bench.heard[40_000..60_000]);
    assert!(likeness > 0.9, "{likeness}");
    let talker = bench.talker(7).unwrap();
    assert_eq!((talker.received, talker.lost, talker.late, talker.concealed), (200, 0, 0, 0));
    // Heard is a sample 20 ms after it is rendered; where it is in what was rendered tells when that was.
    let truth = (40_000 + at as i32 - 48_000) as f32 / 48.0 + 20.0;
    let told = talker.mouth_to_ear_ms.unwrap();
    assert!((told - truth).abs() < 2.0, "told {told}, truth {truth}");
    // A frame, the network, the first delay of 13 ms, and the codec's.
    assert!(truth < 20.0 + 10.0 + 2.0 + 13.0 + 2.5 + 6.5 + 1.0, "{truth}");
    assert!((talker.buffer_ms - 13.0).abs() < 3.0, "{}", talker.buffer_ms);
}

/// Keeps packets with the time at which they were made.
#[derive(Clone)]
struct Recorder {
    start: Instant,
    now: Arc<Mutex<Duration>>,
    frames: Arc<Mutex<Vec<HeardFrame>>>,
}

impl PacketSink for Recorder {
    fn packet(&mut self, packet: EncodedPacket<'_>) {
        let mut bytes = [0; MAX_OPUS_FRAME];
        bytes[..packet.payload.len()].copy_from_slice(packet.payload);
        let mut frames = self.frames.lock().unwrap();
        let sequence = frames.len() as u32;
        frames.push(HeardFrame {
            session: SessionId(7),
            sequence,
            // The encoder's look-ahead is from before the start.
            capture_time: server_ticks(self.start, packet.captured_at + Duration::from_secs(1)),
            arrival: self.start + *self.now.lock().unwrap() + Duration::from_millis(2),
            duration: packet.duration,
            last_of_burst: packet.last_of_burst,
            share: packet.share,
            len: packet.payload.len() as u16,
            bytes,
        });
    }
}

/// A burst through the capture side, `sound` in pieces of 5 ms; `code` says how each piece is protected.
fn spoken(sound: &[f32], start: Instant, code: impl Fn(usize) -> Option<Code>) -> Vec<HeardFrame> {
    let recorder = Recorder { start, now: Arc::default(), frames: Arc::default() };
    let settings =
        VoiceSettings { mode: TalkMode::Continuous, processing: Processing::OFF, ..VoiceSettings::default() };
    let controls = Arc::new(CaptureControls::new(settings));
    let mut line = CaptureLine::new(Box::new(recorder.clone()), Arc::clone(&controls));
    line.opened(RATE);
    for (n, piece) in sound.chunks_exact(240).enumerate() {
        controls.set_code(code(n));
        let captured_at = start + Duration::from_millis(5) * n as u32;
        *recorder.now.lock().unwrap() = Duration::from_millis(5) * (n as u32 + 1);
        line.stamp(Stamp { position: n as u64 * 240, captured_at });
        line.samples(piece);
    }
    line.closed();
    drop(line);
    std::mem::take(&mut recorder.frames.lock().unwrap())
}

#[test]
fn protection_that_comes_and_goes_is_hardly_heard() {
    let start = Instant::now();
    let mut bench = Bench::new(NO_CLOCK(), start);
    let said = voice_like(960_000);
    // Two seconds each way, and eleven to get back to what it was.
    let changes = [None, Some(Code::TwoOfFour), Some(Code::ThreeOfEight), Some(Code::TwoOfFour), None];
    let frames = spoken(&said, start, |n| changes[(n / 400).min(4)]);
    let middle = Duration::from_millis(3_900);
    let (before, after): (Vec<_>, Vec<_>) =
        frames.into_iter().partition(|frame| frame.arrival <= start + middle);
    bench.listen(&before, middle);
    let protected = bench.talker(7).unwrap();
    bench.listen(&after, Duration::from_millis(20_500));
    let talker = bench.talker(7).unwrap();
    assert_eq!((talker.lost, talker.late, talker.repaired), (0, 0, 0), "{talker:?}");
    // At each change to more protection frames come later, and some sound is made up.
    assert!(talker.concealed <= 8, "{talker:?}");
    let first = bench.heard.iter().position(|sample| *sample != 0.0).unwrap();
    let spoken = &bench.heard[first..first + said.len()];
    assert_eq!(spoken.chunks_exact(BLOCK).filter(|block| peak(block) < 1e-4).count(), 0);
    // The code takes its time while it is used, and no longer.
    assert!(protected.buffer_ms > 20.0 && talker.buffer_ms < 10.0, "{protected:?} {talker:?}");
    for at in [48_000, 144_000, 240_000, 800_000] {
        let heard = &bench.heard[at..at + 14_400];
        let (likeness, _) = find(&said[at..at + 9_600], heard);
        assert!(likeness > 0.8, "{likeness} at {at}");
    }
}

#[test]
fn what_the_network_loses_is_put_together_again() {
    let start = Instant::now();
    let said = voice_like(240_000);
    for (code, every) in [(Code::TwoOfFour, 3), (Code::ThreeOfEight, 2)] {
        let mut bench = Bench::new(NO_CLOCK(), start);
        let mut frames = spoken(&said, start, |_| Some(code));
        let count = frames.len();
        frames.retain(|frame| frame.sequence % every != 1);
        bench.listen(&frames, Duration::from_millis(5_400));
        let talker = bench.talker(7).unwrap();
        assert_eq!((talker.lost, talker.late), (0, 0), "{talker:?}");
        assert_eq!(talker.received, 251);
        assert!(talker.repaired > 150, "{talker:?}");
        let share = (count - frames.len()) as f32 / count as f32;
        assert!((talker.loss - share).abs() < 0.05, "{talker:?}");
        let (likeness, _) = find(&said[48_000..96_000], &bench.heard[48_000..105_600]);
        assert!(likeness > 0.85, "{likeness}");
    }
}

#[test]
fn a_wavering_network_makes_no_holes() {
    let start = Instant::now();
    let mut bench = Bench::new(NO_CLOCK(), start);
    let mut frames = talk(7, &voice_like(480_000), start, Duration::ZERO);
    let mut noise = 1u32;
    for frame in &mut frames {
        noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        frame.arrival += Duration::from_micros(u64::from(noise >> 16) % 8_000);
    }
    bench.listen(&frames, Duration::from_millis(10_000));
    let talker = bench.talker(7).unwrap();
    assert_eq!((talker.lost, talker.late), (0, 0));
    // From the first frame on, not one block is silent.
    let first = bench.heard.iter().position(|sample| *sample != 0.0).unwrap();
    let holes = bench.heard[first..].chunks_exact(BLOCK).filter(|block| peak(block) < 1e-4).count();
    assert_eq!(holes, 0);
}

#[test]
fn losses_are_filled_and_the_end_is_silent_without_a_click() {
    let start = Instant::now();
    let mut bench = Bench::new(NO_CLOCK(), start);
    let mut frames = talk(7, &voice_like(48_000), start, Duration::ZERO);
    frames.retain(|frame| frame.sequence % 20 != 10);
    bench.listen(&frames, Duration::from_millis(1_200));
    let talker = bench.talker(7).unwrap();
    assert_eq!((talker.received, talker.lost, talker.concealed), (95, 5, 5));
    assert_eq!(talker.mouth_to_ear_ms, None);
    let end = bench.heard.iter().rposition(|sample| *sample != 0.0).unwrap();
    assert!(peak(&bench.heard[end - 4..=end]) < 0.05 && end < 50_000);
    // A hole would be ten milliseconds of nothing.
    assert!(bench.heard[2_000..48_000].chunks(480).all(|chunk| peak(chunk) > 1e-3));
}

#[test]
fn a_loss_of_the_last_frame_ends_in_silence_too() {
    let start = Instant::now();
    let mut bench = Bench::new(NO_CLOCK(), start);
    let mut frames = talk(7, &voice_like(48_000), start, Duration::ZERO);
    frames.pop();
    bench.listen(&frames, Duration::from_millis(1_500));
    let end = bench.heard.iter().rposition(|sample| *sample != 0.0).unwrap();
    assert!(end < 48_000 + 6_000 && peak(&bench.heard[end - 4..=end]) < 0.05);
}

#[test]
fn several_talkers_are_mixed_and_never_clip() {
    let start = Instant::now();
    let mut bench = Bench::new(NO_CLOCK(), start);
    let loud: Vec<f32> = voice_like(48_000).iter().map(|sample| (sample * 2.0).clamp(-1.0, 1.0)).collect();
    let mut frames: Vec<HeardFrame> =
        (1..=70).flat_map(|s| talk(s, &loud[..9_600], start, Duration::ZERO)).collect();
    frames.sort_by_key(|frame| frame.arrival);
    bench.listen(&frames, Duration::from_millis(300));
    assert!(peak(&bench.heard) <= 1.0 && peak(&bench.heard) > 0.9);
    assert_eq!(bench.mixdown.statistics().len(), 64);
    // Silent ones give way.
    let mut frames = talk(99, &loud[..9_600], start, Duration::ZERO);
    for frame in &mut frames {
        frame.arrival += Duration::from_millis(300);
    }
    bench.listen(&frames, Duration::from_millis(600));
    assert_eq!((bench.mixdown.talkers.len(), bench.talker(99).unwrap().received), (64, 20));
    assert_eq!(bench.mixdown.statistics().len(), 65);
}

#[test]
fn an_idle_talker_is_let_go_and_its_counters_go_on() {
    let start = Instant::now();
    let mut bench = Bench::new(NO_CLOCK(), start);
    let frames = talk(7, &voice_like(9_600), start, Duration::ZERO);
    bench.listen(&frames, Duration::from_millis(400));
    bench.mixdown.drop_idle(start + Duration::from_secs(9));
    assert_eq!(bench.mixdown.talkers.len(), 1);
    bench.mixdown.drop_idle(start + Duration::from_secs(11));
    assert_eq!((bench.mixdown.talkers.len(), bench.talker(7).unwrap().received), (0, 20));
    bench.now = Duration::from_secs(20);
    let again: Vec<HeardFrame> =
        frames.iter().map(|frame| HeardFrame { arrival: frame.arrival + bench.now, ..*frame }).collect();
    bench.listen(&again, Duration::from_millis(20_400));
    assert_eq!((bench.mixdown.statistics().len(), bench.talker(7).unwrap().received), (1, 40));
    bench.mixdown.silence();
    assert_eq!((bench.mixdown.talkers.len(), bench.talker(7).unwrap().received), (0, 40));
    bench.mixdown.clear();
    assert!(bench.mixdown.statistics().is_empty());
}

#[test]
fn hostile_frames_harm_nobody_else() {
    let start = Instant::now();
    let mut bench = Bench::new(NO_CLOCK(), start);
    let said = voice_like(96_000);
    let mut frames = talk(7, &said, start, Duration::ZERO);
    let mut noise = 9u32;
    for n in 0..2_000u32 {
        let mut random = || {
            noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            noise >> 8
        };
        let mut bytes = [0; MAX_OPUS_FRAME];
        bytes[..64].fill_with(|| random() as u8);
        frames.push(HeardFrame {
            session: SessionId(8),
            sequence: if n % 7 == 0 { random() << 8 } else { n },
            capture_time: if n % 5 == 0 { random() << 8 } else { n * 480 },
            arrival: start + Duration::from_millis(u64::from(n)),
            duration: FrameDuration::ALL[random() as usize % 6],
            last_of_burst: random() % 10 == 0,
            share: Code::ALL.get(random() as usize % 5).map(|code| {
                let at = (random() as usize % code.packets()) as u8;
                Share { code: *code, at }
            }),
            len: if n % 11 == 0 { u16::MAX } else { (random() % 64) as u16 },
            bytes,
        });
    }
    frames.sort_by_key(|frame| frame.arrival);
    bench.listen(&frames, Duration::from_millis(2_200));
    assert!(bench.heard.iter().all(|sample| sample.abs() <= 1.0));
    let talker = bench.talker(7).unwrap();
    assert_eq!((talker.received, talker.lost, talker.concealed), (200, 0, 0));
}

#[test]
fn a_standing_queue_is_worked_off_in_the_pauses() {
    let start = Instant::now();
    let mut bench = Bench::new(NO_CLOCK(), start);
    // Words and pauses of 0.3 s each; after one second the network holds everything up for 80 ms, once.
    let mut said = voice_like(480_000);
    for (n, sample) in said.iter_mut().enumerate() {
        if n / 14_400 % 2 == 1 {
            *sample = 0.0;
        }
    }
    let mut frames = talk(7, &said, start, Duration::ZERO);
    let stall = start + Duration::from_millis(1_000);
    for frame in &mut frames {
        if frame.arrival > stall && frame.arrival < stall + Duration::from_millis(80) {
            frame.arrival = stall + Duration::from_millis(80);
        }
    }
    bench.listen(&frames[..130], Duration::from_millis(1_305));
    let after_stall = bench.talker(7).unwrap();
    bench.listen(&frames[130..], Duration::from_millis(10_200));
    let at_the_end = bench.talker(7).unwrap();
    assert_eq!((at_the_end.lost, at_the_end.late, at_the_end.received), (0, 0, 1_000));
    assert!(after_stall.concealed >= 5, "{after_stall:?}");
    assert!(at_the_end.buffer_ms < 45.0, "{at_the_end:?}");
    let end = bench.heard.iter().rposition(|sample| sample.abs() > 0.02).unwrap();
    assert!(end < 475_200 + 2_400, "{end} {at_the_end:?}");
}

#[test]
fn a_listener_that_stood_still_catches_up_in_mid_speech() {
    let start = Instant::now();
    let mut bench = Bench::new(NO_CLOCK(), start);
    let frames = talk(7, &voice_like(288_000), start, Duration::ZERO);
    bench.listen(&frames[..100], Duration::from_millis(1_005));
    let before = bench.talker(7).unwrap().buffer_ms;
    // For 150 ms nothing is played, though frames come in.
    for frame in &frames[100..115] {
        bench.mixdown.receive(frame);
    }
    bench.now += Duration::from_millis(150);
    bench.listen(&frames[115..], Duration::from_millis(6_100));
    let after = bench.talker(7).unwrap();
    assert_eq!((after.received, after.lost, after.late, after.concealed), (600, 0, 0, 0));
    assert!(after.buffer_ms < before + 35.0, "{before} ms before, {} ms in the end", after.buffer_ms);
    assert!(bench.heard[2_000..280_000].chunks(960).all(|chunk| peak(chunk) > 1e-3));
}

/// Hands what is captured straight to the playback's ring.
struct Loopback {
    frames: rtrb::Producer<HeardFrame>,
    sequence: u32,
    start: Instant,
}

impl PacketSink for Loopback {
    fn packet(&mut self, packet: EncodedPacket<'_>) {
        let mut bytes = [0; MAX_OPUS_FRAME];
        bytes[..packet.payload.len()].copy_from_slice(packet.payload);
        let _ = self.frames.push(HeardFrame {
            session: SessionId(1),
            sequence: self.sequence,
            capture_time: server_ticks(self.start, packet.captured_at),
            arrival: Instant::now(),
            duration: packet.duration,
            share: packet.share,
            last_of_burst: packet.last_of_burst,
            len: packet.payload.len() as u16,
            bytes,
        });
        self.sequence += 1;
    }
}

fn server_ticks(start: Instant, at: Instant) -> u32 {
    match at.checked_duration_since(start) {
        Some(after) => (after.as_nanos() * 48 / 1_000_000) as u32,
        None => ((start - at).as_nanos() * 48 / 1_000_000) as u32,
    }
}

/// From one scripted microphone through both threads to a scripted speaker, in real time.
#[test]
fn both_threads_carry_a_voice_from_device_to_device() {
    for (input_rate, output_rate) in [(48_000, 48_000), (44_100, 16_000)] {
        let devices = Scripted::with_rates(input_rate, output_rate);
        let start = Instant::now();
        let clock: ServerTicks = Arc::new(move |at| Some(server_ticks(start, at)));
        let controls = Arc::new(PlaybackControls::new(clock));
        let (producer, consumer) = RingBuffer::new(256);
        let problems = Arc::new(Mutex::new(Vec::new()));
        let on_device = |problems: &Arc<Mutex<Vec<AudioError>>>| -> OnDevice {
            let problems = problems.clone();
            Box::new(move |state| {
                problems.lock().unwrap_or_else(PoisonError::into_inner).extend(state.err());
            })
        };
        let (microphone, speaker) = (devices.clone(), devices.clone());
        let (far, mut far_heard) = RingBuffer::new(20 * RATE as usize);
        let playback = Playback::spawn(
            Box::new(move || speaker.open_output(None)),
            consumer,
            Some(far),
            controls.clone(),
            on_device(&problems),
        );
        let settings = VoiceSettings {
            mode: TalkMode::VoiceActivation,
            processing: Processing::OFF,
            ..VoiceSettings::default()
        };
        let capture = Capture::spawn(
            Box::new(move || microphone.open_input(None)),
            Box::new(Loopback { frames: producer, sequence: 0, start }),
            None,
            Arc::new(CaptureControls::new(settings)),
            on_device(&problems),
        );
        let said = voice_like(48_000);
        let mut to_input = Vec::new();
        Resampler::new(RATE, input_rate).process(&said, |samples| to_input.extend_from_slice(samples));
        devices.say(&to_input);
        let deadline = Instant::now() + Duration::from_secs(20);
        let received = || controls.statistics().talkers.first().map_or(0, |talker| talker.received);
        // The voice, and the hold of the voice activation.
        while received() < 125 {
            assert!(Instant::now() < deadline, "{:?}", controls.statistics());
            std::thread::yield_now();
        }
        drop((capture, playback));
        let mut heard = Vec::new();
        Resampler::new(output_rate, RATE)
            .process(&devices.played(), |samples| heard.extend_from_slice(samples));
        let mut said_there = Vec::new();
        Resampler::new(output_rate, RATE).process(
            &{
                let mut down = Vec::new();
                Resampler::new(RATE, output_rate).process(&said, |samples| down.extend_from_slice(samples));
                down
            },
            |samples| said_there.extend_from_slice(samples),
        );
        let voice = heard.iter().position(|sample| sample.abs() > 0.05).unwrap().saturating_sub(2_400);
        let words = [12_000, 20_000, 30_000]
            .map(|at| find(&said_there[at..at + 2_400], &heard[voice + at - 2_400..voice + at + 9_600]).0);
        assert!(words.iter().all(|likeness| *likeness > 0.85), "{input_rate} {output_rate} {words:?}");
        // What cancels echoes was told the same, at 48 kHz.
        let mut far = Vec::new();
        while let Ok(sample) = far_heard.pop() {
            far.push(sample);
        }
        let voice = far.iter().position(|sample| sample.abs() > 0.05).unwrap().saturating_sub(2_400);
        let (likeness, _) = find(&said_there[20_000..22_400], &far[voice + 17_600..voice + 29_600]);
        assert!(likeness > 0.85, "{input_rate} {output_rate} {likeness}");
        let statistics = controls.statistics();
        assert_eq!((statistics.talkers[0].lost, statistics.talkers[0].late), (0, 0), "{statistics:?}");
        let delay = statistics.talkers[0].mouth_to_ear_ms.unwrap();
        assert!(delay > 10.0 && delay < 120.0, "{delay}");
        assert!(problems.lock().unwrap().is_empty());
    }
}

#[test]
fn without_a_speaker_the_counters_go_on_and_a_new_one_starts_in_the_present() {
    let devices = Scripted::new(RATE);
    devices.unplug_output(true);
    let controls = Arc::new(PlaybackControls::new(NO_CLOCK()));
    let (mut producer, consumer) = RingBuffer::new(256);
    let (tell, told) = sync_channel(64);
    let speaker = devices.clone();
    let playback = Playback::spawn(
        Box::new(move || speaker.open_output(None)),
        consumer,
        None,
        controls.clone(),
        Box::new(move |state| tell.send(state).unwrap()),
    );
    let wait = Duration::from_secs(10);
    assert_eq!(told.recv_timeout(wait).unwrap(), Err(AudioError::NoSpeaker));
    for frame in talk(3, &voice_like(48_000), Instant::now(), Duration::ZERO) {
        producer.push(HeardFrame { arrival: Instant::now(), ..frame }).unwrap();
    }
    let deadline = Instant::now() + wait;
    while controls.statistics().talkers.is_empty() {
        assert!(Instant::now() < deadline);
        std::thread::yield_now();
    }
    devices.unplug_output(false);
    assert!(told.recv_timeout(wait).unwrap().is_ok());
    devices.unplug_output(true);
    assert!(matches!(told.recv_timeout(wait).unwrap(), Err(AudioError::Failed { .. })));
    drop(playback);
    controls.clear();
    assert!(controls.statistics().talkers.is_empty());
}
