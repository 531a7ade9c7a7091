//! Shared roster groups as conversations.

use std::sync::Arc;

use super::*;
use crate::stanza::{Stanza, Type};
use crate::store::groups::{GroupName, Member, NewGroup};
use crate::testing::{Player, World};
use crate::xml::ns;

const GET: &str = "<iq type='get' id='r'><query xmlns='jabber:iq:roster'/></iq>";

fn jid(text: &str) -> BareJid {
    BareJid::parse(text).unwrap()
}

fn name(text: &str) -> GroupName {
    GroupName::parse(text, "localhost").unwrap()
}

async fn create(world: &World, group: &str, displayed: &[&str]) {
    let new = NewGroup {
        name: name(group),
        label: format!("The {group}"),
        description: String::new(),
        displayed: displayed.iter().map(|text| name(text)).collect(),
    };
    let store = &world.router.store;
    let change = async { store.groups().create(new, true).await };
    edit(&world.router, world.now(), change, |()| Concerned::Everyone).await.unwrap();
}

async fn change(world: &World, group: &str, members: &[&str], add: bool) {
    let members = members.iter().map(|text| match *text {
        "@all@" => Member::Everyone,
        "@online@" => Member::Online,
        text => Member::Account(jid(text)),
    });
    let (members, group) = (members.collect::<Vec<_>>(), name(group));
    let store = &world.router.store;
    let change = async { store.groups().change_members(&group, members, add).await };
    let concerned = |changed: &Vec<Member>| {
        let accounts = changed.iter().map(|member| match member {
            Member::Account(jid) => Some(jid.clone()),
            Member::Everyone | Member::Online => None,
        });
        match accounts.collect() {
            Some(accounts) => Concerned::Accounts(accounts),
            None => Concerned::Everyone,
        }
    };
    edit(&world.router, world.now(), change, concerned).await.unwrap();
}

fn items(stanza: &Stanza) -> Vec<String> {
    let Some(query) = stanza.child("query", ns::ROSTER) else { return Vec::new() };
    let items = query.element().unwrap();
    let items = items.children().map(|item| {
        let groups: Vec<String> = item.children().map(|group| group.text()).collect();
        let mut text = format!(
            "{} {}",
            item.get("jid").unwrap().split('@').next().unwrap(),
            item.get("subscription").unwrap()
        );
        if let Some(name) = item.get("name") {
            text += &format!(" «{name}»");
        }
        if item.get("ask").is_some() {
            text += " ask";
        }
        if !groups.is_empty() {
            text += &format!(" [{}]", groups.join(", "));
        }
        text
    });
    items.collect()
}

fn ver(stanza: &Stanza) -> Option<String> {
    let query = stanza.child("query", ns::ROSTER)?.element().unwrap();
    query.get("ver").map(str::to_owned)
}

/// What came, in short; pushes with their item.
fn seen(player: &Player<'_>) -> Vec<String> {
    let short = |stanza: &Arc<Stanza>| match stanza.head.typ {
        Some(Type::Set) => format!("push {}", items(stanza).join("; ")),
        Some(Type::Result) => format!("result {}", items(stanza).join("; ")),
        typ => {
            let from = stanza.head.from.as_ref().map_or("-", |from| from.as_str());
            format!("{} {from}", typ.map_or("available", Type::name))
        }
    };
    player.take().iter().map(short).collect()
}

async fn client<'w>(world: &'w World, jid: &str) -> Player<'w> {
    let player = world.session(jid).await;
    player.send(GET).await;
    player.send("<presence/>").await;
    player.take();
    player
}

async fn roster(player: &Player<'_>) -> Vec<String> {
    player.send(GET).await;
    player.take().last().map(|stanza| items(stanza)).unwrap()
}

#[tokio::test]
async fn members_who_join_see_each_other_at_once_and_those_who_leave_no_more() {
    let world = World::new();
    let ann = client(&world, "ann@localhost/a").await;
    let ben = client(&world, "ben@localhost/b").await;
    world.account("sue@localhost").await;
    create(&world, "staff", &["staff"]).await;
    change(&world, "staff", &["ann@localhost", "sue@localhost"], true).await;
    assert_eq!(seen(&ann), ["push sue both [The staff]"]);
    assert_eq!(seen(&ben), [] as [&str; 0]);

    change(&world, "staff", &["ben@localhost"], true).await;
    assert_eq!(seen(&ann), ["push ben both [The staff]", "available ben@localhost/b"]);
    assert_eq!(
        seen(&ben),
        ["push ann both [The staff]", "push sue both [The staff]", "available ann@localhost/a"]
    );
    ann.send("<presence><show>away</show></presence>").await;
    assert_eq!(seen(&ben), ["available ann@localhost/a"]);
    seen(&ann);

    let sue = client(&world, "sue@localhost/s").await;
    assert_eq!(seen(&ann), ["available sue@localhost/s"]);
    assert_eq!(roster(&sue).await, ["ann both [The staff]", "ben both [The staff]"]);
    sue.leaves().await;
    assert_eq!(seen(&ann), ["unavailable sue@localhost/s"]);
    seen(&ben);

    change(&world, "staff", &["ben@localhost"], false).await;
    assert_eq!(seen(&ann), ["push ben remove", "unavailable ben@localhost/b"]);
    assert_eq!(seen(&ben), ["push ann remove", "push sue remove", "unavailable ann@localhost/a"]);
    ann.send("<presence/>").await;
    assert_eq!(seen(&ben), [] as [&str; 0]);
}

#[tokio::test]
async fn initial_presence_meets_the_members() {
    let world = World::new();
    create(&world, "staff", &["staff"]).await;
    for account in ["ann@localhost", "ben@localhost"] {
        world.account(account).await;
    }
    change(&world, "staff", &["ann@localhost", "ben@localhost"], true).await;
    let ann = client(&world, "ann@localhost/a").await;
    let ben = world.session("ben@localhost/b").await;
    ben.send("<presence/>").await;
    assert_eq!(seen(&ben), ["available ben@localhost/b", "available ann@localhost/a"]);
    assert_eq!(seen(&ann), ["available ben@localhost/b"]);
    // Blocked members neither see nor are seen.
    ann.send("<iq type='set' id='x'><block xmlns='urn:xmpp:blocking'><item jid='ben@localhost'/></block></iq>").await;
    assert_eq!(seen(&ben), ["unavailable ann@localhost/a"]);
    seen(&ann);
    ann.send("<presence/>").await;
    ben.send("<presence/>").await;
    assert_eq!(seen(&ann), ["available ann@localhost/a"]);
    assert_eq!(seen(&ben), ["available ben@localhost/b"]);
}

#[tokio::test]
async fn one_side_alone_may_see_the_other() {
    let world = World::new();
    let boss = client(&world, "boss@localhost/b").await;
    let ann = client(&world, "ann@localhost/a").await;
    create(&world, "staff", &[]).await;
    create(&world, "board", &["staff"]).await;
    change(&world, "staff", &["ann@localhost"], true).await;
    change(&world, "board", &["boss@localhost"], true).await;
    assert_eq!(seen(&boss), ["push ann to [The staff]", "available ann@localhost/a"]);
    assert_eq!(seen(&ann), ["push boss from"]);
    boss.send("<presence/>").await;
    assert_eq!(seen(&ann), [] as [&str; 0]);
    // Both ways by set_displayed; then neither.
    create(&world, "staff", &["board"]).await;
    assert_eq!(seen(&ann), ["push boss both [The board]", "available boss@localhost/b"]);
    assert_eq!(seen(&boss), ["available boss@localhost/b", "push ann both [The staff]"]);
    let store = &world.router.store;
    let gone = async { store.groups().delete(&name("board")).await };
    edit(&world.router, world.now(), gone, |()| Concerned::Everyone).await.unwrap();
    assert_eq!(seen(&ann), ["push boss remove", "unavailable boss@localhost/b"]);
    assert_eq!(seen(&boss), ["push ann remove", "unavailable ann@localhost/a"]);
}

#[tokio::test]
async fn new_accounts_join_everybody_and_removed_ones_leave() {
    let world = World::new();
    let ann = client(&world, "ann@localhost/a").await;
    create(&world, "all", &["all"]).await;
    change(&world, "all", &["@all@"], true).await;
    assert_eq!(seen(&ann), [] as [&str; 0]);
    world.account("ben@localhost").await;
    joined(&world.router, &jid("ben@localhost"), world.now()).await.unwrap();
    assert_eq!(seen(&ann), ["push ben both [The all]"]);
    let ben = client(&world, "ben@localhost/b").await;
    assert_eq!(seen(&ann), ["available ben@localhost/b"]);
    assert_eq!(roster(&ben).await, ["ann both [The all]"]);
    ben.leaves().await;
    seen(&ann);
    remove_account(&world.router, &jid("ben@localhost"), world.now()).await.unwrap();
    assert_eq!(seen(&ann), ["push ben remove"]);
    assert_eq!(roster(&ann).await, [] as [&str; 0]);
}

#[tokio::test]
async fn who_is_online_comes_and_goes() {
    let world = World::new();
    let ann = client(&world, "ann@localhost/a").await;
    create(&world, "here", &["here"]).await;
    change(&world, "here", &["@online@"], true).await;
    let ben = client(&world, "ben@localhost/b").await;
    assert_eq!(seen(&ann), ["push ben both [The here]", "available ben@localhost/b"]);
    assert_eq!(roster(&ben).await, ["ann both [The here]"]);
    ben.leaves().await;
    assert_eq!(seen(&ann), ["unavailable ben@localhost/b", "push ben remove"]);
    assert_eq!(roster(&ann).await, [] as [&str; 0]);
}

#[tokio::test]
async fn what_the_owner_wrote_is_merged_and_outlives_the_group() {
    let world = World::new();
    let ann = client(&world, "ann@localhost/a").await;
    world.account("ben@localhost").await;
    create(&world, "staff", &["staff"]).await;
    change(&world, "staff", &["ann@localhost", "ben@localhost"], true).await;
    seen(&ann);
    let set = |item: &str| {
        format!("<iq type='set' id='s'><query xmlns='jabber:iq:roster'>{item}</query></iq>")
    };
    ann.send(&set("<item jid='ben@localhost' name='Benny'><group>The staff</group><group>Chess</group></item>"))
        .await;
    assert_eq!(seen(&ann), ["push ben both «Benny» [Chess, The staff]", "result "]);
    // The group's contact cannot be removed, what the owner wrote of it can.
    ann.send(&set("<item jid='ben@localhost' subscription='remove'/>")).await;
    assert_eq!(seen(&ann), ["push ben both [The staff]", "result "]);
    ann.send(&set("<item jid='ben@localhost' subscription='remove'/>")).await;
    assert_eq!(seen(&ann), ["error -"]);
    // A set that says what the group says anyway leaves nothing behind.
    ann.send(&set("<item jid='ben@localhost'><group>The staff</group></item>")).await;
    assert_eq!(seen(&ann), ["push ben both [The staff]", "result "]);
    ann.send(&set("<item jid='ben@localhost' name='Benny'/>")).await;
    seen(&ann);
    change(&world, "staff", &["ben@localhost"], false).await;
    assert_eq!(seen(&ann), ["push ben none «Benny»"]);
}

#[tokio::test]
async fn subscriptions_between_members_are_the_groups_to_decide() {
    let world = World::new();
    let ann = client(&world, "ann@localhost/a").await;
    let ben = client(&world, "ben@localhost/b").await;
    create(&world, "staff", &["staff"]).await;
    change(&world, "staff", &["ann@localhost", "ben@localhost"], true).await;
    seen(&ann);
    seen(&ben);
    ann.send("<presence to='ben@localhost' type='subscribe'/>").await;
    assert_eq!(seen(&ann), ["subscribed ben@localhost"]);
    for typ in ["unsubscribe", "unsubscribed", "subscribed"] {
        ann.send(&format!("<presence to='ben@localhost' type='{typ}'/>")).await;
        assert_eq!(seen(&ann), ["push ben both [The staff]"], "{typ}");
        assert_eq!(seen(&ben), [] as [&str; 0], "{typ}");
    }
    change(&world, "staff", &["ben@localhost"], false).await;
    assert_eq!(seen(&ann)[0], "push ben remove");
    assert_eq!(roster(&ben).await, [] as [&str; 0]);
}

#[tokio::test]
async fn versions_tell_what_a_client_knows() {
    let world = World::new();
    for account in ["ann@localhost", "ben@localhost", "sue@localhost"] {
        world.account(account).await;
    }
    create(&world, "staff", &["staff"]).await;
    change(&world, "staff", &["ann@localhost", "ben@localhost"], true).await;
    let ask = |ver: &str| {
        format!("<iq type='get' id='r'><query xmlns='jabber:iq:roster' ver='{ver}'/></iq>")
    };
    let ann = world.session("ann@localhost/a").await;
    ann.send(&ask("")).await;
    let first = ver(&ann.take()[0]).unwrap();
    assert!(first.contains('-'), "{first}");
    ann.send(&ask(&first)).await;
    assert_eq!(seen(&ann), ["result "]);
    // A push for the group, then one for her own item: each version stands for what came so far.
    change(&world, "staff", &["sue@localhost"], true).await;
    let pushes = ann.take();
    assert_eq!(pushes.len(), 1);
    let second = ver(&pushes[0]).unwrap();
    let rename = "<iq type='set' id='s'><query xmlns='jabber:iq:roster'><item jid='sue@localhost' name='S'/></query></iq>";
    ann.send(rename).await;
    let third = ver(&ann.take()[0]).unwrap();
    assert!(first != second && second != third);
    let later = world.session("ann@localhost/b").await;
    later.send(&ask(&third)).await;
    assert_eq!(seen(&later), ["result "]);
    later.send(&ask(&second)).await;
    assert_eq!(seen(&later), ["result ", "push sue both «S» [The staff]"]);
    later.send(&ask(&first)).await;
    assert_eq!(seen(&later), ["result ben both [The staff]; sue both «S» [The staff]"]);
    // Back to what it was: the first version fits again but for her own item.
    change(&world, "staff", &["sue@localhost"], false).await;
    seen(&later);
    later.send(&ask(&first)).await;
    assert_eq!(seen(&later), ["result ", "push sue none «S»"]);
}

/// Nobody is cut off by a group of 2,000, and each hears what concerns it.
#[tokio::test]
async fn a_large_group_stays_bounded() {
    let world = World::new();
    let mut members = Vec::new();
    for n in 0..2_000 {
        let account = format!("u{n}@localhost");
        world.account(&account).await;
        members.push(account);
    }
    let mut online = Vec::new();
    for n in 0..20 {
        online.push(client(&world, &format!("u{n}@localhost/x")).await);
    }
    create(&world, "big", &["big"]).await;
    change(&world, "big", &members.iter().map(String::as_str).collect::<Vec<_>>(), true).await;
    for player in &online {
        let got = player.take();
        assert!(got.len() <= 2 * PUSHES_MAX, "{}", got.len());
        assert!(!player.session.has(Flag::Ended));
    }
    let new = client(&world, "new@localhost/x").await;
    change(&world, "big", &["new@localhost"], true).await;
    for player in &online {
        assert_eq!(seen(player), ["push new both [The big]", "available new@localhost/x"]);
    }
    new.send("<presence/>").await;
    new.take();
    assert_eq!(roster(&new).await.len(), 2_000);
}
