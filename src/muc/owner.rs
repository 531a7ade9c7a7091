//! What owners do: settings, creation and destruction of a room (XEP-0045 §10).

use super::admin::{Act, Nick};
use super::affiliation::{Affiliation, Role};
use super::form;
use super::room::{Change, News, Out, Room, Sender};
use crate::config::room::Whois;
use crate::jid::{BareJid, Jid};
use crate::stanza::Stanza;
use crate::stanza::error::{Condition, StanzaError};
use crate::stanza::forms::{Form, FormKind};
use crate::xml::element::Element;
use crate::xml::ns;

impl Room {
    /// `<query xmlns='…muc#owner'/>` of type get: the form.
    ///
    /// # Errors
    /// `forbidden` for anybody but owners.
    pub fn settings(&self, sender: Sender<'_>) -> Result<Element, StanzaError> {
        self.must_own(sender)?;
        let names = |affiliation| -> Vec<String> {
            self.with_affiliation(affiliation).map(|(account, _)| account.to_string()).collect()
        };
        let (owners, admins) = (names(Affiliation::Owner), names(Affiliation::Admin));
        let form = form::form(self.jid.as_str(), &self.config, &owners, &admins);
        Ok(Element::new("query", ns::MUC_OWNER).with(form.to_element()))
    }

    fn must_own(&self, sender: Sender<'_>) -> Result<(), StanzaError> {
        match self.standing(sender) {
            Affiliation::Owner => Ok(()),
            _ => Err(StanzaError::new(Condition::Forbidden)
                .with_text("Only owners of the room may do that.")),
        }
    }

    /// `<query xmlns='…muc#owner'/>` of type set: new settings, an instant room, a cancellation,
    /// or the end of the room.
    ///
    /// # Errors
    /// What goes back to the sender; nothing has changed then.
    pub fn own(
        &mut self,
        sender: Sender<'_>,
        query: &Element,
        request: &Stanza,
        out: &mut Out,
    ) -> Result<(), StanzaError> {
        self.must_own(sender)?;
        if let Some(destroy) = query.child("destroy", ns::MUC_OWNER) {
            self.destroy(destroy, out)?;
            out.send(request.result(None));
            return Ok(());
        }
        let Some(x) = query.child("x", ns::DATA_FORMS) else {
            return Err(StanzaError::new(Condition::BadRequest)
                .with_text("Hand in a form, or destroy the room."));
        };
        let form = Form::from_element(x)?;
        match form.kind {
            // §10.1.3: whoever cancels the first settings of a room wants none.
            FormKind::Cancel if self.locked => {
                self.destroy(&Element::new("destroy", ns::MUC_OWNER), out)?
            }
            FormKind::Cancel => {}
            FormKind::Submit => return self.configure(sender, &form, request, out),
            _ => {
                return Err(StanzaError::new(Condition::BadRequest)
                    .with_text("The form is not one that was filled in."));
            }
        }
        out.send(request.result(None));
        Ok(())
    }

    fn configure(
        &mut self,
        sender: Sender<'_>,
        form: &Form,
        request: &Stanza,
        out: &mut Out,
    ) -> Result<(), StanzaError> {
        let new = form::submitted(form, &self.config)?;
        let acts = self.listed(sender, form)?;
        let old = std::mem::replace(&mut self.config, new);
        let unlocked = std::mem::take(&mut self.locked);
        let changed = old != self.config;
        if changed || unlocked {
            out.change(Change::Config);
        }
        self.perform(sender, acts, Some(request.result(None)), out);
        if !old.members_only && self.config.members_only {
            self.put_out_strangers(out);
        }
        if old.moderated && !self.config.moderated {
            self.give_voices(out);
        }
        if changed && !unlocked {
            let codes: &[u16] = match (old.whois, self.config.whois) {
                (Whois::Moderators, Whois::Anyone) => &[104, 172],
                (Whois::Anyone, Whois::Moderators) => &[104, 173],
                _ => &[104],
            };
            self.announce(codes, out);
        }
        Ok(())
    }

    /// The acts that the form's lists of owners and admins amount to.
    fn listed(&self, sender: Sender<'_>, form: &Form) -> Result<Vec<Act>, StanzaError> {
        let mut acts: Vec<Act> = Vec::new();
        for (var, affiliation) in
            [(form::OWNERS, Affiliation::Owner), (form::ADMINS, Affiliation::Admin)]
        {
            if form.get(var).is_none() {
                continue;
            }
            let wanted: Vec<BareJid> = form.jids(var)?.iter().map(Jid::bare).collect();
            let act = |account: &BareJid, affiliation| Act::Affiliation {
                account: account.clone(),
                affiliation,
                nick: Nick::Keep,
                reason: String::new(),
            };
            for (account, _) in self.with_affiliation(affiliation) {
                if !wanted.contains(account) && !acts.iter().any(|done| done.is_about(account)) {
                    acts.push(act(account, Affiliation::None));
                }
            }
            for account in &wanted {
                if self.affiliation(account.as_str()) != affiliation {
                    acts.retain(|done| !done.is_about(account));
                    acts.push(act(account, affiliation));
                }
            }
        }
        for act in &acts {
            if let Act::Affiliation { account, affiliation, .. } = act {
                let own = account.as_str() == sender.jid.bare_str();
                let old = self.affiliation(account.as_str());
                super::affiliation::may_set_affiliation(
                    self.standing(sender),
                    old,
                    *affiliation,
                    own,
                )?;
            }
        }
        self.keeps_an_owner(&acts)?;
        Ok(acts)
    }

    /// Where everybody may speak nobody is a visitor.
    fn give_voices(&mut self, out: &mut Out) {
        let visitors: Vec<Jid> = self
            .occupants
            .iter()
            .filter(|occupant| occupant.role == Role::Visitor)
            .filter_map(|occupant| occupant.seats.first().map(|seat| seat.jid.clone()))
            .collect();
        for client in visitors {
            if let Some(occupant) = self.occupants.of_mut(&client) {
                occupant.role = Role::Participant;
            }
            self.renew_card(&client);
            if let Some(occupant) = self.occupants.of(&client) {
                self.tell(occupant, &News::default(), out);
            }
        }
    }

    /// §10.9: everybody goes, perhaps to another room.
    ///
    /// # Errors
    /// `jid-malformed` if the other room's address is none.
    pub fn destroy(&mut self, asked: &Element, out: &mut Out) -> Result<(), StanzaError> {
        let mut destroy = Element::new("destroy", ns::MUC_USER);
        if let Some(jid) = asked.get("jid") {
            let jid = Jid::parse(jid).map_err(|_| StanzaError::new(Condition::JidMalformed))?;
            destroy.set("jid", jid.as_str());
        }
        for name in ["reason", "password"] {
            if let Some(text) = asked.child_text(name, ns::MUC_OWNER) {
                destroy.push(Element::new(name, ns::MUC_USER).with_text(&text));
            }
        }
        let news = News {
            gone: true,
            affiliation: Some(Affiliation::None),
            destroy: Some(&destroy),
            ..News::default()
        };
        let nicks: Vec<String> = self.occupants.iter().map(|o| o.nick().to_owned()).collect();
        for nick in nicks {
            // Each is told of itself alone: nobody is left to see the others go.
            if let Some(occupant) = self.occupants.remove(&nick) {
                self.tell_itself(&occupant, &news, out);
            }
        }
        out.change(Change::Destroyed);
        Ok(())
    }
}

impl Act {
    fn is_about(&self, account: &BareJid) -> bool {
        matches!(self, Act::Affiliation { account: other, .. } if other == account)
    }
}
