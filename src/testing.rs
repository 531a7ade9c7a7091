//! A small world for unit tests: a store in a temporary directory, a router, accounts, and
//! sessions whose mailboxes are read instead of sockets. What a player says takes the real
//! pipelines.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use tempfile::TempDir;

use crate::config::{self, Config};
use crate::delivery::{outbound, presence, route};
use crate::features::Outbox;
use crate::jid::{BareJid, Jid};
use crate::muc;
use crate::router::{Mailbox, Router, Service, Session};
use crate::stanza::Stanza;
use crate::store::{AccountId, Store, StoreOptions};
use crate::time::Now;
use crate::xml::stream_error::StreamError;

const MAILBOX_BYTES_MAX: usize = 1 << 20;

/// A server without sockets that serves `localhost`. Its clock stands still until told.
pub struct World {
    pub router: Arc<Router>,
    clock: AtomicI64,
    sessions: AtomicU64,
    _dir: TempDir,
}

#[allow(clippy::new_without_default)] // nobody needs a default world
impl World {
    pub fn new() -> World {
        World::with(Config::default_for("localhost").unwrap())
    }

    /// A world with its own `coucou.toml`.
    pub fn configured(toml: &str) -> World {
        World::with(config::parse(toml, "/etc/coucou/coucou.toml".as_ref()).unwrap().config)
    }

    fn with(config: Config) -> World {
        let dir = TempDir::new().unwrap();
        let store = Store::open(dir.path(), StoreOptions::default()).unwrap();
        let router = Router::new(Arc::new(config), store);
        muc::service::install(&router, &[]);
        World {
            router,
            clock: AtomicI64::new(1_795_608_000_000_000),
            sessions: AtomicU64::new(1),
            _dir: dir,
        }
    }

    pub fn now(&self) -> Now {
        Now(self.clock.load(Ordering::Relaxed))
    }

    pub fn wait(&self, time: Duration) {
        self.clock.store(self.now().plus(time).0, Ordering::Relaxed);
    }

    /// Creates an account; one that exists already is as good.
    pub async fn account(&self, jid: &str) -> AccountId {
        let jid = BareJid::parse(jid).unwrap();
        if let Some(facts) = self.router.store.facts(&jid).await.unwrap() {
            return facts.id;
        }
        self.router.store.accounts().create(&jid, Vec::new(), self.now()).await.unwrap()
    }

    /// Binds a resource, with an account for it if there is none.
    pub async fn session(&self, jid: &str) -> Player<'_> {
        let jid = Jid::parse(jid).unwrap();
        let account = self.account(jid.bare_str()).await;
        let id = self.sessions.fetch_add(1, Ordering::Relaxed);
        let session = Arc::new(Session::new(id, jid, account, MAILBOX_BYTES_MAX));
        self.router.sessions.insert(Arc::clone(&session));
        Player { world: self, session }
    }

    /// A session that has sent initial presence and read all that came of it.
    pub async fn online(&self, jid: &str) -> Player<'_> {
        let player = self.session(jid).await;
        player.send("<presence/>").await;
        player.take();
        player
    }

    /// Another domain, whose users are played by the test.
    pub fn domain(&self, name: &str) -> Arc<Service> {
        let mailbox = Mailbox::new(MAILBOX_BYTES_MAX);
        let service = Arc::new(Service { domain: name.to_owned(), mailbox });
        self.router.services.insert(Arc::clone(&service));
        service
    }

    /// Routes a stanza that came from another domain, which its `from` names.
    pub async fn arrives(&self, xml: &str) {
        let out = Outbox::default();
        out.push(Stanza::parse(xml.as_bytes()).unwrap());
        route::drain(&self.router, out, self.now()).await;
    }
}

/// What was put into a mailbox, oldest first; it is empty afterwards.
pub fn drained(mailbox: &Mailbox) -> Vec<Arc<Stanza>> {
    mailbox.take().0.into_iter().map(|item| item.stanza).collect()
}

/// What a stanza looks like on the wire.
pub fn wire(stanza: &Stanza) -> String {
    let mut xml = Vec::new();
    stanza.write(&mut xml);
    String::from_utf8(xml).unwrap()
}

/// A session and who plays its client.
pub struct Player<'w> {
    world: &'w World,
    pub session: Arc<Session>,
}

impl Player<'_> {
    /// The client sends a stanza.
    pub async fn send(&self, xml: &str) {
        self.try_send(xml).await.unwrap();
    }

    /// The same, for what may end the stream.
    pub async fn try_send(&self, xml: &str) -> Result<(), StreamError> {
        let stanza = Stanza::parse(xml.as_bytes()).unwrap();
        outbound::handle(&self.world.router, &self.session, stanza, self.world.now()).await
    }

    /// What the server has sent since last asked.
    pub fn take(&self) -> Vec<Arc<Stanza>> {
        drained(&self.session.mailbox)
    }

    /// The same as text.
    pub fn sent(&self) -> Vec<String> {
        self.take().iter().map(|stanza| wire(stanza)).collect()
    }

    /// Sends a request and returns the answer; other stanzas that came before it are dropped.
    pub async fn ask(&self, xml: &str) -> String {
        self.send(xml).await;
        self.sent().pop().expect("an answer")
    }

    /// The connection is lost for good.
    pub async fn leaves(&self) {
        let World { router, .. } = self.world;
        router.sessions.remove(&self.session);
        let out = Outbox::default();
        presence::session_ended(router, &self.session, &out, self.world.now()).await;
        route::drain(router, out, self.world.now()).await;
    }
}
