//! What HTTP answers: JSON, and errors with a code and a sentence.

use axum::{
    Json,
    body::Bytes,
    extract::{FromRequest, Request},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::de::DeserializeOwned;
use voip_protocol::{ErrorBody, ErrorCode, control::ErrorReply, limits::MAX_REST_BODY};

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
        let bytes: Bytes = axum::body::to_bytes(request.into_body(), MAX_REST_BODY).await.map_err(|_| {
            Failure::new(
                ErrorCode::MessageTooLarge,
                format!("the body must be whole, and at most {MAX_REST_BODY} bytes"),
            )
        })?;
        serde_json::from_slice(&bytes).map(Self).map_err(|error| {
            let code = if error.is_data() { ErrorCode::InvalidField } else { ErrorCode::MalformedMessage };
            Failure::new(code, format!("the body is not what this route takes: {error}"))
        })
    }
}
