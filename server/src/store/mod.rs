//! Storage: one set of repositories over two databases.
//!
//! Every statement but two is written once, with `$1` placeholders and the SQL that SQLite and PostgreSQL share. Reads are
//! methods of [`Store`] and run on whichever pool is open; writes are methods of [`Transaction`], so that what
//! belongs together holds together, its audit row with it. "Not there" is `Option`, not an error.

mod at;
mod audit;
mod channels;
mod error;
mod inline;
mod logins;
mod memberships;
mod migrations;
mod organizations;
mod roles;
mod statements;
mod together;
mod transaction;
mod users;

use std::{
    path::Path,
    str::FromStr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use sqlx::{
    Connection, Executor, PgPool, SqlitePool,
    postgres::{PgConnectOptions, PgPoolOptions},
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};
use uuid::Uuid;

pub use audit::{AuditEntry, AuditFilter, AuditRow};
pub use channels::{AclRow, ChannelFields, ChannelRow};
pub use error::StoreError;
pub use logins::{Caller, LoginRow, NewLogin, TokenHash};
pub use migrations::MigrationState;
pub use organizations::{DEFAULT_MAX_CHANNELS, DEFAULT_MAX_USERS, OrganizationFields, OrganizationRow};
pub use roles::{HeldRoleRow, RoleRow};
pub use statements::statements;
pub use transaction::Transaction;
pub use users::{Failure, NewUser, REGISTERED, UserFilter, UserRow};

use crate::config::DatabaseConfig;
use inline::Inline;
use together::Together;

/// An open database with its schema in place.
#[derive(Clone)]
pub struct Store {
    pool: Pool,
    /// Audit rows written since the start.
    audit_writes: Arc<AtomicU64>,
}

/// SQLite has one writer at a time. Those who wait for it queue here, in order, instead of trying again and again.
/// What is asked most is read inline, where the database is a file; PostgreSQL is asked once for all who ask together.
#[derive(Clone)]
enum Pool {
    Sqlite { readers: SqlitePool, writer: SqlitePool, inline: Option<Arc<Inline>> },
    Postgres { pool: PgPool, callers: Arc<Together<Uuid, Caller>> },
}

/// Which database it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum DatabaseKind {
    /// SQLite, in a file or in memory.
    Sqlite,
    /// PostgreSQL.
    Postgres,
}

impl std::fmt::Display for DatabaseKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Sqlite => "SQLite",
            Self::Postgres => "PostgreSQL",
        })
    }
}

/// Pool figures of `/healthz`.
#[derive(Clone, Copy, Debug, serde::Serialize, utoipa::ToSchema)]
pub struct PoolFigures {
    /// Open connections.
    pub size: u32,
    /// Of these, not in use.
    pub idle: usize,
    /// Of these, in use.
    pub in_use: usize,
    /// How many there may be.
    pub max: u32,
}

/// Runs an expression on whichever pool is open, to read. In it, `Db` names the database's type.
macro_rules! on {
    ($store:expr, $pool:ident => $body:expr) => {
        match &$store.pool {
            $crate::store::Pool::Sqlite { readers: $pool, .. } => {
                #[allow(dead_code)]
                type Db = sqlx::Sqlite;
                $body
            }
            $crate::store::Pool::Postgres { pool: $pool, .. } => {
                #[allow(dead_code)]
                type Db = sqlx::Postgres;
                $body
            }
        }
    };
}
use on;

/// How long SQLite waits for another process that writes.
const SQLITE_BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// Until the next try, where SQLite does not wait by itself.
const BUSY_PAUSE: Duration = Duration::from_millis(20);
/// Rows that the driver of SQLite reads ahead.
const ROWS_AT_ONCE: usize = 1_024;
/// How long a statement that many wait for may take.
const LONGEST_STATEMENT: Duration = Duration::from_secs(5);
/// A connection to PostgreSQL that rested for longer is tried before it is used.
const TEST_AFTER_REST: Duration = Duration::from_secs(1);

impl Store {
    /// Opens the database, creating an SQLite file that is not there, and brings its schema up to date.
    pub async fn open(config: &DatabaseConfig) -> Result<Self, StoreError> {
        let store = Self::connect(config).await?;
        store.migrate_up(None).await?;
        store.check_writable().await?;
        Ok(store)
    }

    /// Opens the database as it is, for the commands that migrate.
    pub async fn connect(config: &DatabaseConfig) -> Result<Self, StoreError> {
        let pool = if config.url.starts_with("sqlite:") {
            connect_sqlite(config).await?
        } else if config.url.starts_with("postgres:") || config.url.starts_with("postgresql:") {
            connect_postgres(config).await?
        } else {
            return Err(StoreError::Url(
                "it must begin with sqlite: or postgres:, as in sqlite:voip.db or postgres://user:password@host/voip"
                    .into(),
            ));
        };
        Ok(Self { pool, audit_writes: Arc::default() })
    }

    /// Which database it is.
    pub fn kind(&self) -> DatabaseKind {
        match self.pool {
            Pool::Sqlite { .. } => DatabaseKind::Sqlite,
            Pool::Postgres { .. } => DatabaseKind::Postgres,
        }
    }

    /// Whether it answers.
    pub async fn ping(&self) -> Result<(), StoreError> {
        on!(self, pool => sqlx::query("SELECT 1").execute(pool).await.map(drop).map_err(StoreError::from))
    }

    /// Finds out at the start, not at the first login, that nothing can be written.
    async fn check_writable(&self) -> Result<(), StoreError> {
        match self.begin().await?.inner {
            transaction::Inner::Sqlite(transaction) => transaction.rollback().await?,
            transaction::Inner::Postgres(mut transaction) => {
                let read_only: String =
                    sqlx::query_scalar("SHOW transaction_read_only").fetch_one(&mut *transaction).await?;
                if read_only == "on" {
                    return Err(StoreError::ReadOnly);
                }
                transaction.rollback().await?;
            }
        }
        Ok(())
    }

    /// Reads inline, where that is possible.
    fn inline(&self) -> Option<&Inline> {
        match &self.pool {
            Pool::Sqlite { inline, .. } => inline.as_deref(),
            Pool::Postgres { .. } => None,
        }
    }

    /// Whether a statement is one that this database takes.
    pub async fn prepare(&self, statement: &'static str) -> Result<(), StoreError> {
        on!(self, pool => pool.acquire().await?.prepare(sqlx::SqlStr::from_static(statement)).await.map(drop))?;
        Ok(())
    }

    /// Audit rows written since the store was opened.
    pub fn audit_writes(&self) -> u64 {
        self.audit_writes.load(Ordering::Relaxed)
    }

    /// The pool, now; on SQLite readers and writer together.
    pub fn pool_figures(&self) -> PoolFigures {
        fn figures<DB: sqlx::Database>(pool: &sqlx::Pool<DB>) -> (u32, usize, u32) {
            (pool.size(), pool.num_idle(), pool.options().get_max_connections())
        }
        let (size, idle, max) = match &self.pool {
            Pool::Sqlite { inline: None, writer, .. } => figures(writer),
            Pool::Sqlite { readers, writer, .. } => {
                let (readers, writer) = (figures(readers), figures(writer));
                (readers.0 + writer.0, readers.1 + writer.1, readers.2 + writer.2)
            }
            Pool::Postgres { pool, .. } => figures(pool),
        };
        PoolFigures { size, idle, in_use: (size as usize).saturating_sub(idle), max }
    }

    /// Waits for what is under way and closes every connection.
    pub async fn close(&self) {
        match &self.pool {
            Pool::Sqlite { readers, writer, inline } => {
                if let Some(inline) = inline {
                    inline.close();
                }
                readers.close().await;
                writer.close().await;
            }
            Pool::Postgres { pool, .. } => pool.close().await,
        }
    }
}

async fn connect_sqlite(config: &DatabaseConfig) -> Result<Pool, StoreError> {
    let in_memory = config.url.contains(":memory:");
    let options = SqliteConnectOptions::from_str(&config.url)
        .map_err(|error| StoreError::Url(error.to_string()))?
        .create_if_missing(!config.url.contains("mode=ro"))
        .foreign_keys(true)
        .journal_mode(if in_memory { SqliteJournalMode::Memory } else { SqliteJournalMode::Wal })
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(SQLITE_BUSY_TIMEOUT)
        // The driver's thread hands over rows one by one, and waits where nobody takes them: a page is one wait.
        .row_buffer_size(ROWS_AT_ONCE);
    if !in_memory {
        make_folder(options.get_filename())?;
    }
    let pool = || {
        SqlitePoolOptions::new()
            .acquire_timeout(Duration::from_secs(config.acquire_timeout_seconds))
            .max_lifetime(None)
            .test_before_acquire(false)
            // On a full disk, say, SQLite rolls back by itself, and the driver still believes in the transaction:
            // such a connection is of no more use.
            .before_acquire(|connection, _| Box::pin(std::future::ready(Ok(!connection.is_in_transaction()))))
    };
    let started = Instant::now();
    let writer = loop {
        let writer = pool().max_connections(1).min_connections(1).idle_timeout(None);
        match writer.connect_with(options.clone()).await {
            // SQLite waits for others everywhere but where a new file takes its journal.
            Err(error) if error::is_busy(&error) && started.elapsed() < SQLITE_BUSY_TIMEOUT => {
                tokio::time::sleep(BUSY_PAUSE).await;
            }
            other => break other?,
        }
    };
    if in_memory {
        // Each connection to `:memory:` would be a database of its own.
        return Ok(Pool::Sqlite { readers: writer.clone(), writer, inline: None });
    }
    let inline = Some(Arc::new(Inline::new(options.get_filename())));
    let readers = pool()
        .max_connections(config.max_connections)
        .idle_timeout(Some(Duration::from_secs(config.idle_timeout_seconds)))
        .connect_with(options.pragma("query_only", "ON"))
        .await?;
    Ok(Pool::Sqlite { readers, writer, inline })
}

async fn connect_postgres(config: &DatabaseConfig) -> Result<Pool, StoreError> {
    let options = PgConnectOptions::from_str(&config.url)
        .map_err(|error| StoreError::Url(error.to_string()))?
        .application_name("voip-server");
    let pool = PgPoolOptions::new()
        .max_connections(config.max_connections)
        .acquire_timeout(Duration::from_secs(config.acquire_timeout_seconds))
        .idle_timeout(Some(Duration::from_secs(config.idle_timeout_seconds)))
        .max_lifetime(Some(Duration::from_secs(config.max_lifetime_seconds)))
        // A question to the server before each statement would double its time: only those are asked that rested.
        .test_before_acquire(false)
        .before_acquire(|connection, state| {
            Box::pin(async move {
                if state.idle_for > TEST_AFTER_REST {
                    connection.ping().await?;
                }
                Ok(true)
            })
        })
        .connect_with(options)
        .await?;
    let longest = Duration::from_secs(config.acquire_timeout_seconds) + LONGEST_STATEMENT;
    Ok(Pool::Postgres { pool, callers: Together::new(longest) })
}

fn make_folder(file: &Path) -> Result<(), StoreError> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    // Hashes and addresses are nobody else's.
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    match file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => builder
            .create(folder)
            .map_err(|error| StoreError::Folder { folder: folder.to_owned(), reason: error.to_string() }),
        _ => Ok(()),
    }
}
