//! The annotated default file, and a user's file made from it.

use std::fmt::Write as _;

/// Every setting with unit and default; parses to [`super::Config::default_for`] `("localhost")`.
pub const ANNOTATED: &str = include_str!("../../assets/coucou.toml");

/// A user's first config file: the annotated one, with a domain and a few settings filled in.
#[derive(Clone, Debug)]
pub struct Template {
    domain: String,
    settings: Vec<(String, &'static str, toml::Value)>,
}

impl Template {
    /// `domain` must be normalised by [`super::value::domain`].
    pub fn new(domain: &str) -> Template {
        Template { domain: domain.to_owned(), settings: Vec::new() }
    }

    /// Sets `key` of `table`, both as in the annotated file, where the table of the first host is
    /// `host` and its tables are as in `host.archive`. An empty `table` is the top of the file.
    pub fn set(
        mut self,
        table: &str,
        key: &'static str,
        value: impl Into<toml::Value>,
    ) -> Template {
        self.settings.push((table.to_owned(), key, value.into()));
        self
    }

    /// The file's text. Settings that the annotated file does not have are left out, which `coucou
    /// check` of the result would show; the tests hold the known ones in place.
    pub fn render(&self) -> String {
        let mut out = String::with_capacity(ANNOTATED.len());
        let mut table = String::new();
        for line in ANNOTATED.lines() {
            if let Some(header) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
                table = header.replace("hosts.\"localhost\"", "host");
            }
            let setting = line.strip_prefix('#').and_then(|line| line.split_once(" = "));
            let value =
                setting.and_then(|(key, _)| self.value(&table, key).map(|value| (key, value)));
            let written = match value {
                Some((key, value)) => writeln!(out, "{key} = {value}"),
                None => writeln!(out, "{}", line.replace("localhost", &self.domain)),
            };
            debug_assert!(written.is_ok(), "writing to a String does not fail");
        }
        out
    }

    fn value(&self, table: &str, key: &str) -> Option<&toml::Value> {
        self.settings.iter().find(|(t, k, _)| t == table && *k == key).map(|(_, _, value)| value)
    }
}
