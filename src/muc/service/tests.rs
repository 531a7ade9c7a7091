//! Rooms in a server: what passes the pipelines, what outlives a room's sleep.

use crate::testing::{Player, World};

const ROOM: &str = "coven@conference.localhost";

async fn join(player: &Player<'_>, nick: &str) -> Vec<String> {
    player
        .send(&format!(
            "<presence to='{ROOM}/{nick}'><x xmlns='http://jabber.org/protocol/muc'/></presence>"
        ))
        .await;
    player.sent()
}

async fn open(player: &Player<'_>) -> String {
    player
        .ask(&format!(
            "<iq type='set' id='open' to='{ROOM}'><query xmlns='http://jabber.org/protocol/muc#owner'>\
             <x xmlns='jabber:x:data' type='submit'/></query></iq>"
        ))
        .await
}

async fn say(player: &Player<'_>, body: &str) {
    player
        .send(&format!(
            "<message type='groupchat' to='{ROOM}' id='m'><body>{body}</body></message>"
        ))
        .await;
}

async fn read(player: &Player<'_>) -> Vec<String> {
    player
        .send(&format!("<iq type='set' id='q' to='{ROOM}'><query xmlns='urn:xmpp:mam:2'/></iq>"))
        .await;
    player.sent()
}

#[tokio::test]
async fn a_room_is_made_by_entering_it_and_opened_by_its_maker() {
    let world = World::new();
    let (crone, hag) =
        (world.online("crone@localhost/d").await, world.online("hag@localhost/p").await);
    let made = join(&crone, "first").await;
    assert!(made[0].contains("<status code='201'/>"), "{made:#?}");
    assert!(join(&hag, "third").await[0].contains("item-not-found"));
    assert!(open(&crone).await.contains("type='result'"));
    assert_eq!(join(&hag, "third").await.len(), 3);
    say(&hag, "when shall we three meet again").await;
    for player in [&crone, &hag] {
        let sent = player.sent();
        let last = sent.last().unwrap();
        assert!(last.contains("coven@conference.localhost/third") && last.contains("meet again"));
    }
}

#[tokio::test]
async fn a_room_sleeps_and_remembers() {
    let world = World::new();
    let crone = world.online("crone@localhost/d").await;
    join(&crone, "first").await;
    open(&crone).await;
    say(&crone, "double, double").await;
    let subject =
        format!("<message type='groupchat' to='{ROOM}'><subject>Toil</subject></message>");
    crone.send(&subject).await;
    crone.leaves().await;
    assert!(world.router.services.own("conference.localhost").is_some());
    let hag = world.online("hag@localhost/p").await;
    let seen = join(&hag, "third").await;
    assert_eq!(seen.len(), 3, "itself, history, subject: {seen:#?}");
    assert!(seen[0].contains("affiliation='none'"));
    assert!(seen[1].contains("double, double") && seen[1].contains("<delay "));
    assert!(!seen[1].contains("crone@localhost"), "{}", seen[1]);
    assert!(seen[2].contains("Toil"));
}

#[tokio::test]
async fn the_archive_is_for_those_who_may_enter_and_names_are_for_moderators() {
    let world = World::new();
    let (crone, hag) =
        (world.online("crone@localhost/d").await, world.online("hag@localhost/p").await);
    join(&crone, "first").await;
    open(&crone).await;
    say(&crone, "fair is foul").await;
    crone.take();
    let owner = read(&crone).await;
    assert!(owner[0].contains("fair is foul") && owner[0].contains("jid='crone@localhost/d'"));
    assert!(owner[1].contains("complete='true'"));
    let stranger = read(&hag).await;
    assert!(stranger[0].contains("fair is foul") && !stranger[0].contains("crone@localhost"));
    let ban = format!(
        "<iq type='set' id='b' to='{ROOM}'><query xmlns='http://jabber.org/protocol/muc#admin'>\
         <item affiliation='outcast' jid='hag@localhost'/></query></iq>"
    );
    assert!(crone.ask(&ban).await.contains("type='result'"));
    assert!(read(&hag).await[0].contains("forbidden"));
    assert!(join(&hag, "third").await[0].contains("forbidden"));
}

#[tokio::test]
async fn whoever_goes_offline_leaves_the_room() {
    let world = World::new();
    let (crone, hag) =
        (world.online("crone@localhost/d").await, world.online("hag@localhost/p").await);
    join(&crone, "first").await;
    open(&crone).await;
    join(&hag, "third").await;
    crone.take();
    hag.leaves().await;
    let sent = crone.sent();
    assert!(sent[0].contains("/third") && sent[0].contains("unavailable"), "{sent:#?}");
}

#[tokio::test]
async fn creation_is_for_those_whom_the_rule_allows() {
    let world = World::configured(
        "[acl]\nwitches = { user = [\"crone\"] }\n[hosts.localhost.rooms]\ncreate = \"witches\"\nper_account_max = 1\n",
    );
    let (crone, hag) =
        (world.online("crone@localhost/d").await, world.online("hag@localhost/p").await);
    assert!(join(&hag, "third").await[0].contains("not-allowed"));
    join(&crone, "first").await;
    open(&crone).await;
    crone
        .send(
            "<presence to='other@conference.localhost/first'>\
             <x xmlns='http://jabber.org/protocol/muc'/></presence>",
        )
        .await;
    assert!(crone.sent()[0].contains("resource-constraint"));
}

#[tokio::test]
async fn public_rooms_are_listed_and_the_host_names_the_service() {
    let world = World::new();
    let crone = world.online("crone@localhost/d").await;
    join(&crone, "first").await;
    open(&crone).await;
    let items = |to: &str| {
        format!(
            "<iq type='get' id='i' to='{to}'><query xmlns='http://jabber.org/protocol/disco#items'/></iq>"
        )
    };
    assert!(crone.ask(&items("localhost")).await.contains("jid='conference.localhost'"));
    assert!(crone.ask(&items("conference.localhost")).await.contains(&format!("jid='{ROOM}'")));
    let info = "<iq type='get' id='i' to='conference.localhost'><query xmlns='http://jabber.org/protocol/disco#info'/></iq>";
    assert!(crone.ask(info).await.contains("category='conference'"));
}

#[tokio::test]
async fn a_room_that_was_never_set_up_or_is_temporary_ends_with_its_last_occupant() {
    let world = World::new();
    let crone = world.online("crone@localhost/d").await;
    join(&crone, "first").await;
    crone.send(&format!("<presence to='{ROOM}/first' type='unavailable'/>")).await;
    crone.take();
    let again = join(&crone, "first").await;
    assert!(again[0].contains("<status code='201'/>"), "{again:#?}");
    let temporary = format!(
        "<iq type='set' id='t' to='{ROOM}'><query xmlns='http://jabber.org/protocol/muc#owner'>\
         <x xmlns='jabber:x:data' type='submit'><field var='muc#roomconfig_persistentroom'>\
         <value>0</value></field></x></query></iq>"
    );
    assert!(crone.ask(&temporary).await.contains("type='result'"));
    crone.send(&format!("<presence to='{ROOM}/first' type='unavailable'/>")).await;
    crone.take();
    assert!(join(&crone, "first").await[0].contains("<status code='201'/>"));
}

#[tokio::test]
async fn moderators_retract_from_the_archive() {
    let world = World::new();
    let (crone, hag) =
        (world.online("crone@localhost/d").await, world.online("hag@localhost/p").await);
    join(&crone, "first").await;
    open(&crone).await;
    join(&hag, "third").await;
    say(&hag, "free potions").await;
    let said = crone.sent().pop().unwrap();
    let id = said.split("by='coven@conference.localhost' id='").nth(1).unwrap();
    let id = id.split('\'').next().unwrap();
    let moderate = format!(
        "<iq type='set' id='m' to='{ROOM}'><moderate id='{id}' xmlns='urn:xmpp:message-moderate:1'>\
         <retract xmlns='urn:xmpp:message-retract:1'/></moderate></iq>"
    );
    assert!(crone.ask(&moderate).await.contains("type='result'"));
    assert!(hag.sent().pop().unwrap().contains("<retract "));
    let archive = read(&hag).await;
    assert!(archive.iter().all(|xml| !xml.contains("potions")), "{archive:#?}");
    assert!(archive[0].contains("<retracted "));
}
