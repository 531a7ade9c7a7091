//! `coucou report …`

use clap::Subcommand;

use super::Common;
use super::failure::Failure;
use super::output::{Output, clean, table};
use super::reach::Reach;
use crate::admin::ops::report::{Close, List, Report as Row, Show};

#[derive(Debug, Subcommand)]
pub(super) enum Report {
    /// List the reports that wait, the newest first
    List {
        /// Those that are closed, too
        #[arg(long)]
        all: bool,
    },
    /// Show a report with the messages it names
    Show {
        /// As the list numbers it
        id: i64,
    },
    /// Close a report: it has been dealt with
    Close {
        /// As the list numbers it
        id: i64,
    },
}

impl Report {
    pub(super) fn run(self, common: &Common, out: &mut Output) -> Result<(), Failure> {
        let mut reach = Reach::anyway(common)?;
        let shown = match self {
            Report::List { all } => {
                let list = reach.call(&List { all, ..List::default() })?;
                out.show(&list.reports, |reports| {
                    if reports.is_empty() {
                        return "No reports.".to_owned();
                    }
                    let headings = ["ID", "TIME", "REPORTER", "ABOUT", "REASON", "TEXT"];
                    table(headings, reports.iter().map(row))
                })
            }
            Report::Show { id } => {
                let shown = reach.call(&Show { id })?;
                out.show(&shown, |shown| {
                    let headings = ["ID", "TIME", "REPORTER", "ABOUT", "REASON", "TEXT"];
                    let mut text = table(headings, [row(&shown.report)]);
                    for message in &shown.messages {
                        let body = message.body.as_deref().unwrap_or("(no text)");
                        text.push_str(&format!(
                            "\n{} {}: {}",
                            message.at,
                            clean(&message.from),
                            clean(body)
                        ));
                    }
                    text
                })
            }
            Report::Close { id } => {
                let closed = reach.call(&Close { id })?;
                out.show(&closed, |closed| format!("report {} is closed", closed.id))
            }
        };
        reach.close()?;
        shown
    }
}

fn row(report: &Row) -> [String; 6] {
    [
        report.id.to_string(),
        report.at.get(..16).unwrap_or(&report.at).replace('T', " "),
        report.reporter.clone().unwrap_or_else(|| "(gone)".to_owned()),
        report.about.clone(),
        report.reason.clone(),
        report.text.clone(),
    ]
}
