//! Failed sign-ins cost tokens, by address and by account. Who has none left waits, right password
//! or wrong: what an attacker learns is that he is noticed.

use std::net::IpAddr;
use std::time::Duration;

use parking_lot::Mutex;

use super::Streams;
use crate::access::rate::{Buckets, Rate, Source};
use crate::config::Limits;
use crate::jid::BareJid;
use crate::time::Now;

/// Addresses and accounts remembered, each.
const KEYS_MAX: usize = 8_192;

/// An account may fail this many times as often as one address: so that its owner is not locked
/// out by one stranger's guesses.
const ACCOUNT_SHARE: u32 = 5;

/// The buckets of failed sign-ins.
pub(super) struct Throttle {
    sources: Mutex<Buckets<Source>>,
    accounts: Mutex<Buckets<BareJid>>,
}

impl Throttle {
    pub(super) fn new(limits: &Limits) -> Throttle {
        let rate = Rate { burst: limits.auth_failures_per_minute, period: Duration::from_secs(60) };
        let account = Rate { burst: rate.burst.saturating_mul(ACCOUNT_SHARE), ..rate };
        Throttle {
            sources: Mutex::new(Buckets::new(rate, KEYS_MAX)),
            accounts: Mutex::new(Buckets::new(account, KEYS_MAX)),
        }
    }
}

impl Streams {
    /// May somebody at this address try this account now?
    pub(super) fn may_try(&self, address: IpAddr, account: &BareJid) -> bool {
        let now = Now::read();
        let trusted = self.router.config.load().limits.trusts(address);
        let source = trusted || self.throttle.sources.lock().has(&Source::from(address), 1, now);
        source && self.throttle.accounts.lock().has(account, 1, now)
    }

    /// Somebody at this address failed to prove that he is `account`.
    pub(super) fn note_failure(&self, address: IpAddr, account: Option<&BareJid>) {
        let now = Now::read();
        // Running dry is what the buckets are for; nothing to do about it here.
        let _ = self.throttle.sources.lock().take(Source::from(address), 1, now);
        if let Some(account) = account {
            let _ = self.throttle.accounts.lock().take(account.clone(), 1, now);
        }
    }
}
