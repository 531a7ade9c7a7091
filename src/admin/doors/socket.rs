//! The Unix socket: the door of the command line and the dashboard.
//!
//! The socket's mode decides who may connect: its owner (0600), and the admin group where one is
//! configured (0660). The kernel tells who came (`SO_PEERCRED`): root and the server's own user are
//! owners; anybody else can only have come in by the group and is an operator. Members of the view
//! group have a socket of their own, and only look.

use std::fs::Permissions;
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::sync::broadcast::error::RecvError;

use super::users;
use crate::admin::op::{Entry, Operation, Refusal};
use crate::admin::ops::log::Tail;
use crate::admin::wire::{
    self, Body, FOLLOW, Greeting, Hello, LINE_BYTES_MAX, PROTOCOL, Reply, Request,
};
use crate::admin::{Actor, Context, Role, Running, run};

/// Operators' programs connected at once; further ones wait in the system's queue.
const CONNECTIONS_MAX: usize = 32;
/// How long a program may refuse to take what it asked for.
const WRITE_MAX: Duration = Duration::from_secs(30);

/// Why there is no admin socket.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    #[error("cannot make the admin socket {}: {error}", path.display())]
    Bind { path: PathBuf, error: io::Error },
    #[error("{} is in the way of the admin socket and is not a socket; move it away", path.display())]
    InTheWay { path: PathBuf },
    #[error(
        "admin_group: the admin socket cannot be given to group {group:?}: {error}; \
         the server's user must be a member of it"
    )]
    Group { group: String, error: io::Error },
    #[error("admin_group: there is no group {0:?} on this machine; `groupadd {0}` makes one")]
    NoSuchGroup(String),
}

/// The open socket. Dropping it removes the file.
#[derive(Debug)]
pub struct Socket {
    listener: UnixListener,
    path: PathBuf,
    /// What those are who come in by a group.
    group_role: Option<Role>,
}

impl Socket {
    /// Opens the socket at `path`, for the members of `group` too. A socket that a server left
    /// behind is replaced: the store's lock has made sure that no other server runs here.
    ///
    /// # Errors
    /// If the group is unknown, or the socket cannot be made.
    pub fn bind(path: &Path, group: Option<&str>) -> Result<Socket, SocketError> {
        Socket::bind_for(path, group, Role::Operator)
    }

    /// Opens the socket of the members of `group` who only look, beside the one at `path`.
    ///
    /// # Errors
    /// As for [`Socket::bind`].
    pub fn bind_view(path: &Path, group: &str) -> Result<Socket, SocketError> {
        Socket::bind_for(&wire::view_path(path), Some(group), Role::Viewer)
    }

    fn bind_for(path: &Path, group: Option<&str>, role: Role) -> Result<Socket, SocketError> {
        let gid = match group {
            Some(name) => Some(
                users::group_id(name).ok_or_else(|| SocketError::NoSuchGroup(name.to_owned()))?,
            ),
            None => None,
        };
        let failed = |error| SocketError::Bind { path: path.to_owned(), error };
        match std::fs::symlink_metadata(path) {
            Ok(file) if file.file_type().is_socket() => {
                std::fs::remove_file(path).map_err(failed)?
            }
            Ok(_) => return Err(SocketError::InTheWay { path: path.to_owned() }),
            Err(_) => {}
        }
        if let Some(dir) = path.parent() {
            std::fs::DirBuilder::new().recursive(true).mode(0o755).create(dir).map_err(failed)?;
        }
        let listener = UnixListener::bind(path).map_err(failed)?;
        // From here on, dropping the socket removes the file again if a step fails.
        let socket = Socket { listener, path: path.to_owned(), group_role: gid.map(|_| role) };
        if gid.is_some() {
            chown(path, None, gid).map_err(|error| SocketError::Group {
                group: group.unwrap_or_default().to_owned(),
                error,
            })?;
        }
        let mode = if gid.is_some() { 0o660 } else { 0o600 };
        std::fs::set_permissions(path, Permissions::from_mode(mode)).map_err(failed)?;
        Ok(socket)
    }

    /// Serves operators for as long as it is polled. Connections stay open to the end of the
    /// process: by their end a client knows that the server is gone.
    pub async fn serve(self, server: Arc<dyn Running>) {
        let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        // The semaphore is never closed.
        while let Ok(place) = places.clone().acquire_owned().await {
            match self.listener.accept().await {
                Ok((stream, _)) => {
                    let (server, group_role) = (server.clone(), self.group_role);
                    tokio::spawn(async move {
                        // A client that goes away in the middle is its own affair.
                        let _ = visit(stream, &server, group_role).await;
                        drop(place);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "the admin socket could not accept a connection");
                    // Out of file descriptors, most likely: trying again at once would spin.
                    tokio::time::sleep(Duration::from_millis(200)).await;
                }
            }
        }
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

/// One operator's program, from greeting to goodbye.
async fn visit(
    stream: UnixStream,
    server: &Arc<dyn Running>,
    group_role: Option<Role>,
) -> io::Result<()> {
    let peer = actor(&stream, group_role);
    let (reader, mut writer) = stream.into_split();
    let actor = match peer {
        Ok(actor) => actor,
        Err(refusal) => return write(&mut writer, &Greeting::Refused(refusal)).await,
    };
    let hello = Hello {
        protocol: PROTOCOL,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        role: actor.role,
        operations: Entry::all()
            .filter(|entry| run::may_ever(&actor, entry))
            .map(|entry| entry.name.to_owned())
            .collect(),
    };
    write(&mut writer, &Greeting::Hello(hello)).await?;
    let mut reader = BufReader::new(reader);
    let mut line = Vec::new();
    loop {
        let request: Request = match read_line(&mut reader, &mut line).await? {
            Line::End => return Ok(()),
            Line::TooLong => {
                let text = format!("the request is longer than {LINE_BYTES_MAX} bytes");
                return write(&mut writer, &refused(0, Refusal::usage(text))).await;
            }
            Line::Whole => match serde_json::from_slice(&line) {
                Ok(request) => request,
                Err(error) => {
                    let refusal =
                        Refusal::usage(format!("the request is not what was agreed on: {error}"));
                    write(&mut writer, &refused(0, refusal)).await?;
                    continue;
                }
            },
        };
        let may_follow = Entry::find(Tail::NAME).is_some_and(|tail| run::may_ever(&actor, tail));
        if request.op == FOLLOW && may_follow {
            return follow(reader, writer, server, request).await;
        }
        // Not abandoned when the client goes away: an act that has begun is done and written down.
        let body = match run::run(&Context::live(server.clone()), &actor, &request.op, request.args)
            .await
        {
            Ok(output) => Body::Ok(output),
            Err(refusal) => Body::Refused(refusal),
        };
        write(&mut writer, &Reply { id: request.id, body }).await?;
    }
}

fn refused(id: u64, refusal: Refusal) -> Reply {
    Reply { id, body: Body::Refused(refusal) }
}

fn actor(stream: &UnixStream, group_role: Option<Role>) -> Result<Actor, Refusal> {
    let peer = stream.peer_cred().map_err(|error| Refusal::bug(&error))?;
    let own = rustix::process::geteuid().as_raw();
    let role = match (peer.uid(), group_role) {
        (uid, _) if uid == 0 || uid == own => Role::Owner,
        (_, Some(role)) => role,
        (uid, None) => {
            return Err(Refusal::denied(format!("user {uid} may not use the admin socket"))
                .help("become root or the server's user, or set admin_group"));
        }
    };
    let name = users::user_name(peer.uid()).map_or_else(String::new, |name| format!("({name})"));
    Ok(Actor::new(format!("uid={}{name}", peer.uid()), "socket", role))
}

enum Line {
    Whole,
    /// The client has closed.
    End,
    TooLong,
}

async fn read_line(reader: &mut BufReader<OwnedReadHalf>, line: &mut Vec<u8>) -> io::Result<Line> {
    line.clear();
    (&mut *reader).take(LINE_BYTES_MAX as u64).read_until(b'\n', line).await?;
    Ok(match line.last() {
        Some(b'\n') => Line::Whole,
        Some(_) if line.len() == LINE_BYTES_MAX => Line::TooLong,
        _ => Line::End,
    })
}

async fn write(writer: &mut OwnedWriteHalf, value: &impl Serialize) -> io::Result<()> {
    let line = wire::line(value)?;
    write_all(writer, &line).await
}

async fn write_all(writer: &mut OwnedWriteHalf, bytes: &[u8]) -> io::Result<()> {
    let written = tokio::time::timeout(WRITE_MAX, writer.write_all(bytes)).await;
    written.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

/// Sends the newest lines of the log and those to come, until the client closes or stops taking
/// them.
async fn follow(
    mut reader: BufReader<OwnedReadHalf>,
    mut writer: OwnedWriteHalf,
    server: &Arc<dyn Running>,
    request: Request,
) -> io::Result<()> {
    let id = request.id;
    let wanted: Tail = match wire::arguments(request.args) {
        Ok(wanted) => wanted,
        Err(error) => {
            return write(&mut writer, &refused(id, Refusal::usage(error.to_string()))).await;
        }
    };
    let (tail, mut live) = server.telemetry().ring.tail_and_follow(wanted.lines);
    for line in tail {
        write(&mut writer, &item(id, &*line)).await?;
    }
    let mut goodbye = [0];
    loop {
        let reply = tokio::select! {
            // Whatever comes here, an end or a byte, means that the client wants no more.
            _ = reader.read(&mut goodbye) => return Ok(()),
            received = live.recv() => match received {
                Ok(line) => item(id, &*line),
                Err(RecvError::Lagged(count)) => Reply { id, body: Body::Lost(count) },
                Err(RecvError::Closed) => return Ok(()),
            },
        };
        write(&mut writer, &reply).await?;
    }
}

fn item(id: u64, value: &impl Serialize) -> Reply {
    Reply { id, body: Body::Item(serde_json::to_value(value).unwrap_or_default()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_socket_is_its_owners_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("run/admin.sock");
        let socket = Socket::bind(&path, None).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        drop(socket);
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn a_socket_left_behind_is_replaced_and_other_files_are_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("admin.sock");
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        assert!(path.exists());
        drop(Socket::bind(&path, None).unwrap());
        std::fs::write(&path, "precious").unwrap();
        assert!(matches!(Socket::bind(&path, None), Err(SocketError::InTheWay { .. })));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");
    }

    #[tokio::test]
    async fn an_unknown_group_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let error = Socket::bind(&dir.path().join("a"), Some("nogroupofthatname")).unwrap_err();
        assert!(error.to_string().contains("groupadd nogroupofthatname"), "{error}");
    }

    #[tokio::test]
    async fn our_own_user_is_an_owner() {
        let (here, _there) = UnixStream::pair().unwrap();
        let actor = actor(&here, Some(Role::Viewer)).unwrap();
        assert_eq!(actor.role, Role::Owner);
        assert!(actor.who.starts_with("uid="));
    }
}
