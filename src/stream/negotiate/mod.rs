//! From the first header of a client's stream to a session: TLS, SASL, SASL2, tokens, binding and
//! resumption. Sans-IO: the shell feeds [`Input`]s and does what the [`Output`]s say.
//!
//! Implemented: RFC 6120 §4–§7, XEP-0198 (1.6.3, resumption, and enabling within Bind 2),
//! XEP-0077 (2.4) and XEP-0445 (0.2.0) before sign-in, XEP-0386 (1.1.0), XEP-0388 (1.0.4), XEP-0440 (1.0.0), XEP-0474 (0.5.0), XEP-0478 (0.2.0),
//! XEP-0480 (0.2.0), XEP-0484 (0.2.0, without TLS early data, which is not offered).
//!
//! ## States
//! ```text
//!               ┌─ TlsUp ── Handshake ◄─ <starttls/> ─┐
//!               ▼                                     │
//! TlsUp ──► AwaitHeader ── header ──────────────► Ready ◄─ failure ─┐
//!               ▲                <auth/>, <authenticate/> │          │
//!               │                                         ▼          │
//!               └─────── success (SASL1) ──────────── Exchange ──────┘
//!                                                         │ proved
//!                    Unbound ◄── success (SASL2) ◄──── Login: token, tasks, resume, bind
//!       <bind/>, <resume/> │                              │
//!                          └──────► established ◄─────────┘
//! ```
//! Each state is a type that knows only what its moment needs, and returns the next one.
//!
//! ## What the shell must keep to
//! - Outputs are done in order.
//! - While an [`Ask`] is open it reads nothing from the client ([`Negotiator::waits`]); the bytes
//!   stay in the socket. That bounds what a client can make us do at a time.
//! - Bytes behind `<starttls/>` are thrown away, never interpreted after the handshake.
//! - The negotiator is boxed and dropped once the stream is established.

mod exchange;
mod features;
mod header;
mod io;
mod login;
mod ready;
mod registering;
mod request;
mod unbound;

#[cfg(test)]
mod tests;

use std::sync::Arc;

pub use io::*;
pub use registering::Registration;

use crate::auth::{Channel, Failure, MechanismName, Offer, ServerSecret};
use crate::jid::BareJid;
use crate::time::Now;
use crate::xml::element::Element;
use crate::xml::ns;
use crate::xml::stream_error::{StreamCondition, StreamError};

use exchange::Exchange;
use header::AwaitHeader;
use login::{Asking, Task};
use ready::Ready;
use registering::{Memory, Registering};
use unbound::{BindingIq, Resuming, Unbound};

/// The server's side of one client stream until it is established.
pub struct Negotiator {
    shared: Shared,
    state: State,
}

/// What stays over all states and restarts.
struct Shared {
    hosts: Arc<dyn Hosts>,
    secret: Arc<ServerSecret>,
    /// `None` until the stream is encrypted.
    channel: Option<Channel>,
    registration: Memory,
    /// SASL attempts that failed.
    attempts: u32,
    /// A header of ours is out on this stream: errors can be told.
    opened: bool,
}

enum State {
    AwaitHeader(AwaitHeader),
    Handshake,
    Ready(Ready),
    /// A request to register waits for the shell.
    Registering(Registering),
    /// A SASL exchange waits for the client.
    Exchange(Exchange),
    /// A SASL exchange waits for the shell.
    Lookup(Exchange),
    /// Proved; what goes inline is done. Waits for the shell.
    Asking(Box<Asking>),
    /// The same, with a task that waits for the client.
    Task(Box<Task>),
    Unbound(Unbound),
    BindingIq(BindingIq),
    Resuming(Resuming),
    Over,
}

/// What is known since the header was read.
struct Open {
    policy: Arc<HostPolicy>,
    /// Bare form of the header's `from`.
    from: Option<BareJid>,
    lang: Option<Box<str>>,
    offer: Offer,
}

/// What a state may use to get to the next.
struct Cx<'a> {
    shared: &'a mut Shared,
    now: Now,
    out: &'a mut Vec<Output>,
}

impl Negotiator {
    pub fn new(hosts: Arc<dyn Hosts>, secret: Arc<ServerSecret>) -> Negotiator {
        Negotiator {
            shared: Shared {
                hosts,
                secret,
                channel: None,
                registration: Memory::default(),
                attempts: 0,
                opened: false,
            },
            state: State::AwaitHeader(AwaitHeader::Anyone),
        }
    }

    /// Takes one input and appends what follows from it.
    pub fn handle(&mut self, input: Input, now: Now, out: &mut Vec<Output>) {
        let state = std::mem::replace(&mut self.state, State::Over);
        let mut cx = Cx { shared: &mut self.shared, now, out };
        self.state = match (state, input) {
            (State::AwaitHeader(state), Input::Header(header)) => state.header(header, &mut cx),
            (State::AwaitHeader(AwaitHeader::Anyone), Input::TlsUp(channel))
            | (State::Handshake, Input::TlsUp(channel)) => {
                cx.shared.channel = Some(channel);
                // Whatever was said in the clear may not have been the client.
                cx.shared.registration = Memory::default();
                cx.shared.opened = false;
                State::AwaitHeader(AwaitHeader::Anyone)
            }
            (State::Ready(state), Input::Element(element)) => state.element(element, &mut cx),
            (State::Exchange(state), Input::Element(element)) => state.element(element, &mut cx),
            (State::Lookup(state), Input::Answer(answer)) => state.answer(answer, &mut cx),
            (State::Registering(state), Input::Answer(answer)) => state.answer(answer, &mut cx),
            (State::Asking(state), Input::Answer(answer)) => state.answer(answer, &mut cx),
            (State::Task(state), Input::Element(element)) => state.element(element, &mut cx),
            (State::Unbound(state), Input::Element(element)) => state.element(element, &mut cx),
            (State::BindingIq(state), Input::Answer(answer)) => state.answer(answer, &mut cx),
            (State::Resuming(state), Input::Answer(answer)) => state.answer(answer, &mut cx),
            (State::Over, _) => State::Over,
            // The shell broke its rules. Ending the stream is the one thing that is always safe.
            _ => cx.close(StreamCondition::InternalServerError),
        };
    }

    /// True while an [`Ask`] is open: nothing may be read from the client.
    pub fn waits(&self) -> bool {
        matches!(
            self.state,
            State::Registering(_)
                | State::Lookup(_)
                | State::Asking(_)
                | State::BindingIq(_)
                | State::Resuming(_)
        )
    }

    /// Ends the negotiation for a reason of the shell's (malformed XML, timeout, shutdown), so
    /// that a header precedes the error even where the client's own was the error
    /// (RFC 6120 §4.9.1.2).
    pub fn fail(&mut self, error: StreamError, now: Now, out: &mut Vec<Output>) {
        if matches!(self.state, State::Over) {
            return;
        }
        self.state = Cx { shared: &mut self.shared, now, out }.close(error);
    }
}

impl Cx<'_> {
    fn send(&mut self, bytes: Vec<u8>) {
        self.out.push(Output::Send(bytes));
    }

    fn send_element(&mut self, element: &Element) {
        let mut bytes = Vec::with_capacity(256);
        element.write(&mut bytes, ns::CLIENT);
        self.send(bytes);
    }

    fn ask(&mut self, ask: Ask) {
        self.out.push(Output::Ask(ask));
    }

    fn close(&mut self, error: impl Into<StreamError>) -> State {
        if !self.shared.opened {
            self.send(header::write(None, None));
            self.shared.opened = true;
        }
        self.out.push(Output::Close(error.into()));
        State::Over
    }

    fn establish(&mut self, established: Established) -> State {
        self.out.push(Output::Established(Box::new(established)));
        State::Over
    }

    /// Reports a failed attempt to the client and the shell; after too many the stream ends.
    fn refuse(&mut self, open: Open, sasl: Sasl, refused: Refused) -> State {
        let text = match refused.failure {
            // Clients know these and have words of their own for them.
            Failure::NotAuthorized | Failure::Aborted => None,
            failure => Some(failure.to_string()),
        };
        self.refuse_because(open, sasl, refused, text.as_deref())
    }

    fn refuse_because(
        &mut self,
        open: Open,
        sasl: Sasl,
        refused: Refused,
        text: Option<&str>,
    ) -> State {
        self.shared.attempts += 1;
        let mut failure = Element::new("failure", sasl.ns())
            .with(Element::new(refused.failure.condition(), ns::SASL));
        if let Some(text) = text {
            failure.push(Element::new("text", sasl.ns()).with_text(text));
        }
        self.send_element(&failure);
        self.out.push(Output::Refused(refused));
        if self.shared.attempts < open.policy.attempts_max {
            return State::Ready(Ready { open });
        }
        let text = "too many failed attempts to authenticate";
        self.close(StreamError::with_text(StreamCondition::PolicyViolation, text))
    }

    /// What becomes of an element that its moment has no use for.
    fn unexpected(&mut self, element: &Element) -> State {
        let is_stanza =
            element.ns() == ns::CLIENT && matches!(element.name(), "message" | "presence" | "iq");
        if is_stanza {
            let text = "no resource is bound to this stream yet";
            return self.close(StreamError::with_text(StreamCondition::NotAuthorized, text));
        }
        self.close(StreamCondition::UnsupportedStanzaType)
    }
}

/// The two dialects of SASL in XMPP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sasl {
    /// RFC 6120 §6.
    One,
    /// XEP-0388.
    Two,
}

impl Sasl {
    fn ns(self) -> &'static str {
        match self {
            Sasl::One => ns::SASL,
            Sasl::Two => ns::SASL2,
        }
    }
}

/// A short random text for ids.
fn random_id<const N: usize>() -> String {
    let mut bytes = [0; N];
    crate::auth::secret::fill_random(&mut bytes);
    crate::auth::devices::base32(&bytes)
}

fn refused(account: Option<BareJid>, name: Option<MechanismName>, failure: Failure) -> Refused {
    Refused { account, mechanism: name, failure, decision: None }
}
