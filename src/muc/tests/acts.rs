//! XEP-0045 §8.2 to §8.5, §9, §10, §7.10: roles, affiliations, settings, the end of a room.

use super::*;

#[test]
fn who_is_kicked_hears_it_first_then_the_moderator_then_the_rest() {
    let mut stage = Stage::coven(RoomConfig::default());
    let sent = stage.admin(
        WITCH,
        "<item nick='thirdwitch' role='none'><reason>Avaunt, you cullion!</reason></item>",
    );
    assert_eq!(sent.len(), 4, "{sent:#?}");
    has(
        &sent[0],
        &[
            "to='hag66@shakespeare.lit/pda'",
            "type='unavailable'",
            "role='none'",
            "<actor nick='secondwitch'/>",
            "<reason>Avaunt, you cullion!</reason>",
            "<status code='307'/>",
            "<status code='110'/>",
        ],
    );
    has(&sent[1], &["<iq ", "type='result'", "id='a'"]);
    has(to(&sent[2..], CRONE)[0], &["/thirdwitch'", "<status code='307'/>"]);
    assert!(stage.role("thirdwitch").is_none());
    assert!(stage.join(HAG, "thirdwitch").len() > 2, "a kick is no ban");
}

#[test]
fn rank_protects() {
    let mut stage = Stage::coven(RoomConfig::default());
    refused(&stage.admin(WITCH, "<item nick='firstwitch' role='none'/>"), "not-allowed");
    refused(&stage.admin(HAG, "<item nick='firstwitch' role='none'/>"), "forbidden");
    refused(&stage.admin(CRONE, "<item nick='secondwitch' role='participant'/>"), "not-allowed");
    refused(
        &stage.admin(WITCH, "<item affiliation='outcast' jid='crone1@shakespeare.lit'/>"),
        "not-allowed",
    );
    refused(
        &stage.admin(CRONE, "<item affiliation='outcast' jid='crone1@shakespeare.lit'/>"),
        "conflict",
    );
    refused(&stage.admin(CRONE, "<item nick='nobody' role='none'/>"), "item-not-found");
    refused(&stage.admin(CRONE, "<item nick='thirdwitch' role='king'/>"), "bad-request");
}

#[test]
fn voices_are_given_and_taken() {
    let mut stage = Stage::coven(RoomConfig { moderated: true, ..RoomConfig::default() });
    let sent = stage.admin(CRONE, "<item nick='thirdwitch' role='visitor'/>");
    has(&sent[0], &["type='result'"]);
    has(to(&sent, WITCH)[0], &["/thirdwitch'", "role='visitor'"]);
    refused(&stage.say(HAG, "mine"), "forbidden");
    stage.admin(CRONE, "<item nick='thirdwitch' role='participant'/>");
    assert_eq!(stage.say(HAG, "mine").len(), 3);
    // The card that newcomers see has followed.
    let sent = stage.join("hecate@shakespeare.lit/broom", "hecate");
    let card = to(&sent, "hecate@shakespeare.lit/broom")[2].to_owned();
    has(&card, &["/thirdwitch'", "role='participant'"]);
}

#[test]
fn bans_put_out_and_keep_out() {
    let mut stage = Stage::coven(RoomConfig::default());
    let sent = stage.admin(
        WITCH,
        "<item affiliation='outcast' jid='hag66@shakespeare.lit'><reason>Treason</reason></item>",
    );
    has(
        &sent[0],
        &["to='hag66@shakespeare.lit/pda'", "affiliation='outcast'", "<status code='301'/>"],
    );
    assert_eq!(stage.out.changes, [Change::Tie(BareJid::parse("hag66@shakespeare.lit").unwrap())]);
    refused(&stage.join(HAG, "thirdwitch"), "forbidden");
    let list = stage.list(WITCH, "<item affiliation='outcast'/>");
    has(&list[0], &["jid='hag66@shakespeare.lit'", "<reason>Treason</reason>"]);
    stage.admin(WITCH, "<item affiliation='none' jid='hag66@shakespeare.lit'/>");
    assert!(stage.join(HAG, "thirdwitch").len() > 2);
}

#[test]
fn all_of_a_request_or_nothing() {
    let mut stage = Stage::coven(RoomConfig::default());
    let sent = stage.admin(
        WITCH,
        "<item affiliation='outcast' jid='hag66@shakespeare.lit'/>\
         <item affiliation='owner' jid='wiccarocks@shakespeare.lit'/>",
    );
    refused(&sent, "forbidden");
    assert_eq!(stage.room.affiliation("hag66@shakespeare.lit"), Affiliation::Member);
    assert!(stage.out.changes.is_empty());
}

#[test]
fn members_come_and_go_in_a_room_of_members() {
    let mut stage = Stage::coven(RoomConfig { members_only: true, ..RoomConfig::default() });
    let sent = stage.admin(WITCH, "<item affiliation='none' jid='hag66@shakespeare.lit'/>");
    has(
        &sent[0],
        &["to='hag66@shakespeare.lit/pda'", "<status code='321'/>", "type='unavailable'"],
    );
    refused(&stage.join(HAG, "thirdwitch"), "registration-required");
    let sent = stage.admin(WITCH, "<item affiliation='member' jid='hecate@shakespeare.lit'/>");
    has(to(&sent, "hecate@shakespeare.lit")[0], &["<invite from='coven@chat.shakespeare.lit'/>"]);
}

#[test]
fn affiliations_bring_roles() {
    let mut stage = Stage::coven(RoomConfig::default());
    let sent = stage.admin(CRONE, "<item affiliation='admin' jid='hag66@shakespeare.lit'/>");
    has(to(&sent, WITCH)[0], &["/thirdwitch'", "affiliation='admin'", "role='moderator'"]);
    stage.admin(CRONE, "<item affiliation='member' jid='hag66@shakespeare.lit'/>");
    assert_eq!(stage.role("thirdwitch"), Some(Role::Participant));
    stage.admin(CRONE, "<item nick='thirdwitch' role='moderator'/>");
    stage.admin(CRONE, "<item affiliation='none' jid='hag66@shakespeare.lit'/>");
    assert_eq!(stage.role("thirdwitch"), Some(Role::Moderator), "made one by hand");
}

#[test]
fn a_room_never_loses_its_last_owner() {
    let mut stage = Stage::coven(RoomConfig::default());
    let give_up = "<item affiliation='none' jid='crone1@shakespeare.lit'/>";
    refused(&stage.admin(CRONE, give_up), "conflict");
    stage.admin(CRONE, "<item affiliation='owner' jid='wiccarocks@shakespeare.lit'/>");
    has(&stage.admin(CRONE, give_up)[0], &["type='result'"]);
}

#[test]
fn lists_are_for_those_whom_they_concern() {
    let mut stage = Stage::coven(RoomConfig::default());
    let sent = stage.list(CRONE, "<item affiliation='member'/>");
    has(&sent[0], &["jid='hag66@shakespeare.lit'", "nick='thirdwitch'", "role='participant'"]);
    refused(&stage.list(HAG, "<item affiliation='member'/>"), "forbidden");
    refused(&stage.list("tybalt@capulet.lit/x", "<item affiliation='member'/>"), "forbidden");
    refused(&stage.list(HAG, "<item role='moderator'/>"), "forbidden");
    let sent = stage.list(WITCH, "<item role='moderator'/>");
    has(&sent[0], &["nick='firstwitch'", "nick='secondwitch'"]);
    // Where addresses are open, members may know the others: OMEMO needs that.
    stage.room.config.whois = crate::config::room::Whois::Anyone;
    has(&stage.list(HAG, "<item affiliation='owner'/>")[0], &["jid='crone1@shakespeare.lit'"]);
    refused(&stage.list(HAG, "<item affiliation='outcast'/>"), "forbidden");
}

#[test]
fn owners_see_and_set_the_form() {
    let mut stage = Stage::coven(RoomConfig::default());
    let get = format!(
        "<iq to='{COVEN}' type='get' id='f'><query xmlns='http://jabber.org/protocol/muc#owner'/></iq>"
    );
    refused(&stage.send(WITCH, &get), "forbidden");
    let sent = stage.send(CRONE, &get);
    has(
        &sent[0],
        &["muc#roomconfig_roomname", "http://jabber.org/protocol/muc#roomconfig", "type='form'"],
    );
    let sent = stage.configure("<field var='muc#roomconfig_whois'><value>anyone</value></field>");
    has(&sent[0], &["type='result'"]);
    has(to(&sent, HAG)[0], &["type='groupchat'", "<status code='104'/><status code='172'/>"]);
    assert_eq!(stage.out.changes, [Change::Config]);
    assert_eq!(
        stage.configure("<field var='muc#roomconfig_whois'><value>anyone</value></field>").len(),
        1
    );
    refused(
        &stage.configure("<field var='muc#roomconfig_maxusers'><value>-1</value></field>"),
        "not-acceptable",
    );
}

#[test]
fn a_room_that_becomes_members_only_puts_strangers_out() {
    let mut stage = Stage::coven(RoomConfig::default());
    stage.join("hecate@shakespeare.lit/broom", "hecate");
    let sent = stage.configure("<field var='muc#roomconfig_membersonly'><value>1</value></field>");
    has(to(&sent, "hecate@shakespeare.lit/broom")[0], &["<status code='322'/>", "unavailable"]);
    assert_eq!(stage.room.occupants.len(), 3);
}

#[test]
fn the_form_names_owners_and_admins_too() {
    let mut stage = Stage::coven(RoomConfig::default());
    let sent = stage.configure(
        "<field var='muc#roomconfig_roomadmins'><value>hag66@shakespeare.lit</value></field>",
    );
    has(&sent[0], &["type='result'"]);
    assert_eq!(stage.room.affiliation("hag66@shakespeare.lit"), Affiliation::Admin);
    assert_eq!(stage.room.affiliation("wiccarocks@shakespeare.lit"), Affiliation::None);
    refused(&stage.configure("<field var='muc#roomconfig_roomowners'/>"), "conflict");
}

#[test]
fn the_end_of_a_room_is_told_to_each() {
    let mut stage = Stage::coven(RoomConfig::default());
    let destroy = format!(
        "<iq to='{COVEN}' type='set' id='d'><query xmlns='http://jabber.org/protocol/muc#owner'>\
         <destroy jid='endor@chat.shakespeare.lit'><reason>Macbeth doth come.</reason></destroy></query></iq>"
    );
    refused(&stage.send(WITCH, &destroy), "forbidden");
    let sent = stage.send(CRONE, &destroy);
    assert_eq!(sent.len(), 4);
    has(
        to(&sent, HAG)[0],
        &[
            "type='unavailable'",
            "affiliation='none' role='none'",
            "<destroy jid='endor@chat.shakespeare.lit'><reason>Macbeth doth come.</reason></destroy>",
        ],
    );
    assert_eq!(stage.out.changes, [Change::Destroyed]);
    assert!(stage.room.occupants.is_empty());
}

#[test]
fn whoever_cancels_the_first_settings_wants_no_room() {
    let mut stage = Stage::new(RoomConfig::default());
    stage.room.locked = true;
    stage.join(CRONE, "firstwitch");
    stage.send(
        CRONE,
        &format!(
            "<iq to='{COVEN}' type='set' id='c'><query xmlns='http://jabber.org/protocol/muc#owner'>\
             <x xmlns='jabber:x:data' type='cancel'/></query></iq>"
        ),
    );
    assert_eq!(stage.out.changes, [Change::Destroyed]);
}

#[test]
fn nicknames_are_reserved_by_registration() {
    let mut stage = Stage::coven(RoomConfig::default());
    let hecate = "hecate@shakespeare.lit/broom";
    let get =
        format!("<iq to='{COVEN}' type='get' id='r'><query xmlns='jabber:iq:register'/></iq>");
    has(&stage.send(hecate, &get)[0], &["muc#register_roomnick"]);
    let set = |nick: &str| {
        format!(
            "<iq to='{COVEN}' type='set' id='r'><query xmlns='jabber:iq:register'>\
             <x xmlns='jabber:x:data' type='submit'>\
             <field var='FORM_TYPE'><value>http://jabber.org/protocol/muc#register</value></field>\
             <field var='muc#register_roomnick'><value>{nick}</value></field></x></query></iq>"
        )
    };
    refused(&stage.send(hecate, &set("firstwitch")), "conflict");
    has(&stage.send(hecate, &set("queen"))[0], &["type='result'"]);
    assert_eq!(stage.room.affiliation("hecate@shakespeare.lit"), Affiliation::Member);
    has(&stage.send(hecate, &get)[0], &["<registered/>", "<username>queen</username>"]);
    let asked = format!(
        "<iq to='{COVEN}' type='get' id='n'>\
         <query xmlns='http://jabber.org/protocol/disco#info' node='x-roomuser-item'/></iq>"
    );
    has(&stage.send(hecate, &asked)[0], &["name='queen'"]);
    stage.room.config.members_only = true;
    refused(&stage.send("tybalt@capulet.lit/x", &get), "not-allowed");
}

#[test]
fn a_room_tells_what_it_is() {
    let mut stage = Stage::coven(RoomConfig {
        title: "A Dark Cave".to_owned(),
        members_only: true,
        slow_mode_secs: 20,
        ..RoomConfig::default()
    });
    let info = format!(
        "<iq to='{COVEN}' type='get' id='i'><query xmlns='http://jabber.org/protocol/disco#info'/></iq>"
    );
    let sent = stage.send("tybalt@capulet.lit/x", &info);
    has(
        &sent[0],
        &[
            "category='conference'",
            "name='A Dark Cave'",
            "var='http://jabber.org/protocol/muc'",
            "muc_membersonly",
            "muc_semianonymous",
            "muc_persistent",
            "urn:xmpp:mam:2",
            "<value>3</value>",
            "muc#roominfo_slow_mode_duration",
        ],
    );
    let items = format!(
        "<iq to='{COVEN}' type='get' id='i'><query xmlns='http://jabber.org/protocol/disco#items'/></iq>"
    );
    let sent = stage.send("tybalt@capulet.lit/x", &items);
    assert!(!sent[0].contains("<item "), "who is in a room of members is theirs: {sent:?}");
    has(&stage.send(HAG, &items)[0], &["coven@chat.shakespeare.lit/firstwitch"]);
}

impl Stage {
    fn list(&mut self, from: &str, item: &str) -> Vec<String> {
        self.send(
            from,
            &format!(
                "<iq to='{COVEN}' type='get' id='l'>\
                 <query xmlns='http://jabber.org/protocol/muc#admin'>{item}</query></iq>"
            ),
        )
    }

    fn configure(&mut self, fields: &str) -> Vec<String> {
        self.send(
            CRONE,
            &format!(
                "<iq to='{COVEN}' type='set' id='c'><query xmlns='http://jabber.org/protocol/muc#owner'>\
                 <x xmlns='jabber:x:data' type='submit'>\
                 <field var='FORM_TYPE'><value>http://jabber.org/protocol/muc#roomconfig</value></field>\
                 {fields}</x></query></iq>"
            ),
        )
    }
}
