//! The search for the most that holds: first by doubling, then by halving what is between.

/// What is known of the limit.
#[derive(Clone, Copy, Debug)]
pub struct Search {
    /// The most that held; 0 before any did.
    pub held: usize,
    /// The least that failed.
    pub failed: Option<usize>,
    first: usize,
    top: usize,
}

/// The search ends when what is between is less than this share of what held: a machine is not steadier than that.
const GRAIN: usize = 20;

impl Search {
    /// From a first guess, and up to a number that is not passed.
    pub fn new(first: usize, top: usize) -> Self {
        Self { held: 0, failed: None, first: first.clamp(1, top), top }
    }

    /// What to try next; none at the end.
    pub fn next(&self) -> Option<usize> {
        let between = match self.failed {
            None if self.held == 0 => return Some(self.first),
            None if self.held == self.top => return None,
            None => return Some((self.held * 2).min(self.top)),
            Some(failed) => failed - self.held,
        };
        (between > (self.held / GRAIN).max(1)).then_some(self.held + between / 2)
    }

    /// Whether it held.
    pub fn note(&mut self, tried: usize, held: bool) {
        if held {
            self.held = self.held.max(tried);
        } else {
            self.failed = Some(self.failed.map_or(tried, |failed| failed.min(tried)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(first: usize, top: usize, limit: usize) -> (usize, usize) {
        let mut search = Search::new(first, top);
        let mut steps = 0;
        while let Some(tried) = search.next() {
            assert!((1..=top).contains(&tried));
            search.note(tried, tried <= limit);
            steps += 1;
            assert!(steps < 30);
        }
        (search.held, steps)
    }

    #[test]
    fn the_limit_is_found_within_its_grain() {
        for limit in 0..=200 {
            let (held, _) = found(4, 200, limit);
            assert!(held <= limit && limit - held <= (held / GRAIN).max(1), "{held} of {limit}");
        }
    }

    #[test]
    fn small_limits_are_found_exactly() {
        assert_eq!([0, 1, 7, 19].map(|limit| found(8, 200, limit).0), [0, 1, 7, 19]);
    }

    #[test]
    fn nothing_is_tried_above_the_top() {
        assert_eq!(found(4, 10, 1_000), (10, 3));
        assert_eq!(found(50, 10, 1_000), (10, 1));
    }
}
