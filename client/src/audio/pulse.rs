//! Streams of a `PulseAudio` server, or of `PipeWire` in its place; cpal finds the devices, and knows all other systems.
//!
//! cpal's own streams ask such a server for twice the size of a request and no more, which leaves half a millisecond
//! for the device, so that everything that hears it is woken two thousand times a second; and a microphone's buffer is
//! as small as its pieces, so that sound gets lost. Here each of these is asked for by itself, one thread blocks on one
//! socket, and the server tells five times a second how old its sound is.

mod connection;
mod microphone;
mod speaker;

use std::{
    any::Any,
    convert::Infallible,
    ffi::CString,
    io,
    net::Shutdown,
    os::unix::net::UnixStream,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use pulseaudio::protocol::{Command, LatencyParams, ProtocolError, PulseError, SampleFormat, SampleSpec};

pub(super) use microphone::open as open_microphone;
pub(super) use speaker::open as open_speaker;

use super::{AudioError, stream::Failure};
use connection::{Connection, NO_TIME};

/// How often the server is asked how old its sound is.
const ASK: Duration = Duration::from_millis(200);
/// An answer that takes longer tells nothing of now.
const PROMPT: Duration = Duration::from_millis(5);
/// Bytes of a sample.
const SAMPLE: usize = size_of::<f32>();

/// A device on the server.
pub(super) struct Device<'a> {
    /// As the server calls it.
    pub(super) id: &'a str,
    /// For people.
    pub(super) name: &'a str,
    /// Samples a second.
    pub(super) rate: u32,
}

impl Device<'_> {
    fn spec(&self) -> SampleSpec {
        SampleSpec { format: SampleFormat::Float32Le, channels: 1, sample_rate: self.rate }
    }

    fn server_name(&self) -> Result<CString, Refused> {
        CString::new(self.id).map_err(|_| Refused::Gone)
    }
}

/// Why there is no stream.
#[derive(Debug)]
pub(super) enum Refused {
    /// There is no such device any more.
    Gone,
    /// Anything else, in words.
    Failed(String),
}

impl From<ProtocolError> for Refused {
    fn from(error: ProtocolError) -> Self {
        match error {
            ProtocolError::ServerError(PulseError::NoEntity) => Self::Gone,
            error => Self::Failed(words(&error)),
        }
    }
}

impl From<io::Error> for Refused {
    fn from(error: io::Error) -> Self {
        ProtocolError::Io(error).into()
    }
}

/// A running stream, what it fails with, and what makes it once there is a guard that keeps it running.
pub(super) type Opened<S> = (Running, Failure, Box<dyn FnOnce(Box<dyn Any + Send>) -> S>);

/// A stream that runs until this is dropped.
pub(super) struct Running {
    stopping: Arc<AtomicBool>,
    socket: UnixStream,
    thread: Option<JoinHandle<()>>,
}

impl Running {
    /// Starts the thread that `serve`s the stream until the connection ends.
    fn start(
        connection: Connection,
        device: &Device<'_>,
        failure: Failure,
        serve: impl FnOnce(Connection) -> Result<Infallible, ProtocolError> + Send + 'static,
    ) -> Result<Self, Refused> {
        let (stopping, socket) = (Arc::new(AtomicBool::new(false)), connection.socket()?);
        let (stopped, name) = (Arc::clone(&stopping), device.name.to_owned());
        let thread = std::thread::Builder::new().name("sound-stream".into()).spawn(move || {
            let Err(error) = serve(connection);
            if !stopped.load(Relaxed) {
                failure.set(AudioError::Failed { device: name, reason: words(&error) });
            }
        })?;
        Ok(Self { stopping, socket, thread: Some(thread) })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stopping.store(true, Relaxed);
        // The thread reads the end of the connection. One that has ended already cannot be shut down, and need not.
        let _ = self.socket.shutdown(Shutdown::Both);
        if let Some(thread) = self.thread.take() {
            // A panic over there has been reported over there.
            let _ = thread.join();
        }
    }
}

/// What a person is told.
fn words(error: &ProtocolError) -> String {
    match error {
        ProtocolError::Io(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            "the sound server has ended the connection".into()
        }
        ProtocolError::Io(error) if error.kind() == io::ErrorKind::WouldBlock => {
            "the sound server does not answer".into()
        }
        ProtocolError::ServerError(PulseError::Killed) => "the sound server has taken the device away".into(),
        error => error.to_string(),
    }
}

/// Time that so many samples take, a minute at most.
fn duration(samples: u64, rate: u32) -> Duration {
    let rate = u64::from(rate.max(1));
    Duration::from_nanos(samples.min(60 * rate) * 1_000_000_000 / rate)
}

/// A latency as the server tells it, a minute at most.
fn latency(micros: u64) -> Duration {
    Duration::from_micros(micros.min(60_000_000))
}

/// Asks the server now and then how old its sound is.
struct Asking {
    channel: u32,
    last: Option<(u32, Instant)>,
    due: Instant,
}

impl Asking {
    fn about(channel: u32) -> Self {
        Self { channel, last: None, due: Instant::now() }
    }

    /// Asks if it is time to.
    fn ask(
        &mut self,
        connection: &mut Connection,
        question: fn(LatencyParams) -> Command,
    ) -> Result<(), ProtocolError> {
        let now = Instant::now();
        if now >= self.due {
            let sequence =
                connection.send(&question(LatencyParams { channel: self.channel, now: NO_TIME }))?;
            (self.last, self.due) = (Some((sequence, now)), now + ASK);
        }
        Ok(())
    }

    /// Now, if this is the answer, and tells of now: one that took its time says nothing of when it was written, and is
    /// of use only where nothing is `known` yet.
    fn answered(&self, sequence: u32, known: bool) -> Option<Instant> {
        let (_, at) = self.last.filter(|(expected, _)| *expected == sequence)?;
        let now = Instant::now();
        (!known || now.saturating_duration_since(at) <= PROMPT).then_some(now)
    }
}

/// Bytes of so many millionths of a second.
fn bytes(rate: u32, micros: u32) -> u32 {
    (u64::from(rate) * u64::from(micros) / 1_000_000) as u32 * SAMPLE as u32
}
