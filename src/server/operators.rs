//! What operators' acts may ask of the running server.

use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;

use super::Server;
use crate::admin::jobs::Jobs;
use crate::admin::op::Refusal;
use crate::admin::{Listener, Running};
use crate::config::{self, Change, Effect};
use crate::net::certs::CertStore;
use crate::router::Router;
use crate::store::backup::Staged;
use crate::stream::Streams;
use crate::telemetry::Telemetry;
use crate::time::Now;

impl Running for Server {
    fn router(&self) -> &Arc<Router> {
        &self.router
    }

    fn streams(&self) -> &Arc<Streams> {
        &self.streams
    }

    fn telemetry(&self) -> &Telemetry {
        &self.telemetry
    }

    fn certs(&self) -> &CertStore {
        &self.certs
    }

    fn jobs(&self) -> &Jobs {
        &self.jobs
    }

    fn pending(&self) -> Vec<Change> {
        let mut changes = config::diff(&self.booted, &self.router.config.load());
        changes.retain(|change| change.effect == Effect::Restart);
        changes
    }

    fn listeners(&self) -> Pin<Box<dyn Future<Output = Vec<Listener>> + Send + '_>> {
        Box::pin(async { self.doors.lock().await.listeners() })
    }

    fn config_file(&self) -> &Path {
        &self.config_file
    }

    fn started(&self) -> Now {
        self.started
    }

    fn stop(&self) {
        Server::stop(self);
    }

    fn restart_with(&self, staged: Staged) {
        *self.next.lock() = Some(staged);
        Server::stop(self);
    }

    fn is_stopping(&self) -> bool {
        *self.stopping.borrow()
    }

    fn reload(
        self: Arc<Self>,
    ) -> Pin<Box<dyn Future<Output = Result<Vec<Change>, Refusal>> + Send>> {
        Box::pin(async move {
            let reloaded = Server::reload(&self).await;
            reloaded.map_err(|error| Refusal::denied(format!("nothing has changed: {error}")))
        })
    }
}
