//! One system call for all that waits, and one for all that leaves. Nothing is bundled.

use std::{
    io::{self, IoSlice, IoSliceMut},
    net::{Ipv4Addr, UdpSocket},
    os::fd::AsRawFd,
};

use nix::sys::socket::{MsgFlags, MultiHeaders, SockaddrIn, recvmmsg, sendmmsg};
use voip_protocol::limits::MAX_VOICE_PACKET;

use super::Room;

/// Datagrams of one call that receives.
const RECEIVED: usize = 64;
/// Datagrams of one call that sends.
const SENT: usize = 512;

pub(super) fn run(socket: &UdpSocket, mut room: Room) -> io::Result<()> {
    let mut receiving = MultiHeaders::<SockaddrIn>::preallocate(RECEIVED, None);
    let mut sending = MultiHeaders::<SockaddrIn>::preallocate(SENT, None);
    let mut buffers = vec![[0; MAX_VOICE_PACKET]; RECEIVED];
    let fd = socket.as_raw_fd();
    loop {
        let mut slices: Vec<_> = buffers.iter_mut().map(|buffer| [IoSliceMut::new(buffer)]).collect();
        let received = recvmmsg(fd, &mut receiving, &mut slices, MsgFlags::MSG_WAITFORONE, None);
        let Ok(received) = received else { continue };
        let arrived: Vec<_> = received
            .map(|message| (message.bytes, message.address.map_or(Ipv4Addr::UNSPECIFIED, |from| from.ip())))
            .collect();
        let (mut parts, mut addresses) = (Vec::new(), Vec::new());
        for (buffer, (length, from)) in buffers.iter().zip(arrived) {
            let Some((client, body)) = room.check(&buffer[..length], from) else { continue };
            for listener in room.listeners(client) {
                parts.push([IoSlice::new(body)]);
                addresses.push(Some(SockaddrIn::from(listener)));
            }
        }
        for (parts, addresses) in parts.chunks(SENT).zip(addresses.chunks(SENT)) {
            let _ = sendmmsg(fd, &mut sending, parts, addresses, [], MsgFlags::empty());
        }
    }
}
