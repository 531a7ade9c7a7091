//! Which messages an archive takes: by what they are, and by what their owner wants.

use crate::config::model::{ArchiveDefault as HostDefault, HostConfig};
use crate::jid::Jid;
use crate::stanza::content::Content;
use crate::stanza::{Kind, Stanza, Type};
use crate::store::Facts;
use crate::store::archive::{ArchiveDefault, ArchivePrefs};

/// Whether a message is worth archiving at all (XEP-0313 §6.1.1, XEP-0334).
///
/// What its sender hints at counts first. Then anything a user would miss: text, even encrypted,
/// receipts and markers, reactions, corrections, retractions, invitations and calls; not who is
/// typing. Rooms keep their own archives, headlines are news, errors are nobody's words.
pub fn wants(stanza: &Stanza) -> bool {
    if stanza.head.kind != Kind::Message
        || matches!(stanza.head.typ, Some(Type::Error | Type::Groupchat))
    {
        return false;
    }
    let content = Content::of(stanza);
    if content.hints.no_store || content.hints.no_permanent_store {
        return false;
    }
    content.hints.store || (stanza.head.typ != Some(Type::Headline) && content.matters())
}

/// Whether the owner of these facts keeps what it exchanges with `peer` (XEP-0441): the receiver
/// of what it sent, the sender of what it got, as they were addressed.
pub fn keeps(facts: &Facts, host: &HostConfig, peer: &Jid) -> bool {
    let in_roster = || facts.has_contact(peer.bare_str());
    match &facts.prefs {
        Some(prefs) => decide(prefs, peer, in_roster),
        None => by_default(from_host(host.archive.default), in_roster),
    }
}

/// XEP-0441 §2.3. A list that names the full JID knows better than one that names the bare JID;
/// of two that name the same, the one that keeps nothing wins.
fn decide(prefs: &ArchivePrefs, peer: &Jid, in_roster: impl Fn() -> bool) -> bool {
    for address in [peer.as_str(), peer.bare_str()] {
        if lists(&prefs.never, address) {
            return false;
        }
        if lists(&prefs.always, address) {
            return true;
        }
    }
    by_default(prefs.default, in_roster)
}

fn lists(list: &[Jid], address: &str) -> bool {
    list.binary_search_by(|jid| jid.as_str().cmp(address)).is_ok()
}

fn by_default(default: ArchiveDefault, in_roster: impl Fn() -> bool) -> bool {
    match default {
        ArchiveDefault::Always => true,
        ArchiveDefault::Never => false,
        ArchiveDefault::Roster => in_roster(),
    }
}

pub(super) fn from_host(default: HostDefault) -> ArchiveDefault {
    match default {
        HostDefault::Always => ArchiveDefault::Always,
        HostDefault::Never => ArchiveDefault::Never,
        HostDefault::Roster => ArchiveDefault::Roster,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(xml: &str) -> bool {
        wants(&Stanza::parse(xml.as_bytes()).expect("a stanza"))
    }

    fn chat(child: &str) -> bool {
        wanted(&format!("<message type='chat' from='a@b/c' to='d@e'>{child}</message>"))
    }

    #[test]
    fn whatever_a_user_would_miss_is_kept() {
        for child in [
            "<body>hi</body>",
            "<encrypted xmlns='eu.siacs.conversations.axolotl'/>",
            "<encrypted xmlns='urn:xmpp:omemo:2'/>",
            "<encryption xmlns='urn:xmpp:eme:0' namespace='urn:example'/>",
            "<openpgp xmlns='urn:xmpp:openpgp:0'>x</openpgp>",
            "<received xmlns='urn:xmpp:receipts' id='1'/>",
            "<displayed xmlns='urn:xmpp:chat-markers:0' id='1'/>",
            "<reactions xmlns='urn:xmpp:reactions:0' id='1'/>",
            "<retract xmlns='urn:xmpp:message-retract:1' id='1'/>",
            "<replace xmlns='urn:xmpp:message-correct:0' id='1'/>",
            "<propose xmlns='urn:xmpp:jingle-message:0' id='1'/>",
            "<finish xmlns='urn:xmpp:jingle-message:0' id='1'/>",
            "<x xmlns='jabber:x:conference' jid='room@muc'/>",
            "<unknown xmlns='urn:example'/><store xmlns='urn:xmpp:hints'/>",
        ] {
            assert!(chat(child), "{child}");
        }
    }

    #[test]
    fn what_nobody_looks_up_later_is_not() {
        for child in [
            "",
            "<composing xmlns='http://jabber.org/protocol/chatstates'/>",
            "<request xmlns='urn:xmpp:receipts'/>",
            "<markable xmlns='urn:xmpp:chat-markers:0'/>",
            "<event xmlns='http://jabber.org/protocol/pubsub#event'/>",
            "<body>hi</body><no-store xmlns='urn:xmpp:hints'/>",
            "<body>hi</body><no-permanent-store xmlns='urn:xmpp:hints'/>",
            "<body>hi</body><no-store xmlns='urn:xmpp:hints'/><store xmlns='urn:xmpp:hints'/>",
        ] {
            assert!(!chat(child), "{child}");
        }
        assert!(!wanted("<message type='groupchat' from='r@m/n'><body>hi</body></message>"));
        assert!(!wanted("<message type='headline'><body>hi</body></message>"));
        assert!(!wanted(
            "<message type='error'><body>hi</body><store xmlns='urn:xmpp:hints'/></message>"
        ));
        assert!(!wanted("<presence><body>hi</body></presence>"));
    }

    fn jid(text: &str) -> Jid {
        Jid::parse(text).expect("a JID")
    }

    fn prefs(default: ArchiveDefault, always: &[&str], never: &[&str]) -> ArchivePrefs {
        let list = |texts: &[&str]| texts.iter().map(|text| jid(text)).collect();
        ArchivePrefs { default, always: list(always), never: list(never) }
    }

    #[test]
    fn lists_go_before_the_default_and_full_jids_before_bare_ones() {
        let prefs = prefs(
            ArchiveDefault::Roster,
            &["romeo@montague.lit", "tybalt@capulet.lit/home"],
            &["montague@montague.lit", "romeo@montague.lit/orchard", "tybalt@capulet.lit"],
        );
        let stranger = || false;
        assert!(decide(&prefs, &jid("romeo@montague.lit/home"), stranger));
        assert!(!decide(&prefs, &jid("romeo@montague.lit/orchard"), stranger));
        assert!(!decide(&prefs, &jid("montague@montague.lit/x"), || true));
        assert!(decide(&prefs, &jid("tybalt@capulet.lit/home"), stranger));
        assert!(!decide(&prefs, &jid("tybalt@capulet.lit"), || true));
        assert!(!decide(&prefs, &jid("nurse@capulet.lit"), stranger));
        assert!(decide(&prefs, &jid("nurse@capulet.lit"), || true));
    }

    #[test]
    fn who_is_on_both_lists_is_not_archived() {
        let prefs = prefs(ArchiveDefault::Always, &["romeo@montague.lit"], &["romeo@montague.lit"]);
        assert!(!decide(&prefs, &jid("romeo@montague.lit/home"), || true));
    }
}
