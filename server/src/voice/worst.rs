//! What gets lost of a talker's packets, as its listeners report it.

use voip_protocol::voice::Loss;

/// A report counts for this long at least, and for twice as long at most.
const SPAN_NS: u64 = 2_000_000_000;

/// The worst of the reports of late. Two spans are kept, so that no report has to be.
#[derive(Debug, Default)]
pub(super) struct Worst {
    began_ns: u64,
    now: Loss,
    before: Loss,
}

impl Worst {
    /// A listener reports that it loses so much.
    pub(super) fn report(&mut self, loss: Loss, now_ns: u64) {
        self.turn(now_ns);
        self.now = self.now.max(loss);
    }

    /// The most that any listener loses.
    pub(super) fn loss(&mut self, now_ns: u64) -> Loss {
        self.turn(now_ns);
        self.now.max(self.before)
    }

    fn turn(&mut self, now_ns: u64) {
        let passed = now_ns.saturating_sub(self.began_ns);
        if passed >= SPAN_NS {
            self.before = if passed < 2 * SPAN_NS { self.now } else { Loss::default() };
            (self.now, self.began_ns) = (Loss::default(), now_ns - passed % SPAN_NS);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_of_late_is_kept_for_a_while_and_forgotten() {
        let mut worst = Worst::default();
        let (start, second) = (77 * SPAN_NS, SPAN_NS / 2);
        assert_eq!(worst.loss(start), Loss(0));
        worst.report(Loss(30), start);
        worst.report(Loss(10), start + second);
        for (after, loss) in [(second, 30), (SPAN_NS, 30), (SPAN_NS + second, 30), (2 * SPAN_NS, 0)] {
            assert_eq!(worst.loss(start + after), Loss(loss), "{after}");
        }
        worst.report(Loss(40), start + 3 * SPAN_NS);
        worst.report(Loss(20), start + 4 * SPAN_NS);
        assert_eq!(worst.loss(start + 4 * SPAN_NS), Loss(40));
        assert_eq!(worst.loss(start + 5 * SPAN_NS), Loss(20));
        assert_eq!(worst.loss(start + 50 * SPAN_NS), Loss(0));
    }
}
