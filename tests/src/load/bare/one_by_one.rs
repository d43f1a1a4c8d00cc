//! A system call for each datagram.

use std::{
    io,
    net::{SocketAddr, UdpSocket},
};

use voip_protocol::limits::MAX_VOICE_PACKET;

use super::Room;

pub(super) fn run(socket: &UdpSocket, mut room: Room) -> io::Result<()> {
    let mut buffer = [0; MAX_VOICE_PACKET];
    loop {
        let Ok((length, SocketAddr::V4(from))) = socket.recv_from(&mut buffer) else { continue };
        let Some((client, body)) = room.check(&buffer[..length], *from.ip()) else { continue };
        for listener in room.listeners(client) {
            // What a full buffer refuses is lost, as anywhere.
            let _ = socket.send_to(body, listener);
        }
    }
}
