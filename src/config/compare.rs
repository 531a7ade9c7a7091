//! Two texts of the config file side by side: a unified diff that shows no secret.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::ops::Range;

use toml_edit::{Document, Item, TableLike};

/// Lines of both texts that are compared one by one; what is longer counts as replaced.
const LINES_MAX: usize = 4000;
/// Lines shown around each change.
const AROUND: usize = 3;
/// What stands for a secret.
const DOTS: &str = "\"•••\"";

/// Whether a setting of this name is a secret.
pub fn is_secret(key: &str) -> bool {
    ["secret", "password", "passphrase", "token"]
        .iter()
        .any(|word| key == *word || key.ends_with(&format!("_{word}")))
}

/// What changes from `old` to `new`, as `diff -u` would show it; empty if nothing does. Secrets
/// that differ are told apart as old and new.
pub fn unified(old: &str, new: &str, old_name: &str, new_name: &str) -> String {
    let (before, after) = (masked(old, new, "old"), masked(new, old, "new"));
    let (a, b): (Vec<&str>, Vec<&str>) = (before.lines().collect(), after.lines().collect());
    let steps = steps(&a, &b);
    if steps.iter().all(|step| matches!(step, Step::Both(..))) {
        return String::new();
    }
    let mut out = format!("--- {old_name}\n+++ {new_name}\n");
    for hunk in hunks(&steps) {
        let steps = &steps[hunk];
        let count = |mine: fn(&Step) -> Option<usize>| steps.iter().filter_map(mine).count();
        let first = |mine: fn(&Step) -> Option<usize>| {
            steps.iter().find_map(mine).map_or(0, |line| line + 1)
        };
        let written = writeln!(
            out,
            "@@ -{},{} +{},{} @@",
            first(Step::in_old),
            count(Step::in_old),
            first(Step::in_new),
            count(Step::in_new)
        );
        debug_assert!(written.is_ok(), "writing to a String does not fail");
        for step in steps {
            let (mark, line) = match *step {
                Step::Both(old, _) => (' ', a[old]),
                Step::Old(old) => ('-', a[old]),
                Step::New(new) => ('+', b[new]),
            };
            out.push(mark);
            out.push_str(line);
            out.push('\n');
        }
    }
    out
}

/// A line of both texts or of one, by its number.
#[derive(Clone, Copy)]
enum Step {
    Both(usize, usize),
    Old(usize),
    New(usize),
}

impl Step {
    fn in_old(&self) -> Option<usize> {
        match *self {
            Step::Both(old, _) | Step::Old(old) => Some(old),
            Step::New(_) => None,
        }
    }

    fn in_new(&self) -> Option<usize> {
        match *self {
            Step::Both(_, new) | Step::New(new) => Some(new),
            Step::Old(_) => None,
        }
    }
}

/// The way from one text to the other that keeps most lines.
fn steps(a: &[&str], b: &[&str]) -> Vec<Step> {
    let start = a.iter().zip(b).take_while(|(a, b)| a == b).count();
    let end = a[start..].iter().rev().zip(b[start..].iter().rev()).take_while(|(a, b)| a == b);
    let end = end.count();
    let (in_a, in_b) = (&a[start..a.len() - end], &b[start..b.len() - end]);
    let mut steps: Vec<Step> = (0..start).map(|line| Step::Both(line, line)).collect();
    if in_a.len() > LINES_MAX || in_b.len() > LINES_MAX {
        steps.extend((0..in_a.len()).map(|line| Step::Old(start + line)));
        steps.extend((0..in_b.len()).map(|line| Step::New(start + line)));
    } else {
        // kept[i][j]: lines in common from line i of one and line j of the other on.
        let width = in_b.len() + 1;
        let mut kept = vec![0u16; (in_a.len() + 1) * width];
        for i in (0..in_a.len()).rev() {
            for j in (0..in_b.len()).rev() {
                kept[i * width + j] = if in_a[i] == in_b[j] {
                    kept[(i + 1) * width + j + 1] + 1
                } else {
                    kept[(i + 1) * width + j].max(kept[i * width + j + 1])
                };
            }
        }
        let (mut i, mut j) = (0, 0);
        while i < in_a.len() || j < in_b.len() {
            let both = i < in_a.len() && j < in_b.len() && in_a[i] == in_b[j];
            if both {
                steps.push(Step::Both(start + i, start + j));
                (i, j) = (i + 1, j + 1);
            } else if j == in_b.len()
                || (i < in_a.len() && kept[(i + 1) * width + j] >= kept[i * width + j + 1])
            {
                steps.push(Step::Old(start + i));
                i += 1;
            } else {
                steps.push(Step::New(start + j));
                j += 1;
            }
        }
    }
    let (from_a, from_b) = (a.len() - end, b.len() - end);
    steps.extend((0..end).map(|line| Step::Both(from_a + line, from_b + line)));
    steps
}

/// The changes with the lines around them; those that touch are one.
fn hunks(steps: &[Step]) -> Vec<Range<usize>> {
    let mut hunks: Vec<Range<usize>> = Vec::new();
    for (at, step) in steps.iter().enumerate() {
        if matches!(step, Step::Both(..)) {
            continue;
        }
        let (from, to) = (at.saturating_sub(AROUND), (at + 1 + AROUND).min(steps.len()));
        match hunks.last_mut() {
            Some(last) if from <= last.end => last.end = to,
            _ => hunks.push(from..to),
        }
    }
    hunks
}

/// `text` with dots for its secrets; those that `other` does not have are told as `kind`.
fn masked(text: &str, other: &str, kind: &str) -> String {
    let theirs: HashSet<&str> = secrets(other).into_iter().map(|at| &other[at]).collect();
    let mut out = text.to_owned();
    let mut places = secrets(text);
    places.sort_by_key(|place| std::cmp::Reverse(place.start));
    for place in places {
        let same = theirs.contains(&text[place.clone()]);
        out.replace_range(place, &if same { DOTS.to_owned() } else { format!("{DOTS} ({kind})") });
    }
    out
}

/// Where the values of secrets stand. A text that is not TOML is gone through by lines.
fn secrets(text: &str) -> Vec<Range<usize>> {
    match Document::parse(text) {
        Ok(document) => {
            let mut found = Vec::new();
            gather(document.as_table(), &mut found);
            found
        }
        Err(_) => by_lines(text),
    }
}

fn gather(table: &dyn TableLike, found: &mut Vec<Range<usize>>) {
    for (key, item) in table.iter() {
        if let Item::Value(value) = item
            && is_secret(key)
        {
            found.extend(value.span());
        } else if let Some(below) = item.as_table_like() {
            gather(below, found);
        } else if let Item::ArrayOfTables(tables) = item {
            tables.iter().for_each(|below| gather(below, found));
        }
    }
}

fn by_lines(text: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        if let Some((key, value)) = line.split_once('=')
            && ["secret", "password", "passphrase", "token"].iter().any(|word| key.contains(word))
        {
            found.push(at + line.len() - value.len()..at + line.trim_end().len());
        }
        at += line.len();
    }
    found
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::config::{describe, tests::everything};

    #[test]
    fn changes_are_shown_with_what_is_around_them() {
        let old = "a\nb\nc\nd\ne\nf\ng\nh\ni\nj\nk\nl\n";
        let new = "a\nb\nc\nD\ne\nf\ng\nh\ni\nj\nk\nl\nm\n";
        assert_eq!(
            unified(old, new, "old", "new"),
            "--- old\n+++ new\n@@ -1,7 +1,7 @@\n a\n b\n c\n-d\n+D\n e\n f\n g\n\
             @@ -10,3 +10,4 @@\n j\n k\n l\n+m\n"
        );
        assert_eq!(unified(old, old, "old", "new"), "");
        assert_eq!(unified("", "a\n", "x", "y"), "--- x\n+++ y\n@@ -0,0 +1,1 @@\n+a\n");
    }

    #[test]
    fn secrets_are_dots() {
        let old = "[components.\"a.b\"]\nsecret = \"hunter2hunter2\"\n[x]\ny = { token = 'abc' }\n";
        let new = old.replace("hunter2hunter2", "correct horse");
        let shown = unified(old, &new, "old", "new");
        assert!(shown.contains("-secret = \"•••\" (old)\n+secret = \"•••\" (new)\n"), "{shown}");
        assert!(!shown.contains("hunter2") && !shown.contains("horse") && !shown.contains("abc"));
        let broken = "[\nsecret = \"hunter2\"\n";
        let shown = unified(broken, "", "old", "new");
        assert!(!shown.contains("hunter2"), "{shown}");
    }

    #[test]
    fn every_secret_setting_is_known_by_its_name() {
        for setting in describe(&everything()) {
            let key = setting.path.rsplit('.').next().unwrap();
            assert_eq!(is_secret(key), setting.secret, "{}", setting.path);
        }
    }

    proptest! {
        #[test]
        fn a_diff_leads_from_one_text_to_the_other(old in "([a-d]\n){0,12}", new in "([a-d]\n){0,12}") {
            let (a, b): (Vec<&str>, Vec<&str>) = (old.lines().collect(), new.lines().collect());
            let steps = steps(&a, &b);
            prop_assert!(steps.iter().filter_map(Step::in_old).eq(0..a.len()));
            prop_assert!(steps.iter().filter_map(Step::in_new).eq(0..b.len()));
            for step in steps {
                if let Step::Both(old, new) = step {
                    prop_assert_eq!(a[old], b[new]);
                }
            }
        }
    }
}
