//! Backups: making, listing, testing, restoring, removing them.

mod restore;
pub mod schedule;

use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::admin::Context;
use crate::admin::op::{Class, Example, Operation, Refusal, RefusalKind};
use crate::config::value::Secret;
use crate::store::backup::{
    self as files, BackupError, Contents, Kind, Made, Plan, SUFFIX, passphrase_in, same_disk,
    unpack,
};
use crate::time::Now;

pub use restore::{Restore, Restored, loss};

/// Where a backup is unpacked to be tested.
const TEST_SCRATCH: &str = "backup-test";

impl From<BackupError> for Refusal {
    fn from(error: BackupError) -> Refusal {
        let kind = match &error {
            BackupError::Store(error) => return Refusal::from(error.clone()),
            BackupError::Busy => RefusalKind::Conflict,
            BackupError::NoRoom { .. } | BackupError::Io { .. } => RefusalKind::Unavailable,
            _ => RefusalKind::Denied,
        };
        Refusal::new(kind, error.to_string())
    }
}

/// One backup, as operators see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Listed {
    /// The name of its file.
    pub name: String,
    /// XEP-0082 time.
    pub made: String,
    pub kind: Kind,
    pub bytes: u64,
    pub encrypted: bool,
    /// The Coucou that made it.
    pub version: String,
    /// When it was last unpacked and found good.
    pub tested: Option<String>,
}

impl From<&Contents> for Listed {
    fn from(contents: &Contents) -> Listed {
        let tested = std::fs::read_to_string(tested_mark(&contents.file)).ok();
        Listed {
            name: name_of(&contents.file),
            made: contents.made.to_xmpp(),
            kind: contents.kind,
            bytes: contents.bytes,
            encrypted: contents.encrypted,
            version: contents.version.clone(),
            tested: tested.map(|text| text.trim().to_owned()).filter(|text| text.len() < 40),
        }
    }
}

fn name_of(file: &Path) -> String {
    file.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned())
}

/// Says when a backup was found good.
fn tested_mark(file: &Path) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(".tested");
    PathBuf::from(name)
}

/// The file that somebody means: a name in the folder of backups, or a whole path.
fn file_of(cx: &Context, file: &str) -> Result<PathBuf, Refusal> {
    let path = Path::new(file);
    let folder = &cx.config().backup.dir;
    let found = match (path.is_absolute(), file.contains('/')) {
        (true, _) => path.to_owned(),
        (false, true) => {
            return Err(Refusal::usage(format!("{file:?} is neither a name nor a whole path")));
        }
        (false, false) => folder.join(file),
    };
    if found.is_file() {
        return Ok(found);
    }
    Err(Refusal::not_found(format!("there is no backup {}", found.display()))
        .help("`coucou backup list` names those there are"))
}

/// The passphrase given, or else the one that the settings name.
fn passphrase(cx: &Context, given: Option<Secret>) -> Result<Option<Secret>, Refusal> {
    match (given, &cx.config().backup.passphrase_file) {
        (Some(given), _) => Ok(Some(given)),
        (None, Some(file)) => Ok(Some(passphrase_in(file)?)),
        (None, None) => Ok(None),
    }
}

/// Runs what takes long where it holds nobody up.
async fn aside<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, BackupError> + Send + 'static,
) -> Result<T, Refusal> {
    let done = tokio::task::spawn_blocking(work).await;
    Ok(done.map_err(|error| Refusal::bug(&error))??)
}

/// Makes a backup now.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Create {
    /// Another folder than that of the settings; a whole path.
    pub folder: Option<String>,
    /// Encrypt it with this; else with the passphrase of the settings, if they have one.
    #[schemars(with = "Option<String>")]
    pub passphrase: Option<Secret>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Created {
    pub file: String,
    pub bytes: u64,
    pub accounts: u64,
    pub messages: u64,
    pub encrypted: bool,
    /// What is doubtful about it.
    pub warnings: Vec<String>,
}

impl Operation for Create {
    const NAME: &'static str = "backup.now";
    const SUMMARY: &'static str = "Make a backup";
    const CLASS: Class = Class::Reversible;
    const EXAMPLE: Example = Example {
        arguments: "{}",
        output: r#"{"file": "/var/lib/coucou/backups/2026-11-23T18-40-00Z.coucou", "bytes": 4718592, "accounts": 214, "messages": 80000, "encrypted": true, "warnings": []}"#,
    };
    type Output = Created;

    fn to_wire(&self) -> Value {
        let passphrase = self.passphrase.as_ref().map(Secret::reveal);
        json!({ "folder": self.folder, "passphrase": passphrase })
    }

    async fn run(self, cx: &Context) -> Result<Created, Refusal> {
        let folder = match &self.folder {
            None => cx.config().backup.dir.clone(),
            Some(folder) if Path::new(folder).is_absolute() => PathBuf::from(folder),
            Some(folder) => {
                return Err(Refusal::usage(format!("the folder {folder:?} is not a whole path")));
            }
        };
        let passphrase = passphrase(cx, self.passphrase)?;
        let made = create(cx, folder, Kind::Manual, passphrase).await?;
        let same = same_disk(&cx.config().data_dir, made.file.parent().unwrap_or(Path::new("/")));
        let warning = "it is on the disk that it is a backup of, and will be lost with it";
        Ok(Created {
            file: made.file.display().to_string(),
            bytes: made.bytes,
            accounts: made.accounts,
            messages: made.messages,
            encrypted: made.encrypted,
            warnings: same.then(|| warning.to_owned()).into_iter().collect(),
        })
    }
}

async fn create(
    cx: &Context,
    folder: PathBuf,
    kind: Kind,
    passphrase: Option<Secret>,
) -> Result<Made, BackupError> {
    let config = cx.config_file().to_owned();
    let plan = Plan { folder, kind, now: Now::read(), passphrase, config };
    cx.store().back_up(plan).await
}

/// How far the backup has come that is being made.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Progress {}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Progressed {
    pub running: bool,
    /// Bytes copied and packed, of about so many.
    pub done: u64,
    pub of: u64,
}

impl Operation for Progress {
    const NAME: &'static str = "backup.progress";
    const SUMMARY: &'static str = "Show how far the backup has come that is being made";
    const CLASS: Class = Class::Safe;
    const EXAMPLE: Example =
        Example { arguments: "{}", output: r#"{"running": true, "done": 1048576, "of": 4194304}"# };
    type Output = Progressed;

    async fn run(self, cx: &Context) -> Result<Progressed, Refusal> {
        Ok(match cx.store().backup_progress() {
            Some(progress) => {
                let of = progress.of.max(progress.done);
                Progressed { running: true, done: progress.done, of }
            }
            None => Progressed { running: false, done: 0, of: 0 },
        })
    }
}

/// Gives up the backup that is being made; nothing is left of it.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Cancel {}

impl Operation for Cancel {
    const NAME: &'static str = "backup.cancel";
    const SUMMARY: &'static str = "Give up the backup that is being made";
    const CLASS: Class = Class::Reversible;
    const EXAMPLE: Example = Example { arguments: "{}", output: "null" };
    type Output = ();

    async fn run(self, cx: &Context) -> Result<(), Refusal> {
        match cx.store().cancel_backup() {
            true => Ok(()),
            false => Err(Refusal::not_found("no backup is being made")),
        }
    }
}

/// The backups there are.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct List {}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Backups {
    pub folder: String,
    /// Newest first.
    pub backups: Vec<Listed>,
    /// The folder is on the disk of the data, and is lost with it.
    pub same_disk: bool,
    /// As in the settings.
    pub schedule: String,
    /// When the next one is due; `None` if none is planned.
    pub next: Option<String>,
}

impl Operation for List {
    const NAME: &'static str = "backup.list";
    const SUMMARY: &'static str = "List the backups";
    const CLASS: Class = Class::Safe;
    const EXAMPLE: Example = Example {
        arguments: "{}",
        output: r#"{"folder": "/var/lib/coucou/backups", "backups": [{"name": "2026-11-23T18-40-00Z.coucou", "made": "2026-11-23T18:40:00.000Z", "kind": "manual", "bytes": 4718592, "encrypted": true, "version": "0.1.0", "tested": null}], "same_disk": true, "schedule": "03:10", "next": "2026-11-24T03:10:00.000Z"}"#,
    };
    type Output = Backups;

    async fn run(self, cx: &Context) -> Result<Backups, Refusal> {
        let plan = &cx.config().backup;
        let found = files::list(&plan.dir)?;
        Ok(Backups {
            folder: plan.dir.display().to_string(),
            backups: found.iter().map(Listed::from).collect(),
            same_disk: same_disk(&cx.config().data_dir, &plan.dir),
            schedule: plan.schedule.to_string(),
            next: schedule::next(plan.schedule, Now::read(), schedule::newest(&found))
                .map(Now::to_xmpp),
        })
    }
}

/// Unpacks a backup beside the data, verifies all of it, and throws that away.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Test {
    /// Its name, or the whole path of a file.
    pub file: String,
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub passphrase: Option<Secret>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Tested {
    pub name: String,
    pub made: String,
    pub version: String,
    pub accounts: u64,
    pub messages: u64,
}

impl Operation for Test {
    const NAME: &'static str = "backup.test";
    const SUMMARY: &'static str = "Prove that a backup can be restored";
    const CLASS: Class = Class::Reversible;
    const EXAMPLE: Example = Example {
        arguments: r#"{"file": "2026-11-23T18-40-00Z.coucou"}"#,
        output: r#"{"name": "2026-11-23T18-40-00Z.coucou", "made": "2026-11-23T18:40:00.000Z", "version": "0.1.0", "accounts": 214, "messages": 80000}"#,
    };
    type Output = Tested;

    fn target(&self) -> String {
        self.file.clone()
    }

    fn host(&self) -> Option<String> {
        None
    }

    fn to_wire(&self) -> Value {
        json!({ "file": self.file, "passphrase": self.passphrase.as_ref().map(Secret::reveal) })
    }

    async fn run(self, cx: &Context) -> Result<Tested, Refusal> {
        let file = file_of(cx, &self.file)?;
        let passphrase = passphrase(cx, self.passphrase)?;
        let random = crate::store::MessageId::floor(Now::read()).0;
        let scratch = cx.config().data_dir.join(format!("{TEST_SCRATCH}-{random}"));
        let tested = aside(move || {
            let tested = unpack(&file, passphrase.as_ref(), &scratch)?;
            let _ = std::fs::remove_dir_all(&scratch);
            // Not being able to write it down does not make the backup worse.
            let _ = std::fs::write(tested_mark(&file), Now::read().to_xmpp());
            Ok(tested)
        })
        .await?;
        let (accounts, messages) = tested.counts.unwrap_or_default();
        Ok(Tested {
            name: name_of(&tested.file),
            made: tested.made.to_xmpp(),
            version: tested.version,
            accounts,
            messages,
        })
    }
}

/// Deletes a backup.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Remove {
    /// Its name in the folder of backups.
    pub name: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Removed {
    pub names: Vec<String>,
    pub bytes: u64,
}

impl Operation for Remove {
    const NAME: &'static str = "backup.remove";
    const SUMMARY: &'static str = "Delete a backup";
    const CLASS: Class = Class::Destructive;
    const EXAMPLE: Example = Example {
        arguments: r#"{"name": "2026-11-23T18-40-00Z.coucou"}"#,
        output: r#"{"names": ["2026-11-23T18-40-00Z.coucou"], "bytes": 4718592}"#,
    };
    type Output = Removed;

    fn target(&self) -> String {
        self.name.clone()
    }

    fn host(&self) -> Option<String> {
        None
    }

    async fn run(self, cx: &Context) -> Result<Removed, Refusal> {
        if self.name.contains('/') || !self.name.ends_with(SUFFIX) {
            return Err(Refusal::usage(format!("{:?} is not the name of a backup", self.name)));
        }
        remove(&[file_of(cx, &self.name)?])
    }
}

fn remove(files: &[PathBuf]) -> Result<Removed, Refusal> {
    let mut removed = Removed { names: Vec::new(), bytes: 0 };
    for file in files {
        let bytes = std::fs::metadata(file).map_or(0, |found| found.len());
        std::fs::remove_file(file).map_err(|error| {
            Refusal::unavailable(format!("{} cannot be deleted: {error}", file.display()))
        })?;
        let _ = std::fs::remove_file(tested_mark(file));
        removed.names.push(name_of(file));
        removed.bytes += bytes;
    }
    Ok(removed)
}

/// Deletes the scheduled backups that the settings do not want kept.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Prune {
    /// Tell which, and delete none.
    pub dry_run: bool,
}

impl Operation for Prune {
    const NAME: &'static str = "backup.prune";
    const SUMMARY: &'static str = "Delete the scheduled backups that are not to be kept";
    const CLASS: Class = Class::Destructive;
    const EXAMPLE: Example = Example {
        arguments: r#"{"dry_run": true}"#,
        output: r#"{"names": ["2026-09-23T03-10-00Z.coucou"], "bytes": 4718592}"#,
    };
    type Output = Removed;

    async fn run(self, cx: &Context) -> Result<Removed, Refusal> {
        let plan = &cx.config().backup;
        let found = files::list(&plan.dir)?;
        let gone = schedule::superfluous(&found, plan.keep_daily, plan.keep_weekly);
        if self.dry_run {
            return Ok(Removed {
                names: gone.iter().map(|backup| name_of(&backup.file)).collect(),
                bytes: gone.iter().map(|backup| backup.bytes).sum(),
            });
        }
        remove(&gone.iter().map(|backup| backup.file.clone()).collect::<Vec<_>>())
    }
}
