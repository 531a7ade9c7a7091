//! XEP-0313: Message Archive Management (1.1.3), the rows behind it.

pub(super) mod prefs;
pub(super) mod query;
pub(super) mod retention;
pub(super) mod tail;

use bytes::Bytes;
use rusqlite::params;

use super::{AccountId, MessageFlags, MessageId, Store, StoreError};
use crate::jid::{BareJid, Jid};
use crate::time::Now;
use retention::Limits;

/// Most messages a page holds, whatever was asked for.
pub const PAGE_MAX: usize = 256;

/// A page ends before it holds more bytes of stanzas than this, except for a single larger one.
pub const PAGE_BYTES_MAX: usize = 2 << 20;

/// What to look for in one archive. `ArchiveQuery::of(owner)` matches everything.
#[derive(Clone, Debug)]
pub struct ArchiveQuery {
    /// Whose archive: an account, or a room.
    pub owner: AccountId,
    /// Messages to or from this address; a bare JID matches all its resources. The owner's own
    /// address matches what it sent to itself.
    pub with: Option<Jid>,
    /// Not before.
    pub start: Option<Now>,
    /// Not after.
    pub end: Option<Now>,
    pub after_id: Option<MessageId>,
    pub before_id: Option<MessageId>,
    /// Exactly these messages; empty for no such restriction.
    pub ids: Vec<MessageId>,
    /// XEP-0313 `include-groupchat`.
    pub groupchat: bool,
    /// Words that must all occur (XEP-0431); finds only messages stored with their text.
    pub text: Option<String>,
    pub rsm: Rsm,
}

impl ArchiveQuery {
    pub fn of(owner: AccountId) -> ArchiveQuery {
        ArchiveQuery {
            owner,
            with: None,
            start: None,
            end: None,
            after_id: None,
            before_id: None,
            ids: Vec::new(),
            groupchat: true,
            text: None,
            rsm: Rsm { max: PAGE_MAX, at: Position::First },
        }
    }
}

/// XEP-0059: which page of the matching messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rsm {
    /// 0 asks for the count alone. Above [`PAGE_MAX`] it is [`PAGE_MAX`].
    pub max: usize,
    pub at: Position,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Position {
    First,
    After(MessageId),
    Before(MessageId),
    /// An empty `<before/>`.
    Last,
    Index(u64),
}

/// A stretch of an archive, oldest first (`<flip-page/>`: walk it backwards).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    pub items: Vec<Archived>,
    /// All messages that match the filters, whatever the page. Exact when given; left out where
    /// counting would cost more than the page.
    pub count: Option<u64>,
    /// How many matching messages lie before the page, where that is known.
    pub index: Option<u64>,
    /// No further page in the direction of paging.
    pub complete: bool,
}

impl Page {
    pub fn first(&self) -> Option<MessageId> {
        self.items.first().map(|item| item.id)
    }

    pub fn last(&self) -> Option<MessageId> {
        self.items.last().map(|item| item.id)
    }
}

/// A message as it was stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Archived {
    pub id: MessageId,
    pub flags: MessageFlags,
    pub stanza: Bytes,
}

/// XEP-0441: what an account wants archived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArchivePrefs {
    pub default: ArchiveDefault,
    /// Bare or full; sorted.
    pub always: Box<[Jid]>,
    pub never: Box<[Jid]>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ArchiveDefault {
    Always,
    Never,
    /// Only with contacts of the roster.
    Roster,
}

/// The first and last message of an archive; `None` when it is empty (XEP-0313 §5).
pub type Bounds = Option<(MessageId, MessageId)>;

/// What retention removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Expired {
    /// Entries of archives.
    pub entries: u64,
    /// Message bodies that nobody else kept.
    pub bodies: u64,
}

/// The archives of all accounts. See [`Store::archive`].
pub struct Archive<'a>(pub(super) &'a Store);

impl Store {
    pub fn archive(&self) -> Archive<'_> {
        Archive(self)
    }
}

impl Archive<'_> {
    /// One page. [`StoreError::NotFound`] when an id named in the query is not in this archive.
    /// Sees every message appended before the call.
    pub async fn page(&self, query: ArchiveQuery) -> Result<Page, StoreError> {
        self.0.settled().await?;
        self.0.read(move |reader| query::page(reader, query)).await
    }

    /// The first and the last message. Sees every message appended before the call.
    pub async fn bounds(&self, owner: AccountId) -> Result<Bounds, StoreError> {
        self.0.settled().await?;
        self.0.read(move |reader| query::bounds(reader, owner)).await
    }

    /// Stored messages by id, whoever owns them, in the order asked for; ids that are gone are
    /// left out.
    pub async fn fetch(&self, ids: Vec<MessageId>) -> Result<Vec<Archived>, StoreError> {
        self.0
            .read(move |reader| {
                let mut found = Vec::with_capacity(ids.len());
                for id in ids {
                    found.extend(query::fetch(reader, id.0)?);
                }
                Ok(found)
            })
            .await
    }

    /// The newest message between `owner` and `peer` that `wanted` picks, among the newest `depth`.
    pub async fn find(
        &self,
        owner: AccountId,
        peer: &BareJid,
        depth: usize,
        mut wanted: impl FnMut(&[u8]) -> bool + Send + 'static,
    ) -> Result<Option<MessageId>, StoreError> {
        self.0.settled().await?;
        let peer = peer.clone();
        self.0
            .read(move |reader| {
                for id in query::newest_with(reader, owner, peer.as_str(), depth)? {
                    if query::fetch(reader, id)?.is_some_and(|item| wanted(&item.stanza)) {
                        return Ok(Some(MessageId(id)));
                    }
                }
                Ok(None)
            })
            .await
    }

    /// Puts a tombstone in the place of a message, in all archives that hold it (XEP-0424).
    /// [`StoreError::NotFound`] when it is gone.
    pub async fn retract(&self, id: MessageId, tombstone: Bytes) -> Result<(), StoreError> {
        self.0
            .write(move |tx| {
                let (codec, body) = tx.state.packer.pack(&tombstone);
                let body = body.to_vec();
                let flags = tx
                    .prepare_cached(
                        "UPDATE messages SET codec = ?2, body = ?3, flags = (flags | ?4) & ~?5
                         WHERE id = ?1",
                    )?
                    .execute(params![
                        id.0,
                        codec,
                        body,
                        MessageFlags::TOMBSTONE.0,
                        MessageFlags::TEXT.0
                    ])?;
                if flags == 0 {
                    return Err(StoreError::NotFound);
                }
                tx.prepare_cached("DELETE FROM messages_text WHERE rowid = ?1")?.execute([id.0])?;
                Ok(())
            })
            .await
    }

    /// Forgets entries older than `before` in all archives of accounts and rooms of `host`, and
    /// the oldest ones of every archive whose bodies take more than `bytes_max` as stored. In
    /// steps; returns when done.
    pub async fn expire(
        &self,
        host: &str,
        before: Option<MessageId>,
        bytes_max: Option<u64>,
    ) -> Result<Expired, StoreError> {
        let limits = Limits { before: before.map(|id| id.0), bytes_max };
        let mut total = Expired::default();
        self.0.write(retention::settle).await?;
        let mut after = 0;
        while let Some((owner, jid)) =
            self.0.read(move |reader| retention::owners(&reader.conn, after)).await?
        {
            after = owner;
            if jid.rsplit('@').next() != Some(host) {
                continue;
            }
            while let Some(step) =
                self.0.write(move |tx| retention::step(tx, owner, limits)).await?
            {
                total.entries += step.entries;
                total.bodies += step.bodies;
            }
        }
        Ok(total)
    }

    /// The next archive of `domain` above `after`, in order: for removals that take their time.
    pub async fn next_owner(
        &self,
        domain: &str,
        mut after: AccountId,
    ) -> Result<Option<AccountId>, StoreError> {
        let domain = domain.to_owned();
        self.0
            .read(move |reader| {
                while let Some((owner, jid)) = retention::owners(&reader.conn, after.0)? {
                    after = AccountId(owner);
                    if jid.rsplit('@').next() == Some(&domain) {
                        return Ok(Some(after));
                    }
                }
                Ok(None)
            })
            .await
    }

    /// Brings all that is stored so far into the order that [`Archive::trim`] works on.
    pub async fn settle(&self) -> Result<(), StoreError> {
        self.0.write(retention::settle).await
    }

    /// Forgets some entries of one archive that are older than `before`; `None` when none is left.
    pub async fn trim(
        &self,
        owner: AccountId,
        before: MessageId,
    ) -> Result<Option<Expired>, StoreError> {
        let limits = Limits { before: Some(before.0), bytes_max: None };
        self.0.write(move |tx| retention::step(tx, owner.0, limits)).await
    }

    /// Forgets the whole archive of an account or room, or what it holds of one peer. The other
    /// side keeps its own.
    pub async fn forget(
        &self,
        owner: AccountId,
        peer: Option<BareJid>,
    ) -> Result<Expired, StoreError> {
        let mut total = Expired::default();
        self.settle().await?;
        let everything = Limits { before: Some(i64::MAX), bytes_max: None };
        loop {
            let peer = peer.clone();
            let step = self
                .0
                .write(move |tx| match &peer {
                    Some(peer) => retention::peer_step(tx, owner.0, peer.as_str()),
                    None => retention::step(tx, owner.0, everything),
                })
                .await?;
            let Some(step) = step else { return Ok(total) };
            total.entries += step.entries;
            total.bodies += step.bodies;
        }
    }

    /// `None`: the account has said nothing, the host's default applies.
    pub async fn prefs(&self, owner: AccountId) -> Result<Option<ArchivePrefs>, StoreError> {
        self.0.read(move |reader| prefs::read(&reader.conn, owner)).await
    }

    pub async fn set_prefs(&self, owner: AccountId, prefs: ArchivePrefs) -> Result<(), StoreError> {
        self.0.write(move |tx| prefs::write(tx, owner, &prefs)).await
    }
}

#[cfg(test)]
mod tests;
