//! What a server does by itself: closes the connections of ended logins, tells talkers that they are clipped, forgets
//! what is past.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use time::OffsetDateTime;
use tokio::{
    sync::Notify,
    time::{MissedTickBehavior, interval, timeout},
};
use tokio_util::sync::CancellationToken;
use voip_protocol::control::ServerEvent;

use crate::{
    auth::{Limits, Passwords},
    hub::HubHandle,
    store::{Store, StoreError},
    voice::VoicePlane,
};

/// Logins that were ended elsewhere, at the shell or by another server, are looked for this often: a revoked one is out
/// within a second.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// Those are looked at again that ended this long before the last look: the clocks of two machines differ, and somebody
/// may connect in the moment in which their login ends.
const LOOK_BACK: time::Duration = time::Duration::seconds(60);
/// A look that takes longer is given up; the next one looks for the same.
const LOOK_TIMEOUT: Duration = Duration::from_secs(5);
/// A talker that is clipped is told this often.
const TELL_CLIPPED_EVERY: Duration = Duration::from_secs(3);
/// The past is forgotten this often.
const SWEEP_EVERY: Duration = Duration::from_mins(10);
/// Ended logins stay in the database for so long, for those who look back.
const KEEP_ENDED: time::Duration = time::Duration::days(1);
/// Audit rows that are forgotten at a time: others write in between.
const FORGET_AT_ONCE: u32 = 1_000;

/// Closes the connections of logins that were ended, wherever that was, and keeps those alive that are in use.
pub(crate) struct Watch {
    /// Whose rows.
    pub(crate) store: Store,
    /// Whose connections.
    pub(crate) hub: HubHandle,
    /// Told when a login was ended here.
    pub(crate) revoked: Arc<Notify>,
    /// A login that is in use lives on for so long.
    pub(crate) refresh: time::Duration,
}

impl Watch {
    /// Runs until `shutdown`.
    pub(crate) async fn run(self, shutdown: CancellationToken) {
        let mut looked_at = OffsetDateTime::now_utc();
        let mut reachable = true;
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return,
                _ = timeout(LOOK_EVERY, self.revoked.notified()) => {}
            }
            let now = OffsetDateTime::now_utc();
            // From the last look that succeeded: nothing is missed while the database is away.
            let since = looked_at.min(now) - LOOK_BACK;
            let looked = timeout(LOOK_TIMEOUT, self.look(since, now)).await;
            match looked.unwrap_or_else(|_| Err(StoreError::Unavailable("no answer in time".into()))) {
                Ok(()) => (looked_at, reachable) = (now, true),
                Err(error) => {
                    if std::mem::take(&mut reachable) {
                        tracing::warn!(%error, "ended logins cannot be looked for: their connections stay until they can");
                    }
                }
            }
        }
    }

    async fn look(&self, since: OffsetDateTime, now: OffsetDateTime) -> Result<(), StoreError> {
        let revoked = self.store.revoked_since(since).await?;
        if !revoked.is_empty() {
            self.hub.end_logins(revoked).await;
        }
        // Somebody may talk while the disk is full.
        if let Err(error) = self.note_activity(now).await {
            tracing::debug!(%error, "the last activity of logins is not noted");
        }
        let expired = self.store.expired_since(since, now).await?;
        if expired.is_empty() {
            return Ok(());
        }
        // Who is connected uses their login, however long they have not refreshed it. Were it left to expire, its row
        // would be forgotten, and nobody could end the connection any more.
        let connected = self.hub.logins().await;
        let in_use: Vec<_> = expired.intersection(&connected).collect();
        if in_use.is_empty() {
            return Ok(());
        }
        let mut transaction = self.store.begin().await?;
        for login in in_use {
            transaction.extend_login(*login, now + self.refresh, now).await?;
        }
        transaction.commit().await
    }

    /// Notes when logins were last used, those of half a second at a time: who connects does not wait for the disk.
    async fn note_activity(&self, now: OffsetDateTime) -> Result<(), StoreError> {
        let arrived = self.hub.take_arrived().await;
        if arrived.is_empty() {
            return Ok(());
        }
        let mut transaction = self.store.begin().await?;
        for login in arrived {
            transaction.touch_login(login, now).await?;
        }
        transaction.commit().await
    }
}

/// Tells the talkers that are clipped. The voice thread only counts: it waits for nobody.
pub(crate) struct Clipping {
    /// Whose talkers.
    pub(crate) voice: VoicePlane,
    /// Who tells them.
    pub(crate) hub: HubHandle,
}

impl Clipping {
    /// Runs until `shutdown`.
    pub(crate) async fn run(self, shutdown: CancellationToken) {
        let mut look = interval(TELL_CLIPPED_EVERY);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut limited_before = 0;
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return,
                _ = look.tick() => {}
            }
            // Mostly nobody is, and then nobody needs to be asked.
            let limited = self.voice.counters.rate_limited.load(Ordering::Relaxed);
            if std::mem::replace(&mut limited_before, limited) == limited {
                continue;
            }
            let clipped = self.voice.clipped();
            if !clipped.is_empty() {
                tracing::info!(sessions = clipped.len(), "clipped: more voice than a session may send");
                let event = |packets| ServerEvent::VoiceClipped { packets };
                self.hub.tell(clipped.into_iter().map(|(to, packets)| (to, event(packets))).collect()).await;
            }
        }
    }
}

/// Forgets what is past.
pub(crate) struct Sweep {
    /// Whose rows.
    pub(crate) store: Store,
    /// Whose attempts.
    pub(crate) limits: Arc<Limits>,
    /// Whose memory.
    pub(crate) passwords: Arc<Passwords>,
    /// Spent refresh tokens are known for so long.
    pub(crate) refresh: time::Duration,
    /// Audit rows are kept for so long.
    pub(crate) retention: Option<time::Duration>,
}

impl Sweep {
    /// Runs until `shutdown`.
    pub(crate) async fn run(self, shutdown: CancellationToken) {
        let mut sweep = interval(SWEEP_EVERY);
        sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return,
                _ = sweep.tick() => {}
            }
            self.limits.sweep();
            self.passwords.give_back_memory();
            tokio::select! {
                () = shutdown.cancelled() => return,
                result = self.forget(OffsetDateTime::now_utc()) => {
                    if let Err(error) = result {
                        tracing::warn!(%error, "the past is not forgotten yet");
                    }
                }
            }
        }
    }

    async fn forget(&self, now: OffsetDateTime) -> Result<(), StoreError> {
        let mut transaction = self.store.begin().await?;
        let logins = transaction.delete_logins_before(now - KEEP_ENDED).await?;
        let tokens = transaction.delete_spent_before(now - self.refresh).await?;
        transaction.commit().await?;
        let mut rows = 0;
        if let Some(retention) = self.retention {
            loop {
                let mut transaction = self.store.begin().await?;
                let some = transaction.delete_audit_before(now - retention, FORGET_AT_ONCE).await?;
                transaction.commit().await?;
                rows += some;
                if some < u64::from(FORGET_AT_ONCE) {
                    break;
                }
            }
        }
        if logins + tokens + rows > 0 {
            tracing::info!(logins, tokens, audit_rows = rows, "the past is forgotten");
        }
        Ok(())
    }
}
