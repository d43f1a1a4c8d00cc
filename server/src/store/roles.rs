//! Roles and who holds them.

use voip_protocol::{OrganizationId, Permissions, RoleId, UserId};

use super::{Store, StoreError, Transaction, on, statements::declare, transaction::within};

/// A row of `roles`.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct RoleRow {
    id: i64,
    org_id: i64,
    /// Name, unique in its organization.
    pub name: String,
    permissions: i64,
    /// The higher, the more it has to say.
    pub priority: i64,
}

impl RoleRow {
    /// Row id.
    pub fn id(&self) -> RoleId {
        RoleId(self.id)
    }

    /// The organization it is of.
    pub fn organization(&self) -> OrganizationId {
        OrganizationId(self.org_id)
    }

    /// What it holds.
    pub fn permissions(&self) -> Permissions {
        Permissions::from_bits_truncate(self.permissions as u32)
    }

    #[cfg(test)]
    pub(crate) fn example(permissions: Permissions, priority: i64) -> Self {
        Self::from_columns(1, 1, "Example".into(), permissions.bits().into(), priority)
    }

    pub(super) fn from_columns(id: i64, org_id: i64, name: String, permissions: i64, priority: i64) -> Self {
        Self { id, org_id, name, permissions, priority }
    }
}

/// A role of an account, of several that are asked for together.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct HeldRoleRow {
    user_id: i64,
    /// The role.
    #[sqlx(flatten)]
    pub role: RoleRow,
}

impl HeldRoleRow {
    /// Who holds it.
    pub fn user(&self) -> UserId {
        UserId(self.user_id)
    }
}

declare! {
    INSERT = "INSERT INTO roles (org_id, name, permissions, priority) VALUES ($1, $2, $3, $4) RETURNING id";
    UPDATE = "UPDATE roles SET name = $2, permissions = $3, priority = $4 WHERE id = $1";
    DELETE = "DELETE FROM roles WHERE id = $1";
    GIVE = "INSERT INTO user_roles (user_id, role_id) VALUES ($1, $2) ON CONFLICT (user_id, role_id) DO NOTHING";
    TAKE = "DELETE FROM user_roles WHERE user_id = $1 AND role_id = $2";
    BY_ID = "SELECT id, org_id, name, permissions, priority FROM roles WHERE id = $1";
    BY_NAME = "SELECT id, org_id, name, permissions, priority FROM roles WHERE org_id = $1 AND name = $2";
    ALL = "SELECT id, org_id, name, permissions, priority FROM roles ORDER BY priority DESC, id";
    OF_ORGANIZATION = "SELECT id, org_id, name, permissions, priority FROM roles WHERE org_id = $1
        ORDER BY priority DESC, id";
    OF_USER = "SELECT roles.id, org_id, name, permissions, priority FROM roles
        JOIN user_roles ON user_roles.role_id = roles.id
        WHERE user_roles.user_id = $1 AND org_id = (SELECT users.org_id FROM users WHERE users.id = $1)
        ORDER BY priority DESC, roles.id";
    OF_USERS = "SELECT user_roles.user_id, roles.id, roles.org_id, name, permissions, priority FROM roles
        JOIN user_roles ON user_roles.role_id = roles.id
        WHERE roles.org_id = $1 AND user_roles.user_id BETWEEN $2 AND $3 ORDER BY priority DESC, roles.id";
    HOLDERS = "SELECT COUNT(DISTINCT users.id) FROM users JOIN user_roles ON user_roles.user_id = users.id
        JOIN roles ON roles.id = user_roles.role_id AND roles.org_id = users.org_id
        WHERE users.active AND (roles.permissions & $1) <> 0
            AND (CAST($2 AS BIGINT) IS NULL OR roles.org_id = $2)
            AND (CAST($3 AS BIGINT) IS NULL OR users.id <> $3)";
}

impl Transaction {
    /// Adds a role.
    pub async fn create_role(
        &mut self,
        organization: OrganizationId,
        name: &str,
        permissions: Permissions,
        priority: i64,
    ) -> Result<RoleId, StoreError> {
        let id: i64 = within!(self, connection => sqlx::query_scalar::<Db, i64>(INSERT)
            .bind(organization.0).bind(name).bind(i64::from(permissions.bits())).bind(priority)
            .fetch_one(connection).await)?;
        Ok(RoleId(id))
    }

    /// Changes a role; false where there is none.
    pub async fn update_role(
        &mut self,
        id: RoleId,
        name: &str,
        permissions: Permissions,
        priority: i64,
    ) -> Result<bool, StoreError> {
        let done = within!(self, connection => sqlx::query::<Db>(UPDATE)
            .bind(id.0).bind(name).bind(i64::from(permissions.bits())).bind(priority)
            .execute(connection).await.map(|done| done.rows_affected()))?;
        Ok(done > 0)
    }

    /// Deletes a role, and takes it from all who hold it; false where there is none.
    pub async fn delete_role(&mut self, id: RoleId) -> Result<bool, StoreError> {
        let done = within!(self, connection => sqlx::query::<Db>(DELETE)
            .bind(id.0).execute(connection).await.map(|done| done.rows_affected()))?;
        Ok(done > 0)
    }

    /// Gives a role; nothing changes for who holds it already.
    pub async fn give_role(&mut self, user: UserId, role: RoleId) -> Result<(), StoreError> {
        within!(self, connection => sqlx::query::<Db>(GIVE)
            .bind(user.0).bind(role.0).execute(connection).await.map(drop))?;
        Ok(())
    }

    /// Takes a role; false from who does not hold it.
    pub async fn take_role(&mut self, user: UserId, role: RoleId) -> Result<bool, StoreError> {
        let done = within!(self, connection => sqlx::query::<Db>(TAKE)
            .bind(user.0).bind(role.0).execute(connection).await.map(|done| done.rows_affected()))?;
        Ok(done > 0)
    }

    /// How many active accounts of an organization, but for one, hold a permission.
    pub async fn holders_but(
        &mut self,
        organization: OrganizationId,
        permission: Permissions,
        but: UserId,
    ) -> Result<i64, StoreError> {
        Ok(within!(self, connection => sqlx::query_scalar::<Db, i64>(HOLDERS)
            .bind(i64::from(permission.bits())).bind(Some(organization.0)).bind(Some(but.0))
            .fetch_one(connection).await)?)
    }
}

impl Store {
    /// The role with this id.
    pub async fn role(&self, id: RoleId) -> Result<Option<RoleRow>, StoreError> {
        Ok(on!(self, pool => sqlx::query_as::<Db, RoleRow>(BY_ID).bind(id.0).fetch_optional(pool).await)?)
    }

    /// The role of this name in an organization.
    pub async fn role_by_name(
        &self,
        organization: OrganizationId,
        name: &str,
    ) -> Result<Option<RoleRow>, StoreError> {
        Ok(on!(self, pool => sqlx::query_as::<Db, RoleRow>(BY_NAME)
            .bind(organization.0).bind(name).fetch_optional(pool).await)?)
    }

    /// All roles of all organizations, highest priority first.
    pub async fn roles(&self) -> Result<Vec<RoleRow>, StoreError> {
        Ok(on!(self, pool => sqlx::query_as::<Db, RoleRow>(ALL).fetch_all(pool).await)?)
    }

    /// The roles of an organization, highest priority first.
    pub async fn roles_in(&self, organization: OrganizationId) -> Result<Vec<RoleRow>, StoreError> {
        Ok(on!(self, pool => sqlx::query_as::<Db, RoleRow>(OF_ORGANIZATION)
            .bind(organization.0).fetch_all(pool).await)?)
    }

    /// The roles of one account in its own organization, highest priority first.
    pub async fn roles_of(&self, user: UserId) -> Result<Vec<RoleRow>, StoreError> {
        Ok(on!(self, pool => sqlx::query_as::<Db, RoleRow>(OF_USER).bind(user.0).fetch_all(pool).await)?)
    }

    /// The roles that the accounts from one id to another hold in an organization, highest priority first.
    pub async fn roles_of_users(
        &self,
        organization: OrganizationId,
        first: UserId,
        last: UserId,
    ) -> Result<Vec<HeldRoleRow>, StoreError> {
        Ok(on!(self, pool => sqlx::query_as::<Db, HeldRoleRow>(OF_USERS)
            .bind(organization.0).bind(first.0).bind(last.0).fetch_all(pool).await)?)
    }

    /// Whether any active account of any organization holds one of these permissions.
    pub async fn anybody_holds(&self, permissions: Permissions) -> Result<bool, StoreError> {
        let count: i64 = on!(self, pool => sqlx::query_scalar::<Db, i64>(HOLDERS)
            .bind(i64::from(permissions.bits())).bind(None::<i64>).bind(None::<i64>).fetch_one(pool).await)?;
        Ok(count > 0)
    }
}
