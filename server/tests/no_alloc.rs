//! The voice thread allocates nothing for a packet, however many come together.

#![allow(clippy::unwrap_used)]

use std::{net::UdpSocket, sync::Arc, time::Duration};

use arrayvec::ArrayVec;
use assert_no_alloc::{AllocDisabler, assert_no_alloc};
use voip_protocol::{
    ContextId, Epoch, SessionId,
    secret::{ContextSecret, TagSecret},
    voice::{FrameDuration, Header, Ping, SealingKey, TagKey},
};
use voip_server::voice::{
    BATCH, Forwarder, Inbox, Listener, Outbox, Outcome, Path, Peer, Rates, Route, Routing, Seat,
    VoiceCounters, bundle, learn_local,
};

#[global_allocator]
static ALLOCATOR: AllocDisabler = AllocDisabler;

/// An allocation where there may be none ends the process: nothing that can be caught here. So the guard itself is
/// tried by running this test again in a process of its own.
#[test]
fn the_guard_notices_an_allocation() {
    const MARK: &str = "TEST_ALLOCATES";
    if std::env::var_os(MARK).is_some() {
        let vector: Vec<u8> = assert_no_alloc(|| Vec::with_capacity(64));
        drop(vector);
        return;
    }
    let again = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "the_guard_notices_an_allocation"])
        .env(MARK, "1")
        .output()
        .unwrap();
    assert!(!again.status.success(), "an allocation went unnoticed");
}

#[test]
fn voice_and_pings_pass_without_an_allocation() {
    const ROUNDS: u32 = 50;
    const TALKERS: u32 = 8;
    // So few that some are clipped.
    const RATES: Rates = Rates { packets_per_second: 10, bytes_per_second: 1_200 };
    let context = ContextId(3);
    let secret = TagSecret::new([5; 32]);
    // As a server listens by default.
    let server = UdpSocket::bind("0.0.0.0:0").unwrap();
    learn_local(&server).unwrap();
    server.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let to = ("127.0.0.1", server.local_addr().unwrap().port());
    let clients: Vec<_> = (0..TALKERS).map(|_| UdpSocket::bind("127.0.0.1:0").unwrap()).collect();
    let peers: Vec<_> = (0..TALKERS).map(|n| Arc::new(Peer::new(SessionId(n), &secret, &secret))).collect();
    let listeners: Arc<[_]> =
        (0..TALKERS).map(|n| Listener { session: SessionId(n), seat: Seat(n) }).collect();
    let routes = peers.iter().map(|peer| {
        let seat = Seat(peer.session.0);
        let route =
            Route { peer: peer.clone(), seat, speaks_into: Some(context), listeners: listeners.clone() };
        (peer.session, route)
    });
    let routing = Routing { routes: routes.collect() };
    let tag = TagKey::new(&secret);
    let send = |talker: u32, sequence: u32| {
        let header = Header {
            session: SessionId(talker),
            context,
            epoch: Epoch(0),
            sequence,
            capture_time: 0,
            duration: FrameDuration::Ms20,
            last_of_burst: false,
            share: None,
        };
        let key = SealingKey::derive(&ContextSecret::new([4; 32]), Epoch(0), SessionId(talker));
        let mut packet = [0; 160];
        // Now and then one is shorter than the others.
        let length = key.seal(header, &[0; 80][..80 - (talker * sequence) as usize % 3], &mut packet[..120]);
        let mark = tag.tag(&packet[..length]);
        packet[length..length + 8].copy_from_slice(&mark);
        clients[talker as usize].send_to(&packet[..length + 8], to).unwrap();
        let ping = Ping { session: SessionId(talker), sequence, client_time: 0, follow: true, report: None };
        clients[talker as usize].send_to(&ping.to_bytes(&tag), to).unwrap();
        clients[talker as usize].send_to(b"nonsense", to).unwrap();
    };
    let counters = Arc::<VoiceCounters>::default();
    let mut forwarder = Forwarder::new(RATES, Arc::clone(&counters));
    let (mut inbox, mut outbox) = (Inbox::default(), Outbox::default());
    let mut pass = |now| {
        inbox.receive(&server).unwrap();
        let mut voice = ArrayVec::<_, BATCH>::new();
        let mut answers = ArrayVec::<([u8; 32], Path), BATCH>::new();
        let mut dropped = 0;
        for (datagram, from) in inbox.datagrams() {
            match forwarder.handle(datagram, from, now, &routing) {
                Outcome::Dropped => dropped += 1,
                Outcome::Answered(answer) => answers.push((answer, from)),
                Outcome::Voice(packet) => voice.push(packet),
            }
        }
        let failed = outbox.send(&server, |sender| {
            for (answer, to) in &answers {
                sender.push(*to, std::iter::once(&answer[..]));
            }
            bundle(&mut voice, forwarder.addresses(), |packets, to| {
                sender.push(to, packets.iter().map(|packet| packet.body));
            });
        });
        assert_eq!(failed, 0);
        voice.len() + answers.len() + dropped
    };
    let mut round = |sequence: u32, guarded: bool| {
        (0..TALKERS).for_each(|talker| send(talker, sequence));
        let mut seen = 0;
        while seen < 3 * TALKERS as usize {
            // Enough time for all pings, too little for all voice.
            let now = Duration::from_millis(70) * sequence;
            seen += if guarded { assert_no_alloc(|| pass(now)) } else { pass(now) };
        }
    };
    // A session's first packet makes its replay window.
    round(0, false);
    for sequence in 1..ROUNDS {
        round(sequence, true);
    }
    let figures = counters.figures();
    let packets = u64::from(ROUNDS * TALKERS);
    assert_eq!((figures.received, figures.pings, figures.malformed), (3 * packets, packets, packets));
    assert!((1..packets).contains(&figures.rate_limited), "{figures:?}");
}
