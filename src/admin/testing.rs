//! What tests of this room are built on.

use std::sync::Arc;

use tempfile::TempDir;

use super::Context;
use crate::config::Config;
use crate::store::{Store, StoreOptions};

/// An empty data directory for the host `example.org`, without a server. Needs a runtime.
pub(crate) fn offline() -> (TempDir, Context) {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), StoreOptions::default()).unwrap();
    let config = Config::default_for("example.org").unwrap();
    (dir, Context::offline(store, Arc::new(config)))
}
