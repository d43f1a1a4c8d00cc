//! The audit log: who did what, to what, from where.

use serde_json::Value;
use time::OffsetDateTime;
use voip_protocol::{OrganizationId, UserId};

use super::{Store, StoreError, on};

/// What is to be written down.
#[derive(Clone, Debug)]
pub struct AuditEntry<'a> {
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
    /// What happened.
    pub action: String,
    /// What it happened to.
    pub resource: String,
    /// From where.
    pub ip_address: Option<String>,
    /// When, UTC.
    pub created_at: OffsetDateTime,
}

pub(super) const INSERT_AUDIT: &str = "INSERT INTO audit_log
    (org_id, actor_id, action, resource, details, ip_address, created_at) VALUES ($1, $2, $3, $4, $5, $6, $7)";

impl Store {
    /// Writes one row.
    pub async fn audit(
        &self,
        organization: Option<OrganizationId>,
        actor: Option<UserId>,
        entry: AuditEntry<'_>,
        now: OffsetDateTime,
    ) -> Result<(), StoreError> {
        on!(self, pool => { sqlx::query::<Db>(INSERT_AUDIT)
            .bind(organization.map(|id| id.0)).bind(actor.map(|id| id.0)).bind(entry.action).bind(entry.resource)
            .bind(sqlx::types::Json(&entry.details)).bind(entry.ip_address).bind(now)
            .execute(pool).await?; });
        Ok(())
    }

    /// The newest rows of an organization, newest first.
    pub async fn audit_rows(
        &self,
        organization: OrganizationId,
        most: i64,
    ) -> Result<Vec<AuditRow>, StoreError> {
        const SQL: &str = "SELECT id, actor_id, action, resource, ip_address, created_at FROM audit_log
            WHERE org_id = $1 ORDER BY id DESC LIMIT $2";
        Ok(on!(self, pool => sqlx::query_as::<Db, AuditRow>(SQL)
            .bind(organization.0).bind(most).fetch_all(pool).await)?)
    }
}
