//! Token buckets by key, in bounded memory.

use std::collections::HashMap;
use std::fmt;
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use crate::time::Now;

/// The part of an address that one subscriber owns: limits count by it. All of an IPv4 address, as
/// IPv6 its first 56 bits, the least that providers hand out to a household.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    V4([u8; 4]),
    V6([u8; 7]),
}

impl From<IpAddr> for Source {
    /// IPv4 addresses on dual-stack sockets (`::ffff:192.0.2.1`) count as the IPv4 they are.
    fn from(address: IpAddr) -> Source {
        match address.to_canonical() {
            IpAddr::V4(v4) => Source::V4(v4.octets()),
            IpAddr::V6(v6) => {
                let [a, b, c, d, e, f, g, ..] = v6.octets();
                Source::V6([a, b, c, d, e, f, g])
            }
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::V4(octets) => IpAddr::from(*octets).fmt(f),
            Source::V6(prefix) => {
                let mut octets = [0; 16];
                octets[..prefix.len()].copy_from_slice(prefix);
                write!(f, "{}/56", Ipv6Addr::from(octets))
            }
        }
    }
}

/// How much is allowed: `burst` at once, then `burst` per `period` in the long run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    pub burst: u32,
    pub period: Duration,
}

impl Rate {
    /// Microseconds that one token takes to come back.
    fn interval(self) -> i64 {
        let micros = i64::try_from(self.period.as_micros()).unwrap_or(i64::MAX);
        (micros / i64::from(self.burst.max(1))).max(1)
    }
}

/// One token bucket, kept as the moment at which it will be full again (the "theoretical arrival
/// time" of ATM's generic cell rate algorithm): eight bytes and no timer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bucket {
    full_at: Now,
}

impl Bucket {
    /// A full bucket.
    pub const FULL: Bucket = Bucket { full_at: Now(i64::MIN) };

    /// Takes `tokens`, or none and says how long to wait for them. More than `burst` can never be
    /// had at once: such a request waits for a full bucket and then leaves it in debt, so that
    /// big things are slow rather than impossible.
    pub fn take(&mut self, tokens: u32, rate: Rate, now: Now) -> Result<(), Duration> {
        let interval = rate.interval();
        let needed = i64::from(tokens.min(rate.burst.max(1))).saturating_mul(interval);
        let capacity = i64::from(rate.burst.max(1)).saturating_mul(interval);
        // A clock that was set back must not lock anyone out for longer than a full refill.
        let full_at = self.full_at.0.clamp(now.0, now.0.saturating_add(capacity.saturating_mul(2)));
        let wait = (full_at - now.0).saturating_add(needed).saturating_sub(capacity);
        if wait > 0 {
            return Err(Duration::from_micros(wait.unsigned_abs()));
        }
        let cost = i64::from(tokens).saturating_mul(interval);
        self.full_at = Now(full_at.saturating_add(cost));
        Ok(())
    }

    /// Puts back what was taken and not used after all.
    pub fn give_back(&mut self, tokens: u32, rate: Rate) {
        let cost = i64::from(tokens).saturating_mul(rate.interval());
        self.full_at = Now(self.full_at.0.saturating_sub(cost));
    }

    /// The tokens that could be taken now.
    pub fn left(&self, rate: Rate, now: Now) -> u32 {
        let interval = rate.interval();
        let debt = self.full_at.0.saturating_sub(now.0).max(0);
        let missing = debt.saturating_add(interval - 1) / interval;
        rate.burst.saturating_sub(u32::try_from(missing).unwrap_or(u32::MAX))
    }
}

/// A bucket per key, for at most `keys_max` keys.
///
/// Keys live in two generations. When the young one has half of `keys_max` keys, it becomes the
/// old one, and what was old is forgotten; a key that is used moves to the young one. So
/// forgetting costs nothing, and to make the limiter forget itself an attacker has to come from
/// `keys_max / 2` other sources first.
#[derive(Debug)]
pub struct Buckets<K> {
    rate: Rate,
    keys_max: usize,
    young: HashMap<K, Bucket>,
    old: HashMap<K, Bucket>,
}

impl<K: Eq + Hash> Buckets<K> {
    pub fn new(rate: Rate, keys_max: usize) -> Buckets<K> {
        Buckets { rate, keys_max: keys_max.max(2), young: HashMap::new(), old: HashMap::new() }
    }

    /// Takes `tokens` from the bucket of `key`; see [`Bucket::take`].
    pub fn take(&mut self, key: K, tokens: u32, now: Now) -> Result<(), Duration> {
        let rate = self.rate;
        if let Some(bucket) = self.young.get_mut(&key) {
            return bucket.take(tokens, rate, now);
        }
        let mut bucket = self.old.remove(&key).unwrap_or(Bucket::FULL);
        let verdict = bucket.take(tokens, rate, now);
        if self.young.len() >= self.keys_max / 2 {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(key, bucket);
        verdict
    }

    /// Whether [`Buckets::take`] would succeed; takes nothing and remembers nothing.
    pub fn has(&self, key: &K, tokens: u32, now: Now) -> bool {
        let bucket = self.young.get(key).or_else(|| self.old.get(key));
        bucket.is_none_or(|bucket| bucket.clone().take(tokens, self.rate, now).is_ok())
    }

    /// Another rate from now on; what was taken stays taken.
    pub fn set_rate(&mut self, rate: Rate) {
        self.rate = rate;
    }

    /// Keys remembered now.
    pub fn len(&self) -> usize {
        self.young.len() + self.old.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Rate = Rate { burst: 5, period: Duration::from_secs(10) };

    fn at(millis: i64) -> Now {
        Now(1_800_000_000_000_000 + millis * 1_000)
    }

    #[test]
    fn a_burst_passes_then_tokens_come_back_one_by_one() {
        let mut bucket = Bucket::FULL;
        for _ in 0..5 {
            assert_eq!(bucket.take(1, RATE, at(0)), Ok(()));
        }
        assert_eq!(bucket.take(1, RATE, at(0)), Err(Duration::from_secs(2)));
        assert_eq!(bucket.take(1, RATE, at(1_999)), Err(Duration::from_millis(1)));
        assert_eq!(bucket.take(1, RATE, at(2_000)), Ok(()));
        assert!(bucket.take(1, RATE, at(2_000)).is_err());
        // After a long silence there is one burst, not more.
        for _ in 0..5 {
            assert_eq!(bucket.take(1, RATE, at(1_000_000)), Ok(()));
        }
        assert!(bucket.take(1, RATE, at(1_000_000)).is_err());
    }

    #[test]
    fn more_than_the_burst_waits_for_a_full_bucket_and_leaves_debt() {
        let mut bucket = Bucket::FULL;
        assert_eq!(bucket.take(8, RATE, at(0)), Ok(()));
        assert_eq!(bucket.take(1, RATE, at(0)), Err(Duration::from_secs(8)));
        assert_eq!(bucket.take(8, RATE, at(0)), Err(Duration::from_secs(16)));
        assert_eq!(bucket.take(8, RATE, at(16_000)), Ok(()));
    }

    #[test]
    fn a_clock_that_was_set_back_locks_out_for_a_refill_at_most() {
        let mut bucket = Bucket::FULL;
        assert_eq!(bucket.take(5, RATE, at(86_400_000)), Ok(()));
        let wait = bucket.take(1, RATE, at(0)).unwrap_err();
        assert!(wait <= 2 * RATE.period, "{wait:?}");
    }

    #[test]
    fn what_is_given_back_can_be_taken_again() {
        let mut bucket = Bucket::FULL;
        assert_eq!(bucket.left(RATE, at(0)), 5);
        assert_eq!(bucket.take(4, RATE, at(0)), Ok(()));
        assert_eq!(bucket.left(RATE, at(0)), 1);
        bucket.give_back(2, RATE);
        assert_eq!(bucket.left(RATE, at(0)), 3);
        assert_eq!(bucket.left(RATE, at(4_000)), 5);
        assert_eq!(bucket.take(3, RATE, at(0)), Ok(()));
        assert!(bucket.take(1, RATE, at(0)).is_err());
    }

    #[test]
    fn extreme_rates_do_not_overflow() {
        let slow = Rate { burst: u32::MAX, period: Duration::MAX };
        assert_eq!({ Bucket::FULL }.take(u32::MAX, slow, at(0)), Ok(()));
        let none = Rate { burst: 0, period: Duration::ZERO };
        assert_eq!({ Bucket::FULL }.take(1, none, Now(i64::MAX)), Ok(()));
    }

    #[test]
    fn keys_are_bounded_and_active_ones_are_remembered() {
        let mut buckets = Buckets::new(RATE, 100);
        for _ in 0..5 {
            assert_eq!(buckets.take(0, 1, at(0)), Ok(()));
        }
        for key in 1..10_000 {
            assert_eq!(buckets.take(key, 1, at(0)), Ok(()));
            // The offender keeps trying and so is never forgotten.
            assert!(buckets.take(0, 1, at(0)).is_err());
            assert!(buckets.len() <= 100);
        }
    }

    #[test]
    fn sources_are_whole_v4_addresses_and_v6_sites() {
        let source = |text: &str| Source::from(text.parse::<IpAddr>().unwrap());
        assert_eq!(source("::ffff:192.0.2.7"), source("192.0.2.7"));
        assert_ne!(source("192.0.2.7"), source("192.0.2.8"));
        assert_eq!(source("2001:db8:1:2ff::1"), source("2001:db8:1:200::9"));
        assert_ne!(source("2001:db8:1:200::1"), source("2001:db8:1:300::1"));
        assert_eq!(source("2001:db8:1:2ff::1").to_string(), "2001:db8:1:200::/56");
        assert_eq!(source("192.0.2.7").to_string(), "192.0.2.7");
    }
}
