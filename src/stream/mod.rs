pub mod errors;
pub mod negotiate;
pub mod sm;
