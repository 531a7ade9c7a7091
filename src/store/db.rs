//! The data directory and connections to the database in it.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use super::StoreError;

const DATABASE: &str = "coucou.db";
const LOCK: &str = "coucou.lock";

/// Page cache of the writer, KiB. It holds the inner pages of the trees; leaves come and go.
const WRITER_CACHE_KIB: i64 = 2_048;
/// Page cache of each reader, KiB. The kernel's cache stands behind it.
const READER_CACHE_KIB: i64 = 1_024;
/// What the log's file may keep after a checkpoint; a burst beyond is given back to the disk.
const LOG_BYTES_KEPT: i64 = 32 << 20;
/// Nobody but us writes, so waiting for locks is waiting for ourselves.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// A data directory that this process owns: a second opener is refused until it is dropped.
pub(super) struct DataDir {
    path: PathBuf,
    /// Holds the lock while it is open.
    _lock: File,
}

impl DataDir {
    /// Creates the directory where needed, keeps others out of it, and locks it.
    pub(super) fn claim(path: &Path) -> Result<DataDir, StoreError> {
        let doing = |what: &str| format!("{what} the data directory {}", path.display());
        if !path.exists() {
            DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(path)
                .map_err(|e| StoreError::io(doing("create"), e))?;
        }
        let mode =
            fs::metadata(path).map_err(|e| StoreError::io(doing("use"), e))?.permissions().mode();
        if mode & 0o077 != 0 {
            fs::set_permissions(path, fs::Permissions::from_mode(mode & 0o7700))
                .map_err(|e| StoreError::io(doing("close to others"), e))?;
        }
        let mut lock =
            private_file(&path.join(LOCK)).map_err(|e| StoreError::io(doing("lock"), e))?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => {
                let mut pid = String::new();
                // Who holds it is for the message only.
                let _ = lock.read_to_string(&mut pid);
                return Err(StoreError::InUse { dir: path.into(), pid: pid.trim().into() });
            }
            Err(e) => return Err(StoreError::io(doing("lock"), e)),
        }
        let pid = std::process::id();
        lock.set_len(0)
            .and_then(|()| lock.rewind())
            .and_then(|()| writeln!(lock, "{pid}"))
            .map_err(|e| StoreError::io(doing("lock"), e))?;
        Ok(DataDir { path: path.into(), _lock: lock })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The connection that writes. One at a time.
    pub(super) fn writer(&self) -> Result<Connection, StoreError> {
        let path = self.path.join(DATABASE);
        // SQLite gives its other files the mode of this one.
        private_file(&path).map_err(|e| StoreError::io("create the database", e))?;
        let conn = Connection::open_with_flags(
            &path,
            OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
        )?;
        conn.busy_timeout(BUSY_TIMEOUT)?;
        conn.pragma_update(None, "journal_mode", "WAL")?;
        conn.pragma_update(None, "synchronous", "FULL")?;
        // Checkpoints are the writer's to time.
        conn.pragma_update(None, "wal_autocheckpoint", 0)?;
        conn.pragma_update(None, "journal_size_limit", LOG_BYTES_KEPT)?;
        conn.pragma_update(None, "cache_size", -WRITER_CACHE_KIB)?;
        conn.pragma_update(None, "temp_store", "MEMORY")?;
        conn.set_prepared_statement_cache_capacity(96);
        Ok(conn)
    }
}

/// A connection that only reads the database in `dir`, which this process owns.
pub(super) fn reader(dir: &Path) -> Result<Connection, StoreError> {
    let conn = Connection::open_with_flags(
        dir.join(DATABASE),
        OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )?;
    conn.busy_timeout(BUSY_TIMEOUT)?;
    conn.pragma_update(None, "cache_size", -READER_CACHE_KIB)?;
    conn.pragma_update(None, "temp_store", "MEMORY")?;
    conn.set_prepared_statement_cache_capacity(48);
    Ok(conn)
}

fn private_file(path: &Path) -> std::io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn nobody_else_may_look_into_the_directory() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("data");
        let dir = DataDir::claim(&path).unwrap();
        let conn = dir.writer().unwrap();
        conn.execute_batch("CREATE TABLE t (x); INSERT INTO t VALUES (1)").unwrap();
        assert_eq!(mode(&path), 0o700);
        for entry in fs::read_dir(&path).unwrap() {
            let path = entry.unwrap().path();
            assert_eq!(mode(&path), 0o600, "{}", path.display());
        }
    }

    #[test]
    fn a_directory_that_was_open_to_others_is_closed() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("data");
        fs::create_dir(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        let _dir = DataDir::claim(&path).unwrap();
        assert_eq!(mode(&path), 0o700);
    }

    #[test]
    fn a_second_owner_is_told_who_has_it() {
        let parent = tempfile::tempdir().unwrap();
        let first = DataDir::claim(parent.path()).unwrap();
        let error = DataDir::claim(parent.path()).err().unwrap().to_string();
        assert!(error.contains(&format!("in use by process {}", std::process::id())), "{error}");
        drop(first);
        DataDir::claim(parent.path()).unwrap();
    }
}
