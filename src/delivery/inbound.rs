//! The pipeline of the receiver: to a local account (RFC 6121 §8.5). Blocking, then the archive,
//! then sessions, carbons, offline store and push, in this order and visibly so.

use std::sync::Arc;

use bytes::Bytes;
use smallvec::SmallVec;

use super::{Envelope, Kept};
use crate::config::HostConfig;
use crate::features::carbons::Direction;
use crate::features::offline::Verdict;
use crate::features::{
    Outbox, archive, blocking, carbons, last, offline, push, retract, roster, stanza_id,
};
use crate::jid::Jid;
use crate::router::sessions::{Flag, SessionList};
use crate::router::{Item, Router, Session};
use crate::stanza::error::{Condition, StanzaError};
use crate::stanza::{Kind, Stanza, Type};
use crate::store::{Busy, CopyForm, MessageFlags, MessageRow};
use crate::time::Now;
use crate::xml::ns;

/// Who gets a message, by RFC 6121 §8.5.
enum Receivers {
    /// These sessions; never empty.
    Sessions(SessionList),
    /// Nobody now, but it may be kept for later.
    Offline,
    /// Nobody, and the sender is told.
    Refuse,
    /// Nobody, silently.
    Nobody,
}

/// Takes a message to an account of `host`. On return it has been handed to the store, with the
/// sender's archive row in the same write, and to the mailboxes of those who get it now.
pub async fn message(
    router: &Arc<Router>,
    host: &Arc<HostConfig>,
    env: &mut Envelope,
    out: &Outbox,
    now: Now,
) -> Result<(), StanzaError> {
    let (Some(to), Some(from)) = (env.stanza.head.to.clone(), env.stanza.head.from.clone()) else {
        return Err(StanzaError::new(Condition::BadRequest)
            .with_text("A message on its way has both addresses."));
    };
    let owner = to.bare();
    // Whoever sent it, it does not speak for this account's server.
    stanza_id::strip_forged(&mut env.stanza, |by| by.as_str() == owner.as_str());
    carbons::strip_forged(&mut env.stanza);
    let facts = router.store.facts(&owner).await?;
    let Some(facts) = facts.filter(|f| !blocking::is_blocked(f, &from)) else {
        // A stranger must not tell a blocking account from a missing one (XEP-0191 §3.4).
        keep(router, env, MessageFlags::default()).await?;
        return Err(StanzaError::new(Condition::ServiceUnavailable));
    };

    let to_self = from.bare_str() == owner.as_str();
    let for_receiver =
        env.archivable && !(to_self && env.for_sender) && archive::keeps(&facts, host, &from);
    let mut flags = MessageFlags::default();
    if for_receiver {
        flags |= MessageFlags::ARCHIVED_TO;
        retract::apply(router, &owner, &env.stanza, now).await;
    }
    let archived = for_receiver || (to_self && env.for_sender);
    // What is stored stays without the id: every way out of the store adds it.
    let shown = Arc::new(match archived {
        true => stanza_id::add(&env.stanza, &owner, env.id),
        false => env.stanza.clone(),
    });

    let sessions = router.sessions.of(owner.as_str());
    let mut reached = SessionList::new();
    let mut refused = false;
    let mut offline = false;
    let mut nobody = false;
    match receivers(env.stanza.head.typ, &to, &sessions) {
        Receivers::Sessions(list) => {
            let mut kept = Kept::archived(archived);
            // Nobody is there to take it now, and what was acknowledged outlives a crash.
            if !archived
                && list.iter().all(|s| s.has(Flag::Parked))
                && offline::admit(router, host, &owner, &facts, &env.stanza).await == Verdict::Keep
            {
                kept = Kept::OfflineStore;
                flags |= MessageFlags::OFFLINE;
            }
            for session in list {
                if env.deliver(&session, Arc::clone(&shown), kept, CopyForm::Plain) {
                    reached.push(session);
                }
            }
            offline = reached.is_empty() && kept != Kept::OfflineStore;
        }
        Receivers::Offline => (offline, nobody) = (true, true),
        Receivers::Refuse => refused = true,
        Receivers::Nobody => {}
    }
    if !refused {
        copy_received(&sessions, &reached, &shown, env, archived);
        push::notify(router, host, &owner, &facts, &env.stanza, out, now).await;
    }
    if offline {
        match offline::admit(router, host, &owner, &facts, &env.stanza).await {
            Verdict::Keep => flags |= MessageFlags::OFFLINE,
            // What the archive keeps is not lost, so nobody is told that it was.
            Verdict::Refuse => refused = !for_receiver,
            Verdict::Drop => {}
        }
    }
    keep(router, env, flags).await?;
    if nobody && flags.has(MessageFlags::OFFLINE) {
        offline::overtaken(router, &owner).await?;
    }
    if refused { Err(StanzaError::new(Condition::ServiceUnavailable)) } else { Ok(()) }
}

/// RFC 6121 §8.5.2 and §8.5.3 as one table.
fn receivers(typ: Option<Type>, to: &Jid, sessions: &SessionList) -> Receivers {
    if !to.is_bare()
        && let Some(session) = sessions.iter().find(|s| s.jid == *to)
    {
        return Receivers::Sessions(SmallVec::from_iter([Arc::clone(session)]));
    }
    let open = || -> SessionList {
        sessions.iter().filter(|s| s.is_available() && s.priority() >= 0).cloned().collect()
    };
    match typ {
        Some(Type::Groupchat) => Receivers::Refuse,
        Some(Type::Error) => Receivers::Nobody,
        Some(Type::Headline) if to.is_bare() => match open() {
            list if list.is_empty() => Receivers::Nobody,
            list => Receivers::Sessions(list),
        },
        Some(Type::Headline) => Receivers::Nobody,
        // chat, normal, and whatever a client made up, which counts as normal (RFC 6121 §5.2.2).
        _ => match open() {
            list if list.is_empty() => Receivers::Offline,
            list => Receivers::Sessions(list),
        },
    }
}

/// Writes the one row for all who keep this message; nothing if nobody does. Waits only while the
/// writer's queue is full.
pub async fn keep(
    router: &Arc<Router>,
    env: &Envelope,
    mut flags: MessageFlags,
) -> Result<(), StanzaError> {
    if env.for_sender {
        flags |= MessageFlags::ARCHIVED_FROM;
    }
    let (Some(from), Some(to)) = (&env.stanza.head.from, &env.stanza.head.to) else {
        return Ok(());
    };
    if flags == MessageFlags::default() {
        return Ok(());
    }
    let mut xml = Vec::with_capacity(env.stanza.wire_len() + 32);
    env.stanza.write_standalone(&mut xml);
    let xml = Bytes::from(xml);
    loop {
        let mut row = MessageRow::new(env.id, from.bare(), to.bare(), flags, xml.clone());
        row.text = search_text(router, env);
        row.received = env.received;
        row.deliveries = env.deliveries.clone();
        match router.store.append(row) {
            Ok(()) => return Ok(()),
            // The disk is behind: whoever sent this waits, and reads no more meanwhile.
            Err(Busy) => router.store.room().await,
        }
    }
}

/// What full-text search is to find of a message (XEP-0431), where either side's host has it on.
fn search_text(router: &Router, env: &Envelope) -> Option<Box<str>> {
    let config = router.config.load();
    let searched = |jid: &Option<Jid>| {
        jid.as_ref().and_then(|j| config.host(j.domain())).is_some_and(|h| h.archive.search)
    };
    if !searched(&env.stanza.head.from) && !searched(&env.stanza.head.to) {
        return None;
    }
    let body = env.stanza.child("body", ns::CLIENT)?.element().ok()?;
    Some(body.text().into())
}

/// XEP-0280 §6: the account's other sessions see what this one gets.
fn copy_received(
    sessions: &SessionList,
    reached: &SessionList,
    shown: &Stanza,
    env: &mut Envelope,
    archived: bool,
) {
    let others =
        |s: &&Arc<Session>| s.has(Flag::Carbons) && !reached.iter().any(|r| Arc::ptr_eq(r, s));
    let mut others = sessions.iter().filter(others).peekable();
    let Some(first) = others.peek() else { return };
    if !carbons::eligible(shown, Direction::Received) {
        return;
    }
    let wrapped = carbons::received(shown, &first.jid.bare());
    for session in others {
        let copy = Arc::new(wrapped.to(&session.jid));
        env.deliver(session, copy, Kept::archived(archived), CopyForm::CarbonReceived);
    }
}

/// An IQ to a full JID goes to that session and nowhere else (RFC 6121 §8.5.3).
pub async fn iq_to_session(router: &Arc<Router>, stanza: Stanza) -> Result<(), StanzaError> {
    let is_request = matches!(stanza.head.typ, Some(Type::Get | Type::Set));
    let unavailable =
        || if is_request { Err(StanzaError::new(Condition::ServiceUnavailable)) } else { Ok(()) };
    let (Some(to), Some(from)) = (&stanza.head.to, &stanza.head.from) else {
        return unavailable();
    };
    let Some(session) = router.sessions.full(to) else { return unavailable() };
    let facts = router.store.facts(&to.bare()).await?;
    let Some(facts) = facts.filter(|f| !blocking::is_blocked(f, from)) else {
        return unavailable();
    };
    if last::is_refused(&facts, from, &stanza) || roster::is_forged_push(from, &stanza) {
        return Err(Condition::Forbidden.into());
    }
    super::route::to_session(&session, stanza);
    Ok(())
}

/// XEP-0198 §5: what a session that has ended never acknowledged is treated as sent to an
/// unavailable resource. The session is out of the table already.
pub async fn redeliver(
    router: &Arc<Router>,
    session: &Session,
    items: impl IntoIterator<Item = Item>,
    out: &Outbox,
    now: Now,
) {
    let Some(host) = router.host(session.jid.domain()) else { return };
    let owner = session.jid.bare();
    for item in items {
        let stanza = &item.stanza;
        // Offline messages still have their mark; what the account's own server told it is stale.
        let own = stanza.head.from.as_ref().is_none_or(|f| f.as_str() == owner.as_str());
        if item.offline || own && item.stored.is_none() {
            continue;
        }
        match stanza.head.kind {
            Kind::Message => redeliver_message(router, &host, session, item, out, now).await,
            Kind::Iq if matches!(stanza.head.typ, Some(Type::Get | Type::Set)) => {
                if let Some(reply) =
                    stanza.error_reply(&StanzaError::new(Condition::ServiceUnavailable))
                {
                    out.push(reply);
                }
            }
            Kind::Iq | Kind::Presence => {}
        }
    }
}

async fn redeliver_message(
    router: &Arc<Router>,
    host: &Arc<HostConfig>,
    session: &Session,
    item: Item,
    out: &Outbox,
    now: Now,
) {
    let owner = session.jid.bare();
    let others = router.sessions.of(owner.as_str());
    let bare = Jid::from(owner.clone());
    match (item.stored, receivers(item.stanza.head.typ, &bare, &others)) {
        // It is in the archive: the other sessions had it as addressed to all, or as a carbon.
        (Some(_), Receivers::Sessions(_) | Receivers::Refuse | Receivers::Nobody) => {}
        (Some(id), Receivers::Offline) => {
            if let Err(error) = router.store.offline().mark(session.account, vec![id]).await {
                tracing::error!(%owner, %error, "an unacknowledged message is only in the archive");
            }
        }
        (None, _) => {
            let mut stanza = Stanza::clone(&item.stanza);
            stanza.head.to = Some(bare);
            let id = router.store.next_id(now);
            let mut env = Envelope::new(stanza, id, false);
            if let Err(error) = message(router, host, &mut env, out, now).await
                && let Some(reply) = item.stanza.error_reply(&error)
            {
                out.push(reply);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(jid: &str, priority: Option<i8>) -> Arc<Session> {
        let session =
            Session::new(0, Jid::parse(jid).unwrap(), crate::store::AccountId(1), 1 << 16);
        if let Some(priority) = priority {
            let presence = Stanza::parse(b"<presence/>").unwrap();
            session.set_presence(Some((Arc::new(presence), priority)));
        }
        Arc::new(session)
    }

    /// Runs the table for one message; tells who gets it.
    fn who(typ: Option<Type>, to: &str, sessions: &[Arc<Session>]) -> String {
        let list: SessionList = sessions.iter().cloned().collect();
        match receivers(typ, &Jid::parse(to).unwrap(), &list) {
            Receivers::Sessions(list) => {
                let names: Vec<&str> = list.iter().filter_map(|s| s.jid.resource()).collect();
                names.join(" ")
            }
            Receivers::Offline => "offline".into(),
            Receivers::Refuse => "refuse".into(),
            Receivers::Nobody => "nobody".into(),
        }
    }

    const TYPES: [Option<Type>; 5] =
        [None, Some(Type::Chat), Some(Type::Groupchat), Some(Type::Headline), Some(Type::Error)];

    fn row(to: &str, sessions: &[Arc<Session>]) -> Vec<String> {
        TYPES.iter().map(|typ| who(*typ, to, sessions)).collect()
    }

    #[test]
    fn bare_jid_reaches_all_resources_with_a_priority_that_is_not_negative() {
        let all = [
            session("a@h/phone", Some(5)),
            session("a@h/desk", Some(0)),
            session("a@h/bot", Some(-1)),
            session("a@h/mute", None),
        ];
        assert_eq!(
            row("a@h", &all),
            ["phone desk", "phone desk", "refuse", "phone desk", "nobody"]
        );
    }

    #[test]
    fn bare_jid_without_an_open_resource_is_kept_for_later() {
        let closed = [session("a@h/bot", Some(-1)), session("a@h/mute", None)];
        for sessions in [&closed[..], &[]] {
            assert_eq!(row("a@h", sessions), ["offline", "offline", "refuse", "nobody", "nobody"]);
        }
    }

    #[test]
    fn full_jid_reaches_its_resource_whatever_its_priority() {
        let all = [session("a@h/bot", Some(-1)), session("a@h/phone", Some(1))];
        assert_eq!(row("a@h/bot", &all), ["bot"; 5]);
    }

    #[test]
    fn full_jid_that_is_gone_counts_as_the_bare_one_for_chat_and_normal() {
        let all = [session("a@h/phone", Some(1))];
        assert_eq!(row("a@h/gone", &all), ["phone", "phone", "refuse", "nobody", "nobody"]);
        assert_eq!(row("a@h/gone", &[]), ["offline", "offline", "refuse", "nobody", "nobody"]);
    }
}
