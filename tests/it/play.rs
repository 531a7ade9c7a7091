//! Conversations that read as specifications: `tests/plays/*.play`, each with a server to itself.
//! `COUCOU_PLAY=resume cargo test --test it plays` plays those with `resume` in their names.
//!
//! One step a line; a line that begins with white space goes on with the step before it, and what
//! follows a `#` at its beginning is a comment. The first comment says what the play shows.
//!
//! | step | meaning |
//! |---|---|
//! | `alice signs in as alice@example.org/phone` | direct TLS, SASL PLAIN, a resource bound |
//! | `alice authenticates as alice@example.org` | the same without a resource |
//! | `alice connects`, `alice connects by tls` | a new connection, and a stream to `example.org` |
//! | `alice connects to HOST`, `alice connects by tls to HOST` | the same for another host |
//! | `alice connects with XML` | a new connection, and this in place of a stream header |
//! | `alice secures the stream` | the TLS handshake, and a stream in it |
//! | `alice opens a stream to HOST` | on the connection she has |
//! | `alice proves to be NAME with PASSWORD by MECHANISM` | SASL, to the success and a new stream |
//! | `alice fails to be NAME with PASSWORD by MECHANISM` | SASL, to the `<failure/>` that is read next |
//! | `alice vanishes` | her connection is cut, and the server has noticed |
//! | `JID is gone` | waits until this session has ended |
//! | `alice> XML` | she sends |
//! | `alice< XML` | she receives this next, requests `<r/>` of XEP-0198 apart; `</stream:stream>` includes the end of the connection |
//! | `alice< nothing` | nothing else that was said before makes her client hear anything |
//! | `bridge connects as component bridge.example.org with SECRET` | XEP-0114, to the end of the handshake |
//! | `$ COMMAND` | `coucou COMMAND`; `$ kill`, `$ start`, `$ stop` and `$ hang up` act on the process |
//! | `! COMMAND` | the same, which must be refused |
//! | `\| LINE` | a line of `coucou.toml`, before the server starts or for the next `$ start` or `$ reload` |
//!
//! `{name}` takes what comes and is the same from then on; `{}` takes anything; `{...}` among the
//! children of an element lets it have more of them. Whoever is named first in a step is an actor.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use coucou::xml::framer::Frame;
use coucou::xml::{Element, ns};

use crate::client::{Client, Event, PATIENCE, framer};
use crate::pattern::{Holes, difference};
use crate::scram;
use crate::server::{PASSWORD, Server, until};

/// Plays at the same time; they wait for the disk as often as for the processor.
const STAGES: usize = 4;

/// Lines of the server's log that are shown with a failure.
const LOG_LINES: usize = 12;

/// Plays all files, tells of each how it went, and fails if one failed.
#[test]
fn all_plays() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/plays");
    let wanted = std::env::var("COUCOU_PLAY").unwrap_or_default();
    let mut files: Vec<PathBuf> = std::fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "play"))
        .filter(|path| path.to_string_lossy().contains(&wanted))
        .collect();
    files.sort_by(|a, b| b.cmp(a));
    let files = Mutex::new(files);
    let failed = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..STAGES {
            scope.spawn(|| {
                while let Some(file) = next(&files) {
                    let name = file.file_stem().unwrap().to_string_lossy().into_owned();
                    let text = std::fs::read_to_string(&file).unwrap();
                    match play(&text) {
                        Ok(()) => println!("PASS {name}"),
                        Err(why) => {
                            println!("FAIL {name}\n{why}");
                            failed.lock().unwrap().push(name);
                        }
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().unwrap();
    assert!(failed.is_empty(), "failed: {}", failed.join(", "));
}

fn next(files: &Mutex<Vec<PathBuf>>) -> Option<PathBuf> {
    files.lock().unwrap().pop()
}

/// Plays a script on a server of its own.
fn play(script: &str) -> Result<(), String> {
    let steps = steps(script);
    let before = steps.iter().take_while(|step| step.text.starts_with('|')).count();
    let (config, steps) = steps.split_at(before);
    let config: String = config.iter().map(|step| format!("{}\n", &step.text[1..])).collect();
    let mut cast = None;
    let mut at = 0;
    let done = catch_unwind(AssertUnwindSafe(|| {
        let cast = cast.insert(Cast::on(config));
        for step in steps {
            at = step.line;
            cast.act(&step.text).map_err(|why| format!("  {}\n{why}", step.text))?;
        }
        Ok(())
    }));
    let why = match done {
        Ok(Ok(())) => return Ok(()),
        Ok(Err(why)) => why,
        Err(panic) => panic.downcast_ref::<String>().cloned().unwrap_or_default(),
    };
    let log = cast.map(|cast| cast.server.log()).unwrap_or_default();
    let tail = log.lines().count().saturating_sub(LOG_LINES);
    let log: Vec<&str> = log.lines().skip(tail).collect();
    Err(format!("  line {at}:\n{why}\n  the server's log:\n    {}", log.join("\n    ")))
}

struct Step {
    line: usize,
    text: String,
}

fn steps(script: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    for (at, line) in script.lines().enumerate() {
        if line.trim().is_empty() || line.trim_start().starts_with('#') {
            continue;
        }
        match steps.last_mut().filter(|_| line.starts_with(char::is_whitespace)) {
            Some(step) => {
                // Between tags white space is layout; within a tag it separates attributes.
                if !step.text.ends_with('>') {
                    step.text.push(' ');
                }
                step.text.push_str(line.trim());
            }
            None => steps.push(Step { line: at + 1, text: line.trim_end().to_owned() }),
        }
    }
    steps
}

struct Actor {
    client: Client,
    /// Of the session she signed in with.
    jid: String,
    /// She has a session, which answers.
    is_bound: bool,
}

/// The server, who speaks to it, and what was captured.
struct Cast {
    server: Server,
    config: String,
    actors: HashMap<String, Actor>,
    holes: Holes,
}

impl Cast {
    fn on(config: String) -> Cast {
        let server = Server::start_with(&config);
        Cast { server, config, actors: HashMap::new(), holes: Holes::new() }
    }

    fn act(&mut self, step: &str) -> Result<(), String> {
        if let Some(command) = step.strip_prefix("$ ") {
            let command = self.holes.fill(command)?;
            match command.as_str() {
                "kill" => self.server.kill(),
                "stop" => self.server.stop(),
                "start" => self.server.resume(),
                "hang up" => self.server.hang_up(),
                command => drop(self.server.run(&words(command))),
            }
            return Ok(());
        }
        if let Some(command) = step.strip_prefix("! ") {
            self.server.refuses(&words(command));
            return Ok(());
        }
        if let Some(line) = step.strip_prefix('|') {
            self.config.push_str(line);
            self.config.push('\n');
            self.server.configure(&self.config);
            return Ok(());
        }
        if let Some(jid) = step.strip_suffix(" is gone") {
            until("the session ends", || self.server.session_state(jid).is_none());
            return Ok(());
        }
        let at = step.find(|c: char| !c.is_alphanumeric()).ok_or("not a step")?;
        let (name, rest) = step.split_at(at);
        if let Some(xml) = rest.strip_prefix("> ") {
            let xml = self.holes.fill(xml)?;
            self.actor(name)?.client.say(&xml);
            return Ok(());
        }
        match rest.strip_prefix("< ") {
            Some("nothing") => self.silent(name),
            Some("</stream:stream>") => ended(&mut self.actor(name)?.client),
            Some(xml) => self.receives(name, xml),
            None => self.direct(name, rest.trim_start()),
        }
    }

    fn actor(&mut self, name: &str) -> Result<&mut Actor, String> {
        self.actors.get_mut(name).ok_or_else(|| format!("{name} has no connection"))
    }

    fn receives(&mut self, name: &str, xml: &str) -> Result<(), String> {
        let pattern = element(xml)?;
        let got = loop {
            match self.actor(name)?.client.next_within(PATIENCE) {
                // When the server asks depends on how stanzas came together in a packet.
                Some(Event::Element(got)) if is_request(&got) && !is_request(&pattern) => {}
                Some(Event::Element(got)) => break got,
                Some(other) => return Err(format!("  {other:?} instead")),
                None => return Err("  but nothing came".to_owned()),
            }
        };
        self.actor(name)?.is_bound |= got.is("resumed", ns::SM3);
        match difference(&pattern, &got, &mut self.holes) {
            None => Ok(()),
            Some(why) => Err(format!(
                "  {why}\n  expected  {}\n  but got   {}",
                pattern.to_xml(ns::CLIENT),
                got.to_xml(ns::CLIENT)
            )),
        }
    }

    /// Every actor's server has dealt with all that was said: each gets an answer. What `name`
    /// hears before its own answer is too much.
    fn silent(&mut self, name: &str) -> Result<(), String> {
        let mut others: Vec<&String> = self.actors.keys().filter(|other| *other != name).collect();
        others.sort();
        let names: Vec<String> = others.into_iter().cloned().chain([name.to_owned()]).collect();
        for other in names {
            let actor = self.actor(&other)?;
            if !actor.is_bound && other != name {
                continue;
            }
            let ping = "<iq type='get' id='curtain'><ping xmlns='urn:xmpp:ping'/></iq>";
            actor.client.say(ping);
            let mut kept = Vec::new();
            loop {
                match actor.client.next() {
                    Event::Element(e) if e.get("id") == Some("curtain") => break,
                    Event::Element(e) if is_request(&e) => {}
                    Event::End if other != name => {
                        kept.push(Event::End);
                        break;
                    }
                    event if other != name => kept.push(event),
                    Event::Element(e) => return Err(format!("  but {}", e.to_xml(ns::CLIENT))),
                    event => return Err(format!("  but {event:?}")),
                }
            }
            kept.into_iter().rev().for_each(|event| actor.client.put_back(event));
        }
        Ok(())
    }

    fn direct(&mut self, name: &str, what: &str) -> Result<(), String> {
        let (c2s, c2s_tls) = (self.server.c2s(), self.server.c2s_tls());
        let what = self.holes.fill(what)?;
        let words: Vec<&str> = what.split(' ').collect();
        let (client, jid) = match words[..] {
            ["signs", "in", "as", jid] => (self.server.sign_in(jid), jid),
            ["authenticates", "as", jid] => {
                let (user, domain) = jid.split_once('@').ok_or("user@domain")?;
                (Client::authenticate(c2s_tls, domain, user, PASSWORD), "")
            }
            ["connects"] => (opened(Client::connect(c2s), "example.org"), ""),
            ["connects", "with", ..] => {
                let mut client = Client::connect(c2s);
                client.say(what.trim_start_matches("connects with "));
                client.next();
                (client, "")
            }
            ["connects", "to", host] => (opened(Client::connect(c2s), host), ""),
            ["connects", "by", "tls"] => {
                (opened(Client::connect_tls(c2s_tls, "example.org"), "example.org"), "")
            }
            ["connects", "by", "tls", "to", host] => {
                (opened(Client::connect_tls(c2s_tls, host), host), "")
            }
            ["connects", "as", "component", domain, "with", secret] => {
                (Client::component(self.server.component(), domain, secret), "")
            }
            _ => return self.direct_connected(name, &words),
        };
        self.actors.insert(
            name.to_owned(),
            Actor { client, jid: jid.to_owned(), is_bound: !jid.is_empty() },
        );
        Ok(())
    }

    /// What somebody does who is connected.
    fn direct_connected(&mut self, name: &str, words: &[&str]) -> Result<(), String> {
        let actor = self.actors.get_mut(name).ok_or_else(|| format!("what does {name} do?"))?;
        match *words {
            ["secures", "the", "stream"] => {
                actor.client.secure("example.org");
                actor.client.open("example.org");
                Ok(())
            }
            ["opens", "a", "stream", "to", host] => {
                actor.client.open(host);
                Ok(())
            }
            ["proves", "to", "be", user, "with", password, "by", mechanism] => {
                scram::prove(&mut actor.client, mechanism, user, password)?;
                actor.client.open("example.org");
                Ok(())
            }
            ["fails", "to", "be", user, "with", password, "by", mechanism] => {
                let Err(failure) = scram::prove(&mut actor.client, mechanism, user, password)
                else {
                    return Err("  that is taken for a proof".to_owned());
                };
                actor.client.put_back(Event::Element(element(&failure)?));
                Ok(())
            }
            ["binds", resource] => {
                actor.client.bind(resource);
                actor.is_bound = true;
                Ok(())
            }
            ["vanishes"] => {
                let jid = self.actors.remove(name).expect("just seen").jid;
                let server = &self.server;
                until("the server notices", || {
                    server.session_state(&jid).as_deref() != Some("connected")
                });
                Ok(())
            }
            _ => Err(format!("  no such step: {}", words.join(" "))),
        }
    }
}

fn is_request(element: &Element) -> bool {
    element.is("r", ns::SM3)
}

fn words(command: &str) -> Vec<&str> {
    command.split(' ').collect()
}

fn opened(mut client: Client, domain: &str) -> Client {
    client.open(domain);
    client
}

fn ended(client: &mut Client) -> Result<(), String> {
    for wanted in ["Close", "End"] {
        let got = client.next();
        let got = match got {
            Event::Element(element) => element.to_xml(ns::CLIENT),
            other => format!("{other:?}"),
        };
        if got != wanted {
            return Err(format!("  expected {wanted}, but got {got}"));
        }
    }
    Ok(())
}

/// An element as it stands on a client's stream.
fn element(xml: &str) -> Result<Element, String> {
    let mut framer = framer();
    let broken = |error: &dyn std::fmt::Display| format!("  not XML ({error}): {xml}");
    match framer.next(xml.as_bytes()).map_err(|error| broken(&error))? {
        Some(Frame::Element { len }) if len == xml.len() => {
            framer.element(xml.as_bytes()).map_err(|error| broken(&error))
        }
        _ => Err(broken(&"not one whole element")),
    }
}
