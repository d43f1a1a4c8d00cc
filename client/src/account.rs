//! An account at a server: its login, kept alive, and all that one may ask with it besides voice.

mod tokens;

use std::sync::Arc;

use reqwest::{Method, Response};
use secrecy::{ExposeSecret, SecretString};
use serde::de::DeserializeOwned;
use serde_json::json;
use tokio::sync::Mutex;
use url::form_urlencoded::Serializer;
use voip_protocol::{
    Address, ErrorCode, Fingerprint, LoginId, RoleId, Token, UserId,
    control::{
        CreatedUser, Device, ImportReport, Logins, PasswordReset, Role, Roles, User, UserChange, UserPage,
    },
};

use self::tokens::Tokens;
use crate::{
    ClientError, ClientErrorCode,
    net::{Ask, Body, Rest},
};

/// Where to log in, and as whom.
#[derive(Clone, Debug)]
pub struct Login {
    /// The server.
    pub address: Address,
    /// Its certificate, and no other.
    pub fingerprint: Fingerprint,
    /// Tag of the organization, where the server has several.
    pub organization: Option<String>,
    /// User name.
    pub username: String,
    /// Password; kept in memory to log in again when the login has expired.
    pub password: SecretString,
    /// Makes the account first.
    pub register: Option<Register>,
    /// What "your devices" shows of this one.
    pub device: Option<Device>,
}

/// What a new account has besides name and password.
#[derive(Clone, Debug, Default)]
pub struct Register {
    /// How others see it; the user name where none is given.
    pub display_name: Option<String>,
}

/// Which accounts a page of them shows.
#[derive(Clone, Debug, Default)]
pub struct UserQuery {
    /// Part of a user name or a display name.
    pub search: Option<String>,
    /// Only those that may log in, or only those that may not.
    pub active: Option<bool>,
    /// Those after this one.
    pub after: Option<UserId>,
    /// At most so many.
    pub limit: Option<u32>,
}

/// An account to make.
#[derive(Clone, Debug)]
pub struct NewUser {
    /// Unique in the organization.
    pub username: String,
    /// How others see it; the user name where none is given.
    pub display_name: Option<String>,
    /// E-mail address.
    pub email: Option<String>,
    /// Made by the server where none is given.
    pub password: Option<SecretString>,
    /// Its roles; Member where none are given.
    pub roles: Option<Vec<RoleId>>,
}

/// A login at a server, and the routes that it opens. An access token that has expired is replaced on the way.
pub struct Account {
    rest: Rest,
    /// Held while tokens are asked for: a refresh token is good for one use.
    tokens: Mutex<Tokens>,
}

impl Account {
    /// Not logged in before something is asked.
    pub(crate) fn new(login: Login) -> Result<Arc<Self>, ClientError> {
        let rest = Rest::new(login.address.clone(), login.fingerprint)?;
        Ok(Arc::new(Self { rest, tokens: Mutex::new(Tokens::new(login)) }))
    }

    /// Where the server is.
    pub(crate) fn address(&self) -> &Address {
        self.rest.address()
    }

    /// The certificate of the server.
    pub(crate) fn fingerprint(&self) -> Fingerprint {
        self.rest.fingerprint()
    }

    /// A token that is good now, as far as is known; another one than `refused`.
    pub(crate) async fn token(self: &Arc<Self>, refused: Option<Token>) -> Result<Token, ClientError> {
        let account = Arc::clone(self);
        // A task of its own: whoever asks may go away, but what the server answers to a refresh must be kept.
        let obtaining =
            tokio::spawn(async move { account.tokens.lock().await.obtain(&account.rest, refused).await });
        obtaining.await.map_err(|error| {
            let message = format!("logging in ended by itself ({error}): try again");
            ClientError::new(ClientErrorCode::ShutDown, message)
        })?
    }

    /// Ends the login. Nothing more can be asked with it.
    pub(crate) async fn log_out(&self) {
        self.tokens.lock().await.log_out(&self.rest).await;
    }

    /// Changes the password. The other logins of the account end.
    pub async fn change_password(
        self: &Arc<Self>,
        current: &SecretString,
        new: SecretString,
    ) -> Result<(), ClientError> {
        let fields = json!({ "current": current.expose_secret(), "new": new.expose_secret() });
        self.send(Method::POST, "/auth/password", Body::Fields(fields)).await?;
        self.tokens.lock().await.set_password(new);
        Ok(())
    }

    /// The logins of the account.
    pub async fn logins(self: &Arc<Self>) -> Result<Logins, ClientError> {
        self.ask(Method::GET, "/auth/sessions", Body::None).await
    }

    /// Ends one of them.
    pub async fn revoke(self: &Arc<Self>, login: LoginId) -> Result<(), ClientError> {
        self.send(Method::DELETE, format!("/auth/sessions/{login}"), Body::None).await.map(|_| ())
    }

    /// Ends all of them but this one.
    pub async fn revoke_others(self: &Arc<Self>) -> Result<(), ClientError> {
        let others = self.logins().await?.sessions.into_iter().filter(|login| !login.current);
        for login in others {
            match self.revoke(login.id).await {
                // It ended by itself in between.
                Err(error) if error.code == ClientErrorCode::Server(ErrorCode::UnknownLogin) => {}
                result => result?,
            }
        }
        Ok(())
    }

    /// Accounts of the organization, a page at a time.
    pub async fn users(self: &Arc<Self>, query: &UserQuery) -> Result<UserPage, ClientError> {
        self.ask(Method::GET, format!("/admin/users?{}", query.encode()), Body::None).await
    }

    /// Makes an account.
    pub async fn create_user(self: &Arc<Self>, user: &NewUser) -> Result<CreatedUser, ClientError> {
        let fields = json!({
            "username": user.username,
            "display_name": user.display_name,
            "email": user.email,
            "password": user.password.as_ref().map(ExposeSecret::expose_secret),
            "roles": user.roles,
        });
        self.ask(Method::POST, "/admin/users", Body::Fields(fields)).await
    }

    /// Changes an account.
    pub async fn change_user(
        self: &Arc<Self>,
        user: UserId,
        change: &UserChange,
    ) -> Result<User, ClientError> {
        self.ask(Method::PATCH, format!("/admin/users/{user}"), Body::Fields(json!(change))).await
    }

    /// Gives an account another password: this one, or one that the server makes.
    pub async fn reset_password(
        self: &Arc<Self>,
        user: UserId,
        password: Option<&SecretString>,
    ) -> Result<PasswordReset, ClientError> {
        let fields = json!({ "password": password.map(ExposeSecret::expose_secret) });
        self.ask(Method::POST, format!("/admin/users/{user}/password"), Body::Fields(fields)).await
    }

    /// Makes the accounts of a file; with `atomic` all of them or none.
    pub async fn import_users(
        self: &Arc<Self>,
        file: Vec<u8>,
        atomic: bool,
    ) -> Result<ImportReport, ClientError> {
        let route = format!("/admin/users/import?atomic={atomic}");
        self.ask(Method::POST, route, Body::File(file)).await
    }

    /// The accounts of the organization as a JSON file, without passwords.
    pub async fn export_users(self: &Arc<Self>) -> Result<Vec<u8>, ClientError> {
        let response = self.send(Method::GET, "/admin/users/export", Body::None).await?;
        self.rest.file(response).await
    }

    /// The roles of the organization, highest first.
    pub async fn roles(self: &Arc<Self>) -> Result<Vec<Role>, ClientError> {
        let reply: Roles = self.ask(Method::GET, "/admin/roles", Body::None).await?;
        Ok(reply.roles)
    }

    async fn ask<T: DeserializeOwned>(
        self: &Arc<Self>,
        method: Method,
        route: impl Into<String>,
        body: Body,
    ) -> Result<T, ClientError> {
        self.rest.json(self.send(method, route, body).await?).await
    }

    /// Asks with a token, and once more with a new one where it is not good any more.
    async fn send(
        self: &Arc<Self>,
        method: Method,
        route: impl Into<String>,
        body: Body,
    ) -> Result<Response, ClientError> {
        let ask = Ask { method, route: route.into(), body };
        let token = self.token(None).await?;
        match self.rest.send(&ask, Some(&token)).await {
            Err(error) if is_stale(&error) => {
                self.rest.send(&ask, Some(&self.token(Some(token)).await?)).await
            }
            result => result,
        }
    }
}

impl UserQuery {
    fn encode(&self) -> String {
        let mut query = Serializer::new(String::new());
        let fields = [
            ("search", self.search.clone()),
            ("active", self.active.map(|active| active.to_string())),
            ("after", self.after.map(|after| after.to_string())),
            ("limit", self.limit.map(|limit| limit.to_string())),
        ];
        for (name, value) in fields {
            query.extend_pairs(value.map(|value| (name, value)));
        }
        query.finish()
    }
}

/// The token was good once; the login behind it may still be.
pub(crate) fn is_stale(error: &ClientError) -> bool {
    matches!(error.code, ClientErrorCode::Server(ErrorCode::Unauthorized | ErrorCode::TokenExpired))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_says_what_is_asked_and_nothing_else() {
        assert_eq!(UserQuery::default().encode(), "");
        let query = UserQuery {
            search: Some("a&b=ü c".into()),
            active: Some(false),
            after: Some(UserId(7)),
            limit: Some(50),
        };
        assert_eq!(query.encode(), "search=a%26b%3D%C3%BC+c&active=false&after=7&limit=50");
    }
}
