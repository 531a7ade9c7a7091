//! Conversations. What goes in, what must come out, as XML; the shell is played by [`World`].

mod fast;
mod headers;
mod inline;
mod monkey;
mod play;
mod register;
mod resume;
mod sasl;
mod sasl2;
mod upgrades;

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use super::*;
use crate::access::rule::Decision;
use crate::auth::credentials::{ITERATIONS_MIN, Password, ScramKeys};
use crate::auth::{AgentId, Credentials, Hash, MechanismName, Plus, Tokens};
use crate::jid::{BareJid, Jid};
use crate::store::AccountId;

/// Keying material and certificate hash of the tests' only connection.
const EXPORTED: [u8; 32] = [0xe1; 32];
const END_POINT: [u8; 32] = [0xe2; 32];
const DAY: Duration = Duration::from_secs(86_400);

/// Keys for the password "pencil", derived once for all tests.
static PENCIL: LazyLock<Credentials> = LazyLock::new(|| {
    let password = Password::prepare("pencil").unwrap();
    Credentials::derive(&password, &Hash::ALL, ITERATIONS_MIN)
});

/// The shell with its store. Answers every [`Ask`] at once and remembers what it was told.
struct World {
    policy: HostPolicy,
    secret: ServerSecret,
    channel: Channel,
    now: Now,
    accounts: HashMap<BareJid, (Account, Credentials)>,
    tokens: HashMap<(BareJid, AgentId), Tokens>,
    /// Sessions that wait for resumption: the client's full JID and what the server has handled.
    sessions: HashMap<&'static str, (Jid, u32)>,
    /// Given instead of the usual answer to the next [`Ask::Bind`] or [`Ask::Resume`].
    instead: Vec<Answer>,
    /// The last resource that was asked for.
    bind: Option<BindRequest>,
    established: Option<Established>,
    /// The rules let nobody in.
    shut: bool,
    /// Kinds of all questions, in order.
    asked: Vec<&'static str>,
}

/// What [`World`] is to those who knock.
struct Gate {
    policy: Arc<HostPolicy>,
    shut: bool,
}

impl Hosts for Gate {
    fn host(&self, domain: &str) -> Option<Arc<HostPolicy>> {
        (domain == &*self.policy.domain).then(|| Arc::clone(&self.policy))
    }

    fn admits(&self, _account: &BareJid) -> Decision {
        Decision { allowed: !self.shut, ..Decision::open() }
    }
}

impl World {
    /// example.org with everything switched on, and romeo, whose password is "pencil".
    fn new() -> World {
        let policy = HostPolicy {
            domain: "example.org".into(),
            mechanisms: MechanismName::ALL
                .into_iter()
                .filter(|mechanism| *mechanism != MechanismName::Anonymous)
                .collect(),
            tls_required: true,
            scram_iterations: ITERATIONS_MIN,
            iterations_in_use: vec![ITERATIONS_MIN],
            fast: Some(FastPolicy { lifetime: 21 * DAY, rotate_after: DAY }),
            stream_management: true,
            features: b"<ver xmlns='urn:xmpp:features:rosterver'/>".to_vec(),
            limits_before: StreamLimits { bytes_max: 10_000, idle_secs: 0 },
            limits_after: StreamLimits { bytes_max: 262_144, idle_secs: 600 },
            attempts_max: 3,
            registration: Registration::default(),
        };
        let mut world = World {
            policy,
            secret: ServerSecret::from_bytes(&[7; 32]),
            channel: Channel {
                exporter: Some(EXPORTED),
                server_end_point: Some(END_POINT.into()),
                version: Some(0x0304),
            },
            now: Now::from_secs(1_700_000_000),
            accounts: HashMap::new(),
            tokens: HashMap::new(),
            sessions: HashMap::new(),
            instead: Vec::new(),
            bind: None,
            established: None,
            shut: false,
            asked: Vec::new(),
        };
        world.register("romeo@example.org", &Hash::ALL);
        world
    }

    /// One SCRAM mechanism with its -PLUS: the features of most XEPs' examples.
    fn scram(hash: Hash) -> World {
        let mut world = World::new();
        world.policy.mechanisms =
            [Plus::Yes, Plus::No].map(|plus| MechanismName::Scram(hash, plus)).to_vec();
        world
    }

    fn plain() -> World {
        let mut world = World::new();
        world.policy.mechanisms = vec![MechanismName::Plain];
        world
    }

    fn register(&mut self, jid: &str, hashes: &[Hash]) {
        let jid = BareJid::parse(jid).unwrap();
        let keys = PENCIL.iter().filter(|keys| hashes.contains(&keys.hash));
        let credentials = keys.cloned().collect();
        let id = AccountId(self.accounts.len() as i64 + 1);
        self.accounts.insert(jid, (Account { id, locked: false, waiting: false }, credentials));
    }

    fn lock(&mut self, jid: &str) {
        self.accounts.get_mut(jid).unwrap().0.locked = true;
    }

    fn hosts(&self) -> Arc<dyn Hosts> {
        Arc::new(Gate { policy: Arc::new(self.policy.clone()), shut: self.shut })
    }

    fn answer(&mut self, ask: Ask) -> Answer {
        let (kind, answer) = match ask {
            Ask::Credentials(jid) => {
                ("credentials", Answer::Credentials(self.accounts.get(&jid).cloned()))
            }
            Ask::VerifyPlain(job) => ("plain", Answer::Plain(job.run())),
            Ask::Tokens { account, agent, .. } => {
                let known = self.accounts.get(&account).map(|(account, _)| *account);
                let tokens = self.tokens.get(&(account, agent)).cloned().unwrap_or_default();
                ("tokens", Answer::Tokens(known.map(|account| (account, tokens))))
            }
            Ask::UseToken { account, agent, usage } => {
                let tokens = self.tokens.get_mut(&(account.jid, agent.id.unwrap())).unwrap();
                ("use token", Answer::TokenUsed(tokens.apply(usage)))
            }
            Ask::StoreToken { account, agent, token } => {
                self.tokens.entry((account.jid, agent.id.unwrap())).or_default().issue(token);
                ("store token", Answer::Stored)
            }
            Ask::SaveKeys { account, keys } => {
                let (_, credentials) = self.accounts.get_mut(&account.jid).unwrap();
                keys.into_iter().for_each(|keys: ScramKeys| credentials.insert(keys));
                ("save keys", Answer::Stored)
            }
            Ask::Registration(_) => {
                ("registration", self.instead.pop().unwrap_or(Answer::Unavailable))
            }
            Ask::Bind(request) => {
                let bound = Bound {
                    jid: None,
                    sm: request.sm.map(|sm| SmEnabled {
                        id: sm.resume.then(|| "some-long-sm-id".into()),
                        max: sm.resume.then_some(300),
                    }),
                    metadata: request.bind2.then(|| Element::new("metadata", ns::MAM2)),
                };
                self.bind = Some(*request);
                ("bind", self.instead.pop().unwrap_or(Answer::Bound(Box::new(bound))))
            }
            Ask::Resume(request) => {
                let answer = match self.sessions.get(&*request.previd) {
                    Some((jid, h)) if jid.bare() == request.account.jid => {
                        Answer::Resumed(Resumed { jid: jid.clone(), h: *h })
                    }
                    _ => Answer::NotResumed(ResumeRefusal::NotFound { h: None }),
                };
                ("resume", self.instead.pop().unwrap_or(answer))
            }
        };
        self.asked.push(kind);
        answer
    }
}
