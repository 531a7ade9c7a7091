//! The program as a person and a script meet it: its commands, exit codes and output.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use crate::client::Client;

/// A folder of its own for one server.
struct Home {
    dir: TempDir,
}

impl Home {
    fn new() -> Home {
        Home { dir: tempfile::tempdir().expect("a temporary folder") }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn config(&self) -> PathBuf {
        self.path("coucou.toml")
    }

    /// `coucou` about this server, with nothing of the environment that would lead it elsewhere.
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_coucou"));
        for name in
            ["COUCOU_CONFIG", "COUCOU_DIR", "COUCOU_SOCKET", "JOURNAL_STREAM", "NOTIFY_SOCKET"]
        {
            command.env_remove(name);
        }
        command.arg("--dir").arg(self.dir.path()).args(arguments).stdin(Stdio::null());
        command
    }

    fn run(&self, arguments: &[&str]) -> Ran {
        Ran::from(self.command(arguments).output().expect("the program starts"))
    }

    fn run_with_input(&self, arguments: &[&str], input: &str) -> Ran {
        let mut command = self.command(arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the program starts");
        child.stdin.take().unwrap().write_all(input.as_bytes()).expect("the program reads");
        Ran::from(child.wait_with_output().expect("the program ends"))
    }

    /// Runs `arguments` with `--json`, expects success and reads the output.
    fn json(&self, arguments: &[&str]) -> Value {
        let ran = self.run(&[arguments, &["--json"]].concat());
        assert_eq!(ran.code, 0, "{arguments:?}: {ran:?}");
        ran.json()
    }
}

/// How a command ended.
#[derive(Debug)]
struct Ran {
    code: i32,
    out: String,
    err: String,
}

impl From<Output> for Ran {
    fn from(output: Output) -> Ran {
        Ran {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8(output.stdout).expect("output is UTF-8"),
            err: String::from_utf8(output.stderr).expect("errors are UTF-8"),
        }
    }
}

impl Ran {
    fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// `coucou up` in the background; killed when the test ends, however it ends.
struct Daemon {
    child: Child,
    lines: BufReader<std::process::ChildStdout>,
    port: u16,
    tls_port: u16,
}

impl Daemon {
    /// The first run prints the account before it serves.
    fn first(home: &Home) -> (Daemon, Value) {
        let (port, tls) = (free_port(), free_port());
        let (c2s, c2s_tls) = (format!("127.0.0.1:{port}"), format!("127.0.0.1:{tls}"));
        let mut daemon = Daemon::spawn(
            home,
            &["up", "--json", "--c2s", &c2s, "--c2s-tls", &c2s_tls],
            (port, tls),
        );
        let account = daemon.line();
        assert_eq!(daemon.line()["serving"], serde_json::json!(["localhost"]));
        (daemon, account)
    }

    /// Later runs only serve.
    fn again(home: &Home, ports: (u16, u16)) -> Daemon {
        let mut daemon = Daemon::spawn(home, &["up", "--json"], ports);
        assert_eq!(daemon.line()["serving"], serde_json::json!(["localhost"]));
        daemon
    }

    fn spawn(home: &Home, arguments: &[&str], (port, tls_port): (u16, u16)) -> Daemon {
        let mut command = home.command(arguments);
        let mut child = command.stdout(Stdio::piped()).spawn().expect("the server starts");
        let lines = BufReader::new(child.stdout.take().unwrap());
        Daemon { child, lines, port, tls_port }
    }

    fn tls(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.tls_port))
    }

    fn line(&mut self) -> Value {
        let mut line = String::new();
        self.lines.read_line(&mut line).expect("the server tells what it does");
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?}"))
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0")
        .and_then(|listener| listener.local_addr())
        .expect("a free port")
        .port()
}

/// What the server answers to the header of a stream.
fn stream_features(port: u16) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("the server listens");
    stream
        .write_all(
            b"<stream:stream to='localhost' version='1.0' xmlns='jabber:client' \
              xmlns:stream='http://etherx.jabber.org/streams'>",
        )
        .unwrap();
    let mut text = String::new();
    let mut buffer = [0; 4096];
    while !text.contains("</stream:features>") {
        let count = stream.read(&mut buffer).unwrap();
        assert!(count > 0, "the stream ended: {text}");
        text.push_str(&String::from_utf8_lossy(&buffer[..count]));
    }
    text
}

#[test]
fn the_first_run_serves_and_every_tool_reaches_it() {
    let home = Home::new();
    let (mut daemon, account) = Daemon::first(&home);
    assert_eq!(account["jid"], "admin@localhost");
    assert_eq!(account["password"].as_str().unwrap().len(), 19);
    assert!(stream_features(daemon.port).contains("urn:ietf:params:xml:ns:xmpp-tls"));

    let status = home.json(&["status"]);
    assert_eq!(status["running"], true);
    assert_eq!(status["process"]["pid"], daemon.child.id());
    assert_eq!(status["hosts"][0]["accounts"], 1);

    let added = home.json(&["account", "add", "anna@localhost", "--generate"]);
    assert_eq!(added["jid"], "anna@localhost");
    assert_eq!(added["password"].as_str().unwrap().len(), 19);
    let names: Vec<Value> = home
        .json(&["account", "list"])
        .as_array()
        .unwrap()
        .iter()
        .map(|a| a["jid"].clone())
        .collect();
    assert_eq!(names, ["admin@localhost", "anna@localhost"]);
    assert_eq!(home.json(&["session", "list"])["count"], 0);
    assert_eq!(home.run(&["session", "kick", "anna@localhost"]).code, 1);

    let log = home.run(&["log", "--json"]);
    assert!(log.out.lines().any(|line| line.contains("account.add")), "{log:?}");
    assert!(!log.out.contains(added["password"].as_str().unwrap()));

    let second = home.run(&["up"]);
    assert_eq!(second.code, 4, "{second:?}");
    assert!(second.err.contains("a server runs here already"), "{second:?}");

    assert_eq!(home.json(&["stop"])["stopped"], true);
    assert_eq!(daemon.child.wait().unwrap().code(), Some(0));
    let down = home.run(&["status", "--json"]);
    assert_eq!((down.code, down.json()["running"].clone()), (3, Value::Bool(false)));
    assert_eq!(down.json()["hosts"][0]["accounts"], 2);
    assert!(!home.path("admin.sock").exists());

    let again = Daemon::again(&home, (daemon.port, daemon.tls_port));
    assert!(stream_features(again.port).contains("stream:features"));
}

#[test]
fn sessions_are_listed_and_end_by_kick_lock_and_password() {
    let home = Home::new();
    let (daemon, account) = Daemon::first(&home);
    let password = account["password"].as_str().unwrap();
    let sign_in = |password: &str| Client::sign_in(daemon.tls(), "admin@localhost/phone", password);

    let mut phone = sign_in(password);
    let listed = home.json(&["session", "list", "admin@localhost"]);
    assert_eq!(listed["count"], 1);
    let session = &listed["sessions"][0];
    assert_eq!(session["jid"], "admin@localhost/phone");
    assert_eq!(session["address"], "127.0.0.1");
    assert_eq!(session["mechanism"], "PLAIN");
    assert_eq!(session["state"], "connected");
    assert_eq!(home.json(&["account", "list"])[0]["sessions"], 1);
    assert_eq!(home.json(&["status"])["process"]["connections"], 1);
    let metrics = home.json(&["status", "--metrics"]);
    let value =
        |name| metrics.as_array().unwrap().iter().find(|m| m["name"] == name).map(|m| &m["value"]);
    assert_eq!(value("logins_ok"), Some(&Value::from(1)));
    assert_eq!(value("sessions"), Some(&Value::from(1)));

    assert_eq!(home.run(&["session", "kick", "admin@localhost/other"]).code, 1);
    let kicked = home.run(&["session", "kick", "admin@localhost/phone", "--reason", "to test it"]);
    assert_eq!(kicked.out, "admin@localhost/phone ended\n", "{kicked:?}");
    let goodbye = phone.goodbye();
    assert!(goodbye.contains("policy-violation") && goodbye.contains("to test it"), "{goodbye}");

    let mut phone = sign_in(password);
    let locked = home.json(&["account", "lock", "admin@localhost"]);
    assert_eq!(locked["sessions_ended"], 1);
    assert!(phone.goodbye().contains("not-authorized"));
    home.json(&["account", "unlock", "admin@localhost"]);

    let mut phone = sign_in(password);
    let new = home.json(&["account", "password", "admin@localhost", "--generate"]);
    assert!(phone.goodbye().contains("reset"));
    let mut phone = sign_in(new["password"].as_str().unwrap());

    let removed = home.json(&["account", "remove", "admin@localhost", "--yes", "admin@localhost"]);
    assert_eq!(removed["sessions_ended"], 1);
    phone.goodbye();
    assert_eq!(home.json(&["session", "list"])["count"], 0);
}

#[test]
fn the_log_is_followed_as_it_is_written() {
    let home = Home::new();
    let (mut daemon, _) = Daemon::first(&home);
    let mut command = home.command(&["log", "--follow", "--json"]);
    let mut follower = command.stdout(Stdio::piped()).spawn().expect("the program starts");
    let mut lines = BufReader::new(follower.stdout.take().unwrap()).lines();
    let mut next_about = |what: &str| {
        lines.find(|line| line.as_ref().unwrap().contains(what)).map(|line| line.unwrap())
    };
    assert!(next_about("serving").is_some());
    home.json(&["account", "lock", "admin@localhost", "--reason", "to test it"]);
    let line: Value = serde_json::from_str(&next_about("account.lock").unwrap()).unwrap();
    assert_eq!(line["level"], "info");
    home.json(&["stop"]);
    assert_eq!(next_about("never said"), None);
    assert_eq!(follower.wait().unwrap().code(), Some(0));
    assert_eq!(daemon.child.wait().unwrap().code(), Some(0));
}

#[test]
fn a_reload_applies_all_or_nothing_and_says_what() {
    let home = Home::new();
    let (_daemon, _) = Daemon::first(&home);
    assert_eq!(home.json(&["reload"])["changes"], serde_json::json!([]));

    let before = std::fs::read_to_string(home.config()).unwrap();
    let debug = before.replace("#level = \"info\"", "level = \"debug\"");
    assert_ne!(before, debug);
    std::fs::write(home.config(), &debug).unwrap();
    let changes = home.json(&["reload"])["changes"].clone();
    assert_eq!(
        changes,
        serde_json::json!([{ "path": "log.level", "old": "info", "new": "debug", "effect": "live" }])
    );

    let broken =
        debug.replace("#depth_max = 100", "depth_max = \"deep\"").replace("\"debug\"", "\"warn\"");
    std::fs::write(home.config(), broken).unwrap();
    let refused = home.run(&["reload"]);
    assert_eq!(refused.code, 1);
    assert!(refused.err.contains("limits.depth_max: found \"deep\""), "{refused:?}");

    std::fs::write(home.config(), &before).unwrap();
    let shown = home.run(&["reload"]);
    assert_eq!(shown.out, "log.level: debug → info (live)\n");
}

#[test]
fn accounts_are_managed_while_the_server_is_down() {
    let home = Home::new();
    home.json(&["init", "--domain", "Example.org", "--no-account"]);

    let added = home
        .run_with_input(&["account", "add", "Anna@example.org", "--password-stdin"], "s3cret\n");
    assert_eq!((added.code, added.out.as_str()), (0, "anna@example.org added\n"), "{added:?}");
    let twice = home
        .run_with_input(&["account", "add", "anna@example.org", "--password-stdin"], "s3cret\n");
    assert_eq!(twice.code, 4);
    assert!(twice.err.contains("exists already"), "{twice:?}");

    home.json(&["account", "lock", "anna@example.org", "--reason", "spam\u{1b}[2J"]);
    let locked = home.json(&["account", "list"]);
    assert_eq!(locked[0]["locked"]["reason"], "spam\u{1b}[2J");
    assert_eq!(locked[0]["sessions"], Value::Null);
    let shown = home.run(&["account", "list"]);
    assert!(shown.out.contains("spam\\u{1b}[2J"), "{shown:?}");
    home.json(&["account", "unlock", "anna@example.org"]);
    assert_eq!(home.json(&["account", "list", "example.org"])[0]["locked"], Value::Null);

    assert_eq!(home.run(&["account", "password", "anna@example.org", "--generate"]).code, 0);
    let unsure = home.run(&["account", "remove", "anna@example.org"]);
    assert_eq!(unsure.code, 2, "{unsure:?}");
    assert!(unsure.err.contains("--yes anna@example.org"), "{unsure:?}");
    assert_eq!(
        home.run(&["account", "remove", "anna@example.org", "--yes", "anna@example.org"]).code,
        0
    );
    assert_eq!(home.json(&["account", "list"]), serde_json::json!([]));

    for (arguments, code, told) in [
        (&["account", "lock", "bob@example.org"][..], 1, "there is no account bob@example.org"),
        (&["account", "lock", "bob@example.com"], 1, "its hosts are: example.org"),
        (&["account", "lock", "example.org"], 2, "write name@example.org"),
        (&["account", "lock", "a@b@c"], 2, "not the address of an account"),
        (&["account", "add", "bob@example.org"], 2, "--password-stdin or --generate"),
        (&["session", "list"], 3, "the server is not running"),
        (&["reload"], 3, "the server is not running"),
        (&["log"], 3, "the server is not running"),
        (&["stop"], 3, "the server is not running"),
    ] {
        let ran = home.run(arguments);
        assert_eq!(ran.code, code, "{arguments:?}: {ran:?}");
        assert!(ran.err.contains(told), "{arguments:?}: {ran:?}");
        assert_eq!(ran.out, "", "{arguments:?}");
    }
}

#[test]
fn init_prepares_all_and_never_waits_for_answers() {
    let home = Home::new();
    let unanswered = home.run(&["init"]);
    assert_eq!(unanswered.code, 2);
    assert!(unanswered.err.contains("--domain is missing"), "{unanswered:?}");
    assert!(!home.config().exists());

    let made = home.json(&["init", "--domain", "bücher.example", "--public-address", "192.0.2.1"]);
    assert_eq!(made["jid"], "admin@bücher.example");
    assert_eq!(made["password"].as_str().unwrap().len(), 19);
    assert_eq!(made["dns"][0]["name"], "xn--bcher-kva.example.");
    let mode = std::fs::metadata(home.config()).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode, 0o600);
    assert!(home.run(&["check"]).out.ends_with("coucou.toml is in order.\n"));

    let again = home.run(&["init", "--domain", "other.example"]);
    assert_eq!(again.code, 4);
    assert!(again.err.contains("exists already"), "{again:?}");
}

#[test]
fn check_tells_all_faults_with_place_and_remedy() {
    let home = Home::new();
    std::fs::write(
        home.config(),
        "[limits]\nping_afer = \"1m\"\n[hosts.\"a.org\"]\nauth = 5\n[hosts.\"a.org\".tls]\ncertificate = \"x\"\n\
         key = \"x\"\n",
    )
    .unwrap();
    let told = home.run(&["check", "--json"]);
    assert_eq!(told.code, 1);
    assert_eq!(told.err, "");
    let problems = told.json()["problems"].clone();
    assert_eq!(problems[0]["line"], 2);
    assert_eq!(problems[0]["help"], "did you mean \"ping_after\"?");
    assert_eq!((&problems[1]["line"], &problems[1]["column"]), (&Value::from(4), &Value::from(8)));

    std::fs::write(
        home.config(),
        "[hosts.\"a.org\"]\n[hosts.\"a.org\".tls]\ncertificate = \"x\"\nkey = \"x\"\n",
    )
    .unwrap();
    let told = home.run(&["check"]);
    assert_eq!(told.code, 1);
    assert!(told.out.contains("no usable certificate: cannot read"), "{told:?}");

    let missing = home.run(&["check", "/nowhere.toml"]);
    assert_eq!(missing.code, 1);
    assert!(missing.out.contains("no readable file"), "{missing:?}");
}

#[test]
fn failures_are_json_too_and_wrong_usage_is_exit_code_2() {
    let home = Home::new();
    let ran = home.run(&["status", "--json"]);
    let error: Value = serde_json::from_str(&ran.err).unwrap();
    assert_eq!(ran.code, 1);
    assert!(error["error"]["text"].as_str().unwrap().contains("no readable file"), "{error}");

    assert_eq!(home.run(&["frobnicate"]).code, 2);
    let help = home.run(&["--help"]);
    assert_eq!(help.code, 0);
    assert!(help.out.contains("Exit codes: 0 done"), "{help:?}");
    assert_eq!(home.run(&["--version"]).out, format!("coucou {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn a_port_in_use_is_named_and_the_password_is_told_before() {
    let home = Home::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let ran = home.run(&["up", "--c2s", &address, "--c2s-tls", "127.0.0.1:0"]);
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.out.contains("password  "), "{ran:?}");
    assert!(ran.err.contains(&address), "{ran:?}");
}

#[test]
fn first_run_flags_that_contradict_the_file_are_refused() {
    let home = Home::new();
    home.json(&["init", "--domain", "a.org", "--no-account"]);
    let ran = home.run(&["up", "--domain", "b.org"]);
    assert_eq!(ran.code, 2);
    assert!(ran.err.contains("says the domain is a.org"), "{ran:?}");
    let ran = home.run(&["up", "--c2s", "127.0.0.1:1"]);
    assert_eq!(ran.code, 2);
    assert!(ran.err.contains("says it listens on [::]:5222"), "{ran:?}");
}

#[test]
fn the_data_directory_is_private() {
    let home = Home::new();
    let dir = home.path("inner");
    let config = dir.join("coucou.toml");
    let mut command = Command::new(env!("CARGO_BIN_EXE_coucou"));
    command.arg("--config").arg(&config).args(["init", "--domain", "a.org", "--no-account"]);
    let ran = Ran::from(command.stdin(Stdio::null()).output().unwrap());
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(mode(&dir), 0o700);
    assert_eq!(mode(&config), 0o600);
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}
