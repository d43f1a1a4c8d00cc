//! Replay window: each sequence number counts once, and old ones not at all (RFC 6479's idea of blocks).

use crate::limits::REPLAY_WINDOW;

const BLOCK_BITS: u32 = u64::BITS;
/// One block more than the window, so that the newest block may be partly in use.
const BLOCKS: usize = (REPLAY_WINDOW / BLOCK_BITS) as usize + 1;

/// Which of the last [`REPLAY_WINDOW`] sequence numbers have been seen.
#[derive(Clone, Debug, Default)]
pub struct ReplayWindow {
    seen: [u64; BLOCKS],
    newest: Option<u32>,
}

impl ReplayWindow {
    /// Whether `sequence` is new. Call before the work of authenticating; changes nothing.
    pub fn is_fresh(&self, sequence: u32) -> bool {
        match self.newest {
            None => true,
            Some(newest) if sequence > newest => true,
            Some(newest) => {
                newest - sequence < REPLAY_WINDOW && self.seen[block(sequence)] & bit(sequence) == 0
            }
        }
    }

    /// Marks `sequence` as seen, once it is known to be authentic. False if it was not fresh.
    pub fn accept(&mut self, sequence: u32) -> bool {
        if !self.is_fresh(sequence) {
            return false;
        }
        match self.newest {
            Some(newest) if sequence <= newest => {}
            newest => {
                // Blocks between the old newest and the new one are reused: forget what they held.
                let from = newest.map_or(0, |newest| newest / BLOCK_BITS + 1);
                let to = sequence / BLOCK_BITS;
                let count = (to + 1).saturating_sub(from).min(BLOCKS as u32);
                for number in (to + 1 - count)..=to {
                    self.seen[number as usize % BLOCKS] = 0;
                }
                self.newest = Some(sequence);
            }
        }
        self.seen[block(sequence)] |= bit(sequence);
        true
    }

    /// The highest sequence number seen.
    pub fn newest(&self) -> Option<u32> {
        self.newest
    }
}

fn block(sequence: u32) -> usize {
    (sequence / BLOCK_BITS) as usize % BLOCKS
}

fn bit(sequence: u32) -> u64 {
    1 << (sequence % BLOCK_BITS)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    /// The plain way: remember everything.
    #[derive(Default)]
    struct Model {
        seen: HashSet<u32>,
        newest: Option<u32>,
    }

    impl Model {
        fn accept(&mut self, sequence: u32) -> bool {
            let old =
                self.newest.is_some_and(|newest| newest >= sequence && newest - sequence >= REPLAY_WINDOW);
            let fresh = !old && self.seen.insert(sequence);
            if fresh {
                self.newest = self.newest.max(Some(sequence));
            }
            fresh
        }
    }

    proptest! {
        #[test]
        fn agrees_with_remembering_everything(
            start: u32,
            steps in proptest::collection::vec((-1500i64..1500, 0u32..40), 1..400),
        ) {
            let (mut window, mut model) = (ReplayWindow::default(), Model::default());
            let mut at = i64::from(start);
            for (step, far) in steps {
                let jump = if far == 0 { step * 1000 } else { step };
                at = (at + jump).clamp(0, i64::from(u32::MAX));
                let sequence = at as u32;
                prop_assert_eq!(window.accept(sequence), model.accept(sequence), "sequence {}", sequence);
                prop_assert_eq!(window.newest(), model.newest);
            }
        }
    }

    #[test]
    fn the_ends_of_the_number_line() {
        let mut window = ReplayWindow::default();
        assert!(window.accept(0) && !window.accept(0));
        assert!(window.accept(u32::MAX) && !window.accept(u32::MAX));
        assert!(!window.accept(0));
        assert!(window.accept(u32::MAX - REPLAY_WINDOW + 1));
        assert!(!window.accept(u32::MAX - REPLAY_WINDOW));
    }
}
