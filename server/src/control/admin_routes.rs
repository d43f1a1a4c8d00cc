//! The routes under `/admin`.

use axum::{
    Json,
    extract::{Request, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Deserialize;
use time::OffsetDateTime;
use utoipa::IntoParams;
use voip_protocol::{
    ErrorBody, UserId,
    control::{
        AuditPage, CreatedUser, ErrorReply, ImportReport, NewUser, PasswordReset, ResetPassword, Roles, User,
        UserChange, UserPage,
    },
    limits::{MAX_IMPORT_BODY, SOUGHT_CHARS},
};

use super::{
    Control,
    caller::{Caller, From},
    reply::{Body, Failure, Query, Segment, read},
};
use crate::{
    admin::{self, Members, parse_time},
    auth::check_text,
    store::{AuditFilter, UserFilter},
    transfer::{self, Hashes, Import},
};

/// Which accounts.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct UserQuery {
    /// Part of the user name or of the display name.
    search: Option<String>,
    /// Those that may log in, or those that may not.
    active: Option<bool>,
    /// The `next` of the page before.
    after: Option<i64>,
    /// Entries of the page; 50 where none are asked for.
    #[param(minimum = 1, maximum = 200)]
    limit: Option<u32>,
}

/// The organization's accounts, by id.
#[utoipa::path(get, path = "/admin/users", tag = "admin", params(UserQuery), responses(
    (status = 200, description = "A page", body = UserPage),
    (status = "default", description = "An error", body = ErrorReply),
))]
pub(super) async fn users(
    State(control): State<Control>,
    Caller(caller): Caller,
    From(origin): From,
    Query(query): Query<UserQuery>,
) -> Result<Json<UserPage>, Failure> {
    let members = Members::of(&control.accounts, &caller, &origin)?;
    let search = query.search.as_deref().map(str::trim).filter(|search| !search.is_empty());
    check_sought("search", search)?;
    let filter = UserFilter { search, active: query.active };
    Ok(Json(members.page(filter, query.after.map(UserId), query.limit).await?))
}

/// Makes an account.
#[utoipa::path(post, path = "/admin/users", tag = "admin", request_body = NewUser, responses(
    (status = 201, description = "The account", body = CreatedUser),
    (status = "default", description = "An error", body = ErrorReply),
))]
pub(super) async fn create_user(
    State(control): State<Control>,
    Caller(caller): Caller,
    From(origin): From,
    Body(user): Body<NewUser>,
) -> Result<(StatusCode, Json<CreatedUser>), Failure> {
    let members = Members::of(&control.accounts, &caller, &origin)?;
    Ok((StatusCode::CREATED, Json(members.create(user, OffsetDateTime::now_utc()).await?)))
}

/// Changes an account, disables it or lets it in again.
#[utoipa::path(patch, path = "/admin/users/{id}", tag = "admin", params(("id" = i64, Path)), request_body = UserChange,
    responses(
        (status = 200, description = "The account as it is now", body = User),
        (status = "default", description = "An error", body = ErrorReply),
))]
pub(super) async fn change_user(
    State(control): State<Control>,
    Caller(caller): Caller,
    From(origin): From,
    Segment(id): Segment<i64>,
    Body(change): Body<UserChange>,
) -> Result<Json<User>, Failure> {
    let members = Members::of(&control.accounts, &caller, &origin)?;
    Ok(Json(members.change(UserId(id), change, OffsetDateTime::now_utc()).await?))
}

/// Gives an account another password and ends its logins.
#[utoipa::path(post, path = "/admin/users/{id}/password", tag = "admin", params(("id" = i64, Path)),
    request_body = ResetPassword, responses(
        (status = 200, description = "The password, where the server made it", body = PasswordReset),
        (status = "default", description = "An error", body = ErrorReply),
))]
pub(super) async fn reset_password(
    State(control): State<Control>,
    Caller(caller): Caller,
    From(origin): From,
    Segment(id): Segment<i64>,
    Body(reset): Body<ResetPassword>,
) -> Result<Json<PasswordReset>, Failure> {
    let members = Members::of(&control.accounts, &caller, &origin)?;
    Ok(Json(members.reset_password(UserId(id), reset, OffsetDateTime::now_utc()).await?))
}

/// The organization's accounts as a file, without password hashes.
#[utoipa::path(get, path = "/admin/users/export", tag = "admin", responses(
    (status = 200, description = "The file", body = serde_json::Value),
    (status = "default", description = "An error", body = ErrorReply),
))]
pub(super) async fn export_users(
    State(control): State<Control>,
    Caller(caller): Caller,
    From(origin): From,
) -> Result<Response, Failure> {
    let members = Members::of(&control.accounts, &caller, &origin)?;
    let file = transfer::export(control.accounts.store(), Some(caller.organization.id), Hashes::Without)
        .await
        .map_err(ErrorBody::from)?;
    members.note_export(OffsetDateTime::now_utc()).await?;
    let headers = [
        (header::CONTENT_TYPE, "application/json"),
        (header::CONTENT_DISPOSITION, "attachment; filename=\"users.json\""),
    ];
    Ok((headers, file).into_response())
}

/// How to import.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ImportQuery {
    /// All entries or none.
    #[serde(default)]
    atomic: bool,
}

/// Makes accounts of a file.
#[utoipa::path(post, path = "/admin/users/import", tag = "admin", params(ImportQuery),
    request_body = serde_json::Value, responses(
        (status = 200, description = "What became of each entry", body = ImportReport),
        (status = "default", description = "An error", body = ErrorReply),
))]
pub(super) async fn import_users(
    State(control): State<Control>,
    Caller(caller): Caller,
    From(origin): From,
    Query(query): Query<ImportQuery>,
    request: Request,
) -> Result<Json<ImportReport>, Failure> {
    let members = Members::of(&control.accounts, &caller, &origin)?;
    let grantable = members.grantable().await?;
    let file = read(request.into_body(), MAX_IMPORT_BODY).await?;
    let address = origin.address_text();
    let import = Import {
        into: Some(caller.organization.id),
        atomic: query.atomic,
        grantable: Some(&grantable),
        actor: Some(caller.account.id),
        ip_address: address.as_deref(),
    };
    let accounts = &control.accounts;
    let now = OffsetDateTime::now_utc();
    let report = transfer::import(accounts.store(), accounts.passwords(), &file, import, now).await;
    Ok(Json(report.map_err(ErrorBody::from)?))
}

/// The organization's roles, highest first.
#[utoipa::path(get, path = "/admin/roles", tag = "admin", responses(
    (status = 200, description = "The roles", body = Roles),
    (status = "default", description = "An error", body = ErrorReply),
))]
pub(super) async fn roles(
    State(control): State<Control>,
    Caller(caller): Caller,
    From(origin): From,
) -> Result<Json<Roles>, Failure> {
    Ok(Json(Members::of(&control.accounts, &caller, &origin)?.roles().await?))
}

/// Which rows.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct AuditQuery {
    /// Done by this account.
    actor: Option<i64>,
    /// Of this action, as `login`.
    action: Option<String>,
    /// About this, as `user:alice`.
    resource: Option<String>,
    /// At this time or later, in RFC 3339.
    since: Option<String>,
    /// Before this time, in RFC 3339.
    until: Option<String>,
    /// The `next` of the page before.
    before: Option<i64>,
    /// Entries of the page; 50 where none are asked for.
    #[param(minimum = 1, maximum = 200)]
    limit: Option<u32>,
}

/// The organization's audit log, newest first.
#[utoipa::path(get, path = "/admin/audit", tag = "admin", params(AuditQuery), responses(
    (status = 200, description = "A page", body = AuditPage),
    (status = "default", description = "An error", body = ErrorReply),
))]
pub(super) async fn audit(
    State(control): State<Control>,
    Caller(caller): Caller,
    Query(query): Query<AuditQuery>,
) -> Result<Json<AuditPage>, Failure> {
    check_sought("action", query.action.as_deref())?;
    check_sought("resource", query.resource.as_deref())?;
    let filter = AuditFilter {
        actor: query.actor.map(UserId),
        action: query.action.as_deref(),
        resource: query.resource.as_deref(),
        since: query.since.as_deref().map(|text| parse_time("since", text)).transpose()?,
        until: query.until.as_deref().map(|text| parse_time("until", text)).transpose()?,
        before: query.before,
    };
    Ok(Json(admin::audit(control.accounts.store(), &caller, &filter, query.limit).await?))
}

/// A text to look for: PostgreSQL takes no zero byte, SQLite no pattern of many thousand characters, and nothing has
/// such a name.
fn check_sought(field: &str, text: Option<&str>) -> Result<(), Failure> {
    match text {
        Some(text) => Ok(check_text(field, text, &SOUGHT_CHARS).map(drop)?),
        None => Ok(()),
    }
}
