//! Block lists (XEP-0191).

use rusqlite::params;

use super::{AccountId, Store, StoreError, accounts};
use crate::jid::Jid;

/// See [`Store::blocks`].
pub struct Blocks<'a>(pub(super) &'a Store);

impl Store {
    pub fn blocks(&self) -> Blocks<'_> {
        Blocks(self)
    }
}

impl Blocks<'_> {
    pub async fn list(&self, owner: AccountId) -> Result<Vec<Jid>, StoreError> {
        self.0
            .read(move |reader| {
                let mut rows = reader
                    .conn
                    .prepare_cached("SELECT jid FROM blocks WHERE account = ?1 ORDER BY jid")?;
                let mut rows = rows.query([owner.0])?;
                let mut jids = Vec::new();
                while let Some(row) = rows.next()? {
                    jids.extend(Jid::parse(row.get_ref(0)?.as_str().unwrap_or_default()));
                }
                Ok(jids)
            })
            .await
    }

    /// Adds addresses; tells which of them are new. [`StoreError::TooMany`] adds none.
    pub async fn block(
        &self,
        owner: AccountId,
        jids: Vec<Jid>,
        max: usize,
    ) -> Result<Vec<Jid>, StoreError> {
        self.0
            .write(move |tx| {
                accounts::touch(tx, owner)?;
                let mut added = Vec::new();
                for jid in jids {
                    let new = tx
                        .prepare_cached(
                            "INSERT OR IGNORE INTO blocks (account, jid) VALUES (?1, ?2)",
                        )?
                        .execute(params![owner.0, jid.as_str()])?;
                    if new > 0 {
                        added.push(jid);
                    }
                }
                let count: usize = tx
                    .prepare_cached("SELECT count(*) FROM blocks WHERE account = ?1")?
                    .query_row([owner.0], |row| row.get(0))?;
                if count > max && !added.is_empty() {
                    return Err(StoreError::TooMany { what: "blocked addresses", max });
                }
                Ok(added)
            })
            .await
    }

    /// Removes addresses; an empty list removes all. Tells which were there.
    pub async fn unblock(&self, owner: AccountId, jids: Vec<Jid>) -> Result<Vec<Jid>, StoreError> {
        self.0
            .write(move |tx| {
                accounts::touch(tx, owner)?;
                let mut removed = Vec::new();
                if jids.is_empty() {
                    let mut rows =
                        tx.prepare_cached("DELETE FROM blocks WHERE account = ?1 RETURNING jid")?;
                    let mut rows = rows.query([owner.0])?;
                    while let Some(row) = rows.next()? {
                        removed.extend(Jid::parse(row.get_ref(0)?.as_str().unwrap_or_default()));
                    }
                }
                for jid in jids {
                    let gone = tx
                        .prepare_cached("DELETE FROM blocks WHERE account = ?1 AND jid = ?2")?
                        .execute(params![owner.0, jid.as_str()])?;
                    if gone > 0 {
                        removed.push(jid);
                    }
                }
                Ok(removed)
            })
            .await
    }
}
