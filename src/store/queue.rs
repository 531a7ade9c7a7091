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
    /// Jobs that wait, and their bytes.
    pub(super) fn waiting(&self) -> (usize, usize) {
        let inner = self.inner.lock();
        (inner.jobs.len(), inner.bytes)
    }

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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::store::resume::log::Note;

    const LONG: Duration = Duration::from_secs(60);

    fn queue(options: StoreOptions) -> Arc<Queue> {
        Arc::new(Queue::new(&options))
    }

    fn lazy() -> Job {
        Job::Note(Note::In { sid: 1, h: 1 })
    }

    fn eager() -> Job {
        Job::Mark { sid: 1, h: 1, soft: true, done: Box::new(|_| {}) }
    }

    fn urgent() -> Job {
        Job::Settle(Box::new(|_| {}))
    }

    fn push(queue: &Queue, job: Job) {
        assert!(queue.push(job).is_ok());
    }

    fn take(queue: &Queue, last: Instant) -> usize {
        match queue.next(last, None) {
            Next::Batch(jobs) => jobs.len(),
            Next::Quiet | Next::End => panic!("no batch"),
        }
    }

    #[test]
    fn lazy_jobs_wait_for_company_but_not_for_ever() {
        let queue =
            queue(StoreOptions { commit_spacing: Duration::ZERO, ..StoreOptions::default() });
        let start = Instant::now();
        push(&queue, lazy());
        assert_eq!(take(&queue, start), 1);
        assert!(start.elapsed() >= LAZY_MAX);
        let start = Instant::now();
        push(&queue, lazy());
        push(&queue, eager());
        assert_eq!(take(&queue, start), 2);
        assert!(start.elapsed() < LAZY_MAX);
    }

    #[test]
    fn an_urgent_job_or_a_full_batch_ends_the_gathering() {
        let queue = queue(StoreOptions { commit_spacing: LONG, ..StoreOptions::default() });
        for (count, last) in [(2, urgent as fn() -> Job), (BATCH_JOBS, eager)] {
            let (writer, start) = (Arc::clone(&queue), Instant::now());
            let thread = std::thread::spawn(move || take(&writer, start));
            for _ in 1..count {
                push(&queue, eager());
            }
            assert!(!thread.is_finished());
            push(&queue, last());
            assert_eq!(thread.join().unwrap(), count);
            assert!(start.elapsed() < LONG);
        }
        // An idle writer does not gather at all.
        push(&queue, eager());
        assert_eq!(take(&queue, Instant::now().checked_sub(LONG).unwrap()), 1);
    }

    #[test]
    fn what_was_taken_before_closing_is_done_and_nothing_after() {
        let queue = queue(StoreOptions { queue_jobs_max: 2, ..StoreOptions::default() });
        push(&queue, lazy());
        push(&queue, lazy());
        assert!(matches!(queue.push(lazy()), Err((_, StoreError::Busy))));
        queue.close();
        assert!(matches!(queue.push(urgent()), Err((_, StoreError::Closed))));
        assert_eq!(take(&queue, Instant::now()), 2);
        assert!(matches!(queue.next(Instant::now(), None), Next::End));
    }
}
