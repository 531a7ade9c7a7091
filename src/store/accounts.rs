//! Accounts and their SCRAM keys.

use super::{AccountId, Store, StoreError};
use crate::jid::BareJid;
use crate::time::Now;

/// An account as lists show it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    pub id: AccountId,
    pub jid: BareJid,
    pub created: Now,
    pub last_seen: Option<LastSeen>,
    pub lock: Option<Lock>,
}

/// XEP-0012.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastSeen {
    pub at: Now,
    /// The status text of the last unavailable presence.
    pub status: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lock {
    pub since: Now,
    pub reason: String,
}

/// SCRAM keys for one hash function, as `auth::credentials` derives them; opaque here.
#[derive(Clone, PartialEq, Eq)]
pub struct ScramRow {
    /// `SHA-1`, `SHA-256`, `SHA-512`.
    pub hash: String,
    pub salt: Vec<u8>,
    pub iterations: u32,
    pub stored_key: Vec<u8>,
    pub server_key: Vec<u8>,
}

/// See [`Store::accounts`].
pub struct Accounts<'a>(pub(super) &'a Store);

impl Store {
    pub fn accounts(&self) -> Accounts<'_> {
        Accounts(self)
    }
}

impl Accounts<'_> {
    /// [`StoreError::AccountExists`] if the name is taken.
    pub async fn create(
        &self,
        jid: &BareJid,
        keys: Vec<ScramRow>,
        now: Now,
    ) -> Result<AccountId, StoreError> {
        todo!()
    }

    pub async fn find(&self, jid: &BareJid) -> Result<Option<Account>, StoreError> {
        todo!()
    }

    /// A page of a host's accounts by name: those with `prefix`, after the name `after`.
    pub async fn list(
        &self,
        host: &str,
        prefix: &str,
        after: Option<&str>,
        max: usize,
    ) -> Result<Vec<Account>, StoreError> {
        todo!()
    }

    pub async fn count(&self, host: &str) -> Result<u64, StoreError> {
        todo!()
    }

    /// Erases the account and all that is its own: archive, offline messages, roster, vCard ….
    /// Messages stay in the archives of those it spoke with. Ends when all is gone; what a crash
    /// interrupts is finished at the next start.
    pub async fn remove(&self, jid: &BareJid) -> Result<(), StoreError> {
        todo!()
    }

    /// `None` unlocks.
    pub async fn set_lock(&self, jid: &BareJid, lock: Option<Lock>) -> Result<(), StoreError> {
        todo!()
    }

    /// All keys of an account; empty for an unknown one.
    pub async fn keys(&self, jid: &BareJid) -> Result<Vec<ScramRow>, StoreError> {
        todo!()
    }

    /// Replaces all keys and ends all tokens: the password was changed.
    pub async fn set_keys(&self, jid: &BareJid, keys: Vec<ScramRow>) -> Result<(), StoreError> {
        todo!()
    }

    /// Adds keys for one more hash of the same password (XEP-0480); tokens stay.
    pub async fn add_keys(&self, jid: &BareJid, keys: ScramRow) -> Result<(), StoreError> {
        todo!()
    }

    pub async fn set_last_seen(&self, id: AccountId, seen: LastSeen) -> Result<(), StoreError> {
        todo!()
    }
}
