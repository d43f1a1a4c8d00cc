//! Waiting longer after each failed try, within bounds, and never in step with other clients.

use std::time::Duration;

/// The wait before the first retry.
const FIRST: Duration = Duration::from_millis(250);
/// No wait is longer at first: people are back within seconds of their server.
const LONG: Duration = Duration::from_millis(1_500);
/// A server that is away for longer than this is not restarted just now.
const SOON: Duration = Duration::from_secs(60);
/// After that no wait is longer.
const LONGEST: Duration = Duration::from_secs(15);
/// Each wait is shortened by up to this share, at random.
const JITTER: f64 = 0.4;

/// Counts the tries of one outage.
#[derive(Clone, Copy, Debug, Default)]
pub struct Backoff {
    tries: u32,
    /// The last wait, before it was shortened.
    last: Duration,
    /// All waits together.
    waited: Duration,
}

impl Backoff {
    /// The wait before the next try. `random` is from 0 to 1.
    pub fn next(&mut self, random: f64) -> Duration {
        let longest = if self.waited < SOON { LONG } else { LONGEST };
        self.last = (self.last * 2).clamp(FIRST, longest);
        self.tries = self.tries.saturating_add(1);
        let wait = self.last.mul_f64(1.0 - JITTER * random.clamp(0.0, 1.0));
        self.waited = self.waited.saturating_add(wait);
        wait
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
        fn grows_within_bounds(randoms in proptest::collection::vec(0.0f64..=1.0, 1..200)) {
            let mut backoff = Backoff::default();
            let mut waited = Duration::ZERO;
            for (number, random) in randoms.into_iter().enumerate() {
                let longest = if waited < SOON { LONG } else { LONGEST };
                let wait = backoff.next(random);
                prop_assert!(wait <= longest && wait >= FIRST.mul_f64(1.0 - JITTER));
                prop_assert_eq!(backoff.tries() as usize, number + 1);
                waited += wait;
            }
        }
    }

    #[test]
    fn doubles_and_after_a_minute_again() {
        let mut backoff = Backoff::default();
        let waits: Vec<_> = (0..50).map(|_| backoff.next(0.0).as_millis()).collect();
        assert_eq!(waits[..5], [250, 500, 1_000, 1_500, 1_500]);
        assert!(waits[..39].iter().sum::<u128>() < 60_000 && waits[41] == 1_500);
        assert_eq!(waits[42..47], [3_000, 6_000, 12_000, 15_000, 15_000]);
    }
}
