//! One UDP socket for all clients: a datagram names the client's address as its source, and tells by its
//! destination whom it is for.

use std::{
    io::{self, IoSlice, IoSliceMut},
    net::{Ipv4Addr, SocketAddrV4, UdpSocket},
    os::fd::AsRawFd,
};

use nix::{
    errno::Errno,
    libc::{in_addr, in_pktinfo},
    sys::{
        socket::{
            ControlMessage, ControlMessageOwned, MsgFlags, MultiHeaders, SockaddrIn, recvmmsg, sendmsg,
            setsockopt, sockopt,
        },
        time::TimeSpec,
    },
};
use voip_protocol::limits::MAX_VOICE_PACKET;

use super::clock;

/// Datagrams that one call takes.
const BATCH: usize = 256;
/// Room for a second of the highest rate, in bytes.
const RECEIVE_BUFFER: usize = 128 << 20;
/// Room for what is sent at once, in bytes.
const SEND_BUFFER: usize = 8 << 20;

/// Opens the socket. It never waits for anything.
pub fn open() -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    socket.set_nonblocking(true)?;
    // Without the right to force it the system gives what it gives to anybody: losses here are told apart.
    if setsockopt(&socket, sockopt::RcvBufForce, &RECEIVE_BUFFER).is_err() {
        setsockopt(&socket, sockopt::RcvBuf, &RECEIVE_BUFFER)?;
    }
    if setsockopt(&socket, sockopt::SndBufForce, &SEND_BUFFER).is_err() {
        setsockopt(&socket, sockopt::SndBuf, &SEND_BUFFER)?;
    }
    setsockopt(&socket, sockopt::Ipv4PacketInfo, &true)?;
    setsockopt(&socket, sockopt::ReceiveTimestampns, &true)?;
    Ok(socket)
}

/// Sends a datagram from an address of this machine.
pub fn send(socket: &UdpSocket, from: Ipv4Addr, to: SocketAddrV4, datagram: &[u8]) -> io::Result<()> {
    let source = in_addr { s_addr: u32::from_ne_bytes(from.octets()) };
    let info = in_pktinfo { ipi_ifindex: 0, ipi_spec_dst: source, ipi_addr: in_addr { s_addr: 0 } };
    let control = [ControlMessage::Ipv4PacketInfo(&info)];
    let (parts, to) = ([IoSlice::new(datagram)], SockaddrIn::from(to));
    loop {
        match sendmsg(socket.as_raw_fd(), &parts, &control, MsgFlags::empty(), Some(&to)) {
            Ok(_) => return Ok(()),
            // The socket's buffer is full, or reports an earlier datagram that nobody took.
            Err(Errno::EAGAIN | Errno::EINTR | Errno::ECONNREFUSED | Errno::ENOBUFS) => {
                std::thread::yield_now();
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// A datagram that arrived.
pub struct Arrival<'a> {
    /// Whom it is for.
    pub to: Ipv4Addr,
    /// When the kernel had it, in ns of the system's clock.
    pub at_ns: u64,
    /// What it says.
    pub datagram: &'a [u8],
}

/// Takes many datagrams with one call.
pub struct Receiver {
    headers: MultiHeaders<SockaddrIn>,
    buffers: Vec<[u8; MAX_VOICE_PACKET]>,
}

impl Default for Receiver {
    fn default() -> Self {
        let control = nix::cmsg_space!(in_pktinfo, TimeSpec);
        Self {
            headers: MultiHeaders::preallocate(BATCH, Some(control)),
            buffers: vec![[0; MAX_VOICE_PACKET]; BATCH],
        }
    }
}

impl Receiver {
    /// Takes what is there, up to a full batch; true where that was one.
    pub fn take(&mut self, socket: &UdpSocket, mut each: impl FnMut(Arrival<'_>)) -> io::Result<bool> {
        let mut slices: Vec<_> = self.buffers.iter_mut().map(|buffer| [IoSliceMut::new(buffer)]).collect();
        let fd = socket.as_raw_fd();
        let received = match recvmmsg(fd, &mut self.headers, &mut slices, MsgFlags::MSG_DONTWAIT, None) {
            Ok(received) => received,
            Err(Errno::EAGAIN | Errno::EINTR | Errno::ECONNREFUSED) => return Ok(false),
            Err(error) => return Err(error.into()),
        };
        let mut count = 0;
        for message in received {
            count += 1;
            let (mut to, mut at_ns) = (Ipv4Addr::UNSPECIFIED, 0);
            for control in message.cmsgs()? {
                match control {
                    ControlMessageOwned::Ipv4PacketInfo(info) => {
                        to = Ipv4Addr::from(info.ipi_addr.s_addr.to_ne_bytes());
                    }
                    ControlMessageOwned::ScmTimestampns(stamp) => at_ns = clock::ns_of(stamp),
                    _ => {}
                }
            }
            let datagram = message.iovs().next().unwrap_or_default();
            each(Arrival { to, at_ns, datagram });
        }
        Ok(count == BATCH)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_socket_speaks_from_many_addresses() {
        let (socket, other) = (open().unwrap(), UdpSocket::bind("127.0.0.1:0").unwrap());
        let port = socket.local_addr().unwrap().port();
        let to = SocketAddrV4::new(Ipv4Addr::LOCALHOST, other.local_addr().unwrap().port());
        let mut receiver = Receiver::default();
        let mut buffer = [0; 64];
        // Twice, as the headers are used again.
        for round in 0..2u8 {
            let before = clock::realtime_ns();
            for last in 1..=3 {
                let from = Ipv4Addr::new(127, 20, 0, last);
                send(&socket, from, to, &[round, last]).unwrap();
                let (length, source) = other.recv_from(&mut buffer).unwrap();
                assert_eq!((source.ip(), source.port()), (from.into(), port));
                other.send_to(&buffer[..length], source).unwrap();
            }
            let mut heard = Vec::new();
            while heard.len() < 3 {
                receiver
                    .take(&socket, |arrival| {
                        assert!((before..=clock::realtime_ns()).contains(&arrival.at_ns));
                        heard.push((arrival.to.octets()[3], arrival.datagram.to_vec()));
                    })
                    .unwrap();
            }
            assert_eq!(heard, [1, 2, 3].map(|last| (last, vec![round, last])));
        }
    }
}
