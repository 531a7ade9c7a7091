//! A few threads that answer queries, each on its own connection and snapshot.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use rusqlite::Connection;
use tokio::sync::{Semaphore, oneshot};

use super::archive::tail::TailIndex;
use super::codec::Unpacker;
use super::{StoreError, db};

/// Queries that may wait; who comes later waits for a place.
const WAITING_MAX: usize = 256;
/// A thread without work ends after this, but for the last one.
const IDLE_MAX: Duration = Duration::from_secs(30);

/// What a query works with: a snapshot of the database.
pub(super) struct Reader {
    pub conn: Connection,
    pub unpacker: Unpacker,
    pub tail: Arc<TailIndex>,
}

type Query = Box<dyn FnOnce(Result<&mut Reader, StoreError>) + Send>;

/// The pool. Threads start when there is work for them.
pub(super) struct Readers {
    dir: PathBuf,
    tail: Arc<TailIndex>,
    places: Arc<Semaphore>,
    inner: Mutex<Inner>,
    wake: Condvar,
    threads_max: usize,
}

#[derive(Default)]
struct Inner {
    waiting: VecDeque<Query>,
    threads: usize,
    /// Threads that close their connection.
    ending: usize,
    idle: usize,
    closed: bool,
}

impl Readers {
    pub(super) fn new(dir: &Path, tail: Arc<TailIndex>, threads_max: usize) -> Arc<Readers> {
        Arc::new(Readers {
            dir: dir.into(),
            tail,
            places: Arc::new(Semaphore::new(WAITING_MAX)),
            inner: Mutex::default(),
            wake: Condvar::new(),
            threads_max: threads_max.max(1),
        })
    }

    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Runs `query` on a snapshot that holds everything committed before the call.
    pub(super) async fn read<T: Send + 'static>(
        self: &Arc<Self>,
        query: impl FnOnce(&mut Reader) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let place =
            Arc::clone(&self.places).acquire_owned().await.map_err(|_| StoreError::Closed)?;
        let (answer, answered) = oneshot::channel();
        self.push(Box::new(move |reader| {
            let result = reader.and_then(|reader| snapshot(reader, query));
            // The asker may have gone.
            let _ = answer.send(result);
            drop(place);
        }))?;
        answered.await.unwrap_or_else(|_| Err(StoreError::bug("a query panicked")))
    }

    /// Refuses queries from now on; what waits is still answered.
    pub(super) fn close(&self) {
        self.inner.lock().closed = true;
        self.places.close();
        self.wake.notify_all();
    }

    /// Waits until the threads have closed their connections.
    pub(super) fn wait_closed(&self) {
        let mut inner = self.inner.lock();
        while inner.threads + inner.ending > 0 {
            self.wake.wait(&mut inner);
        }
    }

    fn push(self: &Arc<Self>, query: Query) -> Result<(), StoreError> {
        let mut inner = self.inner.lock();
        if inner.closed {
            return Err(StoreError::Closed);
        }
        inner.waiting.push_back(query);
        if inner.idle >= inner.waiting.len() {
            drop(inner);
            self.wake.notify_one();
        } else if inner.threads < self.threads_max {
            inner.threads += 1;
            drop(inner);
            let pool = Arc::clone(self);
            let started =
                std::thread::Builder::new().name("store-reader".into()).spawn(move || pool.serve());
            if let Err(e) = started {
                let mut inner = self.inner.lock();
                inner.threads -= 1;
                if inner.threads == 0 {
                    inner.waiting.clear();
                    return Err(StoreError::io("start a reader", e));
                }
            }
        }
        Ok(())
    }

    fn reader(&self, conn: Connection) -> Reader {
        Reader { conn, unpacker: Unpacker::default(), tail: Arc::clone(&self.tail) }
    }

    fn serve(&self) {
        let mut reader = None;
        loop {
            let Some(query) = self.next() else { break };
            let ready = match &mut reader {
                Some(reader) => Ok(reader),
                none => match db::reader(&self.dir) {
                    Ok(conn) => Ok(none.insert(self.reader(conn))),
                    Err(e) => Err(e),
                },
            };
            if catch_unwind(AssertUnwindSafe(|| query(ready))).is_err() {
                tracing::error!("a query panicked");
                // Whatever state its connection was in.
                reader = None;
            }
        }
        drop(reader);
        self.inner.lock().ending -= 1;
        self.wake.notify_all();
    }

    /// `None`: the thread is to end.
    fn next(&self) -> Option<Query> {
        let mut inner = self.inner.lock();
        loop {
            if let Some(query) = inner.waiting.pop_front() {
                return Some(query);
            }
            if inner.closed {
                break;
            }
            inner.idle += 1;
            let slept = self.wake.wait_for(&mut inner, IDLE_MAX);
            inner.idle -= 1;
            if slept.timed_out() && inner.waiting.is_empty() && inner.threads > 1 {
                break;
            }
        }
        inner.threads -= 1;
        inner.ending += 1;
        None
    }
}

fn snapshot<T>(
    reader: &mut Reader,
    query: impl FnOnce(&mut Reader) -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    reader.conn.prepare_cached("BEGIN")?.execute([])?;
    let result = query(reader);
    reader.conn.prepare_cached("COMMIT")?.execute([])?;
    result
}
