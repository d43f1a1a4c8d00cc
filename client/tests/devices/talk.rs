//! Both voice threads, joined by a short wire in place of a network; recordings; and how alike they are.

use std::{
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
        mpsc::{Receiver, sync_channel},
    },
    time::{Duration, Instant},
};

use rtrb::{Producer, RingBuffer};
use voip_client::{
    Processing, TalkMode, VoiceSettings,
    audio::{AudioError, Backend, Cpal, InputStream},
    dsp::{CaptureClock, Resampler},
    voice::{
        Capture, CaptureControls, EncodedPacket, HeardFrame, OnDevice, PacketSink, Playback, PlaybackControls,
    },
};
use voip_protocol::{SessionId, limits::MAX_OPUS_FRAME};

use super::WAIT;

type Events = Receiver<Result<String, AudioError>>;

/// Everything from microphone to speaker but the network.
pub(crate) struct Talk {
    pub(crate) input_events: Events,
    pub(crate) output_events: Events,
    pub(crate) controls: Arc<PlaybackControls>,
    sent: Arc<Sent>,
    _capture: Capture,
    _playback: Playback,
}

#[derive(Default)]
struct Sent {
    frames: AtomicUsize,
    in_burst: AtomicBool,
}

impl Talk {
    /// Talks all the time.
    pub(crate) fn start(input: Option<String>, output: Option<String>) -> Self {
        let start = Instant::now();
        let clock = Arc::new(move |at: Instant| Some(ticks(at - start)));
        let controls = Arc::new(PlaybackControls::new(clock));
        let settings = VoiceSettings {
            mode: TalkMode::Continuous,
            processing: Processing::OFF,
            ..VoiceSettings::default()
        };
        let (frames, heard) = RingBuffer::new(512);
        let sent: Arc<Sent> = Arc::default();
        let wire = Wire { frames, sequence: 0, start, sent: sent.clone() };
        let ((on_input, input_events), (on_output, output_events)) = (events(), events());
        let playback = Playback::spawn(
            Box::new(move || Cpal.open_output(output.as_deref())),
            heard,
            None,
            controls.clone(),
            on_output,
        );
        let capture = Capture::spawn(
            Box::new(move || Cpal.open_input(input.as_deref())),
            Box::new(wire),
            None,
            Arc::new(CaptureControls::new(settings)),
            on_input,
        );
        Self { input_events, output_events, controls, sent, _capture: capture, _playback: playback }
    }

    pub(crate) fn frames(&self) -> usize {
        self.sent.frames.load(Relaxed)
    }

    pub(crate) fn last_frame_ended_its_burst(&self) -> bool {
        !self.sent.in_burst.load(Relaxed)
    }

    pub(crate) fn wait_for_frames(&self, count: usize) {
        let deadline = Instant::now() + WAIT;
        while self.frames() < count {
            assert!(Instant::now() < deadline, "{} of {count} frames", self.frames());
            std::thread::yield_now();
        }
    }
}

fn events() -> (OnDevice, Events) {
    let (tell, told) = sync_channel(64);
    // A test that is over does not listen any more.
    (Box::new(move |state| drop(tell.send(state))), told)
}

fn ticks(time: Duration) -> u32 {
    (time.as_nanos() * 48 / 1_000_000) as u32
}

/// Where a network would be.
struct Wire {
    frames: Producer<HeardFrame>,
    sequence: u32,
    start: Instant,
    sent: Arc<Sent>,
}

impl PacketSink for Wire {
    fn packet(&mut self, packet: EncodedPacket<'_>) {
        let mut bytes = [0; MAX_OPUS_FRAME];
        bytes[..packet.payload.len()].copy_from_slice(packet.payload);
        let _ = self.frames.push(HeardFrame {
            session: SessionId(1),
            sequence: self.sequence,
            capture_time: ticks(packet.captured_at - self.start),
            arrival: Instant::now(),
            duration: packet.duration,
            share: packet.share,
            last_of_burst: packet.last_of_burst,
            len: packet.payload.len() as u16,
            bytes,
        });
        self.sequence += 1;
        self.sent.in_burst.store(!packet.last_of_burst, Relaxed);
        self.sent.frames.fetch_add(1, Relaxed);
    }
}

/// What a device hears, and when.
pub(crate) struct Recording {
    stream: InputStream,
    clock: CaptureClock,
    samples: Vec<f32>,
}

impl Recording {
    pub(crate) fn start(id: &str) -> Self {
        let stream = Cpal.open_input(Some(id)).unwrap();
        let clock = CaptureClock::new(stream.sample_rate);
        Self { stream, clock, samples: Vec::new() }
    }

    /// Takes in what has been heard until now.
    pub(crate) fn collect(&mut self) {
        while let Some(stamp) = self.stream.stamp() {
            self.clock.observe(stamp);
        }
        let mut block = [0.0; 4_096];
        let count = self.stream.read(&mut block);
        self.samples.extend_from_slice(&block[..count]);
        assert!(self.stream.failed().is_none());
    }

    pub(crate) fn at_48_khz(&self) -> Vec<f32> {
        let mut resampled = Vec::new();
        let mut resampler = Resampler::new(self.stream.sample_rate, 48_000);
        resampler.process(&self.samples, |samples| resampled.extend_from_slice(samples));
        resampled.drain(..resampler.delay().round() as usize);
        resampled
    }

    /// When the sample at `index` of [`Self::at_48_khz`] was heard.
    pub(crate) fn time_of(&self, index: usize) -> Instant {
        self.clock.time_of(index as f64 * f64::from(self.stream.sample_rate) / 48_000.0).unwrap()
    }
}

/// Rising and falling tones, no two tenths of a second alike.
pub(crate) fn chirps(seconds: usize) -> Vec<f32> {
    let (mut phase, mut samples) = (0.0f64, Vec::with_capacity(seconds * 48_000));
    for n in 0..seconds * 48_000 {
        let at = n as f64 / 48_000.0;
        let hertz = 600.0 + 300.0 * (at * 7.3).sin() + 180.0 * (at * 31.0).sin() + 60.0 * at;
        phase += hertz / 48_000.0;
        let swell = 0.6 + 0.4 * (at * 11.0).sin();
        samples.push((0.4 * swell * (phase * std::f64::consts::TAU).sin()) as f32);
    }
    samples
}

/// The best likeness of `said` within `range` of `heard`, and where; 1 is the same.
pub(crate) fn find(said: &[f32], heard: &[f32], range: Range<usize>) -> (f32, usize) {
    let likeness = |at: usize, every: usize| {
        let (mut product, mut first, mut second) = (0.0, 0.0, 1e-9);
        for (a, b) in said.iter().zip(&heard[at..]).step_by(every) {
            product += a * b;
            first += a * a;
            second += b * b;
        }
        product / (first * second).sqrt()
    };
    let last = heard.len().saturating_sub(said.len());
    let best = |range: Range<usize>, step: usize, every: usize| {
        let places = (range.start..range.end.min(last)).step_by(step);
        places
            .map(|at| (likeness(at, every), at))
            .max_by(|a, b| a.0.total_cmp(&b.0))
            .unwrap_or((0.0, range.start))
    };
    // First with a few of the samples at some of the places, then with all of them around the best one.
    let (_, about) = best(range, 4, 16);
    best(about.saturating_sub(24)..about + 24, 1, 1)
}
