//! Idle sessions: what one costs the server in memory when it does nothing.

use std::time::Duration;

use super::Run;
use crate::clock;
use crate::error::{Error, Result};
use crate::report::Report;

#[derive(clap::Args, Clone, Debug)]
pub struct Options {
    /// Seconds to let the server come to rest before memory is read
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(0..=600))]
    pub settle: u64,
    /// Send available presence in each session
    #[arg(long)]
    pub presence: bool,
    /// Enable stream management in each session
    #[arg(long)]
    pub stream_management: bool,
}

pub async fn run(run: &Run, options: &Options) -> Result<Report> {
    if run.server.is_empty() {
        return Err(Error::Usage("idle measures the server's memory: give --server-pid".into()));
    }
    let settle = Duration::from_secs(options.settle);
    let empty = run.server.resident_bytes()?;
    let meter = run.meter()?;
    let started = clock::micros();
    let mut sessions = run.login_all().await?;
    for session in &mut sessions {
        if options.stream_management {
            session.enable_stream_management(&run.target).await?;
        }
        if options.presence {
            session.announce(&run.target).await?;
        }
    }
    let seconds = (clock::micros() - started) as f64 / 1e6;
    tokio::time::sleep(settle).await;
    let full = run.server.resident_bytes()?;
    let (server, own) = meter.since(run)?;

    let rest = run.meter()?;
    tokio::time::sleep(settle).await;
    let (at_rest, _) = rest.since(run)?;

    let count = sessions.len() as f64;
    let mut report = Report::default();
    report.add("sessions", count, "");
    report.add("seconds_to_open", seconds, "s");
    report.add("server_rss_empty_kib", empty as f64 / 1024.0, "KiB");
    report.add("server_rss_full_kib", full as f64 / 1024.0, "KiB");
    let per_session = full.saturating_sub(empty) as f64 / 1024.0 / count;
    report.add("server_rss_per_session_kib", per_session, "KiB");
    if let Some(at_rest) = at_rest.filter(|_| options.settle > 0) {
        let per_second = at_rest.cpu_seconds / options.settle as f64;
        report.add("server_cpu_seconds_per_idle_second", per_second, "s");
    }
    report.add_cpu("sessions", count, server, own);
    for session in sessions {
        session.close().await;
    }
    Ok(report)
}
