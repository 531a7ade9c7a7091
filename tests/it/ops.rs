//! What operators do to accounts, sessions, archives and the log, through the program as it is.

use serde_json::{Value, json};

use crate::server::Server;

fn told(server: &Server, arguments: &[&str]) -> Value {
    let text = server.run(&[arguments, &["--json"]].concat());
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{arguments:?}: {error}: {text}"))
}

#[test]
fn a_message_is_sent_archived_counted_and_forgotten_and_the_audit_knows() {
    let server = Server::start();
    let mut bob = server.sign_in("bob@example.org/phone");
    bob.say("<presence/>");
    bob.element();
    let send = ["message", "send", "--from", "alice@example.org", "bob@example.org", "Hello there"];
    told(&server, &send);
    let got = bob.find(|stanza| stanza.is("message", "jabber:client"));
    assert_eq!(got.child_text("body", "jabber:client").as_deref(), Some("Hello there"));
    assert_eq!(told(&server, &["archive", "count", "bob@example.org"])["messages"], 1);
    let read = told(&server, &["archive", "read", "alice@example.org"]);
    assert_eq!((&read["body"], &read["to"]), (&json!("Hello there"), &json!("bob@example.org")));
    let session = told(&server, &["session", "show", "bob@example.org"]);
    assert_eq!(session[0]["show"], "available");
    let shown = told(&server, &["account", "show", "bob@example.org"]);
    assert_eq!((&shown["sessions"], &shown["storage"]["archive_messages"]), (&json!(1), &json!(1)));
    assert_eq!(told(&server, &["archive", "purge", "1d"])["entries"], 0);
    let forget = ["archive", "forget", "bob@example.org", "--yes", "bob@example.org"];
    assert_eq!(told(&server, &forget)["entries"], 1);

    let acts = told(&server, &["audit", "-n", "4"]);
    let what: Vec<&str> =
        acts.as_array().unwrap().iter().map(|a| a["what"].as_str().unwrap()).collect();
    assert_eq!(what, ["archive.forget", "session.details", "archive.read", "message.send"]);
    assert!(!acts.to_string().contains("Hello there"), "{acts}");
    assert_eq!(told(&server, &["report", "list"]), json!([]));
}

#[test]
fn scripts_written_for_ejabberd_find_their_commands() {
    let server = Server::start();
    let phone = server.sign_in("alice@example.org/phone");
    let call =
        |name: &str, arguments: &[&str]| told(&server, &[&["api", name], arguments].concat());
    let alice = ["user=alice", "host=example.org"];
    assert_eq!(call("check_account", &alice), 0);
    assert_eq!(call("check_account", &["user=nobody", "host=example.org"]), 1);
    assert_eq!(call("user_resources", &alice), json!(["phone"]));
    assert_eq!(call("num_resources", &alice), 1);
    assert_eq!(call("get_presence", &alice)["show"], "unavailable");
    assert_eq!(call("stats", &["name=onlineusers"]), 1);
    let field = ["name=FN", "content=Alice"];
    assert_eq!(call("set_vcard", &[&alice[..], &field].concat()), 0);
    assert_eq!(call("get_vcard", &[&alice[..], &["name=FN"]].concat()), "Alice");
    assert_eq!(call("set_last", &[&alice[..], &["timestamp=1500045311", "status=x"]].concat()), 0);
    assert_eq!(call("get_last", &alice)["status"], "ONLINE");
    assert_eq!(call("ban_account", &[&alice[..], &["reason=spam"]].concat()), 0);
    assert_eq!(call("get_ban_details", &alice)["reason"], "spam");
    assert_eq!(call("list_banned", &["host=all"]), json!(["alice@example.org"]));
    assert_eq!(call("unban_account", &alice), 0);
    assert_eq!(call("count_banned", &["host=all"]), 0);
    assert_eq!(call("get_offline_count", &alice), 0);
    assert_eq!(call("delete_old_messages", &["days=31"]), 0);
    assert_eq!(call("get_loglevel", &[]), "info");
    drop(phone);
}

#[test]
fn the_log_is_searched_and_turned_up_and_certificates_are_told() {
    let server = Server::start();
    let found = told(&server, &["log", "level", "debug", "--module", "stream", "--for", "10m"]);
    assert_eq!(found["modules"]["coucou::stream"], "debug");
    assert!(found["overrides"]["coucou::stream"].is_string());
    let back = told(&server, &["log", "level", "settings", "--module", "stream"]);
    assert_eq!(back["overrides"], json!({}));
    let lines = server.run(&["log", "search", "listening", "--json"]);
    assert!(lines.lines().count() >= 1, "{lines}");
    let certificates = told(&server, &["cert", "list"]);
    assert_eq!(certificates["certificates"][0]["hosts"], json!(["example.org"]));
    let listeners = told(&server, &["api", "server.listeners"]);
    assert!(listeners.as_array().unwrap().iter().any(|l| l["what"] == "c2s"), "{listeners}");
}
