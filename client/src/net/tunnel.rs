//! Voice over the control socket, where UDP does not get through.
//!
//! The voice threads send to and receive from one UDP socket, whichever way is in use. For the tunnel they send to an
//! address of loopback instead of the server's; this end takes the packets there and passes them on as binary messages,
//! and what comes as binary messages it sends to the voice socket. So neither has to wait for the other.

use std::{
    future::poll_fn,
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicU16, Ordering},
    },
    task::{Context, Poll},
};

use futures_util::{Sink, SinkExt, Stream, StreamExt};
use socket2::SockRef;
use tokio::{io::ReadBuf, net::UdpSocket};
use tokio_tungstenite::tungstenite::{Bytes, Message};
use voip_protocol::limits::MAX_VOICE_PACKET;

/// Packets that may wait for the control socket, in bytes: some tenths of a second of a talk. Later ones are lost.
const WAITING: usize = 32 * 1024;
/// Packets that are handed over before anything else of the connection gets its turn.
const BURST: usize = 32;

/// Where the voice threads find the tunnel.
#[derive(Clone, Debug)]
pub struct TunnelEnd {
    address: SocketAddr,
    voice_port: Arc<AtomicU16>,
}

impl TunnelEnd {
    /// Where to send packets for the server to, and where the server's come from.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The voice socket has this port of loopback now.
    pub fn voice_is_at(&self, port: u16) {
        self.voice_port.store(port, Ordering::Relaxed);
    }
}

/// The end at the control socket.
pub(super) struct Tunnel {
    socket: UdpSocket,
    ip: IpAddr,
    voice_port: Arc<AtomicU16>,
    /// The control socket has not taken all that it was given.
    unflushed: bool,
}

impl Tunnel {
    /// On the loopback address of the family that the server's address is of: one socket speaks to both.
    pub(super) fn open(server: IpAddr) -> io::Result<(Self, TunnelEnd)> {
        let ip = match server {
            IpAddr::V4(_) => IpAddr::from(Ipv4Addr::LOCALHOST),
            IpAddr::V6(_) => IpAddr::from(Ipv6Addr::LOCALHOST),
        };
        let socket = std::net::UdpSocket::bind((ip, 0))?;
        socket.set_nonblocking(true)?;
        SockRef::from(&socket).set_recv_buffer_size(WAITING)?;
        let voice_port = Arc::new(AtomicU16::new(0));
        let end = TunnelEnd { address: socket.local_addr()?, voice_port: Arc::clone(&voice_port) };
        let socket = UdpSocket::from_std(socket)?;
        Ok((Self { socket, ip, voice_port, unflushed: false }, end))
    }

    /// A binary message came: it is for the voice socket. What that cannot take is lost.
    pub(super) fn take(&self, packet: &[u8]) {
        let voice = self.voice();
        if packet.len() <= MAX_VOICE_PACKET && voice.port() != 0 {
            let _ = SockRef::from(&self.socket).send_to(packet, &voice.into());
        }
    }

    /// The next message of the connection; meanwhile packets go out. Cancelling loses nothing.
    pub(super) async fn next<S, E>(&mut self, socket: &mut S) -> Option<Result<Message, E>>
    where
        S: Sink<Message, Error = E> + Stream<Item = Result<Message, E>> + Unpin,
    {
        poll_fn(|cx| match self.pass(socket, cx) {
            Ok(()) => socket.poll_next_unpin(cx),
            Err(error) => Poll::Ready(Some(Err(error))),
        })
        .await
    }

    /// Hands over the packets that wait, or drops them where the connection has not taken the last ones yet: voice that
    /// has queued up is of no use to anybody, and holds up everything else.
    fn pass<S: Sink<Message> + Unpin>(
        &mut self,
        socket: &mut S,
        cx: &mut Context<'_>,
    ) -> Result<(), S::Error> {
        if self.unflushed {
            self.unflushed = socket.poll_flush_unpin(cx)?.is_pending();
        }
        let voice = self.voice();
        let mut buffer = [0; MAX_VOICE_PACKET];
        let (mut given, mut drained) = (false, false);
        for _ in 0..BURST {
            let mut packet = ReadBuf::new(&mut buffer);
            match self.socket.poll_recv_from(cx, &mut packet) {
                Poll::Pending => {
                    drained = true;
                    break;
                }
                Poll::Ready(Ok(from)) if from == voice => {
                    if self.unflushed || socket.poll_ready_unpin(cx)?.is_pending() {
                        self.unflushed = true;
                    } else {
                        socket.start_send_unpin(Message::Binary(Bytes::copy_from_slice(packet.filled())))?;
                        given = true;
                    }
                }
                // Another program of this machine; or the voice socket has been closed.
                Poll::Ready(_) => {}
            }
        }
        if !drained {
            cx.waker().wake_by_ref();
        }
        if given {
            self.unflushed = socket.poll_flush_unpin(cx)?.is_pending();
        }
        Ok(())
    }

    fn voice(&self) -> SocketAddr {
        SocketAddr::new(self.ip, self.voice_port.load(Ordering::Relaxed))
    }
}
