//! Messages that come from elsewhere, with the time they had there.

use rusqlite::{OptionalExtension, params};

use super::archive::tail;
use super::rosters::{self, RosterEntry, RosterLimits};
use super::writer::Tx;
use super::{AccountId, MessageFlags, MessageId, MessageRow, Store, StoreError};
use crate::jid::BareJid;
use crate::time::Now;

impl MessageId {
    /// An id for a message of `at` that comes from elsewhere: `sequence` tells it from others of
    /// its millisecond, and is the same whenever it comes again.
    pub fn made_of(at: Now, sequence: u64) -> MessageId {
        let floor = MessageId::floor(at);
        MessageId(floor.0 | (sequence & 0x1f_ffff).cast_signed())
    }
}

/// See [`Store::portable`].
pub struct Portable<'a>(pub(super) &'a Store);

impl Store {
    pub fn portable(&self) -> Portable<'_> {
        Portable(self)
    }
}

impl Portable<'_> {
    /// Stores messages under the ids they bring, as one act. One that is there already, known by
    /// its id and its addresses, gains those of the flags that it lacks. Tells how many were new in
    /// any way.
    pub async fn put(&self, rows: Vec<MessageRow>) -> Result<u64, StoreError> {
        self.0
            .write(move |tx| {
                let mut new = 0;
                for mut row in rows {
                    new += u64::from(put(tx, &mut row)?);
                }
                tx.state.usage.forget();
                Ok(new)
            })
            .await
    }

    /// Puts contacts and requests that wait into a roster, as one act.
    pub async fn put_contacts(
        &self,
        owner: AccountId,
        entries: Vec<(BareJid, RosterEntry)>,
        limits: RosterLimits,
        now: Now,
    ) -> Result<(), StoreError> {
        self.0
            .write(move |tx| {
                super::accounts::touch(tx, owner)?;
                for (contact, new) in entries {
                    let before = rosters::entry(tx, owner, &contact)?;
                    // The one part of the file may have the item, another the request.
                    let after = RosterEntry {
                        item: new.item.or_else(|| before.item.clone()),
                        request: new.request.or_else(|| before.request.clone()),
                    };
                    if after.item != before.item {
                        rosters::write_item(tx, owner, &contact, &before, &after, limits)?;
                    }
                    if after.request != before.request {
                        rosters::write_request(tx, owner, &contact, &before, &after, limits, now)?;
                    }
                }
                Ok(())
            })
            .await
    }

    /// Takes away contacts and their requests, private storage, vCard and block list of an account:
    /// others take their place.
    pub async fn clear_own(&self, owner: AccountId) -> Result<(), StoreError> {
        self.0
            .write(move |tx| {
                super::accounts::touch(tx, owner)?;
                for sql in [
                    "DELETE FROM roster_items WHERE account = ?1",
                    "DELETE FROM roster_requests WHERE account = ?1",
                    "DELETE FROM private WHERE account = ?1",
                    "DELETE FROM vcards WHERE account = ?1",
                    "DELETE FROM blocks WHERE account = ?1",
                    // Whatever version a client has, it is none that fits.
                    "UPDATE accounts SET roster_version = roster_version + 1,
                     roster_floor = roster_version + 1 WHERE id = ?1",
                ] {
                    tx.prepare_cached(sql)?.execute([owner.0])?;
                }
                Ok(())
            })
            .await
    }
}

fn put(tx: &mut Tx<'_>, row: &mut MessageRow) -> Result<bool, StoreError> {
    let (from, to) = (tx.address(&row.from)?, tx.address(&row.to)?);
    for _ in 0..64 {
        let known: Option<(i64, i64, u8, i64)> = tx
            .prepare_cached(
                "SELECT from_addr, to_addr, flags, length(body) FROM messages WHERE id = ?1",
            )?
            .query_row([row.id.0], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))
            .optional()?;
        match known {
            None => {
                tx.insert(row)?;
                return Ok(true);
            }
            Some((known_from, known_to, flags, bytes)) if (known_from, known_to) == (from, to) => {
                let missing = row.flags.0 & !flags;
                return add_flags(tx, row.id.0, from, to, missing, bytes);
            }
            // Another message of the same millisecond has this id.
            Some(_) => row.id = MessageId(row.id.0 + 1),
        }
    }
    Err(StoreError::TooMany { what: "messages of one millisecond", max: 64 })
}

fn add_flags(
    tx: &mut Tx<'_>,
    id: i64,
    from: i64,
    to: i64,
    missing: u8,
    bytes: i64,
) -> Result<bool, StoreError> {
    if missing == 0 {
        return Ok(false);
    }
    tx.prepare_cached("UPDATE messages SET flags = flags | ?2 WHERE id = ?1")?
        .execute(params![id, missing])?;
    if missing & MessageFlags::OFFLINE.0 != 0 {
        tx.prepare_cached("INSERT OR IGNORE INTO offline (owner, id, bytes) VALUES (?1, ?2, ?3)")?
            .execute([to, id, bytes])?;
    }
    tail::gained(tx, id, from, to, missing, bytes)?;
    Ok(true)
}
