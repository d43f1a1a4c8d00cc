//! The rings between a device and the voice threads, one for each direction.
//!
//! Samples are mono `f32` at the device's rate. Beside the samples of a microphone run [`Stamp`]s: which
//! sample was in the air when. What the two sides share otherwise is a handful of atomics.

use std::{
    any::Any,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use rtrb::{Consumer, Producer, RingBuffer};

use super::AudioError;

/// Sound that a ring holds, as a part of a second: half a second outlasts any hiccup worth surviving.
const RING_PER_SECOND: u32 = 2;
/// Stamps that a ring holds: more than the callbacks of half a second.
const STAMPS: usize = 1024;
/// How fast a played sample fades when the next one is missing: inaudible after 5 ms, and no click.
const FADE: f32 = 0.97;

/// When a sample was in the air.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// Which sample, counted from the opening of the device.
    pub position: u64,
    /// When it was in front of the microphone.
    pub captured_at: Instant,
}

#[derive(Debug, Default)]
struct Shared {
    failure: OnceLock<AudioError>,
    ended: AtomicBool,
    /// Samples that found no room (input), or callbacks that found too few (output).
    missed: AtomicU64,
    /// Samples a callback moves, the largest of late.
    period: AtomicU32,
    latency_ns: AtomicU64,
}

impl Shared {
    fn note_period(&self, frames: usize) {
        let (frames, known) = (frames as u32, self.period.load(Relaxed));
        self.period.store(frames.max(known - known / 256), Relaxed);
    }

    fn note_latency(&self, latency: Duration) {
        self.latency_ns.store(latency.as_nanos() as u64, Relaxed);
    }

    fn latency(&self) -> Duration {
        Duration::from_nanos(self.latency_ns.load(Relaxed))
    }
}

/// Lets a device say that it has failed, from any thread.
#[derive(Clone, Debug)]
pub struct Failure(Arc<Shared>);

impl Failure {
    /// The device is of no more use; the first reason counts.
    pub fn set(&self, reason: AudioError) {
        // A second reason adds nothing.
        let _ = self.0.failure.set(reason);
    }
}

/// A running microphone. Dropping it stops the device.
pub struct InputStream {
    /// For people.
    pub name: String,
    /// Samples a second.
    pub sample_rate: u32,
    samples: Consumer<f32>,
    stamps: Consumer<Stamp>,
    shared: Arc<Shared>,
    _guard: Box<dyn Any + Send>,
}

/// The device's end of an [`InputStream`].
pub struct InputFeed {
    samples: Producer<f32>,
    stamps: Producer<Stamp>,
    position: u64,
    shared: Arc<Shared>,
}

/// The parts of an input that come before the device runs: the device's end, and a function that makes the
/// stream once there is something that keeps the device running.
pub fn input(
    name: String,
    sample_rate: u32,
) -> (InputFeed, Failure, impl FnOnce(Box<dyn Any + Send>) -> InputStream) {
    let (producer, samples) = RingBuffer::new((sample_rate / RING_PER_SECOND) as usize);
    let (stamp_producer, stamps) = RingBuffer::new(STAMPS);
    let shared = Arc::new(Shared::default());
    let feed = InputFeed { samples: producer, stamps: stamp_producer, position: 0, shared: shared.clone() };
    let failure = Failure(shared.clone());
    (feed, failure, move |guard| InputStream { name, sample_rate, samples, stamps, shared, _guard: guard })
}

impl InputFeed {
    /// Takes in `frames` samples, the first of which was in the air at `captured_at`. What finds no room is
    /// dropped and counted. Fit for an audio callback.
    pub fn push(&mut self, frames: usize, captured_at: Instant, samples: impl Iterator<Item = f32>) {
        let room = frames.min(self.samples.slots());
        // A stamp that finds no room is no loss: the next one says the same.
        let _ = self.stamps.push(Stamp { position: self.position, captured_at });
        let written = self.samples.write_chunk_uninit(room).map_or(0, |chunk| chunk.fill_from_iter(samples));
        self.position += written as u64;
        self.shared.missed.fetch_add((frames - written) as u64, Relaxed);
        self.shared.note_period(frames);
        self.shared.note_latency(captured_at.elapsed());
    }

    /// There is nothing more to come but silence.
    pub fn end(&self) {
        self.shared.ended.store(true, Relaxed);
    }
}

impl InputStream {
    /// Moves what has been captured into `block`, as much as there is and fits; says how much.
    pub fn read(&mut self, block: &mut [f32]) -> usize {
        self.samples.pop_partial_slice(block).0.len()
    }

    /// The next stamp, oldest first.
    pub fn stamp(&mut self) -> Option<Stamp> {
        self.stamps.pop().ok()
    }

    /// Samples captured and not read yet.
    pub fn queued(&self) -> usize {
        self.samples.slots()
    }

    /// Samples that were lost because they were not read in time.
    pub fn overruns(&self) -> u64 {
        self.shared.missed.load(Relaxed)
    }

    /// From the air to the callback, as the device itself tells.
    pub fn latency(&self) -> Duration {
        self.shared.latency()
    }

    /// Whether nothing but silence comes any more (a file's end).
    pub fn ended(&self) -> bool {
        self.shared.ended.load(Relaxed)
    }

    /// Why the device is of no more use; `None` while it runs.
    pub fn failed(&self) -> Option<&AudioError> {
        self.shared.failure.get()
    }
}

/// A running speaker. Dropping it stops the device.
pub struct OutputStream {
    /// For people.
    pub name: String,
    /// Samples a second.
    pub sample_rate: u32,
    samples: Producer<f32>,
    shared: Arc<Shared>,
    _guard: Box<dyn Any + Send>,
}

/// The device's end of an [`OutputStream`].
pub struct OutputFeed {
    samples: Consumer<f32>,
    /// Something has been written once: from then on an empty ring is an underrun.
    started: bool,
    last: f32,
    shared: Arc<Shared>,
}

/// The parts of an output that come before the device runs: the device's end, and a function that makes the
/// stream once there is something that keeps the device running.
pub fn output(
    name: String,
    sample_rate: u32,
) -> (OutputFeed, Failure, impl FnOnce(Box<dyn Any + Send>) -> OutputStream) {
    let (samples, consumer) = RingBuffer::new((sample_rate / RING_PER_SECOND) as usize);
    let shared = Arc::new(Shared::default());
    let feed = OutputFeed { samples: consumer, started: false, last: 0.0, shared: shared.clone() };
    let failure = Failure(shared.clone());
    (feed, failure, move |guard| OutputStream { name, sample_rate, samples, shared, _guard: guard })
}

impl OutputFeed {
    /// Hands `frames` samples to `play`, the first of which will be heard after `latency`. What is not there
    /// is counted, and fades away from the last sample. Fit for an audio callback.
    pub fn pull(&mut self, frames: usize, latency: Duration, mut play: impl FnMut(f32)) {
        let ready = frames.min(self.samples.slots());
        if let Ok(chunk) = self.samples.read_chunk(ready) {
            for sample in chunk {
                self.last = sample;
                play(sample);
            }
        }
        for _ in ready..frames {
            self.last *= FADE;
            play(self.last);
        }
        self.started |= ready > 0;
        if self.started && ready < frames {
            self.shared.missed.fetch_add(1, Relaxed);
        }
        self.shared.note_period(frames);
        self.shared.note_latency(latency);
    }
}

impl OutputStream {
    /// Queues as much of `block` as fits; says how much.
    pub fn write(&mut self, block: &[f32]) -> usize {
        self.samples.push_partial_slice(block).0.len()
    }

    /// Samples that are queued and not taken by the device yet.
    pub fn queued(&self) -> usize {
        self.samples.buffer().capacity() - self.samples.slots()
    }

    /// The most samples that the device has taken at once, of late; 0 before it has taken any.
    pub fn period(&self) -> usize {
        self.shared.period.load(Relaxed) as usize
    }

    /// Times that the device asked for more samples than were there.
    pub fn underruns(&self) -> u64 {
        self.shared.missed.load(Relaxed)
    }

    /// From the callback to the air, as the device itself tells.
    pub fn latency(&self) -> Duration {
        self.shared.latency()
    }

    /// Why the device is of no more use; `None` while it runs.
    pub fn failed(&self) -> Option<&AudioError> {
        self.shared.failure.get()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn input_keeps_order_counts_what_it_drops_and_stamps_what_it_keeps() {
        let (mut feed, _, stream) = input("mic".into(), 8_000);
        let mut stream = stream(Box::new(()));
        let start = Instant::now();
        feed.push(3_000, start, (0..3_000).map(|n| n as f32));
        feed.push(3_000, start, (3_000..6_000).map(|n| n as f32));
        feed.push(10, start, (0..10).map(|n| n as f32));
        assert_eq!(stream.overruns(), 2_010);
        let mut block = [0.0; 5_000];
        assert_eq!(stream.read(&mut block), 4_000);
        assert!(block[..4_000].iter().enumerate().all(|(n, sample)| *sample == n as f32));
        feed.push(10, start, (0..10).map(|n| n as f32));
        let positions: Vec<_> = std::iter::from_fn(|| stream.stamp()).map(|stamp| stamp.position).collect();
        assert_eq!(positions, [0, 3_000, 4_000, 4_000]);
    }

    #[test]
    fn output_counts_what_is_missing_only_once_started_and_fades() {
        let (mut feed, failure, stream) = output("speaker".into(), 8_000);
        let mut stream = stream(Box::new(()));
        let mut played = Vec::new();
        feed.pull(100, Duration::ZERO, |sample| played.push(sample));
        assert_eq!((stream.underruns(), played.iter().filter(|sample| **sample == 0.0).count()), (0, 100));
        assert_eq!(stream.write(&[0.5; 150]), 150);
        assert_eq!(stream.queued(), 150);
        played.clear();
        feed.pull(200, Duration::from_millis(3), |sample| played.push(sample));
        assert_eq!((played.len(), stream.underruns(), stream.queued()), (200, 1, 0));
        assert!(played[150..].windows(2).all(|pair| pair[1] < pair[0] && pair[1] > 0.0));
        assert_eq!((stream.period(), stream.latency()), (200, Duration::from_millis(3)));
        assert!(stream.failed().is_none());
        failure.set(AudioError::NoSpeaker);
        failure.set(AudioError::NoMicrophone);
        assert_eq!(stream.failed(), Some(&AudioError::NoSpeaker));
    }
}
