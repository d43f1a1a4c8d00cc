//! What a packet costs the voice thread, the system's calls aside, in instructions: the same on every run, so that a
//! change that makes it dearer fails here and not first under an attack. Counted by Valgrind, whose processor has
//! AVX2 and no instructions for SHA.

use std::{hint::black_box, net::SocketAddr, sync::Arc, time::Duration};

use gungraun::{
    Callgrind, EventKind, LibraryBenchmarkConfig, library_benchmark, library_benchmark_group, main,
};
use voip_protocol::{
    ContextId, Epoch, SessionId,
    secret::{ContextSecret, TagSecret},
    voice::{FrameDuration, Header, SealingKey, TagKey},
};
use voip_server::voice::{Forwarder, Outcome, Peer, Rates, Route, Routing, VoiceCounters};

const GARBAGE: u64 = 100_000;
const UNKNOWN: u64 = 100_000;
const TAG: u64 = 100_000;

const CONTEXT: ContextId = ContextId(1);
const TALKER: SessionId = SessionId(500);
/// Sessions of a well-used server.
const SESSIONS: u32 = 1_000;
/// 10 ms of Opus at 40 kbit/s.
const FRAME: [u8; 50] = [7; 50];

/// A forwarder that has been at work, and a packet that it has not seen.
struct Rig {
    forwarder: Forwarder,
    routing: Routing,
    packet: Vec<u8>,
    now: Duration,
}

fn address() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 10_000))
}

fn voice(sequence: u32) -> Vec<u8> {
    let header = Header {
        session: TALKER,
        context: CONTEXT,
        epoch: Epoch(0),
        sequence,
        capture_time: 0,
        duration: FrameDuration::Ms10,
        last_of_burst: false,
    };
    let mut packet = vec![0; 100];
    let key = SealingKey::derive(&ContextSecret::new([4; 32]), Epoch(0), TALKER);
    let length = key.seal(header, &FRAME, &mut packet);
    packet.truncate(length);
    let tag = TagKey::new(&secret()).tag(&packet);
    packet.extend(tag);
    packet
}

fn secret() -> TagSecret {
    TagSecret::new([3; 32])
}

/// The packet, after so many others of its talker; the first of all may cost more, as it makes its talker's entry.
fn rig(packet: Vec<u8>, rates: Rates, before: u32) -> Box<Rig> {
    let peers: Vec<_> =
        (1..=SESSIONS).map(|n| Arc::new(Peer::new(SessionId(n), &secret(), &secret()))).collect();
    let listeners: Arc<[_]> = peers.clone().into();
    let routes = peers.iter().map(|peer| {
        let route = Route { peer: peer.clone(), speaks_into: Some(CONTEXT), listeners: listeners.clone() };
        (peer.session, route)
    });
    let routing = Routing { routes: routes.collect() };
    let mut forwarder = Forwarder::new(rates, Arc::<VoiceCounters>::default());
    let mut now = Duration::from_secs(1);
    for sequence in 0..before {
        now += Duration::from_millis(10);
        forwarder.handle(&voice(sequence), address(), now, &routing);
    }
    Box::new(Rig { forwarder, routing, packet, now })
}

const GENEROUS: Rates = Rates { packets_per_second: 500, bytes_per_second: 128_000 };
const STRICT: Rates = Rates { packets_per_second: 1, bytes_per_second: 0 };
const BEFORE: u32 = 10;

fn garbage() -> Box<Rig> {
    rig(vec![0xff; 94], GENEROUS, BEFORE)
}

fn unknown_session() -> Box<Rig> {
    let mut packet = voice(BEFORE);
    packet[4..8].copy_from_slice(&(SESSIONS + 1).to_be_bytes());
    rig(packet, GENEROUS, BEFORE)
}

fn bad_tag() -> Box<Rig> {
    let mut packet = voice(BEFORE);
    *packet.last_mut().expect("a packet is not empty") ^= 1;
    rig(packet, GENEROUS, BEFORE)
}

fn replayed() -> Box<Rig> {
    rig(voice(BEFORE - 1), GENEROUS, BEFORE)
}

fn clipped() -> Box<Rig> {
    rig(voice(BEFORE), STRICT, BEFORE)
}

fn accepted() -> Box<Rig> {
    rig(voice(BEFORE), GENEROUS, BEFORE)
}

/// Whether it is sent on. Gives the rig back, or its end would be counted, too.
fn handle(mut rig: Box<Rig>) -> (bool, Box<Rig>) {
    let Rig { forwarder, routing, packet, now } = &mut *rig;
    let outcome = forwarder.handle(black_box(packet), black_box(address()), *now, routing);
    let accepted = matches!(outcome, Outcome::Voice(_));
    (accepted, rig)
}

fn at_most(instructions: u64) -> LibraryBenchmarkConfig {
    LibraryBenchmarkConfig::default()
        .tool(Callgrind::default().hard_limits([(EventKind::Ir, instructions)]))
        .clone()
}

#[library_benchmark(config = at_most(GARBAGE))]
#[bench::garbage(garbage())]
fn malformed(rig: Box<Rig>) -> (bool, Box<Rig>) {
    handle(rig)
}

#[library_benchmark(config = at_most(UNKNOWN))]
#[bench::unknown(unknown_session())]
fn unknown(rig: Box<Rig>) -> (bool, Box<Rig>) {
    handle(rig)
}

#[library_benchmark(config = at_most(TAG))]
#[bench::bad_tag(bad_tag())]
#[bench::replayed(replayed())]
#[bench::clipped(clipped())]
#[bench::accepted(accepted())]
fn tagged(rig: Box<Rig>) -> (bool, Box<Rig>) {
    handle(rig)
}

library_benchmark_group!(name = rejected, benchmarks = [malformed, unknown, tagged]);
main!(library_benchmark_groups = rejected);
