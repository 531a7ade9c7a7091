//! How busy the server is, what it keeps on disk, and single numbers by ejabberd's names.

use std::collections::BTreeMap;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::admin::Context;
use crate::admin::op::{Class, Example, Operation, Refusal};
use crate::admin::ops::account;
use crate::telemetry::metrics::RATES;
use crate::time::Now;

/// Rates are told over this long.
const RATES_OVER: Duration = Duration::from_secs(60);

/// Rates, queues, storage.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Stats {}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Told {
    /// Unknown while the server is down, and in its first ten seconds.
    pub rates: Option<Rates>,
    pub queue: Queue,
    pub storage: Storage,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Rates {
    /// Over the last so many seconds.
    pub over_secs: u64,
    /// By the name of the counter: how much it grows in a second.
    pub per_second: BTreeMap<String, f64>,
}

/// What waits for the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Queue {
    pub changes: usize,
    pub bytes: usize,
}

/// Bytes by kind, as stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Storage {
    pub archive_messages: u64,
    pub archive_bytes: u64,
    pub offline_messages: u64,
    pub offline_bytes: u64,
    pub vcard_bytes: u64,
    pub private_bytes: u64,
    /// The database file, and how much of it is free for what comes.
    pub database_bytes: u64,
    pub database_free_bytes: u64,
    /// Changes that wait to be copied into it.
    pub log_bytes: u64,
    /// Of the disk that the data directory is on.
    pub disk_bytes: u64,
    pub disk_free_bytes: u64,
}

impl Operation for Stats {
    const NAME: &'static str = "server.stats";
    const SUMMARY: &'static str = "Tell rates, what waits for the disk, and what is stored";
    const CLASS: Class = Class::Safe;
    const EXAMPLE: Example = Example {
        arguments: "{}",
        output: r#"{"rates": {"over_secs": 60, "per_second": {"messages_in": 3.5}},
            "queue": {"changes": 0, "bytes": 0}, "storage": {"archive_messages": 91200,
            "archive_bytes": 18041230, "offline_messages": 12, "offline_bytes": 2400,
            "vcard_bytes": 204800, "private_bytes": 5120, "database_bytes": 41943040,
            "database_free_bytes": 1048576, "log_bytes": 4152, "disk_bytes": 64000000000,
            "disk_free_bytes": 41000000000}}"#,
    };
    type Output = Told;

    async fn run(self, cx: &Context) -> Result<Told, Refusal> {
        let contents = cx.store().survey().contents().await?;
        let dir = &cx.config().data_dir;
        let disk = rustix::fs::statvfs(dir).map_err(|error| {
            Refusal::unavailable(format!("cannot ask the disk of {}: {error}", dir.display()))
        })?;
        let log = std::fs::metadata(dir.join("coucou.db-wal")).map_or(0, |file| file.len());
        let rates = cx.server().and_then(|_| RATES.read(RATES_OVER, Now::read()));
        let (changes, bytes) = cx.store().waiting();
        Ok(Told {
            rates: rates.map(|(span, rates)| Rates {
                over_secs: span.as_secs(),
                per_second: rates
                    .into_iter()
                    .map(|(name, rate)| (name.to_owned(), (rate * 1_000.0).round() / 1_000.0))
                    .collect(),
            }),
            queue: Queue { changes, bytes },
            storage: Storage {
                archive_messages: contents.archive.messages,
                archive_bytes: contents.archive.bytes,
                offline_messages: contents.offline.messages,
                offline_bytes: contents.offline.bytes,
                vcard_bytes: contents.vcard_bytes,
                private_bytes: contents.private_bytes,
                database_bytes: contents.database_bytes,
                database_free_bytes: contents.free_bytes,
                log_bytes: log,
                disk_bytes: disk.f_blocks * disk.f_frsize,
                disk_free_bytes: disk.f_bavail * disk.f_frsize,
            },
        })
    }
}

/// One number.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Number {
    pub name: Name,
    /// Only this host, where the number is one of hosts; all hosts if empty.
    #[serde(default)]
    pub host: String,
}

/// Numbers that scripts for ejabberd know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Name {
    RegisteredUsers,
    OnlineUsers,
    /// The same: there is one node.
    OnlineUsersNode,
    UptimeSeconds,
    /// Tasks of the runtime.
    Processes,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Value {
    pub value: u64,
}

impl Operation for Number {
    const NAME: &'static str = "server.number";
    const SUMMARY: &'static str = "Tell one number: accounts, sessions, seconds of uptime, tasks";
    const CLASS: Class = Class::Safe;
    const EXAMPLE: Example = Example {
        arguments: r#"{"name": "registeredusers", "host": "example.org"}"#,
        output: r#"{"value": 112}"#,
    };
    type Output = Value;

    fn target(&self) -> String {
        self.host.clone()
    }

    async fn run(self, cx: &Context) -> Result<Value, Refusal> {
        let hosts = account::hosts(cx, &self.host)?;
        let whole = self.host.is_empty();
        let value = match self.name {
            Name::RegisteredUsers => {
                let mut sum = 0;
                for host in hosts {
                    sum += cx.store().accounts().count(&host.domain).await?;
                }
                sum
            }
            Name::OnlineUsers | Name::OnlineUsersNode => {
                let sessions = cx.running()?.router().sessions.all();
                let here = |domain: &str| hosts.iter().any(|host| host.domain == domain);
                sessions.iter().filter(|session| here(session.jid.domain())).count() as u64
            }
            Name::UptimeSeconds if whole => Now::read().since(cx.running()?.started()).as_secs(),
            Name::Processes if whole => {
                cx.running()?;
                tokio::runtime::Handle::current().metrics().num_alive_tasks() as u64
            }
            Name::UptimeSeconds | Name::Processes => {
                return Err(Refusal::usage(
                    "name: that number is one of the server, not of a host",
                )
                .help("hosts have registeredusers and onlineusers"));
            }
        };
        Ok(Value { value })
    }
}

/// The doors that are open.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Listeners {}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Listener {
    /// The name of its setting in `[listen]`: `c2s`, `c2s_tls`, `component` ….
    pub what: String,
    pub address: String,
    /// Connections that came in by it and are open now.
    pub connections: usize,
}

impl Operation for Listeners {
    const NAME: &'static str = "server.listeners";
    const SUMMARY: &'static str = "List the listeners that are open, with their connections";
    const CLASS: Class = Class::Safe;
    const EXAMPLE: Example = Example {
        arguments: "{}",
        output: r#"[{"what": "c2s", "address": "[::]:5222", "connections": 23}]"#,
    };
    type Output = Vec<Listener>;

    async fn run(self, cx: &Context) -> Result<Vec<Listener>, Refusal> {
        let open = cx.running()?.listeners().await;
        let show = open.into_iter().map(|listener| Listener {
            what: listener.what.to_owned(),
            address: listener.address.to_string(),
            connections: listener.connections,
        });
        Ok(show.collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::op::RefusalKind;
    use crate::admin::ops::testing;
    use crate::testing::World;

    #[tokio::test]
    async fn single_numbers_are_told_by_name_and_host() {
        let world = World::new();
        let cx = testing::live(&world);
        let ann = world.online("ann@localhost/a").await;
        world.account("bob@localhost").await;
        let number = async |name, host: &str| {
            Number { name, host: host.to_owned() }.run(&cx).await.map(|value| value.value)
        };
        assert_eq!(number(Name::RegisteredUsers, "").await, Ok(2));
        assert_eq!(number(Name::OnlineUsers, "localhost").await, Ok(1));
        assert!(number(Name::Processes, "").await.is_ok());
        let refusal = number(Name::UptimeSeconds, "localhost").await.unwrap_err();
        assert_eq!(refusal.kind, RefusalKind::Usage);
        assert_eq!(
            number(Name::OnlineUsers, "x.org").await.unwrap_err().kind,
            RefusalKind::NotFound
        );
        drop(ann);
    }

    #[tokio::test]
    async fn what_is_stored_is_told_while_the_server_is_down() {
        let (_dir, cx) = testing::context().await;
        let stats = Stats {}.run(&cx).await.unwrap();
        assert_eq!(stats.rates, None);
        assert!(stats.storage.database_bytes > 0 && stats.storage.disk_bytes > 0);
        assert!(stats.storage.disk_free_bytes <= stats.storage.disk_bytes);
    }
}
