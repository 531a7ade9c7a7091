//! Every setting as operators look at it: value, default, where the file says it, what it means.
//!
//! The meaning is the comment that stands above it in the annotated file.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::diff::Effect;
use super::model::Config;
use super::raw::Shown;
use super::template::ANNOTATED;

/// A setting in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Described {
    /// As in `hosts."example.org".archive.retention`.
    pub path: String,
    /// Secrets are masked.
    pub value: String,
    /// `None` if the file has to say it.
    pub default: Option<String>,
    /// The line of the file that says it; `None` if nothing does and the default is in force.
    pub line: Option<usize>,
    /// What it means, as the annotated file tells.
    pub meaning: String,
    /// When a change of it counts.
    pub effect: Effect,
    pub secret: bool,
}

/// All settings of `config`, sorted by path.
pub fn describe(config: &Config) -> Vec<Described> {
    let meanings = meanings();
    let described = config.settings.iter().map(|setting| Described {
        path: setting.path.clone(),
        value: setting.value.to_string(),
        default: setting.default.clone(),
        line: setting.line,
        meaning: meanings.get(&anywhere(&setting.path)).cloned().unwrap_or_default(),
        effect: setting.effect,
        secret: matches!(setting.value, Shown::Secret(_)),
    });
    described.collect()
}

/// The setting of `config` that `path` names, which may leave out quotes: `hosts.a.org.auth`.
pub fn find_path(config: &Config, path: &str) -> Option<String> {
    let bare = |path: &str| path.replace('"', "");
    let wanted = bare(path);
    config
        .settings
        .iter()
        .map(|setting| &setting.path)
        .find(|known| *known == path || bare(known) == wanted)
        .cloned()
}

/// The parts of a path, without their quotes.
pub(super) fn segments(path: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut quoted = false;
    for c in path.chars() {
        match c {
            '"' => quoted = !quoted,
            '.' if !quoted => parts.push(String::new()),
            c => parts.last_mut().into_iter().for_each(|part| part.push(c)),
        }
    }
    parts
}

/// Tables whose keys are names that the operator gives.
const NAMED: [&[&str]; 4] = [&["log", "levels"], &["acl"], &["access"], &["allowances"]];

/// The place of `path` in the annotated file, which has one host and one component.
pub(super) fn anywhere(path: &str) -> String {
    let mut parts = segments(path);
    if let [first, name, ..] = parts.as_mut_slice()
        && (first == "hosts" || first == "components")
    {
        "*".clone_into(name);
    }
    for named in NAMED {
        if parts.len() > named.len() && parts.iter().zip(named).all(|(part, name)| part == name) {
            parts.truncate(named.len());
        }
    }
    parts.join(".")
}

/// The setting that a line of the annotated file has, in force or behind its `#`: key and value.
pub(super) fn setting_of(line: &str) -> Option<(&str, &str)> {
    let line = line.strip_prefix('#').unwrap_or(line);
    let (key, value) = line.split_once('=')?;
    let (key, value) = (key.trim_end(), value.trim());
    let bare = !key.is_empty()
        && key.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'));
    (bare && !line.starts_with(' ')).then_some((key, value))
}

/// The table that a line opens, in force or behind its `#`.
pub(super) fn header_of(line: &str) -> Option<&str> {
    let line = line.strip_prefix('#').unwrap_or(line);
    let name = line.strip_prefix('[')?.trim_end().strip_suffix(']')?;
    (!name.starts_with('[')).then_some(name)
}

/// What the annotated file says above each setting.
fn meanings() -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let (mut table, mut comment, mut above) = (String::new(), Vec::new(), String::new());
    // A comment goes on until an empty line; the settings and the header below share it.
    for line in ANNOTATED.lines() {
        if let Some(header) = header_of(line) {
            table = anywhere(header);
            above = comment.join(" ");
            comment.clear();
            found.insert(table.clone(), above.clone());
        } else if let Some((key, _)) = setting_of(line) {
            let path = if table.is_empty() { key.to_owned() } else { format!("{table}.{key}") };
            let meaning = if comment.is_empty() { above.clone() } else { comment.join(" ") };
            found.entry(path).or_insert(meaning);
        } else if let Some(text) = line.strip_prefix('#').filter(|text| !text.starts_with(" -")) {
            if text.is_empty() {
                comment.clear();
            } else {
                comment.push(text.trim().to_owned());
            }
        } else {
            comment.clear();
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::everything;

    #[test]
    fn every_setting_has_a_meaning() {
        let described = describe(&everything());
        let silent: Vec<&str> =
            described.iter().filter(|s| s.meaning.is_empty()).map(|s| s.path.as_str()).collect();
        assert!(silent.is_empty(), "no comment in assets/coucou.toml above {silent:?}");
        let of = |path: &str| &described.iter().find(|s| s.path == path).unwrap().meaning;
        assert!(of("limits.ping_timeout").starts_with("Silence until the server asks"));
        assert!(of("hosts.localhost.push.with_body").starts_with("Push notifications"));
    }

    #[test]
    fn a_setting_tells_its_default_and_its_line() {
        let text = "[hosts.\"a.org\"]\nauth = \"internal\"\n\n[limits]\nping_after = \"5m\"\n";
        let config = crate::config::parse(text, std::path::Path::new("/c")).unwrap().config;
        let described = describe(&config);
        let of = |path: &str| described.iter().find(|s| s.path == path).unwrap();
        let ping = of("limits.ping_after");
        assert_eq!((ping.value.as_str(), ping.default.as_deref()), ("5m", Some("15m")));
        assert_eq!((ping.line, ping.effect), (Some(5), Effect::NewConnections));
        assert_eq!(of("limits.ping_timeout").line, None);
        assert_eq!(of("hosts.\"a.org\".auth").line, Some(2));
    }

    #[test]
    fn quotes_in_a_path_may_be_left_out() {
        let config = Config::default_for("a.example.org").unwrap();
        let whole = "hosts.\"a.example.org\".archive.retention";
        assert_eq!(find_path(&config, whole).as_deref(), Some(whole));
        assert_eq!(
            find_path(&config, "hosts.a.example.org.archive.retention").as_deref(),
            Some(whole)
        );
        assert_eq!(find_path(&config, "hosts.b.org.auth"), None);
    }
}
