//! Removing accounts that nobody has used for long. Asked first, done second: without `apply` it
//! only tells whom it would remove.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Remove, hosts};
use crate::admin::Context;
use crate::admin::op::{Class, Example, Operation, Refusal, RefusalKind};
use crate::admin::ops::when::{days_ago, page};
use crate::time::Now;

/// Accounts removed by one call, and listed in one answer.
const REMOVED_MAX: usize = 1_000;
/// Rows asked for at once.
const STEP: usize = 256;

/// Removes accounts that were not here for so many days, or never since they were made that long
/// ago. Who has a session is spared.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RemoveUnused {
    /// Only this host; all hosts if empty.
    #[serde(default)]
    pub host: String,
    pub days: u64,
    /// Accounts at most; 0 stands for 1000.
    #[serde(default)]
    pub max: usize,
    /// Do it. Without it the answer only tells who would go.
    #[serde(default)]
    pub apply: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Unused {
    /// They are removed, as opposed to "would be".
    pub removed: bool,
    pub jids: Vec<String>,
    /// There are others beyond the greatest number.
    pub more: bool,
}

impl Operation for RemoveUnused {
    const NAME: &'static str = "account.remove_unused";
    const SUMMARY: &'static str = "Erase accounts that nobody has used for so many days";
    const CLASS: Class = Class::Destructive;
    const EXAMPLE: Example = Example {
        arguments: r#"{"host": "example.org", "days": 730}"#,
        output: r#"{"removed": false, "jids": ["oldman@example.org"], "more": false}"#,
    };
    type Output = Unused;

    fn target(&self) -> String {
        self.host.clone()
    }

    fn host(&self) -> Option<String> {
        (!self.host.is_empty()).then(|| self.host.clone())
    }

    async fn run(self, cx: &Context) -> Result<Unused, Refusal> {
        if self.days == 0 {
            return Err(Refusal::usage("days: 0 would mean everybody who is not here now")
                .help("name at least 1"));
        }
        let before = days_ago(self.days, Now::read())?;
        let max = page(self.max, REMOVED_MAX);
        let mut unused = Unused { removed: self.apply, ..Unused::default() };
        'hosts: for host in hosts(cx, &self.host)? {
            if host.is_guest() {
                continue;
            }
            let mut after = String::new();
            loop {
                let rows = cx.store().survey().unseen(&host.domain, before, &after, STEP).await?;
                let Some(last) = rows.last() else { break };
                after = last.jid.local().unwrap_or_default().to_owned();
                for row in rows {
                    if !cx.sessions(&row.jid).is_empty() {
                        continue;
                    }
                    if unused.jids.len() == max {
                        unused.more = true;
                        break 'hosts;
                    }
                    let jid = row.jid.to_string();
                    if self.apply {
                        match (Remove { jid: jid.clone(), purge: false }).run(cx).await {
                            // Somebody else removed it meanwhile.
                            Err(refusal) if refusal.kind == RefusalKind::NotFound => continue,
                            removed => drop(removed?),
                        }
                        tracing::info!(%jid, days = self.days, "an unused account was removed");
                    }
                    unused.jids.push(jid);
                }
            }
        }
        Ok(unused)
    }
}
