//! The first start: an organization, its roles, a channel to talk in, an administrator. And the demo's.

use secrecy::SecretString;
use serde_json::json;
use time::OffsetDateTime;
use voip_protocol::{
    ChannelId, ErrorBody, ErrorCode, OrganizationId, Permissions, RoleId, Token, UserId,
    limits::ORGANIZATION_NAME_CHARS,
};

use crate::{
    auth::{MEMBER_ROLE, Passwords, check_text, check_username, new_password, taken},
    store::{
        AuditEntry, ChannelFields, NewUser, OrganizationFields, RoleRow, Store, StoreError, Transaction,
    },
};

/// The default roles: name, permissions, priority.
const ROLES: [(&str, Permissions, i64); 4] = [
    ("Admin", Permissions::ADMINISTRATOR, 100),
    ("Officer", Permissions::OFFICER, 50),
    (MEMBER_ROLE, Permissions::MEMBER, 10),
    ("Guest", Permissions::GUEST, 0),
];

struct Roles {
    admin: RoleId,
    officer: RoleId,
    member: RoleId,
    guest: RoleId,
}

/// Whether anybody can administer this server.
pub async fn administrator_exists(store: &Store) -> Result<bool, StoreError> {
    store.anybody_holds(Permissions::ADMINISTRATOR).await
}

/// Who may administer a server that was started for the first time.
pub struct FirstAdministrator {
    /// `admin`, or where somebody else is called so, `admin2`, and so on.
    pub username: String,
    /// Good until they choose another.
    pub password: Token,
}

/// Names that are tried for the first administrator.
const FIRST_NAMES: u32 = 100;

/// The first start of a server without anybody who could administer it: makes an organization and an administrator.
/// None where there is one, also one that another server on the same database has made at this moment.
pub async fn first_start(store: &Store) -> Result<Option<FirstAdministrator>, ErrorBody> {
    if administrator_exists(store).await? {
        return Ok(None);
    }
    let password = new_password();
    let hash = passwords()?.hash(password.expose().into()).await?;
    let mut number = 1;
    loop {
        let username = if number == 1 { "admin".to_owned() } else { format!("admin{number}") };
        match create_with_hash(store, "Home", &username, &hash).await {
            Ok(()) => return Ok(Some(FirstAdministrator { username, password })),
            Err(_) if administrator_exists(store).await? => return Ok(None),
            Err(error) if error.code == ErrorCode::UsernameTaken && number < FIRST_NAMES => number += 1,
            Err(error) => return Err(error),
        }
    }
}

/// Makes the first organization, with a channel General, and its administrator.
pub async fn create_administrator(
    store: &Store,
    organization_name: &str,
    username: &str,
    password: SecretString,
) -> Result<(), ErrorBody> {
    let organization_name = check_text("the server's name", organization_name, &ORGANIZATION_NAME_CHARS)?;
    let username = check_username(username)?;
    let hash = passwords()?.hash_chosen(password, &[username, organization_name]).await?;
    create_with_hash(store, organization_name, username, &hash).await
}

async fn create_with_hash(
    store: &Store,
    organization_name: &str,
    username: &str,
    password_hash: &str,
) -> Result<(), ErrorBody> {
    let now = OffsetDateTime::now_utc();
    let there = store.organizations().await?.into_iter().next();
    let (there_roles, has_channels, has_owner) = match &there {
        Some(organization) => (
            store.roles_in(organization.id()).await?,
            !store.channels_in(organization.id()).await?.is_empty(),
            organization.owner().is_some(),
        ),
        None => (Vec::new(), false, false),
    };
    let mut transaction = store.begin().await?;
    let organization = match there {
        Some(organization) => organization.id(),
        None => {
            let tag = tag_of(organization_name);
            transaction.create_organization(OrganizationFields::new(organization_name, &tag), now).await?
        }
    };
    let roles = create_roles(&mut transaction, organization, &there_roles).await?;
    if !has_channels {
        create_channel(&mut transaction, organization, None, "General", "", 0).await?;
    }
    let id = create_user(&mut transaction, organization, username, password_hash, "setup", roles.admin, now);
    let id = match id.await {
        Err(StoreError::Duplicate) => return Err(taken(username)),
        other => other?,
    };
    if !has_owner {
        transaction.set_owner(organization, id).await?;
    }
    transaction.commit().await?;
    Ok(())
}

/// Fills an empty database with the Demo Organization. Its passwords are known to everybody.
pub async fn seed_demo(store: &Store) -> Result<(), ErrorBody> {
    if store.organization_by_tag("DEMO").await?.is_some() {
        return Err(ErrorBody::new(
            ErrorCode::AlreadyExists,
            "the database holds the demo already: nothing was changed",
        ));
    }
    let passwords = passwords()?;
    let mut people = Vec::new();
    for username in ["demo", "alice", "bob", "charlie"] {
        people.push((username, passwords.hash(format!("{username}123").into()).await?));
    }
    let now = OffsetDateTime::now_utc();
    let mut transaction = store.begin().await?;
    let demo = &mut transaction;
    let fields = OrganizationFields::new("Demo Organization", "DEMO");
    let organization = demo.create_organization(fields, now).await?;
    let roles = create_roles(demo, organization, &[]).await?;
    create_channel(demo, organization, None, "General", "For everybody", 0).await?;
    let operations =
        create_channel(demo, organization, None, "Operations", "Members and officers", 1).await?;
    create_channel(demo, organization, Some(operations), "Alpha Squad", "", 0).await?;
    let bravo = create_channel(demo, organization, Some(operations), "Bravo Squad", "", 1).await?;
    create_channel(demo, organization, None, "Social", "Whoever likes", 2).await?;
    let none = Permissions::empty();
    // Guests do not see operations; members listen to Bravo Squad, officers speak there.
    demo.set_acl(operations, roles.guest, none, Permissions::VIEW_CHANNEL).await?;
    demo.set_acl(bravo, roles.member, none, Permissions::SPEAK).await?;
    demo.set_acl(bravo, roles.officer, Permissions::SPEAK, none).await?;
    for ((username, hash), role) in people.iter().zip([roles.admin, roles.officer, roles.member, roles.guest])
    {
        let id = create_user(demo, organization, username, hash, "seed", role, now).await?;
        if role == roles.admin {
            demo.set_owner(organization, id).await?;
        }
    }
    transaction.commit().await?;
    Ok(())
}

fn passwords() -> Result<Passwords, ErrorBody> {
    Passwords::new(1).map_err(|error| {
        tracing::error!(%error, "no thread for passwords");
        ErrorBody::new(
            ErrorCode::Internal,
            "the system starts no more threads: end other programs, then try again",
        )
    })
}

async fn create_user(
    transaction: &mut Transaction,
    organization: OrganizationId,
    username: &str,
    password_hash: &str,
    created_via: &str,
    role: RoleId,
    now: OffsetDateTime,
) -> Result<UserId, StoreError> {
    let resource = format!("user:{username}");
    let audit = AuditEntry {
        organization: Some(organization),
        actor: None,
        action: "user_created",
        resource: &resource,
        details: json!({}),
        ip_address: None,
    };
    let user = NewUser {
        organization,
        username,
        display_name: username,
        email: None,
        password_hash,
        active: true,
        created_via,
        roles: &[role],
    };
    transaction.create_user(user, &audit, now).await
}

/// The default roles of an organization; those that are there stay as they are.
async fn create_roles(
    transaction: &mut Transaction,
    organization: OrganizationId,
    there: &[RoleRow],
) -> Result<Roles, StoreError> {
    let mut ids = [RoleId(0); 4];
    for (id, (name, permissions, priority)) in ids.iter_mut().zip(ROLES) {
        *id = match there.iter().find(|role| role.name == name) {
            Some(role) => role.id(),
            None => transaction.create_role(organization, name, permissions, priority).await?,
        };
    }
    let [admin, officer, member, guest] = ids;
    Ok(Roles { admin, officer, member, guest })
}

async fn create_channel(
    transaction: &mut Transaction,
    organization: OrganizationId,
    parent: Option<ChannelId>,
    name: &str,
    description: &str,
    position: i64,
) -> Result<ChannelId, StoreError> {
    let channel = ChannelFields { parent, name, description, position, ..ChannelFields::default() };
    transaction.create_channel(organization, channel).await
}

/// A tag from a name: its letters and digits in capitals.
fn tag_of(name: &str) -> String {
    let tag: String = name.chars().filter(char::is_ascii_alphanumeric).take(8).collect();
    if tag.len() < 2 { "HOME".into() } else { tag.to_uppercase() }
}
