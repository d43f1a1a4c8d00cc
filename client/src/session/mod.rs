//! The session: when to try again after a connection is lost. Pure; the engine drives it.

mod backoff;

pub use backoff::Backoff;
