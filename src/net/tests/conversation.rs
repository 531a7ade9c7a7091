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
    for version in VERSIONS {
        let (mut socket, mut received, client) = pair(version, |mut client| {
            let sent = noise(BYTES);
            client.write_all(&sent).unwrap();
            client.flush().unwrap();
            let mut received = vec![0; BYTES];
            client.read_exact(&mut received).unwrap();
            assert_eq!(received, sent);
        })
        .await;
        read_until(&mut socket, &mut received, BYTES).await;
        assert_eq!(received, noise(BYTES));
        socket.queue(&received);
        socket.flush().await.unwrap();
        assert_eq!(socket.pending_bytes(), 0);
        client.await.unwrap();
    }
}

#[tokio::test]
async fn one_call_reads_no_more_than_its_share() {
    const BYTES: usize = 1_000_000;
    let (mut socket, mut received, client) = pair(&rustls::version::TLS13, |mut client| {
        client.write_all(&noise(BYTES)).unwrap();
        client.flush().unwrap();
    })
    .await;
    let mut paused = 0;
    while received.len() < BYTES {
        socket.readable().await.unwrap();
        let before = received.len();
        let outcome = socket.try_read(&mut received).unwrap();
        assert!(received.len() - before <= 64 * 1024 + super::super::buffers::BLOCK_BYTES);
        paused += usize::from(outcome == ReadOutcome::More);
    }
    assert!(paused > 0, "a megabyte should have needed more than one call in a row");
    assert_eq!(received, noise(BYTES));
    client.await.unwrap();
}

#[tokio::test]
async fn many_stanzas_share_a_record() {
    let (mut socket, _, client) = pair(&rustls::version::TLS13, |mut client| {
        // The record's length stands in its header, which the plain socket shows.
        let mut header = [0; 5];
        client.sock.peek(&mut header).unwrap();
        let mut text = vec![0; 100 * 11];
        client.read_exact(&mut text).unwrap();
        assert_eq!(text, b"<presence/>".repeat(100));
        u16::from_be_bytes([header[3], header[4]])
    })
    .await;
    for _ in 0..100 {
        socket.queue(b"<presence/>");
    }
    assert_eq!(socket.pending_bytes(), 1100);
    assert!(socket.try_flush().unwrap());
    // One byte of content type, 16 of tag.
    assert_eq!(client.await.unwrap(), 1100 + 1 + 16);
}

#[tokio::test]
async fn bytes_that_trickle_in_are_put_together() {
    for version in VERSIONS {
        let (mut socket, mut received, client) = pair(version, |mut client| {
            let mut wire = Vec::new();
            client.conn.writer().write_all(&noise(300)).unwrap();
            client.conn.write_tls(&mut wire).unwrap();
            client.sock.set_nodelay(true).unwrap();
            for byte in wire {
                client.sock.write_all(&[byte]).unwrap();
                std::thread::sleep(Duration::from_micros(200));
            }
            client
        })
        .await;
        while received.is_empty() {
            socket.readable().await.unwrap();
            assert_eq!(socket.try_read(&mut received).unwrap(), ReadOutcome::WouldBlock);
        }
        assert_eq!(received, noise(300));
        client.await.unwrap();
    }
}

#[tokio::test]
async fn a_slow_reader_leaves_bytes_pending_and_loses_none() {
    const BYTES: usize = 8_000_000;
    let (may_read, wait) = std::sync::mpsc::channel();
    let (mut socket, _, client) = pair(&rustls::version::TLS13, move |mut client| {
        wait.recv().unwrap();
        let mut received = vec![0; BYTES];
        client.read_exact(&mut received).unwrap();
        received
    })
    .await;
    let sent = noise(BYTES);
    let mut queued = 0;
    // Until the kernel's buffers are full, as the connection task would do it.
    while socket.pending_bytes() < 64 * 1024 {
        socket.queue(&sent[queued..queued + 50_000]);
        queued += 50_000;
        if !socket.try_flush().unwrap() {
            let stuck = socket.pending_bytes();
            assert!(!socket.try_flush().unwrap());
            assert_eq!(socket.pending_bytes(), stuck);
        }
    }
    assert!(queued < BYTES, "the kernel took everything");
    may_read.send(()).unwrap();
    socket.queue(&sent[queued..]);
    socket.flush().await.unwrap();
    assert_eq!(socket.pending_bytes(), 0);
    assert_eq!(client.await.unwrap(), sent);
}

#[tokio::test]
async fn keys_are_renewed_when_the_client_asks() {
    let (mut socket, mut received, client) = pair(&rustls::version::TLS13, |mut client| {
        for round in 0..3_u8 {
            client.conn.refresh_traffic_keys().unwrap();
            client.write_all(&[round]).unwrap();
            client.flush().unwrap();
            let mut answer = [0; 1];
            client.read_exact(&mut answer).unwrap();
            assert_eq!(answer, [round]);
        }
    })
    .await;
    for _ in 0..3 {
        read_until(&mut socket, &mut received, 1).await;
        socket.queue(&received);
        received.clear();
        socket.flush().await.unwrap();
    }
    client.await.unwrap();
}

#[tokio::test]
async fn words_that_come_with_the_last_handshake_message_are_not_lost() {
    let certs = Certs::of(&[&["example.org"]]);
    let (listener, addr) = listen().await;
    let client = tokio::task::spawn_blocking(move || {
        let mut tcp = std::net::TcpStream::connect(addr).unwrap();
        let name = ServerName::try_from("example.org").unwrap();
        let config = Arc::new(client_config(&rustls::version::TLS13));
        let mut conn = ClientConnection::new(config, name).unwrap();
        conn.write_tls(&mut tcp).unwrap();
        while conn.is_handshaking() {
            conn.read_tls(&mut tcp).unwrap();
            conn.process_new_packets().unwrap();
        }
        conn.writer().write_all(b"<stream:stream>").unwrap();
        let mut together = Vec::new();
        while conn.wants_write() {
            conn.write_tls(&mut together).unwrap();
        }
        tcp.write_all(&together).unwrap();
        tcp
    });
    let (_socket, _, early) = accept(&listener, &certs.acceptor()).await;
    client.await.unwrap();
    assert_eq!(early, b"<stream:stream>");
}

#[tokio::test]
async fn both_sides_close_in_order() {
    for version in VERSIONS {
        let (mut socket, mut received, client) = pair(version, |mut client| {
            client.write_all(b"</stream:stream>").unwrap();
            client.conn.send_close_notify();
            client.flush().unwrap();
            let mut rest = Vec::new();
            // Fails with UnexpectedEof if the server's close_notify is missing.
            client.read_to_end(&mut rest).unwrap();
            rest
        })
        .await;
        let outcome = read_until(&mut socket, &mut received, usize::MAX).await;
        assert_eq!((&received[..], outcome), (&b"</stream:stream>"[..], ReadOutcome::CloseNotify));
        // The other direction is still open.
        socket.queue(b"<bye/>");
        socket.close(PATIENCE).await;
        assert_eq!(client.await.unwrap(), b"<bye/>");
    }
}

#[tokio::test]
async fn the_last_words_reach_a_client_that_is_still_talking() {
    let (mut socket, _, client) = pair(&rustls::version::TLS13, |mut client| {
        client.write_all(&noise(100_000)).unwrap();
        client.flush().unwrap();
        std::thread::sleep(Duration::from_millis(50));
        let mut rest = Vec::new();
        client.read_to_end(&mut rest).unwrap();
        rest
    })
    .await;
    socket.queue(b"<stream:error/></stream:stream>");
    socket.close(PATIENCE).await;
    assert_eq!(client.await.unwrap(), b"<stream:error/></stream:stream>");
}

#[tokio::test]
async fn a_cut_connection_is_not_taken_for_an_orderly_end() {
    let (mut socket, mut received, client) = pair(&rustls::version::TLS13, |mut client| {
        client.write_all(b"<message>").unwrap();
        client.flush().unwrap();
        client.sock.shutdown(std::net::Shutdown::Write).unwrap();
    })
    .await;
    client.await.unwrap();
    assert_eq!(read_until(&mut socket, &mut received, usize::MAX).await, ReadOutcome::Eof);
    assert_eq!(received, b"<message>");
}

#[tokio::test]
async fn a_plain_socket_speaks_and_turns_to_tls() {
    let certs = Certs::of(&[&["example.org"]]);
    let (listener, addr) = listen().await;
    let client = tokio::task::spawn_blocking(move || {
        let mut tcp = std::net::TcpStream::connect(addr).unwrap();
        tcp.write_all(b"<starttls/>").unwrap();
        let mut proceed = [0; 10];
        tcp.read_exact(&mut proceed).unwrap();
        assert_eq!(&proceed, b"<proceed/>");
        let config = Arc::new(client_config(&rustls::version::TLS13));
        let name = ServerName::try_from("example.org").unwrap();
        let mut client = StreamOwned::new(ClientConnection::new(config, name).unwrap(), tcp);
        client.write_all(b"secret").unwrap();
        client.flush().unwrap();
    });
    let mut socket = accept_plain(&listener).await;
    assert!(!socket.is_secure());
    let mut received = Vec::new();
    read_until(&mut socket, &mut received, 11).await;
    assert_eq!(received, b"<starttls/>");
    received.clear();
    socket.queue(b"<proceed/>");
    let accepted = socket
        .accept_tls(&certs.acceptor(), Some("example.org"), b"", PATIENCE, &mut received)
        .await;
    accepted.unwrap();
    read_until(&mut socket, &mut received, 6).await;
    assert_eq!(received, b"secret");
    assert!(socket.is_secure());
    client.await.unwrap();
}

/// Skipped where there is no openssl command.
#[tokio::test]
async fn openssl_agrees_on_the_exporter() {
    use std::process::{Command, Stdio};

    if Command::new("openssl").arg("version").output().is_err() {
        return;
    }
    let certs = Certs::of(&[&["example.org"]]);
    let (listener, addr) = listen().await;
    let client = tokio::task::spawn_blocking(move || {
        Command::new("openssl")
            .args(["s_client", "-connect", &addr.to_string(), "-servername", "example.org"])
            .args(["-alpn", "xmpp-client", "-tls1_3"])
            .args(["-keymatexport", "EXPORTER-Channel-Binding", "-keymatexportlen", "32"])
            .stdin(Stdio::null())
            .output()
            .unwrap()
    });
    let (socket, facts, _) = accept(&listener, &certs.acceptor()).await;
    socket.close(PATIENCE).await;
    let output = String::from_utf8(client.await.unwrap().stdout).unwrap();
    let exporter: String =
        facts.exporter.unwrap().iter().map(|byte| format!("{byte:02X}")).collect();
    assert!(output.contains(&format!("Keying material: {exporter}")), "{output}");
}
