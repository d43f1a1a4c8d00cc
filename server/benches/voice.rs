//! What the server does with a packet, the system's calls aside: one talker, 49 listeners; and packets that go nowhere.

mod packets;

use std::{hint::black_box, net::SocketAddr, sync::Arc, time::Duration};

use criterion::{Criterion, criterion_group, criterion_main};
use packets::Rig;
use voip_protocol::{
    ContextId, Epoch, SessionId,
    secret::{ContextSecret, TagSecret},
    voice::{FrameDuration, Header, SealingKey, TagKey},
};
use voip_server::voice::{Forwarder, Outcome, Peer, Rates, Route, Routing, VoiceCounters, bundle};

const CONTEXT: ContextId = ContextId(1);
const TALKER: SessionId = SessionId(1);
const NOW: Duration = Duration::ZERO;
/// None: all that is measured is let through.
const RATES: Rates = Rates { packets_per_second: 0, bytes_per_second: 0 };

fn address(session: u32) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 10_000 + session as u16))
}

fn forward(bench: &mut Criterion) {
    let secret = TagSecret::new([3; 32]);
    let peers: Vec<_> = (1..=50).map(|n| Arc::new(Peer::new(SessionId(n), &secret, &secret))).collect();
    for peer in &peers {
        peer.heard_from(address(peer.session.0));
    }
    let listeners: Arc<[_]> = peers.clone().into();
    let routes = peers.iter().map(|peer| {
        let route = Route { peer: peer.clone(), speaks_into: Some(CONTEXT), listeners: listeners.clone() };
        (peer.session, route)
    });
    let routing = Routing { routes: routes.collect() };
    let key = SealingKey::derive(&ContextSecret::new([4; 32]), Epoch(0), TALKER);
    let tag = TagKey::new(&secret);
    let mut sequence = 0;
    let mut next = || {
        let header = Header {
            session: TALKER,
            context: CONTEXT,
            epoch: Epoch(0),
            sequence,
            capture_time: 0,
            duration: FrameDuration::Ms20,
            last_of_burst: false,
        };
        sequence += 1;
        let mut packet = [0; 128];
        let length = key.seal(header, &[0; 80], &mut packet[..120]);
        let tag = tag.tag(&packet[..length]);
        packet[length..length + 8].copy_from_slice(&tag);
        (packet, length + 8)
    };
    let mut forwarder = Forwarder::new(RATES, Arc::<VoiceCounters>::default());
    bench.bench_function("a packet to 49 listeners", |bench| {
        bench.iter_batched(
            &mut next,
            |(packet, length)| {
                if let Outcome::Voice(packet) = forwarder.handle(&packet[..length], address(1), NOW, &routing)
                {
                    bundle(&mut [packet], |packets, to| {
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
