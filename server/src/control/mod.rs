//! The control plane: HTTP routes and WebSocket sessions on one port.

mod admin_routes;
mod allowance;
mod auth_routes;
mod caller;
mod openapi;
mod reply;
mod routes;
mod socket;
mod tunnel;

pub use routes::{Control, router};
pub use tunnel::{TunnelFigures, Tunnels};
