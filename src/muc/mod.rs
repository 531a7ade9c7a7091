//! XEP-0045: Multi-User Chat (1.35.5), and what rooms learned since.
//!
//! * [`room`] is one room, sans-IO: who may what in [`affiliation`], who is there in
//!   [`occupants`], what was decided about it in [`config`] with its [`form`]; then a file per act:
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
pub mod config;
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
pub mod voice;

#[cfg(test)]
mod tests;
