//! What operators ask: how much there is of an account, of a host, of the whole. Nothing here is on
//! the way of a stanza; what may take long is asked in pieces, so that no snapshot is held for long.

use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, params, params_from_iter};

use super::accounts::{self, Account};
use super::archive::tail;
use super::{AccountId, MessageId, Store, StoreError};
use crate::time::Now;

/// Rows of `messages` looked at in one query.
const CHUNK: usize = 50_000;

/// What one account keeps here. Bytes are as stored, compressed where the store compresses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AccountUsage {
    pub archive_messages: u64,
    pub archive_bytes: u64,
    pub offline_messages: u64,
    pub offline_bytes: u64,
    pub contacts: u64,
    /// Subscription requests that wait for an answer.
    pub requests: u64,
    pub blocked: u64,
    pub devices: u64,
    pub push: u64,
    pub vcard_bytes: u64,
    pub private_elements: u64,
    pub private_bytes: u64,
}

/// A number of messages and what they take on disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Amount {
    pub messages: u64,
    pub bytes: u64,
}

/// What a removal would take away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Removal {
    /// Entries of archives; a message between two of our accounts is one in each.
    pub entries: u64,
    /// Messages that nobody would keep any more, and their bytes.
    pub freed: Amount,
}

/// Bytes of content by kind; indices and free pages are in the file besides.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Contents {
    pub archive: Amount,
    pub offline: Amount,
    pub vcard_bytes: u64,
    pub private_bytes: u64,
    /// Pages of the database file, those that are free among them, as bytes.
    pub database_bytes: u64,
    pub free_bytes: u64,
}

/// See [`Store::survey`].
pub struct Survey<'a>(pub(super) &'a Store);

impl Store {
    pub fn survey(&self) -> Survey<'_> {
        Survey(self)
    }
}

impl Survey<'_> {
    /// Sees every message appended before the call.
    pub async fn account(&self, id: AccountId) -> Result<AccountUsage, StoreError> {
        self.0.settled().await?;
        self.0
            .read(move |reader| {
                let conn = &reader.conn;
                let two = |sql: &str| -> Result<(u64, u64), StoreError> {
                    let mut query = conn.prepare_cached(sql)?;
                    Ok(query.query_row([id.0], |row| Ok((row.get(0)?, row.get(1)?)))?)
                };
                let one = |sql: &str| -> Result<u64, StoreError> {
                    Ok(conn.prepare_cached(sql)?.query_row([id.0], |row| row.get(0))?)
                };
                let archive = archive_of(conn, id)?;
                let offline =
                    two("SELECT count(*), coalesce(sum(bytes), 0) FROM offline WHERE owner = ?1")?;
                let private =
                    two("SELECT count(*), coalesce(sum(length(element)), 0) FROM private
                     WHERE account = ?1")?;
                Ok(AccountUsage {
                    archive_messages: archive.messages,
                    archive_bytes: archive.bytes,
                    offline_messages: offline.0,
                    offline_bytes: offline.1,
                    contacts: one("SELECT count(*) FROM roster_items
                         WHERE account = ?1 AND subscription IS NOT NULL")?,
                    requests: one("SELECT count(*) FROM roster_requests WHERE account = ?1")?,
                    blocked: one("SELECT count(*) FROM blocks WHERE account = ?1")?,
                    devices: one("SELECT count(*) FROM devices WHERE account = ?1")?,
                    push: one("SELECT count(*) FROM push WHERE account = ?1")?,
                    vcard_bytes: one("SELECT coalesce(sum(length(vcard)), 0) FROM vcards
                         WHERE account = ?1")?,
                    private_elements: private.0,
                    private_bytes: private.1,
                })
            })
            .await
    }

    /// What the archive of one account holds.
    pub async fn archive(&self, owner: AccountId) -> Result<Amount, StoreError> {
        self.0.settled().await?;
        self.0.read(move |reader| archive_of(&reader.conn, owner)).await
    }

    /// What waits for one account.
    pub async fn offline(&self, owner: AccountId) -> Result<Amount, StoreError> {
        self.0.settled().await?;
        self.0
            .read(move |reader| {
                let sql = "SELECT count(*), coalesce(sum(bytes), 0) FROM offline WHERE owner = ?1";
                Ok(reader.conn.prepare_cached(sql)?.query_row([owner.0], amount)?)
            })
            .await
    }

    /// What all archives of a domain hold: its accounts', or its rooms'.
    pub async fn archives(&self, domain: &str) -> Result<Amount, StoreError> {
        self.0.settled().await?;
        let domain = domain.to_owned();
        self.0
            .read(move |reader| {
                let conn = &reader.conn;
                let merged = conn
                    .prepare_cached(
                        "SELECT coalesce(sum(entries), 0), coalesce(sum(bytes), 0)
                         FROM archive_usage JOIN addresses ON addresses.id = owner
                         WHERE substr(jid, -length(?1) - 1) = '@' || ?1",
                    )?
                    .query_row([&domain], amount)?;
                let newest = tail_of(conn, &domain)?;
                Ok(merged.plus(newest))
            })
            .await
    }

    /// What waits for all accounts of a host; only what came before `before`, if given.
    pub async fn offline_of(&self, host: &str, before: Option<Now>) -> Result<Amount, StoreError> {
        self.0.settled().await?;
        let host = host.to_owned();
        let before = before.map_or(i64::MAX, |before| MessageId::floor(before).0);
        self.0
            .read(move |reader| {
                let sql = "SELECT count(*), coalesce(sum(bytes), 0) FROM offline
                     JOIN accounts ON accounts.id = owner WHERE host = ?1 AND offline.id < ?2";
                Ok(reader.conn.prepare_cached(sql)?.query_row(params![host, before], amount)?)
            })
            .await
    }

    /// What [`super::archive::Archive::expire`] with `before` would remove from the archives of
    /// `domains` together.
    pub async fn removal(
        &self,
        domains: &[String],
        before: MessageId,
    ) -> Result<Removal, StoreError> {
        self.0.settled().await?;
        let mut total = Removal::default();
        let mut above = -1;
        loop {
            let domains = domains.to_vec();
            let step = self
                .0
                .read(move |reader| removal_chunk(&reader.conn, &domains, above, before.0))
                .await?;
            let Some((last, removal)) = step else { return Ok(total) };
            total.entries += removal.entries;
            total.freed = total.freed.plus(removal.freed);
            above = last;
        }
    }

    /// Locked accounts of a host by name, after the name `after`.
    pub async fn locked(
        &self,
        host: &str,
        after: &str,
        max: usize,
    ) -> Result<Vec<Account>, StoreError> {
        self.accounts("locked IS NOT NULL", host, 0, after, max).await
    }

    /// Accounts of a host that were last here before `before`, or never since they were made
    /// before that; by name, after the name `after`.
    pub async fn unseen(
        &self,
        host: &str,
        before: Now,
        after: &str,
        max: usize,
    ) -> Result<Vec<Account>, StoreError> {
        self.accounts("coalesce(seen, created) < ?4", host, before.0, after, max).await
    }

    async fn accounts(
        &self,
        filter: &'static str,
        host: &str,
        value: i64,
        after: &str,
        max: usize,
    ) -> Result<Vec<Account>, StoreError> {
        let args: Vec<Value> = vec![
            host.to_owned().into(),
            after.to_owned().into(),
            i64::try_from(max).unwrap_or(i64::MAX).into(),
            value.into(),
        ];
        self.0
            .read(move |reader| {
                let sql = format!(
                    "{} WHERE host = ?1 AND name > ?2 AND NOT erasing AND ?4 = ?4 AND {filter}
                     ORDER BY name LIMIT ?3",
                    accounts::SELECT
                );
                let mut rows = reader.conn.prepare_cached(&sql)?;
                let rows = rows.query_map(params_from_iter(args), accounts::account)?;
                Ok(rows.collect::<Result<_, _>>()?)
            })
            .await
    }

    /// How many accounts of a host are locked.
    pub async fn count_locked(&self, host: &str) -> Result<u64, StoreError> {
        self.count("locked IS NOT NULL AND ?2 = ?2", host, 0).await
    }

    /// How many accounts of a host were here since `since`, as far as their last goodbye tells;
    /// who is here now is the caller's to know.
    pub async fn count_seen(&self, host: &str, since: Now) -> Result<u64, StoreError> {
        self.count("seen >= ?2", host, since.0).await
    }

    async fn count(&self, filter: &'static str, host: &str, value: i64) -> Result<u64, StoreError> {
        let host = host.to_owned();
        self.0
            .read(move |reader| {
                let sql = format!(
                    "SELECT count(*) FROM accounts WHERE host = ?1 AND NOT erasing AND {filter}"
                );
                let mut query = reader.conn.prepare_cached(&sql)?;
                Ok(query.query_row(params![host, value], |row| row.get(0))?)
            })
            .await
    }

    /// Names of a host's accounts that are near `name` in the alphabet: those with the longest
    /// common beginning.
    pub async fn names_near(
        &self,
        host: &str,
        name: &str,
        max: usize,
    ) -> Result<Vec<String>, StoreError> {
        let (host, name) = (host.to_owned(), name.to_owned());
        self.0
            .read(move |reader| {
                let mut found = Vec::new();
                for sql in [
                    "SELECT name FROM accounts WHERE host = ?1 AND name < ?2 AND NOT erasing
                     ORDER BY name DESC LIMIT ?3",
                    "SELECT name FROM accounts WHERE host = ?1 AND name > ?2 AND NOT erasing
                     ORDER BY name LIMIT ?3",
                ] {
                    let mut rows = reader.conn.prepare_cached(sql)?;
                    let rows = rows.query_map(params![host, name, max], |row| row.get(0))?;
                    for row in rows {
                        found.push(row?);
                    }
                }
                Ok(found)
            })
            .await
    }

    /// Names and namespaces of an account's private XML, and the bytes of each.
    pub async fn private(
        &self,
        owner: AccountId,
    ) -> Result<Vec<(String, String, u64)>, StoreError> {
        self.0
            .read(move |reader| {
                let mut rows = reader.conn.prepare_cached(
                    "SELECT name, ns, length(element) FROM private WHERE account = ?1
                     ORDER BY ns, name",
                )?;
                let rows =
                    rows.query_map([owner.0], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
                Ok(rows.collect::<Result<_, _>>()?)
            })
            .await
    }

    /// The whole database.
    pub async fn contents(&self) -> Result<Contents, StoreError> {
        self.0.settled().await?;
        self.0
            .read(move |reader| {
                let conn = &reader.conn;
                let one = |sql: &str| -> Result<u64, StoreError> {
                    Ok(conn.query_row(sql, [], |row| row.get(0))?)
                };
                let page = one("PRAGMA page_size")?;
                let merged = tail::merged(conn)?;
                let newest = conn.query_row(
                    "SELECT count(*), coalesce(sum(length(body)), 0) FROM messages
                     WHERE id > ?1 AND flags & 3",
                    [merged],
                    amount,
                )?;
                let archive = conn.query_row(
                    "SELECT coalesce(sum(entries), 0), coalesce(sum(bytes), 0) FROM archive_usage",
                    [],
                    amount,
                )?;
                Ok(Contents {
                    archive: archive.plus(newest),
                    offline: conn.query_row(
                        "SELECT count(*), coalesce(sum(bytes), 0) FROM offline",
                        [],
                        amount,
                    )?,
                    vcard_bytes: one("SELECT coalesce(sum(length(vcard)), 0) FROM vcards")?,
                    private_bytes: one("SELECT coalesce(sum(length(element)), 0) FROM private")?,
                    database_bytes: one("PRAGMA page_count")? * page,
                    free_bytes: one("PRAGMA freelist_count")? * page,
                })
            })
            .await
    }
}

impl Amount {
    pub fn plus(self, other: Amount) -> Amount {
        Amount { messages: self.messages + other.messages, bytes: self.bytes + other.bytes }
    }
}

fn amount(row: &rusqlite::Row<'_>) -> rusqlite::Result<Amount> {
    Ok(Amount { messages: row.get(0)?, bytes: row.get(1)? })
}

fn archive_of(conn: &Connection, owner: AccountId) -> Result<Amount, StoreError> {
    let merged = conn
        .prepare_cached("SELECT entries, bytes FROM archive_usage WHERE owner = ?1")?
        .query_row([owner.0], amount)
        .optional()?
        .unwrap_or_default();
    let newest = conn
        .prepare_cached(
            "SELECT count(*), coalesce(sum(length(body)), 0) FROM messages
             WHERE id > ?2 AND (from_addr = ?1 AND flags & 1 OR to_addr = ?1 AND flags & 2)",
        )?
        .query_row(params![owner.0, tail::merged(conn)?], amount)?;
    Ok(merged.plus(newest))
}

/// Entries of a domain's archives that are not merged yet.
fn tail_of(conn: &Connection, domain: &str) -> Result<Amount, StoreError> {
    let sql =
        "SELECT coalesce(sum(sent + received), 0), coalesce(sum((sent + received) * bytes), 0)
        FROM (SELECT length(body) AS bytes,
            (flags & 1 = 1 AND substr(f.jid, -length(?1) - 1) = '@' || ?1) AS sent,
            (flags & 2 = 2 AND from_addr <> to_addr AND substr(t.jid, -length(?1) - 1) = '@' || ?1)
                AS received
            FROM messages JOIN addresses f ON f.id = from_addr JOIN addresses t ON t.id = to_addr
            WHERE messages.id > ?2)";
    Ok(conn.prepare_cached(sql)?.query_row(params![domain, tail::merged(conn)?], amount)?)
}

/// One stretch of `messages` above `above`; tells its last id too. `None` when there is none.
fn removal_chunk(
    conn: &Connection,
    domains: &[String],
    above: i64,
    before: i64,
) -> Result<Option<(i64, Removal)>, StoreError> {
    let mut rows = conn.prepare_cached(
        "SELECT messages.id, flags, length(body), from_addr = to_addr, f.jid, t.jid
         FROM messages JOIN addresses f ON f.id = from_addr JOIN addresses t ON t.id = to_addr
         WHERE messages.id > ?1 AND messages.id < ?2 ORDER BY messages.id LIMIT ?3",
    )?;
    let mut rows = rows.query(params![above, before, CHUNK])?;
    let mut removal = Removal::default();
    let mut last = None;
    while let Some(row) = rows.next()? {
        last = Some(row.get(0)?);
        let flags: u8 = row.get(1)?;
        let bytes: u64 = row.get(2)?;
        let alone: bool = row.get(3)?;
        let ours = |column| -> Result<bool, StoreError> {
            let jid = row.get_ref(column)?.as_str().unwrap_or_default();
            let (_, domain) = jid.split_once('@').unwrap_or(("", ""));
            Ok(domains.iter().any(|wanted| wanted == domain))
        };
        let (from, to) = (ours(4)?, ours(5)?);
        let sent = flags & 1 != 0 && from;
        let received = flags & 2 != 0 && to;
        removal.entries += u64::from(sent) + u64::from(received && !(alone && sent));
        let left = flags & 4 | if from { 0 } else { flags & 1 } | if to { 0 } else { flags & 2 };
        if left == 0 && (sent || received) {
            removal.freed = removal.freed.plus(Amount { messages: 1, bytes });
        }
    }
    Ok(last.map(|last| (last, removal)))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::store::MessageFlags;
    use crate::store::tests::{NOON, account, jid, open, row};

    #[tokio::test]
    async fn a_removal_is_foretold_exactly() {
        let dir = tempfile::tempdir().unwrap();
        let store = open(&dir);
        let alice = account(&store, "alice@a").await;
        account(&store, "bob@b").await;
        for n in 0..300 {
            let mut row =
                row(&store, "alice@a/x", "bob@b", "hello", NOON.plus(Duration::from_secs(n)));
            if n % 3 == 0 {
                // Bob keeps none of these, so that they go with Alice's entry.
                row.flags = MessageFlags::ARCHIVED_FROM;
            }
            store.append(row).unwrap();
        }
        let before = MessageId::floor(NOON.plus(Duration::from_secs(150)));
        let survey = store.survey();
        let at_a = survey.removal(&["a".to_owned()], before).await.unwrap();
        assert_eq!((at_a.entries, at_a.freed.messages), (150, 50));
        let both = survey.removal(&["a".to_owned(), "b".to_owned()], before).await.unwrap();
        assert_eq!((both.entries, both.freed.messages), (250, 150));
        let all = survey.archive(alice).await.unwrap();
        assert_eq!((all.messages, survey.archives("a").await.unwrap()), (300, all));
        assert_eq!(survey.archives("b").await.unwrap().messages, 200);

        let gone = store.archive().expire("a", Some(before), None).await.unwrap();
        assert_eq!((gone.entries, gone.bodies), (150, 50));
        let left = survey.archive(alice).await.unwrap();
        assert_eq!((left.messages, survey.archives("a").await.unwrap()), (150, left));
        assert_eq!(survey.contents().await.unwrap().archive.messages, 350);
        assert_eq!(survey.archives("elsewhere").await.unwrap(), Amount::default());
    }

    #[tokio::test]
    async fn an_account_is_told_with_all_it_keeps() {
        let dir = tempfile::tempdir().unwrap();
        let store = open(&dir);
        let alice = account(&store, "alice@a").await;
        assert_eq!(store.survey().account(alice).await.unwrap(), AccountUsage::default());
        let mut waiting = row(&store, "bob@b/x", "alice@a", "hello", NOON);
        waiting.flags = MessageFlags::ARCHIVED_TO | MessageFlags::OFFLINE;
        store.append(waiting).unwrap();
        let vcard = bytes::Bytes::from_static(b"<vCard/>");
        store.vcards().set(alice, vcard).await.unwrap();
        let usage = store.survey().account(alice).await.unwrap();
        assert_eq!((usage.archive_messages, usage.offline_messages), (1, 1));
        assert_eq!((usage.archive_bytes, usage.vcard_bytes), (usage.offline_bytes, 8));
        assert_eq!(store.survey().offline_of("a", None).await.unwrap().messages, 1);
        assert_eq!(store.survey().offline_of("a", Some(NOON)).await.unwrap().messages, 0);
        assert_eq!(store.survey().offline_of("b", None).await.unwrap().messages, 0);
    }

    #[tokio::test]
    async fn accounts_are_found_by_state_and_by_nearness() {
        use crate::store::accounts::{LastSeen, Lock};
        let dir = tempfile::tempdir().unwrap();
        let store = open(&dir);
        for name in ["ann@a", "anna@a", "bob@a", "zoe@a", "ann@b"] {
            account(&store, name).await;
        }
        let lock = Lock { since: NOON, reason: "spam".into() };
        store.accounts().set_lock(&jid("bob@a"), Some(lock)).await.unwrap();
        let day = |days: u64| NOON.plus(Duration::from_secs(days * 86_400));
        let anna = store.accounts().find(&jid("anna@a")).await.unwrap().unwrap().id;
        let seen = LastSeen { at: day(10), status: String::new() };
        store.accounts().set_last_seen(anna, seen).await.unwrap();
        let survey = store.survey();
        let names = |accounts: Vec<Account>| {
            accounts.iter().map(|account| account.jid.to_string()).collect::<Vec<_>>()
        };
        assert_eq!(names(survey.locked("a", "", 10).await.unwrap()), ["bob@a"]);
        assert_eq!(survey.count_locked("a").await.unwrap(), 1);
        assert_eq!(names(survey.unseen("a", day(5), "", 2).await.unwrap()), ["ann@a", "bob@a"]);
        assert_eq!(names(survey.unseen("a", day(5), "bob", 9).await.unwrap()), ["zoe@a"]);
        assert_eq!(survey.count_seen("a", day(5)).await.unwrap(), 1);
        assert_eq!(survey.names_near("a", "anne", 1).await.unwrap(), ["anna", "bob"]);
    }
}
