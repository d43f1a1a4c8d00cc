//! Logins: begun, kept by refreshing, listed, ended.

use serde_json::json;
use time::OffsetDateTime;
use uuid::Uuid;
use voip_protocol::{
    ErrorBody, ErrorCode, LoginId, RoleId, Token,
    control::{Account, Device, LoginReply, Refresh},
    limits::MAX_PAGE,
};

use super::{
    Accounts, Claims, Origin,
    refresh::{hash_of, new_token},
};
use crate::store::{AuditEntry, Caller, LoginRow, NewLogin, TokenHash, Transaction};

impl Accounts {
    /// Writes a login with its audit row. One that the same device had before ends.
    pub(super) async fn begin_login(
        &self,
        transaction: &mut Transaction,
        account: Account,
        roles: Vec<RoleId>,
        device: Option<&Device>,
        origin: &Origin,
        now: OffsetDateTime,
    ) -> Result<LoginReply, ErrorBody> {
        let claims = self.tokens.claims(&account, roles, LoginId(Uuid::new_v4()), Uuid::new_v4(), now);
        let refresh_token = new_token();
        let (address, user_agent) = (origin.address_text(), origin.user_agent_text());
        let login = NewLogin {
            id: claims.sid,
            user: account.id,
            access_jti: claims.jti,
            token_hash: hash_of(&refresh_token),
            device_name: device.map(|device| device.name.as_str()),
            device_id: device.and_then(|device| device.id.as_deref()),
            ip_address: address.as_deref(),
            user_agent: user_agent.as_deref(),
            expires_at: now + self.policy.refresh,
        };
        let ended = match login.device_id {
            Some(device) => transaction.revoke_device(account.id, device, login.id, now).await?,
            None => 0,
        };
        let audit = AuditEntry {
            organization: Some(account.organization_id),
            actor: Some(account.id),
            action: "login",
            resource: &format!("user:{}", account.username),
            details: json!({ "login": claims.sid, "device": login.device_name, "logins_ended": ended }),
            ip_address: address.as_deref(),
        };
        transaction.create_login(&login, &audit, now).await?;
        self.reply(&claims, refresh_token, account)
    }

    fn reply(
        &self,
        claims: &Claims,
        refresh_token: Token,
        account: Account,
    ) -> Result<LoginReply, ErrorBody> {
        Ok(LoginReply {
            access_token: self.tokens.sign(claims)?,
            expires_in: self.tokens.lifetime_seconds(),
            refresh_token,
            refresh_expires_in: self.policy.refresh.whole_seconds() as u64,
            login: claims.sid,
            account,
        })
    }

    /// Spends a refresh token for new tokens. One that was spent before was stolen, from the one or the other: the
    /// login ends (RFC 9700 §4.14.2).
    pub async fn refresh(
        &self,
        refresh: &Refresh,
        origin: &Origin,
        now: OffsetDateTime,
    ) -> Result<LoginReply, ErrorBody> {
        let spent = hash_of(&refresh.refresh_token);
        let refresh_token = new_token();
        let access_jti = Uuid::new_v4();
        let mut transaction = self.store.begin().await?;
        let rotated = transaction
            .rotate_tokens(&spent, &hash_of(&refresh_token), access_jti, now + self.policy.refresh, now)
            .await?;
        let Some((login, _)) = rotated else {
            return Err(self.refuse_refresh(transaction, &spent, origin, now).await?);
        };
        // Everything that can fail comes before the commit: whoever is told that it failed may use the token again.
        let ended = || ErrorBody::new(ErrorCode::TokenExpired, "the login has ended: log in again");
        let caller = transaction.caller(access_jti, now).await?.ok_or_else(ended)?;
        let claims = self.tokens.claims(&caller.account, caller.role_ids(), login, access_jti, now);
        let reply = self.reply(&claims, refresh_token, caller.account)?;
        transaction.commit().await?;
        Ok(reply)
    }

    /// Why a refresh token is not taken. If it was spent, its login ends.
    async fn refuse_refresh(
        &self,
        mut transaction: Transaction,
        token: &TokenHash,
        origin: &Origin,
        now: OffsetDateTime,
    ) -> Result<ErrorBody, ErrorBody> {
        let Some((login, user)) = transaction.spent_token(token).await? else {
            if transaction.revoked_token(token).await? {
                return Ok(revoked());
            }
            return Ok(ErrorBody::new(
                ErrorCode::TokenExpired,
                "the refresh token is not one of this server, or its login has ended: log in again",
            ));
        };
        if transaction.revoke_login(user, login, "token_reused", now).await? {
            let address = origin.address_text();
            let audit = AuditEntry {
                organization: transaction.organization_of(user).await?,
                actor: Some(user),
                action: "login_revoked",
                resource: &format!("login:{login}"),
                details: json!({ "reason": "token_reused" }),
                ip_address: address.as_deref(),
            };
            transaction.audit(&audit, now).await?;
            transaction.commit().await?;
            self.tell_revoked();
        }
        let message = "the refresh token was used before, so somebody else may have it: the login has ended, log in again";
        Ok(ErrorBody::new(ErrorCode::LoginRevoked, message))
    }

    /// The caller's own logins that live, the latest used first.
    pub async fn logins(&self, caller: &Caller, now: OffsetDateTime) -> Result<Vec<LoginRow>, ErrorBody> {
        Ok(self.store.logins_of(caller.account.id, MAX_PAGE, now).await?)
    }

    /// Ends the login that the caller came by.
    pub async fn log_out(
        &self,
        caller: &Caller,
        origin: &Origin,
        now: OffsetDateTime,
    ) -> Result<(), ErrorBody> {
        // One that has ended meanwhile is what was wanted.
        self.end_login(caller, caller.login, "logout", origin, now).await.map(drop)
    }

    /// Ends one of the caller's logins.
    pub async fn revoke(
        &self,
        caller: &Caller,
        login: LoginId,
        origin: &Origin,
        now: OffsetDateTime,
    ) -> Result<(), ErrorBody> {
        if self.end_login(caller, login, "login_revoked", origin, now).await? {
            return Ok(());
        }
        Err(ErrorBody::new(ErrorCode::UnknownLogin, "you have no such login, or it has ended already"))
    }

    async fn end_login(
        &self,
        caller: &Caller,
        login: LoginId,
        action: &str,
        origin: &Origin,
        now: OffsetDateTime,
    ) -> Result<bool, ErrorBody> {
        let mut transaction = self.store.begin().await?;
        if !transaction.revoke_login(caller.account.id, login, action, now).await? {
            return Ok(false);
        }
        let address = origin.address_text();
        let audit = AuditEntry {
            organization: Some(caller.organization.id),
            actor: Some(caller.account.id),
            action,
            resource: &format!("login:{login}"),
            details: json!({}),
            ip_address: address.as_deref(),
        };
        transaction.audit(&audit, now).await?;
        transaction.commit().await?;
        self.tell_revoked();
        Ok(true)
    }
}

/// A login that was ended before its time. Its client asks the person before it logs in again.
pub(crate) fn revoked() -> ErrorBody {
    let message = "this login was ended, by you elsewhere or by an administrator: log in again";
    ErrorBody::new(ErrorCode::LoginRevoked, message)
}
