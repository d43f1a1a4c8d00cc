//! The least that a forwarder can do: a thread takes a datagram, checks its seal, and sends it to each listener. In
//! several designs, to be measured beside each other and beside the server.

mod batched;
mod one_by_one;
mod sharded;
mod tokio;
mod uring;

use std::{
    io::{self, Write},
    net::{Ipv4Addr, SocketAddrV4, UdpSocket},
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

/// How it reaches the system.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Design {
    /// A blocking socket, one datagram a call.
    OneByOne,
    /// Many datagrams a call: `recvmmsg`, `sendmmsg`.
    Batched,
    /// The same on two threads, each with a socket of its own on the same port.
    Sharded,
    /// tokio's socket.
    Tokio,
    /// `io_uring`.
    Uring,
}

/// Forwards for clients on this port until the process is ended. Says on standard output where.
pub fn run(design: Design, layout: Layout, port: u16) -> io::Result<()> {
    let socket = match design {
        Design::Sharded => sharded::open(0)?,
        _ => UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?,
    };
    let room = Room::new(layout, port);
    println!("{}", socket.local_addr()?);
    io::stdout().flush()?;
    match design {
        Design::OneByOne => one_by_one::run(&socket, room),
        Design::Batched => batched::run(&socket, room),
        Design::Sharded => sharded::run(&socket, layout, port),
        Design::Tokio => tokio::run(socket, room),
        Design::Uring => uring::run(&socket, room),
    }
}

/// Who may send, and to whom it goes.
struct Room {
    layout: Layout,
    keys: Vec<OpeningKey>,
    addresses: Vec<SocketAddrV4>,
    opened: [u8; MAX_VOICE_PACKET],
}

impl Room {
    fn new(layout: Layout, port: u16) -> Self {
        let roster = Roster::without_control(layout);
        let key = |client| {
            let generation = roster.in_use(layout.channel_of(client)).expect("it is in use from the start");
            OpeningKey::derive(&generation.secret, generation.epoch, SessionId(client as u32 + 1))
        };
        Self {
            layout,
            keys: (0..layout.clients).map(key).collect(),
            addresses: (0..layout.clients)
                .map(|client| SocketAddrV4::new(address_of(client), port))
                .collect(),
            opened: [0; MAX_VOICE_PACKET],
        }
    }

    /// Who sent a datagram, and the bytes that the others get; None where its seal is not right.
    fn check<'b>(&mut self, datagram: &'b [u8], from: Ipv4Addr) -> Option<(usize, &'b [u8])> {
        let body = &datagram[..datagram.len().saturating_sub(TAG_LEN)];
        let (client, packet) = (self.layout.client_at(from)?, VoicePacket::parse(body).ok()?);
        let opened = &mut self.opened[..packet.sealed.len()];
        opened.copy_from_slice(packet.sealed);
        self.keys[client].open(&packet.header, opened).ok()?;
        Some((client, body))
    }

    /// Where it goes.
    fn listeners(&self, client: usize) -> impl ExactSizeIterator<Item = SocketAddrV4> {
        let mut members =
            self.layout.members(self.layout.channel_of(client)).filter(move |other| *other != client);
        let count = self.layout.listeners_of(client);
        (0..count).map(move |_| self.addresses[members.next().expect("one for each listener")])
    }
}
