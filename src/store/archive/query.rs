//! Pages: XEP-0313 §4 and §5 over the merged entries and the tail.
//!
//! All ids of the tail lie above all merged ones, so a page is first the one, then the other, in
//! either direction; nothing is sorted.

use std::fmt::Write;
use std::sync::Arc;

use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension, params, params_from_iter};

use super::tail::{self, TailIndex};
use super::{ArchiveQuery, Archived, Bounds, PAGE_BYTES_MAX, PAGE_MAX, Page, Position};
use crate::jid::Jid;
use crate::store::readers::Reader;
use crate::store::{AccountId, MessageFlags, MessageId, StoreError};
use crate::time::Now;
use crate::xml::element::Element;
use crate::xml::ns;

/// Matches are counted up to here with every page; an explicit request for the count goes on.
const COUNT_MAX: usize = 5_000;
/// An explicit count stops here, some 50 ms of work.
const COUNT_ASKED_MAX: usize = 1_000_000;
/// Entries looked at in one go when each must be read to know if it matches.
const FILTER_CHUNK: usize = 128;

/// What to look for, in numbers.
struct Search {
    tail: Arc<TailIndex>,
    owner: i64,
    /// The tail begins above.
    merged: i64,
    range: Range,
    peer: Option<i64>,
    /// Sorted.
    ids: Option<Vec<i64>>,
    /// A query in FTS5's language.
    text: Option<String>,
    /// A full JID of the peer; checked on the stored stanza.
    resource: Option<Jid>,
    groupchat: bool,
}

/// Ids between these, both excluded.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Range {
    pub above: i64,
    pub below: i64,
}

impl Range {
    const ALL: Range = Range { above: -1, below: i64::MAX };

    fn holds(self, id: i64) -> bool {
        id > self.above && id < self.below
    }
}

/// The two places of an archive's entries.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Merged,
    Tail,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Up,
    Down,
}

pub(super) fn page(reader: &mut Reader, query: ArchiveQuery) -> Result<Page, StoreError> {
    let conn = &reader.conn;
    let owner = query.owner.0;
    let merged = tail::merged(conn)?;

    let named = [query.after_id, query.before_id]
        .into_iter()
        .flatten()
        .chain(query.ids.iter().copied())
        .chain(match query.rsm.at {
            Position::After(id) | Position::Before(id) => Some(id),
            Position::First | Position::Last | Position::Index(_) => None,
        });
    for id in named {
        if !holds(conn, owner, merged, id.0)? {
            return Err(StoreError::NotFound);
        }
    }

    let at = query.rsm.at;
    let max = query.rsm.max.min(PAGE_MAX);
    let Some(search) = Search::new(reader, query, merged)? else {
        return Ok(Page { count: Some(0), complete: true, ..Page::default() });
    };
    let mut page = Page { count: search.count(conn, max == 0)?, ..Page::default() };
    if max == 0 {
        page.complete = page.count == Some(0);
        return Ok(page);
    }
    let mut range = search.range;
    let (way, skip) = match at {
        Position::First => (Way::Up, 0),
        Position::Index(index) => (Way::Up, index),
        Position::After(id) => {
            range.above = range.above.max(id.0);
            (Way::Up, 0)
        }
        Position::Before(id) => {
            range.below = range.below.min(id.0);
            (Way::Down, 0)
        }
        Position::Last => (Way::Down, 0),
    };
    let cut;
    (page.items, cut) = search.collect(reader, range, way, skip, max + 1)?;
    page.complete = page.items.len() <= max && !cut;
    page.items.truncate(max);
    if way == Way::Down {
        page.items.reverse();
    }
    page.index = match at {
        Position::First => Some(0),
        Position::Index(index) => Some(index),
        Position::Last => page.count.map(|count| count - page.items.len() as u64),
        Position::Before(_) if page.complete => Some(0),
        Position::After(_) if page.complete => {
            page.count.map(|count| count - page.items.len() as u64)
        }
        Position::After(_) | Position::Before(_) => None,
    };
    Ok(page)
}

pub(super) fn bounds(reader: &Reader, owner: AccountId) -> Result<Bounds, StoreError> {
    let conn = &reader.conn;
    let search = Search::all(reader, owner.0, tail::merged(conn)?);
    let first = search.ids(conn, search.range, Way::Up, 0, 1)?;
    let last = search.ids(conn, search.range, Way::Down, 0, 1)?;
    Ok(first.first().zip(last.first()).map(|(first, last)| (MessageId(*first), MessageId(*last))))
}

/// The newest entries with `peer`, newest first.
pub(super) fn newest_with(
    reader: &Reader,
    owner: AccountId,
    peer: &str,
    max: usize,
) -> Result<Vec<i64>, StoreError> {
    let conn = &reader.conn;
    let Some(peer) = address(conn, peer)? else { return Ok(Vec::new()) };
    let search = Search { peer: Some(peer), ..Search::all(reader, owner.0, tail::merged(conn)?) };
    search.ids(conn, search.range, Way::Down, 0, max)
}

/// A stored message; `None` when it is gone.
pub(in crate::store) fn fetch(
    reader: &mut Reader,
    id: i64,
) -> Result<Option<Archived>, StoreError> {
    let mut row =
        reader.conn.prepare_cached("SELECT flags, codec, body FROM messages WHERE id = ?1")?;
    let mut row = row.query([id])?;
    let Some(row) = row.next()? else { return Ok(None) };
    let body = row.get_ref(2)?.as_blob().unwrap_or_default();
    let stanza = reader.unpacker.unpack(row.get(1)?, body)?;
    Ok(Some(Archived {
        id: MessageId(id),
        flags: MessageFlags(row.get(0)?),
        stanza: Bytes::from(stanza),
    }))
}

fn address(conn: &Connection, jid: &str) -> Result<Option<i64>, StoreError> {
    Ok(conn
        .prepare_cached("SELECT id FROM addresses WHERE jid = ?1")?
        .query_row([jid], |row| row.get(0))
        .optional()?)
}

/// Is this message in this archive?
fn holds(conn: &Connection, owner: i64, merged: i64, id: i64) -> Result<bool, StoreError> {
    let sql = if id <= merged {
        "SELECT 1 FROM archive WHERE owner = ?1 AND id = ?2"
    } else {
        "SELECT 1 FROM messages WHERE id = ?2
         AND (from_addr = ?1 AND flags & 1 OR to_addr = ?1 AND flags & 2)"
    };
    Ok(conn.prepare_cached(sql)?.exists(params![owner, id])?)
}

impl Search {
    fn all(reader: &Reader, owner: i64, merged: i64) -> Search {
        Search {
            tail: Arc::clone(&reader.tail),
            owner,
            merged,
            range: Range::ALL,
            peer: None,
            ids: None,
            text: None,
            resource: None,
            groupchat: true,
        }
    }

    /// `None` when nothing can match.
    fn new(
        reader: &Reader,
        query: ArchiveQuery,
        merged: i64,
    ) -> Result<Option<Search>, StoreError> {
        let conn = &reader.conn;
        let mut search = Search::all(reader, query.owner.0, merged);
        search.groupchat = query.groupchat;
        let range = &mut search.range;
        if let Some(start) = query.start {
            // Ids tell milliseconds: a message of the millisecond that `start` lies in may be older.
            let first = MessageId::floor(Now(start.0.saturating_add(999)));
            range.above = range.above.max(first.0 - 1);
        }
        if let Some(end) = query.end {
            let next = MessageId::floor(Now(end.0.saturating_add(1_000)));
            range.below = range.below.min(next.0);
        }
        if let Some(id) = query.after_id {
            range.above = range.above.max(id.0);
        }
        if let Some(id) = query.before_id {
            range.below = range.below.min(id.0);
        }
        if let Some(with) = query.with {
            search.peer = address(conn, with.bare_str())?;
            if search.peer.is_none() {
                return Ok(None);
            }
            search.resource = (!with.is_bare()).then_some(with);
        }
        if let Some(text) = query.text {
            search.text = fts_query(search.owner, search.peer, &text);
            if search.text.is_none() {
                return Ok(None);
            }
        }
        if !query.ids.is_empty() {
            let mut ids: Vec<i64> = query.ids.iter().map(|id| id.0).collect();
            ids.sort_unstable();
            ids.dedup();
            search.ids = Some(ids);
        }
        Ok(Some(search))
    }

    /// Whether an entry must be read to know if it matches.
    fn filters(&self) -> bool {
        self.resource.is_some() || !self.groupchat
    }

    /// And whether the page ended for its size.
    fn collect(
        &self,
        reader: &mut Reader,
        mut range: Range,
        way: Way,
        mut skip: u64,
        wanted: usize,
    ) -> Result<(Vec<Archived>, bool), StoreError> {
        let mut found = Vec::new();
        let mut bytes = 0;
        loop {
            let chunk = if self.filters() { FILTER_CHUNK } else { wanted - found.len() };
            // The index can skip only what need not be read.
            let skip_ids = if self.filters() { 0 } else { std::mem::take(&mut skip) };
            let ids = self.ids(&reader.conn, range, way, skip_ids, chunk)?;
            for &id in &ids {
                let Some(item) = fetch(reader, id)? else { continue };
                if !self.matches(&item) {
                    continue;
                }
                if skip > 0 {
                    skip -= 1;
                    continue;
                }
                bytes += item.stanza.len();
                if bytes > PAGE_BYTES_MAX && !found.is_empty() {
                    return Ok((found, true));
                }
                found.push(item);
                if found.len() == wanted {
                    return Ok((found, false));
                }
            }
            match (ids.last(), way) {
                (Some(last), Way::Up) if ids.len() == chunk => range.above = *last,
                (Some(last), Way::Down) if ids.len() == chunk => range.below = *last,
                _ => return Ok((found, false)),
            }
        }
    }

    fn matches(&self, item: &Archived) -> bool {
        if !self.groupchat && item.flags.has(MessageFlags::GROUPCHAT) {
            return false;
        }
        let Some(with) = &self.resource else { return true };
        let Ok(stanza) = Element::parse(&item.stanza, ns::CLIENT) else { return false };
        [stanza.get("from"), stanza.get("to")].into_iter().flatten().any(|jid| jid == with.as_str())
    }

    /// Ids in order of `way`, `skip` of them left out, `max` at most.
    fn ids(
        &self,
        conn: &Connection,
        range: Range,
        way: Way,
        skip: u64,
        max: usize,
    ) -> Result<Vec<i64>, StoreError> {
        let end = usize::try_from(skip).unwrap_or(usize::MAX).saturating_add(max);
        let mut ids = match (&self.text, &self.ids) {
            (Some(text), _) => self.ids_by_text(conn, text, range, way, end)?,
            (None, Some(named)) => self.ids_by_name(conn, named, range, way)?,
            (None, None) => self.ids_by_index(conn, range, way, end)?,
        };
        ids.truncate(end);
        ids.drain(..ids.len().min(end - max));
        Ok(ids)
    }

    fn ids_by_index(
        &self,
        conn: &Connection,
        range: Range,
        way: Way,
        max: usize,
    ) -> Result<Vec<i64>, StoreError> {
        let mut ids = Vec::new();
        let mut parts = [Part::Merged, Part::Tail];
        if way == Way::Down {
            parts.reverse();
        }
        for part in parts {
            let left = max - ids.len();
            if left == 0 {
                break;
            }
            if part == Part::Tail
                && let Some(found) = self.ids_by_memory(range, way, left)
            {
                ids.extend(found);
                continue;
            }
            let sql = format!("{} ORDER BY id {} LIMIT ?6", self.sql(part), way.sql());
            let mut rows = conn.prepare_cached(&sql)?;
            let mut rows = rows.query(params_from_iter(self.args(range, left)))?;
            while let Some(row) = rows.next()? {
                ids.push(row.get(0)?);
            }
        }
        Ok(ids)
    }

    fn ids_by_memory(&self, range: Range, way: Way, max: usize) -> Option<Vec<i64>> {
        let wanted = |entry: &&(i64, i64)| self.peer.is_none_or(|peer| peer == entry.1);
        self.tail.with(self.merged, self.owner, range, |entries| match way {
            Way::Up => entries.iter().filter(wanted).map(|(id, _)| *id).take(max).collect(),
            Way::Down => entries.iter().rev().filter(wanted).map(|(id, _)| *id).take(max).collect(),
        })
    }

    fn ids_by_name(
        &self,
        conn: &Connection,
        named: &[i64],
        range: Range,
        way: Way,
    ) -> Result<Vec<i64>, StoreError> {
        let mut ids = Vec::new();
        for &id in named {
            if range.holds(id) && self.is_with_peer(conn, id)? {
                ids.push(id);
            }
        }
        if way == Way::Down {
            ids.reverse();
        }
        Ok(ids)
    }

    fn ids_by_text(
        &self,
        conn: &Connection,
        text: &str,
        range: Range,
        way: Way,
        max: usize,
    ) -> Result<Vec<i64>, StoreError> {
        let sql = format!(
            "SELECT rowid FROM messages_text WHERE messages_text MATCH ?1
             AND rowid > ?2 AND rowid < ?3 ORDER BY rowid {}",
            way.sql()
        );
        let mut rows = conn.prepare_cached(&sql)?;
        let mut rows = rows.query(params![text, range.above, range.below])?;
        let mut ids = Vec::new();
        while ids.len() < max
            && let Some(row) = rows.next()?
        {
            let id = row.get(0)?;
            let named = self.ids.as_ref().is_none_or(|ids| ids.binary_search(&id).is_ok());
            // The owner may have let go of it while the other side keeps it.
            if named && holds(conn, self.owner, self.merged, id)? && self.is_with_peer(conn, id)? {
                ids.push(id);
            }
        }
        Ok(ids)
    }

    /// ?1 owner, ?2 peer, ?3 above, ?4 below, ?5 the mark, ?6 how many.
    fn args(&self, range: Range, max: usize) -> [i64; 6] {
        let max = i64::try_from(max).unwrap_or(i64::MAX);
        [self.owner, self.peer.unwrap_or(0), range.above, range.below, self.merged, max]
    }

    fn sql(&self, part: Part) -> &'static str {
        match (part, self.peer) {
            (Part::Merged, None) => {
                "SELECT id FROM archive WHERE owner = ?1 AND id > ?3 AND id < ?4 AND id <= ?5"
            }
            (Part::Merged, Some(_)) => {
                "SELECT id FROM archive_peer
                 WHERE owner = ?1 AND peer = ?2 AND id > ?3 AND id < ?4 AND id <= ?5"
            }
            (Part::Tail, None) => {
                "SELECT id FROM messages WHERE id > max(?3, ?5) AND id < ?4
                 AND (from_addr = ?1 AND flags & 1 OR to_addr = ?1 AND flags & 2)"
            }
            (Part::Tail, Some(_)) => {
                "SELECT id FROM messages WHERE id > max(?3, ?5) AND id < ?4
                 AND (from_addr = ?1 AND to_addr = ?2 AND flags & 1
                      OR to_addr = ?1 AND from_addr = ?2 AND flags & 2)"
            }
        }
    }

    fn is_with_peer(&self, conn: &Connection, id: i64) -> Result<bool, StoreError> {
        let Some(peer) = self.peer else { return Ok(true) };
        let sql = "SELECT 1 FROM messages WHERE id = ?1
                   AND (from_addr = ?2 AND to_addr = ?3 OR to_addr = ?2 AND from_addr = ?3)";
        Ok(conn.prepare_cached(sql)?.exists(params![id, self.owner, peer])?)
    }

    /// How many entries match, or `None` beyond what is worth counting.
    fn count(&self, conn: &Connection, asked: bool) -> Result<Option<u64>, StoreError> {
        if self.filters() {
            return Ok(None);
        }
        let max = if asked { COUNT_ASKED_MAX } else { COUNT_MAX };
        if self.text.is_some() || self.ids.is_some() {
            let found = self.ids(conn, self.range, Way::Up, 0, max + 1)?.len();
            return Ok((found <= max).then_some(found as u64));
        }
        if self.peer.is_none() && self.range == Range::ALL {
            let merged: Option<u64> = conn
                .prepare_cached("SELECT entries FROM archive_usage WHERE owner = ?1")?
                .query_row([self.owner], |row| row.get(0))
                .optional()?;
            let tail = self.count_part(conn, Part::Tail, usize::MAX)?;
            return Ok(Some(merged.unwrap_or(0) + tail));
        }
        let merged = self.count_part(conn, Part::Merged, max + 1)?;
        let tail = self.count_part(conn, Part::Tail, max + 1)?;
        let count = merged + tail;
        Ok((count <= max as u64).then_some(count))
    }

    fn count_part(&self, conn: &Connection, part: Part, max: usize) -> Result<u64, StoreError> {
        let of_peer = |entries: &[(i64, i64)]| match self.peer {
            Some(peer) => entries.iter().filter(|entry| entry.1 == peer).count(),
            None => entries.len(),
        };
        if part == Part::Tail
            && let Some(count) = self.tail.with(self.merged, self.owner, self.range, of_peer)
        {
            return Ok(count.min(max) as u64);
        }
        let sql = format!("SELECT count(*) FROM ({} LIMIT ?6)", self.sql(part));
        let args = params_from_iter(self.args(self.range, max));
        Ok(conn.prepare_cached(&sql)?.query_row(args, |row| row.get(0))?)
    }
}

impl Way {
    fn sql(self) -> &'static str {
        match self {
            Way::Up => "ASC",
            Way::Down => "DESC",
        }
    }
}

/// All words, in messages of this owner and with this peer; `None` when there are no words.
fn fts_query(owner: i64, peer: Option<i64>, text: &str) -> Option<String> {
    let mut query = format!("owners : o{owner}");
    if let Some(peer) = peer {
        write!(query, " AND owners : o{peer}").expect("a string takes what is written");
    }
    let mut any = false;
    for word in text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()) {
        write!(query, " AND body : \"{word}\"").expect("a string takes what is written");
        any = true;
    }
    any.then_some(query)
}

/// Table, query of the merged entries, query of the tail: for the test of their plans.
#[cfg(test)]
pub(super) fn plans() -> [(&'static str, &'static str, &'static str); 2] {
    let search = |peer| Search {
        tail: Arc::default(),
        owner: 1,
        merged: 0,
        range: Range::ALL,
        peer,
        ids: None,
        text: None,
        resource: None,
        groupchat: true,
    };
    let (all, peer) = (search(None), search(Some(2)));
    [
        ("archive", all.sql(Part::Merged), all.sql(Part::Tail)),
        ("archive_peer", peer.sql(Part::Merged), peer.sql(Part::Tail)),
    ]
}
