//! What is on the wire, and what becomes of packets that are not right.

#![allow(clippy::unwrap_used)]

use std::{
    collections::HashMap,
    net::{Ipv4Addr, UdpSocket},
    time::{Duration, Instant},
};

use voip_client::Event;
use voip_protocol::{
    SessionId,
    control::{ServerEvent, ServerMessage},
    voice::{HEADER_LEN, Header, OpeningKey, SEAL_LEN, TAG_LEN, VoicePacket},
};
use voip_server::voice::{PINGS_PER_SECOND, VoiceFigures};
use voip_tests::{
    client::{LIMIT, TestClient},
    raw::RawClient,
    relay::{Relay, Way},
    server::TestServer,
    speech::speech,
    wait,
};

/// The dropped packets, however they were found out.
fn dropped(figures: VoiceFigures) -> u64 {
    figures.malformed
        + figures.unknown_session
        + figures.bad_tag
        + figures.replayed
        + figures.rate_limited
        + figures.not_allowed
        + figures.wrong_context
}

async fn frames_go_on(client: &TestClient) {
    let before = client.frames_received().await;
    wait::until("frames go on", LIMIT, || async { client.frames_received().await > before + 20 }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_capture_of_a_talk_holds_no_opus_frame_in_clear() {
    let (server, relay) = Relay::before_a_server().await;
    // Sits in the channel and so has its key: it can say what the frames in clear would be.
    let mut key_holder = RawClient::register(&server, "keys").await;
    key_holder.enter("General").await;
    let alice = TestClient::join(&server, "alice", "General").await;
    let bob = TestClient::listen(&server, "bob", "General").await;
    relay.take_capture();
    alice.devices.say(&speech()[..96_000]);
    wait::until("two seconds of talk", LIMIT, || async { bob.frames_received().await > 200 }).await;
    let capture = relay.take_capture();
    let talker = alice.handle.state().await.unwrap().room.unwrap().session;
    let key = key_holder.key.clone().unwrap();
    let opening = OpeningKey::derive(&key.secret, key.epoch, talker);
    let up: Vec<_> = capture.iter().filter(|(way, _)| *way == Way::Up).map(|(_, packet)| packet).collect();
    let mut frames = Vec::new();
    for packet in &up {
        // Who only listens muted itself after it came: its last frame may be among them.
        if let Ok(header) = Header::parse(packet)
            && header.session == talker
        {
            let mut sealed = packet[HEADER_LEN..packet.len() - TAG_LEN].to_vec();
            frames.push(opening.open(&header, &mut sealed).unwrap().to_vec());
        }
    }
    assert!(frames.len() > 150, "{} frames", frames.len());
    let spoken: Vec<_> = frames.iter().filter(|frame| frame.len() > 20).collect();
    assert!(spoken.len() > 50, "{} frames of speech", spoken.len());
    for frame in spoken {
        // Sixteen bytes of a frame somewhere else by chance: once in 2¹²⁸.
        for (_, packet) in &capture {
            assert!(!packet.windows(16).any(|window| window == &frame[..16]), "a frame in clear");
        }
    }
    // And what goes down is what came up, byte for byte, without the tag.
    let down: Vec<_> =
        capture.iter().filter(|(way, _)| *way == Way::Down).map(|(_, packet)| packet).collect();
    for packet in down.iter().filter(|packet| VoicePacket::parse(packet).is_ok()) {
        assert!(up.iter().any(|sent| sent.len() == packet.len() + TAG_LEN && sent.starts_with(packet)));
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn packets_of_a_real_talk_at_most_double_their_frames() {
    let (server, relay) = Relay::before_a_server().await;
    let alice = TestClient::join(&server, "alice", "General").await;
    let bob = TestClient::listen(&server, "bob", "General").await;
    relay.take_capture();
    alice.devices.say(&speech()[..96_000]);
    wait::until("two seconds of talk", LIMIT, || async { bob.frames_received().await > 200 }).await;
    let lengths: Vec<_> = relay
        .take_capture()
        .into_iter()
        .filter(|(way, packet)| *way == Way::Up && Header::parse(packet).is_ok())
        .map(|(_, packet)| packet.len())
        .collect();
    let overhead = HEADER_LEN + SEAL_LEN + TAG_LEN;
    assert!(overhead <= 50, "a frame of 10 ms at 40 kbit/s has 50 bytes, and at most doubles");
    let frames: usize = lengths.iter().map(|length| length - overhead).sum();
    let mean = frames as f32 / lengths.len() as f32;
    println!("frames of {mean:.1} bytes on average, packets of {:.1}", mean + overhead as f32);
    assert!(mean < 75.0, "the encoder keeps its bit rate: {mean} bytes a frame");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flipped_bit_anywhere_costs_one_count_and_the_talk_goes_on() {
    let server = TestServer::start().await;
    let bob = TestClient::listen(&server, "bob", "General").await;
    let mut talker = RawClient::register(&server, "talker").await;
    talker.enter("General").await;
    let good = talker.packet(0, b"an Opus frame it is not");
    let before = server.voice().await;
    for bit in 0..good.len() * 8 {
        let mut packet = good.clone();
        packet[bit / 8] ^= 1 << (bit % 8);
        talker.voice.send(&packet).unwrap();
        if bit % 64 == 63 {
            // Not more at once than the socket's buffer holds.
            let sent = before.received + bit as u64 + 1;
            wait::until("the server takes them", LIMIT, || async { server.voice().await.received >= sent })
                .await;
        }
    }
    let bits = good.len() as u64 * 8;
    wait::until("each is counted", LIMIT, || async {
        dropped(server.voice().await) == dropped(before) + bits
    })
    .await;
    assert_eq!(server.voice().await.forwarded, before.forwarded);
    assert_eq!(bob.frames_received().await, 0);
    talker.voice.send(&good).unwrap();
    wait::until("the good one arrives", LIMIT, || async { bob.frames_received().await == 1 }).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn replays_and_strangers_are_dropped_and_counted() {
    let server = TestServer::start().await;
    let bob = TestClient::listen(&server, "bob", "General").await;
    let mut talker = RawClient::register(&server, "talker").await;
    talker.enter("General").await;
    let packet = talker.packet(5, b"frame");
    talker.voice.send(&packet).unwrap();
    wait::until("it arrives", LIMIT, || async { bob.frames_received().await == 1 }).await;
    let before = server.voice().await;
    talker.voice.send(&packet).unwrap();
    wait::until("the replay is counted", LIMIT, || async {
        server.voice().await.replayed == before.replayed + 1
    })
    .await;

    let stranger = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    stranger.connect((Ipv4Addr::LOCALHOST, server.voice_port)).unwrap();
    stranger.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    // The same packet from elsewhere: it must not move the talker's address either.
    stranger.send(&packet).unwrap();
    let mut unknown = packet.clone();
    unknown[4..8].copy_from_slice(&(talker.session().0 ^ 0x5555_5555).to_be_bytes());
    for bytes in [&unknown[..], b"", b"x", &[0x11; 1200], &[0x12; 32], &[0xff; 60]] {
        stranger.send(bytes).unwrap();
    }
    wait::until("each is counted", LIMIT, || async {
        dropped(server.voice().await) == dropped(before) + 1 + 7
    })
    .await;
    assert!(stranger.recv(&mut [0; 64]).is_err(), "a stranger got an answer");
    let figures = server.voice().await;
    assert_eq!(figures.replayed, before.replayed + 2);
    assert!(figures.unknown_session > before.unknown_session, "{figures:?}");
    assert!(figures.malformed > before.malformed, "{figures:?}");

    talker.voice.send(&talker.packet(6, b"frame")).unwrap();
    wait::until("the talk goes on", LIMIT, || async { bob.frames_received().await == 2 }).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_is_not_fooled_by_its_network_either() {
    let (server, relay) = Relay::before_a_server().await;
    let alice = TestClient::join(&server, "alice", "General").await;
    let bob = TestClient::listen(&server, "bob", "General").await;
    alice.devices.say(&speech());
    frames_go_on(&bob).await;
    assert_eq!(bob.statistics().await.packets_rejected, 0);

    let mut bit = 0;
    relay.rule(move |way, packet| {
        let mut packet = packet.to_vec();
        if way == Way::Down {
            bit = (bit + 13) % (packet.len() * 8);
            packet[bit / 8] ^= 1 << (bit % 8);
        }
        vec![packet]
    });
    wait::until("spoilt packets are rejected", LIMIT, || async {
        bob.statistics().await.packets_rejected > 50
    })
    .await;
    relay.pass();
    frames_go_on(&bob).await;

    let rejected = bob.statistics().await.packets_rejected;
    relay.rule(|way, packet| if way == Way::Down { vec![packet.to_vec(); 3] } else { vec![packet.to_vec()] });
    wait::until("repeated packets are rejected", LIMIT, || async {
        bob.statistics().await.packets_rejected > rejected + 50
    })
    .await;
    relay.pass();
    frames_go_on(&bob).await;
    server.stop().await;
}

/// Lost packets are counted and made up for; the talker hears of it, and from then on they are put together again.
#[tokio::test(flavor = "multi_thread")]
async fn loss_is_counted_concealed_and_repaired() {
    let (server, relay) = Relay::before_a_server().await;
    let alice = TestClient::join(&server, "alice", "General").await;
    let bob = TestClient::listen(&server, "bob", "General").await;
    let mut number = 0u32;
    relay.rule(move |way, packet| {
        let voice = way == Way::Down && VoicePacket::parse(packet).is_ok();
        number += u32::from(voice);
        if voice && number % 10 == 3 { Vec::new() } else { vec![packet.to_vec()] }
    });
    alice.devices.say(&speech());
    let talker = || async { bob.statistics().await.talkers.first().cloned() };
    wait::until("frames are repaired", LIMIT, || async {
        talker().await.is_some_and(|talker| talker.repaired > 50)
    })
    .await;
    let before = talker().await.expect("she has been heard");
    // What was lost before the talker heard of it.
    assert!(before.lost > 0 && before.concealed > 0, "{before:?}");
    wait::until("more frames are repaired", LIMIT, || async {
        talker().await.is_some_and(|talker| talker.repaired > before.repaired + 50)
    })
    .await;
    let after = talker().await.expect("she has been heard");
    assert_eq!(after.lost, before.lost, "{before:?} {after:?}");
    assert!((0.05..0.2).contains(&after.loss), "{after:?}");
    server.stop().await;
}

/// A session may only speak into the channel that it is in.
#[tokio::test(flavor = "multi_thread")]
async fn another_channels_context_is_refused() {
    let server = TestServer::start().await;
    let bob = TestClient::listen(&server, "bob", "General").await;
    let mut talker = RawClient::register(&server, "talker").await;
    talker.enter("General").await;
    let stale = talker.packet(0, b"frame");
    talker.enter_again("Other").await;
    talker.voice.send(&stale).unwrap();
    wait::until("it is refused", LIMIT, || async { server.voice().await.wrong_context == 1 }).await;
    talker.ask("leave", serde_json::json!({})).await;
    // The listener's last frame may have met its own muting.
    let refused = server.voice().await.not_allowed;
    talker.voice.send(&talker.packet(1, b"frame")).unwrap();
    wait::until("it is refused", LIMIT, || async { server.voice().await.not_allowed == refused + 1 }).await;
    assert_eq!(bob.frames_received().await, 0);
    let session = talker.session();
    let late = talker.packet(2, b"frame");
    let voice = talker.voice.try_clone().unwrap();
    drop(talker);
    wait::until("the session ends", LIMIT, || async { is_gone(&bob, session).await }).await;
    let unknown = server.voice().await.unknown_session;
    voice.send(&late).unwrap();
    wait::until("it is unknown", LIMIT, || async { server.voice().await.unknown_session == unknown + 1 })
        .await;
    server.stop().await;
}

/// One talker sends ten times what it may, beside one who speaks as people do.
#[tokio::test(flavor = "multi_thread")]
async fn a_flood_is_clipped_and_its_talker_is_told() {
    const RATE: u32 = 100;
    const FLOOD: u32 = 10 * RATE;
    const SPOKEN: u32 = RATE / 2;
    let server = TestServer::start_with(|config| config.voice.packets_per_second_by_session = RATE).await;
    let mut listener = RawClient::register(&server, "listener").await;
    listener.enter("General").await;
    let mut flooder = RawClient::register(&server, "flooder").await;
    flooder.enter("General").await;
    let mut talker = RawClient::register(&server, "talker").await;
    talker.enter("General").await;
    let mut heard = HashMap::<_, u32>::new();
    let mut hear = |datagrams: u64| {
        let mut buffer = [0; 1_500];
        for _ in 0..datagrams {
            let length = listener.voice.recv(&mut buffer).expect("what the server sent arrives");
            *heard.entry(Header::parse(&buffer[..length]).unwrap().session).or_default() += 1;
        }
    };

    let before = server.voice().await;
    let mut forwarded = before.forwarded;
    let began = Instant::now();
    for n in 0..FLOOD {
        flooder.voice.send(&flooder.packet(n, b"flood")).unwrap();
        if n % (FLOOD / SPOKEN) == 0 {
            talker.voice.send(&talker.packet(n, b"frame")).unwrap();
        }
        if n % 50 == 49 {
            // Not more at once than the sockets' buffers hold.
            let sent = u64::from((n + 1) + (n / (FLOOD / SPOKEN) + 1));
            wait::until("the server has dealt with them", LIMIT, || async {
                let now = server.voice().await;
                let clipped = now.rate_limited - before.rate_limited;
                // The flooder hears the talker, the talker the flooder, the listener both.
                now.received == before.received + sent
                    && now.forwarded == before.forwarded + 2 * (sent - clipped)
            })
            .await;
            let now = server.voice().await;
            hear((now.forwarded - forwarded) / 2);
            forwarded = now.forwarded;
        }
    }
    let took = began.elapsed();
    let figures = server.voice().await;
    let (flooded, spoken) = (heard[&flooder.session()], heard[&talker.session()]);
    println!("{flooded} of {FLOOD} packets in {took:?}, and {spoken} of {SPOKEN}");
    assert_eq!(spoken, SPOKEN);
    let most = f64::from(RATE) * (1.0 + took.as_secs_f64());
    assert!(flooded >= RATE && f64::from(flooded) <= most, "{flooded} of {most} that it may");
    let clipped = figures.rate_limited - before.rate_limited;
    assert_eq!(clipped, u64::from(FLOOD - flooded));

    let mut told = 0;
    while told < clipped {
        if let ServerMessage::Event(ServerEvent::VoiceClipped { packets }) = flooder.next().await.unwrap() {
            assert!(packets > 0);
            told += u64::from(packets);
        }
    }
    assert_eq!(told, clipped);
    talker.send_text(r#"{"id": 99, "method": "leave", "params": {}}"#).await;
    loop {
        match talker.next().await.unwrap() {
            ServerMessage::Success { id: 99, .. } => break,
            ServerMessage::Event(ServerEvent::VoiceClipped { .. }) => panic!("the talker was told"),
            _ => {}
        }
    }
    server.stop().await;
}

/// An engine on a server that lets it send less than it does says so to its person.
#[tokio::test(flavor = "multi_thread")]
async fn a_person_who_is_clipped_gets_to_know() {
    let server = TestServer::start_with(|config| config.voice.packets_per_second_by_session = 20).await;
    let alice = TestClient::join(&server, "alice", "General").await;
    let mut events = alice.handle.subscribe();
    alice.devices.say(&speech()[..96_000]);
    let told = alice.next(
        &mut events,
        "the clipping is told",
        |event| matches!(event, Event::Problem(problem) if problem.code.as_str() == "voice_clipped"),
    );
    told.await;
    server.stop().await;
}

/// Pings beyond what any client sends get no answer.
#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_pings_is_not_answered() {
    let server = TestServer::start().await;
    let mut client = RawClient::register(&server, "client").await;
    client.enter("General").await;
    let before = server.voice().await;
    let began = Instant::now();
    (1..=500).for_each(|sequence| client.ping(sequence));
    wait::until("each is counted", LIMIT, || async {
        let figures = server.voice().await;
        figures.pings + figures.rate_limited == before.pings + 500
    })
    .await;
    let answered = server.voice().await.pings - before.pings;
    let most = f64::from(PINGS_PER_SECOND) * (1.0 + began.elapsed().as_secs_f64());
    assert!(answered > 0 && answered as f64 <= most, "{answered} of {most} that may be");
    server.stop().await;
}

async fn is_gone(client: &TestClient, session: SessionId) -> bool {
    let room = client.handle.state().await.unwrap().room.unwrap();
    !room.members.iter().any(|member| member.session == session)
}
