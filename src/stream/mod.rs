pub mod errors;
pub mod negotiate;
