//! Membership in organizations beyond one's own.

use voip_protocol::{OrganizationId, UserId};

use super::{Store, StoreError, Transaction, on, statements::declare, transaction::within};

declare! {
    INSERT = "INSERT INTO user_organizations (user_id, org_id) VALUES ($1, $2)";
    DELETE = "DELETE FROM user_organizations WHERE user_id = $1 AND org_id = $2";
    ROLES_DELETE = "DELETE FROM user_roles WHERE user_id = $1
        AND role_id IN (SELECT id FROM roles WHERE org_id = $2)";
    OF_USER = "SELECT org_id FROM user_organizations WHERE user_id = $1 ORDER BY org_id";
    OF_ORGANIZATION = "SELECT user_id FROM user_organizations WHERE org_id = $1 AND user_id > $2
        ORDER BY user_id LIMIT $3";
}

impl Transaction {
    /// Makes an account a member of another organization, within that one's quota.
    pub async fn add_membership(
        &mut self,
        user: UserId,
        organization: OrganizationId,
    ) -> Result<(), StoreError> {
        self.take_place_for_user(organization).await?;
        within!(self, connection => sqlx::query::<Db>(INSERT)
            .bind(user.0).bind(organization.0).execute(connection).await.map(drop))?;
        Ok(())
    }

    /// Ends a membership and takes the roles that came with it; false where there is none.
    pub async fn remove_membership(
        &mut self,
        user: UserId,
        organization: OrganizationId,
    ) -> Result<bool, StoreError> {
        let done = within!(self, connection => sqlx::query::<Db>(DELETE)
            .bind(user.0).bind(organization.0).execute(connection).await.map(|done| done.rows_affected()))?;
        if done > 0 {
            within!(self, connection => sqlx::query::<Db>(ROLES_DELETE)
                .bind(user.0).bind(organization.0).execute(connection).await.map(drop))?;
        }
        Ok(done > 0)
    }
}

impl Store {
    /// The organizations that an account is a member of beyond its own.
    pub async fn memberships_of(&self, user: UserId) -> Result<Vec<OrganizationId>, StoreError> {
        let ids: Vec<i64> = on!(self, pool => sqlx::query_scalar::<Db, i64>(OF_USER)
            .bind(user.0).fetch_all(pool).await)?;
        Ok(ids.into_iter().map(OrganizationId).collect())
    }

    /// The members that an organization has from elsewhere, after an id.
    pub async fn members_from_elsewhere(
        &self,
        organization: OrganizationId,
        after: UserId,
        most: u32,
    ) -> Result<Vec<UserId>, StoreError> {
        let ids: Vec<i64> = on!(self, pool => sqlx::query_scalar::<Db, i64>(OF_ORGANIZATION)
            .bind(organization.0).bind(after.0).bind(i64::from(most)).fetch_all(pool).await)?;
        Ok(ids.into_iter().map(UserId).collect())
    }
}
