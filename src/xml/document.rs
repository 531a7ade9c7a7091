//! Documents too large to hold: walked tag by tag, with parts of them taken as trees.
//!
//! For files that an operator names, not for streams: comments and processing instructions are
//! passed over. Document types are refused, so nothing expands.

use std::fmt;
use std::io::{self, BufRead, Read};

use quick_xml::NsReader;
use quick_xml::escape::resolve_xml_entity;
use quick_xml::events::Event;

use super::element::{Element, begin};
use super::framer::{self, Limits};

/// Elements within each other.
const DEPTH_MAX: usize = 128;

/// Where something is in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    pub line: u64,
    pub column: u64,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}", self.line, self.column)
    }
}

/// Why a document cannot be read, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {what}")]
pub struct DocumentError {
    pub place: Place,
    pub what: String,
}

/// What comes next.
#[derive(Debug)]
pub enum Token {
    /// A start tag; the element is empty as yet. What is in it comes next, or as a whole by
    /// [`Document::whole`].
    Open(Element),
    Close,
    /// The document has ended well.
    End,
}

/// A document being read.
pub struct Document<R: BufRead> {
    reader: NsReader<Counted<R>>,
    buffer: Vec<u8>,
    depth: usize,
    /// The last start tag was `<x/>`: its end is still to be told.
    empty: bool,
    rooted: bool,
    part_bytes_max: usize,
}

impl<R: BufRead> Document<R> {
    /// No tag, and no part taken whole, may have more than `part_bytes_max` bytes.
    pub fn new(input: R, part_bytes_max: usize) -> Document<R> {
        let counted = Counted { input, line: 1, column: 1, taken: 0, max: part_bytes_max };
        let reader = NsReader::from_reader(counted);
        Document {
            reader,
            buffer: Vec::new(),
            depth: 0,
            empty: false,
            rooted: false,
            part_bytes_max,
        }
    }

    /// Where the next token begins.
    pub fn place(&self) -> Place {
        let counted = self.reader.get_ref();
        Place { line: counted.line, column: counted.column }
    }

    fn error<T>(&self, place: Place, what: impl Into<String>) -> Result<T, DocumentError> {
        Err(DocumentError { place, what: what.into() })
    }

    /// The next tag and where it is; text between tags must be white space.
    ///
    /// # Errors
    /// The first rule of XML that is broken.
    pub fn token(&mut self) -> Result<(Token, Place), DocumentError> {
        if std::mem::take(&mut self.empty) {
            self.depth -= 1;
            return Ok((Token::Close, self.place()));
        }
        loop {
            self.reader.get_mut().taken = 0;
            let place = self.place();
            match self.event(place)? {
                Step::Open(element, empty) => {
                    if self.depth == 0 && std::mem::replace(&mut self.rooted, true) {
                        return self.error(place, "there is more after the end of the document");
                    }
                    self.depth += 1;
                    self.empty = empty;
                    return Ok((Token::Open(element), place));
                }
                Step::Close => {
                    self.depth -= 1;
                    return Ok((Token::Close, place));
                }
                Step::Text(text) if text.chars().all(char::is_whitespace) => {}
                Step::Text(_) => return self.error(place, "text where there should be a tag"),
                Step::Pass => {}
                Step::End if self.depth == 0 && self.rooted => return Ok((Token::End, place)),
                Step::End => return self.error(place, "the file ends in the middle"),
            }
        }
    }

    /// Takes the element whose start tag was read last as a whole. What is in it obeys the rules of
    /// streams.
    ///
    /// # Errors
    /// The first rule that is broken, or that it is too large.
    pub fn whole(&mut self, open: Element, place: Place) -> Result<Element, DocumentError> {
        let mut parents = vec![open];
        if std::mem::take(&mut self.empty) {
            self.depth -= 1;
        } else {
            self.reader.get_mut().taken = 0;
            loop {
                let at = self.place();
                let done = match self.event(at)? {
                    Step::Open(element, true) => Some(element),
                    Step::Open(..) if parents.len() >= DEPTH_MAX => {
                        return self.error(at, "elements are nested too deeply");
                    }
                    Step::Open(element, false) => {
                        parents.push(element);
                        None
                    }
                    Step::Text(text) => {
                        if let Some(last) = parents.last_mut() {
                            last.push_text(&text);
                        }
                        None
                    }
                    Step::Pass => None,
                    Step::End => return self.error(at, "the file ends in the middle"),
                    Step::Close if parents.len() == 1 => break,
                    Step::Close => parents.pop(),
                };
                if let (Some(done), Some(parent)) = (done, parents.last_mut()) {
                    parent.push(done);
                }
            }
            self.depth -= 1;
        }
        let Some(element) = parents.pop() else {
            return self.error(place, "there is no element");
        };
        let xml = element.to_xml("");
        let limits = Limits { element_bytes_max: 2 * self.part_bytes_max, ..Limits::STORED };
        match framer::validate(xml.as_bytes(), "", &limits) {
            Ok(()) => Ok(element),
            Err(fault) => self.error(place, format!("<{}/>: {}", element.name(), fault.fault)),
        }
    }

    /// Passes over the element whose start tag was read last.
    ///
    /// # Errors
    /// The first rule of XML that is broken.
    pub fn skip(&mut self) -> Result<(), DocumentError> {
        if std::mem::take(&mut self.empty) {
            self.depth -= 1;
            return Ok(());
        }
        let mut depth = 1;
        while depth > 0 {
            self.reader.get_mut().taken = 0;
            let place = self.place();
            match self.event(place)? {
                Step::Open(_, empty) => depth += usize::from(!empty),
                Step::Close => depth -= 1,
                Step::End => return self.error(place, "the file ends in the middle"),
                Step::Text(_) | Step::Pass => {}
            }
        }
        self.depth -= 1;
        Ok(())
    }

    fn event(&mut self, place: Place) -> Result<Step, DocumentError> {
        self.buffer.clear();
        let event = match self.reader.read_event_into(&mut self.buffer) {
            Ok(event) => event.into_owned(),
            Err(error) => return self.error(place, error.to_string()),
        };
        let opened = |this: &Self, tag: &_| match begin(tag, this.reader.resolver(), None) {
            Some(element) => Ok(element),
            None => {
                this.error(place, "a tag that is not well-formed, or a prefix that is not declared")
            }
        };
        Ok(match event {
            Event::Start(tag) => Step::Open(opened(self, &tag)?, false),
            Event::Empty(tag) => Step::Open(opened(self, &tag)?, true),
            Event::End(_) => Step::Close,
            Event::Text(text) => Step::Text(text.xml10_content().into_owned()),
            Event::CData(text) => Step::Text(text.xml10_content().into_owned()),
            Event::GeneralRef(reference) => match reference.resolve_char_ref() {
                Ok(Some(char)) => Step::Text(char.to_string()),
                Ok(None) => match resolve_xml_entity(&reference) {
                    Some(text) => Step::Text(text.to_owned()),
                    None => return self.error(place, "an entity that XML does not have"),
                },
                Err(error) => return self.error(place, error.to_string()),
            },
            Event::DocType(_) => {
                return self.error(place, "a document type; those are not read");
            }
            Event::Comment(_) | Event::Decl(_) | Event::PI(_) => Step::Pass,
            Event::Eof => Step::End,
        })
    }
}

enum Step {
    /// `true`: it has ended, too.
    Open(Element, bool),
    Close,
    Text(String),
    Pass,
    End,
}

/// Knows where in the file it is, and how much was taken since last asked.
struct Counted<R> {
    input: R,
    line: u64,
    column: u64,
    taken: usize,
    max: usize,
}

impl<R: BufRead> Read for Counted<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let bytes = self.fill_buf()?;
        let len = bytes.len().min(buf.len());
        buf[..len].copy_from_slice(&bytes[..len]);
        self.consume(len);
        Ok(len)
    }
}

impl<R: BufRead> BufRead for Counted<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.taken > self.max {
            return Err(io::Error::other(format!("a part with more than {} bytes", self.max)));
        }
        self.input.fill_buf()
    }

    fn consume(&mut self, amount: usize) {
        // What was not filled cannot be consumed.
        if let Ok(bytes) = self.input.fill_buf() {
            let bytes = &bytes[..amount.min(bytes.len())];
            match memchr::memrchr(b'\n', bytes) {
                Some(last) => {
                    self.line += memchr::memchr_iter(b'\n', bytes).count() as u64;
                    self.column = (bytes.len() - last) as u64;
                }
                None => self.column += bytes.len() as u64,
            }
        }
        self.taken += amount;
        self.input.consume(amount);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn walk(xml: &str, max: usize) -> Result<Vec<String>, DocumentError> {
        let mut document = Document::new(xml.as_bytes(), max);
        let mut seen = Vec::new();
        loop {
            match document.token()? {
                (Token::Open(element), place) if element.name() == "part" => {
                    let part = document.whole(element, place)?;
                    seen.push(part.to_xml(""));
                }
                (Token::Open(element), _) if element.name() == "skip" => document.skip()?,
                (Token::Open(element), place) => {
                    seen.push(format!("{}:{} {}", place.line, place.column, element.name()));
                }
                (Token::Close, _) => seen.push("/".to_owned()),
                (Token::End, _) => return Ok(seen),
            }
        }
    }

    #[test]
    fn a_document_is_walked_with_places_and_parts() {
        let xml = "<?xml version='1.0'?>\n<a xmlns='urn:a'>\n  <b/><!-- x --><skip>text<c/></skip>\n\
                   <part n='1'>a&amp;b<![CDATA[<]]><d xmlns='urn:d'/></part><part/>\n</a>\n";
        assert_eq!(
            walk(xml, 1000).unwrap(),
            [
                "2:1 a",
                "3:3 b",
                "/",
                "<part xmlns='urn:a' n='1'>a&amp;b&lt;<d xmlns='urn:d'/></part>",
                "<part xmlns='urn:a'/>",
                "/"
            ]
        );
    }

    #[test]
    fn faults_have_a_place() {
        for (xml, told) in [
            ("<a>\n <b></a>", "line 2, column 5: "),
            ("<a>\n x</a>", "line 1, column 4: text where there should be a tag"),
            ("<a><part>", "line 1, column 10: the file ends in the middle"),
            ("<!DOCTYPE a><a/>", "line 1, column 1: a document type"),
            ("<a><p:b/></a>", "line 1, column 4: a tag that is not well-formed"),
            ("<a/><b/>", "line 1, column 5: there is more"),
            ("<a><part>&lol;</part></a>", "line 1, column 10: an entity"),
            ("", "line 1, column 1: the file ends in the middle"),
        ] {
            let error = walk(xml, 1000).unwrap_err().to_string();
            assert!(error.starts_with(told), "{xml}: {error}");
        }
        let long = format!("<a><part>{}</part></a>", "x".repeat(100_000));
        let error = walk(&long, 1000).err().map(|e| e.to_string());
        // One read of the input comes in a piece.
        assert!(error.is_none_or(|e| e.contains("more than 1000 bytes")));
    }
}
