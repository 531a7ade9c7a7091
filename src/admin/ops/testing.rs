//! What tests of operations are built on.

use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;

use tempfile::TempDir;

use crate::admin::jobs::Jobs;
use crate::admin::op::Refusal;
use crate::admin::{Context, Listener, Running};
use crate::auth::ServerSecret;
use crate::config::Change;
use crate::jid::BareJid;
use crate::net::certs::CertStore;
use crate::net::tls::Acceptor;
use crate::router::Router;
use crate::store::{Store, StoreOptions};
use crate::stream::Streams;
use crate::telemetry::Telemetry;
use crate::testing::World;
use crate::time::Now;

/// The hosts `a.org` and `b.org` with an account `ann` each, and `bob@a.org`; no server. The
/// accounts were made on 2026-11-23.
pub(super) async fn context() -> (TempDir, Context) {
    let dir = tempfile::tempdir().unwrap();
    let text = "[hosts.\"a.org\"]\n[hosts.\"b.org\"]\n";
    let config = crate::config::parse(text, &dir.path().join("coucou.toml")).unwrap().config;
    let store = Store::open(dir.path(), StoreOptions::default()).unwrap();
    for jid in ["ann@a.org", "bob@a.org", "ann@b.org"] {
        let made = Now::parse_xmpp("2026-11-23T12:00:00Z").unwrap();
        let jid = BareJid::parse(jid).unwrap();
        store.accounts().create(&jid, Vec::new(), made).await.unwrap();
    }
    (dir, Context::offline(store, Arc::new(config)))
}

/// A server without sockets: the sessions of a [`World`](crate::testing::World), and acts that need
/// them.
struct Live {
    router: Arc<Router>,
    streams: Arc<Streams>,
    telemetry: Telemetry,
    certs: Arc<CertStore>,
    jobs: Jobs,
}

impl Running for Live {
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
        Vec::new()
    }

    fn listeners(&self) -> Pin<Box<dyn Future<Output = Vec<Listener>> + Send + '_>> {
        Box::pin(async { Vec::new() })
    }

    fn config_file(&self) -> &Path {
        Path::new("/etc/coucou/coucou.toml")
    }

    fn started(&self) -> Now {
        self.router.started
    }

    fn is_stopping(&self) -> bool {
        false
    }

    fn stop(&self) {}

    fn restart_with(&self, staged: crate::store::backup::Staged) {
        staged.discard();
    }

    fn reload(
        self: Arc<Self>,
    ) -> Pin<Box<dyn Future<Output = Result<Vec<Change>, Refusal>> + Send>> {
        Box::pin(async { Ok(Vec::new()) })
    }
}

/// Operations on the server that `world` plays.
pub(in crate::admin) fn live(world: &World) -> Context {
    let router = Arc::clone(&world.router);
    let certs = Arc::new(CertStore::open(Vec::new()).unwrap());
    let secret = Arc::new(ServerSecret::generate());
    let acceptor = Acceptor::new(Arc::clone(&certs), &["xmpp-client"]);
    let telemetry = Telemetry::detached(&router.config.load().log);
    let streams = Arc::new(Streams::new(Arc::clone(&router), acceptor, secret));
    Context::live(Arc::new(Live { router, streams, telemetry, certs, jobs: Jobs::default() }))
}
