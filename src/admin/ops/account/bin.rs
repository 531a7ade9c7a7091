//! Accounts that go: into the bin, back from it, and for good.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Done, PAGE_MAX, account, existing, hosts, parse};
use crate::admin::Context;
use crate::admin::op::{Class, Example, Operation, Refusal};
use crate::delivery;
use crate::features::register;
use crate::jid::BareJid;
use crate::store::StoreError;
use crate::store::bin::Binned;
use crate::time::Now;

/// Takes an account away. Its host's `registration.removal_grace` says how long it can be restored.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Remove {
    pub jid: String,
    /// Erase it at once and for good.
    #[serde(default)]
    pub purge: bool,
}

impl Operation for Remove {
    const NAME: &'static str = "account.remove";
    const SUMMARY: &'static str =
        "Remove an account: it can be restored for a while, unless it is purged";
    const CLASS: Class = Class::Destructive;
    const EXAMPLE: Example = Example {
        arguments: r#"{"jid": "anna@example.org", "purge": false}"#,
        output: r#"{"jid": "anna@example.org", "sessions_ended": 1}"#,
    };
    type Output = Done;

    fn target(&self) -> String {
        self.jid.clone()
    }

    async fn run(self, cx: &Context) -> Result<Done, Refusal> {
        let (jid, host) = account(cx, &self.jid)?;
        existing(cx, &jid).await?;
        let (router, now) = (cx.router(), Now::read());
        let who = cx.actor().map_or("an operator", |actor| actor.who.as_str());
        let sessions_ended = register::remove(&router, &host, &jid, who, now).await?;
        if self.purge || host.registration.removal_grace.is_none() {
            match delivery::accounts::purge(&router, &jid, now).await {
                // The housekeeping was faster.
                Ok(()) | Err(StoreError::NotFound | StoreError::NoSuchAccount) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(Done { jid: jid.to_string(), sessions_ended })
    }
}

/// Lists removed accounts that can be restored.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Bin {
    /// Only this host; all hosts if empty.
    pub host: String,
    /// Only accounts after this JID: [`Removed::next`] of the page before.
    pub after: Option<String>,
    /// Accounts at most; 0 stands for as many as fit in an answer.
    pub max: usize,
}

/// A page of the bin.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Removed {
    pub accounts: Vec<RemovedAccount>,
    /// Where the next page begins, if there is one.
    pub next: Option<String>,
}

/// A removed account. Times are XEP-0082 text, UTC.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RemovedAccount {
    pub jid: String,
    pub removed: String,
    /// When it is erased for good.
    pub until: String,
    /// Who removed it.
    pub by: String,
}

impl From<Binned> for RemovedAccount {
    fn from(binned: Binned) -> RemovedAccount {
        RemovedAccount {
            jid: binned.jid.to_string(),
            removed: binned.removed.to_xmpp(),
            until: binned.until.to_xmpp(),
            by: binned.who,
        }
    }
}

impl Operation for Bin {
    const NAME: &'static str = "account.bin";
    const SUMMARY: &'static str = "List removed accounts that can be restored";
    const CLASS: Class = Class::Safe;
    const EXAMPLE: Example = Example {
        arguments: r#"{"host": "example.org"}"#,
        output: r#"{"accounts": [{"jid": "anna@example.org", "removed": "2026-11-23T20:00:00.000Z", "until": "2026-12-07T20:00:00.000Z", "by": "uid=0(root)"}], "next": null}"#,
    };
    type Output = Removed;

    fn host(&self) -> Option<String> {
        (!self.host.is_empty()).then(|| self.host.clone())
    }

    async fn run(self, cx: &Context) -> Result<Removed, Refusal> {
        let host = if self.host.is_empty() { None } else { Some(hosts(cx, &self.host)?.remove(0)) };
        let host = host.as_ref().map(|host| host.domain.as_str());
        let max = if self.max == 0 { PAGE_MAX } else { self.max.min(PAGE_MAX) };
        let after = self.after.as_deref().map(parse).transpose()?;
        let mut rows = cx.store().bin().list(host, after.as_ref(), max + 1).await?;
        let more = rows.len() > max;
        rows.truncate(max);
        let next = rows.last().filter(|_| more).map(|row| row.jid.to_string());
        Ok(Removed { accounts: rows.into_iter().map(RemovedAccount::from).collect(), next })
    }
}

/// Brings a removed account back, as it was.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Restore {
    pub jid: String,
}

impl Operation for Restore {
    const NAME: &'static str = "account.restore";
    const SUMMARY: &'static str = "Bring a removed account back, with all that it had";
    const CLASS: Class = Class::Reversible;
    const EXAMPLE: Example = Example {
        arguments: r#"{"jid": "anna@example.org"}"#,
        output: r#"{"jid": "anna@example.org", "sessions_ended": 0}"#,
    };
    type Output = Done;

    fn target(&self) -> String {
        self.jid.clone()
    }

    async fn run(self, cx: &Context) -> Result<Done, Refusal> {
        let (jid, _) = account(cx, &self.jid)?;
        match delivery::accounts::restore(&cx.router(), &jid, Now::read()).await {
            Ok(()) => Ok(Done { jid: jid.to_string(), sessions_ended: 0 }),
            Err(error) => Err(not_in_bin(error, &jid)),
        }
    }
}

/// Erases a removed account for good.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Purge {
    pub jid: String,
}

impl Operation for Purge {
    const NAME: &'static str = "account.purge";
    const SUMMARY: &'static str = "Erase a removed account for good, and free its name";
    const CLASS: Class = Class::Destructive;
    const EXAMPLE: Example = Example {
        arguments: r#"{"jid": "anna@example.org"}"#,
        output: r#"{"jid": "anna@example.org", "sessions_ended": 0}"#,
    };
    type Output = Done;

    fn target(&self) -> String {
        self.jid.clone()
    }

    async fn run(self, cx: &Context) -> Result<Done, Refusal> {
        let (jid, _) = account(cx, &self.jid)?;
        match delivery::accounts::purge(&cx.router(), &jid, Now::read()).await {
            Ok(()) => Ok(Done { jid: jid.to_string(), sessions_ended: 0 }),
            Err(error) => Err(not_in_bin(error, &jid)),
        }
    }
}

fn not_in_bin(error: StoreError, jid: &BareJid) -> Refusal {
    match error {
        StoreError::NotFound | StoreError::NoSuchAccount => {
            Refusal::not_found(format!("there is no removed account {jid}"))
                .help("`coucou account bin` shows them all")
        }
        error => error.into(),
    }
}

#[cfg(test)]
mod tests;
