//! When an account was last here (XEP-0012).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{account, existing};
use crate::admin::Context;
use crate::admin::op::{Class, Example, Operation, Refusal};
use crate::admin::ops::when::moment;
use crate::store::accounts::LastSeen;
use crate::time::Now;

/// Bytes of a status text, as the server itself keeps them.
const STATUS_BYTES_MAX: usize = 1_024;

/// Tells when an account was last here.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Last {
    pub jid: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Activity {
    /// It has a session now.
    pub online: bool,
    /// When its last session ended; none if none ever did.
    pub at: Option<String>,
    /// The last words of its presence.
    pub status: String,
}

impl Operation for Last {
    const NAME: &'static str = "account.last";
    const SUMMARY: &'static str = "Tell when an account was last here, and its last words";
    const CLASS: Class = Class::Safe;
    const PRIVATE: bool = true;
    const EXAMPLE: Example = Example {
        arguments: r#"{"jid": "anna@example.org"}"#,
        output: r#"{"online": false, "at": "2026-11-23T18:40:00.123Z", "status": "Good night"}"#,
    };
    type Output = Activity;

    fn target(&self) -> String {
        self.jid.clone()
    }

    async fn run(self, cx: &Context) -> Result<Activity, Refusal> {
        let (jid, _) = account(cx, &self.jid)?;
        let row = existing(cx, &jid).await?;
        let (at, status) = match row.last_seen {
            Some(seen) => (Some(seen.at.to_xmpp()), seen.status),
            None => (None, String::new()),
        };
        Ok(Activity { online: !cx.sessions(&jid).is_empty(), at, status })
    }
}

/// Sets when an account was last here, as after a move from another server.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SetLast {
    pub jid: String,
    /// A time, a day, or an age such as `7d`.
    pub at: String,
    /// The last words of its presence.
    #[serde(default)]
    pub status: String,
}

impl Operation for SetLast {
    const NAME: &'static str = "account.set_last";
    const SUMMARY: &'static str = "Set when an account was last here";
    const CLASS: Class = Class::Destructive;
    const EXAMPLE: Example = Example {
        arguments: r#"{"jid": "anna@example.org", "at": "2026-11-20T08:00:00Z", "status": "away"}"#,
        output: r#"{"online": false, "at": "2026-11-20T08:00:00.000Z", "status": "away"}"#,
    };
    type Output = Activity;

    fn target(&self) -> String {
        self.jid.clone()
    }

    async fn run(self, cx: &Context) -> Result<Activity, Refusal> {
        let (jid, _) = account(cx, &self.jid)?;
        let row = existing(cx, &jid).await?;
        let at = moment("at", &self.at, Now::read())?;
        if at > Now::read() {
            return Err(Refusal::usage(format!("at: {at} is yet to come")));
        }
        if self.status.len() > STATUS_BYTES_MAX {
            let text = format!("status: longer than {STATUS_BYTES_MAX} bytes");
            return Err(Refusal::usage(text));
        }
        let seen = LastSeen { at, status: self.status.clone() };
        cx.store().accounts().set_last_seen(row.id, seen).await?;
        let online = !cx.sessions(&jid).is_empty();
        Ok(Activity { online, at: Some(at.to_xmpp()), status: self.status })
    }
}
