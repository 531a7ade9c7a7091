//! Which changes of the settings may end the operators' own access.

use std::collections::BTreeSet;

use crate::admin::op::{Class, Refusal};
use crate::config::rules::{Condition, Rules, Test, is_fixed};
use crate::config::{Change, Config};

/// Settings and tables that operators come in by.
const DOORS: [&str; 7] =
    ["data_dir", "admin_socket", "admin_group", "view_group", "listen", "http", "api"];
/// The access rule that says who may configure.
const CONFIGURE: &str = "configure";

/// How far these changes reach.
pub(super) fn class(changes: &[Change], old: Option<&Config>, new: &Config) -> Class {
    let mut acls = BTreeSet::new();
    for config in old.into_iter().chain([new]) {
        behind_configure(&config.rules, &mut acls);
    }
    let locks_out = |change: &Change| {
        let path = change.path.replace('"', "");
        let (top, rest) = path.split_once('.').unwrap_or((&path, ""));
        match top {
            "acl" => acls.contains(rest),
            "access" => rest == CONFIGURE,
            // A certificate, or a host that is served no more.
            "hosts" => {
                (rest.contains(".tls.") && change.old.is_some())
                    || (change.new.is_none() && !is_served(rest, new))
            }
            top => DOORS.contains(&top),
        }
    };
    if changes.iter().any(locks_out) { Class::LockOut } else { Class::Reversible }
}

/// Whether the host of `DOMAIN.setting` is one of ours.
fn is_served(rest: &str, config: &Config) -> bool {
    config.hosts.iter().any(|host| {
        rest.strip_prefix(host.domain.as_str()).is_some_and(|rest| rest.starts_with('.'))
    })
}

/// Refuses settings by which nobody may configure any more though somebody could before.
pub(super) fn somebody_is_left(old: Option<&Config>, new: &Config) -> Result<(), Refusal> {
    if old.is_some_and(|old| may_be_anybody(&old.rules)) && !may_be_anybody(&new.rules) {
        return Err(Refusal::denied(
            "nobody would be left whom the access rule \"configure\" lets configure; nothing has changed",
        )
        .help("name somebody else first, as in `coucou acl add admin user NAME@DOMAIN`; --force does it anyway"));
    }
    Ok(())
}

/// The ACLs that decide on who may configure, with those that they refer to.
fn behind_configure(rules: &Rules, found: &mut BTreeSet<String>) {
    let entries = rules.access.get(CONFIGURE).into_iter().flat_map(|rule| &rule.entries);
    let mut waiting: Vec<&Condition> = entries.flat_map(|entry| &entry.conditions).collect();
    while let Some(condition) = waiting.pop() {
        if let Test::Acl(name) = &condition.test
            && found.insert(name.clone())
        {
            let acl = rules.acls.get(name).into_iter();
            waiting.extend(acl.flat_map(|acl| &acl.conditions));
        }
    }
}

/// Whether there can be somebody who may configure.
fn may_be_anybody(rules: &Rules) -> bool {
    let rule = rules.access.get(CONFIGURE);
    rule.is_some_and(|rule| {
        rule.entries.iter().any(|entry| {
            entry.allow && entry.conditions.iter().all(|condition| may_hold(rules, condition, 0))
        })
    })
}

fn may_hold(rules: &Rules, condition: &Condition, depth: usize) -> bool {
    match &condition.test {
        Test::Acl(name) if is_fixed(name) => name == "all",
        // References that go round are refused when the file is read.
        Test::Acl(name) if depth < 32 => rules.acls.get(name).is_some_and(|acl| {
            acl.conditions.iter().any(|condition| may_hold(rules, condition, depth + 1))
        }),
        Test::Acl(_) => false,
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::{diff, parse};

    fn config(text: &str) -> Config {
        let text = format!("{text}\n[hosts.\"a.org\"]\n");
        parse(&text, Path::new("/etc/coucou/coucou.toml")).unwrap().config
    }

    #[test]
    fn doors_certificates_and_admins_are_of_the_highest_class() {
        let plain = config("");
        for (text, class) in [
            ("[log]\nlevel = \"debug\"\n", Class::Reversible),
            ("[listen]\nc2s = [\"[::]:5333\"]\n", Class::LockOut),
            ("admin_group = \"ops\"\n", Class::LockOut),
            ("[acl]\nadmin = { user = [\"a@a.org\"] }\n", Class::LockOut),
            ("[acl]\nfriends = { user = [\"a@a.org\"] }\n", Class::Reversible),
            (
                "[acl]\nfriends = { user = [\"a@a.org\"] }\nadmin = { acl = [\"friends\"] }\n",
                Class::LockOut,
            ),
            ("[access]\nconfigure = [{ allow = \"all\" }]\n", Class::LockOut),
            ("[hosts.\"b.org\"]\n", Class::Reversible),
        ] {
            let new = config(text);
            let changes = diff(&plain, &new);
            assert_eq!(super::class(&changes, Some(&plain), &new), class, "{text}");
        }
        let two = config("[hosts.\"b.org\"]\n");
        let changes = diff(&two, &plain);
        assert_eq!(super::class(&changes, Some(&two), &plain), Class::LockOut);
    }

    #[test]
    fn the_last_admin_stays() {
        let one = config("[acl]\nadmin = { user = [\"a@a.org\"] }\n");
        let none = config("");
        let other = config(
            "[acl]\nboss = { user = [\"b@a.org\"] }\n[access]\nconfigure = [{ allow = \"boss\" }]\n",
        );
        let never = config("[access]\nconfigure = [{ allow = [\"admin\", \"none\"] }]\n");
        assert!(somebody_is_left(Some(&one), &none).is_err());
        assert!(somebody_is_left(Some(&one), &never).is_err());
        assert!(somebody_is_left(Some(&one), &other).is_ok());
        assert!(somebody_is_left(Some(&none), &none).is_ok());
        assert!(somebody_is_left(None, &none).is_ok());
    }
}
