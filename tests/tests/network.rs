//! Voice on networks that break: UDP that is blocked, lossy or back again, addresses that change.

#![allow(clippy::unwrap_used)]

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use voip_client::{Connection, Event, Statistics, voice::Way};
use voip_protocol::{
    SessionId,
    control::Member,
    limits::SESSION_GRACE_MS,
    voice::{Kind, Pong, TagKey, VoicePacket, kind_of, session_of},
};
use voip_tests::{
    client::{LIMIT, TestClient, login},
    likeness::compare,
    process::Server,
    raw::RawClient,
    relay::{Relay, Way as Direction},
    server::{TestServer, alone},
    speech::speech,
    wait,
    wire::Wire,
};

/// Nothing passes any more.
fn block(relay: &Relay) {
    relay.rule(|_, _| Vec::new());
}

/// The longest time for which nothing arrived, while voice was under way and `until` was not true yet.
async fn longest_gap<F: Future<Output = bool>>(
    listener: &TestClient,
    mut until: impl FnMut() -> F,
) -> Duration {
    let started = Instant::now();
    let (mut seen, mut last, mut longest) = (listener.frames_received().await, started, Duration::ZERO);
    loop {
        tokio::time::sleep(Duration::from_millis(2)).await;
        let (now, count) = (Instant::now(), listener.frames_received().await);
        longest = longest.max(now - last);
        if count != seen {
            (seen, last) = (count, now);
        }
        if until().await {
            return longest;
        }
        assert!(started.elapsed() < 2 * LIMIT, "not within {:?}", 2 * LIMIT);
    }
}

/// True from this long after the first call on.
fn after(time: Duration) -> impl FnMut() -> std::future::Ready<bool> {
    let started = Instant::now();
    move || std::future::ready(started.elapsed() >= time)
}

async fn goes(client: &TestClient, way: Way) -> Duration {
    wait::until(&format!("the way is {way:?}"), LIMIT, || async { client.way().await == way }).await
}

/// Thirty seconds of talk.
fn long_talk() -> Vec<f32> {
    speech().repeat(3)
}

/// What was heard is what was said, at most once.
fn assert_heard_once(talker: &Statistics, listener: &Statistics) {
    assert!(listener.frames_received <= talker.frames_sent, "{listener:?} of {talker:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn udp_blocked_from_the_start_is_a_talk_over_the_control_socket() {
    let (server, relay) = Relay::before_a_server().await;
    block(&relay);
    let bob = TestClient::listen(&server, "bob", "General").await;
    assert_eq!(bob.way().await, Way::Tunnel);

    let alice = TestClient::register(&server, "alice").await;
    let connected = Instant::now();
    alice.handle.join(alice.channel("General").await).await.unwrap();
    wait::until("a word is heard", LIMIT, || async { bob.frames_received().await > 0 }).await;
    let first = connected.elapsed();
    println!("first frame heard {first:?} after connecting");
    assert!(first < Duration::from_secs(1), "{first:?}");

    let said = &speech()[..4 * 48_000];
    bob.devices.clear_played();
    alice.devices.say(said);
    wait::until_true("the microphone hears all", LIMIT, || alice.devices.left_to_hear() == 0).await;
    let sent = alice.statistics().await.frames_sent;
    wait::until("some more frames", LIMIT, || async { alice.statistics().await.frames_sent > sent + 30 })
        .await;
    let likeness = compare(said, &bob.devices.played()).likeness;
    let statistics = bob.statistics().await;
    println!("likeness {likeness:.3}, round trip {:?} ms", statistics.rtt_ms);
    assert!(likeness > 0.85, "{likeness}");
    assert_eq!((statistics.frames_lost, statistics.packets_rejected), (0, 0), "{statistics:?}");
    assert_heard_once(&alice.statistics().await, &statistics);
    assert_eq!(tunnels(&server).await, 2);
    alice.stop().await;
    wait::until("its tunnel ends with it", LIMIT, || async { tunnels(&server).await == 1 }).await;
    bob.stop().await;
    server.stop().await;
}

async fn tunnels(server: &TestServer) -> u64 {
    let text =
        voip_tests::server::http().get(server.url("/metrics")).send().await.unwrap().text().await.unwrap();
    text.lines().find_map(|line| line.strip_prefix("voip_voice_tunnels ")).unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn udp_cut_in_mid_talk_and_back() {
    let (server, relay) = Relay::before_a_server().await;
    let alice = TestClient::join(&server, "alice", "General").await;
    let bob = TestClient::listen(&server, "bob", "General").await;
    alice.devices.say(&long_talk());
    wait::until("a talk", LIMIT, || async { bob.frames_received().await > 100 }).await;
    assert_eq!((alice.way().await, bob.way().await), (Way::Udp, Way::Udp));

    for round in 0..3 {
        block(&relay);
        let gap = longest_gap(&bob, after(Duration::from_secs(2))).await;
        assert_eq!((alice.way().await, bob.way().await), (Way::Tunnel, Way::Tunnel));
        relay.pass();
        let back = Instant::now();
        let both = || async { alice.way().await == Way::Udp && bob.way().await == Way::Udp };
        let on_return = longest_gap(&bob, both).await;
        let back = back.elapsed();
        let settled = longest_gap(&bob, after(Duration::from_millis(500))).await;
        println!(
            "round {round}: gap {gap:?}; back on UDP after {back:?}, gap meanwhile {:?}",
            on_return.max(settled)
        );
        assert!(gap < Duration::from_secs(1), "{gap:?}");
        assert!(back < Duration::from_secs(5), "{back:?}");
        assert!(on_return.max(settled) < Duration::from_millis(300), "{on_return:?}, {settled:?}");
        // A relapse within ten seconds makes the way back longer, on purpose.
        wait::until("UDP has proved itself", 2 * LIMIT, {
            let mut proved = after(Duration::from_secs(10));
            move || proved()
        })
        .await;
        if alice.devices.left_to_hear() < 15 * 48_000 {
            alice.devices.say(&long_talk());
        }
    }
    let (talker, listener) = (alice.statistics().await, bob.statistics().await);
    assert_heard_once(&talker, &listener);
    assert_eq!(server.voice().await.malformed, 0);
    for client in [alice, bob] {
        client.stop().await;
    }
    server.stop().await;
}

/// Three in a channel, one of them behind a wall.
#[tokio::test(flavor = "multi_thread")]
async fn two_listeners_need_not_use_the_same_way() {
    let (server, relay) = Relay::before_a_server().await;
    let alice = TestClient::join(&server, "alice", "General").await;
    let walled = alice.handle.state().await.unwrap().room.unwrap().session;
    // What the server sends to alice looks like what it sends to the others, but for pongs.
    relay.rule(move |way, packet| {
        let hers =
            session_of(packet) == Ok(walled) && (way == Direction::Up || kind_of(packet) == Ok(Kind::Pong));
        if hers { Vec::new() } else { vec![packet.to_vec()] }
    });
    goes(&alice, Way::Tunnel).await;
    let bob = TestClient::join(&server, "bob", "General").await;
    let carol = TestClient::listen(&server, "carol", "General").await;
    assert_eq!((bob.way().await, carol.way().await), (Way::Udp, Way::Udp));
    let before = alice.frames_received().await;
    alice.devices.say(&speech());
    bob.devices.say(&speech());
    wait::until("all hear each other", LIMIT, || async {
        let carols = carol.statistics().await;
        carols.talkers.len() == 2
            && carols.talkers.iter().all(|talker| talker.received > 100)
            && alice.frames_received().await > before + 100
            && bob.frames_received().await > 100
    })
    .await;
    assert_eq!((alice.way().await, bob.way().await, carol.way().await), (Way::Tunnel, Way::Udp, Way::Udp));
    for client in [alice, bob, carol] {
        client.stop().await;
    }
    server.stop().await;
}

/// A fifth of all packets is lost each way: that is for the decoder to mend, and no reason to leave UDP.
#[tokio::test(flavor = "multi_thread")]
async fn a_lossy_network_is_no_blocked_one() {
    let (server, relay) = Relay::before_a_server().await;
    let alice = TestClient::join(&server, "alice", "General").await;
    let bob = TestClient::listen(&server, "bob", "General").await;
    let mut random = 1u32;
    relay.rule(move |_, packet| {
        random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        if (random >> 16).is_multiple_of(5) { Vec::new() } else { vec![packet.to_vec()] }
    });
    alice.devices.say(&long_talk());
    let left = Arc::new(AtomicU32::new(0));
    let mut over = after(Duration::from_secs(20));
    wait::until("twenty seconds", 3 * LIMIT, || {
        let (over, left) = (over().into_inner(), Arc::clone(&left));
        let (alice, bob) = (&alice, &bob);
        async move {
            for client in [alice, bob] {
                left.fetch_add(u32::from(client.way().await != Way::Udp), Ordering::Relaxed);
            }
            over
        }
    })
    .await;
    assert_eq!(left.load(Ordering::Relaxed), 0, "UDP was left");
    let statistics = alice.statistics().await;
    println!(
        "pings lost {:.2}: up {:.2}, down {:.2}; round trip {:?} ms, least {:?} ms, jitter {:.1} ms",
        statistics.ping_loss,
        statistics.loss_up,
        statistics.loss_down,
        statistics.rtt_ms,
        statistics.rtt_min_ms,
        statistics.jitter_ms
    );
    assert!((0.05..0.45).contains(&statistics.loss_up), "{statistics:?}");
    assert!((0.05..0.45).contains(&statistics.loss_down), "{statistics:?}");
    for client in [alice, bob] {
        client.stop().await;
    }
    server.stop().await;
}

/// By hand: what a probe moves (nothing), what a ping moves, and that a packet that took both ways is heard once.
#[tokio::test(flavor = "multi_thread")]
async fn a_probe_does_not_steal_the_voice() {
    let server = TestServer::start().await;
    let mut listener = RawClient::register(&server, "listener").await;
    listener.enter_again("General").await;
    let mut talker = RawClient::register(&server, "talker").await;
    talker.enter("General").await;
    let bob = TestClient::listen(&server, "bob", "General").await;
    let downlink = TagKey::new(&listener.snapshot.voice.downlink);
    let pong = |packet: &[u8]| Pong::parse(downlink.check(packet).unwrap()).unwrap();
    let mut buffer = [0; 1500];

    listener.send_by_tunnel(listener.ping_packet(0, true)).await;
    assert_eq!(pong(&listener.next_by_tunnel().await).pings_received, 1);
    talker.voice.send(&talker.packet(0, b"by the tunnel")).unwrap();
    assert!(VoicePacket::parse(&listener.next_by_tunnel().await).is_ok());

    listener.voice.send(&listener.ping_packet(1, false)).unwrap();
    let length = listener.voice.recv(&mut buffer).unwrap();
    assert_eq!((pong(&buffer[..length]).sequence, pong(&buffer[..length]).pings_received), (1, 2));
    talker.voice.send(&talker.packet(1, b"by the tunnel, still")).unwrap();
    assert!(VoicePacket::parse(&listener.next_by_tunnel().await).is_ok());

    listener.ping(2);
    let length = listener.voice.recv(&mut buffer).unwrap();
    assert_eq!(pong(&buffer[..length]).sequence, 2);
    talker.voice.send(&talker.packet(2, b"by UDP")).unwrap();
    let length = listener.voice.recv(&mut buffer).unwrap();
    assert_eq!(VoicePacket::parse(&buffer[..length]).unwrap().header.sequence, 2);

    // And up: the same packet both ways.
    let before = server.voice().await.replayed;
    let packet = talker.packet(3, b"twice");
    talker.send_by_tunnel(packet.clone()).await;
    talker.voice.send(&packet).unwrap();
    wait::until("one of them is dropped", LIMIT, || async { server.voice().await.replayed == before + 1 })
        .await;
    wait::until("all four are heard", LIMIT, || async { bob.frames_received().await == 4 }).await;
    assert_eq!(bob.statistics().await.packets_rejected, 0);
    bob.stop().await;
    server.stop().await;
}

/// The same on IPv6, as far as the server goes.
#[tokio::test(flavor = "multi_thread")]
async fn the_tunnel_reaches_a_voice_port_of_ipv6() {
    if std::net::UdpSocket::bind("[::1]:0").is_err() {
        println!("passed over: this machine has no IPv6");
        return;
    }
    let server = TestServer::start_with(|config| config.server.bind_address = "::1".parse().unwrap()).await;
    let alice = TestClient::join(&server, "alice", "General").await;
    assert_eq!(alice.way().await, Way::Udp);
    let mut listener = RawClient::register(&server, "listener").await;
    listener.enter_again("General").await;
    listener.send_by_tunnel(listener.ping_packet(0, true)).await;
    let downlink = TagKey::new(&listener.snapshot.voice.downlink);
    assert!(Pong::parse(downlink.check(&listener.next_by_tunnel().await).unwrap()).is_ok());
    alice.devices.say(&speech());
    assert!(VoicePacket::parse(&listener.next_by_tunnel().await).is_ok());
    alice.stop().await;
    server.stop().await;
}

/// A router forgets its table: talker and listener are found again, and nobody misses a word.
#[tokio::test(flavor = "multi_thread")]
async fn another_address_behind_a_router_is_found_at_once() {
    let (server, relay) = Relay::before_a_server().await;
    let alice = TestClient::join(&server, "alice", "General").await;
    let bob = TestClient::listen(&server, "bob", "General").await;
    alice.devices.say(&long_talk());
    wait::until("a talk", LIMIT, || async { bob.frames_received().await > 100 }).await;
    for round in 0..5 {
        let lost = bob.statistics().await.frames_lost;
        relay.rebind();
        let gap = longest_gap(&bob, after(Duration::from_secs(1))).await;
        let lost = bob.statistics().await.frames_lost - lost;
        println!("round {round}: gap {gap:?}, {lost} frames lost");
        assert!(gap < Duration::from_millis(100), "{gap:?}");
        assert_eq!((alice.way().await, bob.way().await), (Way::Udp, Way::Udp));
    }
    for client in [alice, bob] {
        client.stop().await;
    }
    server.stop().await;
}

async fn session(client: &TestClient) -> Option<SessionId> {
    client.handle.state().await.unwrap().room.map(|room| room.session)
}

/// A client whose control socket goes through a wire.
async fn wired(server: &TestServer, name: &str) -> (TestClient, Wire) {
    let to = format!("{}:{}", server.address.host, server.address.port).parse().unwrap();
    let wire = Wire::start(to).await;
    let address = voip_protocol::Address { host: wire.address.ip().to_string(), port: wire.address.port() };
    let client = TestClient::new();
    client.handle.connect(login(&address, server.fingerprint, name, true)).await.unwrap();
    client.enter("General").await;
    (client, wire)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_talk_goes_on_without_its_control_socket() {
    let server = TestServer::start().await;
    let (alice, wire) = wired(&server, "alice").await;
    let bob = TestClient::join(&server, "bob", "General").await;
    alice.devices.say(&long_talk());
    bob.devices.say(&long_talk());
    wait::until("a talk", LIMIT, || async {
        bob.frames_received().await > 100 && alice.frames_received().await > 100
    })
    .await;
    let before = session(&alice).await;
    let mut seen = bob.handle.subscribe();
    for away in [Duration::ZERO, Duration::from_secs(4)] {
        wire.set_dead(!away.is_zero());
        wire.cut();
        let cut = Instant::now();
        let back = || async {
            if cut.elapsed() >= away {
                wire.set_dead(false);
            }
            cut.elapsed() > away
                && cut.elapsed() > Duration::from_millis(100)
                && session(&alice).await.is_some()
        };
        let (up, down) = tokio::join!(longest_gap(&bob, back), longest_gap(&alice, back));
        println!("away for {:?} and back: gap of the talker {up:?}, of the listener {down:?}", cut.elapsed());
        assert!(up.max(down) < Duration::from_millis(100), "{up:?}, {down:?}");
        assert_eq!(session(&alice).await, before, "the session is another");
    }
    // It is a whole connection again: keys, channel, requests.
    let mut carol = RawClient::register(&server, "carol").await;
    carol.enter("General").await;
    carol.ask("leave", serde_json::json!({})).await;
    let after_new_key = longest_gap(&bob, after(Duration::from_secs(3))).await;
    assert!(after_new_key < Duration::from_millis(100), "{after_new_key:?}");
    let offline = |event: &Event| {
        let Event::Members(change) = event else { return false };
        let has_left = |member: &Member| Some(member.session) == before && member.channel.is_none();
        change.gone.iter().any(|session| Some(*session) == before) || change.changed.iter().any(has_left)
    };
    while let Ok(event) = seen.try_recv() {
        assert!(!offline(&event), "the others noticed: {event:?}");
    }
    alice.handle.leave().await.unwrap();
    for client in [alice, bob] {
        client.stop().await;
    }
    server.stop().await;
}

/// After the time of grace the session is over: the others are told, and the client comes back as a new one.
#[tokio::test(flavor = "multi_thread")]
async fn who_is_away_for_long_is_gone_and_comes_back_as_another() {
    let server = TestServer::start().await;
    let (alice, wire) = wired(&server, "alice").await;
    let bob = TestClient::listen(&server, "bob", "General").await;
    let before = session(&alice).await;
    let mut seen = bob.handle.subscribe();
    wire.set_dead(true);
    wire.cut();
    let cut = Instant::now();
    let offline = |event: &Event| matches!(event, Event::Members(change) if change.gone.iter().any(|gone| Some(*gone) == before));
    let search = async { while !offline(&seen.recv().await.unwrap()) {} };
    tokio::time::timeout(2 * LIMIT, search).await.expect("the others are told");
    let told = cut.elapsed();
    println!("the others are told after {told:?}");
    assert!(told >= Duration::from_millis(SESSION_GRACE_MS), "{told:?}");
    let unknown = server.voice().await.unknown_session;
    wire.set_dead(false);
    wait::until("alice is back", LIMIT, || async { session(&alice).await.is_some() }).await;
    assert_ne!(session(&alice).await, before);
    let heard = bob.frames_received().await;
    wait::until("alice is heard again", LIMIT, || async { bob.frames_received().await > heard + 50 }).await;
    assert!(server.voice().await.unknown_session < unknown + 300, "it talked on into an ended session");
    // Who says goodbye is gone at once.
    let mut seen = bob.handle.subscribe();
    let stopped = Instant::now();
    alice.stop().await;
    bob.next(
        &mut seen,
        "alice is gone",
        |event| matches!(event, Event::Members(change) if !change.gone.is_empty()),
    )
    .await;
    assert!(stopped.elapsed() < Duration::from_secs(2), "{:?}", stopped.elapsed());
    bob.stop().await;
    server.stop().await;
}

/// kill -9, some seconds without a server, and all are back in their channel by themselves.
#[tokio::test(flavor = "multi_thread")]
async fn a_killed_server_is_found_again_within_two_seconds() {
    let _alone = alone().await;
    let folder = tempfile::tempdir().unwrap();
    let mut server = Server::start(folder.path(), 0, 0);
    let mut clients = Vec::new();
    for name in ["admin", "bob", "carol", "dave"] {
        let client = server.client(name).await;
        client.enter("General").await;
        clients.push(client);
    }
    let alice = &clients[0];
    for client in &clients[1..] {
        client.handle.set_self(true, false).await.unwrap();
    }
    for away in [Duration::from_millis(100), Duration::from_secs(5)] {
        let mut events = alice.handle.subscribe();
        server.kill();
        wait::until("the loss is seen", LIMIT, || async {
            let mut lost = true;
            for client in &clients {
                lost &= !client.is_connected().await;
            }
            lost
        })
        .await;
        wait::until("some time", LIMIT, {
            let mut over = after(away);
            move || over()
        })
        .await;
        server.restart();
        let up = Instant::now();
        alice.devices.say(&long_talk()[..10 * 48_000]);
        let mut slowest = Duration::ZERO;
        for client in &clients[1..] {
            wait::until("the talk is heard again", LIMIT, || async {
                client.is_connected().await && client.frames_received().await > 10
            })
            .await;
            slowest = slowest.max(up.elapsed());
        }
        let (mut tries, mut first, mut problems) = (0, None, 0);
        while let Ok(event) = events.try_recv() {
            match event {
                Event::Connection(Connection::Reconnecting { retry_in_ms, attempt, .. }) => {
                    first.get_or_insert(retry_in_ms);
                    tries = attempt;
                }
                Event::Problem(problem) => {
                    println!("{problem}");
                    problems += 1;
                }
                _ => {}
            }
        }
        println!(
            "away for {away:?}: the last hears the talk {slowest:?} after the server is up; first try after {first:?} ms, {tries} tries"
        );
        assert!(slowest < Duration::from_secs(2), "{slowest:?}");
        assert!(first.is_some_and(|first| first <= 250), "{first:?}");
        assert_eq!(problems, 0, "nobody asked for anything, so nobody is told of errors");
    }
    for client in clients {
        client.stop().await;
    }
    server.kill();
}

#[cfg(target_os = "linux")]
mod roaming {
    use super::*;
    use voip_tests::netns::Netns;

    /// Where the server is, whichever cable leads there.
    const SERVER: &str = "10.99.0.1";

    /// A client with two cables to the server changes from one to the other in the middle of a talk, both ways.
    #[test]
    fn a_talk_goes_on_over_a_change_of_network() {
        let name = "a_talk_goes_on_over_a_change_of_network";
        let (Some(servers), Some(clients)) = (Netns::new(name), Netns::new(name)) else { return };
        for (number, net) in [(0, "10.77.0"), (1, "10.78.0")] {
            let (there, here) = (format!("s{number}"), format!("c{number}"));
            servers.cable(&there, &clients, &here);
            servers.ip(&[&format!("addr add {net}.1/24 dev {there}"), &format!("link set {there} up")]);
            clients.ip(&[&format!("addr add {net}.2/24 dev {here}"), &format!("link set {here} up")]);
        }
        servers.ip(&[&format!("addr add {SERVER}/32 dev lo")]);
        clients.ip(&[&format!("route add {SERVER} via 10.77.0.1")]);
        let (inside, outside) = (servers.runtime(), clients.runtime());
        inside.block_on(async {
            // block_on runs here, and only what is spawned is in the namespace.
            inside.spawn(talk(outside.handle().clone(), clients)).await.unwrap();
        });
        outside.shutdown_background();
        inside.shutdown_background();
    }

    async fn talk(outside: tokio::runtime::Handle, clients: Netns) {
        let server =
            TestServer::start_with(|config| config.server.bind_address = SERVER.parse().unwrap()).await;
        let (address, fingerprint) = (server.address.clone(), server.fingerprint);
        let roamer = outside.spawn(async move {
            let client = TestClient::new();
            client.handle.connect(login(&address, fingerprint, "alice", true)).await.unwrap();
            client.enter("General").await;
            client
        });
        let alice = roamer.await.unwrap();
        let bob = TestClient::join(&server, "bob", "General").await;
        alice.devices.say(&long_talk());
        bob.devices.say(&long_talk());
        wait::until("a talk", LIMIT, || async {
            bob.frames_received().await > 100 && alice.frames_received().await > 100
        })
        .await;
        assert_eq!((alice.way().await, bob.way().await), (Way::Udp, Way::Udp));
        let routes = [
            ("c0 down", ["link set c0 down", "route add 10.99.0.1 via 10.78.0.1"]),
            ("c1 down", ["link set c1 down", "route add 10.99.0.1 via 10.77.0.1"]),
        ];
        for (round, (what, commands)) in routes.into_iter().enumerate() {
            if round == 1 {
                clients.ip(&["link set c0 up"]);
            }
            let over = Arc::new(AtomicBool::new(false));
            let until = || {
                let over = Arc::clone(&over);
                move || std::future::ready(over.load(Ordering::Relaxed))
            };
            let before = session(&alice).await;
            let change = async {
                tokio::time::sleep(Duration::from_millis(200)).await;
                let clients = clients.clone();
                tokio::task::spawn_blocking(move || clients.ip(&commands)).await.unwrap();
                // Its control socket is dead now, and nobody says so.
                let gone =
                    wait::until("the dead socket is found", LIMIT, || async { !alice.is_connected().await });
                let gone = gone.await;
                let back =
                    wait::until("there is another", LIMIT, || async { alice.is_connected().await }).await;
                println!(
                    "{what}: the control socket is found dead after {gone:?}, another is there after {back:?}"
                );
                over.store(true, Ordering::Relaxed);
            };
            let (from_alice, from_bob, ()) =
                tokio::join!(longest_gap(&bob, until()), longest_gap(&alice, until()), change);
            assert_eq!((alice.way().await, bob.way().await), (Way::Udp, Way::Udp));
            assert_eq!(session(&alice).await, before, "the session is another");
            println!(
                "{what}: gap of the roaming talker {from_alice:?}, of the roaming listener {from_bob:?}"
            );
            assert!(from_alice < Duration::from_millis(100), "{from_alice:?}");
            assert!(from_bob < Duration::from_millis(100), "{from_bob:?}");
        }
        assert_heard_once(&alice.statistics().await, &bob.statistics().await);
        for client in [alice, bob] {
            client.stop().await;
        }
        server.stop().await;
    }
}
