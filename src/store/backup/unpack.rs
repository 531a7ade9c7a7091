//! Reading a backup: its head, its manifest, all of it.

use std::collections::HashSet;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, BufReader, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Component, Path, PathBuf};

use rusqlite::Connection;
use sha2::{Digest, Sha256};

use super::container::{Head, Opener, head_hash, hex, read_head};
use super::make::{CONFIG, DATABASE, Manifest, Part};
use super::{BackupError, Kind, SUFFIX, counts, room};
use crate::config::value::Secret;
use crate::store::migrate;
use crate::time::Now;

/// Manifests have a line for each file.
const MANIFEST_BYTES_MAX: u32 = 16 << 20;
const PARTS_MAX: usize = 100_000;
const CHUNK: usize = 256 << 10;

/// What a file says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contents {
    pub file: PathBuf,
    pub bytes: u64,
    pub made: Now,
    pub version: String,
    pub kind: Kind,
    pub encrypted: bool,
    /// Accounts and messages in it; `None` without the passphrase.
    pub counts: Option<(u64, u64)>,
}

impl Contents {
    fn of(file: &Path, head: &Head, manifest: Option<&Manifest>) -> Contents {
        Contents {
            file: file.to_owned(),
            bytes: fs::metadata(file).map_or(0, |found| found.len()),
            made: Now(head.made),
            version: head.version.clone(),
            kind: head.kind,
            encrypted: head.lock.is_some(),
            counts: manifest.map(|manifest| (manifest.accounts, manifest.messages)),
        }
    }
}

/// The backups in `folder`, newest first; other files are passed over.
///
/// # Errors
/// If the folder cannot be read; one that is not there is empty.
pub fn list(folder: &Path) -> Result<Vec<Contents>, BackupError> {
    let doing = || BackupError::io(format!("read the folder {}", folder.display()));
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(doing())?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let path = entry.map_err(doing())?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if name.ends_with(SUFFIX)
            && !name.starts_with('.')
            && let Ok(mut file) = File::open(&path)
            && let Ok((head, _)) = read_head(&mut file)
        {
            found.push(Contents::of(&path, &head, None));
        }
    }
    found.sort_by_key(|contents| std::cmp::Reverse((contents.made, contents.file.clone())));
    Ok(found)
}

/// What a backup says of itself, without reading all of it.
///
/// # Errors
/// If it is no backup, or its passphrase is missing or wrong.
pub fn inspect(file: &Path, passphrase: Option<&Secret>) -> Result<Contents, BackupError> {
    let (_, head, manifest) = open(file, passphrase)?;
    Ok(Contents::of(file, &head, Some(&manifest)))
}

type Body = zstd::Decoder<'static, BufReader<Opener<BufReader<File>>>>;

fn open(file: &Path, passphrase: Option<&Secret>) -> Result<(Body, Head, Manifest), BackupError> {
    let opened = File::open(file).map_err(BackupError::io(format!("read {}", file.display())))?;
    let mut from = BufReader::new(opened);
    let (head, bytes) = read_head(&mut from)?;
    if head.database > migrate::KNOWN {
        return Err(BackupError::NewerDatabase { found: head.database, known: migrate::KNOWN });
    }
    let hash = head_hash(&bytes);
    let opener = Opener::begin(from, &head, bytes, passphrase)?;
    let mut body = zstd::Decoder::new(opener).map_err(broken)?;
    let mut len = [0; 4];
    body.read_exact(&mut len).map_err(broken)?;
    let len = u32::from_le_bytes(len);
    if len > MANIFEST_BYTES_MAX {
        return Err(BackupError::damaged("its manifest makes no sense"));
    }
    let mut json = vec![0; len as usize];
    body.read_exact(&mut json).map_err(broken)?;
    let manifest: Manifest = serde_json::from_slice(&json)
        .map_err(|_| BackupError::damaged("its manifest makes no sense"))?;
    if manifest.head != hash {
        return Err(BackupError::damaged("its head was changed"));
    }
    Ok((body, head, manifest))
}

/// A read that fails is a file that is not as it was written.
fn broken(error: io::Error) -> BackupError {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => BackupError::damaged("it is cut short"),
        _ => BackupError::damaged(error),
    }
}

/// Unpacks a backup into the new folder `into` and verifies all of it: every part by its hash, the
/// database by SQLite's own check, after bringing it to the version of this program. Nothing is
/// left there if it fails.
///
/// # Errors
/// What is wrong with it.
pub fn unpack(
    file: &Path,
    passphrase: Option<&Secret>,
    into: &Path,
) -> Result<Contents, BackupError> {
    let (mut body, head, manifest) = open(file, passphrase)?;
    let result = write_out(&mut body, &manifest, into).and_then(|()| prove(&manifest, into));
    if let Err(error) = result {
        let _ = fs::remove_dir_all(into);
        return Err(error);
    }
    Ok(Contents::of(file, &head, Some(&manifest)))
}

fn write_out(body: &mut Body, manifest: &Manifest, into: &Path) -> Result<(), BackupError> {
    let doing = || BackupError::io(format!("unpack into {}", into.display()));
    if manifest.parts.len() > PARTS_MAX {
        return Err(BackupError::damaged("its manifest makes no sense"));
    }
    let total = manifest.parts.iter().fold(0u64, |sum, part| sum.saturating_add(part.bytes));
    let parent = into.parent().unwrap_or(Path::new("/"));
    room(parent, total.saturating_add(4 << 20))?;
    let make = |folder: &Path| DirBuilder::new().recursive(true).mode(0o700).create(folder);
    fs::create_dir(into).and_then(|()| make(into)).map_err(doing())?;
    let closed = std::os::unix::fs::PermissionsExt::from_mode(0o700);
    fs::set_permissions(into, closed).map_err(doing())?;
    let mut seen = HashSet::new();
    for part in &manifest.parts {
        if !is_ours(&part.name) || !seen.insert(&part.name) {
            return Err(BackupError::damaged(format!("it has a part {:?}", part.name)));
        }
        let path = into.join(&part.name);
        path.parent().map_or(Ok(()), make).map_err(doing())?;
        let mut options = OpenOptions::new();
        let mut to =
            options.write(true).create_new(true).mode(0o600).open(&path).map_err(doing())?;
        take(body, part, &mut to)?;
        to.sync_all().map_err(doing())?;
    }
    match body.read(&mut [0]).map_err(broken)? {
        0 => Ok(()),
        _ => Err(BackupError::damaged("it has more than its manifest says")),
    }
}

/// Names that lead into the folder, and to places that we know.
fn is_ours(name: &str) -> bool {
    let path = Path::new(name);
    let plain = path.components().all(|part| matches!(part, Component::Normal(_)));
    let folder = |name: &str| name.starts_with("certs/") || name.starts_with("config-history/");
    plain && ([DATABASE, CONFIG, "secret"].contains(&name) || folder(name))
}

fn take(body: &mut Body, part: &Part, to: &mut impl Write) -> Result<(), BackupError> {
    let mut hash = Sha256::new();
    let mut left = part.bytes;
    let mut chunk = vec![0; CHUNK];
    while left > 0 {
        let want = usize::try_from(left).unwrap_or(CHUNK).min(CHUNK);
        let read = body.read(&mut chunk[..want]).map_err(broken)?;
        if read == 0 {
            return Err(BackupError::damaged("it is cut short"));
        }
        hash.update(&chunk[..read]);
        to.write_all(&chunk[..read]).map_err(BackupError::io("unpack the backup"))?;
        left -= read as u64;
    }
    if hex(&hash.finalize()) == part.sha256 {
        Ok(())
    } else {
        Err(BackupError::damaged(format!("{} is not as it was", part.name)))
    }
}

/// Opens the database as a start would, and has it checked.
fn prove(manifest: &Manifest, into: &Path) -> Result<(), BackupError> {
    let path = into.join(DATABASE);
    if !path.exists() {
        return Err(BackupError::damaged("it has no database"));
    }
    let mut conn = Connection::open(&path)?;
    migrate::migrate(&mut conn)?;
    let verdict: String = conn.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))?;
    if verdict != "ok" {
        return Err(BackupError::damaged(format!("its database: {verdict}")));
    }
    if counts(&conn)? != (manifest.accounts, manifest.messages) {
        return Err(BackupError::damaged("its database is not what its manifest says"));
    }
    conn.close().map_err(|(_, error)| BackupError::from(error))?;
    let synced = File::open(&path).and_then(|file| file.sync_all());
    synced.and_then(|()| File::open(into)?.sync_all()).map_err(BackupError::io("unpack the backup"))
}
