//! What README.md and src/security.md say, held to the program.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use coucou::{admin, config, features, muc, stream};

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Cells of the tables of `text`, row by row.
fn rows(text: &str) -> impl Iterator<Item = Vec<&str>> {
    text.lines().filter_map(|line| {
        let inner = line.strip_prefix("| ")?.strip_suffix(" |")?;
        Some(inner.split(" | ").map(str::trim).collect())
    })
}

#[test]
fn the_table_of_specifications_is_what_the_code_says() {
    let readme = read("README.md");
    let told: Vec<(String, String)> = rows(&readme)
        .filter_map(|cells| {
            let number = cells[0].strip_prefix('[')?.split_once(']')?.0;
            let link = format!("[{number}](https://xmpp.org/extensions/xep-{number}.html)");
            assert_eq!(cells[0], link);
            Some((number.to_owned(), cells[1].to_owned()))
        })
        .collect();
    let xeps = features::ALL.iter().flat_map(|feature| feature.xeps).chain(stream::XEPS);
    let xeps = xeps.chain(admin::portable::XEPS).chain(muc::XEPS);
    let mut coded: Vec<(String, String)> =
        xeps.map(|xep| (format!("{:04}", xep.number), xep.version.to_owned())).collect();
    coded.sort();
    assert_eq!(told, coded);
}

/// `coucou COMMAND --help`, its subcommands, theirs, and so on.
fn commands(path: &[String], found: &mut Vec<String>) {
    let output = Command::new(env!("CARGO_BIN_EXE_coucou")).args(path).arg("--help").output();
    let help = String::from_utf8(output.unwrap().stdout).unwrap();
    let listed = help.split("\nCommands:\n").nth(1).unwrap_or_default();
    let names: Vec<&str> = listed
        .lines()
        .take_while(|line| !line.is_empty())
        // Deeper lines go on with the description of the command above them.
        .filter(|line| !line.starts_with("   "))
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| *name != "help")
        .collect();
    if names.is_empty() {
        found.push(path.join(" "));
    }
    for name in names {
        commands(&[path, &[name.to_owned()]].concat(), found);
    }
}

#[test]
fn every_command_is_in_the_manual() {
    let readme = read("README.md");
    let mut found = Vec::new();
    commands(&[], &mut found);
    assert!(found.len() > 10, "{found:?}");
    let missing: Vec<&String> =
        found.iter().filter(|command| !readme.contains(&format!("coucou {command}"))).collect();
    assert!(missing.is_empty(), "README.md does not mention {missing:?}");
}

#[test]
fn every_snippet_of_config_is_in_order() {
    let readme = read("README.md");
    let snippets: Vec<&str> = readme
        .split("```toml\n")
        .skip(1)
        .map(|rest| rest.split("```").next().unwrap_or_default())
        .collect();
    assert!(snippets.len() > 3);
    for snippet in snippets {
        let host = if snippet.contains("[hosts.") { "" } else { "\n[hosts.\"example.org\"]\n" };
        let checked = config::parse(&format!("{snippet}{host}"), Path::new("/tmp/coucou.toml"));
        let warnings = checked.unwrap_or_else(|error| panic!("{error}\n{snippet}")).warnings;
        assert!(warnings.is_empty(), "{warnings:?}\n{snippet}");
    }
}

#[test]
fn every_room_is_in_the_map_of_the_crate() {
    let map = read("src/lib.rs");
    for entry in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("src")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let room = name.trim_end_matches(".rs");
        let is_room = !["lib", "main", "testing", "security.md"].contains(&room);
        assert!(!is_room || map.contains(&format!("[`{room}`]")), "{room} is not on the map");
    }
}

#[test]
fn links_to_files_lead_somewhere() {
    for text in [read("README.md"), read("CHANGELOG.md")] {
        for rest in text.split("](").skip(1) {
            let target = rest.split(')').next().unwrap_or_default();
            let there = target.contains("://")
                || Path::new(env!("CARGO_MANIFEST_DIR")).join(target).exists();
            assert!(there, "{target} is not there");
        }
    }
}

#[test]
fn every_test_named_against_an_attack_exists() {
    fn walk(dir: &Path, names: &mut BTreeSet<String>) {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, names);
            } else if path.extension().is_some_and(|e| e == "play") {
                names.insert(path.file_name().unwrap().to_string_lossy().into_owned());
            } else if path.extension().is_some_and(|e| e == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                let tests = text.split("test]").skip(1).filter_map(|rest| rest.split("fn ").nth(1));
                names.extend(tests.filter_map(|rest| Some(rest.split_once('(')?.0.to_owned())));
            }
        }
    }
    let mut names = BTreeSet::new();
    for dir in ["src", "tests"] {
        walk(&Path::new(env!("CARGO_MANIFEST_DIR")).join(dir), &mut names);
    }
    let security = read("src/security.md");
    let mut count = 0;
    for cells in rows(&security).skip(1) {
        for name in cells[2].split(", ").filter(|name| *name != "–") {
            assert!(names.contains(name.trim_matches('`')), "there is no test {name}");
            count += 1;
        }
    }
    assert!(count > 40, "only {count} tests were found in the table");
}
