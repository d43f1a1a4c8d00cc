//! The first start: an organization, its roles, a channel to talk in, an administrator. And the demo's.

use secrecy::{ExposeSecret, SecretString};
use serde_json::json;
use time::OffsetDateTime;
use voip_protocol::{
    ChannelId, ErrorBody, ErrorCode, OrganizationId, Permissions, RoleId, limits::ORGANIZATION_NAME_CHARS,
};

use crate::{
    auth::{MEMBER_ROLE, Passwords, check_password, check_username},
    store::{AuditEntry, NewChannel, NewUser, Store, StoreError},
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

/// Makes the first organization, with a channel General, and its administrator.
pub async fn create_administrator(
    store: &Store,
    organization_name: &str,
    username: &str,
    password: SecretString,
) -> Result<(), ErrorBody> {
    let organization_name = organization_name.trim();
    if !ORGANIZATION_NAME_CHARS.contains(&organization_name.chars().count()) {
        let message =
            format!("the server's name must have 1 to {} characters", ORGANIZATION_NAME_CHARS.end());
        return Err(ErrorBody::new(ErrorCode::InvalidField, message));
    }
    let username = check_username(username)?;
    check_password(password.expose_secret())?;
    let password_hash = Passwords::new(1).hash(password).await?;
    let now = OffsetDateTime::now_utc();
    let organization = match store.organizations().await?.first() {
        Some(organization) => organization.id(),
        None => store.create_organization(organization_name, &tag_of(organization_name), now).await?,
    };
    let roles = create_roles(store, organization).await?;
    if store.channels().await?.iter().all(|channel| channel.organization() != organization) {
        create_channel(store, organization, None, "General", "", 0).await?;
    }
    let user = NewUser {
        organization,
        username,
        display_name: username,
        password_hash: &password_hash,
        created_via: "setup",
        roles: &[roles.admin],
    };
    match create_user(store, user, now).await {
        Err(StoreError::Duplicate) => {
            let message = format!("the name {username} is taken: choose another");
            return Err(ErrorBody::new(ErrorCode::UsernameTaken, message));
        }
        other => store.set_owner(organization, other?).await?,
    }
    Ok(())
}

/// Fills an empty database with the Demo Organization. Its passwords are known to everybody.
pub async fn seed_demo(store: &Store) -> Result<(), ErrorBody> {
    if store.organization_by_tag("DEMO").await?.is_some() {
        return Err(ErrorBody::new(
            ErrorCode::UsernameTaken,
            "the database holds the demo already: nothing was changed",
        ));
    }
    let now = OffsetDateTime::now_utc();
    let organization = store.create_organization("Demo Organization", "DEMO", now).await?;
    let roles = create_roles(store, organization).await?;
    create_channel(store, organization, None, "General", "For everybody", 0).await?;
    let operations =
        create_channel(store, organization, None, "Operations", "Members and officers", 1).await?;
    create_channel(store, organization, Some(operations), "Alpha Squad", "", 0).await?;
    let bravo = create_channel(store, organization, Some(operations), "Bravo Squad", "", 1).await?;
    create_channel(store, organization, None, "Social", "Whoever likes", 2).await?;
    let none = Permissions::empty();
    // Guests do not see operations; members listen to Bravo Squad, officers speak there.
    store.set_acl(operations, roles.guest, none, Permissions::VIEW_CHANNEL).await?;
    store.set_acl(bravo, roles.member, none, Permissions::SPEAK).await?;
    store.set_acl(bravo, roles.officer, Permissions::SPEAK, none).await?;
    let passwords = Passwords::new(1);
    let people =
        [("demo", roles.admin), ("alice", roles.officer), ("bob", roles.member), ("charlie", roles.guest)];
    for (username, role) in people {
        let password_hash = passwords.hash(format!("{username}123").into()).await?;
        let user = NewUser {
            organization,
            username,
            display_name: username,
            password_hash: &password_hash,
            created_via: "seed",
            roles: &[role],
        };
        let id = create_user(store, user, now).await?;
        if username == "demo" {
            store.set_owner(organization, id).await?;
        }
    }
    Ok(())
}

async fn create_user(
    store: &Store,
    user: NewUser<'_>,
    now: OffsetDateTime,
) -> Result<voip_protocol::UserId, StoreError> {
    let resource = format!("user:{}", user.username);
    let audit =
        AuditEntry { action: "user_created", resource: &resource, details: json!({}), ip_address: None };
    store.create_user(user, audit, now).await
}

/// The default roles of an organization; those that are there stay as they are.
async fn create_roles(store: &Store, organization: OrganizationId) -> Result<Roles, StoreError> {
    let mut ids = [RoleId(0); 4];
    for (id, (name, permissions, priority)) in ids.iter_mut().zip(ROLES) {
        *id = match store.role_by_name(organization, name).await? {
            Some(role) => role.id(),
            None => store.create_role(organization, name, permissions, priority).await?,
        };
    }
    let [admin, officer, member, guest] = ids;
    Ok(Roles { admin, officer, member, guest })
}

async fn create_channel(
    store: &Store,
    organization: OrganizationId,
    parent: Option<ChannelId>,
    name: &str,
    description: &str,
    position: i64,
) -> Result<ChannelId, StoreError> {
    store
        .create_channel(NewChannel { organization, parent, name, description, max_users: None, position })
        .await
}

/// A tag from a name: its letters and digits in capitals.
fn tag_of(name: &str) -> String {
    let tag: String = name.chars().filter(char::is_ascii_alphanumeric).take(8).collect();
    if tag.len() < 2 { "HOME".into() } else { tag.to_uppercase() }
}
