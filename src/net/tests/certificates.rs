//! Which certificate is shown, and how files change under a running server.

use super::*;
use crate::net::certs::{CertError, CertSet, CertWarning};

/// The names in the certificate that a client is shown who asks for `sni`.
async fn shown(acceptor: &Acceptor, sni: Option<&str>, host: Option<&str>) -> Vec<String> {
    let (listener, addr) = listen().await;
    let mut config = client_config(&rustls::version::TLS13);
    config.enable_sni = sni.is_some();
    let client = client(addr, config, sni.unwrap_or("unnamed.example"), |_| ());
    let mut socket = accept_plain(&listener).await;
    let facts = socket.accept_tls(acceptor, host, b"", PATIENCE, &mut Vec::new()).await.unwrap();
    client.await.unwrap();
    assert_eq!(facts.server_name.as_deref(), sni.map(str::to_lowercase).as_deref());
    facts.certificate.names.clone()
}

#[tokio::test]
async fn the_name_asked_for_chooses() {
    let certs = Certs::of(&[&["default.example"], &["example.org"], &["*.example.org"]]);
    let acceptor = certs.acceptor();
    assert_eq!(shown(&acceptor, Some("example.org"), None).await, ["example.org"]);
    assert_eq!(shown(&acceptor, Some("EXAMPLE.org"), None).await, ["example.org"]);
    assert_eq!(shown(&acceptor, Some("chat.example.org"), None).await, ["*.example.org"]);
    assert_eq!(shown(&acceptor, Some("a.b.example.org"), None).await, ["default.example"]);
    assert_eq!(shown(&acceptor, Some("other.example"), None).await, ["default.example"]);
    // SNI wins over the stream's `to`, which helps only those who send none.
    assert_eq!(shown(&acceptor, None, Some("example.org")).await, ["example.org"]);
    assert_eq!(shown(&acceptor, None, None).await, ["default.example"]);
    let both = shown(&acceptor, Some("chat.example.org"), Some("example.org")).await;
    assert_eq!(both, ["*.example.org"]);
}

#[tokio::test]
async fn a_changed_file_is_taken_up_and_open_sessions_go_on() {
    let certs = Certs::of(&[&["example.org"]]);
    let acceptor = certs.acceptor();
    let (listener, addr) = listen().await;
    let client = client(addr, client_config(&rustls::version::TLS13), "example.org", |mut c| {
        let mut text = [0; 5];
        c.read_exact(&mut text).unwrap();
        text
    });
    let (mut socket, before, _) = accept(&listener, &acceptor).await;

    assert!(!certs.store.reload_if_changed().unwrap());
    make_cert(&certs.path(0), &["example.org", "new.example.org"]);
    assert!(certs.store.reload_if_changed().unwrap());
    assert!(!certs.store.reload_if_changed().unwrap());

    let names = shown(&acceptor, Some("new.example.org"), None).await;
    assert_eq!(names, ["example.org", "new.example.org"]);
    assert_eq!(before.certificate.names, ["example.org"]);
    socket.queue(b"hello");
    socket.flush().await.unwrap();
    assert_eq!(&client.await.unwrap(), b"hello");
}

#[tokio::test]
async fn a_broken_file_changes_nothing_and_is_reported_once() {
    let certs = Certs::of(&[&["example.org"]]);
    std::fs::write(certs.path(0), "garbage").unwrap();
    let error = certs.store.reload_if_changed().unwrap_err();
    assert!(error.to_string().contains(certs.path(0).to_str().unwrap()), "{error}");
    assert!(!certs.store.reload_if_changed().unwrap());
    assert!(certs.store.reload().is_err());
    assert_eq!(shown(&certs.acceptor(), Some("example.org"), None).await, ["example.org"]);
}

#[test]
fn the_newest_valid_certificate_wins() {
    let folder = tempfile::tempdir().unwrap();
    let now = Now::read();
    let day = Duration::from_secs(86_400);
    let at = |file: &str, moment: Now| {
        write_self_signed(&folder.path().join(file), &["example.org".to_owned()], moment).unwrap()
    };
    let sources = [
        at("old.pem", now.minus(day * 30)),
        at("expired.pem", now.minus(day * 4000)),
        at("new.pem", now.minus(day)),
        at("future.pem", now.plus(day)),
    ];
    let set = CertSet::read(&sources).unwrap();
    let chosen = |moment| set.choose(Some("example.org"), moment).unwrap().path.clone();
    assert_eq!(chosen(now), sources[2].chain);
    assert_eq!(chosen(now.plus(day * 2)), sources[3].chain);
    assert_eq!(chosen(now.minus(day * 10)), sources[0].chain);
    assert!(
        set.warnings(&["example.org"], now.plus(day * 2))
            .iter()
            .all(|w| { matches!(w, CertWarning::SelfSigned { .. }) })
    );
}

#[test]
fn a_self_signed_file_is_private_and_names_everything() {
    use std::os::unix::fs::PermissionsExt;

    let folder = tempfile::tempdir().unwrap();
    let names = ["bücher.example".to_owned(), "conference.example".to_owned(), "::1".to_owned()];
    let source = write_self_signed(&folder.path().join("c.pem"), &names, Now::read()).unwrap();
    let mode = std::fs::metadata(&source.chain).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "no temporary file stays");

    let set = CertSet::read(std::slice::from_ref(&source)).unwrap();
    let certificate = &set.certificates()[0];
    assert_eq!(certificate.names, ["xn--bcher-kva.example", "conference.example", "::1"]);
    assert!(certificate.covers("bücher.example"));
    assert!(certificate.self_signed);
}

#[test]
fn errors_name_the_file_and_the_remedy() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let a = make_cert(&path("a.pem"), &["a.example"]);
    make_cert(&path("b.pem"), &["b.example"]);
    std::fs::write(path("empty.pem"), "").unwrap();
    let read = |chain: &str, key: &str| {
        CertSet::read(&[CertSource { chain: path(chain), key: path(key) }]).unwrap_err()
    };
    assert!(matches!(read("a.pem", "b.pem"), CertError::KeyMismatch { .. }));
    assert!(matches!(read("a.pem", "empty.pem"), CertError::NoKey { .. }));
    assert!(matches!(read("empty.pem", "a.pem"), CertError::NoCertificate { .. }));
    assert!(matches!(read("absent.pem", "a.pem"), CertError::Unreadable { .. }));
    let text = read("a.pem", "b.pem").to_string();
    assert!(text.contains("b.pem") && text.contains("leaf certificate first"), "{text}");

    let set = CertSet::read(&[a]).unwrap();
    let warnings = set.warnings(&["a.example", "c.example"], Now::read());
    assert!(matches!(&warnings[0], CertWarning::SelfSigned { host, .. } if host == "a.example"));
    assert_eq!(warnings[1], CertWarning::Missing { host: "c.example".into() });
    let late = Now::read().plus(Duration::from_secs(3700 * 86_400));
    assert!(matches!(set.warnings(&["a.example"], late)[0], CertWarning::Expired { .. }));
}

/// Hashes by RFC 5929: the certificate's own, but SHA-256 for SHA-1.
#[test]
fn end_point_hashes_follow_the_signature() {
    use std::process::Command;

    if Command::new("openssl").arg("version").output().is_err() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let cases: [(&[&str], Option<usize>); 5] = [
        (&["-newkey", "rsa:2048", "-sha1"], Some(32)),
        (&["-newkey", "rsa:2048", "-sha512"], Some(64)),
        (&["-newkey", "rsa:2048", "-sha384", "-sigopt", "rsa_padding_mode:pss"], Some(48)),
        (&["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-384", "-sha384"], Some(48)),
        (&["-newkey", "ed25519"], None),
    ];
    for (i, (args, expected)) in cases.into_iter().enumerate() {
        let path = |end: &str| folder.path().join(format!("{i}.{end}"));
        let made = Command::new("openssl")
            .args(["req", "-x509", "-nodes", "-subj", "/CN=x", "-days", "9"])
            .args(["-addext", "subjectAltName=DNS:x.example"])
            .args(args)
            .args(["-out".as_ref(), path("crt").as_os_str()])
            .args(["-keyout".as_ref(), path("key").as_os_str()])
            .output()
            .unwrap();
        assert!(made.status.success(), "{args:?}: {made:?}");
        let source = CertSource { chain: path("crt"), key: path("key") };
        let set = CertSet::read(&[source]).unwrap();
        let hash = set.certificates()[0].end_point();
        assert_eq!(hash.map(<[u8]>::len), expected, "{args:?}");
    }
}
