//! What the config file has said: every text that came into force, with who brought it there, when
//! and why, in `config-history/` of the data directory; and the change that still waits for its
//! confirmation.
//!
//! A state is one file: a line of JSON and the whole text, compressed. Numbers only rise.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use toml::de::DeTable;

use super::diff::Change;
use super::{FILE_BYTES_MAX, read};
use crate::time::Now;

/// States kept; the oldest goes first.
const STATES_MAX: usize = 200;
const FOLDER: &str = "config-history";
const PENDING: &str = "pending.json";
const LOCK: &str = "lock";

/// A text that was in force once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct State {
    pub id: u64,
    /// XEP-0082 time.
    pub at: String,
    /// Who brought it into force; empty if that is not known.
    pub who: String,
    /// The operation, or how it came to be noticed.
    pub what: String,
    /// The reason given.
    pub why: String,
    /// SHA-256 of the text, in hex.
    pub hash: String,
    /// What it changed, secrets masked.
    pub changes: Vec<Change>,
}

/// Who makes a change, how and why.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cause<'a> {
    pub who: &'a str,
    pub what: &'a str,
    pub why: &'a str,
}

/// A change that is undone unless it is confirmed in time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pending {
    /// The state that is in force.
    pub id: u64,
    /// Its text.
    pub hash: String,
    /// The state to return to.
    pub back: u64,
    pub since: i64,
    pub until: i64,
    pub who: String,
}

/// The folder.
#[derive(Clone, Debug)]
pub struct History {
    dir: PathBuf,
}

/// Held by whoever edits; there is one at a time, also among several processes.
#[derive(Debug)]
pub struct Lock {
    /// Holds the lock while it is open.
    _file: File,
}

/// What identifies a text.
pub fn hash(text: &str) -> String {
    Sha256::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

impl History {
    pub fn new(data_dir: &Path) -> History {
        History { dir: data_dir.join(FOLDER) }
    }

    /// Keeps others from editing.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] if somebody edits already; else if the folder cannot be used.
    pub fn lock(&self) -> io::Result<Lock> {
        self.make()?;
        let mut options = OpenOptions::new();
        let file = options.create(true).truncate(false).write(true).mode(0o600);
        let file = file.open(self.dir.join(LOCK))?;
        flock(&file, FlockOperation::NonBlockingLockExclusive)?;
        Ok(Lock { _file: file })
    }

    /// The states, newest first.
    ///
    /// # Errors
    /// If the folder cannot be read; states that cannot are left out.
    pub fn list(&self, max: usize) -> io::Result<Vec<State>> {
        let ids = self.ids()?;
        Ok(ids
            .iter()
            .rev()
            .filter_map(|id| self.read(*id).ok())
            .map(|(s, _)| s)
            .take(max)
            .collect())
    }

    /// The newest state with its text.
    ///
    /// # Errors
    /// If the folder cannot be read.
    pub fn newest(&self) -> io::Result<Option<(State, String)>> {
        Ok(self.ids()?.iter().rev().find_map(|id| self.read(*id).ok()))
    }

    /// A state with its text.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotFound`] if there is none of that number, else if it cannot be read.
    pub fn read(&self, id: u64) -> io::Result<(State, String)> {
        let packed = fs::read(self.path(id))?;
        let limit = FILE_BYTES_MAX as usize * 2;
        let text = zstd::bulk::decompress(&packed, limit)?;
        let text = String::from_utf8(text).map_err(|error| damaged(id, error))?;
        let (head, text) = text.split_once('\n').ok_or_else(|| damaged(id, "no head"))?;
        let state: State = serde_json::from_str(head).map_err(|error| damaged(id, error))?;
        if state.hash != hash(text) {
            return Err(damaged(id, "not the text that was written"));
        }
        Ok((state, text.to_owned()))
    }

    /// The text of that hash, if it is still kept.
    pub fn by_hash(&self, hash: &str) -> Option<String> {
        let states = self.ids().ok()?;
        let mut states = states.iter().rev().filter_map(|id| self.read(*id).ok());
        states.find(|(state, _)| state.hash == hash).map(|(_, text)| text)
    }

    /// Notes a text that is in force, unless the newest state has it already. Returns its number.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn note(
        &self,
        now: Now,
        cause: Cause<'_>,
        text: &str,
        changes: &[Change],
    ) -> io::Result<u64> {
        let newest = self.newest()?;
        if let Some((newest, _)) = newest.filter(|(newest, _)| newest.hash == hash(text)) {
            return Ok(newest.id);
        }
        let id = self.ids()?.last().map_or(1, |last| last + 1);
        let state = State {
            id,
            at: now.to_xmpp(),
            who: cause.who.to_owned(),
            what: cause.what.to_owned(),
            why: cause.why.to_owned(),
            hash: hash(text),
            changes: changes.to_vec(),
        };
        let packed = zstd::bulk::compress(
            format!("{}\n{text}", serde_json::to_string(&state)?).as_bytes(),
            zstd::DEFAULT_COMPRESSION_LEVEL,
        )?;
        self.make()?;
        replace_file(&self.path(id), &packed, Keep::Private)?;
        let ids = self.ids()?;
        for old in &ids[..ids.len().saturating_sub(STATES_MAX)] {
            fs::remove_file(self.path(*old))?;
        }
        Ok(id)
    }

    /// Takes back a note of a state that did not come into force.
    pub fn forget(&self, id: u64) {
        // A state too many does no harm.
        let _ = fs::remove_file(self.path(id));
    }

    /// The change that waits for its confirmation.
    pub fn pending(&self) -> Option<Pending> {
        serde_json::from_slice(&fs::read(self.dir.join(PENDING)).ok()?).ok()
    }

    /// Sets or removes it.
    ///
    /// # Errors
    /// If that cannot be written.
    pub fn set_pending(&self, pending: Option<&Pending>) -> io::Result<()> {
        let file = self.dir.join(PENDING);
        match pending {
            Some(pending) => {
                self.make()?;
                replace_file(&file, &serde_json::to_vec(pending)?, Keep::Private)
            }
            None => match fs::remove_file(&file) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
                _ => sync_folder(&self.dir),
            },
        }
    }

    /// Brings the old text back if a change was not confirmed in time, or, whatever the time, if
    /// `anyway`: for a start, when nobody can be asked. Tells what was done.
    ///
    /// # Errors
    /// If the config file cannot be read or written.
    pub fn settle(&self, file: &Path, now: Now, anyway: bool) -> io::Result<Option<String>> {
        let Some(pending) = self.pending() else { return Ok(None) };
        if now.0 < pending.until && !anyway {
            return Ok(None);
        }
        if hash(&read(file)?) != pending.hash {
            // Somebody has edited the file by hand since: it is theirs now.
            self.set_pending(None)?;
            return Ok(None);
        }
        let (_, text) = self.read(pending.back)?;
        replace(file, &text)?;
        let what = "not confirmed in time";
        self.note(now, Cause { what, ..Cause::default() }, &text, &[])?;
        self.set_pending(None)?;
        Ok(Some(format!(
            "the change of the settings by {} was not confirmed and is undone: state {} is back",
            pending.who, pending.back
        )))
    }

    fn ids(&self) -> io::Result<Vec<u64>> {
        let entries = match fs::read_dir(&self.dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries?,
        };
        let name = |entry: io::Result<fs::DirEntry>| entry.ok()?.file_name().into_string().ok();
        let mut ids: Vec<u64> =
            entries.filter_map(|entry| name(entry)?.strip_suffix(".zst")?.parse().ok()).collect();
        ids.sort_unstable();
        Ok(ids)
    }

    fn path(&self, id: u64) -> PathBuf {
        self.dir.join(format!("{id:08}.zst"))
    }

    fn make(&self) -> io::Result<()> {
        if self.dir.exists() {
            return Ok(());
        }
        DirBuilder::new().recursive(true).mode(0o700).create(&self.dir)
    }
}

fn damaged(id: u64, why: impl std::fmt::Display) -> io::Error {
    let told = format!("state {id} of the history is damaged: {why}");
    io::Error::new(io::ErrorKind::InvalidData, told)
}

/// Writes `text` in the place of the config file `file`: whole or not at all, with the mode and
/// owner that it has. A link is followed.
///
/// # Errors
/// If it cannot be written; it is as it was then.
pub fn replace(file: &Path, text: &str) -> io::Result<()> {
    let file = fs::canonicalize(file)?;
    let old = fs::metadata(&file)?;
    replace_file(&file, text.as_bytes(), Keep::As(&old))
}

enum Keep<'a> {
    /// For the owner only.
    Private,
    /// Mode and owner of another file.
    As(&'a fs::Metadata),
}

fn replace_file(file: &Path, content: &[u8], keep: Keep<'_>) -> io::Result<()> {
    let dir = file.parent().unwrap_or(Path::new("/"));
    let mut name = std::ffi::OsString::from(".");
    name.push(file.file_name().unwrap_or_default());
    name.push(".new");
    let temp = dir.join(name);
    let write = || {
        // One that a crash left behind goes first.
        let _ = fs::remove_file(&temp);
        let mut new = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temp)?;
        if let Keep::As(old) = keep {
            let made = new.metadata()?;
            if (made.uid(), made.gid()) != (old.uid(), old.gid()) {
                std::os::unix::fs::fchown(&new, Some(old.uid()), Some(old.gid()))?;
            }
            new.set_permissions(fs::Permissions::from_mode(old.permissions().mode() & 0o7777))?;
        }
        new.write_all(content)?;
        new.sync_all()?;
        fs::rename(&temp, file)?;
        sync_folder(dir)
    };
    let written = write();
    if written.is_err() {
        let _ = fs::remove_file(&temp);
    }
    written
}

fn sync_folder(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

/// Where the data directory and the admin socket are, as far as a file tells that need not be in
/// order otherwise.
pub fn places(text: &str, file: &Path) -> (PathBuf, PathBuf) {
    let (tree, _) = DeTable::parse_recoverable(text);
    let base = std::path::absolute(file).ok();
    let base = base.as_deref().and_then(Path::parent).unwrap_or(Path::new("/"));
    let said = |key: &str, default: &str| {
        let value = tree.get_ref().get(key).and_then(|value| value.get_ref().as_str());
        value.unwrap_or(default).to_owned()
    };
    let data_dir: PathBuf = base.join(said("data_dir", "/var/lib/coucou")).components().collect();
    let socket = data_dir.join(said("admin_socket", "admin.sock"));
    (data_dir, socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: Now = Now(1_795_608_000_000_000);

    fn cause(what: &str) -> Cause<'_> {
        Cause { who: "uid=1", what, why: "" }
    }

    #[test]
    fn states_are_kept_in_order_and_the_oldest_go() {
        let dir = tempfile::tempdir().unwrap();
        let history = History::new(dir.path());
        assert_eq!(history.list(9).unwrap(), []);
        assert_eq!(history.note(NOON, cause("first"), "a = 1\n", &[]).unwrap(), 1);
        assert_eq!(history.note(NOON, cause("same"), "a = 1\n", &[]).unwrap(), 1);
        assert_eq!(history.note(NOON, cause("second"), "a = 2\nb\n", &[]).unwrap(), 2);
        let told: Vec<_> = history.list(9).unwrap().into_iter().map(|s| (s.id, s.what)).collect();
        assert_eq!(told, [(2, "second".to_owned()), (1, "first".to_owned())]);
        assert_eq!(history.read(2).unwrap().1, "a = 2\nb\n");
        assert_eq!(history.by_hash(&hash("a = 1\n")).as_deref(), Some("a = 1\n"));
        for n in 0..STATES_MAX {
            history.note(NOON, cause("more"), &format!("n = {n}\n"), &[]).unwrap();
        }
        assert_eq!(history.ids().unwrap().len(), STATES_MAX);
        assert_eq!(history.read(2).unwrap_err().kind(), io::ErrorKind::NotFound);
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&history.dir), mode(&history.path(100))), (0o700, 0o600));
        history.forget(202);
        assert_eq!(history.newest().unwrap().unwrap().0.id, 201);
    }

    #[test]
    fn a_damaged_state_is_told_and_passed_over() {
        let dir = tempfile::tempdir().unwrap();
        let history = History::new(dir.path());
        history.note(NOON, cause("good"), "a = 1\n", &[]).unwrap();
        let id = history.note(NOON, cause("bad"), "a = 2\n", &[]).unwrap();
        fs::write(history.path(id), b"nonsense").unwrap();
        assert!(history.read(id).is_err());
        assert_eq!(history.newest().unwrap().unwrap().0.what, "good");
        // Its number is not used twice.
        assert_eq!(history.note(NOON, cause("next"), "a = 3\n", &[]).unwrap(), id + 1);
    }

    #[test]
    fn one_edits_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let history = History::new(dir.path());
        let lock = history.lock().unwrap();
        assert_eq!(history.lock().unwrap_err().kind(), io::ErrorKind::WouldBlock);
        drop(lock);
        history.lock().unwrap();
    }

    #[test]
    fn a_file_is_replaced_with_its_mode_and_through_a_link() {
        let dir = tempfile::tempdir().unwrap();
        let (file, link) = (dir.path().join("real.toml"), dir.path().join("link.toml"));
        fs::write(&file, "old").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        replace(&link, "new").unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), "new");
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o640);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
    }

    #[test]
    fn a_change_without_confirmation_goes_back_and_one_edited_since_stays() {
        let dir = tempfile::tempdir().unwrap();
        let (history, file) = (History::new(dir.path()), dir.path().join("coucou.toml"));
        let back = history.note(NOON, cause("before"), "a = 1\n", &[]).unwrap();
        let id = history.note(NOON, cause("after"), "a = 2\n", &[]).unwrap();
        fs::write(&file, "a = 2\n").unwrap();
        let pending = Pending {
            id,
            hash: hash("a = 2\n"),
            back,
            since: NOON.0,
            until: NOON.0 + 90_000_000,
            who: "uid=1".to_owned(),
        };
        history.set_pending(Some(&pending)).unwrap();
        assert_eq!(history.pending(), Some(pending.clone()));
        assert_eq!(history.settle(&file, NOON, false).unwrap(), None);
        assert_eq!(fs::read_to_string(&file).unwrap(), "a = 2\n");
        let late = NOON.plus(std::time::Duration::from_secs(90));
        let told = history.settle(&file, late, false).unwrap().unwrap();
        assert!(told.contains("state 1 is back"), "{told}");
        assert_eq!(fs::read_to_string(&file).unwrap(), "a = 1\n");
        assert_eq!(history.pending(), None);
        history.set_pending(Some(&pending)).unwrap();
        fs::write(&file, "a = 3\n").unwrap();
        assert_eq!(history.settle(&file, late, true).unwrap(), None);
        assert_eq!(fs::read_to_string(&file).unwrap(), "a = 3\n");
    }

    #[test]
    fn places_are_found_in_a_file_with_faults() {
        let text = "data_dir = \"data\"\nlisten = 5\n[hosts\n";
        let (data, socket) = places(text, Path::new("/etc/coucou/coucou.toml"));
        assert_eq!(data, Path::new("/etc/coucou/data"));
        assert_eq!(socket, Path::new("/etc/coucou/data/admin.sock"));
        assert_eq!(places("", Path::new("/c")).0, Path::new("/var/lib/coucou"));
    }
}
