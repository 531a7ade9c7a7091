use super::*;
use crate::testing::{Player, World, drained, wire};

/// `admin` may invite people to make accounts.
const CONFIG: &str = r#"
[acl]
admin = { user = ["admin@localhost"] }
[hosts."localhost".invites]
page = "https://localhost/invite/{token}"
open_max = 3
uses_max = 5
lifetime = "1h"
[hosts."other.example"]
"#;

fn world() -> World {
    World::configured(CONFIG)
}

async fn run(player: &Player<'_>, node: &str, payload: &str) -> String {
    let command = format!(
        "<command xmlns='http://jabber.org/protocol/commands' node='{node}'>{payload}</command>"
    );
    player.ask(&format!("<iq type='set' to='localhost' id='exec'>{command}</iq>")).await
}

/// Begins the command and answers its form.
async fn create(player: &Player<'_>, fields: &[(&str, &str)]) -> String {
    let asked = run(player, ns::CREATE_ACCOUNT_COMMAND, "").await;
    let session = asked.split("sessionid='").nth(1).expect("a form").split('\'').next().unwrap();
    let fields: String = fields
        .iter()
        .map(|(var, value)| format!("<field var='{var}'><value>{value}</value></field>"))
        .collect();
    let form = format!("<x xmlns='jabber:x:data' type='submit'>{fields}</x>");
    player
        .ask(&format!(
            "<iq type='set' to='localhost' id='exec2'><command xmlns='http://jabber.org/protocol/commands' \
             node='{}' sessionid='{session}'>{form}</command></iq>",
            ns::CREATE_ACCOUNT_COMMAND
        ))
        .await
}

fn value<'a>(answer: &'a str, var: &str) -> &'a str {
    let field = answer.split(&format!("var='{var}'")).nth(1).expect(var);
    field.split("<value>").nth(1).unwrap().split("</value>").next().unwrap()
}

fn token(answer: &str) -> &str {
    value(answer, "landing-url").strip_prefix("https://localhost/invite/").unwrap()
}

fn subscribe(from: &str, to: &str, token: &str) -> String {
    format!(
        "<presence from='{from}' to='{to}' type='subscribe'><preauth xmlns='urn:xmpp:pars:0' token='{token}'/></presence>"
    )
}

#[tokio::test]
async fn a_user_invites_a_contact() {
    let world = world();
    let romeo = world.session("romeo@localhost/orchard").await;
    let items = "<iq type='get' to='localhost' id='i'><query xmlns='http://jabber.org/protocol/disco#items' \
                 node='http://jabber.org/protocol/commands'/></iq>";
    let listed = romeo.ask(items).await;
    assert!(listed.contains("node='urn:xmpp:invite#invite' name='Invite user'"), "{listed}");
    assert!(!listed.contains("create-account"), "{listed}");
    let answer = run(&romeo, ns::INVITE_COMMAND, "").await;
    assert!(answer.contains("status='completed'"), "{answer}");
    assert_eq!(value(&answer, "FORM_TYPE"), "urn:xmpp:invite#invitation");
    let token = token(&answer);
    assert_eq!(value(&answer, "uri"), format!("xmpp:romeo@localhost?roster;preauth={token}"));
    assert_eq!(value(&answer, "expire"), world.now().plus(Duration::from_secs(3600)).to_xmpp());
    assert!(run(&romeo, ns::CREATE_ACCOUNT_COMMAND, "").await.contains("<forbidden"));
    // An account of another host of ours invites to its own.
    let other = world.session("romeo@other.example/x").await;
    assert!(run(&other, ns::INVITE_COMMAND, "").await.contains("<forbidden"));
}

#[tokio::test]
async fn open_invitations_are_bounded() {
    let world = world();
    let romeo = world.session("romeo@localhost/orchard").await;
    for _ in 0..3 {
        assert!(run(&romeo, ns::INVITE_COMMAND, "").await.contains("completed"));
    }
    let refused = run(&romeo, ns::INVITE_COMMAND, "").await;
    assert!(refused.contains("<policy-violation") && refused.contains("You have 3"), "{refused}");
    world.wait(Duration::from_secs(3601));
    assert!(run(&romeo, ns::INVITE_COMMAND, "").await.contains("completed"));
}

#[tokio::test]
async fn an_admin_invites_to_an_account() {
    let world = world();
    let admin = world.session("admin@localhost/x").await;
    let asked = run(&admin, ns::CREATE_ACCOUNT_COMMAND, "").await;
    assert!(asked.contains("status='executing'"), "{asked}");
    assert!(asked.contains("<actions execute='complete'><complete/></actions>"), "{asked}");
    assert!(asked.contains("var='username' type='text-single'"), "{asked}");
    assert!(asked.contains("var='roster-subscription' type='boolean'"), "{asked}");
    let made = create(&admin, &[("username", "Juliet")]).await;
    let uri = format!("xmpp:juliet@localhost?register;preauth={}", token(&made));
    assert_eq!(value(&made, "uri"), uri);
    let made = create(&admin, &[("username", "")]).await;
    assert!(value(&made, "uri").starts_with("xmpp:localhost?register;preauth="), "{made}");
    for (fields, told) in [
        (&[("username", "juliet")][..], "<conflict"),
        (&[("username", "admin")], "<conflict"),
        (&[("username", "a b")], "<bad-payload"),
        (&[("username", "a@b")], "<bad-payload"),
        (&[("lifetime", "soon")], "<bad-payload"),
        (&[("lifetime", "10000d")], "<bad-payload"),
        (&[("uses", "6")], "<bad-payload"),
        (&[("uses", "0")], "<bad-payload"),
        (&[("uses", "many")], "<bad-request"),
        (&[("username", "x"), ("uses", "2")], "<bad-payload"),
    ] {
        let refused = create(&admin, fields).await;
        assert!(refused.contains(told), "{fields:?}: {refused}");
    }
    // His invited contacts may have an account here.
    let made = run(&admin, ns::INVITE_COMMAND, "").await;
    assert!(value(&made, "uri").ends_with(";ibr=y"), "{made}");
}

#[tokio::test]
async fn a_stranger_with_the_token_becomes_a_contact_at_once() {
    let world = world();
    let there = world.domain("capulet.example");
    let romeo = world.online("romeo@localhost/orchard").await;
    romeo.ask("<iq type='get' id='r'><query xmlns='jabber:iq:roster'/></iq>").await;
    let made = run(&romeo, ns::INVITE_COMMAND, "").await;
    world.arrives(&subscribe("juliet@capulet.example", "romeo@localhost", token(&made))).await;
    let sent = romeo.sent();
    assert!(!sent.iter().any(|stanza| stanza.contains("type='subscribe'")), "{sent:?}");
    let last = sent.last().expect("a push");
    assert!(
        last.contains("jid='juliet@capulet.example' subscription='from' ask='subscribe'"),
        "{sent:?}"
    );
    let back: Vec<String> = drained(&there.mailbox).iter().map(|stanza| wire(stanza)).collect();
    let types =
        ["type='subscribed'", "<presence from='romeo@localhost/orchard'", "type='subscribe'"];
    for part in types {
        assert!(back.iter().any(|stanza| stanza.contains(part)), "{part}: {back:?}");
    }
    world
        .arrives("<presence from='juliet@capulet.example' to='romeo@localhost' type='subscribed'/>")
        .await;
    let push = romeo.sent();
    assert!(push.iter().any(|stanza| stanza.contains("subscription='both'")), "{push:?}");
    // It was for one.
    world.arrives(&subscribe("paris@capulet.example", "romeo@localhost", token(&made))).await;
    let sent = romeo.sent();
    assert!(sent[0].contains("type='subscribe'") && sent[0].contains("paris"), "{sent:?}");
}

#[tokio::test]
async fn a_token_that_does_not_do_is_as_good_as_none() {
    let world = world();
    world.domain("capulet.example");
    let romeo = world.online("romeo@localhost/orchard").await;
    let mercutio = world.online("mercutio@localhost/x").await;
    let made = run(&romeo, ns::INVITE_COMMAND, "").await;
    let own = token(&made);
    // To somebody else, made up, none at all.
    for (n, (to, token)) in
        [("mercutio@localhost", own), ("romeo@localhost", "madeup"), ("romeo@localhost", "")]
            .into_iter()
            .enumerate()
    {
        let from = format!("u{n}@capulet.example");
        world.arrives(&subscribe(&from, to, token)).await;
        let player = if to.starts_with('m') { &mercutio } else { &romeo };
        let sent = player.sent();
        assert!(sent.iter().any(|stanza| stanza.contains("type='subscribe'")), "{sent:?}");
    }
    world.wait(Duration::from_secs(3600));
    world.arrives(&subscribe("late@capulet.example", "romeo@localhost", own)).await;
    assert!(romeo.sent().iter().any(|stanza| stanza.contains("type='subscribe'")));
    let left = world.router.store.invites().list(None, None, None, 9).await.unwrap();
    assert_eq!(left[0].uses, 0);
}

#[tokio::test]
async fn two_of_the_same_server_are_friends_in_one_round() {
    let world = world();
    let romeo = world.online("romeo@localhost/orchard").await;
    let juliet = world.online("juliet@localhost/balcony").await;
    let made = run(&romeo, ns::INVITE_COMMAND, "").await;
    // XEP-0379 §3.4: the request, and the pre-approval.
    let request = subscribe("", "romeo@localhost", token(&made)).replace("from='' ", "");
    juliet.send(&request).await;
    juliet.send("<presence to='romeo@localhost' type='subscribed'/>").await;
    let roster = "<iq type='get' id='r'><query xmlns='jabber:iq:roster'/></iq>";
    for (player, other) in [(&romeo, "juliet@localhost"), (&juliet, "romeo@localhost")] {
        let roster = player.ask(roster).await;
        assert!(roster.contains(&format!("jid='{other}' subscription='both'")), "{roster}");
    }
}

#[tokio::test]
async fn who_makes_an_account_by_invitation_finds_the_inviter() {
    let world = world();
    let admin = world.online("admin@localhost/x").await;
    admin.ask("<iq type='get' id='r'><query xmlns='jabber:iq:roster'/></iq>").await;
    let made =
        create(&admin, &[("roster-subscription", "1"), ("groups", "Verona"), ("uses", "2")]).await;
    let token = InviteToken::presented(token(&made)).unwrap();
    let host = world.router.host("localhost").unwrap();
    let invite = presented(&world.router, &host, token.reveal(), world.now()).await.unwrap();
    let invite = invite.expect("an open invitation");
    let other = world.router.host("other.example").unwrap();
    let elsewhere = presented(&world.router, &other, token.reveal(), world.now()).await.unwrap();
    assert_eq!(elsewhere, None);
    let juliet = BareJid::parse("juliet@localhost").unwrap();
    let invites = world.router.store.invites();
    let (_, invite) = invites.register(invite.id, &juliet, Vec::new(), world.now()).await.unwrap();
    let out = Outbox::default();
    welcome(&world.router, &host, &invite, &juliet, &out, world.now()).await.unwrap();
    crate::delivery::route::drain(&world.router, out, world.now()).await;
    let heard = admin.sent();
    let push = "<item jid='juliet@localhost' subscription='both'><group>Verona</group></item>";
    assert!(heard.iter().any(|stanza| stanza.contains(push)), "{heard:?}");
    assert!(heard.iter().any(|stanza| stanza.contains("juliet@localhost has made")), "{heard:?}");
    let juliet = world.session("juliet@localhost/balcony").await;
    let roster = juliet.ask("<iq type='get' id='r'><query xmlns='jabber:iq:roster'/></iq>").await;
    let item = "<item jid='admin@localhost' subscription='both'><group>Verona</group></item>";
    assert!(roster.contains(item), "{roster}");
    juliet.send("<presence/>").await;
    assert!(juliet.sent().iter().any(|stanza| stanza.contains("from='admin@localhost/x'")));
    assert!(admin.sent().iter().any(|stanza| stanza.contains("from='juliet@localhost/balcony'")));
}

#[test]
fn what_a_uri_must_escape_is_escaped() {
    for (part, escaped) in [
        ("romeo", "romeo"),
        ("o\\27neill", "o%5C27neill"),
        ("a;b=c?d#e%f+g", "a%3Bb%3Dc%3Fd%23e%25f%2Bg"),
        ("julië", "juli%C3%AB"),
        ("例え.example", "%E4%BE%8B%E3%81%88.example"),
        ("[2001:db8::1]", "[2001:db8::1]"),
    ] {
        assert_eq!(escape(part), escaped);
    }
}
