//! What the rules of [`crate::config::rules`] say of somebody, and why.
//!
//! Pure: the same rules and facts give the same decision, its line and its words, whether a stream
//! asks or `coucou access test`.

use std::fmt::Write as _;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::facts::Facts;
use crate::config::rules::{
    Access, Acl, Allowance, AllowanceRule, Condition, Entry, Grant, Rule, Rules, Test, is_fixed,
};

/// Entries whose failure is told in [`Decision::because`]; [`trace`] tells all.
const TOLD_MAX: usize = 4;

/// A verdict that can be explained.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    pub allowed: bool,
    /// The name of the rule, or the setting whose own entries were asked.
    pub rule: String,
    /// The line of the entry that decided; `None` if none held, or if it is in no file.
    pub line: Option<usize>,
    /// In words. Names users and networks of the rules, never the address that was asked about.
    pub because: String,
}

impl Decision {
    /// Where no rule is set.
    pub fn open() -> Decision {
        let because = "everybody is allowed".to_owned();
        Decision { allowed: true, rule: "all".to_owned(), line: None, because }
    }
}

/// One entry on the way to a decision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Step {
    pub line: Option<usize>,
    /// As in the file: `deny = "guests"`.
    pub entry: String,
    pub held: bool,
    pub why: String,
}

/// Whether `access` lets whoever the facts describe. The answer goes to the log at debug level.
pub fn decide(rules: &Rules, access: &Access, facts: &Facts<'_>) -> Decision {
    let decision = weigh(rules, access, facts);
    tracing::debug!(
        rule = decision.rule,
        host = facts.host,
        jid = facts.jid.map(tracing::field::display),
        line = decision.line,
        "{}: {}",
        if decision.allowed { "allowed" } else { "denied" },
        decision.because
    );
    decision
}

/// [`decide`] for those who only wonder: nothing is logged.
pub fn weigh(rules: &Rules, access: &Access, facts: &Facts<'_>) -> Decision {
    match find(rules, access) {
        Found::All => Decision::open(),
        Found::None => Decision {
            allowed: false,
            rule: name(access),
            line: None,
            because: "nobody is allowed".to_owned(),
        },
        Found::Acl(acl) => {
            let condition = Condition { test: Test::Acl(acl.name.clone()), line: acl.line };
            let allowed = holds(rules, &condition, facts);
            let because = why(rules, &condition, facts, allowed);
            Decision { allowed, rule: acl.name.clone(), line: acl.line, because }
        }
        Found::Rule(rule) => by_entries(rules, rule, facts),
    }
}

/// Every entry up to the one that decided; of an ACL, every condition up to the one that held.
pub fn trace(rules: &Rules, access: &Access, facts: &Facts<'_>) -> Vec<Step> {
    match find(rules, access) {
        Found::All | Found::None => Vec::new(),
        Found::Rule(rule) => up_to_held(
            rule.entries
                .iter()
                .map(|entry| step(rules, entry.line, entry.shown(), &entry.conditions, facts)),
        ),
        Found::Acl(acl) => up_to_held(acl.conditions.iter().map(|condition| {
            let one = std::slice::from_ref(condition);
            step(rules, condition.line, condition.to_string(), one, facts)
        })),
    }
}

/// The same for an allowance: every line up to the one that gave its value.
pub fn trace_allowance(rules: &Rules, rule: &AllowanceRule, facts: &Facts<'_>) -> Vec<Step> {
    let step = |grant: &Grant| step(rules, grant.line, grant.shown(), &grant.conditions, facts);
    up_to_held(rule.grants.iter().map(step))
}

fn step(
    rules: &Rules,
    line: Option<usize>,
    entry: String,
    conditions: &[Condition],
    facts: &Facts<'_>,
) -> Step {
    let held = all_hold(rules, conditions, facts);
    Step { line, entry, held, why: reasons(rules, conditions, facts, held) }
}

fn up_to_held(steps: impl Iterator<Item = Step>) -> Vec<Step> {
    let mut taken = Vec::new();
    for step in steps {
        let held = step.held;
        taken.push(step);
        if held {
            break;
        }
    }
    taken
}

/// What `allowance` gives whoever the facts describe; `None` if no line of it holds.
pub fn value(rules: &Rules, allowance: &Allowance, facts: &Facts<'_>) -> Option<(u64, Decision)> {
    let name = match allowance {
        Allowance::Fixed(value) => {
            let because = "the setting is a number".to_owned();
            let decision = Decision { allowed: true, rule: String::new(), line: None, because };
            return Some((*value, decision));
        }
        Allowance::Named { name, .. } => name,
    };
    let Grant { value, line, conditions } = grant(rules, name, facts)?;
    let because = format!("{} granted: {}", place(*line), reasons(rules, conditions, facts, true));
    let decision = Decision { allowed: true, rule: name.to_string(), line: *line, because };
    tracing::debug!(
        rule = decision.rule,
        jid = facts.jid.map(tracing::field::display),
        line,
        value,
        "{}",
        decision.because
    );
    Some((*value, decision))
}

/// [`value`], or the setting's default where no line holds.
pub fn amount(rules: &Rules, allowance: &Allowance, facts: &Facts<'_>) -> usize {
    let amount = match allowance {
        Allowance::Fixed(value) => *value,
        Allowance::Named { name, otherwise } => {
            grant(rules, name, facts).map_or(*otherwise, |grant| grant.value)
        }
    };
    usize::try_from(amount).unwrap_or(usize::MAX)
}

fn grant<'r>(rules: &'r Rules, name: &str, facts: &Facts<'_>) -> Option<&'r Grant> {
    let grants = &rules.allowances.get(name)?.grants;
    grants.iter().find(|grant| all_hold(rules, &grant.conditions, facts))
}

enum Found<'r> {
    All,
    None,
    Rule(&'r Rule),
    Acl(&'r Acl),
}

/// What stands behind an access: a rule before an ACL of the same name.
fn find<'r>(rules: &'r Rules, access: &'r Access) -> Found<'r> {
    let name = match access {
        Access::Inline(rule) => return Found::Rule(rule),
        Access::Named(name) => name.as_ref(),
    };
    if is_fixed(name) {
        return if name == "all" { Found::All } else { Found::None };
    }
    match (rules.access.get(name), rules.acls.get(name)) {
        (Some(rule), _) => Found::Rule(rule),
        (None, Some(acl)) => Found::Acl(acl),
        // Checked when the config was read; who is unknown gets nothing.
        (None, None) => Found::None,
    }
}

fn name(access: &Access) -> String {
    match access {
        Access::Named(name) => name.to_string(),
        Access::Inline(rule) => rule.name.clone(),
    }
}

fn by_entries(rules: &Rules, rule: &Rule, facts: &Facts<'_>) -> Decision {
    let name = rule.name.clone();
    let held = rule.entries.iter().find(|entry| all_hold(rules, &entry.conditions, facts));
    let Some(Entry { allow, line, conditions }) = held else {
        return Decision {
            allowed: false,
            line: None,
            because: nothing_held(rules, rule, facts),
            rule: name,
        };
    };
    let verb = if *allow { "allowed" } else { "denied" };
    let reasons = reasons(rules, conditions, facts, true);
    let because = format!("{verb} by {}: {reasons}", place(*line));
    Decision { allowed: *allow, rule: name, line: *line, because }
}

fn nothing_held(rules: &Rules, rule: &Rule, facts: &Facts<'_>) -> String {
    let mut because = String::from("no entry holds, which means deny");
    for entry in rule.entries.iter().take(TOLD_MAX) {
        let reasons = reasons(rules, &entry.conditions, facts, false);
        let _ = write!(because, "; {}: {reasons}", place(entry.line));
    }
    if let more @ 1.. = rule.entries.len().saturating_sub(TOLD_MAX) {
        let _ = write!(because, "; and {more} more");
    }
    because
}

fn place(line: Option<usize>) -> String {
    line.map_or_else(|| "a built-in entry".to_owned(), |line| format!("line {line}"))
}

/// No conditions hold for nobody, as in ejabberd.
fn all_hold(rules: &Rules, conditions: &[Condition], facts: &Facts<'_>) -> bool {
    !conditions.is_empty() && conditions.iter().all(|condition| holds(rules, condition, facts))
}

/// The recursion ends: `config` refuses circles and bounds the depth.
fn holds(rules: &Rules, condition: &Condition, facts: &Facts<'_>) -> bool {
    if let Test::Ip(net) = &condition.test {
        return facts.address.is_some_and(|address| net.contains(address));
    }
    if let Test::Acl(name) = &condition.test {
        return match name.as_str() {
            "all" => true,
            "none" => false,
            name => rules.acls.get(name).is_some_and(|acl| {
                acl.conditions.iter().any(|condition| holds(rules, condition, facts))
            }),
        };
    }
    let Some(jid) = facts.jid else { return false };
    let (local, domain) = (jid.local().unwrap_or_default(), jid.domain());
    let resource = jid.resource().unwrap_or_default();
    let here = |host: &Option<String>| match host {
        Some(host) => host == domain,
        None => rules.is_ours(domain),
    };
    match &condition.test {
        Test::Acl(_) | Test::Ip(_) => false,
        Test::User { local: wanted, host } => wanted == local && here(host),
        Test::Server(wanted) => wanted == domain,
        Test::Resource(wanted) => wanted == resource,
        Test::UserPattern { pattern, host } => here(host) && pattern.matches(local),
        Test::ServerPattern(pattern) => pattern.matches(domain),
        Test::ResourcePattern(pattern) => pattern.matches(resource),
        Test::NodePattern { user, server } => server.matches(domain) && user.matches(local),
        Test::SharedGroup { group, host } => {
            let host = host.as_deref().unwrap_or(domain);
            facts.groups.contains(host, group, &jid.bare())
        }
    }
}

/// Why an entry holds, or the first of its conditions that does not.
fn reasons(rules: &Rules, conditions: &[Condition], facts: &Facts<'_>, held: bool) -> String {
    if held {
        let whys: Vec<_> = conditions.iter().map(|one| why(rules, one, facts, true)).collect();
        return whys.join(", and ");
    }
    let failed = conditions.iter().find(|one| !holds(rules, one, facts));
    failed.map_or_else(|| "it has no condition".to_owned(), |one| why(rules, one, facts, false))
}

/// A clause: "carol@example.org is not in group staff".
fn why(rules: &Rules, condition: &Condition, facts: &Facts<'_>, held: bool) -> String {
    let not = if held { "" } else { "not " };
    if let Test::Ip(net) = &condition.test {
        return match facts.address {
            Some(_) => format!("the address is {not}in {net}"),
            None => "no address is known here".to_owned(),
        };
    }
    if let Test::Acl(name) = &condition.test {
        return why_acl(rules, name, facts, held);
    }
    let Some(jid) = facts.jid else { return "no user is known here".to_owned() };
    let bare = jid.bare_str();
    let does_not = if held { "matches" } else { "does not match" };
    match &condition.test {
        Test::Acl(_) | Test::Ip(_) => String::new(),
        Test::User { local, host: Some(host) } => format!("{bare} is {not}{local}@{host}"),
        Test::User { local, host: None } => format!("{bare} is {not}{local} on a host of ours"),
        Test::Server(domain) => format!("{bare} is {not}of {domain}"),
        Test::Resource(resource) => match jid.resource() {
            Some(own) if !held => format!("the resource is {own:?}, not {resource:?}"),
            Some(_) => format!("the resource is {resource:?}"),
            None => "no resource is known here".to_owned(),
        },
        Test::UserPattern { host: Some(host), .. } if host != jid.domain() => {
            format!("{bare} is not of {host}")
        }
        Test::UserPattern { host: None, .. } if !rules.is_ours(jid.domain()) => {
            format!("{bare} is not of a host of ours")
        }
        Test::UserPattern { pattern, .. } if held && pattern.is_anything() => {
            format!("{bare} is of a host of ours")
        }
        Test::UserPattern { pattern, .. } => {
            let local = jid.local().unwrap_or_default();
            format!("the name {local:?} {does_not} {:?}", pattern.written)
        }
        Test::ServerPattern(pattern) => {
            format!("the host {:?} {does_not} {:?}", jid.domain(), pattern.written)
        }
        Test::ResourcePattern(pattern) => {
            let resource = jid.resource().unwrap_or_default();
            format!("the resource {resource:?} {does_not} {:?}", pattern.written)
        }
        Test::NodePattern { user, server } => {
            format!("{bare} {does_not} {:?} at {:?}", user.written, server.written)
        }
        Test::SharedGroup { group, host } => {
            let of = host.as_ref().map_or_else(String::new, |host| format!(" of {host}"));
            format!("{bare} is {not}in group {group}{of}")
        }
    }
}

fn why_acl(rules: &Rules, name: &str, facts: &Facts<'_>, held: bool) -> String {
    match name {
        "all" => return "everybody is meant".to_owned(),
        "none" => return "nobody is meant".to_owned(),
        _ => {}
    }
    let conditions = rules.acls.get(name).map_or(&[][..], |acl| &acl.conditions);
    if held {
        let held = conditions.iter().find(|condition| holds(rules, condition, facts));
        let why = held.map_or_else(String::new, |one| why(rules, one, facts, true));
        return format!("{why} (acl {name})");
    }
    match conditions {
        [] => format!("the acl {name} is empty"),
        [only] => format!("{} (acl {name})", why(rules, only, facts, false)),
        nets if nets.iter().all(|one| matches!(one.test, Test::Ip(_))) => match facts.address {
            Some(_) => {
                format!("the address is in none of the {} networks of acl {name}", nets.len())
            }
            None => format!("no address is known here (acl {name})"),
        },
        many => {
            let who = match (facts.jid, facts.address) {
                (Some(jid), _) => jid.bare_str().to_owned(),
                (None, Some(_)) => "the address".to_owned(),
                (None, None) => "nobody known".to_owned(),
            };
            format!("{who} is not in acl {name}, of which none of {} conditions holds", many.len())
        }
    }
}

#[cfg(test)]
mod tests;
