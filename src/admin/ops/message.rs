//! Speaking in the name of addresses of ours. Who may do this may write as anybody here, so each
//! act is in the audit, with the length of what was said.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::words::Words;
use crate::admin::Context;
use crate::admin::op::{Class, Example, Operation, Refusal, RefusalKind};
use crate::delivery::{outbound, route};
use crate::features::Outbox;
use crate::jid::Jid;
use crate::stanza::error::StanzaError;
use crate::stanza::{Kind, Stanza, Type};
use crate::time::Now;
use crate::xml::element::Element;
use crate::xml::ns;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Sent {
    pub from: String,
    pub to: String,
}

/// Sends a message.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Send {
    /// Any address on one of our domains, or such a domain itself.
    pub from: String,
    pub to: String,
    /// `normal`, `chat`, `headline` or `groupchat`.
    #[serde(default = "normal", rename = "type")]
    pub typ: String,
    #[serde(default)]
    pub subject: Words,
    #[serde(default)]
    pub body: Words,
}

fn normal() -> String {
    "normal".to_owned()
}

impl Operation for Send {
    const NAME: &'static str = "message.send";
    const SUMMARY: &'static str = "Send a message in the name of an address of ours";
    const CLASS: Class = Class::Destructive;
    const EXAMPLE: Example = Example {
        arguments: r#"{"type": "headline", "from": "example.org", "to": "anna@example.org",
            "subject": "Maintenance", "body": "Back in five minutes"}"#,
        output: r#"{"from": "example.org", "to": "anna@example.org"}"#,
    };
    type Output = Sent;

    fn target(&self) -> String {
        self.to.clone()
    }

    /// Who speaks decides: a key for one host may not speak for another.
    fn host(&self) -> Option<String> {
        Jid::parse(&self.from).ok().map(|jid| jid.domain().to_owned())
    }

    fn to_wire(&self) -> Value {
        json!({
            "from": self.from, "to": self.to, "type": self.typ,
            "subject": self.subject.as_str(), "body": self.body.as_str(),
        })
    }

    async fn run(self, cx: &Context) -> Result<Sent, Refusal> {
        let (from, to) = (sender(cx, &self.from)?, receiver(&self.to)?);
        let typ = match self.typ.as_str() {
            "normal" => Type::Normal,
            "chat" => Type::Chat,
            "headline" => Type::Headline,
            "groupchat" => Type::Groupchat,
            other => {
                let text = format!("type: {other:?} is none of normal, chat, headline, groupchat");
                return Err(Refusal::usage(text));
            }
        };
        if self.subject.is_empty() && self.body.is_empty() {
            return Err(Refusal::usage("the message has neither subject nor body"));
        }
        let parts = [("subject", &self.subject), ("body", &self.body)];
        let parts = parts.into_iter().map(|(name, words)| (name, words.as_str()));
        let parts = parts.filter(|(_, text)| !text.is_empty());
        let mut children = Vec::new();
        for (name, text) in parts {
            if let Some(bad) = text.chars().find(|c| !is_xml(*c)) {
                let text = format!("{name}: U+{:04X} cannot stand in XML", u32::from(bad));
                return Err(Refusal::usage(text));
            }
            children.push(Element::new(name, ns::CLIENT).with_text(text));
        }
        let mut stanza = Stanza::message(typ, Some(from), Some(to), children);
        stanza.head.id = Some(id(cx).into());
        send(cx, stanza).await
    }
}

/// XML 1.0 §2.2.
fn is_xml(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\r' | '\u{20}'..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..)
}

fn id(cx: &Context) -> String {
    cx.store().next_id(Now::read()).to_string()
}

/// Sends a stanza.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SendStanza {
    /// Any address on one of our domains, or such a domain itself.
    pub from: String,
    pub to: String,
    /// `<message/>`, `<presence/>` or `<iq/>`; its own addresses are replaced.
    pub stanza: Words,
}

impl Operation for SendStanza {
    const NAME: &'static str = "message.stanza";
    const SUMMARY: &'static str = "Send a stanza in the name of an address of ours";
    const CLASS: Class = Class::Destructive;
    const EXAMPLE: Example = Example {
        arguments: r#"{"from": "bot@example.org", "to": "anna@example.org",
            "stanza": "<message><body>Hello</body></message>"}"#,
        output: r#"{"from": "bot@example.org", "to": "anna@example.org"}"#,
    };
    type Output = Sent;

    fn target(&self) -> String {
        self.to.clone()
    }

    fn host(&self) -> Option<String> {
        Jid::parse(&self.from).ok().map(|jid| jid.domain().to_owned())
    }

    fn to_wire(&self) -> Value {
        json!({"from": self.from, "to": self.to, "stanza": self.stanza.as_str()})
    }

    async fn run(self, cx: &Context) -> Result<Sent, Refusal> {
        let (from, to) = (sender(cx, &self.from)?, receiver(&self.to)?);
        let mut stanza = parse(cx, self.stanza.as_str())?;
        (stanza.head.from, stanza.head.to) = (Some(from), Some(to));
        send(cx, stanza).await
    }
}

/// Sends a stanza as if the client of a session had sent it.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SendAs {
    /// The session: `anna@example.org/phone`.
    pub jid: String,
    /// `<message/>`, `<presence/>` or `<iq/>`; without `to` it is for the session's own account.
    pub stanza: Words,
}

impl Operation for SendAs {
    const NAME: &'static str = "message.from_session";
    const SUMMARY: &'static str = "Send a stanza as if the client of a session had sent it";
    const CLASS: Class = Class::Destructive;
    const EXAMPLE: Example = Example {
        arguments: r#"{"jid": "bot@example.org/1",
            "stanza": "<message to='anna@example.org'><body>Hello</body></message>"}"#,
        output: r#"{"from": "bot@example.org/1", "to": "anna@example.org"}"#,
    };
    type Output = Sent;

    fn target(&self) -> String {
        self.jid.clone()
    }

    fn to_wire(&self) -> Value {
        json!({"jid": self.jid, "stanza": self.stanza.as_str()})
    }

    async fn run(self, cx: &Context) -> Result<Sent, Refusal> {
        let server = cx.running()?;
        let jid = sender(cx, &self.jid)?;
        let mut stanza = parse(cx, self.stanza.as_str())?;
        let sessions = cx.sessions(&jid);
        let session = sessions.first().filter(|_| !jid.is_bare()).ok_or_else(|| {
            Refusal::not_found(format!("there is no session {jid}"))
                .help("`coucou session list` shows them all; `message.stanza` needs no session")
        })?;
        stanza.head.from = None;
        let to = stanza.head.to.as_ref().map_or(session.jid.bare_str(), Jid::as_str).to_owned();
        outbound::handle(server.router(), session, stanza, Now::read())
            .await
            .map_err(|error| Refusal::usage(error.to_string()))?;
        Ok(Sent { from: jid.to_string(), to })
    }
}

/// An address that we may speak for.
fn sender(cx: &Context, from: &str) -> Result<Jid, Refusal> {
    let jid = Jid::parse(from)
        .map_err(|error| Refusal::usage(format!("from: {from:?} is not an address: {error}")))?;
    if cx.config().serves(jid.domain()) {
        return Ok(jid);
    }
    let hosts: Vec<&str> = cx.config().hosts.iter().map(|host| host.domain.as_str()).collect();
    Err(Refusal::denied(format!("from: {} is not a domain of this server", jid.domain()))
        .help(format!("its hosts are: {}", hosts.join(", "))))
}

fn receiver(to: &str) -> Result<Jid, Refusal> {
    Jid::parse(to).map_err(|error| Refusal::usage(format!("to: {to:?} is not an address: {error}")))
}

/// A stanza as an operator writes it, within the bounds that clients have.
fn parse(cx: &Context, xml: &str) -> Result<Stanza, Refusal> {
    let max = cx.config().limits.stanza_bytes_max;
    if xml.len() > max {
        let text = format!("stanza: {} bytes, at most {max} (limits.stanza_bytes_max)", xml.len());
        return Err(Refusal::usage(text));
    }
    Stanza::parse(xml.trim().as_bytes()).map_err(|error| {
        Refusal::usage(format!("stanza: {error}"))
            .help("write one <message/>, <presence/> or <iq/>, well-formed, as a client sends it")
    })
}

async fn send(cx: &Context, stanza: Stanza) -> Result<Sent, Refusal> {
    let router = cx.running()?.router();
    let show = |jid: &Option<Jid>| jid.as_ref().map(Jid::to_string).unwrap_or_default();
    let sent = Sent { from: show(&stanza.head.from), to: show(&stanza.head.to) };
    let now = Now::read();
    if stanza.head.kind == Kind::Message {
        let outcome = outbound::on_behalf(router, stanza, now).await;
        return outcome.map(|()| sent).map_err(|error| refused(&error));
    }
    let out = Outbox::default();
    out.push(stanza);
    route::drain(router, out, now).await;
    Ok(sent)
}

/// What an address answers, as the operator's own refusal.
fn refused(error: &StanzaError) -> Refusal {
    use crate::stanza::error::Condition;
    let (kind, text) = match error.condition {
        Condition::RemoteServerNotFound => {
            (RefusalKind::NotFound, "the receiver's domain is not served here".to_owned())
        }
        Condition::ServiceUnavailable => (
            RefusalKind::NotFound,
            "nobody takes it there: no such account, or it is away and keeps no more messages"
                .to_owned(),
        ),
        _ => (RefusalKind::Unavailable, format!("the message was refused: {error}")),
    };
    Refusal::new(kind, text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::ops::testing;
    use crate::testing::World;

    fn message(from: &str, to: &str) -> Send {
        Send {
            from: from.to_owned(),
            to: to.to_owned(),
            typ: "chat".to_owned(),
            subject: Words::default(),
            body: "Hello <3".into(),
        }
    }

    #[tokio::test]
    async fn a_message_reaches_its_receiver_and_both_archives() {
        let world = World::new();
        let cx = testing::live(&world);
        let bob = world.online("bob@localhost/b").await;
        let ann = world.account("ann@localhost").await;
        message("ann@localhost", "bob@localhost").run(&cx).await.unwrap();
        let told = bob.sent().pop().unwrap();
        assert!(told.contains("<body>Hello &lt;3</body>"), "{told}");
        assert!(told.contains("from='ann@localhost'"), "{told}");
        let archive = cx.store().survey().archive(ann).await.unwrap();
        assert_eq!(archive.messages, 1);
        message("localhost", "ann@localhost").run(&cx).await.unwrap();
        assert_eq!(cx.store().offline().count(ann).await.unwrap(), 1);
    }

    #[tokio::test]
    async fn nobody_speaks_for_others_or_to_nobody() {
        let world = World::new();
        let cx = testing::live(&world);
        world.account("bob@localhost").await;
        for (from, to, kind) in [
            ("bob@elsewhere.org", "bob@localhost", RefusalKind::Denied),
            ("@", "bob@localhost", RefusalKind::Usage),
            ("bob@localhost", "a@b@c", RefusalKind::Usage),
            ("localhost", "nobody@localhost", RefusalKind::NotFound),
            ("localhost", "bob@elsewhere.org", RefusalKind::NotFound),
        ] {
            let refusal = message(from, to).run(&cx).await.unwrap_err();
            assert_eq!(refusal.kind, kind, "{from} → {to}: {refusal}");
        }
        let empty = Send { body: Words::default(), ..message("localhost", "bob@localhost") };
        assert_eq!(empty.run(&cx).await.unwrap_err().kind, RefusalKind::Usage);
        let odd = Send { body: "\u{1}".into(), ..message("localhost", "bob@localhost") };
        assert!(odd.run(&cx).await.unwrap_err().text.contains("U+0001"));
    }

    #[tokio::test]
    async fn stanzas_are_checked_before_they_go_anywhere() {
        let world = World::new();
        let cx = testing::live(&world);
        let bob = world.online("bob@localhost/b").await;
        let send = async |stanza: &str| {
            let (from, to) = ("localhost".to_owned(), "bob@localhost/b".to_owned());
            SendStanza { from, to, stanza: stanza.into() }.run(&cx).await
        };
        send("<message from='forged@x'><ext xmlns='urn:x' attr='value'/></message>").await.unwrap();
        let told = bob.sent().pop().unwrap();
        assert!(told.contains("from='localhost'") && told.contains("attr='value'"), "{told}");
        for bad in ["", "<message>", "<a/>", "<message/><message/>", "<iq type='get' id='1'/>"] {
            let refusal = send(bad).await.unwrap_err();
            assert_eq!(refusal.kind, RefusalKind::Usage, "{bad}");
        }
        let large = format!("<message><body>{}</body></message>", "x".repeat(1 << 20));
        assert!(send(&large).await.unwrap_err().text.contains("limits.stanza_bytes_max"));
    }

    #[tokio::test]
    async fn a_session_speaks_as_its_client_would() {
        let world = World::new();
        let cx = testing::live(&world);
        let ann = world.online("ann@localhost/a").await;
        let bob = world.online("bob@localhost/b").await;
        let stanza = "<message to='bob@localhost' type='chat'><body>Hi</body></message>";
        let send = |jid: &str| SendAs { jid: jid.to_owned(), stanza: stanza.into() };
        send("ann@localhost/a").run(&cx).await.unwrap();
        assert!(bob.sent().pop().unwrap().contains("from='ann@localhost/a'"));
        for nowhere in ["ann@localhost", "ann@localhost/tv"] {
            let refusal = send(nowhere).run(&cx).await.unwrap_err();
            assert_eq!(refusal.kind, RefusalKind::NotFound);
        }
        drop(ann);
    }
}
