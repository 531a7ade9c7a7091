//! The life of a session apart from its connection: it begins when a resource is bound, may be
//! parked when the connection is lost (XEP-0198 §5), may come back from disk after a crash, and
//! ends once, here, with everything RFC 6121 owes to others.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use sha2::{Digest, Sha256};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::Streams;
use crate::delivery::{groups, inbound, presence, route};
use crate::features::{Outbox, carbons, push, stanza_id};
use crate::jid::Jid;
use crate::router::sessions::Flag;
use crate::router::sm::{Left, Sm};
use crate::router::{Control, Item, Router, Session};
use crate::stanza::Stanza;
use crate::store::{
    AccountId, Busy, CopyForm, MessageFlags, SmOpen, SmParked, SmRestored, StoreError,
};
use crate::time::Now;

/// How long a resumption waits for the connection it replaces to let go.
const HAND_OVER_MAX: Duration = Duration::from_secs(5);

/// SHA-256 of a resumption token: all that we keep of it.
pub fn token_hash(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

/// `<enable/>`: numbering starts here. Hands back what already waited, which goes out unnumbered.
pub fn enable(session: &Session, sm: Sm) -> Vec<Item> {
    let mut held = session.sm.lock();
    let before = session.mailbox.renumber(0);
    *held = Some(Box::new(sm));
    before.into()
}

/// Makes the session resumable by `token`, in memory and on disk. The token may be told to the
/// client when this returns.
pub async fn make_resumable(
    router: &Arc<Router>,
    session: &Arc<Session>,
    token: &str,
) -> Result<(), StoreError> {
    let hash = token_hash(token);
    let wait = loop {
        let open = SmOpen {
            sid: session.id,
            account: session.account,
            resource: session.jid.resource().unwrap_or_default().to_owned(),
            token_hash: hash,
            created: Now::read(),
            device: session.facts.lock().device,
            facts: memo(session),
        };
        let (done, wait) = oneshot::channel();
        let done = Box::new(move |result| drop(done.send(result)));
        match router.store.sm_open(open, Some(done)) {
            Ok(()) => break wait,
            Err(Busy) => router.store.room().await,
        }
    };
    // From here on deliveries are noted, behind the opening; what came before is noted now.
    if let Some(sm) = session.sm.lock().as_mut() {
        sm.resumable = true;
        sm.token_hash = Some(hash);
    }
    note_queue(router, session, 0);
    if let Err(error) = wait.await.unwrap_or(Err(StoreError::Closed)) {
        if let Some(sm) = session.sm.lock().as_mut() {
            sm.resumable = false;
            sm.token_hash = None;
        }
        return Err(error);
    }
    router.sessions.make_resumable(hash, session);
    Ok(())
}

/// Ends a session: takes it off the table, tells who must know, and finds another way for what its
/// client never acknowledged. Harmless when called twice.
pub async fn end(router: &Arc<Router>, session: &Arc<Session>) {
    session.set(Flag::Ended, true);
    router.sessions.remove(session);
    let now = Now::read();
    let out = Outbox::default();
    if !session.has(Flag::Parked) {
        push::lost(router, session, &out, now).await;
    }
    let sm = session.sm.lock().take();
    presence::session_ended(router, session, &out, now).await;
    route::drain(router, out, now).await;

    session.set_inactive(false);
    let waiting = session.mailbox.close();
    let mut items = Vec::new();
    let mut closing = false;
    if let Some(mut sm) = sm {
        items.extend(recall(router, session, sm.take_left().into_iter().map(|(_, l)| l)).await);
        items.extend(sm.take_unacked());
        if let Some(token) = sm.token_hash {
            router.sessions.forget_token(&token);
            closing = true;
        }
    }
    items.extend(waiting);
    let out = Outbox::default();
    inbound::redeliver(router, session, items, &out, now).await;
    route::drain(router, out, now).await;
    // Last, so that a crash before this line finds the queue again.
    if closing {
        while router.store.sm_close(session.id).is_err() {
            router.store.room().await;
        }
    }
    if router.host(session.jid.domain()).is_some_and(|host| host.is_guest()) {
        forget_guest(router, session, now).await;
    }
}

/// A guest's account lasts as long as its session (XEP-0175).
async fn forget_guest(router: &Arc<Router>, session: &Session, now: Now) {
    let guest = session.jid.bare();
    if let Err(error) = groups::remove_account(router, &guest, now).await {
        // The next start removes it.
        tracing::warn!(%guest, %error, "a guest's account stays");
    }
}

/// Keeps a session whose connection is gone until it is resumed, ended, or its time is up.
///
/// Returns when somebody else has the session, or nobody has it any more.
pub async fn keep_parked(router: &Arc<Router>, session: &Arc<Session>, until: Instant) {
    session.set(Flag::Parked, true);
    let out = Outbox::default();
    push::lost(router, session, &out, Now::read()).await;
    route::drain(router, out, Now::read()).await;
    loop {
        tokio::select! {
            () = tokio::time::sleep_until(until) => break,
            () = session.mailbox.ready() => {}
        }
        for control in session.mailbox.take_controls() {
            match control {
                Control::Superseded(taken) => {
                    // Whoever asked may have given up meanwhile; then we keep the session.
                    if taken.send(()).is_ok() {
                        return;
                    }
                }
                Control::Close(_) => return end(router, session).await,
                // The server itself writes down what is left when nobody sends any more.
                Control::Stop => return,
                Control::Ack(_) | Control::AckFailed | Control::Tick => {}
            }
        }
    }
    end(router, session).await;
}

/// Gives a session without connection a task that keeps it; a stop of the server waits for it.
pub fn spawn_keeper(streams: &Arc<Streams>, session: Arc<Session>, until: Instant) {
    let kept = streams.attend();
    tokio::spawn(async move { keep_parked(&kept.streams().router, &session, until).await });
}

/// How long the session may wait for its client, if it may be resumed at all.
pub fn resume_window(session: &Session) -> Option<Duration> {
    let sm = session.sm.lock();
    let sm = sm.as_ref().filter(|sm| sm.resumable)?;
    Some(Duration::from_secs(u64::from(sm.resume_secs)))
}

/// Writes down what of the session's queue no archive holds, so that it outlives the process.
pub async fn save(router: &Arc<Router>, session: &Arc<Session>) {
    let parked = {
        let sm = session.sm.lock();
        let Some(sm) = sm.as_ref().filter(|sm| sm.resumable) else { return };
        let mut stanzas = Vec::new();
        let mut sent = sm.sent();
        let mut keep = |number: u32, stanza: &Stanza, stored: bool| {
            if !stored {
                let mut xml = Vec::with_capacity(stanza.wire_len() + 32);
                stanza.write_standalone(&mut xml);
                stanzas.push((number, Bytes::from(xml)));
            }
        };
        for (number, stanza, stored) in sm.unacked() {
            keep(number, stanza, stored.is_some());
        }
        for item in session.mailbox.snapshot() {
            sent = sent.wrapping_add(1);
            keep(sent, &item.stanza, item.stored.is_some());
        }
        SmParked { stanzas, sent }
    };
    let now = Now::read();
    // A full queue here means the disk is behind; what the archive holds is safe already.
    if router.store.sm_facts(session.id, memo(session)).is_err()
        || router.store.sm_park(session.id, parked, now, None).is_err()
    {
        tracing::warn!(jid = %session.jid, "a parked session keeps only its archived messages");
    }
}

/// Why a session could not be resumed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotResumed {
    /// No such session: never was, timed out, or belongs to somebody else.
    Unknown,
    /// Its connection did not let go in time.
    Busy,
    /// The client claims to have more than it was sent.
    TooHigh,
}

/// A session that changed hands. What must be sent again lies in its mailbox.
pub struct Resumed {
    pub session: Arc<Session>,
    /// For `<resumed h='…'/>`.
    pub handled: u32,
}

/// Takes over the session with this token for `account`. On success the caller's task drains its
/// mailbox, where everything lies that the client has not had.
pub async fn resume(
    router: &Arc<Router>,
    token: &str,
    h: u32,
    account: AccountId,
) -> Result<Resumed, NotResumed> {
    let session = router.sessions.resumable(&token_hash(token)).ok_or(NotResumed::Unknown)?;
    if session.account != account || session.has(Flag::Ended) {
        return Err(NotResumed::Unknown);
    }
    let (taken, wait) = oneshot::channel();
    session.mailbox.control(Control::Superseded(taken));
    match tokio::time::timeout(HAND_OVER_MAX, wait).await {
        Ok(Ok(())) => {}
        Ok(Err(_)) => return Err(NotResumed::Unknown),
        Err(_) => return Err(NotResumed::Busy),
    }
    let left = {
        let mut sm = session.sm.lock();
        let Some(sm) = sm.as_mut() else { return Err(NotResumed::Unknown) };
        if sm.is_restored() { Some(sm.resume_left(h)) } else { None }
    };
    let again = match left {
        Some(left) => recall(router, &session, left).await,
        None => {
            let again = session.sm.lock().as_mut().map(|sm| sm.resume(h));
            match again {
                Some(Ok(again)) => again,
                Some(Err(_)) | None => {
                    let router = Arc::clone(router);
                    tokio::spawn(async move { end(&router, &session).await });
                    return Err(NotResumed::TooHigh);
                }
            }
        }
    };
    session.set(Flag::Parked, false);
    session.mailbox.requeue(h, again);
    // The h for the client counts what is on disk, as in any `<a/>`.
    if router.store.settled().await.is_err() {
        let router = Arc::clone(router);
        tokio::spawn(async move { end(&router, &session).await });
        return Err(NotResumed::Unknown);
    }
    let handled = session.sm.lock().as_ref().map_or(0, |sm| sm.handled());
    note_queue(router, &session, h);
    Ok(Resumed { session, handled })
}

/// Tells the store under which numbers the queue goes out from here on.
fn note_queue(router: &Arc<Router>, session: &Session, h: u32) {
    let numbered = session.mailbox.snapshot().into_iter().zip(1u32..);
    let out: Vec<_> = numbered
        .filter_map(|(item, at)| item.stored.map(|id| (h.wrapping_add(at), id, CopyForm::Plain)))
        .collect();
    if out.is_empty() && h == 0 {
        return;
    }
    if router.store.sm_renumber(session.id, h, out).is_err() {
        tracing::warn!(jid = %session.jid, "a crash now may repeat messages to this session");
    }
}

/// Brings back the sessions that were resumable when the process last ended, each with a task that
/// keeps it. Those whose time is up end properly: their queues go to the offline store.
pub async fn restore(streams: &Arc<Streams>) -> Result<usize, StoreError> {
    let router = &streams.router;
    let all = router.store.sm_restore_all().await?;
    let now = Now::read();
    let mut count = 0;
    for restored in all {
        let Some(jid) = address(router, &restored).await? else {
            // The account is gone; so is its session.
            while router.store.sm_close(restored.open.sid).is_err() {
                router.store.room().await;
            }
            continue;
        };
        let (session, age) = revive(router, jid, restored, now);
        if let Some(token) = session.sm.lock().as_ref().and_then(|sm| sm.token_hash) {
            router.sessions.make_resumable(token, &session);
        }
        router.sessions.insert(Arc::clone(&session));
        let window = resume_window(&session).unwrap_or_default();
        let until = Instant::now() + window.saturating_sub(age);
        spawn_keeper(streams, session, until);
        count += 1;
    }
    Ok(count)
}

async fn address(router: &Arc<Router>, restored: &SmRestored) -> Result<Option<Jid>, StoreError> {
    let Some(bare) = router.store.accounts().address(restored.open.account).await? else {
        return Ok(None);
    };
    Ok(bare.with_resource(&restored.open.resource).ok())
}

/// Rebuilds a session as it was; the age is how long it has been without a connection.
fn revive(
    router: &Arc<Router>,
    jid: Jid,
    restored: SmRestored,
    now: Now,
) -> (Arc<Session>, Duration) {
    let config = router.config.load();
    let SmRestored { open, h_in, acked, out, parked, detached } = restored;
    let session = Session::new(open.sid, jid, open.account, config.limits.mailbox_bytes_max);
    let resume_secs = remember(&session, &open.facts);
    {
        // When it began is not written down; it was here when its connection or the process ended.
        let seen = detached.unwrap_or(now).secs();
        session.heard.store(seen, Ordering::Relaxed);
        let mut facts = session.facts.lock();
        facts.device = open.device;
        facts.since = seen;
    }

    // Messages that were stored but not yet numbered follow the last number known.
    let mut last = out.iter().filter_map(|(n, ..)| *n).fold(parked.sent, later);
    last = later(last, acked);
    let mut left: Vec<(u32, Left)> =
        parked.stanzas.into_iter().map(|(n, xml)| (n, Left::Whole(xml))).collect();
    for (number, id, form) in out {
        let number = number.unwrap_or_else(|| {
            last = last.wrapping_add(1);
            last
        });
        left.push((number, Left::Stored(id, form)));
    }
    left.sort_by_key(|(n, _)| n.wrapping_sub(acked));
    let mut sm = Sm::restored(resume_secs, h_in, last, left);
    sm.token_hash = Some(open.token_hash);
    *session.sm.lock() = Some(Box::new(sm));
    session.mailbox.renumber(last);
    (Arc::new(session), detached.map_or(Duration::ZERO, |at| now.since(at)))
}

/// The later of two numbers that wrap.
fn later(a: u32, b: u32) -> u32 {
    if b.wrapping_sub(a) < u32::MAX / 2 { b } else { a }
}

/// Fetches what the last process left, in the dress it was to go out in. What retention or an
/// erased account took meanwhile is not there any more.
async fn recall(
    router: &Arc<Router>,
    session: &Session,
    left: impl IntoIterator<Item = Left>,
) -> Vec<Item> {
    let owner = session.jid.bare();
    let mut items = Vec::new();
    for left in left {
        let item = match left {
            Left::Whole(xml) => Stanza::parse(&xml).ok().map(|stanza| (stanza, None, false)),
            Left::Stored(id, form) => {
                let found = router.store.archive().fetch(vec![id]).await.unwrap_or_default();
                let found = found.first();
                let stanza = found.and_then(|row| Stanza::parse(&row.stanza).ok());
                let flags = found.map(|row| row.flags).unwrap_or_default();
                stanza.map(|stanza| {
                    let is_owner = |jid: &Option<Jid>| {
                        jid.as_ref().is_some_and(|jid| jid.bare_str() == owner.as_str())
                    };
                    let archived = flags.has(MessageFlags::ARCHIVED_TO)
                        && is_owner(&stanza.head.to)
                        || flags.has(MessageFlags::ARCHIVED_FROM) && is_owner(&stanza.head.from);
                    let offline = !archived && flags.has(MessageFlags::OFFLINE);
                    let stanza = match archived {
                        true => stanza_id::add(&stanza, &owner, id),
                        false => stanza,
                    };
                    match form {
                        CopyForm::Plain => (stanza, Some(id), offline),
                        CopyForm::CarbonSent => {
                            (carbons::sent(&stanza, &owner).to(&session.jid), None, false)
                        }
                        CopyForm::CarbonReceived => {
                            (carbons::received(&stanza, &owner).to(&session.jid), None, false)
                        }
                    }
                })
            }
        };
        if let Some((stanza, stored, offline)) = item {
            items.push(Item { stanza: Arc::new(stanza), stored, offline });
        }
    }
    items
}

/// What of a session besides its queue must outlive the process: one byte of flags, how many
/// seconds it waits for its client (four bytes, the lowest first), the presence it last broadcast.
pub fn memo(session: &Session) -> Bytes {
    let mut bytes = vec![KEPT.iter().filter(|f| session.has(**f)).fold(0, |b, f| b | *f as u8)];
    let secs = session.sm.lock().as_ref().map_or(0, |sm| sm.resume_secs);
    bytes.extend_from_slice(&secs.to_le_bytes());
    if let Some(presence) = session.presence() {
        presence.write_standalone(&mut bytes);
    }
    bytes.into()
}

const KEPT: [Flag; 3] = [Flag::Carbons, Flag::Interested, Flag::BlockListInterested];

/// Reads a [`memo`]; tells how many seconds the session waits.
fn remember(session: &Session, memo: &[u8]) -> u32 {
    let Some((bits, rest)) = memo.split_first() else { return 0 };
    let Some((secs, presence)) = rest.split_first_chunk() else { return 0 };
    for flag in KEPT {
        session.set(flag, bits & flag as u8 != 0);
    }
    if let Ok(stanza) = Stanza::parse(presence) {
        let priority = stanza.priority();
        session.set_presence(Some((Arc::new(stanza), priority)));
    }
    u32::from_le_bytes(*secs)
}
