//! API keys: what a program shows instead of a password, and what it may then ask for.
//!
//! A key is shown once, to whoever makes it. Only its SHA-256 is stored; it has 256 random bits, so
//! a slow hash would protect nothing.

use std::fmt;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rusqlite::types::Type;
use rusqlite::{OptionalExtension, Row, params};
use sha2::{Digest, Sha256};
use zeroize::Zeroize;

use super::{Store, StoreError};
use crate::time::Now;

/// API keys at most.
const KEYS_MAX: usize = 1000;
/// How often it is written down that a key is in use.
const USE_NOTED_EVERY: Duration = Duration::from_secs(60);

/// A key as its owner has it.
#[derive(Clone, PartialEq, Eq)]
pub struct ApiKey(String);

impl ApiKey {
    /// Lets people and scanners of code recognise what they have found.
    const PREFIX: &'static str = "coucou_";
    /// Nothing longer is looked up.
    const LEN_MAX: usize = 128;

    /// # Errors
    /// If the system has no randomness.
    pub fn generate() -> Result<ApiKey, StoreError> {
        let mut bytes = [0u8; 32];
        getrandom::fill(&mut bytes).map_err(|e| StoreError::io("make an API key", e))?;
        let key = ApiKey(format!("{}{}", Self::PREFIX, URL_SAFE_NO_PAD.encode(bytes)));
        bytes.zeroize();
        Ok(key)
    }

    /// A key that somebody presents. `None` if it cannot be one of ours.
    pub fn presented(text: &str) -> Option<ApiKey> {
        let fits = text.starts_with(Self::PREFIX) && text.len() <= Self::LEN_MAX;
        fits.then(|| ApiKey(text.to_owned()))
    }

    /// The key itself, for the one who is to have it.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    fn hash(&self) -> [u8; 32] {
        Sha256::digest(self.0.as_bytes()).into()
    }
}

impl Drop for ApiKey {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// What a key lets its owner do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiKeyRow {
    /// Chosen by whoever made it; no two keys have the same.
    pub name: String,
    /// The role's name, as in `operator`.
    pub role: String,
    /// Words of a grant.
    pub operations: Vec<String>,
    /// Empty stands for the whole server.
    pub hosts: Vec<String>,
    /// Where it may be used from; empty stands for everywhere.
    pub networks: Vec<String>,
    pub created: Now,
    /// Who made it.
    pub created_by: String,
    pub expires: Option<Now>,
    /// To the minute.
    pub last_used: Option<Now>,
}

impl ApiKeyRow {
    pub fn is_expired(&self, now: Now) -> bool {
        self.expires.is_some_and(|expires| expires <= now)
    }
}

/// See [`Store::api_keys`].
pub struct ApiKeys<'a>(&'a Store);

impl Store {
    pub fn api_keys(&self) -> ApiKeys<'_> {
        ApiKeys(self)
    }
}

impl ApiKeys<'_> {
    /// Whether the name was free.
    ///
    /// # Errors
    /// If there are too many keys, or the store cannot be written.
    pub async fn create(&self, key: &ApiKey, row: ApiKeyRow) -> Result<bool, StoreError> {
        let hash = key.hash();
        self.0
            .write(move |tx| {
                let count: usize =
                    tx.query_row("SELECT count(*) FROM api_keys", [], |row| row.get(0))?;
                if count >= KEYS_MAX {
                    return Err(StoreError::TooMany { what: "API keys", max: KEYS_MAX });
                }
                let inserted = tx
                    .prepare_cached(
                        "INSERT INTO api_keys (name, hash, role, operations, hosts, networks,
                                               created, created_by, expires)
                         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)
                         ON CONFLICT (name) DO NOTHING",
                    )?
                    .execute(params![
                        row.name,
                        hash,
                        row.role,
                        lines(&row.operations),
                        lines(&row.hosts),
                        lines(&row.networks),
                        row.created.0,
                        row.created_by,
                        row.expires.map(|at| at.0),
                    ])?;
                Ok(inserted == 1)
            })
            .await
    }

    /// What this key may, expired or not.
    ///
    /// # Errors
    /// If the store cannot be asked.
    pub async fn find(&self, key: &ApiKey) -> Result<Option<ApiKeyRow>, StoreError> {
        let hash = key.hash();
        self.0
            .read(move |reader| {
                let sql = format!("SELECT {COLUMNS} FROM api_keys WHERE hash = ?1");
                let mut found = reader.conn.prepare_cached(&sql)?;
                Ok(found.query_row([hash.as_slice()], read_row).optional()?)
            })
            .await
    }

    /// All keys by name.
    ///
    /// # Errors
    /// If the store cannot be asked.
    pub async fn list(&self) -> Result<Vec<ApiKeyRow>, StoreError> {
        self.0
            .read(|reader| {
                let sql = format!("SELECT {COLUMNS} FROM api_keys ORDER BY name");
                let mut rows = reader.conn.prepare_cached(&sql)?;
                Ok(rows.query_map([], read_row)?.collect::<Result<_, _>>()?)
            })
            .await
    }

    /// Notes that the key is in use, as far as that is news.
    ///
    /// # Errors
    /// If the store cannot be written.
    pub async fn note_use(&self, row: &ApiKeyRow, now: Now) -> Result<(), StoreError> {
        if row.last_used.is_some_and(|last| now.since(last) < USE_NOTED_EVERY) {
            return Ok(());
        }
        let name = row.name.clone();
        self.0
            .write(move |tx| {
                tx.prepare_cached("UPDATE api_keys SET last_used = ?2 WHERE name = ?1")?
                    .execute(params![name, now.0])?;
                Ok(())
            })
            .await
    }

    /// Whether there was such a key.
    ///
    /// # Errors
    /// If the store cannot be written.
    pub async fn revoke(&self, name: String) -> Result<bool, StoreError> {
        self.0
            .write(move |tx| {
                let mut gone = tx.prepare_cached("DELETE FROM api_keys WHERE name = ?1")?;
                Ok(gone.execute([name])? == 1)
            })
            .await
    }

    /// Whether this was a key.
    ///
    /// # Errors
    /// If the store cannot be written.
    pub async fn revoke_key(&self, key: &ApiKey) -> Result<bool, StoreError> {
        match self.find(key).await? {
            Some(row) => self.revoke(row.name).await,
            None => Ok(false),
        }
    }
}

const COLUMNS: &str =
    "name, role, operations, hosts, networks, created, created_by, expires, last_used";

fn read_row(row: &Row<'_>) -> rusqlite::Result<ApiKeyRow> {
    Ok(ApiKeyRow {
        name: row.get(0)?,
        role: row.get(1)?,
        operations: words(row, 2)?,
        hosts: words(row, 3)?,
        networks: words(row, 4)?,
        created: Now(row.get(5)?),
        created_by: row.get(6)?,
        expires: row.get::<_, Option<i64>>(7)?.map(Now),
        last_used: row.get::<_, Option<i64>>(8)?.map(Now),
    })
}

/// Words have no line breaks in them.
fn lines(words: &[String]) -> String {
    words.join("\n")
}

fn words(row: &Row<'_>, column: usize) -> rusqlite::Result<Vec<String>> {
    let text = row.get_ref(column)?.as_str().map_err(|error| {
        rusqlite::Error::FromSqlConversionFailure(column, Type::Text, Box::new(error))
    })?;
    Ok(text.lines().map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::StoreOptions;

    #[tokio::test]
    async fn keys_are_found_by_themselves_only_and_kept_as_hashes() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), StoreOptions::default()).unwrap();
        let keys = store.api_keys();
        let key = ApiKey::generate().unwrap();
        let row = ApiKeyRow {
            name: "ci".to_owned(),
            role: "operator".to_owned(),
            operations: vec!["account.*".to_owned(), "!account.remove".to_owned()],
            networks: vec!["192.0.2.0/24".to_owned()],
            created: Now::from_secs(1_800_000_000),
            expires: Some(Now::from_secs(1_800_000_100)),
            hosts: Vec::new(),
            created_by: "uid=0".to_owned(),
            last_used: None,
        };
        assert!(keys.create(&key, row.clone()).await.unwrap());
        assert!(!keys.create(&ApiKey::generate().unwrap(), row.clone()).await.unwrap());
        let again = ApiKey::presented(key.reveal()).unwrap();
        assert_eq!(keys.find(&again).await.unwrap().as_ref(), Some(&row));
        assert_eq!(keys.find(&ApiKey::generate().unwrap()).await.unwrap(), None);
        assert!(!row.is_expired(Now::from_secs(1_800_000_099)));
        assert!(row.is_expired(Now::from_secs(1_800_000_100)));

        let now = Now::from_secs(1_800_000_050);
        keys.note_use(&row, now).await.unwrap();
        let used = keys.list().await.unwrap().remove(0);
        assert_eq!(used.last_used, Some(now));
        keys.note_use(&used, now.plus(Duration::from_secs(59))).await.unwrap();
        assert_eq!(keys.list().await.unwrap()[0].last_used, Some(now));

        assert!(keys.revoke_key(&key).await.unwrap());
        assert!(!keys.revoke("ci".to_owned()).await.unwrap());
        store.shutdown().await.unwrap();
        for file in std::fs::read_dir(dir.path()).unwrap().flatten() {
            let bytes = std::fs::read(file.path()).unwrap_or_default();
            let found = memchr::memmem::find(&bytes, key.reveal().as_bytes());
            assert_eq!(found, None, "{}", file.path().display());
        }
    }

    #[test]
    fn what_cannot_be_a_key_is_not_looked_up() {
        assert_eq!(ApiKey::presented("hunter2"), None);
        assert_eq!(ApiKey::presented(&format!("coucou_{}", "x".repeat(200))), None);
        assert_eq!(format!("{:?}", ApiKey::generate().unwrap()), "***");
    }
}
