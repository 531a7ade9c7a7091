//! Rosters (RFC 6121 §2) with versions (XEP-0237), and requests that wait for an answer.

use bytes::Bytes;

use super::{AccountId, Store, StoreError};
use crate::jid::BareJid;
use crate::time::Now;

/// Who sees whose presence (RFC 6121 §2.1.2.5).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum Subscription {
    #[default]
    None = 0,
    /// The owner sees the contact.
    To = 1,
    /// The contact sees the owner.
    From = 2,
    Both = 3,
}

impl Subscription {
    pub fn new(to: bool, from: bool) -> Subscription {
        match (to, from) {
            (false, false) => Subscription::None,
            (true, false) => Subscription::To,
            (false, true) => Subscription::From,
            (true, true) => Subscription::Both,
        }
    }

    /// The owner sees the contact.
    pub fn to(self) -> bool {
        matches!(self, Subscription::To | Subscription::Both)
    }

    /// The contact sees the owner.
    pub fn from(self) -> bool {
        matches!(self, Subscription::From | Subscription::Both)
    }

    pub fn name(self) -> &'static str {
        match self {
            Subscription::None => "none",
            Subscription::To => "to",
            Subscription::From => "from",
            Subscription::Both => "both",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RosterItem {
    pub jid: BareJid,
    pub name: Option<String>,
    pub groups: Vec<String>,
    pub subscription: Subscription,
    /// `ask='subscribe'`: the owner's request is under way.
    pub ask: bool,
    /// Pre-approved (RFC 6121 §3.4).
    pub approved: bool,
}

impl RosterItem {
    pub fn new(jid: BareJid) -> RosterItem {
        RosterItem {
            jid,
            name: None,
            groups: Vec::new(),
            subscription: Subscription::None,
            ask: false,
            approved: false,
        }
    }
}

/// A roster at a moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Roster {
    pub version: u64,
    pub items: Vec<RosterItem>,
}

/// What a client with an old version needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RosterChanges {
    /// Too much has happened, or the version is none of ours.
    Whole(Roster),
    /// In order of change; `None` = the contact was removed.
    Since(Vec<RosterChange>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RosterChange {
    pub version: u64,
    pub jid: BareJid,
    pub item: Option<RosterItem>,
}

/// All that is known of one contact, for [`Rosters::edit`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RosterEntry {
    pub item: Option<RosterItem>,
    /// The contact's subscription request that the owner has not answered (RFC 6121 §3.1.3).
    pub request: Option<Bytes>,
}

/// The outcome of [`Rosters::edit`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RosterEdited<T> {
    /// What the edit returned.
    pub value: T,
    pub before: RosterEntry,
    pub after: RosterEntry,
    /// The roster's new version, if its item changed: then clients get a push.
    pub version: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RosterLimits {
    pub items_max: usize,
    /// Requests that may wait for an answer.
    pub requests_max: usize,
}

/// See [`Store::rosters`].
pub struct Rosters<'a>(pub(super) &'a Store);

impl Store {
    pub fn rosters(&self) -> Rosters<'_> {
        Rosters(self)
    }
}

impl Rosters<'_> {
    pub async fn get(&self, owner: AccountId) -> Result<Roster, StoreError> {
        todo!()
    }

    pub async fn item(
        &self,
        owner: AccountId,
        contact: &BareJid,
    ) -> Result<RosterEntry, StoreError> {
        todo!()
    }

    pub async fn changes(&self, owner: AccountId, since: u64) -> Result<RosterChanges, StoreError> {
        todo!()
    }

    /// Reads, changes and writes one entry as one act: `edit` sees the state as it is and runs on
    /// the writer's thread. What it sets to `None` is removed. [`StoreError::TooMany`] when an
    /// addition would pass a limit.
    pub async fn edit<T: Send + 'static>(
        &self,
        owner: AccountId,
        contact: &BareJid,
        limits: RosterLimits,
        now: Now,
        edit: impl FnOnce(&mut RosterEntry) -> T + Send + 'static,
    ) -> Result<RosterEdited<T>, StoreError> {
        todo!()
    }

    /// Subscription requests that wait, oldest first: contact and stanza.
    pub async fn requests(&self, owner: AccountId) -> Result<Vec<(BareJid, Bytes)>, StoreError> {
        todo!()
    }
}
