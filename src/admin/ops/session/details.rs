//! Sessions with all that is known of them: connection, stream management, queue, presence.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::admin::Context;
use crate::admin::op::{Class, Example, Operation, Refusal};
use crate::admin::ops::account;
use crate::admin::ops::when::page;
use crate::config::Addresses;
use crate::jid::Jid;
use crate::router::Session as Live;
use crate::router::sessions::Flag;
use crate::time::Now;

/// Sessions in one answer.
const PAGE_MAX: usize = 500;
/// Sessions in an answer that must be whole.
const WHOLE_MAX: usize = 100_000;

/// Shows sessions with their presence and connection.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Details {
    /// Only this host; all hosts if empty.
    pub host: String,
    /// Only this account (`anna@example.org`) or this session (`anna@example.org/phone`).
    pub jid: Option<String>,
    /// Only these: `available`, `away`, `chat`, `dnd`, `xa`, `unavailable`; all if it is left out.
    pub show: Option<String>,
    /// Only sessions after this JID: `next` of the page before.
    pub after: Option<String>,
    /// Sessions at most; 0 stands for as many as fit in an answer.
    pub max: usize,
    /// All of them in one answer.
    #[serde(skip)]
    pub whole: bool,
    /// So many are left out first.
    #[serde(skip)]
    pub skip: usize,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DetailList {
    /// By JID.
    pub sessions: Vec<Detail>,
    /// Where the next page begins, if there is one.
    pub next: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Detail {
    pub jid: String,
    /// The client's address, as the log's privacy switch allows.
    pub address: Option<String>,
    /// Its port, where its address may be shown whole.
    pub port: Option<u16>,
    /// As in `TLSv1.3`; empty on a plain connection.
    pub tls: String,
    /// SASL mechanism of the sign-in.
    pub mechanism: String,
    /// The device it signed in from, as `account.devices` lists it.
    pub device: Option<i64>,
    pub since: String,
    pub uptime_secs: u64,
    /// Seconds since the client was last heard.
    pub idle_secs: u64,
    /// `connected`, or `waiting` for its client to come back (XEP-0198).
    pub state: String,
    /// `available`, `away`, `chat`, `dnd`, `xa`, or `unavailable` without presence.
    pub show: String,
    /// The text of its presence.
    pub status: String,
    pub priority: i8,
    /// The client says that its user does not look (XEP-0352).
    pub inactive: bool,
    pub carbons: bool,
    /// Stanzas that wait for it, and their bytes.
    pub waiting: usize,
    pub waiting_bytes: usize,
    /// None without stream management.
    pub stream_management: Option<StreamManagement>,
}

/// XEP-0198.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StreamManagement {
    pub resumable: bool,
    /// Seconds that it waits for its client.
    pub resume_secs: u32,
    /// Stanzas taken from the client, and given to it, modulo 2³².
    pub received: u32,
    pub sent: u32,
    /// Stanzas that the client has not acknowledged, and their bytes.
    pub unacknowledged: usize,
    pub unacknowledged_bytes: usize,
}

impl Operation for Details {
    const NAME: &'static str = "session.details";
    const SUMMARY: &'static str =
        "Show sessions with connection, stream management, queue and presence";
    const CLASS: Class = Class::Safe;
    const PRIVATE: bool = true;
    const EXAMPLE: Example = Example {
        arguments: r#"{"host": "example.org", "show": "dnd"}"#,
        output: r#"{"sessions": [{"jid": "anna@example.org/phone", "address": "192.0.2.7",
            "port": 42656, "tls": "TLSv1.3", "mechanism": "SCRAM-SHA-256-PLUS", "device": 7,
            "since": "2026-11-23T18:40:00.000Z", "uptime_secs": 231, "idle_secs": 12,
            "state": "connected", "show": "dnd", "status": "In a meeting", "priority": 8,
            "inactive": false, "carbons": true, "waiting": 0, "waiting_bytes": 0,
            "stream_management": {"resumable": true, "resume_secs": 600, "received": 41,
            "sent": 120, "unacknowledged": 1, "unacknowledged_bytes": 310}}], "next": null}"#,
    };
    type Output = DetailList;

    fn target(&self) -> String {
        self.jid.clone().unwrap_or_default()
    }

    fn host(&self) -> Option<String> {
        match &self.jid {
            Some(jid) => Jid::parse(jid).ok().map(|jid| jid.domain().to_owned()),
            None => (!self.host.is_empty()).then(|| self.host.clone()),
        }
    }

    async fn run(self, cx: &Context) -> Result<DetailList, Refusal> {
        let sessions = chosen(cx, &self.host, self.jid.as_deref(), self.show.as_deref())?;
        let max = page(self.max, if self.whole { WHOLE_MAX } else { PAGE_MAX });
        let mut sessions = sessions.into_iter();
        if self.skip > 0 {
            sessions.nth(self.skip - 1);
        }
        if let Some(after) = &self.after {
            let after = address(after)?;
            sessions = sessions.skip_while(|s| s.jid <= after).collect::<Vec<_>>().into_iter();
        }
        if self.whole && sessions.len() > max {
            let text = format!("there are more than {WHOLE_MAX} sessions, too many for one answer");
            return Err(
                Refusal::unavailable(text).help("`session.details` shows them page by page")
            );
        }
        let now = Now::read();
        let addresses = cx.config().log.addresses;
        let mut list = DetailList::default();
        for session in sessions {
            if list.sessions.len() == max {
                list.next = list.sessions.last().map(|detail| detail.jid.clone());
                break;
            }
            list.sessions.push(detail(&session, addresses, now));
        }
        Ok(list)
    }
}

/// How many sessions there are.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Count {
    /// Only this host; all hosts if empty.
    pub host: String,
    /// Only this account.
    pub jid: Option<String>,
    /// Only these: `available`, `away`, `chat`, `dnd`, `xa`, `unavailable`; all if it is left out.
    pub show: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Counted {
    pub sessions: usize,
    /// Accounts that they belong to.
    pub accounts: usize,
    /// Those of them that wait for their client (XEP-0198).
    pub waiting: usize,
}

impl Operation for Count {
    const NAME: &'static str = "session.count";
    const SUMMARY: &'static str = "Count sessions: of the server, a host or an account";
    const CLASS: Class = Class::Safe;
    const EXAMPLE: Example = Example {
        arguments: r#"{"host": "example.org"}"#,
        output: r#"{"sessions": 23, "accounts": 17, "waiting": 2}"#,
    };
    type Output = Counted;

    fn target(&self) -> String {
        self.jid.clone().unwrap_or_default()
    }

    fn host(&self) -> Option<String> {
        match &self.jid {
            Some(jid) => Jid::parse(jid).ok().map(|jid| jid.domain().to_owned()),
            None => (!self.host.is_empty()).then(|| self.host.clone()),
        }
    }

    async fn run(self, cx: &Context) -> Result<Counted, Refusal> {
        let sessions = chosen(cx, &self.host, self.jid.as_deref(), self.show.as_deref())?;
        let mut accounts: Vec<&str> = sessions.iter().map(|s| s.jid.bare_str()).collect();
        accounts.dedup();
        Ok(Counted {
            accounts: accounts.len(),
            waiting: sessions.iter().filter(|s| s.has(Flag::Parked)).count(),
            sessions: sessions.len(),
        })
    }
}

/// The sessions asked for, by JID.
fn chosen(
    cx: &Context,
    host: &str,
    jid: Option<&str>,
    show: Option<&str>,
) -> Result<Vec<std::sync::Arc<Live>>, Refusal> {
    let server = cx.running()?;
    let hosts = account::hosts(cx, host)?;
    if let Some(show) = show {
        known_show(show)?;
    }
    let mut sessions = match jid {
        Some(jid) => {
            let jid = address(jid)?;
            account::hosts(cx, jid.domain())?;
            cx.sessions(&jid)
        }
        None => server.router().sessions.all(),
    };
    sessions.retain(|session| {
        hosts.iter().any(|host| host.domain == session.jid.domain())
            && show.is_none_or(|wanted| wanted == presence(session).0)
    });
    sessions.sort_by(|a, b| a.jid.cmp(&b.jid));
    Ok(sessions)
}

pub(super) fn address(jid: &str) -> Result<Jid, Refusal> {
    Jid::parse(jid).map_err(|error| Refusal::usage(format!("{jid:?} is not an address: {error}")))
}

/// RFC 6121 §4.7.2.1, and what stands for presence without `<show/>` and for none.
const SHOWS: [&str; 6] = ["available", "away", "chat", "dnd", "xa", "unavailable"];

fn known_show(show: &str) -> Result<(), Refusal> {
    if SHOWS.contains(&show) {
        return Ok(());
    }
    Err(Refusal::usage(format!("show: {show:?} is none of {}", SHOWS.join(", "))))
}

/// Show and status of a session's presence.
pub(super) fn presence(session: &Live) -> (String, String) {
    let Some(stanza) = session.presence() else {
        return ("unavailable".to_owned(), String::new());
    };
    let show = stanza.show().map_or("available", |show| show.name()).to_owned();
    (show, stanza.status().unwrap_or_default())
}

fn detail(session: &Live, addresses: Addresses, now: Now) -> Detail {
    let facts = session.facts.lock().clone();
    let heard = Now::from_secs(session.heard.load(std::sync::atomic::Ordering::Relaxed));
    let (show, status) = presence(session);
    let since = Now::from_secs(facts.since);
    Detail {
        jid: session.jid.to_string(),
        address: facts.address.map(|address| addresses.show(address.ip().to_canonical())),
        port: facts.address.filter(|_| addresses == Addresses::Full).map(|address| address.port()),
        tls: facts.tls.to_owned(),
        mechanism: facts.mechanism.to_owned(),
        device: facts.device,
        since: since.to_xmpp(),
        uptime_secs: now.since(since).as_secs(),
        idle_secs: now.since(heard).as_secs(),
        state: if session.has(Flag::Parked) { "waiting" } else { "connected" }.to_owned(),
        show,
        status,
        priority: session.priority(),
        inactive: session.has(Flag::Inactive),
        carbons: session.has(Flag::Carbons),
        waiting: session.mailbox.len(),
        waiting_bytes: session.mailbox.bytes(),
        stream_management: session.sm.lock().as_ref().map(|sm| StreamManagement {
            resumable: sm.resumable,
            resume_secs: sm.resume_secs,
            received: sm.handled(),
            sent: sm.sent(),
            unacknowledged: sm.unacked_count(),
            unacknowledged_bytes: sm.unacked_bytes(),
        }),
    }
}
