use super::*;
use crate::admin::op::RefusalKind;
use crate::admin::ops::account::{Add, List};
use crate::admin::ops::testing;
use crate::config::value::Secret;

fn remove(jid: &str, purge: bool) -> Remove {
    Remove { jid: jid.to_owned(), purge }
}

#[tokio::test]
async fn a_removed_account_is_listed_restored_and_purged() {
    let (_dir, cx) = testing::context().await;
    let jid = || "ann@a.org".to_owned();
    remove("ann@a.org", false).run(&cx).await.unwrap();
    let again = remove("ann@a.org", false).run(&cx).await.unwrap_err();
    assert_eq!(again.kind, RefusalKind::NotFound);
    let listed = Bin::default().run(&cx).await.unwrap();
    assert_eq!(listed.accounts.len(), 1);
    let ann = &listed.accounts[0];
    assert_eq!((ann.jid.as_str(), ann.by.as_str()), ("ann@a.org", "an operator"));
    assert!(ann.until > ann.removed);
    let there = List { host: "a.org".into(), ..List::default() }.run(&cx).await.unwrap();
    assert_eq!(there.accounts.len(), 1);
    // The name is kept, and the refusal says what can be done.
    let add = Add { jid: jid(), password: Secret::new("pencil"), force: true };
    let taken = add.run(&cx).await.unwrap_err();
    assert_eq!(taken.kind, RefusalKind::Conflict);
    assert!(taken.help.unwrap().contains("coucou account restore ann@a.org"));

    Restore { jid: jid() }.run(&cx).await.unwrap();
    let twice = Restore { jid: jid() }.run(&cx).await.unwrap_err();
    assert_eq!(twice.kind, RefusalKind::NotFound);
    let alive = Purge { jid: jid() }.run(&cx).await.unwrap_err();
    assert_eq!(alive.kind, RefusalKind::NotFound);
    remove("ann@a.org", false).run(&cx).await.unwrap();
    Purge { jid: jid() }.run(&cx).await.unwrap();
    remove("bob@a.org", true).run(&cx).await.unwrap();
    assert!(Bin::default().run(&cx).await.unwrap().accounts.is_empty());
    let add = Add { jid: jid(), password: Secret::new("pencil"), force: false };
    add.run(&cx).await.unwrap();
}

#[tokio::test]
async fn the_bin_is_shown_by_host_and_in_pages() {
    let (_dir, cx) = testing::context().await;
    for jid in ["ann@a.org", "bob@a.org", "ann@b.org"] {
        remove(jid, false).run(&cx).await.unwrap();
    }
    let (mut all, mut after) = (Vec::new(), None);
    loop {
        let page = Bin { max: 1, after, ..Bin::default() }.run(&cx).await.unwrap();
        all.extend(page.accounts.into_iter().map(|account| account.jid));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(all, ["ann@a.org", "ann@b.org", "bob@a.org"]);
    let one = Bin { host: "b.org".into(), ..Bin::default() }.run(&cx).await.unwrap();
    assert_eq!(one.accounts.len(), 1);
    let none = Bin { host: "c.org".into(), ..Bin::default() }.run(&cx).await;
    assert_eq!(none.unwrap_err().kind, RefusalKind::NotFound);
}

#[tokio::test]
async fn policy_binds_operators_until_they_force_it() {
    let (_dir, cx) = testing::context().await;
    let add = async |jid: &str, force| {
        let add = Add { jid: jid.to_owned(), password: Secret::new("pencil"), force };
        add.run(&cx).await
    };
    for (jid, kind, why) in [
        ("postmaster@a.org", RefusalKind::Denied, "reserved_names"),
        ("b0b@a.org", RefusalKind::Conflict, "looks like bob@a.org (look_alikes)"),
    ] {
        let refused = add(jid, false).await.unwrap_err();
        assert_eq!(refused.kind, kind, "{refused}");
        assert!(refused.text.contains(why), "{refused}");
        assert!(refused.help.unwrap().contains("--force"));
        add(jid, true).await.unwrap();
    }
}
