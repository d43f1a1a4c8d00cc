//! Logins.

use time::OffsetDateTime;
use uuid::Uuid;
use voip_protocol::{OrganizationId, UserId};

use super::{AuditEntry, Store, StoreError, audit::INSERT_AUDIT, in_transaction, on};

/// A login to be.
pub struct NewSession<'a> {
    /// Key.
    pub id: Uuid,
    /// Whose.
    pub user: UserId,
    /// The account's organization.
    pub organization: OrganizationId,
    /// Id of the access token.
    pub access_jti: Uuid,
    /// From where.
    pub ip_address: Option<&'a str>,
    /// With what.
    pub user_agent: Option<&'a str>,
    /// When it ends.
    pub expires_at: OffsetDateTime,
}

impl Store {
    /// Writes a login, the account's `last_login`, and the audit row, or nothing at all.
    pub async fn create_session(
        &self,
        session: NewSession<'_>,
        audit: AuditEntry<'_>,
        now: OffsetDateTime,
    ) -> Result<(), StoreError> {
        const INSERT: &str = "INSERT INTO sessions
            (id, user_id, access_jti, ip_address, user_agent, created_at, last_activity, expires_at)
            VALUES ($1, $2, $3, $4, $5, $6, $6, $7)";
        const LAST_LOGIN: &str = "UPDATE users SET last_login = $2, failed_login_attempts = 0 WHERE id = $1";
        in_transaction!(self, transaction => {
            sqlx::query::<Db>(INSERT)
                .bind(session.id)
                .bind(session.user.0)
                .bind(session.access_jti)
                .bind(session.ip_address)
                .bind(session.user_agent)
                .bind(now)
                .bind(session.expires_at)
                .execute(&mut *transaction)
                .await?;
            sqlx::query::<Db>(LAST_LOGIN).bind(session.user.0).bind(now).execute(&mut *transaction).await?;
            sqlx::query::<Db>(INSERT_AUDIT)
                .bind(session.organization.0)
                .bind(session.user.0)
                .bind(audit.action)
                .bind(audit.resource)
                .bind(sqlx::types::Json(&audit.details))
                .bind(audit.ip_address)
                .bind(now)
                .execute(&mut *transaction)
                .await?;
        })
    }

    /// Whether the login with this access token goes on: neither expired nor revoked, its account active.
    pub async fn session_is_alive(&self, access_jti: Uuid, now: OffsetDateTime) -> Result<bool, StoreError> {
        const SQL: &str = "SELECT COUNT(*) FROM sessions JOIN users ON users.id = sessions.user_id
            WHERE access_jti = $1 AND revoked_at IS NULL AND expires_at > $2 AND users.active";
        let count: i64 = on!(self, pool => sqlx::query_scalar::<Db, i64>(SQL)
            .bind(access_jti).bind(now).fetch_one(pool).await)?;
        Ok(count > 0)
    }
}
