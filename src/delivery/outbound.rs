//! The pipeline of the sender: from a local session outward (RFC 6120 §8, RFC 6121 §8).

use std::sync::Arc;

use super::{Envelope, Kept, inbound, iq, presence, route};
use crate::features::carbons::Direction;
use crate::features::{
    Actor, Outbox, announce, archive, blocking, carbons, push, retract, stanza_id,
};
use crate::jid::Jid;
use crate::router::sessions::Flag;
use crate::router::{Router, Session, Target};
use crate::stanza::error::{Condition, StanzaError};
use crate::stanza::{Kind, Stanza, Type};
use crate::store::{CopyForm, MessageFlags};
use crate::time::Now;
use crate::xml::stream_error::{StreamCondition, StreamError};

/// Takes a stanza that `session` sent. When this returns, everything the stanza changes has been
/// handed to the store, so a mark enqueued now covers it (XEP-0198).
///
/// An `Err` ends the stream; whatever is wrong with the stanza alone goes back as its error.
pub async fn handle(
    router: &Arc<Router>,
    session: &Arc<Session>,
    mut stanza: Stanza,
    now: Now,
) -> Result<(), StreamError> {
    stamp_from(session, &mut stanza)?;
    let out = Outbox::default();
    let original = stanza.clone();
    let result = match stanza.head.kind {
        Kind::Message => message(router, session, stanza, &out, now).await,
        Kind::Iq => iq_request(router, session, stanza, &out, now).await,
        Kind::Presence => presence::outbound(router, session, stanza, &out, now).await,
    };
    if let Err(error) = result
        && let Some(reply) = original.error_reply(&error)
    {
        out.push_to(session, reply);
    }
    route::drain(router, out, now).await;
    Ok(())
}

/// RFC 6120 §8.1.2.1: a client may leave `from` out or give its own; the server writes the full JID.
fn stamp_from(session: &Session, stanza: &mut Stanza) -> Result<(), StreamError> {
    if let Some(from) = &stanza.head.from {
        let own =
            *from == session.jid || (from.is_bare() && from.as_str() == session.jid.bare_str());
        if !own {
            let text = "A stanza's 'from' is the address of the session that sends it.";
            return Err(StreamError::with_text(StreamCondition::InvalidFrom, text));
        }
    }
    stanza.head.from = Some(session.jid.clone());
    Ok(())
}

async fn message(
    router: &Arc<Router>,
    session: &Arc<Session>,
    mut stanza: Stanza,
    out: &Outbox,
    now: Now,
) -> Result<(), StanzaError> {
    // RFC 6120 §10.3.1: without `to`, a message is for the sender's own account.
    let to = stanza.head.to.get_or_insert_with(|| session.jid.bare().into()).clone();
    let own = router.store.facts(&session.jid.bare()).await?;
    let own = own.ok_or(StanzaError::new(Condition::NotAllowed))?;

    if blocking::is_blocked(&own, &to) {
        return Err(blocking::outbound_refusal());
    }
    stanza_id::strip_forged(&mut stanza, |by| router.is_ours(by.domain()));

    let target = router.resolve(&to);
    let host = router.host(session.jid.domain()).ok_or(StanzaError::new(Condition::NotAllowed))?;
    let archivable = archive::wants(&stanza);
    let for_sender = archivable && archive::keeps(&own, &host, &to);
    let mut env = Envelope::new(stanza, router.store.next_id(now), archivable);
    env.for_sender = for_sender;
    env.note_receipt(session);

    if let Target::Host(_) = target
        && let Some(done) = announce::ordered(router, session, &to, &env.stanza).await
    {
        inbound::keep(router, &env, MessageFlags::default()).await?;
        return done;
    }

    if for_sender {
        retract::apply(router, &session.jid.bare(), &env.stanza, now).await;
    }
    copy_sent(router, &session.jid, Some(session), &mut env);
    onward(router, target, env, out, now).await
}

/// A message that an operator sends in the name of `from`, which is ours: archived and copied to
/// the sender's devices as if one of them had sent it. What goes wrong is the operator's to hear.
pub async fn on_behalf(
    router: &Arc<Router>,
    mut stanza: Stanza,
    now: Now,
) -> Result<(), StanzaError> {
    let (Some(from), Some(to)) = (stanza.head.from.clone(), stanza.head.to.clone()) else {
        return Err(StanzaError::new(Condition::BadRequest));
    };
    stanza_id::strip_forged(&mut stanza, |by| router.is_ours(by.domain()));
    let archivable = archive::wants(&stanza);
    let mut env = Envelope::new(stanza, router.store.next_id(now), archivable);
    if let Some(host) = router.host(from.domain())
        && let Some(own) = router.store.facts(&from.bare()).await?
    {
        env.for_sender = archivable && archive::keeps(&own, &host, &to);
        copy_sent(router, &from, None, &mut env);
    }
    let out = Outbox::default();
    let result = onward(router, router.resolve(&to), env, &out, now).await;
    route::drain(router, out, now).await;
    result
}

/// The way of a message after its sender's side is done with it.
async fn onward(
    router: &Arc<Router>,
    target: Target,
    mut env: Envelope,
    out: &Outbox,
    now: Now,
) -> Result<(), StanzaError> {
    match target {
        Target::Account(host) => inbound::message(router, &host, &mut env, out, now).await,
        Target::Host(_) => {
            inbound::keep(router, &env, MessageFlags::default()).await?;
            Err(StanzaError::new(Condition::ServiceUnavailable))
        }
        Target::Service(service) => {
            inbound::keep(router, &env, MessageFlags::default()).await?;
            route::to_service(&service, env.stanza)
        }
        Target::Own(service) => {
            inbound::keep(router, &env, MessageFlags::default()).await?;
            // Its own row, if it writes one, is the first to hold the message.
            let received = if env.for_sender { None } else { env.received };
            route::to_own(router, &*service, env.stanza, received, out, now).await;
            Ok(())
        }
        Target::Absent | Target::Remote => {
            inbound::keep(router, &env, MessageFlags::default()).await?;
            Err(StanzaError::new(Condition::RemoteServerNotFound))
        }
    }
}

async fn iq_request(
    router: &Arc<Router>,
    session: &Arc<Session>,
    stanza: Stanza,
    out: &Outbox,
    now: Now,
) -> Result<(), StanzaError> {
    let is_request = matches!(stanza.head.typ, Some(Type::Get | Type::Set));
    let to = match &stanza.head.to {
        Some(to) => to.clone(),
        None => session.jid.bare().into(),
    };
    let own_address = to.as_str() == session.jid.bare_str();
    if !own_address && is_request {
        let own = router.store.facts(&session.jid.bare()).await?;
        if own.is_some_and(|facts| blocking::is_blocked(&facts, &to)) {
            return Err(blocking::outbound_refusal());
        }
    }
    match router.resolve(&to) {
        Target::Host(_) | Target::Account(_) if !is_request && to.is_bare() => {
            // An answer to something the server asked on its own behalf.
            push::answered(router, &stanza, now).await;
            Ok(())
        }
        Target::Host(host) => {
            iq::answer(router, &host, None, Actor::Session(session), stanza, out, now).await;
            Ok(())
        }
        Target::Account(host) if to.is_bare() => {
            let actor = Actor::Session(session);
            iq::answer(router, &host, Some(to.bare()), actor, stanza, out, now).await;
            Ok(())
        }
        Target::Account(_) => inbound::iq_to_session(router, stanza).await,
        Target::Service(service) => route::to_service(&service, stanza),
        Target::Own(service) => {
            route::to_own(router, &*service, stanza, None, out, now).await;
            Ok(())
        }
        Target::Absent | Target::Remote => Err(StanzaError::new(Condition::RemoteServerNotFound)),
    }
}

/// XEP-0280 §7: the sender's other sessions see what this one sends.
fn copy_sent(router: &Arc<Router>, from: &Jid, session: Option<&Arc<Session>>, env: &mut Envelope) {
    let sessions = router.sessions.of(from.bare_str());
    let others = |s: &&Arc<Session>| {
        s.has(Flag::Carbons) && session.is_none_or(|session| !Arc::ptr_eq(s, session))
    };
    let mut others = sessions.iter().filter(others).peekable();
    if others.peek().is_none() || !carbons::eligible(&env.stanza, Direction::Sent) {
        return;
    }
    let owner = from.bare();
    let archived = env.for_sender;
    let copied =
        if archived { stanza_id::add(&env.stanza, &owner, env.id) } else { env.stanza.clone() };
    let wrapped = carbons::sent(&copied, &owner);
    for other in others {
        let copy = Arc::new(wrapped.to(&other.jid));
        env.deliver(other, copy, Kept::archived(archived), CopyForm::CarbonSent);
    }
}
