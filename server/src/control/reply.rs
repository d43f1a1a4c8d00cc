//! What HTTP answers: JSON, and errors with a code and a sentence.

use std::time::Duration;

use axum::{
    Json,
    extract::{FromRequest, FromRequestParts, Request},
    http::{StatusCode, header, request::Parts},
    response::{IntoResponse, Response},
};
use futures_util::StreamExt;
use serde::de::DeserializeOwned;
use voip_protocol::{ErrorBody, ErrorCode, control::ErrorReply, limits::MAX_REST_BODY};

/// A body that is too large is read, and forgotten, up to this many bytes.
const MAX_DISCARDED: usize = 16 * 1024 * 1024;

/// An error on its way out.
#[derive(Debug)]
pub(super) struct Failure {
    error: ErrorBody,
    /// After how long it is worth another try.
    retry_after: Option<Duration>,
}

impl From<ErrorBody> for Failure {
    fn from(error: ErrorBody) -> Self {
        Self { error, retry_after: None }
    }
}

impl Failure {
    pub(super) fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        ErrorBody::new(code, message).into()
    }

    /// Too many attempts: wait.
    pub(super) fn wait(time: Duration) -> Self {
        let seconds = time.as_secs() + 1;
        let message = format!("too many attempts from here or for this account: try again in {seconds} s");
        let error = ErrorBody::new(ErrorCode::TooManyRequests, message);
        Self { error, retry_after: Some(Duration::from_secs(seconds)) }
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let status = status_of(self.error.code);
        let mut response = (status, Json(ErrorReply { error: self.error })).into_response();
        if status == StatusCode::TOO_MANY_REQUESTS {
            let seconds = self.retry_after.map_or(1, |wait| wait.as_secs());
            response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
        }
        if status == StatusCode::UNAUTHORIZED {
            response
                .headers_mut()
                .insert(header::WWW_AUTHENTICATE, header::HeaderValue::from_static("Bearer"));
        }
        response
    }
}

/// The one place where codes become HTTP.
fn status_of(code: ErrorCode) -> StatusCode {
    match code {
        ErrorCode::InvalidCredentials
        | ErrorCode::Unauthorized
        | ErrorCode::TokenExpired
        | ErrorCode::LoginRevoked => StatusCode::UNAUTHORIZED,
        ErrorCode::PermissionDenied | ErrorCode::RegistrationClosed | ErrorCode::QuotaExceeded => {
            StatusCode::FORBIDDEN
        }
        ErrorCode::NotFound
        | ErrorCode::UnknownOrganization
        | ErrorCode::UnknownChannel
        | ErrorCode::UnknownUser
        | ErrorCode::UnknownLogin => StatusCode::NOT_FOUND,
        ErrorCode::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
        ErrorCode::UsernameTaken
        | ErrorCode::ChannelFull
        | ErrorCode::AlreadyExists
        | ErrorCode::LastAdministrator => StatusCode::CONFLICT,
        ErrorCode::MessageTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        ErrorCode::TooManyRequests => StatusCode::TOO_MANY_REQUESTS,
        ErrorCode::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        ErrorCode::DatabaseUnavailable | ErrorCode::ServerStopping => StatusCode::SERVICE_UNAVAILABLE,
        ErrorCode::StorageFull => StatusCode::INSUFFICIENT_STORAGE,
        _ => StatusCode::BAD_REQUEST,
    }
}

/// The query of a request's address.
pub(super) struct Query<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Failure> {
        // The library would put replacement characters for what is no UTF-8, and look for those.
        let query = parts.uri.query().unwrap_or_default();
        if percent_encoding::percent_decode_str(query).decode_utf8().is_err() {
            return Err(Failure::new(ErrorCode::InvalidField, "the query is not UTF-8"));
        }
        axum::extract::Query::<T>::try_from_uri(&parts.uri)
            .map(|axum::extract::Query(query)| Self(query))
            .map_err(|error| {
                Failure::new(
                    ErrorCode::InvalidField,
                    format!("the query is not what this route takes: {}", error.body_text()),
                )
            })
    }
}

/// What stands in the path of a request, where the route has a place for it.
pub(super) struct Segment<T>(pub(super) T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Segment<T> {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failure> {
        axum::extract::Path::<T>::from_request_parts(parts, state)
            .await
            .map(|axum::extract::Path(segment)| Self(segment))
            .map_err(|error| {
                Failure::new(
                    ErrorCode::InvalidField,
                    format!("the address is not what this route takes: {}", error.body_text()),
                )
            })
    }
}

/// A request body in JSON, of at most [`MAX_REST_BODY`] bytes.
pub(super) struct Body<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Body<T> {
    type Rejection = Failure;

    async fn from_request(request: Request, _: &S) -> Result<Self, Failure> {
        let bytes = read(request.into_body(), MAX_REST_BODY).await?;
        // serde takes a list for an object, by the order of its fields.
        if bytes.trim_ascii_start().first() != Some(&b'{') {
            let message = "the body is not what this route takes: it must be a JSON object";
            return Err(Failure::new(ErrorCode::MalformedMessage, message));
        }
        serde_json::from_slice(&bytes).map(Self).map_err(|error| {
            let code = if error.is_data() { ErrorCode::InvalidField } else { ErrorCode::MalformedMessage };
            Failure::new(code, format!("the body is not what this route takes: {error}"))
        })
    }
}

/// The whole body. Of one that is too large the rest is read, too, within bounds, and forgotten: a client that is
/// cut off in mid-sentence does not read the answer.
pub(super) async fn read(body: axum::body::Body, most: usize) -> Result<Vec<u8>, Failure> {
    let mut stream = body.into_data_stream();
    let (mut bytes, mut total) = (Vec::new(), 0);
    while let Some(chunk) = stream.next().await {
        let chunk = chunk
            .map_err(|_| Failure::new(ErrorCode::MalformedMessage, "the body broke off: send it again"))?;
        total += chunk.len();
        if total > MAX_DISCARDED {
            break;
        }
        if total <= most {
            bytes.extend_from_slice(&chunk);
        }
    }
    if total <= most {
        return Ok(bytes);
    }
    Err(Failure::new(ErrorCode::MessageTooLarge, format!("a body may have {most} bytes at most")))
}
