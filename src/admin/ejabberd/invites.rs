//! Commands of ejabberd's `mod_invites`. It shows tokens again in its lists; here only their hashes
//! are kept, so an invitation goes by its number there.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Command, Rescode, jid};
use crate::admin::Context;
use crate::admin::op::{Entry, Example, Refusal};
use crate::admin::ops::invite::{self, Count, Invites, Kind, Made};
use crate::config::value::Secret;

pub(super) const COMMANDS: &[Entry] = &[
    Entry::command::<GenerateInvite>(),
    Entry::command::<GenerateInviteWithUsername>(),
    Entry::command::<GenerateResetToken>(),
    Entry::command::<ListInvites>(),
    Entry::command::<ExpireInviteTokens>(),
    Entry::command::<ExpireInviteByToken>(),
    Entry::command::<CleanupExpiredInviteTokens>(),
    Entry::command::<DeleteExpiredInviteTokens>(),
];

/// A link and the page that explains it.
#[derive(Serialize, Deserialize, JsonSchema)]
pub struct Link {
    invite_uri: String,
    /// Empty where there is none.
    landing_page: String,
}

impl From<Made> for Link {
    fn from(made: Made) -> Link {
        Link { invite_uri: made.uri, landing_page: made.page.unwrap_or_default() }
    }
}

const LINK: &str = r#"{"invite_uri": "xmpp:example.org?register;preauth=c3qk7wzmh2d5fye6s4tgnpjrab", "landing_page": ""}"#;

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GenerateInvite {
    host: String,
}

impl Command for GenerateInvite {
    const NAME: &'static str = "generate_invite";
    const EXAMPLE: Example = Example { arguments: r#"{"host": "example.org"}"#, output: LINK };
    type Op = invite::Create;
    type Result = Link;

    fn operation(self, _: &Context) -> Result<invite::Create, Refusal> {
        Ok(invite::Create { host: self.host, ..invite::Create::default() })
    }

    fn result(outcome: Result<Made, Refusal>) -> Result<Link, Refusal> {
        outcome.map(Link::from)
    }
}

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GenerateInviteWithUsername {
    username: String,
    host: String,
}

impl Command for GenerateInviteWithUsername {
    const NAME: &'static str = "generate_invite_with_username";
    const EXAMPLE: Example =
        Example { arguments: r#"{"username": "juliet", "host": "example.org"}"#, output: LINK };
    type Op = invite::Create;
    type Result = Link;

    fn operation(self, _: &Context) -> Result<invite::Create, Refusal> {
        let name = Some(self.username);
        Ok(invite::Create { host: self.host, name, ..invite::Create::default() })
    }

    fn result(outcome: Result<Made, Refusal>) -> Result<Link, Refusal> {
        outcome.map(Link::from)
    }
}

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GenerateResetToken {
    username: String,
    host: String,
}

impl Command for GenerateResetToken {
    const NAME: &'static str = "generate_reset_token";
    const EXAMPLE: Example =
        Example { arguments: r#"{"username": "juliet", "host": "example.org"}"#, output: LINK };
    type Op = invite::Create;
    type Result = Link;

    fn operation(self, _: &Context) -> Result<invite::Create, Refusal> {
        let (kind, name) = (Kind::Reset, Some(self.username));
        Ok(invite::Create { kind, host: self.host, name, ..invite::Create::default() })
    }

    fn result(outcome: Result<Made, Refusal>) -> Result<Link, Refusal> {
        outcome.map(Link::from)
    }
}

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ListInvites {
    host: String,
}

#[derive(Serialize, Deserialize, JsonSchema)]
pub struct Listed {
    /// The number of the invitation, in place of its token, which is not kept.
    token: String,
    valid: bool,
    created_at: String,
    expires: String,
    /// `account_only`, `account_subscription`, `roster_only`, or `reset`.
    #[serde(rename = "type")]
    kind: String,
    inviter: String,
    invitee: String,
    account_name: String,
    token_uri: String,
    landing_page: String,
}

impl Command for ListInvites {
    const NAME: &'static str = "list_invites";
    const EXAMPLE: Example = Example {
        arguments: r#"{"host": "example.org"}"#,
        output: r#"[{"token": "7", "valid": true, "created_at": "2026-11-23T20:00:00.000Z", "expires": "2026-11-26T20:00:00.000Z", "type": "account_only", "inviter": "example.org", "invitee": "", "account_name": "juliet", "token_uri": "", "landing_page": ""}]"#,
    };
    type Op = invite::List;
    type Result = Vec<Listed>;

    fn operation(self, _: &Context) -> Result<invite::List, Refusal> {
        Ok(invite::List { host: self.host, ..invite::List::default() })
    }

    fn result(outcome: Result<Invites, Refusal>) -> Result<Vec<Listed>, Refusal> {
        let listed = outcome?.invites.into_iter().map(|invite| Listed {
            token: invite.id.to_string(),
            valid: invite.state == "open",
            created_at: invite.created,
            expires: invite.expires,
            kind: match invite.kind {
                Kind::Account if invite.subscribe => "account_subscription",
                Kind::Account => "account_only",
                Kind::Contact => "roster_only",
                Kind::Reset => "reset",
            }
            .to_owned(),
            inviter: invite.inviter.unwrap_or(invite.host),
            invitee: String::new(),
            account_name: invite.name.unwrap_or_default(),
            token_uri: String::new(),
            landing_page: String::new(),
        });
        Ok(listed.collect())
    }
}

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ExpireInviteTokens {
    username: String,
    host: String,
}

impl Command for ExpireInviteTokens {
    const NAME: &'static str = "expire_invite_tokens";
    const RESULT_NAME: Option<&'static str> = Some("num_deleted");
    const EXAMPLE: Example =
        Example { arguments: r#"{"username": "juliet", "host": "example.org"}"#, output: "2" };
    type Op = invite::Revoke;
    type Result = usize;

    fn operation(self, _: &Context) -> Result<invite::Revoke, Refusal> {
        let inviter = Some(jid(&self.username, &self.host));
        Ok(invite::Revoke { inviter, ..invite::Revoke::default() })
    }

    fn result(outcome: Result<Count, Refusal>) -> Result<usize, Refusal> {
        Ok(outcome?.count)
    }
}

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ExpireInviteByToken {
    host: String,
    /// The token, or the number that `list_invites` shows.
    token: Secret,
}

impl Command for ExpireInviteByToken {
    const NAME: &'static str = "expire_invite_by_token";
    const EXAMPLE: Example =
        Example { arguments: r#"{"host": "example.org", "token": "7"}"#, output: "0" };
    type Op = invite::Revoke;
    type Result = Rescode;

    fn operation(self, _: &Context) -> Result<invite::Revoke, Refusal> {
        let none = invite::Revoke::default();
        Ok(match self.token.reveal().parse::<i64>() {
            Ok(id) => invite::Revoke { id: Some(id), ..none },
            Err(_) => invite::Revoke { token: Some(self.token), ..none },
        })
    }

    fn result(outcome: Result<Count, Refusal>) -> Result<Rescode, Refusal> {
        Ok(Rescode::of(outcome.is_ok_and(|done| done.count == 1)))
    }
}

/// Both names that it has had.
macro_rules! sweep {
    ($command:ident, $name:literal) => {
        #[derive(Serialize, Deserialize, JsonSchema)]
        #[serde(deny_unknown_fields)]
        pub struct $command {}

        impl Command for $command {
            const NAME: &'static str = $name;
            const RESULT_NAME: Option<&'static str> = Some("num_deleted");
            const EXAMPLE: Example = Example { arguments: "{}", output: "3" };
            type Op = invite::Sweep;
            type Result = usize;

            fn operation(self, _: &Context) -> Result<invite::Sweep, Refusal> {
                Ok(invite::Sweep {})
            }

            fn result(outcome: Result<Count, Refusal>) -> Result<usize, Refusal> {
                Ok(outcome?.count)
            }
        }
    };
}

sweep!(CleanupExpiredInviteTokens, "cleanup_expired_invite_tokens");
sweep!(DeleteExpiredInviteTokens, "delete_expired_invite_tokens");
