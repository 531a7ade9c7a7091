//! XEP-0198: Stream Management (1.6.3). The counters and the queue of what the client has not
//! acknowledged; sans-IO. When `h` may be told, and what of this is on disk, is decided in `c2s`.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;

use crate::router::Item;
use crate::stanza::Stanza;
use crate::store::{CopyForm, MessageId};

/// Stream management of one session, from `<enable/>` on. Counters wrap at 2³² as §4 demands.
pub struct Sm {
    /// May the session be resumed on another connection?
    pub resumable: bool,
    /// How long it waits for that, in seconds.
    pub resume_secs: u32,
    /// Stanzas from the client whose effects have been handed to the store.
    handled: u32,
    /// Number of the last stanza sent to the client.
    sent: u32,
    /// Sent and not acknowledged, oldest first. The newest has the number `sent`.
    unacked: VecDeque<Item>,
    unacked_bytes: usize,
    /// An `<r/>` of ours waits for its answer.
    asked: bool,
    /// SHA-256 of the resumption token.
    pub token_hash: Option<[u8; 32]>,
    /// What the last process left, until the client comes back for it.
    restored: Vec<(u32, Left)>,
    from_disk: bool,
}

/// A stanza in the queue of a session that came back from disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Left {
    /// In an archive or the offline store.
    Stored(MessageId, CopyForm),
    /// Kept whole, since no archive holds it.
    Whole(Bytes),
}

/// The client acknowledged more than it was sent (§6); the stream ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooHigh {
    pub h: u32,
    pub sent: u32,
}

impl Sm {
    pub fn new(resumable: bool, resume_secs: u32) -> Sm {
        Sm {
            resumable,
            resume_secs,
            handled: 0,
            sent: 0,
            unacked: VecDeque::new(),
            unacked_bytes: 0,
            asked: false,
            token_hash: None,
            restored: Vec::new(),
            from_disk: false,
        }
    }

    /// A session read back from disk: the counters, and what may still be unknown to the client
    /// with the number each stanza was sent under, in order.
    ///
    /// Numbers may have gaps where stanzas were not worth storing; the client's `h` in `<resume/>`
    /// closes them.
    pub fn restored(resume_secs: u32, handled: u32, sent: u32, left: Vec<(u32, Left)>) -> Sm {
        Sm { handled, sent, restored: left, from_disk: true, ..Sm::new(true, resume_secs) }
    }

    /// A stanza of the client has been dealt with: what it changes has been handed to the store.
    pub fn handle(&mut self) {
        self.handled = self.handled.wrapping_add(1);
    }

    /// The `h` for the client once the store has committed all that was handed to it so far.
    pub fn handled(&self) -> u32 {
        self.handled
    }

    pub fn sent(&self) -> u32 {
        self.sent
    }

    /// Notes that `item` goes to the client now; returns its number.
    pub fn send(&mut self, item: Item) -> u32 {
        self.sent = self.sent.wrapping_add(1);
        self.unacked_bytes += item.stanza.wire_len();
        self.unacked.push_back(item);
        self.sent
    }

    /// Should `<r/>` follow what was just written? One question is open at a time.
    pub fn ask(&mut self) -> bool {
        let ask = !self.asked && !self.unacked.is_empty();
        self.asked |= ask;
        ask
    }

    /// `<a h='…'/>`. Returns the stanzas it took off the queue.
    pub fn acknowledge(&mut self, h: u32) -> Result<Vec<Item>, TooHigh> {
        self.asked = false;
        let first = self.sent.wrapping_sub(self.unacked.len() as u32);
        let newly = h.wrapping_sub(first);
        if newly == 0 {
            return Ok(Vec::new());
        }
        if newly as usize > self.unacked.len() {
            // An `h` below what was acknowledged before says nothing new and does no harm.
            let behind = first.wrapping_sub(h);
            return if behind < u32::MAX / 2 {
                Ok(Vec::new())
            } else {
                Err(TooHigh { h, sent: self.sent })
            };
        }
        let taken: Vec<Item> = self.unacked.drain(..newly as usize).collect();
        self.unacked_bytes -= taken.iter().map(|i| i.stanza.wire_len()).sum::<usize>();
        if self.unacked.is_empty() {
            self.unacked = VecDeque::new();
        }
        Ok(taken)
    }

    /// `<resume h='…'/>`: takes off what arrived and hands out what must be sent again. Numbering
    /// goes on from `h`.
    pub fn resume(&mut self, h: u32) -> Result<Vec<Item>, TooHigh> {
        self.acknowledge(h)?;
        let again: Vec<Item> = self.take_unacked().into();
        self.sent = h;
        self.asked = false;
        Ok(again)
    }

    /// Did it come back from disk, and has not been resumed since?
    pub fn is_restored(&self) -> bool {
        self.from_disk
    }

    /// What the last process left, oldest first; empty unless [`Sm::restored`], and only once.
    pub fn take_left(&mut self) -> Vec<(u32, Left)> {
        std::mem::take(&mut self.restored)
    }

    /// `<resume h='…'/>` of a session that came back from disk: of what was `left`, hands back what
    /// the client has not had. Numbering goes on from `h`, which may lie above all numbers we know
    /// of: stanzas that were not stored may have been sent after them.
    pub fn resume_left(&mut self, h: u32) -> Vec<Left> {
        self.sent = h;
        self.from_disk = false;
        let after = |n: u32| n.wrapping_sub(h).wrapping_sub(1) < u32::MAX / 2;
        self.take_left().into_iter().filter(|(n, _)| after(*n)).map(|(_, left)| left).collect()
    }

    /// What the client never acknowledged, oldest first, to be stored or delivered elsewhere.
    pub fn take_unacked(&mut self) -> VecDeque<Item> {
        self.unacked_bytes = 0;
        std::mem::take(&mut self.unacked)
    }

    /// The queue with the numbers of its stanzas.
    pub fn unacked(&self) -> impl Iterator<Item = (u32, &Arc<Stanza>, Option<MessageId>)> {
        let first = self.sent.wrapping_sub(self.unacked.len() as u32);
        self.unacked.iter().enumerate().map(move |(at, item)| {
            (first.wrapping_add(at as u32).wrapping_add(1), &item.stanza, item.stored)
        })
    }

    pub fn unacked_bytes(&self) -> usize {
        self.unacked_bytes
    }

    pub fn unacked_count(&self) -> usize {
        self.unacked.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(id: &str) -> Item {
        let xml = format!("<message id='{id}'><body>hi</body></message>");
        Item {
            stanza: Arc::new(Stanza::parse(xml.as_bytes()).unwrap()),
            stored: None,
            offline: false,
        }
    }

    fn acknowledge(sm: &mut Sm, h: u32) -> Result<usize, TooHigh> {
        sm.acknowledge(h).map(|taken| taken.len())
    }

    fn ids(items: &[Item]) -> Vec<&str> {
        items.iter().filter_map(|i| i.stanza.head.id.as_deref()).collect()
    }

    #[test]
    fn acknowledged_stanzas_leave_the_queue() {
        let mut sm = Sm::new(true, 300);
        assert_eq!((sm.send(item("a")), sm.send(item("b")), sm.send(item("c"))), (1, 2, 3));
        assert_eq!(acknowledge(&mut sm, 2), Ok(2));
        assert_eq!(sm.unacked_count(), 1);
        assert_eq!(acknowledge(&mut sm, 2), Ok(0), "the same again");
        assert_eq!(acknowledge(&mut sm, 1), Ok(0), "an old answer that came late");
        assert_eq!(acknowledge(&mut sm, 4), Err(TooHigh { h: 4, sent: 3 }));
    }

    #[test]
    fn one_question_is_open_at_a_time() {
        let mut sm = Sm::new(false, 0);
        assert!(!sm.ask(), "nothing to ask about");
        sm.send(item("a"));
        assert!(sm.ask());
        sm.send(item("b"));
        assert!(!sm.ask());
        sm.acknowledge(1).unwrap();
        assert!(sm.ask());
    }

    #[test]
    fn counters_wrap() {
        let mut sm = Sm::restored(300, u32::MAX, u32::MAX, Vec::new());
        sm.handle();
        assert_eq!(sm.handled(), 0);
        assert_eq!(sm.send(item("a")), 0);
        assert_eq!(sm.send(item("b")), 1);
        assert_eq!(acknowledge(&mut sm, 0), Ok(1));
        assert_eq!(acknowledge(&mut sm, 1), Ok(1));
        assert_eq!(sm.unacked_bytes(), 0);
    }

    #[test]
    fn resumption_sends_again_what_was_missed() {
        let mut sm = Sm::new(true, 300);
        for id in ["a", "b", "c"] {
            sm.send(item(id));
        }
        let again = sm.resume(1).unwrap();
        assert_eq!(ids(&again), ["b", "c"]);
        let numbers: Vec<u32> = again.into_iter().map(|i| sm.send(i)).collect();
        assert_eq!(numbers, [2, 3], "numbers go on from the client's h");
    }

    #[test]
    fn a_restored_session_forgets_what_was_not_stored_and_repeats_nothing() {
        let left = |n: i64| Left::Stored(MessageId(n), CopyForm::Plain);
        let numbered = || vec![(2, left(20)), (4, left(40))];
        // 5 stanzas were sent; 2 and 4 were in the archive; the client had three of them.
        let mut sm = Sm::restored(300, 7, 4, numbered());
        assert_eq!(sm.resume_left(3), [left(40)]);
        assert_eq!(sm.sent(), 3);

        // The client had all five: more than we know of.
        let mut sm = Sm::restored(300, 7, 4, numbered());
        assert_eq!(sm.resume_left(5), []);
        assert_eq!(sm.sent(), 5);
    }
}
