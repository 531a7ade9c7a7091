//! QR codes on a terminal: black on white, whatever the terminal's colours are.

use clap::ValueEnum;
use qrcode::{Color, EcLevel, QrCode};

/// Light modules around the code (ISO 18004 asks for four).
const QUIET: usize = 4;

/// When a command draws one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum When {
    Auto,
    Always,
    Never,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Style {
    /// Two modules in one character.
    HalfBlocks,
    /// Two characters to a module.
    Ascii,
}

impl When {
    pub(super) fn style(self, terminal: bool) -> Option<Style> {
        let wanted = self == When::Always || self == When::Auto && terminal;
        wanted.then(|| if speaks_utf8() { Style::HalfBlocks } else { Style::Ascii })
    }
}

/// What POSIX says of the characters that the terminal knows.
fn speaks_utf8() -> bool {
    let set = |name| std::env::var(name).ok().filter(|value: &String| !value.is_empty());
    let locale = set("LC_ALL").or_else(|| set("LC_CTYPE")).or_else(|| set("LANG"));
    locale.is_some_and(|locale| {
        let locale = locale.to_ascii_lowercase();
        locale.contains("utf-8") || locale.contains("utf8")
    })
}

/// The code of `text`; `None` if it is too long for one.
pub(super) fn draw(text: &str, style: Style) -> Option<String> {
    let code = QrCode::with_error_correction_level(text, EcLevel::L).ok()?;
    let (modules, width) = (code.to_colors(), code.width());
    let dark = |x: usize, y: usize| {
        let inside = (QUIET..QUIET + width).contains(&x) && (QUIET..QUIET + width).contains(&y);
        inside && modules[(y - QUIET) * width + x - QUIET] == Color::Dark
    };
    let whole = width + 2 * QUIET;
    let mut out = String::new();
    match style {
        Style::HalfBlocks => {
            for y in (0..whole).step_by(2) {
                // Black letters on a white ground, so that the ground of the terminal does not
                // matter.
                out.push_str("\u{1b}[30;107m");
                for x in 0..whole {
                    out.push(match (dark(x, y), dark(x, y + 1)) {
                        (true, true) => '█',
                        (true, false) => '▀',
                        (false, true) => '▄',
                        (false, false) => ' ',
                    });
                }
                out.push_str("\u{1b}[0m\n");
            }
        }
        Style::Ascii => {
            for y in 0..whole {
                // No letter is as wide as high: two for each module, and the light ones drawn, as
                // most terminals without UTF-8 are dark.
                (0..whole).for_each(|x| out.push_str(if dark(x, y) { "  " } else { "##" }));
                out.push('\n');
            }
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_styles_draw_the_same_code() {
        let text = "xmpp:juliet@example.org?register;preauth=c3qk7wzmh2d5fye6s4tgnpjrab";
        let ascii = draw(text, Style::Ascii).unwrap();
        let rows: Vec<Vec<bool>> = ascii
            .lines()
            .map(|line| line.as_bytes().chunks(2).map(|pair| pair == b"  ").collect())
            .collect();
        let blocks = draw(text, Style::HalfBlocks).unwrap();
        for (y, line) in blocks.lines().enumerate() {
            let line = line.strip_prefix("\u{1b}[30;107m").unwrap();
            let line = line.strip_suffix("\u{1b}[0m").unwrap();
            for (x, char) in line.chars().enumerate() {
                let below = rows.get(2 * y + 1).is_some_and(|row| row[x]);
                let expected = match (rows[2 * y][x], below) {
                    (true, true) => '█',
                    (true, false) => '▀',
                    (false, true) => '▄',
                    (false, false) => ' ',
                };
                assert_eq!(char, expected, "{x} {y}");
            }
        }
        // The finder of the upper left corner, after the quiet zone.
        assert!(rows[..QUIET].iter().flatten().all(|dark| !dark));
        assert!(rows[QUIET][QUIET..QUIET + 7].iter().all(|dark| *dark));
        assert!(!rows[QUIET][QUIET + 7]);
        assert_eq!(rows.len(), rows[0].len());
    }

    #[test]
    fn a_text_too_long_for_a_code_is_not_drawn() {
        assert!(draw(&"x".repeat(5000), Style::Ascii).is_none());
        assert_eq!(When::Auto.style(false), None);
        assert_eq!(When::Never.style(true), None);
        assert!(When::Always.style(false).is_some());
    }
}
