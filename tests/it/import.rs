//! ejabberd's configuration imported by the real program, and served.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use coucou::access::facts::Facts;
use coucou::access::rule::decide;
use coucou::config::rules::Access;
use coucou::config::{self, Config};
use coucou::jid::{BareJid, Jid};
use coucou::store::groups::{GroupName, Member, NewGroup, SharedGroups};
use coucou::store::{Store, StoreOptions};
use coucou::time::Now;
use coucou::xml::ns;
use serde_json::Value;
use tempfile::TempDir;

use crate::client::Client;
use crate::server::{PASSWORD, Server};

struct Folder(TempDir);

impl Folder {
    fn new() -> Folder {
        Folder(tempfile::tempdir().expect("a temporary folder"))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// `coucou` in this folder, with nothing of the environment that would lead it elsewhere.
    fn run(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_coucou"));
        for name in ["COUCOU_CONFIG", "COUCOU_DIR", "COUCOU_SOCKET"] {
            command.env_remove(name);
        }
        command.current_dir(self.0.path()).args(arguments).stdin(Stdio::null());
        command.output().expect("the program starts")
    }

    fn import(&self, source: &Path) -> Value {
        let output = self.run(&["import", source.to_str().unwrap(), "--force", "--json"]);
        assert!(output.status.success(), "{output:?}");
        serde_json::from_slice(&output.stdout).expect("JSON")
    }

    fn config(&self) -> Config {
        config::load(&self.path("coucou.toml")).unwrap_or_else(|error| panic!("{error}")).config
    }
}

fn world(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/worlds").join(name)
}

#[test]
fn what_was_imported_passes_the_check_and_keeps_its_secrets() {
    let folder = Folder::new();
    for name in ["wiki/ejabberd.yml", "wiki/faults.yml", "oracle/imported.yml"] {
        let report = match name {
            "oracle/imported.yml" => folder.import(&oracle(&folder)),
            name => folder.import(&world(name)),
        };
        assert_eq!(report["written"], true, "{report}");
        assert!(report["notes"].as_array().unwrap().len() > 20, "{report}");
        let file = folder.path("coucou.toml");
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        let check = folder.run(&["check", "coucou.toml"]);
        assert!(check.status.success(), "{name}: {}", String::from_utf8_lossy(&check.stdout));
        let toml = std::fs::read_to_string(&file).unwrap();
        for secret in ["not the one in use", "a secret that stays where it is"] {
            assert!(!toml.contains(secret) && !report.to_string().contains(secret), "{name}");
        }
    }
}

#[test]
fn nothing_is_written_over_or_made_of_what_cannot_be_used() {
    let folder = Folder::new();
    std::fs::write(folder.path("bad.yml"), "hosts: [example.org]\nmodules:\n  mod_disco {}\n")
        .unwrap();
    let bad = folder.run(&["import", "bad.yml"]);
    assert_eq!(bad.status.code(), Some(1));
    let told = String::from_utf8(bad.stderr).unwrap();
    assert!(
        told.contains(
            "line 3, column 3: modules: found \"mod_disco {}\"; expected a map of `name: value`"
        ),
        "{told}"
    );
    assert!(!folder.path("coucou.toml").exists());

    std::fs::write(folder.path("good.yml"), "hosts: [example.org]\n").unwrap();
    let dry = folder.run(&["import", "good.yml", "--dry-run"]);
    assert!(dry.status.success() && !folder.path("coucou.toml").exists(), "{dry:?}");
    std::fs::write(folder.path("coucou.toml"), "mine").unwrap();
    let again = folder.run(&["import", "good.yml"]);
    assert_eq!(again.status.code(), Some(4), "{again:?}");
    let bad = folder.run(&["import", "bad.yml", "--force"]);
    assert_eq!(bad.status.code(), Some(1), "{bad:?}");
    assert_eq!(std::fs::read_to_string(folder.path("coucou.toml")).unwrap(), "mine");
    let gone = folder.run(&["import", "gone.yml", "--json"]);
    assert!(gone.stderr.starts_with(b"{\"error\""), "{gone:?}");
    assert!(folder.run(&["import", "good.yml", "--force"]).status.success());
    let left: Vec<_> = std::fs::read_dir(folder.0.path()).unwrap().flatten().collect();
    assert_eq!(left.len(), 3, "{left:?}");
}

/// The wiki's configuration with other ports, imported and served.
fn wiki() -> Server {
    let mut server = Server::bare();
    let mut yaml = String::new();
    let mut moved = None;
    for line in std::fs::read_to_string(world("wiki/ejabberd.yml")).unwrap().lines() {
        let (key, value) = line.trim().split_once(": ").unwrap_or_default();
        let door = match (key, value) {
            ("port", "5222") => Some(server.c2s()),
            ("port", "5223") => Some(server.c2s_tls()),
            ("port", "5347") => Some(server.component()),
            ("port", "5443") => Some(server.https()),
            ("port", "5280") => Some(server.http()),
            _ => None,
        };
        match (door, key, moved) {
            (Some(door), ..) => {
                yaml.push_str(&format!("    port: {}\n", door.port()));
                moved = Some(door.ip());
            }
            (None, "ip", Some(ip)) => {
                yaml.push_str(&format!("    ip: \"{ip}\"\n"));
                moved = None;
            }
            _ => yaml.push_str(&format!("{line}\n")),
        }
    }
    std::fs::write(server.path("ejabberd.yml"), yaml).unwrap();
    let told = server.run(&["import", server.path("ejabberd.yml").to_str().unwrap()]);
    assert!(told.contains("Wrote "), "{told}");
    let toml = std::fs::read_to_string(server.path("coucou.toml")).unwrap();
    std::fs::write(server.path("coucou.toml"), format!("data_dir = \".\"\n{toml}")).unwrap();
    server.resume();
    server
}

#[test]
fn the_wiki_behaves_as_its_operator_wrote() {
    let server = wiki();
    let status = server.json(&["status"]);
    let hosts: Vec<&str> = status["hosts"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|host| host["domain"].as_str())
        .collect();
    assert_eq!(hosts, ["geocoucou.im", "public.geocoucou.im"], "{status}");
    for (rule, user, address, allowed) in [
        // Two steps: no forbidden word, no insult, no robot, then a well-formed name.
        ("register_names", "claire@geocoucou.im", "", true),
        ("register_names", "technicienne@geocoucou.im", "", true),
        ("register_names", "tech@geocoucou.im", "", false),
        ("register_names", "Administrateur@geocoucou.im", "", false),
        ("register_names", "supercretin@geocoucou.im", "", false),
        ("register_names", "imbécile@public.geocoucou.im", "", false),
        ("register_names", "bot-7@geocoucou.im", "", false),
        ("register_names", "my-robot@geocoucou.im", "", false),
        ("register_names", "7seas@geocoucou.im", "", false),
        ("register_names", "ab@geocoucou.im", "", false),
        ("register_from", "", "203.0.113.77", true),
        ("register_from", "", "2001:db8:aaaa:5::1", true),
        ("register_from", "", "127.0.0.1", true),
        ("register_from", "", "203.0.114.1", false),
        ("remove_own", "claire@geocoucou.im", "", true),
        ("remove_own", "admin@geocoucou.im", "", false),
        ("configure", "thecoucou@geocoucou.im", "", true),
        ("configure", "thecoucou@public.geocoucou.im", "", false),
        ("remote_admin", "admin@geocoucou.im", "198.51.100.63", true),
        ("remote_admin", "admin@geocoucou.im", "198.51.100.64", false),
        ("remote_admin", "claire@geocoucou.im", "198.51.100.63", false),
        ("staff_or_partner", "anna@geocoucou.im", "203.0.113.5", true),
        ("staff_or_partner", "anna@geocoucou.im", "203.0.114.5", false),
        ("staff_or_partner", "x@chat.partner.example", "", true),
        ("staff_or_partner", "x@partner.example", "", false),
        ("staff_or_partner", "carol@geocoucou.im", "", true),
        ("staff_or_partner", "carol@public.geocoucou.im", "", false),
        ("c2s", "spammer@geocoucou.im", "", false),
        ("hosts.geocoucou.im.sign_in", "claire@geocoucou.im", "", true),
        ("hosts.geocoucou.im.registration.access", "tech@geocoucou.im", "", false),
    ] {
        let mut asked = vec!["access", "test", rule, "--host", "geocoucou.im"];
        if !user.is_empty() {
            asked.extend(["--user", user]);
        }
        if !address.is_empty() {
            asked.extend(["--ip", address]);
        }
        let tested = server.json(&asked);
        assert_eq!(tested["allowed"], allowed, "{rule} {user} {address}: {tested}");
    }

    for name in ["thecoucou", "spammer"] {
        server.add_account(&format!("{name}@geocoucou.im"));
    }
    let mut coucou = server.sign_in("thecoucou@geocoucou.im/desk");
    let query = "<query xmlns='http://jabber.org/protocol/disco#info'/>";
    coucou.say(&format!("<iq type='get' id='d' to='geocoucou.im'>{query}</iq>"));
    let told = coucou.element().to_xml("");
    for contact in
        ["mailto:abuse@geocoucou.im", "xmpp:admin@geocoucou.im", "mailto:support@geocoucou.im"]
    {
        assert!(told.contains(contact), "{told}");
    }
    let mut spammer = Client::connect_tls(server.c2s_tls(), "geocoucou.im");
    spammer.open("geocoucou.im");
    spammer.element();
    spammer.plain("spammer", PASSWORD);
    assert!(spammer.element().is("failure", ns::SASL));
    // A guest gets in without a name, and nobody else there.
    let mut guest = Client::connect_tls(server.c2s_tls(), "public.geocoucou.im");
    guest.open("public.geocoucou.im");
    let offered = guest.element().to_xml("");
    assert!(offered.contains("ANONYMOUS") && !offered.contains("PLAIN"), "{offered}");
    guest.say(&format!("<auth xmlns='{}' mechanism='ANONYMOUS'/>", ns::SASL));
    assert!(guest.element().is("success", ns::SASL));
    Client::component(server.component(), "bridge.geocoucou.im", "Ohthoh9chei3Ueph");
}

/// The rules that ejabberd was asked, with a port in them.
fn oracle(folder: &Folder) -> PathBuf {
    let rules = std::fs::read_to_string(world("oracle/ejabberd.yml")).unwrap();
    let file = folder.path("oracle.yml");
    std::fs::write(&file, rules.replace("PORT", "5222")).unwrap();
    file
}

/// `tests/interop/oracle.py` sees that these verdicts are still ejabberd's.
#[test]
fn decisions_are_those_of_ejabberd() {
    let folder = Folder::new();
    let source = oracle(&folder);
    folder.import(&source);
    let config = folder.config();
    let text = std::fs::read_to_string(source).unwrap();
    let (_, section) = text.split_once("\naccess_rules:\n").unwrap();
    let rules: Vec<&str> = section
        .lines()
        .take_while(|line| !line.is_empty())
        .filter_map(|line| line.strip_prefix("  ")?.split_once(':'))
        .map(|(name, _)| name)
        .filter(|name| name.starts_with(|c: char| c.is_ascii_lowercase()))
        .collect();
    let groups = staff();
    let (mut count, mut wrong) = (0, Vec::new());
    for line in std::fs::read_to_string(world("oracle/cases.txt")).unwrap().lines() {
        let words: Vec<&str> = line.split(' ').collect();
        let [host, user, address, verdicts] = words[..] else { continue };
        if line.starts_with('#') {
            continue;
        }
        assert_eq!(verdicts.len(), rules.len(), "{line}");
        let jid = (user != "-").then(|| Jid::parse(user).expect(user));
        let address = (address != "-").then(|| address.parse().expect(address));
        for (rule, verdict) in rules.iter().zip(verdicts.chars()) {
            if verdict == '-' {
                continue;
            }
            let facts = Facts { jid: jid.as_ref(), address, host, groups: &groups };
            let decision = decide(&config.rules, &Access::named(rule), &facts);
            count += 1;
            if decision.allowed != (verdict == 'a') {
                wrong.push(format!("{rule} for {line}: {}", decision.because));
            }
        }
    }
    assert!(count > 3000, "{count} decisions");
    assert!(wrong.is_empty(), "{} of {count}:\n{}", wrong.len(), wrong.join("\n"));
}

/// The groups that the oracle makes: carol in one host's, claire in the other's.
fn staff() -> SharedGroups {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), StoreOptions::default()).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        for (host, member) in [
            ("geocoucou.im", "carol@geocoucou.im"),
            ("public.geocoucou.im", "claire@public.geocoucou.im"),
        ] {
            let name = GroupName::parse("staff", host).unwrap();
            let group = NewGroup {
                name: name.clone(),
                label: "staff".to_owned(),
                description: String::new(),
                displayed: Vec::new(),
            };
            store.groups().create(group, false).await.unwrap();
            let member = BareJid::parse(member).unwrap();
            store.accounts().create(&member, Vec::new(), Now::read()).await.unwrap();
            let members = vec![Member::Account(member)];
            store.groups().change_members(&name, members, true).await.unwrap();
        }
        (*store.groups().snapshot()).clone()
    })
}
