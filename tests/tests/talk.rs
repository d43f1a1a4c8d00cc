//! Real engines talk over a real server.

#![allow(clippy::unwrap_used)]

use std::time::Duration;

use voip_client::{Connection, Event};
use voip_protocol::control::Member;
use voip_tests::{
    client::{LIMIT, TestClient},
    likeness::{compare, rms},
    server::{TestServer, alone},
    speech::speech,
    wait,
};

/// Seconds of speech that are enough to tell it from anything else.
const SPEECH: usize = 4 * 48_000;

/// Says something and waits until the microphone has heard it all and it has arrived.
async fn say(client: &TestClient, samples: &[f32]) {
    client.devices.say(samples);
    wait::until_true("the microphone hears all", LIMIT, || client.devices.left_to_hear() == 0).await;
    let sent = client.statistics().await.frames_sent;
    wait::until("some more frames", LIMIT, || async { client.statistics().await.frames_sent > sent + 30 })
        .await;
}

fn heard(client: &TestClient, said: &[f32]) -> f32 {
    compare(said, &client.devices.played()).likeness
}

fn is_silent(client: &TestClient) -> bool {
    rms(&client.devices.played()) < 1e-4
}

#[tokio::test(flavor = "multi_thread")]
async fn three_hear_each_other_and_not_themselves_and_nobody_elsewhere_does() {
    let server = TestServer::start().await;
    let alice = TestClient::join(&server, "alice", "General").await;
    let bob = TestClient::join(&server, "bob", "General").await;
    let carol = TestClient::join(&server, "carol", "General").await;
    let dave = TestClient::join(&server, "dave", "Other").await;
    let all = speech();
    for (number, talker) in [&alice, &bob, &carol].into_iter().enumerate() {
        let said = &all[number * SPEECH / 2..][..SPEECH];
        for client in [&alice, &bob, &carol, &dave] {
            client.devices.clear_played();
        }
        say(talker, said).await;
        for listener in [&alice, &bob, &carol] {
            let likeness = heard(listener, said);
            if std::ptr::eq(listener, talker) {
                assert!(is_silent(listener), "a talker hears itself: {likeness}");
            } else {
                assert!(likeness > 0.85, "likeness {likeness}");
            }
        }
        assert!(is_silent(&dave), "heard in another channel");
    }
    let statistics = bob.statistics().await;
    assert_eq!(statistics.frames_lost, 0, "{statistics:?}");
    assert_eq!(statistics.packets_rejected, 0, "{statistics:?}");
    for client in [alice, bob, carol, dave] {
        client.stop().await;
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_muted_one_is_not_forwarded_and_a_deafened_one_gets_nothing() {
    let server = TestServer::start().await;
    let alice = TestClient::join(&server, "alice", "General").await;
    let bob = TestClient::join(&server, "bob", "General").await;
    let said = &speech()[..48_000];

    bob.handle.set_self(false, true).await.unwrap();
    let before = (server.voice().await.forwarded, bob.statistics().await.frames_received);
    say(&alice, said).await;
    assert_eq!((server.voice().await.forwarded, bob.statistics().await.frames_received), before);
    assert!(is_silent(&bob));
    bob.handle.set_self(false, false).await.unwrap();
    wait::until("frames again", LIMIT, || async { bob.statistics().await.frames_received > before.1 + 20 })
        .await;

    alice.handle.set_self(true, false).await.unwrap();
    let sent = alice.statistics().await.frames_sent;
    let received = bob.statistics().await.frames_received;
    alice.devices.say(said);
    wait::until_true("the microphone hears all", LIMIT, || alice.devices.left_to_hear() == 0).await;
    // The frame that was on its way when the key was let go may still arrive.
    assert!(alice.statistics().await.frames_sent <= sent + 1);
    assert!(bob.statistics().await.frames_received <= received + 2);
    let room = bob.handle.state().await.unwrap().room.unwrap();
    let seen = room.members.iter().find(|member| member.username == "alice").unwrap();
    assert!(seen.muted && !seen.talking);
    server.stop().await;
}

/// A client that goes on sending although it is muted finds that the server does not forward it.
#[tokio::test(flavor = "multi_thread")]
async fn muting_holds_on_the_server() {
    let server = TestServer::start().await;
    let bob = TestClient::join(&server, "bob", "General").await;
    let mut raw = voip_tests::raw::RawClient::register(&server, "raw").await;
    raw.enter("General").await;
    raw.ask("set_self", serde_json::json!({ "muted": true, "deafened": false })).await;
    raw.voice.send(&raw.packet(0, b"frame")).unwrap();
    wait::until("the packet is refused", LIMIT, || async { server.voice().await.not_allowed == 1 }).await;
    raw.ask("set_self", serde_json::json!({ "muted": false, "deafened": false })).await;
    raw.voice.send(&raw.packet(1, b"frame")).unwrap();
    wait::until("the packet arrives", LIMIT, || async { bob.statistics().await.frames_received == 1 }).await;
    server.stop().await;
}

/// The role Member may not speak in Quiet.
#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_speak_is_not_forwarded() {
    let server = TestServer::start().await;
    let bob = TestClient::join(&server, "bob", "Quiet").await;
    let alice = TestClient::join(&server, "alice", "Quiet").await;
    alice.devices.say(&speech()[..24_000]);
    wait::until("packets are refused", LIMIT, || async { server.voice().await.not_allowed > 10 }).await;
    assert_eq!(bob.statistics().await.frames_received, 0);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_others_see_who_talks_and_who_comes_and_goes() {
    let server = TestServer::start().await;
    let alice = TestClient::with_settings(voip_client::VoiceSettings::default());
    let login = voip_tests::client::login(&server.address, server.fingerprint, "alice", true);
    alice.handle.connect(login).await.unwrap();
    let bob = TestClient::join(&server, "bob", "General").await;
    let mut events = bob.handle.subscribe();
    alice.enter("General").await;
    let session = alice.handle.state().await.unwrap().room.unwrap().session;
    let alice_is = |holds: fn(&Member) -> bool| {
        move |event: &Event| {
            let Event::Members(change) = event else { return false };
            change.changed.iter().any(|member| member.session == session && holds(member))
        }
    };
    bob.next(&mut events, "alice joins", alice_is(|alice| alice.channel.is_some())).await;
    alice.handle.set_key(true);
    bob.next(&mut events, "alice talks", alice_is(|alice| alice.talking)).await;
    alice.handle.set_key(false);
    bob.next(&mut events, "alice is done", alice_is(|alice| !alice.talking)).await;
    alice.handle.leave().await.unwrap();
    bob.next(&mut events, "alice leaves", alice_is(|alice| alice.channel.is_none())).await;
    alice.stop().await;
    let gone = |event: &Event| matches!(event, Event::Members(change) if change.gone.contains(&session));
    bob.next(&mut events, "alice is gone", gone).await;
    server.stop().await;
}

/// When somebody leaves, the channel gets a new key, and the talk goes on over the change.
#[tokio::test(flavor = "multi_thread")]
async fn a_new_epoch_interrupts_nobody() {
    let server = TestServer::start().await;
    let alice = TestClient::join(&server, "alice", "General").await;
    let bob = TestClient::join(&server, "bob", "General").await;
    let mut carol = voip_tests::raw::RawClient::register(&server, "carol").await;
    carol.enter("General").await;
    carol.ask("leave", serde_json::json!({})).await;
    let said = &speech()[..SPEECH];
    say(&alice, said).await;
    let likeness = heard(&bob, said);
    assert!(likeness > 0.85, "likeness {likeness}");
    let statistics = bob.statistics().await;
    assert_eq!((statistics.frames_lost, statistics.packets_rejected), (0, 0), "{statistics:?}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn statistics_are_plausible() {
    let server = TestServer::start().await;
    let alice = TestClient::join(&server, "alice", "General").await;
    let bob = TestClient::join(&server, "bob", "General").await;
    say(&alice, &speech()[..96_000]).await;
    wait::until("a talker's statistics", LIMIT, || async {
        bob.statistics().await.talkers.iter().any(|talker| talker.mouth_to_ear_ms.is_some())
    })
    .await;
    let statistics = bob.statistics().await;
    let talker = &statistics.talkers[0];
    let rtt = statistics.rtt_ms.unwrap();
    let mouth_to_ear = talker.mouth_to_ear_ms.unwrap();
    assert!(rtt > 0.0 && rtt < 100.0, "{rtt}");
    assert!(talker.received > 150 && talker.buffer_ms > 0.0 && talker.buffer_ms < 200.0, "{talker:?}");
    assert!(mouth_to_ear > 10.0 && mouth_to_ear < 250.0, "{mouth_to_ear}");
    assert!(statistics.ping_loss.abs() < f32::EPSILON);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unplugged_microphone_is_told_and_the_talk_goes_on_when_it_is_back() {
    let server = TestServer::start().await;
    let alice = TestClient::join(&server, "alice", "General").await;
    let bob = TestClient::join(&server, "bob", "General").await;
    let mut events = alice.handle.subscribe();
    alice.devices.unplug_input(true);
    let told = alice.next(
        &mut events,
        "the microphone is gone",
        |event| matches!(event, Event::Audio(audio) if audio.input_problem.is_some()),
    );
    let Event::Audio(audio) = told.await else { unreachable!() };
    assert!(audio.input.is_none() && audio.output.is_some(), "{audio:?}");
    alice.devices.unplug_input(false);
    let back = |event: &Event| matches!(event, Event::Audio(audio) if audio.input.is_some());
    alice.next(&mut events, "the microphone is back", back).await;
    bob.devices.clear_played();
    let said = &speech()[..SPEECH];
    say(&alice, said).await;
    assert!(heard(&bob, said) > 0.85);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_comes_back_is_found_again() {
    let _alone = alone().await;
    let folder = tempfile::tempdir().unwrap();
    let mut server = voip_tests::process::Server::start(folder.path(), 0, 0);
    let alice = server.client("admin").await;
    let bob = server.client("bob").await;
    alice.enter("General").await;
    bob.enter("General").await;
    // Once more than once: the second time the tokens are the same, too.
    for _ in 0..2 {
        server.kill();
        wait::until("the loss is seen", LIMIT, || async {
            !alice.is_connected().await && !bob.is_connected().await
        })
        .await;
        server.restart();
        bob.devices.clear_played();
        let said = &speech()[..SPEECH];
        alice.devices.say(said);
        let back = wait::until("talking again", Duration::from_secs(5), || async {
            alice.is_connected().await && bob.statistics().await.frames_received > 20
        });
        println!("talking again {:?} after the server was up", back.await);
    }
    server.kill();
}

/// A server that stops says so, and that is what people get to read.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_stops_says_goodbye() {
    let server = TestServer::start().await;
    let alice = TestClient::join(&server, "alice", "General").await;
    let mut events = alice.handle.subscribe();
    server.stop().await;
    let told = alice.next(&mut events, "the outage is told", |event| {
        matches!(event, Event::Connection(Connection::Reconnecting { .. }))
    });
    let Event::Connection(Connection::Reconnecting { reason, .. }) = told.await else { unreachable!() };
    assert_eq!(reason.code.as_str(), "server_stopping");
    alice.stop().await;
}
