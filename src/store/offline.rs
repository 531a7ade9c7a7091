//! XEP-0160: messages that wait for their receiver, as marks on rows of `messages`.

use std::collections::HashMap;

use parking_lot::Mutex;
use rusqlite::{OptionalExtension, params};

use super::archive::{Archived, query, retention};
use super::{AccountId, MessageFlags, MessageId, Store, StoreError};
use crate::time::Now;

/// Marks removed in one transaction.
const STEP: usize = 256;
/// Accounts whose sums are remembered.
const KNOWN_MAX: usize = 4_096;

/// How much may wait for one account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OfflineLimits {
    pub messages_max: u32,
    /// As stored, compressed.
    pub bytes_max: u64,
}

/// What waits for an account, and what has been promised a place.
#[derive(Clone, Copy, Default)]
struct Waiting {
    messages: u32,
    bytes: u64,
}

/// The sums of accounts that lately got offline messages. Promises count in full size, stored ones
/// compressed; the sum is taken anew when it would refuse.
#[derive(Default)]
pub(super) struct Usage(Mutex<HashMap<AccountId, Waiting>>);

impl Usage {
    /// Something failed or was removed: ask the database again.
    pub(super) fn forget(&self) {
        self.0.lock().clear();
    }

    fn forget_one(&self, owner: AccountId) {
        self.0.lock().remove(&owner);
    }

    /// `None` when the sum is not known.
    fn admit(&self, owner: AccountId, bytes: usize, limits: OfflineLimits) -> Option<bool> {
        let mut known = self.0.lock();
        let waiting = known.get_mut(&owner)?;
        let bytes = waiting.bytes + bytes as u64;
        if waiting.messages >= limits.messages_max || bytes > limits.bytes_max {
            return Some(false);
        }
        waiting.messages += 1;
        waiting.bytes = bytes;
        Some(true)
    }

    fn learn(&self, owner: AccountId, waiting: Waiting) {
        let mut known = self.0.lock();
        if known.len() >= KNOWN_MAX {
            known.clear();
        }
        known.insert(owner, waiting);
    }
}

/// See [`Store::offline`].
pub struct Offline<'a>(pub(super) &'a Store);

impl Store {
    pub fn offline(&self) -> Offline<'_> {
        Offline(self)
    }
}

impl Offline<'_> {
    /// Reserves a place for a message of `bytes`; false when the account's store is full. To be
    /// followed by an append with [`MessageFlags::OFFLINE`] or by [`Offline::mark`].
    pub async fn admit(
        &self,
        owner: AccountId,
        bytes: usize,
        limits: OfflineLimits,
    ) -> Result<bool, StoreError> {
        if self.0.usage.admit(owner, bytes, limits) == Some(true) {
            return Ok(true);
        }
        let waiting = self.waiting(owner).await?;
        self.0.usage.learn(owner, waiting);
        Ok(self.0.usage.admit(owner, bytes, limits).unwrap_or(true))
    }

    /// Marks messages to this account that are stored already: their session ended without
    /// acknowledging them.
    pub async fn mark(&self, owner: AccountId, ids: Vec<MessageId>) -> Result<(), StoreError> {
        self.0
            .write(move |tx| {
                for id in ids {
                    let bytes: Option<i64> = tx
                        .prepare_cached(
                            "UPDATE messages SET flags = flags | ?3 WHERE id = ?1 AND to_addr = ?2
                             RETURNING length(body)",
                        )?
                        .query_row(params![id.0, owner.0, MessageFlags::OFFLINE.0], |row| {
                            row.get(0)
                        })
                        .optional()?;
                    if let Some(bytes) = bytes {
                        tx.prepare_cached(
                            "INSERT OR IGNORE INTO offline (owner, id, bytes) VALUES (?1, ?2, ?3)",
                        )?
                        .execute([owner.0, id.0, bytes])?;
                    }
                }
                tx.state.usage.forget_one(owner);
                Ok(())
            })
            .await
    }

    /// What waits after `after`, oldest first, `max` at most. Sees all that was appended before.
    pub async fn fetch(
        &self,
        owner: AccountId,
        after: Option<MessageId>,
        max: usize,
    ) -> Result<Vec<Archived>, StoreError> {
        self.0.settled().await?;
        self.0
            .read(move |reader| {
                let ids: Vec<i64> = reader
                    .conn
                    .prepare_cached(
                        "SELECT id FROM offline WHERE owner = ?1 AND id > ?2 ORDER BY id LIMIT ?3",
                    )?
                    .query_map(params![owner.0, after.map_or(-1, |id| id.0), max], |row| {
                        row.get(0)
                    })?
                    .collect::<Result<_, _>>()?;
                let mut found = Vec::with_capacity(ids.len());
                for id in ids {
                    found.extend(query::fetch(reader, id)?);
                }
                Ok(found)
            })
            .await
    }

    /// How many messages wait.
    pub async fn count(&self, owner: AccountId) -> Result<u32, StoreError> {
        Ok(self.waiting(owner).await?.messages)
    }

    /// These were delivered.
    pub async fn remove(&self, owner: AccountId, ids: Vec<MessageId>) -> Result<(), StoreError> {
        for step in ids.chunks(STEP) {
            let step = step.to_vec();
            self.0
                .write(move |tx| {
                    for id in step {
                        release(tx, owner, id.0)?;
                    }
                    Ok(())
                })
                .await?;
        }
        Ok(())
    }

    /// Nothing waits for the account any more.
    pub async fn clear(&self, owner: AccountId) -> Result<(), StoreError> {
        self.0.settled().await?;
        while self.0.write(move |tx| clear_step(tx, owner)).await? {}
        Ok(())
    }

    /// Drops marks of messages from before `before` for the accounts of `host`; tells how many.
    pub async fn expire(&self, host: &str, before: Now) -> Result<u64, StoreError> {
        let mut dropped = 0;
        loop {
            match self.expire_some(host, before).await? {
                0 => return Ok(dropped),
                some => dropped += some,
            }
        }
    }

    /// A step of [`Offline::expire`]; 0 when nothing is left to drop.
    pub async fn expire_some(&self, host: &str, before: Now) -> Result<u64, StoreError> {
        let before = MessageId::floor(before).0;
        let host = host.to_owned();
        let old: Vec<(i64, i64)> = self
            .0
            .read(move |reader| {
                Ok(reader
                    .conn
                    .prepare_cached(
                        "SELECT owner, offline.id FROM offline
                         JOIN accounts ON accounts.id = owner
                         WHERE host = ?1 AND offline.id < ?2 LIMIT ?3",
                    )?
                    .query_map(params![host, before, STEP], |row| Ok((row.get(0)?, row.get(1)?)))?
                    .collect::<Result<_, _>>()?)
            })
            .await?;
        let dropped = old.len() as u64;
        self.0
            .write(move |tx| {
                for (owner, id) in old {
                    release(tx, AccountId(owner), id)?;
                }
                Ok(())
            })
            .await?;
        Ok(dropped)
    }

    async fn waiting(&self, owner: AccountId) -> Result<Waiting, StoreError> {
        self.0.settled().await?;
        self.0
            .read(move |reader| {
                Ok(reader
                    .conn
                    .prepare_cached(
                        "SELECT count(*), coalesce(sum(bytes), 0) FROM offline WHERE owner = ?1",
                    )?
                    .query_row([owner.0], |row| {
                        Ok(Waiting { messages: row.get(0)?, bytes: row.get(1)? })
                    })?)
            })
            .await
    }
}

fn release(tx: &mut super::writer::Tx<'_>, owner: AccountId, id: i64) -> Result<(), StoreError> {
    let marked = tx
        .prepare_cached("DELETE FROM offline WHERE owner = ?1 AND id = ?2")?
        .execute([owner.0, id])?;
    if marked > 0 {
        retention::release_offline(tx, id)?;
        tx.state.usage.forget_one(owner);
    }
    Ok(())
}

/// True while something is left.
pub(super) fn clear_step(
    tx: &mut super::writer::Tx<'_>,
    owner: AccountId,
) -> Result<bool, StoreError> {
    let ids: Vec<i64> = tx
        .prepare_cached("SELECT id FROM offline WHERE owner = ?1 LIMIT ?2")?
        .query_map(params![owner.0, STEP], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    for id in &ids {
        release(tx, owner, *id)?;
    }
    Ok(!ids.is_empty())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::store::MessageRow;
    use crate::store::tests::{NOON, account, integrity, jid, open, row};

    const LIMITS: OfflineLimits = OfflineLimits { messages_max: 5, bytes_max: 10_000 };

    fn waiting(store: &Store, flags: MessageFlags, at: Now) -> MessageRow {
        let mut row = row(store, "bob@b/x", "alice@a", "are you there?", at);
        row.flags = flags | MessageFlags::OFFLINE;
        row
    }

    #[tokio::test]
    async fn messages_wait_in_order_until_they_are_delivered() {
        let dir = tempfile::tempdir().unwrap();
        let store = open(&dir);
        let alice = account(&store, "alice@a").await;
        let mut ids = Vec::new();
        for n in 0..7 {
            // Every other one is kept in no archive.
            let flags =
                if n % 2 == 0 { MessageFlags::ARCHIVED_TO } else { MessageFlags::default() };
            let admitted = store.offline().admit(alice, 300, LIMITS).await.unwrap();
            assert_eq!(admitted, n < 5);
            if admitted {
                let row = waiting(&store, flags, NOON);
                ids.push(row.id);
                store.append(row).unwrap();
            }
        }
        let found = store.offline().fetch(alice, None, 3).await.unwrap();
        assert_eq!(found.iter().map(|item| item.id).collect::<Vec<_>>(), ids[..3]);
        let rest = store.offline().fetch(alice, Some(ids[2]), 10).await.unwrap();
        assert_eq!(rest.iter().map(|item| item.id).collect::<Vec<_>>(), ids[3..]);
        store.offline().remove(alice, ids[..2].to_vec()).await.unwrap();
        store.offline().remove(alice, ids[..2].to_vec()).await.unwrap();
        assert_eq!(store.offline().count(alice).await.unwrap(), 3);
        assert!(store.offline().admit(alice, 300, LIMITS).await.unwrap());
        // The archived one stays, the other is gone.
        let left = store.archive().fetch(ids[..2].to_vec()).await.unwrap();
        assert_eq!(left.iter().map(|item| item.id).collect::<Vec<_>>(), ids[..1]);
        store.offline().clear(alice).await.unwrap();
        assert_eq!(store.offline().count(alice).await.unwrap(), 0);
        drop(store);
        integrity(&dir);
    }

    #[tokio::test]
    async fn bytes_are_bounded_too() {
        let dir = tempfile::tempdir().unwrap();
        let store = open(&dir);
        let alice = account(&store, "alice@a").await;
        assert!(store.offline().admit(alice, 9_000, LIMITS).await.unwrap());
        assert!(!store.offline().admit(alice, 10_001, LIMITS).await.unwrap());
    }

    #[tokio::test]
    async fn what_a_session_left_unacknowledged_is_marked_for_its_receiver_only() {
        let dir = tempfile::tempdir().unwrap();
        let store = open(&dir);
        let alice = account(&store, "alice@a").await;
        let bob = account(&store, "bob@b").await;
        let row = row(&store, "bob@b/x", "alice@a", "hello", NOON);
        let id = row.id;
        store.append(row).unwrap();
        for _ in 0..2 {
            store.offline().mark(alice, vec![id, MessageId(4)]).await.unwrap();
            store.offline().mark(bob, vec![id]).await.unwrap();
        }
        assert_eq!(store.offline().count(alice).await.unwrap(), 1);
        assert_eq!(store.offline().count(bob).await.unwrap(), 0);
    }

    #[tokio::test]
    async fn old_messages_stop_waiting() {
        let dir = tempfile::tempdir().unwrap();
        let store = open(&dir);
        let alice = account(&store, "alice@a").await;
        for n in 0..600 {
            let at = NOON.plus(Duration::from_secs(n));
            store.append(waiting(&store, MessageFlags::default(), at)).unwrap();
        }
        store.settled().await.unwrap();
        let noon = NOON.plus(Duration::from_secs(500));
        assert_eq!(store.offline().expire("b", noon).await.unwrap(), 0, "of another host");
        assert_eq!(store.offline().expire("a", noon).await.unwrap(), 500);
        assert_eq!(store.offline().count(alice).await.unwrap(), 100);
        assert_eq!(store.accounts().address(alice).await.unwrap(), Some(jid("alice@a")));
    }
}
