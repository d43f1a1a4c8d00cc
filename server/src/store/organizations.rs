//! Organizations.

use time::OffsetDateTime;
use voip_protocol::OrganizationId;

use super::{Store, StoreError, on};

/// A row of `organizations`.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct OrganizationRow {
    id: i64,
    /// Name.
    pub name: String,
    /// Short unique name.
    pub tag: String,
    /// Most users it may have.
    pub max_users: i64,
    /// Most channels it may have.
    pub max_channels: i64,
}

impl OrganizationRow {
    /// Row id.
    pub fn id(&self) -> OrganizationId {
        OrganizationId(self.id)
    }
}

/// Quotas of an organization that nothing else was said about.
const DEFAULT_MAX_USERS: i64 = 1_000;
const DEFAULT_MAX_CHANNELS: i64 = 1_000;

impl Store {
    /// Adds an organization without users.
    pub async fn create_organization(
        &self,
        name: &str,
        tag: &str,
        now: OffsetDateTime,
    ) -> Result<OrganizationId, StoreError> {
        const SQL: &str =
            "INSERT INTO organizations (name, tag, tag_key, max_users, max_channels, created_at, updated_at)
            VALUES ($1, $2, $3, $4, $5, $6, $6) RETURNING id";
        let id: i64 = on!(self, pool => sqlx::query_scalar::<Db, i64>(SQL)
            .bind(name).bind(tag).bind(tag.to_lowercase()).bind(DEFAULT_MAX_USERS).bind(DEFAULT_MAX_CHANNELS).bind(now)
            .fetch_one(pool).await)?;
        Ok(OrganizationId(id))
    }

    /// Makes a user the owner.
    pub async fn set_owner(
        &self,
        id: OrganizationId,
        owner: voip_protocol::UserId,
    ) -> Result<(), StoreError> {
        on!(self, pool => { sqlx::query::<Db>("UPDATE organizations SET owner_id = $2 WHERE id = $1")
            .bind(id.0).bind(owner.0).execute(pool).await?; });
        Ok(())
    }

    /// All organizations, in the order of their ids.
    pub async fn organizations(&self) -> Result<Vec<OrganizationRow>, StoreError> {
        const SQL: &str = "SELECT id, name, tag, max_users, max_channels FROM organizations ORDER BY id";
        Ok(on!(self, pool => sqlx::query_as::<Db, OrganizationRow>(SQL).fetch_all(pool).await)?)
    }

    /// The organization with this tag, whatever its case.
    pub async fn organization_by_tag(&self, tag: &str) -> Result<Option<OrganizationRow>, StoreError> {
        const SQL: &str =
            "SELECT id, name, tag, max_users, max_channels FROM organizations WHERE tag_key = $1";
        Ok(on!(self, pool => sqlx::query_as::<Db, OrganizationRow>(SQL)
            .bind(tag.to_lowercase()).fetch_optional(pool).await)?)
    }
}
