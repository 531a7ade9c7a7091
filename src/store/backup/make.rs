//! Making a backup: a snapshot of the database, the small files, one file of all that.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, BufWriter, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

use rusqlite::Connection;
use rusqlite::backup::{Backup, StepResult};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::container::{Head, Lock, Sealer, hex};
use super::{BackupError, Job, Kind, Made, SUFFIX, counts, room};
use crate::config::value::Secret;
use crate::store::{db, migrate};
use crate::time::Now;

/// Where the snapshot lies while it is packed.
pub(super) const SCRATCH: &str = "backup-scratch";
/// Pages of the database copied in one step.
const STEP_PAGES: i32 = 256;
/// A file besides the database; larger ones are not ours.
const SMALL_MAX: u64 = 16 << 20;
const ZSTD_LEVEL: i32 = 3;
const CHUNK: usize = 256 << 10;

/// What backup to make.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The folder it goes into; made if it is missing.
    pub folder: PathBuf,
    pub kind: Kind,
    pub now: Now,
    /// Encrypt it.
    pub passphrase: Option<Secret>,
    /// The config file.
    pub config: PathBuf,
}

/// What is in a backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Manifest {
    /// SHA-256 of the file's head.
    pub head: String,
    pub accounts: u64,
    pub messages: u64,
    pub parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Part {
    /// A relative path: `coucou.db`, `certs/example.org.pem`.
    pub name: String,
    pub bytes: u64,
    pub sha256: String,
}

/// The name of the part that is the config file.
pub(super) const CONFIG: &str = "config/coucou.toml";
pub(super) const DATABASE: &str = "coucou.db";

pub(super) fn make(data_dir: &Path, plan: &Plan, job: &Job) -> Result<Made, BackupError> {
    let folder = &plan.folder;
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .map_err(BackupError::io(format!("make the folder {}", folder.display())))?;
    let scratch = data_dir.join(SCRATCH);
    let made = into(data_dir, &scratch, plan, job);
    // A crash may have left it behind, too: the next start or backup removes it.
    let _ = fs::remove_dir_all(&scratch);
    made
}

fn into(data_dir: &Path, scratch: &Path, plan: &Plan, job: &Job) -> Result<Made, BackupError> {
    // What is in the log is not in the database yet.
    let files = [DATABASE.to_owned(), format!("{DATABASE}-wal")];
    let size: u64 =
        files.iter().map(|name| fs::metadata(data_dir.join(name)).map_or(0, |f| f.len())).sum();
    // A snapshot as large as the database, and a file of at most about that, often half of it.
    let same = super::same_disk(data_dir, &plan.folder);
    room(data_dir, if same { size + size / 2 } else { size } + (4 << 20))?;
    room(&plan.folder, size / 2 + (4 << 20))?;
    job.of.store(size * 3, Ordering::Relaxed);
    let _ = fs::remove_dir_all(scratch);
    DirBuilder::new().mode(0o700).create(scratch).map_err(BackupError::io("make a snapshot"))?;
    let snapshot = scratch.join(DATABASE);
    let (accounts, messages) = copy_database(data_dir, &snapshot, job)?;
    let mut parts = vec![Source::of_file(DATABASE, &snapshot, job)?];
    parts.extend(small_files(data_dir, &plan.config)?);

    let (name, temp) = free_name(&plan.folder, plan.now);
    let result = write(&temp, plan, &parts, accounts, messages, job).and_then(|()| {
        fs::rename(&temp, &name)
            .and_then(|()| File::open(&plan.folder)?.sync_all())
            .map_err(BackupError::io("finish the backup"))
    });
    if let Err(error) = result {
        let _ = fs::remove_file(&temp);
        return Err(error);
    }
    let bytes = fs::metadata(&name).map_err(BackupError::io("look at the backup"))?.len();
    let encrypted = plan.passphrase.is_some();
    Ok(Made { file: name, bytes, accounts, messages, made: plan.now, encrypted })
}

/// Copies the database as it is at this moment; the writer goes on meanwhile.
fn copy_database(data_dir: &Path, to: &Path, job: &Job) -> Result<(u64, u64), BackupError> {
    let from = db::reader(data_dir)?;
    // One snapshot for the whole copy: otherwise each commit would begin it anew.
    from.execute_batch("BEGIN")?;
    let counted = counts(&from)?;
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(to)
        .map_err(BackupError::io("make a snapshot"))?;
    let mut copy = Connection::open(to)?;
    copy.pragma_update(None, "synchronous", "OFF")?;
    let page: u64 = from.query_row("PRAGMA page_size", [], |row| row.get(0))?;
    {
        let backup = Backup::new(&from, &mut copy)?;
        loop {
            let step = backup.step(STEP_PAGES)?;
            job.advance(STEP_PAGES as u64 * page)?;
            match step {
                StepResult::Done => break,
                StepResult::More => std::thread::yield_now(),
                _ => {
                    return Err(BackupError::io("copy the database")(io::Error::other(
                        "it is locked",
                    )));
                }
            }
        }
    }
    from.execute_batch("COMMIT")?;
    // Without the log of the original, which a reader of the copy would look for.
    copy.pragma_update(None, "journal_mode", "DELETE")?;
    Ok(counted)
}

/// A part and where its bytes are.
struct Source {
    part: Part,
    bytes: Bytes,
}

enum Bytes {
    File(PathBuf),
    Memory(zeroize::Zeroizing<Vec<u8>>),
}

impl Source {
    fn of_file(name: &str, file: &Path, job: &Job) -> Result<Source, BackupError> {
        let mut hash = Sha256::new();
        let mut bytes = 0;
        let mut from = File::open(file).map_err(BackupError::io("read the snapshot"))?;
        let mut chunk = vec![0; CHUNK];
        loop {
            match from.read(&mut chunk).map_err(BackupError::io("read the snapshot"))? {
                0 => break,
                read => {
                    hash.update(&chunk[..read]);
                    bytes += read as u64;
                    job.advance(read as u64)?;
                }
            }
        }
        let part = Part { name: name.to_owned(), bytes, sha256: hex(&hash.finalize()) };
        Ok(Source { part, bytes: Bytes::File(file.to_owned()) })
    }

    fn of_bytes(name: String, bytes: Vec<u8>) -> Source {
        let sha256 = hex(&Sha256::digest(&bytes));
        let part = Part { name, bytes: bytes.len() as u64, sha256 };
        Source { part, bytes: Bytes::Memory(bytes.into()) }
    }
}

/// The server's secret, certificates with their keys, the config with its history.
fn small_files(data_dir: &Path, config: &Path) -> Result<Vec<Source>, BackupError> {
    let mut parts = Vec::new();
    let mut take = |name: String, file: &Path| -> Result<(), BackupError> {
        match fs::metadata(file) {
            Ok(found) if found.is_file() && found.len() <= SMALL_MAX => {
                let doing = format!("read {}", file.display());
                let bytes = fs::read(file).map_err(BackupError::io(doing))?;
                parts.push(Source::of_bytes(name, bytes));
                Ok(())
            }
            _ => Ok(()),
        }
    };
    take("secret".to_owned(), &data_dir.join("secret"))?;
    take(CONFIG.to_owned(), config)?;
    for folder in ["certs", "config-history"] {
        let Ok(entries) = fs::read_dir(data_dir.join(folder)) else { continue };
        let mut files: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        files.sort();
        for file in files {
            let name = file.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            let ours = folder == "certs" || name.ends_with(".zst");
            if ours && !name.is_empty() && !name.starts_with('.') {
                take(format!("{folder}/{name}"), &file)?;
            }
        }
    }
    // Certificates that lie elsewhere: another machine may not have them.
    let text = crate::config::read(config).unwrap_or_default();
    if let Ok(checked) = crate::config::parse(&text, config) {
        for host in checked.config.hosts.iter().filter(|host| !host.tls.self_signed) {
            for (kind, file) in [("certificate", &host.tls.certificate), ("key", &host.tls.key)] {
                if !file.starts_with(data_dir) {
                    take(format!("certs/from-backup/{}.{kind}.pem", host.domain), file)?;
                }
            }
        }
    }
    Ok(parts)
}

/// A name that is free, and the one it has until it is finished.
fn free_name(folder: &Path, now: Now) -> (PathBuf, PathBuf) {
    let moment = now.to_xmpp();
    let moment = moment.get(..19).unwrap_or(&moment).replace(':', "-");
    let name = |number: u32| match number {
        0 => format!("{moment}Z{SUFFIX}"),
        number => format!("{moment}Z-{number}{SUFFIX}"),
    };
    let number = (0..).find(|number| !folder.join(name(*number)).exists()).unwrap_or(0);
    (folder.join(name(number)), folder.join(format!(".{}.new", name(number))))
}

fn write(
    temp: &Path,
    plan: &Plan,
    parts: &[Source],
    accounts: u64,
    messages: u64,
    job: &Job,
) -> Result<(), BackupError> {
    let doing = || BackupError::io("write the backup");
    let _ = fs::remove_file(temp);
    let file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(temp)
        .map_err(BackupError::io(format!("write to {}", plan.folder.display())))?;
    let (lock, key) = match plan.passphrase.as_ref().map(Lock::make).transpose()? {
        Some((lock, key)) => (Some(lock), Some(key)),
        None => (None, None),
    };
    let head = Head {
        made: plan.now.0,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        database: migrate::KNOWN,
        kind: plan.kind,
        lock,
    };
    let (sealer, hash) = Sealer::begin(BufWriter::new(file), &head, key.as_ref())?;
    let mut packed = zstd::Encoder::new(sealer, ZSTD_LEVEL).map_err(doing())?;
    packed.include_checksum(true).map_err(doing())?;
    let manifest = Manifest {
        head: hash,
        accounts,
        messages,
        parts: parts.iter().map(|source| source.part.clone()).collect(),
    };
    let manifest = serde_json::to_vec(&manifest).map_err(|error| doing()(error.into()))?;
    let len = u32::try_from(manifest.len()).unwrap_or(u32::MAX).to_le_bytes();
    packed.write_all(&len).and_then(|()| packed.write_all(&manifest)).map_err(doing())?;
    for source in parts {
        match &source.bytes {
            Bytes::Memory(bytes) => packed.write_all(bytes).map_err(doing())?,
            Bytes::File(file) => copy(file, &mut packed, job)?,
        }
    }
    let file = packed.finish().and_then(Sealer::finish).map_err(doing())?;
    let file = file.into_inner().map_err(|error| doing()(error.into_error()))?;
    file.sync_all().map_err(doing())
}

fn copy(from: &Path, to: &mut impl Write, job: &Job) -> Result<(), BackupError> {
    let mut from = File::open(from).map_err(BackupError::io("read the snapshot"))?;
    let mut chunk = vec![0; CHUNK];
    loop {
        match from.read(&mut chunk).map_err(BackupError::io("read the snapshot"))? {
            0 => return Ok(()),
            read => {
                to.write_all(&chunk[..read]).map_err(BackupError::io("write the backup"))?;
                job.advance(read as u64)?;
            }
        }
    }
}
