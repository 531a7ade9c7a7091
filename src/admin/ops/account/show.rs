//! One account with all that is known of it; how many there are; their names.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Locked, account, existing, hosts, parse};
use crate::admin::Context;
use crate::admin::op::{Class, Example, Operation, Refusal};
use crate::admin::ops::when::page;

/// Names in one answer.
const NAMES_MAX: usize = 10_000;
/// Names in an answer that must be whole; the memory of it is some 30 MB.
const WHOLE_MAX: usize = 500_000;

/// Shows one account.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Show {
    pub jid: String,
}

/// An account with what it keeps here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Details {
    pub jid: String,
    pub created: String,
    /// When its last session ended.
    pub last_seen: Option<String>,
    pub locked: Option<Locked>,
    /// Sessions now; unknown while the server is down.
    pub sessions: Option<usize>,
    /// Clients that have signed in and may do so again.
    pub devices: u64,
    /// Clients that asked for push notifications.
    pub push: u64,
    pub contacts: u64,
    /// Subscription requests that it has not answered.
    pub requests: u64,
    pub blocked: u64,
    /// The hash functions that it can sign in with: `SHA-1`, `SHA-256`, `SHA-512`.
    pub keys: Vec<String>,
    pub storage: Storage,
}

/// Bytes are as stored: compressed, where the store compresses.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Storage {
    pub archive_messages: u64,
    pub archive_bytes: u64,
    /// Messages that wait for it to come online.
    pub offline_messages: u64,
    pub offline_bytes: u64,
    pub vcard_bytes: u64,
    pub private_bytes: u64,
}

impl Operation for Show {
    const NAME: &'static str = "account.show";
    const SUMMARY: &'static str = "Show an account: last seen, lock, devices, contacts, storage";
    const CLASS: Class = Class::Safe;
    const EXAMPLE: Example = Example {
        arguments: r#"{"jid": "anna@example.org"}"#,
        output: r#"{"jid": "anna@example.org", "created": "2026-01-02T10:00:00.000Z",
            "last_seen": "2026-11-23T18:40:00.123Z", "locked": null, "sessions": 1, "devices": 2,
            "push": 1, "contacts": 23, "requests": 0, "blocked": 1, "keys": ["SHA-256", "SHA-512"],
            "storage": {"archive_messages": 9120, "archive_bytes": 1804123, "offline_messages": 0,
            "offline_bytes": 0, "vcard_bytes": 2048, "private_bytes": 512}}"#,
    };
    type Output = Details;

    fn target(&self) -> String {
        self.jid.clone()
    }

    async fn run(self, cx: &Context) -> Result<Details, Refusal> {
        let (jid, _) = account(cx, &self.jid)?;
        let row = existing(cx, &jid).await?;
        let usage = cx.store().survey().account(row.id).await?;
        let keys = cx.store().accounts().keys(&jid).await?;
        Ok(Details {
            sessions: cx.server().map(|_| cx.sessions(&jid).len()),
            jid: jid.to_string(),
            created: row.created.to_xmpp(),
            last_seen: row.last_seen.map(|seen| seen.at.to_xmpp()),
            locked: row.lock.map(Locked::from),
            devices: usage.devices,
            push: usage.push,
            contacts: usage.contacts,
            requests: usage.requests,
            blocked: usage.blocked,
            keys: keys.into_iter().map(|row| row.hash).collect(),
            storage: Storage {
                archive_messages: usage.archive_messages,
                archive_bytes: usage.archive_bytes,
                offline_messages: usage.offline_messages,
                offline_bytes: usage.offline_bytes,
                vcard_bytes: usage.vcard_bytes,
                private_bytes: usage.private_bytes,
            },
        })
    }
}

/// Whether there is an account.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Exists {
    pub jid: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Existence {
    pub exists: bool,
    pub locked: bool,
}

impl Operation for Exists {
    const NAME: &'static str = "account.exists";
    const SUMMARY: &'static str = "Tell whether there is an account";
    const CLASS: Class = Class::Safe;
    const EXAMPLE: Example = Example {
        arguments: r#"{"jid": "anna@example.org"}"#,
        output: r#"{"exists": true, "locked": false}"#,
    };
    type Output = Existence;

    fn target(&self) -> String {
        self.jid.clone()
    }

    async fn run(self, cx: &Context) -> Result<Existence, Refusal> {
        let (jid, _) = account(cx, &self.jid)?;
        let found = cx.store().accounts().find(&jid).await?;
        Ok(Existence {
            exists: found.is_some(),
            locked: found.is_some_and(|account| account.lock.is_some()),
        })
    }
}

/// Names of accounts, and nothing else.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Names {
    /// Only this host; all hosts if empty.
    pub host: String,
    /// Only names that begin so.
    pub prefix: String,
    /// Only accounts after this JID: `next` of the page before.
    pub after: Option<String>,
    /// Names at most; 0 stands for as many as fit in an answer.
    pub max: usize,
    /// All of them in one answer.
    #[serde(skip)]
    pub whole: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NameList {
    pub jids: Vec<String>,
    /// Where the next page begins, if there is one.
    pub next: Option<String>,
}

impl Operation for Names {
    const NAME: &'static str = "account.names";
    const SUMMARY: &'static str = "List the names of accounts";
    const CLASS: Class = Class::Safe;
    const EXAMPLE: Example = Example {
        arguments: r#"{"host": "example.org", "max": 2}"#,
        output: r#"{"jids": ["anna@example.org", "bob@example.org"], "next": "bob@example.org"}"#,
    };
    type Output = NameList;

    fn host(&self) -> Option<String> {
        (!self.host.is_empty()).then(|| self.host.clone())
    }

    async fn run(self, cx: &Context) -> Result<NameList, Refusal> {
        let most = if self.whole { WHOLE_MAX } else { NAMES_MAX };
        let max = page(self.max, most);
        let after = self.after.as_deref().map(parse).transpose()?;
        let mut list = NameList::default();
        let mut past = after.is_none();
        for host in hosts(cx, &self.host)? {
            let here = after.as_ref().filter(|after| after.domain() == host.domain);
            past |= here.is_some();
            if !past {
                continue;
            }
            let mut from = here.and_then(|jid| jid.local()).map(str::to_owned);
            loop {
                // One more than wanted tells whether there is a next page.
                let wanted = (max + 1 - list.jids.len()).min(NAMES_MAX);
                let accounts = cx.store().accounts();
                let rows =
                    accounts.list(&host.domain, &self.prefix, from.as_deref(), wanted).await?;
                let last = rows.len() < wanted;
                from = rows.last().and_then(|row| row.jid.local()).map(str::to_owned);
                list.jids.extend(rows.into_iter().map(|row| row.jid.to_string()));
                if list.jids.len() > max {
                    list.jids.truncate(max);
                    list.next = list.jids.last().cloned();
                    if self.whole {
                        return Err(Refusal::unavailable(format!(
                            "there are more than {WHOLE_MAX} accounts, too many for one answer"
                        ))
                        .help("`account.names` lists them page by page"));
                    }
                    return Ok(list);
                }
                if last {
                    break;
                }
            }
        }
        Ok(list)
    }
}

/// How many accounts there are.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Count {
    /// Only this host; all hosts if empty.
    pub host: String,
    /// Count as active who was here within so many days.
    pub days: Option<u64>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Counted {
    pub accounts: u64,
    pub locked: u64,
    /// Who is online now or was within the days asked for.
    pub active: Option<u64>,
}

impl Operation for Count {
    const NAME: &'static str = "account.count";
    const SUMMARY: &'static str = "Count accounts: all, locked ones, those active of late";
    const CLASS: Class = Class::Safe;
    const EXAMPLE: Example = Example {
        arguments: r#"{"host": "example.org", "days": 30}"#,
        output: r#"{"accounts": 112, "locked": 3, "active": 87}"#,
    };
    type Output = Counted;

    fn host(&self) -> Option<String> {
        (!self.host.is_empty()).then(|| self.host.clone())
    }

    async fn run(self, cx: &Context) -> Result<Counted, Refusal> {
        use std::collections::HashSet;

        use crate::admin::ops::when::days_ago;
        use crate::time::Now;

        let since = self.days.map(|days| days_ago(days, Now::read())).transpose()?;
        let mut counted = Counted { active: since.is_some().then_some(0), ..Counted::default() };
        let sessions = cx.server().map(|server| server.router().sessions.all());
        for host in hosts(cx, &self.host)? {
            let survey = cx.store().survey();
            counted.accounts += cx.store().accounts().count(&host.domain).await?;
            counted.locked += survey.count_locked(&host.domain).await?;
            let (Some(since), Some(active)) = (since, &mut counted.active) else { continue };
            *active += survey.count_seen(&host.domain, since).await?;
            // Who is here now and was seen last before that, or never.
            let here = sessions.iter().flatten().filter(|s| s.jid.domain() == host.domain);
            let here: HashSet<_> = here.map(|session| session.jid.bare()).collect();
            for jid in here {
                let found = cx.store().accounts().find(&jid).await?;
                let seen = found.and_then(|account| account.last_seen);
                *active += u64::from(seen.is_none_or(|seen| seen.at < since));
            }
        }
        Ok(counted)
    }
}
