//! Who may do what, and how often. Pure functions of facts and time.
//!
//! * [`rule`] decides by the rules of [`crate::config::rules`] on [`facts`], and says why.
//! * [`lint`] doubts the rules themselves.
//! * [`rate`] bounds how often; [`shared`] notices when many come from one address.

pub mod facts;
pub mod lint;
pub mod names;
pub mod rate;
pub mod registration;
pub mod rule;
pub mod shared;
pub mod signups;

pub use facts::Facts;
