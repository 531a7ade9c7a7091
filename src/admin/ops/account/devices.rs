//! The clients that have access to an account (XEP-0494), and ending it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{account, existing};
use crate::admin::op::{Class, Example, Operation, Refusal};
use crate::admin::{Context, end_session};
use crate::store::devices::TokenRows;
use crate::xml::stream_error::StreamCondition;

/// Lists the devices of an account.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Devices {
    pub jid: String,
}

/// A client that has signed in and named itself (XEP-0388).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Device {
    /// Names it in `account.sign_out`.
    pub id: i64,
    pub software: Option<String>,
    /// As its owner called it.
    pub name: Option<String>,
    pub first_seen: String,
    pub last_seen: String,
    pub connected: bool,
    /// It has used the password, and may do so again.
    pub knows_password: bool,
    /// It holds a token to come back with.
    pub has_token: bool,
}

impl Operation for Devices {
    const NAME: &'static str = "account.devices";
    const SUMMARY: &'static str = "List the devices that have access to an account";
    const CLASS: Class = Class::Safe;
    const EXAMPLE: Example = Example {
        arguments: r#"{"jid": "anna@example.org"}"#,
        output: r#"[{"id": 7, "software": "Conversations", "name": "Pixel 8",
            "first_seen": "2026-01-02T10:00:00.000Z", "last_seen": "2026-11-23T18:40:00.123Z",
            "connected": true, "knows_password": true, "has_token": true}]"#,
    };
    type Output = Vec<Device>;

    fn target(&self) -> String {
        self.jid.clone()
    }

    async fn run(self, cx: &Context) -> Result<Vec<Device>, Refusal> {
        let (jid, _) = account(cx, &self.jid)?;
        let row = existing(cx, &jid).await?;
        let sessions = cx.sessions(&jid);
        let connected = |id| sessions.iter().any(|s| s.facts.lock().device == Some(id));
        let devices = cx.store().devices().list(row.id).await?;
        let show = devices.into_iter().map(|device| Device {
            connected: connected(device.id),
            id: device.id,
            software: device.software,
            name: device.name,
            first_seen: device.first_seen.to_xmpp(),
            last_seen: device.last_seen.to_xmpp(),
            knows_password: device.password,
            has_token: device.token,
        });
        Ok(show.collect())
    }
}

/// Signs out one device of an account, or all of them.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SignOut {
    pub jid: String,
    /// The id of one device; all if it is left out.
    #[serde(default)]
    pub device: Option<i64>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SignedOut {
    pub devices: usize,
    pub sessions_ended: usize,
    /// Some of them know the password and can come back with it, until it is changed.
    pub password_known: bool,
}

impl Operation for SignOut {
    const NAME: &'static str = "account.sign_out";
    const SUMMARY: &'static str = "End the access of one device of an account, or of all";
    const CLASS: Class = Class::Destructive;
    const EXAMPLE: Example = Example {
        arguments: r#"{"jid": "anna@example.org", "device": 7}"#,
        output: r#"{"devices": 1, "sessions_ended": 1, "password_known": true}"#,
    };
    type Output = SignedOut;

    fn target(&self) -> String {
        self.jid.clone()
    }

    async fn run(self, cx: &Context) -> Result<SignedOut, Refusal> {
        let (jid, _) = account(cx, &self.jid)?;
        let row = existing(cx, &jid).await?;
        let store = cx.store().devices();
        let mut devices = store.list(row.id).await?;
        if let Some(wanted) = self.device {
            devices.retain(|device| device.id == wanted);
            if devices.is_empty() {
                return Err(Refusal::not_found(format!("{jid} has no device {wanted}"))
                    .help(format!("`coucou account devices {jid}` lists them")));
            }
        }
        // Tokens first, so that no client comes back by one.
        for device in &devices {
            if device.password {
                match store.edit_tokens(device.id, |rows| *rows = TokenRows::default()).await {
                    Err(crate::store::StoreError::NotFound) => {}
                    other => other?,
                }
            } else {
                store.revoke(row.id, device.id).await?;
            }
        }
        let mut sessions = cx.sessions(&jid);
        if let Some(wanted) = self.device {
            sessions.retain(|session| session.facts.lock().device == Some(wanted));
        }
        for session in &sessions {
            let text = "The access of this client was revoked";
            end_session(session, StreamCondition::NotAuthorized, text);
        }
        Ok(SignedOut {
            devices: devices.len(),
            sessions_ended: sessions.len(),
            password_known: devices.iter().any(|device| device.password),
        })
    }
}
