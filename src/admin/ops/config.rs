//! The settings: looking at them, editing them, reloading them.

mod change;
mod confirm;
mod edits;
mod lockout;
mod look;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::access::lint;
use crate::admin::Context;
use crate::admin::op::{Class, Example, Operation, Refusal};
use crate::config::Change;

pub use change::{Applied, Options};
pub use confirm::{Confirm, Confirmed, resume};
pub use edits::{
    AccessAdd, AccessMove, AccessRemove, AccessReplace, AclAdd, AclRemove, Apply, Revert, Set,
    Unset,
};
pub use look::{
    Check, Diff, Differences, Fault, FileText, Get, History, Show, Shown, States, Text, Verdict,
};

/// Reads the config file again and brings it into force, whole or not at all.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Reload {}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Reloaded {
    pub changes: Vec<Change>,
    /// What is doubtful about the new settings.
    pub warnings: Vec<String>,
}

impl Operation for Reload {
    const NAME: &'static str = "config.reload";
    const SUMMARY: &'static str = "Bring the config file into force";
    const CLASS: Class = Class::Reversible;
    const EXAMPLE: Example = Example {
        arguments: "{}",
        output: r#"{"changes": [{"path": "log.level", "old": "info", "new": "debug", "effect": "live"}], "warnings": []}"#,
    };
    type Output = Reloaded;

    async fn run(self, cx: &Context) -> Result<Reloaded, Refusal> {
        let server = cx.running()?;
        let changes = server.clone().reload().await?;
        // Read once more for the doubts only; if the file has changed since, they are of no use.
        let doubts = lint::load(server.config_file()).map(|checked| checked.warnings);
        let warnings = doubts.unwrap_or_default().iter().map(ToString::to_string).collect();
        Ok(Reloaded { changes, warnings })
    }
}
