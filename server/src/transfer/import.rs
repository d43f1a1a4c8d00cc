//! Accounts from a file into the database.

use std::collections::HashMap;

use futures_util::future::try_join_all;
use serde_json::json;
use time::OffsetDateTime;
use voip_protocol::{
    ErrorBody, ErrorCode, OrganizationId, RoleId, UserId,
    control::{ImportLine, ImportOutcome, ImportReport},
    limits::ROLE_NAME_CHARS,
};

use super::{
    account::{Account, MAX_ECHO, Password, short},
    parse::{Group, parse},
};
use crate::{
    auth::{MEMBER_ROLE, Passwords},
    store::{AuditEntry, NewUser, OrganizationRow, RoleRow, Store, StoreError, Transaction},
};

/// What is done with a file.
#[derive(Clone, Copy, Debug, Default)]
pub struct Import<'a> {
    /// The organization that its accounts go into, whatever tag the file has. None: those that the file names by
    /// tag, and for the legacy list the only one that there is.
    pub into: Option<OrganizationId>,
    /// Nothing is written when any entry is refused.
    pub atomic: bool,
    /// The roles that may be given; none: any.
    pub grantable: Option<&'a [RoleId]>,
    /// Who does it, for the audit log; none: the shell.
    pub actor: Option<UserId>,
    /// From where.
    pub ip_address: Option<&'a str>,
}

/// Why there is no report: nothing of the file was taken, or the database failed after some of it was.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The file, or what it is to go into.
    #[error("{}", .0.message)]
    Refused(#[from] ErrorBody),
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<ImportError> for ErrorBody {
    fn from(error: ImportError) -> Self {
        match error {
            ImportError::Refused(error) => error,
            ImportError::Store(error) => error.into(),
        }
    }
}

/// Makes the accounts of a file that are not there yet, and tells what became of each entry.
///
/// Without `atomic` each account is a transaction of its own: what was made stays when the database fails in
/// between, and a second import skips it.
pub async fn import(
    store: &Store,
    passwords: &Passwords,
    file: &[u8],
    import: Import<'_>,
    now: OffsetDateTime,
) -> Result<ImportReport, ImportError> {
    let mut entries = plan(store, parse(file)?, import).await?;
    let refused = |entries: &[Planned]| entries.iter().any(|entry| matches!(entry.fate, Fate::Refused(_)));
    for entries in entries.chunks_mut(hashes_at_a_time()) {
        try_join_all(entries.iter_mut().map(|entry| hash(passwords, entry))).await?;
        if !import.atomic {
            for entry in entries {
                entry.write(store, import, now).await?;
            }
        }
    }
    if import.atomic && !refused(&entries) {
        write_all(store, &mut entries, import, now).await?;
    }
    if import.atomic && refused(&entries) {
        for entry in &mut entries {
            if let Fate::New(_) | Fate::Created = entry.fate {
                entry.fate = Fate::Skipped(LEFT_OUT.into());
            }
        }
    }
    Ok(report(entries))
}

/// Of an entry without fault in a file that is taken whole or not at all.
const LEFT_OUT: &str = "left out: another entry is refused, and the import is all or nothing";
/// Of an entry that comes from elsewhere, by somebody who is not at the server's shell. A login with another hash takes
/// another time: that would tell which names exist.
const FOREIGN_HASH: &str = "the password_hash was not made by this version of the server: give a password, or import at the server's shell";
/// Of an entry whose name is taken.
const THERE_ALREADY: &str = "an account with this name is there already: it stays as it is";

/// Half of the cores: logins go on meanwhile.
fn hashes_at_a_time() -> usize {
    std::thread::available_parallelism().map_or(1, |cores| cores.get().div_ceil(2))
}

/// An entry on its way to the report.
struct Planned {
    line: u32,
    username: Option<String>,
    fate: Fate,
}

enum Fate {
    Refused(String),
    Skipped(String),
    New(Box<New>),
    Created,
}

struct New {
    organization: OrganizationId,
    roles: Vec<RoleId>,
    role_names: Vec<String>,
    account: Account,
}

/// Finds out what each entry would come to, without a change.
async fn plan(store: &Store, groups: Vec<Group>, import: Import<'_>) -> Result<Vec<Planned>, ImportError> {
    if import.into.is_some() && groups.len() > 1 {
        let message = "the file has the accounts of several organizations: export the one that you want";
        return Err(ErrorBody::new(ErrorCode::InvalidField, message).into());
    }
    let mut planned = Vec::new();
    let mut seen: HashMap<(OrganizationId, String), u32> = HashMap::new();
    for group in groups {
        let organization = destination(store, import.into, group.tag.as_deref()).await?;
        let roles = match &organization {
            Ok(organization) => store.roles_in(organization.id()).await?,
            Err(_) => Vec::new(),
        };
        for entry in group.entries {
            let wanted = match &organization {
                Ok(organization) => entry.account.and_then(|account| {
                    if import.actor.is_some()
                        && let Password::Hash(hash) = &account.password
                        && !Passwords::made_today(hash)
                    {
                        return Err(FOREIGN_HASH.to_owned());
                    }
                    let chosen = choose(&account, &roles, import.grantable)?;
                    let name = |id: &RoleId| {
                        roles.iter().find(|role| role.id() == *id).map(|role| role.name.clone())
                    };
                    let role_names = chosen.iter().filter_map(name).collect();
                    Ok(New { organization: organization.id(), roles: chosen, role_names, account })
                }),
                Err(reason) => Err(reason.clone()),
            };
            let fate = match wanted {
                Err(reason) => Fate::Refused(reason),
                Ok(new) => {
                    let key = (new.organization, new.account.username.to_lowercase());
                    if let Some(line) = seen.get(&key) {
                        Fate::Refused(format!("the same name is on line {line} already"))
                    } else {
                        seen.insert(key, entry.line);
                        match store.user_by_name(new.organization, &new.account.username).await? {
                            Some(_) => Fate::Skipped(THERE_ALREADY.into()),
                            None => Fate::New(Box::new(new)),
                        }
                    }
                }
            };
            planned.push(Planned { line: entry.line, username: entry.username, fate });
        }
    }
    Ok(planned)
}

/// The organization that a group goes into, or why there is none. A legacy list without one is refused as a whole.
async fn destination(
    store: &Store,
    into: Option<OrganizationId>,
    tag: Option<&str>,
) -> Result<Result<OrganizationRow, String>, ImportError> {
    if let Some(id) = into {
        let organization = store.organization(id).await?;
        return Ok(organization.ok_or_else(|| "the organization is not there any more".into()));
    }
    if let Some(tag) = tag {
        let organization = store.organization_by_tag(tag).await?;
        return Ok(organization.ok_or_else(|| {
            format!("there is no organization with the tag {}: name one that there is", short(tag, MAX_ECHO))
        }));
    }
    let mut all = store.organizations().await?;
    match all.len() {
        1 => Ok(Ok(all.remove(0))),
        0 => {
            let message = "there is no organization yet: start the server once, or seed the demo";
            Err(ErrorBody::new(ErrorCode::UnknownOrganization, message).into())
        }
        _ => {
            let message = "the list names no organization, and there are several: give the tag of one";
            Err(ErrorBody::new(ErrorCode::OrganizationRequired, message).into())
        }
    }
}

/// The ids of an account's roles, Member where it names none.
fn choose(account: &Account, roles: &[RoleRow], grantable: Option<&[RoleId]>) -> Result<Vec<RoleId>, String> {
    let may_give = |role: &RoleRow| grantable.is_none_or(|grantable| grantable.contains(&role.id()));
    let Some(wanted) = &account.roles else {
        let member = |role: &&RoleRow| role.name == MEMBER_ROLE && may_give(role);
        return Ok(roles.iter().filter(member).map(RoleRow::id).collect());
    };
    wanted
        .iter()
        .map(|name| {
            let role = roles.iter().find(|role| role.name == *name).ok_or_else(|| {
                format!("the organization has no role {}", short(name, *ROLE_NAME_CHARS.end()))
            })?;
            if may_give(role) { Ok(role.id()) } else { Err(format!("the role {name} is not yours to give")) }
        })
        .collect()
}

/// Puts a hash in the place of the password of an entry that is to be made; refuses it where the password is none
/// that a person may choose.
async fn hash(passwords: &Passwords, entry: &mut Planned) -> Result<(), ErrorBody> {
    let Fate::New(new) = &mut entry.fate else { return Ok(()) };
    let account = &mut new.account;
    let Password::Plain(password) = &account.password else { return Ok(()) };
    let known = [&*account.username, &account.display_name, account.email.as_deref().unwrap_or_default()];
    match passwords.hash_imported(password.clone(), &known).await {
        Ok(hash) => account.password = Password::Hash(hash),
        Err(error) if matches!(error.code, ErrorCode::InvalidField | ErrorCode::WeakPassword) => {
            entry.fate = Fate::Refused(error.message);
        }
        Err(error) => return Err(error),
    }
    Ok(())
}

/// All of them in one transaction, or none.
async fn write_all(
    store: &Store,
    entries: &mut [Planned],
    import: Import<'_>,
    now: OffsetDateTime,
) -> Result<(), StoreError> {
    let mut transaction = store.begin().await?;
    for entry in entries.iter_mut() {
        let Fate::New(new) = &entry.fate else { continue };
        entry.fate = match new.create(&mut transaction, import, now).await {
            Ok(_) => Fate::Created,
            Err(error) => match reason(&error) {
                // The rest was not tried: they are left out.
                Some(reason) => {
                    entry.fate = Fate::Refused(reason);
                    return Ok(());
                }
                None => return Err(error),
            },
        };
    }
    transaction.commit().await
}

/// What an entry is refused for, where the database itself is well.
fn reason(error: &StoreError) -> Option<String> {
    match error {
        // Somebody made it since it was looked for.
        StoreError::Duplicate => Some("an account with this name was made this very moment".into()),
        StoreError::MissingParent => Some("its organization or its role was deleted this very moment".into()),
        StoreError::Quota { .. } => Some(error.to_string()),
        _ => None,
    }
}

impl Planned {
    async fn write(
        &mut self,
        store: &Store,
        import: Import<'_>,
        now: OffsetDateTime,
    ) -> Result<(), StoreError> {
        let Fate::New(new) = &self.fate else { return Ok(()) };
        let mut transaction = store.begin().await?;
        let fate = match new.create(&mut transaction, import, now).await {
            Ok(_) => {
                transaction.commit().await?;
                Fate::Created
            }
            Err(StoreError::Duplicate) => Fate::Skipped(THERE_ALREADY.into()),
            Err(error) => Fate::Refused(reason(&error).ok_or(error)?),
        };
        self.fate = fate;
        Ok(())
    }
}

impl New {
    async fn create(
        &self,
        transaction: &mut Transaction,
        import: Import<'_>,
        now: OffsetDateTime,
    ) -> Result<UserId, StoreError> {
        let Password::Hash(password_hash) = &self.account.password else {
            unreachable!("passwords are hashed before anything is written")
        };
        let user = NewUser {
            organization: self.organization,
            username: &self.account.username,
            display_name: &self.account.display_name,
            email: self.account.email.as_deref(),
            password_hash,
            active: self.account.active,
            created_via: "import",
            roles: &self.roles,
        };
        let audit = AuditEntry {
            organization: Some(self.organization),
            actor: import.actor,
            action: "user_created",
            resource: &format!("user:{}", self.account.username),
            details: json!({ "via": "import", "roles": self.role_names }),
            ip_address: import.ip_address,
        };
        transaction.create_user(user, &audit, now).await
    }
}

fn report(entries: Vec<Planned>) -> ImportReport {
    let mut report = ImportReport::default();
    for entry in entries {
        let (outcome, reason) = match entry.fate {
            Fate::Created => (ImportOutcome::Created, None),
            Fate::Skipped(reason) => (ImportOutcome::Skipped, Some(reason)),
            Fate::Refused(reason) => (ImportOutcome::Refused, Some(reason)),
            Fate::New(_) => unreachable!("whoever is to be made was made, left out or refused"),
        };
        *match outcome {
            ImportOutcome::Created => &mut report.created,
            ImportOutcome::Skipped => &mut report.skipped,
            ImportOutcome::Refused => &mut report.refused,
        } += 1;
        report.lines.push(ImportLine { line: entry.line, username: entry.username, outcome, reason });
    }
    report
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use ImportOutcome::{Created, Refused, Skipped};

    use super::{super::tests::*, *};
    use crate::{
        auth::Verdict,
        store::OrganizationFields,
        transfer::{Hashes, export},
    };

    /// Line, outcome and the reason's beginning of each entry.
    fn told(report: &ImportReport) -> Vec<(u32, ImportOutcome, String)> {
        assert_eq!((report.created + report.skipped + report.refused) as usize, report.lines.len());
        let reason =
            |line: &ImportLine| line.reason.iter().flat_map(|reason| reason.chars()).take(20).collect();
        report.lines.iter().map(|line| (line.line, line.outcome, reason(line))).collect()
    }

    #[tokio::test]
    async fn the_legacy_list_is_hashed_on_the_way_in() {
        let (store, organization) = demo().await;
        let list = json!([
            { "username": "anna", "password": GOOD, "email": "anna@example.org" },
            { "username": "ben", "password": "password" },
            { "username": "ALICE", "password": GOOD },
            { "username": "dora", "password": "short" },
            { "username": "Anna", "password": GOOD },
            { "username": "eve", "password": 12_345_678 },
            { "username": "fay'); DROP TABLE users;--", "password": GOOD },
            { "username": "gus", "password": GOOD, "email": "nowhere" },
            { "username": "hal", "password": GOOD, "is_admin": true },
            7,
        ]);
        let file = serde_json::to_string(&list).unwrap().replace("},", "},\n");
        let report = run(&store, &file, Import::default()).await;
        assert_eq!(
            told(&report),
            [
                (1, Created, ""),
                (2, Refused, "the password is amon"),
                (3, Skipped, "an account with this"),
                (4, Refused, "password must have 8"),
                (5, Refused, "the same name is on "),
                (6, Refused, "password must be a t"),
                (7, Refused, "username must have 1"),
                (8, Refused, "email must be an add"),
                (9, Refused, "nothing is known of "),
                (10, Refused, "it is not an object "),
            ]
            .map(|(line, outcome, reason)| (line, outcome, reason.to_owned()))
        );
        assert!(!format!("{report:?}").contains("12345678"), "a report repeats no password");
        let anna = store.user_by_name(organization, "anna").await.unwrap().unwrap();
        assert_eq!(anna.email.as_deref(), Some("anna@example.org"));
        let passwords = Passwords::new(1).unwrap();
        assert_eq!(
            passwords.verify(GOOD.into(), Some(anna.password_hash.clone())).await.unwrap(),
            Verdict::Right
        );
        assert_eq!(store.roles_of(anna.id()).await.unwrap()[0].name, MEMBER_ROLE);
    }

    #[tokio::test]
    async fn all_or_nothing() {
        let (store, organization) = demo().await;
        let file = format!(
            r#"[{{"username":"anna","password":"{GOOD}"}},{{"username":"alice","password":"{GOOD}"}},
            {{"username":"ben","password":"12345678"}}]"#
        );
        let atomic = Import { atomic: true, ..Import::default() };
        let report = run(&store, &file, atomic).await;
        assert_eq!((report.created, report.skipped, report.refused), (0, 2, 1), "{report:?}");
        assert_eq!(report.lines[0].reason.as_deref(), Some(LEFT_OUT));
        assert!(store.user_by_name(organization, "anna").await.unwrap().is_none());
        let report = run(&store, &file.replace("12345678", GOOD), atomic).await;
        assert_eq!((report.created, report.skipped, report.refused), (2, 1, 0), "{report:?}");
    }

    /// The fault shows only when the rows are written: those before it are taken back.
    #[tokio::test]
    async fn all_or_nothing_at_the_quota() {
        let (store, organization) = demo().await;
        let mut transaction = store.begin().await.unwrap();
        let fields =
            OrganizationFields { max_users: 5, ..OrganizationFields::new("Demo Organization", "DEMO") };
        transaction.update_organization(organization, fields, now()).await.unwrap();
        transaction.commit().await.unwrap();
        let file = format!(
            r#"[{{"username":"anna","password_hash":"{FOREIGN}"}},{{"username":"ben","password_hash":"{FOREIGN}"}}]"#
        );
        let report = run(&store, &file, Import { atomic: true, ..Import::default() }).await;
        assert_eq!((report.created, report.skipped, report.refused), (0, 1, 1), "{report:?}");
        assert!(store.user_by_name(organization, "anna").await.unwrap().is_none());
        let report = run(&store, &file, Import::default()).await;
        assert_eq!((report.created, report.skipped, report.refused), (1, 0, 1), "{report:?}");
    }

    #[tokio::test]
    async fn nobody_gives_what_is_not_theirs() {
        let (store, organization) = demo().await;
        let guest = store.role_by_name(organization, "Guest").await.unwrap().unwrap().id();
        let entry = |name: &str, role: &str| {
            format!(r#"{{"username":"{name}","password_hash":"{FOREIGN}","roles":["{role}"]}}"#)
        };
        let entries = [entry("anna", "Admin"), entry("ben", "Guest"), entry("cleo", "King")].join(",");
        let file = format!(
            r#"{{"format":"voip-users","version":1,"organizations":[{{"tag":"ELSE","name":"","users":[{entries}]}}]}}"#
        );
        let import = Import { into: Some(organization), grantable: Some(&[guest]), ..Import::default() };
        let report = run(&store, &file, import).await;
        assert_eq!((report.created, report.refused), (1, 2), "{report:?}");
        assert_eq!(report.lines[0].reason.as_deref(), Some("the role Admin is not yours to give"));
        assert_eq!(report.lines[2].reason.as_deref(), Some("the organization has no role King"));
        // By its own tag it has nowhere to go.
        assert_eq!(run(&store, &file, Import::default()).await.refused, 3);
    }

    #[tokio::test]
    async fn a_list_must_know_where_to_go() {
        let passwords = Passwords::new(1).unwrap();
        let code = async |store: &Store, file: &str, options| {
            let error = import(store, &passwords, file.as_bytes(), options, now()).await.unwrap_err();
            ErrorBody::from(error).code
        };
        let (store, organization) = demo().await;
        assert_eq!(
            code(&super::super::tests::store().await, "[]", Import::default()).await,
            ErrorCode::UnknownOrganization
        );
        let mut transaction = store.begin().await.unwrap();
        let fields = OrganizationFields::new("Second", "TWO");
        transaction.create_organization(fields, now()).await.unwrap();
        transaction.commit().await.unwrap();
        assert_eq!(code(&store, "[]", Import::default()).await, ErrorCode::OrganizationRequired);
        let several = export(&store, None, Hashes::With).await.unwrap();
        let into = Import { into: Some(organization), ..Import::default() };
        let several = String::from_utf8(several).unwrap();
        assert_eq!(code(&store, &several, into).await, ErrorCode::InvalidField);
    }
}
