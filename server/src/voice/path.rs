//! The way of a datagram between a client and the server.

use std::net::{IpAddr, SocketAddr};

/// Both ends of the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Path {
    /// The client's end.
    pub peer: SocketAddr,
    /// Our end, where the system tells it: a server that listens on all its addresses answers from the one that it was
    /// reached by. Another one is a stranger to the client, and to the firewalls on the way.
    pub local: Option<IpAddr>,
}

impl From<SocketAddr> for Path {
    /// The system chooses our end.
    fn from(peer: SocketAddr) -> Self {
        Self { peer, local: None }
    }
}
