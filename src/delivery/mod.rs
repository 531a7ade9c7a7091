//! The two ordered pipelines: [`outbound`] for what a local session sends, [`inbound`] for what a
//! local account receives. Each is one function that calls the features' stages by name, top to
//! bottom; that order *is* the specification. [`route`] stands between them and drains what the
//! features pushed into their outbox.

pub mod inbound;
pub mod iq;
pub mod outbound;
pub mod presence;
pub mod route;

use std::sync::Arc;

use smallvec::SmallVec;

use crate::router::Session;
use crate::stanza::Stanza;
use crate::store::{MessageId, SmNote};

/// A message on its way, with what the sender's side decided about it.
pub struct Envelope {
    pub stanza: Stanza,
    /// The id under which archives and offline stores will know it, if any keeps it.
    pub id: MessageId,
    /// It goes into the sender's archive.
    pub for_sender: bool,
    /// It is worth archiving at all (`features::archive::wants`).
    pub archivable: bool,
    /// What the resumable sessions it touches need to know after a crash; committed with it.
    notes: SmallVec<[SmNote; 2]>,
}

impl Envelope {
    /// A message that no local sender archives.
    pub fn new(stanza: Stanza, id: MessageId, archivable: bool) -> Envelope {
        Envelope { stanza, id, for_sender: false, archivable, notes: SmallVec::new() }
    }

    /// The sender's `h` counts this message in the very transaction that stores it: after a crash
    /// the client sends it again if, and only if, it was not stored.
    fn note_receipt(&mut self, sender: &Session) {
        if let Some(sm) = sender.sm.lock().as_ref().filter(|sm| sm.resumable) {
            self.notes.push(SmNote::In { session: sender.id, h: sm.handled().wrapping_add(1) });
        }
    }

    /// A stored message lies in the queue of a resumable session under this ordinal.
    fn note_delivery(&mut self, to: &Arc<Session>, stored: Option<MessageId>, ordinal: Option<u32>) {
        let (Some(_), Some(number)) = (stored, ordinal) else { return };
        if to.sm.lock().as_ref().is_some_and(|sm| sm.resumable) {
            self.notes.push(SmNote::Out { session: to.id, number });
        }
    }
}
