//! Announcements: to those who are online, to every account, and the message of the day.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::account;
use crate::admin::Context;
use crate::admin::op::{Class, Example, Operation, Refusal, RefusalKind};
use crate::config::HostConfig;
use crate::delivery::route;
use crate::features::{Outbox, announce};
use crate::jid::Jid;
use crate::router::sessions::Flag;
use crate::router::{Router, Session};
use crate::stanza::Type;
use crate::store::StoreError;
use crate::time::Now;

/// Bytes of an announcement.
const TEXT_BYTES_MAX: usize = 32 * 1024;
/// Accounts of one batch: what waits for the writer at once.
const BATCH: usize = 100;
/// To more accounts than these an announcement goes on after its operation has answered.
const AT_ONCE_MAX: u64 = 1_000;
/// Accounts between two lines of the log.
const TOLD_EVERY: usize = 10_000;

/// Who gets an announcement.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Audience {
    /// Every session that is online; nothing is kept for others.
    #[default]
    Online,
    /// Every account; it is kept for those who are away.
    All,
}

/// What kind of message it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Shown at once and kept by nobody.
    Headline,
    /// A message like any other.
    Normal,
}

/// Sends a message of the server to everybody.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Send {
    pub to: Audience,
    /// Only on this host; on all if empty.
    pub host: String,
    pub subject: String,
    pub body: String,
    /// Left out: a headline for those online, a normal message for all.
    pub kind: Option<Kind>,
}

/// Whom it went to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Sent {
    /// Sessions that got it.
    pub sessions: usize,
    /// Accounts that it is for.
    pub accounts: usize,
    /// They are many, and it is still on its way: `announce.status` and the log tell how far.
    pub goes_on: bool,
}

impl Operation for Send {
    const NAME: &'static str = "announce.send";
    const SUMMARY: &'static str = "Send a message to everybody";
    const CLASS: Class = Class::Destructive;
    const EXAMPLE: Example = Example {
        arguments: r#"{"to": "online", "host": "example.org", "subject": "Maintenance", "body": "Back in five minutes."}"#,
        output: r#"{"sessions": 12, "accounts": 0, "goes_on": false}"#,
    };
    type Output = Sent;

    fn target(&self) -> String {
        self.host.clone()
    }

    async fn run(self, cx: &Context) -> Result<Sent, Refusal> {
        text(&self.subject, &self.body)?;
        let hosts = account::hosts(cx, &self.host)?;
        let router = cx.router();
        match self.to {
            Audience::Online => {
                let kind = self.kind.unwrap_or(Kind::Headline);
                let sessions = online(&router, &hosts);
                tell(&sessions, kind, &self.subject, &self.body);
                Ok(Sent { sessions: sessions.len(), ..Sent::default() })
            }
            Audience::All => self.reach_all(cx, router, hosts).await,
        }
    }
}

impl Send {
    async fn reach_all(
        self,
        cx: &Context,
        router: Arc<Router>,
        mut hosts: Vec<Arc<HostConfig>>,
    ) -> Result<Sent, Refusal> {
        // A guest is not there but for its session.
        hosts.retain(|host| !host.is_guest());
        let mut total = 0;
        for host in &hosts {
            total += cx.store().accounts().count(&host.domain).await?;
        }
        let progress = router.places.get::<Progress>();
        if progress.busy.swap(true, Ordering::AcqRel) {
            let text = "an announcement to all accounts is still on its way";
            return Err(Refusal::new(RefusalKind::Conflict, text)
                .help("`coucou announce status` tells how far it is"));
        }
        let accounts = usize::try_from(total).unwrap_or(usize::MAX);
        progress.total.store(accounts, Ordering::Release);
        progress.sent.store(0, Ordering::Release);
        let goes_on = total > AT_ONCE_MAX && cx.server().is_some();
        let work = async move {
            let result = self.send(&router, &hosts, &progress).await;
            progress.busy.store(false, Ordering::Release);
            result
        };
        if goes_on {
            tokio::spawn(async move {
                if let Err(error) = work.await {
                    tracing::error!(%error, "an announcement did not reach all accounts");
                }
            });
        } else {
            work.await?;
        }
        Ok(Sent { sessions: 0, accounts, goes_on })
    }

    /// Account by account, waiting for the disk after each batch.
    async fn send(
        &self,
        router: &Arc<Router>,
        hosts: &[Arc<HostConfig>],
        progress: &Progress,
    ) -> Result<(), StoreError> {
        let typ = self.kind.unwrap_or(Kind::Normal).typ();
        for host in hosts {
            let mut after: Option<String> = None;
            loop {
                let accounts = router.store.accounts();
                let page = accounts.list(&host.domain, "", after.as_deref(), BATCH).await?;
                let Some(last) = page.last() else { break };
                after = last.jid.local().map(str::to_owned);
                let out = Outbox::default();
                for account in page.iter().filter(|account| account.lock.is_none()) {
                    let to = Jid::from(account.jid.clone());
                    let subject = self.subject.as_str();
                    out.push(announce::message(&host.domain, &to, typ, subject, &self.body));
                }
                route::drain(router, out, Now::read()).await;
                router.store.settled().await?;
                let before = progress.sent.fetch_add(page.len(), Ordering::AcqRel);
                if before / TOLD_EVERY < (before + page.len()) / TOLD_EVERY {
                    let total = progress.total.load(Ordering::Acquire);
                    tracing::info!(sent = before + page.len(), total, "an announcement goes on");
                }
            }
        }
        tracing::info!(sent = progress.sent.load(Ordering::Acquire), "an announcement is out");
        Ok(())
    }
}

impl Kind {
    fn typ(self) -> Type {
        match self {
            Kind::Headline => Type::Headline,
            Kind::Normal => Type::Normal,
        }
    }
}

/// How far an announcement to all accounts is.
#[derive(Default)]
struct Progress {
    busy: AtomicBool,
    sent: AtomicUsize,
    total: AtomicUsize,
}

fn text(subject: &str, body: &str) -> Result<(), Refusal> {
    if subject.is_empty() && body.is_empty() {
        return Err(Refusal::usage("the announcement has neither subject nor body"));
    }
    if subject.len() + body.len() > TEXT_BYTES_MAX {
        let text = format!("an announcement has at most {TEXT_BYTES_MAX} bytes");
        return Err(Refusal::usage(text));
    }
    Ok(())
}

/// Those who would get a message now (RFC 6121 §8.5.2: not those of negative priority).
fn online(router: &Router, hosts: &[Arc<HostConfig>]) -> Vec<Arc<Session>> {
    let mut sessions = router.sessions.all();
    sessions.retain(|session| {
        session.is_available()
            && session.priority() >= 0
            && !session.has(Flag::Ended)
            && hosts.iter().any(|host| host.domain == session.jid.domain())
    });
    sessions
}

fn tell(sessions: &[Arc<Session>], kind: Kind, subject: &str, body: &str) {
    for session in sessions {
        let to = &session.jid;
        route::to_session(session, announce::message(to.domain(), to, kind.typ(), subject, body));
    }
}

/// Tells how far an announcement to all accounts is.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Status {}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Way {
    /// There is one on its way.
    pub goes_on: bool,
    /// Accounts that this one, or the last one, has reached.
    pub sent: usize,
    pub total: usize,
}

impl Operation for Status {
    const NAME: &'static str = "announce.status";
    const SUMMARY: &'static str = "Tell how far an announcement to all accounts is";
    const CLASS: Class = Class::Safe;
    const EXAMPLE: Example =
        Example { arguments: "{}", output: r#"{"goes_on": true, "sent": 4200, "total": 10000}"# };
    type Output = Way;

    async fn run(self, cx: &Context) -> Result<Way, Refusal> {
        let progress = cx.running()?.router().places.get::<Progress>();
        Ok(Way {
            goes_on: progress.busy.load(Ordering::Acquire),
            sent: progress.sent.load(Ordering::Acquire),
            total: progress.total.load(Ordering::Acquire),
        })
    }
}

/// Sets the message of the day: every account reads it once, at its next sign-in.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SetMotd {
    /// Only on this host; on all if empty.
    pub host: String,
    pub subject: String,
    pub body: String,
    /// Those who are online read it at once, and not again.
    pub tell_online: bool,
}

impl Operation for SetMotd {
    const NAME: &'static str = "motd.set";
    const SUMMARY: &'static str = "Set the message of the day";
    const CLASS: Class = Class::Reversible;
    const EXAMPLE: Example = Example {
        arguments: r#"{"host": "example.org", "subject": "Welcome", "body": "The server has moved.", "tell_online": true}"#,
        output: r#"{"sessions": 12, "accounts": 0, "goes_on": false}"#,
    };
    type Output = Sent;

    fn target(&self) -> String {
        self.host.clone()
    }

    async fn run(self, cx: &Context) -> Result<Sent, Refusal> {
        text(&self.subject, &self.body)?;
        let hosts = account::hosts(cx, &self.host)?;
        let router = cx.router();
        let mut told = Sent::default();
        for host in hosts {
            let of_host = std::slice::from_ref(&host);
            let sessions = if self.tell_online { online(&router, of_host) } else { Vec::new() };
            let accounts = sessions.iter().map(|session| session.account).collect();
            let motd = cx.store().motd();
            motd.set(&host.domain, &self.subject, &self.body, accounts, Now::read()).await?;
            tell(&sessions, Kind::Headline, &self.subject, &self.body);
            told.sessions += sessions.len();
        }
        Ok(told)
    }
}

/// Shows the message of the day of each host.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ShowMotd {
    /// Only of this host; of all if empty.
    pub host: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Motds {
    /// Hosts without one are left out.
    pub messages: Vec<Motd>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Motd {
    pub host: String,
    pub subject: String,
    pub body: String,
}

impl Operation for ShowMotd {
    const NAME: &'static str = "motd.show";
    const SUMMARY: &'static str = "Show the message of the day";
    const CLASS: Class = Class::Safe;
    const EXAMPLE: Example = Example {
        arguments: r#"{"host": "example.org"}"#,
        output: r#"{"messages": [{"host": "example.org", "subject": "Welcome", "body": "The server has moved."}]}"#,
    };
    type Output = Motds;

    fn target(&self) -> String {
        self.host.clone()
    }

    async fn run(self, cx: &Context) -> Result<Motds, Refusal> {
        let mut messages = Vec::new();
        for host in account::hosts(cx, &self.host)? {
            if let Some(motd) = cx.store().motd().get(&host.domain).await? {
                let (subject, body) = (motd.subject, motd.body);
                messages.push(Motd { host: host.domain.clone(), subject, body });
            }
        }
        Ok(Motds { messages })
    }
}

/// Takes the message of the day away.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DeleteMotd {
    /// Only of this host; of all if empty.
    pub host: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Deleted {
    /// Hosts that had one.
    pub hosts: Vec<String>,
}

impl Operation for DeleteMotd {
    const NAME: &'static str = "motd.delete";
    const SUMMARY: &'static str = "Take the message of the day away";
    const CLASS: Class = Class::Destructive;
    const EXAMPLE: Example = Example {
        arguments: r#"{"host": "example.org"}"#,
        output: r#"{"hosts": ["example.org"]}"#,
    };
    type Output = Deleted;

    fn target(&self) -> String {
        self.host.clone()
    }

    async fn run(self, cx: &Context) -> Result<Deleted, Refusal> {
        let mut hosts = Vec::new();
        for host in account::hosts(cx, &self.host)? {
            if cx.store().motd().delete(&host.domain).await? {
                hosts.push(host.domain.clone());
            }
        }
        Ok(Deleted { hosts })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::testing;
    use crate::jid::BareJid;

    #[tokio::test]
    async fn an_announcement_to_all_waits_for_those_who_are_away() {
        let (_dir, cx) = testing::offline();
        for n in 0..250 {
            let jid = BareJid::parse(&format!("u{n:03}@example.org")).unwrap();
            cx.store().accounts().create(&jid, Vec::new(), Now::read()).await.unwrap();
        }
        let body = "Back in five minutes.".to_owned();
        let send = Send { to: Audience::All, body, ..Send::default() };
        let sent = send.clone().run(&cx).await.unwrap();
        assert_eq!(sent, Sent { sessions: 0, accounts: 250, goes_on: false });
        for name in ["u000@example.org", "u249@example.org"] {
            let jid = BareJid::parse(name).unwrap();
            let facts = cx.store().facts(&jid).await.unwrap().unwrap();
            assert_eq!(cx.store().offline().count(facts.id).await.unwrap(), 1, "{name}");
        }
        assert_eq!(Send::default().run(&cx).await.unwrap_err().kind, RefusalKind::Usage);
        let far = Send { host: "elsewhere.example".into(), ..send };
        assert_eq!(far.run(&cx).await.unwrap_err().kind, RefusalKind::NotFound);
    }

    #[tokio::test]
    async fn the_message_of_the_day_is_set_shown_and_deleted() {
        let (_dir, cx) = testing::offline();
        let set = SetMotd { body: "Hello".into(), ..SetMotd::default() };
        set.run(&cx).await.unwrap();
        let shown = ShowMotd::default().run(&cx).await.unwrap();
        assert_eq!(shown.messages[0].body, "Hello");
        assert_eq!(DeleteMotd::default().run(&cx).await.unwrap().hosts, ["example.org"]);
        assert!(ShowMotd::default().run(&cx).await.unwrap().messages.is_empty());
        assert!(DeleteMotd::default().run(&cx).await.unwrap().hosts.is_empty());
    }
}
