//! Waiting longer after each failed try, within bounds, and never in step with other clients.

use std::time::Duration;

/// The wait before the first retry.
const FIRST: Duration = Duration::from_millis(250);
/// No wait is longer: people are back within seconds of their server.
const LONGEST: Duration = Duration::from_millis(2_000);
/// Each wait is shortened by up to this share, at random.
const JITTER: f64 = 0.4;

/// Counts the tries of one outage.
#[derive(Clone, Copy, Debug, Default)]
pub struct Backoff {
    tries: u32,
}

impl Backoff {
    /// The wait before the next try. `random` is from 0 to 1.
    pub fn next(&mut self, random: f64) -> Duration {
        let doubled = FIRST.saturating_mul(1 << self.tries.min(16));
        self.tries = self.tries.saturating_add(1);
        doubled.min(LONGEST).mul_f64(1.0 - JITTER * random.clamp(0.0, 1.0))
    }

    /// Tries so far.
    pub fn tries(self) -> u32 {
        self.tries
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn grows_within_bounds(randoms in proptest::collection::vec(0.0f64..=1.0, 1..100)) {
            let mut backoff = Backoff::default();
            for (number, random) in randoms.into_iter().enumerate() {
                let wait = backoff.next(random);
                prop_assert!(wait <= LONGEST && wait >= FIRST.mul_f64(1.0 - JITTER));
                prop_assert_eq!(backoff.tries() as usize, number + 1);
            }
        }
    }

    #[test]
    fn doubles() {
        let mut backoff = Backoff::default();
        let waits: Vec<_> = (0..5).map(|_| backoff.next(0.0).as_millis()).collect();
        assert_eq!(waits, [250, 500, 1000, 2000, 2000]);
    }
}
