//! Presence (RFC 6121 §4).

use super::{Head, Kind, Stanza, Type};
use crate::jid::Jid;
use crate::xml::element::Element;
use crate::xml::ns;

/// How available somebody is (RFC 6121 §4.7.2.1); without it, simply available.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Show {
    Away,
    Chat,
    Dnd,
    Xa,
}

impl Show {
    pub fn name(self) -> &'static str {
        match self {
            Show::Away => "away",
            Show::Chat => "chat",
            Show::Dnd => "dnd",
            Show::Xa => "xa",
        }
    }

    pub fn from_name(name: &str) -> Option<Show> {
        [Show::Away, Show::Chat, Show::Dnd, Show::Xa].into_iter().find(|show| show.name() == name)
    }
}

impl Stanza {
    /// A presence; available if it has no type.
    pub fn presence(
        typ: Option<Type>,
        from: Option<Jid>,
        to: Option<Jid>,
        children: impl IntoIterator<Item = Element>,
    ) -> Stanza {
        let head = Head::new(Kind::Presence).with_from(from).with_to(to).with_type(typ);
        Stanza::new(head, children)
    }

    /// RFC 6121 §4.7.2.3: −128 to 127. Zero if it is missing or is not a number of that range,
    /// since a presence is not worth refusing for it.
    pub fn priority(&self) -> i8 {
        self.child("priority", ns::CLIENT)
            .and_then(|priority| priority.text().trim().parse().ok())
            .unwrap_or(0)
    }

    /// Unknown values are none.
    pub fn show(&self) -> Option<Show> {
        self.child("show", ns::CLIENT).and_then(|show| Show::from_name(show.text().trim()))
    }

    /// The first status text, in whatever language.
    pub fn status(&self) -> Option<String> {
        self.child("status", ns::CLIENT).map(|status| status.text())
    }

    /// Managing a subscription, not telling a state (RFC 6121 §3).
    pub fn is_subscription(&self) -> bool {
        self.head.kind == Kind::Presence
            && matches!(
                self.head.typ,
                Some(Type::Subscribe | Type::Subscribed | Type::Unsubscribe | Type::Unsubscribed)
            )
    }
}
