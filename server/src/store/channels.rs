//! Channels and their ACL.

use voip_protocol::{ChannelId, OrganizationId, Permissions, RoleId};

use super::{Store, StoreError, on};

/// A row of `channels`.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct ChannelRow {
    id: i64,
    org_id: i64,
    parent_id: Option<i64>,
    /// Name.
    pub name: String,
    /// What it is for.
    pub description: String,
    max_users: Option<i64>,
    /// Place among its siblings.
    pub position: i64,
}

impl ChannelRow {
    /// Row id.
    pub fn id(&self) -> ChannelId {
        ChannelId(self.id)
    }

    /// The organization it is of.
    pub fn organization(&self) -> OrganizationId {
        OrganizationId(self.org_id)
    }

    /// The channel it lies in.
    pub fn parent(&self) -> Option<ChannelId> {
        self.parent_id.map(ChannelId)
    }

    /// How many may be in it.
    pub fn max_users(&self) -> Option<u32> {
        self.max_users.map(|most| u32::try_from(most.max(0)).unwrap_or(u32::MAX))
    }
}

/// A row of `channel_acl`.
#[derive(Clone, Copy, Debug, sqlx::FromRow)]
pub struct AclRow {
    channel_id: i64,
    role_id: i64,
    allow: i64,
    deny: i64,
}

impl AclRow {
    /// Where it holds, and in all channels below.
    pub fn channel(&self) -> ChannelId {
        ChannelId(self.channel_id)
    }

    /// Whom it is about.
    pub fn role(&self) -> RoleId {
        RoleId(self.role_id)
    }

    /// What it gives.
    pub fn allow(&self) -> Permissions {
        Permissions::from_bits_truncate(self.allow as u32)
    }

    /// What it takes.
    pub fn deny(&self) -> Permissions {
        Permissions::from_bits_truncate(self.deny as u32)
    }
}

/// A channel to be.
#[derive(Clone, Copy)]
pub struct NewChannel<'a> {
    /// Its organization.
    pub organization: OrganizationId,
    /// The channel it lies in.
    pub parent: Option<ChannelId>,
    /// Name.
    pub name: &'a str,
    /// What it is for.
    pub description: &'a str,
    /// How many may be in it.
    pub max_users: Option<u32>,
    /// Place among its siblings.
    pub position: i64,
}

impl Store {
    /// Adds a channel.
    pub async fn create_channel(&self, channel: NewChannel<'_>) -> Result<ChannelId, StoreError> {
        const SQL: &str = "INSERT INTO channels (org_id, parent_id, name, description, max_users, position)
            VALUES ($1, $2, $3, $4, $5, $6) RETURNING id";
        let id: i64 = on!(self, pool => sqlx::query_scalar::<Db, i64>(SQL)
            .bind(channel.organization.0).bind(channel.parent.map(|parent| parent.0)).bind(channel.name)
            .bind(channel.description).bind(channel.max_users.map(i64::from)).bind(channel.position)
            .fetch_one(pool).await)?;
        Ok(ChannelId(id))
    }

    /// All channels of all organizations, siblings in their order.
    pub async fn channels(&self) -> Result<Vec<ChannelRow>, StoreError> {
        const SQL: &str = "SELECT id, org_id, parent_id, name, description, max_users, position FROM channels
            ORDER BY org_id, position, id";
        Ok(on!(self, pool => sqlx::query_as::<Db, ChannelRow>(SQL).fetch_all(pool).await)?)
    }

    /// Allows and denies permissions for a role in a channel and below it.
    pub async fn set_acl(
        &self,
        channel: ChannelId,
        role: RoleId,
        allow: Permissions,
        deny: Permissions,
    ) -> Result<(), StoreError> {
        const SQL: &str = "INSERT INTO channel_acl (channel_id, role_id, allow, deny) VALUES ($1, $2, $3, $4)
            ON CONFLICT (channel_id, role_id) DO UPDATE SET allow = excluded.allow, deny = excluded.deny";
        on!(self, pool => { sqlx::query::<Db>(SQL)
            .bind(channel.0).bind(role.0).bind(i64::from(allow.bits())).bind(i64::from(deny.bits()))
            .execute(pool).await?; });
        Ok(())
    }

    /// All ACL entries of all organizations.
    pub async fn acl(&self) -> Result<Vec<AclRow>, StoreError> {
        const SQL: &str =
            "SELECT channel_id, role_id, allow, deny FROM channel_acl ORDER BY channel_id, role_id";
        Ok(on!(self, pool => sqlx::query_as::<Db, AclRow>(SQL).fetch_all(pool).await)?)
    }
}
