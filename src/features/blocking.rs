//! XEP-0191: Blocking Command (1.3). "Polite blocking": subscriptions stay as they are, the user
//! merely seems to be offline.

use super::{
    Ctx, Feature, Handled, Iq, Outbox, Reply, Target, Who, availability, get, on, reports, set, xep,
};
use crate::config::HostConfig;
use crate::jid::{BareJid, Jid};
use crate::router::Router;
use crate::router::sessions::Flag;
use crate::stanza::error::{Condition, ErrorType, StanzaError};
use crate::stanza::{Stanza, Type};
use crate::store::{Facts, StoreError};
use crate::xml::element::Element;
use crate::xml::ns;

pub const FEATURE: Feature = Feature {
    xeps: &[xep(191, "1.3")],
    disco: &[on(Target::Host, ns::BLOCKING)],
    iq: &[
        get(Target::Account, Who::Owner, "blocklist", ns::BLOCKING, list),
        set(Target::Account, Who::Owner, "block", ns::BLOCKING, block),
        set(Target::Account, Who::Owner, "unblock", ns::BLOCKING, unblock),
    ],
    ..Feature::NONE
};

/// Does the account block this address? Never true of its own resources (§4).
pub fn is_blocked(facts: &Facts, other: &Jid) -> bool {
    !facts.blocked.is_empty() && other.bare_str() != facts.jid.as_str() && facts.blocks(other)
}

/// §3.3: what a session is told that writes to an address it blocks. Rewriting the stanza would not
/// help, so it is no `modify`, as the condition by itself would be.
pub fn outbound_refusal() -> StanzaError {
    StanzaError::new(Condition::NotAcceptable)
        .with_type(ErrorType::Cancel)
        .with_text("You have blocked this address.")
        .with_app(Element::new("blocked", ns::BLOCKING_ERRORS))
}

fn list<'a>(cx: &'a Ctx<'a>, _: Iq) -> Handled<'a> {
    Box::pin(async move {
        let session = cx.session()?;
        session.set(Flag::BlockListInterested, true);
        let jids = cx.router.store.blocks().list(session.account).await?;
        Ok(Reply::Result(items("blocklist", &jids)))
    })
}

fn block<'a>(cx: &'a Ctx<'a>, iq: Iq) -> Handled<'a> {
    Box::pin(async move {
        let session = cx.session()?;
        let owner = cx.account()?;
        let jids = wanted(&iq.payload)?;
        if jids.is_empty() {
            return Err(StanzaError::new(Condition::BadRequest)
                .with_text("Name at least one address to block."));
        }
        if jids.iter().any(|jid| jid.bare_str() == owner.as_str()) {
            return Err(
                StanzaError::new(Condition::NotAllowed).with_text("You cannot block yourself.")
            );
        }
        let reports = reports::parse(&iq.payload, session.account, cx.now)?;
        match block_for(cx.router, cx.host, owner, jids, cx.out).await {
            Err(StoreError::TooMany { max, .. }) => {
                return Err(StanzaError::new(Condition::PolicyViolation).with_text(format!(
                    "At most {max} addresses can be blocked (blocklist_max)."
                )));
            }
            new => drop(new?),
        }
        reports::file(cx.router, reports).await?;
        Ok(Reply::Empty)
    })
}

fn unblock<'a>(cx: &'a Ctx<'a>, iq: Iq) -> Handled<'a> {
    Box::pin(async move {
        let owner = cx.account()?;
        let jids = wanted(&iq.payload)?;
        unblock_for(cx.router, owner, jids, cx.out).await?;
        Ok(Reply::Empty)
    })
}

/// Blocks addresses for `owner` and tells its clients and who was blocked. Returns which are new.
pub async fn block_for(
    router: &Router,
    host: &HostConfig,
    owner: &BareJid,
    jids: Vec<Jid>,
    out: &Outbox,
) -> Result<Vec<Jid>, StoreError> {
    let facts = router.store.facts(owner).await?.ok_or(StoreError::NoSuchAccount)?;
    let new = router.store.blocks().block(facts.id, jids.clone(), host.blocklist_max).await?;
    if let Some(facts) = router.store.facts(owner).await? {
        for jid in &new {
            availability::hide_from(router, &facts, jid, out);
        }
    }
    push(router, owner, items("block", &jids), out);
    Ok(new)
}

/// Unblocks addresses for `owner`, all of them if none is named. Returns which were blocked.
pub async fn unblock_for(
    router: &Router,
    owner: &BareJid,
    jids: Vec<Jid>,
    out: &Outbox,
) -> Result<Vec<Jid>, StoreError> {
    let facts = router.store.facts(owner).await?.ok_or(StoreError::NoSuchAccount)?;
    let gone = router.store.blocks().unblock(facts.id, jids.clone()).await?;
    if let Some(facts) = router.store.facts(owner).await? {
        availability::show_to(router, &facts, &gone, out);
    }
    push(router, owner, items("unblock", &jids), out);
    Ok(gone)
}

/// Tells the sessions that have asked for the list (§3.3, §3.5).
fn push(router: &Router, owner: &BareJid, change: Element, out: &Outbox) {
    let push = Stanza::iq(Type::Set, "blocklist", None, None, Some(change));
    for session in router.sessions.of(owner.as_str()) {
        if session.has(Flag::BlockListInterested) {
            let mut push = push.clone();
            push.head.to = Some(session.jid.clone());
            out.push_to(&session, push);
        }
    }
}

fn items(name: &str, jids: &[Jid]) -> Element {
    let item = |jid: &Jid| Element::new("item", ns::BLOCKING).attr("jid", jid.as_str());
    jids.iter().fold(Element::new(name, ns::BLOCKING), |list, jid| list.with(item(jid)))
}

fn wanted(list: &Element) -> Result<Vec<Jid>, StanzaError> {
    let mut jids = Vec::new();
    for item in list.children() {
        let jid = item.get("jid").filter(|_| item.is("item", ns::BLOCKING));
        let jid = jid.ok_or_else(|| {
            StanzaError::new(Condition::BadRequest).with_text("Each item has a 'jid'.")
        })?;
        let jid = Jid::parse(jid).map_err(|_| StanzaError::new(Condition::JidMalformed))?;
        if !jids.contains(&jid) {
            jids.push(jid);
        }
    }
    Ok(jids)
}

#[cfg(test)]
mod tests {
    use crate::testing::{Player, World, drained};

    fn command(name: &str, jids: &[&str]) -> String {
        let items: String = jids.iter().map(|jid| format!("<item jid='{jid}'/>")).collect();
        format!("<iq type='set' id='c'><{name} xmlns='urn:xmpp:blocking'>{items}</{name}></iq>")
    }

    const LIST: &str = "<iq type='get' id='l'><blocklist xmlns='urn:xmpp:blocking'/></iq>";

    async fn subscribe(from: &Player<'_>, to: &Player<'_>) {
        let (from_jid, to_jid) = (from.session.jid.bare(), to.session.jid.bare());
        from.send(&format!("<presence to='{to_jid}' type='subscribe'/>")).await;
        to.send(&format!("<presence to='{from_jid}' type='subscribed'/>")).await;
        from.take();
        to.take();
    }

    #[tokio::test]
    async fn the_list_is_kept_and_pushed_to_those_who_asked_for_it() {
        let world = World::new();
        let phone = world.session("alice@localhost/phone").await;
        let desk = world.session("alice@localhost/desk").await;
        let empty = phone.ask(LIST).await;
        assert!(empty.contains("<blocklist xmlns='urn:xmpp:blocking'/>"), "{empty}");
        desk.send(&command("block", &["bob@localhost", "spam.example"])).await;
        assert_eq!(desk.sent().len(), 1, "the result; it did not ask for the list");
        let push = phone.sent().pop().unwrap();
        let items = "<item jid='bob@localhost'/><item jid='spam.example'/>";
        assert!(
            push.contains(&format!("<block xmlns='urn:xmpp:blocking'>{items}</block>")),
            "{push}"
        );
        assert!(phone.ask(LIST).await.contains(items));

        desk.send(&command("unblock", &["spam.example"])).await;
        let push = phone.sent().pop().unwrap();
        assert!(push.contains("<unblock") && push.contains("spam.example"), "{push}");
        desk.send(&command("unblock", &[])).await;
        let push = phone.sent().pop().unwrap();
        assert!(push.contains("<unblock xmlns='urn:xmpp:blocking'/>"), "{push}");
        assert!(phone.ask(LIST).await.contains("<blocklist xmlns='urn:xmpp:blocking'/>"));
    }

    #[tokio::test]
    async fn faulty_commands_are_refused() {
        let world = World::configured("[hosts.\"localhost\"]\nblocklist_max = 2\n");
        let alice = world.session("alice@localhost/a").await;
        for (xml, condition) in [
            (command("block", &[]), "bad-request"),
            (command("block", &["@"]), "jid-malformed"),
            (command("block", &["alice@localhost"]), "not-allowed"),
            (command("block", &["a@b", "c@d", "e@f"]), "policy-violation"),
            (command("block", &["a@b"]).replace("jid=", "name="), "bad-request"),
        ] {
            let answer = alice.ask(&xml).await;
            assert!(answer.contains(condition), "{xml} → {answer}");
        }
        assert!(!alice.ask(LIST).await.contains("<item"));
    }

    #[tokio::test]
    async fn the_blocked_see_the_user_leave_and_come_back() {
        let world = World::new();
        let alice = world.online("alice@localhost/a").await;
        let bob = world.online("bob@localhost/b").await;
        let carol = world.online("carol@localhost/c").await;
        subscribe(&bob, &alice).await;
        subscribe(&alice, &bob).await;
        alice.send(&command("block", &["bob@localhost", "carol@localhost"])).await;
        let got = bob.sent();
        assert!(got.len() == 1 && got[0].contains("type='unavailable'"), "{got:?}");
        assert!(carol.sent().is_empty(), "she never saw alice");

        alice.sent();
        alice.send(&command("unblock", &["bob@localhost"])).await;
        let got = bob.sent();
        assert!(got.len() == 1 && got[0].contains("from='alice@localhost/a'"), "{got:?}");
        let got = alice.sent();
        assert!(got.iter().any(|xml| xml.contains("from='bob@localhost/b'")), "{got:?}");
    }

    #[tokio::test]
    async fn a_domain_covers_its_users_and_directed_presence() {
        let world = World::new();
        let far = world.domain("far.example");
        let alice = world.online("alice@localhost/a").await;
        world
            .arrives("<presence from='x@far.example' to='alice@localhost' type='subscribe'/>")
            .await;
        alice.send("<presence to='x@far.example' type='subscribed'/>").await;
        alice.send("<presence to='room@far.example/alice'/>").await;
        drained(&far.mailbox);
        alice.send(&command("block", &["far.example"])).await;
        let mut told: Vec<String> = drained(&far.mailbox)
            .iter()
            .map(|stanza| stanza.head.to.as_ref().unwrap().to_string())
            .collect();
        told.sort();
        assert_eq!(told, ["room@far.example/alice", "x@far.example"]);
    }

    #[tokio::test]
    async fn one_block_covers_what_section_5_says() {
        let world = World::new();
        let alice = world.session("alice@localhost/a").await;
        let owner = alice.session.jid.bare();
        for (entry, covered, free) in [
            ("b@x/1", vec!["b@x/1"], vec!["b@x", "b@x/2", "x", "x/1"]),
            ("b@x", vec!["b@x", "b@x/1"], vec!["c@x", "x", "x/1"]),
            ("x/1", vec!["x/1"], vec!["x", "b@x"]),
            ("x", vec!["x", "x/1", "b@x", "b@x/1"], vec!["y.x", "b@y"]),
            ("localhost", vec!["bob@localhost"], vec!["alice@localhost", "alice@localhost/b"]),
        ] {
            alice.send(&command("block", &[entry])).await;
            let facts = world.router.store.facts(&owner).await.unwrap().unwrap();
            for (list, expected) in [(covered, true), (free, false)] {
                for jid in list {
                    let jid = jid.parse().unwrap();
                    assert_eq!(super::is_blocked(&facts, &jid), expected, "{entry} and {jid}");
                }
            }
            alice.send(&command("unblock", &[])).await;
        }
    }

    #[tokio::test]
    async fn a_report_inside_a_block_is_stored() {
        let world = World::new();
        let alice = world.session("alice@localhost/a").await;
        let report = "<iq type='set' id='r'><block xmlns='urn:xmpp:blocking'>\
            <item jid='romeo@example.net'>\
            <report xmlns='urn:xmpp:reporting:1' reason='urn:xmpp:reporting:spam'>\
            <stanza-id xmlns='urn:xmpp:sid:0' by='romeo@example.net' id='28482-98726-73623'/>\
            <text xml:lang='en'>\n Never came trouble to my house like this.\n </text></report>\
            </item></block></iq>";
        assert!(alice.ask(report).await.contains("type='result'"));
        let filed = world.router.store.reports().list(true, None, 10).await.unwrap();
        let report = &filed[0].report;
        assert_eq!(report.about.as_str(), "romeo@example.net");
        assert_eq!(report.reason, "urn:xmpp:reporting:spam");
        assert_eq!(report.text, "Never came trouble to my house like this.");
        assert_eq!(report.stanza_ids[0].1, "28482-98726-73623");
        let push = alice.ask(LIST).await;
        assert!(push.contains("<item jid='romeo@example.net'/>"), "{push}");
    }

    #[tokio::test]
    async fn a_report_without_a_reason_blocks_nobody() {
        let world = World::new();
        let alice = world.session("alice@localhost/a").await;
        let answer = alice
            .ask(
                "<iq type='set' id='r'><block xmlns='urn:xmpp:blocking'><item jid='a@b'>\
                 <report xmlns='urn:xmpp:reporting:1'/></item></block></iq>",
            )
            .await;
        assert!(answer.contains("bad-request"), "{answer}");
        assert!(!alice.ask(LIST).await.contains("a@b"));
    }
}
