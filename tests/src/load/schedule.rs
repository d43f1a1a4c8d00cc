//! When each packet of each talker is due.

/// The rhythm of talkers that all send a frame in the time of a frame.
#[derive(Clone, Copy, Debug)]
pub struct Schedule {
    /// When it begins, in ns.
    pub start_ns: u64,
    /// A talker's time from frame to frame, in ns.
    pub frame_ns: u64,
    /// How many talk.
    pub talkers: usize,
    /// All at once, instead of spread over the frame's time.
    pub burst: bool,
}

impl Schedule {
    /// Whose turn the packet with this number is, counted over all talkers from 0, and when, in ns.
    pub fn turn(&self, number: u64) -> (usize, u64) {
        let talkers = self.talkers as u64;
        let (round, talker) = (number / talkers, number % talkers);
        let within = if self.burst { 0 } else { self.frame_ns * talker / talkers };
        (talker as usize, self.start_ns + round * self.frame_ns + within)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPREAD: Schedule = Schedule { start_ns: 1_000, frame_ns: 20_000, talkers: 4, burst: false };

    #[test]
    fn talkers_share_the_time_of_a_frame() {
        let turns: Vec<_> = (0..6).map(|number| SPREAD.turn(number)).collect();
        assert_eq!(turns, [(0, 1_000), (1, 6_000), (2, 11_000), (3, 16_000), (0, 21_000), (1, 26_000)]);
    }

    #[test]
    fn a_burst_is_one_moment() {
        let burst = Schedule { burst: true, ..SPREAD };
        assert!((0..4).all(|number| burst.turn(number) == (number as usize, 1_000)));
        assert_eq!(burst.turn(4), (0, 21_000));
    }

    #[test]
    fn turns_never_go_back() {
        let odd = Schedule { talkers: 7, frame_ns: 2_500_000, ..SPREAD };
        assert!((0..1_000).all(|number| odd.turn(number).1 <= odd.turn(number + 1).1));
    }
}
