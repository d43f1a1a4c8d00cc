//! The server in this process.

use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use ts_rs::TS;
use voip_protocol::Fingerprint;

use super::AppError;

/// The server in this process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, TS)]
#[serde(tag = "state", content = "data", rename_all = "snake_case")]
pub enum Hosting {
    /// There is none.
    Stopped,
    /// It starts.
    Starting(HostingStep),
    /// It runs.
    Running(HostedServer),
    /// It tells its clients and closes.
    Stopping,
    /// It stopped by itself.
    Failed(AppError),
}

/// How far the start is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, TS)]
#[serde(rename_all = "snake_case")]
pub enum HostingStep {
    /// Opening or creating the database.
    Database,
    /// Making or reading the certificate, binding the ports.
    Network,
    /// Creating the administrator.
    Account,
    /// Logging in.
    LogIn,
}

/// A running hosted server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, TS)]
pub struct HostedServer {
    /// host:port for others to connect to.
    pub address: String,
    /// The link that brings others here.
    pub invite: String,
    /// The certificate.
    pub fingerprint: Fingerprint,
    /// TCP port.
    pub control_port: u16,
    /// UDP port.
    pub voice_port: u16,
    /// Whether the address is one of the local network only, or this computer's alone.
    pub reach: Reach,
}

/// From where an address can be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, TS)]
#[serde(rename_all = "snake_case")]
pub enum Reach {
    /// This computer.
    Computer,
    /// The local network.
    Network,
    /// Anywhere, as far as can be told.
    Internet,
}

/// What the form for hosting needs to know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, TS)]
pub struct HostSetup {
    /// There is a server from an earlier time: its administrator logs in, none is created.
    pub has_administrator: bool,
}

/// The filled-in form for hosting.
#[derive(Debug, Deserialize, TS)]
#[serde(deny_unknown_fields)]
pub struct HostRequest {
    /// Name of the server's organization; only at the first time.
    pub server_name: Option<String>,
    /// The administrator.
    pub username: String,
    /// Their password.
    #[ts(type = "string")]
    pub password: SecretString,
    /// TCP port.
    pub control_port: u16,
    /// UDP port.
    pub voice_port: u16,
}
