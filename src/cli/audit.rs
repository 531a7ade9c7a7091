//! `coucou audit`

use clap::Args;

use super::Common;
use super::failure::Failure;
use super::output::{Output, table};
use super::reach::Reach;
use crate::admin::ops::audit::{Act, List};

/// Show what operators did, the newest first, and what private things they looked at
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  coucou audit --what account. --since 7d\n  \
                        coucou audit --who 'uid=0(root)' --target eve@example.org")]
pub(super) struct Audit {
    /// Only of this actor, as the list names it
    #[arg(long, value_name = "WHO", default_value = "")]
    who: String,
    /// Only by this door: socket, cli, http
    #[arg(long, value_name = "DOOR", default_value = "")]
    from: String,
    /// Only this operation, or all that begin so, as in `account.`
    #[arg(long, value_name = "NAME", default_value = "")]
    what: String,
    /// Only on this account or host
    #[arg(long, value_name = "JID", default_value = "")]
    target: String,
    /// Not before this time, day or age (2026-11-23, 7d)
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Before this time, day or age
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// So many acts at most
    #[arg(long, short = 'n', value_name = "COUNT", default_value_t = 50)]
    max: usize,
}

impl Audit {
    pub(super) fn run(self, common: &Common, out: &mut Output) -> Result<(), Failure> {
        let mut reach = Reach::anyway(common)?;
        let mut acts: Vec<Act> = Vec::new();
        let mut before = None;
        while acts.len() < self.max {
            let page = reach.call(&List {
                who: self.who.clone(),
                from: self.from.clone(),
                what: self.what.clone(),
                target: self.target.clone(),
                since: self.since.clone(),
                until: self.until.clone(),
                before,
                max: self.max - acts.len(),
            })?;
            acts.extend(page.acts);
            before = page.next;
            if before.is_none() {
                break;
            }
        }
        reach.close()?;
        out.show(&acts, |acts| {
            if acts.is_empty() {
                return "Nothing of that kind was done.".to_owned();
            }
            let headings = ["TIME", "WHO", "FROM", "WHAT", "TARGET", "OUTCOME"];
            table(headings, acts.iter().map(row))
        })
    }
}

fn row(act: &Act) -> [String; 6] {
    let time = act.at.get(..19).unwrap_or(&act.at).replace('T', " ");
    [
        time,
        act.who.clone(),
        act.from.clone(),
        act.what.clone(),
        act.target.clone(),
        act.outcome.clone(),
    ]
}
