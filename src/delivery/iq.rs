//! IQ requests to a host or an account: the static table (target, verb, name, namespace) → handler,
//! built once from `features::ALL`, and the one place that checks who may call.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use crate::config::HostConfig;
use crate::features::{self, Actor, Ctx, Iq, IqRoute, Outbox, Reply, Target, Verb, Who};
use crate::jid::BareJid;
use crate::router::Router;
use crate::stanza::error::{Condition, StanzaError};
use crate::stanza::{Stanza, Type};
use crate::time::Now;

type Key = (Target, Verb, &'static str, &'static str);

static TABLE: LazyLock<HashMap<Key, &'static IqRoute>> = LazyLock::new(|| {
    let routes = features::ALL.iter().flat_map(|f| f.iq);
    routes.map(|r| ((r.target, r.verb, r.name, r.ns), r)).collect()
});

/// Answers an IQ get or set addressed to `host` (no `account`) or to one of its accounts.
/// The answer, or the error, is pushed to `out` behind whatever the handler pushed.
pub async fn answer(
    router: &Arc<Router>,
    host: &Arc<HostConfig>,
    account: Option<BareJid>,
    from: Actor<'_>,
    stanza: Stanza,
    out: &Outbox,
    now: Now,
) {
    let request = stanza.clone();
    let cx = Ctx { router, host, from, account, now, out };
    let reply = match dispatch(&cx, stanza).await {
        Ok(Reply::Empty) => request.result(None),
        Ok(Reply::Result(payload)) => request.result(Some(payload)),
        Ok(Reply::Later) => return,
        Err(error) => match request.error_reply(&error) {
            Some(reply) => reply,
            None => return,
        },
    };
    match from {
        Actor::Session(session) => out.push_to(session, reply),
        Actor::Foreign(_) => out.push(reply),
    }
}

async fn dispatch(cx: &Ctx<'_>, stanza: Stanza) -> Result<Reply, StanzaError> {
    let verb = match stanza.head.typ {
        Some(Type::Get) => Verb::Get,
        Some(Type::Set) => Verb::Set,
        _ => return Err(Condition::BadRequest.into()),
    };
    let (route, payload) = {
        let Some(child) = stanza.children().next() else {
            return Err(Condition::BadRequest.into());
        };
        let target = if cx.account.is_some() { Target::Account } else { Target::Host };
        let Some(route) = find(target, verb, child.name(), child.ns()) else {
            return Err(StanzaError::new(Condition::ServiceUnavailable));
        };
        permit(cx, route).await?;
        let payload = child
            .element()
            .map_err(|e| StanzaError::new(Condition::BadRequest).with_text(e.to_string()))?;
        (route, payload)
    };
    (route.handler)(cx, Iq { stanza, payload }).await
}

fn find(target: Target, verb: Verb, name: &str, ns: &str) -> Option<&'static IqRoute> {
    // The key's lifetime is that of the table, but a shorter one serves to look up.
    let table: &HashMap<(Target, Verb, &str, &str), &'static IqRoute> = &TABLE;
    table.get(&(target, verb, name, ns)).copied()
}

/// Authorises at the point of action. Strangers learn nothing: what they may not ask looks like
/// an account that does not exist.
async fn permit(cx: &Ctx<'_>, route: &IqRoute) -> Result<(), StanzaError> {
    let refused = || Err(StanzaError::new(Condition::ServiceUnavailable));
    match route.who {
        Who::Anyone => Ok(()),
        Who::Local if cx.from.session().is_some() => Ok(()),
        Who::Local => refused(),
        Who::Owner if cx.is_owner() => Ok(()),
        Who::Owner if cx.from.session().is_some() => Err(StanzaError::new(Condition::Forbidden)),
        Who::Owner => refused(),
        Who::Subscriber if cx.is_owner() => Ok(()),
        Who::Subscriber => {
            let owner = cx.account()?;
            let facts = cx.router.store.facts(owner).await?;
            let asker = cx.from.jid().bare_str();
            let seen = facts.is_some_and(|facts| facts.subscription(asker).from());
            if seen { Ok(()) } else { refused() }
        }
    }
}
