//! `coucou backup …`

use std::io::{IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use clap::{Args, Subcommand};

use super::Common;
use super::ask;
use super::failure::Failure;
use super::output::{Output, table};
use super::reach::{self, Reach};
use crate::admin::client::{Client, Unreachable};
use crate::admin::op::Refusal;
use crate::admin::ops::backup::{
    Backups, Cancel, Create, List, Listed, Progress, Prune, Remove, Removed, Restore, Restored,
    Test, loss,
};
use crate::config::history;
use crate::config::value::Secret;
use crate::config::{self};
use crate::store::backup::{
    BackupError, Claim, Kind, Staged, commit, human, inspect, passphrase_in, stock_of,
};
use crate::time::Now;

/// How long a server may take to come back with a restored backup.
const BACK_WITHIN: Duration = Duration::from_secs(120);

#[derive(Debug, Subcommand)]
pub(super) enum Backup {
    /// Make a backup, while the server works or while it is down
    Now {
        /// Another folder than that of the settings
        #[arg(long, value_name = "DIR")]
        to: Option<PathBuf>,
        #[command(flatten)]
        key: Key,
    },
    /// List the backups
    List,
    /// Prove that a backup can be restored: unpack it beside the data and verify all of it
    Test {
        /// A name as `coucou backup list` shows it, or the path of a file
        file: String,
        #[command(flatten)]
        key: Key,
    },
    /// Replace all accounts and messages by a backup; what was there is kept aside
    Restore {
        /// A name as `coucou backup list` shows it, or the path of a file
        file: String,
        /// Take the backup's config file, too; where there is none, it is taken anyway
        #[arg(long)]
        with_config: bool,
        /// Confirm by the time at which the backup was made, as in 2026-11-23T18:40
        #[arg(long, value_name = "TIME")]
        yes: Option<String>,
        #[command(flatten)]
        key: Key,
    },
    /// Delete a backup
    Remove {
        /// A name as `coucou backup list` shows it
        name: String,
        /// Confirm by the name
        #[arg(long, value_name = "NAME")]
        yes: Option<String>,
    },
    /// Delete the scheduled backups that the settings do not want kept
    Prune {
        /// Tell which, and delete none
        #[arg(long)]
        dry_run: bool,
    },
    /// Give up the backup that is being made
    Cancel,
}

/// Where a passphrase comes from; never from an argument.
#[derive(Debug, Args)]
pub(super) struct Key {
    /// The first line of this file is the passphrase [default: backup.passphrase_file of the
    /// settings]
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
}

impl Key {
    fn read(&self) -> Result<Option<Secret>, Failure> {
        let file = self.passphrase_file.as_ref();
        file.map(|file| passphrase_in(file))
            .transpose()
            .map_err(|error| Refusal::from(error).into())
    }
}

impl Backup {
    pub(super) fn run(self, common: &Common, out: &mut Output) -> Result<(), Failure> {
        match self {
            Backup::Now { to, key } => now(common, to, key.read()?, out),
            Backup::List => {
                let listed = settled(common, |reach| reach.call(&List {}))?;
                out.show(&listed, list)
            }
            Backup::Test { file, key } => test(common, &file, key.read()?, out),
            Backup::Restore { file, with_config, yes, key } => {
                restore(common, &file, with_config, yes.as_deref(), key.read()?, out)
            }
            Backup::Remove { name, yes } => {
                ask::confirm(&format!("This deletes the backup {name}."), &name, yes.as_deref())?;
                let gone = settled(common, |reach| reach.call(&Remove { name }))?;
                out.show(&gone, |gone| removed(gone, "deleted"))
            }
            Backup::Prune { dry_run } => {
                let gone = settled(common, |reach| reach.call(&Prune { dry_run }))?;
                let what = if dry_run { "would be deleted" } else { "deleted" };
                out.show(&gone, |gone| removed(gone, what))
            }
            Backup::Cancel => {
                Reach::server(common)?.call(&Cancel {})?;
                out.show(&serde_json::json!({ "cancelled": true }), |_| "Cancelled.".to_owned())
            }
        }
    }
}

/// Has something done that may take long, and lets go in order.
fn settled<T>(
    common: &Common,
    act: impl FnOnce(&mut Reach) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let mut reach = Reach::anyway(common)?;
    if let Reach::Server(client) = &mut reach {
        client.patient();
    }
    let done = act(&mut reach);
    reach.close()?;
    done
}

/// A path as the server understands it, wherever it works.
fn whole(file: &str) -> String {
    if file.contains('/') || Path::new(file).is_file() {
        let path = std::path::absolute(file).unwrap_or_else(|_| file.into());
        return path.display().to_string();
    }
    file.to_owned()
}

fn now(
    common: &Common,
    to: Option<PathBuf>,
    passphrase: Option<Secret>,
    out: &mut Output,
) -> Result<(), Failure> {
    let folder = to.map(|to| whole(&format!("{}/", to.display())));
    let watched = !out.is_json() && std::io::stderr().is_terminal();
    let watcher =
        watched.then(|| Client::connect(&reach::socket_path(common).ok()?).ok()).flatten();
    let finished = AtomicBool::new(false);
    let made = std::thread::scope(|scope| {
        if let Some(client) = watcher {
            scope.spawn(|| watch(client, &finished));
        }
        let made = settled(common, |reach| reach.call(&Create { folder, passphrase }));
        finished.store(true, Ordering::Relaxed);
        made
    })?;
    out.show(&made, |made| {
        let kind = if made.encrypted { "encrypted" } else { "not encrypted" };
        let mut lines = vec![format!(
            "{}: {}, {kind}, {} accounts, {} messages",
            made.file,
            human(made.bytes),
            made.accounts,
            made.messages
        )];
        lines.extend(made.warnings.iter().map(|warning| format!("warning: {warning}")));
        lines.join("\n")
    })
}

/// Shows how far it has come, on a line of the terminal.
fn watch(mut client: Client, finished: &AtomicBool) {
    let mut err = std::io::stderr();
    while !finished.load(Ordering::Relaxed) {
        let Ok(progress) = client.call(&Progress {}) else { break };
        if progress.running && progress.of > 0 {
            let percent = (progress.done * 100 / progress.of).min(99);
            let _ =
                write!(err, "\r{percent:3} %  {}", human(progress.done)).and_then(|()| err.flush());
        }
        std::thread::park_timeout(Duration::from_millis(250));
    }
    let _ = write!(err, "\r                        \r").and_then(|()| err.flush());
}

fn list(listed: &Backups) -> String {
    let mut text = if listed.backups.is_empty() {
        format!("No backup yet in {}. `coucou backup now` makes one.", listed.folder)
    } else {
        table(
            ["NAME", "MADE", "WHY", "SIZE", "ENCRYPTED", "TESTED"],
            listed.backups.iter().map(row),
        )
    };
    if let Some(next) = &listed.next {
        text.push_str(&format!("\nThe next one is due at {} UTC.", day(next)));
    }
    if listed.same_disk && !listed.backups.is_empty() {
        text.push_str(&format!(
            "\nwarning: {} is on the disk of the data, and is lost with it",
            listed.folder
        ));
    }
    text
}

fn day(time: &str) -> String {
    time.get(..16).unwrap_or(time).replace('T', " ")
}

fn row(backup: &Listed) -> [String; 6] {
    let why = match backup.kind {
        Kind::Manual => "by hand",
        Kind::Scheduled => "scheduled",
        Kind::BeforeRestore => "before a restore",
    };
    [
        backup.name.clone(),
        day(&backup.made),
        why.to_owned(),
        human(backup.bytes),
        if backup.encrypted { "yes" } else { "no" }.to_owned(),
        backup.tested.as_deref().map_or_else(|| "-".to_owned(), day),
    ]
}

fn removed(gone: &Removed, what: &str) -> String {
    if gone.names.is_empty() {
        return "Nothing to delete.".to_owned();
    }
    format!("{} {what}, {} in all", gone.names.join("\n"), human(gone.bytes))
}

/// Does `act` with the passphrase given, and asks for one if it turns out to be needed.
fn with_passphrase<T>(
    given: Option<Secret>,
    mut act: impl FnMut(Option<Secret>) -> Result<T, Failure>,
) -> Result<(T, Option<Secret>), Failure> {
    let needs = BackupError::NeedsPassphrase.to_string();
    match act(given.clone()) {
        Err(failure) if given.is_none() && failure.says(&needs) && ask::can_ask() => {
            let typed =
                rpassword::prompt_password("Passphrase of the backup: ").map(Secret::new).map_err(
                    |error| Failure::failed(format!("cannot read the passphrase: {error}")),
                )?;
            Ok((act(Some(typed.clone()))?, Some(typed)))
        }
        Err(failure) if given.is_none() && failure.says(&needs) => {
            Err(failure.help("name the file that has it by --passphrase-file"))
        }
        done => Ok((done?, given)),
    }
}

fn test(
    common: &Common,
    file: &str,
    passphrase: Option<Secret>,
    out: &mut Output,
) -> Result<(), Failure> {
    let (tested, _) = with_passphrase(passphrase, |passphrase| {
        settled(common, |reach| reach.call(&Test { file: whole(file), passphrase }))
    })?;
    out.show(&tested, |tested| {
        format!(
            "{} of {} can be restored: {} accounts, {} messages",
            tested.name,
            day(&tested.made),
            tested.accounts,
            tested.messages
        )
    })
}

fn restore(
    common: &Common,
    file: &str,
    with_config: bool,
    yes: Option<&str>,
    passphrase: Option<Secret>,
    out: &mut Output,
) -> Result<(), Failure> {
    let socket = reach::settings_socket(common);
    match socket.as_deref().map(Client::connect) {
        Some(Ok(client)) => restore_running(client, file, with_config, yes, passphrase, out),
        Some(Err(Unreachable::NotRunning { .. })) | None => {
            restore_stopped(common, file, with_config, yes, passphrase, out)
        }
        Some(Err(error)) => Err(error.into()),
    }
}

fn restore_running(
    mut client: Client,
    file: &str,
    with_config: bool,
    yes: Option<&str>,
    passphrase: Option<Secret>,
    out: &mut Output,
) -> Result<(), Failure> {
    client.patient();
    let file = whole(file);
    let ask_for =
        |passphrase, dry_run| Restore { file: file.clone(), passphrase, with_config, dry_run };
    let (plan, passphrase) =
        with_passphrase(passphrase, |passphrase| Ok(client.call(&ask_for(passphrase, true))?))?;
    let what =
        format!("{} A backup of now is made first, and the server starts again.", loss(&plan));
    confirm(&what, &plan, yes)?;
    let pid = pid(&mut client);
    let restored = client.call(&ask_for(passphrase, false))?;
    let path = client.path().to_owned();
    client.wait_for_end(BACK_WITHIN).map_err(|_| slow())?;
    let until = Instant::now() + BACK_WITHIN;
    // The new server answers when its data is in order.
    let back = loop {
        match Client::connect(&path) {
            Ok(client) => break client,
            Err(_) if Instant::now() < until => {
                std::thread::park_timeout(Duration::from_millis(50))
            }
            Err(_) => return Err(slow()),
        }
    };
    let mut back = back;
    let same = pid.is_some() && self::pid(&mut back) == pid;
    out.show(&restored, |restored| {
        let how = if same { "the server serves it" } else { "a server serves it" };
        format!(
            "{}\nRestored; {how}. What was there is kept in the data directory, and a backup of it is {}.",
            loss(restored),
            restored.safety.as_deref().unwrap_or("-")
        )
    })
}

fn pid(client: &mut Client) -> Option<u32> {
    let status = client.call(&crate::admin::ops::server::Status {}).ok()?;
    status.process.map(|process| process.pid)
}

fn slow() -> Failure {
    Failure::unreachable(format!("the server is not back after {} s", BACK_WITHIN.as_secs()))
        .help("its log tells why; the backup is restored or will be at the next start")
}

fn confirm(what: &str, plan: &Restored, yes: Option<&str>) -> Result<(), Failure> {
    let time = plan.made.get(..16).unwrap_or(&plan.made);
    ask::confirm(what, time, yes)
}

fn restore_stopped(
    common: &Common,
    file: &str,
    with_config: bool,
    yes: Option<&str>,
    passphrase: Option<Secret>,
    out: &mut Output,
) -> Result<(), Failure> {
    let target = match common.named() {
        Some(target) => target,
        None => common.config_file()?,
    };
    let target = std::path::absolute(&target).unwrap_or(target);
    let there = config::read(&target).ok();
    let data_dir = match &there {
        Some(text) => history::places(text, &target).0,
        // A machine without a server: everything goes where its config file shall be.
        None => target.parent().unwrap_or(Path::new("/")).to_owned(),
    };
    if data_dir.exists() {
        reach::owner_is_us(&data_dir)?;
    }
    let file = match Path::new(file) {
        path if path.is_file() => path.to_owned(),
        _ => folder(there.as_deref(), &target, &data_dir).join(file),
    };
    let refuse = |error: BackupError| Failure::from(Refusal::from(error));
    let (contents, passphrase) = with_passphrase(passphrase, |passphrase| {
        inspect(&file, passphrase.as_ref()).map_err(refuse)
    })?;
    let before = stock_of(&data_dir, contents.made);
    let (accounts, messages) = contents.counts.unwrap_or_default();
    let (accounts_before, messages_before, messages_lost) = before.unwrap_or_default();
    let plan = Restored {
        name: file.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default(),
        made: contents.made.to_xmpp(),
        accounts,
        messages,
        accounts_before,
        messages_before,
        messages_lost,
        safety: None,
    };
    let what = match before {
        Some(_) => loss(&plan),
        None => format!(
            "{} of {} with {accounts} accounts and {messages} messages is restored; there is no \
             database that could be read.",
            plan.name,
            day(&plan.made)
        ),
    };
    if data_dir.join("coucou.db").exists() {
        confirm(&what, &plan, yes)?;
    }
    let claim = Claim::take(&data_dir).map_err(|error| Failure::from(Refusal::from(error)))?;
    let config = (with_config || there.is_none()).then_some(target.as_path());
    let staged =
        Staged::unpack(&file, passphrase.as_ref(), claim.data_dir(), config).map_err(refuse)?;
    let aside = commit(&staged, Now::read()).map_err(refuse)?;
    drop(claim);
    let detail = serde_json::json!({ "arguments": { "file": file }, "outcome": "done" });
    reach::write_down(&data_dir, "backup.restore", plan.name.clone(), detail.to_string())?;
    out.show(&plan, |_| {
        let kept = match before {
            Some(_) => format!(" What was there is in {}.", aside.display()),
            None => String::new(),
        };
        let config = match config {
            Some(config) => format!(" Its config file is {}.", config.display()),
            None => String::new(),
        };
        format!("{what}\nRestored into {}.{kept}{config}", data_dir.display())
    })
}

/// The folder of backups, as far as a config file tells that need not be in order.
fn folder(text: Option<&str>, file: &Path, data_dir: &Path) -> PathBuf {
    let checked = text.and_then(|text| config::parse(text, file).ok());
    checked.map_or_else(|| data_dir.join("backups"), |checked| checked.config.backup.dir)
}
