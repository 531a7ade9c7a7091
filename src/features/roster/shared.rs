//! Shared roster groups as rosters show them: merged into what the owner wrote, and summed up for
//! roster versions.
//!
//! A version is the number of the last change to the roster's own items and, where shared groups
//! add anything, the sum of what they add: `17-9f2c…`. A sum is taken over the entries, whatever
//! their order, so that each push can tell what the client knows after it.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use crate::jid::BareJid;
use crate::router::sessions::RosterTold;
use crate::router::{Router, Session};
use crate::store::StoreError;
use crate::store::groups::{Group, Shared, SharedGroups};
use crate::store::rosters::{RosterItem, Subscription};

/// Contacts that shared groups put into one roster; of more, the first by address are shown.
const ENTRIES_MAX: usize = 10_000;

/// What shared groups say of one contact.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Entry {
    pub subscription: Subscription,
    /// The groups under which it is shown; none if only the contact sees the owner.
    pub labels: Vec<String>,
}

/// The groups at a moment, and who does not count there, since it comes or goes.
#[derive(Clone, Copy)]
pub struct Moment<'a> {
    pub groups: &'a Arc<SharedGroups>,
    /// No account any more, or not yet.
    pub without: Option<&'a BareJid>,
    /// Whose sessions say otherwise: is it online?
    pub online: Option<(&'a BareJid, bool)>,
}

impl<'a> Moment<'a> {
    pub fn of(groups: &'a Arc<SharedGroups>) -> Moment<'a> {
        Moment { groups, without: None, online: None }
    }

    /// What the groups mean for `owner`; nothing to who is no account.
    pub fn view(&self, owner: &BareJid) -> Option<Shared> {
        if self.without == Some(owner) { None } else { self.groups.view(owner) }
    }

    /// What the groups say of `other`, an account, to whom `view` is of.
    pub fn entry(&self, router: &Router, view: Option<&Shared>, other: &BareJid) -> Option<Entry> {
        let view = view?;
        if other == view.owner() || self.without.is_some_and(|gone| gone == other) {
            return None;
        }
        let online = || match self.online {
            Some((jid, online)) if jid == other => online,
            _ => router.sessions.of(other.as_str()).iter().any(|session| session.is_available()),
        };
        let mut labels: Vec<String> = view
            .seen()
            .filter(|group| group.shows(other, online))
            .map(|group| group.label().to_owned())
            .collect();
        labels.sort_unstable();
        labels.dedup();
        let from = view.seen_by().any(|group| group.shows(other, online));
        let subscription = Subscription::new(!labels.is_empty(), from);
        (subscription != Subscription::None).then_some(Entry { subscription, labels })
    }

    /// All that the groups put into a roster.
    pub async fn entries(
        &self,
        router: &Router,
        view: &Shared,
    ) -> Result<BTreeMap<BareJid, Entry>, StoreError> {
        let mut entries = BTreeMap::new();
        let mut add = |jid: BareJid| {
            if entries.len() < ENTRIES_MAX && !entries.contains_key(&jid) {
                let entry = self.entry(router, Some(view), &jid);
                entries.extend(entry.map(|entry| (jid, entry)));
            }
        };
        let groups = || view.seen().chain(view.seen_by());
        groups().flat_map(|group| group.members.iter()).for_each(|member| add(member.clone()));
        let mut everyone: Vec<&str> = hosts(groups().filter(|group| group.everyone));
        for host in std::mem::take(&mut everyone) {
            router.store.groups().accounts(host, ENTRIES_MAX).await?.into_iter().for_each(&mut add);
        }
        for host in hosts(groups().filter(|group| group.online)) {
            router.sessions.available_on(host).into_iter().for_each(&mut add);
        }
        Ok(entries)
    }
}

fn hosts<'a>(groups: impl Iterator<Item = &'a Arc<Group>>) -> Vec<&'a str> {
    let mut hosts: Vec<_> = groups.map(|group| group.name.host.as_str()).collect();
    hosts.sort_unstable();
    hosts.dedup();
    hosts
}

/// What one entry adds to the sum.
pub fn weight(contact: &BareJid, entry: Option<&Entry>) -> u64 {
    let Some(entry) = entry else { return 0 };
    let mut hasher = DefaultHasher::new();
    (contact.as_str(), entry.subscription as u8, &entry.labels).hash(&mut hasher);
    hasher.finish()
}

pub fn sum(entries: &BTreeMap<BareJid, Entry>) -> u64 {
    entries.iter().fold(0, |sum, (contact, entry)| sum ^ weight(contact, Some(entry)))
}

/// An item as its owner's clients are to see it.
pub fn merged(
    contact: &BareJid,
    item: Option<RosterItem>,
    entry: Option<&Entry>,
) -> Option<RosterItem> {
    let Some(entry) = entry else { return item };
    let mut item = item.unwrap_or_else(|| RosterItem::new(contact.clone()));
    item.subscription = item.subscription | entry.subscription;
    item.ask &= !item.subscription.to();
    item.approved &= !item.subscription.from();
    for label in &entry.labels {
        if !item.groups.contains(label) {
            item.groups.push(label.clone());
        }
    }
    Some(item)
}

/// The version of a roster as clients see it.
pub fn version(own: u64, sum: u64) -> String {
    if sum == 0 { own.to_string() } else { format!("{own}-{sum:x}") }
}

/// Reads what [`version`] wrote.
pub fn parse_version(text: &str) -> Option<RosterTold> {
    let (own, sum) = text.split_once('-').unwrap_or((text, "0"));
    Some(RosterTold { version: own.parse().ok()?, shared: u64::from_str_radix(sum, 16).ok()? })
}

/// Notes that the client is about to be told of a change, to its own item (then with the roster's
/// version) or to what groups say of it; returns the version that it has then.
pub fn tell(session: &Session, version: Option<u64>, change: u64) -> String {
    let mut told = session.roster_told.lock();
    let Some(told) = &mut *told else {
        // Unknown, since the session is older than this process: no version that will fit.
        return format!("{}-x", version.unwrap_or_default());
    };
    told.version = told.version.max(version.unwrap_or_default());
    told.shared ^= change;
    self::version(version.unwrap_or(told.version), told.shared)
}
