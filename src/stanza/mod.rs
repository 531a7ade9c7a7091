//! Stanzas: a head that is parsed, a payload that is not.
//!
//! A [`Stanza`] owns its payload as the bytes between start tag and end tag, exactly as they came,
//! and an index of the first level of it. Routing, archiving and copying decide on head and index;
//! whoever needs a tree asks one child for it. The bytes are in `jabber:client` and bind nothing
//! from around them, so they can be written under any other head, on any stream: see
//! [`Stanza::write`].

pub mod content;
pub mod delay;
pub mod error;
pub mod forms;
pub mod forward;
pub mod head;
pub mod hints;
pub mod iq;
pub mod message;
pub mod parse;
pub mod presence;
pub mod rsm;

use std::borrow::Cow;
use std::fmt;

use bytes::Bytes;
use smallvec::SmallVec;

pub use error::{Condition, ErrorType, StanzaError};
pub use head::{Head, Kind, Type};
pub use parse::{Reason, StanzaParseError};

use crate::xml::element::Element;
use crate::xml::fault::XmlError;
use crate::xml::framer::{self, Limits};
use crate::xml::{ns, scan, write};

/// A message, presence or IQ. Cheap to clone: the payload is shared.
#[derive(Clone)]
pub struct Stanza {
    pub head: Head,
    payload: Bytes,
    children: Children,
}

/// Five children is what a chat message of a present-day client has.
type Children = SmallVec<[Child; 5]>;

/// A child of the stanza, by place in the payload.
#[derive(Clone)]
struct Child {
    start: u32,
    end: u32,
    /// Where the local name begins.
    name: u32,
    name_len: u16,
    ns: Ns,
}

/// The namespace of a child.
#[derive(Clone)]
enum Ns {
    /// `jabber:client`, as the stanza.
    Inherited,
    /// Written from here to there.
    At(u32, u32),
    /// Written with references. Rare enough to keep the index small for all others.
    Text(Box<Text>),
}

#[derive(Clone)]
struct Text(Box<str>);

impl Ns {
    fn text(name: &str) -> Ns {
        Ns::Text(Box::new(Text(name.into())))
    }
}

/// A child of a stanza: a place in its payload.
#[derive(Clone, Copy)]
pub struct ChildRef<'a> {
    payload: &'a Bytes,
    child: &'a Child,
}

impl Stanza {
    /// A stanza of our own.
    pub fn new(head: Head, children: impl IntoIterator<Item = Element>) -> Stanza {
        let mut payload = Vec::new();
        let mut index = Children::new();
        for child in children {
            append(&mut payload, &mut index, &child);
        }
        Stanza { head, payload: payload.into(), children: index }
    }

    /// A stanza with a payload that is written already: any number of elements of
    /// `jabber:client`, white space between them.
    ///
    /// # Errors
    /// If the payload is not that.
    pub fn with_payload(head: Head, payload: Bytes) -> Result<Stanza, XmlError> {
        let children = index_payload(&payload)?;
        Ok(Stanza { head, payload, children })
    }

    /// What is between start tag and end tag, to be read in `jabber:client`.
    pub fn payload(&self) -> &Bytes {
        &self.payload
    }

    pub fn children(&self) -> impl Iterator<Item = ChildRef<'_>> {
        self.children.iter().map(|child| ChildRef { payload: &self.payload, child })
    }

    pub fn has(&self, name: &str, ns: &str) -> bool {
        self.child(name, ns).is_some()
    }

    /// The first child of a name.
    pub fn child(&self, name: &str, ns: &str) -> Option<ChildRef<'_>> {
        self.children().find(|child| child.is(name, ns))
    }

    /// Whether some child is of a namespace, whatever its name.
    pub fn has_ns(&self, ns: &str) -> bool {
        self.children().any(|child| child.ns_bytes() == ns.as_bytes())
    }

    /// With one more child behind the others. `child` is one element as it stands in
    /// `jabber:client`; anything else is left out.
    #[must_use]
    pub fn with(&self, child: &[u8]) -> Stanza {
        let mut payload = Vec::with_capacity(self.payload.len() + child.len());
        payload.extend_from_slice(&self.payload);
        payload.extend_from_slice(child);
        let mut children = self.children.clone();
        match index_payload(child) {
            Ok(added) => children.extend(added.into_iter().map(|c| c.moved(self.payload.len()))),
            Err(error) => {
                debug_assert!(false, "{error}: {}", String::from_utf8_lossy(child));
                return self.clone();
            }
        }
        Stanza { head: self.head.clone(), payload: payload.into(), children }
    }

    /// With one more child behind the others.
    #[must_use]
    pub fn with_element(&self, child: &Element) -> Stanza {
        let mut payload = Vec::with_capacity(self.payload.len() + 128);
        payload.extend_from_slice(&self.payload);
        let mut children = self.children.clone();
        append(&mut payload, &mut children, child);
        Stanza { head: self.head.clone(), payload: payload.into(), children }
    }

    /// Without the children that `unwanted` says yes to. Shares the payload if there are none.
    #[must_use]
    pub fn without(&self, unwanted: impl Fn(&ChildRef<'_>) -> bool) -> Stanza {
        if !self.children().any(|child| unwanted(&child)) {
            return self.clone();
        }
        let mut payload = Vec::with_capacity(self.payload.len());
        let mut children = Children::new();
        let mut done = 0;
        for child in self.children() {
            let place = child.place();
            if unwanted(&child) {
                payload.extend_from_slice(self.payload.get(done..place.start).unwrap_or_default());
            } else {
                let whole = self.payload.get(done..place.end).unwrap_or_default();
                // Where the child came to lie, less where it was.
                let removed = done - payload.len();
                payload.extend_from_slice(whole);
                children.push(child.child.clone().moved_back(removed));
            }
            done = place.end;
        }
        payload.extend_from_slice(self.payload.get(done..).unwrap_or_default());
        Stanza { head: self.head.clone(), payload: payload.into(), children }
    }

    /// The same payload under another head.
    #[must_use]
    pub fn with_head(&self, head: Head) -> Stanza {
        Stanza { head, payload: self.payload.clone(), children: self.children.clone() }
    }

    /// Appends it as it stands on a stream whose content namespace is the default one: no
    /// namespace is declared.
    pub fn write(&self, out: &mut Vec<u8>) {
        self.write_with(&self.head, out);
    }

    /// [`Stanza::write`] under another head: how one payload goes to many receivers.
    pub fn write_with(&self, head: &Head, out: &mut Vec<u8>) {
        head.write(out);
        self.write_rest(head.kind, out);
    }

    /// Appends it with `xmlns='jabber:client'`: for the archive, inside of `<forwarded/>`, for
    /// WebSocket.
    pub fn write_standalone(&self, out: &mut Vec<u8>) {
        self.head.write(out);
        write::attribute(out, "xmlns", ns::CLIENT);
        self.write_rest(self.head.kind, out);
    }

    fn write_rest(&self, kind: Kind, out: &mut Vec<u8>) {
        if self.payload.is_empty() {
            out.extend_from_slice(b"/>");
            return;
        }
        out.push(b'>');
        out.extend_from_slice(&self.payload);
        out.extend_from_slice(b"</");
        out.extend_from_slice(kind.name().as_bytes());
        out.push(b'>');
    }

    /// Bytes that [`Stanza::write`] appends, but for escapes in the head: what queues count.
    pub fn wire_len(&self) -> usize {
        self.head.wire_len() + self.payload.len()
    }
}

/// As on a stream. Never log it above trace: it holds what people say.
impl fmt::Debug for Stanza {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = Vec::new();
        self.write(&mut out);
        f.write_str(&String::from_utf8_lossy(&out))
    }
}

/// Same head, same bytes.
impl PartialEq for Stanza {
    fn eq(&self, other: &Stanza) -> bool {
        self.head == other.head && self.payload == other.payload
    }
}

impl Eq for Stanza {}

impl Child {
    fn moved(self, by: usize) -> Child {
        let by = u32::try_from(by).unwrap_or(u32::MAX);
        self.shifted(|at| at.saturating_add(by))
    }

    fn moved_back(self, by: usize) -> Child {
        let by = u32::try_from(by).unwrap_or(u32::MAX);
        self.shifted(|at| at.saturating_sub(by))
    }

    fn shifted(self, shift: impl Fn(u32) -> u32) -> Child {
        Child {
            start: shift(self.start),
            end: shift(self.end),
            name: shift(self.name),
            name_len: self.name_len,
            ns: match self.ns {
                Ns::At(start, end) => Ns::At(shift(start), shift(end)),
                other => other,
            },
        }
    }
}

impl<'a> ChildRef<'a> {
    /// Local name.
    pub fn name(&self) -> &'a str {
        std::str::from_utf8(self.name_bytes()).unwrap_or_default()
    }

    pub fn ns(&self) -> &'a str {
        std::str::from_utf8(self.ns_bytes()).unwrap_or_default()
    }

    pub fn is(&self, name: &str, ns: &str) -> bool {
        self.name_bytes() == name.as_bytes() && self.ns_bytes() == ns.as_bytes()
    }

    /// From its `<` to its last `>`, to be read in `jabber:client`.
    pub fn bytes(&self) -> &'a [u8] {
        self.payload.get(self.place()).unwrap_or_default()
    }

    /// The same without copying, sharing the stanza's payload.
    pub fn shared(&self) -> Bytes {
        match self.payload.get(self.place()) {
            Some(_) => self.payload.slice(self.place()),
            None => Bytes::new(),
        }
    }

    /// The value of an attribute by its qualified name, found without building a tree.
    pub fn get(&self, attribute: &str) -> Option<Cow<'a, str>> {
        scan::tag_attributes(self.bytes())
            .find(|(name, _)| *name == attribute.as_bytes())
            .map(|(_, raw)| write::read_value(raw))
    }

    /// As a tree.
    ///
    /// # Errors
    /// None: the payload was checked when the stanza was read. Callers that cannot pass on an
    /// error may treat one as an absent child.
    pub fn element(&self) -> Result<Element, XmlError> {
        Element::parse(self.bytes(), ns::CLIENT)
    }

    /// The text directly in it.
    pub fn text(&self) -> String {
        self.element().map(|element| element.text()).unwrap_or_default()
    }

    fn place(&self) -> std::ops::Range<usize> {
        wide(self.child.start)..wide(self.child.end)
    }

    fn name_bytes(&self) -> &'a [u8] {
        let start = wide(self.child.name);
        self.payload.get(start..start + usize::from(self.child.name_len)).unwrap_or_default()
    }

    fn ns_bytes(&self) -> &'a [u8] {
        match &self.child.ns {
            Ns::Inherited => ns::CLIENT.as_bytes(),
            Ns::At(start, end) => self.payload.get(wide(*start)..wide(*end)).unwrap_or_default(),
            Ns::Text(text) => text.0.as_bytes(),
        }
    }
}

impl fmt::Debug for ChildRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(self.bytes()))
    }
}

fn wide(at: u32) -> usize {
    usize::try_from(at).unwrap_or(usize::MAX)
}

/// Writes a child behind a payload and enters it into the index.
fn append(payload: &mut Vec<u8>, index: &mut Children, child: &Element) {
    let offset = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
    let start = payload.len();
    child.write(payload, ns::CLIENT);
    let name = start + 1;
    let ns = if child.ns() == ns::CLIENT {
        Ns::Inherited
    } else {
        // The declaration follows the name: see `Element::write`.
        let at = name + child.name().len() + " xmlns='".len();
        let end = at + child.ns().len();
        match payload.get(at..end) == Some(child.ns().as_bytes()) {
            true => Ns::At(offset(at), offset(end)),
            false => Ns::text(child.ns()),
        }
    };
    index.push(Child {
        start: offset(start),
        end: offset(payload.len()),
        name: offset(name),
        name_len: u16::try_from(child.name().len()).unwrap_or(u16::MAX),
        ns,
    });
}

/// Checks and indexes elements as they stand in a stanza.
fn index_payload(payload: &[u8]) -> Result<Children, XmlError> {
    let mut wrapped = Vec::with_capacity(payload.len() + "<x></x>".len());
    wrapped.extend_from_slice(b"<x>");
    wrapped.extend_from_slice(payload);
    wrapped.extend_from_slice(b"</x>");
    framer::with_outline(&wrapped, framer::client_scope(), &Limits::STORED, |outline| {
        parse::index(outline, "<x>".len())
    })
}

#[cfg(test)]
mod tests;
