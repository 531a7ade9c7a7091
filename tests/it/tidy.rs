//! Taste that a machine can hold: rooms use only what lies below them, and files stay readable.
//! Each rule was earned; a failure says what to do instead.

use std::fs;
use std::path::{Path, PathBuf};

/// The rooms from the top down. A room may use those of its own row and of the rows below.
const ROWS: &[&[&str]] = &[
    &["main", "cli"],
    &["server"],
    &["http"],
    &["admin"],
    &["stream"],
    &["delivery"],
    &["features", "muc"],
    &["router"],
    &["auth", "access", "net", "store"],
    &["config", "telemetry"],
    &["stanza", "xml", "jid", "time"],
];

/// Lines of a file that are still one thing to hold in mind; tests have files of their own.
const LINES_MAX: usize = 700;

/// Calls with a better way.
const BANNED: &[(&str, &str, &[&str])] = &[
    ("SystemTime::now", "take a `Now`; only shells call Now::read()", &["time"]),
    ("std::thread::sleep", "wait for what you wait for", &[]),
    ("unbounded_channel", "every queue has a bound", &[]),
    ("println!", "only commands speak to a terminal", &["cli", "main"]),
    ("sled::", "go through store::hot", &["store"]),
    ("rusqlite", "SQL stays in store", &["store"]),
];

fn sources() -> Vec<(PathBuf, String)> {
    fn walk(dir: &Path, found: &mut Vec<(PathBuf, String)>) {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, found);
            } else if path.extension().is_some_and(|e| e == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                found.push((path, text));
            }
        }
    }
    let mut found = Vec::new();
    walk(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut found);
    found
}

/// The room a file belongs to: its folder below `src`, or its own name.
fn room(path: &Path) -> String {
    let below = path.strip_prefix(Path::new(env!("CARGO_MANIFEST_DIR")).join("src")).unwrap();
    let first = below.iter().next().unwrap().to_string_lossy();
    first.trim_end_matches(".rs").to_owned()
}

fn row(room: &str) -> Option<usize> {
    ROWS.iter().position(|row| row.contains(&room))
}

/// Code without comments and without the tests at its end.
fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines()
        .enumerate()
        .take_while(|(_, line)| !line.starts_with("#[cfg(test)]"))
        .filter(|(_, line)| !line.trim_start().starts_with("//"))
        .map(|(at, line)| (at + 1, line))
}

/// Tests, what they are built on, and measurements that run as ignored tests.
fn is_test_file(path: &Path) -> bool {
    let name = path.to_string_lossy();
    name.contains("/tests") || name.ends_with("testing.rs") || name.ends_with("bench.rs")
}

#[test]
fn rooms_use_only_what_lies_below_them() {
    let mut wrong = Vec::new();
    for (path, text) in sources().iter().filter(|(path, _)| !is_test_file(path)) {
        let Some(own) = row(&room(path)) else { continue };
        for (line, code) in code(text) {
            for (at, _) in code.match_indices("crate::") {
                let used = code[at + 7..].split(|c: char| !c.is_alphanumeric() && c != '_').next();
                let used = used.unwrap_or_default();
                if row(used).is_some_and(|theirs| theirs < own) {
                    wrong.push(format!("{}:{line} uses {used}, which lies above", path.display()));
                }
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "turn the arrow round, or move what both need down:\n{}",
        wrong.join("\n")
    );
}

#[test]
fn banned_calls_have_a_better_way() {
    let mut wrong = Vec::new();
    for (path, text) in sources().iter().filter(|(path, _)| !is_test_file(path)) {
        for (call, remedy, allowed) in BANNED {
            if allowed.contains(&room(path).as_str()) {
                continue;
            }
            for (line, _) in code(text).filter(|(_, code)| code.contains(call)) {
                wrong.push(format!("{}:{line} {call}: {remedy}", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn files_can_be_held_in_mind() {
    let mut wrong = Vec::new();
    for (path, text) in sources().iter().filter(|(path, _)| !is_test_file(path)) {
        let lines = code(text).count();
        if lines > LINES_MAX {
            wrong.push(format!("{} has {lines} lines of code; find its parts", path.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_room_is_on_the_map() {
    for (path, _) in sources() {
        let room = room(&path);
        let known = row(&room).is_some() || room == "lib" || room == "testing";
        assert!(known, "{} is in no row of the house; see src/lib.rs", path.display());
    }
}
