//! Messages: to all (XEP-0045 §7.4), to one occupant (§7.5), the subject (§8.1), slow mode
//! (XEP-0500).

use std::time::Duration;

use super::affiliation::{Affiliation, Role};
use super::occupants::Occupant;
use super::room::{Change, Out, Room, Sender, Subject, addressed, cleaned, occupant_id};
use crate::config::room::{PrivateMessages, VisitorPrivateMessages};
use crate::jid::Jid;
use crate::stanza::content::Content;
use crate::stanza::error::{Condition, ErrorType, StanzaError};
use crate::stanza::forms::Form;
use crate::stanza::{Stanza, Type};
use crate::store::MessageId;
use crate::time::Now;
use crate::xml::element::Element;
use crate::xml::ns;

/// Bytes of a subject, in all its languages.
const SUBJECT_BYTES_MAX: usize = 4_096;

impl Room {
    /// A message to the room itself, of whatever type. `id` is what the archive will know it by.
    ///
    /// # Errors
    /// What goes back to the sender; the room has heard nothing then.
    pub fn heard(
        &mut self,
        sender: Sender<'_>,
        message: &Stanza,
        id: MessageId,
        now: Now,
        out: &mut Out,
    ) -> Result<(), StanzaError> {
        match message.head.typ {
            Some(Type::Groupchat) => return self.say(sender, message, id, now, out),
            // A client that cannot be reached; what it was sent is lost to it.
            Some(Type::Error) => {
                self.drop_client(sender.jid, "A message could not be delivered.", out);
                return Ok(());
            }
            _ => {}
        }
        if let Some(x) = message.child("x", ns::MUC_USER).and_then(|x| x.element().ok()) {
            return self.mediate(sender, &x, out);
        }
        let form = message.child("x", ns::DATA_FORMS).and_then(|x| x.element().ok());
        match form.and_then(|x| Form::from_element(&x).ok()) {
            Some(form) if form.form_type.as_deref() == Some(ns::MUC_REQUEST) => {
                self.request_voice(sender, &form, now, out)
            }
            _ => Err(StanzaError::new(Condition::NotAcceptable)
                .with_text("What is said in a room is of type groupchat.")),
        }
    }

    /// A message of type `groupchat` to the room. `id` is what the archive will know it by.
    ///
    /// # Errors
    /// What goes back to the sender; the room has heard nothing then.
    pub fn say(
        &mut self,
        sender: Sender<'_>,
        message: &Stanza,
        id: MessageId,
        now: Now,
        out: &mut Out,
    ) -> Result<(), StanzaError> {
        if message.is_subject_change() {
            return self.change_subject(sender, message, id, now, out);
        }
        let occupant = self.occupant(sender)?;
        if occupant.role < Role::Participant {
            return Err(
                StanzaError::new(Condition::Forbidden).with_text("You have no voice in this room.")
            );
        }
        self.not_too_fast(occupant, message, now)?;
        let speaker = occupant.jid.clone();
        let said = self.spoken(occupant, message);
        if let Some(occupant) = self.occupants.of_mut(sender.jid) {
            occupant.spoke = Some(now);
        }
        self.publish(sender, &speaker, said, id, now, out);
        Ok(())
    }

    /// XEP-0500: participants of a room in slow mode wait between messages.
    fn not_too_fast(
        &self,
        occupant: &Occupant,
        message: &Stanza,
        now: Now,
    ) -> Result<(), StanzaError> {
        let pause = Duration::from_secs(self.config.slow_mode_secs.into());
        let Some(spoke) = occupant.spoke else { return Ok(()) };
        let waited = now.since(spoke);
        if pause.is_zero()
            || occupant.role >= Role::Moderator
            || !message.has_body()
            || waited >= pause
        {
            return Ok(());
        }
        let left = (pause - waited).as_secs() + 1;
        Err(StanzaError::new(Condition::PolicyViolation)
            .with_type(ErrorType::Wait)
            .with_text(format!("This room is in slow mode: wait {left} s.")))
    }

    /// A client's message as the room passes it on.
    fn spoken(&self, occupant: &Occupant, message: &Stanza) -> Stanza {
        let room = self.jid.as_str();
        let mut said = cleaned(message).without(|child| {
            // Only this room gives ids in its own name (XEP-0359 §5), or says that it was late.
            let ours = |attribute| {
                child
                    .get(attribute)
                    .is_some_and(|by| Jid::parse(&by).is_ok_and(|by| by.as_str() == room))
            };
            child.is("stanza-id", ns::SID) && ours("by")
                || child.is("delay", ns::DELAY) && ours("from")
        });
        said.head.from = Some(occupant.jid.clone());
        said.head.to = None;
        said.head.typ = Some(Type::Groupchat);
        said.with_element(&occupant_id(&occupant.id))
    }

    /// Hands a message to all, to the history and to the archive.
    pub(super) fn publish(
        &mut self,
        sender: Sender<'_>,
        speaker: &Jid,
        mut said: Stanza,
        id: MessageId,
        now: Now,
        out: &mut Out,
    ) {
        if self.archives() && worth_keeping(&said) {
            out.change(Change::Message(Box::new(self.kept(sender, &said)), id));
            let stanza_id = Element::new("stanza-id", ns::SID)
                .attr("by", self.jid.as_str())
                .attr("id", id.to_string());
            said = said.with_element(&stanza_id);
        }
        if said.head.id.is_none() {
            said.head.id = Some(id.to_string().into());
        }
        if said.has_body() || worth_keeping(&said) && !said.is_subject_change() {
            let kept = usize::try_from(self.config.history_max).unwrap_or(usize::MAX);
            self.history.push(now, said.clone(), kept);
        }
        debug_assert_eq!(said.head.from.as_ref(), Some(speaker));
        self.reflect(&said, out);
    }

    /// The message for the archive: with who really said it, for those who may know
    /// (XEP-0313 §6.1.3).
    fn kept(&self, sender: Sender<'_>, said: &Stanza) -> Stanza {
        let rank = self.rank(sender);
        let item = Element::new("item", ns::MUC_USER)
            .attr("affiliation", rank.affiliation.name())
            .attr("role", rank.role.name())
            .attr("jid", sender.jid.as_str());
        let mut kept = said.with_element(&Element::new("x", ns::MUC_USER).with(item));
        kept.head.to = Some(self.jid.clone().into());
        kept
    }

    /// §8.1.
    fn change_subject(
        &mut self,
        sender: Sender<'_>,
        message: &Stanza,
        id: MessageId,
        now: Now,
        out: &mut Out,
    ) -> Result<(), StanzaError> {
        let occupant = self.occupant(sender)?;
        let lowest = if self.config.change_subject { Role::Participant } else { Role::Moderator };
        if occupant.role < lowest {
            return Err(StanzaError::new(Condition::Forbidden)
                .with_text("You may not change the subject of this room."));
        }
        let texts: Vec<(Option<String>, String)> = message
            .children()
            .filter(|child| child.is("subject", ns::CLIENT))
            .map(|child| (child.get("xml:lang").map(|lang| lang.into_owned()), child.text()))
            .collect();
        if texts.iter().map(|(_, text)| text.len()).sum::<usize>() > SUBJECT_BYTES_MAX {
            return Err(StanzaError::new(Condition::NotAcceptable)
                .with_text(format!("A subject has at most {SUBJECT_BYTES_MAX} bytes.")));
        }
        let speaker = occupant.jid.clone();
        let said = self.spoken(occupant, message);
        self.subject = Subject { texts, by: Some(speaker.clone()), at: Some(now) };
        out.change(Change::Subject);
        self.publish(sender, &speaker, said, id, now, out);
        Ok(())
    }

    /// A message to one occupant (§7.5), from another.
    ///
    /// # Errors
    /// What goes back to the sender.
    pub fn whisper(
        &self,
        sender: Sender<'_>,
        to: &Jid,
        message: &Stanza,
        out: &mut Out,
    ) -> Result<(), StanzaError> {
        if message.head.typ == Some(Type::Groupchat) {
            return Err(StanzaError::new(Condition::BadRequest)
                .with_text("A message to one occupant is not of type groupchat."));
        }
        let from = self.occupant(sender)?;
        let target = self.addressee(to)?;
        // An answer to what went wrong is let through, whatever the sender may say otherwise.
        if message.head.typ != Some(Type::Error) && !self.may_whisper(from, target) {
            return Err(StanzaError::new(Condition::Forbidden)
                .with_text("You may not send private messages here."));
        }
        let mut passed = cleaned(message)
            .with_element(&occupant_id(&from.id))
            .with_element(&Element::new("x", ns::MUC_USER));
        passed.head.from = Some(from.jid.clone());
        for seat in &target.seats {
            out.send(addressed(&passed, &seat.jid));
        }
        Ok(())
    }

    fn may_whisper(&self, from: &Occupant, to: &Occupant) -> bool {
        let by_room = match self.config.private_messages {
            PrivateMessages::Anyone => true,
            PrivateMessages::Participants => from.role >= Role::Participant,
            PrivateMessages::Moderators => from.role >= Role::Moderator,
            PrivateMessages::None => false,
        };
        // Whoever may not write to all may still answer those who run the room.
        let to_moderator = to.role == Role::Moderator
            && self.affiliation(to.account.as_str()) >= Affiliation::Member;
        let as_visitor = from.role > Role::Visitor
            || match self.config.visitor_private_messages {
                VisitorPrivateMessages::Anyone => true,
                VisitorPrivateMessages::Moderators => to_moderator || to.role == Role::Moderator,
                VisitorPrivateMessages::Nobody => false,
            };
        by_room && as_visitor
    }

    /// The occupant at an address in the room.
    ///
    /// # Errors
    /// `item-not-found`.
    pub(super) fn addressee(&self, to: &Jid) -> Result<&Occupant, StanzaError> {
        let nick = to.resource().unwrap_or_default();
        self.occupants.named(nick).ok_or_else(|| {
            StanzaError::new(Condition::ItemNotFound)
                .with_text("There is nobody of that nickname in the room.")
        })
    }
}

impl Subject {
    /// As a message says it; a room without subject says so with an empty one.
    pub(super) fn elements(&self) -> Vec<Element> {
        let subject = |lang: Option<&str>, text: &str| {
            Element::new("subject", ns::CLIENT).attr_opt("xml:lang", lang).with_text(text)
        };
        match self.texts.is_empty() {
            true => vec![subject(None, "")],
            false => self.texts.iter().map(|(lang, text)| subject(lang.as_deref(), text)).collect(),
        }
    }

    /// As it is stored.
    pub fn to_json(&self) -> String {
        let by = self.by.as_ref().map(Jid::as_str);
        serde_json::json!({ "texts": self.texts, "by": by, "at": self.at.map(|at| at.0) })
            .to_string()
    }

    /// What was stored; a room without subject if that cannot be read.
    pub fn from_json(text: &str) -> Subject {
        #[derive(serde::Deserialize)]
        struct Stored {
            texts: Vec<(Option<String>, String)>,
            by: Option<String>,
            at: Option<i64>,
        }
        let Ok(stored) = serde_json::from_str::<Stored>(text) else { return Subject::default() };
        Subject {
            texts: stored.texts,
            by: stored.by.and_then(|by| Jid::parse(&by).ok()),
            at: stored.at.map(Now),
        }
    }

    /// The text, for those who list the room.
    pub fn text(&self) -> Option<&str> {
        self.texts.first().map(|(_, text)| text.as_str()).filter(|text| !text.is_empty())
    }
}

/// What somebody who comes later would miss, not who is typing.
fn worth_keeping(message: &Stanza) -> bool {
    let content = Content::of(message);
    !content.hints.no_store
        && !content.hints.no_permanent_store
        && (content.hints.store || content.matters() || message.is_subject_change())
}
