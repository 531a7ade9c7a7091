//! Archives (XEP-0313): how much they hold, reading one, forgetting. [`purge`] has removal by age.

pub mod purge;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::account;
use super::when::{moment_opt, page};
use crate::admin::Context;
use crate::admin::op::{Class, Example, Operation, Refusal};
use crate::jid::{BareJid, Jid};
use crate::store::archive::{ArchiveQuery, Archived, Position, Rsm};
use crate::store::survey::Amount;
use crate::store::{MessageId, StoreError};
use crate::time::Now;
use crate::xml::element::Element;
use crate::xml::ns;

/// Messages in one answer.
const PAGE_MAX: usize = 250;
/// Bytes of stanzas in one answer, far below what a line of the protocol may have.
const PAGE_BYTES_MAX: usize = 384 << 10;

/// A number of messages, and bytes as stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Held {
    pub messages: u64,
    pub bytes: u64,
}

impl From<Amount> for Held {
    fn from(amount: Amount) -> Held {
        Held { messages: amount.messages, bytes: amount.bytes }
    }
}

/// Counts what the archive of an account holds, or those of a host together.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Count {
    /// An account (`anna@example.org`) or a host (`example.org`).
    pub jid: String,
}

impl Operation for Count {
    const NAME: &'static str = "archive.count";
    const SUMMARY: &'static str = "Count the messages in the archive of an account or a host";
    const CLASS: Class = Class::Safe;
    const EXAMPLE: Example = Example {
        arguments: r#"{"jid": "anna@example.org"}"#,
        output: r#"{"messages": 9120, "bytes": 1804123}"#,
    };
    type Output = Held;

    fn target(&self) -> String {
        self.jid.clone()
    }

    async fn run(self, cx: &Context) -> Result<Held, Refusal> {
        if !self.jid.contains('@') {
            let host = account::hosts(cx, &self.jid)?.remove(0);
            return Ok(cx.store().survey().archives(&host.domain).await?.into());
        }
        let (jid, _) = account::account(cx, &self.jid)?;
        let row = account::existing(cx, &jid).await?;
        Ok(cx.store().survey().archive(row.id).await?.into())
    }
}

/// Reads an archive, oldest first.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Read {
    pub jid: String,
    /// Only with this address.
    pub with: Option<String>,
    /// Not before this time, day or age.
    pub since: Option<String>,
    /// Not after it.
    pub until: Option<String>,
    /// Words that must all occur; finds what was stored while the host had search on.
    pub text: Option<String>,
    /// Only after the message with this id: `next` of the page before.
    pub after: Option<String>,
    /// Messages at most; 0 stands for as many as fit in an answer.
    pub max: usize,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Messages {
    pub messages: Vec<Message>,
    /// Where the next page begins, if there is one.
    pub next: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Message {
    /// As clients know it (XEP-0359).
    pub id: String,
    pub at: String,
    pub from: String,
    pub to: String,
    /// Its text, if it has one that is not encrypted.
    pub body: Option<String>,
    pub stanza: String,
}

impl Operation for Read {
    const NAME: &'static str = "archive.read";
    const SUMMARY: &'static str = "Read the archive of an account";
    const CLASS: Class = Class::Safe;
    const PRIVATE: bool = true;
    const EXAMPLE: Example = Example {
        arguments: r#"{"jid": "anna@example.org", "with": "bob@example.org", "since": "7d"}"#,
        output: r#"{"messages": [{"id": "01jd3a8x4e000", "at": "2026-11-23T18:40:00.123Z",
            "from": "anna@example.org/phone", "to": "bob@example.org", "body": "Hello",
            "stanza": "<message xmlns='jabber:client' from='anna@example.org/phone' to='bob@example.org' type='chat'><body>Hello</body></message>"}],
            "next": null}"#,
    };
    type Output = Messages;

    fn target(&self) -> String {
        self.jid.clone()
    }

    async fn run(self, cx: &Context) -> Result<Messages, Refusal> {
        let (jid, _) = account::account(cx, &self.jid)?;
        let row = account::existing(cx, &jid).await?;
        let now = Now::read();
        let with = self.with.as_deref().map(|with| {
            Jid::parse(with).map_err(|error| {
                Refusal::usage(format!("with: {with:?} is not an address: {error}"))
            })
        });
        let after_id = self.after.as_deref().map(message_id).transpose()?;
        let max = page(self.max, PAGE_MAX);
        let query = ArchiveQuery {
            with: with.transpose()?,
            start: moment_opt("since", self.since.as_deref(), now)?,
            end: moment_opt("until", self.until.as_deref(), now)?,
            text: self.text,
            after_id,
            rsm: Rsm { max, at: Position::First },
            ..ArchiveQuery::of(row.id)
        };
        let found = cx.store().archive().page(query).await;
        let found = found.map_err(|error| match error {
            StoreError::NotFound => Refusal::not_found("after: that message is gone")
                .help("begin again, or use `since`"),
            error => error.into(),
        })?;
        Ok(bounded(found.items, found.complete))
    }
}

/// As many as fit in an answer, at least one.
pub(super) fn bounded(items: Vec<Archived>, complete: bool) -> Messages {
    let mut list = Messages::default();
    let mut bytes = 0;
    let count = items.len();
    for item in &items {
        bytes += 2 * item.stanza.len() + 200;
        if bytes > PAGE_BYTES_MAX && !list.messages.is_empty() {
            break;
        }
        list.messages.push(show(item));
    }
    if !complete || list.messages.len() < count {
        list.next = list.messages.last().map(|message| message.id.clone());
    }
    list
}

fn show(item: &Archived) -> Message {
    let element = Element::parse(&item.stanza, ns::CLIENT).ok();
    let attribute = |name| {
        let value = element.as_ref().and_then(|element| element.get(name));
        value.unwrap_or_default().to_owned()
    };
    Message {
        id: item.id.to_string(),
        at: item.id.time().to_xmpp(),
        from: attribute("from"),
        to: attribute("to"),
        body: element.as_ref().and_then(|element| element.child_text("body", ns::CLIENT)),
        stanza: String::from_utf8_lossy(&item.stanza).into_owned(),
    }
}

pub(super) fn message_id(text: &str) -> Result<MessageId, Refusal> {
    MessageId::parse(text)
        .ok_or_else(|| Refusal::usage(format!("after: {text:?} is no id of a message")))
}

/// Forgets the archive of an account, or what it holds of one conversation. The other side keeps
/// its own.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Forget {
    pub jid: String,
    /// Only the conversation with this address.
    #[serde(default)]
    pub with: Option<String>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Forgotten {
    /// Entries of the archive that are gone.
    pub entries: u64,
    /// Messages among them that nobody else keeps.
    pub messages: u64,
}

impl Operation for Forget {
    const NAME: &'static str = "archive.forget";
    const SUMMARY: &'static str = "Erase the archive of an account, or one conversation of it";
    const CLASS: Class = Class::Destructive;
    const EXAMPLE: Example = Example {
        arguments: r#"{"jid": "anna@example.org", "with": "bob@example.org"}"#,
        output: r#"{"entries": 120, "messages": 0}"#,
    };
    type Output = Forgotten;

    fn target(&self) -> String {
        self.jid.clone()
    }

    async fn run(self, cx: &Context) -> Result<Forgotten, Refusal> {
        let (jid, _) = account::account(cx, &self.jid)?;
        let row = account::existing(cx, &jid).await?;
        let with = self.with.as_deref().map(|with| {
            BareJid::parse(with).map_err(|error| {
                Refusal::usage(format!("with: {with:?} is not a bare address: {error}"))
            })
        });
        let gone = cx.store().archive().forget(row.id, with.transpose()?).await?;
        Ok(Forgotten { entries: gone.entries, messages: gone.bodies })
    }
}

#[cfg(test)]
mod tests;
