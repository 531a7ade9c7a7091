//! `coucou status`

use clap::Args;

use super::Common;
use super::failure::Failure;
use super::output::{Output, clean, duration, table};
use super::reach::Reach;
use crate::admin::ops::server::{self, Summary};

#[derive(Debug, Args)]
pub(super) struct Status {
    /// Show the counters of the running server instead
    #[arg(long)]
    metrics: bool,
}

impl Status {
    pub(super) fn run(self, common: &Common, out: &mut Output) -> Result<(), Failure> {
        if self.metrics { metrics(common, out) } else { status(common, out) }
    }
}

fn metrics(common: &Common, out: &mut Output) -> Result<(), Failure> {
    let metrics = Reach::server(common)?.call(&server::Metrics {})?;
    out.show(&metrics, |metrics| {
        let rows = metrics.iter().map(|m| [m.value.to_string(), m.name.clone(), m.help.clone()]);
        table(["VALUE", "NAME", "WHAT"], rows)
    })
}

fn status(common: &Common, out: &mut Output) -> Result<(), Failure> {
    let mut reach = Reach::anyway(common)?;
    let summary = reach.call(&server::Status {})?;
    reach.close()?;
    out.show(&summary, text)?;
    if summary.running {
        Ok(())
    } else {
        Err(Failure::unreachable("the server is not running").told())
    }
}

fn text(summary: &Summary) -> String {
    let mut lines = Vec::new();
    match &summary.process {
        Some(process) => {
            let memory = process
                .memory_bytes
                .map_or_else(String::new, |b| format!(", {} MiB of memory", b >> 20));
            lines.push(format!(
                "Coucou {} runs since {} (pid {}, {}{memory})",
                summary.version,
                process.started.get(..19).unwrap_or("").replace('T', " "),
                process.pid,
                duration(process.uptime_secs),
            ));
            lines.push(format!(
                "{} connections, {} sessions",
                process.connections, process.sessions
            ));
            for change in &process.waiting_for_restart {
                lines.push(format!("waits for a restart: {}", clean(&change.to_string())));
            }
            if process.log_lines_dropped > 0 {
                lines.push(format!(
                    "{} lines of the log were lost: the disk is too slow",
                    process.log_lines_dropped
                ));
            }
        }
        None => lines.push("Coucou is not running".to_owned()),
    }
    lines.push(format!("data: {}", summary.data_dir));
    let rows = summary.hosts.iter().map(|host| {
        let sessions = host.sessions.map_or_else(|| "-".to_owned(), |count| count.to_string());
        [host.domain.clone(), host.accounts.to_string(), sessions]
    });
    lines.push(table(["HOST", "ACCOUNTS", "SESSIONS"], rows));
    lines.join("\n")
}
