use super::*;
use crate::testing::World;
use crate::xml::element::Element;

fn parse(xml: &str) -> Stanza {
    Stanza::parse(xml.as_bytes()).expect("a stanza")
}

fn text(stanza: &Stanza) -> String {
    let mut out = Vec::new();
    stanza.write(&mut out);
    String::from_utf8(out).expect("UTF-8")
}

fn romeo() -> BareJid {
    BareJid::parse("romeo@montague.example").expect("a bare JID")
}

const INSIDE: &str = "<body>Neither, fair saint, if either thee dislike.</body>\
     <thread>0e3141cd80894871a68e6fe6b1ec56fa</thread>";

#[test]
fn other_sessions_get_what_one_sent() {
    let message = parse(&format!(
        "<message from='romeo@montague.example/home' to='juliet@capulet.example/balcony' type='chat'>{INSIDE}</message>"
    ));
    let garden = Jid::parse("romeo@montague.example/garden").expect("a JID");
    let copy = text(&sent(&message, &romeo()).to(&garden));
    let inner = Element::parse(copy.as_bytes(), ns::CLIENT).expect("XML");
    assert_eq!(inner.get("from"), Some("romeo@montague.example"));
    assert_eq!(inner.get("to"), Some("romeo@montague.example/garden"));
    assert_eq!(inner.get("type"), Some("chat"));
    let forwarded =
        inner.child("sent", ns::CARBONS).and_then(|sent| sent.child("forwarded", ns::FORWARD));
    let original = forwarded
        .and_then(|f| f.child("message", ns::CLIENT))
        .expect("the original, in its own namespace");
    assert_eq!(original.get("to"), Some("juliet@capulet.example/balcony"));
    assert_eq!(
        original.child_text("thread", ns::CLIENT).as_deref(),
        Some("0e3141cd80894871a68e6fe6b1ec56fa")
    );
}

#[test]
fn instant_messages_are_copied() {
    for xml in [
        "<message type='chat'/>",
        "<message><body>x</body></message>",
        "<message type='normal'><received xmlns='urn:xmpp:receipts' id='1'/></message>",
        "<message><displayed xmlns='urn:xmpp:chat-markers:0' id='1'/></message>",
        "<message><composing xmlns='http://jabber.org/protocol/chatstates'/></message>",
        "<message><x xmlns='jabber:x:conference' jid='room@muc'/></message>",
        "<message from='r@muc'><x xmlns='http://jabber.org/protocol/muc#user'><invite from='a@b'/></x></message>",
    ] {
        assert!(eligible(&parse(xml), Direction::Sent), "{xml}");
        assert!(eligible(&parse(xml), Direction::Received), "{xml}");
    }
}

#[test]
fn what_is_private_public_or_no_conversation_is_not() {
    for xml in [
        &format!(
            "<message type='chat'>{INSIDE}<private xmlns='urn:xmpp:carbons:2'/><no-copy xmlns='urn:xmpp:hints'/></message>"
        ),
        "<message type='chat'><body>x</body><private xmlns='urn:xmpp:carbons:2'/></message>",
        "<message type='chat'><body>x</body><no-copy xmlns='urn:xmpp:hints'/></message>",
        "<message type='groupchat'><body>x</body></message>",
        "<message><event xmlns='http://jabber.org/protocol/pubsub#event'/></message>",
        "<presence/>",
    ] {
        assert!(!eligible(&parse(xml), Direction::Sent), "{xml}");
        assert!(!eligible(&parse(xml), Direction::Received), "{xml}");
    }
}

#[test]
fn private_messages_of_a_room_are_copied_on_the_way_out_only() {
    let pm = parse(
        "<message type='chat' from='r@muc/n'><body>x</body><x xmlns='http://jabber.org/protocol/muc#user'/></message>",
    );
    assert!(eligible(&pm, Direction::Sent));
    assert!(!eligible(&pm, Direction::Received));
}

#[test]
fn bounces_from_an_account_are_copied_those_from_a_session_are_not() {
    let bounce = |from: &str| {
        parse(&format!(
            "<message type='error' from='{from}'><body>x</body><error type='cancel'/></message>"
        ))
    };
    assert!(eligible(&bounce("juliet@capulet.example"), Direction::Received));
    assert!(!eligible(&bounce("juliet@capulet.example/balcony"), Direction::Received));
    assert!(!eligible(&bounce("juliet@capulet.example"), Direction::Sent));
}

#[test]
fn tybalt_s_carbon_loses_what_made_it_one() {
    let mut forged = parse(
        "<message from='tybalt@capulet.example/home' to='romeo@montague.example' type='chat'>\
         <received xmlns='urn:xmpp:carbons:2'><forwarded xmlns='urn:xmpp:forward:0'>\
         <message xmlns='jabber:client' from='juliet@capulet.example/balcony' type='chat'>\
         <body>Thou shall meet me tonite, at our house's hall!</body></message></forwarded></received></message>",
    );
    strip_forged(&mut forged);
    assert!(forged.payload().is_empty());
}

const ENABLE: &str = "<iq type='set' id='enable1'><enable xmlns='urn:xmpp:carbons:2'/></iq>";
const DISABLE: &str = "<iq type='set' id='disable1'><disable xmlns='urn:xmpp:carbons:2'/></iq>";

#[tokio::test]
async fn asking_twice_is_no_error_and_disabling_ends_it() {
    let world = World::new();
    let home = world.online("romeo@localhost/home").await;
    let garden = world.online("romeo@localhost/garden").await;
    world.account("juliet@localhost").await;
    let empty = |answer: &str| answer.contains("type='result'") && answer.ends_with("/>");
    for _ in 0..2 {
        assert!(empty(&garden.ask(ENABLE).await));
    }
    let message = "<message type='chat' to='juliet@localhost/x'><body>hi</body></message>";
    home.send(message).await;
    assert_eq!(garden.take().len(), 1);
    for _ in 0..2 {
        assert!(empty(&garden.ask(DISABLE).await));
    }
    home.send(message).await;
    assert!(garden.take().is_empty());
}

#[tokio::test]
async fn both_sides_of_a_conversation_reach_every_session_that_asked() {
    let world = World::new();
    let home = world.online("romeo@localhost/home").await;
    let garden = world.online("romeo@localhost/garden").await;
    let quiet = world.online("romeo@localhost/quiet").await;
    let juliet = world.online("juliet@localhost/balcony").await;
    garden.send(ENABLE).await;
    for session in [&home, &garden, &quiet] {
        session.take();
    }
    home.send("<message type='chat' to='juliet@localhost/balcony'><body>a</body></message>").await;
    let copy = parse(&garden.sent().pop().expect("a copy"));
    let sent = copy.child("sent", ns::CARBONS).expect("<sent/>").element().expect("XML");
    let original =
        sent.child("forwarded", ns::FORWARD).and_then(|f| f.child("message", ns::CLIENT));
    let original = original.expect("the message");
    assert_eq!(original.get("from"), Some("romeo@localhost/home"));
    let id = original.child("stanza-id", ns::SID).expect("the id in Romeo's own archive");
    assert_eq!(id.get("by"), Some("romeo@localhost"));

    juliet.send("<message type='chat' to='romeo@localhost/home'><body>b</body></message>").await;
    assert_eq!(home.take().len(), 1, "the receiver gets the message itself");
    let copy = garden.sent().pop().expect("a copy");
    assert!(
        copy.contains("<received xmlns='urn:xmpp:carbons:2'>") && copy.contains("<body>b</body>")
    );
    assert!(quiet.take().is_empty(), "who did not ask gets nothing");
}

#[tokio::test]
async fn nobody_switches_carbons_for_another() {
    let world = World::new();
    let tybalt = world.online("tybalt@localhost/home").await;
    world.account("romeo@localhost").await;
    let answer = tybalt.ask(&ENABLE.replace("<iq", "<iq to='romeo@localhost'")).await;
    assert!(answer.contains("<forbidden"), "{answer}");
}

#[tokio::test]
async fn an_inactive_session_hears_of_messages_but_not_of_typing() {
    let world = World::new();
    let home = world.online("romeo@localhost/home").await;
    let phone = world.online("romeo@localhost/phone").await;
    phone.send(ENABLE).await;
    phone.take();
    phone.session.set_inactive(true);
    home.send(
        "<message type='chat' to='juliet@localhost/x'>\
         <composing xmlns='http://jabber.org/protocol/chatstates'/></message>",
    )
    .await;
    assert!(phone.take().is_empty());
    home.send("<message type='chat' to='juliet@localhost/x'><body>a</body></message>").await;
    assert_eq!(phone.take().len(), 1);
}
