//! Doubts about rules that a machine can have: lines that never hold or are never reached, doors that
//! stand open by an address alone, conditions that cannot be known where they are asked, patterns
//! that hit the innocent.
//!
//! Pure: from a checked config to findings with line and remedy. `coucou check` shows them, a start
//! and a reload refuse what is [`Severity::Refused`], the import of another server's config asks it
//! about what it wrote.

mod innocent;
mod logic;
mod places;

use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;

use regex_syntax::hir::Look;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::rules::{Access, Condition, Entry, Pattern, Rule, Rules, Test, Use, Used};
use crate::config::{self, Checked, Config, ConfigError, Problem};
use crate::store::groups::SharedGroups;

use innocent::INNOCENT;
use logic::{Atom, alternatives, exclusive, implies};
use places::{Place, place_of};

/// Innocent names shown for one pattern.
const SAMPLES_MAX: usize = 5;
/// Letters of an innocent name that a pattern has to hit before it counts as a word in it.
const WORD_CHARS_MIN: usize = 3;
/// Findings told of one config; more would not be read.
const FINDINGS_MAX: usize = 200;

#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// A config with this does not come into force.
    Refused,
    /// A line does not do what it says.
    Error,
    /// Seldom meant.
    Warning,
}

/// Something found, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Finding {
    pub severity: Severity,
    /// `None` for what is not written at one place.
    pub line: Option<usize>,
    /// The rule, ACL or setting.
    pub key: String,
    pub found: String,
    /// How to mend it.
    pub remedy: String,
}

impl Finding {
    fn new(
        severity: Severity,
        line: Option<usize>,
        key: impl Into<String>,
        found: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Finding {
        Finding { severity, line, key: key.into(), found: found.into(), remedy: remedy.into() }
    }

    /// In the words of the other problems of a config file.
    pub fn problem(self) -> Problem {
        Problem {
            line: self.line.unwrap_or(0),
            column: usize::from(self.line.is_some()),
            key: self.key,
            found: self.found,
            expected: String::new(),
            help: Some(self.remedy),
            excerpt: None,
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(line) = self.line {
            write!(f, "line {line}: ")?;
        }
        write!(f, "{}: {}; {}", self.key, self.found, self.remedy)
    }
}

/// All that is doubtful about the rules and their uses, the worst first, then by line. Shared groups
/// are looked up where they are at hand.
pub fn lint(config: &Config, groups: Option<&SharedGroups>) -> Vec<Finding> {
    let lint = Lint { rules: &config.rules, config, groups };
    let mut findings = Vec::new();
    lint.conditions(&mut findings);
    for rule in config.rules.access.values() {
        lint.entries(&format!("access.{}", rule.name), &entries(rule), &mut findings);
    }
    for rule in config.rules.allowances.values() {
        let grants: Vec<_> =
            rule.grants.iter().map(|one| (one.line, one.shown(), &one.conditions[..])).collect();
        lint.entries(&format!("allowances.{}", rule.name), &grants, &mut findings);
    }
    for used in &config.rules.uses {
        lint.used(used, &mut findings);
    }
    lint.patterns(&mut findings);
    lint.listeners(&mut findings);
    let mut seen = BTreeSet::new();
    findings.retain(|one| seen.insert((one.line, one.key.clone(), one.found.clone())));
    findings.sort_by_key(|one| (one.severity, one.line));
    findings.truncate(FINDINGS_MAX);
    findings
}

/// [`config::load`], and what is found of its rules among the warnings.
///
/// # Errors
/// What is wrong with the file, and findings that refuse it.
pub fn load(file: &Path) -> Result<Checked, ConfigError> {
    judge(config::load(file)?, file, None)
}

/// [`config::parse`], and what is found of its rules among the warnings.
///
/// # Errors
/// What is wrong with the text, and findings that refuse it.
pub fn parse(text: &str, file: &Path) -> Result<Checked, ConfigError> {
    judge(config::parse(text, file)?, file, None)
}

/// Adds what is found to the warnings of a config that is in order otherwise.
///
/// # Errors
/// The findings that refuse it.
pub fn judge(
    mut checked: Checked,
    file: &Path,
    groups: Option<&SharedGroups>,
) -> Result<Checked, ConfigError> {
    let findings = lint(&checked.config, groups).into_iter();
    let (refused, doubts): (Vec<_>, Vec<_>) =
        findings.partition(|one| one.severity == Severity::Refused);
    if !refused.is_empty() {
        let problems = refused.into_iter().map(Finding::problem).collect();
        return Err(ConfigError { file: file.to_owned(), problems });
    }
    checked.warnings.extend(doubts.into_iter().map(Finding::problem));
    Ok(checked)
}

/// Line, text and conditions of each entry.
type Lines<'r> = Vec<(Option<usize>, String, &'r [Condition])>;

fn entries(rule: &Rule) -> Lines<'_> {
    rule.entries.iter().map(|one| (one.line, one.shown(), &one.conditions[..])).collect()
}

struct Lint<'c> {
    rules: &'c Rules,
    config: &'c Config,
    groups: Option<&'c SharedGroups>,
}

impl Lint<'_> {
    /// Every condition that is written: hosts and groups that are not there.
    fn conditions(&self, findings: &mut Vec<Finding>) {
        for (key, condition) in self.written() {
            let host = match &condition.test {
                Test::User { host: Some(host), .. }
                | Test::UserPattern { host: Some(host), .. }
                | Test::SharedGroup { host: Some(host), .. }
                | Test::Server(host) => Some(host),
                _ => None,
            };
            if let Some(host) = host.filter(|host| !self.config.serves(host)) {
                let found = format!("{condition}, whose host is none of this server");
                let ours = self.rules.hosts.join(", ");
                let remedy = format!("nobody of {host} can ask here; the hosts are {ours}");
                findings.push(Finding::new(Severity::Warning, condition.line, &key, found, remedy));
            }
            if let (Test::SharedGroup { group, host }, Some(groups)) =
                (&condition.test, self.groups)
            {
                let hosts: Vec<&str> = match host {
                    Some(host) => vec![host],
                    None => self.rules.hosts.iter().map(String::as_str).collect(),
                };
                let known = |host: &&str| {
                    groups.find(host, group).is_some()
                        || groups.find(host, &group.to_lowercase()).is_some()
                };
                if !hosts.iter().any(known) {
                    let found = format!("the shared group {group:?}, which does not exist");
                    let remedy = "`coucou group list` shows those that do";
                    findings.push(Finding::new(
                        Severity::Warning,
                        condition.line,
                        &key,
                        found,
                        remedy,
                    ));
                }
            }
        }
    }

    /// Every condition of ACLs, rules, allowances and settings that the file has.
    fn written(&self) -> Vec<(String, &Condition)> {
        let rules = self.rules;
        let acls = rules.acls.values().flat_map(|acl| {
            acl.conditions.iter().map(move |one| (format!("acl.{}", acl.name), one))
        });
        let in_rule = |key: String, rule: &'_ Rule| -> Vec<(String, usize, usize)> {
            let places = rule.entries.iter().enumerate();
            places
                .flat_map(|(at, entry)| (0..entry.conditions.len()).map(move |one| (at, one)))
                .map(|(at, one)| (key.clone(), at, one))
                .collect()
        };
        let access = rules.access.values().flat_map(|rule| {
            in_rule(format!("access.{}", rule.name), rule)
                .into_iter()
                .map(|(key, at, one)| (key, &rule.entries[at].conditions[one]))
        });
        let inline = rules.uses.iter().filter_map(|used| match &used.what {
            Used::Access(Access::Inline(rule)) => Some((used, rule)),
            _ => None,
        });
        let inline = inline.flat_map(|(used, rule)| {
            in_rule(used.path.clone(), rule)
                .into_iter()
                .map(|(key, at, one)| (key, &rule.entries[at].conditions[one]))
        });
        let allowances = rules.allowances.values().flat_map(|rule| {
            rule.grants
                .iter()
                .flat_map(|grant| &grant.conditions)
                .map(move |one| (format!("allowances.{}", rule.name), one))
        });
        let all = acls.chain(access).chain(allowances).chain(inline);
        all.filter(|(_, condition)| condition.line.is_some()).collect()
    }

    /// Entries that never hold, and those that are never reached.
    fn entries(&self, key: &str, lines: &Lines<'_>, findings: &mut Vec<Finding>) {
        for (at, (line, text, conditions)) in lines.iter().enumerate() {
            let Some(number) = line else { continue };
            let alternatives: Vec<Vec<Atom<'_>>> =
                conditions.iter().map(|one| alternatives(self.rules, one)).collect();
            if let Some(why) = self.never(conditions, &alternatives) {
                let (severity, found, remedy) = why;
                let found = format!("`{text}`, which never holds: {found}");
                findings.push(Finding::new(severity, Some(*number), key, found, remedy));
                continue;
            }
            let earlier = lines[..at].iter().find(|(_, _, earlier)| {
                !earlier.is_empty()
                    && earlier.iter().all(|wide| {
                        let wide = self::alternatives(self.rules, wide);
                        alternatives.iter().any(|own| implies(own, &wide, self.rules))
                    })
            });
            if let Some((above, shown, _)) = earlier {
                let above = above.map_or_else(String::new, |line| format!("line {line} "));
                let found = format!("`{text}`, which is never reached");
                let remedy =
                    format!("{above}`{shown}` holds whenever it does; move it up or take it out");
                findings.push(Finding::new(Severity::Error, Some(*number), key, found, remedy));
            }
        }
    }

    fn never(
        &self,
        conditions: &[Condition],
        alternatives: &[Vec<Atom<'_>>],
    ) -> Option<(Severity, String, String)> {
        let empty = conditions.iter().zip(alternatives).find(|(_, own)| own.is_empty());
        if let Some((condition, _)) = empty {
            return Some(match &condition.test {
                Test::Acl(name) if name == "none" => {
                    return None; // Written on purpose: a way to say nobody.
                }
                Test::Acl(name) => (
                    Severity::Warning,
                    format!("the ACL {name:?} is empty"),
                    format!("say who it is, as in `coucou acl add {name} user name@host`"),
                ),
                _ => return None,
            });
        }
        for (at, first) in alternatives.iter().enumerate() {
            for (other, second) in alternatives.iter().enumerate().skip(at + 1) {
                if exclusive(first, second) {
                    let (one, two) = (&conditions[at], &conditions[other]);
                    let found = format!("`{one}` and `{two}` exclude each other");
                    let remedy = "an entry holds if all its conditions do; to mean either, make two \
                                  entries, or one ACL with both";
                    return Some((Severity::Error, found, remedy.to_owned()));
                }
            }
        }
        None
    }

    /// A setting and the rule that it takes.
    fn used(&self, used: &Use, findings: &mut Vec<Finding>) {
        let place = place_of(&used.path);
        match &used.what {
            Used::Access(Access::Inline(rule)) => {
                self.entries(&used.path, &entries(rule), findings);
                self.asked(used, place, &entries(rule), findings);
                self.administers(used, place, &rule.entries, findings);
                self.shares(used, place, &rule.entries, findings);
            }
            Used::Access(Access::Named(name)) => match self.rules.access.get(&**name) {
                Some(rule) => {
                    self.asked(used, place, &entries(rule), findings);
                    self.administers(used, place, &rule.entries, findings);
                    self.shares(used, place, &rule.entries, findings);
                }
                None => {
                    let condition =
                        Condition { test: Test::Acl(name.to_string()), line: used.line };
                    let entry = Entry { allow: true, line: used.line, conditions: vec![condition] };
                    let entries = std::slice::from_ref(&entry);
                    let lines = vec![(used.line, name.to_string(), &entries[0].conditions[..])];
                    self.asked(used, place, &lines, findings);
                    self.administers(used, place, entries, findings);
                    self.shares(used, place, entries, findings);
                }
            },
            Used::Allowance(allowance) => {
                let rule = self.rules.allowances.get(&allowance.to_string());
                let lines = rule.into_iter().flat_map(|rule| &rule.grants);
                let lines: Vec<_> =
                    lines.map(|one| (one.line, one.shown(), &one.conditions[..])).collect();
                self.asked(used, place, &lines, findings);
            }
        }
    }

    /// Conditions about what is not known where the setting asks.
    fn asked(&self, used: &Use, place: Place, lines: &Lines<'_>, findings: &mut Vec<Finding>) {
        for (line, text, conditions) in lines {
            for condition in *conditions {
                let atoms = alternatives(self.rules, condition);
                let missing = atoms.iter().filter_map(|atom| place.misses(atom));
                let missing: Vec<&'static str> = missing.collect();
                let Some(what) = missing.first() else { continue };
                let line = line.or(used.line);
                if missing.len() == atoms.len() {
                    let found = format!(
                        "`{text}`, which never holds in {}: {what} is not known there",
                        used.path
                    );
                    let remedy = format!("what is known there: {place}");
                    findings.push(Finding::new(Severity::Error, line, &used.path, found, remedy));
                } else if !matches!(condition.test, Test::Acl(ref name) if name == "all") {
                    let found = format!(
                        "`{text}`, of which a part never holds in {}: {what} is not known there",
                        used.path
                    );
                    let remedy = format!("what is known there: {place}");
                    findings.push(Finding::new(Severity::Warning, line, &used.path, found, remedy));
                }
            }
        }
    }

    /// Rights of administrators for whoever comes from an address.
    fn administers(
        &self,
        used: &Use,
        place: Place,
        entries: &[Entry],
        findings: &mut Vec<Finding>,
    ) {
        if !place.administers {
            return;
        }
        for entry in entries.iter().filter(|entry| entry.allow) {
            let alone = |condition: &Condition| {
                alternatives(self.rules, condition)
                    .iter()
                    .any(|atom| matches!(atom, Atom::Any | Atom::Is(Test::Ip(_))))
            };
            if entry.conditions.is_empty() || !entry.conditions.iter().all(alone) {
                continue;
            }
            let everybody = |condition: &Condition| {
                alternatives(self.rules, condition).iter().any(|atom| matches!(atom, Atom::Any))
            };
            let found = if entry.conditions.iter().all(everybody) {
                format!("`{}`, which makes everybody an administrator", entry.shown())
            } else {
                format!(
                    "`{}`, which makes whoever has that address an administrator",
                    entry.shown()
                )
            };
            let remedy = "name who it is, beside the address if you like: \
                          `{ allow = [\"admin\", { ip = \"…\" }] }`; behind a proxy all have its address";
            let line = entry.line.or(used.line);
            findings.push(Finding::new(Severity::Refused, line, &used.path, found, remedy));
        }
    }

    /// Single addresses that let in: whoever sits behind a proxy there has them.
    fn shares(&self, used: &Use, place: Place, entries: &[Entry], findings: &mut Vec<Finding>) {
        if !place.registers {
            return;
        }
        for entry in entries.iter().filter(|entry| entry.allow) {
            for condition in &entry.conditions {
                for atom in alternatives(self.rules, condition) {
                    let Atom::Is(Test::Ip(net)) = atom else { continue };
                    let proxies = &self.config.http.trusted_proxies;
                    // Behind a declared one, everybody is asked by an address of their own.
                    let declared = proxies.iter().any(|proxy| proxy.covers(net));
                    if !net.is_single() || net.is_loopback() || declared {
                        continue;
                    }
                    let shown = entry.shown();
                    let found = format!("`{shown}`, by which the single address {net} lets in");
                    let remedy = "if a proxy is there, everybody on the web has this address; declare it in \
                                  http.trusted_proxies, so that it tells whom it serves";
                    let line = entry.line.or(used.line);
                    findings.push(Finding::new(Severity::Warning, line, &used.path, found, remedy));
                }
            }
        }
    }

    /// Expressions in `deny` entries that hit innocent names in their midst.
    fn patterns(&self, findings: &mut Vec<Finding>) {
        let mut rules: Vec<(String, &Rule)> = Vec::new();
        for rule in self.rules.access.values() {
            rules.push((format!("access.{}", rule.name), rule));
        }
        for used in &self.rules.uses {
            if let Used::Access(Access::Inline(rule)) = &used.what {
                rules.push((used.path.clone(), rule));
            }
        }
        for (key, rule) in rules {
            for entry in rule.entries.iter().filter(|entry| !entry.allow) {
                self.refuses(&key, &entry.conditions, 0, findings);
            }
        }
    }

    fn refuses(
        &self,
        key: &str,
        conditions: &[Condition],
        depth: usize,
        findings: &mut Vec<Finding>,
    ) {
        for condition in conditions {
            match &condition.test {
                Test::UserPattern { pattern, .. } => {
                    let samples = innocents(pattern);
                    if samples.is_empty() {
                        continue;
                    }
                    let found = format!(
                        "{:?}, which holds anywhere in a name and refuses {}",
                        pattern.written,
                        samples.join(", ")
                    );
                    let remedy =
                        format!("write `^(…)$` for whole names: \"^(?:{})$\"", pattern.written);
                    findings.push(Finding::new(
                        Severity::Warning,
                        condition.line,
                        key,
                        found,
                        remedy,
                    ));
                }
                // The config bounds how deep ACLs go.
                Test::Acl(name) if depth < 16 => {
                    if let Some(acl) = self.rules.acls.get(name) {
                        self.refuses(&format!("acl.{name}"), &acl.conditions, depth + 1, findings);
                    }
                }
                _ => {}
            }
        }
    }

    /// Doors that lead nowhere, as far as the config tells.
    fn listeners(&self, findings: &mut Vec<Finding>) {
        let listen = &self.config.listen;
        let open = |list: &[std::net::SocketAddr]| list.iter().any(|at| !at.ip().is_loopback());
        let only_v4 = |list: &[std::net::SocketAddr]| {
            !list.is_empty() && list.iter().all(|at| at.is_ipv4() && !at.ip().is_loopback())
        };
        let mut warn = |key: &str, found: &str, remedy: &str| {
            findings.push(Finding::new(Severity::Warning, None, key, found, remedy));
        };
        if !listen.c2s.is_empty() && open(&listen.c2s) && listen.c2s_tls.is_empty() {
            warn(
                "listen.c2s_tls",
                "no listener for TLS from the first byte",
                "publish no SRV record _xmpps-client, and keep port 5223 shut: nobody answers there",
            );
        }
        if listen.c2s.is_empty() && open(&listen.c2s_tls) {
            warn(
                "listen.c2s",
                "no listener for STARTTLS",
                "publish no SRV record _xmpp-client, and keep port 5222 shut: nobody answers there",
            );
        }
        for (key, list) in [("listen.c2s", &listen.c2s), ("listen.c2s_tls", &listen.c2s_tls)] {
            if only_v4(list) {
                warn(
                    key,
                    "IPv4 addresses only",
                    "publish no AAAA record for the names that lead here, or listen on \"[::]\" too",
                );
            }
        }
    }
}

/// Innocent names that an expression refuses by a word in their midst.
fn innocents(pattern: &Pattern) -> Vec<&'static str> {
    if pattern.glob {
        return Vec::new();
    }
    let Ok(hir) = regex_syntax::parse(&pattern.written) else { return Vec::new() };
    let starts = hir.properties().look_set_prefix();
    if starts.contains(Look::Start) || hir.properties().minimum_len().is_none_or(|len| len == 0) {
        return Vec::new();
    }
    let whole = Pattern::regex(&format!("^(?:{})$", pattern.written));
    let hits = INNOCENT.iter().copied().filter_map(|name| {
        let word = pattern.found_in(name).filter(|hit| hit.chars().count() >= WORD_CHARS_MIN)?;
        whole.as_ref().is_ok_and(|whole| !whole.matches(name)).then_some((word, name))
    });
    // One for each word first, so that every alternative of the pattern is seen at work.
    let (mut words, mut samples, mut more) = (BTreeSet::new(), Vec::new(), Vec::new());
    for (word, name) in hits {
        if words.insert(word) { samples.push(name) } else { more.push(name) }
    }
    samples.extend(more);
    samples.truncate(SAMPLES_MAX);
    samples
}

#[cfg(test)]
mod tests;
