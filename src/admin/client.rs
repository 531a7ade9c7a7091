//! The other end of the admin socket, for programs that wait for their answer.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::op::{Operation, Refusal};
use super::wire::{self, Body, FOLLOW, Greeting, Hello, PROTOCOL, Reply, Request};
use crate::telemetry::LogLine;

/// How long an operation may take; erasing a large account is the longest.
const ANSWER_MAX: Duration = Duration::from_secs(300);
/// The same for what goes over all accounts.
const LONG_ANSWER_MAX: Duration = Duration::from_secs(24 * 3600);

/// Longest answer that is read: lists of names have no bound of their own.
const REPLY_BYTES_MAX: u64 = 64 << 20;

/// Why there is no talking to the server.
#[derive(Debug, thiserror::Error)]
pub enum Unreachable {
    /// No socket there, or nobody behind it.
    #[error("the server is not running (nobody answers at {})", path.display())]
    NotRunning { path: PathBuf },
    #[error("this user may not use the admin socket {}: {text}", path.display())]
    Denied { path: PathBuf, text: String },
    #[error(
        "the server is version {server} and this program is version {ours}: use the program of the server"
    )]
    OtherVersion { server: String, ours: &'static str },
    #[error("the server at {} was lost: {error}", path.display())]
    Lost { path: PathBuf, error: io::Error },
}

/// Why an operation has no result.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error(transparent)]
    Unreachable(#[from] Unreachable),
}

/// A connection to a running server.
#[derive(Debug)]
pub struct Client {
    path: PathBuf,
    reader: BufReader<UnixStream>,
    next_id: u64,
    /// What the server said of itself.
    pub hello: Hello,
}

impl Client {
    /// From now on answers may take as long as it takes to go over all accounts.
    ///
    /// # Errors
    /// If the socket is lost.
    pub fn wait_long(&mut self) -> Result<(), Unreachable> {
        let stream = self.reader.get_ref();
        stream
            .set_read_timeout(Some(LONG_ANSWER_MAX))
            .map_err(|error| Unreachable::Lost { path: self.path.clone(), error })
    }

    /// Connects to the server whose socket is at `path`.
    ///
    /// # Errors
    /// If it is not running, does not let us in, or speaks another version.
    pub fn connect(path: &Path) -> Result<Client, Unreachable> {
        match Client::connect_to(path) {
            // Viewers have a socket of their own.
            Err(denied @ Unreachable::Denied { .. }) => {
                Client::connect_to(&wire::view_path(path)).map_err(|_| denied)
            }
            other => other,
        }
    }

    fn connect_to(path: &Path) -> Result<Client, Unreachable> {
        let path = path.to_owned();
        let stream = UnixStream::connect(&path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
                Unreachable::NotRunning { path: path.clone() }
            }
            io::ErrorKind::PermissionDenied => Unreachable::Denied {
                path: path.clone(),
                text: "become root or the server's user, or join the group that admin_group or view_group names"
                    .to_owned(),
            },
            _ => Unreachable::Lost { path: path.clone(), error },
        })?;
        let lost = |error| Unreachable::Lost { path: path.clone(), error };
        stream.set_read_timeout(Some(ANSWER_MAX)).map_err(lost)?;
        let mut reader = BufReader::new(stream);
        let greeting = read_line(&mut reader).map_err(lost)?;
        // A greeting that cannot be read is one of another version, as is an unknown protocol.
        let other = |server: &str| Unreachable::OtherVersion {
            server: server.to_owned(),
            ours: env!("CARGO_PKG_VERSION"),
        };
        match serde_json::from_slice(&greeting) {
            Ok(Greeting::Hello(hello)) if hello.protocol == PROTOCOL => {
                Ok(Client { path, reader, next_id: 1, hello })
            }
            Ok(Greeting::Hello(hello)) => Err(other(&hello.version)),
            Ok(Greeting::Refused(refusal)) => Err(Unreachable::Denied { path, text: refusal.text }),
            Err(_) => Err(other("unknown")),
        }
    }

    /// Where its socket is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Waits for answers for as long as it takes; a backup of a large archive takes its time.
    pub fn patient(&mut self) {
        // Without it, the usual bound stays.
        let _ = self.reader.get_ref().set_read_timeout(None);
    }

    /// Has `operation` done.
    ///
    /// # Errors
    /// If the server refuses it or is lost.
    pub fn call<O: Operation>(&mut self, operation: &O) -> Result<O::Output, CallError> {
        let value = self.call_by_name(O::NAME, operation.to_wire())?;
        serde_json::from_value(value).map_err(|error| self.garbled(&error).into())
    }

    /// Has the operation `name` done, with arguments as they go over the wire.
    ///
    /// # Errors
    /// If the server refuses it or is lost.
    pub fn call_by_name(&mut self, name: &str, arguments: Value) -> Result<Value, CallError> {
        let id = self.send(name, arguments)?;
        match self.reply(id)? {
            Body::Ok(value) => Ok(value),
            Body::Refused(refusal) => Err(refusal.into()),
            Body::Item(_) | Body::Lost(_) => {
                Err(self.garbled(&"a stream instead of one answer").into())
            }
        }
    }

    /// Waits until the server is gone, which ends every connection.
    ///
    /// # Errors
    /// If it is still there after `within`.
    pub fn wait_for_end(mut self, within: Duration) -> Result<(), Unreachable> {
        let until = Instant::now() + within;
        let mut rest = [0; 256];
        loop {
            let left =
                until.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
            self.reader.get_ref().set_read_timeout(Some(left)).map_err(|error| self.lost(error))?;
            match self.reader.read(&mut rest) {
                Ok(0) => return Ok(()),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(()),
                Err(error) => return Err(self.lost(error)),
            }
        }
    }

    /// Hands the newest `lines` of the log and all that come after to `show`, until that returns
    /// false or the server ends. [`Followed::Lost`] stands where lines are missing.
    ///
    /// # Errors
    /// If the server refuses or is lost.
    pub fn follow(
        mut self,
        lines: usize,
        mut show: impl FnMut(Followed) -> bool,
    ) -> Result<(), CallError> {
        let id = self.send(FOLLOW, serde_json::json!({ "lines": lines }))?;
        // A quiet server says nothing for hours.
        self.reader.get_ref().set_read_timeout(None).map_err(|error| self.lost(error))?;
        loop {
            let followed = match self.reply(id) {
                Ok(Body::Item(value)) => match serde_json::from_value(value) {
                    Ok(line) => Followed::Line(line),
                    Err(error) => return Err(self.garbled(&error).into()),
                },
                Ok(Body::Lost(count)) => Followed::Lost(count),
                Ok(Body::Refused(refusal)) => return Err(refusal.into()),
                Ok(Body::Ok(_)) => return Ok(()),
                Err(Unreachable::Lost { error, .. })
                    if error.kind() == io::ErrorKind::UnexpectedEof =>
                {
                    return Ok(());
                }
                Err(error) => return Err(error.into()),
            };
            if !show(followed) {
                return Ok(());
            }
        }
    }

    fn send(&mut self, op: &str, args: Value) -> Result<u64, Unreachable> {
        let id = self.next_id;
        self.next_id += 1;
        let request = Request { id, op: op.to_owned(), args };
        let line = wire::line(&request).map_err(|error| self.garbled(&error))?;
        self.reader.get_mut().write_all(&line).map_err(|error| self.lost(error))?;
        Ok(id)
    }

    fn reply(&mut self, id: u64) -> Result<Body, Unreachable> {
        let line = read_line(&mut self.reader).map_err(|error| self.lost(error))?;
        let reply: Reply = serde_json::from_slice(&line).map_err(|error| self.garbled(&error))?;
        // 0 stands for a request that the server could not even read.
        if reply.id == id || reply.id == 0 {
            Ok(reply.body)
        } else {
            Err(self.garbled(&"an answer to another request"))
        }
    }

    fn lost(&self, error: io::Error) -> Unreachable {
        Unreachable::Lost { path: self.path.clone(), error }
    }

    fn garbled(&self, what: &dyn std::fmt::Display) -> Unreachable {
        self.lost(io::Error::new(io::ErrorKind::InvalidData, what.to_string()))
    }
}

/// What [`Client::follow`] shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Followed {
    Line(LogLine),
    /// So many lines came faster than they were taken.
    Lost(u64),
}

fn read_line(reader: &mut BufReader<UnixStream>) -> io::Result<Vec<u8>> {
    let mut line = Vec::new();
    reader.by_ref().take(REPLY_BYTES_MAX).read_until(b'\n', &mut line)?;
    match line.last() {
        Some(b'\n') => Ok(line),
        _ => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the server closed the connection")),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    /// What a client makes of a server whose first line is `greeting`.
    fn greeted(greeting: &'static str) -> Result<Client, Unreachable> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let listener = UnixListener::bind(&path).unwrap();
        let server =
            std::thread::spawn(move || listener.accept().unwrap().0.write_all(greeting.as_bytes()));
        let client = Client::connect(&path);
        server.join().unwrap().unwrap();
        client
    }

    #[test]
    fn a_missing_or_dead_socket_means_not_running() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        assert!(matches!(Client::connect(&path), Err(Unreachable::NotRunning { .. })));
        drop(UnixListener::bind(&path).unwrap());
        assert!(matches!(Client::connect(&path), Err(Unreachable::NotRunning { .. })));
    }

    #[test]
    fn other_versions_are_told_in_a_sentence() {
        let newer = r#"{"hello":{"protocol":2,"version":"9.0.0","role":"owner","operations":[]}}"#;
        let error = greeted(Box::leak(format!("{newer}\n").into_boxed_str())).unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("the server is version 9.0.0 and this program is version")
        );
        assert!(matches!(greeted("SSH-2.0\n"), Err(Unreachable::OtherVersion { .. })));
        assert!(matches!(greeted("{\"hel"), Err(Unreachable::Lost { .. })));
    }

    #[test]
    fn a_refusal_at_the_door_is_a_denial() {
        let refused = "{\"refused\":{\"kind\":\"denied\",\"text\":\"not you\",\"help\":null}}\n";
        assert!(
            matches!(greeted(refused), Err(Unreachable::Denied { text, .. }) if text == "not you")
        );
    }
}
