//! The REST routes, over TLS that takes one certificate.

use std::{sync::Arc, time::Duration};

use reqwest::{Method, Response, header};
use secrecy::ExposeSecret;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use voip_protocol::{
    Address, Fingerprint, Token,
    control::{ErrorReply, LoginReply, Refresh},
};

use super::tls::{ANSWER, Pin, timed_out};
use crate::{ClientError, ClientErrorCode, Login, Register};

/// How long an import may take: the server hashes a password for each entry.
const IMPORT: Duration = Duration::from_secs(600);
/// How long a connection may take to open.
const OPEN: Duration = Duration::from_secs(4);

/// A request.
pub(crate) struct Ask {
    /// How.
    pub(crate) method: Method,
    /// What, with its query.
    pub(crate) route: String,
    /// With what.
    pub(crate) body: Body,
}

/// What goes along with a request.
pub(crate) enum Body {
    /// Nothing.
    None,
    /// The fields of a request.
    Fields(Value),
    /// A JSON file as it is.
    File(Vec<u8>),
}

/// One server's routes.
pub(crate) struct Rest {
    address: Address,
    fingerprint: Fingerprint,
    pin: Arc<Pin>,
    http: reqwest::Client,
}

impl Rest {
    /// Asks nothing yet.
    pub(crate) fn new(address: Address, fingerprint: Fingerprint) -> Result<Self, ClientError> {
        let pin = Arc::new(Pin::only(fingerprint));
        let http = reqwest::Client::builder()
            .tls_backend_preconfigured(pin.config())
            .no_proxy()
            .connect_timeout(OPEN)
            // Requests are rare: a connection that was kept would most likely be dead by the next one.
            .pool_max_idle_per_host(0)
            .user_agent(concat!("voip-client/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| {
                let message = format!("requests to {address} cannot be made ({error}): restart the program");
                ClientError::new(ClientErrorCode::Unreachable, message)
            })?;
        Ok(Self { address, fingerprint, pin, http })
    }

    /// Where the server is.
    pub(crate) fn address(&self) -> &Address {
        &self.address
    }

    /// The one certificate that it may show.
    pub(crate) fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    /// Makes an account and logs it in.
    pub(crate) async fn register(
        &self,
        login: &Login,
        account: &Register,
    ) -> Result<LoginReply, ClientError> {
        let mut fields = credentials(login);
        fields["display_name"] = json!(account.display_name);
        self.post("/auth/register", fields).await
    }

    /// Logs in.
    pub(crate) async fn log_in(&self, login: &Login) -> Result<LoginReply, ClientError> {
        self.post("/auth/login", credentials(login)).await
    }

    /// New tokens for the newest refresh token, which is spent by it.
    pub(crate) async fn refresh(&self, refresh_token: Token) -> Result<LoginReply, ClientError> {
        self.post("/auth/refresh", json!(Refresh { refresh_token })).await
    }

    /// Asks; what is not a success is an error.
    pub(crate) async fn send(&self, ask: &Ask, token: Option<&Token>) -> Result<Response, ClientError> {
        let url = format!("https://{}{}", self.address, ask.route);
        let mut request = self.http.request(ask.method.clone(), url).timeout(ANSWER);
        if let Some(token) = token {
            request = request.bearer_auth(token.expose());
        }
        request = match &ask.body {
            Body::None => request,
            Body::Fields(fields) => request.json(fields),
            Body::File(file) => {
                let json = request.header(header::CONTENT_TYPE, "application/json");
                json.timeout(IMPORT).body(file.clone())
            }
        };
        let response = request.send().await.map_err(|error| self.failed(&error))?;
        if response.status().is_success() {
            return Ok(response);
        }
        let reply: ErrorReply = self.json(response).await?;
        Err(reply.error.into())
    }

    /// What an answer says.
    pub(crate) async fn json<T: DeserializeOwned>(&self, response: Response) -> Result<T, ClientError> {
        response.json().await.map_err(|error| self.failed(&error))
    }

    /// The file that is the answer.
    pub(crate) async fn file(&self, response: Response) -> Result<Vec<u8>, ClientError> {
        Ok(response.bytes().await.map_err(|error| self.failed(&error))?.to_vec())
    }

    async fn post<T: DeserializeOwned>(&self, route: &str, fields: Value) -> Result<T, ClientError> {
        let ask = Ask { method: Method::POST, route: route.into(), body: Body::Fields(fields) };
        self.json(self.send(&ask, None).await?).await
    }

    fn failed(&self, error: &reqwest::Error) -> ClientError {
        let address = &self.address;
        if let Some(error) = self.pin.mismatch(address) {
            return error;
        }
        if error.is_connect() {
            let message =
                format!("nobody answers at {address} ({error}): check the address, and that the server runs");
            return ClientError::new(ClientErrorCode::Unreachable, message);
        }
        if error.is_timeout() {
            return timed_out(address);
        }
        if error.is_decode() {
            let message = format!(
                "{address} does not answer as a voice server ({error}): check the address and the port"
            );
            return ClientError::new(ClientErrorCode::NotAVoiceServer, message);
        }
        let message = format!("{address} broke the connection before it answered ({error}): try again");
        ClientError::new(ClientErrorCode::ConnectionLost, message)
    }
}

fn credentials(login: &Login) -> Value {
    json!({
        "organization": login.organization,
        "username": login.username,
        "password": login.password.expose_secret(),
        "device": login.device,
    })
}
