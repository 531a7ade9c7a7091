//! Asking for a voice, and being given one (XEP-0045 §7.13, §8.6).

use std::time::Duration;

use super::admin::Act;
use super::affiliation::Role;
use super::room::{Out, Room, Sender};
use crate::jid::Jid;
use crate::stanza::error::{Condition, ErrorType, StanzaError};
use crate::stanza::forms::{Field, FieldType, Form, FormKind};
use crate::stanza::{Head, Kind, Stanza};
use crate::time::Now;
use crate::xml::ns;

const ROLE: &str = "muc#role";
const JID: &str = "muc#jid";
const NICK: &str = "muc#roomnick";
const ALLOW: &str = "muc#request_allow";

impl Room {
    /// A form of type `muc#request`: a visitor asks, or a moderator answers.
    ///
    /// # Errors
    /// What goes back to the sender.
    pub fn request_voice(
        &mut self,
        sender: Sender<'_>,
        form: &Form,
        now: Now,
        out: &mut Out,
    ) -> Result<(), StanzaError> {
        match form.get(ALLOW) {
            Some(_) => self.answer_request(sender, form, out),
            None => self.ask_for_voice(sender, now, out),
        }
    }

    fn ask_for_voice(
        &mut self,
        sender: Sender<'_>,
        now: Now,
        out: &mut Out,
    ) -> Result<(), StanzaError> {
        let occupant = self.occupant(sender)?;
        if !self.config.voice_requests || occupant.role >= Role::Participant {
            return Err(StanzaError::new(Condition::Forbidden)
                .with_text("There is nothing to be asked for here."));
        }
        let pause = Duration::from_secs(self.config.voice_request_secs.into());
        if occupant.asked_for_voice.is_some_and(|asked| now.since(asked) < pause) {
            return Err(StanzaError::new(Condition::ResourceConstraint)
                .with_type(ErrorType::Wait)
                .with_text("You have asked a short while ago."));
        }
        let form = Form::new(FormKind::Form)
            .form_type(ns::MUC_REQUEST)
            .title("Voice request")
            .instructions("Somebody without a voice asks for one.")
            .field(
                Field::new(FieldType::TextSingle, ROLE)
                    .label("Requested role")
                    .value("participant"),
            )
            .field(
                Field::new(FieldType::JidSingle, JID).label("Address").value(sender.jid.as_str()),
            )
            .field(Field::new(FieldType::TextSingle, NICK).label("Nickname").value(occupant.nick()))
            .field(
                Field::new(FieldType::Boolean, ALLOW)
                    .label("Give this person a voice?")
                    .boolean(false),
            );
        let room: Jid = self.jid.clone().into();
        for moderator in self.occupants.iter().filter(|other| other.role == Role::Moderator) {
            for seat in &moderator.seats {
                let head = Head::new(Kind::Message)
                    .with_from(Some(room.clone()))
                    .with_to(Some(seat.jid.clone()));
                out.send(Stanza::new(head, [form.to_element()]));
            }
        }
        if let Some(occupant) = self.occupants.of_mut(sender.jid) {
            occupant.asked_for_voice = Some(now);
        }
        Ok(())
    }

    fn answer_request(
        &mut self,
        sender: Sender<'_>,
        form: &Form,
        out: &mut Out,
    ) -> Result<(), StanzaError> {
        if self.occupant(sender)?.role < Role::Moderator {
            return Err(Condition::Forbidden.into());
        }
        let bad = |text: &str| StanzaError::new(Condition::BadRequest).with_text(text);
        if form.value(ROLE).is_some_and(|role| role != "participant") {
            return Err(bad("Only the role of a participant is asked for in this way."));
        }
        if form.boolean(ALLOW)? != Some(true) {
            return Ok(());
        }
        let nick = form.value(NICK).ok_or_else(|| bad("The form names nobody."))?;
        let asking = self.occupants.named(nick).filter(|occupant| {
            form.value(JID)
                .and_then(|jid| Jid::parse(jid).ok())
                .is_none_or(|jid| occupant.account.as_str() == jid.bare_str())
        });
        // Who has left, or has a voice meanwhile, needs none.
        let Some(asking) = asking.filter(|asking| asking.role == Role::Visitor) else {
            return Ok(());
        };
        let nick = asking.nick().to_owned();
        let act = Act::Role { nick, role: Role::Participant, reason: String::new() };
        self.perform(sender, vec![act], None, out);
        Ok(())
    }
}
