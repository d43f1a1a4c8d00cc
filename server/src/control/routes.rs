//! The routes, and those about the server itself.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::{
    Json, Router,
    extract::{ConnectInfo, Request, State, WebSocketUpgrade},
    http::{HeaderMap, StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{any, delete, get, patch, post},
};
use serde::Serialize;
use time::OffsetDateTime;
use tokio_util::task::TaskTracker;
use utoipa::{OpenApi, ToSchema};
use voip_protocol::{
    ErrorCode, SessionId,
    control::ErrorReply,
    limits::{MAX_CONTROL_MESSAGE, SESSION_HEADER},
};

use super::{
    admin_routes,
    allowance::Allowance,
    auth_routes,
    caller::Caller,
    openapi::Description,
    reply::Failure,
    socket,
    tunnel::{Tunnel, Tunnels},
};
use crate::{
    auth::{Accounts, Limits},
    config::LimitsConfig,
    door::Door,
    hub::{HubHandle, Lasting, Visitor},
    metrics::{CONTENT_TYPE, Metrics, Scrape},
    store::{DatabaseKind, PoolFigures},
    voice::{VoiceFigures, VoicePlane},
};

/// What the routes work with.
#[derive(Clone)]
pub struct Control {
    /// Accounts, and the store beneath.
    pub accounts: Accounts,
    /// How often somebody may try.
    pub limits: Arc<Limits>,
    /// The way in, for its figures.
    pub door: Arc<Door>,
    /// How long and how much one may ask.
    pub bounds: LimitsConfig,
    /// Live state.
    pub hub: HubHandle,
    /// The sockets of `/control`, which the HTTP server knows nothing of once they are ones.
    pub sockets: TaskTracker,
    /// Voice plane, for its counters.
    pub voice: VoicePlane,
    /// Voice on the control socket.
    pub tunnels: Arc<Tunnels>,
    /// Figures for Prometheus.
    pub metrics: Arc<Metrics>,
    /// Whether others than this machine may read them.
    pub metrics_public: bool,
}

/// A database that takes longer to say that it is there, is not.
const HEALTH_TIMEOUT: Duration = Duration::from_secs(2);

/// Each client has one, and what it sends is short.
const SOCKET_READ_BUFFER: usize = 2 * 1024;
/// What waits together is written together, up to about so much.
const SOCKET_WRITE_BUFFER: usize = 4 * 1024;

/// All routes.
pub fn router(control: Control) -> Router {
    Router::new()
        .route("/auth/register", post(auth_routes::register))
        .route("/auth/login", post(auth_routes::login))
        .route("/auth/refresh", post(auth_routes::refresh))
        .route("/auth/logout", post(auth_routes::logout))
        .route("/auth/password", post(auth_routes::password))
        .route("/auth/me", get(auth_routes::me))
        .route("/auth/sessions", get(auth_routes::sessions))
        .route("/auth/sessions/{id}", delete(auth_routes::revoke))
        .route("/admin/users", get(admin_routes::users).post(admin_routes::create_user))
        .route("/admin/users/export", get(admin_routes::export_users))
        .route("/admin/users/{id}", patch(admin_routes::change_user))
        .route("/admin/users/{id}/password", post(admin_routes::reset_password))
        .route("/admin/roles", get(admin_routes::roles))
        .route("/admin/audit", get(admin_routes::audit))
        .route("/healthz", get(health))
        .route("/metrics", get(metrics))
        .route("/openapi.json", get(async || Json(Description::openapi())))
        .layer(middleware::from_fn_with_state(control.bounds.request(), in_time))
        // These two take as long as they take.
        .route("/admin/users/import", post(admin_routes::import_users))
        .route("/control", any(connect))
        .fallback(async || Failure::new(ErrorCode::NotFound, "there is no such route on this server"))
        .method_not_allowed_fallback(async || {
            Failure::new(ErrorCode::MethodNotAllowed, "the route does not take this method")
        })
        .with_state(control)
}

/// Ends what takes too long: a client that sends its body by the byte, a database that does not answer.
async fn in_time(State(limit): State<Duration>, request: Request, next: Next) -> Response {
    tokio::time::timeout(limit, next.run(request)).await.unwrap_or_else(|_| {
        let message =
            "the request took too long, or the server's database does not answer: try again in a moment";
        Failure::new(ErrorCode::DatabaseUnavailable, message).into_response()
    })
}

/// Answer to `GET /healthz`.
#[derive(Serialize, ToSchema)]
pub(super) struct Health {
    /// `ok` or `database_unavailable`.
    status: &'static str,
    /// Of the server.
    version: &'static str,
    /// Database.
    database: DatabaseHealth,
    /// Connections to `/control`.
    connected: usize,
    /// What the voice plane has seen.
    voice: VoiceFigures,
}

/// The database in [`Health`].
#[derive(Serialize, ToSchema)]
pub(super) struct DatabaseHealth {
    kind: DatabaseKind,
    reachable: bool,
    pool: PoolFigures,
}

/// Whether the server is well. Asked often, so it asks little.
#[utoipa::path(get, path = "/healthz", tag = "server", security(()), responses(
    (status = 200, description = "It is", body = Health),
    (status = 503, description = "The database does not answer", body = Health),
))]
pub(super) async fn health(State(control): State<Control>) -> Response {
    let store = control.accounts.store();
    let answer = tokio::time::timeout(HEALTH_TIMEOUT, store.ping()).await;
    let reachable = matches!(answer, Ok(Ok(())));
    let (code, status) = if reachable {
        (StatusCode::OK, "ok")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "database_unavailable")
    };
    let health = Health {
        status,
        version: env!("CARGO_PKG_VERSION"),
        database: DatabaseHealth { kind: store.kind(), reachable, pool: store.pool_figures() },
        connected: control.hub.figures().await.connected,
        voice: control.voice.counters.figures(),
    };
    (code, Json(health)).into_response()
}

/// Figures for Prometheus; for this machine alone unless `metrics.public` is set.
#[utoipa::path(get, path = "/metrics", tag = "server", security(()), responses(
    (status = 200, description = "OpenMetrics", body = String, content_type = CONTENT_TYPE),
    (status = "default", description = "An error", body = ErrorReply),
))]
pub(super) async fn metrics(
    State(control): State<Control>,
    ConnectInfo(address): ConnectInfo<SocketAddr>,
) -> Result<Response, Failure> {
    if !control.metrics_public && !address.ip().to_canonical().is_loopback() {
        let message =
            "the figures are for the server's own machine: set metrics.public to show them to others";
        return Err(Failure::new(ErrorCode::PermissionDenied, message));
    }
    let store = control.accounts.store();
    let hub = control.hub.figures().await;
    let logins = tokio::time::timeout(HEALTH_TIMEOUT, store.count_logins(OffsetDateTime::now_utc())).await;
    let scrape = Scrape {
        pool: store.pool_figures(),
        active_sessions: logins.ok().and_then(Result::ok),
        connected: hub.connected as u64,
        channels: hub.channels as u64,
        audit_writes: store.audit_writes(),
        door: control.door.figures(),
        voice: control.voice.counters.figures(),
        forwarding: control.voice.latency.figures(),
        tunnels: control.tunnels.figures(),
    };
    Ok(([(header::CONTENT_TYPE, CONTENT_TYPE)], control.metrics.encode(&scrape)).into_response())
}

async fn connect(
    State(control): State<Control>,
    Caller(caller): Caller,
    headers: HeaderMap,
    upgrade: Result<WebSocketUpgrade, axum::extract::ws::rejection::WebSocketUpgradeRejection>,
) -> Result<Response, Failure> {
    let upgrade = upgrade.map_err(|_| {
        Failure::new(ErrorCode::MalformedMessage, "/control is a WebSocket: connect to it as one")
    })?;
    let lasting = lasting(&headers)?;
    let visitor = Visitor { login: caller.login, roles: caller.role_ids(), account: caller.account };
    let upgrade = upgrade
        .max_message_size(MAX_CONTROL_MESSAGE)
        .max_frame_size(MAX_CONTROL_MESSAGE)
        .read_buffer_size(SOCKET_READ_BUFFER)
        .write_buffer_size(SOCKET_WRITE_BUFFER);
    let Control { hub, sockets, tunnels, bounds, metrics, .. } = control;
    let allowance = Allowance::new(bounds.messages_per_second_by_connection, metrics);
    Ok(upgrade.on_upgrade(move |socket| {
        let serving = socket::serve(socket, hub, visitor, lasting, allowance, Tunnel::new(tunnels));
        sockets.track_future(serving)
    }))
}

/// What the client wants to become of its session when it loses this connection.
fn lasting(headers: &HeaderMap) -> Result<Lasting, Failure> {
    match headers.get(SESSION_HEADER).map(|value| value.to_str().unwrap_or_default()) {
        None => Ok(Lasting::No),
        Some("new") => Ok(Lasting::New),
        Some(number) => number.parse().map(|number| Lasting::Resumed(SessionId(number))).map_err(|_| {
            let message = format!("the header {SESSION_HEADER} is `new` or the number of a session");
            Failure::new(ErrorCode::InvalidField, message)
        }),
    }
}
