use super::*;
use crate::store::AccountId;
use crate::store::devices::Agent;
use crate::testing::{Player, World};

#[test]
fn a_device_is_listed_as_in_the_example() {
    let at = |text: &str| Now::parse_xmpp(text).expect("a time");
    let device = Device {
        id: 12,
        account: AccountId(1),
        agent: [0; 16],
        software: Some("Gajim".to_owned()),
        name: Some("Juliet's laptop".to_owned()),
        first_seen: at("2023-04-06T14:26:08Z"),
        last_seen: at("2023-04-06T14:30:00Z"),
        password: true,
        token: false,
    };
    assert_eq!(
        client_of_device(&device, true, at("2023-04-06T14:37:25Z")).to_xml(ns::CLIENT_ACCESS),
        "<client connected='true' id='12' type='session'>\
         <first-seen>2023-04-06T14:26:08.000Z</first-seen><last-seen>2023-04-06T14:37:25.000Z</last-seen>\
         <auth><password/></auth><permission status='unrestricted'/>\
         <user-agent><software>Gajim</software><device>Juliet's laptop</device></user-agent></client>"
    );
    let away = client_of_device(&device, false, at("2023-04-06T14:37:25Z"));
    assert_eq!(
        away.child_text("last-seen", ns::CLIENT_ACCESS).as_deref(),
        Some("2023-04-06T14:30:00.000Z")
    );
}

const LIST: &str = "<iq type='get' id='l'><list xmlns='urn:xmpp:cam:0'/></iq>";

async fn device(world: &World, account: AccountId, agent: u8, password: bool) -> i64 {
    let agent = Agent { id: [agent; 16], software: Some("Gajim".to_owned()), name: None };
    let devices = world.router.store.devices();
    devices.seen(account, agent, password, world.now(), 10).await.expect("a device").id
}

/// Ids of the clients in the list, with whether they are connected.
async fn listed(player: &Player<'_>) -> Vec<(String, bool)> {
    let answer = player.ask(LIST).await;
    let iq = Element::parse(answer.as_bytes(), ns::CLIENT).expect("XML");
    let clients = iq.child("clients", ns::CLIENT_ACCESS).expect("<clients/>");
    let client = |client: &Element| {
        let id = client.get("id").expect("an id").to_owned();
        (id, client.get("connected") == Some("true"))
    };
    clients.children().map(client).collect()
}

fn revocation(id: &str) -> String {
    format!("<iq type='set' id='r'><revoke xmlns='urn:xmpp:cam:0' id='{id}'/></iq>")
}

/// Was the session told to end?
fn is_closed(session: &Session) -> bool {
    let controls = session.mailbox.take_controls();
    controls.iter().any(|control| matches!(control, Control::Close(_)))
}

#[tokio::test]
async fn devices_and_nameless_sessions_are_listed() {
    let world = World::new();
    let laptop = world.online("juliet@localhost/laptop").await;
    let phone = device(&world, laptop.session.account, 1, false).await;
    let tablet = device(&world, laptop.session.account, 2, false).await;
    let other = world.online("juliet@localhost/phone").await;
    other.session.facts.lock().device = Some(phone);
    let nameless = format!("{SESSION_PREFIX}{:x}", laptop.session.id);
    let mut clients = listed(&laptop).await;
    clients.sort();
    let mut expected =
        vec![(phone.to_string(), true), (tablet.to_string(), false), (nameless, true)];
    expected.sort();
    assert_eq!(clients, expected);
}

#[tokio::test]
async fn revoking_a_token_s_device_ends_its_sessions() {
    let world = World::new();
    let laptop = world.online("juliet@localhost/laptop").await;
    let phone = device(&world, laptop.session.account, 1, false).await;
    let other = world.online("juliet@localhost/phone").await;
    other.session.facts.lock().device = Some(phone);
    let answer = laptop.ask(&revocation(&phone.to_string())).await;
    assert!(answer.contains("type='result'"), "{answer}");
    assert!(is_closed(&other.session) && !is_closed(&laptop.session));
    assert!(!listed(&laptop).await.iter().any(|(id, _)| *id == phone.to_string()));
    let again = laptop.ask(&revocation(&phone.to_string())).await;
    assert!(again.contains("<item-not-found"), "{again}");
}

#[tokio::test]
async fn who_knows_the_password_is_kept_out_by_a_new_one_only() {
    let world = World::new();
    let laptop = world.online("juliet@localhost/laptop").await;
    let phone = device(&world, laptop.session.account, 1, true).await;
    let other = world.online("juliet@localhost/phone").await;
    other.session.facts.lock().device = Some(phone);
    let nameless = world.online("juliet@localhost/old").await;
    let id = format!("{SESSION_PREFIX}{:x}", nameless.session.id);
    for id in [phone.to_string(), id] {
        let answer = laptop.ask(&revocation(&id)).await;
        assert!(answer.contains("<service-unavailable"), "{answer}");
        assert!(answer.contains("<password-reset-required xmlns='urn:xmpp:cam:0'/>"), "{answer}");
    }
    assert!(is_closed(&other.session) && is_closed(&nameless.session));
}

#[tokio::test]
async fn devices_of_others_are_out_of_reach() {
    let world = World::new();
    let juliet = world.online("juliet@localhost/laptop").await;
    let tybalt = world.online("tybalt@localhost/home").await;
    let phone = device(&world, juliet.session.account, 1, false).await;
    let answer = tybalt.ask(&revocation(&phone.to_string())).await;
    assert!(answer.contains("<item-not-found"), "{answer}");
    let answer = tybalt.ask(&LIST.replace("<iq", "<iq to='juliet@localhost'")).await;
    assert!(answer.contains("<forbidden"), "{answer}");
    assert!(listed(&juliet).await.iter().any(|(id, _)| *id == phone.to_string()));
}
