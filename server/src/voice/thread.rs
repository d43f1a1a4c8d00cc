//! The thread that owns the voice socket.

use std::{
    io,
    net::UdpSocket,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use arrayvec::ArrayVec;
use voip_protocol::SessionId;

use crate::metrics::Latency;

use super::{BATCH, Forwarder, Inbox, Outbox, Outcome, Rates, Routing, VoiceCounters, bundle, learn_local};

/// What the rest of the server shares with the voice thread: the way in is the routing, the way out the counters.
#[derive(Clone, Default)]
pub struct VoicePlane {
    /// The current routing.
    pub routing: Arc<ArcSwap<Routing>>,
    /// What has been seen.
    pub counters: Arc<VoiceCounters>,
    /// How long packets were in it.
    pub latency: Arc<Latency>,
}

impl VoicePlane {
    /// The sessions that were clipped since the last call, and how many packets of each.
    pub fn clipped(&self) -> Vec<(SessionId, u32)> {
        let routing = self.routing.load();
        let clipped = routing.routes.iter().map(|(session, route)| (*session, route.peer.take_clipped()));
        clipped.filter(|(_, packets)| *packets > 0).collect()
    }
}

/// The running thread; stops when dropped.
pub struct VoiceThread {
    stop: Arc<AtomicBool>,
    thread: Option<thread::JoinHandle<()>>,
}

/// How long the thread may take to see that it should stop.
const STOP_CHECK: Duration = Duration::from_millis(100);
/// Socket buffers: about a second of a busy server.
const SOCKET_BUFFER: usize = 4 * 1024 * 1024;

impl VoiceThread {
    /// Takes the socket and serves it; each session may send so much.
    pub fn spawn(socket: UdpSocket, plane: VoicePlane, rates: Rates) -> io::Result<Self> {
        let options = socket2::SockRef::from(&socket);
        // The system may give less: then a burst is lost a little sooner.
        let _ = options.set_recv_buffer_size(SOCKET_BUFFER);
        let _ = options.set_send_buffer_size(SOCKET_BUFFER);
        never_fragment(&socket);
        if let Err(error) = learn_local(&socket) {
            tracing::warn!(%error, "voice is answered from the address that the system chooses");
        }
        socket.set_nonblocking(false)?;
        socket.set_read_timeout(Some(STOP_CHECK))?;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = thread::Builder::new()
            .name("voice".into())
            .spawn(move || serve(&socket, &plane, rates, &stopped))?;
        Ok(Self { stop, thread: Some(thread) })
    }
}

/// Voice is shorter than any path's MTU: a packet that is said not to be fragmented needs no number of its own, which
/// the system otherwise draws for each (RFC 6864).
#[cfg(target_os = "linux")]
fn never_fragment(socket: &UdpSocket) {
    use rustix::net::sockopt::{Ipv4PathMtuDiscovery, set_ip_mtu_discover};
    // A socket of IPv6 alone does not take it, and needs it not.
    let _ = set_ip_mtu_discover(socket, Ipv4PathMtuDiscovery::PROBE);
}

#[cfg(not(target_os = "linux"))]
fn never_fragment(_socket: &UdpSocket) {}

impl Drop for VoiceThread {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn serve(socket: &UdpSocket, plane: &VoicePlane, rates: Rates, stop: &AtomicBool) {
    let started = Instant::now();
    let counters = &*plane.counters;
    let mut forwarder = Forwarder::new(rates, Arc::clone(&plane.counters));
    let mut routing = arc_swap::Cache::new(Arc::clone(&plane.routing));
    let (mut inbox, mut outbox) = (Inbox::default(), Outbox::default());
    while !stop.load(Ordering::Relaxed) {
        // Nothing in time, or what Linux says of a listener's closed port: the next datagram is there all the same.
        let received = inbox.receive(socket);
        let routing = routing.load();
        if received.is_err() {
            continue;
        }
        let received_at = Instant::now();
        let now = received_at.duration_since(started);
        let mut voice = ArrayVec::<_, BATCH>::new();
        let mut answers = ArrayVec::<_, BATCH>::new();
        for (datagram, from) in inbox.datagrams() {
            match forwarder.handle(datagram, from, now, routing) {
                Outcome::Dropped => {}
                Outcome::Answered(answer) => answers.push((answer, from)),
                Outcome::Voice(packet) => voice.push(packet),
            }
        }
        let mut forwarded = (0, 0);
        let failed = outbox.send(socket, |sender| {
            for (answer, to) in &answers {
                sender.push(*to, std::iter::once(&answer[..]));
            }
            forwarded.0 = bundle(&mut voice, forwarder.addresses(), |packets, to| {
                forwarded.1 += packets.iter().map(|packet| packet.body.len() as u64).sum::<u64>();
                sender.push(to, packets.iter().map(|packet| packet.body));
            });
        });
        counters.forwarded.fetch_add(forwarded.0, Ordering::Relaxed);
        counters.forwarded_bytes.fetch_add(forwarded.1, Ordering::Relaxed);
        if failed > 0 {
            counters.send_failed.fetch_add(failed, Ordering::Relaxed);
        }
        let took = received_at.elapsed();
        voice.iter().for_each(|_| plane.latency.record(took));
    }
}

#[cfg(all(test, target_os = "linux"))]
#[allow(clippy::unwrap_used)]
mod tests {
    use voip_protocol::{
        secret::TagSecret,
        voice::{PROBE_LEN, Ping, TagKey},
    };

    use super::{
        super::{Peer, Route, Seat},
        *,
    };

    /// A socket that is connected to one of the server's addresses hears nothing that comes from another.
    #[test]
    fn a_server_on_all_addresses_answers_from_the_one_that_was_asked() {
        let (session, secret) = (SessionId(1), TagSecret::new([1; 32]));
        let plane = VoicePlane::default();
        let route = Route {
            peer: Arc::new(Peer::new(session, &secret, &secret)),
            seat: Seat(0),
            speaks_into: None,
            listeners: Arc::new([]),
        };
        plane.routing.store(Arc::new(Routing { routes: [(session, route)].into_iter().collect() }));
        let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
        let port = socket.local_addr().unwrap().port();
        let rates = Rates { packets_per_second: 0, bytes_per_second: 0 };
        let _thread = VoiceThread::spawn(socket, plane, rates).unwrap();
        let client = UdpSocket::bind("127.0.0.1:0").unwrap();
        client.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        client.connect(("127.0.0.7", port)).unwrap();
        let ping = Ping { session, sequence: 0, client_time: 0, follow: true, report: None };
        client.send(&ping.to_bytes(&TagKey::new(&secret))).unwrap();
        assert_eq!(client.recv(&mut [0; 64]).unwrap(), PROBE_LEN);
    }
}
