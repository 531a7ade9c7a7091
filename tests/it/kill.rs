//! Kills a server under load, again and again, and compares what it kept with what the clients were
//! told it had: an acknowledged stanza (XEP-0198) is durable, whatever happens next. And cuts
//! connections, after which nothing is lost and nothing comes twice.

use std::collections::{HashMap, HashSet, VecDeque};
use std::net::{Shutdown, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use coucou::xml::{Element, ns};
use rusqlite::{Connection, OpenFlags};

use crate::client::{Client, Event};
use crate::server::{PASSWORD, Server, until};

/// Kills without `COUCOU_KILL_CYCLES`.
const CYCLES: u64 = 5;
/// How often both connections are cut.
const CUTS: u32 = 12;
/// Acknowledged messages from one kill to the next: at least, and at most so many more.
const LOAD: (u64, u64) = (40, 200);
/// Messages on their way at most.
const WINDOW: usize = 50;

/// A client that counts. What it remembers is what a user would have seen.
struct Person {
    name: &'static str,
    friend: &'static str,
    client: Client,
    previd: String,
    /// Messages written so far; the number is their id.
    written: u64,
    /// Not acknowledged yet, oldest first.
    unacked: VecDeque<u64>,
    /// Counted by the server, as far as we know.
    handled: u32,
    acked: HashSet<u64>,
    /// Stanzas of the server's that we counted.
    heard: u32,
    /// How often each message of the friend's was received.
    received: HashMap<u64, u32>,
    /// Ids that were in the air when the server was killed: they may come twice.
    in_the_air: HashSet<u64>,
}

impl Person {
    fn arrive(
        server: &Server,
        name: &'static str,
        resource: &'static str,
        friend: &'static str,
    ) -> Person {
        let mut client = server.sign_in(&format!("{name}@example.org/{resource}"));
        client.say("<enable xmlns='urn:xmpp:sm:3' resume='true'/>");
        let enabled = client.element();
        let previd = enabled.get("id").expect("resumable").to_owned();
        Person {
            name,
            friend,
            client,
            previd,
            written: 0,
            unacked: VecDeque::new(),
            handled: 0,
            acked: HashSet::new(),
            heard: 0,
            received: HashMap::new(),
            in_the_air: HashSet::new(),
        }
    }

    /// Writes and listens until the connection ends or `stop` says that it is enough.
    fn chat(&mut self, acked: &AtomicU64, stop: &AtomicU64) {
        loop {
            let enough = acked.load(Ordering::Relaxed) >= stop.load(Ordering::Relaxed);
            if enough && self.unacked.is_empty() {
                return;
            }
            while !enough && self.unacked.len() < WINDOW {
                self.written += 1;
                self.unacked.push_back(self.written);
                self.write(self.written);
            }
            self.client.say("<r xmlns='urn:xmpp:sm:3'/>");
            // Up to the answer to that.
            loop {
                match self.client.next() {
                    Event::Element(element) if element.is("a", ns::SM3) => {
                        let before = self.acked.len();
                        self.acknowledged(&element);
                        let news = self.acked.len() - before;
                        acked.fetch_add(news as u64, Ordering::Relaxed);
                        break;
                    }
                    Event::Element(element) => self.take(&element),
                    Event::End => return,
                    other => panic!("{}: {other:?}", self.name),
                }
            }
        }
    }

    fn write(&mut self, id: u64) {
        let (from, friend) = (self.name, self.friend);
        self.client.say(&format!(
            "<message type='chat' to='{friend}' id='{from}-{id}'><body>{from} says {id}</body></message>"
        ));
    }

    /// `<a/>` and `<resumed/>`.
    fn acknowledged(&mut self, element: &Element) {
        let h: u32 = element.get("h").and_then(|h| h.parse().ok()).expect("a number in h");
        assert!(h >= self.handled, "{}: h went back from {} to {h}", self.name, self.handled);
        for _ in self.handled..h {
            let id = self.unacked.pop_front().expect("no more is acknowledged than was sent");
            self.acked.insert(id);
        }
        self.handled = h;
    }

    fn take(&mut self, element: &Element) {
        if element.is("r", ns::SM3) {
            return self.client.say(&format!("<a xmlns='urn:xmpp:sm:3' h='{}'/>", self.heard));
        }
        assert!(element.name() == "message", "{}: {}", self.name, element.to_xml(""));
        assert_ne!(element.get("type"), Some("error"), "{}", element.to_xml(""));
        self.heard += 1;
        *self.received.entry(number(element.get("id").expect("an id"))).or_default() += 1;
    }

    /// Comes back and says again what was not acknowledged.
    fn resume(&mut self, address: SocketAddr) {
        self.client = Client::authenticate(address, "example.org", self.name, PASSWORD);
        let (previd, heard) = (&self.previd, self.heard);
        self.client.say(&format!("<resume xmlns='urn:xmpp:sm:3' previd='{previd}' h='{heard}'/>"));
        let resumed = self.client.element();
        assert!(resumed.is("resumed", ns::SM3), "{}: {}", self.name, resumed.to_xml(""));
        self.acknowledged(&resumed);
        for id in self.unacked.clone() {
            self.write(id);
        }
    }

    /// All that `writer` wrote has come or comes now, once if no kill came in between.
    fn hears_all_of(&mut self, writer: &Person) {
        while self.received.len() < writer.acked.len() {
            let element = self.client.element();
            self.take(&element);
        }
        let twice = |(id, count): &(&u64, &u32)| **count > 1 && !writer.in_the_air.contains(id);
        assert_eq!(self.received.iter().find(twice), None, "repeated to {}", self.name);
    }

    /// Every message of the account's archive that `sender` wrote, as often as it is there.
    fn archive(&self, address: SocketAddr, sender: &str) -> HashMap<u64, u32> {
        let jid = format!("{}@example.org/reader", self.name);
        let mut client = Client::sign_in(address, &jid, PASSWORD);
        let mut found = HashMap::new();
        let mut after = String::new();
        loop {
            client.say(&format!(
                "<iq type='set' id='q'><query xmlns='{}'><set xmlns='{}'><max>250</max>{after}</set></query></iq>",
                ns::MAM2,
                ns::RSM
            ));
            loop {
                let element = client.element();
                if element.name() == "message" {
                    let xml = element.to_xml(ns::CLIENT);
                    let id = xml.split("id='").find_map(|rest| {
                        rest.split('\'').next()?.strip_prefix(sender)?.strip_prefix('-')
                    });
                    if let Some(id) = id {
                        *found.entry(id.parse().expect("a number")).or_default() += 1;
                    }
                    continue;
                }
                let fin = element.child("fin", ns::MAM2).expect("the end of the page");
                if fin.get("complete") == Some("true") {
                    return found;
                }
                let set = fin.child("set", ns::RSM).expect("where the page ends");
                let last = set.child_text("last", ns::RSM).expect("the last of the page");
                after = format!("<after>{last}</after>");
                break;
            }
        }
    }
}

fn number(id: &str) -> u64 {
    id.split_once('-').and_then(|(_, n)| n.parse().ok()).expect("name-number")
}

/// No acknowledged message is missing on either side, and none is there twice.
fn compare(address: SocketAddr, people: &[Person; 2], all_sent: bool) {
    for writer in people {
        for owner in people {
            let archive = owner.archive(address, writer.name);
            for id in &writer.acked {
                let count = archive.get(id).copied().unwrap_or(0);
                assert_eq!(count, 1, "{}-{id} in the archive of {}", writer.name, owner.name);
            }
            let twice = archive.iter().find(|(_, count)| **count > 1);
            assert_eq!(twice, None, "of {} in the archive of {}", writer.name, owner.name);
            if all_sent {
                assert_eq!(archive.len() as u64, writer.written, "{}", writer.name);
            }
        }
    }
}

fn check_database(server: &Server) {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let database = Connection::open_with_flags(server.path("coucou.db"), flags).unwrap();
    let verdict: String =
        database.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(verdict, "ok");
}

#[test]
fn what_was_acknowledged_outlives_sigkill() {
    let cycles = std::env::var("COUCOU_KILL_CYCLES").ok().and_then(|n| n.parse().ok());
    let mut server = Server::start();
    let address = server.c2s_tls();
    let mut people = arrive(&server);
    for cycle in 0..cycles.unwrap_or(CYCLES) {
        let acked = AtomicU64::new(0);
        let forever = AtomicU64::new(u64::MAX);
        let moment = LOAD.0 + random() % LOAD.1;
        thread::scope(|scope| {
            for person in &mut people {
                scope.spawn(|| person.chat(&acked, &forever));
            }
            until("enough is acknowledged", || acked.load(Ordering::Relaxed) >= moment);
            server.kill();
        });
        println!("cycle {cycle}: killed after {moment} acknowledged messages");
        check_database(&server);
        server.resume();
        compare(address, &people, false);
        for person in &mut people {
            person.in_the_air.extend(&person.unacked);
            person.resume(address);
        }
    }

    finish(address, &mut people);
    server.stop();
    check_database(&server);
}

#[test]
fn cut_connections_lose_nothing_and_repeat_nothing() {
    let server = Server::start();
    let address = server.c2s_tls();
    let mut people = arrive(&server);
    for _ in 0..CUTS {
        let (acked, forever) = (AtomicU64::new(0), AtomicU64::new(u64::MAX));
        let moment = random() % LOAD.1;
        thread::scope(|scope| {
            let wires = [people[0].client.wire(), people[1].client.wire()];
            for person in &mut people {
                scope.spawn(|| person.chat(&acked, &forever));
            }
            until("enough is acknowledged", || acked.load(Ordering::Relaxed) >= moment);
            for wire in wires {
                // It may have been cut by the other side's error already; chat() would have told.
                let _ = wire.shutdown(Shutdown::Both);
            }
        });
        // At once: the server may not have noticed yet that they were gone.
        people.iter_mut().for_each(|person| person.resume(address));
    }
    finish(address, &mut people);
}

/// In the end all is said, all is kept, and all has arrived.
fn finish(address: SocketAddr, people: &mut [Person; 2]) {
    let (acked, enough) = (AtomicU64::new(0), AtomicU64::new(0));
    thread::scope(|scope| {
        for person in people.iter_mut() {
            scope.spawn(|| person.chat(&acked, &enough));
        }
    });
    compare(address, people, true);
    let [alice, bob] = people;
    bob.hears_all_of(alice);
    alice.hears_all_of(bob);
}

fn arrive(server: &Server) -> [Person; 2] {
    [
        Person::arrive(server, "alice", "phone", "bob@example.org/laptop"),
        Person::arrive(server, "bob", "laptop", "alice@example.org/phone"),
    ]
}

fn random() -> u64 {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).expect("random bytes");
    u64::from_le_bytes(bytes)
}
