//! Migrations up, down, and how far they are.

use sqlx::migrate::{Migrate, MigrateError, Migrator};

use super::{Pool, Store, StoreError};

static SQLITE: Migrator = sqlx::migrate!("../migrations/sqlite");
static POSTGRES: Migrator = sqlx::migrate!("../migrations/postgres");

/// One migration that the program knows.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct MigrationState {
    /// Number.
    pub version: i64,
    /// Name.
    pub name: String,
    /// Whether the database has it.
    pub applied: bool,
}

impl Store {
    /// Applies what is missing, up to and including `to`. Safe to run twice.
    pub async fn migrate_up(&self, to: Option<i64>) -> Result<(), StoreError> {
        let result = match (&self.pool, to) {
            (Pool::Sqlite(pool), None) => SQLITE.run(pool).await,
            (Pool::Sqlite(pool), Some(to)) => SQLITE.run_to(to, pool).await,
            (Pool::Postgres(pool), None) => POSTGRES.run(pool).await,
            (Pool::Postgres(pool), Some(to)) => POSTGRES.run_to(to, pool).await,
        };
        result.map_err(StoreError::from)
    }

    /// Undoes everything above `to`; 0 undoes all.
    pub async fn migrate_down(&self, to: i64) -> Result<(), StoreError> {
        let result = match &self.pool {
            Pool::Sqlite(pool) => SQLITE.undo(pool, to).await,
            Pool::Postgres(pool) => POSTGRES.undo(pool, to).await,
        };
        result.map_err(StoreError::from)
    }

    /// What the program knows, and what the database has of it.
    pub async fn migrations(&self) -> Result<Vec<MigrationState>, StoreError> {
        let (known, applied) = match &self.pool {
            Pool::Sqlite(pool) => (&SQLITE, applied(&mut *pool.acquire().await?).await?),
            Pool::Postgres(pool) => (&POSTGRES, applied(&mut *pool.acquire().await?).await?),
        };
        let ups = known.iter().filter(|migration| migration.migration_type.is_up_migration());
        Ok(ups
            .map(|migration| MigrationState {
                version: migration.version,
                name: migration.description.to_string(),
                applied: applied.contains(&migration.version),
            })
            .collect())
    }
}

async fn applied<C: Migrate>(connection: &mut C) -> Result<Vec<i64>, StoreError> {
    const TABLE: &str = "_sqlx_migrations";
    connection.ensure_migrations_table(TABLE).await?;
    let applied = connection.list_applied_migrations(TABLE).await?;
    Ok(applied.into_iter().map(|migration| migration.version).collect())
}

impl From<MigrateError> for StoreError {
    fn from(error: MigrateError) -> Self {
        match error {
            MigrateError::VersionMissing(version) => Self::Newer(version),
            MigrateError::Execute(error) => error.into(),
            MigrateError::ExecuteMigration(error, version) => match Self::from(error) {
                Self::Other(error) => Self::Migration(format!("{version}: {error}")),
                known => known,
            },
            other => Self::Migration(other.to_string()),
        }
    }
}
