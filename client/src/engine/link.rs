//! The link to the server: where it stands, and what happens to it next.

use std::sync::Arc;

use tokio::{
    sync::{Notify, mpsc},
    task::JoinHandle,
    time::{Instant, timeout},
};
use voip_protocol::{
    Address, SessionId, Token,
    control::{Request, ServerEvent, ServerMessage, Snapshot},
};

use super::Reply;
use crate::{
    Account, ClientError, ClientErrorCode,
    account::is_stale,
    net::{ControlSocket, connect_control},
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
    },
    /// Connected.
    Online {
        /// What to ask.
        requests: mpsc::Sender<Request>,
        /// Told when the network has changed.
        check: Arc<Notify>,
        /// What the server says.
        messages: mpsc::Receiver<Result<ServerMessage, ClientError>>,
    },
    /// Between two attempts.
    Waiting {
        /// The next one.
        until: Instant,
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
    /// Begins an attempt; `session` is the one that is to go on.
    pub(super) fn trying(account: &Arc<Account>, session: Option<SessionId>, reply: Option<Reply>) -> Self {
        Self::Trying { attempt: Attempt(tokio::spawn(open(Arc::clone(account), session))), reply }
    }

    pub(super) fn online(socket: ControlSocket) -> Self {
        Self::Online { requests: socket.requests, check: socket.check, messages: socket.messages }
    }

    /// Waits for the next step. Cancelling loses nothing.
    pub(super) async fn next(&mut self) -> Step {
        match self {
            Self::Offline => std::future::pending().await,
            Self::Trying { attempt, reply } => {
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
            Self::Waiting { until } => {
                tokio::time::sleep_until(*until).await;
                Step::Retry
            }
        }
    }
}

async fn open(account: Arc<Account>, session: Option<SessionId>) -> Result<Opened, ClientError> {
    let token = account.token(None).await?;
    match connect(&account, &token, session).await {
        Err(error) if is_stale(&error) => {
            connect(&account, &account.token(Some(token)).await?, session).await
        }
        result => result,
    }
}

async fn connect(
    account: &Account,
    token: &Token,
    session: Option<SessionId>,
) -> Result<Opened, ClientError> {
    let address = account.address();
    let mut socket = connect_control(address, account.fingerprint(), token.expose(), session).await?;
    let snapshot = snapshot(&mut socket, address).await?;
    Ok(Opened { socket, snapshot })
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
