//! The routes.

use std::net::SocketAddr;

use axum::{
    Json, Router,
    extract::{ConnectInfo, FromRequestParts, State, WebSocketUpgrade},
    http::{HeaderMap, StatusCode, header, request::Parts},
    response::{IntoResponse, Response},
    routing::{any, get, post},
};
use serde_json::json;
use time::OffsetDateTime;
use voip_protocol::{
    ErrorCode,
    control::{Account, Credentials, LoginReply, MeReply, Registration},
    limits::MAX_CONTROL_MESSAGE,
};

use super::{
    reply::{Body, Failure},
    socket,
};
use crate::{
    auth::{Accounts, Origin},
    hub::HubHandle,
    store::Store,
    voice::VoicePlane,
};

/// What the routes work with.
#[derive(Clone)]
pub struct Control {
    /// Accounts.
    pub accounts: Accounts,
    /// Database, for its health.
    pub store: Store,
    /// Live state.
    pub hub: HubHandle,
    /// Voice plane, for its counters.
    pub voice: VoicePlane,
}

/// All routes.
pub fn router(control: Control) -> Router {
    Router::new()
        .route("/auth/register", post(register))
        .route("/auth/login", post(login))
        .route("/auth/me", get(me))
        .route("/healthz", get(health))
        .route("/control", any(connect))
        .fallback(|| async { Failure::new(ErrorCode::NotFound, "there is no such route on this server") })
        .method_not_allowed_fallback(|| async {
            Failure::new(ErrorCode::MethodNotAllowed, "the route does not take this method")
        })
        .with_state(control)
}

async fn register(
    State(control): State<Control>,
    From(origin): From,
    Body(registration): Body<Registration>,
) -> Result<(StatusCode, Json<LoginReply>), Failure> {
    let reply = control.accounts.register(registration, &origin, OffsetDateTime::now_utc()).await?;
    Ok((StatusCode::CREATED, Json(reply)))
}

async fn login(
    State(control): State<Control>,
    From(origin): From,
    Body(credentials): Body<Credentials>,
) -> Result<Json<LoginReply>, Failure> {
    Ok(Json(control.accounts.login(credentials, &origin, OffsetDateTime::now_utc()).await?))
}

async fn me(State(control): State<Control>, Caller(account): Caller) -> Result<Json<MeReply>, Failure> {
    Ok(Json(control.accounts.me(account).await?))
}

async fn health(State(control): State<Control>) -> Response {
    let reachable = control.store.ping().await.is_ok();
    let status = if reachable { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let body = json!({
        "status": if reachable { "ok" } else { "database_unavailable" },
        "version": env!("CARGO_PKG_VERSION"),
        "database": {
            "kind": control.store.kind(),
            "reachable": reachable,
            "pool": control.store.pool_figures(),
        },
        "connected": control.hub.connected().await,
        "voice": control.voice.counters.figures(),
    });
    (status, Json(body)).into_response()
}

async fn connect(
    State(control): State<Control>,
    Caller(account): Caller,
    upgrade: Result<WebSocketUpgrade, axum::extract::ws::rejection::WebSocketUpgradeRejection>,
) -> Result<Response, Failure> {
    let upgrade = upgrade.map_err(|_| {
        Failure::new(ErrorCode::MalformedMessage, "/control is a WebSocket: connect to it as one")
    })?;
    let me = control.accounts.me(account).await?;
    let upgrade = upgrade.max_message_size(MAX_CONTROL_MESSAGE).max_frame_size(MAX_CONTROL_MESSAGE);
    Ok(upgrade.on_upgrade(move |socket| socket::serve(socket, control.hub, me)))
}

/// Where a request comes from.
struct From(Origin);

impl<S: Send + Sync> FromRequestParts<S> for From {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        let address = parts
            .extensions
            .get::<ConnectInfo<SocketAddr>>()
            .map(|ConnectInfo(address)| address.ip().to_string());
        let user_agent = parts
            .headers
            .get(header::USER_AGENT)
            .map(|agent| String::from_utf8_lossy(agent.as_bytes()).into_owned());
        Ok(Self(Origin { address, user_agent }))
    }
}

/// Whose token the request carries.
struct Caller(Account);

impl FromRequestParts<Control> for Caller {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, control: &Control) -> Result<Self, Failure> {
        let token = bearer(&parts.headers).ok_or_else(|| {
            Failure::new(ErrorCode::Unauthorized, "log in first: the request has no bearer token")
        })?;
        let (account, _) = control.accounts.authenticate(token, OffsetDateTime::now_utc()).await?;
        Ok(Self(account))
    }
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}
