//! `coucou config …`, `coucou acl …` and the edits of `coucou access …`

use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::Common;
use super::ask;
use super::failure::Failure;
use super::output::{Output, clean, table};
use super::reach::Reach;
use crate::admin::ops::config::{
    Applied, Apply, Check, Confirm, Diff, Differences, Get, History, Options, Revert, Set, Show,
    Text, Unset, Verdict,
};
use crate::config::history::State;
use crate::config::value::Secret;
use crate::config::{self, Change, Described, Effect};

#[derive(Debug, Subcommand)]
pub(super) enum Config {
    /// Show settings: value, default, the line of the file that says it
    Show {
        /// Only settings whose path has this in it, with what they mean
        #[arg(default_value = "")]
        filter: String,
        /// Only settings that the file says
        #[arg(long)]
        written: bool,
    },
    /// Show one setting
    Get {
        /// As in limits.ping_after
        key: String,
    },
    /// Give a setting another value, in the file and in force
    Set {
        /// As in limits.ping_after or 'hosts."example.org".archive.retention'
        key: String,
        /// As in the file; what is no number, list, table, true or false is a text
        value: String,
        #[command(flatten)]
        how: How,
    },
    /// Take a setting, or a table with all that is in it, out of the file
    Unset {
        /// As in limits.ping_after
        key: String,
        #[command(flatten)]
        how: How,
    },
    /// Edit the file in $EDITOR: checked, shown, then applied
    Edit {
        #[command(flatten)]
        how: How,
    },
    /// Compare the file with what was in force last, or with an earlier state
    Diff {
        /// The number of a state, see `coucou config history`
        id: Option<u64>,
    },
    /// List the states that were in force, the newest first
    History {
        /// At most so many
        #[arg(short = 'n', long, default_value_t = 20)]
        max: usize,
    },
    /// Go back to an earlier state; without a number to the one before
    Revert {
        /// The number of a state, see `coucou config history`
        id: Option<u64>,
        #[command(flatten)]
        how: How,
    },
    /// Keep a change that would be undone soon
    Confirm,
}

/// How a change of the settings is made.
#[derive(Debug, Args)]
pub(super) struct How {
    /// Why; kept in the history
    #[arg(long, value_name = "TEXT", default_value = "")]
    reason: String,
    /// Show what would change, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// How long a change that could lock operators out waits for `coucou config confirm` before it
    /// is undone [default: 90s]
    #[arg(long, value_name = "TIME", conflicts_with = "now")]
    confirm_within: Option<String>,
    /// Let such a change count at once, without a confirmation
    #[arg(long)]
    now: bool,
    /// Make the change even if nobody is left who may configure
    #[arg(long)]
    force: bool,
}

impl How {
    pub(super) fn options(self) -> Options {
        Options {
            reason: self.reason,
            base: None,
            dry_run: self.dry_run,
            confirm_within: self.confirm_within,
            now: self.now,
            force: self.force,
        }
    }
}

impl Config {
    pub(super) fn run(self, common: &Common, out: &mut Output) -> Result<(), Failure> {
        if let Config::Edit { how } = self {
            return edit(common, how.options(), out);
        }
        let mut reach = Reach::to_settings(common)?;
        let done = self.act(&mut reach, out);
        reach.close()?;
        done
    }

    fn act(self, reach: &mut Reach, out: &mut Output) -> Result<(), Failure> {
        match self {
            Config::Show { filter, written } => show(reach, filter, written, out),
            Config::Get { key } => {
                let found = reach.call(&Get { key })?;
                out.show(&found, told)
            }
            Config::Set { key, value, how } => {
                let set = Set { key, value: value_of(&value), options: how.options() };
                applied(&reach.call(&set)?, out)
            }
            Config::Unset { key, how } => {
                applied(&reach.call(&Unset { key, options: how.options() })?, out)
            }
            Config::Revert { id, how } => {
                applied(&reach.call(&Revert { id, options: how.options() })?, out)
            }
            Config::Diff { id } => out.show(&reach.call(&Diff { id })?, differences),
            Config::History { max } => {
                let states = reach.call(&History { max })?;
                out.show(&states, |states| {
                    if states.states.is_empty() {
                        return "Nothing was noted yet; the first start or edit does.".to_owned();
                    }
                    let unconfirmed = states.unconfirmed;
                    let rows = states.states.iter().map(|state| row(state, unconfirmed));
                    table(["ID", "WHEN", "WHO", "WHAT", "CHANGES", "WHY"], rows)
                })
            }
            Config::Confirm => {
                let confirmed = reach.call(&Confirm {})?;
                out.show(&confirmed, |confirmed| format!("State {} stays.", confirmed.id))
            }
            // Has its own way.
            Config::Edit { .. } => Ok(()),
        }
    }
}

/// What a person wrote as the value of a setting: TOML, or a text without its quotes.
pub(super) fn value_of(written: &str) -> Value {
    let read = format!("value = {written}").parse::<toml::Table>();
    let value = read.ok().filter(|table| table.len() == 1).and_then(|mut t| t.remove("value"));
    match value {
        Some(toml::Value::Datetime(_)) | None => json!(written),
        Some(value) => serde_json::to_value(value).unwrap_or_else(|_| json!(written)),
    }
}

fn show(reach: &mut Reach, filter: String, written: bool, out: &mut Output) -> Result<(), Failure> {
    let explain = !filter.is_empty();
    let mut all = reach.call(&Show { filter: filter.clone(), written, after: None })?;
    while let Some(after) = all.next.take() {
        let page = reach.call(&Show { filter: filter.clone(), written, after: Some(after) })?;
        all.settings.extend(page.settings);
        all.next = page.next;
    }
    out.show(&all, |all| {
        let mut text = match (explain, all.settings.is_empty()) {
            (_, true) => format!("No setting has {filter:?} in its name."),
            (true, _) => all.settings.iter().map(told).collect::<Vec<_>>().join("\n\n"),
            (false, _) => {
                table(["SETTING", "VALUE", "DEFAULT", "LINE"], all.settings.iter().map(columns))
            }
        };
        if all.edited {
            text.push_str(&format!(
                "\n\n{} was edited and is not in force yet: see `coucou config diff`.",
                all.file
            ));
        }
        text
    })
}

fn columns(setting: &Described) -> [String; 4] {
    let default = match &setting.default {
        Some(default) if *default == setting.value => "same".to_owned(),
        Some(default) => default.clone(),
        None => "-".to_owned(),
    };
    let line = setting.line.map_or_else(String::new, |line| line.to_string());
    [setting.path.clone(), setting.value.clone(), default, line]
}

fn told(setting: &Described) -> String {
    let mut lines = vec![format!("{} = {}", setting.path, clean(&setting.value))];
    if !setting.meaning.is_empty() {
        lines.push(format!("  {}", setting.meaning));
    }
    let place = match setting.line {
        Some(line) => format!("line {line}"),
        None => "not in the file".to_owned(),
    };
    let default = match &setting.default {
        Some(default) => format!("default {}", clean(default)),
        None => "no default".to_owned(),
    };
    lines.push(format!("  {place}; {default}; a change counts {}", setting.effect));
    lines.join("\n")
}

fn row(state: &State, unconfirmed: Option<u64>) -> [String; 6] {
    let paths: Vec<&str> = state.changes.iter().map(|change| change.path.as_str()).collect();
    let changes = match paths.as_slice() {
        [] => "-".to_owned(),
        [one] => (*one).to_owned(),
        [first, rest @ ..] => format!("{first} and {} more", rest.len()),
    };
    let why = match unconfirmed == Some(state.id) {
        true => format!("NOT CONFIRMED {}", state.why),
        false => state.why.clone(),
    };
    [
        state.id.to_string(),
        state.at.get(..19).unwrap_or(&state.at).replace('T', " "),
        if state.who.is_empty() { "-".to_owned() } else { state.who.clone() },
        state.what.clone(),
        changes,
        why.trim_end().to_owned(),
    ]
}

fn differences(found: &Differences) -> String {
    let Some(id) = found.id else {
        return "Nothing was noted yet; the first start or edit does.".to_owned();
    };
    if found.diff.is_empty() {
        return format!("The file is as in state {id}.");
    }
    [clean_lines(&found.diff), listed(&found.changes)].concat().trim_end().to_owned()
}

fn clean_lines(text: &str) -> String {
    text.lines().map(|line| clean(line) + "\n").collect()
}

fn listed(changes: &[Change]) -> String {
    changes.iter().map(|change| clean(&change.to_string()) + "\n").collect()
}

/// Tells what a change did.
pub(super) fn applied(applied: &Applied, out: &mut Output) -> Result<(), Failure> {
    out.show(applied, |applied| {
        let mut text = clean_lines(&applied.diff);
        text.push_str(&listed(&applied.changes));
        for warning in &applied.warnings {
            text.push_str(&format!("warning: {warning}\n"));
        }
        text.push_str(&match (applied.id, applied.in_force) {
            (0, _) if applied.diff.is_empty() => "Nothing has changed.".to_owned(),
            (0, _) => "Nothing was done (--dry-run).".to_owned(),
            (id, true) => format!("State {id} is in force."),
            (id, false) => format!("State {id} is written; the server is down."),
        });
        if applied.in_force && applied.changes.iter().any(|c| c.effect == Effect::Restart) {
            text.push_str(" What needs a restart is as before until the server is started again.");
        }
        if let Some(until) = &applied.confirm_until {
            let until = until.get(11..19).unwrap_or(until);
            text.push_str(&format!(
                "\nThis could lock operators out: it is undone at {until} UTC unless you run `coucou config confirm`."
            ));
        }
        text
    })
}

/// The file in an editor, until it is in order or given up.
fn edit(common: &Common, mut options: Options, out: &mut Output) -> Result<(), Failure> {
    if !ask::can_ask() {
        return Err(Failure::usage("there is no terminal to edit at")
            .help("`coucou config set KEY VALUE` edits without one"));
    }
    // No connection and no lock is held while a person writes.
    let mut reach = Reach::to_settings(common)?;
    let there = reach.call(&Text {})?;
    reach.close()?;
    let copy = Copy::make(&there.text)?;
    loop {
        copy.open_editor()?;
        let text = config::read(&copy.file)
            .map_err(|error| Failure::failed(format!("cannot read the copy: {error}")))?;
        if text == there.text {
            return out.line("Nothing has changed.");
        }
        let text = Secret::new(text);
        let mut reach = Reach::to_settings(common)?;
        let verdict = reach.call(&Check { text: Some(text.clone()) })?;
        if !verdict.ok {
            reach.close()?;
            out.line(&faults(&verdict))?;
            if !yes("Edit it again?", true)? {
                return Err(copy.kept("nothing was done"));
            }
            continue;
        }
        options.base = Some(there.hash.clone());
        let dry = Options { dry_run: true, ..options.clone() };
        let shown = reach.call(&Apply { text: text.clone(), options: dry });
        let result = match shown {
            Err(failure) => Err(failure),
            Ok(shown) => {
                out.line(&[clean_lines(&shown.diff), listed(&shown.changes)].concat())?;
                if options.dry_run {
                    Ok(None)
                } else if !yes("Apply this?", true)? {
                    reach.close()?;
                    return Err(copy.kept("nothing was done"));
                } else {
                    reach.call(&Apply { text, options: options.clone() }).map(Some)
                }
            }
        };
        reach.close()?;
        return match result {
            Ok(Some(done)) => {
                copy.remove();
                applied(&Applied { diff: String::new(), ..done }, out)
            }
            Ok(None) => {
                copy.remove();
                out.line("Nothing was done (--dry-run).")
            }
            Err(failure) => {
                let path = copy.keep();
                Err(failure.also_help(format!("your text is in {}", path.display())))
            }
        };
    }
}

fn faults(verdict: &Verdict) -> String {
    verdict.problems.iter().map(|fault| fault.told.clone() + "\n").collect::<String>()
}

fn yes(question: &str, default: bool) -> Result<bool, Failure> {
    let shown = if default { "Y/n" } else { "y/N" };
    let answer = ask::question(&format!("{question} ({shown})"), "", "--reason")?;
    Ok(match answer.to_lowercase().as_str() {
        "" => default,
        answer => answer.starts_with('y'),
    })
}

/// A copy of the file that only we can read, for an editor.
struct Copy {
    dir: PathBuf,
    file: PathBuf,
}

impl Copy {
    fn make(text: &str) -> Result<Copy, Failure> {
        let mut random = [0u8; 8];
        crate::auth::secret::fill_random(&mut random);
        let name = format!("coucou-{:016x}", u64::from_ne_bytes(random));
        let dir = std::env::temp_dir().join(name);
        let file = dir.join("coucou.toml");
        let write = || {
            std::fs::DirBuilder::new().mode(0o700).create(&dir)?;
            let mut options = std::fs::OpenOptions::new();
            let mut copy = options.write(true).create_new(true).mode(0o600).open(&file)?;
            copy.write_all(text.as_bytes())
        };
        write().map_err(|error| {
            Failure::failed(format!("cannot make a copy at {}: {error}", dir.display()))
        })?;
        Ok(Copy { dir, file })
    }

    fn open_editor(&self) -> Result<(), Failure> {
        let named = ["VISUAL", "EDITOR"].iter().find_map(std::env::var_os);
        let editor = named.filter(|name| !name.is_empty()).unwrap_or_else(|| "vi".into());
        // $EDITOR is a piece of shell, as in "code --wait".
        let mut script = editor.clone();
        script.push(" \"$1\"");
        let ended = std::process::Command::new("sh")
            .arg("-c")
            .arg(script)
            .arg("editor")
            .arg(&self.file)
            .status();
        match ended {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => {
                let text = format!("the editor {} failed ({status})", Path::new(&editor).display());
                Err(self.kept(&text))
            }
            Err(error) => Err(self.kept(&format!("the editor cannot be started: {error}"))),
        }
    }

    fn kept(&self, text: &str) -> Failure {
        Failure::failed(text).help(format!("your text is in {}", self.file.display()))
    }

    fn keep(&self) -> &Path {
        &self.file
    }

    fn remove(&self) {
        // A copy left behind is readable by its owner only.
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_toml_or_texts_without_quotes() {
        for (written, value) in [
            ("debug", json!("debug")),
            ("\"5\"", json!("5")),
            ("5", json!(5)),
            ("true", json!(true)),
            ("365d", json!("365d")),
            ("03:10", json!("03:10")),
            ("[\"a\", \"b\"]", json!(["a", "b"])),
            ("{ allow = \"all\" }", json!({"allow": "all"})),
            ("512 MiB", json!("512 MiB")),
            ("1\nother = 2", json!("1\nother = 2")),
            ("", json!("")),
        ] {
            assert_eq!(value_of(written), value, "{written}");
        }
    }
}
