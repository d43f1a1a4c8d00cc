//! How good speech sounds, in virtual time: recorded speech goes through the client's own capture and playback with a
//! network in between that loses, delays and mixes up packets by a seed. The same seed gives the same sound on every
//! machine, however busy. What is heard is judged by programs that know nothing of ours.

mod call;
mod gate;
mod judge;
mod network;
mod room;

pub use call::{Call, Heard};
pub use gate::{Gated, gated};
pub use judge::{Judge, Verdict};
pub use network::{Link, Network};
pub use room::{Activity, Noise, echo_of, level, processed, with_pauses};
