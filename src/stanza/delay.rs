//! XEP-0203: Delayed Delivery (2.0.0).

use super::Stanza;
use crate::jid::Jid;
use crate::time::Now;
use crate::xml::element::Element;
use crate::xml::ns;

/// When a stanza was sent, and who kept it since.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delay {
    pub stamp: Now,
    /// Who delayed it.
    pub from: Option<Jid>,
    /// For people.
    pub reason: Option<String>,
}

impl Delay {
    pub fn new(stamp: Now, from: Option<Jid>) -> Delay {
        Delay { stamp, from, reason: None }
    }

    pub fn to_element(&self) -> Element {
        Element::new("delay", ns::DELAY)
            .attr_opt("from", self.from.as_ref())
            .attr("stamp", self.stamp.to_xmpp())
            .with_text(self.reason.as_deref().unwrap_or_default())
    }

    /// `None` if it is not a delay or its stamp is no XEP-0082 time.
    pub fn from_element(element: &Element) -> Option<Delay> {
        if !element.is("delay", ns::DELAY) {
            return None;
        }
        Some(Delay {
            stamp: Now::parse_xmpp(element.get("stamp")?)?,
            from: element.get("from").and_then(|from| Jid::parse(from).ok()),
            reason: Some(element.text()).filter(|reason| !reason.is_empty()),
        })
    }
}

impl Stanza {
    /// The delays that were noted, the first being the one of the server nearest to the sender.
    pub fn delays(&self) -> impl Iterator<Item = Delay> {
        self.children()
            .filter(|child| child.is("delay", ns::DELAY))
            .filter_map(|child| Delay::from_element(&child.element().ok()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delay_is_read_as_written() {
        let delay = Delay {
            stamp: Now::parse_xmpp("2002-09-10T23:08:25.123Z").unwrap(),
            from: Jid::parse("capulet.com").ok(),
            reason: Some("Offline Storage".into()),
        };
        let element = delay.to_element();
        assert_eq!(
            element.to_xml(ns::CLIENT),
            "<delay xmlns='urn:xmpp:delay' from='capulet.com' \
             stamp='2002-09-10T23:08:25.123Z'>Offline Storage</delay>"
        );
        assert_eq!(Delay::from_element(&element), Some(delay.clone()));
        let stanza = Stanza::message(super::super::Type::Chat, None, None, [element]);
        assert_eq!(stanza.delays().collect::<Vec<_>>(), [delay]);
    }

    #[test]
    fn a_delay_without_a_time_is_none() {
        let element = Element::new("delay", ns::DELAY).attr("stamp", "yesterday");
        assert_eq!(Delay::from_element(&element), None);
    }
}
