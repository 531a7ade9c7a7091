//! Access rules, looked at: how they decide on somebody and why, what there is, whom a change of them
//! would touch.

use std::net::IpAddr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::account;
use crate::access::Facts;
use crate::access::rule::{self, Step};
use crate::admin::Context;
use crate::admin::op::{Class, Example, Operation, Refusal};
use crate::config::rules::{Condition, Rules, Test as Asked, Use, Used};
use crate::config::{self, Access, Allowance};
use crate::jid::Jid;
use crate::store::groups::SharedGroups;

/// Accounts looked at in one answer of [`Affected`].
const PAGE_MAX: usize = 1000;
/// Accounts read at a time.
const BATCH: usize = 200;

/// Asks a rule about somebody.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Test {
    /// The name of an access rule, an ACL or an allowance, or a setting that takes one, as in
    /// `hosts.example.org.sign_in`.
    pub rule: String,
    /// Who asks: an address, or a name on `host`. Nobody known if left out.
    pub user: Option<String>,
    /// Where they come from. Not known if left out.
    pub ip: Option<String>,
    /// The host on whose behalf the rule is asked; the user's own if left out.
    pub host: Option<String>,
    /// The resource of `user`, if its address has none.
    pub resource: Option<String>,
}

/// A verdict with its reasons.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Tested {
    /// The rule that was asked; a setting's own entries go by the setting.
    pub rule: String,
    /// For an ACL: whether they are in it. For an allowance: whether one of its lines holds.
    pub allowed: bool,
    /// What an allowance gives.
    pub value: Option<u64>,
    /// The line of the config file that decided.
    pub line: Option<usize>,
    pub because: String,
    /// The entries that were tried, in order; the last one decided if it held.
    pub steps: Vec<Step>,
}

impl Operation for Test {
    const NAME: &'static str = "access.test";
    const SUMMARY: &'static str = "Ask an access rule about somebody, and why it decides so";
    const CLASS: Class = Class::Safe;
    const EXAMPLE: Example = Example {
        arguments: r#"{"rule": "configure", "user": "anna@example.org", "ip": "192.0.2.1"}"#,
        output: r#"{"rule": "configure", "allowed": false, "value": null, "line": null, "because": "no entry holds, which means deny; line 9: anna@example.org is not ben@example.org (acl admin)", "steps": [{"line": 9, "entry": "allow = \"admin\"", "held": false, "why": "anna@example.org is not ben@example.org (acl admin)"}]}"#,
    };
    type Output = Tested;

    fn target(&self) -> String {
        self.user.clone().unwrap_or_default()
    }

    async fn run(self, cx: &Context) -> Result<Tested, Refusal> {
        let jid = self.jid(cx)?;
        let address = address(self.ip.as_deref())?;
        let host = match (&self.host, &jid) {
            (Some(host), _) => host.clone(),
            (None, Some(jid)) => jid.domain().to_owned(),
            (None, None) => String::new(),
        };
        let groups = cx.store().groups().snapshot();
        let facts = Facts { jid: jid.as_ref(), address, host: &host, groups: &groups };
        let rules = &cx.config().rules;
        match what(rules, &self.rule)? {
            Used::Access(access) => {
                let decision = rule::decide(rules, &access, &facts);
                Ok(Tested {
                    rule: decision.rule,
                    allowed: decision.allowed,
                    value: None,
                    line: decision.line,
                    because: decision.because,
                    steps: rule::trace(rules, &access, &facts),
                })
            }
            Used::Allowance(allowance) => Ok(granted(rules, &allowance, &facts)),
        }
    }
}

impl Test {
    fn jid(&self, cx: &Context) -> Result<Option<Jid>, Refusal> {
        let Some(user) = &self.user else { return Ok(None) };
        let text = if user.contains('@') {
            user.clone()
        } else {
            let host = match &self.host {
                Some(host) => host.clone(),
                None => account::hosts(cx, "")?.remove(0).domain.clone(),
            };
            format!("{user}@{host}")
        };
        let wrong = |error| Refusal::usage(format!("{text:?} is not an address: {error}"));
        let jid = Jid::parse(&text).map_err(wrong)?;
        let jid = match &self.resource {
            Some(resource) => jid.with_resource(resource).map_err(wrong)?,
            None => jid,
        };
        Ok(Some(jid))
    }
}

fn address(text: Option<&str>) -> Result<Option<IpAddr>, Refusal> {
    let read = |text: &str| {
        text.parse().map_err(|_| Refusal::usage(format!("{text:?} is not an IP address")))
    };
    text.map(read).transpose()
}

/// What goes by that name: a rule, an ACL, an allowance, or what a setting says.
fn what(rules: &Rules, name: &str) -> Result<Used, Refusal> {
    if rules.knows_access(name) {
        return Ok(Used::Access(Access::named(name)));
    }
    if rules.allowances.contains_key(name) {
        return Ok(Used::Allowance(Allowance::Named { name: name.into(), otherwise: 0 }));
    }
    if let Some(used) = rules.used_at(name) {
        return Ok(used.what.clone());
    }
    let known = rules.access.keys().chain(rules.acls.keys()).chain(rules.allowances.keys());
    let known: Vec<&str> = known.map(String::as_str).collect();
    Err(Refusal::not_found(format!("{name:?} is no access rule, ACL, allowance or setting"))
        .help(format!("there are: {}; `coucou access list` shows them", known.join(", "))))
}

fn granted(rules: &Rules, allowance: &Allowance, facts: &Facts<'_>) -> Tested {
    let (name, otherwise) = match allowance {
        Allowance::Fixed(value) => {
            let because = "the setting is a number".to_owned();
            return Tested { allowed: true, value: Some(*value), because, ..Tested::default() };
        }
        Allowance::Named { name, otherwise } => (name.to_string(), *otherwise),
    };
    let steps = rules.allowances.get(&name).map(|rule| rule::trace_allowance(rules, rule, facts));
    let steps = steps.unwrap_or_default();
    match rule::value(rules, allowance, facts) {
        Some((value, decision)) => Tested {
            rule: name,
            allowed: true,
            value: Some(value),
            line: decision.line,
            because: decision.because,
            steps,
        },
        None => Tested {
            rule: name,
            value: (otherwise > 0).then_some(otherwise),
            because: "no line holds; the default of the setting counts".to_owned(),
            steps,
            ..Tested::default()
        },
    }
}

/// Lists ACLs, access rules and allowances.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct List {
    /// Only what goes by this name; all if empty.
    pub name: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Listed {
    pub acls: Vec<Named>,
    pub access: Vec<Named>,
    pub allowances: Vec<Named>,
    /// Settings that take a rule or an allowance.
    pub settings: Vec<Setting>,
}

/// An ACL, an access rule or an allowance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Named {
    pub name: String,
    /// The line of the config file; `None` for what is known without being written.
    pub line: Option<usize>,
    /// Conditions, entries or grants, in order.
    pub lines: Vec<Line>,
    /// The ACLs, rules and settings that name it.
    pub used_by: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Line {
    pub line: Option<usize>,
    /// As in the file.
    pub text: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Setting {
    pub path: String,
    /// `None` if the setting is left out.
    pub line: Option<usize>,
    /// What it says.
    pub rule: String,
}

impl Operation for List {
    const NAME: &'static str = "access.list";
    const SUMMARY: &'static str = "List access rules, ACLs and allowances, and where they are used";
    const CLASS: Class = Class::Safe;
    const EXAMPLE: Example = Example {
        arguments: r#"{"name": "admin"}"#,
        output: r#"{"acls": [{"name": "admin", "line": 4, "lines": [{"line": 4, "text": "user = \"anna@example.org\""}], "used_by": ["access.configure"]}], "access": [], "allowances": [], "settings": []}"#,
    };
    type Output = Listed;

    async fn run(self, cx: &Context) -> Result<Listed, Refusal> {
        let rules = &cx.config().rules;
        let wanted = |name: &str| self.name.is_empty() || self.name == name;
        let named = |name: &str, line, lines| Named {
            name: name.to_owned(),
            line,
            lines,
            used_by: used_by(rules, name),
        };
        let line = |line, text| Line { line, text };
        let acls = rules.acls.values().filter(|acl| wanted(&acl.name)).map(|acl| {
            let lines = acl.conditions.iter().map(|one| line(one.line, one.to_string())).collect();
            named(&acl.name, acl.line, lines)
        });
        let access = rules.access.values().filter(|rule| wanted(&rule.name)).map(|rule| {
            let lines = rule.entries.iter().map(|one| line(one.line, one.shown())).collect();
            named(&rule.name, rule.line, lines)
        });
        let allowances = rules.allowances.values().filter(|rule| wanted(&rule.name)).map(|rule| {
            let lines = rule.grants.iter().map(|one| line(one.line, one.shown())).collect();
            named(&rule.name, rule.line, lines)
        });
        let settings = rules.uses.iter().filter(|used| {
            self.name.is_empty()
                || said(used) == self.name
                || rules.used_at(&self.name).is_some_and(|at| at.path == used.path)
        });
        let listed = Listed {
            acls: acls.collect(),
            access: access.collect(),
            allowances: allowances.collect(),
            settings: settings
                .map(|used| Setting { path: used.path.clone(), line: used.line, rule: said(used) })
                .collect(),
        };
        if listed == Listed::default() {
            what(rules, &self.name)?;
        }
        Ok(listed)
    }
}

fn said(used: &Use) -> String {
    match &used.what {
        Used::Access(access) => access.shown(),
        Used::Allowance(allowance) => allowance.to_string(),
    }
}

/// Everything that names `name`.
fn used_by(rules: &Rules, name: &str) -> Vec<String> {
    let names = |conditions: &[Condition]| {
        conditions.iter().any(|one| matches!(&one.test, Asked::Acl(acl) if acl == name))
    };
    let mut users = Vec::new();
    let acls = rules.acls.values().filter(|acl| names(&acl.conditions));
    users.extend(acls.map(|acl| format!("acl.{}", acl.name)));
    let access = rules.access.values();
    let access = access.filter(|rule| rule.entries.iter().any(|one| names(&one.conditions)));
    users.extend(access.map(|rule| format!("access.{}", rule.name)));
    let allowances = rules.allowances.values();
    let allowances = allowances.filter(|rule| rule.grants.iter().any(|one| names(&one.conditions)));
    users.extend(allowances.map(|rule| format!("allowances.{}", rule.name)));
    let settings = rules.uses.iter().filter(|used| match &used.what {
        Used::Access(Access::Inline(rule)) => rule.entries.iter().any(|one| names(&one.conditions)),
        _ => said(used) == name,
    });
    users.extend(settings.map(|used| used.path.clone()));
    users
}

/// Finds the accounts for whom another text of the config file would decide otherwise.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Affected {
    /// The whole text that would be the config file.
    pub text: String,
    /// Only accounts of this host; of all hosts if empty.
    pub host: String,
    /// Where they would come from; conditions on addresses do not hold if left out.
    pub ip: Option<String>,
    /// Go on behind this account.
    pub after: Option<String>,
    /// Accounts to look at; 0 stands for as many as one answer allows.
    pub max: usize,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AffectedAccounts {
    pub changes: Vec<Verdict>,
    /// Accounts that were looked at.
    pub looked_at: usize,
    /// Where to go on, if there are more accounts.
    pub next: Option<String>,
}

/// A setting that would decide otherwise for an account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Verdict {
    pub jid: String,
    /// The setting that takes the rule.
    pub setting: String,
    /// `allow`, `deny`, or what an allowance gives.
    pub before: String,
    pub after: String,
    /// Why, by the new text and its lines.
    pub because: String,
}

impl Operation for Affected {
    const NAME: &'static str = "access.affected";
    const SUMMARY: &'static str = "Find accounts for whom other settings would decide otherwise";
    const CLASS: Class = Class::Safe;
    const EXAMPLE: Example = Example {
        arguments: r#"{"text": "[hosts.\"example.org\"]\nsign_in = \"admin\"\n", "host": "example.org"}"#,
        output: r#"{"changes": [{"jid": "anna@example.org", "setting": "hosts.\"example.org\".sign_in", "before": "allow", "after": "deny", "because": "the acl admin is empty"}], "looked_at": 1, "next": null}"#,
    };
    type Output = AffectedAccounts;

    fn target(&self) -> String {
        self.host.clone()
    }

    async fn run(self, cx: &Context) -> Result<AffectedAccounts, Refusal> {
        let draft = config::parse(&self.text, cx.config_file())
            .map_err(|error| Refusal::usage(format!("the text is not in order: {error}")))?
            .config;
        let address = address(self.ip.as_deref())?;
        let after = self.after.as_deref().map(Jid::parse).transpose();
        let after =
            after.map_err(|error| Refusal::usage(format!("`after` is no address: {error}")))?;
        let max = if self.max == 0 { PAGE_MAX } else { self.max.min(PAGE_MAX) };
        let hosts = account::hosts(cx, &self.host)?;
        let skip = after
            .as_ref()
            .and_then(|jid| hosts.iter().position(|host| host.domain == jid.domain()));
        let groups = cx.store().groups().snapshot();
        let mut found = AffectedAccounts::default();
        let mut behind = after.as_ref().map(Jid::bare);
        for host in hosts.iter().skip(skip.unwrap_or(0)) {
            let asked = Comparison {
                old: &cx.config().rules,
                new: &draft.rules,
                host: &host.domain,
                groups: &groups,
                address,
            };
            loop {
                let left = max - found.looked_at;
                if left == 0 {
                    found.next = behind.map(|jid| jid.to_string());
                    return Ok(found);
                }
                let last = behind.as_ref().filter(|jid| jid.domain() == host.domain);
                let last = last.and_then(|jid| jid.local());
                let rows =
                    cx.store().accounts().list(&host.domain, "", last, BATCH.min(left)).await?;
                for row in &rows {
                    asked.compare(&row.jid, &mut found.changes);
                }
                found.looked_at += rows.len();
                match rows.last() {
                    Some(row) => behind = Some(row.jid.clone()),
                    None => break,
                }
            }
        }
        Ok(found)
    }
}

/// Two sets of rules, about the accounts of one host.
struct Comparison<'a> {
    old: &'a Rules,
    new: &'a Rules,
    host: &'a str,
    groups: &'a SharedGroups,
    address: Option<IpAddr>,
}

impl Comparison<'_> {
    fn compare(&self, jid: &Jid, changes: &mut Vec<Verdict>) {
        let own = format!("hosts.{:?}.", self.host);
        let bare = format!("hosts.{}.", self.host);
        let concerns = |used: &&Use| {
            !used.path.starts_with("hosts.")
                || used.path.starts_with(&own)
                || used.path.starts_with(&bare)
        };
        for used in self.new.uses.iter().filter(concerns) {
            let Some(before) = self.old.used_at(&used.path) else { continue };
            let (before, _) = self.verdict(self.old, &before.what, jid);
            let (after, because) = self.verdict(self.new, &used.what, jid);
            if before != after {
                let setting = used.path.clone();
                changes.push(Verdict { jid: jid.to_string(), setting, before, after, because });
            }
        }
    }

    fn verdict(&self, rules: &Rules, what: &Used, jid: &Jid) -> (String, String) {
        let facts =
            Facts { jid: Some(jid), address: self.address, host: self.host, groups: self.groups };
        match what {
            Used::Access(access) => {
                let decision = rule::weigh(rules, access, &facts);
                let word = if decision.allowed { "allow" } else { "deny" };
                (word.to_owned(), decision.because)
            }
            Used::Allowance(allowance) => {
                let tested = granted(rules, allowance, &facts);
                let value = tested.value.map_or_else(|| "0".to_owned(), |value| value.to_string());
                (value, tested.because)
            }
        }
    }
}
