//! Accounts: add, list, password, lock, unlock, remove.

pub mod bin;
pub mod devices;
pub mod hash;
pub mod last;
pub mod locked;
pub mod purge;
pub mod show;

pub use bin::Remove;

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::access::registration::Door;
use crate::admin::Context;
use crate::admin::op::{Class, Example, Operation, Refusal, RefusalKind};
use crate::auth::credentials::Password as Prepared;
use crate::config::HostConfig;
use crate::config::value::Secret;
use crate::delivery;
use crate::features::register::{self, New, NotMade};
use crate::jid::BareJid;
use crate::stanza::error::Condition;
use crate::store::accounts;
use crate::stream::accounts::Verdict;
use crate::time::Now;
use crate::xml::stream_error::StreamCondition;

/// Accounts in one answer.
const PAGE_MAX: usize = 1000;
/// Neighbours in the alphabet that a refusal looks at, on either side.
const NEAR_MAX: usize = 2;
/// How alike two names are, from 0 to 1, that may be meant for one another.
const NEAR_ENOUGH: f64 = 0.85;

/// Arguments that name one account, and nothing else to tell of the outcome.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Done {
    pub jid: String,
    /// Sessions that ended by it.
    #[serde(default)]
    pub sessions_ended: usize,
}

/// Makes an account.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Add {
    pub jid: String,
    pub password: Secret,
    /// Whatever the policy of registration says to the name and the password.
    #[serde(default)]
    pub force: bool,
}

impl Operation for Add {
    const NAME: &'static str = "account.add";
    const SUMMARY: &'static str = "Make an account";
    const CLASS: Class = Class::Reversible;
    const EXAMPLE: Example = Example {
        arguments: r#"{"jid": "anna@example.org", "password": "correct horse battery"}"#,
        output: r#"{"jid": "anna@example.org", "sessions_ended": 0}"#,
    };
    type Output = Done;

    fn target(&self) -> String {
        self.jid.clone()
    }

    fn to_wire(&self) -> Value {
        let password = self.password.reveal();
        serde_json::json!({ "jid": self.jid, "password": password, "force": self.force })
    }

    async fn run(self, cx: &Context) -> Result<Done, Refusal> {
        let (jid, _) = account(cx, &self.jid)?;
        if cx.store().accounts().find(&jid).await?.is_some() {
            return Err(exists(&jid));
        }
        if cx.store().bin().find(&jid).await?.is_some() {
            let text = format!("{jid} was removed and can still be restored");
            return Err(Refusal::new(RefusalKind::Conflict, text).help(format!(
                "`coucou account restore {jid}` brings it back, `coucou account purge {jid}` \
                 frees the name"
            )));
        }
        usable(&self.password)?;
        let new = New::by_operator(jid.clone(), self.password, door(cx), self.force);
        match delivery::accounts::create(&cx.router(), new, Now::read()).await {
            Ok(made) => Ok(Done { jid: made.jid.to_string(), sessions_ended: 0 }),
            Err(not_made) => Err(not_made_refusal(not_made)),
        }
    }
}

/// Can this be a password at all?
fn usable(password: &Secret) -> Result<(), Refusal> {
    Prepared::prepare(password.reveal()).map(drop).map_err(|e| Refusal::usage(e.to_string()))
}

/// Where the operator came in.
fn door(cx: &Context) -> Door {
    match cx.actor().map(|actor| actor.from.as_str()) {
        None | Some("socket") => Door::Cli,
        Some(from) if from.starts_with("xmpp") || from.starts_with("ad-hoc") => Door::AdHoc,
        Some(_) => Door::Api,
    }
}

/// What an operator is told, who may know which setting it was.
pub(in crate::admin) fn not_made_refusal(not_made: NotMade) -> Refusal {
    match not_made {
        NotMade::Store(error) => error.into(),
        NotMade::Refused(refused) => {
            let kind = match refused.condition {
                Condition::Conflict => RefusalKind::Conflict,
                Condition::JidMalformed => RefusalKind::Usage,
                _ => RefusalKind::Denied,
            };
            let said = refused.text.split_terminator(". ").next().unwrap_or_default();
            let said = said.trim_end_matches('.');
            let (first, rest) = said.split_at(said.chars().next().map_or(0, char::len_utf8));
            let text = format!("{}{rest}: {}", first.to_lowercase(), refused.because);
            Refusal::new(kind, text).help("`--force` (force: true) does it all the same")
        }
    }
}

fn exists(jid: &BareJid) -> Refusal {
    Refusal::new(RefusalKind::Conflict, format!("the account {jid} exists already"))
        .help(format!("`coucou account password {jid}` sets a new password"))
}

/// Lists accounts by host and name.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct List {
    /// Only this host; all hosts if empty.
    pub host: String,
    /// Only names that begin so.
    pub prefix: String,
    /// Only accounts after this JID: [`Accounts::next`] of the page before.
    pub after: Option<String>,
    /// Accounts at most; 0 stands for as many as fit in an answer.
    pub max: usize,
}

/// A page of accounts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Accounts {
    pub accounts: Vec<Account>,
    /// Where the next page begins, if there is one.
    pub next: Option<String>,
}

/// An account as operators see it. Times are XEP-0082 text, UTC.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Account {
    pub jid: String,
    pub created: String,
    /// When its last session ended.
    pub last_seen: Option<String>,
    pub locked: Option<Locked>,
    /// Sessions now; unknown while the server is down.
    pub sessions: Option<usize>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Locked {
    pub since: String,
    pub reason: String,
}

impl Operation for List {
    const NAME: &'static str = "account.list";
    const SUMMARY: &'static str = "List accounts";
    const CLASS: Class = Class::Safe;
    const EXAMPLE: Example = Example {
        arguments: r#"{"host": "example.org", "max": 100}"#,
        output: r#"{"accounts": [{"jid": "anna@example.org", "created": "2026-11-23T20:00:00Z", "last_seen": null, "locked": null, "sessions": 1}], "next": null}"#,
    };
    type Output = Accounts;

    fn target(&self) -> String {
        self.host.clone()
    }

    async fn run(self, cx: &Context) -> Result<Accounts, Refusal> {
        let max = if self.max == 0 { PAGE_MAX } else { self.max.min(PAGE_MAX) };
        let after = self.after.as_deref().map(parse).transpose()?;
        let hosts = hosts(cx, &self.host)?;
        // A page that begins after an account leaves out the hosts before that account's.
        let skip = after
            .as_ref()
            .and_then(|after| hosts.iter().position(|host| host.domain == after.domain()));
        let mut page = Accounts::default();
        for host in hosts.iter().skip(skip.unwrap_or(0)) {
            let after = after
                .as_ref()
                .filter(|after| after.domain() == host.domain)
                .and_then(|jid| jid.local());
            // One more than wanted tells whether there is a next page.
            let wanted = max + 1 - page.accounts.len();
            let rows =
                cx.store().accounts().list(&host.domain, &self.prefix, after, wanted).await?;
            page.accounts.extend(rows.into_iter().map(|row| show(cx, row)));
            if page.accounts.len() > max {
                page.accounts.truncate(max);
                page.next = page.accounts.last().map(|account| account.jid.clone());
                break;
            }
        }
        Ok(page)
    }
}

fn show(cx: &Context, row: accounts::Account) -> Account {
    Account {
        sessions: cx.server().map(|_| cx.sessions(&row.jid).len()),
        jid: row.jid.to_string(),
        created: row.created.to_xmpp(),
        last_seen: row.last_seen.map(|seen| seen.at.to_xmpp()),
        locked: row.lock.map(Locked::from),
    }
}

impl From<accounts::Lock> for Locked {
    fn from(lock: accounts::Lock) -> Locked {
        Locked { since: lock.since.to_xmpp(), reason: lock.reason }
    }
}

/// Sets a new password. Sessions and signed-in devices end, since they may be what the change is
/// about.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Password {
    pub jid: String,
    pub password: Secret,
}

impl Operation for Password {
    const NAME: &'static str = "account.password";
    const SUMMARY: &'static str = "Set an account's password and sign its devices out";
    const CLASS: Class = Class::Destructive;
    const EXAMPLE: Example = Example {
        arguments: r#"{"jid": "anna@example.org", "password": "correct horse battery"}"#,
        output: r#"{"jid": "anna@example.org", "sessions_ended": 2}"#,
    };
    type Output = Done;

    fn target(&self) -> String {
        self.jid.clone()
    }

    fn to_wire(&self) -> Value {
        serde_json::json!({ "jid": self.jid, "password": self.password.reveal() })
    }

    async fn run(self, cx: &Context) -> Result<Done, Refusal> {
        let (jid, host) = account(cx, &self.jid)?;
        existing(cx, &jid).await?;
        usable(&self.password)?;
        let router = cx.router();
        let set = register::set_password(&router, &host, &jid, self.password, door(cx));
        set.await.map_err(|not_made| Refusal { help: None, ..not_made_refusal(not_made) })?;
        let sessions_ended =
            cx.end_sessions(&jid, StreamCondition::Reset, "The password was changed");
        Ok(Done { jid: jid.to_string(), sessions_ended })
    }
}

/// Keeps an account and all that is its own, but lets nobody in.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Lock {
    pub jid: String,
    /// For operators, and for the devices that are signed out.
    #[serde(default)]
    pub reason: String,
}

impl Operation for Lock {
    const NAME: &'static str = "account.lock";
    const SUMMARY: &'static str = "Let nobody sign in to an account, and sign its devices out";
    const CLASS: Class = Class::Reversible;
    const EXAMPLE: Example = Example {
        arguments: r#"{"jid": "anna@example.org", "reason": "Sent spam"}"#,
        output: r#"{"jid": "anna@example.org", "sessions_ended": 1}"#,
    };
    type Output = Done;

    fn target(&self) -> String {
        self.jid.clone()
    }

    async fn run(self, cx: &Context) -> Result<Done, Refusal> {
        let (jid, _) = account(cx, &self.jid)?;
        existing(cx, &jid).await?;
        let lock = accounts::Lock { since: Now::read(), reason: self.reason.clone() };
        // The store ends the devices' tokens with it.
        cx.store().accounts().set_lock(&jid, Some(lock)).await?;
        let text = if self.reason.is_empty() { "The account is locked" } else { &self.reason };
        let sessions_ended = cx.end_sessions(&jid, StreamCondition::NotAuthorized, text);
        Ok(Done { jid: jid.to_string(), sessions_ended })
    }
}

/// Undoes [`Lock`].
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Unlock {
    pub jid: String,
}

impl Operation for Unlock {
    const NAME: &'static str = "account.unlock";
    const SUMMARY: &'static str = "Let a locked account sign in again";
    const CLASS: Class = Class::Reversible;
    const EXAMPLE: Example = Example {
        arguments: r#"{"jid": "anna@example.org"}"#,
        output: r#"{"jid": "anna@example.org", "sessions_ended": 0}"#,
    };
    type Output = Done;

    fn target(&self) -> String {
        self.jid.clone()
    }

    async fn run(self, cx: &Context) -> Result<Done, Refusal> {
        let (jid, _) = account(cx, &self.jid)?;
        existing(cx, &jid).await?;
        cx.store().accounts().set_lock(&jid, None).await?;
        Ok(Done { jid: jid.to_string(), sessions_ended: 0 })
    }
}

/// Tries a password, as a sign-in would: failures count against the caller's address and the
/// account.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CheckPassword {
    pub jid: String,
    pub password: Secret,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PasswordCheck {
    /// The account would be let in.
    pub right: bool,
    /// Why not, for operators.
    pub because: Option<String>,
}

impl Operation for CheckPassword {
    const NAME: &'static str = "account.check_password";
    const SUMMARY: &'static str = "Try an account's password";
    const CLASS: Class = Class::Safe;
    const PRIVATE: bool = true;
    /// Other programs ask at each of their sign-ins; the limiter and the log know of it.
    const AUDITED: bool = false;
    const EXAMPLE: Example = Example {
        arguments: r#"{"jid": "anna@example.org", "password": "correct horse battery"}"#,
        output: r#"{"right": false, "because": "the password is wrong"}"#,
    };
    type Output = PasswordCheck;

    fn target(&self) -> String {
        self.jid.clone()
    }

    fn to_wire(&self) -> Value {
        serde_json::json!({ "jid": self.jid, "password": self.password.reveal() })
    }

    async fn run(self, cx: &Context) -> Result<PasswordCheck, Refusal> {
        let streams = cx.running()?.streams();
        let (jid, _) = account(cx, &self.jid)?;
        let address = cx.actor().and_then(|actor| actor.address);
        let because = match streams.check_password(address, &jid, self.password.reveal()).await? {
            Verdict::Right => None,
            // Whether there is such an account can be asked elsewhere; a wrong name is a wrong
            // password here as it is at sign-in.
            Verdict::Wrong => Some("the password is wrong"),
            Verdict::Locked => Some("the password is right and the account is locked"),
            Verdict::TooOften => {
                return Err(Refusal::new(
                    RefusalKind::TooOften,
                    "too many wrong passwords were tried; wait a minute",
                ));
            }
        };
        Ok(PasswordCheck { right: because.is_none(), because: because.map(str::to_owned) })
    }
}

pub(super) fn parse(jid: &str) -> Result<BareJid, Refusal> {
    BareJid::parse(jid).map_err(|error| {
        Refusal::usage(format!("{jid:?} is not the address of an account: {error}"))
            .help("write name@domain, as in anna@example.org")
    })
}

/// The address of an account on one of our hosts; whether it exists is not asked.
pub(super) fn account(cx: &Context, jid: &str) -> Result<(BareJid, Arc<HostConfig>), Refusal> {
    let jid = parse(jid)?;
    if jid.local().is_none() {
        return Err(Refusal::usage(format!("{jid} names a host, not an account"))
            .help(format!("write name@{}", jid.domain())));
    }
    let host = hosts(cx, jid.domain())?.remove(0);
    if host.is_guest() {
        let text =
            format!("{} is for guests (auth = \"anonymous\") and has no accounts", jid.domain());
        return Err(Refusal::denied(text));
    }
    Ok((jid, host))
}

/// The host of that name, or all for an empty name; never an empty list.
pub(super) fn hosts(cx: &Context, name: &str) -> Result<Vec<Arc<HostConfig>>, Refusal> {
    if name.is_empty() {
        return Ok(cx.config().hosts.clone());
    }
    let domain = crate::config::value::domain(name)
        .map_err(|reason| Refusal::usage(format!("{name:?} {reason}")))?;
    match cx.config().host(&domain) {
        Some(host) => Ok(vec![host.clone()]),
        None => {
            let known: Vec<&str> =
                cx.config().hosts.iter().map(|host| host.domain.as_str()).collect();
            Err(Refusal::not_found(format!("{domain} is not a host of this server"))
                .help(format!("its hosts are: {}", known.join(", "))))
        }
    }
}

/// The account of that address. A refusal names those that were probably meant.
pub(super) async fn existing(cx: &Context, jid: &BareJid) -> Result<accounts::Account, Refusal> {
    if let Some(found) = cx.store().accounts().find(jid).await? {
        return Ok(found);
    }
    let refusal = Refusal::not_found(format!("there is no account {jid}"));
    let name = jid.local().unwrap_or_default();
    let mut near = cx.store().survey().names_near(jid.domain(), name, NEAR_MAX).await?;
    near.retain(|other| strsim::jaro_winkler(name, other) >= NEAR_ENOUGH);
    if near.is_empty() {
        return Err(refusal.help("`coucou account list` shows them all"));
    }
    let jids: Vec<String> = near.iter().map(|name| format!("{name}@{}", jid.domain())).collect();
    Err(refusal.help(format!("did you mean {}?", jids.join(" or "))))
}

#[cfg(test)]
#[path = "account/tests.rs"]
mod more_tests;

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::store::{Store, StoreOptions};

    /// Two hosts with accounts and one for guests.
    async fn context(dir: &Path) -> Context {
        let text = "[hosts.\"a.org\"]\nscram_iterations = 4096\nmechanisms = [\"SCRAM-SHA-1\"]\n\
                    [hosts.\"b.org\"]\nscram_iterations = 4096\nmechanisms = [\"SCRAM-SHA-1\"]\n\
                    [hosts.\"guests.org\"]\nauth = \"anonymous\"\n";
        let config = crate::config::parse(text, &dir.join("coucou.toml")).unwrap().config;
        let store = Store::open(dir, StoreOptions::default()).unwrap();
        let cx = Context::offline(store, Arc::new(config));
        for jid in ["ann@a.org", "bob@a.org", "cy@a.org", "ann@b.org", "dan@b.org"] {
            add(&cx, jid).await.unwrap();
        }
        cx
    }

    async fn add(cx: &Context, jid: &str) -> Result<Done, Refusal> {
        Add { jid: jid.to_owned(), password: Secret::new("pencil"), force: false }.run(cx).await
    }

    async fn list(cx: &Context, list: List) -> (Vec<String>, Option<String>) {
        let page = list.run(cx).await.unwrap();
        (page.accounts.into_iter().map(|account| account.jid).collect(), page.next)
    }

    #[tokio::test]
    async fn pages_run_over_all_hosts_and_miss_nobody() {
        let dir = tempfile::tempdir().unwrap();
        let cx = context(dir.path()).await;
        let (mut all, mut after) = (Vec::new(), None);
        loop {
            let (page, next) = list(&cx, List { max: 2, after, ..List::default() }).await;
            assert!(page.len() <= 2);
            all.extend(page);
            after = next;
            if after.is_none() {
                break;
            }
        }
        assert_eq!(all, ["ann@a.org", "bob@a.org", "cy@a.org", "ann@b.org", "dan@b.org"]);
        let only = List { host: "B.org".to_owned(), prefix: "a".to_owned(), ..List::default() };
        assert_eq!(list(&cx, only).await, (vec!["ann@b.org".to_owned()], None));
    }

    #[tokio::test]
    async fn refusals_name_what_is_wrong() {
        let dir = tempfile::tempdir().unwrap();
        let cx = context(dir.path()).await;
        for (jid, kind) in [
            ("ANN@a.org", RefusalKind::Conflict),
            ("x@guests.org", RefusalKind::Denied),
            ("x@elsewhere.org", RefusalKind::NotFound),
            ("a.org", RefusalKind::Usage),
            ("a@b@c", RefusalKind::Usage),
        ] {
            assert_eq!(add(&cx, jid).await.unwrap_err().kind, kind, "{jid}");
        }
        let unlock = Unlock { jid: "nobody@a.org".to_owned() }.run(&cx).await;
        assert_eq!(unlock.unwrap_err().kind, RefusalKind::NotFound);
        let empty =
            Password { jid: "ann@a.org".to_owned(), password: Secret::new("") }.run(&cx).await;
        assert_eq!(empty.unwrap_err().kind, RefusalKind::Usage);
    }

    #[tokio::test]
    async fn every_act_leaves_a_line_in_the_audit() {
        use crate::admin::{Actor, Role, run};
        let dir = tempfile::tempdir().unwrap();
        let cx = context(dir.path()).await;
        let actor = Actor::new("uid=1(eve)", "test", Role::Operator);
        for (name, arguments) in [
            ("account.lock", serde_json::json!({"jid": "ann@a.org", "reason": "spam"})),
            ("account.password", serde_json::json!({"jid": "no@a.org", "password": "pencil"})),
            ("account.list", serde_json::json!({})),
            ("server.stop", serde_json::json!({})),
        ] {
            let _ = run::run(&cx, &actor, name, arguments).await;
        }
        let query = crate::store::audit::AuditQuery { max: 10, ..Default::default() };
        let acts = cx.store().audit().list(query).await.unwrap();
        let told: Vec<_> =
            acts.iter().rev().map(|(_, act)| (act.what.as_str(), act.target.as_str())).collect();
        assert_eq!(
            told,
            [("account.lock", "ann@a.org"), ("account.password", "no@a.org"), ("server.stop", "")]
        );
        let details: Vec<_> = acts.iter().rev().map(|(_, act)| act.detail.as_str()).collect();
        assert!(details[0].contains("\"outcome\":\"done\""), "{details:?}");
        assert!(details[1].contains("***") && !details[1].contains("pencil"), "{details:?}");
        assert!(details[2].contains("lock everybody out"), "{details:?}");
    }
}
