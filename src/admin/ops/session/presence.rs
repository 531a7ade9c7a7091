//! The presence that an account shows, and setting it for one of its sessions.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::details::{address, presence};
use crate::admin::Context;
use crate::admin::op::{Class, Example, Operation, Refusal};
use crate::admin::ops::account;
use crate::delivery::outbound;
use crate::stanza::{Stanza, Type};
use crate::time::Now;
use crate::xml::element::Element;
use crate::xml::ns;

/// Bytes of a status text that an operator may set.
const STATUS_BYTES_MAX: usize = 1_024;

/// Tells the presence that contacts of an account see.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Presence {
    pub jid: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Shown {
    /// The session of highest priority, or the bare JID if none is available.
    pub jid: String,
    /// `available`, `away`, `chat`, `dnd`, `xa` or `unavailable`.
    pub show: String,
    pub status: String,
}

impl Operation for Presence {
    const NAME: &'static str = "session.presence";
    const SUMMARY: &'static str = "Tell the presence of an account";
    const CLASS: Class = Class::Safe;
    const PRIVATE: bool = true;
    const EXAMPLE: Example = Example {
        arguments: r#"{"jid": "anna@example.org"}"#,
        output: r#"{"jid": "anna@example.org/phone", "show": "dnd", "status": "In a meeting"}"#,
    };
    type Output = Shown;

    fn target(&self) -> String {
        self.jid.clone()
    }

    async fn run(self, cx: &Context) -> Result<Shown, Refusal> {
        cx.running()?;
        let (jid, _) = account::account(cx, &self.jid)?;
        let sessions = cx.sessions(&jid);
        let best = sessions.iter().filter(|s| s.is_available()).max_by_key(|s| s.priority());
        Ok(match best {
            Some(session) => {
                let (show, status) = presence(session);
                Shown { jid: session.jid.to_string(), show, status }
            }
            None => Shown {
                jid: jid.to_string(),
                show: "unavailable".to_owned(),
                status: String::new(),
            },
        })
    }
}

/// Sets the presence of a session, as if its client had sent it.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SetPresence {
    /// The session: `anna@example.org/phone`.
    pub jid: String,
    /// `available`, `away`, `chat`, `dnd`, `xa` or `unavailable`.
    pub show: String,
    #[serde(default)]
    pub status: String,
    #[serde(default)]
    pub priority: i8,
}

impl Operation for SetPresence {
    const NAME: &'static str = "session.set_presence";
    const SUMMARY: &'static str = "Set the presence of a session, as if its client had sent it";
    const CLASS: Class = Class::Reversible;
    const EXAMPLE: Example = Example {
        arguments: r#"{"jid": "anna@example.org/phone", "show": "away", "status": "At lunch"}"#,
        output: r#"{"jid": "anna@example.org/phone", "show": "away", "status": "At lunch"}"#,
    };
    type Output = Shown;

    fn target(&self) -> String {
        self.jid.clone()
    }

    async fn run(self, cx: &Context) -> Result<Shown, Refusal> {
        let server = cx.running()?;
        let jid = address(&self.jid)?;
        if jid.is_bare() {
            return Err(Refusal::usage(format!("{jid} names an account, not a session"))
                .help(format!("`coucou session list {jid}` lists its sessions")));
        }
        let typ = match self.show.as_str() {
            "available" | "away" | "chat" | "dnd" | "xa" => None,
            "unavailable" => Some(Type::Unavailable),
            other => {
                return Err(Refusal::usage(format!(
                    "show: {other:?} is none of available, away, chat, dnd, xa, unavailable"
                )));
            }
        };
        if self.status.len() > STATUS_BYTES_MAX {
            let text = format!("status: longer than {STATUS_BYTES_MAX} bytes");
            return Err(Refusal::usage(text));
        }
        let sessions = cx.sessions(&jid);
        let session = sessions.first().ok_or_else(|| no_session(&jid))?;
        let child = |name: &str, text: &str| Element::new(name, ns::CLIENT).with_text(text);
        let mut children = Vec::new();
        if typ.is_none() {
            if self.show != "available" {
                children.push(child("show", &self.show));
            }
            children.push(child("priority", &self.priority.to_string()));
        }
        if !self.status.is_empty() {
            children.push(child("status", &self.status));
        }
        let stanza = Stanza::presence(typ, Some(jid.clone()), None, children);
        outbound::handle(server.router(), session, stanza, Now::read())
            .await
            .map_err(|error| Refusal::bug(&error))?;
        Ok(Shown { jid: jid.to_string(), show: self.show, status: self.status })
    }
}

pub(super) fn no_session(jid: &crate::jid::Jid) -> Refusal {
    Refusal::not_found(format!("there is no session {jid}"))
        .help("`coucou session list` shows them all")
}
