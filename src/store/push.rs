//! Push registrations (XEP-0357).

use rusqlite::params;

use super::{AccountId, Store, StoreError, accounts};
use crate::jid::Jid;
use crate::time::Now;

/// Where to announce that something waits for an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PushTarget {
    pub service: Jid,
    pub node: String,
    /// The publish options the client gave, as XML; it holds the service's secret.
    pub options: Option<Vec<u8>>,
    /// The device that enabled it; its notifications stop while that device is connected.
    pub device: Option<i64>,
    /// The resource that enabled it.
    pub resource: Option<String>,
    pub enabled: Now,
}

/// See [`Store::push`].
pub struct Push<'a>(pub(super) &'a Store);

impl Store {
    pub fn push(&self) -> Push<'_> {
        Push(self)
    }
}

impl Push<'_> {
    /// Adds, or replaces the one with the same service and node. At most `max` are kept; the
    /// oldest gives way.
    pub async fn enable(
        &self,
        owner: AccountId,
        target: PushTarget,
        max: usize,
    ) -> Result<(), StoreError> {
        self.0
            .write(move |tx| {
                tx.prepare_cached(
                    "INSERT OR REPLACE INTO push (account, service, node, options, device, resource, enabled)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
                )?
                .execute(params![
                    owner.0,
                    target.service.as_str(),
                    target.node,
                    target.options,
                    target.device,
                    target.resource,
                    target.enabled.0
                ])?;
                tx.prepare_cached(
                    "DELETE FROM push WHERE account = ?1 AND (service, node) NOT IN
                     (SELECT service, node FROM push WHERE account = ?1 ORDER BY enabled DESC LIMIT ?2)",
                )?
                .execute(params![owner.0, max])?;
                accounts::touch(tx, owner)
            })
            .await
    }

    /// Without `node`: all of the service. Tells how many were there.
    pub async fn disable(
        &self,
        owner: AccountId,
        service: &Jid,
        node: Option<&str>,
    ) -> Result<usize, StoreError> {
        let (service, node) = (service.clone(), node.map(ToOwned::to_owned));
        self.0
            .write(move |tx| {
                let gone = tx
                    .prepare_cached(
                        "DELETE FROM push WHERE account = ?1 AND service = ?2 AND node = coalesce(?3, node)",
                    )?
                    .execute(params![owner.0, service.as_str(), node])?;
                accounts::touch(tx, owner)?;
                Ok(gone)
            })
            .await
    }

    /// In the order they were enabled.
    pub async fn list(&self, owner: AccountId) -> Result<Vec<PushTarget>, StoreError> {
        self.0
            .read(move |reader| {
                let mut rows = reader.conn.prepare_cached(
                    "SELECT service, node, options, device, resource, enabled FROM push
                     WHERE account = ?1 ORDER BY enabled, service, node",
                )?;
                let mut rows = rows.query([owner.0])?;
                let mut targets = Vec::new();
                while let Some(row) = rows.next()? {
                    let Ok(service) = Jid::parse(row.get_ref(0)?.as_str().unwrap_or_default())
                    else {
                        continue;
                    };
                    targets.push(PushTarget {
                        service,
                        node: row.get(1)?,
                        options: row.get(2)?,
                        device: row.get(3)?,
                        resource: row.get(4)?,
                        enabled: Now(row.get(5)?),
                    });
                }
                Ok(targets)
            })
            .await
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::jid::BareJid;
    use crate::store::tests::{NOON, account, open};

    #[tokio::test]
    async fn the_oldest_registration_gives_way() {
        let dir = tempfile::tempdir().unwrap();
        let store = open(&dir);
        let alice = account(&store, "alice@a").await;
        let target = |n: u64| PushTarget {
            service: Jid::parse("push.example").unwrap(),
            node: format!("n{n}"),
            options: Some(b"<x xmlns='jabber:x:data'/>".to_vec()),
            device: Some(3),
            resource: None,
            enabled: NOON.plus(Duration::from_secs(n)),
        };
        for n in 0..5 {
            store.push().enable(alice, target(n), 3).await.unwrap();
        }
        store.push().enable(alice, PushTarget { options: None, ..target(4) }, 3).await.unwrap();
        let list = store.push().list(alice).await.unwrap();
        assert_eq!(list, [target(2), target(3), PushTarget { options: None, ..target(4) }]);
        let alice_jid = BareJid::parse("alice@a").unwrap();
        let pushed = || async { store.facts(&alice_jid).await.unwrap().unwrap().push };
        assert!(pushed().await);
        let service = Jid::parse("push.example").unwrap();
        assert_eq!(store.push().disable(alice, &service, Some("n3")).await.unwrap(), 1);
        assert_eq!(store.push().disable(alice, &Jid::parse("b").unwrap(), None).await.unwrap(), 0);
        assert_eq!(store.push().disable(alice, &service, None).await.unwrap(), 2);
        assert!(store.push().list(alice).await.unwrap().is_empty());
        assert!(!pushed().await);
    }
}
