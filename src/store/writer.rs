//! The one thread that writes: takes what waits into one transaction, commits, tells the waiters.
//!
//! A job that fails, fails alone: closures run in a savepoint, and SQLite undoes a failed
//! statement by itself. A commit that fails, fails for every waiter of its batch, and the sessions
//! whose rows were in it are *poisoned*: no later `h` of theirs is confirmed. The next batch is
//! tried all the same, so a disk that was full and is not any more needs no restart.

use std::collections::VecDeque;
use std::ops::Deref;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use rusqlite::{Connection, params};

use super::archive::tail::{self, Tail, TailIndex};
use super::cache::Cache;
use super::codec::Packer;
use super::facts::FactsCache;
use super::groups::{self, SharedGroups};
use super::offline::Usage;
use super::queue::{Next, Queue};
use super::resume::log::{Note, SmLog};
use super::resume::{SmOpen, SmParked};
use super::{Done, MessageFlags, MessageRow, StoreError};
use crate::jid::BareJid;
use crate::telemetry::METRICS;
use crate::time::Now;

/// A transaction does not go on much longer than this; what is left becomes the next one.
const BATCH_WORK: Duration = Duration::from_millis(5);
/// Bare JIDs whose numbers the writer remembers: some 1 MiB.
const ADDRESSES_MAX: usize = 8_192;
/// In a quiet moment the log is copied into the database from this many pages on …
const WAL_PAGES_QUIET: i64 = 1_000;
/// … and from this many on also in the middle of work: 16 MiB.
const WAL_PAGES_MAX: i64 = 4_000;
/// What counts as quiet.
const QUIET: Duration = Duration::from_secs(1);
/// Commits between two looks at the size of the log.
const WAL_LOOK: u32 = 16;

/// Work for the writer.
pub(super) enum Job {
    Append(Box<MessageRow>),
    /// Something to note of a session; lazy.
    Note(Note),
    Mark {
        sid: u64,
        h: u32,
        soft: bool,
        done: Done,
    },
    Open(Box<SmOpen>, Option<Done>),
    Park {
        sid: u64,
        parked: Box<SmParked>,
        detached: Now,
        done: Option<Done>,
    },
    Run(Run),
    /// Resolved when all before it is.
    Settle(Done),
}

/// A closure of a repository.
pub(super) struct Run {
    pub work: Box<dyn FnOnce(&mut Tx<'_>) -> Worked + Send>,
    /// On disk before the waiter hears of it.
    pub hard: bool,
}

/// What a closure left behind.
pub(super) struct Worked {
    /// False: undo what it did.
    pub keep: bool,
    /// Told how the commit went.
    pub finish: Done,
}

impl Job {
    pub(super) fn is_lazy(&self) -> bool {
        matches!(self, Job::Note(_))
    }

    pub(super) fn is_urgent(&self) -> bool {
        matches!(self, Job::Run(_) | Job::Settle(_))
    }

    fn is_hard(&self) -> bool {
        match self {
            Job::Append(_) => true,
            Job::Mark { soft, .. } => !soft,
            Job::Run(run) => run.hard,
            Job::Note(_) | Job::Open(..) | Job::Park { .. } | Job::Settle(_) => false,
        }
    }

    pub(super) fn bytes(&self) -> usize {
        match self {
            Job::Append(row) => row.stanza.len() + row.text.as_ref().map_or(0, |text| text.len()),
            Job::Park { parked, .. } => parked.stanzas.iter().map(|(_, s)| s.len()).sum(),
            _ => 0,
        }
    }
}

impl Job {
    /// Tells whoever waits that the job will not be done.
    pub(super) fn refuse(self, error: StoreError) {
        let done = match self {
            Job::Append(row) => row.done,
            Job::Open(_, done) | Job::Park { done, .. } => done,
            Job::Mark { done, .. } | Job::Settle(done) => Some(done),
            Job::Note(_) | Job::Run(_) => None,
        };
        if let Some(done) = done {
            done(Err(error));
        }
    }
}

/// What the writer knows beside what is in the database.
pub(super) struct State {
    addresses: Cache<i64>,
    pub packer: Packer,
    pub sm: SmLog,
    pub tail: Tail,
    pub tail_index: Arc<TailIndex>,
    pub usage: Arc<Usage>,
    /// Accounts that the current transaction changed.
    touched: Vec<BareJid>,
    /// Shared groups that it changed.
    regrouped: Vec<i64>,
}

/// The transaction a job works in.
pub(super) struct Tx<'a> {
    conn: &'a Connection,
    pub state: &'a mut State,
}

impl Deref for Tx<'_> {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        self.conn
    }
}

impl Tx<'_> {
    /// The number of an address, given one now if it has none.
    pub(super) fn address(&mut self, jid: &BareJid) -> Result<i64, StoreError> {
        if let Some(id) = self.state.addresses.get(jid.as_str()) {
            return Ok(id);
        }
        let known = self
            .conn
            .prepare_cached("SELECT id FROM addresses WHERE jid = ?1")?
            .query_row([jid.as_str()], |row| row.get(0));
        let id = match known {
            Ok(id) => id,
            Err(rusqlite::Error::QueryReturnedNoRows) => {
                self.conn
                    .prepare_cached("INSERT INTO addresses (jid) VALUES (?1)")?
                    .execute([jid.as_str()])?;
                self.conn.last_insert_rowid()
            }
            Err(e) => return Err(e.into()),
        };
        self.state.addresses.put(jid.clone(), id, 1);
        Ok(id)
    }

    /// The cached facts of this account are wrong once the transaction is committed.
    pub(super) fn touch(&mut self, jid: BareJid) {
        self.state.touched.push(jid);
    }

    /// This shared group, and with it the facts of its members, is another once the transaction is
    /// committed.
    pub(super) fn regroup(&mut self, group: i64) {
        self.state.regrouped.push(group);
    }

    fn append(&mut self, row: &MessageRow) -> Result<(), StoreError> {
        let kept = row.flags.any(MessageFlags::KEPT);
        if kept && (row.flags.has(MessageFlags::OFFLINE) || row.text.is_some()) {
            // More than one statement: all of them or none.
            self.conn.prepare_cached("SAVEPOINT message")?.execute([])?;
            let result = self.insert(row);
            if self.conn.is_autocommit() {
                return result;
            }
            if result.is_err() {
                self.conn.prepare_cached("ROLLBACK TO message")?.execute([])?;
                self.state.addresses.clear();
            }
            self.conn.prepare_cached("RELEASE message")?.execute([])?;
            result?;
        } else if kept {
            self.insert(row)?;
        }
        for delivery in &row.deliveries {
            self.state.sm.note(Note::Out {
                sid: delivery.sid,
                number: delivery.number,
                id: row.id.0,
                form: delivery.form,
            });
        }
        if let Some(received) = row.received {
            self.state.sm.note(Note::In { sid: received.sid, h: received.h });
        }
        Ok(())
    }

    pub(super) fn insert(&mut self, row: &MessageRow) -> Result<(), StoreError> {
        let from = self.address(&row.from)?;
        let to = self.address(&row.to)?;
        let (codec, body) = self.state.packer.pack(&row.stanza);
        let bytes = body.len();
        self.conn
            .prepare_cached(
                "INSERT INTO messages (id, from_addr, to_addr, flags, codec, body)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            )?
            .execute(params![row.id.0, from, to, row.stored_flags().0, codec, body])?;
        if row.flags.has(MessageFlags::OFFLINE) {
            self.conn
                .prepare_cached("INSERT INTO offline (owner, id, bytes) VALUES (?1, ?2, ?3)")?
                .execute(params![to, row.id.0, bytes])?;
        }
        if let Some(text) = &row.text {
            let owners = if from == to { format!("o{from}") } else { format!("o{from} o{to}") };
            self.conn
                .prepare_cached(
                    "INSERT INTO messages_text (rowid, owners, body) VALUES (?1, ?2, ?3)",
                )?
                .execute(params![row.id.0, owners, text])?;
        }
        tail::appended(self, row.id.0, from, to, row.flags.0)
    }
}

impl MessageRow {
    fn stored_flags(&self) -> MessageFlags {
        match self.text {
            Some(_) => self.flags | MessageFlags::TEXT,
            None => self.flags,
        }
    }
}

enum Waiter {
    Done(Done),
    /// Succeeds only if the session lost nothing.
    Mark(u64, Done),
}

/// The writer's thread.
pub(super) struct Writer {
    conn: Connection,
    queue: Arc<Queue>,
    facts: Arc<FactsCache>,
    shared_groups: Arc<ArcSwap<SharedGroups>>,
    state: State,
    /// `synchronous` is FULL.
    full: bool,
    /// When the last transaction began.
    last: Instant,
    waiters: Vec<Waiter>,
    /// Sessions whose rows are in the current transaction.
    sessions: Vec<u64>,
    wal_pages: i64,
    commits: u32,
    /// The current transaction could not store something.
    failed: bool,
    /// The last ones could not, which was said.
    failing: bool,
}

impl Writer {
    pub(super) fn new(
        conn: Connection,
        queue: Arc<Queue>,
        facts: Arc<FactsCache>,
        shared_groups: Arc<ArcSwap<SharedGroups>>,
        usage: Arc<Usage>,
        tail_index: Arc<TailIndex>,
    ) -> Result<Writer, StoreError> {
        let state = State {
            addresses: Cache::new(ADDRESSES_MAX),
            packer: Packer::default(),
            sm: SmLog::load(&conn)?,
            tail: Tail::new(&conn)?,
            tail_index,
            usage,
            touched: Vec::new(),
            regrouped: Vec::new(),
        };
        Ok(Writer {
            conn,
            queue,
            facts,
            shared_groups,
            state,
            full: true,
            last: Instant::now(),
            waiters: Vec::new(),
            sessions: Vec::new(),
            wal_pages: 0,
            commits: 0,
            failed: false,
            failing: false,
        })
    }

    /// Runs a closure as a transaction before the thread starts.
    pub(super) fn prepare<T>(
        &mut self,
        work: impl FnOnce(&mut Tx<'_>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        self.conn.execute_batch("BEGIN IMMEDIATE")?;
        let result = work(&mut Tx { conn: &self.conn, state: &mut self.state });
        self.conn.execute_batch(if result.is_ok() { "COMMIT" } else { "ROLLBACK" })?;
        result
    }

    /// Until the queue is closed and empty.
    pub(super) fn run(mut self) {
        self.load_tail();
        loop {
            let quiet = self.has_upkeep().then_some(QUIET);
            match self.queue.next(self.last, quiet) {
                Next::Batch(mut jobs) => {
                    while !jobs.is_empty() {
                        self.batch(&mut jobs);
                    }
                    self.upkeep(false);
                }
                Next::Quiet => self.upkeep(true),
                Next::End => break,
            }
        }
        self.checkpoint("TRUNCATE");
    }

    fn batch(&mut self, jobs: &mut VecDeque<Job>) {
        self.last = Instant::now();
        let hard = jobs.iter().any(Job::is_hard);
        let outcome = catch_unwind(AssertUnwindSafe(|| self.transact(jobs, hard)))
            .unwrap_or_else(|_| Err(StoreError::bug("the writer panicked")));
        if let Err(error) = &outcome {
            self.complain(error);
            self.recover();
        }
        self.state.tail.publish(&self.state.tail_index);
        self.regroup();
        for jid in self.state.touched.drain(..) {
            self.facts.forget(&jid);
        }
        self.sessions.clear();
        for waiter in self.waiters.drain(..) {
            let (done, outcome) = match waiter {
                Waiter::Mark(sid, done) if self.state.sm.is_poisoned(sid) => {
                    let lost =
                        || StoreError::io("confirm", "a message of this session was not stored");
                    (done, outcome.clone().and_then(|()| Err(lost())))
                }
                Waiter::Mark(_, done) | Waiter::Done(done) => (done, outcome.clone()),
            };
            if catch_unwind(AssertUnwindSafe(|| done(outcome))).is_err() {
                tracing::error!("a waiter of the writer panicked");
            }
        }
    }

    /// Brings the shared groups that the transaction touched up to what the database says.
    fn regroup(&mut self) {
        let ids = std::mem::take(&mut self.state.regrouped);
        if ids.is_empty() {
            return;
        }
        if let Err(error) = groups::reload(&self.conn, &self.shared_groups, &ids) {
            tracing::error!(%error, "cannot read the shared groups; the last ones stay in force");
        }
        self.facts.forget_all();
    }

    /// One transaction of as many jobs as fit in its time.
    fn transact(&mut self, jobs: &mut VecDeque<Job>, hard: bool) -> Result<(), StoreError> {
        if hard != self.full {
            let level = if hard { "PRAGMA synchronous=FULL" } else { "PRAGMA synchronous=NORMAL" };
            self.conn.prepare_cached(level)?.query([])?.next()?;
            self.full = hard;
        }
        self.conn.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
        self.failed = false;
        while let Some(job) = jobs.pop_front() {
            self.work(job)?;
            if self.last.elapsed() > BATCH_WORK {
                break;
            }
        }
        let mut tx = Tx { conn: &self.conn, state: &mut self.state };
        SmLog::write(&mut tx)?;
        self.conn.prepare_cached("COMMIT")?.execute([])?;
        self.commits += 1;
        if hard && !self.failed && std::mem::take(&mut self.failing) {
            tracing::info!("storing works again");
        }
        METRICS.commits.inc();
        Ok(())
    }

    /// Errors end the transaction; what concerns the job alone is told to its waiter.
    fn work(&mut self, job: Job) -> Result<(), StoreError> {
        let mut tx = Tx { conn: &self.conn, state: &mut self.state };
        let (done, result) = match job {
            Job::Append(mut row) => {
                let result = tx.append(&row);
                if result.is_ok() {
                    METRICS.messages_stored.inc();
                }
                if let Some(received) = row.received {
                    self.sessions.push(received.sid);
                    if result.is_err() {
                        tx.state.sm.poison(received.sid);
                    }
                }
                (row.done.take(), result)
            }
            Job::Note(note) => {
                tx.forget_parked(&note)?;
                tx.state.sm.note(note);
                return Ok(());
            }
            Job::Mark { sid, h, done, .. } => {
                tx.state.sm.note(Note::In { sid, h });
                self.waiters.push(Waiter::Mark(sid, done));
                return Ok(());
            }
            Job::Open(open, done) => {
                tx.state.sm.note(Note::Open(open));
                (done, Ok(()))
            }
            Job::Park { sid, parked, detached, done } => (done, tx.park(sid, &parked, detached)),
            Job::Run(run) => (Some(run_saved(&mut tx, run)?), Ok(())),
            Job::Settle(done) => (Some(done), Ok(())),
        };
        match result {
            Ok(()) => {
                self.waiters.extend(done.map(Waiter::Done));
                Ok(())
            }
            // SQLite gave up the whole transaction, not only the statement.
            Err(error) if self.conn.is_autocommit() => {
                self.waiters.extend(done.map(Waiter::Done));
                Err(error)
            }
            Err(error) => {
                self.complain(&error);
                if let Some(done) = done {
                    done(Err(error));
                }
                Ok(())
            }
        }
    }

    /// Says that something was not stored; once, not for each of thousands on a full disk.
    fn complain(&mut self, error: &StoreError) {
        self.failed = true;
        if !std::mem::replace(&mut self.failing, true) {
            tracing::error!(%error, "cannot store; those concerned are told");
        }
    }

    /// After a failed transaction: what is remembered is what the database says.
    fn recover(&mut self) {
        if !self.conn.is_autocommit()
            && let Err(error) = self.conn.execute_batch("ROLLBACK")
        {
            tracing::error!(%error, "cannot roll back");
        }
        self.state.addresses.clear();
        self.state.usage.forget();
        for sid in self.sessions.drain(..) {
            self.state.sm.poison(sid);
        }
        match SmLog::load(&self.conn) {
            Ok(fresh) => self.state.sm.replace(fresh),
            Err(error) => tracing::error!(%error, "cannot reload the sessions"),
        }
        self.load_tail();
    }

    fn load_tail(&mut self) {
        match Tail::load(&self.conn, &self.state.tail_index) {
            Ok(fresh) => self.state.tail = fresh,
            // Queries look for themselves.
            Err(error) => tracing::error!(%error, "cannot read the archive's tail"),
        }
    }

    fn has_upkeep(&self) -> bool {
        self.wal_pages >= WAL_PAGES_QUIET || self.commits > 0
    }

    /// What nobody waits for: folding logs, merging the archive's tail, checkpoints.
    fn upkeep(&mut self, quiet: bool) {
        let merge = self.state.tail.wants_merge();
        let fold = self.state.sm.wants_fold();
        if merge || fold {
            let result = self.set_soft().and_then(|()| {
                self.prepare(|tx| {
                    if merge {
                        tail::merge(tx)?;
                    }
                    if fold { SmLog::fold(tx) } else { Ok(()) }
                })
            });
            match result {
                Ok(()) => self.state.tail.publish(&self.state.tail_index),
                Err(error) => {
                    tracing::error!(%error, "cannot tidy up");
                    self.recover();
                    // Not again at once: the disk may be full.
                    self.state.tail.postpone();
                    self.state.sm.postpone();
                }
            }
        }
        if self.commits >= WAL_LOOK || quiet || merge {
            self.commits = 0;
            self.wal_pages = self.checkpoint("NOOP");
        }
        if self.wal_pages >= WAL_PAGES_MAX || quiet && self.wal_pages >= WAL_PAGES_QUIET {
            self.checkpoint("PASSIVE");
            self.wal_pages = 0;
        }
    }

    /// Upkeep that a power cut undoes is done again.
    fn set_soft(&mut self) -> Result<(), StoreError> {
        if self.full {
            self.conn.execute_batch("PRAGMA synchronous=NORMAL")?;
            self.full = false;
        }
        Ok(())
    }

    /// Pages in the log that are not in the database yet.
    fn checkpoint(&self, mode: &str) -> i64 {
        let pages = self.conn.query_row(&format!("PRAGMA wal_checkpoint({mode})"), [], |row| {
            Ok(row.get::<_, i64>(1)? - row.get::<_, i64>(2)?)
        });
        pages.unwrap_or_else(|error| {
            tracing::error!(%error, mode, "cannot checkpoint");
            0
        })
    }
}

/// Runs a closure so that its failure undoes nothing but itself.
fn run_saved(tx: &mut Tx<'_>, run: Run) -> Result<Done, StoreError> {
    tx.conn.prepare_cached("SAVEPOINT job")?.execute([])?;
    let (touched, regrouped) = (tx.state.touched.len(), tx.state.regrouped.len());
    let sm_changes = tx.state.sm.changes();
    let work = run.work;
    let Worked { keep, finish } = match catch_unwind(AssertUnwindSafe(|| work(tx))) {
        Ok(worked) => worked,
        // The waiter learns it from the dropped channel.
        Err(_) => Worked { keep: false, finish: Box::new(|_| {}) },
    };
    if tx.conn.is_autocommit() {
        finish(Err(StoreError::DiskFull));
        return Err(StoreError::io("finish a transaction", "the database gave it up"));
    }
    if !keep && (tx.state.sm.changes() != sm_changes || tx.state.tail.has_moved()) {
        // Undone in the database, done in memory: all is read again.
        finish(Ok(()));
        return Err(StoreError::bug("a change failed halfway"));
    }
    if !keep {
        tx.conn.prepare_cached("ROLLBACK TO job")?.execute([])?;
        // It may have given out numbers that are free again.
        tx.state.addresses.clear();
        tx.state.touched.truncate(touched);
        tx.state.regrouped.truncate(regrouped);
    }
    tx.conn.prepare_cached("RELEASE job")?.execute([])?;
    Ok(finish)
}
