//! Sessions: list, kick.

pub mod details;
pub mod presence;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::account;
use crate::admin::op::{Class, Example, Operation, Refusal};
use crate::admin::{Context, end_session};
use crate::jid::Jid;
use crate::router::Session as Live;
use crate::router::sessions::Flag;
use crate::store::devices::TokenRows;
use crate::store::{Store, StoreError};
use crate::time::Now;
use crate::xml::stream_error::StreamCondition;

/// Sessions in one answer.
const PAGE_MAX: usize = 1000;

/// Lists sessions, the newest first.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct List {
    /// Only this host; all hosts if empty.
    pub host: String,
    /// Only this account.
    pub account: Option<String>,
    /// Sessions at most; 0 stands for as many as fit in an answer.
    pub max: usize,
    /// All of them, however many: for lists of nothing but names.
    #[serde(skip)]
    pub whole: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Sessions {
    pub sessions: Vec<Session>,
    /// Sessions that fit the request; more than are listed if the list is cut off.
    pub count: usize,
}

/// A session as operators see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Session {
    pub jid: String,
    /// The client's address, as the log's privacy switch allows.
    pub address: Option<String>,
    /// As in `TLSv1.3`; empty on a plain connection.
    pub tls: String,
    pub mechanism: String,
    /// XEP-0082 time of sign-in.
    pub since: String,
    /// Seconds since the client was last heard.
    pub idle_secs: u64,
    /// `connected`, or `waiting` for its client to come back (XEP-0198).
    pub state: String,
    /// It has announced its presence.
    pub available: bool,
    pub priority: i8,
    /// Stanzas that wait for it.
    pub waiting: usize,
}

impl Operation for List {
    const NAME: &'static str = "session.list";
    const SUMMARY: &'static str = "List the sessions there are";
    const CLASS: Class = Class::Safe;
    const EXAMPLE: Example = Example {
        arguments: r#"{"host": "example.org"}"#,
        output: r#"{"sessions": [{"jid": "anna@example.org/phone", "address": "192.0.2.1", "tls": "TLSv1.3", "mechanism": "SCRAM-SHA-256-PLUS", "since": "2026-11-23T20:00:00Z", "idle_secs": 4, "state": "connected", "available": true, "priority": 0, "waiting": 0}], "count": 1}"#,
    };
    type Output = Sessions;

    fn target(&self) -> String {
        self.account.clone().unwrap_or_else(|| self.host.clone())
    }

    async fn run(self, cx: &Context) -> Result<Sessions, Refusal> {
        let server = cx.running()?;
        let hosts = account::hosts(cx, &self.host)?;
        let mut all = match &self.account {
            Some(jid) => cx.sessions(&account::account(cx, jid)?.0),
            None => server.router().sessions.all(),
        };
        all.retain(|session| hosts.iter().any(|host| host.domain == session.jid.domain()));
        let since = |session: &Live| session.facts.lock().since;
        all.sort_by(|a, b| since(b).cmp(&since(a)).then_with(|| a.jid.cmp(&b.jid)));
        let max = match self.max {
            _ if self.whole => all.len(),
            0 => PAGE_MAX,
            max => max.min(PAGE_MAX),
        };
        let now = Now::read();
        Ok(Sessions {
            count: all.len(),
            sessions: all.iter().take(max).map(|session| show(cx, session, now)).collect(),
        })
    }
}

fn show(cx: &Context, session: &Live, now: Now) -> Session {
    let facts = session.facts.lock().clone();
    let heard = Now::from_secs(session.heard.load(std::sync::atomic::Ordering::Relaxed));
    let addresses = cx.config().log.addresses;
    Session {
        jid: session.jid.to_string(),
        address: facts.address.map(|address| addresses.show(address.ip().to_canonical())),
        tls: facts.tls.to_owned(),
        mechanism: facts.mechanism.to_owned(),
        since: Now::from_secs(facts.since).to_xmpp(),
        idle_secs: now.since(heard).as_secs(),
        state: if session.has(Flag::Parked) { "waiting" } else { "connected" }.to_owned(),
        available: session.is_available(),
        priority: session.priority(),
        waiting: session.mailbox.len(),
    }
}

/// Ends sessions. Their devices have to sign in anew, by password.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Kick {
    /// A full JID for one session, a bare one for all of an account, a host for all of a host.
    pub jid: String,
    /// Told to the client.
    #[serde(default)]
    pub reason: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Kicked {
    /// The sessions that were told to end.
    pub jids: Vec<String>,
}

impl Operation for Kick {
    const NAME: &'static str = "session.kick";
    const SUMMARY: &'static str = "End a session, or all sessions of an account";
    const CLASS: Class = Class::Destructive;
    const EXAMPLE: Example = Example {
        arguments: r#"{"jid": "anna@example.org/phone", "reason": "Please sign in again"}"#,
        output: r#"{"jids": ["anna@example.org/phone"]}"#,
    };
    type Output = Kicked;

    fn target(&self) -> String {
        self.jid.clone()
    }

    async fn run(self, cx: &Context) -> Result<Kicked, Refusal> {
        let server = cx.running()?;
        let jid = Jid::parse(&self.jid).map_err(|error| {
            Refusal::usage(format!("{:?} is not an address: {error}", self.jid))
        })?;
        let sessions = if jid.local().is_none() && jid.is_bare() {
            let host = account::hosts(cx, jid.domain())?.remove(0);
            let mut all = server.router().sessions.all();
            all.retain(|session| session.jid.domain() == host.domain);
            all
        } else {
            cx.sessions(&jid)
        };
        if sessions.is_empty() {
            return Err(Refusal::not_found(format!("there is no session of {jid}"))
                .help("`coucou session list` shows them all"));
        }
        let text = if self.reason.is_empty() { "Ended by an administrator" } else { &self.reason };
        for session in &sessions {
            // Before the session ends, so that its client cannot come back by its token.
            let device = session.facts.lock().device;
            match device {
                _ if jid.is_bare() => cx.store().devices().drop_all_tokens(session.account).await?,
                Some(device) => drop_tokens(cx.store(), device).await?,
                None => {}
            }
            end_session(session, StreamCondition::PolicyViolation, text);
        }
        Ok(Kicked { jids: sessions.iter().map(|session| session.jid.to_string()).collect() })
    }
}

async fn drop_tokens(store: &Store, device: i64) -> Result<(), StoreError> {
    match store.devices().edit_tokens(device, |tokens| *tokens = TokenRows::default()).await {
        // Revoked in the meantime: its tokens are gone.
        Err(StoreError::NotFound) => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests;
