//! Visiting servers and logging in.

use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use ts_rs::TS;
use voip_protocol::Fingerprint;

/// What answers at an address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, TS)]
pub struct Visit {
    /// host:port.
    pub address: String,
    /// The certificate that answered.
    pub fingerprint: Fingerprint,
    /// Whether to believe it.
    pub trust: Trust,
}

/// Whether the certificate that answered is the expected one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, TS)]
#[serde(tag = "state", content = "data", rename_all = "snake_case")]
pub enum Trust {
    /// Never been here: ask.
    New,
    /// The same as at the last visit, or as in the invite.
    Known,
    /// Another one than at the last visit, or than in the invite: refuse.
    Changed {
        /// The one to expect.
        expected: Fingerprint,
        /// The expectation is the invite's, not one of an earlier visit.
        invited: bool,
    },
}

/// The filled-in form for logging in or registering.
#[derive(Debug, Deserialize, TS)]
#[serde(deny_unknown_fields)]
pub struct LoginRequest {
    /// host:port.
    pub address: String,
    /// The certificate that the visit showed.
    pub fingerprint: Fingerprint,
    /// Tag of the organization, where the server asked for it.
    pub organization: Option<String>,
    /// User name.
    pub username: String,
    /// Password.
    #[ts(type = "string")]
    pub password: SecretString,
    /// Create the account first.
    pub register: Option<NewAccount>,
}

/// What a new account has beyond a name and a password.
#[derive(Debug, Deserialize, TS)]
#[serde(deny_unknown_fields)]
pub struct NewAccount {
    /// How others see it; null for the user name.
    pub display_name: Option<String>,
}
