//! `coucou check`

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;

use super::Common;
use super::failure::Failure;
use super::output::Output;
use crate::access::lint::{self, Severity};
use crate::config::{self, Checked, Config, HostConfig, Problem};
use crate::net::certs::{CertSet, CertSource, CertWarning};
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
    /// Lines that do not do what they say.
    errors: Vec<Problem>,
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
    let mut report = Report {
        file: file.to_owned(),
        ok: true,
        problems: Vec::new(),
        errors: Vec::new(),
        warnings: Vec::new(),
    };
    match config::load(file) {
        Ok(Checked { config, warnings }) => {
            (report.problems, report.warnings) = certificates(&config);
            for finding in lint::lint(&config, None) {
                match finding.severity {
                    Severity::Refused => report.problems.push(finding.problem()),
                    Severity::Error => report.errors.push(finding.problem()),
                    Severity::Warning => report.warnings.push(finding.problem()),
                }
            }
            report.warnings.extend(modes(&config, file));
            report.warnings.splice(0..0, warnings);
        }
        Err(error) => report.problems = error.problems,
    }
    report.ok = report.problems.is_empty() && report.errors.is_empty();
    report
}

/// Files that more people can read than should.
fn modes(config: &Config, file: &Path) -> Vec<Problem> {
    let mode = |path: &Path| std::fs::metadata(path).map_or(0, |facts| facts.mode() & 0o777);
    let mut open = Vec::new();
    let mut look = |key: &str, path: &Path, bits: u32, what: &str| {
        let mode = mode(path);
        if mode & bits != 0 {
            let found = format!("{} with mode {mode:o}: {what}", path.display());
            let help = format!("chmod {:o} {}", mode & !bits, path.display());
            open.push(about(key, found, Some(help)));
        }
    };
    look("data_dir", &config.data_dir, 0o027, "others can get at what the server keeps");
    if !config.components.is_empty() {
        look("components", file, 0o007, "everybody can read the secrets in it");
    }
    for host in config.hosts.iter().filter(|host| !host.tls.self_signed) {
        let key = format!("hosts.{:?}.tls.key", host.domain);
        look(&key, &host.tls.key, 0o007, "everybody can read the private key");
    }
    open
}

fn about(key: &str, found: String, help: Option<String>) -> Problem {
    Problem {
        line: 0,
        column: 0,
        key: key.to_owned(),
        found,
        expected: String::new(),
        help,
        excerpt: None,
    }
}

/// Faults and doubts of the certificates that the file names. Self-signed ones are the server's own
/// affair.
fn certificates(config: &Config) -> (Vec<Problem>, Vec<Problem>) {
    let (mut problems, mut warnings) = (Vec::new(), Vec::new());
    for host in config.hosts.iter().filter(|host| !host.tls.self_signed) {
        let key = format!("hosts.{:?}.tls", host.domain);
        let about = |found: String| about(&key, found, None);
        let source = CertSource { chain: host.tls.certificate.clone(), key: host.tls.key.clone() };
        match CertSet::read(&[source]) {
            Ok(set) => {
                let doubts = set.warnings(&[&host.domain], Now::read());
                warnings.extend(
                    doubts.iter().map(|doubt| about(format!("a doubtful certificate: {doubt}"))),
                );
                warnings.extend(services(host, &set, &key));
            }
            Err(error) => problems.push(about(format!("no usable certificate: {error}"))),
        }
    }
    (problems, warnings)
}

/// The names of a host's services that its certificate does not cover.
fn services(host: &HostConfig, set: &CertSet, key: &str) -> Option<Problem> {
    let missing = |name: &&str| {
        let warnings = set.warnings(&[name], Now::read());
        warnings.iter().any(|warning| matches!(warning, CertWarning::Missing { .. }))
    };
    let names: Vec<&str> = host.services.names().filter(missing).collect();
    if names.is_empty() {
        return None;
    }
    let found = format!("a certificate without {}", names.join(", "));
    let help =
        "have one made that names them too, or switch a service off: `[hosts.\"…\".services]`";
    Some(about(key, found, Some(help.to_owned())))
}

fn text(report: &Report) -> String {
    let file = report.file.display();
    let mut lines: Vec<String> =
        report.problems.iter().map(|problem| format!("{file}: error: {problem}")).collect();
    lines.extend(report.errors.iter().map(|error| format!("{file}: error: {error}")));
    lines.extend(report.warnings.iter().map(|warning| format!("{file}: warning: {warning}")));
    lines.push(match (report.problems.len(), report.errors.len()) {
        (0, 0) => format!("{file} is in order."),
        (0, 1) => "1 line does not do what it says; the file can be used all the same.".to_owned(),
        (0, count) => {
            format!("{count} lines do not do what they say; the file can be used all the same.")
        }
        (1, _) => "1 problem; the file cannot be used as it is.".to_owned(),
        (count, _) => format!("{count} problems; the file cannot be used as it is."),
    });
    lines.join("\n")
}
