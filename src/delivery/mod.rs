//! The two ordered pipelines: [`outbound`] for what a local session sends, [`inbound`] for what a
//! local account receives. Each is one function that calls the features' stages by name, top to
//! bottom; that order *is* the specification. [`route`] stands between them and drains what the
//! features pushed into their outbox.

pub mod accounts;
pub mod contacts;
pub mod groups;
pub mod inbound;
pub mod iq;
pub mod outbound;
pub mod presence;
pub mod route;

use std::sync::Arc;

use smallvec::SmallVec;

use crate::router::{Item, Session};
use crate::stanza::Stanza;
use crate::store::{CopyForm, MessageId, SmDelivery, SmReceived};

/// Where a message lies for the account whose session gets it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kept {
    Nowhere,
    Archive,
    /// Until the session acknowledges it.
    OfflineStore,
}

impl Kept {
    fn archived(archived: bool) -> Kept {
        if archived { Kept::Archive } else { Kept::Nowhere }
    }
}

/// A message on its way, with what the sender's side decided about it.
pub struct Envelope {
    pub stanza: Stanza,
    /// The id under which archives and offline stores will know it, if any keeps it.
    pub id: MessageId,
    /// It goes into the sender's archive.
    pub for_sender: bool,
    /// It is worth archiving at all (`features::archive::wants`).
    pub archivable: bool,
    /// The sender's `h` counts this message in the very transaction that stores it: after a crash
    /// the client sends it again if, and only if, it was not stored.
    received: Option<SmReceived>,
    /// The resumable sessions that find it again after a crash.
    deliveries: SmallVec<[SmDelivery; 2]>,
}

impl Envelope {
    /// A message that no local sender archives.
    pub fn new(stanza: Stanza, id: MessageId, archivable: bool) -> Envelope {
        Envelope {
            stanza,
            id,
            for_sender: false,
            archivable,
            received: None,
            deliveries: SmallVec::new(),
        }
    }

    /// The message is the next one that `sender` will have handled.
    fn note_receipt(&mut self, sender: &Session) {
        if let Some(sm) = sender.sm.lock().as_ref().filter(|sm| sm.resumable) {
            let h = sm.handled().wrapping_add(1);
            self.received = Some(SmReceived { sid: sender.id, h });
        }
    }

    /// Puts `stanza`, which is this message or a copy of it, into the mailbox of `session`, whose
    /// account has it in `kept`. False when the mailbox is full.
    fn deliver(
        &mut self,
        session: &Arc<Session>,
        stanza: Arc<Stanza>,
        kept: Kept,
        form: CopyForm,
    ) -> bool {
        let stored = (kept != Kept::Nowhere && form == CopyForm::Plain).then_some(self.id);
        let offline = kept == Kept::OfflineStore;
        match session.deliver(Item { stanza, stored, offline }) {
            Ok(Some(number)) if kept != Kept::Nowhere && session.is_resumable() => {
                let number = Some(number);
                self.deliveries.push(SmDelivery { sid: session.id, number, form });
                true
            }
            Ok(_) => true,
            Err(_) => {
                session.overflow();
                false
            }
        }
    }
}
