//! The `coucou.toml` in the making: tables, settings with where they come from, and comments.

use std::fmt::Write as _;

use super::yaml::Place;

/// Longest line of a comment that this writes by itself.
const COMMENT_CHARS_MAX: usize = 98;

/// Kinds of tables in the order of the annotated file.
const ORDER: &[&str] = &[
    "",
    "listen",
    "http",
    "limits",
    "stream_management",
    "log",
    "storage",
    "acl",
    "access",
    "allowances",
    "api",
    "hosts",
    "components",
];

/// The file, table by table. Tables stand in the order in which they were first named.
#[derive(Default)]
pub(super) struct Draft {
    tables: Vec<Table>,
}

struct Table {
    /// As between the brackets; empty for the top of the file.
    header: String,
    items: Vec<Item>,
    /// What is kept for later, behind the settings.
    later: Vec<Item>,
    /// Written even if it holds nothing.
    kept: bool,
}

enum Item {
    Setting { key: String, value: String, origin: Option<Origin> },
    Comment(String),
    Gap,
}

/// Where a setting comes from.
#[derive(Clone, Debug)]
pub(super) struct Origin {
    pub at: Place,
    /// The option, as in `modules.mod_mam.default`.
    pub option: String,
}

/// What a line of the finished file comes from.
pub(super) struct Written {
    pub text: String,
    /// By line, counted from 0.
    pub origins: Vec<Option<Origin>>,
}

impl Table {
    fn is_written(&self) -> bool {
        self.kept || !self.items.is_empty() || !self.later.is_empty()
    }
}

impl Draft {
    fn table(&mut self, header: &str) -> &mut Table {
        let at = match self.tables.iter().position(|table| table.header == header) {
            Some(at) => at,
            None => {
                self.tables.push(Table {
                    header: header.to_owned(),
                    items: Vec::new(),
                    later: Vec::new(),
                    kept: false,
                });
                self.tables.len() - 1
            }
        };
        &mut self.tables[at]
    }

    /// Makes sure that the table is written, and that it stands here.
    pub(super) fn keep(&mut self, header: &str) {
        self.table(header).kept = true;
    }

    /// `value` is TOML.
    pub(super) fn set(&mut self, header: &str, key: &str, value: String, origin: Option<Origin>) {
        let items = &mut self.table(header).items;
        items.retain(|item| !matches!(item, Item::Setting { key: old, .. } if old == key));
        items.push(Item::Setting { key: key.to_owned(), value, origin });
    }

    /// A comment of one paragraph, wrapped.
    pub(super) fn comment(&mut self, header: &str, text: &str) {
        self.table(header).items.push(Item::Comment(wrapped(text)));
    }

    /// A paragraph and lines that stay as they are, each behind a `#`, after the settings.
    pub(super) fn later(&mut self, header: &str, text: &str, lines: &[String]) {
        let lines: Vec<String> = lines.iter().map(|line| format!("#   {}", clean(line))).collect();
        let later = &mut self.table(header).later;
        later.extend([Item::Gap, Item::Comment(wrapped(text)), Item::Comment(lines.join("\n"))]);
    }

    /// The table that stands last.
    pub(super) fn last_header(&self) -> String {
        let mut tables: Vec<&Table> =
            self.tables.iter().filter(|table| table.is_written()).collect();
        tables.sort_by_key(|table| self.rank(&table.header));
        tables.last().map(|table| table.header.clone()).unwrap_or_default()
    }

    /// Where a table stands among the others; those of one host stay together.
    fn rank(&self, header: &str) -> (usize, usize) {
        let first = header.split('.').next().unwrap_or_default();
        let kind = ORDER.iter().position(|name| *name == first).unwrap_or(ORDER.len());
        // `hosts."example.org"` of `hosts."example.org".tls`.
        let owner = header.rfind('"').map_or(header, |at| &header[..=at]);
        let owner = self.tables.iter().position(|table| table.header == owner);
        (kind, owner.unwrap_or(usize::MAX))
    }

    /// The file; `show` writes a place, as in `ejabberd.yml:12`.
    pub(super) fn write(&self, show: impl Fn(&Place) -> String) -> Written {
        let mut out = Lines::default();
        let mut tables: Vec<&Table> =
            self.tables.iter().filter(|table| table.is_written()).collect();
        tables.sort_by_key(|table| self.rank(&table.header));
        for table in tables {
            if !out.lines.is_empty() {
                out.push("", None);
            }
            if !table.header.is_empty() {
                out.push(&format!("[{}]", table.header), None);
            }
            for item in table.items.iter().chain(&table.later) {
                match item {
                    Item::Comment(text) => text.lines().for_each(|line| out.push(line, None)),
                    Item::Gap => out.push("", None),
                    Item::Setting { key, value, origin } => {
                        let line = format!("{} = {value}", name(key));
                        let Some(origin) = origin else {
                            line.lines().for_each(|line| out.push(line, None));
                            continue;
                        };
                        let from = format!("{} {}", show(&origin.at), clean(&origin.option));
                        if line.contains('\n') || line.len() + from.len() > COMMENT_CHARS_MAX {
                            out.push(&format!("# {from}"), None);
                            line.lines().for_each(|line| out.push(line, Some(origin)));
                        } else {
                            out.push(&format!("{line}  # {from}"), Some(origin));
                        }
                    }
                }
            }
        }
        Written { text: out.lines.join("\n") + "\n", origins: out.origins }
    }
}

#[derive(Default)]
struct Lines {
    lines: Vec<String>,
    origins: Vec<Option<Origin>>,
}

impl Lines {
    fn push(&mut self, line: &str, origin: Option<&Origin>) {
        self.lines.push(line.to_owned());
        self.origins.push(origin.cloned());
    }
}

/// A key as it stands before the `=`, or between the dots of a header.
pub(super) fn name(key: &str) -> String {
    let bare =
        !key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
    if bare { key.to_owned() } else { text(key) }
}

/// A text as TOML.
pub(super) fn text(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        let written = match c {
            '"' => write!(out, "\\\""),
            '\\' => write!(out, "\\\\"),
            '\n' => write!(out, "\\n"),
            '\t' => write!(out, "\\t"),
            c if c.is_control() => write!(out, "\\u{:04X}", u32::from(c)),
            c => write!(out, "{c}"),
        };
        debug_assert!(written.is_ok(), "writing to a String does not fail");
    }
    out.push('"');
    out
}

/// A list of TOML values, each on a line of its own unless there is but one.
pub(super) fn rows(values: &[String]) -> String {
    match values {
        [_] | [] => format!("[{}]", values.concat()),
        _ => broken(values),
    }
}

fn broken(values: &[String]) -> String {
    let lines: Vec<String> = values.iter().map(|value| format!("    {value},")).collect();
    format!("[\n{}\n]", lines.join("\n"))
}

/// A list of TOML values: on one line if it fits.
pub(super) fn list(values: &[String]) -> String {
    let line = format!("[{}]", values.join(", "));
    if line.len() <= 80 && !line.contains('\n') {
        return line;
    }
    broken(values)
}

/// A comment may hold neither line ends nor other control characters.
fn clean(line: &str) -> String {
    line.chars().map(|c| if c.is_control() && c != '\t' { '\u{fffd}' } else { c }).collect()
}

/// `text` as a comment, broken at spaces.
fn wrapped(text: &str) -> String {
    let mut lines = Vec::new();
    let mut line = "#".to_owned();
    for word in text.split_whitespace() {
        if line.len() > 1 && line.chars().count() + 1 + word.chars().count() > COMMENT_CHARS_MAX {
            lines.push(std::mem::replace(&mut line, "#".to_owned()));
        }
        line.push(' ');
        line.push_str(&clean(word));
    }
    lines.push(line);
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_can_be_read() {
        let mut draft = Draft::default();
        let odd = "a\"b\\c\nd\u{7}é";
        let origin =
            Origin { at: Place { line: 3, ..Place::default() }, option: "o\np".to_owned() };
        draft.set("", "x", text(odd), Some(origin));
        draft.set("a.\"b.c\"", "no bare key", list(&[text("1"), text("2")]), None);
        draft.comment("a.\"b.c\"", &"word ".repeat(60));
        draft.later("a.\"b.c\"", "kept", &["one\r".to_owned(), "  two\u{1b}".to_owned()]);
        draft.set("a.\"b.c\"", "long", list(&vec![text("something"); 20]), None);
        draft.keep("empty");
        let written = draft.write(|place| format!("y:{}", place.line));
        let table: toml::Table = toml::from_str(&written.text).expect(&written.text);
        assert_eq!(table["x"].as_str(), Some(odd));
        assert_eq!(table["a"]["b.c"]["long"].as_array().unwrap().len(), 20);
        assert!(table["empty"].as_table().unwrap().is_empty());
        assert!(written.text.lines().all(|line| line.chars().count() <= 100), "{}", written.text);
        assert_eq!(written.origins.iter().flatten().count(), 1);
        assert_eq!(written.text.lines().count(), written.origins.len());
    }
}
