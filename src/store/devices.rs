//! Clients that have access to an account (XEP-0494) and their FAST tokens (XEP-0484).

use super::{AccountId, Store, StoreError};
use crate::time::Now;

/// A client that has signed in to an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// Unique on this server; what XEP-0494 shows as the client's id.
    pub id: i64,
    pub account: AccountId,
    /// The `id` of the client's `<user-agent/>` (XEP-0388), a UUID it chose.
    pub agent: String,
    pub software: String,
    /// The `<device/>` of the user agent.
    pub name: String,
    pub first_seen: Now,
    pub last_seen: Now,
    /// Has signed in with the password: revoking it takes a new password.
    pub password: bool,
    /// Holds a FAST token.
    pub token: bool,
}

/// What a client told of itself when it signed in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Agent {
    pub agent: String,
    pub software: String,
    pub name: String,
}

/// The two slots of XEP-0484 §6.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Slot {
    Current = 0,
    /// Handed out, not used yet.
    New = 1,
}

/// A FAST token. The secret itself is kept, since HT proofs are HMACs under it.
#[derive(Clone, PartialEq, Eq)]
pub struct Token {
    pub slot: Slot,
    /// The one mechanism it is good for: `HT-SHA-256-EXPR`.
    pub mechanism: String,
    pub secret: Vec<u8>,
    pub created: Now,
    pub expires: Now,
    /// The highest `count` seen (replay protection).
    pub count: Option<u64>,
}

/// See [`Store::devices`].
pub struct Devices<'a>(pub(super) &'a Store);

impl Store {
    pub fn devices(&self) -> Devices<'_> {
        Devices(self)
    }
}

impl Devices<'_> {
    /// Notes a sign-in. Past `max` devices the one unseen for longest is forgotten.
    pub async fn seen(
        &self,
        account: AccountId,
        agent: Agent,
        password: bool,
        now: Now,
        max: usize,
    ) -> Result<Device, StoreError> {
        todo!()
    }

    pub async fn list(&self, account: AccountId) -> Result<Vec<Device>, StoreError> {
        todo!()
    }

    /// The device of an account by the id of its user agent, with its tokens.
    pub async fn find(
        &self,
        account: AccountId,
        agent: &str,
    ) -> Result<Option<(Device, Vec<Token>)>, StoreError> {
        todo!()
    }

    /// Forgets the device and ends its tokens. False if there is none.
    pub async fn revoke(&self, account: AccountId, device: i64) -> Result<bool, StoreError> {
        todo!()
    }

    /// Puts a token into its slot; what lay there is gone.
    pub async fn put_token(&self, device: i64, token: Token) -> Result<(), StoreError> {
        todo!()
    }

    /// A token was used, with `count`: it moves to [`Slot::Current`]. False if it was not there
    /// any more, or `count` is not above the last: then the sign-in must fail.
    pub async fn use_token(
        &self,
        device: i64,
        slot: Slot,
        secret: &[u8],
        count: Option<u64>,
        now: Now,
    ) -> Result<bool, StoreError> {
        todo!()
    }

    pub async fn drop_tokens(&self, device: i64) -> Result<(), StoreError> {
        todo!()
    }

    /// Ends every token of the account: password change, kick, lock.
    pub async fn drop_all_tokens(&self, account: AccountId) -> Result<(), StoreError> {
        todo!()
    }
}
