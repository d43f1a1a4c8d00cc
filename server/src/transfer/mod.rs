//! Accounts as a file: the export, and the import of it and of the legacy list of names and passwords.
//!
//! An export has one line for each account, so that the line numbers of an import's report find it:
//! `{"format":"voip-users","version":1,"organizations":[{"tag":…,"name":…,"users":[…]}]}`.
//! The legacy list is `[{"username":…,"password":…,"email":…}]`.

mod account;
mod export;
mod import;
mod parse;

pub use export::{Hashes, export};
pub use import::{Import, ImportError, import};

/// The `format` of an export.
const FORMAT: &str = "voip-users";
/// Its `version`.
const VERSION: u64 = 1;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use voip_protocol::{OrganizationId, control::ImportReport};

    use super::*;
    use crate::{auth::Passwords, config::DatabaseConfig, setup, store::Store};

    pub(super) const GOOD: &str = "velvet-anchor-7";
    pub(super) const FOREIGN: &str = "$argon2id$v=19$m=65536,t=3,p=4$c29tZXNhbHRzb21lc2FsdA$\
                           cm9zZXMgYXJlIHJlZCwgdmlvbGV0cyBhcmUgYmx1ZQ";

    pub(super) fn now() -> time::OffsetDateTime {
        time::OffsetDateTime::from_unix_timestamp(1_800_000_000).unwrap()
    }

    pub(super) async fn store() -> Store {
        let config = DatabaseConfig { url: "sqlite::memory:".into(), ..DatabaseConfig::default() };
        Store::open(&config).await.unwrap()
    }

    pub(super) async fn demo() -> (Store, OrganizationId) {
        let store = store().await;
        setup::seed_demo(&store).await.unwrap();
        let id = store.organization_by_tag("DEMO").await.unwrap().unwrap().id();
        (store, id)
    }

    pub(super) async fn run(store: &Store, file: &str, options: Import<'_>) -> ImportReport {
        let passwords = Passwords::new(2).unwrap();
        import(store, &passwords, file.as_bytes(), options, now()).await.unwrap()
    }
}
