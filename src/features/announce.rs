//! What the server says to everybody: the message of the day, once for each account, and messages
//! that operators write to `HOST/announce/…`, as with ejabberd. What these do is told by a
//! [`Announcer`] from the room of operators, which also decides who may.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use parking_lot::RwLock;

use crate::jid::Jid;
use crate::router::{Router, Session};
use crate::stanza::error::{Condition, StanzaError};
use crate::stanza::{Stanza, Type};
use crate::store::StoreError;
use crate::xml::element::Element;
use crate::xml::ns;

/// A message from the server itself.
pub fn message(host: &str, to: &Jid, typ: Type, subject: &str, body: &str) -> Stanza {
    let text = |name: &str, text: &str| {
        (!text.is_empty()).then(|| Element::new(name, ns::CLIENT).with_text(text))
    };
    let children = text("subject", subject).into_iter().chain(text("body", body));
    Stanza::message(typ, Jid::parse(host).ok(), Some(to.clone()), children)
}

/// The message of the day for a session that has come online, if its account has not read it.
///
/// # Errors
/// Those of the store.
pub async fn motd(router: &Router, session: &Session) -> Result<Option<Stanza>, StoreError> {
    let host = session.jid.domain();
    let due = router.store.motd().take(session.account, host).await?;
    Ok(due.map(|motd| message(host, &session.jid, Type::Headline, &motd.subject, &motd.body)))
}

/// What a message to `HOST/announce/…` asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Order {
    pub act: Act,
    /// On all hosts instead of the one addressed.
    pub all_hosts: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// To every account, kept for those who are away.
    All,
    /// To those who are online.
    Online,
    /// The message of the day, told at once to those who are online.
    SetMotd,
    /// The same, told to everybody at the next sign-in.
    UpdateMotd,
    DeleteMotd,
}

impl Order {
    /// ejabberd's resources of a host.
    pub fn of(resource: &str) -> Option<Order> {
        let rest = resource.strip_prefix("announce/")?;
        let (all_hosts, act) = match rest.strip_prefix("all-hosts/") {
            Some(act) => (true, act),
            None => (false, rest),
        };
        let act = match act {
            "all" => Act::All,
            "online" => Act::Online,
            "motd" => Act::SetMotd,
            "motd/update" => Act::UpdateMotd,
            "motd/delete" => Act::DeleteMotd,
            _ => return None,
        };
        Some(Order { act, all_hosts })
    }
}

/// Does what such a message asks for, if its sender may.
pub trait Announcer: Send + Sync + 'static {
    fn announce(
        self: Arc<Self>,
        from: Arc<Session>,
        host: String,
        order: Order,
        subject: String,
        body: String,
    ) -> Announcing;
}

pub type Announcing = Pin<Box<dyn Future<Output = Result<(), StanzaError>> + Send>>;

#[derive(Default)]
struct Installed(RwLock<Option<Arc<dyn Announcer>>>);

/// Sets who does it.
pub fn install(router: &Router, announcer: Arc<dyn Announcer>) {
    *router.places.get::<Installed>().0.write() = Some(announcer);
}

/// Takes a message to an address of a host itself, if it is to `announce/…`; `None` if not. Whom
/// the announcer refuses learns no more than that nobody is there.
pub async fn ordered(
    router: &Router,
    session: &Arc<Session>,
    to: &Jid,
    stanza: &Stanza,
) -> Option<Result<(), StanzaError>> {
    if stanza.head.typ == Some(Type::Error) {
        return None;
    }
    let order = Order::of(to.resource()?)?;
    let announcer = router.places.get::<Installed>().0.read().clone()?;
    let text = |name| stanza.child(name, ns::CLIENT).map(|child| child.text()).unwrap_or_default();
    let (subject, body) = (text("subject"), text("body"));
    if order.act != Act::DeleteMotd && subject.is_empty() && body.is_empty() {
        // Chat states and receipts are no announcements.
        return Some(Err(Condition::ServiceUnavailable.into()));
    }
    let host = to.domain().to_owned();
    Some(announcer.announce(Arc::clone(session), host, order, subject, body).await)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::World;

    #[test]
    fn resources_are_ejabberds() {
        let order = |act, all_hosts| Some(Order { act, all_hosts });
        for (resource, expected) in [
            ("announce/all", order(Act::All, false)),
            ("announce/all-hosts/all", order(Act::All, true)),
            ("announce/online", order(Act::Online, false)),
            ("announce/all-hosts/online", order(Act::Online, true)),
            ("announce/motd", order(Act::SetMotd, false)),
            ("announce/motd/update", order(Act::UpdateMotd, false)),
            ("announce/all-hosts/motd/delete", order(Act::DeleteMotd, true)),
            ("announce", None),
            ("announce/", None),
            ("announce/everybody", None),
            ("all", None),
        ] {
            assert_eq!(Order::of(resource), expected, "{resource}");
        }
    }

    #[tokio::test]
    async fn the_message_of_the_day_is_read_at_the_next_sign_in_and_once() {
        let world = World::new();
        world.account("alice@localhost").await;
        let motd = world.router.store.motd();
        motd.set("localhost", "News", "Bread & roses", Vec::new(), world.now()).await.unwrap();
        let phone = world.session("alice@localhost/phone").await;
        phone.send("<presence><priority>-1</priority></presence>").await;
        assert!(!phone.sent().iter().any(|stanza| stanza.contains("Bread")));
        phone.send("<presence/>").await;
        let sent = phone.sent();
        let expected = "<message from='localhost' to='alice@localhost/phone' type='headline'>\
                        <subject>News</subject><body>Bread &amp; roses</body></message>";
        assert!(sent.iter().any(|stanza| stanza == expected), "{sent:?}");
        let tablet = world.session("alice@localhost/tablet").await;
        tablet.send("<presence/>").await;
        assert!(!tablet.sent().iter().any(|stanza| stanza.contains("Bread")));
    }

    #[tokio::test]
    async fn without_an_announcer_nobody_is_there() {
        let world = World::new();
        let alice = world.session("alice@localhost/a").await;
        let answer = alice
            .ask("<message to='localhost/announce/all' id='m'><body>Hi</body></message>")
            .await;
        assert!(answer.contains("<service-unavailable"), "{answer}");
    }
}
