//! How much one session may send: a token bucket for its packets and one for their bytes. Pure, in whole numbers.

/// What is saved up while a session is silent: as much as it may send in this time, in nanoseconds. A radio link that
/// stood still for so long hands over all at once what was spoken meanwhile, and that is no flood.
const BURST_NS: u64 = 1_000_000_000;
/// A bucket counts billionths of a packet or byte: what flows in is rate × nanoseconds, without a division.
const ONE: u64 = 1_000_000_000;

/// Pings of one session in a second. A client sends five while it talks, and one every 20 ms for a while where an answer
/// is overdue; who asks for more makes the server a generator of pongs.
pub const PINGS_PER_SECOND: u32 = 50;

/// What each session may send in a second; 0: no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rates {
    /// Packets.
    pub packets_per_second: u32,
    /// Bytes of their datagrams, IP and UDP aside.
    pub bytes_per_second: u32,
}

impl Rates {
    /// For pings, which have all one length.
    pub const PINGS: Self = Self { packets_per_second: PINGS_PER_SECOND, bytes_per_second: 0 };
}

/// What one session may still send.
#[derive(Clone, Copy, Debug)]
pub struct Allowance {
    /// When the levels were looked at last.
    at_ns: u64,
    packets: Bucket,
    bytes: Bucket,
}

impl Allowance {
    /// The full burst.
    pub fn full(rates: Rates, now_ns: u64) -> Self {
        let Rates { packets_per_second, bytes_per_second } = rates;
        Self {
            at_ns: now_ns,
            packets: Bucket::full(packets_per_second),
            bytes: Bucket::full(bytes_per_second),
        }
    }

    /// Whether a packet of so many bytes may pass at this time, in nanoseconds. What may not pass costs nothing, so
    /// that a talker above its rate is heard at its rate.
    pub fn take(&mut self, rates: Rates, bytes: usize, now_ns: u64) -> bool {
        let Rates { packets_per_second, bytes_per_second } = rates;
        let elapsed_ns = now_ns.saturating_sub(self.at_ns);
        self.at_ns = self.at_ns.max(now_ns);
        self.packets.fill(packets_per_second, elapsed_ns);
        self.bytes.fill(bytes_per_second, elapsed_ns);
        let (one, bytes) = (ONE, bytes as u64 * ONE);
        let passes = self.packets.has(packets_per_second, one) && self.bytes.has(bytes_per_second, bytes);
        if passes {
            self.packets.0 = self.packets.0.saturating_sub(one);
            self.bytes.0 = self.bytes.0.saturating_sub(bytes);
        }
        passes
    }
}

/// What is in it, in units of one over [`ONE`].
#[derive(Clone, Copy, Debug)]
struct Bucket(u64);

impl Bucket {
    fn full(rate: u32) -> Self {
        Self(u64::from(rate) * BURST_NS)
    }

    /// No more than [`BURST_NS`] flows in at once, so nothing overflows: twice the fullest bucket is below 2⁶⁴.
    fn fill(&mut self, rate: u32, elapsed_ns: u64) {
        let level = self.0 + u64::from(rate) * elapsed_ns.min(BURST_NS);
        self.0 = level.min(Self::full(rate).0);
    }

    fn has(self, rate: u32, amount: u64) -> bool {
        rate == 0 || self.0 >= amount
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn limited(packets_per_second: u32, bytes_per_second: u32) -> Rates {
        Rates { packets_per_second, bytes_per_second }
    }

    /// What passes of a second's packets, this far apart.
    fn passed(rates: Rates, every_ns: u64, bytes: usize, from_ns: u64, seconds: u64) -> usize {
        let mut allowance = Allowance::full(rates, from_ns);
        (0..seconds * SECOND / every_ns)
            .filter(|n| allowance.take(rates, bytes, from_ns + n * every_ns))
            .count()
    }

    #[test]
    fn a_talker_within_the_rate_never_notices() {
        assert_eq!(passed(limited(400, 0), 2_500_000, 1_200, 7, 60), 60 * 400);
        assert_eq!(passed(limited(0, 80_000), 2_500_000, 200, 7, 60), 60 * 400);
    }

    #[test]
    fn a_flood_passes_at_the_rate_after_the_burst() {
        // Ten times the rate for ten seconds: the burst, and then as much as the time allows.
        assert_eq!(passed(limited(500, 0), 200_000, 100, 0, 10), 500 + 5_000 - 1);
        assert_eq!(passed(limited(0, 50_000), 200_000, 100, 0, 10), 500 + 5_000 - 1);
        // The stricter of the two decides.
        assert_eq!(passed(limited(500, 10_000), 200_000, 100, 0, 10), 100 + 1_000 - 1);
    }

    #[test]
    fn zero_is_no_limit() {
        assert_eq!(passed(limited(0, 0), 1_000, 1_200, 0, 1), 1_000_000);
    }

    #[test]
    fn the_highest_rates_and_the_longest_silence_do_not_overflow() {
        let rates = limited(u32::MAX, u32::MAX);
        let mut allowance = Allowance::full(rates, 0);
        for now in [0, 1, u64::MAX, u64::MAX] {
            assert!(allowance.take(rates, 1_200, now));
        }
        // Nor does a clock that goes back.
        assert!(allowance.take(rates, 1_200, 5));
    }

    proptest! {
        /// In no span of time more than its share and the burst passes; and nothing is refused that would not be more
        /// than that in some span.
        #[test]
        fn exactly_the_rate_and_the_burst(
            packets_per_second in 1u32..2_000,
            bytes_per_second in 1_200u32..400_000,
            start in 0u64..u64::MAX / 2,
            steps in prop::collection::vec((0u64..20_000_000, 1usize..=1_200, 0u32..100), 1..300),
        ) {
            let rates = limited(packets_per_second, bytes_per_second);
            let mut allowance = Allowance::full(rates, start);
            let mut now = start;
            let mut let_through: Vec<(u64, u128, u128)> = Vec::new();
            for (step, bytes, rare) in steps {
                // Now and then a long silence.
                now += if rare == 0 { step * 200 } else { step };
                let passes = allowance.take(rates, bytes, now);
                // With this packet, whether any span that ends now has more than it may.
                let (mut packets, mut sum, mut fits) = (1u128, bytes as u128, true);
                let mut check = |since: u64, packets: u128, sum: u128| {
                    let span = u128::from(now - since) + u128::from(BURST_NS);
                    fits &= packets * u128::from(ONE) <= u128::from(packets_per_second) * span;
                    fits &= sum * u128::from(ONE) <= u128::from(bytes_per_second) * span;
                };
                check(now, packets, sum);
                for &(at, one, bytes) in let_through.iter().rev() {
                    packets += one;
                    sum += bytes;
                    check(at, packets, sum);
                }
                prop_assert_eq!(passes, fits);
                if passes {
                    let_through.push((now, 1, bytes as u128));
                }
            }
        }

        /// A talker within its rate is never clipped, however its network delays and bunches its packets, up to the
        /// length of the burst.
        #[test]
        fn jitter_is_no_flood(
            packets_per_second in 50u32..1_000,
            delays in prop::collection::vec(0u64..BURST_NS - BURST_NS / 50, 1..400),
        ) {
            let rates = limited(packets_per_second, 0);
            let every = SECOND.div_ceil(u64::from(packets_per_second));
            let mut arrivals: Vec<_> =
                delays.iter().enumerate().map(|(n, delay)| n as u64 * every + delay).collect();
            arrivals.sort_unstable();
            let mut allowance = Allowance::full(rates, 0);
            for at in arrivals {
                prop_assert!(allowance.take(rates, 100, at));
            }
        }
    }
}
