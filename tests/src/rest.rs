//! The REST API by hand: any method, any body, and the answer as it came.

use reqwest::Method;
use serde_json::{Value, json};

use crate::server::{PASSWORD, TestServer, http};

/// Somebody who asks; connections are kept.
#[derive(Clone)]
pub struct Rest {
    http: reqwest::Client,
    base: String,
    /// Goes with each request.
    pub token: Option<String>,
    /// Of the login, once.
    pub refresh_token: String,
    /// The login's id.
    pub login: String,
    /// The account's id.
    pub user: i64,
}

/// An answer.
#[derive(Debug)]
pub struct Reply {
    /// Status.
    pub status: u16,
    /// `Retry-After`, in seconds.
    pub retry_after: Option<u64>,
    /// Null where there is none, or none in JSON.
    pub body: Value,
}

impl Reply {
    /// The body of a success.
    #[track_caller]
    pub fn ok(self) -> Value {
        assert!(self.status < 300, "{self:?}");
        self.body
    }

    /// The code of an error that the caller can do something about, which has a sentence.
    #[track_caller]
    pub fn refused(&self) -> (u16, &str) {
        assert!((400..500).contains(&self.status), "{self:?}");
        self.error()
    }

    /// The code of an error, which has a sentence.
    #[track_caller]
    pub fn error(&self) -> (u16, &str) {
        let error = &self.body["error"];
        assert!(error["message"].as_str().is_some_and(|message| message.len() > 15), "{self:?}");
        (self.status, error["code"].as_str().unwrap())
    }
}

impl Rest {
    /// Somebody who is not logged in.
    pub fn new(server: &TestServer) -> Self {
        Self::at(server.url(""))
    }

    /// The same, at an address as `https://127.0.0.1:9000`.
    pub fn at(base: String) -> Self {
        Self { http: http(), base, token: None, refresh_token: String::new(), login: String::new(), user: 0 }
    }

    /// Registers with everybody's password.
    pub async fn register(server: &TestServer, name: &str) -> Self {
        let mut rest = Self::new(server);
        let reply = rest.post("/auth/register", json!({ "username": name, "password": PASSWORD })).await.ok();
        rest.take(&reply);
        rest
    }

    /// Logs in with everybody's password.
    pub async fn log_in(server: &TestServer, name: &str) -> Self {
        let mut rest = Self::new(server);
        let reply = rest.try_log_in(name, PASSWORD).await.ok();
        rest.take(&reply);
        rest
    }

    /// Tries to log in.
    pub async fn try_log_in(&self, name: &str, password: &str) -> Reply {
        self.post("/auth/login", json!({ "username": name, "password": password })).await
    }

    /// Goes on with the tokens of an answer.
    pub fn take(&mut self, reply: &Value) {
        let text = |field: &str| reply[field].as_str().unwrap().to_owned();
        self.token = Some(text("access_token"));
        self.refresh_token = text("refresh_token");
        self.login = text("login");
        self.user = reply["account"]["id"].as_i64().unwrap();
    }

    /// Somebody with another token, or none.
    #[must_use]
    pub fn with_token(&self, token: Option<&str>) -> Self {
        Self { token: token.map(str::to_owned), ..self.clone() }
    }

    /// `GET`.
    pub async fn get(&self, route: &str) -> Reply {
        self.send(Method::GET, route, Vec::new()).await
    }

    /// `POST` of JSON.
    pub async fn post(&self, route: &str, body: Value) -> Reply {
        self.send(Method::POST, route, body.to_string()).await
    }

    /// `PATCH` of JSON.
    pub async fn patch(&self, route: &str, body: Value) -> Reply {
        self.send(Method::PATCH, route, body.to_string()).await
    }

    /// `DELETE`.
    pub async fn delete(&self, route: &str) -> Reply {
        self.send(Method::DELETE, route, Vec::new()).await
    }

    /// Whatever.
    pub async fn send(&self, method: Method, route: &str, body: impl Into<reqwest::Body>) -> Reply {
        self.try_send(method, route, body).await.unwrap()
    }

    /// The same, where there may be no answer.
    pub async fn try_send(
        &self,
        method: Method,
        route: &str,
        body: impl Into<reqwest::Body>,
    ) -> Result<Reply, reqwest::Error> {
        let mut request = self.http.request(method, format!("{}{route}", self.base)).body(body);
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        let response = request.header("content-type", "application/json").send().await?;
        let status = response.status().as_u16();
        let retry_after = response.headers().get("retry-after");
        let retry_after = retry_after.map(|seconds| seconds.to_str().unwrap().parse().unwrap());
        let text = response.bytes().await?;
        Ok(Reply { status, retry_after, body: serde_json::from_slice(&text).unwrap_or_default() })
    }
}
