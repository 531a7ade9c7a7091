//! Who is who: `acl`, and the conditions that rules hold of their own.

use super::draft::{Origin, list, name, text};
use super::pattern::translate;
use super::source::{Entry, Host, joined};
use super::yaml::{Node, Place, Value};
use super::{Import, Kind};
use crate::config::leaf::nearest;
use crate::config::rules::Pattern;
use crate::config::value::{self, IpNet};
use crate::jid::Jid;

/// The kinds of conditions, as both servers name them.
pub(super) const KINDS: &[&str] = &[
    "ip",
    "user",
    "user_regexp",
    "user_glob",
    "server",
    "server_regexp",
    "server_glob",
    "resource",
    "resource_regexp",
    "resource_glob",
    "node_regexp",
    "node_glob",
    "shared_group",
];

/// A condition, as it will stand in our file.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Condition {
    pub at: Place,
    /// `acl` for a reference.
    pub kind: String,
    /// TOML.
    pub value: String,
    /// The network, if it is one.
    pub net: Option<IpNet>,
}

impl Import<'_> {
    /// All ACLs: those for all hosts, and under names of their own those that a host has for itself.
    pub(super) fn acls(&mut self) {
        let source = self.source;
        self.draft.keep("acl");
        self.draft.comment("acl", "Who is who. The conditions of one ACL are ORed.");
        if let Some(entry) = source.global_option("acl") {
            self.acl_set(entry, None);
        }
        for host in source.hosts.iter().filter(|host| source.has_own(host, "acl")) {
            if let Some(entry) = source.option(host, "acl") {
                self.acl_set(&entry, Some(host));
            }
        }
    }

    fn acl_set(&mut self, set: &Entry, host: Option<&Host>) {
        for (key, value) in joined(&set.value).entries() {
            let Some(written) = key.text() else {
                self.wrong(key, "acl", "the name of an ACL");
                continue;
            };
            let option = format!("acl.{written}");
            if matches!(written, "all" | "none") {
                let expected = "a name of your own; all and none mean themselves";
                self.wrong(key, "acl", expected);
                continue;
            }
            let conditions = self.conditions(value, &option, false);
            let mut groups: Vec<(String, Vec<String>)> = Vec::new();
            for condition in &conditions {
                match groups.iter_mut().find(|(kind, _)| *kind == condition.kind) {
                    Some((_, values)) => values.push(condition.value.clone()),
                    None => groups.push((condition.kind.clone(), vec![condition.value.clone()])),
                }
            }
            if groups.is_empty() {
                let why = "names nobody";
                self.note(&key.at, &option, Kind::Carried, why, None);
            } else {
                self.carried(&key.at, &option, "[acl]");
            }
            let single = |values: &[String]| match values {
                [one] => one.clone(),
                many => list(many),
            };
            let value = match groups.as_slice() {
                [(kind, values)] => format!("{{ {} = {} }}", name(kind), single(values)),
                groups => {
                    let tables: Vec<String> = groups
                        .iter()
                        .map(|(kind, values)| format!("{{ {} = {} }}", name(kind), single(values)))
                        .collect();
                    list(&tables)
                }
            };
            let origin = Origin { at: key.at.clone(), option };
            self.draft.set("acl", &scoped_name(written, host), value, Some(origin));
        }
    }

    /// The name under which a host finds an ACL here; `None` if there it is not defined, so that it
    /// holds for nobody.
    pub(super) fn acl_name(&self, host: Option<&Host>, written: &str) -> Option<String> {
        if matches!(written, "all" | "none") {
            return Some(written.to_owned());
        }
        let own = host.filter(|host| self.source.has_own(host, "acl"));
        let set = match own {
            Some(host) => self.source.option(host, "acl"),
            None => self.source.global_option("acl").cloned(),
        };
        let set = joined(&set?.value);
        set.get(written)?;
        Some(scoped_name(written, own))
    }

    /// The conditions of an ACL or of one entry of a rule, which alone may name ACLs.
    pub(super) fn conditions(
        &mut self,
        value: &Node,
        option: &str,
        in_rule: bool,
    ) -> Vec<Condition> {
        let mut conditions = Vec::new();
        for element in value.elements() {
            match &element.value {
                Value::List(_) => conditions.extend(self.conditions(element, option, in_rule)),
                Value::Map(entries) => {
                    for (key, value) in entries {
                        self.condition(key, value, option, in_rule, &mut conditions);
                    }
                }
                Value::Scalar { text, .. } if in_rule && !text.is_empty() => {
                    conditions.push(reference(element));
                }
                // `acl: {x: all}` and the like, which old files have.
                Value::Scalar { text, .. } if text == "all" => conditions.push(Condition {
                    kind: "user_regexp".to_owned(),
                    value: "\"\"".to_owned(),
                    ..reference(element)
                }),
                Value::Scalar { .. } => {
                    let expected = format!("one of {} with a value", KINDS.join(", "));
                    self.wrong(element, option, &expected);
                }
            }
        }
        conditions
    }

    fn condition(
        &mut self,
        key: &Node,
        value: &Node,
        option: &str,
        in_rule: bool,
        conditions: &mut Vec<Condition>,
    ) {
        let kind = key.text().unwrap_or_default();
        if kind == "acl" && in_rule {
            conditions.extend(value.elements().iter().map(reference));
            return;
        }
        if !KINDS.contains(&kind) {
            let help = nearest(kind, KINDS.iter().copied());
            let help = help.map(|near| format!("did you mean {near}?"));
            let expected = format!("one of {}", KINDS.join(", "));
            self.report(&key.at, option, &key.kind(), &expected, help);
            return;
        }
        let scoped = kind.starts_with("user") || kind.starts_with("node") || kind == "shared_group";
        let mut push = |import: &mut Self, node: &Node, what: &str, host: Option<&Node>| {
            if let Some((value, net)) = import.condition_value(kind, node, what, host, option) {
                let kind = kind.to_owned();
                conditions.push(Condition { at: node.at.clone(), kind, value, net });
            }
        };
        for element in value.elements() {
            let pairs = element.elements().iter().flat_map(Node::entries);
            let mut paired = false;
            for (what, host) in pairs.filter(|_| scoped) {
                paired = true;
                push(self, what, what.text().unwrap_or_default(), Some(host));
            }
            match &element.value {
                _ if paired => {}
                Value::Scalar { text, .. } => push(self, element, text, None),
                _ => self.wrong(element, option, "a text, or a list of them"),
            }
        }
        // `user_regexp:` with nothing behind it is the empty pattern, which fits everybody.
        if value.is_null() && kind.ends_with("regexp") {
            push(self, value, "", None);
        }
    }

    /// A value of a condition as TOML.
    fn condition_value(
        &mut self,
        kind: &str,
        node: &Node,
        what: &str,
        host: Option<&Node>,
        option: &str,
    ) -> Option<(String, Option<IpNet>)> {
        let scoped = kind.starts_with("user") || kind.starts_with("node") || kind == "shared_group";
        if kind == "ip" {
            let net = self.network(node, what, option)?;
            return Some((text(&net.to_string()), Some(net)));
        }
        let (what, host) = match host {
            Some(host) => (what, Some(host.text().unwrap_or_default())),
            None if scoped => match what.split_once('@') {
                Some((_, host)) if host.contains('@') => {
                    self.wrong(node, option, "at most one @, between a name and its host");
                    return None;
                }
                Some((what, host)) => (what, Some(host)),
                None => (what, None),
            },
            None => (what, None),
        };
        let is_node = kind.starts_with("node");
        let host = match host.filter(|_| !is_node).map(value::domain).transpose() {
            Ok(domain) => domain.or(host.filter(|_| is_node).map(str::to_owned)),
            Err(reason) => {
                let found = format!("the host of {}, which {reason}", node.kind());
                self.report(&node.at, option, &found, "a domain such as example.org", None);
                return None;
            }
        };
        let (what, host) = if kind.ends_with("regexp") {
            let host = host.map(|host| if is_node { translate(&host) } else { host });
            (translate(what), host)
        } else {
            (what.to_owned(), host)
        };
        let patterns = [Some(&what), host.as_ref().filter(|_| is_node)];
        for pattern in patterns.into_iter().flatten() {
            let fault = match kind {
                _ if kind.ends_with("regexp") => Pattern::regex(pattern).err(),
                _ if kind.ends_with("glob") => Pattern::glob(pattern).err(),
                _ => None,
            };
            if let Some(fault) = fault {
                let found = format!("{pattern:?}, which {}", fault.reason);
                let expected = "a pattern that can be matched in linear time";
                self.report(&node.at, option, &found, expected, fault.help);
                return None;
            }
        }
        let fault = match kind {
            "user" => Jid::from_parts(Some(&what), "localhost", None).err().map(|e| e.to_string()),
            "resource" => {
                Jid::from_parts(None, "localhost", Some(&what)).err().map(|e| e.to_string())
            }
            "server" => value::domain(&what).err(),
            "shared_group" if what.is_empty() => Some("is empty".to_owned()),
            "node_regexp" | "node_glob" if host.is_none() => {
                Some("has no pattern for the server".to_owned())
            }
            _ => None,
        };
        if let Some(fault) = fault {
            let found = format!("{what:?}: {fault}");
            let expected = match kind {
                "server" => "a domain such as example.org",
                "resource" => "a resource such as phone",
                "shared_group" => "the name of a shared group",
                "user" => "the name of a user, or name@host",
                _ => "a map of user patterns to server patterns",
            };
            self.report(&node.at, option, &found, expected, None);
            return None;
        }
        Some((scoped_text(&what, host.as_deref()), None))
    }

    /// A network, told how it was meant if it is none.
    pub(super) fn network(&mut self, node: &Node, written: &str, option: &str) -> Option<IpNet> {
        let net = network(written);
        if net.is_none() {
            let expected = "an address or a network such as 192.0.2.0/24 or 2001:db8::/32";
            let help = meant(written).map(|net| format!("did you mean {net}?"));
            self.report(&node.at, option, &node.kind(), expected, help);
        }
        net
    }
}

fn reference(node: &Node) -> Condition {
    let value = node.text().unwrap_or_default().to_owned();
    Condition { at: node.at.clone(), kind: "acl".to_owned(), value, net: None }
}

/// The name of a rule or an ACL here: with the host's own behind it if it is for that host alone.
pub(super) fn scoped_name(written: &str, host: Option<&Host>) -> String {
    let written = match host {
        Some(host) => format!("{written}-{}", host.domain),
        None => written.to_owned(),
    };
    let fit = |c: char| if c.is_alphanumeric() || matches!(c, '_' | '-' | '.') { c } else { '_' };
    written.chars().map(fit).collect()
}

/// `"what@host"`, or a table where that would mean something else.
fn scoped_text(what: &str, host: Option<&str>) -> String {
    match host {
        Some(host) if what.contains('@') || host.contains('@') => {
            format!("{{ {} = {} }}", text(what), text(host))
        }
        Some(host) => text(&format!("{what}@{host}")),
        // A text with an @ would be taken apart.
        None => text(what),
    }
}

/// As ejabberd reads it: bits beyond the prefix do not count.
pub(super) fn network(written: &str) -> Option<IpNet> {
    let (address, prefix) = written.trim().split_once('/').unwrap_or((written.trim(), ""));
    let address = address.parse::<std::net::IpAddr>().ok()?;
    let prefix = match prefix {
        "" if written.contains('/') => return None,
        "" => {
            if address.is_ipv4() {
                32
            } else {
                128
            }
        }
        prefix => prefix.parse().ok()?,
    };
    IpNet::new(address, prefix).map(IpNet::unmapped)
}

/// An IPv6 network that lacks its `::`.
fn meant(written: &str) -> Option<IpNet> {
    let (address, prefix) = written.trim().split_once('/')?;
    (address.contains(':') && !address.contains("::"))
        .then(|| network(&format!("{}::/{prefix}", address.trim_end_matches(':'))))
        .flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_as_ejabberd_reads_them() {
        for (written, net) in [
            ("127.0.0.1/8", Some("127.0.0.0/8")),
            ("192.0.2.7", Some("192.0.2.7/32")),
            ("2001:41d0:305:2100::9789/56", Some("2001:41d0:305:2100::/56")),
            ("2001:41d0:305:2100:9789/56", None),
            ("10.0.0.0/33", None),
            ("10.0.0.0/", None),
            ("example.org", None),
        ] {
            assert_eq!(network(written).map(|net| net.to_string()).as_deref(), net, "{written}");
        }
        let near = meant("2001:41d0:305:2100:9789/56").map(|net| net.to_string());
        assert_eq!(near.as_deref(), Some("2001:41d0:305:2100::/56"));
        assert_eq!(meant("10.0.0.0/33"), None);
    }
}
