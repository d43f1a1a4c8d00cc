//! Registering, logging in, and another password.

use secrecy::SecretString;
use serde_json::json;
use time::OffsetDateTime;
use voip_protocol::{
    ErrorBody, ErrorCode, OrganizationId, UserId,
    control::{Account, Credentials, Device, LoginReply, MeReply, NewPassword, Registration, RoleSummary},
};

use super::{Accounts, MEMBER_ROLE, Origin, Verdict, check_device, check_display_name, check_username};
use crate::store::{AuditEntry, Caller, NewUser, REGISTERED, RoleRow, StoreError, UserRow};

impl Accounts {
    /// Makes an account with the role Member and logs it in.
    pub async fn register(
        &self,
        registration: Registration,
        origin: &Origin,
        now: OffsetDateTime,
    ) -> Result<LoginReply, ErrorBody> {
        if !self.policy.registration {
            let message = "this server takes no new accounts: ask its administrator for one";
            return Err(ErrorBody::new(ErrorCode::RegistrationClosed, message));
        }
        let username = check_username(&registration.username)?;
        let display_name = check_display_name(registration.display_name.as_deref().unwrap_or(username))?;
        let device = registration.device.as_ref().map(check_device).transpose()?;
        let organization = self.organization(registration.organization.as_deref()).await?;
        let role = self.store.role_by_name(organization.id(), MEMBER_ROLE).await?;
        let roles: Vec<_> = role.iter().map(RoleRow::id).collect();
        let known = [username, display_name, &organization.name, &organization.tag];
        let password_hash = self.passwords.hash_chosen(registration.password, &known).await?;
        let address = origin.address_text();
        let resource = format!("user:{username}");
        let audit = AuditEntry {
            organization: Some(organization.id()),
            actor: None,
            action: "register",
            resource: &resource,
            details: json!({}),
            ip_address: address.as_deref(),
        };
        let user = NewUser {
            organization: organization.id(),
            username,
            display_name,
            email: None,
            password_hash: &password_hash,
            active: true,
            created_via: REGISTERED,
            roles: &roles,
        };
        // The account and its first login hold together: who is told that it failed may try again.
        let mut transaction = self.store.begin().await?;
        let id = match transaction.create_user(user, &audit, now).await {
            Err(StoreError::Duplicate) => return Err(taken(username)),
            other => other?,
        };
        let account = Account {
            id,
            organization_id: organization.id(),
            username: username.to_owned(),
            display_name: display_name.to_owned(),
        };
        let reply = self.begin_login(&mut transaction, account, roles, device.as_ref(), origin, now).await?;
        transaction.commit().await?;
        Ok(reply)
    }

    /// Checks name and password and begins a login. Whether the account is unknown, locked or disabled, or the
    /// password is wrong, the work and the answer are the same.
    pub async fn login(
        &self,
        organization: OrganizationId,
        credentials: Credentials,
        origin: &Origin,
        now: OffsetDateTime,
    ) -> Result<LoginReply, ErrorBody> {
        let device = credentials.device.as_ref().map(check_device).transpose()?;
        // What cannot be a name is nobody's.
        let user = match check_username(&credentials.username) {
            Ok(username) => self.store.user_by_name(organization, username).await?,
            Err(_) => None,
        };
        let hash = user.as_ref().map(|user| user.password_hash.clone());
        let verdict = self.passwords.verify(credentials.password, hash).await?;
        if let Some(user) = user.filter(|user| verdict != Verdict::Wrong && may_enter(user, now))
            && let Some(reply) = self.enter(&user, &verdict, device.as_ref(), origin, now).await?
        {
            return Ok(reply);
        }
        self.note_failure(organization, &credentials.username, None, "login_failed", origin, now).await?;
        let minutes = self.policy.lockout.whole_minutes();
        let message = format!(
            "the name or the password is wrong: check both, capital letters matter in the password. \
             After {} wrong passwords an account takes none for {minutes} minutes",
            self.policy.lockout_attempts
        );
        Err(ErrorBody::new(ErrorCode::InvalidCredentials, message))
    }

    /// All that an account may know of itself.
    pub fn me(caller: Caller) -> MeReply {
        MeReply {
            permissions: caller.permissions(),
            roles: caller
                .roles
                .into_iter()
                .map(|role| RoleSummary { id: role.id(), name: role.name })
                .collect(),
            organization: caller.organization,
            account: caller.account,
        }
    }

    /// Sets another password. The account's other logins end.
    pub async fn change_password(
        &self,
        caller: &Caller,
        passwords: NewPassword,
        origin: &Origin,
        now: OffsetDateTime,
    ) -> Result<(), ErrorBody> {
        let gone = || ErrorBody::new(ErrorCode::TokenExpired, "the account is gone: log in again");
        let user = self.store.user(caller.account.id).await?.ok_or_else(gone)?;
        let verdict = self.passwords.verify(passwords.current, Some(user.password_hash.clone())).await?;
        if verdict == Verdict::Wrong || !may_enter(&user, now) {
            let (organization, actor) = (user.organization(), Some(user.id()));
            let action = "password_change_failed";
            self.note_failure(organization, &user.username, actor, action, origin, now).await?;
            let message = format!(
                "the current password is wrong. After {} wrong ones the account takes none for {} minutes",
                self.policy.lockout_attempts,
                self.policy.lockout.whole_minutes()
            );
            return Err(ErrorBody::new(ErrorCode::InvalidCredentials, message));
        }
        let hash = self.hash_for(passwords.new, &user, &caller.organization.name).await?;
        let address = origin.address_text();
        let mut transaction = self.store.begin().await?;
        if !transaction.change_password(user.id(), caller.login, &user.password_hash, &hash, now).await? {
            let message = "the password or the login was changed elsewhere at this moment: log in again";
            return Err(ErrorBody::new(ErrorCode::TokenExpired, message));
        }
        let revoked =
            transaction.revoke_logins(user.id(), Some(caller.login), "password_changed", now).await?;
        let audit = AuditEntry {
            organization: Some(user.organization()),
            actor: Some(user.id()),
            action: "password_changed",
            resource: &format!("user:{}", user.username),
            details: json!({ "logins_ended": revoked }),
            ip_address: address.as_deref(),
        };
        transaction.audit(&audit, now).await?;
        transaction.commit().await?;
        self.tell_revoked();
        Ok(())
    }

    /// The hash of a password chosen for an account.
    pub(crate) async fn hash_for(
        &self,
        password: SecretString,
        user: &UserRow,
        organization: &str,
    ) -> Result<String, ErrorBody> {
        let email = user.email.as_deref().unwrap_or_default();
        self.passwords.hash_chosen(password, &[&user.username, &user.display_name, email, organization]).await
    }

    /// Begins a login with the right password. None where the account may not any more.
    async fn enter(
        &self,
        user: &UserRow,
        verdict: &Verdict,
        device: Option<&Device>,
        origin: &Origin,
        now: OffsetDateTime,
    ) -> Result<Option<LoginReply>, ErrorBody> {
        let mut transaction = self.store.begin().await?;
        let Some(roles) = transaction.logged_in(user.id(), &user.password_hash, now).await? else {
            return Ok(None);
        };
        if let Verdict::Outdated(hash) = verdict {
            transaction.rehash(user.id(), &user.password_hash, hash).await?;
        }
        let reply = self.begin_login(&mut transaction, user.account(), roles, device, origin, now).await?;
        transaction.commit().await?;
        if device.is_some_and(|device| device.id.is_some()) {
            self.tell_revoked();
        }
        Ok(Some(reply))
    }

    /// Writes down a wrong password, and locks the account with the last one in a row.
    async fn note_failure(
        &self,
        organization: OrganizationId,
        username: &str,
        actor: Option<UserId>,
        action: &str,
        origin: &Origin,
        now: OffsetDateTime,
    ) -> Result<(), ErrorBody> {
        let address = origin.address_text();
        // What is no name may be a password in the wrong field: it is written nowhere.
        let username = check_username(username).ok();
        let mut transaction = self.store.begin().await?;
        let until = now + self.policy.lockout;
        let attempts = self.policy.lockout_attempts;
        let failure = transaction.login_failed(organization, username, attempts, until, now).await?;
        let account = failure.as_ref().map(|failure| failure.username.as_str());
        let resource = format!("user:{}", account.or(username).unwrap_or("?"));
        let audit = AuditEntry {
            organization: Some(organization),
            actor,
            action,
            resource: &resource,
            details: json!({}),
            ip_address: address.as_deref(),
        };
        transaction.audit(&audit, now).await?;
        if failure.is_some_and(|failure| failure.locked_now) {
            let details = json!({ "until": until.unix_timestamp() });
            transaction.audit(&AuditEntry { action: "account_locked", details, ..audit }, now).await?;
        }
        transaction.commit().await?;
        Ok(())
    }
}

/// Whether an account takes its password now.
fn may_enter(user: &UserRow, now: OffsetDateTime) -> bool {
    user.active && user.locked_until.is_none_or(|until| until <= now)
}

/// A user name that somebody has already.
pub(crate) fn taken(username: &str) -> ErrorBody {
    ErrorBody::new(ErrorCode::UsernameTaken, format!("the name {username} is taken: choose another"))
}
