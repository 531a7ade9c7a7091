//! XEP-0198 sessions that outlive a crash: what was received, what was sent and not acknowledged.
//!
//! Everything is a note in an append-only log that is written with the commit it belongs to; now
//! and then the log is folded into one row per session.
//!
//! What is promised after `kill -9` or a power cut:
//! * `h` of [`Store::sm_mark`] is never told to a client before it is on disk (hard) or in the
//!   kernel's hands (soft). It counts a message only together with the message's own row.
//! * A message row with [`MessageRow::deliveries`](super::MessageRow::deliveries) is found again
//!   by its sessions until the client's acknowledgement was noted.
//! * At most [`OUT_MAX`] deliveries per session are kept; the oldest go first (they stay in the
//!   archive). Stanzas that are in no archive survive only by [`Store::sm_park`].
//! * Numbers ([`Store::sm_out`]) and acknowledgements ([`Store::sm_acked`]) are lazy: a crash may
//!   forget the last 200 ms of them, which repeats a message with the same stanza-id.

pub(super) mod log;
mod notes;

use bytes::Bytes;

use super::writer::Job;
use super::{AccountId, Busy, Done, MessageId, Store, StoreError};
use crate::time::Now;
use log::{Note, SmLog};

/// Deliveries kept per session that the client has not acknowledged.
pub const OUT_MAX: usize = 256;

/// What is to be known of a session to resume it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SmOpen {
    /// The session, unique for all time (random).
    pub sid: u64,
    pub account: AccountId,
    pub resource: String,
    /// SHA-256 of the resumption token; the token itself is the client's secret.
    pub token_hash: [u8; 32],
    pub created: Now,
    /// From `devices`, when the client named itself.
    pub device: Option<i64>,
    /// What else the stream layer wants back (carbons on, client state …); opaque here.
    pub facts: Bytes,
}

/// `h` of the session `sid` rises to this with the row that carries it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SmReceived {
    pub sid: u64,
    pub h: u32,
}

/// A stored message on its way to a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SmDelivery {
    pub sid: u64,
    /// Its number among the stanzas sent to the session, where it is known already.
    pub number: Option<u32>,
    pub form: CopyForm,
}

/// In which dress a stored message goes to a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum CopyForm {
    Plain = 0,
    /// XEP-0280 `<sent/>`.
    CarbonSent = 1,
    /// XEP-0280 `<received/>`.
    CarbonReceived = 2,
}

/// Unacknowledged stanzas that no archive holds, with their numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SmParked {
    pub stanzas: Vec<(u32, Bytes)>,
    /// The number of the last stanza sent, whatever it was.
    pub sent: u32,
}

/// A session as the last process left it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SmRestored {
    pub open: SmOpen,
    /// Stanzas received and taken care of.
    pub h_in: u32,
    /// The highest `h` the client is known to have acknowledged.
    pub acked: u32,
    /// Deliveries not known to be acknowledged, in order of sending; without a number if the
    /// process died between storing and sending.
    pub out: Vec<(Option<u32>, MessageId, CopyForm)>,
    pub parked: SmParked,
    /// `None` when the process died with the client connected.
    pub detached: Option<Now>,
}

impl Store {
    /// Notes a new resumable session. `done` hears when it is safe to tell the client (soft).
    pub fn sm_open(&self, open: SmOpen, done: Option<Done>) -> Result<(), Busy> {
        self.queue_job(Job::Open(Box::new(open), done))
    }

    /// Replaces [`SmOpen::facts`]. Lazy.
    pub fn sm_facts(&self, sid: u64, facts: Bytes) -> Result<(), Busy> {
        self.queue_job(Job::Note(Note::Facts { sid, facts }))
    }

    /// `h` stanzas of the session have been received and left nothing to store. Lazy; for those
    /// that did, [`MessageRow::received`](super::MessageRow::received) rides with the row.
    pub fn sm_in(&self, sid: u64, h: u32) -> Result<(), Busy> {
        self.queue_job(Job::Note(Note::In { sid, h }))
    }

    /// The stored message `id` was sent to the session as its stanza `number`. Lazy.
    pub fn sm_out(&self, sid: u64, number: u32, id: MessageId, form: CopyForm) -> Result<(), Busy> {
        self.queue_job(Job::Note(Note::Out { sid, number: Some(number), id: id.0, form }))
    }

    /// The client acknowledged everything up to `h`. Lazy.
    pub fn sm_acked(&self, sid: u64, h: u32) -> Result<(), Busy> {
        self.queue_job(Job::Note(Note::Acked { sid, h }))
    }

    /// After a resumption: the client has everything up to `h`, and these are what goes out after
    /// it, under these numbers. Replaces all that was noted of deliveries. Lazy.
    pub fn sm_renumber(
        &self,
        sid: u64,
        h: u32,
        out: Vec<(u32, MessageId, CopyForm)>,
    ) -> Result<(), Busy> {
        self.queue_job(Job::Note(Note::Renumber { sid, h, out }))
    }

    /// Calls `done` when `h` of the session, and everything queued before, is on disk; with an
    /// error if any row of this session's was lost since it opened: then end the stream.
    /// `soft`: nothing of what `h` counts was worth a flush of the disk.
    pub fn sm_mark(&self, sid: u64, h: u32, soft: bool, done: Done) -> Result<(), Busy> {
        self.queue_job(Job::Mark { sid, h, soft, done })
    }

    /// The connection is gone: keeps what no archive holds until the session resumes or ends.
    pub fn sm_park(
        &self,
        sid: u64,
        parked: SmParked,
        detached: Now,
        done: Option<Done>,
    ) -> Result<(), Busy> {
        self.queue_job(Job::Park { sid, parked: Box::new(parked), detached, done })
    }

    /// The session was resumed: what was parked is in memory again. Lazy.
    pub fn sm_unpark(&self, sid: u64) -> Result<(), Busy> {
        self.queue_job(Job::Note(Note::Unpark { sid }))
    }

    /// The session ended; nothing of it is kept. Lazy.
    pub fn sm_close(&self, sid: u64) -> Result<(), Busy> {
        self.queue_job(Job::Note(Note::Close { sid }))
    }

    /// The sessions the last process left behind. Once, at start, before any of the above.
    pub async fn sm_restore_all(&self) -> Result<Vec<SmRestored>, StoreError> {
        self.write(|tx| {
            SmLog::fold(tx)?;
            log::restore(tx)
        })
        .await
    }
}

#[cfg(test)]
pub(super) mod tests;
