//! A forwarder that has been at work, and one packet of each kind for it.

#![allow(dead_code, reason = "each benchmark takes the kinds that it can measure")]

use std::{hint::black_box, net::SocketAddr, sync::Arc, time::Duration};

use voip_protocol::{
    ContextId, Epoch, SessionId,
    limits::MAX_OPUS_FRAME,
    secret::{ContextSecret, TagSecret},
    voice::{FrameDuration, Header, SealingKey, TAG_LEN, TagKey},
};
use voip_server::voice::{
    Forwarder, Listener, Outcome, Path, Peer, Rates, Route, Routing, Seat, VoiceCounters,
};

/// Connections of a well-used server, all of them talkers.
const SESSIONS: u32 = 1_000;
/// Who speaks.
pub const TALKER: SessionId = SessionId(500);
/// Into what.
pub const CONTEXT: ContextId = ContextId(1);
/// Bytes of 10 ms of Opus at 40 kbit/s.
const FRAME: usize = 50;
/// Packets of the talker that have been before: its first one makes its entry, which is no everyday cost.
const BEFORE: u32 = 10;
const GENEROUS: Rates = Rates { packets_per_second: 500, bytes_per_second: 128_000 };
const STRICT: Rates = Rates { packets_per_second: 1, bytes_per_second: 1_200 };

/// The forwarder, all that it looks at, and the packet.
pub struct Rig {
    forwarder: Forwarder,
    routing: Routing,
    packet: Vec<u8>,
    now: Duration,
}

impl Rig {
    /// No packet of the protocol.
    pub fn garbage() -> Box<Self> {
        Self::new(vec![0xff; voice(BEFORE, FRAME).len()], GENEROUS)
    }

    /// Of a session that is not there.
    pub fn unknown_session() -> Box<Self> {
        let mut packet = voice(BEFORE, FRAME);
        packet[4..8].copy_from_slice(&(SESSIONS + 1).to_be_bytes());
        Self::new(packet, GENEROUS)
    }

    /// Of a session that is there, by somebody else.
    pub fn bad_tag() -> Box<Self> {
        Self::forged(FRAME)
    }

    /// The same with as many bytes as a packet may have.
    pub fn longest_bad_tag() -> Box<Self> {
        Self::forged(MAX_OPUS_FRAME)
    }

    /// Seen before.
    pub fn replayed() -> Box<Self> {
        Self::new(voice(BEFORE - 1, FRAME), GENEROUS)
    }

    /// Above what its session may send.
    pub fn clipped() -> Box<Self> {
        Self::new(voice(BEFORE, FRAME), STRICT)
    }

    /// To be sent on.
    pub fn accepted() -> Box<Self> {
        Self::new(voice(BEFORE, FRAME), GENEROUS)
    }

    /// Whether the packet is to be sent on.
    pub fn handle(&mut self) -> bool {
        let outcome =
            self.forwarder.handle(black_box(&self.packet), black_box(address()), self.now, &self.routing);
        matches!(black_box(outcome), Outcome::Voice(_))
    }

    fn forged(frame: usize) -> Box<Self> {
        let mut packet = voice(BEFORE, frame);
        let length = packet.len();
        packet[length - 1] ^= 1;
        Self::new(packet, GENEROUS)
    }

    fn new(packet: Vec<u8>, rates: Rates) -> Box<Self> {
        let peers: Vec<_> =
            (1..=SESSIONS).map(|n| Arc::new(Peer::new(SessionId(n), &secret(), &secret()))).collect();
        let listeners: Arc<[_]> = peers.iter().map(|peer| listener(peer.session)).collect();
        let routes = peers.into_iter().map(|peer| {
            let Listener { session, seat } = listener(peer.session);
            (session, Route { peer, seat, speaks_into: Some(CONTEXT), listeners: Arc::clone(&listeners) })
        });
        let routing = Routing { routes: routes.collect() };
        let mut forwarder = Forwarder::new(rates, Arc::<VoiceCounters>::default());
        let mut now = Duration::ZERO;
        for sequence in 0..BEFORE {
            now += Duration::from_millis(10);
            forwarder.handle(&voice(sequence, FRAME), address(), now, &routing);
        }
        Box::new(Self { forwarder, routing, packet, now })
    }
}

/// A packet of the talker, with a frame of so many bytes.
pub fn voice(sequence: u32, frame: usize) -> Vec<u8> {
    let header = Header {
        session: TALKER,
        context: CONTEXT,
        epoch: Epoch(0),
        sequence,
        capture_time: 0,
        duration: FrameDuration::Ms10,
        last_of_burst: false,
        share: None,
    };
    let mut packet = vec![0; 1_500];
    let key = SealingKey::derive(&ContextSecret::new([4; 32]), Epoch(0), TALKER);
    let length = key.seal(header, &vec![7; frame], &mut packet);
    packet.truncate(length);
    let tag: [u8; TAG_LEN] = TagKey::new(&secret()).tag(&packet);
    packet.extend(tag);
    packet
}

/// Each sits where its number says.
pub fn listener(session: SessionId) -> Listener {
    Listener { session, seat: Seat(session.0) }
}

/// Of every session's tags.
pub fn secret() -> TagSecret {
    TagSecret::new([3; 32])
}

fn address() -> Path {
    SocketAddr::from(([127, 0, 0, 1], 10_000)).into()
}
