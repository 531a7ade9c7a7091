//! vCards (XEP-0054), as the owner's client wrote them.

use bytes::Bytes;

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
        todo!()
    }

    /// Size is the caller's to check.
    pub async fn set(&self, owner: AccountId, vcard: Bytes) -> Result<(), StoreError> {
        todo!()
    }
}
