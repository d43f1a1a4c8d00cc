//! The voice plane: datagrams, their seal, their tag, the replay window. Byte layout: `docs/voice-packet.md`.

mod header;
mod probe;
mod replay;
mod seal;
mod share;
mod tag;

pub use header::{
    FrameDuration, HEADER_LEN, Header, InvalidPacket, Kind, VERSION, VoicePacket, kind_of, session_of, sound,
};
pub use probe::{Loss, LossReport, PROBE_LEN, Ping, Pong};
pub use replay::ReplayWindow;
pub use seal::{CannotOpen, OpeningKey, SEAL_LEN, SealingKey, key_id};
pub use share::{Code, MAX_SHARED, MAX_SHARES, SHARED, Share};
pub use tag::{TAG_LEN, TagKey};
