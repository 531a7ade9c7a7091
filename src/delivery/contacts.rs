//! Contacts that somebody else than the owner's client puts into a roster or takes out: clients
//! hear of it at once, and presence follows.

use std::sync::Arc;

use super::{presence, route};
use crate::config::HostConfig;
use crate::features::roster::{self, Removed};
use crate::features::{Outbox, availability};
use crate::jid::{BareJid, Jid};
use crate::router::{Router, Target};
use crate::stanza::{Stanza, Type};
use crate::store::rosters::{RosterItem, Subscription};
use crate::store::{Facts, StoreError};
use crate::time::Now;

/// Puts `item` into a roster in the place of what was there. Only this side: the contact's own
/// roster, here or elsewhere, says of it what it says.
pub async fn put(
    router: &Arc<Router>,
    host: &HostConfig,
    owner: &Facts,
    item: RosterItem,
    now: Now,
) -> Result<(), StoreError> {
    let contact = item.jid.clone();
    let subscription = item.subscription;
    let rosters = router.store.rosters();
    let edited = rosters
        .edit(owner.id, &contact, roster::limits(router, host, &owner.jid), now, move |entry| {
            if item.subscription.from() {
                entry.request = None;
            }
            let before = entry.item.take();
            let (ask, approved) = before.map_or((false, false), |b| (b.ask, b.approved));
            entry.item = Some(RosterItem {
                ask: ask && !item.subscription.to(),
                approved: approved && !item.subscription.from(),
                ..item
            });
        })
        .await?;
    let by_groups = presence::by_groups(router, &owner.jid, &contact).await?;
    let before = edited.before.item.map(|item| item.subscription).unwrap_or_default() | by_groups;
    let out = Outbox::default();
    if edited.version.is_some() {
        let item = edited.after.item;
        for (session, push) in
            roster::pushes(router, &owner.jid, edited.version, &contact, item).await?
        {
            route::to_session(&session, push);
        }
    }
    follow(router, owner, &contact, before, subscription | by_groups, &out).await?;
    route::drain(router, out, now).await;
    Ok(())
}

/// Removes a contact as the owner's client would: subscriptions end in both directions.
pub async fn remove(
    router: &Arc<Router>,
    host: &HostConfig,
    owner: &Facts,
    contact: &BareJid,
    now: Now,
) -> Result<Removed, StoreError> {
    let out = Outbox::default();
    let removed =
        roster::remove_contact(router, host, &owner.jid, owner.id, contact, now, &out).await?;
    route::drain(router, out, now).await;
    Ok(removed)
}

/// Presence begins and ends to flow as subscriptions do.
async fn follow(
    router: &Arc<Router>,
    owner: &Facts,
    contact: &BareJid,
    before: Subscription,
    after: Subscription,
    out: &Outbox,
) -> Result<(), StoreError> {
    let to = Jid::from(contact.clone());
    match (before.from(), after.from()) {
        (false, true) => availability::tell_available(router, &owner.jid, &to, out),
        (true, false) => availability::tell_unavailable(router, &owner.jid, &to, out),
        _ => {}
    }
    let local = matches!(router.resolve(contact), Target::Account(_));
    match (before.to(), after.to()) {
        (false, true) => {
            let sessions = router.sessions.of(owner.jid.as_str());
            for session in sessions.iter().filter(|session| session.is_available()) {
                if local {
                    // A contact that does not let the owner see it stays unseen.
                    let theirs = router.store.facts(contact).await?;
                    if theirs.is_some_and(|them| them.subscription(owner.jid.as_str()).from()) {
                        presence::look_up(router, session, owner, contact, out).await?;
                    }
                } else {
                    let (from, to) = (Some(session.jid.clone()), Some(to.clone()));
                    out.push(Stanza::presence(Some(Type::Probe), from, to, []));
                }
            }
        }
        (true, false) if local => {
            let owner = Jid::from(owner.jid.clone());
            availability::tell_unavailable(router, contact, &owner, out);
        }
        _ => {}
    }
    Ok(())
}
