//! What may wait until the user looks again (XEP-0352).
//!
//! While the user does not look, presence is held back (the newest of each resource is all that
//! matters) and who-is-typing is dropped. Everything else goes out at once, and what was held goes
//! out before it: the radio is awake then anyway, and no two stanzas change their order.

use std::collections::HashMap;

use super::mailbox::Item;
use crate::jid::Jid;
use crate::stanza::content::Content;
use crate::stanza::{Kind, Stanza, Type};
use crate::xml::ns;

/// Presences held for one session; with one more all go out.
pub const HELD_MAX: usize = 512;
/// The same in bytes.
pub const HELD_BYTES_MAX: usize = 128 << 10;

/// What may be done with a stanza while the client is inactive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Importance {
    Now,
    /// A newer one of the same sender takes its place.
    Later,
    Never,
}

/// What waits for an inactive client. Empty, it owns no memory.
#[derive(Default)]
pub struct Held {
    by_sender: HashMap<Jid, (u64, Item)>,
    next: u64,
    bytes: usize,
}

impl Held {
    /// Takes a stanza for the client. `None`: it waits here, or is dropped. Else it is handed back
    /// with all that must go out before it, in order.
    pub fn offer(&mut self, item: Item) -> Option<(Vec<Item>, Item)> {
        match importance(&item.stanza) {
            Importance::Never => None,
            Importance::Later => self.hold(item),
            Importance::Now => Some((self.release(), item)),
        }
    }

    fn hold(&mut self, item: Item) -> Option<(Vec<Item>, Item)> {
        let Some(from) = item.stanza.head.from.clone() else { return Some((self.release(), item)) };
        // The newest waits in the newest's place: it may answer what others sent meanwhile.
        if let Some((_, older)) = self.by_sender.remove(&from) {
            self.bytes -= older.stanza.wire_len();
        }
        let bytes = item.stanza.wire_len();
        if self.by_sender.len() == HELD_MAX || self.bytes + bytes > HELD_BYTES_MAX {
            return Some((self.release(), item));
        }
        self.bytes += bytes;
        self.by_sender.insert(from, (self.next, item));
        self.next += 1;
        None
    }

    /// Hands out everything, in order: the client is active again, or its connection is gone.
    pub fn release(&mut self) -> Vec<Item> {
        let mut held: Vec<(u64, Item)> =
            std::mem::take(&mut self.by_sender).into_values().collect();
        held.sort_unstable_by_key(|(at, _)| *at);
        self.bytes = 0;
        held.into_iter().map(|(_, item)| item).collect()
    }

    pub fn len(&self) -> usize {
        self.by_sender.len()
    }

    pub fn is_empty(&self) -> bool {
        self.by_sender.is_empty()
    }
}

fn importance(stanza: &Stanza) -> Importance {
    match stanza.head.kind {
        Kind::Presence if is_state(stanza) && !concerns_self(stanza) => Importance::Later,
        Kind::Message if is_typing(stanza) => Importance::Never,
        _ => Importance::Now,
    }
}

/// Not a request, an answer to one, or an error.
fn is_state(stanza: &Stanza) -> bool {
    matches!(stanza.head.typ, None | Some(Type::Unavailable))
}

/// A room telling us of ourselves (status 110): joined, renamed, kicked.
fn concerns_self(stanza: &Stanza) -> bool {
    let Some(x) = stanza.child("x", ns::MUC_USER) else { return false };
    x.element().is_ok_and(|x| {
        x.children()
            .any(|child| child.is("status", ns::MUC_USER) && child.get("code") == Some("110"))
    })
}

/// Nothing but a chat state: sent to us, or a carbon of one.
fn is_typing(stanza: &Stanza) -> bool {
    if Content::of(stanza).is_chat_state_only() {
        return stanza.head.typ != Some(Type::Error);
    }
    let Some(carbon) = stanza.children().find(|child| child.ns() == ns::CARBONS) else {
        return false;
    };
    let Ok(carbon) = carbon.element() else { return false };
    let Some(message) =
        carbon.child("forwarded", ns::FORWARD).and_then(|f| f.child("message", ns::CLIENT))
    else {
        return false;
    };
    let mut typing = false;
    for child in message.children() {
        match child.ns() {
            ns::CHAT_STATES => typing = true,
            ns::HINTS if child.name() != "store" => {}
            ns::SID => {}
            _ if child.is("thread", ns::CLIENT) => {}
            _ => return false,
        }
    }
    typing
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn item(xml: &str) -> Item {
        Item {
            stanza: Arc::new(Stanza::parse(xml.as_bytes()).expect("a stanza")),
            stored: None,
            offline: false,
        }
    }

    fn presence(from: &str, show: &str) -> Item {
        item(&format!(
            "<presence from='{from}' to='juliet@capulet.lit/phone'><show>{show}</show></presence>"
        ))
    }

    /// What goes out when `item` is offered.
    fn offer(held: &mut Held, item: Item) -> Vec<String> {
        let out = held.offer(item).map(|(mut before, item)| {
            before.push(item);
            before
        });
        texts(out.unwrap_or_default())
    }

    fn texts(items: Vec<Item>) -> Vec<String> {
        let text = |item: Item| {
            let mut out = Vec::new();
            item.stanza.write(&mut out);
            String::from_utf8(out).expect("UTF-8")
        };
        items.into_iter().map(text).collect()
    }

    const TEXT: &str = "<message from='romeo@montague.lit/x' type='chat'><body>hi</body></message>";

    #[test]
    fn the_newest_presence_of_each_resource_waits_until_something_matters() {
        let mut held = Held::default();
        assert!(offer(&mut held, presence("romeo@montague.lit/x", "away")).is_empty());
        assert!(offer(&mut held, presence("nurse@capulet.lit/y", "dnd")).is_empty());
        assert!(offer(&mut held, presence("romeo@montague.lit/x", "xa")).is_empty());
        let out = offer(&mut held, item(TEXT));
        assert_eq!(out.len(), 3);
        assert!(
            out[0].contains("dnd") && out[1].contains("xa") && out[2].contains("hi"),
            "{out:?}"
        );
        assert!(held.is_empty());
    }

    #[test]
    fn who_is_typing_is_dropped_by_message_and_by_carbon() {
        let mut held = Held::default();
        let state = "<composing xmlns='http://jabber.org/protocol/chatstates'/><no-store xmlns='urn:xmpp:hints'/>";
        let typing = format!("<message from='romeo@montague.lit/x' type='chat'>{state}</message>");
        let carbon = |inside: &str| {
            item(&format!(
                "<message from='juliet@capulet.lit' type='chat'><sent xmlns='urn:xmpp:carbons:2'>\
                 <forwarded xmlns='urn:xmpp:forward:0'><message xmlns='jabber:client' from='juliet@capulet.lit/pc'>\
                 {inside}</message></forwarded></sent></message>"
            ))
        };
        assert!(offer(&mut held, item(&typing)).is_empty());
        assert!(offer(&mut held, carbon(state)).is_empty());
        assert!(held.is_empty());
        assert_eq!(offer(&mut held, carbon(&format!("<body>hi</body>{state}"))).len(), 1);
    }

    #[test]
    fn requests_and_iqs_never_wait() {
        let mut held = Held::default();
        for xml in [
            "<presence from='romeo@montague.lit' type='subscribe'/>",
            "<presence from='r@muc/me' type='unavailable'><x xmlns='http://jabber.org/protocol/muc#user'>\
             <status code='110'/></x></presence>",
            "<presence from='r@muc/me' type='error'><error type='cancel'/></presence>",
            "<iq type='get' id='1' from='capulet.lit'><ping xmlns='urn:xmpp:ping'/></iq>",
        ] {
            assert_eq!(offer(&mut held, item(xml)).len(), 1, "{xml}");
        }
    }

    #[test]
    fn what_is_held_is_bounded() {
        let mut held = Held::default();
        for n in 0..HELD_MAX {
            assert!(offer(&mut held, presence(&format!("r@muc/{n}"), "away")).is_empty());
        }
        assert_eq!(offer(&mut held, presence("r@muc/last", "away")).len(), HELD_MAX + 1);
        let status = "x".repeat(HELD_BYTES_MAX);
        assert_eq!(offer(&mut held, presence("r@muc/0", &status)).len(), 1);
        assert!(held.is_empty() && held.bytes == 0);
    }
}
