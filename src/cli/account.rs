//! `coucou account …`

use clap::Subcommand;
use serde::Serialize;

use super::Common;
use super::ask::{self, PasswordSource};
use super::failure::Failure;
use super::output::{Output, table};
use super::reach::Reach;
use crate::admin::ops::account::bin::{Bin, Purge, Removed, RemovedAccount, Restore};
use crate::admin::ops::account::show::{Details, Show};
use crate::admin::ops::account::{
    Account as Row, Accounts, Add, Done, List, Lock, Password, Remove, Unlock,
};

#[derive(Debug, Subcommand)]
pub(super) enum Account {
    /// Write an account with all its data into a file, for its owner or for another server
    Export {
        /// name@domain
        jid: String,
        /// The file to write; the server writes it, so its user must be able to
        #[arg(short, long, value_name = "FILE")]
        output: std::path::PathBuf,
    },
    /// Show an account: last seen, lock, devices, contacts, storage
    Show {
        /// name@domain
        jid: String,
    },
    /// Make an account
    Add {
        /// name@domain
        jid: String,
        #[command(flatten)]
        password: PasswordSource,
        /// Whatever the policy of registration says to the name and the password
        #[arg(long)]
        force: bool,
    },
    /// List accounts
    List {
        /// Only this host
        host: Option<String>,
        /// Only names that begin so
        #[arg(long, value_name = "TEXT", default_value = "")]
        prefix: String,
    },
    /// Set a new password; sessions end and devices have to sign in anew
    Password {
        /// name@domain
        jid: String,
        #[command(flatten)]
        password: PasswordSource,
    },
    /// Remove an account; for a while it can be restored
    Remove {
        /// name@domain
        jid: String,
        /// Erase it at once, with its archive, contacts and settings
        #[arg(long)]
        purge: bool,
        /// Confirm by naming the account
        #[arg(long, value_name = "JID")]
        yes: Option<String>,
    },
    /// Bring a removed account back, as it was
    Restore {
        /// name@domain
        jid: String,
    },
    /// List removed accounts that can be restored
    Bin {
        /// Only this host
        host: Option<String>,
    },
    /// Erase a removed account for good, which frees its name
    Purge {
        /// name@domain
        jid: String,
        /// Confirm by naming the account
        #[arg(long, value_name = "JID")]
        yes: Option<String>,
    },
    /// Let nobody sign in, and end the sessions there are
    Lock {
        /// name@domain
        jid: String,
        /// Kept with the lock and told to devices that are signed out
        #[arg(long, value_name = "TEXT", default_value = "")]
        reason: String,
    },
    /// Let a locked account sign in again
    Unlock {
        /// name@domain
        jid: String,
    },
}

/// What became of an account, with its password if that was made up here.
#[derive(Serialize)]
struct WithPassword {
    #[serde(flatten)]
    done: Done,
    #[serde(skip_serializing_if = "Option::is_none")]
    password: Option<String>,
}

impl Account {
    pub(super) fn run(self, common: &Common, out: &mut Output) -> Result<(), Failure> {
        // Asked before anything is opened: a person may take their time, and the lock of the store
        // is not theirs.
        let secret = match &self {
            Account::Add { jid, password, .. } | Account::Password { jid, password } => {
                Some(password.read(jid)?)
            }
            Account::Remove { jid, yes, purge: false } => {
                let what = format!("This removes {jid} and ends its sessions.");
                ask::confirm(&what, jid, yes.as_deref())?;
                None
            }
            Account::Remove { jid, yes, .. } | Account::Purge { jid, yes } => {
                let what = format!("This erases {jid} with its archive, contacts and settings.");
                ask::confirm(&what, jid, yes.as_deref())?;
                None
            }
            _ => None,
        };
        let mut reach = match self {
            Account::Export { jid, output } => {
                return super::export::export(common, out, Some(jid), None, &output);
            }
            _ => Reach::anyway(common)?,
        };
        let done = match self {
            Account::Export { .. } => Ok(()),
            Account::Add { jid, force, .. } => {
                let Some((password, made_up)) = secret else { return Ok(()) };
                let done = reach.call(&Add { jid, password: password.clone(), force })?;
                let shown =
                    WithPassword { done, password: made_up.then(|| password.reveal().to_owned()) };
                out.show(&shown, |shown| with_password("added", shown))
            }
            Account::Password { jid, .. } => {
                let Some((password, made_up)) = secret else { return Ok(()) };
                let done = reach.call(&Password { jid, password: password.clone() })?;
                let shown =
                    WithPassword { done, password: made_up.then(|| password.reveal().to_owned()) };
                out.show(&shown, |shown| with_password("has a new password", shown))
            }
            Account::Show { jid } => {
                let details = reach.call(&Show { jid })?;
                out.show(&details, details_text)
            }
            Account::List { host, prefix } => {
                list(&mut reach, host.unwrap_or_default(), prefix, out)
            }
            Account::Remove { jid, purge, .. } => {
                let done = reach.call(&Remove { jid, purge })?;
                let removed = removed(&mut reach, "")?;
                let kept = removed.into_iter().find(|account| account.jid == done.jid);
                out.show(&done, |done| match &kept {
                    None => told("erased", done),
                    Some(RemovedAccount { jid, until, .. }) => format!(
                        "{}\nUntil {}, `coucou account restore {jid}` brings it back.",
                        told("removed", done),
                        day(until)
                    ),
                })
            }
            Account::Restore { jid } => {
                let done = reach.call(&Restore { jid })?;
                out.show(&done, |done| told("is back", done))
            }
            Account::Bin { host } => bin(&mut reach, &host.unwrap_or_default(), out),
            Account::Purge { jid, .. } => {
                let done = reach.call(&Purge { jid })?;
                out.show(&done, |done| told("erased", done))
            }
            Account::Lock { jid, reason } => {
                let done = reach.call(&Lock { jid, reason })?;
                out.show(&done, |done| told("locked", done))
            }
            Account::Unlock { jid } => {
                let done = reach.call(&Unlock { jid })?;
                out.show(&done, |done| told("unlocked", done))
            }
        };
        reach.close()?;
        done
    }
}

fn details_text(details: &Details) -> String {
    let storage = &details.storage;
    let or_none = |text: Option<&str>| text.map_or_else(|| "never".to_owned(), str::to_owned);
    let locked = details.locked.as_ref();
    let locked =
        locked.map_or_else(|| "no".to_owned(), |l| format!("since {}: {}", l.since, l.reason));
    let sessions = details.sessions.map_or_else(|| "-".to_owned(), |count| count.to_string());
    let rows = [
        ("created", details.created.clone()),
        ("last seen", or_none(details.last_seen.as_deref())),
        ("locked", locked),
        ("sessions", sessions),
        ("devices", format!("{}, {} with push", details.devices, details.push)),
        ("contacts", format!("{}, {} ask to be one", details.contacts, details.requests)),
        ("blocked", details.blocked.to_string()),
        ("keys", details.keys.join(" ")),
        (
            "archive",
            format!("{} messages, {} bytes", storage.archive_messages, storage.archive_bytes),
        ),
        (
            "waiting",
            format!("{} messages, {} bytes", storage.offline_messages, storage.offline_bytes),
        ),
        (
            "kept",
            format!("vCard {} bytes, private {} bytes", storage.vcard_bytes, storage.private_bytes),
        ),
    ];
    let rows = rows.into_iter().map(|(name, value)| [name.to_owned(), value]);
    table(["ACCOUNT", &details.jid], rows)
}

/// All pages, printed as one list.
fn list(reach: &mut Reach, host: String, prefix: String, out: &mut Output) -> Result<(), Failure> {
    let mut all = Accounts::default();
    loop {
        let after = all.next.take();
        let page =
            reach.call(&List { host: host.clone(), prefix: prefix.clone(), after, max: 0 })?;
        all.accounts.extend(page.accounts);
        all.next = page.next;
        if all.next.is_none() {
            break;
        }
    }
    out.show(&all.accounts, |accounts| {
        if accounts.is_empty() {
            return "No accounts. `coucou account add name@domain` makes one.".to_owned();
        }
        table(["JID", "CREATED", "LAST SEEN", "SESSIONS", "LOCKED"], accounts.iter().map(row))
    })
}

fn bin(reach: &mut Reach, host: &str, out: &mut Output) -> Result<(), Failure> {
    let removed = removed(reach, host)?;
    out.show(&removed, |removed| {
        if removed.is_empty() {
            return "No removed accounts.".to_owned();
        }
        let row =
            |a: &RemovedAccount| [a.jid.clone(), day(&a.removed), day(&a.until), a.by.clone()];
        table(["JID", "REMOVED", "UNTIL", "BY"], removed.iter().map(row))
    })
}

fn removed(reach: &mut Reach, host: &str) -> Result<Vec<RemovedAccount>, Failure> {
    let mut all = Removed::default();
    loop {
        let after = all.next.take();
        let page = reach.call(&Bin { host: host.to_owned(), after, max: 0 })?;
        all.accounts.extend(page.accounts);
        all.next = page.next;
        if all.next.is_none() {
            return Ok(all.accounts);
        }
    }
}

/// A time as lists show it: to the minute.
pub(super) fn day(time: &str) -> String {
    time.get(..16).unwrap_or(time).replace('T', " ")
}

fn row(account: &Row) -> [String; 5] {
    [
        account.jid.clone(),
        day(&account.created),
        account.last_seen.as_deref().map_or_else(|| "-".to_owned(), day),
        account.sessions.map_or_else(|| "-".to_owned(), |count| count.to_string()),
        account
            .locked
            .as_ref()
            .map_or_else(String::new, |lock| format!("since {} {}", day(&lock.since), lock.reason)),
    ]
}

fn told(what: &str, done: &Done) -> String {
    let ended = match done.sessions_ended {
        0 => String::new(),
        1 => "; 1 session ended".to_owned(),
        count => format!("; {count} sessions ended"),
    };
    format!("{} {what}{ended}", done.jid)
}

fn with_password(what: &str, shown: &WithPassword) -> String {
    let told = told(what, &shown.done);
    match &shown.password {
        Some(password) => format!("{told}\npassword: {password}"),
        None => told,
    }
}
