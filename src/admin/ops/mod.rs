//! The operations, a file per kind of thing they are done to.

pub mod account;
pub mod config;
pub mod log;
pub mod server;
pub mod session;
