//! Who did what to the server, and from where. Append only.

use rusqlite::params;

use super::{Store, StoreError};
use crate::time::Now;

/// One act.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Act {
    pub at: Now,
    /// `cli:uid=0`, `jid:admin@example.org`, `api:key-name`.
    pub who: String,
    /// The door and its peer: `socket`, `http 192.0.2.1`.
    pub from: String,
    /// The operation: `account.lock`.
    pub what: String,
    /// What it was done to.
    pub target: String,
    /// Arguments and outcome, as JSON, without secrets.
    pub detail: String,
}

/// Which acts to list; empty strings match all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuditQuery {
    pub who: String,
    /// A prefix: `http` finds all that came in by that door.
    pub from: String,
    /// A prefix: `account.` finds all operations on accounts.
    pub what: String,
    pub target: String,
    pub since: Option<Now>,
    /// Only acts before this.
    pub until: Option<Now>,
    /// For paging: only acts below this id.
    pub before: Option<i64>,
    pub max: usize,
}

/// See [`Store::audit`].
pub struct Audit<'a>(pub(super) &'a Store);

impl Store {
    pub fn audit(&self) -> Audit<'_> {
        Audit(self)
    }
}

impl Audit<'_> {
    /// The act's id.
    pub async fn append(&self, act: Act) -> Result<i64, StoreError> {
        self.0
            .write(move |tx| {
                tx.prepare_cached(
                    "INSERT INTO audit (at, who, origin, what, target, detail)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                )?
                .execute(params![act.at.0, act.who, act.from, act.what, act.target, act.detail])?;
                Ok(tx.last_insert_rowid())
            })
            .await
    }

    /// Newest first, with their ids.
    pub async fn list(&self, query: AuditQuery) -> Result<Vec<(i64, Act)>, StoreError> {
        self.0
            .read(move |reader| {
                let mut rows = reader.conn.prepare_cached(
                    "SELECT id, at, who, origin, what, target, detail FROM audit
                     WHERE id < ?1 AND at >= ?2 AND (?3 = '' OR who = ?3)
                     AND substr(what, 1, length(?4)) = ?4 AND (?5 = '' OR target = ?5)
                     AND at < ?7 AND substr(origin, 1, length(?8)) = ?8
                     ORDER BY id DESC LIMIT ?6",
                )?;
                let args = params![
                    query.before.unwrap_or(i64::MAX),
                    query.since.map_or(i64::MIN, |since| since.0),
                    query.who,
                    query.what,
                    query.target,
                    query.max,
                    query.until.map_or(i64::MAX, |until| until.0),
                    query.from
                ];
                let acts = rows.query_map(args, |row| {
                    let act = Act {
                        at: Now(row.get(1)?),
                        who: row.get(2)?,
                        from: row.get(3)?,
                        what: row.get(4)?,
                        target: row.get(5)?,
                        detail: row.get(6)?,
                    };
                    Ok((row.get(0)?, act))
                })?;
                Ok(acts.collect::<Result<_, _>>()?)
            })
            .await
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::store::tests::{NOON, open};

    #[tokio::test]
    async fn acts_are_found_by_who_what_target_and_time() {
        let dir = tempfile::tempdir().unwrap();
        let store = open(&dir);
        for (n, what) in
            ["account.add", "account.lock", "config.reload", "account_x"].iter().enumerate()
        {
            let act = Act {
                at: NOON.plus(Duration::from_secs(n as u64)),
                who: if n == 2 { "cli:uid=0".into() } else { "jid:admin@a".into() },
                from: "socket".into(),
                what: (*what).into(),
                target: if n == 1 { "eve@a".into() } else { String::new() },
                detail: "{}".into(),
            };
            store.audit().append(act).await.unwrap();
        }
        let find = async |query: AuditQuery| {
            let acts = store.audit().list(AuditQuery { max: 10, ..query }).await.unwrap();
            acts.into_iter().map(|(id, _)| id).collect::<Vec<_>>()
        };
        assert_eq!(find(AuditQuery::default()).await, [4, 3, 2, 1]);
        assert_eq!(
            find(AuditQuery { what: "account.".into(), ..Default::default() }).await,
            [2, 1]
        );
        assert_eq!(find(AuditQuery { who: "cli:uid=0".into(), ..Default::default() }).await, [3]);
        assert_eq!(find(AuditQuery { target: "eve@a".into(), ..Default::default() }).await, [2]);
        let since = Some(NOON.plus(Duration::from_secs(1)));
        assert_eq!(find(AuditQuery { since, before: Some(4), ..Default::default() }).await, [3, 2]);
        let until = Some(NOON.plus(Duration::from_secs(2)));
        assert_eq!(find(AuditQuery { since, until, ..Default::default() }).await, [2]);
        assert_eq!(find(AuditQuery { from: "http".into(), ..Default::default() }).await, [0i64; 0]);
        assert_eq!(
            find(AuditQuery { from: "sock".into(), until, ..Default::default() }).await,
            [2, 1]
        );
    }
}
