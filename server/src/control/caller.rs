//! Who asks, and from where.

use std::net::{IpAddr, SocketAddr};

use axum::{
    extract::{ConnectInfo, FromRequestParts},
    http::{HeaderMap, header, request::Parts},
};
use time::OffsetDateTime;
use voip_protocol::ErrorCode;

use super::{Control, reply::Failure};
use crate::{auth::Origin, store};

/// Where a request comes from.
pub(super) struct From(pub(super) Origin);

impl<S: Send + Sync> FromRequestParts<S> for From {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        let user_agent = parts
            .headers
            .get(header::USER_AGENT)
            .map(|agent| String::from_utf8_lossy(agent.as_bytes()).into_owned());
        Ok(Self(Origin { address: address(parts), user_agent }))
    }
}

/// The other end of the connection.
pub(super) fn address(parts: &Parts) -> Option<IpAddr> {
    parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|ConnectInfo(address)| address.ip().to_canonical())
}

/// Whose token the request carries.
pub(super) struct Caller(pub(super) store::Caller);

impl FromRequestParts<Control> for Caller {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, control: &Control) -> Result<Self, Failure> {
        let token = bearer(&parts.headers).ok_or_else(|| {
            Failure::new(ErrorCode::Unauthorized, "log in first: the request has no bearer token")
        })?;
        Ok(Self(control.accounts.authenticate(token, OffsetDateTime::now_utc()).await?))
    }
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}
