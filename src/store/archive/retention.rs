//! Letting go: entries by age and size, bodies that nobody keeps, whole archives.
//!
//! Always the oldest first (XEP-0313 §3.2 wants no holes), in steps small enough that messages
//! waiting behind one do not notice. The tail is merged first, so that only entries count.

use rusqlite::{Connection, OptionalExtension, params};

use super::{Expired, tail};
use crate::store::writer::Tx;
use crate::store::{MessageFlags, StoreError};

/// Entries removed in one transaction.
const STEP: usize = 256;

/// What to remove from an archive.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::store) struct Limits {
    /// All older than this id.
    pub before: Option<i64>,
    /// The oldest, until the bodies take no more bytes than this.
    pub bytes_max: Option<u64>,
}

/// Owners of archives above `after`, in order.
pub(super) fn owners(conn: &Connection, after: i64) -> Result<Option<(i64, String)>, StoreError> {
    Ok(conn
        .prepare_cached(
            "SELECT owner, jid FROM archive_usage JOIN addresses ON addresses.id = owner
             WHERE owner > ?1 ORDER BY owner LIMIT 1",
        )?
        .query_row([after], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?)
}

/// One step in one archive; `None` when nothing is left to remove.
pub(in crate::store) fn step(
    tx: &mut Tx<'_>,
    owner: i64,
    limits: Limits,
) -> Result<Option<Expired>, StoreError> {
    let usage = tx
        .prepare_cached("SELECT bytes FROM archive_usage WHERE owner = ?1")?
        .query_row([owner], |row| row.get::<_, u64>(0))
        .optional()?
        .unwrap_or(0);
    let mut excess = limits.bytes_max.map_or(0, |max| usage.saturating_sub(max));
    let oldest: Vec<(i64, i64, u64)> = tx
        .prepare_cached(
            "SELECT id, peer, bytes FROM archive WHERE owner = ?1 ORDER BY id LIMIT ?2",
        )?
        .query_map(params![owner, STEP], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
        .collect::<Result<_, _>>()?;
    let mut expired = Expired::default();
    let mut freed = 0;
    for (id, peer, bytes) in oldest {
        if excess == 0 && limits.before.is_none_or(|before| id >= before) {
            break;
        }
        excess = excess.saturating_sub(bytes);
        freed += bytes;
        remove(tx, owner, peer, id, &mut expired)?;
    }
    subtract(tx, owner, expired, freed)
}

/// One step in what an archive holds of one peer; `None` when nothing of it is left.
pub(super) fn peer_step(
    tx: &mut Tx<'_>,
    owner: i64,
    peer: &str,
) -> Result<Option<Expired>, StoreError> {
    let some: Vec<(i64, i64, u64)> = tx
        .prepare_cached(
            "SELECT archive.id, archive.peer, bytes FROM archive_peer AS p
             JOIN addresses ON addresses.id = p.peer
             JOIN archive ON archive.owner = p.owner AND archive.id = p.id
             WHERE p.owner = ?1 AND jid = ?2 ORDER BY p.id LIMIT ?3",
        )?
        .query_map(params![owner, peer, STEP], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
        .collect::<Result<_, _>>()?;
    let mut expired = Expired::default();
    let mut freed = 0;
    for (id, peer, bytes) in some {
        freed += bytes;
        remove(tx, owner, peer, id, &mut expired)?;
    }
    subtract(tx, owner, expired, freed)
}

fn remove(
    tx: &Tx<'_>,
    owner: i64,
    peer: i64,
    id: i64,
    expired: &mut Expired,
) -> Result<(), StoreError> {
    expired.entries += 1;
    tx.prepare_cached("DELETE FROM archive WHERE owner = ?1 AND id = ?2")?.execute([owner, id])?;
    tx.prepare_cached("DELETE FROM archive_peer WHERE owner = ?1 AND peer = ?2 AND id = ?3")?
        .execute([owner, peer, id])?;
    expired.bodies += u64::from(release_archived(tx, owner, id)?);
    Ok(())
}

/// Keeps the sums.
fn subtract(
    tx: &Tx<'_>,
    owner: i64,
    expired: Expired,
    freed: u64,
) -> Result<Option<Expired>, StoreError> {
    if expired.entries == 0 {
        return Ok(None);
    }
    tx.prepare_cached(
        "UPDATE archive_usage SET entries = entries - ?2, bytes = bytes - ?3 WHERE owner = ?1",
    )?
    .execute(params![owner, expired.entries, freed])?;
    tx.prepare_cached("DELETE FROM archive_usage WHERE owner = ?1 AND entries = 0")?
        .execute([owner])?;
    Ok(Some(expired))
}

/// Removes a piece of a whole archive, what is still in the tail included; false when it was the
/// last.
pub(in crate::store) fn clear_step(tx: &mut Tx<'_>, owner: i64) -> Result<bool, StoreError> {
    let everything = Limits { before: Some(i64::MAX), bytes_max: None };
    if step(tx, owner, everything)?.is_some() {
        return Ok(true);
    }
    // What was appended meanwhile.
    settle(tx)?;
    Ok(step(tx, owner, everything)?.is_some())
}

/// Merges the tail, unless it is empty already.
pub(in crate::store) fn settle(tx: &mut Tx<'_>) -> Result<(), StoreError> {
    tail::merge(tx)
}

/// The owner keeps this message no longer. True when nobody does and its body is gone.
fn release_archived(tx: &Tx<'_>, owner: i64, id: i64) -> Result<bool, StoreError> {
    let flags: Option<u8> = tx
        .prepare_cached(
            "UPDATE messages SET flags = flags
             & ~((from_addr = ?2) * 1) & ~((to_addr = ?2) * 2) WHERE id = ?1 RETURNING flags",
        )?
        .query_row([id, owner], |row| row.get(0))
        .optional()?;
    drop_unkept(tx, id, flags)
}

/// The receiver waits for this message no longer.
pub(in crate::store) fn release_offline(tx: &Tx<'_>, id: i64) -> Result<bool, StoreError> {
    let flags: Option<u8> = tx
        .prepare_cached("UPDATE messages SET flags = flags & ~4 WHERE id = ?1 RETURNING flags")?
        .query_row([id], |row| row.get(0))
        .optional()?;
    drop_unkept(tx, id, flags)
}

fn drop_unkept(tx: &Tx<'_>, id: i64, flags: Option<u8>) -> Result<bool, StoreError> {
    let Some(flags) = flags.map(MessageFlags).filter(|flags| !flags.any(MessageFlags::KEPT)) else {
        return Ok(false);
    };
    if flags.has(MessageFlags::TEXT) {
        tx.prepare_cached("DELETE FROM messages_text WHERE rowid = ?1")?.execute([id])?;
    }
    tx.prepare_cached("DELETE FROM messages WHERE id = ?1")?.execute([id])?;
    Ok(true)
}
