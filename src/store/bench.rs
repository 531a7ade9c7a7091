//! Measurements, not checks: figures are printed. Run alone, in release:
//! `cargo test --profile bench --lib store::bench -- --ignored --nocapture --test-threads 1`.

use std::time::Instant;

use super::archive::{ArchiveQuery, Position, Rsm};
use super::codec::samples::Dice;
use super::tests::{NOON, account, jid};
use super::*;
use crate::jid::Jid;

/// A plain chat message of some 300 bytes, as the load generator sends it.
fn chat(dice: &mut Dice, from: &str, to: &str) -> Bytes {
    let mut hex =
        |len| (0..len).map(|_| char::from(b"0123456789abcdef"[dice.roll(16)])).collect::<String>();
    let (id, words) = (hex(32), hex(48));
    let text = format!(
        "<message xmlns='jabber:client' from='{from}/phone' to='{to}' id='{id}' type='chat'>\
         <body>The quick brown fox met {words} at noon, as always.</body>\
         <request xmlns='urn:xmpp:receipts'/><origin-id xmlns='urn:xmpp:sid:0' id='{id}'/></message>"
    );
    text.into_bytes().into()
}

fn written_bytes() -> u64 {
    let io = std::fs::read_to_string("/proc/self/io").unwrap();
    let line = io.lines().find_map(|line| line.strip_prefix("write_bytes: ")).unwrap();
    line.parse().unwrap()
}

/// User and system time of the writer's thread.
fn writer_cpu() -> Duration {
    for task in std::fs::read_dir("/proc/self/task").unwrap().flatten() {
        let stat = std::fs::read_to_string(task.path().join("stat")).unwrap_or_default();
        if stat.contains("(store-writer)") {
            let schedstat = std::fs::read_to_string(task.path().join("schedstat")).unwrap();
            let nanos = schedstat.split(' ').next().unwrap().parse().unwrap();
            return Duration::from_nanos(nanos);
        }
    }
    panic!("no writer");
}

/// Appends `count` messages among `people` at `rate` a second (0: as fast as it takes them).
async fn load(people: usize, count: u64, rate: u64, spacing_ms: u64) {
    let dir =
        tempfile::tempdir_in(std::env::var("COUCOU_BENCH_DIR").unwrap_or(".".into())).unwrap();
    let commit_spacing = Duration::from_millis(spacing_ms);
    let store = Store::open(dir.path(), StoreOptions { commit_spacing, ..StoreOptions::default() })
        .unwrap();
    let names: Vec<String> = (0..people).map(|n| format!("user{n}@example.org")).collect();
    let jids: Vec<BareJid> = names.iter().map(|name| jid(name)).collect();
    for (sid, jid) in jids.iter().enumerate() {
        let id = store.accounts().create(jid, Vec::new(), NOON).await.unwrap();
        store.sm_open(resume::tests::session(sid as u64 + 1, id), None).unwrap();
    }
    store.settled().await.unwrap();
    let mut dice = Dice::new(5);
    let mut sent = vec![0u32; people];
    let mut got = vec![0u32; people];
    let stanzas: Vec<(usize, usize, Bytes)> = (0..4_096)
        .map(|_| {
            let (a, b) = (dice.roll(people), dice.roll(people));
            (a, b, chat(&mut dice, &names[a], &names[b]))
        })
        .collect();
    let bytes = stanzas.iter().map(|(.., s)| s.len()).sum::<usize>() / stanzas.len();
    let (disk, cpu, start) = (written_bytes(), writer_cpu(), Instant::now());
    for n in 0..count {
        let (a, b, stanza) = &stanzas[n as usize % stanzas.len()];
        let id = store.next_id(Now::read());
        sent[*a] += 1;
        got[*b] += 1;
        loop {
            let flags = MessageFlags::ARCHIVED_FROM | MessageFlags::ARCHIVED_TO;
            let mut row =
                MessageRow::new(id, jids[*a].clone(), jids[*b].clone(), flags, stanza.clone());
            row.received = Some(SmReceived { sid: *a as u64 + 1, h: sent[*a] });
            row.deliveries.push(SmDelivery {
                sid: *b as u64 + 1,
                number: Some(got[*b]),
                form: CopyForm::Plain,
            });
            match store.append(row) {
                Ok(()) => break,
                Err(Busy) => store.room().await,
            }
        }
        if n % 16 == 0 {
            let _ = store.sm_mark(*a as u64 + 1, sent[*a], true, Box::new(|_| {}));
            let _ = store.sm_acked(*b as u64 + 1, got[*b]);
        }
        if rate > 0 {
            let due = start + Duration::from_secs(1) * n as u32 / rate as u32;
            if due > Instant::now() + Duration::from_millis(1) {
                tokio::time::sleep_until(due.into()).await;
            }
        }
    }
    store.settled().await.unwrap();
    let (wall, cpu) = (start.elapsed(), writer_cpu() - cpu);
    let disk = written_bytes() - disk;
    store.write(archive::tail::merge).await.unwrap();
    store.shutdown().await.unwrap();
    drop(store);
    let size = std::fs::metadata(dir.path().join("coucou.db")).unwrap().len();
    println!(
        "{people} people, commits {spacing_ms} ms apart, {count} messages of {bytes} bytes, {} a second: writer {:.2} µs each \
         ({:.0} per CPU-second); written {} bytes each under load, database {} bytes each",
        (count as f64 / wall.as_secs_f64()) as u64,
        cpu.as_secs_f64() * 1e6 / count as f64,
        count as f64 / cpu.as_secs_f64(),
        disk / count,
        size / count,
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement"]
async fn append() {
    for (people, count, rate) in [(100, 200_000, 0), (1_000, 200_000, 0), (1_000, 50_000, 5_000)] {
        load(people, count, rate, 5).await;
    }
    for spacing_ms in [5, 10, 20, 50] {
        load(100, 5_000, 500, spacing_ms).await;
    }
}

/// An archive of a million messages in one account.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement"]
async fn pages_of_a_large_archive() {
    let dir =
        tempfile::tempdir_in(std::env::var("COUCOU_BENCH_DIR").unwrap_or(".".into())).unwrap();
    let store = Store::open(dir.path(), StoreOptions::default()).unwrap();
    let me = account(&store, "me@example.org").await;
    let mut dice = Dice::new(6);
    let me_jid = jid("me@example.org");
    let start = Instant::now();
    for n in 0..1_000_000u64 {
        let peer = format!("peer{}@example.org", dice.roll(200));
        let stanza = chat(&mut dice, "me@example.org", &peer);
        let at = NOON.plus(Duration::from_secs(n * 10));
        let (id, peer) = (store.next_id(at), jid(&peer));
        loop {
            let flags = MessageFlags::ARCHIVED_FROM;
            let row = MessageRow::new(id, me_jid.clone(), peer.clone(), flags, stanza.clone());
            match store.append(row) {
                Ok(()) => break,
                Err(Busy) => store.room().await,
            }
        }
    }
    store.settled().await.unwrap();
    println!("filled in {:?}", start.elapsed());
    let with = Some(Jid::parse("peer7@example.org").unwrap());
    let half = MessageId::floor(NOON.plus(Duration::from_secs(5_000_000)));
    let all = ArchiveQuery::of(me);
    let page = |at| Rsm { max: 50, at };
    let cases = [
        ("first page", ArchiveQuery { rsm: page(Position::First), ..all.clone() }),
        ("last page", ArchiveQuery { rsm: page(Position::Last), ..all.clone() }),
        (
            "last page with one of 200",
            ArchiveQuery { with: with.clone(), rsm: page(Position::Last), ..all.clone() },
        ),
        (
            "from the middle on",
            ArchiveQuery { start: Some(half.time()), rsm: page(Position::First), ..all.clone() },
        ),
        (
            "count of one of 200",
            ArchiveQuery { with, rsm: Rsm { max: 0, at: Position::First }, ..all.clone() },
        ),
        ("index 500,000", ArchiveQuery { rsm: page(Position::Index(500_000)), ..all }),
    ];
    for tail in [true, false] {
        for (name, query) in &cases {
            let mut times = Vec::new();
            for _ in 0..21 {
                let start = Instant::now();
                store.archive().page(query.clone()).await.unwrap();
                times.push(start.elapsed());
            }
            let first = times[0];
            times.sort_unstable();
            println!(
                "{name}: first {first:?}, median {:?}, tail {}",
                times[10],
                if tail { "as it is" } else { "merged" }
            );
        }
        store.write(archive::tail::merge).await.unwrap();
    }
}

/// What an open, idle store takes.
#[tokio::test]
#[ignore = "a measurement"]
async fn empty() {
    let rss = || {
        let text = std::fs::read_to_string("/proc/self/smaps_rollup").unwrap();
        let kib = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap();
            line.trim().trim_end_matches(" kB").trim().parse::<u64>().unwrap()
        };
        (kib("Rss:"), kib("Anonymous:"))
    };
    let dir = tempfile::tempdir().unwrap();
    let before = rss();
    let start = Instant::now();
    let store = Store::open(dir.path(), StoreOptions::default()).unwrap();
    let opened = start.elapsed();
    let after = rss();
    account(&store, "a@a").await;
    store.facts(&jid("a@a")).await.unwrap();
    store.append(tests::row(&store, "a@a/x", "b@b", "first", NOON)).unwrap();
    store.settled().await.unwrap();
    let used = rss();
    store.hot::<u32>("caps", 10).put("k", &1, NOON, Duration::from_secs(1));
    println!(
        "opened in {opened:?}; KiB (resident, anonymous): {before:?}, open {after:?}, in use {used:?}, with sled {:?}",
        rss()
    );
}
