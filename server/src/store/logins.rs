//! Logins: the table `sessions`, and the refresh tokens that were spent.

use std::collections::{HashMap, HashSet};

use sqlx::PgPool;
use time::OffsetDateTime;
use uuid::Uuid;
use voip_protocol::{
    LoginId, OrganizationId, Permissions, RoleId, UserId,
    control::{Account, Organization},
};

use super::{
    AuditEntry, DatabaseKind, Pool, RoleRow, Store, StoreError, Transaction, at::At, audit::insert_audit, on,
    statements::declare, transaction::within,
};

/// SHA-256 of a refresh token.
pub type TokenHash = [u8; 32];

/// A login to be.
pub struct NewLogin<'a> {
    /// Key.
    pub id: LoginId,
    /// Whose.
    pub user: UserId,
    /// Id of the access token.
    pub access_jti: Uuid,
    /// Of its refresh token.
    pub token_hash: TokenHash,
    /// The device's name.
    pub device_name: Option<&'a str>,
    /// The device's own mark.
    pub device_id: Option<&'a str>,
    /// From where.
    pub ip_address: Option<&'a str>,
    /// With what.
    pub user_agent: Option<&'a str>,
    /// When it ends unless it is refreshed.
    pub expires_at: OffsetDateTime,
}

/// A row of `sessions`.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct LoginRow {
    id: Uuid,
    user_id: i64,
    /// The device's name.
    pub device_info: Option<String>,
    /// From where.
    pub ip_address: Option<String>,
    /// With what.
    pub user_agent: Option<String>,
    /// When it began.
    pub created_at: OffsetDateTime,
    /// When it was last used.
    pub last_activity: OffsetDateTime,
    /// When it ends unless it is refreshed.
    pub expires_at: OffsetDateTime,
    /// When it was ended before its time.
    pub revoked_at: Option<OffsetDateTime>,
    /// Why.
    pub revoked_reason: Option<String>,
}

impl LoginRow {
    /// Key.
    pub fn id(&self) -> LoginId {
        LoginId(self.id)
    }

    /// Whose.
    pub fn user(&self) -> UserId {
        UserId(self.user_id)
    }
}

/// Whose an access token is, with all that every request asks about them.
#[derive(Clone, Debug)]
pub struct Caller {
    /// The login.
    pub login: LoginId,
    /// The account.
    pub account: Account,
    /// Its home organization.
    pub organization: Organization,
    /// Whose that is.
    pub owner: Option<UserId>,
    /// Its roles there, highest priority first.
    pub roles: Vec<RoleRow>,
}

/// A row for each role of a caller.
#[derive(sqlx::FromRow)]
struct CallerRow {
    access_jti: Uuid,
    login_id: Uuid,
    user_id: i64,
    org_id: i64,
    username: String,
    display_name: String,
    org_name: String,
    org_tag: String,
    owner_id: Option<i64>,
    role_id: Option<i64>,
    role_name: Option<String>,
    permissions: Option<i64>,
    priority: Option<i64>,
}

impl CallerRow {
    fn inline(row: &rusqlite::Row) -> rusqlite::Result<Self> {
        Ok(Self {
            access_jti: Uuid::from_bytes(row.get("access_jti")?),
            login_id: Uuid::from_bytes(row.get("login_id")?),
            user_id: row.get("user_id")?,
            org_id: row.get("org_id")?,
            username: row.get("username")?,
            display_name: row.get("display_name")?,
            org_name: row.get("org_name")?,
            org_tag: row.get("org_tag")?,
            owner_id: row.get("owner_id")?,
            role_id: row.get("role_id")?,
            role_name: row.get("role_name")?,
            permissions: row.get("permissions")?,
            priority: row.get("priority")?,
        })
    }
}

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT id, user_id, device_info, ip_address, user_agent, created_at, last_activity, expires_at, \
             revoked_at, revoked_reason FROM sessions ",
            $rest
        )
    };
}

macro_rules! caller {
    ($which:literal) => {
        concat!(
            "SELECT sessions.access_jti, sessions.id AS login_id, users.id AS user_id, users.org_id, users.username,
                users.display_name, organizations.name AS org_name, organizations.tag AS org_tag,
                organizations.owner_id, roles.id AS role_id, roles.name AS role_name, roles.permissions, roles.priority
            FROM sessions
            JOIN users ON users.id = sessions.user_id
            JOIN organizations ON organizations.id = users.org_id
            LEFT JOIN user_roles ON user_roles.user_id = users.id
            LEFT JOIN roles ON roles.id = user_roles.role_id AND roles.org_id = users.org_id
            WHERE ",
            $which,
            " AND sessions.revoked_at IS NULL AND sessions.expires_at > $2 AND users.active
            ORDER BY roles.priority DESC, roles.id"
        )
    };
}

/// On PostgreSQL: [`CALLER`] for many access tokens at once.
pub(super) const CALLERS: &str = caller!("sessions.access_jti = ANY($1)");

macro_rules! insert {
    () => {
        "INSERT INTO sessions (id, user_id, access_jti, token_hash, device_info, device_fingerprint, ip_address,
            user_agent, created_at, last_activity, expires_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $9, $10)"
    };
}

/// A login and its audit row, handed over as one: each database has its own way to say so.
pub(super) const fn insert(kind: DatabaseKind) -> &'static str {
    match kind {
        DatabaseKind::Sqlite => {
            concat!(insert!(), "; ", insert_audit!("($11, $12, $13, $14, $15, $16, $9)"))
        }
        DatabaseKind::Postgres => {
            concat!("WITH login AS (", insert!(), ") ", insert_audit!("($11, $12, $13, $14, $15, $16, $9)"))
        }
    }
}

declare! {
    // Of two at once the second finds the hash changed.
    ROTATE = "UPDATE sessions SET token_hash = $2, access_jti = $3, last_activity = $4, expires_at = $5
        WHERE token_hash = $1 AND revoked_at IS NULL AND expires_at > $4
            AND EXISTS (SELECT 1 FROM users WHERE users.id = sessions.user_id AND users.active)
        RETURNING id, user_id";
    SPEND = "INSERT INTO spent_tokens (token_hash, session_id, spent_at) VALUES ($1, $2, $3)";
    SPENT = "SELECT sessions.id, sessions.user_id FROM spent_tokens
        JOIN sessions ON sessions.id = spent_tokens.session_id WHERE spent_tokens.token_hash = $1";
    REVOKED_TOKEN = "SELECT COUNT(*) FROM sessions WHERE token_hash = $1 AND revoked_at IS NOT NULL";
    REVOKE = "UPDATE sessions SET revoked_at = $3, revoked_reason = $4
        WHERE user_id = $1 AND id = $2 AND revoked_at IS NULL";
    REVOKE_ALL = "UPDATE sessions SET revoked_at = $3, revoked_reason = $4
        WHERE user_id = $1 AND revoked_at IS NULL AND (CAST($2 AS UUID) IS NULL OR id <> $2)";
    REVOKE_DEVICE = "UPDATE sessions SET revoked_at = $4, revoked_reason = $5
        WHERE user_id = $1 AND device_fingerprint = $2 AND id <> $3 AND revoked_at IS NULL";
    TOUCH = "UPDATE sessions SET last_activity = $2 WHERE id = $1 AND revoked_at IS NULL";
    CALLER = caller!("sessions.access_jti = $1");
    BY_ID = select!("WHERE id = $1");
    ALIVE_OF = select!(
        "WHERE user_id = $1 AND revoked_at IS NULL AND expires_at > $2
        ORDER BY last_activity DESC, created_at DESC LIMIT $3"
    );
    REVOKED_SINCE = "SELECT id FROM sessions WHERE revoked_at > $1";
    EXPIRED_SINCE = "SELECT id FROM sessions WHERE expires_at > $1 AND expires_at <= $2 AND revoked_at IS NULL";
    EXTEND = "UPDATE sessions SET last_activity = $2, expires_at = $3 WHERE id = $1 AND revoked_at IS NULL";
    COUNT_ALIVE = "SELECT COUNT(*) FROM sessions WHERE expires_at > $1 AND revoked_at IS NULL";
    DELETE_ENDED = "DELETE FROM sessions WHERE expires_at < $1 OR revoked_at < $1";
    DELETE_SPENT = "DELETE FROM spent_tokens WHERE spent_at < $1";
}

impl Transaction {
    /// Adds a login with its audit row.
    pub async fn create_login(
        &mut self,
        login: &NewLogin<'_>,
        audit: &AuditEntry<'_>,
        now: OffsetDateTime,
    ) -> Result<(), StoreError> {
        let kind = self.kind();
        within!(self, connection => sqlx::query::<Db>(insert(kind))
            .bind(login.id.0)
            .bind(login.user.0)
            .bind(login.access_jti)
            .bind(&login.token_hash[..])
            .bind(login.device_name)
            .bind(login.device_id)
            .bind(login.ip_address)
            .bind(login.user_agent)
            .bind(At(now))
            .bind(At(login.expires_at))
            .bind(audit.organization.map(|id| id.0))
            .bind(audit.actor.map(|id| id.0))
            .bind(audit.action)
            .bind(audit.resource)
            .bind(sqlx::types::Json(&audit.details))
            .bind(audit.ip_address)
            .execute(connection)
            .await
            .map(drop))?;
        self.audited += 1;
        Ok(())
    }

    /// Spends a refresh token and puts another in its place, and another access token; whose login it is. None where
    /// it is no living login's newest.
    pub async fn rotate_tokens(
        &mut self,
        spent: &TokenHash,
        next: &TokenHash,
        access_jti: Uuid,
        expires_at: OffsetDateTime,
        now: OffsetDateTime,
    ) -> Result<Option<(LoginId, UserId)>, StoreError> {
        let row = within!(self, connection => sqlx::query_as::<Db, (Uuid, i64)>(ROTATE)
            .bind(&spent[..])
            .bind(&next[..])
            .bind(access_jti)
            .bind(At(now))
            .bind(At(expires_at))
            .fetch_optional(connection)
            .await)?;
        let Some((id, user)) = row else { return Ok(None) };
        within!(self, connection => sqlx::query::<Db>(SPEND)
            .bind(&spent[..]).bind(id).bind(At(now)).execute(connection).await.map(drop))?;
        Ok(Some((LoginId(id), UserId(user))))
    }

    /// Whose login a refresh token was of that is spent.
    pub async fn spent_token(
        &mut self,
        token_hash: &TokenHash,
    ) -> Result<Option<(LoginId, UserId)>, StoreError> {
        let row = within!(self, connection => sqlx::query_as::<Db, (Uuid, i64)>(SPENT)
            .bind(&token_hash[..]).fetch_optional(connection).await)?;
        Ok(row.map(|(id, user)| (LoginId(id), UserId(user))))
    }

    /// Whether a refresh token is the newest of a login that was ended before its time.
    pub async fn revoked_token(&mut self, token_hash: &TokenHash) -> Result<bool, StoreError> {
        let count: i64 = within!(self, connection => sqlx::query_scalar::<Db, i64>(REVOKED_TOKEN)
            .bind(&token_hash[..]).fetch_one(connection).await)?;
        Ok(count > 0)
    }

    /// Ends one login of an account; false where it has no such one that lives.
    pub async fn revoke_login(
        &mut self,
        user: UserId,
        login: LoginId,
        reason: &str,
        now: OffsetDateTime,
    ) -> Result<bool, StoreError> {
        let done = within!(self, connection => sqlx::query::<Db>(REVOKE)
            .bind(user.0).bind(login.0).bind(At(now)).bind(reason)
            .execute(connection).await.map(|done| done.rows_affected()))?;
        Ok(done > 0)
    }

    /// Ends all logins of an account, or all but one; how many there were.
    pub async fn revoke_logins(
        &mut self,
        user: UserId,
        but: Option<LoginId>,
        reason: &str,
        now: OffsetDateTime,
    ) -> Result<u64, StoreError> {
        Ok(within!(self, connection => sqlx::query::<Db>(REVOKE_ALL)
            .bind(user.0).bind(but.map(|login| login.0)).bind(At(now)).bind(reason)
            .execute(connection).await.map(|done| done.rows_affected()))?)
    }

    /// Ends the logins that an account had from a device before this one; how many there were.
    pub async fn revoke_device(
        &mut self,
        user: UserId,
        device_id: &str,
        but: LoginId,
        now: OffsetDateTime,
    ) -> Result<u64, StoreError> {
        Ok(within!(self, connection => sqlx::query::<Db>(REVOKE_DEVICE)
            .bind(user.0).bind(device_id).bind(but.0).bind(At(now)).bind("replaced")
            .execute(connection).await.map(|done| done.rows_affected()))?)
    }

    /// Notes that a login is in use, and lets it live on until a time.
    pub async fn extend_login(
        &mut self,
        login: LoginId,
        expires_at: OffsetDateTime,
        now: OffsetDateTime,
    ) -> Result<(), StoreError> {
        within!(self, connection => sqlx::query::<Db>(EXTEND)
            .bind(login.0).bind(At(now)).bind(At(expires_at)).execute(connection).await.map(drop))?;
        Ok(())
    }

    /// Notes that a login is in use.
    pub async fn touch_login(&mut self, login: LoginId, now: OffsetDateTime) -> Result<(), StoreError> {
        within!(self, connection => sqlx::query::<Db>(TOUCH)
            .bind(login.0).bind(At(now)).execute(connection).await.map(drop))?;
        Ok(())
    }

    /// Forgets logins that ended before a time, with their spent tokens; how many there were.
    pub async fn delete_logins_before(&mut self, time: OffsetDateTime) -> Result<u64, StoreError> {
        Ok(within!(self, connection => sqlx::query::<Db>(DELETE_ENDED)
            .bind(At(time)).execute(connection).await.map(|done| done.rows_affected()))?)
    }

    /// Forgets the refresh tokens that were spent before a time.
    pub async fn delete_spent_before(&mut self, time: OffsetDateTime) -> Result<u64, StoreError> {
        Ok(within!(self, connection => sqlx::query::<Db>(DELETE_SPENT)
            .bind(At(time)).execute(connection).await.map(|done| done.rows_affected()))?)
    }

    /// As [`Store::caller`], with what this transaction has changed.
    pub async fn caller(
        &mut self,
        access_jti: Uuid,
        now: OffsetDateTime,
    ) -> Result<Option<Caller>, StoreError> {
        let rows = within!(self, connection => sqlx::query_as::<Db, CallerRow>(CALLER)
            .bind(access_jti).bind(At(now)).fetch_all(connection).await)?;
        Ok(Caller::from_rows(rows))
    }
}

impl Store {
    /// Whose an access token is, while its login lives and its account is active.
    pub async fn caller(&self, access_jti: Uuid, now: OffsetDateTime) -> Result<Option<Caller>, StoreError> {
        if let Some(inline) = self.inline()
            && let Ok(time) = At(now).text()
            && let Some(rows) = inline.query(CALLER, &[access_jti.as_bytes(), &time], CallerRow::inline)
        {
            return Ok(Caller::from_rows(rows));
        }
        match &self.pool {
            Pool::Sqlite { readers, .. } => {
                let rows = sqlx::query_as::<sqlx::Sqlite, CallerRow>(CALLER)
                    .bind(access_jti)
                    .bind(At(now))
                    .fetch_all(readers)
                    .await?;
                Ok(Caller::from_rows(rows))
            }
            Pool::Postgres { pool, callers } => {
                callers
                    .ask(access_jti, now, async |tokens, now| Ok(callers_of(pool, tokens, now).await?))
                    .await
            }
        }
    }

    /// A login, also one that has ended.
    pub async fn login(&self, id: LoginId) -> Result<Option<LoginRow>, StoreError> {
        Ok(on!(self, pool => sqlx::query_as::<Db, LoginRow>(BY_ID).bind(id.0).fetch_optional(pool).await)?)
    }

    /// The living logins of an account, the latest used first.
    pub async fn logins_of(
        &self,
        user: UserId,
        most: u32,
        now: OffsetDateTime,
    ) -> Result<Vec<LoginRow>, StoreError> {
        Ok(on!(self, pool => sqlx::query_as::<Db, LoginRow>(ALIVE_OF)
            .bind(user.0).bind(At(now)).bind(i64::from(most)).fetch_all(pool).await)?)
    }

    /// The logins that were revoked after a time.
    pub async fn revoked_since(&self, time: OffsetDateTime) -> Result<HashSet<LoginId>, StoreError> {
        let ids: Vec<Uuid> = on!(self, pool => sqlx::query_scalar::<Db, Uuid>(REVOKED_SINCE)
            .bind(At(time)).fetch_all(pool).await)?;
        Ok(ids.into_iter().map(LoginId).collect())
    }

    /// The logins that have expired after a time.
    pub async fn expired_since(
        &self,
        time: OffsetDateTime,
        now: OffsetDateTime,
    ) -> Result<HashSet<LoginId>, StoreError> {
        let ids: Vec<Uuid> = on!(self, pool => sqlx::query_scalar::<Db, Uuid>(EXPIRED_SINCE)
            .bind(At(time)).bind(At(now)).fetch_all(pool).await)?;
        Ok(ids.into_iter().map(LoginId).collect())
    }

    /// How many logins live.
    pub async fn count_logins(&self, now: OffsetDateTime) -> Result<u64, StoreError> {
        let count: i64 = on!(self, pool => sqlx::query_scalar::<Db, i64>(COUNT_ALIVE)
            .bind(At(now)).fetch_one(pool).await)?;
        Ok(count as u64)
    }
}

/// Whose each of some access tokens is; those of nobody are left out.
async fn callers_of(
    pool: &PgPool,
    tokens: Vec<Uuid>,
    now: OffsetDateTime,
) -> Result<HashMap<Uuid, Caller>, sqlx::Error> {
    let rows: Vec<CallerRow> = sqlx::query_as(CALLERS).bind(tokens).bind(At(now)).fetch_all(pool).await?;
    let mut rows_of: HashMap<Uuid, Vec<CallerRow>> = HashMap::new();
    for row in rows {
        rows_of.entry(row.access_jti).or_default().push(row);
    }
    Ok(rows_of.into_iter().filter_map(|(token, rows)| Some((token, Caller::from_rows(rows)?))).collect())
}

impl Caller {
    fn from_rows(rows: Vec<CallerRow>) -> Option<Self> {
        let roles = rows
            .iter()
            .filter_map(|row| {
                let (id, name) = (row.role_id?, row.role_name.clone()?);
                Some(RoleRow::from_columns(id, row.org_id, name, row.permissions?, row.priority?))
            })
            .collect();
        rows.into_iter().next().map(|row| Caller {
            login: LoginId(row.login_id),
            owner: row.owner_id.map(UserId),
            organization: Organization {
                id: OrganizationId(row.org_id),
                name: row.org_name,
                tag: row.org_tag,
            },
            account: Account {
                id: UserId(row.user_id),
                organization_id: OrganizationId(row.org_id),
                username: row.username,
                display_name: row.display_name,
            },
            roles,
        })
    }

    /// Whether the organization is this account's.
    pub fn is_owner(&self) -> bool {
        self.owner == Some(self.account.id)
    }

    /// What they may do where no channel says otherwise: the owner and administrators everything, others what their
    /// roles hold together.
    pub fn permissions(&self) -> Permissions {
        if self.is_owner() {
            return Permissions::all();
        }
        let sum = self.roles.iter().fold(Permissions::empty(), |sum, role| sum | role.permissions());
        if sum.contains(Permissions::ADMINISTRATOR) { Permissions::all() } else { sum }
    }

    /// The ids of the roles.
    pub fn role_ids(&self) -> Vec<RoleId> {
        self.roles.iter().map(RoleRow::id).collect()
    }
}
