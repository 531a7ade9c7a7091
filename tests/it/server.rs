//! The real program in a folder of its own, on a loopback address and ports of its own: so that
//! tests that run at the same time share nothing, with each other and with whatever else is there.

use std::io::{BufRead, BufReader, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use crate::client::{Client, PATIENCE};

/// Accounts that every server has on `example.org`, and the password of all of them.
pub const ACCOUNTS: [&str; 3] = ["alice", "bob", "carol"];
pub const PASSWORD: &str = "secret";

/// A server, running or not; killed when the test ends, however it ends.
pub struct Server {
    ip: IpAddr,
    home: TempDir,
    child: Option<Child>,
}

impl Server {
    /// Starts a server for `example.org`.
    pub fn start() -> Server {
        Server::start_with("")
    }

    /// Starts one with more in its `coucou.toml`.
    pub fn start_with(config: &str) -> Server {
        Server::start_on(own_address(), config)
    }

    /// Starts one on this address.
    pub fn start_on(ip: IpAddr, config: &str) -> Server {
        let home = tempfile::tempdir().expect("a temporary folder");
        copy(template(), home.path());
        let mut server = Server { ip, home, child: None };
        server.configure(config);
        server.resume();
        server
    }

    /// One without settings, which the test makes; it does not run yet.
    pub fn bare() -> Server {
        let home = tempfile::tempdir().expect("a temporary folder");
        Server { ip: own_address(), home, child: None }
    }

    /// Writes the settings anew; they come into force by a reload or a start.
    pub fn configure(&self, config: &str) {
        let (c2s, c2s_tls, component) = (self.c2s(), self.c2s_tls(), self.component());
        let (https, http) = (self.https(), self.http());
        std::fs::write(
            self.path("coucou.toml"),
            format!(
                "data_dir = \".\"\n[listen]\nc2s = [\"{c2s}\"]\nc2s_tls = [\"{c2s_tls}\"]\n\
                 component = [\"{component}\"]\nhttps = [\"{https}\"]\nhttp = [\"{http}\"]\n[hosts.\"example.org\"]\nscram_iterations = 4096\n\
                 {config}"
            ),
        )
        .unwrap();
    }

    /// Runs it, and returns when it serves.
    pub fn resume(&mut self) {
        assert!(self.child.is_none(), "it runs already");
        let mut child = command(self.home.path(), &["up", "--json"])
            .stdout(Stdio::piped())
            .stderr(std::fs::File::create(self.path("stderr")).unwrap())
            .spawn()
            .expect("the program starts");
        let mut line = String::new();
        let mut told = BufReader::new(child.stdout.take().unwrap());
        told.read_line(&mut line).expect("the server tells what it does");
        self.child = Some(child);
        assert!(line.contains("serving"), "{line:?}\n{}", self.log());
    }

    /// All that it has said since its first start.
    pub fn log(&self) -> String {
        let files = std::fs::read_dir(self.path("log")).into_iter().flatten().flatten();
        let files = files.map(|file| file.path()).chain([self.path("stderr")]);
        files.map(|file| std::fs::read_to_string(file).unwrap_or_default()).collect()
    }

    /// Ends it as an operator does.
    pub fn stop(&mut self) {
        self.run(&["stop"]);
        let status = self.child.take().expect("it runs").wait().unwrap();
        assert!(status.success(), "{status}\n{}", self.log());
    }

    /// Ends it as a power cut does (SIGKILL).
    pub fn kill(&mut self) {
        let mut child = self.child.take().expect("it runs");
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// SIGHUP; returns when the settings have been read again, or were refused.
    pub fn hang_up(&self) {
        let lines = || self.log().lines().filter(|line| line.contains("settings")).count();
        let before = lines();
        let pid = self.child.as_ref().expect("it runs").id().to_string();
        assert!(Command::new("kill").args(["-s", "HUP", &pid]).status().unwrap().success());
        until("the settings are read again", || lines() > before);
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    /// Runs a command of the program's about this server; it must succeed.
    pub fn run(&self, arguments: &[&str]) -> String {
        succeeded(arguments, command(self.home.path(), arguments).output().unwrap())
    }

    /// The same, which must not succeed.
    pub fn refuses(&self, arguments: &[&str]) -> String {
        let output = command(self.home.path(), arguments).output().unwrap();
        assert!(!output.status.success(), "{arguments:?}: {output:?}");
        String::from_utf8(output.stderr).unwrap()
    }

    /// The same; what it says on standard output and on standard error.
    pub fn fails(&self, arguments: &[&str]) -> (String, String) {
        let output = command(self.home.path(), arguments).output().unwrap();
        assert!(!output.status.success(), "{arguments:?}: {output:?}");
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (text(output.stdout), text(output.stderr))
    }

    /// Starts a command of the program's and does not wait for it.
    pub fn spawn(&self, arguments: &[&str]) -> Child {
        let mut command = command(self.home.path(), arguments);
        command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the program starts")
    }

    pub fn json(&self, arguments: &[&str]) -> Value {
        serde_json::from_str(&self.run(&[arguments, &["--json"]].concat())).expect("JSON")
    }

    pub fn add_account(&self, jid: &str) {
        add_account(self.home.path(), jid);
    }

    pub fn set_password(&self, jid: &str, password: &str) {
        let arguments = ["account", "password", jid, "--password-stdin"];
        with_input(self.home.path(), &arguments, password);
    }

    /// The state of a session as operators see it; `None` if there is none.
    pub fn session_state(&self, jid: &str) -> Option<String> {
        let listed = self.json(&["session", "list"]);
        let sessions = listed["sessions"].as_array().unwrap();
        let session = sessions.iter().find(|session| session["jid"] == jid)?;
        Some(session["state"].as_str().unwrap().to_owned())
    }

    pub fn c2s(&self) -> SocketAddr {
        own_port(self.ip, 0)
    }

    pub fn c2s_tls(&self) -> SocketAddr {
        own_port(self.ip, 1)
    }

    pub fn component(&self) -> SocketAddr {
        own_port(self.ip, 2)
    }

    pub fn https(&self) -> SocketAddr {
        own_port(self.ip, 3)
    }

    pub fn http(&self) -> SocketAddr {
        own_port(self.ip, 4)
    }

    /// Signs `alice@example.org/phone` in.
    pub fn sign_in(&self, jid: &str) -> Client {
        Client::sign_in(self.c2s_tls(), jid, PASSWORD)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
            if std::thread::panicking() {
                eprintln!("the server's last words:\n{}", self.log());
            }
        }
    }
}

/// Waits until `condition` holds.
pub fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "never: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// 127.x.y.z, from the process's id and a counter.
fn own_address() -> IpAddr {
    static COUNT: AtomicU8 = AtomicU8::new(1);
    let [.., second, third] = std::process::id().to_be_bytes();
    let last = COUNT.fetch_add(1, Ordering::Relaxed);
    IpAddr::V4(Ipv4Addr::new(127, second | 1, third, last))
}

/// Below those that the system gives to outgoing connections.
fn own_port(ip: IpAddr, door: u16) -> SocketAddr {
    let process = u16::try_from(std::process::id() % 2500).expect("small");
    SocketAddr::new(ip, 20_000 + process * 5 + door)
}

/// A folder with accounts and a certificate, made once: deriving keys from passwords takes time.
fn template() -> &'static Path {
    static TEMPLATE: OnceLock<TempDir> = OnceLock::new();
    let dir = TEMPLATE.get_or_init(|| {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let config = "data_dir = \".\"\n[hosts.\"example.org\"]\nscram_iterations = 4096\n";
        std::fs::write(dir.path().join("coucou.toml"), config).unwrap();
        for name in ACCOUNTS {
            add_account(dir.path(), &format!("{name}@example.org"));
        }
        dir
    });
    dir.path()
}

fn copy(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            std::fs::create_dir(&target).unwrap();
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), &target).unwrap();
        }
    }
}

fn add_account(home: &Path, jid: &str) {
    with_input(home, &["account", "add", jid, "--password-stdin"], PASSWORD);
}

fn with_input(home: &Path, arguments: &[&str], input: &str) {
    let mut command = command(home, arguments);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the program starts");
    writeln!(child.stdin.take().unwrap(), "{input}").expect("the program reads");
    succeeded(arguments, child.wait_with_output().unwrap());
}

fn succeeded(arguments: &[&str], output: Output) -> String {
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// `coucou` with these arguments alone.
pub fn program(arguments: &[&str]) -> Output {
    bare_command().args(arguments).output().expect("the program starts")
}

/// `coucou` about the server in `home`, with nothing of the environment that leads elsewhere.
fn command(home: &Path, arguments: &[&str]) -> Command {
    let mut command = bare_command();
    command.arg("--dir").arg(home).args(arguments);
    command
}

fn bare_command() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_coucou"));
    for name in ["COUCOU_CONFIG", "COUCOU_DIR", "COUCOU_SOCKET", "JOURNAL_STREAM", "NOTIFY_SOCKET"]
    {
        command.env_remove(name);
    }
    command.stdin(Stdio::null());
    command
}
