//! Invitations: create, list, show, revoke, sweep.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::account;
use crate::admin::Context;
use crate::admin::op::{Class, Example, Operation, Refusal, RefusalKind};
use crate::config::HostConfig;
use crate::config::value::{Secret, Span};
use crate::features::invites::{self, Link, Refused, Wanted};
use crate::jid::BareJid;
use crate::store::StoreError;
use crate::store::invites::{Invite as Row, InviteId, InviteKind, InviteState, InviteToken};
use crate::time::Now;

/// Invitations in one answer.
const PAGE_MAX: usize = 1000;

/// What an invitation is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// To make an account.
    #[default]
    Account,
    /// To become the inviter's contact.
    Contact,
    /// To choose a new password for an account that exists.
    Reset,
}

impl From<Kind> for InviteKind {
    fn from(kind: Kind) -> InviteKind {
        match kind {
            Kind::Account => InviteKind::Account,
            Kind::Contact => InviteKind::Contact,
            Kind::Reset => InviteKind::Reset,
        }
    }
}

impl From<InviteKind> for Kind {
    fn from(kind: InviteKind) -> Kind {
        match kind {
            InviteKind::Account => Kind::Account,
            InviteKind::Contact => Kind::Contact,
            InviteKind::Reset => Kind::Reset,
        }
    }
}

/// Makes an invitation. The link is shown this once: only a hash of its token is kept.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Create {
    pub kind: Kind,
    /// The host that the account is for; may be empty where there is only one, or where the inviter
    /// says it.
    pub host: String,
    /// The name of the account to be made, kept for it until then; of a reset, the account.
    pub name: Option<String>,
    /// The account that invites. A contact invitation needs one.
    pub inviter: Option<String>,
    /// The inviter and who comes in become each other's contacts; a contact invitation always does
    /// that.
    pub subscribe: bool,
    /// Whether who is invited as a contact may make an account here too.
    pub register: bool,
    /// Groups of the contact lists that both find each other in.
    pub groups: Vec<String>,
    pub note: String,
    /// Such as `7d`; the host's `lifetime` if left out.
    pub lifetime: Option<String>,
    /// How many may come in by it; 0 stands for 1.
    pub uses: u32,
}

/// An invitation that was just made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Made {
    pub id: i64,
    /// The `xmpp:` address to hand on. Whoever has it, is invited.
    pub uri: String,
    /// The web page that explains it, if the host has one.
    pub page: Option<String>,
    pub expires: String,
}

impl Operation for Create {
    const NAME: &'static str = "invite.create";
    const SUMMARY: &'static str = "Make an invitation and show its link";
    const CLASS: Class = Class::Reversible;
    const EXAMPLE: Example = Example {
        arguments: r#"{"host": "example.org", "name": "juliet", "lifetime": "3d"}"#,
        output: r#"{"id": 7, "uri": "xmpp:juliet@example.org?register;preauth=c3qk7wzmh2d5fye6s4tgnpjrab", "page": null, "expires": "2026-11-26T20:00:00.000Z"}"#,
    };
    type Output = Made;

    fn target(&self) -> String {
        match (&self.name, &self.inviter) {
            (Some(name), _) if !self.host.is_empty() => format!("{name}@{}", self.host),
            (_, Some(inviter)) if self.host.is_empty() => inviter.clone(),
            _ => self.host.clone(),
        }
    }

    /// A reset takes an account from whoever knows its password.
    fn class(&self) -> Class {
        match self.kind {
            Kind::Reset => Class::Destructive,
            Kind::Account | Kind::Contact => Class::Reversible,
        }
    }

    async fn run(self, cx: &Context) -> Result<Made, Refusal> {
        let inviter = match self.inviter.as_deref().filter(|jid| !jid.is_empty()) {
            Some(jid) => Some(account::account(cx, jid)?.0),
            None => None,
        };
        let host = host(cx, &self.host, inviter.as_ref())?;
        if let Some(inviter) = inviter.as_ref().filter(|jid| jid.domain() != host.domain) {
            let text = format!("{inviter} is no account of {}", host.domain);
            return Err(Refusal::usage(text).help("people invite to their own host"));
        }
        let lifetime = match self.lifetime.as_deref().filter(|text| !text.is_empty()) {
            Some(text) => {
                let span: Span = text
                    .parse()
                    .map_err(|error| Refusal::usage(format!("the lifetime {text:?} {error}")))?;
                Some(span.0)
            }
            None => None,
        };
        let name = self.name.filter(|name| !name.is_empty());
        let inviter = match self.kind {
            Kind::Account => inviter,
            Kind::Contact if inviter.is_some() => inviter,
            Kind::Contact => {
                return Err(Refusal::usage("a contact invitation needs an inviter"));
            }
            Kind::Reset => {
                let Some(name) = &name else {
                    return Err(Refusal::usage("a reset needs the name of the account"));
                };
                Some(account::account(cx, &format!("{name}@{}", host.domain))?.0)
            }
        };
        let kind = self.kind;
        let wanted = Wanted {
            registers: kind == Kind::Account || kind == Kind::Contact && self.register,
            subscribes: kind == Kind::Contact || self.subscribe && inviter.is_some(),
            inviter: inviter.clone(),
            name: name.filter(|_| kind != Kind::Contact),
            groups: self.groups,
            note: self.note,
            lifetime,
            uses: if kind == Kind::Reset { 1 } else { self.uses.max(1) },
            ..Wanted::new(kind.into())
        };
        let made = invites::create(&cx.router(), &host, wanted, false, Now::read()).await;
        let (invite, token) = made.map_err(|refused| match refused {
            Refused::Wrong(text) => Refusal::usage(sentence(&text)),
            Refused::Store(StoreError::AccountExists) => {
                let text = "the name is taken, or kept for somebody who was invited before";
                Refusal::new(RefusalKind::Conflict, text)
            }
            Refused::Store(StoreError::NoSuchAccount) => {
                let jid = inviter.map(|jid| jid.to_string()).unwrap_or_default();
                Refusal::not_found(format!("there is no account {jid}"))
            }
            Refused::Store(error) => error.into(),
        })?;
        let Link { uri, page } = Link::new(&host, &invite, &token);
        Ok(Made { id: invite.id.0, uri, page, expires: invite.expires.to_xmpp() })
    }
}

/// As refusals are told: without capital letter and full stop.
fn sentence(text: &str) -> String {
    let mut chars = text.trim_end_matches('.').chars();
    chars.next().map_or_else(String::new, |first| first.to_lowercase().chain(chars).collect())
}

/// The host that is meant.
fn host(cx: &Context, name: &str, inviter: Option<&BareJid>) -> Result<Arc<HostConfig>, Refusal> {
    let name = if name.is_empty() { inviter.map_or("", |jid| jid.domain()) } else { name };
    let hosts = account::hosts(cx, name)?;
    let mut real = hosts.iter().filter(|host| !host.is_guest());
    match (real.next(), real.next()) {
        (Some(host), None) => Ok(host.clone()),
        (None, _) => Err(Refusal::usage("guests need no invitation")),
        (Some(_), Some(_)) => Err(Refusal::usage("there are several hosts; name one")),
    }
}

/// Lists invitations, the newest first.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct List {
    /// Only for this host; all hosts if empty.
    pub host: String,
    /// Only by this account.
    pub inviter: Option<String>,
    /// Only those that can still be used.
    pub open: bool,
    /// Only below this id: [`Invites::next`] of the page before.
    pub before: Option<i64>,
    /// Invitations at most; 0 stands for as many as fit in an answer.
    pub max: usize,
}

/// A page of invitations.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Invites {
    pub invites: Vec<Invite>,
    /// Where the next page begins, if there is one.
    pub next: Option<i64>,
}

/// An invitation as operators see it; its token cannot be seen any more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Invite {
    pub id: i64,
    pub kind: Kind,
    /// `open`, `used`, `expired` or `revoked`.
    pub state: String,
    pub host: String,
    /// None: an operator.
    pub inviter: Option<String>,
    /// The account that it is kept for.
    pub name: Option<String>,
    pub register: bool,
    pub subscribe: bool,
    pub groups: Vec<String>,
    pub note: String,
    pub created: String,
    pub expires: String,
    pub uses: u32,
    pub uses_max: u32,
}

fn show(row: Row, now: Now) -> Invite {
    Invite {
        id: row.id.0,
        kind: row.kind.into(),
        state: row.state(now).name().to_owned(),
        inviter: row.inviter.filter(|_| row.kind != InviteKind::Reset).map(|jid| jid.to_string()),
        host: row.host,
        name: row.name,
        register: row.registers,
        subscribe: row.subscribes,
        groups: row.groups,
        note: row.note,
        created: row.created.to_xmpp(),
        expires: row.expires.to_xmpp(),
        uses: row.uses,
        uses_max: row.uses_max,
    }
}

impl Operation for List {
    const NAME: &'static str = "invite.list";
    const SUMMARY: &'static str = "List invitations";
    const CLASS: Class = Class::Safe;
    const EXAMPLE: Example = Example {
        arguments: r#"{"host": "example.org", "open": true}"#,
        output: r#"{"invites": [{"id": 7, "kind": "account", "state": "open", "host": "example.org", "inviter": null, "name": "juliet", "register": true, "subscribe": false, "groups": [], "note": "", "created": "2026-11-23T20:00:00.000Z", "expires": "2026-11-26T20:00:00.000Z", "uses": 0, "uses_max": 1}], "next": null}"#,
    };
    type Output = Invites;

    fn target(&self) -> String {
        self.inviter.clone().unwrap_or_else(|| self.host.clone())
    }

    async fn run(self, cx: &Context) -> Result<Invites, Refusal> {
        let now = Now::read();
        let max = if self.max == 0 { PAGE_MAX } else { self.max.min(PAGE_MAX) };
        let host = match self.host.as_str() {
            "" => None,
            name => account::hosts(cx, name)?.first().map(|host| host.domain.clone()),
        };
        let inviter = match self.inviter.as_deref().filter(|jid| !jid.is_empty()) {
            Some(jid) => Some(account::account(cx, jid)?.0),
            None => None,
        };
        let mut page = Invites::default();
        let mut before = self.before.map(InviteId);
        // Filtered here, page by page: what is open is a matter of the moment.
        loop {
            let rows = cx
                .store()
                .invites()
                .list(host.as_deref(), inviter.as_ref(), before, PAGE_MAX)
                .await?;
            let Some(last) = rows.last().map(|row| row.id) else { return Ok(page) };
            for row in rows {
                if self.open && row.state(now) != InviteState::Open {
                    continue;
                }
                if page.invites.len() == max {
                    page.next = page.invites.last().map(|invite| invite.id);
                    return Ok(page);
                }
                page.invites.push(show(row, now));
            }
            before = Some(last);
        }
    }
}

/// Shows one invitation and who came in by it.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Show {
    pub id: i64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Shown {
    pub invite: Invite,
    pub used: Vec<Use>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Use {
    pub jid: String,
    pub at: String,
}

impl Operation for Show {
    const NAME: &'static str = "invite.show";
    const SUMMARY: &'static str = "Show an invitation and who came in by it";
    const CLASS: Class = Class::Safe;
    const EXAMPLE: Example = Example {
        arguments: r#"{"id": 7}"#,
        output: r#"{"invite": {"id": 7, "kind": "account", "state": "used", "host": "example.org", "inviter": null, "name": "juliet", "register": true, "subscribe": false, "groups": [], "note": "", "created": "2026-11-23T20:00:00.000Z", "expires": "2026-11-26T20:00:00.000Z", "uses": 1, "uses_max": 1}, "used": [{"jid": "juliet@example.org", "at": "2026-11-24T08:00:00.000Z"}]}"#,
    };
    type Output = Shown;

    fn target(&self) -> String {
        self.id.to_string()
    }

    /// A number says nothing of the host.
    fn host(&self) -> Option<String> {
        None
    }

    async fn run(self, cx: &Context) -> Result<Shown, Refusal> {
        let id = InviteId(self.id);
        let row = cx.store().invites().get(id).await?.ok_or_else(|| unknown(self.id))?;
        let uses = cx.store().invites().uses(id).await?;
        let used = uses.into_iter().map(|(jid, at)| Use { jid: jid.to_string(), at: at.to_xmpp() });
        Ok(Shown { invite: show(row, Now::read()), used: used.collect() })
    }
}

fn unknown(id: i64) -> Refusal {
    Refusal::not_found(format!("there is no invitation {id}"))
        .help("`coucou invite list` shows them by number")
}

/// Takes invitations back: one by its number or token, or all open ones of an account.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Revoke {
    pub id: Option<i64>,
    pub token: Option<Secret>,
    pub inviter: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Count {
    pub count: usize,
}

impl Operation for Revoke {
    const NAME: &'static str = "invite.revoke";
    const SUMMARY: &'static str = "Take invitations back";
    const CLASS: Class = Class::Reversible;
    const EXAMPLE: Example = Example { arguments: r#"{"id": 7}"#, output: r#"{"count": 1}"# };
    type Output = Count;

    fn target(&self) -> String {
        match (&self.inviter, self.id) {
            (Some(inviter), _) => inviter.clone(),
            (None, Some(id)) => id.to_string(),
            (None, None) => String::new(),
        }
    }

    /// A number or a token says nothing of the host.
    fn host(&self) -> Option<String> {
        let inviter = self.inviter.as_deref()?;
        BareJid::parse(inviter).ok().map(|jid| jid.domain().to_owned())
    }

    fn to_wire(&self) -> Value {
        let token = self.token.as_ref().map(Secret::reveal);
        serde_json::json!({ "id": self.id, "token": token, "inviter": self.inviter })
    }

    async fn run(self, cx: &Context) -> Result<Count, Refusal> {
        let (invites, now) = (cx.store().invites(), Now::read());
        let id = match (self.id, &self.token, self.inviter) {
            (Some(id), None, None) => InviteId(id),
            (None, Some(token), None) => {
                let found = match InviteToken::presented(token.reveal()) {
                    Some(token) => invites.find(&token).await?,
                    None => None,
                };
                found.ok_or_else(|| Refusal::not_found("no invitation has this token"))?.id
            }
            (None, None, Some(inviter)) => {
                let (jid, _) = account::account(cx, &inviter)?;
                return Ok(Count { count: invites.revoke_of(&jid, now).await? });
            }
            _ => {
                return Err(Refusal::usage("name one of these: an id, a token, an inviter"));
            }
        };
        let revoked = invites.revoke(id, now).await;
        let revoked = revoked.map_err(|error| match error {
            StoreError::NotFound => unknown(id.0),
            error => error.into(),
        })?;
        Ok(Count { count: usize::from(revoked) })
    }
}

/// Forgets invitations that have expired. The server does so by itself, a week after.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Sweep {}

impl Operation for Sweep {
    const NAME: &'static str = "invite.sweep";
    const SUMMARY: &'static str = "Forget invitations that have expired";
    const CLASS: Class = Class::Destructive;
    const EXAMPLE: Example = Example { arguments: "{}", output: r#"{"count": 3}"# };
    type Output = Count;

    async fn run(self, cx: &Context) -> Result<Count, Refusal> {
        Ok(Count { count: cx.store().invites().sweep(Now::read()).await? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::testing;

    fn create(kind: Kind) -> Create {
        Create { kind, host: "example.org".to_owned(), ..Create::default() }
    }

    #[tokio::test]
    async fn an_invitation_is_made_listed_shown_and_revoked() {
        let (_dir, cx) = testing::offline();
        let wanted = Create { name: Some("Juliet".into()), ..create(Kind::Account) };
        let made = wanted.clone().run(&cx).await.unwrap();
        assert!(made.uri.starts_with("xmpp:juliet@example.org?register;preauth="), "{}", made.uri);
        let again = wanted.run(&cx).await.unwrap_err();
        assert_eq!(again.kind, RefusalKind::Conflict);
        let list = List { open: true, ..List::default() }.run(&cx).await.unwrap();
        assert_eq!((list.invites.len(), list.next), (1, None));
        let shown = Show { id: made.id }.run(&cx).await.unwrap();
        assert_eq!((shown.invite.state.as_str(), shown.used.len()), ("open", 0));
        let token = made.uri.rsplit('=').next().map(Secret::new);
        let revoke = Revoke { token, ..Revoke::default() };
        assert_eq!(revoke.clone().run(&cx).await.unwrap().count, 1);
        assert_eq!(revoke.run(&cx).await.unwrap().count, 0);
        assert!(List { open: true, ..List::default() }.run(&cx).await.unwrap().invites.is_empty());
        assert_eq!(Show { id: 99 }.run(&cx).await.unwrap_err().kind, RefusalKind::NotFound);
    }

    #[tokio::test]
    async fn what_makes_no_sense_is_told() {
        let (_dir, cx) = testing::offline();
        for (wanted, told) in [
            (create(Kind::Contact), "needs an inviter"),
            (create(Kind::Reset), "needs the name"),
            (Create { name: Some("a b".into()), ..create(Kind::Account) }, "no name of an account"),
            (Create { name: Some("a@b".into()), ..create(Kind::Account) }, "no name of an account"),
            (Create { lifetime: Some("soon".into()), ..create(Kind::Account) }, "the lifetime"),
            (Create { host: "elsewhere.example".into(), ..Create::default() }, "not a host"),
            (
                Create { inviter: Some("nobody@example.org".into()), ..create(Kind::Contact) },
                "there is no account nobody@example.org",
            ),
            (
                Create { name: Some("nobody".into()), ..create(Kind::Reset) },
                "there is no account nobody@example.org",
            ),
            (Create { uses: 5, name: Some("a".into()), ..create(Kind::Account) }, "used once"),
        ] {
            let refusal = wanted.run(&cx).await.unwrap_err();
            assert!(refusal.text.contains(told), "{refusal}");
        }
        let none = Revoke::default().run(&cx).await.unwrap_err();
        assert_eq!(none.kind, RefusalKind::Usage);
    }

    #[test]
    fn a_token_stays_out_of_the_audit() {
        let revoke = Revoke { token: Some(Secret::new("c3qk")), ..Revoke::default() };
        assert!(!serde_json::to_string(&revoke).unwrap().contains("c3qk"));
        assert_eq!(revoke.to_wire()["token"], "c3qk");
    }
}
