//! `coucou check`

use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;

use super::Common;
use super::failure::Failure;
use super::output::Output;
use crate::config::{self, Checked, Config, Problem};
use crate::net::certs::{CertSet, CertSource};
use crate::time::Now;

#[derive(Debug, Args)]
pub(super) struct Check {
    /// The file to check [default: the config file in use]
    file: Option<PathBuf>,
}

#[derive(Debug, Serialize)]
struct Report {
    file: PathBuf,
    ok: bool,
    /// What keeps the file from being used.
    problems: Vec<Problem>,
    warnings: Vec<Problem>,
}

impl Check {
    pub(super) fn run(self, common: &Common, out: &mut Output) -> Result<(), Failure> {
        let file = match self.file {
            Some(file) => file,
            None => common.config_file()?,
        };
        let report = check(&file);
        out.show(&report, text)?;
        if report.ok {
            Ok(())
        } else {
            Err(Failure::failed("the config file is not in order").told())
        }
    }
}

fn check(file: &Path) -> Report {
    let (problems, warnings) = match config::load(file) {
        Ok(Checked { config, mut warnings }) => {
            let (problems, doubts) = certificates(&config);
            warnings.extend(doubts);
            (problems, warnings)
        }
        Err(error) => (error.problems, Vec::new()),
    };
    Report { file: file.to_owned(), ok: problems.is_empty(), problems, warnings }
}

/// Faults and doubts of the certificates that the file names. Self-signed ones are the server's own
/// affair.
fn certificates(config: &Config) -> (Vec<Problem>, Vec<Problem>) {
    let (mut problems, mut warnings) = (Vec::new(), Vec::new());
    for host in config.hosts.iter().filter(|host| !host.tls.self_signed) {
        let about = |found: String| Problem {
            line: 0,
            column: 0,
            key: format!("hosts.\"{}\".tls", host.domain),
            found,
            expected: String::new(),
            help: None,
            excerpt: None,
        };
        let source = CertSource { chain: host.tls.certificate.clone(), key: host.tls.key.clone() };
        match CertSet::read(&[source]) {
            Ok(set) => {
                let doubts = set.warnings(&[&host.domain], Now::read());
                warnings.extend(
                    doubts.iter().map(|doubt| about(format!("a doubtful certificate: {doubt}"))),
                );
            }
            Err(error) => problems.push(about(format!("no usable certificate: {error}"))),
        }
    }
    (problems, warnings)
}

fn text(report: &Report) -> String {
    let file = report.file.display();
    let mut lines: Vec<String> =
        report.problems.iter().map(|problem| format!("{file}: error: {problem}")).collect();
    lines.extend(report.warnings.iter().map(|warning| format!("{file}: warning: {warning}")));
    lines.push(match report.problems.len() {
        0 => format!("{file} is in order."),
        1 => "1 problem; the file cannot be used as it is.".to_owned(),
        count => format!("{count} problems; the file cannot be used as it is."),
    });
    lines.join("\n")
}
