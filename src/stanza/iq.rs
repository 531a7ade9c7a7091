//! Requests and their answers (RFC 6120 §8.2.3).

use super::{ChildRef, Head, Kind, Stanza, Type};
use crate::jid::Jid;
use crate::xml::element::Element;

impl Stanza {
    /// An IQ. Requests (`get`, `set`) have a child, results may have one.
    pub fn iq(
        typ: Type,
        id: &str,
        from: Option<Jid>,
        to: Option<Jid>,
        child: Option<Element>,
    ) -> Stanza {
        let head =
            Head::new(Kind::Iq).with_from(from).with_to(to).with_id(Some(id)).with_type(Some(typ));
        Stanza::new(head, child)
    }

    /// Type and only child of a request; `None` for other stanzas.
    pub fn request(&self) -> Option<(Type, ChildRef<'_>)> {
        match (self.head.kind, self.head.typ) {
            (Kind::Iq, Some(typ @ (Type::Get | Type::Set))) => {
                self.children().next().map(|child| (typ, child))
            }
            _ => None,
        }
    }

    /// The result that answers this request: addresses swapped, same id.
    pub fn result(&self, child: Option<Element>) -> Stanza {
        Stanza::new(self.head.answer(Type::Result), child)
    }

    pub fn is_request(&self) -> bool {
        self.request().is_some()
    }

    /// A result or an error: what a request waits for.
    pub fn is_response(&self) -> bool {
        self.head.kind == Kind::Iq && matches!(self.head.typ, Some(Type::Result | Type::Error))
    }
}
