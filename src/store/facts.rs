//! What the delivery pipelines ask of an account with every stanza, cached.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use parking_lot::Mutex;
use rusqlite::{Connection, OptionalExtension, params};

use super::archive::{ArchivePrefs, prefs};
use super::cache::Cache;
use super::groups::Shared;
use super::rosters::Subscription;
use super::{AccountId, Store, StoreError};
use crate::jid::{BareJid, Jid};

/// Accounts' facts are kept until they weigh this much together, about 16 MiB.
const WEIGHT_MAX: usize = 16 << 20;
/// What an account without contacts weighs, one that does not exist included.
const WEIGHT_BASE: usize = 256;
/// What each contact and blocked address adds.
const WEIGHT_EACH: usize = 96;
const SHARDS: usize = 16;

/// An account as the pipelines see it. Shared, immutable, replaced after a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    pub id: AccountId,
    pub jid: BareJid,
    pub locked: bool,
    /// Locked until an operator has approved of it.
    pub waiting: bool,
    /// Something is to be said to it on its first sign-in.
    pub welcome: bool,
    /// `None`: the host's default applies.
    pub prefs: Option<ArchivePrefs>,
    /// The roster's own items, without the shared groups; sorted by address.
    pub roster: Box<[Contact]>,
    /// The shared groups that concern the account, if any does.
    pub shared: Option<Shared>,
    /// Sorted by address (XEP-0191).
    pub blocked: Box<[Jid]>,
    /// Some client wants to be notified when it is away (XEP-0357).
    pub push: bool,
}

/// A roster item without what only its owner's clients want.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contact {
    pub jid: BareJid,
    pub subscription: Subscription,
    pub ask: bool,
    pub approved: bool,
}

impl Facts {
    /// The roster's own item for an address; shared groups may say more of it.
    pub fn contact(&self, bare: &str) -> Option<&Contact> {
        let at = self.roster.binary_search_by(|contact| contact.jid.as_str().cmp(bare)).ok()?;
        Some(&self.roster[at])
    }

    /// Who sees whom, by the roster's own items and by shared groups.
    pub fn subscription(&self, bare: &str) -> Subscription {
        match self.contact(bare) {
            Some(contact) => self.between(contact),
            None => match &self.shared {
                None => Subscription::None,
                Some(shared) => shared.subscription(bare),
            },
        }
    }

    /// The same for an item of the roster.
    pub fn between(&self, contact: &Contact) -> Subscription {
        let own = contact.subscription;
        match &self.shared {
            None => own,
            Some(_) if own == Subscription::Both => own,
            Some(shared) => own | shared.subscription(contact.jid.as_str()),
        }
    }

    /// Does the roster show this address?
    pub fn has_contact(&self, bare: &str) -> bool {
        self.contact(bare).is_some()
            || self
                .shared
                .as_ref()
                .is_some_and(|shared| shared.subscription(bare) != Subscription::None)
    }

    /// Is this address blocked, by itself, its bare JID, its domain, or its domain and resource
    /// (XEP-0191 §5)?
    pub fn blocks(&self, other: &Jid) -> bool {
        if self.blocked.is_empty() {
            return false;
        }
        let listed =
            |text: &str| self.blocked.binary_search_by(|jid| jid.as_str().cmp(text)).is_ok();
        listed(other.as_str())
            || listed(other.bare_str())
            || listed(other.domain())
            || other
                .resource()
                .is_some_and(|resource| listed(&format!("{}/{resource}", other.domain())))
    }

    fn weight(&self) -> usize {
        let prefs = self.prefs.as_ref().map_or(0, |prefs| prefs.always.len() + prefs.never.len());
        WEIGHT_BASE + WEIGHT_EACH * (self.roster.len() + self.blocked.len() + prefs)
    }
}

/// What the cache knows without asking the disk.
#[derive(Clone, Debug)]
pub enum Lookup {
    Known(Arc<Facts>),
    NoAccount,
    /// Ask [`Store::facts`].
    Unknown,
}

impl Store {
    /// For the hot path: never waits. `bare` is the text of a bare JID of one of our hosts.
    pub fn facts_cached(&self, bare: &str) -> Lookup {
        match self.facts.get(bare) {
            Some(Some(facts)) => Lookup::Known(facts),
            Some(None) => Lookup::NoAccount,
            None => Lookup::Unknown,
        }
    }

    /// The facts of an account; `None` if there is no such account. Waits only when the cache does
    /// not know.
    pub async fn facts(&self, jid: &BareJid) -> Result<Option<Arc<Facts>>, StoreError> {
        if let Some(facts) = self.facts.get(jid.as_str()) {
            return Ok(facts);
        }
        let seen = self.facts.generation(jid.as_str());
        let groups = self.groups().snapshot();
        let asked = jid.clone();
        let mut facts = self.read(move |reader| load(&reader.conn, &asked, LIVE)).await?;
        if let Some(facts) = &mut facts {
            facts.shared = groups.view(jid);
        }
        let facts = facts.map(Arc::new);
        self.facts.put(jid.clone(), facts.clone(), seen);
        Ok(facts)
    }

    /// The facts of an account that is there or in the bin: for what must still be told to its
    /// contacts, and by them.
    pub async fn facts_with_bin(&self, jid: &BareJid) -> Result<Option<Arc<Facts>>, StoreError> {
        if let Some(facts) = self.facts(jid).await? {
            return Ok(Some(facts));
        }
        let groups = self.groups().snapshot();
        let asked = jid.clone();
        let facts = self.read(move |reader| load(&reader.conn, &asked, IN_BIN)).await?;
        Ok(facts.map(|facts| Arc::new(Facts { shared: groups.view(jid), ..facts })))
    }
}

/// Facts by bare JID; `None` for addresses that are no accounts.
#[derive(Default)]
pub(super) struct FactsCache {
    hasher: RandomState,
    shards: [Mutex<Shard>; SHARDS],
}

struct Shard {
    facts: Cache<Option<Arc<Facts>>>,
    /// Rises with each change, so that facts read before a change are not kept after it.
    generation: u64,
}

impl Default for Shard {
    fn default() -> Shard {
        Shard { facts: Cache::new(WEIGHT_MAX / SHARDS), generation: 0 }
    }
}

impl FactsCache {
    fn shard(&self, bare: &str) -> &Mutex<Shard> {
        &self.shards[self.hasher.hash_one(bare) as usize % SHARDS]
    }

    fn get(&self, bare: &str) -> Option<Option<Arc<Facts>>> {
        self.shard(bare).lock().facts.get(bare)
    }

    fn generation(&self, bare: &str) -> u64 {
        self.shard(bare).lock().generation
    }

    fn put(&self, jid: BareJid, facts: Option<Arc<Facts>>, seen: u64) {
        let mut shard = self.shard(jid.as_str()).lock();
        if shard.generation == seen {
            let weight = facts.as_ref().map_or(WEIGHT_BASE, |facts| facts.weight());
            shard.facts.put(jid, facts, weight);
        }
    }

    /// The account has changed.
    pub(super) fn forget(&self, jid: &BareJid) {
        let mut shard = self.shard(jid.as_str()).lock();
        shard.generation += 1;
        shard.facts.remove(jid.as_str());
    }

    /// Many accounts have changed.
    pub(super) fn forget_all(&self) {
        for shard in &self.shards {
            let mut shard = shard.lock();
            shard.generation += 1;
            shard.facts.clear();
        }
    }
}

/// Values of `accounts.erasing`.
const LIVE: u8 = 0;
const IN_BIN: u8 = 2;

fn load(conn: &Connection, jid: &BareJid, erasing: u8) -> Result<Option<Facts>, StoreError> {
    let account = conn
        .prepare_cached(
            "SELECT accounts.id, locked IS NOT NULL, prefs,
             EXISTS (SELECT 1 FROM push WHERE account = accounts.id),
             EXISTS (SELECT 1 FROM approvals WHERE account = accounts.id),
             EXISTS (SELECT 1 FROM welcomes WHERE account = accounts.id)
             FROM addresses JOIN accounts USING (id) WHERE jid = ?1 AND erasing = ?2",
        )?
        .query_row(params![jid.as_str(), erasing], |row| {
            let prefs: Option<String> = row.get(2)?;
            let id: i64 = row.get(0)?;
            Ok((id, row.get(1)?, prefs, row.get(3)?, row.get(4)?, row.get(5)?))
        })
        .optional()?;
    let Some((id, locked, prefs, push, waiting, welcome)) = account else { return Ok(None) };
    let mut rows = conn.prepare_cached(
        "SELECT jid, subscription, ask, approved FROM roster_items
         WHERE account = ?1 AND subscription IS NOT NULL ORDER BY jid",
    )?;
    let mut rows = rows.query([id])?;
    let mut roster = Vec::new();
    while let Some(row) = rows.next()? {
        // What an older normalisation let pass has no stanzas to meet.
        let Ok(jid) = BareJid::parse(row.get_ref(0)?.as_str().unwrap_or_default()) else {
            continue;
        };
        roster.push(Contact {
            jid,
            subscription: Subscription::from_number(row.get(1)?),
            ask: row.get(2)?,
            approved: row.get(3)?,
        });
    }
    let mut rows = conn.prepare_cached("SELECT jid FROM blocks WHERE account = ?1 ORDER BY jid")?;
    let mut rows = rows.query([id])?;
    let mut blocked = Vec::new();
    while let Some(row) = rows.next()? {
        blocked.extend(Jid::parse(row.get_ref(0)?.as_str().unwrap_or_default()));
    }
    roster.sort_unstable_by(|a, b| a.jid.cmp(&b.jid));
    blocked.sort_unstable();
    Ok(Some(Facts {
        id: AccountId(id),
        jid: jid.clone(),
        locked,
        waiting,
        welcome,
        prefs: prefs.as_deref().and_then(prefs::parse),
        roster: roster.into_boxed_slice(),
        shared: None,
        blocked: blocked.into_boxed_slice(),
        push,
    }))
}
