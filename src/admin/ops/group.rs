//! Shared roster groups: groups of accounts that see each other without anybody having asked.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::account;
use crate::admin::Context;
use crate::admin::op::{Class, Example, Operation, Refusal, RefusalKind};
use crate::delivery::groups::{self, Concerned};
use crate::jid::BareJid;
use crate::store::groups::{
    Group as Stored, GroupError, GroupName, Member, NewGroup, SharedGroups,
};
use crate::time::Now;

/// Members in one request, and in one page of an answer.
const MEMBERS_MAX: usize = 5_000;

/// What stands for every account of the group's host, and for those online.
const EVERYONE: &str = "@all@";
const ONLINE: &str = "@online@";

impl From<GroupError> for Refusal {
    fn from(error: GroupError) -> Refusal {
        let kind = match &error {
            GroupError::Name(_) | GroupError::TooLong => RefusalKind::Usage,
            GroupError::Exists(_) => RefusalKind::Conflict,
            GroupError::NoSuchGroup(_) | GroupError::NoSuchAccount(_) => RefusalKind::NotFound,
            GroupError::Store(error) => return error.clone().into(),
        };
        let refusal = Refusal::new(kind, error.to_string());
        match error {
            GroupError::NoSuchGroup(_) => refusal.help("`coucou group list` shows them all"),
            _ => refusal,
        }
    }
}

/// A shared roster group.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Group {
    pub host: String,
    pub group: String,
    /// What rosters call it; its name where this is empty.
    pub label: String,
    pub description: String,
    /// How many members it has by name.
    pub members: usize,
    /// Every account of the host is a member (`@all@`).
    pub all: bool,
    /// Every account of the host that is online is a member (`@online@`).
    pub online: bool,
    /// The groups whose members its members see; those of other hosts as group@host.
    pub displayed: Vec<String>,
}

impl Group {
    fn of(groups: &SharedGroups, group: &Stored) -> Group {
        let shown = groups.displayed(group).map(|shown| match shown.name.host == group.name.host {
            true => shown.name.name.clone(),
            false => shown.name.to_string(),
        });
        let mut displayed: Vec<String> = shown.collect();
        displayed.sort_unstable();
        Group {
            host: group.name.host.clone(),
            group: group.name.name.clone(),
            label: group.label.clone(),
            description: group.description.clone(),
            members: group.members.len(),
            all: group.everyone,
            online: group.online,
            displayed,
        }
    }
}

/// A group's name in the words of an operator; its host is one of ours.
fn name(cx: &Context, host: &str, group: &str) -> Result<GroupName, Refusal> {
    let name = GroupName::parse(group, host)?;
    let host = one_host(cx, &name.host)?;
    Ok(GroupName { host, ..name })
}

fn one_host(cx: &Context, host: &str) -> Result<String, Refusal> {
    if host.is_empty() {
        return Err(Refusal::usage("the group's host is not given").help("write group@host"));
    }
    Ok(account::hosts(cx, host)?.remove(0).domain.clone())
}

fn names(cx: &Context, host: &str, groups: &[String]) -> Result<Vec<GroupName>, Refusal> {
    groups.iter().map(|group| name(cx, host, group)).collect()
}

fn find(cx: &Context, name: &GroupName) -> Result<Group, Refusal> {
    let groups = cx.store().groups().snapshot();
    let found = groups.find(&name.host, &name.name);
    let found = found.ok_or_else(|| Refusal::from(GroupError::NoSuchGroup(name.clone())))?;
    Ok(Group::of(&groups, found))
}

/// The one host that a request reaches: none if it names another besides.
fn only<'a>(host: &str, others: impl Iterator<Item = &'a str>) -> Option<String> {
    let elsewhere =
        |text: &str| text.rsplit_once('@').is_some_and(|(_, at)| !at.is_empty() && at != host);
    let mut others = others;
    (!others.any(elsewhere)).then(|| host.to_owned())
}

/// Makes a group.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Create {
    pub host: String,
    pub group: String,
    #[serde(default)]
    pub label: String,
    #[serde(default)]
    pub description: String,
    /// The groups whose members its members see, itself among them perhaps.
    #[serde(default)]
    pub displayed: Vec<String>,
    /// If there is such a group, let it keep its members and set the rest anew.
    #[serde(default)]
    pub replace: bool,
}

const EXAMPLE: &str = r#"{"host": "example.org", "group": "staff", "label": "Staff", "description": "",
    "members": 0, "all": false, "online": false, "displayed": ["staff"]}"#;

impl Operation for Create {
    const NAME: &'static str = "group.create";
    const SUMMARY: &'static str = "Make a shared roster group";
    const CLASS: Class = Class::Reversible;
    const EXAMPLE: Example = Example {
        arguments: r#"{"host": "example.org", "group": "staff", "label": "Staff", "displayed": ["staff"]}"#,
        output: EXAMPLE,
    };
    type Output = Group;

    fn target(&self) -> String {
        format!("{}@{}", self.group, self.host)
    }

    fn host(&self) -> Option<String> {
        only(&self.host, self.displayed.iter().map(String::as_str))
    }

    async fn run(self, cx: &Context) -> Result<Group, Refusal> {
        let name = name(cx, &self.host, &self.group)?;
        let group = NewGroup {
            name: name.clone(),
            label: self.label,
            description: self.description,
            displayed: names(cx, &name.host, &self.displayed)?,
        };
        let change = async { cx.store().groups().create(group, self.replace).await };
        groups::edit(&cx.router(), Now::read(), change, |()| Concerned::Everyone).await?;
        find(cx, &name)
    }
}

/// Removes a group; its members lose each other where nothing else connects them.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Delete {
    pub host: String,
    pub group: String,
}

impl Operation for Delete {
    const NAME: &'static str = "group.delete";
    const SUMMARY: &'static str = "Remove a shared roster group";
    const CLASS: Class = Class::Destructive;
    const EXAMPLE: Example = Example {
        arguments: r#"{"host": "example.org", "group": "staff"}"#,
        output: r#"{"host": "example.org", "group": "staff", "label": "Staff", "description": "",
            "members": 2, "all": false, "online": false, "displayed": ["staff"]}"#,
    };
    type Output = Group;

    fn target(&self) -> String {
        format!("{}@{}", self.group, self.host)
    }

    fn host(&self) -> Option<String> {
        Some(self.host.clone())
    }

    async fn run(self, cx: &Context) -> Result<Group, Refusal> {
        let name = name(cx, &self.host, &self.group)?;
        let was = find(cx, &name)?;
        let change = async { cx.store().groups().delete(&name).await };
        groups::edit(&cx.router(), Now::read(), change, |()| Concerned::Everyone).await?;
        Ok(was)
    }
}

/// Lists groups.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct List {
    /// Only this host's.
    pub host: String,
}

impl Operation for List {
    const NAME: &'static str = "group.list";
    const SUMMARY: &'static str = "List shared roster groups";
    const CLASS: Class = Class::Safe;
    const EXAMPLE: Example = Example {
        arguments: r#"{"host": "example.org"}"#,
        output: r#"[{"host": "example.org", "group": "staff", "label": "Staff", "description": "",
            "members": 2, "all": false, "online": false, "displayed": ["staff"]}]"#,
    };
    type Output = Vec<Group>;

    fn target(&self) -> String {
        self.host.clone()
    }

    async fn run(self, cx: &Context) -> Result<Vec<Group>, Refusal> {
        let hosts = account::hosts(cx, &self.host)?;
        let groups = cx.store().groups().snapshot();
        let wanted = |group: &Stored| hosts.iter().any(|host| host.domain == group.name.host);
        let found = groups.all().iter().filter(|group| wanted(group));
        Ok(found.map(|group| Group::of(&groups, group)).collect())
    }
}

/// Shows one group.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Show {
    pub host: String,
    pub group: String,
}

impl Operation for Show {
    const NAME: &'static str = "group.show";
    const SUMMARY: &'static str = "Show a shared roster group";
    const CLASS: Class = Class::Safe;
    const EXAMPLE: Example =
        Example { arguments: r#"{"host": "example.org", "group": "staff"}"#, output: EXAMPLE };
    type Output = Group;

    fn target(&self) -> String {
        format!("{}@{}", self.group, self.host)
    }

    fn host(&self) -> Option<String> {
        Some(self.host.clone())
    }

    async fn run(self, cx: &Context) -> Result<Group, Refusal> {
        find(cx, &name(cx, &self.host, &self.group)?)
    }
}

/// Sets label and description of a group.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Describe {
    pub host: String,
    pub group: String,
    /// What rosters call it; left as it is if this is left out.
    #[serde(default)]
    pub label: Option<String>,
    #[serde(default)]
    pub description: Option<String>,
}

impl Operation for Describe {
    const NAME: &'static str = "group.describe";
    const SUMMARY: &'static str = "Set label and description of a shared roster group";
    const CLASS: Class = Class::Reversible;
    const EXAMPLE: Example = Example {
        arguments: r#"{"host": "example.org", "group": "staff", "label": "Staff"}"#,
        output: EXAMPLE,
    };
    type Output = Group;

    fn target(&self) -> String {
        format!("{}@{}", self.group, self.host)
    }

    fn host(&self) -> Option<String> {
        Some(self.host.clone())
    }

    async fn run(self, cx: &Context) -> Result<Group, Refusal> {
        let name = name(cx, &self.host, &self.group)?;
        let change =
            async { cx.store().groups().describe(&name, self.label, self.description).await };
        groups::edit(&cx.router(), Now::read(), change, |()| Concerned::Everyone).await?;
        find(cx, &name)
    }
}

/// Lists the members of a group, those first who stand for others: `@all@`, `@online@`.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Members {
    pub host: String,
    pub group: String,
    /// The last member of the page before.
    #[serde(default)]
    pub after: Option<String>,
    /// All on one page, however many.
    #[serde(default)]
    pub whole: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MemberList {
    pub members: Vec<String>,
    /// There are more: pass it as `after`.
    pub next: Option<String>,
}

impl Operation for Members {
    const NAME: &'static str = "group.members";
    const SUMMARY: &'static str = "List the members of a shared roster group";
    const CLASS: Class = Class::Safe;
    const EXAMPLE: Example = Example {
        arguments: r#"{"host": "example.org", "group": "staff"}"#,
        output: r#"{"members": ["anna@example.org", "bob@example.org"], "next": null}"#,
    };
    type Output = MemberList;

    fn target(&self) -> String {
        format!("{}@{}", self.group, self.host)
    }

    fn host(&self) -> Option<String> {
        Some(self.host.clone())
    }

    async fn run(self, cx: &Context) -> Result<MemberList, Refusal> {
        let name = name(cx, &self.host, &self.group)?;
        let groups = cx.store().groups().snapshot();
        let found = groups.find(&name.host, &name.name);
        let group = found.ok_or_else(|| Refusal::from(GroupError::NoSuchGroup(name)))?;
        let special = [(group.everyone, EVERYONE), (group.online, ONLINE)];
        let special = special.iter().filter(|(is, _)| *is && self.after.is_none());
        let mut members: Vec<String> = special.map(|(_, text)| (*text).to_owned()).collect();
        let after = self.after.as_deref().unwrap_or_default();
        let mut rest = group.members.iter().filter(|member| member.as_str() > after);
        let max = if self.whole { usize::MAX } else { MEMBERS_MAX };
        members.extend(rest.by_ref().take(max).map(BareJid::to_string));
        let next = rest.next().and_then(|_| members.last().cloned());
        Ok(MemberList { members, next })
    }
}

/// Adds members to a group.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AddMember {
    pub host: String,
    pub group: String,
    /// Accounts of this server; `@all@` for all of the group's host, `@online@` for those online.
    pub members: Vec<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Changed {
    /// The members for whom that changed something.
    pub changed: Vec<String>,
}

impl Operation for AddMember {
    const NAME: &'static str = "group.add_member";
    const SUMMARY: &'static str = "Add members to a shared roster group";
    const CLASS: Class = Class::Reversible;
    const EXAMPLE: Example = Example {
        arguments: r#"{"host": "example.org", "group": "staff", "members": ["anna@example.org"]}"#,
        output: r#"{"changed": ["anna@example.org"]}"#,
    };
    type Output = Changed;

    fn target(&self) -> String {
        format!("{}@{}", self.group, self.host)
    }

    fn host(&self) -> Option<String> {
        only(&self.host, self.members.iter().map(String::as_str))
    }

    async fn run(self, cx: &Context) -> Result<Changed, Refusal> {
        change_members(cx, &self.host, &self.group, &self.members, true).await
    }
}

/// Takes members out of a group.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RemoveMember {
    pub host: String,
    pub group: String,
    pub members: Vec<String>,
}

impl Operation for RemoveMember {
    const NAME: &'static str = "group.remove_member";
    const SUMMARY: &'static str = "Take members out of a shared roster group";
    const CLASS: Class = Class::Reversible;
    const EXAMPLE: Example = Example {
        arguments: r#"{"host": "example.org", "group": "staff", "members": ["anna@example.org"]}"#,
        output: r#"{"changed": ["anna@example.org"]}"#,
    };
    type Output = Changed;

    fn target(&self) -> String {
        format!("{}@{}", self.group, self.host)
    }

    fn host(&self) -> Option<String> {
        only(&self.host, self.members.iter().map(String::as_str))
    }

    async fn run(self, cx: &Context) -> Result<Changed, Refusal> {
        change_members(cx, &self.host, &self.group, &self.members, false).await
    }
}

async fn change_members(
    cx: &Context,
    host: &str,
    group: &str,
    members: &[String],
    add: bool,
) -> Result<Changed, Refusal> {
    let name = name(cx, host, group)?;
    if members.is_empty() || members.len() > MEMBERS_MAX {
        return Err(Refusal::usage(format!("members: 1 to {MEMBERS_MAX} at once")));
    }
    let members = members.iter().map(|text| member(cx, &name, text));
    let members = members.collect::<Result<Vec<_>, _>>()?;
    let change = async { cx.store().groups().change_members(&name, members, add).await };
    let router = cx.router();
    let changed = groups::edit(&router, Now::read(), change, |changed| {
        let accounts = changed.iter().map(|member| match member {
            Member::Account(jid) => Some(jid.clone()),
            Member::Everyone | Member::Online => None,
        });
        accounts.collect::<Option<_>>().map_or(Concerned::Everyone, Concerned::Accounts)
    });
    let changed = changed.await?.into_iter().map(|member| match member {
        Member::Everyone => EVERYONE.to_owned(),
        Member::Online => ONLINE.to_owned(),
        Member::Account(jid) => jid.to_string(),
    });
    Ok(Changed { changed: changed.collect() })
}

fn member(cx: &Context, group: &GroupName, text: &str) -> Result<Member, Refusal> {
    for (special, member) in [(EVERYONE, Member::Everyone), (ONLINE, Member::Online)] {
        let Some(host) = text.strip_prefix(special) else { continue };
        if !host.is_empty() && host.strip_prefix('@') != Some(&group.host) {
            let text = format!("{special} stands for accounts of {}, the group's host", group.host);
            return Err(Refusal::usage(text));
        }
        return Ok(member);
    }
    Ok(Member::Account(account::account(cx, text)?.0))
}

/// Sets whose members the members of a group see.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SetDisplayed {
    pub host: String,
    pub group: String,
    /// All of them; or, with `add` or `remove`, those that come or go.
    pub displayed: Vec<String>,
    #[serde(default)]
    pub add: bool,
    #[serde(default)]
    pub remove: bool,
}

impl Operation for SetDisplayed {
    const NAME: &'static str = "group.set_displayed";
    const SUMMARY: &'static str = "Set which groups the members of a shared roster group see";
    const CLASS: Class = Class::Reversible;
    const EXAMPLE: Example = Example {
        arguments: r#"{"host": "example.org", "group": "staff", "displayed": ["staff"]}"#,
        output: EXAMPLE,
    };
    type Output = Group;

    fn target(&self) -> String {
        format!("{}@{}", self.group, self.host)
    }

    fn host(&self) -> Option<String> {
        only(&self.host, self.displayed.iter().map(String::as_str))
    }

    async fn run(self, cx: &Context) -> Result<Group, Refusal> {
        let name = name(cx, &self.host, &self.group)?;
        let mut displayed = names(cx, &name.host, &self.displayed)?;
        if self.add && self.remove {
            return Err(Refusal::usage("add and remove exclude each other"));
        }
        if self.add || self.remove {
            let groups = cx.store().groups().snapshot();
            let found = groups.find(&name.host, &name.name);
            let found =
                found.ok_or_else(|| Refusal::from(GroupError::NoSuchGroup(name.clone())))?;
            let mut now: Vec<_> = groups.displayed(found).map(|shown| shown.name.clone()).collect();
            if let Some(missing) =
                displayed.iter().find(|other| self.remove && !now.contains(other))
            {
                return Err(Refusal::not_found(format!("{name} does not display {missing}")));
            }
            now.retain(|shown| !displayed.contains(shown));
            if self.add {
                now.append(&mut displayed);
            }
            displayed = now;
        }
        let change = async { cx.store().groups().set_displayed(&name, displayed).await };
        groups::edit(&cx.router(), Now::read(), change, |()| Concerned::Everyone).await?;
        find(cx, &name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::ops::testing;
    use crate::store::rosters::Subscription;

    fn create(group: &str, displayed: &[&str]) -> Create {
        Create {
            host: "a.org".to_owned(),
            group: group.to_owned(),
            displayed: displayed.iter().map(|text| (*text).to_owned()).collect(),
            ..Create::default()
        }
    }

    fn add(group: &str, members: &[&str]) -> AddMember {
        AddMember {
            host: "a.org".to_owned(),
            group: group.to_owned(),
            members: members.iter().map(|text| (*text).to_owned()).collect(),
        }
    }

    #[tokio::test]
    async fn a_group_is_made_filled_shown_and_removed() {
        let (_dir, cx) = testing::context().await;
        let made = create("Staff", &["staff"]).run(&cx).await.unwrap();
        assert_eq!(
            (made.group.as_str(), &made.displayed[..]),
            ("staff", &["staff".to_owned()][..])
        );
        let again = create("staff", &[]).run(&cx).await.unwrap_err();
        assert_eq!(again.kind, RefusalKind::Conflict);
        let two = add("staff", &["ann@a.org", "ann@b.org", "@online@"]).run(&cx).await.unwrap();
        assert_eq!(two.changed, ["ann@a.org", "ann@b.org", "@online@"]);
        let facts = cx.store().facts(&BareJid::parse("ann@a.org").unwrap()).await.unwrap().unwrap();
        assert_eq!(facts.subscription("ann@b.org"), Subscription::Both);
        let members = Members { host: "a.org".into(), group: "staff".into(), ..Members::default() };
        let listed = members.run(&cx).await.unwrap();
        assert_eq!(listed.members, ["@online@", "ann@a.org", "ann@b.org"]);
        let listed = List::default().run(&cx).await.unwrap();
        assert_eq!((listed.len(), listed[0].members, listed[0].online), (1, 2, true));
        let gone = Delete { host: "a.org".into(), group: "staff".into() }.run(&cx).await.unwrap();
        assert_eq!(gone.members, 2);
        assert!(List::default().run(&cx).await.unwrap().is_empty());
    }

    #[tokio::test]
    async fn what_does_not_fit_is_told_and_changes_nothing() {
        let (_dir, cx) = testing::context().await;
        create("staff", &[]).run(&cx).await.unwrap();
        for (members, told) in [
            (&["ann@a.org", "nobody@a.org"][..], "there is no account nobody@a.org"),
            (&["ann@elsewhere.org"], "elsewhere.org is not a host of this server"),
            (&["@all@@b.org"], "@all@ stands for accounts of a.org, the group's host"),
            (&[], "members: 1 to 5000 at once"),
        ] {
            let refusal = add("staff", members).run(&cx).await.unwrap_err();
            assert_eq!(refusal.text, told);
        }
        let show = |group: &str| Show { host: "a.org".into(), group: group.into() };
        assert_eq!(show("staff").run(&cx).await.unwrap().members, 0);
        let refusal = show("stuff").run(&cx).await.unwrap_err();
        assert_eq!(refusal.text, "there is no group stuff@a.org");
        let refusal = create("x", &["y"]).run(&cx).await.unwrap_err();
        assert_eq!(refusal.text, "there is no group y@a.org");
        // An operator of one host reaches no other by it.
        assert_eq!(add("staff", &["ann@a.org", "@all@"]).host().as_deref(), Some("a.org"));
        assert_eq!(add("staff", &["ann@b.org"]).host(), None);
        assert_eq!(create("x", &["y@b.org"]).host(), None);
    }

    #[tokio::test]
    async fn displayed_groups_are_set_added_and_taken_away() {
        let (_dir, cx) = testing::context().await;
        for group in ["one", "two", "three"] {
            create(group, &[]).run(&cx).await.unwrap();
        }
        let set = async |displayed: &[&str], add, remove| {
            let displayed = displayed.iter().map(|text| (*text).to_owned()).collect();
            let (host, group) = ("a.org".to_owned(), "one".to_owned());
            SetDisplayed { host, group, displayed, add, remove }.run(&cx).await
        };
        assert_eq!(set(&["two"], false, false).await.unwrap().displayed, ["two"]);
        assert_eq!(set(&["one", "two"], true, false).await.unwrap().displayed, ["one", "two"]);
        assert_eq!(set(&["two"], false, true).await.unwrap().displayed, ["one"]);
        let refusal = set(&["three"], false, true).await.unwrap_err();
        assert_eq!(refusal.text, "one@a.org does not display three@a.org");
    }
}
