//! What an operation is, and the list of all.

use std::fmt;
use std::future::Future;
use std::pin::Pin;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::ops::registration;
use super::ops::{
    access, account, announce, api_key, archive, audit, backup, blocklist, cert, config, group,
    invite, log, message, offline, portable, private, report, roster, server, session, vcard,
};
use super::{Context, ejabberd, wire};
use crate::jid::Jid;
use crate::store::StoreError;

/// Every operation there is, in the order in which help shows them. ejabberd's commands are not
/// among them; see [`Entry::find`].
pub const OPS: &[Entry] = &[
    Entry::of::<account::Add>(),
    Entry::of::<account::List>(),
    Entry::of::<account::Password>(),
    Entry::of::<account::Lock>(),
    Entry::of::<account::Unlock>(),
    Entry::of::<account::Remove>(),
    Entry::of::<account::bin::Bin>(),
    Entry::of::<account::bin::Restore>(),
    Entry::of::<account::bin::Purge>(),
    Entry::of::<registration::List>(),
    Entry::of::<registration::Approve>(),
    Entry::of::<registration::Refuse>(),
    Entry::of::<registration::Limits>(),
    Entry::of::<registration::ResetLimits>(),
    Entry::of::<account::CheckPassword>(),
    Entry::of::<account::hash::CheckHash>(),
    Entry::of::<account::show::Show>(),
    Entry::of::<account::show::Exists>(),
    Entry::of::<account::show::Names>(),
    Entry::of::<account::show::Count>(),
    Entry::of::<account::locked::Lock>(),
    Entry::of::<account::locked::ListLocked>(),
    Entry::of::<account::last::Last>(),
    Entry::of::<account::last::SetLast>(),
    Entry::of::<account::devices::Devices>(),
    Entry::of::<account::devices::SignOut>(),
    Entry::of::<account::purge::RemoveUnused>(),
    Entry::of::<session::List>(),
    Entry::of::<session::Kick>(),
    Entry::of::<session::details::Details>(),
    Entry::of::<session::details::Count>(),
    Entry::of::<session::presence::Presence>(),
    Entry::of::<session::presence::SetPresence>(),
    Entry::of::<message::Send>(),
    Entry::of::<message::SendStanza>(),
    Entry::of::<message::SendAs>(),
    Entry::of::<archive::Count>(),
    Entry::of::<archive::Read>(),
    Entry::of::<archive::Forget>(),
    Entry::of::<archive::purge::Purge>(),
    Entry::of::<archive::purge::Start>(),
    Entry::of::<archive::purge::Status>(),
    Entry::of::<archive::purge::Abort>(),
    Entry::of::<offline::Count>(),
    Entry::of::<offline::Read>(),
    Entry::of::<offline::Purge>(),
    Entry::of::<offline::Start>(),
    Entry::of::<offline::Status>(),
    Entry::of::<offline::Abort>(),
    Entry::of::<vcard::Get>(),
    Entry::of::<vcard::Set>(),
    Entry::of::<private::List>(),
    Entry::of::<private::Get>(),
    Entry::of::<private::Set>(),
    Entry::of::<blocklist::Get>(),
    Entry::of::<blocklist::Add>(),
    Entry::of::<blocklist::Remove>(),
    Entry::of::<announce::Send>(),
    Entry::of::<announce::Status>(),
    Entry::of::<announce::SetMotd>(),
    Entry::of::<announce::ShowMotd>(),
    Entry::of::<announce::DeleteMotd>(),
    Entry::of::<invite::Create>(),
    Entry::of::<invite::List>(),
    Entry::of::<invite::Show>(),
    Entry::of::<invite::Revoke>(),
    Entry::of::<invite::Sweep>(),
    Entry::of::<portable::Export>(),
    Entry::of::<portable::Import>(),
    Entry::of::<roster::Get>(),
    Entry::of::<roster::Add>(),
    Entry::of::<roster::Remove>(),
    Entry::of::<roster::Push>(),
    Entry::of::<roster::Process>(),
    Entry::of::<group::List>(),
    Entry::of::<group::Show>(),
    Entry::of::<group::Members>(),
    Entry::of::<group::Create>(),
    Entry::of::<group::Describe>(),
    Entry::of::<group::SetDisplayed>(),
    Entry::of::<group::AddMember>(),
    Entry::of::<group::RemoveMember>(),
    Entry::of::<group::Delete>(),
    Entry::of::<server::Status>(),
    Entry::of::<server::Metrics>(),
    Entry::of::<server::stats::Stats>(),
    Entry::of::<server::stats::Number>(),
    Entry::of::<server::stats::Listeners>(),
    Entry::of::<server::Stop>(),
    Entry::of::<config::Reload>(),
    Entry::of::<config::Show>(),
    Entry::of::<config::Get>(),
    Entry::of::<config::Text>(),
    Entry::of::<config::Check>(),
    Entry::of::<config::Set>(),
    Entry::of::<config::Unset>(),
    Entry::of::<config::Apply>(),
    Entry::of::<config::Diff>(),
    Entry::of::<config::History>(),
    Entry::of::<config::Revert>(),
    Entry::of::<config::Confirm>(),
    Entry::of::<access::Test>(),
    Entry::of::<access::List>(),
    Entry::of::<access::Affected>(),
    Entry::of::<backup::Create>(),
    Entry::of::<backup::List>(),
    Entry::of::<backup::Test>(),
    Entry::of::<backup::Restore>(),
    Entry::of::<backup::Remove>(),
    Entry::of::<backup::Prune>(),
    Entry::of::<backup::Progress>(),
    Entry::of::<backup::Cancel>(),
    Entry::of::<config::AclAdd>(),
    Entry::of::<config::AclRemove>(),
    Entry::of::<config::AccessAdd>(),
    Entry::of::<config::AccessReplace>(),
    Entry::of::<config::AccessMove>(),
    Entry::of::<config::AccessRemove>(),
    Entry::of::<log::Tail>(),
    Entry::of::<api_key::Create>(),
    Entry::of::<api_key::List>(),
    Entry::of::<api_key::Revoke>(),
    Entry::of::<log::search::Search>(),
    Entry::of::<log::level::Levels>(),
    Entry::of::<log::level::SetLevel>(),
    Entry::of::<log::level::Rotate>(),
    Entry::of::<cert::List>(),
    Entry::of::<cert::Reload>(),
    Entry::of::<report::List>(),
    Entry::of::<report::Show>(),
    Entry::of::<report::Close>(),
    Entry::of::<audit::List>(),
];

/// How far an operation reaches.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
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

impl Class {
    /// As in `safe`.
    pub fn name(self) -> &'static str {
        match self {
            Class::Safe => "safe",
            Class::Reversible => "reversible",
            Class::Destructive => "destructive",
            Class::LockOut => "lock_out",
        }
    }
}

/// One call that the documentation shows: JSON of the arguments and of what comes out.
#[derive(Clone, Copy, Debug)]
pub struct Example {
    pub arguments: &'static str,
    pub output: &'static str,
}

/// An act of an operator. The struct holds its arguments.
///
/// Serialisation is for the audit: a `Secret` comes out masked. [`Operation::to_wire`] is for the
/// way from a client to the server.
pub trait Operation: Serialize + DeserializeOwned + JsonSchema + Send + 'static {
    /// As in `account.add`.
    const NAME: &'static str;
    /// One line for help texts.
    const SUMMARY: &'static str;
    const CLASS: Class;
    /// It shows what people have written or whom they know: bodies, archives, contact lists. For
    /// operators, not for viewers.
    const PRIVATE: bool = false;
    /// That somebody looked is written into the audit, as every change is.
    const AUDITED: bool = Self::PRIVATE;
    const EXAMPLE: Example;
    type Output: Serialize + DeserializeOwned + JsonSchema + Send;

    /// What it is done to, for the audit; often a JID.
    fn target(&self) -> String {
        String::new()
    }

    /// The one host that it reaches, if there is one: who may act on some hosts only is held to
    /// it. Without one the operation concerns the whole server.
    fn host(&self) -> Option<String> {
        Jid::parse(&self.target()).ok().map(|jid| jid.domain().to_owned())
    }

    /// How far these arguments reach, where that depends on them. Never less than what they do.
    fn class(&self) -> Class {
        Self::CLASS
    }

    /// The arguments as they go to the server. Operations with secrets put them in here.
    fn to_wire(&self) -> Value {
        serde_json::to_value(self).unwrap_or_default()
    }

    /// Does it.
    fn run(self, cx: &Context) -> impl Future<Output = Result<Self::Output, Refusal>> + Send;
}

/// Any operation, with its types erased: one of ours, or a command of ejabberd's that is a
/// translation of one.
pub struct Entry {
    pub name: &'static str,
    /// The operation of ours that it is.
    pub operation: &'static str,
    pub summary: &'static str,
    pub class: Class,
    pub private: bool,
    /// It is written into the audit though it changes nothing.
    pub audited: bool,
    pub example: Example,
    /// What only commands of ejabberd's have.
    pub compat: Option<ejabberd::Compat>,
    /// Describes the arguments.
    pub arguments: fn(&mut SchemaGenerator) -> Schema,
    /// Describes what comes out.
    pub output: fn(&mut SchemaGenerator) -> Schema,
    pub(super) prepare: fn(Value, &Context) -> Result<Prepared, Refusal>,
    #[cfg(test)]
    pub(super) reads_output: fn(Value) -> Result<Value, serde_json::Error>,
}

/// An operation with its arguments read: ready to be permitted, run and written down.
pub struct Prepared {
    pub target: String,
    pub host: Option<String>,
    pub class: Class,
    /// The arguments, without secrets.
    pub arguments: Value,
    run: Box<dyn for<'c> FnOnce(&'c Context) -> Running<'c> + Send>,
}

type Running<'c> = Pin<Box<dyn Future<Output = Outcome> + Send + 'c>>;

/// How it went, and what the caller hears of that: ejabberd's commands tell some refusals as a
/// number.
pub struct Outcome {
    pub refused: Option<Refusal>,
    pub answer: Result<Value, Refusal>,
}

impl Prepared {
    /// `operation`, whose arguments are written down as `arguments` and whose outcome goes out as
    /// `show` says.
    pub(super) fn new<O: Operation>(
        operation: O,
        arguments: Value,
        show: impl FnOnce(Result<O::Output, Refusal>) -> Result<Value, Refusal> + Send + 'static,
    ) -> Prepared {
        Prepared {
            target: operation.target(),
            host: operation.host(),
            class: operation.class(),
            arguments,
            run: Box::new(move |cx| {
                Box::pin(async move {
                    let outcome = operation.run(cx).await;
                    let refused = outcome.as_ref().err().cloned();
                    Outcome { refused, answer: show(outcome) }
                })
            }),
        }
    }

    pub async fn run(self, cx: &Context) -> Outcome {
        (self.run)(cx).await
    }
}

impl Entry {
    pub const fn of<O: Operation>() -> Entry {
        Entry {
            name: O::NAME,
            operation: O::NAME,
            summary: O::SUMMARY,
            class: O::CLASS,
            private: O::PRIVATE,
            audited: O::AUDITED,
            example: O::EXAMPLE,
            compat: None,
            arguments: O::json_schema,
            output: O::Output::json_schema,
            prepare: prepare::<O>,
            #[cfg(test)]
            reads_output: |value| serde_json::to_value(serde_json::from_value::<O::Output>(value)?),
        }
    }

    /// The operation of that name, ours or ejabberd's; of the latter the newest version.
    pub fn find(name: &str) -> Option<&'static Entry> {
        OPS.iter().find(|entry| entry.name == name).or_else(|| ejabberd::find(name, u32::MAX))
    }

    /// All operations: ours, then ejabberd's.
    pub fn all() -> impl Iterator<Item = &'static Entry> {
        OPS.iter().chain(ejabberd::COMMANDS.iter().copied().flatten())
    }

    /// The kind of thing it is done to: `account` of `account.add`.
    pub fn group(&self) -> &'static str {
        self.operation.split('.').next().unwrap_or_default()
    }

    /// Reads the arguments.
    ///
    /// # Errors
    /// If they do not fit the operation.
    pub fn prepare(&self, arguments: Value, cx: &Context) -> Result<Prepared, Refusal> {
        (self.prepare)(arguments, cx)
    }
}

fn prepare<O: Operation>(arguments: Value, _: &Context) -> Result<Prepared, Refusal> {
    let operation: O = wire::arguments(arguments)
        .map_err(|error| Refusal::usage(format!("{}: {error}", O::NAME)))?;
    let arguments = serde_json::to_value(&operation).unwrap_or_default();
    Ok(Prepared::new(operation, arguments, |outcome| {
        serde_json::to_value(outcome?).map_err(|error| Refusal::bug(&error))
    }))
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
    /// Asked for more often than allowed; later it may be had.
    TooOften,
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
    use crate::admin::testing;
    use crate::config::value::Secret;

    #[test]
    fn names_are_distinct_and_grouped() {
        let mut names: Vec<_> = OPS.iter().map(|entry| entry.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), OPS.len());
        assert!(names.iter().all(|name| name.split('.').count() == 2), "{names:?}");
    }

    #[tokio::test]
    async fn passwords_travel_and_stay_out_of_the_audit() {
        let (_dir, cx) = testing::offline();
        let password = Secret::new("correct horse");
        let add = account::Add { jid: "a@b".to_owned(), password, force: true };
        assert_eq!(add.to_wire()["password"], "correct horse");
        let entry = Entry::find("account.add").unwrap();
        let prepared = entry.prepare(add.to_wire(), &cx).ok().unwrap();
        assert_eq!(
            prepared.arguments,
            serde_json::json!({"jid": "a@b", "password": "***", "force": true})
        );
        assert_eq!(prepared.target, "a@b");
        assert_eq!(prepared.host.as_deref(), Some("b"));
    }

    #[tokio::test]
    async fn unknown_and_missing_arguments_are_named() {
        let (_dir, cx) = testing::offline();
        let entry = Entry::find("account.lock").unwrap();
        for (arguments, told) in [
            (serde_json::json!({"jid": "a@b", "reason": "", "why": ""}), "unknown field `why`"),
            (serde_json::json!({"reason": ""}), "missing field `jid`"),
        ] {
            let refusal = entry.prepare(arguments, &cx).err().unwrap();
            assert_eq!(refusal.kind, RefusalKind::Usage);
            assert!(refusal.text.contains(told), "{refusal}");
        }
    }

    /// What the documentation shows is what there is: arguments that are read, and an output that
    /// is written as it stands.
    #[tokio::test]
    async fn examples_fit_their_types() {
        let (_dir, cx) = testing::offline();
        for entry in Entry::all() {
            let read = |what, text| -> Value {
                serde_json::from_str(text)
                    .unwrap_or_else(|error| panic!("{} {what}: {error}", entry.name))
            };
            let arguments = read("arguments", entry.example.arguments);
            if let Err(refusal) = entry.prepare(arguments, &cx) {
                panic!("{} {refusal}", entry.name);
            }
            let output = read("output", entry.example.output);
            match (entry.reads_output)(output.clone()) {
                Ok(again) => assert_eq!(again, output, "{}", entry.name),
                Err(error) => panic!("{} output: {error}", entry.name),
            }
        }
    }
}
