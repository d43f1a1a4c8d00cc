//! The fixed header of a voice packet.

use super::Share;
use crate::{ContextId, Epoch, SessionId};

/// Version of the packet format, in the upper half of the first byte.
pub const VERSION: u8 = 1;
/// Length of the fixed header, in bytes.
pub const HEADER_LEN: usize = 20;

const LAST_OF_BURST: u8 = 0b0000_1000;
const DURATION_MASK: u8 = 0b0000_0111;
/// Which share of a frame a packet begins with, less than 16; 0: it has a frame as it is.
const SHARE_SHIFT: u32 = 4;

/// What a datagram is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// An Opus frame or shares of some, sealed.
    Voice,
    /// A client's probe of round trip and loss.
    Ping,
    /// The server's answer to it.
    Pong,
}

impl Kind {
    /// The first byte of such a datagram.
    pub(crate) const fn first_byte(self) -> u8 {
        VERSION << 4
            | match self {
                Self::Voice => 1,
                Self::Ping => 2,
                Self::Pong => 3,
            }
    }
}

/// Duration of an Opus frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum FrameDuration {
    /// 2.5 ms.
    Ms2_5 = 0,
    /// 5 ms.
    Ms5 = 1,
    /// 10 ms.
    Ms10 = 2,
    /// 20 ms.
    Ms20 = 3,
    /// 40 ms.
    Ms40 = 4,
    /// 60 ms.
    Ms60 = 5,
}

impl FrameDuration {
    /// All of them, shortest first.
    pub const ALL: [Self; 6] = [Self::Ms2_5, Self::Ms5, Self::Ms10, Self::Ms20, Self::Ms40, Self::Ms60];

    /// Samples a frame has at 48 kHz.
    pub const fn samples(self) -> usize {
        match self {
            Self::Ms2_5 => 120,
            Self::Ms5 => 240,
            Self::Ms10 => 480,
            Self::Ms20 => 960,
            Self::Ms40 => 1920,
            Self::Ms60 => 2880,
        }
    }

    fn from_code(code: u8) -> Option<Self> {
        Self::ALL.get(usize::from(code)).copied()
    }
}

/// The clear part of a voice packet, authenticated by the seal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Who talks.
    pub session: SessionId,
    /// What it is spoken into.
    pub context: ContextId,
    /// Generation of the context's secret.
    pub epoch: Epoch,
    /// Counts the talker's packets, in every context, from 0; never repeats in a session.
    pub sequence: u32,
    /// When the first sample that a decoder makes of the frame was captured, on the server's 48 kHz clock, wrapping after
    /// 24.8 hours. Of two frames in shares, the younger.
    pub capture_time: u32,
    /// How much sound a frame has.
    pub duration: FrameDuration,
    /// The talker falls silent after the youngest frame in it.
    pub last_of_burst: bool,
    /// Which shares of frames it has; none: it has one frame as it is.
    pub share: Option<Share>,
}

/// Why bytes are not a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPacket {
    /// Shorter than its fixed parts, or longer than any packet.
    #[error("the length fits no packet")]
    Length,
    /// A version or kind that is not known here.
    #[error("the version or kind is unknown")]
    Kind,
    /// The duration has no meaning, or the shares have none with it.
    #[error("the flags are unknown")]
    Flags,
}

impl Header {
    /// The header's bytes.
    pub fn to_bytes(&self) -> [u8; HEADER_LEN] {
        let mut bytes = [0; HEADER_LEN];
        bytes[0] = Kind::Voice.first_byte();
        bytes[1] = self.duration as u8
            | if self.last_of_burst { LAST_OF_BURST } else { 0 }
            | self.share.map_or(0, Share::number) << SHARE_SHIFT;
        bytes[2..4].copy_from_slice(&self.epoch.0.to_be_bytes());
        bytes[4..8].copy_from_slice(&self.session.0.to_be_bytes());
        bytes[8..12].copy_from_slice(&self.context.0.to_be_bytes());
        bytes[12..16].copy_from_slice(&self.sequence.to_be_bytes());
        bytes[16..20].copy_from_slice(&self.capture_time.to_be_bytes());
        bytes
    }

    /// As [`sound`].
    pub fn sound(&self) -> (u32, u32) {
        sound(self.capture_time, self.duration, self.share)
    }

    /// Reads the header at the start of `bytes`.
    pub fn parse(bytes: &[u8]) -> Result<Self, InvalidPacket> {
        let fixed: &[u8; HEADER_LEN] = bytes.first_chunk().ok_or(InvalidPacket::Length)?;
        if kind_of(bytes)? != Kind::Voice {
            return Err(InvalidPacket::Kind);
        }
        let flags = fixed[1];
        let duration = FrameDuration::from_code(flags & DURATION_MASK).ok_or(InvalidPacket::Flags)?;
        let share = match flags >> SHARE_SHIFT {
            0 => None,
            number => Some(Share::from_number(number, duration).ok_or(InvalidPacket::Flags)?),
        };
        Ok(Self {
            duration,
            last_of_burst: flags & LAST_OF_BURST != 0,
            share,
            epoch: Epoch(u16::from_be_bytes([fixed[2], fixed[3]])),
            session: SessionId(be32(fixed, 4)),
            context: ContextId(be32(fixed, 8)),
            sequence: be32(fixed, 12),
            capture_time: be32(fixed, 16),
        })
    }
}

/// A voice packet without its uplink tag: what the server forwards and a listener gets.
#[derive(Clone, Copy, Debug)]
pub struct VoicePacket<'a> {
    /// The clear part.
    pub header: Header,
    /// The sealed Opus frame: ciphertext, then the 16 bytes of the seal.
    pub sealed: &'a [u8],
}

impl<'a> VoicePacket<'a> {
    /// Reads a whole datagram.
    pub fn parse(datagram: &'a [u8]) -> Result<Self, InvalidPacket> {
        let header = Header::parse(datagram)?;
        let sealed = &datagram[HEADER_LEN..];
        if sealed.len() <= super::SEAL_LEN || datagram.len() > crate::limits::MAX_VOICE_PACKET {
            return Err(InvalidPacket::Length);
        }
        Ok(Self { header, sealed })
    }
}

/// When the sound began that a packet was sent for, and how much it is, in samples: its frame's, or, where it has
/// shares, what falls to it.
pub fn sound(capture_time: u32, duration: FrameDuration, share: Option<Share>) -> (u32, u32) {
    let Some(share) = share else { return (capture_time, duration.samples() as u32) };
    (capture_time.wrapping_add(share.code.sent_after(share.at.into()) as u32), share.samples() as u32)
}

/// What a datagram says that it is.
pub fn kind_of(datagram: &[u8]) -> Result<Kind, InvalidPacket> {
    let first = *datagram.first().ok_or(InvalidPacket::Length)?;
    [Kind::Voice, Kind::Ping, Kind::Pong]
        .into_iter()
        .find(|kind| kind.first_byte() == first)
        .ok_or(InvalidPacket::Kind)
}

/// The session that a datagram names: it stands at the same place in every kind.
pub fn session_of(datagram: &[u8]) -> Result<SessionId, InvalidPacket> {
    let fixed: &[u8; 8] = datagram.first_chunk().ok_or(InvalidPacket::Length)?;
    Ok(SessionId(be32(fixed, 4)))
}

/// The big-endian number at `at`, which the caller keeps within `bytes`.
pub(super) fn be32<const N: usize>(bytes: &[u8; N], at: usize) -> u32 {
    u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    pub(crate) fn headers() -> impl Strategy<Value = Header> {
        (any::<(u32, u32, u16, u32, u32)>(), 0usize..6, any::<bool>(), 0u8..16).prop_map(
            |(numbers, duration, last, share)| {
                let duration = FrameDuration::ALL[duration];
                Header {
                    session: SessionId(numbers.0),
                    context: ContextId(numbers.1),
                    epoch: Epoch(numbers.2),
                    sequence: numbers.3,
                    capture_time: numbers.4,
                    duration,
                    last_of_burst: last,
                    share: Share::from_number(share, duration),
                }
            },
        )
    }

    proptest! {
        #[test]
        fn bytes_round_trip(header in headers()) {
            let bytes = header.to_bytes();
            prop_assert_eq!(Header::parse(&bytes), Ok(header));
            prop_assert_eq!(session_of(&bytes), Ok(header.session));
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..1500)) {
            if let Ok(packet) = VoicePacket::parse(&bytes) {
                prop_assert_eq!(&packet.header.to_bytes()[..], &bytes[..HEADER_LEN]);
            }
        }

        #[test]
        fn almost_headers_are_read_or_refused(header in headers(), at in 0usize..HEADER_LEN, byte: u8) {
            let mut bytes = header.to_bytes();
            bytes[at] = byte;
            if let Ok(read) = Header::parse(&bytes) {
                prop_assert_eq!(read.to_bytes(), bytes);
            }
        }
    }

    #[test]
    fn durations_are_what_they_say() {
        for duration in FrameDuration::ALL {
            assert_eq!(FrameDuration::from_code(duration as u8), Some(duration));
        }
        assert_eq!(FrameDuration::from_code(6), None);
        assert_eq!(FrameDuration::Ms10.samples(), 480);
    }
}
