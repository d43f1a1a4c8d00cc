//! Every size and rate that the protocol bounds, in one place.

/// Port of the control plane (TCP, TLS).
pub const DEFAULT_CONTROL_PORT: u16 = 9000;
/// Port of the voice plane (UDP).
pub const DEFAULT_VOICE_PORT: u16 = 9001;

/// Largest control message in either direction, in bytes; snapshots excepted.
pub const MAX_CONTROL_MESSAGE: usize = 64 * 1024;
/// Members in one message, and as many connections that are gone: a server keeps room for its longest message, for
/// each client.
pub const MAX_MEMBERS_TOLD: usize = 20;
/// Largest message a client takes from its server, in bytes: a snapshot of a large organization.
pub const MAX_SERVER_MESSAGE: usize = 16 * 1024 * 1024;
/// Largest body of a REST request, in bytes.
pub const MAX_REST_BODY: usize = 64 * 1024;

/// Largest body of an import of users, in bytes.
pub const MAX_IMPORT_BODY: usize = 8 * 1024 * 1024;
/// Most entries of one import of users.
pub const MAX_IMPORT_ENTRIES: usize = 10_000;
/// Most entries of one page of a list.
pub const MAX_PAGE: u32 = 200;
/// Entries of a page where none are asked for.
pub const DEFAULT_PAGE: u32 = 50;

/// Largest voice datagram, in bytes: stays below every path's MTU with room for a tunnel.
pub const MAX_VOICE_PACKET: usize = 1200;
/// Largest Opus frame that fits, in bytes.
pub const MAX_OPUS_FRAME: usize =
    MAX_VOICE_PACKET - crate::voice::HEADER_LEN - crate::voice::SEAL_LEN - crate::voice::TAG_LEN;

/// Characters in a user name.
pub const USERNAME_CHARS: std::ops::RangeInclusive<usize> = 1..=32;
/// Characters in a display name.
pub const DISPLAY_NAME_CHARS: std::ops::RangeInclusive<usize> = 1..=64;
/// Characters in an e-mail address (RFC 5321 §4.5.3.1.3).
pub const EMAIL_CHARS: std::ops::RangeInclusive<usize> = 3..=254;
/// Characters in a device's name, and in its id.
pub const DEVICE_CHARS: std::ops::RangeInclusive<usize> = 1..=64;
/// Characters in a password.
pub const PASSWORD_CHARS: std::ops::RangeInclusive<usize> = 8..=128;
/// Characters in an organization's name.
pub const ORGANIZATION_NAME_CHARS: std::ops::RangeInclusive<usize> = 1..=64;
/// Characters in an organization's tag.
pub const ORGANIZATION_TAG_CHARS: std::ops::RangeInclusive<usize> = 2..=16;
/// Characters in a text that a list is searched for.
pub const SOUGHT_CHARS: std::ops::RangeInclusive<usize> = 1..=100;
/// Connections to `/control` by one login. A client that changes its network may have some that are half gone.
pub const MAX_CONNECTIONS_BY_LOGIN: usize = 8;
/// Connections to `/control` by one user, whatever the logins.
pub const MAX_CONNECTIONS_BY_USER: usize = 32;
/// Characters in a channel's name.
pub const CHANNEL_NAME_CHARS: std::ops::RangeInclusive<usize> = 1..=64;
/// Characters in a channel's description.
pub const CHANNEL_DESCRIPTION_CHARS: std::ops::RangeInclusive<usize> = 0..=1_000;
/// Characters in a role's name.
pub const ROLE_NAME_CHARS: std::ops::RangeInclusive<usize> = 1..=64;
/// Depth of the channel tree.
pub const MAX_CHANNEL_DEPTH: usize = 16;

/// A session whose connection is lost without a word waits so long for its client to come back, in milliseconds.
pub const SESSION_GRACE_MS: u64 = 10_000;
/// Header of the request for `/control` by which a client asks for that: `new`, or the number of its session.
pub const SESSION_HEADER: &str = "voip-session";

/// Replay window of a voice session, in packets.
pub const REPLAY_WINDOW: u32 = 1024;
/// Leaves of a channel within this time share one new epoch, in milliseconds.
pub const REKEY_COALESCE_MS: u64 = 1_000;
/// Talkers go on with the old epoch for this long after a new one is announced, so that every listener
/// has it when the first packet under it arrives, in milliseconds.
pub const EPOCH_SWITCH_MS: u64 = 500;
/// Listeners keep the old epoch for this long after talkers have left it, in milliseconds.
pub const EPOCH_LINGER_MS: u64 = 2_000;
