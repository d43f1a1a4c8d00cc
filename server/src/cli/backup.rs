//! `backup`: a copy of an SQLite database while others read and write it.

use std::{error::Error, fs, io, path::Path};

use sqlx::{
    ConnectOptions, Connection, SqliteConnection,
    sqlite::{SqliteConnectOptions, SqliteJournalMode},
};
use voip_server::{StoreError, config::DatabaseConfig};

use super::{Outcome, database, print};

pub(super) async fn run(config: &DatabaseConfig, to: &Path) -> Outcome {
    let Some(from) = database::file(config)? else {
        return Err(if config.url.starts_with("postgres") {
            // The password stays out of it: pg_dump takes it from PGPASSWORD, or asks.
            let url = config.masked_url().replace(":***@", "@");
            let file = to.display();
            format!(
                "PostgreSQL has a tool of its own for this: pg_dump --format=custom --file={file} '{url}'"
            )
            .into()
        } else {
            "this database is not in a file: there is nothing to copy".into()
        });
    };
    if !from.exists() {
        return Err(format!("there is no database {}: name its folder by --data-dir", from.display()).into());
    }
    // Takes the place of the copy at once, for no eyes but the owner's: it holds the hashes of all passwords.
    create(to)?;
    if let Err(error) = copy(&from, to).await {
        // What is incomplete is worse than nothing.
        let _ = fs::remove_file(to);
        return Err(error);
    }
    let size = fs::metadata(to)?.len();
    print(&format!("{} is a copy of {}: {size} bytes, checked.\n", to.display(), from.display()))
}

fn create(file: &Path) -> Outcome {
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    match options.open(file) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            Err(format!("{} is there already, and stays as it is: name a new file", file.display()).into())
        }
        Err(error) => Err(format!("{} cannot be written: {error}", file.display()).into()),
    }
}

async fn copy(from: &Path, to: &Path) -> Outcome {
    let path = to.to_str().ok_or("the name of the copy is not UTF-8 text: take another one")?;
    let source = SqliteConnectOptions::new().filename(from).create_if_missing(false);
    let mut source = source.connect().await.map_err(StoreError::from)?;
    // One read transaction of the whole: those who write meanwhile neither wait nor show in it.
    sqlx::query("VACUUM INTO $1").bind(path).execute(&mut source).await.map_err(StoreError::from)?;
    source.close().await.map_err(StoreError::from)?;
    check(to).await?;
    // SQLite does not wait for the disk here.
    fs::File::open(to).and_then(|file| file.sync_all()).map_err(|error| format!("{path}: {error}"))?;
    Ok(())
}

/// Reads every page of the copy.
async fn check(file: &Path) -> Result<(), Box<dyn Error>> {
    let options = SqliteConnectOptions::new()
        .filename(file)
        .create_if_missing(false)
        .read_only(true)
        .journal_mode(SqliteJournalMode::Off);
    let mut copy: SqliteConnection = options.connect().await.map_err(StoreError::from)?;
    let verdict: Vec<String> =
        sqlx::query_scalar("PRAGMA integrity_check").fetch_all(&mut copy).await.map_err(StoreError::from)?;
    copy.close().await.map_err(StoreError::from)?;
    match &verdict[..] {
        [ok] if ok == "ok" => Ok(()),
        faults => {
            let first = faults.first().map_or("", String::as_str);
            Err(format!(
                "the copy is damaged, and so is the database, it seems ({first}): restore an older backup"
            )
            .into())
        }
    }
}
