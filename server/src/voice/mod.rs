//! The voice plane: checks, looks up, sends on. It decodes nothing and seals nothing.

mod counters;
mod forwarder;
mod routing;
mod thread;

pub use counters::{VoiceCounters, VoiceFigures};
pub use forwarder::Forwarder;
pub use routing::{Peer, Route, Routing};
pub use thread::{VoicePlane, VoiceThread};
