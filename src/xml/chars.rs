//! Character classes of XML 1.0 (fifth edition) and its namespaces, and UTF-8 one character at a
//! time.

/// ASCII that a name may hold, but for the colon.
pub(crate) const NAME: u8 = 1;
/// ASCII that a name may begin with, but for the colon.
pub(crate) const NAME_START: u8 = 2;
/// ASCII text that needs no second look: no markup, no end of `]]>`.
pub(crate) const TEXT: u8 = 4;
/// ASCII of an attribute's value that needs no second look: no quote, no markup, nothing that is
/// normalised.
pub(crate) const VALUE: u8 = 8;
/// White space (production 3).
pub(crate) const SPACE: u8 = 16;

static CLASSES: [u8; 256] = classes();

const fn classes() -> [u8; 256] {
    let mut table = [0; 256];
    let mut at = 0;
    while at < 0x80 {
        let byte = at as u8;
        let mut class = 0;
        if byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.') {
            class |= NAME;
        }
        if byte.is_ascii_alphabetic() || byte == b'_' {
            class |= NAME_START;
        }
        let white = matches!(byte, b' ' | b'\t' | b'\n' | b'\r');
        if white {
            class |= SPACE;
        }
        if (byte >= 0x20 || white) && !matches!(byte, b'<' | b'&' | b'>') {
            class |= TEXT;
        }
        if byte >= 0x20 && !matches!(byte, b'<' | b'&' | b'"' | b'\'') {
            class |= VALUE;
        }
        table[at] = class;
        at += 1;
    }
    table
}

pub(crate) fn is(byte: u8, class: u8) -> bool {
    CLASSES[usize::from(byte)] & class != 0
}

/// The first place at or after `at` whose byte is not of `class`; the end if all are.
pub(crate) fn skip(buf: &[u8], mut at: usize, class: u8) -> usize {
    while let Some(&byte) = buf.get(at) {
        if !is(byte, class) {
            break;
        }
        at += 1;
    }
    at
}

/// [`skip`] over [`TEXT`], eight bytes at a time while they are plain.
pub(crate) fn skip_text(buf: &[u8], at: usize) -> usize {
    let at =
        skip_words(buf, at, |word| equals(word, b'<') | equals(word, b'&') | equals(word, b'>'));
    skip(buf, at, TEXT)
}

/// [`skip`] over [`VALUE`], eight bytes at a time while they are plain.
pub(crate) fn skip_value(buf: &[u8], at: usize) -> usize {
    let at = skip_words(buf, at, |word| {
        equals(word, b'<') | equals(word, b'&') | equals(word, b'"') | equals(word, b'\'')
    });
    skip(buf, at, VALUE)
}

const ONES: u64 = 0x0101_0101_0101_0101;
const HIGHS: u64 = 0x8080_8080_8080_8080;

/// The high bit of each zero byte; of some others too, which only costs a second look.
fn zeros(word: u64) -> u64 {
    word.wrapping_sub(ONES) & !word & HIGHS
}

fn equals(word: u64, byte: u8) -> u64 {
    zeros(word ^ (ONES * u64::from(byte)))
}

fn skip_words(buf: &[u8], mut at: usize, markup: impl Fn(u64) -> u64) -> usize {
    while let Some(chunk) = buf.get(at..).and_then(|rest| rest.first_chunk::<8>()) {
        let word = u64::from_le_bytes(*chunk);
        // Below 0x20 the subtraction borrows into the high bit.
        let controls = word.wrapping_sub(ONES * 0x20) & !word & HIGHS;
        if (word & HIGHS) | controls | markup(word) != 0 {
            break;
        }
        at += 8;
    }
    at
}

/// What stands at the beginning of some bytes that start beyond ASCII.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Decoded {
    /// A character and its length in bytes.
    Char(char, usize),
    /// So far so good, but it ends too soon.
    Partial,
    /// Not UTF-8.
    Invalid,
}

/// Decodes one character of UTF-8 (Unicode table 3-7: no overlong forms, no surrogates).
pub(crate) fn decode(bytes: &[u8]) -> Decoded {
    let Some(&first) = bytes.first() else { return Decoded::Partial };
    let (len, second) = match first {
        0x00..=0x7f => return Decoded::Char(char::from(first), 1),
        0xc2..=0xdf => (2, 0x80..=0xbf),
        0xe0 => (3, 0xa0..=0xbf),
        0xed => (3, 0x80..=0x9f),
        0xe1..=0xef => (3, 0x80..=0xbf),
        0xf0 => (4, 0x90..=0xbf),
        0xf1..=0xf3 => (4, 0x80..=0xbf),
        0xf4 => (4, 0x80..=0x8f),
        _ => return Decoded::Invalid,
    };
    let mut code = u32::from(first) & (0x7f >> len);
    for at in 1..len {
        let Some(&byte) = bytes.get(at) else { return Decoded::Partial };
        let valid = if at == 1 { second.contains(&byte) } else { byte & 0xc0 == 0x80 };
        if !valid {
            return Decoded::Invalid;
        }
        code = (code << 6) | u32::from(byte & 0x3f);
    }
    char::from_u32(code).map_or(Decoded::Invalid, |c| Decoded::Char(c, len))
}

/// Production 2: what a document may contain at all.
pub(crate) fn is_char(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\r' | ' '..='\u{fffd}' | '\u{10000}'..)
}

/// Production 4, but for the colon (NCName).
pub(crate) fn is_name_start(c: char) -> bool {
    matches!(c,
        'A'..='Z' | '_' | 'a'..='z'
        | '\u{c0}'..='\u{d6}' | '\u{d8}'..='\u{f6}' | '\u{f8}'..='\u{2ff}'
        | '\u{370}'..='\u{37d}' | '\u{37f}'..='\u{1fff}' | '\u{200c}'..='\u{200d}'
        | '\u{2070}'..='\u{218f}' | '\u{2c00}'..='\u{2fef}' | '\u{3001}'..='\u{d7ff}'
        | '\u{f900}'..='\u{fdcf}' | '\u{fdf0}'..='\u{fffd}' | '\u{10000}'..='\u{effff}')
}

/// Production 4a, but for the colon.
pub(crate) fn is_name_char(c: char) -> bool {
    is_name_start(c)
        || matches!(c,
            '-' | '.' | '0'..='9' | '\u{b7}' | '\u{300}'..='\u{36f}' | '\u{203f}'..='\u{2040}')
}

/// Whether a text is an NCName: a name without colon.
pub fn is_ncname(name: &str) -> bool {
    let mut chars = name.chars();
    chars.next().is_some_and(is_name_start) && chars.all(is_name_char)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decoding_agrees_with_the_standard_library() {
        for code in (0..0x11_0000).step_by(7) {
            let Some(c) = char::from_u32(code) else { continue };
            let mut bytes = [0; 4];
            let text = c.encode_utf8(&mut bytes);
            assert_eq!(decode(text.as_bytes()), Decoded::Char(c, c.len_utf8()));
            for cut in 1..text.len() {
                assert_eq!(decode(&text.as_bytes()[..cut]), Decoded::Partial);
            }
        }
        for first in 0x80..=0xff_u8 {
            for second in 0..=0xff_u8 {
                let bytes = [first, second, 0x80, 0x80];
                let ours = matches!(decode(&bytes), Decoded::Char(..));
                let theirs = (2..=4).any(|len| std::str::from_utf8(&bytes[..len]).is_ok());
                assert_eq!(ours, theirs, "{bytes:x?}");
            }
        }
    }

    #[test]
    fn skipping_by_words_stops_where_skipping_by_bytes_does() {
        for place in 0..20 {
            for byte in 0..=0xff_u8 {
                let mut text = [b'a'; 20];
                text[place] = byte;
                assert_eq!(skip_text(&text, 0), skip(&text, 0, TEXT));
                assert_eq!(skip_value(&text, 0), skip(&text, 0, VALUE));
            }
        }
    }

    #[test]
    fn names_follow_the_fifth_edition() {
        for name in ["a", "_", "a-b.c1", "\u{e9}t\u{e9}", "a\u{b7}", "\u{10000}"] {
            assert!(is_ncname(name), "{name}");
        }
        for name in ["", "1", "-a", "a b", "a:b", "\u{d7}", "\u{b7}", "a\u{2000}", "\u{f0000}"] {
            assert!(!is_ncname(name), "{name:?}");
        }
    }
}
