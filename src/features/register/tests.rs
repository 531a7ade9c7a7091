use std::time::Duration;

use super::*;
use crate::delivery::accounts;
use crate::features::Outgoing;
use crate::store::invites::{InviteKind, NewInvite};
use crate::testing::{Player, World, wire};

const STRONG: &str = "7sgx-2eeb-ee7w-cfva";

/// A world with these settings of registration on `localhost`, where hashing costs little.
fn world(settings: &str) -> World {
    World::configured(&format!(
        "[limits]\ntrusted_addresses = []\n[hosts.\"localhost\"]\nscram_iterations = 4096\n\
         mechanisms = [\"SCRAM-SHA-1\"]\n[hosts.\"localhost\".registration]\n{settings}\n"
    ))
}

fn address() -> IpAddr {
    "192.0.2.1".parse().unwrap()
}

fn submission(name: &str, password: &str) -> Asked {
    Asked::Wish(Wish::Submit(Submission {
        username: Some(name.to_owned()).filter(|name| !name.is_empty()),
        password: Some(Secret::new(password)).filter(|p| !p.reveal().is_empty()),
        is_change: false,
    }))
}

/// Somebody without an account asks; what goes out is returned as text.
async fn ask(
    world: &World,
    asked: Asked,
    invite: Option<&Invite>,
) -> (Result<Answered, StanzaError>, Vec<String>) {
    let host = world.router.host("localhost").unwrap();
    let out = Outbox::default();
    let answered =
        before_sign_in(&world.router, &host, asked, invite, address(), &out, world.now()).await;
    let sent = out.take().into_iter().map(|outgoing| match outgoing {
        Outgoing::Route(stanza) | Outgoing::Session(_, stanza) => wire(&stanza),
    });
    (answered, sent.collect())
}

async fn register(world: &World, name: &str, password: &str) -> Result<(), Condition> {
    let (answered, _) = ask(world, submission(name, password), None).await;
    answered.map(drop).map_err(|error| error.condition)
}

async fn exists(world: &World, jid: &str) -> bool {
    world.router.store.facts(&BareJid::parse(jid).unwrap()).await.unwrap().is_some()
}

/// A session on a connection that is encrypted.
async fn secure<'w>(world: &'w World, jid: &str) -> Player<'w> {
    let player = world.online(jid).await;
    player.session.facts.lock().tls = "TLSv1.3";
    player
}

#[tokio::test]
async fn a_closed_host_offers_nothing_and_takes_nothing() {
    let world = world("");
    let host = world.router.host("localhost").unwrap();
    assert!(!is_offered(&world.router, &host, address()));
    for asked in [Asked::Wish(Wish::Form), submission("bill", STRONG), submission("", "")] {
        let error = ask(&world, asked, None).await.0.unwrap_err();
        assert_eq!(error.condition, Condition::ServiceUnavailable);
        assert!(error.text.unwrap().contains("closed"));
    }
    assert!(!exists(&world, "bill@localhost").await);
    let remove = ask(&world, Asked::Wish(Wish::Remove), None).await.0;
    assert_eq!(remove.unwrap_err().condition, Condition::UnexpectedRequest);
}

#[tokio::test]
async fn an_open_host_tells_its_form_and_makes_accounts() {
    let world = world("access = \"all\"\ninstructions = \"Be kind.\"");
    let host = world.router.host("localhost").unwrap();
    assert!(is_offered(&world.router, &host, address()));
    let Ok(Answered::Form(form)) = ask(&world, Asked::Wish(Wish::Form), None).await.0 else {
        panic!("no form")
    };
    let form = form.to_xml(ns::CLIENT);
    assert!(form.starts_with(
        "<query xmlns='jabber:iq:register'><instructions>Be kind.</instructions><username/>\
         <password/><x xmlns='jabber:x:data' type='form'>"
    ));
    assert!(form.contains("<value>jabber:iq:register</value>"), "{form}");
    assert_eq!(register(&world, "Bill", STRONG).await, Ok(()));
    assert!(exists(&world, "bill@localhost").await);
    let bill = BareJid::parse("bill@localhost").unwrap();
    assert_eq!(world.router.store.accounts().keys(&bill).await.unwrap().len(), 1);
    for (name, password, condition) in [
        ("bill", STRONG, Condition::Conflict),
        ("bi11", STRONG, Condition::Conflict), // looks like it
        ("anna", "", Condition::NotAcceptable),
        ("", STRONG, Condition::NotAcceptable),
        ("anna", "anna", Condition::NotAcceptable),
        ("anna@elsewhere", STRONG, Condition::JidMalformed),
        ("an na", STRONG, Condition::JidMalformed),
        ("postmaster", STRONG, Condition::NotAcceptable),
        ("anna", "control\u{7}character and long", Condition::NotAcceptable),
    ] {
        assert_eq!(register(&world, name, password).await, Err(condition), "{name} {password}");
    }
    assert!(!exists(&world, "anna@localhost").await);
    // What was done is in the audit; who did it has no name yet.
    let query = crate::store::audit::AuditQuery { max: 9, ..Default::default() };
    let (_, act) = world.router.store.audit().list(query).await.unwrap().remove(0);
    assert_eq!((act.what.as_str(), act.target.as_str()), ("account.register", "bill@localhost"));
    assert_eq!(act.from, "c2s 192.0.2.1");
}

#[tokio::test]
async fn a_host_that_registers_elsewhere_says_where_and_means_it() {
    let world = world("access = \"all\"\nredirect_url = \"https://h/join\"");
    let (answered, _) = ask(&world, Asked::Wish(Wish::Form), None).await;
    let Ok(Answered::Form(form)) = answered else { panic!("{answered:?}") };
    // XEP-0077 §5.
    assert_eq!(
        form.to_xml(ns::CLIENT),
        "<query xmlns='jabber:iq:register'>\
         <instructions>To register, visit https://h/join</instructions>\
         <x xmlns='jabber:x:oob'><url>https://h/join</url></x></query>"
    );
    let error = ask(&world, submission("bill", STRONG), None).await.0.unwrap_err();
    assert_eq!(error.condition, Condition::NotAllowed);
    assert!(error.text.unwrap().contains("https://h/join"));
}

#[tokio::test]
async fn one_address_makes_so_many_accounts_and_others_go_on() {
    let world = world("access = \"all\"\nper_address = 2");
    for name in ["anna", "bob"] {
        assert_eq!(register(&world, name, STRONG).await, Ok(()));
    }
    let error = ask(&world, submission("cy", STRONG), None).await.0.unwrap_err();
    assert_eq!(error.condition, Condition::ResourceConstraint);
    assert!(error.text.unwrap().contains("try again in 30m"));
    world.router.signups.reset(None, Some(address()));
    assert_eq!(register(&world, "cy", STRONG).await, Ok(()));
    world.wait(Duration::from_secs(3600));
    assert_eq!(register(&world, "dan", STRONG).await, Ok(()));
}

#[tokio::test]
async fn watchers_hear_of_each_account_and_the_newcomer_is_greeted_once() {
    let world = world(
        "access = \"all\"\nwatchers = [\"ops@localhost\", \"boss@other.example\"]\n\
         welcome_subject = \"Hello\"\nwelcome_body = \"\"\"\nYou are {jid}.\nThis is {host}.\n\"\"\"",
    );
    let (answered, sent) = ask(&world, submission("bill", STRONG), None).await;
    assert!(matches!(answered, Ok(Answered::Made(_))), "{answered:?}");
    assert_eq!(sent.len(), 2);
    for (sent, to) in sent.iter().zip(["ops@localhost", "boss@other.example"]) {
        for part in [
            "from='localhost'",
            &format!("to='{to}'"),
            "type='chat'",
            "New account bill@localhost: 2026-11-",
            "by in-band registration from 192.0.2.1.",
        ] {
            assert!(sent.contains(part), "{part}: {sent}");
        }
    }
    let bill = world.session("bill@localhost/phone").await;
    bill.send("<presence/>").await;
    let heard = bill.sent().concat();
    assert!(heard.contains("<subject>Hello</subject>"), "{heard}");
    assert!(
        heard.contains("<body>You are bill@localhost.\nThis is localhost.\n</body>"),
        "{heard}"
    );
    bill.send("<presence type='unavailable'/>").await;
    bill.send("<presence/>").await;
    assert!(!bill.sent().concat().contains("<subject>"));
}

#[tokio::test]
async fn operators_accounts_are_greeted_and_watched_too() {
    let world = world("welcome_body = \"Hello\"\nwatchers = [\"ops@localhost\"]");
    let ops = world.online("ops@localhost/desk").await;
    let add = async |name: &str, force| {
        let jid = BareJid::parse(name).unwrap();
        let new = New::by_operator(jid, Secret::new("pencil"), Door::Cli, force);
        accounts::create(&world.router, new, world.now()).await
    };
    add("anna@localhost", false).await.unwrap();
    assert!(ops.sent().concat().contains("New account anna@localhost"));
    let refused = add("abuse@localhost", false).await.unwrap_err();
    assert!(matches!(refused, NotMade::Refused(r) if r.because.contains("reserved name")));
    add("abuse@localhost", true).await.unwrap();
    let anna = world.session("anna@localhost/phone").await;
    anna.send("<presence/>").await;
    assert!(anna.sent().concat().contains("<body>Hello</body>"));
}

#[tokio::test]
async fn who_waits_for_approval_does_not_get_in() {
    let world = world("access = \"all\"\napproval = true\nwatchers = [\"ops@localhost\"]");
    let (_, sent) = ask(&world, submission("bill", STRONG), None).await;
    assert!(sent[0].contains("coucou registration approve bill@localhost"), "{sent:?}");
    let bill = BareJid::parse("bill@localhost").unwrap();
    let facts = async || world.router.store.facts(&bill).await.unwrap().unwrap();
    assert!(facts().await.locked && facts().await.waiting);
    world.router.store.registrations().approve(&bill).await.unwrap();
    assert!(!facts().await.locked);
    // Nobody answers for Eve, so she is gone after the time for it.
    register(&world, "eve", STRONG).await.unwrap();
    world.wait(Duration::from_secs(31 * 86_400));
    assert_eq!(accounts::tidy(&world.router, world.now()).await.unwrap(), 1);
    assert!(!exists(&world, "eve@localhost").await);
    assert!(exists(&world, "bill@localhost").await);
}

fn invitation(kind: InviteKind, name: Option<&str>) -> NewInvite {
    NewInvite {
        kind,
        host: "localhost".into(),
        inviter: Some(BareJid::parse("romeo@localhost").unwrap()),
        name: name.map(str::to_owned),
        registers: kind != InviteKind::Reset,
        subscribes: kind != InviteKind::Reset,
        groups: vec!["Verona".into()],
        note: String::new(),
        expires: Now(1_795_608_000_000_000).plus(Duration::from_secs(3600)),
        uses_max: 1,
    }
}

#[tokio::test]
async fn an_invitation_passes_a_closed_door_once_and_prefills_the_roster() {
    let world = world("");
    let romeo = world.online("romeo@localhost/orchard").await;
    let invites = world.router.store.invites();
    let (_, token) =
        invites.create(invitation(InviteKind::Contact, None), 10, world.now()).await.unwrap();
    assert!(invites.wait_at("localhost") && !invites.wait_at("other"));
    let present = async |token: &str| ask(&world, Asked::Token(Secret::new(token)), None).await.0;
    assert_eq!(present("BAD").await.unwrap_err().condition, Condition::ItemNotFound);
    let Ok(Answered::Invited(invite)) = present(token.reveal()).await else { panic!() };
    // Its expiry counted when it was presented, and a refusal does not use it up.
    world.wait(Duration::from_secs(7200));
    let weak = ask(&world, submission("juliet", "juliet"), Some(&invite)).await.0;
    assert_eq!(weak.unwrap_err().condition, Condition::NotAcceptable);
    let form = ask(&world, Asked::Wish(Wish::Form), Some(&invite)).await.0;
    assert!(matches!(form, Ok(Answered::Form(_))));
    let made = ask(&world, submission("juliet", STRONG), Some(&invite)).await.0;
    assert!(matches!(made, Ok(Answered::Made(_))), "{made:?}");
    let juliet = BareJid::parse("juliet@localhost").unwrap();
    let facts = world.router.store.facts(&juliet).await.unwrap().unwrap();
    assert!(facts.contact("romeo@localhost").unwrap().subscription.to());
    drop(romeo);
    let again = ask(&world, submission("nurse", STRONG), Some(&invite)).await.0.unwrap_err();
    assert_eq!(again.condition, Condition::NotAllowed);
    assert!(!exists(&world, "nurse@localhost").await);
}

#[tokio::test]
async fn a_link_for_a_new_password_sets_that_of_its_account() {
    let world = world("");
    let romeo = world.online("romeo@localhost/orchard").await;
    let invites = world.router.store.invites();
    let reset = invitation(InviteKind::Reset, Some("romeo"));
    let (_, token) = invites.create(reset, 10, world.now()).await.unwrap();
    let (answered, _) = ask(&world, Asked::Token(Secret::new(token.reveal())), None).await;
    let Ok(Answered::Invited(invite)) = answered else { panic!("{answered:?}") };
    let other = ask(&world, submission("juliet", STRONG), Some(&invite)).await.0;
    assert_eq!(other.unwrap_err().condition, Condition::NotAcceptable);
    let done = ask(&world, submission("romeo", STRONG), Some(&invite)).await.0;
    assert_eq!(done, Ok(Answered::Reset));
    let keys = world.router.store.accounts().keys(&romeo.session.jid.bare()).await.unwrap();
    assert_eq!(keys.len(), 1);
    assert!(!romeo.session.mailbox.take().1.is_empty(), "the session goes on");
    let again = ask(&world, submission("romeo", STRONG), Some(&invite)).await.0;
    assert!(again.is_err());
}

#[tokio::test]
async fn a_session_is_told_that_it_is_registered() {
    let world = world("");
    let bill = secure(&world, "bill@localhost/globe").await;
    for to in ["", " to='localhost'", " to='bill@localhost'"] {
        let get = format!("<iq type='get' id='reg1'{to}><query xmlns='jabber:iq:register'/></iq>");
        let told = bill.ask(&get).await;
        assert!(told.contains("<registered/>"), "{told}");
        assert!(told.contains("<username>bill</username><password/>"), "{told}");
    }
    let other = World::configured("[hosts.\"localhost\"]\n[hosts.\"other\"]\n");
    let bill = secure(&other, "bill@localhost/globe").await;
    let get = "<iq type='get' id='reg1' to='other'><query xmlns='jabber:iq:register'/></iq>";
    assert!(bill.ask(get).await.contains("<service-unavailable "));
}

#[tokio::test]
async fn a_new_password_keeps_the_session_that_set_it_and_ends_the_others() {
    let world = world("");
    let bill = secure(&world, "bill@localhost/globe").await;
    let phone = secure(&world, "bill@localhost/phone").await;
    bill.take();
    let change = |name: &str, password: &str| {
        format!(
            "<iq type='set' to='localhost' id='change1'><query xmlns='jabber:iq:register'>\
             <username>{name}</username><password>{password}</password></query></iq>"
        )
    };
    let keys = async || {
        let jid = BareJid::parse("bill@localhost").unwrap();
        world.router.store.accounts().keys(&jid).await.unwrap()
    };
    for (iq, condition, code) in [
        (change("bill", "newpass"), "not-acceptable", "406"),
        (change("bill", ""), "bad-request", "400"),
        (
            "<iq type='set' id='change1'><query xmlns='jabber:iq:register'><password>x</password></query></iq>".to_owned(),
            "bad-request",
            "400",
        ),
        // Another name would be another account.
        (change("juliet", STRONG), "service-unavailable", "503"),
    ] {
        let told = bill.ask(&iq).await;
        assert!(told.contains(&format!("<{condition} ")), "{iq}: {told}");
        assert!(told.contains(&format!("code='{code}'")), "{told}");
        assert!(!told.contains("jabber:iq:register"), "the original is not sent back: {told}");
    }
    assert!(keys().await.is_empty());
    let told = bill.ask(&change("bill", STRONG)).await;
    assert!(told.contains("type='result'") && told.contains("id='change1'"), "{told}");
    assert_eq!(keys().await.len(), 1);
    assert!(bill.session.mailbox.take().1.is_empty());
    assert_eq!(phone.session.mailbox.take().1.len(), 1, "the other session ends");
    // XEP-0077 §3.3: not where others could read it.
    bill.session.facts.lock().tls = "";
    let told = bill.ask(&change("bill", "another-Long-one-7")).await;
    assert!(told.contains("<not-authorized ") && told.contains("code='401'"), "{told}");
}

#[tokio::test]
async fn a_session_makes_other_accounts_where_it_may() {
    let world = world(
        "access = \"all\"\naccess_from = \"friends\"\n[acl]\nfriends = { user = \"bill@localhost\" }",
    );
    let submit = "<iq type='set' to='localhost' id='r'><query xmlns='jabber:iq:register'>\
                  <username>anna</username><password>7sgx-2eeb-ee7w-cfva</password></query></iq>";
    let eve = secure(&world, "eve@localhost/x").await;
    assert!(eve.ask(submit).await.contains("<forbidden "));
    let bill = secure(&world, "bill@localhost/x").await;
    assert!(bill.ask(submit).await.contains("type='result'"));
    assert!(exists(&world, "anna@localhost").await);
}

const REMOVE: &str =
    "<iq type='set' id='unreg1'><query xmlns='jabber:iq:register'><remove/></query></iq>";

#[tokio::test]
async fn removal_is_refused_as_the_rule_says() {
    let world_ = world("access_remove = \"near\"\n[acl]\nnear = { ip = \"192.0.2.0/24\" }");
    let bill = secure(&world_, "bill@localhost/globe").await;
    let bad = "<iq type='set' id='unreg1'><query xmlns='jabber:iq:register'><remove/><username/></query></iq>";
    assert!(bill.ask(bad).await.contains("<bad-request "));
    bill.session.facts.lock().address = Some("198.51.100.1:5".parse().unwrap());
    let told = bill.ask(REMOVE).await;
    assert!(told.contains("<forbidden ") && told.contains("type='cancel'"), "{told}");
    assert!(exists(&world_, "bill@localhost").await);
    bill.session.facts.lock().address = Some("192.0.2.7:5".parse().unwrap());
    assert!(bill.ask(REMOVE).await.contains("type='result'"));
    assert!(!exists(&world_, "bill@localhost").await);
    let never = world("access_remove = \"none\"");
    let bill = secure(&never, "bill@localhost/globe").await;
    assert!(bill.ask(REMOVE).await.contains("<not-allowed "));
    // Somebody else's server: nothing of theirs is here.
    let other = never.domain("other.example");
    never
        .arrives(
            "<iq type='set' id='u' from='romeo@other.example/x' to='localhost'>\
             <query xmlns='jabber:iq:register'><remove/></query></iq>",
        )
        .await;
    let told = wire(&crate::testing::drained(&other.mailbox)[0]);
    assert!(told.contains("<registration-required ") && told.contains("code='407'"), "{told}");
}

#[tokio::test]
async fn a_removed_account_comes_back_with_its_contacts_as_they_are_by_then() {
    let world = world("");
    let jid = |text: &str| BareJid::parse(text).unwrap();
    let bill = secure(&world, "bill@localhost/globe").await;
    let friends = ["anna@localhost", "cy@localhost"];
    for friend in friends {
        let friend = world.online(&format!("{friend}/desk")).await;
        friend.send("<presence to='bill@localhost' type='subscribe'/>").await;
        let to = friend.session.jid.bare();
        bill.send(&format!("<presence to='{to}' type='subscribed'/>")).await;
        bill.send(&format!("<presence to='{to}' type='subscribe'/>")).await;
        friend.send("<presence to='bill@localhost' type='subscribed'/>").await;
        friend.leaves().await;
    }
    let vcard = "<iq type='set' id='v'><vCard xmlns='vcard-temp'><FN>Bill</FN></vCard></iq>";
    assert!(bill.ask(vcard).await.contains("type='result'"));
    let anna = world.online("anna@localhost/desk").await;
    let cy = world.online("cy@localhost/desk").await;
    bill.take();

    bill.send(REMOVE).await;
    let (items, controls) = bill.session.mailbox.take();
    assert!(wire(&items.back().unwrap().stanza).contains("type='result'"));
    assert_eq!(controls.len(), 1, "XEP-0077 §3.2: the stream ends with an error");
    bill.leaves().await;
    assert!(anna.sent().concat().contains("type='unavailable'"), "contacts see it leave");
    // Not there for anybody, but nobody is told that a subscription has ended.
    anna.send("<message to='bill@localhost' id='m'><body>hi</body></message>").await;
    assert!(anna.sent().concat().contains("<service-unavailable "));
    anna.send("<presence type='unavailable'/>").await;
    anna.send("<presence/>").await;
    anna.send("<presence type='probe' to='bill@localhost'/>").await;
    assert!(!anna.sent().concat().contains("unsubscribed"));
    // One of the contacts goes meanwhile.
    cy.send("<presence to='bill@localhost' type='unsubscribe'/>").await;
    cy.send("<presence to='bill@localhost' type='unsubscribed'/>").await;

    accounts::restore(&world.router, &jid("bill@localhost"), world.now()).await.unwrap();
    anna.take();
    let bill = secure(&world, "bill@localhost/globe").await;
    assert!(anna.sent().concat().contains("from='bill@localhost/globe'"), "and come back");
    let get = "<iq type='get' id='v'><vCard xmlns='vcard-temp'/></iq>";
    assert!(bill.ask(get).await.contains("<FN>Bill</FN>"));
    let roster = "<iq type='get' id='r'><query xmlns='jabber:iq:roster'/></iq>";
    let roster = bill.ask(roster).await;
    assert!(roster.contains("jid='anna@localhost' subscription='both'"), "{roster}");
    assert!(roster.contains("jid='cy@localhost' subscription='none'"), "{roster}");
}

#[tokio::test]
async fn when_the_grace_is_over_the_account_is_erased_and_contacts_are_told() {
    let world = world("removal_grace = \"1d\"");
    let bill = secure(&world, "bill@localhost/globe").await;
    let anna = world.online("anna@localhost/desk").await;
    anna.send("<iq type='get' id='r'><query xmlns='jabber:iq:roster'/></iq>").await;
    anna.send("<presence to='bill@localhost' type='subscribe'/>").await;
    bill.send("<presence to='anna@localhost' type='subscribed'/>").await;
    bill.send(REMOVE).await;
    bill.leaves().await;
    assert_eq!(accounts::tidy(&world.router, world.now()).await.unwrap(), 0);
    assert_eq!(register_as_operator(&world, "bill@localhost").await, Err(Condition::Conflict));
    world.wait(Duration::from_secs(86_400));
    anna.take();
    assert_eq!(accounts::tidy(&world.router, world.now()).await.unwrap(), 1);
    assert!(anna.sent().concat().contains("type='unsubscribed'"));
    assert_eq!(register_as_operator(&world, "bill@localhost").await, Ok(()));
}

async fn register_as_operator(world: &World, jid: &str) -> Result<(), Condition> {
    let jid = BareJid::parse(jid).unwrap();
    let new = New::by_operator(jid, Secret::new("pencil"), Door::Cli, false);
    match accounts::create(&world.router, new, world.now()).await {
        Ok(_) => Ok(()),
        Err(NotMade::Refused(refused)) => Err(refused.condition),
        Err(NotMade::Store(error)) => panic!("{error}"),
    }
}

#[tokio::test]
async fn components_have_no_address_and_are_asked_for_by_rule() {
    let world = world("access = \"all\"\naccess_from = \"all\"\nip_access = \"loopback\"");
    let other = world.domain("other.example");
    world
        .arrives(
            "<iq type='get' id='u' from='romeo@other.example/x' to='localhost'>\
             <query xmlns='jabber:iq:register'/></iq>",
        )
        .await;
    let told = wire(&crate::testing::drained(&other.mailbox)[0]);
    assert!(told.contains("<forbidden "), "an unknown address is not loopback: {told}");
}
