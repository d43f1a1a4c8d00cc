//! How fast somebody may go on: the generic cell rate algorithm for one of whom there are many. It is two numbers and
//! no clock, where the limiters of `auth` have a table and a clock each.

use std::time::Duration;

/// So many a second, and some at once after a rest.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rate {
    /// One each.
    every: Duration,
    /// How far one may run ahead of that.
    ahead: Duration,
}

impl Rate {
    /// None, and with it no limit, where `per_second` is 0.
    pub(crate) fn new(per_second: u32, at_once: u32) -> Option<Self> {
        let every = Duration::from_secs(1).checked_div(per_second)?;
        Some(Self { every, ahead: every * at_once.saturating_sub(1) })
    }
}

/// Where somebody stands. `now` is the time since any moment, always the same.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Pace {
    /// When the next would be due if they came evenly.
    due: Duration,
}

impl Pace {
    /// One more, if it is not too early.
    pub(crate) fn step(&mut self, rate: Rate, now: Duration) -> bool {
        if self.due.saturating_sub(now) > rate.ahead {
            return false;
        }
        self.due = self.due.max(now) + rate.every;
        true
    }

    /// Whether there is nothing to remember.
    pub(crate) fn has_rested(self, now: Duration) -> bool {
        self.due <= now
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn some_at_once_and_then_evenly() {
        let rate = Rate::new(10, 5).unwrap();
        let mut pace = Pace::default();
        let start = Duration::from_secs(7);
        assert_eq!((0..100).filter(|_| pace.step(rate, start)).count(), 5);
        assert!(!pace.step(rate, start + Duration::from_millis(99)));
        assert!(pace.step(rate, start + Duration::from_millis(100)));
        assert!(!pace.step(rate, start + Duration::from_millis(100)));
        // After a rest, the same again and no more.
        assert!(!pace.has_rested(start) && pace.has_rested(start + Duration::from_secs(1)));
        assert_eq!((0..100).filter(|_| pace.step(rate, start + Duration::from_secs(60))).count(), 5);
    }

    #[test]
    fn zero_is_no_limit() {
        assert!(Rate::new(0, 5).is_none());
    }

    proptest! {
        /// Whenever they come: never more than the rate and the start together.
        #[test]
        fn never_more_than_promised(
            per_second in 1u32..1_000,
            at_once in 1u32..100,
            waits in prop::collection::vec(0u64..50, 1..500),
        ) {
            let rate = Rate::new(per_second, at_once).unwrap();
            let (mut pace, mut now, mut taken) = (Pace::default(), Duration::ZERO, 0.0);
            for wait in waits {
                now += Duration::from_millis(wait);
                taken += f64::from(u8::from(pace.step(rate, now)));
                prop_assert!(taken <= now.as_secs_f64() * f64::from(per_second) + f64::from(at_once) + 0.01);
            }
        }
    }
}
