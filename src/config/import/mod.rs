//! From another server's configuration to ours: a `coucou.toml` that says where each of its
//! settings comes from, and a list of what was carried over, what was not, and why.
//!
//! Pure but for [`World`], by which included files and certificates are looked at. The result is
//! read by [`super::parse`] before it is handed out, so that what is written always holds. A source
//! with broken YAML or unusable values gives all that is wrong with it and nothing else.

mod access;
mod acl;
mod api;
mod draft;
mod hosts;
mod limits;
mod listeners;
mod modules;
mod notes;
mod pattern;
mod read;
mod registration;
mod render;
mod source;
mod tables;
mod yaml;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;

use serde::Serialize;

use self::draft::{Draft, Origin};
use self::source::{Entry, Source};
use self::yaml::Place;
use super::model::Config;
use super::problem::{ConfigError, Problem};

pub use notes::{Kind, Note};

/// What an import looks at besides the text that it is given.
pub trait World {
    /// The text of an included file.
    ///
    /// # Errors
    /// Why it cannot be read.
    fn read(&self, file: &Path) -> io::Result<String>;

    /// The names that the certificate in `chain` is for, if it can be used with `key`.
    ///
    /// # Errors
    /// Why it cannot, in words.
    fn certificate(&self, chain: &Path, key: &Path) -> Result<Vec<String>, String>;
}

/// What an import made.
#[derive(Clone, Debug, Serialize)]
pub struct Imported {
    /// The text of the new config file. Contains secrets.
    #[serde(skip)]
    pub toml: String,
    /// In the order of the source.
    pub notes: Vec<Note>,
    /// What is doubtful about the new file.
    pub warnings: Vec<Problem>,
    /// The new file as the program reads it.
    #[serde(skip)]
    pub config: Config,
    /// Where each line of the new file comes from.
    #[serde(skip)]
    origins: Vec<Option<Note>>,
}

impl Imported {
    /// Notes a fault that was found in a line of the new file, at the place that it comes from.
    pub fn fault(&mut self, line: usize, why: &str, remedy: &str) {
        let Some(Some(origin)) = self.origins.get(line.saturating_sub(1)) else { return };
        let note = Note {
            kind: Kind::Fault,
            why: why.to_owned(),
            remedy: Some(remedy.to_owned()),
            ..origin.clone()
        };
        if !self.notes.contains(&note) {
            self.notes.push(note);
            sort(&mut self.notes);
        }
    }
}

impl Imported {
    /// Takes an entry of a rule out of the new file, as a comment in its place. Lines keep their
    /// numbers; [`Imported::read_again`] brings it into [`Imported::config`].
    pub fn leave_out(&mut self, line: usize) -> bool {
        let Some(text) = self.toml.lines().nth(line.saturating_sub(1)) else { return false };
        let entry = text.trim();
        let left = if entry.starts_with("{ ") && entry.ends_with("},") {
            format!("    # left out: {entry}")
        } else if let Some((name, rest)) = entry.split_once(" = [{ ")
            && self.toml.contains("[access]")
        {
            let comment = rest.rfind("  # ").map_or("", |at| &rest[at..]);
            format!("{name} = [{{ deny = \"all\" }}]{comment}")
        } else {
            return false;
        };
        let lines = self.toml.lines().enumerate();
        let lines = lines.map(|(at, old)| if at + 1 == line { left.as_str() } else { old });
        let toml = lines.collect::<Vec<_>>().join("\n") + "\n";
        let changed = toml != self.toml;
        self.toml = toml;
        changed
    }

    /// Reads the new file after something was left out of it.
    ///
    /// # Errors
    /// What is wrong with it now.
    pub fn read_again(&mut self, target: &Path) -> Result<(), ConfigError> {
        let checked = super::parse(&self.toml, target)?;
        self.config = checked.config;
        Ok(())
    }
}

/// The source's order.
fn sort(notes: &mut [Note]) {
    notes.sort_by_key(|note| (note.file.clone(), note.line, note.column));
}

/// Makes a `coucou.toml` of `text`, the content of ejabberd's configuration file `path`, for
/// `target`.
///
/// # Errors
/// All that keeps `text` from being used, with line and column.
pub fn ejabberd(
    text: &str,
    path: &Path,
    target: &Path,
    world: &dyn World,
) -> Result<Imported, ConfigError> {
    let source = Source::read(text, path, world)?;
    let mut import = Import {
        source: &source,
        world,
        draft: Draft::default(),
        notes: Vec::new(),
        problems: Vec::new(),
        grants: BTreeMap::new(),
        kept: BTreeSet::new(),
    };
    import.all();
    import.finish(target)
}

/// One import under way.
struct Import<'s> {
    source: &'s Source,
    world: &'s dyn World,
    draft: Draft,
    notes: Vec<Note>,
    problems: Vec<(usize, Problem)>,
    /// Allowances under their names here: where each comes from, what it gives and to whom.
    grants: BTreeMap<String, (Origin, Vec<(u64, String)>)>,
    /// Places of what is kept as a comment already.
    kept: BTreeSet<(usize, usize)>,
}

impl Import<'_> {
    fn all(&mut self) {
        self.preface();
        for host in &self.source.hosts {
            let header = self.header(host, "");
            self.draft.keep(&header);
        }
        self.known_options();
        self.listeners();
        self.limits();
        self.log();
        self.acls();
        self.access_rules();
        self.allowances();
        self.api_permissions();
        self.hosts();
        self.left_over();
    }

    fn preface(&mut self) {
        let file = self.source.files.first().map(|file| file.path.display().to_string());
        let file = file.unwrap_or_default();
        self.draft.comment(
            "",
            &format!(
                "Settings of Coucou, made by `coucou import` from {file}. Behind each setting stands \
                 the line it comes from. What is not here is at its default; assets/coucou.toml of \
                 the source describes every setting."
            ),
        );
        self.draft.comment("", "`coucou check` says what is wrong with this file.");
    }

    /// Checks what was made, and hands it out.
    fn finish(mut self, target: &Path) -> Result<Imported, ConfigError> {
        if let Some(error) = self.source.error_of(std::mem::take(&mut self.problems)) {
            return Err(error);
        }
        let written = self.draft.write(|place| self.show(place));
        let origin = |problem: &Problem| {
            written.origins.get(problem.line.saturating_sub(1)).and_then(Option::clone)
        };
        match super::parse(&written.text, target) {
            Ok(checked) => {
                for warning in &checked.warnings {
                    if let Some(origin) = origin(warning) {
                        let remedy = warning.help.clone();
                        let why = said(warning);
                        self.note(&origin.at, &origin.option, Kind::Fault, &why, remedy.as_deref());
                    }
                }
                sort(&mut self.notes);
                let origins = written.origins.iter().map(|origin| {
                    let origin = origin.as_ref()?;
                    Some(self.note_at(&origin.at, &origin.option, Kind::Carried, "", None))
                });
                Ok(Imported {
                    origins: origins.collect(),
                    toml: written.text,
                    notes: self.notes,
                    warnings: checked.warnings,
                    config: checked.config,
                })
            }
            // A value that we do not take: told at its place in the source.
            Err(error) => {
                let problems = error.problems.into_iter().map(|problem| match origin(&problem) {
                    Some(origin) => {
                        let mut told = self.source.problem(&origin.at, &origin.option);
                        told.found = problem.found;
                        told.expected = problem.expected;
                        told.help = problem.help;
                        (origin.at.file, told)
                    }
                    None => (0, problem),
                });
                let problems = problems.collect();
                Err(self
                    .source
                    .error_of(problems)
                    .unwrap_or(ConfigError { file: target.to_owned(), problems: Vec::new() }))
            }
        }
    }

    /// As in `ejabberd.yml:12`.
    fn show(&self, place: &Place) -> String {
        let file = self.source.files.get(place.file).map(|file| file.path.as_path());
        let name = file.and_then(Path::file_name).unwrap_or_default().to_string_lossy();
        format!("{name}:{}", place.line)
    }

    fn origin(&self, entry: &Entry, option: &str) -> Option<Origin> {
        Some(Origin { at: entry.at.clone(), option: option.to_owned() })
    }
}

/// A doubt about the new file, in words that fit the old one.
fn said(problem: &Problem) -> String {
    match problem.expected.as_str() {
        "" => problem.found.clone(),
        expected => format!("{}; expected {expected}", problem.found),
    }
}

#[cfg(test)]
mod tests;
