//! Frames in shares: an erasure code over packets, against loss.
//!
//! Where packets get lost, a talker's frames have 20 ms, and each is cut into shares of one length that travel in
//! packets one after another. Any few of them give the frame back: the code is Reed's and Solomon's
//! (1960), over the field that RFC 5510 names, and maximum distance separable. A packet has a share of the youngest
//! frame, and one of the frame before it.

use super::FrameDuration;

/// Duration of frames in shares.
pub const SHARED: FrameDuration = FrameDuration::Ms20;
/// The most bytes of a frame in shares: 27.2 kbit/s, more than what is heard of it needs.
pub const MAX_SHARED: usize = 68;
/// Shares that a frame has at most.
pub const MAX_SHARES: usize = 8;

/// How frames become shares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Code {
    /// Two of four give the frame back; a packet every 10 ms.
    TwoOfFour,
    /// Three of eight; five packets in 20 ms.
    ThreeOfEight,
}

impl Code {
    /// All of them, the one against least loss first.
    pub const ALL: [Self; 2] = [Self::TwoOfFour, Self::ThreeOfEight];

    /// Shares that give a frame back.
    pub const fn needed(self) -> usize {
        match self {
            Self::TwoOfFour => 2,
            Self::ThreeOfEight => 3,
        }
    }

    /// Shares that a frame has.
    pub const fn shares(self) -> usize {
        match self {
            Self::TwoOfFour => 4,
            Self::ThreeOfEight => MAX_SHARES,
        }
    }

    /// Packets in the duration of a frame: as many packets lie between shares of one number of two frames.
    pub const fn packets(self) -> usize {
        match self {
            Self::TwoOfFour => 2,
            Self::ThreeOfEight => 5,
        }
    }

    /// When a share is sent, in samples at 48 kHz after the first: every 10 ms; of eight, the first two at once and then
    /// one every 5 ms, and so again with the next frame's.
    pub const fn sent_after(self, share: usize) -> usize {
        let (frames, at) = (share / self.packets(), share % self.packets());
        let after = match self {
            Self::TwoOfFour => at * 480,
            Self::ThreeOfEight => at.saturating_sub(1) * 240,
        };
        frames * SHARED.samples() + after
    }
}

/// Which shares a packet has: one of the youngest frame, and of the frame before it the one that comes
/// [`Code::packets`] later, if there is such a share. A share that is all zeros is of no frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// How the frames became shares.
    pub code: Code,
    /// Which share it has of the youngest frame: how many packets came since that frame's first. Less than
    /// [`Code::packets`].
    pub at: u8,
}

impl Share {
    /// Which share it has of the frame before the youngest.
    pub const fn older(self) -> Option<usize> {
        let at = self.at as usize + self.code.packets();
        if at < self.code.shares() { Some(at) } else { None }
    }

    /// Sound that a packet stands for, in samples: as much as if all had the same.
    pub const fn samples(self) -> usize {
        SHARED.samples() / self.code.packets()
    }

    /// The number in the header, from 1.
    pub(super) const fn number(self) -> u8 {
        let first = match self.code {
            Code::TwoOfFour => 1,
            Code::ThreeOfEight => 1 + Code::TwoOfFour.packets() as u8,
        };
        first + self.at
    }

    /// What a number other than 0 means in a packet of this duration.
    pub(super) fn from_number(number: u8, duration: FrameDuration) -> Option<Self> {
        let share = match number {
            1..=2 => Self { code: Code::TwoOfFour, at: number - 1 },
            3..=7 => Self { code: Code::ThreeOfEight, at: number - 3 },
            _ => return None,
        };
        (duration == SHARED).then_some(share)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_mean_what_they_were_made_of_and_others_nothing() {
        let mut known = 0;
        for duration in FrameDuration::ALL {
            for number in 0..=15 {
                if let Some(share) = Share::from_number(number, duration) {
                    known += 1;
                    assert_eq!((share.number(), duration), (number, SHARED));
                    assert!(usize::from(share.at) < share.code.packets());
                }
            }
        }
        assert_eq!(known, Code::ALL.map(Code::packets).iter().sum::<usize>());
    }

    #[test]
    fn every_share_of_a_frame_has_its_packet() {
        for code in Code::ALL {
            assert!(code.shares() <= MAX_SHARES && code.needed() < code.shares());
            let sent: Vec<_> = (0..code.shares()).map(|share| code.sent_after(share)).collect();
            assert!(sent.is_sorted() && sent[0] == 0 && sent[code.packets()] == SHARED.samples());
            let packets = || (0..code.packets()).map(|at| Share { code, at: at as u8 });
            let mut shares: Vec<_> = packets()
                .map(|share| usize::from(share.at))
                .chain(packets().filter_map(Share::older))
                .collect();
            shares.sort_unstable();
            assert_eq!(shares, (0..code.shares()).collect::<Vec<_>>());
        }
    }
}
