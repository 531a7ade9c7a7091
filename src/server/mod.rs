//! Start, reload, stop: the only place that knows all rooms.

pub mod boot;
mod doors;
pub mod housekeeping;
mod operators;
pub mod reload;

use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::{Mutex, watch};

use doors::Doors;

use crate::admin::jobs::Jobs;
use crate::config::Config;
use crate::net::certs::CertStore;
use crate::router::Router;
use crate::store::backup::Staged;
use crate::stream::Streams;
use crate::telemetry::Telemetry;
use crate::time::Now;

/// A running server, as operators' acts and doors see it.
pub struct Server {
    pub router: Arc<Router>,
    pub streams: Arc<Streams>,
    pub certs: Arc<CertStore>,
    pub telemetry: Telemetry,
    /// The file that a reload reads again.
    pub config_file: PathBuf,
    pub started: Now,
    /// The settings it started with: some of later ones wait for a restart.
    pub(super) booted: Arc<Config>,
    pub jobs: Jobs,
    /// The listeners; locked for the length of a reload, so that there is one at a time.
    doors: Mutex<Doors>,
    /// What the server starts again with after its stop.
    next: parking_lot::Mutex<Option<Staged>>,
    stopping: watch::Sender<bool>,
}

impl Server {
    /// Begins an orderly stop; returns at once.
    pub fn stop(&self) {
        self.stopping.send_replace(true);
    }

    /// What the server shall start again with, now that it has stopped.
    pub fn next(&self) -> Option<Staged> {
        self.next.lock().take()
    }

    /// Resolves when a stop has begun.
    pub async fn stopping(&self) {
        // An error means that the server itself is gone, which is as good as stopped.
        let _ = self.stopping.subscribe().wait_for(|stop| *stop).await;
    }
}
