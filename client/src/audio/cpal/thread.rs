//! Threads for calls that may hang with the sound system, and what holds a stream open on one.

use std::{
    sync::{
        atomic::{AtomicUsize, Ordering::AcqRel},
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    time::Duration,
};

use crate::audio::AudioError;

/// How long the system may take to answer.
const ANSWER: Duration = Duration::from_secs(5);
/// How long closing a device is waited for, so that it can be opened again at once.
const CLOSING: Duration = Duration::from_millis(300);
/// Calls that may hang at the same time. A system that answers none of these is not asked again until it does.
const MAX_HANGING: usize = 8;

static UNANSWERED: AtomicUsize = AtomicUsize::new(0);

/// Runs `work` on a thread of its own, and waits for its answer for as long as an answer may take.
pub(super) fn on_thread<T: Send + 'static>(
    work: impl FnOnce(Answer<T>) + Send + 'static,
) -> Result<T, AudioError> {
    let silent =
        |reason: &str| AudioError::Failed { device: "the sound system".into(), reason: reason.into() };
    let (answer, answered) = sync_channel(1);
    let answer = Answer::new(answer).ok_or_else(|| silent("it does not answer"))?;
    std::thread::Builder::new()
        .name("sound-device".into())
        .spawn(move || work(answer))
        .map_err(|error| silent(&error.to_string()))?;
    answered.recv_timeout(ANSWER).map_err(|_| silent("it does not answer"))
}

/// Where the answer to a call goes.
pub(super) struct Answer<T>(SyncSender<T>);

impl<T> Answer<T> {
    fn new(to: SyncSender<T>) -> Option<Self> {
        // Counted before it is looked at, and counted back by the drop if it is one too many.
        let before = UNANSWERED.fetch_add(1, AcqRel);
        let answer = Self(to);
        (before < MAX_HANGING).then_some(answer)
    }

    /// The answer. If nobody waits any more, it is dropped.
    pub(super) fn give(self, answer: T) {
        let _ = self.0.send(answer);
    }
}

impl<T> Drop for Answer<T> {
    fn drop(&mut self) {
        UNANSWERED.fetch_sub(1, AcqRel);
    }
}

/// What keeps a stream's thread from closing the stream.
pub(super) struct Hold {
    stop: Option<SyncSender<()>>,
    done: Receiver<()>,
}

/// The other end of a [`Hold`].
pub(super) struct Released {
    /// Disconnected when the hold is released.
    pub(super) stop: Receiver<()>,
    /// To be told when the stream is closed.
    pub(super) done: SyncSender<()>,
}

impl Hold {
    pub(super) fn new() -> (Self, Released) {
        let ((stop, stopped), (tell, done)) = (sync_channel(1), sync_channel(1));
        (Self { stop: Some(stop), done }, Released { stop: stopped, done: tell })
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        drop(self.stop.take());
        // A device that takes longer is closed when it is closed.
        let _ = self.done.recv_timeout(CLOSING);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_system_that_never_answers_is_not_asked_for_ever() {
        let (ask, asked) = sync_channel(MAX_HANGING);
        let (keep, kept) = sync_channel::<()>(1);
        let kept = std::sync::Arc::new(std::sync::Mutex::new(kept));
        let callers: Vec<_> = (0..MAX_HANGING)
            .map(|_| {
                let (ask, kept) = (ask.clone(), kept.clone());
                std::thread::spawn(move || {
                    on_thread::<()>(move |answer| {
                        ask.send(()).unwrap();
                        let _ = kept.lock().unwrap().recv();
                        answer.give(());
                    })
                })
            })
            .collect();
        for _ in 0..MAX_HANGING {
            asked.recv().unwrap();
        }
        assert!(matches!(on_thread::<()>(|_| panic!("it was asked")), Err(AudioError::Failed { .. })));
        drop(keep);
        assert!(callers.into_iter().all(|caller| caller.join().unwrap().is_ok()));
        assert_eq!(on_thread(|answer| answer.give(7)), Ok(7));
    }
}
