use super::*;
use crate::config::Config;
use crate::router::Service;
use crate::testing::{World, drained};

fn parse(xml: &str) -> Stanza {
    Stanza::parse(xml.as_bytes()).expect("a stanza")
}

fn element(xml: &str) -> Element {
    Element::parse(xml.as_bytes(), ns::CLIENT).expect("XML")
}

fn host(with_sender: bool, with_body: bool) -> HostConfig {
    let config = Config::default_for("example.com").expect("a config");
    let mut host = (*config.hosts[0]).clone();
    host.push.with_sender = with_sender;
    host.push.with_body = with_body;
    host
}

const TEXT: &str = "<message from='juliet@capulet.example/balcony' to='user@example.com' type='chat'>\
    <body>Wherefore art thou, Romeo?</body></message>";

const OPTIONS: &str = "<x xmlns='jabber:x:data' type='submit'>\
    <field var='FORM_TYPE'><value>http://jabber.org/protocol/pubsub#publish-options</value></field>\
    <field var='secret'><value>eruio234vzxc2kla-91</value></field></x>";

fn target(options: Option<&str>) -> PushTarget {
    PushTarget {
        service: Jid::parse("push-5.client.example").expect("a JID"),
        node: "yxs32uqsflafdk3iuqo".to_owned(),
        options: options.map(|xml| xml.as_bytes().to_vec()),
        device: None,
        resource: None,
        enabled: Now(0),
    }
}

fn published(host: &HostConfig, options: Option<&str>) -> Element {
    let summary = summary(host, Urgency::High, 1, &parse(TEXT));
    let owner = BareJid::parse("user@example.com").expect("a bare JID");
    let iq = notification(&owner, &target(options), "0a", summary);
    assert_eq!(iq.head.id.as_deref(), Some("push-0a"));
    assert_eq!(iq.head.from.as_ref().map(Jid::as_str), Some("user@example.com"));
    assert_eq!(iq.head.to.as_ref().map(Jid::as_str), Some("push-5.client.example"));
    iq.child("pubsub", ns::PUBSUB).and_then(|pubsub| pubsub.element().ok()).expect("a publication")
}

#[test]
fn a_service_is_told_that_something_waits_and_no_more() {
    assert_eq!(
        published(&host(false, false), Some(OPTIONS)).to_xml(ns::CLIENT),
        "<pubsub xmlns='http://jabber.org/protocol/pubsub'><publish node='yxs32uqsflafdk3iuqo'>\
         <item><notification xmlns='urn:xmpp:push:0'><x xmlns='jabber:x:data' type='submit'>\
         <field var='FORM_TYPE' type='hidden'><value>urn:xmpp:push:summary</value></field>\
         <field var='message-count'><value>1</value></field>\
         <field var='last-message-body'><value>New Message!</value></field>\
         </x></notification></item></publish><publish-options>"
            .to_owned()
            + OPTIONS
            + "</publish-options></pubsub>"
    );
}

#[test]
fn sender_and_text_are_told_where_the_host_says_so() {
    let xml = published(&host(true, true), None).to_xml(ns::CLIENT);
    assert!(
        xml.contains(
            "<field var='last-message-sender'><value>juliet@capulet.example/balcony</value>"
        ),
        "{xml}"
    );
    assert!(
        xml.contains("<field var='last-message-body'><value>Wherefore art thou, Romeo?</value>"),
        "{xml}"
    );
    assert!(!xml.contains("publish-options"));
}

#[test]
fn only_what_somebody_should_know_of_wakes_a_device() {
    let of = |inside: &str| urgency(&parse(&format!("<message type='chat'>{inside}</message>")));
    assert_eq!(of("<body>x</body>"), Some(Urgency::High));
    assert_eq!(of("<encrypted xmlns='urn:xmpp:omemo:2'/>"), Some(Urgency::High));
    assert_eq!(of("<propose xmlns='urn:xmpp:jingle-message:0' id='1'/>"), Some(Urgency::High));
    assert_eq!(of("<retract xmlns='urn:xmpp:jingle-message:0' id='1'/>"), Some(Urgency::High));
    assert_eq!(of("<ringing xmlns='urn:xmpp:jingle-message:0' id='1'/>"), None);
    assert_eq!(of("<reactions xmlns='urn:xmpp:reactions:0' id='1'/>"), Some(Urgency::Low));
    assert_eq!(of("<received xmlns='urn:xmpp:receipts' id='1'/>"), None);
    assert_eq!(of("<composing xmlns='http://jabber.org/protocol/chatstates'/>"), None);
    assert_eq!(urgency(&parse("<message type='error'><body>x</body></message>")), None);
    assert_eq!(urgency(&parse("<presence/>")), None);
}

#[test]
fn the_examples_are_read() {
    let (service, node, options) = read_enable(&element(
        "<enable xmlns='urn:xmpp:push:0' jid='push-5.client.example' node='yxs32uqsflafdk3iuqo'/>",
    ))
    .expect("a registration");
    assert_eq!(
        (service.as_str(), node.as_deref(), options),
        ("push-5.client.example", Some("yxs32uqsflafdk3iuqo"), None)
    );
    let with_options =
        format!("<enable xmlns='urn:xmpp:push:0' jid='push-5.client.example'>{OPTIONS}</enable>");
    let (_, node, options) = read_enable(&element(&with_options)).expect("a registration");
    assert_eq!((node, options.as_deref()), (None, Some(OPTIONS.as_bytes())));
}

#[test]
fn what_no_service_could_use_is_refused() {
    let condition = |xml: &str| read_enable(&element(xml)).expect_err("a refusal").condition;
    assert_eq!(condition("<enable xmlns='urn:xmpp:push:0'/>"), Condition::BadRequest);
    assert_eq!(condition("<enable xmlns='urn:xmpp:push:0' jid='@'/>"), Condition::JidMalformed);
    let node = "x".repeat(NODE_BYTES_MAX + 1);
    assert_eq!(
        condition(&format!("<enable xmlns='urn:xmpp:push:0' jid='p' node='{node}'/>")),
        Condition::PolicyViolation
    );
    let form = |options: &str| {
        condition(&format!("<enable xmlns='urn:xmpp:push:0' jid='p'>{options}</enable>"))
    };
    assert_eq!(form("<x xmlns='jabber:x:data' type='submit'/>"), Condition::BadRequest);
    let long = OPTIONS.replace("eruio", &"x".repeat(OPTIONS_BYTES_MAX));
    assert_eq!(form(&long), Condition::PolicyViolation);
}

#[test]
fn lasting_errors_end_a_registration_and_passing_ones_do_not() {
    let of = |typ: &str, condition: &str| {
        outcome(&parse(&format!(
            "<iq type='error' id='push-0a'><error type='{typ}'>\
             <{condition} xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></iq>"
        )))
    };
    for condition in
        ["item-not-found", "forbidden", "not-authorized", "gone", "bad-request", "not-allowed"]
    {
        assert_eq!(of("cancel", condition), Outcome::Gone, "{condition}");
    }
    assert_eq!(of("cancel", "remote-server-not-found"), Outcome::FailedForNow);
    assert_eq!(of("wait", "remote-server-timeout"), Outcome::FailedForNow);
    assert_eq!(of("wait", "undefined-condition"), Outcome::FailedForNow);
}

#[test]
fn waits_grow_to_a_bound_and_patience_ends() {
    let mut trouble = Trouble::default();
    let mut waits = Vec::new();
    while let Some(worse) = trouble.worse(Now(0)) {
        waits.push(worse.until().secs());
        trouble = worse;
    }
    assert_eq!(waits.len(), FAILURES_MAX as usize - 1);
    assert_eq!(waits[..3], [60, 120, 240]);
    assert!(waits.is_sorted() && waits.last() == Some(&(6 * 3_600)));
}

const ENABLE: &str = "<iq type='set' id='x42'><enable xmlns='urn:xmpp:push:0' \
    jid='push-5.client.example' node='yxs32uqsflafdk3iuqo'/></iq>";

/// A world with a push service, and Juliet's phone, which has registered there and is away.
async fn registered(world: &World) -> Arc<Service> {
    let service = world.domain("push-5.client.example");
    let phone = world.online("juliet@localhost/phone").await;
    let answer = phone.ask(ENABLE).await;
    assert!(answer.contains("type='result'"), "{answer}");
    phone.leaves().await;
    service
}

async fn write_to_juliet(world: &World) {
    let romeo = world.online("romeo@localhost/orchard").await;
    romeo.send("<message type='chat' to='juliet@localhost'><body>hi</body></message>").await;
}

async fn registrations(world: &World) -> usize {
    let account = world.account("juliet@localhost").await;
    world.router.store.push().list(account).await.expect("a list").len()
}

/// The service answers a notification.
async fn answer(world: &World, notification: &Stanza, inside: &str) {
    let id = notification.head.id.as_deref().expect("an id");
    let typ = if inside.is_empty() { "result" } else { "error" };
    world
        .arrives(&format!(
            "<iq type='{typ}' id='{id}' from='push-5.client.example' to='juliet@localhost'>\
             {inside}</iq>"
        ))
        .await;
}

const GONE: &str = "<error type='cancel'>\
    <item-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>";
const LATER: &str = "<error type='wait'>\
    <resource-constraint xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>";

#[tokio::test]
async fn a_client_that_is_away_is_notified_whoever_else_is_there() {
    let world = World::new();
    let service = registered(&world).await;
    let laptop = world.online("juliet@localhost/laptop").await;
    write_to_juliet(&world).await;
    assert!(laptop.sent().iter().any(|xml| xml.contains("hi")));
    let published = drained(&service.mailbox);
    assert_eq!(published.len(), 1);
    let head = &published[0].head;
    assert_eq!(head.from.as_ref().map(Jid::as_str), Some("juliet@localhost"));
    assert!(published[0].has("pubsub", ns::PUBSUB));
}

#[tokio::test]
async fn a_connected_client_is_not_notified_and_a_parked_one_is() {
    let world = World::new();
    let service = registered(&world).await;
    let phone = world.online("juliet@localhost/phone").await;
    write_to_juliet(&world).await;
    assert!(drained(&service.mailbox).is_empty());
    phone.session.set(Flag::Parked, true);
    write_to_juliet(&world).await;
    assert_eq!(drained(&service.mailbox).len(), 1);
}

#[tokio::test]
async fn what_a_lost_connection_left_behind_is_announced_once() {
    let world = World::new();
    let service = registered(&world).await;
    let phone = world.online("juliet@localhost/phone").await;
    write_to_juliet(&world).await;
    write_to_juliet(&world).await;
    assert!(drained(&service.mailbox).is_empty(), "it seemed to be there");
    phone.session.set(Flag::Parked, true);
    let out = Outbox::default();
    lost(&world.router, &phone.session, &out, world.now()).await;
    assert_eq!(out.take().len(), 1);
}

#[tokio::test]
async fn typing_wakes_nobody_and_calls_do() {
    let world = World::new();
    let service = registered(&world).await;
    let romeo = world.online("romeo@localhost/orchard").await;
    let to_juliet =
        |child: &str| format!("<message type='chat' to='juliet@localhost'>{child}</message>");
    romeo.send(&to_juliet("<composing xmlns='http://jabber.org/protocol/chatstates'/>")).await;
    assert!(drained(&service.mailbox).is_empty());
    romeo.send(&to_juliet("<propose xmlns='urn:xmpp:jingle-message:0' id='ca3cf894'/>")).await;
    assert_eq!(drained(&service.mailbox).len(), 1);
}

#[tokio::test]
async fn a_lasting_error_ends_the_registration_of_the_service_that_says_so() {
    let world = World::new();
    let service = registered(&world).await;
    write_to_juliet(&world).await;
    let notification = drained(&service.mailbox).pop().expect("a notification");
    // Nobody else may say so, and not of a notification that was never sent.
    let id = notification.head.id.as_deref().expect("an id");
    world.domain("evil.example");
    let forged = |from: &str, id: &str| {
        format!("<iq type='error' id='{id}' from='{from}' to='juliet@localhost'>{GONE}</iq>")
    };
    world.arrives(&forged("evil.example", id)).await;
    world.arrives(&forged("push-5.client.example", "push-000000000000000000000000")).await;
    assert_eq!(registrations(&world).await, 1);
    answer(&world, &notification, GONE).await;
    assert_eq!(registrations(&world).await, 0);
}

#[tokio::test]
async fn a_passing_error_makes_us_wait_and_success_forgives_it() {
    let world = World::new();
    let service = registered(&world).await;
    write_to_juliet(&world).await;
    answer(&world, &drained(&service.mailbox)[0], LATER).await;
    write_to_juliet(&world).await;
    assert!(drained(&service.mailbox).is_empty(), "we wait");
    world.wait(BACK_OFF);
    write_to_juliet(&world).await;
    let notifications = drained(&service.mailbox);
    assert_eq!(notifications.len(), 1);
    answer(&world, &notifications[0], "").await;
    write_to_juliet(&world).await;
    assert_eq!(drained(&service.mailbox).len(), 1, "forgiven");
    assert_eq!(registrations(&world).await, 1);
}

#[tokio::test]
async fn a_service_that_is_never_there_is_given_up() {
    let world = World::new();
    let phone = world.online("juliet@localhost/phone").await;
    phone.send(ENABLE).await;
    phone.leaves().await;
    for _ in 0..FAILURES_MAX {
        assert_eq!(registrations(&world).await, 1);
        // Nobody serves the domain: the router answers for it.
        write_to_juliet(&world).await;
        world.wait(BACK_OFF_MAX);
    }
    assert_eq!(registrations(&world).await, 0);
}

#[tokio::test]
async fn many_registrations_leave_as_many_as_may_be() {
    let world = World::new();
    world.domain("push-5.client.example");
    let phone = world.online("juliet@localhost/phone").await;
    for n in 0..200 {
        world.wait(Duration::from_millis(1));
        phone.send(&ENABLE.replace("yxs32uqsflafdk3iuqo", &n.to_string())).await;
        phone.take();
    }
    let config = world.router.config.load();
    let max = config.hosts[0].push.registrations_max;
    let account = phone.session.account;
    let kept = world.router.store.push().list(account).await.expect("a list");
    assert_eq!(kept.len(), max);
    assert!(kept.iter().any(|target| target.node == "199"), "the newest stay");
}

#[tokio::test]
async fn registrations_end_by_node_or_by_service() {
    let world = World::new();
    let phone = world.online("juliet@localhost/phone").await;
    for node in ["a", "b", "c", "c"] {
        phone.send(&ENABLE.replace("yxs32uqsflafdk3iuqo", node)).await;
    }
    assert_eq!(registrations(&world).await, 3, "the same node is one registration");
    let disable = |node: &str| {
        format!(
            "<iq type='set' id='x97'><disable xmlns='urn:xmpp:push:0' jid='push-5.client.example'{node}/></iq>"
        )
    };
    phone.ask(&disable(" node='a'")).await;
    assert_eq!(registrations(&world).await, 2);
    phone.ask(&disable("")).await;
    assert_eq!(registrations(&world).await, 0);
}

#[tokio::test]
async fn nobody_registers_for_another_and_no_account_for_itself() {
    let world = World::new();
    let tybalt = world.online("tybalt@localhost/home").await;
    world.account("juliet@localhost").await;
    let answer = tybalt.ask(&ENABLE.replace("<iq", "<iq to='juliet@localhost'")).await;
    assert!(answer.contains("<forbidden"), "{answer}");
    let own = ENABLE.replace("push-5.client.example", "tybalt@localhost/home");
    assert!(tybalt.ask(&own).await.contains("<bad-request"));
}
