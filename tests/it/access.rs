//! Access rules in force: who may sign in, before and after a reload, and what operators are told.

use coucou::xml::ns;

use crate::client::{Client, Event};
use crate::server::{PASSWORD, Server};

/// Everybody but Bob, and Carol from elsewhere only.
const RULES: &str = "sign_in = \"careful\"\n[acl]\nout = { user = \"bob\" }\n[access]\n\
                     careful = [\n  { deny = \"out\" },\n\
                       { deny = { user = \"carol\", ip = \"127.0.0.0/8\" } },\n  { allow = \"local\" },\n]\n";

/// The line of the server's config file that has this in it.
fn line(server: &Server, text: &str) -> usize {
    let file = std::fs::read_to_string(server.path("coucou.toml")).unwrap();
    file.lines().position(|line| line.contains(text)).expect("it is there") + 1
}

/// What the server says to a sign-in by password: the condition and the text.
fn refusal(server: &Server, user: &str, password: &str) -> (String, String) {
    let mut client = Client::connect_tls(server.c2s_tls(), "example.org");
    client.open("example.org");
    client.element();
    client.plain(user, password);
    let answer = client.element();
    assert!(answer.is("failure", ns::SASL), "{}", answer.to_xml(""));
    let condition = answer.children().next().expect("a condition").name().to_owned();
    (condition, answer.child_text("text", ns::SASL).unwrap_or_default())
}

#[test]
fn a_rule_decides_who_signs_in_once_the_password_is_proved() {
    let server = Server::start_with(RULES);
    drop(server.sign_in("alice@example.org/phone"));
    for user in ["bob", "carol"] {
        let (condition, text) = refusal(&server, user, PASSWORD);
        assert_eq!(condition, "account-disabled");
        assert_eq!(text, "the rules of this server do not let this account sign in from here");
        // Who does not know the password learns nothing about the rules.
        assert_eq!(refusal(&server, user, "wrong").0, "not-authorized");
    }
    let log = server.log();
    let (bob, carol) = (line(&server, "deny = \"out\""), line(&server, "user = \"carol\""));
    assert!(log.contains(&format!("denied by line {bob}: bob@example.org is bob on")), "{log}");
    assert!(log.contains(&format!("denied by line {carol}: carol@example.org is")), "{log}");
}

#[test]
fn a_reload_ends_the_sessions_of_those_who_may_not_stay() {
    let server = Server::start();
    let mut alice = server.sign_in("alice@example.org/phone");
    let mut bob = server.sign_in("bob@example.org/phone");
    server.configure(RULES);
    let told = server.run(&["reload"]);
    assert!(told.contains("access.careful: added"), "{told}");
    let error = bob.element();
    assert!(error.is("error", ns::STREAMS), "{}", error.to_xml(""));
    assert!(error.child("policy-violation", ns::STREAM_ERRORS).is_some());
    assert!(matches!(bob.next(), Event::Close));
    // Alice noticed nothing.
    alice.say("<iq type='get' id='p'><ping xmlns='urn:xmpp:ping'/></iq>");
    assert_eq!(alice.element().get("id"), Some("p"));
    assert_eq!(refusal(&server, "bob", PASSWORD).0, "account-disabled");

    // And back, as quickly.
    server.configure("");
    server.run(&["reload"]);
    drop(server.sign_in("bob@example.org/phone"));
}

#[test]
fn an_allowance_bounds_sessions_by_account() {
    let server = Server::start_with(
        "sessions_per_account_max = \"few\"\nsign_in = [{ allow = \"local\" }]\n\
         [log.levels]\n\"coucou::access\" = \"debug\"\n[allowances]\n\
         few = [{ grant = 1, to = { user = \"bob\" } }, { grant = 2 }]\n",
    );
    let _first = server.sign_in("bob@example.org/a");
    let mut second = Client::authenticate(server.c2s_tls(), "example.org", "bob", PASSWORD);
    let bind = "<iq type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>";
    assert_eq!(second.ask("b", bind).get("type"), Some("error"));
    let _one = server.sign_in("alice@example.org/a");
    drop(server.sign_in("alice@example.org/b"));
    // At this level the log tells of every decision what `access test` would.
    let log = server.log();
    let told = "allowed by line 14: bob@example.org is of a host of ours (acl local)";
    let told = told.replace("14", &line(&server, "sign_in").to_string());
    assert!(log.contains(&told), "{log}");
}

#[test]
fn operators_ask_rules_and_see_the_line_that_decides() {
    let mut server = Server::start_with(RULES);
    let ask = |server: &Server, user: &str, ip: &str| {
        server.run(&["access", "test", "careful", "--user", user, "--ip", ip])
    };
    let first = line(&server, "deny = \"out\"");
    let second = first + 1;
    let carol = format!(
        "   line {first}: deny = \"out\": carol@example.org is not bob on a host of ours (acl out)\n\
         → line {second}: deny = [{{ user = \"carol\" }}, {{ ip = \"127.0.0.0/8\" }}]: \
         carol@example.org is carol on a host of ours, and the address is in 127.0.0.0/8\n\
         deny, by line {second}\n"
    );
    assert_eq!(ask(&server, "carol@example.org", "127.0.0.1"), carol);
    assert!(
        ask(&server, "carol", "192.0.2.1").ends_with(&format!("allow, by line {}\n", second + 1))
    );
    assert!(ask(&server, "eve@elsewhere.org", "192.0.2.1").contains("deny: no entry holds"));

    let told =
        server.json(&["access", "test", "hosts.example.org.sign_in", "--user", "bob@example.org"]);
    assert_eq!((&told["allowed"], &told["line"]), (&false.into(), &first.into()));
    assert_eq!(told["rule"], "careful");
    assert_eq!(told["steps"].as_array().unwrap().len(), 1);
    let listed = server.json(&["access", "list", "out"]);
    assert_eq!(listed["acls"][0]["used_by"], serde_json::json!(["access.careful"]));
    assert!(server.refuses(&["access", "test", "carefull"]).contains("is no access rule"));
    assert!(
        server.refuses(&["access", "test", "all", "--ip", "1.2.3"]).contains("not an IP address")
    );

    // Who would be shut out by another file.
    let draft = std::fs::read_to_string(server.path("coucou.toml")).unwrap();
    std::fs::write(server.path("draft.toml"), draft.replace("\"bob\"", "\"alice\"")).unwrap();
    let file = server.path("draft.toml").display().to_string();
    let affected = server.json(&["access", "affected", &file]);
    let changes: Vec<_> = affected["changes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| [&one["jid"], &one["before"], &one["after"]].map(|text| text.as_str().unwrap()))
        .collect();
    assert_eq!(
        changes,
        [["alice@example.org", "allow", "deny"], ["bob@example.org", "deny", "allow"]]
    );
    assert_eq!(affected["looked_at"], 3);

    // The same without the server.
    server.stop();
    assert_eq!(ask(&server, "carol@example.org", "127.0.0.1"), carol);
}

#[test]
fn the_linter_speaks_in_check_and_keeps_open_doors_shut() {
    let server = Server::start();
    // Lines that do not do what they say: told, and the exit code says so; the server takes them.
    server.configure(
        "sign_in = \"odd\"\n[acl]\nbad = { user_regexp = \"(abuse|tech|mail)\" }\n[access]\n\
         odd = [\n  { deny = \"bad\" },\n  { allow = { user = [\"alice\", \"bob\"] } },\n  { allow = \"all\" },\n]\n",
    );
    let (told, _) = server.fails(&["check"]);
    let (odd, bad) = (line(&server, "\"alice\""), line(&server, "(abuse|tech|mail)"));
    assert!(told.contains(&format!("error: line {odd}, column 1: access.odd: found ")), "{told}");
    assert!(told.contains(&format!("warning: line {bad}, column 1: acl.bad")), "{told}");
    assert!(told.contains("camail") && told.contains("tech"), "{told}");
    assert!(told.contains("1 line does not do what it says"), "{told}");
    let reloaded = server.run(&["reload"]);
    assert!(reloaded.contains("which never holds"), "{reloaded}");

    // Rights of administrators for an address: not taken, and the old settings stay.
    server.configure("[access]\nconfigure = [\n{ allow = { ip = \"192.0.2.1\" } },\n]\n");
    let refused = server.refuses(&["reload"]);
    assert!(refused.contains("an administrator"), "{refused}");
    let (told, _) = server.fails(&["check"]);
    assert!(told.contains("the file cannot be used as it is"), "{told}");
    assert_eq!(server.json(&["access", "list", "odd"])["access"][0]["name"], "odd");
}

#[test]
fn a_server_does_not_start_with_an_open_door() {
    let mut server = Server::start();
    server.stop();
    server.configure("[admin]\naccess = \"loopback\"\n");
    let told = server.refuses(&["serve"]);
    assert!(told.contains("admin.access") && told.contains("an administrator"), "{told}");
}
