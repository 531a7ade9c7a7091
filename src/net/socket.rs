//! A TCP connection, plain or with TLS, for a task that is driven by hand: it waits, reads what
//! is there, queues answers, flushes. An idle socket holds no buffer.

use std::io;
use std::net::SocketAddr;
use std::task::{Context, Poll};
use std::time::Duration;

use rustix::net::SendFlags;
use tokio::io::{AsyncWriteExt, Interest};
use tokio::net::TcpStream;
use tokio::task::coop;

use super::buffers::{Block, Text};
use super::tls::{Acceptor, Session, TlsError, TlsFacts};
use crate::telemetry::METRICS;

/// Plaintext that one [`Socket::try_read`] appends before others get their turn, in bytes; a
/// call may exceed it by one block.
const READ_BYTES_MAX: usize = 64 * 1024;

/// What a closing socket still takes from its peer, in bytes, before it hangs up.
const LINGER_BYTES_MAX: usize = 256 * 1024;

/// Room that a sealed close_notify needs beside what TLS may say before it, in bytes.
const CLOSE_BYTES_MAX: usize = 256;

/// How a [`Socket::try_read`] ended. With each of these, bytes may have been appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadOutcome {
    /// There may be more at once; the call stopped for fairness.
    More,
    /// All that has arrived was taken; wait for [`Socket::readable`].
    WouldBlock,
    /// The peer ended its TLS side in order; it may still read.
    CloseNotify,
    /// The peer ended the TCP connection: in order on a plain socket, cut off on a TLS one.
    Eof,
}

/// Why a connection could not be secured.
#[derive(Debug, thiserror::Error)]
pub enum AcceptError {
    #[error("the TLS handshake took longer than {0:?}")]
    Timeout(Duration),
    #[error(
        "{0} bytes of plaintext came behind <starttls/>; a connection that mixes the two is refused"
    )]
    PipelinedPlaintext(usize),
    #[error("the connection already has TLS")]
    AlreadySecure,
    #[error("the peer left during the TLS handshake")]
    PeerLeft,
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error("during the TLS handshake: {0}")]
    Io(#[from] io::Error),
}

/// A connection to one peer.
pub struct Socket {
    tcp: TcpStream,
    tls: Option<Box<Session>>,
    /// Plaintext that waits for [`Socket::try_flush`], and how much of it is dealt with.
    queued: Text,
    queued_taken: usize,
    /// Sealed bytes the kernel did not take yet, and how many of them it has taken since.
    sealed: Vec<u8>,
    sealed_sent: usize,
    closing: Closing,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Closing {
    No,
    /// close_notify goes out behind what is queued.
    Queued,
    /// Nothing more may be sent.
    Sent,
}

impl Socket {
    /// A socket without TLS.
    pub fn plain(tcp: TcpStream) -> Socket {
        Socket {
            tcp,
            tls: None,
            queued: Text::NONE,
            queued_taken: 0,
            sealed: Vec::new(),
            sealed_sent: 0,
            closing: Closing::No,
        }
    }

    /// Secures the connection as TLS server, within the time given.
    ///
    /// What was queued before (`<proceed/>`) goes out first, in the clear. `already_read` is what
    /// the caller has read and not used: if there is anything, an attacker may have put it in
    /// front of the client's own words, and the connection is refused. `host` chooses the
    /// certificate of clients without SNI. Plaintext that came together with the end of the
    /// handshake is appended to `into`.
    ///
    /// # Errors
    /// See [`AcceptError`]; the connection is of no use then, the peer got a TLS alert if it could.
    pub async fn accept_tls(
        &mut self,
        acceptor: &Acceptor,
        host: Option<&str>,
        already_read: &[u8],
        within: Duration,
        into: &mut Vec<u8>,
    ) -> Result<TlsFacts, AcceptError> {
        if self.tls.is_some() {
            return Err(AcceptError::AlreadySecure);
        }
        if !already_read.is_empty() {
            return Err(AcceptError::PipelinedPlaintext(already_read.len()));
        }
        tokio::time::timeout(within, self.handshake(acceptor, host, into))
            .await
            .unwrap_or(Err(AcceptError::Timeout(within)))
    }

    async fn handshake(
        &mut self,
        acceptor: &Acceptor,
        host: Option<&str>,
        into: &mut Vec<u8>,
    ) -> Result<TlsFacts, AcceptError> {
        self.flush().await?;
        let mut handshake = acceptor.handshake(host)?;
        while !handshake.is_done() {
            self.readable().await?;
            let opened = {
                let mut block = Block::lend();
                let kept = handshake.session.partial_bytes();
                match self.read_some(&mut block[kept..])? {
                    None => continue,
                    Some(0) => return Err(AcceptError::PeerLeft),
                    Some(read) => {
                        handshake.session.open(&mut block[..kept + read], into, &mut self.sealed)
                    }
                }
            };
            if let Err(error) = opened {
                // The alert is a courtesy; the error is what counts.
                let _ = self.try_flush();
                return Err(error.into());
            }
            self.flush().await?;
        }
        let (session, facts) = handshake.finish()?;
        self.tls = Some(session);
        Ok(facts)
    }

    /// Waits until there may be something to read. Yields to other tasks now and then even when
    /// there always is.
    pub async fn readable(&self) -> io::Result<()> {
        coop::consume_budget().await;
        self.tcp.readable().await
    }

    /// Waits until the kernel may take more bytes.
    pub async fn writable(&self) -> io::Result<()> {
        coop::consume_budget().await;
        self.tcp.writable().await
    }

    /// As [`Socket::readable`], for a task that is a state machine of its own.
    pub fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.tcp.poll_read_ready(cx)
    }

    /// As [`Socket::writable`], for a task that is a state machine of its own.
    pub fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.tcp.poll_write_ready(cx)
    }

    /// Appends to `into` the plaintext of what has arrived, without waiting; bounded, so that one
    /// busy peer does not hold the thread. Call it after [`Socket::readable`], or at once again
    /// after [`ReadOutcome::More`].
    ///
    /// # Errors
    /// Fatal to the connection; the peer was sent the TLS alert that fits.
    pub fn try_read(&mut self, into: &mut Vec<u8>) -> io::Result<ReadOutcome> {
        let before = into.len();
        let mut block = Block::lend();
        while into.len() - before < READ_BYTES_MAX {
            let kept = match &self.tls {
                Some(session) if session.peer_has_closed() => return Ok(ReadOutcome::CloseNotify),
                Some(session) => session.partial_bytes(),
                None => 0,
            };
            let Some(read) = self.read_some(&mut block[kept..])? else {
                return Ok(ReadOutcome::WouldBlock);
            };
            if read == 0 {
                return Ok(ReadOutcome::Eof);
            }
            let Some(session) = &mut self.tls else {
                into.extend_from_slice(&block[..read]);
                continue;
            };
            let opened = session.open(&mut block[..kept + read], into, &mut self.sealed);
            if !self.sealed.is_empty() {
                let flushed = self.try_flush();
                if opened.is_ok() {
                    flushed?;
                }
            }
            opened?;
        }
        Ok(ReadOutcome::More)
    }

    /// Queues plaintext. Nothing is sent before [`Socket::try_flush`], so that many stanzas share
    /// a record and a system call.
    pub fn queue(&mut self, plaintext: &[u8]) {
        self.outgoing().extend_from_slice(plaintext);
    }

    /// The queue itself, to be appended to.
    pub fn outgoing(&mut self) -> &mut Vec<u8> {
        if self.queued.capacity() == 0 {
            self.queued = Text::lend();
        }
        &mut self.queued
    }

    /// Bytes that are queued or sealed and that the kernel has not taken. The socket sets no
    /// bound: who queues looks here and stops in time.
    pub fn pending_bytes(&self) -> usize {
        self.queued.len() - self.queued_taken + self.sealed.len() - self.sealed_sent
    }

    /// Sends what is queued as far as the kernel takes it; true when all is gone. Otherwise wait
    /// for [`Socket::writable`] and call again.
    ///
    /// # Errors
    /// Fatal to the connection.
    pub fn try_flush(&mut self) -> io::Result<bool> {
        if !self.send_sealed()? {
            return Ok(false);
        }
        if self.tls.is_some() { self.seal_and_send() } else { self.send_plain() }
    }

    fn send_sealed(&mut self) -> io::Result<bool> {
        while self.sealed_sent < self.sealed.len() {
            match self.write_some(&self.sealed[self.sealed_sent..])? {
                Some(sent) => self.sealed_sent += sent,
                None => return Ok(false),
            }
        }
        self.sealed = Vec::new();
        self.sealed_sent = 0;
        Ok(true)
    }

    fn send_plain(&mut self) -> io::Result<bool> {
        while self.queued_taken < self.queued.len() {
            match self.write_some(&self.queued[self.queued_taken..])? {
                Some(sent) => self.queued_taken += sent,
                None => {
                    self.keep_rest();
                    return Ok(false);
                }
            }
        }
        self.keep_rest();
        Ok(true)
    }

    fn seal_and_send(&mut self) -> io::Result<bool> {
        let mut block = Block::lend();
        while let Some(session) = &mut self.tls {
            let closes = self.closing == Closing::Queued;
            if self.queued_taken == self.queued.len() && !closes {
                break;
            }
            let (taken, mut sealed) =
                session.seal(&self.queued[self.queued_taken..], &mut block)?;
            self.queued_taken += taken;
            let is_last = self.queued_taken == self.queued.len();
            if closes && is_last && block.len() - sealed >= CLOSE_BYTES_MAX {
                sealed += session.seal_close(&mut block[sealed..])?;
                self.closing = Closing::Sent;
            }
            let mut sent = 0;
            while sent < sealed {
                match self.write_some(&block[sent..sealed])? {
                    Some(bytes) => sent += bytes,
                    None => {
                        self.sealed = block[sent..sealed].to_vec();
                        self.keep_rest();
                        return Ok(false);
                    }
                }
            }
        }
        self.keep_rest();
        Ok(true)
    }

    /// Gives the queue's memory back, or, while the peer is slow, keeps as much as the rest needs.
    fn keep_rest(&mut self) {
        let rest = &self.queued[self.queued_taken..];
        if rest.is_empty() {
            self.queued = Text::NONE;
        } else if rest.len() <= self.queued.capacity() / 2 {
            self.queued = Text::exact(rest);
        } else {
            return;
        }
        self.queued_taken = 0;
    }

    /// Sends all that is queued, waiting for the peer to take it.
    pub async fn flush(&mut self) -> io::Result<()> {
        while !self.try_flush()? {
            self.writable().await?;
        }
        Ok(())
    }

    /// Ends the connection in order, within the time given: what is queued, close_notify, end of
    /// the TCP stream. Then what the peer still sends is thrown away until it hangs up too, since
    /// closing over unread bytes would reset the connection and could cost the peer our last ones.
    pub async fn close(mut self, within: Duration) {
        let _ = tokio::time::timeout(within, self.close_in_order()).await;
    }

    async fn close_in_order(&mut self) -> io::Result<()> {
        if self.tls.is_some() && self.closing == Closing::No {
            self.closing = Closing::Queued;
        }
        self.flush().await?;
        self.tcp.shutdown().await?;
        let mut thrown_away = 0;
        while thrown_away < LINGER_BYTES_MAX {
            self.readable().await?;
            match self.read_some(&mut Block::lend())? {
                Some(0) => break,
                Some(read) => thrown_away += read,
                None => {}
            }
        }
        Ok(())
    }

    /// Whether TLS is on.
    pub fn is_secure(&self) -> bool {
        self.tls.is_some()
    }

    /// Version and cipher suite, as `TLSv1_3` and `TLS13_AES_256_GCM_SHA384`.
    pub fn cipher(&self) -> Option<(&'static str, &'static str)> {
        self.tls.as_ref().and_then(|session| session.cipher())
    }

    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.tcp.peer_addr()
    }

    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.tcp.local_addr()
    }

    /// `None` when nothing has arrived, 0 at the end of the stream.
    fn read_some(&self, into: &mut [u8]) -> io::Result<Option<usize>> {
        let asked = into.len();
        let read =
            try_io(&self.tcp, Interest::READABLE, asked, || rustix::io::read(&self.tcp, into))?;
        METRICS.bytes_in.add(read.unwrap_or(0) as u64);
        Ok(read)
    }

    /// `None` when the kernel takes nothing now.
    fn write_some(&self, bytes: &[u8]) -> io::Result<Option<usize>> {
        let sent = try_io(&self.tcp, Interest::WRITABLE, bytes.len(), || {
            rustix::net::send(&self.tcp, bytes, SendFlags::NOSIGNAL)
        })?;
        METRICS.bytes_out.add(sent.unwrap_or(0) as u64);
        Ok(sent)
    }
}

/// One non-blocking system call that is asked to move `asked` bytes. Moving fewer is the sign that
/// the kernel's buffer is empty or full; telling tokio so at once saves the call that would
/// only say "would block". (tokio's own poll_read does this too, but may also pretend "would
/// block" to make the task yield, which a task that waits by [`Socket::readable`] cannot see.)
fn try_io(
    tcp: &TcpStream,
    interest: Interest,
    asked: usize,
    call: impl FnOnce() -> rustix::io::Result<usize>,
) -> io::Result<Option<usize>> {
    let mut moved = None;
    let result = tcp.try_io(interest, || {
        let bytes = call()?;
        moved = Some(bytes);
        if bytes > 0 && bytes < asked { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(()) }
    });
    match result {
        _ if moved.is_some() => Ok(moved),
        Err(e) if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {
            Ok(None)
        }
        Err(e) => Err(e),
        Ok(()) => Ok(moved),
    }
}
