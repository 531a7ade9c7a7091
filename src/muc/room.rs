//! One room: its state, and the words in which it speaks. Sans-IO: stanzas and the time go in,
//! stanzas and changes to be stored come out. The acts themselves are in the files beside this one.

use std::collections::BTreeMap;

use super::affiliation::{Affiliation, Rank, Role};
use super::history::History;
use super::occupants::{Cards, Occupant, Occupants};
use crate::config::room::RoomConfig;
use crate::jid::{BareJid, Jid};
use crate::stanza::error::{Condition, StanzaError};
use crate::stanza::{Head, Kind, Stanza, Type};
use crate::store::MessageId;
use crate::time::Now;
use crate::xml::element::Element;
use crate::xml::ns;

/// Accounts that a room may have an opinion about.
pub const TIES_MAX: usize = 10_000;
/// Occupants beyond `users_max` that owners and admins may be (§7.2.9).
pub const RESERVE: usize = 20;

/// A room, as long as somebody is in it or has business with it.
pub struct Room {
    pub jid: BareJid,
    pub config: RoomConfig,
    /// Everybody with an affiliation other than none, or with a reserved nickname.
    pub ties: BTreeMap<BareJid, Tie>,
    pub occupants: Occupants,
    pub subject: Subject,
    pub history: History,
    /// From it follow the occupant ids (XEP-0421); never told.
    pub salt: [u8; 16],
    /// Created and not configured yet: nobody but its creator may enter (§10.1).
    pub locked: bool,
    pub created: Now,
}

/// What a room knows of an account that need not be there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tie {
    pub affiliation: Affiliation,
    /// Reserved for it (§7.10).
    pub nick: Option<String>,
    /// Why, as its admin said.
    pub reason: String,
}

/// The subject, as it was set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Subject {
    /// One per language; none is no subject.
    pub texts: Vec<(Option<String>, String)>,
    /// The occupant who set it.
    pub by: Option<Jid>,
    pub at: Option<Now>,
}

/// Who sends something, and what the service lets it do.
#[derive(Clone, Copy)]
pub struct Sender<'a> {
    /// A full JID as a rule; components may send from bare ones.
    pub jid: &'a Jid,
    /// Runs this service: counts as an owner of every room.
    pub is_service_admin: bool,
}

/// What a room wants done, in this order: changes first, so that nothing is told that is not so.
#[derive(Default)]
pub struct Out {
    pub changes: Vec<Change>,
    /// With their addresses.
    pub stanzas: Vec<Stanza>,
}

/// What must be stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// The room as a whole: settings and ties.
    Created,
    Config,
    /// What the room knows of this account.
    Tie(BareJid),
    Subject,
    /// A message for the archive, as it is to be kept.
    Message(Box<Stanza>, MessageId),
    /// A message of the archive is replaced by its tombstone (XEP-0425).
    Retracted(MessageId, Box<Stanza>),
    Destroyed,
}

impl Out {
    pub fn send(&mut self, stanza: Stanza) {
        self.stanzas.push(stanza);
    }

    pub fn change(&mut self, change: Change) {
        if !self.changes.contains(&change) {
            self.changes.push(change);
        }
    }
}

/// Something to be told of an occupant by presence: what all get, and what it gets itself.
#[derive(Default)]
pub(super) struct News<'a> {
    /// Gone; otherwise its state.
    pub gone: bool,
    /// Codes of §15.6.2 for everybody, and those for the occupant itself, 110 aside.
    pub codes: &'a [u16],
    pub own_codes: &'a [u16],
    /// In place of the occupant's own.
    pub affiliation: Option<Affiliation>,
    /// The name it goes on under.
    pub new_nick: Option<&'a str>,
    /// Nickname of who did it.
    pub actor: Option<&'a str>,
    pub reason: Option<&'a str>,
    /// `<destroy/>`.
    pub destroy: Option<&'a Element>,
    /// What the client says with it, as `<status/>`.
    pub said: Option<&'a Stanza>,
    /// Identifies the request to its sender: reflected to the occupant itself.
    pub id: Option<&'a str>,
}

impl Room {
    /// A room that does not exist yet in any other sense.
    pub fn new(jid: BareJid, config: RoomConfig, salt: [u8; 16], now: Now) -> Room {
        Room {
            jid,
            config,
            ties: BTreeMap::new(),
            occupants: Occupants::default(),
            subject: Subject::default(),
            history: History::default(),
            salt,
            locked: false,
            created: now,
        }
    }

    pub fn affiliation(&self, account: &str) -> Affiliation {
        self.ties.get(account).map(|tie| tie.affiliation).unwrap_or_default()
    }

    /// The affiliation of a sender: those who run the service own all of its rooms.
    pub fn standing(&self, sender: Sender<'_>) -> Affiliation {
        match sender.is_service_admin {
            true => Affiliation::Owner,
            false => self.affiliation(sender.jid.bare_str()),
        }
    }

    /// What a sender is here: its affiliation, and its role where it is an occupant.
    pub fn rank(&self, sender: Sender<'_>) -> Rank {
        let role = self.occupants.of(sender.jid).map_or(Role::None, |occupant| occupant.role);
        Rank { affiliation: self.standing(sender), role }
    }

    /// The occupant that a sender is.
    ///
    /// # Errors
    /// `not-acceptable` for anybody else (§7.4).
    pub(super) fn occupant(&self, sender: Sender<'_>) -> Result<&Occupant, StanzaError> {
        self.occupants.of(sender.jid).ok_or_else(|| {
            StanzaError::new(Condition::NotAcceptable).with_text("You are not in this room.")
        })
    }

    pub fn with_affiliation(
        &self,
        affiliation: Affiliation,
    ) -> impl Iterator<Item = (&BareJid, &Tie)> {
        self.ties.iter().filter(move |(_, tie)| tie.affiliation == affiliation)
    }

    /// Who has reserved this nickname.
    pub(super) fn reserved_by(&self, nick: &str) -> Option<&BareJid> {
        let key = Occupants::key(nick)?;
        let is_it = |tie: &Tie| {
            tie.nick.as_deref().and_then(Occupants::key).is_some_and(|reserved| reserved == key)
        };
        self.ties.iter().find(|(_, tie)| is_it(tie)).map(|(account, _)| account)
    }

    /// May this occupant see real addresses?
    pub(super) fn sees_addresses(&self, viewer: &Occupant) -> bool {
        !self.config.is_anonymous() || viewer.role == Role::Moderator
    }

    /// Is the presence of occupants of this role shown to all?
    pub(super) fn broadcasts(&self, role: Role) -> bool {
        match role {
            Role::Moderator => self.config.broadcast_moderators,
            Role::Participant => self.config.broadcast_participants,
            Role::Visitor => self.config.broadcast_visitors,
            Role::None => true,
        }
    }

    /// The role of somebody of this affiliation who comes in.
    pub(super) fn role_on_entry(&self, affiliation: Affiliation) -> Role {
        let default = if self.config.voice_by_default { Role::Participant } else { Role::Visitor };
        Role::on_entry(affiliation, self.config.moderated, default)
    }

    /// Are its messages kept for those who are not there?
    pub(super) fn archives(&self) -> bool {
        self.config.archive && self.config.persistent
    }

    /// Nobody is in it, and it is not to stay, or was never set up.
    pub fn is_over(&self) -> bool {
        self.occupants.is_empty() && (!self.config.persistent || self.locked)
    }

    /// `<item/>` of an occupant. `open`: with its address.
    fn item(&self, occupant: &Occupant, news: &News<'_>, open: bool) -> Element {
        let affiliation =
            news.affiliation.unwrap_or_else(|| self.affiliation(occupant.account.as_str()));
        let stays = !news.gone || news.new_nick.is_some();
        let role = if stays { occupant.role } else { Role::None };
        let jid = occupant.seats.first().map(|seat| &seat.jid).filter(|_| open);
        let mut item = Element::new("item", ns::MUC_USER)
            .attr("affiliation", affiliation.name())
            .attr("role", role.name())
            .attr_opt("jid", jid)
            .attr_opt("nick", news.new_nick);
        if let Some(actor) = news.actor {
            item.push(Element::new("actor", ns::MUC_USER).attr("nick", actor));
        }
        if let Some(reason) = news.reason.filter(|reason| !reason.is_empty()) {
            item.push(Element::new("reason", ns::MUC_USER).with_text(reason));
        }
        item
    }

    /// The presence that tells the news, without its receiver.
    fn told(&self, occupant: &Occupant, news: &News<'_>, open: bool, own: bool) -> Stanza {
        let typ = news.gone.then_some(Type::Unavailable);
        let head = Head::new(Kind::Presence).with_from(Some(occupant.jid.clone())).with_type(typ);
        let shown = match (news.gone, news.said) {
            (false, _) => occupant.presence.with_head(head),
            (true, Some(said)) => cleaned(said).with_head(head),
            (true, None) => Stanza::new(head, []),
        };
        let mut x = Element::new("x", ns::MUC_USER).with(self.item(occupant, news, open));
        if let Some(destroy) = news.destroy {
            x.push(destroy.clone());
        }
        let own_codes: &[u16] = if own { news.own_codes } else { &[] };
        for code in news.codes.iter().chain(own.then_some(&110)).chain(own_codes) {
            x.push(status(*code));
        }
        shown.with_element(&occupant_id(&occupant.id)).with_element(&x)
    }

    /// The presence that an occupant has for others, made anew after something about it changed.
    pub(super) fn cards(&self, occupant: &Occupant) -> Cards {
        let news = News::default();
        Cards {
            veiled: self.told(occupant, &news, false, false),
            open: self.told(occupant, &news, true, false),
        }
    }

    /// Tells news of an occupant to all who may hear it; itself last (§7.2.2).
    pub(super) fn tell(&self, occupant: &Occupant, news: &News<'_>, out: &mut Out) {
        self.tell_others(occupant, news, out);
        self.tell_itself(occupant, news, out);
    }

    /// The others' part of [`Room::tell`]. `occupant` need not be in the room any more.
    pub(super) fn tell_others(&self, occupant: &Occupant, news: &News<'_>, out: &mut Out) {
        if !self.broadcasts(occupant.role) {
            return;
        }
        // Made when the first receiver of their kind turns up.
        let mut veiled: Option<Stanza> = None;
        let mut open: Option<Stanza> = None;
        for other in self.occupants.iter().filter(|other| other.jid != occupant.jid) {
            let sees = self.sees_addresses(other);
            let slot = if sees { &mut open } else { &mut veiled };
            let told = slot.get_or_insert_with(|| self.told(occupant, news, sees, false));
            for seat in &other.seats {
                out.send(addressed(told, &seat.jid));
            }
        }
    }

    /// The occupant's own part of [`Room::tell`].
    pub(super) fn tell_itself(&self, occupant: &Occupant, news: &News<'_>, out: &mut Out) {
        for seat in &occupant.seats {
            out.send(self.told_itself(occupant, news, &seat.jid));
        }
    }

    /// The same for one of the occupant's own clients.
    pub(super) fn told_itself(&self, occupant: &Occupant, news: &News<'_>, client: &Jid) -> Stanza {
        let mut own = addressed(&self.told(occupant, news, true, true), client);
        own.head.id = news.id.map(Into::into);
        own
    }

    /// A message from the room itself, with codes of §15.6.2.
    pub(super) fn announce(&self, codes: &[u16], out: &mut Out) {
        let x = Element::new("x", ns::MUC_USER).with_all(codes.iter().map(|code| status(*code)));
        let from = Some(self.jid.clone().into());
        let head = Head::new(Kind::Message).with_from(from).with_type(Some(Type::Groupchat));
        self.reflect(&Stanza::new(head, [x]), out);
    }

    /// Sends a message to every client in the room.
    pub(super) fn reflect(&self, message: &Stanza, out: &mut Out) {
        out.stanzas.reserve(self.occupants.len());
        for occupant in self.occupants.iter() {
            for seat in &occupant.seats {
                out.send(addressed(message, &seat.jid));
            }
        }
    }

    /// Notes what an occupant shows from now on.
    pub(super) fn renew_card(&mut self, client: &Jid) {
        let Some(occupant) = self.occupants.of(client) else { return };
        let cards = self.cards(occupant);
        if let Some(occupant) = self.occupants.of_mut(client) {
            occupant.cards = cards;
        }
    }
}

/// The same stanza for one receiver.
pub(super) fn addressed(stanza: &Stanza, to: &Jid) -> Stanza {
    let mut stanza = stanza.clone();
    stanza.head.to = Some(to.clone());
    stanza
}

pub(super) fn status(code: u16) -> Element {
    Element::new("status", ns::MUC_USER).attr("code", code.to_string())
}

/// XEP-0421.
pub(super) fn occupant_id(id: &str) -> Element {
    Element::new("occupant-id", ns::OCCUPANT_ID).attr("id", id)
}

/// A stanza of a client without what only a room may say.
pub(super) fn cleaned(stanza: &Stanza) -> Stanza {
    stanza.without(|child| {
        let ns = child.ns();
        ns == ns::MUC || ns == ns::MUC_USER || ns == ns::OCCUPANT_ID
    })
}
