//! A SASL exchange under way, in either dialect.

use super::login::Login;
use super::ready::{decode, encode};
use super::request::Request;
use super::{Account, Answer, Ask, Cx, Open, Refused, Sasl, SignedIn, State, refused};
use crate::auth::mechanism::{Facts, Found, Mechanism, Need, Proof, Step};
use crate::auth::{Failure, MechanismName};
use crate::jid::BareJid;
use crate::xml::element::Element;

/// Told to those who have registered where an operator has to agree.
const WAITING: &str = "the account is waiting for approval by those who run this server";

pub(super) struct Exchange {
    open: Open,
    profile: Profile,
    name: MechanismName,
    mechanism: Box<dyn Mechanism>,
    /// Whom the client says it is, once the mechanism has read that.
    claimed: Option<BareJid>,
    /// What the look-up found of that account.
    account: Option<Account>,
}

/// The dialect, with what goes inline.
pub(super) enum Profile {
    One,
    Two(Box<Request>),
}

impl Profile {
    fn sasl(&self) -> Sasl {
        match self {
            Profile::One => Sasl::One,
            Profile::Two(_) => Sasl::Two,
        }
    }
}

impl Exchange {
    pub(super) fn new(
        open: Open,
        profile: Profile,
        name: MechanismName,
        mechanism: Box<dyn Mechanism>,
    ) -> Exchange {
        Exchange { open, profile, name, mechanism, claimed: None, account: None }
    }

    pub(super) fn element(self, element: Element, cx: &mut Cx<'_>) -> State {
        let sasl = self.profile.sasl();
        match (element.name(), element.ns() == sasl.ns()) {
            ("response", true) => self.message(&element.text(), cx),
            ("abort", true) => self.refuse(Failure::Aborted, cx),
            // A second attempt inside the first (RFC 6120 §6.5.7).
            ("auth" | "authenticate", true) => self.refuse(Failure::MalformedRequest, cx),
            // Nothing else may be sent now (XEP-0388 §2.4).
            _ => cx.unexpected(&element),
        }
    }

    /// A message of the client, in base64.
    pub(super) fn message(mut self, text: &str, cx: &mut Cx<'_>) -> State {
        let step = match decode(text) {
            Ok(data) => self.mechanism.step(&data, &facts(&self.open, cx)),
            Err(failure) => Step::Fail(failure),
        };
        self.take(step, cx)
    }

    pub(super) fn answer(mut self, answer: Answer, cx: &mut Cx<'_>) -> State {
        let found = match answer {
            Answer::Credentials(found) => {
                self.account = found.as_ref().map(|(account, _)| *account);
                Found::Credentials(found.map(|(_, credentials)| credentials))
            }
            Answer::Tokens(found) => {
                self.account = found.as_ref().map(|(account, _)| *account);
                Found::Tokens(found.map(|(_, tokens)| tokens))
            }
            Answer::Plain(verdict) => Found::Plain(verdict),
            _ => return self.refuse(Failure::TemporaryAuthFailure, cx),
        };
        let step = self.mechanism.found(found, &facts(&self.open, cx));
        self.take(step, cx)
    }

    fn take(mut self, step: Step, cx: &mut Cx<'_>) -> State {
        match step {
            Step::Challenge(data) => self.challenge(&data, cx),
            Step::Need(need) => {
                cx.ask(match need {
                    Need::Credentials(account) => {
                        self.claimed = Some(account.clone());
                        Ask::Credentials(account)
                    }
                    Need::VerifyPlain(job) => Ask::VerifyPlain(job),
                    Need::Tokens { account, agent } => {
                        self.claimed = Some(account.clone());
                        let MechanismName::HashedToken(mechanism) = self.name else {
                            return self.refuse(Failure::TemporaryAuthFailure, cx);
                        };
                        Ask::Tokens { account, agent, mechanism }
                    }
                });
                State::Lookup(self)
            }
            Step::Done(proof) => self.proved(proof, cx),
            Step::Fail(failure) => self.refuse(failure, cx),
        }
    }

    pub(super) fn challenge(self, data: &[u8], cx: &mut Cx<'_>) -> State {
        let mut challenge = Element::new("challenge", self.profile.sasl().ns());
        if !data.is_empty() {
            challenge = challenge.with_text(&encode(data));
        }
        cx.send_element(&challenge);
        State::Exchange(self)
    }

    fn proved(self, proof: Proof, cx: &mut Cx<'_>) -> State {
        if self.account.is_some_and(|account| account.locked) {
            let (name, failure) = (Some(self.name), Failure::AccountDisabled);
            let refused = refused(Some(proof.account), name, failure);
            let text = match self.account {
                Some(Account { waiting: true, .. }) => WAITING.to_owned(),
                _ => failure.to_string(),
            };
            return cx.refuse_because(self.open, self.profile.sasl(), refused, Some(&text));
        }
        let decision = cx.shared.hosts.admits(&proof.account);
        if !decision.allowed {
            let account = Some(proof.account);
            let refused = refused(account, Some(self.name), Failure::NotAdmitted);
            let refused = Refused { decision: Some(decision), ..refused };
            return cx.refuse(self.open, self.profile.sasl(), refused);
        }
        let account = SignedIn {
            jid: proof.account,
            account: self.account.map(|account| account.id),
            mechanism: self.name,
        };
        Login::begin(self.open, self.profile, account, proof.data, proof.by, cx)
    }

    fn refuse(self, failure: Failure, cx: &mut Cx<'_>) -> State {
        let refused = refused(self.claimed, Some(self.name), failure);
        cx.refuse(self.open, self.profile.sasl(), refused)
    }
}

fn facts<'a>(open: &'a Open, cx: &'a Cx<'_>) -> Facts<'a> {
    Facts {
        domain: &open.policy.domain,
        from: open.from.as_ref(),
        channel: cx.shared.channel.as_ref(),
        offer: &open.offer,
        secret: &cx.shared.secret,
        iterations: &open.policy.iterations_in_use,
        now: cx.now,
    }
}
