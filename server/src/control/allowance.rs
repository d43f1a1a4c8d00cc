//! What one connection may ask of the hub, so that it leaves time for the others.

use std::{
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use crate::{
    door::{Pace, Rate},
    metrics::Metrics,
};

/// So many seconds' worth of messages may come at once: a client that comes back tells its whole state.
const BURST_SECONDS: u32 = 3;
/// So many messages are refused before the connection ends, if they come much too fast.
const REFUSALS: u32 = 100;

/// Of one connection.
pub(super) struct Allowance {
    /// For what is answered, and for what is refused.
    rates: Option<(Rate, Rate)>,
    answered: Pace,
    refused: Pace,
    metrics: Arc<Metrics>,
}

/// What becomes of a message.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is taken.
    Take,
    /// It is refused.
    Refuse,
    /// It is refused, and the connection ends.
    End,
}

impl Allowance {
    /// So many messages a second; 0: no limit.
    pub(super) fn new(per_second: u32, metrics: Arc<Metrics>) -> Self {
        let answered = Rate::new(per_second, per_second.saturating_mul(BURST_SECONDS));
        let rates = answered.zip(Rate::new(per_second, REFUSALS));
        Self { rates, answered: Pace::default(), refused: Pace::default(), metrics }
    }

    /// One more message, at the time since any one moment.
    pub(super) fn spend(&mut self, now: Duration) -> Verdict {
        let Some((answered, refused)) = self.rates else { return Verdict::Take };
        if self.answered.step(answered, now) {
            return Verdict::Take;
        }
        self.metrics.messages_refused.fetch_add(1, Relaxed);
        if self.refused.step(refused, now) { Verdict::Refuse } else { Verdict::End }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdicts(allowance: &mut Allowance, per_second: u64, seconds: u64) -> [usize; 3] {
        let mut count = [0; 3];
        for number in 0..per_second * seconds {
            count[allowance.spend(Duration::from_micros(number * 1_000_000 / per_second)) as usize] += 1;
        }
        count
    }

    #[test]
    fn a_busy_client_is_answered_a_hasty_one_refused_a_flood_ended() {
        let allowance = || Allowance::new(20, Arc::default());
        assert_eq!(verdicts(&mut allowance(), 20, 60), [1_200, 0, 0]);
        let [taken, refused, ended] = verdicts(&mut allowance(), 30, 60);
        assert!((1_255..=1_265).contains(&taken) && refused > 500 && ended == 0, "{taken} {refused} {ended}");
        let mut flooded = allowance();
        let first_end = (0..1_000).position(|_| flooded.spend(Duration::ZERO) == Verdict::End);
        assert_eq!(first_end, Some(160));
        assert_eq!(flooded.metrics.messages_refused.load(Relaxed), 101);
        assert_eq!(verdicts(&mut Allowance::new(0, Arc::default()), 10_000, 1), [10_000, 0, 0]);
    }
}
