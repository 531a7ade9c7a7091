//! XEP-0049: Private XML Storage (1.2): one element per name and namespace, read and written by
//! the account's own sessions only.

use bytes::Bytes;

use super::{Ctx, Feature, Handled, Iq, Reply, Target, Who, get, on, set, xep};
use crate::stanza::error::{Condition, StanzaError};
use crate::store::StoreError;
use crate::store::private::PrivateLimits;
use crate::xml::element::Element;
use crate::xml::ns;

pub const FEATURE: Feature = Feature {
    xeps: &[xep(49, "1.2")],
    disco: &[on(Target::Host, ns::PRIVATE), on(Target::Account, ns::PRIVATE)],
    iq: &[
        get(Target::Account, Who::Owner, "query", ns::PRIVATE, read),
        set(Target::Account, Who::Owner, "query", ns::PRIVATE, write),
    ],
    ..Feature::NONE
};

/// Elements of one account; bookmarks and a client's settings are what this is for.
pub const ELEMENTS_MAX: usize = 256;

fn read<'a>(cx: &'a Ctx<'a>, iq: Iq) -> Handled<'a> {
    Box::pin(async move {
        let owner = cx.session()?.account;
        let asked = wanted(&iq.payload)?;
        let mut query = Element::new("query", ns::PRIVATE);
        for element in asked {
            let kept = cx.router.store.private().get(owner, element.name(), element.ns()).await?;
            query.push(match kept {
                Some(xml) => {
                    Element::parse(&xml, ns::CLIENT).map_err(|_| Condition::InternalServerError)?
                }
                None => Element::new(element.name(), element.ns()),
            });
        }
        Ok(Reply::Result(query))
    })
}

fn write<'a>(cx: &'a Ctx<'a>, iq: Iq) -> Handled<'a> {
    Box::pin(async move {
        let owner = cx.session()?.account;
        let bytes_max = cx.host.private_bytes_max;
        let limits = PrivateLimits { elements_max: ELEMENTS_MAX, bytes_max };
        for element in wanted(&iq.payload)? {
            let xml = Bytes::from(element.to_xml(""));
            let private = cx.router.store.private();
            match private.set(owner, element.name(), element.ns(), xml, limits).await {
                Err(StoreError::TooMany { max, what }) => {
                    return Err(StanzaError::new(Condition::PolicyViolation).with_text(format!(
                        "Private storage holds at most {max} {what} (private_bytes_max)."
                    )));
                }
                result => result?,
            }
        }
        Ok(Reply::Empty)
    })
}

/// The children; there must be one, and each in a namespace of its own.
fn wanted(query: &Element) -> Result<Vec<&Element>, StanzaError> {
    let elements: Vec<&Element> = query.children().collect();
    if elements.is_empty() {
        return Err(StanzaError::new(Condition::BadRequest)
            .with_text("Private storage needs an element to read or write."));
    }
    if elements.iter().any(|e| e.ns().is_empty() || e.ns() == ns::PRIVATE) {
        return Err(StanzaError::new(Condition::BadRequest)
            .with_text("A private element has a namespace of its own."));
    }
    Ok(elements)
}

#[cfg(test)]
mod tests {
    use crate::testing::World;

    fn query(typ: &str, content: &str) -> String {
        format!("<iq type='{typ}' id='p'><query xmlns='jabber:iq:private'>{content}</query></iq>")
    }

    #[tokio::test]
    async fn what_was_stored_is_read_back() {
        let world = World::new();
        let alice = world.session("alice@localhost/a").await;
        let empty = "<exodus xmlns='exodus:prefs'/>";
        let full = "<exodus xmlns='exodus:prefs'><nick xml:lang='da'>Ham &amp; let</nick></exodus>";
        assert!(alice.ask(&query("get", empty)).await.contains(empty));
        assert!(alice.ask(&query("set", full)).await.contains("type='result'"));
        assert!(alice.ask(&query("get", empty)).await.contains(full));
        let both =
            alice.ask(&query("get", "<x xmlns='urn:x'/><exodus xmlns='exodus:prefs'/>")).await;
        assert!(both.contains("<x xmlns='urn:x'/>") && both.contains(full), "{both}");
    }

    #[tokio::test]
    async fn it_is_private_and_bounded() {
        let world = World::configured("[hosts.\"localhost\"]\nprivate_bytes_max = '1000 B'\n");
        let alice = world.session("alice@localhost/a").await;
        let bob = world.session("bob@localhost/b").await;
        let other = query("get", "<x xmlns='urn:x'/>").replace("<iq ", "<iq to='alice@localhost' ");
        assert!(bob.ask(&other).await.contains("forbidden"));
        let large = format!("<x xmlns='urn:x'>{}</x>", "y".repeat(1_000));
        assert!(alice.ask(&query("set", &large)).await.contains("policy-violation"));
        for nothing in ["", "<x xmlns=''/>", "<x/>"] {
            assert!(alice.ask(&query("set", nothing)).await.contains("bad-request"), "{nothing}");
        }
    }
}
