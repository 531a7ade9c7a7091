//! Invitations: who may come in without a password yet, by whom, and how often.
//!
//! A token is shown once, to whoever makes the invitation. Only its SHA-256 is stored, so that
//! neither a copy of the database nor an operator's list opens a door.

use std::collections::HashSet;
use std::fmt;

use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension, Row, params};
use sha2::{Digest, Sha256};
use zeroize::Zeroize;

use super::accounts::{self, ScramRow};
use super::writer::Tx;
use super::{AccountId, Store, StoreError};
use crate::jid::BareJid;
use crate::time::Now;

/// Rows that one transaction of the sweep removes.
const SWEEP_MAX: usize = 500;

/// The row of an invitation; operators name it by this number, never by its token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InviteId(pub i64);

/// What an invitation is redeemed by: 26 characters of base32, 130 random bits.
#[derive(Clone, PartialEq, Eq)]
pub struct InviteToken(String);

impl InviteToken {
    const LEN: usize = 26;
    const DIGITS: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
    /// Nothing longer is looked up.
    const LEN_MAX: usize = 128;

    /// # Errors
    /// If the system has no randomness.
    pub fn generate() -> Result<InviteToken, StoreError> {
        let mut bytes = [0u8; Self::LEN];
        getrandom::fill(&mut bytes).map_err(|e| StoreError::io("make a token", e))?;
        // 256 is a multiple of 32: no digit is likelier than another.
        let text = bytes.iter().map(|byte| char::from(Self::DIGITS[usize::from(byte % 32)]));
        let token = InviteToken(text.collect());
        bytes.zeroize();
        Ok(token)
    }

    /// A token that somebody presents. `None` if it cannot be one of ours.
    pub fn presented(text: &str) -> Option<InviteToken> {
        let fits = !text.is_empty() && text.len() <= Self::LEN_MAX;
        fits.then(|| InviteToken(text.to_owned()))
    }

    /// The token itself, for the one who is to hand it on.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    fn hash(&self) -> [u8; 32] {
        Sha256::digest(self.0.as_bytes()).into()
    }
}

impl Drop for InviteToken {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for InviteToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// What an invitation is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InviteKind {
    /// An account on the host.
    Account,
    /// To be the inviter's contact, with an account here if need be and allowed.
    Contact,
    /// A new password for an account that exists.
    Reset,
}

impl InviteKind {
    pub const ALL: [InviteKind; 3] = [InviteKind::Account, InviteKind::Contact, InviteKind::Reset];

    pub fn name(self) -> &'static str {
        match self {
            InviteKind::Account => "account",
            InviteKind::Contact => "contact",
            InviteKind::Reset => "reset",
        }
    }

    pub fn from_name(name: &str) -> Option<InviteKind> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// An invitation to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewInvite {
    pub kind: InviteKind,
    pub host: String,
    /// Who invites; `None`: an operator. Of a reset, whose password it is.
    pub inviter: Option<BareJid>,
    /// The local part that the new account will have; nobody else gets it meanwhile.
    pub name: Option<String>,
    /// An account can be made with it.
    pub registers: bool,
    /// The inviter and who comes in become each other's contacts.
    pub subscribes: bool,
    /// The groups in which the newcomer finds the inviter.
    pub groups: Vec<String>,
    /// For the inviter's own memory.
    pub note: String,
    pub expires: Now,
    /// How many may come in by it.
    pub uses_max: u32,
}

/// An invitation as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invite {
    pub id: InviteId,
    pub kind: InviteKind,
    pub host: String,
    pub inviter: Option<BareJid>,
    pub name: Option<String>,
    pub registers: bool,
    pub subscribes: bool,
    pub groups: Vec<String>,
    pub note: String,
    pub created: Now,
    pub expires: Now,
    pub uses_max: u32,
    pub uses: u32,
    pub revoked: Option<Now>,
}

/// Whether an invitation still opens something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InviteState {
    Open,
    Used,
    Expired,
    Revoked,
}

impl InviteState {
    pub fn name(self) -> &'static str {
        match self {
            InviteState::Open => "open",
            InviteState::Used => "used",
            InviteState::Expired => "expired",
            InviteState::Revoked => "revoked",
        }
    }
}

impl Invite {
    pub fn state(&self, now: Now) -> InviteState {
        match () {
            () if self.revoked.is_some() => InviteState::Revoked,
            () if self.uses >= self.uses_max => InviteState::Used,
            () if self.expires <= now => InviteState::Expired,
            () => InviteState::Open,
        }
    }

    /// The account that the invitation reserves, or resets.
    pub fn reserved(&self) -> Option<BareJid> {
        BareJid::parse(&format!("{}@{}", self.name.as_ref()?, self.host)).ok()
    }
}

/// See [`Store::invites`].
pub struct Invites<'a>(pub(super) &'a Store);

impl Store {
    pub fn invites(&self) -> Invites<'_> {
        Invites(self)
    }
}

impl Invites<'_> {
    /// Makes an invitation. `open_max` bounds those of the same inviter that are open.
    ///
    /// # Errors
    /// [`StoreError::AccountExists`] if the reserved name is taken, by an account or by another
    /// open invitation; [`StoreError::NoSuchAccount`] if the inviter has none;
    /// [`StoreError::TooMany`] at `open_max`.
    pub async fn create(
        &self,
        new: NewInvite,
        open_max: usize,
        now: Now,
    ) -> Result<(Invite, InviteToken), StoreError> {
        let token = InviteToken::generate()?;
        let hash = token.hash();
        let invite = self.0.write(move |tx| insert(tx, &new, &hash, open_max, now)).await?;
        if invite.registers || invite.kind == InviteKind::Reset {
            self.0.inviting.lock().insert(invite.host.clone());
        }
        Ok((invite, token))
    }

    /// May somebody hold an invitation to an account of this host? Never waits; true for a while
    /// after the last one has been used.
    pub fn wait_at(&self, host: &str) -> bool {
        self.0.inviting.lock().contains(host)
    }

    /// The invitation that this token belongs to, open or not.
    pub async fn find(&self, token: &InviteToken) -> Result<Option<Invite>, StoreError> {
        let hash = token.hash();
        self.0
            .read(move |reader| {
                let sql = format!("{SELECT} WHERE token = ?1");
                let mut found = reader.conn.prepare_cached(&sql)?;
                Ok(found.query_row([&hash[..]], invite).optional()?)
            })
            .await
    }

    pub async fn get(&self, id: InviteId) -> Result<Option<Invite>, StoreError> {
        self.0.read(move |reader| by_id(&reader.conn, id)).await
    }

    /// Who came in by it, oldest first.
    pub async fn uses(&self, id: InviteId) -> Result<Vec<(BareJid, Now)>, StoreError> {
        self.0
            .read(move |reader| {
                let mut rows = reader.conn.prepare_cached(
                    "SELECT jid, at FROM invite_uses WHERE invite = ?1 ORDER BY at, jid",
                )?;
                let rows = rows.query_map([id.0], |row| Ok((jid(row, 0)?, Now(row.get(1)?))))?;
                Ok(rows.collect::<Result<_, _>>()?)
            })
            .await
    }

    /// Newest first, below the id `before`; of one host or inviter, or of all.
    pub async fn list(
        &self,
        host: Option<&str>,
        inviter: Option<&BareJid>,
        before: Option<InviteId>,
        max: usize,
    ) -> Result<Vec<Invite>, StoreError> {
        let (host, inviter) = (host.map(str::to_owned), inviter.cloned());
        self.0
            .read(move |reader| {
                let sql = format!(
                    "{SELECT} WHERE invites.id < ?1 AND (?2 IS NULL OR host = ?2)
                     AND (?3 IS NULL OR jid = ?3) ORDER BY invites.id DESC LIMIT ?4"
                );
                let mut rows = reader.conn.prepare_cached(&sql)?;
                let before = before.map_or(i64::MAX, |id| id.0);
                let inviter = inviter.as_ref().map(|inviter| inviter.as_str());
                let rows = rows.query_map(params![before, host, inviter, max], invite)?;
                Ok(rows.collect::<Result<_, _>>()?)
            })
            .await
    }

    /// The open invitation that keeps this address for somebody.
    pub async fn reserving(
        &self,
        account: &BareJid,
        now: Now,
    ) -> Result<Option<InviteId>, StoreError> {
        let account = account.clone();
        self.0.read(move |reader| reserving(&reader.conn, &account, now)).await
    }

    /// Counts one use by `who`, a new contact. Who has used it before uses it up no further. Its
    /// expiry does not count here: it counted when the token was presented.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] if it is used up, revoked or gone.
    pub async fn redeem(
        &self,
        id: InviteId,
        who: &BareJid,
        now: Now,
    ) -> Result<Invite, StoreError> {
        let who = who.clone();
        self.0
            .write(move |tx| {
                let known = tx
                    .prepare_cached("SELECT 1 FROM invite_uses WHERE invite = ?1 AND jid = ?2")?
                    .exists(params![id.0, who.as_str()])?;
                match by_id(tx, id)?.filter(|invite| known && invite.revoked.is_none()) {
                    Some(invite) => Ok(invite),
                    None => redeem(tx, id, &who, now),
                }
            })
            .await
    }

    /// Makes an account and counts the use, both or neither. The expiry counted when the token was
    /// presented (XEP-0445 §4), and does not here.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] if the invitation makes no (further) account, or not this one;
    /// [`StoreError::AccountExists`].
    pub async fn register(
        &self,
        id: InviteId,
        account: &BareJid,
        keys: Vec<ScramRow>,
        now: Now,
    ) -> Result<(AccountId, Invite), StoreError> {
        let account = account.clone();
        self.0
            .write(move |tx| {
                let invite = redeem_for(tx, id, &account, now)?;
                Ok((accounts::insert(tx, account, &keys, now)?, invite))
            })
            .await
    }

    /// Replaces the keys of the account that a reset is for and counts the use, both or neither.
    /// Tokens of its devices end; sessions are the caller's to close.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] if it is no reset, is used up or revoked.
    pub async fn reset(
        &self,
        id: InviteId,
        keys: Vec<ScramRow>,
        now: Now,
    ) -> Result<BareJid, StoreError> {
        self.0
            .write(move |tx| {
                let found = by_id(tx, id)?.filter(|invite| invite.kind == InviteKind::Reset);
                let account = found.and_then(|invite| invite.reserved());
                let account = account.ok_or(StoreError::NotFound)?;
                redeem(tx, id, &account, now)?;
                let owner = accounts::id_of(tx, &account)?;
                accounts::replace_keys(tx, owner, &keys)?;
                Ok(account)
            })
            .await
    }

    /// Takes an invitation back. False: it was revoked already.
    ///
    /// # Errors
    /// [`StoreError::NotFound`].
    pub async fn revoke(&self, id: InviteId, now: Now) -> Result<bool, StoreError> {
        self.0
            .write(move |tx| {
                let invite = by_id(tx, id)?.ok_or(StoreError::NotFound)?;
                tx.prepare_cached(
                    "UPDATE invites SET revoked = ?2 WHERE id = ?1 AND revoked IS NULL",
                )?
                .execute(params![id.0, now.0])?;
                Ok(invite.revoked.is_none())
            })
            .await
    }

    /// Takes back all open invitations of an inviter; tells how many there were.
    pub async fn revoke_of(&self, inviter: &BareJid, now: Now) -> Result<usize, StoreError> {
        let inviter = inviter.clone();
        self.0
            .write(move |tx| {
                let id = accounts::id_of(tx, &inviter)?;
                let revoked = tx
                    .prepare_cached(
                        "UPDATE invites SET revoked = ?2 WHERE account = ?1 AND revoked IS NULL
                         AND uses < uses_max AND expires > ?2 AND kind != 'reset'",
                    )?
                    .execute(params![id.0, now.0])?;
                Ok(revoked)
            })
            .await
    }

    /// Forgets what has expired before a moment, in steps; tells how many there were.
    pub async fn sweep(&self, before: Now) -> Result<usize, StoreError> {
        let mut total = 0;
        loop {
            let gone = self.0.write(move |tx| sweep_step(tx, before)).await?;
            total += gone;
            if gone < SWEEP_MAX {
                let left = self.0.read(|reader| inviting(&reader.conn)).await?;
                *self.0.inviting.lock() = left;
                return Ok(total);
            }
        }
    }
}

const SELECT: &str =
    "SELECT invites.id, kind, host, jid, name, registers, subscribes, groups, note,
    created, expires, uses_max, uses, revoked
    FROM invites LEFT JOIN addresses ON addresses.id = invites.account";

fn jid(row: &Row<'_>, column: usize) -> rusqlite::Result<BareJid> {
    BareJid::parse(row.get_ref(column)?.as_str()?)
        .map_err(|e| rusqlite::Error::FromSqlConversionFailure(column, Type::Text, Box::new(e)))
}

fn invite(row: &Row<'_>) -> rusqlite::Result<Invite> {
    let kind = row.get_ref(1)?.as_str()?;
    let inviter = row.get_ref(3)? != rusqlite::types::ValueRef::Null;
    let groups = row.get_ref(7)?.as_str()?;
    Ok(Invite {
        id: InviteId(row.get(0)?),
        kind: InviteKind::from_name(kind).unwrap_or(InviteKind::Contact),
        host: row.get(2)?,
        inviter: if inviter { Some(jid(row, 3)?) } else { None },
        name: row.get(4)?,
        registers: row.get(5)?,
        subscribes: row.get(6)?,
        groups: serde_json::from_str(groups).unwrap_or_default(),
        note: row.get(8)?,
        created: Now(row.get(9)?),
        expires: Now(row.get(10)?),
        uses_max: row.get(11)?,
        uses: row.get(12)?,
        revoked: row.get::<_, Option<i64>>(13)?.map(Now),
    })
}

fn by_id(conn: &Connection, id: InviteId) -> Result<Option<Invite>, StoreError> {
    let sql = format!("{SELECT} WHERE invites.id = ?1");
    Ok(conn.prepare_cached(&sql)?.query_row([id.0], invite).optional()?)
}

pub(super) fn reserving(
    conn: &Connection,
    account: &BareJid,
    now: Now,
) -> Result<Option<InviteId>, StoreError> {
    let id = conn
        .prepare_cached(
            "SELECT id FROM invites WHERE host = ?1 AND name = ?2 AND kind != 'reset'
             AND expires > ?3 AND uses < uses_max AND revoked IS NULL",
        )?
        .query_row(params![account.domain(), account.local(), now.0], |row| row.get(0))
        .optional()?;
    Ok(id.map(InviteId))
}

fn insert(
    tx: &mut Tx<'_>,
    new: &NewInvite,
    hash: &[u8; 32],
    open_max: usize,
    now: Now,
) -> Result<Invite, StoreError> {
    let account = match &new.inviter {
        Some(inviter) => Some(accounts::id_of(tx, inviter)?),
        None => None,
    };
    if let Some(account) = account {
        let open: usize = tx
            .prepare_cached(
                "SELECT count(*) FROM invites WHERE account = ?1 AND expires > ?2
                 AND uses < uses_max AND revoked IS NULL",
            )?
            .query_row(params![account.0, now.0], |row| row.get(0))?;
        if open >= open_max {
            return Err(StoreError::TooMany { what: "open invitations", max: open_max });
        }
    }
    if let Some(name) = new.name.as_ref().filter(|_| new.kind != InviteKind::Reset) {
        let wanted = BareJid::parse(&format!("{name}@{}", new.host)).map_err(StoreError::bug)?;
        let taken = match accounts::id_of(tx, &wanted) {
            Ok(_) => true,
            Err(StoreError::NoSuchAccount) => reserving(tx, &wanted, now)?.is_some(),
            Err(error) => return Err(error),
        };
        if taken {
            return Err(StoreError::AccountExists);
        }
    }
    let groups = serde_json::to_string(&new.groups).map_err(StoreError::bug)?;
    tx.prepare_cached(
        "INSERT INTO invites (token, kind, host, account, name, registers, subscribes, groups, note,
         created, expires, uses_max) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
    )?
    .execute(params![
        &hash[..],
        new.kind.name(),
        new.host,
        account.map(|id| id.0),
        new.name,
        new.registers,
        new.subscribes,
        groups,
        new.note,
        now.0,
        new.expires.0,
        new.uses_max,
    ])?;
    let id = InviteId(tx.last_insert_rowid());
    by_id(tx, id)?.ok_or_else(|| StoreError::bug("an invitation is gone as it is made"))
}

/// Counts one use, if there is one left.
fn redeem(tx: &Tx<'_>, id: InviteId, who: &BareJid, now: Now) -> Result<Invite, StoreError> {
    let invite = by_id(tx, id)?.filter(|invite| invite.revoked.is_none());
    let invite = invite.ok_or(StoreError::NotFound)?;
    let counted = tx
        .prepare_cached("UPDATE invites SET uses = uses + 1 WHERE id = ?1 AND uses < uses_max")?
        .execute([id.0])?;
    if counted == 0 {
        return Err(StoreError::NotFound);
    }
    tx.prepare_cached("INSERT OR REPLACE INTO invite_uses (invite, jid, at) VALUES (?1, ?2, ?3)")?
        .execute(params![id.0, who.as_str(), now.0])?;
    Ok(Invite { uses: invite.uses + 1, ..invite })
}

/// Counts the use by an account that is being made, if the invitation makes it.
pub(super) fn redeem_for(
    tx: &Tx<'_>,
    id: InviteId,
    account: &BareJid,
    now: Now,
) -> Result<Invite, StoreError> {
    let invite = redeem(tx, id, account, now)?;
    let fits = invite.registers
        && invite.host == account.domain()
        && invite.reserved().is_none_or(|name| name == *account);
    if fits { Ok(invite) } else { Err(StoreError::NotFound) }
}

/// The hosts that have invitations by which accounts are made, or get a new password.
pub(super) fn inviting(conn: &Connection) -> Result<HashSet<String>, StoreError> {
    let mut rows = conn.prepare_cached(
        "SELECT DISTINCT host FROM invites
         WHERE (registers OR kind = 'reset') AND revoked IS NULL AND uses < uses_max",
    )?;
    let rows = rows.query_map([], |row| row.get(0))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn sweep_step(tx: &Tx<'_>, before: Now) -> Result<usize, StoreError> {
    tx.prepare_cached(
        "DELETE FROM invite_uses WHERE invite IN
         (SELECT id FROM invites WHERE expires <= ?1 ORDER BY expires LIMIT ?2)",
    )?
    .execute(params![before.0, SWEEP_MAX])?;
    let gone = tx
        .prepare_cached(
            "DELETE FROM invites WHERE id IN
             (SELECT id FROM invites WHERE expires <= ?1 ORDER BY expires LIMIT ?2)",
        )?
        .execute(params![before.0, SWEEP_MAX])?;
    Ok(gone)
}

/// An account that is erased takes its invitations and resets with it.
pub(super) fn erase_account(tx: &Tx<'_>, id: AccountId) -> Result<(), StoreError> {
    tx.prepare_cached(
        "DELETE FROM invite_uses WHERE invite IN (SELECT id FROM invites WHERE account = ?1)",
    )?
    .execute([id.0])?;
    tx.prepare_cached("DELETE FROM invites WHERE account = ?1")?.execute([id.0])?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::store::tests::{NOON, account, jid, open};

    const HOUR: Duration = Duration::from_secs(3600);

    fn new(kind: InviteKind) -> NewInvite {
        NewInvite {
            kind,
            host: "a".to_owned(),
            inviter: None,
            name: None,
            registers: kind != InviteKind::Reset,
            subscribes: false,
            groups: Vec::new(),
            note: String::new(),
            expires: NOON.plus(HOUR),
            uses_max: 1,
        }
    }

    #[tokio::test]
    async fn an_invitation_is_found_by_its_token_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let store = open(&dir);
        account(&store, "romeo@a").await;
        let wanted = NewInvite {
            inviter: Some(jid("romeo@a")),
            name: Some("juliet".into()),
            subscribes: true,
            groups: vec!["Friends".into(), "Verona".into()],
            note: "for Juliet".into(),
            ..new(InviteKind::Account)
        };
        let (invite, token) = store.invites().create(wanted, 10, NOON).await.unwrap();
        assert_eq!(store.invites().find(&token).await.unwrap(), Some(invite.clone()));
        assert_eq!(invite.inviter, Some(jid("romeo@a")));
        assert_eq!(invite.reserved(), Some(jid("juliet@a")));
        assert_eq!(invite.groups, ["Friends", "Verona"]);
        assert_eq!(invite.state(NOON), InviteState::Open);
        assert_eq!(invite.state(NOON.plus(HOUR)), InviteState::Expired);
        let other = InviteToken::generate().unwrap();
        assert_eq!(store.invites().find(&other).await.unwrap(), None);
        let id = invite.id.0.to_string();
        let guess = InviteToken::presented(&id).unwrap();
        assert_eq!(store.invites().find(&guess).await.unwrap(), None);
        // Not in the database, not in a log.
        store.shutdown().await.unwrap();
        let stored = std::fs::read(dir.path().join("coucou.db")).unwrap();
        let text = token.reveal().as_bytes();
        assert!(!stored.windows(text.len()).any(|part| part == text));
        assert_eq!(format!("{token:?}"), "***");
    }

    #[test]
    fn tokens_are_alphanumeric_distinct_and_of_bounded_length() {
        let tokens: Vec<_> = (0..100).map(|_| InviteToken::generate().unwrap()).collect();
        for token in &tokens {
            assert_eq!(token.reveal().len(), 26);
            assert!(token.reveal().bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit()));
            assert_eq!(tokens.iter().filter(|other| *other == token).count(), 1);
        }
        assert!(InviteToken::presented("").is_none());
        assert!(InviteToken::presented(&"a".repeat(129)).is_none());
    }

    #[tokio::test]
    async fn uses_are_counted_once_each_and_never_past_their_number() {
        let dir = tempfile::tempdir().unwrap();
        let store = open(&dir);
        let wanted = NewInvite { uses_max: 5, ..new(InviteKind::Contact) };
        let (invite, _) = store.invites().create(wanted, 10, NOON).await.unwrap();
        let mut tasks = Vec::new();
        for n in 0..40 {
            let (store, id) = (store.clone(), invite.id);
            tasks.push(tokio::spawn(async move {
                // Everybody tries twice.
                let who = jid(&format!("u{}@b", n / 2));
                store.invites().redeem(id, &who, NOON).await.is_ok()
            }));
        }
        let mut passed = 0;
        for task in tasks {
            passed += usize::from(task.await.unwrap());
        }
        let uses = store.invites().uses(invite.id).await.unwrap();
        assert_eq!(uses.len(), 5);
        assert!((5..=10).contains(&passed), "{passed}");
        let now = store.invites().get(invite.id).await.unwrap().unwrap();
        assert_eq!((now.uses, now.state(NOON)), (5, InviteState::Used));
        // Who was counted is let through again, also after the expiry.
        let late = NOON.plus(HOUR * 2);
        assert!(store.invites().redeem(invite.id, &uses[0].0, late).await.is_ok());
        let late = store.invites().redeem(invite.id, &jid("late@b"), NOON).await;
        assert!(matches!(late, Err(StoreError::NotFound)));
    }

    #[tokio::test]
    async fn an_account_and_the_use_come_together_or_not_at_all() {
        let dir = tempfile::tempdir().unwrap();
        let store = open(&dir);
        account(&store, "taken@a").await;
        let (invite, _) = store.invites().create(new(InviteKind::Account), 10, NOON).await.unwrap();
        let register = async |name: &str| {
            store.invites().register(invite.id, &jid(name), Vec::new(), NOON).await
        };
        assert!(matches!(register("taken@a").await, Err(StoreError::AccountExists)));
        assert!(matches!(register("juliet@b").await, Err(StoreError::NotFound)));
        assert_eq!(store.invites().get(invite.id).await.unwrap().unwrap().uses, 0);
        assert!(store.invites().uses(invite.id).await.unwrap().is_empty());
        let (_, used) = register("juliet@a").await.unwrap();
        assert_eq!(used.uses, 1);
        assert!(store.accounts().find(&jid("juliet@a")).await.unwrap().is_some());
        assert!(matches!(register("nurse@a").await, Err(StoreError::NotFound)));
        assert!(store.accounts().find(&jid("nurse@a")).await.unwrap().is_none());
        // Nor does it bring back an account that was removed.
        store.accounts().remove(&jid("juliet@a")).await.unwrap();
        assert!(matches!(register("juliet@a").await, Err(StoreError::NotFound)));
    }

    #[tokio::test]
    async fn a_reserved_name_is_kept_until_the_invitation_ends() {
        let dir = tempfile::tempdir().unwrap();
        let store = open(&dir);
        let named = || NewInvite { name: Some("juliet".into()), ..new(InviteKind::Account) };
        let (invite, _) = store.invites().create(named(), 10, NOON).await.unwrap();
        let juliet = jid("juliet@a");
        let reserving = async |now| store.invites().reserving(&juliet, now).await.unwrap();
        assert_eq!(reserving(NOON).await, Some(invite.id));
        assert_eq!(reserving(NOON.plus(HOUR)).await, None);
        let again = store.invites().create(named(), 10, NOON).await;
        assert!(matches!(again, Err(StoreError::AccountExists)));
        let other = store.invites().register(invite.id, &jid("nurse@a"), Vec::new(), NOON).await;
        assert!(matches!(other, Err(StoreError::NotFound)));
        assert!(store.invites().revoke(invite.id, NOON).await.unwrap());
        assert!(!store.invites().revoke(invite.id, NOON).await.unwrap());
        assert_eq!(reserving(NOON).await, None);
        let late = store.invites().register(invite.id, &juliet, Vec::new(), NOON).await;
        assert!(matches!(late, Err(StoreError::NotFound)));
        assert!(store.invites().create(named(), 10, NOON).await.is_ok());
    }

    #[tokio::test]
    async fn open_invitations_are_bounded_and_listed_page_by_page() {
        let dir = tempfile::tempdir().unwrap();
        let store = open(&dir);
        account(&store, "romeo@a").await;
        let by = || NewInvite { inviter: Some(jid("romeo@a")), ..new(InviteKind::Contact) };
        for _ in 0..3 {
            store.invites().create(by(), 3, NOON).await.unwrap();
        }
        let fourth = store.invites().create(by(), 3, NOON).await;
        assert!(matches!(fourth, Err(StoreError::TooMany { max: 3, .. })));
        store.invites().create(new(InviteKind::Account), 3, NOON).await.unwrap();
        let list = async |inviter: Option<&BareJid>, before: Option<i64>| {
            let before = before.map(InviteId);
            let list = store.invites().list(Some("a"), inviter, before, 2).await.unwrap();
            list.iter().map(|invite| invite.id.0).collect::<Vec<_>>()
        };
        assert_eq!(list(None, None).await, [4, 3]);
        assert_eq!(list(None, Some(3)).await, [2, 1]);
        assert_eq!(list(Some(&jid("romeo@a")), None).await, [3, 2]);
        assert!(store.invites().list(Some("b"), None, None, 9).await.unwrap().is_empty());
        assert_eq!(store.invites().revoke_of(&jid("romeo@a"), NOON).await.unwrap(), 3);
        assert!(store.invites().create(by(), 3, NOON).await.is_ok());
    }

    #[tokio::test]
    async fn what_has_expired_is_swept_and_an_erased_account_takes_its_own_along() {
        let dir = tempfile::tempdir().unwrap();
        let store = open(&dir);
        account(&store, "romeo@a").await;
        let by = NewInvite { inviter: Some(jid("romeo@a")), ..new(InviteKind::Contact) };
        let (his, _) = store.invites().create(by, 10, NOON).await.unwrap();
        let long = NewInvite { expires: NOON.plus(HOUR * 9), ..new(InviteKind::Contact) };
        let (long, _) = store.invites().create(long, 10, NOON).await.unwrap();
        store.invites().create(new(InviteKind::Account), 10, NOON).await.unwrap();
        store.accounts().remove(&jid("romeo@a")).await.unwrap();
        assert_eq!(store.invites().get(his.id).await.unwrap(), None);
        assert_eq!(store.invites().sweep(NOON.plus(HOUR)).await.unwrap(), 1);
        let left = store.invites().list(None, None, None, 9).await.unwrap();
        assert_eq!(left.iter().map(|invite| invite.id).collect::<Vec<_>>(), [long.id]);
    }

    #[tokio::test]
    async fn a_reset_changes_the_keys_of_its_account_once() {
        let dir = tempfile::tempdir().unwrap();
        let store = open(&dir);
        account(&store, "romeo@a").await;
        let reset = NewInvite {
            inviter: Some(jid("romeo@a")),
            name: Some("romeo".into()),
            ..new(InviteKind::Reset)
        };
        let (reset, _) = store.invites().create(reset, 10, NOON).await.unwrap();
        let key = ScramRow {
            hash: "SHA-1".into(),
            salt: vec![1],
            iterations: 4096,
            stored_key: vec![2],
            server_key: vec![3],
        };
        let done = store.invites().reset(reset.id, vec![key.clone()], NOON).await.unwrap();
        assert_eq!(done, jid("romeo@a"));
        assert!(store.accounts().keys(&done).await.unwrap() == [key]);
        assert_eq!(
            store.invites().get(reset.id).await.unwrap().unwrap().state(NOON),
            InviteState::Used
        );
        let again = store.invites().reset(reset.id, Vec::new(), NOON).await;
        assert!(matches!(again, Err(StoreError::NotFound)));
        let (open, _) = store.invites().create(new(InviteKind::Account), 1, NOON).await.unwrap();
        let wrong = store.invites().reset(open.id, Vec::new(), NOON).await;
        assert!(matches!(wrong, Err(StoreError::NotFound)));
    }
}
