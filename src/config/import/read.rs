//! Values as ejabberd takes them: lengths of time, switches, numbers, words out of a list. One that
//! does not do is a problem of the source, and the import gives nothing.

use std::time::Duration;

use super::Import;
use super::yaml::{Node, Place};
use crate::config::leaf::nearest;
use crate::config::value::Span;

/// A number, or no bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bound<T> {
    Of(T),
    Infinity,
}

/// What a bare number of an option counts.
#[derive(Clone, Copy, Debug)]
pub(super) enum Unit {
    Seconds,
    Milliseconds,
}

impl Import<'_> {
    /// A value that does not do.
    pub(super) fn wrong(&mut self, node: &Node, option: &str, expected: &str) {
        self.report(&node.at, option, &node.kind(), expected, None);
    }

    pub(super) fn report(
        &mut self,
        at: &Place,
        option: &str,
        found: &str,
        expected: &str,
        help: Option<String>,
    ) {
        let mut problem = self.source.problem(at, option).found(found).expected(expected);
        problem.help = help;
        self.problems.push((at.file, problem));
    }

    pub(super) fn text(&mut self, node: &Node, option: &str, expected: &str) -> Option<String> {
        let text = node.text().map(str::to_owned);
        if text.is_none() {
            self.wrong(node, option, expected);
        }
        text
    }

    pub(super) fn flag(&mut self, node: &Node, option: &str) -> Option<bool> {
        match node.text() {
            Some("true" | "on" | "yes" | "y") => Some(true),
            Some("false" | "off" | "no" | "n") => Some(false),
            _ => {
                self.wrong(node, option, "true or false");
                None
            }
        }
    }

    pub(super) fn count(&mut self, node: &Node, option: &str) -> Option<u64> {
        let number = node.text().and_then(|text| text.replace('_', "").parse().ok());
        if number.is_none() {
            self.wrong(node, option, "a whole number");
        }
        number
    }

    pub(super) fn count_or_infinity(&mut self, node: &Node, option: &str) -> Option<Bound<u64>> {
        if is_infinity(node) {
            return Some(Bound::Infinity);
        }
        let number = node.text().and_then(|text| text.replace('_', "").parse().ok());
        if number.is_none() {
            self.wrong(node, option, "a whole number, or infinity");
        }
        number.map(Bound::Of)
    }

    pub(super) fn time(
        &mut self,
        node: &Node,
        option: &str,
        unit: Unit,
    ) -> Option<Bound<Duration>> {
        if is_infinity(node) {
            return Some(Bound::Infinity);
        }
        let time = node.text().and_then(|text| duration(text, unit));
        if time.is_none() {
            let expected = "a length of time such as `30 seconds`, `5 minutes`, `1 hour`, `7 days`, \
                            a number or infinity";
            self.wrong(node, option, expected);
        }
        time.map(Bound::Of)
    }

    /// One of `words`.
    pub(super) fn word(&mut self, node: &Node, option: &str, words: &[&str]) -> Option<String> {
        let text = node.text().unwrap_or_default();
        if words.contains(&text) {
            return Some(text.to_owned());
        }
        let help = nearest(text, words.iter().copied());
        let help = help.map(|word| format!("did you mean {word}?"));
        let expected = format!("one of {}", words.join(", "));
        self.report(&node.at, option, &node.kind(), &expected, help);
        None
    }
}

pub(super) fn is_infinity(node: &Node) -> bool {
    matches!(node.text(), Some("infinity" | "infinite" | "unlimited"))
}

/// `5`, `5 minutes`, `300s`.
fn duration(text: &str, unit: Unit) -> Option<Duration> {
    let text = text.trim().replace('_', "");
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, word) = text.split_at(digits);
    let number: u64 = number.parse().ok()?;
    let millis = match word.trim().to_lowercase().as_str() {
        "" => match unit {
            Unit::Seconds => 1000,
            Unit::Milliseconds => 1,
        },
        "ms" | "msec" | "msecs" | "millisec" | "millisecs" | "millisecond" | "milliseconds" => 1,
        "s" | "sec" | "secs" | "second" | "seconds" => 1000,
        "m" | "min" | "mins" | "minute" | "minutes" => 60_000,
        "h" | "hour" | "hours" => 3_600_000,
        "d" | "day" | "days" => 86_400_000,
        _ => return None,
    };
    number.checked_mul(millis).map(Duration::from_millis)
}

/// A length of time as our file has it.
pub(super) fn shown(time: Duration) -> String {
    super::draft::text(&Span(time).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_time() {
        for (text, unit, millis) in [
            ("300", Unit::Seconds, Some(300_000)),
            ("300", Unit::Milliseconds, Some(300)),
            ("1 hour", Unit::Seconds, Some(3_600_000)),
            ("5 min", Unit::Seconds, Some(300_000)),
            ("10sec", Unit::Seconds, Some(10_000)),
            ("7 Days", Unit::Seconds, Some(604_800_000)),
            ("500 ms", Unit::Seconds, Some(500)),
            ("1 fortnight", Unit::Seconds, None),
            ("-1", Unit::Seconds, None),
            ("", Unit::Seconds, None),
            ("99999999999999999999 d", Unit::Seconds, None),
        ] {
            assert_eq!(duration(text, unit), millis.map(Duration::from_millis), "{text}");
        }
    }
}
