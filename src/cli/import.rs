//! `coucou import`

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;

use super::Common;
use super::export::{self, OnExisting};
use super::failure::Failure;
use super::output::{Output, clean};
use super::place::shell_word;
use crate::access::lint::{self, Severity};
use crate::config::import::{self, Imported, Kind, Note, World};
use crate::config::{Choice as _, Problem};
use crate::net::certs::{CertSet, CertSource};

/// Largest file read; a bound against a wrong path such as a disk image.
const FILE_BYTES_MAX: u64 = 4 << 20;
/// Width of the report's lines.
const REPORT_CHARS: usize = 98;

#[derive(Debug, Args)]
pub(super) struct Import {
    /// Settings: ejabberd's configuration file. Accounts: a file of XEP-0227, as `coucou export` and
    /// other servers write it; the server reads it
    file: PathBuf,
    /// Only look, and tell what would come in
    #[arg(long)]
    dry_run: bool,
    /// Accounts: what to do about those that are there already
    #[arg(long, value_name = "WHAT", default_value = "fail")]
    existing: OnExisting,
    /// Settings: the config file to write [default: --config or --dir, else coucou.toml]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Settings: write over a config file that exists
    #[arg(long)]
    force: bool,
    /// Settings: tell also what was carried over as it is
    #[arg(long)]
    all: bool,
}

#[derive(Debug, Serialize)]
struct Report {
    source: PathBuf,
    /// The file that was written, or would be.
    config: PathBuf,
    written: bool,
    notes: Vec<Note>,
    /// What `coucou check` will say of the new file.
    warnings: Vec<Problem>,
    /// How the accounts come over.
    accounts: Vec<String>,
}

impl Import {
    pub(super) fn run(self, common: &Common, out: &mut Output) -> Result<(), Failure> {
        let unreadable = |error: io::Error| {
            Failure::failed(format!("{} cannot be read: {error}", self.file.display()))
        };
        if is_xml(&self.file).map_err(unreadable)? {
            return export::import(common, out, &self.file, self.existing.into(), self.dry_run);
        }
        let config = match &self.output {
            Some(file) => file.clone(),
            None => common.named().unwrap_or_else(|| PathBuf::from("coucou.toml")),
        };
        if config.exists() && !self.force && !self.dry_run {
            return Err(Failure::conflict(format!("{} exists already", config.display()))
                .help("name another file with -o, or overwrite this one with --force"));
        }
        let text = read(&self.file).map_err(unreadable)?;
        let mut imported = import::ejabberd(&text, &self.file, &config, &Machine)?;
        examine(&mut imported, &config)?;
        let Imported { toml, notes, warnings, .. } = imported;
        if !self.dry_run {
            write(&config, &toml, self.force).map_err(|error| {
                Failure::failed(format!("cannot write {}: {error}", config.display()))
            })?;
        }
        let report = Report {
            source: self.file,
            written: !self.dry_run,
            notes,
            warnings,
            accounts: accounts(),
            config,
        };
        let all = self.all;
        out.show(&report, |report| told(report, all))
    }
}

/// Asks about the rules what `coucou check` asks. Entries with which a file would not pass do
/// nothing, or too much, and are left out.
fn examine(imported: &mut Imported, config: &Path) -> Result<(), Failure> {
    // What is left out may lay bare what it hid.
    const ROUNDS_MAX: usize = 8;
    for _ in 0..ROUNDS_MAX {
        let mut changed = false;
        for finding in lint::lint(&imported.config, None) {
            let Some(line) = finding.line else { continue };
            let in_rule = ["access.", "allowances."].iter().any(|of| finding.key.starts_with(of));
            let leave = match finding.severity {
                Severity::Refused => true,
                Severity::Error => in_rule,
                Severity::Warning => false,
            };
            let left = leave && imported.leave_out(line);
            let found = if left { format!("{}; left out", finding.found) } else { finding.found };
            imported.fault(line, &found, &finding.remedy);
            changed |= left;
        }
        if !changed {
            break;
        }
        imported.read_again(config)?;
    }
    Ok(())
}

/// The machine that the import runs on.
struct Machine;

impl World for Machine {
    fn read(&self, file: &Path) -> io::Result<String> {
        read(file)
    }

    fn certificate(&self, chain: &Path, key: &Path) -> Result<Vec<String>, String> {
        let source = CertSource { chain: chain.to_owned(), key: key.to_owned() };
        let set = CertSet::read(&[source]).map_err(|error| error.to_string())?;
        let names = set.certificates().iter().flat_map(|certificate| certificate.names.clone());
        Ok(names.collect())
    }
}

/// Accounts come as XML, settings as YAML.
fn is_xml(file: &Path) -> io::Result<bool> {
    let mut start = [0; 64];
    let len = File::open(file)?.read(&mut start)?;
    let start = start[..len].strip_prefix("\u{feff}".as_bytes()).unwrap_or(&start[..len]);
    Ok(start.trim_ascii_start().starts_with(b"<"))
}

fn read(file: &Path) -> io::Result<String> {
    let mut text = String::new();
    let len = File::open(file)?.take(FILE_BYTES_MAX + 1).read_to_string(&mut text)? as u64;
    if len > FILE_BYTES_MAX {
        let what = format!("more than {FILE_BYTES_MAX} bytes");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, what));
    }
    Ok(text)
}

/// Whole or not at all, readable by its owner only: components' secrets are in it.
fn write(config: &Path, toml: &str, force: bool) -> io::Result<()> {
    let mut name = config.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.new", std::process::id()));
    let beside = config.with_file_name(name);
    let written = (|| {
        let mut options = OpenOptions::new();
        options.write(true).create_new(true).mode(0o600);
        let mut file = options.open(&beside)?;
        file.write_all(toml.as_bytes())?;
        file.sync_all()?;
        if force {
            std::fs::rename(&beside, config)
        } else {
            // Unlike a rename, a link does not replace what came to be there meanwhile.
            std::fs::hard_link(&beside, config)
        }
    })();
    if written.is_err() || !force {
        let _ = std::fs::remove_file(&beside);
    }
    written
}

fn accounts() -> Vec<String> {
    [
        "On ejabberd's machine, export each host: ejabberdctl export_piefxis_host DIR HOST. With \
         accounts in SQL that are stored as SCRAM keys, the keys are in the export, and nobody has \
         to choose a new password.",
        "The result is XML in the form of XEP-0227: accounts with contact lists, offline messages, \
         private storage and vCards. `coucou import FILE.xml` takes it in. Keep it as private as the \
         database.",
        "Groups shared by all come by ejabberdctl srg_list, srg_get_info and srg_get_members.",
    ]
    .map(str::to_owned)
    .to_vec()
}

fn told(report: &Report, all: bool) -> String {
    let mut lines = Vec::new();
    let source = report.source.display().to_string();
    for (kind, heading) in [
        (Kind::Fault, "Faults of the old configuration"),
        (Kind::Left, "Left, because there is nothing here yet that it could set"),
        (Kind::Changed, "Carried over, and yet not the same"),
        (Kind::Needless, "Needless here"),
        (Kind::Carried, "Carried over"),
    ] {
        let notes: Vec<&Note> = report.notes.iter().filter(|note| note.kind == kind).collect();
        if notes.is_empty() || (kind == Kind::Carried && !all) {
            continue;
        }
        lines.push(format!("{heading} ({}):", notes.len()));
        // What has one reason is told together.
        let mut reasons: Vec<(&str, Option<&str>)> = Vec::new();
        for note in &notes {
            let reason = (note.why.as_str(), note.remedy.as_deref());
            if !reasons.contains(&reason) {
                reasons.push(reason);
            }
        }
        for (why, remedy) in reasons {
            paragraph("  ", &clean(why), &mut lines);
            for note in notes
                .iter()
                .filter(|note| (note.why.as_str(), note.remedy.as_deref()) == (why, remedy))
            {
                let file =
                    if note.file == source { String::new() } else { format!("{}:", note.file) };
                lines.push(clean(&format!(
                    "      {file}{}:{} {}",
                    note.line, note.column, note.option
                )));
            }
            if let Some(remedy) = remedy {
                paragraph("      ", &format!("help: {}", clean(remedy)), &mut lines);
            }
        }
        lines.push(String::new());
    }
    let counts: Vec<String> = Kind::ALL
        .iter()
        .rev()
        .map(|(name, kind)| {
            let count = report.notes.iter().filter(|note| note.kind == *kind).count();
            format!("{count} {name}")
        })
        .collect();
    lines.push(format!("{source}: {}.", counts.join(", ")));
    lines.push("Accounts come over apart from the settings:".to_owned());
    for line in &report.accounts {
        paragraph("  ", line, &mut lines);
    }
    let config = shell_word(&report.config);
    lines.push(if report.written {
        format!("Wrote {config}. Look it through, then: coucou check {config}")
    } else {
        format!("Nothing was written; without --dry-run it would be {config}.")
    });
    lines.join("\n")
}

/// `text` in lines of the report's width, indented.
fn paragraph(indent: &str, text: &str, lines: &mut Vec<String>) {
    let mut line = indent.to_owned();
    for word in text.split_whitespace() {
        let is_first = line.len() == indent.len();
        if !is_first && line.chars().count() + 1 + word.chars().count() > REPORT_CHARS {
            lines.push(std::mem::replace(&mut line, indent.to_owned()));
        } else if !is_first {
            line.push(' ');
        }
        line.push_str(word);
    }
    lines.push(line);
}
