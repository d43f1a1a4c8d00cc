//! Members: listed, made, changed, disabled, given another password.

use std::collections::HashMap;

use serde_json::json;
use time::{OffsetDateTime, UtcOffset};
use voip_protocol::{
    ErrorBody, ErrorCode, Permissions, RoleId, UserId,
    control::{
        CreatedUser, NewUser, PasswordReset, ResetPassword, Role, RoleSummary, Roles, User, UserChange,
        UserPage,
    },
};

use super::{Authority, page_size};
use crate::{
    auth::{
        Accounts, MEMBER_ROLE, Origin, check_display_name, check_email, check_username, new_password, taken,
    },
    store::{self, AuditEntry, Caller, RoleRow, StoreError, Transaction, UserFilter, UserRow},
};

/// What a caller may do with the members of their organization.
pub struct Members<'a> {
    accounts: &'a Accounts,
    caller: &'a Caller,
    authority: Authority,
    address: Option<String>,
}

impl<'a> Members<'a> {
    /// For somebody who may manage users.
    pub fn of(accounts: &'a Accounts, caller: &'a Caller, origin: &Origin) -> Result<Self, ErrorBody> {
        let authority = Authority::of(caller);
        authority.require(Permissions::MANAGE_USERS)?;
        Ok(Self { accounts, caller, authority, address: origin.address_text() })
    }

    /// A page of them.
    pub async fn page(
        &self,
        filter: UserFilter<'_>,
        after: Option<UserId>,
        limit: Option<u32>,
    ) -> Result<UserPage, ErrorBody> {
        let (store, organization) = (self.accounts.store(), self.caller.organization.id);
        let most = page_size(limit)?;
        let total = store.count_users(organization, filter).await?;
        let mut rows = store.users_page(organization, filter, after.unwrap_or(UserId(0)), most + 1).await?;
        let more = rows.len() > most as usize;
        rows.truncate(most as usize);
        let mut roles: HashMap<UserId, Vec<RoleRow>> = HashMap::new();
        if let (Some(first), Some(last)) = (rows.first(), rows.last()) {
            for held in store.roles_of_users(organization, first.id(), last.id()).await? {
                roles.entry(held.user()).or_default().push(held.role);
            }
        }
        Ok(UserPage {
            next: rows.last().filter(|_| more).map(UserRow::id),
            users: rows
                .into_iter()
                .map(|row| {
                    let held = roles.remove(&row.id()).unwrap_or_default();
                    self.user(row, &held)
                })
                .collect(),
            total,
        })
    }

    /// The organization's roles.
    pub async fn roles(&self) -> Result<Roles, ErrorBody> {
        let roles = self.accounts.store().roles_in(self.caller.organization.id).await?;
        let role = |row: RoleRow| Role {
            id: row.id(),
            permissions: row.permissions(),
            priority: row.priority,
            grantable: self.authority.may_grant(&row),
            name: row.name,
        };
        Ok(Roles { roles: roles.into_iter().map(role).collect() })
    }

    /// The roles that the caller may give.
    pub async fn grantable(&self) -> Result<Vec<RoleId>, ErrorBody> {
        let roles = self.accounts.store().roles_in(self.caller.organization.id).await?;
        Ok(roles.iter().filter(|role| self.authority.may_grant(role)).map(RoleRow::id).collect())
    }

    /// Makes an account.
    pub async fn create(&self, new: NewUser, now: OffsetDateTime) -> Result<CreatedUser, ErrorBody> {
        let username = check_username(&new.username)?;
        let display_name = check_display_name(new.display_name.as_deref().unwrap_or(username))?;
        let email = check_email(new.email.as_deref().unwrap_or_default())?;
        let roles = self.roles_to_give(new.roles.as_deref()).await?;
        let organization = &self.caller.organization;
        let (hash, password) = match new.password {
            Some(password) => {
                let known = [username, display_name, email.unwrap_or_default(), &organization.name];
                (self.accounts.passwords().hash_chosen(password, &known).await?, None)
            }
            None => {
                let password = new_password();
                (self.accounts.passwords().hash(password.expose().into()).await?, Some(password))
            }
        };
        let names: Vec<&str> = roles.iter().map(|role| role.name.as_str()).collect();
        let ids: Vec<RoleId> = roles.iter().map(RoleRow::id).collect();
        let resource = format!("user:{username}");
        let audit = self.audit("user_created", &resource, json!({ "roles": names }));
        let user = store::NewUser {
            organization: organization.id,
            username,
            display_name,
            email,
            password_hash: &hash,
            active: true,
            created_via: "admin",
            roles: &ids,
        };
        let mut transaction = self.accounts.store().begin().await?;
        let id = match transaction.create_user(user, &audit, now).await {
            Err(StoreError::Duplicate) => return Err(taken(username)),
            other => other?,
        };
        transaction.commit().await?;
        // Not read again: that could fail, and nobody would ever know the password.
        let user = User {
            id,
            username: username.to_owned(),
            display_name: display_name.to_owned(),
            email: email.map(str::to_owned),
            active: true,
            manageable: self.authority.may_manage(&roles),
            roles: roles.iter().map(summary).collect(),
            created_via: "admin".to_owned(),
            created_at: now,
            last_login: None,
            locked_until: None,
        };
        Ok(CreatedUser { user, password })
    }

    /// Changes an account, disables it or lets it in again.
    pub async fn change(
        &self,
        id: UserId,
        change: UserChange,
        now: OffsetDateTime,
    ) -> Result<User, ErrorBody> {
        let (row, roles) = self.find(id).await?;
        self.require_manageable(&row, &roles)?;
        let display_name = match &change.display_name {
            Some(name) => check_display_name(name)?,
            None => &row.display_name,
        };
        let email = match &change.email {
            Some(email) => check_email(email)?,
            None => row.email.as_deref(),
        };
        let resource = format!("user:{}", row.username);
        let mut transaction = self.accounts.store().begin().await?;
        if display_name != row.display_name || email != row.email.as_deref() {
            transaction.update_profile(id, display_name, email, now).await?;
            let details = json!({ "display_name": display_name, "email": email });
            transaction.audit(&self.audit("user_changed", &resource, details), now).await?;
        }
        if let Some(active) = change.active
            && let Some(ended) = set_active(&mut transaction, &row, active, now).await?
        {
            let action = if active { "user_enabled" } else { "user_disabled" };
            let details = json!({ "logins_ended": ended });
            transaction.audit(&self.audit(action, &resource, details), now).await?;
        }
        transaction.commit().await?;
        self.accounts.tell_revoked();
        let mut changed = row.clone();
        display_name.clone_into(&mut changed.display_name);
        changed.email = email.map(str::to_owned);
        changed.active = change.active.unwrap_or(row.active);
        Ok(self.user(changed, &roles))
    }

    /// Gives an account another password, ends its logins and lifts a lock.
    pub async fn reset_password(
        &self,
        id: UserId,
        reset: ResetPassword,
        now: OffsetDateTime,
    ) -> Result<PasswordReset, ErrorBody> {
        let (row, roles) = self.find(id).await?;
        self.require_manageable(&row, &roles)?;
        let (hash, password) = match reset.password {
            Some(chosen) => {
                (self.accounts.hash_for(chosen, &row, &self.caller.organization.name).await?, None)
            }
            None => {
                let password = new_password();
                (self.accounts.passwords().hash(password.expose().into()).await?, Some(password))
            }
        };
        let mut transaction = self.accounts.store().begin().await?;
        if !transaction.set_password(id, &hash, now).await? {
            return Err(unknown());
        }
        let ended = transaction.revoke_logins(id, None, "password_reset", now).await?;
        let resource = format!("user:{}", row.username);
        let details = json!({ "logins_ended": ended });
        transaction.audit(&self.audit("password_reset", &resource, details), now).await?;
        transaction.commit().await?;
        self.accounts.tell_revoked();
        Ok(PasswordReset { password })
    }

    /// Writes down that the list of accounts left the server.
    pub async fn note_export(&self, now: OffsetDateTime) -> Result<(), ErrorBody> {
        let mut transaction = self.accounts.store().begin().await?;
        transaction.audit(&self.audit("users_exported", "users", json!({})), now).await?;
        transaction.commit().await?;
        Ok(())
    }

    /// The roles of a new account: those asked for, if the caller may give each, or Member.
    async fn roles_to_give(&self, asked: Option<&[RoleId]>) -> Result<Vec<RoleRow>, ErrorBody> {
        let roles = self.accounts.store().roles_in(self.caller.organization.id).await?;
        let Some(asked) = asked else {
            let member = |role: &RoleRow| role.name == MEMBER_ROLE && self.authority.may_grant(role);
            return Ok(roles.into_iter().filter(member).collect());
        };
        if let Some(missing) = asked.iter().find(|id| roles.iter().all(|role| role.id() != **id)) {
            let message = format!("roles: there is no role {missing} in this organization");
            return Err(ErrorBody::new(ErrorCode::InvalidField, message));
        }
        let roles: Vec<RoleRow> = roles.into_iter().filter(|role| asked.contains(&role.id())).collect();
        if let Some(above) = roles.iter().find(|role| !self.authority.may_grant(role)) {
            let message = format!(
                "you may not give the role {}: it is not below your own, or holds what you do not",
                above.name
            );
            return Err(ErrorBody::new(ErrorCode::PermissionDenied, message));
        }
        Ok(roles)
    }

    async fn find(&self, id: UserId) -> Result<(UserRow, Vec<RoleRow>), ErrorBody> {
        let store = self.accounts.store();
        let row = store.user(id).await?.filter(|row| row.organization() == self.caller.organization.id);
        let row = row.ok_or_else(unknown)?;
        Ok((row, store.roles_of(id).await?))
    }

    fn require_manageable(&self, row: &UserRow, roles: &[RoleRow]) -> Result<(), ErrorBody> {
        if self.manageable(row, roles) {
            return Ok(());
        }
        let message = if row.id() == self.caller.account.id {
            "this is your own account: change it on your account's page"
        } else {
            "you may not change this account: it is the owner's, or its highest role is not below your own"
        };
        Err(ErrorBody::new(ErrorCode::PermissionDenied, message))
    }

    fn manageable(&self, row: &UserRow, roles: &[RoleRow]) -> bool {
        let untouchable = [Some(self.caller.account.id), self.caller.owner];
        !untouchable.contains(&Some(row.id())) && self.authority.may_manage(roles)
    }

    fn user(&self, row: UserRow, roles: &[RoleRow]) -> User {
        let utc = |time: OffsetDateTime| time.to_offset(UtcOffset::UTC);
        User {
            id: row.id(),
            manageable: self.manageable(&row, roles),
            roles: roles.iter().map(summary).collect(),
            username: row.username,
            display_name: row.display_name,
            email: row.email,
            active: row.active,
            created_via: row.created_via,
            created_at: utc(row.created_at),
            last_login: row.last_login.map(utc),
            locked_until: row.locked_until.map(utc),
        }
    }

    fn audit<'b>(&'b self, action: &'b str, resource: &'b str, details: serde_json::Value) -> AuditEntry<'b> {
        AuditEntry {
            organization: Some(self.caller.organization.id),
            actor: Some(self.caller.account.id),
            action,
            resource,
            details,
            ip_address: self.address.as_deref(),
        }
    }
}

fn unknown() -> ErrorBody {
    ErrorBody::new(ErrorCode::UnknownUser, "there is no such account in your organization")
}

fn summary(role: &RoleRow) -> RoleSummary {
    RoleSummary { id: role.id(), name: role.name.clone() }
}

/// Lets an account log in again, or disables it and ends its logins: how many. None where nothing changes. The last
/// administrator stays.
pub async fn set_active(
    transaction: &mut Transaction,
    row: &UserRow,
    active: bool,
    now: OffsetDateTime,
) -> Result<Option<u64>, ErrorBody> {
    const ADMINISTRATOR: Permissions = Permissions::ADMINISTRATOR;
    let organization = row.organization();
    // Of two that are disabled at once, the second waits here, and then counts without the first.
    transaction.lock_organization(organization).await?;
    let before = transaction.holders_but(organization, ADMINISTRATOR, UserId(0)).await?;
    if !transaction.set_active(row.id(), active, now).await? {
        return Ok(None);
    }
    if active {
        return Ok(Some(0));
    }
    if before > 0 && transaction.holders_but(organization, ADMINISTRATOR, UserId(0)).await? == 0 {
        let message =
            "nobody would be left who may administer the organization: make another administrator first";
        return Err(ErrorBody::new(ErrorCode::LastAdministrator, message));
    }
    Ok(Some(transaction.revoke_logins(row.id(), None, "user_disabled", now).await?))
}
