//! Push registrations (XEP-0357).

use super::{AccountId, Store, StoreError};
use crate::jid::Jid;
use crate::time::Now;

/// Where to announce that something waits for an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PushTarget {
    pub service: Jid,
    pub node: String,
    /// The publish options the client gave, as XML; it holds the service's secret.
    pub options: Option<Vec<u8>>,
    /// The device that enabled it; its notifications stop while that device is connected.
    pub device: Option<i64>,
    /// The resource that enabled it.
    pub resource: Option<String>,
    pub enabled: Now,
}

/// See [`Store::push`].
pub struct Push<'a>(pub(super) &'a Store);

impl Store {
    pub fn push(&self) -> Push<'_> {
        Push(self)
    }
}

impl Push<'_> {
    /// Adds, or replaces the one with the same service and node. At most `max` are kept; the
    /// oldest gives way.
    pub async fn enable(
        &self,
        owner: AccountId,
        target: PushTarget,
        max: usize,
    ) -> Result<(), StoreError> {
        todo!()
    }

    /// Without `node`: all of the service. Tells how many were there.
    pub async fn disable(
        &self,
        owner: AccountId,
        service: &Jid,
        node: Option<&str>,
    ) -> Result<u64, StoreError> {
        todo!()
    }

    pub async fn list(&self, owner: AccountId) -> Result<Vec<PushTarget>, StoreError> {
        todo!()
    }
}
