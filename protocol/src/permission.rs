//! Permission bits, as roles hold them and channel ACL entries allow or deny them.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

bitflags::bitflags! {
    /// A set of permissions. On the wire and in the database it is one integer.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
    pub struct Permissions: u32 {
        /// See the channel and who is in it; hear it once joined.
        const VIEW_CHANNEL = 1;
        /// Join the channel.
        const JOIN = 1 << 1;
        /// Be heard in the channel.
        const SPEAK = 1 << 2;
        /// Whisper to people or channels elsewhere.
        const WHISPER = 1 << 3;
        /// Write messages.
        const SEND_TEXT = 1 << 4;
        /// Create channels that vanish when empty.
        const CREATE_TEMPORARY_CHANNEL = 1 << 5;
        /// Create, change and delete channels and their ACL.
        const MANAGE_CHANNELS = 1 << 6;
        /// Move others between channels.
        const MOVE_MEMBERS = 1 << 7;
        /// Mute others for everybody.
        const MUTE_MEMBERS = 1 << 8;
        /// Throw others out.
        const KICK = 1 << 9;
        /// Keep others out.
        const BAN = 1 << 10;
        /// Lower others while speaking.
        const PRIORITY_SPEAKER = 1 << 11;
        /// Create, change and give roles below one's own.
        const MANAGE_ROLES = 1 << 12;
        /// Create, change and disable accounts.
        const MANAGE_USERS = 1 << 13;
        /// Change the organization itself.
        const MANAGE_ORGANIZATION = 1 << 14;
        /// Read the audit log.
        const VIEW_AUDIT_LOG = 1 << 15;
        /// Hand out invites.
        const INVITE = 1 << 16;
        /// Everything, everywhere in the organization; no ACL entry takes it away.
        const ADMINISTRATOR = 1 << 17;
    }
}

impl Permissions {
    /// What the default role Member holds.
    pub const MEMBER: Self = Self::GUEST
        .union(Self::SPEAK)
        .union(Self::WHISPER)
        .union(Self::SEND_TEXT)
        .union(Self::CREATE_TEMPORARY_CHANNEL)
        .union(Self::INVITE);
    /// What the default role Guest holds.
    pub const GUEST: Self = Self::VIEW_CHANNEL.union(Self::JOIN);
    /// What the default role Officer holds.
    pub const OFFICER: Self = Self::MEMBER
        .union(Self::MANAGE_CHANNELS)
        .union(Self::MOVE_MEMBERS)
        .union(Self::MUTE_MEMBERS)
        .union(Self::KICK)
        .union(Self::BAN)
        .union(Self::PRIORITY_SPEAKER)
        .union(Self::VIEW_AUDIT_LOG);
}

#[cfg(feature = "openapi")]
impl utoipa::PartialSchema for Permissions {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
        u32::schema()
    }
}

#[cfg(feature = "openapi")]
impl utoipa::ToSchema for Permissions {}

impl Serialize for Permissions {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u32(self.bits())
    }
}

impl<'de> Deserialize<'de> for Permissions {
    /// Bits that this version does not know are kept out, so an older client reads a newer server.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        u32::deserialize(deserializer).map(Self::from_bits_truncate)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_bits_are_dropped_on_reading() {
        let all: Permissions = serde_json::from_str("4294967295").unwrap();
        assert_eq!(all, Permissions::all());
        assert!(serde_json::from_str::<Permissions>("-1").is_err());
    }
}
