//! How much a talker protects its voice against the losses that its listeners report.

use std::time::{Duration, Instant};

use voip_protocol::voice::Code;

/// The steps: protection, the loss from which on it is taken, and the one below which it is left again. What is
/// between is left as it is: each change may be heard.
const STEPS: [(Code, f32, f32); 2] = [(Code::TwoOfFour, 0.02, 0.005), (Code::ThreeOfEight, 0.16, 0.1)];
/// How long it has been calm before the next step down.
const CALM: Duration = Duration::from_secs(10);

/// Chooses the protection.
#[derive(Clone, Copy, Debug, Default)]
pub struct Repair {
    /// How many of the steps have been taken.
    steps: usize,
    calm_since: Option<Instant>,
}

impl Repair {
    /// The listener who loses most loses so much, 0 to 1: the protection from now on.
    pub fn told(&mut self, loss: f32, now: Instant) -> Option<Code> {
        let needed = STEPS.iter().take_while(|(_, from, _)| loss >= *from).count();
        if needed >= self.steps {
            (self.steps, self.calm_since) = (needed, None);
        } else if loss >= STEPS[self.steps - 1].2 {
            self.calm_since = None;
        } else if now.saturating_duration_since(*self.calm_since.get_or_insert(now)) >= CALM {
            (self.steps, self.calm_since) = (self.steps - 1, Some(now));
        }
        self.steps.checked_sub(1).map(|step| STEPS[step].0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn goes_up_at_once_and_down_when_it_has_been_calm() {
        let mut repair = Repair::default();
        let start = Instant::now();
        let mut told = |loss, second| repair.told(loss, start + Duration::from_secs(second));
        assert_eq!(told(0.0, 0), None);
        assert_eq!(told(0.019, 1), None);
        assert_eq!(told(0.05, 2), Some(Code::TwoOfFour));
        assert_eq!(told(0.3, 3), Some(Code::ThreeOfEight));
        // Not calm enough, then too soon.
        assert_eq!(told(0.11, 4), Some(Code::ThreeOfEight));
        assert_eq!(told(0.11, 30), Some(Code::ThreeOfEight));
        assert_eq!(told(0.01, 31), Some(Code::ThreeOfEight));
        assert_eq!(told(0.15, 40), Some(Code::ThreeOfEight));
        assert_eq!(told(0.0, 41), Some(Code::ThreeOfEight));
        // One step after another.
        assert_eq!(told(0.0, 51), Some(Code::TwoOfFour));
        assert_eq!(told(0.01, 61), Some(Code::TwoOfFour));
        assert_eq!(told(0.0, 62), Some(Code::TwoOfFour));
        assert_eq!(told(0.004, 72), None);
        assert_eq!(told(f32::NAN, 83), None);
    }
}
