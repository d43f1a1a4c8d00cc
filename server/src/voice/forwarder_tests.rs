#![allow(clippy::unwrap_used)]

use std::net::SocketAddr;

use proptest::prelude::*;
use voip_protocol::{
    ContextId, Epoch,
    secret::{ContextSecret, TagSecret},
    voice::{FrameDuration, Header, Loss, SealingKey, TAG_LEN, TagKey},
};

use super::{
    super::{Listener, Peer, Route, bundle},
    *,
};

const CONTEXT: ContextId = ContextId(5);
const RATES: Rates = Rates { packets_per_second: 100, bytes_per_second: 20_000 };

fn secret(session: u32) -> TagSecret {
    TagSecret::new([session as u8; 32])
}

fn address(session: u32) -> Path {
    SocketAddr::from(([127, 0, 0, 1], 10_000 + session as u16)).into()
}

/// Each sits where its number says.
fn listener(session: u32) -> Listener {
    Listener { session: SessionId(session), seat: Seat(session) }
}

/// Sessions 1, 2, 3 in one context; 4 alone in another; 5 in the first, muted.
fn routing() -> Routing {
    let peers: Vec<_> =
        (1..=5u32).map(|n| Arc::new(Peer::new(SessionId(n), &secret(n), &secret(n + 100)))).collect();
    let room: Arc<[_]> = [1, 2, 3, 5].map(listener).into();
    let alone: Arc<[_]> = [listener(4)].into();
    let route = |n: usize, speaks_into, listeners: &Arc<[Listener]>| {
        let peer = Arc::clone(&peers[n]);
        let route = Route {
            seat: listener(peer.session.0).seat,
            peer,
            speaks_into,
            listeners: Arc::clone(listeners),
        };
        (peers[n].session, route)
    };
    let routes = [
        route(0, Some(CONTEXT), &room),
        route(1, Some(CONTEXT), &room),
        route(2, Some(CONTEXT), &room),
        route(3, Some(ContextId(6)), &alone),
        route(4, None, &room),
    ];
    Routing { routes: routes.into_iter().collect() }
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
        share: None,
    };
    let mut out = [0; 200];
    let key = SealingKey::derive(&ContextSecret::new([9; 32]), Epoch(1), SessionId(session));
    let length = key.seal(header, b"opus", &mut out);
    tagged(session, &out[..length])
}

fn tagged(session: u32, body: &[u8]) -> Vec<u8> {
    [body, &TagKey::new(&secret(session)).tag(body)].concat()
}

fn ping(session: u32, sequence: u32) -> Vec<u8> {
    let ping = Ping { session: SessionId(session), sequence, client_time: 3, follow: true, report: None };
    ping.to_bytes(&TagKey::new(&secret(session))).to_vec()
}

/// A ping that tells that `session` loses so much of what `talker` says.
fn report(session: u32, sequence: u32, talker: u32, loss: u8) -> Vec<u8> {
    let report = Some(LossReport { talker: SessionId(talker), loss: Loss(loss) });
    let ping = Ping { session: SessionId(session), sequence, client_time: 3, follow: true, report };
    ping.to_bytes(&TagKey::new(&secret(session))).to_vec()
}

struct Rig {
    forwarder: Forwarder,
    routing: Routing,
    counters: Arc<VoiceCounters>,
    now: Duration,
}

impl Rig {
    fn new() -> Self {
        let counters = Arc::<VoiceCounters>::default();
        let mut forwarder = Forwarder::new(RATES, Arc::clone(&counters));
        for n in 1..=5 {
            forwarder.known.addresses.heard_from(SessionId(n), listener(n).seat, address(n));
        }
        Self { forwarder, routing: routing(), counters, now: Duration::from_secs(77) }
    }

    fn handle(&mut self, datagram: &[u8], from: Path) -> Vec<(Vec<u8>, Path)> {
        let mut sent = Vec::new();
        match self.forwarder.handle(datagram, from, self.now, &self.routing) {
            Outcome::Dropped => {}
            Outcome::Answered(pong) => sent.push((pong.to_vec(), from)),
            Outcome::Voice(packet) => {
                bundle(&mut [packet], self.forwarder.addresses(), |packets, to| {
                    sent.extend(packets.iter().map(|packet| (packet.body.to_vec(), to)));
                });
            }
        }
        sent
    }
}

#[test]
fn a_talker_is_told_what_the_listener_loses_who_loses_most() {
    let mut rig = Rig::new();
    let told = |rig: &mut Rig, sequence| {
        let sent = rig.handle(&ping(1, sequence), address(1));
        let body = TagKey::new(&secret(101)).check(&sent[0].0).unwrap();
        Pong::parse(body).unwrap().loss
    };
    // Nobody has spoken: there is nothing to lose.
    assert_eq!(rig.handle(&report(2, 0, 1, 9), address(2)).len(), 1);
    assert_eq!(told(&mut rig, 0), Loss(0));
    rig.handle(&voice(1, CONTEXT, 0), address(1));
    rig.handle(&report(2, 1, 1, 9), address(2));
    rig.handle(&report(3, 0, 1, 40), address(3));
    rig.handle(&report(2, 2, 1, 9), address(2));
    assert_eq!(told(&mut rig, 1), Loss(40));
    // Who does not hear the talker, the talker itself and those who are not there say nothing about it.
    for (sequence, (session, talker)) in [(4, 1), (1, 1), (4, 77), (2, 77)].into_iter().enumerate() {
        rig.handle(&report(session, 10 + sequence as u32, talker, 200), address(session));
    }
    assert_eq!(told(&mut rig, 2), Loss(40));
    // Another talker is told nothing of it, and after a while nobody is.
    rig.handle(&voice(3, CONTEXT, 0), address(3));
    let sent = rig.handle(&ping(3, 50), address(3));
    assert_eq!(Pong::parse(TagKey::new(&secret(103)).check(&sent[0].0).unwrap()).unwrap().loss, Loss(0));
    rig.now += Duration::from_secs(5);
    assert_eq!(told(&mut rig, 3), Loss(0));
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
    let sent = rig.handle(&ping(2, 0), moved);
    assert_eq!(sent.len(), 1);
    assert_eq!((sent[0].0.len(), sent[0].1), (voip_protocol::voice::PROBE_LEN, moved));
    assert!(rig.handle(&voice(1, CONTEXT, 0), address(1)).iter().any(|(_, to)| *to == moved));
    // The same ping again, from elsewhere, moves nothing.
    assert!(rig.handle(&ping(2, 0), address(41)).is_empty());
    assert!(rig.handle(&voice(1, CONTEXT, 1), address(1)).iter().any(|(_, to)| *to == moved));
    // One that is not to be followed is answered where it came from, and moves nothing.
    let probe = Ping { session: SessionId(2), sequence: 1, client_time: 3, follow: false, report: None };
    let probe = probe.to_bytes(&TagKey::new(&secret(2)));
    assert_eq!(rig.handle(&probe, address(42))[0].1, address(42));
    assert!(rig.handle(&voice(1, CONTEXT, 2), address(1)).iter().any(|(_, to)| *to == moved));
}

#[test]
fn a_flood_is_clipped_and_nobody_else_notices() {
    let mut rig = Rig::new();
    // Ten times the rate for two seconds, and beside it somebody who speaks at half of it.
    let (mut flooded, mut spoken) = (0, 0);
    for n in 0..2_000 {
        rig.now += Duration::from_millis(1);
        flooded += usize::from(!rig.handle(&voice(1, CONTEXT, n), address(1)).is_empty());
        if n % 20 == 0 {
            spoken += usize::from(!rig.handle(&voice(2, CONTEXT, n), address(2)).is_empty());
        }
    }
    // The burst and two seconds at the rate.
    let allowed = 3 * RATES.packets_per_second as usize;
    assert!((allowed - 1..=allowed).contains(&flooded), "{flooded}");
    assert_eq!(spoken, 100);
    let figures = rig.counters.figures();
    assert_eq!(figures.rate_limited, 2_000 - flooded as u64);
    assert_eq!(figures.received, 2_100);
    let clipped = |n| rig.routing.routes[&SessionId(n)].peer.take_clipped();
    assert_eq!((clipped(1), clipped(2)), (2_000 - flooded as u32, 0));
    assert_eq!(clipped(1), 0, "told once");
}

#[test]
fn bytes_are_limited_as_packets_are() {
    let mut rig = Rig::new();
    rig.forwarder.known.rates.bytes_per_second = 2_000;
    let length = voice(1, CONTEXT, 0).len();
    let passed = (0..100).filter(|n| !rig.handle(&voice(1, CONTEXT, *n), address(1)).is_empty()).count();
    assert_eq!(passed, 2_000 / length);
}

#[test]
fn pings_have_a_limit_of_their_own() {
    let mut rig = Rig::new();
    let mut answered = 0;
    for n in 0..1_000 {
        rig.now += Duration::from_millis(1);
        answered += rig.handle(&ping(1, n), address(1)).len();
    }
    let allowed = 2 * super::super::PINGS_PER_SECOND as usize;
    assert!((allowed - 1..=allowed).contains(&answered), "{answered}");
    assert_eq!(rig.counters.figures().rate_limited, 1_000 - answered as u64);
    // Whoever pings too much may speak, and is told nothing.
    assert!(!rig.handle(&voice(1, CONTEXT, 0), address(1)).is_empty());
    assert_eq!(rig.routing.routes[&SessionId(1)].peer.take_clipped(), 0);
}

/// Neither repeated nor forged packets use up what a session may send.
#[test]
fn nobody_uses_up_anothers_allowance() {
    let mut rig = Rig::new();
    let first = voice(1, CONTEXT, 0);
    assert!(!rig.handle(&first, address(1)).is_empty());
    let mut forged = voice(1, CONTEXT, 1);
    forged[40] ^= 1;
    for _ in 0..1_000 {
        assert!(rig.handle(&first, address(60)).is_empty());
        assert!(rig.handle(&forged, address(60)).is_empty());
    }
    for n in 1..RATES.packets_per_second {
        assert!(!rig.handle(&voice(1, CONTEXT, n), address(1)).is_empty());
    }
    assert_eq!(rig.counters.figures().rate_limited, 0);
}

#[test]
fn what_is_clipped_moves_no_address() {
    let mut rig = Rig::new();
    for n in 0..RATES.packets_per_second {
        rig.handle(&voice(1, CONTEXT, n), address(1));
    }
    assert!(rig.handle(&voice(1, CONTEXT, 500), address(40)).is_empty());
    assert_eq!(rig.forwarder.addresses().of(listener(1)), Some(address(1)));
}

/// A hundred thousand strangers leave nothing behind but counts.
#[test]
fn strangers_make_no_state() {
    let mut rig = Rig::new();
    rig.handle(&voice(1, CONTEXT, 0), address(1));
    rig.handle(&ping(2, 0), address(2));
    let room = rig.forwarder.known.heard.capacity();
    // Visits every number of 32 bits once.
    let sessions = (0..100_000u32).map(|n| n.wrapping_mul(0x9E37_79B1).wrapping_add(6));
    let (mut voice, mut ping) = (voice(1, CONTEXT, 9), ping(1, 9));
    for session in sessions.filter(|session| !(1..=5).contains(session)) {
        for datagram in [&mut voice, &mut ping] {
            datagram[4..8].copy_from_slice(&session.to_be_bytes());
            assert!(rig.handle(datagram, address(60)).is_empty());
        }
    }
    // Those who are there, with tags that are not theirs: nobody becomes known by that either.
    for session in 3..=5u32 {
        for datagram in [&mut voice, &mut ping] {
            datagram[4..8].copy_from_slice(&session.to_be_bytes());
            assert!(rig.handle(datagram, address(60)).is_empty());
        }
    }
    let figures = rig.counters.figures();
    assert_eq!((figures.unknown_session, figures.bad_tag), (200_000, 6));
    let heard = &rig.forwarder.known.heard;
    assert_eq!((heard.iter().flatten().count(), heard.capacity()), (2, room));
}

#[test]
fn who_has_gone_is_unknown_and_leaves_nothing_to_who_comes_after() {
    let mut rig = Rig::new();
    for n in 0..RATES.packets_per_second {
        rig.handle(&voice(1, CONTEXT, 1_000 + n), address(1));
    }
    assert_eq!(rig.handle(&ping(1, 1_000), address(1)).len(), 1);
    let gone = rig.routing.routes.remove(&SessionId(1)).unwrap();
    assert!(rig.handle(&voice(1, CONTEXT, 2_000), address(1)).is_empty());
    assert!(rig.handle(&ping(1, 2_000), address(1)).is_empty());
    assert_eq!(rig.counters.figures().unknown_session, 2);
    // Another sits there now, with the first numbers and everything that it may send.
    let peer = Arc::new(Peer::new(SessionId(6), &secret(6), &secret(106)));
    let newcomer = Listener { session: SessionId(6), seat: gone.seat };
    rig.routing.routes.insert(SessionId(6), Route { peer, ..gone });
    assert_eq!(rig.forwarder.addresses().of(newcomer), None);
    assert_eq!(rig.handle(&ping(6, 0), address(6)).len(), 1);
    assert_eq!(rig.forwarder.addresses().of(newcomer), Some(address(6)));
    for n in 0..RATES.packets_per_second {
        assert!(!rig.handle(&voice(6, CONTEXT, n), address(6)).is_empty());
    }
    assert_eq!(rig.forwarder.known.heard.iter().flatten().count(), 1);
}

/// Every first byte and every length, forged and with the right tag: who answers no more than it was asked is of
/// no use to somebody who asks in another's name.
#[test]
fn no_answer_is_longer_than_its_question() {
    let mut rig = Rig::new();
    let key = TagKey::new(&secret(1));
    let mut answers = Vec::new();
    let mut bytes = [0; MAX_VOICE_PACKET + 8];
    bytes[4..8].copy_from_slice(&1u32.to_be_bytes());
    for first in 0..=u8::MAX {
        bytes[0] = first;
        for length in 0..=bytes.len() {
            rig.now += Duration::from_secs(1);
            let forged = &bytes[..length];
            assert!(answered(&mut rig, forged).is_none());
            if let Some(body) = length.checked_sub(TAG_LEN) {
                let authentic = [&bytes[..body], &key.tag(&bytes[..body])].concat();
                if let Some(answer) = answered(&mut rig, &authentic) {
                    answers.push((first, length, answer));
                }
            }
        }
    }
    assert_eq!(answers, [(0x12, PROBE_LEN, PROBE_LEN)], "one kind of one length is answered, with as much");
}

fn answered(rig: &mut Rig, datagram: &[u8]) -> Option<usize> {
    match rig.forwarder.handle(datagram, address(60), rig.now, &rig.routing) {
        Outcome::Answered(answer) => Some(answer.len()),
        Outcome::Dropped | Outcome::Voice(_) => None,
    }
}

#[test]
fn the_clock_has_48_khz_and_wraps() {
    assert_eq!(clock(Duration::from_millis(1_500)), 72_000);
    assert_eq!(clock(Duration::from_nanos(999_999_999)), 47_999);
    let wrapped = Duration::from_secs(1 << 32);
    assert_eq!(clock(wrapped + Duration::from_secs(1)), clock(wrapped).wrapping_add(48_000));
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
        prop_assert_eq!(rig.forwarder.addresses().of(listener(1)), Some(address(1)));
    }
}
