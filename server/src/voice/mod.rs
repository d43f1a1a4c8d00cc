//! The voice plane: checks, looks up, sends on. It decodes nothing and seals nothing.

mod addresses;
mod allowance;
#[cfg_attr(target_os = "linux", path = "batch_linux/mod.rs")]
#[cfg_attr(not(target_os = "linux"), path = "batch_portable.rs")]
mod batch;
mod bundle;
mod counters;
mod forwarder;
mod path;
mod routing;
mod thread;
mod worst;

pub use addresses::Addresses;
pub use allowance::{Allowance, PINGS_PER_SECOND, Rates};
pub use batch::{BATCH, Inbox, Outbox, learn_local};
pub use bundle::{Accepted, bundle};
pub use counters::{VoiceCounters, VoiceFigures};
pub use forwarder::{Forwarder, Outcome};
pub use path::Path;
pub use routing::{BySession, Listener, Peer, Route, Routing, Seat};
pub use thread::{VoicePlane, VoiceThread};
