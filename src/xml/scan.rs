//! The scanner: start tags, text and end tags of one top-level element, checked against XML 1.0,
//! Namespaces in XML 1.0 and the restrictions of RFC 6120 §11, one byte after the other.
//!
//! It may be stopped after any byte and be given more: [`State`] says what it was reading, offsets
//! say where. Beside checking, it keeps an [`Outline`] of the element from which stanzas are routed
//! without a tree.

use std::borrow::Cow;

use super::chars::{self, Decoded};
use super::fault::Fault;
use super::framer::Limits;
use super::scope::{self, Attribute, Open, Outline, Scope, Span, Work, part, short, small};
use super::write;

/// The start tag of a stream.
pub(crate) struct Tag<'a> {
    pub(crate) name: &'a [u8],
    pub(crate) ns: &'a [u8],
    work: &'a Work,
    buf: &'a [u8],
}

impl<'a> Tag<'a> {
    /// Qualified name and value of each attribute that is not a namespace declaration.
    pub(crate) fn attributes(&self) -> impl Iterator<Item = (&'a [u8], Cow<'a, str>)> {
        let Tag { work, buf, .. } = *self;
        let attributes = work.attributes.iter().filter(|attribute| !attribute.is_declaration(buf));
        attributes.map(move |attribute| (attribute.name(buf), attribute.value(buf)))
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

/// What one step of the scanner came to.
enum Step {
    On,
    /// The buffer ends in the midst of a name or character.
    More,
    Done(Done),
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
            scope::return_work(work);
        }
    }

    /// Bytes looked at since [`Scanner::begin`].
    pub(crate) fn position(&self) -> usize {
        self.pos
    }

    /// After [`Done::Header`]: the scope that the header opens, and its attributes.
    pub(crate) fn header_scope<'a>(&'a self, buf: &'a [u8]) -> (Scope, Option<Tag<'a>>) {
        static EMPTY: Scope = Scope::EMPTY;
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
        (scope, Some(Tag { name, ns, work, buf }))
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
    ) -> Result<Option<Done>, Fault> {
        let mut work = self.work.take().unwrap_or_else(scope::borrow_work);
        let outcome = self.run(&mut work, buf, scope, limits);
        self.work = Some(work);
        outcome
    }

    /// One function per state for the reader; the hot ones are inlined, so that it is one loop for
    /// the compiler: without that a message takes two thirds longer.
    fn run(
        &mut self,
        work: &mut Work,
        buf: &[u8],
        scope: &Scope,
        limits: &Limits,
    ) -> Result<Option<Done>, Fault> {
        while let Some(&byte) = buf.get(self.pos) {
            let step = match self.state {
                State::Prolog => self.prolog(buf)?,
                State::Text => self.text(buf)?,
                State::Cdata => self.cdata(buf)?,
                State::TextReference | State::ValueReference => self.reference(buf, byte)?,
                State::Markup => self.markup_kind(byte)?,
                State::Bang => self.bang(work, byte)?,
                State::Question => self.question(buf, byte)?,
                State::StartName => self.start_name(work, buf, limits)?,
                State::Space | State::AfterValue => match byte {
                    b'>' => self.open(work, buf, scope, limits, false)?,
                    _ => self.between_attributes(work, buf, limits, byte)?,
                },
                State::Slash => match byte {
                    b'>' => self.open(work, buf, scope, limits, true)?,
                    _ => return Err(Fault::BadMarkup),
                },
                State::AttributeName => self.attribute_name(work, buf, limits)?,
                State::BeforeEquals => self.equals(buf)?,
                State::BeforeQuote => self.quote(buf)?,
                State::Value => self.value(work, buf)?,
                State::EndName => self.end_name(work, buf, scope, limits)?,
                State::EndSpace => self.end_tag(work, buf)?,
            };
            match step {
                Step::On => {}
                Step::More => return Ok(None),
                Step::Done(done) => return Ok(Some(done)),
            }
        }
        Ok(None)
    }

    fn prolog(&mut self, buf: &[u8]) -> Result<Step, Fault> {
        self.pos = chars::skip(buf, self.pos, chars::SPACE);
        match buf.get(self.pos) {
            Some(b'<') => self.markup(),
            Some(_) if self.header => return Err(Fault::NotAStream),
            Some(_) => return Err(Fault::BadMarkup),
            None => {}
        }
        Ok(Step::On)
    }

    #[inline(always)]
    fn text(&mut self, buf: &[u8]) -> Result<Step, Fault> {
        self.pos = chars::skip_text(buf, self.pos);
        match buf.get(self.pos) {
            Some(b'<') => {
                self.markup();
            }
            Some(b'&') => self.ampersand(State::TextReference),
            Some(b'>') if self.marked(buf).ends_with(b"]]") => return Err(Fault::CdataEndInText),
            Some(b'>') => self.pos += 1,
            Some(_) => return self.characters(buf),
            None => {}
        }
        Ok(Step::On)
    }

    fn cdata(&mut self, buf: &[u8]) -> Result<Step, Fault> {
        self.pos = chars::skip_text(buf, self.pos);
        match buf.get(self.pos) {
            Some(b'<' | b'&') => self.pos += 1,
            Some(b'>') => {
                let ends = self.marked(buf).ends_with(b"]]");
                self.pos += 1;
                if ends {
                    self.follow(State::Text, self.pos);
                }
            }
            Some(_) => return self.characters(buf),
            None => {}
        }
        Ok(Step::On)
    }

    /// After `<`.
    #[inline(always)]
    fn markup_kind(&mut self, byte: u8) -> Result<Step, Fault> {
        match byte {
            b'/' => self.follow(State::EndName, self.pos + 1),
            b'!' => self.follow(State::Bang, self.pos + 1),
            b'?' if self.header && self.less == 0 => self.follow(State::Question, self.pos + 1),
            b'?' => return Err(Fault::ProcessingInstruction),
            _ => self.follow(State::StartName, self.pos),
        }
        Ok(Step::On)
    }

    #[inline(always)]
    fn start_name(&mut self, work: &mut Work, buf: &[u8], limits: &Limits) -> Result<Step, Fault> {
        let step = self.name(buf, limits)?;
        if matches!(step, Step::On) {
            self.name = (self.mark, self.pos);
            self.name_colon = self.colon;
            work.attributes.clear();
            self.state = State::AfterValue;
        }
        Ok(step)
    }

    #[inline(always)]
    fn between_attributes(
        &mut self,
        work: &Work,
        buf: &[u8],
        limits: &Limits,
        byte: u8,
    ) -> Result<Step, Fault> {
        match byte {
            b'/' => {
                self.state = State::Slash;
                self.pos += 1;
            }
            _ if chars::is(byte, chars::SPACE) => {
                self.state = State::Space;
                self.pos = chars::skip(buf, self.pos, chars::SPACE);
            }
            _ if self.state == State::AfterValue => return Err(Fault::MissingSpace),
            _ if work.attributes.len() >= limits.attributes_max => {
                return Err(Fault::TooManyAttributes);
            }
            _ => self.follow(State::AttributeName, self.pos),
        }
        Ok(Step::On)
    }

    #[inline(always)]
    fn attribute_name(
        &mut self,
        work: &mut Work,
        buf: &[u8],
        limits: &Limits,
    ) -> Result<Step, Fault> {
        let step = self.name(buf, limits)?;
        if matches!(step, Step::On) {
            work.attributes.push(Attribute::named(self.mark, self.pos, self.colon));
            self.state = State::BeforeEquals;
        }
        Ok(step)
    }

    #[inline(always)]
    fn equals(&mut self, buf: &[u8]) -> Result<Step, Fault> {
        self.pos = chars::skip(buf, self.pos, chars::SPACE);
        match buf.get(self.pos) {
            Some(b'=') => self.follow(State::BeforeQuote, self.pos + 1),
            Some(_) => return Err(Fault::MissingEquals),
            None => {}
        }
        Ok(Step::On)
    }

    #[inline(always)]
    fn quote(&mut self, buf: &[u8]) -> Result<Step, Fault> {
        self.pos = chars::skip(buf, self.pos, chars::SPACE);
        match buf.get(self.pos) {
            Some(&quote @ (b'\'' | b'"')) => {
                self.quote = quote;
                self.simple = true;
                self.follow(State::Value, self.pos + 1);
            }
            Some(_) => return Err(Fault::MissingQuote),
            None => {}
        }
        Ok(Step::On)
    }

    #[inline(always)]
    fn value(&mut self, work: &mut Work, buf: &[u8]) -> Result<Step, Fault> {
        self.pos = chars::skip_value(buf, self.pos);
        match buf.get(self.pos) {
            Some(&quote) if quote == self.quote => {
                work.end_attribute(buf, self.mark, self.pos, self.simple)?;
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
                self.ampersand(State::ValueReference);
            }
            Some(b'<') => return Err(Fault::LessThanInValue),
            Some(_) => return self.characters(buf),
            None => {}
        }
        Ok(Step::On)
    }

    #[inline(always)]
    fn end_name(
        &mut self,
        work: &Work,
        buf: &[u8],
        scope: &Scope,
        limits: &Limits,
    ) -> Result<Step, Fault> {
        let step = self.name(buf, limits)?;
        if matches!(step, Step::On) {
            let expected = match work.open.last() {
                Some(open) => part(buf, open.name, u32::from(open.name_len)),
                None => scope.root.as_bytes(),
            };
            if self.marked(buf) != expected {
                return Err(Fault::TagMismatch);
            }
            self.state = State::EndSpace;
        }
        Ok(step)
    }

    fn end_tag(&mut self, work: &mut Work, buf: &[u8]) -> Result<Step, Fault> {
        self.pos = chars::skip(buf, self.pos, chars::SPACE);
        match buf.get(self.pos) {
            None => Ok(Step::On),
            Some(b'>') => {
                self.pos += 1;
                if work.open.is_empty() {
                    return Ok(Step::Done(Done::StreamEnd(self.pos)));
                }
                Ok(self.close(work))
            }
            Some(_) => Err(Fault::BadMarkup),
        }
    }

    /// One byte of what can only be the XML declaration. It is only looked at as a whole; the
    /// header's limit bounds it.
    fn question(&mut self, buf: &[u8], byte: u8) -> Result<Step, Fault> {
        if byte == b'>' {
            if let Some(inside) = self.marked(buf).strip_suffix(b"?") {
                declaration(inside)?;
                self.state = State::Prolog;
            }
        } else if !(byte.is_ascii_graphic() || chars::is(byte, chars::SPACE)) {
            return Err(Fault::BadDeclaration);
        }
        self.pos += 1;
        Ok(Step::On)
    }

    /// What was read since `mark`.
    fn marked<'a>(&self, buf: &'a [u8]) -> &'a [u8] {
        buf.get(self.mark..self.pos).unwrap_or_default()
    }

    /// Goes on with `state` at `start`.
    fn follow(&mut self, state: State, start: usize) {
        self.state = state;
        self.pos = start;
        self.mark = start;
        self.colon = 0;
    }

    /// At `<`.
    fn markup(&mut self) {
        self.less = self.pos;
        self.follow(State::Markup, self.pos + 1);
    }

    /// At `&`. What was being read goes on behind the reference.
    fn ampersand(&mut self, state: State) {
        self.ampersand = self.pos;
        self.state = state;
        self.pos += 1;
    }

    /// Steps over a character that is not plain, and those beyond ASCII that follow.
    fn characters(&mut self, buf: &[u8]) -> Result<Step, Fault> {
        loop {
            match chars::decode(buf.get(self.pos..).unwrap_or_default()) {
                Decoded::Char(c, len) if chars::is_char(c) => self.pos += len,
                Decoded::Char(..) => return Err(Fault::ForbiddenCharacter),
                Decoded::Partial => return Ok(Step::More),
                Decoded::Invalid => return Err(Fault::InvalidUtf8),
            }
            if buf.get(self.pos).is_none_or(u8::is_ascii) {
                return Ok(Step::On);
            }
        }
    }

    /// Moves to the end of a qualified name.
    #[inline(always)]
    fn name(&mut self, buf: &[u8], limits: &Limits) -> Result<Step, Fault> {
        loop {
            self.pos = chars::skip(buf, self.pos, chars::NAME);
            match buf.get(self.pos) {
                None => return Ok(Step::More),
                Some(b':') if self.colon == 0 && self.pos > self.mark => {
                    self.colon = self.pos;
                    self.pos += 1;
                }
                Some(b':') => return Err(Fault::BadName),
                Some(0x80..) => match chars::decode(buf.get(self.pos..).unwrap_or_default()) {
                    Decoded::Char(c, len) if chars::is_name_char(c) => self.pos += len,
                    Decoded::Char(..) => return Err(Fault::BadName),
                    Decoded::Partial => return Ok(Step::More),
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
            true => Ok(Step::On),
            false => Err(Fault::BadName),
        }
    }

    /// One byte of a reference.
    fn reference(&mut self, buf: &[u8], byte: u8) -> Result<Step, Fault> {
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
        Ok(Step::On)
    }

    /// One byte after `<!`.
    fn bang(&mut self, work: &Work, byte: u8) -> Result<Step, Fault> {
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
            self.follow(State::Cdata, self.pos);
        }
        Ok(Step::On)
    }

    /// The end of a start tag, at its `>`: namespaces, uniqueness, outline.
    fn open(
        &mut self,
        work: &mut Work,
        buf: &[u8],
        scope: &Scope,
        limits: &Limits,
        empty: bool,
    ) -> Result<Step, Fault> {
        if work.open.len() >= usize::from(limits.depth_max) {
            return Err(Fault::TooDeep);
        }
        self.pos += 1;
        let depth = short(work.open.len() + 1);
        let outer_bindings = short(work.bindings.len());
        let declared = work.declare(buf, scope, limits, depth)?;
        let default = declared.unwrap_or_else(|| work.default(scope));
        let (start, end) = self.name;
        let (ns, local) = match self.name_colon {
            0 => (default, start),
            colon => (work.element_ns(buf, start..colon, scope, depth)?, colon + 1),
        };
        work.check_attributes(buf, scope, depth)?;

        let name = (small(local), short(end - local));
        match depth {
            1 => work.begin_outline(name, ns, default, self.pos, buf, scope),
            2 => {
                let explicit = declared.is_some() || self.name_colon > 0;
                work.add_child(name, ns, explicit, self.less, buf, scope, limits)?;
            }
            _ => {}
        }
        work.open.push(Open {
            name: small(start),
            name_len: short(end - start),
            bindings: outer_bindings,
            default,
        });
        if self.header {
            return match empty {
                true => Err(Fault::NotAStream),
                false => Ok(Step::Done(Done::Header(self.pos))),
            };
        }
        if empty {
            self.less = self.pos;
            return Ok(self.close(work));
        }
        self.follow(State::Text, self.pos);
        Ok(Step::On)
    }

    /// The end of an element, behind its `>`.
    fn close(&mut self, work: &mut Work) -> Step {
        if let Some(open) = work.open.pop() {
            work.bindings.truncate(usize::from(open.bindings));
        }
        self.follow(State::Text, self.pos);
        match work.open.len() {
            0 => {
                work.outline.content.1 = small(self.less);
                return Step::Done(Done::Element(self.pos));
            }
            1 => {
                if let Some(child) = work.outline.children.last_mut() {
                    child.end = small(self.pos);
                }
            }
            _ => {}
        }
        Step::On
    }
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
