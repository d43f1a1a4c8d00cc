//! Bodies of the REST routes under `/auth`.

use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use ts_rs::TS;

use super::Organization;
use crate::{ErrorBody, OrganizationId, Permissions, RoleId, UserId};

/// `POST /auth/register`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Registration {
    /// Tag of the organization; may be left out where the server has only one.
    #[serde(default)]
    pub organization: Option<String>,
    /// Unique in the organization, whatever its case.
    pub username: String,
    /// 8 to 128 characters.
    pub password: SecretString,
    /// How others see it; the user name where left out.
    #[serde(default)]
    pub display_name: Option<String>,
}

/// `POST /auth/login`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Credentials {
    /// Tag of the organization; may be left out where the server has only one.
    #[serde(default)]
    pub organization: Option<String>,
    /// User name.
    pub username: String,
    /// Password.
    pub password: SecretString,
}

/// Answer to a login or a registration.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LoginReply {
    /// JWT for the `Authorization: Bearer` header of every other route and of `/control`.
    pub access_token: String,
    /// Life time of the access token, in seconds.
    pub expires_in: u64,
    /// The account.
    pub account: Account,
}

/// An account as its owner sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, TS)]
pub struct Account {
    /// Row id.
    pub id: UserId,
    /// Home organization.
    pub organization_id: OrganizationId,
    /// User name.
    pub username: String,
    /// How others see it.
    pub display_name: String,
}

/// Answer to `GET /auth/me`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct MeReply {
    /// The account.
    pub account: Account,
    /// Its home organization.
    pub organization: Organization,
    /// Its roles, highest priority first.
    pub roles: Vec<RoleSummary>,
    /// What these roles hold together.
    pub permissions: Permissions,
}

/// A role by name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, TS)]
pub struct RoleSummary {
    /// Row id.
    pub id: RoleId,
    /// Name.
    pub name: String,
}

/// Body of every REST answer that is not a success: `{"error": {"code": "...", "message": "..."}}`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ErrorReply {
    /// The error.
    pub error: ErrorBody,
}
