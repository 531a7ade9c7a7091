//! Who somebody is: SASL mechanisms, stored credentials, tokens and devices. No I/O, no clock.
//!
//! A [`Mechanism`](mechanism::Mechanism) takes the client's messages and says what it wants next;
//! what must be looked up or computed at length it names as a [`Need`](mechanism::Need), and
//! `stream::negotiate` hands that on. The XML around the messages is not known here.
//!
//! Three rules hold in every file:
//! - Only keys are stored ([`credentials`]), of tokens not even that ([`devices`]).
//! - A name without account goes the same way as a wrong password, step for step and round for
//!   round, against decoys that stay the same from one attempt to the next.
//! - Secrets live in types that cannot be printed, are wiped when dropped, and are compared in
//!   constant time ([`secret`]).

pub mod anonymous;
pub mod credentials;
pub mod devices;
pub mod fast;
pub mod hash;
pub mod mechanism;
pub mod plain;
pub mod scram;
pub mod secret;
pub mod upgrade;

pub use credentials::{Credentials, Password, PasswordError, ScramKeys};
pub use devices::{AgentId, HtMechanism, Token, TokenUse, Tokens, UserAgent};
pub use hash::Hash;
pub use mechanism::{Binding, Channel, Failure, MechanismName, Offer, Plus};
pub use secret::{Secret, ServerSecret};
