//! XEP-0441: Message Archive Management Preferences.

use super::owner;
use super::rule::from_host;
use crate::features::{Ctx, Handled, Iq, Reply};
use crate::jid::Jid;
use crate::stanza::error::{Condition, StanzaError};
use crate::store::archive::{ArchiveDefault, ArchivePrefs};
use crate::xml::element::Element;
use crate::xml::ns;

/// Addresses in one of the two lists; every message to or from the account looks through them.
const LIST_MAX: usize = 1_000;

pub(super) fn read<'a>(cx: &'a Ctx<'a>, _: Iq) -> Handled<'a> {
    Box::pin(async move {
        let account = owner(cx)?.account;
        let prefs =
            cx.router.store.archive().prefs(account).await?.unwrap_or_else(|| ArchivePrefs {
                default: from_host(cx.host.archive.default),
                always: Box::default(),
                never: Box::default(),
            });
        Ok(Reply::Result(to_xml(&prefs)))
    })
}

pub(super) fn write<'a>(cx: &'a Ctx<'a>, iq: Iq) -> Handled<'a> {
    Box::pin(async move {
        let account = owner(cx)?.account;
        let prefs = from_xml(&iq.payload)?;
        let reply = to_xml(&prefs);
        cx.router.store.archive().set_prefs(account, prefs).await?;
        Ok(Reply::Result(reply))
    })
}

fn from_xml(prefs: &Element) -> Result<ArchivePrefs, StanzaError> {
    let default = match prefs.get("default") {
        Some("always") => ArchiveDefault::Always,
        Some("never") => ArchiveDefault::Never,
        Some("roster") => ArchiveDefault::Roster,
        _ => {
            return Err(refusal(
                Condition::BadRequest,
                "'default' is 'always', 'never' or 'roster'.",
            ));
        }
    };
    Ok(ArchivePrefs { default, always: list(prefs, "always")?, never: list(prefs, "never")? })
}

fn list(prefs: &Element, name: &str) -> Result<Box<[Jid]>, StanzaError> {
    let mut jids = Vec::new();
    for entry in prefs.child(name, ns::MAM2).into_iter().flat_map(Element::children) {
        if !entry.is("jid", ns::MAM2) {
            return Err(refusal(Condition::BadRequest, "A list of preferences holds <jid/> only."));
        }
        if jids.len() == LIST_MAX {
            return Err(refusal(
                Condition::PolicyViolation,
                format!("A list holds at most {LIST_MAX} addresses."),
            ));
        }
        let jid = Jid::parse(entry.text().trim());
        jids.push(jid.map_err(|e| refusal(Condition::JidMalformed, format!("In <{name}/>: {e}")))?);
    }
    jids.sort_unstable();
    jids.dedup();
    Ok(jids.into())
}

fn refusal(condition: Condition, text: impl Into<String>) -> StanzaError {
    StanzaError::new(condition).with_text(text)
}

fn to_xml(prefs: &ArchivePrefs) -> Element {
    let default = match prefs.default {
        ArchiveDefault::Always => "always",
        ArchiveDefault::Never => "never",
        ArchiveDefault::Roster => "roster",
    };
    let list = |name: &str, jids: &[Jid]| {
        jids.iter().fold(Element::new(name, ns::MAM2), |list, jid| {
            list.with(Element::new("jid", ns::MAM2).with_text(jid.as_str()))
        })
    };
    Element::new("prefs", ns::MAM2)
        .attr("default", default)
        .with(list("always", &prefs.always))
        .with(list("never", &prefs.never))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(xml: &str) -> Result<ArchivePrefs, StanzaError> {
        from_xml(&Element::parse(xml.as_bytes(), ns::CLIENT).expect("XML"))
    }

    #[test]
    fn the_example_is_applied_as_it_was_sent() {
        let xml = "<prefs xmlns='urn:xmpp:mam:2' default='roster'>\
             <always><jid>romeo@montague.lit</jid></always>\
             <never><jid>montague@montague.lit</jid></never></prefs>";
        assert_eq!(to_xml(&parse(xml).expect("preferences")).to_xml(ns::CLIENT), xml);
    }

    #[test]
    fn missing_lists_are_empty() {
        let prefs = parse("<prefs xmlns='urn:xmpp:mam:2' default='never'/>").expect("preferences");
        assert!(prefs.always.is_empty() && prefs.never.is_empty());
        assert_eq!(
            to_xml(&prefs).to_xml(ns::CLIENT),
            "<prefs xmlns='urn:xmpp:mam:2' default='never'><always/><never/></prefs>"
        );
    }

    #[test]
    fn nonsense_and_excess_are_refused() {
        let condition = |xml: &str| parse(xml).expect_err("a refusal").condition;
        assert_eq!(condition("<prefs xmlns='urn:xmpp:mam:2'/>"), Condition::BadRequest);
        assert_eq!(
            condition("<prefs xmlns='urn:xmpp:mam:2' default='often'/>"),
            Condition::BadRequest
        );
        let jid =
            "<prefs xmlns='urn:xmpp:mam:2' default='never'><always><jid>@</jid></always></prefs>";
        assert_eq!(condition(jid), Condition::JidMalformed);
        let many: String = (0..=LIST_MAX).map(|n| format!("<jid>u{n}@x</jid>")).collect();
        let many =
            format!("<prefs xmlns='urn:xmpp:mam:2' default='never'><never>{many}</never></prefs>");
        assert_eq!(condition(&many), Condition::PolicyViolation);
    }
}
