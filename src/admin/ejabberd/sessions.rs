//! Tag *session*.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Command;
use crate::admin::Context;
use crate::admin::op::{Entry, Example, Refusal};
use crate::admin::ops::session::{self, Sessions};

pub(super) const COMMANDS: &[Entry] =
    &[Entry::command::<ConnectedUsers>(), Entry::command::<ConnectedUsersNumber>()];

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ConnectedUsers {}

impl Command for ConnectedUsers {
    const NAME: &'static str = "connected_users";
    const EXAMPLE: Example = Example {
        arguments: "{}",
        output: r#"["anna@example.org/phone", "bob@example.org/laptop"]"#,
    };
    type Op = session::List;
    type Result = Vec<String>;

    fn operation(self, _: &Context) -> Result<session::List, Refusal> {
        Ok(session::List { whole: true, ..session::List::default() })
    }

    fn result(outcome: Result<Sessions, Refusal>) -> Result<Vec<String>, Refusal> {
        let mut jids: Vec<String> = outcome?.sessions.into_iter().map(|s| s.jid).collect();
        jids.sort_unstable();
        Ok(jids)
    }
}

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ConnectedUsersNumber {}

impl Command for ConnectedUsersNumber {
    const NAME: &'static str = "connected_users_number";
    const RESULT_NAME: Option<&'static str> = Some("num_sessions");
    const EXAMPLE: Example = Example { arguments: "{}", output: "2" };
    type Op = session::List;
    type Result = usize;

    fn operation(self, _: &Context) -> Result<session::List, Refusal> {
        Ok(session::List { max: 1, ..session::List::default() })
    }

    fn result(outcome: Result<Sessions, Refusal>) -> Result<usize, Refusal> {
        Ok(outcome?.count)
    }
}
