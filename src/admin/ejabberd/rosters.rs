//! Tags *roster* and *shared_roster_group*.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Command, Rescode, jid};
use crate::admin::Context;
use crate::admin::op::{Entry, Example, Refusal, RefusalKind};
use crate::admin::ops::group::{self, Group};
use crate::admin::ops::roster::{self, Contacts, Done, Found, Pending, Sees};

pub(super) const COMMANDS: &[Entry] = &[
    Entry::command::<GetRoster>(),
    Entry::command::<GetRosterCount>(),
    Entry::command::<AddRosteritem>(),
    Entry::command::<AddRosteritem1>(),
    Entry::command::<DeleteRosteritem>(),
    Entry::command::<ProcessRosteritems>(),
    Entry::command::<PushRoster>(),
    Entry::command::<PushRosterAll>(),
    Entry::command::<PushAlltoall>(),
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

/// 0 for done, 1 for what the request itself made fail; what is our fault is an error.
fn rescode<T>(outcome: Result<T, Refusal>) -> Result<Rescode, Refusal> {
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

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GetRoster {
    user: String,
    #[serde(alias = "server")]
    host: String,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ContactRow {
    jid: String,
    nick: String,
    subscription: Sees,
    pending: Pending,
    groups: Vec<String>,
}

impl Command for GetRoster {
    const NAME: &'static str = "get_roster";
    const EXAMPLE: Example = Example {
        arguments: r#"{"user": "anna", "host": "example.org"}"#,
        output: r#"[{"jid": "bob@example.org", "nick": "Bob", "subscription": "both",
            "pending": "none", "groups": ["Friends"]}]"#,
    };
    type Op = roster::Get;
    type Result = Vec<ContactRow>;

    fn operation(self, _: &Context) -> Result<roster::Get, Refusal> {
        Ok(roster::Get { jid: jid(&self.user, &self.host), after: None, whole: true })
    }

    fn result(outcome: Result<Contacts, Refusal>) -> Result<Vec<ContactRow>, Refusal> {
        let rows = outcome?.contacts.into_iter().map(|contact| ContactRow {
            jid: contact.jid,
            nick: contact.name,
            subscription: contact.subscription,
            pending: contact.pending,
            groups: contact.groups,
        });
        Ok(rows.collect())
    }
}

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GetRosterCount {
    user: String,
    #[serde(alias = "server")]
    host: String,
}

impl Command for GetRosterCount {
    const NAME: &'static str = "get_roster_count";
    const RESULT_NAME: Option<&'static str> = Some("value");
    const EXAMPLE: Example =
        Example { arguments: r#"{"user": "anna", "host": "example.org"}"#, output: "5" };
    type Op = roster::Get;
    type Result = usize;

    fn operation(self, _: &Context) -> Result<roster::Get, Refusal> {
        Ok(roster::Get { jid: jid(&self.user, &self.host), after: None, whole: false })
    }

    fn result(outcome: Result<Contacts, Refusal>) -> Result<usize, Refusal> {
        Ok(outcome?.count)
    }
}

/// Groups as one text, with semicolons between them.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AddRosteritem {
    localuser: String,
    #[serde(alias = "localserver")]
    localhost: String,
    user: String,
    #[serde(alias = "server")]
    host: String,
    nick: String,
    group: String,
    subs: Sees,
}

impl Command for AddRosteritem {
    const NAME: &'static str = "add_rosteritem";
    const EXAMPLE: Example = Example {
        arguments: r#"{"localuser": "anna", "localhost": "example.org", "user": "bob",
            "host": "example.org", "nick": "Bob", "group": "Friends;Work", "subs": "both"}"#,
        output: "0",
    };
    type Op = roster::Add;
    type Result = Rescode;

    fn operation(self, _: &Context) -> Result<roster::Add, Refusal> {
        let groups = self.group.split(';').filter(|group| !group.is_empty());
        Ok(roster::Add {
            jid: jid(&self.localuser, &self.localhost),
            contact: jid(&self.user, &self.host),
            name: self.nick,
            groups: groups.map(str::to_owned).collect(),
            subscription: self.subs,
            mutual: false,
        })
    }

    fn result(outcome: Result<Done, Refusal>) -> Result<Rescode, Refusal> {
        rescode(outcome)
    }
}

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AddRosteritem1 {
    localuser: String,
    #[serde(alias = "localserver")]
    localhost: String,
    user: String,
    #[serde(alias = "server")]
    host: String,
    nick: String,
    groups: Vec<String>,
    subs: Sees,
}

impl Command for AddRosteritem1 {
    const NAME: &'static str = "add_rosteritem";
    const VERSION: u32 = 1;
    const EXAMPLE: Example = Example {
        arguments: r#"{"localuser": "anna", "localhost": "example.org", "user": "bob",
            "host": "example.org", "nick": "Bob", "groups": ["Friends"], "subs": "both"}"#,
        output: "0",
    };
    type Op = roster::Add;
    type Result = Rescode;

    fn operation(self, _: &Context) -> Result<roster::Add, Refusal> {
        Ok(roster::Add {
            jid: jid(&self.localuser, &self.localhost),
            contact: jid(&self.user, &self.host),
            name: self.nick,
            groups: self.groups,
            subscription: self.subs,
            mutual: false,
        })
    }

    fn result(outcome: Result<Done, Refusal>) -> Result<Rescode, Refusal> {
        rescode(outcome)
    }
}

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DeleteRosteritem {
    localuser: String,
    #[serde(alias = "localserver")]
    localhost: String,
    user: String,
    #[serde(alias = "server")]
    host: String,
}

impl Command for DeleteRosteritem {
    const NAME: &'static str = "delete_rosteritem";
    const EXAMPLE: Example = Example {
        arguments: r#"{"localuser": "anna", "localhost": "example.org", "user": "bob",
            "host": "example.org"}"#,
        output: "0",
    };
    type Op = roster::Remove;
    type Result = Rescode;

    fn operation(self, _: &Context) -> Result<roster::Remove, Refusal> {
        Ok(roster::Remove {
            jid: jid(&self.localuser, &self.localhost),
            contact: jid(&self.user, &self.host),
        })
    }

    fn result(outcome: Result<Done, Refusal>) -> Result<Rescode, Refusal> {
        rescode(outcome)
    }
}

/// `any`, or values with colons between them.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ProcessRosteritems {
    /// `list` or `delete`.
    action: String,
    subs: String,
    asks: String,
    users: String,
    contacts: String,
}

impl Command for ProcessRosteritems {
    const NAME: &'static str = "process_rosteritems";
    const EXAMPLE: Example = Example {
        arguments: r#"{"action": "list", "subs": "none:from", "asks": "any",
            "users": "*@example.org", "contacts": "*@icq.example.org"}"#,
        output: r#"[{"user": "anna@example.org", "contact": "7@icq.example.org"}]"#,
    };
    type Op = roster::Process;
    type Result = Vec<roster::Pair>;

    fn operation(self, _: &Context) -> Result<roster::Process, Refusal> {
        let delete = match self.action.as_str() {
            "list" => false,
            "delete" => true,
            other => {
                return Err(Refusal::usage(format!(
                    "action: {other:?} is neither list nor delete"
                )));
            }
        };
        let mut pending: Vec<Pending> = several("asks", &self.asks)?;
        if pending.contains(&Pending::In) || pending.contains(&Pending::Out) {
            pending.push(Pending::Both);
        }
        Ok(roster::Process {
            subscriptions: several("subs", &self.subs)?,
            pending,
            users: patterns(&self.users),
            contacts: patterns(&self.contacts),
            delete,
        })
    }

    fn result(outcome: Result<Found, Refusal>) -> Result<Vec<roster::Pair>, Refusal> {
        Ok(outcome?.items)
    }
}

fn several<T: for<'de> Deserialize<'de>>(argument: &str, text: &str) -> Result<Vec<T>, Refusal> {
    if text == "any" {
        return Ok(Vec::new());
    }
    let read = |word: &str| {
        serde_json::from_value(serde_json::Value::from(word))
            .map_err(|error| Refusal::usage(format!("{argument}: {error}")))
    };
    text.split(':').map(read).collect()
}

/// ejabberd's patterns, of either of its back ends: `%` of SQL is `*` elsewhere.
fn patterns(text: &str) -> Vec<String> {
    if text == "any" {
        return Vec::new();
    }
    let like = text.contains('%') && !text.contains('*');
    let each = text.split(':').map(|pattern| match like {
        true => pattern.replace('%', "*").replace('_', "?"),
        false => pattern.to_owned(),
    });
    each.collect()
}

/// A file on the server with an Erlang list of tuples: user, host, group and nick.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PushRoster {
    file: String,
    user: String,
    host: String,
}

impl Command for PushRoster {
    const NAME: &'static str = "push_roster";
    const EXAMPLE: Example = Example {
        arguments: r#"{"file": "/dev/null", "user": "anna", "host": "example.org"}"#,
        output: "0",
    };
    type Op = roster::Push;
    type Result = Rescode;

    fn operation(self, _: &Context) -> Result<roster::Push, Refusal> {
        let jid = Some(jid(&self.user, &self.host));
        Ok(roster::Push { jid, file: Some(self.file), ..roster::Push::default() })
    }

    fn result(outcome: Result<Done, Refusal>) -> Result<Rescode, Refusal> {
        rescode(outcome)
    }
}

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PushRosterAll {
    file: String,
}

impl Command for PushRosterAll {
    const NAME: &'static str = "push_roster_all";
    const EXAMPLE: Example = Example { arguments: r#"{"file": "/dev/null"}"#, output: "0" };
    type Op = roster::Push;
    type Result = Rescode;

    fn operation(self, _: &Context) -> Result<roster::Push, Refusal> {
        Ok(roster::Push { file: Some(self.file), ..roster::Push::default() })
    }

    fn result(outcome: Result<Done, Refusal>) -> Result<Rescode, Refusal> {
        rescode(outcome)
    }
}

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PushAlltoall {
    host: String,
    group: String,
}

impl Command for PushAlltoall {
    const NAME: &'static str = "push_alltoall";
    const EXAMPLE: Example =
        Example { arguments: r#"{"host": "example.org", "group": "Everybody"}"#, output: "0" };
    type Op = roster::Push;
    type Result = Rescode;

    fn operation(self, _: &Context) -> Result<roster::Push, Refusal> {
        let (everyone_of, group) = (Some(self.host), Some(self.group));
        Ok(roster::Push { everyone_of, group, ..roster::Push::default() })
    }

    fn result(outcome: Result<Done, Refusal>) -> Result<Rescode, Refusal> {
        rescode(outcome)
    }
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_of_both_back_ends_are_ours() {
        assert_eq!(patterns("any"), [] as [&str; 0]);
        assert_eq!(patterns("*@a.org:b_c@d"), ["*@a.org", "b_c@d"]);
        assert_eq!(patterns("%@%icq_"), ["*@*icq?"]);
        let subs: Vec<Sees> = several("subs", "none:from").unwrap();
        assert_eq!(subs, [Sees::None, Sees::From]);
        assert!(several::<Sees>("subs", "none:often").unwrap_err().text.starts_with("subs: "));
    }
}
