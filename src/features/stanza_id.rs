//! XEP-0359: Unique and Stable Stanza IDs (0.7.0).
//!
//! The archive id of a message is its stanza-id, `by` the account's bare JID. Its owner alone gets
//! it (XEP-0313 §3.4); whatever a stranger wrote in our name is taken out first.

use crate::jid::{BareJid, Jid};
use crate::stanza::{ChildRef, Stanza};
use crate::store::MessageId;
use crate::xml::element::Element;
use crate::xml::ns;

use super::{Feature, Target, on, xep};

pub const FEATURE: Feature =
    Feature { xeps: &[xep(359, "0.7.0")], disco: &[on(Target::Account, ns::SID)], ..Feature::NONE };

/// Takes out every `<stanza-id/>` whose `by` is `ours`: nobody but this server may say so (§3,
/// rule 2). To be called on a message before it is archived.
pub fn strip_forged(stanza: &mut Stanza, ours: impl Fn(&Jid) -> bool) {
    // Nearly no message has one, so nearly none is copied.
    if stanza.children().any(|child| is_forged(&child, &ours)) {
        *stanza = stanza.without(|child| is_forged(child, &ours));
    }
}

fn is_forged(child: &ChildRef<'_>, ours: impl Fn(&Jid) -> bool) -> bool {
    // Compared as addresses: `ROMEO@montague.lit` in `by` is as much a forgery.
    child.is("stanza-id", ns::SID)
        && child.get("by").is_some_and(|by| Jid::parse(&by).is_ok_and(|by| ours(&by)))
}

/// Tells the account's own client under which id its archive holds this message.
pub fn add(stanza: &Stanza, account: &BareJid, id: MessageId) -> Stanza {
    let child =
        Element::new("stanza-id", ns::SID).attr("by", account.as_str()).attr("id", id.to_string());
    stanza.with_element(&child)
}

/// The `<origin-id/>` that the sending client gave its message.
pub fn origin_id(stanza: &Stanza) -> Option<String> {
    let id = stanza.child("origin-id", ns::SID)?.get("id")?;
    Some(id.into_owned()).filter(|id| !id.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn juliet() -> BareJid {
        BareJid::parse("juliet@capulet.lit").expect("a bare JID")
    }

    fn is_juliet(by: &Jid) -> bool {
        by.as_str() == "juliet@capulet.lit"
    }

    fn parse(xml: &str) -> Stanza {
        Stanza::parse(xml.as_bytes()).expect("a stanza")
    }

    fn text(stanza: &Stanza) -> String {
        let mut out = Vec::new();
        stanza.write(&mut out);
        String::from_utf8(out).expect("UTF-8")
    }

    #[test]
    fn an_archived_message_tells_its_owner_the_id() {
        let stanza = parse(
            "<message from='romeo@montague.lit/orchard' to='juliet@capulet.lit/balcony' type='chat'>\
             <body>Call me but love</body></message>",
        );
        let id = MessageId::parse("0123456789abc").expect("an id");
        assert!(text(&add(&stanza, &juliet(), id)).ends_with(
            "<body>Call me but love</body>\
             <stanza-id xmlns='urn:xmpp:sid:0' by='juliet@capulet.lit' id='0123456789abc'/></message>"
        ));
    }

    #[test]
    fn an_id_in_our_name_is_taken_out_however_it_is_spelled() {
        for by in ["juliet@capulet.lit", "JULIET@Capulet.Lit", "juliet@capulet.lit."] {
            let mut stanza = parse(&format!(
                "<message to='juliet@capulet.lit'><stanza-id xmlns='urn:xmpp:sid:0' by='{by}' id='forged'/>\
                 <body>x</body></message>"
            ));
            strip_forged(&mut stanza, is_juliet);
            let clean = text(&stanza);
            assert!(!clean.contains("forged"), "{by}: {clean}");
            assert!(clean.contains("<body>x</body>"));
        }
    }

    #[test]
    fn ids_of_others_and_of_the_origin_stay() {
        let xml = "<message to='juliet@capulet.lit'><body>x</body>\
             <stanza-id xmlns='urn:xmpp:sid:0' by='room@muc.example.com' id='5f3dbc5e'/>\
             <origin-id xmlns='urn:xmpp:sid:0' id='de305d54'/></message>";
        let mut stanza = parse(xml);
        strip_forged(&mut stanza, is_juliet);
        assert_eq!(stanza.payload(), parse(xml).payload());
        assert_eq!(origin_id(&stanza).as_deref(), Some("de305d54"));
    }
}
