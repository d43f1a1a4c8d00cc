//! Bodies of the REST routes under `/auth`.

use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use ts_rs::TS;

use super::Organization;
use crate::{ErrorBody, LoginId, OrganizationId, Permissions, RoleId, Token, UserId};

/// `POST /auth/register`.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Registration {
    /// Tag of the organization; may be left out where the server has only one.
    #[serde(default)]
    pub organization: Option<String>,
    /// Unique in the organization, whatever its case.
    pub username: String,
    /// 8 to 128 characters.
    #[cfg_attr(feature = "openapi", schema(value_type = String, min_length = 8, max_length = 128))]
    pub password: SecretString,
    /// How others see it; the user name where left out.
    #[serde(default)]
    pub display_name: Option<String>,
    /// What it is used with.
    #[serde(default)]
    pub device: Option<Device>,
}

/// `POST /auth/login`.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Credentials {
    /// Tag of the organization; may be left out where the server has only one.
    #[serde(default)]
    pub organization: Option<String>,
    /// User name.
    pub username: String,
    /// Password.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub password: SecretString,
    /// What it is used with.
    #[serde(default)]
    pub device: Option<Device>,
}

/// What somebody logs in with, as "your devices" shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Device {
    /// For its owner: 1 to 64 characters.
    pub name: String,
    /// The program's own mark, 1 to 64 characters: a later login with the same takes the earlier one's place.
    #[serde(default)]
    pub id: Option<String>,
}

/// `POST /auth/refresh`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Refresh {
    /// The newest one of the login. It is spent by this; used again, it ends the login.
    pub refresh_token: Token,
}

/// `POST /auth/password`. The other logins of the account end.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct NewPassword {
    /// The password until now.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub current: SecretString,
    /// 8 to 128 characters.
    #[cfg_attr(feature = "openapi", schema(value_type = String, min_length = 8, max_length = 128))]
    pub new: SecretString,
}

/// Answer to a login, a registration, a refresh.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct LoginReply {
    /// JWT for the `Authorization: Bearer` header of every other route and of `/control`.
    pub access_token: Token,
    /// Life time of the access token, in seconds.
    pub expires_in: u64,
    /// For the next access token, once.
    pub refresh_token: Token,
    /// Life time of the refresh token, in seconds.
    pub refresh_expires_in: u64,
    /// The login.
    pub login: LoginId,
    /// The account.
    pub account: Account,
}

/// An account as its owner sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, TS)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
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
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
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
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RoleSummary {
    /// Row id.
    pub id: RoleId,
    /// Name.
    pub name: String,
}

/// Answer to `GET /auth/sessions`: the logins that stand, the latest used first.
#[derive(Clone, Debug, Serialize, Deserialize, TS)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Logins {
    /// The logins.
    pub sessions: Vec<Login>,
}

/// One of "your devices".
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, TS)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Login {
    /// For `DELETE /auth/sessions/{id}`.
    pub id: LoginId,
    /// Whether the request came by this one.
    pub current: bool,
    /// Whether it is connected to `/control` now.
    pub connected: bool,
    /// The device's name, where it gave one.
    pub device: Option<String>,
    /// From where it logged in.
    pub address: Option<String>,
    /// With what program.
    pub user_agent: Option<String>,
    /// When it logged in.
    #[serde(with = "time::serde::rfc3339")]
    #[ts(type = "string")]
    pub created_at: OffsetDateTime,
    /// When it was last used: logged in, refreshed, connected.
    #[serde(with = "time::serde::rfc3339")]
    #[ts(type = "string")]
    pub last_activity: OffsetDateTime,
    /// When it ends unless it is refreshed.
    #[serde(with = "time::serde::rfc3339")]
    #[ts(type = "string")]
    pub expires_at: OffsetDateTime,
}

/// Body of every REST answer that is not a success: `{"error": {"code": "...", "message": "..."}}`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ErrorReply {
    /// The error.
    pub error: ErrorBody,
}
