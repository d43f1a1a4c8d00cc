//! The link to the server: where it stands, and what happens to it next.

use secrecy::SecretString;
use tokio::{
    sync::mpsc,
    task::JoinHandle,
    time::{Instant, timeout},
};
use voip_protocol::{
    Address,
    control::{Request, ServerEvent, ServerMessage, Snapshot},
};

use super::{Login, Reply};
use crate::{
    ClientError, ClientErrorCode,
    net::{ControlSocket, connect_control, log_in, register},
};

/// How long the snapshot may take.
const SNAPSHOT: std::time::Duration = std::time::Duration::from_secs(5);

/// Where the link stands.
pub(super) enum Link {
    /// Nothing is wanted.
    Offline,
    /// An attempt is under way.
    Trying {
        /// The attempt; aborted when dropped.
        attempt: Attempt,
        /// Whoever waits for the first one.
        reply: Option<Reply>,
        /// What it comes with, for the next one.
        token: Option<SecretString>,
    },
    /// Connected.
    Online {
        /// What to ask.
        requests: mpsc::Sender<Request>,
        /// What the server says.
        messages: mpsc::Receiver<Result<ServerMessage, ClientError>>,
        /// To come back with.
        token: SecretString,
    },
    /// Between two attempts.
    Waiting {
        /// The next one.
        until: Instant,
        /// To come back with.
        token: Option<SecretString>,
    },
}

/// An attempt of its own task.
pub(super) struct Attempt(JoinHandle<Result<Opened, ClientError>>);

impl Drop for Attempt {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A connection with its first snapshot.
pub(super) struct Opened {
    pub(super) socket: ControlSocket,
    pub(super) snapshot: Snapshot,
    pub(super) token: SecretString,
}

/// What happened to the link.
pub(super) enum Step {
    /// The attempt succeeded.
    Opened(Box<Opened>, Option<Reply>),
    /// The attempt failed.
    Failed(ClientError, Option<Reply>),
    /// The server said something.
    Message(ServerMessage),
    /// The connection is gone.
    Lost(ClientError),
    /// It is time for the next attempt.
    Retry,
}

impl Link {
    pub(super) fn trying(login: Login, token: Option<SecretString>, reply: Option<Reply>) -> Self {
        Self::Trying { attempt: Attempt(tokio::spawn(open(login, token.clone()))), reply, token }
    }

    pub(super) fn online(socket: ControlSocket, token: SecretString) -> Self {
        Self::Online { requests: socket.requests, messages: socket.messages, token }
    }

    /// Waits for the next step. Cancelling loses nothing.
    pub(super) async fn next(&mut self) -> Step {
        match self {
            Self::Offline => std::future::pending().await,
            Self::Trying { attempt, reply, .. } => {
                let result = (&mut attempt.0).await;
                let reply = reply.take();
                match result {
                    Ok(Ok(opened)) => Step::Opened(Box::new(opened), reply),
                    Ok(Err(error)) => Step::Failed(error, reply),
                    Err(error) => {
                        let message = format!("connecting ended by itself ({error}): try again");
                        Step::Failed(ClientError::new(ClientErrorCode::ConnectionLost, message), reply)
                    }
                }
            }
            Self::Online { messages, .. } => match messages.recv().await {
                Some(Ok(message)) => Step::Message(message),
                Some(Err(error)) => Step::Lost(error),
                None => Step::Lost(ClientError::new(
                    ClientErrorCode::ConnectionLost,
                    "the connection to the server was lost: it comes back by itself",
                )),
            },
            Self::Waiting { until, .. } => {
                tokio::time::sleep_until(*until).await;
                Step::Retry
            }
        }
    }

    /// The token of the connection that was, to come back with.
    pub(super) fn take_token(&mut self) -> Option<SecretString> {
        match std::mem::replace(self, Self::Offline) {
            Self::Online { token, .. } => Some(token),
            Self::Waiting { token, .. } | Self::Trying { token, .. } => token,
            Self::Offline => None,
        }
    }
}

async fn open(login: Login, token: Option<SecretString>) -> Result<Opened, ClientError> {
    use secrecy::ExposeSecret;
    let address = &login.address;
    let organization = login.organization.as_deref();
    let token = match (token, login.register) {
        (Some(token), _) => token,
        (None, Some(account)) => {
            let display_name = account.display_name.as_deref();
            let reply = register(
                address,
                login.fingerprint,
                organization,
                &login.username,
                &login.password,
                display_name,
            );
            reply.await?.access_token.into()
        }
        (None, None) => {
            let reply =
                log_in(address, login.fingerprint, organization, &login.username, &login.password).await?;
            reply.access_token.into()
        }
    };
    let mut socket = connect_control(address, login.fingerprint, token.expose_secret()).await?;
    let snapshot = snapshot(&mut socket, address).await?;
    Ok(Opened { socket, snapshot, token })
}

async fn snapshot(socket: &mut ControlSocket, address: &Address) -> Result<Snapshot, ClientError> {
    match timeout(SNAPSHOT, socket.messages.recv()).await {
        Ok(Some(Ok(ServerMessage::Event(ServerEvent::Snapshot(snapshot))))) => Ok(*snapshot),
        Ok(Some(Ok(ServerMessage::Failure { error, .. }))) => Err(error.into()),
        Ok(Some(Err(error))) => Err(error),
        Ok(Some(Ok(_)) | None) => {
            let message =
                format!("{address} does not say who is there: it is no voice server, or of another version");
            Err(ClientError::new(ClientErrorCode::NotAVoiceServer, message))
        }
        Err(_) => {
            let message = format!("{address} does not say in time who is there: try again");
            Err(ClientError::new(ClientErrorCode::TimedOut, message))
        }
    }
}
