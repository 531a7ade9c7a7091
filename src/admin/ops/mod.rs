//! The operations, a file per kind of thing they are done to.

pub mod access;
pub mod account;
pub mod announce;
pub mod api_key;
pub mod archive;
pub mod audit;
pub mod backup;
pub mod blocklist;
pub mod cert;
pub mod config;
pub mod group;
pub mod invite;
pub mod log;
pub mod message;
pub mod offline;
pub mod portable;
pub mod private;
pub mod registration;
pub mod report;
pub mod roster;
pub mod server;
pub mod session;
pub mod vcard;
mod when;
pub mod words;

#[cfg(test)]
pub(super) mod testing;
