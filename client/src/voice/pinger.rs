//! Probes of round trip and loss. Pure: the time is passed in.

use std::time::{Duration, Instant};

/// The first probes follow each other quickly: the clock should be known before the first word.
const EAGER: u32 = 5;
const EAGER_EVERY: Duration = Duration::from_millis(100);
const EVERY: Duration = Duration::from_secs(1);
/// Probes that loss is computed over: half a minute.
const HISTORY: usize = 30;
/// A probe that is not answered within this time is lost.
const LOST_AFTER: Duration = Duration::from_secs(1);

/// Decides when to ping, and what the pongs say.
#[derive(Debug)]
pub struct Pinger {
    sent: [Option<Probe>; HISTORY],
    next_sequence: u32,
    next_at: Instant,
    rtt: Option<Duration>,
}

#[derive(Clone, Copy, Debug)]
struct Probe {
    sequence: u32,
    sent_at: Instant,
    answered: bool,
}

impl Pinger {
    /// Due at once.
    pub fn new(now: Instant) -> Self {
        Self { sent: [None; HISTORY], next_sequence: 0, next_at: now, rtt: None }
    }

    /// The sequence number of a ping to send now, if one is due.
    pub fn due(&mut self, now: Instant) -> Option<u32> {
        if now < self.next_at {
            return None;
        }
        let sequence = self.next_sequence;
        self.next_sequence = sequence.checked_add(1)?;
        self.next_at = now + if sequence < EAGER { EAGER_EVERY } else { EVERY };
        self.sent[sequence as usize % HISTORY] = Some(Probe { sequence, sent_at: now, answered: false });
        Some(sequence)
    }

    /// A pong came: its round trip, unless it answers no ping that is remembered, or one that was answered.
    pub fn pong(&mut self, sequence: u32, now: Instant) -> Option<Duration> {
        let probe = self.sent[sequence as usize % HISTORY].as_mut()?;
        if probe.sequence != sequence || probe.answered {
            return None;
        }
        probe.answered = true;
        let rtt = now.saturating_duration_since(probe.sent_at);
        // Smoothed as RFC 6298 §2 does.
        self.rtt = Some(self.rtt.map_or(rtt, |smooth| smooth * 7 / 8 + rtt / 8));
        Some(rtt)
    }

    /// Smoothed round trip.
    pub fn rtt(&self) -> Option<Duration> {
        self.rtt
    }

    /// Share of the last probes that were lost, 0 to 1.
    pub fn loss(&self, now: Instant) -> f32 {
        let decided =
            |probe: &&Probe| probe.answered || now.saturating_duration_since(probe.sent_at) >= LOST_AFTER;
        let (all, lost) = self
            .sent
            .iter()
            .flatten()
            .filter(decided)
            .fold((0u32, 0u32), |(all, lost), probe| (all + 1, lost + u32::from(!probe.answered)));
        if all == 0 { 0.0 } else { lost as f32 / all as f32 }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn eager_first_then_every_second() {
        let start = Instant::now();
        let mut pinger = Pinger::new(start);
        let due: Vec<_> =
            (0..3_000).filter(|ms| pinger.due(start + Duration::from_millis(*ms)).is_some()).collect();
        assert_eq!(due, [0, 100, 200, 300, 400, 500, 1_500, 2_500]);
    }

    #[test]
    fn round_trip_and_loss() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut pinger = Pinger::new(start);
        assert_eq!(pinger.due(at(0)), Some(0));
        assert_eq!(pinger.due(at(100)), Some(1));
        assert_eq!(pinger.pong(0, at(40)), Some(Duration::from_millis(40)));
        assert_eq!(pinger.pong(0, at(41)), None, "answered already");
        assert_eq!(pinger.pong(17, at(41)), None, "never sent");
        assert!(pinger.loss(at(900)).abs() < f32::EPSILON, "the second may still come");
        assert!((pinger.loss(at(1_100)) - 0.5).abs() < f32::EPSILON);
        assert_eq!(pinger.rtt(), Some(Duration::from_millis(40)));
    }
}
