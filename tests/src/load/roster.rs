//! What the clients know: their sessions, and the keys of their channels.

use std::{
    collections::HashMap,
    sync::{
        Mutex, OnceLock,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed},
    },
};

use voip_protocol::{
    ContextId, Epoch, SessionId,
    control::{ChannelKey, Snapshot},
    secret::{ContextSecret, TagSecret},
    voice::TagKey,
};

use super::{clock, layout::Layout};

/// Generations of a channel's key that are kept: the one in use, the one before, the one announced, and one to spare.
const GENERATIONS: usize = 4;

/// All clients of a run, shared by the threads.
pub struct Roster {
    /// How they are spread.
    pub layout: Layout,
    peers: Vec<OnceLock<Peer>>,
    channels: Vec<Mutex<Vec<Generation>>>,
    /// Clients whose channel's key came.
    keyed: AtomicU64,
    /// Connections that ended by themselves.
    pub lost_connections: AtomicU64,
}

/// A client's session.
pub struct Peer {
    /// The session.
    pub session: SessionId,
    /// Tags what it sends.
    pub uplink: TagKey,
    /// Tags what the server itself sends to it.
    pub downlink: TagKey,
    /// Of the next voice packet.
    pub next_voice: AtomicU32,
    /// Of the next ping.
    pub next_ping: AtomicU32,
    /// Whether a pong has come.
    pub heard: AtomicBool,
}

/// One generation of a channel's key.
#[derive(Clone)]
pub struct Generation {
    /// What stands for the channel in voice packets.
    pub context: ContextId,
    /// Generation.
    pub epoch: Epoch,
    /// From which each talker's key is derived.
    pub secret: ContextSecret,
    /// Talkers use it from this moment of the monotonic clock on, in ns.
    used_from_ns: u64,
}

impl Peer {
    fn new(session: SessionId, uplink: &TagSecret, downlink: &TagSecret) -> Self {
        Self {
            session,
            uplink: TagKey::new(uplink),
            downlink: TagKey::new(downlink),
            next_voice: AtomicU32::new(0),
            next_ping: AtomicU32::new(0),
            heard: AtomicBool::new(false),
        }
    }
}

impl Roster {
    /// Of clients that are not connected yet.
    pub fn new(layout: Layout) -> Self {
        Self {
            layout,
            peers: (0..layout.clients).map(|_| OnceLock::new()).collect(),
            channels: (0..layout.channels()).map(|_| Mutex::default()).collect(),
            keyed: AtomicU64::new(0),
            lost_connections: AtomicU64::new(0),
        }
    }

    /// Of clients that need no server to tell them their keys: both ends know them.
    pub fn without_control(layout: Layout) -> Self {
        let roster = Self::new(layout);
        for client in 0..layout.clients {
            let known = TagSecret::new([1; 32]);
            let peer = Peer::new(SessionId(client as u32 + 1), &known, &known);
            roster.peers[client].get_or_init(|| peer);
        }
        for channel in 0..layout.channels() {
            roster.generations(channel).push(Generation {
                context: ContextId(channel as u32 + 1),
                epoch: Epoch(0),
                secret: ContextSecret::new([2; 32]),
                used_from_ns: 0,
            });
        }
        roster
    }

    /// Notes a client's session.
    pub fn connected(&self, client: usize, snapshot: &Snapshot) {
        let voice = &snapshot.voice;
        self.peers[client].get_or_init(|| Peer::new(snapshot.session, &voice.uplink, &voice.downlink));
    }

    /// Notes a key that came to a client; all of a channel get the same.
    pub fn keyed(&self, client: usize, key: &ChannelKey) {
        /// In ns.
        const MILLISECOND: u64 = 1_000_000;
        if key.switch_after_ms == 0 {
            self.keyed.fetch_add(1, Relaxed);
        }
        let mut generations = self.generations(self.layout.channel_of(client));
        if generations.iter().any(|known| (known.context, known.epoch) == (key.context, key.epoch)) {
            return;
        }
        if generations.len() == GENERATIONS {
            generations.remove(0);
        }
        generations.push(Generation {
            context: key.context,
            epoch: key.epoch,
            secret: key.secret.clone(),
            used_from_ns: clock::monotonic_ns() + key.switch_after_ms * MILLISECOND,
        });
    }

    /// How many clients were given the key of their channel when they entered it.
    pub fn keyed_clients(&self) -> u64 {
        self.keyed.load(Relaxed)
    }

    /// A client's session; none before it is connected.
    pub fn peer(&self, client: usize) -> Option<&Peer> {
        self.peers.get(client)?.get()
    }

    /// Clients without a pong.
    pub fn unheard(&self) -> Vec<usize> {
        let heard = |client: usize| self.peer(client).is_some_and(|peer| peer.heard.load(Relaxed));
        (0..self.layout.clients).filter(|&client| !heard(client)).collect()
    }

    /// What talkers of a channel use now; none before its first key came.
    pub fn in_use(&self, channel: usize) -> Option<Generation> {
        let now = clock::monotonic_ns();
        let generations = self.generations(channel);
        generations.iter().rev().find(|generation| generation.used_from_ns <= now).cloned()
    }

    /// The generation that a packet names.
    pub fn named(&self, channel: usize, context: ContextId, epoch: Epoch) -> Option<Generation> {
        let generations = self.generations(channel);
        generations.iter().find(|known| (known.context, known.epoch) == (context, epoch)).cloned()
    }

    /// Which client has which session.
    pub fn sessions(&self) -> HashMap<SessionId, usize> {
        let session = |client| self.peer(client).map(|peer| (peer.session, client));
        (0..self.layout.clients).filter_map(session).collect()
    }

    fn generations(&self, channel: usize) -> std::sync::MutexGuard<'_, Vec<Generation>> {
        self.channels[channel].lock().expect("no holder panics")
    }
}

#[cfg(test)]
mod tests {
    use voip_protocol::ChannelId;

    use super::*;

    fn key(epoch: u16, switch_after_ms: u64) -> ChannelKey {
        ChannelKey {
            channel: ChannelId(1),
            context: ContextId(7),
            epoch: Epoch(epoch),
            secret: ContextSecret::new([epoch as u8; 32]),
            switch_after_ms,
        }
    }

    #[test]
    fn talkers_stay_with_a_key_until_the_next_is_to_be_used() {
        let roster = Roster::new(Layout { clients: 4, per_channel: 2 });
        assert!(roster.in_use(1).is_none());
        roster.keyed(2, &key(0, 0));
        roster.keyed(3, &key(0, 0));
        roster.keyed(3, &key(1, 60_000));
        assert_eq!(roster.keyed_clients(), 2);
        assert_eq!(roster.in_use(1).unwrap().epoch, Epoch(0));
        assert!(roster.named(1, ContextId(7), Epoch(1)).is_some());
        roster.keyed(2, &key(2, 0));
        assert_eq!(roster.in_use(1).unwrap().epoch, Epoch(2));
        assert!(roster.in_use(0).is_none());
    }
}
