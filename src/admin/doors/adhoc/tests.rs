//! The examples of XEP-0133, and what is the door's own.

use super::*;
use crate::admin::ops::testing;
use crate::store::audit::AuditQuery;
use crate::testing::{Player, World};

const CONFIG: &str = r#"
[acl]
admin = { user = ["bard@shakespeare.lit"] }
boss = { user = ["boss@shakespeare.lit"] }
[access]
configure = [{ allow = "admin" }, { allow = "boss" }]
[admin]
owners = "boss"
[hosts."shakespeare.lit"]
"#;

/// A server whose `bard` is an operator and whose `boss` is an owner; it lives as long as the
/// context.
fn world() -> (World, Context) {
    let world = World::configured(CONFIG);
    let context = testing::live(&world);
    install(context.server().unwrap());
    (world, context)
}

async fn command(player: &Player<'_>, node: &str, rest: &str) -> String {
    let command = format!(
        "<command xmlns='http://jabber.org/protocol/commands' node='{node}'{rest}</command>"
    );
    player.ask(&format!("<iq type='set' to='shakespeare.lit' id='c'>{command}</iq>")).await
}

async fn begin(player: &Player<'_>, node: &str) -> String {
    command(player, node, " action='execute'>").await
}

async fn admin(player: &Player<'_>, name: &str) -> String {
    begin(player, &format!("http://jabber.org/protocol/admin#{name}")).await
}

/// Begins a command and answers its form.
async fn fill(player: &Player<'_>, node: &str, fields: &[(&str, &[&str])]) -> String {
    let asked = begin(player, node).await;
    assert!(asked.contains("status='executing'"), "{asked}");
    let session = asked.split("sessionid='").nth(1).unwrap().split('\'').next().unwrap();
    let fields: String = fields
        .iter()
        .map(|(var, values)| {
            let values: String =
                values.iter().map(|value| format!("<value>{value}</value>")).collect();
            format!("<field var='{var}'>{values}</field>")
        })
        .collect();
    let form =
        format!(" sessionid='{session}'><x xmlns='jabber:x:data' type='submit'>{fields}</x>");
    command(player, node, &form).await
}

async fn admin_with(player: &Player<'_>, name: &str, fields: &[(&str, &[&str])]) -> String {
    fill(player, &format!("http://jabber.org/protocol/admin#{name}"), fields).await
}

const ITEMS: &str = "<iq type='get' to='shakespeare.lit' id='i'>\
    <query xmlns='http://jabber.org/protocol/disco#items' node='http://jabber.org/protocol/commands'/></iq>";

#[tokio::test]
async fn only_those_whom_the_rule_allows_see_the_commands() {
    let (world, _context) = world();
    let bard = world.session("bard@shakespeare.lit/globe").await;
    let boss = world.session("boss@shakespeare.lit/globe").await;
    let juliet = world.session("juliet@shakespeare.lit/balcony").await;
    let seen = bard.ask(ITEMS).await;
    for node in ["admin#add-user", "admin#get-online-users-num", "coucou/account.list"] {
        assert!(seen.contains(node), "{node}: {seen}");
    }
    // What could end everybody's access is the owners'.
    assert!(!seen.contains("admin#shutdown") && !seen.contains("coucou/server.stop"), "{seen}");
    let seen = boss.ask(ITEMS).await;
    assert!(seen.contains("admin#shutdown") && seen.contains("coucou/server.stop"), "{seen}");
    let seen = juliet.ask(ITEMS).await;
    assert!(!seen.contains("admin#") && !seen.contains("coucou/"), "{seen}");
    for (player, node) in [
        (&juliet, "http://jabber.org/protocol/admin#add-user"),
        (&juliet, "coucou/account.list"),
        (&bard, "http://jabber.org/protocol/admin#shutdown"),
        (&bard, "coucou/server.stop"),
    ] {
        let refused = begin(player, node).await;
        assert!(refused.contains("<forbidden"), "{node}: {refused}");
    }
    let unknown = admin(&bard, "get-user-password").await;
    assert!(unknown.contains("<item-not-found"), "{unknown}");
}

#[tokio::test]
async fn a_user_is_added_disabled_enabled_and_deleted() {
    let (world, context) = world();
    let bard = world.session("bard@shakespeare.lit/globe").await;
    let form = admin(&bard, "add-user").await;
    for part in [
        "<value>http://jabber.org/protocol/admin</value>",
        "var='accountjid' type='jid-single'",
        "var='password' type='text-private'",
        "var='password-verify' type='text-private'",
    ] {
        assert!(form.contains(part), "{part}: {form}");
    }
    let account = |jid: &'static str| {
        [("accountjid", jid), ("password", "R0m30-and-I"), ("password-verify", "R0m30-and-I")]
    };
    let add = async |jid: &'static str, verify: &'static str| {
        let mut fields = account(jid).to_vec();
        fields[2].1 = verify;
        let fields: Vec<(&str, Vec<&str>)> =
            fields.into_iter().map(|(var, value)| (var, vec![value])).collect();
        let fields: Vec<(&str, &[&str])> =
            fields.iter().map(|(var, values)| (*var, values.as_slice())).collect();
        admin_with(&bard, "add-user", &fields).await
    };
    let refused = add("juliet@shakespeare.lit", "other").await;
    assert!(refused.contains("<bad-payload"), "{refused}");
    let done = add("juliet@shakespeare.lit", "R0m30-and-I").await;
    assert!(done.contains("status='completed'"), "{done}");
    assert!(add("juliet@shakespeare.lit", "R0m30-and-I").await.contains("<conflict"));
    assert!(add("juliet@elsewhere.example", "R0m30-and-I").await.contains("<item-not-found"));
    let count = async |name: &str| admin(&bard, name).await;
    // The bard himself, and she.
    assert!(count("get-registered-users-num").await.contains("<value>2</value>"));
    let jids: (&str, &[&str]) = ("accountjids", &["juliet@shakespeare.lit"]);
    let done = admin_with(&bard, "disable-user", &[jids]).await;
    assert!(done.contains("status='completed'"), "{done}");
    assert!(count("get-disabled-users-num").await.contains("<value>1</value>"));
    let list = admin_with(&bard, "get-disabled-users-list", &[("max_items", &["25"])]).await;
    assert!(list.contains("var='disableduserjids'"), "{list}");
    assert!(list.contains("<value>juliet@shakespeare.lit</value>"), "{list}");
    admin_with(&bard, "reenable-user", &[jids]).await;
    assert!(count("get-disabled-users-num").await.contains("<value>0</value>"));
    let list = admin_with(&bard, "get-registered-users-list", &[]).await;
    assert!(list.contains("<value>bard@shakespeare.lit</value>"), "{list}");
    let last = admin_with(&bard, "get-user-lastlogin", &[jids]).await;
    assert!(last.contains("has never been here"), "{last}");
    let some: (&str, &[&str]) =
        ("accountjids", &["juliet@shakespeare.lit", "nobody@shakespeare.lit"]);
    let partly = admin_with(&bard, "delete-user", &[some]).await;
    assert!(partly.contains("<note type='error'>nobody@shakespeare.lit: "), "{partly}");
    assert!(count("get-registered-users-num").await.contains("<value>1</value>"));
    assert!(admin_with(&bard, "delete-user", &[some]).await.contains("<item-not-found"));
    // All of it is in the audit, without the password.
    let query =
        AuditQuery { who: "jid=bard@shakespeare.lit".into(), max: 100, ..Default::default() };
    let acts = context.store().audit().list(query).await.unwrap();
    assert!(acts.iter().any(|(_, act)| act.what == "account.add" && act.from == "ad-hoc"));
    assert!(acts.iter().any(|(_, act)| act.what == "account.remove"));
    assert!(!acts.iter().any(|(_, act)| act.detail.contains("R0m30")));
}

#[tokio::test]
async fn who_is_online_is_counted_and_listed() {
    let (world, _context) = world();
    let bard = world.online("bard@shakespeare.lit/globe").await;
    let juliet = world.online("juliet@shakespeare.lit/balcony").await;
    juliet.session.heard.store(Now::read().secs(), std::sync::atomic::Ordering::Relaxed);
    assert!(admin(&bard, "get-online-users-num").await.contains("<value>2</value>"));
    assert!(admin(&bard, "get-active-users-num").await.contains("<value>1</value>"));
    assert!(admin(&bard, "get-idle-users-num").await.contains("<value>1</value>"));
    let list = admin_with(&bard, "get-online-users-list", &[("max_items", &["none"])]).await;
    assert!(list.contains("var='onlineuserjids'") && list.contains("juliet@"), "{list}");
    let list = admin_with(&bard, "get-active-users", &[]).await;
    assert!(list.contains("juliet@") && !list.contains("bard@shakespeare.lit</value>"), "{list}");
    let stats =
        admin_with(&bard, "user-stats", &[("accountjid", &["juliet@shakespeare.lit"])]).await;
    assert!(stats.contains("<value>balcony</value>"), "{stats}");
    let jids: (&str, &[&str]) = ("accountjids", &["juliet@shakespeare.lit/balcony"]);
    let done = admin_with(&bard, "end-user-session", &[jids]).await;
    assert!(done.contains("status='completed'"), "{done}");
}

#[tokio::test]
async fn announcements_reach_those_online_and_the_motd_those_who_come() {
    let (world, _context) = world();
    let bard = world.online("bard@shakespeare.lit/globe").await;
    let juliet = world.online("juliet@shakespeare.lit/balcony").await;
    world.account("romeo@shakespeare.lit").await;
    let text: &[&str] = &["The play begins", "at nine"];
    let done = admin_with(&bard, "announce", &[("announcement", text)]).await;
    assert!(done.contains("Sent to 2 sessions"), "{done}");
    let heard = juliet.sent();
    assert!(heard[0].contains("type='headline'"), "{heard:?}");
    assert!(heard[0].contains("<body>The play begins\nat nine</body>"), "{heard:?}");
    admin_with(&bard, "set-motd", &[("motd", &["Welcome"])]).await;
    assert!(juliet.sent()[0].contains("<body>Welcome</body>"));
    let form = admin(&bard, "edit-motd").await;
    assert!(form.contains("<value>Welcome</value>"), "{form}");
    let romeo = world.session("romeo@shakespeare.lit/orchard").await;
    romeo.send("<presence/>").await;
    assert!(romeo.sent().iter().any(|stanza| stanza.contains("<body>Welcome</body>")));
    assert!(admin(&bard, "delete-motd").await.contains("Deleted"));
    assert!(admin(&bard, "delete-motd").await.contains("There was none"));
}

#[tokio::test]
async fn messages_to_announce_are_announcements_of_those_who_may() {
    let (world, context) = world();
    let bard = world.online("bard@shakespeare.lit/globe").await;
    let juliet = world.online("juliet@shakespeare.lit/balcony").await;
    let to = |resource: &str| {
        format!(
            "<message to='shakespeare.lit/announce/{resource}' id='m'><subject>News</subject><body>Hark</body></message>"
        )
    };
    assert!(juliet.ask(&to("online")).await.contains("<service-unavailable"));
    bard.send(&to("online")).await;
    assert!(juliet.sent()[0].contains("<subject>News</subject><body>Hark</body>"));
    bard.take();
    let romeo = world.account("romeo@shakespeare.lit").await;
    bard.send(&to("all")).await;
    assert_eq!(context.store().offline().count(romeo).await.unwrap(), 1);
    bard.send(&to("motd/update")).await;
    let motd = context.store().motd().get("shakespeare.lit").await.unwrap();
    assert_eq!(motd.unwrap().body, "Hark");
    bard.send("<message to='shakespeare.lit/announce/all-hosts/motd/delete'/>").await;
    assert_eq!(context.store().motd().get("shakespeare.lit").await.unwrap(), None);
    // A chat state is no announcement.
    bard.take();
    let state = "<message to='shakespeare.lit/announce/all' id='s'>\
                 <composing xmlns='http://jabber.org/protocol/chatstates'/></message>";
    assert!(bard.ask(state).await.contains("<service-unavailable"));
}

#[tokio::test]
async fn every_operation_is_a_command_with_its_own_form() {
    let (world, _context) = world();
    let bard = world.session("bard@shakespeare.lit/globe").await;
    world.account("juliet@shakespeare.lit").await;
    let form = begin(&bard, "coucou/account.lock").await;
    assert!(form.contains("var='jid' type='jid-single'"), "{form}");
    let done = fill(
        &bard,
        "coucou/account.lock",
        &[("jid", &["juliet@shakespeare.lit"]), ("reason", &["poison"])],
    )
    .await;
    assert!(done.contains("status='completed'"), "{done}");
    let list = fill(&bard, "coucou/account.list", &[("host", &["shakespeare.lit"])]).await;
    assert!(list.contains("<reported>") && list.contains("<value>poison</value>"), "{list}");
    // What looks and asks nothing answers at once.
    let status = begin(&bard, "coucou/server.status").await;
    assert!(status.contains("status='completed'"), "{status}");
    let refused = fill(&bard, "coucou/account.list", &[("max", &["many"])]).await;
    assert!(refused.contains("<bad-payload") && refused.contains("a whole number"), "{refused}");
    let form = begin(&bard, "coucou/account.add").await;
    assert!(form.contains("var='password' type='text-private'"), "{form}");
}
