//! Rosters (RFC 6121 §2) with versions (XEP-0237), and requests that wait for an answer.

use std::collections::BTreeMap;

use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::writer::Tx;
use super::{AccountId, Store, StoreError, accounts};
use crate::jid::BareJid;
use crate::time::Now;

/// Removals that are remembered for clients with an old version.
const REMOVED_MAX: usize = 64;

/// Who sees whose presence (RFC 6121 §2.1.2.5).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Subscription {
    #[default]
    None = 0,
    /// The owner sees the contact.
    To = 1,
    /// The contact sees the owner.
    From = 2,
    Both = 3,
}

impl Subscription {
    pub fn new(to: bool, from: bool) -> Subscription {
        match (to, from) {
            (false, false) => Subscription::None,
            (true, false) => Subscription::To,
            (false, true) => Subscription::From,
            (true, true) => Subscription::Both,
        }
    }

    /// The owner sees the contact.
    pub fn to(self) -> bool {
        matches!(self, Subscription::To | Subscription::Both)
    }

    /// The contact sees the owner.
    pub fn from(self) -> bool {
        matches!(self, Subscription::From | Subscription::Both)
    }

    pub(super) fn from_number(number: u8) -> Subscription {
        Subscription::new(number & 1 != 0, number & 2 != 0)
    }

    pub fn name(self) -> &'static str {
        match self {
            Subscription::None => "none",
            Subscription::To => "to",
            Subscription::From => "from",
            Subscription::Both => "both",
        }
    }
}

impl std::ops::BitOr for Subscription {
    type Output = Subscription;

    fn bitor(self, other: Subscription) -> Subscription {
        Subscription::new(self.to() || other.to(), self.from() || other.from())
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RosterItem {
    pub jid: BareJid,
    pub name: Option<String>,
    pub groups: Vec<String>,
    pub subscription: Subscription,
    /// `ask='subscribe'`: the owner's request is under way.
    pub ask: bool,
    /// Pre-approved (RFC 6121 §3.4).
    pub approved: bool,
}

impl RosterItem {
    pub fn new(jid: BareJid) -> RosterItem {
        RosterItem {
            jid,
            name: None,
            groups: Vec::new(),
            subscription: Subscription::None,
            ask: false,
            approved: false,
        }
    }
}

/// A roster at a moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Roster {
    pub version: u64,
    pub items: Vec<RosterItem>,
}

/// What a client with an old version needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RosterChanges {
    /// Too much has happened, or the version is none of ours.
    Whole(Roster),
    /// In order of change; `None` = the contact was removed.
    Since(Vec<RosterChange>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RosterChange {
    pub version: u64,
    pub jid: BareJid,
    pub item: Option<RosterItem>,
}

/// All that is known of one contact, for [`Rosters::edit`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RosterEntry {
    pub item: Option<RosterItem>,
    /// The contact's subscription request that the owner has not answered (RFC 6121 §3.1.3).
    pub request: Option<Bytes>,
}

/// The outcome of [`Rosters::edit`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RosterEdited<T> {
    /// What the edit returned.
    pub value: T,
    pub before: RosterEntry,
    pub after: RosterEntry,
    /// The roster's new version, if its item changed: then clients get a push.
    pub version: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RosterLimits {
    pub items_max: usize,
    /// Requests that may wait for an answer.
    pub requests_max: usize,
}

/// See [`Store::rosters`].
pub struct Rosters<'a>(pub(super) &'a Store);

impl Store {
    pub fn rosters(&self) -> Rosters<'_> {
        Rosters(self)
    }
}

impl Rosters<'_> {
    pub async fn get(&self, owner: AccountId) -> Result<Roster, StoreError> {
        self.0.read(move |reader| whole(&reader.conn, owner)).await
    }

    pub async fn item(
        &self,
        owner: AccountId,
        contact: &BareJid,
    ) -> Result<RosterEntry, StoreError> {
        let contact = contact.clone();
        self.0.read(move |reader| entry(&reader.conn, owner, &contact)).await
    }

    /// What has changed after the version `since`.
    pub async fn changes(&self, owner: AccountId, since: u64) -> Result<RosterChanges, StoreError> {
        self.0
            .read(move |reader| {
                let conn = &reader.conn;
                let (version, floor) = versions(conn, owner)?;
                if since < floor || since > version {
                    return Ok(RosterChanges::Whole(whole(conn, owner)?));
                }
                let mut rows = conn.prepare_cached(
                    "SELECT jid, name, groups, subscription, ask, approved, version FROM roster_items
                     WHERE account = ?1 AND version > ?2 ORDER BY version",
                )?;
                let mut rows = rows.query(params![owner.0, since])?;
                let mut changes = Vec::new();
                while let Some(row) = rows.next()? {
                    let Some((jid, item)) = read_item(row)? else { continue };
                    changes.push(RosterChange { version: row.get(6)?, jid, item });
                }
                Ok(RosterChanges::Since(changes))
            })
            .await
    }

    /// Reads, changes and writes one entry as one act: `edit` sees the state as it is and runs on
    /// the writer's thread. What it sets to `None` is removed. [`StoreError::TooMany`] when an
    /// addition would pass a limit.
    pub async fn edit<T: Send + 'static>(
        &self,
        owner: AccountId,
        contact: &BareJid,
        limits: RosterLimits,
        now: Now,
        edit: impl FnOnce(&mut RosterEntry) -> T + Send + 'static,
    ) -> Result<RosterEdited<T>, StoreError> {
        let contact = contact.clone();
        self.0
            .write(move |tx| {
                let before = entry(tx, owner, &contact)?;
                let mut after = before.clone();
                let value = edit(&mut after);
                if let Some(item) = &mut after.item {
                    item.jid = contact.clone();
                }
                let mut version = None;
                if after.item != before.item {
                    version = Some(write_item(tx, owner, &contact, &before, &after, limits)?);
                    accounts::touch(tx, owner)?;
                }
                if after.request != before.request {
                    write_request(tx, owner, &contact, &before, &after, limits, now)?;
                }
                Ok(RosterEdited { value, before, after, version })
            })
            .await
    }

    /// All that is known of an account's contacts, by address: items, and requests that wait.
    pub async fn entries(
        &self,
        owner: AccountId,
    ) -> Result<BTreeMap<BareJid, RosterEntry>, StoreError> {
        let items = self.get(owner).await?.items.into_iter();
        let item =
            |item: RosterItem| (item.jid.clone(), RosterEntry { item: Some(item), request: None });
        let mut entries: BTreeMap<_, _> = items.map(item).collect();
        for (jid, stanza) in self.requests(owner).await? {
            entries.entry(jid).or_default().request = Some(stanza);
        }
        Ok(entries)
    }

    /// Subscription requests that wait, oldest first: contact and stanza.
    pub async fn requests(&self, owner: AccountId) -> Result<Vec<(BareJid, Bytes)>, StoreError> {
        self.0
            .read(move |reader| {
                let mut rows = reader.conn.prepare_cached(
                    "SELECT jid, stanza FROM roster_requests WHERE account = ?1 ORDER BY received, jid",
                )?;
                let mut rows = rows.query([owner.0])?;
                let mut requests = Vec::new();
                while let Some(row) = rows.next()? {
                    if let Ok(jid) = BareJid::parse(row.get_ref(0)?.as_str().unwrap_or_default()) {
                        requests.push((jid, Bytes::from(row.get::<_, Vec<u8>>(1)?)));
                    }
                }
                Ok(requests)
            })
            .await
    }
}

/// The version, and the oldest one from which changes can be told.
fn versions(conn: &Connection, owner: AccountId) -> Result<(u64, u64), StoreError> {
    conn.prepare_cached(
        "SELECT roster_version, roster_floor FROM accounts WHERE id = ?1 AND NOT erasing",
    )?
    .query_row([owner.0], |row| Ok((row.get(0)?, row.get(1)?)))
    .optional()?
    .ok_or(StoreError::NoSuchAccount)
}

fn whole(conn: &Connection, owner: AccountId) -> Result<Roster, StoreError> {
    let (version, _) = versions(conn, owner)?;
    let mut rows = conn.prepare_cached(
        "SELECT jid, name, groups, subscription, ask, approved FROM roster_items
         WHERE account = ?1 AND subscription IS NOT NULL ORDER BY jid",
    )?;
    let mut rows = rows.query([owner.0])?;
    let mut items = Vec::new();
    while let Some(row) = rows.next()? {
        items.extend(read_item(row)?.and_then(|(_, item)| item));
    }
    Ok(Roster { version, items })
}

pub(super) fn entry(
    conn: &Connection,
    owner: AccountId,
    contact: &BareJid,
) -> Result<RosterEntry, StoreError> {
    let key = params![owner.0, contact.as_str()];
    let mut rows = conn.prepare_cached(
        "SELECT jid, name, groups, subscription, ask, approved FROM roster_items
         WHERE account = ?1 AND jid = ?2",
    )?;
    let mut rows = rows.query(key)?;
    let item = match rows.next()? {
        Some(row) => read_item(row)?.and_then(|(_, item)| item),
        None => None,
    };
    let request: Option<Vec<u8>> = conn
        .prepare_cached("SELECT stanza FROM roster_requests WHERE account = ?1 AND jid = ?2")?
        .query_row(key, |row| row.get(0))
        .optional()?;
    Ok(RosterEntry { item, request: request.map(Bytes::from) })
}

/// Contact and item, `None` for one that was removed. Rows whose address is none any more are
/// passed over.
fn read_item(row: &Row<'_>) -> Result<Option<(BareJid, Option<RosterItem>)>, StoreError> {
    let Ok(jid) = BareJid::parse(row.get_ref(0)?.as_str().unwrap_or_default()) else {
        return Ok(None);
    };
    let Some(subscription) = row.get::<_, Option<u8>>(3)? else { return Ok(Some((jid, None))) };
    let groups: String = row.get(2)?;
    let groups = if groups.is_empty() {
        Vec::new()
    } else {
        serde_json::from_str(&groups).unwrap_or_default()
    };
    let item = RosterItem {
        jid: jid.clone(),
        name: row.get(1)?,
        groups,
        subscription: Subscription::from_number(subscription),
        ask: row.get(4)?,
        approved: row.get(5)?,
    };
    Ok(Some((jid, Some(item))))
}

pub(super) fn write_item(
    tx: &Tx<'_>,
    owner: AccountId,
    contact: &BareJid,
    before: &RosterEntry,
    after: &RosterEntry,
    limits: RosterLimits,
) -> Result<u64, StoreError> {
    if before.item.is_none() {
        let count: usize = tx
            .prepare_cached(
                "SELECT count(*) FROM roster_items WHERE account = ?1 AND subscription IS NOT NULL",
            )?
            .query_row([owner.0], |row| row.get(0))?;
        if count >= limits.items_max {
            return Err(StoreError::TooMany { what: "contacts", max: limits.items_max });
        }
    }
    let version: u64 = tx
        .prepare_cached(
            // In the bin too: contacts come and go meanwhile.
            "UPDATE accounts SET roster_version = roster_version + 1 WHERE id = ?1 AND erasing != 1
             RETURNING roster_version",
        )?
        .query_row([owner.0], |row| row.get(0))
        .optional()?
        .ok_or(StoreError::NoSuchAccount)?;
    let (name, groups, subscription, ask, approved) = match &after.item {
        Some(item) => {
            let groups = if item.groups.is_empty() {
                String::new()
            } else {
                serde_json::to_string(&item.groups).map_err(StoreError::bug)?
            };
            (item.name.as_deref(), groups, Some(item.subscription as u8), item.ask, item.approved)
        }
        None => (None, String::new(), None, false, false),
    };
    tx.prepare_cached(
        "INSERT INTO roster_items (account, jid, version, name, groups, subscription, ask, approved)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
         ON CONFLICT (account, jid) DO UPDATE SET version = excluded.version, name = excluded.name,
         groups = excluded.groups, subscription = excluded.subscription, ask = excluded.ask,
         approved = excluded.approved",
    )?
    .execute(params![owner.0, contact.as_str(), version, name, groups, subscription, ask, approved])?;
    if after.item.is_none() {
        forget_removed(tx, owner)?;
    }
    Ok(version)
}

/// Keeps the newest [`REMOVED_MAX`] removals; who is older than the others gets the whole roster.
fn forget_removed(tx: &Tx<'_>, owner: AccountId) -> Result<(), StoreError> {
    let floor: Option<u64> = tx
        .prepare_cached(
            "SELECT version FROM roster_items WHERE account = ?1 AND subscription IS NULL
             ORDER BY version DESC LIMIT 1 OFFSET ?2",
        )?
        .query_row(params![owner.0, REMOVED_MAX], |row| row.get(0))
        .optional()?;
    if let Some(floor) = floor {
        tx.prepare_cached(
            "DELETE FROM roster_items WHERE account = ?1 AND subscription IS NULL AND version <= ?2",
        )?
        .execute(params![owner.0, floor])?;
        tx.prepare_cached("UPDATE accounts SET roster_floor = ?2 WHERE id = ?1")?
            .execute(params![owner.0, floor])?;
    }
    Ok(())
}

pub(super) fn write_request(
    tx: &Tx<'_>,
    owner: AccountId,
    contact: &BareJid,
    before: &RosterEntry,
    after: &RosterEntry,
    limits: RosterLimits,
    now: Now,
) -> Result<(), StoreError> {
    let Some(stanza) = &after.request else {
        tx.prepare_cached("DELETE FROM roster_requests WHERE account = ?1 AND jid = ?2")?
            .execute(params![owner.0, contact.as_str()])?;
        return Ok(());
    };
    if before.request.is_none() {
        let count: usize = tx
            .prepare_cached("SELECT count(*) FROM roster_requests WHERE account = ?1")?
            .query_row([owner.0], |row| row.get(0))?;
        if count >= limits.requests_max {
            return Err(StoreError::TooMany { what: "requests", max: limits.requests_max });
        }
    }
    tx.prepare_cached(
        "INSERT INTO roster_requests (account, jid, received, stanza) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT (account, jid) DO UPDATE SET stanza = excluded.stanza",
    )?
    .execute(params![owner.0, contact.as_str(), now.0, &stanza[..]])?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Store;
    use crate::store::tests::{NOON, account, jid, open};

    const LIMITS: RosterLimits = RosterLimits { items_max: 100, requests_max: 3 };

    async fn set(store: &Store, owner: AccountId, contact: &str, name: &str) -> u64 {
        let name = Some(name.to_owned());
        let contact = jid(contact);
        let edited = store
            .rosters()
            .edit(owner, &contact.clone(), LIMITS, NOON, move |entry| {
                let mut item = entry.item.take().unwrap_or_else(|| RosterItem::new(contact));
                item.name = name;
                entry.item = Some(item);
            })
            .await
            .unwrap();
        edited.version.unwrap()
    }

    async fn remove(store: &Store, owner: AccountId, contact: &str) {
        store.rosters().edit(owner, &jid(contact), LIMITS, NOON, |e| e.item = None).await.unwrap();
    }

    #[tokio::test]
    async fn an_edit_is_one_act_and_counts_only_when_the_item_changed() {
        let dir = tempfile::tempdir().unwrap();
        let store = open(&dir);
        let alice = account(&store, "alice@a").await;
        let bob = jid("bob@b");
        assert_eq!(set(&store, alice, "bob@b", "Bob").await, 1);
        let edited = store
            .rosters()
            .edit(alice, &bob, LIMITS, NOON, |entry| {
                let item = entry.item.as_mut().unwrap();
                item.subscription = Subscription::Both;
                item.groups = vec!["Friends".into(), "Chess".into()];
                item.ask = true;
                item.approved = true;
                item.name.clone()
            })
            .await
            .unwrap();
        assert_eq!((edited.version, edited.value.as_deref()), (Some(2), Some("Bob")));
        assert_eq!(edited.before.item.unwrap().subscription, Subscription::None);
        let roster = store.rosters().get(alice).await.unwrap();
        assert_eq!((roster.version, roster.items), (2, vec![edited.after.item.unwrap()]));
        let same = store.rosters().edit(alice, &bob, LIMITS, NOON, |_| ()).await.unwrap();
        assert_eq!(same.version, None);
        let facts = store.facts(&jid("alice@a")).await.unwrap().unwrap();
        let contact = facts.contact("bob@b").unwrap();
        assert!(contact.subscription.to() && contact.subscription.from() && contact.ask);
        assert!(facts.contact("eve@b").is_none());
        let rosters = store.rosters();
        let nobody = rosters.edit(AccountId(77), &bob, LIMITS, NOON, |entry| {
            entry.item = Some(RosterItem::new(jid("bob@b")));
        });
        assert!(matches!(nobody.await, Err(StoreError::NoSuchAccount)));
    }

    #[tokio::test]
    async fn an_old_version_is_told_what_changed_and_a_very_old_one_everything() {
        let dir = tempfile::tempdir().unwrap();
        let store = open(&dir);
        let alice = account(&store, "alice@a").await;
        for n in 0..10 {
            set(&store, alice, &format!("c{n}@b"), "x").await;
        }
        remove(&store, alice, "c3@b").await;
        set(&store, alice, "c0@b", "y").await;
        let RosterChanges::Since(changes) = store.rosters().changes(alice, 9).await.unwrap() else {
            panic!("the whole roster for a young version");
        };
        let told: Vec<_> =
            changes.iter().map(|c| (c.version, c.jid.as_str(), c.item.is_some())).collect();
        assert_eq!(told, [(10, "c9@b", true), (11, "c3@b", false), (12, "c0@b", true)]);
        assert_eq!(
            store.rosters().changes(alice, 12).await.unwrap(),
            RosterChanges::Since(Vec::new())
        );
        let future = store.rosters().changes(alice, 13).await.unwrap();
        assert!(matches!(future, RosterChanges::Whole(_)));
        for n in 0..REMOVED_MAX + 5 {
            set(&store, alice, &format!("gone{n}@b"), "x").await;
            remove(&store, alice, &format!("gone{n}@b")).await;
        }
        let old = store.rosters().changes(alice, 9).await.unwrap();
        let RosterChanges::Whole(roster) = old else { panic!("changes that are forgotten") };
        assert_eq!(roster.items.len(), 9);
        assert!(matches!(
            store.rosters().changes(alice, roster.version - 20).await.unwrap(),
            RosterChanges::Since(_)
        ));
    }

    #[tokio::test]
    async fn contacts_and_requests_are_bounded() {
        let dir = tempfile::tempdir().unwrap();
        let store = open(&dir);
        let alice = account(&store, "alice@a").await;
        let few = RosterLimits { items_max: 2, requests_max: 2 };
        for n in 0..4 {
            let contact = jid(&format!("c{n}@b"));
            let item = RosterItem::new(contact.clone());
            let added =
                store.rosters().edit(alice, &contact, few, NOON, |e| e.item = Some(item)).await;
            assert_eq!(added.is_ok(), n < 2, "{n}");
            let stanza = Bytes::from(format!("<presence id='{n}'/>"));
            let now = Now(NOON.0 - n);
            let asked =
                store.rosters().edit(alice, &contact, few, now, |e| e.request = Some(stanza)).await;
            assert_eq!(asked.is_ok(), n < 2, "{n}");
        }
        let roster = store.rosters();
        let requests = roster.requests(alice).await.unwrap();
        let order: Vec<_> = requests.iter().map(|(jid, _)| jid.as_str()).collect();
        assert_eq!(order, ["c1@b", "c0@b"]);
        roster.edit(alice, &jid("c1@b"), few, NOON, |e| e.request = None).await.unwrap();
        assert_eq!(roster.requests(alice).await.unwrap().len(), 1);
        assert!(roster.item(alice, &jid("c0@b")).await.unwrap().request.is_some());
    }
}
