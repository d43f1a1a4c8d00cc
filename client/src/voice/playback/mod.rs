//! The playback thread: frames from the network → jitter buffers → Opus → mix → limiter → speaker ring.
//!
//! The speaker sets the pace: whenever its ring holds less than one period of the device and a margin, a block of
//! 2.5 ms is made. The margin starts small and grows when the ring has run dry, so that it is as small as this
//! machine allows. Without a speaker the same work is done at the pace of the clock and thrown away, so that
//! buffers and counters go on and a new speaker starts in the present.

mod controls;
mod mixdown;
mod talker;

use std::{
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use rtrb::{Consumer, Producer};
use voip_protocol::{
    SessionId,
    limits::MAX_OPUS_FRAME,
    voice::{FrameDuration, Share, sound},
};

pub use controls::{PlaybackControls, PlaybackStatistics, ServerTicks};
pub use mixdown::{BLOCK, Mixdown};

use super::capture::OnDevice;
use crate::{
    audio::{AudioError, OutputStream},
    dsp::{RATE, Resampler},
};

/// The sound of a block.
const BLOCK_TIME: Duration = Duration::from_micros(BLOCK as u64 * 1_000_000 / RATE as u64);
/// How often the rings are looked at.
const POLL: Duration = Duration::from_millis(1);
/// Commands that may wait while a device is being opened.
const COMMANDS: usize = 64;
/// How long a device that failed is left alone.
const RETRY: Duration = Duration::from_millis(500);
/// How often statistics are published.
const PUBLISH: Duration = Duration::from_millis(250);
/// What the ring holds above one period of the device: at first and at least, at most, and how it changes.
const MARGIN: Duration = Duration::from_millis(4);
const MAX_MARGIN: Duration = Duration::from_millis(40);
const MARGIN_GROWS: Duration = Duration::from_millis(4);
const MARGIN_SHRINKS: Duration = Duration::from_millis(1);
/// The margin shrinks after this long without a dry ring.
const CALM: Duration = Duration::from_secs(10);
/// A period that is assumed before the device has shown its own.
const FIRST_PERIOD: Duration = Duration::from_millis(10);

/// A frame as it comes from the receive thread, by value through a ring.
#[derive(Clone, Copy, Debug)]
pub struct HeardFrame {
    /// Who talks.
    pub session: SessionId,
    /// Number of the talker's packet.
    pub sequence: u32,
    /// When the first sample that a decoder makes of it was captured, in the ticks of [`ServerTicks`].
    pub capture_time: u32,
    /// When the packet came.
    pub arrival: Instant,
    /// How much sound a frame has.
    pub duration: FrameDuration,
    /// The talker falls silent after it.
    pub last_of_burst: bool,
    /// Which shares it has; none: an Opus frame as it is.
    pub share: Option<Share>,
    /// Bytes of the Opus frame, or of the shares.
    pub len: u16,
    /// The Opus frame or the shares, and rubbish behind them.
    pub bytes: [u8; MAX_OPUS_FRAME],
}

impl HeardFrame {
    /// As [`sound`].
    pub fn sound(&self) -> (u32, u32) {
        sound(self.capture_time, self.duration, self.share)
    }

    /// The Opus frame, or the shares.
    pub fn payload(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len).min(MAX_OPUS_FRAME)]
    }
}

/// Opens the speaker that is wanted; called again after it has failed.
pub type OpenOutput = Box<dyn FnMut() -> Result<OutputStream, AudioError> + Send>;

/// A running playback thread. Dropping it closes the device and waits for the thread.
pub struct Playback {
    commands: Option<SyncSender<OpenOutput>>,
    thread: Option<JoinHandle<()>>,
}

impl Playback {
    /// Starts the thread, which opens the device first thing. `on_device` is told on that thread, `far` gets what is
    /// played, at 48 kHz.
    ///
    /// # Panics
    /// When the system cannot start a thread.
    pub fn spawn(
        open: OpenOutput,
        frames: Consumer<HeardFrame>,
        far: Option<Producer<f32>>,
        controls: Arc<PlaybackControls>,
        on_device: OnDevice,
    ) -> Self {
        let (commands, replaced) = sync_channel(COMMANDS);
        let body = move || Thread::new(frames, far, controls, replaced).run(open, on_device);
        let thread = std::thread::Builder::new()
            .name("voice-playback".into())
            .spawn(body)
            .expect("as std::thread::spawn: without threads there is no program");
        Self { commands: Some(commands), thread: Some(thread) }
    }

    /// Closes the device, and opens another one in its place.
    pub fn replace(&self, open: OpenOutput) {
        if let Some(commands) = &self.commands {
            // The thread ends only with this handle, or by a panic that has been reported.
            let _ = commands.send(open);
        }
    }
}

impl Drop for Playback {
    fn drop(&mut self) {
        drop(self.commands.take());
        if let Some(thread) = self.thread.take() {
            // A panic over there has been reported over there.
            let _ = thread.join();
        }
    }
}

/// Why a device is no longer used, or no longer waited for.
enum End {
    Stopped,
    Replaced(OpenOutput),
    Failed(AudioError),
    Waited,
}

struct Thread {
    frames: Consumer<HeardFrame>,
    far: Option<Producer<f32>>,
    controls: Arc<PlaybackControls>,
    commands: Receiver<OpenOutput>,
    mixdown: Mixdown,
    published: Instant,
    underruns: u64,
}

impl Thread {
    fn new(
        frames: Consumer<HeardFrame>,
        far: Option<Producer<f32>>,
        controls: Arc<PlaybackControls>,
        commands: Receiver<OpenOutput>,
    ) -> Self {
        let now = Instant::now();
        let mixdown = Mixdown::new(controls.clock(), now);
        Self { frames, far, controls, commands, mixdown, published: now, underruns: 0 }
    }

    fn run(mut self, mut open: OpenOutput, mut on_device: OnDevice) {
        let mut reported = None;
        loop {
            let problem = match open() {
                Ok(stream) => {
                    reported = None;
                    on_device(Ok(stream.name.clone()));
                    match self.play(stream) {
                        End::Stopped => return,
                        End::Replaced(another) => {
                            open = another;
                            continue;
                        }
                        End::Failed(problem) => problem,
                        End::Waited => continue,
                    }
                }
                Err(problem) => problem,
            };
            if reported.as_ref() != Some(&problem) {
                on_device(Err(problem.clone()));
                reported = Some(problem);
            }
            match self.wait() {
                End::Replaced(another) => (open, reported) = (another, None),
                End::Stopped => return,
                End::Waited | End::Failed(_) => {}
            }
        }
    }

    /// Plays on a device until there is a reason to stop.
    fn play(&mut self, mut stream: OutputStream) -> End {
        let rate = stream.sample_rate;
        let samples_in = |time: Duration| (time.as_nanos() * u128::from(rate) / 1_000_000_000) as usize;
        let mut resampler = Resampler::new(RATE, rate);
        let resampling = Duration::from_secs_f64(resampler.delay() / f64::from(rate));
        let mut block = [0.0; BLOCK];
        let (mut margin, mut dry, mut calm_since) = (MARGIN, stream.underruns(), Instant::now());
        loop {
            if let Some(end) = self.housekeeping() {
                return end;
            }
            if let Some(problem) = stream.failed() {
                return End::Failed(problem.clone());
            }
            let now = Instant::now();
            let underruns = stream.underruns();
            if underruns > dry {
                self.underruns += underruns - dry;
                margin = (margin + MARGIN_GROWS).min(MAX_MARGIN);
                (dry, calm_since) = (underruns, now);
            } else if now - calm_since > CALM {
                margin = margin.saturating_sub(MARGIN_SHRINKS).max(MARGIN);
                calm_since = now;
            }
            let period = match stream.period() {
                0 => samples_in(FIRST_PERIOD),
                period => period,
            };
            let wanted = period + samples_in(margin);
            // As if each block of a pass were made in its turn and the last one now: how long frames wait must not go up
            // and down with the size of the device's bites.
            let mut left =
                wanted.saturating_sub(stream.queued()).div_ceil(samples_in(BLOCK_TIME).max(1)) as u32;
            while stream.queued() < wanted {
                left = left.saturating_sub(1);
                let early = BLOCK_TIME * left;
                let at = now.checked_sub(early).unwrap_or(now);
                let queued = Duration::from_secs_f64(stream.queued() as f64 / f64::from(rate));
                self.mixdown.render(&mut block, at, Some(early + queued + stream.latency() + resampling));
                // What finds no room is not missed: nobody takes it.
                if let Some(chunk) = self.far.as_mut().and_then(|far| far.write_chunk_uninit(BLOCK).ok()) {
                    chunk.fill_from_iter(block);
                }
                let mut full = false;
                resampler.process(&block, |samples| full |= stream.write(samples) < samples.len());
                if full {
                    break;
                }
            }
        }
    }

    /// Goes on without a device for a while.
    fn wait(&mut self) -> End {
        let (start, mut rendered) = (Instant::now(), Duration::ZERO);
        let mut block = [0.0; BLOCK];
        while start.elapsed() < RETRY {
            if let Some(end) = self.housekeeping() {
                return end;
            }
            while rendered < start.elapsed() {
                self.mixdown.render(&mut block, Instant::now(), None);
                rendered += Duration::from_secs(BLOCK as u64) / RATE;
            }
        }
        End::Waited
    }

    /// Takes in what has come, publishes, follows the controls; waits a moment.
    fn housekeeping(&mut self) -> Option<End> {
        match self.commands.recv_timeout(POLL) {
            Ok(another) => return Some(End::Replaced(another)),
            Err(RecvTimeoutError::Disconnected) => return Some(End::Stopped),
            Err(RecvTimeoutError::Timeout) => {}
        }
        if self.controls.take_clear() {
            self.mixdown.clear();
            self.underruns = 0;
        }
        let deafened = self.controls.deafened();
        if deafened {
            self.mixdown.silence();
        }
        self.mixdown.level_talkers(self.controls.levels());
        while let Ok(frame) = self.frames.pop() {
            if !deafened {
                self.mixdown.receive(&frame);
            }
        }
        let now = Instant::now();
        if now - self.published >= PUBLISH {
            self.published = now;
            self.mixdown.drop_idle(now);
            self.controls.publish(PlaybackStatistics {
                talkers: self.mixdown.statistics(),
                underruns: self.underruns,
            });
        }
        None
    }
}

#[cfg(test)]
mod tests;
