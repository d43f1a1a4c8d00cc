//! Accounts.

use time::OffsetDateTime;
use voip_protocol::{OrganizationId, RoleId, UserId, control::Account};

use super::{AuditEntry, Store, StoreError, audit::INSERT_AUDIT, in_transaction, on};

/// A row of `users`.
#[derive(Clone, sqlx::FromRow)]
pub struct UserRow {
    id: i64,
    org_id: i64,
    /// User name as its owner writes it.
    pub username: String,
    /// How others see it.
    pub display_name: String,
    /// Argon2id, PHC string.
    pub password_hash: String,
    /// May log in.
    pub active: bool,
}

impl UserRow {
    /// Row id.
    pub fn id(&self) -> UserId {
        UserId(self.id)
    }

    /// What others may know.
    pub fn account(&self) -> Account {
        Account {
            id: UserId(self.id),
            organization_id: OrganizationId(self.org_id),
            username: self.username.clone(),
            display_name: self.display_name.clone(),
        }
    }
}

/// An account to be.
pub struct NewUser<'a> {
    /// Home organization.
    pub organization: OrganizationId,
    /// Unique in it, whatever its case.
    pub username: &'a str,
    /// How others see it.
    pub display_name: &'a str,
    /// Argon2id, PHC string.
    pub password_hash: &'a str,
    /// What made it: `register`, `setup`, `seed`.
    pub created_via: &'a str,
    /// Its first roles.
    pub roles: &'a [RoleId],
}

impl Store {
    /// Adds an account with its roles and the audit row of it, or nothing at all.
    pub async fn create_user(
        &self,
        user: NewUser<'_>,
        audit: AuditEntry<'_>,
        now: OffsetDateTime,
    ) -> Result<UserId, StoreError> {
        const INSERT: &str = "INSERT INTO users
            (org_id, username, username_key, display_name, password_hash, created_via, password_changed_at, created_at, updated_at)
            VALUES ($1, $2, $3, $4, $5, $6, $7, $7, $7) RETURNING id";
        const ROLE: &str = "INSERT INTO user_roles (user_id, role_id) VALUES ($1, $2)";
        in_transaction!(self, transaction => {
            let id = sqlx::query_scalar::<Db, i64>(INSERT)
                .bind(user.organization.0)
                .bind(user.username)
                .bind(user.username.to_lowercase())
                .bind(user.display_name)
                .bind(user.password_hash)
                .bind(user.created_via)
                .bind(now)
                .fetch_one(&mut *transaction)
                .await?;
            for role in user.roles {
                sqlx::query::<Db>(ROLE).bind(id).bind(role.0).execute(&mut *transaction).await?;
            }
            sqlx::query::<Db>(INSERT_AUDIT)
                .bind(user.organization.0)
                .bind(id)
                .bind(audit.action)
                .bind(audit.resource)
                .bind(sqlx::types::Json(&audit.details))
                .bind(audit.ip_address)
                .bind(now)
                .execute(&mut *transaction)
                .await?;
            UserId(id)
        })
    }

    /// The account with this name in an organization, whatever the name's case.
    pub async fn user_by_name(
        &self,
        organization: OrganizationId,
        username: &str,
    ) -> Result<Option<UserRow>, StoreError> {
        const SQL: &str = "SELECT id, org_id, username, display_name, password_hash, active FROM users
            WHERE org_id = $1 AND username_key = $2";
        Ok(on!(self, pool => sqlx::query_as::<Db, UserRow>(SQL)
            .bind(organization.0).bind(username.to_lowercase()).fetch_optional(pool).await)?)
    }

    /// The account with this id.
    pub async fn user(&self, id: UserId) -> Result<Option<UserRow>, StoreError> {
        const SQL: &str =
            "SELECT id, org_id, username, display_name, password_hash, active FROM users WHERE id = $1";
        Ok(on!(self, pool => sqlx::query_as::<Db, UserRow>(SQL).bind(id.0).fetch_optional(pool).await)?)
    }

    /// Whether an organization has an account that holds one of `permissions`.
    pub async fn anybody_holds(&self, permissions: voip_protocol::Permissions) -> Result<bool, StoreError> {
        const SQL: &str = "SELECT COUNT(*) FROM users JOIN user_roles ON user_roles.user_id = users.id
            JOIN roles ON roles.id = user_roles.role_id WHERE users.active AND (roles.permissions & $1) <> 0";
        let count: i64 = on!(self, pool => sqlx::query_scalar::<Db, i64>(SQL)
            .bind(i64::from(permissions.bits())).fetch_one(pool).await)?;
        Ok(count > 0)
    }
}
