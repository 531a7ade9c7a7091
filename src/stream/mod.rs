//! XML streams. `negotiate` is sans-IO; `c2s` and `component` are tasks, one per connection;
//! `lifecycle` is what becomes of a session apart from its connection.

pub mod accounts;
pub mod c2s;
pub mod component;
pub mod lifecycle;
pub mod negotiate;
mod signin;
mod throttle;

pub use crate::features::register::scram_row;

use std::sync::Arc;

use arc_swap::ArcSwap;

use tokio::sync::{Semaphore, oneshot, watch};

use crate::auth::ServerSecret;
use crate::features::{Xep, xep};
use crate::net::tls::Acceptor;
use crate::router::{Router, Session};
use crate::store::{MessageId, StoreError};
use crate::xml::stream_error::StreamError;
use throttle::Throttle;

/// The specifications implemented in this room and in `auth`: what concerns streams and sign-in.
pub const XEPS: &[Xep] = &[
    xep(114, "1.6"),
    xep(175, "1.2"),
    xep(198, "1.6.3"),
    xep(368, "1.1.0"),
    xep(386, "1.1.0"),
    xep(388, "1.0.4"),
    xep(440, "1.0.0"),
    xep(474, "0.5.0"),
    xep(478, "0.2.0"),
    xep(480, "0.2.0"),
    xep(484, "0.2.0"),
    xep(515, "0.1.0"),
];

/// What every stream needs besides the router.
pub struct Streams {
    pub router: Arc<Router>,
    acceptor: Acceptor,
    throttle: Throttle,
    /// Passwords that are being hashed.
    hashing: Semaphore,
    /// Makes tokens, and the answers for unknown accounts, which stay the same.
    secret: Arc<ServerSecret>,
    /// Every count of rounds that some account's keys have: unknown names show one of these.
    iterations: ArcSwap<Vec<u32>>,
    /// Tasks of sessions and components.
    attended: watch::Sender<usize>,
}

/// Why a task stops serving a connection.
pub enum Ending {
    /// The client closed the stream; its session ends.
    Closed,
    /// The connection is gone without a word; the session may be resumed.
    Lost,
    /// The client broke the rules, or somebody ended the session: both end, with this error.
    Refused(StreamError),
    /// The session goes on over another connection, which waits for this word.
    Superseded(oneshot::Sender<()>),
    /// The server stops; the session may be resumed after it starts again.
    Stopped,
}

impl Streams {
    pub fn new(router: Arc<Router>, acceptor: Acceptor, secret: Arc<ServerSecret>) -> Streams {
        let throttle = Throttle::new(&router.config.load().limits);
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let hashing = Semaphore::new(cores);
        Streams {
            router,
            acceptor,
            throttle,
            hashing,
            secret,
            iterations: ArcSwap::default(),
            attended: watch::Sender::new(0),
        }
    }

    /// Looks up what keys there are, so that accounts made under other settings do not stand out.
    pub async fn learn_iterations(&self) -> Result<(), StoreError> {
        let found = self.router.store.accounts().iterations().await?;
        self.iterations.store(Arc::new(found));
        Ok(())
    }

    /// Counts a task that a stop waits for, for as long as the guard lives.
    pub fn attend(self: &Arc<Self>) -> Attended {
        self.attended.send_modify(|count| *count += 1);
        Attended(Arc::clone(self))
    }

    /// Resolves when none of them is left.
    pub async fn idle(&self) {
        // The sender lives in `self`, so waiting cannot fail.
        let _ = self.attended.subscribe().wait_for(|count| *count == 0).await;
    }

    /// The client has these offline messages now.
    fn forget_offline(self: &Arc<Self>, session: &Session, ids: Vec<MessageId>) {
        let router = Arc::clone(&self.router);
        let account = session.account;
        tokio::spawn(async move {
            if let Err(error) = router.store.offline().remove(account, ids).await {
                tracing::warn!(%error, "offline messages were delivered and may be so again");
            }
        });
    }
}

/// See [`Streams::attend`].
pub struct Attended(Arc<Streams>);

impl Attended {
    pub fn streams(&self) -> &Arc<Streams> {
        &self.0
    }
}

impl Drop for Attended {
    fn drop(&mut self) {
        self.0.attended.send_modify(|count| *count -= 1);
    }
}
