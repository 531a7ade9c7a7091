//! The settings, edited by commands while the server runs and while it does not.

use std::fs;
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::time::Duration;

use crate::server::{Server, until};

fn text(server: &Server) -> String {
    fs::read_to_string(server.path("coucou.toml")).unwrap()
}

/// The value in force.
fn value(server: &Server, key: &str) -> String {
    server.json(&["config", "get", key])["value"].as_str().unwrap().to_owned()
}

const LOUD: &str = "\n# How much is told.\n[log] # mine\n#level = \"info\"\n";

#[test]
fn an_edit_is_in_force_at_once_and_can_be_taken_back() {
    let server = Server::start_with(LOUD);
    let before = text(&server);
    fs::set_permissions(server.path("coucou.toml"), fs::Permissions::from_mode(0o640)).unwrap();
    let told = server.run(&["config", "set", "log.level", "debug", "--reason", "lost pings"]);
    assert!(told.contains("-#level = \"info\"\n+level = \"debug\""), "{told}");
    assert!(told.contains("log.level: info → debug (live)"), "{told}");
    assert_eq!(text(&server), before.replace("#level = \"info\"", "level = \"debug\""));
    let mode = fs::metadata(server.path("coucou.toml")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o640);
    assert_eq!(value(&server, "log.level"), "debug");
    // It is in force, not just in the file: this line is of the level that was set.
    let alice = server.sign_in("alice@example.org/a");
    until("debug lines", || server.run(&["log", "-n", "500"]).contains(" debug "));
    drop(alice);

    let states = server.json(&["config", "history"]);
    let newest = &states["states"][0];
    assert_eq!(newest["what"], "config.set");
    assert_eq!(newest["why"], "lost pings");
    assert!(newest["who"].as_str().unwrap().starts_with("uid="));
    assert_eq!(newest["changes"][0]["new"], "debug");

    server.run(&["config", "set", "hosts.example.org.archive.retention", "30d"]);
    assert_eq!(value(&server, "hosts.\"example.org\".archive.retention"), "30d");
    let first = states["states"][1]["id"].to_string();
    let shown = server.run(&["config", "diff", &first]);
    assert!(shown.contains("+level = \"debug\"") && shown.contains("+retention = \"30d\""));
    server.run(&["config", "revert"]);
    assert_eq!(value(&server, "hosts.example.org.archive.retention"), "forever");
    assert_eq!(value(&server, "log.level"), "debug");
    server.run(&["config", "revert", &first]);
    assert_eq!(text(&server), before);
    assert_eq!(value(&server, "log.level"), "info");
    let audit = server.log();
    assert!(audit.contains("config.set") && audit.contains("config.revert"), "{audit}");
}

#[test]
fn what_would_not_do_changes_nothing_and_says_where() {
    let server = Server::start_with(LOUD);
    let before = text(&server);
    let told = server.refuses(&["config", "set", "log.level", "loud"]);
    assert!(told.contains(", column 9: log.level: found \"loud\""), "{told}");
    let told = server.refuses(&["config", "set", "log.levl", "info"]);
    assert!(told.contains("did you mean \"level\"?"), "{told}");
    let told = server.refuses(&["config", "get", "log.levl"]);
    assert!(told.contains("did you mean log.level?"), "{told}");
    // The text is in order, but this certificate is not there: the reload refuses, the file goes
    // back.
    let told = server.refuses(&[
        "config",
        "set",
        "hosts.\"example.org\".tls",
        "{ certificate = \"no.pem\", key = \"no.pem\" }",
        "--now",
    ]);
    assert!(told.contains("no.pem"), "{told}");
    assert_eq!(text(&server), before);
    assert!(!server.run(&["config", "history"]).contains("config.set"));
    let shown = server.run(&["config", "set", "log.level", "debug", "--dry-run"]);
    assert!(shown.contains("Nothing was done"), "{shown}");
    assert_eq!(text(&server), before);
}

#[test]
fn what_others_have_written_is_not_applied_along() {
    let server = Server::start_with(LOUD);
    fs::write(server.path("coucou.toml"), text(&server) + "keep_days = 3\n").unwrap();
    let told = server.refuses(&["config", "set", "log.level", "debug"]);
    assert!(told.contains("not in force yet: log.keep_days"), "{told}");
    assert!(server.run(&["config", "diff"]).contains("+keep_days = 3"));
    server.run(&["reload"]);
    server.run(&["config", "set", "log.level", "debug"]);
    assert_eq!(value(&server, "log.keep_days"), "3");
}

#[test]
fn rules_are_edited_in_their_order_and_the_last_admin_stays() {
    let server = Server::start_with(
        "[acl]\n# The boss.\nadmin = { user = [\"alice@example.org\"] }\n[access]\n\
         register = [\n  { allow = \"local\" }, # ours\n]\n",
    );
    server.run(&["access", "insert", "register", "1", "deny = { user_regexp = \"^eve\" }"]);
    server.run(&["access", "add", "register", "allow loopback"]);
    server.run(&["access", "move", "register", "3", "1"]);
    server.run(&["access", "replace", "register", "2", "deny = \"none\""]);
    assert!(
        text(&server).contains(
            "register = [\n  { allow = \"loopback\" },\n  { deny = \"none\" },\n  { allow = \"local\" }, # ours\n]"
        ),
        "{}",
        text(&server)
    );
    server.run(&["access", "remove", "register", "2"]);
    server.run(&["acl", "add", "friends", "user", "bob@example.org"]);
    let told = server.refuses(&["acl", "remove", "admin", "user", "alice@example.org", "--now"]);
    assert!(told.contains("nobody would be left"), "{told}");
    server.run(&["acl", "add", "admin", "acl", "friends", "--now"]);
    server.run(&["acl", "remove", "admin", "user", "alice@example.org", "--now"]);
    assert!(
        text(&server).contains("# The boss.\nadmin = { acl = [\"friends\"] }\n"),
        "{}",
        text(&server)
    );
    let told = server.refuses(&["acl", "remove", "friends", "--now"]);
    assert!(told.contains("friends"), "{told}");
}

#[test]
fn what_could_lock_operators_out_is_undone_unless_it_is_confirmed() {
    let mut server = Server::start();
    let (old, new) = (server.c2s().to_string(), server.component().to_string());
    let listen = format!("[\"{new}\"]");
    let set = ["config", "set", "listen.c2s", &listen, "--confirm-within"];
    let told = server.run(&[&set[..], &["3s"]].concat());
    assert!(told.contains("coucou config confirm"), "{told}");
    assert!(TcpStream::connect(&new).is_ok() && TcpStream::connect(&old).is_err());
    let told = server.refuses(&["config", "set", "log.level", "debug"]);
    assert!(told.contains("still waits for its confirmation"), "{told}");
    until("the old listener is back", || TcpStream::connect(&old).is_ok());
    until("the new one is gone", || TcpStream::connect(&new).is_err());
    assert!(text(&server).contains(&old));
    until("it is told", || server.log().contains("was not confirmed and is undone"));

    server.run(&[&set[..], &["1h"]].concat());
    let states = server.json(&["config", "history"]);
    assert_eq!(states["unconfirmed"], states["states"][0]["id"]);
    server.run(&["config", "confirm"]);
    assert!(server.json(&["config", "history"])["unconfirmed"].is_null());
    server.refuses(&["config", "confirm"]);

    // The time runs while the server does not, and the next start finds it over.
    let back = format!("[\"{old}\"]");
    server.run(&["config", "set", "listen.c2s", &back, "--confirm-within", "1s"]);
    server.kill();
    std::thread::sleep(Duration::from_millis(1100));
    server.resume();
    assert!(TcpStream::connect(&new).is_ok() && TcpStream::connect(&old).is_err());
}

#[test]
fn settings_are_edited_and_mended_while_the_server_is_down() {
    let mut server = Server::start_with(LOUD);
    server.stop();
    let told = server.run(&["config", "set", "log.level", "debug"]);
    assert!(told.contains("the server is down"), "{told}");
    let good = text(&server);
    assert!(good.contains("\nlevel = \"debug\"\n"));
    fs::write(server.path("coucou.toml"), good.clone() + "[oops\n").unwrap();
    let told = server.refuses(&["config", "set", "log.level", "info"]);
    assert!(told.contains(", column 6: found a fault of TOML"), "{told}");
    server.run(&["config", "revert"]);
    assert_eq!(text(&server), good);
    server.resume();
    assert_eq!(value(&server, "log.level"), "debug");
}

#[test]
fn an_editor_is_given_a_copy_and_what_it_leaves_is_checked_shown_and_applied() {
    let server = Server::start_with(LOUD);
    let edit = |editor: &str, answers: &str| {
        // `script` gives it the terminal that it asks for.
        let program = env!("CARGO_BIN_EXE_coucou");
        let home = server.path("").display().to_string();
        let line = format!("EDITOR={editor:?} {program} --dir {home} config edit");
        let mut command = Command::new("script");
        command.args(["-qec", &line, "/dev/null"]);
        command.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped());
        for name in ["COUCOU_CONFIG", "COUCOU_DIR", "COUCOU_SOCKET", "VISUAL"] {
            command.env_remove(name);
        }
        let mut child = command.spawn().expect("script(1) of util-linux");
        use std::io::Write as _;
        child.stdin.take().unwrap().write_all(answers.as_bytes()).unwrap();
        String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap()
    };
    let told = edit("sed -i 's/^#level = .*/level = \\\"debug\\\"/'", "y\n");
    assert!(told.contains("+level = \"debug\"") && told.contains("is in force"), "{told}");
    assert_eq!(value(&server, "log.level"), "debug");
    let told = edit("sed -i 's/^level = .*/level = \\\"loud\\\"/'", "n\n");
    assert!(told.contains("found \"loud\"") && told.contains("your text is in"), "{told}");
    assert_eq!(value(&server, "log.level"), "debug");
    let told = edit("true", "");
    assert!(told.contains("Nothing has changed."), "{told}");
}
