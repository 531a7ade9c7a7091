//! The file as written: a tree with positions, read key by key.
//!
//! Each key is named once, where [`super::check`] asks for it with its type, default and bounds.
//! From the asking follow the list of known keys (for did-you-mean), the positions for errors that
//! span several keys, and the flat list of settings that a reload compares. A wrong value is noted
//! and its default goes on in its place, so that one run finds all that is wrong. That is why the
//! tree is not deserialised by serde, which stops at the first fault.

mod conditions;
mod rules;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::{Range, RangeInclusive};
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

use super::diff::Effect;
use super::leaf::{Choice, Wrong, choice, kind, nearest, one_text, size, span};
use super::problem::{Problem, printable};
use super::rules::{Rules, Use};
use super::value::{self, Secret, Size, Span};

/// A setting in force, as [`super::diff`] sees it.
#[derive(Clone, Debug)]
pub(super) struct Setting {
    pub path: String,
    pub value: Shown,
    pub effect: Effect,
    /// What it would be if the file did not say it; `None` if it has to.
    pub default: Option<String>,
    /// Where the file says it.
    pub line: Option<usize>,
}

/// Where it stands makes no other setting of it.
impl PartialEq for Setting {
    fn eq(&self, other: &Setting) -> bool {
        (&self.path, &self.value, self.effect) == (&other.path, &other.value, other.effect)
    }
}

/// A value to compare and to show.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Shown {
    Plain(String),
    Secret(Secret),
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Shown::Plain(text) => f.write_str(text),
            Shown::Secret(_) => f.write_str("***"),
        }
    }
}

/// What is gathered while a document is read.
pub(super) struct Document<'t> {
    text: &'t str,
    /// Where each line ends.
    ends: Vec<usize>,
    notes: RefCell<Notes>,
}

/// A key in the file that nobody asked for.
struct Unknown {
    table: String,
    key: String,
    span: Range<usize>,
    is_table: bool,
}

struct Notes {
    problems: Vec<Problem>,
    settings: Vec<Setting>,
    /// Where each key that is in the file stands; tables by their header.
    places: BTreeMap<String, Range<usize>>,
    /// Keys asked for, by table.
    known: BTreeMap<String, BTreeSet<&'static str>>,
    /// Keys in the file that nobody asked for.
    unknown: Vec<Unknown>,
    /// The rules read so far; settings that take a rule are checked against them.
    rules: Rules,
    uses: Vec<Use>,
    /// Patterns compiled so far.
    patterns: usize,
}

impl<'t> Document<'t> {
    pub(super) fn new(text: &'t str) -> Document<'t> {
        let notes = Notes {
            problems: Vec::new(),
            settings: Vec::new(),
            places: BTreeMap::new(),
            known: BTreeMap::new(),
            unknown: Vec::new(),
            rules: Rules::known(),
            uses: Vec::new(),
            patterns: 0,
        };
        let ends = text.match_indices('\n').map(|(at, _)| at).collect();
        Document { text, ends, notes: RefCell::new(notes) }
    }

    /// The line where `span` starts, from 1.
    fn line(&self, span: &Range<usize>) -> usize {
        self.ends.partition_point(|end| *end < span.start) + 1
    }

    /// A problem at the place of `path`, or of the nearest table around it that is in the file.
    pub(super) fn problem(&self, path: &str) -> Problem {
        let notes = self.notes.borrow();
        let mut around = Some(path);
        while let Some(key) = around {
            if let Some(span) = notes.places.get(key) {
                return Problem::at(self.text, span, path);
            }
            around = key.rfind('.').map(|at| &key[..at]);
        }
        Problem::at(self.text, &(0..0), path)
    }

    pub(super) fn report(&self, problem: Problem) {
        self.notes.borrow_mut().problems.push(problem);
    }

    /// All problems in the order of the file, and the settings sorted by path.
    pub(super) fn finish(self) -> (Vec<Problem>, Vec<Setting>) {
        let Notes { mut problems, mut settings, known, unknown, .. } = self.notes.into_inner();
        for unknown in unknown {
            problems.push(unknown_key(self.text, &known, &unknown));
        }
        problems.sort_by_key(|problem| (problem.line, problem.column));
        settings.sort_by(|a, b| a.path.cmp(&b.path));
        (problems, settings)
    }
}

/// A table of the document, or one that is left out and stands for its defaults.
pub(super) struct Table<'d, 't> {
    document: &'d Document<'t>,
    table: Option<&'d DeTable<'d>>,
    path: String,
    /// What a change of the keys asked for from now on asks of the running server.
    effect: Effect,
}

impl<'d, 't> Table<'d, 't> {
    /// Reads the root table with `read`.
    pub(super) fn root<R>(
        document: &'d Document<'t>,
        table: &'d DeTable<'d>,
        read: impl FnOnce(&mut Table<'d, 't>) -> R,
    ) -> R {
        Table { document, table: Some(table), path: String::new(), effect: Effect::Restart }
            .read_by(read)
    }

    fn read_by<R>(mut self, read: impl FnOnce(&mut Table<'d, 't>) -> R) -> R {
        let result = read(&mut self);
        let mut notes = self.document.notes.borrow_mut();
        let known = notes.known.get(&self.path).cloned().unwrap_or_default();
        for (key, value) in self.table.into_iter().flatten() {
            if !known.contains(key.get_ref().as_ref()) {
                notes.unknown.push(Unknown {
                    table: self.path.clone(),
                    key: key.get_ref().to_string(),
                    span: key.span(),
                    is_table: value.get_ref().is_table(),
                });
            }
        }
        drop(notes);
        result
    }

    /// What a change of the keys that follow asks of the running server.
    pub(super) fn effect(&mut self, effect: Effect) {
        self.effect = effect;
    }

    /// The full path of `key` in this table.
    pub(super) fn path_of(&self, key: &str) -> String {
        let bare = !key.is_empty()
            && key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
        let key = if bare { key.to_owned() } else { format!("{key:?}") };
        if self.path.is_empty() { key } else { format!("{}.{key}", self.path) }
    }

    /// Whether the file has `key` here.
    pub(super) fn has(&self, key: &str) -> bool {
        self.table.is_some_and(|table| table.contains_key(key))
    }

    /// Notes that the value of `key` does not do, though its type is right.
    pub(super) fn report(&self, key: &str, found: &str, expected: &str) {
        let problem = self.document.problem(&self.path_of(key));
        self.document.report(problem.found(found).expected(expected));
    }

    /// Notes what is wrong with this table as a whole.
    pub(super) fn report_here(&self, found: impl Into<String>, expected: &str, help: &str) {
        let problem = self.document.problem(&self.path);
        self.document.report(problem.found(found).expected(expected).help(help));
    }

    /// Whether the file has `key` here, and not as an empty table.
    pub(super) fn has_entries(&self, key: &str) -> bool {
        let value = self.table.and_then(|table| table.get(key)).map(Spanned::get_ref);
        value.is_some_and(|value| value.as_table().is_none_or(|table| !table.is_empty()))
    }

    /// The table named `key`, read by `read`; empty if it is left out.
    pub(super) fn section<R>(
        &mut self,
        key: &'static str,
        read: impl FnOnce(&mut Table<'d, 't>) -> R,
    ) -> R {
        let table = self.ask(key).and_then(|value| self.as_table(key, value));
        Table { document: self.document, table, path: self.path_of(key), effect: self.effect }
            .read_by(read)
    }

    /// The tables within the table `key`, each named by a domain, in the order of the file. `read`
    /// gets the normalised domain; what it makes of a table whose name does not do is dropped.
    pub(super) fn each_domain<R>(
        &mut self,
        key: &'static str,
        mut read: impl FnMut(String, &mut Table<'d, 't>) -> R,
    ) -> Vec<R> {
        let Some(tables) = self.ask(key).and_then(|value| self.as_table(key, value)) else {
            return Vec::new();
        };
        let outer = Table {
            document: self.document,
            table: None,
            path: self.path_of(key),
            effect: self.effect,
        };
        let mut seen: BTreeMap<String, String> = BTreeMap::new();
        let mut results = Vec::new();
        for (name, value) in in_file_order(tables) {
            let written = name.get_ref().as_ref();
            let domain = outer.domain(name, &mut seen);
            let path = outer.path_of(domain.as_deref().unwrap_or(written));
            self.document.notes.borrow_mut().places.entry(path.clone()).or_insert(name.span());
            let table = outer.as_table(written, value);
            let result = Table { document: self.document, table, path, effect: self.effect }
                .read_by(|table| read(domain.clone().unwrap_or_else(|| written.to_owned()), table));
            if domain.is_some() {
                results.push(result);
            }
        }
        results
    }

    /// The tables within the table `key`, each by a name of its own, in the order of the file.
    pub(super) fn each_named<R>(
        &mut self,
        key: &'static str,
        mut read: impl FnMut(String, &mut Table<'d, 't>) -> R,
    ) -> Vec<R> {
        let Some(tables) = self.ask(key).and_then(|value| self.as_table(key, value)) else {
            return Vec::new();
        };
        let outer = self.path_of(key);
        let outer =
            Table { document: self.document, table: None, path: outer, effect: self.effect };
        let mut results = Vec::new();
        for (name, value) in in_file_order(tables) {
            let written = name.get_ref().as_ref();
            let path = outer.path_of(written);
            self.document.notes.borrow_mut().places.entry(path.clone()).or_insert(name.span());
            let table = outer.as_table(written, value);
            let table = Table { document: self.document, table, path, effect: self.effect };
            results.push(table.read_by(|table| read(written.to_owned(), table)));
        }
        results
    }

    /// The domain that names a table, if it is one and no table before it has the same.
    fn domain(
        &self,
        name: &Spanned<DeString<'_>>,
        seen: &mut BTreeMap<String, String>,
    ) -> Option<String> {
        let written = name.get_ref().as_ref();
        let problem = Problem::at(self.document.text, &name.span(), self.path_of(written));
        let domain = match value::domain(written) {
            Ok(domain) => domain,
            Err(reason) => {
                let problem = problem
                    .found(format!("\"{}\", which {reason}", printable(written)))
                    .expected("a domain name")
                    .help(format!("quote it whole: [{}.\"example.org\"]", self.path));
                self.document.report(problem);
                return None;
            }
        };
        if let Some(first) = seen.insert(domain.clone(), written.to_owned()) {
            let found = format!("\"{written}\", the same domain as \"{first}\" above");
            self.document.report(problem.found(found).expected("each domain once"));
            return None;
        }
        Some(domain)
    }

    /// The table `key`, a map from free names to words of a list.
    pub(super) fn map<T: Choice>(&mut self, key: &'static str) -> BTreeMap<String, T> {
        let entries = self.ask(key).and_then(|value| self.as_table(key, value));
        let inner = Table {
            document: self.document,
            table: entries,
            path: self.path_of(key),
            effect: self.effect,
        };
        let mut map = BTreeMap::new();
        for (name, value) in entries.into_iter().flatten() {
            let path = inner.path_of(name.get_ref());
            self.document.notes.borrow_mut().places.insert(path.clone(), value.span());
            match choice::<T>(value.get_ref()) {
                Ok(choice) => {
                    let shown = Shown::Plain(choice.name().to_owned());
                    inner.record(path, shown, None, Some(value.span()));
                    map.insert(name.get_ref().to_string(), choice);
                }
                Err(wrong) => self.document.report(wrong.at(self.document.text, value, path)),
            }
        }
        map
    }

    pub(super) fn flag(&mut self, key: &'static str, default: bool) -> bool {
        self.leaf(key, default, bool::to_string, |value| {
            value.as_bool().ok_or_else(|| Wrong::kind("true or false"))
        })
    }

    /// A whole number.
    pub(super) fn count(
        &mut self,
        key: &'static str,
        default: u32,
        range: RangeInclusive<u32>,
    ) -> u32 {
        let expected = format!("a whole number from {} to {}", range.start(), range.end());
        self.leaf(key, default, u32::to_string, |value| match value.as_integer() {
            Some(number) => match i128::from_str_radix(number.as_str(), number.radix()).ok() {
                Some(number)
                    if u32::try_from(number).is_ok_and(|number| range.contains(&number)) =>
                {
                    Ok(number as u32)
                }
                _ => Err(Wrong::kind(&expected)),
            },
            None => Err(Wrong::kind(&expected)),
        })
    }

    /// A number of bytes held in memory.
    pub(super) fn bytes(
        &mut self,
        key: &'static str,
        default: u32,
        range: RangeInclusive<u32>,
    ) -> usize {
        let range = Size(u64::from(*range.start()))..=Size(u64::from(*range.end()));
        let size = self.leaf(key, Size(u64::from(default)), Size::to_string, |value| {
            size(value, &range, None).and_then(|size| size.ok_or_else(|| Wrong::kind("a size")))
        });
        usize::try_from(size.0).unwrap_or(usize::MAX)
    }

    /// A number of bytes on disk, or the word `without` for no bound.
    pub(super) fn bytes_or(
        &mut self,
        key: &'static str,
        default: Option<u64>,
        without: &'static str,
        range: RangeInclusive<u64>,
    ) -> Option<u64> {
        let range = Size(*range.start())..=Size(*range.end());
        let show =
            |size: &Option<Size>| size.map_or_else(|| without.to_owned(), |size| size.to_string());
        self.leaf(key, default.map(Size), show, |value| size(value, &range, Some(without)))
            .map(|size| size.0)
    }

    pub(super) fn span(
        &mut self,
        key: &'static str,
        default: Duration,
        range: RangeInclusive<Duration>,
    ) -> Duration {
        self.leaf(key, Span(default), Span::to_string, |value| {
            span(value, &range, None)
                .and_then(|span| span.ok_or_else(|| Wrong::kind("a length of time")))
        })
        .0
    }

    /// A length of time, or the word `without` for no end.
    pub(super) fn span_or(
        &mut self,
        key: &'static str,
        default: Option<Duration>,
        without: &'static str,
        range: RangeInclusive<Duration>,
    ) -> Option<Duration> {
        let show =
            |span: &Option<Span>| span.map_or_else(|| without.to_owned(), |span| span.to_string());
        self.leaf(key, default.map(Span), show, |value| span(value, &range, Some(without)))
            .map(|span| span.0)
    }

    pub(super) fn choice<T: Choice>(&mut self, key: &'static str, default: T) -> T {
        self.leaf(key, default, |choice| choice.name().to_owned(), choice)
    }

    /// A text that `parse` makes sense of; its error is a sentence that follows the text, as in
    /// "has no port".
    pub(super) fn text<T: Clone>(
        &mut self,
        key: &'static str,
        default: T,
        expected: &str,
        show: impl Fn(&T) -> String,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> T {
        self.leaf(key, default, show, |value| one_text(value, expected, &parse))
    }

    /// A list of texts; `expected` describes one of them.
    pub(super) fn list<T: Clone>(
        &mut self,
        key: &'static str,
        default: Vec<T>,
        expected: &str,
        show: impl Fn(&T) -> String,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Vec<T> {
        let show_all =
            |list: &[T]| format!("[{}]", list.iter().map(&show).collect::<Vec<_>>().join(", "));
        let path = self.path_of(key);
        let unset = show_all(&default);
        let mut list = default;
        let mut span = None;
        if let Some(value) = self.ask(key) {
            span = Some(value.span());
            match value.get_ref().as_array() {
                Some(items) => {
                    list = Vec::with_capacity(items.len());
                    for item in items.iter() {
                        match one_text(item.get_ref(), expected, &parse) {
                            Ok(item) => list.push(item),
                            Err(wrong) => self.document.report(wrong.at(
                                self.document.text,
                                item,
                                path.clone(),
                            )),
                        }
                    }
                }
                None => {
                    let wrong = Wrong::kind(&format!("a list in [ ], each of it {expected}"));
                    self.document.report(wrong.at(self.document.text, value, path.clone()));
                }
            }
        }
        self.record(path, Shown::Plain(show_all(&list)), Some(unset), span);
        list
    }

    /// A secret that must be there, of at least `len_min` bytes. It is never quoted in an error.
    pub(super) fn secret(&mut self, key: &'static str, len_min: usize) -> Secret {
        let path = self.path_of(key);
        let expected = format!("a secret text of at least {len_min} bytes");
        let help = "`openssl rand -base64 24` makes a good one";
        let Some(value) = self.ask(key) else {
            let problem = self.document.problem(&self.path).found("no secret").expected(expected);
            self.document.report(problem.help(format!("add `{key} = \"…\"`; {help}")));
            return Secret::new("");
        };
        let found = match value.get_ref().as_str() {
            Some(text) if text.len() >= len_min => {
                let secret = Secret::new(text);
                self.record(path, Shown::Secret(secret.clone()), None, Some(value.span()));
                return secret;
            }
            Some(text) => format!("a text of {} bytes", text.len()),
            None => kind(value.get_ref()).to_owned(),
        };
        let mut problem = self.document.problem(&path).found(found).expected(expected).help(help);
        problem.excerpt = None;
        self.document.report(problem);
        Secret::new("")
    }

    /// Reads one key, or notes what is wrong with it and goes on with the default.
    fn leaf<T: Clone>(
        &mut self,
        key: &'static str,
        default: T,
        show: impl Fn(&T) -> String,
        parse: impl Fn(&DeValue<'_>) -> Result<T, Wrong>,
    ) -> T {
        let path = self.path_of(key);
        let unset = show(&default);
        let written = self.ask(key);
        let value = match written.map(|value| (value, parse(value.get_ref()))) {
            None => default,
            Some((_, Ok(value))) => value,
            Some((value, Err(wrong))) => {
                self.document.report(wrong.at(self.document.text, value, path.clone()));
                default
            }
        };
        let span = written.map(Spanned::span);
        self.record(path, Shown::Plain(show(&value)), Some(unset), span);
        value
    }

    fn ask(&mut self, key: &'static str) -> Option<&'d Spanned<DeValue<'d>>> {
        let mut notes = self.document.notes.borrow_mut();
        notes.known.entry(self.path.clone()).or_default().insert(key);
        let (name, value) = self.table?.get_key_value(key)?;
        let place = if value.get_ref().is_table() { name.span() } else { value.span() };
        notes.places.insert(self.path_of(key), place);
        Some(value)
    }

    fn as_table(&self, key: &str, value: &'d Spanned<DeValue<'d>>) -> Option<&'d DeTable<'d>> {
        let table = value.get_ref().as_table();
        if table.is_none() {
            let path = self.path_of(key);
            let wrong = Wrong::kind(&format!("a table, as in [{path}]"));
            self.document.report(wrong.at(self.document.text, value, path));
        }
        table
    }

    /// Notes a setting in force: what it would be unless the file said otherwise, and where the file
    /// does.
    fn record(
        &self,
        path: String,
        value: Shown,
        default: Option<String>,
        span: Option<Range<usize>>,
    ) {
        let line = span.map(|span| self.document.line(&span));
        self.document.notes.borrow_mut().settings.push(Setting {
            path,
            value,
            effect: self.effect,
            default,
            line,
        });
    }
}

fn in_file_order<'d>(
    table: &'d DeTable<'d>,
) -> Vec<(&'d Spanned<DeString<'d>>, &'d Spanned<DeValue<'d>>)> {
    let mut entries: Vec<_> = table.iter().collect();
    entries.sort_by_key(|(name, _)| name.span().start);
    entries
}

/// Names the key that was probably meant: a similar one in the same table, or this very one in
/// another.
fn unknown_key(
    text: &str,
    known: &BTreeMap<String, BTreeSet<&'static str>>,
    unknown: &Unknown,
) -> Problem {
    let Unknown { table, key, span, is_table } = unknown;
    let here = known.get(table).cloned().unwrap_or_default();
    let place =
        if table.is_empty() { "the top of the file".to_owned() } else { format!("[{table}]") };
    let path = if table.is_empty() { key.to_owned() } else { format!("{table}.{key}") };
    let problem = Problem::at(text, span, path)
        .found(format!("the unknown key \"{}\" in {place}", printable(key)))
        .expected(format!("one of {}", here.iter().copied().collect::<Vec<_>>().join(", ")));
    if let Some(near) = nearest(key, here.iter().copied()) {
        return problem.help(format!("did you mean \"{near}\"?"));
    }
    // A domain without quotes falls apart at its dots.
    let of_domain = ["hosts", "components"].iter().find_map(|kind| {
        let name = table.strip_prefix(kind)?.strip_prefix('.')?;
        (*is_table && !name.contains(['.', '"'])).then(|| format!("[{kind}.\"{name}.{key}\"]"))
    });
    if let Some(quoted) = of_domain {
        return problem.help(format!("quote the domain whole, as in {quoted}"));
    }
    let elsewhere =
        known.iter().find(|(_, keys)| keys.contains(key.as_str())).map(|(table, _)| table.as_str());
    match elsewhere {
        Some("") => problem
            .help(format!("\"{key}\" belongs at the top of the file, before the first [table]")),
        Some(table) => problem.help(format!("\"{key}\" belongs in [{table}]")),
        None => problem,
    }
}
