//! XEP-0424: Message Retraction (0.4.2): a tombstone takes the place of what was retracted.
//!
//! Both pipelines call [`apply`] for what they archive. The retraction itself is archived like any
//! message, for clients that were away. Rooms do the same for their own archives.

use memchr::memmem;

use crate::jid::BareJid;
use crate::router::Router;
use crate::stanza::{Kind, Stanza, Type};
use crate::store::{Store, StoreError};
use crate::time::Now;
use crate::xml::element::Element;
use crate::xml::ns;

use super::stanza_id::origin_id;
use super::{Feature, Target, on, xep};

pub const FEATURE: Feature = Feature {
    xeps: &[xep(424, "0.4.2")],
    disco: &[
        on(Target::Host, ns::RETRACT),
        on(Target::Account, ns::RETRACT),
        on(Target::Account, ns::RETRACT_TOMBSTONE),
    ],
    ..Feature::NONE
};

/// How far back in a conversation we look for the message; each is read and unpacked.
const DEPTH: usize = 500;

/// The id of the message that this one retracts, between two people. In rooms the room decides.
pub fn target(stanza: &Stanza) -> Option<String> {
    let head = &stanza.head;
    if head.kind != Kind::Message || matches!(head.typ, Some(Type::Groupchat | Type::Error)) {
        return None;
    }
    let id = stanza.child("retract", ns::RETRACT)?.get("id")?;
    Some(id.into_owned()).filter(|id| !id.is_empty())
}

/// Carries out a retraction in the archive of `owner`, who sent or received it. Does nothing for
/// any other message.
///
/// Only what came from the retraction's own sender is touched (§5), so its `from` must have been
/// stamped or verified. A retraction without an id of its own leaves no tombstone, since the
/// tombstone must name it (§4). Failing is no reason to hold the message up: it is archived itself.
pub async fn apply(router: &Router, owner: &BareJid, stanza: &Stanza, now: Now) {
    let Some(target) = target(stanza) else { return };
    if let Err(error) = replace(&router.store, owner, stanza, target, now).await {
        tracing::warn!(%owner, %error, "a retracted message stays readable in the archive");
    }
}

async fn replace(
    store: &Store,
    owner: &BareJid,
    stanza: &Stanza,
    target: String,
    now: Now,
) -> Result<(), StoreError> {
    let head = &stanza.head;
    let (Some(retraction), Some(from), Some(to)) = (head.id.as_deref(), &head.from, &head.to)
    else {
        return Ok(());
    };
    let Some(facts) = store.facts(owner).await? else { return Ok(()) };
    let sender = from.bare();
    let peer = if sender == *owner { to.bare() } else { sender.clone() };
    let archive = store.archive();
    let found =
        archive.find(facts.id, &peer, DEPTH, move |row| is_original(row, &target, &sender)).await?;
    let Some(id) = found else { return Ok(()) };
    let row = archive.fetch(vec![id]).await?.pop();
    let Some(original) = row.and_then(|row| Stanza::parse(&row.stanza).ok()) else { return Ok(()) };
    // Between two local accounts the second pipeline finds the tombstone of the first.
    if original.has("retracted", ns::RETRACT) {
        return Ok(());
    }
    archive.retract(id, tombstone(&original, retraction, now).into()).await
}

/// Is this stored stanza the message named `target`, sent by `sender`?
fn is_original(row: &[u8], target: &str, sender: &BareJid) -> bool {
    // Most rows are told apart without reading them as XML; ids that need escaping are rare.
    let plain = !target.contains(['&', '<', '>', '\'', '"']);
    if plain && memmem::find(row, target.as_bytes()).is_none() {
        return false;
    }
    let Ok(stanza) = Stanza::parse(row) else { return false };
    stanza.head.from.as_ref().is_some_and(|from| from.bare_str() == sender.as_str())
        && (stanza.head.id.as_deref() == Some(target)
            || origin_id(&stanza).as_deref() == Some(target))
}

/// The original's addresses, id and type around `<retracted/>`, and nothing else of it.
fn tombstone(original: &Stanza, retraction: &str, now: Now) -> Vec<u8> {
    let retracted =
        Element::new("retracted", ns::RETRACT).attr("id", retraction).attr("stamp", now.to_xmpp());
    let mut out = Vec::new();
    Stanza::new(original.head.clone(), [retracted]).write_standalone(&mut out);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const ORIGINAL: &str = "<message xmlns='jabber:client' type='chat' from='romeo@montague.example/orchard' \
         to='lord@capulet.example' id='wrong-recipient-1'>\
         <body>Have not saints lips, and holy palmers too?</body>\
         <origin-id xmlns='urn:xmpp:sid:0' id='origin-1'/></message>";

    fn parse(xml: &str) -> Stanza {
        Stanza::parse(xml.as_bytes()).expect("a stanza")
    }

    fn romeo() -> BareJid {
        BareJid::parse("romeo@montague.example").expect("a bare JID")
    }

    #[test]
    fn the_example_names_its_target() {
        let retraction = "<message type='chat' to='lord@capulet.example' id='retract-message-1'>\
             <retract id='wrong-recipient-1' xmlns='urn:xmpp:message-retract:1'/>\
             <fallback xmlns='urn:xmpp:fallback:0' for='urn:xmpp:message-retract:1'/>\
             <body>/me retracted a previous message, but it's unsupported by your client.</body>\
             <store xmlns='urn:xmpp:hints'/></message>";
        assert_eq!(target(&parse(retraction)).as_deref(), Some("wrong-recipient-1"));
        let in_a_room = retraction.replace("'chat'", "'groupchat'");
        assert_eq!(target(&parse(&in_a_room)), None);
        assert_eq!(target(&parse(ORIGINAL)), None);
    }

    #[test]
    fn the_original_is_known_by_either_id_and_by_its_sender_only() {
        assert!(is_original(ORIGINAL.as_bytes(), "wrong-recipient-1", &romeo()));
        assert!(is_original(ORIGINAL.as_bytes(), "origin-1", &romeo()));
        assert!(!is_original(ORIGINAL.as_bytes(), "wrong-recipient-2", &romeo()));
        let tybalt = BareJid::parse("tybalt@capulet.example").expect("a bare JID");
        assert!(!is_original(ORIGINAL.as_bytes(), "wrong-recipient-1", &tybalt));
    }

    #[test]
    fn an_id_that_needs_escaping_is_found() {
        let xml = "<message from='romeo@montague.example/x' to='a@b' id='&lt;1&amp;2&gt;'><body/></message>";
        assert!(is_original(xml.as_bytes(), "<1&2>", &romeo()));
    }

    #[test]
    fn a_tombstone_keeps_the_address_and_nothing_of_the_text() {
        let now = Now::parse_xmpp("2019-09-20T23:09:32Z").expect("a time");
        let stone = tombstone(&parse(ORIGINAL), "retract-message-1", now);
        let stone = parse(std::str::from_utf8(&stone).expect("UTF-8"));
        assert_eq!(stone.head.id.as_deref(), Some("wrong-recipient-1"));
        assert_eq!(stone.head.from, parse(ORIGINAL).head.from);
        assert_eq!(
            std::str::from_utf8(stone.payload()),
            Ok("<retracted xmlns='urn:xmpp:message-retract:1' id='retract-message-1' \
                stamp='2019-09-20T23:09:32.000Z'/>")
        );
    }
}
