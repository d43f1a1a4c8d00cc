//! All talkers into one signal: everything the playback thread does but wait. Its times are passed in, so that it can
//! be driven in virtual time.

use std::time::{Duration, Instant};

use voip_protocol::SessionId;

use super::{
    HeardFrame, ServerTicks,
    talker::{Gone, Talker},
};
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
    /// What is kept of talkers who have been let go.
    gone: Vec<Gone>,
    levels: bool,
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
            levels: false,
            limiter: Limiter::default(),
            clock,
            start,
        }
    }

    /// Makes all talkers about as loud, or leaves them as they are.
    pub fn level_talkers(&mut self, levels: bool) {
        self.levels = levels;
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
            if talker.render(&mut voice, ticks, heard_at, self.levels) {
                add(block, &voice);
            }
        }
        self.limiter.process(block);
    }

    /// Throws away what is under way, but no counters.
    pub(super) fn silence(&mut self) {
        self.gone.extend(self.talkers.drain(..).map(Talker::let_go));
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
        self.gone.extend(gone.map(Talker::let_go));
        if self.gone.len() > MAX_KNOWN {
            self.gone.drain(..self.gone.len() - MAX_KNOWN);
        }
    }

    /// Whoever has been heard.
    pub fn statistics(&self) -> Vec<TalkerStatistics> {
        let gone = self.gone.iter().map(|gone| gone.statistics.clone());
        gone.chain(self.talkers.iter().map(Talker::statistics)).collect()
    }

    fn talker(&mut self, session: SessionId) -> Option<&mut Talker> {
        if let Some(at) = self.talkers.iter().position(|talker| talker.session() == session) {
            return self.talkers.get_mut(at);
        }
        if self.talkers.len() >= MAX_TALKERS {
            let silent = self.talkers.iter().enumerate().filter(|(_, talker)| talker.is_idle());
            let (longest, _) = silent.min_by_key(|(_, talker)| talker.heard_at())?;
            self.gone.push(self.talkers.swap_remove(longest).let_go());
        }
        let before = self.gone.iter().position(|gone| gone.statistics.session == session);
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
