//! Ping and pong: keepalive, proof of address, round trip, loss, and the common clock.

use super::{
    TAG_LEN, TagKey,
    header::{InvalidPacket, Kind, be32, kind_of},
};
use crate::SessionId;

/// Length of a ping and of a pong, tag included, in bytes. Equal, so an answer is never larger than its question.
pub const PROBE_LEN: usize = BODY_LEN + TAG_LEN;
const BODY_LEN: usize = 24;
/// Flag of a ping that is to be answered and not followed.
const STAY: u8 = 1;
/// A reported loss stands in the first byte of a ping's last number.
const LOSS_SHIFT: u32 = 24;

/// A client's probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ping {
    /// The client's session.
    pub session: SessionId,
    /// Counts the session's pings, from 0.
    pub sequence: u32,
    /// The client's clock; comes back as it is.
    pub client_time: u32,
    /// Whether voice for the session goes from now on to where this ping came from. Without it the ping is answered
    /// and moves nothing: so a client finds out that a way works in both directions before it takes it.
    pub follow: bool,
    /// A talker whose packets get lost on their way to this client.
    pub report: Option<LossReport>,
}

/// How many of a talker's packets get lost on their way to a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LossReport {
    /// Whose packets.
    pub talker: SessionId,
    /// The share of them, of late.
    pub loss: Loss,
}

/// A share of packets that get lost, in 1/255.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Loss(pub u8);

impl Loss {
    /// The nearest to a share of 0 to 1.
    pub fn from_share(share: f32) -> Self {
        // The cast takes what is outside to the nearest end, and what is no number to 0.
        Self((share * 255.0).round() as u8)
    }

    /// 0 to 1.
    pub fn share(self) -> f32 {
        f32::from(self.0) / 255.0
    }
}

/// The server's answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pong {
    /// The client's session.
    pub session: SessionId,
    /// Of the ping that it answers.
    pub sequence: u32,
    /// Of the ping that it answers.
    pub client_time: u32,
    /// The server's 48 kHz clock, wrapping: the clock that all its clients share.
    pub server_time: u32,
    /// Pings of the session that reached the server.
    pub pings_received: u32,
    /// Of the session's own packets, what gets lost on the way to the listener who loses most.
    pub loss: Loss,
}

impl Ping {
    /// The tagged datagram.
    pub fn to_bytes(&self, key: &TagKey) -> [u8; PROBE_LEN] {
        let flags = if self.follow { 0 } else { STAY };
        let (talker, loss) = self.report.map_or((0, 0), |report| (report.talker.0, report.loss.0));
        let numbers =
            [self.session.0, self.sequence, self.client_time, talker, u32::from(loss) << LOSS_SHIFT];
        write(Kind::Ping, [flags, 0], numbers, key)
    }

    /// Reads a datagram whose tag has been checked and cut off.
    pub fn parse(body: &[u8]) -> Result<Self, InvalidPacket> {
        let ([flags, zero], [session, sequence, client_time, talker, loss]) = read(Kind::Ping, body)?;
        let lost = (loss >> LOSS_SHIFT) as u8;
        // Who loses nothing reports nobody.
        if flags & !STAY != 0 || zero != 0 || loss << (32 - LOSS_SHIFT) != 0 || (lost == 0 && talker != 0) {
            return Err(InvalidPacket::Flags);
        }
        let report = (lost != 0).then_some(LossReport { talker: SessionId(talker), loss: Loss(lost) });
        Ok(Self { session: SessionId(session), sequence, client_time, follow: flags & STAY == 0, report })
    }
}

impl Pong {
    /// The tagged datagram.
    pub fn to_bytes(&self, key: &TagKey) -> [u8; PROBE_LEN] {
        let numbers =
            [self.session.0, self.sequence, self.client_time, self.server_time, self.pings_received];
        write(Kind::Pong, [0, self.loss.0], numbers, key)
    }

    /// Reads a datagram whose tag has been checked and cut off.
    pub fn parse(body: &[u8]) -> Result<Self, InvalidPacket> {
        let ([flags, loss], [session, sequence, client_time, server_time, pings_received]) =
            read(Kind::Pong, body)?;
        if flags != 0 {
            return Err(InvalidPacket::Flags);
        }
        let (session, loss) = (SessionId(session), Loss(loss));
        Ok(Self { session, sequence, client_time, server_time, pings_received, loss })
    }
}

fn write(kind: Kind, small: [u8; 2], numbers: [u32; 5], key: &TagKey) -> [u8; PROBE_LEN] {
    let mut bytes = [0; PROBE_LEN];
    bytes[0] = kind.first_byte();
    bytes[1..3].copy_from_slice(&small);
    for (number, place) in numbers.iter().zip(bytes[4..BODY_LEN].chunks_exact_mut(4)) {
        place.copy_from_slice(&number.to_be_bytes());
    }
    let tag = key.tag(&bytes[..BODY_LEN]);
    bytes[BODY_LEN..].copy_from_slice(&tag);
    bytes
}

/// The two bytes behind the first, and the numbers.
fn read(kind: Kind, body: &[u8]) -> Result<([u8; 2], [u32; 5]), InvalidPacket> {
    let body: &[u8; BODY_LEN] = body.try_into().map_err(|_| InvalidPacket::Length)?;
    if kind_of(body)? != kind {
        return Err(InvalidPacket::Kind);
    }
    if body[3] != 0 {
        return Err(InvalidPacket::Flags);
    }
    Ok(([body[1], body[2]], [4, 8, 12, 16, 20].map(|at| be32(body, at))))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{secret::TagSecret, voice::session_of};

    proptest! {
        #[test]
        fn round_trips(
            session: u32, sequence: u32, client_time: u32, follow: bool, server_time: u32, pings_received: u32,
            talker: u32, lost: u8,
        ) {
            let key = TagKey::new(&TagSecret::new([3; 32]));
            let session = SessionId(session);
            let loss = Loss(lost);
            let report = (lost != 0).then_some(LossReport { talker: SessionId(talker), loss });
            let ping = Ping { session, sequence, client_time, follow, report };
            let bytes = ping.to_bytes(&key);
            prop_assert_eq!(session_of(&bytes), Ok(session));
            prop_assert_eq!(Ping::parse(key.check(&bytes).unwrap()), Ok(ping));
            let pong = Pong { session, sequence, client_time, server_time, pings_received, loss };
            let bytes = pong.to_bytes(&key);
            prop_assert_eq!(Pong::parse(key.check(&bytes).unwrap()), Ok(pong));
            prop_assert!(Ping::parse(key.check(&bytes).unwrap()).is_err());
        }

        #[test]
        fn what_is_read_is_what_was_written(bytes in proptest::collection::vec(any::<u8>(), BODY_LEN)) {
            let key = TagKey::new(&TagSecret::new([3; 32]));
            for kind in [Kind::Ping, Kind::Pong] {
                let mut bytes = bytes.clone();
                (bytes[0], bytes[1], bytes[3]) = (kind.first_byte(), bytes[1] & 1, bytes[3] & 1);
                if let Ok(ping) = Ping::parse(&bytes) {
                    prop_assert_eq!(&ping.to_bytes(&key)[..BODY_LEN], &bytes);
                }
                if let Ok(pong) = Pong::parse(&bytes) {
                    prop_assert_eq!(&pong.to_bytes(&key)[..BODY_LEN], &bytes);
                }
            }
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = (Ping::parse(&bytes), Pong::parse(&bytes));
        }
    }
}
