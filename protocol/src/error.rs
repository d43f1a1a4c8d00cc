//! The one list of error codes. Programs match the code, people read the sentence.

use serde::{Deserialize, Serialize};
use ts_rs::TS;

/// What went wrong, for programs. Codes are never renamed once released.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, TS)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ErrorCode {
    /// The text is not a message of the protocol: not JSON, or without the fields that every request has.
    MalformedMessage,
    /// A binary message came where text belongs.
    BinaryNotAllowed,
    /// The message is larger than [`crate::limits::MAX_CONTROL_MESSAGE`].
    MessageTooLarge,
    /// No such method.
    UnknownMethod,
    /// The method is known, its parameters are not what it takes.
    InvalidParams,
    /// No such route.
    NotFound,
    /// The route does not take this HTTP method.
    MethodNotAllowed,
    /// A field of the request does not keep its limits; the sentence names it.
    InvalidField,
    /// Name or password is wrong. The same for unknown and known users.
    InvalidCredentials,
    /// There is no valid token with the request.
    Unauthorized,
    /// The token was good once: log in again.
    TokenExpired,
    /// The permission is missing; the sentence names it.
    PermissionDenied,
    /// The server has more than one organization: name one by its tag.
    OrganizationRequired,
    /// No organization with this tag.
    UnknownOrganization,
    /// The user name is taken.
    UsernameTaken,
    /// The password is one of the first that anybody would try.
    WeakPassword,
    /// The organization has as many users or channels as it may.
    QuotaExceeded,
    /// There is one with this name or number already; the sentence names it.
    AlreadyExists,
    /// No such user, or none that one may see.
    UnknownUser,
    /// No such login, or somebody else's.
    UnknownLogin,
    /// The login was revoked, or its refresh token was used twice: log in again.
    LoginRevoked,
    /// Nobody would be left who may administer the organization.
    LastAdministrator,
    /// The server does not take new accounts by itself.
    RegistrationClosed,
    /// No such channel, or none that one may see.
    UnknownChannel,
    /// The channel holds as many people as it may.
    ChannelFull,
    /// The request needs a channel to be in.
    NotInChannel,
    /// Too many requests: wait.
    TooManyRequests,
    /// The client was too slow to take its events and was dropped: reconnect.
    TooSlow,
    /// The server stops or restarts.
    ServerStopping,
    /// The database does not answer.
    DatabaseUnavailable,
    /// The disk of the server is full.
    StorageFull,
    /// Something in the server failed; its log has the rest.
    Internal,
}

impl ErrorCode {
    /// The code as it stands on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::MalformedMessage => "malformed_message",
            Self::BinaryNotAllowed => "binary_not_allowed",
            Self::MessageTooLarge => "message_too_large",
            Self::UnknownMethod => "unknown_method",
            Self::InvalidParams => "invalid_params",
            Self::NotFound => "not_found",
            Self::MethodNotAllowed => "method_not_allowed",
            Self::InvalidField => "invalid_field",
            Self::InvalidCredentials => "invalid_credentials",
            Self::Unauthorized => "unauthorized",
            Self::TokenExpired => "token_expired",
            Self::PermissionDenied => "permission_denied",
            Self::OrganizationRequired => "organization_required",
            Self::UnknownOrganization => "unknown_organization",
            Self::UsernameTaken => "username_taken",
            Self::WeakPassword => "weak_password",
            Self::QuotaExceeded => "quota_exceeded",
            Self::AlreadyExists => "already_exists",
            Self::UnknownUser => "unknown_user",
            Self::UnknownLogin => "unknown_login",
            Self::LoginRevoked => "login_revoked",
            Self::LastAdministrator => "last_administrator",
            Self::RegistrationClosed => "registration_closed",
            Self::UnknownChannel => "unknown_channel",
            Self::ChannelFull => "channel_full",
            Self::NotInChannel => "not_in_channel",
            Self::TooManyRequests => "too_many_requests",
            Self::TooSlow => "too_slow",
            Self::ServerStopping => "server_stopping",
            Self::DatabaseUnavailable => "database_unavailable",
            Self::StorageFull => "storage_full",
            Self::Internal => "internal",
        }
    }
}

impl std::fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// An error on the wire: `{"code": "...", "message": "..."}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, TS, thiserror::Error)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[error("{message} ({code})")]
pub struct ErrorBody {
    /// For programs.
    pub code: ErrorCode,
    /// For people: what happened and what to do.
    pub message: String,
}

impl ErrorBody {
    /// An error from its two parts.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_is_what_serde_writes() {
        for code in
            [ErrorCode::MalformedMessage, ErrorCode::TooSlow, ErrorCode::Internal, ErrorCode::StorageFull]
        {
            assert_eq!(serde_json::to_string(&code).unwrap(), format!("\"{}\"", code.as_str()));
        }
    }
}
