//! The examples of the specification, played with its own commands: `list` in one step, `config` in
//! two stages.

use super::*;
use crate::stanza::forms::FieldType;
use crate::testing::{Player, World};

struct Examples;

impl Examples {
    fn name(node: &str) -> Option<&'static str> {
        match node {
            "list" => Some("List Service Configurations"),
            "config" => Some("Configure Service"),
            "reset" => Some("Reset Service Configuration"),
            _ => None,
        }
    }
}

impl Provider for Examples {
    fn list(&self, cx: &Ctx<'_>) -> Vec<Listing> {
        let visible = |node: &&str| matches!(self.find(cx, node), Found::Command(_));
        ["list", "config", "reset"]
            .iter()
            .filter(|node| visible(node))
            .map(|node| Listing {
                node: (*node).to_owned(),
                name: Examples::name(node).unwrap_or_default().to_owned(),
            })
            .collect()
    }

    fn find(&self, cx: &Ctx<'_>, node: &str) -> Found {
        match Examples::name(node) {
            None => Found::Nothing,
            Some(_) if node == "reset" && cx.from.jid().local() != Some("admin") => {
                Found::Forbidden
            }
            Some(name) => Found::Command(Listing { node: node.to_owned(), name: name.to_owned() }),
        }
    }

    fn run<'a>(&'a self, _: &'a Ctx<'a>, node: &'a str, answers: &'a [Form]) -> Running<'a> {
        let service = answers.first().and_then(|form| form.value("service"));
        let stage = match (node, answers.len()) {
            ("list", _) => Stage::done(Form::new(FormKind::Result).title("Available Services")),
            ("config", 0) => Stage::Ask {
                form: Form::new(FormKind::Form).title("Configure Service").field(
                    Field::new(FieldType::ListSingle, "service")
                        .required()
                        .option("httpd", None)
                        .option("jabberd", None),
                ),
                last: false,
            },
            ("config", 1) => Stage::ask(
                Form::new(FormKind::Form)
                    .instructions(format!("The state for {:?}.", service.unwrap_or_default()))
                    .field(
                        Field::new(FieldType::ListSingle, "state")
                            .option("on", None)
                            .option("off", None),
                    ),
            ),
            ("config", _) if answers[1].value("state") == Some("off") => {
                return Box::pin(async { Err(StanzaError::new(Condition::Conflict)) });
            }
            ("config", _) => {
                Stage::said(format!("Service '{}' has been configured.", service.unwrap_or("")))
            }
            _ => Stage::Done { form: None, notes: Vec::new(), more: Vec::new() },
        };
        Box::pin(std::future::ready(Ok(stage)))
    }
}

fn world() -> World {
    let world = World::new();
    install(&world.router, Arc::new(Examples));
    world
}

async fn run(player: &Player<'_>, attributes: &str, payload: &str) -> String {
    let command = format!(
        "<command xmlns='http://jabber.org/protocol/commands' {attributes}>{payload}</command>"
    );
    player.ask(&format!("<iq type='set' to='localhost' id='exec'>{command}</iq>")).await
}

fn submit(var: &str, value: &str) -> String {
    let field = format!("<field var='{var}'><value>{value}</value></field>");
    format!("<x xmlns='jabber:x:data' type='submit'>{field}</x>")
}

fn session_of(answer: &str) -> String {
    let rest = answer.split("sessionid='").nth(1).expect("a session");
    rest.split('\'').next().unwrap().to_owned()
}

#[tokio::test]
async fn commands_are_discovered_by_those_who_may_use_them() {
    let world = world();
    let alice = world.session("alice@localhost/a").await;
    let admin = world.session("admin@localhost/a").await;
    let info = "<iq type='get' to='localhost' id='i'><query xmlns='http://jabber.org/protocol/disco#info'/></iq>";
    let answer = alice.ask(info).await;
    assert!(answer.contains("<feature var='http://jabber.org/protocol/commands'/>"), "{answer}");
    let items = "<iq type='get' to='localhost' id='i'><query xmlns='http://jabber.org/protocol/disco#items' \
                 node='http://jabber.org/protocol/commands'/></iq>";
    let answer = alice.ask(items).await;
    assert!(
        answer.contains("<item jid='localhost' node='config' name='Configure Service'/>"),
        "{answer}"
    );
    assert!(!answer.contains("reset"), "{answer}");
    assert!(admin.ask(items).await.contains("node='reset'"));
    let of = async |player: &Player<'_>, node: &str| {
        let query = format!("<query xmlns='http://jabber.org/protocol/disco#info' node='{node}'/>");
        player.ask(&format!("<iq type='get' to='localhost' id='i'>{query}</iq>")).await
    };
    let answer = of(&alice, "config").await;
    for part in [
        "node='config'",
        "<identity category='automation' type='command-node' name='Configure Service'/>",
        "<feature var='http://jabber.org/protocol/commands'/>",
        "<feature var='jabber:x:data'/>",
    ] {
        assert!(answer.contains(part), "{answer}");
    }
    assert!(of(&alice, "reset").await.contains("<forbidden"));
    assert!(of(&alice, "nothing").await.contains("<item-not-found"));
    assert!(of(&alice, ns::COMMANDS).await.contains("type='command-list'"));
    // Another server's user sees no commands.
    let there = world.domain("elsewhere.example");
    world.arrives(&items.replace("<iq ", "<iq from='eve@elsewhere.example/x' ")).await;
    let answer = crate::testing::wire(&crate::testing::drained(&there.mailbox)[0]);
    assert!(answer.contains("type='result'") && !answer.contains("<item "), "{answer}");
}

#[tokio::test]
async fn a_simple_command_ends_with_its_result() {
    let world = world();
    let alice = world.session("alice@localhost/a").await;
    let answer = run(&alice, "node='list' action='execute'", "").await;
    assert!(answer.contains("status='completed' xml:lang='en'"), "{answer}");
    assert!(answer.contains("<title>Available Services</title>"), "{answer}");
    // Its session has ended.
    let id = session_of(&answer);
    let answer = run(&alice, &format!("node='list' sessionid='{id}'"), "").await;
    assert!(answer.contains("<not-allowed") && answer.contains("<session-expired"), "{answer}");
}

#[tokio::test]
async fn stages_go_forth_and_back_and_to_their_end() {
    let world = world();
    let alice = world.session("alice@localhost/a").await;
    let first = run(&alice, "node='config'", "").await;
    assert!(first.contains("status='executing'"), "{first}");
    assert!(first.contains("<actions execute='next'><next/></actions>"), "{first}");
    let session = format!("node='config' sessionid='{}'", session_of(&first));
    let second = run(&alice, &session, &submit("service", "httpd")).await;
    assert!(
        second.contains("<actions execute='complete'><prev/><complete/></actions>"),
        "{second}"
    );
    assert!(second.contains("The state for \"httpd\""), "{second}");
    let back = run(&alice, &format!("{session} action='prev'"), "").await;
    assert!(back.contains("<actions execute='next'><next/></actions>"), "{back}");
    assert!(back.contains("<value>httpd</value><option>"), "what was chosen is shown: {back}");
    let action = format!("{session} action='next'");
    let second = run(&alice, &action, &submit("service", "jabberd")).await;
    assert!(second.contains("The state for \"jabberd\""), "{second}");
    // An answer that the command refuses can be given anew.
    let refused = run(&alice, &session, &submit("state", "off")).await;
    assert!(refused.contains("<conflict"), "{refused}");
    let done = run(&alice, &format!("{session} action='complete'"), &submit("state", "on")).await;
    assert!(done.contains("status='completed'"), "{done}");
    assert!(
        done.contains("<note type='info'>Service 'jabberd' has been configured.</note>"),
        "{done}"
    );
}

#[tokio::test]
async fn a_command_is_cancelled() {
    let world = world();
    let alice = world.session("alice@localhost/a").await;
    let session = session_of(&run(&alice, "node='config'", "").await);
    let session = format!("node='config' sessionid='{session}'");
    let answer = run(&alice, &format!("{session} action='cancel'"), "").await;
    assert!(answer.contains("status='canceled'") && answer.contains("type='result'"), "{answer}");
    assert!(run(&alice, &session, "").await.contains("<session-expired"));
}

#[tokio::test]
async fn what_is_wrong_has_its_condition() {
    let world = world();
    let alice = world.session("alice@localhost/a").await;
    let bob = world.session("bob@localhost/b").await;
    let session = session_of(&run(&alice, "node='config'", "").await);
    let session = format!("node='config' sessionid='{session}'");
    let other_node = session.replace("config", "list");
    for (attributes, payload, condition) in [
        ("node='config' action='jump'".to_owned(), String::new(), "malformed-action"),
        ("node='config' action='next'".to_owned(), String::new(), "bad-action"),
        (format!("{session} action='prev'"), String::new(), "bad-action"),
        (format!("{session} action='complete'"), submit("service", "httpd"), "bad-action"),
        (session.clone(), String::new(), "bad-payload"),
        (session.clone(), submit("service", "ftpd"), "bad-payload"),
        (session.clone(), submit("service", "httpd").replace("submit", "form"), "bad-payload"),
        (session.clone(), "<x xmlns='jabber:x:data'/>".to_owned(), "bad-payload"),
        (other_node, String::new(), "bad-sessionid"),
        ("node='config' sessionid='made-up'".to_owned(), String::new(), "bad-sessionid"),
        ("node='list' xml:lang='no such tongue'".to_owned(), String::new(), "bad-locale"),
    ] {
        let answer = run(&alice, &attributes, &payload).await;
        assert!(answer.contains("type='modify'") && answer.contains("<bad-request"), "{answer}");
        let app = format!("<{condition} xmlns='http://jabber.org/protocol/commands'/>");
        assert!(answer.contains(&app), "{attributes}: {answer}");
    }
    assert!(run(&bob, &session, "").await.contains("<bad-sessionid"), "not another's session");
    assert!(run(&alice, "node='nothing'", "").await.contains("<item-not-found"));
    assert!(run(&alice, "node='reset'", "").await.contains("<forbidden"));
    assert!(run(&alice, "", "").await.contains("<bad-request"));
    // None of it has harmed the session; a language that nobody speaks here is answered in English.
    let french = format!("{session} xml:lang='fr-CA'");
    let answer = run(&alice, &french, &submit("service", "httpd")).await;
    assert!(answer.contains("status='executing' xml:lang='en'"), "{answer}");
}

#[tokio::test]
async fn sessions_end_by_age_and_the_oldest_of_an_account_gives_way() {
    let world = world();
    let alice = world.session("alice@localhost/a").await;
    let first = session_of(&run(&alice, "node='config'", "").await);
    let first = format!("node='config' sessionid='{first}'");
    world.wait(TALK_AGE_MAX + Duration::from_secs(1));
    let late = run(&alice, &first, &submit("service", "httpd")).await;
    assert!(late.contains("<session-expired"), "{late}");
    let mut ids = Vec::new();
    for _ in 0..=TALKS_PER_ACCOUNT_MAX {
        ids.push(session_of(&run(&alice, "node='config'", "").await));
    }
    let go_on = async |id: &str| {
        let session = format!("node='config' sessionid='{id}'");
        run(&alice, &session, &submit("service", "httpd")).await
    };
    assert!(go_on(&ids[0]).await.contains("<session-expired"));
    assert!(go_on(&ids[1]).await.contains("status='executing'"));
    let desk = world.router.places.get::<Desk>();
    assert_eq!(desk.talks.lock().open.len(), TALKS_PER_ACCOUNT_MAX);
}
