//! `[acl]`, `[access]`, `[allowances]`, and the settings that take a rule: their forms in the file.
//!
//! A value is a text, a list of texts, or, where a host may stand beside it, a table
//! `{ "pattern" = "host" }`. Who is meant is said by the name of an ACL, by a table of conditions, or
//! by a list of both.

use std::ops::{Range, RangeInclusive};
use std::sync::Arc;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::{Problem, Shown, Table, Wrong, in_file_order, nearest, printable};
use crate::config::rules::{
    ACL_DEPTH_MAX, Access, Acl, Allowance, AllowanceRule, Condition, Entry, Grant, Rule, Rules,
    Test, Use, Used, is_fixed,
};
use crate::config::value::Size;

/// Longest name of an ACL, rule or allowance.
const NAME_BYTES_MAX: usize = 64;
/// The name of an ACL and where it is asked for.
pub(super) struct Reference {
    pub name: String,
    /// The ACL that asks, if one does.
    pub within: Option<String>,
    pub path: String,
    pub span: Range<usize>,
}

/// What is gathered on the way.
#[derive(Default)]
pub(super) struct Found {
    pub references: Vec<Reference>,
}

impl<'d, 't> Table<'d, 't> {
    /// Reads all rules. Comes before every setting that takes one.
    pub(in crate::config) fn rules(&mut self) -> Rules {
        let mut rules = Rules::known();
        let mut found = Found::default();
        for (name, value, path) in self.named("acl") {
            let conditions = self.acl(&path, &name, value, &mut found);
            let line = Some(self.document.line(&value.span()));
            let acl = Acl { name: name.clone(), line, conditions };
            self.record(path, Shown::Plain(acl.shown()), None, Some(value.span()));
            rules.acls.insert(name, acl);
        }
        for (name, value, path) in self.named("access") {
            let rule = self.entries(&path, &name, value, &mut found);
            self.record(path, Shown::Plain(rule.shown()), None, Some(value.span()));
            rules.access.insert(name, rule);
        }
        for (name, value, path) in self.named("allowances") {
            let rule = self.grants(&path, &name, value, &mut found);
            self.record(path, Shown::Plain(rule.shown()), None, Some(value.span()));
            rules.allowances.insert(name, rule);
        }
        for reference in &found.references {
            self.known_acl(&rules, reference);
        }
        self.no_cycles(&rules, &found.references);
        self.document.notes.borrow_mut().rules = rules.clone();
        rules
    }

    /// What the settings read so far ask of the rules.
    pub(in crate::config) fn uses(&self) -> Vec<Use> {
        std::mem::take(&mut self.document.notes.borrow_mut().uses)
    }

    /// A setting that takes a rule: the name of an access rule or of an ACL, or entries of its own.
    pub(in crate::config) fn access(&mut self, key: &'static str, default: &str) -> Access {
        let path = self.path_of(key);
        let value = self.ask(key);
        let read = value.and_then(|value| self.access_value(&path, value));
        let access = read.unwrap_or_else(|| Access::named(default));
        let span = value.map(Spanned::span);
        self.record(path.clone(), Shown::Plain(access.shown()), Some(default.to_owned()), span);
        self.used(path, value, Used::Access(access.clone()));
        access
    }

    /// A setting that takes a number or the name of an allowance, all of whose values must do here.
    pub(in crate::config) fn allowance(
        &mut self,
        key: &'static str,
        default: u32,
        range: RangeInclusive<u32>,
    ) -> Allowance {
        let path = self.path_of(key);
        let value = self.ask(key);
        let read = value.and_then(|value| self.allowance_value(&path, value, default, &range));
        let allowance = read.unwrap_or(Allowance::Fixed(u64::from(default)));
        let (unset, span) = (default.to_string(), value.map(Spanned::span));
        self.record(path.clone(), Shown::Plain(allowance.to_string()), Some(unset), span);
        self.used(path, value, Used::Allowance(allowance.clone()));
        allowance
    }

    fn used(&self, path: String, value: Option<&Spanned<DeValue<'_>>>, what: Used) {
        let line = value.map(|value| self.document.line(&value.span()));
        self.document.notes.borrow_mut().uses.push(Use { path, line, what });
    }

    fn access_value(&self, path: &str, value: &'d Spanned<DeValue<'d>>) -> Option<Access> {
        match value.get_ref() {
            DeValue::String(name) => {
                let known: Vec<String> = {
                    let rules = &self.document.notes.borrow().rules;
                    if rules.knows_access(name) {
                        return Some(Access::named(name));
                    }
                    rules.access.keys().chain(rules.acls.keys()).cloned().collect()
                };
                let known = known.iter().map(String::as_str).chain(["all", "none"]);
                let help = match nearest(name, known) {
                    Some(near) => format!("did you mean {near:?}?"),
                    None => format!("add `{name} = [{{ allow = … }}]` under [access]"),
                };
                let found = format!("\"{}\", which is neither", printable(name));
                let problem = Problem::at(self.document.text, &value.span(), path);
                self.document.report(
                    problem
                        .found(found)
                        .expected("the name of an access rule or of an ACL")
                        .help(help),
                );
                None
            }
            DeValue::Array(_) => {
                let mut found = Found::default();
                let rule = self.entries(path, path, value, &mut found);
                let rules = self.document.notes.borrow().rules.clone();
                for reference in &found.references {
                    self.known_acl(&rules, reference);
                }
                Some(Access::Inline(Arc::new(rule)))
            }
            _ => {
                self.wrong(path, value, "the name of an access rule, or a list of entries");
                None
            }
        }
    }

    fn allowance_value(
        &self,
        path: &str,
        value: &'d Spanned<DeValue<'d>>,
        default: u32,
        range: &RangeInclusive<u32>,
    ) -> Option<Allowance> {
        let fits = |number: u64| u32::try_from(number).is_ok_and(|number| range.contains(&number));
        let bounds = format!("from {} to {}", range.start(), range.end());
        let expected = format!("a whole number {bounds}, or the name of an allowance");
        let problem = |found: String| {
            Problem::at(self.document.text, &value.span(), path).found(found).expected(&expected)
        };
        let Some(name) = value.get_ref().as_str() else {
            let number = whole(value.get_ref()).filter(|number| fits(*number));
            if number.is_none() {
                self.wrong(path, value, &expected);
            }
            return number.map(Allowance::Fixed);
        };
        let notes = self.document.notes.borrow();
        let Some(rule) = notes.rules.allowances.get(name) else {
            let help = match nearest(name, notes.rules.allowances.keys().map(String::as_str)) {
                Some(near) => format!("did you mean {near:?}?"),
                None => format!("add `{name} = [{{ grant = … }}]` under [allowances]"),
            };
            drop(notes);
            let found = format!("\"{}\", which is no allowance", printable(name));
            self.document.report(problem(found).help(help));
            return None;
        };
        if let Some(grant) = rule.grants.iter().find(|grant| !fits(grant.value)) {
            let line = grant.line.unwrap_or_default();
            let found =
                format!("the allowance {name:?}, which grants {} in line {line}", grant.value);
            drop(notes);
            self.document.report(problem(found));
            return None;
        }
        Some(Allowance::Named { name: name.into(), otherwise: u64::from(default) })
    }

    /// The entries of one of the three tables, those with a fit name.
    fn named(&mut self, key: &'static str) -> Vec<(String, &'d Spanned<DeValue<'d>>, String)> {
        let Some(table) = self.ask(key).and_then(|value| self.as_table(key, value)) else {
            return Vec::new();
        };
        let inner = Table {
            document: self.document,
            table: Some(table),
            path: self.path_of(key),
            effect: self.effect,
        };
        let mut entries = Vec::new();
        for (name, value) in in_file_order(table) {
            let written = name.get_ref().as_ref();
            let path = inner.path_of(written);
            self.document.notes.borrow_mut().places.insert(path.clone(), name.span());
            let fit = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.');
            let problem = Problem::at(self.document.text, &name.span(), path.clone());
            if is_fixed(written) {
                let found = format!("the name {written:?}, which means itself everywhere");
                self.document.report(problem.found(found).expected("a name of your own"));
            } else if written.is_empty() || !written.chars().all(fit) {
                let found = format!("the name \"{}\"", printable(written));
                let expected = "a name of letters, digits, `_`, `-` and `.`";
                self.document.report(problem.found(found).expected(expected));
            } else if written.len() > NAME_BYTES_MAX {
                let found = format!("a name of {} bytes", written.len());
                let expected = format!("a name of at most {NAME_BYTES_MAX} bytes");
                self.document.report(problem.found(found).expected(expected));
            } else {
                entries.push((written.to_owned(), value, path));
            }
        }
        entries
    }

    fn acl(
        &self,
        path: &str,
        name: &str,
        value: &'d Spanned<DeValue<'d>>,
        found: &mut Found,
    ) -> Vec<Condition> {
        let mut conditions = Vec::new();
        let tables: Vec<&'d Spanned<DeValue<'d>>> = match value.get_ref() {
            DeValue::Table(_) => vec![value],
            DeValue::Array(items) => items.iter().collect(),
            _ => {
                self.wrong(path, value, "conditions such as `{ user = \"carol@example.org\" }`");
                return conditions;
            }
        };
        for value in tables {
            match value.get_ref() {
                DeValue::Table(table) => {
                    conditions.extend(self.conditions(path, table, Some(name), found));
                }
                _ => self.wrong(path, value, "conditions such as `{ ip = \"192.0.2.0/24\" }`"),
            }
        }
        conditions
    }

    fn entries(
        &self,
        path: &str,
        name: &str,
        value: &'d Spanned<DeValue<'d>>,
        found: &mut Found,
    ) -> Rule {
        let line = Some(self.document.line(&value.span()));
        let mut rule = Rule { name: name.to_owned(), line, entries: Vec::new() };
        let expected = "`{ allow = … }` or `{ deny = … }`, with the name of an ACL or conditions";
        let Some(items) = value.get_ref().as_array() else {
            self.wrong(path, value, &format!("a list of entries, each {expected}"));
            return rule;
        };
        for item in items.iter() {
            let Some(table) = item.get_ref().as_table() else {
                self.wrong(path, item, expected);
                continue;
            };
            self.only(path, table, &["allow", "deny"]);
            let (allow, who) = match (table.get("allow"), table.get("deny")) {
                (Some(who), None) => (true, who),
                (None, Some(who)) => (false, who),
                (Some(_), Some(deny)) => {
                    let problem = Problem::at(self.document.text, &deny.span(), path);
                    let problem = problem.found("`allow` and `deny` in one entry");
                    let problem = problem.expected("one of them");
                    self.document
                        .report(problem.help("make two entries; the first that fits decides"));
                    continue;
                }
                (None, None) => {
                    if table.is_empty() {
                        self.wrong(path, item, expected);
                    }
                    continue;
                }
            };
            let conditions = self.who(path, who, found);
            let line = Some(self.document.line(&item.span()));
            if !conditions.is_empty() {
                rule.entries.push(Entry { allow, line, conditions });
            }
        }
        rule
    }

    fn grants(
        &self,
        path: &str,
        name: &str,
        value: &'d Spanned<DeValue<'d>>,
        found: &mut Found,
    ) -> AllowanceRule {
        let line = Some(self.document.line(&value.span()));
        let mut rule = AllowanceRule { name: name.to_owned(), line, grants: Vec::new() };
        let expected = "`{ grant = 20 }` or `{ grant = 100, to = … }`, with the name of an ACL or \
                        conditions";
        let Some(items) = value.get_ref().as_array() else {
            self.wrong(path, value, &format!("a list of entries, each {expected}"));
            return rule;
        };
        for item in items.iter() {
            let Some(table) = item.get_ref().as_table() else {
                self.wrong(path, item, expected);
                continue;
            };
            self.only(path, table, &["grant", "to"]);
            let Some(grant) = table.get("grant") else {
                self.wrong(path, item, expected);
                continue;
            };
            let value = match grant.get_ref().as_str() {
                Some("unlimited") => Some(u64::MAX),
                Some(text) => text.parse::<Size>().ok().map(|size| size.0),
                None => whole(grant.get_ref()),
            };
            let Some(value) = value else {
                let expected = "a whole number, a size such as \"2 GiB\", or \"unlimited\"";
                self.wrong(path, grant, expected);
                continue;
            };
            let line = Some(self.document.line(&item.span()));
            let conditions = match table.get("to") {
                Some(who) => self.who(path, who, found),
                None => vec![Condition { test: Test::Acl("all".to_owned()), line }],
            };
            if !conditions.is_empty() {
                rule.grants.push(Grant { value, line, conditions });
            }
        }
        rule
    }

    /// Conditions that must all hold: the name of an ACL, a table, or a list of both. Empty only if
    /// something was wrong with it, which has been noted.
    fn who(
        &self,
        path: &str,
        value: &'d Spanned<DeValue<'d>>,
        found: &mut Found,
    ) -> Vec<Condition> {
        let expected = "the name of an ACL, or conditions such as `{ ip = \"192.0.2.0/24\" }`";
        let items: Vec<&'d Spanned<DeValue<'d>>> = match value.get_ref() {
            DeValue::Array(items) => items.iter().collect(),
            _ => vec![value],
        };
        let before = self.document.notes.borrow().problems.len();
        let mut conditions = Vec::new();
        for item in items {
            match item.get_ref() {
                DeValue::String(name) => {
                    conditions.push(self.reference(path, name, item, None, found));
                }
                DeValue::Table(table) => {
                    conditions.extend(self.conditions(path, table, None, found));
                }
                _ => self.wrong(path, item, expected),
            }
        }
        if conditions.is_empty() && self.document.notes.borrow().problems.len() == before {
            let problem = Problem::at(self.document.text, &value.span(), path);
            let problem = problem.found("no condition, which would never hold");
            self.document.report(problem.expected(expected).help("\"all\" means everybody"));
        }
        conditions
    }

    pub(super) fn wrong(&self, path: &str, value: &Spanned<DeValue<'_>>, expected: &str) {
        self.document.report(Wrong::kind(expected).at(self.document.text, value, path.to_owned()));
    }

    /// Notes keys of `table` that are none of `known`.
    pub(super) fn only(&self, path: &str, table: &DeTable<'_>, known: &[&'static str]) {
        for (key, _) in table {
            let written = key.get_ref().as_ref();
            if known.contains(&written) {
                continue;
            }
            let problem = Problem::at(self.document.text, &key.span(), path)
                .found(format!("the unknown key \"{}\"", printable(written)))
                .expected(format!("one of {}", known.join(", ")));
            self.document.report(match nearest(written, known.iter().copied()) {
                Some(near) => problem.help(format!("did you mean \"{near}\"?")),
                None => problem,
            });
        }
    }

    fn known_acl(&self, rules: &Rules, reference: &Reference) {
        let Reference { name, path, span, .. } = reference;
        if rules.knows_acl(name) {
            return;
        }
        let known = rules.acls.keys().map(String::as_str).chain(["all", "none"]);
        let help = match nearest(name, known) {
            Some(near) => format!("did you mean {near:?}?"),
            None if rules.access.contains_key(name) => {
                format!("{name:?} is an access rule; an entry takes ACLs")
            }
            None => format!("add `{name} = {{ … }}` under [acl]"),
        };
        let found = format!("\"{}\", which is no ACL", printable(name));
        let problem = Problem::at(self.document.text, span, path.clone());
        self.document.report(problem.found(found).expected("the name of an ACL").help(help));
    }

    /// ACLs that lead back to themselves, or too deep.
    fn no_cycles(&self, rules: &Rules, references: &[Reference]) {
        for reference in references {
            let Some(start) = reference.within.as_deref() else { continue };
            let Reference { name, path, span, .. } = reference;
            let problem = || Problem::at(self.document.text, span, path.clone());
            match depth(rules, name, start, ACL_DEPTH_MAX) {
                Ok(()) => {}
                Err(Deep::Cycle) => {
                    let found = if name == start {
                        format!("a reference of the ACL {start:?} to itself")
                    } else {
                        format!("a reference to {name:?}, which leads back to {start:?}")
                    };
                    self.document.report(problem().found(found).expected("ACLs without a circle"));
                }
                Err(Deep::TooDeep) => {
                    let found = format!("a reference to {name:?}, which leads on and on");
                    let expected = format!("at most {ACL_DEPTH_MAX} ACLs within each other");
                    self.document.report(problem().found(found).expected(expected));
                }
            }
        }
    }
}

enum Deep {
    Cycle,
    TooDeep,
}

/// Whether the ACL `name` leads to `start`, or further than `left` ACLs. Looks at every ACL once a
/// level.
fn depth(rules: &Rules, name: &str, start: &str, left: usize) -> Result<(), Deep> {
    let mut level = vec![name];
    for _ in 0..left {
        if level.contains(&start) {
            return Err(Deep::Cycle);
        }
        let conditions =
            level.iter().filter_map(|name| rules.acls.get(*name)).flat_map(|acl| &acl.conditions);
        level = conditions
            .filter_map(|condition| match &condition.test {
                Test::Acl(name) => Some(name.as_str()),
                _ => None,
            })
            .collect();
        level.sort_unstable();
        level.dedup();
        if level.is_empty() {
            return Ok(());
        }
    }
    if level.contains(&start) { Err(Deep::Cycle) } else { Err(Deep::TooDeep) }
}

fn whole(value: &DeValue<'_>) -> Option<u64> {
    let number = value.as_integer()?;
    u64::from_str_radix(number.as_str(), number.radix()).ok()
}
