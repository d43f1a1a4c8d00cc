//! Frames in shares: an erasure code over packets, against loss.
//!
//! Where packets get lost, a talker's frames have 20 ms, and each is cut into shares of one length that travel in
//! packets of their own, one after another. Any few of them give the frame back: the code is Reed's and Solomon's
//! (1960), over the field that RFC 5510 names, and maximum distance separable. A packet has a share of the youngest
//! frame, and one of the frame before it.

use super::FrameDuration;

/// Duration of frames in shares.
pub const SHARED: FrameDuration = FrameDuration::Ms20;
/// Shares that a frame has at most.
pub const MAX_SHARES: usize = 7;

/// How frames become shares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Code {
    /// Two of four give the frame back; a packet every 10 ms.
    TwoOfFour,
    /// Three of seven; a packet every 5 ms.
    ThreeOfSeven,
    /// Two of seven; a packet every 5 ms.
    TwoOfSeven,
}

impl Code {
    /// All of them, the one against least loss first.
    pub const ALL: [Self; 3] = [Self::TwoOfFour, Self::ThreeOfSeven, Self::TwoOfSeven];

    /// Shares that give a frame back.
    pub const fn needed(self) -> usize {
        match self {
            Self::TwoOfFour | Self::TwoOfSeven => 2,
            Self::ThreeOfSeven => 3,
        }
    }

    /// Shares that a frame has.
    pub const fn shares(self) -> usize {
        match self {
            Self::TwoOfFour => 4,
            Self::ThreeOfSeven | Self::TwoOfSeven => 7,
        }
    }

    /// Time between packets.
    pub const fn interval(self) -> FrameDuration {
        match self {
            Self::TwoOfFour => FrameDuration::Ms10,
            Self::ThreeOfSeven | Self::TwoOfSeven => FrameDuration::Ms5,
        }
    }

    /// Packets in the duration of a frame: as many packets lie between shares of one number of two frames.
    pub const fn packets(self) -> usize {
        SHARED.samples() / self.interval().samples()
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

    /// The number in the header, from 1.
    pub(super) const fn number(self) -> u8 {
        let first = match self.code {
            Code::TwoOfFour | Code::ThreeOfSeven => 1,
            Code::TwoOfSeven => 5,
        };
        first + self.at
    }

    /// What a number other than 0 means in a packet of this duration.
    pub(super) fn from_number(number: u8, duration: FrameDuration) -> Option<Self> {
        let (code, at) = match (duration, number) {
            (FrameDuration::Ms10, 1..=2) => (Code::TwoOfFour, number - 1),
            (FrameDuration::Ms5, 1..=4) => (Code::ThreeOfSeven, number - 1),
            (FrameDuration::Ms5, 5..=8) => (Code::TwoOfSeven, number - 5),
            _ => return None,
        };
        Some(Self { code, at })
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
                    assert_eq!((share.number(), share.code.interval()), (number, duration));
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
