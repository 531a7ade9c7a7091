//! XEP-0077: In-Band Registration (2.4) and XEP-0445: Pre-Authenticated In-Band Registration
//! (0.2.0).
//!
//! Clients come here twice: before they have signed in, by way of the stream's negotiation
//! ([`before_sign_in`]), and from their sessions, which change the password, remove the account, or
//! register others where `access_from` lets them. All of them, and every other door, end in
//! [`create()`].

mod create;
mod form;
mod keys;

use std::net::IpAddr;
use std::sync::Arc;

use serde_json::json;

pub use create::{
    Made, New, NotMade, Proof, create, end_sessions, greeting, remove, reset_password, set_password,
};
pub use form::{Submission, Wish, read_set, with_code};
pub use keys::scram_row;

use super::{Actor, Ctx, Feature, Handled, Iq, Outbox, Reply, Target, Verb, Who, invites};
use super::{get, on_if, set, xep};
use crate::access::registration::{self, Door};
use crate::config::HostConfig;
use crate::config::value::Secret;
use crate::jid::BareJid;
use crate::router::{Router, Session};
use crate::stanza::error::{Condition, ErrorType, StanzaError};
use crate::stanza::{Stanza, Type};
use crate::store::invites::{Invite, InviteKind};
use crate::time::Now;
use crate::xml::element::Element;
use crate::xml::ns;
use crate::xml::stream_error::StreamCondition;

pub const FEATURE: Feature = Feature {
    xeps: &[xep(77, "2.4"), xep(445, "0.2.0")],
    disco: &[on_if(Target::Host, ns::REGISTER, has_accounts)],
    iq: &[
        get(Target::Host, Who::Anyone, "query", ns::REGISTER, of_host),
        set(Target::Host, Who::Anyone, "query", ns::REGISTER, of_host),
        get(Target::Account, Who::Owner, "query", ns::REGISTER, of_host),
        set(Target::Account, Who::Owner, "query", ns::REGISTER, of_host),
    ],
    ..Feature::NONE
};

fn has_accounts(host: &HostConfig) -> bool {
    !host.is_guest()
}

/// What a client asks for before it has signed in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked {
    Wish(Wish),
    /// XEP-0445 §4: a token, that it be remembered for this stream.
    Token(Secret),
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answered {
    /// What is to be filled in.
    Form(Element),
    Made(Made),
    /// There is a new password.
    Reset,
    /// The token is an invitation.
    Invited(Box<Invite>),
    Nothing,
}

/// Could a client at this address come by an account here, or hear where to? What the stream
/// offers.
pub fn is_offered(router: &Router, host: &HostConfig, address: IpAddr) -> bool {
    offer(router, host, None, Some(address), None).is_ok()
}

/// A client that has not signed in asks, at an address, perhaps with an invitation that it has shown
/// before.
///
/// # Errors
/// What is wrong, for a person.
pub async fn before_sign_in(
    router: &Arc<Router>,
    host: &Arc<HostConfig>,
    asked: Asked,
    invite: Option<&Invite>,
    address: IpAddr,
    out: &Outbox,
    now: Now,
) -> Result<Answered, StanzaError> {
    match asked {
        Asked::Token(token) => {
            let found = invites::presented(router, host, token.reveal(), now).await?;
            let invites = |invite: &Invite| invite.registers || invite.kind == InviteKind::Reset;
            match found.filter(invites) {
                Some(invite) => Ok(Answered::Invited(Box::new(invite))),
                None => Err(StanzaError::new(Condition::ItemNotFound)
                    .with_text("The invitation is unknown, used up, or has expired.")),
            }
        }
        Asked::Wish(Wish::Cancel) => Ok(Answered::Nothing),
        // §3.2 and §3.3: whoever is nobody yet has nothing to remove.
        Asked::Wish(Wish::Remove) => Err(StanzaError::new(Condition::UnexpectedRequest)
            .with_text("Sign in to the account that is to be removed.")),
        Asked::Wish(Wish::Form) => {
            let form = offer(router, host, invite, Some(address), None);
            form.map(Answered::Form).map_err(StanzaError::from)
        }
        Asked::Wish(Wish::Submit(wanted)) => {
            let from = From { address: Some(address), invite, by: None };
            let made = submit(router, host, wanted, from, out, now).await?;
            Ok(made.map_or(Answered::Reset, Answered::Made))
        }
    }
}

/// Where a request to register comes from.
struct From<'a> {
    address: Option<IpAddr>,
    invite: Option<&'a Invite>,
    by: Option<&'a crate::jid::Jid>,
}

/// What is to be filled in by whoever this is.
fn offer(
    router: &Router,
    host: &HostConfig,
    invite: Option<&Invite>,
    address: Option<IpAddr>,
    by: Option<&crate::jid::Jid>,
) -> Result<Element, NotMade> {
    let name = invite.and_then(|invite| invite.name.as_deref());
    if let Some(name) = name.filter(|_| invite.is_some_and(|i| i.kind == InviteKind::Reset)) {
        return Ok(form::blank_reset(name));
    }
    let door = if invite.is_some() { Door::Invite } else { Door::InBand };
    let groups = router.store.groups().snapshot();
    let rules = Arc::clone(&router.config.load().rules);
    match registration::may_be_offered(host, &rules, &groups, address, door, by) {
        Ok(()) => Ok(form::blank(host, name)),
        Err(refused) => match &host.registration.redirect_url {
            Some(url) if refused.because == registration::REDIRECTED => Ok(form::redirection(url)),
            _ => Err(refused.into()),
        },
    }
}

async fn submit(
    router: &Arc<Router>,
    host: &Arc<HostConfig>,
    wanted: Submission,
    from: From<'_>,
    out: &Outbox,
    now: Now,
) -> Result<Option<Made>, StanzaError> {
    // Where there is nothing to register, nothing is said of names.
    offer(router, host, from.invite, from.address, from.by)?;
    let (Some(username), Some(password)) = (wanted.username, wanted.password) else {
        let text = "Both a name and a password are needed.";
        return Err(StanzaError::new(Condition::NotAcceptable).with_text(text));
    };
    let jid = Submission::account(&username, &host.domain)?;
    if let Some(invite) = from.invite.filter(|invite| invite.kind == InviteKind::Reset) {
        if invite.reserved().as_ref() != Some(&jid) {
            let text = "This link sets the password of another account.";
            return Err(StanzaError::new(Condition::NotAcceptable).with_text(text));
        }
        reset_password(router, host, invite, password, from.address, now).await?;
        return Ok(None);
    }
    let new = New {
        jid,
        proof: Proof::Password(password),
        door: if from.invite.is_some() { Door::Invite } else { Door::InBand },
        address: from.address,
        by: from.by.cloned(),
        force: false,
        invite: from.invite.map(|invite| invite.id),
    };
    Ok(Some(create(router, new, out, now).await?))
}

/// From a session, or from another domain. Errors carry their numbers, so they are sent from here.
fn of_host<'a>(cx: &'a Ctx<'a>, iq: Iq) -> Handled<'a> {
    Box::pin(async move {
        let verb = if iq.stanza.head.typ == Some(Type::Get) { Verb::Get } else { Verb::Set };
        match answer(cx, verb, &iq.payload).await {
            Ok(reply) => Ok(reply),
            Err(error) => {
                let head = iq.stanza.head.answer(Type::Error);
                let reply = Stanza::new(head, [with_code(&error)]);
                match cx.from {
                    Actor::Session(session) => cx.out.push_to(session, reply),
                    Actor::Foreign(_) => cx.out.push(reply),
                }
                Ok(Reply::Later)
            }
        }
    })
}

async fn answer(cx: &Ctx<'_>, verb: Verb, query: &Element) -> Result<Reply, StanzaError> {
    let session = cx.from.session();
    let own = session.filter(|s| s.jid.domain() == cx.host.domain && has_accounts(cx.host));
    let address = session.and_then(|s| s.facts.lock().address).map(|address| address.ip());
    let wish = match verb {
        Verb::Get => Wish::Form,
        Verb::Set => read_set(query)?,
    };
    match (wish, own) {
        (Wish::Cancel, _) => Ok(Reply::Empty),
        (Wish::Form, Some(own)) => {
            Ok(Reply::Result(form::registered(own.jid.local().unwrap_or_default())))
        }
        (Wish::Form, None) => {
            Ok(Reply::Result(offer(cx.router, cx.host, None, address, Some(cx.from.jid()))?))
        }
        (Wish::Remove, Some(own)) => remove_own(cx, own, address).await,
        (Wish::Remove, None) => Err(StanzaError::new(Condition::RegistrationRequired)
            .with_text("You have no account here that could be removed.")),
        (Wish::Submit(wanted), own) => {
            if let Some(session) = session.filter(|s| s.facts.lock().tls.is_empty()) {
                tracing::warn!(jid = %session.jid, "a password came unencrypted and was not taken");
                let text = "Passwords are not taken on a connection that is not encrypted.";
                return Err(StanzaError::new(Condition::NotAuthorized)
                    .with_type(ErrorType::Modify)
                    .with_text(text));
            }
            if let Some(own) = own
                && is_about(own, &wanted, &cx.host.domain)?
            {
                return change_password(cx, own, wanted, address).await;
            }
            let from = From { address, invite: None, by: Some(cx.from.jid()) };
            submit(cx.router, cx.host, wanted, from, cx.out, cx.now).await?;
            Ok(Reply::Empty)
        }
    }
}

/// Does somebody who has an account mean it, and not another one?
fn is_about(own: &Session, wanted: &Submission, host: &str) -> Result<bool, StanzaError> {
    let Some(username) = &wanted.username else {
        let text = "The name of the account belongs to a change of its password.";
        return Err(StanzaError::new(Condition::BadRequest).with_text(text));
    };
    let named = Submission::account(username, host)?;
    let same = named.as_str() == own.jid.bare_str();
    if wanted.is_change && !same {
        let text = "You can change the password of your own account only.";
        return Err(StanzaError::new(Condition::NotAllowed).with_text(text));
    }
    Ok(same)
}

/// The session that asks stays; whatever else is signed in may be what the change is about.
async fn change_password(
    cx: &Ctx<'_>,
    own: &Arc<Session>,
    wanted: Submission,
    address: Option<IpAddr>,
) -> Result<Reply, StanzaError> {
    let Some(password) = wanted.password else {
        let text = "The new password is missing; the old one stays.";
        return Err(StanzaError::new(Condition::BadRequest).with_text(text));
    };
    let jid: BareJid = own.jid.bare();
    set_password(cx.router, cx.host, &jid, password, Door::InBand).await?;
    let text = "The password was changed";
    let ended = end_sessions(cx.router, &jid, Some(own), StreamCondition::Reset, text);
    tracing::info!(jid = %own.jid, sessions_ended = ended, "password changed");
    let detail = json!({ "sessions_ended": ended });
    create::note(
        cx.router,
        Some(own.jid.as_str()),
        address,
        "account.password",
        &jid,
        detail,
        cx.now,
    )
    .await;
    Ok(Reply::Empty)
}

async fn remove_own(
    cx: &Ctx<'_>,
    own: &Arc<Session>,
    address: Option<IpAddr>,
) -> Result<Reply, StanzaError> {
    let groups = cx.router.store.groups().snapshot();
    let rules = Arc::clone(&cx.router.config.load().rules);
    if let Err(refused) = registration::may_remove(cx.host, &rules, &groups, &own.jid, address) {
        tracing::warn!(jid = %own.jid, because = refused.because, "the account stays");
        let error = StanzaError::new(refused.condition).with_type(ErrorType::Cancel);
        return Err(error.with_text(refused.text));
    }
    let jid = own.jid.bare();
    let ended = remove(cx.router, cx.host, &jid, own.jid.as_str(), cx.now).await?;
    tracing::info!(jid = %own.jid, sessions_ended = ended, "account removed by its owner");
    let detail = json!({ "sessions_ended": ended });
    create::note(
        cx.router,
        Some(own.jid.as_str()),
        address,
        "account.remove",
        &jid,
        detail,
        cx.now,
    )
    .await;
    Ok(Reply::Empty)
}

#[cfg(test)]
mod tests;
