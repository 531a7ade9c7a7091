//! Rosters from the operator's side, and what the clients hear of it.

use super::*;
use crate::admin::ops::testing;
use crate::testing::{Player, World};

const GET: &str = "<iq type='get' id='r'><query xmlns='jabber:iq:roster'/></iq>";

async fn client<'w>(world: &'w World, jid: &str) -> Player<'w> {
    let player = world.session(jid).await;
    player.send(GET).await;
    player.send("<presence/>").await;
    player.take();
    player
}

fn add(jid: &str, contact: &str, subscription: Sees) -> Add {
    let (jid, contact) = (jid.to_owned(), contact.to_owned());
    Add { jid, contact, subscription, ..Add::default() }
}

#[tokio::test]
async fn clients_hear_of_it_and_presence_follows() {
    let world = World::new();
    let ann = client(&world, "ann@localhost/a").await;
    let ben = client(&world, "ben@localhost/b").await;
    let cx = testing::live(&world);
    let mutual = Add {
        name: "Ben".to_owned(),
        groups: vec!["Work".to_owned()],
        mutual: true,
        ..add("ann@localhost", "ben@localhost", Sees::Both)
    };
    assert_eq!(mutual.run(&cx).await.unwrap().items, 2);
    let (on_ann, on_ben) = (ann.sent(), ben.sent());
    assert!(on_ann.iter().any(|s| s.contains("name='Ben'") && s.contains("'both'")), "{on_ann:?}");
    for (got, from) in [(&on_ann, "ben@localhost/b"), (&on_ben, "ann@localhost/a")] {
        let from = format!("from='{from}'");
        assert!(got.iter().any(|s| s.starts_with("<presence") && s.contains(&from)), "{got:?}");
    }
    let get = Get { jid: "ann@localhost".to_owned(), ..Get::default() };
    let shown = get.run(&cx).await.unwrap();
    assert_eq!((shown.count, shown.contacts[0].subscription), (1, Sees::Both));
    assert_eq!(shown.contacts[0].groups, ["Work"]);

    let remove = || Remove { jid: "ann@localhost".to_owned(), contact: "ben@localhost".to_owned() };
    remove().run(&cx).await.unwrap();
    let on_ann = ann.sent();
    assert!(on_ann.iter().any(|s| s.contains("subscription='remove'")), "{on_ann:?}");
    let on_ben = ben.sent();
    assert!(on_ben.iter().any(|s| s.contains("type='unavailable'")), "{on_ben:?}");
    let gone = remove().run(&cx).await.unwrap_err();
    assert_eq!(gone.text, "ben@localhost is not in the roster of ann@localhost");
}

#[tokio::test]
async fn lists_are_pushed_to_one_and_to_each_other() {
    let (_dir, cx) = testing::context().await;
    let wanted = |jid: &str| Wanted { jid: jid.to_owned(), ..Wanted::default() };
    let contacts = vec![wanted("ann@a.org"), wanted("bob@a.org"), wanted("ann@b.org")];
    let push = Push { contacts: contacts.clone(), ..Push::default() };
    assert_eq!(push.run(&cx).await.unwrap().items, 6);
    let everyone = Push {
        everyone_of: Some("a.org".to_owned()),
        group: Some("All".to_owned()),
        ..Push::default()
    };
    assert_eq!(everyone.run(&cx).await.unwrap().items, 2);
    let get = Get { jid: "bob@a.org".to_owned(), ..Get::default() };
    let shown = get.run(&cx).await.unwrap().contacts;
    assert_eq!(shown.len(), 2);
    assert_eq!((shown[0].name.as_str(), &shown[0].groups[..]), ("ann", &["All".to_owned()][..]));
    let unknown = Push { contacts: vec![wanted("nobody@a.org")], ..Push::default() };
    assert!(unknown.run(&cx).await.unwrap_err().text.contains("there is no account nobody@a.org"));
}

#[tokio::test]
async fn items_are_found_by_what_they_are_and_removed_only_when_told_so() {
    let (_dir, cx) = testing::context().await;
    for (owner, contact, sees) in [
        ("ann@a.org", "7@icq.example", Sees::None),
        ("ann@a.org", "bob@a.org", Sees::Both),
        ("bob@a.org", "8@icq.example", Sees::To),
        ("ann@b.org", "icq.example", Sees::None),
    ] {
        add(owner, contact, sees).run(&cx).await.unwrap();
    }
    let process = |users: &[&str], contacts: &[&str], subscriptions: &[Sees], delete| Process {
        users: users.iter().map(|text| (*text).to_owned()).collect(),
        contacts: contacts.iter().map(|text| (*text).to_owned()).collect(),
        subscriptions: subscriptions.to_vec(),
        pending: Vec::new(),
        delete,
    };
    let found = async |process: Process| {
        let found = process.run(&cx).await.unwrap().items;
        found.iter().map(|p| format!("{} {}", p.user, p.contact)).collect::<Vec<_>>()
    };
    assert_eq!(found(process(&[], &[], &[], false)).await.len(), 4);
    assert_eq!(
        found(process(&["*@a.org"], &["*icq*"], &[Sees::None, Sees::From], false)).await,
        ["ann@a.org 7@icq.example"]
    );
    assert_eq!(
        found(process(&["*"], &["[!a-z]@icq.example"], &[], true)).await,
        ["ann@a.org 7@icq.example", "bob@a.org 8@icq.example"]
    );
    assert_eq!(found(process(&[], &[], &[], false)).await.len(), 2);
    let bad = process(&["[a"], &[], &[], false).run(&cx).await.unwrap_err();
    assert_eq!(bad.text, "users: \"[a\" has a [ without its ]");
    assert_eq!(process(&[], &[], &[], false).class(), Class::Safe);
    assert_eq!(process(&[], &[], &[], true).class(), Class::Destructive);
}
