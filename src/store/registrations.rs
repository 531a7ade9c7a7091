//! Accounts as they come in: made in one act with all that belongs to it, waiting for approval,
//! and greeted on their first sign-in.

use std::net::IpAddr;

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::accounts::{self, ScramRow};
use super::invites::{self, Invite, InviteId};
use super::writer::Tx;
use super::{AccountId, Store, StoreError};
use crate::access::names::{SKELETON_VERSION, skeleton};
use crate::jid::BareJid;
use crate::time::Now;

/// Skeletons that one step fills in.
const FILL_MAX: usize = 1_000;

/// An account to be made.
pub struct NewAccount {
    pub jid: BareJid,
    pub keys: Vec<ScramRow>,
    /// Refuse a name that looks like that of another account of the host.
    pub refuse_look_alikes: bool,
    /// The invitation that this uses up.
    pub invite: Option<InviteId>,
    pub welcome: Option<Welcome>,
    /// Nobody signs in before an operator has agreed.
    pub approval: Option<Asked>,
}

/// What is said on the first sign-in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Welcome {
    pub subject: String,
    pub body: String,
}

/// A wish to be approved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    pub expires: Now,
    pub address: Option<IpAddr>,
    /// Where it came in.
    pub door: String,
    /// Accounts of the host that may wait.
    pub waiting_max: usize,
}

/// An account that waits for approval.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    pub jid: BareJid,
    pub asked: Now,
    pub expires: Now,
    pub address: Option<IpAddr>,
    pub door: String,
}

/// See [`Store::registrations`].
pub struct Registrations<'a>(pub(super) &'a Store);

impl Store {
    pub fn registrations(&self) -> Registrations<'_> {
        Registrations(self)
    }
}

impl Registrations<'_> {
    /// Makes the account, with everything that `new` says, or nothing at all.
    ///
    /// # Errors
    /// [`StoreError::AccountExists`] if the name is taken, reserved by an invitation, or kept for
    /// an account in the bin; [`StoreError::LooksLike`]; [`StoreError::NotFound`] if the invitation
    /// does not do; [`StoreError::TooMany`] if too many wait for approval.
    pub async fn create(
        &self,
        new: NewAccount,
        now: Now,
    ) -> Result<(AccountId, Option<Invite>), StoreError> {
        self.0.write(move |tx| create(tx, new, now)).await
    }

    /// What the account is to be told on its first sign-in.
    pub async fn welcome(&self, id: AccountId) -> Result<Option<Welcome>, StoreError> {
        self.0
            .read(move |reader| {
                let mut found = reader
                    .conn
                    .prepare_cached("SELECT subject, body FROM welcomes WHERE account = ?1")?;
                let welcome =
                    |row: &Row<'_>| Ok(Welcome { subject: row.get(0)?, body: row.get(1)? });
                Ok(found.query_row([id.0], welcome).optional()?)
            })
            .await
    }

    /// It has been told.
    pub async fn welcomed(&self, id: AccountId) -> Result<(), StoreError> {
        self.0
            .write(move |tx| {
                tx.prepare_cached("DELETE FROM welcomes WHERE account = ?1")?.execute([id.0])?;
                accounts::touch(tx, id)
            })
            .await
    }

    /// Accounts that wait for approval, in the order of their names, after the address `after`.
    pub async fn waiting(
        &self,
        host: Option<&str>,
        after: Option<&BareJid>,
        max: usize,
    ) -> Result<Vec<Waiting>, StoreError> {
        let host = host.map(str::to_owned);
        let after = after.map_or_else(String::new, BareJid::to_string);
        self.0
            .read(move |reader| {
                let sql = format!(
                    "{SELECT} WHERE (?1 IS NULL OR host = ?1) AND jid > ?2 AND NOT erasing
                     ORDER BY jid LIMIT ?3"
                );
                let mut rows = reader.conn.prepare_cached(&sql)?;
                let rows = rows.query_map(params![host, after, max], waiting)?;
                Ok(rows.collect::<Result<_, _>>()?)
            })
            .await
    }

    /// Lets an account in.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] if it does not wait.
    pub async fn approve(&self, jid: &BareJid) -> Result<(), StoreError> {
        let jid = jid.clone();
        self.0
            .write(move |tx| {
                let id = waiting_id(tx, &jid)?;
                tx.prepare_cached(
                    "UPDATE accounts SET locked = NULL, lock_reason = '' WHERE id = ?1",
                )?
                .execute([id.0])?;
                settle(tx, id)?;
                tx.touch(jid);
                Ok(())
            })
            .await
    }

    /// Does the account wait?
    ///
    /// # Errors
    /// [`StoreError::NotFound`] if it does not.
    pub async fn waits(&self, jid: &BareJid) -> Result<(), StoreError> {
        let jid = jid.clone();
        self.0.read(move |reader| waiting_id(&reader.conn, &jid).map(drop)).await
    }

    /// Accounts whose wait is over without an answer, some of them.
    pub async fn overdue(&self, now: Now, max: usize) -> Result<Vec<BareJid>, StoreError> {
        self.0
            .read(move |reader| {
                let sql = format!("{SELECT} WHERE expires <= ?1 AND NOT erasing LIMIT ?2");
                let mut rows = reader.conn.prepare_cached(&sql)?;
                let rows = rows.query_map(params![now.0, max], waiting)?;
                Ok(rows.map(|row| row.map(|row| row.jid)).collect::<Result<_, _>>()?)
            })
            .await
    }
}

const SELECT: &str = "SELECT jid, asked, expires, address, door
    FROM approvals JOIN accounts ON accounts.id = account JOIN addresses USING (id)";

fn waiting(row: &Row<'_>) -> rusqlite::Result<Waiting> {
    let address: Option<String> = row.get(3)?;
    Ok(Waiting {
        jid: super::bin::jid(row, 0)?,
        asked: Now(row.get(1)?),
        expires: Now(row.get(2)?),
        address: address.and_then(|address| address.parse().ok()),
        door: row.get(4)?,
    })
}

fn waiting_id(conn: &Connection, jid: &BareJid) -> Result<AccountId, StoreError> {
    let id = accounts::id_of(conn, jid)?;
    let waits =
        conn.prepare_cached("SELECT 1 FROM approvals WHERE account = ?1")?.exists([id.0])?;
    if waits { Ok(id) } else { Err(StoreError::NotFound) }
}

fn create(
    tx: &mut Tx<'_>,
    new: NewAccount,
    now: Now,
) -> Result<(AccountId, Option<Invite>), StoreError> {
    let NewAccount { jid, keys, refuse_look_alikes, invite, welcome, approval } = new;
    let reserving = invites::reserving(tx, &jid, now)?;
    if reserving.is_some() && reserving != invite {
        return Err(StoreError::AccountExists);
    }
    if refuse_look_alikes
        && let Some(other) = look_alike(tx, &jid)?
        && other != jid
    {
        return Err(StoreError::LooksLike(other));
    }
    if let Some(asked) = &approval {
        let count: usize = tx
            .prepare_cached(
                "SELECT count(*) FROM approvals JOIN accounts ON accounts.id = account
                 WHERE host = ?1",
            )?
            .query_row([jid.domain()], |row| row.get(0))?;
        if count >= asked.waiting_max {
            let what = "accounts that wait for approval";
            return Err(StoreError::TooMany { what, max: asked.waiting_max });
        }
    }
    let redeemed = match invite {
        Some(invite) => Some(invites::redeem_for(tx, invite, &jid, now)?),
        None => None,
    };
    let id = accounts::insert(tx, jid, &keys, now)?;
    if let Some(welcome) = welcome {
        tx.prepare_cached("INSERT INTO welcomes (account, subject, body) VALUES (?1, ?2, ?3)")?
            .execute(params![id.0, welcome.subject, welcome.body])?;
    }
    if let Some(asked) = approval {
        tx.prepare_cached(
            "INSERT INTO approvals (account, asked, expires, address, door)
             VALUES (?1, ?2, ?3, ?4, ?5)",
        )?
        .execute(params![
            id.0,
            now.0,
            asked.expires.0,
            asked.address.map(|address| address.to_string()),
            asked.door
        ])?;
        tx.prepare_cached(
            "UPDATE accounts SET locked = ?2, lock_reason = 'waiting for approval' WHERE id = ?1",
        )?
        .execute(params![id.0, now.0])?;
    }
    Ok((id, redeemed))
}

/// An account of the same host that looks like this name; one in the bin counts too.
fn look_alike(conn: &Connection, jid: &BareJid) -> Result<Option<BareJid>, StoreError> {
    let name = jid.local().ok_or(StoreError::NoSuchAccount)?;
    let found = conn
        .prepare_cached(
            "SELECT jid FROM accounts JOIN addresses USING (id)
             WHERE host = ?1 AND skeleton = ?2 AND erasing != 1 ORDER BY name = ?3 DESC LIMIT 1",
        )?
        .query_row(params![jid.domain(), skeleton(name), name], |row| super::bin::jid(row, 0))
        .optional()?;
    Ok(found)
}

/// Nobody needs to approve of the account any more.
pub(super) fn settle(tx: &Tx<'_>, id: AccountId) -> Result<(), StoreError> {
    tx.prepare_cached("DELETE FROM approvals WHERE account = ?1")?.execute([id.0])?;
    Ok(())
}

/// At start: fills in the skeletons of accounts from before there were any, or from before they
/// were made in this way; false when none is left.
pub(super) fn fill_skeletons(tx: &mut Tx<'_>) -> Result<bool, StoreError> {
    let known: Option<i64> = tx
        .prepare_cached("SELECT value FROM meta WHERE key = 'skeletons'")?
        .query_row([], |row| row.get(0))
        .optional()?;
    if known != Some(SKELETON_VERSION) {
        tx.execute("UPDATE accounts SET skeleton = ''", [])?;
        tx.execute(
            "INSERT OR REPLACE INTO meta (key, value) VALUES ('skeletons', ?1)",
            [SKELETON_VERSION],
        )?;
    }
    let mut rows =
        tx.prepare_cached("SELECT id, name FROM accounts WHERE skeleton = '' LIMIT ?1")?;
    let found: Vec<(i64, String)> = rows
        .query_map([FILL_MAX], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<Result<_, _>>()?;
    for (id, name) in &found {
        // A name of nothing but invisible characters would be asked for again at each start.
        let skeleton = Some(skeleton(name)).filter(|s| !s.is_empty());
        tx.prepare_cached("UPDATE accounts SET skeleton = ?2 WHERE id = ?1")?
            .execute(params![id, skeleton.as_deref().unwrap_or(name)])?;
    }
    Ok(found.len() == FILL_MAX)
}

#[cfg(test)]
mod tests;
