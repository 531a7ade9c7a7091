//! Private XML storage (XEP-0049): one element per name and namespace.

use bytes::Bytes;
use rusqlite::{OptionalExtension, params};

use super::{AccountId, Store, StoreError};

/// How much private XML one account may keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PrivateLimits {
    pub elements_max: usize,
    pub bytes_max: usize,
}

/// See [`Store::private`].
pub struct Private<'a>(pub(super) &'a Store);

impl Store {
    pub fn private(&self) -> Private<'_> {
        Private(self)
    }
}

impl Private<'_> {
    pub async fn get(
        &self,
        owner: AccountId,
        name: &str,
        ns: &str,
    ) -> Result<Option<Bytes>, StoreError> {
        let (name, ns) = (name.to_owned(), ns.to_owned());
        self.0
            .read(move |reader| {
                let element: Option<Vec<u8>> = reader
                    .conn
                    .prepare_cached(
                        "SELECT element FROM private WHERE account = ?1 AND ns = ?2 AND name = ?3",
                    )?
                    .query_row(params![owner.0, ns, name], |row| row.get(0))
                    .optional()?;
                Ok(element.map(Bytes::from))
            })
            .await
    }

    /// [`StoreError::TooMany`] when the account would pass a limit.
    pub async fn set(
        &self,
        owner: AccountId,
        name: &str,
        ns: &str,
        element: Bytes,
        limits: PrivateLimits,
    ) -> Result<(), StoreError> {
        let (name, ns) = (name.to_owned(), ns.to_owned());
        self.0
            .write(move |tx| {
                tx.prepare_cached(
                    "INSERT OR REPLACE INTO private (account, ns, name, element) VALUES (?1, ?2, ?3, ?4)",
                )?
                .execute(params![owner.0, ns, name, &element[..]])?;
                let (elements, bytes): (usize, usize) = tx
                    .prepare_cached(
                        "SELECT count(*), coalesce(sum(length(element)), 0) FROM private WHERE account = ?1",
                    )?
                    .query_row([owner.0], |row| Ok((row.get(0)?, row.get(1)?)))?;
                if elements > limits.elements_max {
                    return Err(StoreError::TooMany { what: "private elements", max: limits.elements_max });
                }
                if bytes > limits.bytes_max {
                    return Err(StoreError::TooMany { what: "bytes of private XML", max: limits.bytes_max });
                }
                Ok(())
            })
            .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::tests::{account, open};

    #[tokio::test]
    async fn elements_are_kept_by_name_and_namespace_within_limits() {
        let dir = tempfile::tempdir().unwrap();
        let store = open(&dir);
        let alice = account(&store, "alice@a").await;
        let limits = PrivateLimits { elements_max: 2, bytes_max: 20 };
        let set = |name: &'static str, ns: &'static str, text: &'static str| {
            let store = &store;
            async move {
                store
                    .private()
                    .set(alice, name, ns, Bytes::from_static(text.as_bytes()), limits)
                    .await
            }
        };
        set("storage", "storage:bookmarks", "<a/>").await.unwrap();
        set("storage", "storage:rosternotes", "<b/>").await.unwrap();
        set("storage", "storage:bookmarks", "<aa/>").await.unwrap();
        assert!(matches!(set("x", "y", "<c/>").await, Err(StoreError::TooMany { max: 2, .. })));
        let long = set("storage", "storage:bookmarks", "<aaaaaaaaaaaaaaaaaaaa/>").await;
        assert!(matches!(long, Err(StoreError::TooMany { max: 20, .. })));
        let get = async |ns| store.private().get(alice, "storage", ns).await.unwrap();
        assert_eq!(get("storage:bookmarks").await.as_deref(), Some(&b"<aa/>"[..]));
        assert_eq!(get("other").await, None);
        assert_eq!(store.vcards().get(alice).await.unwrap(), None);
        store.vcards().set(alice, Bytes::from_static(b"<vCard/>")).await.unwrap();
        store.vcards().set(alice, Bytes::from_static(b"<vCard></vCard>")).await.unwrap();
        assert_eq!(
            store.vcards().get(alice).await.unwrap().as_deref(),
            Some(&b"<vCard></vCard>"[..])
        );
    }
}
