//! `users import` and `users export`.

use std::{
    error::Error,
    fs,
    io::{self, Read, Write},
    path::{Path, PathBuf},
};

use clap::Subcommand;
use serde_json::json;
use time::OffsetDateTime;
use voip_protocol::{
    control::{ImportLine, ImportOutcome, ImportReport},
    limits::MAX_IMPORT_BODY,
};
use voip_server::{
    Config, Store,
    auth::Passwords,
    store::{AuditEntry, OrganizationRow},
    transfer::{self, Hashes, Import},
};

use super::{Outcome, open, organization, print, table};

#[derive(Subcommand)]
pub(super) enum Users {
    /// Make the accounts of a file that are not there yet: of an export, or of a list of
    /// {"username", "password", "email"}.
    Import {
        /// The file; - is standard input.
        file: PathBuf,
        /// Into this organization; left out, into those that the file names.
        #[arg(long, value_name = "TAG")]
        org: Option<String>,
        /// All or nothing: make no account if any cannot be made.
        #[arg(long)]
        atomic: bool,
    },
    /// Write the accounts to a file, with the hashes of their passwords.
    Export {
        /// The file, which only its owner may read; - is standard output.
        file: PathBuf,
        /// Of this organization; left out, of all.
        #[arg(long, value_name = "TAG")]
        org: Option<String>,
        /// Leave the hashes out: a list of people, which cannot be imported.
        #[arg(long)]
        without_hashes: bool,
    },
}

impl Users {
    pub(super) async fn run(self, config: &Config) -> Outcome {
        let store = open(config).await?;
        let outcome = match self {
            Self::Import { file, org, atomic } => import(config, &store, &file, org.as_deref(), atomic).await,
            Self::Export { file, org, without_hashes } => {
                let hashes = if without_hashes { Hashes::Without } else { Hashes::With };
                export(&store, &file, org.as_deref(), hashes).await
            }
        };
        store.close().await;
        outcome
    }
}

async fn import(config: &Config, store: &Store, file: &Path, org: Option<&str>, atomic: bool) -> Outcome {
    let into = match org {
        Some(tag) => Some(organization(store, Some(tag)).await?.id()),
        None => None,
    };
    let bytes = read(file)?;
    let passwords = Passwords::new(config.security.hashing_threads)?;
    let import = Import { into, atomic, ..Import::default() };
    let report = transfer::import(store, &passwords, &bytes, import, OffsetDateTime::now_utc()).await?;
    print(&listed(&report))?;
    match report.refused {
        0 => Ok(()),
        _ if atomic => Err("no account was made, as not all of them can be".into()),
        refused => Err(format!("{refused} of the entries cannot be taken; the others are done").into()),
    }
}

fn listed(report: &ImportReport) -> String {
    let row = |line: &ImportLine| {
        let outcome = match line.outcome {
            ImportOutcome::Created => "created",
            ImportOutcome::Skipped => "skipped",
            ImportOutcome::Refused => "refused",
        };
        [
            format!("line {}", line.line),
            outcome.into(),
            line.username.clone().unwrap_or_default(),
            line.reason.clone().unwrap_or_default(),
        ]
    };
    let rows: Vec<_> = report.lines.iter().map(row).collect();
    let ImportReport { created, skipped, refused, .. } = report;
    format!("{}created {created}, skipped {skipped}, refused {refused}\n", table(&rows))
}

/// A file, of which no more is read than an import takes.
fn read(file: &Path) -> Result<Vec<u8>, Box<dyn Error>> {
    let most = MAX_IMPORT_BODY as u64 + 1;
    let mut bytes = Vec::new();
    let done = if file == Path::new("-") {
        io::stdin().lock().take(most).read_to_end(&mut bytes)
    } else {
        fs::File::open(file).and_then(|file| file.take(most).read_to_end(&mut bytes))
    };
    match done {
        Ok(_) => Ok(bytes),
        Err(error) => Err(format!("{} cannot be read: {error}", file.display()).into()),
    }
}

async fn export(store: &Store, file: &Path, org: Option<&str>, hashes: Hashes) -> Outcome {
    let organizations = match org {
        Some(tag) => vec![organization(store, Some(tag)).await?],
        None => store.organizations().await?,
    };
    let only = org.and_then(|_| organizations.first().map(OrganizationRow::id));
    let text = String::from_utf8(transfer::export(store, only, hashes).await?)?;
    let now = OffsetDateTime::now_utc();
    // Before the file is there: what was taken away is written down.
    let mut transaction = store.begin().await?;
    for organization in &organizations {
        let entry = AuditEntry {
            organization: Some(organization.id()),
            actor: None,
            action: "users_exported",
            resource: &format!("organization:{}", organization.tag),
            details: json!({ "via": "shell", "hashes": hashes == Hashes::With }),
            ip_address: None,
        };
        transaction.audit(&entry, now).await?;
    }
    transaction.commit().await?;
    if file == Path::new("-") {
        return print(&text);
    }
    write(file, text.as_bytes()).map_err(|error| format!("{} cannot be written: {error}", file.display()))?;
    // A line for each, and around them two for each organization and two for the file.
    let users = text.lines().count().saturating_sub(2 + 2 * organizations.len());
    print(&format!("{}: {users} accounts of {} organizations\n", file.display(), organizations.len()))
}

/// Puts a file in place as a whole, for no eyes but the owner's.
fn write(file: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut partial = file.as_os_str().to_owned();
    partial.push(".partial");
    let partial = PathBuf::from(partial);
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut out = options.open(&partial)?;
    let done = out.write_all(bytes).and_then(|()| out.sync_all()).and_then(|()| fs::rename(&partial, file));
    if done.is_err() {
        let _ = fs::remove_file(&partial);
    }
    done
}
