//! The log, as far as memory holds it.

pub mod level;
pub mod search;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::admin::Context;
use crate::admin::op::{Class, Example, Operation, Refusal};
use crate::telemetry::LogLine;

/// Bytes of lines in one answer, far below what a line of the protocol may have.
const ANSWER_BYTES_MAX: usize = 256 << 10;

/// The newest lines. `log.follow` with the same argument goes on with those to come.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Tail {
    pub lines: usize,
}

impl Operation for Tail {
    const NAME: &'static str = "log.tail";
    const SUMMARY: &'static str = "Show the newest lines of the log";
    const CLASS: Class = Class::Safe;
    const EXAMPLE: Example = Example {
        arguments: r#"{"lines": 1}"#,
        output: r#"[{"time": "2026-11-23T20:00:00Z", "level": "info", "target": "coucou::server", "message": "listening"}]"#,
    };
    type Output = Vec<LogLine>;

    async fn run(self, cx: &Context) -> Result<Vec<LogLine>, Refusal> {
        let lines = cx.running()?.telemetry().ring.tail(self.lines);
        let mut bytes = 0;
        let fitting = lines.iter().rev().take_while(|line| {
            bytes += line.message.len() + line.target.len() + 100;
            bytes <= ANSWER_BYTES_MAX
        });
        let mut newest: Vec<LogLine> = fitting.map(|line| LogLine::clone(line)).collect();
        newest.reverse();
        Ok(newest)
    }
}
