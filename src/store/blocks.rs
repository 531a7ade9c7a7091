//! Block lists (XEP-0191).

use super::{AccountId, Store, StoreError};
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
        todo!()
    }

    /// Adds addresses; tells which of them are new. [`StoreError::TooMany`] adds none.
    pub async fn block(
        &self,
        owner: AccountId,
        jids: Vec<Jid>,
        max: usize,
    ) -> Result<Vec<Jid>, StoreError> {
        todo!()
    }

    /// Removes addresses; an empty list removes all. Tells which were there.
    pub async fn unblock(&self, owner: AccountId, jids: Vec<Jid>) -> Result<Vec<Jid>, StoreError> {
        todo!()
    }
}
