//! Identifiers. Each is a type of its own, so that one cannot stand in for another.

use serde::{Deserialize, Serialize};
use ts_rs::TS;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, TS)]
        #[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
        #[serde(transparent)]
        #[ts(type = "number")]
        pub struct $name(pub $inner);

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

id!(
    /// A tenant. Row id in `organizations`.
    OrganizationId(i64)
);
id!(
    /// An account. Row id in `users`.
    UserId(i64)
);
id!(
    /// A named set of permissions. Row id in `roles`.
    RoleId(i64)
);
id!(
    /// A place to talk. Row id in `channels`.
    ChannelId(i64)
);
id!(
    /// One connection to the control plane and the voice it carries. Given by the server at connect,
    /// never given twice within a run of the server; zero is never used.
    SessionId(u32)
);
id!(
    /// What a voice frame is spoken into: today a channel. Given by the server, stands in each voice packet.
    ContextId(u32)
);
id!(
    /// Generation of a context's secret. Wraps; at most two neighbouring generations are alive at a time.
    Epoch(u16)
);

/// One login: it lasts until it expires, is logged out or is revoked. Row id in `sessions`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, TS)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(transparent)]
#[ts(type = "string")]
pub struct LoginId(pub uuid::Uuid);

impl std::fmt::Display for LoginId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl Epoch {
    /// The generation after this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.wrapping_add(1))
    }
}
