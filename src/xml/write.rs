//! Writing: escaping of text and attribute values, and back.
//!
//! Values stand in single quotes. What XML cannot carry at all (most control characters) becomes
//! U+FFFD, so that no text from a database or an API can break a stream.

use std::borrow::Cow;

use super::chars;

/// Appends character data.
pub fn text(out: &mut Vec<u8>, value: &str) {
    escape(out, value, |byte| match byte {
        b'<' => Some("&lt;"),
        b'&' => Some("&amp;"),
        // Only needed after "]]", cheaper than to look there.
        b'>' => Some("&gt;"),
        // A bare one is read as a line feed (XML §2.11).
        b'\r' => Some("&#13;"),
        _ => None,
    });
}

/// Appends an attribute's value without its quotes.
pub fn value(out: &mut Vec<u8>, value: &str) {
    escape(out, value, |byte| match byte {
        b'<' => Some("&lt;"),
        b'&' => Some("&amp;"),
        b'\'' => Some("&apos;"),
        // Bare ones are read as spaces (XML §3.3.3).
        b'\t' => Some("&#9;"),
        b'\n' => Some("&#10;"),
        b'\r' => Some("&#13;"),
        _ => None,
    });
}

/// Appends ` name='value'`. The name is taken as it is.
pub fn attribute(out: &mut Vec<u8>, name: &str, content: &str) {
    out.push(b' ');
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"='");
    value(out, content);
    out.push(b'\'');
}

fn escape(out: &mut Vec<u8>, value: &str, reference: impl Fn(u8) -> Option<&'static str>) {
    let bytes = value.as_bytes();
    let mut done = 0;
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        // Plain in both places: what most texts are made of.
        if chars::is(byte, chars::VALUE) && byte != b'>' {
            at += 1;
            continue;
        }
        let (replacement, len) = match byte {
            // U+FFFE and U+FFFF are no characters of XML.
            0xef if matches!(bytes.get(at..at + 3), Some([_, 0xbf, 0xbe | 0xbf])) => {
                ("\u{fffd}", 3)
            }
            0..0x20 if !chars::is(byte, chars::SPACE) => ("\u{fffd}", 1),
            _ => match reference(byte) {
                Some(reference) => (reference, 1),
                None => {
                    at += 1;
                    continue;
                }
            },
        };
        out.extend_from_slice(&bytes[done..at]);
        out.extend_from_slice(replacement.as_bytes());
        at += len;
        done = at;
    }
    out.extend_from_slice(&bytes[done..]);
}

/// The value that a valid attribute's markup stands for: references resolved, white space made
/// spaces (XML §3.3.3).
pub(crate) fn read_value(raw: &[u8]) -> Cow<'_, str> {
    if raw.iter().all(|&byte| byte >= 0x20 && byte != b'&') {
        return utf8(raw);
    }
    let mut out = String::with_capacity(raw.len());
    let mut rest = raw;
    while let Some(at) = rest.iter().position(|&byte| byte < 0x20 || byte == b'&') {
        out.push_str(&utf8(&rest[..at]));
        let len = match rest[at] {
            b'&' => {
                let end = memchr::memchr(b';', &rest[at..]).unwrap_or(rest.len() - at - 1);
                out.extend(reference(&rest[at + 1..at + end]));
                end + 1
            }
            b'\r' => {
                out.push(' ');
                if rest.get(at + 1) == Some(&b'\n') { 2 } else { 1 }
            }
            _ => {
                out.push(' ');
                1
            }
        };
        rest = &rest[at + len..];
    }
    out.push_str(&utf8(rest));
    Cow::Owned(out)
}

/// The character behind the part of a reference between `&` and `;`: a predefined entity or a
/// number of a character that XML allows.
pub(crate) fn reference(name: &[u8]) -> Option<char> {
    match name {
        b"lt" => Some('<'),
        b"gt" => Some('>'),
        b"amp" => Some('&'),
        b"apos" => Some('\''),
        b"quot" => Some('"'),
        [b'#', b'x', digits @ ..] => number(digits, 16),
        [b'#', digits @ ..] => number(digits, 10),
        _ => None,
    }
}

fn number(digits: &[u8], radix: u32) -> Option<char> {
    if digits.is_empty() {
        return None;
    }
    let mut code: u32 = 0;
    for &digit in digits {
        let digit = char::from(digit).to_digit(radix)?;
        code = code.checked_mul(radix)?.checked_add(digit)?;
    }
    char::from_u32(code).filter(|&c| chars::is_char(c))
}

/// Bytes that were validated before. Lossy rather than panicking if they were not.
pub(crate) fn utf8(bytes: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(bytes)
}

/// Whether a text can be carried by XML unchanged.
pub fn is_carriable(text: &str) -> bool {
    text.chars().all(chars::is_char)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(write: impl Fn(&mut Vec<u8>, &str), value: &str) -> String {
        let mut out = Vec::new();
        write(&mut out, value);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn markup_and_lost_white_space_are_escaped() {
        assert_eq!(written(text, "a<b>&'\"\r\n\t]]>"), "a&lt;b&gt;&amp;'\"&#13;\n\t]]&gt;");
        assert_eq!(written(value, "a<b>&'\"\r\n\t"), "a&lt;b>&amp;&apos;\"&#13;&#10;&#9;");
        assert_eq!(written(text, "\u{fc} \u{1f469}"), "\u{fc} \u{1f469}");
    }

    #[test]
    fn what_xml_cannot_carry_is_replaced() {
        assert_eq!(
            written(text, "a\0\u{1}b\u{fffe}\u{ffff}c\u{7f}"),
            "a\u{fffd}\u{fffd}b\u{fffd}\u{fffd}c\u{7f}"
        );
        assert!(!is_carriable("\u{fffe}") && is_carriable("\u{fffd}\n"));
    }

    #[test]
    fn references_are_resolved() {
        for (name, c) in
            [("lt", '<'), ("#65", 'A'), ("#x41", 'A'), ("#x1F469", '\u{1f469}'), ("#0009", '\t')]
        {
            assert_eq!(reference(name.as_bytes()), Some(c), "{name}");
        }
        for name in [
            "",
            "#",
            "#x",
            "#0",
            "#1",
            "#xD800",
            "#x110000",
            "#xFFFE",
            "#99999999999",
            "#X41",
            "#+5",
            "LT",
            "nbsp",
        ] {
            assert_eq!(reference(name.as_bytes()), None, "{name}");
        }
    }

    #[test]
    fn line_ends_and_white_space_are_normalised_once() {
        assert_eq!(read_value(b"a\r\nb\tc&#9;&#10;d"), "a b c\t\nd");
        assert_eq!(read_value(b"&amp;lt;"), "&lt;");
    }
}
