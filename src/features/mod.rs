//! What a stanza means. One file per feature; each file holds its namespace, what it advertises,
//! its IQ handlers and its tests side by side, so that nothing can be advertised that is not there.
//!
//! A feature is data: [`Feature`]. A new one is a file here plus a line in [`ALL`]. IQs find their
//! handler through the tables in [`Feature::iq`]; messages and presences pass through the ordered
//! stages of `delivery`, which call the features' functions by name.
//!
//! Features never send. They push stanzas into the [`Outbox`] they are handed; `delivery::route`
//! drains it.

pub mod adhoc;
pub mod announce;
pub mod archive;
pub mod availability;
pub mod blocking;
pub mod caps;
pub mod carbons;
pub mod contacts;
pub mod csi;
pub mod devices;
pub mod disco;
pub mod entity_time;
pub mod invites;
pub mod last;
pub mod offline;
pub mod ping;
pub mod private;
pub mod push;
pub mod register;
pub mod reports;
pub mod retract;
pub mod roster;
pub mod session;
pub mod stanza_id;
pub mod subscription;
pub mod vcard;
pub mod version;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::config::HostConfig;
use crate::jid::{BareJid, Jid};
use crate::router::{Router, Session};
use crate::stanza::Stanza;
use crate::stanza::error::{Condition, StanzaError};
use crate::time::Now;
use crate::xml::element::Element;

/// Every feature of the server, in no particular order.
pub const ALL: &[&Feature] = &[
    &adhoc::FEATURE,
    &archive::FEATURE,
    &blocking::FEATURE,
    &caps::FEATURE,
    &carbons::FEATURE,
    &contacts::FEATURE,
    &csi::FEATURE,
    &devices::FEATURE,
    &disco::FEATURE,
    &entity_time::FEATURE,
    &invites::FEATURE,
    &last::FEATURE,
    &offline::FEATURE,
    &ping::FEATURE,
    &private::FEATURE,
    &push::FEATURE,
    &register::FEATURE,
    &reports::FEATURE,
    &retract::FEATURE,
    &roster::FEATURE,
    &session::FEATURE,
    &stanza_id::FEATURE,
    &vcard::FEATURE,
    &version::FEATURE,
];

/// What one file of this folder contributes to the server.
pub struct Feature {
    /// The specifications this file implements.
    pub xeps: &'static [Xep],
    /// Namespaces advertised by service discovery.
    pub disco: &'static [Disco],
    /// What `<stream:features/>` gains once the client has signed in.
    pub stream: &'static [StreamFeature],
    pub iq: &'static [IqRoute],
    /// Ad-hoc commands of a host.
    pub commands: &'static [adhoc::Route],
}

impl Feature {
    pub const NONE: Feature =
        Feature { xeps: &[], disco: &[], stream: &[], iq: &[], commands: &[] };
}

/// A XEP and the version of it that we implement.
pub struct Xep {
    pub number: u16,
    pub version: &'static str,
}

pub const fn xep(number: u16, version: &'static str) -> Xep {
    Xep { number, version }
}

/// Whom an IQ without a session to go to is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Target {
    /// A virtual host's own domain.
    Host,
    /// An account's bare JID; an IQ without `to` is for the sender's own account.
    Account,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verb {
    Get,
    Set,
}

/// Who may use an IQ route; checked before the handler runs. A refused stranger gets
/// `service-unavailable`, as for an account that does not exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    /// Anybody, other servers included. The handler may refuse further.
    Anyone,
    /// A signed-in account of one of our hosts.
    Local,
    /// Only the account itself (target [`Target::Account`]).
    Owner,
    /// The owner, and contacts who may see the owner's presence (subscription `from` or `both`).
    Subscriber,
}

/// One row of the table (target, verb, name, namespace) → handler.
pub struct IqRoute {
    pub target: Target,
    pub verb: Verb,
    pub name: &'static str,
    pub ns: &'static str,
    pub who: Who,
    pub handler: IqHandler,
}

pub const fn get(
    target: Target,
    who: Who,
    name: &'static str,
    ns: &'static str,
    handler: IqHandler,
) -> IqRoute {
    IqRoute { target, verb: Verb::Get, name, ns, who, handler }
}

pub const fn set(
    target: Target,
    who: Who,
    name: &'static str,
    ns: &'static str,
    handler: IqHandler,
) -> IqRoute {
    IqRoute { target, verb: Verb::Set, name, ns, who, handler }
}

/// A namespace in disco#info, where it is told, and whether this host has it switched on.
pub struct Disco {
    pub target: Target,
    pub ns: &'static str,
    pub when: fn(&HostConfig) -> bool,
}

pub const fn on(target: Target, ns: &'static str) -> Disco {
    Disco { target, ns, when: always }
}

pub const fn on_if(target: Target, ns: &'static str, when: fn(&HostConfig) -> bool) -> Disco {
    Disco { target, ns, when }
}

fn always(_: &HostConfig) -> bool {
    true
}

/// An element of `<stream:features/>` after sign-in, as XML text with its own `xmlns`.
pub struct StreamFeature {
    pub xml: FeatureXml,
    pub when: fn(&HostConfig) -> bool,
}

pub enum FeatureXml {
    Fixed(&'static str),
    /// It depends on what the host has switched on.
    Made(fn(&HostConfig) -> String),
}

pub const fn stream(xml: &'static str) -> StreamFeature {
    StreamFeature { xml: FeatureXml::Fixed(xml), when: always }
}

pub const fn stream_made(xml: fn(&HostConfig) -> String) -> StreamFeature {
    StreamFeature { xml: FeatureXml::Made(xml), when: always }
}

/// Handlers return boxed futures on purpose: one `match` over all of them would give each
/// connection's task the size of the largest.
pub type Handled<'a> = Pin<Box<dyn Future<Output = Result<Reply, StanzaError>> + Send + 'a>>;
pub type IqHandler = for<'a> fn(&'a Ctx<'a>, Iq) -> Handled<'a>;

/// An IQ get or set on its way to a handler. The envelope has been checked: it has an id and
/// exactly one child.
pub struct Iq {
    pub stanza: Stanza,
    /// The parsed child.
    pub payload: Element,
}

/// How a handler answers.
pub enum Reply {
    /// `<iq type='result'/>`.
    Empty,
    /// `<iq type='result'>` around this.
    Result(Element),
    /// No answer now; the handler has pushed, or will push, one itself.
    Later,
}

/// What a handler may see and touch.
pub struct Ctx<'a> {
    pub router: &'a Arc<Router>,
    /// The host the IQ is addressed to, by its domain or by one of its accounts.
    pub host: &'a Arc<HostConfig>,
    pub from: Actor<'a>,
    /// For [`Target::Account`]: whose account. It need not exist, unless the actor is its owner.
    pub account: Option<BareJid>,
    pub now: Now,
    pub out: &'a Outbox,
}

/// Who asks.
#[derive(Clone, Copy)]
pub enum Actor<'a> {
    /// A session of this server.
    Session(&'a Arc<Session>),
    /// Anybody else: a component, another server's user.
    Foreign(&'a Jid),
}

impl<'a> Actor<'a> {
    pub fn jid(self) -> &'a Jid {
        match self {
            Actor::Session(session) => &session.jid,
            Actor::Foreign(jid) => jid,
        }
    }

    pub fn session(self) -> Option<&'a Arc<Session>> {
        match self {
            Actor::Session(session) => Some(session),
            Actor::Foreign(_) => None,
        }
    }
}

impl<'a> Ctx<'a> {
    /// The asking session, where the route's [`Who`] promises one.
    pub fn session(&self) -> Result<&'a Arc<Session>, StanzaError> {
        self.from.session().ok_or(StanzaError::new(Condition::NotAllowed))
    }

    /// The account the IQ is for.
    pub fn account(&self) -> Result<&BareJid, StanzaError> {
        self.account.as_ref().ok_or(StanzaError::new(Condition::ServiceUnavailable))
    }

    /// Does the actor own the account the IQ is for?
    pub fn is_owner(&self) -> bool {
        self.account.as_ref().is_some_and(|a| a.as_str() == self.from.jid().bare_str())
    }
}

/// Stanzas that a feature wants sent, in order. Drained by `delivery::route` after the feature
/// returned.
#[derive(Default)]
pub struct Outbox(Mutex<Vec<Outgoing>>);

/// One entry of an [`Outbox`].
pub enum Outgoing {
    /// To be routed by its `to`, through the receiver's inbound pipeline.
    Route(Stanza),
    /// For exactly this session, past the pipelines: pushes, carbons, replies.
    Session(Arc<Session>, Stanza),
}

impl Outbox {
    /// Routes `stanza` by its `to`.
    pub fn push(&self, stanza: Stanza) {
        self.0.lock().push(Outgoing::Route(stanza));
    }

    /// Hands `stanza` to `session` as it is.
    pub fn push_to(&self, session: &Arc<Session>, stanza: Stanza) {
        self.0.lock().push(Outgoing::Session(Arc::clone(session), stanza));
    }

    pub fn take(&self) -> Vec<Outgoing> {
        std::mem::take(&mut self.0.lock())
    }

    pub fn is_empty(&self) -> bool {
        self.0.lock().is_empty()
    }
}

/// For handlers that need not wait: wraps a result that is already there.
pub fn done<'a>(result: Result<Reply, StanzaError>) -> Handled<'a> {
    Box::pin(std::future::ready(result))
}

/// All that `<stream:features/>` gains after sign-in on `host`.
pub fn stream_features(host: &HostConfig) -> Vec<u8> {
    let mut xml = Vec::new();
    for feature in ALL.iter().flat_map(|f| f.stream).filter(|f| (f.when)(host)) {
        match feature.xml {
            FeatureXml::Fixed(text) => xml.extend_from_slice(text.as_bytes()),
            FeatureXml::Made(make) => xml.extend_from_slice(make(host).as_bytes()),
        }
    }
    xml
}
