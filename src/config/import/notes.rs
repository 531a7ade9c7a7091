//! What became of each option.

use serde::Serialize;

use super::Import;
use super::yaml::Place;
use crate::config::leaf::Choice;

/// What became of one option.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Note {
    pub file: String,
    pub line: usize,
    pub column: usize,
    /// As in `modules.mod_mam.default`.
    pub option: String,
    pub kind: Kind,
    pub why: String,
    /// What to do about it, if anything.
    pub remedy: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A fault of the source, which it may have had unnoticed.
    Fault,
    /// Not carried over, because there is nothing here yet that it could set.
    Left,
    /// Carried over, and yet not the same.
    Changed,
    /// Not carried over, because nothing here needs it.
    Needless,
    /// Carried over.
    Carried,
}

impl Choice for Kind {
    const ALL: &'static [(&'static str, Kind)] = &[
        ("fault", Kind::Fault),
        ("left", Kind::Left),
        ("changed", Kind::Changed),
        ("needless", Kind::Needless),
        ("carried", Kind::Carried),
    ];
}

impl Import<'_> {
    /// Notes what became of an option; said twice, it is noted once.
    pub(super) fn note(
        &mut self,
        at: &Place,
        option: &str,
        kind: Kind,
        why: &str,
        remedy: Option<&str>,
    ) {
        let note = self.note_at(at, option, kind, why, remedy);
        if !self.notes.contains(&note) {
            self.notes.push(note);
        }
    }

    pub(super) fn note_at(
        &self,
        at: &Place,
        option: &str,
        kind: Kind,
        why: &str,
        remedy: Option<&str>,
    ) -> Note {
        let problem = self.source.problem(at, option);
        let file = self.source.files.get(at.file);
        Note {
            file: file.map(|file| file.path.display().to_string()).unwrap_or_default(),
            line: problem.line,
            column: problem.column,
            option: option.to_owned(),
            kind,
            why: why.to_owned(),
            remedy: remedy.map(str::to_owned),
        }
    }

    /// Notes an option that is the same here.
    pub(super) fn carried(&mut self, at: &Place, option: &str, setting: &str) {
        self.note(at, option, Kind::Carried, setting, None);
    }
}
