//! Coucou: a whole XMPP service in one binary.

pub mod access;
pub mod auth;
pub mod config;
pub mod jid;
pub mod net;
pub mod stanza;
pub mod store;
pub mod stream;
pub mod telemetry;
pub mod time;
pub mod xml;
