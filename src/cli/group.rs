//! `coucou group …`

use clap::Subcommand;

use super::Common;
use super::failure::Failure;
use super::output::{Output, clean, table};
use super::reach::Reach;
use crate::admin::ops::group::{
    AddMember, Changed, Create, Delete, Describe, Group as Row, List, MemberList, Members,
    RemoveMember, SetDisplayed, Show,
};

#[derive(Debug, Subcommand)]
pub(super) enum Group {
    /// List the groups
    List {
        /// Only this host's
        #[arg(default_value = "")]
        host: String,
    },
    /// Show a group
    Show {
        /// group@host
        group: String,
    },
    /// Make a group; without --displays its members see each other
    Create {
        /// group@host
        group: String,
        /// What rosters call it [default: its name]
        #[arg(long, value_name = "TEXT", default_value = "")]
        label: String,
        #[arg(long, value_name = "TEXT", default_value = "")]
        description: String,
        /// A group whose members they see; as often as there are such groups
        #[arg(long, value_name = "GROUP")]
        displays: Vec<String>,
    },
    /// Set what rosters call a group, or its description
    Describe {
        /// group@host
        group: String,
        #[arg(long, value_name = "TEXT", required_unless_present = "description")]
        label: Option<String>,
        #[arg(long, value_name = "TEXT")]
        description: Option<String>,
    },
    /// Set the groups whose members the members of this one see; without any, they see nobody
    Displays {
        /// group@host
        group: String,
        displayed: Vec<String>,
    },
    /// List the members of a group
    Members {
        /// group@host
        group: String,
    },
    /// Add members
    Add {
        /// group@host
        group: String,
        /// name@domain; @all@ is every account of the host, @online@ every one that is online
        #[arg(required = true)]
        members: Vec<String>,
    },
    /// Take members out
    Remove {
        /// group@host
        group: String,
        #[arg(required = true)]
        members: Vec<String>,
    },
    /// Remove a group
    Delete {
        /// group@host
        group: String,
    },
}

impl Group {
    pub(super) fn run(self, common: &Common, out: &mut Output) -> Result<(), Failure> {
        let mut reach = Reach::anyway(common)?;
        let told = self.told(&mut reach, out);
        reach.close()?;
        told
    }

    fn told(self, reach: &mut Reach, out: &mut Output) -> Result<(), Failure> {
        match self {
            Group::List { host } => {
                let groups = reach.call(&List { host })?;
                out.show(&groups, |groups| listed(groups))
            }
            Group::Show { group } => {
                let (group, host) = split(&group)?;
                let group = reach.call(&Show { host, group })?;
                out.show(&group, |group| listed(std::slice::from_ref(group)))
            }
            Group::Create { group, label, description, displays } => {
                let (group, host) = split(&group)?;
                let displayed = if displays.is_empty() { vec![group.clone()] } else { displays };
                let create = Create { host, group, label, description, displayed, replace: false };
                let made = reach.call(&create)?;
                out.show(&made, |made| format!("{}@{} made", clean(&made.group), made.host))
            }
            Group::Describe { group, label, description } => {
                let (group, host) = split(&group)?;
                let group = reach.call(&Describe { host, group, label, description })?;
                out.show(&group, |group| listed(std::slice::from_ref(group)))
            }
            Group::Displays { group, displayed } => {
                let (group, host) = split(&group)?;
                let set = SetDisplayed { host, group, displayed, ..SetDisplayed::default() };
                let group = reach.call(&set)?;
                out.show(&group, |group| listed(std::slice::from_ref(group)))
            }
            Group::Members { group } => {
                let (group, host) = split(&group)?;
                let mut all: Vec<String> = Vec::new();
                let mut after = None;
                loop {
                    let page =
                        Members { host: host.clone(), group: group.clone(), after, whole: false };
                    let MemberList { members, next } = reach.call(&page)?;
                    all.extend(members);
                    match next {
                        Some(next) => after = Some(next),
                        None => break,
                    }
                }
                out.show(&all, |all| match all.is_empty() {
                    true => "No members.".to_owned(),
                    false => all.iter().map(|jid| clean(jid)).collect::<Vec<_>>().join("\n"),
                })
            }
            Group::Add { group, members } => {
                let (group, host) = split(&group)?;
                let changed = reach.call(&AddMember { host, group, members })?;
                out.show(&changed, |changed| told("added", changed))
            }
            Group::Remove { group, members } => {
                let (group, host) = split(&group)?;
                let changed = reach.call(&RemoveMember { host, group, members })?;
                out.show(&changed, |changed| told("taken out", changed))
            }
            Group::Delete { group } => {
                let (group, host) = split(&group)?;
                let gone = reach.call(&Delete { host, group })?;
                out.show(&gone, |gone| format!("{}@{} removed", clean(&gone.group), gone.host))
            }
        }
    }
}

fn split(text: &str) -> Result<(String, String), Failure> {
    match text.split_once('@') {
        Some((group, host)) => Ok((group.to_owned(), host.to_owned())),
        None => Err(Failure::usage(format!("{text:?} names no host: write group@host"))),
    }
}

fn listed(groups: &[Row]) -> String {
    if groups.is_empty() {
        return "No groups. `coucou group create group@host` makes one.".to_owned();
    }
    let row = |group: &Row| {
        let mut members = vec![group.members.to_string()];
        members.extend(group.all.then(|| "@all@".to_owned()));
        members.extend(group.online.then(|| "@online@".to_owned()));
        [
            format!("{}@{}", group.group, group.host),
            group.label.clone(),
            members.join(" + "),
            group.displayed.join(", "),
            group.description.clone(),
        ]
    };
    table(["GROUP", "LABEL", "MEMBERS", "DISPLAYS", "DESCRIPTION"], groups.iter().map(row))
}

fn told(what: &str, changed: &Changed) -> String {
    match changed.changed.is_empty() {
        true => "Nothing changed.".to_owned(),
        false => {
            changed.changed.iter().map(|jid| format!("{jid} {what}")).collect::<Vec<_>>().join("\n")
        }
    }
}
