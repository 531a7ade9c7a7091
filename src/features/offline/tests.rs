use super::*;
use crate::testing::{Player, World};

fn of(xml: &str) -> Verdict {
    verdict(&Stanza::parse(xml.as_bytes()).expect("a stanza"))
}

#[test]
fn each_type_has_its_rule() {
    assert_eq!(of("<message><body>O blessed, blessed night!</body></message>"), Verdict::Keep);
    assert_eq!(of("<message type='chat'><body>x</body></message>"), Verdict::Keep);
    assert_eq!(of("<message type='groupchat'><body>x</body></message>"), Verdict::Refuse);
    assert_eq!(of("<message type='headline'><body>x</body></message>"), Verdict::Drop);
    assert_eq!(of("<message type='error'><body>x</body></message>"), Verdict::Drop);
}

#[test]
fn who_was_typing_is_neither_kept_nor_bounced() {
    let state = "<composing xmlns='http://jabber.org/protocol/chatstates'/>";
    assert_eq!(of(&format!("<message type='chat'>{state}</message>")), Verdict::Drop);
    assert_eq!(
        of("<message><event xmlns='http://jabber.org/protocol/pubsub#event'/></message>"),
        Verdict::Drop
    );
}

#[test]
fn hints_are_followed() {
    let hint = |name: &str| {
        format!("<message type='chat'><body>x</body><{name} xmlns='urn:xmpp:hints'/></message>")
    };
    assert_eq!(of(&hint("no-store")), Verdict::Refuse);
    assert_eq!(of(&hint("no-permanent-store")), Verdict::Keep);
    assert_eq!(
        of("<message><x xmlns='urn:example'/><store xmlns='urn:xmpp:hints'/></message>"),
        Verdict::Keep
    );
}

#[test]
fn calls_and_receipts_wait_too() {
    assert_eq!(
        of("<message type='chat'><propose xmlns='urn:xmpp:jingle-message:0' id='1'/></message>"),
        Verdict::Keep
    );
    assert_eq!(
        of("<message><received xmlns='urn:xmpp:receipts' id='1'/></message>"),
        Verdict::Keep
    );
}

#[test]
fn the_delay_is_stamped_by_the_host() {
    let id =
        MessageId::floor(crate::time::Now::parse_xmpp("2022-09-10T23:08:25Z").expect("a time"));
    let stanza = Stanza::parse(b"<message from='romeo@montague.net/orchard' to='juliet@capulet.com'><body>x</body></message>");
    let stanza = delayed(&stanza.expect("a stanza"), "capulet.com", id);
    assert_eq!(
        std::str::from_utf8(stanza.payload()),
        Ok("<body>x</body><delay xmlns='urn:xmpp:delay' from='capulet.com' \
            stamp='2022-09-10T23:08:25.000Z'>Offline Storage</delay>")
    );
}

/// A world whose archives keep nothing, so that offline storage is all there is.
fn without_archive(messages_max: usize) -> World {
    World::configured(&format!(
        "[hosts.localhost.archive]\ndefault = \"never\"\n\
         [hosts.localhost.offline]\nmessages_max = {messages_max}\n"
    ))
}

async fn text(romeo: &Player<'_>, body: &str) {
    romeo
        .send(&format!(
            "<message id='{body}' to='juliet@localhost' type='chat'><body>{body}</body></message>"
        ))
        .await;
}

/// The bodies that a session has been sent.
fn bodies(player: &Player<'_>) -> Vec<String> {
    player.take().iter().filter_map(|stanza| stanza.body()).collect()
}

/// The client has what it was sent: what `stream` does after an acknowledgement.
async fn acknowledge(world: &World, player: &Player<'_>) -> Vec<String> {
    let items = player.session.mailbox.take().0;
    let ids = items.iter().filter(|item| item.offline).filter_map(|item| item.stored).collect();
    world.router.store.offline().remove(player.session.account, ids).await.expect("removed");
    items.iter().filter_map(|item| item.stanza.body()).collect()
}

#[tokio::test]
async fn a_message_waits_for_the_first_session_that_is_there() {
    let world = without_archive(100);
    let romeo = world.online("romeo@localhost/orchard").await;
    world.account("juliet@localhost").await;
    let sent_at = world.now();
    romeo.send("<message to='juliet@localhost'><body>O blessed night!</body></message>").await;
    assert!(romeo.sent().is_empty(), "nothing bounces");
    world.wait(Duration::from_secs(3_600));

    let juliet = world.session("juliet@localhost/balcony").await;
    juliet.send("<presence><priority>-1</priority></presence>").await;
    assert!(bodies(&juliet).is_empty(), "a negative priority gets no messages");
    juliet.send("<presence><priority>1</priority></presence>").await;
    let got = juliet.take();
    let message = got.iter().find(|stanza| stanza.has_body()).expect("the message");
    assert_eq!(message.head.from.as_ref().map(Jid::as_str), Some("romeo@localhost/orchard"));
    assert_eq!(message.head.to.as_ref().map(Jid::as_str), Some("juliet@localhost"));
    let delay = message.delays().next().expect("<delay/>");
    assert_eq!((delay.stamp, delay.from), (sent_at, Jid::parse("localhost").ok()));
    assert_eq!(delay.reason.as_deref(), Some("Offline Storage"));
}

#[tokio::test]
async fn what_was_not_acknowledged_waits_for_the_next_session() {
    let world = without_archive(100);
    let romeo = world.online("romeo@localhost/orchard").await;
    world.account("juliet@localhost").await;
    text(&romeo, "a").await;
    let phone = world.session("juliet@localhost/phone").await;
    phone.send("<presence/>").await;
    assert_eq!(bodies(&phone), ["a"]);
    phone.leaves().await;
    let laptop = world.session("juliet@localhost/laptop").await;
    laptop.send("<presence/>").await;
    assert_eq!(acknowledge(&world, &laptop).await, ["a"]);
    let tablet = world.session("juliet@localhost/tablet").await;
    tablet.send("<presence/>").await;
    assert!(bodies(&tablet).is_empty());
}

#[tokio::test]
async fn a_full_store_sends_messages_back() {
    let world = without_archive(2);
    let romeo = world.online("romeo@localhost/orchard").await;
    world.account("juliet@localhost").await;
    for body in ["a", "b", "c"] {
        text(&romeo, body).await;
    }
    let bounced = romeo.sent();
    assert_eq!(bounced.len(), 1);
    assert!(bounced[0].contains("id='c'") && bounced[0].contains("<service-unavailable"));
    let juliet = world.session("juliet@localhost/balcony").await;
    juliet.send("<presence/>").await;
    assert_eq!(bodies(&juliet), ["a", "b"]);
}

#[tokio::test]
async fn typing_to_somebody_who_is_away_leaves_no_trace() {
    let world = World::new();
    let romeo = world.online("romeo@localhost/orchard").await;
    let account = world.account("juliet@localhost").await;
    romeo
        .send(
            "<message to='juliet@localhost' type='chat'>\
             <composing xmlns='http://jabber.org/protocol/chatstates'/></message>",
        )
        .await;
    assert!(romeo.sent().is_empty());
    assert_eq!(world.router.store.offline().count(account).await.expect("a count"), 0);
}

#[tokio::test]
async fn archive_clients_get_what_they_have_not_read() {
    let world = World::new();
    let romeo = world.online("romeo@localhost/orchard").await;
    world.account("juliet@localhost").await;
    text(&romeo, "archived").await;
    romeo
        .send(
            "<message to='juliet@localhost' type='chat'><body>off the record</body>\
             <no-permanent-store xmlns='urn:xmpp:hints'/></message>",
        )
        .await;

    let plain = world.session("juliet@localhost/plain").await;
    plain.send("<presence/>").await;
    let got = plain.take();
    let ids = |stanza: &Stanza| stanza.has("stanza-id", ns::SID);
    let got: Vec<_> = got.iter().filter_map(|s| Some((s.body()?, ids(s)))).collect();
    assert_eq!(got, [("archived".to_owned(), true), ("off the record".to_owned(), false)]);
    plain.leaves().await;

    let modern = world.session("juliet@localhost/modern").await;
    modern.ask("<iq type='set' id='q'><query xmlns='urn:xmpp:mam:2'/></iq>").await;
    modern.send("<presence/>").await;
    assert_eq!(acknowledge(&world, &modern).await, ["off the record"]);
    let account = modern.session.account;
    assert_eq!(world.router.store.offline().count(account).await.expect("a count"), 0);
}

#[tokio::test]
async fn a_retracted_message_is_not_delivered_late() {
    let world = World::new();
    let romeo = world.online("romeo@localhost/orchard").await;
    world.account("juliet@localhost").await;
    text(&romeo, "secret").await;
    romeo
        .send(
            "<message to='juliet@localhost' type='chat' id='r'>\
             <retract id='secret' xmlns='urn:xmpp:message-retract:1'/>\
             <body>I retracted a message</body></message>",
        )
        .await;
    let juliet = world.session("juliet@localhost/balcony").await;
    juliet.send("<presence/>").await;
    assert_eq!(bodies(&juliet), ["I retracted a message"]);
}

#[tokio::test]
async fn more_than_a_mailbox_holds_arrives_in_steps() {
    let world = World::new();
    let romeo = world.online("romeo@localhost/orchard").await;
    let account = world.account("juliet@localhost").await;
    let long = "x".repeat(20_000);
    let bytes_max = world.router.config.load().limits.mailbox_bytes_max;
    let count = bytes_max / long.len() + 10;
    for n in 0..count {
        text(&romeo, &format!("{n}-{long}")).await;
    }
    let juliet = world.session("juliet@localhost/balcony").await;
    juliet.send("<presence/>").await;
    assert!(juliet.session.mailbox.bytes() < bytes_max);
    let mut got = Vec::new();
    while got.len() < count {
        got.extend(acknowledge(&world, &juliet).await);
        tokio::time::sleep(PAUSE / 2).await;
    }
    let numbers: Vec<_> = got.iter().filter_map(|body| body.split('-').next()).collect();
    let expected: Vec<String> = (0..count).map(|n| n.to_string()).collect();
    assert_eq!(numbers, expected, "each once, in order");
    assert_eq!(world.router.store.offline().count(account).await.expect("a count"), 0);
}
