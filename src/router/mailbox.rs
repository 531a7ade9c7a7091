//! The queue in front of one receiver: first in, first out, bounded in bytes, one wake-up however many arrive.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};

use crate::stanza::Stanza;
use crate::store::MessageId;
use crate::xml::stream_error::StreamError;

/// What lies in a mailbox.
#[derive(Clone)]
pub struct Item {
    pub stanza: Arc<Stanza>,
    /// The row of the archive or offline store that holds this stanza, if any: what lies there
    /// need not be stored again when the receiver goes away.
    pub stored: Option<MessageId>,
    /// It came out of the offline store, and leaves it once the client has it.
    pub offline: bool,
}

/// What the server wants of the task that drains a mailbox.
pub enum Control {
    /// XEP-0198: everything up to this `h` is on disk; tell the client.
    Ack(u32),
    /// The writer could not store what the client sent: its stanzas are not acknowledged.
    AckFailed,
    /// End the stream with this error, and the session with it.
    Close(StreamError),
    /// Another connection resumes this session: say so here, and leave it alone (XEP-0198 §5).
    Superseded(oneshot::Sender<()>),
    /// The server stops. Resumable sessions are written down.
    Stop,
    /// Is the peer still there? Ask it, or give up on it.
    Tick,
}

/// A bounded queue of stanzas and controls. Push from anywhere; one task drains.
pub struct Mailbox {
    queue: Mutex<Queue>,
    wake: Notify,
}

#[derive(Default)]
struct Queue {
    items: VecDeque<Item>,
    controls: Vec<Control>,
    bytes: usize,
    bytes_max: usize,
    /// How many stanzas were ever pushed, wrapping.
    pushed: u32,
    /// Nobody drains this any more.
    closed: bool,
}

/// The mailbox holds as many bytes as it may, or takes nothing any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

impl Mailbox {
    /// A mailbox that refuses a stanza once `bytes_max` bytes wait in it.
    pub fn new(bytes_max: usize) -> Mailbox {
        Mailbox { queue: Mutex::new(Queue { bytes_max, ..Queue::default() }), wake: Notify::new() }
    }

    /// Queues `item` and returns its ordinal: how many stanzas were ever pushed, this one
    /// included. All that is pushed is sent in this order, so from the ordinal follows the number
    /// that stream management will give the stanza.
    pub fn push(&self, item: Item) -> Result<u32, Full> {
        let mut queue = self.queue.lock();
        if queue.closed || queue.bytes >= queue.bytes_max {
            return Err(Full);
        }
        queue.pushed = queue.pushed.wrapping_add(1);
        let ordinal = queue.pushed;
        queue.bytes += item.stanza.wire_len();
        queue.items.push_back(item);
        let first = queue.items.len() == 1;
        drop(queue);
        if first {
            self.wake.notify_one();
        }
        Ok(ordinal)
    }

    /// Takes what waits and begins to count at `ordinal`, at once: for `<enable/>`, where numbering
    /// starts, and for sessions that came back from disk, where it goes on.
    pub fn renumber(&self, ordinal: u32) -> VecDeque<Item> {
        let mut queue = self.queue.lock();
        queue.bytes = 0;
        queue.pushed = ordinal;
        std::mem::take(&mut queue.items)
    }

    /// Controls are few and never refused; they are seen before the stanzas that wait.
    pub fn control(&self, control: Control) {
        self.queue.lock().controls.push(control);
        self.wake.notify_one();
    }

    /// Waits until something lies here. May wake once too often, never too seldom.
    pub async fn ready(&self) {
        self.wake.notified().await;
    }

    /// Takes all that waits; an empty mailbox owns no memory.
    pub fn take(&self) -> (VecDeque<Item>, Vec<Control>) {
        let mut queue = self.queue.lock();
        queue.bytes = 0;
        (std::mem::take(&mut queue.items), std::mem::take(&mut queue.controls))
    }

    /// Puts `again` before all that waits and numbers the whole from `h` on: for resumption.
    /// What waited before stays, bounded or not: it was admitted once.
    pub fn requeue(&self, h: u32, again: Vec<Item>) {
        let mut queue = self.queue.lock();
        for item in again.into_iter().rev() {
            queue.bytes += item.stanza.wire_len();
            queue.items.push_front(item);
        }
        // At most u32::MAX stanzas fit into a mailbox's bytes by far.
        queue.pushed = h.wrapping_add(queue.items.len() as u32);
        drop(queue);
        self.wake.notify_one();
    }

    /// Takes all that waits, for the last time: what comes later is refused, so that whoever sends
    /// it finds another way.
    pub fn close(&self) -> VecDeque<Item> {
        let mut queue = self.queue.lock();
        queue.closed = true;
        queue.bytes = 0;
        std::mem::take(&mut queue.items)
    }

    /// Takes only the controls; the stanzas go on waiting.
    pub fn take_controls(&self) -> Vec<Control> {
        std::mem::take(&mut self.queue.lock().controls)
    }

    /// What waits, without taking it.
    pub fn snapshot(&self) -> Vec<Item> {
        self.queue.lock().items.iter().cloned().collect()
    }

    pub fn bytes(&self) -> usize {
        self.queue.lock().bytes
    }

    /// Is it time to be sparing with what can be said later?
    pub fn is_half_full(&self) -> bool {
        let queue = self.queue.lock();
        queue.bytes * 2 >= queue.bytes_max
    }

    pub fn len(&self) -> usize {
        self.queue.lock().items.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
