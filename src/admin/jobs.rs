//! Work that goes on after its operation has answered: removals in batches, at a measured pace.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::op::{Refusal, RefusalKind};

/// What is removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    Archive,
    Offline,
}

/// The removals of this process, the last of each kind and host.
#[derive(Default)]
pub struct Jobs(Mutex<HashMap<(Kind, String), Arc<Job>>>);

/// One removal, going on or over.
#[derive(Default)]
pub struct Job {
    removed: AtomicU64,
    abort: AtomicBool,
    ended: Mutex<Option<Result<(), String>>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// There was none since the server started.
    None,
    Running,
    Done,
    Aborted,
    Failed,
}

/// How a removal goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Progress {
    pub state: State,
    /// Messages removed so far.
    pub removed: u64,
    /// Why it failed.
    pub error: Option<String>,
}

impl Jobs {
    /// Begins one.
    ///
    /// # Errors
    /// If one goes on for this host.
    pub fn begin(&self, kind: Kind, host: &str) -> Result<Arc<Job>, Refusal> {
        let mut jobs = self.0.lock();
        let key = (kind, host.to_owned());
        if jobs.get(&key).is_some_and(|job| job.ended.lock().is_none()) {
            let text = format!("a removal of {host} goes on already");
            return Err(Refusal::new(RefusalKind::Conflict, text).help("abort it, or wait"));
        }
        let job = Arc::new(Job::default());
        jobs.insert(key, Arc::clone(&job));
        Ok(job)
    }

    /// How the last one went or goes.
    pub fn progress(&self, kind: Kind, host: &str) -> Progress {
        match self.0.lock().get(&(kind, host.to_owned())) {
            Some(job) => job.progress(),
            None => Progress { state: State::None, removed: 0, error: None },
        }
    }

    /// Has the one that goes on end after its batch; false if there is none.
    pub fn abort(&self, kind: Kind, host: &str) -> bool {
        match self.0.lock().get(&(kind, host.to_owned())) {
            Some(job) if job.ended.lock().is_none() => {
                job.abort.store(true, Ordering::Release);
                true
            }
            _ => false,
        }
    }
}

impl Job {
    fn progress(&self) -> Progress {
        let (state, error) = match &*self.ended.lock() {
            None => (State::Running, None),
            Some(Ok(())) if self.abort.load(Ordering::Acquire) => (State::Aborted, None),
            Some(Ok(())) => (State::Done, None),
            Some(Err(error)) => (State::Failed, Some(error.clone())),
        };
        Progress { state, removed: self.removed.load(Ordering::Relaxed), error }
    }

    /// Notes that so many more are gone, and waits so long that there are no more than `per_minute`
    /// in a minute. False when it is to end.
    pub async fn pace(&self, removed: u64, per_minute: u64) -> bool {
        self.removed.fetch_add(removed, Ordering::Relaxed);
        let pause = Duration::from_secs(60).mul_f64(removed as f64 / per_minute.max(1) as f64);
        // In short steps, so that an abort is heard.
        let until = tokio::time::Instant::now() + pause;
        while !self.abort.load(Ordering::Acquire) {
            let left = until.saturating_duration_since(tokio::time::Instant::now());
            if left.is_zero() {
                return true;
            }
            tokio::time::sleep(left.min(Duration::from_millis(200))).await;
        }
        false
    }

    /// It is over.
    pub fn end(&self, outcome: Result<(), String>) {
        *self.ended.lock() = Some(outcome);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_goes_on_per_host_at_its_pace_until_it_ends_or_is_aborted() {
        let jobs = Jobs::default();
        assert_eq!(jobs.progress(Kind::Archive, "a").state, State::None);
        let job = jobs.begin(Kind::Archive, "a").unwrap();
        assert!(jobs.begin(Kind::Archive, "a").is_err());
        assert!(jobs.begin(Kind::Offline, "a").is_ok() && jobs.begin(Kind::Archive, "b").is_ok());
        let start = tokio::time::Instant::now();
        assert!(job.pace(500, 600_000).await);
        assert!(start.elapsed() >= Duration::from_millis(50));
        assert_eq!(jobs.progress(Kind::Archive, "a").removed, 500);
        assert!(jobs.abort(Kind::Archive, "a"));
        // An hour's pause, were it not for the abort.
        assert!(!job.pace(60, 1).await);
        job.end(Ok(()));
        assert_eq!(jobs.progress(Kind::Archive, "a").state, State::Aborted);
        assert!(!jobs.abort(Kind::Archive, "a"));
        jobs.begin(Kind::Archive, "a").unwrap().end(Err("no disk".into()));
        let failed = jobs.progress(Kind::Archive, "a");
        assert_eq!((failed.state, failed.error.as_deref()), (State::Failed, Some("no disk")));
    }
}
