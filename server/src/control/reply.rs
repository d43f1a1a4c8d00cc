//! What HTTP answers: JSON, and errors with a code and a sentence.

use axum::{
    Json,
    extract::{FromRequest, Request},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use futures_util::StreamExt;
use serde::de::DeserializeOwned;
use voip_protocol::{ErrorBody, ErrorCode, control::ErrorReply, limits::MAX_REST_BODY};

/// A body that is too large is read, and forgotten, up to this many bytes.
const MAX_DISCARDED: usize = 16 * 1024 * 1024;

/// An error on its way out.
#[derive(Debug)]
pub(super) struct Failure(pub(super) ErrorBody);

impl From<ErrorBody> for Failure {
    fn from(error: ErrorBody) -> Self {
        Self(error)
    }
}

impl Failure {
    pub(super) fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self(ErrorBody::new(code, message))
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let status = status_of(self.0.code);
        let mut response = (status, Json(ErrorReply { error: self.0 })).into_response();
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
        ErrorCode::InvalidCredentials | ErrorCode::Unauthorized | ErrorCode::TokenExpired => {
            StatusCode::UNAUTHORIZED
        }
        ErrorCode::PermissionDenied | ErrorCode::RegistrationClosed => StatusCode::FORBIDDEN,
        ErrorCode::NotFound | ErrorCode::UnknownOrganization | ErrorCode::UnknownChannel => {
            StatusCode::NOT_FOUND
        }
        ErrorCode::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
        ErrorCode::UsernameTaken | ErrorCode::ChannelFull => StatusCode::CONFLICT,
        ErrorCode::MessageTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        ErrorCode::TooManyRequests => StatusCode::TOO_MANY_REQUESTS,
        ErrorCode::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        ErrorCode::DatabaseUnavailable | ErrorCode::ServerStopping => StatusCode::SERVICE_UNAVAILABLE,
        ErrorCode::StorageFull => StatusCode::INSUFFICIENT_STORAGE,
        _ => StatusCode::BAD_REQUEST,
    }
}

/// A request body in JSON, of at most [`MAX_REST_BODY`] bytes.
pub(super) struct Body<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Body<T> {
    type Rejection = Failure;

    async fn from_request(request: Request, _: &S) -> Result<Self, Failure> {
        let bytes = read(request.into_body()).await?;
        serde_json::from_slice(&bytes).map(Self).map_err(|error| {
            let code = if error.is_data() { ErrorCode::InvalidField } else { ErrorCode::MalformedMessage };
            Failure::new(code, format!("the body is not what this route takes: {error}"))
        })
    }
}

/// The whole body. Of one that is too large the rest is read, too, within bounds, and forgotten: a client that is
/// cut off in mid-sentence does not read the answer.
async fn read(body: axum::body::Body) -> Result<Vec<u8>, Failure> {
    let mut stream = body.into_data_stream();
    let (mut bytes, mut total) = (Vec::new(), 0);
    while let Some(chunk) = stream.next().await {
        let chunk = chunk
            .map_err(|_| Failure::new(ErrorCode::MalformedMessage, "the body broke off: send it again"))?;
        total += chunk.len();
        if total > MAX_DISCARDED {
            break;
        }
        if total <= MAX_REST_BODY {
            bytes.extend_from_slice(&chunk);
        }
    }
    if total <= MAX_REST_BODY {
        return Ok(bytes);
    }
    Err(Failure::new(ErrorCode::MessageTooLarge, format!("a body may have {MAX_REST_BODY} bytes at most")))
}
