//! Configuration: defaults < `server.yaml` < environment (`VOIP_SERVER__CONTROL_PORT=9100`) < flags.

use std::{
    net::IpAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use voip_protocol::limits::{DEFAULT_CONTROL_PORT, DEFAULT_VOICE_PORT, MAX_VOICE_PACKET};

use crate::voice::Rates;

/// Everything that can be set. `server.yaml.example` documents each key.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Where the certificate, the token secret and, by default, the database live.
    pub data_dir: PathBuf,
    /// Sockets.
    pub server: ServerConfig,
    /// Voice.
    pub voice: VoiceConfig,
    /// Database.
    pub database: DatabaseConfig,
    /// Tokens and accounts.
    pub security: SecurityConfig,
    /// What one client, and all of them, may take of the control plane.
    pub limits: LimitsConfig,
    /// Audit log.
    pub audit: AuditConfig,
    /// Figures for Prometheus.
    pub metrics: MetricsConfig,
    /// Logs.
    pub log: LogConfig,
}

/// Sockets.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ServerConfig {
    /// Address to listen on, both planes.
    pub bind_address: IpAddr,
    /// TCP port of the control plane; 0 takes a free one.
    pub control_port: u16,
    /// UDP port of the voice plane; 0 takes a free one.
    pub voice_port: u16,
    /// UDP port that clients are told, where a router or container maps it to another; 0: `voice_port`.
    pub public_voice_port: u16,
    /// Whether the control plane speaks TLS. Plain text is for loopback alone.
    pub tls: bool,
}

/// Voice.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct VoiceConfig {
    /// Voice packets that a session may send in a second, more in a burst; 0: no limit.
    pub packets_per_second_by_session: u32,
    /// Bytes that these may have in a second, IP and UDP aside; 0: no limit.
    pub bytes_per_second_by_session: u32,
}

/// Database.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DatabaseConfig {
    /// `sqlite:PATH`, `sqlite::memory:` or `postgres://user:password@host/name`. Empty: `voip.db` in `data_dir`.
    pub url: String,
    /// Connections in the pool.
    pub max_connections: u32,
    /// How long a request waits for one of them, in seconds.
    pub acquire_timeout_seconds: u64,
    /// A connection that nobody used for so long is closed, in seconds.
    pub idle_timeout_seconds: u64,
    /// A connection is replaced after so long, in seconds; PostgreSQL alone.
    pub max_lifetime_seconds: u64,
}

/// Tokens and accounts.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SecurityConfig {
    /// Signs access tokens; at least 32 characters. None: one is made and kept in `data_dir`.
    pub jwt_secret: Option<SecretString>,
    /// Life time of an access token, in minutes.
    pub access_token_minutes: u32,
    /// A login ends when it was not refreshed for so long, in days.
    pub refresh_token_days: u32,
    /// Whether people may register themselves.
    pub registration: bool,
    /// Wrong passwords in a row that lock an account.
    pub lockout_attempts: u32,
    /// How long it stays locked, in minutes.
    pub lockout_minutes: u32,
    /// Logins, refreshes and password changes a minute for one address; 0: no limit.
    pub logins_per_minute_by_address: u32,
    /// Logins a minute for one account, whether it exists or not; 0: no limit.
    pub logins_per_minute_by_account: u32,
    /// Registrations an hour for one address; 0: no limit.
    pub registrations_per_hour_by_address: u32,
    /// Passwords that are hashed at a time, each of them a core and 19 MiB; 0: as many as there are cores.
    pub hashing_threads: usize,
}

/// What one client, and all of them, may take of the control plane. An address is, in IPv6, its /64.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LimitsConfig {
    /// Connections; 0: as many as the system has open files for, which bounds them in any case.
    pub connections: usize,
    /// Connections of one address; 0: no limit.
    pub connections_by_address: usize,
    /// Connections that one address may open a second, and twenty times as many at once; 0: no limit.
    pub new_connections_per_second_by_address: u32,
    /// How long a TLS handshake may take, in seconds.
    pub handshake_seconds: u64,
    /// How long the head of a request may take, and how long a connection may be idle between requests, in seconds.
    pub request_head_seconds: u64,
    /// How long the rest of a request may take, imports aside, and how long an answer may wait to be read, in seconds.
    pub request_seconds: u64,
    /// Messages that one WebSocket may send a second, and three times as many at once; 0: no limit.
    pub messages_per_second_by_connection: u32,
}

/// Audit log.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AuditConfig {
    /// Rows are kept for so many days; 0: for ever.
    pub retention_days: u32,
}

/// Figures for Prometheus.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MetricsConfig {
    /// Whether others than this machine may read `/metrics`.
    pub public: bool,
}

/// Logs.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LogConfig {
    /// Filter, as `info` or `voip_server=debug,warn`.
    pub level: String,
}

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A file is not there or cannot be read.
    #[error("the configuration file {} cannot be read: {reason}", file.display())]
    File {
        /// Which.
        file: PathBuf,
        /// What the system said.
        reason: String,
    },
    /// An unknown key or a bad value.
    #[error("the configuration is wrong: {0}")]
    Value(String),
}

/// Access tokens are signed with HMAC-SHA-256: a shorter secret is its weak point (RFC 7518 §3.2).
const MIN_JWT_SECRET: usize = 32;
/// Ten years; longer times serve nobody, and at some length the calendar ends.
const MAX_DAYS: u64 = 3_650;
const MAX_MINUTES: u64 = MAX_DAYS * 24 * 60;
const MAX_SECONDS: u64 = MAX_MINUTES * 60;
/// What examples and tutorials use, in lower case.
const PLACEHOLDERS: [&str; 4] = ["change", "secret", "example", "your-"];

impl Default for Config {
    fn default() -> Self {
        Self {
            data_dir: PathBuf::from("data"),
            server: ServerConfig::default(),
            voice: VoiceConfig::default(),
            database: DatabaseConfig::default(),
            security: SecurityConfig::default(),
            limits: LimitsConfig::default(),
            audit: AuditConfig::default(),
            metrics: MetricsConfig::default(),
            log: LogConfig::default(),
        }
    }
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            bind_address: IpAddr::from([0, 0, 0, 0]),
            control_port: DEFAULT_CONTROL_PORT,
            voice_port: DEFAULT_VOICE_PORT,
            public_voice_port: 0,
            tls: true,
        }
    }
}

impl Default for VoiceConfig {
    fn default() -> Self {
        // The shortest frames are 400 in a second; at Opus's highest bit rate, 510 kbit/s, they are 81,400 bytes.
        Self { packets_per_second_by_session: 500, bytes_per_second_by_session: 128_000 }
    }
}

impl Default for DatabaseConfig {
    fn default() -> Self {
        Self {
            url: String::new(),
            max_connections: 20,
            acquire_timeout_seconds: 5,
            idle_timeout_seconds: 600,
            max_lifetime_seconds: 1_800,
        }
    }
}

impl Default for SecurityConfig {
    fn default() -> Self {
        Self {
            jwt_secret: None,
            access_token_minutes: 60,
            refresh_token_days: 30,
            registration: true,
            lockout_attempts: 5,
            lockout_minutes: 15,
            logins_per_minute_by_address: 60,
            logins_per_minute_by_account: 20,
            registrations_per_hour_by_address: 60,
            hashing_threads: 0,
        }
    }
}

impl Default for LimitsConfig {
    fn default() -> Self {
        Self {
            connections: 16_000,
            connections_by_address: 1_000,
            new_connections_per_second_by_address: 50,
            handshake_seconds: 10,
            request_head_seconds: 20,
            request_seconds: 20,
            messages_per_second_by_connection: 20,
        }
    }
}

impl LimitsConfig {
    pub(crate) fn handshake(&self) -> Duration {
        Duration::from_secs(self.handshake_seconds)
    }

    pub(crate) fn request_head(&self) -> Duration {
        Duration::from_secs(self.request_head_seconds)
    }

    pub(crate) fn request(&self) -> Duration {
        Duration::from_secs(self.request_seconds)
    }
}

impl Default for AuditConfig {
    fn default() -> Self {
        Self { retention_days: 365 }
    }
}

impl Default for LogConfig {
    fn default() -> Self {
        Self { level: "info".into() }
    }
}

impl Config {
    /// Reads `file` (`server.yaml` where none is named and one is there) and the environment.
    pub fn load(file: Option<&Path>) -> Result<Self, ConfigError> {
        let environment =
            config::Environment::with_prefix("VOIP").prefix_separator("_").separator("__").try_parsing(true);
        Self::from_sources(file, environment)
    }

    fn from_sources(file: Option<&Path>, environment: config::Environment) -> Result<Self, ConfigError> {
        let mut builder = config::Config::builder();
        let default = Path::new("server.yaml");
        let file = file.or_else(|| default.exists().then_some(default));
        if let Some(file) = file {
            let text = std::fs::read_to_string(file)
                .map_err(|error| ConfigError::File { file: file.to_owned(), reason: error.to_string() })?;
            builder = builder.add_source(config::File::from_str(&text, config::FileFormat::Yaml));
        }
        let config: Self =
            builder.add_source(environment).build().and_then(config::Config::try_deserialize).map_err(
                |error| {
                    let place = file.map_or_else(|| "environment".into(), |file| file.display().to_string());
                    ConfigError::Value(format!("{error} (in {place})"))
                },
            )?;
        config.checked()
    }

    /// What a desktop app hosts with: all in one folder, reachable from the network.
    pub fn embedded(data_dir: &Path, control_port: u16, voice_port: u16) -> Self {
        let config = Self {
            data_dir: data_dir.to_owned(),
            server: ServerConfig { control_port, voice_port, ..ServerConfig::default() },
            ..Self::default()
        };
        config.with_database_url()
    }

    fn checked(self) -> Result<Self, ConfigError> {
        let wrong = |what: &str| Err(ConfigError::Value(what.into()));
        if !self.server.tls && !self.server.bind_address.is_loopback() {
            return wrong(
                "server.tls is off: that is allowed on a loopback server.bind_address alone, as 127.0.0.1",
            );
        }
        if self.server.control_port != 0 && self.server.control_port == self.server.voice_port {
            // TCP and UDP could share it, but a firewall rule that means one would then mean both.
            return wrong("server.control_port and server.voice_port must differ");
        }
        if (1..MAX_VOICE_PACKET as u32).contains(&self.voice.bytes_per_second_by_session) {
            return wrong(&format!(
                "voice.bytes_per_second_by_session must be at least {MAX_VOICE_PACKET}, the longest packet, or 0 for no limit"
            ));
        }
        if self.database.max_connections == 0 {
            return wrong("database.max_connections must be at least 1");
        }
        for (key, value) in [
            ("security.access_token_minutes", self.security.access_token_minutes),
            ("security.refresh_token_days", self.security.refresh_token_days),
            ("security.lockout_attempts", self.security.lockout_attempts),
            ("security.lockout_minutes", self.security.lockout_minutes),
        ] {
            if value == 0 {
                return wrong(&format!("{key} must be at least 1"));
            }
        }
        for (key, value) in [
            ("limits.handshake_seconds", self.limits.handshake_seconds),
            ("limits.request_head_seconds", self.limits.request_head_seconds),
            ("limits.request_seconds", self.limits.request_seconds),
        ] {
            if value == 0 {
                return wrong(&format!("{key} must be at least 1"));
            }
            if value > MAX_SECONDS {
                return wrong(&format!("{key} must be at most {MAX_SECONDS}"));
            }
        }
        for (key, value, most) in [
            ("security.access_token_minutes", u64::from(self.security.access_token_minutes), MAX_MINUTES),
            ("security.refresh_token_days", u64::from(self.security.refresh_token_days), MAX_DAYS),
            ("security.lockout_minutes", u64::from(self.security.lockout_minutes), MAX_MINUTES),
            ("audit.retention_days", u64::from(self.audit.retention_days), MAX_DAYS),
            ("database.acquire_timeout_seconds", self.database.acquire_timeout_seconds, MAX_SECONDS),
            ("database.idle_timeout_seconds", self.database.idle_timeout_seconds, MAX_SECONDS),
            ("database.max_lifetime_seconds", self.database.max_lifetime_seconds, MAX_SECONDS),
        ] {
            if value > most {
                return wrong(&format!("{key} must be at most {most}"));
            }
        }
        if self.database.acquire_timeout_seconds == 0 {
            return wrong("database.acquire_timeout_seconds must be at least 1");
        }
        if let Some(secret) = &self.security.jwt_secret {
            let secret = secret.expose_secret();
            if secret.len() < MIN_JWT_SECRET {
                return wrong(
                    "security.jwt_secret is too short: give it 32 characters or more, or leave it out",
                );
            }
            let lower = secret.to_lowercase();
            let placeholder = PLACEHOLDERS.iter().any(|word| lower.contains(word));
            if placeholder && !self.server.bind_address.is_loopback() {
                return wrong(
                    "security.jwt_secret looks like a placeholder: make one of your own, or leave it out",
                );
            }
        }
        Ok(self.with_database_url())
    }

    fn with_database_url(mut self) -> Self {
        if self.database.url.is_empty() {
            self.database.url = format!("sqlite:{}", self.data_dir.join("voip.db").display());
        }
        self
    }
}

impl VoiceConfig {
    /// The limits, as the voice plane takes them.
    pub fn rates(&self) -> Rates {
        Rates {
            packets_per_second: self.packets_per_second_by_session,
            bytes_per_second: self.bytes_per_second_by_session,
        }
    }
}

impl DatabaseConfig {
    /// The URL with its password masked, for people and logs.
    pub fn masked_url(&self) -> String {
        // A password may also stand behind the question mark; nothing there is worth showing.
        let (url, query) = match self.url.split_once('?') {
            Some((url, _)) if self.url.contains("password=") => (url, "?***"),
            _ => (self.url.as_str(), ""),
        };
        let shown = Self::masked(url);
        format!("{shown}{query}")
    }

    fn masked(url: &str) -> String {
        match (url.split_once("://"), url.rfind('@')) {
            (Some((scheme, _)), Some(at)) => {
                let user = &url[scheme.len() + 3..at];
                let user = user.split_once(':').map_or(user, |(user, _)| user);
                format!("{scheme}://{user}:***{}", &url[at..])
            }
            _ => url.to_owned(),
        }
    }
}

impl std::fmt::Debug for DatabaseConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DatabaseConfig")
            .field("url", &self.masked_url())
            .field("max_connections", &self.max_connections)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    fn load(yaml: Option<&str>, environment: &[(&str, &str)]) -> Result<Config, ConfigError> {
        let folder = tempfile::tempdir().unwrap();
        let file = yaml.map(|yaml| {
            let file = folder.path().join("server.yaml");
            std::fs::write(&file, yaml).unwrap();
            file
        });
        let variables: HashMap<_, _> =
            environment.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let environment = config::Environment::with_prefix("VOIP")
            .prefix_separator("_")
            .separator("__")
            .try_parsing(true)
            .source(Some(variables));
        Config::from_sources(file.as_deref(), environment)
    }

    #[test]
    fn environment_over_file_over_defaults() {
        let yaml = "server:\n  control_port: 9100\n  voice_port: 9101\n";
        let config = load(
            Some(yaml),
            &[("VOIP_SERVER__CONTROL_PORT", "9200"), ("VOIP_DATABASE__MAX_CONNECTIONS", "3")],
        );
        let config = config.unwrap();
        assert_eq!((config.server.control_port, config.server.voice_port), (9200, 9101));
        assert_eq!(config.database.max_connections, 3);
        assert_eq!(config.database.url, "sqlite:data/voip.db");
    }

    /// The example has every key and the defaults.
    #[test]
    fn the_example_is_the_default() {
        let example = load(Some(include_str!("../../server.yaml.example")), &[]).unwrap();
        assert_eq!(format!("{example:?}"), format!("{:?}", load(None, &[]).unwrap()));
    }

    #[test]
    fn each_fault_names_its_key() {
        let fault = |yaml, environment: &[_]| load(Some(yaml), environment).unwrap_err().to_string();
        assert!(fault("server:\n  kontrol_port: 1\n", &[]).contains("kontrol_port"));
        assert!(fault("server:\n  control_port: 99999\n", &[]).contains("control_port"));
        assert!(fault("server: [", &[]).contains("server.yaml"));
        assert!(fault("", &[("VOIP_SERVER__FOO", "1")]).contains("foo"));
        assert!(fault("server: {tls: false}", &[]).contains("server.tls"));
        assert!(fault("security: {jwt_secret: short}", &[]).contains("jwt_secret"));
        let long = "security: {jwt_secret: please-change-me-please-change-me-0123456789}";
        assert!(fault(long, &[]).contains("placeholder"));
        assert!(load(Some(long), &[("VOIP_SERVER__BIND_ADDRESS", "127.0.0.1")]).is_ok());
        assert!(fault("audit: {retention_days: 9999999}", &[]).contains("audit.retention_days"));
        assert!(fault("security: {lockout_minutes: 0}", &[]).contains("security.lockout_minutes"));
        let few = "voice: {bytes_per_second_by_session: 1199}";
        assert!(fault(few, &[]).contains("voice.bytes_per_second_by_session"));
        assert!(load(Some("voice: {bytes_per_second_by_session: 0}"), &[]).is_ok());
        let missing = Config::load(Some(Path::new("/nowhere/server.yaml"))).unwrap_err().to_string();
        assert!(missing.contains("/nowhere/server.yaml"));
    }

    #[test]
    fn passwords_are_masked() {
        let config = |url: &str| DatabaseConfig { url: url.into(), ..DatabaseConfig::default() };
        let masked = config("postgres://voip:p@ss:word@db.example.org/voip").masked_url();
        assert_eq!(masked, "postgres://voip:***@db.example.org/voip");
        assert_eq!(config("sqlite:data/voip.db").masked_url(), "sqlite:data/voip.db");
        let masked = config("postgres://h/d?user=voip&password=hidden&sslmode=require").masked_url();
        assert_eq!(masked, "postgres://h/d?***");
        assert!(!format!("{:?}", config("postgres://u:hidden@h/d")).contains("hidden"));
    }
}
