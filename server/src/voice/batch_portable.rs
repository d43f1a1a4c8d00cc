//! The same as on Linux, where there is one system call for each datagram.

use std::{
    io,
    net::{SocketAddr, UdpSocket},
};

use voip_protocol::limits::MAX_VOICE_PACKET;

use super::Path;

/// Has the system tell by which of its addresses a datagram came: here it does not.
pub fn learn_local(_socket: &UdpSocket) -> io::Result<()> {
    Ok(())
}

/// Datagrams that are received together, at most.
pub const BATCH: usize = 1;

/// Where a datagram is received.
pub struct Inbox {
    // One byte more than any packet, so that a longer one is seen to be longer.
    slot: [u8; MAX_VOICE_PACKET + 1],
    received: Option<(usize, SocketAddr)>,
}

impl Default for Inbox {
    fn default() -> Self {
        Self { slot: [0; MAX_VOICE_PACKET + 1], received: None }
    }
}

impl Inbox {
    /// Waits for a datagram, as long as the socket's time-out says.
    pub fn receive(&mut self, socket: &UdpSocket) -> io::Result<()> {
        self.received = None;
        self.received = Some(socket.recv_from(&mut self.slot)?);
        Ok(())
    }

    /// What was received, and from where.
    pub fn datagrams(&self) -> impl Iterator<Item = (&[u8], Path)> {
        self.received.iter().map(|&(length, from)| (&self.slot[..length], from.into()))
    }
}

/// Sends packets as they come.
#[derive(Default)]
pub struct Outbox {
    failed: u64,
}

impl Outbox {
    /// Sends all that `fill` pushes; returns how many packets could not be sent.
    pub fn send(&mut self, socket: &UdpSocket, fill: impl FnOnce(&mut Sender<'_>)) -> u64 {
        self.failed = 0;
        fill(&mut Sender { socket, failed: &mut self.failed });
        self.failed
    }
}

/// Takes packets.
pub struct Sender<'o> {
    socket: &'o UdpSocket,
    failed: &'o mut u64,
}

impl Sender<'_> {
    /// Sends packets to one address.
    pub fn push<'b>(&mut self, to: Path, packets: impl ExactSizeIterator<Item = &'b [u8]>) {
        for packet in packets {
            if self.socket.send_to(packet, to.peer).is_err() {
                *self.failed += 1;
            }
        }
    }
}
