//! TLS at the door: application protocols, certificates, addresses.

use std::fs;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, TcpListener};

use rcgen::{CertificateParams, KeyPair};

use crate::client::Client;
use crate::scram;
use crate::server::{PASSWORD, Server};

#[test]
fn direct_tls_wants_clients_of_xmpp_or_of_no_name() {
    let server = Server::start();
    for (offered, agreed) in [
        (&[b"xmpp-client".as_slice()][..], Some(b"xmpp-client".as_slice())),
        (&[b"h2", b"xmpp-client"], Some(b"xmpp-client")),
        (&[], None),
    ] {
        let mut client = Client::connect(server.c2s_tls());
        client.try_secure("example.org", offered).unwrap();
        assert_eq!(client.alpn(), agreed);
        client.open("example.org");
    }
    // ALPACA: a client of something else must not be led here.
    let mut client = Client::connect(server.c2s_tls());
    assert!(client.try_secure("example.org", &[b"h2", b"http/1.1"]).is_err());
    server.sign_in("alice@example.org/phone");
}

#[test]
fn clients_of_tls_1_2_sign_in_with_the_binding_that_they_have() {
    let server = Server::start();
    let mut client = Client::connect(server.c2s_tls());
    client.secure_by("example.org", &rustls::version::TLS12);
    client.open("example.org");
    client.element();
    scram::prove(&mut client, "SCRAM-SHA-256-PLUS:tls-server-end-point", "alice", PASSWORD)
        .unwrap();
}

#[test]
fn changed_certificates_serve_whoever_comes_next_and_cut_nobody() {
    let server = Server::start();
    let mut before = server.sign_in("alice@example.org/phone");
    let old = before.certificate().to_vec();

    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["example.org".to_owned()]).unwrap();
    let certificate = params.self_signed(&key).unwrap();
    let file = server.path("certs/example.org.pem");
    fs::write(&file, certificate.pem() + &key.serialize_pem()).unwrap();
    server.hang_up();
    let now = Client::connect_tls(server.c2s_tls(), "example.org");
    assert_eq!(now.certificate(), certificate.der().as_ref());
    assert_ne!(now.certificate(), old);
    let ping = "<iq type='get' id='p' to='example.org'><ping xmlns='urn:xmpp:ping'/></iq>";
    assert_eq!(before.ask("p", ping).get("type"), Some("result"));

    // A file that is none changes nothing.
    fs::write(&file, "not a certificate").unwrap();
    server.refuses(&["reload"]);
    let after = Client::connect_tls(server.c2s_tls(), "example.org");
    assert_eq!(after.certificate(), certificate.der().as_ref());
    assert_eq!(before.ask("p", ping).get("type"), Some("result"));
}

#[test]
fn each_host_shows_its_own_certificate() {
    let server = Server::start_with("[hosts.\"other.example\"]\nscram_iterations = 4096\n");
    let first = Client::connect_tls(server.c2s_tls(), "example.org");
    let mut other = Client::connect(server.c2s());
    other.open("other.example");
    other.element();
    other.say("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>");
    other.element();
    other.secure("other.example");
    assert_ne!(first.certificate(), other.certificate());
}

#[test]
fn clients_come_by_ipv6() {
    let loopback = IpAddr::V6(Ipv6Addr::LOCALHOST);
    let Ok(probe) = TcpListener::bind((loopback, 0)) else {
        println!("no IPv6 on this machine");
        return;
    };
    drop(probe);
    let server = Server::start_on(loopback, "");
    let address = SocketAddr::new(loopback, server.c2s_tls().port());
    let mut client = Client::sign_in(address, "alice@example.org/phone", PASSWORD);
    let ping = "<iq type='get' id='p' to='example.org'><ping xmlns='urn:xmpp:ping'/></iq>";
    assert_eq!(client.ask("p", ping).get("type"), Some("result"));
}
