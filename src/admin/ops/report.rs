//! Abuse reports (XEP-0377): what waits for an operator, with its evidence.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::archive::{Message, bounded};
use super::when::page;
use crate::admin::Context;
use crate::admin::op::{Class, Example, Operation, Refusal};
use crate::store::MessageId;
use crate::store::reports::Filed;
use crate::time::Now;

const PAGE_MAX: usize = 200;

/// Lists reports, the newest first.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct List {
    /// Those that are closed, too.
    pub all: bool,
    /// Only below this id: `next` of the page before.
    pub before: Option<i64>,
    /// Reports at most; 0 stands for as many as fit in an answer.
    pub max: usize,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Reports {
    pub reports: Vec<Report>,
    /// Where the next page begins, if there is one.
    pub next: Option<i64>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Report {
    pub id: i64,
    pub at: String,
    /// Who reports; none if the account is gone.
    pub reporter: Option<String>,
    pub about: String,
    /// `spam`, `abuse`, or as the client said.
    pub reason: String,
    pub text: String,
    /// Messages that it names as evidence.
    pub evidence: usize,
    /// When it was closed.
    pub closed: Option<String>,
}

impl Operation for List {
    const NAME: &'static str = "report.list";
    const SUMMARY: &'static str = "List the abuse reports that users have made";
    const CLASS: Class = Class::Safe;
    const PRIVATE: bool = true;
    const EXAMPLE: Example = Example {
        arguments: "{}",
        output: r#"{"reports": [{"id": 3, "at": "2026-11-23T18:40:00.123Z",
            "reporter": "anna@example.org", "about": "eve@example.com", "reason": "spam",
            "text": "Never heard of them", "evidence": 2, "closed": null}], "next": null}"#,
    };
    type Output = Reports;

    async fn run(self, cx: &Context) -> Result<Reports, Refusal> {
        let max = page(self.max, PAGE_MAX);
        let mut filed = cx.store().reports().list(!self.all, self.before, max + 1).await?;
        let next = (filed.len() > max).then(|| filed[max - 1].id);
        filed.truncate(max);
        let mut reports = Vec::new();
        for report in &filed {
            reports.push(show(cx, report).await?);
        }
        Ok(Reports { reports, next })
    }
}

async fn show(cx: &Context, filed: &Filed) -> Result<Report, Refusal> {
    let report = &filed.report;
    let reporter = cx.store().accounts().address(report.reporter).await?;
    let short = report.reason.strip_prefix("urn:xmpp:reporting:").unwrap_or(&report.reason);
    Ok(Report {
        id: filed.id,
        at: report.at.to_xmpp(),
        reporter: reporter.map(|jid| jid.to_string()),
        about: report.about.to_string(),
        reason: short.to_owned(),
        text: report.text.clone(),
        evidence: report.stanza_ids.len(),
        closed: filed.resolved.map(Now::to_xmpp),
    })
}

async fn find(cx: &Context, id: i64) -> Result<Filed, Refusal> {
    let newest = cx.store().reports().list(false, Some(id.saturating_add(1)), 1).await?;
    newest.into_iter().find(|filed| filed.id == id).ok_or_else(|| {
        Refusal::not_found(format!("there is no report {id}"))
            .help("`coucou report list --all` shows them all")
    })
}

/// Shows one report with the messages it names, as far as the reporter's archive holds them.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Show {
    pub id: i64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WithEvidence {
    pub report: Report,
    pub messages: Vec<Message>,
}

impl Operation for Show {
    const NAME: &'static str = "report.show";
    const SUMMARY: &'static str = "Show an abuse report with the messages it names";
    const CLASS: Class = Class::Safe;
    const PRIVATE: bool = true;
    const EXAMPLE: Example = Example {
        arguments: r#"{"id": 3}"#,
        output: r#"{"report": {"id": 3, "at": "2026-11-23T18:40:00.123Z",
            "reporter": "anna@example.org", "about": "eve@example.com", "reason": "spam",
            "text": "Never heard of them", "evidence": 0, "closed": null}, "messages": []}"#,
    };
    type Output = WithEvidence;

    fn target(&self) -> String {
        self.id.to_string()
    }

    /// It concerns whoever runs the whole server.
    fn host(&self) -> Option<String> {
        None
    }

    async fn run(self, cx: &Context) -> Result<WithEvidence, Refusal> {
        let filed = find(cx, self.id).await?;
        let own = cx.store().accounts().address(filed.report.reporter).await?;
        let mut found = Vec::new();
        if let Some(own) = own {
            // Ids that the reporter's own archive gave; others' mean nothing here.
            let ids = filed.report.stanza_ids.iter();
            let ids = ids.filter(|(by, _)| by.as_str() == own.as_str());
            let ids: Vec<MessageId> = ids.filter_map(|(_, id)| MessageId::parse(id)).collect();
            for id in ids {
                let query = crate::store::archive::ArchiveQuery {
                    ids: vec![id],
                    ..crate::store::archive::ArchiveQuery::of(filed.report.reporter)
                };
                match cx.store().archive().page(query).await {
                    Ok(page) => found.extend(page.items),
                    Err(crate::store::StoreError::NotFound) => {}
                    Err(error) => return Err(error.into()),
                }
            }
        }
        let messages = bounded(found, true).messages;
        Ok(WithEvidence { report: show(cx, &filed).await?, messages })
    }
}

/// Closes a report.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Close {
    pub id: i64,
}

impl Operation for Close {
    const NAME: &'static str = "report.close";
    const SUMMARY: &'static str = "Close an abuse report: it has been dealt with";
    const CLASS: Class = Class::Destructive;
    const EXAMPLE: Example = Example {
        arguments: r#"{"id": 3}"#,
        output: r#"{"id": 3, "at": "2026-11-23T18:40:00.123Z", "reporter": "anna@example.org",
            "about": "eve@example.com", "reason": "spam", "text": "Never heard of them",
            "evidence": 2, "closed": "2026-11-23T19:00:00.000Z"}"#,
    };
    type Output = Report;

    fn target(&self) -> String {
        self.id.to_string()
    }

    fn host(&self) -> Option<String> {
        None
    }

    async fn run(self, cx: &Context) -> Result<Report, Refusal> {
        find(cx, self.id).await?;
        cx.store().reports().resolve(self.id, Now::read()).await?;
        show(cx, &find(cx, self.id).await?).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::op::RefusalKind;
    use crate::admin::ops::testing;
    use crate::testing::World;

    #[tokio::test]
    async fn reports_are_read_with_their_evidence_and_closed() {
        let world = World::new();
        let cx = testing::live(&world);
        let ann = world.online("ann@localhost/a").await;
        let eve = world.online("eve@localhost/e").await;
        eve.send("<message to='ann@localhost' type='chat'><body>Buy this</body></message>").await;
        let got = ann.sent().pop().unwrap();
        let id = got.split("<stanza-id").nth(1).unwrap().split("id='").nth(1).unwrap();
        let id = id.split('\'').next().unwrap();
        let report = format!(
            "<iq type='set' id='1'><block xmlns='urn:xmpp:blocking'><item jid='eve@localhost'>\
             <report xmlns='urn:xmpp:reporting:1' reason='urn:xmpp:reporting:spam'>\
             <stanza-id xmlns='urn:xmpp:sid:0' by='ann@localhost' id='{id}'/>\
             <text>No</text></report></item></block></iq>"
        );
        assert!(ann.ask(&report).await.contains("type='result'"));
        let list = List::default().run(&cx).await.unwrap();
        assert_eq!(list.reports.len(), 1);
        assert_eq!((list.reports[0].reason.as_str(), list.reports[0].evidence), ("spam", 1));
        let number = list.reports[0].id;
        let shown = Show { id: number }.run(&cx).await.unwrap();
        assert_eq!(shown.messages[0].body.as_deref(), Some("Buy this"));
        assert_eq!(shown.report.reporter.as_deref(), Some("ann@localhost"));
        assert!(Close { id: number }.run(&cx).await.unwrap().closed.is_some());
        assert_eq!(List::default().run(&cx).await.unwrap().reports, []);
        let all = List { all: true, ..List::default() }.run(&cx).await.unwrap();
        assert_eq!(all.reports.len(), 1);
        assert_eq!(Show { id: 99 }.run(&cx).await.unwrap_err().kind, RefusalKind::NotFound);
    }
}
