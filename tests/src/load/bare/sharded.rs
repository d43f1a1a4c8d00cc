//! As `batched`, by two threads, each with a socket of its own on the same port: the system chooses one by the sender's
//! address (`SO_REUSEPORT`).

use std::{
    io,
    net::{Ipv4Addr, SocketAddrV4, UdpSocket},
    os::fd::AsRawFd,
    thread,
};

use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrIn, bind, setsockopt, socket, sockopt};

use super::{Layout, Room, batched};

/// A socket that shares its port; port 0: a free one.
pub(super) fn open(port: u16) -> io::Result<UdpSocket> {
    let fd = socket(AddressFamily::Inet, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)?;
    setsockopt(&fd, sockopt::ReusePort, &true)?;
    bind(fd.as_raw_fd(), &SockaddrIn::from(SocketAddrV4::new(Ipv4Addr::LOCALHOST, port)))?;
    Ok(fd.into())
}

pub(super) fn run(socket: &UdpSocket, layout: Layout, port: u16) -> io::Result<()> {
    let other = open(socket.local_addr()?.port())?;
    thread::scope(|scope| {
        let one = scope.spawn(|| batched::run(socket, Room::new(layout, port)));
        batched::run(&other, Room::new(layout, port))?;
        one.join().unwrap_or_else(|_| Err(io::Error::other("a thread panicked")))
    })
}
