//! The format of the conversations.
//!
//! A play is a list of steps, one a line; a line without a mark goes on with the step before it.
//! - `> XML`: the client sends. `> open`, `> open from='…'` and `> tls` stand for a stream header
//!   to example.org and a finished handshake.
//! - `< XML`: the server sends, to the octet. `< open` stands for its header. Everything that one
//!   input brings forth stands in one step.
//! - `! event`: the server tells the shell: `starttls`, `restart`, `refused CONDITION`,
//!   `close CONDITION`, `bound JID`, `resumed JID`.
//!
//! `{name}` is a hole: filled when read first, and the same from then on; `{}` takes anything.
//! `{first}`, `{last}` and `{verifier}` are what the client of [`Play::scram`] says and expects;
//! `{challenge}` is what it answers.

use std::collections::{HashMap, VecDeque};

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::*;
use crate::xml::framer::{Frame, Framer, Limits};

pub(super) struct Play<'a> {
    world: &'a mut World,
    negotiator: Negotiator,
    framer: Framer,
    holes: HashMap<String, String>,
    pending: VecDeque<String>,
    client: Option<Client>,
}

/// A client that knows SCRAM.
struct Client {
    hash: Hash,
    password: &'static str,
    binding: Vec<u8>,
    first: String,
    message: String,
}

/// Plays to the end.
pub(super) fn play(world: &mut World, script: &str) {
    Play::new(world).run(script);
}

impl<'a> Play<'a> {
    pub(super) fn new(world: &'a mut World) -> Play<'a> {
        let negotiator = Negotiator::new(world.hosts(), Arc::new(world.secret.clone()));
        Play {
            world,
            negotiator,
            framer: Framer::new(Limits::UNAUTHENTICATED),
            holes: HashMap::new(),
            pending: VecDeque::new(),
            client: None,
        }
    }

    /// Fills the holes of a SCRAM client. `header` is its GS2 header.
    pub(super) fn scram(
        mut self,
        hash: Hash,
        header: &str,
        binding: &[u8],
        user: &str,
        password: &'static str,
    ) -> Play<'a> {
        let first = format!("{header}n={user},r=12C4CD5C-E38E-4A98-8F6D-15C38F51CCC6");
        self.holes.insert("first".into(), BASE64.encode(&first));
        let binding = [header.as_bytes(), binding].concat();
        self.client = Some(Client { hash, password, binding, first, message: String::new() });
        self
    }

    pub(super) fn hole(mut self, name: &str, value: impl Into<String>) -> Play<'a> {
        self.holes.insert(name.into(), value.into());
        self
    }

    pub(super) fn holes(&self) -> &HashMap<String, String> {
        &self.holes
    }

    pub(super) fn run(mut self, script: &str) -> Play<'a> {
        for (mark, text) in steps(script) {
            if mark == '>' {
                assert_eq!(self.pending, [""; 0], "before: > {text}");
                self.client_sends(&text);
            } else {
                let got = self.pending.pop_front().unwrap_or_else(|| panic!("nothing: {text}"));
                let text = match text.as_str() {
                    "open" => OUR_HEADER.to_owned(),
                    _ => text.replace("open <", &format!("{OUR_HEADER}<")),
                };
                self.matches(&format!("{mark} {text}"), &got);
            }
        }
        assert_eq!(self.pending, [""; 0], "at the end");
        self
    }

    /// Says all of it, wants nothing in particular, and returns what it heard.
    pub(super) fn say(mut self, encrypted: bool, words: &[&str]) -> Vec<String> {
        if encrypted {
            self.client_sends("tls");
        }
        self.client_sends("open");
        for word in words {
            self.client_sends(word);
        }
        self.pending.into()
    }

    fn client_sends(&mut self, text: &str) {
        if text == "tls" {
            self.framer.reset();
            return self.handle(Input::TlsUp(self.world.channel.clone()));
        }
        let text = match text.strip_prefix("open") {
            Some(more) => format!("{THEIR_HEADER}{more}>"),
            None => self.fill(text),
        };
        let mut rest = text.as_bytes();
        while !rest.is_empty() {
            let frame = match self.framer.next(rest) {
                Ok(frame) => frame.unwrap_or_else(|| panic!("not whole: {text}")),
                Err(error) => {
                    let mut out = Vec::new();
                    self.negotiator.fail(error, self.world.now, &mut out);
                    return self.note(out);
                }
            };
            let (taken, left) = rest.split_at(frame.len());
            rest = left;
            match frame {
                Frame::Header { header, .. } => self.handle(Input::Header(header)),
                Frame::Element { .. } => {
                    let element = Element::parse(taken, ns::CLIENT).unwrap();
                    self.handle(Input::Element(element));
                }
                _ => {}
            }
        }
    }

    fn handle(&mut self, input: Input) {
        let mut input = Some(input);
        while let Some(next) = input.take() {
            let mut out = Vec::new();
            self.negotiator.handle(next, self.world.now, &mut out);
            let asks = out.iter().position(|output| matches!(output, Output::Ask(_)));
            assert_eq!(asks.is_some(), self.negotiator.waits());
            if let Some(at) = asks {
                assert_eq!(at + 1, out.len(), "nothing may follow a question");
                let Some(Output::Ask(ask)) = out.pop() else { unreachable!() };
                input = Some(Input::Answer(self.world.answer(ask)));
            }
            self.note(out);
        }
    }

    /// Turns outputs into lines of a play.
    fn note(&mut self, out: Vec<Output>) {
        for output in out {
            let line = match output {
                Output::Send(bytes) => {
                    let text = String::from_utf8(bytes).unwrap();
                    match self.pending.back_mut().filter(|last| last.starts_with('<')) {
                        Some(last) => {
                            last.push_str(&text);
                            continue;
                        }
                        None => format!("< {text}"),
                    }
                }
                Output::StartTls => "! starttls".to_owned(),
                Output::RestartStream => {
                    self.framer.reset();
                    "! restart".to_owned()
                }
                Output::Limits(limits) => {
                    assert_eq!(limits, self.world.policy.limits_after);
                    continue;
                }
                Output::Refused(refused) => format!("! refused {}", refused.failure.condition()),
                Output::Close(error) => format!("! close {}", error.condition),
                Output::Established(established) => {
                    let how = match &established.how {
                        How::Bound { .. } => "bound",
                        How::Resumed { .. } => "resumed",
                    };
                    let line = format!("! {how} {}", established.jid);
                    self.world.established = Some(*established);
                    line
                }
                Output::Ask(_) => unreachable!(),
            };
            self.pending.push_back(line);
        }
    }

    fn matches(&mut self, pattern: &str, got: &str) {
        let (mut pattern_rest, mut rest) = (pattern, got);
        while let Some((literal, after)) = pattern_rest.split_once('{') {
            rest = rest.strip_prefix(literal).unwrap_or_else(|| mismatch(pattern, got));
            let (name, after) = after.split_once('}').unwrap();
            let stop = after.split('{').next().unwrap();
            let end = if stop.is_empty() { Some(rest.len()) } else { rest.find(stop) };
            let value = &rest[..end.unwrap_or_else(|| mismatch(pattern, got))];
            if !name.is_empty() {
                let expected = self.fill_one(name, Some(value));
                assert_eq!(expected, value, "hole {name} in {got}");
            }
            rest = &rest[value.len()..];
            pattern_rest = after;
        }
        if pattern_rest != rest {
            mismatch(pattern, got)
        }
    }

    fn fill(&mut self, text: &str) -> String {
        let mut filled = String::new();
        let mut rest = text;
        while let Some((literal, after)) = rest.split_once('{') {
            let (name, after) = after.split_once('}').unwrap();
            filled.push_str(literal);
            filled.push_str(&self.fill_one(name, None));
            rest = after;
        }
        filled + rest
    }

    fn fill_one(&mut self, name: &str, seen: Option<&str>) -> String {
        if !self.holes.contains_key(name) {
            let value = match (name, &mut self.client, seen) {
                ("last", Some(client), _) => client.last(&self.holes["challenge"]),
                ("verifier", Some(client), _) => client.verifier(&self.holes["challenge"]),
                (_, _, Some(seen)) => seen.to_owned(),
                _ => panic!("nothing fills {name}"),
            };
            self.holes.insert(name.to_owned(), value);
        }
        self.holes[name].clone()
    }
}

impl Client {
    fn salted(&self, challenge: &str) -> crate::auth::Secret {
        let attribute = |name| challenge.split(',').find_map(|a| a.strip_prefix(name)).unwrap();
        let salt = BASE64.decode(attribute("s=")).unwrap();
        self.hash.pbkdf2(self.password.as_bytes(), &salt, attribute("i=").parse().unwrap())
    }

    fn last(&mut self, challenge: &str) -> String {
        let challenge = String::from_utf8(BASE64.decode(challenge).unwrap()).unwrap();
        let salted = self.salted(&challenge);
        let key = self.hash.hmac(salted.expose(), &[b"Client Key"]);
        let nonce = challenge.split(',').next().unwrap();
        let bare = self.first.splitn(3, ',').nth(2).unwrap();
        let without_proof = format!("c={},{nonce}", BASE64.encode(&self.binding));
        self.message = format!("{bare},{challenge},{without_proof}");
        let stored = self.hash.digest(key.expose());
        let signature = self.hash.hmac(stored.expose(), &[self.message.as_bytes()]);
        let proof = key.expose().iter().zip(signature.expose()).map(|(key, sig)| key ^ sig);
        let proof = BASE64.encode(proof.collect::<Vec<u8>>());
        BASE64.encode(format!("{without_proof},p={proof}"))
    }

    fn verifier(&self, challenge: &str) -> String {
        let challenge = String::from_utf8(BASE64.decode(challenge).unwrap()).unwrap();
        let key = self.hash.hmac(self.salted(&challenge).expose(), &[b"Server Key"]);
        let signature = self.hash.hmac(key.expose(), &[self.message.as_bytes()]);
        BASE64.encode(format!("v={}", BASE64.encode(signature.expose())))
    }
}

fn mismatch<T>(pattern: &str, got: &str) -> T {
    panic!("\nexpected {pattern}\nbut got  {got}")
}

const THEIR_HEADER: &str = "<?xml version='1.0'?><stream:stream to='example.org' version='1.0' \
     xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'";
const OUR_HEADER: &str = "<?xml version='1.0'?><stream:stream xmlns='jabber:client' \
     xmlns:stream='http://etherx.jabber.org/streams' id='{}' from='example.org' version='1.0' \
     xml:lang='en'>";

/// Steps with their marks, continuation lines joined.
fn steps(script: &str) -> Vec<(char, String)> {
    let mut steps: Vec<(char, String)> = Vec::new();
    for line in script.lines().map(str::trim).filter(|line| !line.is_empty()) {
        match line.split_once(' ') {
            Some((mark @ (">" | "<" | "!"), text)) => {
                steps.push((mark.chars().next().unwrap(), text.to_owned()));
            }
            _ => {
                let (_, text) = steps.last_mut().unwrap();
                if !text.ends_with('>') {
                    text.push(' ');
                }
                text.push_str(line);
            }
        }
    }
    steps
}
