//! The jitter buffer: puts one talker's frames back in order and hands each out when it is its turn.
//!
//! **Bursts.** A burst is what a talker says between two silences; its last frame is marked. The first frame of a
//! burst waits until `arrival − lag + delay`, where lag is how much later it came than the fastest frame of late,
//! and delay is what the [`DelayEstimator`] asks for. From there on the pace is the listener's: each pull hands out
//! the next frame in sequence. So the delay is set anew with each burst, which is where it shrinks.
//!
//! **A frame that is not there at its turn.** If a later one of the same burst is, the frame counts as lost, is
//! concealed, and the burst goes on behind it. If nothing is there, the network may only be slow: sound is made up
//! and the sequence *waits*, so that the delay grows by what was made up, at once, and nothing said is dropped. When
//! the wait gets longer than [`HOLD`] the burst is given up, with a fade. (`NetEQ` tells expand and loss apart in the same
//! way.) A frame that comes after its turn is late; each one makes the next pull wait once more, up to the delay
//! that would have been enough. What such waits have taught is kept as a floor of the delay that sinks over some seconds.
//!
//! **Long bursts.** A frame handed out tells how much longer than needed it has waited, or how much less than would be
//! safe. The caller plays it faster or slower, shortens it, or leaves it out where it is silent; this is how delay
//! changes, and sound cards that run at other speeds keep together, within a burst. What has waited far too long is
//! dropped here.
//!
//! **Sequence numbers** go on across bursts, contexts and silences. Only numbers that are missing inside of a burst,
//! as its capture times tell, count as lost.
//!
//! Times are ticks of 1/48000 s: those of the listener are monotonic `u64`, those of the talker wrap at 32 bits.

mod frame;
mod slot;

use voip_protocol::limits::MAX_OPUS_FRAME;

pub use frame::{Arrival, Counters, Frame, Inserted, Pull};
use slot::{EMPTY, Expected, Slot, continues};

use super::delay::{DelayEstimator, MS};

/// Frames that are kept at most: 1.28 s of 10 ms each.
const SLOTS: u32 = 128;
/// Packets that a frame takes at most.
const MOST_PACKETS: u32 = 8;
/// What a frame waits for its packets at most.
const MAX_SPREAD: u32 = 60 * MS;
/// When the first frame of all comes, this many before it are still welcome.
const BEFORE_FIRST: u32 = SLOTS / 2;
/// Sound that is made up at most while nothing comes. Beyond it, made-up speech is a drone.
const HOLD: u32 = 100 * MS;
/// Sound that is made up at once while waiting.
const HOLD_STEP: u32 = 10 * MS;
/// The longest that a frame waits on purpose.
const MAX_DELAY: u32 = 400 * MS;
/// A frame that has waited this much longer than needed is dropped even from the middle of a word.
const MAX_SURPLUS: i32 = 200 * MS as i32;
/// Sound over which the floor under the delay sinks to 1/e.
const FLOOR_MEMORY: f32 = 5_000.0 * MS as f32;
/// Share of a new measurement in the smoothed delay.
const SMOOTHING: f32 = 1.0 / 16.0;
/// Lost frames that one gap counts for at most: a minute's worth.
const MAX_GAP: u32 = 6_000;

/// Where the buffer is in the talker's sequence.
#[derive(Clone, Copy, Debug)]
enum Phase {
    /// Nothing is being played. `broken`: the last burst ended without its last frame, here it would have gone on.
    Idle { broken: Option<Expected> },
    /// A burst is being played; sound has been made up for `held` ticks in place of the next frame.
    Playing { next: Expected, held: u32 },
}

/// Buffers one talker. Allocates nothing after it is made.
pub struct Jitter {
    slots: Box<[Slot]>,
    filled: u32,
    phase: Phase,
    /// The lowest sequence number that is still welcome; `None` before the first frame.
    low: Option<u32>,
    /// Of the numbers below `low`, nearest first: which have been here, and which count as lost.
    seen: u128,
    missed: u128,
    estimator: DelayEstimator,
    /// What frames wait for that come in several packets, in ticks.
    spread: u32,
    /// What waits have shown to be needed, in ticks.
    floor: f32,
    /// Delay of the frame handed out last.
    current: u32,
    /// A late frame has asked for a longer delay.
    wait_once: bool,
    smoothed: f32,
    counters: Counters,
}

impl Default for Jitter {
    fn default() -> Self {
        Self {
            slots: vec![EMPTY; SLOTS as usize].into_boxed_slice(),
            filled: 0,
            phase: Phase::Idle { broken: None },
            low: None,
            seen: 0,
            missed: 0,
            estimator: DelayEstimator::default(),
            spread: 0,
            floor: 0.0,
            current: 0,
            wait_once: false,
            smoothed: 0.0,
            counters: Counters::default(),
        }
    }
}

impl Jitter {
    /// Learns from a packet of a frame of several, which could have been sent as soon as `samples` of sound from
    /// `capture_time` on had been captured.
    pub fn packet(&mut self, capture_time: u32, at: u64, samples: u32) {
        self.estimator.observe(capture_time, at, samples);
    }

    /// Takes in a frame.
    pub fn insert(&mut self, frame: &Arrival<'_>) -> Inserted {
        if frame.opus.len() > MAX_OPUS_FRAME {
            return self.refuse();
        }
        let mut low = *self.low.get_or_insert(frame.sequence.wrapping_sub(BEFORE_FIRST));
        let ahead = frame.sequence.wrapping_sub(low) as i32;
        if ahead < 0 {
            return self.insert_late(frame, ahead.unsigned_abs());
        }
        if ahead as u32 >= SLOTS && self.filled > 0 && (ahead as u32) < 2 * SLOTS {
            low = self.make_room(low, frame.sequence);
        }
        if frame.sequence.wrapping_sub(low) >= SLOTS {
            if self.filled > 0 {
                return self.refuse();
            }
            self.give_up();
            low = frame.sequence.wrapping_sub(BEFORE_FIRST);
            self.move_to(low);
        }
        if self.slot(frame.sequence).filled {
            self.counters.duplicates += 1;
            return Inserted::Duplicate;
        }
        self.counters.received += 1;
        let lag = self.learn(frame);
        self.spread = frame.spread.min(MAX_SPREAD);
        let slot = &mut self.slots[index(frame.sequence)];
        slot.opus[..frame.opus.len()].copy_from_slice(frame.opus);
        (slot.filled, slot.len, slot.lag) = (true, frame.opus.len() as u16, lag);
        (slot.sequence, slot.packets) = (frame.sequence, frame.packets.clamp(1, MOST_PACKETS));
        (slot.capture_time, slot.arrival) = (frame.capture_time, frame.at);
        (slot.duration, slot.last_of_burst) = (frame.duration, frame.last_of_burst);
        self.filled += 1;
        Inserted::Accepted
    }

    /// What to play at `now`. Each call but the silent ones is a step further: call it when the last step's sound
    /// has been used up.
    pub fn pull(&mut self, now: u64) -> Pull<'_> {
        match self.step(now) {
            Step::Silence => Pull::Silence,
            Step::Conceal { samples, last } => {
                self.counters.concealed += 1;
                Pull::Conceal { samples: samples as usize, last }
            }
            Step::Play { sequence, first, surplus } => {
                let slot = self.slot(sequence);
                Pull::Frame(Frame {
                    sequence,
                    capture_time: slot.capture_time,
                    duration: slot.duration,
                    first,
                    last: slot.last_of_burst,
                    surplus,
                    opus: &slot.opus[..usize::from(slot.len)],
                })
            }
        }
    }

    /// What has been seen so far.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// The time that frames wait here, smoothed, in ticks.
    pub fn delay(&self) -> f32 {
        self.smoothed
    }

    /// The delay that the next burst starts with, in ticks.
    pub fn wanted(&self) -> u32 {
        (self.estimator.wanted() + self.spread).max(self.floor as u32).min(MAX_DELAY)
    }

    /// Nothing is being played and nothing waits to be.
    pub fn is_idle(&self) -> bool {
        self.filled == 0 && matches!(self.phase, Phase::Idle { .. })
    }

    /// Drops what has waited longest, so that there is a place for `sequence`; says what is the lowest number now.
    fn make_room(&mut self, low: u32, sequence: u32) -> u32 {
        let from = sequence.wrapping_sub(SLOTS - 1);
        for _ in 0..from.wrapping_sub(low) {
            self.drop_lowest();
            self.shift(false, false);
        }
        if let Phase::Playing { next, .. } = self.phase
            && from.wrapping_sub(next.sequence).cast_signed() > 0
        {
            self.phase = Phase::Idle { broken: None };
        }
        from
    }

    /// Drops the frame at `low`, if there is one.
    fn drop_lowest(&mut self) {
        if let Some(low) = self.low.filter(|low| self.slot(*low).filled) {
            self.slots[index(low)].filled = false;
            self.filled -= 1;
            self.counters.late += 1;
        }
    }

    fn refuse(&mut self) -> Inserted {
        self.counters.received += 1;
        self.counters.refused += 1;
        Inserted::Full
    }

    fn insert_late(&mut self, frame: &Arrival<'_>, behind: u32) -> Inserted {
        let bit = 1u128.checked_shl(behind - 1).unwrap_or(0);
        if self.seen & bit != 0 {
            self.counters.duplicates += 1;
            return Inserted::Duplicate;
        }
        self.seen |= bit;
        if self.missed & bit != 0 {
            self.missed &= !bit;
            self.counters.lost = self.counters.lost.saturating_sub(1);
        }
        self.counters.received += 1;
        self.counters.late += 1;
        let lag = self.learn(frame);
        self.wait_once |= lag > self.current && self.current + HOLD_STEP <= MAX_DELAY;
        Inserted::Late
    }

    fn learn(&mut self, frame: &Arrival<'_>) -> u32 {
        let lag = (frame.spread > 0).then(|| self.estimator.lag(frame.capture_time, frame.at)).flatten();
        lag.unwrap_or_else(|| {
            self.estimator.observe(frame.capture_time, frame.at, frame.duration.samples() as u32)
        })
    }

    fn step(&mut self, now: u64) -> Step {
        loop {
            let step = match self.phase {
                Phase::Playing { next, held } => self.play_on(next, held, now),
                Phase::Idle { broken } => self.start(broken, now),
            };
            if let Some(step) = step {
                return step;
            }
        }
    }

    /// The next step of a burst; `None`: the phase has changed, or a frame was passed over.
    fn play_on(&mut self, next: Expected, held: u32, now: u64) -> Option<Step> {
        let step = next.duration.samples() as u32;
        if self.slot(next.sequence).filled {
            let slot = self.slot(next.sequence);
            if slot.capture_time.wrapping_sub(next.capture_time).wrapping_add(HOLD) > 2 * HOLD {
                self.phase = Phase::Idle { broken: None };
                return None;
            }
            if std::mem::take(&mut self.wait_once) {
                return Some(self.hold(next, held));
            }
            return self.take(next.sequence, held, false, now);
        }
        match self.earliest() {
            Some(later) if continues(next, self.slot(later)) => {
                self.miss(next);
                let next = next.before(self.slot(later));
                // What would come between them now has had its turn.
                self.move_to(next.sequence);
                self.phase = Phase::Playing { next, held: held.saturating_sub(step) };
                // What has been made up while waiting stands in for the frame, or for the start of it.
                (held < step).then(|| Step::Conceal { samples: step - held, last: false })
            }
            // The burst's end is missing, and the next burst is here.
            Some(_) => {
                self.miss(next);
                self.phase = Phase::Idle { broken: None };
                (held == 0).then_some(Step::Conceal { samples: step, last: true })
            }
            None if held >= HOLD => {
                self.give_up();
                Some(Step::Silence)
            }
            None => Some(self.hold(next, held)),
        }
    }

    /// Makes up some sound in the place of the next frame, which goes on being the next one.
    fn hold(&mut self, next: Expected, held: u32) -> Step {
        let samples = HOLD_STEP.min(next.duration.samples() as u32);
        let held = held + samples;
        self.phase = Phase::Playing { next, held };
        Step::Conceal { samples, last: held >= HOLD }
    }

    /// Begins a burst when it is time to; `None`: a frame was passed over.
    fn start(&mut self, broken: Option<Expected>, now: u64) -> Option<Step> {
        let Some(first) = self.earliest() else { return Some(Step::Silence) };
        let slot = self.slot(first);
        if now.saturating_add(slot.lag.into()) < slot.arrival.saturating_add(self.wanted().into()) {
            return Some(Step::Silence);
        }
        if let Some(broken) = broken {
            self.account_for(broken, first);
        }
        self.wait_once = false;
        self.take(first, 0, true, now)
    }

    /// A burst broke off before `broken`, and the next frame that is there is `first`: counts what is known to be
    /// missing, which is all between them if they are of the same burst, and else the end of the broken one.
    fn account_for(&mut self, broken: Expected, first: u32) {
        let between = first.wrapping_sub(broken.sequence);
        let same = continues(broken, self.slot(first));
        let frames = between.div_ceil(broken.packets);
        self.counters.lost += u64::from(frames.min(if same { MAX_GAP } else { 1 }));
        while let Some(low) = self.low.filter(|low| *low != first) {
            self.shift(false, same || low == broken.sequence);
        }
    }

    /// Hands out a frame that is there; `None`: it has waited far too long.
    fn take(&mut self, sequence: u32, held: u32, first: bool, now: u64) -> Option<Step> {
        let slot = &mut self.slots[index(sequence)];
        slot.filled = false;
        self.filled -= 1;
        let waited = u32::try_from(now.saturating_sub(slot.arrival)).unwrap_or(u32::MAX);
        let (duration, last) = (slot.duration, slot.last_of_burst);
        let (packets, capture_time) = (slot.packets, slot.capture_time);
        let next = Expected { sequence, packets, capture_time, duration }.after();
        self.current = waited.saturating_add(slot.lag);
        self.move_to(sequence);
        self.pass(packets, true, false);
        self.phase = if last { Phase::Idle { broken: None } } else { Phase::Playing { next, held: 0 } };

        let samples = duration.samples() as f32;
        self.floor -= self.floor * (samples / FLOOR_MEMORY);
        if held > 0 {
            self.floor = self.floor.max(self.current.min(MAX_DELAY) as f32);
        }
        let surplus = self.current.min(i32::MAX as u32).cast_signed() - self.wanted().cast_signed();
        if surplus > MAX_SURPLUS && self.filled > 0 {
            self.counters.late += 1;
            // The frame behind the gap starts afresh.
            self.phase = Phase::Idle { broken: None };
            return None;
        }
        self.smoothed += (waited as f32 - self.smoothed) * if self.smoothed == 0.0 { 1.0 } else { SMOOTHING };
        Some(Step::Play { sequence, first, surplus })
    }

    /// The burst under way, if any, has ended without its end having been seen.
    fn give_up(&mut self) {
        if let Phase::Playing { next, .. } = self.phase {
            self.phase = Phase::Idle { broken: Some(next) };
        }
    }

    /// A frame has not come.
    fn miss(&mut self, frame: Expected) {
        self.counters.lost += 1;
        self.move_to(frame.sequence);
        self.pass(frame.packets, false, true);
    }

    /// The frame at `low` has had its turn. What stands between it, if it takes so many packets, and the next one is none.
    fn pass(&mut self, packets: u32, seen: bool, missed: bool) {
        self.shift(seen, missed);
        for _ in 1..packets {
            if seen {
                self.drop_lowest();
            } else if self.low.is_some_and(|low| self.slot(low).filled) {
                // How many packets a frame would have taken that has not come is a guess.
                break;
            }
            self.shift(false, false);
        }
    }

    fn shift(&mut self, seen: bool, missed: bool) {
        self.seen = self.seen << 1 | u128::from(seen);
        self.missed = self.missed << 1 | u128::from(missed);
        self.low = self.low.map(|low| low.wrapping_add(1));
    }

    /// Frames below `sequence` are no longer welcome. What is there of them has been handed out.
    fn move_to(&mut self, sequence: u32) {
        let by = self.low.map_or(0, |low| sequence.wrapping_sub(low) as i32);
        if by > 0 {
            self.seen = self.seen.checked_shl(by as u32).unwrap_or(0);
            self.missed = self.missed.checked_shl(by as u32).unwrap_or(0);
            self.low = Some(sequence);
        }
    }

    /// The lowest sequence number that is there.
    fn earliest(&self) -> Option<u32> {
        let low = self.low.filter(|_| self.filled > 0)?;
        (0..SLOTS).map(|n| low.wrapping_add(n)).find(|sequence| self.slot(*sequence).filled)
    }

    fn slot(&self, sequence: u32) -> &Slot {
        &self.slots[index(sequence)]
    }
}

enum Step {
    Play { sequence: u32, first: bool, surplus: i32 },
    Conceal { samples: u32, last: bool },
    Silence,
}

fn index(sequence: u32) -> usize {
    (sequence % SLOTS) as usize
}

#[cfg(test)]
mod tests;
