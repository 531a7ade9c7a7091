//! What a message carries, and what its sender hints at.
//!
//! Archive, carbons, offline store, push and client state each ask whether a message matters.
//! They ask here, in one pass over the message's children, so that they cannot disagree on what a
//! text, a receipt or a call invitation is.

use super::hints::Hints;
use super::{ChildRef, Kind, Stanza, Type};
use crate::xml::ns;

/// What was found among the children of a message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Content {
    pub body: bool,
    /// End-to-end encrypted, by whatever scheme (XEP-0380 names it, 0384, 0373 and 0027 carry it).
    pub encrypted: bool,
    pub subject: bool,
    /// XEP-0184 `<received/>`.
    pub receipt: bool,
    /// XEP-0333 `<received/>`, `<displayed/>` or `<acknowledged/>`; not `<markable/>`.
    pub marker: bool,
    /// XEP-0444.
    pub reaction: bool,
    /// XEP-0424 `<retract/>`, or a moderated one (0425).
    pub retraction: bool,
    /// XEP-0308.
    pub correction: bool,
    /// XEP-0353 or XEP-0482: a call is offered, answered or over.
    pub call: Option<Call>,
    /// Into a room: XEP-0249, or mediated (XEP-0045 §7.8.2).
    pub invitation: bool,
    /// `<x xmlns='…muc#user'/>` that is not an invitation: a private message within a room.
    pub from_room: bool,
    /// XEP-0085.
    pub chat_state: bool,
    /// XEP-0280 `<private/>`.
    pub private: bool,
    /// Of an error there are none, since it may quote them (XEP-0334 §5).
    pub hints: Hints,
}

/// What a call message says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// Somebody rings.
    Offered,
    /// The call was withdrawn, refused, taken or ended: who rings should stop.
    Settled,
    /// `<ringing/>` and what is yet to be invented.
    Progress,
}

impl Content {
    /// Looks at the first level of `stanza` only.
    pub fn of(stanza: &Stanza) -> Content {
        let mut found = Content::default();
        if stanza.head.kind != Kind::Message {
            return found;
        }
        for child in stanza.children() {
            found.note(&child);
        }
        if stanza.head.typ != Some(Type::Error) {
            found.hints = stanza.hints();
        }
        found
    }

    fn note(&mut self, child: &ChildRef<'_>) {
        match (child.ns(), child.name()) {
            (ns::CLIENT, "body") => self.body = true,
            (ns::CLIENT, "subject") => self.subject = true,
            (ns::EME, "encryption")
            | (ns::OMEMO2 | ns::OMEMO_LEGACY, "encrypted")
            | (ns::OPENPGP, "openpgp")
            | (ns::OPENPGP_LEGACY, "x") => self.encrypted = true,
            (ns::RECEIPTS, "received") => self.receipt = true,
            (ns::CHAT_MARKERS, "received" | "displayed" | "acknowledged") => self.marker = true,
            (ns::REACTIONS, "reactions") => self.reaction = true,
            (ns::RETRACT, "retract") => self.retraction = true,
            (ns::CORRECT, "replace") => self.correction = true,
            (ns::JINGLE_MESSAGE, name) => {
                self.call = Some(match name {
                    "propose" => Call::Offered,
                    "retract" | "accept" | "proceed" | "reject" | "finish" => Call::Settled,
                    _ => Call::Progress,
                });
            }
            (ns::CALL_INVITES, name) => {
                self.call = Some(match name {
                    "invite" => Call::Offered,
                    "retract" | "accept" | "reject" | "left" => Call::Settled,
                    _ => Call::Progress,
                });
            }
            (ns::CONFERENCE, "x") => self.invitation = true,
            (ns::MUC_USER, "x") => {
                let invites =
                    child.element().is_ok_and(|x| x.child("invite", ns::MUC_USER).is_some());
                self.invitation |= invites;
                self.from_room |= !invites;
            }
            (ns::CHAT_STATES, _) => self.chat_state = true,
            (ns::CARBONS, "private") => self.private = true,
            _ => {}
        }
    }

    /// Is there anything a user would miss? Chat states, room subjects' echoes and unknown
    /// payloads (pubsub events among them) are not.
    pub fn matters(&self) -> bool {
        self.body
            || self.encrypted
            || self.subject
            || self.receipt
            || self.marker
            || self.reaction
            || self.retraction
            || self.correction
            || self.call.is_some()
            || self.invitation
    }

    /// Nothing but who is typing.
    pub fn is_chat_state_only(&self) -> bool {
        self.chat_state && !self.matters() && !self.hints.store
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(xml: &str) -> Content {
        Content::of(&Stanza::parse(xml.as_bytes()).expect("a stanza"))
    }

    #[test]
    fn hints_of_the_specification_s_example_are_read() {
        let content =
            of("<message from='romeo@montague.lit/laptop' to='juliet@capulet.lit/laptop'>\
             <body>V unir avtug'f pybnx gb uvqr zr sebz gurve fvtug</body>\
             <no-copy xmlns='urn:xmpp:hints'/><no-store xmlns='urn:xmpp:hints'/></message>");
        assert!(content.body);
        assert_eq!(content.hints, Hints { no_copy: true, no_store: true, ..Hints::default() });
    }

    #[test]
    fn an_error_quotes_hints_but_gives_none() {
        let content = of("<message type='error' from='a@b' to='c@d'><body>x</body>\
             <store xmlns='urn:xmpp:hints'/><error type='cancel'/></message>");
        assert_eq!(content.hints, Hints::default());
    }

    #[test]
    fn a_private_message_of_a_room_is_told_from_an_invitation() {
        let pm = of(
            "<message type='chat' from='r@m/n'><body>x</body><x xmlns='http://jabber.org/protocol/muc#user'/></message>",
        );
        assert!(pm.from_room && !pm.invitation);
        let invite = of("<message from='r@m'><x xmlns='http://jabber.org/protocol/muc#user'>\
             <invite from='crone1@shakespeare.lit/desktop'/></x></message>");
        assert!(invite.invitation && !invite.from_room);
    }

    #[test]
    fn typing_is_nothing_a_user_would_miss() {
        let typing =
            of("<message type='chat'><composing xmlns='http://jabber.org/protocol/chatstates'/>\
             <no-store xmlns='urn:xmpp:hints'/></message>");
        assert!(typing.is_chat_state_only());
        let text = of(
            "<message type='chat'><body>hi</body><active xmlns='http://jabber.org/protocol/chatstates'/></message>",
        );
        assert!(!text.is_chat_state_only() && text.matters());
    }

    #[test]
    fn calls_ring_and_are_settled() {
        let call = |name: &str| {
            of(&format!("<message type='chat'><{name} xmlns='urn:xmpp:jingle-message:0' id='ca3cf894'/></message>")).call
        };
        assert_eq!(call("propose"), Some(Call::Offered));
        for name in ["retract", "accept", "proceed", "reject", "finish"] {
            assert_eq!(call(name), Some(Call::Settled), "{name}");
        }
        assert_eq!(call("ringing"), Some(Call::Progress));
    }
}
