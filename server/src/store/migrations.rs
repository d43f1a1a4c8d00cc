//! Migrations up, down, and how far they are.

use sqlx::migrate::{Migrate, MigrateError, Migrator};

use super::{DatabaseKind, Pool, Store, StoreError};

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
    /// Applies what is missing, up to and including `to`. Safe to run twice, and by two programs at once.
    pub async fn migrate_up(&self, to: Option<i64>) -> Result<(), StoreError> {
        let migrator = match self.kind() {
            DatabaseKind::Sqlite => &SQLITE,
            DatabaseKind::Postgres => &POSTGRES,
        };
        self.migrate_with(migrator, to).await
    }

    /// Applies what is missing of other migrations than the program's own.
    pub async fn migrate_with(&self, migrator: &Migrator, to: Option<i64>) -> Result<(), StoreError> {
        let result = match &self.pool {
            Pool::Sqlite { writer, .. } => {
                // The driver's lock is none on SQLite; a transaction around all of them is one, and the second
                // program finds nothing left to do.
                let mut all = writer.begin_with("BEGIN IMMEDIATE").await?;
                let result = migrator.run_direct(to, &mut *all, false).await;
                if result.is_ok() {
                    all.commit().await?;
                } else {
                    all.rollback().await?;
                }
                result
            }
            Pool::Postgres { pool, .. } => {
                let mut connection = pool.acquire().await?;
                let result = migrator.run_direct(to, &mut *connection, false).await;
                if result.is_err() {
                    // It holds the lock of migrations still: the next one would wait for it for ever.
                    connection.close_on_drop();
                }
                result
            }
        };
        result.map_err(|error| named(error, migrator))
    }

    /// Undoes everything above `to`; 0 undoes all.
    pub async fn migrate_down(&self, to: i64) -> Result<(), StoreError> {
        let (result, migrator) = match &self.pool {
            Pool::Sqlite { writer, .. } => (SQLITE.undo(writer, to).await, &SQLITE),
            Pool::Postgres { pool, .. } => {
                let mut connection = pool.acquire().await?;
                let result = POSTGRES.undo(&mut *connection, to).await;
                if result.is_err() {
                    connection.close_on_drop();
                }
                (result, &POSTGRES)
            }
        };
        result.map_err(|error| named(error, migrator))
    }

    /// What the program knows, and what the database has of it.
    pub async fn migrations(&self) -> Result<Vec<MigrationState>, StoreError> {
        let (known, applied) = match &self.pool {
            Pool::Sqlite { writer, .. } => (&SQLITE, applied(&mut *writer.acquire().await?).await?),
            Pool::Postgres { pool, .. } => (&POSTGRES, applied(&mut *pool.acquire().await?).await?),
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

/// An error with the file of the migration that it is about.
fn named(error: MigrateError, migrator: &Migrator) -> StoreError {
    match error {
        MigrateError::VersionMissing(version) => StoreError::Newer(version),
        MigrateError::Execute(error) => error.into(),
        MigrateError::ExecuteMigration(error, version) => match StoreError::from(error) {
            StoreError::Full => StoreError::Full,
            StoreError::ReadOnly => StoreError::ReadOnly,
            StoreError::Unavailable(reason) => StoreError::Unavailable(reason),
            error => {
                let file = migrator.iter().find(|migration| migration.version == version).map_or_else(
                    || version.to_string(),
                    |migration| format!("{version:04}_{}", migration.description.replace(' ', "_")),
                );
                StoreError::Migration(format!("{file}: {error}"))
            }
        },
        other => StoreError::Migration(other.to_string()),
    }
}

impl From<MigrateError> for StoreError {
    fn from(error: MigrateError) -> Self {
        match error {
            MigrateError::Execute(error) => error.into(),
            other => Self::Migration(other.to_string()),
        }
    }
}
