//! The routing snapshot: who speaks into what, and who hears it. Written by the hub, read by the voice plane.

use std::{
    collections::HashMap,
    net::{Ipv4Addr, SocketAddr, SocketAddrV4, SocketAddrV6},
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
};

use arc_swap::ArcSwapOption;
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
    /// The one context that it may speak into now; none while it is muted, in no channel, or not allowed to.
    pub speaks_into: Option<ContextId>,
    /// Who hears that context: the same list for all its talkers, so a talker may stand in it as well.
    pub listeners: Arc<[Arc<Peer>]>,
}

/// Nothing was heard yet.
const NOWHERE: u64 = 0;
/// The address stands elsewhere.
const IS_V6: u64 = 1;
/// Above the 48 bits of address and port.
const IS_V4: u64 = 1 << 48;

/// One session on the voice plane, from its connect to its end.
pub struct Peer {
    /// The session.
    pub session: SessionId,
    /// Checks what it sends.
    pub uplink: TagKey,
    /// Tags what it is sent.
    pub downlink: TagKey,
    /// Where it was last heard from: nowhere, an address of IPv4 packed into one word, or [`IS_V6`].
    address: AtomicU64,
    /// Where that is on IPv6. Allocates when it changes.
    address_v6: ArcSwapOption<SocketAddrV6>,
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
            address: AtomicU64::new(NOWHERE),
            address_v6: ArcSwapOption::empty(),
            pings: AtomicU32::new(0),
            clipped: AtomicU32::new(0),
        }
    }

    /// Where to send its packets.
    pub fn address(&self) -> Option<SocketAddr> {
        match self.address.load(Ordering::Acquire) {
            NOWHERE => None,
            IS_V6 => self.address_v6.load().as_deref().map(|&address| address.into()),
            packed => {
                let ip = Ipv4Addr::from_bits((packed >> 16) as u32);
                Some(SocketAddrV4::new(ip, packed as u16).into())
            }
        }
    }

    /// An authentic packet came from here.
    pub fn heard_from(&self, from: SocketAddr) {
        if self.address() == Some(from) {
            return;
        }
        let packed = match from {
            SocketAddr::V4(from) => IS_V4 | u64::from(from.ip().to_bits()) << 16 | u64::from(from.port()),
            SocketAddr::V6(from) => {
                self.address_v6.store(Some(Arc::new(from)));
                IS_V6
            }
        };
        self.address.store(packed, Ordering::Release);
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
        f.debug_struct("Peer")
            .field("session", &self.session)
            .field("address", &self.address())
            .finish_non_exhaustive()
    }
}
