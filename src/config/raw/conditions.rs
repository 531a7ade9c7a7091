//! The conditions of an ACL, an entry or a grant.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::rules::{Found, Reference};
use super::{Problem, Table, in_file_order, printable};
use crate::config::rules::{Condition, Pattern, PatternFault, Test};
use crate::config::value::{self, IpNet};
use crate::jid::Jid;

/// The keys of a condition.
const KEYS: &[&str] = &[
    "acl",
    "ip",
    "node_glob",
    "node_regexp",
    "resource",
    "resource_glob",
    "resource_regexp",
    "server",
    "server_glob",
    "server_regexp",
    "shared_group",
    "user",
    "user_glob",
    "user_regexp",
];

/// Compiled patterns in one config, so that the worst file has a price.
const PATTERNS_MAX: usize = 1000;

impl<'d, 't> Table<'d, 't> {
    /// Those of one table of conditions, in the order of the file.
    pub(super) fn conditions(
        &self,
        path: &str,
        table: &'d DeTable<'d>,
        within: Option<&str>,
        found: &mut Found,
    ) -> Vec<Condition> {
        self.only(path, table, KEYS);
        let mut conditions = Vec::new();
        for (key, value) in in_file_order(table) {
            let key = key.get_ref().as_ref();
            if !KEYS.contains(&key) {
                continue;
            }
            if key == "acl" {
                for (name, value) in self.texts(path, value, "the name of an ACL") {
                    conditions.push(self.reference(path, name, value, within, found));
                }
                continue;
            }
            for (what, host, value) in self.values(path, key, value) {
                let line = Some(self.document.line(&value.span()));
                match self.test(path, key, what, host, value) {
                    Ok(test) => conditions.push(Condition { test, line }),
                    Err(problem) => self.document.report(*problem),
                }
            }
        }
        conditions
    }

    pub(super) fn reference(
        &self,
        path: &str,
        name: &str,
        value: &Spanned<DeValue<'_>>,
        within: Option<&str>,
        found: &mut Found,
    ) -> Condition {
        found.references.push(Reference {
            name: name.to_owned(),
            within: within.map(str::to_owned),
            path: path.to_owned(),
            span: value.span(),
        });
        let line = Some(self.document.line(&value.span()));
        Condition { test: Test::Acl(name.to_owned()), line }
    }

    /// The texts of a value that is one or a list of them.
    fn texts(
        &self,
        path: &str,
        value: &'d Spanned<DeValue<'d>>,
        expected: &str,
    ) -> Vec<(&'d str, &'d Spanned<DeValue<'d>>)> {
        let items: Vec<_> = match value.get_ref() {
            DeValue::Array(items) => items.iter().collect(),
            _ => vec![value],
        };
        let mut texts = Vec::new();
        for item in items {
            match item.get_ref() {
                DeValue::String(text) => texts.push((text.as_ref(), item)),
                _ => self.wrong(path, item, expected),
            }
        }
        texts
    }

    /// The values of a condition, each with its host if it has one.
    fn values(
        &self,
        path: &str,
        key: &str,
        value: &'d Spanned<DeValue<'d>>,
    ) -> Vec<(&'d str, Option<&'d str>, &'d Spanned<DeValue<'d>>)> {
        let scoped = key.starts_with("user") || key.starts_with("node") || key == "shared_group";
        let expected = match key {
            "ip" => "a network such as \"192.0.2.0/24\", or a list of them",
            _ if scoped => "a text, a list of them, or a table of `\"…\" = \"host\"`",
            _ => "a text, or a list of them",
        };
        let items: Vec<_> = match value.get_ref() {
            DeValue::Array(items) => items.iter().collect(),
            _ => vec![value],
        };
        let mut values = Vec::new();
        for item in items {
            match item.get_ref() {
                DeValue::String(text) if !scoped => values.push((text.as_ref(), None, item)),
                DeValue::String(text) => match text.split_once('@') {
                    None => values.push((text.as_ref(), None, item)),
                    Some((what, host)) if !host.contains('@') => {
                        values.push((what, Some(host), item));
                    }
                    Some(_) => {
                        let problem = Problem::at(self.document.text, &item.span(), path);
                        let found = format!("\"{}\", which has more than one @", printable(text));
                        let problem = problem.found(found).expected("`what@host`");
                        self.document
                            .report(problem.help("`{ \"what\" = \"host\" }` says it apart"));
                    }
                },
                DeValue::Table(table) if scoped => {
                    for (what, host) in in_file_order(table) {
                        match host.get_ref().as_str() {
                            Some(text) => values.push((what.get_ref().as_ref(), Some(text), host)),
                            None => self.wrong(path, host, "a host"),
                        }
                    }
                }
                _ => self.wrong(path, item, expected),
            }
        }
        values
    }

    fn test(
        &self,
        path: &str,
        key: &str,
        what: &str,
        host: Option<&str>,
        value: &Spanned<DeValue<'_>>,
    ) -> Result<Test, Box<Problem>> {
        let wrong = |text: &str, reason: String, expected: &str| {
            let found = format!("\"{}\", which {reason}", printable(text));
            let problem = Problem::at(self.document.text, &value.span(), path);
            Box::new(problem.found(found).expected(expected))
        };
        let domain = |text: &str| {
            let expected = "a domain such as \"example.org\"";
            value::domain(text).map_err(|reason| wrong(text, reason, expected))
        };
        let scope = host.filter(|_| !key.starts_with("node")).map(domain).transpose()?;
        let pattern = |text: &str| {
            let read = if key.ends_with("glob") { Pattern::glob } else { Pattern::regex };
            self.one_more_pattern(path, value)?;
            read(text).map_err(|fault| Box::new(self.bad_pattern(path, text, fault, value)))
        };
        Ok(match key {
            "ip" => {
                let expected = "a network such as \"192.0.2.0/24\" or an address";
                let net = what.parse::<IpNet>().map_err(|reason| {
                    let found = format!("\"{}\": {reason}", printable(what));
                    let problem = Problem::at(self.document.text, &value.span(), path);
                    Box::new(problem.found(found).expected(expected))
                })?;
                Test::Ip(net.unmapped())
            }
            "user" => {
                let name = Jid::from_parts(Some(what), "localhost", None).map_err(|error| {
                    wrong(what, format!("is no user: {error}"), "a user's name")
                })?;
                Test::User { local: name.local().unwrap_or_default().to_owned(), host: scope }
            }
            "server" => Test::Server(domain(what)?),
            "resource" => {
                let expected = "a resource such as \"phone\"";
                let name = Jid::from_parts(None, "localhost", Some(what))
                    .map_err(|error| wrong(what, format!("is no resource: {error}"), expected))?;
                Test::Resource(name.resource().unwrap_or_default().to_owned())
            }
            "shared_group" if what.is_empty() => {
                return Err(wrong(what, "is empty".to_owned(), "the name of a shared group"));
            }
            "shared_group" => Test::SharedGroup { group: what.to_owned(), host: scope },
            "user_regexp" | "user_glob" => {
                Test::UserPattern { pattern: pattern(what)?, host: scope }
            }
            "server_regexp" | "server_glob" => Test::ServerPattern(pattern(what)?),
            "resource_regexp" | "resource_glob" => Test::ResourcePattern(pattern(what)?),
            _ => {
                let Some(server) = host else {
                    let reason = "has no pattern for the server".to_owned();
                    return Err(wrong(what, reason, "`user pattern@server pattern`"));
                };
                Test::NodePattern { user: pattern(what)?, server: pattern(server)? }
            }
        })
    }

    fn one_more_pattern(
        &self,
        path: &str,
        value: &Spanned<DeValue<'_>>,
    ) -> Result<(), Box<Problem>> {
        let mut notes = self.document.notes.borrow_mut();
        notes.patterns += 1;
        if notes.patterns <= PATTERNS_MAX {
            return Ok(());
        }
        let problem = Problem::at(self.document.text, &value.span(), path);
        let problem = problem.found(format!("pattern number {}", notes.patterns));
        let problem = problem.expected(format!("at most {PATTERNS_MAX} patterns in all rules"));
        Err(Box::new(problem.help("join them with `|`, or use `user` for whole names")))
    }

    /// Points into the pattern where the value is written without escapes.
    fn bad_pattern(
        &self,
        path: &str,
        written: &str,
        fault: PatternFault,
        value: &Spanned<DeValue<'_>>,
    ) -> Problem {
        let text = self.document.text;
        let span = value.span();
        let source = text.get(span.clone()).unwrap_or("");
        let inner = source.find(written).filter(|_| !written.is_empty());
        let place = match (&fault.at, inner) {
            (Some(at), Some(start)) => span.start + start + at.start..span.start + start + at.end,
            _ => span,
        };
        let mut found = format!("\"{}\", which {}", printable(written), fault.reason);
        if let Some(at) = &fault.at {
            let number = written.get(..at.start).map_or(0, |before| before.chars().count()) + 1;
            found = format!("{found}, at its character {number}");
        }
        let problem = Problem::at(text, &place, path).found(found).expected("a pattern");
        match fault.help {
            Some(help) => problem.help(help),
            None => problem,
        }
    }
}
