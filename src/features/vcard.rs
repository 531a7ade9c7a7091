//! XEP-0054: vcard-temp (1.3.0). Anybody may read a vCard, its owner writes it. XEP-0153's hash in
//! presence is the client's to send; the server does not touch it.

use bytes::Bytes;

use super::{Ctx, Feature, Handled, Iq, Reply, Target, Who, get, on, set, xep};
use crate::stanza::error::{Condition, StanzaError};
use crate::xml::element::Element;
use crate::xml::ns;

pub const FEATURE: Feature = Feature {
    xeps: &[xep(54, "1.3.0")],
    disco: &[on(Target::Host, ns::VCARD), on(Target::Account, ns::VCARD)],
    iq: &[
        get(Target::Account, Who::Anyone, "vCard", ns::VCARD, read),
        set(Target::Account, Who::Owner, "vCard", ns::VCARD, write),
    ],
    ..Feature::NONE
};

/// An account without a vCard and one that does not exist answer alike.
fn read<'a>(cx: &'a Ctx<'a>, _: Iq) -> Handled<'a> {
    Box::pin(async move {
        let store = &cx.router.store;
        let missing = || match cx.is_owner() {
            true => StanzaError::new(Condition::ItemNotFound),
            false => StanzaError::new(Condition::ServiceUnavailable),
        };
        let facts = store.facts(cx.account()?).await?.ok_or_else(missing)?;
        let xml = store.vcards().get(facts.id).await?.ok_or_else(missing)?;
        Ok(Reply::Result(
            Element::parse(&xml, ns::CLIENT).map_err(|_| Condition::InternalServerError)?,
        ))
    })
}

fn write<'a>(cx: &'a Ctx<'a>, iq: Iq) -> Handled<'a> {
    Box::pin(async move {
        let xml = iq.payload.to_xml("");
        let max = cx.host.vcard_bytes_max;
        if xml.len() > max {
            return Err(StanzaError::new(Condition::PolicyViolation).with_text(format!(
                "The vCard has {} bytes; at most {max} are kept (vcard_bytes_max).",
                xml.len()
            )));
        }
        cx.router.store.vcards().set(cx.session()?.account, Bytes::from(xml)).await?;
        Ok(Reply::Empty)
    })
}

#[cfg(test)]
mod tests {
    use crate::testing::World;

    const GET: &str = "<iq type='get' id='v'><vCard xmlns='vcard-temp'/></iq>";

    #[tokio::test]
    async fn the_owner_writes_and_anybody_reads() {
        let world = World::new();
        let alice = world.session("alice@localhost/a").await;
        let bob = world.session("bob@localhost/b").await;
        assert!(alice.ask(GET).await.contains("item-not-found"));
        let card = "<vCard xmlns='vcard-temp'><FN>Alice &lt;3</FN></vCard>";
        let set = format!("<iq type='set' id='v'>{card}</iq>");
        assert!(alice.ask(&set).await.contains("type='result'"));
        let get = GET.replace("<iq ", "<iq to='alice@localhost' ");
        assert!(bob.ask(&get).await.contains(card));
        let forged = set.replace("<iq ", "<iq to='alice@localhost' ");
        assert!(bob.ask(&forged).await.contains("forbidden"));
    }

    #[tokio::test]
    async fn no_vcard_and_no_account_look_alike() {
        let world = World::new();
        world.account("bob@localhost").await;
        let alice = world.session("alice@localhost/a").await;
        let mut answers = Vec::new();
        for name in ["bob", "nobody"] {
            let get = GET.replace("<iq ", &format!("<iq to='{name}@localhost' "));
            answers.push(alice.ask(&get).await.replace(name, "*"));
        }
        assert_eq!(answers[0], answers[1]);
        assert!(answers[0].contains("service-unavailable"));
    }

    #[tokio::test]
    async fn a_vcard_is_bounded() {
        let world = World::configured("[hosts.\"localhost\"]\nvcard_bytes_max = '2000 B'\n");
        let alice = world.session("alice@localhost/a").await;
        let large = "x".repeat(2_000);
        let set = format!("<iq type='set' id='v'><vCard xmlns='vcard-temp'>{large}</vCard></iq>");
        assert!(alice.ask(&set).await.contains("policy-violation"));
    }
}
