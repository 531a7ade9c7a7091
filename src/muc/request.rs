//! IQs to a room and through it (XEP-0045 §6.6, §17.4; XEP-0410).

use super::affiliation::Role;
use super::room::{Out, Room, Sender};
use crate::auth::hash::Hash;
use crate::jid::Jid;
use crate::stanza::error::{Condition, StanzaError};
use crate::stanza::{Stanza, Type};
use crate::xml::element::Element;
use crate::xml::ns;

/// Characters that tell, in the id of a request that was passed on, which client asked.
const MARK_CHARS: usize = 12;

impl Room {
    /// An IQ of type get or set to the room itself. Its answer is in `out`.
    ///
    /// # Errors
    /// What goes back to the sender; `service-unavailable` for what no room knows.
    pub fn request(
        &mut self,
        sender: Sender<'_>,
        iq: &Stanza,
        payload: &Element,
        out: &mut Out,
    ) -> Result<(), StanzaError> {
        let get = iq.head.typ == Some(Type::Get);
        let answer = match (get, payload.ns(), payload.name()) {
            (true, ns::DISCO_INFO, "query") => match payload.get("node") {
                None => self.info(),
                Some("x-roomuser-item") => self.reserved_item(sender),
                Some(_) => return Err(Condition::ItemNotFound.into()),
            },
            (true, ns::DISCO_ITEMS, "query") => match payload.get("node") {
                None => self.items(sender),
                Some(_) => return Err(Condition::ItemNotFound.into()),
            },
            (true, ns::PING, "ping") => {
                out.send(iq.result(None));
                return Ok(());
            }
            (true, ns::MUC_ADMIN, "query") => self.list(sender, payload)?,
            (false, ns::MUC_ADMIN, "query") => return self.administer(sender, payload, iq, out),
            (true, ns::MUC_OWNER, "query") => self.settings(sender)?,
            (false, ns::MUC_OWNER, "query") => return self.own(sender, payload, iq, out),
            (true, ns::REGISTER, "query") => self.registration(sender)?,
            (false, ns::REGISTER, "query") => return self.register(sender, payload, iq, out),
            _ => return Err(Condition::ServiceUnavailable.into()),
        };
        out.send(iq.result(Some(answer)));
        Ok(())
    }

    /// An IQ from one occupant to another: passed on under the sender's place in the room.
    ///
    /// # Errors
    /// What goes back to the sender.
    pub fn pass_on(
        &self,
        sender: Sender<'_>,
        to: &Jid,
        iq: &Stanza,
        out: &mut Out,
    ) -> Result<(), StanzaError> {
        if matches!(iq.head.typ, Some(Type::Result | Type::Error)) {
            self.pass_back(sender, to, iq, out);
            return Ok(());
        }
        // XEP-0410: not being in the room is what is asked about.
        let from = self.occupant(sender)?;
        let nick = to.resource().unwrap_or_default();
        if from.nick() == nick && iq.has("ping", ns::PING) {
            out.send(iq.result(None));
            return Ok(());
        }
        if !self.config.queries && from.role < Role::Moderator {
            return Err(StanzaError::new(Condition::NotAllowed)
                .with_text("Occupants of this room do not send requests to each other."));
        }
        let target = self.addressee(to)?;
        let Some(seat) = target.seats.last() else { return Err(Condition::ItemNotFound.into()) };
        let mut passed = iq.clone();
        passed.head.from = Some(from.jid.clone());
        passed.head.id = Some(marked(sender.jid, iq.head.id.as_deref().unwrap_or_default()));
        // What belongs to the account and not to one of its clients is asked of the account.
        let of_account = iq.has_ns(ns::VCARD) || iq.has_ns(ns::PUBSUB);
        passed.head.to = Some(match of_account {
            true => target.account.clone().into(),
            false => seat.jid.clone(),
        });
        out.send(passed);
        Ok(())
    }

    /// The answer to a request that was passed on, to the client that asked.
    fn pass_back(&self, sender: Sender<'_>, to: &Jid, iq: &Stanza, out: &mut Out) {
        let from = match sender.jid.is_bare() {
            true => self.occupants.of_account(sender.jid.as_str()).next(),
            false => self.occupants.of(sender.jid),
        };
        let asker = self.occupants.named(to.resource().unwrap_or_default());
        let (Some(from), Some(asker)) = (from, asker) else { return };
        let id = iq.head.id.as_deref().unwrap_or_default();
        let asked = asker.seats.iter().find_map(|seat| Some((seat, unmarked(&seat.jid, id)?)));
        let Some((seat, id)) = asked else { return };
        let mut passed = iq.clone();
        passed.head.from = Some(from.jid.clone());
        passed.head.to = Some(seat.jid.clone());
        passed.head.id = Some(id.into());
        out.send(passed);
    }
}

/// The id under which a request goes on: it tells who gets the answer.
fn marked(client: &Jid, id: &str) -> Box<str> {
    format!("{}-{id}", mark(client)).into()
}

/// The id that `client` gave its request, if it was its.
fn unmarked<'i>(client: &Jid, id: &'i str) -> Option<&'i str> {
    id.strip_prefix(mark(client).as_str())?.strip_prefix('-')
}

fn mark(client: &Jid) -> String {
    use base64::Engine;
    let digest = Hash::Sha256.digest(client.as_str().as_bytes());
    let mut mark = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(digest.expose());
    mark.truncate(MARK_CHARS);
    mark
}
