//! Names below our hosts, or beside them, that answer for themselves: components and internal services.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::RwLock;

use super::mailbox::Mailbox;

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

/// The services that are connected now.
#[derive(Default)]
pub struct Services {
    by_domain: RwLock<HashMap<String, Arc<Service>>>,
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

    pub fn domains(&self) -> Vec<String> {
        let mut names: Vec<String> = self.by_domain.read().keys().cloned().collect();
        names.sort();
        names
    }
}
