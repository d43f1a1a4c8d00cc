//! What is done with one datagram. The socket and the clock stay outside.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use voip_protocol::{
    SessionId,
    limits::MAX_VOICE_PACKET,
    voice::{Kind, PROBE_LEN, Ping, Pong, ReplayWindow, VoicePacket, kind_of, session_of},
};

use super::{
    Accepted, Routing,
    counters::{VoiceCounters, count},
};

/// Checks datagrams and says where they go. One thread owns it, and with it the replay windows.
pub struct Forwarder {
    windows: HashMap<SessionId, Windows>,
    counters: Arc<VoiceCounters>,
}

#[derive(Default)]
struct Windows {
    voice: ReplayWindow,
    ping: ReplayWindow,
}

/// What becomes of a datagram.
#[derive(Debug)]
pub enum Outcome<'b, 'r> {
    /// Nothing: it has been counted.
    Dropped,
    /// An answer to who sent it.
    Answered([u8; PROBE_LEN]),
    /// Voice to send on.
    Voice(Accepted<'b, 'r>),
}

impl Forwarder {
    /// Counts into `counters`.
    pub fn new(counters: Arc<VoiceCounters>) -> Self {
        Self { windows: HashMap::new(), counters }
    }

    /// Handles one datagram.
    ///
    /// `server_time` is the server's 48 kHz clock. Allocates only at a session's first packet, and when its address
    /// changes to one of IPv6. Answers nothing that is not authentic, and nothing with more bytes than it got.
    pub fn handle<'b, 'r>(
        &mut self,
        datagram: &'b [u8],
        from: SocketAddr,
        server_time: u32,
        routing: &'r Routing,
    ) -> Outcome<'b, 'r> {
        count(&self.counters.received);
        self.counters.received_bytes.fetch_add(datagram.len() as u64, Ordering::Relaxed);
        let Self { windows, counters } = self;
        accept(datagram, from, server_time, routing, windows, counters).unwrap_or_else(|reason| {
            count(reason);
            counters.dropped_bytes.fetch_add(datagram.len() as u64, Ordering::Relaxed);
            Outcome::Dropped
        })
    }

    /// Forgets the sessions that are gone.
    pub fn forget_ended(&mut self, routing: &Routing) {
        self.windows.retain(|session, _| routing.routes.contains_key(session));
    }
}

/// As [`Forwarder::handle`], or the counter of the reason why not.
fn accept<'b, 'r, 'c>(
    datagram: &'b [u8],
    from: SocketAddr,
    server_time: u32,
    routing: &'r Routing,
    windows: &mut HashMap<SessionId, Windows>,
    counters: &'c VoiceCounters,
) -> Result<Outcome<'b, 'r>, &'c AtomicU64> {
    let (Ok(kind @ (Kind::Voice | Kind::Ping)), Ok(session)) = (kind_of(datagram), session_of(datagram))
    else {
        return Err(&counters.malformed);
    };
    if datagram.len() > MAX_VOICE_PACKET {
        return Err(&counters.malformed);
    }
    let route = routing.routes.get(&session).ok_or(&counters.unknown_session)?;
    let body = route.peer.uplink.check(datagram).ok_or(&counters.bad_tag)?;
    let windows = windows.entry(session).or_default();
    if kind == Kind::Ping {
        let ping = Ping::parse(body).map_err(|_| &counters.malformed)?;
        if !windows.ping.accept(ping.sequence) {
            return Err(&counters.replayed);
        }
        if ping.follow {
            route.peer.heard_from(from);
        }
        count(&counters.pings);
        let pong = Pong {
            session,
            sequence: ping.sequence,
            client_time: ping.client_time,
            server_time,
            pings_received: route.peer.count_ping(),
        };
        return Ok(Outcome::Answered(pong.to_bytes(&route.peer.downlink)));
    }
    let packet = VoicePacket::parse(body).map_err(|_| &counters.malformed)?;
    if !windows.voice.accept(packet.header.sequence) {
        return Err(&counters.replayed);
    }
    route.peer.heard_from(from);
    match route.speaks_into {
        None => Err(&counters.not_allowed),
        Some(context) if context != packet.header.context => Err(&counters.wrong_context),
        Some(_) => Ok(Outcome::Voice(Accepted { talker: session, listeners: &route.listeners, body })),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;
    use voip_protocol::{
        ContextId, Epoch,
        secret::{ContextSecret, TagSecret},
        voice::{FrameDuration, Header, SealingKey, TAG_LEN, TagKey},
    };

    use super::{
        super::{Peer, Route, bundle},
        *,
    };

    const CONTEXT: ContextId = ContextId(5);

    fn secret(session: u32) -> TagSecret {
        TagSecret::new([session as u8; 32])
    }

    fn address(session: u32) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], 10_000 + session as u16))
    }

    /// Sessions 1, 2, 3 in one context; 4 alone in another; 5 in the first, muted.
    fn routing() -> Routing {
        let peers: Vec<_> =
            (1..=5u32).map(|n| Arc::new(Peer::new(SessionId(n), &secret(n), &secret(n + 100)))).collect();
        for peer in &peers {
            peer.heard_from(address(peer.session.0));
        }
        let room: Arc<[_]> = [&peers[0], &peers[1], &peers[2], &peers[4]].map(Arc::clone).into();
        let alone: Arc<[_]> = [Arc::clone(&peers[3])].into();
        let route = |n: usize, speaks_into, listeners: &Arc<[Arc<Peer>]>| {
            let route = Route { peer: Arc::clone(&peers[n]), speaks_into, listeners: Arc::clone(listeners) };
            (peers[n].session, route)
        };
        Routing {
            routes: HashMap::from([
                route(0, Some(CONTEXT), &room),
                route(1, Some(CONTEXT), &room),
                route(2, Some(CONTEXT), &room),
                route(3, Some(ContextId(6)), &alone),
                route(4, None, &room),
            ]),
        }
    }

    fn voice(session: u32, context: ContextId, sequence: u32) -> Vec<u8> {
        let header = Header {
            session: SessionId(session),
            context,
            epoch: Epoch(1),
            sequence,
            capture_time: 0,
            duration: FrameDuration::Ms10,
            last_of_burst: false,
        };
        let mut out = [0; 200];
        let key = SealingKey::derive(&ContextSecret::new([9; 32]), Epoch(1), SessionId(session));
        let length = key.seal(header, b"opus", &mut out);
        let mut datagram = out[..length].to_vec();
        datagram.extend(TagKey::new(&secret(session)).tag(&datagram));
        datagram
    }

    struct Rig {
        forwarder: Forwarder,
        routing: Routing,
        counters: Arc<VoiceCounters>,
    }

    impl Rig {
        fn new() -> Self {
            let counters = Arc::<VoiceCounters>::default();
            Self { forwarder: Forwarder::new(Arc::clone(&counters)), routing: routing(), counters }
        }

        fn handle(&mut self, datagram: &[u8], from: SocketAddr) -> Vec<(Vec<u8>, SocketAddr)> {
            let mut sent = Vec::new();
            match self.forwarder.handle(datagram, from, 77, &self.routing) {
                Outcome::Dropped => {}
                Outcome::Answered(pong) => sent.push((pong.to_vec(), from)),
                Outcome::Voice(packet) => {
                    bundle(&mut [packet], |packets, to| {
                        sent.extend(packets.iter().map(|packet| (packet.body.to_vec(), to)));
                    });
                }
            }
            sent
        }
    }

    #[test]
    fn the_same_bytes_to_each_listener_but_the_talker() {
        let mut rig = Rig::new();
        let datagram = voice(1, CONTEXT, 0);
        let sent = rig.handle(&datagram, address(1));
        let body = datagram[..datagram.len() - TAG_LEN].to_vec();
        assert_eq!(sent, [2, 3, 5].map(|n| (body.clone(), address(n))));
    }

    #[test]
    fn what_is_not_right_costs_one_counter() {
        let mut rig = Rig::new();
        assert!(!rig.handle(&voice(1, CONTEXT, 7), address(1)).is_empty());
        assert!(rig.handle(&voice(1, CONTEXT, 7), address(1)).is_empty());
        assert!(rig.handle(&voice(5, CONTEXT, 0), address(5)).is_empty());
        assert!(rig.handle(&voice(2, ContextId(6), 0), address(2)).is_empty());
        assert!(rig.handle(&voice(9, CONTEXT, 0), address(9)).is_empty());
        assert!(rig.handle(b"", address(9)).is_empty());
        let mut flipped = voice(1, CONTEXT, 8);
        flipped[30] ^= 1;
        assert!(rig.handle(&flipped, address(1)).is_empty());
        let figures = rig.counters.figures();
        assert_eq!(figures.received, 7);
        assert_eq!((figures.replayed, figures.not_allowed, figures.wrong_context), (1, 1, 1));
        assert_eq!((figures.unknown_session, figures.malformed, figures.bad_tag), (1, 1, 1));
    }

    #[test]
    fn the_address_follows_the_last_authentic_packet() {
        let mut rig = Rig::new();
        let moved = address(40);
        let key = TagKey::new(&secret(2));
        let ping = Ping { session: SessionId(2), sequence: 0, client_time: 3, follow: true };
        let sent = rig.handle(&ping.to_bytes(&key), moved);
        assert_eq!(sent.len(), 1);
        assert_eq!((sent[0].0.len(), sent[0].1), (voip_protocol::voice::PROBE_LEN, moved));
        assert!(rig.handle(&voice(1, CONTEXT, 0), address(1)).iter().any(|(_, to)| *to == moved));
        // The same ping again, from elsewhere, moves nothing.
        assert!(rig.handle(&ping.to_bytes(&key), address(41)).is_empty());
        assert!(rig.handle(&voice(1, CONTEXT, 1), address(1)).iter().any(|(_, to)| *to == moved));
        // One that is not to be followed is answered where it came from, and moves nothing.
        let probe = Ping { sequence: 1, follow: false, ..ping };
        assert_eq!(rig.handle(&probe.to_bytes(&key), address(42))[0].1, address(42));
        assert!(rig.handle(&voice(1, CONTEXT, 2), address(1)).iter().any(|(_, to)| *to == moved));
    }

    proptest! {
        #[test]
        fn strangers_get_no_answer(bytes in proptest::collection::vec(any::<u8>(), 0..1400), known: bool) {
            let mut rig = Rig::new();
            let mut bytes = bytes;
            if known && bytes.len() > 8 {
                bytes[0] = 0x12;
                bytes[4..8].copy_from_slice(&1u32.to_be_bytes());
            }
            prop_assert!(rig.handle(&bytes, address(60)).is_empty());
            prop_assert_eq!(rig.routing.routes[&SessionId(1)].peer.address(), Some(address(1)));
        }
    }
}
