//! Tag *server*.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Command;
use crate::admin::Context;
use crate::admin::op::{Entry, Example, Refusal};
use crate::admin::ops::server::{self, Summary};

pub(super) const COMMANDS: &[Entry] = &[Entry::command::<Status>()];

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Status {}

impl Command for Status {
    const NAME: &'static str = "status";
    const EXAMPLE: Example = Example {
        arguments: "{}",
        output: r#""The server is started since 2026-11-23T20:00:00Z.\nCoucou 0.1.0 is running""#,
    };
    type Op = server::Status;
    type Result = String;

    fn operation(self, _: &Context) -> Result<server::Status, Refusal> {
        Ok(server::Status {})
    }

    fn result(outcome: Result<Summary, Refusal>) -> Result<String, Refusal> {
        let summary = outcome?;
        match summary.process {
            Some(process) => Ok(format!(
                "The server is started since {}.\nCoucou {} is running",
                process.started, summary.version
            )),
            None => Err(Refusal::unavailable("the server is not running")),
        }
    }
}
