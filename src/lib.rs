//! Coucou: a whole XMPP service in one binary.

pub mod access;
pub mod auth;
pub mod config;
pub mod delivery;
pub mod features;
pub mod jid;
pub mod net;
pub mod router;
pub mod stanza;
pub mod store;
pub mod stream;
pub mod telemetry;
#[cfg(test)]
pub mod testing;
pub mod time;
pub mod xml;
