//! Storage: one set of repositories over two databases.
//!
//! Every statement is written once, with `$1` placeholders and the SQL that SQLite and PostgreSQL share, and
//! run on whichever pool is open (`on!`). "Not there" is `Option`, not an error.

mod audit;
mod channels;
mod error;
mod migrations;
mod organizations;
mod roles;
mod sessions;
mod users;

use std::{path::Path, str::FromStr, time::Duration};

use sqlx::{
    PgPool, SqlitePool,
    postgres::{PgConnectOptions, PgPoolOptions},
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};

pub use audit::{AuditEntry, AuditRow};
pub use channels::{AclRow, ChannelRow, NewChannel};
pub use error::StoreError;
pub use migrations::MigrationState;
pub use organizations::OrganizationRow;
pub use roles::RoleRow;
pub use sessions::NewSession;
pub use users::{NewUser, UserRow};

use crate::config::DatabaseConfig;

/// An open database with its schema in place.
#[derive(Clone)]
pub struct Store {
    pool: Pool,
}

#[derive(Clone)]
enum Pool {
    Sqlite(SqlitePool),
    Postgres(PgPool),
}

/// Which database it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DatabaseKind {
    /// SQLite, in a file or in memory.
    Sqlite,
    /// PostgreSQL.
    Postgres,
}

/// Pool figures of `/healthz`.
#[derive(Clone, Copy, Debug, serde::Serialize)]
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

/// Runs an expression on whichever pool is open. In it, `Db` names the database's type and `BEGIN` the
/// statement that begins a transaction that will write.
macro_rules! on {
    ($store:expr, $pool:ident => $body:expr) => {
        match &$store.pool {
            $crate::store::Pool::Sqlite($pool) => {
                #[allow(dead_code)]
                type Db = sqlx::Sqlite;
                // Takes the one writer's place at once: a read that turns into a write could not wait for it.
                #[allow(dead_code)]
                const BEGIN: &str = "BEGIN IMMEDIATE";
                $body
            }
            $crate::store::Pool::Postgres($pool) => {
                #[allow(dead_code)]
                type Db = sqlx::Postgres;
                #[allow(dead_code)]
                const BEGIN: &str = "BEGIN";
                $body
            }
        }
    };
}
use on;

/// Runs an expression in a transaction that will write, on whichever pool is open: all of it holds, or nothing.
macro_rules! in_transaction {
    ($store:expr, $transaction:ident => $body:expr) => {
        $crate::store::on!($store, pool => {
            let mut connection = pool.acquire().await.map_err($crate::store::StoreError::from)?;
            let result = async {
                let mut $transaction = sqlx::Connection::begin_with(&mut *connection, BEGIN).await?;
                let value = $body;
                $transaction.commit().await?;
                Ok::<_, $crate::store::StoreError>(value)
            }
            .await;
            if result.as_ref().is_err_and($crate::store::StoreError::spoils_connection) {
                connection.close_on_drop();
            }
            result
        })
    };
}
use in_transaction;

const SQLITE_BUSY_TIMEOUT: Duration = Duration::from_secs(5);

impl Store {
    /// Opens the database, creating an SQLite file that is not there, and brings its schema up to date.
    pub async fn open(config: &DatabaseConfig) -> Result<Self, StoreError> {
        let store = Self::connect(config).await?;
        store.migrate_up(None).await?;
        Ok(store)
    }

    /// Opens the database as it is, for the commands that migrate.
    pub async fn connect(config: &DatabaseConfig) -> Result<Self, StoreError> {
        let acquire = Duration::from_secs(config.acquire_timeout_seconds);
        let pool = if config.url.starts_with("sqlite:") {
            let in_memory = config.url.contains(":memory:");
            let options = SqliteConnectOptions::from_str(&config.url)
                .map_err(|error| StoreError::Url(error.to_string()))?
                .create_if_missing(true)
                .foreign_keys(true)
                .journal_mode(if in_memory { SqliteJournalMode::Memory } else { SqliteJournalMode::Wal })
                .synchronous(SqliteSynchronous::Full)
                .busy_timeout(SQLITE_BUSY_TIMEOUT);
            if !in_memory {
                make_folder(options.get_filename())?;
            }
            // Each connection to `:memory:` would be a database of its own.
            let pool = SqlitePoolOptions::new()
                .max_connections(if in_memory { 1 } else { config.max_connections })
                .min_connections(u32::from(in_memory))
                .idle_timeout((!in_memory).then_some(Duration::from_mins(10)))
                .max_lifetime(None)
                .acquire_timeout(acquire)
                .connect_with(options)
                .await?;
            Pool::Sqlite(pool)
        } else if config.url.starts_with("postgres:") || config.url.starts_with("postgresql:") {
            let options = PgConnectOptions::from_str(&config.url)
                .map_err(|error| StoreError::Url(error.to_string()))?
                .application_name("voip-server");
            let pool = PgPoolOptions::new()
                .max_connections(config.max_connections)
                .acquire_timeout(acquire)
                .connect_with(options)
                .await?;
            Pool::Postgres(pool)
        } else {
            return Err(StoreError::Url(
                "it must begin with sqlite: or postgres:, as in sqlite:voip.db or postgres://user:password@host/voip"
                    .into(),
            ));
        };
        Ok(Self { pool })
    }

    /// Which database it is.
    pub fn kind(&self) -> DatabaseKind {
        match self.pool {
            Pool::Sqlite(_) => DatabaseKind::Sqlite,
            Pool::Postgres(_) => DatabaseKind::Postgres,
        }
    }

    /// Whether it answers.
    pub async fn ping(&self) -> Result<(), StoreError> {
        on!(self, pool => sqlx::query("SELECT 1").execute(pool).await.map(drop).map_err(StoreError::from))
    }

    /// The pool, now.
    pub fn pool_figures(&self) -> PoolFigures {
        let (size, idle, max) =
            on!(self, pool => (pool.size(), pool.num_idle(), pool.options().get_max_connections()));
        PoolFigures { size, idle, in_use: (size as usize).saturating_sub(idle), max }
    }

    /// Waits for what is under way and closes every connection.
    pub async fn close(&self) {
        on!(self, pool => pool.close().await);
    }
}

fn make_folder(file: &Path) -> Result<(), StoreError> {
    match file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => std::fs::create_dir_all(folder)
            .map_err(|error| StoreError::Folder { folder: folder.to_owned(), reason: error.to_string() }),
        _ => Ok(()),
    }
}
