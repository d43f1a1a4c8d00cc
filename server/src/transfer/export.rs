//! Accounts to a file.

use std::io::Write;

use serde::Serialize;
use serde_json::json;
use time::OffsetDateTime;
use voip_protocol::{OrganizationId, UserId, limits::MAX_PAGE};

use super::{FORMAT, VERSION};
use crate::store::{Store, StoreError, UserFilter, UserRow};

/// Whether an export has the password hashes, which an import needs to make accounts of it again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hashes {
    /// With them: the file is as secret as the database.
    With,
    /// Without them: a list of people.
    Without,
}

/// All accounts, or those of one organization.
pub async fn export(
    store: &Store,
    organization: Option<OrganizationId>,
    hashes: Hashes,
) -> Result<Vec<u8>, StoreError> {
    let organizations = match organization {
        None => store.organizations().await?,
        Some(id) => store.organization(id).await?.into_iter().collect(),
    };
    let mut out = Vec::new();
    write!(out, r#"{{"format":"{FORMAT}","version":{VERSION},"organizations":["#).expect(MEMORY);
    for (index, organization) in organizations.iter().enumerate() {
        let separator = if index == 0 { "\n" } else { ",\n" };
        let (tag, name) = (json!(organization.tag), json!(organization.name));
        write!(out, r#"{separator}{{"tag":{tag},"name":{name},"users":["#).expect(MEMORY);
        export_users(store, organization.id(), hashes, &mut out).await?;
        out.extend(b"\n]}");
    }
    out.extend(b"\n]}\n");
    Ok(out)
}

/// Why writing to a `Vec` does not fail.
const MEMORY: &str = "memory takes what is written to it";

/// An account in an export.
#[derive(Serialize)]
struct Exported<'a> {
    username: &'a str,
    display_name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    email: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    password_hash: Option<&'a str>,
    active: bool,
    roles: Vec<&'a str>,
    created_via: &'a str,
    #[serde(with = "time::serde::rfc3339")]
    created_at: OffsetDateTime,
}

async fn export_users(
    store: &Store,
    organization: OrganizationId,
    hashes: Hashes,
    out: &mut Vec<u8>,
) -> Result<(), StoreError> {
    let (mut after, mut separator) = (UserId(0), "\n");
    loop {
        let page = store.users_page(organization, UserFilter::default(), after, MAX_PAGE).await?;
        let (Some(first), Some(last)) = (page.first().map(UserRow::id), page.last().map(UserRow::id)) else {
            return Ok(());
        };
        let held = store.roles_of_users(organization, first, last).await?;
        for user in &page {
            let roles = held.iter().filter(|held| held.user() == user.id());
            let exported = Exported {
                username: &user.username,
                display_name: &user.display_name,
                email: user.email.as_deref(),
                password_hash: (hashes == Hashes::With).then_some(&user.password_hash),
                active: user.active,
                roles: roles.map(|held| held.role.name.as_str()).collect(),
                created_via: &user.created_via,
                created_at: user.created_at,
            };
            out.extend(std::mem::replace(&mut separator, ",\n").as_bytes());
            serde_json::to_writer(&mut *out, &exported).expect(MEMORY);
        }
        after = last;
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::Value;

    use super::{super::tests::*, *};
    use crate::{store::RoleRow, transfer::Import};

    #[tokio::test]
    async fn what_is_exported_can_be_imported() {
        let (old, organization) = demo().await;
        let file = String::from_utf8(export(&old, None, Hashes::With).await.unwrap()).unwrap();
        assert_eq!(file.lines().count(), 1 + 1 + 4 + 1 + 1, "{file}");
        let (new, _) = demo().await;
        let there = new.organization_by_tag("demo").await.unwrap().unwrap().id();
        let mut transaction = new.begin().await.unwrap();
        for name in ["alice", "bob", "charlie"] {
            let Some(user) = old.user_by_name(there, name).await.unwrap() else { panic!("{name}") };
            assert!(transaction.delete_user(user.id()).await.unwrap());
        }
        transaction.commit().await.unwrap();

        let report = run(&new, &file, Import::default()).await;
        assert_eq!((report.created, report.skipped, report.refused), (3, 1, 0), "{report:?}");
        assert_eq!(report.lines[0].line, 3);
        for name in ["alice", "bob", "charlie"] {
            let before = old.user_by_name(organization, name).await.unwrap().unwrap();
            let after = new.user_by_name(there, name).await.unwrap().unwrap();
            assert_eq!(before.password_hash, after.password_hash);
            assert_eq!((after.created_via.as_str(), after.active), ("import", true));
            let names = |roles: Vec<RoleRow>| roles.into_iter().map(|role| role.name).collect::<Vec<_>>();
            assert_eq!(
                names(old.roles_of(before.id()).await.unwrap()),
                names(new.roles_of(after.id()).await.unwrap())
            );
        }
        assert_eq!(run(&new, &file, Import::default()).await.skipped, 4);
    }

    #[tokio::test]
    async fn an_export_without_hashes_has_none() {
        let (store, organization) = demo().await;
        let file = export(&store, Some(organization), Hashes::Without).await.unwrap();
        let file: Value = serde_json::from_slice(&file).unwrap();
        assert_eq!(file["organizations"][0]["users"][1]["username"], "alice");
        assert_eq!(file["organizations"][0]["users"][1]["roles"], json!(["Officer"]));
        assert!(!file.to_string().contains("argon2"));
        let report =
            run(&demo().await.0, &file.to_string().replace("alice", "anna"), Import::default()).await;
        assert_eq!(report.refused, 4, "neither password nor hash");
    }
}
