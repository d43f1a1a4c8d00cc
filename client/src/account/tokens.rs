//! The tokens of a login: which one is good, and how to come by the next.

use std::time::Duration;

use reqwest::Method;
use secrecy::SecretString;
use tokio::time::Instant;
use voip_protocol::{ErrorCode, Token, control::LoginReply};

use super::{Login, is_stale};
use crate::{
    ClientError, ClientErrorCode,
    net::{Ask, Body, Rest},
};

/// An access token is not used for the last bit of its life: it would expire on its way.
const MARGIN: Duration = Duration::from_secs(20);

/// The login as it stands.
pub(super) struct Tokens {
    login: Login,
    standing: Standing,
}

enum Standing {
    /// By name and password next.
    LoggedOut,
    LoggedIn {
        access: Token,
        refresh: Token,
        fresh_until: Instant,
    },
    /// For good: only a person may log in again.
    Over(ClientError),
}

/// What becomes of a login whose refresh was refused or had no answer.
#[derive(Debug, PartialEq, Eq)]
enum Refused {
    /// The refresh token is as good as before.
    Keep,
    /// It is of no use any more: name and password are.
    LogIn,
    /// It was ended on purpose, or somebody else has used the token.
    Over,
}

impl Tokens {
    pub(super) fn new(login: Login) -> Self {
        Self { login, standing: Standing::LoggedOut }
    }

    /// For the next time that it takes name and password.
    pub(super) fn set_password(&mut self, password: SecretString) {
        self.login.password = password;
    }

    /// An access token other than the refused one: the one there is, else by refresh, else by name and password.
    pub(super) async fn obtain(&mut self, rest: &Rest, refused: Option<Token>) -> Result<Token, ClientError> {
        match &self.standing {
            Standing::Over(error) => return Err(error.clone()),
            Standing::LoggedIn { access, refresh, fresh_until } => {
                if refused.as_ref() != Some(access) && Instant::now() < *fresh_until {
                    return Ok(access.clone());
                }
                match rest.refresh(refresh.clone()).await {
                    Ok(reply) => return Ok(self.take(reply)),
                    Err(error) => match refusal(&error) {
                        Refused::Keep => return Err(error),
                        Refused::LogIn => {
                            self.standing = Standing::LoggedOut;
                            if !is_stale(&error) {
                                return Err(error);
                            }
                        }
                        Refused::Over => {
                            self.standing = Standing::Over(error.clone());
                            return Err(error);
                        }
                    },
                }
            }
            Standing::LoggedOut => {}
        }
        let reply = match &self.login.register {
            Some(account) => rest.register(&self.login, account).await?,
            None => rest.log_in(&self.login).await?,
        };
        // From now on the account is there.
        self.login.register = None;
        Ok(self.take(reply))
    }

    /// Ends the login at the server, and here in any case.
    pub(super) async fn log_out(&mut self, rest: &Rest) {
        let over = ClientError::new(ClientErrorCode::NotConnected, "you have logged out: connect first");
        let before = std::mem::replace(&mut self.standing, Standing::Over(over));
        let Standing::LoggedIn { access, refresh, fresh_until } = before else { return };
        let token = if Instant::now() < fresh_until {
            Ok(access)
        } else {
            rest.refresh(refresh).await.map(|reply| reply.access_token)
        };
        let told = match token {
            Ok(token) => {
                let ask = Ask { method: Method::POST, route: "/auth/logout".into(), body: Body::None };
                rest.send(&ask, Some(&token)).await.map(|_| ())
            }
            Err(error) => Err(error),
        };
        if let Err(error) = told {
            tracing::info!(%error, "the login could not be ended: it ends when it expires");
        }
    }

    fn take(&mut self, reply: LoginReply) -> Token {
        let life = Duration::from_secs(reply.expires_in);
        let access = reply.access_token;
        self.standing = Standing::LoggedIn {
            access: access.clone(),
            refresh: reply.refresh_token,
            fresh_until: Instant::now() + life.saturating_sub(MARGIN.min(life / 4)),
        };
        access
    }
}

fn refusal(error: &ClientError) -> Refused {
    match error.code {
        ClientErrorCode::Server(ErrorCode::LoginRevoked) => Refused::Over,
        ClientErrorCode::Server(ErrorCode::Unauthorized | ErrorCode::TokenExpired) => Refused::LogIn,
        // It may have been spent and the answer lost. Used again it would look stolen.
        ClientErrorCode::TimedOut | ClientErrorCode::ConnectionLost | ClientErrorCode::NotAVoiceServer => {
            Refused::LogIn
        }
        _ => Refused::Keep,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refresh_that_fails_is_never_tried_twice_with_a_token_that_may_be_spent() {
        let refused = |code| refusal(&ClientError::new(code, "x"));
        for code in [ErrorCode::Unauthorized, ErrorCode::TokenExpired] {
            assert_eq!(refused(ClientErrorCode::Server(code)), Refused::LogIn);
        }
        for code in
            [ClientErrorCode::TimedOut, ClientErrorCode::ConnectionLost, ClientErrorCode::NotAVoiceServer]
        {
            assert_eq!(refused(code), Refused::LogIn);
        }
        assert_eq!(refused(ClientErrorCode::Server(ErrorCode::LoginRevoked)), Refused::Over);
        for code in [
            ClientErrorCode::Unreachable,
            ClientErrorCode::CertificateChanged,
            ClientErrorCode::Server(ErrorCode::DatabaseUnavailable),
            ClientErrorCode::Server(ErrorCode::TooManyRequests),
        ] {
            assert_eq!(refused(code), Refused::Keep);
        }
    }
}
