//! Invitations through the room, and what becomes of them (XEP-0045 §7.8).

use super::admin::Nick;
use super::affiliation::Affiliation;
use super::room::{Out, Room, Sender};
use crate::jid::Jid;
use crate::stanza::error::{Condition, StanzaError};
use crate::stanza::{Head, Kind, Stanza};
use crate::xml::element::Element;
use crate::xml::ns;

/// People invited by one message.
const INVITEES_MAX: usize = 20;

impl Room {
    /// A message with `<invite/>` or `<decline/>` in its `<x xmlns='…muc#user'/>`.
    ///
    /// # Errors
    /// What goes back to the sender; nobody is invited then.
    pub fn mediate(
        &mut self,
        sender: Sender<'_>,
        x: &Element,
        out: &mut Out,
    ) -> Result<(), StanzaError> {
        if let Some(decline) = x.child("decline", ns::MUC_USER) {
            return self.decline(sender, decline, out);
        }
        let from = self.occupant(sender)?.jid.clone();
        let standing = self.standing(sender);
        let may_add = standing >= Affiliation::Admin
            || self.config.invites && standing >= Affiliation::Member;
        // Into an open room anybody may come, so anybody may say so.
        if self.config.members_only && !may_add {
            return Err(StanzaError::new(Condition::Forbidden)
                .with_text("You may not invite to this room."));
        }
        let invites: Vec<&Element> =
            x.children().filter(|child| child.is("invite", ns::MUC_USER)).collect();
        if invites.is_empty() || invites.len() > INVITEES_MAX {
            return Err(StanzaError::new(Condition::BadRequest)
                .with_text(format!("Between 1 and {INVITEES_MAX} people are invited at once.")));
        }
        let to = |invite: &Element| {
            let to = invite.get("to").and_then(|to| Jid::parse(to).ok());
            to.ok_or(StanzaError::new(Condition::JidMalformed))
        };
        let invitees = invites.iter().map(|invite| to(invite)).collect::<Result<Vec<_>, _>>()?;
        for invitee in &invitees {
            if self.affiliation(invitee.bare_str()) == Affiliation::Outcast {
                return Err(StanzaError::new(Condition::Forbidden)
                    .with_text("Who is banned from this room cannot be invited."));
            }
        }
        for (invite, invitee) in invites.iter().zip(&invitees) {
            let account = invitee.bare();
            if self.config.members_only && self.affiliation(account.as_str()) < Affiliation::Member
            {
                // §9.5: the list of members is the list of those who may come in.
                self.tie(&account, Affiliation::Member, Nick::Keep, "", out);
            }
            let reason = invite.child_text("reason", ns::MUC_USER);
            let going_on = invite.child("continue", ns::MUC_USER);
            out.send(self.invitation(&from, invitee, reason.as_deref(), going_on));
        }
        Ok(())
    }

    /// §7.8.2: an invitation as it is delivered.
    pub(super) fn invitation(
        &self,
        from: &Jid,
        to: &Jid,
        reason: Option<&str>,
        going_on: Option<&Element>,
    ) -> Stanza {
        let mut invite = Element::new("invite", ns::MUC_USER).attr("from", from.as_str());
        if let Some(reason) = reason {
            invite.push(Element::new("reason", ns::MUC_USER).with_text(reason));
        }
        if let Some(going_on) = going_on {
            invite.push(going_on.clone());
        }
        let mut x = Element::new("x", ns::MUC_USER).with(invite);
        if self.config.needs_password() {
            x.push(Element::new("password", ns::MUC_USER).with_text(&self.config.password));
        }
        let room: Jid = self.jid.clone().into();
        let head = Head::new(Kind::Message).with_from(Some(room)).with_to(Some(to.clone()));
        // For clients that know direct invitations only (XEP-0249).
        let direct = Element::new("x", ns::CONFERENCE)
            .attr("jid", self.jid.as_str())
            .attr_opt("reason", reason)
            .attr_opt("password", Some(&self.config.password).filter(|p| !p.is_empty()))
            .attr_opt("continue", going_on.map(|_| "true"))
            .attr_opt("thread", going_on.and_then(|going_on| going_on.get("thread")));
        Stanza::new(head, [x, direct])
    }

    /// §7.8.2: whoever was invited says no, to the inviter.
    fn decline(
        &self,
        sender: Sender<'_>,
        decline: &Element,
        out: &mut Out,
    ) -> Result<(), StanzaError> {
        let to = decline
            .get("to")
            .and_then(|to| Jid::parse(to).ok())
            .ok_or(StanzaError::new(Condition::JidMalformed))?;
        // The inviter is named by its place in the room, or by its address if that is open here.
        let inviter = match to.bare_str() == self.jid.as_str() {
            true => self.occupants.named(to.resource().unwrap_or_default()),
            false => self.occupants.of_account(to.bare_str()).next(),
        };
        let Some(inviter) = inviter else {
            return Err(StanzaError::new(Condition::ItemNotFound)
                .with_text("Who invited you is not in the room any more."));
        };
        let mut declined =
            Element::new("decline", ns::MUC_USER).attr("from", sender.jid.bare_str());
        if let Some(reason) = decline.child_text("reason", ns::MUC_USER) {
            declined.push(Element::new("reason", ns::MUC_USER).with_text(&reason));
        }
        let x = Element::new("x", ns::MUC_USER).with(declined);
        let room: Jid = self.jid.clone().into();
        for seat in &inviter.seats {
            let head = Head::new(Kind::Message)
                .with_from(Some(room.clone()))
                .with_to(Some(seat.jid.clone()));
            out.send(Stanza::new(head, [x.clone()]));
        }
        Ok(())
    }
}
