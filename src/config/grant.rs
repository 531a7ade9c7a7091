//! Which operations somebody may ask for: names, patterns, kinds, and what is taken away again.
//!
//! The words are ejabberd's `what`: `*`, a name, `[tag:x]`, and `!…` for what is taken away from
//! the rest, wherever it stands. Ours besides: `*` within a name, as in `account.*`, and
//! `[class:safe]`.

use std::fmt;
use std::str::FromStr;

/// A set of operations.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Grant {
    allow: Vec<Pattern>,
    deny: Vec<Pattern>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Pattern {
    /// A name with any number of `*`.
    Name(String),
    /// A kind of thing, or one of ejabberd's tags.
    Tag(String),
    Class(String),
}

/// An operation as grants see it.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// The name it was called by.
    pub name: &'a str,
    /// The operation of ours that it is; often the same.
    pub operation: &'a str,
    /// Every name of ejabberd's for that operation.
    pub aliases: &'a [&'a str],
    /// `account` of `account.add`.
    pub group: &'a str,
    /// As in `destructive`.
    pub class: &'a str,
}

/// ejabberd's tags that are not the name of a kind of thing here.
const TAGS: &[(&str, &[&str])] = &[
    ("accounts", &["account"]),
    ("acme", &["cert"]),
    ("logs", &["log"]),
    ("mam", &["archive"]),
    ("muc", &["room"]),
    ("oauth", &["api_key"]),
    ("purge", &["archive", "offline"]),
    ("shared_roster_group", &["group"]),
    ("stanza", &["message"]),
    ("statistics", &["stats"]),
];

impl Grant {
    /// The set that `words` describe together.
    ///
    /// # Errors
    /// The word that is none, and what is wrong with it.
    pub fn parse<'w>(words: impl IntoIterator<Item = &'w str>) -> Result<Grant, String> {
        let mut grant = Grant::default();
        for word in words {
            let word = word.trim();
            let wrong = |why| format!("{word:?} {why}");
            match word.strip_prefix('!') {
                Some(rest) if rest.starts_with('!') => return Err(wrong("has two !")),
                Some(rest) => grant.deny.push(rest.parse().map_err(wrong)?),
                None => grant.allow.push(word.parse().map_err(wrong)?),
            }
        }
        Ok(grant)
    }

    /// Whether `asked` is in the set. What is taken away under one of its names is taken away under
    /// all of them.
    pub fn allows(&self, asked: &Asked<'_>) -> bool {
        let by_name = [asked.name, asked.operation];
        let all_names = || by_name.iter().chain(asked.aliases).copied();
        self.allow.iter().any(|pattern| pattern.fits(asked, by_name.into_iter()))
            && !self.deny.iter().any(|pattern| pattern.fits(asked, all_names()))
    }

    /// The words again.
    pub fn words(&self) -> Vec<String> {
        let taken = self.deny.iter().map(|pattern| format!("!{pattern}"));
        self.allow.iter().map(ToString::to_string).chain(taken).collect()
    }
}

impl Pattern {
    fn fits<'a>(&self, asked: &Asked<'_>, mut names: impl Iterator<Item = &'a str>) -> bool {
        match self {
            Pattern::Name(glob) => names.any(|name| matches(glob, name)),
            Pattern::Class(class) => class == asked.class,
            Pattern::Tag(tag) => {
                let groups = TAGS.iter().find(|(name, _)| name == tag).map(|(_, groups)| *groups);
                tag == asked.group || groups.is_some_and(|groups| groups.contains(&asked.group))
            }
        }
    }
}

impl FromStr for Pattern {
    type Err = &'static str;

    fn from_str(word: &str) -> Result<Pattern, &'static str> {
        let is_name = |text: &str, more: &str| {
            let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || more.contains(c);
            !text.is_empty() && text.chars().all(fits)
        };
        match word.strip_prefix('[').map(|rest| rest.strip_suffix(']')) {
            Some(Some(kind)) => match kind.split_once(':') {
                Some(("tag", tag)) if is_name(tag, "_") => Ok(Pattern::Tag(tag.to_owned())),
                Some(("class", "safe" | "reversible" | "destructive" | "lock_out")) => {
                    Ok(Pattern::Class(kind["class:".len()..].to_owned()))
                }
                Some(("class", _)) => {
                    Err("is no class; there are safe, reversible, destructive and lock_out")
                }
                _ => Err("is neither [tag:…] nor [class:…]"),
            },
            Some(None) => Err("has no ] at its end"),
            None if is_name(word, "._-*") => Ok(Pattern::Name(word.to_owned())),
            None => Err("is not the name of an operation"),
        }
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Pattern::Name(glob) => f.write_str(glob),
            Pattern::Tag(tag) => write!(f, "[tag:{tag}]"),
            Pattern::Class(class) => write!(f, "[class:{class}]"),
        }
    }
}

/// Whether `name` is `glob`, where each `*` stands for any text. Takes the earliest place for each
/// part, so that it never has to go back.
fn matches(glob: &str, name: &str) -> bool {
    let Some((start, rest)) = glob.split_once('*') else { return glob == name };
    let Some(mut name) = name.strip_prefix(start) else { return false };
    let mut parts = rest.split('*');
    let end = parts.next_back().unwrap_or_default();
    for part in parts {
        match name.find(part) {
            Some(at) => name = &name[at + part.len()..],
            None => return false,
        }
    }
    name.ends_with(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNREGISTER: Asked<'_> = Asked {
        name: "unregister",
        operation: "account.remove",
        aliases: &["unregister", "unregister_all"],
        group: "account",
        class: "destructive",
    };
    const REMOVE: Asked<'_> = Asked { name: "account.remove", ..UNREGISTER };

    fn allows(words: &str, asked: &Asked<'_>) -> bool {
        Grant::parse(words.split(' ')).unwrap().allows(asked)
    }

    #[test]
    fn names_globs_tags_and_classes_are_granted() {
        for words in [
            "*",
            "account.remove",
            "account.*",
            "*.remove",
            "[tag:accounts]",
            "[class:destructive]",
        ] {
            assert!(allows(words, &UNREGISTER), "{words}");
            assert!(allows(words, &REMOVE), "{words}");
        }
        for words in ["unregister", "un*er"] {
            assert!(allows(words, &UNREGISTER), "{words}");
            assert!(!allows(words, &REMOVE), "{words}");
        }
        for words in ["account.add", "[tag:session]", "[class:safe]", "account", "a*b*c", "!*"] {
            assert!(!allows(words, &UNREGISTER), "{words}");
        }
    }

    #[test]
    fn what_is_taken_away_is_gone_under_every_name() {
        for words in ["* !unregister", "!account.remove *", "* ![tag:account]", "* !*"] {
            assert!(!allows(words, &UNREGISTER), "{words}");
            assert!(!allows(words, &REMOVE), "{words}");
        }
        assert!(!Grant::default().allows(&REMOVE));
        assert!(!allows("!account.add", &REMOVE), "nothing is granted by taking away");
    }

    #[test]
    fn words_that_are_none_are_told() {
        for (word, why) in [
            ("!!x", "has two !"),
            ("[tag:x", "has no ]"),
            ("[role:x]", "neither"),
            ("[class:nice]", "no class"),
            ("drop table", "not the name"),
            ("", "not the name"),
        ] {
            let error = Grant::parse([word]).unwrap_err();
            assert!(error.contains(why), "{word}: {error}");
        }
    }

    #[test]
    fn words_are_written_as_read() {
        let words = ["*", "account.*", "[tag:muc]", "[class:safe]", "!stop"];
        assert_eq!(Grant::parse(words).unwrap().words(), words);
    }

    #[test]
    fn globs() {
        for (glob, name, fits) in [
            ("*", "", true),
            ("a*", "a", true),
            ("a*a", "a", false),
            ("a**b", "ab", true),
            ("a*b*c", "a.b.b.c", true),
            ("a*b*c", "acb", false),
            ("*b", "ab", true),
        ] {
            assert_eq!(matches(glob, name), fits, "{glob} {name}");
        }
    }
}
