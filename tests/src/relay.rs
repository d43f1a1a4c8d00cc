//! A relay for UDP between clients and server, which sees every packet and may lose, spoil or repeat it.

use std::{
    collections::HashMap,
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU16, AtomicU32, Ordering},
    },
    thread,
    time::Duration,
};

use crate::server::TestServer;

/// Which way a packet goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// To the server.
    Up,
    /// To a client.
    Down,
}

/// What becomes of a packet: the packets that leave in its place.
pub type Rule = Box<dyn FnMut(Way, &[u8]) -> Vec<Vec<u8>> + Send>;

/// The running relay.
pub struct Relay {
    /// The port that clients are told.
    pub port: u16,
    server_port: Arc<AtomicU16>,
    generation: Arc<AtomicU32>,
    shared: Arc<Mutex<Shared>>,
    stop: Arc<AtomicBool>,
}

struct Shared {
    rule: Rule,
    capture: Vec<(Way, Vec<u8>)>,
}

/// How long a thread of the relay may take to see that it should end.
const TICK: Duration = Duration::from_millis(20);

impl Relay {
    /// A relay that changes nothing.
    pub fn start() -> Self {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        socket.set_read_timeout(Some(TICK)).unwrap();
        let relay = Self {
            port: socket.local_addr().unwrap().port(),
            server_port: Arc::default(),
            generation: Arc::default(),
            shared: Arc::new(Mutex::new(Shared { rule: Box::new(pass), capture: Vec::new() })),
            stop: Arc::default(),
        };
        let (server_port, shared, stop) =
            (relay.server_port.clone(), relay.shared.clone(), relay.stop.clone());
        let generation = relay.generation.clone();
        thread::spawn(move || serve(&Arc::new(socket), &server_port, &generation, &shared, &stop));
        relay
    }

    /// Between a server and all its clients.
    pub async fn before_a_server() -> (TestServer, Self) {
        let relay = Self::start();
        let port = relay.port;
        let server = TestServer::start_with(|config| config.server.public_voice_port = port).await;
        relay.to(server.voice_port);
        (server, relay)
    }

    /// Where the server listens.
    pub fn to(&self, server_port: u16) {
        self.server_port.store(server_port, Ordering::Relaxed);
    }

    /// From now on packets go by this rule.
    pub fn rule(&self, rule: impl FnMut(Way, &[u8]) -> Vec<Vec<u8>> + Send + 'static) {
        lock(&self.shared).rule = Box::new(rule);
    }

    /// From now on packets pass as they are.
    pub fn pass(&self) {
        self.rule(pass);
    }

    /// As a router that lost its table: each client gets another address, and nothing comes to the old one any more.
    pub fn rebind(&self) {
        self.generation.fetch_add(1, Ordering::Relaxed);
    }

    /// All packets that came in since the last call.
    pub fn take_capture(&self) -> Vec<(Way, Vec<u8>)> {
        std::mem::take(&mut lock(&self.shared).capture)
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

fn pass(_: Way, packet: &[u8]) -> Vec<Vec<u8>> {
    vec![packet.to_vec()]
}

fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

fn handle(shared: &Mutex<Shared>, way: Way, packet: &[u8]) -> Vec<Vec<u8>> {
    let mut shared = lock(shared);
    shared.capture.push((way, packet.to_vec()));
    (shared.rule)(way, packet)
}

fn serve(
    socket: &Arc<UdpSocket>,
    server_port: &AtomicU16,
    generation: &Arc<AtomicU32>,
    shared: &Arc<Mutex<Shared>>,
    stop: &Arc<AtomicBool>,
) {
    // Each client keeps an address of its own behind the relay.
    let mut ways: HashMap<SocketAddr, Arc<UdpSocket>> = HashMap::new();
    let mut current = generation.load(Ordering::Relaxed);
    let mut buffer = [0; 2048];
    while !stop.load(Ordering::Relaxed) {
        let Ok((length, from)) = socket.recv_from(&mut buffer) else { continue };
        let now = generation.load(Ordering::Relaxed);
        if std::mem::replace(&mut current, now) != now {
            ways.clear();
        }
        let way = ways.entry(from).or_insert_with(|| {
            let up = Arc::new(UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap());
            up.set_read_timeout(Some(TICK)).unwrap();
            up.connect((Ipv4Addr::LOCALHOST, server_port.load(Ordering::Relaxed))).unwrap();
            let (socket, up_too, shared, stop) = (socket.clone(), up.clone(), shared.clone(), stop.clone());
            let (generation, made_in) = (generation.clone(), current);
            thread::spawn(move || {
                let mut buffer = [0; 2048];
                while !stop.load(Ordering::Relaxed) {
                    if generation.load(Ordering::Relaxed) != made_in {
                        return;
                    }
                    let Ok(length) = up_too.recv(&mut buffer) else { continue };
                    if generation.load(Ordering::Relaxed) != made_in {
                        return;
                    }
                    for packet in handle(&shared, Way::Down, &buffer[..length]) {
                        let _ = socket.send_to(&packet, from);
                    }
                }
            });
            up
        });
        for packet in handle(shared, Way::Up, &buffer[..length]) {
            let _ = way.send(&packet);
        }
    }
}
