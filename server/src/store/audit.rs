//! The audit log: who did what, to what, from where.

use serde_json::Value;
use time::OffsetDateTime;
use voip_protocol::{OrganizationId, UserId};

use super::{Store, StoreError, Transaction, at::At, on, statements::declare, transaction::within};

/// What is to be written down.
#[derive(Clone, Debug)]
pub struct AuditEntry<'a> {
    /// The organization that it is about.
    pub organization: Option<OrganizationId>,
    /// Who did it; none where nobody was logged in.
    pub actor: Option<UserId>,
    /// What happened, as `login`, `login_failed`, `register`.
    pub action: &'a str,
    /// What it happened to, as `user:alice`.
    pub resource: &'a str,
    /// The rest. Never a secret.
    pub details: Value,
    /// From where.
    pub ip_address: Option<&'a str>,
}

/// A row of `audit_log`.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct AuditRow {
    /// Row id; grows with time.
    pub id: i64,
    /// Account that did it.
    pub actor_id: Option<i64>,
    /// Its user name, now.
    pub actor_name: Option<String>,
    /// What happened.
    pub action: String,
    /// What it happened to.
    pub resource: String,
    /// The rest.
    pub details: sqlx::types::Json<Value>,
    /// From where.
    pub ip_address: Option<String>,
    /// When, UTC.
    pub created_at: OffsetDateTime,
}

/// Which rows are wanted; what is none, does not matter.
#[derive(Clone, Debug, Default)]
pub struct AuditFilter<'a> {
    /// Done by this account.
    pub actor: Option<UserId>,
    /// Of this action.
    pub action: Option<&'a str>,
    /// About this.
    pub resource: Option<&'a str>,
    /// At this time or later.
    pub since: Option<OffsetDateTime>,
    /// Before this time.
    pub until: Option<OffsetDateTime>,
    /// With a smaller id than this: where the page before ended.
    pub before: Option<i64>,
}

/// Writes a row whose values have these numbers.
macro_rules! insert_audit {
    ($values:literal) => {
        concat!(
            "INSERT INTO audit_log (org_id, actor_id, action, resource, details, ip_address, created_at) VALUES ",
            $values
        )
    };
}
pub(super) use insert_audit;

declare! {
    INSERT = insert_audit!("($1, $2, $3, $4, $5, $6, $7)");
    // The casts tell PostgreSQL the types of what may be null.
    PAGE = "SELECT audit_log.id, actor_id, users.username AS actor_name, action, resource, details, ip_address,
            audit_log.created_at
        FROM audit_log LEFT JOIN users ON users.id = actor_id
        WHERE audit_log.org_id = $1 AND audit_log.id < $2
            AND (CAST($3 AS BIGINT) IS NULL OR actor_id = $3)
            AND (CAST($4 AS TEXT) IS NULL OR action = $4)
            AND (CAST($5 AS TEXT) IS NULL OR resource = $5)
            AND (CAST($6 AS TIMESTAMPTZ) IS NULL OR audit_log.created_at >= $6)
            AND (CAST($7 AS TIMESTAMPTZ) IS NULL OR audit_log.created_at < $7)
        ORDER BY audit_log.id DESC LIMIT $8";
    DELETE_OLD = "DELETE FROM audit_log WHERE id IN
        (SELECT id FROM audit_log WHERE created_at < $1 ORDER BY created_at LIMIT $2)";
}

impl Transaction {
    /// Writes one row.
    pub async fn audit(&mut self, entry: &AuditEntry<'_>, now: OffsetDateTime) -> Result<(), StoreError> {
        within!(self, connection => sqlx::query::<Db>(INSERT)
            .bind(entry.organization.map(|id| id.0))
            .bind(entry.actor.map(|id| id.0))
            .bind(entry.action)
            .bind(entry.resource)
            .bind(sqlx::types::Json(&entry.details))
            .bind(entry.ip_address)
            .bind(At(now))
            .execute(connection)
            .await
            .map(drop))?;
        self.audited += 1;
        Ok(())
    }

    /// Forgets rows from before a time, so many at most, and tells how many there were.
    pub async fn delete_audit_before(&mut self, time: OffsetDateTime, most: u32) -> Result<u64, StoreError> {
        Ok(within!(self, connection => sqlx::query::<Db>(DELETE_OLD)
            .bind(At(time)).bind(i64::from(most)).execute(connection).await.map(|done| done.rows_affected()))?)
    }
}

impl Store {
    /// Rows of an organization, newest first.
    pub async fn audit_page(
        &self,
        organization: OrganizationId,
        filter: &AuditFilter<'_>,
        most: u32,
    ) -> Result<Vec<AuditRow>, StoreError> {
        Ok(on!(self, pool => sqlx::query_as::<Db, AuditRow>(PAGE)
            .bind(organization.0)
            .bind(filter.before.unwrap_or(i64::MAX))
            .bind(filter.actor.map(|id| id.0))
            .bind(filter.action)
            .bind(filter.resource)
            .bind(filter.since.map(At))
            .bind(filter.until.map(At))
            .bind(i64::from(most))
            .fetch_all(pool)
            .await)?)
    }
}
