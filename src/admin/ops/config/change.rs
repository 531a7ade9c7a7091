//! One way for every change of the settings: edit the text, check it, write it, bring it into
//! force, remember it; and back if any of that fails.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::confirm;
use super::lockout;
use crate::access::lint;
use crate::admin::op::{Class, Refusal, RefusalKind};
use crate::admin::{Context, Running};
use crate::config::edit::EditError;
use crate::config::history::{self, Cause, History, Lock, Pending, hash};
use crate::config::value::Span;
use crate::config::{self, Change, Checked, Config, unified};
use crate::time::Now;

/// How long somebody else may hold the lock before we give up.
const LOCK_WITHIN: Duration = Duration::from_secs(5);
/// How long a change that could lock operators out waits for its confirmation.
const CONFIRM_WITHIN: Duration = Duration::from_secs(90);
/// Not shorter: nobody could make it. Not longer: the server would be shut out for that long.
const CONFIRM_RANGE: std::ops::RangeInclusive<Duration> =
    Duration::from_secs(1)..=Duration::from_secs(3600);

/// How a change is to be made.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Options {
    /// Why; kept in the history.
    pub reason: String,
    /// The hash of the text that the caller has seen. If the file has changed since, nothing is
    /// done.
    pub base: Option<String>,
    /// Tell what would change, and change nothing.
    pub dry_run: bool,
    /// A change that could lock operators out is undone after this time unless it is confirmed;
    /// 90s if left out.
    pub confirm_within: Option<String>,
    /// Such a change counts at once, without a confirmation.
    pub now: bool,
    /// Make it even if nobody is left who may configure.
    pub force: bool,
}

/// What a change of the settings did, or would do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Applied {
    /// The number of the new state in the history; 0 if nothing has changed.
    pub id: u64,
    /// The hash of the new text.
    pub hash: String,
    /// The change of the text as a unified diff, secrets masked.
    pub diff: String,
    /// The settings that change, and when each counts.
    pub changes: Vec<Change>,
    /// What is doubtful about the new settings.
    pub warnings: Vec<String>,
    /// How far it reaches.
    pub class: Class,
    /// The server runs and has the new settings.
    pub in_force: bool,
    /// Undone at this time (XEP-0082) unless `config.confirm` comes before, by a new connection.
    pub confirm_until: Option<String>,
}

/// What kind of edit it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A piece of the text; what others have written meanwhile is none of its business.
    Piece,
    /// The whole text, as its author wants it.
    Whole,
    /// Back to an earlier state; goes before a change that waits for its confirmation.
    Back,
}

/// Changes the settings by `edit`, which turns the old text into the new one.
pub(super) async fn change(
    cx: &Context,
    what: &str,
    kind: Kind,
    options: &Options,
    edit: impl FnOnce(&str) -> Result<String, EditError>,
) -> Result<Applied, Refusal> {
    let within = confirm_within(options)?;
    let (file, history) = (cx.config_file(), history(cx));
    let _lock = lock(&history).await?;
    if let Some(pending) = history.pending().filter(|_| kind != Kind::Back) {
        return Err(Refusal::new(
            RefusalKind::Conflict,
            format!("a change by {} still waits for its confirmation", pending.who),
        )
        .help("`coucou config confirm` keeps it, `coucou config revert` undoes it"));
    }
    let old = config::read(file).map_err(|error| unreadable(file, &error))?;
    if let Some(base) = options.base.as_ref().filter(|base| **base != hash(&old)) {
        return Err(conflict(&history, base, &old, edit));
    }
    let in_force = cx.server().map(|server| server.router().config.load_full());
    if kind == Kind::Piece {
        nothing_is_left_over(in_force.as_deref(), &old, file)?;
    }
    let new = edit(&old).map_err(|error| refuse_edit(&error))?;
    let Checked { config: checked, warnings } =
        lint::parse(&new, file).map_err(|error| refuse_text(&error))?;
    let before = in_force.or_else(|| Some(Arc::new(config::parse(&old, file).ok()?.config)));
    let changes = before.as_deref().map(|old| config::diff(old, &checked)).unwrap_or_default();
    let class = lockout::class(&changes, before.as_deref(), &checked);
    cx.permit(class)?;
    if !options.force {
        lockout::somebody_is_left(before.as_deref(), &checked)?;
    }
    let mut applied = Applied {
        id: 0,
        hash: hash(&new),
        diff: unified(&old, &new, "the file", "changed"),
        changes,
        warnings: warnings.iter().map(ToString::to_string).collect(),
        class,
        in_force: cx.server().is_some(),
        confirm_until: None,
    };
    if options.dry_run || (new == old && applied.changes.is_empty()) {
        applied.in_force &= !options.dry_run;
        return Ok(applied);
    }
    let now = Now::read();
    let who = cx.actor().map_or("", |actor| actor.who.as_str());
    let cause = Cause { who, what, why: &options.reason };
    let (back, id) = remember(&history, now, cause, &old, &new, &applied.changes)?;
    applied.id = id;
    let timed = class == Class::LockOut && cx.server().is_some() && !options.now;
    let pending = timed.then(|| Pending {
        id,
        hash: hash(&new),
        back,
        since: now.0,
        until: now.plus(within).0,
        who: who.to_owned(),
    });
    // Before the file: if the server ends in between, its next start finds what to do.
    let noted = history.set_pending(pending.as_ref()).map_err(|error| unwritable(file, &error));
    let written =
        noted.and_then(|()| history::replace(file, &new).map_err(|error| unwritable(file, &error)));
    let result = match (written, cx.server()) {
        (Ok(()), Some(server)) => bring_into_force(server, file, &old).await,
        (written, _) => written,
    };
    if let Err(refusal) = result {
        history.forget(id);
        // The file is as it was, so this would find nothing to do; it is only in the way.
        let _ = history.set_pending(None);
        return Err(refusal);
    }
    if let (Some(pending), Some(server)) = (pending, cx.server()) {
        applied.confirm_until = Some(Now(pending.until).to_xmpp());
        confirm::watch(Arc::clone(server), history, pending);
    }
    Ok(applied)
}

/// The history of the settings that `cx` is about.
pub(super) fn history(cx: &Context) -> History {
    History::new(&cx.config().data_dir)
}

/// Waits for others who edit.
pub(super) async fn lock(history: &History) -> Result<Lock, Refusal> {
    let until = tokio::time::Instant::now() + LOCK_WITHIN;
    loop {
        match history.lock() {
            Ok(lock) => return Ok(lock),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                if tokio::time::Instant::now() > until {
                    return Err(Refusal::new(
                        RefusalKind::Conflict,
                        "somebody else changes the settings at this moment",
                    ));
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            Err(error) => return Err(no_history(&error)),
        }
    }
}

fn confirm_within(options: &Options) -> Result<Duration, Refusal> {
    let Some(text) = &options.confirm_within else { return Ok(CONFIRM_WITHIN) };
    let refuse = |reason: &str| {
        Refusal::usage(format!("confirm_within: {text:?} {reason}"))
            .help("write a length of time such as \"90s\" or \"5m\"")
    };
    let Span(within) = text.parse::<Span>().map_err(|reason| refuse(&reason))?;
    if !CONFIRM_RANGE.contains(&within) {
        return Err(refuse("is not from 1s to 1h"));
    }
    Ok(within)
}

/// A piece of an edit must not bring into force what somebody else has written into the file and
/// not yet reloaded.
fn nothing_is_left_over(in_force: Option<&Config>, text: &str, file: &Path) -> Result<(), Refusal> {
    let Some(in_force) = in_force else { return Ok(()) };
    let Ok(on_disk) = config::parse(text, file) else { return Ok(()) };
    let waiting = config::diff(in_force, &on_disk.config);
    if waiting.is_empty() {
        return Ok(());
    }
    let paths: Vec<&str> = waiting.iter().take(3).map(|change| change.path.as_str()).collect();
    let more = if waiting.len() > 3 { " and more" } else { "" };
    Err(Refusal::new(
        RefusalKind::Conflict,
        format!(
            "{} was edited and is not in force yet: {}{more}",
            file.display(),
            paths.join(", ")
        ),
    )
    .help("`coucou config diff` shows it; `coucou reload` brings it into force, `coucou config revert` takes it back"))
}

/// Notes the old text, unless it is known, and the new one; tells the numbers of both.
fn remember(
    history: &History,
    now: Now,
    cause: Cause<'_>,
    old: &str,
    new: &str,
    changes: &[Change],
) -> Result<(u64, u64), Refusal> {
    let found = Cause { who: "", what: "found", why: "as the file was before the next change" };
    let note = |cause, text, changes| {
        history.note(now, cause, text, changes).map_err(|error| no_history(&error))
    };
    Ok((note(found, old, &[])?, note(cause, new, changes)?))
}

/// Has the server read the file; if it does not take it, the old text comes back.
async fn bring_into_force(
    server: &Arc<dyn Running>,
    file: &Path,
    old: &str,
) -> Result<(), Refusal> {
    let Err(refusal) = Arc::clone(server).reload().await else { return Ok(()) };
    match history::replace(file, old) {
        Ok(()) => Err(refusal),
        Err(error) => Err(Refusal {
            text: format!(
                "{}; and the old text of {} could not be put back: {error}",
                refusal.text,
                file.display()
            ),
            ..refusal
        }),
    }
}

/// Somebody was faster: shows what they did and what was wanted.
fn conflict(
    history: &History,
    base: &str,
    there: &str,
    edit: impl FnOnce(&str) -> Result<String, EditError>,
) -> Refusal {
    let seen = history.by_hash(base);
    let wanted = edit(seen.as_deref().unwrap_or(there)).unwrap_or_default();
    let text = match &seen {
        Some(seen) => format!(
            "the file has changed since it was read\n\nwhat others changed:\n{}\nwhat you \
             changed:\n{}",
            unified(seen, there, "as you read it", "as it is now"),
            unified(seen, &wanted, "as you read it", "as you want it"),
        ),
        None => format!(
            "the file has changed since it was read\n\nfrom what is there to what you want:\n{}",
            unified(there, &wanted, "as it is now", "as you want it"),
        ),
    };
    Refusal::new(RefusalKind::Conflict, text.trim_end())
        .help("read the file again and repeat the change")
}

pub(super) fn refuse_edit(error: &EditError) -> Refusal {
    match error {
        EditError::There { .. } => Refusal::new(RefusalKind::Conflict, error.to_string()),
        EditError::Absent(_) | EditError::NoEntry { .. } | EditError::NotThere { .. } => {
            Refusal::not_found(error.to_string())
        }
        EditError::Path(_) => Refusal::usage(error.to_string()).help(
            "write it as in limits.ping_after or hosts.\"example.org\".archive.retention; `coucou config show` lists them",
        ),
        EditError::Kind { .. } | EditError::Syntax(_) => Refusal::usage(error.to_string()),
    }
}

/// Everything that is wrong with a text, with its places.
pub(super) fn refuse_text(error: &config::ConfigError) -> Refusal {
    let problems: Vec<String> = error.problems.iter().map(ToString::to_string).collect();
    let count = match problems.len() {
        1 => String::new(),
        count => format!("{count} problems\n"),
    };
    Refusal::usage(format!("nothing has changed: {count}{}", problems.join("\n")))
}

pub(super) fn unreadable(file: &Path, error: &io::Error) -> Refusal {
    Refusal::unavailable(format!("the config file {} cannot be read: {error}", file.display()))
}

fn unwritable(file: &Path, error: &io::Error) -> Refusal {
    let refusal = Refusal::unavailable(format!(
        "the config file {} cannot be written: {error}; nothing has changed",
        file.display()
    ));
    let folder = file.parent().unwrap_or(Path::new("/")).display();
    match error.kind() {
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => refusal.help(
            format!("the server's user must be able to write to {folder}, or edit it by hand and run `coucou reload`"),
        ),
        _ => refusal,
    }
}

pub(super) fn no_history(error: &io::Error) -> Refusal {
    match error.kind() {
        io::ErrorKind::NotFound => Refusal::not_found("the history has no such state")
            .help("`coucou config history` lists them"),
        _ => Refusal::unavailable(format!(
            "the history of the settings cannot be used: {error}; nothing has changed"
        )),
    }
}
