//! XEP-0077: In-Band Registration (2.4) and XEP-0445: Pre-Authenticated In-Band Registration
//! (0.2.0).

mod create;
mod keys;

pub use create::{
    Made, New, NotMade, Proof, create, end_sessions, greeting, remove, reset_password, set_password,
};
pub use keys::scram_row;
