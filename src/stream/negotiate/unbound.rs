//! An authenticated stream without a session: RFC 6120 §7, or XEP-0198 §5 in its place.

use std::sync::Arc;

use super::login::handled_too_high;
use super::request::ResumeWish;
use super::{
    Answer, Ask, BindRefusal, BindRequest, Cx, Established, HostPolicy, How, ResourceBy,
    ResumeRefusal, ResumeRequest, SignedIn, State, random_id,
};
use crate::auth::UserAgent;
use crate::jid::Jid;
use crate::xml::element::Element;
use crate::xml::ns;

/// Waits for the client to bind or resume.
pub(super) struct Unbound {
    pub policy: Arc<HostPolicy>,
    pub lang: Option<Box<str>>,
    pub account: SignedIn,
    pub agent: UserAgent,
}

/// Waits for the shell to bind.
pub(super) struct BindingIq {
    unbound: Unbound,
    /// The IQ's.
    id: Box<str>,
    jid: Jid,
}

/// Waits for the shell to resume.
pub(super) struct Resuming {
    unbound: Unbound,
    previd: Box<str>,
    h: u32,
}

impl Unbound {
    pub(super) fn element(self, element: Element, cx: &mut Cx<'_>) -> State {
        match (element.name(), element.ns()) {
            ("iq", ns::CLIENT) => match element.child("bind", ns::BIND) {
                Some(bind) if element.get("type") == Some("set") => self.bind(&element, bind, cx),
                _ => cx.unexpected(&element),
            },
            ("resume", ns::SM3) => self.resume(&element, cx),
            ("enable", ns::SM3) => {
                // XEP-0198 §3: binding comes first.
                cx.send_element(&sm_failed("unexpected-request", None));
                State::Unbound(self)
            }
            // Among them a second <authenticate/> (XEP-0388 §5.9).
            _ => cx.unexpected(&element),
        }
    }

    fn bind(self, iq: &Element, bind: &Element, cx: &mut Cx<'_>) -> State {
        let id: Box<str> = iq.get("id").unwrap_or_default().into();
        let wanted = bind.child("resource", ns::BIND).map(Element::text);
        let (resource, by) = match wanted.filter(|wanted| !wanted.trim().is_empty()) {
            Some(wanted) => (wanted, ResourceBy::Client),
            None => (random_id::<10>(), ResourceBy::Server),
        };
        let jid = match self.account.jid.with_resource(&resource) {
            Ok(jid) if !id.is_empty() => jid,
            _ => {
                cx.send_element(&bind_error(&id, "modify", "bad-request"));
                return State::Unbound(self);
            }
        };
        cx.ask(Ask::Bind(Box::new(BindRequest {
            account: self.account.clone(),
            agent: self.agent.clone(),
            jid: jid.clone(),
            resource: by,
            bind2: false,
            carbons: false,
            inactive: false,
            sm: None,
        })));
        State::BindingIq(BindingIq { unbound: self, id, jid })
    }

    fn resume(self, resume: &Element, cx: &mut Cx<'_>) -> State {
        let wish = match ResumeWish::read(resume) {
            Some(wish) if self.policy.stream_management => wish,
            wish => {
                let condition = match wish {
                    Some(_) => "feature-not-implemented",
                    None => "bad-request",
                };
                cx.send_element(&sm_failed(condition, None));
                return State::Unbound(self);
            }
        };
        cx.ask(Ask::Resume(Box::new(ResumeRequest {
            account: self.account.clone(),
            agent: self.agent.clone(),
            previd: wish.previd.clone(),
            h: wish.h,
        })));
        State::Resuming(Resuming { unbound: self, previd: wish.previd, h: wish.h })
    }

    fn establish(self, jid: Jid, how: How, cx: &mut Cx<'_>) -> State {
        let Unbound { lang, account, agent, .. } = self;
        cx.establish(Established { account, jid, agent, lang, how })
    }
}

impl BindingIq {
    pub(super) fn answer(self, answer: Answer, cx: &mut Cx<'_>) -> State {
        let refusal = match answer {
            Answer::Bound(bound) => {
                let jid = bound.jid.unwrap_or(self.jid);
                let text = Element::new("jid", ns::BIND).with_text(jid.as_str());
                let iq = Element::new("iq", ns::CLIENT).attr("type", "result").attr("id", self.id);
                cx.send_element(&iq.with(Element::new("bind", ns::BIND).with(text)));
                let how = How::Bound { carbons: false, inactive: false, sm: None };
                return self.unbound.establish(jid, how, cx);
            }
            Answer::NotBound(refusal) => Some(refusal),
            _ => None,
        };
        // RFC 6120 §7.6.2 and §7.7.2.
        let (kind, condition) = match refusal {
            Some(BindRefusal::Conflict) => ("cancel", "conflict"),
            Some(BindRefusal::TooManySessions) => ("wait", "resource-constraint"),
            Some(BindRefusal::NotAllowed) => ("cancel", "not-allowed"),
            None => ("wait", "internal-server-error"),
        };
        cx.send_element(&bind_error(&self.id, kind, condition));
        State::Unbound(self.unbound)
    }
}

impl Resuming {
    pub(super) fn answer(self, answer: Answer, cx: &mut Cx<'_>) -> State {
        let failed = match answer {
            Answer::Resumed(resumed) => {
                cx.send_element(&sm_resumed(&self.previd, resumed.h));
                return self.unbound.establish(resumed.jid, How::Resumed { h: self.h }, cx);
            }
            Answer::NotResumed(ResumeRefusal::HandledTooHigh) => {
                return cx.close(handled_too_high());
            }
            Answer::NotResumed(ResumeRefusal::NotFound { h }) => sm_failed("item-not-found", h),
            _ => sm_failed("internal-server-error", None),
        };
        // The client may bind now, without signing in again (XEP-0198 §5).
        cx.send_element(&failed);
        State::Unbound(self.unbound)
    }
}

fn bind_error(id: &str, kind: &str, condition: &str) -> Element {
    let error = Element::new("error", ns::CLIENT)
        .attr("type", kind)
        .with(Element::new(condition, ns::STANZAS));
    let iq = Element::new("iq", ns::CLIENT).attr("type", "error");
    let iq = if id.is_empty() { iq } else { iq.attr("id", id) };
    iq.with(error)
}

/// `<resumed/>` of XEP-0198 §5. `h`: stanzas of the client that the server has handled.
pub(super) fn sm_resumed(previd: &str, h: u32) -> Element {
    Element::new("resumed", ns::SM3).attr("previd", previd).attr("h", h.to_string())
}

/// `<failed/>` of XEP-0198, with a stanza error's condition.
pub(super) fn sm_failed(condition: &str, h: Option<u32>) -> Element {
    let failed = Element::new("failed", ns::SM3);
    let failed = match h {
        Some(h) => failed.attr("h", h.to_string()),
        None => failed,
    };
    failed.with(Element::new(condition, ns::STANZAS))
}
