//! `coucou registration …`

use std::net::IpAddr;

use clap::Subcommand;

use super::Common;
use super::account::day;
use super::ask;
use super::failure::Failure;
use super::output::{Output, table};
use super::reach::Reach;
use crate::admin::ops::registration::{
    Approve, Limits, List, Refuse, ResetLimits, Source, Waiting, WaitingAccount,
};
use crate::config::value::Span;

#[derive(Debug, Subcommand)]
pub(super) enum Registration {
    /// List accounts that wait for approval
    List {
        /// Only this host
        host: Option<String>,
    },
    /// Let somebody in who waits
    Approve {
        /// name@domain
        jid: String,
    },
    /// Turn somebody away who waits: the account is erased, its name is free
    Refuse {
        /// name@domain
        jid: String,
        /// Confirm by naming the account
        #[arg(long, value_name = "JID")]
        yes: Option<String>,
    },
    /// Show who has registered lately and has to wait
    Limits {
        /// Only this host
        host: Option<String>,
    },
    /// Let those register again who have to wait
    ResetLimits {
        /// Only this host
        host: Option<String>,
        /// Only this address (IPv6: its /56)
        #[arg(long, value_name = "IP")]
        address: Option<IpAddr>,
    },
}

impl Registration {
    pub(super) fn run(self, common: &Common, out: &mut Output) -> Result<(), Failure> {
        if let Registration::Refuse { jid, yes } = &self {
            ask::confirm(&format!("This erases {jid}."), jid, yes.as_deref())?;
        }
        let mut reach = Reach::anyway(common)?;
        let done = match self {
            Registration::List { host } => list(&mut reach, host.unwrap_or_default(), out),
            Registration::Approve { jid } => {
                let done = reach.call(&Approve { jid })?;
                out.show(&done, |done| format!("{} is let in", done.jid))
            }
            Registration::Refuse { jid, .. } => {
                let done = reach.call(&Refuse { jid })?;
                out.show(&done, |done| format!("{} is turned away", done.jid))
            }
            Registration::Limits { host } => {
                let seen = reach.call(&Limits { host: host.unwrap_or_default() })?;
                out.show(&seen.sources, |sources| {
                    if sources.is_empty() {
                        return "Nobody has registered lately.".to_owned();
                    }
                    table(["HOST", "SOURCE", "LAST", "LEFT", "WAIT"], sources.iter().map(source))
                })
            }
            Registration::ResetLimits { host, address } => {
                let host = host.unwrap_or_default();
                let forgotten = reach.call(&ResetLimits { host, address })?;
                out.show(&forgotten, |forgotten| match forgotten.sources {
                    1 => "1 source starts afresh".to_owned(),
                    count => format!("{count} sources start afresh"),
                })
            }
        };
        reach.close()?;
        done
    }
}

/// All pages, printed as one list.
fn list(reach: &mut Reach, host: String, out: &mut Output) -> Result<(), Failure> {
    let mut all = Waiting::default();
    loop {
        let after = all.next.take();
        let page = reach.call(&List { host: host.clone(), after, max: 0 })?;
        all.accounts.extend(page.accounts);
        all.next = page.next;
        if all.next.is_none() {
            break;
        }
    }
    out.show(&all.accounts, |accounts| {
        if accounts.is_empty() {
            return "Nobody waits for approval.".to_owned();
        }
        table(["JID", "ASKED", "UNTIL", "ADDRESS", "BY"], accounts.iter().map(waiting))
    })
}

fn waiting(account: &WaitingAccount) -> [String; 5] {
    [
        account.jid.clone(),
        day(&account.asked),
        day(&account.expires),
        account.address.clone().unwrap_or_else(|| "-".to_owned()),
        account.door.clone(),
    ]
}

fn source(source: &Source) -> [String; 5] {
    let wait = |secs| Span(std::time::Duration::from_secs(secs)).to_string();
    [
        source.host.clone(),
        source.source.clone(),
        day(&source.last),
        source.left.to_string(),
        source.wait.map_or_else(|| "-".to_owned(), wait),
    ]
}
