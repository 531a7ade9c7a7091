//! Our TLS against rustls' ordinary buffered client, over loopback.

mod certificates;
mod conversation;
mod hostile;

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme, StreamOwned};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use tokio::net::TcpListener;

use super::certs::{CertSource, CertStore, write_self_signed};
use super::socket::{AcceptError, ReadOutcome, Socket};
use super::tls::{self, Acceptor, TlsFacts};
use crate::time::Now;

const PATIENCE: Duration = Duration::from_secs(10);

type Client = StreamOwned<ClientConnection, std::net::TcpStream>;

/// A folder with certificates, and a store that reads them.
struct Certs {
    folder: tempfile::TempDir,
    store: Arc<CertStore>,
}

impl Certs {
    /// One self-signed certificate per list of names; the first is the default.
    fn of(lists: &[&[&str]]) -> Certs {
        let folder = tempfile::tempdir().unwrap();
        let sources = lists
            .iter()
            .enumerate()
            .map(|(i, names)| make_cert(&folder.path().join(format!("{i}.pem")), names))
            .collect();
        Certs { store: Arc::new(CertStore::open(sources).unwrap()), folder }
    }

    fn path(&self, index: usize) -> PathBuf {
        self.folder.path().join(format!("{index}.pem"))
    }

    fn acceptor(&self) -> Acceptor {
        Acceptor::new(self.store.clone(), &["xmpp-client"])
    }
}

fn make_cert(path: &Path, names: &[&str]) -> CertSource {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    write_self_signed(path, &names, Now::read()).unwrap()
}

/// Takes any certificate, since what is under test is the server; signatures are checked.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

fn client_config(version: &'static rustls::SupportedProtocolVersion) -> ClientConfig {
    let provider = tls::provider();
    let mut config = ClientConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[version])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)))
        .with_no_client_auth();
    config.alpn_protocols = vec![b"xmpp-client".to_vec()];
    config
}

/// Connects, shakes hands, and runs `talk` on a thread of its own.
fn client<T: Send + 'static>(
    addr: SocketAddr,
    config: ClientConfig,
    name: &str,
    talk: impl FnOnce(Client) -> T + Send + 'static,
) -> tokio::task::JoinHandle<T> {
    let name = ServerName::try_from(name.to_owned()).unwrap();
    tokio::task::spawn_blocking(move || {
        let tcp = std::net::TcpStream::connect(addr).unwrap();
        tcp.set_nodelay(true).unwrap();
        let conn = ClientConnection::new(Arc::new(config), name).unwrap();
        let mut client = StreamOwned::new(conn, tcp);
        while client.conn.is_handshaking() {
            client.conn.complete_io(&mut client.sock).unwrap();
        }
        talk(client)
    })
}

async fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    (listener, addr)
}

async fn accept_plain(listener: &TcpListener) -> Socket {
    let (tcp, _) = listener.accept().await.unwrap();
    Socket::plain(tcp)
}

async fn accept(listener: &TcpListener, acceptor: &Acceptor) -> (Socket, TlsFacts, Vec<u8>) {
    let mut early = Vec::new();
    let mut socket = accept_plain(listener).await;
    let facts = socket.accept_tls(acceptor, None, b"", PATIENCE, &mut early).await.unwrap();
    (socket, facts, early)
}

/// A client and a server that have shaken hands, and what the client has said since.
async fn pair<T: Send + 'static>(
    version: &'static rustls::SupportedProtocolVersion,
    talk: impl FnOnce(Client) -> T + Send + 'static,
) -> (Socket, Vec<u8>, tokio::task::JoinHandle<T>) {
    let certs = Certs::of(&[&["example.org"]]);
    let (listener, addr) = listen().await;
    let client = client(addr, client_config(version), "example.org", talk);
    let (socket, _, early) = accept(&listener, &certs.acceptor()).await;
    (socket, early, client)
}

/// Reads until `bytes` have come or the stream ends.
async fn read_until(socket: &mut Socket, into: &mut Vec<u8>, bytes: usize) -> ReadOutcome {
    loop {
        match socket.try_read(into).unwrap() {
            ReadOutcome::WouldBlock if into.len() < bytes => socket.readable().await.unwrap(),
            ReadOutcome::More if into.len() < bytes => {}
            outcome => return outcome,
        }
    }
}

/// Bytes without a pattern that a shifted or repeated block could hide in.
fn noise(len: usize) -> Vec<u8> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    (0..len)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state as u8
        })
        .collect()
}
