//! Accounts: registering, logging in, and who a token belongs to.

mod passwords;
mod tokens;

use std::sync::Arc;

use secrecy::ExposeSecret;
use serde_json::json;
use time::{Duration, OffsetDateTime};
use voip_protocol::{
    ErrorBody, ErrorCode, Permissions,
    control::{Account, Credentials, LoginReply, MeReply, Organization, Registration, RoleSummary},
    limits::{DISPLAY_NAME_CHARS, USERNAME_CHARS},
};

pub use passwords::{Passwords, check_password};
pub use tokens::{Claims, Tokens};

use crate::store::{AuditEntry, NewSession, NewUser, OrganizationRow, Store, StoreError};

/// The role that a new account gets.
pub const MEMBER_ROLE: &str = "Member";

/// Registers, logs in, and knows whose a token is.
#[derive(Clone)]
pub struct Accounts {
    store: Store,
    passwords: Arc<Passwords>,
    tokens: Arc<Tokens>,
    registration: bool,
}

/// Where a request came from, for the session and the audit log.
#[derive(Clone, Debug, Default)]
pub struct Origin {
    /// IP address.
    pub address: Option<String>,
    /// `User-Agent`.
    pub user_agent: Option<String>,
}

/// A user agent is the client's to write: no more than this of it is kept, in characters.
const MAX_USER_AGENT: usize = 200;

impl Accounts {
    /// Over a store; `registration` says whether people may register themselves.
    pub fn new(store: Store, passwords: Arc<Passwords>, tokens: Arc<Tokens>, registration: bool) -> Self {
        Self { store, passwords, tokens, registration }
    }

    /// Makes an account with the role Member and logs it in.
    pub async fn register(
        &self,
        registration: Registration,
        origin: &Origin,
        now: OffsetDateTime,
    ) -> Result<LoginReply, ErrorBody> {
        if !self.registration {
            let message = "this server takes no new accounts: ask its administrator for one";
            return Err(ErrorBody::new(ErrorCode::RegistrationClosed, message));
        }
        let username = check_username(&registration.username)?;
        let display_name = check_display_name(registration.display_name.as_deref().unwrap_or(username))?;
        check_password(registration.password.expose_secret())?;
        let organization = self.organization(registration.organization.as_deref()).await?;
        let role = self.store.role_by_name(organization.id(), MEMBER_ROLE).await?;
        let password_hash = self.passwords.hash(registration.password.clone()).await?;
        let user = NewUser {
            organization: organization.id(),
            username,
            display_name,
            password_hash: &password_hash,
            created_via: "register",
            roles: &role.iter().map(crate::store::RoleRow::id).collect::<Vec<_>>(),
        };
        let audit = AuditEntry {
            action: "register",
            resource: &format!("user:{username}"),
            details: json!({}),
            ip_address: origin.address.as_deref(),
        };
        let id = match self.store.create_user(user, audit, now).await {
            Err(StoreError::Duplicate) => {
                let message = format!("the name {username} is taken: choose another");
                return Err(ErrorBody::new(ErrorCode::UsernameTaken, message));
            }
            other => other?,
        };
        let account = Account {
            id,
            organization_id: organization.id(),
            username: username.to_owned(),
            display_name: display_name.to_owned(),
        };
        self.begin_session(account, origin, now).await
    }

    /// Checks name and password and begins a session. Unknown and known users take the same work.
    pub async fn login(
        &self,
        credentials: Credentials,
        origin: &Origin,
        now: OffsetDateTime,
    ) -> Result<LoginReply, ErrorBody> {
        let organization = self.organization(credentials.organization.as_deref()).await?;
        let user = self.store.user_by_name(organization.id(), credentials.username.trim()).await?;
        let hash = user.as_ref().map(|user| user.password_hash.clone());
        let right = self.passwords.verify(credentials.password.clone(), hash).await?;
        match user {
            Some(user) if right && user.active => self.begin_session(user.account(), origin, now).await,
            user => {
                let username: String = credentials.username.chars().take(*USERNAME_CHARS.end()).collect();
                let audit = AuditEntry {
                    action: "login_failed",
                    resource: &format!("user:{username}"),
                    details: json!({}),
                    ip_address: origin.address.as_deref(),
                };
                self.store.audit(Some(organization.id()), user.map(|user| user.id()), audit, now).await?;
                let message =
                    "the name or the password is wrong: check both, capital letters matter in the password";
                Err(ErrorBody::new(ErrorCode::InvalidCredentials, message))
            }
        }
    }

    /// Whose a token is, if it and its session are good.
    pub async fn authenticate(
        &self,
        token: &str,
        now: OffsetDateTime,
    ) -> Result<(Account, Claims), ErrorBody> {
        let claims = self.tokens.verify(token, now)?;
        let ended = || ErrorBody::new(ErrorCode::TokenExpired, "the session has ended: log in again");
        if !self.store.session_is_alive(claims.jti, now).await? {
            return Err(ended());
        }
        let user = self.store.user(claims.sub).await?.ok_or_else(ended)?;
        Ok((user.account(), claims))
    }

    /// All that an account may know of itself.
    pub async fn me(&self, account: Account) -> Result<MeReply, ErrorBody> {
        let roles = self.store.roles_of(account.id).await?;
        let organizations = self.store.organizations().await?;
        let organization = organizations
            .into_iter()
            .find(|organization| organization.id() == account.organization_id)
            .ok_or_else(|| ErrorBody::new(ErrorCode::UnknownOrganization, "the organization is gone"))?;
        Ok(MeReply {
            organization: Organization {
                id: organization.id(),
                name: organization.name,
                tag: organization.tag,
            },
            permissions: roles.iter().fold(Permissions::empty(), |sum, role| sum | role.permissions()),
            roles: roles.into_iter().map(|role| RoleSummary { id: role.id(), name: role.name }).collect(),
            account,
        })
    }

    async fn begin_session(
        &self,
        account: Account,
        origin: &Origin,
        now: OffsetDateTime,
    ) -> Result<LoginReply, ErrorBody> {
        let claims = self.tokens.claims(&account, now);
        let user_agent: Option<String> =
            origin.user_agent.as_ref().map(|agent| agent.chars().take(MAX_USER_AGENT).collect());
        let session = NewSession {
            id: claims.sid,
            user: account.id,
            organization: account.organization_id,
            access_jti: claims.jti,
            ip_address: origin.address.as_deref(),
            user_agent: user_agent.as_deref(),
            expires_at: now + Duration::seconds(self.tokens.lifetime_seconds() as i64),
        };
        let audit = AuditEntry {
            action: "login",
            resource: &format!("user:{}", account.username),
            details: json!({ "session": claims.sid }),
            ip_address: origin.address.as_deref(),
        };
        self.store.create_session(session, audit, now).await?;
        Ok(LoginReply {
            access_token: self.tokens.sign(&claims)?,
            expires_in: self.tokens.lifetime_seconds(),
            account,
        })
    }

    async fn organization(&self, tag: Option<&str>) -> Result<OrganizationRow, ErrorBody> {
        match tag {
            Some(tag) => self.store.organization_by_tag(tag.trim()).await?.ok_or_else(|| {
                ErrorBody::new(
                    ErrorCode::UnknownOrganization,
                    "there is no organization with this tag on the server",
                )
            }),
            None => {
                let mut all = self.store.organizations().await?;
                if all.len() == 1 {
                    return Ok(all.remove(0));
                }
                let message = "the server has several organizations: give the tag of yours";
                Err(ErrorBody::new(ErrorCode::OrganizationRequired, message))
            }
        }
    }
}

/// A user name without the space around it.
pub fn check_username(name: &str) -> Result<&str, ErrorBody> {
    let name = name.trim();
    let allowed = |character: char| character.is_alphanumeric() || matches!(character, '.' | '_' | '-');
    if USERNAME_CHARS.contains(&name.chars().count()) && name.chars().all(allowed) {
        return Ok(name);
    }
    let message = format!(
        "username must have {} to {} letters, digits, dots, hyphens or underscores",
        USERNAME_CHARS.start(),
        USERNAME_CHARS.end()
    );
    Err(ErrorBody::new(ErrorCode::InvalidField, message))
}

fn check_display_name(name: &str) -> Result<&str, ErrorBody> {
    let name = name.trim();
    if DISPLAY_NAME_CHARS.contains(&name.chars().count()) && !name.chars().any(char::is_control) {
        return Ok(name);
    }
    let message = format!(
        "display_name must have {} to {} characters, none of them a control character",
        DISPLAY_NAME_CHARS.start(),
        DISPLAY_NAME_CHARS.end()
    );
    Err(ErrorBody::new(ErrorCode::InvalidField, message))
}

impl From<StoreError> for ErrorBody {
    fn from(error: StoreError) -> Self {
        let code = match &error {
            StoreError::Full => ErrorCode::StorageFull,
            StoreError::Unavailable(_) => ErrorCode::DatabaseUnavailable,
            _ => ErrorCode::Internal,
        };
        tracing::error!(%code, %error, "database");
        let message = match code {
            ErrorCode::StorageFull => {
                "the server's disk is full, so nothing can be changed now: tell its administrator"
            }
            ErrorCode::DatabaseUnavailable => "the server's database does not answer: try again in a moment",
            _ => "something failed in the server: try again, and tell its administrator if it stays",
        };
        Self::new(code, message)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_keep_their_limits() {
        assert_eq!(check_username(" alice "), Ok("alice"));
        assert!(check_username("Zoë_1.x-y").is_ok());
        for bad in ["", "   ", "a b", "a\0b", "a\u{202e}b", &"x".repeat(33)] {
            assert!(check_username(bad).is_err(), "{bad:?}");
        }
        assert!(check_display_name("The Boss 🦊").is_ok());
        assert!(check_display_name("line\nbreak").is_err());
    }

    proptest! {
        #[test]
        fn any_name_is_taken_or_refused(name: String) {
            if let Ok(taken) = check_username(&name) {
                prop_assert!(USERNAME_CHARS.contains(&taken.chars().count()));
            }
        }
    }
}
