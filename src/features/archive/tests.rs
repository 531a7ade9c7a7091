//! Conversations about an archive, through the real pipelines and a real database.

use std::time::Duration;

use crate::testing::{Player, World, drained, wire};
use crate::xml::element::Element;
use crate::xml::ns;

/// What a query brought: the messages as `<result/>`, and the IQ that ends them.
struct Answer {
    results: Vec<Element>,
    iq: Element,
}

impl Answer {
    fn ids(&self) -> Vec<&str> {
        self.results.iter().filter_map(|result| result.get("id")).collect()
    }

    fn texts(&self) -> Vec<String> {
        self.results.iter().filter_map(|r| message(r).child_text("body", ns::CLIENT)).collect()
    }

    fn fin(&self) -> &Element {
        self.iq.child("fin", ns::MAM2).unwrap_or_else(|| panic!("no <fin/>: {:?}", self.iq))
    }

    fn is_complete(&self) -> bool {
        self.fin().get("complete") == Some("true")
    }

    fn page(&self, name: &str) -> Option<String> {
        self.fin().child("set", ns::RSM)?.child_text(name, ns::RSM)
    }

    fn condition(&self) -> String {
        let error = self.iq.child("error", ns::CLIENT).expect("an error");
        error.children().next().expect("a condition").name().to_owned()
    }
}

/// The message in a `<result/>`.
fn message(result: &Element) -> &Element {
    let forwarded = result.child("forwarded", ns::FORWARD).expect("<forwarded/>");
    forwarded.child("message", ns::CLIENT).expect("a message")
}

async fn query(player: &Player<'_>, inside: &str) -> Answer {
    player.take();
    player
        .send(&format!(
            "<iq type='set' id='q'><query xmlns='urn:xmpp:mam:2' queryid='f27'>{inside}</query></iq>"
        ))
        .await;
    let mut sent: Vec<Element> = player.take().iter().map(|stanza| parse(&wire(stanza))).collect();
    let iq = sent.pop().expect("an answer");
    assert_eq!((iq.name(), iq.get("id")), ("iq", Some("q")));
    let results = sent
        .iter()
        .map(|message| {
            assert_eq!(message.get("from"), Some(player.session.jid.bare_str()));
            assert_eq!(message.get("to"), Some(player.session.jid.as_str()));
            let result = message.child("result", ns::MAM2).expect("<result/>").clone();
            assert_eq!(result.get("queryid"), Some("f27"));
            result
        })
        .collect();
    Answer { results, iq }
}

fn form(fields: &[(&str, &str)]) -> String {
    let fields: String = fields
        .iter()
        .map(|(var, value)| format!("<field var='{var}'><value>{value}</value></field>"))
        .collect();
    format!(
        "<x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE' type='hidden'>\
         <value>urn:xmpp:mam:2</value></field>{fields}</x>"
    )
}

fn set(inside: &str) -> String {
    format!("<set xmlns='http://jabber.org/protocol/rsm'>{inside}</set>")
}

fn parse(xml: &str) -> Element {
    Element::parse(xml.as_bytes(), ns::CLIENT).expect("XML")
}

/// Romeo writes to Juliet, one message a second: `0`, `1`, `2` …
async fn talk(world: &World, romeo: &Player<'_>, count: usize) {
    for n in 0..count {
        romeo
            .send(&format!(
                "<message type='chat' id='m{n}' to='juliet@localhost'><body>{n}</body></message>"
            ))
            .await;
        world.wait(Duration::from_secs(1));
    }
}

#[tokio::test]
async fn both_sides_find_a_message_with_its_time_and_addresses() {
    let world = World::new();
    let romeo = world.online("romeo@localhost/orchard").await;
    let juliet = world.online("juliet@localhost/balcony").await;
    let sent_at = world.now();
    romeo
        .send(
            "<message type='chat' id='1' to='juliet@localhost/balcony'>\
             <body>Call me but love</body></message>",
        )
        .await;
    let got = juliet.sent().pop().expect("the message");
    let stanza_id = parse(&got).child("stanza-id", ns::SID).expect("a stanza-id").clone();
    assert_eq!(stanza_id.get("by"), Some("juliet@localhost"));

    for player in [&romeo, &juliet] {
        let answer = query(player, "").await;
        assert_eq!(answer.ids(), [stanza_id.get("id").expect("an id")]);
        assert!(answer.is_complete());
        let forwarded = answer.results[0].child("forwarded", ns::FORWARD).expect("<forwarded/>");
        let delay = forwarded.child("delay", ns::DELAY).expect("<delay/>");
        assert_eq!(delay.get("stamp"), Some(sent_at.to_xmpp().as_str()));
        let message = message(&answer.results[0]);
        assert_eq!(message.get("from"), Some("romeo@localhost/orchard"));
        assert_eq!(message.get("to"), Some("juliet@localhost/balcony"));
        assert_eq!(message.get("id"), Some("1"));
        assert_eq!(message.child_text("body", ns::CLIENT).as_deref(), Some("Call me but love"));
    }
}

#[tokio::test]
async fn pages_follow_each_other_forwards_and_backwards() {
    let world = World::new();
    let romeo = world.online("romeo@localhost/orchard").await;
    world.account("juliet@localhost").await;
    talk(&world, &romeo, 5).await;

    let first = query(&romeo, &set("<max>2</max>")).await;
    assert_eq!(first.texts(), ["0", "1"]);
    assert!(!first.is_complete());
    assert_eq!(first.page("count").as_deref(), Some("5"));
    assert_eq!(first.page("first").as_deref(), Some(first.ids()[0]));
    let last = first.page("last").expect("<last/>");
    let second = query(&romeo, &set(&format!("<max>2</max><after>{last}</after>"))).await;
    assert_eq!(second.texts(), ["2", "3"]);
    let last = second.page("last").expect("<last/>");
    let third = query(&romeo, &set(&format!("<max>2</max><after>{last}</after>"))).await;
    assert_eq!(third.texts(), ["4"]);
    assert!(third.is_complete());

    let newest = query(&romeo, &set("<max>2</max><before/>")).await;
    assert_eq!(newest.texts(), ["3", "4"]);
    assert!(!newest.is_complete());
    let before = newest.page("first").expect("<first/>");
    let older = set(&format!("<max>10</max><before>{before}</before>"));
    let oldest = query(&romeo, &older).await;
    assert_eq!(oldest.texts(), ["0", "1", "2"]);
    assert!(oldest.is_complete());
    let flipped = query(&romeo, &format!("{older}<flip-page/>")).await;
    assert_eq!(flipped.texts(), ["2", "1", "0"]);
    assert_eq!(flipped.page("first"), oldest.page("first"), "the page itself is the same");

    let count = query(&romeo, &set("<max>0</max>")).await;
    assert!(count.results.is_empty() && !count.is_complete());
    assert_eq!(count.page("count").as_deref(), Some("5"));
}

#[tokio::test]
async fn filters_narrow_a_query() {
    let world = World::new();
    let romeo = world.online("romeo@localhost/orchard").await;
    world.account("juliet@localhost").await;
    let start = world.now().to_xmpp();
    talk(&world, &romeo, 3).await;
    romeo.send("<message type='chat' to='nurse@localhost/x'><body>nurse</body></message>").await;
    romeo.send("<message type='chat' to='romeo@localhost'><body>myself</body></message>").await;

    let with = |jid: &str| form(&[("with", jid)]);
    assert_eq!(query(&romeo, &with("juliet@localhost")).await.texts(), ["0", "1", "2"]);
    assert_eq!(query(&romeo, &with("nurse@localhost")).await.texts(), ["nurse"]);
    assert_eq!(query(&romeo, &with("nurse@localhost/x")).await.texts(), ["nurse"]);
    assert!(query(&romeo, &with("nurse@localhost/y")).await.texts().is_empty());
    assert_eq!(query(&romeo, &with("romeo@localhost")).await.texts(), ["myself"]);
    let nobody = query(&romeo, &with("nobody@localhost")).await;
    assert!(nobody.results.is_empty() && nobody.is_complete());

    let first_two = form(&[("start", &start), ("end", &second_after(&start, 1))]);
    assert_eq!(query(&romeo, &first_two).await.texts(), ["0", "1"]);

    let all = query(&romeo, "").await;
    let ids = all.ids();
    let between = form(&[("after-id", ids[0]), ("before-id", ids[3])]);
    assert_eq!(query(&romeo, &between).await.texts(), ["1", "2"]);
    assert_eq!(query(&romeo, &form(&[("ids", ids[1])])).await.texts(), ["1"]);
}

fn second_after(time: &str, seconds: u64) -> String {
    let time = crate::time::Now::parse_xmpp(time).expect("a time");
    time.plus(Duration::from_secs(seconds)).to_xmpp()
}

#[tokio::test]
async fn ids_of_another_archive_are_not_found() {
    let world = World::new();
    let romeo = world.online("romeo@localhost/orchard").await;
    let tybalt = world.online("tybalt@localhost/home").await;
    world.account("juliet@localhost").await;
    talk(&world, &romeo, 1).await;
    let answer = query(&romeo, "").await;
    let id = answer.ids()[0];
    for inside in [
        form(&[("ids", id)]),
        form(&[("after-id", id)]),
        form(&[("before-id", id)]),
        set(&format!("<after>{id}</after>")),
        set(&format!("<before>{id}</before>")),
        form(&[("ids", "no-id-of-ours")]),
    ] {
        assert_eq!(query(&tybalt, &inside).await.condition(), "item-not-found", "{inside}");
    }
}

#[tokio::test]
async fn an_archive_answers_its_owner_only() {
    let world = World::new();
    let romeo = world.online("romeo@localhost/orchard").await;
    let tybalt = world.online("tybalt@localhost/home").await;
    world.account("juliet@localhost").await;
    talk(&world, &romeo, 1).await;
    let asked = |to: &str, from: &str| {
        format!("<iq type='set' id='q' {from} to='{to}'><query xmlns='urn:xmpp:mam:2'/></iq>")
    };
    for to in ["romeo@localhost", "nobody@localhost"] {
        let answer = tybalt.ask(&asked(to, "")).await;
        assert!(answer.contains("<forbidden"), "{answer}");
    }
    let verona = world.domain("verona.lit");
    let refused = ["romeo@localhost", "nobody@localhost"];
    for to in refused {
        world.arrives(&asked(to, "from='mercutio@verona.lit/x'")).await;
    }
    let answers: Vec<String> = drained(&verona.mailbox).iter().map(|s| wire(s)).collect();
    assert_eq!(answers.len(), refused.len());
    for (answer, to) in answers.iter().zip(refused) {
        // Who is not there and who does not answer look the same.
        assert_eq!(answer.replace(to, "X"), answers[0].replace(refused[0], "X"));
        assert!(answer.contains("<service-unavailable"), "{answer}");
    }
}

#[tokio::test]
async fn a_host_s_archive_is_empty() {
    let world = World::new();
    let romeo = world.online("romeo@localhost/orchard").await;
    world.account("juliet@localhost").await;
    talk(&world, &romeo, 1).await;
    let ask = |inside: &str| {
        format!(
            "<iq type='set' id='q' to='localhost'><query xmlns='urn:xmpp:mam:2'>{inside}</query></iq>"
        )
    };
    let answer = romeo.ask(&ask("")).await;
    assert!(answer.contains("<fin xmlns='urn:xmpp:mam:2' complete='true'>"), "{answer}");
    assert!(answer.contains("<count>0</count>"), "{answer}");
    let unknown = romeo.ask(&ask(&set("<after>0000000000001</after>"))).await;
    assert!(unknown.contains("<item-not-found"), "{unknown}");
}

#[tokio::test]
async fn a_page_is_bounded_in_messages_and_in_bytes() {
    let world = World::new();
    let romeo = world.online("romeo@localhost/orchard").await;
    world.account("juliet@localhost").await;
    talk(&world, &romeo, 300).await;
    let page = query(&romeo, &set("<max>100000</max>")).await;
    assert_eq!(page.results.len(), crate::store::archive::PAGE_MAX);
    assert!(!page.is_complete());

    let big = "x".repeat(60_000);
    for _ in 0..6 {
        romeo
            .send(&format!(
                "<message type='chat' to='juliet@localhost'><body>{big}</body></message>"
            ))
            .await;
    }
    let limit = world.router.config.load().limits.mailbox_bytes_max / 2;
    let page = query(&romeo, &set("<max>6</max><before/>")).await;
    assert!(page.results.len() < 6 && !page.results.is_empty(), "{}", page.results.len());
    assert!(page.results.len() * big.len() <= limit);
    assert!(!page.is_complete());
    // What was cut is the next page, not lost.
    let before = page.page("first").expect("<first/>");
    let next = query(&romeo, &set(&format!("<max>6</max><before>{before}</before>"))).await;
    assert!(!next.results.is_empty());
    assert!(!next.ids().contains(&before.as_str()));
}

#[tokio::test]
async fn metadata_tells_the_ends() {
    let world = World::new();
    let romeo = world.online("romeo@localhost/orchard").await;
    world.account("juliet@localhost").await;
    let ask = "<iq type='get' id='m'><metadata xmlns='urn:xmpp:mam:2'/></iq>";
    assert!(romeo.ask(ask).await.contains("<metadata xmlns='urn:xmpp:mam:2'/>"));
    let start = world.now();
    talk(&world, &romeo, 3).await;
    let answer = parse(&romeo.ask(ask).await);
    let metadata = answer.child("metadata", ns::MAM2).expect("<metadata/>").clone();
    let ids = query(&romeo, "").await;
    let end = |name: &str| metadata.child(name, ns::MAM2).expect(name).clone();
    assert_eq!(end("start").get("id"), Some(ids.ids()[0]));
    assert_eq!(end("start").get("timestamp"), Some(start.to_xmpp().as_str()));
    assert_eq!(end("end").get("id"), Some(ids.ids()[2]));
}

#[tokio::test]
async fn preferences_are_told_and_followed() {
    let world = World::new();
    let romeo = world.online("romeo@localhost/orchard").await;
    let juliet = world.online("juliet@localhost/balcony").await;
    let ask = "<iq type='get' id='p'><prefs xmlns='urn:xmpp:mam:2'/></iq>";
    assert!(
        romeo
            .ask(ask)
            .await
            .contains("<prefs xmlns='urn:xmpp:mam:2' default='always'><always/><never/></prefs>")
    );
    let prefs = "<prefs xmlns='urn:xmpp:mam:2' default='always'><always/>\
         <never><jid>juliet@localhost</jid></never></prefs>";
    let answer = romeo.ask(&format!("<iq type='set' id='p'>{prefs}</iq>")).await;
    assert!(answer.contains(prefs), "{answer}");
    assert!(romeo.ask(ask).await.contains(prefs));

    talk(&world, &romeo, 1).await;
    romeo.send("<message type='chat' to='nurse@localhost'><body>kept</body></message>").await;
    assert_eq!(query(&romeo, "").await.texts(), ["kept"]);
    assert_eq!(query(&juliet, "").await.texts(), ["0"], "Juliet's archive is her own");
}

#[tokio::test]
async fn texts_are_searched_where_the_host_has_it_on() {
    let world = World::configured("[hosts.localhost.archive]\nsearch = true\n");
    let romeo = world.online("romeo@localhost/orchard").await;
    world.account("juliet@localhost").await;
    for body in ["Where art thou, my Juliet?", "Good night, good night"] {
        romeo
            .send(&format!(
                "<message type='chat' to='juliet@localhost'><body>{body}</body></message>"
            ))
            .await;
    }
    let search = form(&[("{urn:xmpp:fulltext:0}fulltext", "juliet")]);
    assert_eq!(query(&romeo, &search).await.texts(), ["Where art thou, my Juliet?"]);

    let world = World::new();
    let romeo = world.online("romeo@localhost/orchard").await;
    assert_eq!(query(&romeo, &search).await.condition(), "feature-not-implemented");
}

#[tokio::test]
async fn the_form_tells_what_may_be_asked() {
    let world = World::new();
    let romeo = world.online("romeo@localhost/orchard").await;
    let answer = romeo.ask("<iq type='get' id='form1'><query xmlns='urn:xmpp:mam:2'/></iq>").await;
    let answer = parse(&answer);
    let x = answer.child("query", ns::MAM2).and_then(|q| q.child("x", ns::DATA_FORMS));
    let x = x.expect("a form");
    let vars: Vec<&str> = x.children().filter_map(|field| field.get("var")).collect();
    assert_eq!(
        vars,
        ["FORM_TYPE", "with", "start", "end", "before-id", "after-id", "ids", "include-groupchat"]
    );
    let ids = x.children().find(|field| field.get("var") == Some("ids")).expect("ids");
    let validate = ids.child("validate", ns::DATA_VALIDATE).expect("<validate/>");
    assert!(validate.child("open", ns::DATA_VALIDATE).is_some());
}

const RETRACTION: &str = "<message type='chat' to='juliet@localhost' id='retract-message-1'>\
    <retract id='m0' xmlns='urn:xmpp:message-retract:1'/>\
    <fallback xmlns='urn:xmpp:fallback:0' for='urn:xmpp:message-retract:1'/>\
    <body>/me retracted a previous message</body><store xmlns='urn:xmpp:hints'/></message>";

#[tokio::test]
async fn a_retracted_message_leaves_a_tombstone_on_both_sides() {
    let world = World::new();
    let romeo = world.online("romeo@localhost/orchard").await;
    let juliet = world.online("juliet@localhost/balcony").await;
    talk(&world, &romeo, 2).await;
    let retracted_at = world.now();
    romeo.send(RETRACTION).await;
    for player in [&romeo, &juliet] {
        let answer = query(player, "").await;
        assert_eq!(answer.results.len(), 3, "the tombstone, a message, the retraction");
        let stone = message(&answer.results[0]);
        assert_eq!(stone.get("id"), Some("m0"));
        assert_eq!(
            stone.children().map(|c| c.to_xml(ns::CLIENT)).collect::<Vec<_>>(),
            [format!(
                "<retracted xmlns='urn:xmpp:message-retract:1' id='retract-message-1' stamp='{}'/>",
                retracted_at.to_xmpp()
            )]
        );
        assert_eq!(answer.texts()[0], "1");
    }
}

#[tokio::test]
async fn nobody_retracts_what_another_wrote() {
    let world = World::new();
    let romeo = world.online("romeo@localhost/orchard").await;
    let juliet = world.online("juliet@localhost/balcony").await;
    let tybalt = world.online("tybalt@localhost/home").await;
    talk(&world, &romeo, 1).await;
    juliet.send(&RETRACTION.replace("juliet@", "romeo@")).await;
    tybalt.send(RETRACTION).await;
    tybalt.send(&RETRACTION.replace("juliet@", "romeo@")).await;
    world.domain("verona.lit");
    world.arrives(&RETRACTION.replace("<message", "<message from='romeo@verona.lit/x'")).await;
    for player in [&romeo, &juliet] {
        assert_eq!(query(player, &form(&[("with", "romeo@localhost")])).await.texts().len(), {
            // Romeo has written nothing to himself; Juliet has what he wrote, and her own.
            if player.session.jid.local() == Some("romeo") { 0 } else { 2 }
        });
        let with_each_other = query(player, "").await;
        assert!(with_each_other.texts().contains(&"0".to_owned()));
        assert!(
            with_each_other
                .results
                .iter()
                .all(|r| { message(r).child("retracted", ns::RETRACT).is_none() })
        );
    }
}

#[tokio::test]
async fn forged_stanza_ids_do_not_reach_the_archive_or_its_owner() {
    let world = World::new();
    let romeo = world.online("romeo@localhost/orchard").await;
    let juliet = world.online("juliet@localhost/balcony").await;
    world.domain("verona.lit");
    let forged = "<message type='chat' to='juliet@localhost'><body>x</body>\
         <stanza-id xmlns='urn:xmpp:sid:0' by='juliet@localhost' id='forged'/>\
         <stanza-id xmlns='urn:xmpp:sid:0' by='JULIET@localhost' id='forged'/></message>";
    romeo.send(forged).await;
    world.arrives(&forged.replace("<message", "<message from='tybalt@verona.lit/x'")).await;
    let got = juliet.sent();
    assert_eq!(got.len(), 2);
    for xml in got {
        assert!(!xml.contains("forged"), "{xml}");
        assert_eq!(xml.matches("<stanza-id").count(), 1, "{xml}");
    }
    let answer = query(&juliet, "").await;
    assert_eq!(answer.results.len(), 2);
    assert!(answer.results.iter().all(|r| !r.to_xml("").contains("forged")));
}

#[tokio::test]
async fn a_forged_carbon_arrives_as_an_empty_message_at_most() {
    let world = World::new();
    let juliet = world.online("juliet@localhost/balcony").await;
    let tybalt = world.online("tybalt@localhost/home").await;
    tybalt
        .send(
            "<message type='chat' to='juliet@localhost'><received xmlns='urn:xmpp:carbons:2'>\
             <forwarded xmlns='urn:xmpp:forward:0'><message xmlns='jabber:client' \
             from='romeo@localhost/orchard'><body>Thou shall meet me tonite</body></message>\
             </forwarded></received></message>",
        )
        .await;
    assert!(juliet.sent().iter().all(|xml| !xml.contains("tonite")));
}
