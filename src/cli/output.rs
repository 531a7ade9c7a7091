//! What a command prints: text for people, JSON for programs.

use std::io::{self, ErrorKind, Write};

use serde::Serialize;

use super::failure::Failure;
use crate::telemetry::log::escape;

/// Standard output, in the form that was asked for.
#[derive(Debug)]
pub(super) struct Output {
    json: bool,
}

impl Output {
    pub(super) fn new(json: bool) -> Output {
        Output { json }
    }

    pub(super) fn is_json(&self) -> bool {
        self.json
    }

    /// Prints `value` as JSON, or what `text` makes of it.
    ///
    /// # Errors
    /// If standard output does not take it.
    pub(super) fn show<T: Serialize>(
        &mut self,
        value: &T,
        text: impl FnOnce(&T) -> String,
    ) -> Result<(), Failure> {
        let text = if self.json {
            serde_json::to_string(value).map_err(|error| Failure::failed(error.to_string()))?
        } else {
            text(value)
        };
        self.line(&text)
    }

    /// Prints `text` whatever form was asked for; nothing if it is empty.
    ///
    /// # Errors
    /// If standard output does not take it.
    pub(super) fn line(&mut self, text: &str) -> Result<(), Failure> {
        if text.is_empty() {
            return Ok(());
        }
        let mut out = io::stdout().lock();
        match writeln!(out, "{text}").and_then(|()| out.flush()) {
            // Whoever reads has had enough, as with `coucou log | head`.
            Err(error) if error.kind() == ErrorKind::BrokenPipe => std::process::exit(0),
            other => {
                other.map_err(|error| Failure::failed(format!("cannot write the output: {error}")))
            }
        }
    }
}

/// `text` of unknown origin, safe for a terminal.
pub(super) fn clean(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    escape(text, &mut out);
    out
}

/// Rows in columns under their headings; cells are made safe for a terminal.
pub(super) fn table<const N: usize>(
    headings: [&str; N],
    rows: impl IntoIterator<Item = [String; N]>,
) -> String {
    let mut all = vec![headings.map(str::to_owned)];
    all.extend(rows.into_iter().map(|row| row.map(|cell| clean(&cell))));
    let width =
        |column: usize| all.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: [usize; N] = std::array::from_fn(width);
    let lines = all.iter().map(|row| {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// A length of time in its two largest units, as in `3d 4h`.
pub(super) fn duration(secs: u64) -> String {
    let (days, hours, minutes) = (secs / 86_400, secs / 3600 % 24, secs / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{secs}s"),
        (0, 0, _) => format!("{minutes}m {}s", secs % 60),
        (0, _, _) => format!("{hours}h {minutes}m"),
        _ => format!("{days}d {hours}h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_align_and_cells_are_harmless() {
        let text = table(
            ["JID", "REASON"],
            [["a@b".into(), "x\u{1b}[2J".into()], ["ärger@b".into(), String::new()]],
        );
        assert_eq!(text, "JID      REASON\na@b      x\\u{1b}[2J\närger@b");
    }

    #[test]
    fn durations_are_short() {
        assert_eq!([5, 65, 3700, 90_000].map(duration), ["5s", "1m 5s", "1h 1m", "1d 1h"]);
    }
}
