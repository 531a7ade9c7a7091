//! From bytes to a [`Stanza`]: the rules of RFC 6120 §8 that hold before anybody looks inside.

use std::fmt;

use super::error::{Condition, StanzaError};
use super::head::{Head, Kind, Type};
use super::{Child, Children, Ns, Stanza};
use crate::jid::JidError;
use crate::xml::fault::XmlError;
use crate::xml::framer::{ChildNs, Framer, Limits, Outline};
use crate::xml::scope::Scope;
use crate::xml::stream_error::{StreamCondition, StreamError};
use crate::xml::{element, framer, ns};

/// Why bytes are no stanza that could be routed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StanzaParseError {
    pub reason: Reason,
    /// As much of the head as could be read; absent if it is not a stanza at all.
    pub head: Option<Box<Head>>,
}

/// What is wrong with a stanza.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Not one element of valid XML. Cannot happen to a frame of a stream.
    Xml(XmlError),
    /// An element that is no stanza, or one in another namespace than the stream's.
    NotAStanza,
    BadTo(JidError),
    BadFrom(JidError),
    /// An IQ or presence with a type that it cannot have, or an IQ without.
    UnknownType,
    /// An IQ without `id`.
    MissingId,
    /// An IQ request without exactly one child, or a result with more than one.
    PayloadCount,
}

impl StanzaParseError {
    /// The stanza error that says it to the sender, if there is an answer and he may have one.
    pub fn reply(&self) -> Option<Stanza> {
        let head = self.head.as_deref()?;
        let (condition, text) = match &self.reason {
            Reason::Xml(_) | Reason::NotAStanza => return None,
            Reason::BadTo(error) | Reason::BadFrom(error) => {
                (Condition::JidMalformed, error.to_string())
            }
            reason => (Condition::BadRequest, reason.to_string()),
        };
        let error = StanzaError::new(condition).with_text(text);
        Stanza::new(head.clone(), []).error_reply(&error)
    }

    /// The stream error that it is, if it is not a matter of one stanza.
    pub fn stream_error(&self) -> Option<StreamError> {
        match &self.reason {
            Reason::Xml(error) => Some(error.fault.into()),
            Reason::NotAStanza => Some(StreamError::new(StreamCondition::UnsupportedStanzaType)),
            _ => None,
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reason::Xml(error) => error.fmt(f),
            Reason::NotAStanza => f.write_str("the element is not a stanza of this stream"),
            Reason::BadTo(error) => write!(f, "to: {error}"),
            Reason::BadFrom(error) => write!(f, "from: {error}"),
            Reason::UnknownType => f.write_str("the stanza has no type that is defined for it"),
            Reason::MissingId => f.write_str("the IQ has no id"),
            Reason::PayloadCount => {
                f.write_str("an IQ request has exactly one child element, a result at most one")
            }
        }
    }
}

impl fmt::Display for StanzaParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.reason.fmt(f)
    }
}

impl std::error::Error for StanzaParseError {}

impl From<XmlError> for StanzaParseError {
    fn from(error: XmlError) -> StanzaParseError {
        StanzaParseError { reason: Reason::Xml(error), head: None }
    }
}

impl Stanza {
    /// Reads a standalone stanza of `jabber:client`, which is also the default namespace, or of
    /// `jabber:server`.
    ///
    /// # Errors
    /// See [`Reason`]. The error may carry an answer: [`StanzaParseError::reply`].
    pub fn parse(bytes: &[u8]) -> Result<Stanza, StanzaParseError> {
        framer::with_outline(bytes, framer::client_scope(), &Limits::STORED, |outline| {
            let ns = outline.ns();
            if ns != ns::CLIENT && ns != ns::SERVER {
                return Err(NOT_A_STANZA);
            }
            read(outline, &ns, framer::client_scope())
        })?
    }

    /// Reads the stanza that `framer` has just framed; `bytes` are those of the frame. It must be
    /// in the content namespace of the stream; from here on it is in `jabber:client`.
    ///
    /// # Errors
    /// See [`Reason`]. The error may carry an answer: [`StanzaParseError::reply`].
    pub fn from_frame(bytes: &[u8], framer: &Framer) -> Result<Stanza, StanzaParseError> {
        let outline = framer.outline(bytes);
        let expected = match framer.default_ns() {
            // RFC 7395 §3.3.3: each stanza declares it.
            "" => ns::CLIENT,
            ns => ns,
        };
        if outline.ns_bytes() != expected.as_bytes() {
            return Err(NOT_A_STANZA);
        }
        read(&outline, expected, framer.scope())
    }
}

const NOT_A_STANZA: StanzaParseError = StanzaParseError { reason: Reason::NotAStanza, head: None };

fn read(outline: &Outline<'_>, ns: &str, scope: &Scope) -> Result<Stanza, StanzaParseError> {
    let kind = match outline.name_bytes() {
        b"message" => Kind::Message,
        b"presence" => Kind::Presence,
        b"iq" => Kind::Iq,
        _ => return Err(NOT_A_STANZA),
    };
    let (head, wrong) = Head::read(kind, outline);
    let refuse = |reason, head| StanzaParseError { reason, head: Some(Box::new(head)) };
    if let Some(reason) = wrong {
        return Err(refuse(reason, head));
    }
    if !outline.stands_alone() || (ns != ns::CLIENT && names_client(outline)) {
        return rewrite(outline.bytes(), head, ns, scope);
    }
    let content = outline.content();
    let children = index(outline, content.start);
    let payload = outline.bytes().get(content).unwrap_or_default();
    if !payload_fits(&head, children.len()) {
        return Err(refuse(Reason::PayloadCount, head));
    }
    Ok(Stanza { head, payload: bytes::Bytes::copy_from_slice(payload), children })
}

/// Whether a child declares `jabber:client` where that is not the namespace of the stanza. For us
/// it is, so the declaration goes, as every repetition does.
fn names_client(outline: &Outline<'_>) -> bool {
    outline.children().any(|child| match child.ns {
        ChildNs::Inherited => false,
        ChildNs::At(place) => outline.bytes().get(place) == Some(ns::CLIENT.as_bytes()),
        ChildNs::Text(text) => text == ns::CLIENT,
    })
}

/// RFC 6120 §8.2.3, rules 3 and 6.
fn payload_fits(head: &Head, children_count: usize) -> bool {
    match (head.kind, head.typ) {
        (Kind::Iq, Some(Type::Get | Type::Set)) => children_count == 1,
        (Kind::Iq, Some(Type::Result)) => children_count <= 1,
        _ => true,
    }
}

/// The slow path: a payload that leans on prefixes or namespaces of what is around it is parsed
/// and written anew, so that it stands alone.
fn rewrite(bytes: &[u8], head: Head, ns: &str, scope: &Scope) -> Result<Stanza, StanzaParseError> {
    let mut element = element::build(bytes, scope, &Limits::STORED)?;
    element.rename_ns(ns, &ns::CLIENT.into());
    let mut wrapped = b"<x>".to_vec();
    // The default namespace of the content may have differed from that of the stanza.
    element.write_content(&mut wrapped);
    wrapped.extend_from_slice(b"</x>");
    let content = "<x>".len()..wrapped.len() - "</x>".len();
    let children =
        framer::with_outline(&wrapped, framer::client_scope(), &Limits::STORED, |outline| {
            index(outline, content.start)
        })?;
    if !payload_fits(&head, children.len()) {
        let head = Some(Box::new(head));
        return Err(StanzaParseError { reason: Reason::PayloadCount, head });
    }
    let payload = bytes::Bytes::from(wrapped).slice(content);
    Ok(Stanza { head, payload, children })
}

/// The children of an outline, their places counted from `base`.
pub(super) fn index(outline: &Outline<'_>, base: usize) -> Children {
    let offset = |at: usize| u32::try_from(at.saturating_sub(base)).unwrap_or(u32::MAX);
    outline
        .children()
        .map(|child| Child {
            start: offset(child.whole.start),
            end: offset(child.whole.end),
            name: offset(child.name.start),
            name_len: u16::try_from(child.name.len()).unwrap_or(u16::MAX),
            ns: match child.ns {
                ChildNs::Inherited => Ns::Inherited,
                ChildNs::At(place) => Ns::At(offset(place.start), offset(place.end)),
                ChildNs::Text(text) => Ns::text(&text),
            },
        })
        .collect()
}
