//! One's own account, and the accounts of the organization for those who manage them.

use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use ts_rs::TS;
use voip_client::{NewUser, UserQuery};
use voip_protocol::{RoleId, Token, UserId, control};

/// The filled-in form for changing one's own password.
#[derive(Debug, Deserialize, TS)]
#[serde(deny_unknown_fields)]
pub struct PasswordChange {
    /// The password until now.
    #[ts(type = "string")]
    pub current: SecretString,
    /// The one from now on.
    #[ts(type = "string")]
    pub new: SecretString,
}

/// Which accounts to list.
#[derive(Debug, Deserialize, TS)]
#[serde(deny_unknown_fields)]
pub struct AccountQuery {
    /// Part of a user name or a display name; null for everybody.
    pub search: Option<String>,
    /// Only those that may log in, or only those that may not; null for both.
    pub active: Option<bool>,
    /// `next` of the page before; null for the first page.
    pub after: Option<UserId>,
}

/// The filled-in form for making an account.
#[derive(Debug, Deserialize, TS)]
#[serde(deny_unknown_fields)]
pub struct AccountRequest {
    /// Unique in the organization.
    pub username: String,
    /// How others see it; null for the user name.
    pub display_name: Option<String>,
    /// E-mail address.
    pub email: Option<String>,
    /// Null for one that the server makes.
    #[ts(type = "string | null")]
    pub password: Option<SecretString>,
    /// Null for Member.
    pub role: Option<RoleId>,
}

/// An account that was made.
#[derive(Debug, Serialize, TS)]
pub struct CreatedAccount {
    /// The account.
    pub user: control::User,
    /// The password that the server made, to be shown once; null where one was given.
    #[ts(type = "string | null")]
    pub password: Option<Token>,
}

impl From<AccountQuery> for UserQuery {
    fn from(query: AccountQuery) -> Self {
        Self { search: query.search, active: query.active, after: query.after, limit: None }
    }
}

impl From<AccountRequest> for NewUser {
    fn from(request: AccountRequest) -> Self {
        Self {
            username: request.username,
            display_name: request.display_name,
            email: request.email,
            password: request.password,
            roles: request.role.map(|role| vec![role]),
        }
    }
}

impl From<control::CreatedUser> for CreatedAccount {
    fn from(created: control::CreatedUser) -> Self {
        Self { user: created.user, password: created.password }
    }
}
