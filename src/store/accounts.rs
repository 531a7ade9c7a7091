//! Accounts and their SCRAM keys.

use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::archive::retention;
use super::resume::log::SmLog;
use super::writer::Tx;
use super::{AccountId, Store, StoreError, devices, groups, invites, offline, registrations};
use crate::access::names::skeleton;
use crate::jid::BareJid;
use crate::time::Now;

/// An account as lists show it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    pub id: AccountId,
    pub jid: BareJid,
    pub created: Now,
    pub last_seen: Option<LastSeen>,
    pub lock: Option<Lock>,
}

/// XEP-0012.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastSeen {
    pub at: Now,
    /// The status text of the last unavailable presence.
    pub status: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lock {
    pub since: Now,
    pub reason: String,
}

/// SCRAM keys for one hash function, as `auth::credentials` derives them; opaque here.
#[derive(Clone, PartialEq, Eq)]
pub struct ScramRow {
    /// `SHA-1`, `SHA-256`, `SHA-512`.
    pub hash: String,
    pub salt: Vec<u8>,
    pub iterations: u32,
    pub stored_key: Vec<u8>,
    pub server_key: Vec<u8>,
}

/// See [`Store::accounts`].
pub struct Accounts<'a>(pub(super) &'a Store);

impl Store {
    pub fn accounts(&self) -> Accounts<'_> {
        Accounts(self)
    }
}

impl Accounts<'_> {
    /// [`StoreError::AccountExists`] if the name is taken.
    pub async fn create(
        &self,
        jid: &BareJid,
        keys: Vec<ScramRow>,
        now: Now,
    ) -> Result<AccountId, StoreError> {
        let jid = jid.clone();
        self.0.write(move |tx| insert(tx, jid, &keys, now)).await
    }

    pub async fn find(&self, jid: &BareJid) -> Result<Option<Account>, StoreError> {
        let jid = jid.clone();
        self.0
            .read(move |reader| {
                let sql = format!("{SELECT} WHERE jid = ?1 AND NOT erasing");
                Ok(reader
                    .conn
                    .prepare_cached(&sql)?
                    .query_row([jid.as_str()], account)
                    .optional()?)
            })
            .await
    }

    /// The bare JID of an account; `None` once it is removed.
    pub async fn address(&self, id: AccountId) -> Result<Option<BareJid>, StoreError> {
        self.0
            .read(move |reader| {
                let sql = format!("{SELECT} WHERE accounts.id = ?1 AND NOT erasing");
                let found =
                    reader.conn.prepare_cached(&sql)?.query_row([id.0], account).optional()?;
                Ok(found.map(|account| account.jid))
            })
            .await
    }

    /// A page of a host's accounts by name: those with `prefix`, after the name `after`.
    pub async fn list(
        &self,
        host: &str,
        prefix: &str,
        after: Option<&str>,
        max: usize,
    ) -> Result<Vec<Account>, StoreError> {
        let (host, prefix) = (host.to_owned(), prefix.to_owned());
        let after = after.unwrap_or_default().to_owned();
        self.0
            .read(move |reader| {
                // Names that begin with the prefix lie between it and its greatest continuation.
                let sql = format!(
                    "{SELECT} WHERE host = ?1 AND name >= ?2 AND name < ?3 AND name > ?4
                     AND NOT erasing ORDER BY name LIMIT ?5"
                );
                let end = format!("{prefix}{}", char::MAX);
                let mut rows = reader.conn.prepare_cached(&sql)?;
                let rows = rows.query_map(params![host, prefix, end, after, max], account)?;
                Ok(rows.collect::<Result<_, _>>()?)
            })
            .await
    }

    pub async fn count(&self, host: &str) -> Result<u64, StoreError> {
        let host = host.to_owned();
        self.0
            .read(move |reader| {
                Ok(reader
                    .conn
                    .prepare_cached(
                        "SELECT count(*) FROM accounts WHERE host = ?1 AND NOT erasing",
                    )?
                    .query_row([host], |row| row.get(0))?)
            })
            .await
    }

    /// Erases the account, which may lie in the bin, and all that is its own: archive, offline
    /// messages, roster, vCard ….
    /// Messages stay in the archives of those it spoke with. Ends when all is gone; what a crash
    /// interrupts is finished at the next start. The name is free again after that.
    pub async fn remove(&self, jid: &BareJid) -> Result<(), StoreError> {
        let name = jid.clone();
        let id = self
            .0
            .write(move |tx| {
                let id = any_id_of(tx, &name)?;
                tx.prepare_cached("UPDATE accounts SET erasing = 1 WHERE id = ?1")?
                    .execute([id.0])?;
                erase_small(tx, id)?;
                tx.touch(name);
                Ok(id)
            })
            .await?;
        while self.0.write(move |tx| erase_step(tx, id)).await? {}
        Ok(())
    }

    /// `None` unlocks, which also lets in who waits for approval. Locking ends all tokens; sessions
    /// are the caller's to close.
    pub async fn set_lock(&self, jid: &BareJid, lock: Option<Lock>) -> Result<(), StoreError> {
        let jid = jid.clone();
        self.0
            .write(move |tx| {
                let id = id_of(tx, &jid)?;
                let (since, reason) = match lock {
                    Some(lock) => (Some(lock.since.0), lock.reason),
                    None => (None, String::new()),
                };
                match since {
                    Some(_) => devices::drop_tokens(tx, id)?,
                    None => registrations::settle(tx, id)?,
                }
                tx.prepare_cached(
                    "UPDATE accounts SET locked = ?2, lock_reason = ?3 WHERE id = ?1",
                )?
                .execute(params![id.0, since, reason])?;
                tx.touch(jid);
                Ok(())
            })
            .await
    }

    /// Every count of PBKDF2 rounds that some account's keys have, ascending.
    pub async fn iterations(&self) -> Result<Vec<u32>, StoreError> {
        self.0
            .read(|reader| {
                let mut rows = reader.conn.prepare_cached(
                    "SELECT DISTINCT iterations FROM scram_keys ORDER BY iterations",
                )?;
                let rows = rows.query_map([], |row| row.get(0))?;
                Ok(rows.collect::<Result<_, _>>()?)
            })
            .await
    }

    /// All keys of an account; empty for an unknown one.
    pub async fn keys(&self, jid: &BareJid) -> Result<Vec<ScramRow>, StoreError> {
        let jid = jid.clone();
        self.0
            .read(move |reader| {
                let mut rows = reader.conn.prepare_cached(
                    "SELECT hash, salt, iterations, stored_key, server_key
                     FROM addresses JOIN accounts USING (id) JOIN scram_keys ON account = accounts.id
                     WHERE jid = ?1 AND NOT erasing ORDER BY hash",
                )?;
                let rows = rows.query_map([jid.as_str()], |row| {
                    Ok(ScramRow {
                        hash: row.get(0)?,
                        salt: row.get(1)?,
                        iterations: row.get(2)?,
                        stored_key: row.get(3)?,
                        server_key: row.get(4)?,
                    })
                })?;
                Ok(rows.collect::<Result<_, _>>()?)
            })
            .await
    }

    /// Replaces all keys and ends all tokens: the password was changed.
    pub async fn set_keys(&self, jid: &BareJid, keys: Vec<ScramRow>) -> Result<(), StoreError> {
        let jid = jid.clone();
        self.0
            .write(move |tx| {
                let id = id_of(tx, &jid)?;
                replace_keys(tx, id, &keys)
            })
            .await
    }

    /// Adds keys for one more hash of the same password (XEP-0480); tokens stay.
    pub async fn add_keys(&self, jid: &BareJid, keys: ScramRow) -> Result<(), StoreError> {
        let jid = jid.clone();
        self.0
            .write(move |tx| {
                let id = id_of(tx, &jid)?;
                put_key(tx, id, &keys)
            })
            .await
    }

    pub async fn set_last_seen(&self, id: AccountId, seen: LastSeen) -> Result<(), StoreError> {
        self.0
            .write(move |tx| {
                tx.prepare_cached("UPDATE accounts SET seen = ?2, seen_status = ?3 WHERE id = ?1")?
                    .execute(params![id.0, seen.at.0, seen.status])?;
                Ok(())
            })
            .await
    }
}

pub(super) const SELECT: &str =
    "SELECT accounts.id, jid, created, seen, seen_status, locked, lock_reason
    FROM accounts JOIN addresses USING (id)";

pub(super) fn account(row: &Row<'_>) -> rusqlite::Result<Account> {
    let jid = BareJid::parse(row.get_ref(1)?.as_str()?)
        .map_err(|e| rusqlite::Error::FromSqlConversionFailure(1, Type::Text, Box::new(e)))?;
    let seen: Option<i64> = row.get(3)?;
    let locked: Option<i64> = row.get(5)?;
    let (status, reason) = (row.get(4)?, row.get(6)?);
    Ok(Account {
        id: AccountId(row.get(0)?),
        jid,
        created: Now(row.get(2)?),
        last_seen: seen.map(|at| LastSeen { at: Now(at), status }),
        lock: locked.map(|since| Lock { since: Now(since), reason }),
    })
}

/// Makes an account in the transaction of its caller.
pub(super) fn insert(
    tx: &mut Tx<'_>,
    jid: BareJid,
    keys: &[ScramRow],
    now: Now,
) -> Result<AccountId, StoreError> {
    let id = AccountId(tx.address(&jid)?);
    let name = jid.local().ok_or(StoreError::NoSuchAccount)?;
    let added = tx
        .prepare_cached(
            "INSERT OR IGNORE INTO accounts (id, host, name, created, skeleton)
             VALUES (?1, ?2, ?3, ?4, ?5)",
        )?
        .execute(params![id.0, jid.domain(), name, now.0, skeleton(name)])?;
    if added == 0 {
        return Err(StoreError::AccountExists);
    }
    keys.iter().try_for_each(|key| put_key(tx, id, key))?;
    tx.touch(jid);
    Ok(id)
}

pub(super) fn id_of(tx: &Connection, jid: &BareJid) -> Result<AccountId, StoreError> {
    tx.prepare_cached(
        "SELECT id FROM addresses JOIN accounts USING (id) WHERE jid = ?1 AND NOT erasing",
    )?
    .query_row([jid.as_str()], |row| row.get(0).map(AccountId))
    .optional()?
    .ok_or(StoreError::NoSuchAccount)
}

/// An account that is there or in the bin.
pub(super) fn any_id_of(tx: &Connection, jid: &BareJid) -> Result<AccountId, StoreError> {
    tx.prepare_cached(
        "SELECT id FROM addresses JOIN accounts USING (id) WHERE jid = ?1 AND erasing != 1",
    )?
    .query_row([jid.as_str()], |row| row.get(0).map(AccountId))
    .optional()?
    .ok_or(StoreError::NoSuchAccount)
}

/// The facts of this account have changed.
pub(super) fn touch(tx: &mut Tx<'_>, id: AccountId) -> Result<(), StoreError> {
    let jid: Option<String> = tx
        .prepare_cached(
            "SELECT jid FROM addresses JOIN accounts USING (id) WHERE id = ?1 AND erasing != 1",
        )?
        .query_row([id.0], |row| row.get(0))
        .optional()?;
    let jid = jid.ok_or(StoreError::NoSuchAccount)?;
    tx.touch(BareJid::parse(&jid).map_err(StoreError::bug)?);
    Ok(())
}

pub(super) fn replace_keys(
    tx: &mut Tx<'_>,
    id: AccountId,
    keys: &[ScramRow],
) -> Result<(), StoreError> {
    devices::drop_tokens(tx, id)?;
    tx.prepare_cached("DELETE FROM scram_keys WHERE account = ?1")?.execute([id.0])?;
    keys.iter().try_for_each(|key| put_key(tx, id, key))
}

fn put_key(tx: &Tx<'_>, id: AccountId, key: &ScramRow) -> Result<(), StoreError> {
    tx.prepare_cached(
        "INSERT OR REPLACE INTO scram_keys (account, hash, salt, iterations, stored_key, server_key)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?
    .execute(params![id.0, key.hash, key.salt, key.iterations, key.stored_key, key.server_key])?;
    Ok(())
}

/// Everything of an account that is small enough for one transaction.
fn erase_small(tx: &mut Tx<'_>, id: AccountId) -> Result<(), StoreError> {
    SmLog::close_account(tx, id)?;
    devices::drop_tokens(tx, id)?;
    groups::leave_all(tx, id)?;
    invites::erase_account(tx, id)?;
    for table in [
        "scram_keys",
        "devices",
        "roster_items",
        "roster_requests",
        "blocks",
        "vcards",
        "private",
        "push",
        "welcomes",
        "approvals",
        "bin",
        "motd_seen",
    ] {
        tx.execute(&format!("DELETE FROM {table} WHERE account = ?1"), [id.0])?;
    }
    tx.prepare_cached("DELETE FROM reports WHERE reporter = ?1")?.execute([id.0])?;
    // From here on the archive is complete: an account that is being erased gets no messages.
    retention::settle(tx)
}

/// Removes a piece of an account that is being erased; false when it was the last.
fn erase_step(tx: &mut Tx<'_>, id: AccountId) -> Result<bool, StoreError> {
    if offline::clear_step(tx, id)? || retention::clear_step(tx, id.0)? {
        return Ok(true);
    }
    tx.prepare_cached("DELETE FROM accounts WHERE id = ?1 AND erasing = 1")?.execute([id.0])?;
    Ok(false)
}

/// At start: a step of an erasure that the last process did not finish; false when none is left.
pub(super) fn erase_interrupted(tx: &mut Tx<'_>) -> Result<bool, StoreError> {
    let id = tx
        .prepare_cached("SELECT id FROM accounts WHERE erasing = 1 LIMIT 1")?
        .query_row([], |row| row.get(0).map(AccountId))
        .optional()?;
    match id {
        Some(id) => erase_step(tx, id).map(|_| true),
        None => Ok(false),
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::jid::Jid;
    use crate::store::archive::ArchiveQuery;
    use crate::store::private::PrivateLimits;
    use crate::store::tests::{NOON, account, integrity, jid, open, row};
    use crate::store::{Lookup, MessageFlags};

    fn key(hash: &str, byte: u8) -> ScramRow {
        ScramRow {
            hash: hash.into(),
            salt: vec![byte; 16],
            iterations: 10_000,
            stored_key: vec![byte; 32],
            server_key: vec![byte + 1; 32],
        }
    }

    #[tokio::test]
    async fn the_rounds_in_use_are_told_once_each() {
        let dir = tempfile::tempdir().unwrap();
        let store = open(&dir);
        assert!(store.accounts().iterations().await.unwrap().is_empty());
        let older = ScramRow { iterations: 4_096, ..key("SHA-1", 1) };
        for (name, keys) in
            [("a@h", vec![key("SHA-1", 1), key("SHA-256", 2)]), ("b@h", vec![older])]
        {
            store.accounts().create(&jid(name), keys, NOON).await.unwrap();
        }
        assert_eq!(store.accounts().iterations().await.unwrap(), [4_096, 10_000]);
    }

    #[tokio::test]
    async fn an_account_is_created_once_with_its_keys() {
        let dir = tempfile::tempdir().unwrap();
        let store = open(&dir);
        let alice = jid("alice@a");
        let keys = vec![key("SHA-1", 1), key("SHA-256", 2)];
        let id = store.accounts().create(&alice, keys.clone(), NOON).await.unwrap();
        let again = store.accounts().create(&alice, vec![key("SHA-1", 9)], NOON).await;
        assert!(matches!(again, Err(StoreError::AccountExists)));
        assert!(store.accounts().keys(&alice).await.unwrap() == keys);
        assert!(store.accounts().keys(&jid("bob@a")).await.unwrap().is_empty());
        store.accounts().add_keys(&alice, key("SHA-512", 3)).await.unwrap();
        assert_eq!(store.accounts().keys(&alice).await.unwrap().len(), 3);
        store.accounts().set_keys(&alice, vec![key("SHA-256", 5)]).await.unwrap();
        assert!(store.accounts().keys(&alice).await.unwrap() == [key("SHA-256", 5)]);
        assert_eq!(store.accounts().address(id).await.unwrap(), Some(alice.clone()));
        let found = store.accounts().find(&alice).await.unwrap().unwrap();
        let expected = Account { id, jid: alice, created: NOON, last_seen: None, lock: None };
        assert_eq!(found, expected);
    }

    #[tokio::test]
    async fn lists_are_paged_and_filtered_by_prefix() {
        let dir = tempfile::tempdir().unwrap();
        let store = open(&dir);
        for name in ["anna@a", "ann@a", "bob@a", "annika@b", "änne@a"] {
            account(&store, name).await;
        }
        let names = async |prefix: &str, after: Option<&str>, max| {
            let list = store.accounts().list("a", prefix, after, max).await.unwrap();
            list.into_iter().map(|account| account.jid.to_string()).collect::<Vec<_>>()
        };
        assert_eq!(names("", None, 9).await, ["ann@a", "anna@a", "bob@a", "änne@a"]);
        assert_eq!(names("ann", None, 9).await, ["ann@a", "anna@a"]);
        assert_eq!(names("", Some("ann"), 2).await, ["anna@a", "bob@a"]);
        assert_eq!(names("ä", None, 9).await, ["änne@a"]);
        assert_eq!(store.accounts().count("a").await.unwrap(), 4);
    }

    #[tokio::test]
    async fn locks_and_last_activity_are_kept_and_the_cache_follows() {
        let dir = tempfile::tempdir().unwrap();
        let store = open(&dir);
        let alice = jid("alice@a");
        assert!(matches!(store.facts_cached("alice@a"), Lookup::Unknown));
        assert_eq!(store.facts(&alice).await.unwrap(), None);
        assert!(matches!(store.facts_cached("alice@a"), Lookup::NoAccount));
        let id = account(&store, "alice@a").await;
        assert!(!store.facts(&alice).await.unwrap().unwrap().locked);
        let lock = Lock { since: NOON, reason: "spam".into() };
        store.accounts().set_lock(&alice, Some(lock.clone())).await.unwrap();
        assert!(matches!(store.facts_cached("alice@a"), Lookup::Unknown));
        assert!(store.facts(&alice).await.unwrap().unwrap().locked);
        assert!(matches!(store.facts_cached("alice@a"), Lookup::Known(_)));
        let seen = LastSeen { at: NOON, status: "bye".into() };
        store.accounts().set_last_seen(id, seen.clone()).await.unwrap();
        let found = store.accounts().find(&alice).await.unwrap().unwrap();
        assert_eq!((found.lock, found.last_seen), (Some(lock), Some(seen)));
        store.accounts().set_lock(&alice, None).await.unwrap();
        assert_eq!(store.accounts().find(&alice).await.unwrap().unwrap().lock, None);
        let nobody = store.accounts().set_lock(&jid("nobody@a"), None).await;
        assert!(matches!(nobody, Err(StoreError::NoSuchAccount)));
    }

    /// All tables are searched for the account's number: who adds one must erase it, too.
    #[tokio::test]
    async fn a_removed_account_leaves_nothing_but_what_others_keep() {
        let dir = tempfile::tempdir().unwrap();
        let store = open(&dir);
        let (alice, bob) = (account(&store, "alice@a").await, account(&store, "bob@a").await);
        for n in 0..700 {
            let mut row = row(&store, "bob@a/x", "alice@a", &n.to_string(), NOON);
            if n % 10 == 0 {
                row.flags |= MessageFlags::OFFLINE;
            }
            store.append(row).unwrap();
            let mut own = super::super::tests::row(&store, "alice@a/x", "carol@c", "own", NOON);
            own.flags = MessageFlags::ARCHIVED_FROM;
            own.text = Some("own".into());
            store.append(own).unwrap();
        }
        let limits = PrivateLimits { elements_max: 10, bytes_max: 1_000 };
        store.private().set(alice, "x", "y", Bytes::from_static(b"<x/>"), limits).await.unwrap();
        store.vcards().set(alice, Bytes::from_static(b"<vCard/>")).await.unwrap();
        store.blocks().block(alice, vec![Jid::parse("spam.example").unwrap()], 5).await.unwrap();
        store.accounts().set_keys(&jid("alice@a"), vec![key("SHA-1", 1)]).await.unwrap();
        store.accounts().remove(&jid("alice@a")).await.unwrap();
        assert_eq!(store.accounts().find(&jid("alice@a")).await.unwrap(), None);
        let page = store.archive().page(ArchiveQuery::of(bob)).await.unwrap();
        assert_eq!(page.count, Some(700));
        let left = store
            .read(move |reader| {
                let conn = &reader.conn;
                let mut left = Vec::new();
                let columns = conn
                    .prepare(
                        "SELECT t.name, c.name FROM pragma_table_list AS t, pragma_table_info(t.name) AS c
                         WHERE t.type = 'table' AND c.name IN ('account', 'owner', 'reporter')
                         UNION SELECT 'accounts', 'id'",
                    )?
                    .query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?)))?
                    .collect::<Result<Vec<_>, _>>()?;
                assert!(columns.len() >= 14, "{columns:?}");
                for (table, column) in columns {
                    let sql = format!("SELECT 1 FROM {table} WHERE {column} = ?1");
                    if conn.prepare(&sql)?.exists([alice.0])? {
                        left.push(table);
                    }
                }
                let bodies: u64 = conn.query_row("SELECT count(*) FROM messages", [], |row| row.get(0))?;
                assert_eq!(bodies, 700);
                Ok(left)
            })
            .await
            .unwrap();
        assert_eq!(left, Vec::<String>::new());
        // The name is free, and whoever takes it finds nothing of the one before.
        let again = account(&store, "alice@a").await;
        assert_eq!(store.archive().page(ArchiveQuery::of(again)).await.unwrap().count, Some(0));
        drop(store);
        integrity(&dir);
    }

    #[tokio::test]
    async fn an_interrupted_erasure_is_finished_at_the_next_start() {
        let dir = tempfile::tempdir().unwrap();
        let store = open(&dir);
        account(&store, "alice@a").await;
        for _ in 0..600 {
            store.append(row(&store, "alice@a/x", "bob@b", "hi", NOON)).unwrap();
        }
        store.write(|tx| Ok(tx.execute("UPDATE accounts SET erasing = 1", [])?)).await.unwrap();
        drop(store);
        let store = open(&dir);
        let left = store
            .read(|reader| {
                let sql = "SELECT (SELECT count(*) FROM accounts) + (SELECT count(*) FROM archive WHERE owner = 1)";
                Ok(reader.conn.query_row(sql, [], |row| row.get::<_, u64>(0))?)
            })
            .await
            .unwrap();
        assert_eq!(left, 0);
    }
}
