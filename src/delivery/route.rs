//! Drains an outbox: every stanza to its receiver, errors back to their cause, within a hop budget.

use std::sync::Arc;

use super::{Envelope, inbound, iq, presence};
use crate::features::{Actor, Outbox, Outgoing, archive, push};
use crate::router::{Call, Item, Local, Router, Service, Session, Target};
use crate::stanza::error::{Condition, StanzaError};
use crate::stanza::{Kind, Stanza, Type};
use crate::store::SmReceived;
use crate::time::Now;

/// How often a stanza may beget others. Two features that answer each other end here.
const HOPS_MAX: usize = 8;

/// Sends all that lies in `out`, and what that leads to.
pub async fn drain(router: &Arc<Router>, out: Outbox, now: Now) {
    let mut wave = out.take();
    for _ in 0..HOPS_MAX {
        if wave.is_empty() {
            return;
        }
        let next = Outbox::default();
        for outgoing in wave {
            match outgoing {
                Outgoing::Session(session, stanza) => to_session(&session, stanza),
                Outgoing::Route(stanza) => deliver(router, stanza, &next, now).await,
            }
        }
        wave = next.take();
    }
    if !wave.is_empty() {
        tracing::warn!(count = wave.len(), hops = HOPS_MAX, "stanzas dropped: they go in circles");
    }
}

/// Hands a stanza to exactly this session; a full mailbox ends the session, as its task will see.
pub fn to_session(session: &Arc<Session>, stanza: Stanza) {
    let item = Item { stanza: Arc::new(stanza), stored: None, offline: false };
    if session.deliver(item).is_err() {
        session.overflow();
    }
}

/// Hands a stanza to a component or internal service.
pub fn to_service(service: &Service, stanza: Stanza) -> Result<(), StanzaError> {
    let item = Item { stanza: Arc::new(stanza), stored: None, offline: false };
    service
        .mailbox
        .push(item)
        .map(drop)
        .map_err(|_| StanzaError::new(Condition::ResourceConstraint))
}

/// Has a service of our own take a stanza; what it says to that goes to `out`.
pub async fn to_own(
    router: &Arc<Router>,
    service: &dyn Local,
    stanza: Stanza,
    received: Option<SmReceived>,
    out: &Outbox,
    now: Now,
) {
    let answers = service.take(router, Call { stanza, received, now }).await;
    answers.into_iter().for_each(|answer| out.push(answer));
}

/// Routes a stanza whose `from` has been proved already: a component's, or one of our own making.
/// What goes wrong is answered to its `from` through `out`.
pub async fn deliver(router: &Arc<Router>, stanza: Stanza, out: &Outbox, now: Now) {
    let original = stanza.clone();
    if let Err(error) = attempt(router, stanza, out, now).await
        && let Some(reply) = original.error_reply(&error)
    {
        out.push(reply);
    }
}

async fn attempt(
    router: &Arc<Router>,
    stanza: Stanza,
    out: &Outbox,
    now: Now,
) -> Result<(), StanzaError> {
    let Some(to) = stanza.head.to.clone() else {
        return Err(StanzaError::new(Condition::BadRequest).with_text("The stanza has no 'to'."));
    };
    match router.resolve(&to) {
        Target::Account(host) => match stanza.head.kind {
            Kind::Message => {
                let archivable = archive::wants(&stanza);
                let id = router.store.next_id(now);
                let mut env = Envelope::new(stanza, id, archivable);
                inbound::message(router, &host, &mut env, out, now).await
            }
            Kind::Presence => {
                presence::inbound(router, &host, &to.bare(), stanza, out, now).await;
                Ok(())
            }
            Kind::Iq => {
                let is_request = matches!(stanza.head.typ, Some(Type::Get | Type::Set));
                if !to.is_bare() {
                    inbound::iq_to_session(router, stanza).await
                } else if is_request {
                    foreign_iq(router, &host, Some(to.bare()), stanza, out, now).await
                } else {
                    push::answered(router, &stanza, now).await;
                    Ok(())
                }
            }
        },
        Target::Host(host) => match (stanza.head.kind, stanza.head.typ) {
            (Kind::Iq, Some(Type::Get | Type::Set)) => {
                foreign_iq(router, &host, None, stanza, out, now).await
            }
            (Kind::Message, _) => Err(StanzaError::new(Condition::ServiceUnavailable)),
            // Answers to nothing, and presence to a server: nothing to do (RFC 6121 §8.3).
            _ => Ok(()),
        },
        Target::Service(service) => to_service(&service, stanza),
        Target::Own(service) => {
            to_own(router, &*service, stanza, None, out, now).await;
            Ok(())
        }
        Target::Absent | Target::Remote => Err(StanzaError::new(Condition::RemoteServerNotFound)),
    }
}

async fn foreign_iq(
    router: &Arc<Router>,
    host: &Arc<crate::config::HostConfig>,
    account: Option<crate::jid::BareJid>,
    stanza: Stanza,
    out: &Outbox,
    now: Now,
) -> Result<(), StanzaError> {
    let from = stanza.head.from.clone().ok_or(StanzaError::new(Condition::NotAllowed))?;
    if let Some(owner) = &account {
        let facts = router.store.facts(owner).await?;
        // An account that blocks the asker, and one that is not there, answer alike.
        if facts.is_none_or(|f| crate::features::blocking::is_blocked(&f, &from)) {
            return Err(StanzaError::new(Condition::ServiceUnavailable));
        }
    }
    iq::answer(router, host, account, Actor::Foreign(&from), stanza, out, now).await;
    Ok(())
}
