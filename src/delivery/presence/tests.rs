//! RFC 6121 §3 and §4 as conversations.

use std::sync::Arc;

use super::*;
use crate::stanza::Kind;
use crate::testing::{Player, World, drained};
use crate::xml::ns;

/// Stanzas in short: `available alice@localhost/a`, `push bob@localhost none ask`, `error forbidden`.
fn short(stanza: &Arc<Stanza>) -> String {
    if let Some(query) = stanza.child("query", ns::ROSTER) {
        let query = query.element().unwrap();
        let item = query.children().next().expect("a push has an item");
        let flags = ["subscription", "ask", "approved"].into_iter();
        let flags = flags.filter_map(|name| match (name, item.get(name)?) {
            ("subscription", value) => Some(value.to_owned()),
            ("ask", _) => Some("ask".to_owned()),
            (name, _) => Some(name.to_owned()),
        });
        let flags: Vec<String> = flags.collect();
        return format!("push {} {}", item.get("jid").unwrap(), flags.join(" "));
    }
    if stanza.head.typ == Some(Type::Error) {
        let error = stanza.child("error", ns::CLIENT).unwrap().element().unwrap();
        let condition = error.children().next().unwrap().name().to_owned();
        return format!("error {condition}");
    }
    let typ = match (stanza.head.kind, stanza.head.typ) {
        (Kind::Presence, None) => "available".to_owned(),
        (_, Some(typ)) => typ.name().to_owned(),
        (kind, None) => format!("{kind:?}"),
    };
    format!("{typ} {}", stanza.head.from.as_ref().map_or("-", Jid::as_str))
}

fn seen(player: &Player<'_>) -> Vec<String> {
    player.take().iter().map(short).collect()
}

/// A session that has asked for the roster and sent initial presence.
async fn client<'w>(world: &'w World, jid: &str) -> Player<'w> {
    let player = world.session(jid).await;
    player.send("<iq type='get' id='r'><query xmlns='jabber:iq:roster'/></iq>").await;
    player.send("<presence/>").await;
    player.take();
    player
}

/// Both see each other's presence.
async fn befriend(one: &Player<'_>, other: &Player<'_>) {
    for (from, to) in [(one, other), (other, one)] {
        from.send(&format!("<presence to='{}' type='subscribe'/>", to.session.jid.bare_str()))
            .await;
        to.send(&format!("<presence to='{}' type='subscribed'/>", from.session.jid.bare_str()))
            .await;
    }
    one.take();
    other.take();
}

#[tokio::test]
async fn two_users_come_to_see_each_other() {
    let world = World::new();
    let alice = client(&world, "alice@localhost/a").await;
    let bob = client(&world, "bob@localhost/b").await;

    alice.send("<presence to='bob@localhost' type='subscribe'/>").await;
    assert_eq!(seen(&alice), ["push bob@localhost none ask"]);
    assert_eq!(seen(&bob), ["subscribe alice@localhost"]);

    bob.send("<presence to='alice@localhost/a' type='subscribed'/>").await;
    assert_eq!(seen(&bob), ["push alice@localhost from"]);
    assert_eq!(
        seen(&alice),
        ["subscribed bob@localhost", "push bob@localhost to", "available bob@localhost/b"]
    );

    bob.send("<presence to='alice@localhost' type='subscribe'/>").await;
    assert_eq!(seen(&bob), ["push alice@localhost from ask"]);
    assert_eq!(seen(&alice), ["subscribe bob@localhost"]);

    alice.send("<presence to='bob@localhost' type='subscribed'/>").await;
    assert_eq!(seen(&alice), ["push bob@localhost both"]);
    assert_eq!(
        seen(&bob),
        ["subscribed alice@localhost", "push alice@localhost both", "available alice@localhost/a"]
    );

    alice.send("<presence><show>away</show></presence>").await;
    assert_eq!(seen(&alice), ["available alice@localhost/a"]);
    let got = bob.sent();
    assert_eq!(got.len(), 1);
    assert!(got[0].contains("<show>away</show>"), "{got:?}");
}

#[tokio::test]
async fn a_request_is_refused() {
    let world = World::new();
    let alice = client(&world, "alice@localhost/a").await;
    let bob = client(&world, "bob@localhost/b").await;
    alice.send("<presence to='bob@localhost' type='subscribe'/>").await;
    alice.take();
    bob.take();
    bob.send("<presence to='alice@localhost' type='unsubscribed'/>").await;
    assert_eq!(seen(&bob), [] as [&str; 0], "alice is not in bob's roster");
    assert_eq!(seen(&alice), ["unsubscribed bob@localhost", "push bob@localhost none"]);
}

#[tokio::test]
async fn a_subscription_is_taken_back() {
    let world = World::new();
    let alice = client(&world, "alice@localhost/a").await;
    let bob = client(&world, "bob@localhost/b").await;
    befriend(&alice, &bob).await;
    bob.send("<presence to='alice@localhost' type='unsubscribed'/>").await;
    assert_eq!(seen(&bob), ["push alice@localhost to"]);
    assert_eq!(
        seen(&alice),
        ["unavailable bob@localhost/b", "unsubscribed bob@localhost", "push bob@localhost from"]
    );
    bob.send("<presence><show>dnd</show></presence>").await;
    assert_eq!(seen(&alice), [] as [&str; 0]);
}

#[tokio::test]
async fn a_user_unsubscribes() {
    let world = World::new();
    let alice = client(&world, "alice@localhost/a").await;
    let bob = client(&world, "bob@localhost/b").await;
    befriend(&alice, &bob).await;
    alice.send("<presence to='bob@localhost' type='unsubscribe'/>").await;
    assert_eq!(seen(&alice), ["push bob@localhost from", "unavailable bob@localhost/b"]);
    assert_eq!(seen(&bob), ["unsubscribe alice@localhost", "push alice@localhost to"]);
}

#[tokio::test]
async fn a_request_waits_and_is_shown_until_it_is_answered() {
    let world = World::new();
    world.account("bob@localhost").await;
    let alice = client(&world, "alice@localhost/a").await;
    for _ in 0..3 {
        alice
            .send(
                "<presence to='bob@localhost' type='subscribe'><status>It's me</status></presence>",
            )
            .await;
    }
    for _ in 0..2 {
        let bob = world.session("bob@localhost/b").await;
        bob.send("<presence/>").await;
        let got = bob.sent();
        assert_eq!(got.len(), 2, "own presence and one request: {got:?}");
        assert!(got[1].contains("type='subscribe'"), "{got:?}");
        assert!(got[1].contains("<status>It's me</status>"), "{got:?}");
        bob.leaves().await;
    }
    let bob = client(&world, "bob@localhost/b").await;
    bob.send("<presence to='alice@localhost' type='subscribed'/>").await;
    bob.leaves().await;
    let bob = world.session("bob@localhost/b").await;
    bob.send("<presence/>").await;
    assert_eq!(seen(&bob), ["available bob@localhost/b"]);
}

#[tokio::test]
async fn a_pre_approved_request_is_answered_by_the_server() {
    let world = World::new();
    let alice = client(&world, "alice@localhost/a").await;
    let bob = client(&world, "bob@localhost/b").await;
    bob.send("<presence to='alice@localhost' type='subscribed'/>").await;
    assert_eq!(seen(&bob), ["push alice@localhost none approved"]);
    assert_eq!(seen(&alice), [] as [&str; 0]);

    alice.send("<presence to='bob@localhost' type='subscribe'/>").await;
    assert_eq!(seen(&bob), ["push alice@localhost from"], "no request to answer");
    assert_eq!(
        seen(&alice),
        [
            "push bob@localhost none ask",
            "subscribed bob@localhost",
            "push bob@localhost to",
            "available bob@localhost/b"
        ]
    );
}

#[tokio::test]
async fn requests_of_strangers_are_bounded() {
    let world = World::new();
    world.account("bob@localhost").await;
    world.domain("spam.example");
    let mut senders = tokio::task::JoinSet::new();
    for number in 0..1_050 {
        let router = Arc::clone(&world.router);
        let now = world.now();
        senders.spawn(async move {
            let xml = format!(
                "<presence from='{number}@spam.example' to='bob@localhost' type='subscribe'/>"
            );
            let out = Outbox::default();
            out.push(Stanza::parse(xml.as_bytes()).unwrap());
            route::drain(&router, out, now).await;
        });
    }
    senders.join_all().await;
    let bob = world.session("bob@localhost/b").await;
    bob.send("<presence/>").await;
    assert_eq!(bob.take().len(), 1 + 1_000);
}

#[tokio::test]
async fn a_removed_account_leaves_no_subscription_behind() {
    let world = World::new();
    let bob = client(&world, "bob@localhost/b").await;
    let carol = client(&world, "carol@localhost/c").await;
    let alice = client(&world, "alice@localhost/a").await;
    befriend(&alice, &bob).await;
    carol.send("<presence to='alice@localhost' type='subscribe'/>").await;
    carol.take();
    alice.leaves().await;
    bob.take();
    farewell(&world.router, &alice.session.jid.bare(), world.now()).await.unwrap();
    assert_eq!(
        seen(&bob),
        [
            "unsubscribe alice@localhost",
            "push alice@localhost to",
            "unsubscribed alice@localhost",
            "push alice@localhost none"
        ]
    );
    assert_eq!(seen(&carol), ["unsubscribed alice@localhost", "push alice@localhost none"]);
}

#[tokio::test]
async fn a_guest_is_forgotten_when_its_session_ends() {
    let world = World::configured("[hosts.\"localhost\"]\nauth = \"anonymous\"\n");
    let guest = client(&world, "guest-1@localhost/a").await;
    for _ in 0..2 {
        crate::stream::lifecycle::end(&world.router, &guest.session).await;
        let facts = world.router.store.facts(&guest.session.jid.bare()).await.unwrap();
        assert!(facts.is_none());
    }
}

#[tokio::test]
async fn nobody_subscribes_to_himself() {
    let world = World::new();
    let alice = client(&world, "alice@localhost/a").await;
    alice.send("<presence to='alice@localhost' type='subscribe'/>").await;
    assert_eq!(seen(&alice), ["error not-allowed"]);
}

#[tokio::test]
async fn an_account_that_does_not_exist_is_silent_and_has_no_presence() {
    let world = World::new();
    let alice = client(&world, "alice@localhost/a").await;
    alice.send("<presence to='nobody@localhost' type='subscribe'/>").await;
    alice.send("<presence to='nobody@localhost'/>").await;
    assert_eq!(seen(&alice), ["push nobody@localhost none ask"]);
    let far = world.domain("far.example");
    world.arrives("<presence from='x@far.example/1' to='nobody@localhost' type='probe'/>").await;
    let got: Vec<String> = drained(&far.mailbox).iter().map(short).collect();
    assert_eq!(got, ["unsubscribed nobody@localhost"]);
}

#[tokio::test]
async fn initial_presence_is_exchanged_with_contacts_and_own_resources() {
    let world = World::new();
    let alice = client(&world, "alice@localhost/a").await;
    let bob = client(&world, "bob@localhost/b").await;
    befriend(&alice, &bob).await;

    let desk = world.session("alice@localhost/desk").await;
    desk.send("<presence/>").await;
    assert_eq!(
        seen(&desk),
        [
            "available alice@localhost/desk",
            "available alice@localhost/a",
            "available bob@localhost/b"
        ]
    );
    assert_eq!(seen(&alice), ["available alice@localhost/desk"]);
    assert_eq!(seen(&bob), ["available alice@localhost/desk"]);

    desk.send("<presence><priority>-1</priority></presence>").await;
    assert_eq!(seen(&desk), ["available alice@localhost/desk"], "an update is no arrival");
    assert_eq!(desk.session.priority(), -1);
}

#[tokio::test]
async fn unavailable_presence_reaches_all_who_saw_the_session() {
    let world = World::new();
    let room = world.domain("rooms.example");
    let alice = client(&world, "alice@localhost/a").await;
    let bob = client(&world, "bob@localhost/b").await;
    befriend(&alice, &bob).await;
    alice.send("<presence to='tea@rooms.example/alice'/>").await;
    alice.send("<presence type='unavailable'><status>bye</status></presence>").await;
    let got = bob.sent();
    assert!(got.len() == 1 && got[0].contains("<status>bye</status>"), "{got:?}");
    let got: Vec<String> = drained(&room.mailbox).iter().map(short).collect();
    assert_eq!(got, ["available alice@localhost/a", "unavailable alice@localhost/a"]);
    assert_eq!(seen(&alice), ["unavailable alice@localhost/a"], "§4.5.2");

    alice.send("<presence type='unavailable'/>").await;
    assert_eq!(seen(&alice), [] as [&str; 0], "gone is gone");
    alice.leaves().await;
    assert_eq!(seen(&bob), [] as [&str; 0], "gone is gone");
    let account = world.router.store.accounts().find(&alice.session.jid.bare()).await.unwrap();
    assert_eq!(account.unwrap().last_seen.unwrap().status, "bye");
}

#[tokio::test]
async fn a_session_that_ends_without_a_word_is_unavailable() {
    let world = World::new();
    let room = world.domain("rooms.example");
    let alice = client(&world, "alice@localhost/a").await;
    let bob = client(&world, "bob@localhost/b").await;
    befriend(&alice, &bob).await;
    alice.send("<presence to='tea@rooms.example/alice'/>").await;
    drained(&room.mailbox);
    alice.leaves().await;
    alice.leaves().await;
    assert_eq!(seen(&bob), ["unavailable alice@localhost/a"]);
    let got: Vec<String> = drained(&room.mailbox).iter().map(short).collect();
    assert_eq!(got, ["unavailable alice@localhost/a"]);
}

#[tokio::test]
async fn a_session_that_was_never_available_owes_only_what_it_directed() {
    let world = World::new();
    let bob = client(&world, "bob@localhost/b").await;
    let alice = client(&world, "alice@localhost/a").await;
    befriend(&alice, &bob).await;
    let ghost = world.session("alice@localhost/ghost").await;
    ghost.send("<presence to='bob@localhost'/>").await;
    ghost.leaves().await;
    assert_eq!(
        seen(&bob),
        ["available alice@localhost/ghost", "unavailable alice@localhost/ghost"]
    );
    assert_eq!(seen(&alice), [] as [&str; 0]);
}

#[tokio::test]
async fn directed_presence_gets_no_updates_and_may_be_taken_back() {
    let world = World::new();
    let alice = client(&world, "alice@localhost/a").await;
    let bob = client(&world, "bob@localhost/b").await;
    alice.send("<presence to='bob@localhost/b'/>").await;
    alice.send("<presence><show>away</show></presence>").await;
    assert_eq!(seen(&bob), ["available alice@localhost/a"]);
    alice.send("<presence to='bob@localhost/b' type='unavailable'/>").await;
    assert_eq!(seen(&bob), ["unavailable alice@localhost/a"]);
    alice.leaves().await;
    assert_eq!(seen(&bob), [] as [&str; 0]);
}

#[tokio::test]
async fn directed_presence_is_bounded() {
    let world = World::new();
    world.domain("rooms.example");
    let alice = client(&world, "alice@localhost/a").await;
    for number in 0..DIRECTED_MAX {
        alice.send(&format!("<presence to='{number}@rooms.example/a'/>")).await;
    }
    assert_eq!(seen(&alice), [] as [&str; 0]);
    alice.send("<presence to='more@rooms.example/a'/>").await;
    assert_eq!(seen(&alice), ["error policy-violation"]);
    alice.send("<presence to='1@rooms.example/a'/>").await;
    assert_eq!(seen(&alice), [] as [&str; 0], "known ones still hear");
}

#[tokio::test]
async fn remote_contacts_are_probed_and_told() {
    let world = World::new();
    let far = world.domain("far.example");
    let alice = client(&world, "alice@localhost/a").await;
    alice.send("<presence to='x@far.example' type='subscribe'/>").await;
    world.arrives("<presence from='x@far.example' to='alice@localhost' type='subscribed'/>").await;
    world.arrives("<presence from='x@far.example' to='alice@localhost' type='subscribe'/>").await;
    alice.send("<presence to='x@far.example' type='subscribed'/>").await;
    drained(&far.mailbox);

    let desk = world.session("alice@localhost/desk").await;
    desk.send("<presence/>").await;
    let got: Vec<String> = drained(&far.mailbox).iter().map(short).collect();
    assert_eq!(got, ["available alice@localhost/desk", "probe alice@localhost/desk"]);
    world.arrives("<presence from='x@far.example/1' to='alice@localhost/desk'/>").await;
    assert_eq!(seen(&desk).last().unwrap(), "available x@far.example/1");
}

#[tokio::test]
async fn probes_are_answered_by_right() {
    let world = World::new();
    let far = world.domain("far.example");
    let answers = || -> Vec<String> { drained(&far.mailbox).iter().map(short).collect() };
    let probe = "<presence from='x@far.example/1' to='alice@localhost' type='probe'/>";
    let alice = client(&world, "alice@localhost/a").await;

    world.arrives(probe).await;
    assert_eq!(answers(), ["unsubscribed alice@localhost"]);

    world.arrives("<presence from='x@far.example' to='alice@localhost' type='subscribe'/>").await;
    alice.send("<presence to='x@far.example' type='subscribed'/>").await;
    answers();
    world.arrives(probe).await;
    assert_eq!(answers(), ["available alice@localhost/a"]);

    alice.send("<presence type='unavailable'/>").await;
    answers();
    world.arrives(probe).await;
    assert_eq!(answers(), ["unavailable alice@localhost"]);
}

#[tokio::test]
async fn a_stranger_who_was_shown_presence_may_probe_it() {
    let world = World::new();
    let far = world.domain("far.example");
    let alice = client(&world, "alice@localhost/a").await;
    alice.send("<presence to='x@far.example/1'/>").await;
    drained(&far.mailbox);
    world.arrives("<presence from='x@far.example/1' to='alice@localhost/a' type='probe'/>").await;
    let got: Vec<String> = drained(&far.mailbox).iter().map(short).collect();
    assert_eq!(got, ["available alice@localhost/a"]);
}

#[tokio::test]
async fn a_lost_subscription_is_noticed_when_a_contact_comes_online() {
    let world = World::new();
    let alice = client(&world, "alice@localhost/a").await;
    let bob = client(&world, "bob@localhost/b").await;
    befriend(&alice, &bob).await;
    // Bob's side forgets, as after a restored backup.
    let (account, contact) = (bob.session.account, alice.session.jid.bare());
    let limits = crate::store::rosters::RosterLimits { items_max: 10, requests_max: 10 };
    let rosters = world.router.store.rosters();
    rosters
        .edit(account, &contact, limits, world.now(), |entry| *entry = Default::default())
        .await
        .unwrap();

    let desk = world.session("alice@localhost/desk").await;
    desk.send("<presence/>").await;
    assert!(!seen(&desk).contains(&"available bob@localhost/b".to_owned()));
    assert_eq!(
        seen(&alice),
        ["available alice@localhost/desk", "unsubscribed bob@localhost", "push bob@localhost from"]
    );
}

#[tokio::test]
async fn the_blocked_see_nothing_and_are_not_seen() {
    let world = World::new();
    let alice = client(&world, "alice@localhost/a").await;
    let bob = client(&world, "bob@localhost/b").await;
    befriend(&alice, &bob).await;
    alice
        .send(
            "<iq type='set' id='b'><block xmlns='urn:xmpp:blocking'>\
             <item jid='bob@localhost'/></block></iq>",
        )
        .await;
    alice.take();
    assert_eq!(seen(&bob), ["unavailable alice@localhost/a"]);

    alice.send("<presence><show>away</show></presence>").await;
    assert_eq!(seen(&bob), [] as [&str; 0]);
    bob.send("<presence><show>away</show></presence>").await;
    bob.send("<presence to='alice@localhost'/>").await;
    bob.send("<presence to='alice@localhost' type='subscribe'/>").await;
    bob.send("<presence to='alice@localhost' type='probe'/>").await;
    assert_eq!(seen(&alice), ["available alice@localhost/a"]);
    bob.take();
    alice.send("<presence to='bob@localhost'/>").await;
    assert_eq!(seen(&alice), ["error not-acceptable"]);

    let desk = world.session("alice@localhost/desk").await;
    desk.send("<presence/>").await;
    assert_eq!(seen(&desk), ["available alice@localhost/desk", "available alice@localhost/a"]);
    assert_eq!(seen(&bob), [] as [&str; 0]);
}

#[tokio::test]
async fn errors_are_delivered_and_beget_nothing() {
    let world = World::new();
    let far = world.domain("far.example");
    let alice = client(&world, "alice@localhost/a").await;
    alice.send("<presence to='tea@far.example/alice'/>").await;
    drained(&far.mailbox);
    world
        .arrives(
            "<presence from='tea@far.example/alice' to='alice@localhost/a' type='error'>\
             <error type='cancel'><conflict xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>\
             </presence>",
        )
        .await;
    assert_eq!(seen(&alice), ["error conflict"]);
    world
        .arrives("<presence from='x@far.example/1' to='alice@localhost/gone' type='error'/>")
        .await;
    world.arrives("<presence from='x@far.example/1' to='nobody@localhost' type='error'/>").await;
    alice.leaves().await;
    assert!(drained(&far.mailbox).is_empty(), "who refused is not told that it ends");
}

#[tokio::test]
async fn presence_without_an_address_is_for_all_or_for_nobody() {
    let world = World::new();
    let alice = client(&world, "alice@localhost/a").await;
    for typ in ["subscribe", "subscribed", "unsubscribe", "unsubscribed", "probe"] {
        alice.send(&format!("<presence type='{typ}'/>")).await;
        assert_eq!(seen(&alice), ["error bad-request"], "{typ}");
    }
}
