//! XEP-0313: Message Archive Management (1.1.3), its preferences (XEP-0441, 0.2.0), search
//! (XEP-0431, 0.2.0) and pages (XEP-0059, 1.0), for the archive of an account. What a sender hints
//! at is followed (XEP-0334, 1.0.0), here as in carbons and in the offline store.
//!
//! Left out: groupchat messages in an account's archive. Rooms keep their own, so that
//! `include-groupchat` is understood and changes nothing.
//!
//! A host has an archive as well, which is always empty. Some clients, profanity among them, look
//! for the namespace at the host and its services alone, and then ask the account.
//!
//! The delivery pipelines ask [`wants`] and [`keeps`], and append the message themselves.

mod prefs;
mod query;
mod rule;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use bytes::Bytes;

use crate::jid::{BareJid, Jid};
use crate::router::sessions::Flag;
use crate::router::{Router, Session};
use crate::stanza::error::{Condition, StanzaError};
use crate::stanza::{Stanza, Type, rsm};
use crate::store::archive::{Archived, Bounds, Page};
use crate::store::{AccountId, MessageId, StoreError};
use crate::xml::element::Element;
use crate::xml::{ns, write};

use self::query::Query;
use super::{Ctx, Feature, Handled, Iq, Reply, Target, Who, done, get, on_if, set, xep};
use crate::config::model::HostConfig;

pub use rule::{keeps, wants};

pub const FEATURE: Feature = Feature {
    xeps: &[
        xep(4, "2.13.1"),
        xep(59, "1.0"),
        xep(68, "1.3.0"),
        xep(313, "1.1.3"),
        xep(334, "1.0.0"),
        xep(431, "0.2.0"),
        xep(441, "0.2.0"),
    ],
    disco: &[
        on_if(Target::Host, ns::MAM2, has_archives),
        on_if(Target::Host, ns::MAM2_EXTENDED, has_archives),
        on_if(Target::Account, ns::MAM2, has_archives),
        on_if(Target::Account, ns::MAM2_EXTENDED, has_archives),
        on_if(Target::Account, ns::MAM2_GROUPCHAT_FIELD, has_archives),
        on_if(Target::Account, ns::FULLTEXT, has_search),
    ],
    iq: &[
        get(Target::Host, Who::Local, "query", ns::MAM2, form_of_host),
        set(Target::Host, Who::Local, "query", ns::MAM2, query_host),
        get(Target::Host, Who::Local, "metadata", ns::MAM2, metadata_of_host),
        get(Target::Account, Who::Owner, "query", ns::MAM2, form),
        set(Target::Account, Who::Owner, "query", ns::MAM2, query),
        get(Target::Account, Who::Owner, "metadata", ns::MAM2, tell_metadata),
        get(Target::Account, Who::Owner, "prefs", ns::MAM2, prefs::read),
        set(Target::Account, Who::Owner, "prefs", ns::MAM2, prefs::write),
    ],
    ..Feature::NONE
};

/// Guests have no account that could own an archive.
fn has_archives(host: &HostConfig) -> bool {
    !host.is_guest()
}

fn has_search(host: &HostConfig) -> bool {
    has_archives(host) && host.archive.search
}

/// The asking session; the route admits its owner's only.
fn owner<'a>(cx: &Ctx<'a>) -> Result<&'a Arc<Session>, StanzaError> {
    if has_archives(cx.host) { cx.session() } else { Err(Condition::ServiceUnavailable.into()) }
}

fn form<'a>(cx: &'a Ctx<'a>, _: Iq) -> Handled<'a> {
    done(owner(cx).map(|_| asked(cx.host.archive.search)))
}

fn form_of_host<'a>(_: &'a Ctx<'a>, _: Iq) -> Handled<'a> {
    done(Ok(asked(false)))
}

fn asked(search: bool) -> Reply {
    Reply::Result(query_form(search))
}

/// Nothing is in a host's archive, so no id is either.
fn query_host<'a>(cx: &'a Ctx<'a>, iq: Iq) -> Handled<'a> {
    done(cx.session().and_then(|session| {
        let query = Query::read(&iq.payload, session.account, false)?;
        if query.names_ids() {
            return Err(Condition::ItemNotFound.into());
        }
        let nothing = Page { count: Some(0), complete: true, ..Page::default() };
        Ok(Reply::Result(fin(&nothing, query.rows.rsm.max)))
    }))
}

fn metadata_of_host<'a>(_: &'a Ctx<'a>, _: Iq) -> Handled<'a> {
    done(Ok(Reply::Result(metadata(None))))
}

fn query<'a>(cx: &'a Ctx<'a>, iq: Iq) -> Handled<'a> {
    Box::pin(async move {
        let session = owner(cx)?;
        let reader = Reader {
            owner: session.account,
            archive: session.jid.bare(),
            to: session.jid.clone(),
            search: cx.host.archive.search,
        };
        let answer = page(cx.router, &reader, &iq.payload, |item| item.stanza).await?;
        // What waits for the session it has read here; see `offline`.
        if answer.is_catch_up {
            session.set(Flag::ReadsArchive, true);
        }
        answer.messages.into_iter().for_each(|stanza| cx.out.push_to(session, stanza));
        Ok(Reply::Result(answer.fin))
    })
}

/// Who reads which archive.
pub struct Reader {
    /// Whose archive it is: an account's, or a room's.
    pub owner: AccountId,
    pub archive: BareJid,
    pub to: Jid,
    /// Whether it can be searched.
    pub search: bool,
}

/// What answers a query.
pub struct Answer {
    /// The messages of the page, in the order wanted.
    pub messages: Vec<Stanza>,
    /// The payload of the result that follows them.
    pub fin: Element,
    pub is_catch_up: bool,
}

/// Answers `<query/>`. `shown` makes of a stored stanza what the reader may see of it.
///
/// # Errors
/// What is wrong with the query.
pub async fn page(
    router: &Router,
    reader: &Reader,
    query: &Element,
    shown: impl Fn(Archived) -> Bytes,
) -> Result<Answer, StanzaError> {
    let query = Query::read(query, reader.owner, reader.search)?;
    let mut page = match router.store.archive().page(query.rows.clone()).await {
        // An id in the query is not in this archive.
        Err(StoreError::NotFound) => return Err(Condition::ItemNotFound.into()),
        page => page?,
    };
    let bytes_max = router.config.load().limits.mailbox_bytes_max / 2;
    trim(&mut page, query.is_backwards(), bytes_max);
    if query.is_backwards() && !page.complete {
        // Optional in RSM, and slixmpp takes the index of the newest page for the end of all.
        page.index = None;
    }
    let fin = fin(&page, query.rows.rsm.max);
    let messages = page.items.into_iter().map(|item| {
        let id = item.id;
        result(id, &shown(item), query.id.as_deref(), reader)
    });
    let mut messages: Vec<Stanza> = messages.collect();
    if query.flip {
        messages.reverse();
    }
    Ok(Answer { messages, fin, is_catch_up: query.is_catch_up() })
}

/// The form that tells which fields a query may have.
pub fn query_form(search: bool) -> Element {
    Element::new("query", ns::MAM2).with(query::fields(search))
}

/// Cuts the page where it would not fit into the session's mailbox; the rest is another page.
fn trim(page: &mut Page, backwards: bool, bytes_max: usize) {
    let mut bytes = 0;
    let mut fits = |item: &Archived| {
        let first = bytes == 0;
        bytes += item.stanza.len();
        first || bytes <= bytes_max
    };
    let kept = if backwards {
        page.items.iter().rev().take_while(|item| fits(item)).count()
    } else {
        page.items.iter().take_while(|item| fits(item)).count()
    };
    let cut = page.items.len() - kept;
    if cut == 0 {
        return;
    }
    page.complete = false;
    if backwards {
        page.items.drain(..cut);
        page.index = page.index.map(|index| index + cut as u64);
    } else {
        page.items.truncate(kept);
    }
}

/// One message of a page (§4.2).
fn result(id: MessageId, stanza: &[u8], query_id: Option<&str>, reader: &Reader) -> Stanza {
    let mut payload = Vec::with_capacity(stanza.len() + 256);
    payload.extend_from_slice(b"<result xmlns='urn:xmpp:mam:2'");
    if let Some(query_id) = query_id {
        write::attribute(&mut payload, "queryid", query_id);
    }
    write::attribute(&mut payload, "id", &id.to_string());
    payload
        .extend_from_slice(b"><forwarded xmlns='urn:xmpp:forward:0'><delay xmlns='urn:xmpp:delay'");
    write::attribute(&mut payload, "stamp", &id.time().to_xmpp());
    payload.extend_from_slice(b"/>");
    payload.extend_from_slice(stanza);
    payload.extend_from_slice(b"</forwarded></result>");
    let (from, to) = (Some(reader.archive.clone().into()), Some(reader.to.clone()));
    Stanza::message(Type::Normal, from, to, []).with(&payload)
}

/// What ends a page (§4.3). Our archives do not change their order, so pages are always stable.
fn fin(page: &Page, max: usize) -> Element {
    let number = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
    let set = rsm::Page {
        ends: page
            .first()
            .zip(page.last())
            .map(|(first, last)| (first.to_string(), last.to_string())),
        index: page.index.map(number),
        count: page.count.map(number),
    };
    let fin = Element::new("fin", ns::MAM2);
    // Who asked for the count alone has not seen the messages it counts.
    let complete = page.complete && (max > 0 || page.count == Some(0));
    if complete { fin.attr("complete", "true") } else { fin }.with(set.to_element())
}

/// §5. Bind 2 tells it to every client that binds (XEP-0386 §4.1).
pub fn metadata(bounds: Bounds) -> Element {
    let ends = bounds.into_iter().flat_map(|(first, last)| [("start", first), ("end", last)]);
    Element::new("metadata", ns::MAM2).with_all(ends.map(|(name, id)| {
        Element::new(name, ns::MAM2)
            .attr("id", id.to_string())
            .attr("timestamp", id.time().to_xmpp())
    }))
}

fn tell_metadata<'a>(cx: &'a Ctx<'a>, _: Iq) -> Handled<'a> {
    Box::pin(async move {
        let account = owner(cx)?.account;
        Ok(Reply::Result(metadata(cx.router.store.archive().bounds(account).await?)))
    })
}
