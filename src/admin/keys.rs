//! What an API key, or an account that shows its password, may do.

use std::net::IpAddr;

use super::op::{Class, Entry, Refusal};
use super::{Context, Grants, Role, Scope, ejabberd};
use crate::config::Config;
use crate::config::grant::{Asked, Grant};
use crate::config::value::IpNet;
use crate::config::web::{Door, Permission};
use crate::jid::BareJid;
use crate::store::api_keys::ApiKeyRow;

/// A key, read.
pub(super) struct Key {
    pub(super) role: Role,
    pub(super) scope: Scope,
    networks: Vec<IpNet>,
}

impl Key {
    /// Whether it may be used from `address`.
    pub(super) fn may_come_from(&self, address: IpAddr) -> bool {
        self.networks.is_empty() || self.networks.iter().any(|net| net.contains(address))
    }
}

/// Reads what is stored of a key.
///
/// # Errors
/// What cannot be read; such a key opens nothing.
pub(super) fn actor(row: &ApiKeyRow) -> Result<Key, String> {
    let role = role(&row.role).ok_or_else(|| format!("{:?} is no role", row.role))?;
    let grant = Grant::parse(row.operations.iter().map(String::as_str))?;
    let networks = row.networks.iter().map(|net| net.parse()).collect::<Result<_, _>>()?;
    let scope = Scope {
        grants: vec![Grants { grant, hosts: row.hosts.clone() }],
        of: format!("the API key {:?}", row.name),
    };
    Ok(Key { role, scope, networks })
}

/// The role of that name, as far as keys can have it: what could lock everybody out is done on the
/// machine itself.
pub(super) fn role(name: &str) -> Option<Role> {
    match name {
        "viewer" => Some(Role::Viewer),
        "operator" => Some(Role::Operator),
        _ => None,
    }
}

/// What the settings let the account `jid` do from `address`.
pub(super) fn scope_of(cx: &Context, jid: &BareJid, address: IpAddr) -> Scope {
    let router = cx.router();
    let fits = |permission: &&Permission| {
        (permission.from.is_empty() || permission.from.contains(&Door::Http))
            && router.decide(&permission.who, jid.domain(), Some(jid), Some(address)).allowed
    };
    let grants = cx.config().api.permissions.iter().filter(fits).map(|permission| Grants {
        grant: permission.what.clone(),
        hosts: permission.hosts.clone(),
    });
    Scope { grants: grants.collect(), of: jid.to_string() }
}

/// Makes sure that nobody makes a key that may more than he himself.
///
/// # Errors
/// Which operation would be too much.
pub(super) fn within(cx: &Context, role: Role, wanted: &Grants) -> Result<(), Refusal> {
    let Some(actor) = cx.actor() else { return Ok(()) };
    if role > actor.role {
        return Err(Refusal::denied("a key may not do more than whoever makes it"));
    }
    let Some(scope) = &actor.scope else { return Ok(()) };
    for entry in Entry::all() {
        let aliases = ejabberd::names_of(entry.operation);
        let asked = asked(entry, entry.class.name(), &aliases);
        let covered = |own: &&Grants| {
            own.grant.allows(&asked)
                && (own.hosts.is_empty()
                    || !wanted.hosts.is_empty()
                        && wanted.hosts.iter().all(|host| own.hosts.contains(host)))
        };
        if wanted.grant.allows(&asked) && !scope.grants.iter().any(|own| covered(&own)) {
            let text = format!("{} has no grant of {} to give on", scope.of, entry.name);
            return Err(Refusal::denied(text));
        }
    }
    Ok(())
}

/// The words of `grant` that no operation fits: names misspelt, or of another version.
pub(super) fn idle_words(grant: &Grant) -> Vec<String> {
    let fits_none = |word: &String| {
        let alone = Grant::parse([word.trim_start_matches('!')]).unwrap_or_default();
        !Entry::all().any(|entry| {
            let fits = |class: Class| alone.allows(&asked(entry, class.name(), &[]));
            [Class::Safe, Class::Reversible, Class::Destructive, Class::LockOut]
                .into_iter()
                .any(fits)
        })
    };
    grant.words().into_iter().filter(fits_none).collect()
}

/// Tells what stands in the permissions of `config` and means nothing.
pub fn warn_of_idle_words(config: &Config) {
    for permission in &config.api.permissions {
        for word in idle_words(&permission.what) {
            tracing::warn!(
                permission = permission.name,
                word,
                "there is no such operation; `coucou api --list` names them all"
            );
        }
    }
}

/// `entry` as grants see it.
pub(super) fn asked<'a>(entry: &Entry, class: &'a str, aliases: &'a [&'a str]) -> Asked<'a> {
    Asked { name: entry.name, operation: entry.operation, aliases, group: entry.group(), class }
}
