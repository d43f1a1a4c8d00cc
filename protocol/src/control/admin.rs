//! Bodies of the REST routes under `/admin`.

use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use time::OffsetDateTime;
use ts_rs::TS;

use super::RoleSummary;
use crate::{Permissions, RoleId, Token, UserId};

/// An account as those see it who manage users.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, TS)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct User {
    /// Row id.
    pub id: UserId,
    /// User name.
    pub username: String,
    /// How others see it.
    pub display_name: String,
    /// E-mail address.
    pub email: Option<String>,
    /// May log in.
    pub active: bool,
    /// Whether the caller may change it: it is not the caller's own, and its highest role is below the caller's.
    pub manageable: bool,
    /// Its roles, highest priority first.
    pub roles: Vec<RoleSummary>,
    /// What made it: `register`, `setup`, `seed`, `admin`, `import`, `shell`.
    pub created_via: String,
    /// When it was made.
    #[serde(with = "time::serde::rfc3339")]
    #[ts(type = "string")]
    pub created_at: OffsetDateTime,
    /// When somebody last logged in to it.
    #[serde(with = "time::serde::rfc3339::option")]
    #[ts(type = "string | null")]
    pub last_login: Option<OffsetDateTime>,
    /// Until when too many wrong passwords keep it out.
    #[serde(with = "time::serde::rfc3339::option")]
    #[ts(type = "string | null")]
    pub locked_until: Option<OffsetDateTime>,
}

/// Answer to `GET /admin/users`.
#[derive(Clone, Debug, Serialize, Deserialize, TS)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct UserPage {
    /// In the order of their ids.
    pub users: Vec<User>,
    /// How many the filters let through in all.
    #[ts(type = "number")]
    pub total: u64,
    /// For `after` of the next page; none where this is the last.
    pub next: Option<UserId>,
}

/// `POST /admin/users`.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct NewUser {
    /// Unique in the organization, whatever its case.
    pub username: String,
    /// How others see it; the user name where left out.
    #[serde(default)]
    pub display_name: Option<String>,
    /// E-mail address.
    #[serde(default)]
    pub email: Option<String>,
    /// 8 to 128 characters; made by the server where left out.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, min_length = 8, max_length = 128))]
    pub password: Option<SecretString>,
    /// Its roles; Member where left out.
    #[serde(default)]
    pub roles: Option<Vec<RoleId>>,
}

/// Answer to `POST /admin/users`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct CreatedUser {
    /// The account.
    pub user: User,
    /// The password that the server made, shown this once.
    pub password: Option<Token>,
}

/// `PATCH /admin/users/{id}`: what is left out stays as it is.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct UserChange {
    /// How others see it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub display_name: Option<String>,
    /// E-mail address; an empty text takes it away.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    /// May log in. Taken away, all its logins end at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub active: Option<bool>,
}

/// `POST /admin/users/{id}/password`. All logins of the account end, a lock is lifted.
#[derive(Clone, Debug, Default, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct ResetPassword {
    /// 8 to 128 characters; made by the server where left out.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, min_length = 8, max_length = 128))]
    pub password: Option<SecretString>,
}

/// Answer to `POST /admin/users/{id}/password`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct PasswordReset {
    /// The password that the server made, shown this once.
    pub password: Option<Token>,
}

/// Answer to `GET /admin/roles`.
#[derive(Clone, Debug, Serialize, Deserialize, TS)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Roles {
    /// Highest priority first.
    pub roles: Vec<Role>,
}

/// A role.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, TS)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Role {
    /// Row id.
    pub id: RoleId,
    /// Name.
    pub name: String,
    /// What it holds everywhere.
    #[ts(type = "number")]
    pub permissions: Permissions,
    /// The higher, the more it has to say.
    #[ts(type = "number")]
    pub priority: i64,
    /// Whether the caller may give it: it is below the caller's own and holds nothing that the caller does not.
    pub grantable: bool,
}

/// Answer to `GET /admin/audit`, newest first.
#[derive(Clone, Debug, Serialize, Deserialize, TS)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct AuditPage {
    /// The rows.
    pub entries: Vec<AuditRecord>,
    /// For `before` of the next page; none where this is the last.
    #[ts(type = "number | null")]
    pub next: Option<i64>,
}

/// One security event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, TS)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct AuditRecord {
    /// Row id; grows with time.
    #[ts(type = "number")]
    pub id: i64,
    /// When.
    #[serde(with = "time::serde::rfc3339")]
    #[ts(type = "string")]
    pub created_at: OffsetDateTime,
    /// Who did it; none where nobody was logged in, or the account is gone.
    pub actor: Option<UserId>,
    /// That account's user name, now.
    pub actor_name: Option<String>,
    /// What happened, as `login` or `user_disabled`.
    pub action: String,
    /// What it happened to, as `user:alice`.
    pub resource: String,
    /// The rest.
    #[ts(type = "Record<string, unknown>")]
    pub details: Value,
    /// From where.
    pub address: Option<String>,
}

/// Answer to `POST /admin/users/import`.
#[derive(Clone, Debug, Default, Serialize, Deserialize, TS)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ImportReport {
    /// Accounts made.
    pub created: u32,
    /// Accounts that were there already and stay as they are.
    pub skipped: u32,
    /// Entries that cannot be taken.
    pub refused: u32,
    /// Each entry, in the order of the file.
    pub lines: Vec<ImportLine>,
}

/// What became of one entry of an import.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, TS)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ImportLine {
    /// Line of the file on which the entry begins, from 1.
    pub line: u32,
    /// The user name, where the entry has one.
    pub username: Option<String>,
    /// What became of it.
    pub outcome: ImportOutcome,
    /// Why, where it was not created.
    pub reason: Option<String>,
}

/// What became of one entry of an import.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, TS)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum ImportOutcome {
    /// The account is made.
    Created,
    /// The account was there already, or an import that is all or nothing left it out because of others.
    Skipped,
    /// The entry cannot be taken.
    Refused,
}
