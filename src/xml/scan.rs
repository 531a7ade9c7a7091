//! The scanner: start tags, text and end tags of one top-level element, checked against XML 1.0,
//! Namespaces in XML 1.0 and the restrictions of RFC 6120 §11, one byte after the other.
//!
//! It may be stopped after any byte and be given more: [`State`] says what it was reading, offsets
//! say where. Names, values and namespaces are spans of the caller's buffer, so that nothing is
//! copied. What it needs for that lives in [`Work`], which idle streams lend to each other.
//!
//! Beside checking, it keeps an outline of the element ([`Work`]'s `name`, `attributes`,
//! `children`) from which stanzas are routed without a tree; a [`Sink`] may listen to build one.

use std::borrow::Cow;
use std::cell::RefCell;

use super::chars::{self, Decoded};
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
fn small(at: usize) -> u32 {
    debug_assert!(u32::try_from(at).is_ok());
    u32::try_from(at).unwrap_or(u32::MAX)
}

fn wide(at: u32) -> usize {
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
    default: Option<Span>,
    bindings: Vec<Binding>,
    /// Qualified name of the stream header.
    pub(crate) root: String,
}

impl Scope {
    /// A scope that binds only the default namespace.
    pub(crate) fn with_default(ns: &str) -> Scope {
        let mut scope = Scope::default();
        scope.default = Some(scope.keep(ns));
        scope
    }

    fn keep(&mut self, text: &str) -> Span {
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
struct Binding {
    prefix: Span,
    ns: Span,
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
    colon: u16,
    /// The value's markup is the value: no references, nothing to normalise.
    simple: bool,
}

impl Attribute {
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
struct Open {
    name: u32,
    name_len: u16,
    /// How many bindings hold outside of it.
    bindings: u16,
    /// Its default namespace.
    default: Span,
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
    open: Vec<Open>,
    bindings: Vec<Binding>,
    attributes: Vec<Attribute>,
    /// Namespace names that were written with references.
    unescaped: String,
    outline: Outline,
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

fn borrow_work() -> Box<Work> {
    SPARE.with_borrow_mut(Vec::pop).unwrap_or_default()
}

fn return_work(mut work: Box<Work>) {
    work.clear();
    if work.outline.children.capacity() <= SPARE_CHILDREN_MAX && work.unescaped.capacity() <= 4096 {
        SPARE.with_borrow_mut(|spare| {
            if spare.len() < SPARE_MAX {
                spare.push(work);
            }
        });
    }
}

/// Listens to what was scanned. Called only with valid parts, in document order.
pub(crate) trait Sink {
    fn start(&mut self, tag: &Tag<'_>);
    /// Markup of character data, to be read by [`write::read_text`].
    fn text(&mut self, raw: &[u8]);
    fn cdata(&mut self, raw: &[u8]);
    fn end(&mut self);
}

/// Nobody listens.
impl Sink for () {
    fn start(&mut self, _: &Tag<'_>) {}
    fn text(&mut self, _: &[u8]) {}
    fn cdata(&mut self, _: &[u8]) {}
    fn end(&mut self) {}
}

/// A start tag as a [`Sink`] sees it.
pub(crate) struct Tag<'a> {
    pub(crate) name: &'a [u8],
    pub(crate) ns: &'a [u8],
    work: &'a Work,
    scope: &'a Scope,
    buf: &'a [u8],
}

impl<'a> Tag<'a> {
    /// Qualified name, namespace (of prefixed ones) and value of each attribute that is not a
    /// namespace declaration.
    pub(crate) fn attributes(
        &self,
    ) -> impl Iterator<Item = (&'a [u8], Option<&'a [u8]>, Cow<'a, str>)> {
        let Tag { work, scope, buf, .. } = *self;
        work.attributes.iter().filter(|attribute| !attribute.is_declaration(buf)).map(
            move |attribute| {
                let ns = (attribute.colon > 0)
                    .then(|| work.resolve(attribute.prefix(buf), buf, scope))
                    .flatten()
                    .map(|(ns, _)| work.get(ns, buf, scope));
                (attribute.name(buf), ns, attribute.value(buf))
            },
        )
    }
}

impl Work {
    /// Ready for the next element. The outline is made anew by its start tag.
    fn clear(&mut self) {
        self.open.clear();
        self.bindings.clear();
        self.attributes.clear();
        self.unescaped.clear();
    }

    fn get<'a>(&'a self, span: Span, buf: &'a [u8], scope: &'a Scope) -> &'a [u8] {
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
}

/// What the scanner is in the middle of. `mark` is where that began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Before the first `<` of a stream.
    Prolog,
    /// In an element, outside of markup.
    Text,
    /// After `<`.
    Markup,
    StartName,
    /// In a start tag, between attributes; there was white space.
    Space,
    /// In a start tag, right after a name or a value.
    AfterValue,
    /// After the `/` of an empty tag.
    Slash,
    AttributeName,
    BeforeEquals,
    BeforeQuote,
    Value,
    /// After `&`: in text.
    TextReference,
    /// After `&`: in a value.
    ValueReference,
    EndName,
    EndSpace,
    /// After `<!`.
    Bang,
    Cdata,
    /// After `<?` at the very beginning: in the XML declaration.
    Question,
}

/// What was scanned to its end; the length counts from the start of the buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Done {
    /// The start tag of a stream.
    Header(usize),
    Element(usize),
    /// The end tag of the stream.
    StreamEnd(usize),
}

/// Longest character reference that is looked at, from `&` to `;`: leading zeros are legal, but
/// not without end.
const REFERENCE_BYTES_MAX: usize = 16;

/// See the module.
#[derive(Debug)]
pub(crate) struct Scanner {
    state: State,
    header: bool,
    /// Everything before was looked at.
    pos: usize,
    mark: usize,
    /// Place of the colon in the name being read; 0 without.
    colon: usize,
    /// Where the last `<` was.
    less: usize,
    /// Where the last `&` was.
    ampersand: usize,
    quote: u8,
    simple: bool,
    name: (usize, usize),
    /// Place of the colon in `name`; 0 without.
    name_colon: usize,
    work: Option<Box<Work>>,
}

impl Scanner {
    /// Reads a stream header first.
    pub(crate) fn for_header() -> Scanner {
        Scanner {
            state: State::Prolog,
            header: true,
            pos: 0,
            mark: 0,
            colon: 0,
            less: 0,
            ampersand: 0,
            quote: 0,
            simple: true,
            name: (0, 0),
            name_colon: 0,
            work: None,
        }
    }

    /// Reads an element, beginning with its `<`.
    pub(crate) fn for_element() -> Scanner {
        Scanner { header: false, ..Scanner::for_header() }
    }

    /// Forgets the last element: the next buffer begins behind it.
    pub(crate) fn begin(&mut self) {
        self.state = State::Prolog;
        self.pos = 0;
        if let Some(work) = &mut self.work {
            work.clear();
        }
    }

    /// Between elements: lends the work area to others.
    pub(crate) fn rest(&mut self) {
        if let Some(work) = self.work.take() {
            return_work(work);
        }
    }

    /// Bytes looked at since [`Scanner::begin`].
    pub(crate) fn position(&self) -> usize {
        self.pos
    }

    /// After [`Done::Header`]: the scope that the header opens, and its attributes.
    pub(crate) fn header_scope<'a>(&'a self, buf: &'a [u8]) -> (Scope, Option<Tag<'a>>) {
        static EMPTY: Scope =
            Scope { text: String::new(), default: None, bindings: Vec::new(), root: String::new() };
        let mut scope = Scope::default();
        let Some(work) = &self.work else { return (scope, None) };
        if let Some(root) = work.open.last() {
            scope.root = write::utf8(part(buf, root.name, u32::from(root.name_len))).into_owned();
            let default = write::utf8(work.get(root.default, buf, &EMPTY)).into_owned();
            scope.default = Some(scope.keep(&default));
        }
        for binding in &work.bindings {
            let prefix = write::utf8(work.get(binding.prefix, buf, &EMPTY)).into_owned();
            let ns = write::utf8(work.get(binding.ns, buf, &EMPTY)).into_owned();
            scope.bind(&prefix, &ns);
        }
        let name = part(buf, work.outline.name.0, u32::from(work.outline.name.1));
        let ns = work.get(work.outline.ns, buf, &EMPTY);
        // The header's attributes have been moved to the outline.
        (scope, Some(Tag { name, ns, work, scope: &EMPTY, buf }))
    }

    /// The outline of the element that was last scanned; nothing before the first.
    pub(crate) fn outline(&self) -> Option<&Outline> {
        self.work.as_deref().map(|work| &work.outline)
    }

    /// The text at a span of the outline.
    pub(crate) fn get<'a>(&'a self, span: Span, buf: &'a [u8], scope: &'a Scope) -> &'a [u8] {
        self.work.as_deref().map_or(&[], |work| work.get(span, buf, scope))
    }

    /// Scans on. `buf` begins where the element does and holds all of it that has come; `None`
    /// asks for more.
    pub(crate) fn scan(
        &mut self,
        buf: &[u8],
        scope: &Scope,
        limits: &Limits,
        sink: &mut impl Sink,
    ) -> Result<Option<Done>, Fault> {
        let mut work = self.work.take().unwrap_or_else(borrow_work);
        let outcome = self.run(&mut work, buf, scope, limits, sink);
        self.work = Some(work);
        outcome
    }

    fn run(
        &mut self,
        work: &mut Work,
        buf: &[u8],
        scope: &Scope,
        limits: &Limits,
        sink: &mut impl Sink,
    ) -> Result<Option<Done>, Fault> {
        while let Some(&byte) = buf.get(self.pos) {
            let at = self.pos;
            match self.state {
                State::Prolog => {
                    self.pos = chars::skip(buf, at, chars::SPACE);
                    match buf.get(self.pos) {
                        Some(b'<') => self.markup(),
                        Some(_) if self.header => return Err(Fault::NotAStream),
                        Some(_) => return Err(Fault::BadMarkup),
                        None => {}
                    }
                }
                State::Text => {
                    self.pos = chars::skip_text(buf, at);
                    match buf.get(self.pos) {
                        None => {}
                        Some(b'<') => {
                            if let Some(raw) =
                                buf.get(self.mark..self.pos).filter(|raw| !raw.is_empty())
                            {
                                sink.text(raw);
                            }
                            self.markup();
                        }
                        Some(b'&') => {
                            self.ampersand = self.pos;
                            self.state = State::TextReference;
                            self.pos += 1;
                        }
                        Some(b'>') => {
                            if buf
                                .get(self.mark..self.pos)
                                .is_some_and(|text| text.ends_with(b"]]"))
                            {
                                return Err(Fault::CdataEndInText);
                            }
                            self.pos += 1;
                        }
                        Some(_) => {
                            let Some(()) = self.character(buf)? else { return Ok(None) };
                        }
                    }
                }
                State::Markup => match byte {
                    b'/' => self.name_follows(State::EndName, at + 1),
                    b'!' => {
                        self.state = State::Bang;
                        self.pos = at + 1;
                        self.mark = at + 1;
                    }
                    b'?' => {
                        if !(self.header && self.less == 0) {
                            return Err(Fault::ProcessingInstruction);
                        }
                        self.state = State::Question;
                        self.pos = at + 1;
                        self.mark = at + 1;
                    }
                    _ => self.name_follows(State::StartName, at),
                },
                State::StartName => {
                    if !self.name(buf, limits)? {
                        return Ok(None);
                    }
                    self.name = (self.mark, self.pos);
                    self.name_colon = self.colon;
                    work.attributes.clear();
                    self.state = State::AfterValue;
                }
                State::AfterValue | State::Space => match byte {
                    b'>' => {
                        self.pos = at + 1;
                        if let Some(done) = self.open(work, buf, scope, limits, sink, false)? {
                            return Ok(Some(done));
                        }
                    }
                    b'/' => {
                        self.state = State::Slash;
                        self.pos = at + 1;
                    }
                    _ if chars::is(byte, chars::SPACE) => {
                        self.state = State::Space;
                        self.pos = chars::skip(buf, at, chars::SPACE);
                    }
                    _ if self.state == State::AfterValue => return Err(Fault::MissingSpace),
                    _ => {
                        if work.attributes.len() >= limits.attributes_max {
                            return Err(Fault::TooManyAttributes);
                        }
                        self.name_follows(State::AttributeName, at);
                    }
                },
                State::Slash => {
                    if byte != b'>' {
                        return Err(Fault::BadMarkup);
                    }
                    self.pos = at + 1;
                    if let Some(done) = self.open(work, buf, scope, limits, sink, true)? {
                        return Ok(Some(done));
                    }
                }
                State::AttributeName => {
                    if !self.name(buf, limits)? {
                        return Ok(None);
                    }
                    work.attributes.push(Attribute {
                        name: small(self.mark),
                        name_len: short(self.pos - self.mark),
                        colon: short(self.colon.saturating_sub(self.mark)),
                        value: 0,
                        value_len: 0,
                        simple: true,
                    });
                    self.state = State::BeforeEquals;
                }
                State::BeforeEquals => {
                    self.pos = chars::skip(buf, at, chars::SPACE);
                    match buf.get(self.pos) {
                        None => {}
                        Some(b'=') => {
                            self.state = State::BeforeQuote;
                            self.pos += 1;
                        }
                        Some(_) => return Err(Fault::MissingEquals),
                    }
                }
                State::BeforeQuote => {
                    self.pos = chars::skip(buf, at, chars::SPACE);
                    match buf.get(self.pos) {
                        None => {}
                        Some(&quote @ (b'\'' | b'"')) => {
                            self.pos += 1;
                            self.quote = quote;
                            self.mark = self.pos;
                            self.simple = true;
                            self.state = State::Value;
                        }
                        Some(_) => return Err(Fault::MissingQuote),
                    }
                }
                State::Value => {
                    self.pos = chars::skip_value(buf, at);
                    match buf.get(self.pos) {
                        None => {}
                        Some(&quote) if quote == self.quote => {
                            self.attribute(work, buf)?;
                            self.state = State::AfterValue;
                            self.pos += 1;
                        }
                        Some(b'\'' | b'"') => self.pos += 1,
                        Some(b'\t' | b'\n' | b'\r') => {
                            self.simple = false;
                            self.pos += 1;
                        }
                        Some(b'&') => {
                            self.simple = false;
                            self.ampersand = self.pos;
                            self.state = State::ValueReference;
                            self.pos += 1;
                        }
                        Some(b'<') => return Err(Fault::LessThanInValue),
                        Some(_) => {
                            let Some(()) = self.character(buf)? else { return Ok(None) };
                        }
                    }
                }
                State::TextReference | State::ValueReference => self.reference(buf, byte)?,
                State::EndName => {
                    if !self.name(buf, limits)? {
                        return Ok(None);
                    }
                    let expected = match work.open.last() {
                        Some(open) => part(buf, open.name, u32::from(open.name_len)),
                        None => scope.root.as_bytes(),
                    };
                    if buf.get(self.mark..self.pos) != Some(expected) {
                        return Err(Fault::TagMismatch);
                    }
                    self.state = State::EndSpace;
                }
                State::EndSpace => {
                    self.pos = chars::skip(buf, at, chars::SPACE);
                    match buf.get(self.pos) {
                        None => {}
                        Some(b'>') => {
                            self.pos += 1;
                            if work.open.is_empty() {
                                return Ok(Some(Done::StreamEnd(self.pos)));
                            }
                            sink.end();
                            if let Some(done) = self.close(work) {
                                return Ok(Some(done));
                            }
                        }
                        Some(_) => return Err(Fault::BadMarkup),
                    }
                }
                State::Bang => self.bang(work, byte)?,
                State::Cdata => {
                    self.pos = chars::skip_text(buf, at);
                    match buf.get(self.pos) {
                        None => {}
                        Some(b'<' | b'&') => self.pos += 1,
                        Some(b'>') => {
                            let inside = buf.get(self.mark..self.pos).unwrap_or_default();
                            self.pos += 1;
                            if let Some(raw) = inside.strip_suffix(b"]]") {
                                sink.cdata(raw);
                                self.state = State::Text;
                                self.mark = self.pos;
                            }
                        }
                        Some(_) => {
                            let Some(()) = self.character(buf)? else { return Ok(None) };
                        }
                    }
                }
                State::Question => {
                    // Only looked at as a whole; the header's limit bounds it.
                    self.pos = at + 1;
                    if byte == b'>' {
                        let inside = buf.get(self.mark..at).unwrap_or_default();
                        if let Some(inside) = inside.strip_suffix(b"?") {
                            declaration(inside)?;
                            self.state = State::Prolog;
                        }
                    } else if !(byte.is_ascii_graphic() || chars::is(byte, chars::SPACE)) {
                        return Err(Fault::BadDeclaration);
                    }
                }
            }
        }
        Ok(None)
    }

    fn markup(&mut self) {
        self.less = self.pos;
        self.pos += 1;
        self.state = State::Markup;
    }

    fn name_follows(&mut self, state: State, start: usize) {
        self.state = state;
        self.pos = start;
        self.mark = start;
        self.colon = 0;
    }

    /// Steps over one character that is not plain. `None` if the buffer ends in it.
    fn character(&mut self, buf: &[u8]) -> Result<Option<()>, Fault> {
        match chars::decode(buf.get(self.pos..).unwrap_or_default()) {
            Decoded::Char(c, len) if chars::is_char(c) => {
                self.pos += len;
                Ok(Some(()))
            }
            Decoded::Char(..) => Err(Fault::ForbiddenCharacter),
            Decoded::Partial => Ok(None),
            Decoded::Invalid => Err(Fault::InvalidUtf8),
        }
    }

    /// Moves to the end of a qualified name. False if the buffer ends first.
    fn name(&mut self, buf: &[u8], limits: &Limits) -> Result<bool, Fault> {
        loop {
            self.pos = chars::skip(buf, self.pos, chars::NAME);
            match buf.get(self.pos) {
                None => return Ok(false),
                Some(b':') if self.colon == 0 && self.pos > self.mark => {
                    self.colon = self.pos;
                    self.pos += 1;
                }
                Some(b':') => return Err(Fault::BadName),
                Some(0x80..) => match chars::decode(buf.get(self.pos..).unwrap_or_default()) {
                    Decoded::Char(c, len) if chars::is_name_char(c) => self.pos += len,
                    Decoded::Char(..) => return Err(Fault::BadName),
                    Decoded::Partial => return Ok(false),
                    Decoded::Invalid => return Err(Fault::InvalidUtf8),
                },
                Some(_) => break,
            }
        }
        if self.pos - self.mark > limits.name_bytes_max.min(usize::from(u16::MAX)) {
            return Err(Fault::NameTooLong);
        }
        let starts = |at: usize| {
            at < self.pos
                && match buf.get(at) {
                    Some(&byte) if byte < 0x80 => chars::is(byte, chars::NAME_START),
                    _ => matches!(
                        chars::decode(buf.get(at..).unwrap_or_default()),
                        Decoded::Char(c, _) if chars::is_name_start(c)
                    ),
                }
        };
        match starts(self.mark) && (self.colon == 0 || starts(self.colon + 1)) {
            true => Ok(true),
            false => Err(Fault::BadName),
        }
    }

    /// One byte of a reference.
    fn reference(&mut self, buf: &[u8], byte: u8) -> Result<(), Fault> {
        let name = buf.get(self.ampersand + 1..self.pos).unwrap_or_default();
        match byte {
            b';' => {
                if write::reference(name).is_none() {
                    return Err(match name.first() {
                        Some(&first) if chars::is(first, chars::NAME_START) => {
                            Fault::EntityReference
                        }
                        _ => Fault::BadReference,
                    });
                }
                self.state = match self.state {
                    State::TextReference => State::Text,
                    _ => State::Value,
                };
            }
            b'#' if name.is_empty() => {}
            _ if name.len() + 2 > REFERENCE_BYTES_MAX => {
                return Err(match name.first() {
                    Some(b'#') => Fault::BadReference,
                    _ => Fault::EntityReference,
                });
            }
            _ if chars::is(byte, chars::NAME) => {}
            _ => return Err(Fault::BadReference),
        }
        self.pos += 1;
        Ok(())
    }

    /// One byte after `<!`.
    fn bang(&mut self, work: &Work, byte: u8) -> Result<(), Fault> {
        const CDATA: &[u8] = b"[CDATA[";
        let read = self.pos - self.mark;
        if CDATA.get(read) != Some(&byte) {
            return Err(match (read, byte) {
                (0, b'-') => Fault::Comment,
                (0, b'A'..=b'Z') => Fault::DocumentType,
                _ => Fault::BadMarkup,
            });
        }
        if work.open.is_empty() {
            return Err(if self.header { Fault::NotAStream } else { Fault::TextBetweenStanzas });
        }
        self.pos += 1;
        if read + 1 == CDATA.len() {
            self.state = State::Cdata;
            self.mark = self.pos;
        }
        Ok(())
    }

    /// The end of a value.
    fn attribute(&mut self, work: &mut Work, buf: &[u8]) -> Result<(), Fault> {
        let Some((last, before)) = work.attributes.split_last_mut() else { return Ok(()) };
        last.value = small(self.mark);
        last.value_len = small(self.pos - self.mark);
        last.simple = self.simple;
        let name = last.name(buf);
        match before.iter().any(|other| other.name(buf) == name) {
            true => Err(Fault::DuplicateAttribute),
            false => Ok(()),
        }
    }

    /// The end of a start tag: namespaces, uniqueness, outline.
    fn open(
        &mut self,
        work: &mut Work,
        buf: &[u8],
        scope: &Scope,
        limits: &Limits,
        sink: &mut impl Sink,
        empty: bool,
    ) -> Result<Option<Done>, Fault> {
        if work.open.len() >= usize::from(limits.depth_max) {
            return Err(Fault::TooDeep);
        }
        let depth = short(work.open.len() + 1);
        let outer_bindings = short(work.bindings.len());
        let inherited =
            work.open.last().map_or(scope.default.unwrap_or(Span::NONE), |open| open.default);
        let declared = declare(work, buf, scope, limits, depth)?;
        let default = declared.unwrap_or(inherited);

        let (name_start, name_end) = self.name;
        let (ns, local_start) = match self.name_colon {
            0 => (default, name_start),
            colon => {
                let prefix = buf.get(name_start..colon).unwrap_or_default();
                let (ns, bound_at) =
                    work.resolve(prefix, buf, scope).ok_or(Fault::UnboundPrefix)?;
                work.outline.stands_alone &= depth == 1 || bound_at > 1;
                (ns, colon + 1)
            }
        };
        check_attributes(work, buf, scope, depth)?;

        match depth {
            1 => {
                let outline = &mut work.outline;
                outline.name = (small(local_start), short(name_end - local_start));
                outline.ns = ns;
                outline.attributes.clear();
                outline.attributes.extend_from_slice(&work.attributes);
                outline.children.clear();
                outline.content = (small(self.pos), small(self.pos));
                let same = same_ns(work, ns, default, buf, scope);
                work.outline.stands_alone = same;
            }
            2 => {
                if work.outline.children.len() >= limits.children_max {
                    return Err(Fault::TooManyChildren);
                }
                let inherits = same_ns(work, work.outline.ns, ns, buf, scope);
                let repeats = inherits && (declared.is_some() || self.name_colon > 0);
                work.outline.stands_alone &= !repeats;
                work.outline.children.push(Child {
                    name: small(local_start),
                    name_len: short(name_end - local_start),
                    inherits,
                    ns,
                    start: small(self.less),
                    end: 0,
                });
            }
            _ => {}
        }

        let name = buf.get(local_start..name_end).unwrap_or_default();
        sink.start(&Tag { name, ns: work.get(ns, buf, scope), work, scope, buf });
        work.open.push(Open {
            name: small(name_start),
            name_len: short(name_end - name_start),
            bindings: outer_bindings,
            default,
        });
        if self.header {
            if empty {
                return Err(Fault::NotAStream);
            }
            return Ok(Some(Done::Header(self.pos)));
        }
        if !empty {
            self.state = State::Text;
            self.mark = self.pos;
            return Ok(None);
        }
        sink.end();
        self.less = self.pos;
        Ok(self.close(work))
    }

    /// The end of an element, behind its `>`.
    fn close(&mut self, work: &mut Work) -> Option<Done> {
        if let Some(open) = work.open.pop() {
            work.bindings.truncate(usize::from(open.bindings));
        }
        self.state = State::Text;
        self.mark = self.pos;
        match work.open.len() {
            0 => {
                work.outline.content.1 = small(self.less);
                Some(Done::Element(self.pos))
            }
            1 => {
                if let Some(child) = work.outline.children.last_mut() {
                    child.end = small(self.pos);
                }
                None
            }
            _ => None,
        }
    }
}

/// Lengths of names and numbers of bindings fit into 16 bits: both are limited.
fn short(len: usize) -> u16 {
    debug_assert!(u16::try_from(len).is_ok());
    u16::try_from(len).unwrap_or(u16::MAX)
}

fn same_ns(work: &Work, one: Span, other: Span, buf: &[u8], scope: &Scope) -> bool {
    let same_place = one.start == other.start && one.len == other.len && one.home == other.home;
    same_place || work.get(one, buf, scope) == work.get(other, buf, scope)
}

/// Takes the namespace declarations of a start tag; returns the default namespace if it has one.
fn declare(
    work: &mut Work,
    buf: &[u8],
    scope: &Scope,
    limits: &Limits,
    depth: u16,
) -> Result<Option<Span>, Fault> {
    let mut default = None;
    for index in 0..work.attributes.len() {
        let attribute = work.attributes[index];
        if !attribute.is_declaration(buf) {
            continue;
        }
        let start = wide(attribute.value);
        let ns = match attribute.simple {
            true => Span::buffer(start, start + wide(attribute.value_len)),
            false => {
                let start = small(work.unescaped.len());
                work.unescaped.push_str(&attribute.value(buf));
                let len = small(work.unescaped.len()) - start;
                Span { start, len, home: Home::Unescaped }
            }
        };
        let name = work.get(ns, buf, scope);
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
        if work.bindings.len() >= usize::from(limits.prefixes_max) {
            return Err(Fault::TooManyPrefixes);
        }
        let prefix = wide(attribute.name) + usize::from(attribute.colon) + 1;
        let end = wide(attribute.name) + usize::from(attribute.name_len);
        work.bindings.push(Binding { prefix: Span::buffer(prefix, end), ns, depth });
    }
    Ok(default)
}

/// Every prefix is bound, and no two attributes have one expanded name. That no two have one
/// qualified name was seen before.
fn check_attributes(work: &mut Work, buf: &[u8], scope: &Scope, depth: u16) -> Result<(), Fault> {
    for index in 0..work.attributes.len() {
        let attribute = work.attributes[index];
        if attribute.colon == 0 || attribute.is_declaration(buf) {
            continue;
        }
        let (ns, bound_at) =
            work.resolve(attribute.prefix(buf), buf, scope).ok_or(Fault::UnboundPrefix)?;
        work.outline.stands_alone &= depth == 1 || bound_at > 1;
        for other in &work.attributes[..index] {
            if other.colon > 0
                && other.local(buf) == attribute.local(buf)
                && let Some((other_ns, _)) = work.resolve(other.prefix(buf), buf, scope)
                && same_ns(work, ns, other_ns, buf, scope)
            {
                return Err(Fault::DuplicateAttribute);
            }
        }
    }
    Ok(())
}

/// The XML declaration (production 23), without `<?` and `?>`.
fn declaration(inside: &[u8]) -> Result<(), Fault> {
    let mut rest = match inside.strip_prefix(b"xml") {
        Some(rest) if rest.first().is_none_or(|&byte| chars::is(byte, chars::SPACE)) => rest,
        _ => return Err(Fault::ProcessingInstruction),
    };
    let mut next = |name: &str| -> Option<&[u8]> {
        let spaced = rest.trim_ascii_start();
        let value = spaced.strip_prefix(name.as_bytes())?.trim_ascii_start();
        let value = value.strip_prefix(b"=")?.trim_ascii_start();
        let (&quote, value) = value.split_first()?;
        let end = value.iter().position(|&byte| byte == quote)?;
        // White space is needed in front of each.
        if spaced.len() == rest.len() || !matches!(quote, b'\'' | b'"') {
            return None;
        }
        rest = &value[end + 1..];
        Some(&value[..end])
    };
    if next("version") != Some(b"1.0") {
        return Err(Fault::BadDeclaration);
    }
    let encoding = next("encoding");
    let standalone = next("standalone");
    if !rest.trim_ascii().is_empty() || !matches!(standalone, None | Some(b"yes" | b"no")) {
        return Err(Fault::BadDeclaration);
    }
    match encoding {
        Some(name) if !name.eq_ignore_ascii_case(b"utf-8") => Err(Fault::EncodingIsNotUtf8),
        _ => Ok(()),
    }
}

/// Qualified names and raw values of the attributes of an element that was validated before,
/// namespace declarations included. Looks at the start tag only.
pub(crate) fn tag_attributes(element: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    let name_end =
        element.iter().position(|&b| matches!(b, b'>' | b'/') || chars::is(b, chars::SPACE));
    let mut rest = name_end.and_then(|end| element.get(end..)).unwrap_or_default();
    std::iter::from_fn(move || {
        let tag = rest.trim_ascii_start();
        let equals = tag.iter().position(|&b| matches!(b, b'=' | b'>' | b'/'))?;
        let (name, value) = tag.split_at(equals);
        let value = value.strip_prefix(b"=")?.trim_ascii_start();
        let (&quote, value) = value.split_first()?;
        let end = memchr::memchr(quote, value)?;
        rest = value.get(end + 1..).unwrap_or_default();
        Some((name.trim_ascii_end(), value.get(..end)?))
    })
}
