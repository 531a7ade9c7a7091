use super::*;
use crate::access::registration::Door;
use crate::admin::op::RefusalKind;
use crate::admin::ops::testing;
use crate::config::value::Secret;
use crate::features::register::{New, Proof};
use crate::testing::World;

fn world() -> World {
    World::configured(
        "[limits]\ntrusted_addresses = []\n[hosts.\"localhost\"]\nscram_iterations = 4096\n\
         mechanisms = [\"SCRAM-SHA-1\"]\n[hosts.\"localhost\".registration]\naccess = \"all\"\n\
         approval = true\nper_address = 2\n",
    )
}

async fn register(world: &World, name: &str) -> bool {
    let new = New {
        jid: BareJid::parse(&format!("{name}@localhost")).unwrap(),
        proof: Proof::Password(Secret::new("7sgx-2eeb-ee7w-cfva")),
        door: Door::InBand,
        address: Some("192.0.2.1".parse().unwrap()),
        by: None,
        force: false,
        invite: None,
    };
    delivery::accounts::create(&world.router, new, Now::read()).await.is_ok()
}

#[tokio::test]
async fn who_waits_is_listed_let_in_or_turned_away() {
    let world = world();
    let cx = testing::live(&world);
    assert!(register(&world, "anna").await && register(&world, "eve").await);
    let listed = List::default().run(&cx).await.unwrap();
    let jids: Vec<&str> = listed.accounts.iter().map(|account| account.jid.as_str()).collect();
    assert_eq!(jids, ["anna@localhost", "eve@localhost"]);
    let anna = &listed.accounts[0];
    assert_eq!(anna.address.as_deref(), Some("192.0.2.1"));
    assert_eq!(anna.door, "in-band registration");
    let page = List { max: 1, ..List::default() }.run(&cx).await.unwrap();
    assert_eq!(page.next.as_deref(), Some("anna@localhost"));
    Approve { jid: "anna@localhost".into() }.run(&cx).await.unwrap();
    Refuse { jid: "eve@localhost".into() }.run(&cx).await.unwrap();
    assert!(List::default().run(&cx).await.unwrap().accounts.is_empty());
    for jid in ["anna@localhost", "eve@localhost", "nobody@localhost"] {
        let refused = Approve { jid: jid.into() }.run(&cx).await.unwrap_err();
        assert_eq!(refused.kind, RefusalKind::NotFound, "{jid}");
        let refused = Refuse { jid: jid.into() }.run(&cx).await.unwrap_err();
        assert_eq!(refused.kind, RefusalKind::NotFound, "{jid}");
    }
}

#[tokio::test]
async fn who_has_to_wait_is_shown_and_may_be_let_go_on() {
    let world = world();
    let cx = testing::live(&world);
    assert!(register(&world, "anna").await && register(&world, "bob").await);
    assert!(!register(&world, "cy").await);
    let seen = Limits::default().run(&cx).await.unwrap().sources;
    assert_eq!(seen.len(), 1);
    assert_eq!((seen[0].source.as_str(), seen[0].left), ("192.0.2.1", 0));
    assert!(seen[0].wait.unwrap() > 1_700);
    let address = Some("192.0.2.1".parse().unwrap());
    let reset = ResetLimits { host: "localhost".into(), address }.run(&cx).await.unwrap();
    assert_eq!(reset.sources, 1);
    assert!(register(&world, "cy").await);
    let elsewhere = ResetLimits { host: "other".into(), address: None }.run(&cx).await;
    assert_eq!(elsewhere.unwrap_err().kind, RefusalKind::NotFound);
}
