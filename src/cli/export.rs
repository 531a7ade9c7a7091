//! `coucou export`, and the half of `coucou import` that reads what it writes.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};

use super::Common;
use super::failure::Failure;
use super::output::{Output, clean};
use super::reach::Reach;
use crate::admin::ops::portable;
use crate::admin::portable::import::{Existing, Imported};

/// What to do about accounts that are there already.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum OnExisting {
    /// Import nothing at all
    Fail,
    /// Leave them as they are
    Skip,
    /// Give them password, contacts and data of the file, and add its messages
    Replace,
}

impl From<OnExisting> for Existing {
    fn from(existing: OnExisting) -> Existing {
        match existing {
            OnExisting::Fail => Existing::Fail,
            OnExisting::Skip => Existing::Skip,
            OnExisting::Replace => Existing::Replace,
        }
    }
}

#[derive(Debug, Args)]
pub(super) struct Export {
    /// Only this account
    #[arg(long, value_name = "JID", conflicts_with = "host")]
    account: Option<String>,
    /// Only the accounts of this host
    #[arg(long, value_name = "DOMAIN")]
    host: Option<String>,
    /// The file to write; the server writes it, so its user must be able to
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
}

impl Export {
    pub(super) fn run(self, common: &Common, out: &mut Output) -> Result<(), Failure> {
        export(common, out, self.account, self.host, &self.output)
    }
}

pub(super) fn export(
    common: &Common,
    out: &mut Output,
    jid: Option<String>,
    host: Option<String>,
    file: &Path,
) -> Result<(), Failure> {
    let file = whole(file)?;
    let mut reach = Reach::anyway(common)?;
    reach.wait_long()?;
    let done = reach.call(&portable::Export { jid, host, file });
    reach.close()?;
    out.show(&done?, |done| {
        let accounts = counted(done.accounts, "account");
        let messages = counted(done.archived + done.waiting, "message");
        format!("{}: {accounts}, {messages}, {} bytes", clean(&done.file), done.bytes)
    })
}

/// Imports accounts from `file`.
pub(super) fn import(
    common: &Common,
    out: &mut Output,
    file: &Path,
    existing: Existing,
    dry_run: bool,
) -> Result<(), Failure> {
    let file = whole(file)?;
    let mut reach = Reach::anyway(common)?;
    reach.wait_long()?;
    let done = reach.call(&portable::Import { file, existing, dry_run });
    reach.close()?;
    out.show(&done?, told)
}

/// The server may work in another folder.
fn whole(file: &Path) -> Result<String, Failure> {
    let path = std::path::absolute(file)
        .map_err(|error| Failure::failed(format!("{}: {error}", file.display())))?;
    path.into_os_string()
        .into_string()
        .map_err(|path| Failure::usage(format!("{} is not UTF-8", path.display())))
}

fn counted(count: u64, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}

fn told(done: &Imported) -> String {
    let would = if done.dry_run { "would be " } else { "" };
    let mut lines = vec![format!(
        "{} {would}made, {} {would}replaced, {} left as they are",
        counted(done.made, "account"),
        done.replaced,
        done.skipped
    )];
    lines.push(format!(
        "{}, {}, {} in archives, {} waiting, {}, {} blocked",
        counted(done.contacts, "contact"),
        counted(done.requests, "subscription request"),
        counted(done.archived, "message"),
        done.waiting,
        counted(done.vcards, "vCard"),
        done.blocked
    ));
    if done.without_password > 0 {
        lines.push(format!(
            "{} without a password: `coucou account password` sets one",
            counted(done.without_password, "account")
        ));
    }
    if done.sha_1_only > 0 {
        lines.push(format!(
            "{} with keys for SCRAM-SHA-1 only: clients that choose a stronger mechanism cannot \
             sign in; until they have a new password, let the host offer SCRAM-SHA-1 and PLAIN \
             only (hosts.….mechanisms)",
            counted(done.sha_1_only, "account")
        ));
    }
    for (what, count) in &done.left_out {
        lines.push(format!("left out, since it is not stored here: {} ({count})", clean(what)));
    }
    lines.join("\n")
}
