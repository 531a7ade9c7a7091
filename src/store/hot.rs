//! State that may be lost: caches, back-off, throttles. The only file that knows sled.

use std::marker::PhantomData;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Store;
use crate::time::Now;

/// A bounded map with expiry that outlives a restart, on a good day.
///
/// Reads and writes touch memory mostly and never fail: what cannot be read is absent.
pub struct HotMap<V> {
    value: PhantomData<fn() -> V>,
}

impl Store {
    /// The map `name`; at most `entries_max` entries are kept, those next to expire go first.
    pub fn hot<V: Serialize + DeserializeOwned>(
        &self,
        name: &'static str,
        entries_max: usize,
    ) -> HotMap<V> {
        todo!()
    }
}

impl<V: Serialize + DeserializeOwned> HotMap<V> {
    pub fn get(&self, key: &str, now: Now) -> Option<V> {
        todo!()
    }

    pub fn put(&self, key: &str, value: &V, now: Now, keep: Duration) {
        todo!()
    }

    /// Removes the entry and hands it out: whoever gets it is the only one.
    pub fn take(&self, key: &str, now: Now) -> Option<V> {
        todo!()
    }

    /// Removes what has expired; tells how many are left.
    pub fn sweep(&self, now: Now) -> usize {
        todo!()
    }
}
