//! XEP-0077 and XEP-0445 on a stream that nobody has signed in on: requests of one kind, each
//! answered before the next is read. Whoever has registered signs in on the same stream.

use super::ready::Ready;
use super::{Answer, Ask, Cx, Open, RegistrationAsk, State};
use crate::config::value::Secret;
use crate::features::register::{Answered, Asked, Wish, read_set, with_code};
use crate::stanza::error::{Condition, StanzaError};
use crate::store::invites::Invite;
use crate::xml::element::Element;
use crate::xml::ns;
use crate::xml::stream_error::{StreamCondition, StreamError};

/// Requests that one stream may make: a form, some tries at it, and no guessing of names.
const REQUESTS_MAX: u32 = 20;

/// What is offered to those who have no account.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Registration {
    /// Names and passwords.
    pub open: bool,
    /// There are invitations that somebody may hold.
    pub by_token: bool,
}

/// What a stream remembers of registration.
#[derive(Default)]
pub(super) struct Memory {
    requests: u32,
    /// The invitation that was shown: from now on its expiry does not count (XEP-0445 §4).
    invite: Option<Box<Invite>>,
    /// One account is enough.
    done: bool,
}

/// Waits for the shell.
pub(super) struct Registering {
    open: Open,
    id: Box<str>,
}

impl Ready {
    /// An IQ before sign-in: registration, or a mistake.
    pub(super) fn iq(self, iq: &Element, cx: &mut Cx<'_>) -> State {
        let (get, set) = (iq.get("type") == Some("get"), iq.get("type") == Some("set"));
        let payload = iq.children().next().filter(|_| get || set);
        let asked = match payload {
            Some(query) if query.is("query", ns::REGISTER) && get => Ok(Asked::Wish(Wish::Form)),
            Some(query) if query.is("query", ns::REGISTER) => read_set(query).map(Asked::Wish),
            Some(token) if token.is("preauth", ns::PRE_AUTH) && set => {
                let token = token.get("token").filter(|token| !token.is_empty());
                let missing = "<preauth/> has a token.";
                token
                    .map(|token| Asked::Token(Secret::new(token)))
                    .ok_or_else(|| StanzaError::new(Condition::BadRequest).with_text(missing))
            }
            _ => return cx.unexpected(iq),
        };
        let memory = &mut cx.shared.registration;
        memory.requests += 1;
        if memory.requests > REQUESTS_MAX {
            let text = "too many requests to register";
            return cx.close(StreamError::with_text(StreamCondition::PolicyViolation, text));
        }
        let id: Box<str> = iq.get("id").unwrap_or_default().into();
        match asked.and_then(|asked| self.may_ask(iq, asked, cx)) {
            Ok(asked) => {
                let domain = self.open.policy.domain.clone();
                let invite = cx.shared.registration.invite.clone();
                cx.ask(Ask::Registration(Box::new(RegistrationAsk { domain, asked, invite })));
                State::Registering(Registering { open: self.open, id })
            }
            Err(error) => {
                send(&self.open, &id, Err(&error), cx);
                State::Ready(self)
            }
        }
    }

    fn may_ask(&self, iq: &Element, asked: Asked, cx: &Cx<'_>) -> Result<Asked, StanzaError> {
        let error = |condition, text: &str| Err(StanzaError::new(condition).with_text(text));
        if iq.get("id").is_none_or(str::is_empty) || iq.children().count() != 1 {
            return error(Condition::BadRequest, "A request has an id and one child.");
        }
        let domain = &*self.open.policy.domain;
        if iq.get("to").is_some_and(|to| !to.eq_ignore_ascii_case(domain)) {
            return error(Condition::ServiceUnavailable, "Sign in to speak to others.");
        }
        if cx.shared.channel.is_none() {
            let text = "Registration needs an encrypted stream: use STARTTLS first.";
            return error(Condition::NotAllowed, text);
        }
        if cx.shared.registration.done && matches!(asked, Asked::Wish(Wish::Submit(_))) {
            // XEP-0077 §3.1.1.
            return error(Condition::NotAcceptable, "You have registered already; sign in now.");
        }
        Ok(asked)
    }
}

impl Registering {
    pub(super) fn answer(self, answer: Answer, cx: &mut Cx<'_>) -> State {
        let memory = &mut cx.shared.registration;
        let outcome = match answer {
            Answer::Registration(outcome) => *outcome,
            _ => Err(StanzaError::new(Condition::InternalServerError)
                .with_text("The server could not do it; try again later.")),
        };
        let payload = match outcome {
            Ok(Answered::Form(form)) => Ok(Some(form)),
            Ok(Answered::Made(_) | Answered::Reset) => {
                (memory.done, memory.invite) = (true, None);
                Ok(None)
            }
            Ok(Answered::Invited(invite)) => {
                memory.invite = Some(invite);
                Ok(None)
            }
            Ok(Answered::Nothing) => Ok(None),
            Err(error) => Err(error),
        };
        send(&self.open, &self.id, payload.as_ref().map(Option::as_ref), cx);
        State::Ready(Ready { open: self.open })
    }
}

fn send(open: &Open, id: &str, payload: Result<Option<&Element>, &StanzaError>, cx: &mut Cx<'_>) {
    let iq = Element::new("iq", ns::CLIENT).attr("from", &*open.policy.domain);
    let iq = if id.is_empty() { iq } else { iq.attr("id", id) };
    let iq = match payload {
        Ok(payload) => iq.attr("type", "result").with_all(payload.cloned()),
        Err(error) => iq.attr("type", "error").with(with_code(error)),
    };
    cx.send_element(&iq);
}
