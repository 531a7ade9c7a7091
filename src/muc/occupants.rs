//! Who is in a room: a nickname each, and under it one or more clients of one account (§7.2.8).

use std::collections::HashMap;

use indexmap::IndexMap;
use precis_core::profile::PrecisFastInvocation;
use precis_profiles::Nickname;
use smallvec::SmallVec;

use super::affiliation::Role;
use crate::jid::{BareJid, Jid};
use crate::stanza::Stanza;
use crate::time::Now;

/// Somebody in the room.
pub struct Occupant {
    /// `room@service/nick`.
    pub jid: Jid,
    /// The account behind the nickname.
    pub account: BareJid,
    pub role: Role,
    /// XEP-0421.
    pub id: Box<str>,
    /// Never empty, as long as the occupant is in the room.
    pub seats: SmallVec<[Seat; 1]>,
    /// The presence it shows, without what the room adds.
    pub presence: Stanza,
    /// What others are sent of it: without its address, and with it.
    pub cards: Cards,
    /// When it last spoke: for slow mode.
    pub spoke: Option<Now>,
    /// When it last asked for a voice.
    pub asked_for_voice: Option<Now>,
}

/// A client of an occupant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seat {
    /// Full JID.
    pub jid: Jid,
    /// It was sent something that bounced once, and is given up at the next.
    pub errors: u8,
}

/// An occupant's presence as others get it, but for their address.
pub struct Cards {
    /// For those who may not know its address.
    pub veiled: Stanza,
    /// For those who may.
    pub open: Stanza,
}

impl Occupant {
    pub fn nick(&self) -> &str {
        self.jid.resource().unwrap_or_default()
    }

    pub fn card(&self, open: bool) -> &Stanza {
        if open { &self.cards.open } else { &self.cards.veiled }
    }
}

/// The occupants in the order in which they came.
#[derive(Default)]
pub struct Occupants {
    by_nick: IndexMap<Box<str>, Occupant>,
    /// Full JID of a client → key of its occupant.
    seats: HashMap<Jid, Box<str>>,
}

impl Occupants {
    /// What two nicknames are compared by (RFC 8266: case and width do not matter). `None` for one
    /// that nobody may have.
    pub fn key(nick: &str) -> Option<Box<str>> {
        Some(Nickname::enforce(nick).ok()?.to_lowercase().into())
    }

    /// Occupants, not clients.
    pub fn len(&self) -> usize {
        self.by_nick.len()
    }

    pub fn is_empty(&self) -> bool {
        self.by_nick.is_empty()
    }

    pub fn iter(&self) -> impl Iterator<Item = &Occupant> {
        self.by_nick.values()
    }

    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Occupant> {
        self.by_nick.values_mut()
    }

    /// The occupant that a client is.
    pub fn of(&self, client: &Jid) -> Option<&Occupant> {
        self.by_nick.get(self.seats.get(client)?)
    }

    pub fn of_mut(&mut self, client: &Jid) -> Option<&mut Occupant> {
        self.by_nick.get_mut(self.seats.get(client)?)
    }

    /// By nickname, however it is spelled.
    pub fn named(&self, nick: &str) -> Option<&Occupant> {
        self.by_nick.get(&Occupants::key(nick)?)
    }

    pub fn named_mut(&mut self, nick: &str) -> Option<&mut Occupant> {
        self.by_nick.get_mut(&Occupants::key(nick)?)
    }

    /// The nicknames under which an account is here; mostly none or one.
    pub fn of_account<'a>(&'a self, account: &'a str) -> impl Iterator<Item = &'a Occupant> {
        self.iter().filter(move |occupant| occupant.account.as_str() == account)
    }

    /// A new occupant, whose nickname is free.
    pub fn insert(&mut self, key: Box<str>, occupant: Occupant) {
        for seat in &occupant.seats {
            self.seats.insert(seat.jid.clone(), key.clone());
        }
        self.by_nick.insert(key, occupant);
    }

    /// One more client for an occupant.
    pub fn seat(&mut self, key: &str, client: Jid) {
        if let Some(occupant) = self.by_nick.get_mut(key) {
            self.seats.insert(client.clone(), key.into());
            occupant.seats.push(Seat { jid: client, errors: 0 });
        }
    }

    /// Takes a client away; hands out its occupant if that was the last one.
    pub fn unseat(&mut self, client: &Jid) -> Option<Occupant> {
        let key = self.seats.remove(client)?;
        let occupant = self.by_nick.get_mut(&key)?;
        occupant.seats.retain(|seat| seat.jid != *client);
        if occupant.seats.is_empty() { self.by_nick.shift_remove(&key) } else { None }
    }

    /// Takes an occupant away with all its clients.
    pub fn remove(&mut self, nick: &str) -> Option<Occupant> {
        let occupant = self.by_nick.shift_remove(&Occupants::key(nick)?)?;
        for seat in &occupant.seats {
            self.seats.remove(&seat.jid);
        }
        Some(occupant)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nicknames_that_look_alike_are_one() {
        assert_eq!(Occupants::key("Third Witch"), Occupants::key("third  witch "));
        assert_eq!(Occupants::key("ＷＩＴＣＨ"), Occupants::key("witch"));
        assert_ne!(Occupants::key("witch"), Occupants::key("witches"));
        assert_eq!(Occupants::key("  "), None);
        assert_eq!(Occupants::key("a\u{7}b"), None);
    }
}
