//! A client made of a socket and a framer: it says what a test writes and tells what comes back. TLS
//! by rustls, which takes any certificate: the test knows which server it started.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use base64::prelude::{BASE64_STANDARD, Engine as _};
use coucou::auth::Hash;
use coucou::xml::framer::{Frame, Framer, Limits, StreamHeader};
use coucou::xml::{Element, ns};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme, StreamOwned,
    SupportedProtocolVersion,
};

/// How long an answer may take before the test counts as failed.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// One connection to a server.
pub struct Client {
    wire: Wire,
    framer: Framer,
    unread: Vec<u8>,
    heard: VecDeque<Event>,
}

enum Wire {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
    /// In the midst of a change from one to the other.
    None,
}

/// What a server says, one piece at a time.
#[derive(Debug)]
pub enum Event {
    Header(StreamHeader),
    Element(Element),
    /// `</stream:stream>`
    Close,
    /// The connection has ended.
    End,
}

impl Client {
    /// Connects without TLS.
    pub fn connect(address: SocketAddr) -> Client {
        let tcp = TcpStream::connect(address).expect("the server listens");
        tcp.set_nodelay(true).unwrap();
        Client {
            wire: Wire::Plain(tcp),
            framer: Framer::new(LIMITS),
            unread: Vec::new(),
            heard: VecDeque::new(),
        }
    }

    /// Connects by TLS from the first byte (XEP-0368).
    pub fn connect_tls(address: SocketAddr, domain: &str) -> Client {
        let mut client = Client::connect(address);
        client.secure(domain);
        client
    }

    /// The handshake of TLS.
    pub fn secure(&mut self, domain: &str) {
        self.try_secure(domain, &[b"xmpp-client"]).expect("a handshake");
    }

    /// The same with one version of TLS only.
    pub fn secure_by(&mut self, domain: &str, version: &'static SupportedProtocolVersion) {
        self.handshake(domain, config(&[version])).expect("a handshake");
    }

    /// The handshake, for a server that may not want to.
    pub fn try_secure(&mut self, domain: &str, alpn: &[&[u8]]) -> std::io::Result<()> {
        let mut config = CONFIG.clone();
        config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
        self.handshake(domain, config)
    }

    fn handshake(&mut self, domain: &str, config: ClientConfig) -> std::io::Result<()> {
        let Wire::Plain(mut tcp) = std::mem::replace(&mut self.wire, Wire::None) else {
            panic!("already secured");
        };
        tcp.set_read_timeout(Some(PATIENCE))?;
        let name = ServerName::try_from(domain.to_owned()).expect("a name for SNI");
        let mut tls = ClientConnection::new(Arc::new(config), name).unwrap();
        while tls.is_handshaking() {
            tls.complete_io(&mut tcp)?;
        }
        self.framer = Framer::new(LIMITS);
        self.wire = Wire::Tls(Box::new(StreamOwned::new(tls, tcp)));
        Ok(())
    }

    /// Signs in over TLS by SASL PLAIN, and leaves the stream's features read.
    pub fn authenticate(address: SocketAddr, domain: &str, user: &str, password: &str) -> Client {
        let mut client = Client::connect_tls(address, domain);
        client.open(domain);
        client.element();
        client.plain(user, password);
        let success = client.element();
        assert!(success.is("success", ns::SASL), "{}", success.to_xml(""));
        client.open(domain);
        client.element();
        client
    }

    /// Signs in and binds a resource.
    pub fn sign_in(address: SocketAddr, jid: &str, password: &str) -> Client {
        let (user, rest) = jid.split_once('@').expect("user@domain/resource");
        let (domain, resource) = rest.split_once('/').expect("user@domain/resource");
        let mut client = Client::authenticate(address, domain, user, password);
        client.bind(resource);
        client
    }

    /// Binds a resource as RFC 6120 §7 has it.
    pub fn bind(&mut self, resource: &str) {
        let bind = format!("<bind xmlns='{}'><resource>{resource}</resource></bind>", ns::BIND);
        let bound = self.ask("bind", &format!("<iq type='set' id='bind'>{bind}</iq>"));
        assert_eq!(bound.get("type"), Some("result"), "{}", bound.to_xml(ns::CLIENT));
    }

    pub fn plain(&mut self, user: &str, password: &str) {
        let proof = BASE64_STANDARD.encode(format!("\0{user}\0{password}"));
        self.say(&format!("<auth xmlns='{}' mechanism='PLAIN'>{proof}</auth>", ns::SASL));
    }

    /// Opens a stream to `domain` and returns the header that answers.
    pub fn open(&mut self, domain: &str) -> StreamHeader {
        self.say_header(domain, ns::CLIENT);
        match self.next() {
            Event::Header(header) => header,
            other => panic!("{other:?} instead of a stream header"),
        }
    }

    pub fn say_header(&mut self, domain: &str, default_ns: &str) {
        self.framer = Framer::new(LIMITS);
        self.say(&format!(
            "<?xml version='1.0'?><stream:stream to='{domain}' version='1.0' xmlns='{default_ns}' \
             xmlns:stream='{}'>",
            ns::STREAMS
        ));
    }

    /// Signs in as a component (XEP-0114). Stanzas read as if they were on a client's stream.
    pub fn component(address: SocketAddr, domain: &str, secret: &str) -> Client {
        let mut client = Client::connect(address);
        client.say_header(domain, ns::COMPONENT);
        let Event::Header(header) = client.next() else { panic!("no header") };
        let id = header.id.expect("a stream id");
        let proof = Hash::Sha1.digest(format!("{id}{secret}").as_bytes());
        let proof: String = proof.expose().iter().map(|byte| format!("{byte:02x}")).collect();
        client.say(&format!("<handshake>{proof}</handshake>"));
        let answer = client.element();
        assert!(answer.is("handshake", ns::COMPONENT), "{}", answer.to_xml(""));
        client.framer = framer();
        client
    }

    /// Sends; a connection that has ended meanwhile is noticed when reading.
    pub fn say(&mut self, xml: &str) {
        self.say_bytes(xml.as_bytes());
    }

    pub fn say_bytes(&mut self, bytes: &[u8]) {
        let _ = match &mut self.wire {
            Wire::Plain(tcp) => tcp.write_all(bytes),
            Wire::Tls(tls) => tls.write_all(bytes).and_then(|()| tls.flush()),
            Wire::None => Ok(()),
        };
    }

    /// What comes next; panics if nothing does in time.
    pub fn next(&mut self) -> Event {
        let event = self.next_within(PATIENCE);
        event.unwrap_or_else(|| {
            panic!("silence, behind {:?}", String::from_utf8_lossy(&self.unread))
        })
    }

    /// The next element; anything else fails the test.
    pub fn element(&mut self) -> Element {
        match self.next() {
            Event::Element(element) => element,
            other => panic!("{other:?} instead of an element"),
        }
    }

    /// The next element that `wanted` likes; those before it are dropped.
    pub fn find(&mut self, wanted: impl Fn(&Element) -> bool) -> Element {
        loop {
            let element = self.element();
            if wanted(&element) {
                return element;
            }
        }
    }

    /// Sends a request with this id and returns the answer; what comes before it is dropped.
    pub fn ask(&mut self, id: &str, xml: &str) -> Element {
        self.say(xml);
        self.find(|e| e.name() == "iq" && e.get("id") == Some(id) && e.get("type") != Some("get"))
    }

    /// Reads to the end of the connection; returns the last words.
    pub fn goodbye(&mut self) -> String {
        let mut words = String::new();
        loop {
            match self.next() {
                Event::Header(_) => {}
                Event::Element(element) => words.push_str(&element.to_xml(ns::CLIENT)),
                Event::Close => words.push_str("</stream:stream>"),
                Event::End => return words,
            }
        }
    }

    /// What was read too early is read next.
    pub fn put_back(&mut self, event: Event) {
        self.heard.push_front(event);
    }

    /// What comes next, or `None` if nothing does for so long.
    pub fn next_within(&mut self, time: Duration) -> Option<Event> {
        let deadline = Instant::now() + time;
        loop {
            if let Some(event) = self.heard.pop_front() {
                return Some(event);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return None;
            }
            self.hear(left);
        }
    }

    fn hear(&mut self, time: Duration) {
        let mut buffer = [0; 16 * 1024];
        let read = match &mut self.wire {
            Wire::Plain(tcp) => {
                tcp.set_read_timeout(Some(time)).unwrap();
                tcp.read(&mut buffer)
            }
            Wire::Tls(tls) => {
                tls.sock.set_read_timeout(Some(time)).unwrap();
                tls.read(&mut buffer)
            }
            Wire::None => Ok(0),
        };
        match read {
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Ok(0) | Err(_) => self.heard.push_back(Event::End),
            Ok(count) => {
                self.unread.extend_from_slice(&buffer[..count]);
                self.cut();
            }
        }
    }

    fn cut(&mut self) {
        let mut at = 0;
        loop {
            let frame = self.framer.next(&self.unread[at..]);
            let frame = frame.unwrap_or_else(|error| {
                panic!("{error}: {}", String::from_utf8_lossy(&self.unread))
            });
            let Some(frame) = frame else { break };
            let event = match &frame {
                Frame::Header { header, .. } => Some(Event::Header(header.clone())),
                Frame::Element { len } => {
                    let element = self.framer.element(&self.unread[at..at + len]);
                    Some(Event::Element(element.expect("what was framed can be read")))
                }
                Frame::Whitespace { .. } => None,
                Frame::Close { .. } => Some(Event::Close),
            };
            self.heard.extend(event);
            at += frame.len();
        }
        self.unread.drain(..at);
    }

    /// The socket, for somebody who wants to cut it.
    pub fn wire(&self) -> TcpStream {
        let tcp = match &self.wire {
            Wire::Plain(tcp) => tcp,
            Wire::Tls(tls) => &tls.sock,
            Wire::None => panic!("no connection"),
        };
        tcp.try_clone().expect("a file descriptor")
    }

    fn tls(&self) -> &ClientConnection {
        match &self.wire {
            Wire::Tls(tls) => &tls.conn,
            _ => panic!("not secured"),
        }
    }

    pub fn alpn(&self) -> Option<&[u8]> {
        self.tls().alpn_protocol()
    }

    pub fn certificate(&self) -> &[u8] {
        &self.tls().peer_certificates().expect("a certificate")[0]
    }

    /// Channel binding data of a type (RFC 9266, RFC 5929).
    pub fn binding(&self, name: &str) -> Vec<u8> {
        match name {
            "tls-exporter" => {
                let label = b"EXPORTER-Channel-Binding";
                self.tls().export_keying_material(vec![0; 32], label, Some(b"")).unwrap()
            }
            // Our certificates are signed with SHA-256.
            "tls-server-end-point" => Hash::Sha256.digest(self.certificate()).expose().to_vec(),
            other => panic!("what is {other}?"),
        }
    }
}

/// Reads what follows the header of a client's stream.
pub fn framer() -> Framer {
    let header = format!("<stream:stream xmlns='{}' xmlns:stream='{}'>", ns::CLIENT, ns::STREAMS);
    let mut framer = Framer::new(LIMITS);
    framer.next(header.as_bytes()).expect("a header");
    framer
}

const LIMITS: Limits = Limits { header_bytes_max: 4096, ..Limits::STORED };

static CONFIG: LazyLock<ClientConfig> = LazyLock::new(|| config(rustls::DEFAULT_VERSIONS));

/// What takes whatever certificate it is shown.
pub fn any_certificate() -> ClientConfig {
    CONFIG.clone()
}

fn config(versions: &[&'static SupportedProtocolVersion]) -> ClientConfig {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    ClientConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(versions)
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Trusting(provider)))
        .with_no_client_auth()
}

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
