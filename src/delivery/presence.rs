//! Presence (RFC 6121 §3 and §4): what a session's presence sets in motion, what arrives for an
//! account, and what a session owes to others when it ends.
//!
//! Presence for local contacts goes straight to their sessions; what is for others is pushed to
//! the outbox. One broadcast shares one payload.

use std::sync::Arc;

use bytes::Bytes;

use super::{accounts, groups, route};
use crate::config::model::HostConfig;
use crate::features::subscription::{self, Request, State, Step, Tell};
use crate::features::{Outbox, announce, availability, blocking, invites, offline, roster};
use crate::jid::{BareJid, Jid};
use crate::router::sessions::Flag;
use crate::router::{Item, Router, Session, Target};
use crate::stanza::error::{Condition, StanzaError};
use crate::stanza::{Stanza, Type};
use crate::store::accounts::LastSeen;
use crate::store::rosters::{RosterItem, Subscription};
use crate::store::{Facts, StoreError};
use crate::time::Now;

/// Addresses outside its roster to which one session may show itself, rooms included.
const DIRECTED_MAX: usize = 1_000;
/// A subscription request above this waits without its payload, which is a greeting at best.
const REQUEST_BYTES_MAX: usize = 4_096;
/// Bytes of the status text that is kept for XEP-0012.
const STATUS_BYTES_MAX: usize = 1_024;

/// Takes a presence that `session` sent, stamped with its full JID.
pub async fn outbound(
    router: &Arc<Router>,
    session: &Arc<Session>,
    stanza: Stanza,
    out: &Outbox,
    now: Now,
) -> Result<(), StanzaError> {
    let owner = session.jid.bare();
    let facts = router.store.facts(&owner).await?.ok_or(Condition::NotAllowed)?;
    let Some(to) = stanza.head.to.clone() else {
        return match stanza.head.typ {
            None => available(router, session, &facts, stanza, out, now).await,
            Some(Type::Unavailable) => {
                // §4.5.2: the session itself hears it too, though it is not available any more.
                let own = session.is_available().then(|| stanza.clone());
                leave(router, session, Some(&facts), stanza, out, now).await?;
                if let Some(mut own) = own {
                    own.head.to = Some(owner.into());
                    route::to_session(session, own);
                }
                Ok(())
            }
            Some(Type::Error) => Ok(()),
            Some(_) => Err(StanzaError::new(Condition::BadRequest)
                .with_text("Presence of this type needs a 'to'.")),
        };
    };
    if blocking::is_blocked(&facts, &to) {
        return Err(blocking::outbound_refusal());
    }
    match (stanza.head.typ, Request::of(stanza.head.typ)) {
        (_, Some(request)) => ask(router, session, request, &to.bare(), stanza, out, now).await,
        (None, _) => {
            note_directed(session, &facts, &to)?;
            out.push(stanza);
            Ok(())
        }
        (Some(Type::Unavailable), _) => {
            let same =
                |other: &Jid| *other == to || to.is_bare() && other.bare_str() == to.as_str();
            session.directed.lock().retain(|other| !same(other));
            out.push(stanza);
            Ok(())
        }
        (Some(Type::Probe | Type::Error), _) => {
            out.push(stanza);
            Ok(())
        }
        _ => {
            Err(StanzaError::new(Condition::BadRequest)
                .with_text("There is no such type of presence."))
        }
    }
}

/// §4.2 and §4.4: initial presence, and every change of it.
async fn available(
    router: &Arc<Router>,
    session: &Arc<Session>,
    facts: &Facts,
    stanza: Stanza,
    out: &Outbox,
    now: Now,
) -> Result<(), StanzaError> {
    let priority = stanza.priority();
    let before = session.priority();
    let shown = Arc::new(stanza.clone());
    let initial = session.set_presence(Some((shown, priority))).is_none();
    if session.has(Flag::Ended) {
        // It ended meanwhile, and whoever ended it may have seen no presence to take back.
        session.set_presence(None);
        return Ok(());
    }
    if initial {
        groups::came_or_went(router, &facts.jid, true).await?;
    }
    broadcast(router, facts, stanza, out).await?;
    if initial {
        meet(router, session, facts, out).await?;
        deliver_requests(router, session, facts).await?;
        if facts.welcome {
            accounts::greet(router, facts, now).await?;
        }
    }
    if priority >= 0 && (initial || before < 0) {
        offline::flood(router, session).await?;
        if let Some(motd) = announce::motd(router, session).await? {
            route::to_session(session, motd);
        }
    }
    Ok(())
}

/// §4.5: the session leaves; `stanza` says so, perhaps with a status. Also what a session owes
/// that ends without a word.
async fn leave(
    router: &Arc<Router>,
    session: &Arc<Session>,
    facts: Option<&Facts>,
    stanza: Stanza,
    out: &Outbox,
    now: Now,
) -> Result<(), StanzaError> {
    let was_available = session.set_presence(None).is_some();
    // §4.6.3: whoever was shown presence beyond the roster is told that it ends.
    for to in std::mem::take(&mut *session.directed.lock()) {
        let mut stanza = stanza.clone();
        stanza.head.to = Some(to);
        out.push(stanza);
    }
    let Some(facts) = facts.filter(|_| was_available) else { return Ok(()) };
    let mut status = stanza.status().unwrap_or_default();
    status.truncate(status.floor_char_boundary(STATUS_BYTES_MAX));
    broadcast(router, facts, stanza, out).await?;
    groups::came_or_went(router, &facts.jid, false).await?;
    Ok(router.store.accounts().set_last_seen(facts.id, LastSeen { at: now, status }).await?)
}

/// Ends the presence of a session that ends, as if it had said so itself (§4.5.1). The session is
/// out of the table already. Harmless when called twice.
pub async fn session_ended(router: &Arc<Router>, session: &Arc<Session>, out: &Outbox, now: Now) {
    if !session.is_available() && session.directed.lock().is_empty() {
        return;
    }
    // Its account may lie in the bin already.
    let facts = match router.store.facts_with_bin(&session.jid.bare()).await {
        Ok(facts) => facts,
        Err(error) => {
            tracing::error!(jid = %session.jid, %error, "contacts are not told that a session ended");
            None
        }
    };
    let stanza = Stanza::presence(Some(Type::Unavailable), Some(session.jid.clone()), None, []);
    if let Err(error) = leave(router, session, facts.as_deref(), stanza, out, now).await {
        tracing::error!(jid = %session.jid, ?error, "a session's end was not recorded");
    }
}

/// Ends all subscriptions of an account that is about to be removed, and the requests that it never
/// answered: whoever takes its name next inherits nobody's presence. Its sessions have ended.
pub async fn farewell(router: &Arc<Router>, owner: &BareJid, now: Now) -> Result<(), StoreError> {
    let Some(facts) = router.store.facts_with_bin(owner).await? else { return Ok(()) };
    let out = Outbox::default();
    let send = |request: Request, contact: &BareJid| {
        let (from, to) = (owner.clone().into(), contact.clone().into());
        out.push(Stanza::presence(Some(request.typ()), Some(from), Some(to), []));
    };
    for contact in &facts.roster {
        if contact.subscription.to() || contact.ask {
            send(Request::Unsubscribe, &contact.jid);
        }
        if contact.subscription.from() {
            send(Request::Unsubscribed, &contact.jid);
        }
    }
    for (contact, _) in router.store.rosters().requests(facts.id).await? {
        send(Request::Unsubscribed, &contact);
    }
    route::drain(router, out, now).await;
    Ok(())
}

/// Sends a presence to all who may see the account, its own resources included (§4.2.2).
async fn broadcast(
    router: &Arc<Router>,
    facts: &Facts,
    mut stanza: Stanza,
    out: &Outbox,
) -> Result<(), StoreError> {
    stanza.head.to = Some(facts.jid.clone().into());
    to_available(router, &facts.jid, stanza.clone());
    for contact in facts.roster.iter().filter(|contact| facts.between(contact).from()) {
        if blocking::is_blocked(facts, &contact.jid) {
            continue;
        }
        stanza.head.to = Some(contact.jid.clone().into());
        match router.resolve(&contact.jid) {
            Target::Account(_) => to_local(router, facts, &contact.jid, stanza.clone()).await?,
            _ => out.push(stanza.clone()),
        }
    }
    let Some(shared) = &facts.shared else { return Ok(()) };
    for peer in availability::peers(router, facts, shared.seen_by()) {
        if !blocking::is_blocked(facts, &peer) {
            stanza.head.to = Some(peer.clone().into());
            to_local(router, facts, &peer, stanza.clone()).await?;
        }
    }
    Ok(())
}

/// Presence of one local account for another.
async fn to_local(
    router: &Arc<Router>,
    sender: &Facts,
    contact: &BareJid,
    stanza: Stanza,
) -> Result<(), StoreError> {
    // Most contacts are not there most of the time: look before asking the store.
    if router.sessions.of(contact.as_str()).iter().all(|s| !s.is_available()) {
        return Ok(());
    }
    let from = stanza.head.from.clone().unwrap_or_else(|| sender.jid.clone().into());
    let receiver = router.store.facts(contact).await?;
    if receiver.is_some_and(|receiver| !blocking::is_blocked(&receiver, &from)) {
        to_available(router, contact, stanza);
    }
    Ok(())
}

/// Hands a stanza to every available resource of a local account.
fn to_available(router: &Router, account: &BareJid, stanza: Stanza) {
    to_sessions(router, account, stanza, Session::is_available);
}

fn to_sessions(router: &Router, account: &BareJid, stanza: Stanza, to: fn(&Session) -> bool) {
    let stanza = Arc::new(stanza);
    for session in router.sessions.of(account.as_str()).iter().filter(|session| to(session)) {
        let item = Item { stanza: Arc::clone(&stanza), stored: None, offline: false };
        if session.deliver(item).is_err() {
            session.overflow();
        }
    }
}

/// §4.3: what a session that has just come learns of others: its own other resources, and the
/// contacts it is subscribed to. Those of other servers are probed; ours are looked up.
async fn meet(
    router: &Arc<Router>,
    session: &Arc<Session>,
    facts: &Facts,
    out: &Outbox,
) -> Result<(), StoreError> {
    for other in router.sessions.of(facts.jid.as_str()) {
        if !Arc::ptr_eq(&other, session) {
            show(&other, session);
        }
    }
    for contact in facts.roster.iter().filter(|contact| facts.between(contact).to()) {
        if blocking::is_blocked(facts, &contact.jid) {
            continue;
        }
        if let Target::Account(_) = router.resolve(&contact.jid) {
            look_up(router, session, facts, &contact.jid, out).await?;
        } else {
            let from = Some(session.jid.clone());
            let to = Some(contact.jid.clone().into());
            out.push(Stanza::presence(Some(Type::Probe), from, to, []));
        }
    }
    let Some(shared) = &facts.shared else { return Ok(()) };
    for peer in availability::peers(router, facts, shared.seen()) {
        if !blocking::is_blocked(facts, &peer) {
            look_up(router, session, facts, &peer, out).await?;
        }
    }
    Ok(())
}

/// Shows a session the presence of a local contact, which it is subscribed to.
pub(super) async fn look_up(
    router: &Arc<Router>,
    session: &Arc<Session>,
    facts: &Facts,
    contact: &BareJid,
    out: &Outbox,
) -> Result<(), StoreError> {
    let others = router.sessions.of(contact.as_str());
    if others.iter().all(|other| !other.is_available()) {
        // §4.3.2 would answer "unavailable", which is what the client assumes anyway.
        return Ok(());
    }
    let Some(theirs) = router.store.facts(contact).await? else { return Ok(()) };
    if blocking::is_blocked(&theirs, &session.jid) {
        return Ok(());
    }
    if theirs.subscription(facts.jid.as_str()).from() {
        others.iter().for_each(|other| show(other, session));
    } else {
        out.push(no_subscription(contact, &facts.jid));
    }
    Ok(())
}

/// Gives one session the presence of another.
fn show(other: &Session, to: &Arc<Session>) {
    if let Some(presence) = other.presence() {
        let mut presence = Stanza::clone(&presence);
        presence.head.to = Some(to.jid.clone());
        route::to_session(to, presence);
    }
}

/// §3.1.3: requests that nobody has answered are shown again, each time, until somebody does.
async fn deliver_requests(
    router: &Arc<Router>,
    session: &Arc<Session>,
    facts: &Facts,
) -> Result<(), StoreError> {
    for (contact, xml) in router.store.rosters().requests(facts.id).await? {
        if blocking::is_blocked(facts, &contact) {
            continue;
        }
        match Stanza::parse(&xml) {
            Ok(stanza) => route::to_session(session, stanza),
            Err(error) => {
                tracing::error!(%contact, %error, "a stored subscription request is not XML")
            }
        }
    }
    Ok(())
}

/// §3: a session subscribes, unsubscribes, approves or refuses.
async fn ask(
    router: &Arc<Router>,
    session: &Arc<Session>,
    request: Request,
    contact: &BareJid,
    mut stanza: Stanza,
    out: &Outbox,
    now: Now,
) -> Result<(), StanzaError> {
    let owner = session.jid.bare();
    if owner == *contact {
        return Err(
            StanzaError::new(Condition::NotAllowed).with_text("You always see your own presence.")
        );
    }
    let host = router.host(owner.domain()).ok_or(Condition::NotAllowed)?;
    let by_groups = by_groups(router, &owner, contact).await?;
    let stays = match request {
        Request::Subscribe | Request::Unsubscribe => by_groups.to(),
        Request::Subscribed | Request::Unsubscribed => by_groups.from(),
    };
    if stays && request == Request::Subscribe {
        // §3.1.3: who is subscribed already is told so.
        let (from, to) = (Some(contact.clone().into()), Some(owner.clone().into()));
        let answer = Stanza::presence(Some(Type::Subscribed), from, to, []);
        route::to_session(session, answer);
        return Ok(());
    }
    let peer = contact.clone();
    let rosters = router.store.rosters();
    let edited = rosters
        .edit(session.account, contact, roster::limits(router, &host, &owner), now, move |entry| {
            let before = roster::state(entry);
            let mut step = subscription::outbound(before, request);
            if stays {
                // Whoever sees by a shared group goes on to see, and needs no approval beforehand.
                step.state.approved = before.approved;
                step.tell = Tell::Nothing;
            }
            roster::put_state(entry, &peer, step.state, None);
            step
        })
        .await;
    let edited = match edited {
        Err(StoreError::TooMany { max, .. }) => return Err(roster::full(max)),
        edited => edited?,
    };
    let step = edited.value;
    let to = Jid::from(contact.clone());
    if step.tell == Tell::Unavailable {
        availability::tell_unavailable(router, &owner, &to, out);
    }
    if step.pass {
        // §3.1.2: subscriptions are between bare JIDs.
        stanza.head.from = Some(owner.clone().into());
        stanza.head.to = Some(to.clone());
        out.push(stanza);
    }
    if step.tell == Tell::Available {
        availability::tell_available(router, &owner, &to, out);
    }
    if edited.version.is_some() || stays {
        // A client that believes it has changed what a group says learns better.
        push(router, &owner, edited.version, contact, edited.after.item).await?;
    }
    Ok(())
}

/// What shared groups alone make two accounts to each other.
pub(super) async fn by_groups(
    router: &Router,
    owner: &BareJid,
    contact: &BareJid,
) -> Result<Subscription, StoreError> {
    if router.store.groups().is_empty() {
        return Ok(Subscription::None);
    }
    let entry = roster::entry(router, owner, contact).await?;
    Ok(entry.map(|entry| entry.subscription).unwrap_or_default())
}

/// §4.6: notes whom the session shows itself to beyond those who see it anyway.
fn note_directed(session: &Session, facts: &Facts, to: &Jid) -> Result<(), StanzaError> {
    let bare = to.bare_str();
    let sees_anyway = bare == facts.jid.as_str() || facts.subscription(bare).from();
    let mut directed = session.directed.lock();
    // Without initial presence there will be no broadcast to tell them that it ends.
    if sees_anyway && session.is_available() || directed.contains(to) {
        return Ok(());
    }
    if directed.len() >= DIRECTED_MAX {
        return Err(StanzaError::new(Condition::PolicyViolation).with_text(format!(
            "A session shows itself to at most {DIRECTED_MAX} addresses outside its roster."
        )));
    }
    directed.push(to.clone());
    Ok(())
}

/// Takes a presence that is for `owner`, an address on `host`, from whoever its `from` says; that
/// has been proved. Presence has no error to answer with but to the sender's own (§8.5.1), so what
/// cannot be delivered is dropped.
pub async fn inbound(
    router: &Arc<Router>,
    host: &Arc<HostConfig>,
    owner: &BareJid,
    stanza: Stanza,
    out: &Outbox,
    now: Now,
) {
    if let Err(error) = receive(router, host, owner, stanza, out, now).await {
        tracing::error!(%owner, %error, "presence lost: the store failed");
    }
}

async fn receive(
    router: &Arc<Router>,
    host: &Arc<HostConfig>,
    owner: &BareJid,
    stanza: Stanza,
    out: &Outbox,
    now: Now,
) -> Result<(), StoreError> {
    let (Some(from), Some(to)) = (stanza.head.from.clone(), stanza.head.to.clone()) else {
        return Ok(());
    };
    let typ = stanza.head.typ;
    // An account in the bin is not there, but its contacts come and go meanwhile: what they ask of
    // it holds when it comes back, and none of them is told that its subscription has ended.
    let facts = match typ {
        Some(Type::Probe) => router.store.facts_with_bin(owner).await?,
        _ if Request::of(typ).is_some() => router.store.facts_with_bin(owner).await?,
        _ => router.store.facts(owner).await?,
    };
    if facts.as_ref().is_some_and(|facts| blocking::is_blocked(facts, &from)) {
        return Ok(());
    }
    match (Request::of(typ), facts) {
        (Some(request), Some(facts)) => {
            asked(router, host, &facts, request, &from.bare(), stanza, out, now).await
        }
        (None, facts) if typ == Some(Type::Probe) => {
            probed(router, facts.as_deref(), owner, &to, &from, out);
            Ok(())
        }
        (None, Some(_)) => {
            notify(router, owner, &from, &to, stanza);
            Ok(())
        }
        // §8.5.1: no such account, and no word about it.
        (_, None) => Ok(()),
    }
}

/// §4.2.3, §4.4.3, §4.6.4 and errors: to the resource it names, or to all that are available.
fn notify(router: &Router, owner: &BareJid, from: &Jid, to: &Jid, stanza: Stanza) {
    if to.is_bare() {
        return to_available(router, owner, stanza);
    }
    let Some(session) = router.sessions.full(to) else { return };
    if stanza.head.typ == Some(Type::Error) {
        // Whoever refuses our presence need not hear that it ends.
        session.directed.lock().retain(|shown| shown != from);
    }
    route::to_session(&session, stanza);
}

/// §4.3.2: another server asks on behalf of one of its users.
fn probed(
    router: &Router,
    facts: Option<&Facts>,
    owner: &BareJid,
    to: &Jid,
    from: &Jid,
    out: &Outbox,
) {
    let sees = |facts: &Facts| {
        from.bare_str() == owner.as_str() || facts.subscription(from.bare_str()).from()
    };
    let may_see = facts.is_some_and(sees);
    let sessions = router.sessions.of(owner.as_str());
    let asked = sessions.iter().filter(|session| to.is_bare() || session.jid == *to);
    let mut found = false;
    for session in asked {
        let shown = may_see || session.directed.lock().iter().any(|shown| shown == from);
        if let Some(presence) = session.presence().filter(|_| shown) {
            found = true;
            let mut presence = Stanza::clone(&presence);
            presence.head.to = Some(from.clone());
            out.push(presence);
        }
    }
    if found {
        return;
    }
    out.push(match may_see {
        true => availability::unavailable(to, from),
        // An account that does not exist answers alike.
        false => no_subscription(owner, &from.bare()),
    });
}

fn no_subscription(from: &BareJid, to: &BareJid) -> Stanza {
    let (from, to) = (from.clone().into(), to.clone().into());
    Stanza::presence(Some(Type::Unsubscribed), Some(from), Some(to), [])
}

/// §3: a contact subscribes, unsubscribes, approves or refuses.
#[allow(clippy::too_many_arguments)]
async fn asked(
    router: &Arc<Router>,
    host: &HostConfig,
    facts: &Facts,
    request: Request,
    contact: &BareJid,
    mut stanza: Stanza,
    out: &Outbox,
    now: Now,
) -> Result<(), StoreError> {
    let owner = &facts.jid;
    if owner == contact {
        return Ok(());
    }
    stanza.head.from = Some(contact.clone().into());
    stanza.head.to = Some(owner.clone().into());
    let kept = (request == Request::Subscribe).then(|| keepable(&stanza));
    let by_groups = by_groups(router, owner, contact).await?;
    let stays = match request {
        Request::Subscribe | Request::Unsubscribe => by_groups.from(),
        Request::Subscribed | Request::Unsubscribed => by_groups.to(),
    };
    let sees = facts.contact(contact.as_str()).is_some_and(|known| known.subscription.from());
    let invite = match request {
        Request::Subscribe if !sees && !stays => {
            invites::approves(router, host, owner, contact, &stanza, now).await?
        }
        _ => None,
    };
    let (peer, groups) = (contact.clone(), invite.as_ref().map(|invite| invite.groups.clone()));
    let rosters = router.store.rosters();
    let edited = rosters
        .edit(facts.id, contact, roster::limits(router, host, owner), now, move |entry| {
            let before = roster::state(entry);
            let approved = before.approved || groups.is_some() && !before.from;
            let is_new = entry.item.is_none();
            let mut step = subscription::inbound(State { approved, ..before }, request);
            if stays {
                // A shared group lets the contact see the owner, or the owner the contact, whatever
                // they tell each other.
                (step.pass, step.tell) = (false, Tell::Nothing);
                if request == Request::Subscribe {
                    step = Step { state: before, reply: Some(Request::Subscribed), ..step };
                }
            }
            roster::put_state(entry, &peer, step.state, kept);
            if let (Some(item), Some(groups), true) = (&mut entry.item, groups, is_new) {
                item.groups = groups;
            }
            step
        })
        .await;
    let edited = match edited {
        Err(StoreError::TooMany { what, max }) => {
            tracing::info!(%owner, %contact, what, max, "subscription request dropped");
            return Ok(());
        }
        edited => edited?,
    };
    let step = edited.value;
    let to = Jid::from(contact.clone());
    if step.pass {
        let receivers = match request {
            Request::Subscribe => Session::is_available,
            _ => |session: &Session| session.has(Flag::Interested),
        };
        to_sessions(router, owner, stanza, receivers);
    }
    if edited.version.is_some() {
        push(router, owner, edited.version, contact, edited.after.item).await?;
    }
    if let Some(reply) = step.reply {
        let from = Some(owner.clone().into());
        out.push(Stanza::presence(Some(reply.typ()), from, Some(to.clone()), []));
    }
    match step.tell {
        Tell::Nothing => {}
        Tell::Available => availability::tell_available(router, owner, &to, out),
        Tell::Unavailable => availability::tell_unavailable(router, owner, &to, out),
    }
    if invite.is_some_and(|invite| invite.subscribes) {
        subscribe_back(router, host, facts, contact, out, now).await?;
    }
    Ok(())
}

/// XEP-0379 §3.5: whoever was invited is asked in return, on behalf of the inviter.
async fn subscribe_back(
    router: &Arc<Router>,
    host: &HostConfig,
    facts: &Facts,
    contact: &BareJid,
    out: &Outbox,
    now: Now,
) -> Result<(), StoreError> {
    let owner = &facts.jid;
    let peer = contact.clone();
    let edited = router
        .store
        .rosters()
        .edit(facts.id, contact, roster::limits(router, host, owner), now, move |entry| {
            let step = subscription::outbound(roster::state(entry), Request::Subscribe);
            roster::put_state(entry, &peer, step.state, None);
            step.state.pending_out
        })
        .await?;
    if edited.value {
        let (from, to) = (owner.clone().into(), contact.clone().into());
        out.push(Stanza::presence(Some(Type::Subscribe), Some(from), Some(to), []));
    }
    if edited.version.is_some() {
        push(router, owner, edited.version, contact, edited.after.item).await?;
    }
    Ok(())
}

/// Roster pushes at once, so that they come before the presence of a new contact.
async fn push(
    router: &Router,
    owner: &BareJid,
    version: Option<u64>,
    contact: &BareJid,
    item: Option<RosterItem>,
) -> Result<(), StoreError> {
    for (session, push) in roster::pushes(router, owner, version, contact, item).await? {
        route::to_session(&session, push);
    }
    Ok(())
}

/// A subscription request as it waits for its answer.
fn keepable(stanza: &Stanza) -> Bytes {
    let mut xml = Vec::new();
    if stanza.wire_len() <= REQUEST_BYTES_MAX {
        stanza.write_standalone(&mut xml);
    } else {
        stanza.without(|_| true).write_standalone(&mut xml);
    }
    xml.into()
}

#[cfg(test)]
mod tests;
