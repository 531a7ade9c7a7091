//! The parts of a user: from their XML to what the store keeps, and why that cannot be.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;

use super::read::Kind;
use crate::auth::hash::Hash;
use crate::jid::{BareJid, Jid};
use crate::stanza::delay::Delay;
use crate::store::accounts::ScramRow;
use crate::store::rosters::{RosterItem, Subscription};
use crate::store::{MessageFlags, MessageId};
use crate::time::Now;
use crate::xml::Element;
use crate::xml::ns;

/// Rounds of PBKDF2 that are believed; more would let one sign-in stop the server.
const ITERATIONS_MAX: u32 = 1_000_000;

/// What a part is.
pub(super) enum Data {
    Keys(ScramRow),
    /// Keys of a mechanism that this server does not have.
    OtherKeys,
    Contacts(Vec<RosterItem>),
    /// A subscription request that nobody has answered.
    Request(BareJid, Bytes),
    Private(Vec<Element>),
    VCard(Element),
    /// Blocked addresses, and how many rules of privacy lists say what a block list cannot.
    Blocked(Vec<Jid>, u64),
    Message(Box<Message>),
    /// Nodes that are not stored here.
    Pep(u64),
    /// Its namespace.
    Unknown(String),
}

/// A message of an archive, or one that waits.
pub(super) struct Message {
    pub id: MessageId,
    pub from: BareJid,
    pub to: BareJid,
    pub flags: MessageFlags,
    pub stanza: Bytes,
    pub body: Option<String>,
}

/// Reads a part of what belongs to `owner`.
///
/// # Errors
/// What is wrong with it.
pub(super) fn parse(
    kind: Kind,
    element: Element,
    owner: &BareJid,
    now: Now,
) -> Result<Data, String> {
    match (kind, element.name(), element.ns()) {
        (Kind::Archived, "result", ns::MAM2) => archived(&element, owner, now),
        (Kind::Archived, ..) => Err(format!("expected <result>, found <{}>", element.name())),
        (Kind::Offline, "message", _) => waiting(element, owner, now),
        (Kind::Offline, ..) => Err(format!("expected <message>, found <{}>", element.name())),
        (Kind::Own, "scram-credentials", ns::PIE_SCRAM) => credentials(&element),
        (Kind::Own, "query", ns::ROSTER) => contacts(&element, owner),
        (Kind::Own, "query", ns::PRIVATE) => Ok(Data::Private(element.into_children().collect())),
        (Kind::Own, "query", ns::PRIVACY) => privacy(&element),
        (Kind::Own, "blocklist", ns::BLOCKING) => {
            let jids = element.children().filter_map(|item| item.get("jid"));
            let jids = jids.map(|jid| address("blocked", jid)).collect::<Result<_, _>>()?;
            Ok(Data::Blocked(jids, 0))
        }
        (Kind::Own, "vCard", ns::VCARD) => Ok(Data::VCard(element)),
        (Kind::Own, "presence", ns::CLIENT | ns::PIE) => request(element, owner),
        (Kind::Own, "pubsub", ns) if ns.starts_with("http://jabber.org/protocol/pubsub") => {
            let nodes = element.children().filter(|child| child.name() == "items").count();
            Ok(Data::Pep(nodes as u64))
        }
        (Kind::Own, _, ns) => Ok(Data::Unknown(ns.to_owned())),
    }
}

fn address(what: &str, text: &str) -> Result<Jid, String> {
    Jid::parse(text).map_err(|error| format!("{what}: {text:?} is no address: {error}"))
}

fn credentials(element: &Element) -> Result<Data, String> {
    let mechanism = element.get("mechanism").ok_or("the credentials have no 'mechanism'")?;
    let hash = mechanism.strip_prefix("SCRAM-").and_then(Hash::from_name);
    let Some(hash) = hash else { return Ok(Data::OtherKeys) };
    let text = |name: &str| {
        element
            .child_text(name, ns::PIE_SCRAM)
            .map(|text| text.trim().to_owned())
            .ok_or_else(|| format!("the credentials have no <{name}>"))
    };
    let binary = |name: &str| {
        STANDARD.decode(text(name)?).map_err(|error| format!("<{name}> is no Base64: {error}"))
    };
    let mut row = ScramRow {
        hash: hash.name().to_owned(),
        iterations: rounds(&text("iter-count")?)?,
        salt: binary("salt")?,
        stored_key: binary("stored-key")?,
        server_key: binary("server-key")?,
    };
    // ejabberd's SQL storage keeps Base64 and exports that in Base64 once more (seen in 23.01).
    if row.stored_key.len() == hash.output_len().div_ceil(3) * 4 {
        for field in [&mut row.salt, &mut row.stored_key, &mut row.server_key] {
            if let Ok(once) = STANDARD.decode(&*field) {
                *field = once;
            }
        }
    }
    for (name, key) in [("stored-key", &row.stored_key), ("server-key", &row.server_key)] {
        let (has, wants) = (key.len(), hash.output_len());
        if has != wants {
            return Err(format!("<{name}> has {has} bytes, {mechanism} has {wants}"));
        }
    }
    if row.salt.is_empty() || row.salt.len() > 1_024 {
        return Err("<salt> has 1 to 1024 bytes".to_owned());
    }
    Ok(Data::Keys(row))
}

fn rounds(text: &str) -> Result<u32, String> {
    match text.parse() {
        Ok(count) if (1..=ITERATIONS_MAX).contains(&count) => Ok(count),
        _ => Err(format!("<iter-count>: {text:?} is no number from 1 to {ITERATIONS_MAX}")),
    }
}

/// SCRAM keys as ejabberd before 21.12 wrote them in the place of the password: stored key, server
/// key, salt and rounds behind `scram:`, with commas between them.
pub(super) fn old_keys(password: &str) -> Option<Result<ScramRow, String>> {
    let fields: Vec<&str> = password.strip_prefix("scram:")?.split(',').collect();
    let (hash, fields) = match fields[..] {
        ["sha256", ref rest @ ..] => (Hash::Sha256, rest),
        ["sha512", ref rest @ ..] => (Hash::Sha512, rest),
        ref rest => (Hash::Sha1, rest),
    };
    let [stored, server, salt, iterations] = fields else {
        return Some(Err("the password begins with scram: and has not four fields".to_owned()));
    };
    let element = Element::new("scram-credentials", ns::PIE_SCRAM)
        .attr("mechanism", format!("SCRAM-{}", hash.name()))
        .with(Element::new("stored-key", ns::PIE_SCRAM).with_text(stored))
        .with(Element::new("server-key", ns::PIE_SCRAM).with_text(server))
        .with(Element::new("salt", ns::PIE_SCRAM).with_text(salt))
        .with(Element::new("iter-count", ns::PIE_SCRAM).with_text(iterations));
    match credentials(&element) {
        Ok(Data::Keys(row)) => Some(Ok(row)),
        Ok(_) => Some(Err("the password begins with scram: and holds no keys".to_owned())),
        Err(what) => Some(Err(what)),
    }
}

fn contacts(query: &Element, owner: &BareJid) -> Result<Data, String> {
    let mut items = Vec::new();
    for item in query.children().filter(|child| child.is("item", ns::ROSTER)) {
        let text = item.get("jid").ok_or("a contact has no 'jid'")?;
        let jid = address("contact", text)?.bare();
        if jid == *owner {
            continue;
        }
        let subscription = match item.get("subscription") {
            None | Some("none") => Subscription::None,
            Some("to") => Subscription::To,
            Some("from") => Subscription::From,
            Some("both") => Subscription::Both,
            Some("remove") => continue,
            Some(other) => return Err(format!("contact {jid}: {other:?} is no subscription")),
        };
        let mut groups: Vec<String> = Vec::new();
        for group in item.children().filter(|child| child.is("group", ns::ROSTER)) {
            let group = group.text();
            if !group.is_empty() && !groups.contains(&group) {
                groups.push(group);
            }
        }
        items.push(RosterItem {
            name: item.get("name").filter(|name| !name.is_empty()).map(str::to_owned),
            groups,
            subscription,
            ask: item.get("ask") == Some("subscribe") && !subscription.to(),
            approved: item.get("approved") == Some("true") && !subscription.from(),
            jid,
        });
    }
    Ok(Data::Contacts(items))
}

fn request(mut presence: Element, owner: &BareJid) -> Result<Data, String> {
    if presence.get("type") != Some("subscribe") {
        return Err("a <presence> that is no subscription request".to_owned());
    }
    let from = presence.get("from").ok_or("a subscription request has no 'from'")?;
    let from = address("subscription request", from)?.bare();
    presence.rename_ns(ns::PIE, &Arc::from(ns::CLIENT));
    presence.set("from", from.as_str());
    presence.set("to", owner.as_str());
    Ok(Data::Request(from, presence.to_xml("").into()))
}

/// A rule that denies an address everything says what a block list says.
fn privacy(query: &Element) -> Result<Data, String> {
    let named = query.child("default", ns::PRIVACY).or_else(|| query.child("active", ns::PRIVACY));
    let named = named.and_then(|child| child.get("name"));
    let (mut blocked, mut others) = (Vec::new(), 0);
    for list in query.children().filter(|child| child.is("list", ns::PRIVACY)) {
        let in_force = list.get("name") == named && named.is_some();
        for rule in list.children() {
            let everything = rule.children().next().is_none() || rule.children().count() == 4;
            let denied = rule.get("type") == Some("jid") && rule.get("action") == Some("deny");
            match rule.get("value") {
                Some(jid) if in_force && denied && everything => {
                    blocked.push(address("privacy list", jid)?);
                }
                // "Everybody else may" is what happens anyway.
                _ if rule.get("type").is_none() && rule.get("action") == Some("allow") => {}
                _ => others += 1,
            }
        }
    }
    Ok(Data::Blocked(blocked, others))
}

fn waiting(mut message: Element, owner: &BareJid, now: Now) -> Result<Data, String> {
    let host = owner.domain();
    let mine = |delay: &Delay| delay.from.as_ref().is_none_or(|from| from.as_str() == host);
    let stamp = message.children().filter_map(Delay::from_element).filter(mine).last();
    let at = stamp.map_or(now, |delay| delay.stamp);
    let id = own_id(&message, owner);
    // Both are put there anew when the message is delivered.
    message.retain(|child| {
        let own_delay = Delay::from_element(child).is_some_and(|delay| mine(&delay));
        let own_id = child.is("stanza-id", ns::SID) && child.get("by") == Some(owner.as_str());
        !own_delay && !own_id
    });
    message_of(message, owner, id, at, now, MessageFlags::OFFLINE)
}

/// The id that this server gave the message, if it did.
fn own_id(message: &Element, owner: &BareJid) -> Option<MessageId> {
    let ids = message.children().filter(|child| child.is("stanza-id", ns::SID));
    let mut own = ids.filter(|child| child.get("by") == Some(owner.as_str()));
    own.next().and_then(|child| MessageId::parse(child.get("id")?))
}

fn archived(result: &Element, owner: &BareJid, now: Now) -> Result<Data, String> {
    let forwarded = result.child("forwarded", ns::FORWARD).ok_or("a result without <forwarded>")?;
    let delay = forwarded.children().find_map(Delay::from_element);
    let at = delay.ok_or("a result without the time of its message")?.stamp;
    let message = forwarded.children().find(|child| child.name() == "message");
    let message = message.ok_or("a result without its message")?.clone();
    let id = result.get("id").and_then(MessageId::parse);
    message_of(message, owner, id, at, now, MessageFlags::default())
}

fn message_of(
    mut message: Element,
    owner: &BareJid,
    id: Option<MessageId>,
    at: Now,
    now: Now,
    flags: MessageFlags,
) -> Result<Data, String> {
    for foreign in [ns::PIE, ns::SERVER] {
        message.rename_ns(foreign, &Arc::from(ns::CLIENT));
    }
    if message.ns() != ns::CLIENT {
        return Err(format!("a message of the namespace {:?}", message.ns()));
    }
    let bare = |name: &str, text: Option<&str>| match text {
        Some(text) => address(&format!("'{name}' of a message"), text).map(|jid| jid.bare()),
        None => Ok(owner.clone()),
    };
    let (from, to) = (bare("from", message.get("from"))?, bare("to", message.get("to"))?);
    if message.get("from").is_none() {
        message.set("from", owner.as_str());
    }
    if message.get("to").is_none() {
        message.set("to", owner.as_str());
    }
    let waits = flags.has(MessageFlags::OFFLINE);
    let sent = from == *owner && !waits;
    // What came for the owner by way of a room or a list is still the owner's.
    let to = if sent { to } else { owner.clone() };
    let mut flags = flags;
    if !waits {
        flags |= if sent { MessageFlags::ARCHIVED_FROM } else { MessageFlags::ARCHIVED_TO };
        if sent && to == from {
            flags |= MessageFlags::ARCHIVED_TO;
        }
    }
    if message.get("type") == Some("groupchat") {
        flags |= MessageFlags::GROUPCHAT;
    }
    let body = message.child_text("body", ns::CLIENT);
    let stanza: Bytes = message.to_xml("").into();
    // Nothing is younger than what is written now.
    let at = at.min(now);
    let id = id.filter(|id| id.time().millis() == at.millis()).unwrap_or_else(|| {
        // The same whenever the message comes again.
        let digest = Hash::Sha256.digest(&[owner.as_str().as_bytes(), b" ", &stanza[..]].concat());
        let bytes = digest.expose().iter().take(8);
        MessageId::made_of(at, bytes.fold(0, |number, byte| number << 8 | u64::from(*byte)))
    });
    Ok(Data::Message(Box::new(Message { id, from, to, flags, stanza, body })))
}
