//! The names of `audiopus_sys`, from the libopus that `opusic-sys` builds.
pub use opusic_sys::*;
