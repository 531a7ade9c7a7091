//! Sockets, TLS and certificates. Nothing here knows a stanza.
//!
//! [`listen`] accepts, [`socket`] moves bytes, [`tls`] encrypts them with what [`certs`] holds,
//! and [`buffers`] lends the memory while bytes are on their way. [`forwarded`] reads whom a proxy
//! speaks for.

pub mod buffers;
pub mod certs;
pub mod forwarded;
pub mod listen;
pub mod socket;
pub mod tls;

pub use socket::{ReadOutcome, Socket};

#[cfg(test)]
mod tests;
