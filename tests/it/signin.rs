//! SASL2 (XEP-0388), Bind 2 (XEP-0386), FAST (XEP-0484) and the list of clients (XEP-0494).

use base64::prelude::{BASE64_STANDARD as BASE64, Engine as _};
use coucou::auth::Hash;
use coucou::xml::{Element, ns};

use crate::client::Client;
use crate::scram::Scram;
use crate::server::{PASSWORD, Server};

const PHONE: &str = "d4565fa7-4d72-4749-b3d3-740edbf87770";
const BIND: &str = "<bind xmlns='urn:xmpp:bind:0'><tag>Phone</tag></bind>";
const REQUEST: &str = "<request-token xmlns='urn:xmpp:fast:0' mechanism='HT-SHA-256-EXPR'/>";

/// `<authenticate/>` of the phone.
fn authenticate(mechanism: &str, initial: &str, more: &str) -> String {
    format!(
        "<authenticate xmlns='{}' mechanism='{mechanism}'>\
         <initial-response>{initial}</initial-response>\
         <user-agent id='{PHONE}'><software>Tests</software><device>Phone</device></user-agent>\
         {more}</authenticate>",
        ns::SASL2
    )
}

/// A stream over TLS whose features are read.
fn stream(server: &Server) -> Client {
    let mut client = Client::connect_tls(server.c2s_tls(), "example.org");
    client.open("example.org");
    client.element();
    client
}

/// Signs the phone in by password; returns the `<success/>`.
fn by_password(client: &mut Client, password: &str, more: &str) -> Element {
    let proof = BASE64.encode(format!("\0alice\0{password}"));
    client.say(&authenticate("PLAIN", &proof, more));
    client.element()
}

/// Signs the phone in by token; returns the answer.
fn by_token(client: &mut Client, token: &str, more: &str) -> Element {
    let binding = client.binding("tls-exporter");
    let proof = Hash::Sha256.hmac(token.as_bytes(), &[b"Initiator", &binding]);
    let proof = BASE64.encode([b"alice\0", proof.expose()].concat());
    let more = format!("<fast xmlns='urn:xmpp:fast:0'/>{more}");
    client.say(&authenticate("HT-SHA-256-EXPR", &proof, &more));
    let answer = client.element();
    if answer.is("success", ns::SASL2) {
        let data = answer.child_text("additional-data", ns::SASL2).expect("the server's proof");
        let expected = Hash::Sha256.hmac(token.as_bytes(), &[b"Responder", &binding]);
        assert_eq!(BASE64.decode(data).unwrap(), expected.expose());
    }
    answer
}

/// Asks for a token by password.
fn obtain(server: &Server) -> (Client, String) {
    let mut client = stream(server);
    let success = by_password(&mut client, PASSWORD, &format!("{BIND}{REQUEST}"));
    (client, token_of(&success))
}

fn token_of(success: &Element) -> String {
    let token = success.child("token", ns::FAST);
    let token = token.unwrap_or_else(|| panic!("no token in {}", success.to_xml("")));
    token.get("token").expect("a token").to_owned()
}

fn refused(answer: &Element, condition: &str) {
    assert!(
        answer.is("failure", ns::SASL2) && answer.child(condition, ns::SASL).is_some(),
        "{} instead of {condition}",
        answer.to_xml("")
    );
}

#[test]
fn a_session_is_bound_in_one_round_trip() {
    let server = Server::start();
    let mut client = Client::connect_tls(server.c2s_tls(), "example.org");
    // Header and request in one packet: the features are known from last time.
    let proof = BASE64.encode(format!("\0alice\0{PASSWORD}"));
    let bind = "<bind xmlns='urn:xmpp:bind:0'><tag>Phone</tag>\
        <enable xmlns='urn:xmpp:carbons:2'/><enable xmlns='urn:xmpp:sm:3' resume='true'/></bind>";
    client.say(&format!(
        "<stream:stream to='example.org' version='1.0' xmlns='jabber:client' \
         xmlns:stream='http://etherx.jabber.org/streams'>{}",
        authenticate("PLAIN", &proof, bind)
    ));
    client.next();
    client.element();
    let success = client.element();
    let jid = success.child_text("authorization-identifier", ns::SASL2).expect("an address");
    assert!(jid.starts_with("alice@example.org/Phone"), "{jid}");
    let bound = success.child("bound", ns::BIND2).expect("bound");
    let enabled = bound.child("enabled", ns::SM3).expect("stream management");
    let previd = enabled.get("id").expect("resumable").to_owned();
    assert!(client.element().is("features", ns::STREAMS));

    // Carbons are on: what Bob writes to another device arrives here, counted.
    let mut tablet = server.sign_in("alice@example.org/tablet");
    let mut bob = server.sign_in("bob@example.org/laptop");
    bob.say("<message type='chat' to='alice@example.org/tablet'><body>Hi</body></message>");
    tablet.find(|e| e.name() == "message");
    let copy = client.find(|e| e.name() == "message");
    assert!(copy.child("received", ns::CARBONS).is_some());

    // The device comes back and resumes, again in one round trip.
    drop(client);
    let mut client = stream(&server);
    let resume = format!("<resume xmlns='urn:xmpp:sm:3' previd='{previd}' h='0'/>");
    let success = by_password(&mut client, PASSWORD, &resume);
    assert!(success.child("resumed", ns::SM3).is_some(), "{}", success.to_xml(""));
    let again = client.find(|e| e.name() == "message");
    assert!(again.child("received", ns::CARBONS).is_some());
}

#[test]
fn scram_in_sasl2_with_channel_binding() {
    let server = Server::start();
    for mechanism in ["SCRAM-SHA-1-PLUS", "SCRAM-SHA-256-PLUS", "SCRAM-SHA-512-PLUS"] {
        let mut client = stream(&server);
        let mut scram = Scram::new(&client, mechanism, "alice");
        client.say(&authenticate(mechanism, &scram.first(), BIND));
        let challenge = client.element();
        assert!(challenge.is("challenge", ns::SASL2), "{}", challenge.to_xml(""));
        let last = scram.last(&challenge.text(), PASSWORD);
        client.say(&format!("<response xmlns='{}'>{last}</response>", ns::SASL2));
        let success = client.element();
        let data = success.child_text("additional-data", ns::SASL2).expect("a signature");
        assert!(scram.verifies(&data));
        assert!(success.child("bound", ns::BIND2).is_some());
    }
    // The same binding from another connection is a man in the middle.
    let (mut client, other) = (stream(&server), stream(&server));
    let mut scram = Scram::new(&other, "SCRAM-SHA-256-PLUS", "alice");
    client.say(&authenticate("SCRAM-SHA-256-PLUS", &scram.first(), BIND));
    let last = scram.last(&client.element().text(), PASSWORD);
    client.say(&format!("<response xmlns='{}'>{last}</response>", ns::SASL2));
    refused(&client.element(), "not-authorized");
}

#[test]
fn a_token_signs_in_is_replaced_and_outlives_the_server() {
    let mut server = Server::start();
    let (_, first) = obtain(&server);
    server.kill();
    server.resume();

    let mut client = stream(&server);
    let success = by_token(&mut client, &first, &format!("{BIND}{REQUEST}"));
    let second = token_of(&success);
    assert_ne!(first, second);
    // Until the new one is used its answer may have been lost: the old one still serves.
    assert!(by_token(&mut stream(&server), &first, BIND).is("success", ns::SASL2));
    let mut client = stream(&server);
    let success = by_token(&mut client, &first, &format!("{BIND}{REQUEST}"));
    let third = token_of(&success);
    assert!(by_token(&mut stream(&server), &third, BIND).is("success", ns::SASL2));
    for old in [&first, &second] {
        refused(&by_token(&mut stream(&server), old, BIND), "not-authorized");
    }
    assert!(by_token(&mut stream(&server), &third, BIND).is("success", ns::SASL2));
}

#[test]
fn tokens_die_with_the_password_a_lock_and_the_account() {
    let server = Server::start();
    let (mut session, token) = obtain(&server);
    server.set_password("alice@example.org", "changed");
    session.goodbye();
    refused(&by_token(&mut stream(&server), &token, BIND), "not-authorized");
    refused(&by_password(&mut stream(&server), PASSWORD, BIND), "not-authorized");

    let mut client = stream(&server);
    let token = token_of(&by_password(&mut client, "changed", &format!("{BIND}{REQUEST}")));
    server.run(&["account", "lock", "alice@example.org"]);
    client.goodbye();
    assert!(by_token(&mut stream(&server), &token, BIND).is("failure", ns::SASL2));
    server.run(&["account", "unlock", "alice@example.org"]);
    refused(&by_token(&mut stream(&server), &token, BIND), "not-authorized");

    server.set_password("alice@example.org", PASSWORD);
    let (mut session, token) = obtain(&server);
    server.run(&["session", "kick", "alice@example.org"]);
    session.goodbye();
    refused(&by_token(&mut stream(&server), &token, BIND), "not-authorized");

    let (mut session, token) = obtain(&server);
    server.run(&[
        "account",
        "remove",
        "alice@example.org",
        "--purge",
        "--yes",
        "alice@example.org",
    ]);
    session.goodbye();
    refused(&by_token(&mut stream(&server), &token, BIND), "not-authorized");
    server.add_account("alice@example.org");
    refused(&by_token(&mut stream(&server), &token, BIND), "not-authorized");
}

#[test]
fn a_user_lists_the_clients_with_access_and_revokes_one() {
    let server = Server::start();
    let (mut phone, token) = obtain(&server);
    let mut laptop = server.sign_in("alice@example.org/laptop");
    let list = format!("<iq type='get' id='l'><list xmlns='{}'/></iq>", ns::CLIENT_ACCESS);
    let answer = laptop.ask("l", &list);
    let clients = answer.child("clients", ns::CLIENT_ACCESS).expect("clients");
    let listed: Vec<&Element> = clients.children().collect();
    assert_eq!(listed.len(), 2, "{}", answer.to_xml(""));
    let is_phone = |client: &&&Element| {
        let agent = client.child("user-agent", ns::CLIENT_ACCESS);
        agent.and_then(|a| a.child_text("device", ns::CLIENT_ACCESS)).as_deref() == Some("Phone")
    };
    let device = listed.iter().find(is_phone).expect("the phone is listed");
    assert_eq!(device.get("connected"), Some("true"));
    let id = device.get("id").unwrap();

    // It has used the password: so it is told that only a new password keeps it out (§3.2).
    let revoke =
        format!("<iq type='set' id='r'><revoke xmlns='{}' id='{id}'/></iq>", ns::CLIENT_ACCESS);
    let answer = laptop.ask("r", &revoke);
    assert!(answer.to_xml("").contains("password-reset-required"), "{}", answer.to_xml(""));
    assert!(phone.goodbye().contains("not-authorized"));
    refused(&by_token(&mut stream(&server), &token, BIND), "not-authorized");

    // Bob has nothing to say about it.
    let mut bob = server.sign_in("bob@example.org/laptop");
    let list = list.replace("id='l'", "id='l' to='alice@example.org'");
    assert_eq!(bob.ask("l", &list).get("type"), Some("error"));
}
