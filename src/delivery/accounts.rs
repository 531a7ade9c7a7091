//! Accounts that come and go, with what is sent because of it.

use std::sync::Arc;
use std::time::Duration;

use super::{groups, route};
use crate::features::Outbox;
use crate::features::register::{self, Made, New, NotMade};
use crate::jid::BareJid;
use crate::router::Router;
use crate::store::{Facts, StoreError};
use crate::time::Now;

/// How long the erasure of an account waits for its sessions to end.
const SESSIONS_END_MAX: Duration = Duration::from_secs(3);
/// Accounts that one round erases; the next one comes right after it.
const ROUND: usize = 64;

/// Makes an account, if the policy lets it be. See [`register::create`].
///
/// # Errors
/// Why there is no account.
pub async fn create(router: &Arc<Router>, new: New, now: Now) -> Result<Made, NotMade> {
    let out = Outbox::default();
    let made = register::create(router, new, &out, now).await;
    route::drain(router, out, now).await;
    if let Ok(Made { jid, .. }) = &made
        && let Err(error) = groups::joined(router, jid, now).await
    {
        tracing::error!(%jid, %error, "members of its groups are not told of a new account");
    }
    made
}

/// Greets an account on its first sign-in. The greeting is kept until it has gone the way of a
/// message: a crash in between repeats it, and never loses it.
pub async fn greet(router: &Arc<Router>, facts: &Facts, now: Now) -> Result<(), StoreError> {
    let registrations = router.store.registrations();
    if let Some(welcome) = registrations.welcome(facts.id).await? {
        let out = Outbox::default();
        out.push(register::greeting(&facts.jid, welcome));
        route::drain(router, out, now).await;
    }
    registrations.welcomed(facts.id).await
}

/// Erases an account that lies in the bin: its contacts are told that it is gone.
///
/// # Errors
/// [`StoreError::NotFound`] if it does not lie there.
pub async fn purge(router: &Arc<Router>, jid: &BareJid, now: Now) -> Result<(), StoreError> {
    router.store.bin().find(jid).await?.ok_or(StoreError::NotFound)?;
    erase(router, jid, now).await
}

/// Erases an account, whether it lies in the bin or not, once its sessions have ended; nobody
/// signs in to it any more.
pub async fn erase(router: &Arc<Router>, jid: &BareJid, now: Now) -> Result<(), StoreError> {
    let gone = async {
        while !router.sessions.of(jid.as_str()).is_empty() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    if tokio::time::timeout(SESSIONS_END_MAX, gone).await.is_err() {
        tracing::warn!(%jid, "sessions of a removed account are slow to end");
    }
    groups::remove_account(router, jid, now).await
}

/// Brings an account back from the bin.
///
/// # Errors
/// [`StoreError::NotFound`] if it does not lie there.
pub async fn restore(router: &Arc<Router>, jid: &BareJid, now: Now) -> Result<(), StoreError> {
    router.store.bin().restore(jid).await?;
    groups::joined(router, jid, now).await
}

/// Erases what has lain in the bin for long enough, and accounts that nobody has approved of in
/// time; tells how many.
pub async fn tidy(router: &Arc<Router>, now: Now) -> Result<usize, StoreError> {
    let mut erased = 0;
    loop {
        let mut due = router.store.bin().due(now, ROUND).await?;
        due.extend(router.store.registrations().overdue(now, ROUND).await?);
        for jid in &due {
            erase(router, jid, now).await?;
            tracing::info!(%jid, "account erased");
        }
        erased += due.len();
        if due.is_empty() {
            return Ok(erased);
        }
    }
}
