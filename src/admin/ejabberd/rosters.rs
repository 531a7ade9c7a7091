//! Tag *roster*.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Command, Rescode, jid, rescode};
use crate::admin::Context;
use crate::admin::op::{Entry, Example, Refusal};
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
];

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
