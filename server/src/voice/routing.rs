//! The routing snapshot: who speaks into what, and who hears it. Written by the hub, read by the voice plane.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use voip_protocol::{ContextId, SessionId, secret::TagSecret, voice::TagKey};

/// By session. The numbers are the server's own and the hash is seeded: whoever sends packets can neither choose what
/// is in the map nor foresee where, so the hash may be one of the quickest.
pub type BySession<T> = HashMap<SessionId, T, foldhash::fast::RandomState>;

/// All routes at one moment. Immutable: a change is a new one.
#[derive(Debug, Default)]
pub struct Routing {
    /// By talker.
    pub routes: BySession<Route>,
}

/// What becomes of one session's packets.
#[derive(Clone, Debug)]
pub struct Route {
    /// The session.
    pub peer: Arc<Peer>,
    /// Where it sits.
    pub seat: Seat,
    /// The one context that it may speak into now; none while it is muted, in no channel, or not allowed to.
    pub speaks_into: Option<ContextId>,
    /// Who hears that context: the same list for all its talkers, so a talker may stand in it as well.
    pub listeners: Arc<[Listener]>,
}

/// Somebody who hears.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listener {
    /// The session.
    pub session: SessionId,
    /// Where it sits.
    pub seat: Seat,
}

/// A session's place in the tables of the voice thread. The hub gives them out, the lowest that is free: what stands
/// there may still be of a session that has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seat(pub u32);

impl Seat {
    /// Into a table.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// One session on the voice plane, from its connect to its end.
pub struct Peer {
    /// The session.
    pub session: SessionId,
    /// Checks what it sends.
    pub uplink: TagKey,
    /// Tags what it is sent.
    pub downlink: TagKey,
    pings: AtomicU32,
    /// Voice packets that were clipped and that nobody has been told of yet.
    clipped: AtomicU32,
}

impl Peer {
    /// A session that has not been heard yet.
    pub fn new(session: SessionId, uplink: &TagSecret, downlink: &TagSecret) -> Self {
        Self {
            session,
            uplink: TagKey::new(uplink),
            downlink: TagKey::new(downlink),
            pings: AtomicU32::new(0),
            clipped: AtomicU32::new(0),
        }
    }

    /// Counts a ping, and tells how many there have been.
    pub fn count_ping(&self) -> u32 {
        self.pings.fetch_add(1, Ordering::Relaxed).wrapping_add(1)
    }

    /// Counts a voice packet that was dropped because there were too many.
    pub fn count_clipped(&self) {
        self.clipped.fetch_add(1, Ordering::Relaxed);
    }

    /// How many that were since the last call.
    pub fn take_clipped(&self) -> u32 {
        self.clipped.swap(0, Ordering::Relaxed)
    }
}

impl std::fmt::Debug for Peer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Peer").field("session", &self.session).finish_non_exhaustive()
    }
}
