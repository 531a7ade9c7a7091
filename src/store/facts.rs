//! What the delivery pipelines ask of an account with every stanza, cached.

use std::sync::Arc;

use super::archive::ArchivePrefs;
use super::rosters::Subscription;
use super::{AccountId, Store, StoreError};
use crate::jid::{BareJid, Jid};

/// An account as the pipelines see it. Shared, immutable, replaced after a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    pub id: AccountId,
    pub jid: BareJid,
    pub locked: bool,
    /// `None`: the host's default applies.
    pub prefs: Option<ArchivePrefs>,
    /// Sorted by address.
    pub roster: Box<[Contact]>,
    /// Sorted by address (XEP-0191).
    pub blocked: Box<[Jid]>,
}

/// A roster item without what only its owner's clients want.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contact {
    pub jid: BareJid,
    pub subscription: Subscription,
    pub ask: bool,
    pub approved: bool,
}

impl Facts {
    pub fn contact(&self, bare: &str) -> Option<&Contact> {
        let at = self.roster.binary_search_by(|contact| contact.jid.as_str().cmp(bare)).ok()?;
        Some(&self.roster[at])
    }

    /// Is this address blocked, by itself, its bare JID, its domain, or its domain and resource
    /// (XEP-0191 §5)?
    pub fn blocks(&self, other: &Jid) -> bool {
        todo!()
    }
}

/// What the cache knows without asking the disk.
#[derive(Clone, Debug)]
pub enum Lookup {
    Known(Arc<Facts>),
    NoAccount,
    /// Ask [`Store::facts`].
    Unknown,
}

impl Store {
    /// For the hot path: never waits. `bare` is the text of a bare JID of one of our hosts.
    pub fn facts_cached(&self, bare: &str) -> Lookup {
        todo!()
    }

    /// The facts of an account; `None` if there is no such account.
    pub async fn facts(&self, jid: &BareJid) -> Result<Option<Arc<Facts>>, StoreError> {
        todo!()
    }
}
