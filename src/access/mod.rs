//! Who may do what, and how often. Pure functions of facts and time.

pub mod facts;
pub mod lint;
pub mod names;
pub mod rate;
pub mod registration;
pub mod rule;
pub mod shared;
pub mod signups;

pub use facts::Facts;
