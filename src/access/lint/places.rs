//! What is known where a setting asks its rule.

use std::fmt;

use super::logic::Atom;
use crate::config::rules::Test;

/// A setting that takes a rule, or several of a kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// The end of its path, or all of it.
    path: &'static str,
    user: bool,
    resource: bool,
    address: bool,
    /// It gives rights of administrators.
    pub administers: bool,
    /// It lets strangers make accounts.
    pub registers: bool,
}

/// Where everything is known.
const ANYWHERE: Place = Place {
    path: "",
    user: true,
    resource: true,
    address: true,
    administers: false,
    registers: false,
};

/// Settings that take a rule or an allowance; a longer path goes before a shorter one.
pub(super) const PLACES: &[Place] = &[
    Place { path: "admin.access", administers: true, ..ANYWHERE },
    Place { path: "admin.owners", administers: true, ..ANYWHERE },
    Place { path: "rooms.admin", administers: true, ..ANYWHERE },
    Place { path: "sign_in", resource: false, ..ANYWHERE },
    Place {
        path: "registration.ip_access",
        user: false,
        resource: false,
        registers: true,
        ..ANYWHERE
    },
    Place { path: "registration.access", resource: false, registers: true, ..ANYWHERE },
    Place { path: "registration.access_from", ..ANYWHERE },
    Place { path: "registration.access_remove", ..ANYWHERE },
    Place { path: "invites.create_accounts", ..ANYWHERE },
    Place { path: "invites.contacts", ..ANYWHERE },
    Place { path: "sessions_per_account_max", address: false, ..ANYWHERE },
    Place { path: "roster_items_max", address: false, resource: false, ..ANYWHERE },
    Place { path: "offline.messages_max", address: false, resource: false, ..ANYWHERE },
];

/// The place of a setting. Of one that is not in the list everything is taken to be known: a doubt
/// that is missing is better than one that is wrong.
pub(super) fn place_of(path: &str) -> Place {
    let is = |place: &&Place| {
        path.strip_suffix(place.path).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    };
    PLACES.iter().find(is).copied().unwrap_or(ANYWHERE)
}

impl Place {
    /// What a condition asks that is not known here.
    pub(super) fn misses(self, atom: &Atom<'_>) -> Option<&'static str> {
        let Atom::Is(test) = atom else { return None };
        match test {
            Test::Ip(_) if !self.address => Some("the address"),
            Test::Ip(_) | Test::Acl(_) => None,
            _ if !self.user => Some("the user"),
            Test::Resource(_) | Test::ResourcePattern(_) if !self.resource => Some("the resource"),
            _ => None,
        }
    }
}

/// As in "the user and the address".
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let known = [
            (self.user, "the user"),
            (self.user && self.resource, "the resource"),
            (self.address, "the address"),
        ];
        let known: Vec<&str> = known.iter().filter(|(is, _)| *is).map(|(_, what)| *what).collect();
        f.write_str(&known.join(" and "))
    }
}
