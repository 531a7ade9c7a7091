//! The table of sessions: bound resources of local accounts, sharded by bare JID.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicI8, AtomicI64, AtomicU32, Ordering};

use parking_lot::Mutex;
use smallvec::SmallVec;

use super::held::Held;
use super::mailbox::{Control, Full, Item, Mailbox};
use crate::jid::{BareJid, Jid};
use crate::router::sm::Sm;
use crate::stanza::Stanza;
use crate::store::{AccountId, MessageId};
use crate::xml::stream_error::{StreamCondition, StreamError};

/// The sessions of one account; nearly always one or two.
pub type SessionList = SmallVec<[Arc<Session>; 2]>;

const SHARDS: usize = 64;

/// A bound resource. It may outlive its connection (XEP-0198) and even the process.
pub struct Session {
    /// Random, unique for all time: it names the session on disk too.
    pub id: u64,
    pub jid: Jid,
    pub account: AccountId,
    pub mailbox: Mailbox,
    flags: AtomicU32,
    priority: AtomicI8,
    /// The presence last broadcast; `None` while unavailable.
    presence: Mutex<Option<Arc<Stanza>>>,
    /// Whom this session sent directed presence outside its roster (RFC 6121 §4.6.1).
    pub directed: Mutex<Vec<Jid>>,
    /// What its client knows of the roster, once it has asked for it in this process.
    pub roster_told: Mutex<Option<RosterTold>>,
    /// Stream management, from `<enable/>` to the end of the session.
    pub sm: Mutex<Option<Box<Sm>>>,
    /// What waits until the user looks again (XEP-0352).
    held: Mutex<Held>,
    /// The last message of the offline store it was offered; held while more are fetched.
    pub offered: tokio::sync::Mutex<Option<MessageId>>,
    /// Seconds since 1970 when something last came from the client.
    pub heard: AtomicI64,
    /// What operators see of the connection.
    pub facts: Mutex<SessionFacts>,
}

/// A state of a roster (XEP-0237).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RosterTold {
    /// The version of the roster's own items.
    pub version: u64,
    /// The sum of what shared groups add to them; 0 if nothing.
    pub shared: u64,
}

/// The connection as an operator sees it.
#[derive(Clone, Debug, Default)]
pub struct SessionFacts {
    pub address: Option<std::net::SocketAddr>,
    /// As in `TLSv1.3`; empty on a plain connection.
    pub tls: &'static str,
    /// SASL mechanism name.
    pub mechanism: &'static str,
    pub since: i64,
    /// The device this session signed in from (XEP-0494).
    pub device: Option<i64>,
}

/// One bit each in [`Session::has`].
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Flag {
    /// XEP-0280 enabled.
    Carbons = 1,
    /// Asked for the roster: gets pushes (RFC 6121 §2.2).
    Interested = 1 << 1,
    /// Asked for the block list: gets pushes (XEP-0191 §3.6).
    BlockListInterested = 1 << 2,
    /// XEP-0352: the user does not look.
    Inactive = 1 << 3,
    /// The connection is gone; the session waits for resumption.
    Parked = 1 << 4,
    /// The client reads the archive (XEP-0386): it wants no offline messages that lie there too.
    ReadsArchive = 1 << 6,
    /// The session has ended; nothing more is delivered to it.
    Ended = 1 << 5,
}

impl Session {
    pub fn new(id: u64, jid: Jid, account: AccountId, mailbox_bytes_max: usize) -> Session {
        Session {
            id,
            jid,
            account,
            mailbox: Mailbox::new(mailbox_bytes_max),
            flags: AtomicU32::new(0),
            priority: AtomicI8::new(0),
            presence: Mutex::new(None),
            directed: Mutex::new(Vec::new()),
            roster_told: Mutex::new(None),
            sm: Mutex::new(None),
            held: Mutex::default(),
            offered: tokio::sync::Mutex::default(),
            heard: AtomicI64::new(0),
            facts: Mutex::new(SessionFacts::default()),
        }
    }

    pub fn has(&self, flag: Flag) -> bool {
        self.flags.load(Ordering::Acquire) & flag as u32 != 0
    }

    /// Sets or clears a flag; tells whether it was set before.
    pub fn set(&self, flag: Flag, on: bool) -> bool {
        let bit = flag as u32;
        let before = if on {
            self.flags.fetch_or(bit, Ordering::AcqRel)
        } else {
            self.flags.fetch_and(!bit, Ordering::AcqRel)
        };
        before & bit != 0
    }

    /// Is its queue kept on disk, so that it finds its messages again after a crash?
    pub fn is_resumable(&self) -> bool {
        self.sm.lock().as_ref().is_some_and(|sm| sm.resumable)
    }

    /// Puts a stanza into the mailbox, past what the user need not see now (XEP-0352). Returns its
    /// ordinal, or `None` when it is held back.
    pub fn deliver(&self, item: Item) -> Result<Option<u32>, Full> {
        if self.has(Flag::Inactive) {
            let mut held = self.held.lock();
            let Some((before, item)) = held.offer(item) else { return Ok(None) };
            for item in before {
                self.mailbox.push(item)?;
            }
            // Still under the lock: nothing may overtake what was held back.
            return self.mailbox.push(item).map(Some);
        }
        self.mailbox.push(item).map(Some)
    }

    /// The mailbox is full: a reader too slow for what it is sent. The session ends; what it did
    /// not get is delivered elsewhere or kept, as at any end of a session.
    pub fn overflow(&self) {
        if !self.set(Flag::Ended, true) {
            let text = "Too much is waiting for you; read faster.";
            let error = StreamError::with_text(StreamCondition::ResourceConstraint, text);
            self.mailbox.control(Control::Close(error));
        }
    }

    /// The user looks, or does not (XEP-0352 §3).
    pub fn set_inactive(&self, inactive: bool) {
        let mut held = self.held.lock();
        self.set(Flag::Inactive, inactive);
        if !inactive {
            for item in held.release() {
                // A full mailbox refuses the rest; presence and typing notices are what is lost.
                if self.mailbox.push(item).is_err() {
                    break;
                }
            }
        }
    }

    /// An *available* resource has sent initial presence and not gone since (RFC 6121 §4.2).
    pub fn presence(&self) -> Option<Arc<Stanza>> {
        self.presence.lock().clone()
    }

    /// Replaces the broadcast presence and hands back the one before.
    pub fn set_presence(&self, presence: Option<(Arc<Stanza>, i8)>) -> Option<Arc<Stanza>> {
        let (stanza, priority) = match presence {
            Some((stanza, priority)) => (Some(stanza), priority),
            None => (None, 0),
        };
        let mut held = self.presence.lock();
        self.priority.store(priority, Ordering::Release);
        std::mem::replace(&mut *held, stanza)
    }

    /// The priority of the broadcast presence, -128 to 127; meaningless while unavailable.
    pub fn priority(&self) -> i8 {
        self.priority.load(Ordering::Acquire)
    }

    pub fn is_available(&self) -> bool {
        self.presence.lock().is_some()
    }
}

/// All bound sessions, by bare JID, and the resumable ones by their token.
pub struct Sessions {
    shards: Box<[Mutex<HashMap<BareJid, SessionList>>]>,
    /// SHA-256 of the resumption token → session. The token itself is the client's secret.
    resumable: Mutex<HashMap<[u8; 32], Arc<Session>>>,
    hasher: RandomState,
}

impl Default for Sessions {
    fn default() -> Sessions {
        Sessions {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            resumable: Mutex::default(),
            hasher: RandomState::new(),
        }
    }
}

impl Sessions {
    fn shard(&self, bare: &str) -> &Mutex<HashMap<BareJid, SessionList>> {
        // The remainder is below SHARDS, so the cast and the index are in range.
        &self.shards[(self.hasher.hash_one(bare) % SHARDS as u64) as usize]
    }

    /// Adds a session. What to do about one of the same resource was decided before.
    ///
    /// Returns the session that held the resource before, if any; it is no longer in the table.
    pub fn insert(&self, session: Arc<Session>) -> Option<Arc<Session>> {
        let mut shard = self.shard(session.jid.bare_str()).lock();
        let list = shard.entry(session.jid.bare()).or_default();
        let before = list.iter().position(|s| s.jid == session.jid).map(|at| list.remove(at));
        list.push(session);
        before
    }

    /// Removes exactly this session (not one that took its resource since).
    pub fn remove(&self, session: &Arc<Session>) -> bool {
        let mut shard = self.shard(session.jid.bare_str()).lock();
        let Some(list) = shard.get_mut(session.jid.bare_str()) else { return false };
        let Some(at) = list.iter().position(|s| Arc::ptr_eq(s, session)) else { return false };
        list.remove(at);
        if list.is_empty() {
            shard.remove(session.jid.bare_str());
        }
        true
    }

    /// The sessions of an account, connected or parked.
    pub fn of(&self, bare: &str) -> SessionList {
        self.shard(bare).lock().get(bare).cloned().unwrap_or_default()
    }

    /// The session with exactly this full JID.
    pub fn full(&self, jid: &Jid) -> Option<Arc<Session>> {
        let shard = self.shard(jid.bare_str()).lock();
        shard.get(jid.bare_str())?.iter().find(|s| s.jid == *jid).cloned()
    }

    /// From now on the session can be resumed by the token with this hash (XEP-0198 §5).
    pub fn make_resumable(&self, token_hash: [u8; 32], session: &Arc<Session>) {
        self.resumable.lock().insert(token_hash, Arc::clone(session));
    }

    pub fn resumable(&self, token_hash: &[u8; 32]) -> Option<Arc<Session>> {
        self.resumable.lock().get(token_hash).cloned()
    }

    pub fn forget_token(&self, token_hash: &[u8; 32]) {
        self.resumable.lock().remove(token_hash);
    }

    /// Every session there is; for operators and timers, not for the way of a stanza.
    pub fn all(&self) -> Vec<Arc<Session>> {
        self.shards
            .iter()
            .flat_map(|s| s.lock().values().flatten().cloned().collect::<Vec<_>>())
            .collect()
    }

    /// The accounts of a host with an available resource.
    pub fn available_on(&self, host: &str) -> Vec<BareJid> {
        let mut accounts = Vec::new();
        for shard in &self.shards {
            let shard = shard.lock();
            let there = shard.iter().filter(|(jid, list)| {
                jid.domain() == host && list.iter().any(|session| session.is_available())
            });
            accounts.extend(there.map(|(jid, _)| jid.clone()));
        }
        accounts
    }

    pub fn count(&self) -> usize {
        self.shards.iter().map(|s| s.lock().values().map(SmallVec::len).sum::<usize>()).sum()
    }
}
