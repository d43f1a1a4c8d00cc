//! Datagrams from anywhere, and sequence numbers in any order.
#![no_main]

use std::{collections::HashSet, sync::LazyLock};

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use voip_protocol::{
    Epoch, SessionId,
    limits::REPLAY_WINDOW,
    secret::{ContextSecret, TagSecret},
    voice::{
        HEADER_LEN, OpeningKey, Ping, Pong, ReplayWindow, SealingKey, TagKey, VoicePacket, kind_of,
        session_of,
    },
};

#[derive(Arbitrary, Debug)]
struct Input<'a> {
    start: u32,
    /// Steps from one sequence number to the next, either way.
    steps: Vec<i16>,
    datagram: &'a [u8],
}

struct Keys {
    tag: TagKey,
    sealing: SealingKey,
    opening: OpeningKey,
}

static KEYS: LazyLock<Keys> = LazyLock::new(|| {
    let secret = ContextSecret::new([1; 32]);
    let (epoch, talker) = (Epoch(2), SessionId(3));
    Keys {
        tag: TagKey::new(&TagSecret::new([4; 32])),
        sealing: SealingKey::derive(&secret, epoch, talker),
        opening: OpeningKey::derive(&secret, epoch, talker),
    }
});

fuzz_target!(|input: Input| {
    read(input.datagram);
    replay(input.start, &input.steps);
});

/// Bytes that nobody sealed or tagged: read or refused, and never opened.
fn read(datagram: &[u8]) {
    let _ = (kind_of(datagram), session_of(datagram));
    assert!(KEYS.tag.check(datagram).is_none(), "a forged tag");
    if let Ok(ping) = Ping::parse(datagram) {
        let bytes = ping.to_bytes(&KEYS.tag);
        assert_eq!(KEYS.tag.check(&bytes), Some(datagram));
    }
    if let Ok(pong) = Pong::parse(datagram) {
        let bytes = pong.to_bytes(&KEYS.tag);
        assert_eq!(KEYS.tag.check(&bytes), Some(datagram));
    }
    let Ok(packet) = VoicePacket::parse(datagram) else { return };
    assert_eq!(packet.header.to_bytes(), datagram[..HEADER_LEN]);
    assert!(KEYS.opening.open(&packet.header, &mut packet.sealed.to_vec()).is_err(), "a forged seal");

    // The same header, sealed by its owner around the same bytes, opens.
    let mut out = vec![0; datagram.len() + 64];
    let length = KEYS.sealing.seal(packet.header, packet.sealed, &mut out);
    let sealed = &mut out[..length];
    if let Ok(own) = VoicePacket::parse(sealed) {
        let header = own.header;
        assert_eq!(KEYS.opening.open(&header, &mut sealed[HEADER_LEN..]), Ok(packet.sealed));
    }
}

/// The window against the plain way: remember everything.
fn replay(start: u32, steps: &[i16]) {
    let mut window = ReplayWindow::default();
    let mut seen = HashSet::new();
    let mut newest: Option<u32> = None;
    let mut sequence = start;
    for step in steps {
        let old = newest.is_some_and(|newest| newest >= sequence && newest - sequence >= REPLAY_WINDOW);
        let fresh = !old && !seen.contains(&sequence);
        assert_eq!(window.is_fresh(sequence), fresh);
        assert_eq!(window.accept(sequence), fresh);
        if fresh {
            seen.insert(sequence);
            newest = newest.max(Some(sequence));
        }
        assert_eq!(window.newest(), newest);
        sequence = sequence.saturating_add_signed((*step).into());
    }
}
