//! Entering a room (XEP-0045 §7.2).

use super::affiliation::Affiliation;
use super::history::Wanted;
use super::occupant_id;
use super::occupants::{Cards, Occupant, Occupants, Seat};
use super::room::{Change, News, Out, RESERVE, Room, Sender, addressed, cleaned};
use crate::jid::Jid;
use crate::stanza::error::{Condition, ErrorType, StanzaError};
use crate::stanza::{Head, Kind, Stanza, Type};
use crate::time::Now;
use crate::xml::element::Element;
use crate::xml::ns;

/// Clients of one account under one nickname.
const SEATS_MAX: usize = 20;

impl Room {
    /// Somebody wants to come in under the nickname `nick`. `created`: the room came to be by this.
    ///
    /// # Errors
    /// Those of §7.2.16.
    pub fn enter(
        &mut self,
        sender: Sender<'_>,
        nick: &Jid,
        presence: &Stanza,
        created: bool,
        now: Now,
        out: &mut Out,
    ) -> Result<(), StanzaError> {
        let asked = presence.child("x", ns::MUC).and_then(|x| x.element().ok());
        let asked = asked.unwrap_or_else(|| Element::new("x", ns::MUC));
        let key = self.admit(sender, nick, &asked)?;
        let client = sender.jid;
        let account = client.bare();
        let shown = cleaned(presence);
        let news = News {
            own_codes: match (self.config.is_anonymous(), created) {
                (true, false) => &[],
                (true, true) => &[201],
                (false, false) => &[100],
                (false, true) => &[100, 201],
            },
            id: presence.head.id.as_deref(),
            ..News::default()
        };
        let others = |other: &&Occupant| other.jid != *nick;
        if let Some(occupant) = self.occupants.named(nick.resource().unwrap_or_default()) {
            // §7.2.8: one more client of somebody who is here.
            let jid = occupant.jid.clone();
            self.occupants.seat(&key, client.clone());
            if let Some(occupant) = self.occupants.of_mut(client) {
                occupant.presence = shown;
            }
            self.renew_card(client);
            self.show_others(client, |other| other.jid != jid, out);
        } else {
            let affiliation = self.standing(sender);
            let role = self.role_on_entry(affiliation);
            let empty = Stanza::new(Head::new(Kind::Presence), []);
            let mut occupant = Occupant {
                jid: nick.clone(),
                id: occupant_id::of(&self.salt, &account),
                account,
                role,
                seats: [Seat { jid: client.clone(), errors: 0 }].into_iter().collect(),
                presence: shown,
                cards: Cards { veiled: empty.clone(), open: empty },
                spoke: None,
                asked_for_voice: None,
            };
            occupant.cards = self.cards(&occupant);
            self.occupants.insert(key, occupant);
            self.show_others(client, |other| others(&other), out);
        }
        // §7.1: others' presence, one's own, history, subject.
        if let Some(occupant) = self.occupants.of(client) {
            self.tell(occupant, &news, out);
        }
        self.replay(client, Wanted::of(&asked, now), out);
        out.send(self.subject_for(client));
        Ok(())
    }

    /// A client that is in the room says that it wants in: it has lost its sight of it (§7.2.1).
    pub(super) fn resync(&mut self, client: &Jid, presence: &Stanza, now: Now, out: &mut Out) {
        let asked = presence.child("x", ns::MUC).and_then(|x| x.element().ok());
        if let Some(occupant) = self.occupants.of_mut(client) {
            occupant.presence = cleaned(presence);
        }
        self.renew_card(client);
        let Some(occupant) = self.occupants.of(client) else { return };
        let own = occupant.jid.clone();
        self.show_others(client, |other| other.jid != own, out);
        let own_codes: &[u16] = if self.config.is_anonymous() { &[] } else { &[100] };
        let id = presence.head.id.as_deref();
        self.tell(occupant, &News { own_codes, id, ..News::default() }, out);
        let wanted = asked.map(|x| Wanted::of(&x, now)).unwrap_or_default();
        self.replay(client, wanted, out);
        out.send(self.subject_for(client));
    }

    /// May this sender come in under this nickname? Gives the key of the nickname.
    fn admit(
        &self,
        sender: Sender<'_>,
        nick: &Jid,
        asked: &Element,
    ) -> Result<Box<str>, StanzaError> {
        let name = nick.resource().unwrap_or_default();
        let key = self.free_nick(sender, name)?;
        let account = sender.jid.bare_str();
        let affiliation = self.standing(sender);
        if self.locked && affiliation != Affiliation::Owner {
            // §7.2.10
            return Err(StanzaError::new(Condition::ItemNotFound)
                .with_text("This room is being set up; try again in a moment."));
        }
        if affiliation == Affiliation::Outcast {
            return Err(
                StanzaError::new(Condition::Forbidden).with_text("You are banned from this room.")
            );
        }
        if self.config.members_only && affiliation < Affiliation::Member {
            return Err(StanzaError::new(Condition::RegistrationRequired)
                .with_text("Only members may enter this room."));
        }
        let known = self.occupants.named(name).is_some();
        if self.config.needs_password() && affiliation != Affiliation::Owner {
            let given = asked.child_text("password", ns::MUC).unwrap_or_default();
            if !same_secret(&given, &self.config.password) {
                return Err(StanzaError::new(Condition::NotAuthorized)
                    .with_text("This room asks for a password."));
            }
        }
        let most = usize::try_from(self.config.users_max).unwrap_or(usize::MAX);
        let most = if affiliation >= Affiliation::Admin { most + RESERVE } else { most };
        let seats = self.occupants.of_account(account).map(|o| o.seats.len()).sum::<usize>();
        if !known && self.occupants.len() >= most || seats >= SEATS_MAX {
            return Err(StanzaError::new(Condition::ServiceUnavailable)
                .with_type(ErrorType::Wait)
                .with_text("The room is full."));
        }
        Ok(key)
    }

    /// Is this a nickname that the sender may go by? Gives its key.
    ///
    /// # Errors
    /// `not-acceptable` for what is no nickname, `conflict` for one of somebody else (§7.2.8).
    pub(super) fn free_nick(
        &self,
        sender: Sender<'_>,
        name: &str,
    ) -> Result<Box<str>, StanzaError> {
        let Some(key) = Occupants::key(name) else {
            return Err(
                StanzaError::new(Condition::NotAcceptable).with_text("This cannot be a nickname.")
            );
        };
        let account = sender.jid.bare_str();
        let taken =
            || Err(StanzaError::new(Condition::Conflict).with_text("The nickname is taken."));
        if self.occupants.named(name).is_some_and(|o| o.account.as_str() != account) {
            return taken();
        }
        match self.reserved_by(name) {
            Some(owner) if owner.as_str() != account => taken(),
            _ => Ok(key),
        }
    }

    /// Shows a client who is there.
    fn show_others(&self, client: &Jid, wanted: impl Fn(&Occupant) -> bool, out: &mut Out) {
        let Some(viewer) = self.occupants.of(client) else { return };
        let open = self.sees_addresses(viewer);
        for other in self.occupants.iter().filter(|other| wanted(other)) {
            if self.broadcasts(other.role) {
                out.send(addressed(other.card(open), client));
            }
        }
    }

    /// §7.2.15.
    pub(super) fn subject_for(&self, client: &Jid) -> Stanza {
        let room: Jid = self.jid.clone().into();
        let head = Head::new(Kind::Message)
            .with_from(Some(self.subject.by.clone().unwrap_or_else(|| room.clone())))
            .with_to(Some(client.clone()))
            .with_type(Some(Type::Groupchat));
        let stanza = Stanza::new(head, self.subject.elements());
        match self.subject.at {
            Some(at) => {
                stanza.with_element(&crate::stanza::delay::Delay::new(at, Some(room)).to_element())
            }
            None => stanza,
        }
    }

    /// The room exists from now on (§10.1.1); `creator` owns it.
    pub fn found(&mut self, creator: &Jid, locked: bool, out: &mut Out) {
        let tie = super::room::Tie { affiliation: Affiliation::Owner, ..Default::default() };
        self.ties.insert(creator.bare(), tie);
        self.locked = locked;
        out.change(Change::Created);
    }
}

/// Compares without telling by its time how much is right.
fn same_secret(given: &str, right: &str) -> bool {
    use subtle::ConstantTimeEq;
    given.as_bytes().ct_eq(right.as_bytes()).into()
}
