//! What an operation is, and the list of all.

use std::fmt;
use std::future::Future;
use std::pin::Pin;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::ops::{account, config, log, server, session};
use super::{Context, wire};
use crate::store::StoreError;

/// Every operation there is, in the order in which help shows them.
pub const OPS: &[Entry] = &[
    Entry::of::<account::Add>(),
    Entry::of::<account::List>(),
    Entry::of::<account::Password>(),
    Entry::of::<account::Lock>(),
    Entry::of::<account::Unlock>(),
    Entry::of::<account::Remove>(),
    Entry::of::<session::List>(),
    Entry::of::<session::Kick>(),
    Entry::of::<server::Status>(),
    Entry::of::<server::Metrics>(),
    Entry::of::<server::Stop>(),
    Entry::of::<config::Reload>(),
    Entry::of::<log::Tail>(),
];

/// How far an operation reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// Looks, changes nothing.
    Safe,
    /// Can be undone by another operation.
    Reversible,
    /// Something is gone afterwards.
    Destructive,
    /// May end the operators' own access.
    LockOut,
}

/// An act of an operator. The struct holds its arguments.
///
/// Serialisation is for the audit: a `Secret` comes out masked. [`Operation::to_wire`] is for the
/// way from a client to the server.
pub trait Operation: Serialize + DeserializeOwned + Send + 'static {
    /// As in `account.add`.
    const NAME: &'static str;
    /// One line for help texts.
    const SUMMARY: &'static str;
    const CLASS: Class;
    type Output: Serialize + DeserializeOwned + Send;

    /// What it is done to, for the audit; often a JID.
    fn target(&self) -> String {
        String::new()
    }

    /// The arguments as they go to the server. Operations with secrets put them in here.
    fn to_wire(&self) -> Value {
        serde_json::to_value(self).unwrap_or_default()
    }

    /// Does it.
    fn run(self, cx: &Context) -> impl Future<Output = Result<Self::Output, Refusal>> + Send;
}

/// Any operation, with its types erased.
pub struct Entry {
    pub name: &'static str,
    pub summary: &'static str,
    pub class: Class,
    prepare: fn(Value) -> Result<Prepared, Refusal>,
}

/// An operation with its arguments read: ready to be permitted, run and written down.
pub struct Prepared {
    pub target: String,
    /// The arguments, without secrets.
    pub arguments: Value,
    run: Box<dyn for<'c> FnOnce(&'c Context) -> Running<'c> + Send>,
}

type Running<'c> = Pin<Box<dyn Future<Output = Result<Value, Refusal>> + Send + 'c>>;

impl Prepared {
    pub async fn run(self, cx: &Context) -> Result<Value, Refusal> {
        (self.run)(cx).await
    }
}

impl Entry {
    pub const fn of<O: Operation>() -> Entry {
        Entry { name: O::NAME, summary: O::SUMMARY, class: O::CLASS, prepare: prepare::<O> }
    }

    /// The operation of that name.
    pub fn find(name: &str) -> Option<&'static Entry> {
        OPS.iter().find(|entry| entry.name == name)
    }

    /// Reads the arguments.
    ///
    /// # Errors
    /// If they do not fit the operation.
    pub fn prepare(&self, arguments: Value) -> Result<Prepared, Refusal> {
        (self.prepare)(arguments)
    }
}

fn prepare<O: Operation>(arguments: Value) -> Result<Prepared, Refusal> {
    let operation: O = wire::arguments(arguments)
        .map_err(|error| Refusal::usage(format!("{}: {error}", O::NAME)))?;
    Ok(Prepared {
        target: operation.target(),
        arguments: serde_json::to_value(&operation).unwrap_or_default(),
        run: Box::new(move |cx| {
            Box::pin(async move {
                let output = operation.run(cx).await?;
                serde_json::to_value(output).map_err(|error| Refusal::bug(&error))
            })
        }),
    })
}

/// Why an operation was not done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub struct Refusal {
    pub kind: RefusalKind,
    /// A sentence without a capital letter or full stop.
    pub text: String,
    /// What would help.
    pub help: Option<String>,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// The kind decides on exit codes and, in doors to come, on status codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RefusalKind {
    /// The request makes no sense as it is written.
    Usage,
    /// Not allowed, or not for this actor.
    Denied,
    NotFound,
    /// It exists already, or is in use.
    Conflict,
    /// Nothing is wrong with the request; the server cannot do it now.
    Unavailable,
    /// A fault of ours.
    Bug,
}

impl Refusal {
    pub fn new(kind: RefusalKind, text: impl Into<String>) -> Refusal {
        Refusal { kind, text: text.into(), help: None }
    }

    pub fn usage(text: impl Into<String>) -> Refusal {
        Refusal::new(RefusalKind::Usage, text)
    }

    pub fn denied(text: impl Into<String>) -> Refusal {
        Refusal::new(RefusalKind::Denied, text)
    }

    pub fn not_found(text: impl Into<String>) -> Refusal {
        Refusal::new(RefusalKind::NotFound, text)
    }

    pub fn unavailable(text: impl Into<String>) -> Refusal {
        Refusal::new(RefusalKind::Unavailable, text)
    }

    pub fn bug(error: &dyn fmt::Display) -> Refusal {
        Refusal::new(RefusalKind::Bug, format!("a bug in Coucou: {error}"))
    }

    /// Adds what would help.
    pub fn help(mut self, help: impl Into<String>) -> Refusal {
        self.help = Some(help.into());
        self
    }
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Refusal {
        let kind = match error {
            StoreError::NoSuchAccount | StoreError::NotFound => RefusalKind::NotFound,
            StoreError::AccountExists | StoreError::InUse { .. } => RefusalKind::Conflict,
            StoreError::TooMany { .. } => RefusalKind::Denied,
            StoreError::Bug(_) => RefusalKind::Bug,
            _ => RefusalKind::Unavailable,
        };
        Refusal::new(kind, error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::value::Secret;

    #[test]
    fn names_are_distinct_and_grouped() {
        let mut names: Vec<_> = OPS.iter().map(|entry| entry.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), OPS.len());
        assert!(names.iter().all(|name| name.split('.').count() == 2), "{names:?}");
    }

    #[test]
    fn passwords_travel_and_stay_out_of_the_audit() {
        let password = Secret::new("correct horse");
        let add = account::Add { jid: "a@b".to_owned(), password };
        assert_eq!(add.to_wire()["password"], "correct horse");
        let prepared = Entry::find("account.add").unwrap().prepare(add.to_wire()).ok().unwrap();
        assert_eq!(prepared.arguments, serde_json::json!({"jid": "a@b", "password": "***"}));
        assert_eq!(prepared.target, "a@b");
    }

    #[test]
    fn unknown_and_missing_arguments_are_named() {
        let entry = Entry::find("account.lock").unwrap();
        for (arguments, told) in [
            (serde_json::json!({"jid": "a@b", "reason": "", "why": ""}), "unknown field `why`"),
            (serde_json::json!({"reason": ""}), "missing field `jid`"),
        ] {
            let refusal = entry.prepare(arguments).err().unwrap();
            assert_eq!(refusal.kind, RefusalKind::Usage);
            assert!(refusal.text.contains(told), "{refusal}");
        }
    }
}
