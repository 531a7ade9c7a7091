//! The database's version and the way from each to the next.
//!
//! A step is a file in `migrations/` and a line in [`STEPS`]. Steps that were released are never
//! changed; the tests walk from the oldest database there is.

use rusqlite::{Connection, TransactionBehavior};

use super::StoreError;

/// Step `n` leads from version `n` to `n + 1`; version 0 is the empty file.
const STEPS: &[&str] = &[
    include_str!("migrations/001_start.sql"),
    include_str!("migrations/002_operators.sql"),
    include_str!("migrations/003_rooms.sql"),
];

/// The version this program writes.
pub(super) const KNOWN: i64 = STEPS.len() as i64;

/// Brings the database up to date: all steps in one transaction, or none.
pub(super) fn migrate(conn: &mut Connection) -> Result<(), StoreError> {
    let found: i64 = conn.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    let done = usize::try_from(found).unwrap_or(usize::MAX);
    if done > STEPS.len() {
        return Err(StoreError::Newer { found, known: KNOWN });
    }
    if done == STEPS.len() {
        return Ok(());
    }
    let tx = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
    for step in &STEPS[done..] {
        tx.execute_batch(step)?;
    }
    tx.pragma_update(None, "user_version", KNOWN)?;
    tx.commit()?;
    if found > 0 {
        tracing::info!(from = found, to = KNOWN, "database upgraded");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schema(conn: &Connection) -> Vec<(String, String)> {
        let mut rows = conn
            .prepare("SELECT name, sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY name")
            .unwrap();
        rows.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))
            .unwrap()
            .map(Result::unwrap)
            .collect()
    }

    #[test]
    fn an_empty_file_becomes_the_newest_version() {
        let mut conn = Connection::open_in_memory().unwrap();
        migrate(&mut conn).unwrap();
        let version: i64 = conn.query_row("PRAGMA user_version", [], |r| r.get(0)).unwrap();
        assert_eq!(version, KNOWN);
        migrate(&mut conn).unwrap();
    }

    /// `fixtures/version_1.sql` is a dump of a database as version 1 wrote it. It never changes;
    /// this test fails when a released step is edited instead of a new one added.
    #[test]
    fn the_oldest_database_ends_with_the_newest_schema_and_its_data() {
        let mut old = Connection::open_in_memory().unwrap();
        old.execute_batch(include_str!("migrations/fixtures/version_1.sql")).unwrap();
        migrate(&mut old).unwrap();
        let mut new = Connection::open_in_memory().unwrap();
        migrate(&mut new).unwrap();
        assert_eq!(schema(&old), schema(&new));
        let bodies: i64 = old.query_row("SELECT count(*) FROM messages", [], |r| r.get(0)).unwrap();
        assert_eq!(bodies, 2);
        let jid: String = old
            .query_row("SELECT jid FROM addresses JOIN accounts USING (id)", [], |r| r.get(0))
            .unwrap();
        assert_eq!(jid, "juliet@capulet.example");
    }

    #[test]
    fn a_newer_database_is_refused_with_both_versions() {
        let mut conn = Connection::open_in_memory().unwrap();
        conn.pragma_update(None, "user_version", KNOWN + 1).unwrap();
        let error = migrate(&mut conn).unwrap_err();
        assert!(matches!(error, StoreError::Newer { .. }));
        assert!(error.to_string().contains(&format!("version {}", KNOWN + 1)), "{error}");
    }

    #[test]
    fn a_step_that_fails_leaves_nothing_behind() {
        let mut conn = Connection::open_in_memory().unwrap();
        conn.execute_batch("CREATE TABLE audit (x)").unwrap();
        assert!(migrate(&mut conn).is_err());
        let tables: i64 =
            conn.query_row("SELECT count(*) FROM sqlite_schema", [], |r| r.get(0)).unwrap();
        assert_eq!(tables, 1);
    }
}
