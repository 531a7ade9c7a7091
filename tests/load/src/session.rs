//! One client session: connected, encrypted, logged in, bound.

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::client::TlsStream;

use crate::error::{Error, Result};
use crate::frame::{Kind, Scanner};
use crate::scram::Exchange;
use crate::target::{Security, Target};

/// A server that sends an element longer than this during a run is not measured any further.
pub const ELEMENT_BYTES_MAX: usize = 1 << 20;

/// Frames read from a stream, one at a time.
pub struct Reader {
    scanner: Scanner,
    buffer: Vec<u8>,
    /// Bytes at the start of `buffer` that have been handed out.
    taken: usize,
}

impl Reader {
    fn new() -> Reader {
        Reader { scanner: Scanner::new(), buffer: Vec::new(), taken: 0 }
    }

    /// The next complete element in what has been pushed; stream headers are skipped.
    pub fn next(&mut self) -> Result<Option<&[u8]>> {
        loop {
            let Some(frame) = self.scanner.next(&self.buffer[self.taken..]) else {
                self.compact();
                return match self.buffer.len() {
                    0..=ELEMENT_BYTES_MAX => Ok(None),
                    _ => Err(Error::unexpected("an element of 1 MiB at most", &self.buffer)),
                };
            };
            let start = self.taken;
            self.taken += frame.len;
            match frame.kind {
                Kind::Header => {}
                Kind::Close => return Err(Error::Closed("an element")),
                Kind::Element => {
                    return Ok(Some(self.buffer[start..self.taken].trim_ascii_start()));
                }
            }
        }
    }

    /// Adds bytes that came from the server.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// An idle session holds no buffer: thousands of them are opened.
    fn compact(&mut self) {
        if self.taken == self.buffer.len() {
            self.buffer = Vec::new();
        } else {
            self.buffer.drain(..self.taken);
        }
        self.taken = 0;
    }
}

/// A stream and what has been read from it. `S` is a plain or an encrypted connection.
struct Stream<S> {
    io: S,
    reader: Reader,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Stream<S> {
    fn new(io: S) -> Stream<S> {
        Stream { io, reader: Reader::new() }
    }

    async fn send(&mut self, text: &str) -> Result<()> {
        self.io.write_all(text.as_bytes()).await?;
        Ok(self.io.flush().await?)
    }

    async fn receive(&mut self, target: &Target, awaited: &'static str) -> Result<Vec<u8>> {
        timeout(target.patience, async {
            loop {
                if let Some(element) = self.reader.next()? {
                    return Ok(element.to_vec());
                }
                let mut piece = [0; 4096];
                match self.io.read(&mut piece).await? {
                    0 => return Err(Error::Closed(awaited)),
                    len => self.reader.push(&piece[..len]),
                }
            }
        })
        .await
        .map_err(|_| Error::Timeout(target.patience, awaited))?
    }

    /// Opens a stream and awaits the features.
    async fn open(&mut self, target: &Target) -> Result<Vec<u8>> {
        self.reader = Reader::new();
        self.send(&format!(
            "<?xml version='1.0'?><stream:stream to='{}' version='1.0' xmlns='jabber:client' \
             xmlns:stream='http://etherx.jabber.org/streams'>",
            target.domain
        ))
        .await?;
        let features = self.receive(target, "stream features").await?;
        expect(&features, "<stream:features", "stream features")?;
        Ok(features)
    }
}

/// A bound session.
pub struct Session {
    pub io: TlsStream<TcpStream>,
    pub reader: Reader,
}

impl Session {
    /// Connects and logs in account `index`.
    pub async fn login(target: &Target, index: usize) -> Result<Session> {
        let address = target.address;
        let tcp = timeout(target.patience, TcpStream::connect(address))
            .await
            .map_err(|_| Error::Timeout(target.patience, "connecting"))?
            .map_err(|source| Error::Connect { address, source })?;
        tcp.set_nodelay(true)?;
        let tcp = match target.security {
            Security::Direct => tcp,
            Security::Starttls => start_tls(tcp, target).await?,
        };
        let tls = target.connector.connect(target.server_name.clone(), tcp);
        let tls = timeout(target.patience, tls)
            .await
            .map_err(|_| Error::Timeout(target.patience, "shaking hands"))?
            .map_err(Error::Tls)?;
        let mut stream = Stream::new(tls);
        stream.open(target).await?;
        authenticate(&mut stream, target, index).await?;
        stream.open(target).await?;
        let bind = "<iq type='set' id='bind'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>";
        stream.send(bind).await?;
        let bound = stream.receive(target, "the bound JID").await?;
        between(&bound, "<jid>", "</jid>")
            .ok_or_else(|| Error::unexpected("a bound JID", &bound))?;
        Ok(Session { io: stream.io, reader: stream.reader })
    }

    /// Writes `text` and waits until it is with the kernel.
    pub async fn send(&mut self, text: &str) -> Result<()> {
        self.io.write_all(text.as_bytes()).await?;
        Ok(self.io.flush().await?)
    }

    /// Reads elements until `found` says that one is what is awaited, and returns that.
    pub async fn await_element(
        &mut self,
        target: &Target,
        awaited: &'static str,
        mut found: impl FnMut(&[u8]) -> bool,
    ) -> Result<Vec<u8>> {
        timeout(target.patience, async {
            let mut piece = vec![0; 16 * 1024];
            loop {
                while let Some(element) = self.reader.next()? {
                    if found(element) {
                        return Ok(element.to_vec());
                    }
                }
                match self.io.read(&mut piece).await? {
                    0 => return Err(Error::Closed(awaited)),
                    len => self.reader.push(&piece[..len]),
                }
            }
        })
        .await
        .map_err(|_| Error::Timeout(target.patience, awaited))?
    }

    /// Enables stream management (XEP-0198); needed before the server acknowledges anything.
    pub async fn enable_stream_management(&mut self, target: &Target) -> Result<()> {
        self.send("<enable xmlns='urn:xmpp:sm:3'/>").await?;
        let answer = self
            .await_element(target, "stream management", |element| {
                element.starts_with(b"<enabled") || element.starts_with(b"<failed")
            })
            .await?;
        expect(&answer, "<enabled", "<enabled/>")
    }

    /// Sends available presence and waits until the server has reflected it.
    pub async fn announce(&mut self, target: &Target) -> Result<()> {
        self.send("<presence/>").await?;
        let is_presence = |element: &[u8]| element.starts_with(b"<presence");
        self.await_element(target, "our own presence", is_presence).await.map(drop)
    }

    /// Closes the stream without waiting for the server to do the same.
    pub async fn close(mut self) {
        // The server may have closed first, which is as good.
        let _ = self.send("</stream:stream>").await;
        let _ = self.io.shutdown().await;
    }
}

async fn start_tls(tcp: TcpStream, target: &Target) -> Result<TcpStream> {
    let mut stream = Stream::new(tcp);
    stream.open(target).await?;
    stream.send("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>").await?;
    let answer = stream.receive(target, "<proceed/>").await?;
    expect(&answer, "<proceed", "<proceed/>")?;
    Ok(stream.io)
}

async fn authenticate<S>(stream: &mut Stream<S>, target: &Target, index: usize) -> Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let user = target.user(index);
    let password = target.password(index);
    let refused = |reason: &str| Error::Login { user: user.clone(), reason: reason.to_owned() };
    let mut exchange = Exchange::new(&target.keyring, &user, &password);
    let auth = format!(
        "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='{}'>{}</auth>",
        target.keyring.mechanism().name(),
        exchange.first()
    );
    stream.send(&auth).await?;
    let challenge = stream.receive(target, "a SASL challenge").await?;
    let text = between(&challenge, ">", "</challenge>")
        .ok_or_else(|| refused(&String::from_utf8_lossy(&challenge)))?;
    let answer = exchange.answer(text).map_err(refused)?;
    let response =
        format!("<response xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>{answer}</response>");
    stream.send(&response).await?;
    let success = stream.receive(target, "the outcome of SASL").await?;
    let text = between(&success, ">", "</success>")
        .ok_or_else(|| refused(&String::from_utf8_lossy(&success)))?;
    if exchange.verify(text) { Ok(()) } else { Err(refused("the server's signature is wrong")) }
}

fn expect(element: &[u8], start: &str, expected: &'static str) -> Result<()> {
    if element.starts_with(start.as_bytes()) {
        Ok(())
    } else {
        Err(Error::unexpected(expected, element))
    }
}

/// The text from the first `start` to the next `end`.
pub fn between<'a>(element: &'a [u8], start: &str, end: &str) -> Option<&'a str> {
    let text = std::str::from_utf8(element).ok()?;
    let (_, rest) = text.split_once(start)?;
    rest.split_once(end).map(|(found, _)| found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_hands_out_elements_and_keeps_no_buffer() {
        let mut reader = Reader::new();
        reader.push(b"<s:s><a/> <b>");
        assert_eq!(reader.next().unwrap(), Some(&b"<a/>"[..]));
        assert_eq!(reader.next().unwrap(), None);
        reader.push(b"</b>");
        assert_eq!(reader.next().unwrap(), Some(&b"<b></b>"[..]));
        assert_eq!(reader.next().unwrap(), None);
        assert_eq!(reader.buffer.capacity(), 0);
        reader.push(b"</s:s>");
        assert!(matches!(reader.next(), Err(Error::Closed(_))));
    }
}
