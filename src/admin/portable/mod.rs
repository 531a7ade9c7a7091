//! XEP-0227: Portable Import/Export Format for XMPP-IM Servers (1.1). PEP nodes are not stored here
//! yet: they are counted and passed over.
//!
//! * [`read`] walks files, whatever their size, and says where something is wrong.
//! * [`import`] goes over them twice: the first time to find every fault, and only then to store.
//! * [`export`] writes accounts one after the other, messages page by page.

use crate::features::{Xep, xep};

pub const XEPS: &[Xep] = &[xep(227, "1.1")];

pub mod export;
pub mod import;
mod parts;
pub mod read;

#[cfg(test)]
mod tests;
