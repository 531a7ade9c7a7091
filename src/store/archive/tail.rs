//! The newest rows of `messages`, which no index names yet.
//!
//! An archive entry costs two places in two trees, each on a page of its own when many accounts
//! talk. Doing that for every message would write kilobytes each; doing it for many at once, sorted,
//! writes each page once. So rows above the mark `meta.merged` are the *tail*: queries walk them
//! (bounded by [`MERGE_ROWS`]), and now and then all of them are merged into `archive` and
//! `archive_peer` in one transaction that also moves the mark.

use rusqlite::{Connection, params};

use crate::store::StoreError;
use crate::store::writer::Tx;

/// The tail is merged when it has this many rows; walking it takes a few milliseconds at worst.
pub(in crate::store) const MERGE_ROWS: u64 = 16_384;

/// What the writer remembers of the tail.
pub(in crate::store) struct Tail {
    /// Rows up to this id are indexed.
    merged: i64,
    rows: u64,
    merge_at: u64,
}

impl Tail {
    pub(in crate::store) fn load(conn: &Connection) -> Result<Tail, StoreError> {
        let merged = merged(conn)?;
        let rows =
            conn.query_row("SELECT count(*) FROM messages WHERE id > ?1", [merged], |row| {
                row.get(0)
            })?;
        Ok(Tail { merged, rows, merge_at: MERGE_ROWS })
    }

    /// In a quiet moment a quarter is enough.
    pub(in crate::store) fn wants_merge(&self, quiet: bool) -> bool {
        self.rows >= if quiet { self.merge_at / 4 } else { self.merge_at }
    }

    /// Merging failed: let some more come together before the next try.
    pub(in crate::store) fn postpone(&mut self) {
        self.merge_at = self.rows * 4 + MERGE_ROWS;
    }
}

/// The mark.
pub(super) fn merged(conn: &Connection) -> Result<i64, StoreError> {
    Ok(conn
        .prepare_cached("SELECT value FROM meta WHERE key = 'merged'")?
        .query_row([], |row| row.get(0))?)
}

/// A row was written. Ids are given out before rows are queued, so a row may come late and lie
/// below the mark: then it is indexed at once.
pub(in crate::store) fn appended(tx: &mut Tx<'_>, id: i64) -> Result<(), StoreError> {
    if id > tx.state.tail.merged {
        tx.state.tail.rows += 1;
        Ok(())
    } else {
        index(tx, id, id)
    }
}

/// Merges the whole tail.
pub(in crate::store) fn merge(tx: &mut Tx<'_>) -> Result<(), StoreError> {
    let from = tx.state.tail.merged;
    let last: i64 =
        tx.query_row("SELECT coalesce(max(id), 0) FROM messages", [], |row| row.get(0))?;
    if last > from {
        index(tx, from + 1, last)?;
        tx.prepare_cached("UPDATE meta SET value = ?1 WHERE key = 'merged'")?.execute([last])?;
        tx.state.tail = Tail { merged: last, rows: 0, merge_at: MERGE_ROWS };
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
