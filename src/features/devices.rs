//! XEP-0494: Client Access Management (0.1.0): who has access to an account, and ending it.
//!
//! A client that named itself when it signed in (XEP-0388) is a device and stays in the list until
//! it is revoked. One that did not is listed while it has a session.

use std::sync::Arc;

use crate::router::{Control, Session};
use crate::stanza::error::{Condition, StanzaError};
use crate::store::devices::{Device, TokenRows};
use crate::time::Now;
use crate::xml::element::Element;
use crate::xml::ns;
use crate::xml::stream_error::{StreamCondition, StreamError};

use super::{Ctx, Feature, Handled, Iq, Reply, Target, Who, get, on, set, xep};

pub const FEATURE: Feature = Feature {
    xeps: &[xep(494, "0.1.0")],
    disco: &[on(Target::Account, ns::CLIENT_ACCESS)],
    iq: &[
        get(Target::Account, Who::Owner, "list", ns::CLIENT_ACCESS, list),
        set(Target::Account, Who::Owner, "revoke", ns::CLIENT_ACCESS, revoke),
    ],
    ..Feature::NONE
};

/// Starts the id of a session that is no device's.
const SESSION_PREFIX: &str = "session-";

fn list<'a>(cx: &'a Ctx<'a>, _: Iq) -> Handled<'a> {
    Box::pin(async move {
        let own = cx.session()?;
        let devices = cx.router.store.devices().list(own.account).await?;
        let sessions = cx.router.sessions.of(own.jid.bare_str());
        let mut clients = Element::new("clients", ns::CLIENT_ACCESS);
        for device in &devices {
            let connected = sessions.iter().any(|s| is_of(s, device.id));
            clients.push(client_of_device(device, connected, cx.now));
        }
        // A device may have been forgotten for newer ones while it was connected.
        for session in sessions.iter().filter(|s| !devices.iter().any(|device| is_of(s, device.id)))
        {
            clients.push(client_of_session(session, cx.now));
        }
        Ok(Reply::Result(clients))
    })
}

fn is_of(session: &Session, device: i64) -> bool {
    session.facts.lock().device == Some(device)
}

fn client_of_device(device: &Device, connected: bool, now: Now) -> Element {
    let mut agent = element("user-agent");
    for (name, text) in [("software", &device.software), ("device", &device.name)] {
        if let Some(text) = text {
            agent.push(element(name).with_text(text));
        }
    }
    let last_seen = if connected { now } else { device.last_seen };
    let auth = [("password", device.password), ("fast", device.token)];
    let auth = auth.iter().filter(|(_, used)| *used).map(|(name, _)| *name);
    client(&device.id.to_string(), connected, device.first_seen, last_seen, auth).with(agent)
}

fn client_of_session(session: &Session, now: Now) -> Element {
    let since = Now::from_secs(session.facts.lock().since);
    client(&format!("{SESSION_PREFIX}{:x}", session.id), true, since, now, ["password"])
}

fn client<'n>(
    id: &str,
    connected: bool,
    first: Now,
    last: Now,
    auth: impl IntoIterator<Item = &'n str>,
) -> Element {
    element("client")
        .attr("connected", if connected { "true" } else { "false" })
        .attr("id", id)
        .attr("type", "session")
        .with(element("first-seen").with_text(&first.to_xmpp()))
        .with(element("last-seen").with_text(&last.to_xmpp()))
        .with(element("auth").with_all(auth.into_iter().map(element)))
        .with(element("permission").attr("status", "unrestricted"))
}

fn element(name: &str) -> Element {
    Element::new(name, ns::CLIENT_ACCESS)
}

/// Ends the client's tokens and sessions. If it has ever used the password it may do so again:
/// then the answer says that only a new password keeps it out (§3.2), and the device stays listed.
fn revoke<'a>(cx: &'a Ctx<'a>, iq: Iq) -> Handled<'a> {
    Box::pin(async move {
        let own = cx.session()?;
        let id = iq.payload.get("id").ok_or_else(|| {
            StanzaError::new(Condition::BadRequest).with_text("'id' names a client.")
        })?;
        let sessions = cx.router.sessions.of(own.jid.bare_str());
        if let Some(id) = id.strip_prefix(SESSION_PREFIX) {
            let named = |s: &&Arc<Session>| format!("{:x}", s.id) == id;
            let session = sessions.iter().find(named).ok_or(Condition::ItemNotFound)?;
            close(session);
            return Err(password_reset_required());
        }
        let id: i64 = id.parse().map_err(|_| Condition::ItemNotFound)?;
        let store = cx.router.store.devices();
        let device = store.list(own.account).await?.into_iter().find(|device| device.id == id);
        let device = device.ok_or(Condition::ItemNotFound)?;
        if device.password {
            store.edit_tokens(device.id, |tokens| *tokens = TokenRows::default()).await?;
        } else {
            store.revoke(own.account, device.id).await?;
        }
        sessions.iter().filter(|s| is_of(s, device.id)).for_each(close);
        if device.password { Err(password_reset_required()) } else { Ok(Reply::Empty) }
    })
}

fn close(session: &Arc<Session>) {
    let error = StreamError::with_text(
        StreamCondition::NotAuthorized,
        "The access of this client was revoked.",
    );
    session.mailbox.control(Control::Close(error));
}

fn password_reset_required() -> StanzaError {
    StanzaError::new(Condition::ServiceUnavailable).with_app(element("password-reset-required"))
}

#[cfg(test)]
mod tests;
