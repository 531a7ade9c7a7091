//! Logins: TCP, TLS, SCRAM and resource binding, then good-bye, as fast as the server takes them.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use tokio::task::JoinSet;

use super::{Run, joined};
use crate::clock;
use crate::error::Result;
use crate::histogram::Histogram;
use crate::report::Report;
use crate::session::Session;

#[derive(clap::Args, Clone, Debug)]
pub struct Options {
    /// Logins measured, spread over the accounts
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    pub count: u64,
}

pub async fn run(run: &Run, options: &Options) -> Result<Report> {
    // Once around: the generator hashes the passwords now, and the server's caches are as warm as
    // they will be.
    pass(run, run.users as u64).await?;
    let meter = run.meter()?;
    let started = clock::micros();
    let latency = pass(run, options.count).await?;
    let seconds = (clock::micros() - started) as f64 / 1e6;
    let (server, own) = meter.since(run)?;

    let mut report = Report::default();
    report.add("logins", options.count as f64, "");
    report.add("seconds", seconds, "s");
    report.add("logins_per_second", options.count as f64 / seconds, "/s");
    report.add_latency("login", &latency);
    report.add_cpu("logins", options.count as f64, server, own);
    Ok(report)
}

/// Logs in `count` times with as many workers as logins may be under way.
async fn pass(run: &Run, count: u64) -> Result<Histogram> {
    let latency = Rc::new(RefCell::new(Histogram::default()));
    let next = Rc::new(Cell::new(0));
    let mut workers = JoinSet::new();
    for _ in 0..run.parallel {
        let (latency, next, target) = (latency.clone(), next.clone(), run.target.clone());
        let (first, users) = (run.first, run.users);
        workers.spawn_local(async move {
            while next.get() < count {
                let index = first + (next.replace(next.get() + 1) as usize) % users;
                let started = clock::micros();
                let session = Session::login(&target, index).await?;
                latency.borrow_mut().record(clock::micros() - started);
                session.close().await;
            }
            Ok(())
        });
    }
    while let Some(outcome) = workers.join_next().await {
        joined(outcome)?;
    }
    Ok(latency.take())
}
