//! Lists: entries come, go and change places, and each takes its comments along.

use std::ops::Range;

use toml_edit::Array;

use super::{EditError, Splice};

/// A list in a text.
pub(super) struct List<'t> {
    text: &'t str,
    whole: Range<usize>,
    entries: Vec<Range<usize>>,
}

/// An entry on lines of its own: from the end of the entry before it, so with its comments.
struct Block {
    lines: Range<usize>,
    value: Range<usize>,
    has_comma: bool,
}

impl<'t> List<'t> {
    pub(super) fn new(text: &'t str, array: &Array) -> List<'t> {
        let whole = array.span().unwrap_or_default();
        List { text, whole, entries: array.iter().filter_map(|entry| entry.span()).collect() }
    }

    /// Where the entry `at` stands.
    pub(super) fn entry(&self, path: &str, at: usize) -> Result<Range<usize>, EditError> {
        self.entries.get(at).cloned().ok_or_else(|| EditError::NoEntry {
            path: path.to_owned(),
            count: self.entries.len(),
            at: at + 1,
        })
    }

    pub(super) fn insert(
        &self,
        path: &str,
        at: Option<usize>,
        value: String,
    ) -> Result<Vec<Splice>, EditError> {
        let count = self.entries.len();
        let at = at.unwrap_or(count);
        if at > count {
            self.entry(path, at)?;
        }
        if let Some(blocks) = self.blocks() {
            let first = &blocks[0];
            let start = self.line_start(first.value.start);
            let indent = &self.text[start..first.value.start];
            let newline = if self.text.contains("\r\n") { "\r\n" } else { "\n" };
            let mut lines: Vec<String> = blocks.iter().map(|block| self.lines(block)).collect();
            lines.insert(at, format!("{indent}{value},{newline}"));
            return Ok(vec![(self.region(&blocks), lines.concat())]);
        }
        Ok(vec![match (self.entries.get(at), self.entries.last()) {
            (Some(next), _) => (next.start..next.start, format!("{value}, ")),
            (None, Some(last)) => (last.end..last.end, format!(", {value}")),
            (None, None) => {
                let inside = self.whole.start + 1..self.whole.start + 1;
                (inside, value)
            }
        }])
    }

    pub(super) fn remove(&self, path: &str, at: usize) -> Result<Vec<Splice>, EditError> {
        let entry = self.entry(path, at)?;
        if let Some(blocks) = self.blocks() {
            return Ok(vec![(blocks[at].lines.clone(), String::new())]);
        }
        let is_plain = |gap: &Range<usize>| !self.text[gap.clone()].contains(['\n', '#']);
        let before = at.checked_sub(1).map(|before| self.entries[before].end..entry.start);
        let after = self.entries.get(at + 1).map(|next| entry.end..next.start);
        Ok(vec![(
            match (before, after) {
                (_, Some(gap)) if is_plain(&gap) => entry.start..gap.end,
                (Some(gap), _) if is_plain(&gap) => gap.start..entry.end,
                _ => entry.start..self.behind_comma(entry.end),
            },
            String::new(),
        )])
    }

    pub(super) fn shift(
        &self,
        path: &str,
        from: usize,
        to: usize,
    ) -> Result<Vec<Splice>, EditError> {
        let entry = self.entry(path, from)?;
        self.entry(path, to)?;
        if let Some(blocks) = self.blocks() {
            let mut lines: Vec<String> = blocks.iter().map(|block| self.lines(block)).collect();
            let moved = lines.remove(from);
            lines.insert(to, moved);
            return Ok(vec![(self.region(&blocks), lines.concat())]);
        }
        // The places stay, and what stands in them goes round.
        let mut order: Vec<&Range<usize>> = self.entries.iter().collect();
        order.remove(from);
        order.insert(to, &entry);
        let moved = self.entries.iter().zip(order).filter(|(place, entry)| place != entry);
        Ok(moved
            .map(|(place, entry)| (place.clone(), self.text[entry.clone()].to_owned()))
            .collect())
    }

    /// The entries by lines, if each begins a line of its own and the brackets have theirs.
    fn blocks(&self) -> Option<Vec<Block>> {
        let first = self.line_end(self.whole.start);
        let starts_line = |at: usize| self.text[self.line_start(at)..at].trim().is_empty();
        let own_lines = !self.entries.is_empty()
            && self.entries.iter().all(|entry| entry.start >= first && starts_line(entry.start))
            && starts_line(self.whole.end - 1);
        if !own_lines {
            return None;
        }
        let mut from = first;
        let blocks = self.entries.iter().map(|entry| {
            let end = self.line_end(entry.end);
            let lines = from..end;
            from = end;
            let has_comma = self.behind_comma(entry.end) > entry.end;
            Block { lines, value: entry.clone(), has_comma }
        });
        Some(blocks.collect())
    }

    fn region(&self, blocks: &[Block]) -> Range<usize> {
        let start = blocks.first().map_or(0, |block| block.lines.start);
        start..blocks.last().map_or(start, |block| block.lines.end)
    }

    /// The lines of a block, so that another may follow.
    fn lines(&self, block: &Block) -> String {
        let mut lines = self.text[block.lines.clone()].to_owned();
        if !block.has_comma {
            lines.insert(block.value.end - block.lines.start, ',');
        }
        lines
    }

    /// Behind the comma that follows `at`, or `at` if none does on the same line.
    fn behind_comma(&self, at: usize) -> usize {
        let rest = &self.text[at..self.whole.end];
        let spaces = rest.len() - rest.trim_start_matches([' ', '\t']).len();
        if rest[spaces..].starts_with(',') { at + spaces + 1 } else { at }
    }

    fn line_start(&self, at: usize) -> usize {
        self.text[..at].rfind('\n').map_or(0, |newline| newline + 1)
    }

    fn line_end(&self, at: usize) -> usize {
        self.text[at..].find('\n').map_or(self.text.len(), |newline| at + newline + 1)
    }
}
