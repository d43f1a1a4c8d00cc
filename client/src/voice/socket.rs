//! The UDP socket of a session. It belongs to no address of this machine, so it outlives a change of network, and it
//! is made anew when the system says that it is of no use any more.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use arc_swap::{ArcSwap, ArcSwapOption};

use super::way::Way;
use crate::net::TunnelEnd;

/// A send that the system does not take within this time is given up: the next frame is due.
const SEND_TIMEOUT: Duration = Duration::from_millis(2);
/// The receiving thread looks at its timers at least this often.
const TICK: Duration = Duration::from_millis(10);
/// A new socket is left alone for so long; then twice as long each time, while it does not help.
const RENEW_FIRST: Duration = Duration::from_millis(100);
const RENEW_LAST: Duration = Duration::from_secs(2);

/// Sends packets whichever way is in use. Sending locks and allocates nothing.
pub struct VoiceSocket {
    socket: ArcSwap<UdpSocket>,
    server: SocketAddr,
    tunnel: ArcSwapOption<TunnelEnd>,
    tunnelled: AtomicBool,
    broken: AtomicBool,
    renewals: AtomicU32,
}

impl VoiceSocket {
    /// For the server's voice port; `tunnel` is where the control socket takes packets.
    pub fn open(server: SocketAddr, tunnel: Option<TunnelEnd>) -> io::Result<Self> {
        let socket = Self {
            socket: ArcSwap::from_pointee(bind(server.ip())?),
            server,
            tunnel: ArcSwapOption::empty(),
            tunnelled: AtomicBool::new(false),
            broken: AtomicBool::new(false),
            renewals: AtomicU32::new(0),
        };
        socket.set_tunnel(tunnel);
        Ok(socket)
    }

    /// The control socket is another one.
    pub fn set_tunnel(&self, tunnel: Option<TunnelEnd>) {
        self.tunnel.store(tunnel.map(Arc::new));
        self.tell_tunnel();
    }

    /// Whether there is another way than UDP.
    pub fn has_tunnel(&self) -> bool {
        self.tunnel.load().is_some()
    }

    /// The way that voice takes from now on.
    pub fn set_way(&self, way: Way) {
        self.tunnelled.store(way == Way::Tunnel, Ordering::Relaxed);
    }

    /// The way that voice takes now.
    pub fn way(&self) -> Way {
        if self.tunnelled.load(Ordering::Relaxed) { Way::Tunnel } else { Way::Udp }
    }

    /// Sends voice.
    pub fn send(&self, packet: &[u8]) -> io::Result<()> {
        self.send_by(self.way(), packet)
    }

    /// Sends a packet by this way. An error that a new socket may heal is noted for [`VoiceSocket::renew`].
    pub fn send_by(&self, way: Way, packet: &[u8]) -> io::Result<()> {
        let to = match way {
            Way::Udp => self.server,
            Way::Tunnel => self.tunnel.load().as_ref().ok_or(io::ErrorKind::NotConnected)?.address(),
        };
        let sent = self.socket.load().send_to(packet, to);
        if let Err(error) = &sent
            && !is_passing(error)
        {
            self.broken.store(true, Ordering::Relaxed);
        }
        sent.map(drop)
    }

    /// The socket to receive from; for the one thread that receives, and renews it.
    pub(super) fn current(&self) -> Arc<UdpSocket> {
        self.socket.load_full()
    }

    /// Which way a packet from here came; none: from a stranger.
    pub(super) fn way_of(&self, from: SocketAddr) -> Option<Way> {
        let is = |address: SocketAddr| (from.ip(), from.port()) == (address.ip(), address.port());
        if is(self.server) {
            Some(Way::Udp)
        } else {
            self.tunnel.load().as_ref().is_some_and(|end| is(end.address())).then_some(Way::Tunnel)
        }
    }

    /// Makes the socket anew.
    fn renew(&self) -> io::Result<()> {
        self.socket.store(Arc::new(bind(self.server.ip())?));
        self.tell_tunnel();
        self.renewals.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// Changes when the network seems to be another: the socket had to be made anew, or the system would send from
    /// another address now.
    pub fn network(&self) -> (u32, Option<IpAddr>) {
        let address = || {
            let socket = UdpSocket::bind((any(self.server.ip()), 0))?;
            // Sends nothing: it asks the system which way it would take.
            socket.connect(self.server)?;
            socket.local_addr()
        };
        (self.renewals.load(Ordering::Relaxed), address().ok().map(|address| address.ip()))
    }

    fn tell_tunnel(&self) {
        if let (Some(tunnel), Ok(own)) = (&*self.tunnel.load(), self.socket.load().local_addr()) {
            tunnel.voice_is_at(own.port());
        }
    }
}

/// Decides when the socket is made anew.
#[derive(Debug)]
pub(super) struct Renewal {
    last: Option<Instant>,
    wait: Duration,
}

impl Renewal {
    pub(super) fn new() -> Self {
        Self { last: None, wait: RENEW_FIRST }
    }

    /// UDP works.
    pub(super) fn works(&mut self) {
        self.wait = RENEW_FIRST;
    }

    /// Makes the socket anew if it failed, or if that is wished, but not again and again. True if it is another.
    pub(super) fn renew(&mut self, socket: &VoiceSocket, wished: bool, now: Instant) -> bool {
        if !(wished || socket.broken.load(Ordering::Relaxed))
            || self.last.is_some_and(|last| now.saturating_duration_since(last) < self.wait)
        {
            return false;
        }
        self.wait = if self.last.is_some() { (self.wait * 2).min(RENEW_LAST) } else { self.wait };
        self.last = Some(now);
        socket.broken.store(false, Ordering::Relaxed);
        match socket.renew() {
            Ok(()) => true,
            Err(error) => {
                // Without a network there may be no socket: the old one says so again.
                tracing::debug!(%error, "the voice socket cannot be made anew");
                false
            }
        }
    }
}

/// On every address of this machine, those of loopback among them: the tunnel begins there.
fn bind(server: IpAddr) -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind((any(server), 0))?;
    socket.set_write_timeout(Some(SEND_TIMEOUT))?;
    socket.set_read_timeout(Some(TICK))?;
    Ok(socket)
}

/// Every address of the family that this one is of.
fn any(server: IpAddr) -> IpAddr {
    match server {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    }
}

/// The socket is as good as before: its buffer is full, or a port of the other side was closed.
fn is_passing(error: &io::Error) -> bool {
    use io::ErrorKind::{
        ConnectionRefused, ConnectionReset, Interrupted, NotConnected, TimedOut, WouldBlock,
    };
    matches!(
        error.kind(),
        WouldBlock | TimedOut | Interrupted | ConnectionRefused | ConnectionReset | NotConnected
    )
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn server() -> UdpSocket {
        let server = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        server.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        server
    }

    #[test]
    fn a_renewed_socket_sends_from_another_port_and_seldom() {
        let server = server();
        let socket = VoiceSocket::open(server.local_addr().unwrap(), None).unwrap();
        let mut renewal = Renewal::new();
        let start = Instant::now();
        let port = || socket.current().local_addr().unwrap().port();
        let first = port();
        assert!(!renewal.renew(&socket, false, start), "nothing is wrong");
        socket.broken.store(true, Ordering::Relaxed);
        assert!(renewal.renew(&socket, false, start) && port() != first);
        assert!(!renewal.renew(&socket, true, start + RENEW_FIRST / 2));
        assert!(renewal.renew(&socket, true, start + RENEW_FIRST));
        socket.send(b"hello").unwrap();
        assert_eq!(server.recv_from(&mut [0; 16]).unwrap().1.port(), port());
    }

    #[test]
    fn what_does_not_reach_the_server_is_noted() {
        // No system sends to port 0.
        let socket = VoiceSocket::open(SocketAddr::from(([127, 0, 0, 1], 0)), None).unwrap();
        assert!(socket.send(b"hello").is_err());
        assert!(socket.broken.load(Ordering::Relaxed));
        assert_eq!(socket.way_of(SocketAddr::from(([127, 0, 0, 1], 9))), None);
    }
}
