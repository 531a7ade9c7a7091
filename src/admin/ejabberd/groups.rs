//! Tag *shared_roster_group*.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Command, Rescode, jid, rescode};
use crate::admin::Context;
use crate::admin::op::{Entry, Example, Refusal, RefusalKind};
use crate::admin::ops::group::{self, Group};

pub(super) const COMMANDS: &[Entry] = &[
    Entry::command::<SrgCreate>(),
    Entry::command::<SrgCreate1>(),
    Entry::command::<SrgAdd>(),
    Entry::command::<SrgDelete>(),
    Entry::command::<SrgList>(),
    Entry::command::<SrgGetInfo>(),
    Entry::command::<SrgSetInfo>(),
    Entry::command::<SrgGetMembers>(),
    Entry::command::<SrgGetDisplayed>(),
    Entry::command::<SrgAddDisplayed>(),
    Entry::command::<SrgDelDisplayed>(),
    Entry::command::<SrgUserAdd>(),
    Entry::command::<SrgUserDel>(),
];

/// `display` has `\n` between the groups, as two characters or one.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SrgCreate {
    group: String,
    host: String,
    #[serde(alias = "name")]
    label: String,
    description: String,
    display: String,
}

impl Command for SrgCreate {
    const NAME: &'static str = "srg_create";
    const EXAMPLE: Example = Example {
        arguments: r#"{"group": "staff", "host": "example.org", "label": "Staff",
            "description": "", "display": "staff"}"#,
        output: "0",
    };
    type Op = group::Create;
    type Result = Rescode;

    fn operation(self, _: &Context) -> Result<group::Create, Refusal> {
        let display = self.display.replace("\\n", "\n");
        let displayed = display.split('\n').filter(|group| !group.is_empty());
        Ok(group::Create {
            host: self.host,
            group: self.group,
            label: self.label,
            description: self.description,
            displayed: displayed.map(str::to_owned).collect(),
            replace: true,
        })
    }

    fn result(outcome: Result<Group, Refusal>) -> Result<Rescode, Refusal> {
        rescode(outcome)
    }
}

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SrgCreate1 {
    group: String,
    host: String,
    #[serde(alias = "name")]
    label: String,
    description: String,
    display: Vec<String>,
}

impl Command for SrgCreate1 {
    const NAME: &'static str = "srg_create";
    const VERSION: u32 = 1;
    const EXAMPLE: Example = Example {
        arguments: r#"{"group": "staff", "host": "example.org", "label": "Staff",
            "description": "", "display": ["staff"]}"#,
        output: "0",
    };
    type Op = group::Create;
    type Result = Rescode;

    fn operation(self, _: &Context) -> Result<group::Create, Refusal> {
        Ok(group::Create {
            host: self.host,
            group: self.group,
            label: self.label,
            description: self.description,
            displayed: self.display,
            replace: true,
        })
    }

    fn result(outcome: Result<Group, Refusal>) -> Result<Rescode, Refusal> {
        rescode(outcome)
    }
}

/// A command on one group, by its name and its host.
macro_rules! of_group {
    ($command:ident, $name:literal, $op:ty, $result:ty, $output:literal,
        |$group:ident, $host:ident| $operation:expr, |$outcome:ident| $read:expr) => {
        #[derive(Serialize, Deserialize, JsonSchema)]
        #[serde(deny_unknown_fields)]
        pub struct $command {
            group: String,
            host: String,
        }

        impl Command for $command {
            const NAME: &'static str = $name;
            const EXAMPLE: Example = Example {
                arguments: r#"{"group": "staff", "host": "example.org"}"#,
                output: $output,
            };
            type Op = $op;
            type Result = $result;

            fn operation(self, _: &Context) -> Result<$op, Refusal> {
                let ($group, $host) = (self.group, self.host);
                Ok($operation)
            }

            fn result(
                $outcome: Result<<$op as crate::admin::op::Operation>::Output, Refusal>,
            ) -> Result<$result, Refusal> {
                $read
            }
        }
    };
}

of_group!(
    SrgAdd,
    "srg_add",
    group::Create,
    Rescode,
    "0",
    |group, host| group::Create { group, host, ..group::Create::default() },
    |outcome| rescode(outcome)
);
of_group!(
    SrgDelete,
    "srg_delete",
    group::Delete,
    Rescode,
    "0",
    |group, host| group::Delete { group, host },
    |outcome| rescode(outcome)
);
of_group!(
    SrgGetInfo,
    "srg_get_info",
    group::Show,
    Vec<Information>,
    r#"[{"key": "label", "value": "Staff"}, {"key": "displayed_groups", "value": "staff"}]"#,
    |group, host| group::Show { group, host },
    |outcome| information(outcome)
);
of_group!(
    SrgGetMembers,
    "srg_get_members",
    group::Members,
    Vec<String>,
    r#"["anna@example.org", "bob@example.org"]"#,
    |group, host| group::Members { group, host, after: None, whole: true },
    |outcome| {
        let members = outcome?.members.into_iter();
        // ejabberd tells of those with its other commands.
        Ok(members.filter(|member| !member.starts_with('@')).collect())
    }
);
of_group!(
    SrgGetDisplayed,
    "srg_get_displayed",
    group::Show,
    Vec<String>,
    r#"["group1", "group2"]"#,
    |group, host| group::Show { group, host },
    |outcome| Ok(outcome?.displayed)
);

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Information {
    key: String,
    value: String,
}

fn information(outcome: Result<Group, Refusal>) -> Result<Vec<Information>, Refusal> {
    let group = match outcome {
        Ok(group) => group,
        Err(refusal) if refusal.kind == RefusalKind::NotFound => return Ok(Vec::new()),
        Err(refusal) => return Err(refusal),
    };
    let flag = |key, is: bool| is.then(|| (key, "true".to_owned()));
    let pairs = [
        flag("all_users", group.all),
        Some(("description", group.description)),
        Some(("displayed_groups", group.displayed.join(", "))),
        Some(("label", group.label)),
        flag("online_users", group.online),
    ];
    let pairs = pairs.into_iter().flatten();
    Ok(pairs.map(|(key, value)| Information { key: key.to_owned(), value }).collect())
}

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SrgList {
    host: String,
}

impl Command for SrgList {
    const NAME: &'static str = "srg_list";
    const EXAMPLE: Example =
        Example { arguments: r#"{"host": "example.org"}"#, output: r#"["group1", "group2"]"# };
    type Op = group::List;
    type Result = Vec<String>;

    fn operation(self, _: &Context) -> Result<group::List, Refusal> {
        Ok(group::List { host: self.host })
    }

    fn result(outcome: Result<Vec<Group>, Refusal>) -> Result<Vec<String>, Refusal> {
        Ok(outcome?.into_iter().map(|group| group.group).collect())
    }
}

/// `key` is `label` or `description`.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SrgSetInfo {
    group: String,
    host: String,
    key: String,
    value: String,
}

impl Command for SrgSetInfo {
    const NAME: &'static str = "srg_set_info";
    const EXAMPLE: Example = Example {
        arguments: r#"{"group": "staff", "host": "example.org", "key": "label", "value": "Team"}"#,
        output: "0",
    };
    type Op = group::Describe;
    type Result = Rescode;

    fn operation(self, _: &Context) -> Result<group::Describe, Refusal> {
        let (group, host) = (self.group, self.host);
        let (label, description) = match self.key.as_str() {
            "label" => (Some(self.value), None),
            "description" => (None, Some(self.value)),
            key @ ("all_users" | "online_users") => {
                return Err(Refusal::usage(format!("key: {key} is set by the group's members"))
                    .help("use srg_user_add and srg_user_del with @all@ or @online@ as user"));
            }
            other => {
                let text = format!("key: {other:?} is neither label nor description");
                return Err(Refusal::usage(text));
            }
        };
        Ok(group::Describe { host, group, label, description })
    }

    fn result(outcome: Result<Group, Refusal>) -> Result<Rescode, Refusal> {
        rescode(outcome)
    }
}

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SrgAddDisplayed {
    group: String,
    host: String,
    add: String,
}

impl Command for SrgAddDisplayed {
    const NAME: &'static str = "srg_add_displayed";
    const EXAMPLE: Example = Example {
        arguments: r#"{"group": "staff", "host": "example.org", "add": "board"}"#,
        output: "0",
    };
    type Op = group::SetDisplayed;
    type Result = Rescode;

    fn operation(self, _: &Context) -> Result<group::SetDisplayed, Refusal> {
        let (group, host, displayed) = (self.group, self.host, vec![self.add]);
        Ok(group::SetDisplayed { group, host, displayed, add: true, remove: false })
    }

    fn result(outcome: Result<Group, Refusal>) -> Result<Rescode, Refusal> {
        rescode(outcome)
    }
}

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SrgDelDisplayed {
    group: String,
    host: String,
    del: String,
}

impl Command for SrgDelDisplayed {
    const NAME: &'static str = "srg_del_displayed";
    const EXAMPLE: Example = Example {
        arguments: r#"{"group": "staff", "host": "example.org", "del": "board"}"#,
        output: "0",
    };
    type Op = group::SetDisplayed;
    type Result = Rescode;

    fn operation(self, _: &Context) -> Result<group::SetDisplayed, Refusal> {
        let (group, host, displayed) = (self.group, self.host, vec![self.del]);
        Ok(group::SetDisplayed { group, host, displayed, add: false, remove: true })
    }

    fn result(outcome: Result<Group, Refusal>) -> Result<Rescode, Refusal> {
        rescode(outcome)
    }
}

/// `user` may be `@all@` or `@online@`.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SrgUserAdd {
    user: String,
    host: String,
    group: String,
    grouphost: String,
}

impl Command for SrgUserAdd {
    const NAME: &'static str = "srg_user_add";
    const EXAMPLE: Example = Example {
        arguments: r#"{"user": "anna", "host": "example.org", "group": "staff",
            "grouphost": "example.org"}"#,
        output: "0",
    };
    type Op = group::AddMember;
    type Result = Rescode;

    fn operation(self, _: &Context) -> Result<group::AddMember, Refusal> {
        let members = vec![jid(&self.user, &self.host)];
        Ok(group::AddMember { host: self.grouphost, group: self.group, members })
    }

    fn result(outcome: Result<group::Changed, Refusal>) -> Result<Rescode, Refusal> {
        rescode(outcome)
    }
}

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SrgUserDel {
    user: String,
    host: String,
    group: String,
    grouphost: String,
}

impl Command for SrgUserDel {
    const NAME: &'static str = "srg_user_del";
    const EXAMPLE: Example = Example {
        arguments: r#"{"user": "anna", "host": "example.org", "group": "staff",
            "grouphost": "example.org"}"#,
        output: "0",
    };
    type Op = group::RemoveMember;
    type Result = Rescode;

    fn operation(self, _: &Context) -> Result<group::RemoveMember, Refusal> {
        let members = vec![jid(&self.user, &self.host)];
        Ok(group::RemoveMember { host: self.grouphost, group: self.group, members })
    }

    fn result(outcome: Result<group::Changed, Refusal>) -> Result<Rescode, Refusal> {
        rescode(outcome)
    }
}
