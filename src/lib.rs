//! Coucou: an XMPP server in one binary.
//!
//! # The house
//!
//! One folder is one room with one job. A room may use rooms of its own row and of the rows below;
//! the rows of `auth`, `access`, `store` and `net` count as one.
//!
//! | room | job |
//! |---|---|
//! | [`cli`] | commands; each is a thin client of an admin operation |
//! | [`server`] | start, reload, stop: the only place that knows all rooms |
//! | [`http`] | one HTTP service: a table of hosts and paths, and who stands behind each |
//! | [`admin`] | operators' acts, defined once, and the doors they come in by |
//! | [`stream`] | one task per connection: negotiation, stream management, components |
//! | [`delivery`] | the two ordered pipelines, of sender and of receiver |
//! | [`features`], [`muc`] | what a stanza means: one file per feature; rooms |
//! | [`router`] | from an address to a mailbox: sessions and services |
//! | [`auth`], [`access`] | who somebody is; what they may do, and what it may cost us |
//! | [`store`], [`net`] | disk; sockets, TLS and certificates |
//! | [`config`], [`telemetry`] | settings; the log and counters |
//! | [`stanza`], [`xml`], [`jid`], [`time`] | the vocabulary: no I/O, no runtime |
//!
//! `tests/it/tidy.rs` holds the arrows down.
//!
//! # Life of a message
//!
//! Alice's phone sends Bob a message; both have their archive on.
//!
//! 1. [`stream::c2s`]: her task sleeps without a buffer until the socket is readable; then
//!    [`net::Socket`] decrypts what has come into a text lent for the moment.
//! 2. [`xml::framer`] finds the end of `<message/>` and enforces every rule of XML in XMPP in the
//!    same pass; [`stanza::Stanza`] gets head, children's places and one copy of the payload.
//! 3. [`delivery::outbound`] reads top to bottom: `from` is stamped, her block list asked, forged
//!    stanza ids stripped, her archive's wish noted, carbons for her other devices queued.
//! 4. [`router::Router::resolve`]: Bob has an account here, so [`delivery::inbound`] goes on: his
//!    block list, his archive, then the sessions RFC 6121 §8.5 names, carbons, push, offline.
//! 5. [`store::Store::append`]: one row for both archives, for the counters of her stream and for
//!    his queue, on its way to the writer. Nobody waits for it yet.
//! 6. [`router::Mailbox`]: his task wakes once, however much waits, and writes all of it into as
//!    few TLS records as hold it; [`router::sm`] keeps it until he acknowledges.
//! 7. She asks `<r/>`. The answer is a mark that follows her message through the writer's queue:
//!    when the transaction that holds it is on disk, `<a h='…'/>` goes out, and not before.
//!
//! A crash between any two of these lines loses nothing she was told is safe, and nothing Bob was
//! not given: the row carries both sessions' places ([`stream::lifecycle`]).
#![doc = include_str!("security.md")]

pub mod access;
pub mod admin;
pub mod auth;
pub mod cli;
pub mod config;
pub mod delivery;
pub mod features;
pub mod http;
pub mod jid;
pub mod muc;
pub mod net;
pub mod router;
pub mod server;
pub mod stanza;
pub mod store;
pub mod stream;
pub mod telemetry;
#[cfg(test)]
pub mod testing;
pub mod time;
pub mod xml;
