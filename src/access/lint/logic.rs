//! What follows from what, among conditions. Everything here errs on the side of "may hold": a doubt
//! is told only where it is certain.

use crate::config::rules::{Condition, Rules, Test};

/// Conditions of an ACL that are looked at; longer ones are not judged.
const ALTERNATIVES_MAX: usize = 500;

/// One way for a condition to hold.
#[derive(Clone, Copy, Debug)]
pub(super) enum Atom<'r> {
    /// Whoever it is.
    Any,
    Is(&'r Test),
}

/// All ways for a condition to hold: ACLs dissolved into their conditions. Empty: it never does.
pub(super) fn alternatives<'r>(rules: &'r Rules, condition: &'r Condition) -> Vec<Atom<'r>> {
    let mut found = Vec::new();
    dissolve(rules, condition, &mut found, 0);
    if found.len() >= ALTERNATIVES_MAX { vec![Atom::Any] } else { found }
}

fn dissolve<'r>(
    rules: &'r Rules,
    condition: &'r Condition,
    found: &mut Vec<Atom<'r>>,
    depth: usize,
) {
    // The config bounds how deep ACLs go; the number of ways is bounded here.
    if found.len() >= ALTERNATIVES_MAX || depth > 16 {
        return;
    }
    match &condition.test {
        Test::Acl(name) if name == "all" => found.push(Atom::Any),
        Test::Acl(name) if name == "none" => {}
        Test::Acl(name) => {
            for inner in rules.acls.get(name).into_iter().flat_map(|acl| &acl.conditions) {
                dissolve(rules, inner, found, depth + 1);
            }
        }
        test => found.push(Atom::Is(test)),
    }
}

/// Whether no way of the one goes with any way of the other.
pub(super) fn exclusive(one: &[Atom<'_>], other: &[Atom<'_>]) -> bool {
    !one.is_empty()
        && !other.is_empty()
        && one.iter().all(|a| other.iter().all(|b| excludes(a, b) || excludes(b, a)))
}

fn excludes(a: &Atom<'_>, b: &Atom<'_>) -> bool {
    let (Atom::Is(a), Atom::Is(b)) = (a, b) else { return false };
    if let (Some(a), Some(b)) = (host_of(a), host_of(b))
        && a != b
    {
        return true;
    }
    match (a, b) {
        (Test::Ip(a), Test::Ip(b)) => !a.overlaps(b),
        (Test::User { local: a, .. }, Test::User { local: b, .. }) => a != b,
        (Test::User { local, .. }, Test::UserPattern { pattern, .. }) => !pattern.matches(local),
        (Test::User { local, .. }, Test::NodePattern { user, .. }) => !user.matches(local),
        (Test::Resource(a), Test::Resource(b)) => a != b,
        (Test::Resource(a), Test::ResourcePattern(pattern)) => !pattern.matches(a),
        (a, Test::ServerPattern(pattern)) => host_of(a).is_some_and(|host| !pattern.matches(host)),
        (a, Test::NodePattern { server, .. }) => {
            host_of(a).is_some_and(|host| !server.matches(host))
        }
        _ => false,
    }
}

/// The one host whose users a test can hold for. A shared group may have members of other hosts.
fn host_of(test: &Test) -> Option<&str> {
    match test {
        Test::User { host, .. } | Test::UserPattern { host, .. } => host.as_deref(),
        Test::Server(host) => Some(host),
        _ => None,
    }
}

/// Whether `wide` holds whenever `own` does.
pub(super) fn implies(own: &[Atom<'_>], wide: &[Atom<'_>], rules: &Rules) -> bool {
    !own.is_empty() && own.iter().all(|a| wide.iter().any(|b| follows(a, b, rules)))
}

/// Whether `b` holds whenever `a` does.
fn follows(a: &Atom<'_>, b: &Atom<'_>, rules: &Rules) -> bool {
    let (a, b) = match (a, b) {
        (_, Atom::Any) => return true,
        (Atom::Any, _) => return false,
        (Atom::Is(a), Atom::Is(b)) => (a, b),
    };
    if shown(a) == shown(b) {
        return true;
    }
    // `a` names users of `b`'s host, or of ours where `b` names none.
    let within = |host: &Option<String>| match (host, a) {
        (Some(host), a) => host_of(a) == Some(host),
        (None, Test::User { host: None, .. } | Test::UserPattern { host: None, .. }) => true,
        (None, a) => host_of(a).is_some_and(|host| rules.is_ours(host)),
    };
    match (a, b) {
        (Test::Ip(a), Test::Ip(b)) => b.covers(a),
        (Test::User { local: a, .. }, Test::User { local: b, host }) => a == b && within(host),
        (Test::User { local, .. }, Test::UserPattern { pattern, host }) => {
            pattern.matches(local) && within(host)
        }
        (a, Test::UserPattern { pattern, host }) => {
            pattern.is_anything() && within(host) && asks_user(a)
        }
        (a, Test::Server(host)) => host_of(a) == Some(host),
        (a, Test::ServerPattern(pattern)) => host_of(a).is_some_and(|host| pattern.matches(host)),
        (Test::Resource(a), Test::ResourcePattern(pattern)) => pattern.matches(a),
        _ => false,
    }
}

fn asks_user(test: &Test) -> bool {
    !matches!(test, Test::Ip(_) | Test::Acl(_))
}

fn shown(test: &Test) -> String {
    Condition { test: test.clone(), line: None }.to_string()
}
