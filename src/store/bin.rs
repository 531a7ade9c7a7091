//! Removed accounts that can still be brought back. Nobody sees them and nobody signs in, but all
//! that is theirs is there, and their names stay taken.

use rusqlite::types::Type;
use rusqlite::{OptionalExtension, Row, params};

use super::resume::log::SmLog;
use super::{Store, StoreError, accounts, devices};
use crate::jid::BareJid;
use crate::time::Now;

/// An account in the bin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binned {
    pub jid: BareJid,
    pub removed: Now,
    /// From then on it is erased.
    pub until: Now,
    /// Who removed it.
    pub who: String,
}

/// See [`Store::bin`].
pub struct Bin<'a>(pub(super) &'a Store);

impl Store {
    pub fn bin(&self) -> Bin<'_> {
        Bin(self)
    }
}

impl Bin<'_> {
    /// Moves an account into the bin and ends its tokens. Its sessions are the caller's to close;
    /// none of them comes back.
    pub async fn put(
        &self,
        jid: &BareJid,
        until: Now,
        who: &str,
        now: Now,
    ) -> Result<(), StoreError> {
        let (jid, who) = (jid.clone(), who.to_owned());
        self.0
            .write(move |tx| {
                let id = accounts::id_of(tx, &jid)?;
                SmLog::close_account(tx, id)?;
                devices::drop_tokens(tx, id)?;
                tx.prepare_cached("UPDATE accounts SET erasing = 2 WHERE id = ?1")?
                    .execute([id.0])?;
                tx.prepare_cached(
                    "INSERT INTO bin (account, removed, until, who) VALUES (?1, ?2, ?3, ?4)",
                )?
                .execute(params![id.0, now.0, until.0, who])?;
                tx.touch(jid);
                Ok(())
            })
            .await
    }

    /// Those in the bin, in the order of their addresses, after the address `after`.
    pub async fn list(
        &self,
        host: Option<&str>,
        after: Option<&BareJid>,
        max: usize,
    ) -> Result<Vec<Binned>, StoreError> {
        let host = host.map(str::to_owned);
        let after = after.map_or_else(String::new, BareJid::to_string);
        self.0
            .read(move |reader| {
                let sql = format!(
                    "{SELECT} WHERE (?1 IS NULL OR host = ?1) AND jid > ?2 ORDER BY jid LIMIT ?3"
                );
                let mut rows = reader.conn.prepare_cached(&sql)?;
                let rows = rows.query_map(params![host, after, max], binned)?;
                Ok(rows.collect::<Result<_, _>>()?)
            })
            .await
    }

    pub async fn find(&self, jid: &BareJid) -> Result<Option<Binned>, StoreError> {
        let jid = jid.clone();
        self.0
            .read(move |reader| {
                let sql = format!("{SELECT} WHERE jid = ?1");
                let mut found = reader.conn.prepare_cached(&sql)?;
                Ok(found.query_row([jid.as_str()], binned).optional()?)
            })
            .await
    }

    /// Brings an account back as it was.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] if it is not in the bin.
    pub async fn restore(&self, jid: &BareJid) -> Result<(), StoreError> {
        let jid = jid.clone();
        self.0
            .write(move |tx| {
                let id = accounts::any_id_of(tx, &jid)?;
                let found =
                    tx.prepare_cached("DELETE FROM bin WHERE account = ?1")?.execute([id.0])?;
                if found == 0 {
                    return Err(StoreError::NotFound);
                }
                tx.prepare_cached("UPDATE accounts SET erasing = 0 WHERE id = ?1")?
                    .execute([id.0])?;
                tx.touch(jid);
                Ok(())
            })
            .await
    }

    /// Those whose time is over, some of them.
    pub async fn due(&self, now: Now, max: usize) -> Result<Vec<BareJid>, StoreError> {
        self.0
            .read(move |reader| {
                let sql = format!("{SELECT} WHERE until <= ?1 LIMIT ?2");
                let mut rows = reader.conn.prepare_cached(&sql)?;
                let rows = rows.query_map(params![now.0, max], binned)?;
                Ok(rows.map(|row| row.map(|row| row.jid)).collect::<Result<_, _>>()?)
            })
            .await
    }
}

const SELECT: &str = "SELECT jid, removed, until, who FROM bin
    JOIN accounts ON accounts.id = account AND erasing = 2 JOIN addresses USING (id)";

fn binned(row: &Row<'_>) -> rusqlite::Result<Binned> {
    Ok(Binned {
        jid: jid(row, 0)?,
        removed: Now(row.get(1)?),
        until: Now(row.get(2)?),
        who: row.get(3)?,
    })
}

pub(super) fn jid(row: &Row<'_>, column: usize) -> rusqlite::Result<BareJid> {
    BareJid::parse(row.get_ref(column)?.as_str()?)
        .map_err(|e| rusqlite::Error::FromSqlConversionFailure(column, Type::Text, Box::new(e)))
}

#[cfg(test)]
mod tests;
