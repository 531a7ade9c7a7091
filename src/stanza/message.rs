//! Messages (RFC 6121 §5).

use super::{Head, Kind, Stanza, Type};
use crate::jid::Jid;
use crate::xml::element::Element;
use crate::xml::ns;

impl Stanza {
    /// A message. `Type::Normal` is not written.
    pub fn message(
        typ: Type,
        from: Option<Jid>,
        to: Option<Jid>,
        children: impl IntoIterator<Item = Element>,
    ) -> Stanza {
        let typ = Some(typ).filter(|typ| *typ != Type::Normal);
        let head = Head::new(Kind::Message).with_from(from).with_to(to).with_type(typ);
        Stanza::new(head, children)
    }

    /// The text of the first body (RFC 6121 §5.2.3), in whatever language.
    pub fn body(&self) -> Option<String> {
        self.child("body", ns::CLIENT).map(|body| body.text())
    }

    pub fn has_body(&self) -> bool {
        self.has("body", ns::CLIENT)
    }

    /// A message with a subject and neither body nor thread changes the subject of a room
    /// (XEP-0045 §8.1).
    pub fn is_subject_change(&self) -> bool {
        self.head.kind == Kind::Message
            && self.has("subject", ns::CLIENT)
            && !self.has_body()
            && !self.has("thread", ns::CLIENT)
    }
}
