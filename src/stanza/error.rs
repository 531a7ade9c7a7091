//! Stanza errors (RFC 6120 §8.3).

use std::fmt;

use super::{Kind, Stanza, Type};
use crate::jid::Jid;
use crate::xml::element::Element;
use crate::xml::ns;

/// The defined conditions of RFC 6120 §8.3.3.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Condition {
    BadRequest,
    Conflict,
    FeatureNotImplemented,
    Forbidden,
    Gone,
    InternalServerError,
    ItemNotFound,
    JidMalformed,
    NotAcceptable,
    NotAllowed,
    NotAuthorized,
    PolicyViolation,
    RecipientUnavailable,
    Redirect,
    RegistrationRequired,
    RemoteServerNotFound,
    RemoteServerTimeout,
    ResourceConstraint,
    ServiceUnavailable,
    SubscriptionRequired,
    UndefinedCondition,
    UnexpectedRequest,
}

/// What the sender may do about it (RFC 6120 §8.3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorType {
    /// Retry after providing credentials.
    Auth,
    /// Do not retry.
    Cancel,
    /// Go on; it was only a warning.
    Continue,
    /// Retry after changing what was sent.
    Modify,
    /// Retry after waiting.
    Wait,
}

impl ErrorType {
    pub const ALL: [ErrorType; 5] = [
        ErrorType::Auth,
        ErrorType::Cancel,
        ErrorType::Continue,
        ErrorType::Modify,
        ErrorType::Wait,
    ];

    pub fn name(self) -> &'static str {
        match self {
            ErrorType::Auth => "auth",
            ErrorType::Cancel => "cancel",
            ErrorType::Continue => "continue",
            ErrorType::Modify => "modify",
            ErrorType::Wait => "wait",
        }
    }

    pub fn from_name(name: &str) -> Option<ErrorType> {
        Self::ALL.into_iter().find(|typ| typ.name() == name)
    }
}

impl Condition {
    /// Every condition, in the order of the RFC.
    pub const ALL: [Condition; 22] = {
        use Condition::*;
        [
            BadRequest,
            Conflict,
            FeatureNotImplemented,
            Forbidden,
            Gone,
            InternalServerError,
            ItemNotFound,
            JidMalformed,
            NotAcceptable,
            NotAllowed,
            NotAuthorized,
            PolicyViolation,
            RecipientUnavailable,
            Redirect,
            RegistrationRequired,
            RemoteServerNotFound,
            RemoteServerTimeout,
            ResourceConstraint,
            ServiceUnavailable,
            SubscriptionRequired,
            UndefinedCondition,
            UnexpectedRequest,
        ]
    };

    /// The name of the element that stands for it.
    pub fn name(self) -> &'static str {
        use Condition::*;
        match self {
            BadRequest => "bad-request",
            Conflict => "conflict",
            FeatureNotImplemented => "feature-not-implemented",
            Forbidden => "forbidden",
            Gone => "gone",
            InternalServerError => "internal-server-error",
            ItemNotFound => "item-not-found",
            JidMalformed => "jid-malformed",
            NotAcceptable => "not-acceptable",
            NotAllowed => "not-allowed",
            NotAuthorized => "not-authorized",
            PolicyViolation => "policy-violation",
            RecipientUnavailable => "recipient-unavailable",
            Redirect => "redirect",
            RegistrationRequired => "registration-required",
            RemoteServerNotFound => "remote-server-not-found",
            RemoteServerTimeout => "remote-server-timeout",
            ResourceConstraint => "resource-constraint",
            ServiceUnavailable => "service-unavailable",
            SubscriptionRequired => "subscription-required",
            UndefinedCondition => "undefined-condition",
            UnexpectedRequest => "unexpected-request",
        }
    }

    pub fn from_name(name: &str) -> Option<Condition> {
        Self::ALL.into_iter().find(|condition| condition.name() == name)
    }

    /// The type that the RFC gives it, the first one where it leaves a choice.
    pub fn default_type(self) -> ErrorType {
        use Condition::*;
        match self {
            Forbidden | NotAuthorized | RegistrationRequired | SubscriptionRequired => {
                ErrorType::Auth
            }
            BadRequest | JidMalformed | NotAcceptable | PolicyViolation | Redirect => {
                ErrorType::Modify
            }
            RecipientUnavailable | RemoteServerTimeout | ResourceConstraint | UnexpectedRequest => {
                ErrorType::Wait
            }
            Conflict
            | FeatureNotImplemented
            | Gone
            | InternalServerError
            | ItemNotFound
            | NotAllowed
            | RemoteServerNotFound
            | ServiceUnavailable
            | UndefinedCondition => ErrorType::Cancel,
        }
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The content of a stanza of type `error`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StanzaError {
    pub condition: Condition,
    pub kind: ErrorType,
    /// For people, in English.
    pub text: Option<String>,
    /// An application-specific condition.
    pub app: Option<Box<Element>>,
    /// Who found the error, if not the addressee.
    pub by: Option<Jid>,
    /// The other address of `gone` and `redirect`, a URI.
    pub address: Option<String>,
}

impl StanzaError {
    /// An error of the type that its condition has by default.
    pub fn new(condition: Condition) -> StanzaError {
        StanzaError {
            condition,
            kind: condition.default_type(),
            text: None,
            app: None,
            by: None,
            address: None,
        }
    }

    #[must_use]
    pub fn with_type(mut self, kind: ErrorType) -> StanzaError {
        self.kind = kind;
        self
    }

    #[must_use]
    pub fn with_text(mut self, text: impl Into<String>) -> StanzaError {
        self.text = Some(text.into());
        self
    }

    #[must_use]
    pub fn with_app(mut self, app: Element) -> StanzaError {
        self.app = Some(Box::new(app));
        self
    }

    #[must_use]
    pub fn with_by(mut self, by: Jid) -> StanzaError {
        self.by = Some(by);
        self
    }

    #[must_use]
    pub fn with_address(mut self, address: impl Into<String>) -> StanzaError {
        self.address = Some(address.into());
        self
    }

    /// The `<error/>` element.
    pub fn to_element(&self) -> Element {
        let mut condition = Element::new(self.condition.name(), ns::STANZAS);
        if let (Condition::Gone | Condition::Redirect, Some(address)) =
            (self.condition, &self.address)
        {
            condition.push_text(address);
        }
        let mut error = Element::new("error", ns::CLIENT)
            .attr("type", self.kind.name())
            .attr_opt("by", self.by.as_ref())
            .with(condition);
        if let Some(text) = &self.text {
            error.push(Element::new("text", ns::STANZAS).attr("xml:lang", "en").with_text(text));
        }
        if let Some(app) = &self.app {
            error.push(Element::clone(app));
        }
        error
    }

    /// Reads an `<error/>`. What is missing or unknown becomes `undefined-condition` and
    /// `cancel`: others' errors are never a reason for errors of ours.
    pub fn from_element(error: &Element) -> StanzaError {
        let condition = error
            .children()
            .filter(|child| child.ns() == ns::STANZAS)
            .find_map(|child| Condition::from_name(child.name()).map(|found| (found, child)));
        let said = |element: &Element| Some(element.text()).filter(|text| !text.is_empty());
        StanzaError {
            condition: condition.map_or(Condition::UndefinedCondition, |(known, _)| known),
            kind: error.get("type").and_then(ErrorType::from_name).unwrap_or(ErrorType::Cancel),
            text: error.child("text", ns::STANZAS).and_then(said),
            app: error.children().find(|child| child.ns() != ns::STANZAS).cloned().map(Box::new),
            by: error.get("by").and_then(|by| Jid::parse(by).ok()),
            address: match condition {
                Some((Condition::Gone | Condition::Redirect, child)) => said(child),
                _ => None,
            },
        }
    }
}

impl From<Condition> for StanzaError {
    fn from(condition: Condition) -> StanzaError {
        StanzaError::new(condition)
    }
}

impl fmt::Display for StanzaError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.text {
            Some(text) => write!(f, "{}: {text}", self.condition),
            None => write!(f, "{}", self.condition),
        }
    }
}

impl std::error::Error for StanzaError {}

impl Stanza {
    /// The error as an answer to this stanza: addresses swapped, same id, without the original
    /// payload.
    ///
    /// `None` where no answer may be given: errors never beget errors (RFC 6120 §8.3.1), results
    /// are answers already, and who goes offline is not told that nobody listened.
    pub fn error_reply(&self, error: &StanzaError) -> Option<Stanza> {
        match (self.head.kind, self.head.typ) {
            (_, Some(Type::Error))
            | (Kind::Iq, Some(Type::Result))
            | (Kind::Presence, Some(Type::Unavailable)) => None,
            _ => Some(Stanza::new(self.head.answer(Type::Error), [error.to_element()])),
        }
    }

    /// The error that a stanza of type `error` carries.
    pub fn error(&self) -> Option<StanzaError> {
        if self.head.typ != Some(Type::Error) {
            return None;
        }
        Some(match self.child("error", ns::CLIENT).map(|child| child.element()) {
            Some(Ok(error)) => StanzaError::from_element(&error),
            _ => StanzaError::new(Condition::UndefinedCondition),
        })
    }
}
