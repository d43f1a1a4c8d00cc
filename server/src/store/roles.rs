//! Roles and who holds them.

use voip_protocol::{OrganizationId, Permissions, RoleId, UserId};

use super::{Store, StoreError, on};

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
}

impl Store {
    /// Adds a role.
    pub async fn create_role(
        &self,
        organization: OrganizationId,
        name: &str,
        permissions: Permissions,
        priority: i64,
    ) -> Result<RoleId, StoreError> {
        const SQL: &str =
            "INSERT INTO roles (org_id, name, permissions, priority) VALUES ($1, $2, $3, $4) RETURNING id";
        let id: i64 = on!(self, pool => sqlx::query_scalar::<Db, i64>(SQL)
            .bind(organization.0).bind(name).bind(i64::from(permissions.bits())).bind(priority)
            .fetch_one(pool).await)?;
        Ok(RoleId(id))
    }

    /// All roles of all organizations, highest priority first.
    pub async fn roles(&self) -> Result<Vec<RoleRow>, StoreError> {
        const SQL: &str =
            "SELECT id, org_id, name, permissions, priority FROM roles ORDER BY priority DESC, id";
        Ok(on!(self, pool => sqlx::query_as::<Db, RoleRow>(SQL).fetch_all(pool).await)?)
    }

    /// The roles of one account, highest priority first.
    pub async fn roles_of(&self, user: UserId) -> Result<Vec<RoleRow>, StoreError> {
        const SQL: &str = "SELECT roles.id, org_id, name, permissions, priority FROM roles
            JOIN user_roles ON user_roles.role_id = roles.id WHERE user_roles.user_id = $1
            ORDER BY priority DESC, roles.id";
        Ok(on!(self, pool => sqlx::query_as::<Db, RoleRow>(SQL).bind(user.0).fetch_all(pool).await)?)
    }

    /// The role of this name in an organization.
    pub async fn role_by_name(
        &self,
        organization: OrganizationId,
        name: &str,
    ) -> Result<Option<RoleRow>, StoreError> {
        const SQL: &str =
            "SELECT id, org_id, name, permissions, priority FROM roles WHERE org_id = $1 AND name = $2";
        Ok(on!(self, pool => sqlx::query_as::<Db, RoleRow>(SQL)
            .bind(organization.0).bind(name).fetch_optional(pool).await)?)
    }
}
