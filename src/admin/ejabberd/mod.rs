//! ejabberd's commands, so that scripts written for it go on working: its names, arguments and
//! results, each a thin translation of an operation of ours. A file per tag of its documentation.
//!
//! On its wire a result is what it says itself to be: a *rescode* is 0 for done and 1 for not,
//! with status 200 either way; a *restuple* is a text, or an error when it failed; lists are
//! arrays, in order; any other single value stands alone, or, where API version 0 is asked for,
//! in an object under its name.

/// A command in one sentence: type and name, arguments, result and the name that API version 0 gives
/// it, the operation, an example, and the two translations.
macro_rules! command {
    (
        $type:ident = $name:literal $(v $version:literal)?
        { $($(#[$meta:meta])* $field:ident: $of:ty),* $(,)? } -> $result:ty $([$result_name:literal])?;
        $op:ty; $arguments:literal => $output:literal;
        |$it:pat_param| $make:expr; |$outcome:pat_param| $show:expr $(;)?
    ) => {
        #[derive(Serialize, Deserialize, JsonSchema)]
        #[serde(deny_unknown_fields)]
        pub struct $type { $($(#[$meta])* $field: $of),* }

        impl Command for $type {
            const NAME: &'static str = $name;
            $(const VERSION: u32 = $version;)?
            $(const RESULT_NAME: Option<&'static str> = Some($result_name);)?
            const EXAMPLE: Example = Example { arguments: $arguments, output: $output };
            type Op = $op;
            type Result = $result;

            fn operation(self, _: &Context) -> Result<$op, Refusal> {
                let $it = self;
                Ok($make)
            }

            fn result(
                $outcome: Result<<$op as Operation>::Output, Refusal>,
            ) -> Result<$result, Refusal> {
                $show
            }
        }
    };
}

mod accounts;
mod archives;
mod bans;
mod contents;
mod groups;
mod invites;
mod oauth;
mod portable;
mod rosters;
mod server;
mod sessions;
mod stanzas;
mod statistics;
mod status;

use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::op::{Entry, Example, Operation, Prepared, Refusal, RefusalKind};
use super::{Context, wire};

/// Every command, by kind.
pub const COMMANDS: &[&[Entry]] = &[
    accounts::COMMANDS,
    bans::COMMANDS,
    invites::COMMANDS,
    sessions::COMMANDS,
    status::COMMANDS,
    stanzas::COMMANDS,
    archives::COMMANDS,
    contents::COMMANDS,
    statistics::COMMANDS,
    server::COMMANDS,
    groups::COMMANDS,
    portable::COMMANDS,
    rosters::COMMANDS,
    oauth::COMMANDS,
];

/// A command of ejabberd's. The struct holds its arguments.
///
/// Permission, limits and what is done are those of the operation; the audit has the command's
/// name and arguments.
pub trait Command: DeserializeOwned + Serialize + JsonSchema + Send + 'static {
    /// As in `change_password`.
    const NAME: &'static str;
    /// The API version that this form came with. A call gets the newest form that is not newer
    /// than it asks for.
    const VERSION: u32 = 0;
    /// The name of a result that is a single value, which API version 0 puts into an object.
    const RESULT_NAME: Option<&'static str> = None;
    /// Error codes that differ from [`code`].
    const CODES: &'static [(RefusalKind, u32)] = &[];
    const EXAMPLE: Example;
    type Op: Operation;
    /// The result as it goes over the wire.
    type Result: Serialize + DeserializeOwned + JsonSchema;

    /// The operation that does it.
    ///
    /// # Errors
    /// If the arguments cannot be said in our words.
    fn operation(self, cx: &Context) -> Result<Self::Op, Refusal>;

    /// What comes out of it.
    ///
    /// # Errors
    /// What ejabberd tells as an error. A *rescode* never does.
    fn result(
        outcome: Result<<Self::Op as Operation>::Output, Refusal>,
    ) -> Result<Self::Result, Refusal>;
}

/// What an [`Entry`] of a command has besides.
pub struct Compat {
    pub version: u32,
    pub result_name: Option<&'static str>,
    codes: &'static [(RefusalKind, u32)],
}

impl Compat {
    /// The error code for a refusal of this kind.
    pub fn code(&self, kind: RefusalKind) -> u32 {
        let own = self.codes.iter().find(|(of, _)| *of == kind);
        own.map_or_else(|| code(kind), |(_, code)| *code)
    }
}

/// The code in the body of an error, where a command has none of its own.
pub fn code(kind: RefusalKind) -> u32 {
    match kind {
        RefusalKind::Usage => 40,
        RefusalKind::Denied => 32,
        RefusalKind::NotFound => 44,
        RefusalKind::Conflict => 49,
        RefusalKind::TooOften | RefusalKind::Unavailable | RefusalKind::Bug => 0,
    }
}

impl Entry {
    pub const fn command<C: Command>() -> Entry {
        Entry {
            name: C::NAME,
            operation: C::Op::NAME,
            summary: C::Op::SUMMARY,
            class: C::Op::CLASS,
            private: C::Op::PRIVATE,
            audited: C::Op::AUDITED,
            example: C::EXAMPLE,
            compat: Some(Compat {
                version: C::VERSION,
                result_name: C::RESULT_NAME,
                codes: C::CODES,
            }),
            arguments: C::json_schema,
            output: C::Result::json_schema,
            prepare: prepare::<C>,
            #[cfg(test)]
            reads_output: |value| serde_json::to_value(serde_json::from_value::<C::Result>(value)?),
        }
    }
}

fn prepare<C: Command>(arguments: Value, cx: &Context) -> Result<Prepared, Refusal> {
    let command: C = wire::arguments(arguments)
        .map_err(|error| Refusal::usage(format!("{}: {error}", C::NAME)))?;
    let arguments = serde_json::to_value(&command).unwrap_or_default();
    Ok(Prepared::new(command.operation(cx)?, arguments, |outcome| {
        serde_json::to_value(C::result(outcome)?).map_err(|error| Refusal::bug(&error))
    }))
}

/// The newest form of the command `name` that is not newer than `version`.
pub fn find(name: &str, version: u32) -> Option<&'static Entry> {
    let forms = COMMANDS.iter().copied().flatten().filter(|entry| entry.name == name);
    let fitting = forms.filter_map(|entry| {
        let of = entry.compat.as_ref()?.version;
        (of <= version).then_some((of, entry))
    });
    fitting.max_by_key(|(of, _)| *of).map(|(_, entry)| entry)
}

/// Every command that is `operation`.
pub fn names_of(operation: &str) -> Vec<&'static str> {
    let commands = COMMANDS.iter().copied().flatten();
    commands.filter(|entry| entry.operation == operation).map(|entry| entry.name).collect()
}

/// ejabberd's *rescode*: 0 for done, 1 for anything else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Rescode(#[schemars(range(max = 1))] u8);

impl Rescode {
    pub fn of(done: bool) -> Rescode {
        Rescode(u8::from(!done))
    }
}

/// 0 for done, 1 for what the request itself made fail; what is our fault is an error.
pub(super) fn rescode<T>(outcome: Result<T, Refusal>) -> Result<Rescode, Refusal> {
    match outcome {
        Ok(_) => Ok(Rescode::of(true)),
        Err(refusal)
            if matches!(
                refusal.kind,
                RefusalKind::NotFound | RefusalKind::Conflict | RefusalKind::Usage
            ) =>
        {
            Ok(Rescode::of(false))
        }
        Err(refusal) => Err(refusal),
    }
}

/// The JID of `user` at `host`, as both stand in ejabberd's arguments.
pub(super) fn jid(user: &str, host: &str) -> String {
    format!("{user}@{host}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::op::OPS;

    #[test]
    fn commands_are_distinct_and_are_operations_of_ours() {
        let mut seen = Vec::new();
        for entry in COMMANDS.iter().copied().flatten() {
            assert!(OPS.iter().any(|op| op.name == entry.operation), "{}", entry.name);
            assert!(!entry.name.contains('.'), "{}", entry.name);
            seen.push((entry.name, entry.compat.as_ref().unwrap().version));
        }
        let count = seen.len();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), count);
    }

    #[test]
    fn a_command_is_found_by_name_and_version() {
        assert_eq!(find("register", 0).unwrap().operation, "account.add");
        assert_eq!(find("register", u32::MAX).unwrap().operation, "account.add");
        assert!(find("rm_rf", u32::MAX).is_none());
        assert!(names_of("account.add").contains(&"register"));
    }
}
