//! Clients that have access to an account (XEP-0494) and their FAST tokens (XEP-0484).

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::writer::Tx;
use super::{AccountId, Store, StoreError};
use crate::time::Now;

/// A client that has signed in to an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// Unique on this server and never used again; what XEP-0494 shows as the client's id.
    pub id: i64,
    pub account: AccountId,
    /// A hash of the `id` of the client's `<user-agent/>`, see `auth::AgentId`.
    pub agent: [u8; 16],
    pub software: Option<String>,
    /// The `<device/>` of the user agent.
    pub name: Option<String>,
    pub first_seen: Now,
    pub last_seen: Now,
    /// Has signed in with the password: revoking it takes a new password.
    pub password: bool,
    /// Holds a FAST token, though perhaps an expired one.
    pub token: bool,
}

/// What a client told of itself when it signed in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Agent {
    pub id: [u8; 16],
    pub software: Option<String>,
    pub name: Option<String>,
}

/// What is kept of a FAST token, see `auth::Token`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenRow {
    pub nonce: [u8; 16],
    /// The one mechanism it is good for: `HT-SHA-256-EXPR`.
    pub mechanism: String,
    pub issued: Now,
    pub expires: Now,
    /// The highest `count` seen (replay protection).
    pub count: u32,
}

/// The two slots of XEP-0484 §5.1.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TokenRows {
    /// Handed out, not used yet.
    pub new: Option<TokenRow>,
    pub current: Option<TokenRow>,
}

const NEW: u8 = 1;
const CURRENT: u8 = 0;

/// See [`Store::devices`].
pub struct Devices<'a>(pub(super) &'a Store);

impl Store {
    pub fn devices(&self) -> Devices<'_> {
        Devices(self)
    }
}

impl Devices<'_> {
    /// Notes a sign-in. Past `max` devices the one unseen for longest is forgotten, its tokens too.
    pub async fn seen(
        &self,
        account: AccountId,
        agent: Agent,
        password: bool,
        now: Now,
        max: usize,
    ) -> Result<Device, StoreError> {
        self.0
            .write(move |tx| {
                tx.prepare_cached(
                    "INSERT INTO devices
                     (account, agent, software, name, first_seen, last_seen, password)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?5, ?6)
                     ON CONFLICT (account, agent) DO UPDATE SET last_seen = excluded.last_seen,
                     software = coalesce(excluded.software, software),
                     name = coalesce(excluded.name, name), password = password OR excluded.password",
                )?
                .execute(params![
                    account.0,
                    agent.id,
                    agent.software,
                    agent.name,
                    now.0,
                    password
                ])?;
                let unseen: Vec<i64> = tx
                    .prepare_cached(
                        "SELECT id FROM devices WHERE account = ?1
                         ORDER BY last_seen DESC, id DESC LIMIT -1 OFFSET ?2",
                    )?
                    .query_map(params![account.0, max], |row| row.get(0))?
                    .collect::<Result<_, _>>()?;
                for device in unseen {
                    forget(tx, device)?;
                }
                find(tx, account, &agent.id)?.ok_or(StoreError::NotFound)
            })
            .await
    }

    /// Those seen last come first.
    pub async fn list(&self, account: AccountId) -> Result<Vec<Device>, StoreError> {
        self.0
            .read(move |reader| {
                let sql = format!("{SELECT} WHERE account = ?1 ORDER BY last_seen DESC, id DESC");
                let mut rows = reader.conn.prepare_cached(&sql)?;
                Ok(rows.query_map([account.0], device)?.collect::<Result<_, _>>()?)
            })
            .await
    }

    /// The device of an account by the id of its user agent, with its tokens.
    pub async fn find(
        &self,
        account: AccountId,
        agent: [u8; 16],
    ) -> Result<Option<(Device, TokenRows)>, StoreError> {
        self.0
            .read(move |reader| {
                let Some(device) = find(&reader.conn, account, &agent)? else { return Ok(None) };
                let tokens = tokens(&reader.conn, device.id)?;
                Ok(Some((device, tokens)))
            })
            .await
    }

    /// Forgets the device and ends its tokens. False if the account has no such device.
    pub async fn revoke(&self, account: AccountId, device: i64) -> Result<bool, StoreError> {
        self.0
            .write(move |tx| {
                let owned = tx
                    .prepare_cached("SELECT 1 FROM devices WHERE id = ?1 AND account = ?2")?
                    .exists([device, account.0])?;
                if owned {
                    forget(tx, device)?;
                }
                Ok(owned)
            })
            .await
    }

    /// Reads, changes and writes a device's tokens as one act, on the writer's thread: two sign-ins
    /// with one token cannot both find it unused. [`StoreError::NotFound`] if the device is gone.
    pub async fn edit_tokens<T: Send + 'static>(
        &self,
        device: i64,
        edit: impl FnOnce(&mut TokenRows) -> T + Send + 'static,
    ) -> Result<T, StoreError> {
        self.0
            .write(move |tx| {
                if !tx.prepare_cached("SELECT 1 FROM devices WHERE id = ?1")?.exists([device])? {
                    return Err(StoreError::NotFound);
                }
                let before = tokens(tx, device)?;
                let mut after = before.clone();
                let value = edit(&mut after);
                put(tx, device, NEW, &before.new, &after.new)?;
                put(tx, device, CURRENT, &before.current, &after.current)?;
                Ok(value)
            })
            .await
    }

    /// Ends every token of the account: it was kicked. (A new password and a lock do it, too.)
    pub async fn drop_all_tokens(&self, account: AccountId) -> Result<(), StoreError> {
        self.0.write(move |tx| drop_tokens(tx, account)).await
    }
}

const SELECT: &str = "SELECT id, account, agent, software, name, first_seen, last_seen, password,
    EXISTS (SELECT 1 FROM tokens WHERE device = devices.id) FROM devices";

fn device(row: &Row<'_>) -> rusqlite::Result<Device> {
    Ok(Device {
        id: row.get(0)?,
        account: AccountId(row.get(1)?),
        agent: row.get(2)?,
        software: row.get(3)?,
        name: row.get(4)?,
        first_seen: Now(row.get(5)?),
        last_seen: Now(row.get(6)?),
        password: row.get(7)?,
        token: row.get(8)?,
    })
}

fn find(
    conn: &Connection,
    account: AccountId,
    agent: &[u8; 16],
) -> Result<Option<Device>, StoreError> {
    let sql = format!("{SELECT} WHERE account = ?1 AND agent = ?2");
    Ok(conn.prepare_cached(&sql)?.query_row(params![account.0, agent], device).optional()?)
}

fn tokens(conn: &Connection, device: i64) -> Result<TokenRows, StoreError> {
    let mut rows = conn.prepare_cached(
        "SELECT slot, nonce, mechanism, issued, expires, count FROM tokens WHERE device = ?1",
    )?;
    let mut rows = rows.query([device])?;
    let mut tokens = TokenRows::default();
    while let Some(row) = rows.next()? {
        let token = TokenRow {
            nonce: row.get(1)?,
            mechanism: row.get(2)?,
            issued: Now(row.get(3)?),
            expires: Now(row.get(4)?),
            count: row.get(5)?,
        };
        match row.get(0)? {
            NEW => tokens.new = Some(token),
            _ => tokens.current = Some(token),
        }
    }
    Ok(tokens)
}

fn put(
    tx: &Tx<'_>,
    device: i64,
    slot: u8,
    before: &Option<TokenRow>,
    after: &Option<TokenRow>,
) -> Result<(), StoreError> {
    if before == after {
        return Ok(());
    }
    match after {
        None => {
            tx.prepare_cached("DELETE FROM tokens WHERE device = ?1 AND slot = ?2")?
                .execute(params![device, slot])?;
        }
        Some(token) => {
            tx.prepare_cached(
                "INSERT OR REPLACE INTO tokens (device, slot, nonce, mechanism, issued, expires, count)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            )?
            .execute(params![
                device,
                slot,
                token.nonce,
                token.mechanism,
                token.issued.0,
                token.expires.0,
                token.count
            ])?;
        }
    }
    Ok(())
}

fn forget(tx: &Tx<'_>, device: i64) -> Result<(), StoreError> {
    tx.prepare_cached("DELETE FROM tokens WHERE device = ?1")?.execute([device])?;
    tx.prepare_cached("DELETE FROM devices WHERE id = ?1")?.execute([device])?;
    Ok(())
}

pub(super) fn drop_tokens(tx: &Tx<'_>, account: AccountId) -> Result<(), StoreError> {
    tx.prepare_cached(
        "DELETE FROM tokens WHERE device IN (SELECT id FROM devices WHERE account = ?1)",
    )?
    .execute([account.0])?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::store::tests::{NOON, account, jid, open};

    fn agent(n: u8) -> Agent {
        Agent { id: [n; 16], software: Some(format!("Client {n}")), name: None }
    }

    fn token(n: u8) -> TokenRow {
        TokenRow {
            nonce: [n; 16],
            mechanism: "HT-SHA-256-EXPR".into(),
            issued: NOON,
            expires: NOON.plus(Duration::from_secs(9)),
            count: 0,
        }
    }

    #[tokio::test]
    async fn devices_are_remembered_bounded_and_revoked() {
        let dir = tempfile::tempdir().unwrap();
        let store = open(&dir);
        let (alice, bob) = (account(&store, "alice@a").await, account(&store, "bob@a").await);
        let devices = store.devices();
        let mut ids = Vec::new();
        for n in 0..5u8 {
            let now = NOON.plus(Duration::from_secs(u64::from(n)));
            ids.push(devices.seen(alice, agent(n), n == 4, now, 3).await.unwrap().id);
        }
        let list = devices.list(alice).await.unwrap();
        assert_eq!(list.iter().map(|d| d.id).collect::<Vec<_>>(), [ids[4], ids[3], ids[2]]);
        let nameless = Agent { software: None, ..agent(4) };
        let again = devices.seen(alice, nameless, false, NOON, 3).await.unwrap();
        assert!(again.password && again.software.is_some() && again.id == ids[4]);
        assert!(!devices.revoke(bob, ids[4]).await.unwrap());
        assert!(devices.revoke(alice, ids[4]).await.unwrap());
        assert!(devices.find(alice, [4; 16]).await.unwrap().is_none());
        // Numbers of the forgotten are not given out again.
        let new = devices.seen(bob, agent(9), false, NOON, 3).await.unwrap();
        assert!(!ids.contains(&new.id));
    }

    #[tokio::test]
    async fn tokens_are_edited_as_one_act_and_end_with_password_lock_and_device() {
        let dir = tempfile::tempdir().unwrap();
        let store = open(&dir);
        let alice = account(&store, "alice@a").await;
        let devices = store.devices();
        let device = devices.seen(alice, agent(1), true, NOON, 9).await.unwrap();
        let issue = || devices.edit_tokens(device.id, |tokens| tokens.new = Some(token(1)));
        let held = async || {
            let (device, tokens) = devices.find(alice, [1; 16]).await.unwrap().unwrap();
            assert_eq!(device.token, tokens != TokenRows::default());
            tokens
        };
        issue().await.unwrap();
        assert_eq!(held().await, TokenRows { new: Some(token(1)), current: None });
        // Two sign-ins with the same count: one passes.
        let sign_in = || {
            devices.edit_tokens(device.id, |tokens| {
                let Some(mut token) = tokens.new.take().or_else(|| tokens.current.clone()) else {
                    return false;
                };
                let fresh = token.count < 1;
                token.count = 1;
                tokens.current = Some(token);
                fresh
            })
        };
        let (a, b) = tokio::join!(sign_in(), sign_in());
        assert_ne!(a.unwrap(), b.unwrap());
        let used = TokenRow { count: 1, ..token(1) };
        assert_eq!(held().await, TokenRows { new: None, current: Some(used) });

        store.accounts().set_keys(&jid("alice@a"), Vec::new()).await.unwrap();
        assert_eq!(held().await, TokenRows::default());
        issue().await.unwrap();
        let lock = crate::store::accounts::Lock { since: NOON, reason: String::new() };
        store.accounts().set_lock(&jid("alice@a"), Some(lock)).await.unwrap();
        assert_eq!(held().await, TokenRows::default());
        issue().await.unwrap();
        devices.drop_all_tokens(alice).await.unwrap();
        assert_eq!(held().await, TokenRows::default());
        devices.revoke(alice, device.id).await.unwrap();
        assert!(matches!(issue().await, Err(StoreError::NotFound)));
    }
}
