//! XEP-0334: Message Processing Hints (1.0.0).

use super::Stanza;
use crate::xml::ns;

/// What the sender wishes for a message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hints {
    /// Keep it nowhere.
    pub no_store: bool,
    /// Do not archive it; offline storage is fine.
    pub no_permanent_store: bool,
    /// No carbons.
    pub no_copy: bool,
    /// Store it, though it has no body.
    pub store: bool,
}

impl Stanza {
    /// The hints on this stanza, from its index: nothing is parsed.
    pub fn hints(&self) -> Hints {
        let mut hints = Hints::default();
        for child in self.children().filter(|child| child.ns() == ns::HINTS) {
            match child.name() {
                "no-store" => hints.no_store = true,
                "no-permanent-store" => hints.no_permanent_store = true,
                "no-copy" => hints.no_copy = true,
                "store" => hints.store = true,
                _ => {}
            }
        }
        hints
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hints_are_found() {
        let stanza = Stanza::parse(
            b"<message><no-store xmlns='urn:xmpp:hints'/><body/><no-copy xmlns='urn:xmpp:hints'/>\
              <store xmlns='urn:other'/></message>",
        )
        .unwrap();
        let expected = Hints { no_store: true, no_copy: true, ..Hints::default() };
        assert_eq!(stanza.hints(), expected);
    }
}
