use std::collections::BTreeMap;
use std::time::Duration;

use rusqlite::Connection;

use super::*;
use crate::store::codec::samples::Dice;
use crate::store::readers::Reader;
use crate::store::tests::{BOTH, NOON, account, body, integrity, jid, open, row};
use crate::store::{MessageRow, StoreOptions};

/// What an archive is, without any cleverness.
struct Model {
    messages: BTreeMap<MessageId, Said>,
}

struct Said {
    from: Jid,
    to: Jid,
    flags: MessageFlags,
    text: &'static str,
    stanza: Bytes,
}

impl Model {
    fn archive(&self, owner: &BareJid) -> impl Iterator<Item = (MessageId, &Said)> {
        self.messages.iter().map(|(id, said)| (*id, said)).filter(move |(_, said)| {
            said.from.bare() == *owner && said.flags.has(MessageFlags::ARCHIVED_FROM)
                || said.to.bare() == *owner && said.flags.has(MessageFlags::ARCHIVED_TO)
        })
    }

    fn matches(&self, owner: &BareJid, query: &ArchiveQuery) -> Vec<MessageId> {
        self.archive(owner)
            .filter(|(id, said)| {
                let (from, to) = (&said.from, &said.to);
                query.with.as_ref().is_none_or(|with| {
                    let is = |jid: &Jid| {
                        if with.is_bare() { jid.bare_str() == with.as_str() } else { jid == with }
                    };
                    if with.bare() == *owner {
                        from.bare() == *owner && to.bare() == *owner && (is(from) || is(to))
                    } else {
                        is(from) || is(to)
                    }
                }) && query.start.is_none_or(|start| id.time() >= start)
                    && query.end.is_none_or(|end| id.time() <= end)
                    && query.after_id.is_none_or(|after| *id > after)
                    && query.before_id.is_none_or(|before| *id < before)
                    && (query.ids.is_empty() || query.ids.contains(id))
                    && (query.groupchat || !said.flags.has(MessageFlags::GROUPCHAT))
                    && query
                        .text
                        .as_ref()
                        .is_none_or(|text| said.text.split(' ').any(|w| w == text))
            })
            .map(|(id, _)| id)
            .collect()
    }

    /// `None`: an id is not in the archive.
    fn page(&self, owner: &BareJid, query: &ArchiveQuery) -> Option<(Vec<MessageId>, bool, usize)> {
        let at = match query.rsm.at {
            Position::After(id) | Position::Before(id) => Some(id),
            _ => None,
        };
        let mut named = query.ids.iter().chain(&query.after_id).chain(&query.before_id).chain(&at);
        if named.any(|named| self.archive(owner).all(|(id, _)| id != *named)) {
            return None;
        }
        let all = self.matches(owner, query);
        let max = query.rsm.max;
        let range = match query.rsm.at {
            Position::First => 0..all.len(),
            Position::Index(index) => (index as usize).min(all.len())..all.len(),
            Position::After(id) => all.partition_point(|i| *i <= id)..all.len(),
            Position::Last => 0..all.len(),
            Position::Before(id) => 0..all.partition_point(|i| *i < id),
        };
        let complete = range.len() <= max;
        let range = match query.rsm.at {
            Position::Last | Position::Before(_) => range.end - range.len().min(max)..range.end,
            _ => range.start..range.start + range.len().min(max),
        };
        Some((all[range.clone()].to_vec(), complete, range.start))
    }
}

const PEOPLE: [&str; 4] = ["alice@a", "bob@a", "carol@b", "team@rooms.a"];
const WORDS: [&str; 5] = ["hello", "grüße", "train", "late", "tea"];

fn some<T>(dice: &mut Dice, of: &[T]) -> Option<T>
where
    T: Clone,
{
    if of.is_empty() || dice.roll(3) > 0 { None } else { Some(of[dice.roll(of.len())].clone()) }
}

fn random_query(dice: &mut Dice, owner: AccountId, ids: &[MessageId]) -> ArchiveQuery {
    let mut ids = ids.to_vec();
    if dice.roll(4) == 0 {
        ids.push(MessageId(dice.roll(1 << 40) as i64));
    }
    let times: Vec<Now> = (0..40).map(|ms| NOON.plus(Duration::from_micros(ms * 500))).collect();
    let withs: Vec<Jid> = PEOPLE
        .iter()
        .flat_map(|p| [p.to_string(), format!("{p}/r0"), format!("{p}/r1")])
        .chain(["nobody@else".into()])
        .map(|text| Jid::parse(&text).unwrap())
        .collect();
    let at = match dice.roll(6) {
        0 | 1 => Position::First,
        2 => Position::Last,
        3 => Position::Index(dice.roll(120) as u64),
        4 => some(dice, &ids).map_or(Position::First, Position::After),
        _ => some(dice, &ids).map_or(Position::Last, Position::Before),
    };
    let mut query = ArchiveQuery {
        with: some(dice, &withs),
        start: some(dice, &times),
        end: some(dice, &times),
        after_id: if dice.roll(4) == 0 { some(dice, &ids) } else { None },
        before_id: if dice.roll(4) == 0 { some(dice, &ids) } else { None },
        groupchat: dice.roll(3) > 0,
        text: if dice.roll(4) == 0 { some(dice, &WORDS).map(str::to_owned) } else { None },
        rsm: Rsm { max: [0, 1, 2, 7, 50, 250][dice.roll(6)], at },
        ..ArchiveQuery::of(owner)
    };
    if dice.roll(8) == 0 {
        query.ids = (0..5).filter_map(|_| some(dice, &ids)).collect();
    }
    query
}

/// Random archives, merged and trimmed at random moments, with rows that come late: every page is
/// what the model says.
#[tokio::test]
async fn pages_are_what_the_model_says() {
    for seed in 1..=6 {
        let mut dice = Dice::new(seed);
        let dir = tempfile::tempdir().unwrap();
        let store = open(&dir);
        let mut owners = Vec::new();
        for person in PEOPLE {
            owners.push((jid(person), account(&store, person).await));
        }
        let mut model = Model { messages: BTreeMap::new() };
        let mut late: Vec<MessageId> = Vec::new();
        for step in 0..400u64 {
            let mut id = store.next_id(NOON.plus(Duration::from_micros(step * 50)));
            if dice.roll(10) == 0 {
                late.push(id);
                continue;
            }
            if dice.roll(6) == 0
                && let Some(early) = late.pop()
            {
                late.push(id);
                id = early;
            }
            let full = |dice: &mut Dice| format!("{}/r{}", PEOPLE[dice.roll(4)], dice.roll(2));
            let from = full(&mut dice);
            let to =
                if dice.roll(2) == 0 { full(&mut dice) } else { PEOPLE[dice.roll(4)].to_owned() };
            let flags = MessageFlags([1, 2, 3, 3, 3, 3 | 16][dice.roll(6)]);
            let text = ["hello train", "grüße", "tea late", "late", ""][dice.roll(5)];
            let stanza = Bytes::from(body(&from, &to, text));
            let (from, to) = (Jid::parse(&from).unwrap(), Jid::parse(&to).unwrap());
            let mut row = MessageRow::new(id, from.bare(), to.bare(), flags, stanza.clone());
            row.text = Some(text.into());
            store.append(row).unwrap();
            model.messages.insert(id, Said { from, to, flags, text, stanza });
            if dice.roll(60) == 0 {
                store.write(tail::merge).await.unwrap();
            }
            if dice.roll(60) == 0 {
                // From here to the next merge the tail is walked.
                let forget = |reader: &mut Reader| {
                    reader.tail.forget();
                    Ok(())
                };
                store.read(forget).await.unwrap();
            }
            if dice.roll(150) == 0 {
                let before = *model
                    .messages
                    .keys()
                    .nth(dice.roll(20).min(model.messages.len() - 1))
                    .unwrap();
                for host in ["a", "b", "rooms.a"] {
                    store.archive().expire(host, Some(before), None).await.unwrap();
                }
                model.messages.retain(|id, _| *id >= before);
                late.retain(|id| *id >= before);
            }
            if step % 4 == 0 {
                let (owner, number) = &owners[dice.roll(4)];
                let ids: Vec<MessageId> = model.archive(owner).map(|(id, _)| id).collect();
                let query = random_query(&mut dice, *number, &ids);
                check(&store, &model, owner, query, seed).await;
            }
        }
        drop(store);
        integrity(&dir);
    }
}

async fn check(store: &Store, model: &Model, owner: &BareJid, query: ArchiveQuery, seed: u64) {
    let about = format!("seed {seed}, {owner}: {query:?}");
    let expected = model.page(owner, &query);
    let found = match store.archive().page(query.clone()).await {
        Ok(page) => page,
        Err(StoreError::NotFound) => {
            assert_eq!(expected, None, "{about}");
            return;
        }
        Err(other) => panic!("{other}: {about}"),
    };
    let (ids, complete, start) = expected.unwrap_or_else(|| panic!("should not be found: {about}"));
    let all = model.matches(owner, &query).len() as u64;
    assert!(found.count.is_none_or(|count| count == all), "{:?} of {all}: {about}", found.count);
    if query.rsm.max == 0 {
        assert!(found.items.is_empty());
        assert_eq!(found.complete, found.count == Some(0), "{about}");
        return;
    }
    assert_eq!(found.items.iter().map(|item| item.id).collect::<Vec<_>>(), ids, "{about}");
    assert_eq!(found.complete, complete, "{about}");
    if let Some(index) = found.index
        && !ids.is_empty()
    {
        assert_eq!(index, start as u64, "{about}");
    }
    for item in &found.items {
        assert_eq!(item.stanza, model.messages[&item.id].stanza, "{about}");
    }
    let bounds = model.archive(owner).next().zip(model.archive(owner).last());
    let bounds = bounds.map(|((first, _), (last, _))| (first, last));
    let id = query.owner;
    assert_eq!(store.archive().bounds(id).await.unwrap(), bounds, "{about}");
}

/// Everything in one archive, read page by page in both directions.
#[tokio::test]
async fn paging_meets_every_message_once() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    let alice = account(&store, "alice@a").await;
    let mut ids = Vec::new();
    for n in 0..1_000 {
        let row = row(&store, "alice@a/x", &format!("peer{}@b", n % 7), "hi", NOON);
        ids.push(row.id);
        store.append(row).unwrap();
        if n == 600 {
            store.write(tail::merge).await.unwrap();
        }
    }
    for backwards in [false, true] {
        let mut met = Vec::new();
        let mut at = if backwards { Position::Last } else { Position::First };
        loop {
            let query = ArchiveQuery { rsm: Rsm { max: 33, at }, ..ArchiveQuery::of(alice) };
            let page = store.archive().page(query).await.unwrap();
            assert_eq!(page.count, Some(1_000));
            let found: Vec<_> = page.items.iter().map(|item| item.id).collect();
            if backwards {
                met.splice(0..0, found);
                at = Position::Before(page.first().unwrap());
            } else {
                met.extend(found);
                at = Position::After(page.last().unwrap());
            }
            if page.complete {
                break;
            }
        }
        assert_eq!(met, ids);
    }
}

#[tokio::test]
async fn a_page_is_bounded_in_bytes_and_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    let alice = account(&store, "alice@a").await;
    let long = "x".repeat(PAGE_BYTES_MAX / 3);
    let mut ids = Vec::new();
    for text in [&long, &long, &long, "short"] {
        let row = row(&store, "alice@a/x", "bob@b", text, NOON);
        ids.push(row.id);
        store.append(row).unwrap();
    }
    let page = store.archive().page(ArchiveQuery::of(alice)).await.unwrap();
    assert_eq!((page.items.len(), page.last(), page.complete), (2, Some(ids[1]), false));
    let last = Rsm { max: 50, at: Position::Last };
    let page =
        store.archive().page(ArchiveQuery { rsm: last, ..ArchiveQuery::of(alice) }).await.unwrap();
    assert_eq!((page.items.len(), page.first(), page.complete), (3, Some(ids[1]), false));
}

#[tokio::test]
async fn a_merge_changes_no_answer_and_comes_by_itself() {
    const ROWS: u64 = tail::ROWS_MIN as u64;
    let dir = tempfile::tempdir().unwrap();
    let options = StoreOptions {
        queue_jobs_max: 40_000,
        queue_bytes_max: 64 << 20,
        ..StoreOptions::default()
    };
    let store = Store::open(dir.path(), options).unwrap();
    let alice = account(&store, "alice@a").await;
    for n in 0..ROWS + 100 {
        store.append(row(&store, "alice@a/x", &format!("p{}@b", n % 50), "hi", NOON)).unwrap();
    }
    store.settled().await.unwrap();
    // The writer tidies up behind each batch, so before the next one.
    store.settled().await.unwrap();
    store.settled().await.unwrap();
    let merged = || {
        store.read(|reader| {
            let entries = "SELECT count(*) FROM archive";
            Ok(reader.conn.query_row(entries, [], |row| row.get::<_, u64>(0))?)
        })
    };
    let before = merged().await.unwrap();
    assert!(before >= ROWS, "{before} entries merged");
    let count =
        ArchiveQuery { rsm: Rsm { max: 0, at: Position::First }, ..ArchiveQuery::of(alice) };
    assert_eq!(store.archive().page(count.clone()).await.unwrap().count, Some(ROWS + 100));
    let with = ArchiveQuery { with: Some(Jid::parse("p3@b").unwrap()), ..count };
    let expected = (ROWS + 100).div_ceil(50);
    assert_eq!(store.archive().page(with).await.unwrap().count, Some(expected));
}

/// The plans of all queries: none may scan a table but for the tail by its id.
#[test]
fn queries_use_their_indexes() {
    let mut conn = Connection::open_in_memory().unwrap();
    crate::store::migrate::migrate(&mut conn).unwrap();
    let plan = |sql: &str| -> String {
        let mut rows = conn.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
        let steps = rows.raw_query().mapped(|row| row.get::<_, String>(3)).map(Result::unwrap);
        steps.collect::<Vec<_>>().join("; ")
    };
    for (search, merged, tail) in query::plans() {
        for order in ["ASC", "DESC"] {
            let sql = format!("{merged} ORDER BY id {order} LIMIT ?6");
            let expected = format!("SEARCH {search} USING PRIMARY KEY");
            assert!(plan(&sql).starts_with(&expected), "{sql}: {}", plan(&sql));
            assert!(!plan(&sql).contains("TEMP B-TREE"), "{sql}: {}", plan(&sql));
            let sql = format!("{tail} ORDER BY id {order} LIMIT ?6");
            let expected = "SEARCH messages USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)";
            assert_eq!(plan(&sql), expected, "{sql}");
        }
    }
    let expected = "SEARCH offline USING PRIMARY KEY (owner=? AND id>?)";
    assert_eq!(
        plan("SELECT id FROM offline WHERE owner = ?1 AND id > ?2 ORDER BY id LIMIT ?3"),
        expected
    );
}

#[tokio::test]
async fn retention_takes_the_oldest_and_leaves_what_others_keep() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    let (alice, bob) = (account(&store, "alice@a").await, account(&store, "bob@b").await);
    let mut ids = Vec::new();
    for n in 0..1_000u64 {
        let mut row = row(&store, "alice@a/x", "bob@b", "hello", NOON.plus(Duration::from_secs(n)));
        row.text = Some("hello".into());
        ids.push(row.id);
        store.append(row).unwrap();
    }
    let before = MessageId::floor(NOON.plus(Duration::from_secs(300)));
    let gone = store.archive().expire("a", Some(before), None).await.unwrap();
    assert_eq!(gone, Expired { entries: 300, bodies: 0 });
    let archive = store.archive();
    let first = async |owner| archive.bounds(owner).await.unwrap().unwrap().0;
    assert_eq!((first(alice).await, first(bob).await), (ids[300], ids[0]));

    let gone = store.archive().expire("b", Some(before), None).await.unwrap();
    assert_eq!(gone, Expired { entries: 300, bodies: 300 });
    assert!(store.archive().fetch(ids[..300].to_vec()).await.unwrap().is_empty());

    // By bytes: half of what is there.
    let (entries, bytes): (u64, u64) = store
        .read(move |reader| {
            let usage = "SELECT entries, bytes FROM archive_usage WHERE owner = ?1";
            Ok(reader.conn.query_row(usage, [alice.0], |row| Ok((row.get(0)?, row.get(1)?)))?)
        })
        .await
        .unwrap();
    assert_eq!(entries, 700);
    let gone = store.archive().expire("a", None, Some(bytes / 2)).await.unwrap();
    assert_eq!(gone, Expired { entries: 350, bodies: 0 });
    assert_eq!(
        store.archive().expire("a", None, Some(bytes / 2)).await.unwrap(),
        Expired::default()
    );
    let query = ArchiveQuery { text: Some("hello".into()), ..ArchiveQuery::of(alice) };
    assert_eq!(store.archive().page(query).await.unwrap().count, Some(350));
    assert_eq!(first(alice).await, ids[650]);
}

#[tokio::test]
async fn a_tombstone_stands_in_both_archives_and_is_not_found_by_words() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    let (alice, bob) = (account(&store, "alice@a").await, account(&store, "bob@a").await);
    let mut said = row(&store, "alice@a/x", "bob@a", "regret", NOON);
    said.text = Some("regret".into());
    let id = said.id;
    store.append(said).unwrap();
    let said = |stanza: &[u8]| std::str::from_utf8(stanza).unwrap().contains("regret");
    let found = store.archive().find(bob, &jid("alice@a"), 10, said).await.unwrap();
    assert_eq!(found, Some(id));
    let tombstone = Bytes::from_static(b"<message xmlns='jabber:client'><retracted/></message>");
    store.archive().retract(id, tombstone.clone()).await.unwrap();
    for owner in [alice, bob] {
        let page = store.archive().page(ArchiveQuery::of(owner)).await.unwrap();
        assert_eq!(page.items[0].stanza, tombstone);
        assert_eq!(page.items[0].flags, BOTH | MessageFlags::TOMBSTONE);
        let query = ArchiveQuery { text: Some("regret".into()), ..ArchiveQuery::of(owner) };
        assert!(store.archive().page(query).await.unwrap().items.is_empty());
    }
    let nothing = store.archive().retract(MessageId(5), tombstone).await;
    assert!(matches!(nothing, Err(StoreError::NotFound)));
}

/// Nobody finds words in what they may not read, whatever they type.
#[tokio::test]
async fn search_stays_in_its_archive_and_takes_any_text() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    let (alice, eve) = (account(&store, "alice@a").await, account(&store, "eve@a").await);
    let mut said = row(&store, "alice@a/x", "bob@b", "the secret", NOON);
    said.text = Some("The Secret's café".into());
    store.append(said).unwrap();
    let find = |owner, text: &str| {
        let query = ArchiveQuery { text: Some(text.to_owned()), ..ArchiveQuery::of(owner) };
        let store = &store;
        async move { store.archive().page(query).await.unwrap().items.len() }
    };
    assert_eq!(find(alice, "secret").await, 1);
    assert_eq!(find(alice, "CAFE the").await, 1);
    assert_eq!(find(alice, "secret tea").await, 0);
    let owner = alice.0;
    for text in [
        "secret",
        "\" OR owners : o1 --",
        "o1",
        "secret*",
        "body : secret OR secret",
        "*",
        "\"",
        "",
        "NEAR(",
    ] {
        assert_eq!(find(eve, text).await, 0, "{text}");
        assert!(find(alice, text).await <= 1, "{text}");
        assert_eq!(find(alice, &format!("o{owner}")).await, 0);
    }
}

#[tokio::test]
async fn prefs_are_kept_and_told_with_the_facts() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    let alice = account(&store, "alice@a").await;
    assert_eq!(store.archive().prefs(alice).await.unwrap(), None);
    assert_eq!(store.facts(&jid("alice@a")).await.unwrap().unwrap().prefs, None);
    let prefs = ArchivePrefs {
        default: ArchiveDefault::Roster,
        always: [Jid::parse("bob@b").unwrap(), Jid::parse("dan@d/x").unwrap()].into(),
        never: [Jid::parse("eve@e").unwrap()].into(),
    };
    store.archive().set_prefs(alice, prefs.clone()).await.unwrap();
    assert_eq!(store.archive().prefs(alice).await.unwrap().as_ref(), Some(&prefs));
    assert_eq!(store.facts(&jid("alice@a")).await.unwrap().unwrap().prefs, Some(prefs.clone()));
    let nobody = store.archive().set_prefs(AccountId(999), prefs).await;
    assert!(matches!(nobody, Err(StoreError::NoSuchAccount)));
}

#[tokio::test]
async fn one_conversation_is_forgotten_and_the_other_side_keeps_it() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    let (alice, bob) = (account(&store, "alice@a").await, account(&store, "bob@b").await);
    for n in 0..600 {
        let to = if n % 2 == 0 { "bob@b" } else { "carol@c" };
        store.append(row(&store, "alice@a/x", to, "hello", NOON)).unwrap();
    }
    let archive = store.archive();
    let gone = archive.forget(alice, Some(jid("bob@b"))).await.unwrap();
    assert_eq!((gone.entries, gone.bodies), (300, 0));
    let count = async |owner| archive.page(ArchiveQuery::of(owner)).await.unwrap().count;
    assert_eq!((count(alice).await, count(bob).await), (Some(300), Some(300)));
    let nobody = archive.forget(alice, Some(jid("nobody@n"))).await.unwrap();
    assert_eq!(nobody, Expired::default());

    assert_eq!(archive.next_owner("b", AccountId(0)).await.unwrap(), Some(bob));
    assert_eq!(archive.next_owner("b", bob).await.unwrap(), None);
    let later = MessageId::floor(NOON.plus(Duration::from_secs(1)));
    assert_eq!(archive.trim(bob, MessageId::floor(NOON)).await.unwrap(), None);
    assert_eq!(archive.trim(bob, later).await.unwrap().unwrap().entries, 256);
    assert_eq!(archive.forget(bob, None).await.unwrap().entries, 44);
    assert_eq!(archive.forget(alice, None).await.unwrap().entries, 300);
    drop(store);
    integrity(&dir);
}
