//! The receiving thread: opens every packet, and says whether it came to whom it should, once, and how fast.

use std::{
    collections::HashMap,
    io,
    net::UdpSocket,
    ops::Range,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
};

use serde_json::{Value, json};
use voip_protocol::{
    Epoch, SessionId,
    limits::MAX_VOICE_PACKET,
    voice::{Kind, OpeningKey, Pong, ReplayWindow, VoicePacket, kind_of},
};

use super::{
    clock,
    packet::Mark,
    roster::Roster,
    stats::Histogram,
    udp::{self, Arrival},
};

/// What came of the packets that were sent in a window.
#[derive(Default)]
pub struct Tally {
    /// Send times that are measured, on the system's clock, in ns.
    pub window: Range<u64>,
    /// Voice that came at all, whenever it was sent.
    pub arrived: u64,
    /// Came to a listener of the talker's channel, for the first time.
    pub received: u64,
    /// Of these, after a later one.
    pub reordered: u64,
    /// Came to the talker, or into another channel, or to nobody.
    pub misrouted: u64,
    /// Came again.
    pub duplicate: u64,
    /// Did not open under the channel's key.
    pub unopened: u64,
    /// Opened, and were not what their talker sent, or were no packets at all.
    pub garbled: u64,
    /// From sending to the kernel's stamp.
    pub latency: Histogram,
}

impl Tally {
    /// What should not be there.
    pub fn anomalies(&self) -> Value {
        json!({
            "reordered": self.reordered,
            "unopened": self.unopened,
            "garbled": self.garbled,
        })
    }
}

/// Receives for all clients.
pub struct Listener {
    roster: Arc<Roster>,
    socket: Arc<UdpSocket>,
    nap_ns: u64,
    tally: Mutex<Tally>,
    /// When each client first heard a word, by the system's clock, in ns; 0: not yet.
    first_heard_ns: Vec<AtomicU64>,
    stop: AtomicBool,
}

/// What the thread knows of talkers and listeners, for itself.
struct Memory {
    sessions: HashMap<SessionId, usize>,
    /// Of each talker: the keys of the epochs that it used last.
    keys: Vec<Vec<(Epoch, OpeningKey)>>,
    /// Of each listener: what it heard of each of its channel.
    windows: Vec<Vec<ReplayWindow>>,
    opened: [u8; MAX_VOICE_PACKET],
}

impl Listener {
    /// Of clients that are connected, or will be.
    pub fn new(roster: Arc<Roster>, socket: Arc<UdpSocket>, nap_us: u64) -> Self {
        /// In ns.
        const MICROSECOND: u64 = 1_000;
        Self {
            first_heard_ns: (0..roster.layout.clients).map(|_| AtomicU64::new(0)).collect(),
            roster,
            socket,
            nap_ns: nap_us * MICROSECOND,
            tally: Mutex::default(),
            stop: AtomicBool::new(false),
        }
    }

    /// What came until now, to be read or begun anew.
    pub fn tally(&self) -> MutexGuard<'_, Tally> {
        self.tally.lock().expect("no holder panics")
    }

    /// When a client first heard a word, by the system's clock, in ns.
    pub fn first_heard_ns(&self, client: usize) -> Option<u64> {
        Some(self.first_heard_ns[client].load(Relaxed)).filter(|&ns| ns > 0)
    }

    /// Ends [`Listener::run`].
    pub fn stop(&self) {
        self.stop.store(true, Relaxed);
    }

    /// Empties the socket, naps, empties it again. A thread that waited in the socket would be woken by the server,
    /// at the server's cost; the kernel's stamps make the nap no part of the latency.
    pub fn run(&self) -> io::Result<()> {
        let mut memory = self.memory();
        let mut receiver = udp::Receiver::default();
        while !self.stop.load(Relaxed) {
            let full = {
                let mut tally = self.tally();
                receiver.take(&self.socket, |arrival| self.sort(&arrival, &mut memory, &mut tally))?
            };
            if !full {
                clock::sleep_until(clock::monotonic_ns() + self.nap_ns);
            }
        }
        Ok(())
    }

    fn memory(&self) -> Memory {
        let clients = self.roster.layout.clients;
        Memory {
            sessions: self.roster.sessions(),
            keys: (0..clients).map(|_| Vec::new()).collect(),
            windows: vec![Vec::new(); clients],
            opened: [0; MAX_VOICE_PACKET],
        }
    }

    fn sort(&self, arrival: &Arrival<'_>, memory: &mut Memory, tally: &mut Tally) {
        let Some(listener) = self.roster.layout.client_at(arrival.to) else {
            tally.misrouted += 1;
            return;
        };
        match kind_of(arrival.datagram) {
            Ok(Kind::Voice) => {
                tally.arrived += 1;
                self.hear(listener, arrival, memory, tally);
            }
            Ok(Kind::Pong) if self.take_pong(listener, arrival.datagram) => {}
            _ => tally.garbled += 1,
        }
    }

    fn take_pong(&self, listener: usize, datagram: &[u8]) -> bool {
        let Some(peer) = self.roster.peer(listener) else { return false };
        let pong = peer.downlink.check(datagram).and_then(|body| Pong::parse(body).ok());
        let ours = pong.is_some_and(|pong| pong.session == peer.session);
        peer.heard.fetch_or(ours, Relaxed);
        ours
    }

    fn hear(&self, listener: usize, arrival: &Arrival<'_>, memory: &mut Memory, tally: &mut Tally) {
        let layout = self.roster.layout;
        let Ok(VoicePacket { header, sealed }) = VoicePacket::parse(arrival.datagram) else {
            tally.garbled += 1;
            return;
        };
        if !memory.sessions.contains_key(&header.session) {
            // Somebody came after the last look.
            memory.sessions = self.roster.sessions();
        }
        let Some(&talker) = memory.sessions.get(&header.session) else {
            tally.garbled += 1;
            return;
        };
        let channel = layout.channel_of(talker);
        if talker == listener || channel != layout.channel_of(listener) {
            tally.misrouted += 1;
            return;
        }
        let keys = &mut memory.keys[talker];
        if !keys.iter().any(|(epoch, _)| *epoch == header.epoch) {
            let Some(generation) = self.roster.named(channel, header.context, header.epoch) else {
                tally.unopened += 1;
                return;
            };
            // The one in use, and late packets of the one before.
            if keys.len() == 2 {
                keys.remove(0);
            }
            keys.push((header.epoch, OpeningKey::derive(&generation.secret, header.epoch, header.session)));
        }
        let key = keys.iter().find(|(epoch, _)| *epoch == header.epoch);
        let (_, key) = key.expect("it was put there if it was not");
        let opened = &mut memory.opened[..sealed.len()];
        opened.copy_from_slice(sealed);
        let Ok(frame) = key.open(&header, opened) else {
            tally.unopened += 1;
            return;
        };
        let mark = Mark::read(frame)
            .filter(|mark| mark.talker as usize == talker && mark.sequence == header.sequence);
        let Some(mark) = mark else {
            tally.garbled += 1;
            return;
        };
        let windows = &mut memory.windows[listener];
        let place = layout.place_of(talker);
        if windows.len() <= place {
            windows.resize_with(place + 1, ReplayWindow::default);
        }
        let window = &mut windows[place];
        let late = window.newest().is_some_and(|newest| header.sequence < newest);
        let first = window.accept(header.sequence);
        if self.first_heard_ns[listener].load(Relaxed) == 0 {
            self.first_heard_ns[listener].store(arrival.at_ns, Relaxed);
        }
        if !tally.window.contains(&mark.sent_ns) {
            return;
        }
        if !first {
            tally.duplicate += 1;
            return;
        }
        tally.received += 1;
        tally.reordered += u64::from(late);
        tally.latency.add(arrival.at_ns as i64 - mark.sent_ns as i64);
    }
}

#[cfg(test)]
mod tests {
    use voip_protocol::{
        limits::MAX_OPUS_FRAME,
        voice::{FrameDuration, Header, SealingKey},
    };

    use super::*;
    use crate::load::layout::{Layout, address_of};

    const LAYOUT: Layout = Layout { clients: 6, per_channel: 3 };
    const SENT_NS: u64 = 1_000_000;

    struct Rig {
        listener: Listener,
        memory: Memory,
    }

    impl Rig {
        fn new() -> Self {
            let roster = Arc::new(Roster::without_control(LAYOUT));
            let listener = Listener::new(roster, Arc::new(udp::open().unwrap()), 0);
            listener.tally().window = SENT_NS..SENT_NS + 1;
            let memory = listener.memory();
            Self { listener, memory }
        }

        /// What a talker sends with this mark, as it leaves the server.
        fn packet(&self, talker: usize, sequence: u32, mark: Mark) -> Vec<u8> {
            let roster = &self.listener.roster;
            let generation = roster.in_use(LAYOUT.channel_of(talker)).unwrap();
            let session = roster.peer(talker).unwrap().session;
            let header = Header {
                session,
                context: generation.context,
                epoch: generation.epoch,
                sequence,
                capture_time: 0,
                duration: FrameDuration::Ms20,
                last_of_burst: false,
                share: None,
            };
            let mut frame = [0; 80];
            mark.write(&mut frame);
            let mut datagram = [0; MAX_OPUS_FRAME];
            let key = SealingKey::derive(&generation.secret, generation.epoch, session);
            let length = key.seal(header, &frame, &mut datagram);
            datagram[..length].to_vec()
        }

        fn right(&self, talker: usize, sequence: u32) -> Vec<u8> {
            self.packet(talker, sequence, Mark { sent_ns: SENT_NS, talker: talker as u32, sequence })
        }

        /// Received, reordered, misrouted, duplicate, unopened, garbled: after this came to a client.
        fn after(&mut self, client: usize, datagram: &[u8]) -> [u64; 6] {
            let arrival = Arrival { to: address_of(client), at_ns: SENT_NS + 42_000, datagram };
            let mut tally = self.listener.tally();
            self.listener.sort(&arrival, &mut self.memory, &mut tally);
            let Tally { received, reordered, misrouted, duplicate, unopened, garbled, .. } = *tally;
            [received, reordered, misrouted, duplicate, unopened, garbled]
        }
    }

    #[test]
    fn each_fault_has_its_counter() {
        let mut rig = Rig::new();
        let (first, second, third) = (rig.right(0, 1), rig.right(0, 2), rig.right(0, 3));
        assert_eq!(rig.after(1, &first), [1, 0, 0, 0, 0, 0]);
        assert_eq!(rig.after(2, &first), [2, 0, 0, 0, 0, 0]);
        assert_eq!(rig.after(1, &third), [3, 0, 0, 0, 0, 0]);
        assert_eq!(rig.after(1, &second), [4, 1, 0, 0, 0, 0]);
        // To its talker, into the other channel, to nobody.
        assert_eq!(rig.after(0, &first), [4, 1, 1, 0, 0, 0]);
        assert_eq!(rig.after(3, &first), [4, 1, 2, 0, 0, 0]);
        assert_eq!(rig.after(6, &first), [4, 1, 3, 0, 0, 0]);
        assert_eq!(rig.after(1, &first), [4, 1, 3, 1, 0, 0]);
        let mut damaged = rig.right(0, 4);
        damaged[40] ^= 1;
        assert_eq!(rig.after(1, &damaged), [4, 1, 3, 1, 1, 0]);
        let anothers = rig.packet(0, 5, Mark { sent_ns: SENT_NS, talker: 1, sequence: 5 });
        assert_eq!(rig.after(1, &anothers), [4, 1, 3, 1, 1, 1]);
        assert_eq!(rig.after(1, b"noise"), [4, 1, 3, 1, 1, 2]);
        assert_eq!(rig.listener.tally().latency.quantile_us(1.0), Some(42));
    }

    #[test]
    fn only_what_was_sent_in_the_window_counts() {
        let mut rig = Rig::new();
        let late = rig.packet(4, 0, Mark { sent_ns: SENT_NS + 1, talker: 4, sequence: 0 });
        assert_eq!(rig.after(5, &late), [0; 6]);
    }
}
