//! From a successful exchange to `<success/>`: what has to happen in between, in the order that
//! XEP-0386, XEP-0388, XEP-0480 and XEP-0484 give: token or keys, tasks, new token, resumption,
//! binding.

use std::collections::VecDeque;

use super::exchange::Profile;
use super::features::{self, Stage};
use super::header::AwaitHeader;
use super::ready::{decode, encode};
use super::request::{BindWish, Request, ResumeWish};
use super::unbound::{Unbound, sm_failed, sm_resumed};
use super::{
    Answer, Ask, BindRefusal, BindRequest, Bound, Cx, Established, How, Open, Output, Refused,
    ResourceBy, ResumeRefusal, ResumeRequest, Resumed, Sasl, SignedIn, SmEnabled, State, random_id,
};
use crate::auth::mechanism::ProvedBy;
use crate::auth::upgrade::{Upgrade, task_name};
use crate::auth::{AgentId, Failure, Hash, HtMechanism, Token, TokenUse, UserAgent};
use crate::jid::Jid;
use crate::xml::element::Element;
use crate::xml::ns;
use crate::xml::stream_error::{StreamCondition, StreamError};

/// The client has proved who it is and does not know it yet.
pub(super) struct Login {
    open: Open,
    /// `None` for SASL of RFC 6120, where nothing goes inline.
    request: Option<Box<Request>>,
    account: SignedIn,
    /// The mechanism's last word, until it has been sent.
    data: Option<Vec<u8>>,
    /// Upgrades that are still to be offered.
    tasks: VecDeque<Hash>,
    /// To be handed out with `<success/>`.
    token: Option<Token>,
    /// Why the session that was asked for could not be resumed.
    not_resumed: Option<Element>,
}

/// A login that waits for the shell.
pub(super) struct Asking {
    login: Login,
    step: Step,
}

/// What the shell was asked.
enum Step {
    UseToken,
    SaveDerived,
    SaveUpgrade,
    StoreToken,
    Resume(ResumeWish),
    Bind(Box<BindRequest>),
}

/// A login that waits for the client to do its part of a task.
pub(super) struct Task {
    login: Login,
    part: Part,
}

enum Part {
    /// `<next/>`
    Begin(Hash),
    /// `<task-data/>`
    Hash(Upgrade),
}

impl Login {
    pub(super) fn begin(
        open: Open,
        profile: Profile,
        account: SignedIn,
        data: Option<Vec<u8>>,
        by: ProvedBy,
        cx: &mut Cx<'_>,
    ) -> State {
        let request = match profile {
            Profile::One => None,
            Profile::Two(request) => Some(request),
        };
        let mut login = Login {
            open,
            request,
            account,
            data,
            tasks: VecDeque::new(),
            token: None,
            not_resumed: None,
        };
        let policy = &login.open.policy;
        match by {
            ProvedBy::Token(token) => login.use_token(&token, cx),
            ProvedBy::Plain { mut derived } => {
                derived.retain(|keys| policy.wants_keys(keys.hash));
                if derived.is_empty() {
                    return login.tasks(cx);
                }
                let account = login.account.clone();
                login.wait(Step::SaveDerived, Ask::SaveKeys { account, keys: derived }, cx)
            }
            ProvedBy::Scram { missing } => {
                let asked = login.request.as_ref().map(|request| request.upgrades.as_slice());
                let due = |hash: &&Hash| missing.contains(hash) && policy.wants_keys(**hash);
                login.tasks = asked.unwrap_or_default().iter().filter(due).copied().collect();
                login.tasks(cx)
            }
            ProvedBy::Nobody => login.tasks(cx),
        }
    }

    /// XEP-0484 §3.4 to §3.6: counts the use, rotates or ends the token.
    fn use_token(mut self, token: &Token, cx: &mut Cx<'_>) -> State {
        let request = self.request.as_deref();
        let fast = request.and_then(|request| request.fast.as_ref());
        let invalidate = fast.is_some_and(|fast| fast.invalidate);
        let policy = self.open.policy.fast;
        let is_old = policy.is_some_and(|fast| cx.now.since(token.issued) >= fast.rotate_after);
        let wanted = match self.wanted_token() {
            None if is_old && !invalidate => Some(token.mechanism),
            wanted => wanted,
        };
        let issue = wanted.zip(policy);
        self.token = issue.map(|(name, policy)| Token::generate(name, cx.now, policy.lifetime));
        let usage = TokenUse {
            nonce: token.nonce,
            count: fast.and_then(|fast| fast.count),
            invalidate,
            issue: self.token.clone(),
        };
        let agent = request.map(|request| request.agent.clone()).unwrap_or_default();
        let account = self.account.clone();
        self.wait(Step::UseToken, Ask::UseToken { account, agent, usage }, cx)
    }

    /// Offers the next task, or goes on when none is left (XEP-0480 §2.2).
    fn tasks(mut self, cx: &mut Cx<'_>) -> State {
        let Some(hash) = self.tasks.pop_front() else {
            return self.store_token(cx);
        };
        let task = Element::new("task", ns::SASL2).with_text(&task_name(hash));
        let mut element = Element::new("continue", ns::SASL2);
        if let Some(data) = self.data.take() {
            element.push(additional_data(&data));
        }
        element.push(Element::new("tasks", ns::SASL2).with(task));
        cx.send_element(&element);
        State::Task(Box::new(Task { login: self, part: Part::Begin(hash) }))
    }

    /// XEP-0484 §3.3: only now is the client fully authenticated.
    fn store_token(mut self, cx: &mut Cx<'_>) -> State {
        let (Some(mechanism), Some(policy)) = (self.wanted_token(), self.open.policy.fast) else {
            return self.resume(cx);
        };
        let token = Token::generate(mechanism, cx.now, policy.lifetime);
        self.token = Some(token.clone());
        let agent = self.request.as_ref().map(|r| r.agent.clone()).unwrap_or_default();
        let account = self.account.clone();
        self.wait(Step::StoreToken, Ask::StoreToken { account, agent, token }, cx)
    }

    /// The mechanism of `<request-token/>`, if the client may have such a token.
    fn wanted_token(&self) -> Option<HtMechanism> {
        let request = self.request.as_ref()?;
        let offered = |mechanism: &_| self.open.offer.tokens.contains(mechanism);
        let can_have = self.account.account.is_some() && request.agent.id.is_some();
        request.request_token.filter(offered).filter(|_| can_have)
    }

    /// Resumption goes before binding (XEP-0198 §9.2).
    fn resume(mut self, cx: &mut Cx<'_>) -> State {
        let Some(wish) = self.request.as_mut().and_then(|request| request.resume.take()) else {
            return self.bind(cx);
        };
        if !self.open.policy.stream_management {
            self.not_resumed = Some(sm_failed("feature-not-implemented", None));
            return self.bind(cx);
        }
        let ask = Ask::Resume(Box::new(ResumeRequest {
            account: self.account.clone(),
            agent: self.agent(),
            previd: wish.previd.clone(),
            h: wish.h,
        }));
        self.wait(Step::Resume(wish), ask, cx)
    }

    fn resumed(mut self, wish: &ResumeWish, resumed: Resumed, cx: &mut Cx<'_>) -> State {
        let Resumed { jid, h } = resumed;
        let element = sm_resumed(&wish.previd, h);
        let mut bytes = Vec::with_capacity(512);
        self.success(&jid, [Some(element), None], cx).write(&mut bytes, ns::CLIENT);
        // No features: the stream goes on where the old one ended (XEP-0198 §9.2).
        cx.send(bytes);
        cx.out.push(Output::Limits(self.open.policy.limits_after));
        let agent = self.agent();
        let how = How::Resumed { h: wish.h };
        cx.establish(Established { account: self.account, jid, agent, lang: self.open.lang, how })
    }

    fn bind(mut self, cx: &mut Cx<'_>) -> State {
        let Some(wish) = self.request.as_mut().and_then(|request| request.bind.take()) else {
            return self.unbound(cx);
        };
        let agent = self.agent();
        let (jid, resource) = match self.resource(&wish, agent.id, cx) {
            Some(chosen) => chosen,
            None => return self.refuse(Failure::TemporaryAuthFailure, cx),
        };
        let request = Box::new(BindRequest {
            account: self.account.clone(),
            agent,
            jid,
            resource,
            bind2: true,
            carbons: wish.carbons,
            inactive: wish.inactive,
            sm: wish.sm.filter(|_| self.open.policy.stream_management),
        });
        self.wait(Step::Bind(request.clone()), Ask::Bind(request), cx)
    }

    /// XEP-0386 §3.2.1: the client's tag, then what makes the resource unique. A device gets the
    /// same one each time; its agent id cannot be read from it.
    fn resource(
        &self,
        wish: &BindWish,
        agent: Option<AgentId>,
        cx: &Cx<'_>,
    ) -> Option<(Jid, ResourceBy)> {
        let tag = wish.tag.as_deref().unwrap_or_default();
        let (unique, by) = match agent {
            Some(agent) => {
                let unique = agent.resource(&cx.shared.secret, &self.account.jid, tag);
                (unique, ResourceBy::Device)
            }
            None => (random_id::<10>(), ResourceBy::Server),
        };
        let tagged = (!tag.is_empty()).then(|| format!("{tag}/{unique}"));
        let jid = tagged.and_then(|resource| self.account.jid.with_resource(&resource).ok());
        let jid = jid.or_else(|| self.account.jid.with_resource(&unique).ok());
        jid.map(|jid| (jid, by))
    }

    fn bound(mut self, request: BindRequest, bound: Bound, cx: &mut Cx<'_>) -> State {
        let jid = bound.jid.unwrap_or(request.jid);
        let mut element = Element::new("bound", ns::BIND2);
        let sm = bound.sm.filter(|_| request.sm.is_some());
        match (&sm, request.sm) {
            (Some(enabled), _) => element.push(sm_enabled(enabled)),
            (None, Some(_)) => element.push(sm_failed("internal-server-error", None)),
            (None, None) => {}
        }
        if let Some(metadata) = bound.metadata {
            element.push(metadata);
        }
        let mut bytes = Vec::with_capacity(1_024);
        let not_resumed = self.not_resumed.take();
        self.success(&jid, [not_resumed, Some(element)], cx).write(&mut bytes, ns::CLIENT);
        let stage = if sm.is_some() { Stage::Managed } else { Stage::Bound };
        features::after(&self.open.policy, stage, &mut bytes);
        cx.send(bytes);
        cx.out.push(Output::Limits(self.open.policy.limits_after));
        let how = How::Bound { carbons: request.carbons, inactive: request.inactive, sm };
        let agent = request.agent;
        cx.establish(Established { account: self.account, jid, agent, lang: self.open.lang, how })
    }

    /// Bind 2 has no word for this: the sign-in fails as a whole, and can be tried again.
    fn not_bound(self, refusal: BindRefusal, cx: &mut Cx<'_>) -> State {
        let text = match refusal {
            BindRefusal::Conflict => "the resource is taken",
            BindRefusal::TooManySessions => "the account has as many sessions as it may have",
            BindRefusal::NotAllowed => "the account may not have sessions",
        };
        let (sasl, refused) = (Sasl::Two, self.refused(Failure::TemporaryAuthFailure));
        cx.refuse_because(self.open, sasl, refused, Some(text))
    }

    /// Authenticated, and no resource was asked for along with it.
    fn unbound(mut self, cx: &mut Cx<'_>) -> State {
        let limits = Output::Limits(self.open.policy.limits_after);
        if self.request.is_none() {
            let mut success = Element::new("success", ns::SASL);
            if let Some(data) = &self.data {
                success = success.with_text(&encode(data));
            }
            cx.send_element(&success);
            cx.out.extend([limits, Output::RestartStream]);
            cx.shared.opened = false;
            return State::AwaitHeader(AwaitHeader::SignedIn(self.account));
        }
        let mut bytes = Vec::with_capacity(1_024);
        let jid = self.account.jid.clone();
        let not_resumed = self.not_resumed.take();
        self.success(&jid, [not_resumed, None], cx).write(&mut bytes, ns::CLIENT);
        features::after(&self.open.policy, Stage::Unbound, &mut bytes);
        cx.send(bytes);
        cx.out.push(limits);
        let agent = self.agent();
        let Open { policy, lang, .. } = self.open;
        State::Unbound(Unbound { policy, lang, account: self.account, agent })
    }

    /// XEP-0388 §2.6.1, with the results of what went inline.
    fn success(&mut self, jid: &Jid, results: [Option<Element>; 2], cx: &Cx<'_>) -> Element {
        let mut success = Element::new("success", ns::SASL2);
        if let Some(data) = self.data.take() {
            success.push(additional_data(&data));
        }
        let identifier = Element::new("authorization-identifier", ns::SASL2);
        success.push(identifier.with_text(jid.as_str()));
        for result in results.into_iter().flatten() {
            success.push(result);
        }
        if let (Some(token), Some(agent)) = (self.token.take(), self.agent().id) {
            let text = token.text(&cx.shared.secret, &self.account.jid, agent);
            let element = Element::new("token", ns::FAST).attr("expiry", token.expires.to_xmpp());
            success.push(element.attr("token", String::from_utf8_lossy(text.expose())));
        }
        success
    }

    fn agent(&self) -> UserAgent {
        self.request.as_ref().map(|request| request.agent.clone()).unwrap_or_default()
    }

    fn wait(self, step: Step, ask: Ask, cx: &mut Cx<'_>) -> State {
        cx.ask(ask);
        State::Asking(Box::new(Asking { login: self, step }))
    }

    fn refuse(self, failure: Failure, cx: &mut Cx<'_>) -> State {
        let sasl = if self.request.is_some() { Sasl::Two } else { Sasl::One };
        let refused = self.refused(failure);
        cx.refuse(self.open, sasl, refused)
    }

    fn refused(&self, failure: Failure) -> Refused {
        let account = Some(self.account.jid.clone());
        Refused { account, mechanism: Some(self.account.mechanism), failure, decision: None }
    }
}

impl Asking {
    pub(super) fn answer(self: Box<Self>, answer: Answer, cx: &mut Cx<'_>) -> State {
        let Asking { mut login, step } = *self;
        match (step, answer) {
            (Step::UseToken, Answer::TokenUsed(Ok(()))) => login.resume(cx),
            (Step::UseToken, Answer::TokenUsed(Err(_))) => login.refuse(Failure::NotAuthorized, cx),
            // The password was right: better signed in without the new keys than not at all.
            (Step::SaveDerived, _) | (Step::SaveUpgrade, Answer::Stored) => login.tasks(cx),
            (Step::StoreToken, Answer::Stored) => login.resume(cx),
            (Step::StoreToken, _) => {
                login.token = None;
                login.resume(cx)
            }
            (Step::Resume(wish), Answer::Resumed(resumed)) => login.resumed(&wish, resumed, cx),
            (Step::Resume(_), Answer::NotResumed(ResumeRefusal::HandledTooHigh)) => {
                cx.close(handled_too_high())
            }
            (Step::Resume(_), Answer::NotResumed(ResumeRefusal::NotFound { h })) => {
                login.not_resumed = Some(sm_failed("item-not-found", h));
                login.bind(cx)
            }
            (Step::Resume(_), _) => {
                login.not_resumed = Some(sm_failed("internal-server-error", None));
                login.bind(cx)
            }
            (Step::Bind(request), Answer::Bound(bound)) => login.bound(*request, *bound, cx),
            (Step::Bind(_), Answer::NotBound(refusal)) => login.not_bound(refusal, cx),
            _ => login.refuse(Failure::TemporaryAuthFailure, cx),
        }
    }
}

impl Task {
    pub(super) fn element(self: Box<Self>, element: Element, cx: &mut Cx<'_>) -> State {
        let Task { login, part } = *self;
        match (part, element.name(), element.ns()) {
            (_, "abort", ns::SASL2) => login.refuse(Failure::Aborted, cx),
            (Part::Begin(hash), "next", ns::SASL2)
                if element.get("task") == Some(&task_name(hash)) =>
            {
                let upgrade = Upgrade::new(hash, login.open.policy.scram_iterations);
                let salt = Element::new("salt", ns::UPGRADE_SCRAM)
                    .attr("iterations", upgrade.iterations.to_string())
                    .with_text(&encode(&upgrade.salt));
                cx.send_element(&Element::new("task-data", ns::SASL2).with(salt));
                State::Task(Box::new(Task { login, part: Part::Hash(upgrade) }))
            }
            (Part::Hash(upgrade), "task-data", ns::SASL2) => {
                let hash =
                    element.child("hash", ns::UPGRADE_SCRAM).ok_or(Failure::MalformedRequest);
                let salted = hash.and_then(|hash| decode(&hash.text()));
                match salted.and_then(|salted| upgrade.finish(&salted)) {
                    Ok(keys) => {
                        let account = login.account.clone();
                        let ask = Ask::SaveKeys { account, keys: vec![keys] };
                        login.wait(Step::SaveUpgrade, ask, cx)
                    }
                    Err(failure) => login.refuse(failure, cx),
                }
            }
            (_, "next" | "task-data", ns::SASL2) => login.refuse(Failure::MalformedRequest, cx),
            // Among them a second <authenticate/> (XEP-0388 §5.9).
            _ => cx.unexpected(&element),
        }
    }
}

fn additional_data(data: &[u8]) -> Element {
    Element::new("additional-data", ns::SASL2).with_text(&encode(data))
}

fn sm_enabled(enabled: &SmEnabled) -> Element {
    let mut element = Element::new("enabled", ns::SM3);
    if let Some(id) = &enabled.id {
        element = element.attr("id", id).attr("resume", "true");
    }
    match enabled.max {
        Some(max) => element.attr("max", max.to_string()),
        None => element,
    }
}

/// XEP-0198 §6.
pub(super) fn handled_too_high() -> StreamError {
    let text = "more stanzas were acknowledged than had been sent";
    StreamError::with_text(StreamCondition::UndefinedCondition, text)
}
