//! What the server does with a packet, the system's calls aside: one talker, 49 listeners; and packets that go nowhere.

mod packets;

use std::{hint::black_box, net::SocketAddr, sync::Arc, time::Duration};

use criterion::{Criterion, criterion_group, criterion_main};
use packets::Rig;
use voip_protocol::{
    SessionId,
    secret::TagSecret,
    voice::{Ping, TagKey},
};
use voip_server::voice::{
    Forwarder, Listener, Outcome, Path, Peer, Rates, Route, Routing, VoiceCounters, bundle,
};

const LISTENERS: u32 = 49;
/// Bytes of 20 ms of Opus at 32 kbit/s.
const FRAME: usize = 80;
const NOW: Duration = Duration::ZERO;
/// None: all that is measured is let through.
const RATES: Rates = Rates { packets_per_second: 0, bytes_per_second: 0 };

fn address(session: SessionId) -> Path {
    SocketAddr::from(([127, 0, 0, 1], 10_000 + session.0 as u16)).into()
}

fn forward(bench: &mut Criterion) {
    let others = TagSecret::new([5; 32]);
    let secret = packets::secret();
    let talker = Peer::new(packets::TALKER, &secret, &others);
    let listeners = (1..=LISTENERS).map(|n| Peer::new(SessionId(n), &others, &others));
    let peers: Vec<_> = listeners.chain([talker]).map(Arc::new).collect();
    let listeners: Arc<[_]> = peers.iter().map(|peer| packets::listener(peer.session)).collect();
    let routes = peers.into_iter().map(|peer| {
        let Listener { session, seat } = packets::listener(peer.session);
        let speaks_into = Some(packets::CONTEXT);
        (session, Route { peer, seat, speaks_into, listeners: Arc::clone(&listeners) })
    });
    let routing = Routing { routes: routes.collect() };
    let mut sequence = 0;
    let mut next = || {
        sequence += 1;
        packets::voice(sequence, FRAME)
    };
    let mut forwarder = Forwarder::new(RATES, Arc::<VoiceCounters>::default());
    for listener in &*listeners {
        let ping =
            Ping { session: listener.session, sequence: 0, client_time: 0, follow: true, report: None };
        let key = TagKey::new(if listener.session == packets::TALKER { &secret } else { &others });
        forwarder.handle(&ping.to_bytes(&key), address(listener.session), NOW, &routing);
    }
    bench.bench_function("a packet to 49 listeners", |bench| {
        bench.iter_batched(
            &mut next,
            |packet| {
                let from = address(packets::TALKER);
                if let Outcome::Voice(packet) = forwarder.handle(&packet, from, NOW, &routing) {
                    bundle(&mut [packet], forwarder.addresses(), |packets, to| {
                        black_box((packets, to));
                    });
                }
            },
            criterion::BatchSize::SmallInput,
        );
    });
}

fn reject(bench: &mut Criterion) {
    for (name, mut rig) in [
        ("no packet", Rig::garbage()),
        ("a packet of a stranger", Rig::unknown_session()),
        ("a packet with a wrong tag", Rig::bad_tag()),
        ("the longest packet with a wrong tag", Rig::longest_bad_tag()),
        ("a packet that was there before", Rig::replayed()),
    ] {
        bench.bench_function(name, |bench| bench.iter(|| assert!(!rig.handle())));
    }
}

criterion_group!(benches, forward, reject);
criterion_main!(benches);
