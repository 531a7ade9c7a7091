//! Who did what to the server, and from where. Append only.

use super::{Store, StoreError};
use crate::time::Now;

/// One act.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Act {
    pub at: Now,
    /// `cli:uid=0`, `jid:admin@example.org`, `api:key-name`.
    pub who: String,
    /// The door and its peer: `socket`, `http 192.0.2.1`.
    pub from: String,
    /// The operation: `account.lock`.
    pub what: String,
    /// What it was done to.
    pub target: String,
    /// Arguments and outcome, as JSON, without secrets.
    pub detail: String,
}

/// Which acts to list; empty strings match all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuditQuery {
    pub who: String,
    /// A prefix: `account.` finds all operations on accounts.
    pub what: String,
    pub target: String,
    pub since: Option<Now>,
    /// For paging: only acts below this id.
    pub before: Option<i64>,
    pub max: usize,
}

/// See [`Store::audit`].
pub struct Audit<'a>(pub(super) &'a Store);

impl Store {
    pub fn audit(&self) -> Audit<'_> {
        Audit(self)
    }
}

impl Audit<'_> {
    pub async fn append(&self, act: Act) -> Result<i64, StoreError> {
        todo!()
    }

    /// Newest first, with their ids.
    pub async fn list(&self, query: AuditQuery) -> Result<Vec<(i64, Act)>, StoreError> {
        todo!()
    }
}
