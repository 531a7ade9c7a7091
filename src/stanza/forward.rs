//! XEP-0297: Stanza Forwarding (1.0).

use super::delay::Delay;
use super::{Stanza, StanzaParseError};
use crate::xml::element::Element;
use crate::xml::ns;

/// Appends `<forwarded/>` around a stanza. Bytes of the payload are copied, not parsed.
pub fn write_forwarded(out: &mut Vec<u8>, stanza: &Stanza, delay: Option<&Delay>) {
    out.extend_from_slice(b"<forwarded xmlns='urn:xmpp:forward:0'>");
    if let Some(delay) = delay {
        delay.to_element().write(out, ns::FORWARD);
    }
    stanza.write_standalone(out);
    out.extend_from_slice(b"</forwarded>");
}

/// The stanza and the time in a `<forwarded/>`; `None` if it holds no stanza.
pub fn read_forwarded(
    forwarded: &Element,
) -> Option<(Result<Stanza, StanzaParseError>, Option<Delay>)> {
    let stanza =
        forwarded.children().find(|child| matches!(child.ns(), ns::CLIENT | ns::SERVER))?;
    let delay = forwarded.child("delay", ns::DELAY).and_then(Delay::from_element);
    Some((Stanza::parse(stanza.to_xml("").as_bytes()), delay))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Now;

    #[test]
    fn a_forwarded_stanza_is_read_as_written() {
        let stanza = Stanza::parse(
            b"<message to='a@b' type='chat'><body>x &lt; y</body><e xmlns='urn:e'/></message>",
        )
        .unwrap();
        let delay = Delay::new(Now::from_secs(1_000_000_000), None);
        let mut out = Vec::new();
        write_forwarded(&mut out, &stanza, Some(&delay));
        let forwarded = Element::parse(&out, ns::CLIENT).unwrap();
        assert_eq!(
            forwarded.to_xml(ns::CLIENT),
            "<forwarded xmlns='urn:xmpp:forward:0'>\
             <delay xmlns='urn:xmpp:delay' stamp='2001-09-09T01:46:40.000Z'/>\
             <message xmlns='jabber:client' to='a@b' type='chat'><body>x &lt; y</body>\
             <e xmlns='urn:e'/></message></forwarded>"
        );
        let (read, when) = read_forwarded(&forwarded).unwrap();
        assert_eq!((read.unwrap(), when), (stanza, Some(delay)));
        assert!(read_forwarded(&Element::new("forwarded", ns::FORWARD)).is_none());
    }
}
