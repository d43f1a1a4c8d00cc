//! A device made of a thread: moves sound at the pace of real time, as a sound card would.

use std::{
    any::Any,
    sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use super::{AudioError, InputFeed, OutputFeed, stream::Failure};

/// Periods a second.
const PERIODS: u32 = 200;
/// A device that is this far behind was suspended: it goes on from now, and does not catch up.
const SUSPENDED: Duration = Duration::from_millis(400);

/// Where a paced microphone gets its sound.
pub(super) trait Source: Send + 'static {
    /// Fills `block`, the first sample of which was in the air at `captured_at`. False: there is nothing more.
    fn read(&mut self, block: &mut [f32], captured_at: Instant) -> Result<bool, AudioError>;
}

/// Where a paced speaker puts its sound.
pub(super) trait Target: Send + 'static {
    /// Takes `block`, the first sample of which is heard at `played_at`.
    fn write(&mut self, block: &[f32], played_at: Instant) -> Result<(), AudioError>;
}

/// Stops the thread when dropped, and waits for its end.
struct Running {
    stop: Option<SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic over there has been reported over there.
            let _ = thread.join();
        }
    }
}

/// Runs a microphone until the guard is dropped or the source fails.
pub(super) fn run_input(
    sample_rate: u32,
    mut source: impl Source,
    mut feed: InputFeed,
    failure: Failure,
) -> Result<Box<dyn Any + Send>, AudioError> {
    run("paced-input", sample_rate, failure, move |block, at| {
        // What is delivered now was in the air for the period before.
        let captured_at = at.checked_sub(Duration::from_secs(1) / PERIODS).unwrap_or(at);
        if !source.read(block, captured_at)? {
            feed.end();
        }
        feed.push(block.len(), captured_at, block.iter().copied());
        Ok(())
    })
}

/// Runs a speaker until the guard is dropped or the target fails.
pub(super) fn run_output(
    sample_rate: u32,
    mut target: impl Target,
    mut feed: OutputFeed,
    failure: Failure,
) -> Result<Box<dyn Any + Send>, AudioError> {
    run("paced-output", sample_rate, failure, move |block, at| {
        let mut room = block.iter_mut();
        feed.pull(room.len(), Duration::ZERO, |sample| {
            if let Some(slot) = room.next() {
                *slot = sample;
            }
        });
        target.write(block, at)
    })
}

fn run(
    name: &str,
    sample_rate: u32,
    failure: Failure,
    mut period: impl FnMut(&mut [f32], Instant) -> Result<(), AudioError> + Send + 'static,
) -> Result<Box<dyn Any + Send>, AudioError> {
    let (stop, stopped) = sync_channel(1);
    let body = move || {
        if let Err(reason) = pace(sample_rate, &stopped, &mut period) {
            failure.set(reason);
        }
    };
    let thread = std::thread::Builder::new()
        .name(name.into())
        .spawn(body)
        .map_err(|error| AudioError::Failed { device: name.into(), reason: error.to_string() })?;
    Ok(Box::new(Running { stop: Some(stop), thread: Some(thread) }))
}

fn pace(
    sample_rate: u32,
    stopped: &Receiver<()>,
    period: &mut impl FnMut(&mut [f32], Instant) -> Result<(), AudioError>,
) -> Result<(), AudioError> {
    let mut block = vec![0.0; sample_rate.div_ceil(PERIODS) as usize];
    let (mut start, mut done) = (Instant::now(), 0u64);
    loop {
        // Counted in samples from the start, so that rounding does not add up.
        let next = (done + u64::from(sample_rate / PERIODS)).max(done + 1);
        let deadline = start + Duration::from_nanos(next * 1_000_000_000 / u64::from(sample_rate));
        match stopped.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Err(RecvTimeoutError::Timeout) => {}
            Ok(()) | Err(RecvTimeoutError::Disconnected) => return Ok(()),
        }
        if deadline.elapsed() > SUSPENDED {
            (start, done) = (Instant::now(), 0);
            continue;
        }
        period(&mut block[..(next - done) as usize], deadline)?;
        done = next;
    }
}
