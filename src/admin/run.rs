//! The one path of an operation, whatever door it came in by: may this actor, do it, write it down.

use serde_json::{Value, json};

use super::op::{Class, Entry, Outcome, Prepared, Refusal};
use super::{Actor, Context, Role, ejabberd, keys};
use crate::jid::Jid;
use crate::store::audit::Act;
use crate::time::Now;

/// Runs the operation `name` for `actor`.
///
/// # Errors
/// If there is no such operation, the arguments do not fit, the actor may not, or it cannot be
/// done.
pub async fn run(
    cx: &Context,
    actor: &Actor,
    name: &str,
    arguments: Value,
) -> Result<Value, Refusal> {
    let entry = Entry::find(name).ok_or_else(|| {
        Refusal::not_found(format!("there is no operation {name:?}"))
            .help("the server and this program may be of different versions")
    })?;
    call(cx, actor, entry, arguments).await
}

/// Runs the operation of `entry` for `actor`.
///
/// # Errors
/// See [`run`].
pub async fn call(
    cx: &Context,
    actor: &Actor,
    entry: &Entry,
    arguments: Value,
) -> Result<Value, Refusal> {
    let cx = &cx.for_actor(actor);
    let prepared = match (entry.prepare(arguments, cx), permit(actor, entry, None)) {
        (Ok(prepared), _) => prepared,
        // What is wrong with the arguments is the business of those who may use the operation.
        (Err(_), Err(denied)) if actor.scope.is_some() => return Err(denied),
        (Err(refusal), _) => return Err(refusal),
    };
    let (target, arguments) = (prepared.target.clone(), prepared.arguments.clone());
    if entry.compat.is_some() || actor.address.is_some() {
        tracing::info!("API call {} {arguments} from {}", entry.name, place(cx, actor));
    }
    let class = prepared.class;
    let outcome = match permit(actor, entry, Some(&prepared)) {
        Ok(()) => prepared.run(cx).await,
        Err(refusal) => {
            tracing::info!(who = %actor.who, "{} was refused: {refusal}", entry.name);
            Outcome { refused: Some(refusal.clone()), answer: Err(refusal) }
        }
    };
    if class != Class::Safe || entry.audited {
        write_down(cx, actor, entry, target, &arguments, outcome.refused.as_ref()).await;
    }
    outcome.answer
}

/// Where `actor` is, as the log may show it.
fn place(cx: &Context, actor: &Actor) -> String {
    match actor.address {
        Some(address) => cx.config().log.addresses.show(address),
        None => actor.from.clone(),
    }
}

/// Whether somebody with `actor`'s role and scope may ever use `entry`: what to show to whom.
pub fn may_ever(actor: &Actor, entry: &Entry) -> bool {
    permit(actor, entry, None).is_ok()
}

/// May `actor` do this? Without arguments, only what does not hang on them is asked.
fn permit(actor: &Actor, entry: &Entry, prepared: Option<&Prepared>) -> Result<(), Refusal> {
    let class = prepared.map_or(entry.class, |prepared| prepared.class);
    permit_class(actor, class)?;
    if actor.role == Role::Viewer && entry.private {
        return Err(Refusal::denied(format!(
            "{} shows what people write or whom they know, which is not for viewers",
            entry.name
        )));
    }
    let Some(scope) = &actor.scope else { return Ok(()) };
    let aliases = ejabberd::names_of(entry.operation);
    let asked = keys::asked(entry, class.name(), &aliases);
    let mut granted = scope.grants.iter().filter(|own| own.grant.allows(&asked)).peekable();
    if granted.peek().is_none() {
        return Err(Refusal::denied(format!("{} has no grant of {}", scope.of, entry.name))
            .help("an operator can grant it; `coucou api --list` names all operations"));
    }
    let Some(prepared) = prepared else { return Ok(()) };
    // Either side may be written in any case.
    let reaches = prepared.host.as_deref().and_then(|host| Jid::parse(host).ok());
    let mut only: Vec<&str> = Vec::new();
    for own in granted {
        let here = |host: &String| reaches.as_ref().is_some_and(|jid| jid.domain() == host);
        if own.hosts.is_empty() || own.hosts.iter().any(here) {
            return Ok(());
        }
        only.extend(own.hosts.iter().map(String::as_str));
    }
    let only = only.join(", ");
    Err(match prepared.host.as_deref() {
        Some(host) => Refusal::denied(format!("{} acts on {only} only, not on {host}", scope.of)),
        None => Refusal::denied(format!(
            "{} acts on {only} only, and {} concerns the whole server",
            scope.of, entry.name
        )),
    })
}

/// May anybody with `actor`'s role do something that reaches this far?
pub(super) fn permit_class(actor: &Actor, class: Class) -> Result<(), Refusal> {
    match (actor.role, class) {
        (Role::Owner, _)
        | (Role::Operator, Class::Safe | Class::Reversible | Class::Destructive)
        | (Role::Viewer, Class::Safe) => Ok(()),
        (Role::Operator, Class::LockOut) => Err(Refusal::denied(
            "only root and the server's own user may do what could lock everybody out",
        )),
        (Role::Viewer, _) => Err(Refusal::denied("this changes something, and viewers only look")),
    }
}

async fn write_down(
    cx: &Context,
    actor: &Actor,
    entry: &Entry,
    target: String,
    arguments: &Value,
    refused: Option<&Refusal>,
) {
    let outcome = match refused {
        None => "done".to_owned(),
        // What follows shows pieces of what was sent.
        Some(refusal) => refusal.text.lines().next().unwrap_or_default().to_owned(),
    };
    tracing::info!(who = %actor.who, from = %actor.from, target = %target, outcome = %outcome, "{}", entry.name);
    let act = Act {
        at: Now::read(),
        who: actor.who.clone(),
        from: actor.from.clone(),
        what: entry.name.to_owned(),
        target,
        detail: json!({ "arguments": arguments, "outcome": outcome }).to_string(),
    };
    // The act is done or refused either way; its caller must not hear otherwise because of the
    // audit.
    if let Err(error) = cx.store().audit().append(act).await {
        tracing::error!(operation = entry.name, %error, "an act could not be written to the audit");
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::admin::{Grants, Scope, testing};
    use crate::config::grant::Grant;

    const CLASSES: [Class; 4] =
        [Class::Safe, Class::Reversible, Class::Destructive, Class::LockOut];

    fn actor(role: Role) -> Actor {
        Actor::new("uid=1", "test", role)
    }

    fn entry(class: Class, private: bool) -> Entry {
        Entry { class, private, ..Entry::of::<crate::admin::ops::account::List>() }
    }

    fn scoped(words: &str, hosts: &[&str]) -> Actor {
        let grant = Grant::parse(words.split(' ')).unwrap();
        let hosts = hosts.iter().map(|host| (*host).to_owned()).collect();
        let scope =
            Scope { grants: vec![Grants { grant, hosts }], of: "the API key \"ci\"".to_owned() };
        Actor { scope: Some(Arc::new(scope)), ..actor(Role::Operator) }
    }

    async fn refusal(cx: &Context, actor: &Actor, name: &str, arguments: Value) -> String {
        run(cx, actor, name, arguments).await.unwrap_err().text
    }

    #[tokio::test]
    async fn who_looks_into_private_things_is_written_down() {
        let (_dir, cx) = testing::offline();
        let jid = crate::jid::BareJid::parse("ann@example.org").unwrap();
        cx.store().accounts().create(&jid, Vec::new(), Now::read()).await.unwrap();
        let actor = actor(Role::Operator);
        let arguments = json!({"jid": "ann@example.org"});
        run(&cx, &actor, "account.exists", arguments.clone()).await.unwrap();
        run(&cx, &actor, "vcard.get", arguments).await.unwrap();
        let query = crate::store::audit::AuditQuery { max: 10, ..Default::default() };
        let acts = cx.store().audit().list(query).await.unwrap();
        let told: Vec<_> = acts.iter().map(|(_, act)| act.what.as_str()).collect();
        assert_eq!(told, ["vcard.get"]);
    }

    #[test]
    fn only_owners_may_lock_everybody_out() {
        for class in CLASSES {
            let entry = entry(class, false);
            assert!(permit(&actor(Role::Owner), &entry, None).is_ok());
            let operator = permit(&actor(Role::Operator), &entry, None);
            assert_eq!(operator.is_ok(), class != Class::LockOut);
        }
    }

    #[test]
    fn viewers_only_look_and_not_at_what_is_private() {
        for class in CLASSES {
            let seen = |private| may_ever(&actor(Role::Viewer), &entry(class, private));
            assert_eq!(seen(false), class == Class::Safe);
            assert!(!seen(true));
        }
    }

    #[tokio::test]
    async fn a_scope_holds_to_its_operations_by_every_name() {
        let (_dir, cx) = testing::offline();
        let list = scoped("account.list status", &[]);
        assert!(run(&cx, &list, "account.list", Value::Null).await.is_ok());
        let add = json!({"jid": "a@example.org", "password": "x"});
        let told = refusal(&cx, &list, "account.add", add).await;
        assert_eq!(told, "the API key \"ci\" has no grant of account.add");
        // Not even what is wrong with the arguments.
        let told = refusal(&cx, &list, "register", json!({"nonsense": 1})).await;
        assert_eq!(told, "the API key \"ci\" has no grant of register");
        let told = refusal(&cx, &list, "server.stop", Value::Null).await;
        assert!(told.starts_with("only root"), "{told}");
    }

    #[tokio::test]
    async fn a_scope_holds_to_its_hosts() {
        let (_dir, cx) = testing::offline();
        let here = scoped("*", &["example.org"]);
        let there = scoped("*", &["b.example"]);
        for (operation, arguments) in [
            ("account.list", json!({"host": "Example.ORG"})),
            ("account.add", json!({"jid": "ann@example.org", "password": "pencil"})),
            ("register", json!({"user": "bob", "host": "example.org", "password": "pencil"})),
        ] {
            let told = refusal(&cx, &there, operation, arguments.clone()).await;
            assert!(
                told.starts_with("the API key \"ci\" acts on b.example only, not on"),
                "{told}"
            );
            run(&cx, &here, operation, arguments).await.unwrap();
        }
        let told = refusal(&cx, &here, "server.status", Value::Null).await;
        assert!(told.ends_with("server.status concerns the whole server"), "{told}");
        let told = refusal(&cx, &here, "account.list", Value::Null).await;
        assert!(told.ends_with("account.list concerns the whole server"), "{told}");
    }

    #[tokio::test]
    async fn an_act_is_written_down_under_the_name_it_was_called_by() {
        let (_dir, cx) = testing::offline();
        let arguments = json!({"user": "ann", "host": "example.org", "password": "pencil"});
        run(&cx, &actor(Role::Owner), "register", arguments).await.unwrap();
        let acts = cx.store().audit().list(Default::default()).await.unwrap();
        assert_eq!(acts.len(), 0, "a query without a maximum finds nothing");
        let query = crate::store::audit::AuditQuery { max: 9, ..Default::default() };
        let acts = cx.store().audit().list(query).await.unwrap();
        assert_eq!(acts.len(), 1);
        let act = &acts[0].1;
        assert_eq!((act.what.as_str(), act.target.as_str()), ("register", "ann@example.org"));
        assert!(act.detail.contains(r#""password":"***""#), "{}", act.detail);
        assert!(!act.detail.contains("pencil"));
    }
}
