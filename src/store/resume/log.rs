//! The log behind `resume`: notes in, sessions out.
//!
//! Notes of one commit are one row of `sm_log`; a note is some five to ten bytes. Sessions are named
//! by *slots*, small numbers given at [`Note::Open`]. When the log has grown to [`FOLD_BYTES`], the
//! sessions that changed are written to `sm_sessions` and the log is emptied.

use std::collections::{HashMap, HashSet, VecDeque};

use bytes::Bytes;
use rusqlite::{Connection, params};

use super::notes::{
    Input, Read, Tag, damaged, pack_out, read_out, write_bytes, write_note, write_number,
    write_open,
};
use super::{CopyForm, OUT_MAX, SmOpen, SmParked, SmRestored};
use crate::store::codec::Unpacker;
use crate::store::writer::Tx;
use crate::store::{AccountId, MessageId, StoreError};
use crate::time::Now;

/// The log is folded when it holds this much: some 100,000 notes, read in a blink at start.
const FOLD_BYTES: usize = 1 << 20;

/// One fact about a session.
pub(in crate::store) enum Note {
    Open(Box<SmOpen>),
    In {
        sid: u64,
        h: u32,
    },
    Out {
        sid: u64,
        number: Option<u32>,
        id: i64,
        form: CopyForm,
    },
    Acked {
        sid: u64,
        h: u32,
    },
    Facts {
        sid: u64,
        facts: Bytes,
    },
    Renumber {
        sid: u64,
        h: u32,
        out: Vec<(u32, MessageId, CopyForm)>,
    },
    /// Back from the dead: nothing is parked any more.
    Unpark {
        sid: u64,
    },
    Close {
        sid: u64,
    },
}

impl Note {
    fn sid(&self) -> u64 {
        match self {
            Note::Open(open) => open.sid,
            Note::In { sid, .. }
            | Note::Out { sid, .. }
            | Note::Acked { sid, .. }
            | Note::Facts { sid, .. }
            | Note::Renumber { sid, .. }
            | Note::Unpark { sid }
            | Note::Close { sid } => *sid,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Out {
    pub(super) number: Option<u32>,
    pub(super) id: i64,
    pub(super) form: CopyForm,
}

struct Session {
    slot: u32,
    account: i64,
    h_in: u32,
    acked: u32,
    out: VecDeque<Out>,
    /// What the row in `sm_sessions` says beside the above; none once it is written.
    open: Option<Box<SmOpen>>,
    /// Newer facts than the row's.
    facts: Option<Bytes>,
    /// Differs from its row.
    dirty: bool,
    parked: bool,
}

impl Session {
    fn new(slot: u32, open: Box<SmOpen>) -> Session {
        Session {
            slot,
            account: open.account.0,
            h_in: 0,
            acked: 0,
            out: VecDeque::new(),
            open: Some(open),
            facts: None,
            dirty: true,
            parked: false,
        }
    }

    /// Takes in a note; false when it says nothing new.
    fn apply(&mut self, note: &Note) -> bool {
        match note {
            Note::In { h, .. } => {
                if !is_after(*h, self.h_in) {
                    return false;
                }
                self.h_in = *h;
            }
            Note::Out { number, id, form, .. } => {
                let out = Out { number: *number, id: *id, form: *form };
                let known = self.out.iter_mut().rev().find(|o| o.id == *id && o.form == *form);
                match known {
                    Some(known) if number.is_some() && known.number.is_none() => *known = out,
                    Some(_) => return false,
                    None => {
                        if self.out.len() == OUT_MAX {
                            self.out.pop_front();
                        }
                        self.out.push_back(out);
                    }
                }
            }
            Note::Acked { h, .. } => {
                if !is_after(*h, self.acked) {
                    return false;
                }
                self.acked = *h;
                let before = self.out.len();
                self.out.retain(|o| o.number.is_none_or(|number| is_after(number, *h)));
                if self.out.is_empty() {
                    self.out = VecDeque::new();
                }
                if self.out.len() == before {
                    // Only what no archive holds was acknowledged: the client tells it again
                    // when it resumes. Not worth a write.
                    return false;
                }
            }
            Note::Facts { facts, .. } => match &mut self.open {
                Some(open) => open.facts = facts.clone(),
                None => self.facts = Some(facts.clone()),
            },
            Note::Renumber { h, out, .. } => {
                self.acked = *h;
                let newest = out.len().saturating_sub(OUT_MAX);
                self.out = out[newest..]
                    .iter()
                    .map(|(number, id, form)| Out { number: Some(*number), id: id.0, form: *form })
                    .collect();
            }
            Note::Unpark { .. } => {
                if !std::mem::take(&mut self.parked) {
                    return false;
                }
            }
            Note::Open(_) | Note::Close { .. } => {}
        }
        self.dirty = true;
        true
    }
}

/// Counters of XEP-0198 wrap at 2^32.
fn is_after(a: u32, b: u32) -> bool {
    a != b && a.wrapping_sub(b) < 1 << 31
}

/// All resumable sessions and the notes not written yet.
pub(in crate::store) struct SmLog {
    sessions: HashMap<u64, Session>,
    next_slot: u32,
    /// Slots whose rows are to be deleted with the next fold.
    closed: Vec<u32>,
    /// Sessions that lost a row since they opened.
    poisoned: HashSet<u64>,
    /// Notes of the current transaction.
    notes: Vec<u8>,
    /// The id of the last note, against which the next one is written.
    last_id: i64,
    log_bytes: usize,
    fold_at: usize,
    /// Rises with every change, so that the writer sees if a job that is undone made one.
    changes: u64,
}

impl SmLog {
    /// What the database knows.
    pub(in crate::store) fn load(conn: &Connection) -> Result<SmLog, StoreError> {
        let mut log = SmLog {
            sessions: HashMap::new(),
            next_slot: 1,
            closed: Vec::new(),
            poisoned: HashSet::new(),
            notes: Vec::new(),
            last_id: 0,
            log_bytes: 0,
            fold_at: FOLD_BYTES,
            changes: 0,
        };
        let mut sids = HashMap::new();
        let mut rows =
            conn.prepare("SELECT slot, sid, account, h_in, acked, out FROM sm_sessions")?;
        let mut rows = rows.query([])?;
        while let Some(row) = rows.next()? {
            let slot = row.get(0)?;
            let sid = row.get::<_, i64>(1)?.cast_unsigned();
            let session = Session {
                slot,
                account: row.get(2)?,
                h_in: row.get(3)?,
                acked: row.get(4)?,
                out: read_out(row.get_ref(5)?.as_blob().unwrap_or_default())?,
                open: None,
                facts: None,
                dirty: false,
                parked: false,
            };
            log.next_slot = log.next_slot.max(slot + 1);
            log.sessions.insert(sid, session);
            sids.insert(slot, sid);
        }
        let mut rows = conn.prepare("SELECT notes FROM sm_log ORDER BY seq")?;
        let mut rows = rows.query([])?;
        while let Some(row) = rows.next()? {
            let notes = row.get_ref(0)?.as_blob().unwrap_or_default();
            log.log_bytes += notes.len();
            log.replay(notes, &mut sids)?;
        }
        let mut rows = conn.prepare("SELECT sid FROM sm_parked")?;
        let mut rows = rows.query([])?;
        while let Some(row) = rows.next()? {
            if let Some(session) = log.sessions.get_mut(&row.get::<_, i64>(0)?.cast_unsigned()) {
                session.parked = true;
            }
        }
        Ok(log)
    }

    /// Takes over what was read anew after a failure; knowledge of failures stays.
    pub(in crate::store) fn replace(&mut self, fresh: SmLog) {
        let poisoned = std::mem::take(&mut self.poisoned);
        let next_slot = self.next_slot.max(fresh.next_slot);
        *self = SmLog { poisoned, next_slot, ..fresh };
    }

    pub(in crate::store) fn changes(&self) -> u64 {
        self.changes
    }

    pub(in crate::store) fn poison(&mut self, sid: u64) {
        self.poisoned.insert(sid);
    }

    pub(in crate::store) fn is_poisoned(&self, sid: u64) -> bool {
        self.poisoned.contains(&sid)
    }

    /// Takes a note into memory and into the current transaction's row. Notes about sessions that
    /// are not open say nothing.
    pub(in crate::store) fn note(&mut self, note: Note) {
        let sid = note.sid();
        self.changes += 1;
        match note {
            Note::Open(open) => {
                let slot = self.next_slot;
                self.next_slot += 1;
                self.poisoned.remove(&sid);
                write_open(&mut self.notes, slot, &open);
                self.sessions.insert(sid, Session::new(slot, open));
            }
            Note::Close { .. } => {
                self.poisoned.remove(&sid);
                if let Some(session) = self.sessions.remove(&sid) {
                    self.notes.push(Tag::Close as u8);
                    write_number(&mut self.notes, session.slot.into());
                    if session.open.is_none() {
                        self.closed.push(session.slot);
                    }
                }
            }
            note => {
                let Some(session) = self.sessions.get_mut(&sid) else { return };
                if session.apply(&note) {
                    write_note(&mut self.notes, session.slot, &note, &mut self.last_id);
                }
            }
        }
    }

    /// Ends all sessions of an account that is being removed.
    pub(in crate::store) fn close_account(
        tx: &mut Tx<'_>,
        account: AccountId,
    ) -> Result<(), StoreError> {
        let log = &tx.state.sm;
        let gone: Vec<u64> = log
            .sessions
            .iter()
            .filter(|(_, session)| session.account == account.0)
            .map(|(sid, _)| *sid)
            .collect();
        for sid in gone {
            let note = Note::Close { sid };
            tx.forget_parked(&note)?;
            tx.state.sm.note(note);
        }
        Ok(())
    }

    /// Writes the notes of the current transaction.
    pub(in crate::store) fn write(tx: &mut Tx<'_>) -> Result<(), StoreError> {
        if tx.state.sm.notes.is_empty() {
            return Ok(());
        }
        let notes = std::mem::take(&mut tx.state.sm.notes);
        tx.prepare_cached("INSERT INTO sm_log (notes) VALUES (?1)")?.execute([&notes])?;
        let log = &mut tx.state.sm;
        log.log_bytes += notes.len();
        log.notes = notes;
        log.notes.clear();
        log.last_id = 0;
        Ok(())
    }

    pub(in crate::store) fn wants_fold(&self) -> bool {
        self.log_bytes >= self.fold_at
    }

    /// Folding failed: not again before as much has been written.
    pub(in crate::store) fn postpone(&mut self) {
        self.fold_at = self.log_bytes + FOLD_BYTES;
    }

    /// Writes what changed to `sm_sessions` and empties the log.
    pub(in crate::store) fn fold(tx: &mut Tx<'_>) -> Result<(), StoreError> {
        SmLog::write(tx)?;
        tx.state.sm.changes += 1;
        for slot in std::mem::take(&mut tx.state.sm.closed) {
            tx.prepare_cached("DELETE FROM sm_sessions WHERE slot = ?1")?.execute([slot])?;
        }
        let mut sessions = std::mem::take(&mut tx.state.sm.sessions);
        let result = sessions
            .iter_mut()
            .filter(|(_, s)| s.dirty)
            .try_for_each(|(sid, s)| write_session(tx, *sid, s));
        tx.state.sm.sessions = sessions;
        result?;
        tx.execute("DELETE FROM sm_log", [])?;
        tx.state.sm.log_bytes = 0;
        tx.state.sm.fold_at = FOLD_BYTES;
        Ok(())
    }

    fn replay(&mut self, notes: &[u8], sids: &mut HashMap<u32, u64>) -> Result<(), StoreError> {
        let mut input = Input { bytes: notes, last_id: 0 };
        while !input.bytes.is_empty() {
            match input.note(sids)? {
                Read::Open(slot, open) => {
                    sids.insert(slot, open.sid);
                    self.next_slot = self.next_slot.max(slot + 1);
                    self.sessions.insert(open.sid, Session::new(slot, open));
                }
                Read::Close(slot) => {
                    let sid = sids.remove(&slot);
                    if let Some(session) = sid.and_then(|sid| self.sessions.remove(&sid))
                        && session.open.is_none()
                    {
                        self.closed.push(slot);
                    }
                }
                Read::Note(note) => {
                    if let Some(session) = self.sessions.get_mut(&note.sid()) {
                        session.apply(&note);
                    }
                }
                Read::Stale => {}
            }
        }
        Ok(())
    }
}

fn write_session(tx: &Tx<'_>, sid: u64, session: &mut Session) -> Result<(), StoreError> {
    let out = pack_out(session.out.iter().copied());
    match session.open.take() {
        Some(open) => {
            tx.prepare_cached(
                "INSERT INTO sm_sessions
                 (slot, sid, account, resource, token_hash, created, device, facts, h_in, acked, out)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)
                 ON CONFLICT (sid) DO UPDATE SET slot = excluded.slot, account = excluded.account,
                 resource = excluded.resource, token_hash = excluded.token_hash,
                 created = excluded.created, device = excluded.device, facts = excluded.facts,
                 h_in = excluded.h_in, acked = excluded.acked, out = excluded.out",
            )?
            .execute(params![
                session.slot,
                sid.cast_signed(),
                open.account.0,
                open.resource,
                open.token_hash,
                open.created.0,
                open.device,
                &open.facts[..],
                session.h_in,
                session.acked,
                out
            ])?;
        }
        None => {
            let facts = session.facts.take();
            tx.prepare_cached(
                "UPDATE sm_sessions SET h_in = ?2, acked = ?3, out = ?4, facts = coalesce(?5, facts)
                 WHERE slot = ?1",
            )?
            .execute(params![session.slot, session.h_in, session.acked, out, facts.as_deref()])?;
        }
    }
    session.dirty = false;
    Ok(())
}

impl Tx<'_> {
    pub(in crate::store) fn park(
        &mut self,
        sid: u64,
        parked: &SmParked,
        detached: Now,
    ) -> Result<(), StoreError> {
        let Some(session) = self.state.sm.sessions.get_mut(&sid) else { return Ok(()) };
        session.parked = true;
        let mut stanzas = Vec::new();
        for (number, stanza) in &parked.stanzas {
            write_number(&mut stanzas, (*number).into());
            write_bytes(&mut stanzas, stanza);
        }
        let (codec, body) = self.state.packer.pack(&stanzas);
        let body = [&[codec], body].concat();
        self.prepare_cached(
            "INSERT INTO sm_parked (sid, detached, sent, stanzas) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (sid) DO UPDATE SET detached = excluded.detached, sent = excluded.sent,
             stanzas = excluded.stanzas",
        )?
        .execute(params![sid.cast_signed(), detached.0, parked.sent, body])?;
        Ok(())
    }

    /// Deletes what was parked if the note says so. To be called before the note is taken.
    pub(in crate::store) fn forget_parked(&mut self, note: &Note) -> Result<(), StoreError> {
        if let Note::Unpark { sid } | Note::Close { sid } = note
            && self.state.sm.sessions.get(sid).is_some_and(|session| session.parked)
        {
            self.prepare_cached("DELETE FROM sm_parked WHERE sid = ?1")?
                .execute([sid.cast_signed()])?;
        }
        Ok(())
    }
}

/// All sessions, as rows. The log must have been folded.
pub(super) fn restore(conn: &Connection) -> Result<Vec<SmRestored>, StoreError> {
    let mut rows = conn.prepare(
        "SELECT sid, account, resource, token_hash, created, device, facts, h_in, acked, out,
         detached, sent, stanzas FROM sm_sessions LEFT JOIN sm_parked USING (sid) ORDER BY slot",
    )?;
    let mut rows = rows.query([])?;
    let mut unpacker = Unpacker::default();
    let mut restored = Vec::new();
    while let Some(row) = rows.next()? {
        let token_hash = row
            .get_ref(3)?
            .as_blob()
            .ok()
            .and_then(|hash| hash.try_into().ok())
            .ok_or_else(damaged)?;
        let open = SmOpen {
            sid: row.get::<_, i64>(0)?.cast_unsigned(),
            account: AccountId(row.get(1)?),
            resource: row.get(2)?,
            token_hash,
            created: Now(row.get(4)?),
            device: row.get(5)?,
            facts: Bytes::from(row.get::<_, Vec<u8>>(6)?),
        };
        let out = read_out(row.get_ref(9)?.as_blob().unwrap_or_default())?;
        let detached: Option<i64> = row.get(10)?;
        let mut parked = SmParked::default();
        if detached.is_some() {
            parked.sent = row.get(11)?;
            let (codec, body) = row
                .get_ref(12)?
                .as_blob()
                .ok()
                .and_then(|body| body.split_first())
                .ok_or_else(damaged)?;
            let stanzas = unpacker.unpack(*codec, body)?;
            let mut input = Input { bytes: &stanzas, last_id: 0 };
            while !input.bytes.is_empty() {
                parked.stanzas.push((input.u32()?, Bytes::copy_from_slice(input.bytes()?)));
            }
        }
        restored.push(SmRestored {
            open,
            h_in: row.get(7)?,
            acked: row.get(8)?,
            out: out.into_iter().map(|o| (o.number, MessageId(o.id), o.form)).collect(),
            parked,
            detached: detached.map(Now),
        });
    }
    Ok(restored)
}
