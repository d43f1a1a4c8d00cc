//! What can go wrong for the app, in one list: the engine's codes and the app's own.

use std::fmt;

use serde::{Serialize, Serializer};
use ts_rs::TS;
use voip_client::{ClientError, ClientErrorCode};

/// An error that a person gets to see: a code to match, a sentence to read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, TS, thiserror::Error)]
#[error("{message} ({code})")]
pub struct AppError {
    /// For programs.
    #[ts(type = "string")]
    pub code: AppErrorCode,
    /// For people: what happened and what to do.
    pub message: String,
    /// Where a port is taken: which, and one to use instead.
    pub port: Option<PortOffer>,
}

/// A taken port and one that is free.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, TS)]
pub struct PortOffer {
    /// Which plane wanted it.
    pub plane: Plane,
    /// The taken port.
    pub taken: u16,
    /// A free one.
    pub free: u16,
}

/// What a port of the server is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, TS)]
#[serde(rename_all = "snake_case")]
pub enum Plane {
    /// TCP: log-in and live state.
    Control,
    /// UDP: voice.
    Voice,
}

/// The client's code or one of the app's own. In JSON one string either way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AppErrorCode {
    /// From the engine or, through it, from the server.
    Client(ClientErrorCode),
    /// A port of the server to host is taken.
    PortInUse,
    /// The server could not be started, or stopped by itself.
    HostFailed,
    /// The request does not fit what the hosted server does now.
    HostBusy,
    /// The settings file could not be read and was put aside.
    SettingsUnreadable,
    /// The settings could not be written.
    SettingsNotSaved,
    /// The push-to-talk key cannot be heard everywhere.
    HotkeyLimited,
    /// The fingerprint that the person gave is not the one that the server shows.
    NotConfirmed,
    /// The clipboard did not take the text.
    ClipboardFailed,
    /// A file that the person asked for could not be written.
    FileNotSaved,
}

impl AppErrorCode {
    /// The code as it stands in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Client(code) => code.as_str(),
            Self::PortInUse => "port_in_use",
            Self::HostFailed => "host_failed",
            Self::HostBusy => "host_busy",
            Self::SettingsUnreadable => "settings_unreadable",
            Self::SettingsNotSaved => "settings_not_saved",
            Self::HotkeyLimited => "hotkey_limited",
            Self::NotConfirmed => "not_confirmed",
            Self::ClipboardFailed => "clipboard_failed",
            Self::FileNotSaved => "file_not_saved",
        }
    }
}

impl fmt::Display for AppErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for AppErrorCode {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl AppError {
    /// An error from its two parts.
    pub fn new(code: AppErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), port: None }
    }
}

impl From<ClientError> for AppError {
    fn from(error: ClientError) -> Self {
        Self::new(AppErrorCode::Client(error.code), error.message)
    }
}
