//! From an address to its receiver. The router knows mailboxes and names, nothing of what stanzas mean.

pub mod held;
pub mod mailbox;
pub mod places;
pub mod services;
pub mod sessions;
pub mod sm;

use std::net::IpAddr;
use std::sync::Arc;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::access::Facts;
use crate::access::rate::Source;
use crate::access::rule::{self, Decision};
use crate::access::shared::{MANY, Shared};
use crate::access::signups::Signups;
use crate::config::{Access, Allowance, Config, HostConfig};
use crate::jid::Jid;
use crate::store::Store;
use crate::time::Now;

pub use mailbox::{Control, Item, Mailbox};
pub use places::Places;
pub use services::{Call, Local, Service, Services, Taken};
pub use sessions::{Session, SessionList, Sessions};

/// What every stream, feature and door shares: settings, disk, sessions and services.
pub struct Router {
    /// The settings in force; swapped whole by a reload, so load it per stanza and never keep it.
    pub config: ArcSwap<Config>,
    pub store: Arc<Store>,
    pub sessions: Sessions,
    pub services: Services,
    pub places: Places,
    /// Held while shared groups change and their members are told: each change finds the one before
    /// told.
    pub regrouping: tokio::sync::Mutex<()>,
    /// Which accounts came from where.
    sources: Mutex<Shared>,
    /// Who has registered lately.
    pub signups: Signups,
    /// Told when an account in the bin is to be erased at once.
    pub bin_due: Notify,
    /// When this process began to serve (XEP-0012).
    pub started: Now,
}

/// Who answers for an address.
pub enum Target {
    /// One of our virtual hosts itself: `to` is its bare domain (with or without a resource).
    Host(Arc<HostConfig>),
    /// An account's address on one of our virtual hosts; whether the account exists is the store's knowledge.
    Account(Arc<HostConfig>),
    /// A connected component, with a mailbox of its own.
    Service(Arc<Service>),
    /// A service of our own, which answers at once.
    Own(Arc<dyn Local>),
    /// One of our service names that nobody serves at the moment.
    Absent,
    /// Another server's domain.
    Remote,
}

impl Router {
    pub fn new(config: Arc<Config>, store: Arc<Store>) -> Arc<Router> {
        Arc::new(Router {
            config: ArcSwap::new(config),
            store,
            sessions: Sessions::default(),
            services: Services::default(),
            places: Places::default(),
            regrouping: tokio::sync::Mutex::default(),
            sources: Mutex::default(),
            signups: Signups::default(),
            bin_due: Notify::new(),
            started: Now::read(),
        })
    }

    pub fn host(&self, domain: &str) -> Option<Arc<HostConfig>> {
        self.config.load().host(domain).cloned()
    }

    /// RFC 6120 §10.3–10.5: whose address is this?
    pub fn resolve(&self, to: &Jid) -> Target {
        let config = self.config.load();
        if let Some(host) = config.host(to.domain()) {
            return match to.local() {
                None => Target::Host(Arc::clone(host)),
                Some(_) => Target::Account(Arc::clone(host)),
            };
        }
        if let Some(own) = self.services.own(to.domain()) {
            return Target::Own(own);
        }
        if let Some(service) = self.services.get(to.domain()) {
            return Target::Service(service);
        }
        if config.serves(to.domain()) { Target::Absent } else { Target::Remote }
    }

    /// Notes that an account came from an address, and tells the operators once if they are many:
    /// limits and rules by address hit all of them then.
    pub fn note_source(&self, account: &Jid, address: IpAddr) {
        let config = self.config.load();
        if config.limits.trusts(address) {
            return;
        }
        let source = Source::from(address);
        if self.sources.lock().note(source, account.bare_str(), Now::read()) {
            let address = config.log.addresses.show(address);
            tracing::warn!(
                %address,
                "{MANY} accounts came from one address within a day; if it is a proxy, \
                 limits and access rules take all behind it for one: declare it in \
                 http.trusted_proxies, or at least in limits.trusted_addresses"
            );
        }
    }

    /// Asks a rule of `host` about somebody, with the settings and groups of this moment.
    pub fn decide(
        &self,
        access: &Access,
        host: &str,
        jid: Option<&Jid>,
        address: Option<IpAddr>,
    ) -> Decision {
        let groups = self.store.groups().snapshot();
        let facts = Facts { jid, address, host, groups: &groups };
        rule::decide(&self.config.load().rules, access, &facts)
    }

    /// What an allowance of the account's host gives it.
    pub fn amount(&self, allowance: &Allowance, account: &Jid) -> usize {
        if let Allowance::Fixed(amount) = allowance {
            return usize::try_from(*amount).unwrap_or(usize::MAX);
        }
        let groups = self.store.groups().snapshot();
        let host = account.domain();
        let facts = Facts { jid: Some(account), address: None, host, groups: &groups };
        rule::amount(&self.config.load().rules, allowance, &facts)
    }

    /// Is `domain` a host, service or component of this server, connected or not?
    pub fn is_ours(&self, domain: &str) -> bool {
        self.config.load().serves(domain)
    }
}
