//! XEP-0012: Last Activity (2.0). An account's is for those who may see its presence; a session's
//! own answer comes from its client, so such a request passes through to it.

use super::{Ctx, Feature, Handled, Iq, Reply, Target, Who, done, get, on, xep};
use crate::jid::Jid;
use crate::stanza::{Condition, Stanza, Type};
use crate::store::Facts;
use crate::xml::element::Element;
use crate::xml::ns;

pub const FEATURE: Feature = Feature {
    xeps: &[xep(12, "2.0")],
    disco: &[on(Target::Host, ns::LAST), on(Target::Account, ns::LAST)],
    iq: &[
        get(Target::Host, Who::Anyone, "query", ns::LAST, uptime),
        get(Target::Account, Who::Anyone, "query", ns::LAST, of_account),
    ],
    ..Feature::NONE
};

/// §5: how long the server has been running.
fn uptime<'a>(cx: &'a Ctx<'a>, _: Iq) -> Handled<'a> {
    done(Ok(Reply::Result(query(cx.now.since(cx.router.started).as_secs()))))
}

/// §3: 0 while a session is there, else the time since the last one left, with its words.
fn of_account<'a>(cx: &'a Ctx<'a>, _: Iq) -> Handled<'a> {
    Box::pin(async move {
        let owner = cx.account()?;
        let store = &cx.router.store;
        let facts = store.facts(owner).await?.filter(|facts| may_ask(facts, cx.from.jid()));
        // The condition §3 demands; an account that does not exist answers alike.
        let facts = facts.ok_or(Condition::Forbidden)?;
        if !cx.router.sessions.of(owner.as_str()).is_empty() {
            return Ok(Reply::Result(query(0)));
        }
        let account = store.accounts().find(&facts.jid).await?;
        let seen = account.and_then(|account| account.last_seen);
        let seen = seen.ok_or(Condition::ItemNotFound)?;
        let answer = query(cx.now.since(seen.at).as_secs());
        Ok(Reply::Result(match seen.status.as_str() {
            "" => answer,
            status => answer.with_text(status),
        }))
    })
}

/// §4: may this request not reach a session, since its sender may not see its presence?
pub fn is_refused(facts: &Facts, from: &Jid, stanza: &Stanza) -> bool {
    stanza.head.typ == Some(Type::Get) && stanza.has("query", ns::LAST) && !may_ask(facts, from)
}

fn may_ask(facts: &Facts, from: &Jid) -> bool {
    let asker = from.bare_str();
    asker == facts.jid.as_str() || facts.subscription(asker).from()
}

fn query(seconds: u64) -> Element {
    Element::new("query", ns::LAST).attr("seconds", seconds.to_string())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use crate::testing::World;

    const GET: &str =
        "<iq to='alice@localhost' type='get' id='l'><query xmlns='jabber:iq:last'/></iq>";

    #[tokio::test]
    async fn contacts_learn_when_the_account_left_and_with_which_words() {
        let world = World::new();
        let alice = world.online("alice@localhost/a").await;
        let bob = world.online("bob@localhost/b").await;
        assert!(bob.ask(GET).await.contains("forbidden"));
        bob.send("<presence to='alice@localhost' type='subscribe'/>").await;
        alice.send("<presence to='bob@localhost' type='subscribed'/>").await;
        bob.take();
        assert!(bob.ask(GET).await.contains("<query xmlns='jabber:iq:last' seconds='0'/>"));
        alice.send("<presence type='unavailable'><status>Heading home</status></presence>").await;
        alice.leaves().await;
        world.wait(Duration::from_secs(903));
        let answer = bob.ask(GET).await;
        assert!(
            answer.contains("<query xmlns='jabber:iq:last' seconds='903'>Heading home</query>"),
            "{answer}"
        );
    }

    #[tokio::test]
    async fn strangers_cannot_tell_an_account_from_none() {
        let world = World::new();
        world.account("alice@localhost").await;
        let bob = world.session("bob@localhost/b").await;
        let there = bob.ask(GET).await;
        let nobody = bob.ask(&GET.replace("alice", "nobody")).await;
        assert_eq!(there, nobody.replace("nobody", "alice"));
    }

    #[tokio::test]
    async fn a_session_is_asked_only_by_those_who_may_see_it() {
        let world = World::new();
        let alice = world.online("alice@localhost/a").await;
        let bob = world.online("bob@localhost/b").await;
        let get = GET.replace("alice@localhost", "alice@localhost/a");
        assert!(bob.ask(&get).await.contains("forbidden"));
        assert!(alice.sent().is_empty());
        bob.send("<presence to='alice@localhost' type='subscribe'/>").await;
        alice.send("<presence to='bob@localhost' type='subscribed'/>").await;
        alice.take();
        bob.send(&get).await;
        assert!(alice.sent()[0].contains("jabber:iq:last"));
    }

    #[tokio::test]
    async fn a_host_tells_its_uptime() {
        let world = World::new();
        let bob = world.session("bob@localhost/b").await;
        let answer = bob.ask(&GET.replace("alice@", "")).await;
        assert!(answer.contains("seconds='"), "{answer}");
    }
}
