//! A client of few words for tests of the whole program: direct TLS, PLAIN, one resource.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme, StreamOwned};

/// How long an answer may take before the test counts as failed.
const PATIENCE: Duration = Duration::from_secs(20);

/// A signed-in session.
pub struct Client {
    stream: StreamOwned<ClientConnection, TcpStream>,
    seen: String,
}

impl Client {
    /// Connects to `port` on loopback and signs `name@localhost` in as `resource`.
    pub fn sign_in(port: u16, name: &str, password: &str, resource: &str) -> Client {
        let tcp = TcpStream::connect(("127.0.0.1", port)).expect("the server listens");
        tcp.set_read_timeout(Some(PATIENCE)).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Trusting(provider)))
            .with_no_client_auth();
        let name_of_server = ServerName::try_from("localhost").unwrap();
        let tls = ClientConnection::new(Arc::new(config), name_of_server).unwrap();
        let mut client = Client { stream: StreamOwned::new(tls, tcp), seen: String::new() };
        client.open();
        let proof = BASE64_STANDARD.encode(format!("\0{name}\0{password}"));
        client.say(&format!(
            "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>{proof}</auth>"
        ));
        client.expect("<success");
        client.open();
        client.say(&format!(
            "<iq type='set' id='bind'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'>\
             <resource>{resource}</resource></bind></iq>"
        ));
        client.expect("</iq>");
        client
    }

    fn open(&mut self) {
        self.say(
            "<stream:stream to='localhost' version='1.0' xmlns='jabber:client' \
             xmlns:stream='http://etherx.jabber.org/streams'>",
        );
        self.expect("</stream:features>");
    }

    pub fn say(&mut self, xml: &str) {
        self.stream.write_all(xml.as_bytes()).expect("the server takes it");
        self.stream.flush().unwrap();
    }

    /// Reads up to and including `text`; returns all that came.
    pub fn expect(&mut self, text: &str) -> String {
        let mut buffer = [0; 4096];
        loop {
            if let Some(at) = self.seen.find(text) {
                let rest = self.seen.split_off(at + text.len());
                return std::mem::replace(&mut self.seen, rest);
            }
            let count = self.stream.read(&mut buffer).unwrap_or(0);
            assert!(count > 0, "{text:?} never came, but {:?}", self.seen);
            self.seen.push_str(&String::from_utf8_lossy(&buffer[..count]));
        }
    }
}

/// Takes any certificate: the test knows which server it started.
#[derive(Debug)]
struct Trusting(Arc<CryptoProvider>);

impl ServerCertVerifier for Trusting {
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
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let known = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, known)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let known = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, known)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
