//! A client's connection: one task that waits, reads, frames, hands over, writes. It owns no buffer
//! while nothing happens. The rules are elsewhere: sign-in in `negotiate`, counters in `sm`, what a
//! stanza means in `delivery`.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::Instant;

use super::lifecycle;
use super::signin::{self, Signed};
use super::{Ending, Streams};
use crate::delivery::{outbound, route};
use crate::net::buffers::Text;
use crate::net::{ReadOutcome, Socket};
use crate::router::sessions::Flag;
use crate::router::sm::{Sm, TooHigh};
use crate::router::{Control, Session};
use crate::stanza::{Kind, Reason, Stanza, StanzaParseError};
use crate::store::Busy;
use crate::telemetry::METRICS;
use crate::time::Now;
use crate::xml::element::Element;
use crate::xml::framer::{Frame, Framer};
use crate::xml::ns;
use crate::xml::stream_error::{StreamCondition, StreamError};

/// Bytes that may wait for the peer's kernel before we stop adding to them.
const PENDING_BYTES_MAX: usize = 64 * 1024;

/// A session whose own mailbox holds this much reads no further stanzas until it has drained:
/// answers to its own requests must not drown it.
const BACKLOG_BYTES: usize = 64 * 1024;

/// How long a closing stream may take.
pub(super) const CLOSE_WITHIN: Duration = Duration::from_secs(5);

/// The same when the server stops: some clients are always gone without a word, and the others wait
/// for the server's return.
const STOP_WITHIN: Duration = Duration::from_secs(1);

/// A stream of XML over a socket: what negotiation and session share.
pub struct Conn {
    pub socket: Socket,
    pub framer: Framer,
    /// The beginning of an element whose rest has not arrived.
    pub partial: Vec<u8>,
    pub peer: SocketAddr,
    /// `xml:lang` of the stream, for stanzas without one (RFC 6120 §8.1.5).
    pub lang: Option<Box<str>>,
}

/// Serves one accepted connection to its end. `direct_tls`: TLS comes first (XEP-0368).
pub async fn serve(streams: Arc<Streams>, socket: Socket, peer: SocketAddr, direct_tls: bool) {
    // The negotiation's state is large and short-lived: boxed, so that the session's task is not.
    let signed = Box::pin(signin::run(&streams, socket, peer, direct_tls)).await;
    let Some(Signed { mut conn, session }) = signed else { return };
    // From here on a stop waits for it; who has not signed in by then loses nothing.
    let _attended = streams.attend();
    let ending = attend(&streams, &mut conn, &session).await;
    Box::pin(leave(streams, conn, session, ending)).await;
}

/// What happens to connection and session when they part.
async fn leave(streams: Arc<Streams>, mut conn: Conn, session: Arc<Session>, ending: Ending) {
    let router = &streams.router;
    let parked = match ending {
        Ending::Lost | Ending::Stopped => lifecycle::resume_window(&session),
        Ending::Closed | Ending::Refused(_) | Ending::Superseded(_) => None,
    };
    let stopped = matches!(ending, Ending::Stopped);
    match ending {
        Ending::Lost => {}
        Ending::Closed => farewell(&mut conn, None),
        Ending::Stopped => farewell(
            &mut conn,
            Some(StreamError::with_text(StreamCondition::SystemShutdown, "Back in a moment.")),
        ),
        Ending::Refused(error) => farewell(&mut conn, Some(error)),
        Ending::Superseded(taken) => {
            let text = "This session goes on over another connection.";
            let error = StreamError::with_text(StreamCondition::Conflict, text);
            farewell(&mut conn, Some(error));
            // Whoever asked may have given up meanwhile; then the session waits on.
            if taken.send(()).is_ok() {
                conn.socket.close(CLOSE_WITHIN).await;
                return;
            }
            drop(conn);
            lifecycle::save(router, &session).await;
            let window = lifecycle::resume_window(&session).unwrap_or_default();
            return lifecycle::keep_parked(router, &session, Instant::now() + window).await;
        }
    }
    match parked {
        // Written down when all others have said their last words, too.
        Some(_) if stopped => conn.socket.close(STOP_WITHIN).await,
        Some(window) => {
            drop(conn);
            session.set(Flag::Parked, true);
            lifecycle::save(router, &session).await;
            // A task of its own, so that the connection's place and memory are given back.
            lifecycle::spawn_keeper(&streams, session, Instant::now() + window);
        }
        None => {
            let within = if stopped { STOP_WITHIN } else { CLOSE_WITHIN };
            tokio::join!(conn.socket.close(within), lifecycle::end(router, &session));
        }
    }
}

/// The last words on a stream.
pub(super) fn farewell(conn: &mut Conn, error: Option<StreamError>) {
    if let Some(error) = error {
        conn.socket.queue(error.to_xml().as_bytes());
    }
    conn.socket.queue(b"</stream:stream>");
}

/// Serves a bound session until something ends it.
async fn attend(streams: &Arc<Streams>, conn: &mut Conn, session: &Arc<Session>) -> Ending {
    match attend_until(streams, conn, session).await {
        Ok(never) => match never {},
        Err(ending) => ending,
    }
}

async fn attend_until(
    streams: &Arc<Streams>,
    conn: &mut Conn,
    session: &Arc<Session>,
) -> Result<std::convert::Infallible, Ending> {
    // Stanzas may have come in one packet with the end of the negotiation.
    let mut unread = !conn.partial.is_empty();
    loop {
        if unread {
            // Handling a stanza may take a state of many KiB. Boxed, it is there only while there
            // is something to handle, and an idle session does without.
            unread = Box::pin(read(streams, conn, session)).await?;
        }
        write(streams, conn, session)?;
        let blocked = !flush(conn)?;
        if unread {
            // The peer sends more than one turn's worth: let others run in between.
            tokio::task::yield_now().await;
            continue;
        }
        tokio::select! {
            () = session.mailbox.ready() => {}
            readable = conn.socket.readable(), if !blocked || session.mailbox.bytes() < BACKLOG_BYTES => {
                readable.map_err(|_| Ending::Lost)?;
                unread = true;
            }
            writable = write_in_time(streams, conn), if blocked => writable?,
        }
    }
}

/// A peer that takes nothing for too long is gone.
async fn write_in_time(streams: &Streams, conn: &Conn) -> Result<(), Ending> {
    let within = streams.router.config.load().limits.write_timeout;
    match tokio::time::timeout(within, conn.socket.writable()).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) | Err(_) => Err(Ending::Lost),
    }
}

fn flush(conn: &mut Conn) -> Result<bool, Ending> {
    if conn.socket.pending_bytes() == 0 {
        return Ok(true);
    }
    conn.socket.try_flush().map_err(|_| Ending::Lost)
}

/// Takes what has arrived and deals with every whole element in it. True: there is more.
async fn read(
    streams: &Arc<Streams>,
    conn: &mut Conn,
    session: &Arc<Session>,
) -> Result<bool, Ending> {
    let mut text = Text::lend();
    text.append(&mut conn.partial);
    conn.partial = Vec::new();
    let outcome = conn.socket.try_read(&mut text).map_err(|e| lost(&e, session))?;
    session.heard.store(Now::read().secs(), Ordering::Relaxed);
    let mut at = 0;
    while let Some(frame) = conn.framer.next(&text[at..]).map_err(Ending::Refused)? {
        match frame {
            Frame::Whitespace { len } => at += len,
            Frame::Close { .. } => return Err(Ending::Closed),
            Frame::Header { .. } => {
                return Err(refuse(StreamCondition::NotWellFormed));
            }
            Frame::Element { len } => {
                let bytes = &text[at..at + len];
                at += len;
                match Stanza::from_frame(bytes, &conn.framer) {
                    Ok(mut stanza) => {
                        if stanza.head.lang.is_none() && stanza.head.kind != Kind::Iq {
                            stanza.head.lang.clone_from(&conn.lang);
                        }
                        take_stanza(streams, session, stanza).await?;
                    }
                    Err(error) if error.reason == Reason::NotAStanza => {
                        let element = conn.framer.element(bytes);
                        let element = element.map_err(|_| refuse(StreamCondition::InvalidXml))?;
                        take_nonza(streams, conn, session, &element).await?;
                    }
                    // A broken address or type is that stanza's fault alone.
                    Err(error) => take_broken(session, &error)?,
                }
                while session.mailbox.bytes() > BACKLOG_BYTES {
                    write(streams, conn, session)?;
                    if !flush(conn)? {
                        tokio::select! {
                            () = session.mailbox.ready() => {}
                            writable = write_in_time(streams, conn) => writable?,
                        }
                    }
                }
            }
        }
    }
    if at < text.len() {
        conn.partial = text[at..].to_vec();
    }
    match outcome {
        ReadOutcome::More => Ok(true),
        ReadOutcome::WouldBlock => Ok(false),
        ReadOutcome::CloseNotify | ReadOutcome::Eof => Err(Ending::Lost),
    }
}

fn lost(error: &io::Error, session: &Session) -> Ending {
    tracing::debug!(jid = %session.jid, %error, "connection lost");
    Ending::Lost
}

fn refuse(condition: StreamCondition) -> Ending {
    Ending::Refused(StreamError::new(condition))
}

async fn take_stanza(
    streams: &Arc<Streams>,
    session: &Arc<Session>,
    stanza: Stanza,
) -> Result<(), Ending> {
    count_in(stanza.head.kind);
    let is_presence = stanza.head.kind == Kind::Presence && stanza.head.to.is_none();
    outbound::handle(&streams.router, session, stanza, Now::read())
        .await
        .map_err(Ending::Refused)?;
    if is_presence && session.is_resumable() {
        // Lazy: it rides with the next commit.
        let _ = streams.router.store.sm_facts(session.id, lifecycle::memo(session));
    }
    handled(session);
    Ok(())
}

fn take_broken(session: &Arc<Session>, error: &StanzaParseError) -> Result<(), Ending> {
    if let Some(error) = error.stream_error() {
        return Err(Ending::Refused(error));
    }
    if let Some(reply) = error.reply() {
        route::to_session(session, reply);
    }
    handled(session);
    Ok(())
}

/// All that the stanza changes has been handed to the store.
fn handled(session: &Session) {
    if let Some(sm) = session.sm.lock().as_mut() {
        sm.handle();
    }
}

/// Elements beside stanzas: stream management and client state.
async fn take_nonza(
    streams: &Arc<Streams>,
    conn: &mut Conn,
    session: &Arc<Session>,
    element: &Element,
) -> Result<(), Ending> {
    match (element.name(), element.ns()) {
        ("r", ns::SM3) => mark(streams, session).await,
        ("a", ns::SM3) => acknowledged(streams, session, element),
        ("enable", ns::SM3) => {
            if session.sm.lock().is_some() {
                conn.socket.queue(FAILED_UNEXPECTED);
                return Ok(());
            }
            let (early, enabled) = signin::enable_sm(streams, session, element).await;
            for item in early {
                item.stanza.write(conn.socket.outgoing());
            }
            conn.socket.queue(enabled.to_xml(ns::CLIENT).as_bytes());
            Ok(())
        }
        ("resume", ns::SM3) => {
            conn.socket.queue(FAILED_UNEXPECTED);
            Ok(())
        }
        ("active", ns::CSI) => {
            session.set_inactive(false);
            Ok(())
        }
        ("inactive", ns::CSI) => {
            session.set_inactive(true);
            Ok(())
        }
        _ => Err(refuse(StreamCondition::UnsupportedStanzaType)),
    }
}

const FAILED_UNEXPECTED: &[u8] = b"<failed xmlns='urn:xmpp:sm:3'>\
<unexpected-request xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></failed>";

/// `<r/>`: the answer is sent when everything up to here is on disk. While the writer's queue is
/// full, whoever asks waits, and reads no more meanwhile.
async fn mark(streams: &Arc<Streams>, session: &Arc<Session>) -> Result<(), Ending> {
    let Some(h) = session.sm.lock().as_ref().map(|sm| sm.handled()) else {
        return Err(refuse(StreamCondition::UnsupportedStanzaType));
    };
    loop {
        let told = Arc::clone(session);
        let done = Box::new(move |result: Result<(), _>| {
            told.mailbox.control(if result.is_ok() { Control::Ack(h) } else { Control::AckFailed });
        });
        match streams.router.store.sm_mark(session.id, h, true, done) {
            Ok(()) => return Ok(()),
            Err(Busy) => streams.router.store.room().await,
        }
    }
}

fn acknowledged(
    streams: &Arc<Streams>,
    session: &Arc<Session>,
    element: &Element,
) -> Result<(), Ending> {
    let h = element.get("h").and_then(|h| h.parse().ok());
    let Some(h) = h else {
        let text = "<a/> needs a number in 'h'.";
        return Err(Ending::Refused(StreamError::with_text(StreamCondition::BadFormat, text)));
    };
    let mut held = session.sm.lock();
    let Some(sm) = held.as_mut() else { return Ok(()) };
    let taken = sm.acknowledge(h).map_err(too_high)?;
    let resumable = sm.resumable;
    drop(held);
    let offline: Vec<_> = taken.iter().filter(|i| i.offline).filter_map(|i| i.stored).collect();
    if !offline.is_empty() {
        streams.forget_offline(session, offline);
    }
    if resumable && !taken.is_empty() {
        // Lazy; a crash before it is written repeats what the client has, no more.
        let _ = streams.router.store.sm_acked(session.id, h);
    }
    Ok(())
}

/// XEP-0198 §6.
fn too_high(TooHigh { h, sent }: TooHigh) -> Ending {
    let app = Element::new("handled-count-too-high", ns::SM3)
        .attr("h", h.to_string())
        .attr("send-count", sent.to_string());
    let text = format!("You acknowledged {h} stanzas, I sent {sent}.");
    Ending::Refused(StreamError::with_text(StreamCondition::UndefinedCondition, text).with_app(app))
}

/// Writes what waits in the mailbox, as long as the peer's kernel keeps up.
fn write(streams: &Arc<Streams>, conn: &mut Conn, session: &Arc<Session>) -> Result<(), Ending> {
    if conn.socket.pending_bytes() >= PENDING_BYTES_MAX {
        // A peer that takes nothing may be dead, and its session wanted on another connection.
        let mut controls = session.mailbox.take_controls().into_iter();
        return controls.try_for_each(|control| obey(streams, conn, session, control));
    }
    // Under the lock of the numbering, so that a resumption never sees half of it.
    let mut held = session.sm.lock();
    let (items, controls) = session.mailbox.take();
    let mut offline = Vec::new();
    if !items.is_empty() {
        let out = conn.socket.outgoing();
        for item in items {
            count_out(item.stanza.head.kind);
            item.stanza.write(out);
            match held.as_mut() {
                Some(sm) => drop(sm.send(item)),
                None if item.offline => offline.extend(item.stored),
                None => {}
            }
        }
        if let Some(sm) = held.as_mut()
            && sm.ask()
        {
            out.extend_from_slice(b"<r xmlns='urn:xmpp:sm:3'/>");
        }
    }
    let queue_bytes = held.as_ref().map_or(0, |sm| sm.unacked_bytes());
    drop(held);
    if !offline.is_empty() {
        // Without stream management, having written it is all that can be known.
        streams.forget_offline(session, offline);
    }
    for control in controls {
        obey(streams, conn, session, control)?;
    }
    if queue_bytes > streams.router.config.load().stream_management.queue_bytes_max {
        let text = "You acknowledge nothing of what you were sent (XEP-0198).";
        return Err(Ending::Refused(StreamError::with_text(
            StreamCondition::PolicyViolation,
            text,
        )));
    }
    Ok(())
}

fn obey(
    streams: &Streams,
    conn: &mut Conn,
    session: &Session,
    control: Control,
) -> Result<(), Ending> {
    match control {
        Control::Ack(h) => {
            conn.socket.queue(format!("<a xmlns='urn:xmpp:sm:3' h='{h}'/>").as_bytes());
            Ok(())
        }
        Control::AckFailed => {
            let text = "What you sent could not be stored; it is not acknowledged.";
            let condition = StreamCondition::InternalServerError;
            Err(Ending::Refused(StreamError::with_text(condition, text)))
        }
        Control::Close(error) => Err(Ending::Refused(error)),
        Control::Superseded(taken) => Err(Ending::Superseded(taken)),
        Control::Stop => Err(Ending::Stopped),
        Control::Tick => tick(streams, conn, session),
    }
}

/// Sent now and then to those that have been silent: is anybody there?
fn tick(streams: &Streams, conn: &mut Conn, session: &Session) -> Result<(), Ending> {
    let limits = &streams.router.config.load().limits;
    let silent = Now::read().secs() - session.heard.load(Ordering::Relaxed);
    let silent = Duration::from_secs(u64::try_from(silent).unwrap_or(0));
    if silent > limits.ping_after + limits.ping_timeout {
        return Err(Ending::Lost);
    }
    if silent > limits.ping_after {
        // Both want an answer. Where stanzas are counted, the ping would have to be counted too.
        if session.sm.lock().is_some() {
            conn.socket.queue(b"<r xmlns='urn:xmpp:sm:3'/>");
        } else {
            let ping = Element::new("ping", ns::PING);
            let from = session.jid.domain();
            let ping = Element::new("iq", ns::CLIENT)
                .attr("type", "get")
                .attr("id", "still-there")
                .attr("from", from)
                .attr("to", session.jid.as_str())
                .with(ping);
            conn.socket.queue(ping.to_xml(ns::CLIENT).as_bytes());
        }
    }
    Ok(())
}

/// The stream management a client asked for, within what the server grants; not resumable before
/// the store knows of it.
pub(super) fn granted(streams: &Streams, max: Option<u32>) -> Sm {
    let settings = &streams.router.config.load().stream_management;
    let window = max.map_or(settings.resume_timeout, |max| {
        Duration::from_secs(u64::from(max)).min(settings.resume_timeout_max)
    });
    Sm::new(false, u32::try_from(window.as_secs()).unwrap_or(u32::MAX))
}

pub(super) fn count_in(kind: Kind) {
    match kind {
        Kind::Message => METRICS.messages_in.inc(),
        Kind::Presence => METRICS.presences_in.inc(),
        Kind::Iq => METRICS.iqs_in.inc(),
    }
}

pub(super) fn count_out(kind: Kind) {
    match kind {
        Kind::Message => METRICS.messages_out.inc(),
        Kind::Presence => METRICS.presences_out.inc(),
        Kind::Iq => METRICS.iqs_out.inc(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size<A, B, C, D, F: Future>(_: fn(A, B, C, D) -> F) -> usize {
        size_of::<F>()
    }

    #[test]
    fn an_idle_sessions_task_is_small() {
        let bytes = size(serve);
        assert!(bytes <= 2048, "{bytes} bytes; box what is seldom there");
    }
}
