//! The least that a forwarder can do: one thread takes a datagram, checks its seal, and sends it to each listener
//! with a call of its own.

use std::{
    io::{self, Write},
    net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket},
};

use voip_protocol::{
    SessionId,
    limits::MAX_VOICE_PACKET,
    voice::{OpeningKey, TAG_LEN, VoicePacket},
};

use super::{
    layout::{Layout, address_of},
    roster::Roster,
};

/// Forwards for clients on this port until the process is ended. Says on standard output where.
pub fn run(layout: Layout, port: u16) -> io::Result<()> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    let roster = Roster::without_control(layout);
    let key = |client| {
        let generation = roster.in_use(layout.channel_of(client)).expect("it is in use from the start");
        OpeningKey::derive(&generation.secret, generation.epoch, SessionId(client as u32 + 1))
    };
    let keys: Vec<_> = (0..layout.clients).map(key).collect();
    let address = |client| SocketAddr::from(SocketAddrV4::new(address_of(client), port));
    let addresses: Vec<_> = (0..layout.clients).map(address).collect();
    println!("{}", socket.local_addr()?);
    io::stdout().flush()?;
    let (mut buffer, mut opened) = ([0; MAX_VOICE_PACKET], [0; MAX_VOICE_PACKET]);
    loop {
        let Ok((length, SocketAddr::V4(from))) = socket.recv_from(&mut buffer) else { continue };
        let body = &buffer[..length.saturating_sub(TAG_LEN)];
        let (Some(client), Ok(packet)) = (layout.client_at(*from.ip()), VoicePacket::parse(body)) else {
            continue;
        };
        let opened = &mut opened[..packet.sealed.len()];
        opened.copy_from_slice(packet.sealed);
        if keys[client].open(&packet.header, opened).is_err() {
            continue;
        }
        for listener in layout.members(layout.channel_of(client)) {
            if listener != client {
                // What a full buffer refuses is lost, as anywhere.
                let _ = socket.send_to(body, addresses[listener]);
            }
        }
    }
}
