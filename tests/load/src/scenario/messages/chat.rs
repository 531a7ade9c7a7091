//! One user who chats: a future that reads, counts, and writes what is due.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::template::{Marks, Template};
use crate::clock;
use crate::error::{Error, Result};
use crate::histogram::Histogram;
use crate::session::Session;

/// Messages put into one write at most.
const BATCH_MAX: u64 = 64;
/// Reads in a row before the others get their turn.
const READS_MAX: usize = 16;
const READ_BYTES: usize = 32 * 1024;

/// What all users count together.
#[derive(Default)]
pub struct Tally {
    pub sent: Cell<u64>,
    pub delivered: Cell<u64>,
    /// Came back as errors.
    pub bounced: Cell<u64>,
    /// Messages sent or delivered before the measurement have no part in it, except that they are
    /// waited for.
    carried: Cell<i64>,
    /// Acknowledgements asked for and not come.
    pub unacknowledged: Cell<u64>,
    pub latency: RefCell<Histogram>,
    pub ack_latency: RefCell<Histogram>,
    /// Nobody sends anything new.
    pub stopped: Cell<bool>,
    /// Nobody waits for anything.
    pub finished: Cell<bool>,
    from: Cell<u64>,
}

impl Tally {
    /// Forgets what was counted so far: the measurement starts, at `from`.
    pub fn start(&self, from: u64) {
        self.carried.set(self.under_way());
        self.sent.set(0);
        self.delivered.set(0);
        self.bounced.set(0);
        self.latency.take();
        self.ack_latency.take();
        self.from.set(from);
    }

    /// Messages sent, neither delivered nor bounced.
    pub fn under_way(&self) -> i64 {
        let settled = self.delivered.get() + self.bounced.get();
        self.carried.get() + self.sent.get() as i64 - settled as i64
    }

    pub fn is_quiet(&self) -> bool {
        self.under_way() <= 0 && self.unacknowledged.get() == 0
    }

    fn record(&self, histogram: &RefCell<Histogram>, since: u64) {
        if since >= self.from.get() {
            histogram.borrow_mut().record(clock::micros().saturating_sub(since));
        }
    }
}

fn add(cell: &Cell<u64>, count: u64) {
    cell.set(cell.get() + count);
}

/// Where a user is told what to send.
#[derive(Default)]
pub struct Desk {
    /// Messages that may be sent now.
    credit: Cell<u64>,
    /// Times at which messages are due, oldest first.
    due: RefCell<VecDeque<u64>>,
    waker: RefCell<Option<Waker>>,
}

impl Desk {
    /// Allows `count` more messages.
    pub fn credit(&self, count: u64) {
        add(&self.credit, count);
        self.wake();
    }

    /// Says that a message is due at `due`.
    pub fn schedule(&self, due: u64) {
        self.due.borrow_mut().push_back(due);
        self.wake();
    }

    pub fn wake(&self) {
        if let Some(waker) = self.waker.borrow().as_ref() {
            waker.wake_by_ref();
        }
    }
}

/// What decides when the next message is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// The delivery of an earlier one.
    Window,
    /// The clock.
    Schedule,
}

/// A user's session in use. Resolves when the run has finished, or with what broke the session.
pub struct Chat {
    session: Session,
    template: Template,
    pace: Pace,
    /// 0: no acknowledgements.
    ack_every: u64,
    own: Rc<Desk>,
    partner: Rc<Desk>,
    tally: Rc<Tally>,
    marks: Marks,
    /// Bytes not yet written, from `written` on.
    out: Vec<u8>,
    written: usize,
    unflushed: bool,
    /// Stanzas received since stream management was enabled, modulo 2^32.
    handled: u32,
    answer_due: bool,
    ended: bool,
    sent: u64,
    last_asked: u64,
    /// For every `<r/>` under way: messages sent before it and when.
    asked: VecDeque<(u64, u64)>,
    scratch: Box<[u8]>,
}

impl Chat {
    /// `desks` are the user's own and the partner's.
    pub fn new(
        session: Session,
        template: Template,
        pace: Pace,
        ack_every: u64,
        desks: (Rc<Desk>, Rc<Desk>),
        tally: Rc<Tally>,
    ) -> Chat {
        Chat {
            session,
            template,
            pace,
            ack_every,
            own: desks.0,
            partner: desks.1,
            tally,
            marks: Marks::default(),
            out: Vec::new(),
            written: 0,
            unflushed: false,
            // The reflection of the initial presence has been read already.
            handled: 1,
            answer_due: false,
            ended: false,
            // That presence was a stanza too.
            sent: 1,
            last_asked: 0,
            asked: VecDeque::new(),
            scratch: vec![0; READ_BYTES].into(),
        }
    }

    /// Reads what is there; `Ready` means that more may be.
    fn poll_read(&mut self, context: &mut Context<'_>) -> Poll<Result<()>> {
        for _ in 0..READS_MAX {
            let mut space = ReadBuf::new(&mut self.scratch);
            ready!(Pin::new(&mut self.session.io).poll_read(context, &mut space))?;
            let len = space.filled().len();
            if len == 0 {
                return Poll::Ready(Err(Error::Closed("messages")));
            }
            self.session.reader.push(&self.scratch[..len]);
            let (mut delivered, mut bounced) = (0, 0);
            while let Some(element) = self.session.reader.next()? {
                match element {
                    [b'<', b'm', ..] => {
                        self.handled = self.handled.wrapping_add(1);
                        let Some(due) = self.marks.due(element) else { continue };
                        if is_error(element) {
                            bounced += 1;
                        } else {
                            delivered += 1;
                            self.tally.record(&self.tally.latency, due);
                        }
                    }
                    [b'<', b'a', b' ', ..] => {
                        let Some(h) = attribute_h(element) else { continue };
                        while self.asked.front().is_some_and(|(sent, _)| *sent as u32 <= h) {
                            let (_, since) = self.asked.pop_front().expect("looked at");
                            self.tally.record(&self.tally.ack_latency, since);
                            self.tally.unacknowledged.set(self.tally.unacknowledged.get() - 1);
                        }
                    }
                    [b'<', b'r', b' ' | b'/', ..] => self.answer_due = true,
                    [b'<', b'i' | b'p', ..] => self.handled = self.handled.wrapping_add(1),
                    other => return Poll::Ready(Err(Error::unexpected("a stanza", other))),
                }
            }
            add(&self.tally.delivered, delivered);
            add(&self.tally.bounced, bounced);
            if self.pace == Pace::Window && !self.tally.stopped.get() {
                if delivered > 0 {
                    self.partner.credit(delivered);
                }
                add(&self.own.credit, bounced);
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Ends the stream properly, or the server would keep the session to be resumed.
    fn say_good_bye(&mut self) {
        if std::mem::replace(&mut self.ended, true) {
            return;
        }
        if self.ack_every > 0 {
            self.acknowledge();
        }
        self.out.extend_from_slice(b"</stream:stream>");
    }

    /// Tells the server what has arrived.
    fn acknowledge(&mut self) {
        let answer = format!("<a xmlns='urn:xmpp:sm:3' h='{}'/>", self.handled);
        self.out.extend_from_slice(answer.as_bytes());
    }

    /// Puts what is to be said now into the buffer.
    fn fill(&mut self) {
        self.out.clear();
        self.written = 0;
        if self.ended {
            return;
        }
        let mut count = 0;
        while count < BATCH_MAX {
            let due = match self.pace {
                _ if self.tally.stopped.get() => None,
                Pace::Schedule => self.own.due.borrow_mut().pop_front(),
                Pace::Window => self.own.credit.get().checked_sub(1).map(|rest| {
                    self.own.credit.set(rest);
                    clock::micros()
                }),
            };
            let Some(due) = due else { break };
            self.template.write(due, &mut self.out);
            count += 1;
        }
        self.sent += count;
        add(&self.tally.sent, count);
        let pending = self.sent - self.last_asked;
        let rest = self.tally.stopped.get() && pending > 0;
        if self.ack_every > 0 && (pending >= self.ack_every || rest) {
            self.out.extend_from_slice(b"<r xmlns='urn:xmpp:sm:3'/>");
            self.last_asked = self.sent;
            self.asked.push_back((self.sent, clock::micros()));
            add(&self.tally.unacknowledged, 1);
        }
        if std::mem::take(&mut self.answer_due) {
            self.acknowledge();
        }
    }

    /// Writes until there is nothing to say.
    fn poll_write(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            if self.written == self.out.len() {
                self.fill();
            }
            if self.written < self.out.len() {
                let rest = &self.out[self.written..];
                self.written += ready!(Pin::new(&mut self.session.io).poll_write(context, rest))?;
                self.unflushed = true;
            } else if self.unflushed {
                ready!(Pin::new(&mut self.session.io).poll_flush(context))?;
                self.unflushed = false;
            } else {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl Future for Chat {
    type Output = Result<()>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        if self.tally.finished.get() {
            self.say_good_bye();
            ready!(self.poll_write(context))?;
            return Poll::Ready(Ok(()));
        }
        let fresh =
            self.own.waker.borrow().as_ref().is_none_or(|waker| !waker.will_wake(context.waker()));
        if fresh {
            self.own.waker.replace(Some(context.waker().clone()));
        }
        if let Poll::Ready(outcome) = self.poll_read(context) {
            outcome?;
            context.waker().wake_by_ref();
        }
        if let Poll::Ready(Err(error)) = self.poll_write(context) {
            return Poll::Ready(Err(error.into()));
        }
        Poll::Pending
    }
}

/// Whether the start tag says `type='error'`.
fn is_error(element: &[u8]) -> bool {
    let tag = element.split(|byte| *byte == b'>').next().unwrap_or(element);
    [&b"type='error'"[..], b"type=\"error\""]
        .iter()
        .any(|text| memchr::memmem::find(tag, text).is_some())
}

/// The number in `<a h='…'/>`.
fn attribute_h(element: &[u8]) -> Option<u32> {
    let start = memchr::memmem::find(element, b" h=")? + b" h='".len();
    let len = element[start..].iter().position(|byte| !byte.is_ascii_digit())?;
    std::str::from_utf8(&element[start..start + len]).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_readers_of_start_tags() {
        assert_eq!(attribute_h(b"<a xmlns='urn:xmpp:sm:3' h='17'/>"), Some(17));
        assert_eq!(attribute_h(b"<a h=\"4\" xmlns=\"urn:xmpp:sm:3\"/>"), Some(4));
        assert_eq!(attribute_h(b"<a xmlns='urn:xmpp:sm:3'/>"), None);
        assert!(is_error(b"<message type='error'><body/></message>"));
        assert!(!is_error(b"<message type='chat'><body>type='error'</body></message>"));
    }
}
