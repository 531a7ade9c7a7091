//! The message of the day of each host, and who has seen it.

use rusqlite::{Connection, OptionalExtension, params};

use super::{AccountId, Store, StoreError};
use crate::time::Now;

/// What everybody of a host reads once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Motd {
    /// Rises with every message of the host; the time when it was set, in microseconds.
    pub id: i64,
    pub subject: String,
    pub body: String,
}

/// See [`Store::motd`].
pub struct MessageOfTheDay<'a>(pub(super) &'a Store);

impl Store {
    pub fn motd(&self) -> MessageOfTheDay<'_> {
        MessageOfTheDay(self)
    }
}

impl MessageOfTheDay<'_> {
    /// Replaces the message of a host; everybody will read it anew, but for those who are told of it
    /// now.
    pub async fn set(
        &self,
        host: &str,
        subject: &str,
        body: &str,
        told: Vec<AccountId>,
        now: Now,
    ) -> Result<Motd, StoreError> {
        let (host, subject, body) = (host.to_owned(), subject.to_owned(), body.to_owned());
        self.0
            .write(move |tx| {
                let before = current(tx, &host)?.map_or(0, |motd| motd.id);
                let motd = Motd { id: now.0.max(before + 1), subject, body };
                tx.prepare_cached(
                    "INSERT OR REPLACE INTO motd (host, id, subject, body) VALUES (?1, ?2, ?3, ?4)",
                )?
                .execute(params![host, motd.id, motd.subject, motd.body])?;
                for account in told {
                    see(tx, account, motd.id)?;
                }
                Ok(motd)
            })
            .await
    }

    pub async fn get(&self, host: &str) -> Result<Option<Motd>, StoreError> {
        let host = host.to_owned();
        self.0.read(move |reader| current(&reader.conn, &host)).await
    }

    /// Whether there was one.
    pub async fn delete(&self, host: &str) -> Result<bool, StoreError> {
        let host = host.to_owned();
        self.0
            .write(move |tx| {
                let gone = tx
                    .prepare_cached("DELETE FROM motd WHERE host = ?1")?
                    .execute([host.as_str()])?;
                Ok(gone > 0)
            })
            .await
    }

    /// The message that the account has not read yet. It counts as read from now on.
    pub async fn take(&self, account: AccountId, host: &str) -> Result<Option<Motd>, StoreError> {
        let name = host.to_owned();
        let due = self.0.read(move |reader| unread(&reader.conn, account, &name)).await?;
        if due.is_none() {
            return Ok(None);
        }
        let host = host.to_owned();
        // Two devices may come at once: the writer lets one of them have it.
        self.0
            .write(move |tx| {
                let due = unread(tx, account, &host)?;
                if let Some(motd) = &due {
                    see(tx, account, motd.id)?;
                }
                Ok(due)
            })
            .await
    }
}

fn current(conn: &Connection, host: &str) -> Result<Option<Motd>, StoreError> {
    let mut found = conn.prepare_cached("SELECT id, subject, body FROM motd WHERE host = ?1")?;
    let motd = found.query_row([host], |row| {
        Ok(Motd { id: row.get(0)?, subject: row.get(1)?, body: row.get(2)? })
    });
    Ok(motd.optional()?)
}

fn unread(conn: &Connection, account: AccountId, host: &str) -> Result<Option<Motd>, StoreError> {
    let Some(motd) = current(conn, host)? else { return Ok(None) };
    let seen: Option<i64> = conn
        .prepare_cached("SELECT id FROM motd_seen WHERE account = ?1")?
        .query_row([account.0], |row| row.get(0))
        .optional()?;
    Ok(Some(motd).filter(|motd| seen.is_none_or(|seen| seen < motd.id)))
}

fn see(conn: &Connection, account: AccountId, id: i64) -> Result<(), StoreError> {
    conn.prepare_cached("INSERT OR REPLACE INTO motd_seen (account, id) VALUES (?1, ?2)")?
        .execute([account.0, id])?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::store::tests::{NOON, account, open};

    #[tokio::test]
    async fn a_message_is_read_once_by_everybody_and_a_new_one_again() {
        let dir = tempfile::tempdir().unwrap();
        let store = open(&dir);
        let (alice, bob) = (account(&store, "alice@a").await, account(&store, "bob@a").await);
        let take = async |who| {
            let due = store.motd().take(who, "a").await.unwrap();
            due.map(|motd| motd.body)
        };
        assert_eq!(take(alice).await, None);
        store.motd().set("a", "News", "one", vec![bob], NOON).await.unwrap();
        assert_eq!(take(alice).await.as_deref(), Some("one"));
        assert_eq!(take(alice).await, None);
        assert_eq!(take(bob).await, None, "told when it was set");
        // In the same microsecond it is still another one.
        store.motd().set("a", "News", "two", Vec::new(), NOON).await.unwrap();
        assert_eq!(take(bob).await.as_deref(), Some("two"));
        assert_eq!(store.motd().take(alice, "b").await.unwrap(), None);
        assert!(store.motd().delete("a").await.unwrap());
        assert!(!store.motd().delete("a").await.unwrap());
        assert_eq!(take(alice).await, None);
        assert_eq!(store.motd().get("a").await.unwrap(), None);
    }
}
