//! How many of a talker's packets get lost, of late.
//!
//! Sequence numbers tell how many were sent (as in RFC 3550 §A.3), but across a silence only that there was one: what
//! is spoken elsewhere takes numbers too. Both counts forget exponentially.

use super::{RATE, delay::MS};

/// Sound after which a packet has 1/e of its weight left, in ticks.
const MEMORY: f32 = 3.0 * RATE as f32;
/// Capture times that are further apart than the numbers between them say, by more than this, have a silence between.
const SILENCE: u32 = 40 * MS;
/// Fewer packets than this tell nothing.
const ENOUGH: f32 = 20.0;
/// What comes before the newest packet by more is of another clock or count.
const STRANGE: i32 = 1 << 16;

/// Counts one talker's packets.
#[derive(Clone, Copy, Debug, Default)]
pub struct LossMeter {
    newest: Option<(u32, u32)>,
    sent: f32,
    received: f32,
}

impl LossMeter {
    /// A packet has come, not for the second time. It was sent for the `duration` of sound from `captured` on, both in
    /// ticks, the latter of the talker's clock.
    pub fn observe(&mut self, sequence: u32, captured: u32, duration: u32) {
        let (newest, at) = self.newest.unwrap_or((sequence.wrapping_sub(1), captured.wrapping_sub(duration)));
        let ahead = sequence.wrapping_sub(newest).cast_signed();
        if !(-STRANGE..=STRANGE).contains(&ahead) {
            *self = Self { newest: Some((sequence, captured)), sent: 1.0, received: 1.0 };
            return;
        }
        if ahead <= 0 {
            // It was only late. What is not there any more cannot be received.
            self.received = (self.received + 1.0).min(self.sent);
            return;
        }
        let spoken = ahead.unsigned_abs() * duration;
        let apart = captured.wrapping_sub(at).cast_signed();
        let silent = apart > spoken.saturating_add(SILENCE).cast_signed();
        let packets = if silent { 1.0 } else { ahead as f32 };
        let kept = (-packets * duration as f32 / MEMORY).exp();
        self.sent = self.sent * kept + packets;
        self.received = self.received * kept + 1.0;
        self.newest = Some((sequence, captured));
    }

    /// The share that gets lost, 0 to 1.
    pub fn share(&self) -> f32 {
        if self.sent < ENOUGH { 0.0 } else { (1.0 - self.received / self.sent).clamp(0.0, 1.0) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Packets of 10 ms, without those that `lost` names.
    fn met(count: u32, lost: impl Fn(u32) -> bool) -> LossMeter {
        let mut meter = LossMeter::default();
        for n in (0..count).filter(|n| !lost(*n)) {
            meter.observe(n.wrapping_sub(50), n.wrapping_mul(480).wrapping_sub(7_000), 480);
        }
        meter
    }

    #[test]
    fn tells_the_share_and_forgets_it() {
        assert_eq!(met(1_000, |_| false).share(), 0.0);
        for every in [3, 5, 10, 20] {
            let share = met(2_000, |n| n % every == 1).share();
            assert!((share - 1.0 / every as f32).abs() < 0.01, "{every}: {share}");
        }
        assert!(met(2_000, |n| n < 1_000 && n % 3 == 1).share() < 0.02);
        assert!(met(1_000, |n| (900..990).contains(&n)).share() > 0.2);
        assert_eq!(met(10, |n| n % 2 == 1).share(), 0.0);
    }

    #[test]
    fn silence_and_what_is_late_are_no_loss() {
        let mut meter = LossMeter::default();
        for n in 0..1_000u32 {
            // A second of silence after each 100 packets, in which 30 are spoken elsewhere.
            let burst = n / 100;
            meter.observe(n + burst * 30, n * 480 + burst * 48_000, 480);
        }
        assert_eq!(meter.share(), 0.0);
        let mut meter = LossMeter::default();
        for n in 0..1_000u32 {
            let n = if n % 10 < 2 { n ^ 1 } else { n };
            meter.observe(n, n * 480, 480);
        }
        assert!(meter.share() < 0.002, "{}", meter.share());
    }

    proptest! {
        #[test]
        fn any_packets_give_a_share(packets in proptest::collection::vec((any::<u32>(), any::<u32>(), 0usize..6), 1..200)) {
            let mut meter = LossMeter::default();
            let mut last = 0u32;
            for (n, (sequence, captured, duration)) in packets.into_iter().enumerate() {
                last = if n % 4 == 0 { sequence } else { last.wrapping_add(sequence % 300) };
                let duration = voip_protocol::voice::FrameDuration::ALL[duration].samples() as u32;
                meter.observe(last, captured, duration);
                prop_assert!((0.0..=1.0).contains(&meter.share()));
            }
        }
    }
}
