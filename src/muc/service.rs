//! A host's room service: from an address to a room, and from what the room says to disk and wire.
//!
//! A room is in memory as long as somebody is in it or has business with it. Its lock is held from
//! the stanza that comes in to the last one that goes out, the wait for the disk included where
//! settings or affiliations change: so all occupants see the same order, and nobody is told what
//! is not stored.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;

use super::affiliation::{Affiliation, Role};
use super::room::{Change, Out, Room, Sender, Subject, Tie};
use crate::auth::secret::fill_random;
use crate::config::HostConfig;
use crate::config::room::RoomConfig;
use crate::features::archive::{self, Reader};
use crate::features::blocking;
use crate::jid::{BareJid, Jid};
use crate::router::{Call, Item, Local, Router, Taken};
use crate::stanza::error::{Condition, ErrorType, StanzaError};
use crate::stanza::rsm::{self, PageRequest};
use crate::stanza::{Kind, Stanza, Type};
use crate::store::archive::{ArchiveQuery, Archived, Position, Rsm};
use crate::store::rooms::{RoomRow, Settings, TieRow};
use crate::store::{AccountId, Busy, MessageFlags, MessageId, MessageRow, SmReceived, StoreError};
use crate::time::Now;
use crate::xml::element::Element;
use crate::xml::ns;

/// Rooms in a page of the list.
const LIST_MAX: usize = 100;
/// Rooms in memory at once; who wants to enter another one waits.
const AWAKE_MAX: usize = 50_000;
/// How long the creator of a room may take for its first settings (§10.1.3).
const SETUP_MAX: Duration = Duration::from_secs(600);

/// The rooms at one domain.
pub struct Service {
    /// As in `conference.example.org`.
    domain: String,
    /// The host they belong to.
    host: String,
    awake: Mutex<HashMap<BareJid, Arc<Slot>>>,
}

/// The place of a room in memory.
#[derive(Default)]
struct Slot(tokio::sync::Mutex<State>);

#[derive(Default)]
enum State {
    /// Not looked for yet.
    #[default]
    Unread,
    /// There is no such room.
    Absent,
    Awake(Box<Awake>),
}

struct Awake {
    room: Room,
    /// Its archive; none for a room that is not stored.
    id: Option<AccountId>,
    /// Its history has been read from the archive.
    remembers: bool,
}

/// Brings the services of `router` in line with the settings in force.
pub fn install(router: &Router, before: &[Arc<HostConfig>]) {
    let config = router.config.load();
    let names =
        |host: &Arc<HostConfig>| Some((host.services.conference.clone()?, host.domain.clone()));
    let wanted: Vec<(String, String)> = config.hosts.iter().filter_map(names).collect();
    let had: Vec<(String, String)> = before.iter().filter_map(names).collect();
    for (domain, _) in had.iter().filter(|old| !wanted.contains(old)) {
        router.services.remove_own(domain);
    }
    for (domain, host) in wanted.iter().filter(|new| !had.contains(new)) {
        let service =
            Service { domain: domain.clone(), host: host.clone(), awake: Mutex::default() };
        router.services.insert_own(domain, Arc::new(service));
    }
}

impl Local for Service {
    fn take<'a>(&'a self, router: &'a Arc<Router>, call: Call) -> Taken<'a> {
        Box::pin(async move {
            let request = call.stanza.clone();
            match self.handle(router, call).await {
                Ok(answers) => answers,
                Err(error) => {
                    let by = request.head.to.as_ref().map(|to| to.bare().into());
                    let error = match by {
                        Some(by) if error.by.is_none() => error.with_by(by),
                        _ => error,
                    };
                    request.error_reply(&error).into_iter().collect()
                }
            }
        })
    }
}

impl Service {
    async fn handle(
        &self,
        router: &Arc<Router>,
        Call { stanza, received, now }: Call,
    ) -> Result<Vec<Stanza>, StanzaError> {
        let (Some(from), Some(to)) = (stanza.head.from.clone(), stanza.head.to.clone()) else {
            return Err(Condition::BadRequest.into());
        };
        let host = router.host(&self.host).ok_or(Condition::ServiceUnavailable)?;
        let address = router
            .sessions
            .full(&from)
            .and_then(|session| session.facts.lock().address)
            .map(|address| address.ip().to_canonical());
        let may = |rule| router.decide(rule, &host.domain, Some(&from), address).allowed;
        let leaves = matches!(stanza.head.typ, Some(Type::Unavailable | Type::Error));
        if !leaves && !may(&host.rooms.access) {
            return Err(StanzaError::new(Condition::NotAllowed)
                .with_text("You may not use the rooms of this service."));
        }
        if to.local().is_none() {
            return self.of_service(router, &stanza, &to, now).await;
        }
        let sender = Sender { jid: &from, is_service_admin: may(&host.rooms.admin) };
        let act = Act {
            router,
            host: &host,
            sender,
            may_create: sender.is_service_admin || may(&host.rooms.create),
            stanza: &stanza,
            to: &to,
            received,
            now,
        };
        let slot = self.slot(&to.bare())?;
        let result = act.perform(&slot).await;
        self.let_sleep(&to.bare(), slot);
        result
    }

    /// The place of a room, made if need be.
    fn slot(&self, jid: &BareJid) -> Result<Arc<Slot>, StanzaError> {
        let mut awake = self.awake.lock();
        if let Some(slot) = awake.get(jid) {
            return Ok(Arc::clone(slot));
        }
        if awake.len() >= AWAKE_MAX {
            return Err(StanzaError::new(Condition::ResourceConstraint)
                .with_text("Too many rooms are in use; try again later."));
        }
        Ok(Arc::clone(awake.entry(jid.clone()).or_default()))
    }

    /// Forgets a room that nobody is in and nobody waits for.
    fn let_sleep(&self, jid: &BareJid, slot: Arc<Slot>) {
        let mut awake = self.awake.lock();
        // The table's and ours: whoever else wanted it would hold a third, or wait for this lock.
        if Arc::strong_count(&slot) > 2 {
            return;
        }
        let idle = match &*match slot.0.try_lock() {
            Ok(state) => state,
            Err(_) => return,
        } {
            State::Unread | State::Absent => true,
            State::Awake(awake) => awake.room.occupants.is_empty() && awake.id.is_some(),
        };
        if idle {
            awake.remove(jid);
        }
    }

    /// A stanza to the service itself.
    async fn of_service(
        &self,
        router: &Arc<Router>,
        iq: &Stanza,
        to: &Jid,
        now: Now,
    ) -> Result<Vec<Stanza>, StanzaError> {
        match (iq.head.kind, iq.head.typ) {
            (Kind::Iq, Some(Type::Get | Type::Set)) => {}
            (Kind::Message, _) => return Err(Condition::ServiceUnavailable.into()),
            _ => return Ok(Vec::new()),
        }
        let Some(child) = iq.children().next().filter(|_| to.is_bare()) else {
            return Err(Condition::ServiceUnavailable.into());
        };
        let get = iq.head.typ == Some(Type::Get);
        let answer = match (get, child.ns(), child.name()) {
            (true, ns::DISCO_INFO, "query") => match child.get("node") {
                None => info(),
                Some(_) => return Err(Condition::ItemNotFound.into()),
            },
            (true, ns::DISCO_ITEMS, "query") => match child.get("node") {
                None => self.list(router, &child.element().unwrap_or_else(|_| info())).await?,
                Some(_) => return Err(Condition::ItemNotFound.into()),
            },
            (true, ns::PING, "ping") => return Ok(vec![iq.result(None)]),
            (true, ns::MUC_UNIQUE, "unique") => {
                let name = router.store.next_id(now).to_string();
                Element::new("unique", ns::MUC_UNIQUE).with_text(&name)
            }
            _ => return Err(Condition::ServiceUnavailable.into()),
        };
        Ok(vec![iq.result(Some(answer))])
    }

    /// §6.3: the public rooms, a page at a time (XEP-0059).
    async fn list(&self, router: &Router, query: &Element) -> Result<Element, StanzaError> {
        let page = PageRequest::of(query)?;
        let max = page.limit(LIST_MAX, LIST_MAX);
        let after = page.after.as_deref().map(Jid::parse).transpose();
        let after = after.map_err(|_| StanzaError::new(Condition::ItemNotFound))?;
        let rooms = router.store.rooms();
        let name = after.as_ref().and_then(|jid| jid.local());
        let mut listed = rooms.list(&self.domain, true, name, max + 1).await?;
        let more = listed.len() > max;
        listed.truncate(max);
        let count = rooms.count(&self.domain, true).await?;
        let items = listed.iter().map(|room| {
            let name = if room.title.is_empty() { room.jid.local() } else { Some(&*room.title) };
            Element::new("item", ns::DISCO_ITEMS)
                .attr("jid", room.jid.as_str())
                .attr("name", name.unwrap_or_default())
        });
        let answer = Element::new("query", ns::DISCO_ITEMS).with_all(items);
        if !more && page.after.is_none() {
            return Ok(answer);
        }
        let ends = listed.first().zip(listed.last());
        let set = rsm::Page {
            ends: ends.map(|(first, last)| (first.jid.to_string(), last.jid.to_string())),
            index: None,
            count: usize::try_from(count).ok(),
        };
        Ok(answer.with(set.to_element()))
    }
}

/// What the service tells of itself (§6.2).
fn info() -> Element {
    let identity = Element::new("identity", ns::DISCO_INFO)
        .attr("category", "conference")
        .attr("type", "text")
        .attr("name", "Rooms");
    let features =
        [ns::DISCO_INFO, ns::DISCO_ITEMS, ns::MUC, ns::MUC_STABLE_ID, ns::MUC_UNIQUE, ns::RSM]
            .map(|var| Element::new("feature", ns::DISCO_INFO).attr("var", var));
    Element::new("query", ns::DISCO_INFO).with(identity).with_all(features)
}

/// One stanza for one room.
struct Act<'a> {
    router: &'a Arc<Router>,
    host: &'a HostConfig,
    sender: Sender<'a>,
    may_create: bool,
    stanza: &'a Stanza,
    to: &'a Jid,
    received: Option<SmReceived>,
    now: Now,
}

impl Act<'_> {
    async fn perform(self, slot: &Slot) -> Result<Vec<Stanza>, StanzaError> {
        let mut state = slot.0.lock().await;
        if matches!(*state, State::Unread) {
            *state = match self.router.store.rooms().load(&self.to.bare()).await? {
                Some(row) => State::Awake(Box::new(Awake::read(row)?)),
                None => State::Absent,
            };
        }
        let mut out = Out::default();
        let mut created = false;
        if matches!(*state, State::Absent) {
            *state = State::Awake(Box::new(self.create(&mut out).await?));
            created = true;
        }
        let State::Awake(awake) = &mut *state else {
            return Err(Condition::ItemNotFound.into());
        };
        if awake.room.locked && self.now.since(awake.room.created) > SETUP_MAX {
            // Whoever says nothing takes the settings as they are.
            awake.room.locked = false;
            out.change(Change::Config);
        }
        let heard = match self.stanza.head.kind {
            Kind::Presence => self.presence(awake, created, &mut out).await,
            Kind::Message => self.message(awake, &mut out).await,
            Kind::Iq => self.request(awake, &mut out).await,
        };
        if let Err(error) = heard {
            if created {
                *state = State::Absent;
            }
            return Err(error);
        }
        let gone = self.store(awake, out.changes).await?;
        let routed = self.send(out.stanzas, &mut awake.room).await;
        if gone || awake.room.is_over() {
            if let (false, Some(id)) = (gone, awake.id) {
                self.router.store.rooms().destroy(id).await?;
            }
            *state = State::Absent;
        } else if let (Some(id), true) = (awake.id, awake.room.occupants.is_empty())
            && self.stanza.head.kind == Kind::Presence
        {
            self.router.store.rooms().set_used(id, self.now).await?;
        }
        Ok(routed)
    }

    /// §10.1: whoever enters a room that is not there makes it.
    async fn create(&self, out: &mut Out) -> Result<Awake, StanzaError> {
        let joins = self.stanza.head.kind == Kind::Presence
            && self.stanza.head.typ.is_none()
            && self.to.resource().is_some()
            && self.stanza.has("x", ns::MUC);
        if !joins {
            return Err(
                StanzaError::new(Condition::ItemNotFound).with_text("There is no such room.")
            );
        }
        let (router, host, from) = (self.router, self.host, self.sender.jid);
        if !self.may_create {
            return Err(
                StanzaError::new(Condition::NotAllowed).with_text("You may not create rooms here.")
            );
        }
        let service = self.to.domain();
        let owned = router.store.rooms().owned_by(service, &from.bare()).await?;
        let most = router.amount(&host.rooms.per_account_max, from);
        if usize::try_from(owned).unwrap_or(usize::MAX) >= most {
            return Err(StanzaError::new(Condition::ResourceConstraint)
                .with_type(ErrorType::Wait)
                .with_text(format!("You own {owned} rooms, which is as many as you may.")));
        }
        let mut salt = [0; 16];
        fill_random(&mut salt);
        let mut room = Room::new(self.to.bare(), host.rooms.default.clone(), salt, self.now);
        room.found(from, true, out);
        Ok(Awake { room, id: None, remembers: true })
    }

    async fn presence(
        &self,
        awake: &mut Awake,
        created: bool,
        out: &mut Out,
    ) -> Result<(), StanzaError> {
        if !awake.remembers && self.stanza.head.typ.is_none() {
            awake.remember(self.router).await?;
        }
        awake.room.presence(self.sender, self.stanza, created, self.now, out)
    }

    async fn message(&self, awake: &mut Awake, out: &mut Out) -> Result<(), StanzaError> {
        if !self.to.is_bare() {
            return awake.room.whisper(self.sender, self.to, self.stanza, out);
        }
        let groupchat = self.stanza.head.typ == Some(Type::Groupchat);
        if let (true, Some(target)) = (groupchat, Room::retraction_target(self.stanza))
            && let Some(original) = self.archived(awake, target).await?
        {
            awake.room.retract_own(self.sender, target, &original, self.stanza, self.now, out);
        }
        let id = self.router.store.next_id(self.now);
        awake.room.heard(self.sender, self.stanza, id, self.now, out)
    }

    async fn request(&self, awake: &mut Awake, out: &mut Out) -> Result<(), StanzaError> {
        if !self.to.is_bare() {
            return awake.room.pass_on(self.sender, self.to, self.stanza, out);
        }
        if !matches!(self.stanza.head.typ, Some(Type::Get | Type::Set)) {
            return Ok(());
        }
        let payload = self.stanza.children().next().and_then(|child| child.element().ok());
        let payload = payload.ok_or(StanzaError::new(Condition::BadRequest))?;
        match (payload.ns(), payload.name()) {
            (ns::MAM2, "query" | "metadata") => self.read_archive(awake, &payload, out).await,
            (ns::MODERATE, "moderate") if self.stanza.head.typ == Some(Type::Set) => {
                let target = payload.get("id").and_then(MessageId::parse);
                let target = target.ok_or(StanzaError::new(Condition::ItemNotFound))?;
                let original = self.archived(awake, target).await?;
                let id = self.router.store.next_id(self.now);
                let original = original.as_ref();
                let (sender, now) = (self.sender, self.now);
                awake.room.moderate(sender, &payload, target, original, id, now, out)?;
                out.send(self.stanza.result(None));
                Ok(())
            }
            _ => awake.room.request(self.sender, self.stanza, &payload, out),
        }
    }

    /// A message of this room's archive.
    async fn archived(
        &self,
        awake: &Awake,
        target: MessageId,
    ) -> Result<Option<Stanza>, StanzaError> {
        let Some(owner) = awake.id else { return Ok(None) };
        let mut query = ArchiveQuery::of(owner);
        query.ids = vec![target];
        let page = match self.router.store.archive().page(query).await {
            Err(StoreError::NotFound) => return Ok(None),
            page => page?,
        };
        Ok(page.items.first().and_then(|item| Stanza::parse(&item.stanza).ok()))
    }

    /// XEP-0313 §6.1: those who may hear what is said may read what was said.
    async fn read_archive(
        &self,
        awake: &Awake,
        query: &Element,
        out: &mut Out,
    ) -> Result<(), StanzaError> {
        let room = &awake.room;
        let (sender, iq) = (self.sender, self.stanza);
        let rank = room.rank(sender);
        let inside = rank.role > Role::None || rank.affiliation >= Affiliation::Member;
        let closed = room.config.members_only || room.config.needs_password() || room.locked;
        if rank.affiliation == Affiliation::Outcast || closed && !inside {
            return Err(StanzaError::new(Condition::Forbidden)
                .with_text("The archive of this room is not open to you."));
        }
        let Some(owner) = awake.id else { return Err(Condition::ServiceUnavailable.into()) };
        let search = self.host.archive.search;
        if iq.head.typ == Some(Type::Get) {
            out.send(iq.result(Some(match query.name() {
                "metadata" => archive::metadata(self.router.store.archive().bounds(owner).await?),
                _ => archive::query_form(search),
            })));
            return Ok(());
        }
        let open = !room.config.is_anonymous()
            || rank.role == Role::Moderator
            || rank.affiliation >= Affiliation::Admin;
        let shown = |item: Archived| if open { item.stanza } else { veiled(&item.stanza) };
        let (archive, to) = (room.jid.clone(), sender.jid.clone());
        let reader = Reader { owner, archive, to, search };
        let answer = archive::page(self.router, &reader, query, shown).await?;
        answer.messages.into_iter().for_each(|message| out.send(message));
        out.send(iq.result(Some(answer.fin)));
        Ok(())
    }

    /// Writes down what has changed. True: the room is no more.
    async fn store(&self, awake: &mut Awake, changes: Vec<Change>) -> Result<bool, StanzaError> {
        let rooms = self.router.store.rooms();
        let mut gone = false;
        for change in changes {
            let room = &awake.room;
            match (change, awake.id) {
                (Change::Message(stanza, id), Some(_)) => self.append(&stanza, id).await?,
                (Change::Destroyed, id) => {
                    if let Some(id) = id {
                        rooms.destroy(id).await?;
                    }
                    gone = true;
                }
                // Before its first settings a room is its creator's idea.
                (_, None) if room.locked || !room.config.persistent => {}
                (_, None) => awake.id = Some(self.save(room).await?),
                (Change::Created | Change::Config, Some(id)) => {
                    rooms.set_settings(id, settings(room)).await?;
                }
                (Change::Tie(account), Some(id)) => {
                    let tie = room.ties.get(&account);
                    let tie = tie.map(|tie| tie_row(&account, tie)).ok_or(account);
                    rooms.set_tie(id, tie).await?;
                }
                (Change::Subject, Some(id)) => {
                    rooms.set_subject(id, room.subject.to_json()).await?;
                }
                (Change::Retracted(target, tombstone), Some(_)) => {
                    let mut xml = Vec::new();
                    tombstone.write_standalone(&mut xml);
                    self.router.store.archive().retract(target, xml.into()).await?;
                }
            }
        }
        Ok(gone)
    }

    async fn save(&self, room: &Room) -> Result<AccountId, StoreError> {
        let ties = room.ties.iter().map(|(account, tie)| tie_row(account, tie)).collect();
        let subject = room.subject.at.map(|_| room.subject.to_json());
        let rooms = self.router.store.rooms();
        rooms.save(&room.jid, settings(room), subject, room.salt, ties, room.created).await
    }

    /// Queues a message for the archive; waits only while the writer's queue is full.
    async fn append(&self, stanza: &Stanza, id: MessageId) -> Result<(), StanzaError> {
        let mut xml = Vec::with_capacity(stanza.wire_len() + 32);
        stanza.write_standalone(&mut xml);
        let xml = Bytes::from(xml);
        let text = self.host.archive.search.then(|| stanza.body()).flatten();
        let room = self.to.bare();
        loop {
            let flags = MessageFlags::ARCHIVED_TO | MessageFlags::GROUPCHAT;
            let mut row = MessageRow::new(id, room.clone(), room.clone(), flags, xml.clone());
            row.text = text.as_deref().map(Into::into);
            row.received = self.received;
            match self.router.store.append(row) {
                Ok(()) => return Ok(()),
                Err(Busy) => self.router.store.room().await,
            }
        }
    }

    /// Hands what the room says straight to the sessions of this server; gives back what is for
    /// others, and what passes through an account's own rules.
    async fn send(&self, stanzas: Vec<Stanza>, room: &mut Room) -> Vec<Stanza> {
        let mut routed = Vec::new();
        let mut ghosts = Vec::new();
        for stanza in stanzas {
            let direct = match stanza.head.kind {
                Kind::Presence => stanza.head.typ != Some(Type::Error),
                Kind::Message => stanza.head.typ == Some(Type::Groupchat),
                Kind::Iq => false,
            };
            let to = stanza.head.to.as_ref().filter(|to| direct && to.resource().is_some());
            let Some(to) = to.filter(|to| self.router.host(to.domain()).is_some()) else {
                routed.push(stanza);
                continue;
            };
            let Some(session) = self.router.sessions.full(to) else {
                ghosts.push(to.clone());
                continue;
            };
            let blocked = match self.router.store.facts(&to.bare()).await {
                Ok(Some(facts)) => {
                    stanza.head.from.as_ref().is_some_and(|from| blocking::is_blocked(&facts, from))
                }
                Ok(None) | Err(_) => false,
            };
            if !blocked
                && session
                    .deliver(Item { stanza: Arc::new(stanza), stored: None, offline: false })
                    .is_err()
            {
                session.overflow();
            }
        }
        // A session that ended without a word: the others hear of it now.
        let mut out = Out::default();
        for ghost in ghosts {
            room.drop_client(&ghost, "The client is gone.", &mut out);
        }
        if !out.stanzas.is_empty() {
            routed.extend(Box::pin(self.send(out.stanzas, room)).await);
        }
        routed
    }
}

impl Awake {
    fn read(row: RoomRow) -> Result<Awake, StanzaError> {
        let config: RoomConfig = serde_json::from_str(&row.settings.config).map_err(|error| {
            tracing::error!(room = %row.jid, %error, "the settings of a room cannot be read");
            StanzaError::new(Condition::InternalServerError)
        })?;
        let mut room = Room::new(row.jid, config, row.salt, row.created);
        for tie in row.ties {
            let affiliation = Affiliation::from_name(&tie.affiliation).unwrap_or_default();
            room.ties.insert(tie.jid, Tie { affiliation, nick: tie.nick, reason: tie.reason });
        }
        room.subject = row.subject.as_deref().map(Subject::from_json).unwrap_or_default();
        Ok(Awake { room, id: Some(row.id), remembers: false })
    }

    /// Reads from the archive what is shown to those who come.
    async fn remember(&mut self, router: &Router) -> Result<(), StoreError> {
        self.remembers = true;
        let max = usize::try_from(self.room.config.history_max).unwrap_or(usize::MAX);
        let Some(owner) = self.id.filter(|_| max > 0 && self.room.config.archive) else {
            return Ok(());
        };
        let mut query = ArchiveQuery::of(owner);
        query.rsm = Rsm { max, at: Position::Last };
        for item in router.store.archive().page(query).await?.items {
            let Ok(stanza) = Stanza::parse(&veiled(&item.stanza)) else { continue };
            if stanza.is_subject_change() || stanza.has("retracted", ns::RETRACT) {
                continue;
            }
            let id = Element::new("stanza-id", ns::SID)
                .attr("by", self.room.jid.as_str())
                .attr("id", item.id.to_string());
            self.room.history.push(item.id.time(), stanza.with_element(&id), max);
        }
        Ok(())
    }
}

/// A stored message without who really said it.
fn veiled(stored: &Bytes) -> Bytes {
    let Ok(stanza) = Stanza::parse(stored) else { return Bytes::new() };
    let mut xml = Vec::with_capacity(stored.len());
    stanza.without(|child| child.is("x", ns::MUC_USER)).write_standalone(&mut xml);
    xml.into()
}

fn settings(room: &Room) -> Settings {
    Settings {
        // Text, numbers and flags: there is nothing in it that JSON could not hold.
        config: serde_json::to_string(&room.config).unwrap_or_default(),
        title: room.config.title.clone(),
        public: room.config.public,
    }
}

fn tie_row(account: &BareJid, tie: &Tie) -> TieRow {
    TieRow {
        jid: account.clone(),
        affiliation: tie.affiliation.name().to_owned(),
        nick: tie.nick.clone(),
        reason: tie.reason.clone(),
    }
}

#[cfg(test)]
mod tests;
