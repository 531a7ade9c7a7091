//! Shared roster groups at work: whoever is online hears at once what a change to a group, a new
//! account or one that goes means for its roster, and sees and is seen from then on.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;

use super::{presence, route};
use crate::features::roster::shared::{self, Entry, Moment};
use crate::features::{Outbox, availability, blocking, roster};
use crate::jid::BareJid;
use crate::router::sessions::Flag;
use crate::router::{Router, Session};
use crate::store::StoreError;
use crate::store::groups::GroupError;
use crate::store::rosters::RosterItem;
use crate::time::Now;

/// Pushes that one change costs one session. What lies beyond it learns when it next asks for the
/// roster, whose version says that it is behind.
const PUSHES_MAX: usize = 1_000;

/// From more accounts on it is less work to ask who is online what has changed for it.
const ACCOUNTS_MAX: usize = 16;

/// Whom a change concerns.
pub enum Concerned {
    /// Only what these accounts and others are to each other.
    Accounts(Vec<BareJid>),
    /// Whoever has to do with a group that is not the same as before.
    Everyone,
}

/// Changes shared groups by `change`, and tells all whom it concerns.
///
/// # Errors
/// Those of `change`. Nobody has been told anything then.
pub async fn edit<T>(
    router: &Arc<Router>,
    now: Now,
    change: impl Future<Output = Result<T, GroupError>>,
    concerned: impl FnOnce(&T) -> Concerned,
) -> Result<T, GroupError> {
    let _turn = router.regrouping.lock().await;
    let before = router.store.groups().snapshot();
    let value = change.await?;
    let after = router.store.groups().snapshot();
    let teller = Teller::new(router, Moment::of(&before), Moment::of(&after));
    match concerned(&value) {
        Concerned::Accounts(accounts) if accounts.len() <= ACCOUNTS_MAX => {
            for (at, account) in accounts.iter().enumerate() {
                teller.tell_about(account, &accounts[..at]).await?;
            }
        }
        Concerned::Accounts(_) | Concerned::Everyone => teller.tell_everyone().await?,
    }
    route::drain(router, teller.out, now).await;
    Ok(value)
}

/// A new account is a member by `@all@` at once.
pub async fn joined(router: &Arc<Router>, account: &BareJid, now: Now) -> Result<(), StoreError> {
    if !router.store.groups().are_wide(account.domain()) {
        return Ok(());
    }
    let _turn = router.regrouping.lock().await;
    let groups = router.store.groups().snapshot();
    let before = Moment { without: Some(account), ..Moment::of(&groups) };
    let teller = Teller::new(router, before, Moment::of(&groups));
    teller.tell_about(account, &[]).await?;
    route::drain(router, teller.out, now).await;
    Ok(())
}

/// Removes an account whose sessions have ended: its subscriptions end, it leaves all groups, and
/// everything of it goes.
pub async fn remove_account(
    router: &Arc<Router>,
    account: &BareJid,
    now: Now,
) -> Result<(), StoreError> {
    presence::farewell(router, account, now).await?;
    if router.store.groups().is_empty() {
        return router.store.accounts().remove(account).await;
    }
    let _turn = router.regrouping.lock().await;
    let before = router.store.groups().snapshot();
    router.store.accounts().remove(account).await?;
    let after = router.store.groups().snapshot();
    let gone = Moment { without: Some(account), ..Moment::of(&after) };
    let teller = Teller::new(router, Moment::of(&before), gone);
    teller.tell_about(account, &[]).await?;
    route::drain(router, teller.out, now).await;
    Ok(())
}

/// The first resource of an account has become available, or the last has ceased to be: members by
/// `@online@` come and go. Their presence tells itself.
pub(super) async fn came_or_went(
    router: &Arc<Router>,
    account: &BareJid,
    came: bool,
) -> Result<(), StoreError> {
    if !router.store.groups().follow_presence() {
        return Ok(());
    }
    let available =
        router.sessions.of(account.as_str()).iter().filter(|s| s.is_available()).count();
    if available != usize::from(came) {
        return Ok(());
    }
    let _turn = router.regrouping.lock().await;
    let groups = router.store.groups().snapshot();
    let moment = |online| Moment { online: Some((account, online)), ..Moment::of(&groups) };
    let teller = Teller::new(router, moment(!came), moment(came));
    let teller = Teller { presence: false, ..teller };
    teller.tell_about(account, &[]).await
}

/// Tells those concerned of the difference between two moments.
struct Teller<'a> {
    router: &'a Arc<Router>,
    before: Moment<'a>,
    after: Moment<'a>,
    /// Does presence begin and end to be seen?
    presence: bool,
    out: Outbox,
}

impl<'a> Teller<'a> {
    fn new(router: &'a Arc<Router>, before: Moment<'a>, after: Moment<'a>) -> Teller<'a> {
        Teller { router, before, after, presence: true, out: Outbox::default() }
    }

    /// What one account and others are to each other has changed; to those `done`, that is told.
    async fn tell_about(&self, account: &BareJid, done: &[BareJid]) -> Result<(), StoreError> {
        for (contact, (was, is)) in self.contacts(account).await? {
            if done.contains(&contact) {
                continue;
            }
            self.tell_one(account, &contact, was, is).await?;
            if !self.router.sessions.of(contact.as_str()).is_empty() {
                let (was, is) = self.between(&contact, account);
                self.tell_one(&contact, account, was, is).await?;
            }
        }
        Ok(())
    }

    /// Groups have changed in ways that concern any number of accounts.
    async fn tell_everyone(&self) -> Result<(), StoreError> {
        let mut online: Vec<_> = self.router.sessions.all().iter().map(|s| s.jid.bare()).collect();
        online.sort_unstable();
        online.dedup();
        for owner in online {
            let (was, is) = (self.before.groups.view(&owner), self.after.groups.view(&owner));
            let same = match (&was, &is) {
                (None, None) => true,
                (Some(was), Some(is)) => was.says_as(is),
                _ => false,
            };
            if same {
                continue;
            }
            for (contact, (was, is)) in self.contacts(&owner).await? {
                self.tell_one(&owner, &contact, was, is).await?;
            }
            // Thousands may be concerned, and others want their turn.
            tokio::task::yield_now().await;
        }
        Ok(())
    }

    /// All contacts of whom groups said or say something.
    async fn contacts(
        &self,
        owner: &BareJid,
    ) -> Result<BTreeMap<BareJid, (Option<Entry>, Option<Entry>)>, StoreError> {
        let mut found: BTreeMap<_, (Option<Entry>, Option<Entry>)> = BTreeMap::new();
        if let Some(view) = self.before.view(owner) {
            for (contact, entry) in self.before.entries(self.router, &view).await? {
                found.entry(contact).or_default().0 = Some(entry);
            }
        }
        if let Some(view) = self.after.view(owner) {
            for (contact, entry) in self.after.entries(self.router, &view).await? {
                found.entry(contact).or_default().1 = Some(entry);
            }
        }
        Ok(found)
    }

    fn between(&self, owner: &BareJid, contact: &BareJid) -> (Option<Entry>, Option<Entry>) {
        let entry =
            |moment: &Moment<'_>| moment.entry(self.router, moment.view(owner).as_ref(), contact);
        (entry(&self.before), entry(&self.after))
    }

    /// Groups say something else of `contact` to `owner`: pushes to its clients, and its presence
    /// to the contact where that begins or ceases to see it.
    async fn tell_one(
        &self,
        owner: &BareJid,
        contact: &BareJid,
        was: Option<Entry>,
        is: Option<Entry>,
    ) -> Result<(), StoreError> {
        let sessions = self.router.sessions.of(owner.as_str());
        if was == is || sessions.is_empty() {
            return Ok(());
        }
        let Some(facts) = self.router.store.facts(owner).await? else { return Ok(()) };
        let change = shared::weight(contact, was.as_ref()) ^ shared::weight(contact, is.as_ref());
        let interested: Vec<&Arc<Session>> =
            sessions.iter().filter(|s| s.has(Flag::Interested)).collect();
        if !interested.is_empty() {
            let own = match facts.contact(contact.as_str()) {
                Some(_) => self.router.store.rosters().item(facts.id, contact).await?.item,
                None => None,
            };
            let item = shared::merged(contact, own, is.as_ref());
            interested.into_iter().for_each(|s| push(s, change, contact, item.as_ref()));
        }
        let own = facts.contact(contact.as_str());
        if !self.presence || own.is_some_and(|own| own.subscription.from()) {
            return Ok(());
        }
        let sees = |entry: Option<Entry>| entry.is_some_and(|entry| entry.subscription.from());
        let to = contact.clone().into();
        match (sees(was), sees(is)) {
            (false, true) if !blocking::is_blocked(&facts, &to) => {
                availability::tell_available(self.router, owner, &to, &self.out);
            }
            (true, false) => availability::tell_unavailable(self.router, owner, &to, &self.out),
            _ => {}
        }
        Ok(())
    }
}

/// A client that is far behind is not buried: it asks for the whole roster some day.
fn push(session: &Arc<Session>, change: u64, contact: &BareJid, item: Option<&RosterItem>) {
    if session.mailbox.len() >= PUSHES_MAX || session.mailbox.is_half_full() {
        return;
    }
    route::to_session(session, roster::push_to(session, None, change, contact, item));
}

#[cfg(test)]
mod tests;
