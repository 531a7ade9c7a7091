//! Roles and affiliations, asked for and set (XEP-0045 §8.2–§8.5, §9).

use super::affiliation::{Affiliation, Role, may_set_affiliation, may_set_role};
use super::occupants::{Occupant, Occupants};
use super::room::{Change, News, Out, Room, Sender, TIES_MAX, Tie};
use crate::config::room::MemberList;
use crate::jid::{BareJid, Jid};
use crate::stanza::Stanza;
use crate::stanza::error::{Condition, StanzaError};
use crate::xml::element::Element;
use crate::xml::ns;

/// Characters of a reason that are kept and told.
const REASON_CHARS_MAX: usize = 500;

/// One thing to be done, looked at and found allowed.
pub(super) enum Act {
    Role { nick: String, role: Role, reason: String },
    Affiliation { account: BareJid, affiliation: Affiliation, nick: Nick, reason: String },
}

/// What an act makes of a reserved nickname.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Nick {
    Keep,
    Forget,
    Reserve(String),
}

/// Somebody who is out of the room by an act, and what the others still have to hear.
struct PutOut {
    occupant: Occupant,
    code: u16,
    affiliation: Affiliation,
    reason: String,
}

impl Room {
    /// `<query xmlns='…muc#admin'/>` of type get: who has that affiliation or role.
    ///
    /// # Errors
    /// `forbidden` for those whom it does not concern, `bad-request` for what is no such question.
    pub fn list(&self, sender: Sender<'_>, query: &Element) -> Result<Element, StanzaError> {
        let mut items = query.children().filter(|child| child.is("item", ns::MUC_ADMIN));
        let (Some(asked), None) = (items.next(), items.next()) else {
            return Err(StanzaError::new(Condition::BadRequest)
                .with_text("Ask for one affiliation or one role."));
        };
        let affiliation = asked.get("affiliation").map(Affiliation::from_name);
        let role = asked.get("role").map(Role::from_name);
        let answer = Element::new("query", ns::MUC_ADMIN);
        match (affiliation, role) {
            (Some(Some(affiliation)), None) => {
                self.may_list(sender, affiliation)?;
                let tied =
                    self.with_affiliation(affiliation).map(|(account, tie)| {
                        let reason = Some(&tie.reason).filter(|reason| !reason.is_empty());
                        let here = self.occupants.of_account(account.as_str()).next();
                        let nick = tie.nick.as_deref().or(here.map(Occupant::nick));
                        Element::new("item", ns::MUC_ADMIN)
                            .attr("affiliation", affiliation.name())
                            .attr("jid", account.as_str())
                            .attr_opt("nick", nick)
                            .attr_opt("role", here.map(|here| here.role.name()))
                            .with_all(reason.map(|reason| {
                                Element::new("reason", ns::MUC_ADMIN).with_text(reason)
                            }))
                    });
                Ok(answer.with_all(tied))
            }
            (None, Some(Some(role))) => {
                let rank = self.rank(sender);
                if rank.role < Role::Moderator && rank.affiliation < Affiliation::Admin {
                    return Err(Condition::Forbidden.into());
                }
                let playing = self.occupants.iter().filter(|o| o.role == role).map(|occupant| {
                    let affiliation = self.affiliation(occupant.account.as_str());
                    Element::new("item", ns::MUC_ADMIN)
                        .attr("affiliation", affiliation.name())
                        .attr("role", role.name())
                        .attr("nick", occupant.nick())
                        .attr_opt("jid", occupant.seats.first().map(|seat| &seat.jid))
                });
                Ok(answer.with_all(playing))
            }
            _ => Err(StanzaError::new(Condition::BadRequest)
                .with_text("Ask for one affiliation or one role that exists.")),
        }
    }

    /// Admins see all lists; members those of a room whose addresses are no secret (§9.5).
    fn may_list(&self, sender: Sender<'_>, wanted: Affiliation) -> Result<(), StanzaError> {
        let rank = self.rank(sender);
        if rank.affiliation >= Affiliation::Admin || rank.role == Role::Moderator {
            return Ok(());
        }
        let lowest = match self.config.member_list {
            MemberList::Visitors => Role::Visitor,
            MemberList::Participants => Role::Participant,
            MemberList::Moderators => Role::Moderator,
        };
        let concerns = rank.affiliation == Affiliation::Member || rank.role >= lowest;
        let open = !self.config.is_anonymous() && wanted >= Affiliation::Member;
        if open && concerns { Ok(()) } else { Err(Condition::Forbidden.into()) }
    }

    /// `<query xmlns='…muc#admin'/>` of type set: all of it, or nothing.
    ///
    /// # Errors
    /// What is wrong with the first item that is.
    pub fn administer(
        &mut self,
        sender: Sender<'_>,
        query: &Element,
        request: &Stanza,
        out: &mut Out,
    ) -> Result<(), StanzaError> {
        let items = query.children().filter(|child| child.is("item", ns::MUC_ADMIN));
        let acts = items.map(|item| self.act(sender, item)).collect::<Result<Vec<_>, _>>()?;
        if acts.is_empty() {
            return Err(StanzaError::new(Condition::BadRequest).with_text("Nothing is asked for."));
        }
        self.keeps_an_owner(&acts)?;
        self.perform(sender, acts, Some(request.result(None)), out);
        Ok(())
    }

    /// Reads one item, and asks whether the sender may.
    fn act(&self, sender: Sender<'_>, item: &Element) -> Result<Act, StanzaError> {
        let bad = |text: &str| StanzaError::new(Condition::BadRequest).with_text(text);
        let reason = item.child_text("reason", ns::MUC_ADMIN).unwrap_or_default();
        let reason: String = reason.chars().take(REASON_CHARS_MAX).collect();
        let nick = item.get("nick");
        match (item.get("role"), item.get("affiliation")) {
            (Some(role), None) => {
                let role = Role::from_name(role).ok_or_else(|| bad("There is no such role."))?;
                let nick = nick.ok_or_else(|| bad("A role is given to a nickname."))?;
                let target = self.occupants.named(nick).ok_or_else(|| {
                    StanzaError::new(Condition::ItemNotFound)
                        .with_text("There is nobody of that nickname in the room.")
                })?;
                let affiliation = self.affiliation(target.account.as_str());
                let rank = super::affiliation::Rank { affiliation, role: target.role };
                may_set_role(self.rank(sender), rank, role)?;
                Ok(Act::Role { nick: target.nick().to_owned(), role, reason })
            }
            (None, Some(affiliation)) => {
                let affiliation = Affiliation::from_name(affiliation)
                    .ok_or_else(|| bad("There is no such affiliation."))?;
                let account = match (item.get("jid"), nick) {
                    (Some(jid), _) => Jid::parse(jid)
                        .map_err(|_| StanzaError::new(Condition::JidMalformed))?
                        .bare(),
                    (None, Some(nick)) => self
                        .occupants
                        .named(nick)
                        .map(|occupant| occupant.account.clone())
                        .ok_or(Condition::ItemNotFound)?,
                    (None, None) => return Err(bad("An affiliation is given to an address.")),
                };
                let own = account.as_str() == sender.jid.bare_str();
                let old = self.affiliation(account.as_str());
                may_set_affiliation(self.standing(sender), old, affiliation, own)?;
                if !self.ties.contains_key(&account) && self.ties.len() >= TIES_MAX {
                    return Err(StanzaError::new(Condition::ResourceConstraint)
                        .with_text(format!("A room knows at most {TIES_MAX} accounts.")));
                }
                let nick = match (item.get("jid"), nick) {
                    (Some(_), Some("")) => Nick::Forget,
                    (Some(_), Some(nick)) => {
                        self.reservable(nick, &account)?;
                        Nick::Reserve(nick.to_owned())
                    }
                    _ => Nick::Keep,
                };
                Ok(Act::Affiliation { account, affiliation, nick, reason })
            }
            _ => Err(bad("An item has a role or an affiliation.")),
        }
    }

    /// Is this nickname free for `account`?
    pub(super) fn reservable(&self, nick: &str, account: &BareJid) -> Result<(), StanzaError> {
        if Occupants::key(nick).is_none() {
            return Err(
                StanzaError::new(Condition::NotAcceptable).with_text("This cannot be a nickname.")
            );
        }
        let used = self.occupants.named(nick).is_some_and(|o| o.account != *account);
        if used || self.reserved_by(nick).is_some_and(|owner| owner != account) {
            return Err(StanzaError::new(Condition::Conflict).with_text("The nickname is taken."));
        }
        Ok(())
    }

    /// §10.4: a room has an owner, always.
    pub(super) fn keeps_an_owner(&self, acts: &[Act]) -> Result<(), StanzaError> {
        let mut owners: Vec<&BareJid> =
            self.with_affiliation(Affiliation::Owner).map(|(account, _)| account).collect();
        let had = !owners.is_empty();
        for act in acts {
            if let Act::Affiliation { account, affiliation, .. } = act {
                owners.retain(|owner| *owner != account);
                if *affiliation == Affiliation::Owner {
                    owners.push(account);
                }
            }
        }
        if had && owners.is_empty() {
            return Err(StanzaError::new(Condition::Conflict)
                .with_text("A room has an owner: make somebody else one first."));
        }
        Ok(())
    }

    /// Does what was found allowed. Whoever is put out hears it first, then the sender gets
    /// `answer`, then the others hear it (§8.2).
    pub(super) fn perform(
        &mut self,
        sender: Sender<'_>,
        acts: Vec<Act>,
        answer: Option<Stanza>,
        out: &mut Out,
    ) {
        let actor = self.occupants.of(sender.jid).map(|occupant| occupant.nick().to_owned());
        let mut gone = Vec::new();
        let mut changed: Vec<(String, String)> = Vec::new();
        let mut invited = Vec::new();
        for act in acts {
            match act {
                Act::Role { nick, role: Role::None, reason } => {
                    if let Some(occupant) = self.occupants.remove(&nick) {
                        let affiliation = self.affiliation(occupant.account.as_str());
                        gone.push(PutOut { occupant, code: 307, affiliation, reason });
                    }
                }
                Act::Role { nick, role, reason } => {
                    if let Some(occupant) = self.occupants.named_mut(&nick) {
                        occupant.role = role;
                        changed.push((nick, reason));
                    }
                }
                Act::Affiliation { account, affiliation, nick, reason } => {
                    let old = self.affiliation(account.as_str());
                    self.tie(&account, affiliation, nick, &reason, out);
                    let here: Vec<String> = self
                        .occupants
                        .of_account(account.as_str())
                        .map(|occupant| occupant.nick().to_owned())
                        .collect();
                    if here.is_empty()
                        && self.config.members_only
                        && old < Affiliation::Member
                        && affiliation >= Affiliation::Member
                    {
                        invited.push(account);
                        continue;
                    }
                    let code = match affiliation {
                        Affiliation::Outcast => Some(301),
                        Affiliation::None if self.config.members_only => Some(321),
                        _ => None,
                    };
                    for nick in here {
                        if let Some(code) = code {
                            if let Some(occupant) = self.occupants.remove(&nick) {
                                let reason = reason.clone();
                                gone.push(PutOut { occupant, code, affiliation, reason });
                            }
                        } else {
                            self.play_role_of(&nick, old, affiliation);
                            changed.push((nick, reason.clone()));
                        }
                    }
                }
            }
        }
        let actor = actor.as_deref();
        for put in &gone {
            self.tell_itself(&put.occupant, &put.news(actor), out);
        }
        out.stanzas.extend(answer);
        for put in &gone {
            self.tell_others(&put.occupant, &put.news(actor), out);
        }
        for (nick, reason) in &changed {
            let client = self.occupants.named(nick).and_then(|o| o.seats.first());
            let Some(client) = client.map(|seat| seat.jid.clone()) else { continue };
            self.renew_card(&client);
            if let Some(occupant) = self.occupants.named(nick) {
                self.tell(occupant, &News { actor, reason: Some(reason), ..News::default() }, out);
            }
        }
        for account in invited {
            out.send(self.invitation(&self.jid.clone().into(), &account.into(), None, None));
        }
    }

    /// Notes an affiliation.
    pub(super) fn tie(
        &mut self,
        account: &BareJid,
        affiliation: Affiliation,
        nick: Nick,
        reason: &str,
        out: &mut Out,
    ) {
        let before = self.ties.get(account).cloned().unwrap_or_default();
        let tie = Tie {
            affiliation,
            nick: match nick {
                // Nobody who is banned, or gone for good, keeps a name from others.
                _ if affiliation <= Affiliation::None => None,
                Nick::Keep => before.nick.clone(),
                Nick::Forget => None,
                Nick::Reserve(nick) => Some(nick),
            },
            reason: reason.to_owned(),
        };
        match tie.affiliation {
            Affiliation::None => self.ties.remove(account),
            _ => self.ties.insert(account.clone(), tie),
        };
        out.change(Change::Tie(account.clone()));
    }

    /// An occupant's role after its affiliation has changed (§9.3, §9.4, §10.3 to §10.8).
    fn play_role_of(&mut self, nick: &str, old: Affiliation, new: Affiliation) {
        let role = self.role_on_entry(new);
        let Some(occupant) = self.occupants.named_mut(nick) else { return };
        let by_hand = occupant.role == Role::Moderator && old < Affiliation::Admin;
        if !by_hand || new >= Affiliation::Admin {
            occupant.role = role;
        }
    }

    /// Puts out everybody who is no member, since the room is for members from now on (§10.2).
    pub(super) fn put_out_strangers(&mut self, out: &mut Out) {
        let strangers: Vec<String> = self
            .occupants
            .iter()
            .filter(|o| self.affiliation(o.account.as_str()) < Affiliation::Member)
            .map(|o| o.nick().to_owned())
            .collect();
        for nick in strangers {
            let Some(occupant) = self.occupants.remove(&nick) else { continue };
            let news = News { gone: true, codes: &[322], ..News::default() };
            self.tell_itself(&occupant, &news, out);
            self.tell_others(&occupant, &news, out);
        }
    }
}

impl PutOut {
    fn news<'a>(&'a self, actor: Option<&'a str>) -> News<'a> {
        News {
            gone: true,
            codes: std::slice::from_ref(&self.code),
            affiliation: Some(self.affiliation),
            actor,
            reason: Some(&self.reason),
            ..News::default()
        }
    }
}
