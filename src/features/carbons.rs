//! XEP-0280: Message Carbons (1.0.1), wrapped by XEP-0297: Stanza Forwarding (1.0).
//!
//! Copies go past the pipelines, straight to the sessions that asked for them. So a carbon that
//! comes *through* a pipeline is somebody's forgery, see [`strip_forged`].

use crate::jid::{BareJid, Jid};
use crate::router::sessions::Flag;
use crate::stanza::content::Content;
use crate::stanza::error::StanzaError;
use crate::stanza::forward::write_forwarded;
use crate::stanza::{ChildRef, Kind, Stanza, Type};
use crate::xml::ns;

use super::{Ctx, Feature, Handled, Iq, Reply, Target, Who, done, on, set, xep};

pub const FEATURE: Feature = Feature {
    xeps: &[xep(280, "1.0.1"), xep(297, "1.0")],
    disco: &[
        on(Target::Host, ns::CARBONS),
        on(Target::Host, ns::CARBONS_RULES),
        on(Target::Account, ns::CARBONS),
        on(Target::Account, ns::CARBONS_RULES),
    ],
    iq: &[
        set(Target::Account, Who::Owner, "enable", ns::CARBONS, enable),
        set(Target::Account, Who::Owner, "disable", ns::CARBONS, disable),
    ],
    ..Feature::NONE
};

/// Which way a message passed the account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    Sent,
    Received,
}

fn enable<'a>(cx: &'a Ctx<'a>, _: Iq) -> Handled<'a> {
    done(switch(cx, true))
}

fn disable<'a>(cx: &'a Ctx<'a>, _: Iq) -> Handled<'a> {
    done(switch(cx, false))
}

/// Asking twice is no error (§9.1).
fn switch(cx: &Ctx<'_>, on: bool) -> Result<Reply, StanzaError> {
    cx.session()?.set(Flag::Carbons, on);
    Ok(Reply::Empty)
}

/// The rules of §6.1, which we advertise as [`ns::CARBONS_RULES`].
pub fn eligible(stanza: &Stanza, direction: Direction) -> bool {
    if stanza.head.kind != Kind::Message {
        return false;
    }
    let content = Content::of(stanza);
    if content.private || content.hints.no_copy {
        return false;
    }
    match stanza.head.typ {
        Some(Type::Groupchat) => false,
        // Which error answers which message is not remembered. Errors for what was sent to a bare
        // JID, as chats are, come back from that bare JID.
        Some(Type::Error) => {
            direction == Direction::Received
                && stanza.head.from.as_ref().is_some_and(|from| from.is_bare())
        }
        // A room sends its private messages to every joined client itself.
        _ if direction == Direction::Received && content.from_room => false,
        Some(Type::Chat) => true,
        _ => content.matters() || content.chat_state,
    }
}

/// A copy that lacks only the session it is for; all copies share one payload.
pub struct Wrapped(Stanza);

impl Wrapped {
    pub fn to(&self, session: &Jid) -> Stanza {
        let mut copy = self.0.clone();
        copy.head.to = Some(session.clone());
        copy
    }
}

/// A copy of what another session of `account` sent, as archived (with its stanza-id, XEP-0313
/// §3.4). The caller has asked [`eligible`].
pub fn sent(stanza: &Stanza, account: &BareJid) -> Wrapped {
    wrap("sent", stanza, account)
}

/// A copy of what `account` received and another session got.
pub fn received(stanza: &Stanza, account: &BareJid) -> Wrapped {
    wrap("received", stanza, account)
}

fn wrap(name: &str, stanza: &Stanza, account: &BareJid) -> Wrapped {
    let mut carbon = Vec::with_capacity(stanza.wire_len() + 192);
    carbon.push(b'<');
    carbon.extend_from_slice(name.as_bytes());
    carbon.extend_from_slice(b" xmlns='urn:xmpp:carbons:2'>");
    write_forwarded(&mut carbon, stanza, None);
    carbon.extend_from_slice(b"</");
    carbon.extend_from_slice(name.as_bytes());
    carbon.push(b'>');
    let from = Some(account.clone().into());
    Wrapped(Stanza::message(stanza.head.message_type(), from, None, []).with(&carbon))
}

/// Takes carbons out of a message that somebody *sent* to the account: clients that do not look at
/// `from` would take it for an own conversation (CVE-2017-5589 and its kin).
pub fn strip_forged(stanza: &mut Stanza) {
    fn is_carbon(child: &ChildRef<'_>) -> bool {
        child.is("sent", ns::CARBONS) || child.is("received", ns::CARBONS)
    }
    if stanza.children().any(|child| is_carbon(&child)) {
        *stanza = stanza.without(is_carbon);
    }
}

#[cfg(test)]
mod tests;
