//! What is shown to those who come (XEP-0045 §7.2.13, §7.2.14).

use std::collections::VecDeque;
use std::time::Duration;

use super::room::{Out, Room, addressed};
use crate::jid::Jid;
use crate::stanza::Stanza;
use crate::stanza::delay::Delay;
use crate::time::Now;
use crate::xml::element::Element;
use crate::xml::ns;

/// Bytes of messages that a room keeps for those who come.
const BYTES_MAX: usize = 256 * 1024;

/// The newest messages, oldest first, as they went to the occupants.
#[derive(Default)]
pub struct History {
    past: VecDeque<Past>,
    bytes: usize,
}

struct Past {
    at: Now,
    stanza: Stanza,
}

/// What a client asked for in `<history/>`; the least of all bounds counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    pub chars_max: Option<usize>,
    pub stanzas_max: Option<usize>,
    pub since: Option<Now>,
}

impl Wanted {
    /// Reads `<history/>` of a `<x xmlns='http://jabber.org/protocol/muc'/>`. What cannot be read
    /// bounds nothing.
    pub fn of(x: &Element, now: Now) -> Wanted {
        let Some(history) = x.child("history", ns::MUC) else { return Wanted::default() };
        let number = |name| history.get(name).and_then(|text| text.parse::<u32>().ok());
        let seconds = number("seconds").map(|secs| now.minus(Duration::from_secs(secs.into())));
        let since = history.get("since").and_then(Now::parse_xmpp);
        let wide = |number: u32| usize::try_from(number).unwrap_or(usize::MAX);
        Wanted {
            chars_max: number("maxchars").map(wide),
            stanzas_max: number("maxstanzas").map(wide),
            since: seconds.max(since),
        }
    }
}

impl History {
    /// Notes a message; the oldest ones go where `kept` or the bytes are exceeded.
    pub fn push(&mut self, at: Now, stanza: Stanza, kept: usize) {
        self.bytes += stanza.wire_len();
        self.past.push_back(Past { at, stanza });
        while self.past.len() > kept || self.bytes > BYTES_MAX {
            let Some(gone) = self.past.pop_front() else { break };
            self.bytes -= gone.stanza.wire_len();
        }
    }

    /// Forgets a message that was taken back, or puts what is left of it in its place.
    pub fn replace(&mut self, is_it: impl Fn(&Stanza) -> bool, with: Option<Stanza>) {
        let Some(at) = self.past.iter().position(|past| is_it(&past.stanza)) else { return };
        match (with, self.past.get_mut(at)) {
            (Some(stanza), Some(past)) => {
                self.bytes = self.bytes + stanza.wire_len() - past.stanza.wire_len();
                past.stanza = stanza;
            }
            _ => {
                if let Some(gone) = self.past.remove(at) {
                    self.bytes -= gone.stanza.wire_len();
                }
            }
        }
    }

    /// The message that `is_it` knows.
    pub fn find(&self, is_it: impl Fn(&Stanza) -> bool) -> Option<&Stanza> {
        self.past.iter().map(|past| &past.stanza).find(|stanza| is_it(stanza))
    }

    /// The newest messages within the bounds, oldest first.
    fn page(&self, wanted: Wanted, most: usize) -> impl Iterator<Item = &Past> {
        let most = wanted.stanzas_max.unwrap_or(most).min(most);
        let mut chars = wanted.chars_max.unwrap_or(usize::MAX);
        let fitting = self.past.iter().rev().take(most).take_while(|past| {
            let length = past.stanza.wire_len();
            let fits = length <= chars && wanted.since.is_none_or(|since| past.at >= since);
            chars = chars.saturating_sub(length);
            fits
        });
        let count = fitting.count();
        self.past.iter().skip(self.past.len() - count)
    }
}

impl Room {
    /// Shows the past to a client that has just come.
    pub(super) fn replay(&self, to: &Jid, wanted: Wanted, out: &mut Out) {
        let most = usize::try_from(self.config.history_max).unwrap_or(usize::MAX);
        for past in self.history.page(wanted, most) {
            let delay = Delay::new(past.at, Some(self.jid.clone().into()));
            out.send(addressed(&past.stanza, to).with_element(&delay.to_element()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn history(bodies: &[&str]) -> History {
        let mut history = History::default();
        for (at, body) in bodies.iter().enumerate() {
            let xml = format!("<message type='groupchat'><body>{body}</body></message>");
            let at = Now::from_secs(i64::try_from(at).unwrap());
            history.push(at, Stanza::parse(xml.as_bytes()).unwrap(), 20);
        }
        history
    }

    fn page(history: &History, wanted: Wanted, most: usize) -> Vec<String> {
        history.page(wanted, most).filter_map(|past| past.stanza.body()).collect()
    }

    #[test]
    fn the_newest_come_and_the_oldest_first() {
        let history = history(&["a", "b", "c"]);
        assert_eq!(page(&history, Wanted::default(), 20), ["a", "b", "c"]);
        assert_eq!(page(&history, Wanted::default(), 2), ["b", "c"]);
        let two = Wanted { stanzas_max: Some(2), ..Wanted::default() };
        assert_eq!(page(&history, two, 20), ["b", "c"]);
        assert_eq!(page(&history, two, 1), ["c"]);
    }

    #[test]
    fn only_whole_stanzas_fit_into_the_characters() {
        let history = history(&["a", "b", "c"]);
        let one = history.past[0].stanza.wire_len();
        let chars = |chars_max| Wanted { chars_max: Some(chars_max), ..Wanted::default() };
        assert_eq!(page(&history, chars(2 * one + 1), 20), ["b", "c"]);
        assert!(page(&history, chars(one - 1), 20).is_empty());
        assert!(page(&history, chars(0), 20).is_empty());
    }

    #[test]
    fn times_bound_it_too() {
        let history = history(&["a", "b", "c"]);
        let since = Wanted { since: Some(Now::from_secs(1)), ..Wanted::default() };
        assert_eq!(page(&history, since, 20), ["b", "c"]);
    }

    #[test]
    fn the_least_of_seconds_and_since_counts() {
        let x = "<x xmlns='http://jabber.org/protocol/muc'>\
                 <history seconds='180' since='1970-01-01T00:00:00Z' maxchars='65000'/></x>";
        let x = Element::parse(x.as_bytes(), ns::CLIENT).unwrap();
        let wanted = Wanted::of(&x, Now::from_secs(1_000));
        assert_eq!(wanted.since, Some(Now::from_secs(820)));
        assert_eq!((wanted.chars_max, wanted.stanzas_max), (Some(65_000), None));
    }

    #[test]
    fn it_forgets_what_is_too_much() {
        let mut history = History::default();
        let xml = format!("<message><body>{}</body></message>", "x".repeat(100_000));
        for _ in 0..5 {
            history.push(Now(0), Stanza::parse(xml.as_bytes()).unwrap(), 20);
        }
        assert_eq!(history.past.len(), 2);
        history.replace(|_| true, None);
        assert_eq!((history.past.len(), history.bytes), (1, history.past[0].stanza.wire_len()));
    }
}
