use serde_json::json;

use super::devices::{Devices, SignOut};
use super::last::{Last, SetLast};
use super::locked::{ListLocked, Lock as LockDetails};
use super::purge::RemoveUnused;
use super::show::{Count, Exists, Names, Show};
use super::*;
use crate::admin::ops::testing;
use crate::store::devices::Agent;

fn op<O: Operation>(arguments: serde_json::Value) -> O {
    serde_json::from_value(arguments).unwrap()
}

#[tokio::test]
async fn an_account_is_shown_with_what_it_keeps() {
    let (_dir, cx) = testing::context().await;
    let shown = op::<Show>(json!({"jid": "Ann@a.org"})).run(&cx).await.unwrap();
    assert_eq!((shown.jid.as_str(), shown.sessions, shown.devices), ("ann@a.org", None, 0));
    assert_eq!(shown.created, "2026-11-23T12:00:00.000Z");
    assert_eq!(shown.storage, super::show::Storage::default());
    let unknown = op::<Show>(json!({"jid": "anne@a.org"})).run(&cx).await.unwrap_err();
    assert_eq!(unknown.help.as_deref(), Some("did you mean ann@a.org?"));
    let unknown = op::<Show>(json!({"jid": "zacharias@a.org"})).run(&cx).await.unwrap_err();
    assert_eq!(unknown.help.as_deref(), Some("`coucou account list` shows them all"));
}

#[tokio::test]
async fn existence_is_told_without_a_refusal() {
    let (_dir, cx) = testing::context().await;
    let exists = async |jid: &str| op::<Exists>(json!({ "jid": jid })).run(&cx).await;
    assert!(exists("ann@b.org").await.unwrap().exists);
    assert!(!exists("bob@b.org").await.unwrap().exists);
    assert_eq!(exists("bob@c.org").await.unwrap_err().kind, RefusalKind::NotFound);
}

#[tokio::test]
async fn names_come_in_pages_over_all_hosts() {
    let (_dir, cx) = testing::context().await;
    let (mut all, mut after) = (Vec::new(), None);
    loop {
        let names = Names { max: 1, after, ..Names::default() }.run(&cx).await.unwrap();
        assert!(names.jids.len() <= 1);
        all.extend(names.jids);
        after = names.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(all, ["ann@a.org", "bob@a.org", "ann@b.org"]);
    let whole = Names { whole: true, prefix: "a".into(), ..Names::default() };
    assert_eq!(whole.run(&cx).await.unwrap().jids, ["ann@a.org", "ann@b.org"]);
}

#[tokio::test]
async fn locks_are_listed_and_counted_with_their_reason() {
    let (_dir, cx) = testing::context().await;
    Lock { jid: "bob@a.org".into(), reason: "spam".into() }.run(&cx).await.unwrap();
    let list = ListLocked::default().run(&cx).await.unwrap();
    assert_eq!(list.accounts.len(), 1);
    assert_eq!(
        (list.accounts[0].jid.as_str(), list.accounts[0].reason.as_str()),
        ("bob@a.org", "spam")
    );
    let elsewhere = ListLocked { host: "b.org".into(), ..ListLocked::default() };
    assert!(elsewhere.run(&cx).await.unwrap().accounts.is_empty());
    let count = Count { host: "a.org".into(), days: None }.run(&cx).await.unwrap();
    assert_eq!((count.accounts, count.locked, count.active), (2, 1, None));
    let details = op::<LockDetails>(json!({"jid": "bob@a.org"})).run(&cx).await.unwrap();
    assert_eq!(details.locked.unwrap().reason, "spam");
    let details = op::<LockDetails>(json!({"jid": "ann@a.org"})).run(&cx).await.unwrap();
    assert_eq!(details.locked, None);
}

#[tokio::test]
async fn the_last_visit_is_told_and_set() {
    let (_dir, cx) = testing::context().await;
    let last = async |jid: &str| op::<Last>(json!({ "jid": jid })).run(&cx).await.unwrap();
    assert_eq!(last("ann@a.org").await.at, None);
    let set = json!({"jid": "ann@a.org", "at": "2026-01-02", "status": "Good night"});
    op::<SetLast>(set).run(&cx).await.unwrap();
    let told = last("ann@a.org").await;
    assert_eq!(told.at.as_deref(), Some("2026-01-02T00:00:00.000Z"));
    assert_eq!((told.status.as_str(), told.online), ("Good night", false));
    for (at, why) in [("soon", "is no moment"), ("9999-01-01", "is yet to come")] {
        let set = json!({"jid": "ann@a.org", "at": at});
        let refusal = op::<SetLast>(set).run(&cx).await.unwrap_err();
        assert!(refusal.text.contains(why), "{refusal}");
    }
}

#[tokio::test]
async fn unused_accounts_go_only_when_told_to() {
    let (_dir, cx) = testing::context().await;
    for (jid, at) in [("ann@a.org", "400d"), ("bob@a.org", "10d"), ("ann@b.org", "400d")] {
        op::<SetLast>(json!({"jid": jid, "at": at})).run(&cx).await.unwrap();
    }
    let preview = json!({"host": "a.org", "days": 365});
    let told = op::<RemoveUnused>(preview.clone()).run(&cx).await.unwrap();
    assert_eq!((told.removed, told.jids), (false, vec!["ann@a.org".to_owned()]));
    assert_eq!(Count::default().run(&cx).await.unwrap().accounts, 3);
    let one = json!({"days": 1, "max": 1});
    let told = op::<RemoveUnused>(one).run(&cx).await.unwrap();
    assert_eq!((told.jids.len(), told.more), (1, true));
    let apply = json!({"host": "a.org", "days": 365, "apply": true});
    let done = op::<RemoveUnused>(apply).run(&cx).await.unwrap();
    assert_eq!((done.removed, done.jids.len()), (true, 1));
    let left = Names { whole: true, ..Names::default() }.run(&cx).await.unwrap().jids;
    assert_eq!(left, ["bob@a.org", "ann@b.org"]);
    let all = op::<RemoveUnused>(json!({"days": 0})).run(&cx).await.unwrap_err();
    assert_eq!(all.kind, RefusalKind::Usage);
}

#[tokio::test]
async fn devices_are_listed_and_signed_out() {
    let (_dir, cx) = testing::context().await;
    let id = existing(&cx, &BareJid::parse("ann@a.org").unwrap()).await.unwrap().id;
    for (n, password) in [(1, true), (2, false)] {
        let agent = Agent { id: [n; 16], software: Some("Client".into()), name: None };
        cx.store().devices().seen(id, agent, password, Now::read(), 20).await.unwrap();
    }
    let list = async || op::<Devices>(json!({"jid": "ann@a.org"})).run(&cx).await.unwrap();
    let devices = list().await;
    assert_eq!(devices.len(), 2);
    let unknown = json!({"jid": "ann@a.org", "device": 99});
    let refusal = op::<SignOut>(unknown).run(&cx).await.unwrap_err();
    assert_eq!(refusal.kind, RefusalKind::NotFound);
    let done = op::<SignOut>(json!({"jid": "ann@a.org"})).run(&cx).await.unwrap();
    assert_eq!((done.devices, done.sessions_ended, done.password_known), (2, 0, true));
    // Who knows the password stays in the list, as its owner's client shows it.
    assert_eq!(list().await.iter().map(|d| d.knows_password).collect::<Vec<_>>(), [true]);
}
