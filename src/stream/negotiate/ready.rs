//! A stream with its header, waiting for the client to encrypt or authenticate.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use zeroize::Zeroizing;

use super::exchange::{Exchange, Profile};
use super::request::Request;
use super::{Cx, Open, Output, Sasl, State, refused};
use crate::auth::anonymous::Anonymous;
use crate::auth::fast::Fast;
use crate::auth::mechanism::Mechanism;
use crate::auth::plain::Plain;
use crate::auth::scram::Scram;
use crate::auth::{Failure, MechanismName};
use crate::xml::element::Element;
use crate::xml::ns;
use crate::xml::stream_error::{StreamCondition, StreamError};

pub(super) struct Ready {
    pub open: Open,
}

impl Ready {
    pub(super) fn element(self, element: Element, cx: &mut Cx<'_>) -> State {
        match (element.name(), element.ns()) {
            ("starttls", ns::TLS) => start_tls(cx),
            ("auth", ns::SASL) => self.auth(&element, cx),
            ("authenticate", ns::SASL2) => self.authenticate(&element, cx),
            ("abort", ns::SASL) => self.refuse(Sasl::One, None, Failure::Aborted, cx),
            ("abort", ns::SASL2) => self.refuse(Sasl::Two, None, Failure::Aborted, cx),
            ("response", ns::SASL) => self.refuse(Sasl::One, None, Failure::MalformedRequest, cx),
            ("response", ns::SASL2) => self.refuse(Sasl::Two, None, Failure::MalformedRequest, cx),
            ("enable" | "resume", ns::SM3) => {
                // XEP-0198 §3: authentication comes first.
                cx.send_element(&super::unbound::sm_failed("unexpected-request", None));
                State::Ready(self)
            }
            ("iq", ns::CLIENT) => self.iq(&element, cx),
            _ => cx.unexpected(&element),
        }
    }

    /// RFC 6120 §6.4.2.
    fn auth(self, auth: &Element, cx: &mut Cx<'_>) -> State {
        let text = auth.text();
        let initial = (!text.trim().is_empty()).then_some(text);
        self.begin(Sasl::One, auth.get("mechanism"), initial, |_| Ok(Profile::One), cx)
    }

    /// XEP-0388 §2.3.
    fn authenticate(self, authenticate: &Element, cx: &mut Cx<'_>) -> State {
        let initial = authenticate.child("initial-response", ns::SASL2).map(Element::text);
        let profile = |name: MechanismName| {
            let request = Request::read(authenticate)?;
            // A token is asked for by name and presented as such, by a device that has one.
            let by_token = matches!(name, MechanismName::HashedToken(_));
            if by_token && (request.fast.is_none() || request.agent.id.is_none()) {
                return Err(Failure::MalformedRequest);
            }
            Ok(Profile::Two(Box::new(request)))
        };
        if cx.shared.channel.is_none() {
            return self.refuse(Sasl::Two, None, Failure::EncryptionRequired, cx);
        }
        self.begin(Sasl::Two, authenticate.get("mechanism"), initial, profile, cx)
    }

    fn begin(
        self,
        sasl: Sasl,
        name: Option<&str>,
        initial: Option<String>,
        profile: impl FnOnce(MechanismName) -> Result<Profile, Failure>,
        cx: &mut Cx<'_>,
    ) -> State {
        let name = name.and_then(MechanismName::from_name);
        let offered = name.filter(|&name| self.offers(name, sasl));
        let Some(name) = offered else {
            let unsafe_here = cx.shared.channel.is_none()
                && (self.open.policy.tls_required || name == Some(MechanismName::Plain));
            let failure = match unsafe_here {
                true => Failure::EncryptionRequired,
                false => Failure::InvalidMechanism,
            };
            return self.refuse(sasl, name, failure, cx);
        };
        let profile = match profile(name) {
            Ok(profile) => profile,
            Err(failure) => return self.refuse(sasl, Some(name), failure, cx),
        };
        let Some(mechanism) = mechanism(name, &profile) else {
            return self.refuse(sasl, Some(name), Failure::MalformedRequest, cx);
        };
        let exchange = Exchange::new(self.open, profile, name, mechanism);
        match initial {
            Some(initial) => exchange.message(&initial, cx),
            // The guest has nothing to say. All others speak first, and are asked to.
            None if name == MechanismName::Anonymous => exchange.message("", cx),
            None => exchange.challenge(&[], cx),
        }
    }

    fn offers(&self, name: MechanismName, sasl: Sasl) -> bool {
        match name {
            MechanismName::HashedToken(token) => {
                sasl == Sasl::Two && self.open.offer.tokens.contains(&token)
            }
            _ => self.open.offer.mechanisms.contains(&name),
        }
    }

    fn refuse(
        self,
        sasl: Sasl,
        name: Option<MechanismName>,
        failure: Failure,
        cx: &mut Cx<'_>,
    ) -> State {
        cx.refuse(self.open, sasl, refused(None, name, failure))
    }
}

fn mechanism(name: MechanismName, profile: &Profile) -> Option<Box<dyn Mechanism>> {
    Some(match (name, profile) {
        (MechanismName::Scram(hash, plus), _) => Box::new(Scram::new(hash, plus)),
        (MechanismName::Plain, _) => Box::new(Plain::default()),
        (MechanismName::Anonymous, _) => Box::new(Anonymous::new()),
        (MechanismName::HashedToken(token), Profile::Two(request)) => {
            Box::new(Fast::new(token, request.agent.id?))
        }
        (MechanismName::HashedToken(_), Profile::One) => return None,
    })
}

/// RFC 6120 §5.4.2.
fn start_tls(cx: &mut Cx<'_>) -> State {
    if cx.shared.channel.is_some() {
        cx.send_element(&Element::new("failure", ns::TLS));
        let text = "the stream is encrypted already";
        return cx.close(StreamError::with_text(StreamCondition::PolicyViolation, text));
    }
    cx.send_element(&Element::new("proceed", ns::TLS));
    cx.out.push(Output::StartTls);
    State::Handshake
}

/// Decodes SASL data, which may be a password. `=` is RFC 6120's word for "empty"; some put white
/// space around.
pub(super) fn decode(text: &str) -> Result<Zeroizing<Vec<u8>>, Failure> {
    match text.trim_ascii() {
        "=" => Ok(Zeroizing::default()),
        text => BASE64.decode(text).map(Zeroizing::new).map_err(|_| Failure::IncorrectEncoding),
    }
}

pub(super) fn encode(data: &[u8]) -> String {
    BASE64.encode(data)
}
