//! What is wrong with a config file: where, what was found, what was expected, how to mend it.

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

use serde::Serialize;

/// One fault, or one doubt, at one place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// From 1; 0 for faults of the file as a whole.
    pub line: usize,
    /// From 1, counted in characters.
    pub column: usize,
    /// The setting, as in `limits.stanza_bytes_max`; empty for faults of syntax.
    pub key: String,
    pub found: String,
    pub expected: String,
    /// How to mend it, where that does not follow from `expected`.
    pub help: Option<String>,
    /// The line of the file, unless it holds a secret.
    #[serde(skip)]
    pub excerpt: Option<Excerpt>,
}

/// A line to show, and how many characters from [`Problem::column`] on to underline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Excerpt {
    pub line: String,
    pub width: usize,
}

impl Problem {
    /// A problem at `span` (bytes of `text`).
    pub(super) fn at(text: &str, span: &Range<usize>, key: impl Into<String>) -> Problem {
        let start = floor(text, span.start);
        let line_start = text[..start].rfind('\n').map_or(0, |at| at + 1);
        let line_text = text[line_start..].lines().next().unwrap_or("");
        let width = text[start..floor(text, span.end.max(start))]
            .lines()
            .next()
            .unwrap_or("")
            .chars()
            .count();
        Problem {
            line: text[..start].matches('\n').count() + 1,
            column: text[line_start..start].chars().count() + 1,
            key: key.into(),
            found: String::new(),
            expected: String::new(),
            help: None,
            excerpt: Some(Excerpt { line: printable(line_text), width: width.max(1) }),
        }
    }

    pub(super) fn found(mut self, found: impl Into<String>) -> Problem {
        self.found = found.into();
        self
    }

    pub(super) fn expected(mut self, expected: impl Into<String>) -> Problem {
        self.expected = expected.into();
        self
    }

    pub(super) fn help(mut self, help: impl Into<String>) -> Problem {
        self.help = Some(help.into());
        self
    }
}

/// Without file name and severity: the caller writes those before it.
impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line > 0 {
            write!(f, "line {}, column {}: ", self.line, self.column)?;
        }
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        write!(f, "found {}", self.found)?;
        if !self.expected.is_empty() {
            write!(f, "; expected {}", self.expected)?;
        }
        if let Some(Excerpt { line, width }) = &self.excerpt {
            let (number, gap) = (self.line, self.line.to_string().len());
            let indent = " ".repeat(self.column - 1);
            write!(f, "\n  {number} | {line}\n  {:gap$} | {indent}{}", "", "^".repeat(*width))?;
        }
        if let Some(help) = &self.help {
            write!(f, "\n  help: {help}")?;
        }
        Ok(())
    }
}

/// Why a config was not accepted; nothing of it is in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, thiserror::Error)]
pub struct ConfigError {
    pub file: PathBuf,
    /// All that was found, in the order of the file; never empty.
    pub problems: Vec<Problem>,
}

impl ConfigError {
    /// The file could not be read at all.
    pub fn unreadable(file: &Path, error: &std::io::Error) -> ConfigError {
        let help = match error.kind() {
            std::io::ErrorKind::NotFound => {
                "`coucou init` writes one; `--config FILE` names another"
            }
            std::io::ErrorKind::PermissionDenied => "run as the user who owns it, or as root",
            _ => "check the path and the file's owner and mode",
        };
        let problem = Problem {
            line: 0,
            column: 0,
            key: String::new(),
            found: format!("no readable file ({error})"),
            expected: "a config file in TOML".to_owned(),
            help: Some(help.to_owned()),
            excerpt: None,
        };
        ConfigError { file: file.to_owned(), problems: vec![problem] }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.problems.iter().enumerate() {
            let gap = if index == 0 { "" } else { "\n" };
            write!(f, "{gap}{}: {problem}", self.file.display())?;
        }
        Ok(())
    }
}

/// The last character boundary at or before `at`.
fn floor(text: &str, at: usize) -> usize {
    let at = at.min(text.len());
    (0..=at).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0)
}

/// `text` with control characters replaced one for one, so that columns stay true.
pub(super) fn printable(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { if c == '\t' { ' ' } else { '\u{fffd}' } } else { c })
        .collect()
}
