use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use super::*;
use crate::jid::BareJid;
use crate::store::{MessageFlags, MessageRow, StoreOptions};

const NOON: Now = Now(1_795_608_000_000_000);

struct World {
    dir: tempfile::TempDir,
}

impl World {
    fn new() -> World {
        let world = World { dir: tempfile::tempdir().unwrap() };
        let data = world.data();
        fs::create_dir_all(data.join("certs")).unwrap();
        fs::write(data.join("secret"), [7; 32]).unwrap();
        fs::write(data.join("certs/a.org.pem"), "a certificate").unwrap();
        fs::write(data.join("coucou.toml"), "data_dir = \".\"\n[hosts.\"a.org\"]\n").unwrap();
        world
    }

    fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    fn store(&self) -> Arc<Store> {
        Store::open(&self.data(), StoreOptions::default()).unwrap()
    }

    fn plan(&self, passphrase: Option<&str>) -> Plan {
        Plan {
            folder: self.dir.path().join("backups"),
            kind: Kind::Manual,
            now: NOON,
            passphrase: passphrase.map(Secret::new),
            config: self.data().join("coucou.toml"),
        }
    }

    /// A backup with `count` messages in it.
    async fn backup(&self, count: usize, passphrase: Option<&str>) -> Made {
        let store = self.store();
        send(&store, count).await;
        let made = store.back_up(self.plan(passphrase)).await.unwrap();
        store.shutdown().await.unwrap();
        made
    }
}

async fn send(store: &Store, count: usize) {
    for number in 0..count {
        let (from, to) = (BareJid::parse("a@a.org").unwrap(), BareJid::parse("b@a.org").unwrap());
        let flags = MessageFlags::ARCHIVED_FROM | MessageFlags::ARCHIVED_TO;
        let stanza = format!("<message xmlns='jabber:client'><body>{number}</body></message>");
        let row = MessageRow::new(store.next_id(NOON), from, to, flags, stanza.into_bytes());
        while store.append(MessageRow { done: None, ..row_again(&row) }).is_err() {
            store.room().await;
        }
    }
    store.settled().await.unwrap();
}

fn row_again(row: &MessageRow) -> MessageRow {
    MessageRow::new(row.id, row.from.clone(), row.to.clone(), row.flags, row.stanza.clone())
}

async fn messages(world: &World) -> u64 {
    let store = world.store();
    let (_, messages, _) = store.stock(NOON).await.unwrap();
    store.shutdown().await.unwrap();
    messages
}

fn restored(world: &World, file: &Path, passphrase: Option<&str>) -> Result<PathBuf, BackupError> {
    let claim = Claim::take(&world.data()).unwrap();
    let passphrase = passphrase.map(Secret::new);
    let staged = Staged::unpack(file, passphrase.as_ref(), claim.data_dir(), None)?;
    commit(&staged, NOON)
}

#[tokio::test]
async fn a_backup_comes_back_as_it_was_and_what_was_there_is_kept() {
    for passphrase in [None, Some("correct horse")] {
        let world = World::new();
        let made = world.backup(30, passphrase).await;
        assert_eq!((made.messages, made.encrypted), (30, passphrase.is_some()));
        assert_eq!(fs::metadata(&made.file).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(made.file.parent().unwrap()).unwrap().count(), 1);
        let listed = list(made.file.parent().unwrap()).unwrap();
        assert_eq!((listed[0].made, listed[0].counts), (NOON, None));
        let secret = passphrase.map(Secret::new);
        let told = inspect(&made.file, secret.as_ref()).unwrap();
        assert_eq!(told.counts, Some((0, 30)));

        let store = world.store();
        send(&store, 5).await;
        store.shutdown().await.unwrap();
        fs::write(world.data().join("secret"), [8; 32]).unwrap();
        assert_eq!(messages(&world).await, 35);
        let aside = restored(&world, &made.file, passphrase).unwrap();
        assert_eq!(messages(&world).await, 30);
        assert_eq!(fs::read(world.data().join("secret")).unwrap(), [7; 32]);
        assert_eq!(fs::read(aside.join("secret")).unwrap(), [8; 32]);
        assert!(aside.join("coucou.db").exists());
        assert!(!world.data().join("restore-staging").exists());
    }
}

#[tokio::test]
async fn a_backup_holds_what_was_stored_before_it_while_more_comes() {
    let world = World::new();
    let store = world.store();
    send(&store, 2000).await;
    let running = Arc::clone(&store);
    let sender = tokio::spawn(async move {
        for _ in 0..20 {
            send(&running, 50).await;
        }
    });
    let made = store.back_up(world.plan(None)).await.unwrap();
    sender.await.unwrap();
    assert!(made.messages >= 2000, "{}", made.messages);
    let scratch = world.dir.path().join("scratch");
    let told = unpack(&made.file, None, &scratch).unwrap();
    assert_eq!(told.counts, Some((0, made.messages)));
    store.shutdown().await.unwrap();
}

#[tokio::test]
async fn what_is_wrong_with_a_file_is_a_sentence_and_changes_nothing() {
    let world = World::new();
    let plain = world.backup(20, None).await;
    let sealed = Plan { now: NOON.plus(Duration::from_secs(9)), ..world.plan(Some("secret")) };
    let store = world.store();
    let sealed = store.back_up(sealed).await.unwrap();
    store.shutdown().await.unwrap();
    let bad = world.dir.path().join("bad.coucou");
    let told = |bytes: &[u8], passphrase: Option<&str>| {
        fs::write(&bad, bytes).unwrap();
        restored(&world, &bad, passphrase).unwrap_err().to_string()
    };
    let (plain, sealed) = (fs::read(&plain.file).unwrap(), fs::read(&sealed.file).unwrap());
    assert_eq!(told(b"", None), "it is not a backup of Coucou");
    assert_eq!(told(&[b'x'; 5000], None), "it is not a backup of Coucou");
    assert_eq!(told(&sealed, None), "it is encrypted and needs its passphrase");
    assert!(told(&sealed, Some("wrong")).starts_with("the passphrase is not the one"));
    let mut newer = plain.clone();
    newer[8] = 2;
    assert!(told(&newer, None).contains("made by a newer Coucou (format 2"));
    let text = String::from_utf8_lossy(&plain[16..200]).into_owned();
    let known = format!("\"database\":{}", crate::store::migrate::KNOWN);
    let at = 16 + text.find(&known).unwrap() + known.len() - 1;
    let mut newer = plain.clone();
    newer[at] = b'9';
    assert!(told(&newer, None).contains("its database has version 9"));
    for (bytes, passphrase) in [(&plain, None), (&sealed, Some("secret"))] {
        for cut in [bytes.len() - 1, bytes.len() / 2, 40] {
            let told = told(&bytes[..cut], passphrase);
            assert!(told.starts_with("it is damaged"), "{cut}: {told}");
        }
        let longer = [bytes, &b"x"[..]].concat();
        assert!(told(&longer, passphrase).starts_with("it is damaged"));
        let places = if passphrase.is_some() { 8 } else { 60 };
        for at in (0..bytes.len()).step_by(bytes.len() / places + 1) {
            let mut flipped = bytes.clone();
            flipped[at] ^= 4;
            fs::write(&bad, flipped).unwrap();
            // Some bits of a zstd frame mean nothing; what comes out is proved by its hashes.
            let scratch = world.dir.path().join("scratch");
            match unpack(&bad, passphrase.map(Secret::new).as_ref(), &scratch) {
                Ok(found) => {
                    assert!(passphrase.is_none(), "{at}");
                    assert_eq!(found.counts, Some((0, 20)), "{at}");
                    fs::remove_dir_all(&scratch).unwrap();
                }
                Err(_) => assert!(!scratch.exists(), "{at}"),
            }
        }
    }
    assert_eq!(messages(&world).await, 20);
    let left: Vec<_> =
        fs::read_dir(world.data()).unwrap().flatten().map(|e| e.file_name()).collect();
    assert!(!left.iter().any(|name| name.to_string_lossy().contains("restore")), "{left:?}");
}

#[tokio::test]
async fn a_restore_that_is_cut_off_anywhere_is_finished_by_the_next_start() {
    let world = World::new();
    let made = world.backup(7, None).await;
    for steps in 0..10 {
        let store = world.store();
        send(&store, 3).await;
        store.shutdown().await.unwrap();
        fs::write(world.data().join("coucou.db-wal"), "").unwrap();
        let before = messages(&world).await;
        {
            let claim = Claim::take(&world.data()).unwrap();
            let staged = Staged::unpack(&made.file, None, claim.data_dir(), None).unwrap();
            // What `commit` writes first.
            let note = format!("{{\"aside\": \"aside-{steps}\", \"config\": null}}");
            fs::write(world.data().join("restore.json"), note).unwrap();
            let _ = swap::finish(&world.data(), steps);
            drop(staged);
        }
        assert_eq!(messages(&world).await, 7, "after {steps} steps of {before}");
        assert!(!world.data().join("restore.json").exists());
        assert!(!world.data().join("restore-staging").exists());
        assert!(world.data().join(format!("aside-{steps}/coucou.db")).exists());
        assert_eq!(fs::read(world.data().join("secret")).unwrap(), [7; 32]);
    }
}

#[tokio::test]
async fn another_machine_gets_the_config_with_its_own_folder() {
    let world = World::new();
    let made = world.backup(3, None).await;
    let there = world.dir.path().join("other/place");
    fs::create_dir_all(&there).unwrap();
    let config = there.join("coucou.toml");
    let data = there.join("db");
    let claim = Claim::take(&data).unwrap();
    let staged = Staged::unpack(&made.file, None, claim.data_dir(), Some(&config)).unwrap();
    commit(&staged, NOON).unwrap();
    drop(claim);
    let text = fs::read_to_string(&config).unwrap();
    let read = crate::config::parse(&text, &config).unwrap().config;
    assert_eq!(read.data_dir, data);
    assert_eq!(read.hosts[0].domain, "a.org");
    assert!(data.join("certs/a.org.pem").exists());
    let store = Store::open(&data, StoreOptions::default()).unwrap();
    assert_eq!(store.stock(NOON).await.unwrap().1, 3);
}

#[tokio::test]
async fn a_cancelled_backup_leaves_nothing() {
    let world = World::new();
    let store = world.store();
    send(&store, 500).await;
    assert!(!store.cancel_backup());
    let job = Job::default();
    job.cancelled.store(true, Ordering::Relaxed);
    let told = make::make(&world.data(), &world.plan(None), &job).unwrap_err();
    assert_eq!(told.to_string(), "it was cancelled");
    assert_eq!(fs::read_dir(world.dir.path().join("backups")).unwrap().count(), 0);
    assert!(!world.data().join("backup-scratch").exists());
    store.shutdown().await.unwrap();
}

/// `cargo test --release --lib backup_of_100_000 -- --ignored --nocapture`
#[tokio::test]
#[ignore = "a measurement"]
async fn backup_of_100_000_messages() {
    let world = World::new();
    let store = world.store();
    for _ in 0..100 {
        send(&store, 1000).await;
    }
    for passphrase in [None, Some("correct horse")] {
        let begun = std::time::Instant::now();
        let made = store.back_up(world.plan(passphrase)).await.unwrap();
        let took = begun.elapsed();
        let database = fs::metadata(world.data().join("coucou.db")).unwrap().len();
        let begun = std::time::Instant::now();
        let secret = passphrase.map(Secret::new);
        unpack(&made.file, secret.as_ref(), &world.dir.path().join(format!("u{}", made.encrypted)))
            .unwrap();
        eprintln!(
            "{} messages, encrypted {}: {took:?}, {} of a database of {}; tested in {:?}",
            made.messages,
            made.encrypted,
            human(made.bytes),
            human(database),
            begun.elapsed()
        );
    }
    store.shutdown().await.unwrap();
}
