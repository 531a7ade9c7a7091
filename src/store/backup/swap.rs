//! Putting an unpacked backup in the place of what is there.
//!
//! What is to be done is written down first; then everything happens by renames within the data
//! directory. Whoever opens the directory next goes on where a crash interrupted them, so there is
//! no telling apart a restore that was interrupted and one that was not. Before that note is on
//! disk, nothing has happened. What was there is moved aside and never deleted.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::make::{CONFIG, DATABASE, SCRATCH};
use super::{BackupError, Contents, unpack};
use crate::config::value::Secret;
use crate::config::{edit, history};
use crate::store::StoreError;
use crate::store::db::DataDir;
use crate::time::Now;

const STAGING: &str = "restore-staging";
const NOTE: &str = "restore.json";

/// What is to be done.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Note {
    /// The folder for what was there.
    aside: String,
    /// The config file that is replaced, too.
    config: Option<PathBuf>,
}

/// A backup, unpacked and verified beside the data that it is to replace.
#[derive(Debug)]
pub struct Staged {
    data_dir: PathBuf,
    config: Option<PathBuf>,
    pub contents: Contents,
}

/// A data directory that no server has, for restoring into it.
pub struct Claim(DataDir);

impl Claim {
    /// Takes the directory, which is made if it is missing. Its database may be damaged or of
    /// another version: nobody looks at it.
    ///
    /// # Errors
    /// If a server has it, or it cannot be used.
    pub fn take(data_dir: &Path) -> Result<Claim, StoreError> {
        let claim = Claim(DataDir::claim(data_dir)?);
        go_on(data_dir)?;
        Ok(claim)
    }

    pub fn data_dir(&self) -> &Path {
        self.0.path()
    }
}

impl Staged {
    /// Unpacks `file` beside the data in `data_dir` and verifies it. If `config` is named, the
    /// backup's config file takes the place of that one.
    ///
    /// # Errors
    /// What is wrong with the backup; nothing has changed then.
    pub fn unpack(
        file: &Path,
        passphrase: Option<&Secret>,
        data_dir: &Path,
        config: Option<&Path>,
    ) -> Result<Staged, BackupError> {
        let staging = data_dir.join(STAGING);
        let _ = fs::remove_dir_all(&staging);
        let contents = unpack(file, passphrase, &staging)?;
        let staged =
            Staged { data_dir: data_dir.to_owned(), config: config.map(Path::to_owned), contents };
        staged.fit_config().inspect_err(|_| {
            let _ = fs::remove_dir_all(&staging);
        })?;
        Ok(staged)
    }

    /// Makes the backup's config say this data directory, which may have been elsewhere.
    fn fit_config(&self) -> Result<(), BackupError> {
        let Some(target) = &self.config else { return Ok(()) };
        let staged = self.data_dir.join(STAGING).join(CONFIG);
        let doing = || BackupError::io("read the backup's config file");
        let text = fs::read_to_string(&staged).map_err(doing())?;
        let (says, _) = history::places(&text, target);
        let same = fs::canonicalize(&says).ok() == fs::canonicalize(&self.data_dir).ok();
        let text = if same {
            text
        } else {
            let beside = target.parent() == Some(&*self.data_dir);
            let here = if beside { ".".to_owned() } else { self.data_dir.display().to_string() };
            edit::set(&text, "data_dir", &toml::Value::String(here))
                .map_err(|error| BackupError::damaged(format!("its config file: {error}")))?
        };
        crate::config::parse(&text, target).map_err(|error| {
            BackupError::damaged(format!("its config file is not in order here: {error}"))
        })?;
        fs::write(&staged, text).map_err(doing())
    }

    /// [`commit`] for the process that has just closed the data.
    ///
    /// # Errors
    /// If somebody else has taken the data directory meanwhile, or a file cannot be moved.
    pub fn take_over(&self, now: Now) -> Result<PathBuf, BackupError> {
        let _claim = DataDir::claim(&self.data_dir)?;
        commit(self, now)
    }

    /// Gives it up; nothing has changed.
    pub fn discard(self) {
        let _ = fs::remove_dir_all(self.data_dir.join(STAGING));
    }
}

/// Puts what is staged in the place of what is there, whose folder is returned. Nobody may have the
/// data open.
///
/// # Errors
/// If a file cannot be moved; the next start of the server tries again.
pub fn commit(staged: &Staged, now: Now) -> Result<PathBuf, BackupError> {
    if !staged.data_dir.join(STAGING).join(DATABASE).exists() {
        let gone = io::Error::new(io::ErrorKind::NotFound, "what was unpacked is gone");
        return Err(BackupError::io("begin the restore")(gone));
    }
    let moment = now.to_xmpp();
    let moment = moment.get(..19).unwrap_or(&moment).replace(':', "-");
    let free = (0..).map(|number| match number {
        0 => format!("before-restore-{moment}Z"),
        number => format!("before-restore-{moment}Z-{number}"),
    });
    let aside = free.into_iter().find(|name| !staged.data_dir.join(name).exists());
    let note = Note { aside: aside.unwrap_or_default(), config: staged.config.clone() };
    let bytes = serde_json::to_vec(&note).map_err(BackupError::damaged)?;
    let doing = || BackupError::io("begin the restore");
    let path = staged.data_dir.join(NOTE);
    let temp = staged.data_dir.join(format!(".{NOTE}.new"));
    let write = || {
        let mut options = OpenOptions::new();
        let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&temp)?;
        file.write_all(&bytes)?;
        file.sync_all()?;
        fs::rename(&temp, &path)?;
        sync(&staged.data_dir)
    };
    write().map_err(doing())?;
    go_on(&staged.data_dir)?;
    Ok(staged.data_dir.join(note.aside))
}

/// Finishes a restore that was begun, and clears away what was interrupted before it began. Whoever
/// opens a data directory does this first.
pub(in crate::store) fn go_on(data_dir: &Path) -> Result<(), StoreError> {
    match finish(data_dir, usize::MAX) {
        Ok(()) => {
            let _ = fs::remove_dir_all(data_dir.join(STAGING));
            let _ = fs::remove_dir_all(data_dir.join(SCRATCH));
            Ok(())
        }
        Err(error) => Err(StoreError::io("finish the restore of a backup", error)),
    }
}

/// Does what the note says, as far as it is not done. Stops after so many steps, for tests.
pub(super) fn finish(data_dir: &Path, mut steps: usize) -> io::Result<()> {
    let note_path = data_dir.join(NOTE);
    let note: Note = match fs::read(&note_path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        bytes => serde_json::from_slice(&bytes?)?,
    };
    let (staging, aside) = (data_dir.join(STAGING), data_dir.join(&note.aside));
    DirBuilder::new().recursive(true).mode(0o700).create(&aside)?;
    let mut rename = |from: &Path, to: &Path| -> io::Result<()> {
        steps = steps.checked_sub(1).ok_or(io::ErrorKind::Interrupted)?;
        fs::rename(from, to)
    };
    // The old database's log, and caches of its time, before the database: as long as the new one
    // waits, what is here is the old one's.
    if staging.join(DATABASE).exists() {
        for name in ["coucou.db-wal", "coucou.db-shm", "hot"] {
            let here = data_dir.join(name);
            if here.exists() {
                rename(&here, &aside.join(name))?;
            }
        }
    }
    if let Some(config) = &note.config
        && staging.join(CONFIG).exists()
    {
        replace_config(&staging.join(CONFIG), config, &aside)?;
        rename(&staging.join(CONFIG), &staging.join("config.done"))?;
    }
    // A history that is here tells of this file; only where there is none the other's is of use.
    let histories = (!data_dir.join("config-history").exists()).then_some("config-history");
    for name in ["secret", "certs"].into_iter().chain(histories).chain([DATABASE]) {
        let (new, here) = (staging.join(name), data_dir.join(name));
        if !new.exists() {
            continue;
        }
        if here.exists() {
            rename(&here, &aside.join(name))?;
        }
        rename(&new, &here)?;
    }
    sync(&aside)?;
    sync(data_dir)?;
    fs::remove_file(&note_path)?;
    sync(data_dir)
}

fn replace_config(new: &Path, config: &Path, aside: &Path) -> io::Result<()> {
    let text = fs::read_to_string(new)?;
    if config.exists() {
        let saved = aside.join("coucou.toml");
        if !saved.exists() {
            fs::copy(config, &saved)?;
        }
        return history::replace(config, &text);
    }
    if let Some(folder) = config.parent() {
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(config)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}
