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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::tests::{account, jid, open};

    fn full(text: &str) -> Jid {
        Jid::parse(text).unwrap()
    }

    #[tokio::test]
    async fn lists_are_kept_bounded_and_known_to_the_pipelines() {
        let dir = tempfile::tempdir().unwrap();
        let store = open(&dir);
        let alice = account(&store, "alice@a").await;
        let jids = ["eve@e", "spam.example", "dan@d/phone", "f/res"].map(full).to_vec();
        let blocks = store.blocks();
        assert_eq!(blocks.block(alice, jids.clone(), 4).await.unwrap(), jids);
        assert!(blocks.block(alice, jids[..2].to_vec(), 4).await.unwrap().is_empty());
        let more = blocks.block(alice, vec![full("one@more")], 4).await;
        assert!(matches!(more, Err(StoreError::TooMany { max: 4, .. })));
        assert_eq!(blocks.list(alice).await.unwrap().len(), 4);
        let facts = store.facts(&jid("alice@a")).await.unwrap().unwrap();
        for blocked in
            ["eve@e", "eve@e/x", "spam.example", "a@spam.example/b", "dan@d/phone", "u@f/res"]
        {
            assert!(facts.blocks(&full(blocked)), "{blocked}");
        }
        for free in ["dan@d", "dan@d/laptop", "e", "x@e", "sub.spam.example", "u@f", "one@more"] {
            assert!(!facts.blocks(&full(free)), "{free}");
        }
        let gone = blocks.unblock(alice, vec![full("eve@e"), full("nobody@n")]).await.unwrap();
        assert_eq!(gone, [full("eve@e")]);
        assert_eq!(blocks.unblock(alice, Vec::new()).await.unwrap().len(), 3);
        assert!(!store.facts(&jid("alice@a")).await.unwrap().unwrap().blocks(&full("eve@e")));
    }
}
