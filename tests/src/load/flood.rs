//! Packets that the server must reject, as many as one thread can send.

use std::{
    io::{self, IoSlice},
    net::{Ipv4Addr, SocketAddrV4, UdpSocket},
    os::fd::AsRawFd,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
};

use nix::{
    errno::Errno,
    sys::socket::{MsgFlags, MultiHeaders, SockaddrIn, sendmmsg},
};
use serde_json::{Value, json};
use voip_protocol::{
    ContextId, Epoch,
    voice::{FrameDuration, Header, SealingKey, TAG_LEN},
};

use super::{clock, packet::noise, roster::Roster, stats::rounded};

/// Where they come from: no client's address.
const FROM: Ipv4Addr = Ipv4Addr::new(127, 66, 0, 1);
/// Datagrams of one call.
const BATCH: usize = 64;
/// Bytes of one.
const LENGTH: usize = 120;
/// A replayed packet is so many packets old: within the server's window, and never one that is on its way.
const AGE: u32 = 10;
/// How many of a client's packets are replayed.
const REPLAYED: u32 = 32;

/// What the packets are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Kind {
    /// Noise.
    Garbage,
    /// Voice of clients that are connected, with a wrong tag.
    Spoofed,
    /// Voice that the server has had.
    Replayed,
}

/// The flood, until it is stopped.
pub struct Flood {
    kind: Kind,
    socket: UdpSocket,
    roster: Arc<Roster>,
    stop: AtomicBool,
    sent: AtomicU64,
    lasted_ns: AtomicU64,
}

impl Flood {
    /// One of this kind at a server's voice port.
    pub fn new(kind: Kind, server: SocketAddrV4, roster: Arc<Roster>) -> io::Result<Self> {
        let socket = UdpSocket::bind((FROM, 0))?;
        socket.connect(server)?;
        let (stop, sent, lasted_ns) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
        Ok(Self { kind, socket, roster, stop, sent, lasted_ns })
    }

    /// Ends it soon.
    pub fn stop(&self) {
        self.stop.store(true, Relaxed);
    }

    /// Sends until it is stopped.
    pub fn run(&self) -> io::Result<()> {
        let mut headers = MultiHeaders::<SockaddrIn>::preallocate(BATCH, None);
        let connected = [None; BATCH];
        let (mut round, mut started) = (0, None);
        while !self.stop.load(Relaxed) {
            let Some(packets) = self.packets(round) else {
                // Nobody has spoken for long enough yet.
                clock::sleep(0.01);
                continue;
            };
            started.get_or_insert_with(clock::monotonic_ns);
            let parts: Vec<_> = packets.iter().map(|packet| [IoSlice::new(packet)]).collect();
            // Making packets costs more than sending them: each lot goes out some times.
            for _ in 0..BATCH {
                let fd = self.socket.as_raw_fd();
                match sendmmsg(fd, &mut headers, &parts, connected, [], MsgFlags::empty()) {
                    Ok(sent) => self.sent.fetch_add(sent.count() as u64, Relaxed),
                    Err(Errno::EAGAIN | Errno::EINTR | Errno::ECONNREFUSED | Errno::ENOBUFS) => continue,
                    Err(error) => return Err(error.into()),
                };
            }
            round += 1;
        }
        let lasted = started.map_or(0, |started| clock::monotonic_ns() - started);
        self.lasted_ns.store(lasted, Relaxed);
        Ok(())
    }

    fn packets(&self, round: usize) -> Option<Vec<Vec<u8>>> {
        let clients = self.roster.layout.clients;
        (0..BATCH)
            .map(|number| match self.kind {
                Kind::Garbage => {
                    let bytes = noise(LENGTH + BATCH * 7);
                    let start = (number * 7 + round) % (BATCH * 7);
                    Some(bytes[start..start + LENGTH].to_vec())
                }
                Kind::Spoofed | Kind::Replayed => {
                    self.of_client((round * BATCH + number) % clients, number as u32)
                }
            })
            .collect()
    }

    /// A packet that a client may have sent.
    fn of_client(&self, client: usize, number: u32) -> Option<Vec<u8>> {
        let peer = self.roster.peer(client)?;
        let sequence = peer.next_voice.load(Relaxed).checked_sub(AGE + number % REPLAYED)?;
        let generation = self.roster.in_use(self.roster.layout.channel_of(client))?;
        let header = Header {
            session: peer.session,
            context: ContextId(generation.context.0),
            epoch: Epoch(generation.epoch.0),
            sequence,
            capture_time: 0,
            duration: FrameDuration::Ms20,
            last_of_burst: false,
            share: None,
        };
        let mut packet = vec![0; LENGTH];
        let key = SealingKey::derive(&generation.secret, generation.epoch, peer.session);
        let length = key.seal(header, &noise(LENGTH / 2), &mut packet);
        packet.truncate(length);
        let mut tag = peer.uplink.tag(&packet);
        if self.kind == Kind::Spoofed {
            tag[TAG_LEN - 1] ^= 1;
        }
        packet.extend(tag);
        Some(packet)
    }

    /// What was sent, once it has ended.
    pub fn json(&self) -> Value {
        let (sent, seconds) = (self.sent.load(Relaxed), self.lasted_ns.load(Relaxed) as f64 / 1e9);
        json!({
            "kind": format!("{:?}", self.kind).to_lowercase(),
            "sent": sent,
            "seconds": rounded(seconds, 2),
            "sent_per_s": rounded(sent as f64 / seconds, 1),
        })
    }
}
