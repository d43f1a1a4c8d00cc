//! What the end-to-end suites share: a real server on free ports, databases of both kinds, real engines on
//! scripted devices, calls in virtual time, a client that speaks the protocol by hand, a relay that sees and spoils every voice packet,
//! and a judge of likeness.

#![allow(clippy::missing_panics_doc, clippy::unwrap_used)]

pub mod client;
pub mod database;
pub mod likeness;
#[cfg(target_os = "linux")]
pub mod load;
#[cfg(target_os = "linux")]
pub mod netns;
pub mod postgres;
pub mod process;
pub mod quality;
pub mod raw;
pub mod relay;
pub mod rest;
pub mod server;
pub mod speech;
pub mod wait;
pub mod wire;
