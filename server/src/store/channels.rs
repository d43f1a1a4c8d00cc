//! Channels and their ACL.

use voip_protocol::{ChannelId, OrganizationId, Permissions, RoleId};

use super::{Store, StoreError, Transaction, on, statements::declare, transaction::within};

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
    /// Vanishes when the last one leaves.
    pub temporary: bool,
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

/// What a channel is.
#[derive(Clone, Copy, Default)]
pub struct ChannelFields<'a> {
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
    /// Vanishes when the last one leaves.
    pub temporary: bool,
}

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT id, org_id, parent_id, name, description, max_users, position, temporary FROM channels ",
            $rest
        )
    };
}

declare! {
    // The parent must be of the same organization.
    INSERT = "INSERT INTO channels (org_id, parent_id, name, description, max_users, position, temporary)
        SELECT organizations.id, CAST($2 AS BIGINT), CAST($3 AS TEXT), CAST($4 AS TEXT), CAST($5 AS BIGINT),
            CAST($6 AS BIGINT), CAST($7 AS BOOLEAN)
        FROM organizations WHERE organizations.id = $1 AND (CAST($2 AS BIGINT) IS NULL
            OR EXISTS (SELECT 1 FROM channels WHERE channels.id = $2 AND channels.org_id = $1))
        RETURNING id";
    COUNT = "SELECT COUNT(*) FROM channels WHERE org_id = $1";
    UPDATE = "UPDATE channels SET parent_id = $2, name = $3, description = $4, max_users = $5, position = $6,
        temporary = $7 WHERE id = $1";
    DELETE = "DELETE FROM channels WHERE id = $1";
    SET_ACL = "INSERT INTO channel_acl (channel_id, role_id, allow, deny) VALUES ($1, $2, $3, $4)
        ON CONFLICT (channel_id, role_id) DO UPDATE SET allow = excluded.allow, deny = excluded.deny";
    REMOVE_ACL = "DELETE FROM channel_acl WHERE channel_id = $1 AND role_id = $2";
    BY_ID = select!("WHERE id = $1");
    OF_ORGANIZATION = select!("WHERE org_id = $1 ORDER BY position, id");
    PAGE = select!("WHERE org_id = $1 AND id > $2 ORDER BY id LIMIT $3");
    ALL = select!("ORDER BY org_id, position, id");
    ACL_OF = "SELECT channel_id, role_id, allow, deny FROM channel_acl WHERE channel_id = $1 ORDER BY role_id";
    ACL_ALL = "SELECT channel_id, role_id, allow, deny FROM channel_acl ORDER BY channel_id, role_id";
}

impl Transaction {
    /// Adds a channel, within the organization's quota.
    pub async fn create_channel(
        &mut self,
        organization: OrganizationId,
        channel: ChannelFields<'_>,
    ) -> Result<ChannelId, StoreError> {
        let (_, max_channels) = self.lock_organization(organization).await?;
        let there: i64 = within!(self, connection => sqlx::query_scalar::<Db, i64>(COUNT)
            .bind(organization.0).fetch_one(connection).await)?;
        if there >= max_channels {
            return Err(StoreError::Quota { what: "channels", most: max_channels });
        }
        let id: Option<i64> = within!(self, connection => sqlx::query_scalar::<Db, i64>(INSERT)
            .bind(organization.0)
            .bind(channel.parent.map(|parent| parent.0))
            .bind(channel.name)
            .bind(channel.description)
            .bind(channel.max_users.map(i64::from))
            .bind(channel.position)
            .bind(channel.temporary)
            .fetch_optional(connection)
            .await)?;
        id.map(ChannelId).ok_or(StoreError::MissingParent)
    }

    /// Changes a channel; false where there is none. That the tree stays one is the caller's business.
    pub async fn update_channel(
        &mut self,
        id: ChannelId,
        fields: ChannelFields<'_>,
    ) -> Result<bool, StoreError> {
        let done = within!(self, connection => sqlx::query::<Db>(UPDATE)
            .bind(id.0)
            .bind(fields.parent.map(|parent| parent.0))
            .bind(fields.name)
            .bind(fields.description)
            .bind(fields.max_users.map(i64::from))
            .bind(fields.position)
            .bind(fields.temporary)
            .execute(connection)
            .await
            .map(|done| done.rows_affected()))?;
        Ok(done > 0)
    }

    /// Deletes a channel and all below it; false where there is none.
    pub async fn delete_channel(&mut self, id: ChannelId) -> Result<bool, StoreError> {
        let done = within!(self, connection => sqlx::query::<Db>(DELETE)
            .bind(id.0).execute(connection).await.map(|done| done.rows_affected()))?;
        Ok(done > 0)
    }

    /// Allows and denies permissions for a role in a channel and below it.
    pub async fn set_acl(
        &mut self,
        channel: ChannelId,
        role: RoleId,
        allow: Permissions,
        deny: Permissions,
    ) -> Result<(), StoreError> {
        within!(self, connection => sqlx::query::<Db>(SET_ACL)
            .bind(channel.0).bind(role.0).bind(i64::from(allow.bits())).bind(i64::from(deny.bits()))
            .execute(connection).await.map(drop))?;
        Ok(())
    }

    /// Takes away what a channel says about a role; false where it says nothing.
    pub async fn remove_acl(&mut self, channel: ChannelId, role: RoleId) -> Result<bool, StoreError> {
        let done = within!(self, connection => sqlx::query::<Db>(REMOVE_ACL)
            .bind(channel.0).bind(role.0).execute(connection).await.map(|done| done.rows_affected()))?;
        Ok(done > 0)
    }
}

impl Store {
    /// The channel with this id.
    pub async fn channel(&self, id: ChannelId) -> Result<Option<ChannelRow>, StoreError> {
        Ok(on!(self, pool => sqlx::query_as::<Db, ChannelRow>(BY_ID).bind(id.0).fetch_optional(pool).await)?)
    }

    /// The channels of an organization, siblings in their order.
    pub async fn channels_in(&self, organization: OrganizationId) -> Result<Vec<ChannelRow>, StoreError> {
        Ok(on!(self, pool => sqlx::query_as::<Db, ChannelRow>(OF_ORGANIZATION)
            .bind(organization.0).fetch_all(pool).await)?)
    }

    /// The channels of an organization after an id, in the order of their ids.
    pub async fn channels_page(
        &self,
        organization: OrganizationId,
        after: ChannelId,
        most: u32,
    ) -> Result<Vec<ChannelRow>, StoreError> {
        Ok(on!(self, pool => sqlx::query_as::<Db, ChannelRow>(PAGE)
            .bind(organization.0).bind(after.0).bind(i64::from(most)).fetch_all(pool).await)?)
    }

    /// All channels of all organizations, siblings in their order.
    pub async fn channels(&self) -> Result<Vec<ChannelRow>, StoreError> {
        Ok(on!(self, pool => sqlx::query_as::<Db, ChannelRow>(ALL).fetch_all(pool).await)?)
    }

    /// What a channel itself says.
    pub async fn acl_of(&self, channel: ChannelId) -> Result<Vec<AclRow>, StoreError> {
        Ok(on!(self, pool => sqlx::query_as::<Db, AclRow>(ACL_OF).bind(channel.0).fetch_all(pool).await)?)
    }

    /// All ACL entries of all organizations.
    pub async fn acl(&self) -> Result<Vec<AclRow>, StoreError> {
        Ok(on!(self, pool => sqlx::query_as::<Db, AclRow>(ACL_ALL).fetch_all(pool).await)?)
    }
}
