//! `user`: accounts, one at a time. A running server sees each change: who is disabled is out within a second.

use std::{collections::HashMap, error::Error};

use clap::{Args, Subcommand};
use serde::Serialize;
use serde_json::json;
use time::{OffsetDateTime, UtcOffset, format_description::well_known::Rfc3339};
use voip_protocol::{RoleId, Token, UserId, limits::MAX_PAGE};
use voip_server::{
    Config, Store, StoreError, admin,
    auth::{MEMBER_ROLE, check_display_name, check_email, check_username},
    store::{AuditEntry, NewUser, OrganizationRow, RoleRow, UserFilter, UserRow},
};

use super::{Outcome, open, organization, password, print, table};

#[derive(Subcommand)]
pub(super) enum User {
    /// Make an account. Its password is made here and printed once, unless standard input has one.
    Create {
        #[command(flatten)]
        who: Who,
        /// A role of it, by name; may be given several times. Left out: Member.
        #[arg(long = "role", value_name = "NAME")]
        roles: Vec<String>,
        /// How others see it; left out: the user name.
        #[arg(long, value_name = "NAME")]
        display_name: Option<String>,
        /// Its e-mail address.
        #[arg(long, value_name = "ADDRESS")]
        email: Option<String>,
        /// Take the password from the first line of standard input.
        #[arg(long)]
        password_stdin: bool,
    },
    /// List the accounts of one organization or of all.
    List {
        /// The organization's tag.
        #[arg(long, value_name = "TAG")]
        org: Option<String>,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Let an account not log in any more, and end its logins.
    Disable {
        #[command(flatten)]
        who: Who,
    },
    /// Let a disabled account log in again.
    Enable {
        #[command(flatten)]
        who: Who,
    },
    /// Give an account another password: made here and printed once, unless standard input has one. Its logins end,
    /// a lock is lifted.
    SetPassword {
        #[command(flatten)]
        who: Who,
        /// Take the password from the first line of standard input.
        #[arg(long)]
        password_stdin: bool,
    },
}

/// An account.
#[derive(Args)]
pub(super) struct Who {
    /// User name.
    username: String,
    /// The organization's tag; may be left out where there is one only.
    #[arg(long, value_name = "TAG")]
    org: Option<String>,
}

impl User {
    pub(super) async fn run(self, config: &Config) -> Outcome {
        let store = open(config).await?;
        let now = OffsetDateTime::now_utc();
        let text = match self {
            Self::Create { who, roles, display_name, email, password_stdin } => {
                let new = New { who: &who, roles: &roles, display_name, email, password_stdin };
                create(&store, new, now).await
            }
            Self::List { org, json } => list(&store, org.as_deref(), json).await,
            Self::Disable { who } => set_active(&store, &who, false, now).await,
            Self::Enable { who } => set_active(&store, &who, true, now).await,
            Self::SetPassword { who, password_stdin } => {
                set_password(&store, &who, password_stdin, now).await
            }
        };
        store.close().await;
        print(&text?)
    }
}

struct New<'a> {
    who: &'a Who,
    roles: &'a [String],
    display_name: Option<String>,
    email: Option<String>,
    password_stdin: bool,
}

async fn create(store: &Store, new: New<'_>, now: OffsetDateTime) -> Result<String, Box<dyn Error>> {
    let username = check_username(&new.who.username).map_err(message)?;
    let display_name =
        check_display_name(new.display_name.as_deref().unwrap_or(username)).map_err(message)?;
    let email = check_email(new.email.as_deref().unwrap_or_default()).map_err(message)?;
    let organization = organization(store, new.who.org.as_deref()).await?;
    let there = store.roles_in(organization.id()).await?;
    let roles = choose(&there, new.roles)?;
    let taken =
        || format!("the name {username} is taken in {}: choose another, or set-password", organization.tag);
    // Before anybody is asked for a password.
    if store.user_by_name(organization.id(), username).await?.is_some() {
        return Err(taken().into());
    }
    let known = [username, display_name, email.unwrap_or_default(), &organization.name];
    let (password_hash, password) = password::chosen_or_made(new.password_stdin, &known).await?;
    let ids: Vec<RoleId> = roles.iter().map(|role| role.id()).collect();
    let user = NewUser {
        organization: organization.id(),
        username,
        display_name,
        email,
        password_hash: &password_hash,
        active: true,
        created_via: "shell",
        roles: &ids,
    };
    let names: Vec<&str> = roles.iter().map(|role| role.name.as_str()).collect();
    let resource = format!("user:{username}");
    let entry = AuditEntry {
        details: json!({ "via": "shell", "roles": names }),
        ..audit(&organization, "user_created", &resource)
    };
    let mut transaction = store.begin().await?;
    match transaction.create_user(user, &entry, now).await {
        Err(StoreError::Duplicate) => return Err(taken().into()),
        other => other?,
    };
    transaction.commit().await?;
    let roles = if names.is_empty() { "without a role".into() } else { format!("as {}", names.join(", ")) };
    Ok(format!("{username} is in {} now, {roles}.\n{}", organization.tag, shown(password.as_ref())))
}

fn choose<'a>(there: &'a [RoleRow], wanted: &[String]) -> Result<Vec<&'a RoleRow>, String> {
    if wanted.is_empty() {
        return Ok(there.iter().filter(|role| role.name == MEMBER_ROLE).collect());
    }
    let find = |name: &String| {
        there.iter().find(|role| role.name.to_lowercase() == name.to_lowercase()).ok_or_else(|| {
            let names: Vec<&str> = there.iter().map(|role| role.name.as_str()).collect();
            format!("the organization has no role {name}; it has {}", names.join(", "))
        })
    };
    wanted.iter().map(find).collect()
}

async fn set_active(
    store: &Store,
    who: &Who,
    active: bool,
    now: OffsetDateTime,
) -> Result<String, Box<dyn Error>> {
    let (organization, user) = find(store, who).await?;
    let resource = format!("user:{}", user.username);
    let mut transaction = store.begin().await?;
    let changed = admin::set_active(&mut transaction, &user, active, now).await.map_err(message)?;
    let Some(ended) = changed else {
        let state = if active { "enabled" } else { "disabled" };
        return Ok(format!("{} is {state} already: nothing was changed.\n", user.username));
    };
    let action = if active { "user_enabled" } else { "user_disabled" };
    let entry = AuditEntry {
        details: json!({ "via": "shell", "logins_ended": ended }),
        ..audit(&organization, action, &resource)
    };
    transaction.audit(&entry, now).await?;
    transaction.commit().await?;
    Ok(if active {
        format!("{} may log in again.\n", user.username)
    } else {
        format!("{} may not log in any more; logins ended: {ended}.\n", user.username)
    })
}

async fn set_password(
    store: &Store,
    who: &Who,
    stdin: bool,
    now: OffsetDateTime,
) -> Result<String, Box<dyn Error>> {
    let (organization, user) = find(store, who).await?;
    let email = user.email.as_deref().unwrap_or_default();
    let known = [&*user.username, &user.display_name, email, &organization.name];
    let (hash, password) = password::chosen_or_made(stdin, &known).await?;
    let resource = format!("user:{}", user.username);
    let mut transaction = store.begin().await?;
    if !transaction.set_password(user.id(), &hash, now).await? {
        return Err(format!("{} was deleted this very moment", user.username).into());
    }
    let ended = transaction.revoke_logins(user.id(), None, "password_reset", now).await?;
    let entry = AuditEntry {
        details: json!({ "via": "shell", "logins_ended": ended }),
        ..audit(&organization, "password_reset", &resource)
    };
    transaction.audit(&entry, now).await?;
    transaction.commit().await?;
    let username = &user.username;
    Ok(format!("{username} has a new password; logins ended: {ended}.\n{}", shown(password.as_ref())))
}

/// A line with a password that was made here.
fn shown(password: Option<&Token>) -> String {
    password.map(|password| format!("Password, shown this once: {}\n", password.expose())).unwrap_or_default()
}

async fn find(store: &Store, who: &Who) -> Result<(OrganizationRow, UserRow), Box<dyn Error>> {
    let organization = organization(store, who.org.as_deref()).await?;
    let user = store.user_by_name(organization.id(), who.username.trim()).await?;
    let user = user.ok_or_else(|| format!("there is no user {} in {}", who.username, organization.tag))?;
    Ok((organization, user))
}

fn audit<'a>(organization: &OrganizationRow, action: &'a str, resource: &'a str) -> AuditEntry<'a> {
    AuditEntry {
        organization: Some(organization.id()),
        actor: None,
        action,
        resource,
        details: json!({ "via": "shell" }),
        ip_address: None,
    }
}

fn message(error: voip_protocol::ErrorBody) -> String {
    error.message
}

/// An account in a list.
#[derive(Serialize)]
struct Listed {
    organization: String,
    username: String,
    display_name: String,
    email: Option<String>,
    active: bool,
    roles: Vec<String>,
    created_via: String,
    #[serde(with = "time::serde::rfc3339")]
    created_at: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339::option")]
    last_login: Option<OffsetDateTime>,
    #[serde(with = "time::serde::rfc3339::option")]
    locked_until: Option<OffsetDateTime>,
}

async fn list(store: &Store, org: Option<&str>, as_json: bool) -> Result<String, Box<dyn Error>> {
    let organizations = match org {
        Some(tag) => vec![organization(store, Some(tag)).await?],
        None => store.organizations().await?,
    };
    let mut users = Vec::new();
    for organization in &organizations {
        read(store, organization, &mut users).await?;
    }
    if as_json {
        return Ok(format!("{}\n", serde_json::to_string_pretty(&users)?));
    }
    let heading = ["ORG", "NAME", "SHOWN AS", "STATE", "ROLES", "LAST LOGIN"].map(str::to_owned);
    let rows: Vec<_> = std::iter::once(heading).chain(users.into_iter().map(row)).collect();
    Ok(table(&rows))
}

async fn read(
    store: &Store,
    organization: &OrganizationRow,
    users: &mut Vec<Listed>,
) -> Result<(), StoreError> {
    let utc = |time: OffsetDateTime| time.to_offset(UtcOffset::UTC);
    let mut after = UserId(0);
    loop {
        let page = store.users_page(organization.id(), UserFilter::default(), after, MAX_PAGE).await?;
        let (Some(first), Some(last)) = (page.first().map(UserRow::id), page.last().map(UserRow::id)) else {
            return Ok(());
        };
        let mut roles: HashMap<UserId, Vec<String>> = HashMap::new();
        for held in store.roles_of_users(organization.id(), first, last).await? {
            roles.entry(held.user()).or_default().push(held.role.name);
        }
        users.extend(page.into_iter().map(|user| Listed {
            organization: organization.tag.clone(),
            roles: roles.remove(&user.id()).unwrap_or_default(),
            username: user.username,
            display_name: user.display_name,
            email: user.email,
            active: user.active,
            created_via: user.created_via,
            created_at: utc(user.created_at),
            last_login: user.last_login.map(utc),
            locked_until: user.locked_until.map(utc),
        }));
        after = last;
    }
}

fn row(user: Listed) -> [String; 6] {
    let state = match (user.active, user.locked_until) {
        (false, _) => "disabled",
        (true, Some(until)) if until > OffsetDateTime::now_utc() => "locked",
        (true, _) => "active",
    };
    let last_login = user.last_login.and_then(|time| time.replace_nanosecond(0).ok()?.format(&Rfc3339).ok());
    [
        user.organization,
        user.username,
        user.display_name,
        state.into(),
        user.roles.join(", "),
        last_login.unwrap_or_else(|| "never".into()),
    ]
}
