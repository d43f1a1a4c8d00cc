//! How large the buffers of a stream are: as small as goes without losing sound.
//!
//! cpal asks a sound server for one size in two roles: how much sound is handed over at once, and how much may wait
//! to be. A microphone's buffer that is small enough for the first is too small for the second: whatever the server
//! has beyond it, because it or this process was late for a moment, is dropped, and on a busy computer a third of all
//! sound may go that way.
//!
//! `PulseAudio` hands over what it has when it has it, and works in steps as small as the most demanding stream asks
//! for. So there the microphone is opened with a large buffer, and a second stream, whose sound nobody listens to,
//! sets the pace. `PipeWire` waits until a buffer is full, so there the buffer is the smallest that nothing is lost
//! with. Which of the two it is shows in the size of the first pieces.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use cpal::{
    BufferSize, Error, ErrorKind, SampleFormat, Stream, StreamConfig, SupportedBufferSize,
    SupportedStreamConfig,
};

/// Callbacks a second that are asked for, best first; a device that takes none of them has its own way.
const CALLBACKS: [u32; 4] = [200, 100, 50, 25];
/// A buffer that outlasts a server's hiccups (85 ms at 48 kHz). Powers of two, as `PipeWire`'s steps are.
const LARGE: u32 = 4_096;
/// Buffers for a server that fills them, best first; the first also sets the pace (5.3 ms at 48 kHz).
const SMALL: [u32; 4] = [256, 512, 1_024, 2_048];
/// Pieces of sound after which it shows how they are handed over, and how long they are waited for.
const PIECES: u32 = 4;
const PATIENCE: Duration = Duration::from_secs(1);
/// How long is listened for loss, and how much of the sound has to come.
const TRIAL: Duration = Duration::from_millis(300);
const ENOUGH: f64 = 0.9;
/// How often is looked while waiting.
const LOOK: Duration = Duration::from_millis(5);

/// What has come from a microphone.
#[derive(Debug)]
pub(super) struct Flow {
    pieces: AtomicU32,
    smallest: AtomicU32,
    samples: AtomicU64,
}

impl Default for Flow {
    fn default() -> Self {
        Self { pieces: AtomicU32::new(0), smallest: AtomicU32::new(u32::MAX), samples: AtomicU64::new(0) }
    }
}

impl Flow {
    /// A piece has come. Fit for an audio callback.
    pub(super) fn note(&self, samples: usize) {
        self.pieces.fetch_add(1, Relaxed);
        self.smallest.fetch_min(samples as u32, Relaxed);
        self.samples.fetch_add(samples as u64, Relaxed);
    }

    /// Whether pieces come without the buffer having been filled.
    fn comes_at_once(&self) -> bool {
        let patience = Instant::now() + PATIENCE;
        while self.pieces.load(Relaxed) < PIECES && Instant::now() < patience {
            std::thread::park_timeout(LOOK);
        }
        self.smallest.load(Relaxed) < LARGE / 2
    }

    /// Whether nearly all sound comes.
    fn comes_whole(&self, sample_rate: u32) -> bool {
        let (before, start) = (self.samples.load(Relaxed), Instant::now());
        while start.elapsed() < TRIAL {
            std::thread::park_timeout(LOOK);
        }
        let came = (self.samples.load(Relaxed) - before) as f64;
        came >= start.elapsed().as_secs_f64() * f64::from(sample_rate) * ENOUGH
    }
}

/// Opens a microphone on a sound server.
pub(super) fn without_loss<S>(
    supported: &SupportedStreamConfig,
    open: impl Fn(StreamConfig, SampleFormat, &Arc<Flow>) -> Result<S, Error>,
    pace: impl FnOnce(StreamConfig, SampleFormat) -> Result<Stream, Error>,
) -> Result<(S, Option<Stream>), Error> {
    let format = supported.sample_format();
    let config = |frames: u32| StreamConfig { buffer_size: BufferSize::Fixed(frames), ..supported.config() };
    let flow = Arc::default();
    let pace = pace(config(SMALL[0]), format)?;
    let stream = open(config(LARGE), format, &flow)?;
    if flow.comes_at_once() {
        return Ok((stream, Some(pace)));
    }
    drop((stream, pace));
    let mut last = None;
    for frames in SMALL {
        let flow = Arc::default();
        // The one before is closed first, so that it does not set the pace.
        drop(last.take());
        let stream = open(config(frames), format, &flow)?;
        if flow.comes_whole(supported.sample_rate()) {
            return Ok((stream, None));
        }
        last = Some(stream);
    }
    // A server this late is late with every size.
    last.map(|stream| (stream, None)).ok_or_else(|| ErrorKind::UnsupportedConfig.into())
}

/// Tries the buffer sizes, best first.
pub(super) fn in_any_size<S>(
    supported: &SupportedStreamConfig,
    open: impl Fn(StreamConfig, SampleFormat) -> Result<S, Error>,
) -> Result<S, Error> {
    let sizes = CALLBACKS.map(|callbacks| {
        let frames = (supported.sample_rate() / callbacks).max(1);
        BufferSize::Fixed(match supported.buffer_size() {
            SupportedBufferSize::Range { min, max } if min <= max => frames.clamp(*min, *max),
            _ => frames,
        })
    });
    let mut refusal = None;
    for buffer_size in sizes.into_iter().chain([BufferSize::Default]) {
        let config = StreamConfig { buffer_size, ..supported.config() };
        match open(config, supported.sample_format()) {
            Ok(opened) => return Ok(opened),
            // What is not about the size will not get better with another size.
            Err(error)
                if matches!(error.kind(), ErrorKind::DeviceNotAvailable | ErrorKind::PermissionDenied) =>
            {
                return Err(error);
            }
            Err(error) => refusal = Some(error),
        }
    }
    Err(refusal.unwrap_or_else(|| ErrorKind::UnsupportedConfig.into()))
}
