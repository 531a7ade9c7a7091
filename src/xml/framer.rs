//! A stream's bytes, cut into its header, whole top-level elements and its end.
//!
//! ```
//! use coucou::xml::framer::{Frame, Framer, Limits};
//!
//! let mut framer = Framer::new(Limits::default());
//! let mut bytes: &[u8] = b"<stream:stream xmlns='jabber:client' version='1.0' \
//!     xmlns:stream='http://etherx.jabber.org/streams'><presence/> </stream:stream>";
//! while let Some(frame) = framer.next(bytes).unwrap() {
//!     if let Frame::Element { len } = frame {
//!         assert_eq!(&bytes[..len], b"<presence/>");
//!     }
//!     bytes = &bytes[frame.len()..];
//! }
//! assert!(bytes.is_empty());
//! ```

use std::borrow::Cow;
use std::ops::Range;
use std::sync::LazyLock;

use super::element::{self, Element};
use super::fault::{Fault, XmlError};
use super::scan::{Done, Scanner};
use super::scope::{self, Scope};
use super::{ns, write};
use crate::xml::stream_error::StreamError;

/// What a peer may make us hold and do. Passing one is answered by `policy-violation`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of one top-level element. RFC 6120 §13.12 demands at least 10,000.
    pub element_bytes_max: usize,
    /// Bytes of the stream header, XML declaration and white space before it included.
    pub header_bytes_max: usize,
    /// Elements within each other, the top-level element being the first.
    pub depth_max: u16,
    /// Attributes of one element, namespace declarations included. Bounds the search for
    /// duplicates, which takes the square of it.
    pub attributes_max: usize,
    /// Prefixes bound at one time within a top-level element. Bounds every look-up.
    pub prefixes_max: u16,
    /// Bytes of a name with its prefix.
    pub name_bytes_max: usize,
    /// Children of a top-level element: the index of them is larger than `<a/>`.
    pub children_max: usize,
}

impl Limits {
    /// For peers who have not said who they are (RFC 6120 §13.12 still wants 10,000 bytes).
    pub const UNAUTHENTICATED: Limits = Limits {
        element_bytes_max: 10_000,
        header_bytes_max: 4096,
        depth_max: 16,
        attributes_max: 32,
        prefixes_max: 32,
        name_bytes_max: 128,
        children_max: 64,
    };

    /// For peers who have.
    pub const AUTHENTICATED: Limits = Limits {
        element_bytes_max: 256 * 1024,
        header_bytes_max: 4096,
        depth_max: 64,
        attributes_max: 64,
        prefixes_max: 64,
        name_bytes_max: 256,
        children_max: 512,
    };

    /// For what was accepted once and comes from our own disk, or from other parts of us: it may
    /// have grown since, or have been accepted under other settings.
    pub const STORED: Limits = Limits {
        element_bytes_max: 64 * 1024 * 1024,
        header_bytes_max: 0,
        depth_max: 128,
        attributes_max: 256,
        prefixes_max: 256,
        name_bytes_max: 1024,
        children_max: 65_536,
    };
}

impl Default for Limits {
    fn default() -> Limits {
        Limits::AUTHENTICATED
    }
}

/// Cuts one direction of one stream. Needs some 300 bytes while idle.
#[derive(Debug)]
pub struct Framer {
    limits: Limits,
    stage: Stage,
    scope: Scope,
    default_ns: Box<str>,
    scanner: Scanner,
}

#[derive(Debug, PartialEq, Eq)]
enum Stage {
    /// Waiting for the header or in the midst of it.
    Header,
    /// Between top-level elements.
    Between,
    /// In the midst of one.
    Within,
    /// The stream has ended.
    Closed,
    /// A rule was broken.
    Broken(Fault),
}

/// What stands at the beginning of the buffer. The next frame begins `len` bytes later.
#[derive(Debug, PartialEq, Eq)]
pub enum Frame {
    /// The start tag of the stream.
    Header { len: usize, header: StreamHeader },
    /// A whole top-level element. [`Framer::outline`] tells about it until the next call.
    Element { len: usize },
    /// White space between elements: a keepalive (RFC 6120 §4.6.1).
    Whitespace { len: usize },
    /// `</stream:stream>`
    Close { len: usize },
}

impl Frame {
    /// Bytes that the frame takes from the buffer.
    #[allow(clippy::len_without_is_empty)] // never empty
    pub fn len(&self) -> usize {
        match *self {
            Frame::Header { len, .. }
            | Frame::Element { len }
            | Frame::Whitespace { len }
            | Frame::Close { len } => len,
        }
    }
}

/// The attributes of a stream's start tag (RFC 6120 §4.7) as they were sent, and its namespaces.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StreamHeader {
    pub to: Option<String>,
    pub from: Option<String>,
    pub version: Option<String>,
    /// `xml:lang`
    pub lang: Option<String>,
    pub id: Option<String>,
    /// The content namespace, as `jabber:client`; empty if none was declared. Whether it is one
    /// of ours is for the negotiation to say.
    pub default_ns: String,
    /// Prefix and namespace of the other declarations.
    pub prefixes: Vec<(String, String)>,
}

impl Framer {
    /// Begins with a stream header.
    pub fn new(limits: Limits) -> Framer {
        Framer {
            limits,
            stage: Stage::Header,
            scope: Scope::default(),
            default_ns: "".into(),
            scanner: Scanner::for_header(),
        }
    }

    /// Begins between elements, without header: for transports that frame by themselves
    /// (RFC 7395, XEP-0124), where each element stands for itself.
    pub fn without_header(limits: Limits, default_ns: &str) -> Framer {
        Framer {
            limits,
            stage: Stage::Between,
            scope: Scope::with_default(default_ns),
            default_ns: default_ns.into(),
            scanner: Scanner::for_element(),
        }
    }

    /// Other limits from now on, also for what is half read.
    pub fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
    }

    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Expects a new stream header, as after TLS and SASL (RFC 6120 §4.3.3).
    pub fn reset(&mut self) {
        *self = Framer::new(self.limits);
    }

    /// The namespace of stanzas on this stream; empty before its header.
    pub fn default_ns(&self) -> &str {
        &self.default_ns
    }

    /// The frame at the beginning of `buf`, or `None` if it has not come whole.
    ///
    /// `buf` begins where the last frame ended and holds everything since. The framer remembers
    /// how far it has looked: no byte is looked at twice, but for the up to three of a character
    /// that was cut.
    ///
    /// # Errors
    /// The stream error to close with. It is returned again by every further call.
    #[allow(clippy::should_implement_trait)] // not an iterator: takes the buffer
    pub fn next(&mut self, buf: &[u8]) -> Result<Option<Frame>, StreamError> {
        self.frame(buf).map_err(|fault| {
            self.stage = Stage::Broken(fault);
            self.scanner.rest();
            StreamError::from(fault)
        })
    }

    /// The rule that was broken, after an error.
    pub fn fault(&self) -> Option<Fault> {
        match self.stage {
            Stage::Broken(fault) => Some(fault),
            _ => None,
        }
    }

    fn frame(&mut self, buf: &[u8]) -> Result<Option<Frame>, Fault> {
        let (bytes_max, too_large) = match self.stage {
            Stage::Header => (self.limits.header_bytes_max, Fault::HeaderTooLarge),
            Stage::Within => (self.limits.element_bytes_max, Fault::ElementTooLarge),
            Stage::Broken(fault) => return Err(fault),
            Stage::Between | Stage::Closed => {
                let white = super::chars::skip(buf, 0, super::chars::SPACE);
                if white > 0 {
                    return Ok(Some(Frame::Whitespace { len: white }));
                }
                if buf.is_empty() {
                    self.scanner.rest();
                    return Ok(None);
                }
                if self.stage == Stage::Closed {
                    return Err(Fault::AfterTheEnd);
                }
                if buf.first() != Some(&b'<') {
                    return Err(Fault::TextBetweenStanzas);
                }
                self.scanner.begin();
                self.stage = Stage::Within;
                (self.limits.element_bytes_max, Fault::ElementTooLarge)
            }
        };
        // Looking no further than the limit makes the answer independent of how bytes arrive.
        let view = &buf[..buf.len().min(bytes_max).min(OFFSET_MAX)];
        match self.scanner.scan(view, &self.scope, &self.limits)? {
            Some(Done::Header(len)) => {
                let header = self.open_stream(view)?;
                Ok(Some(Frame::Header { len, header }))
            }
            Some(Done::Element(len)) => {
                self.stage = Stage::Between;
                Ok(Some(Frame::Element { len }))
            }
            Some(Done::StreamEnd(len)) => {
                self.stage = Stage::Closed;
                Ok(Some(Frame::Close { len }))
            }
            None if buf.len() > view.len() => Err(too_large),
            None => Ok(None),
        }
    }

    /// Checks the start tag that was just scanned and opens its scope.
    fn open_stream(&mut self, buf: &[u8]) -> Result<StreamHeader, Fault> {
        let (scope, tag) = self.scanner.header_scope(buf);
        let Some(tag) = tag else { return Err(Fault::NotAStream) };
        if tag.ns != ns::STREAMS.as_bytes() {
            return Err(Fault::NotTheStreamNamespace);
        }
        if tag.name != b"stream" {
            return Err(Fault::NotAStream);
        }
        let mut header = StreamHeader {
            default_ns: scope.default_ns().to_owned(),
            prefixes: scope.prefixes().map(|(p, n)| (p.to_owned(), n.to_owned())).collect(),
            ..StreamHeader::default()
        };
        for (name, value) in tag.attributes() {
            let field = match name {
                b"to" => &mut header.to,
                b"from" => &mut header.from,
                b"version" => &mut header.version,
                b"id" => &mut header.id,
                b"xml:lang" => &mut header.lang,
                _ => continue,
            };
            *field = Some(value.into_owned());
        }
        self.default_ns = header.default_ns.as_str().into();
        self.scope = scope;
        self.scanner.rest();
        self.scanner = Scanner::for_element();
        self.stage = Stage::Between;
        Ok(header)
    }

    /// What the element that was just framed is made of. `bytes` are those of its frame.
    pub fn outline<'a>(&'a self, bytes: &'a [u8]) -> Outline<'a> {
        Outline { scanner: &self.scanner, scope: &self.scope, bytes }
    }

    /// What the stream header binds.
    pub(crate) fn scope(&self) -> &Scope {
        &self.scope
    }

    /// The element that was just framed as a tree, prefixes of the stream header resolved.
    ///
    /// # Errors
    /// None for the bytes of a frame of this stream.
    pub fn element(&self, bytes: &[u8]) -> Result<Element, XmlError> {
        element::build(bytes, &self.scope, &Limits::STORED)
    }
}

/// Keeps offsets within 32 bits.
const OFFSET_MAX: usize = i32::MAX as usize;

/// The first two levels of a top-level element, by place, without a tree.
#[derive(Clone, Copy)]
pub struct Outline<'a> {
    scanner: &'a Scanner,
    scope: &'a Scope,
    bytes: &'a [u8],
}

/// A child in an [`Outline`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OutlineChild<'a> {
    /// Place of the local name.
    pub(crate) name: Range<usize>,
    pub(crate) ns: ChildNs<'a>,
    /// From its `<` to its last `>`.
    pub(crate) whole: Range<usize>,
}

/// Where the namespace of a child is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ChildNs<'a> {
    /// It is that of its parent.
    Inherited,
    /// Literally at a place of the element.
    At(Range<usize>),
    /// Elsewhere, or with references.
    Text(Cow<'a, str>),
}

impl<'a> Outline<'a> {
    /// Local name.
    pub fn name(&self) -> Cow<'a, str> {
        write::utf8(self.name_bytes())
    }

    pub fn ns(&self) -> Cow<'a, str> {
        write::utf8(self.ns_bytes())
    }

    pub fn is(&self, name: &str, ns: &str) -> bool {
        self.name_bytes() == name.as_bytes() && self.ns_bytes() == ns.as_bytes()
    }

    /// The value of an attribute by its qualified name, as `to` or `xml:lang`.
    pub fn attribute(&self, name: &str) -> Option<Cow<'a, str>> {
        self.attributes().find(|(found, _)| *found == name.as_bytes()).map(|(_, value)| value)
    }

    /// Qualified names and values of all attributes but namespace declarations.
    pub(crate) fn attributes(&self) -> impl Iterator<Item = (&'a [u8], Cow<'a, str>)> {
        let bytes = self.bytes;
        let all = self.scanner.outline().map_or(&[][..], |outline| &outline.attributes);
        all.iter()
            .filter(move |attribute| !attribute.is_declaration(bytes))
            .map(move |attribute| (attribute.name(bytes), attribute.value(bytes)))
    }

    pub(crate) fn children(&self) -> impl Iterator<Item = OutlineChild<'a>> {
        let Outline { scanner, scope, bytes } = *self;
        let all = scanner.outline().map_or(&[][..], |outline| &outline.children);
        all.iter().map(move |child| OutlineChild {
            name: range(child.name, child.name + u32::from(child.name_len)),
            ns: match child.ns.in_buffer() {
                _ if child.inherits => ChildNs::Inherited,
                Some((start, len)) => ChildNs::At(range(start, start + len)),
                None => ChildNs::Text(write::utf8(scanner.get(child.ns, bytes, scope))),
            },
            whole: range(child.start, child.end),
        })
    }

    /// Place of what is between start tag and end tag.
    pub(crate) fn content(&self) -> Range<usize> {
        let (start, end) = self.scanner.outline().map_or((0, 0), |outline| outline.content);
        range(start, end)
    }

    /// The content means the same within any element of this namespace that binds no prefix.
    pub(crate) fn stands_alone(&self) -> bool {
        self.scanner.outline().is_some_and(|outline| outline.stands_alone)
    }

    pub(crate) fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    pub(crate) fn name_bytes(&self) -> &'a [u8] {
        let outline = self.scanner.outline();
        outline.map_or(&[], |o| scope::part(self.bytes, o.name.0, u32::from(o.name.1)))
    }

    pub(crate) fn ns_bytes(&self) -> &'a [u8] {
        let outline = self.scanner.outline();
        outline.map_or(&[], |o| self.scanner.get(o.ns, self.bytes, self.scope))
    }
}

fn range(start: u32, end: u32) -> Range<usize> {
    usize::try_from(start).unwrap_or(usize::MAX)..usize::try_from(end).unwrap_or(usize::MAX)
}

/// Checks that `bytes` are exactly one element by the rules of streams, and nothing else.
///
/// # Errors
/// The first rule that is broken, and where.
pub fn validate(bytes: &[u8], default_ns: &str, limits: &Limits) -> Result<(), XmlError> {
    let scope = Scope::with_default(default_ns);
    scan_whole(bytes, &scope, limits)
}

/// One standalone element from beginning to end.
pub(crate) fn scan_whole(bytes: &[u8], scope: &Scope, limits: &Limits) -> Result<(), XmlError> {
    let mut scanner = Scanner::for_element();
    let outcome = scan_with(&mut scanner, bytes, scope, limits);
    scanner.rest();
    outcome
}

/// Checks one standalone element and lets `read` look at its outline.
pub(crate) fn with_outline<T>(
    bytes: &[u8],
    scope: &Scope,
    limits: &Limits,
    read: impl FnOnce(&Outline<'_>) -> T,
) -> Result<T, XmlError> {
    let mut scanner = Scanner::for_element();
    let outcome = scan_with(&mut scanner, bytes, scope, limits)
        .map(|()| read(&Outline { scanner: &scanner, scope, bytes }));
    scanner.rest();
    outcome
}

fn scan_with(
    scanner: &mut Scanner,
    bytes: &[u8],
    scope: &Scope,
    limits: &Limits,
) -> Result<(), XmlError> {
    let bytes_max = limits.element_bytes_max.min(OFFSET_MAX);
    if bytes.len() > bytes_max {
        return Err(XmlError { fault: Fault::ElementTooLarge, at: bytes_max });
    }
    let fault = match scanner.scan(bytes, scope, limits) {
        Ok(Some(Done::Element(len))) if len == bytes.len() => return Ok(()),
        Ok(Some(_)) => Fault::TrailingContent,
        Ok(None) => Fault::Incomplete,
        Err(fault) => fault,
    };
    Err(XmlError { fault, at: scanner.position() })
}

/// A scope in which `jabber:client` is the default namespace and no prefix is bound.
pub(crate) fn client_scope() -> &'static Scope {
    static CLIENT: LazyLock<Scope> = LazyLock::new(|| Scope::with_default(ns::CLIENT));
    &CLIENT
}

#[cfg(test)]
mod tests;
