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
use voip_protocol::limits::MAX_VOICE_PACKET;

use crate::metrics::Latency;

use super::{
    Forwarder, Routing,
    counters::{VoiceCounters, count},
};

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

/// The running thread; stops when dropped.
pub struct VoiceThread {
    stop: Arc<AtomicBool>,
    thread: Option<thread::JoinHandle<()>>,
}

/// How long the thread may take to see that it should stop.
const STOP_CHECK: Duration = Duration::from_millis(100);
/// Socket buffers: about a second of a busy server.
const SOCKET_BUFFER: usize = 4 * 1024 * 1024;
/// The server's clock in pongs, in Hertz.
const CLOCK_RATE: u128 = 48_000;

impl VoiceThread {
    /// Takes the socket and serves it.
    pub fn spawn(socket: UdpSocket, plane: VoicePlane) -> io::Result<Self> {
        let options = socket2::SockRef::from(&socket);
        // The system may give less: then a burst is lost a little sooner.
        let _ = options.set_recv_buffer_size(SOCKET_BUFFER);
        let _ = options.set_send_buffer_size(SOCKET_BUFFER);
        socket.set_nonblocking(false)?;
        socket.set_read_timeout(Some(STOP_CHECK))?;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread =
            thread::Builder::new().name("voice".into()).spawn(move || serve(&socket, &plane, &stopped))?;
        Ok(Self { stop, thread: Some(thread) })
    }
}

impl Drop for VoiceThread {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn serve(socket: &UdpSocket, plane: &VoicePlane, stop: &AtomicBool) {
    let started = Instant::now();
    let counters = &*plane.counters;
    let mut forwarder = Forwarder::new(Arc::clone(&plane.counters));
    let mut routing = arc_swap::Cache::new(Arc::clone(&plane.routing));
    let mut current = Arc::clone(routing.load());
    // One byte more than any packet, so that a longer one is seen to be longer.
    let mut buffer = [0; MAX_VOICE_PACKET + 1];
    while !stop.load(Ordering::Relaxed) {
        let received = socket.recv_from(&mut buffer);
        let newest = routing.load();
        if !Arc::ptr_eq(newest, &current) {
            current = Arc::clone(newest);
            forwarder.forget_ended(&current);
        }
        let (length, from) = match received {
            Ok(received) => received,
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                continue;
            }
            // Linux reports a listener's closed port here; the next datagram is there all the same.
            Err(_) => continue,
        };
        let received_at = Instant::now();
        let server_time =
            (received_at.duration_since(started).as_nanos() * CLOCK_RATE / 1_000_000_000) as u32;
        let was_voice = forwarder.handle(&buffer[..length], from, server_time, &current, |bytes, to| {
            if socket.send_to(bytes, to).is_err() {
                count(&counters.send_failed);
            }
        });
        if was_voice {
            plane.latency.record(received_at.elapsed());
        }
    }
}
