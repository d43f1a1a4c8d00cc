//! The database of a run, and an access token for each client: made as the server would, but without a password
//! hashed for each.

use std::path::Path;

use serde_json::json;
use time::{Duration, OffsetDateTime};
use uuid::Uuid;
use voip_protocol::{ChannelId, LoginId, OrganizationId, RoleId, Token, UserId, control::Account};
use voip_server::{
    Config, Store,
    auth::{MEMBER_ROLE, Tokens},
    setup,
    store::{AuditEntry, ChannelFields, NewLogin, NewUser, OrganizationFields},
};

use super::LoadError;

/// Signs the tokens of a run; the server is told it.
pub const JWT_SECRET: &str = "known to voip-load and to the server that it starts";
/// Longer than any run.
const TOKEN_MINUTES: u32 = 120;
const LOGIN_LIFE: Duration = Duration::days(1);
/// Rows that are written together.
const BATCH: usize = 500;

const ADMIN: &str = "admin";
const ADMIN_PASSWORD: &str = "velvet-anchor-7";
const ORGANIZATION: (&str, &str) = ("Load", "LOAD");

/// What the clients need.
pub struct Prepared {
    /// The channels, in order.
    pub channels: Vec<ChannelId>,
    /// An access token for each client.
    pub tokens: Vec<Token>,
}

/// Whose accounts are made, and how.
struct Home {
    organization: OrganizationId,
    member: RoleId,
    password_hash: String,
    tokens: Tokens,
    now: OffsetDateTime,
}

/// Fills the folder of a server that was never started: so many channels, and clients that are logged in.
pub async fn prepare(folder: &Path, channels: usize, clients: usize) -> Result<Prepared, LoadError> {
    let store = Store::open(&Config::embedded(folder, 0, 0).database).await?;
    // Without an administrator the server would make one at its start.
    setup::create_administrator(&store, ORGANIZATION.0, ADMIN, ADMIN_PASSWORD.to_owned().into()).await?;
    let organization = store.organizations().await?.first().expect("it was just made").id();
    let member = store.role_by_name(organization, MEMBER_ROLE).await?.expect("setup makes the roles");
    let admin = store.user_by_name(organization, ADMIN).await?.expect("it was just made");
    let home = Home {
        organization,
        member: member.id(),
        password_hash: admin.password_hash,
        tokens: Tokens::new(&JWT_SECRET.to_owned().into(), TOKEN_MINUTES),
        now: OffsetDateTime::now_utc(),
    };
    let quotas = OrganizationFields {
        max_users: i64::MAX,
        max_channels: i64::MAX,
        ..OrganizationFields::new(ORGANIZATION.0, ORGANIZATION.1)
    };
    let mut transaction = store.begin().await?;
    transaction.update_organization(organization, quotas, home.now).await?;
    let mut made = Vec::with_capacity(channels);
    for number in 0..channels {
        let name = format!("load-{number}");
        let fields = ChannelFields { name: &name, position: number as i64, ..ChannelFields::default() };
        made.push(transaction.create_channel(organization, fields).await?);
    }
    transaction.commit().await?;
    let mut tokens = Vec::with_capacity(clients);
    while tokens.len() < clients {
        let mut transaction = store.begin().await?;
        for _ in 0..BATCH.min(clients - tokens.len()) {
            tokens.push(home.log_in(&mut transaction, tokens.len()).await?);
        }
        transaction.commit().await?;
    }
    store.close().await;
    Ok(Prepared { channels: made, tokens })
}

impl Home {
    /// Makes an account, and its login; the access token.
    async fn log_in(
        &self,
        transaction: &mut voip_server::store::Transaction,
        number: usize,
    ) -> Result<Token, LoadError> {
        let username = format!("load-{number}");
        let user = NewUser {
            organization: self.organization,
            username: &username,
            display_name: &username,
            email: None,
            password_hash: &self.password_hash,
            active: true,
            created_via: "seed",
            roles: &[self.member],
        };
        let resource = format!("user:{username}");
        let audit = AuditEntry {
            organization: Some(self.organization),
            actor: None,
            action: "user_created",
            resource: &resource,
            details: json!({}),
            ip_address: None,
        };
        let id = transaction.create_user(user, &audit, self.now).await?;
        self.token(transaction, id, username).await
    }

    async fn token(
        &self,
        transaction: &mut voip_server::store::Transaction,
        id: UserId,
        username: String,
    ) -> Result<Token, LoadError> {
        let account =
            Account { id, organization_id: self.organization, display_name: username.clone(), username };
        let login = LoginId(Uuid::new_v4());
        let claims = self.tokens.claims(&account, vec![self.member], login, Uuid::new_v4(), self.now);
        let mut token_hash = [0; 32];
        // Nobody has the refresh token; it only must not be another's.
        token_hash[..16].copy_from_slice(login.0.as_bytes());
        let row = NewLogin {
            id: login,
            user: id,
            access_jti: claims.jti,
            token_hash,
            device_name: None,
            device_id: None,
            ip_address: None,
            user_agent: None,
            expires_at: self.now + LOGIN_LIFE,
        };
        let audit = AuditEntry {
            organization: Some(self.organization),
            actor: Some(id),
            action: "login",
            resource: "load",
            details: json!({}),
            ip_address: None,
        };
        transaction.create_login(&row, &audit, self.now).await?;
        Ok(self.tokens.sign(&claims)?)
    }
}
