//! The capture thread: microphone ring → 48 kHz → processing → gate → Opus → [`PacketSink`].
//!
//! The thread owns the device, and keeps it open as long as it lives: a device that fails or cannot be opened is
//! reported and tried again. It polls the ring every millisecond, so nothing on the audio callback's side ever
//! waits for it or wakes it.

mod controls;
mod line;
mod preroll;
mod sender;

use std::{
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use rtrb::Consumer;
use voip_protocol::voice::{FrameDuration, Share};

pub use controls::CaptureControls;
pub use line::CaptureLine;

use crate::audio::{AudioError, InputStream};

/// How often the ring is looked at.
const POLL: Duration = Duration::from_millis(1);
/// Commands that may wait while a device is being opened.
const COMMANDS: usize = 64;
/// How long a device that failed is left alone.
const RETRY: Duration = Duration::from_millis(500);

/// Takes what the capture thread makes, on that thread.
pub trait PacketSink: Send {
    /// Takes a packet; should be done in well under its duration.
    fn packet(&mut self, packet: EncodedPacket<'_>);
}

/// A piece of talk, ready to be sealed.
#[derive(Clone, Copy, Debug)]
pub struct EncodedPacket<'a> {
    /// An Opus frame, or shares of two.
    pub payload: &'a [u8],
    /// Which shares; none: a frame as it is.
    pub share: Option<Share>,
    /// When the first sample that a decoder makes of the frame was in front of the microphone (of two frames, the
    /// younger): by the encoder's look-ahead before the first sample that was given to it. Within a burst exactly one
    /// duration after the last frame's, unless the device lost samples or its clock has strayed by 10 ms.
    pub captured_at: Instant,
    /// How much sound a frame has.
    pub duration: FrameDuration,
    /// It begins a burst.
    pub first_of_burst: bool,
    /// Nothing follows the younger frame in it; every burst has such a packet, whatever ends it.
    pub last_of_burst: bool,
}

/// Opens the microphone that is wanted; called again after it has failed.
pub type OpenInput = Box<dyn FnMut() -> Result<InputStream, AudioError> + Send>;
/// Told on the capture thread whenever a device is open (its name) or has become a new kind of problem.
pub type OnDevice = Box<dyn FnMut(Result<String, AudioError>) + Send>;

/// A running capture thread. Dropping it ends the burst under way, closes the device and waits for the thread.
pub struct Capture {
    commands: Option<SyncSender<OpenInput>>,
    thread: Option<JoinHandle<()>>,
}

impl Capture {
    /// Starts the thread, which opens the device first thing. `far` has what the speaker plays, at 48 kHz, if that is
    /// known.
    ///
    /// # Panics
    /// When the system cannot start a thread.
    pub fn spawn(
        open: OpenInput,
        sink: Box<dyn PacketSink>,
        far: Option<Consumer<f32>>,
        controls: Arc<CaptureControls>,
        on_device: OnDevice,
    ) -> Self {
        let (commands, replaced) = sync_channel(COMMANDS);
        let thread = std::thread::Builder::new()
            .name("voice-capture".into())
            .spawn(move || run(open, far, &replaced, &mut CaptureLine::new(sink, controls), on_device))
            .expect("as std::thread::spawn: without threads there is no program");
        Self { commands: Some(commands), thread: Some(thread) }
    }

    /// Closes the device, and opens another one in its place.
    pub fn replace(&self, open: OpenInput) {
        if let Some(commands) = &self.commands {
            // The thread ends only with this handle, or by a panic that has been reported.
            let _ = commands.send(open);
        }
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        drop(self.commands.take());
        if let Some(thread) = self.thread.take() {
            // A panic over there has been reported over there.
            let _ = thread.join();
        }
    }
}

/// Why a device is no longer used.
enum End {
    Stopped,
    Replaced(OpenInput),
    Failed(AudioError),
}

fn run(
    mut open: OpenInput,
    mut far: Option<Consumer<f32>>,
    commands: &Receiver<OpenInput>,
    line: &mut CaptureLine,
    mut on_device: OnDevice,
) {
    let mut reported = None;
    loop {
        let problem = match open() {
            Ok(mut stream) => {
                reported = None;
                on_device(Ok(stream.name.clone()));
                line.opened(stream.sample_rate);
                let end = serve(&mut stream, far.as_mut(), commands, line);
                line.closed();
                match end {
                    End::Stopped => return,
                    End::Replaced(another) => {
                        open = another;
                        continue;
                    }
                    End::Failed(problem) => problem,
                }
            }
            Err(problem) => problem,
        };
        if reported.as_ref() != Some(&problem) {
            on_device(Err(problem.clone()));
            reported = Some(problem);
        }
        match commands.recv_timeout(RETRY) {
            Ok(another) => (open, reported) = (another, None),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

/// Works through what the device captures until there is a reason to stop.
fn serve(
    stream: &mut InputStream,
    mut far: Option<&mut Consumer<f32>>,
    commands: &Receiver<OpenInput>,
    line: &mut CaptureLine,
) -> End {
    let mut block = [0.0; 1024];
    let mut overruns = 0;
    // What was played while there was no microphone is no echo of now.
    if let Some(chunk) = far.as_mut().and_then(|far| far.read_chunk(far.slots()).ok()) {
        chunk.commit_all();
    }
    loop {
        match commands.recv_timeout(POLL) {
            Ok(another) => return End::Replaced(another),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return End::Stopped,
        }
        while let Some(stamp) = stream.stamp() {
            line.stamp(stamp);
        }
        // Before what the microphone heard of it.
        if let Some(far) = &mut far {
            line.hear(far);
        }
        loop {
            let count = stream.read(&mut block);
            line.samples(&block[..count]);
            if count < block.len() {
                break;
            }
        }
        line.lost(stream.overruns() - overruns);
        overruns = stream.overruns();
        if let Some(problem) = stream.failed() {
            return End::Failed(problem.clone());
        }
    }
}

#[cfg(test)]
mod tests;
