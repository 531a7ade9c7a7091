//! Abuse reports (XEP-0377), for operators to look at.

use super::{AccountId, Store, StoreError};
use crate::jid::Jid;
use crate::time::Now;

/// A new report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    pub at: Now,
    /// Who reports.
    pub reporter: AccountId,
    pub about: Jid,
    /// `urn:xmpp:reporting:spam`, `urn:xmpp:reporting:abuse`.
    pub reason: String,
    pub text: String,
    /// The evidence: ids as the client named them, with `by`.
    pub stanza_ids: Vec<(Jid, String)>,
}

/// A report in the queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filed {
    pub id: i64,
    pub report: Report,
    pub resolved: Option<Now>,
}

/// See [`Store::reports`].
pub struct Reports<'a>(pub(super) &'a Store);

impl Store {
    pub fn reports(&self) -> Reports<'_> {
        Reports(self)
    }
}

impl Reports<'_> {
    /// [`StoreError::TooMany`] once `open_max` reports of this account wait.
    pub async fn file(&self, report: Report, open_max: usize) -> Result<i64, StoreError> {
        todo!()
    }

    /// Newest first, below `before`.
    pub async fn list(
        &self,
        open_only: bool,
        before: Option<i64>,
        max: usize,
    ) -> Result<Vec<Filed>, StoreError> {
        todo!()
    }

    pub async fn resolve(&self, id: i64, now: Now) -> Result<(), StoreError> {
        todo!()
    }
}
