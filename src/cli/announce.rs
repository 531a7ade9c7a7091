//! `coucou announce …`

use std::io::Read;

use clap::Subcommand;

use super::Common;
use super::failure::Failure;
use super::output::{Output, clean};
use super::reach::Reach;
use crate::admin::ops::announce::{
    Audience, DeleteMotd, Kind, Send, Sent, SetMotd, ShowMotd, Status,
};

#[derive(Debug, Subcommand)]
pub(super) enum Announce {
    /// Send a message to everybody who is online
    Online(Text),
    /// Send a message to every account; it is kept for those who are away
    All(Text),
    /// Tell how far a message to all accounts is
    Status,
    /// Set, show and delete the message of the day, which each account reads once
    #[command(subcommand)]
    Motd(Motd),
}

#[derive(Debug, clap::Args)]
pub(super) struct Text {
    /// The text; - reads it from standard input
    body: String,
    #[arg(long, value_name = "TEXT", default_value = "")]
    subject: String,
    /// Only on this host
    #[arg(long, value_name = "DOMAIN", default_value = "")]
    host: String,
    /// A headline (shown at once, not kept) or a normal message [default: headline for those
    /// online, normal for all]
    #[arg(long, value_name = "KIND", value_parser = kind)]
    kind: Option<Kind>,
}

#[derive(Debug, Subcommand)]
pub(super) enum Motd {
    /// Set it; everybody reads it at the next sign-in
    Set {
        /// The text; - reads it from standard input
        body: String,
        #[arg(long, value_name = "TEXT", default_value = "")]
        subject: String,
        /// Only on this host
        #[arg(long, value_name = "DOMAIN", default_value = "")]
        host: String,
        /// Tell those who are online at once
        #[arg(long)]
        now: bool,
    },
    /// Show it
    Show {
        /// Only of this host
        #[arg(default_value = "")]
        host: String,
    },
    /// Take it away
    Delete {
        /// Only of this host
        #[arg(default_value = "")]
        host: String,
    },
}

fn kind(text: &str) -> Result<Kind, String> {
    match text {
        "headline" => Ok(Kind::Headline),
        "normal" => Ok(Kind::Normal),
        _ => Err("it is headline or normal".to_owned()),
    }
}

/// Longer texts are refused by the server.
const STDIN_BYTES_MAX: u64 = 1 << 20;

fn body(text: String) -> Result<String, Failure> {
    if text != "-" {
        return Ok(text);
    }
    let mut read = String::new();
    let mut stdin = std::io::stdin().lock().take(STDIN_BYTES_MAX);
    stdin
        .read_to_string(&mut read)
        .map_err(|error| Failure::failed(format!("cannot read standard input: {error}")))?;
    Ok(read.trim_end().to_owned())
}

impl Announce {
    pub(super) fn run(self, common: &Common, out: &mut Output) -> Result<(), Failure> {
        let send = |to, text: Text| -> Result<Send, Failure> {
            let Text { body: text, subject, host, kind } = text;
            Ok(Send { to, host, subject, body: body(text)?, kind })
        };
        match self {
            Announce::Online(text) => {
                let send = send(Audience::Online, text)?;
                let sent = Reach::server(common)?.call(&send)?;
                out.show(&sent, told)
            }
            Announce::All(text) => {
                let send = send(Audience::All, text)?;
                let mut reach = Reach::anyway(common)?;
                let sent = reach.call(&send)?;
                reach.close()?;
                out.show(&sent, |sent| match sent.goes_on {
                    true => format!("On its way to {} accounts.", sent.accounts),
                    false => format!("Sent to {} accounts.", sent.accounts),
                })
            }
            Announce::Status => {
                let way = Reach::server(common)?.call(&Status {})?;
                out.show(&way, |way| match way.goes_on {
                    true => format!("{} of {} accounts", way.sent, way.total),
                    false => "No announcement is on its way.".to_owned(),
                })
            }
            Announce::Motd(motd) => {
                let mut reach = Reach::anyway(common)?;
                let done = motd.run(&mut reach, out);
                reach.close()?;
                done
            }
        }
    }
}

fn told(sent: &Sent) -> String {
    format!("Sent to {} sessions.", sent.sessions)
}

impl Motd {
    fn run(self, reach: &mut Reach, out: &mut Output) -> Result<(), Failure> {
        match self {
            Motd::Set { body: text, subject, host, now } => {
                let set = SetMotd { host, subject, body: body(text)?, tell_online: now };
                let sent = reach.call(&set)?;
                out.show(&sent, |sent| match now {
                    true => format!("Set. {}", told(sent)),
                    false => "Set.".to_owned(),
                })
            }
            Motd::Show { host } => {
                let shown = reach.call(&ShowMotd { host })?;
                out.show(&shown, |shown| {
                    let texts = shown.messages.iter().map(|motd| {
                        format!("{}: {}\n{}", motd.host, clean(&motd.subject), clean(&motd.body))
                    });
                    let text = texts.collect::<Vec<_>>().join("\n\n");
                    if text.is_empty() { "There is none.".to_owned() } else { text }
                })
            }
            Motd::Delete { host } => {
                let done = reach.call(&DeleteMotd { host })?;
                out.show(&done, |done| match done.hosts.is_empty() {
                    true => "There was none.".to_owned(),
                    false => format!("Deleted on {}.", done.hosts.join(", ")),
                })
            }
        }
    }
}
