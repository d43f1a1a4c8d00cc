//! What can go wrong for a client, in one list: the server's codes and the client's own.

use serde::{Serialize, Serializer};
use ts_rs::TS;
use voip_protocol::{ErrorBody, ErrorCode};

/// An error that a person gets to see: a code to match, a sentence to read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, TS, thiserror::Error)]
#[error("{message} ({code})")]
pub struct ClientError {
    /// For programs.
    #[ts(type = "string")]
    pub code: ClientErrorCode,
    /// For people: what happened and what to do.
    pub message: String,
}

/// The server's code or one of the client's own. In JSON one string either way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ClientErrorCode {
    /// The server said so.
    Server(ErrorCode),
    /// The address is not one.
    InvalidAddress,
    /// Nobody answers there.
    Unreachable,
    /// The answer took too long.
    TimedOut,
    /// It answers, but not as a voice server.
    NotAVoiceServer,
    /// The certificate is not the one that was pinned or invited to.
    CertificateChanged,
    /// There is no connection.
    NotConnected,
    /// The server drops part of the voice: it is more than it lets a session send.
    VoiceClipped,
    /// The connection was lost while the request was under way.
    ConnectionLost,
    /// No sound input.
    NoMicrophone,
    /// No sound output.
    NoSpeaker,
    /// The device was there and is gone or fails.
    DeviceFailed,
    /// A sound file cannot be read or written.
    SoundFile,
    /// The list of trusted servers cannot be read or written.
    KnownServers,
    /// The engine has been shut down.
    ShutDown,
}

impl ClientErrorCode {
    /// The code as it stands in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Server(code) => code.as_str(),
            Self::InvalidAddress => "invalid_address",
            Self::Unreachable => "unreachable",
            Self::TimedOut => "timed_out",
            Self::NotAVoiceServer => "not_a_voice_server",
            Self::CertificateChanged => "certificate_changed",
            Self::NotConnected => "not_connected",
            Self::VoiceClipped => "voice_clipped",
            Self::ConnectionLost => "connection_lost",
            Self::NoMicrophone => "no_microphone",
            Self::NoSpeaker => "no_speaker",
            Self::DeviceFailed => "device_failed",
            Self::SoundFile => "sound_file",
            Self::KnownServers => "known_servers",
            Self::ShutDown => "shut_down",
        }
    }
}

impl std::fmt::Display for ClientErrorCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for ClientErrorCode {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl ClientError {
    /// An error from its two parts.
    pub fn new(code: ClientErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }
}

impl From<ErrorBody> for ClientError {
    fn from(body: ErrorBody) -> Self {
        Self::new(ClientErrorCode::Server(body.code), body.message)
    }
}
