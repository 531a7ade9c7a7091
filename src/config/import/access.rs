//! Who may do what, and how much: `access_rules`, `shaper_rules`, their old forms `access` and
//! `shaper` values, and the options that name them.

use super::acl::{Condition, scoped_name};
use super::draft::{Origin, name, rows, text};
use super::read::is_infinity;
use super::source::{Entry, Host, joined};
use super::yaml::{Node, Place, Value};
use super::{Import, Kind};
use crate::config::value::IpNet;

/// One entry of a rule: what it gives, and to whom.
struct Line<'n> {
    /// `allow` or `deny`, or the value that it gives.
    key: &'n Node,
    who: &'n Node,
    /// The old form has them the other way round: the ACL before the colon.
    turned: bool,
}

/// What became of the conditions of an entry.
enum Who {
    /// TOML.
    Held(String),
    /// It can never hold, and why.
    Never(String),
}

impl Import<'_> {
    /// All access rules: those for all hosts, and under names of their own those of hosts that have
    /// ACLs or rules for themselves, since a rule is read with the ACLs of the host that asks.
    pub(super) fn access_rules(&mut self) {
        let source = self.source;
        self.draft.keep("access");
        self.draft.comment(
            "access",
            "Who may do what. The first entry whose conditions all hold decides; none: deny.",
        );
        if let Some(entry) =
            rules_of(source.global_option("access_rules"), source.global_option("access"))
        {
            self.access_set(&entry, None);
        }
        for host in &source.hosts {
            if !self.has_own_rules(host) {
                continue;
            }
            let (rules, old) = (source.option(host, "access_rules"), source.option(host, "access"));
            if let Some(entry) = rules_of(rules.as_ref(), old.as_ref()) {
                self.access_set(&entry, Some(host));
            }
        }
        if self.rule_name(None, "configure").is_none() {
            self.draft.comment(
                "access",
                "ejabberd gives nobody operators' rights without a rule of this name.",
            );
            self.draft.set("access", "configure", "[{ deny = \"all\" }]".to_owned(), None);
        }
    }

    fn has_own_rules(&self, host: &Host) -> bool {
        ["acl", "access_rules", "access"].iter().any(|option| self.source.has_own(host, option))
    }

    fn access_set(&mut self, set: &Entry, host: Option<&Host>) {
        for (key, value) in joined(&set.value).entries() {
            let Some(written) = key.text() else {
                self.wrong(key, &set.name, "the name of a rule");
                continue;
            };
            if matches!(written, "all" | "none") {
                self.wrong(key, &set.name, "a name of your own; all and none mean themselves");
                continue;
            }
            // Allowances of the old form stand among the access rules.
            if set.name == "access" && !is_decision(value) {
                continue;
            }
            let option = format!("{}.{written}", set.name);
            let Some(value) = self.entries(value, &option, host) else { continue };
            self.carried(&key.at, &option, "[access]");
            let origin = Origin { at: key.at.clone(), option };
            self.draft.set("access", &scoped_name(written, host), value, Some(origin));
        }
    }

    /// The entries of an access rule as a TOML list; `None` if they make no sense, which is told.
    fn entries(&mut self, value: &Node, option: &str, host: Option<&Host>) -> Option<String> {
        let mut entries = Vec::new();
        let mut fine = true;
        for line in lines_of(value) {
            let (verdict, who) =
                if line.turned { (line.who, line.key) } else { (line.key, line.who) };
            let verdict = match verdict.text() {
                Some(verdict @ ("allow" | "deny")) => verdict,
                _ => {
                    self.wrong(verdict, option, "allow or deny");
                    fine = false;
                    continue;
                }
            };
            match self.who(who, &line.key.at, option, host) {
                Some(Who::Held(who)) => entries.push(format!("{{ {verdict} = {who} }}")),
                Some(Who::Never(why)) => {
                    let what = format!("{option}: {verdict}");
                    let why = format!("never true: {why}; left out, as it does nothing");
                    let remedy = "make it say what was meant, as an entry of the rule";
                    self.note(&line.key.at, &what, Kind::Fault, &why, Some(remedy));
                }
                None => fine = false,
            }
        }
        if !fine {
            return None;
        }
        if entries.is_empty() {
            return Some("[{ deny = \"all\" }]".to_owned());
        }
        Some(rows(&entries))
    }

    /// Who an entry is for.
    fn who(&mut self, who: &Node, at: &Place, option: &str, host: Option<&Host>) -> Option<Who> {
        // `- allow` alone means everybody.
        if who.is_null() {
            return Some(Who::Held("\"all\"".to_owned()));
        }
        let before = self.problems.len();
        let conditions = self.conditions(who, option, true);
        if self.problems.len() > before {
            return None;
        }
        if conditions.is_empty() {
            return Some(Who::Never("it has no condition".to_owned()));
        }
        let mut written = Vec::new();
        for condition in &conditions {
            if condition.kind != "acl" {
                written.push(format!("{{ {} = {} }}", name(&condition.kind), condition.value));
                continue;
            }
            match self.acl_name(host, &condition.value) {
                Some(name) => written.push(text(&name)),
                None => {
                    let why = format!("there is no ACL {}", condition.value);
                    return Some(Who::Never(why));
                }
            }
        }
        if let Some(why) = contradiction(&conditions) {
            return Some(Who::Never(why));
        }
        let names: Vec<&str> = conditions
            .iter()
            .filter(|condition| condition.kind == "acl")
            .map(|condition| condition.value.as_str())
            .collect();
        if let Some(why) = self.exclusive(&names, host) {
            return Some(Who::Never(why));
        }
        if conditions.len() > 1 {
            let why = "all conditions of one entry must hold at once, in ejabberd as here";
            let remedy = "make several entries if one of them should do";
            self.note(at, option, Kind::Carried, why, Some(remedy));
        }
        Some(Who::Held(match written.as_slice() {
            [one] => one.clone(),
            many => format!("[{}]", many.join(", ")),
        }))
    }

    /// Why ACLs that must hold together cannot: each is of addresses alone, and no address is in
    /// both.
    pub(super) fn exclusive(&self, names: &[&str], host: Option<&Host>) -> Option<String> {
        let acls: Vec<(&str, Vec<IpNet>)> =
            names.iter().filter_map(|name| Some((*name, self.networks_of(host, name)?))).collect();
        for (index, (name, nets)) in acls.iter().enumerate() {
            for (other, others) in &acls[..index] {
                if !nets.iter().any(|net| others.iter().any(|other| net.overlaps(other))) {
                    return Some(format!("no address is in {other} and in {name} at once"));
                }
            }
        }
        None
    }

    /// The networks of an ACL that holds nothing else.
    pub(super) fn networks_of(&self, host: Option<&Host>, written: &str) -> Option<Vec<IpNet>> {
        let set = match host {
            Some(host) => self.source.option(host, "acl"),
            None => self.source.global_option("acl").cloned(),
        };
        let set = joined(&set?.value);
        let acl = joined(set.get(written)?);
        let mut nets = Vec::new();
        for (key, value) in acl.entries() {
            if key.text() != Some("ip") {
                return None;
            }
            for net in value.elements() {
                nets.push(super::acl::network(net.text()?)?);
            }
        }
        (!nets.is_empty()).then_some(nets)
    }

    /// The name under which a host finds an access rule here; `None` if it is not defined there.
    fn rule_name(&self, host: Option<&Host>, written: &str) -> Option<String> {
        if matches!(written, "all" | "none") {
            return Some(written.to_owned());
        }
        let own = host.filter(|host| self.has_own_rules(host));
        let option = |name: &str| match own {
            Some(host) => self.source.option(host, name),
            None => self.source.global_option(name).cloned(),
        };
        let set = rules_of(option("access_rules").as_ref(), option("access").as_ref())?;
        joined(&set.value).get(written)?;
        Some(scoped_name(written, own))
    }

    /// The value of an option that takes a rule, as our settings take it.
    pub(super) fn access_value(
        &mut self,
        node: &Node,
        option: &str,
        host: Option<&Host>,
    ) -> Option<String> {
        if !matches!(node.value, Value::Scalar { .. }) {
            return self.entries(node, option, host);
        }
        let written = self.text(node, option, "the name of an access rule")?;
        match self.rule_name(host, &written) {
            Some(name) => Some(text(&name)),
            None => {
                let is_acl = self.acl_name(host, &written).is_some();
                let why = if is_acl {
                    format!("{written} is an ACL and no access rule, so ejabberd refuses everybody")
                } else {
                    format!("there is no access rule {written}, so ejabberd refuses everybody")
                };
                let remedy = if is_acl {
                    format!("if the ACL is meant: [{{ allow = {} }}]", text(&written))
                } else {
                    "write the rule under [access] and name it here".to_owned()
                };
                self.note(&node.at, option, Kind::Fault, &why, Some(&remedy));
                Some(text("none"))
            }
        }
    }

    /// Rules that give numbers. Those that give speeds of traffic have nothing here yet.
    pub(super) fn allowances(&mut self) {
        let source = self.source;
        if let Some(entry) = source.global_option("shaper_rules") {
            self.allowance_set(entry, None);
        }
        if let Some(entry) = source.global_option("access") {
            self.allowance_set(entry, None);
        }
        for host in &source.hosts {
            let own = ["acl", "shaper_rules"].iter().any(|option| source.has_own(host, option));
            if let Some(entry) = source.option(host, "shaper_rules").filter(|_| own) {
                self.allowance_set(&entry, Some(host));
            }
        }
    }

    fn allowance_set(&mut self, set: &Entry, host: Option<&Host>) {
        for (key, value) in joined(&set.value).entries() {
            let Some(written) = key.text() else {
                self.wrong(key, &set.name, "the name of a rule");
                continue;
            };
            if set.name == "access" && is_decision(value) {
                continue;
            }
            let option = format!("{}.{written}", set.name);
            let lines = value_lines(value);
            if !lines.iter().all(|line| is_amount(line.value())) {
                let why = "shapes the speed of connections, which is not done here; connections, \
                           sign-ins and stanzas have bounds in [limits]";
                self.note(&key.at, &option, Kind::Left, why, None);
                continue;
            }
            let mut grants = Vec::new();
            for line in &lines {
                let amount = match line.value().text() {
                    _ if is_infinity(line.value()) => u64::MAX,
                    Some(number) => number.replace('_', "").parse().unwrap_or(u64::MAX),
                    None => continue,
                };
                match self.who(line.to(), &key.at, &option, host) {
                    Some(Who::Held(who)) => grants.push((amount, who)),
                    Some(Who::Never(why)) => {
                        let why = format!("{amount}: never true: {why}; left out");
                        self.note(&line.value().at, &option, Kind::Fault, &why, None);
                    }
                    None => {}
                }
            }
            if grants.is_empty() {
                continue;
            }
            self.carried(&key.at, &option, "[allowances]");
            let origin = Origin { at: key.at.clone(), option };
            let name = scoped_name(written, host);
            self.draft.set("allowances", &name, grant_list(&grants), Some(origin.clone()));
            self.grants.insert(name, (origin, grants));
        }
    }

    /// A setting of a host that one of ejabberd's rules decides by its name. What everybody gets
    /// alike is written as it is, the rest by the name of the allowance.
    pub(super) fn allowance_setting(
        &mut self,
        host: &Host,
        rule: &str,
        header: &str,
        setting: &str,
        range: std::ops::RangeInclusive<u64>,
    ) {
        let names = [scoped_name(rule, Some(host)), scoped_name(rule, None)];
        let known =
            names.into_iter().find_map(|name| Some((self.grants.get(&name)?.clone(), name)));
        let Some(((origin, mut grants), name)) = known else { return };
        let fits = grants.iter().all(|(amount, _)| range.contains(amount));
        if !fits {
            for (amount, _) in &mut grants {
                *amount = (*amount).clamp(*range.start(), *range.end());
            }
            let why = format!(
                "{setting} is from {} to {} here; what is beyond is at the bound now",
                range.start(),
                range.end()
            );
            self.note(&origin.at, &origin.option, Kind::Changed, &why, None);
            self.draft.set("allowances", &name, grant_list(&grants), Some(origin.clone()));
        }
        let value = match grants.as_slice() {
            [(amount, who)] if who == "\"all\"" => amount.to_string(),
            _ => text(&name),
        };
        self.draft.set(header, setting, value, Some(origin));
    }
}

impl Line<'_> {
    fn value(&self) -> &Node {
        if self.turned { self.who } else { self.key }
    }

    fn to(&self) -> &Node {
        if self.turned { self.key } else { self.who }
    }
}

/// An allowance as TOML.
fn grant_list(grants: &[(u64, String)]) -> String {
    let lines: Vec<String> = grants
        .iter()
        .map(|(amount, who)| {
            let amount = match amount {
                &u64::MAX => "\"unlimited\"".to_owned(),
                amount => amount.to_string(),
            };
            match who.as_str() {
                "\"all\"" => format!("{{ grant = {amount} }}"),
                who => format!("{{ grant = {amount}, to = {who} }}"),
            }
        })
        .collect();
    rows(&lines)
}

fn rules_of(rules: Option<&Entry>, old: Option<&Entry>) -> Option<Entry> {
    rules.or(old).cloned()
}

/// The entries of a rule: a list of `verdict: who`, a map of them, or a bare verdict; in old files
/// `acl: verdict`.
fn lines_of(value: &Node) -> Vec<Line<'_>> {
    let mut lines = Vec::new();
    for element in value.elements() {
        match &element.value {
            Value::List(list) => lines.extend(list.iter().flat_map(lines_of)),
            Value::Map(entries) => {
                for (key, value) in entries {
                    let is_verdict = |node: &Node| matches!(node.text(), Some("allow" | "deny"));
                    let turned = !is_verdict(key) && is_verdict(value);
                    lines.push(Line { key, who: value, turned });
                }
            }
            Value::Scalar { .. } => lines.push(Line { key: element, who: nobody(), turned: false }),
        }
    }
    lines
}

/// The same for rules that give a value.
fn value_lines(value: &Node) -> Vec<Line<'_>> {
    let mut lines = lines_of(value);
    for line in &mut lines {
        line.turned = !is_amount(line.key) && is_amount(line.who);
    }
    lines
}

/// What stands behind the colon where there is none.
fn nobody() -> &'static Node {
    static NOTHING: std::sync::LazyLock<Node> = std::sync::LazyLock::new(|| Node {
        at: Place::default(),
        value: Value::Scalar { text: String::new(), plain: true },
    });
    &NOTHING
}

fn is_amount(node: &Node) -> bool {
    is_infinity(node)
        || node.text().is_some_and(|text| text.replace('_', "").parse::<u64>().is_ok())
}

/// Whether a rule of the old form allows and denies.
fn is_decision(value: &Node) -> bool {
    lines_of(value).iter().any(|line| matches!(line.value().text(), Some("allow" | "deny")))
}

/// Why conditions that must hold together cannot.
fn contradiction(conditions: &[Condition]) -> Option<String> {
    for (index, condition) in conditions.iter().enumerate() {
        if condition.kind == "acl" && condition.value == "none" {
            return Some("none is nobody".to_owned());
        }
        for other in conditions[..index].iter().filter(|other| other.kind == condition.kind) {
            let exact = matches!(condition.kind.as_str(), "user" | "server" | "resource");
            let both = format!("{} and {}", other.value, condition.value);
            if exact && other.value.to_lowercase() != condition.value.to_lowercase() {
                // A name with a host and the same name without are no contradiction.
                let (one, two) = (other.value.trim_matches('"'), condition.value.trim_matches('"'));
                let within = |a: &str, b: &str| b.split('@').next() == Some(a);
                if !(within(one, two) || within(two, one)) {
                    return Some(format!("{} cannot be {both} at once", condition.kind));
                }
            }
            if let (Some(net), Some(others)) = (&condition.net, &other.net)
                && !net.overlaps(others)
            {
                return Some(format!("no address is in {both} at once"));
            }
        }
    }
    None
}
