//! One file that holds a backup.
//!
//! ```text
//! "COUCOUBK"                     8 bytes
//! version of this format         u16, little endian: 1
//! 1 if encrypted, else 0         u16
//! length of the head             u32
//! head                           JSON: when, by which program, how encrypted
//! body                           to the end of the file
//! ```
//! The body is one zstd frame with its checksum: the length of the manifest (u32), the manifest
//! (JSON: name, size and SHA-256 of each part), then the parts, in its order, without gaps.
//! Encrypted, that frame goes through STREAM (big-endian counter of 32 bits) over
//! XChaCha20-Poly1305 in segments of 64 KiB and a tag each, every one authenticating the head; the
//! key is Argon2id of the passphrase.

use std::io::{self, Read, Write};

use aead_stream::{DecryptorBE32, EncryptorBE32};
use argon2::{Algorithm, Argon2, Params, Version};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chacha20poly1305::KeyInit;
use chacha20poly1305::{Key, XChaCha20Poly1305};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::{BackupError, Kind};
use crate::config::value::Secret;

const MAGIC: &[u8; 8] = b"COUCOUBK";
const FORMAT: u16 = 1;
/// Heads are some 300 bytes; a bound against other files.
const HEAD_BYTES_MAX: usize = 64 << 10;
const SEGMENT: usize = 64 << 10;
const TAG: usize = 16;
/// XChaCha20's nonce without the counter and the mark of the last segment.
const NONCE: usize = 19;
const SALT: usize = 16;
/// 64 MiB and three passes: RFC 9106 for machines with little memory, on one thread.
const MEMORY_KIB: u32 = 64 << 10;
const PASSES: u32 = 3;
/// What a file may ask of the machine that reads it.
const MEMORY_KIB_MAX: u32 = 1 << 20;
const PASSES_MAX: u32 = 16;

/// What is known of a backup without its passphrase.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Head {
    /// Microseconds since 1970.
    pub made: i64,
    /// The program's version.
    pub version: String,
    /// The database's version.
    pub database: i64,
    pub kind: Kind,
    pub lock: Option<Lock>,
}

/// How a passphrase becomes the key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Lock {
    memory_kib: u32,
    passes: u32,
    salt: String,
    nonce: String,
    /// Tells a wrong passphrase from a damaged file.
    check: String,
}

type KeyBytes = Zeroizing<[u8; 32]>;

impl Lock {
    /// A new one for `passphrase`, with its key.
    pub(super) fn make(passphrase: &Secret) -> Result<(Lock, KeyBytes), BackupError> {
        let mut random = [0; SALT + NONCE];
        crate::auth::secret::fill_random(&mut random);
        let mut lock = Lock {
            memory_kib: MEMORY_KIB,
            passes: PASSES,
            salt: STANDARD.encode(&random[..SALT]),
            nonce: STANDARD.encode(&random[SALT..]),
            check: String::new(),
        };
        let key = lock.derive(passphrase)?;
        lock.check = check(&key);
        Ok((lock, key))
    }

    fn open(&self, passphrase: &Secret) -> Result<KeyBytes, BackupError> {
        let key = self.derive(passphrase)?;
        if check(&key) == self.check { Ok(key) } else { Err(BackupError::WrongPassphrase) }
    }

    fn derive(&self, passphrase: &Secret) -> Result<KeyBytes, BackupError> {
        let odd = || BackupError::damaged("its head makes no sense");
        if self.memory_kib > MEMORY_KIB_MAX || self.passes > PASSES_MAX {
            return Err(odd());
        }
        let salt = STANDARD.decode(&self.salt).map_err(|_| odd())?;
        let params = Params::new(self.memory_kib, self.passes, 1, Some(32)).map_err(|_| odd())?;
        let mut key = Zeroizing::new([0; 32]);
        Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
            .hash_password_into(passphrase.reveal().as_bytes(), &salt, &mut key[..])
            .map_err(|_| odd())?;
        Ok(key)
    }

    fn nonce(&self) -> Result<[u8; NONCE], BackupError> {
        let nonce = STANDARD.decode(&self.nonce).ok();
        nonce
            .and_then(|nonce| nonce.try_into().ok())
            .ok_or_else(|| BackupError::damaged("its head makes no sense"))
    }
}

fn check(key: &KeyBytes) -> String {
    let sum = Sha256::new().chain_update(b"coucou backup check").chain_update(&key[..]).finalize();
    STANDARD.encode(&sum[..16])
}

/// The head as it stands in the file.
fn head_bytes(head: &Head) -> io::Result<Vec<u8>> {
    let json = serde_json::to_vec(head)?;
    let mut bytes = MAGIC.to_vec();
    bytes.extend(FORMAT.to_le_bytes());
    bytes.extend(u16::from(head.lock.is_some()).to_le_bytes());
    bytes.extend(u32::try_from(json.len()).unwrap_or(u32::MAX).to_le_bytes());
    bytes.extend(json);
    Ok(bytes)
}

/// Reads the head; what follows in `from` is the body.
pub(super) fn read_head(from: &mut impl Read) -> Result<(Head, Vec<u8>), BackupError> {
    let mut bytes = vec![0; 16];
    from.read_exact(&mut bytes).map_err(|_| BackupError::NotABackup)?;
    if !bytes.starts_with(MAGIC) {
        return Err(BackupError::NotABackup);
    }
    let number = |at: usize| u32::from(u16::from_le_bytes([bytes[at], bytes[at + 1]]));
    let format = number(8);
    if format > u32::from(FORMAT) {
        return Err(BackupError::NewerFormat { found: format, known: u32::from(FORMAT) });
    }
    let len = (number(12) | number(14) << 16) as usize;
    if len > HEAD_BYTES_MAX {
        return Err(BackupError::damaged("its head makes no sense"));
    }
    let encrypted = number(10) != 0;
    let mut json = vec![0; len];
    from.read_exact(&mut json).map_err(|_| BackupError::damaged("it is cut short"))?;
    let head: Head = serde_json::from_slice(&json)
        .map_err(|_| BackupError::damaged("its head makes no sense"))?;
    if head.lock.is_some() != encrypted || number(8) == 0 {
        return Err(BackupError::damaged("its head makes no sense"));
    }
    bytes.extend(json);
    Ok((head, bytes))
}

/// SHA-256 of the head, which the manifest repeats: so nothing of a plain file can change unseen.
pub(super) fn head_hash(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Where the zstd frame is written to.
pub(super) enum Sealer<W: Write> {
    Plain(W),
    Sealed {
        inner: W,
        stream: Option<Box<EncryptorBE32<XChaCha20Poly1305>>>,
        head: Vec<u8>,
        waiting: Vec<u8>,
    },
}

impl<W: Write> Sealer<W> {
    /// Writes the head; tells its hash.
    pub(super) fn begin(
        mut inner: W,
        head: &Head,
        key: Option<&KeyBytes>,
    ) -> Result<(Sealer<W>, String), BackupError> {
        let bytes = head_bytes(head).map_err(BackupError::io("write the backup"))?;
        inner.write_all(&bytes).map_err(BackupError::io("write the backup"))?;
        let hash = head_hash(&bytes);
        let sealer = match (key, &head.lock) {
            (Some(key), Some(lock)) => {
                let cipher = XChaCha20Poly1305::new(&Key::from(**key));
                let stream = EncryptorBE32::from_aead(cipher, &lock.nonce()?.into());
                let stream = Some(Box::new(stream));
                Sealer::Sealed {
                    inner,
                    stream,
                    head: bytes,
                    waiting: Vec::with_capacity(SEGMENT + TAG),
                }
            }
            _ => Sealer::Plain(inner),
        };
        Ok((sealer, hash))
    }

    /// Writes what waits, and hands the file back.
    pub(super) fn finish(self) -> io::Result<W> {
        match self {
            Sealer::Plain(inner) => Ok(inner),
            Sealer::Sealed { mut inner, mut stream, head, mut waiting } => {
                if let Some(stream) = stream.take() {
                    stream.encrypt_last_in_place(&head, &mut waiting).map_err(sealing)?;
                    inner.write_all(&waiting)?;
                }
                Ok(inner)
            }
        }
    }
}

fn sealing(_: chacha20poly1305::aead::Error) -> io::Error {
    io::Error::other("the backup is too large to be encrypted")
}

impl<W: Write> Write for Sealer<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Sealer::Plain(inner) => inner.write(bytes),
            Sealer::Sealed { inner, stream, head, waiting } => {
                // A full segment goes out when more follows: the last one is sealed as such.
                if waiting.len() == SEGMENT
                    && !bytes.is_empty()
                    && let Some(stream) = stream
                {
                    stream.encrypt_next_in_place(head, waiting).map_err(sealing)?;
                    inner.write_all(waiting)?;
                    waiting.clear();
                }
                let taken = bytes.len().min(SEGMENT - waiting.len());
                waiting.extend_from_slice(&bytes[..taken]);
                Ok(taken)
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Sealer::Plain(inner) => inner.flush(),
            Sealer::Sealed { inner, .. } => inner.flush(),
        }
    }
}

/// Where the zstd frame is read from.
pub(super) enum Opener<R: Read> {
    Plain(R),
    Sealed {
        inner: R,
        stream: Option<Box<DecryptorBE32<XChaCha20Poly1305>>>,
        head: Vec<u8>,
        /// The segment that comes next, sealed; read ahead, since the last one is opened as such.
        ahead: Vec<u8>,
        open: Vec<u8>,
        at: usize,
    },
}

impl<R: Read> Opener<R> {
    /// The body that follows the head.
    pub(super) fn begin(
        mut inner: R,
        head: &Head,
        bytes: Vec<u8>,
        passphrase: Option<&Secret>,
    ) -> Result<Opener<R>, BackupError> {
        let Some(lock) = &head.lock else { return Ok(Opener::Plain(inner)) };
        let key = lock.open(passphrase.ok_or(BackupError::NeedsPassphrase)?)?;
        let cipher = XChaCha20Poly1305::new(&Key::from(*key));
        let stream = Some(Box::new(DecryptorBE32::from_aead(cipher, &lock.nonce()?.into())));
        let ahead = segment(&mut inner).map_err(BackupError::io("read the backup"))?;
        Ok(Opener::Sealed { inner, stream, head: bytes, ahead, open: Vec::new(), at: 0 })
    }
}

/// A sealed segment, shorter only at the end of the file.
fn segment(from: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut segment = Vec::with_capacity(SEGMENT + TAG);
    from.take((SEGMENT + TAG) as u64).read_to_end(&mut segment)?;
    Ok(segment)
}

impl<R: Read> Read for Opener<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Opener::Plain(inner) => inner.read(buffer),
            Opener::Sealed { inner, stream, head, ahead, open, at } => {
                if *at == open.len() {
                    let Some(mut opener) = stream.take() else { return Ok(0) };
                    *open = std::mem::replace(ahead, segment(inner)?);
                    let opened = if ahead.is_empty() {
                        opener.decrypt_last_in_place(head, open)
                    } else {
                        let opened = opener.decrypt_next_in_place(head, open);
                        *stream = Some(opener);
                        opened
                    };
                    if opened.is_err() {
                        open.clear();
                        *stream = None;
                        let told = "a segment was changed or is missing";
                        return Err(io::Error::new(io::ErrorKind::InvalidData, told));
                    }
                    *at = 0;
                }
                let taken = buffer.len().min(open.len() - *at);
                buffer[..taken].copy_from_slice(&open[*at..*at + taken]);
                *at += taken;
                Ok(taken)
            }
        }
    }
}
