//! Who may do what, and how often. Pure functions of facts and time.

pub mod facts;
pub mod rate;
pub mod rule;

pub use facts::Facts;
