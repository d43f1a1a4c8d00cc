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
}

impl Ping {
    /// The tagged datagram.
    pub fn to_bytes(&self, key: &TagKey) -> [u8; PROBE_LEN] {
        let flags = if self.follow { 0 } else { STAY };
        write(Kind::Ping, flags, [self.session.0, self.sequence, self.client_time, 0, 0], key)
    }

    /// Reads a datagram whose tag has been checked and cut off.
    pub fn parse(body: &[u8]) -> Result<Self, InvalidPacket> {
        let (flags, [session, sequence, client_time, zero0, zero1]) = read(Kind::Ping, body)?;
        if flags & !STAY != 0 || zero0 | zero1 != 0 {
            return Err(InvalidPacket::Flags);
        }
        Ok(Self { session: SessionId(session), sequence, client_time, follow: flags & STAY == 0 })
    }
}

impl Pong {
    /// The tagged datagram.
    pub fn to_bytes(&self, key: &TagKey) -> [u8; PROBE_LEN] {
        let numbers =
            [self.session.0, self.sequence, self.client_time, self.server_time, self.pings_received];
        write(Kind::Pong, 0, numbers, key)
    }

    /// Reads a datagram whose tag has been checked and cut off.
    pub fn parse(body: &[u8]) -> Result<Self, InvalidPacket> {
        let (flags, [session, sequence, client_time, server_time, pings_received]) = read(Kind::Pong, body)?;
        if flags != 0 {
            return Err(InvalidPacket::Flags);
        }
        Ok(Self { session: SessionId(session), sequence, client_time, server_time, pings_received })
    }
}

fn write(kind: Kind, flags: u8, numbers: [u32; 5], key: &TagKey) -> [u8; PROBE_LEN] {
    let mut bytes = [0; PROBE_LEN];
    (bytes[0], bytes[1]) = (kind.first_byte(), flags);
    for (number, place) in numbers.iter().zip(bytes[4..BODY_LEN].chunks_exact_mut(4)) {
        place.copy_from_slice(&number.to_be_bytes());
    }
    let tag = key.tag(&bytes[..BODY_LEN]);
    bytes[BODY_LEN..].copy_from_slice(&tag);
    bytes
}

/// The flags, and the numbers.
fn read(kind: Kind, body: &[u8]) -> Result<(u8, [u32; 5]), InvalidPacket> {
    let body: &[u8; BODY_LEN] = body.try_into().map_err(|_| InvalidPacket::Length)?;
    if kind_of(body)? != kind {
        return Err(InvalidPacket::Kind);
    }
    if body[2..4] != [0; 2] {
        return Err(InvalidPacket::Flags);
    }
    Ok((body[1], [4, 8, 12, 16, 20].map(|at| be32(body, at))))
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
        ) {
            let key = TagKey::new(&TagSecret::new([3; 32]));
            let session = SessionId(session);
            let ping = Ping { session, sequence, client_time, follow };
            let bytes = ping.to_bytes(&key);
            prop_assert_eq!(session_of(&bytes), Ok(session));
            prop_assert_eq!(Ping::parse(key.check(&bytes).unwrap()), Ok(ping));
            let pong = Pong { session, sequence, client_time, server_time, pings_received };
            let bytes = pong.to_bytes(&key);
            prop_assert_eq!(Pong::parse(key.check(&bytes).unwrap()), Ok(pong));
            prop_assert!(Ping::parse(key.check(&bytes).unwrap()).is_err());
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = (Ping::parse(&bytes), Pong::parse(&bytes));
        }
    }
}
