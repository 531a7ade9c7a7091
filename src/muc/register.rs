//! Membership by oneself, with a reserved nickname (XEP-0045 §7.10, §7.12).

use super::admin::{Act, Nick};
use super::affiliation::Affiliation;
use super::room::{Out, Room, Sender};
use crate::stanza::Stanza;
use crate::stanza::error::{Condition, StanzaError};
use crate::stanza::forms::{Field, FieldType, Form, FormKind};
use crate::xml::element::Element;
use crate::xml::ns;

const NICK: &str = "muc#register_roomnick";

impl Room {
    /// `jabber:iq:register` of type get.
    ///
    /// # Errors
    /// `not-allowed` for those who may not become members by themselves.
    pub fn registration(&self, sender: Sender<'_>) -> Result<Element, StanzaError> {
        self.may_register(sender)?;
        let query = Element::new("query", ns::REGISTER);
        let tie = self.ties.get(sender.jid.bare_str());
        if let Some(nick) = tie.and_then(|tie| tie.nick.as_deref()) {
            return Ok(query
                .with(Element::new("registered", ns::REGISTER))
                .with(Element::new("username", ns::REGISTER).with_text(nick)));
        }
        let form = Form::new(FormKind::Form)
            .form_type(ns::MUC_REGISTER)
            .title(format!("Membership of {}", self.jid))
            .instructions("The nickname will be yours alone in this room.")
            .field(Field::new(FieldType::TextSingle, NICK).label("Nickname").required());
        Ok(query.with(form.to_element()))
    }

    /// Into a room of members nobody lets himself in; members reserve their nickname.
    fn may_register(&self, sender: Sender<'_>) -> Result<(), StanzaError> {
        match self.standing(sender) {
            Affiliation::Outcast => Err(Condition::Forbidden.into()),
            Affiliation::None if self.config.members_only => {
                Err(StanzaError::new(Condition::NotAllowed)
                    .with_text("An admin of the room can make you a member."))
            }
            _ => Ok(()),
        }
    }

    /// `jabber:iq:register` of type set.
    ///
    /// # Errors
    /// What goes back to the sender.
    pub fn register(
        &mut self,
        sender: Sender<'_>,
        query: &Element,
        request: &Stanza,
        out: &mut Out,
    ) -> Result<(), StanzaError> {
        self.may_register(sender)?;
        let account = sender.jid.bare();
        if query.child("remove", ns::REGISTER).is_some() {
            self.leave_members(sender, request.result(None), out);
            return Ok(());
        }
        let form = Form::submitted(query, ns::MUC_REGISTER)?;
        let nick = form.value(NICK).unwrap_or_default();
        self.reservable(nick, &account)?;
        self.join_members(sender, nick, request.result(None), out);
        Ok(())
    }

    /// `x-roomuser-item`: the nickname that is reserved for the sender (§7.12).
    pub fn reserved_nick(&self, sender: Sender<'_>) -> Option<&str> {
        self.ties.get(sender.jid.bare_str())?.nick.as_deref()
    }

    /// Somebody becomes a member by what the room's rules let him do himself.
    pub(super) fn join_members(
        &mut self,
        sender: Sender<'_>,
        nick: &str,
        answer: Stanza,
        out: &mut Out,
    ) {
        let account = sender.jid.bare();
        let affiliation = self.affiliation(account.as_str()).max(Affiliation::Member);
        let nick = Nick::Reserve(nick.to_owned());
        let act = Act::Affiliation { account, affiliation, nick, reason: String::new() };
        self.perform(sender, vec![act], Some(answer), out);
    }

    /// And gives it up again: the nickname, and a membership that is no more than that.
    pub(super) fn leave_members(&mut self, sender: Sender<'_>, answer: Stanza, out: &mut Out) {
        let account = sender.jid.bare();
        let affiliation = match self.affiliation(account.as_str()) {
            Affiliation::Member => Affiliation::None,
            other => other,
        };
        let act =
            Act::Affiliation { account, affiliation, nick: Nick::Forget, reason: String::new() };
        self.perform(sender, vec![act], Some(answer), out);
    }
}
