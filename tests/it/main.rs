//! The program as a whole: started, spoken to over real sockets, stopped, killed.

mod access;
mod api;
mod backup;
mod cli;
mod client;
mod config;
mod hostile;
mod http;
mod import;
mod kill;
mod ops;
mod pattern;
mod play;
mod readme;
mod register;
mod scram;
mod server;
mod signin;
mod tidy;
mod tls;
