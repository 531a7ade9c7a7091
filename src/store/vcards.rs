//! vCards (XEP-0054), as the owner's client wrote them.

use bytes::Bytes;
use rusqlite::{OptionalExtension, params};

use super::{AccountId, Store, StoreError};

/// See [`Store::vcards`].
pub struct VCards<'a>(pub(super) &'a Store);

impl Store {
    pub fn vcards(&self) -> VCards<'_> {
        VCards(self)
    }
}

impl VCards<'_> {
    pub async fn get(&self, owner: AccountId) -> Result<Option<Bytes>, StoreError> {
        self.0
            .read(move |reader| {
                let vcard: Option<Vec<u8>> = reader
                    .conn
                    .prepare_cached("SELECT vcard FROM vcards WHERE account = ?1")?
                    .query_row([owner.0], |row| row.get(0))
                    .optional()?;
                Ok(vcard.map(Bytes::from))
            })
            .await
    }

    /// Size is the caller's to check.
    pub async fn set(&self, owner: AccountId, vcard: Bytes) -> Result<(), StoreError> {
        self.0
            .write(move |tx| {
                tx.prepare_cached(
                    "INSERT OR REPLACE INTO vcards (account, vcard) VALUES (?1, ?2)",
                )?
                .execute(params![owner.0, &vcard[..]])?;
                Ok(())
            })
            .await
    }
}
