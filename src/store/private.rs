//! Private XML storage (XEP-0049): one element per name and namespace.

use bytes::Bytes;

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
        todo!()
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
        todo!()
    }
}
