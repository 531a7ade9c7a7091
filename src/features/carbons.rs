//! XEP-0280: Message Carbons (1.0.1), wrapped by XEP-0297: Stanza Forwarding (1.0).
//!
//! Copies go past the pipelines, straight to the sessions that asked for them. So a carbon that
//! comes *through* a pipeline is somebody's forgery, see [`strip_forged`].

use crate::jid::{BareJid, Jid};
use crate::router::sessions::Flag;
use crate::stanza::error::StanzaError;
use crate::stanza::forward::write_forwarded;
use crate::stanza::{ChildRef, Kind, Stanza, Type};
use crate::xml::ns;

use super::content::Content;
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
mod tests {
    use super::*;
    use crate::xml::element::Element;

    fn parse(xml: &str) -> Stanza {
        Stanza::parse(xml.as_bytes()).expect("a stanza")
    }

    fn text(stanza: &Stanza) -> String {
        let mut out = Vec::new();
        stanza.write(&mut out);
        String::from_utf8(out).expect("UTF-8")
    }

    fn romeo() -> BareJid {
        BareJid::parse("romeo@montague.example").expect("a bare JID")
    }

    const INSIDE: &str = "<body>Neither, fair saint, if either thee dislike.</body>\
         <thread>0e3141cd80894871a68e6fe6b1ec56fa</thread>";

    #[test]
    fn other_sessions_get_what_one_sent() {
        let message = parse(&format!(
            "<message from='romeo@montague.example/home' to='juliet@capulet.example/balcony' type='chat'>{INSIDE}</message>"
        ));
        let garden = Jid::parse("romeo@montague.example/garden").expect("a JID");
        let copy = text(&sent(&message, &romeo()).to(&garden));
        let inner = Element::parse(copy.as_bytes(), ns::CLIENT).expect("XML");
        assert_eq!(inner.get("from"), Some("romeo@montague.example"));
        assert_eq!(inner.get("to"), Some("romeo@montague.example/garden"));
        assert_eq!(inner.get("type"), Some("chat"));
        let forwarded =
            inner.child("sent", ns::CARBONS).and_then(|sent| sent.child("forwarded", ns::FORWARD));
        let original = forwarded
            .and_then(|f| f.child("message", ns::CLIENT))
            .expect("the original, in its own namespace");
        assert_eq!(original.get("to"), Some("juliet@capulet.example/balcony"));
        assert_eq!(
            original.child_text("thread", ns::CLIENT).as_deref(),
            Some("0e3141cd80894871a68e6fe6b1ec56fa")
        );
    }

    #[test]
    fn instant_messages_are_copied() {
        for xml in [
            "<message type='chat'/>",
            "<message><body>x</body></message>",
            "<message type='normal'><received xmlns='urn:xmpp:receipts' id='1'/></message>",
            "<message><displayed xmlns='urn:xmpp:chat-markers:0' id='1'/></message>",
            "<message><composing xmlns='http://jabber.org/protocol/chatstates'/></message>",
            "<message><x xmlns='jabber:x:conference' jid='room@muc'/></message>",
            "<message from='r@muc'><x xmlns='http://jabber.org/protocol/muc#user'><invite from='a@b'/></x></message>",
        ] {
            assert!(eligible(&parse(xml), Direction::Sent), "{xml}");
            assert!(eligible(&parse(xml), Direction::Received), "{xml}");
        }
    }

    #[test]
    fn what_is_private_public_or_no_conversation_is_not() {
        for xml in [
            &format!(
                "<message type='chat'>{INSIDE}<private xmlns='urn:xmpp:carbons:2'/><no-copy xmlns='urn:xmpp:hints'/></message>"
            ),
            "<message type='chat'><body>x</body><private xmlns='urn:xmpp:carbons:2'/></message>",
            "<message type='chat'><body>x</body><no-copy xmlns='urn:xmpp:hints'/></message>",
            "<message type='groupchat'><body>x</body></message>",
            "<message><event xmlns='http://jabber.org/protocol/pubsub#event'/></message>",
            "<presence/>",
        ] {
            assert!(!eligible(&parse(xml), Direction::Sent), "{xml}");
            assert!(!eligible(&parse(xml), Direction::Received), "{xml}");
        }
    }

    #[test]
    fn private_messages_of_a_room_are_copied_on_the_way_out_only() {
        let pm = parse(
            "<message type='chat' from='r@muc/n'><body>x</body><x xmlns='http://jabber.org/protocol/muc#user'/></message>",
        );
        assert!(eligible(&pm, Direction::Sent));
        assert!(!eligible(&pm, Direction::Received));
    }

    #[test]
    fn bounces_from_an_account_are_copied_those_from_a_session_are_not() {
        let bounce = |from: &str| {
            parse(&format!(
                "<message type='error' from='{from}'><body>x</body><error type='cancel'/></message>"
            ))
        };
        assert!(eligible(&bounce("juliet@capulet.example"), Direction::Received));
        assert!(!eligible(&bounce("juliet@capulet.example/balcony"), Direction::Received));
        assert!(!eligible(&bounce("juliet@capulet.example"), Direction::Sent));
    }

    #[test]
    fn tybalt_s_carbon_loses_what_made_it_one() {
        let mut forged = parse(
            "<message from='tybalt@capulet.example/home' to='romeo@montague.example' type='chat'>\
             <received xmlns='urn:xmpp:carbons:2'><forwarded xmlns='urn:xmpp:forward:0'>\
             <message xmlns='jabber:client' from='juliet@capulet.example/balcony' type='chat'>\
             <body>Thou shall meet me tonite, at our house's hall!</body></message></forwarded></received></message>",
        );
        strip_forged(&mut forged);
        assert!(forged.payload().is_empty());
    }
}
