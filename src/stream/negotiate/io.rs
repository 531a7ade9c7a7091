//! What goes into the negotiation of a stream and what comes out of it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::registering::Registration;
use crate::access::rule::Decision;
use crate::auth::plain::{PlainJob, PlainVerdict};
use crate::auth::{
    AgentId, Channel, Credentials, Failure, Hash, HtMechanism, MechanismName, Plus, ScramKeys,
    Token, TokenUse, Tokens, UserAgent, devices::TokenRefusal,
};
use crate::features::register::{Answered, Asked};
use crate::jid::{BareJid, Jid};
use crate::stanza::error::StanzaError;
use crate::store::AccountId;
use crate::store::invites::Invite;
use crate::xml::element::Element;
use crate::xml::framer::StreamHeader;
use crate::xml::stream_error::StreamError;

/// Names the hosts served here.
pub trait Hosts: Send + Sync {
    /// The policy of a host, by its normalised domain. `None`: not ours.
    fn host(&self, domain: &str) -> Option<Arc<HostPolicy>>;

    /// Whether the rules let an account sign in that has proved its secret.
    fn admits(&self, _account: &BareJid) -> Decision {
        Decision::open()
    }
}

impl<F: Fn(&str) -> Option<Arc<HostPolicy>> + Send + Sync> Hosts for F {
    fn host(&self, domain: &str) -> Option<Arc<HostPolicy>> {
        self(domain)
    }
}

/// What a host offers to clients that want to sign in. Fixed for a stream once its header is read.
#[derive(Clone, Debug)]
pub struct HostPolicy {
    /// Normalised.
    pub domain: Box<str>,
    /// What may be offered, in any order; the stream offers what is safe on it (see
    /// [`crate::auth::Offer::new`]). A guest host has ANONYMOUS and nothing else.
    pub mechanisms: Vec<MechanismName>,
    /// Refuse to authenticate without TLS.
    pub tls_required: bool,
    /// PBKDF2 rounds of keys made from now on.
    pub scram_iterations: u32,
    /// Every count of rounds that accounts of this host have: unknown names show one of these.
    pub iterations_in_use: Vec<u32>,
    /// XEP-0484; `None` switches it off.
    pub fast: Option<FastPolicy>,
    /// XEP-0198 is offered: classic, inline, and within Bind 2.
    pub stream_management: bool,
    /// Stream features after authentication that are not negotiated here (roster versioning,
    /// capabilities, …), as XML with their namespaces declared.
    pub features: Vec<u8>,
    pub limits_before: StreamLimits,
    pub limits_after: StreamLimits,
    /// SASL attempts on one stream; the last failure closes it. At least 1.
    pub attempts_max: u32,
    /// For those who have no account, on streams that are encrypted.
    pub registration: Registration,
}

impl HostPolicy {
    /// The hash functions that an account should have keys for: those with a mechanism on offer.
    pub(super) fn wants_keys(&self, hash: Hash) -> bool {
        let uses = |plus| self.mechanisms.contains(&MechanismName::Scram(hash, plus));
        uses(Plus::No) || uses(Plus::Yes)
    }
}

/// How long FAST tokens live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FastPolicy {
    /// From issue to expiry.
    pub lifetime: Duration,
    /// A token older than this is replaced when it is used. Less than `lifetime`.
    pub rotate_after: Duration,
}

/// XEP-0478.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamLimits {
    /// Largest top-level element.
    pub bytes_max: usize,
    /// Silence after which the server may look whether the client is still there; 0 is not told.
    pub idle_secs: u32,
}

/// What happens to a stream.
pub enum Input {
    Header(StreamHeader),
    /// A top-level element. Only while no [`Ask`] is open.
    Element(Element),
    /// The TLS handshake is done: before the first header on a direct TLS port, or after
    /// [`Output::StartTls`].
    TlsUp(Channel),
    /// The answer to the open [`Ask`].
    Answer(Answer),
}

/// What the shell must do, in this order.
pub enum Output {
    /// Write these bytes.
    Send(Vec<u8>),
    /// After writing what was sent so far: throw away every byte the client has sent behind
    /// `<starttls/>`, shake hands, reset the framer, come back with [`Input::TlsUp`].
    StartTls,
    /// The client opens a new stream on the same connection: reset the framer.
    RestartStream,
    /// Let the framer apply these from the next element on: authentication has succeeded.
    Limits(StreamLimits),
    /// Look this up and come back with [`Input::Answer`]. Read nothing from the client until then.
    Ask(Ask),
    /// A sign-in failed: for rate limits, the log and the eyes of the operator.
    Refused(Refused),
    /// The stream belongs to a session now. The negotiator is done and can be dropped.
    Established(Box<Established>),
    /// Write the error and the closing tag, then close. A stream header has been sent before.
    Close(StreamError),
}

/// A question to the world. One is open at a time.
#[derive(Debug)]
pub enum Ask {
    /// Keys and state of an account that may not exist. Answer: [`Answer::Credentials`].
    Credentials(BareJid),
    /// Run the job where it may take its time. Answer: [`Answer::Plain`].
    VerifyPlain(Box<PlainJob>),
    /// The tokens of a device that may not exist. Answer: [`Answer::Tokens`].
    Tokens { account: BareJid, agent: AgentId, mechanism: HtMechanism },
    /// Apply to the stored tokens, in one transaction ([`Tokens::apply`]).
    /// Answer: [`Answer::TokenUsed`].
    UseToken { account: SignedIn, agent: UserAgent, usage: TokenUse },
    /// Keep a token for a device that has signed in by other means ([`Tokens::issue`]).
    /// Answer: [`Answer::Stored`].
    StoreToken { account: SignedIn, agent: UserAgent, token: Token },
    /// Add keys to the account; its tokens stay. Answer: [`Answer::Stored`].
    SaveKeys { account: SignedIn, keys: Vec<ScramKeys> },
    /// A client without an account asks for one. Answer: [`Answer::Registration`].
    Registration(Box<RegistrationAsk>),
    /// Answer: [`Answer::Bound`] or [`Answer::NotBound`].
    Bind(Box<BindRequest>),
    /// Answer: [`Answer::Resumed`] or [`Answer::NotResumed`].
    Resume(Box<ResumeRequest>),
}

/// What the shell found.
#[derive(Debug)]
pub enum Answer {
    /// `None`: no such account. A locked account is found all the same.
    Credentials(Option<(Account, Credentials)>),
    Plain(PlainVerdict),
    /// `None`: no such account or device.
    Tokens(Option<(Account, Tokens)>),
    TokenUsed(Result<(), TokenRefusal>),
    Stored,
    Registration(Box<Result<Answered, StanzaError>>),
    Bound(Box<Bound>),
    NotBound(BindRefusal),
    Resumed(Resumed),
    NotResumed(ResumeRefusal),
    /// The store could not tell: the client may try again later.
    Unavailable,
}

/// A request to register, with the invitation that this stream has shown.
#[derive(Debug)]
pub struct RegistrationAsk {
    pub domain: Box<str>,
    pub asked: Asked,
    pub invite: Option<Box<Invite>>,
}

/// An account as far as signing in is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Account {
    pub id: AccountId,
    /// Nobody may sign in. Told to those who have proved to be the owner.
    pub locked: bool,
    /// It is locked until an operator has approved of it.
    pub waiting: bool,
}

/// Who has proved what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedIn {
    pub jid: BareJid,
    /// `None` for guests.
    pub account: Option<AccountId>,
    pub mechanism: MechanismName,
}

/// A wish for a resource: from `<bind/>` of RFC 6120 §7 or of XEP-0386.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BindRequest {
    pub account: SignedIn,
    pub agent: UserAgent,
    /// The full JID to bind, unless there is a reason against it.
    pub jid: Jid,
    pub resource: ResourceBy,
    /// Bind 2: answer with archive bounds ([`Bound::metadata`]), drop stored offline messages
    /// (the client reads the archive), end older sessions of the same agent.
    pub bind2: bool,
    /// XEP-0280 is on from the start.
    pub carbons: bool,
    /// XEP-0352: the session starts inactive.
    pub inactive: bool,
    /// XEP-0198 from the start.
    pub sm: Option<SmRequest>,
}

/// Who chose the resource: what to do about a conflict may depend on that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResourceBy {
    Client,
    /// Random: a conflict does not happen.
    Server,
    /// The same for every sign-in of this device: a session with it is an older one of its own.
    Device,
}

/// `<enable/>` of XEP-0198.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SmRequest {
    pub resume: bool,
    /// Seconds the client would like to be waited for.
    pub max: Option<u32>,
}

/// A resource is bound, the session exists.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bound {
    /// The resource the session got. `None`: the one asked for.
    pub jid: Option<Jid>,
    /// What became of [`BindRequest::sm`]; `None` is told as a failure (XEP-0198 §9.1.1).
    pub sm: Option<SmEnabled>,
    /// XEP-0313 `<metadata/>` of the archive at this moment, for Bind 2.
    pub metadata: Option<Element>,
}

/// `<enabled/>` of XEP-0198.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct SmEnabled {
    /// For `<resume/>`, a secret; `None` where the session will not wait.
    pub id: Option<Box<str>>,
    /// Seconds the session waits.
    pub max: Option<u32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BindRefusal {
    /// Somebody has the resource, and keeps it.
    Conflict,
    /// The account has as many sessions as it may have.
    TooManySessions,
    NotAllowed,
}

/// `<resume/>` of XEP-0198.
#[derive(Clone, PartialEq, Eq)]
pub struct ResumeRequest {
    pub account: SignedIn,
    pub agent: UserAgent,
    /// The session's secret: compare in constant time, or by its hash.
    pub previd: Box<str>,
    /// Stanzas the client has handled.
    pub h: u32,
}

/// The session goes on. What the client has not acknowledged is sent after
/// [`Output::Established`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resumed {
    pub jid: Jid,
    /// Stanzas of the client that the server has handled.
    pub h: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResumeRefusal {
    /// No such session, or not of this account. `h` where it is still known.
    NotFound { h: Option<u32> },
    /// The `h` of the client is higher than what it was sent.
    HandledTooHigh,
}

/// A sign-in that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// The account that was tried, once that is known.
    pub account: Option<BareJid>,
    pub mechanism: Option<MechanismName>,
    pub failure: Failure,
    /// The rule that refused, where one did.
    pub decision: Option<Decision>,
}

/// A stream that is ready for stanzas.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Established {
    pub account: SignedIn,
    pub jid: Jid,
    pub agent: UserAgent,
    /// `xml:lang` of the stream header, for stanzas without their own.
    pub lang: Option<Box<str>>,
    pub how: How,
}

/// Everything the client is owed for it (`<success/>`, `<bound/>`, features, an IQ result,
/// `<resumed/>`) has been sent before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum How {
    Bound {
        carbons: bool,
        inactive: bool,
        /// `<enabled/>` has been sent.
        sm: Option<SmEnabled>,
    },
    /// The client's `h`: send again what came after it.
    Resumed { h: u32 },
}

impl fmt::Debug for SmEnabled {
    /// Without the id: whoever knows it and the account may take the session over.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SmEnabled {{ resumable: {}, max: {:?} }}", self.id.is_some(), self.max)
    }
}

impl fmt::Debug for ResumeRequest {
    /// Without `previd`, for the same reason.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ResumeRequest {{ account: {}, h: {} }}", self.account.jid, self.h)
    }
}

impl fmt::Debug for Output {
    /// Without the bytes: they may hold a token.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Output::Send(bytes) => write!(f, "Send({} bytes)", bytes.len()),
            Output::StartTls => f.write_str("StartTls"),
            Output::RestartStream => f.write_str("RestartStream"),
            Output::Limits(limits) => write!(f, "{limits:?}"),
            Output::Ask(ask) => write!(f, "Ask({ask:?})"),
            Output::Refused(refused) => write!(f, "{refused:?}"),
            Output::Established(established) => write!(f, "{established:?}"),
            Output::Close(error) => write!(f, "Close({error})"),
        }
    }
}
