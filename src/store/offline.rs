//! XEP-0160: messages that wait for their receiver, as marks on rows of `messages`.

use super::archive::Archived;
use super::{AccountId, MessageId, Store, StoreError};
use crate::time::Now;

/// How much may wait for one account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OfflineLimits {
    pub messages_max: u32,
    pub bytes_max: u64,
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
    /// followed by an append with [`MessageFlags::OFFLINE`](super::MessageFlags::OFFLINE) or by
    /// [`Offline::mark`].
    pub async fn admit(
        &self,
        owner: AccountId,
        bytes: usize,
        limits: OfflineLimits,
    ) -> Result<bool, StoreError> {
        todo!()
    }

    /// Marks messages that are stored already: their session ended without acknowledging them.
    pub async fn mark(&self, owner: AccountId, ids: Vec<MessageId>) -> Result<(), StoreError> {
        todo!()
    }

    /// What waits after `after`, oldest first, `max` at most. Sees all that was appended before.
    pub async fn fetch(
        &self,
        owner: AccountId,
        after: Option<MessageId>,
        max: usize,
    ) -> Result<Vec<Archived>, StoreError> {
        todo!()
    }

    /// How many messages wait.
    pub async fn count(&self, owner: AccountId) -> Result<u32, StoreError> {
        todo!()
    }

    /// These were delivered.
    pub async fn remove(&self, owner: AccountId, ids: Vec<MessageId>) -> Result<(), StoreError> {
        todo!()
    }

    pub async fn clear(&self, owner: AccountId) -> Result<(), StoreError> {
        todo!()
    }

    /// Drops marks set before `before`; tells how many.
    pub async fn expire(&self, before: Now) -> Result<u64, StoreError> {
        todo!()
    }
}
