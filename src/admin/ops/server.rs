//! The server itself: status, metrics, stop.

pub mod stats;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::admin::Context;
use crate::admin::op::{Class, Example, Operation, Refusal};
use crate::config::Change;
use crate::router::sessions::Flag;
use crate::telemetry::METRICS;
use crate::time::Now;

/// How the server is.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Status {}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Summary {
    pub running: bool,
    pub version: String,
    /// The rest is unknown while the server is down.
    pub process: Option<Process>,
    pub data_dir: String,
    pub hosts: Vec<Host>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Process {
    pub pid: u32,
    /// XEP-0082 time.
    pub started: String,
    pub uptime_secs: u64,
    pub connections: u64,
    pub sessions: usize,
    /// Resident memory.
    pub memory_bytes: Option<u64>,
    /// Lines that the log could not write in time.
    pub log_lines_dropped: u64,
    /// Settings that were changed and wait for a restart.
    #[serde(default)]
    pub waiting_for_restart: Vec<Change>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Host {
    pub domain: String,
    pub accounts: u64,
    /// Unknown while the server is down.
    pub sessions: Option<usize>,
}

impl Operation for Status {
    const NAME: &'static str = "server.status";
    const SUMMARY: &'static str = "Show how the server is";
    const CLASS: Class = Class::Safe;
    const EXAMPLE: Example = Example {
        arguments: "{}",
        output: r#"{"running": true, "version": "0.1.0", "process": {"pid": 1234, "started": "2026-11-23T20:00:00Z", "uptime_secs": 60, "connections": 2, "sessions": 2, "memory_bytes": 16777216, "log_lines_dropped": 0, "waiting_for_restart": []}, "data_dir": "/var/lib/coucou", "hosts": [{"domain": "example.org", "accounts": 3, "sessions": 2}]}"#,
    };
    type Output = Summary;

    async fn run(self, cx: &Context) -> Result<Summary, Refusal> {
        let sessions = cx.server().map(|server| server.router().sessions.all());
        let mut hosts = Vec::new();
        for host in &cx.config().hosts {
            let here = sessions
                .as_ref()
                .map(|all| all.iter().filter(|s| s.jid.domain() == host.domain).count());
            let accounts = cx.store().accounts().count(&host.domain).await?;
            hosts.push(Host { domain: host.domain.clone(), accounts, sessions: here });
        }
        Ok(Summary {
            running: cx.server().is_some(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            process: cx.server().map(|server| Process {
                pid: std::process::id(),
                started: server.started().to_xmpp(),
                uptime_secs: Now::read().since(server.started()).as_secs(),
                connections: METRICS.connections.get(),
                sessions: sessions.as_ref().map_or(0, Vec::len),
                memory_bytes: resident_bytes(),
                log_lines_dropped: server.telemetry().dropped_lines(),
                waiting_for_restart: server.pending(),
            }),
            data_dir: cx.config().data_dir.display().to_string(),
            hosts,
        })
    }
}

/// proc(5): `VmRSS` in `status`, in KiB.
fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kib * 1024)
}

/// The counters of the running server.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Metrics {}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Metric {
    pub name: String,
    pub help: String,
    /// It only grows, as opposed to a number that goes up and down.
    pub counter: bool,
    pub value: u64,
}

impl Operation for Metrics {
    const NAME: &'static str = "server.metrics";
    const SUMMARY: &'static str = "Read the counters";
    const CLASS: Class = Class::Safe;
    const EXAMPLE: Example = Example {
        arguments: "{}",
        output: r#"[{"name": "sessions", "help": "Sessions, connected or waiting for their client.", "counter": false, "value": 2}]"#,
    };
    type Output = Vec<Metric>;

    async fn run(self, cx: &Context) -> Result<Vec<Metric>, Refusal> {
        let sessions = cx.running()?.router().sessions.all();
        let waiting = sessions.iter().filter(|session| session.has(Flag::Parked)).count();
        let counted = [
            ("sessions", "Sessions, connected or waiting for their client.", sessions.len()),
            ("sessions_waiting", "Sessions without a connection that may be resumed.", waiting),
        ];
        let samples = METRICS.read().into_iter().map(|sample| Metric {
            name: sample.name.to_owned(),
            help: sample.help.to_owned(),
            counter: sample.counter,
            value: sample.value,
        });
        let counted = counted.into_iter().map(|(name, help, count)| Metric {
            name: name.to_owned(),
            help: help.to_owned(),
            counter: false,
            value: count as u64,
        });
        Ok(counted.chain(samples).collect())
    }
}

/// Ends the server in order: clients are told, what waits is written to disk.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Stop {}

impl Operation for Stop {
    const NAME: &'static str = "server.stop";
    const SUMMARY: &'static str = "Stop the server";
    const CLASS: Class = Class::LockOut;
    const EXAMPLE: Example = Example { arguments: "{}", output: "null" };
    type Output = ();

    async fn run(self, cx: &Context) -> Result<(), Refusal> {
        cx.running()?.stop();
        Ok(())
    }
}
