//! The certificates the server shows: which file for which host name, and what they say.
//!
//! A [`CertSet`] is read whole or not at all, then swapped in; sessions that run keep what they
//! were opened with. Among several certificates for a name the newest one that is valid now is
//! shown, so a renewed file may lie beside the old one.

use std::collections::HashMap;
use std::fs;
use std::net::IpAddr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use rustls::crypto::CryptoProvider;
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use sha2::{Digest, Sha256, Sha384, Sha512};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};
use x509_parser::signature_algorithm::SignatureAlgorithm;

use crate::time::Now;

/// Where one certificate lies: the chain (leaf first) and its private key, both PEM. The same
/// path twice means that one file holds both.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CertSource {
    pub chain: PathBuf,
    pub key: PathBuf,
}

impl CertSource {
    /// One PEM file that holds the chain and the key.
    pub fn combined(path: impl Into<PathBuf>) -> CertSource {
        let path = path.into();
        CertSource { chain: path.clone(), key: path }
    }
}

/// Why a certificate cannot be used, with the file and what would help.
#[derive(Debug, thiserror::Error)]
pub enum CertError {
    #[error("cannot read {path}: {source}; check that it exists and that the server may read it")]
    Unreadable { path: PathBuf, source: std::io::Error },
    #[error("{path} holds no PEM certificate; expected a block BEGIN CERTIFICATE")]
    NoCertificate { path: PathBuf },
    #[error("{path} holds no PEM private key; expected a block BEGIN PRIVATE KEY (unencrypted)")]
    NoKey { path: PathBuf },
    #[error("{path} is not well-formed PEM ({reason}); export it again")]
    BadPem { path: PathBuf, reason: String },
    #[error("the certificate in {path} cannot be read ({reason}); ask its issuer for a new one")]
    BadCertificate { path: PathBuf, reason: String },
    #[error(
        "the private key in {path} cannot be used ({reason}); use ECDSA P-256, P-384, RSA or Ed25519"
    )]
    BadKey { path: PathBuf, reason: String },
    #[error(
        "the key in {key} does not belong to the certificate in {chain}; give the pair that was issued together, leaf certificate first"
    )]
    KeyMismatch { chain: PathBuf, key: PathBuf },
    #[error("cannot make a self-signed certificate for {names}: {reason}")]
    CannotMake { names: String, reason: String },
    #[error("cannot write {path}: {source}")]
    Unwritable { path: PathBuf, source: std::io::Error },
}

/// One usable certificate with its key, and the facts that status displays want.
#[derive(Debug)]
pub struct Certificate {
    key: Arc<CertifiedKey>,
    /// Host names of the subject alternative names, lower case; a wildcard starts with `*.`.
    pub names: Vec<String>,
    pub not_before: Now,
    pub not_after: Now,
    /// The issuer's distinguished name as text.
    pub issuer: String,
    /// Subject and issuer are the same: no authority vouches for it.
    pub self_signed: bool,
    /// The file of the chain.
    pub path: PathBuf,
    end_point: Option<Box<[u8]>>,
}

impl Certificate {
    /// Reads and checks one chain with its key.
    pub fn read(source: &CertSource, provider: &CryptoProvider) -> Result<Certificate, CertError> {
        let chain_pem = read(&source.chain)?;
        let chain = CertificateDer::pem_slice_iter(&chain_pem)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|e| CertError::BadPem { path: source.chain.clone(), reason: e.to_string() })?;
        if chain.is_empty() {
            return Err(CertError::NoCertificate { path: source.chain.clone() });
        }
        let key_pem = zeroize::Zeroizing::new(read(&source.key)?);
        let key = PrivateKeyDer::from_pem_slice(&key_pem).map_err(|e| match e {
            rustls_pki_types::pem::Error::NoItemsFound => {
                CertError::NoKey { path: source.key.clone() }
            }
            e => CertError::BadPem { path: source.key.clone(), reason: e.to_string() },
        })?;
        Certificate::new(chain, key, source, provider)
    }

    fn new(
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
        source: &CertSource,
        provider: &CryptoProvider,
    ) -> Result<Certificate, CertError> {
        let bad = |reason: String| CertError::BadCertificate { path: source.chain.clone(), reason };
        let (_, leaf) = X509Certificate::from_der(&chain[0]).map_err(|e| bad(e.to_string()))?;
        let names = host_names(&leaf).map_err(bad)?;
        let not_before = Now::from_secs(leaf.validity().not_before.timestamp());
        let not_after = Now::from_secs(leaf.validity().not_after.timestamp());
        let issuer = leaf.issuer().to_string();
        let self_signed = leaf.issuer() == leaf.subject();
        let end_point = end_point_hash(&leaf, &chain[0]);
        let key = CertifiedKey::from_der(chain, key, provider).map_err(|e| match e {
            rustls::Error::InconsistentKeys(_) => {
                CertError::KeyMismatch { chain: source.chain.clone(), key: source.key.clone() }
            }
            rustls::Error::InvalidCertificate(e) => bad(format!("{e:?}")),
            e => CertError::BadKey { path: source.key.clone(), reason: e.to_string() },
        })?;
        Ok(Certificate {
            key: Arc::new(key),
            names,
            not_before,
            not_after,
            issuer,
            self_signed,
            path: source.chain.clone(),
            end_point,
        })
    }

    /// What rustls signs with.
    pub fn key(&self) -> &Arc<CertifiedKey> {
        &self.key
    }

    /// Channel binding data of type `tls-server-end-point` (RFC 5929 §4.1); none where the
    /// signature algorithm names no single hash, as with Ed25519.
    pub fn end_point(&self) -> Option<&[u8]> {
        self.end_point.as_deref()
    }

    /// Whether `now` lies within the certificate's time.
    pub fn is_valid_at(&self, now: Now) -> bool {
        self.not_before <= now && now <= self.not_after
    }

    /// Whether the certificate speaks for `host` (A-label or U-label), directly or by wildcard.
    pub fn covers(&self, host: &str) -> bool {
        let host = ascii_name(host);
        let wild = wildcard_of(&host);
        self.names.iter().any(|name| *name == host || Some(name) == wild.as_ref())
    }
}

/// Something an operator should know about the certificate of a host.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum CertWarning {
    #[error(
        "no certificate names {host}; clients will refuse to connect. Add one whose subject alternative names hold it"
    )]
    Missing { host: String },
    #[error("the certificate of {host} in {path} expired at {at}; renew it")]
    Expired { host: String, path: PathBuf, at: Now },
    #[error("the certificate of {host} in {path} is valid only from {at}; check the clock")]
    NotYetValid { host: String, path: PathBuf, at: Now },
    #[error("the certificate of {host} in {path} expires at {at}; renew it soon")]
    ExpiresSoon { host: String, path: PathBuf, at: Now },
    #[error(
        "the certificate of {host} in {path} is self-signed; clients will ask before they trust it"
    )]
    SelfSigned { host: String, path: PathBuf },
}

/// An immutable set of certificates, indexed by name.
#[derive(Debug, Default)]
pub struct CertSet {
    all: Vec<Arc<Certificate>>,
    by_name: HashMap<String, Vec<Arc<Certificate>>>,
}

impl CertSet {
    /// Reads every source. The first one is the default, shown when no name is asked for or
    /// none matches. Reads files: call it where blocking is allowed.
    pub fn read(sources: &[CertSource]) -> Result<CertSet, CertError> {
        let provider = super::tls::provider();
        let mut set = CertSet::default();
        for source in sources {
            set.insert(Certificate::read(source, &provider)?);
        }
        Ok(set)
    }

    fn insert(&mut self, certificate: Certificate) {
        let certificate = Arc::new(certificate);
        for name in &certificate.names {
            self.by_name.entry(name.clone()).or_default().push(certificate.clone());
        }
        self.all.push(certificate);
    }

    /// The certificate to show for `host`: one that is valid now before one that is not, an exact
    /// name before a wildcard, the newest among equals. An expired one is shown when there is no
    /// other, since the client's error is then the truth. Without a match: the default.
    pub fn choose(&self, host: Option<&str>, now: Now) -> Option<&Arc<Certificate>> {
        let named = host.and_then(|host| {
            let host = ascii_name(host);
            let exact = self.by_name.get(&host).into_iter().flatten().map(|c| (c, true));
            let wildcard = wildcard_of(&host).and_then(|name| self.by_name.get(&name));
            let wildcard = wildcard.into_iter().flatten().map(|c| (c, false));
            exact
                .chain(wildcard)
                .max_by_key(|(c, exact)| (c.is_valid_at(now), *exact, c.not_before))
                .map(|(certificate, _)| certificate)
        });
        named.or_else(|| self.all.first())
    }

    /// All certificates in the order of their sources.
    pub fn certificates(&self) -> &[Arc<Certificate>] {
        &self.all
    }

    /// What is wrong, or soon will be, with the certificates of `hosts`.
    pub fn warnings(&self, hosts: &[&str], now: Now) -> Vec<CertWarning> {
        hosts.iter().filter_map(|host| self.warning(host, now)).collect()
    }

    fn warning(&self, host: &str, now: Now) -> Option<CertWarning> {
        let missing = || CertWarning::Missing { host: host.to_owned() };
        let Some(shown) = self.choose(Some(host), now).filter(|c| c.covers(host)) else {
            return Some(missing());
        };
        let (host, path) = (host.to_owned(), shown.path.clone());
        if now > shown.not_after {
            Some(CertWarning::Expired { host, path, at: shown.not_after })
        } else if now < shown.not_before {
            Some(CertWarning::NotYetValid { host, path, at: shown.not_before })
        } else if now.plus(EXPIRES_SOON) > shown.not_after {
            Some(CertWarning::ExpiresSoon { host, path, at: shown.not_after })
        } else if shown.self_signed {
            Some(CertWarning::SelfSigned { host, path })
        } else {
            None
        }
    }
}

/// The certificates in use. Handshakes look here; a reload swaps the whole set.
#[derive(Debug)]
pub struct CertStore {
    current: ArcSwap<CertSet>,
    files: Mutex<Files>,
}

#[derive(Debug)]
struct Files {
    sources: Vec<CertSource>,
    stamps: Vec<Option<Stamp>>,
}

/// What tells that a file has changed: device, inode, size, and modification time in ns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp(u64, u64, u64, i64, i64);

impl CertStore {
    /// Reads all of `sources`; see [`CertSet::read`].
    pub fn open(sources: Vec<CertSource>) -> Result<CertStore, CertError> {
        // Stamped before reading: a change in between is then seen as one, not missed.
        let stamps = stamps(&sources);
        let set = CertSet::read(&sources)?;
        Ok(CertStore {
            current: ArcSwap::from_pointee(set),
            files: Mutex::new(Files { sources, stamps }),
        })
    }

    /// The set in use now.
    pub fn current(&self) -> Arc<CertSet> {
        self.current.load_full()
    }

    /// Reads the files again; on an error the set in use stays.
    pub fn reload(&self) -> Result<(), CertError> {
        let sources = self.files.lock().sources.clone();
        self.replace(sources)
    }

    /// Takes other files from now on; on an error the set in use and its files stay.
    pub fn replace(&self, sources: Vec<CertSource>) -> Result<(), CertError> {
        let mut files = self.files.lock();
        let stamps = stamps(&sources);
        let set = CertSet::read(&sources)?;
        self.current.store(Arc::new(set));
        *files = Files { sources, stamps };
        Ok(())
    }

    /// Reads the files again if one of them changed since the last look, good or bad: a broken
    /// file is reported once, not at each look. Meant to be called every minute or so.
    pub fn reload_if_changed(&self) -> Result<bool, CertError> {
        let mut files = self.files.lock();
        let stamps = stamps(&files.sources);
        if stamps == files.stamps {
            return Ok(false);
        }
        files.stamps = stamps;
        let set = CertSet::read(&files.sources)?;
        self.current.store(Arc::new(set));
        Ok(true)
    }
}

/// Makes an ECDSA P-256 key and a self-signed certificate for `names` (host names or addresses)
/// and writes both into one file of mode 0600, atomically: a reader sees the old or the new pair.
pub fn write_self_signed(path: &Path, names: &[String], now: Now) -> Result<CertSource, CertError> {
    let pem = self_signed_pem(names, now)?;
    write_private(path, pem.as_bytes())
        .map_err(|source| CertError::Unwritable { path: path.to_owned(), source })?;
    Ok(CertSource::combined(path))
}

fn self_signed_pem(names: &[String], now: Now) -> Result<zeroize::Zeroizing<String>, CertError> {
    let cannot = |reason: String| CertError::CannotMake { names: names.join(", "), reason };
    let ascii: Vec<String> = names.iter().map(|name| ascii_name(name)).collect();
    let mut params = rcgen::CertificateParams::new(ascii).map_err(|e| cannot(e.to_string()))?;
    params.distinguished_name = rcgen::DistinguishedName::new();
    if let Some(name) = names.first() {
        params.distinguished_name.push(rcgen::DnType::CommonName, ascii_name(name));
    }
    let moment = |at: Now| {
        time::OffsetDateTime::from_unix_timestamp(at.secs()).map_err(|e| cannot(e.to_string()))
    };
    // An hour of grace for clients whose clock is behind.
    params.not_before = moment(now.minus(Duration::from_secs(3600)))?;
    params.not_after = moment(now.plus(SELF_SIGNED_LIFE))?;
    params.extended_key_usages = vec![
        rcgen::ExtendedKeyUsagePurpose::ServerAuth,
        rcgen::ExtendedKeyUsagePurpose::ClientAuth,
    ];
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)
        .map_err(|e| cannot(e.to_string()))?;
    let certificate = params.self_signed(&key).map_err(|e| cannot(e.to_string()))?;
    let key_pem = zeroize::Zeroizing::new(key.serialize_pem());
    Ok(zeroize::Zeroizing::new(format!("{}{}", certificate.pem(), *key_pem)))
}

/// Clients pin a self-signed certificate, so its end is a nuisance without a gain.
const SELF_SIGNED_LIFE: Duration = Duration::from_secs(3650 * 86_400);

/// When to warn: authorities' tools renew 30 days ahead, so two weeks mean that they failed.
const EXPIRES_SOON: Duration = Duration::from_secs(14 * 86_400);

pub(crate) fn write_private(path: &Path, contents: &[u8]) -> std::io::Result<()> {
    use std::io::Write;
    use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};

    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".new-{}", std::process::id()));
    let temporary = path.with_file_name(name);
    let written = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&temporary)
        .and_then(|mut file| {
            file.write_all(contents)?;
            file.sync_all()
        })
        .and_then(|()| fs::rename(&temporary, path));
    if written.is_err() {
        let _ = fs::remove_file(&temporary);
        return written;
    }
    fs::File::open(folder)?.sync_all()
}

fn read(path: &Path) -> Result<Vec<u8>, CertError> {
    fs::read(path).map_err(|source| CertError::Unreadable { path: path.to_owned(), source })
}

fn stamps(sources: &[CertSource]) -> Vec<Option<Stamp>> {
    let stamp = |path: &PathBuf| {
        let m = fs::metadata(path).ok()?;
        Some(Stamp(m.dev(), m.ino(), m.size(), m.mtime(), m.mtime_nsec()))
    };
    sources.iter().flat_map(|source| [stamp(&source.chain), stamp(&source.key)]).collect()
}

/// The A-label form in lower case, as certificates and SNI carry it. What is no domain (an
/// address, a wildcard) comes back in lower case.
fn ascii_name(name: &str) -> String {
    if name.is_ascii() {
        return name.trim_end_matches('.').to_ascii_lowercase();
    }
    idna::domain_to_ascii(name).unwrap_or_else(|_| name.to_lowercase())
}

/// `*.example.org` for `chat.example.org`.
fn wildcard_of(host: &str) -> Option<String> {
    host.split_once('.').map(|(_, parent)| format!("*.{parent}"))
}

fn host_names(leaf: &X509Certificate<'_>) -> Result<Vec<String>, String> {
    let extension = leaf.subject_alternative_name().map_err(|e| e.to_string())?;
    let names = extension.map(|e| e.value.general_names.as_slice()).unwrap_or_default();
    Ok(names
        .iter()
        .filter_map(|name| match name {
            GeneralName::DNSName(name) => Some(ascii_name(name)),
            GeneralName::IPAddress(bytes) => match **bytes {
                [a, b, c, d] => Some(IpAddr::from([a, b, c, d]).to_string()),
                _ => <[u8; 16]>::try_from(*bytes).ok().map(|bytes| IpAddr::from(bytes).to_string()),
            },
            _ => None,
        })
        .collect())
}

/// RFC 5929 §4.1: the certificate hashed by the hash of its own signature, SHA-256 in place of
/// MD5 and SHA-1.
fn end_point_hash(leaf: &X509Certificate<'_>, der: &[u8]) -> Option<Box<[u8]>> {
    let oid = match SignatureAlgorithm::try_from(&leaf.signature_algorithm).ok()? {
        SignatureAlgorithm::RSASSA_PSS(pss) => pss.hash_algorithm_oid().to_id_string(),
        _ => leaf.signature_algorithm.algorithm.to_id_string(),
    };
    match &*oid {
        // RSA PKCS #1 and ECDSA with MD5, SHA-1, SHA-224 is not one of rustls' and left out;
        // then the bare hashes as RSASSA-PSS names them.
        "1.2.840.113549.1.1.4"
        | "1.2.840.113549.1.1.5"
        | "1.2.840.10045.4.1"
        | "1.3.14.3.2.26"
        | "1.2.840.113549.1.1.11"
        | "1.2.840.10045.4.3.2"
        | "2.16.840.1.101.3.4.2.1" => Some(Sha256::digest(der).as_slice().into()),
        "1.2.840.113549.1.1.12" | "1.2.840.10045.4.3.3" | "2.16.840.1.101.3.4.2.2" => {
            Some(Sha384::digest(der).as_slice().into())
        }
        "1.2.840.113549.1.1.13" | "1.2.840.10045.4.3.4" | "2.16.840.1.101.3.4.2.3" => {
            Some(Sha512::digest(der).as_slice().into())
        }
        _ => None,
    }
}
