//! Messages that wait for accounts that are not there (XEP-0160).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::account;
use super::archive::purge::{Aborted, at_least_one, one_host};
use super::archive::{Held, Messages, bounded, message_id};
use super::when::{moment, page};
use crate::admin::Context;
use crate::admin::jobs::{Kind, Progress};
use crate::admin::op::{Class, Example, Operation, Refusal};
use crate::time::Now;

const PAGE_MAX: usize = 250;

/// Counts what waits for an account, or for those of a host together.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Count {
    /// An account (`anna@example.org`) or a host (`example.org`).
    pub jid: String,
}

impl Operation for Count {
    const NAME: &'static str = "offline.count";
    const SUMMARY: &'static str = "Count the messages that wait for an account or a host";
    const CLASS: Class = Class::Safe;
    const EXAMPLE: Example = Example {
        arguments: r#"{"jid": "anna@example.org"}"#,
        output: r#"{"messages": 5, "bytes": 812}"#,
    };
    type Output = Held;

    fn target(&self) -> String {
        self.jid.clone()
    }

    async fn run(self, cx: &Context) -> Result<Held, Refusal> {
        if !self.jid.contains('@') {
            let host = account::hosts(cx, &self.jid)?.remove(0);
            return Ok(cx.store().survey().offline_of(&host.domain, None).await?.into());
        }
        let (jid, _) = account::account(cx, &self.jid)?;
        let row = account::existing(cx, &jid).await?;
        Ok(cx.store().survey().offline(row.id).await?.into())
    }
}

/// Reads what waits for an account, oldest first.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Read {
    pub jid: String,
    /// Only after the message with this id: `next` of the page before.
    #[serde(default)]
    pub after: Option<String>,
    /// Messages at most; 0 stands for as many as fit in an answer.
    #[serde(default)]
    pub max: usize,
}

impl Operation for Read {
    const NAME: &'static str = "offline.read";
    const SUMMARY: &'static str = "Read the messages that wait for an account";
    const CLASS: Class = Class::Safe;
    const PRIVATE: bool = true;
    const EXAMPLE: Example = Example {
        arguments: r#"{"jid": "anna@example.org"}"#,
        output: r#"{"messages": [], "next": null}"#,
    };
    type Output = Messages;

    fn target(&self) -> String {
        self.jid.clone()
    }

    async fn run(self, cx: &Context) -> Result<Messages, Refusal> {
        let (jid, _) = account::account(cx, &self.jid)?;
        let row = account::existing(cx, &jid).await?;
        let after = self.after.as_deref().map(message_id).transpose()?;
        let max = page(self.max, PAGE_MAX);
        let mut items = cx.store().offline().fetch(row.id, after, max + 1).await?;
        let complete = items.len() <= max;
        items.truncate(max);
        Ok(bounded(items, complete))
    }
}

/// Drops messages that have waited too long. Without `apply` it only tells how many.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Purge {
    /// Only this host; all hosts if empty.
    pub host: String,
    /// A time, a day, or an age such as `30d`: what is older goes. Left out, the settings decide
    /// (`offline.age_max` of each host).
    pub before: Option<String>,
    /// Do it.
    pub apply: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Purged {
    /// It is done, as opposed to "would be".
    pub removed: bool,
    pub messages: u64,
}

impl Operation for Purge {
    const NAME: &'static str = "offline.purge";
    const SUMMARY: &'static str = "Drop messages that have waited too long, or tell how many";
    const CLASS: Class = Class::Destructive;
    const EXAMPLE: Example = Example {
        arguments: r#"{"host": "example.org", "before": "31d"}"#,
        output: r#"{"removed": false, "messages": 12}"#,
    };
    type Output = Purged;

    fn target(&self) -> String {
        self.host.clone()
    }

    /// Telling is looking.
    fn class(&self) -> Class {
        if self.apply { Class::Destructive } else { Class::Safe }
    }

    async fn run(self, cx: &Context) -> Result<Purged, Refusal> {
        let now = Now::read();
        let asked = self.before.as_deref().map(|text| moment("before", text, now)).transpose()?;
        let mut purged = Purged { removed: self.apply, messages: 0 };
        for host in account::hosts(cx, &self.host)? {
            let by_settings = || host.offline.age_max.map(|age| now.minus(age));
            let Some(before) = asked.or_else(by_settings) else { continue };
            purged.messages += if self.apply {
                cx.store().offline().expire(&host.domain, before).await?
            } else {
                cx.store().survey().offline_of(&host.domain, Some(before)).await?.messages
            };
        }
        Ok(purged)
    }
}

/// Begins to drop old messages of one host in batches.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Start {
    pub host: String,
    /// A time, a day, or an age such as `30d`: what is older goes.
    pub before: String,
    /// Messages per minute, at most.
    #[serde(default = "rate")]
    pub rate: u64,
}

fn rate() -> u64 {
    10_000
}

impl Operation for Start {
    const NAME: &'static str = "offline.purge_start";
    const SUMMARY: &'static str =
        "Begin to drop messages that wait for a host's accounts in batches";
    const CLASS: Class = Class::Destructive;
    const EXAMPLE: Example = Example {
        arguments: r#"{"host": "example.org", "before": "31d"}"#,
        output: r#"{"state": "running", "removed": 0, "error": null}"#,
    };
    type Output = Progress;

    fn target(&self) -> String {
        self.host.clone()
    }

    async fn run(self, cx: &Context) -> Result<Progress, Refusal> {
        let server = cx.running()?;
        let host = one_host(cx, &self.host)?;
        let before = moment("before", &self.before, Now::read())?;
        let rate = at_least_one(self.rate)?;
        let job = server.jobs().begin(Kind::Offline, &host)?;
        let progress = server.jobs().progress(Kind::Offline, &host);
        let cx = cx.clone();
        tokio::spawn(async move {
            let outcome = loop {
                match cx.store().offline().expire_some(&host, before).await {
                    Ok(0) => break Ok(()),
                    Ok(some) if job.pace(some, rate).await => {}
                    Ok(_) => break Ok(()),
                    Err(error) => {
                        tracing::error!(%host, %error, "old messages could not be dropped");
                        break Err(error.to_string());
                    }
                }
            };
            job.end(outcome);
        });
        Ok(progress)
    }
}

/// How that goes.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Status {
    pub host: String,
}

impl Operation for Status {
    const NAME: &'static str = "offline.purge_status";
    const SUMMARY: &'static str = "Tell how the removal of waiting messages goes";
    const CLASS: Class = Class::Safe;
    const EXAMPLE: Example = Example {
        arguments: r#"{"host": "example.org"}"#,
        output: r#"{"state": "done", "removed": 12, "error": null}"#,
    };
    type Output = Progress;

    fn target(&self) -> String {
        self.host.clone()
    }

    async fn run(self, cx: &Context) -> Result<Progress, Refusal> {
        let host = one_host(cx, &self.host)?;
        Ok(cx.running()?.jobs().progress(Kind::Offline, &host))
    }
}

/// Ends it after its batch.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Abort {
    pub host: String,
}

impl Operation for Abort {
    const NAME: &'static str = "offline.purge_abort";
    const SUMMARY: &'static str = "Stop dropping messages that wait for a host's accounts";
    const CLASS: Class = Class::Reversible;
    const EXAMPLE: Example =
        Example { arguments: r#"{"host": "example.org"}"#, output: r#"{"aborted": false}"# };
    type Output = Aborted;

    fn target(&self) -> String {
        self.host.clone()
    }

    async fn run(self, cx: &Context) -> Result<Aborted, Refusal> {
        let host = one_host(cx, &self.host)?;
        Ok(Aborted { aborted: cx.running()?.jobs().abort(Kind::Offline, &host) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::jobs::State;
    use crate::admin::ops::testing;
    use crate::testing::World;

    #[tokio::test]
    async fn what_waits_is_counted_read_and_dropped() {
        let world = World::new();
        let cx = testing::live(&world);
        let ann = world.online("ann@localhost/a").await;
        world.account("bob@localhost").await;
        for n in 0..3 {
            let stanza =
                format!("<message to='bob@localhost' type='chat'><body>{n}</body></message>");
            ann.send(&stanza).await;
        }
        let count = async |jid: &str| Count { jid: jid.into() }.run(&cx).await.unwrap().messages;
        assert_eq!((count("bob@localhost").await, count("localhost").await), (3, 3));
        let read = |after, max| Read { jid: "bob@localhost".into(), after, max };
        let first = read(None, 2).run(&cx).await.unwrap();
        assert_eq!(first.messages.len(), 2);
        let rest = read(first.next, 2).run(&cx).await.unwrap();
        assert_eq!((rest.messages[0].body.as_deref(), rest.next), (Some("2"), None));

        let purge =
            |before: &str, apply| Purge { before: Some(before.into()), apply, ..Purge::default() };
        // The clock of the world stands at 2026-11-25.
        assert_eq!(purge("2027-01-01", false).run(&cx).await.unwrap().messages, 3);
        assert_eq!(count("localhost").await, 3);
        let start = Start { host: "localhost".into(), before: "2027-01-01".into(), rate: u64::MAX };
        start.run(&cx).await.unwrap();
        let status = async || Status { host: "localhost".into() }.run(&cx).await.unwrap();
        while status().await.state == State::Running {
            tokio::task::yield_now().await;
        }
        assert_eq!((status().await.state, status().await.removed), (State::Done, 3));
        assert_eq!(purge("2027-01-01", true).run(&cx).await.unwrap().messages, 0);
    }
}
