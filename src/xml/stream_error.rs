//! Stream errors (RFC 6120 §4.9): what ends a stream, and how that is said.

use std::fmt;

use crate::xml::element::Element;
use crate::xml::{ns, write};

/// The defined conditions of RFC 6120 §4.9.3.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StreamCondition {
    BadFormat,
    BadNamespacePrefix,
    Conflict,
    ConnectionTimeout,
    HostGone,
    HostUnknown,
    ImproperAddressing,
    InternalServerError,
    InvalidFrom,
    InvalidNamespace,
    InvalidXml,
    NotAuthorized,
    NotWellFormed,
    PolicyViolation,
    RemoteConnectionFailed,
    Reset,
    ResourceConstraint,
    RestrictedXml,
    SeeOtherHost,
    SystemShutdown,
    UndefinedCondition,
    UnsupportedEncoding,
    UnsupportedFeature,
    UnsupportedStanzaType,
    UnsupportedVersion,
}

impl StreamCondition {
    /// Every condition, in the order of the RFC.
    pub const ALL: [StreamCondition; 25] = {
        use StreamCondition::*;
        [
            BadFormat,
            BadNamespacePrefix,
            Conflict,
            ConnectionTimeout,
            HostGone,
            HostUnknown,
            ImproperAddressing,
            InternalServerError,
            InvalidFrom,
            InvalidNamespace,
            InvalidXml,
            NotAuthorized,
            NotWellFormed,
            PolicyViolation,
            RemoteConnectionFailed,
            Reset,
            ResourceConstraint,
            RestrictedXml,
            SeeOtherHost,
            SystemShutdown,
            UndefinedCondition,
            UnsupportedEncoding,
            UnsupportedFeature,
            UnsupportedStanzaType,
            UnsupportedVersion,
        ]
    };

    /// The name of the element that stands for it.
    pub fn name(self) -> &'static str {
        use StreamCondition::*;
        match self {
            BadFormat => "bad-format",
            BadNamespacePrefix => "bad-namespace-prefix",
            Conflict => "conflict",
            ConnectionTimeout => "connection-timeout",
            HostGone => "host-gone",
            HostUnknown => "host-unknown",
            ImproperAddressing => "improper-addressing",
            InternalServerError => "internal-server-error",
            InvalidFrom => "invalid-from",
            InvalidNamespace => "invalid-namespace",
            InvalidXml => "invalid-xml",
            NotAuthorized => "not-authorized",
            NotWellFormed => "not-well-formed",
            PolicyViolation => "policy-violation",
            RemoteConnectionFailed => "remote-connection-failed",
            Reset => "reset",
            ResourceConstraint => "resource-constraint",
            RestrictedXml => "restricted-xml",
            SeeOtherHost => "see-other-host",
            SystemShutdown => "system-shutdown",
            UndefinedCondition => "undefined-condition",
            UnsupportedEncoding => "unsupported-encoding",
            UnsupportedFeature => "unsupported-feature",
            UnsupportedStanzaType => "unsupported-stanza-type",
            UnsupportedVersion => "unsupported-version",
        }
    }

    pub fn from_name(name: &str) -> Option<StreamCondition> {
        Self::ALL.into_iter().find(|condition| condition.name() == name)
    }
}

impl fmt::Display for StreamCondition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A reason to close a stream. Always fatal (RFC 6120 §4.9.1.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamError {
    pub condition: StreamCondition,
    /// For people, in English. With [`StreamCondition::SeeOtherHost`] it is the host (and port)
    /// to go to instead, which RFC 6120 §4.9.3.19 puts inside the condition.
    pub text: Option<String>,
    /// An application's own condition beside the defined one (RFC 6120 §4.9.4).
    pub app: Option<Box<Element>>,
}

impl StreamError {
    pub fn new(condition: StreamCondition) -> StreamError {
        StreamError { condition, text: None, app: None }
    }

    pub fn with_text(condition: StreamCondition, text: impl Into<String>) -> StreamError {
        StreamError { condition, text: Some(text.into()), app: None }
    }

    pub fn with_app(self, app: Element) -> StreamError {
        StreamError { app: Some(Box::new(app)), ..self }
    }

    /// The element as it stands on a stream that binds the prefix `stream`.
    pub fn to_xml(&self) -> String {
        let mut out = Vec::with_capacity(192);
        out.extend_from_slice(b"<stream:error>");
        self.write_content(&mut out);
        out.extend_from_slice(b"</stream:error>");
        String::from_utf8(out).unwrap_or_default()
    }

    /// The same for transports without stream header (RFC 7395), with its namespace declared.
    pub fn to_standalone_xml(&self) -> String {
        let mut out = Vec::with_capacity(256);
        out.extend_from_slice(b"<stream:error xmlns:stream='");
        out.extend_from_slice(ns::STREAMS.as_bytes());
        out.extend_from_slice(b"'>");
        self.write_content(&mut out);
        out.extend_from_slice(b"</stream:error>");
        String::from_utf8(out).unwrap_or_default()
    }

    fn write_content(&self, out: &mut Vec<u8>) {
        let name = self.condition.name();
        let (host, text) = match (self.condition, self.text.as_deref()) {
            (StreamCondition::SeeOtherHost, host) => (host, None),
            (_, text) => (None, text),
        };
        out.push(b'<');
        out.extend_from_slice(name.as_bytes());
        write::attribute(out, "xmlns", ns::STREAM_ERRORS);
        match host {
            Some(host) => {
                out.push(b'>');
                write::text(out, host);
                out.extend_from_slice(b"</");
                out.extend_from_slice(name.as_bytes());
                out.push(b'>');
            }
            None => out.extend_from_slice(b"/>"),
        }
        if let Some(text) = text {
            out.extend_from_slice(b"<text xml:lang='en'");
            write::attribute(out, "xmlns", ns::STREAM_ERRORS);
            out.push(b'>');
            write::text(out, text);
            out.extend_from_slice(b"</text>");
        }
        if let Some(app) = &self.app {
            app.write(out, ns::STREAMS);
        }
    }

    /// Reads what a peer sent. An element without a condition that we know is
    /// `undefined-condition` (RFC 6120 §4.9.3.21).
    pub fn from_element(error: &Element) -> StreamError {
        let condition = error
            .children()
            .filter(|child| child.ns() == ns::STREAM_ERRORS)
            .find_map(|child| StreamCondition::from_name(child.name()).map(|found| (found, child)));
        let said = |element: &Element| Some(element.text()).filter(|text| !text.is_empty());
        match condition {
            Some((StreamCondition::SeeOtherHost, child)) => {
                StreamError { text: said(child), ..StreamError::new(StreamCondition::SeeOtherHost) }
            }
            found => StreamError {
                condition: found.map_or(StreamCondition::UndefinedCondition, |(known, _)| known),
                text: error.child("text", ns::STREAM_ERRORS).and_then(said),
                app: None,
            },
        }
    }
}

impl fmt::Display for StreamError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.text {
            Some(text) => write!(f, "{}: {text}", self.condition),
            None => write!(f, "{}", self.condition),
        }
    }
}

impl std::error::Error for StreamError {}

impl From<StreamCondition> for StreamError {
    fn from(condition: StreamCondition) -> StreamError {
        StreamError::new(condition)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(xml: &str) -> StreamError {
        StreamError::from_element(&Element::parse(xml.as_bytes(), ns::CLIENT).unwrap())
    }

    #[test]
    fn every_condition_is_read_as_it_was_written() {
        for condition in StreamCondition::ALL {
            assert_eq!(StreamCondition::from_name(condition.name()), Some(condition));
            for error in [
                StreamError::new(condition),
                StreamError::with_text(condition, "<because> & \u{fc}"),
            ] {
                assert_eq!(read(&error.to_standalone_xml()), error);
            }
        }
    }

    #[test]
    fn the_wire_form_is_that_of_the_rfc() {
        assert_eq!(
            StreamError::with_text(StreamCondition::NotWellFormed, "a <b").to_xml(),
            "<stream:error><not-well-formed xmlns='urn:ietf:params:xml:ns:xmpp-streams'/>\
             <text xml:lang='en' xmlns='urn:ietf:params:xml:ns:xmpp-streams'>a &lt;b</text>\
             </stream:error>"
        );
        assert_eq!(
            StreamError::with_text(StreamCondition::SeeOtherHost, "[2001:db8::1]:5222").to_xml(),
            "<stream:error><see-other-host xmlns='urn:ietf:params:xml:ns:xmpp-streams'>\
             [2001:db8::1]:5222</see-other-host></stream:error>"
        );
    }

    #[test]
    fn unknown_conditions_are_undefined() {
        let error = read(
            "<error xmlns='http://etherx.jabber.org/streams'>\
             <out-of-tea xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></error>",
        );
        assert_eq!(error, StreamError::new(StreamCondition::UndefinedCondition));
    }
}
