//! How one value is read, and what is said of one that does not do.

use std::ops::RangeInclusive;
use std::time::Duration;

use toml::Spanned;
use toml::de::DeValue;

use super::problem::{Problem, printable};
use super::value::{Size, Span};

/// A word out of a fixed list.
pub trait Choice: Copy + PartialEq + 'static {
    /// Every value with its name in the file.
    const ALL: &'static [(&'static str, Self)];

    /// The value's name in the file.
    fn name(self) -> &'static str {
        Self::ALL.iter().find(|(_, value)| *value == self).map_or("", |(name, _)| name)
    }

    /// The value of that name.
    fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(known, _)| *known == name).map(|(_, value)| *value)
    }
}

/// Why a value does not do.
pub(super) struct Wrong {
    expected: String,
    /// Follows the value found, as in "has no unit after 10"; empty when its kind is wrong.
    reason: String,
    help: Option<String>,
}

impl Wrong {
    pub(super) fn kind(expected: &str) -> Wrong {
        Wrong { expected: expected.to_owned(), reason: String::new(), help: None }
    }

    pub(super) fn at(self, text: &str, value: &Spanned<DeValue<'_>>, path: String) -> Problem {
        let mut found = match value.get_ref() {
            DeValue::Table(_) | DeValue::Array(_) => kind(value.get_ref()).to_owned(),
            _ => printable(text.get(value.span()).unwrap_or("")).chars().take(80).collect(),
        };
        if !self.reason.is_empty() {
            found = format!("{found}, which {}", self.reason);
        }
        let problem = Problem::at(text, &value.span(), path).found(found).expected(self.expected);
        match self.help {
            Some(help) => problem.help(help),
            None => problem,
        }
    }
}

pub(super) fn size(
    value: &DeValue<'_>,
    range: &RangeInclusive<Size>,
    without: Option<&str>,
) -> Result<Option<Size>, Wrong> {
    let or = without.map_or_else(String::new, |word| format!(", or {word:?}"));
    let expected = format!(
        "a size from {} to {}, such as \"{}\"{or}",
        range.start(),
        range.end(),
        range.start()
    );
    match value.as_str() {
        Some(text) if Some(text) == without => Ok(None),
        Some(text) => bounded(text, range, expected).map(Some),
        None => Err(Wrong::kind(&expected)),
    }
}

pub(super) fn span(
    value: &DeValue<'_>,
    range: &RangeInclusive<Duration>,
    without: Option<&str>,
) -> Result<Option<Span>, Wrong> {
    let range = Span(*range.start())..=Span(*range.end());
    let or = without.map_or_else(String::new, |word| format!(", or {word:?}"));
    let expected = format!(
        "a length of time from {} to {}, such as \"{}\"{or}",
        range.start(),
        range.end(),
        range.start()
    );
    match value.as_str() {
        Some(text) if Some(text) == without => Ok(None),
        Some(text) => bounded(text, &range, expected).map(Some),
        None => Err(Wrong::kind(&expected)),
    }
}

fn bounded<T>(text: &str, range: &RangeInclusive<T>, expected: String) -> Result<T, Wrong>
where
    T: std::str::FromStr<Err = String> + PartialOrd,
{
    match text.parse() {
        Ok(value) if range.contains(&value) => Ok(value),
        Ok(value) => {
            let reason = if value < *range.start() { "is too small" } else { "is too large" };
            Err(Wrong { expected, reason: reason.to_owned(), help: None })
        }
        Err(reason) => Err(Wrong { expected, reason, help: None }),
    }
}

pub(super) fn choice<T: Choice>(value: &DeValue<'_>) -> Result<T, Wrong> {
    let text = value.as_str().unwrap_or("");
    T::from_name(text).ok_or_else(|| {
        let names: Vec<String> = T::ALL.iter().map(|(name, _)| format!("{name:?}")).collect();
        let mut wrong = Wrong::kind(&format!("one of {}", names.join(", ")));
        wrong.help = nearest(text, T::ALL.iter().map(|(name, _)| *name))
            .map(|name| format!("did you mean {name:?}?"));
        wrong
    })
}

pub(super) fn one_text<T>(
    value: &DeValue<'_>,
    expected: &str,
    parse: impl Fn(&str) -> Result<T, String>,
) -> Result<T, Wrong> {
    match value.as_str() {
        Some(text) => parse(text).map_err(|reason| Wrong {
            expected: expected.to_owned(),
            reason,
            help: None,
        }),
        None => Err(Wrong::kind(expected)),
    }
}

pub(super) fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a number with a fraction",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

/// The candidate most like `word`, if any is like it at all.
pub(super) fn nearest<'c>(
    word: &str,
    candidates: impl Iterator<Item = &'c str>,
) -> Option<&'c str> {
    let word = word.to_lowercase();
    candidates
        .map(|candidate| (strsim::damerau_levenshtein(&word, &candidate.to_lowercase()), candidate))
        .filter(|(distance, candidate)| *distance <= (candidate.chars().count() / 3).max(1))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}
