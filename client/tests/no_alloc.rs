//! Nothing on the sound card's thread allocates, nor do the parts of the voice threads that say so.

#![allow(clippy::unwrap_used)]

use std::time::{Duration, Instant};

use assert_no_alloc::{AllocDisabler, assert_no_alloc};
use voip_client::{
    audio::{input, microphone_callback, output, speaker_callback},
    dsp::{
        Arrival, Decoder, Encoder, Gather, Jitter, Limiter, LossMeter, Pace, Pull, Resampler, SharePacket,
        Split, add, shorten,
    },
};
use voip_protocol::{
    limits::MAX_OPUS_FRAME,
    voice::{Code, FrameDuration, MAX_SHARED, Share},
};

#[global_allocator]
static ALLOCATOR: AllocDisabler = AllocDisabler;

/// An allocation where there may be none ends the process: nothing that can be caught here. So the guard itself is
/// tried by running this test again in a process of its own.
#[test]
fn the_guard_notices_an_allocation() {
    const MARK: &str = "VOIP_TEST_ALLOCATES";
    if std::env::var_os(MARK).is_some() {
        let vector: Vec<u8> = assert_no_alloc(|| Vec::with_capacity(64));
        drop(vector);
        return;
    }
    let again = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "the_guard_notices_an_allocation"])
        .env(MARK, "1")
        .output()
        .unwrap();
    assert!(!again.status.success(), "an allocation went unnoticed");
}

#[test]
fn the_microphone_callback_does_not_allocate() {
    let (feed, _, stream) = input("microphone".into(), 48_000);
    let mut stream = stream(Box::new(()));
    let mut callback = microphone_callback::<i16>(feed, 2);
    let (data, mut block) = ([1_000i16; 960], [0.0f32; 512]);
    assert_no_alloc(|| {
        // The ring runs over, and so do the stamps.
        for _ in 0..2_000 {
            callback(&data, Duration::from_millis(10));
        }
        while stream.read(&mut block) > 0 {}
        while stream.stamp().is_some() {}
        callback(&data, Duration::ZERO);
    });
    assert!(stream.overruns() > 0 && stream.queued() == 480);
}

#[test]
fn the_speaker_callback_does_not_allocate() {
    let (feed, _, stream) = output("speaker".into(), 44_100);
    let mut stream = stream(Box::new(()));
    let mut callback = speaker_callback::<f32>(feed, 8);
    let (mut data, block) = ([0.0f32; 8 * 441], [0.5f32; 1_000]);
    assert_no_alloc(|| {
        callback(&mut data, Duration::ZERO);
        assert!(stream.write(&block) == 1_000);
        // The ring runs dry.
        for _ in 0..5 {
            callback(&mut data, Duration::from_millis(5));
        }
    });
    assert!(stream.underruns() == 3 && stream.queued() == 0);
}

#[test]
fn every_sample_format_is_converted_without_allocating() {
    macro_rules! both {
        ($($format:ty),*) => {$(
            let (feed, _, _stream) = input("microphone".into(), 48_000);
            let mut microphone = microphone_callback::<$format>(feed, 1);
            let (feed, _, _stream) = output("speaker".into(), 48_000);
            let mut speaker = speaker_callback::<$format>(feed, 1);
            let mut data = [<$format>::default(); 480];
            assert_no_alloc(|| {
                microphone(&data, Duration::ZERO);
                speaker(&mut data, Duration::ZERO);
            });
        )*};
    }
    both!(i8, i16, i32, u8, u16, u32, f32, f64);
}

#[test]
fn signal_processing_does_not_allocate_once_made() {
    let (mut down, mut up) = (Resampler::new(48_000, 44_100), Resampler::new(44_100, 48_000));
    let (mut encoder, mut decoder) = (Encoder::new(40_000).unwrap(), Decoder::new().unwrap());
    let (mut jitter, mut limiter, mut pace) = (Jitter::default(), Limiter::default(), Pace::new(120));
    let (mut sound, mut mix, mut opus) = ([0.1f32; 480], [0.0f32; 480], [0; MAX_OPUS_FRAME]);
    let (mut long, mut block) = ([0.1f32; 960], [0.0; 120]);
    // What the processor's features are is looked up once.
    down.process(&sound, |_| {});
    up.process(&sound, |_| {});
    assert_no_alloc(|| {
        for n in 0..300u32 {
            let len = encoder.encode(&sound, &mut opus).unwrap();
            jitter.insert(&Arrival {
                sequence: n + n / 50,
                packets: 1,
                capture_time: (n + n / 50) * 480,
                duration: FrameDuration::Ms10,
                last_of_burst: n % 100 == 99,
                at: u64::from(n) * 480 + 100_000,
                spread: 0,
                opus: &opus[..len],
            });
            match jitter.pull(u64::from(n) * 480 + 100_000) {
                Pull::Frame(frame) => decoder.decode(frame.opus, frame.duration, &mut sound).unwrap(),
                Pull::Conceal { samples, .. } => decoder.conceal(&mut sound[..samples]).unwrap(),
                Pull::Silence => sound.fill(0.1),
            }
            add(&mut mix, &sound);
            limiter.process(&mut mix);
            down.process(&mix, |samples| up.process(samples, |_| {}));
            shorten(&mut long, -1.0);
            pace.catch_up(n as f32 * 100.0);
            pace.process(&sound[..pace.needs()], &mut block);
        }
        encoder.begin(64_000).unwrap();
        decoder.reset().unwrap();
    });
    let (mut split, mut gather, mut losses) =
        (Split::new(Code::ThreeOfEight, 12), Gather::default(), LossMeter::default());
    let (mut payload, mut whole) = ([0; 2 * MAX_SHARED], 0);
    assert_no_alloc(|| {
        for n in 0..100u32 {
            split.push(Some(&opus[..36]));
            for at in 0..5 {
                let len = split.packet(at, &mut payload);
                let (share, sequence) = (Share { code: split.code(), at }, n * 5 + u32::from(at));
                losses.observe(sequence, sequence * 192, 192);
                let packet = SharePacket {
                    share,
                    sequence,
                    capture_time: n * 960,
                    last_of_burst: false,
                    payload: &payload[..len],
                };
                // Every third is lost.
                if sequence % 3 > 0 {
                    assert!(gather.insert(&packet, |_| whole += 1));
                }
            }
        }
        assert!(losses.share() == 0.0);
    });
    assert!(whole >= 99, "{whole}");
    assert!(jitter.counters().received == 300 && Instant::now().elapsed() < Duration::from_secs(1));
}
