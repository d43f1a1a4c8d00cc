//! What client and server say to each other.
//!
//! No runtime, no sockets, no clock, no database: every function here is a function of its arguments.
//! Time and randomness are passed in. The written contracts are `docs/voice-packet.md` and
//! `docs/control-protocol.md`.

pub mod control;
pub mod error;
pub mod fingerprint;
pub mod ids;
pub mod invite;
pub mod limits;
pub mod permission;
pub mod secret;
pub mod voice;

pub use error::{ErrorBody, ErrorCode};
pub use fingerprint::Fingerprint;
pub use ids::{ChannelId, ContextId, Epoch, LoginId, OrganizationId, RoleId, SessionId, UserId};
pub use invite::{Address, Invite};
pub use permission::Permissions;
pub use secret::Token;
