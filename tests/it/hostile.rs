//! What nobody should send: every rule of XML in XMPP and every limit, before and after sign-in. Each
//! is answered by its stream error, and the next client notices nothing.

use std::thread;
use std::time::{Duration, Instant};

use coucou::xml::{Element, ns};

use crate::client::{Client, Event};
use crate::server::{PASSWORD, Server, until};

/// What is sent, and the condition of the stream error that answers.
const BROKEN: &[(&str, &str)] = &[
    // RFC 6120 §11.1
    ("<!DOCTYPE x [<!ENTITY a 'aaaaaaaa'><!ENTITY b '&a;&a;&a;&a;'>]>", "restricted-xml"),
    ("<message><body>&lol;</body></message>", "restricted-xml"),
    ("<message><!-- a comment --></message>", "restricted-xml"),
    ("<!-- a comment -->", "restricted-xml"),
    ("<message><?php system('id'); ?></message>", "restricted-xml"),
    // RFC 6120 §11.3 and §11.5
    ("<message><body></message>", "not-well-formed"),
    ("<message><x:body/></message>", "not-well-formed"),
    ("<message to='a' to='b'/>", "not-well-formed"),
    ("<message><body>\u{0}</body></message>", "not-well-formed"),
    ("<message><body>&#0;</body></message>", "not-well-formed"),
    ("<message><body>&#xFFFE;</body></message>", "not-well-formed"),
    ("text", "not-well-formed bad-format"),
    ("<?xml version='1.0' encoding='latin1'?>", "restricted-xml not-well-formed bad-format"),
];

/// Bytes that are not UTF-8.
const NOT_UTF8: &[&[u8]] =
    &[b"<message><body>\xc3\x28", b"<message><body>\xed\xa0\x80", b"<message><body>\xc0\x80"];

fn unauthenticated(server: &Server) -> Client {
    let mut client = Client::connect_tls(server.c2s_tls(), "example.org");
    client.open("example.org");
    client.element();
    client
}

/// Reads to the end of the connection; returns the condition of the stream error.
fn condition(client: &mut Client) -> String {
    let mut condition = String::new();
    loop {
        match client.next() {
            Event::Element(e) if e.is("error", ns::STREAMS) => {
                let first = e.children().next().map(Element::name);
                condition = first.unwrap_or_default().to_owned();
            }
            Event::End => return condition,
            _ => {}
        }
    }
}

#[test]
fn broken_xml_ends_the_stream_by_its_rule_and_nothing_else() {
    let server = Server::start();
    for (sent, wanted) in BROKEN {
        for signed_in in [false, true] {
            let mut client = match signed_in {
                true => server.sign_in("alice@example.org/phone"),
                false => unauthenticated(&server),
            };
            client.say(sent);
            let told = condition(&mut client);
            assert!(
                wanted.split(' ').any(|w| w == told),
                "{sent:?}, signed in: {signed_in}: {told:?} instead of {wanted}"
            );
        }
    }
    for sent in NOT_UTF8 {
        let mut client = server.sign_in("alice@example.org/phone");
        client.say_bytes(sent);
        client.say_bytes(b"</body></message>");
        // RFC 6120 §4.9.3.22: improperly encoded.
        assert_eq!(condition(&mut client), "unsupported-encoding", "{sent:?}");
    }
    server.sign_in("alice@example.org/phone");
}

#[test]
fn limits_hold_before_and_after_sign_in() {
    let server = Server::start();
    let text = |bytes| format!("<message><body>{}", "x".repeat(bytes));
    let attribute = |bytes| format!("<message id='{}", "x".repeat(bytes));
    let deep = |depth| format!("<message>{}", "<a>".repeat(depth));
    let wide = |count| {
        let attributes: String = (0..count).map(|n| format!(" a{n}='b'")).collect();
        format!("<message{attributes}/>")
    };
    let name = |bytes| format!("<{}/>", "n".repeat(bytes));
    for sent in [text(10_000), attribute(10_000), deep(16), wide(33), name(5_000)] {
        let mut client = unauthenticated(&server);
        client.say(&sent);
        assert_eq!(condition(&mut client), "policy-violation", "before: {}…", &sent[..40]);
    }
    for sent in [text(262_144), attribute(262_144), deep(101), wide(101)] {
        let mut client = server.sign_in("alice@example.org/phone");
        client.say(&sent);
        assert_eq!(condition(&mut client), "policy-violation", "after: {}…", &sent[..40]);
    }
    // What is allowed goes through whole.
    let mut alice = server.sign_in("alice@example.org/phone");
    let mut bob = server.sign_in("bob@example.org/laptop");
    let body = "y".repeat(250_000);
    alice.say(&format!("<message to='bob@example.org/laptop'><body>{body}</body></message>"));
    let got = bob.find(|e| e.name() == "message");
    assert_eq!(got.child_text("body", ns::CLIENT).as_deref(), Some(body.as_str()));
}

#[test]
fn nothing_behind_starttls_is_taken_for_the_clients() {
    let server = Server::start();
    let mut client = Client::connect(server.c2s());
    client.open("example.org");
    client.element();
    client.say(&format!(
        "<starttls xmlns='{}'/><message to='bob@example.org'><body>injected</body></message>",
        ns::TLS
    ));
    let told = client.goodbye();
    assert!(told.is_empty() || told.starts_with("<proceed") && told.ends_with("/>"), "{told}");
    server.sign_in("bob@example.org/laptop");
}

#[test]
fn half_open_streams_and_slow_readers_leave_the_others_alone() {
    let server = Server::start();
    let mut idle: Vec<Client> = (0..100).map(|_| Client::connect(server.c2s())).collect();
    for client in idle.iter_mut().step_by(2) {
        client.say("<?xml version='1.0'?><stream:stream to='exam");
    }
    // Bob reads nothing of what Alice sends him.
    let _bob = server.sign_in("bob@example.org/laptop");
    let mut alice = server.sign_in("alice@example.org/phone");
    let body = "z".repeat(20_000);
    for _ in 0..100 {
        alice.say(&format!("<message to='bob@example.org/laptop'><body>{body}</body></message>"));
    }
    let ping = "<iq type='get' id='p' to='example.org'><ping xmlns='urn:xmpp:ping'/></iq>";
    assert_eq!(alice.ask("p", ping).get("type"), Some("result"));
    let mut carol = server.sign_in("carol@example.org/desk");
    assert_eq!(carol.ask("p", ping).get("type"), Some("result"));
}

#[test]
fn who_says_nothing_is_not_waited_for() {
    let server = Server::start_with("[limits]\nnegotiation_timeout = \"5s\"\n");
    let mut silent = Client::connect(server.c2s());
    let mut slow = unauthenticated(&server);
    let mut signed_in = server.sign_in("alice@example.org/phone");
    assert!(silent.goodbye().contains("connection-timeout"));
    assert!(slow.goodbye().contains("connection-timeout"));
    let ping = "<iq type='get' id='p' to='example.org'><ping xmlns='urn:xmpp:ping'/></iq>";
    assert_eq!(signed_in.ask("p", ping).get("type"), Some("result"));
}

#[test]
fn a_stop_waits_for_nobody_who_is_silent() {
    let mut server = Server::start();
    let _idle = Client::connect(server.c2s());
    let _half_way = unauthenticated(&server);
    let mut parked = server.sign_in("alice@example.org/phone");
    parked.say("<enable xmlns='urn:xmpp:sm:3' resume='true'/>");
    parked.element();
    drop(parked);
    until("the phone is missed", || {
        server.session_state("alice@example.org/phone").as_deref() == Some("waiting")
    });
    // Bob's client does not answer the end of its stream.
    let mut silent = server.sign_in("bob@example.org/laptop");
    let started = Instant::now();
    server.stop();
    let took = started.elapsed();
    assert!(took < Duration::from_secs(5), "{took:?}");
    assert!(silent.goodbye().contains("system-shutdown"));
}

#[test]
fn an_address_gets_as_many_connections_as_it_may() {
    let server =
        Server::start_with("[limits]\ntrusted_addresses = []\nconnections_per_address_max = 3\n");
    let open = || {
        let mut client = Client::connect(server.c2s());
        client.say_header("example.org", ns::CLIENT);
        let is_served = !matches!(client.next(), Event::End);
        (client, is_served)
    };
    let mut held: Vec<(Client, bool)> = (0..3).map(|_| open()).collect();
    assert!(held.iter().all(|(_, is_served)| *is_served));
    assert!(!open().1);
    held.clear();
    until("the places are free again", || open().1);
}

#[test]
fn many_sign_in_at_once() {
    let server = Server::start();
    thread::scope(|scope| {
        for n in 0..24 {
            let server = &server;
            scope.spawn(move || {
                let jid = format!("alice@example.org/{n}");
                // As many as one account may have; the rest are refused in order.
                let mut client =
                    Client::authenticate(server.c2s_tls(), "example.org", "alice", PASSWORD);
                let bind = format!(
                    "<iq type='set' id='b'><bind xmlns='{}'><resource>{n}</resource></bind></iq>",
                    ns::BIND
                );
                let bound = client.ask("b", &bind);
                let jid_is_told = bound.to_xml(ns::CLIENT).contains(&jid);
                assert!(jid_is_told || bound.get("type") == Some("error"));
            });
        }
    });
    server.sign_in("bob@example.org/laptop");
}
