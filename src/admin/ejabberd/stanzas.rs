//! Tag *stanza*: messages and stanzas in the name of our addresses.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Command, Rescode, jid, rescode};
use crate::admin::Context;
use crate::admin::op::{Entry, Example, Operation, Refusal};
use crate::admin::ops::message;
use crate::admin::ops::words::Words;

pub(super) const COMMANDS: &[Entry] = &[
    Entry::command::<SendMessage>(),
    Entry::command::<SendStanza>(),
    Entry::command::<SendStanzaC2s>(),
];

command! {
    SendMessage = "send_message" {
        r#type: String, from: String, to: String, subject: Words, body: Words,
    } -> Rescode;
    message::Send;
    r#"{"type": "headline", "from": "admin@example.org", "to": "anna@example.org",
        "subject": "Restart", "body": "In 5 minutes"}"# => "0";
    |it| message::Send {
        from: it.from, to: it.to, typ: it.r#type, subject: it.subject, body: it.body,
    };
    |outcome| rescode(outcome)
}

command! {
    SendStanza = "send_stanza" { from: String, to: String, stanza: Words } -> Rescode;
    message::SendStanza;
    r#"{"from": "admin@example.org", "to": "anna@example.org",
        "stanza": "<message><ext attr='value'/></message>"}"# => "0";
    |it| message::SendStanza { from: it.from, to: it.to, stanza: it.stanza };
    |outcome| rescode(outcome)
}

command! {
    SendStanzaC2s = "send_stanza_c2s" {
        user: String, host: String, resource: String, stanza: Words,
    } -> Rescode;
    message::SendAs;
    r#"{"user": "bot", "host": "example.org", "resource": "1",
        "stanza": "<message to='anna@example.org'><ext attr='value'/></message>"}"# => "0";
    |it| message::SendAs {
        jid: format!("{}/{}", jid(&it.user, &it.host), it.resource), stanza: it.stanza,
    };
    |outcome| rescode(outcome)
}
