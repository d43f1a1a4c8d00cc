//! The routes under `/auth`.

use axum::{Json, extract::State, http::StatusCode};
use time::{OffsetDateTime, UtcOffset};
use uuid::Uuid;
use voip_protocol::{
    ErrorCode, LoginId,
    control::{
        Credentials, ErrorReply, Login, LoginReply, Logins, MeReply, NewPassword, Refresh, Registration,
    },
};

use super::{
    Control,
    caller::{Caller, From},
    reply::{Body, Failure, Segment},
};
use crate::{auth::Accounts, metrics::Outcome};

/// Makes an account and logs it in.
#[utoipa::path(post, path = "/auth/register", tag = "auth", request_body = Registration, security(()), responses(
    (status = 201, description = "The account is made and logged in", body = LoginReply),
    (status = "default", description = "An error", body = ErrorReply),
))]
pub(super) async fn register(
    State(control): State<Control>,
    From(origin): From,
    Body(registration): Body<Registration>,
) -> Result<(StatusCode, Json<LoginReply>), Failure> {
    control.limits.registration(origin.address).map_err(Failure::wait)?;
    let reply = control.accounts.register(registration, &origin, OffsetDateTime::now_utc()).await?;
    Ok((StatusCode::CREATED, Json(reply)))
}

/// Logs in.
#[utoipa::path(post, path = "/auth/login", tag = "auth", request_body = Credentials, security(()), responses(
    (status = 200, description = "Logged in", body = LoginReply),
    (status = "default", description = "An error", body = ErrorReply),
))]
pub(super) async fn login(
    State(control): State<Control>,
    From(origin): From,
    Body(credentials): Body<Credentials>,
) -> Result<Json<LoginReply>, Failure> {
    let (accounts, limits) = (&control.accounts, &control.limits);
    let limited = |wait| {
        control.metrics.logins.inc(Outcome::Limited);
        Failure::wait(wait)
    };
    limits.attempt(origin.address).map_err(limited)?;
    let organization = accounts.organization(credentials.organization.as_deref()).await?.id();
    limits.login(organization, &credentials.username).map_err(limited)?;
    let reply = accounts.login(organization, credentials, &origin, OffsetDateTime::now_utc()).await;
    control.metrics.logins.inc(match &reply {
        Ok(_) => Outcome::Ok,
        Err(error) if error.code == ErrorCode::InvalidCredentials => Outcome::Refused,
        Err(error) if error.code == ErrorCode::TooManyRequests => Outcome::Limited,
        Err(_) => Outcome::Failed,
    });
    Ok(Json(reply?))
}

/// Spends a refresh token for new tokens; the old access token ends as well.
#[utoipa::path(post, path = "/auth/refresh", tag = "auth", request_body = Refresh, security(()), responses(
    (status = 200, description = "New tokens", body = LoginReply),
    (status = "default", description = "An error", body = ErrorReply),
))]
pub(super) async fn refresh(
    State(control): State<Control>,
    From(origin): From,
    Body(refresh): Body<Refresh>,
) -> Result<Json<LoginReply>, Failure> {
    control.limits.attempt(origin.address).map_err(Failure::wait)?;
    Ok(Json(control.accounts.refresh(&refresh, &origin, OffsetDateTime::now_utc()).await?))
}

/// Ends the login that the request came by.
#[utoipa::path(post, path = "/auth/logout", tag = "auth", responses(
    (status = 204, description = "Logged out"),
    (status = "default", description = "An error", body = ErrorReply),
))]
pub(super) async fn logout(
    State(control): State<Control>,
    Caller(caller): Caller,
    From(origin): From,
) -> Result<StatusCode, Failure> {
    control.accounts.log_out(&caller, &origin, OffsetDateTime::now_utc()).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Sets another password and ends the account's other logins.
#[utoipa::path(post, path = "/auth/password", tag = "auth", request_body = NewPassword, responses(
    (status = 204, description = "The password is set"),
    (status = "default", description = "An error", body = ErrorReply),
))]
pub(super) async fn password(
    State(control): State<Control>,
    Caller(caller): Caller,
    From(origin): From,
    Body(passwords): Body<NewPassword>,
) -> Result<StatusCode, Failure> {
    control.limits.attempt(origin.address).map_err(Failure::wait)?;
    control.accounts.change_password(&caller, passwords, &origin, OffsetDateTime::now_utc()).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The caller's account, organization, roles.
#[utoipa::path(get, path = "/auth/me", tag = "auth", responses(
    (status = 200, description = "The caller", body = MeReply),
    (status = "default", description = "An error", body = ErrorReply),
))]
pub(super) async fn me(Caller(caller): Caller) -> Json<MeReply> {
    Json(Accounts::me(caller))
}

/// The caller's logins that live, the latest used first.
#[utoipa::path(get, path = "/auth/sessions", tag = "auth", responses(
    (status = 200, description = "The logins", body = Logins),
    (status = "default", description = "An error", body = ErrorReply),
))]
pub(super) async fn sessions(
    State(control): State<Control>,
    Caller(caller): Caller,
) -> Result<Json<Logins>, Failure> {
    let rows = control.accounts.logins(&caller, OffsetDateTime::now_utc()).await?;
    let connected = control.hub.logins().await;
    let utc = |time: OffsetDateTime| time.to_offset(UtcOffset::UTC);
    let sessions = rows.into_iter().map(|row| Login {
        id: row.id(),
        current: row.id() == caller.login,
        connected: connected.contains(&row.id()),
        device: row.device_info,
        address: row.ip_address,
        user_agent: row.user_agent,
        created_at: utc(row.created_at),
        last_activity: utc(row.last_activity),
        expires_at: utc(row.expires_at),
    });
    Ok(Json(Logins { sessions: sessions.collect() }))
}

/// Ends one of the caller's logins, with its connections and its voice.
#[utoipa::path(delete, path = "/auth/sessions/{id}", tag = "auth", params(("id" = Uuid, Path)), responses(
    (status = 204, description = "The login has ended"),
    (status = "default", description = "An error", body = ErrorReply),
))]
pub(super) async fn revoke(
    State(control): State<Control>,
    Caller(caller): Caller,
    From(origin): From,
    Segment(id): Segment<Uuid>,
) -> Result<StatusCode, Failure> {
    control.accounts.revoke(&caller, LoginId(id), &origin, OffsetDateTime::now_utc()).await?;
    Ok(StatusCode::NO_CONTENT)
}
