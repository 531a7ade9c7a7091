//! The store as a whole: what is confirmed is there, whatever happens to the process or the disk.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};

use super::archive::{ArchiveQuery, Position, Rsm};
use super::codec::samples::{Dice, stanza};
use super::*;

pub(super) const NOON: Now = Now(1_795_608_000_000_000);
pub(super) const BOTH: MessageFlags = MessageFlags(3);

pub(super) fn jid(text: &str) -> BareJid {
    BareJid::parse(text).unwrap()
}

pub(super) fn open(dir: &tempfile::TempDir) -> Arc<Store> {
    Store::open(dir.path(), StoreOptions::default()).unwrap()
}

pub(super) fn body(from: &str, to: &str, text: &str) -> String {
    format!(
        "<message xmlns='jabber:client' from='{from}' to='{to}' type='chat'><body>{text}</body></message>"
    )
}

pub(super) fn row(store: &Store, from: &str, to: &str, text: &str, at: Now) -> MessageRow {
    let bare = |full: &str| jid(full.split('/').next().unwrap());
    MessageRow::new(
        store.next_id(at),
        bare(from),
        bare(to),
        BOTH,
        body(from, to, text).into_bytes(),
    )
}

pub(super) async fn account(store: &Store, name: &str) -> AccountId {
    store.accounts().create(&jid(name), Vec::new(), NOON).await.unwrap()
}

/// Appends and hands out what the writer says.
fn append(store: &Store, mut row: MessageRow) -> oneshot::Receiver<Result<(), StoreError>> {
    let (done, wait) = oneshot::channel();
    row.done = Some(Box::new(move |outcome| drop(done.send(outcome))));
    store.append(row).unwrap();
    wait
}

pub(super) fn integrity(dir: &tempfile::TempDir) {
    let conn = Connection::open(dir.path().join("coucou.db")).unwrap();
    let verdict: String = conn.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(verdict, "ok");
}

#[tokio::test]
async fn what_was_appended_is_found_by_both_sides() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    let (alice, bob) = (account(&store, "alice@a").await, account(&store, "bob@a").await);
    let row = row(&store, "alice@a/phone", "bob@a", "hello", NOON);
    let (id, text) = (row.id, row.stanza.clone());
    append(&store, row).await.unwrap().unwrap();
    for owner in [alice, bob] {
        let page = store.archive().page(ArchiveQuery::of(owner)).await.unwrap();
        assert_eq!(page.items.len(), 1);
        assert_eq!((page.items[0].id, &page.items[0].stanza), (id, &text));
        assert_eq!((page.count, page.index, page.complete), (Some(1), Some(0), true));
    }
    store.shutdown().await.unwrap();
    assert!(matches!(store.settled().await, Err(StoreError::Closed)));
    drop(store);
    integrity(&dir);
}

#[tokio::test]
async fn a_page_sees_what_was_appended_before_it() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    let alice = account(&store, "alice@a").await;
    for n in 0..200 {
        store.append(row(&store, "alice@a/x", "bob@b", &n.to_string(), NOON)).unwrap();
        if n % 40 == 0 {
            let query = ArchiveQuery {
                rsm: Rsm { max: 0, at: Position::First },
                ..ArchiveQuery::of(alice)
            };
            assert_eq!(store.archive().page(query).await.unwrap().count, Some(n + 1));
        }
    }
}

#[tokio::test]
async fn a_full_queue_is_busy_and_has_room_again() {
    let dir = tempfile::tempdir().unwrap();
    let options = StoreOptions { queue_jobs_max: 50, ..StoreOptions::default() };
    let store = Store::open(dir.path(), options).unwrap();
    let mut refused = 0;
    let mut id = MessageId(0);
    for n in 0..5_000 {
        while store.append(row(&store, "a@a/x", "b@b", &n.to_string(), NOON)).is_err() {
            refused += 1;
            store.room().await;
        }
        id = store.next_id(NOON);
    }
    assert!(refused > 0, "the queue never filled");
    store.settled().await.unwrap();
    assert!(store.next_id(NOON) > id);
    drop(store);
    let conn = Connection::open(dir.path().join("coucou.db")).unwrap();
    let rows: u64 = conn.query_row("SELECT count(*) FROM messages", [], |row| row.get(0)).unwrap();
    assert_eq!(rows, 5_000);
}

#[tokio::test]
async fn a_failed_job_undoes_itself_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    let insert = |name: &'static str, outcome: Result<(), StoreError>| {
        store.write(move |tx| {
            tx.address(&jid(name))?;
            tx.execute("INSERT INTO meta (key, value) VALUES (?1, 1)", [name])?;
            outcome
        })
    };
    let (first, second, third) = tokio::join!(
        insert("a@a", Ok(())),
        insert("b@a", Err(StoreError::NotFound)),
        insert("c@a", Ok(()))
    );
    first.unwrap();
    assert!(matches!(second, Err(StoreError::NotFound)));
    third.unwrap();
    let bug = store.write(|_| -> Result<(), StoreError> { panic!("as planned") }).await;
    assert!(matches!(bug, Err(StoreError::Bug(_))));
    // The number that the undone job gave out is given to somebody else, not remembered.
    let ids = store
        .write(|tx| {
            Ok([tx.address(&jid("b@a"))?, tx.address(&jid("c@a"))?, tx.address(&jid("d@a"))?])
        })
        .await
        .unwrap();
    assert!(ids[0] != ids[1] && ids[1] != ids[2] && ids[0] != ids[2]);
    let keys = store
        .read(|reader| {
            Ok(reader
                .conn
                .prepare("SELECT key FROM meta WHERE key LIKE '%@a' ORDER BY key")?
                .query_map([], |row| row.get::<_, String>(0))?
                .collect::<Result<Vec<_>, _>>()?)
        })
        .await
        .unwrap();
    assert_eq!(keys, ["a@a", "c@a"]);
}

#[tokio::test]
async fn a_query_that_panics_fails_alone() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    let bug = store.read(|_| -> Result<(), StoreError> { panic!("as planned") }).await;
    assert!(matches!(bug, Err(StoreError::Bug(_))));
    assert_eq!(store.accounts().count("a").await.unwrap(), 0);
}

/// A write that is given up by its caller still happens, and the cache learns of it.
#[tokio::test]
async fn a_change_outlives_its_caller() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    let alice = account(&store, "alice@a").await;
    assert!(store.facts(&jid("alice@a")).await.unwrap().unwrap().blocked.is_empty());
    {
        let blocked = vec![crate::jid::Jid::parse("spam.example").unwrap()];
        let blocks = store.blocks();
        let change = std::pin::pin!(blocks.block(alice, blocked, 10));
        // Polled once: queued, not awaited.
        let _ = futures_poll(change).await;
    }
    store.settled().await.unwrap();
    assert_eq!(store.facts(&jid("alice@a")).await.unwrap().unwrap().blocked.len(), 1);
}

async fn futures_poll<F: Future + Unpin>(mut future: F) -> bool {
    std::future::poll_fn(|cx| {
        std::task::Poll::Ready(std::pin::Pin::new(&mut future).poll(cx).is_ready())
    })
    .await
}

#[tokio::test]
async fn a_full_disk_is_told_to_all_and_recovers_without_restart() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    let alice = account(&store, "alice@a").await;
    let sid = 7;
    store.sm_open(super::resume::tests::session(sid, alice), None).unwrap();
    append(&store, row(&store, "alice@a/x", "bob@b", "before", NOON)).await.unwrap().unwrap();
    // As many pages as there are, so the next one that is needed is one too many.
    let limit = |pages: u32| {
        store.write(move |tx| {
            let has: u32 = tx.query_row("PRAGMA page_count", [], |row| row.get(0))?;
            tx.execute_batch(&format!("PRAGMA max_page_count = {}", has.saturating_add(pages)))?;
            Ok(())
        })
    };
    limit(2).await.unwrap();
    let noise = |n: u64| {
        let mut dice = Dice::new(n);
        (0..3_000).map(|_| (b'a' + dice.roll(26) as u8) as char).collect::<String>()
    };
    let mut failed = 0;
    for n in 0..20 {
        let mut row = row(&store, "alice@a/x", "bob@b", &noise(n), NOON);
        row.received = Some(SmReceived { sid, h: n as u32 + 1 });
        match append(&store, row).await.unwrap() {
            Ok(()) => assert_eq!(failed, 0, "stored though the disk is full"),
            Err(StoreError::DiskFull) => failed += 1,
            Err(other) => panic!("{other}"),
        }
    }
    assert!(failed > 0);
    let (told, verdict) = oneshot::channel();
    store.sm_mark(sid, 20, true, Box::new(move |outcome| drop(told.send(outcome)))).unwrap();
    assert!(verdict.await.unwrap().is_err(), "h was confirmed though rows were lost");

    limit(1 << 30).await.unwrap();
    append(&store, row(&store, "alice@a/x", "bob@b", "after", NOON)).await.unwrap().unwrap();
    let (told, verdict) = oneshot::channel();
    store.sm_mark(sid, 21, true, Box::new(move |outcome| drop(told.send(outcome)))).unwrap();
    assert!(verdict.await.unwrap().is_err(), "a session that lost a row must not go on");
    let page = store.archive().page(ArchiveQuery::of(alice)).await.unwrap();
    assert_eq!(page.items.len(), 20 - failed + 2);
    drop(store);
    integrity(&dir);
}

/// The child of the kill tests: appends for ever and prints what was confirmed.
#[test]
#[ignore = "runs as a child of the kill tests"]
fn child_that_is_killed() {
    let dir = std::env::var("COUCOU_KILL_DIR").expect("started by a kill test");
    let store = Store::open(std::path::Path::new(&dir), StoreOptions::default()).unwrap();
    let alice = tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
        let jid = jid("alice@a");
        match store.accounts().create(&jid, Vec::new(), Now::read()).await {
            Ok(id) => id,
            Err(_) => store.accounts().find(&jid).await.unwrap().unwrap().id,
        }
    });
    let sid = store.next_id(Now::read()).0.cast_unsigned();
    store.sm_open(super::resume::tests::session(sid, alice), None).unwrap();
    let waiting = Arc::new(AtomicUsize::new(0));
    let mut dice = Dice::new(sid);
    for h in 1..u32::MAX {
        let id = store.next_id(Now::read());
        let text = stanza(&mut dice);
        let mut row = MessageRow::new(id, jid("alice@a"), jid("bob@a"), BOTH, text.into_bytes());
        row.received = Some(SmReceived { sid, h });
        row.deliveries.push(SmDelivery { sid, number: Some(h), form: CopyForm::Plain });
        if h % 7 == 0 {
            row.flags |= MessageFlags::OFFLINE;
        }
        while waiting.load(Ordering::Relaxed) > 500 {
            std::thread::yield_now();
        }
        waiting.fetch_add(1, Ordering::Relaxed);
        let told = Arc::clone(&waiting);
        let line = move |outcome: Result<(), StoreError>| {
            outcome.unwrap();
            // One write, so that a kill does not leave half a line that looks whole.
            let line = format!("{id} {sid} {h} .\n");
            std::io::stdout().write_all(line.as_bytes()).unwrap();
            told.fetch_sub(1, Ordering::Relaxed);
        };
        store.append(row).unwrap();
        store.sm_mark(sid, h, true, Box::new(line)).unwrap();
        if h % 64 == 0 {
            let _ = store.sm_acked(sid, h - 32);
        }
    }
}

/// Kills a child that writes, opens what it left, and looks for everything it had confirmed.
#[test]
fn what_was_confirmed_survives_kill_9() {
    let dir = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let rounds = std::env::var("COUCOU_KILL_ROUNDS").ok().and_then(|n| n.parse().ok()).unwrap_or(4);
    let mut confirmed: Vec<MessageId> = Vec::new();
    for round in 0..rounds {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", "--nocapture", "store::tests::child_that_is_killed"])
            .env("COUCOU_KILL_DIR", dir.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut last = None;
        let mut seen = 0;
        while let Some(Ok(line)) = lines.next() {
            let words: Vec<&str> = line.split(' ').collect();
            if let [id, sid, h, "."] = words[..]
                && let Some(id) = MessageId::parse(id)
            {
                confirmed.push(id);
                last = Some((sid.parse::<u64>().unwrap(), h.parse::<u32>().unwrap()));
                seen += 1;
                if seen == 150 + round * 977 {
                    // SIGKILL; what is in the pipe already was said before it died.
                    child.kill().unwrap();
                }
            }
        }
        child.wait().unwrap();
        let (sid, h) = last.expect("the child wrote nothing");

        let store = open(&dir);
        runtime.block_on(async {
            let alice = store.accounts().find(&jid("alice@a")).await.unwrap().unwrap().id;
            for ids in confirmed.chunks(200) {
                let found = store.archive().fetch(ids.to_vec()).await.unwrap();
                assert_eq!(found.len(), ids.len(), "confirmed messages are missing");
            }
            let count = ArchiveQuery {
                rsm: Rsm { max: 0, at: Position::First },
                ..ArchiveQuery::of(alice)
            };
            let count = store.archive().page(count).await.unwrap().count.unwrap();
            assert!(count >= confirmed.len() as u64);
            let sessions = store.sm_restore_all().await.unwrap();
            let session = sessions.iter().find(|s| s.open.sid == sid).expect("the session is gone");
            assert!(session.h_in >= h, "told h={h}, restored {}", session.h_in);
            assert_eq!(session.detached, None);
            // Every row that h counts is there, and the last one is the session's last delivery.
            let out: Vec<u32> = session.out.iter().map(|(number, ..)| number.unwrap()).collect();
            assert_eq!(*out.last().unwrap(), session.h_in);
            assert!(out.windows(2).all(|pair| pair[1] == pair[0] + 1), "{out:?}");
            assert!(out[0] <= session.acked + 33 || out.len() == resume::OUT_MAX);
            let ids = session.out.iter().map(|(_, id, _)| *id).collect::<Vec<_>>();
            assert_eq!(store.archive().fetch(ids.clone()).await.unwrap().len(), ids.len());
            store.shutdown().await.unwrap();
        });
        drop(store);
        integrity(&dir);
    }
}
