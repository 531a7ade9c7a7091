//! The server under test: where it is, how to reach it, who logs in.

use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;

use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use tokio_rustls::TlsConnector;

use crate::error::{Error, Result};
use crate::scram::{Keyring, Mechanism};

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Security {
    /// TLS from the first byte (XEP-0368)
    Direct,
    /// `<starttls/>` on a plain stream (RFC 6120)
    Starttls,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum TlsVersion {
    #[value(name = "1.2")]
    V1_2,
    #[value(name = "1.3")]
    V1_3,
}

/// Everything a session needs to know to log in.
pub struct Target {
    pub address: SocketAddr,
    pub domain: String,
    pub security: Security,
    pub connector: TlsConnector,
    pub server_name: ServerName<'static>,
    pub keyring: Keyring,
    pub user_pattern: String,
    pub password_pattern: String,
    /// The longest wait for any single answer.
    pub patience: Duration,
}

impl Target {
    /// The local part of account `index`.
    pub fn user(&self, index: usize) -> String {
        self.user_pattern.replace("{}", &index.to_string())
    }

    pub fn password(&self, index: usize) -> String {
        self.password_pattern.replace("{}", &index.to_string())
    }

    /// The bare JID of account `index`.
    pub fn jid(&self, index: usize) -> String {
        format!("{}@{}", self.user(index), self.domain)
    }
}

/// What the command line says of the target.
pub struct TargetOptions<'a> {
    pub server: &'a str,
    pub domain: &'a str,
    pub security: Security,
    pub tls_version: TlsVersion,
    pub mechanism: Mechanism,
    pub user_pattern: &'a str,
    pub password_pattern: &'a str,
    pub patience: Duration,
    /// Whether an address that is not this machine's is meant.
    pub anywhere: bool,
}

impl TargetOptions<'_> {
    pub fn resolve(&self) -> Result<Target> {
        let address = resolve(self.server, self.anywhere)?;
        let server_name = ServerName::try_from(self.domain.to_owned())
            .map_err(|_| Error::Usage(format!("{} is no domain name", self.domain)))?;
        Ok(Target {
            address,
            domain: self.domain.to_owned(),
            security: self.security,
            connector: TlsConnector::from(Arc::new(tls_config(self.tls_version, self.security))),
            server_name,
            keyring: Keyring::new(self.mechanism),
            user_pattern: self.user_pattern.to_owned(),
            password_pattern: self.password_pattern.to_owned(),
            patience: self.patience,
        })
    }
}

/// Load is sent to this machine only, unless its user says that the other machine is theirs.
fn resolve(server: &str, anywhere: bool) -> Result<SocketAddr> {
    let addresses: Vec<SocketAddr> = server
        .to_socket_addrs()
        .map_err(|error| Error::Usage(format!("--server {server}: {error}")))?
        .collect();
    if !anywhere && addresses.iter().any(|address| !address.ip().to_canonical().is_loopback()) {
        return Err(Error::Usage(format!(
            "{server} is not a loopback address; if you own that server and may load it, say \
             --i-own-this-server"
        )));
    }
    let v4_first = addresses.iter().min_by_key(|address| address.is_ipv6());
    v4_first.copied().ok_or_else(|| Error::Usage(format!("--server {server}: no address")))
}

fn tls_config(version: TlsVersion, security: Security) -> ClientConfig {
    let versions: &[&rustls::SupportedProtocolVersion] = match version {
        TlsVersion::V1_2 => &[&rustls::version::TLS12],
        TlsVersion::V1_3 => &[&rustls::version::TLS13],
    };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .expect("ring has suites for both versions")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyCertificate))
        .with_no_client_auth();
    // Every login is to cost the server a full handshake.
    config.resumption = Resumption::disabled();
    if security == Security::Direct {
        config.alpn_protocols = vec![b"xmpp-client".to_vec()];
    }
    config
}

/// Servers under test have self-signed certificates, and checking any is the generator's work, not
/// the server's. The accounts are made for the test: there is nothing to protect.
#[derive(Debug)]
struct AnyCertificate;

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> std::result::Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        rustls::crypto::ring::default_provider()
            .signature_verification_algorithms
            .supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_without_a_word() {
        assert!(resolve("127.0.0.1:5222", false).is_ok());
        assert!(resolve("[::1]:5222", false).is_ok());
        assert!(resolve("[::ffff:127.0.0.1]:5222", false).is_ok());
        for address in ["192.0.2.1:5222", "10.0.0.1:5222", "0.0.0.0:5222", "[2001:db8::1]:5222"] {
            assert!(matches!(resolve(address, false), Err(Error::Usage(_))), "{address}");
            assert!(resolve(address, true).is_ok(), "{address}");
        }
    }
}
