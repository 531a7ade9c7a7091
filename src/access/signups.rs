//! How often one source registers: a bucket of new accounts, a wider one of attempts (so that
//! nobody asks the server which names are taken), and the time since the last success.

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use parking_lot::Mutex;

use super::rate::{Bucket, Rate, Source};
use crate::config::Registration;
use crate::jid::BareJid;
use crate::time::Now;

/// Sources remembered, over all hosts.
const SOURCES_MAX: usize = 8_192;
/// Attempts that one source has for each account it may make.
const ATTEMPTS_EACH: u32 = 10;

/// Who registers, as far as limits tell people apart.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Who {
    Address(Source),
    /// A session that makes accounts for others.
    Jid(BareJid),
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Who::Address(source) => source.fmt(f),
            Who::Jid(jid) => jid.fmt(f),
        }
    }
}

/// Which bound is reached, and how long until it lets go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooOften {
    pub wait: Duration,
    /// The setting that says so.
    pub setting: &'static str,
}

/// Everybody who has registered lately.
#[derive(Debug, Default)]
pub struct Signups {
    sources: Mutex<HashMap<(String, Who), Tally>>,
}

#[derive(Clone, Copy, Debug)]
struct Tally {
    accounts: Bucket,
    attempts: Bucket,
    success: Option<Now>,
    seen: Now,
}

/// A source as operators see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    pub host: String,
    pub who: Who,
    /// When it last made an account, or tried to.
    pub last: Now,
    /// Accounts it may still make now.
    pub left: u32,
    /// How long it has to wait, if it has to.
    pub wait: Option<Duration>,
}

/// An attempt under way. What it has taken is given back unless it succeeds.
#[must_use]
pub struct Attempt<'a> {
    signups: &'a Signups,
    taken: Vec<((String, Who), Option<Now>)>,
    rate: Rate,
}

fn rates(settings: &Registration) -> (Rate, Rate) {
    let accounts = Rate { burst: settings.per_address, period: settings.per_address_interval };
    (accounts, Rate { burst: accounts.burst.saturating_mul(ATTEMPTS_EACH), ..accounts })
}

impl Tally {
    fn new(now: Now) -> Tally {
        Tally { accounts: Bucket::FULL, attempts: Bucket::FULL, success: None, seen: now }
    }

    /// What is left of the time after a success.
    fn held(&self, settings: &Registration, now: Now) -> Option<Duration> {
        let since = now.since(self.success?);
        settings.timeout?.checked_sub(since).filter(|left| !left.is_zero())
    }

    fn try_take(&mut self, settings: &Registration, now: Now) -> Result<(), TooOften> {
        let (accounts, attempts) = rates(settings);
        self.seen = now;
        let per_address = |wait| TooOften { wait, setting: "per_address" };
        self.attempts.take(1, attempts, now).map_err(per_address)?;
        if let Some(wait) = self.held(settings, now) {
            return Err(TooOften { wait, setting: "timeout" });
        }
        self.accounts.take(1, accounts, now).map_err(per_address)?;
        self.success = Some(now);
        Ok(())
    }
}

impl Signups {
    /// Begins an attempt of all of `who`, who are one person seen from several sides.
    ///
    /// # Errors
    /// If one of them has to wait; then nobody has taken anything but an attempt.
    pub fn begin(
        &self,
        host: &str,
        settings: &Registration,
        who: impl IntoIterator<Item = Who>,
        now: Now,
    ) -> Result<Attempt<'_>, TooOften> {
        let mut attempt = Attempt { signups: self, taken: Vec::new(), rate: rates(settings).0 };
        for who in who {
            let key = (host.to_owned(), who);
            let mut sources = self.sources.lock();
            make_room(&mut sources, &key);
            let source = sources.entry(key.clone()).or_insert_with(|| Tally::new(now));
            let before = source.success;
            let verdict = source.try_take(settings, now);
            drop(sources);
            // On refusal the attempt is dropped, and gives back what was taken before.
            verdict?;
            attempt.taken.push((key, before));
        }
        Ok(attempt)
    }

    /// Everybody remembered, the latest first.
    pub fn list<'s>(
        &self,
        settings: impl Fn(&str) -> Option<&'s Registration>,
        now: Now,
    ) -> Vec<Seen> {
        let sources = self.sources.lock();
        let mut seen: Vec<Seen> = sources
            .iter()
            .filter_map(|((host, who), source)| {
                let settings = settings(host)?;
                let rate = rates(settings).0;
                let mut next = source.accounts;
                let refill = next.take(1, rate, now).err();
                Some(Seen {
                    host: host.clone(),
                    who: who.clone(),
                    last: source.seen,
                    left: source.accounts.left(rate, now),
                    wait: source.held(settings, now).max(refill),
                })
            })
            .collect();
        drop(sources);
        seen.sort_by(|a, b| b.last.0.cmp(&a.last.0).then_with(|| a.host.cmp(&b.host)));
        seen
    }

    /// Forgets what was counted: of one host or all, of one address or all. Tells how many.
    pub fn reset(&self, host: Option<&str>, address: Option<IpAddr>) -> usize {
        let source = address.map(|address| Who::Address(Source::from(address)));
        let mut sources = self.sources.lock();
        let before = sources.len();
        sources.retain(|(at, who), _| {
            let meant = host.is_none_or(|host| host == at)
                && source.as_ref().is_none_or(|source| source == who);
            !meant
        });
        before - sources.len()
    }
}

/// Forgets the eighth that was heard of least lately, when no place is left.
fn make_room(sources: &mut HashMap<(String, Who), Tally>, key: &(String, Who)) {
    if sources.len() < SOURCES_MAX || sources.contains_key(key) {
        return;
    }
    let mut seen: Vec<i64> = sources.values().map(|source| source.seen.0).collect();
    let (_, limit, _) = seen.select_nth_unstable(SOURCES_MAX / 8);
    let limit = *limit;
    sources.retain(|_, source| source.seen.0 > limit);
    if sources.len() >= SOURCES_MAX {
        sources.clear();
    }
}

impl Attempt<'_> {
    /// There is one account more.
    pub fn succeeded(mut self) {
        self.taken.clear();
    }
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        let mut sources = self.signups.sources.lock();
        for (key, before) in &self.taken {
            if let Some(source) = sources.get_mut(key) {
                source.accounts.give_back(1, self.rate);
                source.success = *before;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    const NOON: Now = Now(1_800_000_000_000_000);

    fn settings(toml: &str) -> Registration {
        let text = format!("[hosts.\"h\".registration]\n{toml}");
        let config = crate::config::parse(&text, "/c.toml".as_ref()).unwrap().config;
        config.hosts[0].registration.clone()
    }

    fn from(address: &str) -> Who {
        Who::Address(Source::from(address.parse::<IpAddr>().unwrap()))
    }

    fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    #[test]
    fn accounts_are_counted_by_source_and_failures_are_not() {
        let signups = Signups::default();
        let settings = settings("per_address = 2\nper_address_interval = \"1h\"");
        let begin = |who: &str, now| signups.begin("h", &settings, [from(who)], now);
        for _ in 0..5 {
            drop(begin("192.0.2.1", NOON).unwrap());
        }
        begin("192.0.2.1", NOON).unwrap().succeeded();
        begin("192.0.2.1", NOON).unwrap().succeeded();
        let refused = begin("192.0.2.1", NOON).err().unwrap();
        assert_eq!(refused, TooOften { wait: secs(1800), setting: "per_address" });
        assert!(begin("192.0.2.2", NOON).is_ok());
        // One /56 is one source; another host counts for itself.
        begin("2001:db8::1", NOON).unwrap().succeeded();
        begin("2001:db8:0:ff::2", NOON).unwrap().succeeded();
        assert!(begin("2001:db8:0:1::3", NOON).is_err());
        assert!(signups.begin("other", &settings, [from("192.0.2.1")], NOON).is_ok());
        assert!(begin("192.0.2.1", NOON.plus(secs(1800))).is_ok());
    }

    #[test]
    fn names_cannot_be_asked_for_without_end() {
        let signups = Signups::default();
        let settings = settings("per_address = 1");
        let begin = |now| signups.begin("h", &settings, [from("192.0.2.1")], now).is_ok();
        assert_eq!((0..50).filter(|_| begin(NOON)).count(), 10);
    }

    #[test]
    fn after_a_success_the_source_waits_as_long_as_the_setting_says() {
        let signups = Signups::default();
        let timed = settings("timeout = \"10m\"");
        let by = |jid: &str, address: &str, now| {
            let who = [Who::Jid(BareJid::parse(jid).unwrap()), from(address)];
            signups.begin("h", &timed, who, now)
        };
        drop(by("a@h", "192.0.2.1", NOON).unwrap());
        by("a@h", "192.0.2.1", NOON).unwrap().succeeded();
        let refused = by("a@h", "192.0.2.9", NOON.plus(secs(60))).err().unwrap();
        assert_eq!(refused, TooOften { wait: secs(540), setting: "timeout" });
        assert!(by("b@h", "192.0.2.1", NOON.plus(secs(60))).is_err());
        // What was refused for one side is not counted against the other.
        assert!(by("b@h", "192.0.2.2", NOON.plus(secs(60))).is_ok());
        assert!(by("a@h", "192.0.2.1", NOON.plus(secs(600))).is_ok());
    }

    #[test]
    fn operators_see_who_waits_and_may_let_them_go_on() {
        let signups = Signups::default();
        let text = "[hosts.\"h\".registration]\nper_address = 1\n";
        let config: Config = crate::config::parse(text, "/c.toml".as_ref()).unwrap().config;
        let settings = &config.hosts[0].registration;
        signups.begin("h", settings, [from("192.0.2.1")], NOON).unwrap().succeeded();
        drop(signups.begin("h", settings, [from("192.0.2.2")], NOON.plus(secs(1))).unwrap());
        let list = |now| signups.list(|host| config.host(host).map(|host| &host.registration), now);
        let seen = list(NOON.plus(secs(1)));
        assert_eq!(seen.len(), 2);
        assert_eq!((seen[0].who.to_string(), seen[0].left), ("192.0.2.2".into(), 1));
        assert_eq!((seen[1].left, seen[1].wait), (0, Some(secs(3599))));
        assert_eq!(signups.reset(Some("other"), None), 0);
        assert_eq!(signups.reset(None, Some("192.0.2.1".parse().unwrap())), 1);
        assert!(signups.begin("h", settings, [from("192.0.2.1")], NOON).is_ok());
        assert_eq!(signups.reset(Some("h"), None), 2);
    }

    #[test]
    fn sources_are_bounded() {
        let signups = Signups::default();
        let settings = settings("");
        for n in 0..(SOURCES_MAX as u32 + 2_000) {
            let who = from(&std::net::Ipv4Addr::from(n).to_string());
            let at = NOON.plus(Duration::from_micros(n.into()));
            signups.begin("h", &settings, [who], at).unwrap().succeeded();
        }
        assert!(signups.sources.lock().len() <= SOURCES_MAX);
    }
}
