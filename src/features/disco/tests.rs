use super::*;
use crate::config::Config;
use crate::testing::{World, drained, wire};

fn host(search: bool) -> HostConfig {
    let config = Config::default_for("montague.example").expect("a config");
    let mut host = (*config.hosts[0]).clone();
    host.archive.search = search;
    host
}

fn vars(info: &Element) -> Vec<&str> {
    info.children()
        .filter(|child| child.name() == "feature")
        .filter_map(|child| child.get("var"))
        .collect()
}

#[test]
fn a_host_is_a_server_and_an_account_an_account() {
    let of = |info: &Element| {
        let identity = info.child("identity", ns::DISCO_INFO).expect("an identity");
        (identity.get("category").map(str::to_owned), identity.get("type").map(str::to_owned))
    };
    assert_eq!(of(&host_info(&host(false))), (Some("server".into()), Some("im".into())));
    assert_eq!(
        of(&account_info(&host(false))),
        (Some("account".into()), Some("registered".into()))
    );
}

#[test]
fn features_are_told_once_and_in_order() {
    for info in [host_info(&host(true)), account_info(&host(true))] {
        let vars = vars(&info);
        assert!(vars.windows(2).all(|pair| pair[0] < pair[1]), "{vars:?}");
    }
}

#[test]
fn an_account_tells_of_its_archive_and_a_host_of_carbons() {
    let info = account_info(&host(false));
    for var in [ns::MAM2, ns::MAM2_EXTENDED, ns::SID, ns::PUSH0, ns::RETRACT_TOMBSTONE] {
        assert!(vars(&info).contains(&var), "{var}");
    }
    let info = host_info(&host(false));
    for var in [ns::CARBONS, ns::CARBONS_RULES, ns::MSGOFFLINE, ns::DISCO_INFO, ns::CAPS] {
        assert!(vars(&info).contains(&var), "{var}");
    }
}

#[test]
fn what_is_switched_off_is_not_told() {
    assert!(!vars(&account_info(&host(false))).contains(&ns::FULLTEXT));
    assert!(vars(&account_info(&host(true))).contains(&ns::FULLTEXT));
}

#[test]
fn the_hash_of_the_stream_features_is_a_node() {
    let info = host_info(&host(false));
    let ver = caps::ver(&info, crate::auth::hash::Hash::Sha1).expect("well-formed");
    assert!(caps::is_node_of(&format!("{}#{ver}", caps::NODE), &info));
    assert!(!caps::is_node_of(&format!("{}#{ver}x", caps::NODE), &info));
    assert!(!caps::is_node_of("http://jabber.org/protocol/commands", &info));
}

fn ask(to: &str, ns: &str, node: &str) -> String {
    format!("<iq type='get' id='disco1' to='{to}'><query xmlns='{ns}'{node}/></iq>")
}

#[tokio::test]
async fn everybody_may_ask_a_host() {
    let world = World::new();
    let romeo = world.online("romeo@localhost/orchard").await;
    let answer = romeo.ask(&ask("localhost", ns::DISCO_INFO, "")).await;
    assert!(answer.contains("<identity category='server' type='im' name='Coucou'/>"), "{answer}");
    let verona = world.domain("verona.lit");
    let asked = ask("localhost", ns::DISCO_INFO, "");
    world.arrives(&asked.replace("<iq", "<iq from='mercutio@verona.lit/x'")).await;
    let answers = drained(&verona.mailbox);
    assert!(wire(&answers[0]).contains("<feature var='http://jabber.org/protocol/disco#info'/>"));
}

#[tokio::test]
async fn an_account_shows_itself_to_its_owner_and_to_who_may_see_its_presence() {
    let world = World::new();
    let romeo = world.online("romeo@localhost/orchard").await;
    let juliet = world.online("juliet@localhost/balcony").await;
    let asked = ask("juliet@localhost", ns::DISCO_INFO, "");
    let nobody = ask("nobody@localhost", ns::DISCO_INFO, "");
    assert!(juliet.ask(&asked).await.contains("<identity category='account' type='registered'/>"));
    let refused = romeo.ask(&asked).await;
    assert!(refused.contains("<service-unavailable"), "{refused}");
    let missing = romeo.ask(&nobody).await;
    assert_eq!(refused.replace("juliet@", "X@"), missing.replace("nobody@", "X@"));

    romeo.send("<presence type='subscribe' to='juliet@localhost'/>").await;
    juliet.send("<presence type='subscribed' to='romeo@localhost'/>").await;
    romeo.take();
    assert!(romeo.ask(&asked).await.contains("<identity category='account' type='registered'/>"));
    let items = romeo.ask(&ask("juliet@localhost", ns::DISCO_ITEMS, "")).await;
    assert!(items.contains("<query xmlns='http://jabber.org/protocol/disco#items'/>"), "{items}");
}

#[tokio::test]
async fn unknown_nodes_are_not_found_and_our_own_hash_is_one() {
    let world = World::new();
    let romeo = world.online("romeo@localhost/orchard").await;
    for ns in [ns::DISCO_INFO, ns::DISCO_ITEMS] {
        for to in ["localhost", "romeo@localhost"] {
            let answer = romeo.ask(&ask(to, ns, " node='music'")).await;
            assert!(answer.contains("<item-not-found"), "{answer}");
        }
    }
    let config = world.router.config.load();
    let info = host_info(&config.hosts[0]);
    let hash = caps::hash2(&info, crate::auth::hash::Hash::Sha256).expect("well-formed");
    let node = format!(" node='urn:xmpp:caps#sha-256.{hash}'");
    let answer = romeo.ask(&ask("localhost", ns::DISCO_INFO, &node)).await;
    assert!(answer.contains(&format!("<query xmlns='{}'{node}>", ns::DISCO_INFO)), "{answer}");
}

#[tokio::test]
async fn items_are_the_services_that_are_there() {
    let world = World::new();
    let romeo = world.online("romeo@localhost/orchard").await;
    let items = ask("localhost", ns::DISCO_ITEMS, "");
    let rooms = "<query xmlns='http://jabber.org/protocol/disco#items'>\
                 <item jid='conference.localhost'/></query>";
    assert!(romeo.ask(&items).await.contains(rooms));
    world.domain("irc.localhost");
    world.domain("push.example.org");
    world.domain("notlocalhost");
    let answer = romeo.ask(&items).await;
    assert!(
        answer.contains("<item jid='conference.localhost'/><item jid='irc.localhost'/></query>")
    );
}
