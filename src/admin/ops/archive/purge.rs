//! Removing what is older than some age from many archives: foretold, at once, or in batches.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::admin::Context;
use crate::admin::jobs::{Job, Kind, Progress};
use crate::admin::op::{Class, Example, Operation, Refusal};
use crate::admin::ops::account;
use crate::admin::ops::when::moment;
use crate::store::{AccountId, MessageId, StoreError};
use crate::time::Now;

/// Which archives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Whose {
    /// Of accounts.
    Chat,
    /// Of rooms.
    Groupchat,
    #[default]
    All,
}

/// Removes messages older than some moment from archives. Without `apply` it only tells what that
/// would free.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Purge {
    /// Only this host; all hosts if empty.
    #[serde(default)]
    pub host: String,
    #[serde(default, rename = "type")]
    pub whose: Whose,
    /// A time, a day, or an age such as `365d`: what is older goes.
    pub before: String,
    /// Do it.
    #[serde(default)]
    pub apply: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Purged {
    /// It is done, as opposed to "would be".
    pub removed: bool,
    /// Entries of archives; a message between two accounts is one in each.
    pub entries: u64,
    /// Messages that nobody keeps any more.
    pub messages: u64,
    /// What they take in the database, which uses it again and gets no smaller by itself. Foretold
    /// only.
    pub bytes: Option<u64>,
}

impl Operation for Purge {
    const NAME: &'static str = "archive.purge";
    const SUMMARY: &'static str = "Remove old messages from archives, or tell what that would free";
    const CLASS: Class = Class::Destructive;
    const EXAMPLE: Example = Example {
        arguments: r#"{"host": "example.org", "before": "365d"}"#,
        output: r#"{"removed": false, "entries": 81234, "messages": 41872, "bytes": 9012345}"#,
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
        let domains = domains(cx, &self.host, self.whose)?;
        let before = MessageId::floor(moment("before", &self.before, Now::read())?);
        if !self.apply {
            let removal = cx.store().survey().removal(&domains, before).await?;
            return Ok(Purged {
                removed: false,
                entries: removal.entries,
                messages: removal.freed.messages,
                bytes: Some(removal.freed.bytes),
            });
        }
        let mut purged = Purged { removed: true, ..Purged::default() };
        for domain in domains {
            let gone = cx.store().archive().expire(&domain, Some(before), None).await?;
            purged.entries += gone.entries;
            purged.messages += gone.bodies;
        }
        Ok(purged)
    }
}

/// The domains whose addresses own the archives that are meant.
fn domains(cx: &Context, host: &str, whose: Whose) -> Result<Vec<String>, Refusal> {
    let mut domains = Vec::new();
    for host in account::hosts(cx, host)? {
        if whose != Whose::Groupchat {
            domains.push(host.domain.clone());
        }
        if whose != Whose::Chat {
            domains.extend(host.services.conference.clone());
        }
    }
    Ok(domains)
}

/// Begins to remove old messages of one host in batches.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Start {
    pub host: String,
    #[serde(default, rename = "type")]
    pub whose: Whose,
    /// A time, a day, or an age such as `365d`: what is older goes.
    pub before: String,
    /// Messages per minute, at most.
    #[serde(default = "rate")]
    pub rate: u64,
}

fn rate() -> u64 {
    10_000
}

impl Operation for Start {
    const NAME: &'static str = "archive.purge_start";
    const SUMMARY: &'static str = "Begin to remove a host's old messages in batches";
    const CLASS: Class = Class::Destructive;
    const EXAMPLE: Example = Example {
        arguments: r#"{"host": "example.org", "before": "365d", "rate": 10000}"#,
        output: r#"{"state": "running", "removed": 0, "error": null}"#,
    };
    type Output = Progress;

    fn target(&self) -> String {
        self.host.clone()
    }

    async fn run(self, cx: &Context) -> Result<Progress, Refusal> {
        let server = cx.running()?;
        let host = one_host(cx, &self.host)?;
        let domains = domains(cx, &host, self.whose)?;
        let before = MessageId::floor(moment("before", &self.before, Now::read())?);
        let rate = at_least_one(self.rate)?;
        let job = server.jobs().begin(Kind::Archive, &host)?;
        let progress = server.jobs().progress(Kind::Archive, &host);
        let cx = cx.clone();
        tokio::spawn(async move {
            let outcome = remove(&cx, &job, &domains, before, rate).await;
            if let Err(error) = &outcome {
                tracing::error!(%host, %error, "old messages could not be removed");
            }
            job.end(outcome.map_err(|error| error.to_string()));
        });
        Ok(progress)
    }
}

async fn remove(
    cx: &Context,
    job: &Arc<Job>,
    domains: &[String],
    before: MessageId,
    rate: u64,
) -> Result<(), StoreError> {
    let archive = cx.store().archive();
    archive.settle().await?;
    for domain in domains {
        let mut owner = AccountId(0);
        while let Some(next) = archive.next_owner(domain, owner).await? {
            owner = next;
            while let Some(step) = archive.trim(owner, before).await? {
                if !job.pace(step.entries, rate).await {
                    return Ok(());
                }
            }
        }
    }
    Ok(())
}

/// Names one host; a removal in batches has a place to ask about.
pub(in crate::admin::ops) fn one_host(cx: &Context, host: &str) -> Result<String, Refusal> {
    if host.is_empty() {
        return Err(Refusal::usage("host: name one"));
    }
    Ok(account::hosts(cx, host)?.remove(0).domain.clone())
}

pub(in crate::admin::ops) fn at_least_one(rate: u64) -> Result<u64, Refusal> {
    if rate == 0 { Err(Refusal::usage("rate: at least 1 a minute")) } else { Ok(rate) }
}

/// How the removal goes.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Status {
    pub host: String,
}

impl Operation for Status {
    const NAME: &'static str = "archive.purge_status";
    const SUMMARY: &'static str = "Tell how the removal of a host's old messages goes";
    const CLASS: Class = Class::Safe;
    const EXAMPLE: Example = Example {
        arguments: r#"{"host": "example.org"}"#,
        output: r#"{"state": "running", "removed": 5000, "error": null}"#,
    };
    type Output = Progress;

    fn target(&self) -> String {
        self.host.clone()
    }

    async fn run(self, cx: &Context) -> Result<Progress, Refusal> {
        let host = one_host(cx, &self.host)?;
        Ok(cx.running()?.jobs().progress(Kind::Archive, &host))
    }
}

/// Ends the removal after its batch.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Abort {
    pub host: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Aborted {
    /// One was going on.
    pub aborted: bool,
}

impl Operation for Abort {
    const NAME: &'static str = "archive.purge_abort";
    const SUMMARY: &'static str = "Stop removing a host's old messages";
    const CLASS: Class = Class::Reversible;
    const EXAMPLE: Example =
        Example { arguments: r#"{"host": "example.org"}"#, output: r#"{"aborted": true}"# };
    type Output = Aborted;

    fn target(&self) -> String {
        self.host.clone()
    }

    async fn run(self, cx: &Context) -> Result<Aborted, Refusal> {
        let host = one_host(cx, &self.host)?;
        Ok(Aborted { aborted: cx.running()?.jobs().abort(Kind::Archive, &host) })
    }
}
