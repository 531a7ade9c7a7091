//! Handshakes, transfers and ends of connections.

use super::*;

static VERSIONS: [&rustls::SupportedProtocolVersion; 2] =
    [&rustls::version::TLS13, &rustls::version::TLS12];

#[tokio::test]
async fn both_versions_shake_hands_and_agree_on_the_facts() {
    let certs = Certs::of(&[&["example.org"]]);
    for version in VERSIONS {
        let (listener, addr) = listen().await;
        let client = client(addr, client_config(version), "example.org", |client| {
            let exporter = client
                .conn
                .export_keying_material([0; 32], b"EXPORTER-Channel-Binding", Some(b""))
                .unwrap();
            let leaf = client.conn.peer_certificates().unwrap()[0].to_vec();
            (exporter, leaf, client.conn.alpn_protocol().map(<[u8]>::to_vec))
        });
        let (socket, facts, _) = accept(&listener, &certs.acceptor()).await;
        let (exporter, leaf, alpn) = client.await.unwrap();

        let is_tls13 = version.version == rustls::ProtocolVersion::TLSv1_3;
        assert_eq!(facts.is_tls13, is_tls13);
        assert_eq!(facts.exporter, is_tls13.then_some(exporter));
        assert_eq!(facts.server_name.as_deref(), Some("example.org"));
        assert_eq!(facts.alpn.as_deref(), Some(&b"xmpp-client"[..]));
        assert_eq!(alpn.as_deref(), Some(&b"xmpp-client"[..]));
        let end_point = <sha2::Sha256 as sha2::Digest>::digest(leaf);
        assert_eq!(facts.certificate.end_point(), Some(end_point.as_slice()));
        assert_eq!(socket.cipher().unwrap().1, facts.cipher);
        assert_eq!(socket.pending_bytes(), 0);
    }
}

#[tokio::test]
async fn megabytes_pass_both_ways_unharmed() {
    const BYTES: usize = 3_000_000;
    let certs = Certs::of(&[&["example.org"]]);
    for version in VERSIONS {
        let (listener, addr) = listen().await;
        let client = client(addr, client_config(version), "example.org", |mut client| {
            let sent = noise(BYTES);
            client.write_all(&sent).unwrap();
            client.flush().unwrap();
            let mut received = vec![0; BYTES];
            client.read_exact(&mut received).unwrap();
            assert_eq!(received, sent);
        });
        let (mut socket, _, mut received) = accept(&listener, &certs.acceptor()).await;
        read_until(&mut socket, &mut received, BYTES).await;
        assert_eq!(received, noise(BYTES));
        socket.queue(&received);
        socket.flush().await.unwrap();
        assert_eq!(socket.pending_bytes(), 0);
        client.await.unwrap();
    }
}
