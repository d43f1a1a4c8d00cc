//! Voice on the control socket, for whom UDP does not reach: a tunnel to the server's own voice port.
//!
//! Each binary message is one voice packet. It leaves on a UDP socket of the connection's own for the voice port, and
//! what the voice port answers there goes back as binary messages. So the voice thread knows nothing of all this: a
//! tunnelled session has an address like any other, with its replay windows, limits and counters.
//!
//! A frame is never waited for and never holds up a control message: what the client does not take at once is
//! dropped, as the network would have done.

use std::{
    future::poll_fn,
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use axum::{body::Bytes, extract::ws::Message};
use futures_util::{Sink, SinkExt, Stream, StreamExt};
use socket2::SockRef;
use tokio::{io::ReadBuf, net::UdpSocket, time::Instant};
use voip_protocol::{
    limits::MAX_VOICE_PACKET,
    voice::{Kind, kind_of},
};

/// A tunnel that carried nothing up for this long is closed: a client that needs one pings through it every second.
const IDLE: Duration = Duration::from_secs(30);
/// Frames that may wait for a client, in bytes: some tenths of a second of a talk. Later ones are lost.
const WAITING: usize = 32 * 1024;
/// Frames that are handed over before anything else of the connection gets its turn.
const BURST: usize = 32;

/// All tunnels of a server.
#[derive(Debug)]
pub struct Tunnels {
    voice: SocketAddr,
    open: AtomicU64,
    frames_dropped: AtomicU64,
}

/// The tunnels at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TunnelFigures {
    /// Connections that have one.
    pub open: u64,
    /// Frames dropped since the start, because a control socket was too slow for them.
    pub frames_dropped: u64,
}

impl Tunnels {
    /// To the voice port that listens on this address.
    pub fn new(listening: SocketAddr) -> Self {
        let ip = match listening.ip() {
            IpAddr::V4(Ipv4Addr::UNSPECIFIED) => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(Ipv6Addr::UNSPECIFIED) => Ipv6Addr::LOCALHOST.into(),
            bound => bound,
        };
        let voice = SocketAddr::new(ip, listening.port());
        Self { voice, open: AtomicU64::new(0), frames_dropped: AtomicU64::new(0) }
    }

    /// All of it, now.
    pub fn figures(&self) -> TunnelFigures {
        TunnelFigures {
            open: self.open.load(Ordering::Relaxed),
            frames_dropped: self.frames_dropped.load(Ordering::Relaxed),
        }
    }
}

/// The tunnel of one connection; it is dug when the first frame comes.
pub(super) struct Tunnel {
    tunnels: Arc<Tunnels>,
    open: Option<Open>,
    /// The control socket has not taken all that it was given.
    unflushed: bool,
}

struct Open {
    tunnels: Arc<Tunnels>,
    socket: UdpSocket,
    used_at: Instant,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.tunnels.open.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Open {
    fn new(tunnels: &Arc<Tunnels>) -> io::Result<Self> {
        let socket = std::net::UdpSocket::bind((tunnels.voice.ip(), 0))?;
        socket.connect(tunnels.voice)?;
        socket.set_nonblocking(true)?;
        SockRef::from(&socket).set_recv_buffer_size(WAITING)?;
        let socket = UdpSocket::from_std(socket)?;
        tunnels.open.fetch_add(1, Ordering::Relaxed);
        Ok(Self { tunnels: Arc::clone(tunnels), socket, used_at: Instant::now() })
    }
}

impl Tunnel {
    /// Not dug yet.
    pub(super) fn new(tunnels: Arc<Tunnels>) -> Self {
        Self { tunnels, open: None, unflushed: false }
    }

    /// A binary message came. False if it is no packet that a client may send.
    pub(super) fn take(&mut self, packet: &[u8]) -> bool {
        if packet.len() > MAX_VOICE_PACKET || !matches!(kind_of(packet), Ok(Kind::Voice | Kind::Ping)) {
            return false;
        }
        if self.open.is_none() {
            self.open = Open::new(&self.tunnels)
                .inspect_err(|error| tracing::warn!(%error, "no tunnel for voice can be opened"))
                .ok();
        }
        if let Some(open) = &mut self.open {
            open.used_at = Instant::now();
            // tokio's own knows only later that a new socket can be written to. What does not fit is lost.
            let _ = SockRef::from(&open.socket).send(packet);
        }
        true
    }

    /// Closes the tunnel if the client does not need it any more.
    pub(super) fn close_if_idle(&mut self, now: Instant) {
        self.open.take_if(|open| now.saturating_duration_since(open.used_at) > IDLE);
    }

    /// The next message of the connection; meanwhile frames go out. Cancelling loses nothing.
    pub(super) async fn recv<S, E>(&mut self, socket: &mut S) -> Option<Result<Message, E>>
    where
        S: Sink<Message, Error = E> + Stream<Item = Result<Message, E>> + Unpin,
    {
        poll_fn(|cx| match self.pass(socket, cx) {
            Ok(()) => socket.poll_next_unpin(cx),
            Err(error) => Poll::Ready(Some(Err(error))),
        })
        .await
    }

    /// Hands over the frames that wait, or drops them where the connection has not taken the last ones yet.
    fn pass<S: Sink<Message> + Unpin>(
        &mut self,
        socket: &mut S,
        cx: &mut Context<'_>,
    ) -> Result<(), S::Error> {
        if self.unflushed {
            self.unflushed = socket.poll_flush_unpin(cx)?.is_pending();
        }
        let Some(open) = &mut self.open else { return Ok(()) };
        let mut buffer = [0; MAX_VOICE_PACKET];
        let (mut given, mut drained) = (false, false);
        for _ in 0..BURST {
            let mut frame = ReadBuf::new(&mut buffer);
            match open.socket.poll_recv(cx, &mut frame) {
                Poll::Pending => {
                    drained = true;
                    break;
                }
                // The voice port is closed: the server stops.
                Poll::Ready(Err(_)) => {}
                Poll::Ready(Ok(())) if self.unflushed || socket.poll_ready_unpin(cx)?.is_pending() => {
                    self.unflushed = true;
                    self.tunnels.frames_dropped.fetch_add(1, Ordering::Relaxed);
                }
                Poll::Ready(Ok(())) => {
                    socket.start_send_unpin(Message::Binary(Bytes::copy_from_slice(frame.filled())))?;
                    given = true;
                }
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
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::{collections::VecDeque, pin::Pin, task::Waker};

    use super::*;

    /// A control socket whose client takes nothing while `blocked`.
    #[derive(Default)]
    struct Slow {
        blocked: bool,
        buffered: VecDeque<Message>,
        taken: Vec<Message>,
    }

    impl Sink<Message> for Slow {
        type Error = io::Error;

        fn poll_ready(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn start_send(mut self: Pin<&mut Self>, message: Message) -> io::Result<()> {
            self.buffered.push_back(message);
            Ok(())
        }

        fn poll_flush(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            if self.blocked {
                return Poll::Pending;
            }
            let Self { buffered, taken, .. } = &mut *self;
            taken.extend(buffered.drain(..));
            Poll::Ready(Ok(()))
        }

        fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            self.poll_flush(cx)
        }
    }

    fn voice_port() -> (std::net::UdpSocket, Arc<Tunnels>) {
        let voice = std::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        voice.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let tunnels = Tunnels::new(SocketAddr::from(([0, 0, 0, 0], voice.local_addr().unwrap().port())));
        (voice, Arc::new(tunnels))
    }

    /// A first byte that says ping; the voice thread looks at the rest.
    const PACKET: [u8; 32] = [0x12; 32];

    #[tokio::test]
    async fn what_a_slow_client_does_not_take_is_dropped_and_counted() {
        let (voice, tunnels) = voice_port();
        let mut tunnel = Tunnel::new(Arc::clone(&tunnels));
        assert!(tunnel.take(&PACKET));
        let (_, from) = voice.recv_from(&mut [0; 64]).unwrap();
        let mut socket = Slow { blocked: true, ..Slow::default() };
        let send = |count| (0..count).for_each(|_| assert!(voice.send_to(b"voice", from).is_ok()));
        send(10);
        tunnel.open.as_ref().unwrap().socket.readable().await.unwrap();
        let mut cx = Context::from_waker(Waker::noop());
        tunnel.pass(&mut socket, &mut cx).unwrap();
        // They came together, and none was in the way before them.
        assert_eq!((socket.buffered.len(), tunnels.figures().frames_dropped), (10, 0));
        send(5);
        tunnel.open.as_ref().unwrap().socket.readable().await.unwrap();
        tunnel.pass(&mut socket, &mut cx).unwrap();
        assert_eq!(tunnels.figures().frames_dropped, 5);
        assert_eq!(socket.buffered.len(), 10, "nothing queues up");
        socket.blocked = false;
        tunnel.pass(&mut socket, &mut cx).unwrap();
        assert_eq!(socket.taken.len(), 10);
        send(1);
        tunnel.open.as_ref().unwrap().socket.readable().await.unwrap();
        tunnel.pass(&mut socket, &mut cx).unwrap();
        assert_eq!(socket.taken.len(), 11);
        assert_eq!(tunnels.figures(), TunnelFigures { open: 1, frames_dropped: 5 });
        drop(tunnel);
        assert_eq!(tunnels.figures().open, 0);
    }

    #[tokio::test]
    async fn only_packets_dig_a_tunnel_and_an_idle_one_is_closed() {
        let (_voice, tunnels) = voice_port();
        let mut tunnel = Tunnel::new(Arc::clone(&tunnels));
        for no_packet in [&[][..], &[0; 100], &[0x13; 32], &[0x12; MAX_VOICE_PACKET + 1], b"{}"] {
            assert!(!tunnel.take(no_packet), "{no_packet:?}");
        }
        assert_eq!(tunnels.figures().open, 0);
        assert!(tunnel.take(&PACKET));
        tunnel.close_if_idle(Instant::now());
        assert_eq!(tunnels.figures().open, 1);
        tunnel.close_if_idle(Instant::now() + IDLE + Duration::from_secs(1));
        assert_eq!(tunnels.figures().open, 0);
    }
}
