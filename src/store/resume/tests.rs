use super::*;
use crate::store::tests::{BOTH, NOON, account, jid, open, row};
use crate::store::{MessageFlags, MessageRow, SmReceived};
use tokio::sync::oneshot;

pub(in crate::store) fn session(sid: u64, account: AccountId) -> SmOpen {
    SmOpen {
        sid,
        account,
        resource: "phone".into(),
        token_hash: [sid as u8; 32],
        created: NOON,
        device: None,
        facts: Bytes::from_static(b"carbons"),
    }
}

async fn mark(store: &Store, sid: u64, h: u32) -> Result<(), StoreError> {
    let (done, wait) = oneshot::channel();
    store.sm_mark(sid, h, true, Box::new(move |outcome| drop(done.send(outcome)))).unwrap();
    wait.await.unwrap()
}

fn message(store: &Store, sid: u64, h: u32, to: u64, number: Option<u32>) -> MessageRow {
    let mut row = row(store, "alice@a/phone", "bob@a", "hello", NOON);
    row.received = Some(SmReceived { sid, h });
    row.deliveries.push(SmDelivery { sid: to, number, form: CopyForm::Plain });
    assert_eq!(row.flags, BOTH);
    row
}

#[tokio::test]
async fn a_session_is_restored_as_it_was_left() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    let (alice, bob) = (account(&store, "alice@a").await, account(&store, "bob@a").await);
    store.sm_open(session(1, alice), None).unwrap();
    let open_bob = SmOpen { device: Some(4), ..session(u64::MAX, bob) };
    store.sm_open(open_bob.clone(), None).unwrap();
    let mut ids = Vec::new();
    for h in 1..=5 {
        // The third never got a number: the process died before it was sent.
        let row = message(&store, 1, h, u64::MAX, None);
        ids.push(row.id);
        store.append(row).unwrap();
        if h != 3 {
            store.sm_out(u64::MAX, h, ids[ids.len() - 1], CopyForm::Plain).unwrap();
        }
    }
    store.sm_acked(u64::MAX, 2).unwrap();
    store.sm_facts(1, Bytes::from_static(b"inactive")).unwrap();
    mark(&store, 1, 6).await.unwrap();
    drop(store);

    let store = open(&dir);
    let restored = store.sm_restore_all().await.unwrap();
    assert_eq!(restored.len(), 2);
    let (a, b) = (&restored[0], &restored[1]);
    assert_eq!(a.open, SmOpen { facts: Bytes::from_static(b"inactive"), ..session(1, alice) });
    assert_eq!((a.h_in, a.out.len(), a.detached), (6, 0, None));
    assert_eq!(b.open, open_bob);
    assert_eq!((b.h_in, b.acked), (0, 2));
    let out: Vec<_> = b.out.iter().map(|(number, id, _)| (*number, *id)).collect();
    assert_eq!(out, [(None, ids[2]), (Some(4), ids[3]), (Some(5), ids[4])]);

    // And again, now from the folded rows and a log on top of them.
    store.sm_acked(u64::MAX, 4).unwrap();
    store.sm_close(1).unwrap();
    drop(store);
    let store = open(&dir);
    let restored = store.sm_restore_all().await.unwrap();
    assert_eq!(restored.len(), 1);
    assert_eq!(restored[0].open, open_bob);
    assert_eq!(restored[0].out.len(), 2);
}

#[tokio::test]
async fn what_is_parked_comes_back_and_what_is_unparked_does_not() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    let alice = account(&store, "alice@a").await;
    let parked = SmParked {
        stanzas: vec![(3, Bytes::from_static(b"<presence/>")), (4, Bytes::from(vec![b'x'; 3000]))],
        sent: 4,
    };
    for sid in 1..=3 {
        store.sm_open(session(sid, alice), None).unwrap();
        store.sm_park(sid, parked.clone(), NOON, None).unwrap();
    }
    store.sm_unpark(2).unwrap();
    store.sm_close(3).unwrap();
    // Nobody's.
    store.sm_park(9, parked.clone(), NOON, None).unwrap();
    drop(store);
    let store = open(&dir);
    let restored = store.sm_restore_all().await.unwrap();
    assert_eq!(restored.len(), 2);
    assert_eq!((restored[0].parked.clone(), restored[0].detached), (parked, Some(NOON)));
    assert_eq!((restored[1].parked.clone(), restored[1].detached), (SmParked::default(), None));
}

#[tokio::test]
async fn deliveries_are_bounded_and_renumbered() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    let alice = account(&store, "alice@a").await;
    store.sm_open(session(1, alice), None).unwrap();
    for n in 0..OUT_MAX as u32 + 50 {
        store.sm_out(1, n, MessageId(i64::from(n)), CopyForm::CarbonSent).unwrap();
    }
    let restored = store.sm_restore_all().await.unwrap();
    assert_eq!(restored[0].out.len(), OUT_MAX);
    assert_eq!(restored[0].out[0], (Some(50), MessageId(50), CopyForm::CarbonSent));
    let out =
        vec![(8, MessageId(1), CopyForm::Plain), (10, MessageId(3), CopyForm::CarbonReceived)];
    store.sm_renumber(1, 7, out.clone()).unwrap();
    drop(store);
    let store = open(&dir);
    let restored = store.sm_restore_all().await.unwrap();
    let expected: Vec<_> = out.into_iter().map(|(n, id, form)| (Some(n), id, form)).collect();
    assert_eq!((restored[0].acked, &restored[0].out), (7, &expected));
}

#[tokio::test]
async fn counters_wrap() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    let alice = account(&store, "alice@a").await;
    store.sm_open(session(1, alice), None).unwrap();
    store.sm_in(1, (1 << 31) - 1).unwrap();
    store.sm_in(1, u32::MAX - 1).unwrap();
    store.sm_in(1, 2).unwrap();
    let out = [u32::MAX, 0, 1].map(|n| (n, MessageId(i64::from(n)), CopyForm::Plain));
    store.sm_renumber(1, u32::MAX - 1, out.to_vec()).unwrap();
    store.sm_acked(1, 0).unwrap();
    store.sm_acked(1, u32::MAX).unwrap();
    let restored = store.sm_restore_all().await.unwrap();
    assert_eq!(restored[0].h_in, 2);
    assert_eq!(restored[0].out, [(Some(1), MessageId(1), CopyForm::Plain)]);
}

/// Many sessions come and go; folds happen on the way; only what is open stays.
#[tokio::test]
async fn the_log_is_folded_and_forgets_closed_sessions() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    let alice = account(&store, "alice@a").await;
    for sid in 1..=6_000u64 {
        let open = SmOpen { facts: Bytes::from(vec![b'f'; 400]), ..session(sid, alice) };
        while store.sm_open(open.clone(), None).is_err() {
            store.room().await;
        }
        let id = store.next_id(NOON);
        while store.sm_out(sid, 1, id, CopyForm::Plain).is_err() {
            store.room().await;
        }
        if sid % 100 != 0 {
            while store.sm_close(sid).is_err() {
                store.room().await;
            }
        }
    }
    store.settled().await.unwrap();
    let log: usize = store
        .read(|reader| {
            Ok(reader.conn.query_row(
                "SELECT coalesce(sum(length(notes)), 0) FROM sm_log",
                [],
                |row| row.get(0),
            )?)
        })
        .await
        .unwrap();
    assert!(log < 2 << 20, "the log was never folded: {log} bytes");
    drop(store);
    let store = open(&dir);
    let restored = store.sm_restore_all().await.unwrap();
    assert_eq!(restored.len(), 60);
    assert!(restored.iter().all(|s| s.open.sid % 100 == 0 && s.out.len() == 1));
    for session in restored {
        store.sm_close(session.open.sid).unwrap();
    }
    drop(store);
    let store = open(&dir);
    assert!(store.sm_restore_all().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_removed_account_leaves_no_session() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    let alice = account(&store, "alice@a").await;
    store.sm_open(session(1, alice), None).unwrap();
    store.sm_park(1, SmParked::default(), NOON, None).unwrap();
    store.accounts().remove(&jid("alice@a")).await.unwrap();
    drop(store);
    let store = open(&dir);
    assert!(store.sm_restore_all().await.unwrap().is_empty());
}

#[test]
fn a_damaged_log_is_an_error_and_no_panic() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    store.sm_open(session(1, AccountId(1)), None).unwrap();
    store.sm_out(1, 70_000, MessageId(1 << 60), CopyForm::Plain).unwrap();
    store.sm_facts(1, Bytes::from_static(b"x")).unwrap();
    drop(store);
    let conn = rusqlite::Connection::open(dir.path().join("coucou.db")).unwrap();
    let notes: Vec<u8> = conn.query_row("SELECT notes FROM sm_log", [], |row| row.get(0)).unwrap();
    for at in 0..notes.len() {
        let mut broken = notes.clone();
        broken[at] ^= 0xff;
        for broken in [&broken[..], &notes[..at]] {
            conn.execute("UPDATE sm_log SET notes = ?1", [broken]).unwrap();
            let _ = SmLog::load(&conn);
        }
    }
    conn.execute("UPDATE sm_log SET notes = ?1", [[0xff; 20]]).unwrap();
    assert!(SmLog::load(&conn).is_err());
}

/// A host without an archive: the message is in no table, yet `h` counts it.
#[tokio::test]
async fn a_message_that_nobody_keeps_leaves_only_its_note() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    let alice = account(&store, "alice@a").await;
    store.sm_open(session(1, alice), None).unwrap();
    let row = MessageRow { flags: MessageFlags::GROUPCHAT, ..message(&store, 1, 1, 2, None) };
    let id = row.id;
    store.append(row).unwrap();
    store.settled().await.unwrap();
    assert!(store.archive().fetch(vec![id]).await.unwrap().is_empty());
    assert_eq!(store.sm_restore_all().await.unwrap()[0].h_in, 1);
}
