//! Peers that break the rules: refused, told why where TLS has a word for it, and cheap.

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use rustls::ConnectionTrafficSecrets;

use super::*;

/// What the server says of a client that sends `bytes` instead of a handshake, and its answer.
async fn refusal(bytes: &'static [u8], patience: Duration) -> (AcceptError, Vec<u8>) {
    let certs = Certs::of(&[&["example.org"]]);
    let (listener, addr) = listen().await;
    let client = tokio::task::spawn_blocking(move || {
        let mut tcp = std::net::TcpStream::connect(addr).unwrap();
        tcp.write_all(bytes).unwrap();
        let mut answer = Vec::new();
        // The server may reset the connection, since it leaves bytes unread.
        let _ = tcp.read_to_end(&mut answer);
        answer
    });
    let mut socket = accept_plain(&listener).await;
    let error = socket
        .accept_tls(&certs.acceptor(), None, b"", patience, &mut Vec::new())
        .await
        .err()
        .unwrap();
    drop(socket);
    (error, client.await.unwrap())
}

const FATAL_ALERT: &[u8] = &[21, 3, 3, 0, 2, 2];

#[tokio::test]
async fn what_is_not_tls_is_refused_with_an_alert() {
    let inputs: [&[u8]; 5] = [
        b"GET / HTTP/1.1\r\nHost: example.org\r\n\r\n",
        b"<?xml version='1.0'?><stream:stream to='example.org'>",
        &[0; 64],
        // Application data before the handshake, then a record longer than any may be.
        &[23, 3, 3, 0, 4, 1, 2, 3, 4],
        &[22, 3, 1, 0xff, 0xff, 1, 2, 3],
    ];
    for input in inputs {
        let (error, answer) = refusal(input, PATIENCE).await;
        assert!(matches!(error, AcceptError::Tls(_)), "{error}");
        assert!(answer.starts_with(FATAL_ALERT), "{input:?} -> {error}: {answer:?}");
    }
}

#[tokio::test]
async fn an_endless_client_hello_is_cut_short() {
    // A hello that announces 64 KiB, in records of 1 KiB of which no end comes.
    static HELLO: std::sync::LazyLock<Vec<u8>> = std::sync::LazyLock::new(|| {
        let mut hello = Vec::new();
        for record in 0..60 {
            hello.extend_from_slice(&[22, 3, 1, 4, 0]);
            let mut body = vec![0; 1024];
            if record == 0 {
                body[..4].copy_from_slice(&[1, 0, 0xff, 0]);
            }
            hello.extend_from_slice(&body);
        }
        hello
    });
    let (error, _) = refusal(&HELLO, PATIENCE).await;
    assert!(error.to_string().contains("longer than"), "{error}");
}

#[tokio::test]
async fn silence_ends_by_the_deadline() {
    let (error, answer) = refusal(&[22, 3, 1], Duration::from_millis(100)).await;
    assert!(matches!(error, AcceptError::Timeout(_)), "{error}");
    assert_eq!(answer, b"");
}

#[tokio::test]
async fn plaintext_behind_starttls_is_refused() {
    let certs = Certs::of(&[&["example.org"]]);
    let (listener, addr) = listen().await;
    let _client = std::net::TcpStream::connect(addr).unwrap();
    let mut socket = accept_plain(&listener).await;
    let injected = b"<message/>";
    let error = socket
        .accept_tls(&certs.acceptor(), None, injected, PATIENCE, &mut Vec::new())
        .await
        .err()
        .unwrap();
    assert!(matches!(error, AcceptError::PipelinedPlaintext(10)), "{error}");
}

#[tokio::test]
async fn a_client_without_our_protocol_is_refused() {
    let certs = Certs::of(&[&["example.org"]]);
    let (listener, addr) = listen().await;
    let client = tokio::task::spawn_blocking(move || {
        let mut config = client_config(&rustls::version::TLS13);
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        let mut tcp = std::net::TcpStream::connect(addr).unwrap();
        let name = ServerName::try_from("example.org").unwrap();
        let mut conn = ClientConnection::new(Arc::new(config), name).unwrap();
        conn.complete_io(&mut tcp).unwrap_err().to_string()
    });
    let mut socket = accept_plain(&listener).await;
    let result = socket.accept_tls(&certs.acceptor(), None, b"", PATIENCE, &mut Vec::new()).await;
    assert!(matches!(result, Err(AcceptError::Tls(_))));
    drop(socket);
    let seen = client.await.unwrap();
    assert!(seen.contains("NoApplicationProtocol"), "{seen}");
}

#[tokio::test]
async fn a_forged_record_ends_the_connection_with_an_alert() {
    let (mut socket, mut received, client) = pair(&rustls::version::TLS13, |mut client| {
        client.read_exact(&mut [0; 2]).unwrap();
        let mut wire = Vec::new();
        client.conn.writer().write_all(b"<message/>").unwrap();
        client.conn.write_tls(&mut wire).unwrap();
        *wire.last_mut().unwrap() ^= 1;
        client.sock.write_all(&wire).unwrap();
        client.read(&mut [0; 1]).unwrap_err().to_string()
    })
    .await;
    // After the handshake, which is another matter.
    socket.queue(b"go");
    socket.flush().await.unwrap();
    socket.readable().await.unwrap();
    socket.try_read(&mut received).unwrap_err();
    assert_eq!(received, b"");
    assert!(client.await.unwrap().contains("BadRecordMac"));
}

/// rustls remembers places in the bytes it has seen in part; they must still be there when we
/// write in between.
#[tokio::test]
async fn half_a_key_update_does_not_disturb_what_we_write() {
    let certs = Certs::of(&[&["example.org"]]);
    let (listener, addr) = listen().await;
    let client = tokio::task::spawn_blocking(move || {
        let mut config = client_config(&rustls::version::TLS13);
        config.enable_secret_extraction = true;
        let mut tcp = std::net::TcpStream::connect(addr).unwrap();
        let name = ServerName::try_from("example.org").unwrap();
        let mut conn = ClientConnection::new(Arc::new(config), name).unwrap();
        while conn.is_handshaking() || conn.wants_write() {
            conn.complete_io(&mut tcp).unwrap();
        }
        let (number, ConnectionTrafficSecrets::Aes256Gcm { key, iv }) =
            conn.dangerous_extract_secrets().unwrap().tx
        else {
            panic!("another cipher than expected");
        };
        // Two of the five bytes of KeyUpdate(update_requested), as a record of their own.
        let mut body = vec![24, 0, 22];
        let mut header = [23, 3, 3, 0, 0];
        header[4] = (body.len() + 16) as u8;
        let mut nonce: [u8; 12] = iv.as_ref().try_into().unwrap();
        for (byte, add) in nonce[4..].iter_mut().zip(number.to_be_bytes()) {
            *byte ^= add;
        }
        let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key.as_ref()).unwrap());
        key.seal_in_place_append_tag(
            Nonce::assume_unique_for_key(nonce),
            Aad::from(header),
            &mut body,
        )
        .unwrap();
        tcp.write_all(&header).unwrap();
        tcp.write_all(&body).unwrap();
        tcp.read_exact(&mut [0; 5]).unwrap();
        tcp
    });
    let (mut socket, _, _) = accept(&listener, &certs.acceptor()).await;
    socket.readable().await.unwrap();
    let mut received = Vec::new();
    while socket.try_read(&mut received).unwrap() != ReadOutcome::WouldBlock {}
    for _ in 0..3 {
        socket.queue(b"<message/>");
        assert!(socket.try_flush().unwrap());
        assert_eq!(socket.try_read(&mut received).unwrap(), ReadOutcome::WouldBlock);
    }
    client.await.unwrap();
}
