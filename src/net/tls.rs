//! TLS over rustls with buffers that we own. The only file that knows rustls' `unbuffered` API.
//!
//! A `Session` holds no buffer: records are opened in and sealed into blocks that the caller
//! lends for the moment, and only a record that has arrived in part is kept. That leaves 3.4 KiB of
//! heap per idle session, tokio's share included; rustls' own buffers would add 4 KiB.
//!
//! No early data, no renegotiation, no resumption: tickets would save one signature per login,
//! cost a key to guard, and let a session outlive the certificate that opened it, which
//! `tls-server-end-point` binds to.

use std::io;
use std::sync::Arc;

use parking_lot::Mutex;
use rustls::crypto::CryptoProvider;
use rustls::crypto::tls13::OkmBlock;
use rustls::server::UnbufferedServerConnection;
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::unbuffered::{ConnectionState, EncodeError, EncryptError, WriteTraffic};
use rustls::{KeyLog, ProtocolVersion, ServerConfig, SupportedCipherSuite, Tls13CipherSuite};
use zeroize::Zeroizing;

use super::certs::{CertStore, Certificate};
use crate::time::Now;

/// Plaintext of one record, in bytes (RFC 8446 §5.1).
const RECORD_PLAINTEXT_MAX: usize = 16 * 1024;

/// What a record adds to its plaintext at most: header 5, explicit nonce 8, content type 1, tag
/// 16; rounded up.
const RECORD_OVERHEAD_MAX: usize = 32;

/// Bytes of an unfinished handshake message that are kept. Client hellos with post-quantum key
/// shares have 2 KiB; this is for strangers, so it is kept short.
const PARTIAL_BYTES_MAX: usize = 24 * 1024;

/// rustls' ring provider. Nothing is installed process-wide, so no library can change it.
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// Whether this machine computes AES in hardware. A Raspberry Pi 4 does not, and ChaCha20 costs
/// it a fraction of AES in software.
fn has_aes() -> bool {
    #[cfg(target_arch = "x86_64")]
    return std::arch::is_x86_feature_detected!("aes");
    #[cfg(target_arch = "aarch64")]
    return std::arch::is_aarch64_feature_detected!("aes");
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    return true;
}

/// Our provider with the ciphers in the order we want where the choice is ours.
fn server_provider(has_aes: bool) -> CryptoProvider {
    let mut provider = rustls::crypto::ring::default_provider();
    if !has_aes {
        provider.cipher_suites.sort_by_key(|suite| {
            !suite.suite().as_str().is_some_and(|name| name.contains("CHACHA20"))
        });
    }
    provider
}

/// What opens TLS sessions: certificates and the protocols offered by ALPN.
#[derive(Clone)]
pub struct Acceptor {
    certs: Arc<CertStore>,
    template: Arc<ServerConfig>,
}

impl Acceptor {
    /// `alpn` lists protocol names, most preferred first; a client that offers only others is
    /// refused, one that offers none is welcome.
    pub fn new(certs: Arc<CertStore>, alpn: &[&str]) -> Acceptor {
        let has_aes = has_aes();
        let builder = ServerConfig::builder_with_provider(Arc::new(server_provider(has_aes)))
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
            .expect("ring supports TLS 1.2 and 1.3");
        let mut template = builder
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(Observer::new(certs.clone(), None)));
        template.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        // Clients put first what suits them; only where AES is slow does ours come before theirs.
        template.ignore_client_order = !has_aes;
        template.session_storage = Arc::new(NoServerSessionStorage {});
        template.send_tls13_tickets = 0;
        template.max_early_data_size = 0;
        Acceptor { certs, template: Arc::new(template) }
    }

    /// The same for streams whose records a library opens and seals.
    pub fn for_library(&self) -> Arc<ServerConfig> {
        self.template.clone()
    }

    /// A session that waits for its client hello. `host` chooses the certificate when the client
    /// names none (RFC 6066 SNI), as with STARTTLS after a stream header with `to`.
    pub(super) fn handshake(&self, host: Option<&str>) -> Result<Handshake, TlsError> {
        let observer = Arc::new(Observer::new(self.certs.clone(), host.map(str::to_owned)));
        let mut config = ServerConfig::clone(&self.template);
        config.cert_resolver = observer.clone();
        config.key_log = observer.clone();
        let conn = UnbufferedServerConnection::new(Arc::new(config))?;
        let session = Box::new(Session { conn, partial: Vec::new(), peer_closed: false });
        Ok(Handshake { session, observer })
    }
}

/// A failure of the TLS layer; fatal to the connection.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("TLS: {0}")]
    Protocol(#[from] rustls::Error),
    #[error("TLS: a handshake message is longer than {PARTIAL_BYTES_MAX} bytes")]
    MessageTooLong,
    #[error("TLS: the keys of this session are used up")]
    KeysExhausted,
    #[error("TLS: unexpected state {0}")]
    Unexpected(&'static str),
}

impl From<TlsError> for io::Error {
    fn from(error: TlsError) -> io::Error {
        io::Error::new(io::ErrorKind::InvalidData, error)
    }
}

/// What a finished handshake has shown; wanted until authentication is done.
#[derive(Debug)]
pub struct TlsFacts {
    /// TLS 1.3 rather than 1.2.
    pub is_tls13: bool,
    /// IANA name of the cipher suite.
    pub cipher: &'static str,
    /// Protocol agreed on by ALPN.
    pub alpn: Option<Box<[u8]>>,
    /// Host name the client asked for by SNI.
    pub server_name: Option<Box<str>>,
    /// Channel binding data of type `tls-exporter` (RFC 9266). None with TLS 1.2, where it is
    /// defined only with the extended master secret, about which rustls does not tell.
    pub exporter: Option<[u8; 32]>,
    /// The certificate shown, with its `tls-server-end-point` data.
    pub certificate: Arc<Certificate>,
}

/// What rustls tells its hooks while one handshake runs. Each handshake has its own, so that what
/// is learnt belongs to one connection; rustls drops it with the configuration at the end.
///
/// The key log hook is the only way to the exporter secret: the unbuffered API of rustls 0.23
/// has no `export_keying_material`. No other secret is asked for, and none leaves the process.
struct Observer {
    certs: Arc<CertStore>,
    host: Option<String>,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    server_name: Option<Box<str>>,
    certificate: Option<Arc<Certificate>>,
    exporter_secret: Option<Zeroizing<Vec<u8>>>,
}

impl Observer {
    fn new(certs: Arc<CertStore>, host: Option<String>) -> Observer {
        Observer { certs, host, seen: Mutex::default() }
    }
}

impl std::fmt::Debug for Observer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Observer").field("host", &self.host).finish_non_exhaustive()
    }
}

impl ResolvesServerCert for Observer {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let name = hello.server_name();
        let set = self.certs.current();
        let certificate = set.choose(name.or(self.host.as_deref()), Now::read())?;
        let mut seen = self.seen.lock();
        seen.server_name = name.map(Box::from);
        seen.certificate = Some(certificate.clone());
        Some(certificate.key().clone())
    }
}

/// RFC 8446 §7.1's exporter_master_secret, by its name in key logs.
const EXPORTER_SECRET: &str = "EXPORTER_SECRET";

impl KeyLog for Observer {
    fn will_log(&self, label: &str) -> bool {
        label == EXPORTER_SECRET
    }

    fn log(&self, label: &str, _client_random: &[u8], secret: &[u8]) {
        if label == EXPORTER_SECRET {
            self.seen.lock().exporter_secret = Some(Zeroizing::new(secret.to_vec()));
        }
    }
}

/// A session whose handshake is not finished.
pub(super) struct Handshake {
    pub(super) session: Box<Session>,
    observer: Arc<Observer>,
}

impl Handshake {
    pub(super) fn is_done(&self) -> bool {
        !self.session.conn.is_handshaking()
    }

    /// The session and what is known of it. Call it when [`Handshake::is_done`].
    pub(super) fn finish(self) -> Result<(Box<Session>, TlsFacts), TlsError> {
        let conn = &self.session.conn;
        let seen = std::mem::take(&mut *self.observer.seen.lock());
        let suite = conn.negotiated_cipher_suite().ok_or(TlsError::Unexpected("no cipher"))?;
        let exporter = match (suite, &seen.exporter_secret) {
            (SupportedCipherSuite::Tls13(suite), Some(secret)) => Some(exporter(suite, secret)),
            _ => None,
        };
        let facts = TlsFacts {
            is_tls13: conn.protocol_version() == Some(ProtocolVersion::TLSv1_3),
            cipher: suite.suite().as_str().unwrap_or("unknown"),
            alpn: conn.alpn_protocol().map(Box::from),
            server_name: seen.server_name,
            exporter,
            certificate: seen.certificate.ok_or(TlsError::Unexpected("no certificate"))?,
        };
        Ok((self.session, facts))
    }
}

/// RFC 8446 §7.5 with the label of RFC 9266 and an empty context.
fn exporter(suite: &Tls13CipherSuite, secret: &[u8]) -> [u8; 32] {
    let empty_hash = suite.common.hash_provider.hash(&[]);
    let expand = |secret: &[u8], label: &[u8], out: &mut [u8]| {
        let length = u16::try_from(out.len()).unwrap_or(u16::MAX).to_be_bytes();
        let label_length = [u8::try_from(6 + label.len()).unwrap_or(u8::MAX)];
        let context = empty_hash.as_ref();
        let context_length = [u8::try_from(context.len()).unwrap_or(u8::MAX)];
        let info: [&[u8]; 6] = [&length, &label_length, b"tls13 ", label, &context_length, context];
        suite
            .hkdf_provider
            .expander_for_okm(&OkmBlock::new(secret))
            .expand_slice(&info, out)
            .expect("one block is within HKDF's limit");
    };
    let mut derived = Zeroizing::new(vec![0; empty_hash.as_ref().len()]);
    expand(secret, b"EXPORTER-Channel-Binding", &mut derived);
    let mut out = [0; 32];
    expand(&derived, b"exporter", &mut out);
    out
}

/// One TLS connection, server side, without any I/O.
pub(super) struct Session {
    conn: UnbufferedServerConnection,
    /// What has arrived of a record or handshake message that is not yet whole.
    partial: Vec<u8>,
    peer_closed: bool,
}

impl Session {
    /// The peer has ended its side with close_notify; what arrives now is not to be opened.
    pub(super) fn peer_has_closed(&self) -> bool {
        self.peer_closed
    }

    /// Bytes at the front of a block that [`Session::open`] needs for what it has kept; what
    /// arrives is to be put behind them.
    pub(super) fn partial_bytes(&self) -> usize {
        self.partial.len()
    }

    /// Handles all whole records in `incoming`, whose first [`Session::partial_bytes`] are filled
    /// in here: appends their plaintext to `into` and what TLS
    /// itself has to answer (handshake, alerts) to `reply`. After an error, `reply` holds the alert that tells the peer why.
    pub(super) fn open(
        &mut self,
        incoming: &mut [u8],
        into: &mut Vec<u8>,
        reply: &mut Vec<u8>,
    ) -> Result<(), TlsError> {
        let kept = std::mem::take(&mut self.partial);
        incoming[..kept.len()].copy_from_slice(&kept);
        let mut done = 0;
        loop {
            let status = self.conn.process_tls_records(&mut incoming[done..]);
            let mut discard = status.discard;
            match status.state {
                Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                    while let Some(record) = traffic.next_record() {
                        let record = record?;
                        discard += record.discard;
                        into.extend_from_slice(record.payload);
                    }
                }
                Ok(ConnectionState::EncodeTlsData(mut data)) => {
                    encode(|out| data.encode(out), reply)?;
                }
                Ok(ConnectionState::TransmitTlsData(data)) => data.done(),
                Ok(ConnectionState::PeerClosed | ConnectionState::Closed) => {
                    // Whatever stands behind a close_notify is to be ignored (RFC 8446 §6.1).
                    self.peer_closed = true;
                    return Ok(());
                }
                Ok(ConnectionState::BlockedHandshake | ConnectionState::WriteTraffic(_)) => {
                    done += discard;
                    return self.keep(&incoming[done..]);
                }
                Ok(_) => return Err(TlsError::Unexpected("early data")),
                Err(error) => {
                    self.take_alert(reply);
                    return Err(error.into());
                }
            }
            done += discard;
        }
    }

    fn keep(&mut self, rest: &[u8]) -> Result<(), TlsError> {
        if rest.len() > PARTIAL_BYTES_MAX {
            return Err(TlsError::MessageTooLong);
        }
        self.partial = rest.to_vec();
        Ok(())
    }

    /// After an error rustls must not look at the input again, only hand out its last words.
    fn take_alert(&mut self, reply: &mut Vec<u8>) {
        while self.conn.wants_write() {
            match self.conn.process_tls_records(&mut []).state {
                Ok(ConnectionState::EncodeTlsData(mut data)) => {
                    if encode(|out| data.encode(out), reply).is_err() {
                        return;
                    }
                }
                _ => return,
            }
        }
    }

    /// Seals as much of `plain` as fits into `out`, in as few records as possible; returns bytes
    /// (taken from `plain`, written to `out`). With empty `plain` it writes what TLS wants to say
    /// by itself.
    pub(super) fn seal(
        &mut self,
        plain: &[u8],
        out: &mut [u8],
    ) -> Result<(usize, usize), TlsError> {
        let mut taken = 0;
        let mut written = 0;
        while taken < plain.len() {
            let room = (out.len() - written).saturating_sub(RECORD_OVERHEAD_MAX);
            let chunk = (plain.len() - taken).min(room).min(RECORD_PLAINTEXT_MAX);
            let record = &plain[taken..taken + chunk];
            if record.is_empty() {
                break;
            }
            let mut sealed = false;
            written += self.write(&mut out[written..], |traffic, out| {
                let bytes = traffic.encrypt(record, out)?;
                sealed = true;
                Ok(bytes)
            })?;
            if !sealed {
                // A key update took the place; the rest goes into the next block.
                break;
            }
            taken += chunk;
        }
        Ok((taken, written))
    }

    /// Writes our close_notify to `out` and returns its length. Nothing may be sealed after it.
    pub(super) fn seal_close(&mut self, out: &mut [u8]) -> Result<usize, TlsError> {
        self.write(out, |traffic, out| traffic.queue_close_notify(out))
    }

    /// Writes to `out` what TLS has to say by itself, then what `seal` writes. When that no longer
    /// fits, `seal` has no effect and is to be tried again with a fresh block.
    fn write(
        &mut self,
        out: &mut [u8],
        seal: impl FnOnce(&mut Traffic<'_>, &mut [u8]) -> Result<usize, EncryptError>,
    ) -> Result<usize, TlsError> {
        let mut written = 0;
        loop {
            // Not an empty slice: rustls remembers places in what it has seen in part.
            let status = self.conn.process_tls_records(&mut self.partial);
            match status.state? {
                ConnectionState::EncodeTlsData(mut data) => {
                    match data.encode(&mut out[written..]) {
                        Ok(bytes) => written += bytes,
                        Err(_) => return Err(TlsError::Unexpected("block too small")),
                    }
                }
                ConnectionState::TransmitTlsData(data) => data.done(),
                ConnectionState::PeerClosed => {}
                ConnectionState::WriteTraffic(mut traffic) => {
                    return match seal(&mut traffic, &mut out[written..]) {
                        Ok(bytes) => Ok(written + bytes),
                        Err(EncryptError::InsufficientSize(_)) if written > 0 => Ok(written),
                        Err(EncryptError::InsufficientSize(_)) => {
                            Err(TlsError::Unexpected("block too small"))
                        }
                        Err(EncryptError::EncryptExhausted) => Err(TlsError::KeysExhausted),
                    };
                }
                _ => return Err(TlsError::Unexpected("not open for writing")),
            }
        }
    }

    /// Version and cipher suite, by the names of the registries.
    pub(super) fn cipher(&self) -> Option<(&'static str, &'static str)> {
        let version = self.conn.protocol_version()?.as_str()?;
        Some((version, self.conn.negotiated_cipher_suite()?.suite().as_str()?))
    }
}

type Traffic<'c> = WriteTraffic<'c, rustls::server::ServerConnectionData>;

/// Appends to `reply` what `encode` writes, growing it to the size asked for.
fn encode(
    mut encode: impl FnMut(&mut [u8]) -> Result<usize, EncodeError>,
    reply: &mut Vec<u8>,
) -> Result<(), TlsError> {
    let start = reply.len();
    let needed = match encode(&mut []) {
        Ok(_) => return Ok(()),
        Err(EncodeError::InsufficientSize(size)) => size.required_size,
        Err(EncodeError::AlreadyEncoded) => return Err(TlsError::Unexpected("encoded twice")),
    };
    reply.resize(start + needed, 0);
    match encode(&mut reply[start..]) {
        Ok(written) => {
            reply.truncate(start + written);
            Ok(())
        }
        Err(_) => Err(TlsError::Unexpected("record does not fit")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_aes_instructions_chacha_comes_first_and_nothing_is_lost() {
        let names = |has_aes| -> Vec<&'static str> {
            let suites = server_provider(has_aes).cipher_suites;
            suites.iter().filter_map(|suite| suite.suite().as_str()).collect()
        };
        let (with, without) = (names(true), names(false));
        assert_eq!(without[0], "TLS13_CHACHA20_POLY1305_SHA256");
        assert_eq!(with.len(), without.len());
        assert!(with[0].contains("AES"));
    }
}
