//! The network: TLS with a pinned certificate, the REST routes, the control socket, the pins.

mod control;
mod known_servers;
mod rest;
mod tls;
mod tunnel;

pub use control::{ControlSocket, connect_control};
pub use known_servers::{KnownServers, Trust};
pub(crate) use rest::{Ask, Body, Rest};
pub use tls::{pinned, probe};
pub use tunnel::TunnelEnd;
