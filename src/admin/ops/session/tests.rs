use super::details::{Count, Details};
use super::presence::{Presence, SetPresence};
use crate::admin::op::{Operation, RefusalKind};
use crate::admin::ops::testing;
use crate::testing::World;

#[tokio::test]
async fn sessions_are_shown_by_presence_and_page() {
    let world = World::new();
    let cx = testing::live(&world);
    let phone = world.online("ann@localhost/phone").await;
    let desk = world.session("ann@localhost/desk").await;
    phone
        .send("<presence><show>dnd</show><status>Hush</status><priority>7</priority></presence>")
        .await;
    let all = Details::default().run(&cx).await.unwrap();
    let told: Vec<_> = all.sessions.iter().map(|s| (s.jid.as_str(), s.show.as_str())).collect();
    assert_eq!(told, [("ann@localhost/desk", "unavailable"), ("ann@localhost/phone", "dnd")]);
    assert_eq!((all.sessions[1].status.as_str(), all.sessions[1].priority), ("Hush", 7));
    let first = Details { max: 1, ..Details::default() }.run(&cx).await.unwrap();
    assert_eq!(first.next.as_deref(), Some("ann@localhost/desk"));
    let rest = Details { after: first.next, ..Details::default() }.run(&cx).await.unwrap();
    assert_eq!((rest.sessions.len(), rest.next), (1, None));
    let count =
        async |show: &str| Count { show: Some(show.to_owned()), ..Count::default() }.run(&cx).await;
    assert_eq!(count("dnd").await.unwrap().sessions, 1);
    assert_eq!(count("busy").await.unwrap_err().kind, RefusalKind::Usage);
    let all = Count::default().run(&cx).await.unwrap();
    assert_eq!((all.sessions, all.accounts, all.waiting), (2, 1, 0));
    drop(desk);
}

#[tokio::test]
async fn presence_is_set_as_if_the_client_had() {
    let world = World::new();
    let cx = testing::live(&world);
    let phone = world.online("ann@localhost/phone").await;
    let desk = world.online("ann@localhost/desk").await;
    phone.take();
    let set = |show: &str| SetPresence {
        jid: "ann@localhost/phone".into(),
        show: show.into(),
        status: "At lunch".into(),
        priority: 3,
    };
    set("away").run(&cx).await.unwrap();
    let told = desk.sent().pop().unwrap();
    assert!(told.contains("<show>away</show>") && told.contains("At lunch"), "{told}");
    let shown = Presence { jid: "ann@localhost".into() }.run(&cx).await.unwrap();
    assert_eq!((shown.jid.as_str(), shown.show.as_str()), ("ann@localhost/phone", "away"));
    set("unavailable").run(&cx).await.unwrap();
    assert!(!phone.session.is_available());
    assert_eq!(set("asleep").run(&cx).await.unwrap_err().kind, RefusalKind::Usage);
    let nowhere = SetPresence { jid: "ann@localhost/tv".into(), ..set("away") };
    assert_eq!(nowhere.run(&cx).await.unwrap_err().kind, RefusalKind::NotFound);
}
