//! XEP-0357: Push Notifications (0.4.1).
//!
//! A registration belongs to the client that enabled it. A message is announced to it unless that
//! very client is connected: whether another of the account's devices is awake does not help the
//! phone in the pocket. A session that is parked (XEP-0198) counts as away.
//!
//! The push service learns that something waits, not what: sender and text are sent only where
//! the host's config says so. What deserves to ring carries a constant text in the place of the
//! message's, by which push services tell it from what does not (as with the peers).
//!
//! A service that answers with a lasting error loses the registration; one that fails for now is
//! asked ever more rarely, and loses it in the end.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::config::model::HostConfig;
use crate::jid::{BareJid, Jid};
use crate::router::sessions::{Flag, SessionList};
use crate::router::{Router, Session};
use crate::stanza::content::{Call, Content};
use crate::stanza::error::{Condition, ErrorType, StanzaError};
use crate::stanza::forms::{Field, Form, FormKind};
use crate::stanza::forward::read_forwarded;
use crate::stanza::{Kind, Stanza, Type};
use crate::store::hot::HotMap;
use crate::store::push::PushTarget;
use crate::store::{Facts, Store, StoreError};
use crate::telemetry::METRICS;
use crate::time::Now;
use crate::xml::element::Element;
use crate::xml::ns;

use super::{Ctx, Feature, Handled, Iq, Outbox, Reply, Target, Who, on_if, set, xep};

pub const FEATURE: Feature = Feature {
    xeps: &[xep(353, "0.8.0"), xep(357, "0.4.1")],
    disco: &[on_if(Target::Account, ns::PUSH0, has_push)],
    iq: &[
        set(Target::Account, Who::Owner, "enable", ns::PUSH0, enable),
        set(Target::Account, Who::Owner, "disable", ns::PUSH0, disable),
    ],
    ..Feature::NONE
};

/// Longest node, in bytes; device tokens of the big services have a few hundred.
const NODE_BYTES_MAX: usize = 1_024;
/// Longest publish options, in bytes of XML.
const OPTIONS_BYTES_MAX: usize = 4_096;
/// Failures in a row after which a registration goes.
const FAILURES_MAX: u32 = 12;
/// Wait after the first failure; doubled with each further one.
const BACK_OFF: Duration = Duration::from_secs(60);
const BACK_OFF_MAX: Duration = Duration::from_secs(6 * 3_600);
/// Registrations whose troubles are remembered.
const TROUBLES_MAX: usize = 65_536;
/// Longest excerpt of a message that is told to a push service, in bytes.
const EXCERPT_BYTES_MAX: usize = 512;
/// Stands for the text of a message that should ring.
const SOMETHING: &str = "New Message!";
/// Starts the `id` of every notification.
const ID_PREFIX: &str = "push-";

fn has_push(host: &HostConfig) -> bool {
    !host.is_guest() && host.push.registrations_max > 0
}

fn enable<'a>(cx: &'a Ctx<'a>, iq: Iq) -> Handled<'a> {
    Box::pin(async move {
        let session = cx.session()?;
        if !has_push(cx.host) {
            return Err(Condition::ServiceUnavailable.into());
        }
        let (service, node, options) = read_enable(&iq.payload)?;
        if service.bare_str() == session.jid.bare_str() {
            return Err(bad_request("An account cannot be its own push service."));
        }
        let node = node.unwrap_or_default();
        trouble(&cx.router.store).take(&key(&session.jid.bare(), &service, &node), cx.now);
        let target = PushTarget {
            service,
            node,
            options,
            device: session.facts.lock().device,
            resource: session.jid.resource().map(str::to_owned),
            enabled: cx.now,
        };
        cx.router
            .store
            .push()
            .enable(session.account, target, cx.host.push.registrations_max)
            .await?;
        Ok(Reply::Empty)
    })
}

fn disable<'a>(cx: &'a Ctx<'a>, iq: Iq) -> Handled<'a> {
    Box::pin(async move {
        let session = cx.session()?;
        let (service, node) = read_address(&iq.payload)?;
        cx.router.store.push().disable(session.account, &service, node.as_deref()).await?;
        Ok(Reply::Empty)
    })
}

fn read_address(request: &Element) -> Result<(Jid, Option<String>), StanzaError> {
    let service = request.get("jid").ok_or_else(|| bad_request("'jid' names the push service."))?;
    let service = Jid::parse(service)
        .map_err(|e| StanzaError::new(Condition::JidMalformed).with_text(e.to_string()))?;
    let node = request.get("node").map(str::to_owned);
    if node.as_ref().is_some_and(|node| node.len() > NODE_BYTES_MAX) {
        return Err(too_much(format!("A node has at most {NODE_BYTES_MAX} bytes.")));
    }
    Ok((service, node))
}

/// Service, node, and the publish options as the service will get them back.
type Enabled = (Jid, Option<String>, Option<Vec<u8>>);

fn read_enable(enable: &Element) -> Result<Enabled, StanzaError> {
    let (service, node) = read_address(enable)?;
    let Some(x) = enable.child("x", ns::DATA_FORMS) else { return Ok((service, node, None)) };
    Form::submitted(enable, ns::PUBSUB_PUBLISH_OPTIONS)?;
    let mut options = Vec::new();
    x.write(&mut options, "");
    if options.len() > OPTIONS_BYTES_MAX {
        return Err(too_much(format!(
            "The publish options have at most {OPTIONS_BYTES_MAX} bytes."
        )));
    }
    Ok((service, node, Some(options)))
}

fn bad_request(text: &str) -> StanzaError {
    StanzaError::new(Condition::BadRequest).with_text(text)
}

fn too_much(text: String) -> StanzaError {
    StanzaError::new(Condition::PolicyViolation).with_text(text)
}

/// How much a message matters to somebody who does not look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Urgency {
    /// The client should know, the user need not.
    Low,
    /// Shown, or it makes the phone ring, or stop ringing.
    High,
}

fn urgency(stanza: &Stanza) -> Option<Urgency> {
    if stanza.head.kind != Kind::Message
        || matches!(stanza.head.typ, Some(Type::Error | Type::Groupchat | Type::Headline))
    {
        return None;
    }
    let content = Content::of(stanza);
    if matches!(content.call, Some(Call::Offered | Call::Settled)) {
        return Some(Urgency::High);
    }
    if content.reaction || content.correction || content.retraction {
        return Some(Urgency::Low);
    }
    (content.body || content.encrypted || content.invitation).then_some(Urgency::High)
}

/// Announces a message that `owner` has received to its registrations whose client is away.
pub async fn notify(
    router: &Arc<Router>,
    host: &HostConfig,
    owner: &BareJid,
    facts: &Facts,
    stanza: &Stanza,
    out: &Outbox,
    now: Now,
) {
    if facts.push
        && let Some(urgency) = urgency(stanza)
    {
        announce(router, host, owner, facts, (urgency, stanza), out, now).await;
    }
}

/// Announces what a session was sent and never acknowledged, now that its connection is gone:
/// until then it counted as there. To be called when the session has just been parked.
pub async fn lost(router: &Arc<Router>, session: &Session, out: &Outbox, now: Now) {
    let owner = session.jid.bare();
    let Some(host) = router.host(session.jid.domain()) else { return };
    let Ok(Some(facts)) = router.store.facts(&owner).await else { return };
    if !facts.push {
        return;
    }
    let mut waiting: Vec<Arc<Stanza>> = Vec::new();
    if let Some(sm) = session.sm.lock().as_ref() {
        waiting.extend(sm.unacked().map(|(_, stanza, _)| Arc::clone(stanza)));
    }
    waiting.extend(session.mailbox.snapshot().into_iter().map(|item| item.stanza));
    let worth = waiting.iter().filter_map(|stanza| {
        let stanza = copied(stanza).unwrap_or_else(|| Stanza::clone(stanza));
        Some((urgency(&stanza)?, stanza))
    });
    // One notification wakes the client for all of them.
    if let Some((urgency, stanza)) = worth.max_by_key(|(urgency, _)| *urgency) {
        announce(router, &host, &owner, &facts, (urgency, &stanza), out, now).await;
    }
}

/// The message in a carbon of what somebody else wrote.
fn copied(stanza: &Stanza) -> Option<Stanza> {
    let carbon = stanza.child("received", ns::CARBONS)?.element().ok()?;
    read_forwarded(carbon.child("forwarded", ns::FORWARD)?)?.0.ok()
}

async fn announce(
    router: &Arc<Router>,
    host: &HostConfig,
    owner: &BareJid,
    facts: &Facts,
    (urgency, stanza): (Urgency, &Stanza),
    out: &Outbox,
    now: Now,
) {
    let sessions = router.sessions.of(owner.as_str());
    let targets = match away(&router.store, facts, &sessions).await {
        Ok(targets) if targets.is_empty() => return,
        Ok(targets) => targets,
        Err(error) => {
            tracing::warn!(%owner, %error, "a message was not announced");
            return;
        }
    };
    // This message is not counted yet. Nobody is woken for a number, so failing is no matter.
    let count = 1 + router.store.offline().count(facts.id).await.unwrap_or(0);
    let summary = summary(host, urgency, count, stanza);
    let troubles = trouble(&router.store);
    for target in targets {
        let key = key(owner, &target.service, &target.node);
        let waits = troubles.get(&key, now).is_some_and(|t: Trouble| now < t.until());
        if !waits {
            out.push(notification(owner, &target, &key, summary.clone()));
            METRICS.push_sent.inc();
        }
    }
}

/// The registrations whose own client is not connected.
async fn away(
    store: &Store,
    facts: &Facts,
    sessions: &SessionList,
) -> Result<Vec<PushTarget>, StoreError> {
    let connected = |s: &&Arc<Session>| !s.has(Flag::Parked) && !s.has(Flag::Ended);
    let present: Vec<_> =
        sessions.iter().filter(connected).map(|s| (s.facts.lock().device, &s.jid)).collect();
    let mut targets = store.push().list(facts.id).await?;
    targets.retain(|target| {
        !present.iter().any(|(device, jid)| {
            target.device.is_some() && target.device == *device
                || target.resource.is_some() && target.resource.as_deref() == jid.resource()
        })
    });
    Ok(targets)
}

fn summary(host: &HostConfig, urgency: Urgency, count: u32, stanza: &Stanza) -> Element {
    let form = Form::new(FormKind::Submit).form_type(ns::PUSH_SUMMARY);
    let mut form = form.field(Field::answer("message-count", [count.to_string()]));
    if urgency == Urgency::High {
        if host.push.with_sender
            && let Some(from) = &stanza.head.from
        {
            form = form.field(Field::answer("last-message-sender", [from.as_str()]));
        }
        let body = stanza.body().filter(|_| host.push.with_body);
        let mut text = body.unwrap_or_else(|| SOMETHING.to_owned());
        text.truncate(text.floor_char_boundary(EXCERPT_BYTES_MAX));
        form = form.field(Field::answer("last-message-body", [text]));
    }
    form.to_element()
}

/// §6: a publication to the node of the registration.
fn notification(owner: &BareJid, target: &PushTarget, key: &str, summary: Element) -> Stanza {
    let notification = Element::new("notification", ns::PUSH0).with(summary);
    let item = Element::new("item", ns::PUBSUB).with(notification);
    let node = Some(&target.node).filter(|node| !node.is_empty());
    let publish = Element::new("publish", ns::PUBSUB).attr_opt("node", node).with(item);
    let mut pubsub = Element::new("pubsub", ns::PUBSUB).with(publish);
    let options =
        target.options.as_deref().and_then(|xml| Element::parse(xml, ns::DATA_FORMS).ok());
    if let Some(options) = options {
        pubsub.push(Element::new("publish-options", ns::PUBSUB).with(options));
    }
    let (from, to) = (Some(owner.clone().into()), Some(target.service.clone()));
    Stanza::iq(Type::Set, &format!("{ID_PREFIX}{key}"), from, to, Some(pubsub))
}

/// Names a registration; the answer to a notification carries it back.
fn key(owner: &BareJid, service: &Jid, node: &str) -> String {
    let mut hash = Sha256::new();
    for part in [owner.as_str(), service.as_str(), node] {
        hash.update(part.as_bytes());
        hash.update([0]);
    }
    hash.finalize()[..12].iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Failures of one registration since it last worked.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
struct Trouble {
    failures: u32,
    /// Unix microseconds.
    until: i64,
}

impl Trouble {
    fn until(self) -> Now {
        Now(self.until)
    }

    /// After one more failure; `None` when it was one too many.
    fn worse(self, now: Now) -> Option<Trouble> {
        let failures = self.failures + 1;
        let wait = BACK_OFF.saturating_mul(1 << (failures - 1).min(16)).min(BACK_OFF_MAX);
        (failures < FAILURES_MAX).then(|| Trouble { failures, until: now.plus(wait).0 })
    }
}

fn trouble(store: &Store) -> HotMap<Trouble> {
    store.hot("push-troubles", TROUBLES_MAX)
}

/// Takes an IQ result or error that came for an account's bare JID. Answers to anything but a
/// notification are none of our business.
pub async fn answered(router: &Arc<Router>, stanza: &Stanza, now: Now) {
    let head = &stanza.head;
    let (Some(to), Some(from), Some(id)) = (&head.to, &head.from, head.id.as_deref()) else {
        return;
    };
    let Some(named) = id.strip_prefix(ID_PREFIX) else { return };
    let owner = to.bare();
    let outcome = match head.typ {
        Some(Type::Result) => Outcome::Worked,
        Some(Type::Error) => outcome(stanza),
        _ => return,
    };
    if let Err(error) = settle(&router.store, &owner, from, named, outcome, now).await {
        tracing::warn!(%owner, service = %from, %error, "the answer of a push service is forgotten");
    }
}

/// What the answer of a push service means for the registration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Worked,
    FailedForNow,
    Gone,
}

/// What lasts only for a while: `wait`, and what is said when a service is out of reach.
fn outcome(stanza: &Stanza) -> Outcome {
    use Condition::{
        InternalServerError, RemoteServerNotFound, RemoteServerTimeout, ResourceConstraint,
        ServiceUnavailable,
    };
    let Some(error) = stanza.error() else { return Outcome::FailedForNow };
    let passes = error.kind == ErrorType::Wait
        || matches!(
            error.condition,
            InternalServerError
                | RemoteServerNotFound
                | RemoteServerTimeout
                | ResourceConstraint
                | ServiceUnavailable
        );
    if passes { Outcome::FailedForNow } else { Outcome::Gone }
}

async fn settle(
    store: &Store,
    owner: &BareJid,
    service: &Jid,
    named: &str,
    outcome: Outcome,
    now: Now,
) -> Result<(), StoreError> {
    let troubles = trouble(store);
    if outcome == Outcome::Worked {
        troubles.take(named, now);
        return Ok(());
    }
    let Some(facts) = store.facts(owner).await? else { return Ok(()) };
    // Only the service itself can fail, and only its own registration.
    let targets = store.push().list(facts.id).await?;
    let Some(target) = targets
        .into_iter()
        .find(|t| t.service == *service && key(owner, service, &t.node) == named)
    else {
        return Ok(());
    };
    let known = troubles.get(named, now).unwrap_or_default();
    match known.worse(now).filter(|_| outcome == Outcome::FailedForNow) {
        Some(worse) => troubles.put(named, &worse, now, BACK_OFF_MAX * 4),
        None => {
            tracing::info!(%owner, %service, "push registration removed: the service refuses it");
            troubles.take(named, now);
            store.push().disable(facts.id, service, Some(&target.node)).await?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
