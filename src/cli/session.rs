//! `coucou session …`

use clap::Subcommand;

use super::Common;
use super::failure::Failure;
use super::output::{Output, duration, table};
use super::reach::Reach;
use crate::admin::ops::session::details::{Detail, Details};
use crate::admin::ops::session::{Kick, List, Session as Row};

#[derive(Debug, Subcommand)]
pub(super) enum Session {
    /// List sessions, the newest first
    List {
        /// Only this host
        #[arg(long, value_name = "DOMAIN", default_value = "")]
        host: String,
        /// Only this account
        account: Option<String>,
    },
    /// Show sessions with connection, stream management, queue and presence
    Show {
        /// name@domain or name@domain/resource
        jid: String,
    },
    /// End a session (full JID) or all of an account (name@domain); its devices have to sign in
    /// anew
    Kick {
        /// name@domain or name@domain/resource
        jid: String,
        /// Told to the client
        #[arg(long, value_name = "TEXT", default_value = "")]
        reason: String,
    },
}

impl Session {
    pub(super) fn run(self, common: &Common, out: &mut Output) -> Result<(), Failure> {
        let mut client = Reach::server(common)?;
        match self {
            Session::List { host, account } => {
                let sessions = client.call(&List { host, account, ..List::default() })?;
                out.show(&sessions, |sessions| {
                    if sessions.sessions.is_empty() {
                        return "No sessions.".to_owned();
                    }
                    let headings = ["JID", "ADDRESS", "TLS", "STATE", "SINCE", "IDLE", "WAITING"];
                    let mut text = table(headings, sessions.sessions.iter().map(row));
                    let left_out = sessions.count - sessions.sessions.len().min(sessions.count);
                    if left_out > 0 {
                        text.push_str(&format!("\n… and {left_out} more"));
                    }
                    text
                })
            }
            Session::Show { jid } => {
                let list = client.call(&Details { jid: Some(jid), ..Details::default() })?;
                out.show(&list.sessions, |sessions| {
                    if sessions.is_empty() {
                        return "No sessions.".to_owned();
                    }
                    let headings = [
                        "JID",
                        "ADDRESS",
                        "TLS",
                        "MECHANISM",
                        "PRESENCE",
                        "WAITING",
                        "UNACKED",
                        "UP",
                    ];
                    table(headings, sessions.iter().map(details_row))
                })
            }
            Session::Kick { jid, reason } => {
                let kicked = client.call(&Kick { jid, reason })?;
                out.show(&kicked, |kicked| {
                    kicked
                        .jids
                        .iter()
                        .map(|jid| format!("{jid} ended"))
                        .collect::<Vec<_>>()
                        .join("\n")
                })
            }
        }
    }
}

fn details_row(detail: &Detail) -> [String; 8] {
    let unacked = detail.stream_management.as_ref();
    [
        detail.jid.clone(),
        detail.address.clone().unwrap_or_else(|| "-".to_owned()),
        if detail.tls.is_empty() { "none".to_owned() } else { detail.tls.clone() },
        detail.mechanism.clone(),
        format!("{} {} {}", detail.show, detail.priority, detail.status),
        format!("{} ({} B)", detail.waiting, detail.waiting_bytes),
        unacked.map_or_else(|| "-".to_owned(), |sm| sm.unacknowledged.to_string()),
        duration(detail.uptime_secs),
    ]
}

fn row(session: &Row) -> [String; 7] {
    [
        session.jid.clone(),
        session.address.clone().unwrap_or_else(|| "-".to_owned()),
        if session.tls.is_empty() { "none".to_owned() } else { session.tls.clone() },
        session.state.clone(),
        session.since.get(..16).unwrap_or("").replace('T', " "),
        duration(session.idle_secs),
        session.waiting.to_string(),
    ]
}
