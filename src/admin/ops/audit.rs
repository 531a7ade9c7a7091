//! Who did what to this server, and who looked at what is private.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::when::{moment_opt, page};
use crate::admin::Context;
use crate::admin::op::{Class, Example, Operation, Refusal};
use crate::store::audit::AuditQuery;
use crate::time::Now;

const PAGE_MAX: usize = 200;
/// Bytes of details in one answer, far below what a line of the protocol may have.
const PAGE_BYTES_MAX: usize = 384 << 10;

/// Lists acts, the newest first.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct List {
    /// Only of this actor, as the list names it: `uid=0(root)`.
    pub who: String,
    /// Only by this door: `socket`, `cli`, `http`; what begins so.
    pub from: String,
    /// Only this operation, or all that begin so: `account.`.
    pub what: String,
    /// Only on this: a JID, a host.
    pub target: String,
    /// Not before this time, day or age.
    pub since: Option<String>,
    /// Before it.
    pub until: Option<String>,
    /// Only below this id: `next` of the page before.
    pub before: Option<i64>,
    /// Acts at most; 0 stands for as many as fit in an answer.
    pub max: usize,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Acts {
    pub acts: Vec<Act>,
    /// Where the next page begins, if there is one.
    pub next: Option<i64>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Act {
    pub id: i64,
    pub at: String,
    pub who: String,
    pub from: String,
    pub what: String,
    pub target: String,
    /// `done`, or why not.
    pub outcome: String,
    /// Without secrets, and without what people wrote.
    pub arguments: Value,
}

impl Operation for List {
    const NAME: &'static str = "audit.list";
    const SUMMARY: &'static str = "List what operators did, and what private things they looked at";
    const CLASS: Class = Class::Safe;
    const EXAMPLE: Example = Example {
        arguments: r#"{"what": "account.", "since": "7d"}"#,
        output: r#"{"acts": [{"id": 12, "at": "2026-11-23T18:40:00.123Z", "who": "uid=0(root)",
            "from": "socket", "what": "account.lock", "target": "eve@example.org",
            "outcome": "done", "arguments": {"jid": "eve@example.org", "reason": "spam"}}],
            "next": null}"#,
    };
    type Output = Acts;

    fn target(&self) -> String {
        self.target.clone()
    }

    /// Acts of others on other hosts are in the same list.
    fn host(&self) -> Option<String> {
        None
    }

    async fn run(self, cx: &Context) -> Result<Acts, Refusal> {
        let now = Now::read();
        let max = page(self.max, PAGE_MAX);
        let query = AuditQuery {
            who: self.who,
            from: self.from,
            what: self.what,
            target: self.target,
            since: moment_opt("since", self.since.as_deref(), now)?,
            until: moment_opt("until", self.until.as_deref(), now)?,
            before: self.before,
            max: max + 1,
        };
        let rows = cx.store().audit().list(query).await?;
        let mut list = Acts::default();
        let mut bytes = 0;
        for (id, act) in rows {
            bytes += act.detail.len() + act.target.len() + 200;
            if list.acts.len() == max || (bytes > PAGE_BYTES_MAX && !list.acts.is_empty()) {
                list.next = list.acts.last().map(|act| act.id);
                break;
            }
            let mut detail: Value = serde_json::from_str(&act.detail).unwrap_or_default();
            let outcome = detail["outcome"].as_str().unwrap_or_default().to_owned();
            list.acts.push(Act {
                id,
                at: act.at.to_xmpp(),
                who: act.who,
                from: act.from,
                what: act.what,
                target: act.target,
                outcome,
                arguments: detail["arguments"].take(),
            });
        }
        Ok(list)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::admin::ops::testing;
    use crate::admin::{Actor, Role, run};

    #[tokio::test]
    async fn acts_are_found_and_paged() {
        let (_dir, cx) = testing::context().await;
        let actor = Actor::new("uid=1(eve)", "test", Role::Operator);
        for jid in ["ann@a.org", "bob@a.org", "no@a.org"] {
            let _ = run::run(&cx, &actor, "account.lock", json!({"jid": jid})).await;
        }
        let all = List { max: 2, ..List::default() }.run(&cx).await.unwrap();
        let told: Vec<_> = all.acts.iter().map(|act| act.target.as_str()).collect();
        assert_eq!(told, ["no@a.org", "bob@a.org"]);
        assert_eq!(all.acts[0].outcome, "there is no account no@a.org");
        assert_eq!(all.acts[1].arguments["jid"], "bob@a.org");
        let rest = List { before: all.next, ..List::default() }.run(&cx).await.unwrap();
        assert_eq!((rest.acts.len(), rest.next), (1, None));
        let none = List { what: "config.".into(), ..List::default() }.run(&cx).await.unwrap();
        assert_eq!(none.acts, []);
        let old = List { until: Some("1d".into()), ..List::default() }.run(&cx).await.unwrap();
        assert_eq!(old.acts, []);
    }
}
