//! What must not be lost: SQLite behind one writer thread, a few readers, and typed repositories.
//!
//! # Map
//! * [`Store`] opens the data directory, owns the threads and hands out repositories:
//!   `store.accounts()`, `store.rosters()`, `store.archive()` …
//! * `writer` takes everything that waits into one transaction, commits, then tells the waiters.
//!   `readers` answer queries beside it, each on a snapshot of its own.
//! * The hot path never waits: [`Store::append`] and the `sm_*` family queue and return; a full
//!   queue is [`Busy`], and [`Store::room`] ends when it has drained.
//! * [`Facts`] of an account are cached, since every stanza asks for them.
//! * [`hot`] is the other database (sled) for what may be lost: caches and back-off.
//!
//! # Durability
//! *Hard* jobs are on disk (WAL, `synchronous=FULL`) when their waiter hears of it. A commit of
//! *soft* jobs only survives the death of the process, not a power cut. *Lazy* jobs ride along
//! with whatever commits next, 200 ms later at most.
//!
//! Names of tables and all SQL stay inside this folder.

mod cache;
mod codec;
mod db;
mod error;
mod ids;
mod migrate;
mod queue;
mod readers;
mod writer;

pub mod accounts;
pub mod api_keys;
pub mod archive;
pub mod audit;
pub mod backup;
pub mod bin;
pub mod blocks;
pub mod devices;
pub mod facts;
pub mod groups;
pub mod hot;
pub mod invites;
pub mod motd;
pub mod offline;
pub mod portable;
pub mod private;
pub mod push;
pub mod registrations;
pub mod reports;
pub mod resume;
pub mod rooms;
pub mod rosters;
pub mod survey;
pub mod vcards;

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use parking_lot::Mutex;
use rusqlite::Connection;
use smallvec::SmallVec;
use tokio::sync::oneshot;

pub use error::{Busy, StoreError};
pub use facts::{Contact, Facts, Lookup};
pub use ids::{AccountId, MessageId, UnknownId};
pub use invites::{InviteId, InviteToken};
pub use resume::{CopyForm, SmDelivery, SmOpen, SmParked, SmReceived, SmRestored};

use crate::config::Storage;
use crate::jid::BareJid;
use crate::time::Now;
use archive::tail::TailIndex;
use db::DataDir;
use facts::FactsCache;
use groups::SharedGroups;
use hot::Hot;
use ids::Ids;
use offline::Usage;
use queue::Queue;
use readers::{Reader, Readers};
use writer::{Job, Run, Tx, Worked, Writer};

/// Runs on the writer's thread right after the commit that settled the matter: keep it short,
/// push to a mailbox, do not block.
pub type Done = Box<dyn FnOnce(Result<(), StoreError>) + Send>;

/// How a [`Store`] works. `Default` suits a small server.
#[derive(Clone, Debug)]
pub struct StoreOptions {
    /// Reader threads at most; they start on demand.
    pub readers_max: usize,
    /// Under load commits keep this distance, so that they share the cost of the disk. An idle
    /// writer commits at once.
    pub commit_spacing: Duration,
    /// Bytes of stanzas that may wait for the writer.
    pub queue_bytes_max: usize,
    /// Jobs that may wait for the writer.
    pub queue_jobs_max: usize,
}

impl From<&Storage> for StoreOptions {
    fn from(storage: &Storage) -> StoreOptions {
        StoreOptions {
            readers_max: storage.readers_max,
            commit_spacing: storage.commit_spacing,
            queue_bytes_max: storage.queue_bytes_max,
            queue_jobs_max: storage.queue_jobs_max,
        }
    }
}

impl Default for StoreOptions {
    fn default() -> StoreOptions {
        StoreOptions {
            readers_max: 3,
            commit_spacing: Duration::from_millis(20),
            queue_bytes_max: 4 << 20,
            queue_jobs_max: 8_192,
        }
    }
}

/// Whose archives a message belongs to, and what else is to be known without reading it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MessageFlags(pub u8);

impl MessageFlags {
    /// In the archive of the sender (`from`).
    pub const ARCHIVED_FROM: MessageFlags = MessageFlags(1);
    /// In the archive of the receiver (`to`), be it an account or a room.
    pub const ARCHIVED_TO: MessageFlags = MessageFlags(1 << 1);
    /// Waits for the receiver to come online.
    pub const OFFLINE: MessageFlags = MessageFlags(1 << 2);
    /// Retracted: what is stored is the tombstone (XEP-0424). Set by the store.
    pub const TOMBSTONE: MessageFlags = MessageFlags(1 << 3);
    /// Of type `groupchat`: XEP-0313's `include-groupchat` decides on it.
    pub const GROUPCHAT: MessageFlags = MessageFlags(1 << 4);
    /// Full-text search knows it. Set by the store.
    pub const TEXT: MessageFlags = MessageFlags(1 << 5);
    /// A row with none of these is nobody's.
    const KEPT: MessageFlags =
        MessageFlags(Self::ARCHIVED_FROM.0 | Self::ARCHIVED_TO.0 | Self::OFFLINE.0);

    pub fn has(self, other: MessageFlags) -> bool {
        self.0 & other.0 == other.0
    }

    pub fn any(self, other: MessageFlags) -> bool {
        self.0 & other.0 != 0
    }
}

impl std::ops::BitOr for MessageFlags {
    type Output = MessageFlags;

    fn bitor(self, other: MessageFlags) -> MessageFlags {
        MessageFlags(self.0 | other.0)
    }
}

impl std::ops::BitOrAssign for MessageFlags {
    fn bitor_assign(&mut self, other: MessageFlags) {
        self.0 |= other.0;
    }
}

/// A message to be stored, once, for its sender and its receiver.
pub struct MessageRow {
    /// From [`Store::next_id`].
    pub id: MessageId,
    pub from: BareJid,
    pub to: BareJid,
    /// Who keeps it. If nobody does, only the notes below are taken.
    pub flags: MessageFlags,
    /// The whole stanza with its full addresses and an explicit namespace.
    pub stanza: Bytes,
    /// What full-text search is to find; `None` where the host has no search.
    pub text: Option<Box<str>>,
    /// Which inbound stanza of which session this row is the effect of: `h` rises in the same
    /// transaction, so a resumed client neither loses nor repeats it.
    pub received: Option<SmReceived>,
    /// The sessions this message goes to: after a crash they find it again.
    pub deliveries: SmallVec<[SmDelivery; 2]>,
    /// For senders without stream management: told once the row is on disk, or why it is not.
    pub done: Option<Done>,
}

impl MessageRow {
    pub fn new(
        id: MessageId,
        from: BareJid,
        to: BareJid,
        flags: MessageFlags,
        stanza: impl Into<Bytes>,
    ) -> MessageRow {
        MessageRow {
            id,
            from,
            to,
            flags,
            stanza: stanza.into(),
            text: None,
            received: None,
            deliveries: SmallVec::new(),
            done: None,
        }
    }
}

/// One data directory, open. Shared by `Arc`; all methods take `&self`.
///
/// Dropping it without [`Store::shutdown`] blocks until the writer has drained.
pub struct Store {
    ids: Ids,
    queue: Arc<Queue>,
    readers: Arc<Readers>,
    facts: Arc<FactsCache>,
    shared_groups: Arc<ArcSwap<SharedGroups>>,
    /// Hosts with invitations by which accounts are made.
    inviting: Mutex<HashSet<String>>,
    usage: Arc<Usage>,
    hot: Hot,
    backups: Arc<backup::Jobs>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

impl Store {
    /// Opens or creates the data directory `dir` (mode 0700) and brings its database up to date.
    /// Blocks; call it before the runtime has work to do.
    pub fn open(dir: &Path, options: StoreOptions) -> Result<Arc<Store>, StoreError> {
        let dir = DataDir::claim(dir)?;
        backup::go_on(dir.path())?;
        let mut conn = dir.writer()?;
        migrate::migrate(&mut conn)?;
        let ids = Ids::after(last_id(&conn)?);
        let queue = Arc::new(Queue::new(&options));
        let facts = Arc::new(FactsCache::default());
        let usage = Arc::new(Usage::default());
        let tail = Arc::new(TailIndex::default());
        let shared_groups = Arc::new(ArcSwap::from_pointee(groups::load(&conn)?));
        let inviting = Mutex::new(invites::inviting(&conn)?);
        let mut writer = Writer::new(
            conn,
            Arc::clone(&queue),
            Arc::clone(&facts),
            Arc::clone(&shared_groups),
            Arc::clone(&usage),
            Arc::clone(&tail),
        )?;
        while writer.prepare(accounts::erase_interrupted)? {}
        while writer.prepare(registrations::fill_skeletons)? {}
        while writer.prepare(rooms::erase_interrupted)? {}
        let hot = Hot::new(dir.path());
        let readers = Readers::new(dir.path(), tail, options.readers_max);
        let thread = std::thread::Builder::new()
            .name("store-writer".into())
            .spawn(move || {
                // Held until the last commit: the lock on the directory.
                let _dir = dir;
                writer.run();
            })
            .map_err(|e| StoreError::io("start the writer", e))?;
        let writer = Mutex::new(Some(thread));
        let backups = Arc::new(backup::Jobs::default());
        Ok(Arc::new(Store {
            ids,
            queue,
            readers,
            facts,
            shared_groups,
            inviting,
            usage,
            hot,
            backups,
            writer,
        }))
    }

    /// A new id, higher than every id before it.
    pub fn next_id(&self, now: Now) -> MessageId {
        self.ids.next(now)
    }

    /// Queues a message for storage and returns at once.
    pub fn append(&self, row: MessageRow) -> Result<(), Busy> {
        self.queue_job(Job::Append(Box::new(row)))
    }

    /// Ends when the writer's queue has room again.
    pub async fn room(&self) {
        self.queue.room().await;
    }

    /// Changes that wait for the writer, and their bytes.
    pub fn waiting(&self) -> (usize, usize) {
        self.queue.waiting()
    }

    /// Ends when everything queued before has been settled, for better or worse.
    pub async fn settled(&self) -> Result<(), StoreError> {
        let (done, wait) = oneshot::channel();
        self.queue_waiting(Job::Settle(Box::new(move |outcome| drop(done.send(outcome))))).await?;
        wait.await.map_err(|_| StoreError::Closed)?
    }

    /// Drains the queue, copies the log into the database, closes. Later calls fail with
    /// [`StoreError::Closed`].
    pub async fn shutdown(&self) -> Result<(), StoreError> {
        let end = self.end();
        tokio::task::spawn_blocking(end).await.unwrap_or_else(|e| Err(StoreError::bug(e)))
    }

    /// Ends the threads in order: readers first, since the last connection that closes puts the
    /// database in order.
    fn end(&self) -> impl FnOnce() -> Result<(), StoreError> + Send + 'static {
        let (readers, queue) = (Arc::clone(&self.readers), Arc::clone(&self.queue));
        let (hot, writer) = (self.hot.clone(), self.writer.lock().take());
        let backups = Arc::clone(&self.backups);
        move || {
            backups.end();
            readers.close();
            readers.wait_closed();
            hot.close();
            queue.close();
            let ended = writer.is_none_or(|thread| thread.join().is_ok());
            if ended { Ok(()) } else { Err(StoreError::bug("the writer panicked")) }
        }
    }

    /// The data directory.
    pub fn dir(&self) -> &Path {
        self.readers.dir()
    }

    /// Hot jobs: an error other than a full queue is told by the job's own waiter.
    fn queue_job(&self, job: Job) -> Result<(), Busy> {
        match self.queue.push(job) {
            Ok(()) => Ok(()),
            Err((_, StoreError::Busy)) => Err(Busy),
            Err((job, closed)) => {
                job.refuse(closed);
                Ok(())
            }
        }
    }

    async fn queue_waiting(&self, mut job: Job) -> Result<(), StoreError> {
        loop {
            match self.queue.push(job) {
                Ok(()) => return Ok(()),
                Err((back, StoreError::Busy)) => job = back,
                Err((_, error)) => return Err(error),
            }
            self.queue.room().await;
        }
    }

    /// Changes the database and waits until that is on disk. The change happens even if the caller
    /// stops waiting.
    async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Tx<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (answer, answered) = oneshot::channel();
        let work = move |tx: &mut Tx<'_>| {
            let result = work(tx);
            Worked {
                keep: result.is_ok(),
                finish: Box::new(move |outcome: Result<(), StoreError>| {
                    // The caller may have gone.
                    let _ = answer.send(result.and_then(|value| outcome.map(|()| value)));
                }),
            }
        };
        self.queue_waiting(Job::Run(Run { work: Box::new(work), hard: true })).await?;
        answered.await.unwrap_or_else(|_| Err(StoreError::bug("a change panicked")))
    }

    /// Asks the database as it was committed last.
    async fn read<T: Send + 'static>(
        &self,
        query: impl FnOnce(&mut Reader) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.readers.read(query).await
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        if let Err(error) = self.end()() {
            tracing::error!(%error, "the store did not end well");
        }
    }
}

/// The highest id that may have been given out.
fn last_id(conn: &Connection) -> Result<MessageId, StoreError> {
    let last = conn.query_row(
        "SELECT max((SELECT value FROM meta WHERE key = 'merged'),
                    (SELECT coalesce(max(id), 0) FROM messages))",
        [],
        |row| row.get(0),
    )?;
    Ok(MessageId(last))
}

#[cfg(test)]
mod tests;

#[cfg(test)]
mod bench;
