//! XML as XMPP allows it (RFC 6120 §11), without I/O.
//!
//! | file | job |
//! |---|---|
//! | [`framer`] | a stream's bytes → header, whole top-level elements, end; limits |
//! | `scan` | the one scanner: every rule of XML, resumable at any byte |
//! | `scope` | what it keeps: places in the buffer, namespaces, the outline |
//! | [`fault`] | what may be wrong, and the stream error for it |
//! | [`element`] | a small owned tree for those who need one |
//! | [`mod@write`] | escaping and its reverse |
//! | [`chars`] | character classes, UTF-8 |
//! | [`ns`] | namespaces |
//!
//! Trees are built from the events of the same scanner that frames streams, so there are no two
//! readings of one document for an attacker to play against each other.

pub mod chars;
pub mod document;
pub mod element;
pub mod fault;
pub mod framer;
pub mod ns;
pub(crate) mod scan;
pub(crate) mod scope;
pub mod stream_error;
pub mod write;

pub use element::Element;
pub use fault::{Fault, XmlError};
