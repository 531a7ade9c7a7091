//! RFC 6121 §2: the roster, with versions (§2.6, formerly XEP-0237) and pushes.
//!
//! Shared roster groups are merged in on the way out (`shared`); what is stored is the owner's.
//!
//! Subscription states live in the same rows: [`state`] reads one as `subscription` sees it,
//! [`put_state`] writes it back. Both are meant for the closure of [`Rosters::edit`], which makes
//! one act of reading, deciding and writing.
//!
//! [`Rosters::edit`]: crate::store::rosters::Rosters::edit

pub mod shared;

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use super::subscription::{Request, State};
use super::{
    Ctx, Feature, Handled, Iq, Outbox, Reply, Target, Who, availability, get, on, set, stream, xep,
};
use crate::config::model::HostConfig;
use crate::jid::{BareJid, Jid};
use crate::router::sessions::{Flag, RosterTold};
use crate::router::{Router, Session};
use crate::stanza::error::{Condition, StanzaError};
use crate::stanza::{Stanza, Type};
use crate::store::rosters::{
    Roster, RosterChanges, RosterEntry, RosterItem, RosterLimits, Subscription,
};
use crate::store::{AccountId, StoreError};
use crate::time::Now;
use crate::xml::element::Element;
use crate::xml::ns;

pub const FEATURE: Feature = Feature {
    xeps: &[xep(237, "1.3")],
    disco: &[on(Target::Host, ns::ROSTER)],
    stream: &[
        stream("<ver xmlns='urn:xmpp:features:rosterver'/>"),
        stream("<sub xmlns='urn:xmpp:features:pre-approval'/>"),
    ],
    iq: &[
        get(Target::Account, Who::Owner, "query", ns::ROSTER, read),
        set(Target::Account, Who::Owner, "query", ns::ROSTER, write),
    ],
    ..Feature::NONE
};

/// Bytes of an item's name, and of each of its groups.
pub const NAME_BYTES_MAX: usize = 1_023;
pub const GROUPS_MAX: usize = 64;
/// Subscription requests that may wait for one account. Past it a stranger's request is not kept;
/// contacts in the roster are bounded by the roster itself.
const REQUESTS_MAX: usize = 1_000;

/// What the roster of `owner`, an account of `host`, may hold.
pub fn limits(router: &Router, host: &HostConfig, owner: &Jid) -> RosterLimits {
    let items_max = router.amount(&host.roster_items_max, owner);
    RosterLimits { items_max, requests_max: REQUESTS_MAX }
}

/// The subscription state of an entry.
pub fn state(entry: &RosterEntry) -> State {
    let item = entry.item.as_ref();
    let subscription = item.map_or(Subscription::None, |item| item.subscription);
    State {
        to: subscription.to(),
        from: subscription.from(),
        pending_out: item.is_some_and(|item| item.ask),
        pending_in: entry.request.is_some(),
        approved: item.is_some_and(|item| item.approved),
    }
}

/// Writes a state into an entry. `request` is the stanza to keep when a request begins to wait.
/// A contact that was not in the roster enters it once there is something to show.
pub fn put_state(entry: &mut RosterEntry, contact: &BareJid, state: State, request: Option<Bytes>) {
    entry.request = if state.pending_in { entry.request.take().or(request) } else { None };
    let shows = State { pending_in: false, ..state } != State::default();
    if entry.item.is_none() && shows {
        entry.item = Some(RosterItem::new(contact.clone()));
    }
    if let Some(item) = &mut entry.item {
        item.subscription = Subscription::new(state.to, state.from);
        item.ask = state.pending_out;
        item.approved = state.approved;
    }
}

/// §2.1.6: is this a roster push that somebody made up? Clients are to know them by their `from`,
/// but not all do.
pub fn is_forged_push(from: &Jid, stanza: &Stanza) -> bool {
    let to = stanza.head.to.as_ref();
    stanza.head.typ == Some(Type::Set)
        && stanza.has("query", ns::ROSTER)
        && to.is_none_or(|to| to.bare_str() != from.bare_str())
}

/// Roster full, in the words of the config.
pub fn full(max: usize) -> StanzaError {
    StanzaError::new(Condition::PolicyViolation)
        .with_text(format!("The roster holds at most {max} contacts (roster_items_max)."))
}

fn read<'a>(cx: &'a Ctx<'a>, iq: Iq) -> Handled<'a> {
    Box::pin(async move {
        let session = cx.session()?;
        // Before reading: a change in between is pushed rather than missed.
        session.set(Flag::Interested, true);
        let entries = entries(cx.router, cx.account()?).await?;
        let sum = shared::sum(&entries);
        let rosters = cx.router.store.rosters();
        let known = iq.payload.get("ver");
        let since = known.and_then(shared::parse_version).filter(|told| told.shared == sum);
        let roster = match since {
            None => rosters.get(session.account).await?,
            Some(told) => match rosters.changes(session.account, told.version).await? {
                RosterChanges::Whole(roster) => roster,
                RosterChanges::Since(changes) => {
                    *session.roster_told.lock() = Some(told);
                    if changes.is_empty() {
                        return Ok(Reply::Empty);
                    }
                    // §2.6.3: the empty result stands for the version the client has, then follow
                    // the pushes that it missed.
                    cx.out.push_to(session, iq.stanza.result(None));
                    for change in changes {
                        let item =
                            shared::merged(&change.jid, change.item, entries.get(&change.jid));
                        let push =
                            push_to(session, Some(change.version), 0, &change.jid, item.as_ref());
                        cx.out.push_to(session, push);
                    }
                    return Ok(Reply::Later);
                }
            },
        };
        let told = RosterTold { version: roster.version, shared: sum };
        *session.roster_told.lock() = Some(told);
        let mut query = Element::new("query", ns::ROSTER);
        if known.is_some() {
            query.set("ver", &shared::version(told.version, told.shared));
        }
        for item in merge(roster, entries).items {
            query.push(item_element(&item));
        }
        Ok(Reply::Result(query))
    })
}

/// A roster as its owner's clients see it: with what shared groups put into it.
pub async fn whole(
    router: &Router,
    owner: &BareJid,
    account: AccountId,
) -> Result<Roster, StoreError> {
    let entries = entries(router, owner).await?;
    Ok(merge(router.store.rosters().get(account).await?, entries))
}

fn merge(mut roster: Roster, mut entries: BTreeMap<BareJid, shared::Entry>) -> Roster {
    if entries.is_empty() {
        return roster;
    }
    let own = roster.items.into_iter().filter_map(|item| {
        let (jid, entry) = (item.jid.clone(), entries.remove(&item.jid));
        shared::merged(&jid, Some(item), entry.as_ref())
    });
    roster.items = own.collect();
    let others = entries.iter().filter_map(|(jid, entry)| shared::merged(jid, None, Some(entry)));
    roster.items.extend(others);
    roster.items.sort_unstable_by(|a, b| a.jid.cmp(&b.jid));
    roster
}

/// All that shared groups put into a roster.
async fn entries(
    router: &Router,
    owner: &BareJid,
) -> Result<BTreeMap<BareJid, shared::Entry>, StoreError> {
    let groups = router.store.groups().snapshot();
    match groups.view(owner) {
        Some(view) => shared::Moment::of(&groups).entries(router, &view).await,
        None => Ok(BTreeMap::new()),
    }
}

/// What shared groups say of one contact, if it is an account that they know.
pub async fn entry(
    router: &Router,
    owner: &BareJid,
    contact: &BareJid,
) -> Result<Option<shared::Entry>, StoreError> {
    let groups = router.store.groups().snapshot();
    let Some(view) = groups.view(owner) else { return Ok(None) };
    let entry = shared::Moment::of(&groups).entry(router, Some(&view), contact);
    // Everybody is a member by @all@, even who is not there.
    Ok(match entry {
        Some(entry) => router.store.facts(contact).await?.map(|_| entry),
        None => None,
    })
}

fn write<'a>(cx: &'a Ctx<'a>, iq: Iq) -> Handled<'a> {
    Box::pin(async move {
        let wanted = Wanted::parse(&iq.payload)?;
        if wanted.jid == *cx.account()? {
            return Err(
                StanzaError::new(Condition::NotAllowed).with_text("You are not your own contact.")
            );
        }
        if wanted.remove { remove(cx, wanted.jid).await } else { update(cx, wanted).await }
    })
}

/// §2.3 and §2.4: adds an item, or replaces its name and groups.
async fn update(cx: &Ctx<'_>, wanted: Wanted) -> Result<Reply, StanzaError> {
    let session = cx.session()?;
    let Wanted { jid, name, groups, .. } = wanted;
    let contact = jid.clone();
    let labels = entry(cx.router, cx.account()?, &jid).await?.map(|entry| entry.labels);
    let shared = labels.is_some();
    let rosters = cx.router.store.rosters();
    let edited = rosters
        .edit(
            session.account,
            &jid,
            limits(cx.router, cx.host, &session.jid),
            cx.now,
            move |entry| {
                let item = entry.item.get_or_insert_with(|| RosterItem::new(contact.clone()));
                item.name = name;
                item.groups = groups;
                // What shared groups say is theirs to say; nothing of it stays once they say it no more.
                item.groups
                    .retain(|group| labels.as_ref().is_none_or(|labels| !labels.contains(group)));
                if shared && *item == RosterItem::new(contact) {
                    entry.item = None;
                }
            },
        )
        .await;
    let edited = match edited {
        Err(StoreError::TooMany { max, .. }) => return Err(full(max)),
        edited => edited?,
    };
    if edited.version.is_some() || shared {
        push(cx, edited.version, &jid, edited.after.item).await?;
    }
    Ok(Reply::Empty)
}

/// §2.5: removes an item and ends what subscriptions there are, in both directions.
async fn remove(cx: &Ctx<'_>, jid: BareJid) -> Result<Reply, StanzaError> {
    let owner = cx.account()?;
    let account = cx.session()?.account;
    match remove_contact(cx.router, cx.host, owner, account, &jid, cx.now, cx.out).await? {
        Removed::Gone => Ok(Reply::Empty),
        Removed::NotThere => Err(StanzaError::new(Condition::ItemNotFound)),
        Removed::Shared => Err(StanzaError::new(Condition::NotAllowed)
            .with_text("This contact comes from a shared group of the server and stays.")),
    }
}

/// What became of an item that was to be removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Removed {
    /// What the owner had of it is gone; a shared group may go on to show the contact.
    Gone,
    NotThere,
    /// All there is of it comes from a shared group.
    Shared,
}

/// Removes an item from a roster as if its owner had; see [`remove`].
pub async fn remove_contact(
    router: &Router,
    host: &HostConfig,
    owner: &BareJid,
    account: AccountId,
    contact: &BareJid,
    now: Now,
    out: &Outbox,
) -> Result<Removed, StoreError> {
    let shared = entry(router, owner, contact).await?;
    let rosters = router.store.rosters();
    let edited = rosters
        .edit(account, contact, limits(router, host, owner), now, |entry| {
            // A stranger's request that waits is not the roster's to drop.
            if entry.item.is_some() {
                *entry = RosterEntry::default();
            }
        })
        .await?;
    let Some(version) = edited.version else {
        return Ok(if shared.is_some() { Removed::Shared } else { Removed::NotThere });
    };
    let still = shared.map(|entry| entry.subscription).unwrap_or_default();
    let before = state(&edited.before);
    let to = Jid::from(contact.clone());
    if before.from && !still.from() {
        availability::tell_unavailable(router, owner, &to, out);
    }
    for (due, request) in [
        (before.to || before.pending_out, Request::Unsubscribe),
        (before.from || before.pending_in, Request::Unsubscribed),
    ] {
        if due {
            let from = Jid::from(owner.clone());
            out.push(Stanza::presence(Some(request.typ()), Some(from), Some(to.clone()), []));
        }
    }
    for (session, push) in pushes(router, owner, Some(version), contact, None).await? {
        out.push_to(&session, push);
    }
    Ok(Removed::Gone)
}

/// §2.1.6: what all interested resources of `owner` are told about one of its own items, with what
/// shared groups say of it; `None` = it has none any more.
pub async fn pushes(
    router: &Router,
    owner: &BareJid,
    version: Option<u64>,
    contact: &BareJid,
    item: Option<RosterItem>,
) -> Result<Vec<(Arc<Session>, Stanza)>, StoreError> {
    let mut interested = router.sessions.of(owner.as_str());
    interested.retain(|session| session.has(Flag::Interested));
    if interested.is_empty() {
        return Ok(Vec::new());
    }
    let entry = entry(router, owner, contact).await?;
    let item = shared::merged(contact, item, entry.as_ref());
    let pushes = interested.into_iter().map(|session| {
        let push = push_to(&session, version, 0, contact, item.as_ref());
        (session, push)
    });
    Ok(pushes.collect())
}

async fn push(
    cx: &Ctx<'_>,
    version: Option<u64>,
    contact: &BareJid,
    item: Option<RosterItem>,
) -> Result<(), StanzaError> {
    for (session, push) in pushes(cx.router, cx.account()?, version, contact, item).await? {
        cx.out.push_to(&session, push);
    }
    Ok(())
}

/// A push for one session: `item` is what it is to show, `version` that of the change to the
/// roster's own item, if it was one, `change` what changed in the sum of what shared groups say.
pub fn push_to(
    session: &Session,
    version: Option<u64>,
    change: u64,
    contact: &BareJid,
    item: Option<&RosterItem>,
) -> Stanza {
    let ver = shared::tell(session, version, change);
    let element = match item {
        Some(item) => item_element(item),
        None => Element::new("item", ns::ROSTER)
            .attr("jid", contact.as_str())
            .attr("subscription", "remove"),
    };
    let id = format!("roster-{ver}");
    let query = Element::new("query", ns::ROSTER).attr("ver", ver).with(element);
    addressed(Stanza::iq(Type::Set, &id, None, None, Some(query)), &session.jid)
}

fn addressed(mut stanza: Stanza, to: &Jid) -> Stanza {
    stanza.head.to = Some(to.clone());
    stanza
}

pub fn item_element(item: &RosterItem) -> Element {
    let mut element = Element::new("item", ns::ROSTER)
        .attr("jid", item.jid.as_str())
        .attr("subscription", item.subscription.name());
    if let Some(name) = &item.name {
        element.set("name", name);
    }
    if item.ask {
        element.set("ask", "subscribe");
    }
    if item.approved {
        element.set("approved", "true");
    }
    for group in &item.groups {
        element.push(Element::new("group", ns::ROSTER).with_text(group));
    }
    element
}

/// The one item of a roster set.
#[derive(Debug, PartialEq, Eq)]
struct Wanted {
    jid: BareJid,
    remove: bool,
    name: Option<String>,
    groups: Vec<String>,
}

impl Wanted {
    /// §2.3.3. Attributes that are the server's to set (`ask`, `approved`, and any `subscription`
    /// but `remove`) are ignored (§2.1.2).
    fn parse(query: &Element) -> Result<Wanted, StanzaError> {
        let mut children = query.children();
        let (Some(item), None) = (children.next(), children.next()) else {
            return Err(StanzaError::new(Condition::BadRequest)
                .with_text("A roster set has exactly one item."));
        };
        if !item.is("item", ns::ROSTER) {
            return Err(StanzaError::new(Condition::BadRequest)
                .with_text("A roster set has exactly one item."));
        }
        let Some(jid) = item.get("jid") else {
            return Err(
                StanzaError::new(Condition::BadRequest).with_text("A roster item has a 'jid'.")
            );
        };
        let jid = Jid::parse(jid).map_err(|_| StanzaError::new(Condition::JidMalformed))?.bare();
        let name = item.get("name").filter(|name| !name.is_empty()).map(str::to_owned);
        let mut groups: Vec<String> = Vec::new();
        for group in item.children().filter(|child| child.is("group", ns::ROSTER)) {
            let group = group.text();
            if groups.contains(&group) {
                return Err(StanzaError::new(Condition::BadRequest)
                    .with_text("A roster item names a group once."));
            }
            if group.is_empty() || group.len() > NAME_BYTES_MAX || groups.len() == GROUPS_MAX {
                return Err(StanzaError::new(Condition::NotAcceptable).with_text(format!(
                    "A roster item has at most {GROUPS_MAX} groups of 1 to {NAME_BYTES_MAX} bytes."
                )));
            }
            groups.push(group);
        }
        if name.as_ref().is_some_and(|name| name.len() > NAME_BYTES_MAX) {
            return Err(StanzaError::new(Condition::NotAcceptable).with_text(format!(
                "The name of a roster item has at most {NAME_BYTES_MAX} bytes."
            )));
        }
        let remove = item.get("subscription") == Some("remove");
        Ok(Wanted { jid, remove, name, groups })
    }
}

#[cfg(test)]
mod tests;
