//! The live state of the control plane: a pure state machine, and the one task that drives it.

mod news;
mod permissions;
mod seats;
mod state;
mod task;
mod tenant;

use news::{News, Presence};
pub use permissions::{AclEntry, HeldRole, resolve};
pub use state::{Hub, Output, Visitor};
pub use task::{HubFigures, HubHandle, Lasting, Outgoing};
pub use tenant::Tenant;
