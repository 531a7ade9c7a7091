//! An HTTP client that sends what a test writes, byte for byte, and reads what comes back.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use rustls::pki_types::ServerName;
use rustls::{ClientConnection, StreamOwned};
use serde_json::Value;

use crate::client::{PATIENCE, any_certificate};

trait Wire: Read + Write {}
impl<W: Read + Write> Wire for W {}

/// One connection.
pub struct Http {
    wire: Box<dyn Wire>,
    unread: Vec<u8>,
}

/// What came back.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Reply {
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.as_str())
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

impl Http {
    /// In clear text.
    pub fn plain(address: SocketAddr) -> Http {
        let tcp = TcpStream::connect(address).expect("the server listens");
        tcp.set_read_timeout(Some(PATIENCE)).unwrap();
        tcp.set_write_timeout(Some(PATIENCE)).unwrap();
        Http { wire: Box::new(tcp), unread: Vec::new() }
    }

    /// Over TLS, with these application protocols.
    pub fn secure(address: SocketAddr, alpn: &[&[u8]]) -> Result<Http, std::io::Error> {
        let mut tcp = TcpStream::connect(address).expect("the server listens");
        tcp.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut config = any_certificate();
        config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
        let name = ServerName::try_from("example.org").unwrap();
        let mut tls = ClientConnection::new(Arc::new(config), name).unwrap();
        tls.complete_io(&mut tcp)?;
        Ok(Http { wire: Box::new(StreamOwned::new(tls, tcp)), unread: Vec::new() })
    }

    /// Sends bytes; who is hung up on meanwhile learns it from the reply.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = self.wire.write_all(bytes.as_ref());
        let _ = self.wire.flush();
    }

    fn read(&mut self) -> usize {
        let mut some = [0; 4096];
        match self.wire.read(&mut some) {
            Ok(read) => {
                self.unread.extend_from_slice(&some[..read]);
                read
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => panic!("no answer in time"),
            // A connection that is cut is as ended as one that is closed.
            Err(_) => 0,
        }
    }

    /// The next reply; `None` if the connection ends before one.
    pub fn reply(&mut self, to_head: bool) -> Option<Reply> {
        let end = loop {
            if let Some(at) = self.unread.windows(4).position(|four| four == b"\r\n\r\n") {
                break at + 4;
            }
            if self.read() == 0 {
                assert!(self.unread.is_empty(), "{:?}", String::from_utf8_lossy(&self.unread));
                return None;
            }
        };
        let head = String::from_utf8(self.unread.drain(..end).collect()).unwrap();
        let mut lines = head.trim_end().split("\r\n");
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let headers: Vec<(String, String)> = lines
            .map(|line| line.split_once(": ").unwrap())
            .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
            .collect();
        let mut reply = Reply { status, headers, body: Vec::new() };
        let length = reply.header("content-length").map_or(0, |length| length.parse().unwrap());
        while !to_head && self.unread.len() < length {
            assert_ne!(self.read(), 0, "the body is cut off");
        }
        if !to_head {
            reply.body = self.unread.drain(..length).collect();
        }
        Some(reply)
    }

    /// One request with what it takes to be answered.
    pub fn ask(&mut self, method: &str, target: &str, headers: &str, body: &str) -> Reply {
        self.send(format!(
            "{method} {target} HTTP/1.1\r\nHost: example.org\r\n{headers}Content-Length: {}\r\n\r\n{body}",
            body.len()
        ));
        self.reply(method == "HEAD").expect("an answer")
    }

    /// Whether the server has closed the connection.
    pub fn is_closed(&mut self) -> bool {
        self.unread.is_empty() && self.read() == 0
    }
}

/// An `Authorization` header of an account.
pub fn basic(jid: &str, password: &str) -> String {
    let encoded = BASE64_STANDARD.encode(format!("{jid}:{password}"));
    format!("Authorization: Basic {encoded}\r\n")
}

/// An `Authorization` header of an API key.
pub fn bearer(key: &str) -> String {
    format!("Authorization: Bearer {key}\r\n")
}
