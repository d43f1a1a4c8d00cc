//! Accounts: registering, logging in, keeping a login, and who a token belongs to.

mod account;
mod argon;
mod limits;
mod logins;
mod names;
mod passwords;
mod refresh;
mod tokens;

use std::{net::IpAddr, sync::Arc};

use time::{Duration, OffsetDateTime};
use tokio::sync::Notify;
use voip_protocol::{ErrorBody, ErrorCode, limits::ORGANIZATION_TAG_CHARS};

pub(crate) use account::taken;
pub use limits::Limits;
pub(crate) use limits::network;
pub(crate) use logins::revoked;
pub use names::{check_device, check_display_name, check_email, check_text, check_username};
pub use passwords::{Passwords, Verdict};
pub use refresh::new_password;
pub use tokens::{Claims, Tokens};

use crate::{
    config::SecurityConfig,
    store::{Caller, OrganizationRow, Store, StoreError},
};

/// The role that a new account gets.
pub const MEMBER_ROLE: &str = "Member";

/// Registers, logs in, and knows whose a token is.
#[derive(Clone)]
pub struct Accounts {
    store: Store,
    passwords: Arc<Passwords>,
    tokens: Arc<Tokens>,
    policy: Policy,
    revoked: Arc<Notify>,
}

/// What of the configuration is about accounts.
#[derive(Clone, Copy, Debug)]
pub struct Policy {
    /// Whether people may register themselves.
    pub registration: bool,
    /// Wrong passwords in a row that lock an account.
    pub lockout_attempts: u32,
    /// How long it stays locked.
    pub lockout: Duration,
    /// A login ends when it was not refreshed for so long.
    pub refresh: Duration,
}

impl From<&SecurityConfig> for Policy {
    fn from(config: &SecurityConfig) -> Self {
        Self {
            registration: config.registration,
            lockout_attempts: config.lockout_attempts,
            lockout: Duration::minutes(config.lockout_minutes.into()),
            refresh: Duration::days(config.refresh_token_days.into()),
        }
    }
}

/// Where a request came from, for the login and the audit log.
#[derive(Clone, Debug, Default)]
pub struct Origin {
    /// IP address.
    pub address: Option<IpAddr>,
    /// `User-Agent`.
    pub user_agent: Option<String>,
}

impl Origin {
    /// The address as the database keeps it.
    pub fn address_text(&self) -> Option<String> {
        self.address.map(|address| address.to_canonical().to_string())
    }

    /// A user agent is the client's to write: no more than this of it is kept.
    fn user_agent_text(&self) -> Option<String> {
        const MOST: usize = 200;
        let visible = |agent: &String| -> String {
            agent.chars().filter(|character| !character.is_control()).take(MOST).collect()
        };
        self.user_agent.as_ref().map(visible)
    }
}

impl Accounts {
    /// Over a store. `revoked` is told whenever a login has been ended, so that whoever closes its connections need
    /// not wait.
    pub fn new(
        store: Store,
        passwords: Arc<Passwords>,
        tokens: Arc<Tokens>,
        policy: Policy,
        revoked: Arc<Notify>,
    ) -> Self {
        Self { store, passwords, tokens, policy, revoked }
    }

    /// The store beneath.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// The pool that hashes.
    pub fn passwords(&self) -> &Passwords {
        &self.passwords
    }

    /// Whose a token is, if it and its login are good.
    pub async fn authenticate(&self, token: &str, now: OffsetDateTime) -> Result<Caller, ErrorBody> {
        let claims = self.tokens.verify(token, now)?;
        self.store.caller(claims.jti, now).await?.ok_or_else(|| {
            ErrorBody::new(
                ErrorCode::TokenExpired,
                "the login has ended, or the token was replaced: log in again",
            )
        })
    }

    /// Wakes whoever closes the connections of ended logins.
    pub(crate) fn tell_revoked(&self) {
        self.revoked.notify_one();
    }

    /// The organization that a login means: the one with a tag, or the only one.
    pub async fn organization(&self, tag: Option<&str>) -> Result<OrganizationRow, ErrorBody> {
        let unknown = || {
            let message =
                "there is no organization with this tag on the server: ask whoever invited you for it";
            ErrorBody::new(ErrorCode::UnknownOrganization, message)
        };
        match tag.map(str::trim) {
            // What cannot be a tag is asked of no database.
            Some(tag) if check_text("organization", tag, &ORGANIZATION_TAG_CHARS).is_err() => Err(unknown()),
            Some(tag) => self.store.organization_by_tag(tag).await?.ok_or_else(unknown),
            None => {
                let mut all = self.store.organizations().await?;
                match all.len() {
                    0 => return Err(unknown()),
                    1 => return Ok(all.remove(0)),
                    _ => {}
                }
                let message = "the server has several organizations: give the tag of yours";
                Err(ErrorBody::new(ErrorCode::OrganizationRequired, message))
            }
        }
    }
}

impl From<StoreError> for ErrorBody {
    fn from(error: StoreError) -> Self {
        let code = match &error {
            StoreError::Full => ErrorCode::StorageFull,
            StoreError::Unavailable(_) | StoreError::ReadOnly => ErrorCode::DatabaseUnavailable,
            StoreError::Duplicate => ErrorCode::AlreadyExists,
            StoreError::MissingParent => ErrorCode::NotFound,
            StoreError::Quota { .. } => ErrorCode::QuotaExceeded,
            _ => ErrorCode::Internal,
        };
        let message = match code {
            ErrorCode::QuotaExceeded => {
                return Self::new(code, format!("{error}: delete some, or ask for a higher quota"));
            }
            ErrorCode::AlreadyExists => "it is there already: nothing was changed",
            ErrorCode::NotFound => "what it belongs to is not there any more: look again",
            ErrorCode::StorageFull => {
                "the server's disk is full, so nothing can be changed now: tell its administrator"
            }
            ErrorCode::DatabaseUnavailable => "the server's database does not answer: try again in a moment",
            _ => "something failed in the server: try again, and tell its administrator if it stays",
        };
        if matches!(code, ErrorCode::StorageFull | ErrorCode::DatabaseUnavailable | ErrorCode::Internal) {
            tracing::error!(%code, %error, "database");
        }
        Self::new(code, message)
    }
}
