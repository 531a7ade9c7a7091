//! XEP-0114: Jabber Component Protocol (1.6). A trusted program on the local network that answers
//! for a domain of its own; the server authenticates it by a shared secret and stamps nothing.

use std::net::SocketAddr;
use std::sync::Arc;

use sha1::{Digest, Sha1};
use subtle::ConstantTimeEq;

use super::c2s::{CLOSE_WITHIN, Conn, count_in, count_out, farewell};
use super::{Ending, Streams};
use crate::config::Component;
use crate::delivery::route;
use crate::features::Outbox;
use crate::net::buffers::Text;
use crate::net::{ReadOutcome, Socket};
use crate::router::{Control, Service};
use crate::stanza::Stanza;
use crate::time::Now;
use crate::xml::framer::{Frame, Framer, Limits, StreamHeader};
use crate::xml::ns;
use crate::xml::stream_error::{StreamCondition, StreamError};
use crate::xml::write;

/// What a component may send in one element, in bytes. It is trusted, not unbounded.
const ELEMENT_BYTES_MAX: usize = 1 << 20;

/// Bytes that may wait for a component that reads slowly, in its mailbox.
const MAILBOX_BYTES_MAX: usize = 8 << 20;

/// Serves one connection on the component port to its end.
pub async fn serve(streams: Arc<Streams>, socket: Socket, peer: SocketAddr) {
    let limits = Limits { element_bytes_max: ELEMENT_BYTES_MAX, ..Limits::AUTHENTICATED };
    let mut conn =
        Conn { socket, framer: Framer::new(limits), partial: Vec::new(), peer, lang: None };
    let within = streams.router.config.load().limits.negotiation_timeout;
    let admitted = tokio::time::timeout(within, admit(&streams, &mut conn)).await;
    let service = match admitted {
        Ok(Ok(service)) => service,
        Ok(Err(Ending::Refused(error))) => {
            tracing::warn!(%peer, %error, "component refused");
            farewell(&mut conn, Some(error));
            return conn.socket.close(CLOSE_WITHIN).await;
        }
        Ok(Err(_)) => return,
        Err(_) => {
            farewell(&mut conn, Some(StreamError::new(StreamCondition::ConnectionTimeout)));
            return conn.socket.close(CLOSE_WITHIN).await;
        }
    };
    let _attended = streams.attend();
    tracing::info!(domain = %service.domain, %peer, "component connected");
    let ending = match attend(&streams, &mut conn, &service).await {
        Ok(never) => match never {},
        Err(ending) => ending,
    };
    streams.router.services.remove(&service);
    tracing::info!(domain = %service.domain, "component gone");
    match ending {
        Ending::Refused(error) => farewell(&mut conn, Some(error)),
        Ending::Stopped => {
            farewell(&mut conn, Some(StreamError::new(StreamCondition::SystemShutdown)));
        }
        Ending::Closed | Ending::Lost | Ending::Superseded(_) => farewell(&mut conn, None),
    }
    conn.socket.close(CLOSE_WITHIN).await;
}

/// Header, handshake, registration.
async fn admit(streams: &Arc<Streams>, conn: &mut Conn) -> Result<Arc<Service>, Ending> {
    let mut declared: Option<(Component, String)> = None;
    loop {
        let mut text = receive(conn).await?;
        let mut at = 0;
        while let Some(frame) = conn.framer.next(&text[at..]).map_err(Ending::Refused)? {
            match (frame, &declared) {
                (Frame::Whitespace { len }, _) => at += len,
                (Frame::Close { .. }, _) => return Err(Ending::Closed),
                (Frame::Header { len, header }, None) => {
                    at += len;
                    let id = random_id();
                    let answer = open(streams, &header, &id);
                    conn.socket.queue(&answer.1);
                    declared = Some((answer.0.map_err(Ending::Refused)?, id));
                }
                (Frame::Element { len }, Some((component, id))) => {
                    let element = conn.framer.element(&text[at..at + len]);
                    let element = element.map_err(|_| refused(StreamCondition::InvalidXml))?;
                    at += len;
                    let is_handshake = element.is("handshake", ns::COMPONENT);
                    if !is_handshake || !proves(&element.text(), id, component.secret.reveal()) {
                        return Err(refused(StreamCondition::NotAuthorized));
                    }
                    conn.socket.queue(b"<handshake/>");
                    conn.partial = text.split_off(at);
                    let service = Arc::new(Service::new(&component.domain, MAILBOX_BYTES_MAX));
                    if let Some(before) = streams.router.services.insert(Arc::clone(&service)) {
                        let error = StreamError::new(StreamCondition::Conflict);
                        before.mailbox.control(Control::Close(error));
                    }
                    return Ok(service);
                }
                (Frame::Header { .. } | Frame::Element { .. }, _) => {
                    return Err(refused(StreamCondition::NotWellFormed));
                }
            }
        }
        conn.partial = text.split_off(at);
        conn.socket.flush().await.map_err(|_| Ending::Lost)?;
    }
}

fn refused(condition: StreamCondition) -> Ending {
    Ending::Refused(StreamError::new(condition))
}

/// The answering header, and the component that the other's header names.
fn open(
    streams: &Streams,
    header: &StreamHeader,
    id: &str,
) -> (Result<Component, StreamError>, Vec<u8>) {
    let domain = header.to.as_deref().unwrap_or_default();
    let mut answer = b"<?xml version='1.0'?><stream:stream".to_vec();
    write::attribute(&mut answer, "xmlns", ns::COMPONENT);
    write::attribute(&mut answer, "xmlns:stream", ns::STREAMS);
    write::attribute(&mut answer, "from", domain);
    write::attribute(&mut answer, "id", id);
    answer.push(b'>');
    if header.default_ns != ns::COMPONENT {
        return (Err(StreamError::new(StreamCondition::InvalidNamespace)), answer);
    }
    let found = streams.router.config.load().component(domain).cloned();
    (found.ok_or_else(|| StreamError::new(StreamCondition::HostUnknown)), answer)
}

/// §3.1: the lower-case hexadecimal SHA-1 of stream id and secret.
fn proves(handshake: &str, id: &str, secret: &str) -> bool {
    let digest = Sha1::new().chain_update(id).chain_update(secret).finalize();
    let expected: String = digest.iter().map(|b| format!("{b:02x}")).collect();
    expected.as_bytes().ct_eq(handshake.trim().as_bytes()).into()
}

fn random_id() -> String {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).expect("the kernel gives random bytes");
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// Waits for bytes and appends them to what was left.
async fn receive(conn: &mut Conn) -> Result<Vec<u8>, Ending> {
    loop {
        conn.socket.readable().await.map_err(|_| Ending::Lost)?;
        let mut text = std::mem::take(&mut conn.partial);
        let before = text.len();
        let outcome = conn.socket.try_read(&mut text).map_err(|_| Ending::Lost)?;
        if text.len() > before {
            return Ok(text);
        }
        conn.partial = text;
        if matches!(outcome, ReadOutcome::Eof | ReadOutcome::CloseNotify) {
            return Err(Ending::Lost);
        }
    }
}

async fn attend(
    streams: &Arc<Streams>,
    conn: &mut Conn,
    service: &Arc<Service>,
) -> Result<std::convert::Infallible, Ending> {
    take_all(streams, conn, service).await?;
    loop {
        let (items, controls) = service.mailbox.take();
        for control in controls {
            match control {
                Control::Close(error) => return Err(Ending::Refused(error)),
                Control::Stop => return Err(Ending::Stopped),
                Control::Ack(_) | Control::AckFailed | Control::Superseded(_) | Control::Tick => {}
            }
        }
        let out = conn.socket.outgoing();
        for item in items {
            count_out(item.stanza.head.kind);
            item.stanza.write(out);
        }
        let within = streams.router.config.load().limits.write_timeout;
        match tokio::time::timeout(within, conn.socket.flush()).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) | Err(_) => return Err(Ending::Lost),
        }
        tokio::select! {
            () = service.mailbox.ready() => {}
            readable = conn.socket.readable() => {
                readable.map_err(|_| Ending::Lost)?;
                let mut text = Text::lend();
                text.append(&mut conn.partial);
                let outcome = conn.socket.try_read(&mut text).map_err(|_| Ending::Lost)?;
                conn.partial = text.to_vec();
                take_all(streams, conn, service).await?;
                if matches!(outcome, ReadOutcome::Eof | ReadOutcome::CloseNotify) {
                    return Err(Ending::Lost);
                }
            }
        }
    }
}

/// Routes every whole stanza that has arrived.
async fn take_all(
    streams: &Arc<Streams>,
    conn: &mut Conn,
    service: &Service,
) -> Result<(), Ending> {
    let mut text = std::mem::take(&mut conn.partial);
    let mut at = 0;
    while let Some(frame) = conn.framer.next(&text[at..]).map_err(Ending::Refused)? {
        match frame {
            Frame::Whitespace { len } => at += len,
            Frame::Close { .. } => return Err(Ending::Closed),
            Frame::Header { .. } => return Err(refused(StreamCondition::NotWellFormed)),
            Frame::Element { len } => {
                let bytes = &text[at..at + len];
                at += len;
                match Stanza::from_frame(bytes, &conn.framer) {
                    Ok(stanza) => take(streams, service, stanza).await?,
                    Err(error) => match (error.stream_error(), error.reply()) {
                        (Some(error), _) => return Err(Ending::Refused(error)),
                        (None, Some(reply)) => reply.write(conn.socket.outgoing()),
                        (None, None) => {}
                    },
                }
            }
        }
    }
    conn.partial = text.split_off(at);
    Ok(())
}

async fn take(streams: &Arc<Streams>, service: &Service, stanza: Stanza) -> Result<(), Ending> {
    count_in(stanza.head.kind);
    let speaks_for_itself =
        stanza.head.from.as_ref().is_some_and(|from| from.domain() == service.domain);
    if !speaks_for_itself {
        let text = format!("A component speaks for addresses at {} only.", service.domain);
        return Err(Ending::Refused(StreamError::with_text(StreamCondition::InvalidFrom, text)));
    }
    let now = Now::read();
    let out = Outbox::default();
    route::deliver(&streams.router, stanza, &out, now).await;
    route::drain(&streams.router, out, now).await;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_handshake_of_the_specification_is_accepted() {
        // XEP-0114, example 3: the digest of "3BF96D32" and "test" by our own reckoning.
        let digest = Sha1::digest(b"3BF96D32test");
        let hex: String = digest.iter().map(|b| format!("{b:02x}")).collect();
        assert!(proves(&hex, "3BF96D32", "test"));
        assert!(!proves(&hex, "3BF96D32", "Test"));
        assert!(!proves("", "3BF96D32", "test"));
    }
}
