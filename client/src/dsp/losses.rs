//! How many of a talker's packets get lost, of late.
//!
//! Sequence numbers tell how many were sent (as in RFC 3550 §A.3), but across a silence only that there was one: what
//! is spoken elsewhere takes numbers too. All counts forget exponentially.
//!
//! A network that loses several packets in a row hurts more than its share of lost packets says: protection by what
//! other packets bring is overcome by it. So there is the loss as it is *felt* too: that of a network that loses each
//! packet by itself, and three of four packets as often.

use super::{RATE, delay::MS};

/// Sound after which a packet has 1/e of its weight left, in ticks.
const MEMORY: f32 = 3.0 * RATE as f32;
/// The same where several are lost in a row, which is rarer.
const LONG_MEMORY: f32 = 10.0 * RATE as f32;
/// Loss is felt as so many times what it is, at most; and as more than it is from so many holes of late on: one hole is no
/// reason to protect what comes after it.
const MOST_FELT: f32 = 4.0;
const HOLES: f32 = 1.3;
/// A hole counts for so much sound at most, in ticks: nothing bridges a longer one, and whoever was deafened or elsewhere
/// was sent nothing.
const LONGEST: u32 = 40 * MS;
/// Capture times that are further apart than the numbers between them say, by more than this, have a silence between.
const SILENCE: u32 = 40 * MS;
/// Packets that are taken to have come before the first one.
const BEFORE: f32 = 100.0;
/// What comes before the newest packet by more is of another clock or count.
const STRANGE: i32 = 1 << 16;

/// Counts one talker's packets.
#[derive(Clone, Copy, Debug, Default)]
pub struct LossMeter {
    newest: Option<(u32, u32)>,
    /// Whether each of the last packets was lost, the newest in the lowest bit.
    lost: u8,
    sent: f32,
    received: f32,
    /// Packets, those of them that were the last of four of which three or four were lost, and the holes they were in.
    looked_at: f32,
    worst: f32,
    holes: f32,
}

impl LossMeter {
    /// A packet has come, not for the second time. It was sent for the `duration` of sound from `captured` on, both in
    /// ticks, the latter of the talker's clock.
    pub fn observe(&mut self, sequence: u32, captured: u32, duration: u32) {
        let (newest, at) = self.newest.unwrap_or((sequence.wrapping_sub(1), captured.wrapping_sub(duration)));
        let ahead = sequence.wrapping_sub(newest).cast_signed();
        if self.newest.is_none() || !(-STRANGE..=STRANGE).contains(&ahead) {
            let newest = Some((sequence, captured));
            *self = Self { newest, sent: BEFORE, received: BEFORE, looked_at: BEFORE, ..Self::default() };
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
        let longest = 1 + (LONGEST / duration.max(1)).max(1);
        let packets = if silent { 1 } else { ahead.unsigned_abs().min(longest) };
        let kept = (-((packets * duration) as f32) / MEMORY).exp();
        self.sent = self.sent * kept + packets as f32;
        self.received = self.received * kept + 1.0;
        let kept = (-((packets * duration) as f32) / LONG_MEMORY).exp();
        self.looked_at = self.looked_at * kept + packets as f32;
        let worst = self.note(packets) as f32;
        self.worst = self.worst * kept + worst;
        self.holes = self.holes * kept + worst.min(1.0);
        self.newest = Some((sequence, captured));
    }

    /// Of so many packets the last has come. Says how many of them end four of which three or four were lost.
    fn note(&mut self, packets: u32) -> u32 {
        let ends_four = |n: u32| {
            self.lost = self.lost << 1 | u8::from(n < packets);
            u32::from((self.lost & 0b1111).count_ones() >= 3)
        };
        (1..=packets).map(ends_four).sum()
    }

    /// The share that gets lost, 0 to 1.
    pub fn share(&self) -> f32 {
        if self.sent > 0.0 { (1.0 - self.received / self.sent).clamp(0.0, 1.0) } else { 0.0 }
    }

    /// The loss as it is felt, 0 to 1: the share, or more.
    pub fn felt(&self) -> f32 {
        if self.holes < HOLES {
            return self.share();
        }
        let worst = (self.worst / self.looked_at).min(1.0);
        // Three of four packets that are lost by themselves with p: 4p³ − 3p⁴, which rises from 0 to 1.
        let (mut low, mut high) = (0.0, 1.0);
        for _ in 0..16 {
            let p = f32::midpoint(low, high);
            if p.powi(3) * (4.0 - 3.0 * p) < worst { low = p } else { high = p }
        }
        low.clamp(self.share(), (self.share() * MOST_FELT).min(1.0))
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
        // Nobody protects for a single packet at the beginning.
        assert!(met(10, |n| n == 5).felt() < 0.02);
    }

    #[test]
    fn what_is_lost_in_a_row_is_felt_more() {
        // One of ten in turn: never three of four. Three of thirty in a row: twice in thirty packets.
        let (single, row) = (met(3_000, |n| n % 10 == 1), met(3_000, |n| n % 30 < 3));
        assert!((single.felt() - single.share()).abs() < 0.001);
        assert!((row.share() - 0.1).abs() < 0.02);
        let p = row.felt();
        assert!((p.powi(3) * (4.0 - 3.0 * p) - 2.0 / 30.0).abs() < 0.02, "{p}");
        // By chance: it is felt as what it is.
        let mut random = 1u32;
        let lost: Vec<bool> = (0..20_000)
            .map(|_| {
                random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                random >> 8 < (0.2 * f64::from(1 << 24)) as u32
            })
            .collect();
        let chance = met(20_000, |n| lost[n as usize]);
        assert!((chance.felt() - 0.2).abs() < 0.07, "{}", chance.felt());
    }

    #[test]
    fn one_hole_is_none_of_many() {
        for hole in [3, 15, 100, 5_000] {
            let meter = met(1_000 + hole + 100, |n| (1_000..1_000 + hole).contains(&n));
            assert!(meter.felt() < 0.02, "{hole}: {}", meter.felt());
        }
        assert!(met(1_100, |n| n >= 1_000 && n % 30 < 4).felt() > 0.1);
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
                prop_assert!((meter.share()..=1.0).contains(&meter.felt()));
            }
        }
    }
}
