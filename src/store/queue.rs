//! The queue in front of the writer: bounded in jobs and bytes, in order, quiet.
//!
//! Jobs differ in how long they may wait. *Lazy* ones wait for company, up to [`LAZY_MAX`]; the
//! others are committed at once by an idle writer, and in company by a busy one. Somebody waits
//! for an *urgent* one, so it ends the gathering.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use tokio::sync::Notify;

use super::writer::Job;
use super::{Busy, StoreError, StoreOptions};

/// How long a lazy job waits for company.
const LAZY_MAX: Duration = Duration::from_millis(200);
/// A batch is at most this many bytes of stanzas …
pub(super) const BATCH_BYTES: usize = 256 << 10;
/// … and jobs.
const BATCH_JOBS: usize = 2_048;
/// What a job costs beside the bytes it carries.
const JOB_BYTES: usize = 128;

pub(super) struct Queue {
    inner: Mutex<Inner>,
    wake: Condvar,
    room: Notify,
    bytes_max: usize,
    jobs_max: usize,
    spacing: Duration,
}

struct Inner {
    jobs: VecDeque<Job>,
    bytes: usize,
    /// Since when something other than lazy jobs waits.
    eager: bool,
    urgent: bool,
    lazy_since: Option<Instant>,
    closed: bool,
    /// What the writer sleeps for; producers wake it only for that.
    asleep: Asleep,
    /// Somebody waits for room.
    crowded: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Asleep {
    No,
    /// Until any job comes.
    Idle,
    /// Until a job comes that is not lazy.
    Lazy,
    /// Until an urgent job comes, or a batch is full.
    Gathering,
}

/// What the writer is to do next.
pub(super) enum Next {
    Batch(VecDeque<Job>),
    /// Nothing came for the time given.
    Quiet,
    /// Closed and empty.
    End,
}

impl Queue {
    pub(super) fn new(options: &StoreOptions) -> Queue {
        Queue {
            inner: Mutex::new(Inner {
                jobs: VecDeque::new(),
                bytes: 0,
                eager: false,
                urgent: false,
                lazy_since: None,
                closed: false,
                asleep: Asleep::No,
                crowded: false,
            }),
            wake: Condvar::new(),
            room: Notify::new(),
            bytes_max: options.queue_bytes_max,
            jobs_max: options.queue_jobs_max,
            spacing: options.commit_spacing,
        }
    }

    /// Queues a job, or hands it back when the queue is full or closed.
    pub(super) fn push(&self, job: Job) -> Result<(), (Job, StoreError)> {
        let mut inner = self.inner.lock();
        if inner.closed {
            return Err((job, StoreError::Closed));
        }
        if inner.bytes >= self.bytes_max || inner.jobs.len() >= self.jobs_max {
            return Err((job, Busy.into()));
        }
        let (lazy, urgent) = (job.is_lazy(), job.is_urgent());
        inner.bytes += job.bytes() + JOB_BYTES;
        inner.jobs.push_back(job);
        inner.urgent |= urgent;
        if !lazy {
            inner.eager = true;
        } else if inner.lazy_since.is_none() {
            inner.lazy_since = Some(Instant::now());
        }
        let full = inner.bytes >= BATCH_BYTES || inner.jobs.len() >= BATCH_JOBS;
        let wake = match inner.asleep {
            Asleep::No => false,
            Asleep::Idle => true,
            Asleep::Lazy => !lazy || full,
            Asleep::Gathering => urgent || full,
        };
        if wake {
            inner.asleep = Asleep::No;
            drop(inner);
            self.wake.notify_one();
        }
        Ok(())
    }

    /// Ends when a job would be taken, or the queue is closed.
    pub(super) async fn room(&self) {
        loop {
            let notified = self.room.notified();
            {
                let mut inner = self.inner.lock();
                let full = inner.bytes >= self.bytes_max || inner.jobs.len() >= self.jobs_max;
                if !full || inner.closed {
                    return;
                }
                inner.crowded = true;
            }
            notified.await;
        }
    }

    /// Refuses jobs from now on; what waits is still taken.
    pub(super) fn close(&self) {
        self.inner.lock().closed = true;
        self.wake.notify_one();
        self.room.notify_waiters();
    }

    /// Waits for work: `last` is when the last commit began, `quiet` how long to wait for nothing.
    pub(super) fn next(&self, last: Instant, quiet: Option<Duration>) -> Next {
        let mut inner = self.inner.lock();
        let quiet_at = quiet.map(|span| Instant::now() + span);
        loop {
            let full = inner.bytes >= BATCH_BYTES || inner.jobs.len() >= BATCH_JOBS;
            let (until, asleep) = if inner.jobs.is_empty() {
                if inner.closed {
                    return Next::End;
                }
                (quiet_at, Asleep::Idle)
            } else if inner.closed || inner.urgent || full {
                return Next::Batch(self.take(&mut inner));
            } else if inner.eager {
                (Some(last + self.spacing), Asleep::Gathering)
            } else {
                (inner.lazy_since.map(|since| since + LAZY_MAX), Asleep::Lazy)
            };
            let now = Instant::now();
            match until {
                Some(until) if until <= now => {
                    return if inner.jobs.is_empty() {
                        Next::Quiet
                    } else {
                        Next::Batch(self.take(&mut inner))
                    };
                }
                Some(until) => {
                    inner.asleep = asleep;
                    self.wake.wait_until(&mut inner, until);
                }
                None => {
                    inner.asleep = asleep;
                    self.wake.wait(&mut inner);
                }
            }
            inner.asleep = Asleep::No;
        }
    }

    fn take(&self, inner: &mut Inner) -> VecDeque<Job> {
        let mut bytes = 0;
        let mut jobs = 0;
        for job in &inner.jobs {
            if jobs == BATCH_JOBS || bytes >= BATCH_BYTES {
                break;
            }
            jobs += 1;
            bytes += job.bytes() + JOB_BYTES;
        }
        let rest = inner.jobs.split_off(jobs);
        let batch = std::mem::replace(&mut inner.jobs, rest);
        inner.bytes -= bytes;
        if inner.jobs.is_empty() {
            inner.eager = false;
            inner.urgent = false;
            inner.lazy_since = None;
        }
        if std::mem::take(&mut inner.crowded) {
            self.room.notify_waiters();
        }
        batch
    }
}
