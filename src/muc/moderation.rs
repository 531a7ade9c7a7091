//! XEP-0425: Moderated Message Retraction (0.3.0), and in rooms XEP-0424: Message Retraction (0.4.2).

use super::affiliation::Role;
use super::occupants::Occupant;
use super::room::{Change, Out, Room, Sender, occupant_id};
use crate::stanza::error::{Condition, StanzaError};
use crate::stanza::{Head, Kind, Stanza, Type};
use crate::store::MessageId;
use crate::time::Now;
use crate::xml::element::Element;
use crate::xml::ns;

/// Characters of a reason.
const REASON_CHARS_MAX: usize = 500;

impl Room {
    /// `<moderate/>`: a message of the archive is taken back by a moderator. `original` is what
    /// the archive holds under the id that the request names; `id` is for the retraction itself.
    ///
    /// # Errors
    /// What goes back to the moderator; nothing has changed then.
    #[allow(clippy::too_many_arguments)]
    pub fn moderate(
        &mut self,
        sender: Sender<'_>,
        moderate: &Element,
        target: MessageId,
        original: Option<&Stanza>,
        id: MessageId,
        now: Now,
        out: &mut Out,
    ) -> Result<(), StanzaError> {
        let moderator = self.occupant(sender)?;
        if moderator.role < Role::Moderator {
            return Err(StanzaError::new(Condition::Forbidden)
                .with_text("Only moderators take back what others said."));
        }
        if moderate.child("retract", ns::RETRACT).is_none() {
            return Err(StanzaError::new(Condition::FeatureNotImplemented)
                .with_text("The only moderation there is, is to retract."));
        }
        let Some(original) = original else {
            return Err(StanzaError::new(Condition::ItemNotFound)
                .with_text("There is no such message in the archive of this room."));
        };
        let reason = moderate.child_text("reason", ns::MODERATE).unwrap_or_default();
        let reason: String = reason.chars().take(REASON_CHARS_MAX).collect();
        let moderated = Element::new("moderated", ns::MODERATE)
            .attr("by", moderator.jid.as_str())
            .with(occupant_id(&moderator.id));
        let reason = Some(reason)
            .filter(|reason| !reason.is_empty())
            .map(|reason| Element::new("reason", ns::RETRACT).with_text(&reason));
        let tombstone = Element::new("retracted", ns::RETRACT)
            .attr("stamp", now.to_xmpp())
            .with(moderated.clone())
            .with_all(reason.clone());
        self.entomb(target, original, tombstone, out);
        let retract = Element::new("retract", ns::RETRACT)
            .attr("id", target.to_string())
            .with(moderated)
            .with_all(reason);
        let speaker = self.jid.clone().into();
        let head = Head::new(Kind::Message)
            .with_from(Some(crate::jid::Jid::clone(&speaker)))
            .with_id(Some(&id.to_string()))
            .with_type(Some(Type::Groupchat));
        self.publish(sender, &speaker, Stanza::new(head, [retract]), id, now, out);
        Ok(())
    }

    /// The id of the archived message that a groupchat message takes back (XEP-0424 §3.2).
    pub fn retraction_target(message: &Stanza) -> Option<MessageId> {
        let id = message.child("retract", ns::RETRACT)?.get("id")?;
        MessageId::parse(&id)
    }

    /// An occupant takes back what it said itself; called before the retraction is passed on.
    /// What is not its own stays as it is: others' clients ignore such a retraction too.
    pub fn retract_own(
        &mut self,
        sender: Sender<'_>,
        target: MessageId,
        original: &Stanza,
        retraction: &Stanza,
        now: Now,
        out: &mut Out,
    ) {
        let Some(occupant) = self.occupants.of(sender.jid) else { return };
        if !is_of(original, occupant) || original.has("retracted", ns::RETRACT) {
            return;
        }
        let tombstone = Element::new("retracted", ns::RETRACT)
            .attr("stamp", now.to_xmpp())
            .attr_opt("id", retraction.head.id.as_deref());
        self.entomb(target, original, tombstone, out);
    }

    /// Leaves nothing of a message but who sent it, and that it is gone.
    fn entomb(&mut self, target: MessageId, original: &Stanza, retracted: Element, out: &mut Out) {
        let kept = original.without(|child| {
            !child.is("occupant-id", ns::OCCUPANT_ID) && !child.is("x", ns::MUC_USER)
        });
        let tombstone = kept.with_element(&retracted);
        let named = target.to_string();
        let room = self.jid.clone();
        self.history.replace(
            |past| {
                past.children().any(|child| {
                    child.is("stanza-id", ns::SID)
                        && child.get("id").is_some_and(|id| id == named)
                        && child.get("by").is_some_and(|by| by == room.as_str())
                })
            },
            None,
        );
        out.change(Change::Retracted(target, Box::new(tombstone)));
    }
}

/// Was it said by this occupant, whatever it was called then?
fn is_of(message: &Stanza, occupant: &Occupant) -> bool {
    let id = message
        .child("occupant-id", ns::OCCUPANT_ID)
        .and_then(|child| child.get("id").map(|id| id.into_owned()));
    id.is_some_and(|id| id == *occupant.id)
}
