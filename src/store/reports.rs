//! Abuse reports (XEP-0377), for operators to look at.

use rusqlite::params;

use super::{AccountId, Store, StoreError};
use crate::jid::Jid;
use crate::time::Now;

/// A new report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    pub at: Now,
    /// Who reports.
    pub reporter: AccountId,
    pub about: Jid,
    /// `urn:xmpp:reporting:spam`, `urn:xmpp:reporting:abuse`.
    pub reason: String,
    pub text: String,
    /// The evidence: ids as the client named them, with `by`.
    pub stanza_ids: Vec<(Jid, String)>,
}

/// A report in the queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filed {
    pub id: i64,
    pub report: Report,
    pub resolved: Option<Now>,
}

/// See [`Store::reports`].
pub struct Reports<'a>(pub(super) &'a Store);

impl Store {
    pub fn reports(&self) -> Reports<'_> {
        Reports(self)
    }
}

impl Reports<'_> {
    /// [`StoreError::TooMany`] once `open_max` reports of this account wait.
    pub async fn file(&self, report: Report, open_max: usize) -> Result<i64, StoreError> {
        self.0
            .write(move |tx| {
                let open: usize = tx
                    .prepare_cached(
                        "SELECT count(*) FROM reports WHERE reporter = ?1 AND resolved IS NULL",
                    )?
                    .query_row([report.reporter.0], |row| row.get(0))?;
                if open >= open_max {
                    return Err(StoreError::TooMany { what: "open reports", max: open_max });
                }
                let ids: Vec<(&str, &str)> =
                    report.stanza_ids.iter().map(|(by, id)| (by.as_str(), id.as_str())).collect();
                tx.prepare_cached(
                    "INSERT INTO reports (at, reporter, about, reason, text, stanza_ids)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                )?
                .execute(params![
                    report.at.0,
                    report.reporter.0,
                    report.about.as_str(),
                    report.reason,
                    report.text,
                    serde_json::to_string(&ids).map_err(StoreError::bug)?
                ])?;
                Ok(tx.last_insert_rowid())
            })
            .await
    }

    /// Newest first, below `before`.
    pub async fn list(
        &self,
        open_only: bool,
        before: Option<i64>,
        max: usize,
    ) -> Result<Vec<Filed>, StoreError> {
        self.0
            .read(move |reader| {
                let mut rows = reader.conn.prepare_cached(
                    "SELECT id, at, reporter, about, reason, text, stanza_ids, resolved FROM reports
                     WHERE id < ?1 AND (resolved IS NULL OR NOT ?2) ORDER BY id DESC LIMIT ?3",
                )?;
                let mut rows = rows.query(params![before.unwrap_or(i64::MAX), open_only, max])?;
                let mut filed = Vec::new();
                while let Some(row) = rows.next()? {
                    let Ok(about) = Jid::parse(row.get_ref(3)?.as_str().unwrap_or_default()) else {
                        continue;
                    };
                    let ids: Vec<(String, String)> =
                        serde_json::from_str(row.get_ref(6)?.as_str().unwrap_or_default())
                            .unwrap_or_default();
                    filed.push(Filed {
                        id: row.get(0)?,
                        report: Report {
                            at: Now(row.get(1)?),
                            reporter: AccountId(row.get(2)?),
                            about,
                            reason: row.get(4)?,
                            text: row.get(5)?,
                            stanza_ids: ids
                                .into_iter()
                                .filter_map(|(by, id)| Some((Jid::parse(&by).ok()?, id)))
                                .collect(),
                        },
                        resolved: row.get::<_, Option<i64>>(7)?.map(Now),
                    });
                }
                Ok(filed)
            })
            .await
    }

    pub async fn resolve(&self, id: i64, now: Now) -> Result<(), StoreError> {
        self.0
            .write(move |tx| {
                let found = tx
                    .prepare_cached("UPDATE reports SET resolved = ?2 WHERE id = ?1")?
                    .execute(params![id, now.0])?;
                if found == 0 { Err(StoreError::NotFound) } else { Ok(()) }
            })
            .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::tests::{NOON, account, open};

    #[tokio::test]
    async fn reports_queue_until_they_are_resolved() {
        let dir = tempfile::tempdir().unwrap();
        let store = open(&dir);
        let alice = account(&store, "alice@a").await;
        let report = Report {
            at: NOON,
            reporter: alice,
            about: Jid::parse("eve@e/x").unwrap(),
            reason: "urn:xmpp:reporting:spam".into(),
            text: "Never came to me".into(),
            stanza_ids: vec![(Jid::parse("alice@a").unwrap(), "abc".into())],
        };
        let first = store.reports().file(report.clone(), 2).await.unwrap();
        let second = store.reports().file(report.clone(), 2).await.unwrap();
        let third = store.reports().file(report.clone(), 2).await;
        assert!(matches!(third, Err(StoreError::TooMany { max: 2, .. })));
        store.reports().resolve(first, NOON).await.unwrap();
        assert!(matches!(store.reports().resolve(99, NOON).await, Err(StoreError::NotFound)));
        let open = store.reports().list(true, None, 10).await.unwrap();
        assert_eq!(open, [Filed { id: second, report: report.clone(), resolved: None }]);
        let all = store.reports().list(false, Some(second), 10).await.unwrap();
        assert_eq!(all, [Filed { id: first, report, resolved: Some(NOON) }]);
    }
}
