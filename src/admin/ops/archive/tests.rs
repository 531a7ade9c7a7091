use std::time::Duration;

use super::purge::{Abort, Purge, Start, Status, Whose};
use super::*;
use crate::admin::jobs::State;
use crate::admin::op::RefusalKind;
use crate::admin::ops::testing;
use crate::store::{MessageFlags, MessageRow};
use crate::testing::World;

/// `count` messages from ann to bob, a second apart, from three days ago on.
async fn talk(cx: &Context, domain: &str, count: u64) {
    let start = Now::read().minus(Duration::from_secs(3 * 86_400));
    let bare = |name: &str| BareJid::parse(&format!("{name}@{domain}")).unwrap();
    for n in 0..count {
        let id = cx.store().next_id(start.plus(Duration::from_secs(n)));
        let stanza = format!(
            "<message xmlns='jabber:client' from='ann@{domain}/a' to='bob@{domain}' type='chat'>\
             <body>number {n}</body></message>"
        );
        let flags = MessageFlags::ARCHIVED_FROM | MessageFlags::ARCHIVED_TO;
        let row = MessageRow::new(id, bare("ann"), bare("bob"), flags, stanza.into_bytes());
        cx.store().append(row).unwrap();
    }
    cx.store().settled().await.unwrap();
}

#[tokio::test]
async fn an_archive_is_counted_read_in_pages_and_forgotten() {
    let (_dir, cx) = testing::context().await;
    talk(&cx, "a.org", 60).await;
    let count = async |jid: &str| Count { jid: jid.into() }.run(&cx).await.unwrap().messages;
    assert_eq!((count("ann@a.org").await, count("a.org").await), (60, 120));
    assert_eq!(count("b.org").await, 0);
    let (mut bodies, mut after) = (Vec::new(), None);
    loop {
        let read = Read { jid: "bob@a.org".into(), after, max: 25, ..Read::default() };
        let page = read.run(&cx).await.unwrap();
        bodies.extend(page.messages.into_iter().filter_map(|message| message.body));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(bodies.len(), 60);
    assert_eq!(bodies[59], "number 59");
    let read = Read { jid: "bob@a.org".into(), since: Some("1d".into()), ..Read::default() };
    assert_eq!(read.run(&cx).await.unwrap().messages, []);
    let bad = Read { jid: "bob@a.org".into(), after: Some("x".into()), ..Read::default() };
    assert_eq!(bad.run(&cx).await.unwrap_err().kind, RefusalKind::Usage);

    let other = Forget { jid: "ann@a.org".into(), with: Some("ann@b.org".into()) };
    assert_eq!(other.run(&cx).await.unwrap().entries, 0);
    let forget = Forget { jid: "ann@a.org".into(), with: Some("bob@a.org".into()) };
    assert_eq!(forget.run(&cx).await.unwrap(), Forgotten { entries: 60, messages: 0 });
    let forget = Forget { jid: "bob@a.org".into(), with: None };
    assert_eq!(forget.run(&cx).await.unwrap(), Forgotten { entries: 60, messages: 60 });
}

#[tokio::test]
async fn a_purge_tells_first_and_does_what_it_told() {
    let (_dir, cx) = testing::context().await;
    talk(&cx, "a.org", 40).await;
    let purge = |whose, apply| Purge { host: "a.org".into(), whose, before: "2d".into(), apply };
    let told = purge(Whose::All, false).run(&cx).await.unwrap();
    assert_eq!((told.removed, told.entries, told.messages), (false, 80, 40));
    assert!(told.bytes.unwrap() > 1_000);
    assert_eq!(purge(Whose::Groupchat, true).run(&cx).await.unwrap().entries, 0);
    let done = purge(Whose::Chat, true).run(&cx).await.unwrap();
    assert_eq!((done.removed, done.entries, done.messages), (true, 80, 40));
    assert_eq!(purge(Whose::All, false).class(), Class::Safe);
    let unknown = Purge { host: "c.org".into(), ..purge(Whose::All, false) };
    assert!(unknown.run(&cx).await.unwrap_err().help.unwrap().contains("a.org, b.org"));
}

#[tokio::test]
async fn batches_go_on_in_the_background_and_can_be_stopped() {
    let world = World::new();
    let cx = testing::live(&world);
    world.account("ann@localhost").await;
    world.account("bob@localhost").await;
    talk(&cx, "localhost", 600).await;
    let start =
        |rate| Start { host: "localhost".into(), whose: Whose::All, before: "1d".into(), rate };
    let status = async || Status { host: "localhost".into() }.run(&cx).await.unwrap();
    assert_eq!(status().await.state, State::None);
    assert_eq!(start(0).run(&cx).await.unwrap_err().kind, RefusalKind::Usage);
    // One message a minute: it has time to be stopped.
    start(1).run(&cx).await.unwrap();
    assert_eq!(start(1).run(&cx).await.unwrap_err().kind, RefusalKind::Conflict);
    while status().await.removed == 0 {
        tokio::task::yield_now().await;
    }
    assert!(Abort { host: "localhost".into() }.run(&cx).await.unwrap().aborted);
    while status().await.state == State::Running {
        tokio::task::yield_now().await;
    }
    assert_eq!((status().await.state, status().await.removed), (State::Aborted, 256));
    start(u64::MAX).run(&cx).await.unwrap();
    while status().await.state == State::Running {
        tokio::task::yield_now().await;
    }
    assert_eq!((status().await.state, status().await.removed), (State::Done, 1_200 - 256));
    assert!(!Abort { host: "localhost".into() }.run(&cx).await.unwrap().aborted);
}
