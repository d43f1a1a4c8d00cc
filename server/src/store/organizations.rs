//! Organizations and their quotas.

use time::OffsetDateTime;
use voip_protocol::{OrganizationId, UserId};

use super::{Store, StoreError, Transaction, at::At, on, statements::declare, transaction::within};

/// A row of `organizations`.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct OrganizationRow {
    id: i64,
    /// Name.
    pub name: String,
    /// Short unique name.
    pub tag: String,
    owner_id: Option<i64>,
    /// Most accounts it may have, members from elsewhere among them.
    pub max_users: i64,
    /// Most channels it may have.
    pub max_channels: i64,
}

impl OrganizationRow {
    /// Row id.
    pub fn id(&self) -> OrganizationId {
        OrganizationId(self.id)
    }

    /// Whose it is.
    pub fn owner(&self) -> Option<UserId> {
        self.owner_id.map(UserId)
    }
}

impl OrganizationRow {
    fn inline(row: &rusqlite::Row) -> rusqlite::Result<Self> {
        Ok(Self {
            id: row.get("id")?,
            name: row.get("name")?,
            tag: row.get("tag")?,
            owner_id: row.get("owner_id")?,
            max_users: row.get("max_users")?,
            max_channels: row.get("max_channels")?,
        })
    }
}

/// Quotas of an organization that nothing else was said about.
pub const DEFAULT_MAX_USERS: i64 = 1_000;
/// Quotas of an organization that nothing else was said about.
pub const DEFAULT_MAX_CHANNELS: i64 = 1_000;

declare! {
    INSERT = "INSERT INTO organizations (name, tag, tag_key, max_users, max_channels, created_at, updated_at)
        VALUES ($1, $2, $3, $4, $5, $6, $6) RETURNING id";
    UPDATE = "UPDATE organizations SET name = $2, tag = $3, tag_key = $4, max_users = $5, max_channels = $6,
        updated_at = $7 WHERE id = $1";
    SET_OWNER = "UPDATE organizations SET owner_id = $2 WHERE id = $1";
    DELETE = "DELETE FROM organizations WHERE id = $1";
    // Whoever counts in an organization holds its row until the end of the transaction: so nobody else counts the
    // same free place, or the same last administrator.
    LOCK = "UPDATE organizations SET max_users = max_users WHERE id = $1 RETURNING max_users, max_channels";
    BY_ID = "SELECT id, name, tag, owner_id, max_users, max_channels FROM organizations WHERE id = $1";
    BY_TAG = "SELECT id, name, tag, owner_id, max_users, max_channels FROM organizations WHERE tag_key = $1";
    ALL = "SELECT id, name, tag, owner_id, max_users, max_channels FROM organizations ORDER BY id";
    PAGE = "SELECT id, name, tag, owner_id, max_users, max_channels FROM organizations WHERE id > $1
        ORDER BY id LIMIT $2";
}

/// What may be changed of an organization.
#[derive(Clone, Copy)]
pub struct OrganizationFields<'a> {
    /// Name.
    pub name: &'a str,
    /// Short name, unique whatever its case.
    pub tag: &'a str,
    /// Most accounts it may have.
    pub max_users: i64,
    /// Most channels it may have.
    pub max_channels: i64,
}

impl<'a> OrganizationFields<'a> {
    /// With the default quotas.
    pub fn new(name: &'a str, tag: &'a str) -> Self {
        Self { name, tag, max_users: DEFAULT_MAX_USERS, max_channels: DEFAULT_MAX_CHANNELS }
    }
}

impl Transaction {
    /// Adds an organization without users.
    pub async fn create_organization(
        &mut self,
        organization: OrganizationFields<'_>,
        now: OffsetDateTime,
    ) -> Result<OrganizationId, StoreError> {
        let id: i64 = within!(self, connection => sqlx::query_scalar::<Db, i64>(INSERT)
            .bind(organization.name)
            .bind(organization.tag)
            .bind(organization.tag.to_lowercase())
            .bind(organization.max_users)
            .bind(organization.max_channels)
            .bind(At(now))
            .fetch_one(connection)
            .await)?;
        Ok(OrganizationId(id))
    }

    /// Changes an organization; false where there is none.
    pub async fn update_organization(
        &mut self,
        id: OrganizationId,
        fields: OrganizationFields<'_>,
        now: OffsetDateTime,
    ) -> Result<bool, StoreError> {
        let done = within!(self, connection => sqlx::query::<Db>(UPDATE)
            .bind(id.0)
            .bind(fields.name)
            .bind(fields.tag)
            .bind(fields.tag.to_lowercase())
            .bind(fields.max_users)
            .bind(fields.max_channels)
            .bind(At(now))
            .execute(connection)
            .await
            .map(|done| done.rows_affected()))?;
        Ok(done > 0)
    }

    /// Makes a user the owner.
    pub async fn set_owner(&mut self, id: OrganizationId, owner: UserId) -> Result<(), StoreError> {
        within!(self, connection => sqlx::query::<Db>(SET_OWNER)
            .bind(id.0).bind(owner.0).execute(connection).await.map(drop))?;
        Ok(())
    }

    /// Deletes an organization and all that is in it; false where there is none.
    pub async fn delete_organization(&mut self, id: OrganizationId) -> Result<bool, StoreError> {
        let done = within!(self, connection => sqlx::query::<Db>(DELETE)
            .bind(id.0).execute(connection).await.map(|done| done.rows_affected()))?;
        Ok(done > 0)
    }

    /// Holds an organization's row until the end of the transaction; its quotas: users, channels.
    pub(crate) async fn lock_organization(&mut self, id: OrganizationId) -> Result<(i64, i64), StoreError> {
        let quotas = within!(self, connection => sqlx::query_as::<Db, (i64, i64)>(LOCK)
            .bind(id.0).fetch_optional(connection).await)?;
        quotas.ok_or(StoreError::MissingParent)
    }
}

impl Store {
    /// The organization with this id.
    pub async fn organization(&self, id: OrganizationId) -> Result<Option<OrganizationRow>, StoreError> {
        Ok(
            on!(self, pool => sqlx::query_as::<Db, OrganizationRow>(BY_ID).bind(id.0).fetch_optional(pool).await)?,
        )
    }

    /// The organization with this tag, whatever its case.
    pub async fn organization_by_tag(&self, tag: &str) -> Result<Option<OrganizationRow>, StoreError> {
        let tag_key = tag.to_lowercase();
        if let Some(inline) = self.inline()
            && let Some(mut rows) = inline.query(BY_TAG, &[&tag_key], OrganizationRow::inline)
        {
            return Ok(rows.pop());
        }
        Ok(on!(self, pool => sqlx::query_as::<Db, OrganizationRow>(BY_TAG)
            .bind(tag_key).fetch_optional(pool).await)?)
    }

    /// All organizations, in the order of their ids.
    pub async fn organizations(&self) -> Result<Vec<OrganizationRow>, StoreError> {
        if let Some(inline) = self.inline()
            && let Some(rows) = inline.query(ALL, &[], OrganizationRow::inline)
        {
            return Ok(rows);
        }
        Ok(on!(self, pool => sqlx::query_as::<Db, OrganizationRow>(ALL).fetch_all(pool).await)?)
    }

    /// The organizations after an id.
    pub async fn organizations_page(
        &self,
        after: OrganizationId,
        most: u32,
    ) -> Result<Vec<OrganizationRow>, StoreError> {
        Ok(on!(self, pool => sqlx::query_as::<Db, OrganizationRow>(PAGE)
            .bind(after.0).bind(i64::from(most)).fetch_all(pool).await)?)
    }
}
