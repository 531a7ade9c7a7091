//! Where operators come in. A door proves who somebody is and hands the rest to [`super::run`].

pub mod adhoc;
pub mod http;
pub mod socket;
mod users;
