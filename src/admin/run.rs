//! The one path of an operation, whatever door it came in by: may this actor, do it, write it down.

use serde_json::{Value, json};

use super::op::{Class, Entry, Refusal};
use super::{Actor, Context, Role};
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
    let prepared = entry.prepare(arguments)?;
    let (target, arguments) = (prepared.target.clone(), prepared.arguments.clone());
    let result = match permit(actor, entry.class) {
        Ok(()) => prepared.run(&cx.for_actor(actor)).await,
        Err(refusal) => Err(refusal),
    };
    if entry.class != Class::Safe {
        write_down(cx, actor, entry, target, &arguments, &result).await;
    }
    result
}

pub(super) fn permit(actor: &Actor, class: Class) -> Result<(), Refusal> {
    match (actor.role, class) {
        (Role::Owner, _)
        | (Role::Operator, Class::Safe | Class::Reversible | Class::Destructive) => Ok(()),
        (Role::Operator, Class::LockOut) => Err(Refusal::denied(
            "only root and the server's own user may do what could lock everybody out",
        )),
    }
}

async fn write_down(
    cx: &Context,
    actor: &Actor,
    entry: &Entry,
    target: String,
    arguments: &Value,
    result: &Result<Value, Refusal>,
) {
    let outcome = match result {
        Ok(_) => "done".to_owned(),
        Err(refusal) => refusal.to_string(),
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
    use super::*;

    fn actor(role: Role) -> Actor {
        Actor {
            who: "uid=1".to_owned(),
            from: "test".to_owned(),
            role,
            connected: std::time::Instant::now(),
        }
    }

    #[test]
    fn only_owners_may_lock_everybody_out() {
        for class in [Class::Safe, Class::Reversible, Class::Destructive, Class::LockOut] {
            assert!(permit(&actor(Role::Owner), class).is_ok());
            assert_eq!(permit(&actor(Role::Operator), class).is_ok(), class != Class::LockOut);
        }
    }
}
