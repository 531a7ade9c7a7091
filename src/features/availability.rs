//! What one other address learns of an account's available resources, when a subscription or a
//! block begins or ends. (What *all* learn when a resource changes is `delivery::presence`.)

use std::sync::Arc;

use super::Outbox;
use crate::jid::{BareJid, Jid};
use crate::router::Router;
use crate::stanza::{Stanza, Type};
use crate::store::Facts;
use crate::store::groups::Group;
use crate::store::rosters::Subscription;

/// Sends `to` the last presence of each available resource of `owner`.
pub fn tell_available(router: &Router, owner: &BareJid, to: &Jid, out: &Outbox) {
    for session in router.sessions.of(owner.as_str()) {
        if let Some(presence) = session.presence() {
            let mut presence = Stanza::clone(&presence);
            presence.head.to = Some(to.clone());
            out.push(presence);
        }
    }
}

/// Sends `to` unavailable presence from each available resource of `owner`.
pub fn tell_unavailable(router: &Router, owner: &BareJid, to: &Jid, out: &Outbox) {
    for session in router.sessions.of(owner.as_str()).iter().filter(|s| s.is_available()) {
        out.push(unavailable(&session.jid, to));
    }
}

/// XEP-0191 §3.2: the owner has blocked `entry`. Whoever it covers and has seen the owner's
/// presence, by subscription or because it was sent to them, sees it no longer.
pub fn hide_from(router: &Router, facts: &Facts, entry: &Jid, out: &Outbox) {
    for to in covered(router, facts, entry, Subscription::from) {
        tell_unavailable(router, &facts.jid, &to, out);
    }
    for session in router.sessions.of(facts.jid.as_str()) {
        session.directed.lock().retain(|to| {
            let hidden = covers(entry, to);
            if hidden {
                out.push(unavailable(&session.jid, to));
            }
            !hidden
        });
    }
}

/// XEP-0191 §3.3: the owner has unblocked `entries`. Those who may, see the owner's presence
/// again, and are asked for theirs, which was kept from the owner meanwhile.
pub fn show_to(router: &Router, facts: &Facts, entries: &[Jid], out: &Outbox) {
    for entry in entries {
        for to in covered(router, facts, entry, Subscription::from) {
            if !facts.blocks(&to) {
                tell_available(router, &facts.jid, &to, out);
            }
        }
        for to in covered(router, facts, entry, Subscription::to) {
            if facts.blocks(&to) {
                continue;
            }
            for session in router.sessions.of(facts.jid.as_str()) {
                if session.is_available() {
                    let from = Some(session.jid.clone());
                    out.push(Stanza::presence(Some(Type::Probe), from, Some(to.clone()), []));
                }
            }
        }
    }
}

pub fn unavailable(from: &Jid, to: &Jid) -> Stanza {
    Stanza::presence(Some(Type::Unavailable), Some(from.clone()), Some(to.clone()), [])
}

/// The addresses among the contacts that `wanted` picks which a block list entry stands for.
fn covered(
    router: &Router,
    facts: &Facts,
    entry: &Jid,
    wanted: fn(Subscription) -> bool,
) -> Vec<Jid> {
    if entry.local().is_some() || entry.resource().is_some() {
        let meant = wanted(facts.subscription(entry.bare_str()));
        return meant.then(|| entry.clone()).into_iter().collect();
    }
    let own = facts.roster.iter().filter(|contact| wanted(facts.between(contact)));
    let mut covered: Vec<Jid> = own.map(|contact| contact.jid.clone().into()).collect();
    if let Some(shared) = &facts.shared {
        let peers = peers(router, facts, shared.seen().chain(shared.seen_by()));
        let peers = peers.into_iter().filter(|jid| wanted(facts.subscription(jid.as_str())));
        covered.extend(peers.map(Jid::from));
    }
    covered.retain(|jid| jid.domain() == entry.domain());
    covered
}

/// The members of `groups`, shared ones that concern the account, who may be online and are not
/// in the roster by themselves.
pub fn peers<'a>(
    router: &Router,
    facts: &Facts,
    groups: impl Iterator<Item = &'a Arc<Group>>,
) -> Vec<BareJid> {
    let mut peers = Vec::new();
    for group in groups {
        if group.is_wide() {
            peers.extend(router.sessions.available_on(&group.name.host));
        }
        peers.extend(group.members.iter().cloned());
    }
    peers.sort_unstable();
    peers.dedup();
    peers.retain(|jid| *jid != facts.jid && facts.contact(jid.as_str()).is_none());
    peers
}

/// XEP-0191 §5, for one entry.
fn covers(entry: &Jid, address: &Jid) -> bool {
    entry.domain() == address.domain()
        && entry.local().is_none_or(|local| address.local() == Some(local))
        && entry.resource().is_none_or(|resource| address.resource() == Some(resource))
}
