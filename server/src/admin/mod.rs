//! Administration of an organization's members, and its audit log.

mod authority;
mod members;

use time::{OffsetDateTime, UtcOffset, format_description::well_known::Rfc3339};
use voip_protocol::{
    ErrorBody, ErrorCode, Permissions, UserId,
    control::{AuditPage, AuditRecord},
    limits::{DEFAULT_PAGE, MAX_PAGE},
};

pub use authority::Authority;
pub use members::{Members, set_active};

use crate::store::{AuditFilter, Caller, Store};

/// How many entries a page has: as many as asked for, within bounds.
pub(crate) fn page_size(limit: Option<u32>) -> Result<u32, ErrorBody> {
    match limit.unwrap_or(DEFAULT_PAGE) {
        limit @ 1..=MAX_PAGE => Ok(limit),
        _ => Err(ErrorBody::new(ErrorCode::InvalidField, format!("limit must be 1 to {MAX_PAGE}"))),
    }
}

/// A page of the audit log of the caller's organization, newest first.
pub async fn audit(
    store: &Store,
    caller: &Caller,
    filter: &AuditFilter<'_>,
    limit: Option<u32>,
) -> Result<AuditPage, ErrorBody> {
    Authority::of(caller).require(Permissions::VIEW_AUDIT_LOG)?;
    let most = page_size(limit)?;
    let mut rows = store.audit_page(caller.organization.id, filter, most + 1).await?;
    let more = rows.len() > most as usize;
    rows.truncate(most as usize);
    Ok(AuditPage {
        next: rows.last().filter(|_| more).map(|row| row.id),
        entries: rows
            .into_iter()
            .map(|row| AuditRecord {
                id: row.id,
                created_at: row.created_at.to_offset(UtcOffset::UTC),
                actor: row.actor_id.map(UserId),
                actor_name: row.actor_name,
                action: row.action,
                resource: row.resource,
                details: row.details.0,
                address: row.ip_address,
            })
            .collect(),
    })
}

/// A time of a query, in RFC 3339.
pub(crate) fn parse_time(field: &str, text: &str) -> Result<OffsetDateTime, ErrorBody> {
    OffsetDateTime::parse(text, &Rfc3339)
        .ok()
        // At the ends of the calendar not every time has one in UTC.
        .and_then(|time| time.checked_to_offset(UtcOffset::UTC))
        .ok_or_else(|| {
            let message = format!("{field} must be a time as 2026-01-31T12:00:00Z");
            ErrorBody::new(ErrorCode::InvalidField, message)
        })
}
