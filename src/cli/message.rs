//! `coucou message …`

use clap::Subcommand;

use super::Common;
use super::failure::Failure;
use super::output::{Output, clean};
use super::reach::Reach;
use crate::admin::ops::message::Send;
use crate::admin::ops::words::Words;

#[derive(Debug, Subcommand)]
pub(super) enum Message {
    /// Send a message in the name of an address of ours
    #[command(after_help = "Example:\n  coucou message send --from example.org anna@example.org \
                            'Back in five minutes'")]
    Send {
        /// Who it is for
        to: String,
        /// What it says
        body: String,
        /// Any address on one of our domains, or such a domain itself
        #[arg(long, value_name = "JID")]
        from: String,
        /// What it is about
        #[arg(long, value_name = "TEXT", default_value = "")]
        subject: String,
        /// normal, chat, headline or groupchat
        #[arg(long = "type", value_name = "TYPE", default_value = "normal")]
        typ: String,
    },
}

impl Message {
    pub(super) fn run(self, common: &Common, out: &mut Output) -> Result<(), Failure> {
        let Message::Send { to, body, from, subject, typ } = self;
        let send = Send { from, to, typ, subject: Words(subject), body: Words(body) };
        let sent = Reach::server(common)?.call(&send)?;
        out.show(&sent, |sent| format!("sent from {} to {}", clean(&sent.from), clean(&sent.to)))
    }
}
