//! One connection: TLS, requests one after the other, and an end to all that takes too long.

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::{Body, Bytes, Incoming};
use hyper::header::{self, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{HeaderMap, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

use super::patience::Patient;
use super::routes::{self, Request};
use crate::admin::Running;
use crate::config::web::{Http, ProxyHeader};
use crate::net::certs::CertStore;
use crate::net::forwarded;
use crate::net::tls::Acceptor;

/// Bytes of a request's head, and of what is read ahead.
const HEAD_BYTES_MAX: usize = 16 << 10;
/// Header fields of a request.
const HEADERS_MAX: usize = 64;
/// Requests on one connection; then it closes, so that nobody holds one for ever.
const REQUESTS_MAX: usize = 1000;

pub(super) type Response = hyper::Response<Full<Bytes>>;

/// Who sent a request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Client {
    /// Behind proxies that are trusted.
    pub(super) address: IpAddr,
}

/// The service, for as many connections as come.
pub struct Web {
    server: Arc<dyn Running>,
    tls: TlsAcceptor,
    /// True once the server stops.
    stopping: watch::Receiver<bool>,
}

impl Web {
    pub fn new(
        server: Arc<dyn Running>,
        certs: Arc<CertStore>,
        stopping: watch::Receiver<bool>,
    ) -> Web {
        let tls = TlsAcceptor::from(Acceptor::new(certs, &["http/1.1"]).for_library());
        Web { server, tls, stopping }
    }

    /// Serves one connection to its end; over TLS if it is `secure`.
    pub async fn serve(&self, tcp: TcpStream, peer: SocketAddr, secure: bool) {
        let config = self.server.router().config.load_full();
        let within = config.limits.negotiation_timeout.min(config.http.request_timeout);
        let write_timeout = config.limits.write_timeout;
        if !secure && !is_near(peer.ip(), &config.http) {
            tracing::debug!(%peer, "plain HTTP from afar; connection closed");
            return;
        }
        let served = if secure {
            match tokio::time::timeout(within, self.tls.accept(tcp)).await {
                Ok(Ok(stream)) => self.requests(Patient::new(stream, write_timeout), peer).await,
                Ok(Err(error)) => Err(error.to_string()),
                Err(_) => Err("the TLS handshake took too long".to_owned()),
            }
        } else {
            self.requests(Patient::new(tcp, write_timeout), peer).await
        };
        if let Err(error) = served {
            tracing::debug!(%peer, error, "an HTTP connection ended");
        }
    }

    async fn requests<S>(&self, stream: S, peer: SocketAddr) -> Result<(), String>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send,
    {
        let http = self.server.router().config.load().http.clone();
        let count = AtomicUsize::new(0);
        let service = service_fn(|request: hyper::Request<Incoming>| {
            let last = count.fetch_add(1, Ordering::Relaxed) + 1 >= REQUESTS_MAX;
            async move {
                let response = self.request(request, peer.ip(), last).await;
                Ok::<_, Infallible>(response)
            }
        });
        let mut builder = http1::Builder::new();
        builder
            .timer(TokioTimer::new())
            // From the start, or from the end of the request before, to the last byte of the head.
            .header_read_timeout(http.idle_timeout)
            .max_buf_size(HEAD_BYTES_MAX)
            .max_headers(HEADERS_MAX);
        let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
        let mut stopping = self.stopping.clone();
        let mut draining = false;
        loop {
            tokio::select! {
                ended = connection.as_mut() => return ended.map_err(|error| error.to_string()),
                // The sender lives as long as the server.
                _ = stopping.wait_for(|stop| *stop), if !draining => {
                    draining = true;
                    connection.as_mut().graceful_shutdown();
                }
            }
        }
    }

    async fn request(
        &self,
        request: hyper::Request<Incoming>,
        peer: IpAddr,
        last: bool,
    ) -> Response {
        // A stop waits for requests that are being answered.
        let _attended = self.server.streams().attend();
        let (head, body) = request.into_parts();
        // Two opinions on where a request ends are how one is smuggled past a proxy: what comes
        // after chunks is not believed.
        let last = last || head.headers.contains_key(header::TRANSFER_ENCODING);
        let client = Client {
            address: client(&head.headers, peer, &self.server.router().config.load().http),
        };
        let method = head.method.clone();
        let path = head.uri.path().to_owned();
        let request = Request { head, body, client, server: Arc::clone(&self.server) };
        let mut response = routes::answer(request).await;
        // Never the query: it may hold anything.
        tracing::debug!(%method, path, status = response.status().as_u16(), "HTTP request");
        let headers = response.headers_mut();
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        if last {
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}

/// Who may speak in clear text: this machine, and proxies that are trusted.
fn is_near(peer: IpAddr, http: &Http) -> bool {
    peer.to_canonical().is_loopback() || http.trusts(peer)
}

/// The client's own address, as far as it can be believed.
fn client(headers: &HeaderMap, peer: IpAddr, http: &Http) -> IpAddr {
    let values = |name: &str| -> Vec<String> {
        let texts = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
        texts.map(str::to_owned).collect()
    };
    let trusts = |address| http.trusts(address);
    match http.proxy_header {
        ProxyHeader::XForwardedFor => {
            let values = values("x-forwarded-for");
            forwarded::by_x_forwarded_for(peer, values.iter().map(String::as_str), trusts)
        }
        ProxyHeader::Forwarded => {
            let values = values("forwarded");
            forwarded::by_forwarded(peer, values.iter().map(String::as_str), trusts)
        }
    }
}

/// Why a request has no body that can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BodyFault {
    TooLarge,
    TooSlow,
    Broken,
}

/// The whole body, within bounds of size and time.
pub(super) async fn read<B>(body: B, max: usize, within: Duration) -> Result<Bytes, BodyFault>
where
    B: Body,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    // Told by its length, it need not even begin.
    if body.size_hint().lower() > max as u64 {
        return Err(BodyFault::TooLarge);
    }
    match tokio::time::timeout(within, Limited::new(body, max).collect()).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(BodyFault::TooLarge),
        Ok(Err(_)) => Err(BodyFault::Broken),
        Err(_) => Err(BodyFault::TooSlow),
    }
}

/// An answer of one line.
pub(super) fn plain(status: StatusCode, text: &str) -> Response {
    let mut response = Response::new(Full::new(Bytes::from(format!("{text}\n"))));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests {
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use hyper::body::Frame;

    use super::*;

    #[tokio::test]
    async fn bodies_have_bounds() {
        let within = Duration::from_millis(50);
        let full = |len: usize| Full::new(Bytes::from(vec![b'x'; len]));
        assert_eq!(read(full(10), 10, within).await.unwrap().len(), 10);
        assert_eq!(read(full(11), 10, within).await, Err(BodyFault::TooLarge));
        assert_eq!(read(Never, 10, within).await, Err(BodyFault::TooSlow));
    }

    /// A body that does not come.
    struct Never;

    impl Body for Never {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            Poll::Pending
        }
    }
}
