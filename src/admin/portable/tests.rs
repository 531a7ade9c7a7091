//! What goes out comes in again, and what is wrong changes nothing.

use std::path::PathBuf;

use tempfile::TempDir;

use super::import::{Existing, Imported, import};
use super::{export, read};
use crate::admin::Context;
use crate::admin::op::{Refusal, RefusalKind};
use crate::auth::credentials::Password;
use crate::auth::hash::Hash;
use crate::auth::{ScramKeys, secret::Secret};
use crate::jid::{BareJid, Jid};
use crate::store::archive::ArchiveQuery;
use crate::store::{MessageFlags, MessageRow, Store, StoreOptions};
use crate::time::Now;
use std::sync::Arc;

fn jid(text: &str) -> BareJid {
    BareJid::parse(text).unwrap()
}

fn context() -> (TempDir, Context) {
    let dir = tempfile::tempdir().unwrap();
    let text = "[hosts.\"a.org\"]\n[hosts.\"b.org\"]\n";
    let config = crate::config::parse(text, &dir.path().join("coucou.toml")).unwrap().config;
    let store = Store::open(dir.path(), StoreOptions::default()).unwrap();
    (dir, Context::offline(store, Arc::new(config)))
}

async fn read_in(cx: &Context, dir: &TempDir, xml: &str) -> Result<Imported, Refusal> {
    import(cx, put(dir, "in.xml", xml), Existing::Fail, false).await
}

fn put(dir: &TempDir, name: &str, xml: &str) -> PathBuf {
    let file = dir.path().join(name);
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    std::fs::write(&file, xml).unwrap();
    file
}

async fn export_all(cx: &Context, dir: &TempDir, name: &str) -> String {
    let file = dir.path().join(name);
    export::export(cx, &cx.config().hosts, None, &file).await.unwrap();
    std::fs::read_to_string(file).unwrap()
}

/// The examples of XEP-0227, put together: hosts of ours in the place of Shakespeare's.
const EXAMPLE: &str = r#"<?xml version='1.0' encoding='UTF-8'?>
<server-data xmlns='urn:xmpp:pie:0'>
  <host jid='a.org'>
    <user name='juliet'>
      <offline-messages>
        <message xmlns='jabber:client' from='romeo@b.org/orchard' to='juliet@a.org/balcony' type='chat'>
          <body>Neither, fair saint, if either thee dislike.</body>
          <delay xmlns='urn:xmpp:delay' from='a.org' stamp='2021-07-21T00:32:29Z'>Offline Storage</delay>
        </message>
      </offline-messages>
      <scram-credentials xmlns='urn:xmpp:pie:0#scram' mechanism='SCRAM-SHA-1'>
        <iter-count>100000</iter-count>
        <salt>TmFDbE5hQ2xOYUNsTmFDbE5hQ2xOYUNsTmFDbE5hQ2xOYUNsTmFDbE5hQ2wK</salt>
        <server-key>0pXWGK0GZJ6TR73AIUN3ITYtA1g=</server-key>
        <stored-key>Q6qT/SbybblGCZz8e8eSfCJOQic=</stored-key>
      </scram-credentials>
      <query xmlns='jabber:iq:roster'>
        <item jid='romeo@b.org' name='Romeo' subscription='both'><group>Friends</group></item>
      </query>
      <presence xmlns='jabber:client' type='subscribe' id='xk3h1v69' from='mercutio@b.org'>
        <nick xmlns="http://jabber.org/protocol/nick">Mercutio</nick>
      </presence>
      <query xmlns="jabber:iq:private">
        <exodus xmlns="exodus:prefs"><defaultnick>Hamlet</defaultnick></exodus>
      </query>
      <vCard xmlns='vcard-temp'><FN>Juliet Capulet</FN></vCard>
      <query xmlns='jabber:iq:privacy'>
        <default name='public'/>
        <list name='public'>
          <item type='jid' value='tybalt@example.com' action='deny' order='1'/>
          <item action='allow' order='2'/>
        </list>
        <list name='private'>
          <item type='subscription' value='both' action='allow' order='10'/>
          <item action='deny' order='15'/>
        </list>
      </query>
      <pubsub xmlns='http://jabber.org/protocol/pubsub'>
        <items node='urn:xmpp:bookmarks:1'/><items node='http://jabber.org/protocol/nick'/>
      </pubsub>
      <archive xmlns='urn:xmpp:pie:0#mam'>
        <result xmlns='urn:xmpp:mam:2' id='28482-98726-73623'>
          <forwarded xmlns='urn:xmpp:forward:0'>
            <delay xmlns='urn:xmpp:delay' stamp='2020-07-10T23:08:25Z'/>
            <message xmlns='jabber:client' to='juliet@a.org/balcony' from='romeo@b.org/orchard' type='chat'>
              <body>Call me but love</body>
            </message>
          </forwarded>
        </result>
        <result xmlns='urn:xmpp:mam:2' id='5d398-28273-f7382'>
          <forwarded xmlns='urn:xmpp:forward:0'>
            <delay xmlns='urn:xmpp:delay' stamp='2020-07-10T23:09:32Z'/>
            <message xmlns='jabber:client' to='romeo@b.org/orchard' from='juliet@a.org/balcony' type='chat' id='8a54s'>
              <body>What man art thou</body>
            </message>
          </forwarded>
        </result>
      </archive>
      <moods xmlns='urn:example:moods'/>
    </user>
  </host>
  <host jid='b.org'><user name='romeo' password='wherefore'/></host>
</server-data>
"#;

#[tokio::test]
async fn the_examples_of_the_xep_come_in_whole_and_again_without_a_change() {
    let (dir, cx) = context();
    let done = read_in(&cx, &dir, EXAMPLE).await.unwrap();
    assert_eq!((done.made, done.contacts, done.requests, done.private), (2, 1, 1, 1));
    assert_eq!((done.archived, done.waiting, done.vcards, done.blocked), (2, 1, 1, 1));
    let left: Vec<_> = done.left_out.iter().map(|(what, count)| (what.as_str(), *count)).collect();
    assert_eq!(left, [("PEP nodes", 2), ("rules of privacy lists", 2), ("urn:example:moods", 1)]);
    let store = cx.store();
    let juliet = store.facts(&jid("juliet@a.org")).await.unwrap().unwrap();
    assert!(juliet.blocks(&Jid::parse("tybalt@example.com/x").unwrap()));
    let page = store.archive().page(ArchiveQuery::of(juliet.id)).await.unwrap();
    let stamps: Vec<String> = page.items.iter().map(|item| item.id.time().to_xmpp()).collect();
    assert_eq!(stamps, ["2020-07-10T23:08:25.000Z", "2020-07-10T23:09:32.000Z"]);
    let keys = store.accounts().keys(&jid("juliet@a.org")).await.unwrap();
    assert_eq!((keys.len(), keys[0].iterations, keys[0].stored_key.len()), (1, 100_000, 20));
    // Keys for every mechanism are made of a password.
    let keys = store.accounts().keys(&jid("romeo@b.org")).await.unwrap();
    let sha256 = keys.iter().find(|row| row.hash == "SHA-256").unwrap();
    let keys = ScramKeys {
        hash: Hash::Sha256,
        salt: sha256.salt.clone().into(),
        iterations: sha256.iterations,
        stored_key: Secret::new(sha256.stored_key.clone()),
        server_key: Secret::new(sha256.server_key.clone()),
    };
    assert!(keys.verify(&Password::prepare("wherefore").unwrap()));
    // A second time: refused, left alone, or replaced by the same.
    let again = read_in(&cx, &dir, EXAMPLE).await.unwrap_err();
    assert_eq!(again.kind, RefusalKind::Conflict);
    assert!(again.text.ends_with("juliet@a.org, romeo@b.org"), "{again}");
    let before = export_all(&cx, &dir, "1.xml").await;
    let file = dir.path().join("in.xml");
    let skipped = import(&cx, file.clone(), Existing::Skip, false).await.unwrap();
    assert_eq!((skipped.skipped, skipped.made, skipped.contacts), (2, 0, 0));
    let replaced = import(&cx, file, Existing::Replace, false).await.unwrap();
    assert_eq!((replaced.replaced, replaced.archived, replaced.waiting), (2, 0, 0));
    let after = export_all(&cx, &dir, "2.xml").await;
    // Romeo's keys have a salt of their own each time.
    assert_eq!(before.split("<host jid='b.org'>").next(), after.split("<host jid='b.org'>").next());
}

#[tokio::test]
async fn what_was_exported_is_the_same_elsewhere() {
    let (dir, cx) = context();
    read_in(&cx, &dir, EXAMPLE).await.unwrap();
    let store = cx.store();
    // A message between the two, once for both archives, and once more waiting.
    let stanza = "<message xmlns='jabber:client' from='romeo@b.org/x' to='juliet@a.org' type='chat' \
                  xmlns:p='urn:p' p:q='1'><body>a &amp; b &lt;\u{1f340}</body></message>";
    let flags = MessageFlags(7);
    let (from, to) = (jid("romeo@b.org"), jid("juliet@a.org"));
    store
        .append(MessageRow::new(
            store.next_id(Now::read().minus(std::time::Duration::from_secs(60))),
            from,
            to,
            flags,
            stanza,
        ))
        .unwrap();
    let first = export_all(&cx, &dir, "1.xml").await;
    let (other_dir, other) = context();
    let file = put(&other_dir, "1.xml", &first);
    let done = import(&other, file, Existing::Fail, false).await.unwrap();
    assert_eq!((done.made, done.archived, done.waiting), (2, 4, 2));
    let second = export_all(&other, &other_dir, "2.xml").await;
    assert_eq!(first.replace("'", "\""), second.replace("'", "\""));
    // Stored once for both.
    let romeo = other.store().facts(&jid("romeo@b.org")).await.unwrap().unwrap();
    let juliet = other.store().facts(&jid("juliet@a.org")).await.unwrap().unwrap();
    let of = async |id| other.store().archive().page(ArchiveQuery::of(id)).await.unwrap().last();
    assert_eq!(of(romeo.id).await, of(juliet.id).await);
}

#[tokio::test]
async fn a_fault_has_its_place_and_nothing_came_in() {
    let (dir, cx) = context();
    let whole = |user: &str| {
        format!(
            "<server-data xmlns='urn:xmpp:pie:0'>\n<host jid='a.org'>\n<user name='ann'/>\n{user}\n</host></server-data>"
        )
    };
    for (xml, told) in [
        (whole("<user/>"), "line 4, column 1: the user has no 'name'"),
        (whole("<user name='ann'/>"), "line 4, column 1: ann@a.org is there twice"),
        (whole("<user name='a b'/>"), "line 4, column 1: a b@a.org is no address"),
        (
            whole("<user name='b'><query xmlns='jabber:iq:roster'><item jid='@'/></query></user>"),
            "line 4, column 16: b@a.org: contact: \"@\" is no address",
        ),
        (
            whole(
                "<user name='b'><scram-credentials xmlns='urn:xmpp:pie:0#scram' mechanism='SCRAM-SHA-1'><iter-count>0</iter-count></scram-credentials></user>",
            ),
            "line 4, column 16: b@a.org: <iter-count>: \"0\" is no number",
        ),
        (
            whole(
                "<user name='b'><archive xmlns='urn:xmpp:pie:0#mam'><result xmlns='urn:xmpp:mam:2'/></archive></user>",
            ),
            "line 4, column 52: b@a.org: a result without <forwarded>",
        ),
        (whole("<user name='b'>"), "line 5, column 1: "),
        (
            whole("</host><host jid='c.org'><user name='x'/>"),
            "line 4, column 26: c.org is not a host",
        ),
        ("<other/>".to_owned(), "line 1, column 1: expected <server-data"),
        (
            "<!DOCTYPE x [<!ENTITY a 'b'>]><server-data xmlns='urn:xmpp:pie:0'/>".to_owned(),
            "line 1, column 1: a document type; those are not read",
        ),
        (String::new(), "line 1, column 1: the file ends in the middle"),
    ] {
        let refusal = read_in(&cx, &dir, &xml).await.unwrap_err();
        let text = refusal.text.split_once("in.xml: ").map_or(refusal.text.as_str(), |(_, t)| t);
        assert!(text.starts_with(told), "{text}\n{xml}");
        assert_eq!(cx.store().accounts().count("a.org").await.unwrap(), 0, "{xml}");
    }
}

#[tokio::test]
async fn included_files_are_read_below_the_folder_and_nowhere_else() {
    let (dir, cx) = context();
    let main = |href: &str| {
        format!(
            "<server-data xmlns='urn:xmpp:pie:0' xmlns:xi='http://www.w3.org/2001/XInclude'><xi:include href='{href}'/></server-data>"
        )
    };
    put(
        &dir,
        "in/a.org.xml",
        "<host xmlns='urn:xmpp:pie:0' xmlns:xi='http://www.w3.org/2001/XInclude' jid='a.org'><xi:include href='a.org/juliet%20x.xml'/></host>",
    );
    put(
        &dir,
        "in/a.org/juliet x.xml",
        "<user xmlns='urn:xmpp:pie:0' name='juliet'><query xmlns='jabber:iq:roster'><item jid='r@b.org'/></query></user>",
    );
    put(&dir, "secret.xml", "<host xmlns='urn:xmpp:pie:0' jid='a.org'/>");
    put(
        &dir,
        "in/loop.xml",
        "<xi:include xmlns:xi='http://www.w3.org/2001/XInclude' href='loop.xml'/>",
    );
    for (href, told) in [
        ("../secret.xml", "../secret.xml lies outside of"),
        ("/etc/passwd", "/etc/passwd lies outside of"),
        ("nothing.xml", "nothing.xml cannot be read"),
        ("loop.xml", "files include each other more than 4 deep"),
    ] {
        let file = put(&dir, "in/main.xml", &main(href));
        let refusal = import(&cx, file, Existing::Fail, false).await.unwrap_err();
        assert!(refusal.text.contains(told), "{refusal}");
    }
    let file = put(&dir, "in/main.xml", &main("a.org.xml"));
    let looked = import(&cx, file.clone(), Existing::Fail, true).await.unwrap();
    assert!(looked.dry_run && looked.made == 1);
    assert_eq!(cx.store().accounts().count("a.org").await.unwrap(), 0);
    let done = import(&cx, file, Existing::Fail, false).await.unwrap();
    assert_eq!((done.made, done.contacts, done.without_password), (1, 1, 1));
}

#[tokio::test]
async fn an_export_is_private_whole_and_takes_nobodys_place() {
    use std::os::unix::fs::PermissionsExt;
    let (dir, cx) = context();
    let hosts = &cx.config().hosts;
    let file = dir.path().join("out.xml");
    let nobody = export::export(&cx, hosts, None, &file).await.unwrap_err();
    assert_eq!(nobody.kind, RefusalKind::NotFound);
    read_in(&cx, &dir, EXAMPLE).await.unwrap();
    let one = jid("romeo@b.org");
    let done = export::export(&cx, &hosts[1..], Some(&one), &file).await.unwrap();
    assert_eq!((done.accounts, done.bytes), (1, file.metadata().unwrap().len()));
    assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let taken = export::export(&cx, hosts, None, &file).await.unwrap_err();
    assert_eq!(taken.kind, RefusalKind::Conflict);
    let left: Vec<_> = std::fs::read_dir(dir.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with(".part"))
        .collect();
    assert_eq!(left, [] as [&str; 0]);
}

/// Memory does not grow with the file: what is read waits for what is stored.
#[tokio::test]
async fn many_messages_come_in_page_by_page() {
    let (dir, cx) = context();
    let mut xml = String::from(
        "<server-data xmlns='urn:xmpp:pie:0'><host jid='a.org'><user name='ann'><archive xmlns='urn:xmpp:pie:0#mam'>",
    );
    for n in 0..2_000 {
        xml += &format!(
            "<result xmlns='urn:xmpp:mam:2' id='{n}'><forwarded xmlns='urn:xmpp:forward:0'><delay xmlns='urn:xmpp:delay' stamp='2024-01-01T00:{:02}:{:02}Z'/><message xmlns='jabber:client' from='bob@b.org/x' to='ann@a.org' type='chat'><body>{n}</body></message></forwarded></result>",
            n / 60 % 60,
            n % 60
        );
    }
    xml += "</archive></user></host></server-data>";
    let done = read_in(&cx, &dir, &xml).await.unwrap();
    assert_eq!(done.archived, 2_000);
    let again = import(&cx, dir.path().join("in.xml"), Existing::Replace, false).await.unwrap();
    assert_eq!(again.archived, 0);
    let ann = cx.store().facts(&jid("ann@a.org")).await.unwrap().unwrap();
    let mut query = ArchiveQuery::of(ann.id);
    query.rsm.max = 0;
    assert_eq!(cx.store().archive().page(query).await.unwrap().count, Some(2_000));
    // A reader that nobody listens to any more comes to its end.
    let (sender, receiver) = tokio::sync::mpsc::channel(1);
    drop(receiver);
    let file = dir.path().join("in.xml");
    tokio::task::spawn_blocking(move || read::walk(&file, &sender)).await.unwrap().unwrap_err();
}
