//! Listening sockets and the gate in front of them: how many connections, how often, from whom.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use socket2::{Domain, Protocol, SockAddr, Socket, TcpKeepalive, Type};
use tokio::net::{TcpListener, TcpStream};

use crate::access::rate::{Bucket, Buckets, Rate, Source};
use crate::config::value::IpNet;
use crate::telemetry::METRICS;
use crate::time::Now;

/// Connections the kernel completes ahead of us. It caps this at net.core.somaxconn.
const BACKLOG: i32 = 1024;

/// An idle connection is probed after this long...
const KEEPALIVE_IDLE: Duration = Duration::from_secs(300);
/// ...then this often...
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(60);
/// ...and given up after so many probes without an answer.
const KEEPALIVE_PROBES: u32 = 4;

/// How long bytes may wait for the peer's acknowledgement before the connection is given up.
/// Long enough for a train in a tunnel; a resumable session outlives its connection anyway.
const USER_TIMEOUT: Duration = Duration::from_secs(120);

/// Sources whose connection rate is remembered.
const SOURCES_MAX: usize = 16_384;

/// Pause after the process or the system ran out of descriptors or memory.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(200);

/// How often the log says so.
const COMPLAINTS: Rate = Rate { burst: 1, period: Duration::from_secs(30) };

/// An address could not be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {addr}: {source}{}", remedy(source))]
pub struct BindError {
    pub addr: SocketAddr,
    #[source]
    pub source: io::Error,
}

fn remedy(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => "; another program listens there, stop it or change the port",
        io::ErrorKind::PermissionDenied => {
            "; ports below 1024 need CAP_NET_BIND_SERVICE, which the systemd unit grants"
        }
        io::ErrorKind::AddrNotAvailable => "; no interface of this machine has that address",
        _ => "",
    }
}

/// Opens a listener on each address, or on none.
///
/// `[::]:5222` serves IPv4 too, unless `0.0.0.0:5222` is in the list. On a machine without IPv6
/// `[::]` falls back to `0.0.0.0`. Needs a running tokio runtime.
pub fn bind_all(addrs: &[SocketAddr]) -> Result<Vec<TcpListener>, BindError> {
    addrs.iter().map(|addr| bind(*addr, serves_v4_too(*addr, addrs))).collect()
}

fn serves_v4_too(addr: SocketAddr, all: &[SocketAddr]) -> bool {
    addr.ip().is_unspecified()
        && addr.is_ipv6()
        && !all.iter().any(|other| {
            other.is_ipv4() && other.port() == addr.port() && other.ip().is_unspecified()
        })
}

fn bind(addr: SocketAddr, dual_stack: bool) -> Result<TcpListener, BindError> {
    let listener = match open(addr, dual_stack) {
        Err(e) if dual_stack && e.raw_os_error() == Some(EAFNOSUPPORT) => {
            open(SocketAddr::from(([0, 0, 0, 0], addr.port())), false)
        }
        result => result,
    };
    listener.map_err(|source| BindError { addr, source })
}

/// "Address family not supported by protocol": a kernel without IPv6.
const EAFNOSUPPORT: i32 = rustix::io::Errno::AFNOSUPPORT.raw_os_error();

fn open(addr: SocketAddr, dual_stack: bool) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    if addr.is_ipv6() {
        socket.set_only_v6(!dual_stack)?;
    }
    // A restart must not wait for old connections to time out.
    socket.set_reuse_address(true)?;
    // Linux hands these down to accepted sockets, which saves their system calls per connection.
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_keepalive(
        &TcpKeepalive::new()
            .with_time(KEEPALIVE_IDLE)
            .with_interval(KEEPALIVE_INTERVAL)
            .with_retries(KEEPALIVE_PROBES),
    )?;
    socket.set_tcp_user_timeout(Some(USER_TIMEOUT))?;
    socket.set_nonblocking(true)?;
    socket.bind(&SockAddr::from(addr))?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// What a [`Gate`] lets through.
#[derive(Clone, Debug, PartialEq)]
pub struct Limits {
    /// Connections open at once, of all sources.
    pub connections_max: usize,
    /// Connections open at once per [`Source`].
    pub per_source_max: usize,
    /// New connections per [`Source`].
    pub new_per_source: Rate,
    /// Networks that the two limits per source spare.
    pub trusted: Vec<IpNet>,
}

/// Why a connection was closed at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("all connection slots are taken")]
    Full,
    #[error("too many connections from {0}")]
    TooMany(Source),
    #[error("too many new connections from {0}")]
    TooFast(Source),
}

/// Counts connections; shared by all listeners that one limit covers. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Gate(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    refused: AtomicU64,
}

#[derive(Debug)]
struct State {
    limits: Limits,
    open: usize,
    /// Bounded by `connections_max`: each key has an open connection.
    open_by_source: HashMap<Source, usize>,
    arrivals: Buckets<Source>,
    complaints: Bucket,
}

impl Gate {
    pub fn new(limits: Limits) -> Gate {
        let arrivals = Buckets::new(limits.new_per_source, SOURCES_MAX);
        let state = State {
            limits,
            open: 0,
            open_by_source: HashMap::new(),
            arrivals,
            complaints: Bucket::FULL,
        };
        Gate(Arc::new(Shared { state: Mutex::new(state), refused: AtomicU64::new(0) }))
    }

    /// Other limits from now on. Connections beyond them stay until they end.
    pub fn set_limits(&self, limits: Limits) {
        let mut state = self.0.state.lock();
        state.arrivals.set_rate(limits.new_per_source);
        state.limits = limits;
    }

    /// Counts a new connection from `peer`, or says why it may not be.
    pub fn enter(&self, peer: SocketAddr, now: Now) -> Result<Permit, Refusal> {
        let entered = self.0.state.lock().enter(peer.ip(), now);
        match entered {
            Ok(source) => Ok(Permit { gate: self.clone(), source }),
            Err(refusal) => {
                self.0.refused.fetch_add(1, Ordering::Relaxed);
                METRICS.connections_refused.inc();
                Err(refusal)
            }
        }
    }

    /// Whether the log should hear of an exhausted system again.
    fn may_complain(&self, now: Now) -> bool {
        let mut state = self.0.state.lock();
        state.complaints.take(1, COMPLAINTS, now).is_ok()
    }

    /// Connections open now.
    pub fn open(&self) -> usize {
        self.0.state.lock().open
    }

    /// Connections refused since the start.
    pub fn refused(&self) -> u64 {
        self.0.refused.load(Ordering::Relaxed)
    }
}

impl State {
    fn enter(&mut self, peer: IpAddr, now: Now) -> Result<Source, Refusal> {
        if self.open >= self.limits.connections_max {
            return Err(Refusal::Full);
        }
        let source = Source::from(peer);
        let open_here = self.open_by_source.get(&source).copied().unwrap_or(0);
        if !self.limits.trusted.iter().any(|net| net.contains(peer)) {
            if open_here >= self.limits.per_source_max {
                return Err(Refusal::TooMany(source));
            }
            self.arrivals.take(source, 1, now).map_err(|_| Refusal::TooFast(source))?;
        }
        self.open += 1;
        self.open_by_source.insert(source, open_here + 1);
        Ok(source)
    }

    fn leave(&mut self, source: Source) {
        self.open -= 1;
        if let Entry::Occupied(mut count) = self.open_by_source.entry(source) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }
}

/// The place of one open connection; dropping it frees the place.
#[derive(Debug)]
pub struct Permit {
    gate: Gate,
    source: Source,
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.gate.0.state.lock().leave(self.source);
    }
}

/// Waits for the next connection that the gate lets in. Others are closed without a word: who
/// floods us is not worth one.
///
/// Errors of single connections are passed over. When descriptors or memory have run out, it
/// pauses instead of spinning; connections wait in the backlog meanwhile. Never fails; drop the
/// future to stop accepting.
pub async fn accept(listener: &TcpListener, gate: &Gate) -> (TcpStream, SocketAddr, Permit) {
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => match gate.enter(peer, Now::read()) {
                Ok(permit) => return (stream, peer, permit),
                Err(refusal) => tracing::debug!(%peer, "connection refused: {refusal}"),
            },
            Err(e) if is_about_one_connection(&e) => {}
            Err(e) => {
                if gate.may_complain(Now::read()) {
                    tracing::error!("cannot accept connections, trying again: {e}");
                }
                tokio::time::sleep(EXHAUSTED_PAUSE).await;
            }
        }
    }
}

/// accept(2): errors pending on the new socket are reported as accept's own.
fn is_about_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind as Kind;
    matches!(
        error.kind(),
        Kind::ConnectionAborted
            | Kind::ConnectionReset
            | Kind::ConnectionRefused
            | Kind::Interrupted
            | Kind::NetworkDown
            | Kind::NetworkUnreachable
            | Kind::HostUnreachable
            | Kind::TimedOut
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits {
        connections_max: 3,
        per_source_max: 2,
        new_per_source: Rate { burst: 4, period: Duration::from_secs(60) },
        trusted: Vec::new(),
    };

    fn addr(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn the_gate_counts_by_source_and_in_all() {
        let gate = Gate::new(LIMITS);
        let now = Now::from_secs(1_800_000_000);
        let (a, b, c) = (addr("192.0.2.1:1"), addr("192.0.2.2:1"), addr("192.0.2.3:1"));
        let first = gate.enter(a, now).unwrap();
        let _second = gate.enter(a, now).unwrap();
        assert_eq!(gate.enter(a, now).unwrap_err(), Refusal::TooMany(a.ip().into()));
        let _third = gate.enter(b, now).unwrap();
        assert_eq!(gate.enter(c, now).unwrap_err(), Refusal::Full);
        assert_eq!((gate.open(), gate.refused()), (3, 2));
        drop(first);
        let fourth = gate.enter(a, now).unwrap();
        drop(fourth);
        drop(gate.enter(a, now).unwrap());
        assert_eq!(gate.enter(a, now).unwrap_err(), Refusal::TooFast(a.ip().into()));
        assert!(gate.enter(a, now.plus(Duration::from_secs(15))).is_ok());
    }

    #[test]
    fn a_gate_without_connections_remembers_no_counts() {
        let gate = Gate::new(LIMITS);
        let permit = gate.enter(addr("[2001:db8::1]:9"), Now::read()).unwrap();
        drop(permit);
        assert!(gate.0.state.lock().open_by_source.is_empty());
    }

    #[tokio::test]
    async fn the_v6_wildcard_serves_v4_unless_that_is_asked_for_too() {
        let [both]: [TcpListener; 1] = bind_all(&[addr("[::]:0")]).unwrap().try_into().unwrap();
        let port = both.local_addr().unwrap().port();
        let gate = Gate::new(LIMITS);
        let client = tokio::spawn(TcpStream::connect(("127.0.0.1", port)));
        let (stream, peer, _permit) = accept(&both, &gate).await;
        client.await.unwrap().unwrap();
        assert_eq!(peer.ip().to_canonical().to_string(), "127.0.0.1");

        // Inherited from the listener.
        let socket = socket2::SockRef::from(&stream);
        assert!(socket.tcp_nodelay().unwrap());
        assert!(socket.keepalive().unwrap());
        assert_eq!(socket.tcp_keepalive_time().unwrap(), KEEPALIVE_IDLE);
        assert_eq!(socket.tcp_user_timeout().unwrap(), Some(USER_TIMEOUT));

        drop((both, stream));
        let pair = [addr(&format!("[::]:{port}")), addr(&format!("0.0.0.0:{port}"))];
        assert_eq!(bind_all(&pair).unwrap().len(), 2);
    }

    #[tokio::test]
    async fn a_taken_port_is_an_error_with_its_address_and_remedy() {
        let first = bind_all(&[addr("127.0.0.1:0")]).unwrap();
        let error = bind_all(&[first[0].local_addr().unwrap()]).unwrap_err();
        let text = error.to_string();
        assert!(text.contains("127.0.0.1:") && text.contains("another program"), "{text}");
    }

    #[tokio::test]
    async fn a_refused_connection_is_closed_and_the_next_one_served() {
        let listener = bind_all(&[addr("127.0.0.1:0")]).unwrap().remove(0);
        let addr = listener.local_addr().unwrap();
        let gate = Gate::new(Limits { per_source_max: 1, ..LIMITS });
        let mut clients = Vec::new();
        clients.push(TcpStream::connect(addr).await.unwrap());
        let (_, _, permit) = accept(&listener, &gate).await;
        let refused = TcpStream::connect(addr).await.unwrap();
        let waiting = tokio::spawn({
            let gate = gate.clone();
            async move { accept(&listener, &gate).await.1 }
        });
        refused.readable().await.unwrap();
        assert_eq!(refused.try_read(&mut [0; 1]).unwrap(), 0);
        drop(permit);
        let welcome = TcpStream::connect(addr).await.unwrap();
        assert_eq!(waiting.await.unwrap(), welcome.local_addr().unwrap());
    }
}
