//! Backups: everything that is promised, in one file, made while the server works; tested by
//! unpacking it; restored so that there is the old state or the new one and never half of both.
//!
//! * `container` is the file: head, manifest, parts; plain or encrypted.
//! * `make` copies the database step by step from one snapshot, then packs it with the rest.
//! * `unpack` verifies a file part by part, and its database as a whole.
//! * `swap` puts what was unpacked in the place of what is there, by renames that a crash cannot
//!   interrupt for good: a start goes on with them.

mod container;
mod make;
mod swap;
mod unpack;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::Mutex;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Store, StoreError};
use crate::config::value::Secret;
use crate::time::Now;

pub use make::Plan;
pub(super) use swap::go_on;
pub use swap::{Claim, Staged, commit};
pub use unpack::{Contents, inspect, list, unpack};

/// How the names of backups end.
pub const SUFFIX: &str = ".coucou";

/// Why a backup was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Somebody asked for it.
    Manual,
    /// Its time had come.
    Scheduled,
    /// Before another one was restored.
    BeforeRestore,
}

/// Why there is no backup, or no restoring it. Each is a sentence for a person.
#[derive(Clone, Debug, thiserror::Error)]
pub enum BackupError {
    #[error("it is not a backup of Coucou")]
    NotABackup,
    #[error(
        "it was made by a newer Coucou (format {found}; this one knows up to {known}): restore it with that one"
    )]
    NewerFormat { found: u32, known: u32 },
    #[error(
        "its database has version {found} and this Coucou knows up to {known}: restore it with the newer one that made it"
    )]
    NewerDatabase { found: i64, known: i64 },
    #[error("it is encrypted and needs its passphrase")]
    NeedsPassphrase,
    #[error("the passphrase is not the one it was made with")]
    WrongPassphrase,
    #[error("it is damaged: {0}")]
    Damaged(Arc<str>),
    #[error("{} has room for {}, and this takes {}", folder.display(), human(*free), human(*needed))]
    NoRoom { folder: PathBuf, needed: u64, free: u64 },
    #[error("another backup is being made")]
    Busy,
    #[error("it was cancelled")]
    Cancelled,
    #[error("cannot {doing}: {reason}")]
    Io { doing: Arc<str>, reason: Arc<str> },
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl BackupError {
    fn damaged(what: impl fmt::Display) -> BackupError {
        BackupError::Damaged(what.to_string().into())
    }

    fn io(doing: impl fmt::Display) -> impl FnOnce(io::Error) -> BackupError {
        let doing = doing.to_string();
        move |error| BackupError::Io { doing: doing.into(), reason: error.to_string().into() }
    }
}

impl From<rusqlite::Error> for BackupError {
    fn from(error: rusqlite::Error) -> BackupError {
        StoreError::from(error).into()
    }
}

/// As in `212 MiB`.
pub fn human(bytes: u64) -> String {
    let units = [(40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")];
    match units.iter().find(|(shift, _)| bytes >> shift >= 10) {
        Some((shift, unit)) => format!("{} {unit}", bytes >> shift),
        None => format!("{bytes} B"),
    }
}

/// A finished backup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Made {
    pub file: PathBuf,
    pub bytes: u64,
    pub accounts: u64,
    pub messages: u64,
    pub made: Now,
    pub encrypted: bool,
}

/// How far a backup has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Bytes copied and packed, of so many in all.
    pub done: u64,
    pub of: u64,
}

/// The backup being made; there is at most one.
#[derive(Debug, Default)]
pub(super) struct Jobs {
    current: Mutex<Option<Arc<Job>>>,
    ended: parking_lot::Condvar,
}

#[derive(Debug, Default)]
struct Job {
    done: AtomicU64,
    of: AtomicU64,
    cancelled: AtomicBool,
}

impl Job {
    fn advance(&self, bytes: u64) -> Result<(), BackupError> {
        self.done.fetch_add(bytes, Ordering::Relaxed);
        if self.cancelled.load(Ordering::Relaxed) { Err(BackupError::Cancelled) } else { Ok(()) }
    }
}

impl Jobs {
    /// Cancels what is being made and waits for its end.
    pub(super) fn end(&self) {
        let mut current = self.current.lock();
        while let Some(job) = &*current {
            job.cancelled.store(true, Ordering::Relaxed);
            self.ended.wait(&mut current);
        }
    }
}

impl Store {
    /// Makes a backup of all that has been acknowledged by now.
    ///
    /// # Errors
    /// Why there is none; nothing is left of it then.
    pub async fn back_up(&self, plan: Plan) -> Result<Made, BackupError> {
        let job = Arc::new(Job::default());
        {
            let mut current = self.backups.current.lock();
            if current.is_some() {
                return Err(BackupError::Busy);
            }
            *current = Some(Arc::clone(&job));
        }
        let jobs = Arc::clone(&self.backups);
        let data_dir = self.dir().to_owned();
        // What somebody was told is stored has to be in the snapshot.
        let settled = self.settled().await;
        let worked = tokio::task::spawn_blocking(move || {
            let made = settled
                .map_err(BackupError::from)
                .and_then(|()| make::make(&data_dir, &plan, &job));
            *jobs.current.lock() = None;
            jobs.ended.notify_all();
            made
        });
        worked.await.unwrap_or_else(|error| Err(StoreError::bug(error).into()))
    }

    /// How far the backup has come that is being made.
    pub fn backup_progress(&self) -> Option<Progress> {
        let current = self.backups.current.lock();
        let job = current.as_ref()?;
        Some(Progress {
            done: job.done.load(Ordering::Relaxed),
            of: job.of.load(Ordering::Relaxed),
        })
    }

    /// Cancels the backup that is being made; tells whether there was one.
    pub fn cancel_backup(&self) -> bool {
        let current = self.backups.current.lock();
        current.iter().for_each(|job| job.cancelled.store(true, Ordering::Relaxed));
        current.is_some()
    }

    /// Accounts, messages, and messages stored after `since`.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub async fn stock(&self, since: Now) -> Result<(u64, u64, u64), StoreError> {
        let floor = super::MessageId::floor(since);
        self.read(move |reader| {
            let (accounts, messages) = counts(&reader.conn)?;
            let newer = "SELECT count(*) FROM messages WHERE id >= ?1";
            Ok((accounts, messages, reader.conn.query_row(newer, [floor.0], |row| row.get(0))?))
        })
        .await
    }
}

/// What [`Store::stock`] tells, of a data directory that nobody has open; `None` if its database
/// cannot be read.
pub fn stock_of(data_dir: &Path, since: Now) -> Option<(u64, u64, u64)> {
    let conn = super::db::reader(data_dir).ok()?;
    let (accounts, messages) = counts(&conn).ok()?;
    let floor = super::MessageId::floor(since);
    let newer = "SELECT count(*) FROM messages WHERE id >= ?1";
    Some((accounts, messages, conn.query_row(newer, [floor.0], |row| row.get(0)).ok()?))
}

fn counts(conn: &rusqlite::Connection) -> Result<(u64, u64), StoreError> {
    let count =
        |what: &str| conn.query_row(&format!("SELECT count(*) FROM {what}"), [], |row| row.get(0));
    Ok((count("accounts")?, count("messages")?))
}

/// Whether two folders are on one file system, so that one broken disk takes both.
pub fn same_disk(one: &Path, other: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    // A folder to be made is where its parent is.
    let device = |path: &Path| {
        path.ancestors().find_map(|path| std::fs::metadata(path).ok()).map(|found| found.dev())
    };
    device(one) == device(other)
}

/// Makes sure that `folder` has room.
fn room(folder: &Path, needed: u64) -> Result<(), BackupError> {
    let found = rustix::fs::statvfs(folder).map_err(|error| {
        BackupError::io(format!("see how much room {} has", folder.display()))(error.into())
    })?;
    let free = found.f_bavail.saturating_mul(found.f_frsize);
    if free < needed {
        return Err(BackupError::NoRoom { folder: folder.to_owned(), needed, free });
    }
    Ok(())
}

/// The passphrase in a file: its first line.
///
/// # Errors
/// If the file cannot be read or its first line is empty.
pub fn passphrase_in(file: &Path) -> Result<Secret, BackupError> {
    let doing = || format!("read the passphrase in {}", file.display());
    let text = std::fs::read_to_string(file).map_err(BackupError::io(doing()))?;
    let text = zeroize::Zeroizing::new(text);
    match text.lines().next().map(str::trim_end).filter(|line| !line.is_empty()) {
        Some(line) => Ok(Secret::new(line)),
        None => Err(BackupError::io(doing())(io::Error::other("its first line is empty"))),
    }
}

#[cfg(test)]
mod tests;
