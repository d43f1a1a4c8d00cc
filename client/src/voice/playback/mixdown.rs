//! All talkers into one signal: everything the playback thread does but wait. Its times are passed in, so that it can
//! be driven in virtual time.

use std::time::{Duration, Instant};

use voip_protocol::SessionId;

use super::{HeardFrame, ServerTicks, talker::Talker};
use crate::{
    TalkerStatistics,
    dsp::{Limiter, RATE, add},
};

/// Samples that are made at once: 2.5 ms, the shortest that Opus knows.
pub const BLOCK: usize = 120;
/// Talkers that are decoded at the same time at most.
const MAX_TALKERS: usize = 64;
/// A talker who has not been heard for this long is let go; counters stay.
const IDLE: Duration = Duration::from_secs(10);
/// What a talker loses is told for so long after its last packet.
const SILENT: Duration = Duration::from_secs(2);
/// Talkers whose counters are kept at most.
const MAX_KNOWN: usize = 1024;
/// The thread's clock starts here, so that what arrived before the thread's start has a time too.
const EPOCH: u64 = 3_600 * RATE as u64;

/// Talkers, as they are heard together.
pub struct Mixdown {
    pub(super) talkers: Vec<Talker>,
    /// Counters of talkers that have been let go.
    gone: Vec<TalkerStatistics>,
    limiter: Limiter,
    clock: ServerTicks,
    start: Instant,
}

impl Mixdown {
    /// Nobody talks yet. No time that is passed in may be long before `start`.
    pub fn new(clock: ServerTicks, start: Instant) -> Self {
        Self {
            talkers: Vec::with_capacity(MAX_TALKERS),
            gone: Vec::new(),
            limiter: Limiter::default(),
            clock,
            start,
        }
    }

    /// Takes in a frame. One more talker than can be decoded is not heard until one of the others is silent.
    pub fn receive(&mut self, frame: &HeardFrame) {
        let at = self.ticks(frame.arrival);
        if let Some(talker) = self.talker(frame.session) {
            talker.receive(frame, at);
        }
    }

    /// Makes the next block. It will be heard `ahead` from `now`; `None`: nowhere.
    pub fn render(&mut self, block: &mut [f32; BLOCK], now: Instant, ahead: Option<Duration>) {
        let ticks = self.ticks(now);
        let heard_at = ahead.and_then(|ahead| (self.clock)(now + ahead));
        block.fill(0.0);
        let mut voice = [0.0; BLOCK];
        for talker in &mut self.talkers {
            if talker.render(&mut voice, ticks, heard_at) {
                add(block, &voice);
            }
        }
        self.limiter.process(block);
    }

    /// Throws away what is under way, but no counters.
    pub(super) fn silence(&mut self) {
        self.gone.extend(self.talkers.drain(..).map(|talker| of_one_gone(&talker)));
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        self.talkers.clear();
        self.gone.clear();
    }

    /// Lets go of talkers who have been silent for long, and forgets the losses of those who are silent.
    pub(super) fn drop_idle(&mut self, now: Instant) {
        let now = self.ticks(now);
        let silent = SILENT.as_secs() * u64::from(RATE);
        for talker in &mut self.talkers {
            if now.saturating_sub(talker.heard_at()) >= silent {
                talker.forget_losses();
            }
        }
        let idle = IDLE.as_secs() * u64::from(RATE);
        let gone = self
            .talkers
            .extract_if(.., |talker| talker.is_idle() && now.saturating_sub(talker.heard_at()) >= idle);
        self.gone.extend(gone.map(|talker| of_one_gone(&talker)));
        if self.gone.len() > MAX_KNOWN {
            self.gone.drain(..self.gone.len() - MAX_KNOWN);
        }
    }

    /// Whoever has been heard.
    pub fn statistics(&self) -> Vec<TalkerStatistics> {
        self.gone.iter().cloned().chain(self.talkers.iter().map(Talker::statistics)).collect()
    }

    fn talker(&mut self, session: SessionId) -> Option<&mut Talker> {
        if let Some(at) = self.talkers.iter().position(|talker| talker.session() == session) {
            return self.talkers.get_mut(at);
        }
        if self.talkers.len() >= MAX_TALKERS {
            let silent = self.talkers.iter().enumerate().filter(|(_, talker)| talker.is_idle());
            let (longest, _) = silent.min_by_key(|(_, talker)| talker.heard_at())?;
            self.gone.push(of_one_gone(&self.talkers.swap_remove(longest)));
        }
        let before = self.gone.iter().position(|talker| talker.session == session);
        let before = before.map(|at| self.gone.swap_remove(at));
        self.talkers.push(Talker::new(session, before)?);
        self.talkers.last_mut()
    }

    fn ticks(&self, at: Instant) -> u64 {
        let ticks = |time: Duration| (time.as_nanos() * u128::from(RATE) / 1_000_000_000) as u64;
        match at.checked_duration_since(self.start) {
            Some(after) => EPOCH + ticks(after),
            None => EPOCH.saturating_sub(ticks(self.start - at)),
        }
    }
}

/// Counters stay; what is lost of late is nothing.
fn of_one_gone(talker: &Talker) -> TalkerStatistics {
    TalkerStatistics { loss: 0.0, felt_loss: 0.0, ..talker.statistics() }
}
