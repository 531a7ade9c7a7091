//! Every operator's act, defined once, and the doors to it.
//!
//! * [`op`] says what an operation is and lists them all; [`ops`] holds them, a file per kind of
//!   thing.
//! * [`ejabberd`] has ejabberd's commands, each a thin translation of one of them.
//! * [`keys`] says what API keys and accounts may ask for.
//! * [`run`](mod@run) is the one path for all doors: may this actor, do it, write it down.
//! * [`doors`] let operators in. [`wire`] is what is spoken at the Unix socket, [`client`] is its
//!   other end, for the command line.
//! * [`describe`] tells all of it to people and programs; [`arguments`] reads what people type.
//!
//! Operations also work on a data directory whose server is down, as far as they need no sessions:
//! the caller then holds the store's lock itself (see [`Context::offline`]).

pub mod arguments;
pub mod client;
pub mod describe;
pub mod doors;
pub mod ejabberd;
pub mod jobs;
pub mod keys;
pub mod op;
pub mod ops;
pub mod portable;
pub mod run;
#[cfg(test)]
pub mod testing;
pub mod wire;

use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Instant;

use crate::config::grant::Grant;
use crate::config::{Change, Config};
use crate::jid::{BareJid, Jid};
use crate::net::certs::CertStore;
use crate::router::{Control, Router, Session};
use crate::store::Store;
use crate::store::backup::Staged;
use crate::stream::Streams;
use crate::telemetry::Telemetry;
use crate::time::Now;
use crate::xml::stream_error::{StreamCondition, StreamError};

use jobs::Jobs;
use op::{Class, Refusal};

/// The running server, as far as operations look at it and steer it. The room above this one is it.
pub trait Running: Send + Sync + 'static {
    fn router(&self) -> &Arc<Router>;
    /// Where people sign in.
    fn streams(&self) -> &Arc<Streams>;
    fn telemetry(&self) -> &Telemetry;
    /// What is shown to clients who ask for TLS.
    fn certs(&self) -> &CertStore;
    /// Removals that take their time.
    fn jobs(&self) -> &Jobs;
    /// What differs between the settings in force and those that the server started with, as far
    /// as it waits for a restart.
    fn pending(&self) -> Vec<Change>;
    /// The listeners that are open.
    fn listeners(&self) -> Pin<Box<dyn Future<Output = Vec<Listener>> + Send + '_>>;
    /// The file that a reload reads.
    fn config_file(&self) -> &Path;
    fn started(&self) -> Now;
    /// Begins an orderly stop; returns at once.
    fn stop(&self);
    /// The same, after which the server starts again, with this backup in the place of its data.
    fn restart_with(&self, staged: Staged);
    /// Whether a stop has begun.
    fn is_stopping(&self) -> bool;
    /// Brings the config file into force, whole or not at all; tells what changed.
    fn reload(
        self: Arc<Self>,
    ) -> Pin<Box<dyn Future<Output = Result<Vec<Change>, Refusal>> + Send>>;
}

/// A door that clients and components come in by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// What is spoken there: `c2s`, `c2s_tls`, `component` ….
    pub what: &'static str,
    pub address: SocketAddr,
    /// Connections that came in by it and are open now.
    pub connections: usize,
}

/// What an operation works on.
#[derive(Clone)]
pub struct Context {
    store: Arc<Store>,
    config: Arc<Config>,
    config_file: PathBuf,
    server: Option<Arc<dyn Running>>,
    actor: Option<Actor>,
}

impl Context {
    /// A running server, with the settings in force at this moment.
    pub fn live(server: Arc<dyn Running>) -> Context {
        let router = server.router();
        Context {
            store: router.store.clone(),
            config: router.config.load_full(),
            config_file: server.config_file().to_owned(),
            actor: None,
            server: Some(server),
        }
    }

    /// A data directory that no server uses; `store` is its lock.
    pub fn offline(store: Arc<Store>, config: Arc<Config>) -> Context {
        let config_file = config.data_dir.join("coucou.toml");
        Context { store, config, config_file, server: None, actor: None }
    }

    /// The same, with settings from this file.
    pub fn with_config_file(self, config_file: PathBuf) -> Context {
        Context { config_file, ..self }
    }

    /// The same, for what `actor` asks.
    pub fn for_actor(&self, actor: &Actor) -> Context {
        Context { actor: Some(actor.clone()), ..self.clone() }
    }

    /// Who asks; `None` outside of [`run::run`].
    pub fn actor(&self) -> Option<&Actor> {
        self.actor.as_ref()
    }

    /// For operations whose reach depends on more than their name: makes sure that the actor may do
    /// what is of this class.
    ///
    /// # Errors
    /// If not.
    pub fn permit(&self, class: Class) -> Result<(), Refusal> {
        match &self.actor {
            Some(actor) => run::permit_class(actor, class),
            None => Err(Refusal::bug(&"nobody asks for this operation")),
        }
    }

    /// The file that the settings came from.
    pub fn config_file(&self) -> &Path {
        &self.config_file
    }

    pub fn store(&self) -> &Store {
        &self.store
    }

    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The running server, if there is one.
    pub fn server(&self) -> Option<&Arc<dyn Running>> {
        self.server.as_ref()
    }

    /// The running server, for operations that make no sense without one.
    ///
    /// # Errors
    /// If the server is down.
    pub fn running(&self) -> Result<&Arc<dyn Running>, Refusal> {
        self.server().ok_or_else(|| Refusal::unavailable("the server is not running"))
    }

    /// The running server's router, or, while it is down, one that no session uses.
    pub fn router(&self) -> Arc<Router> {
        match self.server() {
            Some(server) => Arc::clone(server.router()),
            None => Router::new(Arc::clone(&self.config), Arc::clone(&self.store)),
        }
    }

    /// The sessions of `address`: all of an account, or the one of a full JID. None while the
    /// server is down.
    pub fn sessions(&self, address: &Jid) -> Vec<Arc<Session>> {
        let Some(server) = self.server() else { return Vec::new() };
        let sessions = &server.router().sessions;
        match address.resource() {
            Some(_) => sessions.full(address).into_iter().collect(),
            None => sessions.of(address.bare_str()).into_vec(),
        }
    }

    /// Ends all sessions of an account; tells how many there were.
    pub fn end_sessions(&self, account: &BareJid, condition: StreamCondition, text: &str) -> usize {
        let sessions = self.sessions(account);
        for session in &sessions {
            end_session(session, condition, text);
        }
        sessions.len()
    }
}

/// Ends one session, connected or waiting to be resumed, with a stream error that carries `text`.
pub fn end_session(session: &Session, condition: StreamCondition, text: &str) {
    let error = StreamError::with_text(condition, text);
    session.mailbox.control(Control::Close(error));
}

/// Who asks for an operation. A door makes one from what it has proved, never from what the peer
/// claims.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Actor {
    /// For the audit, as in `uid=1000(anna)` or `anna@example.org`.
    pub who: String,
    /// The door, as in `socket`.
    pub from: String,
    pub role: Role,
    /// When the connection was made that this came in by.
    pub connected: Instant,
    /// Where the request came from, at doors that have a network on the other side.
    pub address: Option<IpAddr>,
    /// Who may do less than the role allows.
    pub scope: Option<Arc<Scope>>,
}

impl Actor {
    /// Somebody who has just come in and whom nothing but the role limits.
    pub fn new(who: impl Into<String>, from: impl Into<String>, role: Role) -> Actor {
        Actor {
            who: who.into(),
            from: from.into(),
            role,
            connected: Instant::now(),
            address: None,
            scope: None,
        }
    }
}

/// What somebody may do here.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    serde::Serialize,
    serde::Deserialize,
    schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// A member of the view group: looks, but not at what people write.
    Viewer,
    /// A member of the admin group: everything but what could lock all of them out.
    Operator,
    /// Root, and the user whom the server runs as: everything.
    Owner,
}

/// These operations on these hosts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grants {
    pub grant: Grant,
    /// Empty stands for the whole server.
    pub hosts: Vec<String>,
}

/// The part of a role that somebody has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scope {
    /// Any one of them suffices.
    pub grants: Vec<Grants>,
    /// Whose it is, as in `the API key "ci"`.
    pub of: String,
}
