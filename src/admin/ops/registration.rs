//! Registration: who waits to be let in, and who registers how often.

use std::net::IpAddr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::account::{Done, account, hosts, parse};
use crate::admin::Context;
use crate::admin::op::{Class, Example, Operation, Refusal};
use crate::delivery;
use crate::features::register;
use crate::jid::BareJid;
use crate::store::StoreError;
use crate::store::registrations;
use crate::time::Now;
use crate::xml::stream_error::StreamCondition;

/// Accounts in one answer.
const PAGE_MAX: usize = 1000;

/// Lists accounts that wait for approval.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct List {
    /// Only this host; all hosts if empty.
    pub host: String,
    /// Only accounts after this JID: [`Waiting::next`] of the page before.
    pub after: Option<String>,
    /// Accounts at most; 0 stands for as many as fit in an answer.
    pub max: usize,
}

/// A page of accounts that wait.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Waiting {
    pub accounts: Vec<WaitingAccount>,
    /// Where the next page begins, if there is one.
    pub next: Option<String>,
}

/// An account that waits. Times are XEP-0082 text, UTC.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WaitingAccount {
    pub jid: String,
    pub asked: String,
    /// When it is removed if nobody has approved of it.
    pub expires: String,
    /// From where it came; unknown for those that came by another server.
    pub address: Option<String>,
    /// Where it came in.
    pub door: String,
}

impl From<registrations::Waiting> for WaitingAccount {
    fn from(waiting: registrations::Waiting) -> WaitingAccount {
        WaitingAccount {
            jid: waiting.jid.to_string(),
            asked: waiting.asked.to_xmpp(),
            expires: waiting.expires.to_xmpp(),
            address: waiting.address.map(|address| address.to_canonical().to_string()),
            door: waiting.door,
        }
    }
}

impl Operation for List {
    const NAME: &'static str = "registration.list";
    const SUMMARY: &'static str = "List accounts that wait for approval";
    const CLASS: Class = Class::Safe;
    const EXAMPLE: Example = Example {
        arguments: r#"{"host": "example.org"}"#,
        output: r#"{"accounts": [{"jid": "anna@example.org", "asked": "2026-11-23T20:00:00.000Z", "expires": "2026-12-23T20:00:00.000Z", "address": "192.0.2.1", "door": "in-band registration"}], "next": null}"#,
    };
    type Output = Waiting;

    fn host(&self) -> Option<String> {
        (!self.host.is_empty()).then(|| self.host.clone())
    }

    async fn run(self, cx: &Context) -> Result<Waiting, Refusal> {
        let host = if self.host.is_empty() { None } else { Some(hosts(cx, &self.host)?.remove(0)) };
        let host = host.as_ref().map(|host| host.domain.as_str());
        let max = if self.max == 0 { PAGE_MAX } else { self.max.min(PAGE_MAX) };
        let after = self.after.as_deref().map(parse).transpose()?;
        let store = cx.store().registrations();
        let mut rows = store.waiting(host, after.as_ref(), max + 1).await?;
        let more = rows.len() > max;
        rows.truncate(max);
        let next = rows.last().filter(|_| more).map(|row| row.jid.to_string());
        Ok(Waiting { accounts: rows.into_iter().map(WaitingAccount::from).collect(), next })
    }
}

/// Lets somebody in who waits.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Approve {
    pub jid: String,
}

impl Operation for Approve {
    const NAME: &'static str = "registration.approve";
    const SUMMARY: &'static str = "Let somebody in who has registered and waits";
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
        match cx.store().registrations().approve(&jid).await {
            Ok(()) => Ok(Done { jid: jid.to_string(), sessions_ended: 0 }),
            Err(error) => Err(not_waiting(error, &jid)),
        }
    }
}

/// Turns somebody away who waits: the account is erased and its name is free.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Refuse {
    pub jid: String,
}

impl Operation for Refuse {
    const NAME: &'static str = "registration.refuse";
    const SUMMARY: &'static str = "Turn somebody away who has registered and waits";
    const CLASS: Class = Class::Destructive;
    const EXAMPLE: Example = Example {
        arguments: r#"{"jid": "eve@example.org"}"#,
        output: r#"{"jid": "eve@example.org", "sessions_ended": 0}"#,
    };
    type Output = Done;

    fn target(&self) -> String {
        self.jid.clone()
    }

    async fn run(self, cx: &Context) -> Result<Done, Refusal> {
        let (jid, _) = account(cx, &self.jid)?;
        let waits = cx.store().registrations().waits(&jid).await;
        waits.map_err(|error| not_waiting(error, &jid))?;
        let router = cx.router();
        let text = "The registration was refused";
        let condition = StreamCondition::NotAuthorized;
        let sessions_ended = register::end_sessions(&router, &jid, None, condition, text);
        delivery::accounts::erase(&router, &jid, Now::read()).await?;
        Ok(Done { jid: jid.to_string(), sessions_ended })
    }
}

fn not_waiting(error: StoreError, jid: &BareJid) -> Refusal {
    match error {
        StoreError::NotFound | StoreError::NoSuchAccount => {
            Refusal::not_found(format!("{jid} does not wait for approval"))
                .help("`coucou registration list` shows who does")
        }
        error => error.into(),
    }
}

/// Shows who has registered lately, and who has to wait before the next account.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Only this host; all hosts if empty.
    pub host: String,
}

/// Sources, the latest first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Sources {
    pub sources: Vec<Source>,
}

/// Somebody who registers, as limits tell people apart.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Source {
    pub host: String,
    /// An address, of IPv6 a /56, or the account whose sessions register others.
    pub source: String,
    /// When it last registered, or tried to.
    pub last: String,
    /// Accounts it may still make now.
    pub left: u32,
    /// Seconds it has to wait, if it has to.
    pub wait: Option<u64>,
}

impl Operation for Limits {
    const NAME: &'static str = "registration.limits";
    const SUMMARY: &'static str = "Show who has registered lately and has to wait";
    const CLASS: Class = Class::Safe;
    const PRIVATE: bool = true;
    const EXAMPLE: Example = Example {
        arguments: r#"{"host": "example.org"}"#,
        output: r#"{"sources": [{"host": "example.org", "source": "192.0.2.1", "last": "2026-11-23T20:00:00.000Z", "left": 0, "wait": 720}]}"#,
    };
    type Output = Sources;

    fn host(&self) -> Option<String> {
        (!self.host.is_empty()).then(|| self.host.clone())
    }

    async fn run(self, cx: &Context) -> Result<Sources, Refusal> {
        let router = cx.running()?.router();
        let wanted = hosts(cx, &self.host)?;
        let settings = |domain: &str| {
            let host = wanted.iter().find(|host| host.domain == domain);
            host.map(|host| &host.registration)
        };
        let seen = router.signups.list(settings, Now::read());
        let sources = seen.into_iter().take(PAGE_MAX).map(|seen| Source {
            host: seen.host,
            source: seen.who.to_string(),
            last: seen.last.to_xmpp(),
            left: seen.left,
            wait: seen.wait.map(|wait| wait.as_secs().max(1)),
        });
        Ok(Sources { sources: sources.collect() })
    }
}

/// Forgets how often somebody has registered.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ResetLimits {
    /// Only at this host; everywhere if empty.
    pub host: String,
    /// Only this address, of IPv6 its /56; everybody if it is left out.
    pub address: Option<IpAddr>,
}

/// How many sources were forgotten.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Forgotten {
    pub sources: usize,
}

impl Operation for ResetLimits {
    const NAME: &'static str = "registration.reset_limits";
    const SUMMARY: &'static str = "Let those register again who have to wait";
    const CLASS: Class = Class::Reversible;
    const EXAMPLE: Example = Example {
        arguments: r#"{"host": "example.org", "address": "192.0.2.1"}"#,
        output: r#"{"sources": 1}"#,
    };
    type Output = Forgotten;

    fn target(&self) -> String {
        self.host.clone()
    }

    async fn run(self, cx: &Context) -> Result<Forgotten, Refusal> {
        let router = cx.running()?.router();
        let host = if self.host.is_empty() { None } else { Some(hosts(cx, &self.host)?.remove(0)) };
        let host = host.as_ref().map(|host| host.domain.as_str());
        Ok(Forgotten { sources: router.signups.reset(host, self.address) })
    }
}

#[cfg(test)]
mod tests;
