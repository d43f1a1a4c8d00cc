//! What a person can set.

use serde::{Deserialize, Serialize};
use ts_rs::TS;
use voip_client::VoiceSettings;
use voip_protocol::limits;

use super::Hotkey;

/// What a person has set. Stored as it is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, TS)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Devices, codec and the way a talk starts.
    pub voice: VoiceSettings,
    /// The push-to-talk key; null for none.
    pub hotkey: Option<Hotkey>,
    /// `en`, `de`; null for the system's.
    pub language: Option<String>,
    /// Light or dark.
    pub theme: Theme,
    /// Where one was last, to fill in the log-in.
    pub last_server: Option<LastServer>,
    /// How one hosted last, to fill in the form.
    pub hosting: HostDefaults,
}

/// Light or dark.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "snake_case")]
pub enum Theme {
    /// As the system has it.
    #[default]
    System,
    /// Light.
    Light,
    /// Dark.
    Dark,
}

/// Where somebody logged in last, and as whom. Never the password.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(deny_unknown_fields)]
pub struct LastServer {
    /// host:port.
    pub address: String,
    /// Tag of the organization, where the server asked for it.
    pub organization: Option<String>,
    /// User name.
    pub username: String,
}

/// How somebody hosted last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(default, deny_unknown_fields)]
pub struct HostDefaults {
    /// The administrator's user name.
    pub username: Option<String>,
    /// TCP port.
    pub control_port: u16,
    /// UDP port.
    pub voice_port: u16,
    /// Host name or address that goes into invites; null for the one on the local network.
    pub public_host: Option<String>,
}

impl Default for HostDefaults {
    fn default() -> Self {
        Self {
            username: None,
            control_port: limits::DEFAULT_CONTROL_PORT,
            voice_port: limits::DEFAULT_VOICE_PORT,
            public_host: None,
        }
    }
}
