//! Places in a buffer, namespaces in scope, and the outline of an element: what the scanner keeps.
//!
//! Names, values and namespaces are spans of the caller's buffer, so that nothing is copied. All of
//! it lives in [`Work`], which idle streams lend to each other.

use std::borrow::Cow;
use std::cell::RefCell;
use std::ops::Range;

use super::fault::Fault;
use super::framer::Limits;
use super::{ns, write};

/// Some text: a place, and where that place is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Span {
    start: u32,
    len: u32,
    home: Home,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Home {
    /// The buffer being scanned.
    Buffer,
    /// The text of the enclosing [`Scope`].
    Scope,
    /// `Work::unescaped`.
    Unescaped,
    /// The namespace of the prefix `xml`.
    Xml,
}

impl Span {
    pub(crate) const NONE: Span = Span { start: 0, len: 0, home: Home::Scope };

    fn buffer(start: usize, end: usize) -> Span {
        Span { start: small(start), len: small(end.saturating_sub(start)), home: Home::Buffer }
    }

    /// The place in the buffer, if it is there.
    pub(crate) fn in_buffer(self) -> Option<(u32, u32)> {
        (self.home == Home::Buffer).then_some((self.start, self.len))
    }
}

/// Offsets fit into 32 bits: views are clamped to [`Limits`].
pub(crate) fn small(at: usize) -> u32 {
    debug_assert!(u32::try_from(at).is_ok());
    u32::try_from(at).unwrap_or(u32::MAX)
}

pub(crate) fn wide(at: u32) -> usize {
    usize::try_from(at).unwrap_or(usize::MAX)
}

/// The part of `bytes` at a place; empty where there is none, which only a caller who passes
/// another buffer than he had scanned can see.
pub(crate) fn part(bytes: &[u8], start: u32, len: u32) -> &[u8] {
    bytes.get(wide(start)..wide(start).saturating_add(wide(len))).unwrap_or_default()
}

/// Namespaces bound outside of what is scanned: on the stream header, or by the caller.
#[derive(Clone, Debug, Default)]
pub(crate) struct Scope {
    text: String,
    pub(crate) default: Option<Span>,
    pub(crate) bindings: Vec<Binding>,
    /// Qualified name of the stream header.
    pub(crate) root: String,
}

impl Scope {
    pub(crate) const EMPTY: Scope =
        Scope { text: String::new(), default: None, bindings: Vec::new(), root: String::new() };

    /// A scope that binds only the default namespace.
    pub(crate) fn with_default(ns: &str) -> Scope {
        let mut scope = Scope::default();
        scope.default = Some(scope.keep(ns));
        scope
    }

    pub(crate) fn keep(&mut self, text: &str) -> Span {
        let start = small(self.text.len());
        self.text.push_str(text);
        Span { start, len: small(text.len()), home: Home::Scope }
    }

    pub(crate) fn default_ns(&self) -> &str {
        self.default.map_or("", |span| self.read(span))
    }

    /// Prefixes and namespaces that were bound.
    pub(crate) fn prefixes(&self) -> impl Iterator<Item = (&str, &str)> {
        self.bindings.iter().map(|binding| (self.read(binding.prefix), self.read(binding.ns)))
    }

    fn read(&self, span: Span) -> &str {
        self.text.get(wide(span.start)..wide(span.start) + wide(span.len)).unwrap_or_default()
    }

    pub(crate) fn bind(&mut self, prefix: &str, ns: &str) {
        let binding = Binding { prefix: self.keep(prefix), ns: self.keep(ns), depth: 0 };
        self.bindings.push(binding);
    }
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Binding {
    pub(crate) prefix: Span,
    pub(crate) ns: Span,
    /// Depth of the element that made it; 0 if it is of the scope.
    depth: u16,
}

/// An attribute of a start tag, by place.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Attribute {
    name: u32,
    value: u32,
    value_len: u32,
    name_len: u16,
    /// Offset of the colon within the name; 0 without prefix.
    pub(crate) colon: u16,
    /// The value's markup is the value: no references, nothing to normalise.
    simple: bool,
    /// Of prefixed attributes, once the tag has ended.
    pub(crate) ns: Span,
}

impl Attribute {
    /// One whose name stands from `start` to `end`, with its colon at `colon` unless that is 0.
    pub(crate) fn named(start: usize, end: usize, colon: usize) -> Attribute {
        Attribute {
            name: small(start),
            value: 0,
            value_len: 0,
            name_len: short(end - start),
            colon: short(colon.saturating_sub(start)),
            simple: true,
            ns: Span::NONE,
        }
    }

    pub(crate) fn name<'a>(&self, buf: &'a [u8]) -> &'a [u8] {
        part(buf, self.name, u32::from(self.name_len))
    }

    fn raw<'a>(&self, buf: &'a [u8]) -> &'a [u8] {
        part(buf, self.value, self.value_len)
    }

    pub(crate) fn value<'a>(&self, buf: &'a [u8]) -> Cow<'a, str> {
        match self.simple {
            true => write::utf8(self.raw(buf)),
            false => write::read_value(self.raw(buf)),
        }
    }

    fn prefix<'a>(&self, buf: &'a [u8]) -> &'a [u8] {
        part(buf, self.name, u32::from(self.colon))
    }

    fn local<'a>(&self, buf: &'a [u8]) -> &'a [u8] {
        let name = self.name(buf);
        match self.colon {
            0 => name,
            colon => name.get(usize::from(colon) + 1..).unwrap_or_default(),
        }
    }

    pub(crate) fn is_declaration(&self, buf: &[u8]) -> bool {
        match self.colon {
            0 => self.name(buf) == b"xmlns",
            _ => self.prefix(buf) == b"xmlns",
        }
    }
}

/// An element that is not closed yet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Open {
    pub(crate) name: u32,
    pub(crate) name_len: u16,
    /// How many bindings hold outside of it.
    pub(crate) bindings: u16,
    /// Its default namespace.
    pub(crate) default: Span,
}

/// A child of the top-level element.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Child {
    /// Local name.
    pub(crate) name: u32,
    pub(crate) name_len: u16,
    /// It is in the namespace of its parent.
    pub(crate) inherits: bool,
    pub(crate) ns: Span,
    pub(crate) start: u32,
    pub(crate) end: u32,
}

/// What the scanner keeps while inside an element, and the outline of the last one.
#[derive(Debug, Default)]
pub(crate) struct Work {
    pub(crate) open: Vec<Open>,
    pub(crate) bindings: Vec<Binding>,
    pub(crate) attributes: Vec<Attribute>,
    /// Namespace names that were written with references.
    pub(crate) unescaped: String,
    pub(crate) outline: Outline,
}

/// The first two levels of a top-level element.
#[derive(Debug)]
pub(crate) struct Outline {
    /// Local name.
    pub(crate) name: (u32, u16),
    pub(crate) ns: Span,
    pub(crate) attributes: Vec<Attribute>,
    pub(crate) children: Vec<Child>,
    /// Between start tag and end tag.
    pub(crate) content: (u32, u32),
    /// The content means the same in any element of the same namespace that binds no prefix:
    /// no prefix from further out, no child that repeats the namespace of the element.
    pub(crate) stands_alone: bool,
}

impl Default for Outline {
    fn default() -> Outline {
        Outline {
            name: (0, 0),
            ns: Span::NONE,
            attributes: Vec::new(),
            children: Vec::new(),
            content: (0, 0),
            stands_alone: true,
        }
    }
}

thread_local! {
    /// Work areas of streams that are between elements. A thousand idle streams need none.
    #[expect(clippy::vec_box, reason = "streams hold a pointer, not the whole area")]
    static SPARE: RefCell<Vec<Box<Work>>> = const { RefCell::new(Vec::new()) };
}

const SPARE_MAX: usize = 4;
/// A work area that one huge stanza has grown is not kept.
const SPARE_CHILDREN_MAX: usize = 64;

pub(crate) fn borrow_work() -> Box<Work> {
    SPARE.with_borrow_mut(Vec::pop).unwrap_or_default()
}

pub(crate) fn return_work(mut work: Box<Work>) {
    work.clear();
    if work.outline.children.capacity() <= SPARE_CHILDREN_MAX && work.unescaped.capacity() <= 4096 {
        SPARE.with_borrow_mut(|spare| {
            if spare.len() < SPARE_MAX {
                spare.push(work);
            }
        });
    }
}

impl Work {
    /// Ready for the next element. The outline is made anew by its start tag.
    pub(crate) fn clear(&mut self) {
        self.open.clear();
        self.bindings.clear();
        self.attributes.clear();
        self.unescaped.clear();
    }

    pub(crate) fn get<'a>(&'a self, span: Span, buf: &'a [u8], scope: &'a Scope) -> &'a [u8] {
        let home = match span.home {
            Home::Buffer => buf,
            Home::Scope => scope.text.as_bytes(),
            Home::Unescaped => self.unescaped.as_bytes(),
            Home::Xml => return ns::XML.as_bytes(),
        };
        part(home, span.start, span.len)
    }

    /// Namespace of a prefix and the depth at which it was bound.
    fn resolve(&self, prefix: &[u8], buf: &[u8], scope: &Scope) -> Option<(Span, u16)> {
        if prefix == b"xml" {
            return Some((Span { start: 0, len: 0, home: Home::Xml }, u16::MAX));
        }
        let all = scope.bindings.iter().chain(&self.bindings);
        all.rev()
            .find(|binding| self.get(binding.prefix, buf, scope) == prefix)
            .map(|binding| (binding.ns, binding.depth))
    }

    /// The default namespace where the scanner is.
    pub(crate) fn default(&self, scope: &Scope) -> Span {
        self.open.last().map_or(scope.default.unwrap_or(Span::NONE), |open| open.default)
    }

    /// Takes the namespace declarations of a start tag; returns the default namespace if it has one.
    pub(crate) fn declare(
        &mut self,
        buf: &[u8],
        scope: &Scope,
        limits: &Limits,
        depth: u16,
    ) -> Result<Option<Span>, Fault> {
        let mut default = None;
        for index in 0..self.attributes.len() {
            let attribute = self.attributes[index];
            if !attribute.is_declaration(buf) {
                continue;
            }
            let start = wide(attribute.value);
            let ns = match attribute.simple {
                true => Span::buffer(start, start + wide(attribute.value_len)),
                false => {
                    let start = small(self.unescaped.len());
                    self.unescaped.push_str(&attribute.value(buf));
                    let len = small(self.unescaped.len()) - start;
                    Span { start, len, home: Home::Unescaped }
                }
            };
            let name = self.get(ns, buf, scope);
            let reserved = name == ns::XML.as_bytes() || name == ns::XMLNS.as_bytes();
            if attribute.colon == 0 {
                if reserved {
                    return Err(Fault::ReservedNamespace);
                }
                default = Some(ns);
                continue;
            }
            match attribute.local(buf) {
                b"xml" if name == ns::XML.as_bytes() => continue,
                b"xml" | b"xmlns" => return Err(Fault::ReservedPrefix),
                _ if reserved => return Err(Fault::ReservedNamespace),
                // Namespaces 1.0 §5: only the default namespace can be undeclared.
                _ if name.is_empty() => return Err(Fault::EmptyNamespace),
                _ => {}
            }
            if self.bindings.len() >= usize::from(limits.prefixes_max) {
                return Err(Fault::TooManyPrefixes);
            }
            let prefix = wide(attribute.name) + usize::from(attribute.colon) + 1;
            let end = wide(attribute.name) + usize::from(attribute.name_len);
            self.bindings.push(Binding { prefix: Span::buffer(prefix, end), ns, depth });
        }
        Ok(default)
    }

    /// The namespace of an element whose prefix stands at `prefix`.
    pub(crate) fn element_ns(
        &mut self,
        buf: &[u8],
        prefix: Range<usize>,
        scope: &Scope,
        depth: u16,
    ) -> Result<Span, Fault> {
        let prefix = buf.get(prefix).unwrap_or_default();
        let (ns, bound_at) = self.resolve(prefix, buf, scope).ok_or(Fault::UnboundPrefix)?;
        self.outline.stands_alone &= depth == 1 || bound_at > 1;
        Ok(ns)
    }

    /// Every prefix is bound, and no two attributes have one expanded name. That no two have one
    /// qualified name was seen before.
    pub(crate) fn check_attributes(
        &mut self,
        buf: &[u8],
        scope: &Scope,
        depth: u16,
    ) -> Result<(), Fault> {
        for index in 0..self.attributes.len() {
            let attribute = self.attributes[index];
            if attribute.colon == 0 || attribute.is_declaration(buf) {
                continue;
            }
            let (ns, bound_at) =
                self.resolve(attribute.prefix(buf), buf, scope).ok_or(Fault::UnboundPrefix)?;
            self.outline.stands_alone &= depth == 1 || bound_at > 1;
            self.attributes[index].ns = ns;
            let twice = self.attributes[..index].iter().any(|other| {
                other.colon > 0
                    && other.local(buf) == attribute.local(buf)
                    && !other.is_declaration(buf)
                    && self.same_ns(ns, other.ns, buf, scope)
            });
            if twice {
                return Err(Fault::DuplicateAttribute);
            }
        }
        Ok(())
    }

    /// The last attribute has a value, from `start` to `end`.
    pub(crate) fn end_attribute(
        &mut self,
        buf: &[u8],
        start: usize,
        end: usize,
        simple: bool,
    ) -> Result<(), Fault> {
        let Some((last, before)) = self.attributes.split_last_mut() else { return Ok(()) };
        last.value = small(start);
        last.value_len = small(end - start);
        last.simple = simple;
        let name = last.name(buf);
        match before.iter().any(|other| other.name(buf) == name) {
            true => Err(Fault::DuplicateAttribute),
            false => Ok(()),
        }
    }

    /// A top-level element has begun; its content does at `content`.
    pub(crate) fn begin_outline(
        &mut self,
        name: (u32, u16),
        ns: Span,
        default: Span,
        content: usize,
        buf: &[u8],
        scope: &Scope,
    ) {
        // Children without prefix must be able to inherit the namespace of any other parent.
        let stands_alone = self.same_ns(ns, default, buf, scope);
        let outline = &mut self.outline;
        outline.name = name;
        outline.ns = ns;
        outline.attributes.clear();
        outline.attributes.extend_from_slice(&self.attributes);
        outline.children.clear();
        outline.content = (small(content), small(content));
        outline.stands_alone = stands_alone;
    }

    /// A child of the top-level element has begun. `explicit`: its own tag says its namespace.
    #[expect(clippy::too_many_arguments, reason = "places are a matter of many numbers")]
    pub(crate) fn add_child(
        &mut self,
        (name, name_len): (u32, u16),
        ns: Span,
        explicit: bool,
        start: usize,
        buf: &[u8],
        scope: &Scope,
        limits: &Limits,
    ) -> Result<(), Fault> {
        if self.outline.children.len() >= limits.children_max {
            return Err(Fault::TooManyChildren);
        }
        let inherits = self.same_ns(self.outline.ns, ns, buf, scope);
        self.outline.stands_alone &= !(inherits && explicit);
        let start = small(start);
        self.outline.children.push(Child { name, name_len, inherits, ns, start, end: 0 });
        Ok(())
    }

    fn same_ns(&self, one: Span, other: Span, buf: &[u8], scope: &Scope) -> bool {
        let same_place = one.start == other.start && one.len == other.len && one.home == other.home;
        same_place || self.get(one, buf, scope) == self.get(other, buf, scope)
    }
}

/// Lengths of names and numbers of bindings fit into 16 bits: both are limited.
pub(crate) fn short(len: usize) -> u16 {
    debug_assert!(u16::try_from(len).is_ok());
    u16::try_from(len).unwrap_or(u16::MAX)
}
