//! What went wrong with a command, how it is told, and its exit code.

use std::io::Write as _;
use std::process::ExitCode;

use serde_json::json;

use crate::admin::client::{CallError, Unreachable};
use crate::admin::op::{Refusal, RefusalKind};
use crate::config::ConfigError;
use crate::store::StoreError;

const FAILED: u8 = 1;
pub(super) const USAGE: u8 = 2;
const UNREACHABLE: u8 = 3;
const CONFLICT: u8 = 4;

/// Why a command did not do what it was asked for.
#[derive(Debug)]
pub(super) struct Failure {
    code: u8,
    /// For programs: what kind of failure.
    kind: &'static str,
    text: String,
    help: Option<String>,
    /// Everything is told already; only the exit code is left.
    silent: bool,
}

impl Failure {
    fn new(code: u8, kind: &'static str, text: impl Into<String>) -> Failure {
        Failure { code, kind, text: text.into(), help: None, silent: false }
    }

    /// The command line does not make sense.
    pub(super) fn usage(text: impl Into<String>) -> Failure {
        Failure::new(USAGE, "usage", text)
    }

    /// It could not be done.
    pub(super) fn failed(text: impl Into<String>) -> Failure {
        Failure::new(FAILED, "failed", text)
    }

    pub(super) fn unreachable(text: impl Into<String>) -> Failure {
        Failure::new(UNREACHABLE, "unreachable", text)
    }

    pub(super) fn conflict(text: impl Into<String>) -> Failure {
        Failure::new(CONFLICT, "conflict", text)
    }

    /// The command has told its bad news as its output.
    pub(super) fn told(self) -> Failure {
        Failure { silent: true, ..self }
    }

    /// Adds what would help.
    pub(super) fn help(mut self, help: impl Into<String>) -> Failure {
        self.help = Some(help.into());
        self
    }

    /// Whether this is what it tells.
    pub(super) fn says(&self, text: &str) -> bool {
        self.text == text
    }

    /// Adds what would help, beside what is said of that already.
    pub(super) fn also_help(self, help: String) -> Failure {
        let help = match &self.help {
            Some(there) => format!("{there}; {help}"),
            None => help,
        };
        self.help(help)
    }

    /// Tells the failure on standard error; returns the exit code.
    pub(super) fn tell(&self, as_json: bool) -> ExitCode {
        if !self.silent {
            let text = if as_json {
                json!({ "error": { "kind": self.kind, "text": self.text, "help": self.help } })
                    .to_string()
            } else {
                let help =
                    self.help.as_ref().map_or_else(String::new, |help| format!("\n  help: {help}"));
                format!("coucou: {}{help}", self.text)
            };
            // If standard error is closed, the exit code is all that can be told.
            let _ = writeln!(std::io::stderr(), "{text}");
        }
        ExitCode::from(self.code)
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Failure {
        let (code, kind) = match refusal.kind {
            RefusalKind::Usage => (USAGE, "usage"),
            RefusalKind::Denied => (FAILED, "denied"),
            RefusalKind::NotFound => (FAILED, "not_found"),
            RefusalKind::Conflict => (CONFLICT, "conflict"),
            RefusalKind::TooOften => (FAILED, "too_often"),
            RefusalKind::Unavailable => (UNREACHABLE, "unreachable"),
            RefusalKind::Bug => (FAILED, "bug"),
        };
        Failure { help: refusal.help, ..Failure::new(code, kind, refusal.text) }
    }
}

impl From<Unreachable> for Failure {
    fn from(error: Unreachable) -> Failure {
        let help = match &error {
            Unreachable::NotRunning { .. } => Some("`coucou up` or `coucou serve` starts it"),
            Unreachable::Denied { .. } => {
                Some("try it as root or as the user whom the server runs as")
            }
            Unreachable::OtherVersion { .. } | Unreachable::Lost { .. } => None,
        };
        Failure { help: help.map(str::to_owned), ..Failure::unreachable(error.to_string()) }
    }
}

impl From<CallError> for Failure {
    fn from(error: CallError) -> Failure {
        match error {
            CallError::Refused(refusal) => refusal.into(),
            CallError::Unreachable(unreachable) => unreachable.into(),
        }
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Failure {
        Refusal::from(error).into()
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Failure {
        let count = error.problems.len();
        let noun = if count == 1 { "problem" } else { "problems" };
        Failure::failed(format!("{count} {noun} in the config file\n{error}"))
    }
}
