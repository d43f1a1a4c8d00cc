//! `create-db`, `migrate`, `seed-demo`.

use std::{error::Error, path::PathBuf, str::FromStr};

use clap::Subcommand;
use sqlx::{Postgres, migrate::MigrateDatabase, sqlite::SqliteConnectOptions};
use voip_server::{Config, Store, StoreError, config::DatabaseConfig, setup, store::MigrationState};

use super::{Outcome, print, table};

#[derive(Subcommand)]
pub(super) enum Migrate {
    /// Apply what is missing.
    Up {
        /// Up to this number.
        #[arg(long, allow_negative_numbers = true, value_parser = clap::value_parser!(i64).range(1..))]
        to: Option<i64>,
    },
    /// Undo.
    Down {
        /// Down to this number; 0 undoes all, and all data with it.
        #[arg(long, allow_negative_numbers = true, value_parser = clap::value_parser!(i64).range(0..))]
        to: i64,
    },
    /// What there is and what is applied.
    Status {
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Undo all and apply all: an empty database. All data is lost.
    Reset {
        /// Yes, all data.
        #[arg(long)]
        yes: bool,
    },
}

impl Migrate {
    pub(super) async fn run(self, config: &DatabaseConfig) -> Outcome {
        if let Self::Reset { yes: false } = self {
            let message =
                format!("reset deletes all data in {}: say --yes if you mean it", config.masked_url());
            return Err(message.into());
        }
        let store = Store::connect(config).await?;
        let done = self.apply(&store).await;
        store.close().await;
        print(&done?)
    }

    async fn apply(self, store: &Store) -> Result<String, Box<dyn Error>> {
        let mut as_json = false;
        if let Self::Up { to: Some(to) } | Self::Down { to } = self
            && to != 0
            && store.migrations().await?.iter().all(|state| state.version != to)
        {
            return Err(format!("there is no migration {to}: migrate status lists them").into());
        }
        match self {
            Self::Up { to } => store.migrate_up(to).await?,
            Self::Down { to } => store.migrate_down(to).await?,
            Self::Status { json } => as_json = json,
            Self::Reset { .. } => {
                store.migrate_down(0).await?;
                store.migrate_up(None).await?;
            }
        }
        let states = store.migrations().await?;
        Ok(if as_json { format!("{}\n", serde_json::to_string_pretty(&states)?) } else { listed(&states) })
    }
}

fn listed(states: &[MigrationState]) -> String {
    let row = |state: &MigrationState| {
        let applied = if state.applied { "applied" } else { "missing" };
        [format!("{:04}", state.version), applied.into(), state.name.clone()]
    };
    let rows: Vec<_> = states.iter().map(row).collect();
    table(&rows)
}

/// `create-db`.
pub(super) async fn create(config: &DatabaseConfig) -> Outcome {
    let url = config.masked_url();
    let there = match file(config)? {
        Some(file) => {
            let there = file.exists();
            Store::connect(config).await?.close().await;
            there
        }
        None if config.url.starts_with("sqlite:") => {
            return Err("a database in memory ends with its server: there is nothing to make".into());
        }
        None => create_on_server(&config.url).await?,
    };
    print(&if there {
        format!("{url} is there already: nothing was changed.\n")
    } else {
        format!("{url} is there now, empty: serve makes its tables, and so does migrate up.\n")
    })
}

/// Whether it was there already.
async fn create_on_server(url: &str) -> Result<bool, StoreError> {
    /// SQLSTATE of PostgreSQL: somebody else made it between question and answer.
    const DUPLICATE_DATABASE: &str = "42P04";
    if !(url.starts_with("postgres:") || url.starts_with("postgresql:")) {
        // Says what a URL must look like.
        let config = DatabaseConfig { url: url.to_owned(), ..DatabaseConfig::default() };
        return Store::connect(&config).await.map(|_| true);
    }
    if Postgres::database_exists(url).await? {
        return Ok(true);
    }
    match Postgres::create_database(url).await {
        Err(sqlx::Error::Database(error)) if error.code().as_deref() == Some(DUPLICATE_DATABASE) => Ok(true),
        other => Ok(other.map(|()| false)?),
    }
}

/// The file of an SQLite database; none for PostgreSQL, and in memory.
pub(super) fn file(config: &DatabaseConfig) -> Result<Option<PathBuf>, StoreError> {
    if !config.url.starts_with("sqlite:") || config.url.contains(":memory:") {
        return Ok(None);
    }
    let options =
        SqliteConnectOptions::from_str(&config.url).map_err(|error| StoreError::Url(error.to_string()))?;
    Ok(Some(options.get_filename().to_owned()))
}

/// `seed-demo`.
pub(super) async fn seed_demo(config: &Config) -> Outcome {
    let store = Store::open(&config.database).await?;
    let seeded = setup::seed_demo(&store).await;
    store.close().await;
    seeded?;
    print(
        "The Demo Organization (tag DEMO) is there: demo, alice, bob, charlie, each with the password NAME123.\n",
    )
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn only_sqlite_has_a_file() {
        let file =
            |url: &str| file(&DatabaseConfig { url: url.into(), ..DatabaseConfig::default() }).unwrap();
        assert_eq!(file("sqlite:data/voip.db"), Some("data/voip.db".into()));
        assert_eq!(file("sqlite:///var/lib/voip.db?mode=ro"), Some("/var/lib/voip.db".into()));
        assert_eq!(file("sqlite::memory:"), None);
        assert_eq!(file("postgres://voip@localhost/voip"), None);
    }
}
