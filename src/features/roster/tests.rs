//! RFC 6121 §2 as conversations.

use super::*;
use crate::testing::{Player, World};

const GET: &str = "<iq type='get' id='g'><query xmlns='jabber:iq:roster'/></iq>";

fn set(item: &str) -> String {
    format!("<iq type='set' id='s'><query xmlns='jabber:iq:roster'>{item}</query></iq>")
}

/// The items of what was sent last, as the client reads them.
async fn items(player: &Player<'_>) -> Vec<String> {
    let answer = player.ask(GET).await;
    let iq = Element::parse(answer.as_bytes(), ns::CLIENT).unwrap();
    let query = iq.child("query", ns::ROSTER).expect("a roster");
    query.children().map(|item| item.to_xml(ns::ROSTER)).collect()
}

async fn condition(player: &Player<'_>, xml: &str) -> String {
    let answer = player.ask(xml).await;
    let iq = Element::parse(answer.as_bytes(), ns::CLIENT).unwrap();
    let error = iq.child("error", ns::CLIENT).unwrap_or_else(|| panic!("{answer}"));
    error.children().next().unwrap().name().to_owned()
}

/// The version a push or a result carries.
fn version(xml: &str) -> String {
    let iq = Element::parse(xml.as_bytes(), ns::CLIENT).unwrap();
    iq.child("query", ns::ROSTER).unwrap().get("ver").unwrap().to_owned()
}

#[tokio::test]
async fn an_item_is_added_changed_and_removed_before_all_interested() {
    let world = World::new();
    let phone = world.session("alice@localhost/phone").await;
    let desk = world.session("alice@localhost/desk").await;
    let mute = world.session("alice@localhost/mute").await;
    assert_eq!(items(&phone).await, [] as [&str; 0]);
    assert_eq!(items(&desk).await, [] as [&str; 0]);

    phone.send(&set("<item jid='bob@localhost' name='Bob'><group>Friends</group></item>")).await;
    let (on_phone, on_desk) = (phone.sent(), desk.sent());
    assert_eq!(on_phone.len(), 2, "a push and the result: {on_phone:?}");
    let item = "<item jid='bob@localhost' subscription='none' name='Bob'>\
                <group>Friends</group></item>";
    for push in [&on_phone[0], &on_desk[0]] {
        assert!(push.contains("type='set'") && push.contains(item), "{push}");
    }
    assert!(on_phone[1].contains("type='result'") && on_phone[1].contains("id='s'"));
    assert!(mute.sent().is_empty(), "it did not ask for the roster");

    phone.send(&set("<item jid='bob@localhost'/>")).await;
    assert_eq!(items(&phone).await, ["<item jid='bob@localhost' subscription='none'/>"]);

    desk.sent();
    phone.send(&set("<item jid='bob@localhost' subscription='remove'/>")).await;
    let push = desk.sent().pop().unwrap();
    assert!(push.contains("<item jid='bob@localhost' subscription='remove'/>"), "{push}");
    assert_eq!(items(&phone).await, [] as [&str; 0]);
}

#[tokio::test]
async fn a_known_version_brings_only_what_changed() {
    let world = World::new();
    let phone = world.session("alice@localhost/phone").await;
    let with_version = |ver: &str| {
        format!("<iq type='get' id='v'><query xmlns='jabber:iq:roster' ver='{ver}'/></iq>")
    };
    phone.send(&set("<item jid='bob@localhost'/>")).await;
    phone.sent();
    let whole = phone.ask(&with_version("")).await;
    assert!(whole.contains("bob@localhost"), "{whole}");
    let known = version(&whole);

    phone.send(&with_version(&known)).await;
    let same = phone.sent();
    assert_eq!(same.len(), 1);
    assert!(!same[0].contains("<query"), "an empty result means nothing has changed: {same:?}");

    phone.send(&set("<item jid='carol@localhost'/>")).await;
    phone.send(&set("<item jid='bob@localhost' subscription='remove'/>")).await;
    let last = version(&phone.sent()[2]);

    let desk = world.session("alice@localhost/desk").await;
    desk.send(&with_version(&known)).await;
    let news = desk.sent();
    assert_eq!(news.len(), 3, "{news:?}");
    assert!(news[0].contains("type='result'") && !news[0].contains("<query"), "{news:?}");
    assert!(news[1].contains("<item jid='carol@localhost'"), "{news:?}");
    assert!(news[2].contains("subscription='remove'"), "{news:?}");
    assert_eq!(version(&news[2]), last);

    let odd = desk.ask(&with_version("never-ours")).await;
    assert!(odd.contains("carol@localhost"), "an unknown version brings the whole roster: {odd}");
}

#[tokio::test]
async fn removing_a_contact_ends_both_subscriptions() {
    let world = World::new();
    let alice = world.online("alice@localhost/a").await;
    let bob = world.online("bob@localhost/b").await;
    for (one, other) in [(&alice, &bob), (&bob, &alice)] {
        let (from, to) = (one.session.jid.bare(), other.session.jid.bare());
        one.send(&format!("<presence to='{to}' type='subscribe'/>")).await;
        other.send(&format!("<presence to='{from}' type='subscribed'/>")).await;
    }
    assert_eq!(items(&bob).await, ["<item jid='alice@localhost' subscription='both'/>"]);
    alice.sent();
    alice.send(&set("<item jid='bob@localhost' subscription='remove'/>")).await;
    let got = bob.sent();
    let types: Vec<bool> = ["'unavailable'", "'unsubscribe'", "'unsubscribed'"]
        .iter()
        .map(|typ| got.iter().any(|xml| xml.contains(&format!("type={typ}"))))
        .collect();
    assert_eq!(types, [true; 3], "{got:?}");
    assert_eq!(items(&bob).await, ["<item jid='alice@localhost' subscription='none'/>"]);
    let got = alice.sent();
    assert!(got.iter().any(|xml| xml.contains("type='unavailable'") && xml.contains("bob@")));
}

#[tokio::test]
async fn faulty_items_are_refused() {
    let world = World::new();
    let alice = world.session("alice@localhost/a").await;
    let long = "x".repeat(NAME_BYTES_MAX + 1);
    let groups: String = (0..=GROUPS_MAX).map(|n| format!("<group>{n}</group>")).collect();
    for (item, expected) in [
        ("", "bad-request"),
        ("<item jid='a@b'/><item jid='c@d'/>", "bad-request"),
        ("<item/>", "bad-request"),
        ("<thing jid='a@b'/>", "bad-request"),
        ("<item jid='@b'/>", "jid-malformed"),
        ("<item jid='a@b'><group>x</group><group>x</group></item>", "bad-request"),
        ("<item jid='a@b'><group/></item>", "not-acceptable"),
        (&format!("<item jid='a@b'><group>{long}</group></item>"), "not-acceptable"),
        (&format!("<item jid='a@b' name='{long}'/>"), "not-acceptable"),
        (&format!("<item jid='a@b'>{groups}</item>"), "not-acceptable"),
        ("<item jid='a@b' subscription='remove'/>", "item-not-found"),
        ("<item jid='alice@localhost'/>", "not-allowed"),
    ] {
        assert_eq!(condition(&alice, &set(item)).await, expected, "{item}");
    }
    assert_eq!(items(&alice).await, [] as [&str; 0]);
}

#[tokio::test]
async fn a_client_cannot_make_itself_subscribed() {
    let world = World::new();
    let alice = world.session("alice@localhost/a").await;
    let item = "<item jid='bob@localhost/x' subscription='both' ask='subscribe' approved='true'/>";
    alice.send(&set(item)).await;
    assert_eq!(items(&alice).await, ["<item jid='bob@localhost' subscription='none'/>"]);
}

#[tokio::test]
async fn a_roster_is_its_owners_alone() {
    let world = World::new();
    let far = world.domain("far.example");
    let alice = world.session("alice@localhost/a").await;
    let mallory = world.session("mallory@localhost/m").await;
    items(&alice).await;
    let to_alice = |xml: String| xml.replace("<iq ", "<iq to='alice@localhost' ");
    assert_eq!(condition(&mallory, &to_alice(GET.to_owned())).await, "forbidden");
    let push = set("<item jid='mallory@localhost' subscription='both'/>");
    assert_eq!(condition(&mallory, &to_alice(push.clone())).await, "forbidden");
    let spoofed = push.replace("<iq ", "<iq to='alice@localhost/a' ");
    assert_eq!(condition(&mallory, &spoofed).await, "forbidden");
    assert!(alice.sent().is_empty(), "a push comes from the server alone");
    world.arrives(&to_alice(push).replace("<iq ", "<iq from='m@far.example/1' ")).await;
    let refused = crate::testing::drained(&far.mailbox);
    assert_eq!(refused.len(), 1);
    assert!(crate::testing::wire(&refused[0]).contains("service-unavailable"));
    assert_eq!(items(&alice).await, [] as [&str; 0]);
}

#[tokio::test]
async fn a_full_roster_takes_no_more() {
    let world = World::configured("[hosts.\"localhost\"]\nroster_items_max = 2\n");
    let alice = world.session("alice@localhost/a").await;
    for name in ["b", "c", "b"] {
        alice.send(&set(&format!("<item jid='{name}@localhost'/>"))).await;
    }
    assert_eq!(condition(&alice, &set("<item jid='d@localhost'/>")).await, "policy-violation");
    alice.send("<presence to='e@localhost' type='subscribe'/>").await;
    assert!(alice.sent().pop().unwrap().contains("policy-violation"));
    assert_eq!(items(&alice).await.len(), 2);
}
