//! Who may do what, and how often. Pure functions of facts and time.

pub mod rate;
