//! One HTTP service for all that is spoken over HTTP: [`routes`] is the table of who answers where,
//! [`service`] serves a connection within bounds, and [`patience`] ends those that keep us waiting.

mod api;
mod patience;
mod routes;
mod service;

pub use service::Web;
