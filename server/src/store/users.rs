//! Accounts.

use time::OffsetDateTime;
use voip_protocol::{LoginId, OrganizationId, RoleId, UserId, control::Account};

use super::{
    AuditEntry, Store, StoreError, Transaction, at::At, inline, on, statements::declare, transaction::within,
};

/// A row of `users`.
#[derive(Clone, sqlx::FromRow)]
pub struct UserRow {
    id: i64,
    org_id: i64,
    /// User name as its owner writes it.
    pub username: String,
    /// How others see it.
    pub display_name: String,
    /// E-mail address.
    pub email: Option<String>,
    /// Argon2id, PHC string.
    pub password_hash: String,
    /// May log in.
    pub active: bool,
    /// What made it.
    pub created_via: String,
    /// Wrong passwords since the last right one or the last lock.
    pub failed_login_attempts: i64,
    /// Until when it takes no password.
    pub locked_until: Option<OffsetDateTime>,
    /// When somebody last logged in.
    pub last_login: Option<OffsetDateTime>,
    /// When the password was set.
    pub password_changed_at: OffsetDateTime,
    /// When it was made.
    pub created_at: OffsetDateTime,
}

impl UserRow {
    /// Row id.
    pub fn id(&self) -> UserId {
        UserId(self.id)
    }

    /// Home organization.
    pub fn organization(&self) -> OrganizationId {
        OrganizationId(self.org_id)
    }

    fn inline(row: &rusqlite::Row) -> rusqlite::Result<Self> {
        let time = |column| inline::time(row.get_ref(column)?.as_str()?);
        let maybe_time = |column| row.get_ref(column)?.as_str_or_null()?.map(inline::time).transpose();
        Ok(Self {
            id: row.get("id")?,
            org_id: row.get("org_id")?,
            username: row.get("username")?,
            display_name: row.get("display_name")?,
            email: row.get("email")?,
            password_hash: row.get("password_hash")?,
            active: row.get("active")?,
            created_via: row.get("created_via")?,
            failed_login_attempts: row.get("failed_login_attempts")?,
            locked_until: maybe_time("locked_until")?,
            last_login: maybe_time("last_login")?,
            password_changed_at: time("password_changed_at")?,
            created_at: time("created_at")?,
        })
    }

    /// What others may know.
    pub fn account(&self) -> Account {
        Account {
            id: self.id(),
            organization_id: self.organization(),
            username: self.username.clone(),
            display_name: self.display_name.clone(),
        }
    }
}

/// An account to be.
#[derive(Clone, Copy)]
pub struct NewUser<'a> {
    /// Home organization.
    pub organization: OrganizationId,
    /// Unique in it, whatever its case.
    pub username: &'a str,
    /// How others see it.
    pub display_name: &'a str,
    /// E-mail address.
    pub email: Option<&'a str>,
    /// Argon2id, PHC string.
    pub password_hash: &'a str,
    /// May log in.
    pub active: bool,
    /// What made it: `register`, `setup`, `seed`, `admin`, `import`, `shell`.
    pub created_via: &'a str,
    /// Its first roles.
    pub roles: &'a [RoleId],
}

/// What made the accounts of those who came by themselves.
pub const REGISTERED: &str = "register";

/// Which accounts are wanted; what is none, does not matter.
#[derive(Clone, Copy, Debug, Default)]
pub struct UserFilter<'a> {
    /// Part of the user name, or of the display name, whatever its case.
    pub search: Option<&'a str>,
    /// May log in, or may not.
    pub active: Option<bool>,
}

/// What a wrong password did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Whose it would have been, as its owner writes it.
    pub username: String,
    /// Whether the account is locked by this very try.
    pub locked_now: bool,
}

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT id, org_id, username, display_name, email, password_hash, active, created_via, \
             failed_login_attempts, locked_until, last_login, password_changed_at, created_at FROM users ",
            $rest
        )
    };
}

declare! {
    INSERT = "INSERT INTO users (org_id, username, username_key, display_name, display_name_key, email, password_hash,
            active, created_via, password_changed_at, created_at, updated_at)
        VALUES ($1, $2, $3, $4, $10, $5, $6, $7, $8, $9, $9, $9) RETURNING id";
    PLACES_TAKEN = "SELECT (SELECT COUNT(*) FROM users WHERE org_id = $1)
        + (SELECT COUNT(*) FROM user_organizations WHERE org_id = $1)";
    UPDATE_PROFILE = "UPDATE users SET display_name = $2, email = $3, updated_at = $4, display_name_key = $5
        WHERE id = $1";
    SET_ACTIVE = "UPDATE users SET active = $2, updated_at = $3 WHERE id = $1 AND active <> $2";
    SET_PASSWORD = "UPDATE users SET password_hash = $2, password_changed_at = $3, updated_at = $3,
        failed_login_attempts = 0, locked_until = NULL WHERE id = $1";
    // Matches nothing where the password, the account or the login was changed or ended while the new one was hashed.
    CHANGE_PASSWORD = "UPDATE users SET password_hash = $2, password_changed_at = $3, updated_at = $3,
            failed_login_attempts = 0, locked_until = NULL
        WHERE id = $1 AND password_hash = $4 AND active AND (locked_until IS NULL OR locked_until <= $3)
            AND EXISTS (SELECT 1 FROM sessions WHERE sessions.id = $5 AND sessions.revoked_at IS NULL)";
    REHASH = "UPDATE users SET password_hash = $3 WHERE id = $1 AND password_hash = $2";
    // Matches nothing where the account was disabled or locked while the password was checked.
    LOGGED_IN = "UPDATE users SET last_login = $2, failed_login_attempts = 0, locked_until = NULL
        WHERE id = $1 AND active AND (locked_until IS NULL OR locked_until <= $2) AND password_hash = $3
        RETURNING (SELECT COALESCE(string_agg(CAST(roles.id AS TEXT), ',' ORDER BY priority DESC, roles.id), '')
            FROM user_roles JOIN roles ON roles.id = user_roles.role_id
            WHERE user_roles.user_id = users.id AND roles.org_id = users.org_id)";
    // While it is locked nothing is counted; the try that fills the count locks, and the count begins anew.
    FAILED = "UPDATE users SET
            failed_login_attempts = CASE
                WHEN locked_until > $3 THEN failed_login_attempts
                WHEN failed_login_attempts + 1 >= $4 THEN 0
                ELSE failed_login_attempts + 1 END,
            locked_until = CASE
                WHEN locked_until > $3 THEN locked_until
                WHEN failed_login_attempts + 1 >= $4 THEN $5
                ELSE NULL END
        WHERE org_id = $1 AND username_key = $2
        RETURNING username, COALESCE(locked_until = $5, FALSE)";
    DELETE = "DELETE FROM users WHERE id = $1";
    ORGANIZATION_OF = "SELECT org_id FROM users WHERE id = $1";
    BY_ID = select!("WHERE id = $1");
    BY_NAME = select!("WHERE org_id = $1 AND username_key = $2");
    PAGE = select!(
        "WHERE org_id = $1 AND id > $2
            AND (CAST($3 AS TEXT) IS NULL OR username_key LIKE $3 ESCAPE '!'
                OR display_name_key LIKE $3 ESCAPE '!')
            AND (CAST($4 AS BOOLEAN) IS NULL OR active = $4)
        ORDER BY id LIMIT $5"
    );
    COUNT = "SELECT COUNT(*) FROM users WHERE org_id = $1
        AND (CAST($2 AS TEXT) IS NULL OR username_key LIKE $2 ESCAPE '!' OR display_name_key LIKE $2 ESCAPE '!')
        AND (CAST($3 AS BOOLEAN) IS NULL OR active = $3)";
}

impl Transaction {
    /// Adds an account with its roles and the audit row of it, within the organization's quota. Who registers is the
    /// actor of that row.
    pub async fn create_user(
        &mut self,
        user: NewUser<'_>,
        audit: &AuditEntry<'_>,
        now: OffsetDateTime,
    ) -> Result<UserId, StoreError> {
        self.take_place_for_user(user.organization).await?;
        let id: i64 = within!(self, connection => sqlx::query_scalar::<Db, i64>(INSERT)
            .bind(user.organization.0)
            .bind(user.username)
            .bind(user.username.to_lowercase())
            .bind(user.display_name)
            .bind(user.email)
            .bind(user.password_hash)
            .bind(user.active)
            .bind(user.created_via)
            .bind(At(now))
            .bind(user.display_name.to_lowercase())
            .fetch_one(connection)
            .await)?;
        let id = UserId(id);
        for role in user.roles {
            self.give_role(id, *role).await?;
        }
        let registered = (user.created_via == REGISTERED).then_some(id);
        self.audit(&AuditEntry { actor: audit.actor.or(registered), ..audit.clone() }, now).await?;
        Ok(id)
    }

    /// Refuses where the organization has as many accounts as it may. Until the end of the transaction nobody else
    /// takes the place.
    pub(super) async fn take_place_for_user(
        &mut self,
        organization: OrganizationId,
    ) -> Result<(), StoreError> {
        let (max_users, _) = self.lock_organization(organization).await?;
        let taken: i64 = within!(self, connection => sqlx::query_scalar::<Db, i64>(PLACES_TAKEN)
            .bind(organization.0).fetch_one(connection).await)?;
        if taken < max_users { Ok(()) } else { Err(StoreError::Quota { what: "users", most: max_users }) }
    }

    /// Changes how others see an account and where mail reaches it; false where there is none.
    pub async fn update_profile(
        &mut self,
        id: UserId,
        display_name: &str,
        email: Option<&str>,
        now: OffsetDateTime,
    ) -> Result<bool, StoreError> {
        let done = within!(self, connection => sqlx::query::<Db>(UPDATE_PROFILE)
            .bind(id.0).bind(display_name).bind(email).bind(At(now)).bind(display_name.to_lowercase())
            .execute(connection).await.map(|done| done.rows_affected()))?;
        Ok(done > 0)
    }

    /// Lets an account log in, or ends that; false where nothing changes. Its logins are
    /// [`Transaction::revoke_logins`]' business.
    pub async fn set_active(
        &mut self,
        id: UserId,
        active: bool,
        now: OffsetDateTime,
    ) -> Result<bool, StoreError> {
        let done = within!(self, connection => sqlx::query::<Db>(SET_ACTIVE)
            .bind(id.0).bind(active).bind(At(now))
            .execute(connection).await.map(|done| done.rows_affected()))?;
        Ok(done > 0)
    }

    /// Sets a password and lifts a lock; false where there is no such account.
    pub async fn set_password(
        &mut self,
        id: UserId,
        password_hash: &str,
        now: OffsetDateTime,
    ) -> Result<bool, StoreError> {
        let done = within!(self, connection => sqlx::query::<Db>(SET_PASSWORD)
            .bind(id.0).bind(password_hash).bind(At(now))
            .execute(connection).await.map(|done| done.rows_affected()))?;
        Ok(done > 0)
    }

    /// Sets a password in place of the one that its owner knew, by a login of theirs; false where either is no more.
    pub async fn change_password(
        &mut self,
        id: UserId,
        login: LoginId,
        old_hash: &str,
        new_hash: &str,
        now: OffsetDateTime,
    ) -> Result<bool, StoreError> {
        let done = within!(self, connection => sqlx::query::<Db>(CHANGE_PASSWORD)
            .bind(id.0).bind(new_hash).bind(At(now)).bind(old_hash).bind(login.0)
            .execute(connection).await.map(|done| done.rows_affected()))?;
        Ok(done > 0)
    }

    /// Puts another hash of the same password in place of one that is still there.
    pub async fn rehash(&mut self, id: UserId, old: &str, new: &str) -> Result<(), StoreError> {
        within!(self, connection => sqlx::query::<Db>(REHASH)
            .bind(id.0).bind(old).bind(new).execute(connection).await.map(drop))?;
        Ok(())
    }

    /// Notes a login with the password of this hash; the account's roles, highest priority first. None where it may not
    /// be any more.
    pub async fn logged_in(
        &mut self,
        id: UserId,
        password_hash: &str,
        now: OffsetDateTime,
    ) -> Result<Option<Vec<RoleId>>, StoreError> {
        let roles = within!(self, connection => sqlx::query_scalar::<Db, String>(LOGGED_IN)
            .bind(id.0).bind(At(now)).bind(password_hash)
            .fetch_optional(connection).await)?;
        Ok(roles.map(|roles| roles.split(',').filter_map(|id| id.parse().ok()).map(RoleId).collect()))
    }

    /// Counts a failed login of this name, and locks the account with the last of `attempts` in a row. None where
    /// there is no such account, or no name; the same statement runs.
    pub async fn login_failed(
        &mut self,
        organization: OrganizationId,
        username: Option<&str>,
        attempts: u32,
        locked_until: OffsetDateTime,
        now: OffsetDateTime,
    ) -> Result<Option<Failure>, StoreError> {
        let row = within!(self, connection => sqlx::query_as::<Db, (String, bool)>(FAILED)
            .bind(organization.0)
            // Nobody is called by the empty text.
            .bind(username.unwrap_or_default().to_lowercase())
            .bind(At(now))
            .bind(i64::from(attempts))
            .bind(At(locked_until))
            .fetch_optional(connection)
            .await)?;
        Ok(row.map(|(username, locked_now)| Failure { username, locked_now }))
    }

    /// The home organization of an account.
    pub async fn organization_of(&mut self, id: UserId) -> Result<Option<OrganizationId>, StoreError> {
        let organization: Option<i64> = within!(self, connection => sqlx::query_scalar::<Db, i64>(ORGANIZATION_OF)
            .bind(id.0).fetch_optional(connection).await)?;
        Ok(organization.map(OrganizationId))
    }

    /// Deletes an account and its logins; false where there is none. The audit log keeps what it did.
    pub async fn delete_user(&mut self, id: UserId) -> Result<bool, StoreError> {
        let done = within!(self, connection => sqlx::query::<Db>(DELETE)
            .bind(id.0).execute(connection).await.map(|done| done.rows_affected()))?;
        Ok(done > 0)
    }
}

impl Store {
    /// The account with this id.
    pub async fn user(&self, id: UserId) -> Result<Option<UserRow>, StoreError> {
        if let Some(inline) = self.inline()
            && let Some(mut rows) = inline.query(BY_ID, &[&id.0], UserRow::inline)
        {
            return Ok(rows.pop());
        }
        Ok(on!(self, pool => sqlx::query_as::<Db, UserRow>(BY_ID).bind(id.0).fetch_optional(pool).await)?)
    }

    /// The account with this name in an organization, whatever the name's case.
    pub async fn user_by_name(
        &self,
        organization: OrganizationId,
        username: &str,
    ) -> Result<Option<UserRow>, StoreError> {
        let username_key = username.to_lowercase();
        if let Some(inline) = self.inline()
            && let Some(mut rows) = inline.query(BY_NAME, &[&organization.0, &username_key], UserRow::inline)
        {
            return Ok(rows.pop());
        }
        Ok(on!(self, pool => sqlx::query_as::<Db, UserRow>(BY_NAME)
            .bind(organization.0).bind(username_key).fetch_optional(pool).await)?)
    }

    /// The accounts of an organization after an id, in the order of their ids.
    pub async fn users_page(
        &self,
        organization: OrganizationId,
        filter: UserFilter<'_>,
        after: UserId,
        most: u32,
    ) -> Result<Vec<UserRow>, StoreError> {
        Ok(on!(self, pool => sqlx::query_as::<Db, UserRow>(PAGE)
            .bind(organization.0)
            .bind(after.0)
            .bind(filter.search.map(pattern))
            .bind(filter.active)
            .bind(i64::from(most))
            .fetch_all(pool)
            .await)?)
    }

    /// How many accounts of an organization a filter lets through.
    pub async fn count_users(
        &self,
        organization: OrganizationId,
        filter: UserFilter<'_>,
    ) -> Result<u64, StoreError> {
        let count: i64 = on!(self, pool => sqlx::query_scalar::<Db, i64>(COUNT)
            .bind(organization.0)
            .bind(filter.search.map(pattern))
            .bind(filter.active)
            .fetch_one(pool)
            .await)?;
        Ok(count as u64)
    }
}

/// A pattern for LIKE that finds a text anywhere.
fn pattern(search: &str) -> String {
    let mut pattern = String::from("%");
    for character in search.to_lowercase().chars() {
        if matches!(character, '%' | '_' | '!') {
            pattern.push('!');
        }
        pattern.push(character);
    }
    pattern.push('%');
    pattern
}
