//! State that may be lost: caches, back-off, throttles. The only file that knows sled.
//!
//! sled 0.34 is fast and small, and now and then does not open what it wrote or panics. So every
//! call is caught, and a folder that fails is moved aside and started afresh with a warning: by the
//! rule of this room nothing in it is promised to anybody.

use std::collections::HashMap;
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use serde::Serialize;
use serde::de::DeserializeOwned;
use sled::{Db, Tree};

use super::Store;
use crate::time::Now;

/// sled's page cache; its default is 1 GiB.
const CACHE_BYTES: u64 = 1 << 20;
/// Written back this often: what a crash may lose.
const FLUSH_EVERY_MS: u64 = 1_000;
/// How many entries are looked at to find one that may give way.
const SAMPLE: usize = 16;
/// Before each value: when it expires.
const EXPIRY_LEN: usize = 8;

/// The folder, opened when it is first asked for something.
#[derive(Clone)]
pub(super) struct Hot(Arc<Folder>);

struct Folder {
    path: PathBuf,
    state: Mutex<State>,
    /// Entries of each map, `usize::MAX` until counted; maps of one name share it.
    counts: Mutex<HashMap<&'static str, Arc<AtomicUsize>>>,
}

enum State {
    Unopened,
    Open(Db),
    /// Could not be opened even empty, or the store is shut down: all maps are empty.
    Closed,
}

/// A bounded map with expiry that outlives a restart, on a good day.
///
/// Reads and writes touch memory mostly and never fail: what cannot be read is absent.
pub struct HotMap<V> {
    folder: Arc<Folder>,
    name: &'static str,
    entries_max: usize,
    entries: Arc<AtomicUsize>,
    value: PhantomData<fn() -> V>,
}

impl Store {
    /// The map `name`; cheap to ask for. At most `entries_max` entries are kept; when it is full, what has expired
    /// goes, or else something that would expire early.
    pub fn hot<V: Serialize + DeserializeOwned>(
        &self,
        name: &'static str,
        entries_max: usize,
    ) -> HotMap<V> {
        let folder = Arc::clone(&self.hot.0);
        let entries = Arc::clone(
            folder.counts.lock().entry(name).or_insert_with(|| Arc::new(usize::MAX.into())),
        );
        HotMap { folder, name, entries_max: entries_max.max(1), entries, value: PhantomData }
    }
}

impl Hot {
    pub(super) fn new(data: &Path) -> Hot {
        Hot(Arc::new(Folder {
            path: data.join("hot"),
            state: Mutex::new(State::Unopened),
            counts: Mutex::default(),
        }))
    }

    pub(super) fn close(&self) {
        let state = std::mem::replace(&mut *self.0.state.lock(), State::Closed);
        if let State::Open(db) = state {
            guard(|| db.flush().map(|_| ())).unwrap_or_else(|reason| {
                tracing::warn!(%reason, "hot state was not flushed");
            });
        }
    }
}

impl<V: Serialize + DeserializeOwned> HotMap<V> {
    pub fn get(&self, key: &str, now: Now) -> Option<V> {
        let stored = self.folder.with(self.name, |tree| tree.get(key)).flatten()?;
        decode(&stored, now)
    }

    pub fn put(&self, key: &str, value: &V, now: Now, keep: Duration) {
        let Ok(json) = serde_json::to_vec(value) else { return };
        let stored = [&now.plus(keep).0.to_le_bytes()[..], &json].concat();
        self.make_room(key, now);
        let before = self.folder.with(self.name, |tree| tree.insert(key, stored));
        if let Some(None) = before {
            self.entries.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Removes the entry and hands it out: whoever gets it is the only one.
    pub fn take(&self, key: &str, now: Now) -> Option<V> {
        self.count();
        let stored = self.folder.with(self.name, |tree| tree.remove(key)).flatten()?;
        self.entries.fetch_sub(1, Ordering::Relaxed);
        decode(&stored, now)
    }

    /// Removes what has expired; tells how many are left.
    pub fn sweep(&self, now: Now) -> usize {
        let left = self.folder.with(self.name, |tree| {
            let mut left = 0;
            for entry in tree.iter() {
                let (key, stored) = entry?;
                if expiry(&stored) <= now {
                    tree.remove(key)?;
                } else {
                    left += 1;
                }
            }
            Ok(left)
        });
        self.entries.store(left.unwrap_or(0), Ordering::Relaxed);
        left.unwrap_or(0)
    }

    fn count(&self) -> usize {
        let known = self.entries.load(Ordering::Relaxed);
        if known != usize::MAX {
            return known;
        }
        let counted = self.folder.with(self.name, |tree| Ok(tree.len())).unwrap_or(0);
        self.entries.store(counted, Ordering::Relaxed);
        counted
    }

    fn make_room(&self, key: &str, now: Now) {
        if self.count() < self.entries_max || self.sweep(now) < self.entries_max {
            return;
        }
        let removed = self.folder.with(self.name, |tree| {
            if tree.contains_key(key)? {
                return Ok(false);
            }
            let mut early = None;
            // From the key's place on, so that not the same corner is emptied each time.
            for entry in tree.range(key..).chain(tree.iter()).take(SAMPLE) {
                let (key, stored) = entry?;
                let at = expiry(&stored);
                if early.as_ref().is_none_or(|(earliest, _)| at < *earliest) {
                    early = Some((at, key));
                }
            }
            let Some((_, key)) = early else { return Ok(false) };
            Ok(tree.remove(key)?.is_some())
        });
        if removed == Some(true) {
            self.entries.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

fn expiry(stored: &[u8]) -> Now {
    let bytes = stored.first_chunk::<EXPIRY_LEN>().copied().unwrap_or_default();
    Now(i64::from_le_bytes(bytes))
}

fn decode<V: DeserializeOwned>(stored: &[u8], now: Now) -> Option<V> {
    if expiry(stored) <= now {
        return None;
    }
    serde_json::from_slice(stored.get(EXPIRY_LEN..)?).ok()
}

impl Folder {
    /// Runs `work` on a tree. `None` when there is none, or it failed and was given up.
    fn with<T>(&self, name: &str, work: impl FnOnce(&Tree) -> sled::Result<T>) -> Option<T> {
        let db = self.db()?;
        match guard(|| work(&db.open_tree(name)?)) {
            Ok(value) => Some(value),
            Err(reason) => {
                drop(db);
                self.give_up(&reason);
                None
            }
        }
    }

    fn db(&self) -> Option<Db> {
        let mut state = self.state.lock();
        if matches!(*state, State::Unopened) {
            *state = match open(&self.path) {
                Ok(db) => State::Open(db),
                Err(reason) => {
                    self.move_aside(&reason);
                    open(&self.path).map_or(State::Closed, State::Open)
                }
            };
        }
        match &*state {
            State::Open(db) => Some(db.clone()),
            _ => None,
        }
    }

    fn give_up(&self, reason: &str) {
        let mut state = self.state.lock();
        if let State::Open(db) = std::mem::replace(&mut *state, State::Unopened) {
            // Its threads may panic while they end.
            let _ = catch_unwind(AssertUnwindSafe(|| drop(db)));
            self.move_aside(reason);
        } else {
            *state = State::Closed;
        }
    }

    fn move_aside(&self, reason: &str) {
        let aside = self.path.with_extension("broken");
        // One broken folder is kept for those who want to look at it.
        let _ = std::fs::remove_dir_all(&aside);
        let moved = std::fs::rename(&self.path, &aside);
        for count in self.counts.lock().values() {
            count.store(usize::MAX, Ordering::Relaxed);
        }
        tracing::warn!(
            reason,
            moved = moved.is_ok(),
            "hot state cannot be read; starting with none"
        );
    }
}

fn open(path: &Path) -> Result<Db, String> {
    guard(|| {
        sled::Config::new()
            .path(path)
            .cache_capacity(CACHE_BYTES)
            .mode(sled::Mode::LowSpace)
            .flush_every_ms(Some(FLUSH_EVERY_MS))
            .open()
    })
}

/// Both ways in which sled fails.
fn guard<T>(work: impl FnOnce() -> sled::Result<T>) -> Result<T, String> {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(result) => result.map_err(|e| e.to_string()),
        Err(_) => Err("panicked".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::StoreOptions;

    const NOON: Now = Now(1_795_608_000_000_000);
    const HOUR: Duration = Duration::from_secs(3_600);

    fn open_store(dir: &Path) -> Arc<Store> {
        Store::open(dir, StoreOptions::default()).unwrap()
    }

    #[test]
    fn values_expire_and_are_taken_once() {
        let dir = tempfile::tempdir().unwrap();
        let store = open_store(dir.path());
        let map = store.hot::<String>("slots", 100);
        map.put("a", &"one".to_owned(), NOON, HOUR);
        assert_eq!(map.get("a", NOON).as_deref(), Some("one"));
        assert_eq!(map.get("a", NOON.plus(HOUR)), None);
        assert_eq!(map.take("a", NOON).as_deref(), Some("one"));
        assert_eq!(map.take("a", NOON), None);
    }

    #[test]
    fn the_map_is_bounded_and_expired_entries_give_way_first() {
        let dir = tempfile::tempdir().unwrap();
        let store = open_store(dir.path());
        let map = store.hot::<u32>("caps", 50);
        for n in 0..200 {
            let keep = if n % 2 == 0 { HOUR } else { HOUR * 10 };
            map.put(&format!("k{n:03}"), &n, NOON, keep);
            assert!(map.count() <= 50);
        }
        map.put("late", &1, NOON.plus(HOUR * 2), HOUR);
        assert_eq!(map.get("late", NOON.plus(HOUR * 2)), Some(1));
        assert!(map.sweep(NOON.plus(HOUR * 2)) <= 50);
        assert_eq!(map.sweep(NOON.plus(HOUR * 100)), 0);
    }

    #[test]
    fn a_restart_keeps_and_a_broken_folder_is_moved_aside() {
        let dir = tempfile::tempdir().unwrap();
        let store = open_store(dir.path());
        store.hot::<u32>("caps", 10).put("k", &7, NOON, HOUR);
        drop(store);
        let store = open_store(dir.path());
        assert_eq!(store.hot::<u32>("caps", 10).get("k", NOON), Some(7));
        drop(store);
        for entry in std::fs::read_dir(dir.path().join("hot")).unwrap() {
            let path = entry.unwrap().path();
            if path.is_file() {
                std::fs::write(path, b"not a database").unwrap();
            }
        }
        let store = open_store(dir.path());
        let map = store.hot::<u32>("caps", 10);
        assert_eq!(map.get("k", NOON), None);
        map.put("k", &8, NOON, HOUR);
        assert_eq!(map.get("k", NOON), Some(8));
        assert!(dir.path().join("hot.broken").exists());
    }
}
