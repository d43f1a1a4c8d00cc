//! The REST routes under `/auth`.

use std::sync::Arc;

use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use voip_protocol::{
    Address, Fingerprint,
    control::{ErrorReply, LoginReply},
};

use super::tls::{ANSWER, Pin, timed_out};
use crate::{ClientError, ClientErrorCode};

/// Makes an account and logs it in.
pub async fn register(
    address: &Address,
    fingerprint: Fingerprint,
    organization: Option<&str>,
    username: &str,
    password: &SecretString,
    display_name: Option<&str>,
) -> Result<LoginReply, ClientError> {
    let body = json!({
        "organization": organization,
        "username": username,
        "password": password.expose_secret(),
        "display_name": display_name,
    });
    post(address, fingerprint, "/auth/register", &body).await
}

/// Logs in.
pub async fn log_in(
    address: &Address,
    fingerprint: Fingerprint,
    organization: Option<&str>,
    username: &str,
    password: &SecretString,
) -> Result<LoginReply, ClientError> {
    let body = json!({
        "organization": organization,
        "username": username,
        "password": password.expose_secret(),
    });
    post(address, fingerprint, "/auth/login", &body).await
}

async fn post(
    address: &Address,
    fingerprint: Fingerprint,
    route: &str,
    body: &Value,
) -> Result<LoginReply, ClientError> {
    let pin = Arc::new(Pin::only(fingerprint));
    let failed = |error: &reqwest::Error| {
        if let Some(error) = pin.mismatch(address) {
            return error;
        }
        if error.is_timeout() {
            return timed_out(address);
        }
        let code =
            if error.is_connect() { ClientErrorCode::Unreachable } else { ClientErrorCode::NotAVoiceServer };
        let message =
            format!("{address} does not answer as a voice server ({error}): check the address and the port");
        ClientError::new(code, message)
    };
    let client = reqwest::Client::builder()
        .tls_backend_preconfigured(pin.config())
        .no_proxy()
        .timeout(ANSWER)
        .user_agent(concat!("voip-client/", env!("CARGO_PKG_VERSION")))
        .build()
        .map_err(|error| failed(&error))?;
    let url = format!("https://{address}{route}");
    let response = client.post(url).json(body).send().await.map_err(|error| failed(&error))?;
    if response.status().is_success() {
        return response.json().await.map_err(|error| failed(&error));
    }
    let reply: ErrorReply = response.json().await.map_err(|error| failed(&error))?;
    Err(reply.error.into())
}
