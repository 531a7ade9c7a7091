//! Accounts by invitation (XEP-0445), and what becomes of removed ones, over restarts and races.

use std::sync::Barrier;

use coucou::xml::{Element, ns};

use crate::client::Client;
use crate::server::{PASSWORD, Server};

/// A stream over TLS, with its features.
fn stream(server: &Server) -> (Client, Element) {
    let mut client = Client::connect_tls(server.c2s_tls(), "example.org");
    client.open("example.org");
    let features = client.element();
    (client, features)
}

/// A fresh invitation's token.
fn invite(server: &Server, more: &[&str]) -> String {
    let made = server.json(&[&["invite", "create", "example.org"], more].concat());
    let uri = made["uri"].as_str().expect("a link");
    uri.rsplit_once("preauth=").expect("a token").1.to_owned()
}

fn present(client: &mut Client, token: &str) -> Element {
    client.ask(
        "pa",
        &format!("<iq type='set' id='pa'><preauth xmlns='{}' token='{token}'/></iq>", ns::PRE_AUTH),
    )
}

fn register(client: &mut Client, name: &str) -> Element {
    client.ask(
        "r",
        &format!(
            "<iq type='set' id='r'><query xmlns='jabber:iq:register'><username>{name}</username>\
             <password>Romeo-wherefore-7</password></query></iq>"
        ),
    )
}

fn is_result(iq: &Element) -> bool {
    iq.get("type") == Some("result")
}

fn condition(iq: &Element) -> String {
    let error = iq.child("error", ns::CLIENT).unwrap_or_else(|| panic!("{}", iq.to_xml("")));
    error.children().next().expect("a condition").name().to_owned()
}

#[test]
fn an_invitation_makes_one_account_however_many_try() {
    let mut server = Server::start();
    server.add_account("romeo@example.org");
    let (_, features) = stream(&server);
    assert!(features.child("register", ns::IBR_TOKEN).is_none(), "nobody is invited");
    let token = invite(&server, &["--inviter", "romeo@example.org", "--group", "Verona"]);
    // A crash loses no invitation.
    server.kill();
    server.resume();
    let (mut client, features) = stream(&server);
    assert!(features.child("register", ns::IBR_TOKEN).is_some());
    assert_eq!(condition(&register(&mut client, "juliet")), "service-unavailable");
    assert_eq!(condition(&present(&mut client, "not-a-token")), "item-not-found");
    let barrier = Barrier::new(6);
    let made: Vec<String> = std::thread::scope(|scope| {
        let (server, token, barrier) = (&server, &token, &barrier);
        let tries = (0..6).map(|n| {
            scope.spawn(move || {
                let (mut client, _) = stream(server);
                assert!(is_result(&present(&mut client, token)));
                barrier.wait();
                let name = format!("juliet{n}");
                is_result(&register(&mut client, &name)).then_some(name)
            })
        });
        let tries: Vec<_> = tries.collect();
        tries.into_iter().filter_map(|made| made.join().unwrap()).collect()
    });
    assert_eq!(made.len(), 1, "{made:?}");
    let there = server.json(&["account", "list", "example.org", "--prefix", "juliet"]);
    assert_eq!(there.as_array().map(Vec::len), Some(1), "{there}");
    let jid = format!("{}@example.org/phone", made[0]);
    let mut juliet = Client::sign_in(server.c2s_tls(), &jid, "Romeo-wherefore-7");
    let roster = juliet.ask("q", "<iq type='get' id='q'><query xmlns='jabber:iq:roster'/></iq>");
    let roster = roster.to_xml("");
    assert!(roster.contains("romeo@example.org") && roster.contains("Verona"), "{roster}");
    let (mut client, _) = stream(&server);
    assert_eq!(condition(&present(&mut client, &token)), "item-not-found", "it is used up");
}

#[test]
fn a_name_that_an_invitation_keeps_is_nobody_elses() {
    let server = Server::start_with("[hosts.\"example.org\".registration]\naccess = \"all\"\n");
    let token = invite(&server, &["--name", "juliet"]);
    let (mut stranger, _) = stream(&server);
    assert_eq!(condition(&register(&mut stranger, "juliet")), "conflict");
    let (mut guest, _) = stream(&server);
    assert!(is_result(&present(&mut guest, &token)));
    let form = guest.ask(
        "g",
        "<iq type='get' id='g' to='example.org'><query xmlns='jabber:iq:register'/></iq>",
    );
    assert!(form.to_xml("").contains("<username>juliet</username>"));
    assert_eq!(condition(&register(&mut guest, "rosaline")), "not-allowed");
    assert!(is_result(&register(&mut guest, "juliet")));
}

#[test]
fn a_removed_account_survives_a_crash_and_comes_back() {
    let mut server = Server::start();
    server.add_account("bill@example.org");
    let mut bill = server.sign_in("bill@example.org/globe");
    let vcard = "<iq type='set' id='v'><vCard xmlns='vcard-temp'><FN>Bill</FN></vCard></iq>";
    assert!(is_result(&bill.ask("v", vcard)));
    let remove = "<iq type='set' id='u'><query xmlns='jabber:iq:register'><remove/></query></iq>";
    assert!(is_result(&bill.ask("u", remove)));
    assert!(bill.element().is("error", ns::STREAMS));
    server.kill();
    server.resume();
    let bin = server.json(&["account", "bin"]);
    assert_eq!(bin[0]["jid"], "bill@example.org", "{bin}");
    assert_eq!(bin[0]["by"], "bill@example.org/globe");
    server.refuses(&["account", "password", "bill@example.org", "--generate"]);
    server.run(&["account", "restore", "bill@example.org"]);
    let mut bill = Client::sign_in(server.c2s_tls(), "bill@example.org/globe", PASSWORD);
    let vcard = bill.ask("v", "<iq type='get' id='v'><vCard xmlns='vcard-temp'/></iq>");
    assert!(vcard.to_xml("").contains("Bill"));
    // What was done is in the audit, by whom it was done.
    let log = server.log();
    assert!(log.contains("account removed by its owner"), "{log}");
}
