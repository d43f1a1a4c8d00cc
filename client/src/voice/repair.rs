//! How much a talker protects its voice against the losses that its listeners report.

use std::time::{Duration, Instant};

use voip_protocol::voice::Code;

/// The steps: protection, the loss from which on it is taken, and the one below which it is left again. What is
/// between is left as it is: each change may be heard.
const STEPS: [(Code, f32, f32); 2] = [(Code::TwoOfFour, 0.02, 0.005), (Code::ThreeOfEight, 0.16, 0.1)];
/// How long it has been calm before the next step down.
const CALM: Duration = Duration::from_secs(10);
/// How long there is less protection, or none, after the server has clipped it.
const CLIPPED: Duration = Duration::from_secs(60);

/// Chooses the protection.
#[derive(Clone, Copy, Debug, Default)]
pub struct Repair {
    /// How many of the steps have been taken.
    steps: usize,
    /// Talk in which nobody has lost enough to keep the last one, and when that was last looked at.
    calm: Duration,
    told_at: Option<Instant>,
    /// How many steps may be taken since the server has clipped more.
    clipped: Option<(usize, Instant)>,
}

impl Repair {
    /// The server takes no more packets from this session: more packets for the same voice are no protection, and what
    /// the server drops looks like loss to the listeners.
    pub fn clipped(&mut self, now: Instant) {
        self.steps = self.steps.saturating_sub(1);
        (self.calm, self.clipped) = (Duration::ZERO, Some((self.steps, now)));
    }

    /// The listener who loses most loses so much, 0 to 1: the protection from now on. `talking`: it is told of what is
    /// being said; that nobody loses what nobody says tells nothing.
    pub fn told(&mut self, loss: f32, talking: bool, now: Instant) -> Option<Code> {
        let passed = self.told_at.replace(now).map_or(Duration::ZERO, |at| now.saturating_duration_since(at));
        let most = match self.clipped {
            Some((steps, at)) if now.saturating_duration_since(at) < CLIPPED => steps,
            _ => STEPS.len(),
        };
        let needed = STEPS.iter().take(most).take_while(|(_, from, _)| loss >= *from).count();
        if needed >= self.steps {
            (self.steps, self.calm) = (needed, Duration::ZERO);
        } else if loss >= STEPS[self.steps - 1].2 {
            self.calm = Duration::ZERO;
        } else if talking {
            self.calm += passed;
            if self.calm >= CALM {
                (self.steps, self.calm) = (self.steps - 1, Duration::ZERO);
            }
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
        let mut told = |loss, second| repair.told(loss, true, start + Duration::from_secs(second));
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

    #[test]
    fn silence_is_not_calm() {
        let mut repair = Repair::default();
        let start = Instant::now();
        let mut told =
            |loss, talking, second| repair.told(loss, talking, start + Duration::from_secs(second));
        assert_eq!(told(0.05, true, 0), Some(Code::TwoOfFour));
        assert_eq!(told(0.0, false, 5), Some(Code::TwoOfFour));
        assert_eq!(told(0.0, false, 500), Some(Code::TwoOfFour));
        assert_eq!(told(0.0, true, 501), Some(Code::TwoOfFour));
        assert_eq!(told(0.0, true, 511), None);
    }

    #[test]
    fn short_turns_are_calm_together() {
        let mut repair = Repair::default();
        let start = Instant::now();
        assert_eq!(repair.told(0.05, true, start), Some(Code::TwoOfFour));
        let mut code = None;
        // Three seconds of talk, seven of silence.
        for second in 1..40 {
            code = repair.told(0.0, second % 10 < 3, start + Duration::from_secs(second));
            assert_eq!(code.is_none(), second >= 31, "{second}");
        }
        assert_eq!(code, None);
    }

    #[test]
    fn what_the_server_clips_is_protected_less_for_a_while() {
        let mut repair = Repair::default();
        let start = Instant::now();
        let at = |second| start + Duration::from_secs(second);
        assert_eq!(repair.told(0.3, true, at(0)), Some(Code::ThreeOfEight));
        repair.clipped(at(1));
        assert_eq!(repair.told(0.6, true, at(2)), Some(Code::TwoOfFour));
        repair.clipped(at(3));
        assert_eq!(repair.told(0.6, true, at(4)), None);
        assert_eq!(repair.told(0.6, true, at(62)), None);
        assert_eq!(repair.told(0.3, true, at(63)), Some(Code::ThreeOfEight));
    }
}
