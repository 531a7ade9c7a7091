//! `coucou invite …`

use std::io::IsTerminal;

use clap::Subcommand;

use super::Common;
use super::failure::Failure;
use super::output::{Output, clean, table};
use super::qr;
use super::reach::Reach;
use crate::admin::ops::invite::{Create, Invite as Row, Kind, List, Made, Revoke, Show};

#[derive(Debug, Subcommand)]
pub(super) enum Invite {
    /// Make an invitation and print its link
    Create(Box<New>),
    /// List invitations, the newest first
    List {
        /// Only for this host
        #[arg(default_value = "")]
        host: String,
        /// Only by this account
        #[arg(long, value_name = "JID")]
        inviter: Option<String>,
        /// Used, expired and revoked ones too
        #[arg(long)]
        all: bool,
    },
    /// Show an invitation and who came in by it
    Show {
        /// Its number in the list
        id: i64,
    },
    /// Take invitations back
    Revoke {
        /// The number in the list
        #[arg(required_unless_present = "inviter")]
        id: Option<i64>,
        /// All open ones of this account
        #[arg(long, value_name = "JID", conflicts_with = "id")]
        inviter: Option<String>,
    },
}

#[derive(Debug, clap::Args)]
pub(super) struct New {
    /// The host; needed if there are several
    #[arg(default_value = "")]
    host: String,
    /// The name of the account, kept for it
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Who invites: both become each other's contacts
    #[arg(long, value_name = "JID")]
    inviter: Option<String>,
    /// To become the inviter's contact, not necessarily with an account here
    #[arg(long, requires = "inviter", conflicts_with_all = ["name", "reset"])]
    contact: bool,
    /// With --contact: an account may be made here too
    #[arg(long, requires = "contact")]
    register: bool,
    /// To choose a new password for this account
    #[arg(long, value_name = "JID", conflicts_with_all = ["name", "inviter", "host"])]
    reset: Option<String>,
    /// A group of both contact lists; may come several times
    #[arg(long = "group", value_name = "TEXT")]
    groups: Vec<String>,
    /// For your own memory
    #[arg(long, value_name = "TEXT", default_value = "")]
    note: String,
    /// How long it lasts, such as 12h or 7d [default: the host's `lifetime`]
    #[arg(long, value_name = "TIME")]
    expires: Option<String>,
    /// How many may come in by it
    #[arg(long, value_name = "COUNT", default_value_t = 1)]
    uses: u32,
    /// Show the link as a QR code: on a terminal, or always, or never
    #[arg(long, value_name = "WHEN", default_value = "auto")]
    qr: qr::When,
}

impl New {
    fn operation(self) -> Create {
        let (kind, host, name) = match self.reset.as_deref().map(|jid| jid.rsplit_once('@')) {
            Some(Some((name, host))) => (Kind::Reset, host.to_owned(), Some(name.to_owned())),
            Some(None) => (Kind::Reset, self.host, self.reset),
            None if self.contact => (Kind::Contact, self.host, None),
            None => (Kind::Account, self.host, self.name),
        };
        Create {
            kind,
            host,
            name,
            subscribe: self.inviter.is_some(),
            inviter: self.inviter,
            register: self.register,
            groups: self.groups,
            note: self.note,
            lifetime: self.expires,
            uses: self.uses,
        }
    }
}

impl Invite {
    pub(super) fn run(self, common: &Common, out: &mut Output) -> Result<(), Failure> {
        let mut reach = Reach::anyway(common)?;
        let done = match self {
            Invite::Create(new) => {
                let style = new.qr.style(std::io::stdout().is_terminal());
                let made = reach.call(&new.operation())?;
                out.show(&made, |made| link(made, style))
            }
            Invite::List { host, inviter, all } => {
                let list = List { host, inviter, open: !all, ..List::default() };
                let invites = reach.call(&list)?;
                out.show(&invites, |page| match page.invites.is_empty() {
                    true => "No invitations.".to_owned(),
                    false => {
                        let headings =
                            ["ID", "KIND", "FOR", "BY", "STATE", "USES", "EXPIRES", "NOTE"];
                        let mut text = table(headings, page.invites.iter().map(row));
                        if page.next.is_some() {
                            text.push_str("\n… and more");
                        }
                        text
                    }
                })
            }
            Invite::Show { id } => {
                let shown = reach.call(&Show { id })?;
                out.show(&shown, |shown| {
                    let headings = ["ID", "KIND", "FOR", "BY", "STATE", "USES", "EXPIRES", "NOTE"];
                    let mut text = table(headings, [row(&shown.invite)]);
                    for used in &shown.used {
                        let line = format!("\n{}  {}", minute(&used.at), clean(&used.jid));
                        text.push_str(&line);
                    }
                    text
                })
            }
            Invite::Revoke { id, inviter } => {
                let done = reach.call(&Revoke { id, inviter, token: None })?;
                out.show(&done, |done| match done.count {
                    0 => "Nothing to revoke.".to_owned(),
                    1 => "Revoked.".to_owned(),
                    count => format!("{count} invitations revoked."),
                })
            }
        };
        reach.close()?;
        done
    }
}

fn link(made: &Made, style: Option<qr::Style>) -> String {
    let shown = made.page.as_ref().unwrap_or(&made.uri);
    let code = style.and_then(|style| qr::draw(shown, style));
    let mut text = code.map(|code| format!("{code}\n")).unwrap_or_default();
    text.push_str(&made.uri);
    if let Some(page) = &made.page {
        text.push('\n');
        text.push_str(page);
    }
    let (id, until) = (made.id, minute(&made.expires));
    text.push_str(&format!(
        "\n\nNumber {id}, valid until {until} UTC. The link is shown this once."
    ));
    text
}

fn minute(time: &str) -> String {
    time.get(..16).unwrap_or(time).replace('T', " ")
}

fn row(invite: &Row) -> [String; 8] {
    let kind = match invite.kind {
        Kind::Account => "account",
        Kind::Contact => "contact",
        Kind::Reset => "reset",
    };
    let address = match &invite.name {
        Some(name) => format!("{name}@{}", invite.host),
        None => invite.host.clone(),
    };
    [
        invite.id.to_string(),
        kind.to_owned(),
        address,
        invite.inviter.clone().unwrap_or_else(|| "-".to_owned()),
        invite.state.clone(),
        format!("{}/{}", invite.uses, invite.uses_max),
        minute(&invite.expires),
        invite.note.clone(),
    ]
}
