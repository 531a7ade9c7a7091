//! XEP-0045 §7.1 to §7.3, §7.14, §10.1.

use super::*;

#[test]
fn who_comes_sees_the_others_then_itself_then_the_subject() {
    let mut stage = Stage::new(RoomConfig::default());
    stage.tie(WITCH, Affiliation::Admin);
    stage.join(CRONE, "firstwitch");
    stage.join(WITCH, "secondwitch");
    let sent = stage.join(HAG, "thirdwitch");
    let own = to(&sent, HAG);
    assert_eq!(own.len(), 4, "{own:#?}");
    has(own[0], &["/firstwitch'", "affiliation='owner' role='moderator'"]);
    has(own[1], &["/secondwitch'", "affiliation='admin' role='moderator'"]);
    has(own[2], &["/thirdwitch'", "role='participant'", "<status code='110'/>"]);
    has(own[3], &["<message ", "type='groupchat'", "<subject/>"]);
    for other in [CRONE, WITCH] {
        let seen = to(&sent, other);
        assert_eq!(seen.len(), 1);
        has(seen[0], &["/thirdwitch'", "affiliation='none' role='participant'"]);
        assert!(!seen[0].contains("110"), "{}", seen[0]);
    }
}

#[test]
fn addresses_are_for_moderators_where_the_room_is_semi_anonymous() {
    let mut stage = Stage::coven(RoomConfig::default());
    let sent = stage.join("hecate@shakespeare.lit/broom", "hecate");
    has(to(&sent, CRONE)[0], &["jid='hecate@shakespeare.lit/broom'"]);
    assert!(!to(&sent, HAG)[0].contains("jid='"), "{}", to(&sent, HAG)[0]);
    let seen = to(&sent, "hecate@shakespeare.lit/broom");
    assert!(seen[..3].iter().all(|card| !card.contains(" jid='")), "{seen:#?}");
}

#[test]
fn everybody_sees_addresses_and_is_warned_where_the_room_is_not_anonymous() {
    let config = RoomConfig { whois: crate::config::room::Whois::Anyone, ..RoomConfig::default() };
    let mut stage = Stage::coven(config);
    let sent = stage.join("hecate@shakespeare.lit/broom", "hecate");
    has(to(&sent, HAG)[0], &["jid='hecate@shakespeare.lit/broom'"]);
    let own = to(&sent, "hecate@shakespeare.lit/broom");
    has(own[0], &["jid='crone1@shakespeare.lit/desktop'"]);
    has(own[3], &["<status code='110'/>", "<status code='100'/>"]);
}

#[test]
fn presence_says_nothing_that_only_a_room_may_say() {
    let mut stage = Stage::coven(RoomConfig::default());
    let sent = stage.send(
        "hecate@shakespeare.lit/broom",
        &format!(
            "<presence to='{COVEN}/hecate'><show>away</show>\
             <x xmlns='http://jabber.org/protocol/muc'><password>secret</password></x>\
             <occupant-id xmlns='urn:xmpp:occupant-id:0' id='forged'/>\
             <x xmlns='http://jabber.org/protocol/muc#user'><item affiliation='owner' role='moderator'/></x>\
             </presence>"
        ),
    );
    let seen = to(&sent, CRONE)[0];
    has(seen, &["<show>away</show>", "affiliation='none'", "urn:xmpp:occupant-id:0"]);
    for forged in ["secret", "forged", "owner"] {
        assert!(!seen.contains(forged), "{seen}");
    }
}

#[test]
fn a_nickname_is_needed() {
    let mut stage = Stage::new(RoomConfig::default());
    let join =
        format!("<presence to='{COVEN}'><x xmlns='http://jabber.org/protocol/muc'/></presence>");
    refused(&stage.send(HAG, &join), "jid-malformed");
}

#[test]
fn nicknames_of_others_are_taken_however_they_are_spelled() {
    let mut stage = Stage::coven(RoomConfig::default());
    refused(&stage.join("tybalt@capulet.lit/x", "thirdwitch"), "conflict");
    refused(&stage.join("tybalt@capulet.lit/x", "ThirdWitch"), "conflict");
}

#[test]
fn reserved_nicknames_are_kept_for_their_owner() {
    let mut stage = Stage::new(RoomConfig::default());
    stage.join(CRONE, "firstwitch");
    stage
        .admin(CRONE, "<item affiliation='member' jid='hag66@shakespeare.lit' nick='thirdwitch'/>");
    refused(&stage.join("tybalt@capulet.lit/x", "Thirdwitch"), "conflict");
    assert!(!stage.join(HAG, "thirdwitch").is_empty());
    assert_eq!(stage.role("thirdwitch"), Some(Role::Participant));
}

#[test]
fn two_clients_of_one_account_share_a_nickname() {
    let mut stage = Stage::coven(RoomConfig::default());
    let sent = stage.join("hag66@shakespeare.lit/phone", "thirdwitch");
    assert_eq!(to(&sent, "hag66@shakespeare.lit/phone").len(), 4);
    assert_eq!(stage.room.occupants.len(), 3);
    let said = stage.say("hag66@shakespeare.lit/phone", "hello");
    assert_eq!(said.len(), 4, "every client hears it: {said:#?}");
    // The occupant stays until the last of its clients leaves.
    let gone = format!("<presence to='{COVEN}/thirdwitch' type='unavailable'/>");
    let sent = stage.send(HAG, &gone);
    assert_eq!(sent.len(), 1, "{sent:#?}");
    has(&sent[0], &["to='hag66@shakespeare.lit/pda'", "<status code='110'/>"]);
    let sent = stage.send("hag66@shakespeare.lit/phone", &gone);
    assert_eq!(sent.len(), 3);
    assert!(stage.role("thirdwitch").is_none());
}

#[test]
fn passwords_are_asked_for() {
    let config = RoomConfig { password: "cauldronburn".to_owned(), ..RoomConfig::default() };
    let mut stage = Stage::new(config);
    stage.join(CRONE, "firstwitch");
    refused(&stage.join(HAG, "thirdwitch"), "not-authorized");
    let join = |password: &str| {
        format!(
            "<presence to='{COVEN}/thirdwitch'><x xmlns='http://jabber.org/protocol/muc'>\
             <password>{password}</password></x></presence>"
        )
    };
    refused(&stage.send(HAG, &join("cauldron")), "not-authorized");
    assert!(stage.send(HAG, &join("cauldronburn")).len() > 2);
}

#[test]
fn members_only_rooms_and_bans_keep_people_out() {
    let config = RoomConfig { members_only: true, ..RoomConfig::default() };
    let mut stage = Stage::new(config);
    refused(&stage.join(HAG, "thirdwitch"), "registration-required");
    stage.tie(HAG, Affiliation::Member);
    assert!(!stage.join(HAG, "thirdwitch").is_empty());
    stage.tie(WITCH, Affiliation::Outcast);
    refused(&stage.join(WITCH, "secondwitch"), "forbidden");
}

#[test]
fn a_full_room_lets_only_those_in_who_run_it() {
    let mut stage = Stage::new(RoomConfig { users_max: 1, ..RoomConfig::default() });
    stage.join(HAG, "thirdwitch");
    let sent = stage.join(WITCH, "secondwitch");
    refused(&sent, "service-unavailable");
    has(&sent[0], &["type='wait'"]);
    assert!(stage.join(CRONE, "firstwitch").len() > 2);
}

#[test]
fn a_room_that_is_being_set_up_is_its_creators_alone() {
    let mut stage = Stage::new(RoomConfig::default());
    stage.room.locked = true;
    refused(&stage.join(HAG, "thirdwitch"), "item-not-found");
    assert!(!stage.join(CRONE, "firstwitch").is_empty());
    let sent = stage.send(
        CRONE,
        &format!(
            "<iq to='{COVEN}' type='set' id='c'><query xmlns='http://jabber.org/protocol/muc#owner'>\
             <x xmlns='jabber:x:data' type='submit'/></query></iq>"
        ),
    );
    has(&sent[0], &["type='result'", "id='c'"]);
    assert!(stage.join(HAG, "thirdwitch").len() > 2);
}

#[test]
fn whoever_only_believes_to_be_in_is_told_otherwise() {
    let mut stage = Stage::coven(RoomConfig::default());
    let sent = stage.send("tybalt@capulet.lit/x", &format!("<presence to='{COVEN}/tybalt'/>"));
    assert_eq!(sent.len(), 1);
    has(
        &sent[0],
        &["type='unavailable'", "<status code='110'/><status code='307'/><status code='333'/>"],
    );
}

#[test]
fn whoever_lost_sight_of_the_room_is_shown_it_again() {
    let mut stage = Stage::coven(RoomConfig::default());
    stage.say(CRONE, "hello");
    let sent = stage.join(HAG, "thirdwitch");
    let own = to(&sent, HAG);
    assert_eq!(own.len(), 5, "two others, itself, history, subject: {own:#?}");
    has(own[2], &["<status code='110'/>"]);
    has(own[3], &["<body>hello</body>", "<delay "]);
}

#[test]
fn history_comes_between_presence_and_subject_with_its_time() {
    let mut stage = Stage::new(RoomConfig::default());
    stage.join(CRONE, "firstwitch");
    stage.say(CRONE, "Thrice the brinded cat hath mew'd.");
    let sent = stage.join(HAG, "thirdwitch");
    let own = to(&sent, HAG);
    has(
        own[2],
        &[
            "from='coven@chat.shakespeare.lit/firstwitch'",
            "<delay xmlns='urn:xmpp:delay' from='coven@chat.shakespeare.lit' stamp='2002-10-13T23:58:00.000Z'/>",
        ],
    );
    let none = format!(
        "<presence to='{COVEN}/second'><x xmlns='http://jabber.org/protocol/muc'>\
         <history maxchars='0'/></x></presence>"
    );
    let sent = stage.send(WITCH, &none);
    assert!(to(&sent, WITCH).iter().all(|xml| !xml.contains("brinded")));
}

#[test]
fn leaving_is_told_to_all_with_what_was_said() {
    let mut stage = Stage::coven(RoomConfig::default());
    let sent = stage.send(
        HAG,
        &format!(
            "<presence to='{COVEN}/thirdwitch' type='unavailable'><status>gone</status></presence>"
        ),
    );
    assert_eq!(sent.len(), 3);
    has(to(&sent, HAG)[0], &["<status code='110'/>", "role='none'", "affiliation='member'"]);
    has(to(&sent, CRONE)[0], &["type='unavailable'", "<status>gone</status>", "role='none'"]);
}

#[test]
fn a_client_that_bounces_is_put_out() {
    let mut stage = Stage::coven(RoomConfig::default());
    let sent = stage.send(
        HAG,
        &format!(
            "<message to='{COVEN}' type='error'><error type='cancel'>\
             <service-unavailable xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></message>"
        ),
    );
    has(to(&sent, CRONE)[0], &["type='unavailable'", "<status code='333'/>"]);
    assert!(stage.role("thirdwitch").is_none());
}

#[test]
fn nicknames_change_with_a_farewell_and_a_welcome() {
    let mut stage = Stage::coven(RoomConfig::default());
    let sent = stage.send(HAG, &format!("<presence to='{COVEN}/oldhag'/>"));
    let seen = to(&sent, CRONE);
    assert_eq!(seen.len(), 2);
    has(seen[0], &["/thirdwitch'", "type='unavailable'", "nick='oldhag'", "<status code='303'/>"]);
    has(seen[0], &["role='participant'"]);
    has(seen[1], &["/oldhag'", "role='participant'"]);
    assert!(!seen[1].contains("unavailable"));
    let own = to(&sent, HAG);
    has(own[0], &["<status code='303'/><status code='110'/>"]);
    has(own[1], &["/oldhag'", "<status code='110'/>"]);
    refused(&stage.send(HAG, &format!("<presence to='{COVEN}/firstwitch'/>")), "conflict");
}

#[test]
fn those_whose_presence_is_not_broadcast_are_seen_by_themselves_alone() {
    let config = RoomConfig {
        moderated: true,
        voice_by_default: false,
        broadcast_visitors: false,
        ..RoomConfig::default()
    };
    let mut stage = Stage::coven(config);
    let sent = stage.join("hecate@shakespeare.lit/broom", "hecate");
    assert_eq!(stage.role("hecate"), Some(Role::Visitor));
    assert!(to(&sent, CRONE).is_empty());
    assert_eq!(to(&sent, "hecate@shakespeare.lit/broom").len(), 5);
}
