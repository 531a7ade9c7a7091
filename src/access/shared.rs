//! One source, many accounts: most likely a proxy that hides whom it serves. Then limits and rules by
//! address hit all of them together, and whoever runs the server should know.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use super::rate::Source;
use crate::time::Now;

/// So many different accounts from one source within [`WINDOW`] are worth a word.
pub const MANY: usize = 25;
const WINDOW: Duration = Duration::from_secs(86_400);
/// Sources watched at a time; further ones are not, until older ones are forgotten.
const SOURCES_MAX: usize = 2048;

/// Which accounts came from where, in bounded memory: about half a megabyte at most.
#[derive(Debug, Default)]
pub struct Shared {
    seen: HashMap<Source, Seen>,
    hasher: RandomState,
}

#[derive(Debug)]
struct Seen {
    since: Now,
    /// Hashes of the accounts; [`MANY`] at most.
    accounts: Vec<u64>,
}

impl Shared {
    /// Notes that `account` came from `source`. True once a window, when they are many.
    pub fn note(&mut self, source: Source, account: &str, now: Now) -> bool {
        let hash = self.hasher.hash_one(account);
        if self.seen.get(&source).is_some_and(|seen| now.since(seen.since) > WINDOW) {
            self.seen.remove(&source);
        }
        if self.seen.len() >= SOURCES_MAX && !self.seen.contains_key(&source) {
            self.seen.retain(|_, seen| now.since(seen.since) <= WINDOW);
            if self.seen.len() >= SOURCES_MAX {
                return false;
            }
        }
        let seen = self.seen.entry(source).or_insert(Seen { since: now, accounts: Vec::new() });
        if seen.accounts.len() >= MANY || seen.accounts.contains(&hash) {
            return false;
        }
        seen.accounts.push(hash);
        seen.accounts.len() == MANY
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    #[test]
    fn many_accounts_of_one_source_are_told_once_a_window() {
        let mut shared = Shared::default();
        let source = Source::from("192.0.2.1".parse::<IpAddr>().unwrap());
        let other = Source::from("192.0.2.2".parse::<IpAddr>().unwrap());
        let start = Now::from_secs(1_000_000);
        let told = |shared: &mut Shared, source, accounts: usize, now| {
            (0..accounts).filter(|at| shared.note(source, &format!("u{at}@a"), now)).count()
        };
        assert_eq!(told(&mut shared, source, MANY - 1, start), 0);
        // The same accounts again are no further ones.
        assert_eq!(told(&mut shared, source, MANY - 1, start), 0);
        assert_eq!(told(&mut shared, other, 3, start), 0);
        assert_eq!(told(&mut shared, source, 100, start), 1);
        assert_eq!(told(&mut shared, source, 100, start), 0);
        let next_day = start.plus(WINDOW).plus(Duration::from_secs(1));
        assert_eq!(told(&mut shared, source, 100, next_day), 1);
    }

    #[test]
    fn sources_are_bounded() {
        let mut shared = Shared::default();
        let start = Now::from_secs(1_000_000);
        for number in 0..SOURCES_MAX as u32 + 10 {
            shared.note(Source::from(IpAddr::from(number.to_be_bytes())), "a@b", start);
        }
        assert_eq!(shared.seen.len(), SOURCES_MAX);
        let later = start.plus(WINDOW).plus(Duration::from_secs(1));
        shared.note(Source::from(IpAddr::from([10, 0, 0, 1])), "a@b", later);
        assert_eq!(shared.seen.len(), 1);
    }
}
