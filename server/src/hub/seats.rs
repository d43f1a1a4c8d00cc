//! Small numbers for sessions, so that the voice plane can keep what it knows of them in a row.

use std::{cmp::Reverse, collections::BinaryHeap};

use crate::voice::Seat;

/// Gives out the lowest number that nobody has.
#[derive(Debug, Default)]
pub struct Seats {
    /// So many were ever given out.
    ever: u32,
    free: BinaryHeap<Reverse<u32>>,
}

impl Seats {
    /// One for who comes.
    pub fn take(&mut self) -> Seat {
        let Reverse(number) = self.free.pop().unwrap_or_else(|| {
            self.ever += 1;
            Reverse(self.ever - 1)
        });
        Seat(number)
    }

    /// Who had it is gone.
    pub fn leave(&mut self, seat: Seat) {
        self.free.push(Reverse(seat.0));
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Nobody shares a seat, and there are no more of them than there were ever people at once.
        #[test]
        fn each_has_its_own_and_the_row_is_short(steps in prop::collection::vec((any::<bool>(), 0usize..9), 0..99)) {
            let (mut seats, mut taken, mut most) = (Seats::default(), BTreeSet::new(), 0);
            for (comes, which) in steps {
                if comes {
                    let seat = seats.take();
                    prop_assert!(taken.insert(seat.0));
                    most = most.max(taken.len());
                    prop_assert!((seat.0 as usize) < most);
                    prop_assert!((0..seat.0).all(|lower| taken.contains(&lower)), "a lower one is free");
                } else if let Some(number) = taken.iter().nth(which).copied() {
                    taken.remove(&number);
                    seats.leave(Seat(number));
                }
            }
        }
    }
}
