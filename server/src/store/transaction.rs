//! Writes: everything that changes the database happens in a transaction, with its audit row.

use std::sync::{Arc, atomic::AtomicU64};

use super::{DatabaseKind, Pool, Store, StoreError};

/// A transaction: all of it holds after [`Transaction::commit`], and nothing of it when it is dropped before.
///
/// On SQLite it is the only writer until then. In memory it also is the only reader: ask the store nothing meanwhile.
pub struct Transaction {
    pub(super) inner: Inner,
    /// Audit rows in it; they count when it holds.
    pub(super) audited: u64,
    audit_writes: Arc<AtomicU64>,
}

/// The driver's transaction.
pub(super) enum Inner {
    Sqlite(sqlx::Transaction<'static, sqlx::Sqlite>),
    Postgres(sqlx::Transaction<'static, sqlx::Postgres>),
}

/// Runs an expression on a transaction's connection. In it, `Db` names the database's type.
macro_rules! within {
    ($transaction:expr, $connection:ident => $body:expr) => {
        match &mut $transaction.inner {
            $crate::store::transaction::Inner::Sqlite(transaction) => {
                type Db = sqlx::Sqlite;
                let $connection = &mut **transaction;
                $body
            }
            $crate::store::transaction::Inner::Postgres(transaction) => {
                type Db = sqlx::Postgres;
                let $connection = &mut **transaction;
                $body
            }
        }
    };
}
pub(super) use within;

impl Store {
    /// Begins a transaction.
    pub async fn begin(&self) -> Result<Transaction, StoreError> {
        let inner = match &self.pool {
            // Takes the one writer's place at once: a read that turns into a write could not wait for it.
            Pool::Sqlite { writer, .. } => Inner::Sqlite(writer.begin_with("BEGIN IMMEDIATE").await?),
            Pool::Postgres { pool, .. } => Inner::Postgres(pool.begin().await?),
        };
        Ok(Transaction { inner, audited: 0, audit_writes: Arc::clone(&self.audit_writes) })
    }
}

impl Transaction {
    /// Of which database it is.
    pub(super) fn kind(&self) -> DatabaseKind {
        match self.inner {
            Inner::Sqlite(_) => DatabaseKind::Sqlite,
            Inner::Postgres(_) => DatabaseKind::Postgres,
        }
    }

    /// Makes all of it hold.
    pub async fn commit(self) -> Result<(), StoreError> {
        match self.inner {
            Inner::Sqlite(transaction) => transaction.commit().await?,
            Inner::Postgres(transaction) => transaction.commit().await?,
        }
        self.audit_writes.fetch_add(self.audited, std::sync::atomic::Ordering::Relaxed);
        Ok(())
    }
}
