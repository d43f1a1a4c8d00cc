//! The routing snapshot: who speaks into what, and who hears it. Written by the hub, read by the voice plane.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use arc_swap::ArcSwapOption;
use voip_protocol::{ContextId, SessionId, secret::TagSecret, voice::TagKey};

/// All routes at one moment. Immutable: a change is a new one.
#[derive(Debug, Default)]
pub struct Routing {
    /// By talker.
    pub routes: HashMap<SessionId, Route>,
}

/// What becomes of one session's packets.
#[derive(Clone, Debug)]
pub struct Route {
    /// The session.
    pub peer: Arc<Peer>,
    /// The one context that it may speak into now; none while it is muted, in no channel, or not allowed to.
    pub speaks_into: Option<ContextId>,
    /// Who hears that context: the same list for all its talkers, so a talker may stand in it as well.
    pub listeners: Arc<[Arc<Peer>]>,
}

/// One session on the voice plane, from its connect to its end.
pub struct Peer {
    /// The session.
    pub session: SessionId,
    /// Checks what it sends.
    pub uplink: TagKey,
    /// Tags what it is sent.
    pub downlink: TagKey,
    /// Where it was last heard from. Allocates when it changes: at the first packet, and when a client moves.
    address: ArcSwapOption<SocketAddr>,
    pings: AtomicU32,
}

impl Peer {
    /// A session that has not been heard yet.
    pub fn new(session: SessionId, uplink: &TagSecret, downlink: &TagSecret) -> Self {
        Self {
            session,
            uplink: TagKey::new(uplink),
            downlink: TagKey::new(downlink),
            address: ArcSwapOption::empty(),
            pings: AtomicU32::new(0),
        }
    }

    /// Where to send its packets.
    pub fn address(&self) -> Option<SocketAddr> {
        self.address.load().as_deref().copied()
    }

    /// An authentic packet came from here.
    pub fn heard_from(&self, from: SocketAddr) {
        if self.address() != Some(from) {
            self.address.store(Some(Arc::new(from)));
        }
    }

    /// Counts a ping, and tells how many there have been.
    pub fn count_ping(&self) -> u32 {
        self.pings.fetch_add(1, Ordering::Relaxed).wrapping_add(1)
    }
}

impl std::fmt::Debug for Peer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Peer")
            .field("session", &self.session)
            .field("address", &self.address())
            .finish_non_exhaustive()
    }
}
