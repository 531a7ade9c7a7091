//! `coucou access …`: how rules decide, and why.

use std::path::PathBuf;

use clap::Subcommand;

use super::Common;
use super::failure::Failure;
use super::output::{Output, clean, table};
use super::reach::Reach;
use super::rules::Edit;
use crate::admin::ops::access::{Affected, AffectedAccounts, List, Listed, Named, Test, Tested};

#[derive(Debug, Subcommand)]
pub(super) enum Access {
    /// Ask a rule about somebody, and see the line that decides
    Test {
        /// An access rule, an ACL, an allowance, or a setting such as hosts.example.org.sign_in
        rule: String,
        /// name@domain, or a name on --host
        #[arg(long, value_name = "JID")]
        user: Option<String>,
        /// Where they come from
        #[arg(long, value_name = "ADDRESS")]
        ip: Option<String>,
        /// The host that asks [default: the user's]
        #[arg(long, value_name = "DOMAIN")]
        host: Option<String>,
        /// The resource of the user's session
        #[arg(long, value_name = "NAME")]
        resource: Option<String>,
    },
    /// List access rules, ACLs and allowances with their lines, and where they are used
    List {
        /// Only what goes by this name
        #[arg(default_value = "")]
        name: String,
    },
    /// Find the accounts for whom another config file would decide otherwise
    Affected {
        /// The file that would take the place of the one in use
        file: PathBuf,
        /// Only accounts of this host
        #[arg(long, value_name = "DOMAIN", default_value = "")]
        host: String,
        /// Where they would come from
        #[arg(long, value_name = "ADDRESS")]
        ip: Option<String>,
        /// Go on behind this account
        #[arg(long, value_name = "JID")]
        after: Option<String>,
    },
    #[command(flatten)]
    Edit(Edit),
}

impl Access {
    pub(super) fn run(self, common: &Common, out: &mut Output) -> Result<(), Failure> {
        if let Access::Edit(edit) = self {
            return edit.run(common, out);
        }
        let mut reach = Reach::anyway(common)?;
        match self {
            Access::Edit(_) => {}
            Access::Test { rule, user, ip, host, resource } => {
                let tested = reach.call(&Test { rule, user, ip, host, resource })?;
                out.show(&tested, verdict)?;
            }
            Access::List { name } => {
                let listed = reach.call(&List { name })?;
                out.show(&listed, list)?;
            }
            Access::Affected { file, host, ip, after } => {
                let text = std::fs::read_to_string(&file).map_err(|error| {
                    Failure::failed(format!("cannot read {}: {error}", file.display()))
                })?;
                let affected = reach.call(&Affected { text, host, ip, after, max: 0 })?;
                out.show(&affected, changes)?;
            }
        }
        reach.close()
    }
}

fn verdict(tested: &Tested) -> String {
    let mut lines = Vec::new();
    for step in &tested.steps {
        let mark = if step.held { "→" } else { "  " };
        let line = place(step.line);
        lines.push(clean(&format!("{mark} {line}: {}: {}", step.entry, step.why)));
    }
    let word = match (tested.value, tested.allowed) {
        (Some(u64::MAX), _) => "unlimited".to_owned(),
        (Some(value), _) => value.to_string(),
        (None, true) => "allow".to_owned(),
        (None, false) => "deny".to_owned(),
    };
    lines.push(match tested.line {
        Some(line) => format!("{word}, by line {line}"),
        None => clean(&format!("{word}: {}", tested.because)),
    });
    lines.join("\n")
}

fn place(line: Option<usize>) -> String {
    line.map_or_else(|| "built in".to_owned(), |line| format!("line {line}"))
}

fn list(listed: &Listed) -> String {
    let mut lines = Vec::new();
    let kinds =
        [("acl", &listed.acls), ("access", &listed.access), ("allowances", &listed.allowances)];
    for (kind, named) in kinds {
        for Named { name, line, lines: own, used_by } in named {
            lines.push(format!("{kind}.{} ({})", clean(name), place(*line)));
            lines.extend(own.iter().map(|one| {
                let at = one.line.map_or_else(String::new, |line| line.to_string());
                format!("{at:>6}  {}", clean(&one.text))
            }));
            if !used_by.is_empty() {
                lines.push(format!("        used by {}", clean(&used_by.join(", "))));
            }
        }
    }
    if !listed.settings.is_empty() {
        let rows = listed.settings.iter().map(|setting| {
            [
                setting.path.clone(),
                setting.line.map_or_else(String::new, |at| at.to_string()),
                setting.rule.clone(),
            ]
        });
        lines.push(table(["SETTING", "LINE", "RULE"], rows));
    }
    lines.join("\n")
}

fn changes(affected: &AffectedAccounts) -> String {
    let mut lines: Vec<String> = affected
        .changes
        .iter()
        .map(|one| {
            clean(&format!(
                "{}: {}: {} → {}: {}",
                one.jid, one.setting, one.before, one.after, one.because
            ))
        })
        .collect();
    let count = affected.looked_at;
    lines.push(match affected.changes.len() {
        0 => format!("Nothing changes for the {count} accounts looked at."),
        changes => format!("{changes} changes for the {count} accounts looked at."),
    });
    if let Some(next) = &affected.next {
        lines.push(format!("There are more accounts; go on with --after {}", clean(next)));
    }
    lines.join("\n")
}
