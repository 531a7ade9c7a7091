//! XEP-0045: Multi-User Chat (1.35.5), and what rooms learned since.
//!
//! * [`room`] is one room, sans-IO: who may what in [`affiliation`], who is there in
//!   [`occupants`], what was decided about it with its [`form`]; then a file per act:
//!   [`join`], [`presence`], [`message`], [`history`], [`invite`], [`voice`], [`register`],
//!   [`admin`], [`owner`], [`moderation`], [`request`], [`disco`].
//! * [`service`] finds the room that a stanza is for, wakes it from the store, has it act, stores
//!   what has changed and sends what it said.
//!
//! A room is a value behind a lock, not a task: whoever sends to it does its work. So its archive's
//! rows are in the writer's queue before the sender's next stanza is read, and `<a/>` covers them
//! like everything else; a busy room slows those down who speak in it and nobody else.

pub mod admin;
pub mod affiliation;
pub mod disco;
pub mod form;
pub mod history;
pub mod invite;
pub mod join;
pub mod message;
pub mod moderation;
pub mod occupant_id;
pub mod occupants;
pub mod owner;
pub mod presence;
pub mod register;
pub mod request;
pub mod room;
pub mod service;
pub mod voice;

use crate::features::{Xep, xep};

/// The specifications implemented in this room of the house.
pub const XEPS: &[Xep] = &[
    xep(45, "1.35.5"),
    xep(410, "1.1.0"),
    xep(421, "1.0.1"),
    xep(425, "0.3.0"),
    xep(500, "0.1.1"),
];

#[cfg(test)]
mod tests;
