//! Tag *accounts*.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Command, Rescode, jid};
use crate::admin::Context;
use crate::admin::op::{Entry, Example, Refusal, RefusalKind};
use crate::admin::ops::account::{self, Done, PasswordCheck};
use crate::config::value::Secret;

pub(super) const COMMANDS: &[Entry] =
    &[Entry::command::<Register>(), Entry::command::<CheckPassword>()];

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Register {
    user: String,
    host: String,
    password: Secret,
}

impl Command for Register {
    const NAME: &'static str = "register";
    const CODES: &'static [(RefusalKind, u32)] =
        &[(RefusalKind::Conflict, 10090), (RefusalKind::Denied, 10001)];
    const EXAMPLE: Example = Example {
        arguments: r#"{"user": "bob", "host": "example.org", "password": "SomEPass44"}"#,
        output: r#""User bob@example.org successfully registered""#,
    };
    type Op = account::Add;
    type Result = String;

    fn operation(self, _: &Context) -> Result<account::Add, Refusal> {
        Ok(account::Add { jid: jid(&self.user, &self.host), password: self.password, force: false })
    }

    fn result(outcome: Result<Done, Refusal>) -> Result<String, Refusal> {
        Ok(format!("User {} successfully registered", outcome?.jid))
    }
}

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CheckPassword {
    user: String,
    host: String,
    password: Secret,
}

impl Command for CheckPassword {
    const NAME: &'static str = "check_password";
    const EXAMPLE: Example = Example {
        arguments: r#"{"user": "peter", "host": "example.org", "password": "secret"}"#,
        output: "0",
    };
    type Op = account::CheckPassword;
    type Result = Rescode;

    fn operation(self, _: &Context) -> Result<account::CheckPassword, Refusal> {
        Ok(account::CheckPassword { jid: jid(&self.user, &self.host), password: self.password })
    }

    /// Whatever is no account has no right password.
    fn result(outcome: Result<PasswordCheck, Refusal>) -> Result<Rescode, Refusal> {
        match outcome {
            Ok(check) => Ok(Rescode::of(check.right)),
            Err(refusal) if is_about_us(refusal.kind) => Err(refusal),
            Err(_) => Ok(Rescode::of(false)),
        }
    }
}

/// The question was not answered, so neither yes nor no would be true.
fn is_about_us(kind: RefusalKind) -> bool {
    matches!(kind, RefusalKind::TooOften | RefusalKind::Unavailable | RefusalKind::Bug)
}
