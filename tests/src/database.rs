//! A database of the test's own, of either kind, and the same test on both.

use sqlx::{AssertSqlSafe, PgPool, Row, SqlitePool, TypeInfo, ValueRef};
use tempfile::TempDir;
use voip_server::{Store, config::DatabaseConfig, store::DatabaseKind};

use crate::postgres::Postgres;

/// Makes of one test two, `name::sqlite` and `name::postgres`: `on_both!(name, async |database| { … });`
#[macro_export]
macro_rules! on_both {
    ($name:ident, async |$database:ident| $body:block) => {
        mod $name {
            #[allow(clippy::wildcard_imports)]
            use super::*;

            async fn test($database: $crate::database::Database) $body

            #[tokio::test(flavor = "multi_thread")]
            async fn sqlite() {
                test($crate::database::Database::sqlite()).await;
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn postgres() {
                test($crate::database::Database::postgres().await).await;
            }
        }
    };
}

/// An empty database with the schema in place, or about to be put in place.
pub struct Database {
    /// For `database.url`.
    pub url: String,
    /// Which it is.
    pub kind: DatabaseKind,
    _folder: Option<TempDir>,
}

/// What a statement of a test found: each value as text, whatever its type; `None` for NULL.
pub type Rows = Vec<Vec<Option<String>>>;

impl Database {
    /// A file in a folder of its own.
    pub fn sqlite() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", folder.path().join("voip.db").display());
        Self { url, kind: DatabaseKind::Sqlite, _folder: Some(folder) }
    }

    /// One that is there already.
    pub fn at(url: &str) -> Self {
        let kind = if url.starts_with("sqlite:") { DatabaseKind::Sqlite } else { DatabaseKind::Postgres };
        Self { url: url.to_owned(), kind, _folder: None }
    }

    /// One of the shared PostgreSQL, with the schema in place.
    pub async fn postgres() -> Self {
        let shared = tokio::task::block_in_place(Postgres::shared);
        Self::of_postgres(shared).await
    }

    /// One of a PostgreSQL, with the schema in place.
    pub async fn of_postgres(postgres: &Postgres) -> Self {
        Self { url: postgres.database().await, kind: DatabaseKind::Postgres, _folder: None }
    }

    /// One of the shared PostgreSQL, with nothing in it.
    pub async fn empty_postgres() -> Self {
        let shared = tokio::task::block_in_place(Postgres::shared);
        Self { url: shared.empty_database().await, kind: DatabaseKind::Postgres, _folder: None }
    }

    /// One of its kind with nothing in it.
    pub async fn empty_like(&self) -> Self {
        match self.kind {
            DatabaseKind::Sqlite => Self::sqlite(),
            DatabaseKind::Postgres => Self::empty_postgres().await,
        }
    }

    /// For [`Store::open`].
    pub fn config(&self) -> DatabaseConfig {
        DatabaseConfig { url: self.url.clone(), ..DatabaseConfig::default() }
    }

    /// Opens it.
    pub async fn store(&self) -> Store {
        Store::open(&self.config()).await.unwrap()
    }

    /// Whether it is SQLite.
    pub fn is_sqlite(&self) -> bool {
        self.kind == DatabaseKind::Sqlite
    }

    /// Runs statements behind the server's back; says how many rows the last one changed.
    pub async fn execute(&self, statements: &str) -> u64 {
        self.try_execute(statements).await.unwrap_or_else(|error| panic!("{statements}: {error}"))
    }

    /// The same, which may be refused.
    pub async fn try_execute(&self, statements: &str) -> Result<u64, sqlx::Error> {
        let statements = AssertSqlSafe(statements);
        match self.pool().await? {
            Pool::Sqlite(pool) => {
                let result = sqlx::raw_sql(statements).execute(&pool).await;
                pool.close().await;
                result.map(|done| done.rows_affected())
            }
            Pool::Postgres(pool) => {
                let result = sqlx::raw_sql(statements).execute(&pool).await;
                pool.close().await;
                result.map(|done| done.rows_affected())
            }
        }
    }

    /// What a statement finds, behind the server's back.
    pub async fn rows(&self, statement: &str) -> Rows {
        let sql = AssertSqlSafe(statement);
        match self.pool().await.unwrap() {
            Pool::Sqlite(pool) => {
                let rows = sqlx::raw_sql(sql).fetch_all(&pool).await.unwrap();
                pool.close().await;
                let text = |row: &sqlx::sqlite::SqliteRow, at: usize| {
                    let value = row.try_get_raw(at).unwrap();
                    match (value.is_null(), value.type_info().name()) {
                        (true, _) => None,
                        (_, "INTEGER") => Some(row.get_unchecked::<i64, _>(at).to_string()),
                        (_, "BLOB") => Some(format!("{:02x?}", row.get_unchecked::<Vec<u8>, _>(at))),
                        _ => Some(row.get_unchecked::<String, _>(at)),
                    }
                };
                rows.iter().map(|row| (0..row.columns().len()).map(|at| text(row, at)).collect()).collect()
            }
            Pool::Postgres(pool) => {
                // The simple protocol answers in text.
                let rows = sqlx::raw_sql(sql).fetch_all(&pool).await.unwrap();
                pool.close().await;
                let text = |row: &sqlx::postgres::PgRow, at: usize| {
                    let value = row.try_get_raw(at).unwrap();
                    (!value.is_null()).then(|| value.as_str().unwrap().to_owned())
                };
                rows.iter().map(|row| (0..row.columns().len()).map(|at| text(row, at)).collect()).collect()
            }
        }
    }

    /// The first value of the first row, as a number.
    pub async fn count(&self, statement: &str) -> i64 {
        self.rows(statement).await[0][0].as_ref().unwrap().parse().unwrap()
    }

    async fn pool(&self) -> Result<Pool, sqlx::Error> {
        Ok(match self.kind {
            DatabaseKind::Sqlite => Pool::Sqlite(SqlitePool::connect(&self.url).await?),
            DatabaseKind::Postgres => Pool::Postgres(PgPool::connect(&self.url).await?),
        })
    }
}

enum Pool {
    Sqlite(SqlitePool),
    Postgres(PgPool),
}
