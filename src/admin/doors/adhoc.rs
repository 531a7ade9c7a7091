//! Ad-hoc commands: the door of operators who sit in front of an XMPP client. Those of XEP-0133 by
//! their names ([`service`]), and every other operation with a form made from its schema
//! ([`form`]); besides, messages to `HOST/announce/…`.
//!
//! Who may is the rule `admin.access`, asked anew for every command and stage with the address of
//! the session and its network address. Whom it lets in is an operator; `admin.owners` makes an
//! owner of him. Others do not even see the commands.

mod form;
mod service;

use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::admin::op::{Class, Entry, OPS, Refusal, RefusalKind};
use crate::admin::{Actor, Context, Role, Running as Server, run};
use crate::features::Ctx;
use crate::features::adhoc::{self, Found, Listing, Provider, Running, Stage};
use crate::features::announce::{self, Act, Announcer, Announcing, Order};
use crate::router::{Router, Session};
use crate::stanza::error::{Condition, ErrorType, StanzaError};
use crate::stanza::forms::Form;
use crate::time::Now;

/// Nodes of operations that XEP-0133 does not know begin so.
const OWN: &str = "coucou/";

/// The door. It must not keep the server alive, whose router keeps it.
struct Door {
    server: Weak<dyn Server>,
}

/// Opens it.
pub fn install(server: &Arc<dyn Server>) {
    let door = Arc::new(Door { server: Arc::downgrade(server) });
    adhoc::install(server.router(), door.clone());
    announce::install(server.router(), door);
}

/// Who this session is here; `None` if nobody whom commands concern.
fn actor(router: &Router, session: &Session) -> Option<Actor> {
    let config = router.config.load_full();
    let (address, since) = {
        let facts = session.facts.lock();
        (facts.address.map(|address| address.ip().to_canonical()), facts.since)
    };
    let asked =
        |access| router.decide(access, session.jid.domain(), Some(&session.jid), address).allowed;
    if !asked(&config.admin.access) {
        return None;
    }
    let role = if asked(&config.admin.owners) { Role::Owner } else { Role::Operator };
    let age = Now::read().since(Now::from_secs(since));
    let now = Instant::now();
    Some(Actor {
        address,
        connected: now.checked_sub(age.min(Duration::from_secs(86_400 * 365))).unwrap_or(now),
        ..Actor::new(format!("jid={}", session.jid.bare()), "ad-hoc", role)
    })
}

/// A command that is being run: by whom, on what.
struct Visit<'a> {
    cx: &'a Ctx<'a>,
    actor: Actor,
    context: Context,
}

impl Visit<'_> {
    /// Has the operation `name` done.
    async fn call(&self, name: &str, arguments: Value) -> Result<Value, Refusal> {
        run::run(&self.context, &self.actor, name, arguments).await
    }
}

/// What a client is told of a refusal.
fn refused(refusal: Refusal) -> StanzaError {
    let text = match &refusal.help {
        Some(help) => format!("{}: {help}", refusal.text),
        None => refusal.text.clone(),
    };
    let error = |condition| StanzaError::new(condition).with_text(text.clone());
    match refusal.kind {
        RefusalKind::Usage => adhoc::bad_payload(text),
        RefusalKind::Denied => error(Condition::Forbidden).with_type(ErrorType::Cancel),
        RefusalKind::NotFound => error(Condition::ItemNotFound),
        RefusalKind::Conflict => error(Condition::Conflict),
        RefusalKind::TooOften => error(Condition::PolicyViolation).with_type(ErrorType::Wait),
        RefusalKind::Unavailable => error(Condition::ServiceUnavailable),
        RefusalKind::Bug => error(Condition::InternalServerError),
    }
}

impl Door {
    fn actor(&self, cx: &Ctx<'_>) -> Option<Actor> {
        actor(cx.router, cx.from.session()?)
    }
}

/// The operation behind a node of ours.
fn operation(node: &str) -> Option<&'static Entry> {
    let name = node.strip_prefix(OWN)?;
    OPS.iter().find(|entry| entry.name == name)
}

impl Provider for Door {
    fn list(&self, cx: &Ctx<'_>) -> Vec<Listing> {
        let Some(actor) = self.actor(cx) else { return Vec::new() };
        let services = service::ALL.iter().filter(|service| service.is_for(&actor));
        let services = services
            .map(|service| Listing { node: service.node(), name: service.title.to_owned() });
        let own = OPS.iter().filter(|entry| run::may_ever(&actor, entry)).map(|entry| Listing {
            node: format!("{OWN}{}", entry.name),
            name: format!("{}: {}", entry.name, entry.summary),
        });
        services.chain(own).collect()
    }

    fn find(&self, cx: &Ctx<'_>, node: &str) -> Found {
        let service = service::find(node);
        let operation = operation(node);
        let name = match (service, operation) {
            (Some(service), _) => service.title,
            (None, Some(entry)) => entry.summary,
            (None, None) => return Found::Nothing,
        };
        let Some(actor) = self.actor(cx) else { return Found::Forbidden };
        let may = service.is_some_and(|service| service.is_for(&actor))
            || operation.is_some_and(|entry| run::may_ever(&actor, entry));
        match may {
            true => Found::Command(Listing { node: node.to_owned(), name: name.to_owned() }),
            false => Found::Forbidden,
        }
    }

    fn run<'a>(&'a self, cx: &'a Ctx<'a>, node: &'a str, answers: &'a [Form]) -> Running<'a> {
        Box::pin(async move {
            let (Some(actor), Some(server)) = (self.actor(cx), self.server.upgrade()) else {
                return Err(Condition::Forbidden.into());
            };
            let visit = Visit { cx, actor, context: Context::live(server) };
            match (service::find(node), operation(node)) {
                (Some(service), _) => service::run(&visit, service.name, answers).await,
                (None, Some(entry)) => own(&visit, entry, answers).await,
                (None, None) => Err(Condition::ItemNotFound.into()),
            }
        })
    }
}

/// An operation by its own form; one that asks nothing and changes nothing is done at once.
async fn own(
    visit: &Visit<'_>,
    entry: &'static Entry,
    answers: &[Form],
) -> Result<Stage, StanzaError> {
    let questions = form::Questions::of(entry);
    let arguments = match answers.last() {
        Some(answer) => questions.arguments(answer).map_err(adhoc::bad_payload)?,
        None if questions.is_empty() && entry.class == Class::Safe => json!({}),
        None => return Ok(Stage::ask(questions.form(entry))),
    };
    let output = run::call(&visit.context, &visit.actor, entry, arguments).await;
    Ok(form::result(entry.summary, &output.map_err(refused)?))
}

impl Announcer for Door {
    fn announce(
        self: Arc<Self>,
        from: Arc<Session>,
        host: String,
        order: Order,
        subject: String,
        body: String,
    ) -> Announcing {
        Box::pin(async move {
            let server = self.server.upgrade();
            let server = server.ok_or(StanzaError::new(Condition::ServiceUnavailable))?;
            let Some(actor) = actor(server.router(), &from) else {
                return Err(Condition::ServiceUnavailable.into());
            };
            let host = if order.all_hosts { String::new() } else { host };
            let (name, arguments) = match order.act {
                Act::All | Act::Online => {
                    let to = if order.act == Act::All { "all" } else { "online" };
                    let arguments =
                        json!({ "to": to, "host": host, "subject": subject, "body": body });
                    ("announce.send", arguments)
                }
                Act::SetMotd | Act::UpdateMotd => {
                    let now = order.act == Act::SetMotd;
                    let arguments = json!({
                        "host": host, "subject": subject, "body": body, "tell_online": now,
                    });
                    ("motd.set", arguments)
                }
                Act::DeleteMotd => ("motd.delete", json!({ "host": host })),
            };
            run::run(&Context::live(server), &actor, name, arguments).await.map_err(refused)?;
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests;
