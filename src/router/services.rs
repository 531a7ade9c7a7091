//! Names below our hosts, or beside them, that answer for themselves: components and internal services.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use parking_lot::RwLock;

use super::Router;
use super::mailbox::Mailbox;
use crate::stanza::Stanza;
use crate::store::SmReceived;
use crate::time::Now;

/// A domain with a mailbox of its own.
pub struct Service {
    pub domain: String,
    pub mailbox: Mailbox,
}

impl Service {
    pub fn new(domain: &str, mailbox_bytes_max: usize) -> Service {
        Service { domain: domain.to_owned(), mailbox: Mailbox::new(mailbox_bytes_max) }
    }
}

/// A service of this server itself, such as rooms. It has no mailbox: what is sent to it is dealt
/// with in the sender's task, so that a busy service slows down those who use it.
pub trait Local: Send + Sync {
    /// Takes a stanza for one of the service's addresses, whose `from` has been proved. What comes
    /// back is to be routed, in this order.
    fn take<'a>(&'a self, router: &'a Arc<Router>, call: Call) -> Taken<'a>;
}

/// A stanza for a [`Local`] service.
pub struct Call {
    pub stanza: Stanza,
    /// To be stored with what the stanza leads to: see [`crate::store::MessageRow::received`].
    pub received: Option<SmReceived>,
    pub now: Now,
}

pub type Taken<'a> = Pin<Box<dyn Future<Output = Vec<Stanza>> + Send + 'a>>;

/// The services that answer now: connected ones, and our own.
#[derive(Default)]
pub struct Services {
    by_domain: RwLock<HashMap<String, Arc<Service>>>,
    own: RwLock<HashMap<String, Arc<dyn Local>>>,
}

impl Services {
    /// Registers a service; the one that held the name before is handed back and gets nothing more.
    pub fn insert(&self, service: Arc<Service>) -> Option<Arc<Service>> {
        self.by_domain.write().insert(service.domain.clone(), service)
    }

    /// Removes exactly this service.
    pub fn remove(&self, service: &Arc<Service>) {
        let mut map = self.by_domain.write();
        if map.get(&service.domain).is_some_and(|s| Arc::ptr_eq(s, service)) {
            map.remove(&service.domain);
        }
    }

    pub fn get(&self, domain: &str) -> Option<Arc<Service>> {
        self.by_domain.read().get(domain).cloned()
    }

    /// The service of our own at that name.
    pub fn own(&self, domain: &str) -> Option<Arc<dyn Local>> {
        self.own.read().get(domain).cloned()
    }

    /// From now on `service` answers for `domain`.
    pub fn insert_own(&self, domain: &str, service: Arc<dyn Local>) {
        self.own.write().insert(domain.to_owned(), service);
    }

    /// Nobody answers for `domain` any more.
    pub fn remove_own(&self, domain: &str) {
        self.own.write().remove(domain);
    }

    /// Names of connected services.
    pub fn connected(&self) -> Vec<String> {
        self.by_domain.read().keys().cloned().collect()
    }

    /// All names that somebody answers for, in order.
    pub fn domains(&self) -> Vec<String> {
        let mut names = self.connected();
        names.extend(self.own.read().keys().cloned());
        names.sort();
        names
    }
}
