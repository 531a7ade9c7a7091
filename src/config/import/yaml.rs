//! YAML as a tree with positions: as much of it as configuration files use.
//!
//! The crate's own tree keeps either order or positions of keys, so ours is built from the parser's
//! events. Depth, number of nodes and size of what aliases repeat are bounded.

use std::collections::BTreeMap;
use std::ops::Range;

use saphyr_parser::{Event, Parser, ScalarStyle, Span};

use crate::config::problem::Problem;

/// Deepest nesting read.
const DEPTH_MAX: usize = 64;
/// Most values of one file, those that aliases repeat counted each time.
const NODES_MAX: usize = 200_000;

/// Where something stands: which of the files read, and which bytes of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Place {
    pub file: usize,
    pub line: usize,
    pub span: Range<usize>,
}

/// A value and its place.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Node {
    pub at: Place,
    pub value: Value,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    /// `plain` if it stands without quotes, so that it may be a number, a word or a macro.
    Scalar {
        text: String,
        plain: bool,
    },
    List(Vec<Node>),
    /// In the order of the file; keys may repeat.
    Map(Vec<(Node, Node)>),
}

impl Node {
    /// The text of a scalar that says something.
    pub(super) fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Scalar { text, .. } if !self.is_null() => Some(text),
            _ => None,
        }
    }

    /// Nothing, as after a colon with no value.
    pub(super) fn is_null(&self) -> bool {
        matches!(&self.value, Value::Scalar { text, plain: true } if matches!(text.as_str(), "" | "~" | "null"))
    }

    /// The entries of a map; none of anything else.
    pub(super) fn entries(&self) -> &[(Node, Node)] {
        match &self.value {
            Value::Map(entries) => entries,
            _ => &[],
        }
    }

    /// The value of the last entry named `key`.
    pub(super) fn get(&self, key: &str) -> Option<&Node> {
        let entry = self.entries().iter().rev().find(|(name, _)| name.text() == Some(key));
        entry.map(|(_, value)| value)
    }

    /// The elements of a list; of anything else but nothing, itself.
    pub(super) fn elements(&self) -> &[Node] {
        match &self.value {
            Value::List(list) => list,
            _ if self.is_null() => &[],
            _ => std::slice::from_ref(self),
        }
    }

    /// What kind of value it is, for messages.
    pub(super) fn kind(&self) -> String {
        match &self.value {
            _ if self.is_null() => "nothing".to_owned(),
            Value::Scalar { text, .. } => {
                let short: String = text.chars().take(60).collect();
                format!("{short:?}")
            }
            Value::List(_) => "a list".to_owned(),
            Value::Map(_) => "a map".to_owned(),
        }
    }
}

/// Reads `text`, the content of the file numbered `file`. An empty file is an empty map.
///
/// # Errors
/// The first fault of syntax, at its place.
pub(super) fn parse(text: &str, file: usize) -> Result<Node, Box<Problem>> {
    read(text, file).map_err(|problem| match missing_colon(text, &problem) {
        Some(mended) => Box::new(mended),
        None => problem,
    })
}

fn read(text: &str, file: usize) -> Result<Node, Box<Problem>> {
    let mut reader = Reader {
        text,
        file,
        offsets: offsets(text),
        anchors: BTreeMap::new(),
        count: 0,
        events: Parser::new_from_str(text),
    };
    reader.document()
}

/// Byte offsets of the characters of `text` where the two differ; the parser counts characters.
fn offsets(text: &str) -> Option<Vec<usize>> {
    (!text.is_ascii()).then(|| text.char_indices().map(|(at, _)| at).collect())
}

struct Reader<'t> {
    text: &'t str,
    file: usize,
    offsets: Option<Vec<usize>>,
    anchors: BTreeMap<usize, Node>,
    count: usize,
    events: Parser<'t, saphyr_parser::StrInput<'t>>,
}

impl Reader<'_> {
    fn document(&mut self) -> Result<Node, Box<Problem>> {
        let mut root = None;
        loop {
            let (event, span) = self.next()?;
            match event {
                Event::StreamEnd => break,
                Event::DocumentStart(_) if root.is_some() => {
                    let problem = Problem::at(self.text, &self.bytes(span), "");
                    return Err(problem
                        .found("a second document")
                        .expected("one document in a file")
                        .help("remove the line `---`, or import the two files one by one")
                        .into());
                }
                Event::StreamStart | Event::DocumentStart(_) | Event::DocumentEnd => {}
                event => root = Some(self.node(event, span, 0)?),
            }
        }
        Ok(root.unwrap_or_else(|| Node {
            at: Place { file: self.file, line: 1, span: 0..0 },
            value: Value::Map(Vec::new()),
        }))
    }

    fn next(&mut self) -> Result<(Event<'static>, Span), Box<Problem>> {
        match self.events.next_event() {
            Some(Ok((event, span))) => Ok((owned(event), span)),
            Some(Err(error)) => {
                let at = self.byte(error.marker().index());
                Err(Problem::at(self.text, &(at..at), "")
                    .found(format!("a fault of YAML syntax: {}", error.info()))
                    .expected("`key: value` or `- value`, indented by spaces")
                    .into())
            }
            None => Ok((Event::StreamEnd, Span::default())),
        }
    }

    fn node(
        &mut self,
        event: Event<'static>,
        span: Span,
        depth: usize,
    ) -> Result<Node, Box<Problem>> {
        self.count += 1;
        let at = self.place(span);
        if depth > DEPTH_MAX || self.count > NODES_MAX {
            let problem = Problem::at(self.text, &at.span, "");
            return Err(problem
                .found("too much")
                .expected(format!("at most {NODES_MAX} values, nested at most {DEPTH_MAX} deep"))
                .into());
        }
        let (anchor, value) = match event {
            Event::Alias(id) => {
                let node = self.anchors.get(&id).cloned().ok_or_else(|| {
                    let problem = Problem::at(self.text, &at.span, "");
                    problem
                        .found("an alias of what contains it")
                        .expected("an alias of what stands before it")
                })?;
                self.count += size(&node);
                return Ok(node);
            }
            Event::Scalar(text, style, anchor, _) => {
                let plain = style == ScalarStyle::Plain;
                (anchor, Value::Scalar { text: text.into_owned(), plain })
            }
            Event::SequenceStart(anchor, _) => {
                let mut list = Vec::new();
                loop {
                    let (event, span) = self.next()?;
                    if matches!(event, Event::SequenceEnd | Event::StreamEnd) {
                        break;
                    }
                    list.push(self.node(event, span, depth + 1)?);
                }
                (anchor, Value::List(list))
            }
            Event::MappingStart(anchor, _) => {
                let mut entries = Vec::new();
                loop {
                    let (event, span) = self.next()?;
                    if matches!(event, Event::MappingEnd | Event::StreamEnd) {
                        break;
                    }
                    let key = self.node(event, span, depth + 1)?;
                    let (event, span) = self.next()?;
                    let value = self.node(event, span, depth + 1)?;
                    entries.push((key, value));
                }
                (anchor, Value::Map(entries))
            }
            _ => (0, Value::Scalar { text: String::new(), plain: true }),
        };
        let node = Node { at, value };
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
        }
        Ok(node)
    }

    fn place(&self, span: Span) -> Place {
        Place { file: self.file, line: span.start.line(), span: self.bytes(span) }
    }

    fn bytes(&self, span: Span) -> Range<usize> {
        self.byte(span.start.index())..self.byte(span.end.index())
    }

    fn byte(&self, character: usize) -> usize {
        match &self.offsets {
            Some(offsets) => offsets.get(character).copied().unwrap_or(self.text.len()),
            None => character.min(self.text.len()),
        }
    }
}

/// Detached from the text; the tree outlives the parser.
fn owned(event: Event<'_>) -> Event<'static> {
    match event {
        Event::Scalar(text, style, anchor, _) => {
            Event::Scalar(text.into_owned().into(), style, anchor, None)
        }
        Event::SequenceStart(anchor, _) => Event::SequenceStart(anchor, None),
        Event::MappingStart(anchor, _) => Event::MappingStart(anchor, None),
        Event::Alias(id) => Event::Alias(id),
        Event::Nothing => Event::Nothing,
        Event::StreamStart => Event::StreamStart,
        Event::StreamEnd => Event::StreamEnd,
        Event::DocumentStart(explicit) => Event::DocumentStart(explicit),
        Event::DocumentEnd => Event::DocumentEnd,
        Event::SequenceEnd => Event::SequenceEnd,
        Event::MappingEnd => Event::MappingEnd,
    }
}

fn size(node: &Node) -> usize {
    1 + match &node.value {
        Value::Scalar { .. } => 0,
        Value::List(list) => list.iter().map(size).sum(),
        Value::Map(entries) => entries.iter().map(|(key, value)| size(key) + size(value)).sum(),
    }
}

/// A forgotten colon is found by the parser lines below, where the text makes no sense any more.
/// The nearest line above that looks like one, and with a colon lets the parser come further, is
/// told instead.
fn missing_colon(text: &str, problem: &Problem) -> Option<Problem> {
    const TRIES_MAX: usize = 16;
    let mut start = 0;
    let mut suspects = Vec::new();
    for line in text.split_inclusive('\n').take(problem.line) {
        if let Some(word) = without_colon(line) {
            let at = start + line.find(word).unwrap_or(0);
            suspects.push((word, at..at + word.len()));
        }
        start += line.len();
    }
    suspects.into_iter().rev().take(TRIES_MAX).find_map(|(word, span)| {
        let mended = format!("{}:{}", &text[..span.end], &text[span.end..]);
        let better = match read(&mended, 0) {
            Ok(root) => !root.entries().is_empty(),
            Err(next) => next.line > problem.line,
        };
        better.then(|| {
            Problem::at(text, &span, "")
                .found(format!("`{word}` without a colon"))
                .expected(format!("`{word}:`"))
        })
    })
}

/// A tree whose root is no map: where a colon is missing, if that is why.
pub(super) fn not_a_map(text: &str, root: &Node) -> Problem {
    let last = text.lines().count();
    let problem =
        Problem::at(text, &root.at.span, "").found(root.kind()).expected("`option: value`");
    missing_colon(text, &Problem { line: last, ..problem.clone() }).unwrap_or(problem)
}

/// The word of a line such as `hosts` or `mod_disco {}`.
pub(super) fn without_colon(line: &str) -> Option<&str> {
    let line = line.trim().trim_start_matches("- ");
    let len = line.find(|c: char| !c.is_ascii_lowercase() && c != '_' && !c.is_ascii_digit());
    let (word, rest) = line.split_at(len.unwrap_or(line.len()));
    let rest = rest.trim();
    let is_name = word.len() > 2 && word.starts_with(|c: char| c.is_ascii_lowercase());
    let follows = rest.is_empty() || rest.starts_with(['{', '[', '"', '#']);
    (is_name && follows).then_some(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(text: &str) -> Node {
        parse(text, 0).unwrap_or_else(|problem| panic!("{problem}"))
    }

    fn fault(text: &str) -> Problem {
        *parse(text, 0).unwrap_err()
    }

    #[test]
    fn positions_are_those_of_the_file() {
        let text = "# Grüße\nhosts:\n  - \"é\"\n  - example.org\nacl: {admin: [a, b]}\n";
        let root = tree(text);
        let hosts = root.get("hosts").unwrap().elements();
        assert_eq!(hosts[0].text(), Some("é"));
        assert_eq!(hosts[1].at.line, 4);
        assert_eq!(&text[hosts[1].at.span.clone()], "example.org");
        assert_eq!(root.get("acl").unwrap().get("admin").unwrap().elements().len(), 2);
        assert_eq!(tree("").entries(), []);
        assert!(tree("a:\nb: 1\n").get("a").unwrap().is_null());
    }

    #[test]
    fn anchors_repeat_what_they_name_and_are_bounded() {
        let root = tree("a: &x [1, 2]\nb: *x\n");
        assert_eq!(root.get("b").unwrap().elements().len(), 2);
        let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for n in 1..9 {
            let all = vec![format!("*a{}", n - 1); 10].join(", ");
            bomb.push_str(&format!("a{n}: &a{n} [{all}]\n"));
        }
        assert_eq!(fault(&bomb).found, "too much");
        assert_eq!(fault(&format!("a: {}", "[".repeat(80))).found, "too much");
        assert!(fault(&"[".repeat(100_000)).found.contains("recursion limit"));
    }

    #[test]
    fn faults_have_a_place() {
        let colon = fault("hosts\n  - example.org\nloglevel: info\n");
        assert_eq!((colon.line, colon.column), (1, 1));
        assert_eq!(colon.found, "`hosts` without a colon");
        let module = fault("modules:\n  mod_adhoc: {}\n  mod_disco {}\n  mod_mam: {}\n");
        assert_eq!((module.line, module.column, module.expected.as_str()), (3, 3, "`mod_disco:`"));
        let tab = fault("modules:\n\tmod_adhoc: {}\n");
        assert_eq!(tab.line, 2, "{tab}");
        let second = fault("a: 1\n---\nb: 2\n");
        assert_eq!(second.line, 2, "{second}");
        assert!(fault("a: [1, 2\nb: }").found.starts_with("a fault of YAML syntax"));
    }
}
