//! `coucou archive …`

use clap::Subcommand;

use super::Common;
use super::ask;
use super::failure::Failure;
use super::output::{Output, clean};
use super::reach::Reach;
use crate::admin::ops::archive::purge::{Purge, Whose};
use crate::admin::ops::archive::{Count, Forget, Message, Read};

#[derive(Debug, Subcommand)]
pub(super) enum Archive {
    /// Count the messages in the archive of an account or a host
    Count {
        /// name@domain, or a domain
        jid: String,
    },
    /// Read the archive of an account; with --json one message a line. It is written into the audit
    Read {
        /// name@domain
        jid: String,
        /// Only the conversation with this address
        #[arg(long, value_name = "JID")]
        with: Option<String>,
        /// Not before this time, day or age (2026-11-23, 7d)
        #[arg(long, value_name = "TIME")]
        since: Option<String>,
        /// Not after this time, day or age
        #[arg(long, value_name = "TIME")]
        until: Option<String>,
    },
    /// Tell what removing old messages would free; with --apply remove them
    Purge {
        /// What is older than this time, day or age (365d) goes
        before: String,
        /// Only this host
        #[arg(long, value_name = "DOMAIN", default_value = "")]
        host: String,
        /// Do it
        #[arg(long)]
        apply: bool,
    },
    /// Erase the archive of an account, or one conversation of it
    Forget {
        /// name@domain
        jid: String,
        /// Only the conversation with this address
        #[arg(long, value_name = "JID")]
        with: Option<String>,
        /// Confirm by naming the account
        #[arg(long, value_name = "JID")]
        yes: Option<String>,
    },
}

impl Archive {
    pub(super) fn run(self, common: &Common, out: &mut Output) -> Result<(), Failure> {
        if let Archive::Forget { jid, yes, .. } = &self {
            ask::confirm(
                &format!("This erases what the archive of {jid} holds."),
                jid,
                yes.as_deref(),
            )?;
        }
        let mut reach = Reach::anyway(common)?;
        let done = match self {
            Archive::Count { jid } => {
                let held = reach.call(&Count { jid })?;
                out.show(&held, |held| format!("{} messages, {}", held.messages, size(held.bytes)))
            }
            Archive::Read { jid, with, since, until } => {
                let mut after = None;
                loop {
                    let (with, since, until) = (with.clone(), since.clone(), until.clone());
                    let read =
                        Read { jid: jid.clone(), with, since, until, after, ..Read::default() };
                    let page = reach.call(&read)?;
                    page.messages.iter().try_for_each(|message| out.show(message, line))?;
                    after = page.next;
                    if after.is_none() {
                        break Ok(());
                    }
                }
            }
            Archive::Purge { before, host, apply } => {
                let purged = reach.call(&Purge { host, whose: Whose::All, before, apply })?;
                out.show(&purged, |purged| {
                    let what = if purged.removed { "removed" } else { "would go" };
                    let bytes = purged.bytes.map_or_else(String::new, |b| format!(", {}", size(b)));
                    format!(
                        "{} entries {what}; {} messages that nobody else keeps{bytes}",
                        purged.entries, purged.messages
                    )
                })
            }
            Archive::Forget { jid, with, .. } => {
                let gone = reach.call(&Forget { jid, with })?;
                out.show(&gone, |gone| format!("{} entries erased", gone.entries))
            }
        };
        reach.close()?;
        done
    }
}

fn line(message: &Message) -> String {
    let body = message.body.as_deref().unwrap_or("(no text)");
    format!("{} {} → {}: {}", message.at, clean(&message.from), clean(&message.to), clean(body))
}

/// As a person reads it.
fn size(bytes: u64) -> String {
    match bytes {
        0..1_024 => format!("{bytes} B"),
        1_024..1_048_576 => format!("{:.1} KiB", bytes as f64 / 1_024.0),
        _ => format!("{:.1} MiB", bytes as f64 / 1_048_576.0),
    }
}
