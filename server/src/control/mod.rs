//! The control plane: HTTP routes and WebSocket sessions on one port.

mod reply;
mod routes;
mod socket;

pub use routes::{Control, router};
