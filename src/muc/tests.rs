//! A room as a conversation: who says what, and what each client gets.

use super::affiliation::{Affiliation, Role};
use super::room::{Change, Out, Room, Sender};
use crate::config::room::RoomConfig;
use crate::jid::{BareJid, Jid};
use crate::stanza::Stanza;
use crate::store::MessageId;
use crate::testing::wire;
use crate::time::Now;

mod acts;
mod entering;
mod talking;

const COVEN: &str = "coven@chat.shakespeare.lit";
const CRONE: &str = "crone1@shakespeare.lit/desktop";
const WITCH: &str = "wiccarocks@shakespeare.lit/laptop";
const HAG: &str = "hag66@shakespeare.lit/pda";

/// A room and what it said last.
struct Stage {
    room: Room,
    out: Out,
    now: Now,
    ids: i64,
}

impl Stage {
    /// An empty room that crone1 owns.
    fn new(config: RoomConfig) -> Stage {
        let jid = BareJid::parse(COVEN).unwrap();
        let now = Now::parse_xmpp("2002-10-13T23:58:00Z").unwrap();
        let mut room = Room::new(jid, config, [7; 16], now);
        let mut out = Out::default();
        room.found(&Jid::parse(CRONE).unwrap(), false, &mut out);
        Stage { room, out: Out::default(), now, ids: 0 }
    }

    /// The coven of the specification: firstwitch owns it, secondwitch is an admin, thirdwitch a
    /// member; all are there.
    fn coven(config: RoomConfig) -> Stage {
        let mut stage = Stage::new(config);
        stage.tie(WITCH, Affiliation::Admin);
        stage.tie(HAG, Affiliation::Member);
        stage.join(CRONE, "firstwitch");
        stage.join(WITCH, "secondwitch");
        stage.join(HAG, "thirdwitch");
        stage
    }

    fn tie(&mut self, jid: &str, affiliation: Affiliation) {
        let account = Jid::parse(jid).unwrap().bare();
        let mut out = Out::default();
        self.room.tie(&account, affiliation, super::admin::Nick::Keep, "", &mut out);
    }

    /// Sends a stanza from `from`; gives what went out, a line each.
    fn send(&mut self, from: &str, xml: &str) -> Vec<String> {
        let jid = Jid::parse(from).unwrap();
        let sender = Sender { jid: &jid, is_service_admin: false };
        self.out = Out::default();
        let mut stanza = Stanza::parse(xml.as_bytes()).unwrap();
        stanza.head.from = Some(jid.clone());
        let now = self.now;
        let mut out = Out::default();
        self.ids += 1;
        let id = MessageId(self.ids);
        let result = match stanza.head.kind {
            crate::stanza::Kind::Presence => {
                self.room.presence(sender, &stanza, false, now, &mut out)
            }
            crate::stanza::Kind::Message => {
                let to = stanza.head.to.clone().unwrap();
                match (to.resource(), stanza.head.typ) {
                    (Some(_), _) => self.room.whisper(sender, &to, &stanza, &mut out),
                    (None, _) => self.room.heard(sender, &stanza, id, now, &mut out),
                }
            }
            crate::stanza::Kind::Iq => {
                let to = stanza.head.to.clone().unwrap();
                let payload = stanza.children().next().and_then(|child| child.element().ok());
                match (to.resource(), payload) {
                    (None, Some(payload)) => self.room.request(sender, &stanza, &payload, &mut out),
                    _ => self.room.pass_on(sender, &to, &stanza, &mut out),
                }
            }
        };
        if let Err(error) = result
            && let Some(reply) = stanza.error_reply(&error)
        {
            out.send(reply);
        }
        self.out = out;
        self.out.stanzas.iter().map(wire).collect()
    }

    fn join(&mut self, from: &str, nick: &str) -> Vec<String> {
        self.send(
            from,
            &format!(
                "<presence to='{COVEN}/{nick}'><x xmlns='http://jabber.org/protocol/muc'/></presence>"
            ),
        )
    }

    fn say(&mut self, from: &str, body: &str) -> Vec<String> {
        self.send(
            from,
            &format!("<message to='{COVEN}' type='groupchat' id='m'><body>{body}</body></message>"),
        )
    }

    fn admin(&mut self, from: &str, item: &str) -> Vec<String> {
        self.send(
            from,
            &format!(
                "<iq to='{COVEN}' type='set' id='a'>\
                 <query xmlns='http://jabber.org/protocol/muc#admin'>{item}</query></iq>"
            ),
        )
    }

    fn role(&self, nick: &str) -> Option<Role> {
        self.room.occupants.named(nick).map(|occupant| occupant.role)
    }
}

/// The stanzas of `sent` that went to `client`.
fn to<'s>(sent: &'s [String], client: &str) -> Vec<&'s str> {
    let attribute = format!(" to='{client}'");
    sent.iter().map(String::as_str).filter(|xml| xml.contains(&attribute)).collect()
}

/// The error condition in the only stanza that was sent.
#[track_caller]
fn refused(sent: &[String], condition: &str) {
    assert_eq!(sent.len(), 1, "{sent:#?}");
    assert!(sent[0].contains("type='error'"), "{sent:#?}");
    assert!(sent[0].contains(&format!("<{condition} ")), "{sent:#?}");
}

#[track_caller]
fn has(xml: &str, parts: &[&str]) {
    for part in parts {
        assert!(xml.contains(part), "{part} is not in {xml}");
    }
}
