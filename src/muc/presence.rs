//! Presence within a room: its updates, nicknames, leaving (XEP-0045 §7.6, §7.7, §7.14).

use super::affiliation::Role;
use super::room::{News, Out, Room, Sender, addressed, cleaned, status};
use crate::jid::Jid;
use crate::stanza::error::{Condition, StanzaError};
use crate::stanza::{Head, Kind, Stanza, Type};
use crate::time::Now;
use crate::xml::element::Element;
use crate::xml::ns;

impl Room {
    /// A presence to the room or to an address in it. `created`: the room came to be by it.
    ///
    /// # Errors
    /// What goes back to the sender.
    pub fn presence(
        &mut self,
        sender: Sender<'_>,
        presence: &Stanza,
        created: bool,
        now: Now,
        out: &mut Out,
    ) -> Result<(), StanzaError> {
        let client = sender.jid;
        let here = self.occupants.of(client).map(|occupant| occupant.jid.clone());
        match (presence.head.typ, here) {
            (Some(Type::Unavailable), Some(_)) => {
                self.leave(client, presence, out);
                Ok(())
            }
            (Some(Type::Error), Some(_)) => {
                self.drop_client(client, "The client could not be reached.", out);
                Ok(())
            }
            (None, here) => {
                let nick = presence.head.to.as_ref().filter(|to| to.resource().is_some());
                let Some(nick) = nick.cloned() else {
                    // §7.2.1
                    return Err(StanzaError::new(Condition::JidMalformed)
                        .with_text("A nickname is missing: room@service/nickname."));
                };
                let joins = presence.has("x", ns::MUC);
                match here {
                    Some(own) if own == nick && joins => {
                        self.resync(client, presence, now, out);
                        Ok(())
                    }
                    Some(own) if own == nick => {
                        self.update(client, presence, out);
                        Ok(())
                    }
                    Some(_) => self.rename(sender, &nick, presence, out),
                    None if joins => self.enter(sender, &nick, presence, created, now, out),
                    None => {
                        out.send(not_here(&nick, client));
                        Ok(())
                    }
                }
            }
            // Presence of other types means nothing to a room.
            _ => Ok(()),
        }
    }

    /// §7.7: an occupant's availability changes.
    fn update(&mut self, client: &Jid, presence: &Stanza, out: &mut Out) {
        let muted = !self.config.visitor_status;
        if let Some(occupant) = self.occupants.of_mut(client) {
            occupant.presence = cleaned(presence);
            if muted && occupant.role == Role::Visitor {
                occupant.presence =
                    occupant.presence.without(|child| child.is("status", ns::CLIENT));
            }
        }
        self.renew_card(client);
        if let Some(occupant) = self.occupants.of(client) {
            let id = presence.head.id.as_deref();
            self.tell(occupant, &News { id, ..News::default() }, out);
        }
    }

    /// §7.6: an occupant goes by another name, with all its clients.
    fn rename(
        &mut self,
        sender: Sender<'_>,
        nick: &Jid,
        presence: &Stanza,
        out: &mut Out,
    ) -> Result<(), StanzaError> {
        let occupant = self.occupant(sender)?;
        if occupant.role == Role::Visitor && !self.config.visitor_nick_change {
            return Err(StanzaError::new(Condition::NotAllowed)
                .with_text("Visitors may not change their nickname here."));
        }
        let (old, new) = (occupant.nick().to_owned(), nick.resource().unwrap_or_default());
        let key = self.free_nick(sender, new)?;
        let other = self.occupants.named(new).is_some_and(|other| other.jid != occupant.jid);
        if other {
            // One's own other nickname: two occupants do not become one.
            return Err(StanzaError::new(Condition::Conflict)
                .with_text("You are here under that nickname already."));
        }
        let occupant = self.occupant(sender)?;
        let news = News { gone: true, codes: &[303], new_nick: Some(new), ..News::default() };
        self.tell(occupant, &news, out);
        let Some(mut occupant) = self.occupants.remove(&old) else { return Ok(()) };
        occupant.jid = nick.clone();
        occupant.presence = cleaned(presence);
        occupant.cards = self.cards(&occupant);
        self.occupants.insert(key, occupant);
        if let Some(occupant) = self.occupants.of(sender.jid) {
            let id = presence.head.id.as_deref();
            self.tell(occupant, &News { id, ..News::default() }, out);
        }
        Ok(())
    }

    /// §7.14: a client leaves; with the last of its occupant the occupant does.
    fn leave(&mut self, client: &Jid, presence: &Stanza, out: &mut Out) {
        let news = News {
            gone: true,
            said: Some(presence),
            id: presence.head.id.as_deref(),
            ..News::default()
        };
        self.part(client, &news, out);
    }

    /// A client that cannot be reached any more is not in the room (§14.4, ghosts).
    pub fn drop_client(&mut self, client: &Jid, reason: &str, out: &mut Out) {
        let news = News { gone: true, codes: &[333], reason: Some(reason), ..News::default() };
        self.part(client, &news, out);
    }

    fn part(&mut self, client: &Jid, news: &News<'_>, out: &mut Out) {
        let Some(occupant) = self.occupants.of(client) else { return };
        if occupant.seats.len() > 1 {
            // The others of its clients stay: only this one hears of it.
            out.send(self.told_itself(occupant, news, client));
            self.occupants.unseat(client);
            return;
        }
        let nick = occupant.nick().to_owned();
        if let Some(occupant) = self.occupants.remove(&nick) {
            self.tell(&occupant, news, out);
        }
    }
}

/// §7.2.17: a presence of somebody who believes to be in the room.
fn not_here(nick: &Jid, client: &Jid) -> Stanza {
    let item = Element::new("item", ns::MUC_USER)
        .attr("affiliation", "none")
        .attr("role", "none")
        .with(Element::new("reason", ns::MUC_USER).with_text("You are not in the room."));
    let x = Element::new("x", ns::MUC_USER).with(item).with_all([110, 307, 333].map(status));
    let head =
        Head::new(Kind::Presence).with_from(Some(nick.clone())).with_type(Some(Type::Unavailable));
    addressed(&Stanza::new(head, [x]), client)
}
