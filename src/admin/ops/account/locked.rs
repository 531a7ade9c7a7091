//! Who is locked out, and why.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Locked, account, existing, hosts, parse};
use crate::admin::Context;
use crate::admin::op::{Class, Example, Operation, Refusal};
use crate::admin::ops::when::page;

const PAGE_MAX: usize = 1_000;
/// Accounts in an answer that must be whole.
const WHOLE_MAX: usize = 100_000;

/// Tells about the lock of one account.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Lock {
    pub jid: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LockDetails {
    /// None if it is not locked.
    pub locked: Option<Locked>,
    pub last_seen: Option<String>,
    /// The last words of its presence.
    pub last_status: String,
}

impl Operation for Lock {
    const NAME: &'static str = "account.lock_details";
    const SUMMARY: &'static str = "Tell since when and why an account is locked";
    const CLASS: Class = Class::Safe;
    const EXAMPLE: Example = Example {
        arguments: r#"{"jid": "eve@example.org"}"#,
        output: r#"{"locked": {"since": "2026-11-23T18:40:00.123Z", "reason": "spam"},
            "last_seen": "2026-11-23T18:39:00.000Z", "last_status": ""}"#,
    };
    type Output = LockDetails;

    fn target(&self) -> String {
        self.jid.clone()
    }

    async fn run(self, cx: &Context) -> Result<LockDetails, Refusal> {
        let (jid, _) = account(cx, &self.jid)?;
        let row = existing(cx, &jid).await?;
        let (last_seen, last_status) = match row.last_seen {
            Some(seen) => (Some(seen.at.to_xmpp()), seen.status),
            None => (None, String::new()),
        };
        Ok(LockDetails { locked: row.lock.map(Locked::from), last_seen, last_status })
    }
}

/// Lists the accounts that are locked.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ListLocked {
    /// Only this host; all hosts if empty.
    pub host: String,
    /// Only accounts after this JID: `next` of the page before.
    pub after: Option<String>,
    /// Accounts at most; 0 stands for as many as fit in an answer.
    pub max: usize,
    /// All of them in one answer.
    #[serde(skip)]
    pub whole: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LockedAccounts {
    pub accounts: Vec<LockedAccount>,
    /// Where the next page begins, if there is one.
    pub next: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LockedAccount {
    pub jid: String,
    pub since: String,
    pub reason: String,
}

impl Operation for ListLocked {
    const NAME: &'static str = "account.locked";
    const SUMMARY: &'static str = "List the accounts that are locked";
    const CLASS: Class = Class::Safe;
    const EXAMPLE: Example = Example {
        arguments: r#"{"host": "example.org"}"#,
        output: r#"{"accounts": [{"jid": "eve@example.org", "since": "2026-11-23T18:40:00.123Z",
            "reason": "spam"}], "next": null}"#,
    };
    type Output = LockedAccounts;

    fn host(&self) -> Option<String> {
        (!self.host.is_empty()).then(|| self.host.clone())
    }

    async fn run(self, cx: &Context) -> Result<LockedAccounts, Refusal> {
        let max = page(self.max, if self.whole { WHOLE_MAX } else { PAGE_MAX });
        let after = self.after.as_deref().map(parse).transpose()?;
        let mut list = LockedAccounts::default();
        let mut past = after.is_none();
        for host in hosts(cx, &self.host)? {
            let here = after.as_ref().filter(|after| after.domain() == host.domain);
            past |= here.is_some();
            if !past {
                continue;
            }
            let name = here.and_then(|jid| jid.local()).unwrap_or_default();
            let wanted = max + 1 - list.accounts.len();
            for row in cx.store().survey().locked(&host.domain, name, wanted).await? {
                let Some(lock) = row.lock else { continue };
                list.accounts.push(LockedAccount {
                    jid: row.jid.to_string(),
                    since: lock.since.to_xmpp(),
                    reason: lock.reason,
                });
            }
            if list.accounts.len() > max {
                list.accounts.truncate(max);
                if self.whole {
                    let text = format!("more than {WHOLE_MAX} accounts are locked");
                    return Err(
                        Refusal::unavailable(text).help("`account.locked` lists them page by page")
                    );
                }
                list.next = list.accounts.last().map(|account| account.jid.clone());
                break;
            }
        }
        Ok(list)
    }
}
