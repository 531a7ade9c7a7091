//! `api_permissions`: who may call which operation.

use super::draft::{self, Origin};
use super::render;
use super::source::joined;
use super::yaml::{Node, Value};
use super::{Import, Kind};

/// Where an operation may be called from, in ejabberd's words.
const DOORS: &[&str] = &[
    "ejabberd_ctl",
    "ejabberd_web_admin",
    "ejabberd_xmlrpc",
    "mod_adhoc_api",
    "mod_cron",
    "mod_http_api",
];

impl Import<'_> {
    pub(super) fn api_permissions(&mut self) {
        let source = self.source;
        let Some(entry) = source.global_option("api_permissions") else { return };
        for (key, group) in joined(&entry.value).entries() {
            let name = key.text().unwrap_or_default().to_owned();
            let option = format!("api_permissions.{name}");
            let group = joined(group);
            let mut doors = Vec::new();
            for door in group.get("from").iter().flat_map(|from| from.elements()) {
                match &door.value {
                    Value::Map(_) => {}
                    _ => doors.extend(self.word(door, &format!("{option}.from"), DOORS)),
                }
            }
            let (Some(who), Some(what)) = (group.get("who"), group.get("what")) else {
                let why = "without both `who` and `what` it grants nothing";
                self.note(&key.at, &option, Kind::Fault, why, None);
                continue;
            };
            let what: Vec<String> =
                what.elements().iter().filter_map(Node::text).map(str::to_owned).collect();
            if !doors.is_empty() && doors.iter().all(|door| door == "ejabberd_ctl") {
                let why = "the admin socket serves root, the server's own user and admin_group";
                self.note(&key.at, &option, Kind::Carried, why, None);
                continue;
            }
            let never = self.never(who);
            if never.is_none() && self.by_address_alone(who) {
                let names = what.join(", ");
                let everything = what.iter().any(|word| word == "*");
                let why = if everything {
                    "every operation, to whoever comes from these addresses, without a password: by a \
                     proxy there, the whole Internet. No operation is granted by address alone here"
                        .to_owned()
                } else {
                    format!(
                        "{names}, to whoever comes from these addresses, without a password. No \
                         operation is granted by address alone here"
                    )
                };
                let kind = if everything { Kind::Fault } else { Kind::Changed };
                let remedy = "make an API key for what calls them: `coucou api-key create`";
                self.note(&key.at, &option, kind, &why, Some(remedy));
                self.keep_permission(&name, key, &group);
                continue;
            }
            if let Some(why) = never {
                let why = format!("never true: {why}");
                let remedy = "say in several entries what should do alone";
                self.note(&key.at, &option, Kind::Fault, &why, Some(remedy));
                self.keep_permission(&name, key, &group);
                continue;
            }
            match doors.is_empty() || doors.iter().any(|door| door == "mod_http_api") {
                true => self.permission(&name, &option, key, who, &what),
                false => {
                    let why = "operators' commands in clients ask the access rule configure";
                    self.note(&key.at, &option, Kind::Left, why, None);
                    self.keep_permission(&name, key, &group);
                }
            }
        }
    }

    /// A grant as a permission of ours: who shows an account's password may call these.
    fn permission(&mut self, name: &str, option: &str, key: &Node, who: &Node, what: &[String]) {
        let before = self.problems.len();
        let Some(who) = self.permitted(who, option) else {
            if self.problems.len() == before {
                let why = "rights by OAuth, or in a form that is not known here";
                let remedy = "make an API key for what calls them: `coucou api-key create`";
                self.note(&key.at, option, Kind::Left, why, Some(remedy));
            }
            return;
        };
        let header = format!("api.permissions.{}", draft::name(name));
        let origin = Origin { at: key.at.clone(), option: option.to_owned() };
        let what: Vec<String> = what.iter().map(|word| draft::text(word)).collect();
        self.draft.set(&header, "who", who, Some(origin));
        self.draft.set(&header, "what", format!("[{}]", what.join(", ")), None);
        self.carried(&key.at, option, &format!("[{header}]"));
    }

    /// Who is meant, as a rule of ours; `None` if there is no saying it.
    fn permitted(&mut self, who: &Node, option: &str) -> Option<String> {
        let given = match &who.value {
            Value::List(list) if list.len() == 1 => list.first()?,
            _ => who,
        };
        let entries = given.entries();
        if let ([(key, access)], Value::Map(_)) = (entries, &given.value)
            && key.text() == Some("access")
        {
            return self.access_value(access, option, None);
        }
        let asks_more = |node: &Node| {
            node.entries()
                .iter()
                .any(|(key, _)| matches!(key.text(), Some("access" | "oauth") | None))
        };
        if asks_more(given) || given.elements().iter().any(asks_more) {
            return None;
        }
        // What stands here is ORed: an entry each.
        let mut allowed = Vec::new();
        for condition in self.conditions(given, option, true) {
            allowed.push(match condition.kind.as_str() {
                "acl" => format!(
                    "{{ allow = {} }}",
                    draft::text(&self.acl_name(None, &condition.value)?)
                ),
                kind => format!("{{ allow = {{ {} = {} }} }}", draft::name(kind), condition.value),
            });
        }
        (!allowed.is_empty()).then(|| draft::rows(&allowed))
    }

    /// Whether somebody gets in of whom nothing is asked but the address, or nothing at all.
    fn by_address_alone(&self, who: &Node) -> bool {
        match &who.value {
            // Its entries are ORed; those of what is allowed by an access rule are not.
            Value::Map(entries) => entries.iter().any(|(key, value)| match key.text() {
                Some("ip") => true,
                Some("acl") => value.elements().iter().any(|name| self.is_address(name)),
                Some("access") => joined(value)
                    .get("allow")
                    .is_some_and(|allow| allow.elements().iter().all(|name| self.is_address(name))),
                _ => false,
            }),
            Value::List(list) => list.iter().any(|who| self.by_address_alone(who)),
            Value::Scalar { .. } => self.is_address(who),
        }
    }

    /// Whether a condition asks the address alone, or nothing.
    fn is_address(&self, condition: &Node) -> bool {
        match condition.text() {
            Some("all") => true,
            Some(name) => self.networks_of(None, name).is_some(),
            None => condition.entries().iter().all(|(key, value)| match key.text() {
                Some("acl") => value.elements().iter().all(|name| self.is_address(name)),
                key => key == Some("ip"),
            }),
        }
    }

    fn keep_permission(&mut self, name: &str, key: &Node, group: &Node) {
        let text =
            format!("{} left: not granted here, see the list of the import", self.show(&key.at));
        let lines = render::lines(name, group);
        self.draft.later("access", &text, &lines);
    }

    /// Why a grant's rule can never hold.
    fn never(&self, who: &Node) -> Option<String> {
        let access = who.get("access")?;
        let rule = match access.text() {
            Some(name) => {
                let rules = joined(&self.source.global_option("access_rules")?.value);
                rules.get(name)?.clone()
            }
            None => access.clone(),
        };
        let allow = joined(&rule);
        let allow = allow.get("allow")?;
        let names: Vec<&str> = allow
            .elements()
            .iter()
            .filter_map(|element| {
                element.get("acl").and_then(Node::text).or_else(|| element.text())
            })
            .collect();
        self.exclusive(&names, None)
    }
}
