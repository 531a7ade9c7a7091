//! XEP-0045 §7.4, §7.5, §7.8, §7.13, §8.1; XEP-0410, XEP-0421, XEP-0424, XEP-0425, XEP-0500.

use super::*;
use std::time::Duration;

#[test]
fn what_is_said_goes_to_everybody_under_the_same_id() {
    let mut stage = Stage::coven(RoomConfig::default());
    let sent = stage.say(HAG, "Harpier cries");
    assert_eq!(sent.len(), 3);
    for client in [CRONE, WITCH, HAG] {
        has(
            to(&sent, client)[0],
            &[
                "from='coven@chat.shakespeare.lit/thirdwitch'",
                "type='groupchat'",
                "id='m'",
                "<body>Harpier cries</body>",
                "<occupant-id xmlns='urn:xmpp:occupant-id:0'",
                "<stanza-id xmlns='urn:xmpp:sid:0' by='coven@chat.shakespeare.lit'",
            ],
        );
    }
    let kept = stage.out.changes.iter().find_map(|change| match change {
        Change::Message(stanza, _) => Some(wire(stanza)),
        _ => None,
    });
    has(&kept.unwrap(), &["jid='hag66@shakespeare.lit/pda'", "to='coven@chat.shakespeare.lit'"]);
}

#[test]
fn nobody_speaks_in_the_rooms_name() {
    let mut stage = Stage::coven(RoomConfig::default());
    let sent = stage.send(
        HAG,
        &format!(
            "<message to='{COVEN}' type='groupchat'><body>x</body>\
             <stanza-id xmlns='urn:xmpp:sid:0' by='{COVEN}' id='forged'/>\
             <delay xmlns='urn:xmpp:delay' from='{COVEN}' stamp='1999-01-01T00:00:00Z'/>\
             <x xmlns='http://jabber.org/protocol/muc#user'><status code='104'/></x>\
             <occupant-id xmlns='urn:xmpp:occupant-id:0' id='forged'/></message>"
        ),
    );
    for forged in ["forged", "1999", "104"] {
        assert!(!sent[0].contains(forged), "{}", sent[0]);
    }
}

#[test]
fn only_occupants_with_a_voice_are_heard() {
    let config = RoomConfig { moderated: true, voice_by_default: false, ..RoomConfig::default() };
    let mut stage = Stage::coven(config);
    refused(&stage.say("tybalt@capulet.lit/x", "hello"), "not-acceptable");
    stage.join("hecate@shakespeare.lit/broom", "hecate");
    refused(&stage.say("hecate@shakespeare.lit/broom", "hello"), "forbidden");
    assert!(stage.out.changes.is_empty());
}

#[test]
fn chat_states_are_passed_on_and_kept_nowhere() {
    let mut stage = Stage::coven(RoomConfig::default());
    let sent = stage.send(
        HAG,
        &format!(
            "<message to='{COVEN}' type='groupchat'>\
             <composing xmlns='http://jabber.org/protocol/chatstates'/></message>"
        ),
    );
    assert_eq!(sent.len(), 3);
    assert!(!sent[0].contains("stanza-id"));
    assert!(stage.out.changes.is_empty());
}

#[test]
fn slow_mode_slows_participants_down_and_nobody_else() {
    let mut stage = Stage::coven(RoomConfig { slow_mode_secs: 20, ..RoomConfig::default() });
    assert_eq!(stage.say(HAG, "one").len(), 3);
    let sent = stage.say(HAG, "two");
    refused(&sent, "policy-violation");
    has(&sent[0], &["type='wait'", "21 s"]);
    stage.now = stage.now.plus(Duration::from_secs(20));
    assert_eq!(stage.say(HAG, "three").len(), 3);
    stage.say(CRONE, "four");
    assert_eq!(stage.say(CRONE, "five").len(), 3);
}

#[test]
fn subjects_are_the_moderators_unless_the_room_says_otherwise() {
    let mut stage = Stage::coven(RoomConfig::default());
    let change = |text: &str| {
        format!("<message to='{COVEN}' type='groupchat'><subject>{text}</subject></message>")
    };
    refused(&stage.send(HAG, &change("Fire Burn")), "forbidden");
    let sent = stage.send(WITCH, &change("Fire Burn and Cauldron Bubble!"));
    assert_eq!(sent.len(), 3);
    has(&sent[0], &["/secondwitch'", "<subject>Fire Burn and Cauldron Bubble!</subject>"]);
    assert!(stage.out.changes.contains(&Change::Subject));
    let joined = stage.join("hecate@shakespeare.lit/broom", "hecate");
    let own = to(&joined, "hecate@shakespeare.lit/broom");
    has(
        own[own.len() - 1],
        &["/secondwitch'", "Cauldron Bubble!", "<delay ", "stamp='2002-10-13T23:58:00.000Z'"],
    );
    assert!(own[..own.len() - 1].iter().all(|xml| !xml.contains("<subject>")));
    stage.room.config.change_subject = true;
    assert_eq!(stage.send(HAG, &change("")).len(), 4);
    assert_eq!(stage.room.subject.text(), None);
}

#[test]
fn a_subject_beside_a_body_is_no_change() {
    let mut stage = Stage::coven(RoomConfig::default());
    let sent = stage.send(
        HAG,
        &format!(
            "<message to='{COVEN}' type='groupchat'><subject>s</subject><body>b</body></message>"
        ),
    );
    assert_eq!(sent.len(), 3);
    assert_eq!(stage.room.subject.text(), None);
}

#[test]
fn private_messages_reach_one_occupant() {
    let mut stage = Stage::coven(RoomConfig::default());
    let whisper = |to: &str, typ: &str| {
        format!("<message to='{COVEN}/{to}' type='{typ}' id='w'><body>wind</body></message>")
    };
    let sent = stage.send(WITCH, &whisper("firstwitch", "chat"));
    assert_eq!(sent.len(), 1);
    has(
        &sent[0],
        &[
            "from='coven@chat.shakespeare.lit/secondwitch'",
            "to='crone1@shakespeare.lit/desktop'",
            "type='chat'",
            "<x xmlns='http://jabber.org/protocol/muc#user'/>",
        ],
    );
    refused(&stage.send(WITCH, &whisper("firstwitch", "groupchat")), "bad-request");
    refused(&stage.send(WITCH, &whisper("nobody", "chat")), "item-not-found");
    refused(&stage.send("tybalt@capulet.lit/x", &whisper("firstwitch", "chat")), "not-acceptable");
    stage.room.config.private_messages = crate::config::room::PrivateMessages::Moderators;
    refused(&stage.send(HAG, &whisper("firstwitch", "chat")), "forbidden");
    assert_eq!(stage.send(WITCH, &whisper("thirdwitch", "chat")).len(), 1);
}

#[test]
fn requests_pass_through_the_room_and_their_answers_back() {
    let mut stage = Stage::coven(RoomConfig::default());
    stage.join("wiccarocks@shakespeare.lit/phone", "secondwitch");
    let sent = stage.send(
        WITCH,
        &format!(
            "<iq to='{COVEN}/thirdwitch' type='get' id='v'><query xmlns='jabber:iq:version'/></iq>"
        ),
    );
    has(
        &sent[0],
        &["from='coven@chat.shakespeare.lit/secondwitch'", "to='hag66@shakespeare.lit/pda'"],
    );
    let passed = Stage::id_of(&sent[0]);
    assert_ne!(passed, "v");
    let sent =
        stage.send(HAG, &format!("<iq to='{COVEN}/secondwitch' type='result' id='{passed}'/>"));
    has(
        &sent[0],
        &[
            "from='coven@chat.shakespeare.lit/thirdwitch'",
            "to='wiccarocks@shakespeare.lit/laptop'",
            "id='v'",
        ],
    );
    let vcard =
        format!("<iq to='{COVEN}/thirdwitch' type='get' id='v'><vCard xmlns='vcard-temp'/></iq>");
    has(&stage.send(WITCH, &vcard)[0], &["to='hag66@shakespeare.lit'"]);
    stage.room.config.queries = false;
    let version = format!(
        "<iq to='{COVEN}/firstwitch' type='get' id='v'><query xmlns='jabber:iq:version'/></iq>"
    );
    refused(&stage.send(HAG, &version), "not-allowed");
}

#[test]
fn self_pings_are_answered_by_the_room() {
    let mut stage = Stage::coven(RoomConfig::default());
    let ping =
        format!("<iq to='{COVEN}/thirdwitch' type='get' id='p'><ping xmlns='urn:xmpp:ping'/></iq>");
    let sent = stage.send(HAG, &ping);
    assert_eq!(sent.len(), 1);
    has(&sent[0], &["type='result'", "id='p'", "to='hag66@shakespeare.lit/pda'"]);
    refused(&stage.send("hag66@shakespeare.lit/other", &ping), "not-acceptable");
}

#[test]
fn invitations_go_through_the_room() {
    let mut stage =
        Stage::coven(RoomConfig { password: "cauldronburn".to_owned(), ..RoomConfig::default() });
    stage.room.config.password.clear();
    stage.join(HAG, "thirdwitch");
    stage.room.config.password = "cauldronburn".to_owned();
    let invite = format!(
        "<message to='{COVEN}'><x xmlns='http://jabber.org/protocol/muc#user'>\
         <invite to='hecate@shakespeare.lit'><reason>Hey Hecate</reason></invite></x></message>"
    );
    let sent = stage.send(CRONE, &invite);
    assert_eq!(sent.len(), 1);
    has(
        &sent[0],
        &[
            "from='coven@chat.shakespeare.lit' to='hecate@shakespeare.lit'",
            "<invite from='coven@chat.shakespeare.lit/firstwitch'><reason>Hey Hecate</reason></invite>",
            "<password>cauldronburn</password>",
            "<x xmlns='jabber:x:conference' jid='coven@chat.shakespeare.lit'",
        ],
    );
    refused(&stage.send("tybalt@capulet.lit/x", &invite), "not-acceptable");
    let decline = format!(
        "<message to='{COVEN}'><x xmlns='http://jabber.org/protocol/muc#user'>\
         <decline to='crone1@shakespeare.lit'><reason>busy</reason></decline></x></message>"
    );
    let sent = stage.send("hecate@shakespeare.lit/broom", &decline);
    has(
        &sent[0],
        &["to='crone1@shakespeare.lit/desktop'", "<decline from='hecate@shakespeare.lit'>"],
    );
}

#[test]
fn an_invitation_into_a_room_of_members_makes_a_member() {
    let mut stage = Stage::coven(RoomConfig { members_only: true, ..RoomConfig::default() });
    let invite = format!(
        "<message to='{COVEN}'><x xmlns='http://jabber.org/protocol/muc#user'>\
         <invite to='hecate@shakespeare.lit'/></x></message>"
    );
    refused(&stage.send(HAG, &invite), "forbidden");
    assert_eq!(stage.send(WITCH, &invite).len(), 1);
    assert_eq!(stage.room.affiliation("hecate@shakespeare.lit"), Affiliation::Member);
    stage.room.config.invites = true;
    let other = invite.replace("hecate", "banquo");
    assert_eq!(stage.send(HAG, &other).len(), 1);
    assert!(stage.join("banquo@shakespeare.lit/x", "banquo").len() > 2);
}

#[test]
fn a_voice_is_asked_for_and_given() {
    let mut stage = Stage::coven(RoomConfig {
        moderated: true,
        voice_by_default: false,
        ..RoomConfig::default()
    });
    stage.join("hecate@shakespeare.lit/broom", "hecate");
    let ask = format!(
        "<message to='{COVEN}'><x xmlns='jabber:x:data' type='submit'>\
         <field var='FORM_TYPE'><value>http://jabber.org/protocol/muc#request</value></field>\
         <field var='muc#role'><value>participant</value></field></x></message>"
    );
    let sent = stage.send("hecate@shakespeare.lit/broom", &ask);
    assert_eq!(sent.len(), 2, "both moderators: {sent:#?}");
    has(&sent[0], &["muc#request_allow", "hecate@shakespeare.lit/broom"]);
    refused(&stage.send("hecate@shakespeare.lit/broom", &ask), "resource-constraint");
    let allow = format!(
        "<message to='{COVEN}'><x xmlns='jabber:x:data' type='submit'>\
         <field var='FORM_TYPE'><value>http://jabber.org/protocol/muc#request</value></field>\
         <field var='muc#role'><value>participant</value></field>\
         <field var='muc#jid'><value>hecate@shakespeare.lit/broom</value></field>\
         <field var='muc#roomnick'><value>hecate</value></field>\
         <field var='muc#request_allow'><value>true</value></field></x></message>"
    );
    refused(&stage.send(HAG, &allow), "forbidden");
    let sent = stage.send(CRONE, &allow);
    has(to(&sent, HAG)[0], &["/hecate'", "role='participant'"]);
    assert_eq!(stage.role("hecate"), Some(Role::Participant));
}

#[test]
fn moderators_take_back_what_others_said() {
    let mut stage = Stage::coven(RoomConfig::default());
    stage.say(HAG, "free magic potions");
    let (original, target) = stage.kept();
    let moderate = crate::xml::element::Element::parse(
        b"<moderate id='1' xmlns='urn:xmpp:message-moderate:1'>\
          <retract xmlns='urn:xmpp:message-retract:1'/><reason>spam</reason></moderate>",
        crate::xml::ns::CLIENT,
    )
    .unwrap();
    let act = |stage: &mut Stage, from: &str| {
        let jid = Jid::parse(from).unwrap();
        let sender = Sender { jid: &jid, is_service_admin: false };
        let mut out = Out::default();
        let original = Some(&original);
        let (id, now) = (MessageId(99), stage.now);
        stage.room.moderate(sender, &moderate, target, original, id, now, &mut out).map(|()| out)
    };
    assert!(act(&mut stage, HAG).is_err());
    let out = act(&mut stage, WITCH).unwrap();
    let sent: Vec<String> = out.stanzas.iter().map(wire).collect();
    assert_eq!(sent.len(), 3);
    has(
        &sent[0],
        &[
            "from='coven@chat.shakespeare.lit' ",
            "<retract xmlns='urn:xmpp:message-retract:1' id='",
            "<moderated xmlns='urn:xmpp:message-moderate:1' by='coven@chat.shakespeare.lit/secondwitch'>",
            "<reason>spam</reason>",
        ],
    );
    let Some(Change::Retracted(_, tombstone)) =
        out.changes.iter().find(|change| matches!(change, Change::Retracted(..)))
    else {
        panic!("{:?}", out.changes)
    };
    let tombstone = wire(tombstone);
    has(&tombstone, &["<retracted ", "/thirdwitch'", "occupant-id"]);
    assert!(!tombstone.contains("potions"));
    let joined = stage.join("hecate@shakespeare.lit/broom", "hecate");
    assert!(joined.iter().all(|xml| !xml.contains("potions")), "{joined:#?}");
}

#[test]
fn occupants_take_back_what_they_said_themselves() {
    let mut stage = Stage::coven(RoomConfig::default());
    stage.say(HAG, "oops");
    let (original, target) = stage.kept();
    let retraction = Stanza::parse(
        format!("<message type='groupchat' id='r'><retract id='{target}' xmlns='urn:xmpp:message-retract:1'/></message>")
            .as_bytes(),
    )
    .unwrap();
    assert_eq!(Room::retraction_target(&retraction), Some(target));
    let mut try_it = |from: &str| {
        let jid = Jid::parse(from).unwrap();
        let sender = Sender { jid: &jid, is_service_admin: false };
        let mut out = Out::default();
        stage.room.retract_own(sender, target, &original, &retraction, stage.now, &mut out);
        out.changes.len()
    };
    assert_eq!(try_it(WITCH), 0);
    assert_eq!(try_it(HAG), 1);
}

impl Stage {
    /// The message that went to the archive last.
    fn kept(&self) -> (Stanza, MessageId) {
        let kept = self.out.changes.iter().find_map(|change| match change {
            Change::Message(stanza, id) => Some((Stanza::clone(stanza), *id)),
            _ => None,
        });
        kept.unwrap()
    }

    fn id_of(xml: &str) -> String {
        xml.split(" id='").nth(1).unwrap().split('\'').next().unwrap().to_owned()
    }
}
