//! Why a run came to nothing, in words for people.

use std::{io, path::PathBuf};

use voip_protocol::ErrorBody;
use voip_server::StoreError;

/// Why a run came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// An option has no meaning.
    #[error("{0}")]
    Option(String),
    /// The system refused something.
    #[error("{what} failed: {error}")]
    System {
        /// What.
        what: String,
        /// Why.
        error: io::Error,
    },
    /// Too few descriptors.
    #[error(
        "a run of this size opens {needed} files, the system allows {allowed}: raise the limit (ulimit -n)"
    )]
    Files {
        /// So many are needed.
        needed: u64,
        /// So many may be had.
        allowed: u64,
    },
    /// The database of the run.
    #[error("the database of the run cannot be made: {0}")]
    Store(#[from] StoreError),
    /// The accounts of the run.
    #[error("the accounts of the run cannot be made: {}", .0.message)]
    Accounts(ErrorBody),
    /// The server did not start.
    #[error("{} did not start (--server names another):\n{log}", program.display())]
    NoServer {
        /// Its program.
        program: PathBuf,
        /// The end of its log.
        log: String,
    },
    /// A client came to grief.
    #[error("client {client}: {what}")]
    Client {
        /// Its number.
        client: usize,
        /// What happened.
        what: String,
    },
    /// Some clients have no pong.
    #[error("{silent} of {clients} clients have no answer on UDP")]
    Unheard {
        /// So many.
        silent: usize,
        /// Of these.
        clients: usize,
    },
    /// Some clients hear nobody.
    #[error("{deaf} of {clients} clients hear nobody although somebody talks")]
    Deaf {
        /// So many.
        deaf: usize,
        /// Of these.
        clients: usize,
    },
    /// A thread of this program ended before its time.
    #[error("the thread that {0} ended before its time")]
    Thread(&'static str),
}

impl LoadError {
    /// For what the system refuses: what it was to do.
    pub(super) fn system(what: &str) -> impl Fn(io::Error) -> Self {
        move |error| Self::System { what: what.to_owned(), error }
    }

    /// Of one client.
    pub(super) fn client(client: usize, what: String) -> Self {
        Self::Client { client, what }
    }
}

impl From<ErrorBody> for LoadError {
    fn from(error: ErrorBody) -> Self {
        Self::Accounts(error)
    }
}
