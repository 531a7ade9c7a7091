use std::time::Duration;

use super::*;
use crate::store::invites::{InviteKind, InviteState, NewInvite};
use crate::store::tests::{NOON, jid, open};

const DAY: Duration = Duration::from_secs(86_400);

fn new(name: &str) -> NewAccount {
    NewAccount {
        jid: jid(name),
        keys: Vec::new(),
        refuse_look_alikes: true,
        invite: None,
        welcome: None,
        approval: None,
    }
}

fn asked() -> Option<Asked> {
    Some(Asked {
        expires: NOON.plus(DAY),
        address: Some("192.0.2.1".parse().unwrap()),
        door: "in-band".into(),
        waiting_max: 2,
    })
}

#[tokio::test]
async fn names_that_look_alike_are_told_apart_by_host_and_wish() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    let create = async |new| store.registrations().create(new, NOON).await;
    create(new("paul@a")).await.unwrap();
    let refused = create(new("pau1@a")).await;
    assert!(matches!(refused, Err(StoreError::LooksLike(other)) if other == jid("paul@a")));
    assert!(matches!(create(new("paul@a")).await, Err(StoreError::AccountExists)));
    create(new("pau1@b")).await.unwrap();
    create(NewAccount { refuse_look_alikes: false, ..new("pau1@a") }).await.unwrap();
    // One that is gone keeps nobody out; one in the bin does.
    store.bin().put(&jid("pau1@b"), NOON, "", NOON).await.unwrap();
    assert!(matches!(create(new("paul@b")).await, Err(StoreError::LooksLike(_))));
    store.accounts().remove(&jid("pau1@b")).await.unwrap();
    create(new("paul@b")).await.unwrap();
}

#[tokio::test]
async fn accounts_from_before_have_skeletons_after_the_next_start() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    store.registrations().create(new("paul@a"), NOON).await.unwrap();
    let forget = |tx: &mut Tx<'_>| {
        tx.execute("UPDATE accounts SET skeleton = ''", [])?;
        Ok(tx.execute("DELETE FROM meta WHERE key = 'skeletons'", [])?)
    };
    store.write(forget).await.unwrap();
    assert!(store.registrations().create(new("pau1@a"), NOON).await.is_ok());
    store.accounts().remove(&jid("pau1@a")).await.unwrap();
    store.shutdown().await.unwrap();
    drop(store);
    let store = open(&dir);
    let refused = store.registrations().create(new("pau1@a"), NOON).await;
    assert!(matches!(refused, Err(StoreError::LooksLike(_))));
}

#[tokio::test]
async fn an_account_its_greeting_and_its_wait_come_together() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    let welcome = Welcome { subject: "Hello".into(), body: "two\nlines".into() };
    let anna = NewAccount { welcome: Some(welcome.clone()), approval: asked(), ..new("anna@a") };
    let (id, _) = store.registrations().create(anna, NOON).await.unwrap();
    let facts = store.facts(&jid("anna@a")).await.unwrap().unwrap();
    assert!(facts.locked && facts.waiting && facts.welcome);
    let waiting = store.registrations().waiting(Some("a"), None, 10).await.unwrap();
    let expected = Waiting {
        jid: jid("anna@a"),
        asked: NOON,
        expires: NOON.plus(DAY),
        address: Some("192.0.2.1".parse().unwrap()),
        door: "in-band".into(),
    };
    assert_eq!(waiting, [expected]);
    store.registrations().approve(&jid("anna@a")).await.unwrap();
    let facts = store.facts(&jid("anna@a")).await.unwrap().unwrap();
    assert!(!facts.locked && !facts.waiting && facts.welcome);
    let again = store.registrations().approve(&jid("anna@a")).await;
    assert!(matches!(again, Err(StoreError::NotFound)));
    assert_eq!(store.registrations().welcome(id).await.unwrap(), Some(welcome));
    store.registrations().welcomed(id).await.unwrap();
    assert_eq!(store.registrations().welcome(id).await.unwrap(), None);
    assert!(!store.facts(&jid("anna@a")).await.unwrap().unwrap().welcome);
}

#[tokio::test]
async fn those_who_wait_are_bounded_per_host_expire_and_may_be_unlocked() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    let ask = async |name: &str| {
        let account = NewAccount { approval: asked(), ..new(name) };
        store.registrations().create(account, NOON).await.map(drop)
    };
    ask("anna@a").await.unwrap();
    ask("bob@a").await.unwrap();
    assert!(matches!(ask("cy@a").await, Err(StoreError::TooMany { max: 2, .. })));
    assert!(store.accounts().find(&jid("cy@a")).await.unwrap().is_none());
    ask("cy@b").await.unwrap();
    store.accounts().set_lock(&jid("bob@a"), None).await.unwrap();
    ask("dan@a").await.unwrap();
    let overdue = async |now| store.registrations().overdue(now, 10).await.unwrap().len();
    assert_eq!(overdue(NOON).await, 0);
    assert_eq!(overdue(NOON.plus(DAY)).await, 3);
    store.accounts().remove(&jid("anna@a")).await.unwrap();
    assert_eq!(overdue(NOON.plus(DAY)).await, 2);
}

#[tokio::test]
async fn an_invitation_is_used_up_by_the_account_it_made_and_by_no_failure() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    let invitation = NewInvite {
        kind: InviteKind::Account,
        host: "a".to_owned(),
        inviter: None,
        name: Some("juliet".into()),
        registers: true,
        subscribes: false,
        groups: Vec::new(),
        note: String::new(),
        expires: NOON.plus(DAY),
        uses_max: 1,
    };
    let (invite, _) = store.invites().create(invitation, 10, NOON).await.unwrap();
    // The name is kept for whoever holds it.
    let stranger = store.registrations().create(new("juliet@a"), NOON).await;
    assert!(matches!(stranger, Err(StoreError::AccountExists)));
    store.registrations().create(new("ju1iet@a"), NOON).await.unwrap();
    let by = |refuse_look_alikes| NewAccount {
        invite: Some(invite.id),
        refuse_look_alikes,
        ..new("juliet@a")
    };
    let refused = store.registrations().create(by(true), NOON).await;
    assert!(matches!(refused, Err(StoreError::LooksLike(_))));
    let state = async || store.invites().get(invite.id).await.unwrap().unwrap().state(NOON);
    assert_eq!(state().await, InviteState::Open);
    // Expiry counted when the token was presented.
    let late = NOON.plus(DAY * 2);
    let (_, used) = store.registrations().create(by(false), late).await.unwrap();
    assert_eq!(used.unwrap().uses, 1);
    let again = NewAccount { invite: Some(invite.id), ..new("romeo@a") };
    assert!(matches!(store.registrations().create(again, NOON).await, Err(StoreError::NotFound)));
    assert!(store.accounts().find(&jid("romeo@a")).await.unwrap().is_none());
}
