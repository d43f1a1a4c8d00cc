//! The socket of the runtime that the rest of the server runs on.

use std::{
    io,
    net::{SocketAddr, UdpSocket},
};

use voip_protocol::limits::MAX_VOICE_PACKET;

use super::Room;

pub(super) fn run(socket: UdpSocket, mut room: Room) -> io::Result<()> {
    socket.set_nonblocking(true)?;
    let runtime = ::tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    runtime.block_on(async {
        let socket = ::tokio::net::UdpSocket::from_std(socket)?;
        let mut buffer = [0; MAX_VOICE_PACKET];
        loop {
            let Ok((length, SocketAddr::V4(from))) = socket.recv_from(&mut buffer).await else { continue };
            let Some((client, body)) = room.check(&buffer[..length], *from.ip()) else { continue };
            for listener in room.listeners(client) {
                let _ = socket.send_to(body, listener).await;
            }
        }
    })
}
