//! XEP-0160: Best Practices for Handling Offline Messages (1.0.1), stamped by XEP-0203: Delayed
//! Delivery (2.0).
//!
//! A message that finds nobody waits as a mark on its stored row, and goes to the first session
//! that says it is there. The mark goes when that client has the message: acknowledged, or written
//! where stream management is off.
//!
//! Clients that keep up by their archive get these messages too, as with the peers: a message
//! that comes twice carries the same stanza-id. But a session that has read its archive *before*
//! its first presence has them already (XEP-0313 §6.1.1), and one that was bound by XEP-0386 will
//! read it: these get only what no archive holds.

use std::sync::Arc;
use std::time::Duration;

use crate::config::{Allowance, HostConfig};
use crate::jid::{BareJid, Jid};
use crate::router::sessions::Flag;
use crate::router::{Item, Router, Session};
use crate::stanza::content::Content;
use crate::stanza::delay::Delay;
use crate::stanza::{Kind, Stanza, Type};
use crate::store::archive::Archived;
use crate::store::offline::OfflineLimits;
use crate::store::{Facts, MessageFlags, MessageId, StoreError};
use crate::xml::ns;

use super::{Feature, Target, on_if, stanza_id, xep};

pub const FEATURE: Feature = Feature {
    xeps: &[xep(160, "1.0.1"), xep(203, "2.0")],
    disco: &[on_if(Target::Host, ns::MSGOFFLINE, keeps_messages)],
    ..Feature::NONE
};

/// Bytes that may wait for one account, however few messages hold them.
const BYTES_MAX: u64 = 16 << 20;
/// Messages fetched at a time.
const BATCH: usize = 32;
/// How often a delivery that filled the mailbox looks whether there is room again.
const PAUSE: Duration = Duration::from_millis(100);

fn keeps_messages(host: &HostConfig) -> bool {
    !host.is_guest() && host.offline.messages_max != Allowance::Fixed(0)
}

/// What becomes of a message that reaches no session (RFC 6121 §8.5.2.2, XEP-0160 §3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It may wait, if there is room.
    Keep,
    /// Nobody will miss it: not kept, and not bounced either.
    Drop,
    /// Not kept, and the sender should know.
    Refuse,
}

/// By what the message is. Who is typing is of no use later; a text with `<no-store/>` (XEP-0334)
/// was for now or never.
pub fn verdict(stanza: &Stanza) -> Verdict {
    let content = Content::of(stanza);
    match stanza.head.typ {
        _ if stanza.head.kind != Kind::Message => Verdict::Drop,
        Some(Type::Headline | Type::Error) => Verdict::Drop,
        Some(Type::Groupchat) => Verdict::Refuse,
        _ if content.hints.no_store && content.matters() => Verdict::Refuse,
        _ if content.hints.no_store => Verdict::Drop,
        _ if content.matters() || content.hints.store => Verdict::Keep,
        _ => Verdict::Drop,
    }
}

/// Decides on a message that reached no session of `owner`, and reserves its place: after
/// [`Verdict::Keep`] it must be appended with [`MessageFlags::OFFLINE`]. A full store refuses.
pub async fn admit(
    router: &Router,
    host: &HostConfig,
    owner: &BareJid,
    facts: &Facts,
    stanza: &Stanza,
) -> Verdict {
    let verdict = verdict(stanza);
    if verdict != Verdict::Keep {
        return verdict;
    }
    let messages_max = router.amount(&host.offline.messages_max, owner);
    let messages_max = u32::try_from(messages_max).unwrap_or(u32::MAX);
    let limits = OfflineLimits { messages_max, bytes_max: BYTES_MAX };
    match router.store.offline().admit(facts.id, stanza.wire_len(), limits).await {
        Ok(true) if keeps_messages(host) => Verdict::Keep,
        Ok(_) => Verdict::Refuse,
        Err(error) => {
            tracing::error!(%owner, %error, "a message could not be kept for later");
            Verdict::Refuse
        }
    }
}

/// Sends what waits for the account to a session that has just become available with a priority
/// that is not negative.
///
/// Half of its mailbox is filled at once. The rest, if that was not all, follows as the client
/// takes it; what is left when the session ends goes on waiting.
pub async fn flood(router: &Arc<Router>, session: &Arc<Session>) -> Result<(), StoreError> {
    let delivery = Delivery { router: Arc::clone(router), session: Arc::clone(session) };
    if delivery.step().await? == Progress::Full {
        tokio::spawn(async move { delivery.run().await });
    }
    Ok(())
}

/// To be called after a message was queued for the store because no session was there: one that
/// came in between has looked for what waits before this was there to be seen.
pub async fn overtaken(router: &Arc<Router>, owner: &BareJid) -> Result<(), StoreError> {
    for session in router.sessions.of(owner.as_str()) {
        if session.is_available() && session.priority() >= 0 {
            // A mailbox too full for it leaves it to the next session, as ever.
            Delivery { router: Arc::clone(router), session }.step().await?;
        }
    }
    Ok(())
}

/// A session on its way through the account's offline messages.
struct Delivery {
    router: Arc<Router>,
    session: Arc<Session>,
}

#[derive(PartialEq, Eq)]
enum Progress {
    Done,
    /// The mailbox holds enough for now.
    Full,
}

impl Delivery {
    async fn run(self) {
        loop {
            tokio::time::sleep(PAUSE).await;
            match self.step().await {
                Ok(Progress::Full) => {}
                Ok(Progress::Done) => return,
                Err(error) => {
                    tracing::warn!(jid = %self.session.jid, %error, "offline messages go on waiting");
                    return;
                }
            }
        }
    }

    /// Fills the mailbox up to its half.
    async fn step(&self) -> Result<Progress, StoreError> {
        let bytes_max = self.router.config.load().limits.mailbox_bytes_max / 2;
        let store = Arc::clone(&self.router.store);
        // What was queued before the session came is to be seen; for what is queued from now on
        // see [`overtaken`].
        store.settled().await?;
        let mut last = self.session.offered.lock().await;
        while !self.session.has(Flag::Ended) {
            if self.session.mailbox.bytes() >= bytes_max {
                return Ok(Progress::Full);
            }
            let rows = store.offline().fetch(self.session.account, *last, BATCH).await?;
            if rows.is_empty() {
                break;
            }
            let mut settled = Vec::new();
            let mut full = false;
            for row in rows {
                if self.session.mailbox.bytes() >= bytes_max {
                    full = true;
                    break;
                }
                match self.dress(&row) {
                    None => settled.push(row.id),
                    Some(stanza) => {
                        let item =
                            Item { stanza: Arc::new(stanza), stored: Some(row.id), offline: true };
                        if self.session.deliver(item).is_err() {
                            full = true;
                            break;
                        }
                    }
                }
                *last = Some(row.id);
            }
            if !settled.is_empty() {
                store.offline().remove(self.session.account, settled).await?;
            }
            if full {
                return Ok(Progress::Full);
            }
        }
        Ok(Progress::Done)
    }

    /// The message as the client gets it; `None` if it need not.
    fn dress(&self, row: &Archived) -> Option<Stanza> {
        let archived = row.flags.has(MessageFlags::ARCHIVED_TO);
        if row.flags.has(MessageFlags::TOMBSTONE)
            || archived && self.session.has(Flag::ReadsArchive)
        {
            return None;
        }
        let stanza = Stanza::parse(&row.stanza).ok()?;
        let stanza = if archived {
            stanza_id::add(&stanza, &self.session.jid.bare(), row.id)
        } else {
            stanza
        };
        Some(delayed(&stanza, self.session.jid.domain(), row.id))
    }
}

/// XEP-0203 §3, as in the example of XEP-0160.
fn delayed(stanza: &Stanza, host: &str, id: MessageId) -> Stanza {
    let delay = Delay {
        stamp: id.time(),
        from: Jid::parse(host).ok(),
        reason: Some("Offline Storage".to_owned()),
    };
    stanza.with_element(&delay.to_element())
}

#[cfg(test)]
mod tests;
