//! The newest rows of `messages`, which no index on disk names yet.
//!
//! An archive entry costs two places in two trees, each on a page of its own when many accounts
//! talk. Doing that for every message would write kilobytes each; doing it for many at once, sorted,
//! writes each page once. So rows above the mark `meta.merged` are the *tail*: they are appended and
//! that is all. Now and then the whole tail is merged into `archive` and `archive_peer` in one
//! transaction that also moves the mark.
//!
//! Until then [`TailIndex`] knows in memory whose they are. It is a help, not the truth: a query
//! whose snapshot it does not fit walks the tail itself.

use std::collections::HashMap;

use parking_lot::Mutex;
use rusqlite::{Connection, params};

use super::query::Range;
use crate::store::StoreError;
use crate::store::writer::Tx;

/// The tail is merged when it has so many rows for each owner, …
const ROWS_PER_OWNER: usize = 64;
/// … but not for less than this many, …
pub(in crate::store) const ROWS_MIN: usize = 32_768;
/// … and at this many in any case: some 3 MiB of index.
const ROWS_MAX: usize = 65_536;

/// An entry: owner, message, peer.
type Entry = (i64, i64, i64);

/// Whose the rows of the tail are.
pub(in crate::store) struct TailIndex(Mutex<Inner>);

struct Inner {
    /// Holds all entries of committed rows above this; `i64::MAX` while it holds none.
    merged: i64,
    rows: usize,
    /// Message and peer by owner, in order of messages.
    owners: HashMap<i64, Vec<(i64, i64)>>,
}

impl Default for TailIndex {
    fn default() -> TailIndex {
        TailIndex(Mutex::new(Inner { merged: i64::MAX, rows: 0, owners: HashMap::new() }))
    }
}

impl TailIndex {
    /// Hands the entries of an archive in a range, message and peer by message, to `look`. `None`
    /// when a query that sees the mark at `merged` has to look for itself.
    ///
    /// A message may be named here that the query's snapshot is too old to see.
    pub(super) fn with<T>(
        &self,
        merged: i64,
        owner: i64,
        range: Range,
        look: impl FnOnce(&[(i64, i64)]) -> T,
    ) -> Option<T> {
        let inner = self.0.lock();
        if merged < inner.merged {
            return None;
        }
        let entries = inner.owners.get(&owner).map_or(&[][..], Vec::as_slice);
        let first = entries.partition_point(|(id, _)| *id <= range.above.max(merged));
        let end = entries.partition_point(|(id, _)| *id < range.below);
        Some(look(entries.get(first..end).unwrap_or_default()))
    }

    fn reset(&self, merged: i64) {
        *self.0.lock() = Inner { merged, rows: 0, owners: HashMap::new() };
    }

    /// Makes every query look for itself.
    #[cfg(test)]
    pub(in crate::store) fn forget(&self) {
        self.reset(i64::MAX);
    }
}

/// What the writer remembers of the tail.
pub(in crate::store) struct Tail {
    /// Rows up to this id are indexed on disk.
    merged: i64,
    rows: usize,
    merge_at: usize,
    /// Entries of the current transaction.
    fresh: Vec<Entry>,
    fresh_rows: usize,
    /// The current transaction has moved the mark.
    moved: bool,
}

impl Tail {
    pub(in crate::store) fn new(conn: &Connection) -> Result<Tail, StoreError> {
        let merged = merged(conn)?;
        Ok(Tail {
            merged,
            rows: 0,
            merge_at: ROWS_MIN,
            fresh: Vec::new(),
            fresh_rows: 0,
            moved: false,
        })
    }

    /// Reads the tail of an earlier process, or anew after a failure.
    pub(in crate::store) fn load(conn: &Connection, index: &TailIndex) -> Result<Tail, StoreError> {
        index.reset(i64::MAX);
        let mut tail = Tail::new(conn)?;
        let mut rows =
            conn.prepare("SELECT id, from_addr, to_addr, flags FROM messages WHERE id > ?1")?;
        let mut rows = rows.query([tail.merged])?;
        while let Some(row) = rows.next()? {
            tail.add(row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?);
        }
        tail.moved = true;
        tail.publish(index);
        Ok(tail)
    }

    fn add(&mut self, id: i64, from: i64, to: i64, flags: u8) {
        if flags & 1 != 0 {
            self.fresh.push((from, id, to));
        }
        if flags & 2 != 0 && !(flags & 1 != 0 && from == to) {
            self.fresh.push((to, id, from));
        }
        self.fresh_rows += 1;
    }

    /// The transaction is committed: queries may know.
    pub(in crate::store) fn publish(&mut self, index: &TailIndex) {
        if std::mem::take(&mut self.moved) {
            index.reset(self.merged);
        }
        if self.fresh_rows == 0 {
            return;
        }
        let mut inner = index.0.lock();
        self.rows += std::mem::take(&mut self.fresh_rows);
        if inner.rows > 2 * ROWS_MAX {
            // It cannot be merged; the disk is full, perhaps. Memory is not to fill as well.
            *inner = Inner { merged: i64::MAX, rows: 0, owners: HashMap::new() };
        }
        if inner.merged == i64::MAX {
            self.fresh.clear();
            return;
        }
        for (owner, id, peer) in self.fresh.drain(..) {
            let entries = inner.owners.entry(owner).or_default();
            match entries.last() {
                Some((last, _)) if *last > id => {
                    let at = entries.partition_point(|(other, _)| *other < id);
                    entries.insert(at, (id, peer));
                }
                _ => entries.push((id, peer)),
            }
            inner.rows += 1;
        }
        let wanted = inner.owners.len() * ROWS_PER_OWNER;
        self.merge_at = self.merge_at.max(wanted.clamp(ROWS_MIN, ROWS_MAX));
    }

    /// The current transaction has moved the mark, so it must not be undone in part.
    pub(in crate::store) fn has_moved(&self) -> bool {
        self.moved
    }

    pub(in crate::store) fn wants_merge(&self) -> bool {
        self.rows >= self.merge_at
    }

    /// Merging failed: let some more come together before the next try.
    pub(in crate::store) fn postpone(&mut self) {
        self.merge_at = self.rows + ROWS_MAX / 2;
    }
}

/// The mark.
pub(in crate::store) fn merged(conn: &Connection) -> Result<i64, StoreError> {
    Ok(conn
        .prepare_cached("SELECT value FROM meta WHERE key = 'merged'")?
        .query_row([], |row| row.get(0))?)
}

/// A row was written. Ids are given out before rows are queued, so a row may come late and lie
/// below the mark: then it is indexed at once.
pub(in crate::store) fn appended(
    tx: &mut Tx<'_>,
    id: i64,
    from: i64,
    to: i64,
    flags: u8,
) -> Result<(), StoreError> {
    if id <= tx.state.tail.merged {
        return index(tx, id, id);
    }
    tx.state.tail.add(id, from, to, flags);
    Ok(())
}

/// A row that was there has come into further archives, by the flags it `gained`.
pub(in crate::store) fn gained(
    tx: &mut Tx<'_>,
    id: i64,
    from: i64,
    to: i64,
    gained: u8,
    bytes: i64,
) -> Result<(), StoreError> {
    if id > tx.state.tail.merged {
        tx.state.tail.add(id, from, to, gained);
        return Ok(());
    }
    for (flag, owner, peer) in [(1, from, to), (2, to, from)] {
        if gained & flag == 0 {
            continue;
        }
        let new = tx
            .prepare_cached(
                "INSERT OR IGNORE INTO archive (owner, id, peer, bytes) VALUES (?1, ?2, ?3, ?4)",
            )?
            .execute([owner, id, peer, bytes])?;
        if new == 0 {
            continue;
        }
        tx.prepare_cached(
            "INSERT OR IGNORE INTO archive_peer (owner, peer, id) VALUES (?1, ?2, ?3)",
        )?
        .execute([owner, peer, id])?;
        tx.prepare_cached(
            "INSERT INTO archive_usage (owner, entries, bytes) VALUES (?1, 1, ?2)
             ON CONFLICT (owner) DO UPDATE SET entries = entries + 1, bytes = bytes + ?2",
        )?
        .execute([owner, bytes])?;
    }
    Ok(())
}

/// Merges the whole tail. Until the transaction is committed, only the writer knows.
pub(in crate::store) fn merge(tx: &mut Tx<'_>) -> Result<(), StoreError> {
    let from = tx.state.tail.merged;
    let last: i64 =
        tx.query_row("SELECT coalesce(max(id), 0) FROM messages", [], |row| row.get(0))?;
    if last > from {
        index(tx, from + 1, last)?;
        tx.prepare_cached("UPDATE meta SET value = ?1 WHERE key = 'merged'")?.execute([last])?;
        let tail = &mut tx.state.tail;
        (tail.merged, tail.rows, tail.merge_at, tail.moved) = (last, 0, ROWS_MIN, true);
        // Rows of this very transaction were merged with the others.
        tail.fresh.clear();
        tail.fresh_rows = 0;
    }
    Ok(())
}

/// An entry per owner. A message to oneself is one entry.
const ENTRIES: &str = "
    SELECT from_addr AS owner, id, to_addr AS peer, length(body) AS bytes FROM messages
        WHERE id BETWEEN ?1 AND ?2 AND flags & 1
    UNION ALL
    SELECT to_addr, id, from_addr, length(body) FROM messages
        WHERE id BETWEEN ?1 AND ?2 AND flags & 2 AND NOT (flags & 1 AND from_addr = to_addr)";

fn index(conn: &Connection, first: i64, last: i64) -> Result<(), StoreError> {
    for insert in [
        format!(
            "INSERT INTO archive (owner, id, peer, bytes) SELECT owner, id, peer, bytes FROM ({ENTRIES}) ORDER BY owner, id"
        ),
        format!(
            "INSERT INTO archive_peer (owner, peer, id) SELECT owner, peer, id FROM ({ENTRIES}) ORDER BY owner, peer, id"
        ),
        format!(
            "INSERT INTO archive_usage (owner, entries, bytes)
             SELECT owner, count(*), sum(bytes) FROM ({ENTRIES}) GROUP BY owner
             ON CONFLICT (owner) DO UPDATE
             SET entries = entries + excluded.entries, bytes = bytes + excluded.bytes"
        ),
    ] {
        conn.prepare_cached(&insert)?.execute(params![first, last])?;
    }
    Ok(())
}
