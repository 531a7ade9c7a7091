//! Patterns of PCRE, which ejabberd uses, as patterns of the crate `regex`.
//!
//! What differs and can be said is said otherwise: Erlang's PCRE knows the letters of ISO 8859-1 and
//! no others, so that is what `\w` and `[:alpha:]` mean; a `[` in a set and a lone `{` mean
//! themselves. What cannot be said (look-around, back-references) stays as it is, and is refused
//! when the pattern is compiled.

/// Letters beyond ASCII, as Erlang's tables have them.
const LETTERS: &str = "\u{aa}\u{b5}\u{ba}\u{c0}-\u{d6}\u{d8}-\u{f6}\u{f8}-\u{ff}";

/// Classes that mean more than ASCII there, as the inside of a set. The tests hold them to what
/// ejabberd's machine was asked.
fn class(name: &str) -> Option<String> {
    Some(match name {
        "word" => format!("0-9A-Za-z_{LETTERS}"),
        "alnum" => format!("0-9A-Za-z{LETTERS}"),
        "alpha" => format!("A-Za-z{LETTERS}"),
        "lower" => "a-z\u{aa}\u{b5}\u{ba}\u{df}-\u{f6}\u{f8}-\u{ff}".to_owned(),
        "upper" => "A-Z\u{c0}-\u{d6}\u{d8}-\u{de}".to_owned(),
        "digit" => "0-9".to_owned(),
        "space" => "\\x09-\\x0D ".to_owned(),
        "punct" => {
            "!-/:-@\\[-`\\{-~\u{a0}-\u{a9}\u{ab}-\u{b4}\u{b6}-\u{b9}\u{bb}-\u{bf}\u{d7}\u{f7}"
                .to_owned()
        }
        "print" => " -~\u{a0}-\u{ff}".to_owned(),
        "graph" => "!-~\u{a0}-\u{ff}".to_owned(),
        "cntrl" => "\\x00-\\x1F\\x7F-\u{9f}".to_owned(),
        "blank" => "\\x09 ".to_owned(),
        "xdigit" => "0-9A-Fa-f".to_owned(),
        _ => return None,
    })
}

/// `pattern` with the same meaning here.
pub(super) fn translate(pattern: &str) -> String {
    let mut out = String::with_capacity(pattern.len() + 8);
    let mut rest = pattern;
    let mut in_set = false;
    // A `]` right after `[` or `[^` means itself.
    let mut set_start = false;
    while let Some(c) = rest.chars().next() {
        let after = &rest[c.len_utf8()..];
        let started = std::mem::take(&mut set_start);
        match c {
            '\\' => {
                let escaped = after.chars().next();
                out.push_str(&escape(escaped, in_set));
                rest = &after[escaped.map_or(0, char::len_utf8)..];
                continue;
            }
            '[' if in_set => match after.strip_prefix(':').and_then(|name| name.find(":]")) {
                Some(end) => {
                    let name = &after[1..=end];
                    let len = 1 + 1 + end + 2;
                    match (class(name), name.strip_prefix('^').and_then(class)) {
                        (Some(inner), _) => out.push_str(&inner),
                        (None, Some(inner)) => out.push_str(&format!("[^{inner}]")),
                        (None, None) => out.push_str(&rest[..len]),
                    }
                    rest = &rest[len..];
                    continue;
                }
                None => out.push_str("\\["),
            },
            '[' => {
                in_set = true;
                set_start = true;
                out.push('[');
                if let Some(negated) = after.strip_prefix('^') {
                    out.push('^');
                    rest = negated;
                    continue;
                }
            }
            ']' if in_set && started => out.push_str("\\]"),
            ']' if in_set => {
                in_set = false;
                out.push(']');
            }
            '&' | '~' if in_set => {
                out.push('\\');
                out.push(c);
            }
            '{' if !in_set && !is_repetition(after) => out.push_str("\\{"),
            '}' if !in_set && !out.ends_with(|c: char| c.is_ascii_digit() || c == ',') => {
                out.push_str("\\}");
            }
            c => out.push(c),
        }
        rest = after;
    }
    out
}

fn escape(escaped: Option<char>, in_set: bool) -> String {
    let known = match escaped.map(|c| c.to_ascii_lowercase()) {
        Some('d') => class("digit"),
        Some('w') => class("word"),
        Some('s') => class("space"),
        _ => None,
    };
    if let Some(inner) = known {
        return match escaped {
            Some(c) if c.is_ascii_uppercase() => format!("[^{inner}]"),
            _ if in_set => inner,
            _ => format!("[{inner}]"),
        };
    }
    match escaped {
        Some('Z') => "\\z".to_owned(),
        Some('e') => "\\x1B".to_owned(),
        // These two may not be escaped there.
        Some(c @ ('<' | '>')) => c.to_string(),
        // PCRE takes any other character that is no letter and no digit as itself.
        Some(c) if !c.is_ascii() => c.to_string(),
        Some(c) => format!("\\{c}"),
        None => "\\".to_owned(),
    }
}

/// Whether what follows a `{` makes it a repetition: `3}`, `3,}` or `3,5}`.
fn is_repetition(after: &str) -> bool {
    let Some((inner, _)) = after.split_once('}') else { return false };
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    match inner.split_once(',') {
        Some((low, high)) => digits(low) && (high.is_empty() || digits(high)),
        None => digits(inner),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::rules::Pattern;

    #[test]
    fn patterns_mean_the_same_here() {
        for (pcre, yes, no) in [
            ("", "x", ""),
            ("^(abuse|tech)$", "tech", "technique"),
            ("^\\w{3}$", "é_1", "ā_1"),
            ("^[[:^alpha:]]+$", "123", "1é"),
            ("^[[:upper:][:digit:]]+$", "É1", "é1"),
            ("^\\W$", "ā", "é"),
            ("^[[:punct:]]+$", "!~`[§", "a"),
            ("^[\\w.-]+$", "a.b-c", "a b"),
            ("^[^\\d]+$", "abc", "a1"),
            ("^[[x]+$", "[x", "y"),
            ("^[]x]+$", "x]", "y"),
            ("^[[:alpha:]]+$", "abc", "ab1"),
            ("a{b}", "xa{b}", "ab"),
            ("^a{2,}$", "aaa", "a"),
            ("^\\<a\\>$", "<a>", "a"),
            ("\\bfoo\\b", "a foo b", "afoo"),
            ("^[a&&b]+$", "a&b", "c"),
            ("^(?:a|b)++", "ab", "c"),
            ("^.$", "é", "ab"),
            ("(?i)^Admin$", "aDMIN", "admins"),
        ] {
            let translated = translate(pcre);
            let Ok(pattern) = Pattern::regex(&translated) else {
                assert_eq!(pcre, "^(?:a|b)++", "{translated}");
                continue;
            };
            assert!(pattern.matches(yes), "{pcre} → {translated} on {yes}");
            assert!(no.is_empty() || !pattern.matches(no), "{pcre} → {translated} on {no}");
        }
        for refused in ["(?=a)b", "(a)\\1", "(?!x)", "(?<!x)a", "(", "[a"] {
            assert!(Pattern::regex(&translate(refused)).is_err(), "{refused}");
        }
    }
}
