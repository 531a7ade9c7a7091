//! What must hold for any bytes: the functions behind the fuzz targets and `tests/fuzz.rs`.

use std::path::Path;

use coucou::jid::{BareJid, Jid};
use coucou::stanza::Stanza;
use coucou::xml::element::{Element, Node};
use coucou::xml::fault::Fault;
use coucou::xml::framer::{Frame, Framer, Limits};

/// rxml has limits of its own, at 8192 bytes of a token.
const DOCUMENT_BYTES_MAX: usize = 4096;

/// The first byte says how the document behind it is cut into pieces.
pub fn framer(data: &[u8]) {
    let Some((&cut, document)) = data.split_first() else { return };
    let document = &document[..document.len().min(DOCUMENT_BYTES_MAX)];
    let ours = frame(document, document.len());
    let pieces = frame(document, usize::from(cut % 16) + 1);
    assert_eq!(ours, pieces, "whole and in pieces");

    // rxml refuses white space in front of a root without declaration, too.
    if !is_judged(document) || document.first().is_some_and(u8::is_ascii_whitespace) {
        return;
    }
    let theirs = oracle(document);
    assert!(theirs.tokens.starts_with(&ours.tokens), "{:?}\n{:?}", ours.tokens, theirs.tokens);
    if theirs.refused {
        assert!(ours.fault.is_some() || ours.rest > 0, "only rxml refuses this");
    }
    if theirs.complete {
        assert!(ours.fault.is_none_or(is_stricter), "rxml takes this: {:?}", ours.fault);
    }
}

/// Where rxml 0.14 is a judge. It refuses some carriage returns in attributes, keeps some before
/// line feeds in CDATA, and knows no names with U+FDF0 to U+FFFD: XML does otherwise.
fn is_judged(document: &[u8]) -> bool {
    !document.contains(&b'\r')
        && !document.windows(2).any(|pair| matches!(pair, [0xef, 0xb7..=0xbf]))
}

/// Where we refuse more than XML does: the shape of a stream and our limits.
fn is_stricter(fault: Fault) -> bool {
    use Fault::*;
    matches!(
        fault,
        NotAStream
            | NotTheStreamNamespace
            | TextBetweenStanzas
            | HeaderTooLarge
            | ElementTooLarge
            | TooDeep
            | TooManyAttributes
            | TooManyPrefixes
            | TooManyChildren
            | NameTooLong
            // rxml waits for more of a token that it would refuse.
            | AfterTheEnd
            // rxml takes a default namespace that is declared twice.
            | DuplicateAttribute
            // References of more than 16 bytes.
            | BadReference
            // rxml takes some declarations that production 23 does not.
            | BadDeclaration
    )
}

/// A document as both parsers see it. White space between stanzas is left out.
#[derive(Debug, PartialEq, Eq)]
enum Token {
    Start { ns: String, name: String, attributes: Vec<(String, String)> },
    Text(String),
    End,
}

#[derive(Debug, PartialEq, Eq)]
struct Framed {
    tokens: Vec<Token>,
    fault: Option<Fault>,
    /// Bytes that wait for more.
    rest: usize,
}

fn frame(document: &[u8], piece: usize) -> Framed {
    let mut framer = Framer::new(Limits::default());
    let mut tokens = Vec::new();
    let (mut start, mut end) = (0, 0);
    loop {
        match framer.next(&document[start..end]) {
            Ok(Some(frame)) => {
                let bytes = &document[start..start + frame.len()];
                start += frame.len();
                match frame {
                    Frame::Header { .. } => tokens.push(header_token(bytes)),
                    Frame::Element { .. } => {
                        let element = framer.element(bytes).expect("a framed element is valid");
                        flatten(&element, &mut tokens);
                        stanza(bytes, &framer);
                    }
                    Frame::Whitespace { .. } => {}
                    Frame::Close { .. } => tokens.push(Token::End),
                }
            }
            Ok(None) if end == document.len() => break,
            Ok(None) => end = (end + piece).min(document.len()),
            Err(_) => {
                let rest = document.len() - start;
                let fault = framer.fault();
                assert!(fault.is_some() && framer.next(&[]).is_err(), "an error stays");
                // Where the pieces end says how much is left, not what is wrong.
                return Framed { tokens, fault, rest: rest.min(1) };
            }
        }
    }
    Framed { tokens, fault: None, rest: document.len() - start }
}

/// The start tag of a stream, read as an element by giving it an end.
fn header_token(bytes: &[u8]) -> Token {
    let tag = bytes.iter().rposition(|&b| b == b'<').unwrap_or(0);
    let mut whole = bytes[tag..bytes.len() - 1].to_vec();
    whole.extend_from_slice(b"/>");
    let mut tokens = Vec::new();
    flatten(&Element::parse(&whole, "").expect("a framed header is valid"), &mut tokens);
    tokens.swap_remove(0)
}

fn flatten(element: &Element, tokens: &mut Vec<Token>) {
    let local = |name: &str| name.rsplit(':').next().unwrap_or_default().to_owned();
    let mut attributes: Vec<_> =
        element.attributes().map(|(name, value)| (local(name), value.to_owned())).collect();
    attributes.sort();
    tokens.push(Token::Start {
        ns: element.ns().to_owned(),
        name: element.name().to_owned(),
        attributes,
    });
    for node in element.nodes() {
        match node {
            Node::Element(child) => flatten(child, tokens),
            Node::Text(text) => tokens.push(Token::Text(text.clone())),
        }
    }
    tokens.push(Token::End);
}

struct Oracle {
    tokens: Vec<Token>,
    refused: bool,
    /// It has seen the end of the root.
    complete: bool,
}

fn oracle(document: &[u8]) -> Oracle {
    use rxml::error::EndOrError;
    use rxml::{Event, Parse};

    let mut parser = rxml::Parser::new();
    let mut rest = document;
    let mut found = Oracle { tokens: Vec::new(), refused: false, complete: false };
    let mut depth = 0;
    loop {
        match parser.parse(&mut rest, false) {
            Ok(Some(Event::StartElement(_, (ns, name), attributes))) => {
                depth += 1;
                let mut attributes: Vec<_> = attributes
                    .into_iter()
                    .map(|((_, name), value)| (name.to_string(), value.to_string()))
                    .collect();
                attributes.sort();
                let (ns, name) = (ns.as_str().to_owned(), name.to_string());
                found.tokens.push(Token::Start { ns, name, attributes });
            }
            Ok(Some(Event::Text(_, text))) if depth > 1 => match found.tokens.last_mut() {
                Some(Token::Text(last)) => last.push_str(&text),
                _ if text.is_empty() => {}
                _ => found.tokens.push(Token::Text(text.to_string())),
            },
            Ok(Some(Event::EndElement(_))) => {
                depth -= 1;
                found.complete = depth == 0;
                found.tokens.push(Token::End);
            }
            Ok(Some(_)) => {}
            Ok(None) | Err(EndOrError::NeedMoreData) => return found,
            Err(EndOrError::Error(_)) => {
                found.refused = true;
                found.complete = false;
                return found;
            }
        }
    }
}

/// A framed element that is a stanza is read as it is written, and stands alone.
fn stanza(bytes: &[u8], framer: &Framer) {
    let Ok(stanza) = Stanza::from_frame(bytes, framer) else { return };
    let mut out = Vec::new();
    stanza.write_standalone(&mut out);
    let again = Stanza::parse(&out).expect("a written stanza is a stanza");
    assert_eq!(stanza, again);
    let names = |stanza: &Stanza| -> Vec<(String, String)> {
        stanza.children().map(|child| (child.name().to_owned(), child.ns().to_owned())).collect()
    };
    assert_eq!(names(&stanza), names(&again));
    for child in stanza.children() {
        let element = child.element().expect("a child is an element");
        assert!(child.is(element.name(), element.ns()));
        for (name, value) in element.attributes() {
            assert_eq!(child.get(name).as_deref(), Some(value));
        }
    }
    let element = Element::parse(&out, "").expect("a written stanza is an element");
    assert_eq!(element.children().count(), stanza.children().count());
    if !is_judged(&out) {
        return;
    }
    let oracle = oracle(&out);
    assert!(oracle.complete, "a written stanza stands alone");
    let mut tokens = Vec::new();
    flatten(&element, &mut tokens);
    let without_text = |tokens: Vec<Token>| -> Vec<Token> {
        tokens.into_iter().filter(|token| !matches!(token, Token::Text(_))).collect()
    };
    assert_eq!(without_text(tokens), without_text(oracle.tokens));
}

pub fn jid(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let strict = Jid::parse_strict(text);
    let jid = match Jid::parse(text) {
        Ok(jid) => jid,
        Err(error) => {
            assert!(strict.is_err() && error.to_string().contains("of the address"));
            return;
        }
    };
    assert!(strict.is_err() || strict.as_ref() == Ok(&jid), "the fall-back changes nothing");
    assert_eq!(Jid::parse(jid.as_str()).as_ref(), Ok(&jid), "its own normal form");
    assert_eq!(Jid::from_parts(jid.local(), jid.domain(), jid.resource()).as_ref(), Ok(&jid));
    for part in [jid.local(), Some(jid.domain()), jid.resource()].into_iter().flatten() {
        assert!((1..=1023).contains(&part.len()));
        assert!(!part.contains(char::is_control));
    }
    assert!(!jid.domain().contains(['@', '/']));
    assert!(jid.local().is_none_or(|local| !local.contains(['@', '/', '<', '>', '"', '\'', '&'])));
    assert_eq!(BareJid::parse(jid.bare_str()).as_ref(), Ok(&jid.bare()));
    let resource = jid.resource().unwrap_or("x");
    assert_eq!(jid.bare().with_resource(resource).map(|j| j.bare()).as_ref(), Ok(&jid.bare()));
}

pub fn config(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Err(error) = coucou::config::parse(text, Path::new("/etc/coucou/coucou.toml")) {
        assert!(!error.to_string().is_empty());
    }
}
