//! The control plane: JSON over REST for accounts, JSON over one WebSocket for live state.

mod account;
mod event;
mod request;

pub use account::{Account, Credentials, ErrorReply, LoginReply, MeReply, Registration, RoleSummary};
pub use event::{
    Channel, ChannelKey, Member, Organization, RoomChange, ServerEvent, ServerMessage, Snapshot, VoiceSession,
};
pub use request::{Call, Request, parse_request};
