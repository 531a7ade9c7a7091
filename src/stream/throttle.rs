//! Failed sign-ins cost tokens, by address and by account. Who has none left waits, right password
//! or wrong: what an attacker learns is that he is noticed.

use std::net::IpAddr;
use std::time::Duration;

use parking_lot::Mutex;

use super::Streams;
use crate::access::rate::{Buckets, Rate, Source};
use crate::config::{HostConfig, Limits};
use crate::jid::BareJid;
use crate::time::Now;

/// Addresses and accounts remembered, each.
const KEYS_MAX: usize = 8_192;

/// An account may fail this many times as often as one address: so that its owner is not locked
/// out by one stranger's guesses.
const ACCOUNT_SHARE: u32 = 5;

/// The buckets of failed sign-ins, and of guests that are made up.
pub(super) struct Throttle {
    sources: Mutex<Buckets<Source>>,
    accounts: Mutex<Buckets<BareJid>>,
    /// By host and address; each host has a rate of its own.
    guests: Mutex<Buckets<(String, Source)>>,
}

impl Throttle {
    pub(super) fn new(limits: &Limits) -> Throttle {
        let (source, account) = rates(limits);
        Throttle {
            sources: Mutex::new(Buckets::new(source, KEYS_MAX)),
            accounts: Mutex::new(Buckets::new(account, KEYS_MAX)),
            guests: Mutex::new(Buckets::new(source, KEYS_MAX)),
        }
    }

    /// Other limits from now on; what was taken stays taken.
    pub(super) fn set_limits(&self, limits: &Limits) {
        let (source, account) = rates(limits);
        self.sources.lock().set_rate(source);
        self.accounts.lock().set_rate(account);
    }
}

/// Failures that one address and one account may have.
fn rates(limits: &Limits) -> (Rate, Rate) {
    let source = Rate { burst: limits.auth_failures_per_minute, period: Duration::from_secs(60) };
    (source, Rate { burst: source.burst.saturating_mul(ACCOUNT_SHARE), ..source })
}

impl Streams {
    /// The settings have changed.
    pub fn set_limits(&self, limits: &Limits) {
        self.throttle.set_limits(limits);
    }

    /// May somebody at this address, or on this machine, try this account now?
    pub(super) fn may_try(&self, from: impl Into<Option<IpAddr>>, account: &BareJid) -> bool {
        let now = Now::read();
        let source = from.into().is_none_or(|address| {
            self.router.config.load().limits.trusts(address)
                || self.throttle.sources.lock().has(&Source::from(address), 1, now)
        });
        source && self.throttle.accounts.lock().has(account, 1, now)
    }

    /// May one more guest of `host` come from this address now?
    pub(super) fn may_be_guest(&self, address: IpAddr, host: &HostConfig) -> bool {
        if self.router.config.load().limits.trusts(address) {
            return true;
        }
        let burst = host.guest.logins_per_address_per_minute;
        let mut guests = self.throttle.guests.lock();
        guests.set_rate(Rate { burst, period: Duration::from_secs(60) });
        guests.take((host.domain.clone(), Source::from(address)), 1, Now::read()).is_ok()
    }

    /// Somebody at this address showed a token that nobody gave him. False if he has done so too
    /// often of late.
    pub fn note_bad_token(&self, address: IpAddr) -> bool {
        let now = Now::read();
        self.router.config.load().limits.trusts(address)
            || self.throttle.sources.lock().take(Source::from(address), 1, now).is_ok()
    }

    /// Somebody at this address, or on this machine, failed to prove that he is `account`.
    pub(super) fn note_failure(&self, from: impl Into<Option<IpAddr>>, account: Option<&BareJid>) {
        let now = Now::read();
        // Running dry is what the buckets are for; nothing to do about it here.
        if let Some(address) = from.into() {
            let _ = self.throttle.sources.lock().take(Source::from(address), 1, now);
        }
        if let Some(account) = account {
            let _ = self.throttle.accounts.lock().take(account.clone(), 1, now);
        }
    }
}
