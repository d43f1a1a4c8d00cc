//! What can go wrong with the database, told apart where the answer to it differs.

use std::{path::PathBuf, sync::Arc};

use sqlx::error::ErrorKind;

/// An error of the database.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// The URL in the configuration is no database's.
    #[error("database.url cannot be used: {0}")]
    Url(String),
    /// The folder of the database file cannot be made.
    #[error("the folder {} cannot be made: {reason}", folder.display())]
    Folder {
        /// Which.
        folder: PathBuf,
        /// What the system said.
        reason: String,
    },
    /// The file is something else.
    #[error(
        "the database file is not an SQLite database, or it is damaged: name another file, or restore a backup"
    )]
    NotADatabase,
    /// A later version of the program made it.
    #[error("the database was made by a later version (migration {0} is unknown here): install that version")]
    Newer(i64),
    /// A migration failed; the database is as it was before it.
    #[error("a migration failed, and was rolled back: {0}")]
    Migration(String),
    /// A row with this key is there already.
    #[error("it exists already")]
    Duplicate,
    /// A row that it refers to is not there.
    #[error("what it belongs to does not exist")]
    MissingParent,
    /// The organization has as many as it may.
    #[error("the organization may have {most} {what} at most")]
    Quota {
        /// `users` or `channels`.
        what: &'static str,
        /// How many.
        most: i64,
    },
    /// No space left for the database.
    #[error("the disk with the database is full: make room, nothing stored is lost")]
    Full,
    /// The database file or its folder may not be written.
    #[error("the database cannot be written: check the permissions of the file and its folder")]
    ReadOnly,
    /// It does not answer, or not in time.
    #[error("the database does not answer: {0}")]
    Unavailable(String),
    /// Anything else.
    #[error("the database failed: {0}")]
    Other(Arc<sqlx::Error>),
}

/// Primary result codes of SQLite, <https://www.sqlite.org/rescode.html>.
mod sqlite {
    pub(super) const BUSY: u32 = 5;
    pub(super) const LOCKED: u32 = 6;
    pub(super) const IOERR: u32 = 10;
    pub(super) const READONLY: u32 = 8;
    pub(super) const FULL: u32 = 13;
    pub(super) const CANTOPEN: u32 = 14;
    pub(super) const NOTADB: u32 = 26;
    pub(super) const CORRUPT: u32 = 11;
}

/// Whether SQLite says that another one is at the file.
pub(super) fn is_busy(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|error| error.code()?.parse::<u32>().ok());
    matches!(error, sqlx::Error::Database(database) if database.try_downcast_ref::<sqlx::sqlite::SqliteError>().is_some())
        && code.is_some_and(|code| code & 0xff == sqlite::BUSY)
}

/// SQLSTATE of PostgreSQL, <https://www.postgresql.org/docs/15/errcodes-appendix.html>.
mod postgres {
    pub(super) const DISK_FULL: &str = "53100";
    pub(super) const READ_ONLY_TRANSACTION: &str = "25006";
    /// Too many connections; shut down by its administrator, after a crash, or still starting; cancelled; lost against
    /// another transaction.
    pub(super) const AWAY: [&str; 7] = ["53300", "57P01", "57P02", "57P03", "57014", "40001", "40P01"];
    /// Class: connection exception.
    pub(super) const CONNECTION: &str = "08";
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        use sqlx::Error;
        match &error {
            Error::Database(database) => {
                let code = database.code().unwrap_or_default();
                if let Some(sqlite) =
                    database.try_downcast_ref::<sqlx::sqlite::SqliteError>().and(code.parse::<u32>().ok())
                {
                    // The low byte of an extended result code is the primary one.
                    match sqlite & 0xff {
                        sqlite::FULL => return Self::Full,
                        sqlite::READONLY => return Self::ReadOnly,
                        sqlite::NOTADB | sqlite::CORRUPT => return Self::NotADatabase,
                        sqlite::CANTOPEN | sqlite::BUSY | sqlite::LOCKED | sqlite::IOERR => {
                            return Self::Unavailable(error.to_string());
                        }
                        _ => {}
                    }
                }
                if database.try_downcast_ref::<sqlx::postgres::PgDatabaseError>().is_some() {
                    match &*code {
                        postgres::DISK_FULL => return Self::Full,
                        postgres::READ_ONLY_TRANSACTION => return Self::ReadOnly,
                        away if postgres::AWAY.contains(&away) || away.starts_with(postgres::CONNECTION) => {
                            return Self::Unavailable(error.to_string());
                        }
                        _ => {}
                    }
                }
                match database.kind() {
                    ErrorKind::UniqueViolation => Self::Duplicate,
                    ErrorKind::ForeignKeyViolation => Self::MissingParent,
                    _ => Self::Other(Arc::new(error)),
                }
            }
            Error::PoolTimedOut | Error::PoolClosed | Error::Io(_) | Error::Tls(_) | Error::WorkerCrashed => {
                Self::Unavailable(error.to_string())
            }
            _ => Self::Other(Arc::new(error)),
        }
    }
}
