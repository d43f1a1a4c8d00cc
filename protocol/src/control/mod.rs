//! The control plane: JSON over REST for accounts, JSON over one WebSocket for live state.

mod account;
mod admin;
mod event;
mod request;

pub use account::{
    Account, Credentials, Device, ErrorReply, Login, LoginReply, Logins, MeReply, NewPassword, Refresh,
    Registration, RoleSummary,
};
pub use admin::{
    AuditPage, AuditRecord, CreatedUser, ImportLine, ImportOutcome, ImportReport, NewUser, PasswordReset,
    ResetPassword, Role, Roles, User, UserChange, UserPage,
};
pub use event::{
    Channel, ChannelKey, Member, MembersChange, Organization, ServerEvent, ServerMessage, Snapshot,
    VoiceSession,
};
pub use request::{Call, Request, parse_request};
