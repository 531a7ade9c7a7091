use std::time::Duration;

use super::*;
use crate::store::accounts::{Lock, ScramRow};
use crate::store::tests::{NOON, account, integrity, jid, open};

const DAY: Duration = Duration::from_secs(86_400);

#[tokio::test]
async fn an_account_in_the_bin_is_not_there_and_keeps_its_name() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    let anna = jid("anna@a");
    account(&store, "anna@a").await;
    account(&store, "bob@a").await;
    store.bin().put(&anna, NOON.plus(DAY), "uid=0", NOON).await.unwrap();
    assert!(store.accounts().find(&anna).await.unwrap().is_none());
    assert!(store.facts(&anna).await.unwrap().is_none());
    assert!(store.facts_with_bin(&anna).await.unwrap().is_some());
    assert!(store.accounts().keys(&anna).await.unwrap().is_empty());
    assert_eq!(store.accounts().count("a").await.unwrap(), 1);
    assert_eq!(store.accounts().list("a", "", None, 9).await.unwrap().len(), 1);
    let again = store.accounts().create(&anna, Vec::new(), NOON).await;
    assert!(matches!(again, Err(StoreError::AccountExists)));
    let twice = store.bin().put(&anna, NOON, "", NOON).await;
    assert!(matches!(twice, Err(StoreError::NoSuchAccount)));
    let binned =
        Binned { jid: anna.clone(), removed: NOON, until: NOON.plus(DAY), who: "uid=0".into() };
    assert_eq!(store.bin().find(&anna).await.unwrap().as_ref(), Some(&binned));
    assert_eq!(store.bin().list(Some("a"), None, 9).await.unwrap(), [binned]);
    assert!(store.bin().list(None, Some(&anna), 9).await.unwrap().is_empty());
    assert!(store.bin().list(Some("b"), None, 9).await.unwrap().is_empty());
    assert!(store.bin().due(NOON, 9).await.unwrap().is_empty());
    assert_eq!(store.bin().due(NOON.plus(DAY), 9).await.unwrap(), [anna]);
}

#[tokio::test]
async fn what_comes_back_is_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    let anna = jid("anna@a");
    let key = ScramRow {
        hash: "SHA-1".into(),
        salt: vec![1],
        iterations: 4096,
        stored_key: vec![2],
        server_key: vec![3],
    };
    store.accounts().create(&anna, vec![key.clone()], NOON).await.unwrap();
    let lock = Lock { since: NOON, reason: "spam".into() };
    store.accounts().set_lock(&anna, Some(lock)).await.unwrap();
    let before = store.accounts().find(&anna).await.unwrap();
    store.bin().put(&anna, NOON.plus(DAY), "", NOON).await.unwrap();
    // A restart finds it where it was.
    store.shutdown().await.unwrap();
    drop(store);
    let store = open(&dir);
    store.bin().restore(&anna).await.unwrap();
    assert_eq!(store.accounts().find(&anna).await.unwrap(), before);
    assert!(store.accounts().keys(&anna).await.unwrap() == [key]);
    assert!(store.bin().find(&anna).await.unwrap().is_none());
    assert!(matches!(store.bin().restore(&anna).await, Err(StoreError::NotFound)));
    let nobody = store.bin().restore(&jid("nobody@a")).await;
    assert!(matches!(nobody, Err(StoreError::NoSuchAccount)));
}

#[tokio::test]
async fn what_is_erased_leaves_nothing_and_frees_its_name() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    let anna = jid("anna@a");
    account(&store, "anna@a").await;
    store.bin().put(&anna, NOON, "", NOON).await.unwrap();
    store.accounts().remove(&anna).await.unwrap();
    assert!(store.facts_with_bin(&anna).await.unwrap().is_none());
    assert!(matches!(store.bin().restore(&anna).await, Err(StoreError::NoSuchAccount)));
    store.accounts().create(&anna, Vec::new(), NOON).await.unwrap();
    assert!(store.bin().find(&anna).await.unwrap().is_none());
    store.shutdown().await.unwrap();
    drop(store);
    integrity(&dir);
}
