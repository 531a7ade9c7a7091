//! Changes of the file's text that leave everything else in it as it is: comments, order, spaces.
//!
//! The text is not printed anew. `toml_edit` says where things stand, and what changes is spliced
//! in. A setting that gets a value takes the place of its commented default where the file has one,
//! as our annotated file does; one that loses its value becomes that comment again.
//!
//! Nothing here knows what settings mean: the result goes through [`super::parse`] like any other
//! file.

mod list;

use std::ops::Range;

use toml::Value;
use toml_edit::{Document, InlineTable, Item, Key, Table};

use super::problem::Problem;
use super::show::{anywhere, header_of, setting_of};
use super::template::ANNOTATED;

/// Why a text cannot be changed as asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EditError {
    /// Not TOML as it is.
    #[error("the file has to be mended by hand first: {0}")]
    Syntax(Box<Problem>),
    #[error("{0:?} does not name a setting")]
    Path(String),
    #[error("{path} is {found}, not {expected}")]
    Kind { path: String, found: &'static str, expected: &'static str },
    #[error("the file does not say {0}")]
    Absent(String),
    #[error("{path} has {count} entries, so there is no entry {at}")]
    NoEntry { path: String, count: usize, at: usize },
    #[error("{path} has {value} already")]
    There { path: String, value: String },
    #[error("{path} does not have {value}")]
    NotThere { path: String, value: String },
}

/// Gives the setting `path` a value; tables on the way are made where they are missing.
///
/// # Errors
/// If the text is not TOML, or `path` leads through something that is no table.
pub fn set(text: &str, path: &str, value: &Value) -> Result<String, EditError> {
    let draft = Draft::new(text)?;
    let parts = parts(path)?;
    Ok(match draft.find(&parts)? {
        Found::Line { value: old, .. } | Found::Inline { value: old, .. } => {
            draft.spliced([(old, render(value))])
        }
        Found::Section => {
            return Err(EditError::Kind {
                path: path.to_owned(),
                found: "a table of settings",
                expected: "one setting",
            });
        }
        Found::Missing { depth, within: Within::Inline(table) } => {
            let (key, below) = parts[depth..].split_first().ok_or_else(|| bad_path(path))?;
            let entry = format!("{} = {}", key_text(key), render(&nested(below, value)));
            draft.spliced([draft.add_to_inline(table, &entry)])
        }
        Found::Missing { depth, within: Within::Table(table) } => {
            draft.spliced([draft.add_to_table(&parts, depth, table, value)])
        }
    })
}

/// Takes the setting `path` out of the file, or a table with all that is in it.
///
/// # Errors
/// If the text is not TOML or does not have it.
pub fn unset(text: &str, path: &str) -> Result<String, EditError> {
    let draft = Draft::new(text)?;
    let parts = parts(path)?;
    Ok(match draft.find(&parts)? {
        Found::Line { key, value } => {
            let lines = draft.line_start(key.start)..draft.line_end(value.end);
            let comment = draft.comment_for(&parts, &lines).unwrap_or_default();
            draft.spliced([(lines, comment)])
        }
        Found::Inline { table, index, .. } => {
            draft.spliced([(draft.inline_entry(table, index), String::new())])
        }
        Found::Section => draft.without_sections(&parts),
        Found::Missing { .. } => return Err(EditError::Absent(path.to_owned())),
    })
}

/// Whether the file says `path`, be it a setting or a table.
///
/// # Errors
/// If the text is not TOML, or `path` leads through something that is no table.
pub fn has(text: &str, path: &str) -> Result<bool, EditError> {
    let draft = Draft::new(text)?;
    Ok(!matches!(draft.find(&parts(path)?)?, Found::Missing { .. }))
}

/// Puts an entry into the list at `path`, before the entry `at` (from 0) or at the end. Makes the
/// list if there is none.
///
/// # Errors
/// If `path` is something else, or has fewer entries.
pub fn insert(
    text: &str,
    path: &str,
    at: Option<usize>,
    value: &Value,
) -> Result<String, EditError> {
    let draft = Draft::new(text)?;
    match draft.list(path)? {
        Some(list) => Ok(draft.spliced(list.insert(path, at, render(value))?)),
        None if at.is_none_or(|at| at == 0) => set(text, path, &Value::Array(vec![value.clone()])),
        None => Err(EditError::Absent(path.to_owned())),
    }
}

/// Takes the entry `at` (from 0) out of the list at `path`.
///
/// # Errors
/// If there is no such list or entry.
pub fn remove(text: &str, path: &str, at: usize) -> Result<String, EditError> {
    let draft = Draft::new(text)?;
    let list = draft.list(path)?.ok_or_else(|| EditError::Absent(path.to_owned()))?;
    Ok(draft.spliced(list.remove(path, at)?))
}

/// Writes another entry in the place of the entry `at` (from 0) of the list at `path`.
///
/// # Errors
/// If there is no such list or entry.
pub fn replace(text: &str, path: &str, at: usize, value: &Value) -> Result<String, EditError> {
    let draft = Draft::new(text)?;
    let list = draft.list(path)?.ok_or_else(|| EditError::Absent(path.to_owned()))?;
    Ok(draft.spliced([(list.entry(path, at)?, render(value))]))
}

/// Moves the entry `from` of the list at `path` so that it is the entry `to`, both from 0.
///
/// # Errors
/// If there is no such list or entry.
pub fn shift(text: &str, path: &str, from: usize, to: usize) -> Result<String, EditError> {
    let draft = Draft::new(text)?;
    let list = draft.list(path)?.ok_or_else(|| EditError::Absent(path.to_owned()))?;
    Ok(draft.spliced(list.shift(path, from, to)?))
}

/// Adds `value` to the condition `key` (such as `user`) of the ACL `name`, which is made if it is
/// missing.
///
/// # Errors
/// If it is there already, or `[acl]` has another form than a table of tables.
pub fn add_condition(text: &str, name: &str, key: &str, value: &str) -> Result<String, EditError> {
    let (acl, path) = condition_path(name, key);
    let new = Value::String(value.to_owned());
    let draft = Draft::new(text)?;
    match draft.texts(&path)? {
        Some(old) if old.iter().any(|old| old == value) => {
            Err(EditError::There { path, value: format!("{value:?}") })
        }
        Some(old) => match draft.list(&path) {
            Ok(_) => insert(text, &path, None, &new),
            // One text alone stands for a list of it.
            Err(_) => {
                let old = old.into_iter().map(Value::String);
                set(text, &path, &Value::Array(old.chain([new]).collect()))
            }
        },
        None if has(text, &acl)? => set(text, &path, &Value::Array(vec![new])),
        None => set(text, &acl, &nested(&[key.to_owned()], &Value::Array(vec![new]))),
    }
}

/// Takes `value` out of the condition `key` of the ACL `name`; an empty condition goes with it.
///
/// # Errors
/// If it is not there.
pub fn remove_condition(
    text: &str,
    name: &str,
    key: &str,
    value: &str,
) -> Result<String, EditError> {
    let (_, path) = condition_path(name, key);
    let draft = Draft::new(text)?;
    let old = draft.texts(&path)?.unwrap_or_default();
    match old.iter().position(|old| old == value) {
        None => Err(EditError::NotThere { path, value: format!("{value:?}") }),
        Some(_) if old.len() == 1 => unset(text, &path),
        Some(at) => remove(text, &path, at),
    }
}

fn condition_path(name: &str, key: &str) -> (String, String) {
    let acl = format!("acl.{}", key_text(name));
    let path = format!("{acl}.{}", key_text(key));
    (acl, path)
}

fn bad_path(path: &str) -> EditError {
    EditError::Path(path.to_owned())
}

fn parts(path: &str) -> Result<Vec<String>, EditError> {
    let keys = Key::parse(path).map_err(|_| bad_path(path))?;
    Ok(keys.iter().map(|key| key.get().to_owned()).collect())
}

/// `key` as it stands in a file or a path.
pub fn key_text(key: &str) -> String {
    let bare = !key.is_empty()
        && key.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'));
    if bare { key.to_owned() } else { render(&Value::String(key.to_owned())) }
}

/// `value` on one line.
pub fn render(value: &Value) -> String {
    match value {
        Value::String(text) => toml_edit::Value::from(text.as_str()).to_string(),
        Value::Array(items) => {
            format!("[{}]", items.iter().map(render).collect::<Vec<_>>().join(", "))
        }
        Value::Table(table) if table.is_empty() => "{}".to_owned(),
        Value::Table(table) => {
            let entries =
                table.iter().map(|(key, value)| format!("{} = {}", key_text(key), render(value)));
            format!("{{ {} }}", entries.collect::<Vec<_>>().join(", "))
        }
        other => other.to_string(),
    }
}

/// `value` inside of tables named by `keys`.
fn nested(keys: &[String], value: &Value) -> Value {
    keys.iter().rev().fold(value.clone(), |value, key| {
        Value::Table(toml::Table::from_iter([(key.clone(), value)]))
    })
}

/// A range of the text and what stands there from now on.
type Splice = (Range<usize>, String);

/// A text with its structure.
struct Draft<'t> {
    text: &'t str,
    document: Document<&'t str>,
    /// Where tables begin, with their headers, in order; also those behind a `#`.
    headers: Vec<Header>,
}

struct Header {
    /// Empty for one behind a `#`.
    path: Vec<String>,
    span: Range<usize>,
}

/// What is at a path.
enum Found<'d> {
    /// A setting on lines of its own.
    Line { key: Range<usize>, value: Range<usize> },
    /// A setting within `{ }`.
    Inline { table: &'d InlineTable, index: usize, value: Range<usize> },
    /// A table with settings on lines of their own.
    Section,
    /// Nothing; so many parts of the path are there.
    Missing { depth: usize, within: Within<'d> },
}

#[derive(Clone, Copy)]
enum Within<'d> {
    Table(&'d Table),
    Inline(&'d InlineTable),
}

impl<'t> Draft<'t> {
    fn new(text: &'t str) -> Result<Draft<'t>, EditError> {
        let document = Document::parse(text).map_err(|error| {
            let span = error.span().unwrap_or(0..0);
            let told = error.message().lines().next().unwrap_or("a fault of syntax");
            let problem =
                Problem::at(text, &span, "").found(format!("a fault of TOML syntax: {told}"));
            EditError::Syntax(Box::new(problem))
        })?;
        let mut headers = Vec::new();
        let mut values = Vec::new();
        gather(document.as_table(), &mut Vec::new(), &mut headers, &mut values);
        let mut at = 0;
        for line in text.split_inclusive('\n') {
            let inside = values.iter().any(|value: &Range<usize>| value.contains(&at));
            if line.starts_with('#') && header_of(line.trim_end()).is_some() && !inside {
                headers.push(Header { path: Vec::new(), span: at..at + line.trim_end().len() });
            }
            at += line.len();
        }
        headers.sort_by_key(|header| header.span.start);
        Ok(Draft { text, document, headers })
    }

    fn find(&self, parts: &[String]) -> Result<Found<'_>, EditError> {
        let mut within = Within::Table(self.document.as_table());
        for (depth, part) in parts.iter().enumerate() {
            let last = depth + 1 == parts.len();
            let no_table = |found| EditError::Kind {
                path: parts[..=depth]
                    .iter()
                    .map(|part| key_text(part))
                    .collect::<Vec<_>>()
                    .join("."),
                found,
                expected: "a table",
            };
            within = match within {
                Within::Table(table) => match table.get_key_value(part) {
                    None | Some((_, Item::None)) => return Ok(Found::Missing { depth, within }),
                    Some((_, Item::Table(_))) if last => return Ok(Found::Section),
                    Some((_, Item::Table(below))) => Within::Table(below),
                    Some((_, Item::ArrayOfTables(_))) => {
                        return Err(no_table("a list of tables"));
                    }
                    Some((key, Item::Value(value))) if last => {
                        let key = key.span().unwrap_or_default();
                        return Ok(Found::Line { key, value: value.span().unwrap_or_default() });
                    }
                    Some((_, Item::Value(value))) => Within::Inline(
                        value.as_inline_table().ok_or_else(|| no_table("a single value"))?,
                    ),
                },
                Within::Inline(table) => match table.iter().position(|(key, _)| key == part) {
                    None => return Ok(Found::Missing { depth, within }),
                    Some(index) => {
                        let value = table.get(part);
                        if last {
                            let value = value.and_then(toml_edit::Value::span).unwrap_or_default();
                            return Ok(Found::Inline { table, index, value });
                        }
                        Within::Inline(
                            value
                                .and_then(toml_edit::Value::as_inline_table)
                                .ok_or_else(|| no_table("a single value"))?,
                        )
                    }
                },
            };
        }
        Err(EditError::Path(String::new()))
    }

    /// The value at `path`, if the file has one.
    fn value(&self, path: &str) -> Result<Option<&toml_edit::Value>, EditError> {
        let mut item = self.document.as_item();
        if matches!(self.find(&parts(path)?)?, Found::Missing { .. }) {
            return Ok(None);
        }
        for part in parts(path)? {
            match item.get(part.as_str()) {
                Some(below) => item = below,
                None => return Ok(None),
            }
        }
        Ok(item.as_value())
    }

    /// The list at `path`, if the file has it.
    fn list(&self, path: &str) -> Result<Option<list::List<'_>>, EditError> {
        let Some(value) = self.value(path)? else { return Ok(None) };
        let array = value.as_array().ok_or_else(|| EditError::Kind {
            path: path.to_owned(),
            found: value.type_name(),
            expected: "a list",
        })?;
        Ok(Some(list::List::new(self.text, array)))
    }

    /// The texts at `path`: one, or a list of them.
    fn texts(&self, path: &str) -> Result<Option<Vec<String>>, EditError> {
        let Some(value) = self.value(path)? else { return Ok(None) };
        let one = |value: &toml_edit::Value| {
            value.as_str().map(str::to_owned).ok_or_else(|| EditError::Kind {
                path: path.to_owned(),
                found: "more than texts",
                expected: "a text or a list of texts",
            })
        };
        match value.as_array() {
            Some(array) => array.iter().map(one).collect::<Result<_, _>>().map(Some),
            None => one(value).map(|text| Some(vec![text])),
        }
    }

    fn spliced(&self, splices: impl IntoIterator<Item = Splice>) -> String {
        let mut splices: Vec<Splice> = splices.into_iter().collect();
        splices.sort_by_key(|(range, _)| range.start);
        let mut out = self.text.to_owned();
        for (range, new) in splices.into_iter().rev() {
            out.replace_range(range, &new);
        }
        out
    }

    fn newline(&self) -> &'static str {
        if self.text.contains("\r\n") { "\r\n" } else { "\n" }
    }

    fn line_start(&self, at: usize) -> usize {
        self.text[..at].rfind('\n').map_or(0, |newline| newline + 1)
    }

    /// Behind the newline of the line that `at` is on.
    fn line_end(&self, at: usize) -> usize {
        self.text[at..].find('\n').map_or(self.text.len(), |newline| at + newline + 1)
    }

    /// The line that ends where this one starts.
    fn line_above(&self, start: usize) -> Option<Range<usize>> {
        let end = start.checked_sub(1)?;
        Some(self.line_start(end)..start)
    }

    /// Where the comment begins that belongs to the header at `start`: directly above, and no
    /// setting.
    fn with_comment(&self, start: usize) -> usize {
        let mut start = self.line_start(start);
        while let Some(above) = self.line_above(start) {
            let line = self.text[above.clone()].trim_end();
            if !line.starts_with('#') || setting_of(line).is_some() || header_of(line).is_some() {
                break;
            }
            start = above.start;
        }
        start
    }

    /// The text of the section whose header ends before `from`: up to the next one and its comment.
    fn section(&self, from: usize) -> Range<usize> {
        let next = self.headers.iter().find(|header| header.span.start >= from);
        from..next.map_or(self.text.len(), |header| self.with_comment(header.span.start).max(from))
    }

    /// `table` is there, with so many parts of the path, and what follows is not.
    fn add_to_table(&self, parts: &[String], depth: usize, table: &Table, value: &Value) -> Splice {
        let (own, below) = parts.split_at(depth);
        let is_host = is_named(parts);
        let (Some((key, _)), true) = (below.split_first(), below.len() == 1 && !is_host) else {
            return self.new_section(parts, value);
        };
        let header = table.span().filter(|_| !table.is_implicit() && depth > 0);
        if table.is_dotted() {
            // As its neighbours are written: `archive.search = true`.
            let level = self.headers.iter().filter(|header| own.starts_with(&header.path));
            let level = level.map(|header| header.path.len()).max().unwrap_or(0);
            let key: Vec<String> = parts[level..].iter().map(|part| key_text(part)).collect();
            let at = self.line_end(last_value(table).unwrap_or_default());
            return self.new_line(at, &format!("{} = {}", key.join("."), render(value)));
        }
        if header.is_none() && depth > 0 {
            return self.new_section(parts, value);
        }
        let line = format!("{} = {}", key_text(key), render(value));
        let from = header.as_ref().map_or(0, |header| self.line_end(header.end));
        if let Some(comment) = self.commented(key, self.section(from), table) {
            return (comment, line);
        }
        let at = match (last_value(table), header) {
            (Some(end), _) => self.line_end(end),
            (None, Some(_)) => from,
            // Above the first table, its comment and the empty lines before that.
            (None, None) => self.text[..self.section(0).end].trim_end().len(),
        };
        self.new_line(if at == from { at } else { self.line_end(at.saturating_sub(1)) }, &line)
    }

    /// The line `#key = …` of a section, without its newline.
    fn commented(&self, key: &str, section: Range<usize>, table: &Table) -> Option<Range<usize>> {
        let mut values = Vec::new();
        gather(table, &mut Vec::new(), &mut Vec::new(), &mut values);
        let mut at = section.start;
        for line in self.text[section].split_inclusive('\n') {
            let inside = values.iter().any(|value| value.contains(&at));
            let is_it = line.starts_with('#')
                && setting_of(line.trim_end()).is_some_and(|(name, _)| name == key);
            if is_it && !inside {
                return Some(at..at + line.trim_end().len());
            }
            at += line.len();
        }
        None
    }

    /// `line` as a line of its own at `at`, which is the start of one or the end of the text.
    fn new_line(&self, at: usize, line: &str) -> Splice {
        let newline = self.newline();
        let before = if at > 0 && !self.text[..at].ends_with('\n') { newline } else { "" };
        (at..at, format!("{before}{line}{newline}"))
    }

    /// A table with one setting, beside those most like it.
    fn new_section(&self, parts: &[String], value: &Value) -> Splice {
        let newline = self.newline();
        let (names, body) = match (parts, value) {
            (names, Value::Table(table)) if is_named(names) => {
                let lines =
                    table.iter().map(|(k, v)| format!("{} = {}{newline}", key_text(k), render(v)));
                (names, lines.collect::<String>())
            }
            ([names @ .., key], value) => {
                (names, format!("{} = {}{newline}", key_text(key), render(value)))
            }
            ([], _) => (parts, String::new()),
        };
        let alike = |header: &Header| {
            header.path.iter().zip(names).take_while(|(theirs, ours)| theirs == ours).count()
        };
        let nearest = self.headers.iter().filter(|header| alike(header) > 0);
        let at = match nearest.max_by_key(|header| (alike(header), header.span.start)) {
            Some(header) => self.section(self.line_end(header.span.end)).end,
            None => self.text.len(),
        };
        let content = self.text[..at].trim_end();
        let at = if content.is_empty() { 0 } else { self.line_end(content.len()) };
        let names: Vec<String> = names.iter().map(|name| key_text(name)).collect();
        let gap = if at == 0 { "" } else { newline };
        let (at, line) = self.new_line(at, &format!("{gap}[{}]{newline}{body}", names.join(".")));
        (at, line.strip_suffix(newline).unwrap_or(&line).to_owned())
    }

    /// An entry more in a table within `{ }`.
    fn add_to_inline(&self, table: &InlineTable, entry: &str) -> Splice {
        let last = table.iter().filter_map(|(_, value)| value.span()).map(|span| span.end).max();
        match last {
            Some(end) => (end..end, format!(", {entry}")),
            None => (table.span().unwrap_or_default(), format!("{{ {entry} }}")),
        }
    }

    /// What has to go with an entry of a table within `{ }`.
    fn inline_entry(&self, table: &InlineTable, index: usize) -> Range<usize> {
        let spans: Vec<Range<usize>> = table
            .iter()
            .map(|(key, value)| {
                let start = table.key(key).and_then(Key::span).unwrap_or_default().start;
                start..value.span().unwrap_or_default().end
            })
            .collect();
        match (index.checked_sub(1).and_then(|before| spans.get(before)), spans.get(index + 1)) {
            (Some(before), _) => before.end..spans[index].end,
            (None, Some(after)) => spans[index].start..after.start,
            (None, None) => spans[index].clone(),
        }
    }

    /// The commented default that belongs in the place of the setting on `lines`, if the lines
    /// around it are those of our annotated file.
    fn comment_for(&self, parts: &[String], lines: &Range<usize>) -> Option<String> {
        let path = parts.iter().map(|part| key_text(part)).collect::<Vec<_>>().join(".");
        let domain = match parts {
            [top, name, ..] if top == "hosts" => name.as_str(),
            _ => "localhost",
        };
        let known: Vec<&str> = ANNOTATED.lines().collect();
        let mut table = String::new();
        let index = known.iter().position(|line| {
            if let Some(header) = header_of(line) {
                table = anywhere(header);
            }
            let key = setting_of(line).map(|(key, _)| key);
            key.is_some_and(|key| {
                line.starts_with('#')
                    && anywhere(&path)
                        == if table.is_empty() { key.to_owned() } else { format!("{table}.{key}") }
            })
        })?;
        let ours = |line: &str| shape(&line.replace("localhost", domain));
        let above = self.line_above(lines.start).map(|line| shape(&self.text[line]));
        let below = shape(self.text[lines.end..].lines().next().unwrap_or_default());
        let fits = above == index.checked_sub(1).map(|above| ours(known[above]))
            && below == ours(known.get(index + 1).copied().unwrap_or_default());
        fits.then(|| format!("{}{}", known[index].replace("localhost", domain), self.newline()))
    }

    /// The text without the tables at and below `parts`.
    fn without_sections(&self, parts: &[String]) -> String {
        let gone = self
            .headers
            .iter()
            .filter(|header| !header.path.is_empty() && header.path.starts_with(parts));
        let mut gone: Vec<Range<usize>> = gone
            .map(|header| {
                let start = self.with_comment(header.span.start);
                start..self.section(self.line_end(header.span.end)).end
            })
            .collect();
        if gone.is_empty() {
            // Made of dotted keys, or of tables below it only.
            let mut values = Vec::new();
            let mut item = Some(self.document.as_item());
            for part in parts {
                item = item.and_then(|item| item.get(part.as_str()));
            }
            if let Some(table) = item.and_then(Item::as_table) {
                gather(table, &mut Vec::new(), &mut Vec::new(), &mut values);
            }
            gone = values.iter().map(|v| self.line_start(v.start)..self.line_end(v.end)).collect();
        }
        self.spliced(gone.into_iter().map(|range| (range, String::new())))
    }
}

/// Whether this is the table of a host or a component.
fn is_named(parts: &[String]) -> bool {
    matches!(parts, [top, _] if top == "hosts" || top == "components")
}

/// What a line is, whatever value it gives.
fn shape(line: &str) -> String {
    let line = line.trim_end();
    setting_of(line).map_or_else(|| line.to_owned(), |(key, _)| key.to_owned())
}

/// Collects the headers of tables and the places of values on lines of their own.
fn gather(
    table: &Table,
    path: &mut Vec<String>,
    headers: &mut Vec<Header>,
    values: &mut Vec<Range<usize>>,
) {
    for (key, item) in table.iter() {
        path.push(key.to_owned());
        match item {
            Item::Table(below) => {
                if !below.is_implicit() && !below.is_dotted() {
                    let span = below.span().unwrap_or_default();
                    headers.push(Header { path: path.clone(), span });
                }
                gather(below, path, headers, values);
            }
            Item::ArrayOfTables(tables) => {
                for below in tables.iter() {
                    let span = below.span().unwrap_or_default();
                    headers.push(Header { path: path.clone(), span });
                    gather(below, path, headers, values);
                }
            }
            Item::Value(value) => values.extend(value.span()),
            Item::None => {}
        }
        path.pop();
    }
}

/// The end of the last setting that stands in the section of `table` itself.
fn last_value(table: &Table) -> Option<usize> {
    table.get_values().iter().filter_map(|(_, value)| value.span()).map(|span| span.end).max()
}

#[cfg(test)]
mod tests;
